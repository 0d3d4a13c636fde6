//! Lanes, rules and what steers them.

use std::collections::HashSet;
use std::time::Duration;

use super::{CONTROL, Resolver, is_label, network};
use crate::config::model::{self, Model};
use crate::config::settings::{
    Backend, Glob, Lane, LatencyTarget, LockGuard, LockPolicy, Rule, RuleScope,
};
use crate::sql::{Mode, digest_text};
use crate::units::Period;

/// How many times `overload_timeout` goes into `queue_timeout`, by default.
const PATIENCE: u32 = 10;

/// More lanes than this are a slip of the hand: each has a queue of its own at each server.
const LANES_MAX: usize = 64;

/// A statement that loses more often is better given back to its client.
const DEADLOCK_RETRIES_MAX: u32 = 10;

/// What metrics call programs that don't go through Fairlane.
const OTHER: &str = "other";

impl Resolver<'_> {
    pub(super) fn lanes(&mut self, model: &Model, backends: &[Backend]) -> Vec<Lane> {
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
            } else if name == OTHER {
                self.find(
                    &path("name"),
                    format!("\"{name}\" stands for other programs in fairlane_lock_waits_total"),
                    "give the lane another name",
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

    pub(super) fn rules(&mut self, model: &Model, lanes: &[Lane]) -> Vec<Rule> {
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
            self.check_conditions(index, rule);
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

    /// Conditions that no session or statement can meet.
    fn check_conditions(&mut self, index: usize, rule: &model::Rule) {
        let path = |key: &str| format!("rule.{index}.{key}");
        if let Some(user) = &rule.user {
            if user.contains(['*', '?']) {
                self.find(
                    &path("user"),
                    format!("\"{user}\" is taken as it is: only that very user would match"),
                    "write a whole name; patterns are for program_name, schema and digest",
                );
            } else if let Some(name) = without_host(user) {
                self.find(
                    &path("user"),
                    format!("\"{user}\" has a host: users are compared by their names"),
                    format!("write \"{name}\", and the clients' addresses as network"),
                );
            }
        }
        if let Some(schema) = rule.schema.as_ref().filter(|schema| schema.contains('%')) {
            self.find(
                &path("schema"),
                format!("\"{schema}\" has a %, which is a letter like others here"),
                format!("write \"{}\": patterns have * and ?", schema.replace('%', "*")),
            );
        }
        let Some(pattern) = &rule.digest else { return };
        if has_value(pattern) {
            self.find(
                &path("digest"),
                format!("\"{pattern}\" has values: no statement is compared with its values"),
                "write ? for each value, or * for what may be anything; fairlane explain \
                 shows what a statement is compared as",
            );
        } else if let Some(cure) = cure_of_pattern(pattern) {
            self.find(&path("digest"), format!("\"{pattern}\" is like no statement"), cure);
        }
    }

    pub(super) fn latency_target(&mut self, model: &Model) -> LatencyTarget {
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
    pub(super) fn overload_timeouts(
        &mut self,
        model: &Model,
        lanes: &mut [Lane],
        default_lane: usize,
    ) {
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

    pub(super) fn lock_guard(&mut self, lanes: &model::Lanes) -> LockGuard {
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

    pub(super) fn deadlock_retries(&mut self, retries: u32) -> u32 {
        if retries > DEADLOCK_RETRIES_MAX {
            self.find_invalid("lanes.deadlock_retries", format!("{retries} is too many"));
        }
        retries
    }

    /// The lane for what behaves like a batch, behind the default lane; `None` when there is no such thing.
    pub(super) fn batch_lane(
        &mut self,
        model: &Model,
        lanes: &[Lane],
        default_lane: usize,
    ) -> Option<usize> {
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

    pub(super) fn default_lane(&mut self, model: &Model, lanes: &[Lane]) -> usize {
        let Some(name) = &model.routing.default_lane else { return 0 };
        let found = lanes.iter().position(|lane| lane.name == *name);
        if found.is_none() {
            let known: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
            let cure = format!("write one of: {}", known.join(", "));
            self.find("routing.default_lane", format!("there is no lane \"{name}\""), cure);
        }
        found.unwrap_or(0)
    }
}

/// Whether a pattern for digests has a value in it, where they have a `?`.
fn has_value(pattern: &str) -> bool {
    // A name may be a number behind a dot or an @, too.
    let is_part = |c: char| c.is_alphanumeric() || "_$`*?.@".contains(c);
    let mut words = pattern.split(|c| !is_part(c)).filter(|word| !word.is_empty());
    pattern.contains('\'') || words.any(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The user's name in what is an account, with a host that can't be part of a name.
fn without_host(user: &str) -> Option<&str> {
    let (name, host) = user.rsplit_once('@')?;
    let host = host.trim_matches(['\'', '"', '`']);
    let is_host = host == "localhost" || host.contains('%') || network(host).is_some();
    is_host.then(|| name.trim_matches(['\'', '"', '`']))
}

/// What to write for a pattern that matches no digest, as far as it is known not to.
fn cure_of_pattern(pattern: &str) -> Option<String> {
    let is_in_word = |c: char| c.is_alphanumeric() || "_$".contains(c);
    let beside = |at: usize| {
        let (before, behind) =
            (pattern[..at].chars().next_back(), pattern[at + 1..].chars().next());
        before.into_iter().chain(behind)
    };
    let is_wild = |&(at, c): &(usize, char)| match c {
        '*' => true,
        '?' => beside(at).any(is_in_word),
        // Names are compared without the quotes that one with this in it has.
        '-' | '+' | '/' | '%' | ':' | '=' | '#' | '!' | '&' | '|' | '^' | '~' | '<' | '>' => {
            beside(at).all(is_in_word)
        }
        _ => false,
    };
    let wild = pattern.char_indices().find(is_wild).map(|(at, _)| at);
    // What stands before it may be the beginning of a word.
    let known = wild.map_or(pattern, |at| pattern[..at].trim_end_matches(is_in_word));
    let digest = digest_text(known.as_bytes(), Mode::default());
    let plain = |text: &str| text.trim_end_matches([' ', ';']).to_lowercase();
    let has_comment = pattern.starts_with("/*");
    let is_right = plain(&digest) == plain(known) && !has_comment;
    if is_right && !pattern.contains('`') && !pattern.ends_with([';', ' ']) {
        return None;
    }
    Some(match wild {
        None => format!("write \"{digest}\""),
        Some(_) => {
            "write it as fairlane explain shows the statement: without quotes around names, \
                    comments and a last ;, with blanks around each parenthesis and comma"
                .to_owned()
        }
    })
}
