//! A command on a connection: bring the connection to the session's state, send, relay.

use tokio::task::JoinHandle;

use super::Session;
use super::along::{Along, COPIED_MAX, Front, tells_read_only};
use super::login::server_error;
use super::prepare_here::{Own, has_cursor};
use super::statement::{Work, is_final};
use super::tracking::needs_own_trackers;
use crate::backend::{Connection, Exchange, Failure, Reset};
use crate::config::settings::LockPolicy;
use crate::error::Error;
use crate::net::infile::pass_file;
use crate::net::relay::{End, RelayError, ServerSide, relay};
use crate::pool::Checkout;
use crate::protocol::metadata::Expected;
use crate::protocol::response::{Response, Summary};
use crate::protocol::status::Tracked;
use crate::protocol::{Command, Shape, code, packet};
use crate::sql::{Class, Effects, Needs, Reason};
use crate::state::Pins;
use crate::state::diff::{Diff, diff};
use crate::state::image::SCHEMA_VARIABLES;

/// What to send.
#[derive(Debug)]
pub(super) struct Ready {
    /// Packets instead of the work's own.
    packets: Option<Vec<u8>>,
    /// What the client is to have of column definitions.
    expected: Expected,
    /// Answers that come before that to the work ...
    pub(super) answers: usize,
    /// ... to so many of the first bytes of `packets`.
    front: usize,
    /// The first of them is to the question for another session's LAST_INSERT_ID().
    pub(super) asks: bool,
    /// The next one is a fuse's.
    pub(super) is_fused: bool,
    /// What LAST_INSERT_ID() is then.
    pub(super) insert_id: Option<u64>,
}

impl Ready {
    fn alone(packets: Option<Vec<u8>>, expected: Expected) -> Self {
        let (answers, front) = (0, 0);
        Self { packets, expected, answers, front, asks: false, is_fused: false, insert_id: None }
    }
}

/// Errors that are kept from the client.
#[derive(Debug, Clone, Copy)]
struct Keeps {
    /// A replica's.
    refusal: bool,
    /// That of a deadlock.
    deadlock: bool,
}

/// How a command ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The response was passed on.
    Done(Summary),
    /// A replica answered nothing but an error, which was not passed on.
    ReplicaRefused,
    /// The server is gone. `untouched`: the client has got nothing yet.
    Lost {
        /// Nothing was passed on.
        untouched: bool,
    },
    /// The connection could not be made ready; it is as it was, or nearly.
    Unprepared(Error),
    /// The same, but what was sent along has changed the connection.
    Spoilt(Error),
    /// The server has rolled it back whole, and the client has got nothing: it can be repeated.
    /// Never the end of [`Session::execute`].
    Deadlocked,
    /// It was stopped so that its transaction can be rolled back for others; the client has got
    /// nothing yet.
    GaveWay,
    /// The client is gone; the response is what was left of it.
    ClientGone(Option<Box<Response>>),
}

impl Session {
    /// Runs `work`. With `may_retry` an error alone is kept from the client.
    pub(super) async fn execute(
        &mut self,
        checkout: &mut Checkout,
        work: &Work<'_>,
        was_held: bool,
        may_retry: bool,
    ) -> Outcome {
        if self.policy.lock_guard.policy != LockPolicy::Off {
            self.entry.note_statement(work.sql, self.mode);
        }
        let mut sent = self.send(checkout, work, was_held, false).await;
        if matches!(sent, Ok((_, Front::Stopped))) {
            sent = Box::pin(self.send(checkout, work, was_held, true)).await;
        }
        let ready = match sent {
            Ok((ready, _)) => ready,
            Err(outcome) => return outcome,
        };
        let bytes = ready.packets.as_deref().unwrap_or(&work.packets);
        let repeats = if was_held { 0 } else { self.repeats(work) };
        let mut keeps = Keeps { refusal: may_retry, deadlock: repeats > 0 };
        let connection = checkout.connection();
        let mut outcome = self.relay(connection, work, ready.expected.clone(), keeps).await;
        for turn in 1..=repeats {
            if !matches!(outcome, Outcome::Deadlocked) {
                break;
            }
            Box::pin(self.pause_before_repeat(turn)).await;
            if connection.send(&bytes[ready.front..]).await.is_err() {
                return Outcome::Lost { untouched: true };
            }
            keeps.deadlock = turn < repeats;
            outcome = self.relay(connection, work, ready.expected.clone(), keeps).await;
        }
        if ready.is_fused
            && let Outcome::Done(summary) = &mut outcome
        {
            // A killed SET may have left it to the statement to tell that the fuse is out.
            summary.tracked.retain(|tracked| !tells_read_only(tracked));
        }
        outcome
    }

    /// Sends `work` to a connection in the session's state; what precedes it is answered then, and
    /// was before with `waits`.
    pub(super) async fn send(
        &mut self,
        checkout: &mut Checkout,
        work: &Work<'_>,
        was_held: bool,
        waits: bool,
    ) -> Result<(Ready, Front), Outcome> {
        const LOST: Outcome = Outcome::Lost { untouched: true };
        let backend = checkout.pool().backend();
        let connection = checkout.connection();
        let ready = match self.make_ready(connection, work, was_held, waits).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => {
                // Nobody must wait for what is asked when somebody else takes the connection.
                self.read_others_id(connection).await.map_err(|_| LOST)?;
                return Err(Outcome::Unprepared(error));
            }
            Err(_) => return Err(LOST),
        };
        if !ready.asks {
            self.entry.set_connection(backend, connection.thread_id);
        }
        self.leaves_gtids = false;
        if needs_own_trackers(work) && !connection.is_restricted {
            self.leaves_gtids = self.may_be_open_with(work, was_held);
            let set = self.trackers().to_set(self.leaves_gtids);
            Box::pin(connection.track(set)).await.map_err(|_| LOST)?;
        }
        self.mark_list(connection, work).await.map_err(|_| LOST)?;
        let bytes = ready.packets.as_deref().unwrap_or(&work.packets);
        if connection.send(bytes).await.is_err() && bytes.len() < packet::FULL {
            return Err(LOST);
        }
        let front = match ready.answers {
            0 => Front::Through,
            _ => Box::pin(self.pass_front(connection, work, &ready)).await?,
        };
        Ok((ready, front))
    }

    /// Makes the connection's state that of the session. With `waits` it is so when this returns,
    /// otherwise what does it may be part of what is to be sent.
    async fn make_ready(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        was_held: bool,
        waits: bool,
    ) -> Result<Result<Ready, Error>, Failure> {
        self.diagnostics.is_insert_id_owed = false;
        if connection.is_restricted {
            Box::pin(connection.lift_restriction(self.facts.is_mariadb)).await?;
            if !connection.is_restricted {
                // There is a new password.
                Box::pin(self.context.topology.refresh()).await;
            }
        }
        if connection.is_restricted {
            // The server would not take what carries the session's state.
            connection.image = self.image.clone();
        }
        if !was_held {
            self.take_off_variables(connection).await?;
        }
        self.prepare_descriptions(connection, work).await?;
        let Own { packets: own, expected } = match &work.prepared {
            Some(prepared) if prepared.told_id.is_none() => {
                match self.prepared_here(connection, prepared, work.command).await? {
                    Ok(own) => own,
                    Err(error) => return Ok(Err(error)),
                }
            }
            _ => Own::default(),
        };
        if !was_held {
            self.choose_schema_anew(connection).await?;
        }
        if !was_held && connection.is_dirty {
            Box::pin(connection.clean()).await?;
        }
        let insert_id = match was_held {
            true => None,
            false => self.insert_id_for(connection, work).await?,
        };
        let mut diff = diff(&connection.image, &self.image, &connection.base, insert_id);
        if chooses_schema(work) {
            // What was chosen before does not matter, and may be gone.
            diff.schema = None;
        }
        let is_small = work.packets.len() <= COPIED_MAX;
        let along = match diff.is_empty() {
            true if is_small => Along::Free,
            true => Along::Waits,
            false => self.along(connection, work, was_held, insert_id.is_some()),
        };
        if along != Along::Waits && !waits {
            let mut packets = Vec::new();
            let asks = self.has_others_id(connection) && connection.put_question(&mut packets);
            let is_fused = along == Along::Fused;
            let commands = match is_fused {
                true => connection.put_fused(&diff, self.facts.is_mariadb, &mut packets),
                false => connection.put_diff(&diff, &mut packets),
            };
            let answers = commands + usize::from(asks);
            if answers == 0 {
                return Ok(Ok(Ready::alone(own, expected)));
            }
            let front = packets.len();
            packets.extend_from_slice(own.as_deref().unwrap_or(&work.packets));
            let packets = Some(packets);
            return Ok(Ok(Ready { packets, expected, answers, front, asks, is_fused, insert_id }));
        }
        self.read_others_id(connection).await?;
        if diff.is_empty() {
            return Ok(Ok(Ready::alone(own, expected)));
        }
        let applied = Box::pin(self.apply(connection, &diff)).await?;
        if work.verdict.class == Class::Diagnostics {
            // The client asks for its warnings, not for those of these commands.
            Box::pin(connection.clear_warnings()).await?;
        }
        Ok(applied.map(|()| {
            connection.insert_id = insert_id.or(connection.insert_id);
            Ready::alone(own, expected)
        }))
    }

    /// Resets a connection at rest that has user variables of other sessions.
    pub(super) async fn take_off_variables(
        &self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        if !connection.image.has_user_variables_beside(&self.image) {
            return Ok(());
        }
        let reset = async {
            connection.read_unread().await?;
            match connection.reset(self.facts.is_mariadb).await? {
                Reset::Clean => Ok(()),
                Reset::KeepsRole | Reset::Refused => {
                    Err(std::io::Error::other("a connection could not be reset").into())
                }
            }
        };
        Box::pin(reset).await
    }

    /// A schema that has changed since a connection at rest has chosen it may have other defaults
    /// now, and its own are there again only after a choice where somebody has set others. MariaDB
    /// reads them only when it comes from another schema.
    pub(super) async fn choose_schema_anew(
        &self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let epoch = self.context.epochs.schemas();
        let is_set = |name| connection.image.get(name).is_some() && self.image.get(name).is_none();
        let were_set = SCHEMA_VARIABLES.into_iter().any(is_set);
        if connection.schema_epoch >= epoch && !were_set {
            return Ok(());
        }
        connection.schema_epoch = epoch;
        if self.image.schema.is_some() {
            SCHEMA_VARIABLES.into_iter().for_each(|name| connection.image.unset(name));
        }
        let Some(schema) = connection.image.schema.clone() else { return Ok(()) };
        let other = self.facts.is_mariadb.then_some("information_schema");
        for schema in other.into_iter().chain([&*schema]) {
            let chosen = connection.command(Command::InitDb, schema.as_bytes());
            let chosen = Box::pin(chosen).await?;
            match chosen.summary.error {
                None => connection.image.schema = Some(schema.into()),
                Some(_) => connection.is_dirty = true,
            }
        }
        Ok(())
    }

    /// The LAST_INSERT_ID() a connection at rest has to be given before a statement: the
    /// session's own before whatever may read it, also unseen in a trigger, may set another, or
    /// may be the first of several here. Only a read that does not stay needs none.
    async fn insert_id_for(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<Option<u64>, Failure> {
        let verdict = work.verdict;
        connection.drop_unwanted();
        let unread = self.diagnostics.unread.as_ref();
        let is_here = connection.unread.as_ref().is_some_and(|here| here.is_of(unread));
        let stays = has_cursor_of(work) || !Pins::of_effects(verdict.effects).is_empty();
        let may_stay = stays || !self.autocommit || self.asks_conditions || !self.pins.is_empty();
        let is_plain = verdict.class == Class::Read || work.command == Command::StmtPrepare;
        let matters = !is_plain
            || may_stay
            || verdict.needs.contains(Needs::LAST_INSERT_ID)
            || connection.insert_id.is_none();
        self.diagnostics.is_insert_id_owed = !is_here && !matters;
        if is_here || !matters {
            return Ok(None);
        }
        if self.diagnostics.unread.is_some() {
            // Another session must not wait for this one, which may have to wait for that.
            self.read_others_id(connection).await?;
            Box::pin(self.recall_insert_id()).await;
        }
        let own = self.diagnostics.insert_id;
        let is_here = connection.insert_id == Some(own) && !self.has_others_id(connection);
        Ok((!is_here).then_some(own))
    }

    /// Gives a connection at rest all that is the session's: it is to stay there.
    pub(super) async fn move_in(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Result<(), Error>, Failure> {
        self.read_others_id(connection).await?;
        self.take_off_variables(connection).await?;
        self.choose_schema_anew(connection).await?;
        if connection.is_dirty {
            connection.clean().await?;
        }
        self.recall_insert_id().await;
        let own = self.diagnostics.insert_id;
        let wanted = (connection.insert_id != Some(own)).then_some(own);
        let diff = diff(&connection.image, &self.image, &connection.base, wanted);
        if diff.is_empty() {
            return Ok(Ok(()));
        }
        let applied = self.apply(connection, &diff).await?;
        Ok(applied.map(|()| connection.insert_id = Some(own)))
    }

    /// Gives the commands of `diff` and waits for their answers: before a statement that could do
    /// harm in another schema or mode.
    pub(super) async fn apply(
        &mut self,
        connection: &mut Connection,
        diff: &Diff,
    ) -> Result<Result<(), Error>, Failure> {
        let mut packets = Vec::new();
        let answers = connection.put_diff(diff, &mut packets);
        connection.send(&packets).await?;
        self.diagnostics.is_row_count_held &= answers == 0;
        let (mut refused, mut has_warned) = (None, false);
        for _ in 0..answers {
            let exchange = connection.answer(Shape::Results).await?;
            has_warned |= exchange.summary.warnings > 0;
            if let Some(error) = self.take_over(connection, &exchange) {
                refused.get_or_insert(error);
            }
        }
        if refused.is_none() {
            let schema = connection.image.schema.clone();
            connection.image.turn_into(&self.image);
            if diff.schema.is_none() {
                // It was not chosen, or the one that was told.
                connection.image.schema = schema;
            }
            connection.image_warns = self.image_warns;
        }
        if has_warned {
            // These are nobody's warnings, but on the session's own connection what they are cleared
            // by has a row found.
            if self.diagnostics.is_found_rows_stale {
                self.learn_found_rows(connection).await?;
            }
            self.diagnostics.is_found_rows_held = false;
            connection.clear_warnings().await?;
        }
        Ok(refused.map_or(Ok(()), Err))
    }

    /// Takes over what the server tracked in its answer to one command of a diff; the error it is.
    pub(super) fn take_over(
        &mut self,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Option<Error> {
        if let Some(error) = server_error(&exchange.bytes, exchange.summary.error) {
            return Some(error);
        }
        for tracked in &exchange.summary.tracked {
            connection.image.apply(tracked);
            // The server may write a name or a value in another way than the session had it; what it
            // has left untold before is another session's.
            if self.image.has(tracked) && !self.is_other_schema(tracked) {
                self.image.apply(tracked);
            }
        }
        None
    }

    fn is_other_schema(&self, tracked: &Tracked) -> bool {
        let own = self.image.schema.as_deref().unwrap_or_default();
        matches!(tracked, Tracked::Schema(told) if !told.eq_ignore_ascii_case(own))
    }

    async fn relay(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        expected: Expected,
        keeps: Keeps,
    ) -> Outcome {
        let mut response = Response::on(work.shape, connection.key.capabilities);
        if let Some(prepared) = &work.prepared {
            response.tell_id(prepared.told_id.unwrap_or_default());
            response.may_open_cursor(opens_cursor(work));
            if connection.caches_metadata() {
                response.keep_definitions(expected);
            }
            let is_new = work.command == Command::StmtPrepare && !self.facts.is_mariadb;
            response.keep_parameters(is_new);
        }
        if work.shape == Shape::Nothing {
            return Outcome::Done(response.into_summary());
        }
        match work.command {
            // A reset of a statement that is elsewhere has ended what the connection tells of.
            Command::Ping if !self.facts.is_mariadb && !self.diagnostics.has_last_list_there() => {
                response.tell_just_warnings(self.diagnostics.conditions);
            }
            Command::InitDb | Command::Ping | Command::SetOption => {
                response.tell_warnings(self.diagnostics.conditions);
            }
            _ => {}
        }
        response.set_teller(self.lend_teller(connection, work));
        response.set_editor(self.row_editor(work).await);
        let mut watch = self.watch_writes(work);
        let mut note = |summary: &Summary| watch.note(summary);
        let passed = self.pass(connection, work, (&mut response, &mut note), keeps).await;
        self.teller = response.take_teller();
        match passed {
            Passed::Whole => Outcome::Done(response.into_summary()),
            Passed::Refused => Outcome::ReplicaRefused,
            Passed::GaveWay => Outcome::GaveWay,
            Passed::Deadlocked => Outcome::Deadlocked,
            Passed::ClientGone { in_time: true } => Outcome::ClientGone(Some(Box::new(response))),
            Passed::ClientGone { in_time: false } => Outcome::ClientGone(None),
            Passed::Lost => Outcome::Lost { untouched: response.is_untouched() },
        }
    }

    /// Passes a response on. A KILL that was sent meanwhile has come to its end by then: it must
    /// not hit what runs next.
    async fn pass(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        to: (&mut Response, &mut impl FnMut(&Summary)),
        keeps: Keeps,
    ) -> Passed {
        let mut stopping = None;
        let passed = self.pass_whole(connection, work, to, (keeps, &mut stopping)).await;
        if let Some(stopping) = stopping {
            let _ = stopping.await;
        }
        passed
    }

    /// Passes a response on, and files to the server where it asks for them.
    async fn pass_whole(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        (response, note): (&mut Response, &mut impl FnMut(&Summary)),
        (keeps, stopping): (Keeps, &mut Option<JoinHandle<bool>>),
    ) -> Passed {
        let mut may_stop = self.can_be_stopped(work);
        connection.begin_answer();
        loop {
            let Connection { stream, inbox, .. } = &mut *connection;
            let server = ServerSide { stream, inbox };
            // An error about a cursor names the statement by its id on the server.
            let holds_error = keeps.refusal
                || keeps.deadlock
                || work.command == Command::StmtFetch
                || stopping.is_some();
            let relayed = tokio::select! {
                biased;
                relayed = relay(self.wire.client_side(), server, response, holds_error, note) => relayed,
                () = self.entry.killed() => return Passed::ClientGone { in_time: false },
                () = self.entry.told_to_give_way(), if may_stop => {
                    may_stop = false;
                    if response.is_untouched() {
                        *stopping = Some(self.stop_statement(connection.thread_id));
                    }
                    continue;
                }
            };
            match relayed {
                Ok(End::Done) => return Passed::Whole,
                Ok(End::ErrorHeld) => {
                    let error = response.summary().error.unwrap_or_default();
                    let answer = std::mem::take(&mut connection.inbox);
                    if error == code::STMT_HAS_NO_OPEN_CURSOR
                        && let Some(prepared) = &work.prepared
                    {
                        let is_mariadb = self.facts.is_mariadb;
                        let error = Error::NoCursor { id: prepared.id, is_mariadb };
                        self.wire.push(&error.to_err_packet());
                        return Passed::Whole;
                    }
                    if stopping.is_some() && error == code::QUERY_INTERRUPTED {
                        return Passed::GaveWay;
                    }
                    if keeps.deadlock && error == code::LOCK_DEADLOCK {
                        return Passed::Deadlocked;
                    }
                    if keeps.refusal && !is_final(error) {
                        return Passed::Refused;
                    }
                    self.wire.push_raw(&answer);
                    return Passed::Whole;
                }
                Ok(End::Infile) => {
                    if self.wire.flush().await.is_err() {
                        return Passed::ClientGone { in_time: false };
                    }
                    let (client, inbox) = self.wire.reading_side();
                    match Box::pin(pass_file(client, inbox, &mut connection.stream)).await {
                        Ok(passed) => connection.bytes_sent += passed,
                        Err(RelayError::Client(_)) => return Passed::ClientGone { in_time: false },
                        Err(_) => return Passed::Lost,
                    }
                    response.infile_sent();
                }
                Err(RelayError::Client(_)) => return Passed::ClientGone { in_time: true },
                Err(error) => {
                    tracing::warn!(backend_thread = connection.thread_id, %error, "lost a backend connection");
                    return Passed::Lost;
                }
            }
        }
    }
}

/// Whether a command may open a cursor: CALL never does, although its routine's own cursors show in
/// the status flags.
pub(super) fn opens_cursor(work: &Work<'_>) -> bool {
    let is_call =
        work.verdict.reason == Reason::NotARead && work.verdict.effects.contains(Effects::OPAQUE);
    work.command == Command::StmtExecute
        && !is_call
        && work.prepared.as_ref().is_some_and(has_cursor)
}

pub(super) fn has_cursor_of(work: &Work<'_>) -> bool {
    work.command == Command::StmtExecute && work.prepared.as_ref().is_some_and(has_cursor)
}

/// How the passing on of a response ended.
enum Passed {
    /// All of it was passed on.
    Whole,
    /// It is an error of a replica, and was kept back.
    Refused,
    /// It is the error of a deadlock, and was kept back.
    Deadlocked,
    /// It is the error of a statement that was stopped for others, and was kept back.
    GaveWay,
    /// The client is gone.
    ClientGone {
        /// The response can still be read to its end.
        in_time: bool,
    },
    /// The server is gone.
    Lost,
}

/// Whether a command is nothing but the choice of a schema, by whatever name.
pub(super) fn chooses_schema(work: &Work<'_>) -> bool {
    let is_use = || {
        let first = work.sql.trim_ascii_start().get(..3);
        let is_first = first.is_some_and(|first| first.eq_ignore_ascii_case(b"use"));
        is_first && work.verdict.class == Class::Session && work.verdict.statements == 1
    };
    let is_small = work.packets.len() <= COPIED_MAX;
    is_small && (work.command == Command::InitDb || work.command == Command::Query && is_use())
}
