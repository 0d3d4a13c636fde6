//! Explicit lanes: comment hint first, then the first rule all of whose conditions hold, then the
//! default.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use crate::config::settings::{Rule, RuleScope, Settings};

/// Digests whose rules are remembered.
const DIGESTS_MAX: usize = 10_000;

/// Names in hints that are no lane's, and are remembered.
const UNKNOWN_MAX: usize = 16;

/// What rules may ask of a client.
#[derive(Debug, Clone)]
pub struct ClientFacts {
    /// User name.
    pub user: String,
    /// Its address.
    pub address: IpAddr,
    /// Connection attribute `program_name`.
    pub program_name: String,
}

impl ClientFacts {
    /// The client as a feature of its work, see [`super::evidence`].
    pub fn feature(&self) -> u64 {
        super::evidence::client_feature(&self.user, self.address, &self.program_name)
    }
}

/// The lane of a statement and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneChoice {
    /// Index of the lane.
    pub lane: usize,
    /// Index of the rule that chose it; `None` for a hint or the default.
    pub rule: Option<usize>,
    /// The session keeps this lane.
    pub is_for_session: bool,
    /// Nothing chose it.
    pub is_default: bool,
}

/// The configured lanes and rules, ready to be asked for each statement.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    lane_names: Vec<String>,
    default_lane: usize,
    /// Which rules' digest patterns a statement matches, by its digest.
    by_digest: Cache<u64, Arc<[bool]>>,
    /// Names in hints that are no lane's.
    unknown: ArcSwap<Vec<Box<str>>>,
}

/// The rules whose conditions on the client hold: found once per login.
#[derive(Debug, Clone, Default)]
pub struct Candidates(Vec<usize>);

impl Rules {
    /// From the settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            rules: settings.rules.clone(),
            lane_names: settings.lanes.iter().map(|lane| lane.name.clone()).collect(),
            default_lane: settings.default_lane,
            by_digest: Cache::new(DIGESTS_MAX),
            unknown: ArcSwap::default(),
        }
    }

    /// Whether both choose the same lanes.
    pub fn are_as(&self, other: &Self) -> bool {
        self.rules == other.rules && self.default_lane == other.default_lane
    }

    /// The rule that says what the rule with this index of `other` does.
    pub fn find(&self, other: &Self, rule: usize) -> Option<usize> {
        self.rules.iter().position(|it| *it == other.rules[rule])
    }

    /// The lane of the rule with this index.
    pub fn lane_of(&self, rule: usize) -> usize {
        self.rules[rule].lane
    }

    /// The rules this client may fall under.
    pub fn candidates(&self, client: &ClientFacts) -> Candidates {
        let address = client.address.to_canonical();
        let holds = |rule: &Rule| {
            rule.user.as_ref().is_none_or(|user| *user == client.user)
                && (rule.network.is_empty()
                    || rule.network.iter().any(|network| network.contains(&address)))
                && rule.program_name.as_ref().is_none_or(|glob| glob.matches(&client.program_name))
        };
        let rules = self.rules.iter().enumerate();
        Candidates(rules.filter(|(_, rule)| holds(rule)).map(|(index, _)| index).collect())
    }

    /// The lane of a statement, whose `hint` may name one. Only rules with a digest pattern ask for the digest, once; its
    /// text is asked for once per new digest.
    pub fn choose(
        &self,
        candidates: &Candidates,
        hint: Option<usize>,
        schema: Option<&str>,
        digest: impl FnOnce() -> u64,
        digest_text: impl FnOnce() -> String,
    ) -> LaneChoice {
        if let Some(lane) = hint {
            return LaneChoice { lane, rule: None, is_for_session: false, is_default: false };
        }
        let mut unasked = Some((digest, digest_text));
        let mut matched = None;
        for &index in &candidates.0 {
            let rule = &self.rules[index];
            if let Some(glob) = &rule.schema
                && !glob.matches(schema.unwrap_or_default())
            {
                continue;
            }
            if rule.digest.is_some() {
                if let Some((digest, text)) = unasked.take() {
                    matched = Some(self.patterns_matched(digest(), text));
                }
                if !matched.as_ref().is_some_and(|matched| matched[index]) {
                    continue;
                }
            }
            let is_for_session = rule.scope == RuleScope::Session;
            return LaneChoice {
                lane: rule.lane,
                rule: Some(index),
                is_for_session,
                is_default: false,
            };
        }
        LaneChoice { lane: self.default_lane, rule: None, is_for_session: false, is_default: true }
    }

    /// Index of a lane by name.
    pub fn lane(&self, name: &str) -> Option<usize> {
        self.lane_names.iter().position(|known| known == name)
    }

    /// Whether a name in a hint, which is no lane's, is one to tell the operator of: once, and of so many names.
    pub fn is_new_to_hints(&self, name: &str) -> bool {
        let is_new = |unknown: &[Box<str>]| {
            unknown.len() < UNKNOWN_MAX && unknown.iter().all(|known| **known != *name)
        };
        if !is_new(&self.unknown.load()) {
            return false;
        }
        let before = self.unknown.rcu(|unknown| {
            let more = is_new(unknown).then(|| name.into());
            unknown.iter().cloned().chain(more).collect::<Vec<_>>()
        });
        is_new(&before)
    }

    /// Name of a lane.
    pub fn lane_name(&self, lane: usize) -> &str {
        &self.lane_names[lane]
    }

    /// Lane of work that nothing is known about.
    pub fn default_lane(&self) -> usize {
        self.default_lane
    }

    /// For each rule whether its digest pattern matches.
    fn patterns_matched(&self, digest: u64, text: impl FnOnce() -> String) -> Arc<[bool]> {
        if let Some(known) = self.by_digest.get(&digest) {
            return known;
        }
        let text = text();
        let matches = |rule: &Rule| rule.digest.as_ref().is_some_and(|glob| glob.matches(&text));
        let matched: Arc<[bool]> = self.rules.iter().map(matches).collect();
        self.by_digest.insert(digest, matched.clone());
        matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Glob;

    fn rule(lane: usize) -> Rule {
        Rule {
            lane,
            user: None,
            network: Vec::new(),
            program_name: None,
            schema: None,
            digest: None,
            scope: RuleScope::Statement,
        }
    }

    fn rules(list: Vec<Rule>) -> Rules {
        Rules {
            rules: list,
            lane_names: vec!["interactive".into(), "batch".into()],
            default_lane: 0,
            by_digest: Cache::new(100),
            unknown: ArcSwap::default(),
        }
    }

    fn client() -> ClientFacts {
        ClientFacts {
            user: "app".into(),
            address: "::ffff:10.1.2.3".parse().expect("an address"),
            program_name: "artisan".into(),
        }
    }

    fn lane(rules: &Rules, hint: Option<&str>, text: &str) -> LaneChoice {
        let candidates = rules.candidates(&client());
        let hint = hint.and_then(|name| rules.lane(name));
        rules.choose(&candidates, hint, Some("shop"), || text.len() as u64, || text.to_owned())
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_decides() {
        let other = Rule { user: Some("other".into()), ..rule(1) };
        let digest = Rule {
            digest: Some(Glob::new("insert into items*")),
            network: vec!["10.0.0.0/8".parse().expect("a network")],
            scope: RuleScope::Session,
            ..rule(1)
        };
        let rules = rules(vec![other, digest]);
        let chosen = lane(&rules, None, "INSERT INTO items ( ? )");
        assert_eq!((chosen.lane, chosen.rule), (1, Some(1)));
        assert!(chosen.is_for_session && !chosen.is_default);
        assert_eq!(lane(&rules, None, "SELECT ?").rule, None);
    }

    #[test]
    fn a_rule_is_found_again_wherever_it_stands() {
        let etl = Rule { user: Some("etl".into()), scope: RuleScope::Session, ..rule(1) };
        let before = rules(vec![rule(0), etl.clone()]);
        assert_eq!(rules(vec![etl.clone(), rule(0)]).find(&before, 1), Some(0));
        let statement = Rule { scope: RuleScope::Statement, ..etl };
        assert_eq!(rules(vec![rule(0), statement]).find(&before, 1), None);
    }

    #[test]
    fn a_hint_comes_before_rules_and_an_unknown_one_is_ignored() {
        let rules = rules(vec![Rule { schema: Some(Glob::new("sh*")), ..rule(1) }]);
        assert_eq!(lane(&rules, Some("interactive"), "SELECT ?").lane, 0);
        assert_eq!(lane(&rules, Some("nonsense"), "SELECT ?").lane, 1);
        assert!(rules.is_new_to_hints("nonsense") && !rules.is_new_to_hints("nonsense"));
        let told = (0..100).filter(|number| rules.is_new_to_hints(&format!("other{number}")));
        assert_eq!(told.count(), UNKNOWN_MAX - 1);
    }
}
