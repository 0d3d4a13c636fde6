//! What the servers are: one control connection to each, and the published results.
//!
//! ```text
//!            one task per backend                      readers
//! server ◄── line ◄── primary: greeting, facts ──────► facts(), accounts(), reading()
//!                     replica: health, watermark ────► view(), wait_applied()
//!                     both:    kills             ◄──── kill()
//!                     primary: locks             ◄───► lock_waits()
//! ```
//!
//! Invariants: topology has at most one TCP connection per backend at any moment (`line`); it
//! tries forever and never panics into its caller; what it publishes is replaced as a whole, so
//! readers never wait. Everything public is cheap but the `async` methods.

pub mod account;
mod addresses;
mod control;
mod facts;
pub mod greeting;
pub mod health;
mod history;
mod kill;
mod line;
mod locks;
mod primary;
mod probe;
mod reading;
mod replica;
mod watermark;

pub use account::host::Names;
pub use account::{
    ACCOUNTS_GRANT, Account, Accounts, PasswordHash, Plugin, RequiredTls, SocketMethod,
    UNIX_SOCKET, mark,
};
pub use locks::Untold;

pub use facts::{
    BINLOG_FORMAT, GTID_MODE, ISOLATION, READ_ONLY, ServerFacts, TRACK_GTIDS, VARIABLES,
    logs_statements,
};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{self, Duration};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::account::Ledger;
use self::kill::KillQueue;
use self::locks::LockDesk;
use self::reading::Readings;
use self::watermark::Demand;
use crate::config::Settings;
use crate::lanes::lock_guard::LockWait;
use crate::route::freshness::Position;
use crate::route::token::Reading;
use crate::route::view::{BackendId, ReplicaView, Rotation, View};
use crate::route::whereabouts::Whereabouts;

/// Longest wait for the control connections to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Told of every probe; called from the control tasks, so it must not block.
pub trait Observer: Send + Sync {
    /// A backend answers or does not.
    fn backend_up(&self, backend: BackendId, up: bool);
    /// A replica as last probed.
    fn replica(
        &self,
        backend: BackendId,
        rotation: Rotation,
        lag: Option<Duration>,
        applied: &Position,
    );
}

/// The servers as known now. Dropping it closes the control connections in the background.
pub struct Topology {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topology").field("view", &self.view()).finish_non_exhaustive()
    }
}

/// What the control tasks and the readers share.
struct Shared {
    settings: Arc<Settings>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
    view: ArcSwap<View>,
    /// The view being written; held only to change it and publish a copy.
    draft: Mutex<View>,
    facts: watch::Sender<Option<Arc<ServerFacts>>>,
    ledger: Ledger,
    demand: Demand,
    readings: Readings,
    /// The primary is the one that replicas are compared with: its control connection is there, and replicas
    /// were held back if it has found another one.
    is_primary_met: AtomicBool,
    /// See [`ServerFacts::has_gtids`]: asked for with each write.
    has_gtids: AtomicBool,
    locks: LockDesk,
    desks: Vec<Desk>,
}

/// Where one backend's control task takes its orders.
struct Desk {
    wake: Notify,
    kills: KillQueue,
    applied: watch::Sender<Position>,
    whereabouts: Arc<Whereabouts>,
    /// Somebody has found another server at its address.
    is_doubted: AtomicBool,
    /// What keeps reads from it, if it is a replica; empty when nothing does.
    why: Mutex<String>,
}

impl Topology {
    /// Starts one control task per backend and returns at once. Must be called in a runtime.
    pub fn start(settings: Arc<Settings>, observer: Arc<dyn Observer>) -> Arc<Self> {
        let shared = Arc::new(Shared::new(settings, observer));
        let tasks = TaskTracker::new();
        for backend in (0..shared.desks.len()).map(BackendId::new) {
            tasks.spawn(control::supervise(Arc::clone(&shared), backend));
        }
        tasks.close();
        Arc::new(Self { shared, tasks })
    }

    /// All servers as last probed. Before the first probes: everything down.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.shared.view.load()
    }

    /// What keeps reads from a replica, in the server's words or ours; empty when nothing does, or nothing more
    /// is known than its [`Rotation`].
    pub fn why(&self, replica: BackendId) -> String {
        self.shared.desk(replica).why.lock().clone()
    }

    /// The primary's facts, once it was reached; kept while it is down.
    pub fn facts(&self) -> Option<Arc<ServerFacts>> {
        self.shared.facts.borrow().clone()
    }

    /// The primary's facts, waiting at most `limit` for the first ones. The accounts were tried
    /// to load before.
    pub async fn wait_for_facts(&self, limit: Duration) -> Option<Arc<ServerFacts>> {
        let mut facts = self.shared.facts.subscribe();
        let known = timeout(limit, facts.wait_for(Option::is_some)).await;
        known.ok()?.ok()?.clone()
    }

    /// The primary's accounts as last loaded; empty before.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.shared.ledger.current()
    }

    /// Whether the primary's accounts were loaded once.
    pub fn knows_accounts(&self) -> bool {
        self.shared.ledger.is_loaded()
    }

    /// Has the primary's variables and accounts read anew; returns when a reading that began after
    /// this call has ended, or after two seconds. Calls within 300 ms share one.
    pub async fn refresh(&self) {
        self.shared.ledger.refresh(&self.shared.desk(BackendId::PRIMARY).wake).await;
    }

    /// A session was turned away from a replica that lacks `position`, or is likely to be: read
    /// the replicas' watermarks often until they have it, for at most a second.
    pub fn fresh_wanted(&self, position: &Position) {
        if self.shared.demand.want(position) {
            self.shared.wake_replicas();
        }
    }

    /// Something was written at `position`, and a read is likely to follow: as [`Self::fresh_wanted`].
    pub fn written(&self, position: &Position) {
        self.shared.readings.note(position);
        self.fresh_wanted(position);
    }

    /// What the primary is known to have.
    pub fn newest_position(&self) -> Position {
        self.shared.readings.newest()
    }

    /// Readings of the primary's position that have begun by now: for the stamp of a write.
    pub fn readings_begun(&self) -> u64 {
        self.shared.readings.begun()
    }

    /// Whether positions of writes say something of replicas. Not between the loss of the primary's control
    /// connection and the next one: what is opened meanwhile may lead to a primary that has lost what a
    /// replica has, and gives its numbers to other transactions.
    pub fn is_primary_met(&self) -> bool {
        self.shared.is_primary_met.load(Ordering::Acquire)
    }

    /// The primary numbers its transactions, so that a reading of its position helps.
    pub fn has_gtids(&self) -> bool {
        self.shared.has_gtids.load(Ordering::Acquire)
    }

    /// The last reading of the primary's position.
    pub fn reading(&self) -> Arc<Reading> {
        self.shared.readings.last()
    }

    /// Something was written at an unknown position: read the primary's own soon.
    pub fn reading_wanted(&self) {
        self.shared.want_reading();
    }

    /// Whether a replica in rotation has applied `token`, waiting at most `limit`.
    pub async fn wait_applied(
        &self,
        backend: BackendId,
        token: &Position,
        limit: Duration,
    ) -> bool {
        let deadline = Instant::now() + limit;
        let Some(desk) = self.shared.desks.get(backend.index()) else { return false };
        let mut applied = desk.applied.subscribe();
        let (_waiting, must_wake) = self.shared.demand.wait(token);
        if must_wake {
            self.shared.wake_replicas();
        }
        while self.is_in_rotation(backend) {
            if applied.borrow_and_update().covers(token) {
                return true;
            }
            self.fresh_wanted(token);
            let renewed = deadline.min(Instant::now() + RENEWAL);
            let changed = timeout_at(renewed, applied.changed()).await;
            if changed.is_err() && Instant::now() >= deadline {
                return false;
            }
        }
        false
    }

    /// Whether `KILL [QUERY]` was confirmed by the server within two seconds; a thread that is
    /// gone counts. `false` at once without a control connection or with too many kills queued.
    ///
    /// A thread of another `generation` than that of the server which is there now is gone, or out of
    /// reach: its number may be somebody else's.
    pub async fn kill(
        &self,
        backend: BackendId,
        thread_id: u64,
        query_only: bool,
        generation: u16,
    ) -> bool {
        match self.shared.desks.get(backend.index()) {
            Some(desk) if !desk.whereabouts.has(generation) => true,
            Some(desk) => desk.kills.kill(thread_id, query_only, &desk.wake).await,
            None => false,
        }
    }

    /// Whether a backend has no connection `thread_id` of a generation any more; `false` also when it does
    /// not tell within two seconds.
    pub async fn is_gone(&self, backend: BackendId, thread_id: u64, generation: u16) -> bool {
        match self.shared.desks.get(backend.index()) {
            Some(desk) if !desk.whereabouts.has(generation) => true,
            Some(desk) => desk.kills.is_gone(thread_id, &desk.wake).await,
            None => true,
        }
    }

    /// Which server a backend's control connection is on.
    pub fn whereabouts(&self, backend: BackendId) -> Arc<Whereabouts> {
        self.shared.desk(backend).whereabouts.clone()
    }

    /// A connection to a backend has led to another server: its control connection is to look where its
    /// address leads to by now.
    pub fn doubt(&self, backend: BackendId) {
        let desk = self.shared.desk(backend);
        desk.is_doubted.store(true, Ordering::Release);
        desk.wake.notify_one();
    }

    /// Who waits for whose locks at the primary now; for `threads` also whether they wait for
    /// metadata locks.
    ///
    /// # Errors
    /// When the primary refuses to tell, or does not answer within two seconds.
    pub async fn lock_waits(&self, threads: Vec<u64>) -> Result<Vec<LockWait>, Untold> {
        self.shared.locks.ask(threads, &self.shared.desk(BackendId::PRIMARY).wake).await
    }

    /// Closes the control connections, waiting for that at most two seconds.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        if timeout(CLOSE_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("control connections are still closing");
        }
    }

    fn is_in_rotation(&self, backend: BackendId) -> bool {
        let view = self.view();
        view.replicas
            .iter()
            .any(|replica| replica.backend == backend && replica.rotation == Rotation::In)
    }
}

/// How often a waiter renews its wish for fast watermarks; shorter than such a wish lasts.
const RENEWAL: Duration = Duration::from_millis(500);

impl Drop for Topology {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    fn new(settings: Arc<Settings>, observer: Arc<dyn Observer>) -> Self {
        let count = settings.backends.len();
        let replicas = (1..count).map(|index| ReplicaView {
            backend: BackendId::new(index),
            rotation: Rotation::Down,
            lag: None,
            applied: Position::default(),
            generation: 0,
            silent: None,
        });
        let view =
            View { primary_up: false, is_primary_silent: false, replicas: replicas.collect() };
        let desk = || Desk {
            wake: Notify::new(),
            kills: KillQueue::new(),
            applied: watch::Sender::new(Position::default()),
            whereabouts: Arc::default(),
            is_doubted: AtomicBool::new(false),
            why: Mutex::default(),
        };
        Self {
            settings,
            observer,
            stop: CancellationToken::new(),
            view: ArcSwap::from_pointee(view.clone()),
            draft: Mutex::new(view),
            facts: watch::Sender::new(None),
            ledger: Ledger::new(),
            demand: Demand::new(),
            readings: Readings::default(),
            is_primary_met: AtomicBool::new(false),
            has_gtids: AtomicBool::new(false),
            locks: LockDesk::default(),
            desks: (0..count).map(|_| desk()).collect(),
        }
    }

    fn want_reading(&self) {
        if self.readings.want() {
            self.desk(BackendId::PRIMARY).wake.notify_one();
        }
    }

    fn wake_replicas(&self) {
        for desk in self.desks.iter().skip(1) {
            desk.wake.notify_one();
        }
    }

    fn name(&self, backend: BackendId) -> &str {
        &self.settings.backends[backend.index()].name
    }

    fn desk(&self, backend: BackendId) -> &Desk {
        &self.desks[backend.index()]
    }

    fn publish_primary(&self, up: bool) {
        self.observer.backend_up(BackendId::PRIMARY, up);
        let mut draft = self.draft.lock();
        if draft.primary_up != up {
            tracing::info!(backend = self.name(BackendId::PRIMARY), up, "primary");
            draft.primary_up = up;
            self.view.store(Arc::new(draft.clone()));
        }
    }

    fn publish_primary_silent(&self, is_silent: bool) {
        let mut draft = self.draft.lock();
        if draft.is_primary_silent != is_silent {
            draft.is_primary_silent = is_silent;
            self.view.store(Arc::new(draft.clone()));
        }
    }

    fn publish_replica(
        &self,
        backend: BackendId,
        rotation: Rotation,
        (lag, silent): (Option<Duration>, Option<time::Instant>),
        applied: &Position,
    ) {
        self.observer.backend_up(backend, rotation != Rotation::Down);
        self.observer.replica(backend, rotation, lag, applied);
        let generation = self.desk(backend).whereabouts.generation();
        let mut draft = self.draft.lock();
        let Some(shown) = draft.replicas.iter_mut().find(|shown| shown.backend == backend) else {
            return;
        };
        let is_same = shown.rotation == rotation
            && shown.lag == lag
            && shown.silent == silent
            && shown.applied == *applied
            && shown.generation == generation;
        if !is_same {
            let applied = applied.clone();
            *shown = ReplicaView { backend, rotation, lag, applied, generation, silent };
            self.view.store(Arc::new(draft.clone()));
        }
        drop(draft);
        // After the view, so that a woken waiter finds its position there too. Waiters also look
        // at the rotation, so a change of that wakes them as well.
        self.desk(backend).applied.send_if_modified(|known| {
            if !is_same {
                known.clone_from(applied);
            }
            !is_same
        });
    }

    fn publish_lost(&self, backend: BackendId) {
        self.desk(backend).kills.close();
        if backend.is_primary() {
            // No later than a connection to another one can be opened.
            self.is_primary_met.store(false, Ordering::Release);
        }
        self.desk(backend).whereabouts.leave();
        match backend {
            BackendId::PRIMARY => self.publish_primary(false),
            _ => self.publish_replica(backend, Rotation::Down, (None, None), &Position::default()),
        }
    }
}
