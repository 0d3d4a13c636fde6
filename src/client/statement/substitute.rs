//! The session's own values, put into a text for functions that the connection it runs on would answer otherwise.

use super::may_stay_on_replica;
use super::route::is_system;
use crate::client::Session;
use crate::pool::Checkout;
use crate::sql::{Mode, Needs, Verdict};
use crate::state::prepared::StatementKey;

impl Session {
    /// The text with the session's own values for functions that another session's statements
    /// on the same connection would have changed.
    pub(super) fn substitute(&self, verdict: &Verdict, sql: &[u8]) -> Option<Vec<u8>> {
        let wanted = self.unknown_counts(verdict) | self.connection_id(verdict);
        self.put_values(sql, self.mode, wanted)
    }

    /// Whether CONNECTION_ID() in a text is the session's: not beside a server's own tables, which know
    /// connections by the ids that the server gave them.
    pub(in crate::client) fn connection_id(&self, verdict: &Verdict) -> Needs {
        let id = verdict.needs & Needs::CONNECTION_ID;
        let is_beside = || self.image.schema.as_deref().is_some_and(is_system);
        if !id.is_empty() && verdict.uses_table && is_beside() { Needs::empty() } else { id }
    }

    /// The same for a text that was prepared, with the session's id put in then.
    pub(in crate::client) fn substitute_in_prepared(
        &mut self,
        verdict: &Verdict,
        key: &StatementKey,
        mode: Mode,
    ) -> Option<Vec<u8>> {
        let mut wanted = self.unknown_counts(verdict);
        let life = self.life;
        let is_here = |held: &mut Checkout| {
            let statements = &held.connection().statements;
            statements.has(key) && !statements.is_of_other(key, life)
        };
        // Another text has to be prepared.
        let is_other = !wanted.is_empty();
        if verdict.needs.contains(Needs::ROW_COUNT)
            && verdict.statements <= 1
            && (is_other || !self.held.as_mut().is_some_and(is_here))
        {
            // After PREPARE a connection has another ROW_COUNT().
            wanted |= Needs::ROW_COUNT;
        }
        self.put_values(&key.sql, mode, wanted)
    }

    /// In a text that is read in `mode`.
    pub(in crate::client) fn put_values(
        &self,
        sql: &[u8],
        mode: Mode,
        wanted: Needs,
    ) -> Option<Vec<u8>> {
        if wanted.is_empty() {
            return None;
        }
        let values = self.diagnostics.substitution(self.entry.id);
        crate::sql::substitute(sql, mode, &values, wanted)
    }

    /// Of the counts that a text asks for, those that the connection it runs on would not know.
    fn unknown_counts(&self, verdict: &Verdict) -> Needs {
        let counts = Needs::ROW_COUNT | Needs::FOUND_ROWS | Needs::LAST_GTID;
        let mut wanted = verdict.needs & counts;
        // A connection knows of no list that is saved; MariaDB empties its own for a statement that
        // uses a table before that asks how long it was.
        let empties = self.facts.is_mariadb() && verdict.uses_table;
        if verdict.needs.contains(Needs::DIAGNOSTICS) && self.diagnostics.are_saved() && !empties {
            wanted |= Needs::DIAGNOSTICS;
        }
        if wanted.is_empty() {
            return wanted;
        }
        let leaves = self.held_on_replica() && !may_stay_on_replica(verdict);
        if self.held.is_some() && !leaves {
            // What the session holds knows better, as soon as anything has run on it.
            let held = &self.diagnostics;
            let known = [
                // Its own trackers, or a mark in the place of the list, are set in front of the statement.
                (
                    Needs::ROW_COUNT,
                    held.is_row_count_held()
                        && !verdict.needs.contains(Needs::TRACKERS)
                        && !self.may_end_list(verdict),
                ),
                (Needs::FOUND_ROWS, held.is_found_rows_held()),
                (Needs::LAST_GTID, held.is_gtid_held),
            ];
            known.iter().filter(|(_, is_held)| *is_held).for_each(|&(need, _)| wanted -= need);
        }
        wanted
    }
}
