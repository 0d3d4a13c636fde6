//! Waiting for a slot, and waking who is next.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Pool;
use crate::backend::Connection;
use crate::error::Error;
use crate::lanes::{Admission, Scheduler};

/// Somebody who waits for a slot.
#[derive(Debug)]
pub(super) struct Waiter {
    wake: oneshot::Sender<()>,
    since: Instant,
}

impl Waiter {
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The right to use one connection of the pool. Given back on drop.
#[derive(Debug)]
pub struct Slot {
    pub(super) pool: Arc<Pool>,
    pub(super) lane: usize,
    pub(super) granted_at: Instant,
    is_held: bool,
}

impl Slot {
    /// Gives the slot back together with a clean connection.
    pub(super) fn release_with(mut self, connection: Box<Connection>) {
        self.is_held = false;
        self.observe();
        self.pool.put_back(Some(connection), self.lane);
    }

    fn observe(&self) {
        let served = self.granted_at.elapsed().as_secs_f64();
        self.pool.lane_metrics(self.lane).service_seconds.observe(served);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_held {
            self.observe();
            self.pool.put_back(None, self.lane);
        }
    }
}

/// A place in the queue; leaving it early neither loses nor leaks a slot.
struct Place<'a> {
    pool: &'a Arc<Pool>,
    lane: usize,
    ticket: u64,
    is_done: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut shared = self.pool.shared.lock();
        if !shared.scheduler.leave(self.lane, self.ticket) {
            // The grant came while the waiter was leaving: pass it on.
            shared.scheduler.release(self.lane);
            self.pool.lane_metrics(self.lane).in_use.dec();
            self.pool.grant(&mut shared.scheduler);
        } else {
            self.pool.lane_metrics(self.lane).waiting.dec();
            self.pool.lane_metrics(self.lane).abandoned.inc();
        }
    }
}

impl Pool {
    /// Waits for a slot in `lane`.
    ///
    /// # Errors
    /// [`Error::QueueFull`] at once, [`Error::QueueTimeout`] after the lane's time.
    ///
    /// # Cancel safety
    /// A caller that goes away leaves the queue, or passes a slot just granted on.
    pub async fn admit(self: &Arc<Self>, lane: usize) -> Result<Slot, Error> {
        let metrics = self.lane_metrics(lane);
        let since = Instant::now();
        let (admission, woken) = {
            let mut shared = self.shared.lock();
            let mut woken = None;
            let admission = shared.scheduler.admit(lane, || {
                let (wake, wait) = oneshot::channel();
                woken = Some(wait);
                Waiter { wake, since }
            });
            match admission {
                Admission::Granted => metrics.in_use.inc(),
                Admission::Queued(_) => metrics.waiting.inc(),
                Admission::Refused => {}
            }
            (admission, woken)
        };
        let settings = &self.lanes[lane];
        match (admission, woken) {
            (Admission::Granted, _) => metrics.wait_seconds.observe(0.0),
            (Admission::Queued(ticket), Some(woken)) => {
                let mut place = Place { pool: self, lane, ticket, is_done: false };
                if timeout(settings.queue_timeout, woken).await.is_err() {
                    drop(place);
                    metrics.rejected_timeout.inc();
                    return Err(Error::QueueTimeout {
                        lane: settings.name.clone(),
                        backend: self.name().to_owned(),
                        limit: settings.queue_timeout,
                    });
                }
                place.is_done = true;
                metrics.wait_seconds.observe(since.elapsed().as_secs_f64());
            }
            _ => {
                metrics.rejected_full.inc();
                return Err(Error::QueueFull {
                    lane: settings.name.clone(),
                    backend: self.name().to_owned(),
                    limit: settings.queue,
                });
            }
        }
        metrics.admitted.inc();
        Ok(Slot { pool: self.clone(), lane, granted_at: Instant::now(), is_held: true })
    }

    /// Wakes every waiter that may run now.
    pub(super) fn grant(&self, scheduler: &mut Scheduler<Waiter>) {
        while let Some((lane, waiter)) = scheduler.next_grant() {
            let metrics = self.lane_metrics(lane);
            metrics.waiting.dec();
            metrics.in_use.inc();
            // A receiver that is gone gives the slot on when its place is dropped.
            let _ = waiter.wake.send(());
        }
    }
}
