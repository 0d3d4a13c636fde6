//! From a client's connect to its first command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::auth::{Claim, verify};
use super::diagnostics::Diagnostics;
use super::identity::Identity;
use super::registry::{EntryLabels, Registration};
use super::wire::Wire;
use super::{Context, Session, Token};
use crate::error::Error;
use crate::lanes::ClientFacts;
use crate::metrics::{LoginFailure, Origin};
use crate::net::read;
use crate::pool::Request;
use crate::protocol::handshake::{Greeting, HandshakeResponse, auth_switch};
use crate::protocol::status::Status;
use crate::protocol::{Capabilities, Command, auth, packet};
use crate::state::{Image, Pins};
use crate::topology::ServerFacts;

/// Most bytes of a client's packet before it is logged in.
const LOGIN_PACKET_MAX: usize = 128 * 1024;
/// How long a client waits for Fairlane's first contact with its primary.
const FACTS_WAIT: Duration = Duration::from_secs(5);

/// A client that is not logged in yet.
struct Visitor {
    wire: Wire,
    sequence: u8,
}

/// Greets a client and logs it in; `None` when it is not to stay (it has been told why).
pub(super) async fn greet(
    context: Arc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Session> {
    let _ = stream.set_nodelay(true);
    let mut visitor = Visitor { wire: Wire::new(stream), sequence: 0 };
    let login_failed = |reason| context.metrics.sessions.logins_failed_total(reason).inc();
    if context.registry.len() >= context.settings.max_clients {
        context.metrics.sessions.refused_total.inc();
        visitor.refuse(&context, &Error::TooManyClients).await;
        return None;
    }
    let Some(facts) = context.topology.wait_for_facts(FACTS_WAIT).await else {
        login_failed(LoginFailure::Backend);
        visitor.refuse(&context, &Error::NotReady).await;
        return None;
    };
    let entry = Registration::join(&context, peer);
    let deadline = Instant::now() + context.settings.login_timeout;
    let exchange = Box::pin(visitor.exchange(&facts, entry.id));
    let hello = match timeout_at(deadline, exchange).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(Some(error))) => {
            login_failed(LoginFailure::Protocol);
            visitor.refuse(&context, &error).await;
            return None;
        }
        Ok(Err(None)) => {
            login_failed(LoginFailure::Protocol);
            return None;
        }
        Err(_) => {
            login_failed(LoginFailure::Timeout);
            return None;
        }
    };
    let claim = Claim {
        user: &hello.response.user,
        address: peer.ip(),
        reply: &hello.response.auth,
        nonce: &hello.nonce,
        capabilities: hello.response.capabilities,
        collation: hello.response.collation,
    };
    let schema = hello.response.schema.clone();
    let identity = match verify(&context, &claim).await {
        Ok(identity) => identity,
        Err(error) => {
            login_failed(LoginFailure::Denied);
            visitor.refuse(&context, &error).await;
            return None;
        }
    };
    let mut session =
        new_session(context.clone(), facts, entry, peer, visitor.wire, hello, identity);
    session.refresh_mode();
    session.wire.set_sequence(visitor.sequence);
    let verified = timeout_at(deadline, session.verify_schema(schema.as_deref())).await;
    let verified = verified.unwrap_or_else(|_| {
        let detail = "it did not answer within login_timeout".to_owned();
        Err(Error::BackendUnavailable { backend: context.pools[0].name().to_owned(), detail })
    });
    if let Err(error) = verified {
        login_failed(match error {
            Error::Server { .. } => LoginFailure::Schema,
            _ => LoginFailure::Backend,
        });
        let _ = session.send_error(&error).await;
        let _ = session.wire.flush().await;
        return None;
    }
    session.send_ok();
    if session.wire.flush().await.is_err() {
        return None;
    }
    Some(session)
}

/// A session of a client that has proved who it is.
fn new_session(
    context: Arc<Context>,
    facts: Arc<ServerFacts>,
    entry: Registration,
    peer: SocketAddr,
    wire: Wire,
    hello: Hello,
    identity: Identity,
) -> Session {
    let program = hello.attribute("program_name");
    let client = ClientFacts {
        user: hello.response.user.clone(),
        address: peer.ip(),
        program_name: program.clone(),
    };
    *entry.labels.lock() = EntryLabels {
        user: hello.response.user.clone(),
        schema: hello.response.schema.clone(),
        program,
    };
    let autocommit = facts.status & Status::AUTOCOMMIT.bits() != 0;
    Session {
        candidates: context.rules.candidates(&client),
        wire,
        peer,
        nonce: hello.nonce,
        capabilities: hello.response.capabilities,
        identity,
        client,
        kept_lane: None,
        image: Image::default(),
        mode: crate::sql::Mode::default(),
        token: Token::default(),
        diagnostics: Diagnostics::default(),
        statements: crate::state::prepared::Statements::default(),
        open_cursors: Vec::new(),
        long_data: Vec::new(),
        just_prepared: None,
        held: None,
        pins: Pins::default(),
        shown_pins: Pins::default(),
        status: Status::AUTOCOMMIT,
        autocommit,
        is_released: false,
        entry,
        facts,
        context,
    }
}

/// What a client said in its handshake.
struct Hello {
    response: HandshakeResponse,
    nonce: [u8; auth::NONCE],
}

impl Hello {
    fn attribute(&self, name: &str) -> String {
        let found = self.response.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

impl Visitor {
    async fn refuse(&mut self, context: &Context, error: &Error) {
        context.metrics.error_sent(Origin::Fairlane, error.code().0);
        self.wire.set_sequence(self.sequence);
        self.wire.push(&error.to_err_packet());
        let _ = self.wire.flush().await;
    }

    /// Greeting, response, and the switch to the one plugin Fairlane can pass through. The error
    /// is `None` when there is nobody left to tell.
    async fn exchange(&mut self, facts: &ServerFacts, id: u32) -> Result<Hello, Option<Error>> {
        let nonce = auth::nonce().map_err(|_| Some(Error::NotReady))?;
        let offered = Capabilities::from_bits_retain(facts.capabilities).offered();
        let greeting = Greeting {
            version: facts.version.clone(),
            thread_id: id,
            nonce: nonce.to_vec(),
            capabilities: offered,
            collation: facts.collation,
            status: facts.status,
            plugin: auth::NATIVE.to_owned(),
        };
        self.wire.push(&greeting.encode());
        self.wire.flush().await.map_err(|_| None)?;
        let payload = self.read().await?;
        let mut response =
            HandshakeResponse::parse(&payload, offered).map_err(|_| Some(Error::BadHandshake))?;
        if response.compresses_unasked {
            return Err(Some(Error::Compression));
        }
        if !response.plugin.is_empty() && response.plugin != auth::NATIVE {
            self.wire.set_sequence(self.sequence);
            self.wire.push(&auth_switch(auth::NATIVE, &nonce));
            self.wire.flush().await.map_err(|_| None)?;
            response.auth = self.read().await?;
        }
        Ok(Hello { response, nonce })
    }

    async fn read(&mut self) -> Result<Vec<u8>, Option<Error>> {
        let packet = read::packet(&mut self.wire.stream, &mut self.wire.inbox, LOGIN_PACKET_MAX);
        let framed = packet.await.map_err(|_| None)?;
        let payload = packet::payload(&self.wire.inbox, &framed).into_owned();
        self.wire.inbox.drain(..framed.wire_length);
        self.sequence = framed.last_sequence.wrapping_add(1);
        Ok(payload)
    }
}

impl Session {
    /// Asks the primary whether this user may log in and use `schema`, unless it has agreed
    /// lately; the schema is then the session's.
    pub(super) async fn verify_schema(&mut self, schema: Option<&str>) -> Result<(), Error> {
        let context = self.context.clone();
        let mut image = Image::default();
        image.schema = schema.map(Into::into);
        let identity = self.identity.clone();
        let lane = self.kept_lane.unwrap_or_else(|| self.plain_lane());
        let ask = async || {
            let request = Request {
                key: &identity.key,
                credential: &identity.credential,
                image: &image,
                insert_id: 0,
            };
            let mut checkout = context.pools[0].check_out(lane, request, Instant::now()).await?;
            let lost = || Error::LostBackend { backend: context.pools[0].name().to_owned() };
            if let Some(schema) = schema {
                let used = checkout.connection().command(Command::InitDb, schema.as_bytes()).await;
                let used = used.map_err(|_| lost())?;
                if let Some(error) = server_error(&used.bytes, used.summary.error) {
                    checkout.connection().is_dirty = true;
                    checkout.check_in();
                    return Err(error);
                }
                checkout.connection().image.schema = Some(schema.into());
            }
            checkout.check_in();
            Ok(())
        };
        self.context.verified.verify(&self.identity.key, schema, ask).await?;
        self.image.schema = schema.map(Into::into);
        Ok(())
    }
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
