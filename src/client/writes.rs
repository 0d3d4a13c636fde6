//! Tracking what was written, before the client knows of it.
//!
//! A client that has its answer may send another one to ask (a redirect does), so a write is in
//! its scope's token no later than its OK or ERR packet is passed on. What is in flight, sent and
//! not answered, need not be seen by anybody yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::MutexGuard;

use super::statement::Work;
use super::{Context, Session};
use crate::pool::Epochs;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Capabilities, Command};
use crate::route::freshness::Position;
use crate::route::token::{SharedToken, Stamp, Token};
use crate::sql::{Class, Effects, Reason, Verdict, leaves_tables};
use crate::state::Pin;
use crate::topology::{ServerFacts, Topology};

/// ER_PARSE_ERROR: the statement did nothing at all.
pub(super) const PARSE_ERROR: u16 = 1064;

/// Errors that come before anything of a statement has run: syntax, no schema, unknown routine,
/// no privilege.
pub(super) fn did_nothing(code: u16) -> bool {
    matches!(code, PARSE_ERROR | 1044 | 1046 | 1142 | 1305 | 1370)
}

/// Where a session notes its writes. Outlives the session where its statement does.
#[derive(Debug)]
pub(super) struct WriteTracker {
    written: Arc<SharedToken>,
    topology: Arc<Topology>,
    epochs: Arc<Epochs>,
    session: u32,
    /// The primary numbers its transactions, so that a reading of its position helps.
    has_gtids: bool,
    /// The session has written something that no replica will ever have.
    is_unlogged: AtomicBool,
}

impl WriteTracker {
    /// For the session with this id and user.
    pub(super) fn new(context: &Context, session: u32, user: &str, facts: &ServerFacts) -> Self {
        Self {
            written: context.scopes.join(user),
            topology: Arc::clone(&context.topology),
            epochs: Arc::clone(&context.epochs),
            session,
            has_gtids: facts.has_gtids,
            is_unlogged: AtomicBool::new(false),
        }
    }

    /// The same session as another user, who goes on seeing what it has written.
    pub(super) fn change(&self, context: &Context, user: &str) -> Self {
        Self {
            written: context.scopes.change(&self.written, user),
            topology: Arc::clone(&self.topology),
            epochs: Arc::clone(&self.epochs),
            session: self.session,
            has_gtids: self.has_gtids,
            is_unlogged: AtomicBool::new(self.is_unlogged()),
        }
    }

    /// What replicas must have before the session reads there.
    pub(super) fn token(&self) -> MutexGuard<'_, Token> {
        self.written.lock()
    }

    /// Whether the session has written something that no replica will ever have.
    pub(super) fn is_unlogged(&self) -> bool {
        self.is_unlogged.load(Ordering::Relaxed)
    }

    /// Uses what is known of the primary's own position; whether that may help a read.
    pub(super) fn settle(&self) -> bool {
        let reading = self.topology.reading();
        let mut token = self.written.lock();
        let is_settled = token.settle(&reading);
        if token.is_unknown() && self.has_gtids {
            self.topology.reading_wanted();
        }
        is_settled
    }

    /// Something was, or may have been, written at a position that nobody tells.
    pub(super) fn note_unknown(&self) {
        self.written.lock().add_unknown(self.stamp());
        if self.has_gtids {
            self.topology.reading_wanted();
        }
    }

    /// A statement that may have written has ended out of sight, and may have changed this as well.
    pub(super) fn note_unseen(&self, changes: Changes) {
        self.note_unknown();
        self.note_changes(changes);
    }

    fn note_changes(&self, changes: Changes) {
        if changes.tables {
            self.epochs.note_table_change();
        }
        if changes.logins {
            self.epochs.note_login_change();
        }
        if changes.schemas {
            self.epochs.note_schema_change();
        }
    }

    /// A read is likely to follow: replicas are watched for its sake from now on.
    fn note(&self, position: &Position) {
        self.written.lock().add(position, self.stamp());
        self.topology.fresh_wanted(position);
    }

    fn stamp(&self) -> Stamp {
        Stamp { session: self.session, readings: self.topology.readings_begun() }
    }
}

/// What a statement may change that other sessions begin with or prepare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    /// What tables and routines there are: whatever is neither a query nor a change of rows.
    tables: bool,
    /// Global variables, privileges or roles.
    logins: bool,
    /// Schemas.
    schemas: bool,
}

/// What a session is like before a statement runs.
#[derive(Debug, Clone, Copy)]
struct Before {
    is_mariadb: bool,
    /// The end of a result set has room for a position.
    deprecates_eof: bool,
    /// An UPDATE's affected rows are those it found.
    counts_found_rows: bool,
    in_transaction: bool,
    /// Writes are left out of the binary log.
    is_log_off: bool,
    has_temporary_table: bool,
    changes: Changes,
    /// Its connection may have trackers of the client's, which leave positions out.
    is_untracked: bool,
}

/// Tracks the writes of one response.
#[derive(Debug)]
pub(super) struct WriteWatch<'a> {
    writes: Arc<WriteTracker>,
    verdict: &'a Verdict,
    command: Command,
    before: Before,
    /// Entries of session tracking looked at.
    seen: usize,
}

impl Session {
    /// For the response to `work`.
    pub(super) fn watch_writes<'a>(&self, work: &Work<'a>) -> WriteWatch<'a> {
        let is_off = |value: &str| value == "0" || value.eq_ignore_ascii_case("off");
        let before = Before {
            is_mariadb: self.facts.is_mariadb,
            deprecates_eof: self.capabilities.contains(Capabilities::DEPRECATE_EOF),
            counts_found_rows: self.capabilities.contains(Capabilities::FOUND_ROWS),
            in_transaction: self.status.contains(Status::IN_TRANS),
            is_log_off: work.verdict.class != Class::Read
                && self.image.get("sql_log_bin").is_some_and(is_off),
            changes: self.changes(work),
            has_temporary_table: self.pins.has(Pin::TemporaryTable),
            is_untracked: self.pins.has(Pin::Trackers),
        };
        let writes = Arc::clone(&self.writes);
        WriteWatch { writes, verdict: work.verdict, command: work.command, before, seen: 0 }
    }

    /// What `work` may change.
    pub(super) fn changes(&self, work: &Work<'_>) -> Changes {
        let Verdict { class, reason, effects, statements, .. } = *work.verdict;
        let is_known = statements == 1 && reason != Reason::NotUnderstood;
        let leaves = || effects == Effects::TEMPORARY_TABLE || leaves_tables(work.sql, self.mode);
        let prepares = work.command == Command::StmtPrepare;
        Changes {
            tables: class == Class::Write && !is_quiet(work.command) && !(is_known && leaves()),
            logins: !prepares && effects.contains(Effects::SERVER_DEFAULTS),
            schemas: !prepares && effects.contains(Effects::SCHEMA_DEFAULTS),
        }
    }
}

/// Whether a command runs no statement.
fn is_quiet(command: Command) -> bool {
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
    pub(super) fn note(&mut self, summary: &Summary) {
        let mut has_position = false;
        for tracked in &summary.tracked[self.seen..] {
            if let Some(position) = position_in(tracked) {
                self.writes.note(&position);
                has_position = true;
            }
        }
        self.seen = summary.tracked.len();
        if self.verdict.class != Class::Read {
            self.note_unplaced(summary, has_position);
            // Sessions that begin from now on find other global variables, privileges or schemas.
            self.writes.note_changes(self.before.changes);
        }
    }

    /// Whatever changed something without a position in the binary log can't be found again on a
    /// replica.
    fn note_unplaced(&self, summary: &Summary, has_position: bool) {
        let in_transaction =
            self.before.in_transaction || summary.status.contains(Status::IN_TRANS);
        let affects = summary.affected.is_some_and(|affected| affected > 0);
        let ends_well = may_write(self.verdict) && summary.error.is_none() && !in_transaction;
        let is_unplaced = ends_well && affects && !has_position;
        // Without DEPRECATE_EOF the end of a result set can't carry a position.
        let has_no_room = ends_well && summary.has_result_set && !self.before.deprecates_eof;
        let has_gtids = self.writes.has_gtids;
        let commits = self.verdict.class == Class::Commit && !has_gtids;
        let is_untold = commits || self.before.is_untracked;
        if is_unplaced || has_no_room || is_untold || self.may_have_failed(summary) {
            self.writes.note_unknown();
        }
        // Rows that were found and left as they are have no position either, nor have those of a
        // temporary table, or what a routine counts; and a text may turn the telling off.
        let is_plain = self.verdict.statements <= 1
            && !self.verdict.effects.contains(Effects::OPAQUE)
            && !self.before.counts_found_rows
            && !self.before.has_temporary_table;
        let is_left_out = self.before.is_log_off && self.verdict.class == Class::Write && affects;
        if has_gtids && (is_unplaced && is_plain || is_left_out) {
            self.writes.is_unlogged.store(true, Ordering::Relaxed);
        }
    }

    /// An ERR packet has no position, and a failed statement may have had its effect: DROP of two
    /// tables, rows of a MyISAM table, an implicit commit.
    fn may_have_failed(&self, summary: &Summary) -> bool {
        let effects = self.verdict.effects;
        let is_open = match summary.has_status {
            true => summary.status.contains(Status::IN_TRANS),
            false => self.before.in_transaction,
        };
        // The next OK packet has the position of the implicit commit, but for MySQL's.
        let is_told_later = is_open
            && (self.before.is_mariadb || !effects.contains(Effects::IMPLICIT_COMMIT))
            && !effects.contains(Effects::OPAQUE);
        self.verdict.class == Class::Write
            && self.command != Command::StmtPrepare
            && !is_told_later
            && summary.error.is_some_and(|code| !did_nothing(code))
    }
}

/// Whether a statement may change what replicas are to have.
fn may_write(verdict: &Verdict) -> bool {
    verdict.class == Class::Write
        && (verdict.effects.contains(Effects::OPAQUE)
            || matches!(
                verdict.reason,
                Reason::NotARead
                    | Reason::UnknownFunction
                    | Reason::MultiStatement
                    | Reason::NotUnderstood
                    | Reason::WrapsWrite
            ))
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
