//! Writes of one scope that are on their way: sent to the primary, and not answered yet.
//!
//! A server lets locks go and shows rows at the commit, before its OK packet is here. So a statement of another
//! session on the primary may have seen a write that no token has, and a replica need not have that. The token
//! has it as soon as all have ended that were on their way then, or a reading of the primary's position has come
//! that began later.
//!
//! Which those are is known by ages: each write counts for the age in which it was sent, and an age begins when
//! somebody wants to know and all writes have ended that are two ages old.

use std::sync::atomic::{AtomicU64, Ordering};

/// What may be committed by a statement that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// Nothing.
    Never,
    /// All it does, at its end.
    AtItsEnd,
    /// Step by step, as by a procedure.
    InSteps,
}

/// A statement that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    age: u64,
    commits: Commits,
}

impl Flight {
    /// What it may commit.
    pub fn commits(&self) -> Commits {
        self.commits
    }
}

/// The writes of one scope that are on their way.
#[derive(Debug, Default)]
pub struct Flights {
    state: AtomicU64,
    /// Of them those that commit in steps.
    in_steps: AtomicU64,
    /// Statements whose connection was lost, and which the server may have yet.
    lost: AtomicU64,
}

/// Bits for the writes of one age.
const COUNT_BITS: u32 = 20;
/// Those that are left for the age.
const AGE_BITS: u32 = u64::BITS - 2 * COUNT_BITS;

/// The present age, and writes on their way by whether their age is odd, in one word.
#[derive(Debug, Clone, Copy)]
struct State(u64);

impl State {
    fn age(self) -> u64 {
        self.0 >> (2 * COUNT_BITS)
    }

    /// One write of an age like `age`.
    fn one(age: u64) -> u64 {
        1 << (COUNT_BITS * u32::from(age & 1 == 1))
    }

    /// Writes on their way of an age like `age`.
    fn count(self, age: u64) -> u64 {
        self.0 / Self::one(age) % (1 << COUNT_BITS)
    }

    fn sum(self) -> u64 {
        self.count(0) + self.count(1)
    }

    /// In the next age, if nothing is left of the one before.
    fn next(self) -> Option<Self> {
        let is_next = self.count(self.age() + 1) == 0;
        // An age that comes again after the last one is taken for a younger one, which is safe.
        is_next.then(|| Self(self.0.wrapping_add(1 << (2 * COUNT_BITS))))
    }
}

impl Flights {
    /// Before a statement is sent.
    pub fn begin(&self, commits: Commits) -> Flight {
        if commits == Commits::InSteps {
            self.in_steps.fetch_add(1, Ordering::SeqCst);
        }
        let add =
            |state| (commits != Commits::Never).then(|| state + State::one(State(state).age()));
        let before = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        Flight { age: State(before.unwrap_or_default()).age(), commits }
    }

    /// After what it has written is in the token.
    pub fn end(&self, flight: Flight) {
        if flight.commits != Commits::Never {
            self.state.fetch_sub(State::one(flight.age), Ordering::SeqCst);
        }
        if flight.commits == Commits::InSteps {
            self.in_steps.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The connection of a statement is lost, which the server may have yet: [`Self::forget_lost`] ends that.
    pub fn lose(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }

    /// The server does not have it any more, or may not be waited for any longer.
    pub fn forget_lost(&self) {
        self.lost.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether something that was lost may be committed yet: no reading tells where.
    pub fn have_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst) > 0
    }

    /// How others commit that are on their way beside `own`.
    pub fn beside(&self, own: Flight) -> Commits {
        let is_own = u64::from(own.commits != Commits::Never);
        let is_own_in_steps = u64::from(own.commits == Commits::InSteps);
        if State(self.state.load(Ordering::SeqCst)).sum() <= is_own {
            Commits::Never
        } else if self.in_steps.load(Ordering::SeqCst) > is_own_in_steps {
            Commits::InSteps
        } else {
            Commits::AtItsEnd
        }
    }

    /// The present age, of which what has just been seen may be; the next one begins soon.
    pub fn seen(&self) -> u64 {
        let state = State(self.state.load(Ordering::SeqCst));
        self.begin_age(state);
        state.age()
    }

    /// Whether all have ended that were on their way when something was seen at this age.
    pub fn have_ended(&self, age: u64) -> bool {
        let mut state = State(self.state.load(Ordering::SeqCst));
        if state.age() == age {
            if state.sum() == 0 {
                return true;
            }
            state = self.begin_age(state);
        }
        match state.age().wrapping_sub(age) % (1 << AGE_BITS) {
            0 => false,
            1 => state.count(age) == 0,
            _ => true,
        }
    }

    /// The next age, if it may begin and no other has meanwhile.
    fn begin_age(&self, state: State) -> State {
        let Some(next) = state.next() else { return state };
        let order = Ordering::SeqCst;
        match self.state.compare_exchange(state.0, next.0, order, order) {
            Ok(_) => next,
            Err(_) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_seen_by_others_only() {
        let flights = Flights::default();
        let reads = flights.begin(Commits::Never);
        assert_eq!(flights.beside(reads), Commits::Never);
        let write = flights.begin(Commits::AtItsEnd);
        assert_eq!(flights.beside(write), Commits::Never);
        assert_eq!(flights.beside(reads), Commits::AtItsEnd);
        let call = flights.begin(Commits::InSteps);
        assert_eq!(flights.beside(write), Commits::InSteps);
        assert_eq!(flights.beside(call), Commits::AtItsEnd);
        flights.end(write);
        assert_eq!(flights.beside(call), Commits::Never);
        flights.end(call);
        flights.end(reads);
        assert_eq!(flights.beside(reads), Commits::Never);
    }

    #[test]
    fn what_was_seen_is_told_once_all_have_ended_that_were_on_their_way() {
        let flights = Flights::default();
        let first = flights.begin(Commits::AtItsEnd);
        let seen = flights.seen();
        assert!(!flights.have_ended(seen));
        let later = flights.begin(Commits::AtItsEnd);
        flights.end(first);
        assert!(flights.have_ended(seen), "what is sent later does not matter");
        let seen = flights.seen();
        let latest = flights.begin(Commits::AtItsEnd);
        assert!(!flights.have_ended(seen));
        flights.end(latest);
        assert!(!flights.have_ended(seen));
        flights.end(later);
        assert!(flights.have_ended(seen));
    }

    #[test]
    fn one_that_lasts_keeps_what_was_seen_untold_and_nothing_that_was_before_it() {
        let flights = Flights::default();
        let before = flights.begin(Commits::AtItsEnd);
        let seen_before = flights.seen();
        let call = flights.begin(Commits::InSteps);
        flights.end(before);
        assert!(flights.have_ended(seen_before));
        let seen = flights.seen();
        for _ in 0..5 {
            let write = flights.begin(Commits::AtItsEnd);
            assert!(!flights.have_ended(flights.seen()));
            flights.end(write);
        }
        assert!(!flights.have_ended(seen) && flights.have_ended(seen_before));
        flights.end(call);
        assert!(flights.have_ended(seen));
    }

    #[test]
    fn ages_come_again() {
        let flights =
            Flights { state: AtomicU64::new(u64::MAX << (2 * COUNT_BITS)), ..Flights::default() };
        let write = flights.begin(Commits::AtItsEnd);
        let seen = flights.seen();
        let later = flights.begin(Commits::AtItsEnd);
        assert!(!flights.have_ended(seen));
        flights.end(write);
        assert!(flights.have_ended(seen));
        flights.end(later);
        assert_eq!(flights.beside(Flight { age: 0, commits: Commits::Never }), Commits::Never);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let flights = Flights::default();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..10_000 {
                        let write = flights.begin(Commits::AtItsEnd);
                        let seen = flights.seen();
                        assert!(!flights.have_ended(seen), "the own one has not");
                        flights.end(write);
                    }
                });
            }
        });
        assert!(flights.have_ended(flights.seen()));
    }
}
