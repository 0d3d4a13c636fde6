//! The waiters of one lane: fair among clients, within one among kinds of work, and within a kind
//! first come, first served.
//!
//! ```text
//!  client    service so far (tag)        waits
//!  A         ███████████████             ▒▒▒▒▒▒▒▒▒▒▒▒ (1000)
//!  B         ████████████                ▒▒▒            ◄── next: the least tag
//!     kind x   ████████                    ▒▒
//!     kind y   ███                         ▒            ◄── and within it likewise
//!  C         (new) starts here           ▒
//!                      ▲ virtual time
//! ```
//!
//! Both levels are [`Flows`]. Deficit round robin would do without tags, but it needs a quantum, and
//! here one turn takes a thousand times as long as another.
//!
//! Users and batch programs are often one client, the same application under the same account, and
//! what tells them apart is what they send: a kind of work that fills all slots by itself does not
//! keep another kind waiting, whatever lane it is in.
//!
//! Work that goes on with what was begun comes first when the lane is told so ([`Precedence`]), what was
//! begun earlier before what was begun later: each page waits once then, and not with each of its
//! statements. It passes over others of its kind only, unless the lane is overloaded; and even then its
//! client must not be far ahead of others.
//!
//! Nothing is kept while nobody waits, and of the kinds of a client nothing while the client does not.

use std::collections::{BTreeMap, BTreeSet};

use super::flows::{Flow, Flows};

/// Most clients remembered that do not wait.
pub(super) const RESTING_MAX: usize = 1024;
/// Likewise kinds of one client.
const RESTING_KINDS_MAX: usize = 32;
/// How far ahead a client may be whose work goes on, in nanoseconds: a page's worth.
const AHEAD_MAX: u64 = 250_000_000;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Party {
    /// Hash of the client.
    pub(super) client: u64,
    /// Hash of the kind of work.
    pub(super) kind: u64,
}

/// What work gets that goes on with what was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precedence {
    /// Its turn, like all other work.
    #[default]
    None,
    /// It comes before others of its kind: where a program's many workers go on with something all
    /// the time, nobody else waits for that.
    OfKind,
    /// It comes before its turn, as long as its client is not far ahead: some of a page's kinds take
    /// much more than others, and what takes little would begin more pages than can be ended.
    OfAll,
}

/// When what a waiter goes on with was begun, in nanoseconds, and its ticket.
type Place = (u64, u64);

/// Waiters of one lane. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    /// By ticket, that is, by arrival.
    waiting: BTreeMap<u64, Waiting<W>>,
    clients: Flows<Client>,
    /// Clients some of whose work goes on, by tag and the first place.
    continuing: BTreeSet<(u64, Place, usize)>,
    /// Clients that wait, by number of waiters.
    crowds: BTreeSet<(usize, usize)>,
}

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    client: usize,
    kind: usize,
    /// That of work that goes on.
    place: Option<Place>,
}

/// What a client has beside its turn.
#[derive(Debug)]
struct Client {
    /// Each with what goes on of it.
    kinds: Flows<BTreeSet<Place>>,
    /// What goes on of all.
    continuing: BTreeSet<Place>,
}

impl Client {
    /// A waiter is not there any more.
    fn forget(&mut self, kind: usize, place: Option<Place>) {
        let Some(place) = place else { return };
        self.continuing.remove(&place);
        if let Some(of) = self.kinds.data(kind) {
            of.remove(&place);
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self { kinds: Flows::new(RESTING_KINDS_MAX), continuing: BTreeSet::new() }
    }
}

/// Who is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next<W> {
    pub(super) waiter: W,
    pub(super) party: Party,
    /// What the turn was charged.
    pub(super) charged: u64,
    /// The work goes on with what was begun.
    pub(super) continues: bool,
}

impl<W> Default for FairQueue<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            clients: Flows::new(RESTING_MAX),
            continuing: BTreeSet::new(),
            crowds: BTreeSet::new(),
        }
    }
}

impl<W> FairQueue<W> {
    /// Waiters.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who waits longest.
    pub(super) fn oldest(&self) -> Option<&W> {
        self.waiting.values().next().map(|waiting| &waiting.waiter)
    }

    /// Adds a waiter, who goes on with what was begun at that time, in nanoseconds, or begins; tickets
    /// grow. O(log waiters).
    pub(super) fn push(&mut self, ticket: u64, party: Party, begun: Option<u64>, waiter: W) {
        if let Some(client) = self.clients.find(party.client) {
            self.unlink(client);
        }
        let client = self.clients.join(party.client, ticket);
        let place = begun.map(|begun| (begun, ticket));
        let mut kind = 0;
        if let Some(of) = self.clients.data(client) {
            kind = of.kinds.join(party.kind, ticket);
            of.continuing.extend(place);
            if let Some(of) = of.kinds.data(kind) {
                of.extend(place);
            }
        }
        self.waiting.insert(ticket, Waiting { waiter, client, kind, place });
        self.link(client);
    }

    /// Takes a waiter out. O(log waiters).
    pub(super) fn remove(&mut self, ticket: u64) -> Option<W> {
        let Waiting { waiter, client, kind, place } = self.waiting.remove(&ticket)?;
        self.unlink(client);
        if let Some(of) = self.clients.data(client) {
            of.forget(kind, place);
            of.kinds.leave(kind, ticket);
        }
        self.clients.leave(client, ticket);
        self.link(client);
        Some(waiter)
    }

    /// Takes out who waits longest.
    pub(super) fn pop_oldest(&mut self) -> Option<W> {
        let ticket = *self.waiting.keys().next()?;
        self.remove(ticket)
    }

    /// Takes out who came last of the client with the most waiters, if the client with this hash
    /// would still have fewer with one more.
    pub(super) fn pop_of_largest_crowd(&mut self, hash: u64) -> Option<W> {
        let own = self.clients.find(hash).and_then(|own| self.clients.get(own));
        let own = own.map_or(0, |own| own.tickets.len());
        let &(most, client) = self.crowds.last()?;
        let ticket = *self.clients.get(client)?.tickets.last()?;
        if own + 1 < most { self.remove(ticket) } else { None }
    }

    /// Who is next: the first of the kind that has had least, of the client that has had least;
    /// before them by `precedence` those that go on with what was begun. O(log waiters).
    pub(super) fn pop(&mut self, precedence: Precedence) -> Option<Next<W>> {
        let early = if precedence == Precedence::OfAll { self.early() } else { None };
        let (client, early) = match early {
            Some((client, ticket)) => (client, Some(ticket)),
            None => (self.clients.first()?.0, None),
        };
        let of = self.clients.get(client)?;
        let hash = of.hash();
        let ticket = match early {
            Some(ticket) => ticket,
            None => Self::first(&of.data.kinds, precedence)?,
        };
        let Waiting { waiter, kind, place, .. } = self.waiting.remove(&ticket)?;
        let of_client = self.clients.charge(client).unwrap_or(0);
        self.unlink(client);
        let (mut party, mut charged) = (Party { client: hash, kind: 0 }, of_client);
        if let Some(of) = self.clients.data(client) {
            party.kind = of.kinds.get(kind).map_or(0, Flow::hash);
            charged = of.kinds.charge(kind).unwrap_or(of_client);
            of.forget(kind, place);
            of.kinds.serve(kind, ticket, charged, early.is_none());
        }
        self.clients.serve(client, ticket, charged, early.is_none());
        self.link(client);
        Some(Next { waiter, party, charged, continues: place.is_some() })
    }

    /// A turn that was charged with `charged` has taken `service`. O(log clients).
    pub(super) fn settle(&mut self, party: Party, charged: u64, service: u64) {
        let Some(client) = self.clients.find(party.client) else {
            return self.clients.settle(party.client, charged, service);
        };
        self.unlink(client);
        if let Some(of) = self.clients.data(client) {
            of.kinds.settle(party.kind, charged, service);
        }
        self.clients.settle(party.client, charged, service);
        self.link(client);
    }

    /// A client with its first waiter that comes before its turn.
    #[cold]
    fn early(&self) -> Option<(usize, u64)> {
        let &(tag, (_, ticket), client) = self.continuing.first()?;
        let is_near = tag <= self.clients.virtual_time().saturating_add(AHEAD_MAX);
        is_near.then_some((client, ticket))
    }

    /// Who is first of the kind whose turn it is.
    fn first(kinds: &Flows<BTreeSet<Place>>, precedence: Precedence) -> Option<u64> {
        let (kind, first) = kinds.first()?;
        let goes_on = match precedence {
            Precedence::None => None,
            Precedence::OfKind | Precedence::OfAll => kinds.get(kind)?.data.first(),
        };
        Some(goes_on.map_or(first, |&(_, ticket)| ticket))
    }

    /// Clients known now.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Takes a client out of the orders, to change it.
    fn unlink(&mut self, client: usize) {
        let Some(of) = self.clients.get(client).filter(|of| !of.tickets.is_empty()) else { return };
        self.crowds.remove(&(of.tickets.len(), client));
        if let Some(&first) = of.data.continuing.first() {
            self.continuing.remove(&(of.tag(), first, client));
        }
    }

    fn link(&mut self, client: usize) {
        let Some(of) = self.clients.get(client).filter(|of| !of.tickets.is_empty()) else { return };
        self.crowds.insert((of.tickets.len(), client));
        if let Some(&first) = of.data.continuing.first() {
            self.continuing.insert((of.tag(), first, client));
        }
    }
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
