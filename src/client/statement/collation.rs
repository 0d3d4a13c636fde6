//! The collation that a client's reset leaves: the server's own in the place of the schema's, which stays chosen.
//! `LOAD DATA` reads files by it, `SET CHARACTER SET` takes it over.
//!
//! FACT(mariadb 10.11, mysql 9.7): it is so until a schema is chosen again, be it the same one, and an
//! account of MySQL may need a privilege to set it. So a connection is given it by a reset; test:
//! `a_reset_leaves_the_servers_collation_in_the_place_of_the_schemas`.

use std::time::Duration;

use quick_cache::sync::Cache;

use super::Work;
use crate::backend::{Connection, Failure, Reset};
use crate::client::Session;
use crate::protocol::Command;
use crate::sql::alters_schema;

/// Most schemas of which the collation is known.
const SCHEMAS_MAX: usize = 1_000;

/// A reset takes over the global value, which need not be that of `collation_server`.
const OWN: &str = "SELECT @@collation_database = @@global.collation_database LIMIT 1";

/// How long it is known: somebody may change it on the server itself.
const AGE_MAX: Duration = Duration::from_secs(60);

/// The collations of schemas: most have the server's own, and a reset changes nothing there.
#[derive(Debug)]
pub struct Collations(Cache<Box<str>, Known>);

#[derive(Debug, Clone)]
struct Known {
    is_servers: bool,
    /// Changes of schemas before it was asked for.
    epoch: u64,
    since: Duration,
}

impl Default for Collations {
    fn default() -> Self {
        Self(Cache::new(SCHEMAS_MAX))
    }
}

impl Session {
    /// Gives a connection at rest the server's own collation, where a reset has left the session that.
    pub(super) async fn leave_collation(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        if !self.image.has_servers_collation() || connection.is_restricted {
            return Ok(());
        }
        let Some(schema) = self.image.schema.clone() else { return Ok(()) };
        let is_there = |connection: &Connection| connection.image.schema == self.image.schema;
        if is_there(connection) && connection.image.has_servers_collation() {
            return Ok(());
        }
        if self.has_servers_collation(&schema) == Some(true) {
            self.image.unset_collation();
            return Ok(());
        }
        connection.read_unread().await?;
        if !is_there(connection) {
            let chosen = connection.command(Command::InitDb, schema.as_bytes()).await?;
            if chosen.summary.error.is_some() {
                // The session is told so when it is tried again.
                connection.residue.is_dirty = true;
                return Ok(());
            }
            connection.image.schema = Some(schema.clone());
            connection.image.unset_collation();
        }
        // A replica may have another one still, which is nobody's to remember.
        if self.has_servers_collation(&schema).is_none() && !connection.base.only_reads {
            self.image.unset_collation();
            let asked = self.ask_for_collation(connection, &schema).await;
            // Also for whoever takes another connection after this one was lost.
            self.image.set_servers_collation();
            asked?;
            if self.has_servers_collation(&schema) == Some(true) {
                self.image.unset_collation();
                return Ok(());
            }
        }
        match connection.reset(self.facts.family).await? {
            Reset::Clean => Ok(()),
            Reset::KeepsRole | Reset::KeepsTexts | Reset::Refused => {
                Err(std::io::Error::other("a connection could not be reset").into())
            }
        }
    }

    /// An ALTER DATABASE of the chosen schema gives the session its new defaults at once.
    pub(in crate::client) fn note_altered_schema(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) {
        let Some(schema) = self.image.schema.as_deref() else { return };
        if alters_schema(work.sql, self.mode, schema) {
            self.image.unset_collation();
            connection.image.unset_collation();
        }
    }

    /// Whether the schema has the collation of the server, as far as that is known.
    fn has_servers_collation(&self, schema: &str) -> Option<bool> {
        let known = self.context.collations.0.get(schema)?;
        let is_old = self.context.now().saturating_sub(known.since) > AGE_MAX;
        if is_old || known.epoch != self.context.epochs.schemas() {
            return None;
        }
        Some(known.is_servers)
    }

    async fn ask_for_collation(
        &self,
        connection: &mut Connection,
        schema: &str,
    ) -> Result<(), Failure> {
        let (epoch, since) = (self.context.epochs.schemas(), self.context.now());
        self.choose_schema_anew(connection).await?;
        let answer = connection.set_aside(OWN).await?;
        if let Some(equal) = answer.first_row().pop() {
            let known = Known { is_servers: equal == "1", epoch, since };
            self.context.collations.0.insert(schema.into(), known);
        }
        Ok(())
    }
}
