//! Tracking what was written, before the client knows of it.
//!
//! A client that has its answer may send another one to ask (a redirect does), so a write is in
//! its scope's token no later than its OK or ERR packet is passed on. What is in flight, sent and
//! not answered, need not be seen by anybody yet; but others may see it on the primary, and must then go on
//! seeing it (see `flights`).

mod changes;
mod found;
mod half_way;
mod tracker;

use std::sync::Arc;

use super::flight::{Sent, may_see};
use crate::client::Session;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Capabilities, Command, Family, code};
use crate::route::flights::{Commits, Flight};
use crate::route::freshness::Position;
use crate::route::token::Reading;
use crate::sql::{
    Class, Effects, Leading, Mode, Reason, Verdict, called, changes_rows, has_word, mentions,
    replaces_rows,
};
use crate::state::Pin;
use crate::topology::{BINLOG_FORMAT, logs_statements};
pub(in crate::client) use changes::Changes;
use half_way::did_nothing;
pub(in crate::client) use half_way::may_be_half_way;
pub(in crate::client) use tracker::WriteTracker;

/// The variable by which a session leaves what it writes out of the binary log.
pub(super) const LOG: &str = "sql_log_bin";

/// The variable by which it writes as another server, which leaves that out if it follows (MariaDB).
pub(super) const SERVER: &str = "server_id";

/// In a transaction's state as it is tracked: it has written rows that it does not hold back, as of MyISAM tables.
/// Without a position those are logged with it (MariaDB with `binlog_format = STATEMENT`).
const WRITES_AT_ONCE: char = 'w';

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
    /// The session logs statements as they are (MariaDB); none where that is as it is globally.
    logs_statements: Option<bool>,
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
            logs_statements: self.logs_statements(),
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

    /// Whether the session logs statements as they are, where it is not known to do what is global now.
    fn logs_statements(&self) -> Option<bool> {
        let own = self.image.get(BINLOG_FORMAT).map(logs_statements);
        own.or_else(|| self.facts.logs_statements.then_some(true))
    }
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
        let (mut has_position, mut is_placed, mut writes_at_once) = (false, false, false);
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
            } else if let Tracked::TransactionState(state) = tracked {
                writes_at_once = state.contains(WRITES_AT_ONCE);
            }
        }
        self.note_held_back(summary, has_position, writes_at_once);
        self.seen = summary.tracked.len();
        if self.verdict.class != Class::Read {
            self.note_unplaced(summary, has_position);
            // Sessions that begin from now on find other global variables, privileges or schemas.
            self.writes.note_changes(self.before.changes.of(summary));
        } else if self.has_no_room(summary) || self.may_have_read_half_way(summary) {
            self.writes.note_unknown();
        }
        match self.before.flight {
            Some(_) if is_placed => self.writes.note_placed(),
            Some(flight) if may_see(self.command, self.verdict, self.sql.0) => {
                // It was to change or lock rows, and has changed none, or may have found them changed.
                let changes_none = summary.affected.unwrap_or_default() == 0;
                let finds =
                    self.before.counts_found_rows && self.verdict.leading == Leading::Update;
                let is_told = self.verdict.class != Class::Read && (changes_none || finds);
                let may_be_idle = may_be_idle(self.verdict);
                // The position may be that of a step before.
                let is_unplaced = !has_position || flight.commits() == Commits::InSteps;
                if is_told && is_unplaced && (may_be_idle || self.may_lock_rows()) {
                    self.writes.note_found();
                }
                let is_idle = is_told
                    && !has_position
                    && may_be_idle
                    && (changes_none || !self.before.may_be_open);
                self.writes.note_seen(flight, is_idle);
            }
            _ => {}
        }
    }

    /// Whether it may be a read that locks rows, which the first reason does not always say.
    fn may_lock_rows(&self) -> bool {
        let has = |word: &[u8]| has_word(self.sql.0, word);
        self.verdict.uses_table && (has(b"update") || has(b"share"))
    }

    /// Whether others see rows now that get a position when the transaction ends.
    fn note_held_back(&self, summary: &Summary, has_position: bool, writes_at_once: bool) {
        let is_open = summary.status.contains(Status::IN_TRANS);
        let is_opaque = self.verdict.effects.contains(Effects::OPAQUE);
        let is_late = if summary.error.is_some() {
            // It tells neither what it has written nor whether a transaction is open.
            let may_be_open = self.before.may_be_open || is_opaque || self.verdict.statements > 1;
            may_be_open && (self.may_have_failed(summary) || self.may_have_read_half_way(summary))
        } else {
            // The position may be that of a transaction before.
            writes_at_once && is_open && (!has_position || is_opaque)
        };
        let is_sure = || writes_at_once && !has_position;
        if is_late && self.before.family.is_mariadb() && (is_sure() || self.logs_statements()) {
            self.writes.hold_back(true);
        } else if summary.has_status && !is_open {
            self.writes.hold_back(false);
        }
    }

    fn logs_statements(&self) -> bool {
        self.before.logs_statements.unwrap_or_else(|| self.writes.logs_statements())
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
            self.writes.note_no_position();
        }
    }

    /// Whether the text itself may have turned the binary log off.
    fn may_switch_log(&self, summary: &Summary) -> bool {
        let is_opaque = self.verdict.effects.contains(Effects::OPAQUE);
        let has_run = || summary.error.is_none_or(|code| is_opaque && code != code::PARSE_ERROR);
        switches_log(self.verdict, self.sql) && !is_quiet(self.command) && has_run()
    }

    /// Whether the server tells that replicas leave out what the session writes, or did for a while.
    fn tells_of_log(&self, tracked: &Tracked) -> bool {
        let Tracked::Variable { name, value } = tracked else { return false };
        let Verdict { class, statements, effects, .. } = *self.verdict;
        let is_plain =
            class == Class::Session && statements == 1 && !effects.contains(Effects::OPAQUE);
        matches!(&**name, LOG | SERVER) && (!is_plain || self.writes.leaves_out(name, value))
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

/// Whether a text may turn the binary log off by itself, and not just for a statement. A word in a value is no reason
/// to keep others from replicas: a CALL, and what calls functions, sets nothing by itself.
///
/// FACT(mariadb 10.11, 11.8): `SET @@sql_log_bin` is never told; test:
/// `what_is_left_out_of_the_binary_log_by_whatever_is_read_where_it_was_written`.
pub(super) fn switches_log(verdict: &Verdict, (sql, mode): (&[u8], Mode)) -> bool {
    let runs_texts = || {
        verdict.effects.contains(Effects::OPAQUE)
            && verdict.reason != Reason::UnknownFunction
            && !changes_rows(sql, mode)
            && called(sql, mode).is_none()
    };
    (verdict.statements > 1 || runs_texts())
        && has_word(sql, b"set")
        && has_word(sql, LOG.as_bytes())
}

/// Whether a text mentions a variable by which replicas leave something out.
pub(super) fn names_left_out(sql: &[u8]) -> bool {
    [LOG, SERVER].iter().any(|name| mentions(sql, name.as_bytes()))
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
