//! Tracking what was written, before the client knows of it.
//!
//! A client that has its answer may send another one to ask (a redirect does), so a write is in
//! its scope's token no later than its OK or ERR packet is passed on. What is in flight, sent and
//! not answered, need not be seen by anybody yet; but others may see it on the primary, and must then go on
//! seeing it (see `flights`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::MutexGuard;
use tokio::time::{Instant, sleep};

use super::flight::{Seen, Sent, may_see};
use super::is_on;
use crate::client::statement::Work;
use crate::client::{Context, Session};
use crate::pool::Epochs;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Capabilities, Command, Family, code};
use crate::route::flights::{Commits, Flight};
use crate::route::freshness::Position;
use crate::route::token::{Reading, SharedToken, Stamp, Token};
use crate::sql::{
    Class, Effects, Leading, Mode, Reason, Verdict, called, changes_rows, defaults_of, has_word,
    leaves_tables, own_calls, replaces_rows, variable_prepared,
};
use crate::state::Pin;
use crate::topology::Topology;

/// The variable by which a session leaves what it writes out of the binary log.
pub(super) const LOG: &str = "sql_log_bin";

/// Errors that come before anything of a statement has run: syntax, no schema, unknown routine,
/// no privilege. What runs statements of its own (a routine, EXECUTE) may have them in its midst.
fn did_nothing(code: u16, effects: Effects) -> bool {
    comes_first(code) && !effects.contains(Effects::OPAQUE)
}

fn comes_first(code: u16) -> bool {
    matches!(
        code,
        code::PARSE_ERROR
            | code::DBACCESS_DENIED
            | code::NO_DB
            | code::TABLEACCESS_DENIED
            | code::SP_DOES_NOT_EXIST
            | code::PROCACCESS_DENIED
    )
}

/// Whether something that `work` calls may have run before its error, in a session with this schema.
pub(in crate::client) fn may_be_half_way(
    work: &Work<'_>,
    summary: &Summary,
    schema: Option<&str>,
    mode: Mode,
) -> bool {
    let Some(code) = summary.error else { return false };
    if work.command == Command::StmtPrepare {
        // It runs nothing.
        return false;
    }
    if !comes_first(code) {
        return true;
    }
    if code == code::PARSE_ERROR {
        // In the midst only of what prepares texts.
        return [&b"call"[..], b"execute", b"atomic"].iter().any(|word| has_word(work.sql, word));
    }
    if work.verdict.statements != 1 {
        return true;
    }
    // What runs may fail so as well, but not about the procedure that it is, nor about a function that it
    // calls itself and servers look for first.
    let message = String::from_utf8_lossy(&summary.message);
    let Some((of, named)) = routine_in(&message) else { return true };
    let is_itself = || {
        called(work.sql, mode).is_some_and(|(within, procedure)| {
            within.or_else(|| schema.map(str::as_bytes)) == of.map(str::as_bytes)
                && procedure.eq_ignore_ascii_case(named.as_bytes())
        })
    };
    let calls = || own_calls(work.sql, mode, schema, (of, named));
    !match message.split(' ').next() {
        Some("FUNCTION") => calls().is_some_and(|calls| calls.has_it),
        // Privileges are looked at when it is its turn: others may have run before.
        _ => is_itself() || calls().is_some_and(|calls| calls.has_it && calls.unknown_at_most == 1),
    }
}

/// The routine that an error is about, behind its schema if that is told.
fn routine_in(message: &str) -> Option<(Option<&str>, &str)> {
    let named = match message.strip_suffix("'") {
        Some(quoted) => quoted.rsplit('\'').next()?,
        None => message.split(' ').nth(1)?,
    };
    let (schema, name) = match named.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, named),
    };
    (schema != Some("") && !name.is_empty()).then_some((schema, name))
}

/// Where a session notes its writes. Outlives the session where its statement does.
#[derive(Debug)]
pub(in crate::client) struct WriteTracker {
    written: Arc<SharedToken>,
    topology: Arc<Topology>,
    epochs: Arc<Epochs>,
    session: u32,
    /// The session has written something that had no position where one was due.
    is_unlogged: AtomicBool,
    /// What it may have seen that is not in the token yet.
    seen: Seen,
}

impl WriteTracker {
    /// For the session with this id and user.
    pub(in crate::client) fn new(context: &Context, session: u32, user: &str) -> Self {
        Self {
            written: context.scopes.join(user),
            topology: Arc::clone(&context.topology),
            epochs: Arc::clone(&context.epochs),
            session,
            is_unlogged: AtomicBool::new(false),
            seen: Seen::default(),
        }
    }

    /// The same session as another user, who goes on seeing what it has written.
    pub(in crate::client) fn change(&self, context: &Context, user: &str) -> Self {
        // What a reading has told by now goes along in the token.
        let has_seen_more = self.has_seen_more();
        let changed = Self {
            written: context.scopes.change(&self.written, user),
            topology: Arc::clone(&self.topology),
            epochs: Arc::clone(&self.epochs),
            session: self.session,
            is_unlogged: AtomicBool::new(self.is_unlogged() || self.token().is_unlogged()),
            seen: Seen::default(),
        };
        if has_seen_more {
            // What that was is on its way in the other scope.
            changed.note_unknown();
        }
        changed
    }

    /// The primary leaves no schema out of its binary log.
    fn logs_all(&self) -> bool {
        self.topology.facts().is_some_and(|facts| facts.logs_all)
    }

    /// What replicas must have before the session reads there.
    pub(in crate::client) fn token(&self) -> MutexGuard<'_, Token> {
        self.written.lock()
    }

    /// Whether the session has written something that had no position where one was due: it seems that no replica
    /// will ever have it.
    pub(in crate::client) fn is_unlogged(&self) -> bool {
        self.is_unlogged.load(Ordering::Relaxed)
    }

    /// What the scope has written.
    pub(super) fn written(&self) -> &Arc<SharedToken> {
        &self.written
    }

    /// A statement that may commit so is about to be sent to the primary.
    pub(super) fn sends(&self, commits: Commits) -> Sent {
        Sent::new(&self.written, commits)
    }

    /// Whether the session may have seen, on the primary, what the token does not have yet.
    pub(in crate::client) fn has_seen_more(&self) -> bool {
        let Some((age, readings)) = self.seen.get() else { return false };
        let is_told = self.written.flights.have_ended(age) || {
            let reading = self.topology.reading();
            reading.number > readings && self.written.lock().raise(&reading)
        };
        if is_told {
            self.seen.clear();
        }
        !is_told
    }

    /// A statement on the primary has ended that may have seen what others have committed and nobody has told.
    /// Its session must not miss that. Others that its client tells of it ask, but beside a procedure, when that is
    /// told; beside one they must not miss what has left the statement nothing to change (`is_idle`).
    fn note_seen(&self, own: Flight, is_idle: bool) {
        let beside = self.written.flights.beside(own);
        if beside == Commits::Never {
            return;
        }
        if beside == Commits::InSteps && is_idle {
            return self.note_unknown();
        }
        let is_again = self.seen.is_some();
        self.seen.set(self.written.flights.seen(), self.topology.readings_begun());
        // A reading is asked for where those that are on their way need not end soon.
        if (is_again || beside == Commits::InSteps) && self.topology.has_gtids() {
            self.topology.reading_wanted();
        }
    }

    /// Uses what is known of the primary's own position; whether that may help a read.
    pub(in crate::client) fn settle(&self) -> bool {
        let reading = self.topology.reading();
        let mut token = self.written.lock();
        if self.written.flights.have_lost() {
            return false;
        }
        let is_settled = token.settle(&reading);
        if token.is_unknown() && self.topology.has_gtids() {
            self.topology.reading_wanted();
        }
        is_settled
    }

    /// Something was, or may have been, written at a position that nobody tells.
    pub(in crate::client) fn note_unknown(&self) {
        self.written.lock().add_unknown(self.stamp());
        if self.topology.has_gtids() {
            self.topology.reading_wanted();
        }
    }

    /// Something may have been written, or may be from now on, that is left out of the binary log: no replica will
    /// ever have it.
    pub(in crate::client) fn note_unlogged(&self) {
        self.written.lock().add_unlogged(self.session);
    }

    /// A statement that may have written has ended out of sight, and may have changed this as well.
    pub(in crate::client) fn note_unseen(&self, changes: Changes) {
        self.note_unknown();
        self.note_changes(changes);
    }

    /// What an answer to Fairlane itself has told.
    pub(in crate::client) fn note_told(&self, tracked: &[Tracked]) {
        tracked.iter().filter_map(position_in).for_each(|position| self.note(&position, None));
    }

    fn note_changes(&self, changes: Changes) {
        if changes.tables {
            self.epochs.note_table_change();
        }
        if changes.logins {
            let mut at = self.written.lock().clone();
            // No replica would ever have it.
            at.forget_unlogged();
            self.epochs.note_login_change(at);
        } else if changes.hidden_logins {
            let (topology, session) = (Arc::clone(&self.topology), self.session);
            self.note_hidden(Epochs::login_change_due, move |epochs| {
                epochs.note_login_change(unplaced(&topology, session));
            });
        }
        if changes.schemas {
            self.epochs.note_schema_change();
        } else if changes.hidden_schemas {
            self.note_hidden(Epochs::schema_change_due, Epochs::note_schema_change);
        }
    }

    /// Has what a text that nobody has seen may have changed counted when it is due.
    fn note_hidden(
        &self,
        due: fn(&Epochs, Instant) -> Option<Duration>,
        note: impl FnOnce(&Epochs) + Send + 'static,
    ) {
        match due(&self.epochs, Instant::now()) {
            None => {}
            Some(Duration::ZERO) => note(&self.epochs),
            Some(wait) => {
                let epochs = Arc::clone(&self.epochs);
                tokio::spawn(async move {
                    sleep(wait).await;
                    note(&epochs);
                });
            }
        }
    }

    /// A read is likely to follow: replicas are watched for its sake from now on. What was written may tell
    /// the last reading before: had the primary a transaction of that number then (RESET MASTER, or a client that
    /// numbers its own), the position says nothing.
    fn note(&self, position: &Position, before: Option<&Reading>) {
        let stamp = self.stamp();
        let is_again = before.is_some_and(|it| it.had(position));
        let mut token = self.written.lock();
        token.add(position, stamp);
        if is_again || !self.topology.is_primary_met() {
            // A replica may have other transactions of these numbers.
            token.add_unknown(stamp);
        }
        drop(token);
        if is_again {
            self.topology.reading_wanted();
        }
        self.topology.written(position);
    }

    fn stamp(&self) -> Stamp {
        Stamp { session: self.session, readings: self.topology.readings_begun() }
    }
}

/// What was done by now, of which nobody has told where.
fn unplaced(topology: &Topology, session: u32) -> Token {
    let mut token = Token::default();
    token.add_unknown(Stamp { session, readings: topology.readings_begun() });
    if topology.has_gtids() {
        topology.reading_wanted();
    }
    token
}

/// What a statement may change that other sessions begin with or prepare.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Changes {
    /// What tables and routines there are: whatever is neither a query nor a change of rows.
    tables: bool,
    /// Global variables, privileges or roles.
    logins: bool,
    /// Schemas.
    schemas: bool,
    /// Likewise by a text that nobody has seen.
    hidden_logins: bool,
    hidden_schemas: bool,
    /// It does nothing when the right to do it is missing.
    is_all_or_nothing: bool,
}

impl Changes {
    /// What a statement that has ended so may have changed: rows are no answer to one that changes accounts,
    /// global variables or schemas, nor is a number of them where it is not schemas.
    fn of(self, summary: &Summary) -> Self {
        let affected = summary.affected.filter(|_| !summary.has_result_set);
        let is_denied = |code| {
            self.is_all_or_nothing && (comes_first(code) || code == code::SPECIFIC_ACCESS_DENIED)
        };
        if summary.error.is_some_and(is_denied) {
            return Self {
                logins: false,
                schemas: false,
                hidden_logins: false,
                hidden_schemas: false,
                ..self
            };
        }
        Self {
            hidden_logins: self.hidden_logins && affected == Some(0),
            hidden_schemas: self.hidden_schemas && affected.is_some(),
            ..self
        }
    }
}

/// What a session is like before a statement runs.
#[derive(Debug)]
struct Before {
    family: Family,
    /// The end of a result set has room for a position.
    deprecates_eof: bool,
    /// An UPDATE's affected rows are those it found.
    counts_found_rows: bool,
    in_transaction: bool,
    /// Or one may be open, and nothing has told.
    may_be_open: bool,
    has_temporary_table: bool,
    /// The last reading of the primary's position; not for a read.
    reading: Option<Arc<Reading>>,
    changes: Changes,
    /// Its connection may have trackers of the client's, which leave positions out.
    is_untracked: bool,
    /// It has them for this statement.
    has_own_trackers: bool,
    /// A replica has refused the statement.
    was_refused: bool,
    /// With this error.
    refusal: Option<u16>,
    /// How it is on its way to the primary.
    flight: Option<Flight>,
}

/// Tracks the writes of one response.
#[derive(Debug)]
pub(in crate::client) struct WriteWatch<'a> {
    writes: Arc<WriteTracker>,
    verdict: &'a Verdict,
    command: Command,
    /// The text, and how to read it.
    sql: (&'a [u8], Mode),
    before: Before,
    /// Entries of session tracking looked at.
    seen: usize,
}

impl Session {
    /// For the response to `work`.
    pub(in crate::client) fn watch_writes<'a>(&self, work: &Work<'a>) -> WriteWatch<'a> {
        let before = Before {
            family: self.facts.family,
            deprecates_eof: self.capabilities.contains(Capabilities::DEPRECATE_EOF),
            counts_found_rows: self.capabilities.contains(Capabilities::FOUND_ROWS),
            in_transaction: self.status.contains(Status::IN_TRANS),
            may_be_open: self.may_be_open(),
            changes: self.changes(work),
            has_temporary_table: self.pins.has(Pin::TemporaryTable),
            reading: (work.verdict.class != Class::Read).then(|| self.context.topology.reading()),
            is_untracked: self.pins.has(Pin::Trackers),
            has_own_trackers: self.needs_own_trackers(work),
            was_refused: self.under_way.was_refused,
            refusal: self.under_way.was_refused.then_some(self.under_way.refusal),
            flight: self.under_way.sent.as_ref().map(Sent::flight),
        };
        let writes = Arc::clone(&self.writes);
        let (verdict, command, sql) = (work.verdict, work.command, (work.sql, self.mode));
        WriteWatch { writes, verdict, command, sql, before, seen: 0 }
    }

    /// What `work` may change.
    pub(in crate::client) fn changes(&self, work: &Work<'_>) -> Changes {
        let Verdict { class, reason, effects, statements, .. } = *work.verdict;
        let is_known = statements == 1 && reason != Reason::NotUnderstood;
        let leaves = || effects == Effects::TEMPORARY_TABLE || leaves_tables(work.sql, self.mode);
        let is_sql_prepared = effects.contains(Effects::SQL_PREPARE);
        let prepares =
            work.command == Command::StmtPrepare || is_sql_prepared && !may_execute(work.verdict);
        let defaults = match prepares {
            true => Effects::empty(),
            false if is_sql_prepared => {
                effects & Effects::OPAQUE | self.defaults(work) | self.prepared_texts
            }
            false => effects,
        };
        let is_hidden = defaults.contains(Effects::HIDDEN_TEXT | Effects::OPAQUE);
        Changes {
            tables: class == Class::Write && !is_quiet(work.command) && !(is_known && leaves()),
            logins: defaults.contains(Effects::SERVER_DEFAULTS),
            schemas: defaults.contains(Effects::SCHEMA_DEFAULTS),
            hidden_logins: is_hidden,
            hidden_schemas: is_hidden,
            is_all_or_nothing: is_known && !effects.contains(Effects::OPAQUE),
        }
    }

    /// What a text with a PREPARE or an EXECUTE changes for sessions to come, that of a variable too where its
    /// value is known.
    fn defaults(&self, work: &Work<'_>) -> Effects {
        let found = work.verdict.effects & Effects::DEFAULTS;
        // What the variables are of a session with this pin is known to its connection only.
        let may_know = found.contains(Effects::HIDDEN_TEXT)
            && work.verdict.statements == 1
            && !self.pins.has(Pin::UserVariable);
        if !may_know {
            return found;
        }
        let variable = variable_prepared(work.sql, self.mode_of(work));
        match variable.and_then(|variable| self.image.text_of(&variable)) {
            Some(text) => defaults_of(text.as_bytes(), self.mode),
            None => found,
        }
    }

    /// What `work` has prepared by PREPARE that later texts may run.
    pub(in crate::client) fn prepares_changes(&self, work: &Work<'_>) -> Effects {
        let Verdict { effects, statements, .. } = *work.verdict;
        let is_execute = statements == 1 && effects.contains(Effects::OPAQUE);
        match effects.contains(Effects::SQL_PREPARE) && !is_execute {
            true => self.defaults(work),
            false => Effects::empty(),
        }
    }
}

/// Whether a text with a PREPARE or an EXECUTE has more than a PREPARE.
fn may_execute(verdict: &Verdict) -> bool {
    verdict.statements > 1 || verdict.effects.contains(Effects::OPAQUE)
}

/// Whether a command runs no statement.
pub(super) fn is_quiet(command: Command) -> bool {
    use Command::{
        Debug, FieldList, InitDb, Ping, ProcessInfo, SetOption, Statistics, StmtFetch, StmtPrepare,
        StmtReset, StmtSendLongData,
    };
    matches!(
        command,
        Debug
            | FieldList
            | InitDb
            | Ping
            | ProcessInfo
            | SetOption
            | Statistics
            | StmtFetch
            | StmtPrepare
            | StmtReset
            | StmtSendLongData
    )
}

impl WriteWatch<'_> {
    /// A statement of the response has ended, and what tells so has not been passed on.
    pub(in crate::client) fn note(&mut self, summary: &Summary) {
        let (mut has_position, mut is_placed) = (false, false);
        for tracked in &summary.tracked[self.seen..] {
            if let Some(position) = position_in(tracked) {
                self.writes.note(&position, self.before.reading.as_deref());
                if self.verdict.effects.contains(Effects::IMPLICIT_COMMIT) {
                    self.writes.token().add_tables(&position);
                }
                has_position = true;
                is_placed |= self.is_behind_all(&position, summary);
            } else if self.tells_of_log(tracked) {
                self.writes.note_unlogged();
            }
        }
        self.seen = summary.tracked.len();
        if self.verdict.class != Class::Read {
            self.note_unplaced(summary, has_position);
            // Sessions that begin from now on find other global variables, privileges or schemas.
            self.writes.note_changes(self.before.changes.of(summary));
        } else if self.has_no_room(summary) || self.may_have_read_half_way(summary) {
            self.writes.note_unknown();
        }
        match self.before.flight {
            Some(flight) if !is_placed && may_see(self.command, self.verdict, self.sql.0) => {
                // It was to change or lock rows, and has changed none, or may have found them changed.
                let changes_none = summary.affected.unwrap_or_default() == 0;
                let finds = self.before.counts_found_rows
                    && !self.before.may_be_open
                    && self.verdict.leading == Leading::Update;
                let is_idle = self.verdict.class != Class::Read
                    && !has_position
                    && (changes_none || finds)
                    && may_be_idle(self.verdict);
                self.writes.note_seen(flight, is_idle);
            }
            _ => {}
        }
    }

    /// Rows follow, which are passed on before anything is told of what was committed before them.
    pub(in crate::client) fn note_rows(&self) {
        if self.before.flight.is_some_and(|flight| flight.commits() == Commits::InSteps) {
            self.writes.note_unknown();
        }
    }

    /// Whether `position` is that of the statement's own commit at its end, in the domain of others: MariaDB may
    /// tell that of an earlier statement late.
    fn is_behind_all(&self, position: &Position, summary: &Summary) -> bool {
        let commits = self.before.flight.map(|flight| flight.commits());
        let is_own = self.verdict.class == Class::Commit
            || summary.affected.is_some_and(|affected| affected > 0);
        let reading = self.before.reading.as_deref();
        let is_in_domain =
            || reading.and_then(|it| it.domain).is_none_or(|domain| position.has_domain(domain));
        commits == Some(Commits::AtItsEnd) && is_own && is_in_domain()
    }

    /// Whatever changed something without a position in the binary log can't be found again on a
    /// replica.
    fn note_unplaced(&self, summary: &Summary, has_position: bool) {
        let in_transaction =
            self.before.in_transaction || summary.status.contains(Status::IN_TRANS);
        let affects = summary.affected.is_some_and(|affected| affected > 0);
        let ends_well = may_write(self.verdict) && summary.error.is_none() && !in_transaction;
        let is_unplaced = ends_well && affects && !has_position;
        let has_gtids = self.writes.topology.has_gtids();
        let may_commit = |was_open| {
            let ends = was_open && !summary.status.contains(Status::IN_TRANS);
            self.verdict.class == Class::Commit
                || may_write(self.verdict) && !is_quiet(self.command)
                || self.verdict.class == Class::Session && ends
        };
        // Where transactions have no numbers, nothing of what was written is told; nor under others' trackers.
        let is_untold = self.before.is_untracked
            || !has_gtids && may_commit(self.before.in_transaction)
            || self.before.has_own_trackers && may_commit(self.before.may_be_open);
        if is_unplaced || self.has_no_room(summary) || is_untold || self.may_have_failed(summary) {
            self.writes.note_unknown();
        }
        // Rows that were found and left as they are have no position either, nor have those of a
        // temporary table, or what a routine counts; and a text may turn the telling off.
        let is_plain = self.verdict.statements <= 1
            && !self.verdict.effects.intersects(Effects::OPAQUE | Effects::TEMPORARY_TABLE)
            && !self.before.counts_found_rows
            && !self.before.has_temporary_table;
        // Where all is logged, a REPLACE without a position has found the row as it is to be.
        let was_so = || self.writes.logs_all() && replaces_rows(self.sql.0, self.sql.1);
        if has_gtids && self.may_switch_log(summary) {
            self.writes.note_unlogged();
        } else if has_gtids && is_unplaced && is_plain && !was_so() {
            // It may be something else after all, and is no reason to keep others from replicas.
            self.writes.is_unlogged.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the text itself may have turned the binary log off. A word in a value is no reason to keep others
    /// from replicas: a CALL, and what calls functions, sets nothing by itself.
    ///
    /// FACT(mariadb 10.11, 11.8): `SET @@sql_log_bin` is never told; test:
    /// `what_is_left_out_of_the_binary_log_by_whatever_is_read_where_it_was_written`.
    fn may_switch_log(&self, summary: &Summary) -> bool {
        let (sql, mode) = self.sql;
        let is_opaque = self.verdict.effects.contains(Effects::OPAQUE);
        let runs_texts = || {
            is_opaque
                && self.verdict.reason != Reason::UnknownFunction
                && !changes_rows(sql, mode)
                && called(sql, mode).is_none()
        };
        let has_run = || summary.error.is_none_or(|code| is_opaque && code != code::PARSE_ERROR);
        (self.verdict.statements > 1 || runs_texts())
            && !is_quiet(self.command)
            && has_word(sql, b"set")
            && has_word(sql, LOG.as_bytes())
            && has_run()
    }

    /// Whether the server tells that its binary log is off for the session, or was for a while.
    fn tells_of_log(&self, tracked: &Tracked) -> bool {
        let Tracked::Variable { name, value } = tracked else { return false };
        let Verdict { class, statements, effects, .. } = *self.verdict;
        let is_plain =
            class == Class::Session && statements == 1 && !effects.contains(Effects::OPAQUE);
        name == LOG && (!is_plain || !is_on(value))
    }

    /// Without DEPRECATE_EOF the end of a result set can't carry a position, nor can that of a cursor's columns.
    fn has_no_room(&self, summary: &Summary) -> bool {
        if self.before.deprecates_eof || !summary.has_result_set || summary.error.is_some() {
            return false;
        }
        // Steps of a procedure, rows of tables without transactions, and sequences are there for others whatever is open.
        let is_due = self.before.family.is_mariadb() && summary.is_tracking_due;
        let is_at_once = self.verdict.effects.contains(Effects::OPAQUE)
            || self.verdict.reason == Reason::Sequence
            || self.before.was_refused
            || is_due && may_write(self.verdict);
        if is_at_once && !is_quiet(self.command) {
            return true;
        }
        let is_open = summary.status.contains(Status::IN_TRANS);
        if self.before.in_transaction {
            // An EXECUTE commits as its text does.
            return !is_open || self.verdict.effects.contains(Effects::IMPLICIT_COMMIT);
        }
        // A view may call a function that writes. A replica refuses that, and MariaDB says that it has something
        // to tell.
        let may_call = is_due || self.verdict.reason == Reason::LockingClause;
        !is_open && (may_call || may_write(self.verdict))
    }

    /// An ERR packet has no position, and a failed statement may have had its effect: DROP of two
    /// tables, rows of a MyISAM table, an implicit commit. Others may read before MariaDB tells with its next
    /// OK packet in a transaction what no rollback takes back.
    fn may_have_failed(&self, summary: &Summary) -> bool {
        let effects = self.verdict.effects;
        // MySQL commits before it looks whether it can do what it is to do, as MariaDB does for some statements.
        let commits_first = self.before.may_be_open && effects.contains(Effects::IMPLICIT_COMMIT);
        let may_have = |code| commits_first || !did_nothing(code, effects);
        (self.verdict.class == Class::Write || effects.contains(Effects::OPAQUE))
            && self.command != Command::StmtPrepare
            && summary.error.is_some_and(may_have)
    }

    /// The same of a read on the primary: a function that a view calls may have written rows that no error takes
    /// back. What fails alike on a replica, where nothing can be written, has not come so far.
    fn may_have_read_half_way(&self, summary: &Summary) -> bool {
        let Some(code) = summary.error else { return false };
        let is_likely = match self.before.refusal {
            Some(refusal) => refusal != code,
            // Without GTIDs it would keep the scope on the primary for ever.
            None => self.before.flight.is_some() && self.writes.topology.has_gtids(),
        };
        is_likely
            && self.verdict.uses_table
            && self.command != Command::StmtPrepare
            && !did_nothing(code, self.verdict.effects)
            // An application that fails so all the time would read there all the time.
            && !COMMON.contains(&code)
    }
}

/// What reads fail with that use what is not there, or take too long.
const COMMON: [u16; 5] = [
    code::NO_SUCH_TABLE,
    code::BAD_FIELD,
    code::QUERY_INTERRUPTED,
    code::STATEMENT_TIMEOUT,
    code::QUERY_TIMEOUT,
];

/// Whether a statement may be a change of rows that has found nothing to do, if it has done nothing. A function
/// that nobody knows mostly reads.
fn may_be_idle(verdict: &Verdict) -> bool {
    matches!(
        verdict.reason,
        Reason::LockingClause
            | Reason::NotARead
            | Reason::MultiStatement
            | Reason::WrapsWrite
            | Reason::NotUnderstood
    )
}

/// Whether a statement may change what replicas are to have.
pub(super) fn may_write(verdict: &Verdict) -> bool {
    let is_change = matches!(
        verdict.reason,
        Reason::NotARead
            | Reason::UnknownFunction
            | Reason::MultiStatement
            | Reason::NotUnderstood
            | Reason::WrapsWrite
    );
    // A function that writes may be called in a SET, too.
    verdict.effects.contains(Effects::OPAQUE) || verdict.class == Class::Write && is_change
}

fn position_in(tracked: &Tracked) -> Option<Position> {
    match tracked {
        Tracked::Variable { name, value } if name == "last_gtid" => Position::parse(value),
        Tracked::Gtids(gtids) => Position::parse(gtids),
        Tracked::Variable { .. }
        | Tracked::Schema(_)
        | Tracked::StateChanged
        | Tracked::Characteristics(_)
        | Tracked::TransactionState(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::routine_in;

    #[test]
    fn errors_name_their_routine() {
        for (message, name) in [
            ("PROCEDURE shop.p does not exist", Some((Some("shop"), "p"))),
            ("FUNCTION shop.f_1 does not exist", Some((Some("shop"), "f_1"))),
            ("FUNCTION f does not exist", Some((None, "f"))),
            (
                "execute command denied to user 'a'@'%' for routine 'shop.p'",
                Some((Some("shop"), "p")),
            ),
            ("", None),
        ] {
            assert_eq!(routine_in(message), name, "{message}");
        }
    }
}
