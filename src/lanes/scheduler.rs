//! Slots, lanes and their queues: admit, wait or refuse; and who is next.

use std::collections::BTreeMap;

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

#[derive(Debug)]
struct Lane<W> {
    limits: Limits,
    in_use: usize,
    /// By ticket, that is, by arrival.
    waiting: BTreeMap<u64, W>,
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

/// Answer to a request for a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// The slot is taken; [`Scheduler::release`] it.
    Granted,
    /// Wait for [`Scheduler::next_grant`], or [`Scheduler::leave`] with this ticket.
    Queued(u64),
    /// The queue is full.
    Refused,
}

impl<W> Scheduler<W> {
    /// `lanes` by priority, the most urgent first. Their reserved slots together must not exceed
    /// `total`.
    pub fn new(total: usize, lanes: &[Limits]) -> Self {
        let owed = lanes.iter().map(|limits| limits.reserved).sum();
        assert!(owed <= total, "{owed} slots reserved of {total}");
        let lane = |&limits| Lane { limits, in_use: 0, waiting: BTreeMap::new() };
        let lanes = lanes.iter().map(lane).collect();
        Self { total, in_use: 0, owed, waiting: 0, next_ticket: 0, lanes }
    }

    /// Asks for a slot; `waiter` is kept when there is none. O(log waiters).
    pub fn admit(&mut self, lane: usize, waiter: impl FnOnce() -> W) -> Admission {
        if self.lanes[lane].waiting.is_empty() && self.may_take(lane) {
            self.take(lane);
            return Admission::Granted;
        }
        let queue = &mut self.lanes[lane];
        if queue.waiting.len() >= queue.limits.queue {
            return Admission::Refused;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        queue.waiting.insert(ticket, waiter());
        Admission::Queued(ticket)
    }

    /// Stops waiting. `false` when the ticket is not waiting any more: its slot was granted.
    pub fn leave(&mut self, lane: usize, ticket: u64) -> bool {
        let left = self.lanes[lane].waiting.remove(&ticket).is_some();
        self.waiting -= usize::from(left);
        left
    }

    /// Gives a slot back. Follow with [`Scheduler::next_grant`] until it has none.
    pub fn release(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        assert!(lane.in_use > 0, "a slot was given back twice");
        lane.in_use -= 1;
        self.in_use -= 1;
        self.owed += usize::from(lane.in_use < lane.limits.reserved);
    }

    /// A slot in use counts for another lane from now on, whose maximum it may exceed: what runs
    /// cannot be put back into a queue. Follow with [`Scheduler::next_grant`] until it has none.
    pub fn reassign(&mut self, from: usize, to: usize) {
        self.release(from);
        self.count(to);
    }

    /// Changes the most slots a lane may hold. Follow with [`Scheduler::next_grant`] until it has
    /// none.
    pub fn set_max(&mut self, lane: usize, max: usize) {
        self.lanes[lane].limits.max = max;
    }

    /// The next waiter that may run: its slot is taken. O(lanes + log waiters).
    pub fn next_grant(&mut self) -> Option<(usize, W)> {
        if self.waiting == 0 {
            return None;
        }
        let may_run = |&lane: &usize| !self.lanes[lane].waiting.is_empty() && self.may_take(lane);
        let lane = (0..self.lanes.len()).find(may_run)?;
        let (_, waiter) = self.lanes[lane].waiting.pop_first()?;
        self.waiting -= 1;
        self.take(lane);
        Some((lane, waiter))
    }

    /// Slots in use, of all lanes.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Slots in use and waiters of one lane.
    pub fn lane(&self, lane: usize) -> (usize, usize) {
        (self.lanes[lane].in_use, self.lanes[lane].waiting.len())
    }

    /// The waiter of a lane that waits longest.
    pub fn oldest(&self, lane: usize) -> Option<&W> {
        self.lanes[lane].waiting.values().next()
    }

    fn may_take(&self, lane: usize) -> bool {
        let Lane { limits, in_use, .. } = &self.lanes[lane];
        let free = self.total - self.in_use;
        let owed_to_others = self.owed - limits.reserved.saturating_sub(*in_use);
        *in_use < limits.max && (free > owed_to_others || *in_use < limits.reserved && free > 0)
    }

    fn take(&mut self, lane: usize) {
        self.count(lane);
        assert!(self.lanes[lane].in_use <= self.lanes[lane].limits.max);
    }

    fn count(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        self.owed -= usize::from(lane.in_use < lane.limits.reserved);
        lane.in_use += 1;
        self.in_use += 1;
        assert!(self.in_use <= self.total);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn two_lanes() -> Scheduler<&'static str> {
        let interactive = Limits { reserved: 2, max: 6, queue: 3 };
        let batch = Limits { reserved: 1, max: 3, queue: 3 };
        Scheduler::new(6, &[interactive, batch])
    }

    #[test]
    fn batch_never_takes_what_is_reserved_nor_more_than_its_maximum() {
        let mut slots = two_lanes();
        for _ in 0..3 {
            assert_eq!(slots.admit(1, || "batch"), Admission::Granted);
        }
        assert!(matches!(slots.admit(1, || "batch"), Admission::Queued(_)));
        for _ in 0..3 {
            assert_eq!(slots.admit(0, || "click"), Admission::Granted);
        }
        assert!(matches!(slots.admit(0, || "click"), Admission::Queued(_)));
    }

    #[test]
    fn interactive_leaves_one_slot_to_batch() {
        let mut slots = two_lanes();
        for _ in 0..5 {
            assert_eq!(slots.admit(0, || "click"), Admission::Granted);
        }
        assert!(matches!(slots.admit(0, || "click"), Admission::Queued(_)));
        assert_eq!(slots.admit(1, || "batch"), Admission::Granted);
    }

    #[test]
    fn a_freed_slot_goes_to_the_most_urgent_waiter() {
        let mut slots = two_lanes();
        for _ in 0..3 {
            slots.admit(1, || "batch");
            slots.admit(0, || "click");
        }
        slots.admit(1, || "batch");
        slots.admit(0, || "first click");
        slots.admit(0, || "second click");
        slots.release(1);
        assert_eq!(slots.next_grant(), Some((0, "first click")));
        assert_eq!(slots.next_grant(), None);
        slots.release(0);
        assert_eq!(slots.next_grant(), Some((0, "second click")));
        slots.release(0);
        assert_eq!(slots.next_grant(), Some((1, "batch")));
    }

    #[test]
    fn a_slot_that_turns_out_to_be_batch_frees_a_place_among_the_interactive() {
        let mut slots = Scheduler::new(
            6,
            &[Limits { reserved: 2, max: 3, queue: 3 }, Limits { reserved: 1, max: 1, queue: 3 }],
        );
        (0..3).for_each(|_| assert_eq!(slots.admit(0, || "click"), Admission::Granted));
        assert_eq!(slots.admit(1, || "batch"), Admission::Granted);
        assert!(matches!(slots.admit(0, || "click"), Admission::Queued(_)));
        slots.reassign(0, 1);
        assert_eq!((slots.lane(0).0, slots.lane(1).0, slots.in_use()), (2, 2, 4));
        assert_eq!(slots.next_grant(), Some((0, "click")));
        assert!(matches!(slots.admit(1, || "batch"), Admission::Queued(_)));
        slots.release(1);
        assert_eq!(slots.next_grant(), None, "one batch is still the most");
        slots.set_max(1, 2);
        assert_eq!(slots.next_grant(), Some((1, "batch")));
    }

    #[test]
    fn a_full_queue_refuses_and_a_left_one_admits_again() {
        let mut slots = Scheduler::new(1, &[Limits { reserved: 0, max: 1, queue: 1 }]);
        slots.admit(0, || 0);
        let Admission::Queued(ticket) = slots.admit(0, || 1) else { panic!("one is in use") };
        assert_eq!(slots.admit(0, || 2), Admission::Refused);
        assert!(slots.leave(0, ticket));
        assert!(!slots.leave(0, ticket));
        assert!(matches!(slots.admit(0, || 3), Admission::Queued(_)));
    }

    proptest! {
        /// Whatever happens in whatever order: the bounds hold, and nobody who could run waits.
        #[test]
        fn bounds_hold_and_no_slot_idles(steps in prop::collection::vec((0..3_u8, 0..2_usize), 0..300)) {
            let mut slots = two_lanes();
            let mut tickets: Vec<(usize, u64)> = Vec::new();
            for (step, lane) in steps {
                match step {
                    0 => {
                        if let Admission::Queued(ticket) = slots.admit(lane, || "waiter") {
                            tickets.push((lane, ticket));
                        }
                    }
                    1 if slots.lane(lane).0 > 0 => slots.release(lane),
                    2 => {
                        if let Some((lane, ticket)) = tickets.pop() {
                            slots.leave(lane, ticket);
                        }
                    }
                    _ => {}
                }
                while slots.next_grant().is_some() {}
                let (interactive, batch) = (slots.lane(0), slots.lane(1));
                prop_assert!(interactive.0 + batch.0 <= 6 && batch.0 <= 3 && interactive.0 <= 5);
                prop_assert_eq!(slots.in_use(), interactive.0 + batch.0);
                if interactive.1 > 0 {
                    prop_assert!(interactive.0 + batch.0.max(1) >= 6);
                }
                if batch.1 > 0 {
                    prop_assert!(batch.0 == 3 || interactive.0.max(2) + batch.0 >= 6);
                }
            }
        }
    }
}
