//! Opening a connection: handshake as the client's own user, trackers, character sets.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::connection::{Connection, ConnectionKey, Failure};
use super::names::NamesMemory;
use super::persona::Persona;
use super::residue::Residue;
use super::routine::{LockCounts, Ran};
use super::statement::StatementCache;
use crate::config::settings::{Address, Backend, BackendCompression, ProxyProtocol};
use crate::error::Error;
use crate::net::attributes;
use crate::net::connector::Connector;
use crate::net::proxy_header;
use crate::net::read::{self, ReadError};
use crate::net::rsa;
use crate::net::socket::Socket;
use crate::net::tls::TlsError;
use crate::net::worker::WorkerId;
use crate::protocol::auth::{NATIVE, Proof};
use crate::protocol::compress::Algorithm;
use crate::protocol::handshake::{Greeting, HandshakeResponse, parse_auth_switch, tls_request};
use crate::protocol::sha2::{self, CACHING_SHA2, SHA256};
use crate::protocol::status::ErrPacket;
use crate::protocol::{Capabilities, Family, Malformed, code, ed25519, packet, parsec};
use crate::state::{Base, Image, TransactionNames};

/// Largest packet Fairlane takes, as the servers want to be told.
const MAX_PACKET: u32 = 1 << 30;
/// Most bytes of a packet of the connection phase.
const LOGIN_PACKET_MAX: usize = 64 * 1024;

/// Level of zstd in both directions: what MySQL's own clients ask for by default.
/// Source: <https://dev.mysql.com/doc/refman/8.4/en/connection-options.html>.
const ZSTD_LEVEL: u8 = 3;

/// How Fairlane proves to a server that it is the client's user.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The account has no password.
    Empty,
    /// SHA1 of the password, taken from the client's own login.
    Proof(Proof),
    /// The password itself, as bytes of any character set.
    Password(SecretSlice<u8>),
}

impl Credential {
    /// The password is this text.
    pub fn of_text(password: &SecretString) -> Self {
        Self::Password(SecretSlice::from(password.expose_secret().as_bytes().to_vec()))
    }

    /// Tells it from others, and gives it not away.
    pub fn digest(&self) -> sha2::Double {
        match self {
            Self::Empty => sha2::double(b""),
            Self::Proof(proof) => sha2::double(&proof.stored()),
            Self::Password(password) => sha2::double(password.expose_secret()),
        }
    }

    fn native_reply(&self, nonce: &[u8]) -> Vec<u8> {
        let proof = match self {
            Self::Empty => None,
            Self::Proof(proof) => Some(proof.clone()),
            Self::Password(password) => Proof::of_password(password.expose_secret()),
        };
        proof.map(|proof| proof.reply(nonce).to_vec()).unwrap_or_default()
    }

    fn reply(&self, plugin: &str, nonce: &[u8]) -> Option<Vec<u8>> {
        match (plugin, self) {
            (NATIVE, _) => Some(self.native_reply(nonce)),
            (CACHING_SHA2, Self::Empty) => Some(Vec::new()),
            (CACHING_SHA2, Self::Password(password)) => {
                Some(sha2::reply(password.expose_secret(), nonce))
            }
            (ed25519::CLIENT, Self::Password(password)) => {
                Some(ed25519::reply(password.expose_secret(), nonce))
            }
            // What is signed comes in a second packet; until then there is nothing to say.
            (parsec::PARSEC, Self::Password(_)) => Some(Vec::new()),
            _ => None,
        }
    }
}

/// The way to a server.
#[derive(Debug)]
pub struct Route {
    address: Address,
    proxy_protocol: ProxyProtocol,
    tls: ArcSwapOption<Connector>,
    compression: Option<Algorithm>,
    only_reads: bool,
}

impl Route {
    /// The way to the server of `settings`.
    ///
    /// # Errors
    /// When the files for TLS can't be used.
    pub fn new(settings: &Backend) -> Result<Self, TlsError> {
        let address = settings.address.clone();
        let tls = ArcSwapOption::from(Connector::new(&settings.tls, &address)?.map(Arc::new));
        let compression = match settings.compression {
            BackendCompression::Off => None,
            BackendCompression::Zlib => Some(Algorithm::Zlib),
            BackendCompression::Zstd => Some(Algorithm::Zstd { level: ZSTD_LEVEL }),
        };
        let proxy_protocol = settings.proxy_protocol;
        Ok(Self { address, proxy_protocol, tls, compression, only_reads: false })
    }

    /// The same, for sessions that can only read.
    #[must_use]
    pub fn of_reads(mut self) -> Self {
        self.only_reads = true;
        self
    }

    /// Reads the files for TLS again; connections to come use them.
    ///
    /// # Errors
    /// When they can't be used; the old ones stay.
    pub fn reload(&self, settings: &Backend) -> Result<(), TlsError> {
        self.tls.store(Connector::new(&settings.tls, &self.address)?.map(Arc::new));
        Ok(())
    }
}

/// Why there is no new connection.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server could not be reached or broke off.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server's packets make no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server refused, in its own words.
    #[error(transparent)]
    Refused(#[from] Error),
    /// It offers no TLS where the configuration wants it.
    #[error("the server offers no TLS, and the key tls of this server wants it")]
    NoTls,
    /// It does not offer the compression that the configuration wants.
    #[error(
        "the server offers no {0} compression, and the key compression of this server wants it"
    )]
    NoCompression(Algorithm),
    /// It is older than the primary whose capabilities the client was offered.
    #[error("the server lacks capabilities that the client was offered: {0:?}")]
    Capabilities(Capabilities),
    /// It wants an authentication plugin the credential is not good for.
    #[error("the server asks for the authentication plugin '{0}'")]
    Plugin(String),
    /// It was sent a PROXY protocol header, which may be why it refuses.
    #[error(
        "{0}; the key proxy_protocol of this server is only for servers that take PROXY protocol \
         headers from Fairlane"
    )]
    ProxyHeader(Box<Self>),
}

impl LoginError {
    /// Whether it looks like that of a server that did not expect a PROXY protocol header.
    fn is_of_header(&self) -> bool {
        match self {
            Self::Io(_) => true,
            Self::Refused(Error::Server { code, .. }) => {
                matches!(*code, code::HOST_NOT_PRIVILEGED | code::NET_PACKETS_OUT_OF_ORDER)
            }
            Self::Refused(_)
            | Self::Malformed(_)
            | Self::NoTls
            | Self::NoCompression(_)
            | Self::Capabilities(_)
            | Self::Plugin(_)
            | Self::ProxyHeader(_) => false,
        }
    }
}

impl From<Failure> for LoginError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => Self::Io(error),
            Failure::Malformed(malformed) => Self::Malformed(malformed),
            Failure::Abandoned => Self::Io(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl From<ReadError> for LoginError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Io(io::ErrorKind::UnexpectedEof.into()),
            ReadError::Broken(error) => Self::Io(error),
            ReadError::OutOfOrder => {
                Self::Malformed(Malformed { what: "login packet (out of order)", offset: 3 })
            }
            ReadError::TooLong { .. } => {
                Self::Malformed(Malformed { what: "login packet (too long)", offset: 0 })
            }
        }
    }
}

/// Connects and logs in as `key` says. The connection still has to be given its permit.
///
/// # Cancel safety
/// Not cancel safe: the connection is lost, while the server may still count it.
pub async fn open(
    route: &Route,
    key: Arc<ConnectionKey>,
    credential: &Credential,
) -> Result<Connection, LoginError> {
    let mut stream = Socket::connect(&route.address).await?;
    let is_told = tell_client(&mut stream, route, key.client).await?;
    let opened = log_in(stream, route, key, credential).await;
    opened.map_err(|error| match is_told && error.is_of_header() {
        true => LoginError::ProxyHeader(Box::new(error)),
        false => error,
    })
}

async fn log_in(
    mut stream: Socket,
    route: &Route,
    key: Arc<ConnectionKey>,
    credential: &Credential,
) -> Result<Connection, LoginError> {
    let mut inbox = Vec::new();
    let (_, payload) = login_packet(&mut stream, &mut inbox).await?;
    refuse_error(&payload)?;
    let greeting = Greeting::parse(&payload)?;
    let mut capabilities = negotiated(route, &key, greeting.capabilities)?;
    let mut sequence = 1;
    let schema = key.expired.as_ref().and_then(|login| login.schema.clone());
    capabilities.set(Capabilities::CONNECT_WITH_DB, schema.is_some());
    let offers_tls = greeting.capabilities.contains(Capabilities::SSL);
    let connector = route.tls.load_full().filter(|tls| offers_tls || !tls.is_optional);
    if let Some(connector) = connector {
        if !offers_tls {
            return Err(LoginError::NoTls);
        }
        capabilities |= Capabilities::SSL;
        send(&mut stream, sequence, &tls_request(capabilities, MAX_PACKET, key.collation)).await?;
        sequence += 1;
        stream = connector.connect(stream, std::mem::take(&mut inbox)).await?;
    }
    let plugin = if credential.reply(&greeting.plugin, &greeting.nonce).is_some() {
        greeting.plugin.clone()
    } else {
        NATIVE.to_owned()
    };
    let response = HandshakeResponse {
        capabilities,
        compresses_unasked: false,
        max_packet: MAX_PACKET,
        collation: key.collation,
        user: key.user.to_string(),
        auth: credential.reply(&plugin, &greeting.nonce).unwrap_or_default(),
        schema: schema.as_deref().map(str::to_owned),
        plugin,
        attributes: attributes::of_pool(key.attributes.as_deref()),
        zstd_level: ZSTD_LEVEL,
    };
    send(&mut stream, sequence, &response.encode()).await?;
    authenticate(&mut stream, &mut inbox, credential, greeting.nonce.clone()).await?;
    if let Some(algorithm) = route.compression {
        stream = stream.compressed_to_server(algorithm, std::mem::take(&mut inbox));
    }
    let family = match greeting.capabilities.contains(Capabilities::LONG_PASSWORD) {
        true => Family::MySql,
        false => Family::MariaDb,
    };
    let base = Base {
        transaction: TransactionNames::of(family, &greeting.version),
        only_reads: route.only_reads,
        ..Base::default()
    };
    let mut connection = fresh((stream, inbox), key, u64::from(greeting.thread_id), base);
    connection.is_restricted = !connection.set_up(family).await?;
    connection.image.schema = schema;
    if connection.is_restricted && connection.key.expired.is_none() {
        return Err(LoginError::Refused(Error::MustChangePassword { family }));
    }
    Ok(connection)
}

/// A connection on which nothing has run since its login.
fn fresh(
    (stream, inbox): (Socket, Vec<u8>),
    key: Arc<ConnectionKey>,
    thread_id: u64,
    base: Base,
) -> Connection {
    let now = Instant::now();
    Connection {
        stream,
        home: WorkerId::current(),
        inbox,
        thread_id,
        key,
        image: Image::default(),
        residue: Residue::default(),
        given: None,
        ran: Ran::Plain,
        lock_counts: LockCounts::default(),
        roleless_since: None,
        may_switch_log: None,
        base,
        begun: None,
        persona: Persona::default(),
        role: String::new(),
        is_read_only: false,
        has_begun: false,
        names: NamesMemory::default(),
        statements: StatementCache::default(),
        opened_at: now,
        idle_since: now,
        bytes_sent: 0,
        insert_id: Some(0),
        unread: None,
        reported: crate::protocol::tracking::Reported::default(),
        server: String::new(),
        generation: 0,
        place: Arc::default(),
        epoch: 0,
        schema_epoch: 0,
        choice: None,
        renewed_at: None,
        is_restricted: false,
        is_patient: false,
        permit: None,
    }
}

/// What is asked of a server that has `offered`.
fn negotiated(
    route: &Route,
    key: &ConnectionKey,
    offered: Capabilities,
) -> Result<Capabilities, LoginError> {
    let missing = (key.capabilities & Capabilities::FORM) - offered;
    if !missing.is_empty() {
        return Err(LoginError::Capabilities(missing));
    }
    let more = Capabilities::CONNECT_ATTRS | Capabilities::PLUGIN_AUTH_LENENC;
    let asked = key.capabilities.towards_backend(offered) | (more & offered);
    match route.compression {
        Some(algorithm) if !offered.contains(algorithm.capability()) => {
            Err(LoginError::NoCompression(algorithm))
        }
        Some(algorithm) => Ok(asked | algorithm.capability()),
        None => Ok(asked),
    }
}

/// Tells the server whom the connection is for, before anything else; whether it is told.
async fn tell_client(
    stream: &mut Socket,
    route: &Route,
    client: Option<IpAddr>,
) -> io::Result<bool> {
    let Some(client) = client.filter(|_| route.proxy_protocol != ProxyProtocol::Off) else {
        return Ok(false);
    };
    let server = stream.peer().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
    stream.write_all(&proxy_header::header(route.proxy_protocol, client, server)?).await?;
    Ok(true)
}

async fn authenticate(
    stream: &mut Socket,
    inbox: &mut Vec<u8>,
    credential: &Credential,
    mut nonce: Vec<u8>,
) -> Result<(), LoginError> {
    let mut unanswered = None;
    loop {
        let (sequence, payload) = login_packet(stream, inbox).await?;
        refuse_error(&payload)?;
        match payload.first() {
            Some(0x00) => return Ok(()),
            Some(0xfe) => {
                let plugin;
                (plugin, nonce) = parse_auth_switch(&payload)?;
                if plugin == SHA256 {
                    give_sha256(stream, inbox, credential, &nonce, sequence).await?;
                    continue;
                }
                // Without an answer it may be one of several methods: the server goes on to the next
                // when this one fails.
                let reply = credential.reply(&plugin, &nonce);
                unanswered = reply.is_none().then_some(plugin);
                send(stream, sequence.wrapping_add(1), &reply.unwrap_or_default()).await?;
            }
            Some(&sha2::MORE_DATA) if payload.get(1) == Some(&sha2::FAST_OK) => {}
            Some(&sha2::MORE_DATA) if payload.get(1) == Some(&sha2::FULL) => {
                give_password(stream, inbox, credential, &nonce, sequence).await?;
            }
            Some(_) if unanswered.as_deref() == Some(parsec::PARSEC) => {
                send(stream, sequence.wrapping_add(1), &[]).await?;
            }
            Some(_) if let Some(recipe) = parsec::Recipe::parse(&payload) => {
                let reply = sign(credential, &recipe, &nonce)?;
                send(stream, sequence.wrapping_add(1), &reply).await?;
            }
            _ => {
                return Err(match unanswered {
                    Some(plugin) => LoginError::Plugin(plugin),
                    None => Malformed { what: "authentication packet", offset: 0 }.into(),
                });
            }
        }
    }
}

/// The answer to a `parsec` server. It costs as many hashes as the server has asked for.
fn sign(
    credential: &Credential,
    recipe: &parsec::Recipe,
    server_nonce: &[u8],
) -> Result<Vec<u8>, LoginError> {
    let unable = || LoginError::Plugin(parsec::PARSEC.to_owned());
    let Credential::Password(password) = credential else { return Err(unable()) };
    let mut nonce = [0; parsec::NONCE];
    getrandom::fill(&mut nonce).map_err(|_| unable())?;
    recipe.reply(password.expose_secret(), server_nonce, &nonce).ok_or_else(unable)
}

/// The server does not have the password in its cache and wants it: openly where nobody can
/// listen, else encrypted with its key.
async fn give_password(
    stream: &mut Socket,
    inbox: &mut Vec<u8>,
    credential: &Credential,
    nonce: &[u8],
    sequence: u8,
) -> Result<(), LoginError> {
    let Credential::Password(password) = credential else {
        return Err(LoginError::Plugin(CACHING_SHA2.to_owned()));
    };
    if matches!(stream, Socket::Tcp(_)) {
        return give_encrypted(stream, inbox, password, (nonce, sequence, sha2::REQUEST_KEY)).await;
    }
    Ok(send(stream, sequence.wrapping_add(1), &on_wire(password)).await?)
}

/// sha256_password: the password openly over TLS, and not over a Unix socket (MySQL 9.7); else
/// encrypted.
async fn give_sha256(
    stream: &mut Socket,
    inbox: &mut Vec<u8>,
    credential: &Credential,
    nonce: &[u8],
    sequence: u8,
) -> Result<(), LoginError> {
    match credential {
        Credential::Empty => Ok(send(stream, sequence.wrapping_add(1), &[0]).await?),
        Credential::Proof(_) => Err(LoginError::Plugin(SHA256.to_owned())),
        Credential::Password(password) if matches!(stream, Socket::Tls(_)) => {
            Ok(send(stream, sequence.wrapping_add(1), &on_wire(password)).await?)
        }
        Credential::Password(password) => {
            let asked = (nonce, sequence, sha2::SHA256_REQUEST_KEY);
            give_encrypted(stream, inbox, password, asked).await
        }
    }
}

/// As passwords are sent: with a NUL behind them.
fn on_wire(password: &SecretSlice<u8>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([password.expose_secret(), &[0]].concat())
}

/// Asks for the server's key and encrypts the password with it.
async fn give_encrypted(
    stream: &mut Socket,
    inbox: &mut Vec<u8>,
    password: &SecretSlice<u8>,
    (nonce, sequence, request_key): (&[u8], u8, u8),
) -> Result<(), LoginError> {
    send(stream, sequence.wrapping_add(1), &[request_key]).await?;
    let (sequence, key) = login_packet(stream, inbox).await?;
    refuse_error(&key)?;
    let masked = sha2::mask(&on_wire(password), nonce);
    let encrypted = rsa::encrypt(&masked, key.get(1..).unwrap_or_default());
    let encrypted = encrypted.map_err(|_| Malformed { what: "RSA key", offset: 1 })?;
    Ok(send(stream, sequence.wrapping_add(1), &encrypted).await?)
}

fn refuse_error(payload: &[u8]) -> Result<(), LoginError> {
    if payload.first() != Some(&0xff) {
        return Ok(());
    }
    let error = ErrPacket::parse(payload)?;
    Err(LoginError::Refused(Error::Server {
        code: error.code,
        sqlstate: String::from_utf8_lossy(error.sqlstate).into_owned(),
        message: error.message.to_vec(),
    }))
}

async fn login_packet(
    stream: &mut Socket,
    inbox: &mut Vec<u8>,
) -> Result<(u8, Vec<u8>), LoginError> {
    let framed = read::packet(stream, inbox, LOGIN_PACKET_MAX).await?;
    let payload = packet::payload(inbox, &framed).into_owned();
    inbox.drain(..framed.wire_length);
    Ok((framed.last_sequence, payload))
}

async fn send(stream: &mut Socket, sequence: u8, payload: &[u8]) -> io::Result<()> {
    let mut out = Vec::with_capacity(payload.len() + packet::HEADER);
    packet::put(&mut out, sequence, payload);
    stream.write_all(&out).await?;
    stream.flush().await
}
