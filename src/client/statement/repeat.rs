//! Repeating a statement that was a transaction of its own and lost a deadlock.
//!
//! The server has rolled it back whole and said so by error 1213, which the client has not got. Sent
//! again, it is what an application would do, but for what a rollback does not undo: rows of tables
//! without transactions, also those that a trigger writes. Nobody can see triggers from here, so
//! none is repeated unless `lanes.deadlock_retries` says so.

use std::time::Duration;

use tokio::time::sleep;

use super::Work;
use crate::client::Session;
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::sql::{Class, Reason, changes_rows};

/// The pause before the first repetition is half of this and a random part of the rest, and twice as
/// long each time: two that lost to each other should not meet again.
const PAUSE: Duration = Duration::from_millis(5);

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
            && is_plain
            && self.autocommit
            && !self.status.contains(Status::IN_TRANS)
            && self.pins.is_empty()
            && matches!(work.command, Command::Query | Command::StmtExecute)
            && changes_rows(work.sql, self.mode);
        if may { limit } else { 0 }
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
