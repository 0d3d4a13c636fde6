//! Statements of a transaction on a replica that are refused there: the replica may not have yet what they name, or
//! what allows them. They are tried on the primary, to which the transaction moves.

use super::execute::chooses_schema;
use super::recover::Recovered;
use super::{Attempt, Work};
use crate::client::Session;
use crate::error::Error;
use crate::pool::Checkout;
use crate::protocol::code;
use crate::sql::{Class, Leading, Needs, Snapshot};

/// Which refusals of a statement have its transaction move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Moves {
    /// None: it is in no transaction on a replica, or moves with a loss.
    Never,
    /// What replicas say for reasons of their own. What was read before has to be seen again otherwise.
    IfOwn,
    /// The same, and what tells of a privilege that the replica has not had yet.
    IfDenied,
    /// The same, and what tells of anything else that it has not had yet.
    IfLacking,
    /// Any: nothing was read yet.
    Always,
}

impl Moves {
    /// Whether it moves after this error.
    pub(super) fn after(self, error: u16) -> bool {
        match self {
            Self::Never => false,
            Self::IfOwn => OWN.contains(&error),
            Self::IfDenied => DENIED.contains(&error) || Self::IfOwn.after(error),
            Self::IfLacking => LACKING.contains(&error) || Self::IfDenied.after(error),
            Self::Always => true,
        }
    }
}

/// What a server says that is just about to change the table; or where the tables of zones were not loaded.
const OWN: [u16; 2] = [code::SKIPPED_TABLE, code::UNKNOWN_TIME_ZONE];

/// What one says that has not the privilege, or the account.
const DENIED: [u16; 9] = [
    code::DBACCESS_DENIED,
    code::TABLEACCESS_DENIED,
    code::COLUMNACCESS_DENIED,
    code::SPECIFIC_ACCESS_DENIED,
    code::PROCACCESS_DENIED,
    code::NO_SUCH_USER,
    code::NONEXISTING_GRANT,
    code::NONEXISTING_TABLE_GRANT,
    code::NONEXISTING_PROC_GRANT,
];

/// What one says that has not the thing.
const LACKING: [u16; 11] = [
    code::UNKNOWN_DATABASE,
    code::UNKNOWN_TABLE,
    code::NO_SUCH_TABLE,
    code::SP_DOES_NOT_EXIST,
    code::BAD_FIELD,
    code::KEY_DOES_NOT_EXIST,
    code::FT_MATCHING_KEY_NOT_FOUND,
    code::VIEW_NO_EXPLAIN,
    code::WRONG_OBJECT,
    code::VIEW_INVALID,
    code::UNKNOWN_PARTITION,
];

impl Session {
    /// Which refusals of `work` have the transaction move that the session holds on a replica.
    pub(super) fn moves_when_refused(&self, work: &Work<'_>) -> Moves {
        if !self.held_on_replica() {
            return Moves::Never;
        }
        // The text was written for the connection that knows these.
        let own = Needs::ROW_COUNT | Needs::FOUND_ROWS | Needs::LAST_GTID | Needs::DIAGNOSTICS;
        let is_tried = work.verdict.class == Class::Read || chooses_schema(work) || is_set(work);
        let is_bound = !self.pins.is_empty() || work.verdict.needs.intersects(own);
        match is_tried && !is_bound {
            false => Moves::Never,
            true if self.kept_snapshot() != Snapshot::None => self.moves_with_snapshot(),
            true => Moves::Always,
        }
    }

    /// The same of a transaction that has read: what the primary would refuse as well must not cost its snapshot. So it
    /// moves only for what its scope has written, and for changes of accounts, that the replica may not have.
    fn moves_with_snapshot(&self) -> Moves {
        let Some(held) = &self.held else { return Moves::Never };
        let (view, token) = (self.context.topology.view(), self.writes.needs());
        let backend = held.pool().backend();
        match view.replica(backend) {
            Some(it) if token.is_covered_by(&it.applied) => {
                match self.has_logins(self.context.epochs.logins(), backend, it.generation) {
                    true => Moves::IfOwn,
                    false => Moves::IfDenied,
                }
            }
            _ => Moves::IfLacking,
        }
    }

    /// A statement was refused on the replica that the session holds: its transaction moves.
    pub(super) async fn move_refused(&mut self, mut held: Checkout, work: &Work<'_>) -> Recovered {
        self.context.metrics.sessions.replica_retries.inc();
        let residue = &mut held.connection().residue;
        // A SET may have set something before it failed.
        residue.is_astray |= is_set(work);
        // The error is in its list.
        residue.is_dirty = true;
        if std::mem::take(&mut self.diagnostics.are_on_connection) {
            // The session's list was there, and now that of what was refused is.
            self.diagnostics.end_list();
        }
        self.held = Some(held);
        let is_given_up = self.is_given_up_without_client(work);
        match Box::pin(self.move_to_primary(is_given_up)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.refuse(work, &error).await),
            Err(stop) => Some(Err(stop)),
        }
    }
}

fn is_set(work: &Work<'_>) -> bool {
    work.verdict.class == Class::Session && work.verdict.leading == Leading::Set
}

impl Attempt {
    /// Whether a refusal before the statement was sent is one that has the transaction move.
    pub(super) fn moves_after(&self, refused: &Error) -> bool {
        matches!(refused, Error::Server { code, .. } if self.moves.after(*code))
    }
}
