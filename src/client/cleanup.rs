//! The end of what a session left on a connection: reset, change of user, departure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::absorb::flight::Sent;
use super::absorb::writes::WriteTracker;
use super::login::auth::{Claim, Progress, Unproved, told_address, told_attributes, verify};
use super::login::{not_asked, program_name, server_error};
use super::registry::EntryLabels;
use super::statement::along::is_just_query;
use super::statement::{Refusal, Work};
use super::wire::CommandPacket;
use super::{Session, Stop};
use crate::backend::{Connection, Failure, Ran, Reset};
use crate::config::settings::Abandoned;
use crate::error::Error;
use crate::lanes::{Account, ClientFacts};
use crate::metrics::Closed;
use crate::net::read;
use crate::pool::{Checkout, Retire};
use crate::protocol::auth::NATIVE;
use crate::protocol::handshake::ChangeUser;
use crate::protocol::response::Response;
use crate::protocol::status::Status;
use crate::protocol::{Capabilities, Command, Family, Malformed};
use crate::route::view::BackendId;
use crate::sql::{Class, Effects, Reason};
use crate::state::{Base, Characteristics, Holdings, Pin, Pins};

/// How long a reset of a connection may take before it is given up.
const RESET_WAIT: Duration = Duration::from_secs(10);

/// Bytes of result sets that are read to an end for a client that is gone. A server keeps so many back
/// before it sends any (`net_buffer_length`), and notices that nobody is there with its second write.
const LEFT_MAX: usize = 16 * 1024;

/// What has to be undone on a connection.
#[derive(Debug, Clone)]
struct Leftovers {
    pins: Pins,
    in_transaction: bool,
    /// Who is told where a transaction was committed that nobody knows of yet.
    writes: Arc<WriteTracker>,
}

impl Session {
    /// Whether a transaction may be open.
    pub(super) fn may_be_open(&self) -> bool {
        // An error does not say whether one is.
        self.status.contains(Status::IN_TRANS) || !self.is_status_told || !self.autocommit
    }

    fn leftovers(&self) -> Leftovers {
        let in_transaction = self.may_be_open();
        Leftovers { pins: self.pins, in_transaction, writes: Arc::clone(&self.writes) }
    }

    /// The session is over: undoes what it left, gives back what it holds.
    pub(super) async fn clean_up(mut self: Box<Self>) {
        let leftovers = self.leftovers();
        let family = self.facts.family;
        let held = self.held.take();
        // A client that went away in the middle has used its slot up to now.
        let now = self.context.now();
        self.has_used_up_to(now, false);
        self.account.close(&self.context.evidence);
        self.pins = Pins::default();
        self.show_binding();
        // Who aims at the session may have found it before: its connection is not its own any more.
        self.entry.set_released();
        drop((self.wire, self.entry));
        if let Some(held) = held {
            undo(held, leftovers, family).await;
        }
    }

    /// Lets the held connection go when nothing binds it any more.
    pub(super) async fn release_if_free(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        let stays =
            !self.autocommit || !self.pins.is_empty() || self.status.contains(Status::IN_TRANS);
        if !stays && self.learn_to_leave(held.connection()).await.is_err() {
            self.writes.discard(held, Retire::Quit(Closed::Broken));
            return self.forget_binding();
        }
        self.keep_or_release(held).await;
        self.show_binding();
    }

    /// All that is to be known before the held connection goes to another session.
    pub(super) async fn learn_to_leave(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        self.learn_all(connection, None).await?;
        match connection.ran {
            Ran::Plain => Ok(()),
            Ran::Function | Ran::Flush | Ran::Procedure => {
                self.settle_routine(connection, None).await
            }
        }
    }

    /// FOUND_ROWS() outlives both kinds of reset, and may be known on the held connection only.
    async fn save_found_rows(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        if self.diagnostics.is_found_rows_stale() {
            // When it can't be had, the connection is gone, and with it all else.
            let _ = self.learn_found_rows(held.connection()).await;
        }
        self.held = Some(held);
    }

    /// Gives up what is held, undone.
    async fn undo_held(&mut self) {
        let leftovers = self.leftovers();
        let family = self.facts.family;
        if let Some(held) = self.held.take() {
            self.entry.set_released();
            undo(held, leftovers, family).await;
        }
        self.forget_binding();
    }

    /// The same for COM_RESET_CONNECTION, which leaves a session its role, and with it
    /// the connection.
    async fn reset_held(&mut self) {
        let leftovers = self.leftovers();
        let Some(mut held) = self.held.take() else { return self.forget_binding() };
        let undone = undone(held.connection(), &leftovers, self.facts.family).await;
        if undone == Ok(Reset::KeepsRole) {
            self.held = Some(held);
            return self.keep_only(Pin::Role);
        }
        self.entry.set_released();
        give_back(held, undone, &leftovers.writes);
        self.forget_binding();
    }

    /// Of all that binds the session only this is left.
    fn keep_only(&mut self, pin: Pin) {
        self.pins = Pins::default();
        self.holdings = Holdings::default();
        self.characteristics = Characteristics::default();
        self.pins.add(pin);
        self.forget_begun();
        self.show_binding();
    }

    /// The session has to leave a replica: its transaction there, which changed nothing, starts
    /// anew on the primary. Where that has no slot for it, can't be reached, or refuses the session's schema, it
    /// stays where it is.
    /// A wait `is_given_up`, or is not, when the client has gone.
    pub(super) async fn move_to_primary(
        &mut self,
        is_given_up: bool,
    ) -> Result<Result<(), Error>, Stop> {
        // A replica that is silent keeps nobody's slot of the primary waiting.
        self.learn_of_replica().await;
        if !self.status.contains(Status::IN_TRANS) {
            self.undo_held().await;
            self.diagnostics.forget_held();
            return Ok(Ok(()));
        }
        let (leftovers, family) = (self.leftovers(), self.facts.family);
        Ok(self.begin_on_primary(is_given_up).await?.map(|replica| {
            if let Some(replica) = replica {
                tokio::spawn(undo(replica, leftovers, family));
            }
        }))
    }

    /// The session, which knows all that is on the connection to the replica it holds, holds one to the primary in its
    /// place, in a transaction like the one there; what it held before.
    pub(super) async fn begin_on_primary(
        &mut self,
        is_given_up: bool,
    ) -> Result<Result<Option<Checkout>, Error>, Stop> {
        let mut checkout = match self.wait_to_move(is_given_up).await {
            Ok(checkout) => checkout,
            Err(Refusal::Error(error)) => return Ok(Err(error)),
            Err(Refusal::Gone) => return Err(Stop::Client),
        };
        // All of it has been learned, and nothing has run on the primary yet.
        self.diagnostics.forget_held();
        match self.begin_read_only(&mut checkout).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                checkout.connection().residue.is_dirty = true;
                checkout.check_in();
                return Ok(Err(error));
            }
            Err(_) => {
                let backend = checkout.pool().name().to_owned();
                checkout.discard(Retire::Quit(Closed::Broken));
                self.send_error(&Error::LostBackend { backend }).await?;
                return Err(Stop::Fatal);
            }
        }
        // From here on a KILL would hit whoever has it next.
        let replica = self.held.take();
        self.forget_binding();
        let now = self.context.now();
        self.has_used_up_to(now, false);
        self.account.granted(now, checkout.pool().beside());
        self.status |= Status::IN_TRANS;
        self.characteristics.note_own();
        self.held = Some(checkout);
        self.show_binding();
        Ok(Ok(replica))
    }

    /// The transaction on a replica is over, which the session holds no more.
    pub(super) fn give_up_replica(&self, replica: Checkout) {
        let leftovers = Leftovers {
            pins: Pins::default(),
            in_transaction: true,
            writes: Arc::clone(&self.writes),
        };
        tokio::spawn(undo(replica, leftovers, self.facts.family));
    }

    /// A connection of the primary, while that of the replica is still held. The wait is no use of it.
    async fn wait_to_move(&mut self, is_given_up: bool) -> Result<Checkout, Refusal> {
        let since = self.context.now();
        self.entry.set_waiting_to_go_on(BackendId::PRIMARY, since);
        let obtained = self.check_out_to_go_on(is_given_up).await;
        self.account.waited(self.context.now().saturating_sub(since));
        obtained
    }

    /// Learns what is on the replica's connection and not known: it would be left behind.
    pub(super) async fn learn_of_replica(&mut self) {
        if let Some(mut held) = self.held.take() {
            // When it can't be had, the connection is gone anyway.
            let _ = self.learn_all(held.connection(), None).await;
            if self.pins.has(Pin::StateChanged) {
                let _ = self.learn_left(held.connection()).await;
            }
            self.held = Some(held);
        }
    }

    /// The session's transaction begins on a connection of the primary; the error with which that refuses.
    async fn begin_read_only(
        &mut self,
        checkout: &mut Checkout,
    ) -> Result<Result<(), Error>, Failure> {
        let connection = checkout.connection();
        if let Err(error) = self.move_in(connection).await? {
            return Ok(Err(error));
        }
        let begun = connection.query("START TRANSACTION READ ONLY").await?;
        Ok(server_error(&begun.bytes, begun.summary.error).map_or(Ok(()), Err))
    }

    /// Whether a command that has yet to be sent is given up when its client is gone: nobody has anything of
    /// what only reads, be it with locks, or prepares, or of a savepoint. A server that has read a write runs it.
    pub(super) fn is_given_up_without_client(&self, work: &Work<'_>) -> bool {
        let prepares = matches!(work.command, Command::StmtPrepare | Command::StmtSendLongData);
        let reads = work.verdict.class == Class::Read || is_just_query(work);
        let marks = work.verdict.effects == Effects::SAVEPOINT && work.verdict.statements == 1;
        prepares || reads || marks || self.context.settings.pool.abandoned == Abandoned::Kill
    }

    /// The client is gone in the middle of a response. What is not killed runs to its end, and is then undone
    /// as far as it is open; unless it sends more than a little: a server stops at the result that it can't
    /// get rid of, and runs nothing behind it.
    pub(super) fn abandon(
        &mut self,
        checkout: Checkout,
        work: &Work<'_>,
        response: Option<Box<Response>>,
        sent: Option<Sent>,
    ) {
        let leftovers = self.leftovers();
        let changes = self.changes(work);
        let family = self.facts.family;
        if sent.is_some() {
            self.note_unseen_log(work);
        }
        self.entry.keep_statement(work.sql, || self.mode_of(work));
        let orphan = self.entry.orphan();
        self.forget_binding();
        // What a replica has refused may write.
        let is_read = is_read(work) && !self.under_way.was_refused;
        let is_killed = match self.context.settings.pool.abandoned {
            Abandoned::KillReads => is_read,
            Abandoned::Kill => true,
            Abandoned::Finish => false,
        };
        let response = response.filter(|_| !is_killed);
        let writes = Arc::clone(&self.writes);
        let Some(mut response) = response else {
            match is_read {
                true => writes.discard(checkout, Retire::Kill),
                false => drop(writes.lose(checkout, Retire::Kill, sent, changes)),
            }
            return;
        };
        if !is_read {
            // A procedure may have committed something, and go on.
            writes.note_unknown();
        }
        let mut checkout = checkout;
        tokio::spawn(async move {
            let _shown = orphan;
            let (pool, generation) = (checkout.pool().clone(), checkout.connection().generation);
            let finished = tokio::select! {
                finished = drain(&mut checkout, &mut response) => finished,
                () = pool.forsakes(generation) => Err(Failure::Abandoned),
            };
            writes.note_unseen(changes);
            // Whatever it was, its effects are not known here.
            let pins = all_pins(leftovers.pins);
            let leftovers = Leftovers { in_transaction: true, pins, ..leftovers };
            match finished {
                Ok(Drained::Whole) => undo(checkout, leftovers, family).await,
                Ok(Drained::Cut) => {
                    // What stands behind the result may be run, if all of that was on its way.
                    let _ = writes.lose(checkout, Retire::Cut, sent, changes).await;
                }
                Err(_) => {
                    drop(writes.lose(checkout, Retire::Quit(Closed::Broken), sent, changes));
                }
            }
        });
    }

    /// What the session begins with is what the server has now.
    async fn begin_anew(&mut self) {
        self.begun_after = self.context.catch_up().await;
        self.epoch = self.begun_after;
        if let Some(facts) = self.context.topology.facts() {
            self.facts = facts;
        }
        self.begin_with_autocommit();
    }

    /// What is global: `init_connect` is for logins alone.
    fn begin_with_autocommit(&mut self) {
        self.autocommit = self.facts.has_autocommit();
        self.begun_autocommit = Some(self.autocommit);
    }

    /// COM_RESET_CONNECTION.
    pub(super) async fn reset_connection(&mut self, packet: &CommandPacket) -> Result<(), Stop> {
        if self.pins.has(Pin::ExpiredPassword) {
            let Some(mut held) = self.held.take() else { return Err(Stop::Fatal) };
            let was_restricted = held.connection().is_restricted;
            let is_reset = held.connection().reset(self.facts.family).await;
            self.held = Some(held);
            match is_reset {
                Err(_) => return Err(Stop::Fatal),
                Ok(Reset::Refused) if was_restricted => {
                    return self.pass_on(Command::ResetConnection, packet, Class::Write).await;
                }
                Ok(Reset::Refused) => return Err(Stop::Fatal),
                Ok(Reset::Clean | Reset::KeepsRole | Reset::KeepsTexts) => {
                    self.keep_only(Pin::ExpiredPassword)
                }
            }
        } else {
            self.save_found_rows().await;
            self.reset_held().await;
        }
        self.forget_session();
        self.begin_anew().await;
        if !self.facts.is_mariadb() {
            // MySQL goes back to its global character sets, not to those of the handshake.
            let global = |name| self.facts.variable(name).unwrap_or_default().to_owned();
            self.image.set_base(&Base {
                client: global("character_set_client"),
                results: global("character_set_results"),
                collation: global("collation_connection"),
                ..Base::default()
            });
            self.apply_login_flags();
        }
        self.image.set_servers_collation();
        self.image_changed();
        self.begin_tracking();
        self.send_ok();
        Ok(())
    }

    /// COM_CHANGE_USER: a login on an open connection.
    pub(super) async fn change_user(&mut self, body: &[u8]) -> Result<(), Stop> {
        self.save_found_rows().await;
        self.undo_held().await;
        self.forget_session();
        let change = match ChangeUser::parse(body, self.capabilities) {
            Ok(change) => change,
            Err(malformed) => {
                tracing::debug!(%malformed, "COM_CHANGE_USER that can't be understood");
                self.send_error(&Error::UnknownCommand).await?;
                return if self.facts.is_mariadb() { Ok(()) } else { Err(Stop::Fatal) };
            }
        };
        self.image.schema = None;
        self.choice = None;
        // Servers ask for another reply, whatever the client has sent.
        let plugin = match self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            true => String::new(),
            false => NATIVE.to_owned(),
        };
        let collation = change.collation.and_then(|id| u8::try_from(id).ok());
        let mut claim = Claim {
            user: change.user.clone(),
            address: self.peer.ip(),
            told: told_address(&self.context, self.peer.ip()),
            attributes: told_attributes(&self.context, &change.attributes),
            plugin,
            reply: change.auth,
            nonce: self.nonce,
            keeps_nonce: self.facts.is_mariadb(),
            capabilities: self.capabilities,
            collation: collation.unwrap_or(self.identity.key.collation),
            family: self.facts.family,
            names: self.context.topology.accounts().names(),
            tls: self.tls.clone(),
            progress: Progress::default(),
        };
        self.begin_anew().await;
        let verified = verify(&self.context, &mut claim, &mut self.wire, &self.entry);
        let Ok(verified) = timeout(self.context.settings.login_timeout, verified).await else {
            return Err(Stop::Client);
        };
        self.nonce = claim.nonce;
        self.identity = match verified {
            Ok(identity) => identity,
            Err(Unproved::Gone | Unproved::GaveUp) => return Err(Stop::Client),
            Err(Unproved::Refused(error)) => {
                self.send_error(&error).await?;
                return Err(Stop::Fatal);
            }
        };
        let given = |name: &str| change.attributes.iter().find(|(known, _)| known == name);
        let program = given("program_name").map(|(_, value)| program_name(value.clone()));
        self.client = ClientFacts {
            user: change.user.clone(),
            address: self.peer.ip(),
            program_name: program.unwrap_or_else(|| self.client.program_name.clone()),
        };
        self.writes = Arc::new(self.writes.change(&self.context, &change.user));
        self.candidates = self.policy.rules.candidates(&self.client);
        self.account.close(&self.context.evidence);
        self.account = Account::new(self.client.feature(), self.context.now());
        *self.entry.labels.lock() = EntryLabels {
            user: change.user.clone(),
            schema: change.schema.clone(),
            program: self.client.program_name.clone(),
        };
        if !self.facts.is_mariadb() {
            self.apply_login_flags();
        }
        self.image_changed();
        let limit = self.context.settings.login_timeout;
        let verified = timeout(limit, self.verify_schema(change.schema.as_deref())).await;
        let verified = verified.unwrap_or_else(|_| Err(not_asked(&self.context).into()));
        match verified {
            Ok(()) => {
                self.begin_tracking();
                self.tell_schema();
                self.send_ok();
                Ok(())
            }
            Err(Refusal::Error(error)) => {
                self.send_error(&error).await?;
                Err(Stop::Fatal)
            }
            Err(Refusal::Gone) => Err(Stop::Client),
        }
    }

    /// Everything a reset forgets; the schema stays, and so does what the client has written: it
    /// would see that on the server itself. So does what it has used, or a batch would shed that.
    fn forget_session(&mut self) {
        self.kept_rule = None;
        self.statements.clear();
        self.open_cursors.clear();
        self.long_data.clear();
        self.spoilt_data.clear();
        self.begun_mode = None;
        self.begun_charset = None;
        self.begun_limit = None;
        self.begun_kept = None;
        self.prepared_texts = Effects::empty();
        self.image.reset_variables();
        self.image_warns = false;
        self.owes_deadlock = false;
        self.life = self.life.next();
        self.asks_conditions = false;
        self.keeps_conditions = false;
        // FOUND_ROWS() outlives both kinds of reset.
        self.diagnostics = self.diagnostics.after_reset();
        self.begin_with_autocommit();
        self.status = Status::AUTOCOMMIT;
        self.is_status_told = true;
    }
}

/// Whether a statement reads, be it a schema that each server fills on its own, and does nothing else.
fn is_read(work: &Work<'_>) -> bool {
    let reads_system_schema = work.verdict.reason == Reason::SystemSchema && is_just_query(work);
    work.verdict.class == Class::Read || reads_system_schema
}

/// How far a response was read for which there is no client.
enum Drained {
    /// To its end.
    Whole,
    /// Into a result set of more than [`LEFT_MAX`] bytes.
    Cut,
}

/// Reads the rest of a response, if it is no long one.
async fn drain(checkout: &mut Checkout, response: &mut Response) -> Result<Drained, Failure> {
    let connection = checkout.connection();
    let mut left = LEFT_MAX;
    loop {
        let is_in_results = response.is_in_results();
        let advance = response.advance(&mut connection.inbox)?;
        if is_in_results || response.is_in_results() {
            let Some(rest) = left.checked_sub(advance.ready) else { return Ok(Drained::Cut) };
            left = rest;
        }
        connection.inbox.truncate(advance.length);
        connection.inbox.drain(..advance.ready);
        match advance.next {
            crate::protocol::response::Next::Done if connection.inbox.is_empty() => {
                return Ok(Drained::Whole);
            }
            crate::protocol::response::Next::Done => {
                return Err(Malformed { what: "bytes behind a response", offset: 0 }.into());
            }
            crate::protocol::response::Next::Infile => {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            crate::protocol::response::Next::Instead(skipped) => {
                connection.inbox.drain(..skipped);
                let _ = response.take_instead();
                continue;
            }
            crate::protocol::response::Next::More => {}
        }
        if read::fill(&mut connection.stream, &mut connection.inbox).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn all_pins(mut pins: Pins) -> Pins {
    pins.add(Pin::StateChanged);
    pins
}

/// Makes a connection clean, and gives it back; or gets rid of it.
async fn undo(mut checkout: Checkout, leftovers: Leftovers, family: Family) {
    let undone = undone(checkout.connection(), &leftovers, family).await;
    give_back(checkout, undone, &leftovers.writes);
}

/// Undoes what a session has left; an error says how to get rid of the connection.
async fn undone(
    connection: &mut Connection,
    leftovers: &Leftovers,
    family: Family,
) -> Result<Reset, Retire> {
    let resets = !leftovers.pins.is_empty() || connection.ran != Ran::Plain;
    let is_untold = resets && leftovers.in_transaction;
    if is_untold {
        // A reset does not say what was committed before.
        leftovers.writes.note_unknown();
    }
    let undoing = async {
        if resets {
            // FACT(mariadb 10.11): a reset of a connection with a prepared XA branch, in which ROLLBACK is
            // refused, loses the branch and spoils the connection, whose end keeps it; test:
            // `a_prepared_branch_outlives_its_session`.
            if leftovers.in_transaction && family.is_mariadb() {
                match connection.roll_back().await {
                    Err(Failure::Malformed(_)) => return Ok(Reset::Refused),
                    told => leftovers.writes.note_told(&told?),
                }
            }
            return connection.reset(family).await;
        }
        if leftovers.in_transaction {
            leftovers.writes.note_told(&connection.roll_back().await?);
        }
        Ok::<Reset, Failure>(Reset::Clean)
    };
    let undone = match timeout(RESET_WAIT, undoing).await {
        Ok(Ok(reset)) => Ok(reset),
        Ok(Err(_)) => Err(Retire::Quit(Closed::Broken)),
        Err(_) => Err(Retire::Kill),
    };
    if is_untold {
        // Nor which rows its rollback has not taken back, which a reading meanwhile need not have.
        leftovers.writes.note_unknown();
    }
    if undone.is_ok() && !connection.base.only_reads {
        leftovers.writes.hold_back(false);
    }
    undone
}

fn give_back(checkout: Checkout, undone: Result<Reset, Retire>, writes: &Arc<WriteTracker>) {
    match undone {
        Ok(Reset::Clean) => checkout.check_in(),
        Ok(Reset::KeepsRole | Reset::KeepsTexts | Reset::Refused) => {
            checkout.discard(Retire::Quit(Closed::ResetFailed));
        }
        Err(how) => writes.discard(checkout, how),
    }
}
