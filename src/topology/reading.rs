//! The primary's own position: read with each probe, and soon when somebody waits for it.
//!
//! Readings are numbered as they begin. A session that knows of a write's end takes the number of
//! that moment ([`Readings::begun`]); a reading with a higher number was asked for later, so that
//! the server answers it with a position that covers the write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::Instant;

use super::Observer;
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

    /// The primary is another server, or has restarted, and may not have all of that.
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

    /// Asks the primary. A position that it does not tell is none: what nobody can know is not
    /// found out by asking again.
    pub(super) async fn read(
        &self,
        line: &mut Line,
        family: Family,
        observer: &dyn Observer,
    ) -> Result<(), Trouble> {
        self.is_wanted.store(false, Ordering::SeqCst);
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let reading = match probe::written(line, family).await {
            Ok(told) => Reading { number, ..told },
            Err(Trouble::Refused { .. }) => Reading::default(),
            Err(lost) => return Err(lost),
        };
        let position = reading.position.clone();
        if !position.is_empty() {
            observer.written(&position);
            self.last.store(Arc::new(reading));
        }
        // Whoever finds this finds a reading of the same primary beside it.
        if self.first.load().is_none() {
            self.first.store(Some(Arc::new(position)));
        }
        Ok(())
    }
}
