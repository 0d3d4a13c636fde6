//! The primary's own position: read with each probe, and soon when somebody waits for it.
//!
//! Readings are numbered as they begin. A session that knows of a write's end takes the number of
//! that moment ([`Readings::begun`]); a reading with a higher number was asked for later, so that
//! the server answers it with a position that covers the write.
//!
//! Writes tell positions, too. Those that are newer than the last reading count for what is shown of the
//! primary, or replicas would seem to be ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::line::{Line, Trouble};
use super::probe;
use crate::protocol::Family;
use crate::route::freshness::Position;
use crate::route::token::Reading;

/// Least time between the beginnings of two readings that somebody wants.
const SPACING: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Readings {
    begun: AtomicU64,
    first: ArcSwapOption<Position>,
    last: ArcSwap<Reading>,
    is_wanted: AtomicBool,
    told: Mutex<Told>,
}

/// What writes have told, as far as the last reading does not cover it.
#[derive(Debug, Default)]
struct Told {
    /// Before the reading began that is under way.
    before: Position,
    since: Position,
}

impl Readings {
    /// Readings that have begun by now.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// The last one that has ended.
    pub(super) fn last(&self) -> Arc<Reading> {
        self.last.load_full()
    }

    /// What this primary had when it was asked for the first time, which is before anybody could log in at
    /// Fairlane's start; empty when it did not tell.
    pub(super) fn first(&self) -> Option<Arc<Position>> {
        self.first.load_full()
    }

    /// The primary is another server, has restarted or was reset, and may not have all of that.
    pub(super) fn forget_first(&self) {
        self.first.store(None);
    }

    /// Somebody would like another one; whether nobody did before.
    pub(super) fn want(&self) -> bool {
        !self.is_wanted.swap(true, Ordering::SeqCst)
    }

    /// When the next one is due, if it is wanted; `began` is when the last one began.
    pub(super) fn due(&self, began: Instant) -> Option<Instant> {
        self.is_wanted.load(Ordering::SeqCst).then(|| began + SPACING)
    }

    /// A write has told its position.
    pub(super) fn note(&self, position: &Position) {
        self.told.lock().since.merge(position);
    }

    /// What the primary is known to have.
    pub(super) fn newest(&self) -> Position {
        let told = self.told.lock();
        let mut newest = self.last.load().position.clone();
        newest.merge(&told.before);
        newest.merge(&told.since);
        newest
    }

    fn begin(&self) -> u64 {
        self.is_wanted.store(false, Ordering::SeqCst);
        let told = &mut *self.told.lock();
        told.before.merge(&std::mem::take(&mut told.since));
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn end(&self, reading: Reading) {
        let told = &mut *self.told.lock();
        told.before = Position::default();
        self.last.store(Arc::new(reading));
    }

    /// Asks the primary; `None` when it refuses, so that the last one stays.
    pub(super) async fn ask(
        &self,
        line: &mut Line,
        family: Family,
    ) -> Result<Option<Reading>, Trouble> {
        let number = self.begin();
        self.answered(number, probe::written(line, family).await)
    }

    /// A position that the primary does not tell is none: what nobody can know is not found out by asking
    /// again. Nor does one that refuses when it is met tell any.
    fn answered(
        &self,
        number: u64,
        answer: Result<Option<Reading>, Trouble>,
    ) -> Result<Option<Reading>, Trouble> {
        match answer {
            Ok(Some(told)) => Ok(Some(Reading { number, ..told })),
            Ok(None) => Ok(Some(Reading::default())),
            Err(Trouble::Refused { .. }) => Ok(self.first.load().is_none().then(Reading::default)),
            Err(lost) => Err(lost),
        }
    }

    /// Whether the primary has not all that it had at the last one.
    pub(super) fn goes_back(&self, reading: &Reading) -> bool {
        reading.number > 0 && !reading.position.covers(&self.last.load().position)
    }

    /// Has others know it. Whether it is the first one of this primary.
    pub(super) fn take(&self, reading: Reading) -> bool {
        let position = reading.position.clone();
        self.end(reading);
        // Whoever finds this finds a reading of the same primary beside it.
        let is_first = self.first.load().is_none();
        if is_first {
            self.first.store(Some(Arc::new(position)));
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(number: u64, position: &str) -> Reading {
        let position = Position::parse(position).expect("a position");
        Reading { number, position, ..Reading::default() }
    }

    #[test]
    fn what_writes_have_told_counts_until_a_later_reading_has_it_or_has_lost_it() {
        let readings = Readings::default();
        let write = |position| readings.note(&Position::parse(position).expect("a position"));
        let number = readings.begin();
        readings.end(reading(number, "0-1-5"));
        write("0-1-7");
        assert_eq!(readings.newest().sequence_sum(), 7);
        let number = readings.begin();
        assert_eq!(readings.newest().sequence_sum(), 7, "there is no answer yet");
        write("0-1-9");
        readings.end(reading(number, "0-1-8"));
        assert_eq!(readings.newest().sequence_sum(), 9);
        let number = readings.begin();
        readings.end(reading(number, "0-2-6"));
        assert_eq!(readings.newest().sequence_sum(), 6, "a failover has lost some");
    }

    #[test]
    fn a_refusal_takes_nothing_back() {
        let readings = Readings::default();
        let answered = |answer| readings.answered(readings.begin(), answer).expect("an answer");
        let refused =
            || Err(Trouble::Refused { code: 1053, text: "Server shutdown in progress".into() });
        assert_eq!(answered(refused()), Some(Reading::default()), "nobody waits for what it has");
        assert!(readings.take(answered(Ok(Some(reading(0, "0-1-5")))).expect("a reading")));
        assert_eq!(answered(refused()), None);
        assert_eq!(answered(Ok(None)), Some(Reading::default()), "it tells no more");
        readings.forget_first();
        assert_eq!(answered(refused()), Some(Reading::default()), "what another one had");
    }
}
