//! How far replicas have applied: asked for often while somebody wants it, else with the probes.
//!
//! A session that has written, or that a replica was too old for, calls [`Demand::want`]; for at
//! most a second from then on the replicas' control connections read the watermark a few hundred
//! times a second, each until it has what was wanted. While a session waits for it
//! ([`Demand::wait`]) they do so even more often.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::route::freshness::Position;

/// Pause between two readings while a session waits for them.
const WAITED_INTERVAL: Duration = Duration::from_millis(3);

/// Pause between two readings while they are only of use to reads to come.
const WANTED_INTERVAL: Duration = Duration::from_millis(5);

/// How long one wish keeps the readings fast.
const FAST_PERIOD: Duration = Duration::from_secs(1);

pub(super) struct Demand {
    origin: Instant,
    /// Milliseconds after `origin`.
    until: AtomicU64,
    /// All that is wanted.
    wanted: Mutex<Position>,
    /// Sessions that wait.
    waiting: AtomicUsize,
    /// A poller sleeps until its next probe, or is about to.
    is_quiet: AtomicBool,
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
        Self {
            origin: Instant::now(),
            until: AtomicU64::new(0),
            wanted: Mutex::default(),
            waiting: AtomicUsize::new(0),
            is_quiet: AtomicBool::new(true),
        }
    }

    /// Somebody would like a watermark with `position`; whether the pollers must be woken for it.
    pub(super) fn want(&self, position: &Position) -> bool {
        let mut wanted = self.wanted.lock();
        match self.elapsed(Duration::ZERO) < self.until.load(Ordering::SeqCst) {
            true => wanted.merge(position),
            // What was wanted before may never come: positions are lost when servers fail.
            false => wanted.clone_from(position),
        }
        drop(wanted);
        self.until.fetch_max(self.elapsed(FAST_PERIOD), Ordering::SeqCst);
        self.is_quiet.swap(false, Ordering::SeqCst)
    }

    /// Somebody waits for a watermark with `position`, and whether the pollers must be woken.
    pub(super) fn wait(&self, position: &Position) -> (Waiting<'_>, bool) {
        let is_first = self.waiting.fetch_add(1, Ordering::SeqCst) == 0;
        (Waiting(self), self.want(position) || is_first)
    }

    /// Pause until the next reading of a replica that has `applied`; none when nobody wants one.
    pub(super) fn pause(&self, applied: &Position) -> Option<Duration> {
        self.interval(applied).or_else(|| {
            // A wish of just now finds it quiet, or is seen by the second look.
            self.is_quiet.store(true, Ordering::SeqCst);
            self.interval(applied)
        })
    }

    fn interval(&self, applied: &Position) -> Option<Duration> {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return Some(WAITED_INTERVAL);
        }
        let is_wanted = self.elapsed(Duration::ZERO) < self.until.load(Ordering::SeqCst)
            && !applied.covers(&self.wanted.lock());
        is_wanted.then_some(WANTED_INTERVAL)
    }

    fn elapsed(&self, more: Duration) -> u64 {
        u64::try_from((self.origin.elapsed() + more).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_lasts_a_second_and_wakes_the_pollers_once() {
        let (demand, old) = (Demand::new(), position("0-1-1"));
        assert_eq!(demand.pause(&old), None);
        assert!(demand.want(&position("0-1-2")));
        assert!(!demand.want(&position("0-1-3")), "they poll fast already, or are about to");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(demand.pause(&old), Some(WANTED_INTERVAL));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(demand.pause(&old), None);
        assert!(demand.want(&position("0-1-3")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_that_came_true_is_over() {
        let demand = Demand::new();
        assert!(demand.want(&position("0-1-2")));
        assert_eq!(demand.pause(&position("0-1-1")), Some(WANTED_INTERVAL));
        assert_eq!(demand.pause(&position("0-1-2")), None);
        assert!(demand.want(&position("0-1-3")), "one of them is quiet");
        assert_eq!(demand.pause(&position("0-1-2")), Some(WANTED_INTERVAL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_session_is_served_faster_until_the_last_one_is_gone() {
        let (demand, old, new) = (Demand::new(), position("0-1-1"), position("0-1-2"));
        assert!(demand.want(&new));
        let (first, must_wake) = demand.wait(&new);
        assert!(must_wake, "they read slowly");
        let (second, must_wake) = demand.wait(&new);
        assert!(!must_wake);
        assert_eq!(demand.pause(&old), Some(WAITED_INTERVAL));
        drop(first);
        assert_eq!(demand.pause(&old), Some(WAITED_INTERVAL));
        drop(second);
        assert_eq!(demand.pause(&old), Some(WANTED_INTERVAL));
    }
}
