//! SET of a session's variables, as applications send it after each login: what has been done just so before is
//! answered at once.
//!
//! ```text
//!  SET NAMES utf8mb4 ──► OK      the same text, from a session in the same state, was done by the primary before
//!  SELECT ...        ──► slot, connection ──► whatever that differs in (as always) ──► SELECT ...
//! ```
//!
//! A session's variables are given to each connection it comes to, so that the server has nothing to do for them before
//! there is a statement. What it would answer and how it would change the session is known where login, state and text
//! are the same as of a SET that it has carried out with nothing but values in it. Then nobody waits for a slot for
//! it, and no page is behind a scraper's statements before it has asked for anything.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use quick_cache::sync::Cache;

use super::Work;
use crate::backend::ConnectionKey;
use crate::client::Session;
use crate::config::Settings;
use crate::protocol::Command;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::sql::{Class, Effects, Hint, Leading, has_word, mentions};
use crate::state::Image;

/// Most of them that are known.
const KEPT_MAX: usize = 1_000;
/// Longest text, in bytes.
const TEXT_MAX: usize = 1_024;

/// Variables that are nothing but a part of an image.
const PLAIN: [&str; 18] = [
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "foreign_key_checks",
    "group_concat_max_len",
    "innodb_lock_wait_timeout",
    "interactive_timeout",
    "lock_wait_timeout",
    "max_execution_time",
    "max_statement_time",
    "net_read_timeout",
    "net_write_timeout",
    "sql_mode",
    "sql_safe_updates",
    "time_zone",
    "unique_checks",
    "wait_timeout",
];

/// Assignments that the primary has carried out.
#[derive(Debug)]
pub struct Assignments {
    kept: Cache<u64, Arc<Assignment>>,
    max_age: Duration,
}

impl Assignments {
    /// With what the configuration says of them.
    pub fn new(settings: &Settings) -> Self {
        Self { kept: Cache::new(KEPT_MAX), max_age: settings.pool.assignment_age }
    }
}

/// One of them.
#[derive(Debug)]
struct Assignment {
    asked: Asked,
    text: Box<[u8]>,
    after: Image,
    since: Duration,
}

/// Who has asked for it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::client) struct Asked {
    login: Arc<ConnectionKey>,
    before: Image,
    /// Changes of accounts and global variables before the session began, and up to now.
    epochs: (u64, u64),
}

impl Asked {
    fn key(&self, text: &[u8]) -> u64 {
        let variables: Vec<_> = self.before.variables().collect();
        let state = (&self.login, &self.before.schema, variables, self.epochs);
        FixedState::with_seed(3).hash_one((state, text))
    }
}

impl Session {
    /// What an assignment is asked for with, where it may be one that is done as before: `None` for all else.
    pub(in crate::client) fn asks_assignment(&self, work: &Work<'_>) -> Option<Box<Asked>> {
        let may_be = work.verdict.leading == Leading::Set && self.held.is_none();
        let is_on = || !self.context.assignments.max_age.is_zero();
        if !may_be || !is_on() || !is_plain(work) || !self.is_plain() {
            return None;
        }
        let epochs = (self.begun_after, self.context.epochs.logins());
        let (login, before) = (self.identity.key.clone(), self.image.clone());
        Some(Box::new(Asked { login, before, epochs }))
    }

    /// Answers an assignment that is done as before. Whether it was one.
    pub(in crate::client) fn answer_assignment(&mut self, work: &Work<'_>, asked: &Asked) -> bool {
        let key = asked.key(work.sql);
        let Some(known) = self.context.assignments.kept.get(&key) else { return false };
        let age = self.context.now().saturating_sub(known.since);
        let is_old = age >= self.context.assignments.max_age;
        if is_old || known.asked != *asked || *known.text != *work.sql {
            return false;
        }
        if self.assigned_lane(work).is_some() {
            // A rule may want to know of it.
            return false;
        }
        self.image = known.after.clone();
        self.image_changed();
        self.is_status_told = true;
        self.send_ok();
        self.count_local();
        true
    }

    /// The primary has carried it out.
    pub(in crate::client) fn keep_assignment(
        &self,
        work: &Work<'_>,
        asked: Asked,
        summary: &Summary,
    ) {
        let is_done = summary.error.is_none()
            && summary.affected == Some(0)
            && !summary.had_warnings
            && !summary.has_result_set
            && summary.status - Status::SESSION_STATE_CHANGED == self.idle_status()
            && self.held.is_none()
            && self.is_plain();
        let now = (self.begun_after, self.context.epochs.logins());
        if !is_done || asked.epochs != now || !is_told(summary, (&asked.before, &self.image)) {
            return;
        }
        let (key, since) = (asked.key(work.sql), self.context.now());
        let (text, after) = (work.sql.into(), self.image.clone());
        let assignment = Assignment { asked, text, after, since };
        self.context.assignments.kept.insert(key, Arc::new(assignment));
    }

    /// Whether there is nothing to the session but its image, nor anything to be told of it.
    fn is_plain(&self) -> bool {
        self.can_wait()
            && self.begun.is_none()
            && self.teller.is_none()
            && self.trackers.is_none()
            && self.diagnostics.is_clear()
            && !self.image.has_servers_collation()
    }
}

/// Whether an assignment has nothing but values in it.
fn is_plain(work: &Work<'_>) -> bool {
    let verdict = work.verdict;
    work.command == Command::Query
        && verdict.class == Class::Session
        && verdict.statements == 1
        && verdict.needs.is_empty()
        && verdict.hint == Hint::default()
        && (Effects::NAMES | Effects::COLLATION | Effects::BARE_VARIABLE).contains(verdict.effects)
        && work.sql.len() <= TEXT_MAX
        && !work.sql.iter().any(|byte| b"@(".contains(byte))
        && !mentions(work.sql, b"/*")
        && ![&b"default"[..], b"global", b"persist"]
            .into_iter()
            .any(|word| has_word(work.sql, word))
}

/// Whether all that it has changed was told, and is plain.
fn is_told(summary: &Summary, (before, after): (&Image, &Image)) -> bool {
    let names: Option<Vec<&str>> = summary
        .tracked
        .iter()
        .map(|tracked| match tracked {
            Tracked::Variable { name, .. } => Some(&**name),
            Tracked::StateChanged => Some(""),
            _ => None,
        })
        .collect();
    let Some(names) = names else { return false };
    let are_plain = names.iter().any(|name| !name.is_empty())
        && names.iter().all(|name| name.is_empty() || PLAIN.contains(name));
    let is_of_names = |name: &str| name == "names" || name.starts_with("character_set_");
    let is_known = |name: &str| {
        names.contains(&name)
            || (is_of_names(name) || name == "collation_connection")
                && names.contains(&"character_set_client")
    };
    let differ = |one: &Image, other: &Image| -> bool {
        one.variables().any(|(name, value)| other.get(name) != Some(value) && !is_known(name))
    };
    are_plain && before.schema == after.schema && !differ(before, after) && !differ(after, before)
}
