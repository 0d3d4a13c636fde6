//! Flows of waiters that share turns fairly: start-time fair queueing.
//!
//! Each flow has a tag, the service it has had; who has the least is next, and within a flow who
//! came first. A flow that comes anew starts at the virtual time, which is that of who was served
//! last. What a turn costs is known only when it ends: it is charged with what the flow's turns
//! usually take, and corrected then.
//!
//! The virtual time also moves by a fair share of each turn, so that flows that come once and never
//! again can't keep one that has been served before waiting for ever.
//!
//! A flow without waiters is forgotten when its tag is not ahead of the virtual time; of those that
//! are ahead a bounded number is kept.
//!
//! Sources: Goyal, Vin and Cheng, *Start-time Fair Queueing*, 1996; with several turns at a time Jin,
//! Chase and Kaur, *Interposed proportional sharing for a storage service utility* (SFQ(D)), 2004.

use std::collections::BTreeSet;

use foldhash::HashMap;
use slab::Slab;

/// Part of the last turn in what a flow's turns usually take.
const COST_SHIFT: u32 = 3;

/// Flows with something of its own in each. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Flows<D> {
    /// A flow that comes anew has had as much as this.
    virtual_time: u64,
    /// What a turn takes, of all flows.
    cost: u64,
    all: Slab<Flow<D>>,
    by_hash: HashMap<u64, usize>,
    /// Flows with waiters, by tag and first ticket.
    active: BTreeSet<(u64, u64, usize)>,
    /// Flows without, by tag.
    resting: BTreeSet<(u64, usize)>,
    /// Most of those.
    resting_max: usize,
}

/// Waiters who are served in the order in which they came.
#[derive(Debug)]
pub(super) struct Flow<D> {
    hash: u64,
    tag: u64,
    /// What its turns take; `None` while it has had none.
    cost: Option<u64>,
    /// In the order in which they came.
    pub(super) tickets: BTreeSet<u64>,
    pub(super) data: D,
}

impl<D> Flow<D> {
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The service it has had.
    pub(super) fn tag(&self) -> u64 {
        self.tag
    }
}

impl<D: Default> Flows<D> {
    /// None yet; at most `resting_max` are remembered that do not wait.
    pub(super) fn new(resting_max: usize) -> Self {
        Self {
            virtual_time: 0,
            cost: 0,
            all: Slab::new(),
            by_hash: HashMap::default(),
            active: BTreeSet::new(),
            resting: BTreeSet::new(),
            resting_max,
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Flows known now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn virtual_time(&self) -> u64 {
        self.virtual_time
    }

    /// The flow with this hash, if it is known.
    pub(super) fn find(&self, hash: u64) -> Option<usize> {
        self.by_hash.get(&hash).copied()
    }

    pub(super) fn get(&self, flow: usize) -> Option<&Flow<D>> {
        self.all.get(flow)
    }

    /// What is its own of a flow that is known.
    pub(super) fn data(&mut self, flow: usize) -> Option<&mut D> {
        Some(&mut self.all.get_mut(flow)?.data)
    }

    /// What its turns take, or as long as none has ended those of all; `None` if that is not known
    /// either.
    pub(super) fn charge(&self, flow: usize) -> Option<u64> {
        let all = Some(self.cost).filter(|&cost| cost > 0);
        self.all.get(flow).and_then(|flow| flow.cost).or(all)
    }

    /// The flow that is next, with its first ticket.
    pub(super) fn first(&self) -> Option<(usize, u64)> {
        self.active.first().map(|&(_, ticket, flow)| (flow, ticket))
    }

    /// Adds a waiter to the flow with this hash; tickets grow. O(log waiters).
    pub(super) fn join(&mut self, hash: u64, ticket: u64) -> usize {
        let flow = self.flow(hash);
        self.unlink(flow);
        let of = &mut self.all[flow];
        if of.tickets.is_empty() {
            of.tag = of.tag.max(self.virtual_time);
        }
        of.tickets.insert(ticket);
        self.link(flow);
        flow
    }

    /// A flow is served, in its turn or before it, and charged. O(log waiters).
    pub(super) fn serve(&mut self, flow: usize, ticket: u64, charged: u64, in_turn: bool) {
        let flows = u64::try_from(self.active.len()).unwrap_or(u64::MAX).max(1);
        self.virtual_time = self.virtual_time.saturating_add(charged / flows);
        if in_turn {
            self.virtual_time = self.virtual_time.max(self.all[flow].tag);
        }
        self.take(flow, ticket, charged);
    }

    /// A waiter of a flow gives up. O(log waiters).
    pub(super) fn leave(&mut self, flow: usize, ticket: u64) {
        self.take(flow, ticket, 0);
    }

    /// A turn that was charged with `charged` has taken `service`. O(log flows).
    pub(super) fn settle(&mut self, hash: u64, charged: u64, service: u64) {
        if self.is_empty() {
            return;
        }
        self.cost = smooth(Some(self.cost), service);
        if service <= charged && !self.by_hash.contains_key(&hash) {
            return;
        }
        let flow = self.flow(hash);
        self.unlink(flow);
        let of = &mut self.all[flow];
        of.tag = of.tag.saturating_add(service).saturating_sub(charged);
        of.cost = Some(smooth(of.cost, service));
        self.link(flow);
        self.forget();
    }

    fn take(&mut self, flow: usize, ticket: u64, charged: u64) {
        self.unlink(flow);
        let of = &mut self.all[flow];
        of.tickets.remove(&ticket);
        of.tag = of.tag.saturating_add(charged);
        self.link(flow);
        self.forget();
    }

    fn flow(&mut self, hash: u64) -> usize {
        *self.by_hash.entry(hash).or_insert_with(|| {
            let tag = self.virtual_time;
            let tickets = BTreeSet::new();
            let flow = self.all.insert(Flow { hash, tag, cost: None, tickets, data: D::default() });
            // As `unlink` finds it.
            self.resting.insert((tag, flow));
            flow
        })
    }

    /// Takes a flow out of the orders, to change it.
    fn unlink(&mut self, flow: usize) {
        let of = &self.all[flow];
        match of.tickets.first() {
            Some(&first) => self.active.remove(&(of.tag, first, flow)),
            None => self.resting.remove(&(of.tag, flow)),
        };
    }

    fn link(&mut self, flow: usize) {
        let of = &self.all[flow];
        match of.tickets.first() {
            Some(&first) => self.active.insert((of.tag, first, flow)),
            None => self.resting.insert((of.tag, flow)),
        };
    }

    /// Forgets flows that don't matter any more.
    fn forget(&mut self) {
        while let Some(&(tag, flow)) = self.resting.first() {
            let matters = !self.is_empty() && tag > self.virtual_time;
            if matters && self.resting.len() <= self.resting_max {
                return;
            }
            self.resting.pop_first();
            let gone = self.all.remove(flow);
            self.by_hash.remove(&gone.hash);
        }
        if self.is_empty() {
            self.virtual_time = 0;
        }
    }

    /// Whether the orders agree with each other.
    #[cfg(test)]
    pub(super) fn agree(&self) -> bool {
        let waiting = self.all.iter().filter(|(_, of)| !of.tickets.is_empty()).count();
        self.active.len() == waiting
            && self.resting.len() == self.all.len() - waiting
            && self.by_hash.len() == self.all.len()
            && (!self.is_empty() || self.all.is_empty())
    }
}

/// A mean in which the last value has weight 1/8.
fn smooth(mean: Option<u64>, value: u64) -> u64 {
    match mean {
        Some(mean) if mean > 0 => mean - (mean >> COST_SHIFT) + (value >> COST_SHIFT),
        _ => value,
    }
}
