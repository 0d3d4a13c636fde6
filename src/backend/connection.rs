//! A logged-in connection and the commands Fairlane itself gives on it.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::farewell::LINGER;
use super::life::Life;
use super::names::NamesMemory;
use super::persona::Persona;
use super::reset::KEEP_TEXTS;
use super::residue::Residue;
use super::routine::{LockCounts, Ran};
use super::statement::StatementCache;
use super::unread::UnreadHere;
use crate::net::attributes::Attributes;
use crate::net::read::fill_unless;
use crate::net::socket::{Socket, Watch};
use crate::net::worker::WorkerId;
use crate::protocol::attribute;
use crate::protocol::metadata::Expected;
use crate::protocol::packet::{self, HEADER};
use crate::protocol::response::{Response, Summary};
use crate::protocol::sha2;
use crate::protocol::status::Tracked;
use crate::protocol::tracking::Reported;
use crate::protocol::{Capabilities, Command, Malformed, Shape, code};
use crate::route::whereabouts::Whereabouts;
use crate::state::diff::Diff;
use crate::state::transaction_names::READ_ONLY;
use crate::state::{Base, Image};

/// An idle connection this long without use is asked by a system call whether it still lives;
/// for younger ones the reactor's word is enough.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// The least `wait_timeout` of servers.
const SHORTEST_LIMIT: Duration = Duration::from_secs(1);
/// Most bytes of an answer to a command of Fairlane's own.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// What was fixed at login. Connections with equal keys serve the same sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// User name.
    pub user: Box<str>,
    /// Double hash of the password, or `None` for the empty one: accounts of the same name with
    /// different passwords are never mixed.
    pub stored: Option<DoubleHash>,
    /// Capabilities asked for.
    pub capabilities: Capabilities,
    /// Collation id given at login.
    pub collation: u8,
    /// The client's address, where servers are told it: privileges and USER() hang on it.
    pub client: Option<IpAddr>,
    /// The client's connection attributes, where servers are told them.
    pub attributes: Option<Arc<Attributes>>,
    /// For an account whose password has expired. Such a connection is one session's alone.
    pub expired: Option<ExpiredLogin>,
}

#[cfg(test)]
impl ConnectionKey {
    /// That of a user without a password.
    pub fn of_user(user: &str) -> Self {
        Self {
            user: user.into(),
            stored: None,
            capabilities: Capabilities::empty(),
            collation: 45,
            client: None,
            attributes: None,
            expired: None,
        }
    }
}

/// The login of an account whose password has expired: until the password is changed the server
/// takes no command that would choose a schema later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExpiredLogin {
    /// Schema to log in with.
    pub schema: Option<Box<str>>,
}

/// A password hashed as its plugin does it, and more.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoubleHash {
    /// With SHA-1: `mysql_native_password`.
    Sha1([u8; 20]),
    /// With SHA-256, the account's stored text behind it: `caching_sha2_password`.
    Sha256(sha2::Double),
}

impl std::fmt::Debug for DoubleHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DoubleHash(..)")
    }
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: Socket,
    /// The worker whose event queue the socket is registered with.
    pub home: WorkerId,
    /// Bytes read and not interpreted.
    pub inbox: Vec<u8>,
    /// The server's id of it, for KILL.
    pub thread_id: u64,
    /// What was fixed at login.
    pub key: Arc<ConnectionKey>,
    /// Schema and variables now.
    pub image: Image,
    /// What its sessions' statements have left on it.
    pub residue: Residue,
    /// The session that was on it last, and how often it had set user variables of its image by then.
    pub given: Option<(Life, u32)>,
    /// What its session has run on it.
    pub ran: Ran,
    /// What was counted of locks when that was asked last.
    pub lock_counts: LockCounts,
    /// When its account was seen to have no role to set (MySQL), and after how many changes of privileges.
    pub roleless_since: Option<(Instant, u64)>,
    /// Whether its account may turn the session's binary log off, by rights of its own or of the roles it has begun
    /// with; if that was asked.
    pub may_switch_log: Option<bool>,
    /// Character sets after login.
    pub base: Base,
    /// The values of [`begun::NAMES`](crate::state::begun::NAMES) that it has begun with, also anew, until somebody
    /// has compared them with the primary's. Of connections to a replica, where `init_connect` sets no others.
    pub begun: Option<Vec<String>>,
    /// Whom the server takes its user for.
    pub persona: Persona,
    /// The role after login; empty is none.
    pub role: String,
    /// Whether a session has begun on it that can only read.
    pub is_read_only: bool,
    /// A transaction that `init_connect` has begun is open, and no session has had the connection yet.
    pub has_begun: bool,
    /// What texts of SET NAMES came to on it.
    pub names: NamesMemory,
    /// Statements prepared on it.
    pub statements: StatementCache,
    /// When it was logged in.
    pub opened_at: Instant,
    /// When it was last given back.
    pub idle_since: Instant,
    /// Bytes sent to the server, as they are without compression.
    pub bytes_sent: u64,
    /// What LAST_INSERT_ID() is on it, if that is known and it is not dirty; while `unread` is
    /// there, what it was before.
    pub insert_id: Option<u64>,
    /// A session's LAST_INSERT_ID() that nobody has asked for yet.
    pub unread: Option<UnreadHere>,
    /// What its transaction trackers have reported last.
    pub reported: Reported,
    /// What the server says it is; empty when it does not.
    pub server: String,
    /// Its generation, see `route::whereabouts`.
    pub generation: u16,
    /// Where connections like it lead to now.
    pub place: Arc<Whereabouts>,
    /// Which changes of what sessions begin with its login came after.
    pub epoch: u64,
    /// Which changes of schemas the choice of its schema came after.
    pub schema_epoch: u64,
    /// What the choice of its schema came after at least; `None` of one that nobody has noted.
    pub choice: Option<Choice>,
    /// When its schema was last chosen once more for nothing but the privileges on it.
    pub renewed_at: Option<Instant>,
    /// The server takes nothing but a new password; it is not set up.
    pub is_restricted: bool,
    /// The server may leave what it is sent lying.
    pub(super) is_patient: bool,
    /// The right to exist: one of the backend's bounded number of connections.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// When a schema was chosen: a server gives the privileges on it then, until the next choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The time.
    pub at: Instant,
    /// It came after so many changes of what sessions begin with.
    pub epoch: u64,
}

impl Choice {
    /// Whether it came after `other` and all that had been changed by then.
    pub fn is_as_of(&self, other: &Self) -> bool {
        self.at >= other.at && self.epoch >= other.epoch
    }
}

/// The whole answer to a command.
#[derive(Debug)]
pub struct Exchange {
    /// What it said.
    pub summary: Summary,
    /// Its packets.
    pub bytes: Vec<u8>,
}

/// Why a command has no answer. The connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The socket failed or was closed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer is not legal.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nobody waits for the answer any more.
    #[error("abandoned before the answer")]
    Abandoned,
}

impl Connection {
    /// Gives the connection its right to exist, which goes back when the server has forgotten it.
    pub fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self.permit = Some(permit);
    }

    /// Takes it out: the connection counts as long as that is kept.
    pub fn take_permit(&mut self) -> Option<OwnedSemaphorePermit> {
        self.permit.take()
    }

    /// Whether this worker watches the socket already.
    pub fn is_here(&self) -> bool {
        self.home == WorkerId::current()
    }

    /// The same connection, with its socket watched by the worker that is going to use it.
    ///
    /// # Errors
    /// When the socket can't be registered; the connection is gone then.
    pub fn move_here(self: Box<Self>) -> io::Result<Box<Self>> {
        if self.is_here() {
            return Ok(self);
        }
        let home = WorkerId::current();
        let connection = *self;
        match connection.stream.adopt() {
            Ok(stream) => Ok(Box::new(Self { stream, home, ..connection })),
            Err(error) => {
                let permit = connection.permit;
                tokio::spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    drop(permit);
                });
                Err(error)
            }
        }
    }

    /// Whether result sets end in OK packets.
    pub fn deprecates_eof(&self) -> bool {
        self.key.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    /// Whether the server leaves out the column definitions of prepared statements that it has
    /// sent before.
    pub fn caches_metadata(&self) -> bool {
        self.key.capabilities.contains(Capabilities::MARIADB_CACHE_METADATA)
    }

    /// Whether an idle connection can still be used: the server has neither closed it nor said
    /// anything unasked.
    pub fn is_alive(&self, now: Instant) -> bool {
        let silent = match self.stream.try_read(&mut [0; 1]) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        };
        let silent = silent && self.inbox.is_empty() && self.stream.is_at_rest();
        if !silent || now.duration_since(self.idle_since) < ASK_AFTER {
            return silent;
        }
        let mut byte = [MaybeUninit::uninit(); 1];
        let asked = self.stream.raw().peek(&mut byte);
        matches!(asked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether it can be given to a session: it is alive, and its server is not about to close it.
    pub fn is_usable(&self, now: Instant) -> bool {
        !self.has_rested_long(now) && self.is_alive(now)
    }

    /// Whether it has rested for nearly as long as its server lets it: what is sent now may meet its end.
    pub fn has_rested_long(&self, now: Instant) -> bool {
        let rested = now.duration_since(self.idle_since);
        // Its limit is asked for only where it is not in steady use.
        rested >= nearly(SHORTEST_LIMIT) && rested >= nearly(self.rest_limit())
    }

    /// How long its server lets it rest: the `wait_timeout` that it has, which may be a session's own.
    pub fn rest_limit(&self) -> Duration {
        const NAME: &str = "wait_timeout";
        let of_login = || self.base.of_login(NAME).map(|value| &**value);
        let seconds = self.image.get(NAME).or_else(of_login);
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        seconds.map_or(Duration::MAX, Duration::from_secs)
    }

    /// Writes whole packets.
    pub async fn send(&mut self, packets: &[u8]) -> Result<(), Failure> {
        self.bytes_sent += packets.len() as u64;
        if packets.len() > SMALL {
            self.be_patient();
        } else if self.is_patient {
            self.is_patient = false;
            self.stream.watch(Watch::SERVER);
        }
        let written = match self.stream.is_plain() {
            true => self.send_at_once(packets)?,
            false => 0,
        };
        match packets.get(written..) {
            Some(rest) if !rest.is_empty() => {
                self.stream.write_all(rest).await?;
                Ok(self.stream.flush().await?)
            }
            _ => Ok(()),
        }
    }

    /// More is sent than fits the server's buffers: it takes that when it comes to it.
    pub fn be_patient(&mut self) {
        if !self.is_patient {
            self.is_patient = true;
            self.stream.watch(Watch::PATIENT);
        }
    }

    /// Nearly always the socket takes all of it at once. Asked directly: a socket that has just
    /// moved here would have to wait for the event queue to call it writable.
    fn send_at_once(&self, packets: &[u8]) -> io::Result<usize> {
        match self.stream.raw().send(packets) {
            Err(error) if is_passing(error.kind()) => Ok(0),
            sent => sent,
        }
    }

    /// The answer to the next of the commands sent is to be read.
    pub fn begin_answer(&mut self) {
        if let Some(numbering) = self.stream.numbering() {
            numbering.begin_answer();
        }
    }

    /// Reads the whole answer to the next of the commands sent.
    pub async fn answer(&mut self, shape: Shape) -> Result<Exchange, Failure> {
        self.begin_answer();
        let mut response = Response::on(shape, self.key.capabilities);
        if self.caches_metadata() {
            response.keep_definitions(Expected::default());
        }
        let mut bytes = Vec::new();
        loop {
            let advance = response.advance(&mut self.inbox)?;
            self.inbox.truncate(advance.length);
            bytes.extend(self.inbox.drain(..advance.ready));
            if response.is_done() {
                let summary = response.into_summary();
                self.note_told(&summary);
                return Ok(Exchange { summary, bytes });
            }
            if bytes.len() > ANSWER_MAX {
                return Err(Malformed { what: "answer (too long)", offset: ANSWER_MAX }.into());
            }
            if self.read_more().await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Appends what comes to the inbox; 0 is the end. Whoever waits has to be woken to notice that the
    /// address has left the server long ago: sessions are, when it is given up.
    async fn read_more(&mut self) -> io::Result<usize> {
        let Self { stream, inbox, place, generation, .. } = self;
        fill_unless(stream, inbox, || place.is_forsaken(*generation)).await
    }

    /// Sends a SET of Fairlane's own, which is not to be seen in the image, and notes what is told beside it.
    pub async fn set_aside(&mut self, sql: &str) -> Result<Exchange, Failure> {
        let packet = self.packet(Command::Query, sql.as_bytes());
        self.send(&packet).await?;
        let exchange = self.answer(Shape::Results).await?;
        self.note_astray(&exchange.summary);
        Ok(exchange)
    }

    /// It has been given all that `image` has, but for what it keeps.
    pub fn was_given(&mut self, image: &Image) {
        self.image.turn_into(image);
        if self.base.only_reads {
            READ_ONLY.into_iter().for_each(|name| self.image.unset(name));
        }
    }

    /// What was told in answer to a statement of Fairlane's own, which has set none of these variables.
    pub fn note_astray(&mut self, summary: &Summary) {
        // The last two are told, and not told back, of a statement that says how long it waits (MariaDB).
        const OWN: [&str; 6] = [
            "last_gtid",
            "last_insert_id",
            "identity",
            "sql_select_limit",
            "lock_wait_timeout",
            "innodb_lock_wait_timeout",
        ];
        let is_set = |tracked: &Tracked| match tracked {
            Tracked::Variable { name, value } => {
                let is_own = OWN.contains(&&**name) || name.starts_with("session_track_");
                !is_own && self.image.get(name) != Some(&**value)
            }
            _ => false,
        };
        self.residue.is_astray |= summary.tracked.iter().any(is_set);
    }

    /// Remembers what the transaction trackers said, and that an error has told nothing.
    pub fn note_told(&mut self, summary: &Summary) {
        self.residue.has_untold &= summary.tracked.is_empty();
        self.residue.has_untold |= summary.error.is_some();
        if !summary.tracked.is_empty() {
            self.residue.has_to_tell = None;
        }
        let is_state = |tracked: &Tracked| matches!(tracked, Tracked::TransactionState(_));
        let is_ok = summary.has_status && summary.error.is_none();
        if is_ok && !summary.tracked.iter().any(is_state) {
            self.reported.note_untold(summary.status);
        }
        for tracked in &summary.tracked {
            match tracked {
                Tracked::TransactionState(state) => {
                    let letters = state.as_bytes().try_into();
                    self.reported.state = letters.unwrap_or(self.reported.state);
                }
                Tracked::Characteristics(text) => {
                    self.reported.characteristics = text.as_bytes().into();
                }
                Tracked::Variable { .. }
                | Tracked::Schema(_)
                | Tracked::StateChanged
                | Tracked::Gtids(_) => {}
            }
        }
    }

    /// What the server has told is in the image then.
    fn take_in(&mut self, told: &[Tracked]) {
        for tracked in told {
            self.image.apply(tracked);
            self.residue.keeps_texts |=
                matches!(tracked, Tracked::Variable { name, .. } if KEEP_TEXTS.contains(&&**name));
        }
    }

    /// Gives a command and reads the whole answer; what the server tracks goes into the image.
    pub async fn command(&mut self, command: Command, body: &[u8]) -> Result<Exchange, Failure> {
        self.send(&self.packet(command, body)).await?;
        let exchange = self.answer(command.shape()).await?;
        self.take_in(&exchange.summary.tracked);
        Ok(exchange)
    }

    /// Runs a statement text of Fairlane's own, which may be run any number of times: again where somebody's KILL QUERY
    /// has hit it, which was for nothing of Fairlane's.
    pub async fn query(&mut self, sql: &str) -> Result<Exchange, Failure> {
        const TRIES: usize = 10;
        for _ in 1..TRIES {
            let answer = self.command(Command::Query, sql.as_bytes()).await?;
            if answer.summary.error != Some(code::QUERY_INTERRUPTED) {
                return Ok(answer);
            }
            // What uses no table leaves the error in the list of warnings (MariaDB).
            self.residue.is_dirty = true;
        }
        self.command(Command::Query, sql.as_bytes()).await
    }

    /// Reads a LAST_INSERT_ID() that a session has left here, if it may still ask for it.
    pub async fn read_unread(&mut self) -> Result<(), Failure> {
        let mut question = Vec::new();
        if !self.put_question(&mut question) {
            return Ok(());
        }
        if let Err(error) = self.send(&question).await {
            // Its session is told at once.
            self.unread = None;
            return Err(error);
        }
        self.take_unread().await
    }

    /// Appends the question for that, unless nobody will ask for it.
    pub fn put_question(&mut self, out: &mut Vec<u8>) -> bool {
        self.drop_unwanted();
        if self.unread.is_some() {
            out.extend_from_slice(&self.packet(Command::Query, INSERT_ID.as_bytes()));
        }
        self.unread.is_some()
    }

    /// Forgets one whose session is over: what is there now is nobody's.
    pub fn drop_unwanted(&mut self) {
        if self.unread.as_ref().is_some_and(|unread| !unread.is_wanted()) {
            (self.unread, self.insert_id) = (None, None);
        }
    }

    /// Takes the answer to the question, which comes next.
    pub async fn take_unread(&mut self) -> Result<(), Failure> {
        let unread = self.unread.take();
        self.insert_id = None;
        let answer = self.answer(Shape::Results).await?;
        self.take_in(&answer.summary.tracked);
        self.insert_id = insert_id_of(&answer);
        if let Some(unread) = unread {
            unread.tell(self.insert_id);
        }
        Ok(())
    }

    /// What LAST_INSERT_ID() is now. Statements of Fairlane's own may be refused
    /// (max_statement_time, a killed query): `None`.
    pub async fn read_insert_id(&mut self) -> Result<Option<u64>, Failure> {
        Ok(insert_id_of(&self.query(INSERT_ID).await?))
    }

    /// A command of Fairlane's own as a packet for this connection.
    pub fn packet(&self, command: Command, body: &[u8]) -> Vec<u8> {
        match command {
            Command::Query if self.key.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) => {
                command_packet(command, &[attribute::NONE, body].concat())
            }
            _ => command_packet(command, body),
        }
    }

    /// Appends the commands of `diff` to `out`; returns how many there are.
    pub fn put_diff(&self, diff: &Diff, out: &mut Vec<u8>) -> usize {
        let mut commands = 0;
        if let Some(schema) = &diff.schema {
            out.extend_from_slice(&command_packet(Command::InitDb, schema.as_bytes()));
            commands += 1;
        }
        if let Some(set) = &diff.set {
            out.extend_from_slice(&self.packet(Command::Query, set.as_bytes()));
            commands += 1;
        }
        commands
    }

    /// The same, for a statement that is to be refused unless they do all they are to do.
    pub fn put_fused(&self, diff: &Diff, out: &mut Vec<u8>) -> usize {
        let fused = diff.fused(self.base.transaction);
        out.extend_from_slice(&self.packet(Command::Query, fused.fuse.as_bytes()));
        let diff = Diff { schema: diff.schema.clone(), set: Some(fused.set) };
        1 + self.put_diff(&diff, out)
    }
}

/// Bytes that fit the buffers of every kernel.
const SMALL: usize = 64 * 1024;

const INSERT_ID: &str = "SELECT LAST_INSERT_ID() LIMIT 1";

fn insert_id_of(answer: &Exchange) -> Option<u64> {
    answer.first_row().first().and_then(|id| id.parse().ok())
}

/// The part of a limit after which it is too close: a statement takes time to arrive.
fn nearly(limit: Duration) -> Duration {
    limit - limit / 10
}

/// Whether a socket only could not do it at once.
fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A command as a packet on the wire.
pub fn command_packet(command: Command, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(body.len() + 1);
    payload.push(command as u8);
    payload.extend_from_slice(body);
    let mut out = Vec::with_capacity(payload.len() + HEADER);
    packet::put(&mut out, 0, &payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_not_used_shortly_before_its_servers_limit() {
        assert_eq!(nearly(SHORTEST_LIMIT), Duration::from_millis(900));
        assert_eq!(nearly(Duration::from_secs(28_800)), Duration::from_secs(25_920));
        assert!(nearly(Duration::MAX) > Duration::MAX / 2);
    }
}
