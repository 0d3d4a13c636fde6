//! Prepared statements that describe a table (SHOW COLUMNS, SHOW INDEX, DESCRIBE) on MySQL: which
//! table they describe, a temporary one or the other of its name, was decided when they were
//! prepared, and is not decided again. Other statements are prepared anew by the server itself.

use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::statement::{PreparedWork, Work};
use crate::sql::{Effects, Reason, Verdict};
use crate::state::Pin;

impl Session {
    /// Before a temporary table may come: what describes the other table of its name from before has
    /// to be prepared on its connection while it still does.
    pub(in crate::client) async fn prepare_descriptions(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        let effects = Effects::TEMPORARY_TABLE | Effects::OPAQUE;
        let may_come = work.verdict.effects.intersects(effects) && !self.facts.is_mariadb();
        if !may_come || self.has_temporary_tables() {
            return Ok(());
        }
        let mut missing = Vec::new();
        for (id, statement) in self.statements.all() {
            if describes(&statement.verdict) && !connection.statements.has(&statement.key) {
                missing.push((id, statement.key.clone()));
            }
        }
        for (id, key) in missing {
            let described = PreparedWork { id, key, payload: &[], told_id: None };
            // What can't be prepared now says so when it is executed.
            let prepared = self.prepare_here(connection, &described, work);
            let _refused = Box::pin(prepared).await?;
        }
        Ok(())
    }

    /// A statement has been prepared: if it describes a temporary table, it does for good, and here
    /// alone.
    pub(in crate::client) fn pin_description(&mut self, work: &Work<'_>) {
        if describes(work.verdict) && !self.facts.is_mariadb() && self.has_temporary_tables() {
            self.pins.add(Pin::StateChanged);
        }
    }

    /// Whether there may be temporary tables.
    fn has_temporary_tables(&self) -> bool {
        self.pins.has(Pin::TemporaryTable) || self.pins.has(Pin::StateChanged)
    }
}

fn describes(verdict: &Verdict) -> bool {
    verdict.reason == Reason::DictionaryRead
}
