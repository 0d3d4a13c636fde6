//! One client session: the only place that knows all the layers below.
//!
//! A session is one task. It owns the client's socket and, while it holds one, a backend
//! connection ([`crate::pool::Checkout`]). A statement's way, in order, is `statement.rs`.
//!
//! Invariants:
//! - a session is on at most one backend connection at a time, and a transaction leaves one only for
//!   another that is there;
//! - a connection that carries anything but an image (transaction, pins) never goes back to its
//!   pool before it was rolled back or reset;
//! - a session's diagnostics (warnings, row counts, insert ids) are answered from its own record, not
//!   from a connection that others use, but where nothing tells that they are asked for, as inside of a
//!   view (docs/compatibility.md).

mod absorb;
mod adrift;
mod cleanup;
mod command;
mod diagnostics;
mod give_way;
mod keep;
mod kill;
mod locks;
mod login;
mod patience;
mod prepared;
pub mod registry;
mod shown;
mod statement;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backend::{Choice, Life};
use crate::config::Settings;
use crate::error::Error;
use crate::lanes::rule::Candidates;
use crate::lanes::{Account, ClientFacts, Evidence, Policy, PolicyNow};
use crate::metrics::{Metrics, Origin};
use crate::net::compressed::violation;
use crate::net::read::ReadError;
use crate::net::tls::Acceptor;
use crate::pool::{Checkout, Epochs, Pool};
use crate::protocol::compress::Violation;
use crate::protocol::status::Status;
use crate::protocol::tracking::Teller;
use crate::protocol::{Capabilities, Family};
use crate::route::Decision;
use crate::route::scopes::Scopes;
use crate::route::view::BackendId;
use crate::sql::{Charset, Effects, Mode, Snapshot};
use crate::state::image::AUTOCOMMIT;
use crate::state::prepared::{StatementKey, Statements};
use crate::state::{Characteristics, Holdings, Image, Kept, Pins, Trackers};
use crate::topology::{ServerFacts, Topology};

pub use absorb::routine::Procedures;
use absorb::writes::WriteTracker;
pub use adrift::Adrift;
use diagnostics::Diagnostics;
pub use locks::Locks;
use login::identity::{Identity, Verified};
pub use login::lockout::Lockouts;
pub use login::password::Passwords;
pub use login::throttle::Throttle;
pub use prepared::answers::Answers;
use registry::{Order, Registration, Registry};
pub use statement::assign::Assignments;
pub use statement::collation::Collations;
use wire::Wire;

/// What all sessions share.
#[derive(Debug)]
pub struct Context {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Lanes and rules as they are now.
    pub policy: PolicyNow,
    /// What is known of the kinds of work.
    pub evidence: Evidence,
    /// When Fairlane started.
    pub started: Instant,
    /// One pool a backend, by backend id.
    pub pools: Vec<Arc<Pool>>,
    /// Answers to COM_STMT_PREPARE that can be given again.
    pub answers: Answers,
    /// Procedures of which is known that they take no lock.
    pub procedures: Procedures,
    /// Assignments to session variables that are known.
    pub assignments: Assignments,
    /// Collations of schemas.
    pub collations: Collations,
    /// Changes of what sessions begin with.
    pub epochs: Arc<Epochs>,
    /// What the servers are.
    pub topology: Arc<Topology>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// All sessions.
    pub registry: Registry,
    /// A permit for each client that may be connected at once (`max_clients`).
    pub clients: Arc<Semaphore>,
    /// Who waits for whose locks.
    pub locks: Locks,
    /// What sessions have written, and which of them share it.
    pub scopes: Scopes,
    /// Logins the primary has agreed to lately.
    pub verified: Verified,
    /// Passwords clients have proved.
    pub passwords: Passwords,
    /// Addresses whose logins fail.
    pub throttle: Throttle,
    /// Wrong passwords that the primary counts.
    pub lockouts: Lockouts,
    /// TLS towards clients, if they may have it.
    pub tls: Option<Acceptor>,
    /// Cancelled when Fairlane goes down.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Brings the number of forgotten users up to date.
    pub fn show_forgotten(&self) {
        let shown = &self.metrics.sessions.freshness_forgotten;
        shown.inc_by(self.scopes.forgotten_total().saturating_sub(shown.get()));
    }

    /// The pool of a backend.
    pub fn pool(&self, backend: BackendId) -> &Arc<Pool> {
        &self.pools[backend.index()]
    }

    /// The primary's pool.
    pub fn primary_pool(&self) -> &Arc<Pool> {
        self.pool(BackendId::PRIMARY)
    }

    /// Which servers are behind it; MariaDB as long as none has been reached.
    fn family(&self) -> Family {
        self.topology.facts().map_or(Family::MariaDb, |facts| facts.family)
    }

    /// Has the primary's variables and accounts read anew if statements that went through here
    /// have changed them, for a session that begins now. Returns what it comes after.
    async fn catch_up(&self) -> u64 {
        let epoch = self.epochs.logins();
        if self.epochs.is_news(epoch) {
            self.topology.refresh().await;
            self.epochs.note_known(epoch);
        }
        epoch
    }

    /// The time of the accounts.
    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// The time of the accounts at this moment.
    fn now(&self) -> Duration {
        self.since_start(Instant::now())
    }
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The client said good-bye, went away, or was told to.
    Client,
    /// The connection to the client can't go on: state was lost, or it can't be understood.
    Fatal,
}

/// A logged-in session.
struct Session {
    context: Arc<Context>,
    facts: Arc<ServerFacts>,
    wire: Wire,
    entry: Registration,
    /// Whose it is what it leaves on connections.
    life: Life,
    /// How often it has set user variables that its image has.
    variable_sets: u32,
    client: ClientFacts,
    peer: SocketAddr,
    nonce: [u8; crate::protocol::auth::NONCE],
    capabilities: Capabilities,
    tls: Option<Arc<crate::net::certificate::ClientTls>>,
    identity: Identity,
    /// [`Epochs::logins`] at its login.
    begun_after: u64,
    /// Likewise, or that of the newest connection it has had since: it takes no older one.
    epoch: u64,
    /// Its last own choice of a schema since then.
    choice: Option<Choice>,
    policy: Arc<Policy>,
    /// Rules of `policy` that the client may fall under.
    candidates: Candidates,
    /// The rule of `policy` whose lane the session keeps, once it has met it.
    kept_rule: Option<usize>,
    account: Account,
    image: Image,
    /// The session's own trackers, once it has set any.
    trackers: Option<Box<Trackers>>,
    /// Tells the client of its session, if it wants to be told.
    teller: Option<Box<Teller>>,
    mode: Mode,
    /// The `sql_mode` that its first connection had, while it has not set another.
    begun_mode: Option<Arc<str>>,
    /// How its first connection reads texts as long as the session sets no character set.
    begun_charset: Option<Charset>,
    /// The limit of time that its first connection to the primary began with.
    begun_limit: Option<Arc<str>>,
    /// What it began with of what it goes on with, once it has had a connection to the primary, and the generation of
    /// that.
    begun_kept: Option<(Kept, u16)>,
    /// Whether autocommit was on when it began, once that is known.
    begun_autocommit: Option<bool>,
    writes: Arc<WriteTracker>,
    diagnostics: Diagnostics,
    statements: Statements,
    /// Statements with an open cursor, and what was sent for them; ids of those with long data on the server.
    open_cursors: Vec<(u32, Arc<StatementKey>)>,
    long_data: Vec<u32>,
    /// Prepared statements of whose long data a piece was lost, and why.
    spoilt_data: Vec<(u32, Error)>,
    under_way: UnderWay,
    held: Option<Checkout>,
    last_heard: keep::LastHeard,
    /// A BEGIN that was answered and not sent; nothing is held then.
    begun: Option<Box<statement::begin::Begun>>,
    pins: Pins,
    holdings: Holdings,
    /// What its texts that were prepared by PREPARE may change for sessions to come.
    prepared_texts: Effects,
    characteristics: Characteristics,
    /// Pins as counted in the metrics.
    shown: absorb::binding::Shown,
    status: Status,
    /// Whether `status` is that of now: an error tells none.
    is_status_told: bool,
    /// Autocommit is on, as far as is known.
    autocommit: bool,
    /// Setting its variables may raise warnings, which are nobody's.
    image_warns: bool,
    /// The session has used GET DIAGNOSTICS, and may do so again.
    asks_conditions: bool,
    /// It keeps its connection for the conditions on it.
    keeps_conditions: bool,
    /// A COMMIT or ROLLBACK RELEASE was answered: the server has closed the connection.
    is_released: bool,
    /// Its transaction was rolled back for others while its client was idle; it is told so in
    /// answer to its next statement.
    owes_deadlock: bool,
    /// Whether the transaction held on a replica sees what that had when it read first.
    snapshot: Snapshot,
    /// The replica that it has read from last.
    last_replica: Option<BackendId>,
}

/// What is known of the statement that runs, from one step of its way for a later one.
#[derive(Debug, Default)]
struct UnderWay {
    /// [`Epochs::logins`] before it was sent.
    epoch: u64,
    /// What was prepared by it.
    just_prepared: Option<prepared::prepare::JustPrepared>,
    /// Where it goes, where that was asked before it was known to go anywhere.
    decided: Option<Decision>,
    /// A lock that it may have taken, or not: nobody says.
    lock_to_ask_for: Option<Box<[u8]>>,
    /// The session's own GTID tracker was not set for it: a transaction may have been open.
    leaves_gtids: bool,
    /// A replica has refused it.
    was_refused: bool,
    /// With this error.
    refusal: u16,
    /// The error it has ended with, where that was asked for.
    error: Option<u16>,
    /// The BEGIN that it is sent with, until that is answered.
    begin: Option<Box<statement::begin::Begun>>,
    /// Its list of warnings, where that was taken off its connection before it was settled.
    list: Option<diagnostics::Saved>,
    /// It is on its way to the primary.
    sent: Option<absorb::flight::Sent>,
    /// The changes counted on its connection before, if it calls a procedure of another schema.
    changes_before: Option<u64>,
    /// It has flagged a change, which may be no more than that the schema was another one for a moment.
    may_be_unchanged: bool,
}

/// Serves one client from its greeting to its end.
pub async fn serve(context: Arc<Context>, stream: TcpStream, peer: SocketAddr) {
    let sessions = &context.metrics.sessions;
    sessions.open.inc();
    sessions.opened_total.inc();
    let _open = OpenSession(context.clone());
    let Ok(_permit) = context.clients.clone().try_acquire_owned() else {
        return login::turn_away(&context, stream).await;
    };
    // A task is as large as the largest of what it waits for: an idle session must not pay for a
    // login or an end.
    if let Some(mut session) = Box::pin(login::greet(context.clone(), stream, peer)).await {
        let stop = session.run().await;
        let (light, batch) = session.account.verdicts();
        tracing::debug!(id = session.entry.id, light, batch, ?stop, "session ends");
        Box::pin(session.clean_up()).await;
    }
}

/// Counts the session out, also when it panics.
struct OpenSession(Arc<Context>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.metrics.sessions.open.dec();
    }
}

impl Session {
    /// Command after command until the session ends.
    async fn run(&mut self) -> Stop {
        self.apply_login_flags();
        let (mut is_waiting_still, mut has_looked) = (false, false);
        loop {
            debug_assert!(
                self.held.is_some()
                    || self.begun.is_some() == self.status.contains(Status::IN_TRANS),
                "a transaction is open where a connection is held, or is to begin"
            );
            let at = self.context.now();
            if !std::mem::take(&mut has_looked) {
                self.entry.set_idle(self.held.is_some(), at);
                self.has_used_up_to(at, self.held.is_some());
            }
            let longest = self.packet_limit().saturating_sub(1);
            if !std::mem::take(&mut is_waiting_still) {
                self.wire.begin_command();
            }
            if self.held.is_none() || !self.status.contains(Status::IN_TRANS) {
                // Whatever transaction was meant, it is over.
                self.entry.need_not_give_way();
            }
            if self.has_to_keep_held(at)
                && let Err(stop) = Box::pin(self.keep_held()).await
            {
                return stop;
            }
            let is_free = self.held.is_none() && self.begun.is_none() && !self.wire.has_begun();
            let least = if is_free { Order::Drain } else { Order::Kill };
            let read = tokio::select! {
                biased;
                read = self.wire.read_command(longest) => read,
                // As the servers do it: an idle client finds its connection closed.
                () = self.entry.told_or_expired(least) => {
                    if self.is_sending() {
                        is_waiting_still = true;
                        continue;
                    }
                    self.say_expired().await;
                    return Stop::Client;
                }
                () = self.entry.told_to_give_way(), if self.held.is_some() => {
                    if let Err(stop) = Box::pin(self.give_way()).await {
                        return stop;
                    }
                    is_waiting_still = true;
                    continue;
                }
                () = self.entry.told_to_look(), if self.held.is_some() => {
                    if self.held.as_ref().is_some_and(|held| held.is_lost(Instant::now())) {
                        Box::pin(self.lose_held()).await;
                        return Stop::Fatal;
                    }
                    if self.wire.goes_on() {
                        self.entry.set_idle(true, self.context.now());
                    }
                    (is_waiting_still, has_looked) = (true, true);
                    continue;
                }
            };
            let packet = match read {
                Ok(packet) => packet,
                Err(error) => return self.cannot_read(error).await,
            };
            if self.entry.is_killed() {
                // Whoever has killed it knows already.
                return Stop::Client;
            }
            self.entry.begin_command();
            self.context.metrics.sessions.bytes_received.inc_by(packet.wire_length() as u64);
            let done = self.command(packet).await;
            // A client that does not read is in nobody's way when it is killed.
            let flushed = tokio::select! {
                biased;
                flushed = self.wire.flush() => flushed,
                () = self.entry.killed() => return Stop::Client,
            };
            if let Err(stop) = done {
                return stop;
            }
            if flushed.is_err() {
                return Stop::Client;
            }
            let sent = self.wire.take_sent();
            self.context.metrics.sessions.bytes_sent.inc_by(sent);
            if self.entry.is_killed() {
                return Stop::Client;
            }
        }
    }

    /// Whether the client, of which nobody but a KILL wants an end, is in the middle of a command: it is idle
    /// for too long when nothing more of that has come for so long.
    fn is_sending(&mut self) -> bool {
        let goes_on = match self.entry.is_expired() {
            true => self.wire.goes_on(),
            false => self.wire.has_begun(),
        };
        goes_on && !self.entry.is_killed()
    }

    /// MySQL tells a client that was idle for too long. MariaDB resets the connection without a
    /// word: the client's next command then fails to be sent, and not only to be answered.
    async fn say_expired(&mut self) {
        if !self.entry.is_expired() {
            return;
        }
        if self.facts.is_mariadb() {
            let _ = self.wire.stream.raw().set_linger(Some(Duration::ZERO));
        } else {
            let error = Error::Inactive;
            self.context.metrics.error_sent(Origin::Fairlane, error.code().0);
            self.wire.push_unasked(&error.to_err_packet());
            let _ = self.wire.flush().await;
        }
    }

    /// What a flag of the login makes of the session's first sql_mode; MariaDB's resets undo it.
    fn apply_login_flags(&mut self) {
        if self.capabilities.contains(Capabilities::IGNORE_SPACE) {
            let global = &self.facts.sql_mode;
            let separator = if global.is_empty() { "" } else { "," };
            self.image.set("sql_mode", &format!("{global}{separator}IGNORE_SPACE"));
            self.image_changed();
        }
    }

    /// Servers take no command of so many bytes or more.
    pub(super) fn packet_limit(&self) -> usize {
        usize::try_from(self.facts.max_allowed_packet).unwrap_or(usize::MAX)
    }

    async fn cannot_read(&mut self, error: ReadError) -> Stop {
        match error {
            ReadError::TooLong { .. } => {
                let _ = self.send_error(&Error::PacketTooLarge).await;
                let _ = self.wire.flush().await;
                Stop::Fatal
            }
            ReadError::OutOfOrder => self.leave_out_of_order().await,
            ReadError::Broken(error) if violation(&error) == Some(Violation::OutOfOrder) => {
                self.leave_out_of_order().await
            }
            ReadError::Broken(_) => Stop::Client,
            ReadError::Closed => Stop::Client,
        }
    }

    async fn leave_out_of_order(&mut self) -> Stop {
        let _ = self.send_error(&Error::OutOfOrder).await;
        let _ = self.wire.flush().await;
        Stop::Client
    }

    /// Answers the current command with an error of Fairlane's own.
    async fn send_error(&mut self, error: &Error) -> Result<(), Stop> {
        let (code, _) = error.code();
        let origin = match error {
            Error::Server { .. } => Origin::Server,
            _ => Origin::Fairlane,
        };
        self.context.metrics.error_sent(origin, code);
        self.wire.push(&error.to_err_packet());
        self.diagnostics.note_own(error);
        self.diagnostics.conditions = u16::from(!self.facts.is_mariadb());
        Ok(())
    }

    /// Answers the current command with OK.
    fn send_ok(&mut self) {
        let conditions = self.diagnostics.conditions;
        let ok = self.told(crate::protocol::status::ok(self.idle_status(), conditions));
        self.wire.push(&ok);
        self.diagnostics.note_row_count(0);
    }

    /// The status flags a server would show now.
    fn idle_status(&self) -> Status {
        let kept = Status::IN_TRANS | Status::IN_TRANS_READONLY | Status::SQL_MODES;
        let mut status = self.status & kept;
        status.set(Status::AUTOCOMMIT, self.autocommit || self.shows_autocommit());
        status
    }

    /// MySQL (9.7) shows autocommit as on while nobody has set it, also where it is off globally.
    fn shows_autocommit(&self) -> bool {
        let is_begun = || self.image.get(AUTOCOMMIT).is_none();
        !self.facts.is_mariadb() && self.status.contains(Status::AUTOCOMMIT) && is_begun()
    }

    /// Whether it is known that autocommit is on.
    fn has_autocommit(&self) -> bool {
        self.autocommit && self.begun_autocommit.is_some()
    }

    /// After a change of the image: what the lexer has to know, and how long the client may idle.
    fn image_changed(&mut self) {
        let begun = self.begun_mode.as_deref().unwrap_or(&self.facts.sql_mode);
        let sql_mode = self.image.get("sql_mode").unwrap_or(begun);
        let own = self.image.client_charset();
        let charset = own.unwrap_or_else(|| self.login_charset());
        self.mode = Mode::new(sql_mode, charset, &self.facts.own_version);
        if let Some(begun) = self.begun_charset.filter(|_| own.is_none()) {
            self.mode.charset = begun;
        }
        self.take_modes_flags();
        let is_interactive = self.capabilities.contains(Capabilities::INTERACTIVE);
        let own = self.image.get("wait_timeout").and_then(|seconds| seconds.parse().ok());
        self.entry.set_idle_limit(match own.map(Duration::from_secs) {
            Some(own) => own,
            None if is_interactive => self.facts.interactive_timeout,
            None => self.facts.wait_timeout,
        });
        self.wire.set_stall_limit(self.seconds("net_write_timeout", 60));
    }

    /// The status flags of its `sql_mode` are its own.
    fn take_modes_flags(&mut self) {
        self.status.set(Status::NO_BACKSLASH_ESCAPES, self.mode.no_backslash_escapes);
        self.status.set(Status::ANSI_QUOTES, self.mode.ansi_quotes && self.facts.is_mariadb());
    }

    /// The character set that the login should come to.
    fn login_charset(&self) -> &str {
        let id = self.identity.key.collation;
        let asked = login::identity::charset_of_collation(id, self.facts.family);
        let global = || self.facts.variable("character_set_client").unwrap_or_default();
        self.facts.imposed_charset().or(asked).unwrap_or_else(global)
    }

    /// A variable of the session that is a number of seconds.
    fn seconds(&self, name: &str, default: u64) -> Duration {
        let value = self.image.get(name).or_else(|| self.facts.variable(name));
        Duration::from_secs(value.and_then(|value| value.parse().ok()).unwrap_or(default))
    }
}
