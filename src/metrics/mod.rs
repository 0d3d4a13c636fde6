//! Numbers for operators: one struct of handles, resolved once at start and handed down.
//!
//! Invariants: counting is an atomic add on a handle the caller already has (what every statement
//! counts, on a cell of its own thread: [`CellCounter`]), never a lookup by label text (the one exception is [`Metrics::error_sent`], whose codes are the servers');
//! every combination of labels known at start is there from the first scrape, as 0; nothing
//! here grows with clients, users or statements.

mod backend;
pub mod catalogue;
mod cell;
mod errors;
mod lane;
mod lock;
mod register;
mod session;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

pub use backend::{BackendMetrics, Closed};
pub use cell::{CellCounter, CellHistogram};
pub use errors::{CODES_MAX, Origin};
pub use lane::LaneMetrics;
pub use lock::LockMetrics;
pub use session::{BoundBy, ChosenBy, LoginFailure, SessionMetrics, Target};

use catalogue as families;
use errors::Errors;
use register::Registrar;

/// The label values of one configuration. Everything is counted by its index in these lists.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Version of this build.
    pub version: &'a str,
    /// Names of the backends, unique.
    pub backends: &'a [String],
    /// Names of the lanes, unique.
    pub lanes: &'a [String],
    /// What can pin a session.
    pub pin_reasons: &'a [&'static str],
    /// Why a statement goes where it goes.
    pub route_reasons: &'a [&'static str],
    /// Protocol commands.
    pub commands: &'a [&'static str],
}

/// All handles.
#[derive(Debug)]
pub struct Metrics {
    /// Numbers of clients and sessions.
    pub sessions: SessionMetrics,
    /// Numbers of the lock guard.
    pub locks: LockMetrics,
    registry: Registry,
    lanes: Vec<LaneMetrics>,
    lanes_per_backend: usize,
    backends: Vec<BackendMetrics>,
    pinned: Vec<IntGauge>,
    pins: Vec<IntCounter>,
    routed: Vec<[CellCounter; Target::ALL.len()]>,
    commands: Vec<CellCounter>,
    errors: Errors,
}

impl Metrics {
    /// Registers every family of the catalogue and creates every combination of `labels`.
    pub fn new(labels: &Labels<'_>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let to = Registrar(&registry);

        to.gauges(&families::BUILD_INFO)?.with_label_values(&[labels.version]).set(1);
        to.real_gauge(&families::START_TIME)?.set(seconds_since_1970());

        let lanes = lane::register(&to, labels.backends, labels.lanes)?;
        let backends = backend::register(&to, labels.backends)?;
        let sessions = SessionMetrics::register(&to)?;
        let locks = LockMetrics::register(&to, labels.lanes)?;

        let pinned = to.gauges(&families::PINNED)?;
        let pinned = labels.pin_reasons.iter().map(|reason| pinned.with_label_values(&[reason]));
        let pinned = pinned.collect();
        let pins = per_value(&to.counters(&families::PINS)?, labels.pin_reasons);
        let commands = per_value(&to.counters(&families::COMMANDS)?, labels.commands);
        let commands = commands.into_iter().map(CellCounter::new).collect();
        let routed = to.counters(&families::ROUTED)?;
        let per_target = |reason: &&'static str| {
            Target::ALL
                .map(|target| CellCounter::new(routed.with_label_values(&[target.label(), reason])))
        };
        let routed = labels.route_reasons.iter().map(per_target).collect();
        let errors = Errors::register(&to)?;

        let lanes_per_backend = labels.lanes.len();
        Ok(Self {
            sessions,
            locks,
            registry,
            lanes,
            lanes_per_backend,
            backends,
            pinned,
            pins,
            routed,
            commands,
            errors,
        })
    }

    /// Numbers of one lane at one backend.
    pub fn lane(&self, backend: usize, lane: usize) -> &LaneMetrics {
        assert!(lane < self.lanes_per_backend, "no lane {lane}");
        &self.lanes[backend * self.lanes_per_backend + lane]
    }

    /// Numbers of all lanes at all backends.
    pub fn lanes(&self) -> &[LaneMetrics] {
        &self.lanes
    }

    /// Numbers of one backend.
    pub fn backend(&self, backend: usize) -> &BackendMetrics {
        &self.backends[backend]
    }

    /// Sessions pinned now for one reason.
    pub fn pinned(&self, reason: usize) -> &IntGauge {
        &self.pinned[reason]
    }

    /// Pins ever taken for one reason.
    pub fn pins_total(&self, reason: usize) -> &IntCounter {
        &self.pins[reason]
    }

    /// Statements answered by `target` for one reason.
    pub fn routed(&self, target: Target, reason: usize) -> &CellCounter {
        &self.routed[reason][target as usize]
    }

    /// Commands of one kind.
    pub fn command(&self, command: usize) -> &CellCounter {
        &self.commands[command]
    }

    /// Counts an error sent to a client.
    pub fn error_sent(&self, origin: Origin, code: u16) {
        self.errors.count(origin, code);
    }

    /// Statements routed anywhere, for whatever reason: the page's statements per second.
    pub fn routed_sum(&self) -> u64 {
        self.routed.iter().flatten().map(CellCounter::get).sum()
    }

    /// Everything in Prometheus' text format.
    pub fn encode(&self) -> String {
        self.collect();
        // Fails only for families without samples or with an unknown type; the tests encode all.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            debug_assert!(false, "cannot encode: {error}");
            String::new()
        })
    }

    fn collect(&self) {
        self.sessions.collect();
        self.lanes.iter().for_each(LaneMetrics::collect);
        self.backends.iter().for_each(BackendMetrics::collect);
        self.routed.iter().flatten().chain(&self.commands).for_each(CellCounter::collect);
    }
}

fn per_value(family: &IntCounterVec, values: &[&'static str]) -> Vec<IntCounter> {
    values.iter().map(|value| family.with_label_values(&[value])).collect()
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}
