//! Programs that do much in many short visits: each is hardly longer than a user's page, all of
//! them together are most of what a server has to do.
//!
//! ```text
//!  transactions with CHANGES statements that change rows, in short visits
//!    of the primary's slots:   ████████████████░░  MOST of their time     ┐
//!    such visits take          LONGER than small ones                    ├─► they are heavy, too
//!    for a slot of the primary others than batch wait, most of the time  ┘
//! ```
//!
//! Such a transaction alone says nothing: an order with its items is one. But when all of this is
//! true, it is these for whom others wait. Then such visits count as heavy, those of before as well,
//! of the kinds that are a good part of them. When few of them may run at a time, each takes less,
//! they are less of all service, and only they wait: that is no reason to let them go at once.
//!
//! The same holds for middling visits (see [`super::evidence`]), each of which may be a page: a second `Bulk`
//! has those. For them slots are scarce already when the default lane has nearly all.

/// Statements that change rows, in one transaction.
pub(super) const CHANGES: u32 = 8;
/// Part of all visits in bulk that a kind must have to be meant.
const PART: f32 = 0.4;

/// What is left of a sum after a second: half of it after 5 s.
const LEFT_AFTER_A_SECOND: f32 = 0.870_55;
/// Recent visits in bulk without which nothing is known.
const VISITS_MIN: f32 = 10.0;
/// Part of that time that is most of it; and once such visits are known.
const MOST: f32 = 0.75;
const STILL_MOST: f32 = 0.2;
/// How many times as long as small visits is longer; likewise.
const LONGER: f32 = 2.5;
const STILL_LONGER: f32 = 1.25;
/// Part of all that time that is much for a kind whose visits are small.
const MUCH: f32 = 0.5;
/// Seconds for which slots count as scarce after they were; and most seconds for which they do because batch
/// work waits, which may be other work.
const SCARCE_FOR: u32 = 10;
const SCARCE_MOST: u32 = 300;

/// Whether there are slots for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// Nobody waits, or not for long.
    Enough,
    /// Likewise, or only batch work waits, but the default lane has nearly all that it may have.
    Busy {
        /// Batch work waits for long, most of the time.
        batch_waits: bool,
    },
    /// Batch work waits for long, most of the time.
    BatchWaits,
    /// Others do.
    Scarce,
}

/// Visits of one of the two sorts, of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// Time for which slots of the primary were in use, and that of transactions in bulk, in seconds.
    all: f32,
    in_bulk: f32,
    /// Number of visits in bulk, and sum of the logarithms of their service in seconds.
    visits: f32,
    log_sum: f32,
    scarcity: Scarcity,
    is_heavy: bool,
}

/// Whether slots are scarce, or were a moment ago.
#[derive(Debug, Default)]
pub(super) struct Scarcity {
    /// Seconds left in which slots count as scarce, and seconds since they were.
    left: u32,
    since: u32,
}

impl Scarcity {
    /// A second has passed; somebody `is_found` for whom others wait. Whether slots count as scarce.
    pub(super) fn tick(&mut self, slots: Slots, is_found: bool) -> bool {
        let is_kept = is_found && self.since < SCARCE_MOST;
        self.left = match slots {
            Slots::Scarce => SCARCE_FOR,
            Slots::BatchWaits | Slots::Busy { batch_waits: true } if is_kept => SCARCE_FOR,
            Slots::BatchWaits | Slots::Busy { .. } | Slots::Enough => self.left.saturating_sub(1),
        };
        self.since = if slots == Slots::Scarce { 0 } else { self.since.saturating_add(1) };
        self.left > 0
    }
}

/// Service from which a kind of small visits keeps others waiting: one that many sessions send, each of them
/// little, can use most slots.
#[derive(Debug, Default)]
pub(super) struct Much {
    /// Time for which slots of the primary were in use, of the last seconds.
    all: f32,
    scarcity: Scarcity,
}

impl Much {
    /// A second has passed in which slots were `used` for so many seconds; some kind `is_found` to use much. Part
    /// of that time that is much, in seconds a second; `None` while slots are not scarce.
    pub(super) fn tick(&mut self, slots: Slots, used: f32, is_found: bool) -> Option<f32> {
        self.all += used;
        let much = MUCH * self.all * (1.0 - LEFT_AFTER_A_SECOND);
        self.all *= LEFT_AFTER_A_SECOND;
        self.scarcity.tick(slots, is_found).then_some(much)
    }
}

impl Bulk {
    /// A transaction in bulk has used a slot for so many seconds.
    pub(super) fn used(&mut self, service: f32) {
        self.in_bulk += service;
    }

    /// A visit in bulk of so many seconds is over.
    pub(super) fn visited(&mut self, service: f32) {
        self.visits += 1.0;
        self.log_sum += service.max(1e-5).ln();
    }

    /// A second has passed in which slots were `used` for so many seconds; small visits take `small`
    /// seconds (infinite: that is not known), and so many visits `in_bulk` are remembered. How many of
    /// them a kind must have for them to be heavy.
    pub(super) fn tick(&mut self, slots: Slots, used: f32, small: f32, in_bulk: f32) -> f32 {
        self.all += used;
        for sum in [&mut self.all, &mut self.in_bulk, &mut self.visits, &mut self.log_sum] {
            *sum *= LEFT_AFTER_A_SECOND;
        }
        let is_scarce = self.scarcity.tick(slots, self.is_heavy);
        let (most, longer) = match self.is_heavy {
            true => (STILL_MOST, STILL_LONGER),
            false => (MOST, LONGER),
        };
        let mean = (self.log_sum / self.visits.max(VISITS_MIN)).exp();
        self.is_heavy = is_scarce
            && self.visits >= VISITS_MIN
            && self.in_bulk >= most * self.all
            && mean >= longer * small;
        if self.is_heavy { PART * in_bulk } else { f32::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many visits in bulk, and so many others of 4 ms, a second for five seconds.
    fn watch(bulk: &mut Bulk, in_bulk: (u16, f32), others: u16, slots: Slots) -> bool {
        (0..5).fold(false, |_, _| {
            let (visits, service) = in_bulk;
            (0..visits).for_each(|_| bulk.visited(service));
            let used = f32::from(visits) * service;
            bulk.used(used);
            bulk.tick(slots, used + f32::from(others) * 0.004, 0.004, 100.0) < f32::INFINITY
        })
    }

    fn heavy() -> Bulk {
        let mut bulk = Bulk::default();
        assert!(watch(&mut bulk, (200, 0.036), 100, Slots::Scarce));
        bulk
    }

    #[test]
    fn what_others_wait_for_is_heavy_also_when_few_of_it_run_at_a_time() {
        let mut bulk = heavy();
        // Half of all service, and only they wait.
        let busy = Slots::Busy { batch_waits: true };
        for slots in [Slots::BatchWaits, busy] {
            assert!((0..4).all(|_| watch(&mut bulk, (50, 0.008), 100, slots)), "{slots:?}");
        }
        let is_heavy = (0..4).map(|_| watch(&mut bulk, (5, 0.008), 200, Slots::BatchWaits));
        assert_eq!(is_heavy.last(), Some(false), "it is hardly anything any more");
    }

    #[test]
    fn kinds_are_meant_that_are_a_good_part_of_it() {
        assert_eq!(heavy().tick(Slots::Scarce, 7.0, 0.004, 100.0), 40.0);
    }

    #[test]
    fn orders_are_not_heavy_while_nobody_waits_or_others_use_more_or_as_much_each() {
        for (in_bulk, others, slots) in [
            ((200, 0.036), 100, Slots::Enough),
            ((200, 0.036), 100, Slots::BatchWaits),
            ((20, 0.036), 100, Slots::Scarce),
            ((200, 0.008), 100, Slots::Scarce),
            ((1, 0.036), 1, Slots::Scarce),
        ] {
            let is_heavy = watch(&mut Bulk::default(), in_bulk, others, slots);
            assert!(!is_heavy, "{in_bulk:?} {others} {slots:?}");
        }
    }

    #[test]
    fn it_is_over_a_while_after_nobody_waits_and_when_nothing_is_known() {
        for slots in [Slots::Enough, Slots::Busy { batch_waits: false }] {
            let mut bulk = heavy();
            assert!(watch(&mut bulk, (200, 0.036), 100, slots), "{slots:?}");
            assert!(!watch(&mut bulk, (200, 0.036), 100, slots), "{slots:?}");
        }
        let mut bulk = heavy();
        let kept = (0..100).take_while(|_| watch(&mut bulk, (50, 0.036), 100, Slots::BatchWaits));
        assert_eq!(kept.count(), 61, "five minutes and ten seconds");
        assert_eq!(heavy().tick(Slots::Scarce, 7.0, f32::INFINITY, 100.0), f32::INFINITY);
    }
}
