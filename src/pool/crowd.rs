//! Kinds of work that hold slots for long: the last slots are for others.
//!
//! ```text
//!  slots (14)      ███████████████████████ for long  ▒▒ in use   ░░░░ no more free than are reserved
//!                  of one kind                       of others    └─► further work of that kind is batch
//! ```
//!
//! A statement of which nobody knows yet that it is long begins as interactive, and counts for batch only after a
//! while. Its lane has what is reserved for it free again by then, and the next one of the same kind would get it: a
//! report that twenty users open, a row that is locked for long and that all of them want. So one kind can't have
//! the last slots. Its work is batch when it comes to that, as long as those turns last and no longer: kinds of
//! short statements are never meant, however many slots they use, and others are what they were.

use std::time::Duration;

use foldhash::HashMap;

/// Time for which slots must have been held by what runs of a kind, for each slot there is.
const HELD_A_SLOT: Duration = Duration::from_millis(150);
/// And least time: it is never a single one.
const HELD_MIN: Duration = Duration::from_millis(1_200);
/// Most that one slot counts for: a single long statement is no crowd.
const HELD_MAX: Duration = Duration::from_secs(1);
/// A slot of such a kind that has been held for longer counts for batch already.
pub(super) const HELD_IN_A_CROWD: Duration = Duration::from_millis(100);

/// Part of a new number of slots given back in their average: half of it in 1.4 s.
const FOLLOWS: f32 = 0.05;
/// After a crowd, time for which batch may have all slots but those that are reserved: statements wait there that
/// are users'.
pub(super) const CROWD_DRAINS: Duration = Duration::from_secs(5);

/// Kinds of work that hold many slots for long.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    /// For how long what runs now of a kind has held its slots, together.
    held: HashMap<u64, Duration>,
    /// A few at most: what all slots can have been held for is not much more.
    kinds: Vec<u64>,
    /// Slots given back between two looks, on average of late.
    given_back: f32,
}

impl Crowds {
    /// Looks anew at what runs in the default lane, or ran there at first, each with its kind, and for how long it
    /// has run; so many slots were given back since the last look. Whether there are such kinds. Others than before are
    /// not found while a server stands still that did not before: then everything takes long. O(slots).
    pub(super) fn look(
        &mut self,
        running: impl Iterator<Item = (u64, Duration)>,
        slots: usize,
        given_back: u16,
    ) -> bool {
        let stands_still = given_back == 0 && self.given_back >= 1.0;
        self.given_back += FOLLOWS * (f32::from(given_back) - self.given_back);
        self.held.clear();
        // Without a kind are logins, and commands that go on with something.
        for (kind, age) in running.filter(|&(kind, _)| kind != 0) {
            let held = self.held.entry(kind).or_default();
            *held = held.saturating_add(age.min(HELD_MAX));
        }
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let least = HELD_A_SLOT.saturating_mul(slots).max(HELD_MIN);
        let is_one = |kind: &u64| self.held.get(kind).is_some_and(|held| *held >= least);
        self.kinds.retain(is_one);
        if !stands_still {
            self.kinds.clear();
            self.kinds.extend(self.held.keys().copied().filter(is_one));
        }
        !self.kinds.is_empty()
    }

    /// Whether a kind is one of these.
    pub(super) fn has(&self, kind: u64) -> bool {
        self.kinds.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_crowd(count: u64, age: u64, slots: usize) -> bool {
        let mut crowds = Crowds::default();
        let of_one = (0..count).map(|_| (7, Duration::from_millis(age)));
        let of_others = (0..20).map(|kind| (8 + kind, Duration::from_secs(9)));
        let is_any = crowds.look(of_one.chain(of_others), slots, 3);
        assert_eq!(is_any, crowds.has(7));
        assert!(!crowds.has(8) && !crowds.has(0));
        is_any
    }

    #[test]
    fn a_kind_that_holds_a_good_part_of_the_slots_for_long_is_one() {
        for (count, age, slots, expected) in [
            (3, 12_000, 14, true),
            (10, 250, 14, true),
            // Many pages of 200 ms, of which each runs for half of that.
            (13, 100, 14, false),
            (2, 12_000, 14, false),
            (1, 60_000, 2, false),
            (2, 900, 2, true),
            (14, 12_000, 100, false),
            (15, 12_000, 100, true),
        ] {
            assert_eq!(is_crowd(count, age, slots), expected, "{count} {age} {slots}");
        }
    }

    #[test]
    fn it_is_none_any_more_when_they_end_and_what_has_no_kind_is_none() {
        let mut crowds = Crowds::default();
        let long = Duration::from_secs(5);
        assert!(crowds.look([(7, long); 5].into_iter(), 14, 3));
        assert!(!crowds.look([(7, long); 1].into_iter(), 14, 3));
        assert!(!crowds.has(7));
        assert!(!crowds.look([(0, long); 14].into_iter(), 14, 3));
    }

    #[test]
    fn a_server_that_stands_still_has_those_of_before() {
        let mut crowds = Crowds::default();
        let long = Duration::from_secs(5);
        let all = |kind| [(kind, long); 14].into_iter();
        assert!(crowds.look(all(7), 14, 0), "hardly anything has ever come back");
        for _ in 0..50 {
            assert!(!crowds.look([].into_iter(), 14, 20));
        }
        // Of five seconds without any.
        for _ in 0..50 {
            assert!(!crowds.look(all(7), 14, 0));
        }
        assert!(crowds.look(all(7), 14, 1));
        let both = || [(7, long); 5].into_iter().chain([(8, long); 9]);
        assert!(crowds.look(both(), 14, 20) && crowds.has(7) && crowds.has(8));
        assert!(crowds.look(all(8), 14, 0) && !crowds.has(7) && crowds.has(8));
        assert!(!crowds.look(all(7), 14, 0));
    }
}
