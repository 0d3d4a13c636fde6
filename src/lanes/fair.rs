//! The waiters of one lane: fair among clients, first come, first served within one.
//!
//! ```text
//!  client    service so far (tag)        waits
//!  A         ███████████████             ▒▒▒▒▒▒▒▒▒▒▒▒ (1000)
//!  B         ████████████                ▒▒▒            ◄── next: the least tag
//!  C         (new) starts here           ▒
//!                      ▲ virtual time
//! ```
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996) with several turns at a time as in SFQ(D)
//! (Jin, Chase and Kaur, 2004). Each client has a tag, the service it has had; who has the least is
//! next, and a client that comes anew starts at the virtual time, which is that of who was served
//! last. What a turn costs is known only when it ends: it is charged with what the client's turns
//! usually take, and corrected then. Deficit round robin would do without tags, but it needs a
//! quantum, and here one turn takes a thousand times as long as another.
//!
//! The virtual time also moves by a fair share of each turn, so that clients that come once and
//! never again can't keep one that has been served before waiting for ever.
//!
//! Within a client, and among clients that are not far ahead of the others, work that goes on with
//! what was begun comes first when the lane is told so: each page waits once then, and not with each
//! of its statements.
//!
//! Nothing is kept while nobody waits. A client that does not wait is forgotten when its tag is not
//! ahead of the virtual time; at most [`RESTING_MAX`] of those that are ahead are kept.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;
use slab::Slab;

/// Most clients remembered that do not wait.
pub(super) const RESTING_MAX: usize = 1024;
/// How far ahead a client may be whose work goes on, in nanoseconds: a page's worth.
const AHEAD_MAX: u64 = 250_000_000;
/// Part of the last turn in what a client's turns usually take.
const COST_SHIFT: u32 = 3;

/// Waiters of one lane. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    /// Virtual time: a client that comes anew has had as much as this.
    virtual_time: u64,
    /// What a turn takes, of all clients.
    cost: u64,
    /// By ticket, that is, by arrival.
    waiting: BTreeMap<u64, Waiting<W>>,
    clients: Slab<Client>,
    by_hash: HashMap<u64, usize>,
    /// Clients that wait, by tag and first ticket.
    active: BTreeSet<(u64, u64, usize)>,
    /// Those of them whose work goes on, likewise.
    continuing: BTreeSet<(u64, u64, usize)>,
    /// The same by number of waiters.
    crowds: BTreeSet<(usize, usize)>,
    /// Clients that do not wait, by tag.
    resting: BTreeSet<(u64, usize)>,
}

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    client: usize,
}

#[derive(Debug)]
struct Client {
    hash: u64,
    tag: u64,
    /// What its turns take; `None` while it has had none.
    cost: Option<u64>,
    tickets: BTreeSet<u64>,
    /// Those of them that go on with what was begun.
    continuing: BTreeSet<u64>,
}

/// Who is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next<W> {
    pub(super) waiter: W,
    /// Hash of the client.
    pub(super) client: u64,
    /// What the turn was charged.
    pub(super) charged: u64,
    /// The work goes on with what was begun.
    pub(super) continues: bool,
}

impl<W> Default for FairQueue<W> {
    fn default() -> Self {
        Self {
            virtual_time: 0,
            cost: 0,
            waiting: BTreeMap::new(),
            clients: Slab::new(),
            by_hash: HashMap::default(),
            active: BTreeSet::new(),
            continuing: BTreeSet::new(),
            crowds: BTreeSet::new(),
            resting: BTreeSet::new(),
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

    /// Adds a waiter of the client with this hash; tickets grow. O(log waiters).
    pub(super) fn push(&mut self, ticket: u64, hash: u64, continues: bool, waiter: W) {
        let client = self.client(hash);
        self.unlink(client);
        let of = &mut self.clients[client];
        if of.tickets.is_empty() {
            of.tag = of.tag.max(self.virtual_time);
        }
        of.tickets.insert(ticket);
        if continues {
            of.continuing.insert(ticket);
        }
        self.waiting.insert(ticket, Waiting { waiter, client });
        self.link(client);
    }

    /// Takes a waiter out. O(log waiters).
    pub(super) fn remove(&mut self, ticket: u64) -> Option<W> {
        self.take(ticket, 0)
    }

    /// Takes out who waits longest.
    pub(super) fn pop_oldest(&mut self) -> Option<W> {
        let ticket = *self.waiting.keys().next()?;
        self.remove(ticket)
    }

    /// Takes out who came last of the client with the most waiters, if the client with this hash
    /// would still have fewer with one more.
    pub(super) fn pop_of_largest_crowd(&mut self, hash: u64) -> Option<W> {
        let own = self.by_hash.get(&hash).map_or(0, |&own| self.clients[own].tickets.len());
        let &(most, client) = self.crowds.last()?;
        let ticket = *self.clients[client].tickets.last()?;
        if own + 1 < most { self.remove(ticket) } else { None }
    }

    /// Who is next: the first of the client that has had least; with `continuing_first` before them
    /// those that go on with what was begun, of clients that are not far ahead. O(log waiters).
    pub(super) fn pop(&mut self, continuing_first: bool) -> Option<Next<W>> {
        let is_near = |tag: u64| tag <= self.virtual_time.saturating_add(AHEAD_MAX);
        let continuing =
            self.continuing.first().filter(|(tag, ..)| continuing_first && is_near(*tag));
        let &(tag, ticket, client) = continuing.or_else(|| self.active.first())?;
        let is_in_turn = continuing.is_none();
        let clients = u64::try_from(self.active.len()).unwrap_or(u64::MAX).max(1);
        let client = &self.clients[client];
        let continues = client.continuing.contains(&ticket);
        let charged = client.cost.unwrap_or(self.cost);
        self.virtual_time = self.virtual_time.saturating_add(charged / clients);
        if is_in_turn {
            self.virtual_time = self.virtual_time.max(tag);
        }
        let client = client.hash;
        let waiter = self.take(ticket, charged)?;
        Some(Next { waiter, client, charged, continues })
    }

    /// A turn that was charged with `charged` has taken `service`. O(log clients).
    pub(super) fn settle(&mut self, hash: u64, charged: u64, service: u64) {
        if self.is_empty() {
            return;
        }
        self.cost = smooth(Some(self.cost), service);
        if service <= charged && !self.by_hash.contains_key(&hash) {
            return;
        }
        let client = self.client(hash);
        self.unlink(client);
        let of = &mut self.clients[client];
        of.tag = of.tag.saturating_add(service).saturating_sub(charged);
        of.cost = Some(smooth(of.cost, service));
        self.link(client);
        self.forget();
    }

    /// Clients known now.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Takes a waiter out whose client has had `charged` more then.
    fn take(&mut self, ticket: u64, charged: u64) -> Option<W> {
        let Waiting { waiter, client } = self.waiting.remove(&ticket)?;
        self.unlink(client);
        let of = &mut self.clients[client];
        of.tickets.remove(&ticket);
        of.continuing.remove(&ticket);
        of.tag = of.tag.saturating_add(charged);
        self.link(client);
        self.forget();
        Some(waiter)
    }

    fn client(&mut self, hash: u64) -> usize {
        *self.by_hash.entry(hash).or_insert_with(|| {
            let tag = self.virtual_time;
            let client = self.clients.insert(Client {
                hash,
                tag,
                cost: None,
                tickets: BTreeSet::new(),
                continuing: BTreeSet::new(),
            });
            // As `unlink` finds it.
            self.resting.insert((tag, client));
            client
        })
    }

    /// Takes a client out of the orders, to change it.
    fn unlink(&mut self, client: usize) {
        let of = &self.clients[client];
        match of.tickets.first() {
            Some(&first) => {
                self.active.remove(&(of.tag, first, client));
                if let Some(&first) = of.continuing.first() {
                    self.continuing.remove(&(of.tag, first, client));
                }
                self.crowds.remove(&(of.tickets.len(), client));
            }
            None => {
                self.resting.remove(&(of.tag, client));
            }
        }
    }

    fn link(&mut self, client: usize) {
        let of = &self.clients[client];
        match of.tickets.first() {
            Some(&first) => {
                self.active.insert((of.tag, first, client));
                if let Some(&first) = of.continuing.first() {
                    self.continuing.insert((of.tag, first, client));
                }
                self.crowds.insert((of.tickets.len(), client));
            }
            None => {
                self.resting.insert((of.tag, client));
            }
        }
    }

    /// Forgets clients that don't matter any more.
    fn forget(&mut self) {
        while let Some(&(tag, client)) = self.resting.first() {
            let matters = !self.waiting.is_empty() && tag > self.virtual_time;
            if matters && self.resting.len() <= RESTING_MAX {
                return;
            }
            self.resting.pop_first();
            let gone = self.clients.remove(client);
            self.by_hash.remove(&gone.hash);
        }
        if self.waiting.is_empty() {
            self.virtual_time = 0;
        }
    }
}

/// A mean in which the last value has weight 1/8.
fn smooth(mean: Option<u64>, value: u64) -> u64 {
    match mean {
        Some(mean) if mean > 0 => mean - (mean >> COST_SHIFT) + (value >> COST_SHIFT),
        _ => value,
    }
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
