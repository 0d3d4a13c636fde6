//! A model to settings: every value checked, every default filled in, all findings at once.

use std::collections::HashSet;
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
    Abandoned, Backend, Consistency, Glob, Lane, LatencyTarget, LockGuard, LockPolicy, Log, Pool,
    Routing, Rule, RuleScope, Scope, Service, Settings, User,
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

/// Whether a pattern for digests has a value in it, where they have a `?`.
fn has_value(pattern: &str) -> bool {
    // A name may be a number behind a dot or an @, too.
    let is_part = |c: char| c.is_alphanumeric() || "_$`*?.@".contains(c);
    let mut words = pattern.split(|c| !is_part(c)).filter(|word| !word.is_empty());
    pattern.contains('\'') || words.any(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// How many times `overload_timeout` goes into `queue_timeout`, by default.
const PATIENCE: u32 = 10;

/// More threads than this are a slip of the hand.
const WORKERS_MAX: usize = 256;

/// More lanes than this are a slip of the hand: each has a queue of its own at each server.
const LANES_MAX: usize = 64;

/// A statement that loses more often is better given back to its client.
const DEADLOCK_RETRIES_MAX: u32 = 10;

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
                    self.find(
                        &format!("{path}.password_file"),
                        format!("\"{file}\" can't be read: {error}"),
                        "name a file that holds the password and that Fairlane may read",
                    );
                    SecretString::default()
                }
            };
        }
        if let Some(name) = ways.env {
            return match std::env::var(name) {
                Ok(text) => text.into(),
                Err(_) => {
                    self.find(
                        &format!("{path}.password_env"),
                        format!("the environment variable \"{name}\" is not set"),
                        "set it where Fairlane is started, or name another",
                    );
                    SecretString::default()
                }
            };
        }
        ways.password.cloned().unwrap_or_default()
    }

    fn lanes(&mut self, model: &Model, backends: &[Backend]) -> Vec<Lane> {
        if model.lane.is_empty() {
            self.find("lane", "there is no lane", "remove `lane = []`, or add a [[lane]]");
        }
        if model.lane.len() > LANES_MAX {
            self.find(
                &format!("lane.{LANES_MAX}"),
                format!("{} lanes are too many", model.lane.len()),
                format!(
                    "write at most {LANES_MAX} [[lane]] entries: within a lane clients share fairly"
                ),
            );
        }
        let mut names = HashSet::new();
        let mut lanes = Vec::new();
        for (index, lane) in model.lane.iter().enumerate() {
            let path = |key: &str| format!("lane.{index}.{key}");
            let name = lane.name.clone().unwrap_or_default();
            if !is_label(&name) {
                self.find_invalid(
                    &path("name"),
                    if name.is_empty() {
                        "is missing".to_owned()
                    } else {
                        format!("\"{name}\" is not a name")
                    },
                );
            } else if !names.insert(name.clone()) {
                self.find(
                    &path("name"),
                    format!("\"{name}\" is the name of two lanes"),
                    "give each lane a name of its own",
                );
            }
            for backend in backends {
                let slots = backend.max_connections - CONTROL;
                if lane.max.of(slots) == 0 {
                    self.find(
                        &path("max"),
                        format!("{} of the {slots} slots of {} is none", lane.max, backend.name),
                        "raise lane.max or the server's max_connections",
                    );
                }
                if lane.reserved.reserved_of(slots) > lane.max.of(slots) {
                    self.find(
                        &path("reserved"),
                        format!("{} is more than the lane's max of {}", lane.reserved, lane.max),
                        "lower lane.reserved or raise lane.max",
                    );
                }
            }
            lanes.push(Lane {
                name,
                reserved: lane.reserved,
                max: lane.max,
                queue: lane.queue,
                queue_timeout: self.positive(&path("queue_timeout"), lane.queue_timeout),
                overload_timeout: None,
            });
        }
        self.check_reserved(&lanes, backends);
        lanes
    }

    /// What is reserved must leave every lane without a reserve a slot to get.
    fn check_reserved(&mut self, lanes: &[Lane], backends: &[Backend]) {
        for backend in backends {
            let slots = backend.max_connections - CONTROL;
            let reserved: usize = lanes.iter().map(|lane| lane.reserved.reserved_of(slots)).sum();
            let is_without = lanes.iter().any(|lane| lane.reserved.reserved_of(slots) == 0);
            if reserved > slots || reserved == slots && is_without {
                self.find(
                    "lane.0.reserved",
                    format!(
                        "the lanes reserve {reserved} of the {slots} slots of {}",
                        backend.name
                    ),
                    "lower lane.reserved: a lane that reserves nothing must find a slot too",
                );
            }
        }
    }

    fn rules(&mut self, model: &Model, lanes: &[Lane]) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (index, rule) in model.rule.iter().enumerate() {
            let path = |key: &str| format!("rule.{index}.{key}");
            let name = rule.lane.clone().unwrap_or_default();
            let lane = lanes.iter().position(|lane| lane.name == name);
            if lane.is_none() {
                let known: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
                let wrong = if name.is_empty() {
                    "is missing".to_owned()
                } else {
                    format!("there is no lane \"{name}\"")
                };
                self.find(&path("lane"), wrong, format!("write one of: {}", known.join(", ")));
            }
            let mut network = Vec::new();
            for text in rule.network.iter().flat_map(|texts| &texts.0) {
                match self::network(text) {
                    Some(parsed) => network.push(parsed),
                    None => {
                        self.find_invalid(&path("network"), format!("\"{text}\" is not a network"))
                    }
                }
            }
            if rule.network.as_ref().is_some_and(|texts| texts.0.is_empty()) {
                self.find_invalid(&path("network"), "is empty: no client is in no network");
            }
            if let Some(user) = &rule.user
                && user.contains(['*', '?'])
            {
                self.find(
                    &path("user"),
                    format!("\"{user}\" is taken as it is: only that very user would match"),
                    "write a whole name; patterns are for program_name, schema and digest",
                );
            }
            if let Some(pattern) = rule.digest.as_deref().filter(|pattern| has_value(pattern)) {
                self.find(
                    &path("digest"),
                    format!("\"{pattern}\" has values: no statement is compared with its values"),
                    "write ? for each value, or * for what may be anything; fairlane explain \
                     shows what a statement is compared as",
                );
            }
            let globs = [&rule.program_name, &rule.schema, &rule.digest];
            if rule.user.is_none()
                && rule.network.is_none()
                && globs.iter().all(|glob| glob.is_none())
            {
                self.find(
                    &path("lane"),
                    "the rule has no condition: it would hold for everybody",
                    "add user, network, program_name, schema or digest; for everybody set \
                     routing.default_lane",
                );
            }
            let glob = |text: &Option<String>| text.as_deref().map(Glob::new);
            rules.push(Rule {
                lane: lane.unwrap_or(0),
                user: rule.user.clone(),
                network,
                program_name: glob(&rule.program_name),
                schema: glob(&rule.schema),
                digest: glob(&rule.digest),
                scope: match rule.scope {
                    model::Scope::Statement => RuleScope::Statement,
                    model::Scope::Session => RuleScope::Session,
                },
            });
        }
        rules
    }

    fn latency_target(&mut self, model: &Model) -> LatencyTarget {
        match model.lanes.target.as_str() {
            "auto" => LatencyTarget::Auto,
            "off" => LatencyTarget::Off,
            text => match text.parse::<Period>() {
                Ok(period) => LatencyTarget::Fixed(self.positive("lanes.target", period)),
                Err(wrong) => {
                    self.find_invalid("lanes.target", wrong);
                    LatencyTarget::Off
                }
            },
        }
    }

    /// People wait for the work of the default lane; other work may take its time.
    fn overload_timeouts(&mut self, model: &Model, lanes: &mut [Lane], default_lane: usize) {
        for (index, (lane, written)) in lanes.iter_mut().zip(&model.lane).enumerate() {
            let path = format!("lane.{index}.overload_timeout");
            lane.overload_timeout = match written.overload_timeout.as_str() {
                "auto" => (index == default_lane).then_some(lane.queue_timeout / PATIENCE),
                "off" => None,
                text => match text.parse::<Period>() {
                    Ok(period) => {
                        self.check_overload_timeout(&path, text, lane.queue_timeout, period);
                        Some(self.positive(&path, period))
                    }
                    Err(wrong) => {
                        self.find_invalid(&path, wrong);
                        None
                    }
                },
            };
        }
    }

    /// Nobody waits for longer than `queue_timeout`, whether the lane is overloaded or not.
    fn check_overload_timeout(
        &mut self,
        path: &str,
        text: &str,
        queue_timeout: Duration,
        overload_timeout: Period,
    ) {
        if overload_timeout.duration() >= queue_timeout && !queue_timeout.is_zero() {
            self.find(
                path,
                format!(
                    "\"{text}\" is not shorter than the lane's queue_timeout ({queue_timeout:?}): it \
                     would never act"
                ),
                "write a shorter time, a longer queue_timeout, or \"off\"",
            );
        }
    }

    fn lock_guard(&mut self, lanes: &model::Lanes) -> LockGuard {
        let wait = match lanes.lock_wait.as_str() {
            "auto" => None,
            text => match text.parse::<Period>() {
                Ok(period) => Some(self.positive("lanes.lock_wait", period)),
                Err(wrong) => {
                    self.find_invalid("lanes.lock_wait", wrong);
                    None
                }
            },
        };
        let abort_after = self.positive("lanes.lock_abort_after", lanes.lock_abort_after);
        let policy = match lanes.lock_guard {
            model::LockPolicy::Off => LockPolicy::Off,
            model::LockPolicy::Observe => LockPolicy::Observe,
            model::LockPolicy::Pace => LockPolicy::Pace,
            model::LockPolicy::Abort => LockPolicy::Abort,
        };
        LockGuard { policy, wait, abort_after }
    }

    fn deadlock_retries(&mut self, retries: u32) -> u32 {
        if retries > DEADLOCK_RETRIES_MAX {
            self.find_invalid("lanes.deadlock_retries", format!("{retries} is too many"));
        }
        retries
    }

    /// The lane for what behaves like a batch, behind the default lane; `None` when there is no such thing.
    fn batch_lane(&mut self, model: &Model, lanes: &[Lane], default_lane: usize) -> Option<usize> {
        let lane = match &model.lanes.batch_lane {
            None => lanes.len().checked_sub(1)?,
            Some(name) => {
                let found = lanes.iter().position(|lane| lane.name == *name);
                if found.is_none() {
                    let known: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
                    let cure = format!("write one of: {}", known.join(", "));
                    self.find("lanes.batch_lane", format!("there is no lane \"{name}\""), cure);
                }
                found?
            }
        };
        if model.lanes.auto == model::Switch::Off || lanes.len() < 2 {
            return None;
        }
        if lane <= default_lane {
            let wrong = match lane == default_lane {
                true => "is the default lane: nothing would be taken for batch",
                false => {
                    "comes before the default lane: what is taken for batch would be served first"
                }
            };
            let key = match model.lanes.batch_lane {
                Some(_) => "lanes.batch_lane",
                None => "routing.default_lane",
            };
            let cure = match default_lane + 1 == lanes.len() {
                true => {
                    "name an earlier lane in routing.default_lane, or write lanes.auto = \"off\""
                }
                false => "name a lane behind routing.default_lane, or write lanes.auto = \"off\"",
            };
            self.find(key, format!("\"{}\" {wrong}", lanes[lane].name), cure);
        }
        Some(lane)
    }

    fn default_lane(&mut self, model: &Model, lanes: &[Lane]) -> usize {
        let Some(name) = &model.routing.default_lane else { return 0 };
        let found = lanes.iter().position(|lane| lane.name == *name);
        if found.is_none() {
            let known: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
            let cure = format!("write one of: {}", known.join(", "));
            self.find("routing.default_lane", format!("there is no lane \"{name}\""), cure);
        }
        found.unwrap_or(0)
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
