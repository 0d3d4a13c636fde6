//! Repeating a statement that was a transaction of its own and lost a deadlock.
//!
//! The server has rolled it back whole and said so by error 1213, which the client has not got. Sent
//! again, it is what an application would do, but for what a rollback does not undo: rows of tables
//! without transactions, also those that a trigger writes. Nobody can see triggers from here, so
//! none is repeated unless `lanes.deadlock_retries` says so.

use std::time::Duration;

use tokio::time::sleep;

use super::Session;
use super::statement::Work;
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::sql::{Class, Reason};

/// What such a statement begins with; not LOAD DATA, whose file is gone, and no DDL.
const VERBS: [&[u8]; 4] = [b"insert", b"update", b"delete", b"replace"];

/// The pause before the first repetition is half of this and a random part of the rest, and twice as
/// long each time: two that lost to each other should not meet again.
const PAUSE: Duration = Duration::from_millis(5);

impl Session {
    /// How often a statement, at rest, may be repeated after a deadlock: only one that changes rows,
    /// leaves nothing in the session and reads nothing from it.
    pub(super) fn repeats(&self, work: &Work<'_>) -> u32 {
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
            && changes_rows(work.sql);
        if may { limit } else { 0 }
    }

    /// Before the repetition with this number, the first being 1.
    pub(super) async fn pause_before_repeat(&self, turn: u32) {
        self.context.metrics.locks.repeated.inc();
        let longest = PAUSE * 2_u32.pow(turn.saturating_sub(1).min(5));
        sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

fn changes_rows(sql: &[u8]) -> bool {
    let sql = sql.trim_ascii_start();
    VERBS.iter().any(|verb| {
        let begins = sql.get(..verb.len()).is_some_and(|first| first.eq_ignore_ascii_case(verb));
        begins && sql.get(verb.len()).is_some_and(|next| !next.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_change_rows_are_known_by_their_first_word() {
        for sql in ["INSERT INTO t VALUES (1)", "\n update t SET a = 1", "REPLACE/**/t VALUES (1)"]
        {
            assert!(changes_rows(sql.as_bytes()), "{sql}");
        }
        for sql in
            ["LOAD DATA INFILE 'x' INTO TABLE t", "inserted", "/* x */ UPDATE t SET a = 1", ""]
        {
            assert!(!changes_rows(sql.as_bytes()), "{sql}");
        }
    }
}
