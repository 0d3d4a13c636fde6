//! Which backend a statement goes to, and why. Pure: no socket, no clock.
//!
//! Law: unsure means primary. A statement leaves the primary only when its verdict is a read and
//! the session is in no state in which the answer of a replica could differ: no transaction, no
//! `autocommit=0`, no isolation level of a server's own, nothing written that the replica has not applied.

mod choice;
pub mod flights;
pub mod freshness;
pub mod scopes;
pub mod token;
pub mod view;
pub mod whereabouts;

pub use choice::in_use_by_others;

use crate::config::settings::Consistency;
use crate::sql::{self, Class, RouteHint, Verdict};

use freshness::Position;
use token::Token;
use view::{BackendId, ReplicaView, Rotation, View};

/// Where a statement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The primary.
    Primary,
    /// A replica.
    Replica(BackendId),
}

/// Why it goes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Because of what the statement is.
    Statement(sql::Reason),
    /// `routing.replica_reads` is off, or the consistency is `strong`.
    Configured,
    /// No replica is in rotation.
    NoReplica,
    /// No replica has applied what the session itself has written last, or what was done to accounts before it
    /// began.
    NotFresh,
    /// No replica has applied what another session of the same scope has written last.
    OthersNotFresh,
    /// Something was written, or may have been seen on the primary, whose position in the binary log is not known.
    UnknownPosition,
    /// autocommit is off.
    AutocommitOff,
    /// The session's isolation level is serializable.
    Serializable,
    /// The session reads what is not committed, which no replica has.
    ReadUncommitted,
    /// A comment hint.
    Hint,
    /// The session is in a transaction.
    Transaction,
    /// The session is pinned.
    Pinned,
    /// A replica failed or refused, and the primary is asked instead.
    ReplicaFailed,
    /// Answered by Fairlane itself.
    Local,
}

impl Reason {
    const OWN: [(Self, &'static str); 13] = [
        (Self::Configured, "configured"),
        (Self::NoReplica, "no_replica"),
        (Self::NotFresh, "not_fresh"),
        (Self::OthersNotFresh, "others_not_fresh"),
        (Self::UnknownPosition, "unknown_position"),
        (Self::AutocommitOff, "autocommit_off"),
        (Self::Serializable, "serializable"),
        (Self::ReadUncommitted, "read_uncommitted"),
        (Self::Hint, "route_hint"),
        (Self::Transaction, "transaction"),
        (Self::Pinned, "pinned"),
        (Self::ReplicaFailed, "replica_failed"),
        (Self::Local, "local"),
    ];

    /// Metric labels by [`Reason::index`].
    pub fn labels() -> Vec<&'static str> {
        let statement = sql::Reason::ALL.iter().map(|reason| reason.label());
        statement.chain(Self::OWN.iter().map(|(_, label)| *label)).collect()
    }

    /// Dense index for metrics.
    pub fn index(self) -> usize {
        match self {
            Self::Statement(reason) => reason as usize,
            own => {
                let at = Self::OWN.iter().position(|(known, _)| *known == own).unwrap_or(0);
                sql::Reason::ALL.len() + at
            }
        }
    }

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Statement(reason) => reason.label(),
            own => Self::OWN.iter().find(|(known, _)| *known == own).map_or("", |(_, label)| label),
        }
    }
}

/// What the isolation level of a session means for its reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// They see what transactions have not committed yet.
    Uncommitted,
    /// They see what is committed, and lock nothing.
    Committed,
    /// They lock what they read.
    Serializable,
}

impl Isolation {
    /// Of a level as servers write it, such as `REPEATABLE-READ`.
    pub fn of(level: &str) -> Self {
        if level.eq_ignore_ascii_case("read-uncommitted") {
            Self::Uncommitted
        } else if level.eq_ignore_ascii_case("serializable") {
            Self::Serializable
        } else {
            Self::Committed
        }
    }
}

/// What routing needs to know of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionView<'a> {
    /// autocommit is on.
    pub autocommit: bool,
    /// Its isolation level.
    pub isolation: Isolation,
    /// Its id.
    pub id: u32,
    /// What it has to see: what the sessions of its scope have written.
    pub token: &'a Token,
    /// It has itself written something that no replica will ever have, as it seems.
    pub is_unlogged: bool,
    /// It may have seen, on the primary, what the token does not have yet.
    pub has_seen_more: bool,
    /// The replica that it has read from last.
    pub last: Option<BackendId>,
}

/// A decision and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Where to.
    pub target: Target,
    /// Why.
    pub reason: Reason,
    /// A replica that would do once it has caught up.
    pub awaited: Option<BackendId>,
    /// For a replica: the generation of the connections that it holds for, see [`whereabouts`].
    pub generation: u16,
}

impl Decision {
    /// For the primary.
    pub fn primary(reason: Reason) -> Self {
        Self { target: Target::Primary, reason, awaited: None, generation: 0 }
    }

    /// For a replica as it is known.
    pub fn replica(replica: &ReplicaView, reason: Reason) -> Self {
        let (target, generation) = (Target::Replica(replica.backend), replica.generation);
        Self { target, reason, awaited: None, generation }
    }
}

/// Decides for a session that holds no connection. `in_use` tells how busy a backend is.
pub fn decide(
    verdict: &Verdict,
    session: SessionView<'_>,
    policy: Consistency,
    view: &View,
    in_use: impl Fn(BackendId) -> usize,
) -> Decision {
    let primary = Decision::primary;
    let is_candidate = match verdict.class {
        Class::Read | Class::Begin { read_only: true } => true,
        Class::Write
        | Class::Begin { read_only: false }
        | Class::Commit
        | Class::Rollback
        | Class::Session
        | Class::Diagnostics
        | Class::Kill { .. } => false,
    };
    if !is_candidate {
        return primary(Reason::Statement(verdict.reason));
    }
    if verdict.hint.route == Some(RouteHint::Primary) {
        return primary(Reason::Hint);
    }
    if policy == Consistency::Strong {
        return primary(Reason::Configured);
    }
    if !session.autocommit {
        return primary(Reason::AutocommitOff);
    }
    match session.isolation {
        Isolation::Uncommitted => return primary(Reason::ReadUncommitted),
        Isolation::Serializable => return primary(Reason::Serializable),
        Isolation::Committed => {}
    }
    let in_rotation = || view.replicas.iter().filter(|replica| replica.rotation == Rotation::In);
    let needs_fresh =
        policy == Consistency::Session && verdict.hint.route != Some(RouteHint::Replica);
    let token = session.token;
    let is_nowhere = token.is_unknown() || token.is_unlogged() || session.is_unlogged;
    if needs_fresh && (is_nowhere || session.has_seen_more) {
        return primary(Reason::UnknownPosition);
    }
    let is_fresh = |applied: &Position| !needs_fresh || token.is_covered_by(applied);
    let fresh = in_rotation().filter(|replica| is_fresh(&replica.applied));
    let in_use = |replica: &ReplicaView| in_use(replica.backend);
    let is_last = |replica: &ReplicaView| session.last == Some(replica.backend);
    match choice::less_busy(fresh, &in_use, is_last) {
        Some(replica) => Decision::replica(replica, Reason::Statement(verdict.reason)),
        None => match choice::less_busy(in_rotation(), &in_use, is_last) {
            Some(behind) => {
                let reason = match token.is_of_another(session.id) {
                    true => Reason::OthersNotFresh,
                    false => Reason::NotFresh,
                };
                Decision { awaited: Some(behind.backend), ..primary(reason) }
            }
            None => primary(Reason::NoReplica),
        },
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
