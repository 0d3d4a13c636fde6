//! The published accounts, and who waits for newer ones.
//!
//! Each caller of [`Ledger::refresh`] takes a ticket; a reload settles all tickets drawn before
//! it began. So callers between two reloads share the next one, and nobody is answered with
//! accounts older than the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::Accounts;

/// Shortest time between two reloads that were asked for.
pub(in super::super) const RELOAD_SPACING: Duration = Duration::from_millis(300);

/// Longest time a caller waits for a reload.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);

pub(in super::super) struct Ledger {
    current: ArcSwap<Accounts>,
    /// Accounts were loaded once.
    is_loaded: AtomicBool,
    /// Tickets drawn.
    wanted: AtomicU64,
    /// All tickets up to this one are settled.
    settled: watch::Sender<u64>,
}

impl Ledger {
    pub(in super::super) fn new() -> Self {
        let current = ArcSwap::from_pointee(Accounts::default());
        Self {
            current,
            is_loaded: AtomicBool::new(false),
            wanted: AtomicU64::new(0),
            settled: watch::Sender::new(0),
        }
    }

    pub(in super::super) fn current(&self) -> Arc<Accounts> {
        self.current.load_full()
    }

    /// Whether accounts were loaded once.
    pub(in super::super) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Returns when a reload that began after this call has ended, or after two seconds.
    ///
    /// # Cancel safety
    /// Dropped half-way, the reload happens all the same.
    pub(in super::super) async fn refresh(&self, wake: &Notify) {
        let mut settled = self.settled.subscribe();
        let ticket = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        wake.notify_one();
        // Both ends, late or without a sender, mean: go on with what there is.
        let _ = timeout(REFRESH_LIMIT, settled.wait_for(|settled| *settled >= ticket)).await;
    }

    /// Somebody waits for a reload.
    pub(in super::super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire) > *self.settled.borrow()
    }

    /// The tickets that a reload beginning now will settle.
    pub(in super::super) fn begin(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    /// Ends a reload; without new accounts the old ones stay.
    pub(in super::super) fn settle(&self, ticket: u64, loaded: Option<Accounts>) {
        if let Some(accounts) = loaded {
            self.current.store(Arc::new(accounts));
            self.is_loaded.store(true, Ordering::Release);
        }
        self.settled.send_replace(ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reload_settles_only_the_tickets_drawn_before_it_began() {
        let (ledger, wake) = (Arc::new(Ledger::new()), Arc::new(Notify::new()));
        let call = |ledger: &Arc<Ledger>, wake: &Arc<Notify>| {
            let (ledger, wake) = (Arc::clone(ledger), Arc::clone(wake));
            tokio::spawn(async move { ledger.refresh(&wake).await })
        };
        let early = call(&ledger, &wake);
        wake.notified().await;
        let ticket = ledger.begin();
        let late = call(&ledger, &wake);
        wake.notified().await;
        ledger.settle(ticket, None);
        early.await.expect("settled");
        assert!(!late.is_finished() && ledger.is_wanted());
        ledger.settle(ledger.begin(), None);
        late.await.expect("settled");
        assert!(!ledger.is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_goes_on_when_no_reload_comes() {
        let before = tokio::time::Instant::now();
        Ledger::new().refresh(&Notify::new()).await;
        assert_eq!(before.elapsed().as_secs(), 2);
    }
}
