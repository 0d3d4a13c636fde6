//! Waiters that are told what became of them: each step here is done under one lock.
//!
//! ```text
//!             ┌────────────► told: granted ──► takes the slot ──► gives it back
//!  waits ─────┤                     └────────► is gone: passes it on
//!             ├────────────► told: dismissed
//!             └─ leaves (time over, or gone)
//! ```
//!
//! A waiter is told exactly once or leaves, never both, whatever comes when: `wake_tests.rs` runs
//! every order of events.

use std::time::Duration;

use super::scheduler::{Admission, Demand, Scheduler, Turn};

/// What became of a waiter.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The slot is his.
    Granted(Turn),
    /// He had to go.
    Dismissed(Dismissal),
}

/// Why a waiter had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dismissal {
    /// The queue was full, and another client had fewer waiters.
    Full,
    /// The lane is overloaded, and he had waited longer than its `overload_timeout`.
    Overload,
    /// The server is not used any more.
    Unusable,
}

/// Somebody who can be told.
pub trait Wake {
    /// Tells him; what he is told must reach [`Scheduler::vanish`] or [`Scheduler::give_up`] when he
    /// comes there later.
    fn wake(self, told: Told);
}

/// How a waiter went away.
#[derive(Debug, PartialEq, Eq)]
pub enum Gone {
    /// He was waiting.
    Left,
    /// He had been told before.
    WasTold,
}

impl<W: Wake> Scheduler<W> {
    /// [`Scheduler::admit`], and who had to make room is told.
    pub fn enter(&mut self, demand: Demand, waiter: impl FnOnce() -> W) -> Admission<W> {
        match self.admit(demand, waiter) {
            Admission::Queued(ticket, Some(evicted)) => {
                evicted.wake(Told::Dismissed(Dismissal::Full));
                Admission::Queued(ticket, None)
            }
            admission => admission,
        }
    }

    /// Tells every waiter that may run now.
    pub fn wake_next(&mut self) {
        while let Some((turn, waiter)) = self.next_grant() {
            waiter.wake(Told::Granted(turn));
        }
    }

    /// Gives a slot back that was in use for `service`, and tells who may run now.
    pub fn give_back(&mut self, turn: Turn, service: Duration) {
        self.release(turn, service);
        self.wake_next();
    }

    /// A waiter goes away, for whatever reason. `told` is what he has been told, if anything: a slot
    /// that he will not use goes to the next.
    pub fn vanish(
        &mut self,
        lane: usize,
        ticket: u64,
        told: impl FnOnce() -> Option<Told>,
    ) -> Gone {
        match self.give_up(lane, ticket, told) {
            None => Gone::Left,
            Some(Told::Granted(turn)) => {
                self.give_back(turn, Duration::ZERO);
                Gone::WasTold
            }
            Some(Told::Dismissed(_)) => Gone::WasTold,
        }
    }

    /// A waiter's time is over: he leaves, unless he has been told already; then that holds.
    pub fn give_up(
        &mut self,
        lane: usize,
        ticket: u64,
        told: impl FnOnce() -> Option<Told>,
    ) -> Option<Told> {
        if self.leave(lane, ticket) {
            // Who waited behind him in the lane waits for a slot, not for his place.
            return None;
        }
        let told = told();
        assert!(told.is_some(), "a waiter that does not wait any more has been told why");
        told
    }

    /// Dismisses the waiters of a lane that wait longest, while `is_old`, but at most so many, and says
    /// `why`. How many these were.
    pub fn dismiss_old(
        &mut self,
        (lane, why): (usize, Dismissal),
        is_old: impl Fn(&W) -> bool,
        at_most: usize,
    ) -> usize {
        let mut dismissed = 0;
        while dismissed < at_most && self.oldest(lane).is_some_and(&is_old) {
            let Some(waiter) = self.dismiss_oldest(lane) else { break };
            waiter.wake(Told::Dismissed(why));
            dismissed += 1;
        }
        dismissed
    }
}

#[cfg(test)]
#[path = "wake_tests.rs"]
mod tests;
