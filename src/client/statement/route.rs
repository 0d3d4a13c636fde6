//! Where a session's statement goes: what it is, what the session has to see, what replicas have.

use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use crate::client::Session;
use crate::config::settings::Consistency;
use crate::protocol::response::Summary;
use crate::protocol::status::Status;
use crate::protocol::{Command, Family};
use crate::route::freshness::Position;
use crate::route::view::{BackendId, ReplicaView};
use crate::route::{self, Decision, Isolation, Reason, SessionView, Target};
use crate::sql::{Class, Reason as SqlReason, RouteHint, Snapshot, Verdict, mentions, snapshot_of};
use crate::state::transaction_names;
use crate::topology::ISOLATION;

/// Longest wait for a replica to which a cursor or the like binds the session.
const PINNED_WAIT: Duration = Duration::from_secs(1);

impl Session {
    /// Where a statement goes when the session holds nothing.
    pub(in crate::client) async fn decide(
        &self,
        verdict: &Verdict,
        may_use_replica: bool,
    ) -> Decision {
        if !may_use_replica {
            return Decision::primary(Reason::ReplicaFailed);
        }
        let routing = &self.context.settings.routing;
        let policy = if routing.replica_reads { routing.consistency } else { Consistency::Strong };
        if verdict.class == Class::Read && self.image.schema.as_deref().is_some_and(is_system) {
            return Decision::primary(Reason::Statement(SqlReason::SystemSchema));
        }
        let level = self.isolation().or_else(|| self.facts.variable(ISOLATION));
        let isolation = Isolation::of(level.unwrap_or_default());
        let topology = &self.context.topology;
        let context = &self.context;
        let in_use = |backend: BackendId| {
            let pool = context.pool(backend);
            let lacks_beginning = || {
                let generation = topology.view().replica(backend).map(|it| it.generation);
                generation.is_some_and(|it| !self.finds_its_beginning(backend, it))
            };
            match pool.is_avoided() || pool.refuses(&self.identity.key) || lacks_beginning() {
                true => usize::MAX,
                false if self.last_replica == Some(backend) => {
                    route::in_use_by_others(pool.in_use(), pool.slots())
                }
                false => pool.in_use(),
            }
        };
        let has_seen_more = self.writes.has_seen_more();
        let decide = || {
            let token = self.writes.needs();
            let session = SessionView {
                autocommit: self.has_autocommit(),
                isolation,
                id: self.entry.id,
                token: &token,
                is_unlogged: self.writes.is_unlogged(),
                has_seen_more,
                last: self.last_replica,
            };
            route::decide(verdict, session, policy, &topology.view(), in_use)
        };
        let mut decision = decide();
        let may_settle = decision.reason == Reason::UnknownPosition || decision.awaited.is_some();
        if may_settle && self.writes.settle() {
            decision = decide();
        }
        if let Target::Replica(backend) = decision.target {
            if !self.finds_its_beginning(backend, decision.generation) {
                return Decision::primary(Reason::NotFresh);
            }
            if !context.pool(backend).may_try() {
                return Decision::primary(Reason::NoReplica);
            }
        }
        let Some(awaited) = decision.awaited else { return decision };
        if context.pool(awaited).is_out_of_reach() {
            return Decision { awaited: None, ..decision };
        }
        let limit = routing.freshness_wait;
        if limit.is_zero() {
            topology.fresh_wanted(self.writes.needs().position());
            self.context.metrics.sessions.freshness_primary.inc();
            return decision;
        }
        let position = self.writes.needs().position().clone();
        let began = Instant::now();
        let is_fresh = Box::pin(self.wait_applied(awaited, &position, limit)).await;
        let waited = began.elapsed().as_secs_f64();
        self.context.metrics.sessions.freshness_wait_seconds.observe(waited);
        let view = topology.view();
        // It may be another one by now, which has not.
        let has_it = |replica: &&ReplicaView| {
            is_fresh
                && replica.applied.covers(&position)
                && self.finds_its_beginning(awaited, replica.generation)
        };
        if let Some(replica) = view.replica(awaited).filter(has_it) {
            self.context.metrics.sessions.freshness_fresh.inc();
            return Decision::replica(replica, Reason::Statement(verdict.reason));
        }
        self.context.metrics.sessions.freshness_primary.inc();
        decision
    }

    /// Whether a replica has the accounts, privileges and roles that the session has begun with, and those on
    /// its schema as of when it chose that: none that were taken away before. Known of connections of `generation`.
    fn finds_its_beginning(&self, backend: BackendId, generation: u16) -> bool {
        self.has_logins(self.privileges_epoch(), backend, generation)
    }

    /// Whether a replica has the changes of these up to `epoch`.
    pub(super) fn has_logins(&self, epoch: u64, backend: BackendId, generation: u16) -> bool {
        let (topology, epochs) = (&self.context.topology, &self.context.epochs);
        let pool = self.context.pool(backend);
        if pool.has_logins(epoch, generation) {
            return true;
        }
        let view = topology.view();
        let is_it = |replica: &&ReplicaView| replica.generation == generation;
        let Some(replica) = view.replica(backend).filter(is_it) else { return false };
        let (logins, lacks) = match topology.has_gtids() {
            true => epochs.logins_at(&replica.applied, &topology.reading()),
            // Nobody could tell when it has them.
            false => (epochs.logins(), None),
        };
        pool.note_logins(logins, generation);
        match lacks {
            Some(token) if token.is_unknown() => topology.reading_wanted(),
            Some(token) => topology.fresh_wanted(token.position()),
            None => {}
        }
        logins >= epoch
    }

    /// Whether the replica the session holds lacks something that a read there has to see: what
    /// other sessions of the scope have written since the session began to hold it. A snapshot has neither
    /// the dictionary in it nor what tables are like.
    pub(in crate::client) async fn is_held_stale(&self, work: &Work<'_>) -> bool {
        let (routing, verdict) = (&self.context.settings.routing, work.verdict);
        let is_system = verdict.reason == SqlReason::SystemSchema || self.reads_system_tables(work);
        let needs_fresh = (verdict.class == Class::Read || is_system)
            && verdict.hint.route != Some(RouteHint::Replica)
            && routing.consistency == Consistency::Session
            && self.context.scopes.is_shared();
        let Some(held) = self.held.as_ref().filter(|_| needs_fresh) else { return false };
        let (backend, topology) = (held.pool().backend(), &self.context.topology);
        let snapshot = self.kept_snapshot();
        let has_snapshot = snapshot == Snapshot::Taken;
        let needs_rows = !has_snapshot || is_system || verdict.reason == SqlReason::DictionaryRead;
        let is_fresh = || {
            if needs_rows && self.writes.has_seen_more() {
                return false;
            }
            let (view, token) = (topology.view(), self.writes.needs());
            view.replica(backend).is_some_and(|replica| match needs_rows {
                true => token.is_covered_by(&replica.applied),
                false => replica.applied.covers(token.tables()),
            })
        };
        // What is known of a replica is known of the one that is there now: looked at after that.
        let is_left = || !has_snapshot && held.is_elsewhere();
        let is_known = is_fresh() || needs_rows && self.writes.settle() && is_fresh();
        if is_known || is_left() {
            return is_left();
        }
        // A transaction that changed nothing moves easily; what is pinned is lost when it moves, and so is what it
        // has seen first.
        let limit = match self.pins.is_empty() && snapshot == Snapshot::None {
            true => routing.freshness_wait,
            false => routing.freshness_wait.max(PINNED_WAIT),
        };
        // What is written while it waits need not be seen.
        let token = self.writes.needs().clone();
        let (position, is_nowhere) = match needs_rows {
            true => {
                let is_nowhere = token.is_unknown() || token.is_unlogged();
                // A snapshot is not given up for what may not be there.
                (token.position(), !has_snapshot && (is_nowhere || self.writes.has_seen_more()))
            }
            false => (token.tables(), false),
        };
        is_nowhere || !self.wait_applied(backend, position, limit).await || is_left()
    }

    /// Whether a replica has `position` within `limit`, or before the statement is stopped.
    async fn wait_applied(&self, backend: BackendId, position: &Position, limit: Duration) -> bool {
        self.entry.begin_wait();
        tokio::select! {
            biased;
            is_applied = self.context.topology.wait_applied(backend, position, limit) => is_applied,
            () = self.entry.stopped_waiting() => false,
        }
    }

    /// Whether `work`, which has ended so, has read in its transaction on a replica: later reads see what there was
    /// then.
    pub(in crate::client) fn takes_snapshot(&self, work: &Work<'_>, summary: &Summary) -> Snapshot {
        let may_read = self.snapshot != Snapshot::Taken
            && work.verdict.class == Class::Read
            && (work.command == Command::Query || work.command.executes())
            && self.keeps_snapshot();
        if !may_read {
            return Snapshot::None;
        }
        // MySQL has its dictionary in tables of InnoDB. Not every SHOW looks at these.
        let least = match work.verdict.reason {
            SqlReason::DictionaryRead if self.facts.family == Family::MySql => Snapshot::Perhaps,
            _ => Snapshot::None,
        };
        let snapshot = snapshot_of(work.sql, self.mode_of(work)).max(least);
        // What has failed may have read before it did.
        if summary.error.is_some() { snapshot.min(Snapshot::Perhaps) } else { snapshot }
    }

    /// Whether the transaction that the session holds on a replica goes on seeing what it saw first.
    pub(in crate::client) fn kept_snapshot(&self) -> Snapshot {
        if self.keeps_snapshot() { self.snapshot } else { Snapshot::None }
    }

    /// Whether all reads of an open transaction see what its first one saw.
    fn keeps_snapshot(&self) -> bool {
        let level = self.isolation().or_else(|| self.facts.variable(ISOLATION)).unwrap_or_default();
        let is_open = self.status.contains(Status::IN_TRANS);
        is_open && !level.to_ascii_lowercase().starts_with("read-")
    }

    pub(in crate::client) fn isolation(&self) -> Option<&str> {
        transaction_names::ISOLATION.into_iter().find_map(|name| self.image.get(name))
    }
}

/// Whether a statement opens a transaction that sees what there is now: WITH CONSISTENT SNAPSHOT.
pub(in crate::client) fn begins_with_snapshot(work: &Work<'_>) -> Snapshot {
    const SNAPSHOT: &[u8] = b"snapshot";
    match matches!(work.verdict.class, Class::Begin { .. }) && mentions(work.sql, SNAPSHOT) {
        true => Snapshot::Taken,
        false => Snapshot::None,
    }
}

/// Whether a schema is one that each server fills on its own.
pub(in crate::client) fn is_system(schema: &str) -> bool {
    ["information_schema", "performance_schema", "mysql", "sys"]
        .iter()
        .any(|system| schema.eq_ignore_ascii_case(system))
}
