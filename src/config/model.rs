//! What a person may write: the shape of the file, key by key, and every default.
//!
//! Nothing here is checked beyond its type; [`super::resolve`] turns a model into settings. A
//! missing required key is a default here (`None` or empty) and a finding there, where its path is
//! known.

use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::units::{Period, Share};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Model {
    pub(crate) listen: Texts,
    pub(crate) proxy_protocol_networks: Texts,
    pub(crate) workers: Option<usize>,
    pub(crate) max_clients: usize,
    pub(crate) login_timeout: Period,
    pub(crate) login_failures: u32,
    pub(crate) login_delay: Period,
    pub(crate) rsa_private_key: Option<String>,
    pub(crate) tls: Tls,
    pub(crate) admin: Admin,
    pub(crate) service: Service,
    pub(crate) primary: Backend,
    pub(crate) replica: Vec<Backend>,
    pub(crate) pool: Pool,
    pub(crate) lanes: Lanes,
    pub(crate) lane: Vec<Lane>,
    pub(crate) rule: Vec<Rule>,
    pub(crate) user: Vec<User>,
    pub(crate) routing: Routing,
    pub(crate) log: Log,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            listen: Texts(vec!["127.0.0.1:3306".to_owned()]),
            proxy_protocol_networks: Texts(Vec::new()),
            workers: None,
            max_clients: 20_000,
            login_timeout: Period::secs(10),
            login_failures: 5,
            login_delay: Period::secs(4),
            rsa_private_key: None,
            tls: Tls::default(),
            admin: Admin::default(),
            service: Service::default(),
            primary: Backend::default(),
            replica: Vec::new(),
            pool: Pool::default(),
            lanes: Lanes::default(),
            lane: vec![
                Lane {
                    name: Some("interactive".to_owned()),
                    reserved: Share::Percent(25),
                    ..Lane::default()
                },
                Lane {
                    name: Some("batch".to_owned()),
                    reserved: Share::Slots(1),
                    queue_timeout: Period::secs(120),
                    ..Lane::default()
                },
            ],
            rule: Vec::new(),
            user: Vec::new(),
            routing: Routing::default(),
            log: Log::default(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) mode: String,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) client_ca: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { mode: "as_primary".to_owned(), certificate: None, key: None, client_ca: None }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) listen: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9306".to_owned() }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretString>,
    pub(crate) password_file: Option<String>,
    pub(crate) password_env: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Backend {
    pub(crate) address: Option<String>,
    pub(crate) tls: String,
    pub(crate) tls_ca: Option<String>,
    pub(crate) tls_certificate: Option<String>,
    pub(crate) tls_key: Option<String>,
    pub(crate) compression: String,
    pub(crate) proxy_protocol: String,
    /// `primary` or `replica<n>` when not given.
    pub(crate) name: Option<String>,
    pub(crate) max_connections: usize,
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            address: None,
            tls: "disabled".to_owned(),
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            compression: "off".to_owned(),
            proxy_protocol: "off".to_owned(),
            name: None,
            max_connections: 15,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pool {
    pub(crate) connect_timeout: Period,
    pub(crate) idle_timeout: Period,
    pub(crate) max_age: Period,
    pub(crate) open_rate: u32,
    pub(crate) abandoned: Abandoned,
    pub(crate) prepared_answer_age: Period,
    pub(crate) assignment_age: Period,
    pub(crate) connection_attributes: ConnectionAttributes,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            connect_timeout: Period::secs(5),
            idle_timeout: Period::secs(60),
            max_age: Period::secs(3_600),
            open_rate: 200,
            abandoned: Abandoned::KillReads,
            prepared_answer_age: Period::secs(1),
            assignment_age: Period::secs(60),
            connection_attributes: ConnectionAttributes::Own,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lanes {
    pub(crate) auto: Switch,
    /// The last lane when not given.
    pub(crate) batch_lane: Option<String>,
    /// `auto`, `off` or a time.
    pub(crate) target: String,
    pub(crate) lock_guard: LockPolicy,
    /// `auto` or a time.
    pub(crate) lock_wait: String,
    pub(crate) lock_abort_after: Period,
    pub(crate) deadlock_retries: u32,
    pub(crate) deadlock_repeat: Repeat,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            auto: Switch::On,
            batch_lane: None,
            target: "auto".to_owned(),
            lock_guard: LockPolicy::Observe,
            lock_wait: "auto".to_owned(),
            lock_abort_after: Period::millis(500),
            deadlock_retries: 5,
            deadlock_repeat: Repeat::Undone,
        }
    }
}

/// What becomes of a statement whose client is gone.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Abandoned {
    KillReads,
    Kill,
    Finish,
}

/// What servers are told of who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConnectionAttributes {
    Own,
    Client,
}

/// What the lock guard does.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LockPolicy {
    Off,
    Observe,
    Pace,
    Abort,
}

/// What is repeated after a deadlock.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Repeat {
    Undone,
    All,
}

/// On by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    #[default]
    On,
    Off,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lane {
    pub(crate) name: Option<String>,
    pub(crate) reserved: Share,
    pub(crate) max: Share,
    pub(crate) queue: usize,
    pub(crate) queue_timeout: Period,
    /// "auto", "off" or a period.
    pub(crate) overload_timeout: String,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            name: None,
            reserved: Share::Slots(0),
            max: Share::Percent(100),
            queue: 10_000,
            queue_timeout: Period::secs(5),
            overload_timeout: "auto".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) lane: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) network: Option<Texts>,
    pub(crate) program_name: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) scope: Scope,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    #[default]
    Statement,
    Session,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: Option<String>,
    pub(crate) password: Option<SecretString>,
    pub(crate) password_file: Option<String>,
    pub(crate) password_env: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Routing {
    pub(crate) replica_reads: bool,
    pub(crate) consistency: Consistency,
    pub(crate) consistency_scope: ConsistencyScope,
    pub(crate) max_lag: Period,
    pub(crate) freshness_wait: Period,
    pub(crate) probe_interval: Period,
    pub(crate) recovery_probes: u32,
    pub(crate) accounts_refresh: Period,
    /// The first lane when not given.
    pub(crate) default_lane: Option<String>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            replica_reads: true,
            consistency: Consistency::Session,
            consistency_scope: ConsistencyScope::User,
            max_lag: Period::secs(5),
            freshness_wait: Period::millis(0),
            probe_interval: Period::millis(500),
            recovery_probes: 3,
            accounts_refresh: Period::secs(10),
            default_lane: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Consistency {
    Eventual,
    Session,
    Strong,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConsistencyScope {
    Session,
    User,
    Global,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Text }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Text,
    Json,
}

/// A list of texts, or a single text standing for a list of one.
#[derive(Debug, Clone)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(Written)
    }
}
