//! Statements of a transaction on a replica that are refused there: the replica may not have yet what they name, or
//! what allows them. They are tried on the primary, to which the transaction moves.

use super::execute::chooses_schema;
use super::recover::Recovered;
use super::{Attempt, Work};
use crate::client::Session;
use crate::error::Error;
use crate::pool::Checkout;
use crate::protocol::code;
use crate::sql::{Class, Needs};

/// Which refusals of a statement have its transaction move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Moves {
    /// None: it is in no transaction on a replica, or moves with a loss.
    Never,
    /// What tells of a privilege that the primary may have given. What was read before has to be seen again otherwise.
    IfDenied,
    /// The same, and what tells of something that the replica has not had yet.
    IfLacking,
    /// Any: nothing was read yet.
    Always,
}

impl Moves {
    /// Whether it moves after this error.
    pub(super) fn after(self, error: u16) -> bool {
        match self {
            Self::Never => false,
            Self::IfDenied => DENIED.contains(&error),
            Self::IfLacking => DENIED.contains(&error) || LACKING.contains(&error),
            Self::Always => true,
        }
    }
}

/// What a server says that has not the privilege, or the account; or that is just about to change the table.
const DENIED: [u16; 10] = [
    code::DBACCESS_DENIED,
    code::TABLEACCESS_DENIED,
    code::COLUMNACCESS_DENIED,
    code::SPECIFIC_ACCESS_DENIED,
    code::PROCACCESS_DENIED,
    code::NO_SUCH_USER,
    code::NONEXISTING_GRANT,
    code::NONEXISTING_TABLE_GRANT,
    code::NONEXISTING_PROC_GRANT,
    code::SKIPPED_TABLE,
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
        let is_tried = work.verdict.class == Class::Read || chooses_schema(work);
        let is_bound = !self.pins.is_empty() || work.verdict.needs.intersects(own);
        match is_tried && !is_bound {
            false => Moves::Never,
            true if self.has_snapshot && self.keeps_snapshot() => match self.may_lack() {
                true => Moves::IfLacking,
                false => Moves::IfDenied,
            },
            true => Moves::Always,
        }
    }

    /// Whether the replica that the session holds may not have all that its scope has written.
    fn may_lack(&self) -> bool {
        let Some(held) = &self.held else { return false };
        let (view, token) = (self.context.topology.view(), self.writes.token());
        let has_all = view
            .replica(held.pool().backend())
            .is_some_and(|replica| token.is_covered_by(&replica.applied));
        !has_all || token.is_unknown()
    }

    /// A statement was refused on the replica that the session holds: its transaction moves.
    pub(super) async fn move_refused(&mut self, mut held: Checkout, work: &Work<'_>) -> Recovered {
        self.context.metrics.sessions.replica_retries.inc();
        // The error is in its list.
        held.connection().residue.is_dirty = true;
        self.held = Some(held);
        let is_given_up = self.is_given_up_without_client(work);
        match Box::pin(self.move_to_primary(is_given_up)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.refuse(work, &error).await),
            Err(stop) => Some(Err(stop)),
        }
    }
}

impl Attempt {
    /// Whether a refusal before the statement was sent is one that has the transaction move.
    pub(super) fn moves_after(&self, refused: &Error) -> bool {
        matches!(refused, Error::Server { code, .. } if self.moves.after(*code))
    }
}
