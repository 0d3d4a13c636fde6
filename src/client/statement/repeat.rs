//! Repeating a statement that was a transaction of its own and lost a deadlock.
//!
//! The server has rolled it back and said so by error 1213, which the client has not got. Sent
//! again, it is what an application would do, but for what a rollback does not undo: rows of tables
//! without transactions, and what a trigger does beside. So the server is asked before: it warns of such
//! rows (1196), and counts the triggers that a session has run (`Executed_triggers`, MariaDB). Where it
//! does not say that nothing is left, the client gets the error.

use std::time::Duration;

use tokio::time::sleep;

use super::Work;
use super::execute::Unfinished;
use crate::backend::{Connection, Failure};
use crate::client::diagnostics::Disturbs;
use crate::client::{Session, Stop};
use crate::config::settings::Repeat;
use crate::error::Error;
use crate::pool::Checkout;
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::sql::{Class, Reason, changes_rows};

/// The pause before the first repetition is half of this and a random part of the rest, and twice as
/// long each time: two that lost to each other should not meet again.
const PAUSE: Duration = Duration::from_millis(5);

/// The question for the triggers that have run on a connection.
const TRIGGERS: &str = "SHOW SESSION STATUS LIKE 'Executed_triggers'";

impl Session {
    /// How often a statement, at rest, may be repeated after a deadlock: only one that changes rows,
    /// leaves nothing in the session and reads nothing from it.
    pub(in crate::client) fn repeats(&self, work: &Work<'_>) -> u32 {
        let limit = self.policy.deadlock_retries;
        let verdict = work.verdict;
        let is_plain = verdict.class == Class::Write
            && verdict.reason == Reason::NotARead
            && verdict.statements == 1
            && verdict.effects.is_empty()
            && verdict.needs.is_empty();
        let may = limit > 0
            && (self.facts.is_mariadb() || self.policy.deadlock_repeat == Repeat::All)
            && is_plain
            && self.autocommit
            && !self.status.contains(Status::IN_TRANS)
            && self.pins.is_empty()
            && matches!(work.command, Command::Query | Command::StmtExecute)
            && changes_rows(work.sql, self.mode);
        if may { limit } else { 0 }
    }

    /// Before the repetition of what has lost a deadlock by `error`: it has left nothing, or is not repeated.
    pub(in crate::client) async fn find_undone(
        &mut self,
        connection: &mut Connection,
        error: Error,
    ) -> Result<(), Unfinished> {
        match self.is_undone(connection).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unfinished::Deadlocked(error)),
            Err(_) => Err(Unfinished::Lost { untouched: true }),
        }
    }

    /// Whether the statement that has failed last has left nothing.
    async fn is_undone(&mut self, connection: &mut Connection) -> Result<bool, Failure> {
        if self.policy.deadlock_repeat == Repeat::All {
            return Ok(true);
        }
        self.diagnostics.end_list();
        self.save_warnings(connection, true).await?;
        // The error stands in it, and more than once where several layers have told of it.
        let list = self.diagnostics.warnings.as_ref();
        if list.is_none_or(|list| list.errors < list.count) {
            return Ok(false);
        }
        let counted = self.ask(connection, TRIGGERS, Disturbs::Both).await?;
        Ok(counted.first_row().get(1).is_some_and(|count| count == "0"))
    }

    /// Tells the client of a deadlock after which something may be left. Its list of warnings is here.
    pub(super) async fn tell_deadlock(
        &mut self,
        mut checkout: Checkout,
        work: &Work<'_>,
        error: &Error,
    ) -> Result<(), Stop> {
        self.under_way.error = Some(error.code().0);
        self.writes.note_unknown();
        checkout.connection().residue.is_dirty = true;
        self.entry.set_released();
        checkout.check_in();
        let list = self.diagnostics.warnings.take();
        self.refuse(work, error).await?;
        if list.is_some() {
            (self.diagnostics.warnings, self.diagnostics.own_error) = (list, None);
        }
        Ok(())
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
