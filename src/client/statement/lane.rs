//! The lane of a session's statements: what hints, rules and its behaviour say.

use std::hash::BuildHasher as _;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::Work;
use crate::client::{Context, Session};
use crate::lanes::{Demand, Standing};
use crate::metrics::ChosenBy;
use crate::pool::Checkout;
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::sql::{Effects, changes_rows};

impl Session {
    /// Lanes have been configured anew. A rule that is still there keeps its sessions.
    fn follow_policy(&mut self) {
        let before = std::mem::replace(&mut self.policy, self.context.policy.get());
        self.candidates = self.policy.rules.candidates(&self.client);
        let kept = self.kept_rule.take();
        self.kept_rule = kept.and_then(|rule| self.policy.rules.find(&before.rules, rule));
    }

    /// The lane of a statement that asks for a slot `at` this time, and what chose it; statements of its kind may
    /// hold too many.
    pub(super) fn lane(
        &mut self,
        work: &Work<'_>,
        at: Duration,
        is_crowded: impl FnOnce(&Context) -> bool,
    ) -> (usize, ChosenBy) {
        if !self.context.policy.is_current(&self.policy) {
            self.follow_policy();
        }
        if let Some(assigned) = self.assigned_lane(work) {
            self.account.assigned(at, &self.context.evidence);
            return assigned;
        }
        let light = (self.policy.rules.default_lane(), ChosenBy::Light);
        let Some(batch) = self.policy.batch_lane else {
            self.account.assigned(at, &self.context.evidence);
            return light;
        };
        let standing = self.account.judge(at, work.verdict.digest, &self.context.evidence);
        if work.command == Command::StmtPrepare {
            self.account.only_prepares();
        }
        match standing {
            Standing::Light if is_crowded(&self.context) => (batch, ChosenBy::Crowd),
            Standing::Light => light,
            Standing::Attained => (batch, ChosenBy::AttainedService),
            Standing::Company => (batch, ChosenBy::Company),
        }
    }

    /// A statement runs in the slot the session holds: its lane is settled, but a rule for the
    /// session may be met in the middle of a transaction, and it tells what the session is.
    pub(super) fn note_held(&mut self, work: &Work<'_>, held: &mut Checkout) {
        let backend = held.pool().backend();
        self.entry.set_running(backend, held.connection(), self.context.now());
        self.note_in_transaction(work);
    }

    /// The same of one that is sent with the BEGIN of its transaction.
    pub(super) fn note_in_transaction(&mut self, work: &Work<'_>) {
        if self.assigned_lane(work).is_none() && self.policy.batch_lane.is_some() {
            self.account.note(work.verdict.digest, &self.context.evidence);
            let is_open = self.status.contains(Status::IN_TRANS);
            let runs = work.command == Command::Query || work.command.executes();
            let changes = || runs && changes_rows(work.sql, self.mode);
            self.account.note_transaction(is_open, changes);
        }
    }

    /// A command is done, at `now`; the session still `holds` its slot or gave it back.
    pub(in crate::client) fn has_used_up_to(&mut self, now: Duration, holds: bool) {
        self.account.waited(self.entry.take_standstill());
        self.account.rest(now, holds, &self.context.evidence);
    }

    /// The lane that a hint or a rule has for a statement.
    pub(in crate::client) fn assigned_lane(
        &mut self,
        work: &Work<'_>,
    ) -> Option<(usize, ChosenBy)> {
        let hint = work.verdict.hint.lane.as_deref().and_then(|name| self.hinted_lane(name));
        if hint.is_none()
            && let Some(kept) = self.kept_rule
        {
            return Some((self.policy.rules.lane_of(kept), ChosenBy::Rule));
        }
        let choice = self.policy.rules.choose(
            &self.candidates,
            hint,
            self.image.schema.as_deref(),
            || crate::sql::digest(work.sql, self.mode_of(work)),
            || crate::sql::digest_text(work.sql, self.mode_of(work)),
        );
        if choice.is_for_session {
            self.kept_rule = choice.rule;
        }
        let by = if choice.rule.is_some() { ChosenBy::Rule } else { ChosenBy::Hint };
        (!choice.is_default).then_some((choice.lane, by))
    }

    fn hinted_lane(&self, name: &str) -> Option<usize> {
        let rules = &self.policy.rules;
        let lane = rules.lane(name);
        if lane.is_none() && rules.is_new_to_hints(name) {
            tracing::warn!(
                lane = name,
                user = self.client.user,
                "a hint names a lane that is not there"
            );
        }
        lane
    }

    /// What the session asks of a pool.
    pub(in crate::client) fn demand(&self, lane: usize) -> Demand {
        Demand { lane, client: self.account.client(), kind: 0, crowd: 0, begun: None }
    }

    /// The same in the middle of what has been begun: long ago, as far as that counts.
    pub(in crate::client) fn demand_to_go_on(&self) -> Demand {
        Demand { begun: Some(Duration::ZERO), ..self.demand(self.entry.lane()) }
    }

    /// The lane of work that is no statement.
    pub(in crate::client) fn plain_lane(&self) -> usize {
        let rules = &self.policy.rules;
        match self.kept_rule {
            Some(kept) => rules.lane_of(kept),
            None => {
                let schema = self.image.schema.as_deref();
                rules.choose(&self.candidates, None, schema, || 0, String::new).lane
            }
        }
    }
}

/// What makes it one of a crowd: who wants a lock of another name does not wait for the same. The parameters of
/// a prepared one can't be told apart from what else its payload has.
pub(super) fn crowd_of(work: &Work<'_>) -> u64 {
    let digest = work.verdict.digest;
    if !work.verdict.effects.contains(Effects::USER_LOCK) || work.prepared.is_some() {
        return digest;
    }
    FixedState::with_seed(2).hash_one((digest, work.sql))
}
