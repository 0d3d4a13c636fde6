//! Numbers of clients, their sessions and their statements.

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};

use super::catalogue as families;
use super::cell::CellCounter;
use super::register::Registrar;

/// Where a statement was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// On the primary.
    Primary,
    /// On a replica.
    Replica,
    /// On the connection the session held already (transaction or pin).
    Session,
    /// By Fairlane itself.
    Local,
}

impl Target {
    /// All targets, by their number.
    pub const ALL: [Self; 4] = [Self::Primary, Self::Replica, Self::Session, Self::Local];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Session => "session",
            Self::Local => "local",
        }
    }
}

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFailure {
    /// Unknown user, wrong password, or host not allowed.
    Denied,
    /// Unknown or forbidden schema.
    Schema,
    /// Not finished within `login_timeout`.
    Timeout,
    /// Not a MySQL client, or it hung up.
    Protocol,
    /// The primary could not be asked, or its accounts could not be read.
    Backend,
    /// No connection was free to ask the primary.
    Busy,
    /// A PROXY protocol header that is malformed, or not from a trusted network.
    ProxyHeader,
}

impl LoginFailure {
    /// All reasons, by their number.
    pub const ALL: [Self; 7] = [
        Self::Denied,
        Self::Schema,
        Self::Timeout,
        Self::Protocol,
        Self::Backend,
        Self::Busy,
        Self::ProxyHeader,
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Schema => "schema",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Backend => "backend",
            Self::Busy => "busy",
            Self::ProxyHeader => "proxy_header",
        }
    }
}

/// What chose a statement's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// A comment hint.
    Hint,
    /// A rule.
    Rule,
    /// Nothing speaks against the default lane.
    Light,
    /// The session has used much of late.
    AttainedService,
    /// Its statements or client are those of heavy sessions.
    Company,
    /// Statements of its kind hold many slots for long, and only those are left that are reserved for others.
    Crowd,
}

impl ChosenBy {
    /// All of them, by their number.
    pub const ALL: [Self; 6] =
        [Self::Hint, Self::Rule, Self::Light, Self::AttainedService, Self::Company, Self::Crowd];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Rule => "rule",
            Self::Light => "light",
            Self::AttainedService => "attained_service",
            Self::Company => "company",
            Self::Crowd => "crowd",
        }
    }
}

/// What keeps a session on its connection beyond a single statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundBy {
    /// An open transaction.
    Transaction,
    /// A pin, outside of transactions.
    Pin,
}

impl BoundBy {
    /// All of them, by their number.
    pub const ALL: [Self; 2] = [Self::Transaction, Self::Pin];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Pin => "pin",
        }
    }
}

/// Handles that belong to no backend and no lane.
#[derive(Debug)]
pub struct SessionMetrics {
    /// Sessions logged in now.
    pub open: IntGauge,
    /// Sessions that logged in.
    pub opened_total: IntCounter,
    /// Failed logins whose answer was delayed.
    pub logins_delayed_total: IntCounter,
    /// Clients refused because of `max_clients`.
    pub refused_total: IntCounter,
    /// Bytes read from clients.
    pub bytes_received: CellCounter,
    /// Bytes written to clients.
    pub bytes_sent: CellCounter,
    /// Reads that failed on a replica and went to the primary.
    pub replica_retries: IntCounter,
    /// Reads for which a replica caught up in time.
    pub freshness_fresh: IntCounter,
    /// Reads that went to the primary because no replica was fresh.
    pub freshness_primary: IntCounter,
    /// How long such reads waited.
    pub freshness_wait_seconds: Histogram,
    /// Kinds of statements and clients whose behaviour is known.
    pub features: IntGauge,
    /// Service that makes a visit heavy.
    pub heavy_from_seconds: Gauge,
    /// Whether visits in bulk are heavy.
    pub bulk_is_heavy: IntGauge,
    lane_choices: [CellCounter; ChosenBy::ALL.len()],
    bound_seconds: [Counter; BoundBy::ALL.len()],
    /// Users whose writes are no longer kept apart.
    pub freshness_forgotten: IntCounter,
    logins_failed: [IntCounter; LoginFailure::ALL.len()],
}

impl SessionMetrics {
    /// Failed logins for one reason.
    pub fn logins_failed_total(&self, reason: LoginFailure) -> &IntCounter {
        &self.logins_failed[reason as usize]
    }

    /// Statements whose lane was chosen by `reason`.
    pub fn lane_choices_total(&self, reason: ChosenBy) -> &CellCounter {
        &self.lane_choices[reason as usize]
    }

    /// Seconds that sessions were bound.
    pub fn bound_seconds_total(&self, by: BoundBy) -> &Counter {
        &self.bound_seconds[by as usize]
    }

    pub(super) fn collect(&self) {
        self.lane_choices.iter().for_each(CellCounter::collect);
        self.bytes_received.collect();
        self.bytes_sent.collect();
    }

    pub(super) fn register(to: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let logins_failed = to.counters(&families::LOGINS_FAILED)?;
        let freshness = to.counters(&families::FRESHNESS_WAITS)?;
        let lane_choices = to.counters(&families::LANE_CHOICES)?;
        let bound_seconds = to.real_counters(&families::BOUND_SECONDS)?;
        Ok(Self {
            open: to.gauge(&families::SESSIONS)?,
            opened_total: to.counter(&families::SESSIONS_TOTAL)?,
            logins_delayed_total: to.counter(&families::LOGINS_DELAYED)?,
            refused_total: to.counter(&families::CLIENTS_REFUSED)?,
            bytes_received: CellCounter::new(to.counter(&families::CLIENT_RECEIVED)?),
            bytes_sent: CellCounter::new(to.counter(&families::CLIENT_SENT)?),
            replica_retries: to.counter(&families::REPLICA_RETRIES)?,
            freshness_fresh: freshness.with_label_values(&["fresh"]),
            freshness_primary: freshness.with_label_values(&["primary"]),
            freshness_wait_seconds: to.histogram(&families::FRESHNESS_WAIT)?,
            features: to.gauge(&families::LANE_FEATURES)?,
            heavy_from_seconds: to.real_gauge(&families::LANE_HEAVY_FROM)?,
            bulk_is_heavy: to.gauge(&families::LANE_BULK_IS_HEAVY)?,
            lane_choices: ChosenBy::ALL
                .map(|by| CellCounter::new(lane_choices.with_label_values(&[by.label()]))),
            bound_seconds: BoundBy::ALL.map(|by| bound_seconds.with_label_values(&[by.label()])),
            freshness_forgotten: to.counter(&families::FRESHNESS_FORGOTTEN)?,
            logins_failed: LoginFailure::ALL
                .map(|reason| logins_failed.with_label_values(&[reason.label()])),
        })
    }
}
