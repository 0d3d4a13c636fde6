//! The one connection to a backend.
//!
//! Everything this module owns serves one promise: a backend never sees two connections of
//! `topology` at once. A [`Line`] is either closed, held by the greeting probe, or held by the
//! control connection; before it opens again it waits until the last one had time to disappear at
//! the server. The `mysql_async` options that would open a second connection are off.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, Row, SslOpts, Value};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::addresses::{self, Attempt, Opened};
use super::greeting::{Greeting, MAX_GREETING};
use crate::config::Settings;
use crate::config::settings::{Address, BackendTls, BackendTlsMode};
use crate::net::attributes::{self, Role};
use crate::net::socket::Socket;
use crate::protocol::code;
use crate::route::view::BackendId;

/// Time for a closed connection to disappear at the server.
const SETTLE: Duration = Duration::from_millis(50);

/// Longest wait for the server's answer to a polite goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);

/// An answer that takes longer means the connection is lost: two probe intervals, within bounds.
const QUERY_LIMIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Largest row accepted; the client library would ask the server otherwise.
const MAX_PACKET: usize = 16 << 20;

/// The session's wait_timeout: probes come far more often, whatever the global value is.
const SESSION_WAIT_TIMEOUT: usize = 28_800;

/// What answers to Fairlane must not hang on, whatever is global. With autocommit off the first read of an account's
/// table would be the state of all later ones; PAD_CHAR_TO_FULL_LENGTH pads the names of accounts. (With
/// EMPTY_STRING_IS_NULL '' is no sql_mode, and DEFAULT is the global value.)
const OWN_VARIABLES: &str = "autocommit = 1, sql_mode = 0, sql_big_selects = 1, \
                             sql_select_limit = 18446744073709551615 \
                             /*M!100101 , max_statement_time = 0*/ \
                             /*!80000 , max_execution_time = 0*/";

/// Errors a server sends when it ends the connection: shutdown, killed, idle for too long.
const GOODBYES: &[u16] = &[
    code::SERVER_SHUTDOWN,
    code::CONNECTION_KILLED,
    code::SERVER_GONE,
    code::CLIENT_INTERACTION_TIMEOUT,
];

/// Errors of a missing privilege.
const DENIALS: &[u16] = &[
    code::DBACCESS_DENIED,
    code::ACCESS_DENIED,
    code::KILL_DENIED,
    code::TABLEACCESS_DENIED,
    code::COLUMNACCESS_DENIED,
    code::SPECIFIC_ACCESS_DENIED,
    code::PROCACCESS_DENIED,
];

/// Why a query has no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The server answered with an error and the connection lives.
    #[error("{text} ({code})")]
    Refused { code: u16, text: String },
    /// The connection is gone or useless.
    #[error("{0}")]
    Lost(String),
    /// There is none: the server has said that it takes none.
    #[error("{0}")]
    TurnedAway(String),
    /// The connection is gone, and nobody has said so: there was no answer in time.
    #[error("{0}")]
    Silent(String),
}

impl Trouble {
    /// Whether a privilege is missing.
    fn is_denial(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if DENIALS.contains(code))
    }
}

pub(super) struct Line {
    address: Address,
    /// Made anew for each login, so that its files are read anew.
    opts: OptsBuilder,
    /// For a server that turns out to have no TLS, where it is not required.
    without_tls: Option<OptsBuilder>,
    connect_limit: Duration,
    query_limit: Duration,
    conn: Option<Conn>,
    opens_after: Instant,
    was_denied: bool,
}

impl Line {
    /// A closed line.
    pub(super) fn new(settings: &Settings, backend: BackendId) -> Self {
        let (server, service) = (&settings.backends[backend.index()], &settings.service);
        let password = service.password.expose_secret();
        let (least, most) = QUERY_LIMIT;
        let opts = match &server.address {
            Address::Tcp { host, port } => {
                OptsBuilder::default().ip_or_hostname(host).tcp_port(*port)
            }
            Address::Unix(path) => OptsBuilder::default().socket(Some(path.display().to_string())),
        };
        let opts = opts
            .ssl_opts(ssl_opts(&server.tls))
            .user(Some(&service.user))
            .pass(Some(password).filter(|password| !password.is_empty()))
            // Otherwise it would add a second connection, through the server's Unix socket.
            .prefer_socket(false)
            .max_allowed_packet(Some(MAX_PACKET))
            .wait_timeout(Some(SESSION_WAIT_TIMEOUT))
            .setup(vec![format!(
                "SET SESSION wait_timeout = {SESSION_WAIT_TIMEOUT}, {OWN_VARIABLES}"
            )])
            .stmt_cache_size(0)
            .connect_attributes(own_attributes());
        let plain = opts.clone().ssl_opts(None);
        let is_optional = server.tls.mode == BackendTlsMode::Preferred;
        Self {
            without_tls: is_optional.then_some(plain),
            address: server.address.clone(),
            opts,
            connect_limit: settings.pool.connect_timeout,
            query_limit: (settings.routing.probe_interval * 2).clamp(least, most),
            conn: None,
            opens_after: Instant::now(),
            was_denied: false,
        }
    }

    /// Reads the server's greeting over a connection of its own, and closes that.
    ///
    /// FACT(mariadb 10.11): this counts towards `max_connect_errors`, after which the server blocks
    /// the whole host; only a good login sets the count back. So it is done once per start of a
    /// server, and only when a login has just worked; test: `greetings_do_not_get_the_host_blocked`.
    pub(super) async fn greeting(&mut self) -> Result<Greeting, Trouble> {
        self.close().await;
        sleep_until(self.opens_after).await;
        let read = timeout(self.connect_limit, read_greeting(&self.address)).await;
        self.opens_after = Instant::now() + SETTLE;
        let payload = match read {
            Ok(Ok(payload)) => payload,
            Ok(Err(error)) => return Err(Trouble::Lost(error.to_string())),
            Err(_) => return Err(self.too_late("greeting")),
        };
        Greeting::parse(&payload).map_err(|error| Trouble::Lost(error.to_string()))
    }

    /// Logs in.
    pub(super) async fn open(&mut self) -> Result<(), Trouble> {
        self.close().await;
        self.was_denied = false;
        sleep_until(self.opens_after).await;
        let attempts = addresses::attempts(&self.address, self.connect_limit).await;
        let mut opened = log_in(&attempts, &self.opts).await;
        // For the case that it failed.
        self.opens_after = Instant::now() + SETTLE;
        if let Some(plain) = self.without_tls.clone().filter(|_| is_without_tls(&opened)) {
            sleep_until(self.opens_after).await;
            opened = log_in(&attempts, &plain).await;
            self.opens_after = Instant::now() + SETTLE;
        }
        match opened.last {
            Ok(Ok(conn)) => {
                self.conn = Some(conn);
                Ok(())
            }
            Ok(Err(error)) => {
                let text = format!("login failed: {}", told(&error));
                Err(match error {
                    mysql_async::Error::Server(_) => Trouble::TurnedAway(text),
                    _ => lost(opened.is_silent, text),
                })
            }
            Err(_) => Err(self.too_late("login")),
        }
    }

    /// Whether a statement was refused for want of a privilege since the login. Servers look at
    /// some privileges at the login only, so one granted since helps only the next connection.
    ///
    /// FACT(mariadb 10.11): so it is with global ones; test: `a_privilege_granted_late_counts`.
    pub(super) fn was_denied(&self) -> bool {
        self.was_denied
    }

    /// Rows of a statement, by the text protocol.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Record>, Trouble> {
        self.query_within(sql, self.query_limit).await
    }

    /// The same with more time: what asks for much is no sign of a server that is gone.
    pub(super) async fn query_within(
        &mut self,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<Record>, Trouble> {
        let answer = self.ask(sql, limit.max(self.query_limit)).await;
        self.was_denied |= answer.as_ref().is_err_and(Trouble::is_denial);
        answer
    }

    /// The same of what may be refused: another login for the sake of that would not be worth it.
    pub(super) async fn query_if_allowed(&mut self, sql: &str) -> Result<Vec<Record>, Trouble> {
        match self.ask(sql, self.query_limit).await {
            Err(Trouble::Refused { .. }) => Ok(Vec::new()),
            answer => answer,
        }
    }

    async fn ask(&mut self, sql: &str, limit: Duration) -> Result<Vec<Record>, Trouble> {
        let Some(conn) = self.conn.as_mut() else {
            return Err(Trouble::Lost("not connected".to_owned()));
        };
        match timeout(limit, conn.query::<Row, _>(sql)).await {
            Ok(Ok(rows)) => Ok(rows.into_iter().map(Record).collect()),
            Ok(Err(mysql_async::Error::Server(error))) if !GOODBYES.contains(&error.code) => {
                Err(Trouble::Refused { code: error.code, text: error.message })
            }
            Ok(Err(error)) => Err(lost(addresses::says_nothing(&error), told(&error))),
            Err(_) => Err(Trouble::Silent(format!("no answer within {:?}", self.query_limit))),
        }
    }

    /// Version of the server behind the open connection; zeros for none.
    pub(super) fn version(&self) -> (u16, u16, u16) {
        self.conn.as_ref().map_or((0, 0, 0), Conn::server_version)
    }

    /// Closes the connection, politely when the server still listens.
    ///
    /// # Cancel safety
    /// Dropped half-way, the socket is closed.
    pub(super) async fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            // An unfinished goodbye drops the socket, which is a goodbye as well.
            let _ = timeout(GOODBYE_LIMIT, conn.disconnect()).await;
            self.opens_after = Instant::now() + SETTLE;
        }
    }

    fn too_late(&self, what: &str) -> Trouble {
        Trouble::Silent(format!("no {what} within {:?}", self.connect_limit))
    }
}

fn lost(is_silent: bool, text: String) -> Trouble {
    if is_silent { Trouble::Silent(text) } else { Trouble::Lost(text) }
}

/// Logs in at the first address that answers.
async fn log_in(attempts: &[Attempt], opts: &OptsBuilder) -> Opened<Conn> {
    let at = |address: Option<IpAddr>| {
        let address = address.map(|address| vec![address]);
        Conn::new(Opts::from(opts.clone().resolved_ips(address)))
    };
    addresses::first_that_answers(attempts, SETTLE, at).await
}

/// Whether a login failed because the server offers no TLS.
fn is_without_tls(opened: &Opened<Conn>) -> bool {
    use mysql_async::{DriverError, Error};
    matches!(opened.last, Ok(Err(Error::Driver(DriverError::NoClientSslFlagFromServer))))
}

/// The library forgives a wrong name where the error's text has this word in it. The text names the
/// host that was expected, so that is what it is told to expect. It comes to that only when the
/// issuer is trusted.
///
/// FACT(mysql_async 0.37): it looks for the name of an error that rustls no longer gives; test:
/// `an_issuer_is_enough_for_verify_ca`.
const ANY_NAME: &str = "NotValidForName";

/// As [`crate::net::connector`] does it.
fn ssl_opts(tls: &BackendTls) -> Option<SslOpts> {
    if tls.mode == BackendTlsMode::Disabled {
        return None;
    }
    let verifies = tls.mode.verifies();
    let issuers = tls.ca.iter().filter(|_| verifies);
    let own = tls.own.as_ref();
    let own =
        own.map(|own| ClientIdentity::new(own.certificate.clone().into(), own.key.clone().into()));
    let mut opts =
        SslOpts::default().with_danger_accept_invalid_certs(!verifies).with_client_identity(own);
    if tls.mode == BackendTlsMode::VerifyCa {
        opts = opts.with_danger_skip_domain_validation(true);
        opts = opts.with_danger_tls_hostname_override(Some(ANY_NAME));
    }
    Some(
        opts.with_disable_built_in_roots(verifies)
            .with_root_certs(issuers.map(|path| path.clone().into()).collect()),
    )
}

fn own_attributes() -> HashMap<String, String> {
    attributes::own(Role::Control).map(|(name, value)| (name.to_owned(), value)).into()
}

async fn read_greeting(address: &Address) -> std::io::Result<Vec<u8>> {
    let mut stream = Socket::connect(address).await?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let length =
        usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    if length > MAX_GREETING {
        let text = format!("a greeting of {length} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    // The server answers the end of our side with the end of its own, after which it has
    // forgotten the connection. Whatever happens here, the greeting is good.
    if stream.shutdown().await.is_ok() {
        let mut rest = [0; 64];
        let goodbye = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        let _ = timeout(GOODBYE_LIMIT, goodbye).await;
    }
    Ok(payload)
}

/// An error in the server's or the system's words, without the library's wrapping.
fn told(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => format!("{} ({})", error.message, error.code),
        mysql_async::Error::Io(mysql_async::IoError::Io(error)) => error.to_string(),
        other => other.to_string(),
    }
}

/// One row of the text protocol.
pub(super) struct Record(Row);

impl Record {
    /// The first of these columns that exists and is not NULL, letter case ignored.
    pub(super) fn bytes(&self, names: &[&str]) -> Option<&[u8]> {
        names.iter().find_map(|name| {
            let columns = self.0.columns_ref();
            let index =
                columns.iter().position(|column| column.name_str().eq_ignore_ascii_case(name))?;
            match self.0.as_ref(index)? {
                Value::Bytes(bytes) => Some(bytes.as_slice()),
                _ => None,
            }
        })
    }

    /// As [`Self::bytes`], as text.
    pub(super) fn text(&self, names: &[&str]) -> Option<String> {
        self.bytes(names).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}
