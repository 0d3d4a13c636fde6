//! One statement's way: verdict, target, lane, slot, connection, relay, release.

pub(super) mod along;
pub(super) mod assign;
pub(super) mod begin;
pub(super) mod choice;
pub(super) mod collation;
pub(super) mod execute;
pub(super) mod moves;
pub(super) mod ready;
pub(super) mod recover;
pub(super) mod repeat;
pub(super) mod route;

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::time::Instant;

use super::diagnostics::Form;
use super::patience::unless_over;
use super::registry::{Order, is_sessions};
use super::{Context, Session, Stop};
use crate::error::Error;
use crate::lanes::{Demand, Standing};
use crate::metrics::{ChosenBy, Target as Answered};
use crate::pool::{Checkout, Request};
use crate::protocol::attribute;
use crate::protocol::code;
use crate::protocol::packet;
use crate::protocol::status::Status;
use crate::protocol::{Capabilities, Command, Shape};
use crate::route::view::BackendId;
use crate::route::whereabouts::is_as_of;
use crate::route::{Decision, Reason, Target};
use crate::sql::Reason as SqlReason;
use crate::sql::{
    Class, Effects, Mode, Needs, Snapshot, Verdict, VerdictCache, changes_rows, has_word, mentions,
};
use crate::state::prepared::StatementKey;
use moves::Moves;
use route::begins_with_snapshot;
use route::is_system;

/// A command on its way to a backend.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) command: Command,
    /// The command as packets on the wire; for a prepared statement made per connection.
    pub(super) packets: Cow<'a, [u8]>,
    pub(super) shape: Shape,
    pub(super) verdict: &'a Verdict,
    /// The statement a binary protocol command is about.
    pub(super) prepared: Option<PreparedWork<'a>>,
    /// The text, for digests; empty when there is none.
    pub(super) sql: &'a [u8],
}

/// What a binary protocol command needs on the connection it runs on.
#[derive(Debug, Clone)]
pub(super) struct PreparedWork<'a> {
    /// The client's id.
    pub(super) id: u32,
    pub(super) key: Arc<StatementKey>,
    /// The payload as it came from the client.
    pub(super) payload: &'a [u8],
    /// Id to tell the client (COM_STMT_PREPARE only).
    pub(super) told_id: Option<u32>,
}

/// What makes it one of a crowd: who wants a lock of another name does not wait for the same. The parameters of
/// a prepared one can't be told apart from what else its payload has.
fn crowd_of(work: &Work<'_>) -> u64 {
    let digest = work.verdict.digest;
    if !work.verdict.effects.contains(Effects::USER_LOCK) || work.prepared.is_some() {
        return digest;
    }
    FixedState::with_seed(2).hash_one((digest, work.sql))
}

/// One try to run a statement on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// The session held the connection before: what it carries there is lost with it.
    pub(super) was_held: bool,
    /// It is a read on a replica: what it can't do, the primary is asked for.
    pub(super) may_retry: bool,
    /// It is one of a transaction on a replica.
    pub(super) moves: Moves,
}

impl Session {
    /// COM_QUERY.
    pub(super) async fn query(&mut self, wire: &[u8], body: &[u8]) -> Result<(), Stop> {
        let front = match self.has_attributes() {
            true => attribute::front(body),
            false => Ok(0),
        };
        let Ok(front) = front else {
            let error = Error::Malformed { family: self.facts.family };
            return self.send_error(&error).await;
        };
        let (attributes, sql) = body.split_at(front);
        let verdict = classify(sql, self.mode);
        if let Class::Kill { query, id } = verdict.class {
            let id = id.unwrap_or_else(|| self.entry.id.into());
            if is_sessions(id) {
                return Box::pin(self.kill_session(query, id)).await;
            }
        }
        if verdict.needs.contains(Needs::DIAGNOSTICS)
            && let Some(error) = self.diagnostics.own_error.take()
        {
            let only_reads = matches!(verdict.class, Class::Read | Class::Diagnostics);
            Box::pin(self.show_own(&error, only_reads)).await?;
        }
        if verdict.class == Class::Diagnostics
            && let Some(answered) = self.answer_diagnostics(sql, Form::Text).await?
        {
            return answered;
        }
        let replaced = match verdict.class {
            Class::Diagnostics => Box::pin(self.find_conditions(sql)).await,
            _ => self.explain_on_server(&verdict, sql),
        };
        let substituted = replaced.or_else(|| self.substitute(&verdict, sql));
        let packets = match &substituted {
            Some(text) => {
                let mut payload = vec![Command::Query as u8];
                payload.extend_from_slice(attributes);
                payload.extend_from_slice(text);
                let mut packets = Vec::with_capacity(payload.len() + packet::HEADER);
                packet::put(&mut packets, 0, &payload);
                Cow::Owned(packets)
            }
            None => Cow::Borrowed(wire),
        };
        let work = Work {
            command: Command::Query,
            packets,
            shape: Shape::Results,
            verdict: &verdict,
            prepared: None,
            sql,
        };
        self.run_work(&work).await
    }

    /// Whether statements come with query attributes, or with the word that there are none.
    pub(super) fn has_attributes(&self) -> bool {
        self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES)
    }

    /// The text with the session's own values for functions that another session's statements
    /// on the same connection would have changed.
    fn substitute(&self, verdict: &Verdict, sql: &[u8]) -> Option<Vec<u8>> {
        let wanted = self.unknown_counts(verdict) | self.connection_id(verdict);
        self.put_values(sql, self.mode, wanted)
    }

    /// Whether CONNECTION_ID() in a text is the session's: not beside a server's own tables, which know
    /// connections by the ids that the server gave them.
    pub(super) fn connection_id(&self, verdict: &Verdict) -> Needs {
        let id = verdict.needs & Needs::CONNECTION_ID;
        let is_beside = || self.image.schema.as_deref().is_some_and(is_system);
        if !id.is_empty() && verdict.uses_table && is_beside() { Needs::empty() } else { id }
    }

    /// The same for a text that was prepared, with the session's id put in then.
    pub(super) fn substitute_in_prepared(
        &mut self,
        verdict: &Verdict,
        key: &StatementKey,
        mode: Mode,
    ) -> Option<Vec<u8>> {
        let mut wanted = self.unknown_counts(verdict);
        let is_here = |held: &mut Checkout| held.connection().statements.has(key);
        if verdict.statements <= 1 && !self.held.as_mut().is_some_and(is_here) {
            // After PREPARE a connection has another ROW_COUNT().
            wanted |= verdict.needs & Needs::ROW_COUNT;
        }
        self.put_values(&key.sql, mode, wanted)
    }

    /// In a text that is read in `mode`.
    pub(super) fn put_values(&self, sql: &[u8], mode: Mode, wanted: Needs) -> Option<Vec<u8>> {
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
        let leaves = self.held_on_replica() && !may_stay_on_replica(verdict);
        if self.held.is_some() && !leaves {
            // What the session holds knows better, as soon as anything has run on it.
            let held = &self.diagnostics;
            let known = [
                // Its own trackers are set in front of the statement.
                (
                    Needs::ROW_COUNT,
                    held.is_row_count_held() && !verdict.needs.contains(Needs::TRACKERS),
                ),
                (Needs::FOUND_ROWS, held.is_found_rows_held()),
                (Needs::LAST_GTID, held.is_gtid_held),
            ];
            known.iter().filter(|(_, is_held)| *is_held).for_each(|&(need, _)| wanted -= need);
        }
        wanted
    }

    /// Runs a command on the connection the session holds, or on one it gets for it.
    pub(super) async fn run_work(&mut self, work: &Work<'_>) -> Result<(), Stop> {
        self.under_way.was_refused = false;
        if self.owes_deadlock && self.is_told_by(work) {
            return self.refuse(work, &Error::Deadlock).await;
        }
        if ends_or_begins(work) && self.answer_begin(work) {
            return Ok(());
        }
        let mut asked = self.asks_assignment(work);
        if asked.as_ref().is_some_and(|asked| self.answer_assignment(work, asked)) {
            return Ok(());
        }
        if self.begun.is_some()
            && let Some(done) = Box::pin(self.begin_for(work)).await
        {
            return done;
        }
        if self.held.is_some()
            && let Err(error) = self.before_held(work).await?
        {
            return self.refuse(work, &error).await;
        }
        let mut may_use_replica = true;
        loop {
            let moves = self.moves_when_refused(work);
            let (mut checkout, decision) = match self.held.take() {
                Some(mut held) => {
                    self.note_held(work, &mut held);
                    (held, None)
                }
                None => {
                    let decision = match self.under_way.decided.take() {
                        Some(decided) => decided,
                        None => self.decide(work.verdict, may_use_replica).await,
                    };
                    match self.obtain(work, decision).await {
                        Ok(checkout) => {
                            self.diagnostics.forget_held();
                            self.snapshot = begins_with_snapshot(work);
                            (checkout, Some(decision))
                        }
                        Err(Refusal::Gone) => return Err(Stop::Client),
                        Err(Refusal::Error(error)) if is_replica(decision) && retries(&error) => {
                            may_use_replica = false;
                            continue;
                        }
                        Err(Refusal::Error(error)) => {
                            return Box::pin(self.turn_away(work, &error)).await;
                        }
                    }
                }
            };
            let on_replica = decision.is_some_and(is_replica);
            self.count_route(decision);
            let may_retry = on_replica && may_use_replica;
            let attempt = Attempt { was_held: decision.is_none(), may_retry, moves };
            match self.execute(&mut checkout, work, attempt).await {
                Ok(mut summary) => {
                    let was_held = attempt.was_held;
                    let done = self.conclude(checkout, work, &mut summary, was_held).await;
                    if let Some(asked) = asked.take().filter(|_| done.is_ok() && !on_replica) {
                        self.keep_assignment(work, *asked, &summary);
                    }
                    if work.verdict.reason == SqlReason::Kill {
                        Box::pin(self.kill_sessions_of_user(work, &summary)).await;
                    }
                    return done;
                }
                Err(unfinished) => {
                    let recovered = Box::pin(self.recover(checkout, work, unfinished, attempt));
                    match recovered.await {
                        Some(done) => return done,
                        None => may_use_replica = false,
                    }
                }
            }
        }
    }

    /// What comes before a statement on the connection the session holds: it may have to wait, or
    /// to leave a replica, which it still holds when it can't.
    async fn before_held(&mut self, work: &Work<'_>) -> Result<Result<(), Error>, Stop> {
        if !self.held_on_replica() {
            self.make_room(self.entry.lane(), work).await?;
        } else if !(may_stay_on_replica(work.verdict) && !self.reads_system_tables(work)
            || self.reads_its_snapshot(work))
            || sets_transactions(work)
            || takes_servers_value(work)
            || Box::pin(self.is_held_stale(work)).await
        {
            let is_given_up = self.is_given_up_without_client(work);
            return Box::pin(self.move_to_primary(is_given_up)).await;
        }
        Ok(Ok(()))
    }

    /// Whether a command on the replica that the session holds is better run there than on the primary,
    /// where a transaction that has read would go on with another snapshot: one that runs nothing, or
    /// that reads a server's own variables and tables.
    fn reads_its_snapshot(&self, work: &Work<'_>) -> bool {
        if matches!(work.command, Command::Ping | Command::StmtReset) {
            return true;
        }
        let runs = matches!(work.command, Command::Query | Command::StmtPrepare)
            || work.command == Command::StmtExecute;
        // The first reason counts, and there may be others behind it.
        const OTHERS: [&[u8]; 6] = [b"lock", b"into", b"share", b"update", b"delete", b"wait"];
        runs && self.kept_snapshot() != Snapshot::None
            && work.verdict.effects.is_empty()
            && work.verdict.statements == 1
            && !OTHERS.iter().any(|word| mentions(work.sql, word))
            && (matches!(work.verdict.reason, SqlReason::SystemVariable | SqlReason::SystemSchema)
                || self.reads_system_tables(work))
    }

    /// Whether a read may be of tables that each server fills on its own, whose schema is the session's.
    pub(super) fn reads_system_tables(&self, work: &Work<'_>) -> bool {
        let is_read = work.verdict.class == Class::Read && work.verdict.uses_table;
        is_read && self.image.schema.as_deref().is_some_and(is_system)
    }

    /// A slot in the statement's lane, and a connection.
    pub(super) async fn obtain(
        &mut self,
        work: &Work<'_>,
        decision: Decision,
    ) -> Result<Checkout, Refusal> {
        let mut now = Instant::now();
        let mut at = self.context.since_start(now);
        let backend = backend_of(decision.target);
        let crowd = crowd_of(work);
        let (lane, by) = self.lane(work, at, |context| context.pool(backend).is_crowded_by(crowd));
        self.context.metrics.sessions.lane_choices_total(by).inc();
        self.entry.set_waiting(backend, (lane, by), at);
        if backend.is_primary() && self.make_room(lane, work).await.map_err(|_| Refusal::Gone)? {
            now = Instant::now();
            at = self.context.since_start(now);
        }
        let begun = self.account.continues(at, &self.context.evidence);
        let demand = Demand { kind: work.verdict.digest, crowd, begun, ..self.demand(lane) };
        let pool = self.context.pool(backend);
        let whose = self.identity.whose();
        let request = Request {
            insert_id: self.diagnostics.insert_id,
            unread: self.diagnostics.unread.as_ref(),
            asks: true,
            ..Request::plain(whose, &self.image, (self.entry.id, self.epoch))
        };
        let mut checkout = match pool.check_out_at_once(demand, &request, now) {
            Ok(checkout) => checkout,
            Err(waiting) => {
                let is_given_up = self.is_given_up_without_client(work);
                let client = (&mut self.wire, is_given_up);
                let session = (&*self.entry, Order::Kill);
                let later = async {
                    tokio::select! {
                        biased;
                        checkout = pool.check_out_later(waiting, &request) => checkout,
                        () = self.context.loses(backend), if !backend.is_primary() => {
                            Err(unavailable(pool.name(), "it is silent or down"))
                        }
                    }
                };
                match Box::pin(unless_over(client, session, later)).await {
                    Ok(checkout) => checkout,
                    Err(refusal) => {
                        self.account.refused(self.context.now());
                        return Err(refusal);
                    }
                }
            }
        };
        let granted_at = checkout.granted_at();
        if granted_at != now {
            at = self.context.since_start(granted_at);
        }
        if !backend.is_primary() && !is_as_of(decision.generation, checkout.connection().generation)
        {
            // What was decided by is known of another server.
            checkout.check_in();
            self.account.refused(self.context.now());
            return Err(Refusal::Error(unavailable(pool.name(), "it is another server by now")));
        }
        self.account.granted(at, checkout.pool().beside());
        // It has run since its slot was granted; a connection opened meanwhile counts in.
        let connection = checkout.connection();
        self.entry.set_running(backend, connection, at);
        if self.has_others_id(connection) {
            // A KILL must not hit the question for that.
            self.entry.set_released();
        }
        Ok(checkout)
    }

    /// Lanes have been configured anew. A rule that is still there keeps its sessions.
    fn follow_policy(&mut self) {
        let before = std::mem::replace(&mut self.policy, self.context.policy.get());
        self.candidates = self.policy.rules.candidates(&self.client);
        let kept = self.kept_rule.take();
        self.kept_rule = kept.and_then(|rule| self.policy.rules.find(&before.rules, rule));
    }

    /// The lane of a statement that asks for a slot `at` this time, and what chose it; statements of its kind may
    /// hold too many.
    fn lane(
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
    fn note_held(&mut self, work: &Work<'_>, held: &mut Checkout) {
        let backend = held.pool().backend();
        self.entry.set_running(backend, held.connection(), self.context.now());
        if self.assigned_lane(work).is_none() && self.policy.batch_lane.is_some() {
            self.account.note(work.verdict.digest, &self.context.evidence);
            let is_open = self.status.contains(Status::IN_TRANS);
            let runs = work.command == Command::Query || work.command.executes();
            let changes = || runs && changes_rows(work.sql, self.mode);
            self.account.note_transaction(is_open, changes);
        }
    }

    /// A command is done, at `now`; the session still `holds` its slot or gave it back.
    pub(super) fn has_used_up_to(&mut self, now: Duration, holds: bool) {
        self.account.waited(self.entry.take_standstill());
        self.account.rest(now, holds, &self.context.evidence);
    }

    /// The lane that a hint or a rule has for a statement.
    pub(super) fn assigned_lane(&mut self, work: &Work<'_>) -> Option<(usize, ChosenBy)> {
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
    pub(super) fn demand(&self, lane: usize) -> Demand {
        Demand { lane, client: self.account.client(), kind: 0, crowd: 0, begun: None }
    }

    /// The same in the middle of what has been begun: it comes before all other work of its lane.
    pub(super) fn demand_to_go_on(&self) -> Demand {
        Demand { begun: Some(Duration::ZERO), ..self.demand(self.entry.lane()) }
    }

    /// The lane of work that is no statement.
    pub(super) fn plain_lane(&self) -> usize {
        let rules = &self.policy.rules;
        match self.kept_rule {
            Some(kept) => rules.lane_of(kept),
            None => {
                let schema = self.image.schema.as_deref();
                rules.choose(&self.candidates, None, schema, || 0, String::new).lane
            }
        }
    }

    pub(super) fn held_on_replica(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.pool().backend().is_primary())
    }

    fn count_route(&self, decision: Option<Decision>) {
        let metrics = &self.context.metrics;
        let (answered, reason) = match decision {
            Some(Decision { target: Target::Primary, reason, .. }) => (Answered::Primary, reason),
            Some(Decision { target: Target::Replica(_), reason, .. }) => {
                (Answered::Replica, reason)
            }
            None if self.pins.is_empty() => (Answered::Session, Reason::Transaction),
            None => (Answered::Session, Reason::Pinned),
        };
        metrics.routed(answered, reason.index()).inc();
    }
}

thread_local! {
    static VERDICTS: RefCell<VerdictCache> = RefCell::default();
}

/// The verdict on a text, from what this worker has seen before if it can.
pub(super) fn classify(sql: &[u8], mode: Mode) -> Verdict {
    VERDICTS.with_borrow_mut(|verdicts| verdicts.classify(sql, mode))
}

fn ends_or_begins(work: &Work<'_>) -> bool {
    matches!(work.verdict.class, Class::Begin { .. } | Class::Commit | Class::Rollback)
}

/// Why there is no connection.
pub(super) enum Refusal {
    Error(Error),
    /// The client is gone, or the session was told to end.
    Gone,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn unavailable(backend: &str, detail: &str) -> Error {
    Error::BackendUnavailable { backend: backend.to_owned(), detail: detail.to_owned() }
}

pub(super) fn backend_of(target: Target) -> BackendId {
    match target {
        Target::Primary => BackendId::PRIMARY,
        Target::Replica(backend) => backend,
    }
}

fn is_replica(decision: Decision) -> bool {
    matches!(decision.target, Target::Replica(_))
}

/// Whether a replica's trouble is worth asking the primary: when it can't be reached or refuses
/// the login (an account may not be replicated yet, or its password has expired there), not when
/// its queue is full, or a storm of reads would fall on the primary.
fn retries(error: &Error) -> bool {
    use Error::{BackendUnavailable, MustChangePassword, Server};
    matches!(error, BackendUnavailable { .. } | Server { .. } | MustChangePassword { .. })
}

/// Whether a statement may run inside a read-only transaction that is on a replica. Anything that
/// might change a server or pin the session belongs to the primary, and so does a savepoint, which
/// would be lost when the transaction moves there later.
fn may_stay_on_replica(verdict: &Verdict) -> bool {
    let ends = Effects::RELEASE | Effects::NO_RELEASE;
    let harmless = Effects::COLLATION | Effects::COUNTS_ROWS | ends;
    harmless.contains(verdict.effects)
        && match verdict.class {
            Class::Read | Class::Commit | Class::Rollback | Class::Session | Class::Diagnostics => {
                true
            }
            Class::Write | Class::Begin { .. } | Class::Kill { .. } => false,
        }
}

/// Whether `work` may set what later transactions are: the open one has to be begun elsewhere before.
fn sets_transactions(work: &Work<'_>) -> bool {
    let has = |word: &[u8]| mentions(work.sql, word);
    let names = [&b"transaction"[..], b"tx_", b"autocommit"];
    work.verdict.class == Class::Session && names.into_iter().any(has)
}

/// Whether `work` may set a variable to what the server it runs on has: its default, or what a query finds there.
fn takes_servers_value(work: &Work<'_>) -> bool {
    let has = |word: &[u8]| has_word(work.sql, word);
    let names = [&b"default"[..], b"global"];
    work.verdict.class == Class::Session && (work.verdict.uses_table || names.into_iter().any(has))
}

impl Session {
    /// Whether an error says that the statement was stopped, not that the replica can't answer it. Its time
    /// may be up by a limit that only the replica has.
    pub(super) fn is_final(&self, error: u16, work: &Work<'_>) -> bool {
        const LIMITS: [&str; 2] = ["max_statement_time", "max_execution_time"];
        let is_own =
            |name: &str| self.image.get(name).is_some() || mentions(work.sql, name.as_bytes());
        match error {
            code::QUERY_INTERRUPTED => true,
            code::STATEMENT_TIMEOUT | code::QUERY_TIMEOUT => LIMITS.into_iter().any(is_own),
            _ => false,
        }
    }
}
