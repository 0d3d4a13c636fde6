//! A command on a connection that is made ready for it: send, relay.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::along::{COPIED_MAX, Front, tells_read_only};
use super::moves::Moves;
use super::ready::Ready;
use super::{Attempt, Work};
use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::prepared::prepare_here::has_cursor;
use crate::error::Error;
use crate::net::infile::pass_file;
use crate::net::relay::{End, RelayError, ServerSide, relay};
use crate::pool::Checkout;
use crate::protocol::metadata::Expected;
use crate::protocol::response::{Response, Stage, Summary};
use crate::protocol::{Command, Shape, code, packet};
use crate::sql::{Class, Effects, Leading, Reason, Verdict, names_variable};

/// Errors that are kept from the client.
#[derive(Debug, Clone, Copy)]
struct Keeps {
    /// A replica's.
    refusal: bool,
    /// A replica's that has the transaction move which is held there.
    moves: Moves,
    /// That of a deadlock, after a statement that can be repeated.
    deadlock: bool,
}

impl Keeps {
    /// Whether there are any. An error about a cursor names the statement by its id on the server.
    fn any_of(&self, command: Command) -> bool {
        let is_refusal = self.refusal || self.moves != Moves::Never;
        is_refusal || self.deadlock || command == Command::StmtFetch
    }
}

/// Why a command has not run to its end.
#[derive(Debug)]
pub(in crate::client) enum Unfinished {
    /// A replica answered nothing but this error, which was not passed on.
    ReplicaRefused(u16),
    /// The server is gone. `untouched`: the client has got nothing yet.
    Lost {
        /// Nothing was passed on.
        untouched: bool,
    },
    /// The connection could not be made ready; it is as it was, or nearly.
    Unprepared(Error),
    /// The connection could not be made ready, and what was sent along has changed it.
    Spoilt(Error),
    /// It was stopped so that its transaction can be rolled back for others; the client has got
    /// nothing yet.
    GaveWay,
    /// The client is gone; the response is what was left of it.
    ClientGone(Option<Box<Response>>),
}

impl Session {
    /// Runs `work` and passes the response on. Where it may be tried again an error alone is kept from the
    /// client.
    pub(in crate::client) async fn execute(
        &mut self,
        checkout: &mut Checkout,
        work: &Work<'_>,
        attempt: Attempt,
    ) -> Result<Summary, Unfinished> {
        let Attempt { may_retry, moves, .. } = attempt;
        if self.entry.set_out() {
            return Err(Unfinished::Unprepared(Error::Interrupted));
        }
        self.under_way.list = None;
        let is_on_primary = checkout.pool().backend().is_primary();
        self.under_way.sent = is_on_primary.then(|| self.sends(work));
        self.entry.note_statement(work.sql, || self.mode_of(work));
        let mut sent = self.send_there(checkout, work, attempt, false).await;
        if matches!(sent, Ok((_, Front::Stopped))) {
            sent = Box::pin(self.send_there(checkout, work, attempt, true)).await;
        }
        let (ready, _) = sent?;
        if self.entry.is_stopped() {
            // A KILL QUERY found the connection between Fairlane's own commands.
            self.entry.owe_kill(self.entry.command());
        }
        let bytes = ready.packets.as_deref().unwrap_or(&work.packets);
        let may_repeat = !attempt.was_held && !ready.begins && work.verdict.class == Class::Write;
        let repeats = if may_repeat { self.policy.deadlock_retries } else { 0 };
        let lacks_ids = self.wire.lacks_ids(&bytes[ready.front..]);
        let connection = checkout.connection();
        let mut turn = 0;
        let mut summary = loop {
            let keeps = Keeps { refusal: may_retry, moves, deadlock: turn < repeats };
            let expected = (ready.expected.clone(), lacks_ids);
            match self.relay(connection, work, expected, keeps).await? {
                Ok(summary) => break summary,
                Err((summary, answer)) => match Box::pin(self.is_undone(connection)).await {
                    Ok(true) => {}
                    Ok(false) => {
                        self.wire.push_raw(&answer);
                        break summary;
                    }
                    Err(_) => return Err(Unfinished::Lost { untouched: true }),
                },
            }
            turn += 1;
            if Box::pin(self.pause_before_repeat(turn)).await {
                // Its rollback may not have taken back all of it.
                self.writes.note_unknown();
                return Err(Unfinished::Unprepared(Error::Interrupted));
            }
            if connection.send(&bytes[ready.front..]).await.is_err() {
                return Err(Unfinished::Lost { untouched: true });
            }
        };
        if ready.is_fused {
            // A killed SET may have left it to the statement to tell that the fuse is out.
            summary.tracked.retain(|tracked| !tells_read_only(tracked));
        }
        self.under_way.sent = None;
        self.entry.has_answered();
        if checkout.is_kill_under_way() {
            Box::pin(self.let_aims_pass(checkout)).await;
        }
        Ok(summary)
    }

    /// The client has its answer: what is asked on the connection now must not be hit by a KILL QUERY that was for
    /// that, and is still on its way.
    async fn let_aims_pass(&self, checkout: &Checkout) {
        const LONGEST: Duration = Duration::from_secs(1);
        let until = Instant::now() + LONGEST;
        while checkout.is_kill_under_way() && !self.entry.is_killed() && Instant::now() < until {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends `work` like [`Self::send`], unless the server is not there to answer what precedes the statement, or
    /// can be done without, or the session is killed meanwhile.
    async fn send_there(
        &mut self,
        checkout: &mut Checkout,
        work: &Work<'_>,
        Attempt { was_held, may_retry, .. }: Attempt,
        waits: bool,
    ) -> Result<(Ready, Front), Unfinished> {
        let entry = self.entry.shared();
        let connection = checkout.connection();
        let (place, generation) = (connection.place.clone(), connection.generation);
        let told = || {
            // While it has none to be killed on, it asks for another session, which must not lose the answer.
            if entry.is_killed() && entry.place().is_some() {
                return Some(Unfinished::ClientGone(None));
            }
            let may_ask_another = may_retry && entry.is_adrift();
            let is_lost = may_ask_another || place.is_forsaken(generation);
            is_lost.then_some(Unfinished::Lost { untouched: true })
        };
        tokio::select! {
            biased;
            sent = self.send(checkout, work, was_held, waits) => sent,
            unfinished = entry.when(told) => Err(unfinished),
        }
    }

    /// Sends `work` to a connection in the session's state; what precedes it is answered then, and
    /// was before with `waits`.
    pub(in crate::client) async fn send(
        &mut self,
        checkout: &mut Checkout,
        work: &Work<'_>,
        was_held: bool,
        waits: bool,
    ) -> Result<(Ready, Front), Unfinished> {
        const LOST: Unfinished = Unfinished::Lost { untouched: true };
        let backend = checkout.pool().backend();
        let connection = checkout.connection();
        // Nothing is changed between the count and the CALL.
        let is_counted = !was_held && self.calls_elsewhere(work);
        let waits = waits || is_counted;
        let ready = match self.make_ready(connection, work, was_held, waits).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => {
                // Nobody must wait for what is asked when somebody else takes the connection.
                self.read_others_id(connection).await.map_err(|_| LOST)?;
                return Err(Unfinished::Unprepared(error));
            }
            Err(Failure::Abandoned) => return Err(Unfinished::ClientGone(None)),
            Err(_) => return Err(LOST),
        };
        if !ready.asks {
            self.entry.set_connection(backend, connection);
        }
        self.under_way.leaves_gtids = false;
        self.under_way.epoch = self.context.epochs.logins();
        if self.needs_own_trackers(work) && !connection.is_restricted {
            let set = self.set_trackers(connection, work, was_held);
            Box::pin(set).await.map_err(|_| LOST)?;
        }
        (self.under_way.changes_before, self.under_way.may_be_unchanged) = (None, false);
        if is_counted && !connection.is_restricted {
            let count = Box::pin(connection.count_changes(self.facts.family)).await;
            self.under_way.changes_before = count.map_err(|_| LOST)?;
        }
        self.mark_list(connection, work).await.map_err(|_| LOST)?;
        let Verdict { uses_table, reason, effects, .. } = *work.verdict;
        let may_call = uses_table || effects.contains(Effects::OPAQUE);
        let makes_variables =
            || work.command == Command::StmtPrepare && names_variable(work.sql, self.mode);
        self.note_ran(connection, work);
        if may_call || reason == Reason::UnknownFunction || makes_variables() {
            connection.residue.strays.note(self.life);
        }
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

    /// Passes a file on, whose packets the server expects to be numbered from `first`. The client has as
    /// long to begin and to go on with it each time as at the server.
    async fn pass_file(
        &mut self,
        connection: &mut Connection,
        first: u8,
    ) -> Result<u64, RelayError> {
        let limit = self.seconds("net_read_timeout", 30);
        let wire = &mut self.wire;
        let (place, generation) = (connection.place.clone(), connection.generation);
        let passing = async {
            wire.flush().await.map_err(RelayError::Client)?;
            let (client, inbox) = wire.reading_side();
            connection.be_patient();
            let server =
                ServerSide { stream: &mut connection.stream, inbox: &mut connection.inbox };
            pass_file((client, inbox), server, (first, limit)).await
        };
        let told = || match self.entry.is_killed() {
            true => Some(RelayError::Client(std::io::ErrorKind::ConnectionAborted.into())),
            false => place
                .is_forsaken(generation)
                .then(|| RelayError::Server(std::io::ErrorKind::TimedOut.into())),
        };
        tokio::select! {
            biased;
            passed = passing => passed,
            told = self.entry.when(told) => Err(told),
        }
    }

    /// Passes the response to `work` on. An error is that of a deadlock, in packets, which was kept back: the server
    /// has rolled `work` back, and the client has got nothing, so that it may be repeated.
    async fn relay(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        (expected, lacks_ids): (Expected, u8),
        keeps: Keeps,
    ) -> Result<Result<Summary, (Summary, Vec<u8>)>, Unfinished> {
        let mut response = Response::on(work.shape, connection.key.capabilities);
        response.shift_ids(lacks_ids);
        if let Some(prepared) = &work.prepared {
            response.tell_id(prepared.told_id.unwrap_or_default());
            response.may_open_cursor(opens_cursor(work));
            if connection.caches_metadata() {
                response.keep_definitions(expected);
            }
            let is_new = work.command == Command::StmtPrepare && !self.facts.is_mariadb();
            response.keep_parameters(is_new);
            let is_asked = work.command == Command::StmtPrepare;
            response.keep_answer(is_asked && self.context.answers.is_on());
        }
        if work.shape == Shape::Nothing {
            return Ok(Ok(response.into_summary()));
        }
        match work.command {
            // A reset of a statement that is elsewhere has ended what the connection tells of.
            Command::Ping
                if !self.facts.is_mariadb() && !self.diagnostics.has_last_list_there() =>
            {
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
        let mut note = |summary: &Summary, stage| match stage {
            Stage::Rows => watch.note_rows(),
            Stage::End => watch.note(summary),
        };
        let passed = self.pass(connection, work, (&mut response, &mut note), keeps).await;
        self.teller = response.take_teller();
        Err(match passed {
            Passed::Whole => return Ok(Ok(response.into_summary())),
            Passed::Deadlocked(answer) => return Ok(Err((response.into_summary(), answer))),
            Passed::Refused => {
                Unfinished::ReplicaRefused(response.summary().error.unwrap_or_default())
            }
            Passed::GaveWay => Unfinished::GaveWay,
            Passed::ClientGone { in_time: true } => {
                Unfinished::ClientGone(Some(Box::new(response)))
            }
            Passed::ClientGone { in_time: false } => Unfinished::ClientGone(None),
            Passed::Lost => Unfinished::Lost { untouched: response.is_untouched() },
        })
    }

    /// Passes a response on. A KILL that was sent meanwhile has come to its end by then: it must
    /// not hit what runs next.
    async fn pass(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        to: (&mut Response, &mut impl FnMut(&Summary, Stage)),
        keeps: Keeps,
    ) -> Passed {
        let mut stopping = None;
        let passed = self.pass_whole(connection, work, to, (keeps, &mut stopping)).await;
        if let Some(stopping) = stopping {
            let _ = stopping.await;
        }
        passed
    }

    /// Has the server stop the statement that runs, unless it is told to already.
    fn stop_here(&self, stopping: &mut Option<JoinHandle<bool>>) {
        if stopping.is_none() {
            *stopping = self.entry.place().map(|place| self.stop_statement(place));
        }
    }

    /// What becomes of an answer that is nothing but an error, unless the client is to have it as it is.
    fn keep_error(
        &mut self,
        work: &Work<'_>,
        (error, answer): (u16, &[u8]),
        keeps: Keeps,
        gives_way: bool,
    ) -> Option<Passed> {
        if error == code::STMT_HAS_NO_OPEN_CURSOR
            && let Some(prepared) = &work.prepared
        {
            let family = self.facts.family;
            let error = Error::NoCursor { id: prepared.id, family };
            self.wire.push(&error.to_err_packet());
            return Some(Passed::Whole);
        }
        if gives_way && error == code::QUERY_INTERRUPTED {
            return Some(Passed::GaveWay);
        }
        if keeps.deadlock && error == code::LOCK_DEADLOCK && self.can_repeat(work) {
            return Some(Passed::Deadlocked(answer.to_vec()));
        }
        let is_kept = keeps.refusal || keeps.moves.after(error);
        (is_kept && !self.is_final(error, work)).then_some(Passed::Refused)
    }

    /// Passes a response on, and files to the server where it asks for them.
    async fn pass_whole(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        (response, note): (&mut Response, &mut impl FnMut(&Summary, Stage)),
        (keeps, stopping): (Keeps, &mut Option<JoinHandle<bool>>),
    ) -> Passed {
        let (mut may_stop, mut gives_way) = (self.can_be_stopped(work), false);
        let mut begun = Begun::default();
        let mut stall = self.wire.stall();
        let mut has_sent_file = false;
        connection.begin_answer();
        loop {
            let Connection { stream, inbox, place, generation, .. } = &mut *connection;
            let is_lost = || match begun.has_begun() {
                true => place.is_forsaken(*generation) && begun.is_due(),
                false => keeps.refusal && self.entry.is_adrift() || place.is_forsaken(*generation),
            };
            let told = || match self.entry.is_killed() {
                true => Some(Told::Killed),
                false if self.entry.is_kill_owed() => Some(Told::ToStop),
                false if self.entry.wants_statement() => Some(Told::ToShow),
                false => is_lost().then_some(Told::Lost),
            };
            let server = ServerSide { stream, inbox };
            let holds_error = keeps.any_of(work.command) || gives_way;
            let relayed = tokio::select! {
                biased;
                relayed = relay(self.wire.client_side(&mut stall), server, response, holds_error, note) => relayed,
                told = self.entry.when(told) => match told {
                    Told::Killed => return Passed::ClientGone { in_time: false },
                    Told::ToStop => {
                        self.entry.kill_is_sent();
                        self.stop_here(stopping);
                        continue;
                    }
                    Told::Lost if response.is_untouched() => return Passed::Lost,
                    Told::Lost if begun.is_stuck(self.wire.passed()) => return Passed::Lost,
                    Told::Lost => continue,
                    Told::ToShow => {
                        self.entry.note_statement(work.sql, || self.mode_of(work));
                        continue;
                    }
                },
                () = self.entry.told_to_give_way(), if may_stop => {
                    may_stop = false;
                    if response.is_untouched() {
                        gives_way = true;
                        self.stop_here(stopping);
                    }
                    continue;
                }
            };
            match relayed {
                Ok(End::Done) => return Passed::after(has_sent_file, response.summary().error),
                Ok(End::ErrorHeld) => {
                    let error = response.summary().error.unwrap_or_default();
                    let answer = std::mem::take(&mut connection.inbox);
                    let kept = self.keep_error(work, (error, &answer), keeps, gives_way);
                    return kept.unwrap_or_else(|| {
                        self.wire.push_raw(&answer);
                        Passed::after(has_sent_file, Some(error))
                    });
                }
                Ok(End::Infile) => {
                    let first = response.file_sequence();
                    let passed = Box::pin(self.pass_file(connection, first));
                    match passed.await {
                        Ok(passed) => connection.bytes_sent += passed,
                        Err(RelayError::Client(_)) => return Passed::ClientGone { in_time: false },
                        Err(_) => return Passed::Lost,
                    }
                    response.infile_sent();
                    has_sent_file = true;
                }
                Err(RelayError::Client(_)) => return Passed::ClientGone { in_time: true },
                Err(error) => {
                    if let Some(place) = self.entry.place() {
                        self.context.pool(place.backend).complain_of_loss(place.thread_id, &error);
                    }
                    return Passed::Lost;
                }
            }
        }
    }
}

/// Whether a command may open a cursor: CALL never does, although its routine's own cursors show in
/// the status flags.
pub(in crate::client) fn opens_cursor(work: &Work<'_>) -> bool {
    work.command == Command::StmtExecute
        && !is_call(work.verdict)
        && work.prepared.as_ref().is_some_and(has_cursor)
}

/// Whether a statement is a CALL, or a block of statements.
pub(in crate::client) fn is_call(verdict: &Verdict) -> bool {
    verdict.reason == Reason::NotARead && verdict.effects.contains(Effects::OPAQUE)
}

pub(in crate::client) fn has_cursor_of(work: &Work<'_>) -> bool {
    work.command == Command::StmtExecute && work.prepared.as_ref().is_some_and(has_cursor)
}

/// What a session is told while it waits for an answer.
enum Told {
    /// To end.
    Killed,
    /// A KILL QUERY has not found it: it is to be killed.
    ToStop,
    /// The server is not there, or can be done without.
    Lost,
    /// To show what it runs.
    ToShow,
}

/// An answer that has begun when its server is lost: it may go on, but not stand still.
#[derive(Default)]
struct Begun(Option<(Instant, u64)>);

impl Begun {
    const LIMIT: Duration = Duration::from_secs(30);

    fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Whether nobody has looked for long.
    fn is_due(&self) -> bool {
        self.0.is_none_or(|(looked, _)| looked.elapsed() >= Self::LIMIT)
    }

    /// Looks: whether the server has sent nothing for long. `None` while the client takes nothing.
    fn is_stuck(&mut self, sent: Option<u64>) -> bool {
        let is_due = self.is_due();
        let last = self.0.replace((Instant::now(), sent.unwrap_or(u64::MAX)));
        is_due && last.is_some_and(|(_, then)| sent == Some(then))
    }
}

/// How the passing on of a response ended.
enum Passed {
    /// All of it was passed on.
    Whole,
    /// It is an error of a replica, and was kept back.
    Refused,
    /// It is the error of a deadlock, and was kept back.
    Deadlocked(Vec<u8>),
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

impl Passed {
    /// After a whole answer. One of packets out of order, to a file, ends the session: the server is somewhere in that,
    /// and takes what comes next for a part of a command.
    fn after(has_sent_file: bool, error: Option<u16>) -> Self {
        match has_sent_file && error == Some(code::NET_PACKETS_OUT_OF_ORDER) {
            true => Self::ClientGone { in_time: false },
            false => Self::Whole,
        }
    }
}

/// Whether a command is nothing but the choice of a schema, by whatever name.
pub(in crate::client) fn chooses_schema(work: &Work<'_>) -> bool {
    let Verdict { class, leading, statements, .. } = *work.verdict;
    let is_use = leading == Leading::Use && class == Class::Session && statements == 1;
    let is_small = work.packets.len() <= COPIED_MAX;
    is_small && (work.command == Command::InitDb || work.command == Command::Query && is_use)
}
