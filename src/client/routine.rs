//! What a routine has left on a connection, and nobody told.

use super::Session;
use super::statement::Work;
use crate::backend::{Connection, Failure, Ran};
use crate::protocol::Command;
use crate::sql::{Effects, changes_rows};
use crate::state::Pin;

impl Session {
    /// What `work` is about to run on its connection.
    pub(super) fn note_ran(&self, connection: &mut Connection, work: &Work<'_>) {
        if !work.verdict.effects.contains(Effects::OPAQUE) || work.command == Command::StmtPrepare {
            return;
        }
        let ran = match self.calls_just_functions(work) {
            false => Ran::Procedure,
            // MariaDB flags a SET ROLE as a change of state.
            true if self.facts.is_mariadb => Ran::Plain,
            true => Ran::Function,
        };
        connection.ran = connection.ran.max(ran);
    }

    /// Whether `work` calls no procedure: functions can't take locks for the session.
    fn calls_just_functions(&self, work: &Work<'_>) -> bool {
        let sql = work.sql.trim_ascii_start();
        let length = sql.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let is_expression = |word: &&[u8]| sql[..length].eq_ignore_ascii_case(word);
        let expressions: [&[u8]; 4] = [b"select", b"with", b"do", b"set"];
        work.verdict.statements == 1
            && !work.verdict.effects.contains(Effects::SET_STATEMENT)
            && (expressions.iter().any(is_expression) || changes_rows(work.sql, self.mode))
    }

    /// Asks what a routine has left, before its connection goes to another session; the warnings and counts of
    /// its statement have been read.
    pub(super) async fn settle_routine(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        self.diagnostics.is_row_count_held = false;
        self.diagnostics.is_found_rows_held = false;
        if !self.facts.is_mariadb && connection.has_other_role().await? {
            self.pins.add(Pin::Role);
        }
        if connection.ran == Ran::Procedure {
            self.learn_locks(connection).await?;
        }
        connection.ran = Ran::Plain;
        Ok(())
    }

    /// Whether a procedure has taken a lock that holds everybody up to its session's end.
    async fn learn_locks(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        match connection.count_locks(self.facts.is_mariadb).await? {
            None => self.pins.add(Pin::StateChanged),
            Some(now) => {
                let before = std::mem::replace(&mut connection.lock_counts, now);
                if now.flushes != before.flushes {
                    self.pins.add(Pin::TableLock);
                }
                if now.backup_locks != before.backup_locks {
                    self.pins.add(Pin::BackupLock);
                }
            }
        }
        Ok(())
    }
}
