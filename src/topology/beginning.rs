//! What the primary had when Fairlane began: whoever wrote through a Fairlane of before reads through this
//! one, which knows nothing of those writes. A replica is given no reads until it has all of that.
//!
//! Pure: no socket, no clock.

use std::time::{Duration, Instant};

use crate::route::freshness::Position;

/// What one replica lacks of it.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    is_applied: bool,
    /// When it was first found to lack something.
    lacking: Option<Instant>,
}

impl Beginning {
    /// The replica has applied `applied`; the primary had `first`, which is empty when it did not tell, and
    /// `None` before it was asked. After `limit` a replica counts as having it all the same: it may be set
    /// up so that it never will, as one that leaves out a replication domain. Whether that was so now.
    pub(super) fn look(
        &mut self,
        applied: &Position,
        first: Option<&Position>,
        limit: Duration,
        now: Instant,
    ) -> bool {
        let Some(first) = first.filter(|_| !self.is_applied) else { return false };
        self.is_applied = applied.covers(first);
        let since = *self.lacking.get_or_insert(now);
        let is_over = !self.is_applied && now.saturating_duration_since(since) >= limit;
        self.is_applied |= is_over;
        is_over
    }

    /// Whether the replica has it.
    pub(super) fn is_applied(&self) -> bool {
        self.is_applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    #[test]
    fn a_replica_has_it_once_it_has_applied_what_the_primary_had() {
        let now = tokio::time::Instant::now().into_std();
        let mut beginning = Beginning::default();
        let (first, early) = (position("0-1-9"), position("0-1-8"));
        assert!(!beginning.look(&position("0-1-99"), None, LIMIT, now));
        assert!(!beginning.is_applied(), "the primary was not asked yet");
        assert!(!beginning.look(&early, Some(&first), LIMIT, now + LIMIT * 9));
        assert!(!beginning.is_applied());
        assert!(!beginning.look(&first, Some(&first), LIMIT, now + LIMIT * 9));
        assert!(beginning.is_applied());
        assert!(!beginning.look(&early, Some(&first), LIMIT, now + LIMIT * 99));
        assert!(beginning.is_applied(), "for good");
    }

    #[test]
    fn a_primary_that_tells_nothing_is_not_waited_for() {
        let mut beginning = Beginning::default();
        let now = tokio::time::Instant::now().into_std();
        assert!(!beginning.look(&Position::default(), Some(&Position::default()), LIMIT, now));
        assert!(beginning.is_applied());
    }

    #[test]
    fn a_replica_that_will_never_have_it_is_not_left_out_for_ever() {
        let mut beginning = Beginning::default();
        let now = tokio::time::Instant::now().into_std();
        let (first, other) = (position("0-1-9,7-1-3"), position("0-1-9"));
        assert!(!beginning.look(&other, Some(&first), LIMIT, now));
        assert!(!beginning.look(&other, Some(&first), LIMIT, now + LIMIT * 99 / 100));
        assert!(!beginning.is_applied());
        assert!(beginning.look(&other, Some(&first), LIMIT, now + LIMIT), "told once");
        assert!(beginning.is_applied());
        assert!(!beginning.look(&other, Some(&first), LIMIT, now + LIMIT));
    }
}
