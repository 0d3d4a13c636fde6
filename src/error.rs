//! What can go wrong in Fairlane itself, for whom, and the ERR packet that says so.
//!
//! An ERR packet of a server is data, not an [`Error`]: it is passed on as it is.

use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::{Family, code, status};

/// A failure that Fairlane has to tell a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server to run the statement.
    #[error("Fairlane: backend '{backend}' is not available: {detail}")]
    BackendUnavailable {
        /// Its name.
        backend: String,
        /// What was tried.
        detail: String,
    },
    /// A server's own ERR packet, from a login Fairlane did for the client.
    #[error("{}", String::from_utf8_lossy(message))]
    Server {
        /// Error code.
        code: u16,
        /// SQLSTATE.
        sqlstate: String,
        /// Text.
        message: Vec<u8>,
    },
    /// The lane's queue is full.
    #[error(
        "Fairlane: lane '{lane}' of backend '{backend}' is full: {limit} statements wait already \
         (lane.queue)"
    )]
    QueueFull {
        /// Lane name.
        lane: String,
        /// Backend name.
        backend: String,
        /// The bound.
        limit: usize,
    },
    /// No slot within the lane's time.
    #[error(
        "Fairlane: no free connection in lane '{lane}' of backend '{backend}' within {} ms \
         (lane.queue_timeout)",
        limit.as_millis()
    )]
    QueueTimeout {
        /// Lane name.
        lane: String,
        /// Backend name.
        backend: String,
        /// The bound.
        limit: Duration,
    },
    /// No slot within the time that an overloaded lane gives.
    #[error(
        "Fairlane: lane '{lane}' of backend '{backend}' is overloaded: no free connection within {} \
         ms (lane.overload_timeout)",
        limit.as_millis()
    )]
    Overloaded {
        /// Lane name.
        lane: String,
        /// Backend name.
        backend: String,
        /// The bound.
        limit: Duration,
    },
    /// No slot to log in with within the time that a login may take.
    #[error(
        "Fairlane: no free connection in lane '{lane}' of backend '{backend}' within {} ms \
         (login_timeout)",
        limit.as_millis()
    )]
    LoginQueued {
        /// Lane name.
        lane: String,
        /// Backend name.
        backend: String,
        /// The bound.
        limit: Duration,
    },
    /// The connection to the server broke while a statement was on it.
    #[error("Lost connection to MySQL server during query (Fairlane, backend '{backend}')")]
    LostBackend {
        /// Backend name.
        backend: String,
    },
    /// Wrong user, password or host.
    #[error("Access denied for user '{user}'@'{host}'{}", match used_password {
        Some(true) => " (using password: YES)",
        Some(false) => " (using password: NO)",
        None => "",
    })]
    AccessDenied {
        /// User name as the client gave it.
        user: String,
        /// Client's host as the server would name it.
        host: String,
        /// The client sent a password; `None` where the server does not mention that.
        used_password: Option<bool>,
    },
    /// The account is locked.
    #[error("{}", locked(user, host, *family))]
    AccountLocked {
        /// User name.
        user: String,
        /// Client host.
        host: String,
        /// Which server's words are used.
        family: Family,
    },
    /// The account's plugin is not one Fairlane can pass through.
    #[error(
        "Fairlane: user '{user}' uses the authentication plugin '{plugin}', which cannot be passed \
         through; give the account a password by another plugin, such as caching_sha2_password \
         (MySQL) or mysql_native_password (MariaDB)"
    )]
    UnsupportedPlugin {
        /// User name.
        user: String,
        /// Plugin.
        plugin: String,
    },
    /// The account keeps a public key, so that only the password itself opens a connection to a
    /// backend, and the client did not come over TLS.
    #[error(
        "Fairlane: user '{user}' uses the authentication plugin '{plugin}', which is passed through \
         over TLS only; use TLS, or add a [[user]] entry with its password to Fairlane's \
         configuration"
    )]
    NeedsTls {
        /// User name.
        user: String,
        /// Plugin.
        plugin: String,
    },
    /// As many clients as allowed are connected.
    #[error("Too many connections")]
    TooManyClients,
    /// Fairlane has not reached its primary yet.
    #[error("Fairlane: the primary has not been reached yet; try again")]
    NotReady,
    /// The account's password has expired since the session's login.
    #[error(
        "You must {} before executing this statement{}",
        if family.is_mariadb() { "SET PASSWORD" } else { "reset your password using ALTER USER statement" },
        if family.is_mariadb() { "" } else { "." },
    )]
    MustChangePassword {
        /// Whose words.
        family: Family,
    },
    /// A bulk execution by a client that has not asked to be allowed any (MariaDB).
    #[error("This command is not supported in the prepared statement protocol yet")]
    UnsupportedPrepared,
    /// The client's packet can't be understood.
    #[error("Malformed communication packet{}", if family.is_mariadb() { "" } else { "." })]
    Malformed {
        /// Whose words.
        family: Family,
    },
    /// A command that runs a prepared statement, without its parameters.
    #[error("Incorrect arguments to {command}")]
    WrongArguments {
        /// Its name, as the server has it.
        command: &'static str,
    },
    /// COM_STMT_FETCH of a statement that has no open cursor.
    #[error("The statement ({id}) has no open cursor{}", if family.is_mariadb() { "" } else { "." })]
    NoCursor {
        /// The statement's id.
        id: u32,
        /// Whose words.
        family: Family,
    },
    /// A PROXY protocol header that can't be understood; MariaDB's words.
    #[error("Failed to parse proxy header")]
    ProxyHeader,
    /// A PROXY protocol header of a peer that may send none; MariaDB's words.
    #[error("Proxy header is not accepted from {0}")]
    ProxyHeaderFrom(IpAddr),
    /// Handshake that can't be understood.
    #[error("Bad handshake")]
    BadHandshake,
    /// The client speaks only protocols or plugins that are gone.
    #[error(
        "Client does not support authentication protocol requested by server; consider upgrading \
         {} client",
        if family.is_mariadb() { "MariaDB" } else { "MySQL" }
    )]
    OldClient {
        /// Which server's words are used.
        family: Family,
    },
    /// No login without TLS.
    #[error(
        "Connections using insecure transport are prohibited while --require_secure_transport=ON."
    )]
    TlsRequired,
    /// The client compresses although it was not offered (mysqlnd does).
    #[error("Fairlane does not offer compression; turn it off in the client (CLIENT_COMPRESS)")]
    Compression,
    /// Sequence ids that do not follow each other.
    #[error("Got packets out of order")]
    OutOfOrder,
    /// A level of zstd compression that does not exist.
    #[error("Invalid zstd compression level for algorithm 'zstd'.")]
    ZstdLevel,
    /// Command byte nobody knows.
    #[error("Unknown command")]
    UnknownCommand,
    /// A command that makes no sense through a proxy.
    #[error("Fairlane: {0} is not supported through a proxy; connect to the server itself")]
    Refused(&'static str),
    /// Longer than `max_allowed_packet`.
    #[error("Got a packet bigger than 'max_allowed_packet' bytes")]
    PacketTooLarge,
    /// No such prepared statement.
    #[error("Unknown prepared statement handler ({id}) given to {command}")]
    UnknownStatement {
        /// The id.
        id: u32,
        /// What it was given to.
        command: &'static str,
    },
    /// More prepared statements than Fairlane keeps for one session.
    #[error("Fairlane: a session can have at most {limit} prepared statements")]
    TooManyStatements {
        /// The bound.
        limit: usize,
    },
    /// KILL of a session of somebody else.
    #[error("You are not owner of thread {0}")]
    NotOwner(u64),
    /// A statement was told to end.
    #[error("Query execution was interrupted")]
    Interrupted,
    /// A session of MariaDB's has ended itself.
    #[error("Connection was killed")]
    ConnectionKilled,
    /// The transaction was rolled back so that somebody else's can go on; the server's words for it.
    #[error("Deadlock found when trying to get lock; try restarting transaction")]
    Deadlock,
    /// A client that was idle for longer than its `wait_timeout`; MySQL's words.
    #[error(
        "The client was disconnected by the server because of inactivity. See wait_timeout and \
         interactive_timeout for configuring this behavior."
    )]
    Inactive,
    /// KILL of an id nobody has.
    #[error("Unknown thread id: {0}")]
    UnknownThread(u64),
}

fn locked(user: &str, host: &str, family: Family) -> String {
    match family {
        Family::MariaDb => "Access denied, this account is locked".to_owned(),
        Family::MySql => format!("Access denied for user '{user}'@'{host}'. Account is locked."),
    }
}

impl Error {
    /// Whether all there is to say is that others have the connections.
    pub fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::QueueFull { .. }
                | Self::QueueTimeout { .. }
                | Self::Overloaded { .. }
                | Self::LoginQueued { .. }
        )
    }

    /// For how long whoever is told this has waited for a slot at least, if it has.
    pub fn waited(&self) -> Option<Duration> {
        match self {
            Self::QueueTimeout { limit, .. }
            | Self::Overloaded { limit, .. }
            | Self::LoginQueued { limit, .. } => Some(*limit),
            _ => None,
        }
    }

    /// Error code and SQLSTATE.
    pub fn code(&self) -> (u16, &str) {
        match self {
            Self::BackendUnavailable { .. } | Self::NotReady => (code::CON_COUNT_ERROR, "08004"),
            Self::Server { code, sqlstate, .. } => (*code, sqlstate),
            Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Overloaded { .. }
            | Self::LoginQueued { .. }
            | Self::TooManyClients => (code::CON_COUNT_ERROR, "08004"),
            Self::LostBackend { .. } => (code::NET_READ_ERROR, "08S01"),
            Self::AccessDenied { used_password: None, .. } => {
                (code::ACCESS_DENIED_NO_PASSWORD, "28000")
            }
            Self::AccessDenied { .. } | Self::UnsupportedPlugin { .. } | Self::NeedsTls { .. } => {
                (code::ACCESS_DENIED, "28000")
            }
            Self::TlsRequired => (code::SECURE_TRANSPORT_REQUIRED, "HY000"),
            Self::AccountLocked { family: Family::MariaDb, .. } => {
                (code::ACCOUNT_LOCKED_MARIADB, "HY000")
            }
            Self::AccountLocked { family: Family::MySql, .. } => {
                (code::ACCOUNT_LOCKED_MYSQL, "HY000")
            }
            Self::Malformed { .. } => (code::MALFORMED_PACKET, "HY000"),
            Self::MustChangePassword { .. } => (code::MUST_CHANGE_PASSWORD, "HY000"),
            Self::UnsupportedPrepared => (code::UNSUPPORTED_PS, "HY000"),
            Self::WrongArguments { .. } => (code::WRONG_ARGUMENTS, "HY000"),
            Self::NoCursor { .. } => (code::STMT_HAS_NO_OPEN_CURSOR, "HY000"),
            Self::ProxyHeader => (code::UNKNOWN_ERROR, "HY000"),
            Self::ProxyHeaderFrom(_) => (code::HOST_NOT_PRIVILEGED, "HY000"),
            Self::BadHandshake | Self::Compression => (code::HANDSHAKE_ERROR, "08S01"),
            Self::ZstdLevel => (code::WRONG_COMPRESSION_LEVEL, "HY000"),
            Self::OutOfOrder => (code::NET_PACKETS_OUT_OF_ORDER, "08S01"),
            Self::OldClient { .. } => (code::NOT_SUPPORTED_AUTH_MODE, "08004"),
            Self::UnknownCommand => (code::UNKNOWN_COM, "08S01"),
            Self::Refused(_) => (code::NOT_SUPPORTED_YET, "42000"),
            Self::PacketTooLarge => (code::NET_PACKET_TOO_LARGE, "08S01"),
            Self::UnknownStatement { .. } => (code::UNKNOWN_STMT_HANDLER, "HY000"),
            Self::TooManyStatements { .. } => (code::MAX_PREPARED_STMT_COUNT, "42000"),
            Self::NotOwner(_) => (code::KILL_DENIED, "HY000"),
            Self::Interrupted => (code::QUERY_INTERRUPTED, "70100"),
            Self::ConnectionKilled => (code::CONNECTION_KILLED, "70100"),
            Self::Deadlock => (code::LOCK_DEADLOCK, "40001"),
            Self::Inactive => (code::CLIENT_INTERACTION_TIMEOUT, "HY000"),
            Self::UnknownThread(_) => (code::NO_SUCH_THREAD, "HY000"),
        }
    }

    /// Payload of the ERR packet for a client of before MySQL 4.1: without SQLSTATE.
    pub fn to_old_err_packet(&self) -> Vec<u8> {
        let mut packet = self.to_err_packet();
        packet.drain(3..9);
        packet
    }

    /// Payload of the ERR packet for a client.
    pub fn to_err_packet(&self) -> Vec<u8> {
        let (code, sqlstate) = self.code();
        let sqlstate = if sqlstate.len() == 5 { sqlstate } else { "HY000" };
        match self {
            Self::Server { message, .. } => {
                let mut packet = status::err(code, sqlstate, "");
                packet.extend_from_slice(message);
                packet
            }
            _ => status::err(code, sqlstate, &self.to_string()),
        }
    }
}
