//! One statement's way: verdict, target, lane, slot, connection, relay, release.

pub(super) mod along;
pub(super) mod assign;
pub(super) mod begin;
pub(super) mod choice;
pub(super) mod collation;
pub(super) mod execute;
pub(super) mod lane;
pub(super) mod moves;
pub(super) mod ready;
pub(super) mod recover;
pub(super) mod repeat;
pub(super) mod route;
pub(super) mod substitute;
pub(super) mod visit;

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use tokio::time::Instant;

use super::diagnostics::Form;
use super::patience::{unless_over, unless_stopped};
use super::registry::{Order, is_sessions};
use super::{Session, Stop};
use crate::error::Error;
use crate::lanes::Demand;
use crate::metrics::Target as Answered;
use crate::pool::{Checkout, Request};
use crate::protocol::attribute;
use crate::protocol::code;
use crate::protocol::packet;
use crate::protocol::{Capabilities, Command, Shape};
use crate::route::view::BackendId;
use crate::route::whereabouts::is_as_of;
use crate::route::{Decision, Reason, Target};
use crate::sql::Reason as SqlReason;
use crate::sql::{
    Class, Effects, Mode, Needs, Snapshot, Verdict, VerdictCache, has_word, mentions,
};
use crate::state::prepared::StatementKey;
use lane::crowd_of;
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
            && let Some(done) = self.before_held(work).await
        {
            return done;
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
                            if let Target::Replica(backend) = decision.target {
                                self.last_replica = Some(backend);
                            }
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
                        // A KILL QUERY was for the statement, wherever it runs.
                        None if self.entry.is_stopped() => {
                            return self.refuse(work, &Error::Interrupted).await;
                        }
                        None => may_use_replica = false,
                    }
                }
            }
        }
    }

    /// What comes before a statement on the connection the session holds: it may have to wait, or
    /// to leave a replica, which it still holds when it can't. `Some` of what became of the statement, if that is done.
    async fn before_held(&mut self, work: &Work<'_>) -> Option<Result<(), Stop>> {
        if !self.held_on_replica() {
            return match self.make_room(self.entry.lane(), work).await {
                Ok(_) => None,
                Err(Refusal::Error(error)) => Some(Box::pin(self.refuse(work, &error)).await),
                Err(Refusal::Gone) => Some(Err(Stop::Client)),
            };
        }
        let leaves = !(may_stay_on_replica(work.verdict) && !self.reads_system_tables(work)
            || self.reads_its_snapshot(work))
            || sets_transactions(work)
            || takes_servers_value(work)
            || Box::pin(self.is_held_stale(work)).await;
        match leaves {
            false => None,
            true if self.entry.is_stopped() => {
                Some(Box::pin(self.refuse(work, &Error::Interrupted)).await)
            }
            true => Box::pin(self.leave_replica(work)).await,
        }
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
        if self.entry.is_stopped() {
            return Err(Error::Interrupted.into());
        }
        let made = match backend.is_primary() {
            true => self.make_room(lane, work).await,
            false => Ok(false),
        };
        if made.inspect_err(|_| self.account.refused(self.context.now()))? {
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
                        checkout = unless_stopped(&self.entry, pool, waiting, &request) => checkout,
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
    let harmless = Effects::COLLATION | Effects::NAMES | Effects::COUNTS_ROWS | ends;
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
