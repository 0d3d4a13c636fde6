//! The privileges on a session's schema: as of its last choice of that, on whatever connection.
//!
//! FACT(mariadb 10.11, mysql 9.7): a server gives a session its privileges on a schema when it is chosen, be
//! it the same one again, and keeps them until the next choice; test:
//! `a_choice_of_the_schema_renews_the_privileges_on_all_connections`.

use std::time::Duration;

use tokio::time::Instant;

use crate::backend::{Choice, Connection, Failure};
use crate::client::Session;
use crate::protocol::{Command, code};
use crate::state::diff::Diff;

/// Least time between choices of a connection for privileges that may have been changed past Fairlane: there are
/// applications in which each session begins with USE.
const SPACING: Duration = Duration::from_secs(1);

impl Session {
    /// The changes of privileges that those of the session on its schema come after.
    pub(in crate::client) fn privileges_epoch(&self) -> u64 {
        self.choice.map_or(self.epoch, |choice| self.epoch.max(choice.epoch))
    }

    /// The session has chosen its schema on this connection.
    pub(in crate::client) fn note_own_choice(&mut self, connection: &mut Connection) {
        let epoch = match connection.base.only_reads {
            // It may not have had the last changes yet.
            true => self.epoch,
            false => self.under_way.epoch,
        };
        let choice = Choice { at: Instant::now(), epoch };
        self.choice = Some(choice);
        connection.choice = Some(choice);
    }

    /// A connection is to be given a schema by `diff`. A replica's has what the session had to find there.
    pub(super) fn note_choice(&self, connection: &mut Connection, diff: &Diff) {
        if diff.schema.is_some() {
            let epoch = self.privileges_epoch().max(connection.epoch);
            connection.choice = Some(Choice { at: Instant::now(), epoch });
        }
    }

    /// Whether a connection at rest may have other privileges on the session's schema than the session: it
    /// has chosen that before the session did.
    pub(super) fn is_choice_old(&self, connection: &Connection) -> bool {
        let Some(own) = &self.choice else { return false };
        let is_as_of = connection.choice.is_some_and(|here| here.is_as_of(own));
        if is_as_of || self.image.schema.is_none() || connection.image.schema != self.image.schema {
            return false;
        }
        let lacks_known = connection.choice.is_none_or(|here| here.epoch < own.epoch);
        let is_due = || connection.renewed_at.is_none_or(|at| at.elapsed() >= SPACING);
        !connection.is_restricted && (lacks_known || is_due())
    }

    /// Chooses the session's schema once more on a connection that is in it.
    pub(super) async fn renew_choice(&self, connection: &mut Connection) -> Result<(), Failure> {
        let Some(schema) = self.image.schema.clone() else { return Ok(()) };
        let epoch = self.privileges_epoch().max(connection.epoch);
        let choice = Choice { at: Instant::now(), epoch };
        let chosen = connection.command(Command::InitDb, schema.as_bytes()).await?;
        connection.renewed_at = Some(choice.at);
        match chosen.summary.error {
            None => {
                connection.image.schema = Some(schema);
                connection.image.unset_collation();
                connection.choice = Some(choice);
            }
            Some(error) => {
                connection.residue.is_dirty = true;
                // A session that has chosen it before goes on in it.
                if matches!(error, code::DBACCESS_DENIED | code::UNKNOWN_DATABASE) {
                    connection.choice = Some(choice);
                }
            }
        }
        if connection.residue.is_dirty {
            connection.clean().await?;
        }
        Ok(())
    }
}
