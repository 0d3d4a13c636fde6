//! What ROW_COUNT() and FOUND_ROWS() are after a response.

use super::may_have_found_its_table;
use crate::backend::Connection;
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::client::statement::execute::opens_cursor;
use crate::protocol::response::Summary;
use crate::protocol::status::Status;
use crate::protocol::{Command, code};
use crate::sql::{self, Class, Effects, Leading, Verdict};

impl Session {
    /// What ROW_COUNT() and FOUND_ROWS() are after `work`; whether the latter tells the rows sent.
    pub(super) fn absorb_counts(
        &mut self,
        connection: &Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> bool {
        let effects = work.verdict.effects;
        // On MySQL what fails among its rows leaves the count as it was.
        let leaves = summary.error.is_some() && !self.facts.is_mariadb();
        let leaves = leaves && work.verdict.statements == 1;
        let is_plain = work.verdict.leading == Leading::Select && work.verdict.statements == 1;
        // A routine may count others than it sends.
        let is_hidden = effects.contains(Effects::OPAQUE) && !is_plain;
        let counts_rows =
            summary.has_result_set && !leaves && !is_hidden && self.counts_rows(work, summary);
        self.diagnostics.note(summary, counts_rows);
        if counts_rows && summary.error.is_none() {
            let skipped = sql::rows_skipped(work.sql, self.mode, work.verdict);
            self.diagnostics.note_skipped(skipped);
        }
        let is_prepared = work.command == Command::StmtPrepare && summary.error.is_none();
        if gets_diagnostics(work) && summary.error.is_none() {
            // It leaves ROW_COUNT(), unless there is no such condition.
            if summary.had_warnings {
                self.diagnostics.note_failed();
            }
        } else if !is_prepared && !self.fails_in_dictionary(work, summary) {
            self.diagnostics.note_counted(summary);
            if summary.error.is_some() && connection.image.schema != self.image.schema {
                // After a USE that fails the connection has yet to choose the session's schema.
                self.diagnostics.disturb(Disturbs::RowCount);
            }
        }
        if !self.facts.is_mariadb() && summary.error.is_none() && is_do(work) {
            // MySQL finds the row that it sends nobody.
            self.diagnostics.note_found_rows(1);
            self.diagnostics.note_found_there();
        }
        // Without its LIMIT; one of several may have counted; and a cursor sends its rows later.
        let has_cursor = opens_cursor(work) && summary.status.contains(Status::CURSOR_EXISTS);
        let hides_count = effects.contains(Effects::FOUND_ROWS)
            || work.verdict.statements > 1 && !counts_rows
            || is_hidden
            || has_cursor && summary.error.is_none();
        if summary.has_result_set && hides_count {
            self.diagnostics.note_found_unseen();
        }
        let counts_too = self.facts.is_mariadb()
            && summary.error.is_none()
            && effects.contains(Effects::COUNTS_ROWS)
            && !may_have_found_its_table(work, summary);
        // What a routine does to a count of which only another session's is on the connection can't be
        // seen: most do nothing.
        let is_doubtful = effects.contains(Effects::OPAQUE)
            && !(summary.has_result_set
                || work.verdict.leading == Leading::Select
                || self.diagnostics.is_found_rows_held());
        // SELECT ... INTO counts rows that nobody is sent.
        let is_run = matches!(work.command, Command::Query | Command::StmtExecute);
        let is_into =
            is_run && work.verdict.leading == Leading::Select && summary.affected.is_some();
        let hides = Effects::OPAQUE | Effects::FOUND_ROWS | Effects::USER_VARIABLE;
        let may_count = work.verdict.class == Class::Write && summary.error.is_none();
        let counts_unseen =
            counts_too || may_count && !is_doubtful && (is_into || effects.intersects(hides));
        if counts_too || counts_unseen && !counts_rows {
            self.diagnostics.note_found_unseen();
        } else if counts_rows {
            self.diagnostics.note_found_there();
        }
        counts_rows
    }

    /// Whether `work` is a SHOW or DESCRIBE that has found no schema or table of the name: MariaDB
    /// then leaves ROW_COUNT() as it was (10.11).
    fn fails_in_dictionary(&self, work: &Work<'_>, summary: &Summary) -> bool {
        let is_missing = matches!(
            summary.error,
            Some(code::UNKNOWN_DATABASE | code::UNKNOWN_TABLE | code::NO_SUCH_TABLE)
        );
        if !is_missing || !self.facts.is_mariadb() || work.verdict.statements != 1 {
            return false;
        }
        sql::lists_rows(work.sql, self.mode)
    }

    /// Whether FOUND_ROWS() tells the rows that `work` has sent.
    fn counts_rows(&self, work: &Work<'_>, summary: &Summary) -> bool {
        let is_last = summary.affected.is_none() && summary.error.is_none();
        (work.verdict.statements <= 1 || is_last)
            && sql::counts_rows(work.sql, self.mode, work.verdict)
    }
}

/// Whether `work` is a DO, alone.
pub(super) fn is_do(work: &Work<'_>) -> bool {
    let is_run = matches!(work.command, Command::Query | Command::StmtExecute);
    is_run && work.verdict.statements == 1 && work.verdict.leading == Leading::Do
}

/// Whether `work` is a GET DIAGNOSTICS, alone.
fn gets_diagnostics(work: &Work<'_>) -> bool {
    let Verdict { class, leading, statements, .. } = *work.verdict;
    class == Class::Diagnostics && leading == Leading::Other && statements == 1
}
