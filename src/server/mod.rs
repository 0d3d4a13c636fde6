//! Building everything, and taking it down: the composition root.

mod accept;
mod descriptors;
mod locks;
mod observe;
mod reload;
mod snapshot;
mod workers;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use workers::Workers;

use crate::admin::{self, Readiness, Sources};
use crate::client::registry::Registry;
use crate::client::{Adrift, Answers, Assignments, Context, Locks, Passwords, Throttle};
use crate::config::settings::TlsMode;
use crate::config::{Problem, Settings, is_v6_only};
use crate::lanes::{Evidence, PolicyNow};
use crate::metrics::{Labels, Metrics};
use crate::net::rsa::KeyPair;
use crate::net::tls::Acceptor;
use crate::pool::{Epochs, Personas, Pool};
use crate::protocol::Command;
use crate::route;
use crate::route::scopes::Scopes;
use crate::route::view::BackendId;
use crate::state::Pin;
use crate::topology::{ACCOUNTS_GRANT, Topology};

/// How long sessions may take to end when Fairlane goes down.
const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// Signals within this time are one.
const SIGNAL_PAUSE: Duration = Duration::from_secs(1);
/// Time between looks at idle connections that are too old.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Reads the settings anew, where they came from a file.
pub type Reread = Box<dyn Fn() -> Result<Settings, Problem> + Send + Sync>;

/// Runs Fairlane until SIGTERM or SIGINT. On SIGHUP it reads certificates and, by `reread`, lanes
/// and rules anew.
///
/// # Errors
/// When an address can't be listened on, or the runtime can't be built.
pub fn serve(settings: Settings, reread: Option<Reread>) -> anyhow::Result<()> {
    init_log(&settings);
    // Clients are the workers' business; this thread has the control connections, the admin
    // pages and the signals, which a busy worker must not hold up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("building the runtime")?;
    let served = runtime.block_on(run(settings, reread));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

fn init_log(settings: &Settings) {
    let filter = tracing_subscriber::EnvFilter::new(&settings.log.filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // What says that the log can't be written would panic: it goes there, too.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second call in one process (tests) keeps the first log.
    let _ = if settings.log.json { log.json().try_init() } else { log.try_init() };
}

async fn run(settings: Settings, reread: Option<Reread>) -> anyhow::Result<()> {
    descriptors::raise(&settings);
    let mut listeners = Vec::new();
    for address in &settings.listen {
        let listener = accept::listen(*address, is_v6_only(*address, &settings.listen));
        let place = format!("clients on {address} (key listen)");
        listeners.push(listener.map_err(|error| accept::not_listening(&place, error))?);
    }
    let admin_listener = match settings.admin {
        Some(address) => {
            let place = format!("operators on {address} (admin.listen)");
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|error| accept::not_listening(&place, error))?)
        }
        None => None,
    };
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let hang_up = signal(SignalKind::hangup()).context("watching for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let fairlane = Fairlane::build(settings)?;
    let sessions = TaskTracker::new();
    let workers = Workers::start(fairlane.context.settings.workers)?;
    for (index, listener) in listeners.into_iter().enumerate() {
        tracing::info!(address = ?listener.local_addr().ok(), "listening for clients");
        let (context, all) = (fairlane.context.clone(), workers.all());
        let here = index % all.len();
        let accepting = accept::accept(listener, context, sessions.clone(), all.clone(), here);
        workers::spawn_on(&all, here, accepting);
    }
    if let Some(listener) = admin_listener {
        tracing::info!(address = ?listener.local_addr().ok(), "listening for operators");
        let (sources, stop) = (fairlane.sources(), fairlane.admin_stop.clone());
        tokio::spawn(async move { admin::serve(listener, sources, stop.cancelled()).await });
    }
    tokio::spawn(sweep(fairlane.context.clone()));
    tokio::spawn(observe::steer_lanes(fairlane.context.clone()));
    tokio::spawn(locks::guard(fairlane.context.clone()));
    tokio::spawn(reload::on(hang_up, fairlane.context.clone(), reread));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let told_twice = async {
        // One signal may come twice, by a terminal and by what runs in it.
        let first = Instant::now();
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first.elapsed() >= SIGNAL_PAUSE {
                break;
            }
        }
    };
    tokio::select! {
        () = fairlane.drain(&sessions) => {}
        () = told_twice => tracing::warn!("told twice: going down at once"),
    }
    workers.stop();
    Ok(())
}

/// Everything that runs.
struct Fairlane {
    context: Arc<Context>,
    admin_stop: CancellationToken,
}

impl Fairlane {
    fn build(settings: Settings) -> anyhow::Result<Self> {
        let names: Vec<String> = settings.backends.iter().map(|b| b.name.clone()).collect();
        let lanes: Vec<String> = settings.lanes.iter().map(|lane| lane.name.clone()).collect();
        let commands: Vec<&'static str> = Command::ALL.iter().map(|c| c.label()).collect();
        let labels = Labels {
            version: env!("CARGO_PKG_VERSION"),
            backends: &names,
            lanes: &lanes,
            pin_reasons: Pin::LABELS,
            route_reasons: &route::Reason::labels(),
            commands: &commands,
        };
        let metrics = Arc::new(Metrics::new(&labels).context("registering the metrics")?);
        let tls = match settings.tls.mode {
            TlsMode::Disabled => None,
            _ => Some(Acceptor::new(&settings.tls)?),
        };
        let pair = settings.rsa_private_key.as_deref().map(KeyPair::load).transpose()?;
        let settings = Arc::new(settings);
        let observer = Arc::new(observe::MetricsObserver(metrics.clone()));
        let topology = Topology::start(settings.clone(), observer);
        let control = Arc::new(observe::Controls(topology.clone()));
        let epochs = Arc::new(Epochs::default());
        let personas = Arc::new(Personas::default());
        let pool = |backend| {
            let shared = (epochs.clone(), personas.clone());
            Pool::new(&settings, backend, control.clone(), shared, metrics.clone())
        };
        let pools: Result<Vec<_>, _> =
            (0..settings.backends.len()).map(BackendId::new).map(pool).collect();
        let started = Instant::now();
        let context = Arc::new(Context {
            policy: PolicyNow::new(&settings),
            evidence: Evidence::default(),
            started,
            pools: pools?,
            answers: Answers::new(&settings),
            assignments: Assignments::new(&settings),
            collations: Default::default(),
            epochs,
            topology,
            metrics,
            registry: Registry::new(started),
            clients: Arc::new(Semaphore::new(settings.max_clients.min(Semaphore::MAX_PERMITS))),
            locks: Locks::default(),
            scopes: Scopes::new(settings.routing.scope),
            verified: Default::default(),
            procedures: Default::default(),
            throttle: Throttle::new(settings.login_failures, settings.login_delay),
            lockouts: Default::default(),
            passwords: Passwords::new(pair),
            tls,
            shutdown: CancellationToken::new(),
            settings,
        });
        Ok(Self { context, admin_stop: CancellationToken::new() })
    }

    fn sources(&self) -> Arc<Sources> {
        let (for_metrics, for_ready) = (self.context.clone(), self.context.clone());
        let for_snapshot = self.context.clone();
        Arc::new(Sources {
            metrics: Box::new(move || {
                for_metrics.pools.iter().for_each(|pool| pool.show());
                for_metrics.show_forgotten();
                observe::show_written(&for_metrics);
                for_metrics.metrics.encode()
            }),
            ready: Box::new(move || readiness(&for_ready)),
            snapshot: Box::new(move || snapshot::take(&for_snapshot)),
        })
    }

    /// No new clients; sessions end when they are between transactions; then the connections.
    async fn drain(self, sessions: &TaskTracker) {
        tracing::info!("going down: sessions end when they are between transactions");
        self.context.shutdown.cancel();
        self.context.registry.drain();
        sessions.close();
        if timeout(DRAIN_WAIT, sessions.wait()).await.is_err() {
            tracing::warn!(sessions = sessions.len(), "going down with sessions still open");
        }
        for pool in &self.context.pools {
            pool.close_idle();
        }
        // The farewells run in the background; a server that does not answer is not waited for.
        sleep(Duration::from_millis(200)).await;
        self.context.topology.close().await;
        self.admin_stop.cancel();
    }
}

fn readiness(context: &Context) -> Readiness {
    let detail = if context.shutdown.is_cancelled() {
        "going down".to_owned()
    } else if context.topology.facts().is_none() {
        "the primary has not been reached yet".to_owned()
    } else if !context.topology.view().primary_up {
        "the primary is down".to_owned()
    } else if !context.topology.knows_accounts() {
        format!("the accounts cannot be read: the service account needs {ACCOUNTS_GRANT}")
    } else {
        return Readiness { ready: true, detail: "ready".to_owned() };
    };
    Readiness { ready: false, detail }
}

async fn sweep(context: Arc<Context>) {
    let mut tick = interval(SWEEP_EVERY);
    let mut adrift = Adrift::default();
    loop {
        tick.tick().await;
        context.pools.iter().for_each(|pool| pool.sweep());
        context.registry.expire_idle();
        adrift.look(&context);
    }
}
