//! What views and triggers may leave on a connection behind the back of their statement: tables for its session
//! alone. A server flags them as a change of state, but not beside what flags one anyway (a variable that is set for one
//! statement, a schema that is chosen for it), nor in an ERR packet, nor where a result ends with an EOF packet. So such
//! a connection is in doubt: before another session gets it, the server's counter of such tables is asked.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::writes::comes_first;
use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::{Command, code};
use crate::sql::{Effects, Leading, TableName, tables_read};
use crate::state::Pin;

/// For how long a name is known to be that of a table: a view may take its place past this Fairlane.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Most names remembered.
const KNOWN_MAX: usize = 10_000;

/// What was seen of a name.
#[derive(Clone, Copy)]
struct Seen {
    is_table: bool,
    /// The changes of tables before that.
    epoch: u64,
    at: Instant,
}

/// What bears which name, a table or a view; the schema and a zero are in front of the name.
pub struct Tables(Cache<Box<[u8]>, Seen>);

impl Default for Tables {
    fn default() -> Self {
        Self(Cache::new(KNOWN_MAX))
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("len", &self.0.len()).finish()
    }
}

/// Whether `work` may run functions or triggers that it does not name.
fn may_run_hidden(work: &Work<'_>) -> bool {
    let is_run =
        matches!(work.command, Command::Query | Command::StmtExecute | Command::StmtBulkExecute);
    // SHOW reads tables in its WHERE alone.
    let names_none = work.verdict.leading == Leading::Show && !work.sql.contains(&b'(');
    is_run && (work.verdict.uses_table || work.verdict.statements > 1) && !names_none
}

/// Whether `work`, which has flagged a change that it does not hide, may hide another one behind it. What makes a table
/// for its session flags none where that gets the rows of a query.
pub(super) fn may_hide_more(work: &Work<'_>, is_own: bool) -> bool {
    may_run_hidden(work)
        && (!is_own || work.verdict.effects.contains(Effects::COUNTS_ROWS))
        && !work.verdict.effects.contains(Effects::SCHEMA_DEFAULTS)
}

impl Session {
    /// Notes what `work` may have left on its connection that its answer has not told.
    pub(super) fn note_unseen(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) {
        self.under_way.is_unread = false;
        let effects = work.verdict.effects;
        let defines = !self.facts.is_mariadb() && effects.contains(Effects::IMPLICIT_COMMIT);
        connection.residue.has_own_tables |= defines || effects.contains(Effects::TEMPORARY_TABLE);
        if effects.contains(Effects::OPAQUE) || !may_run_hidden(work) {
            return;
        }
        if let Some(code) = summary.error {
            connection.residue.is_in_doubt |= !comes_first(code) && code != code::NO_SUCH_TABLE;
            return;
        }
        if !summary.has_result_set || connection.deprecates_eof() {
            return;
        }
        // MariaDB flags that there is something to tell, of reads in a transaction always, and here of the last of
        // several results.
        let is_silent = summary.is_tracking_due || work.verdict.statements > 1;
        if self.facts.is_mariadb() && !is_silent {
            return;
        }
        match self.reads_tables(work) {
            Some(true) => {}
            // A client that is told of its transaction's reads would be told of the question.
            None if self.teller.is_none() => self.under_way.is_unread = true,
            _ => connection.residue.is_in_doubt = true,
        }
    }

    /// Whether all that `work` reads are tables; `None` where some of it is yet to be asked for.
    fn reads_tables(&self, work: &Work<'_>) -> Option<bool> {
        let Some(names) = self.names_read(work) else { return Some(false) };
        let epoch = self.context.epochs.tables();
        let mut is_known = true;
        for (schema, name) in names {
            match self.context.tables.0.get(&*key(schema, name)) {
                Some(seen) if seen.epoch == epoch && seen.at.elapsed() < KNOWN_FOR => {
                    if !seen.is_table {
                        return Some(false);
                    }
                }
                _ => is_known = false,
            }
        }
        is_known.then_some(true)
    }

    /// The plain names of what `work` reads, all behind their schemas.
    fn names_read<'a>(&'a self, work: &Work<'a>) -> Option<Vec<(&'a [u8], &'a [u8])>> {
        if work.verdict.statements != 1 {
            return None;
        }
        let own = match &work.prepared {
            Some(prepared) => self.statements.get(prepared.id)?.image.schema.as_deref(),
            None => self.image.schema.as_deref(),
        };
        let is_plain =
            |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let whole = |(schema, name): TableName<'a>| {
            let schema = schema.or_else(|| own.map(str::as_bytes))?;
            (is_plain(schema) && is_plain(name)).then_some((schema, name))
        };
        tables_read(work.sql, self.mode_of(work))?.into_iter().map(whole).collect()
    }

    /// Asks what is not known of what `work` has read, and what a connection that nothing keeps may have got by it.
    pub(super) async fn settle_hidden(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        keeps: bool,
    ) -> Result<(), Failure> {
        if self.under_way.is_unread {
            self.learn_what_was_read(connection, work).await?;
        }
        let residue = &connection.residue;
        let may_have_tables = residue.is_in_doubt || residue.has_own_tables;
        match may_have_tables && !keeps && self.pins.is_empty() {
            true => self.settle_doubt(connection).await,
            false => Ok(()),
        }
    }

    /// Asks which of the names that `work` reads are tables.
    async fn learn_what_was_read(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        self.diagnostics.disturb(Disturbs::Both);
        let names = self.names_read(work).unwrap_or_default();
        for (schema, name) in names {
            let key = key(schema, name);
            let epoch = self.context.epochs.tables();
            let is_known = |seen: Seen| seen.epoch == epoch && seen.at.elapsed() < KNOWN_FOR;
            if self.context.tables.0.get(&*key).is_some_and(is_known) {
                continue;
            }
            let text = String::from_utf8_lossy;
            let is_table = connection.is_table(&text(schema), &text(name)).await?;
            let seen = Seen { is_table, epoch, at: Instant::now() };
            self.context.tables.0.insert(key.into(), seen);
        }
        connection.residue.is_in_doubt |= self.reads_tables(work) != Some(true);
        Ok(())
    }

    /// Asks whether tables for the session alone have been made on a connection that nothing else keeps.
    async fn settle_doubt(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        self.diagnostics.disturb(Disturbs::Both);
        let made = connection.count_tables_made(self.facts.family).await?;
        let residue = &mut connection.residue;
        let is_new = made != Some(residue.tables_made);
        if residue.is_in_doubt && is_new {
            self.pins.add(Pin::StateChanged);
        }
        residue.tables_made = made.unwrap_or(residue.tables_made);
        (residue.is_in_doubt, residue.has_own_tables) = (false, false);
        Ok(())
    }
}

fn key(schema: &[u8], name: &[u8]) -> Vec<u8> {
    [schema, &[0], name].concat()
}
