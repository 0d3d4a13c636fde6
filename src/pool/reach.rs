//! Whether connections to a server can be opened: its control connection, which is open already, may find
//! nothing wrong with one that takes no others.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Failed openings in a row from which a server counts as out of reach.
const FAILURES: u32 = 3;
/// First and longest pause between tries.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

#[derive(Debug)]
pub(super) struct Reach {
    origin: Instant,
    /// In a row.
    failures: AtomicU32,
    /// Milliseconds after `origin` at which it may be tried again; 0 while it is in reach.
    until: AtomicU64,
}

impl Reach {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), failures: AtomicU32::new(0), until: AtomicU64::new(0) }
    }

    /// A connection was opened.
    pub(super) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Release);
    }

    /// One could not be opened, not for its account's sake. Whether the server is out of reach from now on.
    pub(super) fn failed(&self) -> bool {
        if self.is_avoided() {
            // It began before the pause did.
            return false;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES {
            return false;
        }
        let pause = PAUSE.0 * 2_u32.pow((failures - FAILURES).min(8));
        let until = self.now() + millis(pause.min(PAUSE.1));
        self.until.swap(until, Ordering::AcqRel) == 0
    }

    /// Whether it is known to be out of reach.
    pub(super) fn is_lost(&self) -> bool {
        self.until.load(Ordering::Acquire) != 0
    }

    /// Whether it is known to be so, and no try is due.
    pub(super) fn is_avoided(&self) -> bool {
        self.until.load(Ordering::Acquire) > self.now()
    }

    /// Whether work may go there: all of it while it is in reach, else one statement in each pause, to try.
    pub(super) fn may_try(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return true;
        }
        let now = self.now();
        let next = now + millis(PAUSE.0);
        now >= until
            && self.until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn now(&self) -> u64 {
        // 0 says that it is in reach.
        millis(self.origin.elapsed()) + 1
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_out_of_reach_is_tried_by_one_in_each_pause() {
        let reach = Reach::new();
        assert!(!reach.failed() && !reach.failed() && reach.may_try() && !reach.is_lost());
        assert!(reach.failed(), "the third one");
        assert!(!reach.failed(), "it is known");
        assert!(reach.is_lost() && reach.is_avoided() && !reach.may_try());
        tokio::time::advance(PAUSE.0).await;
        assert!(reach.is_lost() && !reach.is_avoided());
        assert!(reach.may_try() && !reach.may_try());
        reach.succeeded();
        assert!(reach.may_try() && reach.may_try() && !reach.is_lost());
        assert!(!reach.failed());
    }
}
