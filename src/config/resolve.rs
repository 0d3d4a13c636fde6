//! A model to settings: every value checked, every default filled in, all findings at once.

mod lanes;

use std::collections::HashSet;
use std::env::VarError;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use secrecy::SecretString;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::targets::Targets;

use super::key;
use super::model::{self, Model};
use super::problem::Finding;
use super::settings::{
    Abandoned, Consistency, Log, Pool, Repeat, Routing, Scope, Service, Settings, User,
};
use super::shape::Places;
use crate::units::Period;

/// Connections of a backend that are not the pool's: Fairlane's own control connection.
pub(super) const CONTROL: usize = 1;

/// Shortest time between probes, or between reloads of accounts: they ask a server each time.
const PERIOD_MIN: Duration = Duration::from_millis(10);

/// Collects findings while the rest is still looked at.
pub(super) struct Resolver<'a> {
    places: &'a Places<'a>,
    findings: Vec<Finding>,
}

impl Resolver<'_> {
    /// Notes a finding about the key at `path` (with indexes).
    pub(super) fn find(&mut self, path: &str, wrong: impl Into<String>, cure: impl Into<String>) {
        let key: Vec<&str> =
            path.split('.').filter(|step| step.parse::<usize>().is_err()).collect();
        self.findings.push(Finding {
            line: self.places.line(path),
            key: key.join("."),
            wrong: wrong.into(),
            cure: cure.into(),
        });
    }

    /// As [`Self::find`], with the key table's words as the cure.
    pub(super) fn find_invalid(&mut self, path: &str, wrong: impl Into<String>) {
        let key: Vec<&str> =
            path.split('.').filter(|step| step.parse::<usize>().is_err()).collect();
        let valid = key::find(&key.join(".")).map_or("a valid value", |key| key.valid);
        self.find(path, wrong, format!("write {valid}"));
    }

    fn positive(&mut self, path: &str, period: Period) -> Duration {
        if period.duration().is_zero() {
            self.find_invalid(path, "is zero");
        }
        period.duration()
    }

    fn probing(&mut self, path: &str, period: Period) -> Duration {
        if period.duration() < PERIOD_MIN {
            self.find_invalid(path, format!("{:?} is too short", period.duration()));
        }
        period.duration()
    }

    fn at_least_one<N: PartialEq + Default>(&mut self, path: &str, number: N) -> N {
        if number == N::default() {
            self.find_invalid(path, "is zero");
        }
        number
    }
}

/// All addresses.
const EVERYWHERE: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

/// A network, or an address as one. Addresses of IPv4 are compared as such, also where they come as IPv6.
fn network(text: &str) -> Option<IpNet> {
    /// Bits before the address of IPv4 in one of IPv6 (RFC 4291, section 2.5.5.2).
    const MAPPED: u8 = 96;
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let mapped = match network {
        IpNet::V6(wide) => wide.addr().to_ipv4_mapped().zip(wide.prefix_len().checked_sub(MAPPED)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((address, prefix)) => Ipv4Net::new(address, prefix).ok().map(IpNet::V4),
        None => Some(network),
    }
}

/// More threads than this are a slip of the hand.
const WORKERS_MAX: usize = 256;

/// Checks a model and turns it into settings.
pub(super) fn resolve(model: &Model, places: &Places<'_>) -> Result<Settings, Vec<Finding>> {
    let mut resolver = Resolver { places, findings: Vec::new() };
    let to = &mut resolver;
    let backends = to.backends(model);
    let mut lanes = to.lanes(model, &backends);
    let rules = to.rules(model, &lanes);
    let default_lane = to.default_lane(model, &lanes);
    to.overload_timeouts(model, &mut lanes, default_lane);
    let batch_lane = to.batch_lane(model, &lanes, default_lane);
    let settings = Settings {
        listen: to.listen(model),
        proxy_networks: to.proxy_networks(model),
        workers: to.workers(model),
        max_clients: to.at_least_one("max_clients", model.max_clients),
        login_timeout: to.positive("login_timeout", model.login_timeout),
        login_failures: model.login_failures,
        login_delay: model.login_delay.duration(),
        rsa_private_key: model.rsa_private_key.as_ref().map(Into::into),
        tls: to.tls(&model.tls),
        admin: to.admin(model),
        service: to.service(model),
        pool: to.pool(&model.pool),
        users: to.users(model),
        routing: to.routing(&model.routing),
        log: to.log(&model.log),
        backends,
        lanes,
        rules,
        default_lane,
        batch_lane,
        latency_target: to.latency_target(model),
        lock_guard: to.lock_guard(&model.lanes),
        deadlock_retries: to.deadlock_retries(model.lanes.deadlock_retries),
        deadlock_repeat: match model.lanes.deadlock_repeat {
            model::Repeat::Undone => Repeat::Undone,
            model::Repeat::All => Repeat::All,
        },
    };
    if resolver.findings.is_empty() { Ok(settings) } else { Err(resolver.findings) }
}

impl Resolver<'_> {
    fn proxy_networks(&mut self, model: &Model) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in &model.proxy_protocol_networks.0 {
            match network(text) {
                Some(network) => networks.push(network),
                None if text == "*" => networks.extend(EVERYWHERE),
                None => {
                    let wrong = format!("\"{text}\" is not a network");
                    self.find_invalid("proxy_protocol_networks", wrong);
                }
            }
        }
        networks
    }

    fn workers(&mut self, model: &Model) -> Option<usize> {
        let count = model.workers?;
        if !(1..=WORKERS_MAX).contains(&count) {
            self.find_invalid(
                "workers",
                format!("is {count}, which is no sensible number of threads"),
            );
        }
        Some(count)
    }

    fn service(&mut self, model: &Model) -> Service {
        let service = &model.service;
        if service.user.as_ref().is_none_or(String::is_empty) {
            self.find_invalid("service.user", "is missing: Fairlane needs an account of its own");
        }
        let ways = Ways {
            password: service.password.as_ref(),
            file: service.password_file.as_deref(),
            env: service.password_env.as_deref(),
        };
        Service {
            user: service.user.clone().unwrap_or_default(),
            password: self.password("service", &ways),
        }
    }

    fn users(&mut self, model: &Model) -> Vec<User> {
        let mut seen = HashSet::new();
        let mut users = Vec::new();
        for (index, user) in model.user.iter().enumerate() {
            let path = format!("user.{index}");
            let name = user.name.clone().unwrap_or_default();
            if name.is_empty() {
                self.find_invalid(&format!("{path}.name"), "is missing");
            } else if !seen.insert(name.clone()) {
                self.find(
                    &format!("{path}.name"),
                    format!("\"{name}\" stands there twice"),
                    "remove one of the two [[user]] entries",
                );
            }
            let ways = Ways {
                password: user.password.as_ref(),
                file: user.password_file.as_deref(),
                env: user.password_env.as_deref(),
            };
            let password = self.password(&path, &ways);
            users.push(User { name, password });
        }
        users
    }

    fn password(&mut self, path: &str, ways: &Ways<'_>) -> SecretString {
        let given = [ways.password.is_some(), ways.file.is_some(), ways.env.is_some()];
        if given.iter().filter(|&&given| given).count() != 1 {
            let wrong = if given.contains(&true) {
                "the password is given in more than one way"
            } else {
                "the password is missing"
            };
            let cure = "give exactly one of password, password_file and password_env (an account \
                        without a password: password = \"\")";
            self.find(&format!("{path}.password"), wrong, cure);
            return SecretString::default();
        }
        if let Some(file) = ways.file {
            return match std::fs::read_to_string(file) {
                Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned().into(),
                Err(error) => {
                    let cure = match error.kind() {
                        ErrorKind::InvalidData => "write the password in UTF-8",
                        _ => "name a file that holds the password and that Fairlane may read",
                    };
                    self.find(
                        &format!("{path}.password_file"),
                        format!("\"{file}\" can't be read: {error}"),
                        cure,
                    );
                    SecretString::default()
                }
            };
        }
        if let Some(name) = ways.env {
            return match std::env::var(name) {
                Ok(text) => text.into(),
                Err(error) => {
                    let (wrong, cure) = match error {
                        VarError::NotPresent => {
                            ("not set", "set it where Fairlane is started, or name another")
                        }
                        VarError::NotUnicode(_) => ("not UTF-8", "write the password in UTF-8"),
                    };
                    self.find(
                        &format!("{path}.password_env"),
                        format!("the environment variable \"{name}\" is {wrong}"),
                        cure,
                    );
                    SecretString::default()
                }
            };
        }
        ways.password.cloned().unwrap_or_default()
    }

    fn pool(&mut self, pool: &model::Pool) -> Pool {
        Pool {
            connect_timeout: self.positive("pool.connect_timeout", pool.connect_timeout),
            idle_timeout: self.positive("pool.idle_timeout", pool.idle_timeout),
            max_age: self.positive("pool.max_age", pool.max_age),
            open_rate: self.at_least_one("pool.open_rate", pool.open_rate),
            abandoned: match pool.abandoned {
                model::Abandoned::KillReads => Abandoned::KillReads,
                model::Abandoned::Kill => Abandoned::Kill,
                model::Abandoned::Finish => Abandoned::Finish,
            },
            prepared_answer_age: pool.prepared_answer_age.duration(),
            assignment_age: pool.assignment_age.duration(),
            tells_attributes: pool.connection_attributes == model::ConnectionAttributes::Client,
        }
    }

    fn routing(&mut self, routing: &model::Routing) -> Routing {
        Routing {
            replica_reads: routing.replica_reads,
            consistency: match routing.consistency {
                model::Consistency::Eventual => Consistency::Eventual,
                model::Consistency::Session => Consistency::Session,
                model::Consistency::Strong => Consistency::Strong,
            },
            scope: match routing.consistency_scope {
                model::ConsistencyScope::Session => Scope::Session,
                model::ConsistencyScope::User => Scope::User,
                model::ConsistencyScope::Global => Scope::Global,
            },
            max_lag: self.positive("routing.max_lag", routing.max_lag),
            freshness_wait: routing.freshness_wait.duration(),
            probe_interval: self.probing("routing.probe_interval", routing.probe_interval),
            recovery_probes: self.at_least_one("routing.recovery_probes", routing.recovery_probes),
            accounts_refresh: self.probing("routing.accounts_refresh", routing.accounts_refresh),
        }
    }

    fn log(&mut self, log: &model::Log) -> Log {
        if let Err(error) = log_filter(&log.filter) {
            self.find_invalid("log.filter", error);
        }
        Log { filter: log.filter.clone(), json: log.format == model::Format::Json }
    }
}

/// Whether an address for operators says that there is none.
pub(super) fn is_off(text: &str) -> bool {
    text.is_empty() || text == "off"
}

/// Whether a text is a log filter; the error says why not.
pub(super) fn log_filter(text: &str) -> Result<(), String> {
    text.parse::<Targets>().map_err(|error| format!("\"{text}\": {error}"))?;
    // A word alone is taken for a part of the program, and all other parts say nothing then; blanks are
    // taken for letters.
    let is_level = |part: &str| part.parse::<LevelFilter>().is_ok();
    let is_part = |part: &str| {
        let mut letters = part.bytes();
        let is_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-');
        !part.is_empty() && letters.all(is_letter)
    };
    let is_own = |part: &str| part == "fairlane" || part.starts_with("fairlane::");
    let is_known = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_part(target) && !level.is_empty() && is_level(level),
        None => !part.is_empty() && is_level(part) || is_part(part) && is_own(part),
    };
    match text.split(',').find(|part| !is_known(part)) {
        None => Ok(()),
        Some(part) => Err(format!("\"{part}\" is neither a level nor part=level")),
    }
}

/// The ways a password may be given.
struct Ways<'a> {
    password: Option<&'a SecretString>,
    file: Option<&'a str>,
    env: Option<&'a str>,
}

/// Names become metric labels and stand in messages.
pub(super) fn is_label(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
