//! Bounded connections to one backend, and the lanes that share them.
//!
//! Two bounds, each kept by one thing:
//! 1. `slots` (the right to use a connection) by the [`Scheduler`], in lanes; a statement waits
//!    for a slot and for nothing else;
//! 2. TCP connections by a semaphore whose permits live inside the connections: one that is
//!    opening, idle, in use or being closed counts until the server has forgotten it, or the
//!    address leads to another server.
//!
//! Lock rules: the one lock of a pool guards scheduler and idle list together, is held for a few
//! hundred nanoseconds, and never across an await. A slot comes back by `Drop`.

mod admission;
mod aim;
mod checkout;
mod complaints;
mod crowd;
mod epoch;
mod idle;
mod open;
mod personas;
mod reach;
mod refusals;
mod retire;
mod stale;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::backend::{Connection, ConnectionKey, Route, TlsError};
use crate::config::Settings;
use crate::config::settings;
use crate::lanes::{Beside, Guard, LaneNow, Limits, Overload, Precedence, Scheduler};
use crate::metrics::{BackendMetrics, LaneMetrics, Metrics};
use crate::route::view::BackendId;
use crate::route::whereabouts::Whereabouts;

pub use admission::{Admitted, Slot, Waiting};
pub use aim::Aim;
pub use checkout::Checkout;
pub use epoch::Epochs;
pub use open::{Request, Whose};
pub use personas::Personas;
pub use retire::{Control, Retire};
pub use stale::{Proof, Standing};

use admission::{HELD_LONG, Held, Steered, Waiter};
use complaints::Complaints;
use crowd::Crowds;
use epoch::Applied;
use idle::Idle;
use reach::Reach;
use refusals::Refusals;
use stale::Stale;

/// Connections that a pool may have beside its own: the control connection.
pub const CONTROL_CONNECTIONS: usize = 1;

/// Pause of a task between looks whether it waits for a server that is no longer there.
const FORSAKEN_LOOK: Duration = Duration::from_secs(5);

/// Time in which batch work is known for what it is; until then it is in the interactive lane.
const RECOGNITION: Duration = Duration::from_millis(2_500);

/// One backend's connections.
#[derive(Debug)]
pub struct Pool {
    backend: BackendId,
    settings: settings::Backend,
    route: Route,
    ages: settings::Pool,
    lanes: usize,
    slots: usize,
    shared: Mutex<Shared>,
    /// Some kind of work holds slots for long, see [`Crowds`].
    is_crowded: AtomicBool,
    /// A [`Beside`].
    beside: AtomicU8,
    permits: Arc<Semaphore>,
    pace: open::Pace,
    /// Connections that are being opened, or wait for the right to be.
    openings: AtomicUsize,
    control: Arc<dyn Control>,
    whereabouts: Arc<Whereabouts>,
    reach: Reach,
    complaints: Complaints,
    losses: Complaints,
    refusals: Refusals,
    stale: Stale,
    applied: Applied,
    aims: aim::Aims,
    epochs: Arc<Epochs>,
    personas: Arc<Personas>,
    metrics: Arc<Metrics>,
}

/// The lanes that behaviour decides between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Auto {
    interactive: usize,
    batch: usize,
}

#[derive(Debug)]
struct Shared {
    lanes: Vec<settings::Lane>,
    auto: Option<Auto>,
    scheduler: Scheduler<Waiter>,
    held: Slab<Held>,
    guard: Guard,
    /// One a lane.
    overload: Vec<Overload>,
    steered: Steered,
    crowds: Crowds,
    /// When there was such a kind last.
    crowded_at: Option<Instant>,
    /// Slots given back since somebody looked for such kinds.
    given_back: u16,
    idle: Idle,
}

/// What the lanes' settings come to at one backend.
struct Tuning {
    limits: Vec<Limits>,
    auto: Option<Auto>,
    guard: Guard,
    overload: Vec<Overload>,
}

impl Tuning {
    fn new(settings: &Settings, slots: usize, backend: BackendId, metrics: &Metrics) -> Self {
        let limits = |lane: &settings::Lane| Limits {
            reserved: lane.reserved.reserved_of(slots),
            max: lane.max.of(slots).max(1),
            queue: lane.queue,
        };
        let limits: Vec<Limits> = settings.lanes.iter().map(limits).collect();
        for (lane, limits) in limits.iter().enumerate() {
            let max = i64::try_from(limits.max).unwrap_or(i64::MAX);
            metrics.lane(backend.index(), lane).limit.set(max);
            let reserved = i64::try_from(limits.reserved).unwrap_or(i64::MAX);
            metrics.lane(backend.index(), lane).reserved.set(reserved);
        }
        let auto =
            settings.batch_lane.map(|batch| Auto { interactive: settings.default_lane, batch });
        let guarded = limits[auto.map_or(0, |auto| auto.batch)];
        let floor = guarded.reserved.clamp(1, guarded.max);
        let guard = Guard::new(settings.latency_target, floor, guarded.max);
        let overload =
            |(index, lane): (usize, &settings::Lane)| {
                let learns = auto.is_some_and(|auto| auto.interactive == index);
                Overload::new(lane.overload_timeout, lane.queue_timeout)
                    .with_forbearance(if learns { RECOGNITION } else { Duration::ZERO })
            };
        let overload = settings.lanes.iter().enumerate().map(overload).collect();
        Self { limits, auto, guard, overload }
    }
}

impl Shared {
    /// Whether the guard looks after this lane.
    fn is_guarded(&self, lane: usize) -> bool {
        self.auto.is_some_and(|auto| auto.interactive == lane)
    }
}

impl Pool {
    /// The pool of backend `backend` of `settings`.
    ///
    /// # Errors
    /// When the files for TLS can't be used.
    pub fn new(
        settings: &Settings,
        backend: BackendId,
        control: Arc<dyn Control>,
        (epochs, personas): (Arc<Epochs>, Arc<Personas>),
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, TlsError> {
        let backend_settings = settings.backends[backend.index()].clone();
        let slots = backend_settings.max_connections - CONTROL_CONNECTIONS;
        let Tuning { limits, auto, guard, overload } =
            Tuning::new(settings, slots, backend, &metrics);
        metrics.backend(backend.index()).limit.set(i64::try_from(slots).unwrap_or(i64::MAX));
        let mut route = Route::new(&backend_settings)?;
        if !backend.is_primary() {
            route = route.of_reads();
        }
        Ok(Arc::new(Self {
            backend,
            route,
            ages: settings.pool.clone(),
            lanes: settings.lanes.len(),
            slots,
            shared: Mutex::new(Shared {
                lanes: settings.lanes.clone(),
                auto,
                scheduler: Scheduler::new(slots, &limits),
                held: Slab::with_capacity(slots),
                guard,
                overload,
                steered: Steered::default(),
                crowds: Crowds::default(),
                crowded_at: None,
                given_back: 0,
                idle: Idle::default(),
            }),
            is_crowded: AtomicBool::new(false),
            beside: AtomicU8::new(Beside::Nothing as u8),
            permits: Arc::new(Semaphore::new(slots)),
            pace: open::Pace::new(settings.pool.open_rate),
            openings: AtomicUsize::new(0),
            whereabouts: control.whereabouts(backend),
            control,
            reach: Reach::new(),
            complaints: Complaints::default(),
            losses: Complaints::of_losses(),
            refusals: Refusals::default(),
            stale: Stale::default(),
            applied: Applied::default(),
            aims: aim::Aims::default(),
            epochs,
            personas,
            metrics,
            settings: backend_settings,
        }))
    }

    /// Lanes of the same names have other settings from now on. Who waits keeps his place, and the
    /// time he was given.
    pub fn retune(&self, settings: &Settings) {
        let Tuning { limits, auto, guard, overload } =
            Tuning::new(settings, self.slots, self.backend, &self.metrics);
        let mut shared = self.shared.lock();
        shared.guard.retune(&guard);
        if shared.lanes != settings.lanes || shared.auto != auto {
            shared.lanes.clone_from(&settings.lanes);
            (shared.auto, shared.overload) = (auto, overload);
            for lane in 0..self.lanes {
                shared.scheduler.set_precedence(lane, Precedence::None);
            }
        }
        shared.scheduler.set_limits(&limits);
        match auto {
            // What is moved by now is counted with the next look.
            Some(Auto { batch, .. }) => {
                let limit = shared.guard.limit();
                shared.scheduler.set_max(batch, limit);
            }
            None => self.metrics().interactive_target_seconds.set(f64::NAN),
        }
        shared.scheduler.wake_next();
    }

    /// Reads the files for TLS with the server again.
    ///
    /// # Errors
    /// When they can't be used; the old ones stay.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.route.reload(&self.settings)
    }

    /// The backend's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether work may go to this server, of which there are others: connections can be opened, or this
    /// statement is to try it.
    pub fn may_try(&self) -> bool {
        self.reach.may_try()
    }

    /// Whether no connections can be opened.
    pub fn is_out_of_reach(&self) -> bool {
        self.reach.is_lost()
    }

    /// The same, and nobody is to try yet.
    pub fn is_avoided(&self) -> bool {
        self.reach.is_avoided()
    }

    /// Whether a new connection of `key` would be refused, as far as is known: reads had better go elsewhere.
    pub fn refuses(&self, key: &Arc<ConnectionKey>) -> bool {
        self.refusals.has(key, Instant::now())
    }

    /// Whether this replica is known to have so many of the changes of [`Epochs::logins`], as told of
    /// connections of `generation`.
    pub fn has_logins(&self, logins: u64, generation: u16) -> bool {
        self.applied.has(logins, generation)
    }

    /// It has.
    pub fn note_logins(&self, logins: u64, generation: u16) {
        self.applied.note(logins, generation);
    }

    /// Whether a connection of this generation is of the server that is there now.
    pub fn has(&self, generation: u16) -> bool {
        self.whereabouts.has(generation)
    }

    /// Ready when the address has left the server of a connection of this generation long ago. For tasks
    /// that nobody wakes.
    pub async fn forsakes(&self, generation: u16) {
        while !self.whereabouts.is_forsaken(generation) {
            sleep(FORSAKEN_LOOK).await;
        }
    }

    /// A KILL for a connection of a session is about to be sent: should the session leave the
    /// connection before that is dropped, nobody else gets it. Look again, with the result in hand,
    /// whether the connection is the session's.
    pub fn aim(&self, thread_id: u64) -> Aim<'_> {
        self.aims.at(thread_id)
    }

    /// Which backend it is.
    pub fn backend(&self) -> BackendId {
        self.backend
    }

    /// Slots in all.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Slots in use: what the choice between replicas goes by.
    pub fn in_use(&self) -> usize {
        self.shared.lock().scheduler.in_use()
    }

    /// Whether work of a lane would get a slot at once.
    pub fn has_free(&self, lane: usize) -> bool {
        self.shared.lock().scheduler.has_free(lane)
    }

    /// Sessions that hold a slot now.
    pub fn holders(&self) -> Vec<u32> {
        self.shared.lock().held.iter().map(|(_, held)| held.session).collect()
    }

    /// Sessions that have held a slot for long, and the lane it counts for since, if that is another.
    pub fn long_holders(&self) -> Vec<(u32, Option<usize>)> {
        let now = Instant::now();
        let shared = self.shared.lock();
        let is_long = |held: &Held| now.saturating_duration_since(held.since) > HELD_LONG;
        let long = shared.held.iter().filter(|(_, held)| is_long(held));
        let lane = |held: &Held| Some(held.turn.lane()).filter(|lane| *lane != held.granted);
        long.map(|(_, held)| (held.session, lane(held))).collect()
    }

    /// What interactive statements may take on average; `None` while that is not known.
    pub fn target(&self) -> Option<Duration> {
        let seconds = self.shared.lock().guard.target_seconds()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// What operators see: per lane slots in use, waiters and age of the oldest in milliseconds.
    pub fn lanes_now(&self) -> Vec<(usize, usize, u64)> {
        let now = Instant::now();
        let shared = self.shared.lock();
        let lane = |lane: usize| {
            let LaneNow { in_use, waiting, .. } = shared.scheduler.lane(lane);
            let oldest = shared.scheduler.oldest(lane).map_or(0, |waiter| waiter.age_ms(now));
            (in_use, waiting, oldest)
        };
        (0..self.lanes).map(lane).collect()
    }

    /// TCP connections (opening, in use, idle or closing), and how many of them are idle.
    pub fn connections_now(&self) -> (usize, usize) {
        let idle = self.shared.lock().idle.len();
        (self.slots - self.permits.available_permits(), idle)
    }

    /// Closes idle connections that are too old; called about once a second.
    pub fn sweep(self: &Arc<Self>) {
        let now = Instant::now();
        let old = self.shared.lock().idle.take_old(
            now,
            (self.ages.idle_timeout, self.ages.max_age),
            &self.whereabouts,
        );
        for (connection, reason) in old {
            self.retire(connection, Retire::Quit(reason));
        }
    }

    /// Closes all idle connections.
    pub fn close_idle(self: &Arc<Self>) {
        let all = self.shared.lock().idle.take_all();
        for connection in all {
            self.retire(connection, Retire::Quit(crate::metrics::Closed::Idle));
        }
    }

    /// Brings the gauges up to date, for a scrape: statements don't touch them.
    pub fn show(&self) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (open, idle) = self.connections_now();
        self.metrics().open.set(number(open));
        self.metrics().idle.set(number(idle));
        for (lane, (in_use, waiting, _)) in self.lanes_now().into_iter().enumerate() {
            self.lane_metrics(lane).in_use.set(number(in_use));
            self.lane_metrics(lane).waiting.set(number(waiting));
        }
    }

    fn metrics(&self) -> &BackendMetrics {
        self.metrics.backend(self.backend.index())
    }

    fn lane_metrics(&self, lane: usize) -> &LaneMetrics {
        self.metrics.lane(self.backend.index(), lane)
    }

    /// Puts a clean connection back and hands the slot to the next waiter, in one step.
    fn put_back(&self, connection: Option<Box<Connection>>, key: usize, now: Instant) {
        let mut shared = self.shared.lock();
        let Held { turn, granted, since, .. } = shared.held.remove(key);
        let service = now.duration_since(since);
        let served = service.as_secs_f64();
        shared.given_back = shared.given_back.saturating_add(1);
        // The guard has been told of those that count for another lane by now. Logins are no statements.
        if shared.is_guarded(turn.lane()) && turn.kind() != 0 {
            shared.guard.served(served);
        }
        if let Some(connection) = connection {
            shared.idle.push(connection);
        }
        shared.scheduler.give_back(turn, service);
        drop(shared);
        self.lane_metrics(granted).service_seconds.observe(served);
    }
}
