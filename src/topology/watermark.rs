//! How far replicas have applied: asked for often while somebody wants it, else with the probes.
//!
//! A session that has written, or that a replica was too old for, calls [`Demand::want`]; for a
//! second from then on the replicas' control connections read the watermark a few hundred times a
//! second, for the reads to come. While a session waits for it ([`Demand::wait`]) they do so even
//! more often.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Pause between two readings while a session waits for them.
const WAITED_INTERVAL: Duration = Duration::from_millis(3);

/// Pause between two readings while they are only of use to reads to come.
const WANTED_INTERVAL: Duration = Duration::from_millis(5);

/// How long one wish keeps the readings fast.
const FAST_PERIOD: Duration = Duration::from_secs(1);

/// With less than this left, the pollers may be about to fall back: wake them again.
const WAKE_MARGIN: u64 = 50;

pub(super) struct Demand {
    origin: Instant,
    /// Milliseconds after `origin`.
    until: AtomicU64,
    /// Sessions that wait.
    waiting: AtomicUsize,
}

/// A session that waits; it stops on drop.
pub(super) struct Waiting<'a>(&'a Demand);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Demand {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), until: AtomicU64::new(0), waiting: AtomicUsize::new(0) }
    }

    /// Somebody would have liked a newer watermark; whether the pollers must be woken for it.
    pub(super) fn want(&self) -> bool {
        let now = self.elapsed(Duration::ZERO);
        let before = self.until.fetch_max(self.elapsed(FAST_PERIOD), Ordering::AcqRel);
        before < now + WAKE_MARGIN
    }

    /// Somebody waits for a watermark, and whether the pollers must be woken for it.
    pub(super) fn wait(&self) -> (Waiting<'_>, bool) {
        let is_first = self.waiting.fetch_add(1, Ordering::AcqRel) == 0;
        (Waiting(self), self.want() || is_first)
    }

    /// Pause until the next reading; none when nobody wants one.
    pub(super) fn interval(&self) -> Option<Duration> {
        if self.waiting.load(Ordering::Acquire) > 0 {
            return Some(WAITED_INTERVAL);
        }
        let is_wanted = self.elapsed(Duration::ZERO) < self.until.load(Ordering::Acquire);
        is_wanted.then_some(WANTED_INTERVAL)
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
        assert_eq!(demand.interval(), None);
        assert!(demand.want());
        assert!(!demand.want(), "they poll fast already");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(demand.interval(), Some(WANTED_INTERVAL));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(demand.interval(), None);
        assert!(demand.want());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_session_is_served_faster_until_the_last_one_is_gone() {
        let demand = Demand::new();
        assert!(demand.want());
        let (first, must_wake) = demand.wait();
        assert!(must_wake, "they read slowly");
        let (second, must_wake) = demand.wait();
        assert!(!must_wake);
        assert_eq!(demand.interval(), Some(WAITED_INTERVAL));
        drop(first);
        assert_eq!(demand.interval(), Some(WAITED_INTERVAL));
        drop(second);
        assert_eq!(demand.interval(), Some(WANTED_INTERVAL));
    }
}
