//! Waiting for a slot, and waking who is next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::{Auto, Pool, Request};
use crate::backend::Connection;
use crate::error::Error;
use crate::lanes::{Admission, BatchNow, Scheduler};

/// A slot held for longer counts for the batch lane: what a session known to be light may use.
const HELD_LONG: Duration = Duration::from_secs(1);

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
    pub(super) granted_at: Instant,
    key: usize,
    is_held: bool,
}

/// A slot in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// The lane it counts for.
    pub(super) lane: usize,
    /// Whose it is.
    pub(super) session: u32,
    pub(super) since: Instant,
}

impl Slot {
    /// Gives the slot back together with a clean connection.
    pub(super) fn release_with(mut self, mut connection: Box<Connection>) {
        self.is_held = false;
        let now = Instant::now();
        connection.idle_since = now;
        self.pool.put_back(Some(connection), self.key, now);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_held {
            self.pool.put_back(None, self.key, Instant::now());
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
            grant(&mut shared.scheduler);
        } else {
            self.pool.lane_metrics(self.lane).abandoned.inc();
        }
    }
}

impl Pool {
    /// Waits for a slot in `lane`. One that is free comes with the idle connection that suits
    /// `request` best, if there is any.
    ///
    /// # Errors
    /// [`Error::QueueFull`] at once, [`Error::QueueTimeout`] after the lane's time.
    ///
    /// # Cancel safety
    /// A caller that goes away leaves the queue, or passes a slot just granted on.
    pub(super) async fn admit(
        self: &Arc<Self>,
        lane: usize,
        request: &Request<'_>,
        since: Instant,
    ) -> Result<(Slot, Option<Box<Connection>>), Error> {
        let metrics = self.lane_metrics(lane);
        let session = request.session;
        let mut woken = None;
        let (admission, found) = {
            let mut shared = self.shared.lock();
            let admission = shared.scheduler.admit(lane, || {
                let (wake, wait) = oneshot::channel();
                woken = Some(wait);
                Waiter { wake, since }
            });
            match admission {
                Admission::Granted => {
                    let key = shared.held.insert(Held { lane, session, since });
                    (Ok(key), shared.idle.take_match(request))
                }
                Admission::Queued(_) | Admission::Refused => {
                    if self.is_guarded(lane) {
                        shared.guard.waited();
                    }
                    (Err(admission), None)
                }
            }
        };
        let (key, granted_at) = match (admission, woken) {
            (Ok(key), _) => (key, since),
            (Err(Admission::Queued(ticket)), Some(woken)) => {
                let mut place = Place { pool: self, lane, ticket, is_done: false };
                let settings = &self.lanes[lane];
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
                let now = Instant::now();
                (self.shared.lock().held.insert(Held { lane, session, since: now }), now)
            }
            _ => {
                metrics.rejected_full.inc();
                let settings = &self.lanes[lane];
                return Err(Error::QueueFull {
                    lane: settings.name.clone(),
                    backend: self.name().to_owned(),
                    limit: settings.queue,
                });
            }
        };
        metrics.wait_seconds.observe(granted_at.duration_since(since).as_secs_f64());
        metrics.admitted.inc();
        Ok((Slot { pool: self.clone(), granted_at, key, is_held: true }, found))
    }
}

impl Pool {
    /// Lets lanes follow what happens; to be called each tenth of a second. Slots that interactive
    /// work holds for long count for batch, and the guard moves the bound of batch.
    pub fn steer(&self) {
        let Some(Auto { interactive, batch }) = self.auto else { return };
        let now = Instant::now();
        let mut shared = self.shared.lock();
        let shared = &mut *shared;
        let is_long = |held: &Held| held.lane == interactive && now - held.since > HELD_LONG;
        for (_, held) in shared.held.iter_mut().filter(|(_, held)| is_long(held)) {
            held.lane = batch;
            shared.scheduler.reassign(interactive, batch);
            self.lane_metrics(interactive).reassigned.inc();
        }
        let (in_use, waiting) = shared.scheduler.lane(batch);
        let limit = shared.guard.tick(BatchNow { in_use, waiting });
        shared.scheduler.set_max(batch, limit);
        grant(&mut shared.scheduler);
        self.lane_metrics(batch).limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        let target = shared.guard.target_seconds().unwrap_or(f64::NAN);
        self.metrics().interactive_target_seconds.set(target);
    }
}

/// Wakes every waiter that may run now.
pub(super) fn grant(scheduler: &mut Scheduler<Waiter>) {
    while let Some((_, waiter)) = scheduler.next_grant() {
        // A receiver that is gone gives the slot on when its place is dropped.
        let _ = waiter.wake.send(());
    }
}
