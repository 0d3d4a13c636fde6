//! What the program uses: valid by construction, made only from a checked model.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

pub use crate::units::Share;

/// Everything `fairlane serve` needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses clients connect to; at least one.
    pub listen: Vec<SocketAddr>,
    /// Peers whose PROXY protocol headers are believed.
    pub proxy_networks: Vec<IpNet>,
    /// Threads that serve clients, each with a runtime of its own; none means one a core.
    pub workers: Option<usize>,
    /// Most clients at once; one more gets error 1040.
    pub max_clients: usize,
    /// Time a client has to finish its login.
    pub login_timeout: Duration,
    /// Failed logins of one address that are answered at once.
    pub login_failures: u32,
    /// Longest wait for the answer to a later one; zero turns the waiting off.
    pub login_delay: Duration,
    /// File of the RSA key, in PEM form, that passwords of clients without TLS are encrypted with;
    /// none means one made for this run.
    pub rsa_private_key: Option<PathBuf>,
    /// Where /metrics, /healthz, /readyz and the live page are served.
    pub admin: Option<SocketAddr>,
    /// TLS towards clients.
    pub tls: Tls,
    /// Account for probes, watermarks and loading accounts.
    pub service: Service,
    /// Index 0 is the primary, the rest are replicas.
    pub backends: Vec<Backend>,
    /// Bounds and ages of backend connections.
    pub pool: Pool,
    /// By priority, the most urgent first; at least one. Names are unique.
    pub lanes: Vec<Lane>,
    /// First match wins. `lane` indexes `lanes`.
    pub rules: Vec<Rule>,
    /// Lane of work no rule matches: index into `lanes`.
    pub default_lane: usize,
    /// Index of the lane for what behaves like a batch, if behaviour decides anything.
    pub batch_lane: Option<usize>,
    /// What statements of the default lane may take while batch work runs beside them.
    pub latency_target: LatencyTarget,
    /// Statements that wait for locks.
    pub lock_guard: LockGuard,
    /// How often a statement that is a transaction of its own is repeated after a deadlock.
    pub deadlock_retries: u32,
    /// Which are.
    pub deadlock_repeat: Repeat,
    /// Clients' accounts given here instead of loaded from the primary.
    pub users: Vec<User>,
    /// Reads and freshness.
    pub routing: Routing,
    /// Log lines.
    pub log: Log,
}

impl Settings {
    /// Whether any server is told the clients' addresses.
    pub fn tells_addresses(&self) -> bool {
        self.backends.iter().any(|backend| backend.proxy_protocol != ProxyProtocol::Off)
    }

    /// Keys and tables in which `other` says something else that takes a restart: all but lanes and rules. Whatever
    /// they say, secrets included, is not told.
    pub fn differs_in(&self, other: &Self) -> Vec<&'static str> {
        // By all their names, so that no new one is forgotten.
        let Self {
            listen,
            proxy_networks,
            workers,
            max_clients,
            login_timeout,
            login_failures,
            login_delay,
            rsa_private_key,
            admin,
            tls,
            service,
            backends,
            pool,
            lanes: _,
            rules: _,
            default_lane: _,
            batch_lane: _,
            latency_target: _,
            lock_guard: _,
            deadlock_retries: _,
            deadlock_repeat: _,
            users,
            routing,
            log,
        } = self;
        let all = [
            ("listen", *listen == other.listen),
            ("proxy_protocol_networks", *proxy_networks == other.proxy_networks),
            ("workers", *workers == other.workers),
            ("max_clients", *max_clients == other.max_clients),
            ("login_timeout", *login_timeout == other.login_timeout),
            ("login_failures", *login_failures == other.login_failures),
            ("login_delay", *login_delay == other.login_delay),
            ("rsa_private_key", *rsa_private_key == other.rsa_private_key),
            ("[admin]", *admin == other.admin),
            ("[tls]", *tls == other.tls),
            ("[service]", service.is_as(&other.service)),
            ("[primary]", backends.first() == other.backends.first()),
            ("[[replica]]", backends.iter().skip(1).eq(other.backends.iter().skip(1))),
            ("[pool]", *pool == other.pool),
            (
                "[[user]]",
                users.len() == other.users.len()
                    && users.iter().zip(&other.users).all(|(user, other)| user.is_as(other)),
            ),
            ("[routing]", *routing == other.routing),
            ("[log]", *log == other.log),
        ];
        all.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
    }
}

/// Service account.
#[derive(Debug, Clone)]
pub struct Service {
    /// User name.
    pub user: String,
    /// Password, possibly empty.
    pub password: SecretString,
}

impl Service {
    fn is_as(&self, other: &Self) -> bool {
        self.user == other.user && self.password.expose_secret() == other.password.expose_secret()
    }
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Unique; the metric label. Default: `primary`, `replica1`, ...
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// TLS towards it.
    pub tls: BackendTls,
    /// Compression of what it and the pool send each other.
    pub compression: BackendCompression,
    /// Whether it is told the clients' addresses.
    pub proxy_protocol: ProxyProtocol,
    /// Most connections Fairlane ever has to this server at one moment, its own control
    /// connection included; at least 2.
    pub max_connections: usize,
}

/// Compression towards a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendCompression {
    /// None.
    Off,
    /// With zlib, or no connection.
    Zlib,
    /// With zstd, or no connection. MySQL alone has it.
    Zstd,
}

/// The PROXY protocol towards a server.
/// Source: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The server sees Fairlane's own address.
    Off,
    /// The line of text of version 1.
    V1,
    /// The binary header of version 2.
    V2,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who gets it.
    pub mode: TlsMode,
    /// Certificate and key; none means one made for this run.
    pub files: Option<TlsFiles>,
    /// Certificates of the issuers of clients' certificates, in PEM form; without it clients are
    /// not asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Who gets TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Whoever asks for it, if the primary offers it itself.
    AsPrimary,
    /// Nobody.
    Disabled,
    /// Whoever asks for it.
    Preferred,
    /// Everybody: a login without it is refused.
    Required,
}

/// Files in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// TLS towards a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTls {
    /// Whether, and how much is checked.
    pub mode: BackendTlsMode,
    /// Certificates of the issuers that are trusted, in PEM form; there is one whenever something
    /// is verified.
    pub ca: Option<PathBuf>,
    /// What Fairlane shows a server that asks for a certificate.
    pub own: Option<TlsFiles>,
}

/// As the clients' `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendTlsMode {
    /// No TLS.
    Disabled,
    /// TLS if the server has it, with whatever certificate.
    Preferred,
    /// TLS, with whatever certificate.
    Required,
    /// The certificate has to come from a trusted issuer, for whatever host.
    VerifyCa,
    /// The certificate has to come from a trusted issuer, and be for the host Fairlane connects to.
    VerifyIdentity,
}

impl BackendTlsMode {
    /// Whether the certificate has to come from a trusted issuer.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// On a TCP port.
    Tcp {
        /// Host name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// On a Unix socket of this host.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Ages and paces of backend connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Limit for TCP connect and login of one backend connection.
    pub connect_timeout: Duration,
    /// An idle connection older than this is closed (also always before the wait_timeout that it has).
    pub idle_timeout: Duration,
    /// A connection older than this is closed when it is next idle.
    pub max_age: Duration,
    /// Most new connections per second to one server.
    pub open_rate: u32,
    /// What becomes of a statement whose client is gone.
    pub abandoned: Abandoned,
    /// How long a server's answer to COM_STMT_PREPARE may be given again; zero is never.
    pub prepared_answer_age: Duration,
    /// How long a SET that the primary has carried out may be answered without it; zero is never.
    pub assignment_age: Duration,
    /// Whether servers are told the clients' connection attributes beside Fairlane's own.
    pub tells_attributes: bool,
}

/// What becomes of a statement whose client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// Reads are killed on the server, of system schemas as well; all else runs to its end.
    KillReads,
    /// It is killed.
    Kill,
    /// It runs to its end.
    Finish,
}

/// One lane, with absolute numbers (percentages in the file are resolved per backend by
/// [`Share::of`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Unique; the metric label.
    pub name: String,
    /// Slots of each backend only this lane may use.
    pub reserved: Share,
    /// Most slots of each backend this lane may hold.
    pub max: Share,
    /// Most waiters per backend; one more is refused at once.
    pub queue: usize,
    /// Longest wait for a slot.
    pub queue_timeout: Duration,
    /// Longest wait while the lane is overloaded; `None`: it is never taken to be.
    pub overload_timeout: Option<Duration>,
}

/// What steers the slots of the batch lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyTarget {
    /// What such statements take without batch work, and a tolerance.
    Auto,
    /// So much, on average.
    Fixed(Duration),
    /// Nothing: the lane's `max` is its limit.
    Off,
}

/// What is done about statements that wait for locks of work in later lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockGuard {
    /// What is done.
    pub policy: LockPolicy,
    /// How long a statement must have run before the server is asked; `None`: as the latency
    /// guard's target says.
    pub wait: Option<Duration>,
    /// How long a statement must have waited before its blocker is rolled back.
    pub abort_after: Duration,
}

/// What the lock guard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockPolicy {
    /// Nothing, and asks no server.
    Off,
    /// Reports.
    Observe,
    /// Reports, and holds the statements of others in later lanes back for a moment.
    Pace,
    /// Reports, and rolls the blocker back.
    Abort,
}

/// What is repeated after a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// What the server says it has undone whole.
    Undone,
    /// All, also where tables without transactions or triggers have kept something.
    All,
}

/// Explicit lane assignment. All given conditions must hold; at least one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Index into `Settings::lanes`.
    pub lane: usize,
    /// User name, exact.
    pub user: Option<String>,
    /// Client addresses; any of them.
    pub network: Vec<IpNet>,
    /// Connection attribute `program_name`; a pattern with `*` and `?`.
    pub program_name: Option<Glob>,
    /// Current schema, a pattern.
    pub schema: Option<Glob>,
    /// Normalised statement text, a pattern, letter case ignored.
    pub digest: Option<Glob>,
    /// How long the assignment holds.
    pub scope: RuleScope,
}

/// How long a rule's assignment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleScope {
    /// For the matched statement or transaction.
    Statement,
    /// From the matched statement to the session's end, or its reset.
    Session,
}

/// A pattern with `*` (any run) and `?` (any one character), letter case ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Any text is a valid pattern.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole `text` matches. Linear in text for each `*` (no backtracking blow-up).
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut resume: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    resume = Some((p + 1, t));
                    p += 1;
                }
                Some(b'?') => {
                    p += 1;
                    t += 1;
                    // The rest of a character of several bytes.
                    t += text[t..].iter().take_while(|&&byte| byte & 0xC0 == 0x80).count();
                }
                Some(c) if c.eq_ignore_ascii_case(&text[t]) => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((after_star, from)) = resume else { return false };
                    p = after_star;
                    t = from + 1;
                    resume = Some((after_star, from + 1));
                }
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

/// One `[[user]]`.
#[derive(Debug, Clone)]
pub struct User {
    /// User name, exact.
    pub name: String,
    /// Password the client must know and Fairlane logs in to the backends with.
    pub password: SecretString,
}

impl User {
    fn is_as(&self, other: &Self) -> bool {
        self.name == other.name && self.password.expose_secret() == other.password.expose_secret()
    }
}

/// Reads and freshness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// Whether reads may leave the primary at all.
    pub replica_reads: bool,
    /// What a session may see.
    pub consistency: Consistency,
    /// Whose writes it is sure to see, with [`Consistency::Session`].
    pub scope: Scope,
    /// A replica that lags more leaves rotation.
    pub max_lag: Duration,
    /// How long a read waits for a replica to catch up with its session before it goes to the
    /// primary. Zero: not at all.
    pub freshness_wait: Duration,
    /// Time between probes of a server.
    pub probe_interval: Duration,
    /// Good probes in a row before a replica comes back.
    pub recovery_probes: u32,
    /// Time between reloads of the accounts.
    pub accounts_refresh: Duration,
}

/// What a session may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Whatever the replica has.
    Eventual,
    /// At least its own writes.
    Session,
    /// Everything committed: reads go to the primary.
    Strong,
}

/// Whose writes a session is sure to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Its own.
    Session,
    /// Those of all sessions of its user.
    User,
    /// Those of all sessions.
    Global,
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A tracing filter, such as `info` or `fairlane=debug`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts_without_letter_case() {
        let glob = Glob::new("insert into items*");
        assert!(glob.matches("INSERT INTO items ( ? )"));
        assert!(!glob.matches("REPLACE INTO items"));
        assert!(Glob::new("*").matches(""));
        assert!(Glob::new("a*b?d").matches("axxbbcd"));
        assert!(!Glob::new("a?").matches("a"));
        let glob = Glob::new("gr?n*??x");
        assert!(glob.matches("grün äöx") && glob.matches("grün€€x") && !glob.matches("grünöx"));
    }
}
