//! How far replicas have applied: asked for often while somebody wants it, else with the probes.
//!
//! A session that a replica was too old for calls [`Demand::want`]; for a second from then on
//! the replicas' control connections read the watermark every few milliseconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Pause between two readings while somebody wants them.
pub(super) const FAST_INTERVAL: Duration = Duration::from_millis(5);

/// How long one wish keeps the readings fast.
const FAST_PERIOD: Duration = Duration::from_secs(1);

/// With less than this left, the pollers may be about to fall back: wake them again.
const WAKE_MARGIN: u64 = 50;

pub(super) struct Demand {
    origin: Instant,
    /// Milliseconds after `origin`.
    until: AtomicU64,
}

impl Demand {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Somebody waits for a watermark; whether the pollers must be woken for it.
    pub(super) fn want(&self) -> bool {
        let now = self.elapsed(Duration::ZERO);
        let before = self.until.fetch_max(self.elapsed(FAST_PERIOD), Ordering::AcqRel);
        before < now + WAKE_MARGIN
    }

    /// Whether readings are to be fast now.
    pub(super) fn is_wanted(&self) -> bool {
        self.elapsed(Duration::ZERO) < self.until.load(Ordering::Acquire)
    }

    fn elapsed(&self, more: Duration) -> u64 {
        u64::try_from((self.origin.elapsed() + more).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wish_lasts_a_second_and_wakes_the_pollers_once() {
        let demand = Demand::new();
        assert!(!demand.is_wanted());
        assert!(demand.want());
        assert!(!demand.want(), "they poll fast already");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(demand.is_wanted());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!demand.is_wanted());
        assert!(demand.want());
    }
}
