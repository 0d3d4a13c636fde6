//! From a client's connect to its first command.

pub(super) mod admittance;
pub(super) mod auth;
pub(super) mod identity;
pub(super) mod lockout;
pub(super) mod password;
pub(super) mod throttle;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::absorb::writes::WriteTracker;
use super::diagnostics::Diagnostics;
use super::keep::LastHeard;
use super::registry::{Entry, EntryLabels, Registration};
use super::statement::Refusal;
use super::wire::Wire;
use super::{Context, Session};
use crate::backend::Life;
use crate::config::settings::{Abandoned, TlsMode};
use crate::error::Error;
use crate::lanes::{Account, ClientFacts};
use crate::metrics::{LoginFailure, Origin};
use crate::net::certificate::ClientTls;
use crate::net::proxy_header::Start;
use crate::net::socket::Socket;
use crate::protocol::auth::{NATIVE, NONCE, nonce};
use crate::protocol::compress::{Algorithm, ZSTD_LEVELS};
use crate::protocol::handshake::{Greeting, HandshakeResponse, asks_for_tls, is_old};
use crate::protocol::status::Status;
use crate::protocol::{Capabilities, Family, code, packet};
use crate::sql::{Effects, Snapshot};
use crate::state::{Image, Pins};
use crate::topology::ServerFacts;
use auth::{
    Claim, Progress, Unproved, cut, default_plugin, old_client, told_address, told_attributes,
    verify,
};
use identity::Identity;

/// How long a client waits for Fairlane's first contact with its primary.
const FACTS_WAIT: Duration = Duration::from_secs(5);

/// A client that is not to stay.
enum Leave {
    /// It is told why.
    Told(LoginFailure, Error),
    /// Likewise, in the words of before MySQL 4.1.
    ToldOld(LoginFailure, Error),
    /// It is gone, or has not said anything for too long.
    Silent(LoginFailure),
}

impl Leave {
    fn from_unproved(unproved: Unproved) -> Self {
        match unproved {
            Unproved::Refused(error @ (Error::OutOfOrder | Error::BadHandshake)) => {
                Self::Told(LoginFailure::Protocol, error)
            }
            Unproved::Refused(error @ (Error::BackendUnavailable { .. } | Error::NotReady)) => {
                Self::Told(LoginFailure::Backend, error)
            }
            Unproved::Refused(error) => Self::Told(LoginFailure::Denied, error),
            Unproved::Gone => Self::Silent(LoginFailure::Protocol),
            Unproved::GaveUp => Self::Silent(LoginFailure::Denied),
        }
    }
}

/// Greets a client and logs it in; `None` when it is not to stay (it has been told why).
pub(super) async fn greet(
    context: Arc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Box<Session>> {
    let mut wire = Wire::new(Socket::Tcp(stream));
    let login_failed = |reason| context.metrics.sessions.logins_failed_total(reason).inc();
    let epoch = context.catch_up().await;
    let Some(facts) = context.topology.wait_for_facts(FACTS_WAIT).await else {
        login_failed(LoginFailure::Backend);
        refuse(&mut wire, &context, &Error::NotReady).await;
        return None;
    };
    let entry = Registration::join(&context, peer).await;
    let deadline = Instant::now() + context.settings.login_timeout;
    let greeted = timeout_at(deadline, exchange(&context, &facts, wire, &entry)).await;
    let Ok(Some((mut wire, greeted))) = greeted else {
        let timed_out = greeted.is_err();
        login_failed(if timed_out { LoginFailure::Timeout } else { LoginFailure::Protocol });
        return None;
    };
    let verified = async {
        let greeted = greeted?;
        let is_old = is_old(&greeted.payload);
        let (hello, mut claim) = greeted.into_claim(&context, entry.client())?;
        let verified = verify(&context, &mut claim, &mut wire, &entry).await;
        if is_old {
            return Err(leave_old(&context, verified.err()));
        }
        verified.map(|identity| (hello, claim, identity)).map_err(Leave::from_unproved)
    };
    let verified = timeout_at(deadline, verified).await;
    let (hello, claim, identity) = match verified {
        Ok(Ok(verified)) => verified,
        Ok(Err(Leave::Told(reason, error))) => {
            login_failed(reason);
            refuse(&mut wire, &context, &error).await;
            return None;
        }
        Ok(Err(Leave::ToldOld(reason, error))) => {
            login_failed(reason);
            context.metrics.error_sent(Origin::Fairlane, error.code().0);
            wire.push(&error.to_old_err_packet());
            let _ = wire.flush().await;
            return None;
        }
        Ok(Err(Leave::Silent(reason))) => {
            login_failed(reason);
            return None;
        }
        Err(_) => {
            login_failed(LoginFailure::Timeout);
            return None;
        }
    };
    let schema = hello.schema.clone();
    let compression = hello.compression();
    let session =
        new_session(context.clone(), facts, entry, wire, (hello, claim), (identity, epoch));
    let mut session = Box::new(session);
    session.image_changed();
    if context.settings.pool.abandoned == Abandoned::Kill {
        session.wire.end_with_client();
    }
    let verified = timeout_at(deadline, session.verify_schema(schema.as_deref())).await;
    let verified = verified.unwrap_or_else(|_| Err(not_asked(&context).into()));
    if let Err(refusal) = verified {
        let Refusal::Error(error) = refusal else {
            login_failed(LoginFailure::Protocol);
            return None;
        };
        login_failed(match error {
            Error::Server { code: code::ACCESS_DENIED, .. } => LoginFailure::Denied,
            Error::Server { .. } => LoginFailure::Schema,
            _ if error.is_busy() => LoginFailure::Busy,
            _ => LoginFailure::Backend,
        });
        let _ = session.send_error(&error).await;
        let _ = session.wire.flush().await;
        return None;
    }
    session.begin_tracking();
    session.tell_schema();
    session.send_ok();
    if session.wire.flush().await.is_err() {
        return None;
    }
    if let Some(algorithm) = compression {
        session.wire = session.wire.start_compression(algorithm);
    }
    Some(session)
}

/// What is to be said of a login that was refused with `error`. That no connection was free does not say why
/// while the primary does not answer.
pub(super) fn refused(context: &Context, error: Error) -> Error {
    match error.is_busy() && !context.topology.view().primary_up {
        true => {
            let backend = context.primary_pool().name().to_owned();
            let detail = "it does not answer, and has all connections".to_owned();
            Error::BackendUnavailable { backend, detail }
        }
        false => error,
    }
}

/// Why the primary has not agreed to a login within its time.
pub(super) fn not_asked(context: &Context) -> Error {
    let (rules, primary) = (&context.policy.get().rules, context.primary_pool());
    let (lane, backend) = (rules.default_lane(), primary.name().to_owned());
    match primary.has_free(lane) || !context.topology.view().primary_up {
        true => {
            let detail = "it did not answer within login_timeout".to_owned();
            Error::BackendUnavailable { backend, detail }
        }
        false => {
            let (lane, limit) = (rules.lane_name(lane).to_owned(), context.settings.login_timeout);
            Error::LoginQueued { lane, backend, limit }
        }
    }
}

/// Bytes of a program's name that are kept: it is shown, and matched with rules.
const PROGRAM_NAME_MAX: usize = 512;

/// A program's name as it is kept.
pub(super) fn program_name(mut told: String) -> String {
    if told.len() > PROGRAM_NAME_MAX {
        let mut ends = (0..=PROGRAM_NAME_MAX).rev();
        told.truncate(ends.find(|end| told.is_char_boundary(*end)).unwrap_or_default());
    }
    told
}

/// A session of a client that has proved who it is.
fn new_session(
    context: Arc<Context>,
    facts: Arc<ServerFacts>,
    entry: Registration,
    wire: Wire,
    (hello, claim): (HandshakeResponse, Claim),
    (identity, epoch): (Identity, u64),
) -> Session {
    let program = program_name(attribute(&hello, "program_name"));
    let client = ClientFacts {
        user: claim.user.clone(),
        address: claim.address,
        program_name: program.clone(),
    };
    *entry.labels.lock() = EntryLabels { user: claim.user.clone(), schema: hello.schema, program };
    let (autocommit, begun_autocommit) = (facts.has_autocommit(), facts.begins_with_autocommit());
    let policy = context.policy.get();
    let writes = WriteTracker::new(&context, entry.id, &client.user);
    Session {
        life: Life::first(entry.id),
        variable_sets: 0,
        candidates: policy.rules.candidates(&client),
        policy,
        wire,
        peer: entry.client(),
        nonce: claim.nonce,
        capabilities: claim.capabilities,
        tls: claim.tls,
        identity,
        begun_after: epoch,
        epoch,
        choice: None,
        account: Account::new(client.feature(), context.now()),
        client,
        kept_rule: None,
        image: Image::default(),
        trackers: None,
        teller: None,
        mode: crate::sql::Mode::default(),
        writes: Arc::new(writes),
        diagnostics: Diagnostics::default(),
        statements: crate::state::prepared::Statements::default(),
        open_cursors: Vec::new(),
        long_data: Vec::new(),
        spoilt_data: Vec::new(),
        begun_mode: None,
        begun_charset: None,
        begun_limit: None,
        begun_kept: None,
        begun_autocommit,
        under_way: super::UnderWay::default(),
        held: None,
        last_heard: LastHeard::default(),
        begun: None,
        pins: Pins::default(),
        holdings: crate::state::Holdings::default(),
        prepared_texts: Effects::empty(),
        characteristics: crate::state::Characteristics::default(),
        shown: super::absorb::binding::Shown::default(),
        status: Status::AUTOCOMMIT,
        autocommit,
        is_status_told: true,
        image_warns: false,
        asks_conditions: false,
        keeps_conditions: false,
        is_released: false,
        owes_deadlock: false,
        snapshot: Snapshot::None,
        last_replica: None,
        entry,
        facts,
        context,
    }
}

fn attribute(hello: &HandshakeResponse, name: &str) -> String {
    let found = hello.attributes.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Tells a client that there are too many.
pub(super) async fn turn_away(context: &Context, stream: TcpStream) {
    context.metrics.sessions.refused_total.inc();
    refuse(&mut Wire::new(Socket::Tcp(stream)), context, &Error::TooManyClients).await;
}

async fn refuse(wire: &mut Wire, context: &Context, error: &Error) {
    context.metrics.error_sent(Origin::Fairlane, error.code().0);
    wire.push(&error.to_err_packet());
    let _ = wire.flush().await;
}

/// A client's answer to the greeting.
struct Greeted {
    payload: Vec<u8>,
    offered: Capabilities,
    nonce: [u8; NONCE],
    tls: Option<Arc<ClientTls>>,
}

/// Sends the greeting, turns TLS on if that is what the client wants, and reads its response.
/// `None` when the client is gone.
async fn exchange(
    context: &Context,
    facts: &ServerFacts,
    mut wire: Wire,
    entry: &Entry,
) -> Option<(Wire, Result<Greeted, Leave>)> {
    let Ok(nonce) = nonce() else {
        return Some((wire, Err(Leave::Told(LoginFailure::Backend, Error::NotReady))));
    };
    let acceptor = context.tls.as_ref().filter(|_| offers_tls(context, facts));
    let mut offered = Capabilities::from_bits_retain(facts.capabilities).offered();
    offered.set(Capabilities::SSL, acceptor.is_some());
    let greeting = Greeting {
        version: facts.version.clone(),
        thread_id: entry.id,
        nonce: nonce.to_vec(),
        capabilities: offered,
        collation: facts.collation,
        status: facts.status,
        plugin: default_plugin(context).to_owned(),
    };
    wire.push(&greeting.encode());
    if let Err(leave) = take_proxy_header(context, &mut wire, entry).await? {
        return Some((wire, Err(leave)));
    }
    let mut payload = match wire.ask().await {
        Ok(payload) => payload,
        Err(error) => return Some((wire, Err(Leave::from_unproved(error.into())))),
    };
    if let Some(acceptor) = acceptor.filter(|_| asks_for_tls(&payload)) {
        wire = match wire.start_tls(acceptor).await {
            Ok(wire) => wire,
            Err(error) => {
                tracing::debug!(%error, "no TLS with a client");
                return None;
            }
        };
        payload = match wire.ask().await {
            Ok(payload) => payload,
            Err(error) => return Some((wire, Err(Leave::from_unproved(error.into())))),
        };
    }
    let tls = wire.stream.client_tls().map(Arc::new);
    Some((wire, Ok(Greeted { payload, offered, nonce, tls })))
}

/// Takes the header of a load balancer off, if there is one, and keeps the client's address.
/// `None` when the peer is gone.
async fn take_proxy_header(
    context: &Context,
    wire: &mut Wire,
    entry: &Entry,
) -> Option<Result<(), Leave>> {
    let peer = entry.peer.ip().to_canonical();
    let is_trusted = context.settings.proxy_networks.iter().any(|trusted| trusted.contains(&peer));
    let error = match wire.start(is_trusted).await.ok()? {
        Start::Absent => return Some(Ok(())),
        Start::Header { client, .. } if is_trusted => {
            client.into_iter().for_each(|client| entry.speaks_for(client));
            return Some(Ok(()));
        }
        Start::Malformed if is_trusted => Error::ProxyHeader,
        Start::Header { .. } | Start::Incomplete | Start::Malformed => Error::ProxyHeaderFrom(peer),
    };
    tracing::debug!(%peer, %error, "PROXY protocol");
    Some(Err(Leave::Told(LoginFailure::ProxyHeader, error)))
}

fn offers_tls(context: &Context, facts: &ServerFacts) -> bool {
    match context.settings.tls.mode {
        TlsMode::Disabled => false,
        TlsMode::Preferred | TlsMode::Required => true,
        TlsMode::AsPrimary => facts.capabilities & Capabilities::SSL.bits() != 0,
    }
}

impl Greeted {
    fn into_claim(
        self,
        context: &Context,
        client: SocketAddr,
    ) -> Result<(HandshakeResponse, Claim), Leave> {
        let told = |error| Leave::Told(LoginFailure::Protocol, error);
        let told_old = |error| Leave::ToldOld(LoginFailure::Protocol, error);
        let mut hello = match is_old(&self.payload) {
            true => HandshakeResponse::parse_old(&self.payload)
                .map_err(|_| told_old(Error::BadHandshake))?,
            false => HandshakeResponse::parse(&self.payload, self.offered)
                .map_err(|_| told(Error::BadHandshake))?,
        };
        let is_scrambled_newly = hello.capabilities.contains(Capabilities::SECURE_CONNECTION);
        let family = context.family();
        if is_old(&self.payload) && !family.is_mariadb() {
            return Err(told_old(match is_scrambled_newly {
                true => old_client(context),
                false => Error::BadHandshake,
            }));
        }
        if is_old(&self.payload) && !is_scrambled_newly && !hello.auth.is_empty() {
            return Err(told_old(old_client(context)));
        }
        if hello.compresses_unasked {
            return Err(told(Error::Compression));
        }
        if context.settings.tls.mode == TlsMode::Required && self.tls.is_none() {
            return Err(Leave::Told(LoginFailure::Denied, Error::TlsRequired));
        }
        if let Some(Algorithm::Zstd { level }) = hello.compression()
            && !ZSTD_LEVELS.contains(&level)
        {
            return Err(told(Error::ZstdLevel));
        }
        let plugin = match hello.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            // Also an empty name: it is none the reply could be for.
            true => hello.plugin.clone(),
            false => NATIVE.to_owned(),
        };
        let claim = Claim {
            user: user_name(&hello.user, family).to_owned(),
            address: client.ip(),
            told: told_address(context, client.ip()),
            attributes: told_attributes(context, &hello.attributes),
            plugin,
            reply: std::mem::take(&mut hello.auth),
            nonce: self.nonce,
            keeps_nonce: false,
            capabilities: hello.capabilities,
            collation: hello.collation,
            family,
            names: context.topology.accounts().names(),
            tls: self.tls,
            progress: Progress::default(),
        };
        Ok((hello, claim))
    }
}

/// The end of a client of before MySQL 4.1: a wrong password is told as such, a right one does not
/// help it.
fn leave_old(context: &Context, unproved: Option<Unproved>) -> Leave {
    match unproved {
        Some(unproved) => match Leave::from_unproved(unproved) {
            Leave::Told(reason, error) => Leave::ToldOld(reason, error),
            leave => leave,
        },
        None => Leave::ToldOld(LoginFailure::Protocol, old_client(context)),
    }
}

/// A user name as the servers take it at a login (COM_CHANGE_USER leaves it as it is): without single
/// quotes around it and then cut at 128 characters (MariaDB), or cut at the bytes that 32 may have and
/// then without them (MySQL).
fn user_name(given: &str, family: Family) -> &str {
    if !family.is_mariadb() {
        return unquoted(cut(given, 96));
    }
    let given = unquoted(given);
    given.char_indices().nth(128).map_or(given, |(end, _)| &given[..end])
}

fn unquoted(name: &str) -> &str {
    name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name)
}

/// The error an answer consists of.
pub(super) fn server_error(bytes: &[u8], code: Option<u16>) -> Option<Error> {
    code?;
    let framed = packet::frame(bytes).ok()?;
    let payload = packet::payload(bytes, &framed);
    let error = crate::protocol::status::ErrPacket::parse(&payload).ok()?;
    Some(Error::Server {
        code: error.code,
        sqlstate: String::from_utf8_lossy(error.sqlstate).into_owned(),
        message: error.message.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::user_name;
    use crate::protocol::Family;

    #[test]
    fn user_names_are_taken_as_the_servers_take_them() {
        for name in ["'app'", "app"] {
            assert_eq!(user_name(name, Family::MariaDb), "app");
            assert_eq!(user_name(name, Family::MySql), "app");
        }
        for name in ["'app", "app'", "\"app\"", "'"] {
            assert_eq!(user_name(name, Family::MariaDb), name);
            assert_eq!(user_name(name, Family::MySql), name);
        }
        assert_eq!(user_name("''", Family::MariaDb), "");
        let long = format!("'{}'", "a".repeat(130));
        assert_eq!(user_name(&long, Family::MariaDb), "a".repeat(128));
        assert_eq!(user_name(&long, Family::MySql), &long[..96]);
    }
}
