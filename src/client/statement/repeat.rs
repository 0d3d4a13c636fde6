//! Repeating a statement that was a transaction of its own and lost a deadlock.
//!
//! The server has rolled it back and said so by error 1213, which the client has not got. Sent
//! again, it is what an application would do, but for what a rollback does not undo: rows of tables
//! without transactions, and what a trigger does beside. So the server is asked before: it warns of such
//! rows (1196), and counts the triggers that a connection has run and the views it has opened
//! (`Executed_triggers`, `Opened_views`; MariaDB). Where it does not say that nothing is left, the client gets the error.

use std::time::Duration;

use tokio::time::sleep;

use super::Work;
use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::config::settings::Repeat;
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::sql::{Class, Reason, changes_rows};

/// The pause before the first repetition is half of this and a random part of the rest, and twice as
/// long each time: two that lost to each other should not meet again.
const PAUSE: Duration = Duration::from_millis(5);

/// The question for what may have done more than to change rows of tables, since a connection was opened or reset: triggers
/// that have run, and views, which may call functions, that were opened.
const BESIDE: &str =
    "SHOW SESSION STATUS WHERE Variable_name IN ('Executed_triggers', 'Opened_views')";

impl Session {
    /// Whether a statement, at rest, may be repeated after a deadlock: only one that changes rows, leaves nothing
    /// in the session and reads nothing from it.
    pub(in crate::client) fn can_repeat(&self, work: &Work<'_>) -> bool {
        let verdict = work.verdict;
        let is_plain = verdict.class == Class::Write
            && verdict.reason == Reason::NotARead
            && verdict.statements == 1
            && verdict.effects.is_empty()
            && verdict.needs.is_empty();
        is_plain
            && (self.facts.is_mariadb() || self.policy.deadlock_repeat == Repeat::All)
            && self.autocommit
            && !self.status.contains(Status::IN_TRANS)
            && self.pins.is_empty()
            && matches!(work.command, Command::Query | Command::StmtExecute)
            && changes_rows(work.sql, self.mode)
    }

    /// Whether the statement that has lost a deadlock has left nothing. Its list of warnings is kept for the
    /// client.
    pub(super) async fn is_undone(&mut self, connection: &mut Connection) -> Result<bool, Failure> {
        if self.policy.deadlock_repeat == Repeat::All {
            return Ok(true);
        }
        self.diagnostics.end_list();
        self.save_warnings(connection, true).await?;
        let list = self.diagnostics.warnings.take();
        // The error stands in it, and more than once where several layers have told of it.
        let is_all_errors = list.as_ref().is_some_and(|list| list.errors == list.count);
        let is_undone = is_all_errors && {
            let counted = self.ask(connection, BESIDE, Disturbs::Both).await?.rows();
            let is_none = |row: &Vec<String>| row.get(1).is_some_and(|count| count == "0");
            counted.len() == 2 && counted.iter().all(is_none)
        };
        self.under_way.list = list.filter(|_| !is_undone);
        Ok(is_undone)
    }

    /// Before the repetition with this number, the first being 1. Whether the statement was stopped.
    pub(in crate::client) async fn pause_before_repeat(&self, turn: u32) -> bool {
        self.context.metrics.locks.repeated.inc();
        let longest = PAUSE * 2_u32.pow(turn.saturating_sub(1).min(5));
        self.entry.begin_wait();
        tokio::select! {
            () = sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            () = self.entry.stopped_waiting() => {}
        }
        self.entry.set_out()
    }
}
