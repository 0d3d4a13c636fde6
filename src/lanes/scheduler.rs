//! Slots, lanes and their queues: admit, wait or refuse; and who is next.

use std::time::Duration;

use super::fair::{FairQueue, Next, Party, Precedence};

/// Bounds of one lane at one backend, in slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Slots only this lane may use.
    pub reserved: usize,
    /// Most slots it may hold.
    pub max: usize,
    /// Most waiters.
    pub queue: usize,
}

/// What somebody wants of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The lane of the work.
    pub lane: usize,
    /// Whose turn it is: a hash of user, address and program. Clients share a lane fairly.
    pub client: u64,
    /// What kind of work it is: the digest of its statement. Kinds share a client's turns fairly.
    pub kind: u64,
    /// The same, but who wants locks of different names is of different kinds: whether many hold slots for long.
    pub crowd: u64,
    /// When that was begun with which the work goes on (see [`super::Account::continues`]), since an
    /// origin that is the same for all; `None`: it begins.
    pub begun: Option<Duration>,
}

/// A slot in use; [`Scheduler::release`] it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot is given back by release"]
pub struct Turn {
    lane: usize,
    party: Party,
    /// What client and kind were charged for it, in nanoseconds.
    charged: u64,
    /// The lane it was granted to, where that is another one.
    from: Option<usize>,
}

impl Turn {
    /// The lane it counts for.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// The kind of work it was granted to.
    pub fn kind(&self) -> u64 {
        self.party.kind
    }
}

#[derive(Debug)]
struct Lane<W> {
    limits: Limits,
    /// Slots in use that were granted to it, and those that were granted to other lanes.
    own: usize,
    moved: usize,
    /// Slots in use that were granted to it, and count for other lanes by now.
    lent: usize,
    waiting: FairQueue<W>,
    /// That of work that goes on.
    precedence: Precedence,
    /// Turns granted, and those of them to work that did not go on with what was begun.
    granted: u64,
    begun: u64,
}

impl<W> Lane<W> {
    fn in_use(&self) -> usize {
        self.own + self.moved
    }

    /// Reserved slots that it does not use. Those of them that it has lent it gets once more, as far as no other
    /// lane waits for what it is owed for sure.
    fn owed(&self) -> usize {
        self.limits.reserved.saturating_sub(self.own)
    }

    /// Those of them that none of what was granted to it holds: they are free, or others hold too much.
    fn owed_for_sure(&self) -> usize {
        self.limits.reserved.saturating_sub(self.own + self.lent)
    }
}

/// Slots of one backend, with `W` standing for a waiter.
#[derive(Debug)]
pub struct Scheduler<W> {
    total: usize,
    in_use: usize,
    /// Slots that lanes have reserved and do not use now.
    owed: usize,
    waiting: usize,
    next_ticket: u64,
    lanes: Vec<Lane<W>>,
}

/// What a lane does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneNow {
    /// Slots in use.
    pub in_use: usize,
    /// Waiters.
    pub waiting: usize,
    /// Turns granted since the start.
    pub granted: u64,
    /// Those of them to work that did not go on with what was begun.
    pub begun: u64,
}

/// Answer to a request for a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<W> {
    /// The slot is taken.
    Granted(Turn),
    /// Wait for [`Scheduler::next_grant`], or [`Scheduler::leave`] with this ticket. When the queue
    /// was full, another waiter had to go: that of a client with more of them.
    Queued(u64, Option<W>),
    /// The queue is full.
    Refused,
}

impl<W> Scheduler<W> {
    /// `lanes` by priority, the most urgent first. Their reserved slots together must not exceed
    /// `total`.
    pub fn new(total: usize, lanes: &[Limits]) -> Self {
        let owed = lanes.iter().map(|limits| limits.reserved).sum();
        assert!(owed <= total, "{owed} slots reserved of {total}");
        let lane = |&limits| Lane {
            limits,
            own: 0,
            moved: 0,
            lent: 0,
            waiting: FairQueue::default(),
            precedence: Precedence::None,
            granted: 0,
            begun: 0,
        };
        let lanes = lanes.iter().map(lane).collect();
        Self { total, in_use: 0, owed, waiting: 0, next_ticket: 0, lanes }
    }

    /// Asks for a slot; `waiter` is kept when there is none. O(log waiters).
    pub fn admit(&mut self, demand: Demand, waiter: impl FnOnce() -> W) -> Admission<W> {
        let Demand { lane, client, kind, begun, .. } = demand;
        let party = Party { client, kind };
        if self.has_free(lane) {
            self.take(lane, begun.is_some());
            return Admission::Granted(Turn { lane, party, charged: 0, from: None });
        }
        let queue = &mut self.lanes[lane];
        let is_full = queue.waiting.len() >= queue.limits.queue;
        let evicted = if is_full { queue.waiting.pop_of_largest_crowd(client) } else { None };
        if is_full && evicted.is_none() {
            return Admission::Refused;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += usize::from(!is_full);
        queue.waiting.push(ticket, party, begun.map(nanoseconds), waiter());
        Admission::Queued(ticket, evicted)
    }

    /// Stops waiting. `false` when the ticket is not waiting any more: its slot was granted, or it
    /// had to go. O(log waiters).
    pub fn leave(&mut self, lane: usize, ticket: u64) -> bool {
        let left = self.lanes[lane].waiting.remove(ticket).is_some();
        self.waiting -= usize::from(left);
        left
    }

    /// Takes out the waiter of a lane that waits longest. O(log waiters).
    pub fn dismiss_oldest(&mut self, lane: usize) -> Option<W> {
        let waiter = self.lanes[lane].waiting.pop_oldest()?;
        self.waiting -= 1;
        Some(waiter)
    }

    /// Gives a slot back after `service`, which is what its client pays for. Follow with
    /// [`Scheduler::next_grant`] until it has none. O(log clients) while somebody waits.
    pub fn release(&mut self, turn: Turn, service: Duration) {
        if let Some(from) = turn.from {
            self.lanes[from].lent -= 1;
        }
        let lane = &mut self.lanes[turn.lane];
        let count = if turn.from.is_some() { &mut lane.moved } else { &mut lane.own };
        assert!(*count > 0, "a slot was given back twice");
        *count -= 1;
        self.in_use -= 1;
        self.owed += usize::from(turn.from.is_none() && lane.own < lane.limits.reserved);
        if !lane.waiting.is_empty() {
            // What was charged nothing may have begun when nobody waited.
            let service = if turn.charged == 0 { service.min(CORRECTED_MAX) } else { service };
            lane.waiting.settle(turn.party, turn.charged, nanoseconds(service));
        }
    }

    /// A slot in use counts for another lane from now on, after `service` in the first, whose maximum
    /// it may exceed: what runs cannot be put back into a queue. It is none of those which are reserved
    /// there. Follow with [`Scheduler::next_grant`] until it has none.
    pub fn reassign(&mut self, turn: &mut Turn, to: usize, service: Duration) {
        let from = turn.from.unwrap_or(turn.lane);
        let moved = Turn { lane: to, party: turn.party, charged: 0, from: Some(from) };
        self.release(std::mem::replace(turn, moved), service);
        self.lanes[to].moved += 1;
        self.lanes[from].lent += 1;
        self.in_use += 1;
    }

    /// Changes all lanes' limits; reserved slots together must not exceed all. What is in use or
    /// waits beyond them stays. Follow with [`Scheduler::next_grant`] until it has none.
    pub fn set_limits(&mut self, limits: &[Limits]) {
        self.owed = 0;
        for (lane, &limits) in self.lanes.iter_mut().zip(limits) {
            lane.limits = limits;
            self.owed += lane.owed();
        }
    }

    /// Changes the most slots a lane may hold. Follow with [`Scheduler::next_grant`] until it has
    /// none.
    pub fn set_max(&mut self, lane: usize, max: usize) {
        self.lanes[lane].limits.max = max;
    }

    /// What work of a lane gets from now on that goes on with what was begun.
    pub fn set_precedence(&mut self, lane: usize, precedence: Precedence) {
        self.lanes[lane].precedence = precedence;
    }

    /// The next waiter that may run: its slot is taken. O(lanes + log waiters).
    pub fn next_grant(&mut self) -> Option<(Turn, W)> {
        if self.waiting == 0 {
            return None;
        }
        let may_run = |&lane: &usize| !self.lanes[lane].waiting.is_empty() && self.may_take(lane);
        let lane = (0..self.lanes.len()).find(may_run)?;
        let Lane { waiting, precedence, .. } = &mut self.lanes[lane];
        let Next { waiter, party, charged, continues } = waiting.pop(*precedence)?;
        self.waiting -= 1;
        self.take(lane, continues);
        Some((Turn { lane, party, charged, from: None }, waiter))
    }

    /// Slots in use, of all lanes.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// What one lane does now.
    pub fn lane(&self, lane: usize) -> LaneNow {
        let lane = &self.lanes[lane];
        let (in_use, waiting) = (lane.in_use(), lane.waiting.len());
        LaneNow { in_use, waiting, granted: lane.granted, begun: lane.begun }
    }

    /// Whether the lane would get a slot at once.
    pub fn has_free(&self, lane: usize) -> bool {
        self.lanes[lane].waiting.is_empty() && self.may_take(lane)
    }

    /// Whether no more slots are free for the lane than are reserved for it.
    pub fn is_at_reserve(&self, lane: usize) -> bool {
        let lane = &self.lanes[lane];
        let owed_to_others = self.owed - lane.owed();
        let free = (self.total - self.in_use).saturating_sub(owed_to_others);
        free <= lane.limits.reserved
    }

    /// The waiter of a lane that waits longest.
    pub fn oldest(&self, lane: usize) -> Option<&W> {
        self.lanes[lane].waiting.oldest()
    }

    fn may_take(&self, lane: usize) -> bool {
        let own = &self.lanes[lane];
        let (free, owed) = (self.total - self.in_use, own.owed());
        own.in_use() < own.limits.max
            && (free > self.owed - owed
                || free > 0 && own.owed_for_sure() > 0
                || owed > 0 && free > self.waited_for_by_others(lane))
    }

    /// Slots for which other lanes wait that are owed to them for sure. O(lanes).
    fn waited_for_by_others(&self, lane: usize) -> usize {
        let others = self.lanes.iter().enumerate().filter(|&(index, _)| index != lane);
        others.map(|(_, other)| other.owed_for_sure().min(other.waiting.len())).sum()
    }

    fn take(&mut self, lane: usize, continues: bool) {
        let lane = &mut self.lanes[lane];
        self.owed -= usize::from(lane.own < lane.limits.reserved);
        lane.own += 1;
        self.in_use += 1;
        lane.granted += 1;
        lane.begun += u64::from(!continues);
        assert!(lane.in_use() <= lane.limits.max && self.in_use <= self.total);
    }
}

/// Most of a turn's service that its client pays for afterwards, where it paid nothing before.
const CORRECTED_MAX: Duration = Duration::from_secs(1);

/// 584 years at most.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
