//! What an answer may have left untold.

use crate::backend::Connection;
use crate::client::Session;
use crate::client::statement::Work;
use crate::protocol::Command;
use crate::protocol::response::Summary;
use crate::protocol::status::Status;
use crate::sql::{self, Class, Effects};
use crate::state::Pin;

impl Session {
    /// MariaDB tells a client without CLIENT_DEPRECATE_EOF that a result set has changed something,
    /// not what: for a read it is a function's doing, in a view or not. But any read changes what is
    /// tracked of a transaction, that of a SET TRANSACTION too; SHOW CREATE VIEW sets the view's own
    /// sql_mode for a moment, and a prepared statement the schema it was prepared in.
    pub(super) fn has_changed_untold(
        &self,
        work: &Work<'_>,
        summary: &Summary,
        tells_late: bool,
    ) -> bool {
        let is_open = tells_late || self.status.contains(Status::IN_TRANS);
        let in_transaction = !self.autocommit || is_open || self.pins.has(Pin::NextTransaction);
        let may_call = work.verdict.reason != sql::Reason::DictionaryRead && !self.moves(work);
        let is_read = work.verdict.class == Class::Read && may_call && !in_transaction;
        let may_have = is_read || work.verdict.effects.contains(Effects::OPAQUE);
        self.facts.is_mariadb() && summary.is_tracking_due && may_have
    }

    /// Whether what comes next may tell of what `work` has set.
    pub(super) fn note_untold(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) {
        let is_mariadb = self.facts.is_mariadb();
        let had_untold = connection.residue.has_untold;
        let is_silent = match summary.has_result_set {
            // MariaDB says that there is something to tell, MySQL does not.
            true => !connection.deprecates_eof() && (summary.is_tracking_due || !is_mariadb),
            false => summary.has_status && summary.affected.is_none(),
        } || summary.error.is_some();
        connection.note_told(summary);
        // On MySQL each OK packet tells all.
        let is_told = !summary.tracked.is_empty() || !is_mariadb && !is_silent;
        // Preparing sets them for a moment.
        let prepares_passing = work.command == Command::StmtPrepare
            && match is_mariadb {
                true => sql::mentions(work.sql, b"statement"),
                false => sql::has_set_var(work.sql),
            };
        connection.residue.has_untold = had_untold && !is_told
            || is_silent && !self.sets_none(work)
            || prepares_passing
            || work.verdict.effects.contains(Effects::SET_STATEMENT);
    }

    /// Whether `work` sets no variable by itself: what is told is the doing of a function in a view or
    /// of a trigger, which may have done more.
    pub(super) fn sets_none(&self, work: &Work<'_>) -> bool {
        let sets_none = match work.verdict.class {
            Class::Read => work.verdict.reason != sql::Reason::DictionaryRead,
            Class::Write => sql::changes_rows(work.sql, self.mode),
            _ => false,
        };
        sets_none
            && work.verdict.statements <= 1
            && !self.moves(work)
            && (self.facts.is_mariadb() || !sql::has_set_var(work.sql))
    }

    /// Whether an answer may have left untold that a SET TRANSACTION has had its transaction; on MySQL
    /// also that the schema was another one for a moment, which what comes next must not be taken for.
    pub(super) fn leaves_untold(
        &self,
        connection: &Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> bool {
        let may_have_begun = self.pins.has(Pin::NextTransaction) && !self.characteristics.outlive();
        if self.facts.is_mariadb() {
            return may_have_begun && summary.is_tracking_due;
        }
        let is_untold = summary.has_result_set && !connection.deprecates_eof();
        may_have_begun && is_untold
            || self.is_elsewhere(work) && (is_untold || summary.error.is_some())
    }
}
