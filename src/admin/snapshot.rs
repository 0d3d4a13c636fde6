//! What Fairlane is doing at one moment, as plain values: the JSON of `/state`.
//!
//! The types here know nothing of sockets or locks; whoever owns the state fills them in. The
//! list of sessions is bounded, and those who wait or work come first. Rates are no business of
//! a snapshot: totals only grow, and the reader compares two.

use serde::Serialize;

use crate::metrics::Metrics;

/// Sessions listed in one snapshot; the counts are of all.
pub const SESSIONS_MAX: usize = 1000;

/// Characters of a statement that are shown.
pub const STATEMENT_CHARS_MAX: usize = 240;

/// Everything at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// The process.
    pub process: Process,
    /// Counters of everything, since start.
    pub totals: Totals,
    /// The primary first, in the order of the configuration.
    pub backends: Vec<Backend>,
    /// Statements that wait for locks, as far as the lock guard has found them.
    pub lock_waits: Vec<LockWait>,
    /// Client sessions.
    pub sessions: Sessions,
}

/// A statement that waits for a lock.
#[derive(Debug, Clone, Serialize)]
pub struct LockWait {
    /// `row` or `metadata`.
    pub kind: &'static str,
    /// How long it may have waited.
    pub seconds: f64,
    /// Who waits.
    pub waiter: LockSide,
    /// For whom; empty when the server does not tell.
    pub blockers: Vec<LockSide>,
}

/// One side of a wait for a lock.
#[derive(Debug, Clone, Serialize)]
pub struct LockSide {
    /// Connection id as the client sees it; none for connections that are not Fairlane's.
    pub session: Option<u64>,
    /// The server's id of the connection.
    pub thread: u64,
    /// User name, or empty.
    pub user: String,
    /// Address of the client, or empty.
    pub client: String,
    /// Lane, or empty.
    pub lane: String,
    /// Runs, or idle in its transaction: in words, or empty.
    pub doing: String,
    /// Its statement, normalised, or the last one; or empty.
    pub statement: String,
}

/// The process.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// Version of this build.
    pub version: String,
    /// Time since start; also the clock rates are computed with.
    pub uptime_seconds: f64,
    /// Addresses clients connect to.
    pub listen: Vec<String>,
}

/// Counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Statements answered, anywhere.
    pub statements: u64,
    /// Slots granted.
    pub admitted: u64,
    /// Slots refused.
    pub rejected: u64,
    /// Sessions that logged in.
    pub sessions: u64,
}

impl Totals {
    /// Reads them from the metrics.
    pub fn of(metrics: &Metrics) -> Self {
        let mut totals = Self {
            statements: metrics.routed_sum(),
            sessions: metrics.sessions.opened_total.get(),
            ..Self::default()
        };
        for lane in metrics.lanes() {
            totals.admitted += lane.admitted.get();
            totals.rejected += lane.rejected();
        }
        totals
    }
}

/// What a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Takes reads.
    Replica,
}

/// One server and its pool.
#[derive(Debug, Clone, Serialize)]
pub struct Backend {
    /// Name in the configuration.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Host and port.
    pub address: String,
    /// The last probe succeeded.
    pub up: bool,
    /// Statements may be routed there.
    pub in_rotation: bool,
    /// Why, or why not, in a few words.
    pub rotation: String,
    /// Replication delay, when known.
    pub lag_seconds: Option<f64>,
    /// Position it is known to have applied.
    pub watermark: String,
    /// Most pooled connections.
    pub slots: usize,
    /// Connections logged in, busy or idle.
    pub open: usize,
    /// Open connections nobody uses.
    pub idle: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Slots held, by whatever lane.
    pub in_use: usize,
    /// By priority.
    pub lanes: Vec<Lane>,
}

/// One lane at one backend.
#[derive(Debug, Clone, Serialize)]
pub struct Lane {
    /// Name in the configuration.
    pub name: String,
    /// Slots held.
    pub in_use: usize,
    /// Sessions waiting for a slot.
    pub waiting: usize,
    /// Most slots it may hold now.
    pub limit: usize,
    /// Slots only it may use.
    pub reserved: usize,
    /// Slots granted since start.
    pub admitted_total: u64,
    /// Slots refused since start.
    pub rejected_total: u64,
    /// How long the longest waiter has waited, if there is one.
    pub oldest_wait_ms: Option<u64>,
}

/// What a session does, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a slot, a connection or a replica.
    Waiting,
    /// A statement runs.
    Running,
    /// Holds its connection in an open transaction, between statements.
    InTransaction,
    /// Holds its connection because of a pin, between statements.
    Pinned,
    /// Holds nothing.
    Idle,
}

/// One client session.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    /// Connection id as the client sees it.
    pub id: u64,
    /// User name.
    pub user: String,
    /// Address of the client.
    pub client: String,
    /// Current schema, or empty.
    pub schema: String,
    /// Connection attribute `program_name`, or empty.
    pub program: String,
    /// What it does.
    pub state: State,
    /// For how long.
    pub state_seconds: f64,
    /// Lane of its current or last work.
    pub lane: String,
    /// What chose it: hint, rule, light, attained_service, company or crowd (see docs/lanes.md).
    pub lane_chosen_by: &'static str,
    /// Lane its slot counts for since it has been held for long, or empty.
    pub counts_for: String,
    /// Backend whose slot it holds or waits for, or empty.
    pub backend: String,
    /// The id that its connection has there, if it has one.
    pub thread: Option<u64>,
    /// Its client has gone, and its statement goes on.
    pub is_orphan: bool,
    /// What pins it.
    pub pins: Vec<&'static str>,
    /// Current or last statement, in lanes behind the first and where a slot is held for long: normalised, at
    /// most [`STATEMENT_CHARS_MAX`] characters (see [`shorten`]); or empty.
    pub statement: String,
    /// What it waits for, in words; or empty.
    pub waiting_for: String,
}

/// Number of sessions in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StateCounts {
    /// In [`State::Waiting`].
    pub waiting: usize,
    /// In [`State::Running`].
    pub running: usize,
    /// In [`State::InTransaction`].
    pub in_transaction: usize,
    /// In [`State::Pinned`].
    pub pinned: usize,
    /// In [`State::Idle`].
    pub idle: usize,
}

/// All sessions counted, and those most worth looking at listed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sessions {
    /// All sessions.
    pub total: usize,
    /// All sessions by state.
    pub states: StateCounts,
    /// At most [`SESSIONS_MAX`], by state and then the longest in it first.
    pub list: Vec<Session>,
}

impl Sessions {
    /// Counts all and keeps the first; never holds more than twice the bound.
    pub fn pick(all: impl IntoIterator<Item = Session>) -> Self {
        let mut sessions = Self::default();
        for session in all {
            sessions.count(session.state);
            sessions.list.push(session);
            if sessions.list.len() >= 2 * SESSIONS_MAX {
                sessions.cut();
            }
        }
        sessions.cut();
        sessions
    }

    fn count(&mut self, state: State) {
        self.total += 1;
        let counter = match state {
            State::Waiting => &mut self.states.waiting,
            State::Running => &mut self.states.running,
            State::InTransaction => &mut self.states.in_transaction,
            State::Pinned => &mut self.states.pinned,
            State::Idle => &mut self.states.idle,
        };
        *counter += 1;
    }

    fn cut(&mut self) {
        self.list.sort_by(|a, b| {
            a.state.cmp(&b.state).then(b.state_seconds.total_cmp(&a.state_seconds))
        });
        self.list.truncate(SESSIONS_MAX);
    }
}

/// The first [`STATEMENT_CHARS_MAX`] characters of a statement, with an ellipsis for the rest.
pub fn shorten(statement: &str) -> String {
    match statement.char_indices().nth(STATEMENT_CHARS_MAX) {
        None => statement.to_owned(),
        Some((end, _)) => format!("{}…", &statement[..end]),
    }
}
