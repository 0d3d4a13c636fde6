//! Waiting for a slot, and what becomes of who waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::crowd::{CROWD_DRAINS, HELD_IN_A_CROWD};
use super::{Auto, Pool, Request, Shared};
use crate::backend::Connection;
use crate::error::Error;
use crate::lanes::{
    Admission, BatchNow, Beside, Demand, Dismissal, Gone, LaneNow, Overload, QueueNow, Told, Turn,
    Wake,
};

/// A slot held for longer counts for the batch lane: what a session known to be light may use.
pub(super) const HELD_LONG: Duration = Duration::from_secs(1);
/// Slots for each of batch's own that is held for longer and takes nothing of what batch has for sure; and most of
/// those: each is work beside which the guard wants next to none.
const SLOTS_A_LASTING: usize = 4;
const LASTING_MAX: usize = 2;
/// Most waiters dismissed at a time: the lock is held meanwhile.
const DISMISSED_MAX: usize = 200;

/// Somebody who waits for a slot.
#[derive(Debug)]
pub(super) struct Waiter {
    tell: oneshot::Sender<Told>,
    since: Instant,
}

impl Waiter {
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX)
    }

    fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.since)
    }
}

impl Wake for Waiter {
    fn wake(self, told: Told) {
        // The receiver is in his place, which asks what he was told before it is gone.
        let _ = self.tell.send(told);
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
#[derive(Debug)]
pub(super) struct Held {
    /// With the lane it counts for.
    pub(super) turn: Turn,
    /// The lane it was granted to; it counts for another once it has been held for long.
    pub(super) granted: usize,
    /// Whose it is.
    pub(super) session: u32,
    pub(super) since: Instant,
    /// What makes it one of a crowd.
    pub(super) crowd: u64,
}

/// When the lanes were steered last.
#[derive(Debug, Default)]
pub(super) struct Steered(Option<Instant>);

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

/// Who was not served at once, and where he waits.
#[derive(Debug)]
pub struct Waiting<'a> {
    asked: Asked<'a>,
    lane: usize,
    session: u32,
    crowd: u64,
    since: Instant,
}

/// A slot that was waited for, and what suits best of what was idle when it was free at once.
pub type Admitted = (Slot, Option<Box<Connection>>);

/// A place in the queue; leaving it early neither loses nor leaks a slot.
#[derive(Debug)]
struct Place<'a> {
    pool: &'a Arc<Pool>,
    lane: usize,
    ticket: u64,
    told: oneshot::Receiver<Told>,
    /// Longest wait.
    limit: Duration,
    is_done: bool,
}

impl Place<'_> {
    /// What becomes of the waiter; `None` when his time is over.
    ///
    /// # Cancel safety
    /// His place is left, or a slot just granted passed on, when this is dropped.
    async fn wait(mut self) -> Option<Told> {
        let told = timeout(self.limit, &mut self.told).await;
        self.is_done = true;
        match told {
            Ok(Ok(told)) => Some(told),
            // Whoever waits is told before the scheduler lets go of him.
            Ok(Err(_)) => unreachable!("a waiter was forgotten"),
            Err(_) => {
                let mut shared = self.pool.shared.lock();
                shared.scheduler.give_up(self.lane, self.ticket, || self.told.try_recv().ok())
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut shared = self.pool.shared.lock();
        let told = || self.told.try_recv().ok();
        if shared.scheduler.vanish(self.lane, self.ticket, told) == Gone::Left {
            self.pool.lane_metrics(self.lane).abandoned.inc();
        }
    }
}

/// Answer to a request for a slot.
#[derive(Debug)]
enum Asked<'a> {
    /// It is free; with the idle connection that suits best, if there is any.
    Granted(Slot, Option<Box<Connection>>),
    Wait(Place<'a>),
    Full,
}

impl Pool {
    /// Asks for the slot of `demand`, and for the idle connection that suits `request` best:
    /// nearly always both are there, and `is_fine`.
    pub(super) fn admit_at_once(
        self: &Arc<Self>,
        demand: Demand,
        request: &Request<'_>,
        since: Instant,
        is_fine: impl FnOnce(&Connection) -> bool,
    ) -> Result<(Slot, Box<Connection>), Waiting<'_>> {
        match self.ask(demand, request, since) {
            Asked::Granted(slot, Some(connection)) if is_fine(&connection) => {
                self.count_admitted(demand.lane, Duration::ZERO);
                Ok((slot, connection))
            }
            asked => {
                let Demand { lane, crowd, .. } = demand;
                Err(Waiting { asked, lane, session: request.session, crowd, since })
            }
        }
    }

    /// Waits for the slot. One that was free comes with the idle connection that suits best, if there
    /// is any.
    ///
    /// # Errors
    /// [`Error::QueueFull`] at once or when others need the place, [`Error::Overloaded`] and
    /// [`Error::QueueTimeout`] after the lane's times.
    ///
    /// # Cancel safety
    /// A caller that goes away leaves the queue, or passes a slot just granted on.
    pub async fn admit(self: &Arc<Self>, waiting: Waiting<'_>) -> Result<Admitted, Error> {
        let Waiting { asked, lane, session, crowd, since } = waiting;
        let place = match asked {
            Asked::Granted(slot, found) => {
                self.count_admitted(lane, Duration::ZERO);
                return Ok((slot, found));
            }
            Asked::Wait(place) => place,
            Asked::Full => return Err(self.refuse(lane, Some(Dismissal::Full))),
        };
        match place.wait().await {
            Some(Told::Granted(turn)) => {
                let now = Instant::now();
                let held = Held { granted: turn.lane(), turn, session, crowd, since: now };
                let key = self.shared.lock().held.insert(held);
                self.count_admitted(lane, now.duration_since(since));
                Ok((self.slot(key, now), None))
            }
            Some(Told::Dismissed(why)) => Err(self.refuse(lane, Some(why))),
            None => Err(self.refuse(lane, None)),
        }
    }

    fn count_admitted(&self, lane: usize, waited: Duration) {
        let metrics = self.lane_metrics(lane);
        metrics.wait_seconds.observe(waited.as_secs_f64());
        metrics.admitted.inc();
    }

    fn slot(self: &Arc<Self>, key: usize, granted_at: Instant) -> Slot {
        Slot { pool: self.clone(), granted_at, key, is_held: true }
    }

    fn ask(self: &Arc<Self>, demand: Demand, request: &Request<'_>, since: Instant) -> Asked<'_> {
        let (lane, session, crowd) = (demand.lane, request.session, demand.crowd);
        let mut place = None;
        let mut shared = self.shared.lock();
        let admission = shared.scheduler.enter(demand, || {
            let (tell, told) = oneshot::channel();
            place = Some(told);
            Waiter { tell, since }
        });
        match (admission, place) {
            (Admission::Granted(turn), _) => {
                let key = shared.held.insert(Held { turn, granted: lane, session, since, crowd });
                let found = self.idle_match(&mut shared, request);
                drop(shared);
                Asked::Granted(self.slot(key, since), found)
            }
            (Admission::Queued(ticket, _), Some(told)) => {
                shared.note_wait(lane);
                let limit = shared.lanes[lane].queue_timeout;
                Asked::Wait(Place { pool: self, lane, ticket, told, limit, is_done: false })
            }
            (Admission::Refused | Admission::Queued(..), _) => {
                shared.note_wait(lane);
                Asked::Full
            }
        }
    }

    /// The error of who gets no slot; without a dismissal his time was over.
    fn refuse(&self, lane: usize, why: Option<Dismissal>) -> Error {
        let settings = self.shared.lock().lanes[lane].clone();
        let metrics = self.lane_metrics(lane);
        let (lane, backend) = (settings.name, self.name().to_owned());
        match why {
            Some(Dismissal::Full) => {
                metrics.rejected_full.inc();
                Error::QueueFull { lane, backend, limit: settings.queue }
            }
            Some(Dismissal::Overload) => {
                metrics.rejected_overload.inc();
                let limit = settings.overload_timeout.unwrap_or(settings.queue_timeout);
                Error::Overloaded { lane, backend, limit }
            }
            Some(Dismissal::Unusable) => self.unavailable("it takes no work at present"),
            None => {
                metrics.rejected_timeout.inc();
                Error::QueueTimeout { lane, backend, limit: settings.queue_timeout }
            }
        }
    }
}

impl Shared {
    fn note_wait(&mut self, lane: usize) {
        if self.is_guarded(lane) {
            self.guard.waited();
        }
    }
}

impl Pool {
    /// Lets lanes follow what happens; to be called each tenth of a second. A lane that is overloaded
    /// refuses what has waited for long; slots that interactive work holds for long count for batch,
    /// and the guard moves the bound of batch.
    ///
    /// `is_idle` tells of a session whether it has run nothing for a while: what it holds then takes nothing
    /// of what batch work may have. A moment between two statements is no while, or batch in full swing would
    /// look like none. `runs_for` tells how long its statement has run.
    pub fn steer(&self, is_idle: impl Fn(u32) -> bool, runs_for: impl Fn(u32) -> Duration) {
        let now = Instant::now();
        let (passed, auto) = {
            let mut shared = self.shared.lock();
            let last = shared.steered.0.replace(now);
            (last.map_or(Duration::ZERO, |last| now.duration_since(last)), shared.auto)
        };
        for lane in 0..self.lanes {
            self.shed(lane, now, passed);
        }
        if let Some(auto) = auto {
            self.steer_batch(auto, now, is_idle, runs_for);
        }
        self.complain_of_untold_losses(now);
    }

    /// Refuses who has waited for long in a lane that is overloaded.
    fn shed(&self, lane: usize, now: Instant, passed: Duration) {
        let (limit, is_overloaded, refusable) = {
            let mut shared = self.shared.lock();
            let Some(limit) = shared.lanes[lane].overload_timeout else {
                // It may have had one before the lanes were tuned anew.
                return self.lane_metrics(lane).overloaded.set(0);
            };
            let LaneNow { in_use, waiting, granted, begun } = shared.scheduler.lane(lane);
            let oldest = shared.scheduler.oldest(lane).map_or(Duration::ZERO, |it| it.age(now));
            let queue = QueueNow { waiting, in_use, oldest, granted, begun };
            let is_overloaded = shared.overload[lane].look(passed, queue);
            let precedence = shared.overload[lane].precedence();
            shared.scheduler.set_precedence(lane, precedence);
            (limit, is_overloaded, Overload::refusable(queue))
        };
        self.lane_metrics(lane).overloaded.set(i64::from(is_overloaded));
        let is_old = |waiter: &Waiter| waiter.age(now) >= limit;
        self.dismiss(
            (lane, Dismissal::Overload),
            is_old,
            if is_overloaded { refusable } else { 0 },
        );
    }

    /// Dismisses up to `left` waiters.
    fn dismiss(&self, whom: (usize, Dismissal), is_old: impl Fn(&Waiter) -> bool, mut left: usize) {
        while left > 0 {
            let at_most = left.min(DISMISSED_MAX);
            let dismissed = self.shared.lock().scheduler.dismiss_old(whom, &is_old, at_most);
            left = if dismissed < at_most { 0 } else { left - dismissed };
        }
    }

    /// Sends all away who wait for a slot: the server is not to be used, and another may do.
    pub fn dismiss_all(&self) {
        for lane in 0..self.lanes {
            self.dismiss((lane, Dismissal::Unusable), |_| true, usize::MAX);
        }
    }

    /// Whether work of this kind, which holds many slots for long, has to leave the last ones to others: it is
    /// batch for now. Costs one load while there is no such kind.
    pub fn is_crowded_by(&self, kind: u64) -> bool {
        if !self.is_crowded.load(Ordering::Relaxed) {
            return false;
        }
        let shared = self.shared.lock();
        let is_at_reserve = |auto: Auto| shared.scheduler.is_at_reserve(auto.interactive);
        shared.crowds.has(kind) && shared.auto.is_some_and(is_at_reserve)
    }

    /// How much batch work runs, which makes other work slower. Costs one load.
    pub fn beside(&self) -> Beside {
        let known = [Beside::Nothing, Beside::Floor, Beside::More];
        let now = self.beside.load(Ordering::Relaxed);
        known.into_iter().find(|&beside| beside as u8 == now).unwrap_or_default()
    }

    /// The age of a transaction says nothing: what runs in it now counts.
    fn look_for_crowds(
        &self,
        shared: &mut Shared,
        interactive: usize,
        now: Instant,
        age: impl Fn(&Held) -> Duration,
    ) {
        let running = shared.held.iter().filter(|(_, held)| held.granted == interactive);
        let running = running.map(|(_, held)| (held.crowd, age(held)));
        let given_back = std::mem::take(&mut shared.given_back);
        let is_crowded = shared.crowds.look(running, self.slots, given_back);
        self.is_crowded.store(is_crowded, Ordering::Relaxed);
        if is_crowded {
            shared.crowded_at = Some(now);
        }
    }

    fn steer_batch(
        &self,
        auto: Auto,
        now: Instant,
        is_idle: impl Fn(u32) -> bool,
        runs_for: impl Fn(u32) -> Duration,
    ) {
        let Auto { interactive, batch } = auto;
        let mut shared = self.shared.lock();
        let shared = &mut *shared;
        let (mut moved, mut idle, mut running, mut lasting) = (0, 0, 0, 0);
        // What began as other work is slow by itself.
        let mut working = 0;
        let age =
            |held: &Held| now.saturating_duration_since(held.since).min(runs_for(held.session));
        self.look_for_crowds(shared, interactive, now, age);
        for (_, held) in &mut shared.held {
            let is_of_crowd = shared.crowds.has(held.crowd) && age(held) > HELD_IN_A_CROWD;
            let Held { turn, granted, session, since, .. } = held;
            let service = now.saturating_duration_since(*since);
            let is_long = service > HELD_LONG || is_of_crowd;
            let is_moved_now = turn.lane() == interactive && is_long;
            if is_moved_now {
                shared.scheduler.reassign(turn, batch, service);
                self.lane_metrics(interactive).reassigned.inc();
            }
            if turn.lane() != batch {
                continue;
            }
            let is_idle = is_idle(*session);
            if is_moved_now && !is_idle {
                // It is slow already, and nobody knows when it ends.
                shared.guard.served(service.as_secs_f64());
            }
            running += usize::from(!is_idle);
            working += usize::from(!is_idle && *granted == batch);
            moved += usize::from(*granted != batch);
            idle += usize::from(*granted != batch && is_idle);
            lasting += usize::from(*granted == batch && service > HELD_LONG);
        }
        let LaneNow { in_use, waiting, .. } = shared.scheduler.lane(batch);
        let beside = match working {
            0 => Beside::Nothing,
            working if working <= shared.guard.floor() => Beside::Floor,
            _ => Beside::More,
        };
        self.beside.store(beside as u8, Ordering::Relaxed);
        let limit = shared.guard.tick(BatchNow { in_use: in_use - idle, running, waiting });
        // What others hold takes nothing of what batch has for sure, nor do a few of its own that last: a slot
        // turns over beside them. But the guard sees nothing beside more than the floor.
        let settings = &shared.lanes[batch];
        let beside = match shared.guard.is_strict() {
            true => 0,
            false => lasting.min((self.slots / SLOTS_A_LASTING).clamp(1, LASTING_MAX)),
        };
        let sure = settings.reserved.reserved_of(self.slots).max(1);
        let own = (sure + beside).min(settings.max.of(self.slots).max(1));
        let limit = (limit + idle).max(moved + own).min(self.slots);
        // Who was put there because of its kind is to leave what is reserved, and not to wait for the guard.
        let was_crowded = shared.crowded_at.is_some_and(|at| now < at + CROWD_DRAINS);
        let reserved = shared.lanes[interactive].reserved.reserved_of(self.slots);
        let of_crowds = if was_crowded { self.slots - reserved.min(self.slots) } else { 0 };
        let limit = limit.max(of_crowds.min(shared.lanes[batch].max.of(self.slots)));
        shared.scheduler.set_max(batch, limit);
        shared.scheduler.wake_next();
        self.lane_metrics(batch).limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        let target = shared.guard.target_seconds().unwrap_or(f64::NAN);
        self.metrics().interactive_target_seconds.set(target);
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
