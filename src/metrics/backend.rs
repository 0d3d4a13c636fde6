//! Numbers of one backend: its connections, health and traffic.

use prometheus::{Gauge, IntCounter, IntGauge};

use super::catalogue as families;
use super::cell::CellCounter;
use super::register::Registrar;

/// Why a backend connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Nobody used it for `idle_timeout`.
    Idle,
    /// Older than `max_age`.
    Age,
    /// Its place was needed for a connection that fits.
    Evicted,
    /// The server or the network ended it.
    Broken,
    /// It could not be made clean for the next session.
    ResetFailed,
    /// On purpose, to end what ran on it.
    Killed,
    /// Its server is not the one any more that is at its address.
    Moved,
    /// Its server takes the user for another one than the primary does.
    Differs,
}

impl Closed {
    /// All reasons, by their number.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Age,
        Self::Evicted,
        Self::Broken,
        Self::ResetFailed,
        Self::Killed,
        Self::Moved,
        Self::Differs,
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Evicted => "evicted",
            Self::Broken => "broken",
            Self::ResetFailed => "reset_failed",
            Self::Killed => "killed",
            Self::Moved => "moved",
            Self::Differs => "differs",
        }
    }
}

/// Handles of one backend.
#[derive(Debug)]
pub struct BackendMetrics {
    /// Connections logged in, busy or idle.
    pub open: IntGauge,
    /// Open connections nobody uses.
    pub idle: IntGauge,
    /// Connections being opened.
    pub opening: IntGauge,
    /// Most pooled connections.
    pub limit: IntGauge,
    /// Connections opened and logged in.
    pub opened_total: IntCounter,
    /// Failed attempts to open one.
    pub open_errors_total: IntCounter,
    /// 1 while probes succeed.
    pub up: IntGauge,
    /// 1 while statements may go there.
    pub in_rotation: IntGauge,
    /// Replication delay; NaN while unknown.
    pub replication_lag_seconds: Gauge,
    /// What interactive statements may take on average beside batch work.
    pub interactive_target_seconds: Gauge,
    /// Last applied transaction, as a sequence number.
    pub watermark: IntGauge,
    /// Bytes read from pooled connections.
    pub bytes_received: CellCounter,
    /// Bytes written to pooled connections.
    pub bytes_sent: CellCounter,
    /// Statements sent again on another connection.
    pub retries: IntCounter,
    closed: [IntCounter; Closed::ALL.len()],
}

impl BackendMetrics {
    /// Connections closed for one reason.
    pub fn closed_total(&self, reason: Closed) -> &IntCounter {
        &self.closed[reason as usize]
    }

    pub(super) fn collect(&self) {
        self.bytes_received.collect();
        self.bytes_sent.collect();
    }
}

/// One entry per backend.
pub(super) fn register(
    to: &Registrar<'_>,
    backends: &[String],
) -> Result<Vec<BackendMetrics>, prometheus::Error> {
    let open = to.gauges(&families::BACKEND_OPEN)?;
    let idle = to.gauges(&families::BACKEND_IDLE)?;
    let opening = to.gauges(&families::BACKEND_OPENING)?;
    let limit = to.gauges(&families::BACKEND_LIMIT)?;
    let opened = to.counters(&families::BACKEND_OPENED)?;
    let open_errors = to.counters(&families::BACKEND_OPEN_ERRORS)?;
    let closed = to.counters(&families::BACKEND_CLOSED)?;
    let up = to.gauges(&families::BACKEND_UP)?;
    let in_rotation = to.gauges(&families::BACKEND_IN_ROTATION)?;
    let lag = to.real_gauges(&families::BACKEND_LAG)?;
    let target = to.real_gauges(&families::BACKEND_TARGET)?;
    let watermark = to.gauges(&families::BACKEND_WATERMARK)?;
    let received = to.counters(&families::BACKEND_RECEIVED)?;
    let sent = to.counters(&families::BACKEND_SENT)?;
    let retries = to.counters(&families::BACKEND_RETRIES)?;

    let one = |backend: &String| {
        let key = [backend.as_str()];
        let metrics = BackendMetrics {
            open: open.with_label_values(&key),
            idle: idle.with_label_values(&key),
            opening: opening.with_label_values(&key),
            limit: limit.with_label_values(&key),
            opened_total: opened.with_label_values(&key),
            open_errors_total: open_errors.with_label_values(&key),
            up: up.with_label_values(&key),
            in_rotation: in_rotation.with_label_values(&key),
            replication_lag_seconds: lag.with_label_values(&key),
            interactive_target_seconds: target.with_label_values(&key),
            watermark: watermark.with_label_values(&key),
            bytes_received: CellCounter::new(received.with_label_values(&key)),
            bytes_sent: CellCounter::new(sent.with_label_values(&key)),
            retries: retries.with_label_values(&key),
            closed: Closed::ALL
                .map(|reason| closed.with_label_values(&[backend.as_str(), reason.label()])),
        };
        metrics.replication_lag_seconds.set(f64::NAN);
        metrics.interactive_target_seconds.set(f64::NAN);
        metrics
    };
    Ok(backends.iter().map(one).collect())
}
