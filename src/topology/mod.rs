//! What the servers are: one control connection to each, and what is learned over it.
//!
//! ```text
//! control task per backend ── probes ──► Health ──► View (published as a whole)
//!        │                └── gtid_slave_pos ────────┘     └─► route
//!        ├── facts and accounts (primary) ──► client login
//!        └── KILL ◄── pool, client
//! ```
//!
//! Invariant: at no moment has a control task more than one connection to its server, since it is
//! one of the backend's bounded number.

mod account;
mod control;
mod facts;
mod health;
mod host;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::route::freshness::Position;
use crate::route::view::{BackendId, ReplicaView, Rotation, View};

pub use account::{Account, Accounts, Hash, Plugin};
pub use facts::ServerFacts;

use control::Order;

/// Orders that may wait for one control connection.
const ORDERS_MAX: usize = 1024;
/// How long replicas' watermarks are looked at closely after somebody missed a write there.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Longest wait for newly loaded accounts.
const REFRESH_WAIT: Duration = Duration::from_secs(2);

/// Is told what the probes find.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A server can be reached, or not.
    fn up(&self, backend: BackendId, up: bool);
    /// A replica was probed.
    fn replica(
        &self,
        backend: BackendId,
        rotation: Rotation,
        lag: Option<Duration>,
        applied: &Position,
    );
}

/// What the servers are, kept up to date in the background.
#[derive(Debug)]
pub struct Topology {
    started: Instant,
    view: ArcSwap<View>,
    master_copy: Mutex<View>,
    view_changed: watch::Sender<()>,
    facts: ArcSwapOption<ServerFacts>,
    facts_known: watch::Sender<bool>,
    accounts: ArcSwap<Accounts>,
    /// When the load of the current accounts began.
    accounts_loaded: watch::Sender<Option<Instant>>,
    orders: Vec<mpsc::Sender<Order>>,
    /// Milliseconds after `started` until which watermarks are looked at closely.
    fresh_until_ms: AtomicU64,
    fresh_wanted: Notify,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
}

impl Topology {
    /// Starts one control task for each backend and returns at once.
    pub fn start(settings: Arc<Settings>, observer: Arc<dyn Observer>) -> Arc<Self> {
        let replica = |backend| ReplicaView {
            backend,
            rotation: Rotation::Down,
            lag: None,
            applied: Position::default(),
        };
        let replicas = (1..settings.backends.len()).map(replica).collect();
        let view = View { primary_up: false, replicas };
        let channels = settings.backends.iter().map(|_| mpsc::channel(ORDERS_MAX));
        let (orders, inboxes): (Vec<_>, Vec<_>) = channels.unzip();
        let topology = Arc::new(Self {
            started: Instant::now(),
            view: ArcSwap::from_pointee(view.clone()),
            master_copy: Mutex::new(view),
            view_changed: watch::Sender::new(()),
            facts: ArcSwapOption::empty(),
            facts_known: watch::Sender::new(false),
            accounts: ArcSwap::default(),
            accounts_loaded: watch::Sender::new(None),
            orders,
            fresh_until_ms: AtomicU64::new(0),
            fresh_wanted: Notify::new(),
            observer,
            stop: CancellationToken::new(),
        });
        for (backend, inbox) in inboxes.into_iter().enumerate() {
            let (topology, settings) = (topology.clone(), settings.clone());
            tokio::spawn(async move {
                let stop = topology.stop.clone();
                let control = control::Control::new(topology, settings, backend);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = control.run(inbox) => {}
                }
            });
        }
        topology
    }

    /// The servers as last probed.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// What clients are told about the server; `None` until the primary was reached once.
    pub fn facts(&self) -> Option<Arc<ServerFacts>> {
        self.facts.load_full()
    }

    /// The facts, waiting for the first contact with the primary if need be.
    pub async fn wait_for_facts(&self, limit: Duration) -> Option<Arc<ServerFacts>> {
        if let Some(facts) = self.facts() {
            return Some(facts);
        }
        let mut known = self.facts_known.subscribe();
        let _ = timeout(limit, known.wait_for(|known| *known)).await;
        self.facts()
    }

    /// The accounts as last loaded.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.accounts.load_full()
    }

    /// Loads the accounts again; returns when they are at least as new as this call, or after
    /// two seconds. Calls close together share one load.
    pub async fn refresh_accounts(&self) {
        let asked = Instant::now();
        let mut loaded = self.accounts_loaded.subscribe();
        if self.orders[0].try_send(Order::LoadAccounts).is_err() {
            return;
        }
        let is_new = |loaded: &Option<Instant>| loaded.is_some_and(|began| began >= asked);
        let _ = timeout(REFRESH_WAIT, loaded.wait_for(is_new)).await;
    }

    /// A session was turned away from a replica because of its own writes: watermarks are looked
    /// at closely for the next second.
    pub fn fresh_wanted(&self) {
        let until = self.started.elapsed() + FRESH_FOR;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.fresh_until_ms.fetch_max(until, Ordering::Relaxed);
        self.fresh_wanted.notify_waiters();
    }

    fn is_fresh_wanted(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.fresh_until_ms.load(Ordering::Relaxed)
    }

    /// Waits until a replica has applied `token`; `false` after `limit`.
    pub async fn wait_applied(
        &self,
        backend: BackendId,
        token: &Position,
        limit: Duration,
    ) -> bool {
        let deadline = Instant::now() + limit;
        let mut changed = self.view_changed.subscribe();
        loop {
            self.fresh_wanted();
            let view = self.view.load();
            let replica = view.replicas.iter().find(|replica| replica.backend == backend);
            match replica {
                Some(replica) if replica.rotation != Rotation::In => return false,
                Some(replica) if replica.applied.covers(token) => return true,
                Some(_) => {}
                None => return false,
            }
            drop(view);
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Ends a connection of a backend, or only its statement; `false` when the server could not
    /// be told.
    pub async fn kill(&self, backend: BackendId, thread_id: u64, query_only: bool) -> bool {
        let (tell, told) = oneshot::channel();
        let order = Order::Kill { thread_id, query_only, tell };
        self.orders[backend].try_send(order).is_ok() && told.await.unwrap_or(false)
    }

    /// Ends the control tasks.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    fn publish(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.master_copy.lock();
        change(&mut view);
        self.view.store(Arc::new(view.clone()));
        self.view_changed.send_replace(());
    }

    fn publish_facts(&self, facts: ServerFacts) {
        self.facts.store(Some(Arc::new(facts)));
        self.facts_known.send_replace(true);
    }

    fn publish_accounts(&self, accounts: Accounts, began: Instant) {
        self.accounts.store(Arc::new(accounts));
        self.accounts_loaded.send_replace(Some(began));
    }
}
