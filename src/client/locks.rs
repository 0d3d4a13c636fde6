//! Who waits for whose locks, as all sessions share it; and the gate at which statements of later
//! lanes wait a moment for the sake of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Session;
use super::statement::{Refusal, Work};
use crate::error::Error;
use crate::lanes::lock_guard::{PACE_INSIDE_MAX, PACE_MAX, Pace, Wait};
use crate::protocol::status::Status;
use crate::sql::Class;

/// What sessions and operators see of the lock guard.
#[derive(Debug, Default)]
pub struct Locks {
    waits: Mutex<Vec<Wait>>,
    /// Whether anybody is held back; `pace` says whom.
    is_pacing: AtomicBool,
    pace: Mutex<Option<(Pace, Instant)>>,
    changed: Notify,
}

impl Locks {
    /// Who waits now.
    pub fn waits(&self) -> Vec<Wait> {
        self.waits.lock().clone()
    }

    /// Shows who waits now.
    pub fn show(&self, waits: &[Wait]) {
        let mut shown = self.waits.lock();
        if *shown != waits {
            *shown = waits.to_vec();
        }
    }

    /// Holds statements back from `now` on, or does so no longer.
    pub fn set_pace(&self, pace: Option<Pace>, now: Instant) {
        let mut known = self.pace.lock();
        if known.as_ref().map(|(pace, _)| pace) == pace.as_ref() {
            return;
        }
        let since = known.as_ref().map_or(now, |(_, since)| *since);
        self.is_pacing.store(pace.is_some(), Ordering::Relaxed);
        *known = pace.map(|pace| (pace, since));
        drop(known);
        self.changed.notify_waiters();
    }

    /// Whether a session is held back, for as long as others have been for less than `limit`.
    fn holds_back(&self, session: u32, lane: usize, limit: Duration) -> bool {
        // Whoever sets it may be held up; the bound holds all the same.
        let holds = |(pace, since): &(Pace, Instant)| {
            lane > pace.behind && !pace.exempt.contains(&session) && since.elapsed() < limit
        };
        self.is_pacing.load(Ordering::Relaxed) && self.pace.lock().as_ref().is_some_and(holds)
    }

    /// Waits until the session is not held back any more, at most for `limit`.
    async fn pass(&self, session: u32, lane: usize, limit: Duration) {
        let passed = async {
            loop {
                let changed = self.changed.notified();
                if !self.holds_back(session, lane, limit) {
                    return;
                }
                changed.await;
            }
        };
        let _ = timeout(limit, passed).await;
    }
}

impl Session {
    /// Before a statement on the primary: lets whoever holds a lock that more urgent work waits
    /// for go first. What ends a transaction is never held back. Whether that took any time.
    pub(super) async fn make_room(&self, lane: usize, work: &Work<'_>) -> Result<bool, Refusal> {
        let works = matches!(work.verdict.class, Class::Read | Class::Write | Class::Begin { .. });
        let is_open = self.status.contains(Status::IN_TRANS) || !self.autocommit;
        let limit = if is_open { PACE_INSIDE_MAX } else { PACE_MAX };
        let locks = &self.context.locks;
        if !works || !locks.holds_back(self.entry.id, lane, limit) {
            return Ok(false);
        }
        self.context.metrics.locks.paced.inc();
        self.entry.begin_wait();
        let passed = async {
            tokio::select! {
                () = locks.pass(self.entry.id, lane, limit) => Ok(true),
                () = self.entry.killed() => Err(Refusal::Gone),
                () = self.entry.stopped_waiting() => Err(Error::Interrupted.into()),
            }
        };
        Box::pin(passed).await
    }
}
