//! What a routine has left on a connection, and nobody told.

use super::Session;
use super::statement::Work;
use crate::backend::{Connection, Failure, Ran};
use crate::protocol::Command;
use crate::sql::Effects;
use crate::state::Pin;

impl Session {
    /// What `work` is about to run on its connection.
    pub(super) fn note_ran(&self, connection: &mut Connection, work: &Work<'_>) {
        let calls = work.verdict.effects.contains(Effects::OPAQUE);
        if calls && work.command != Command::StmtPrepare && !self.facts.is_mariadb {
            connection.ran = connection.ran.max(Ran::Function);
        }
    }

    /// Asks what a routine has left, before its connection goes to another session; the warnings and counts of
    /// its statement have been read.
    pub(super) async fn settle_routine(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        self.diagnostics.is_row_count_held = false;
        self.diagnostics.is_found_rows_held = false;
        // MariaDB flags a SET ROLE as a change of state.
        if !self.facts.is_mariadb && connection.has_other_role().await? {
            self.pins.add(Pin::Role);
            return Ok(());
        }
        connection.ran = Ran::Plain;
        Ok(())
    }
}
