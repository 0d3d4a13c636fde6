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
//!
//! So is USE of the schema that the session has from its login, which some send first of all, while it has had no
//! connection yet.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use quick_cache::sync::Cache;

use super::Work;
use crate::backend::{Choice, ConnectionKey};
use crate::client::Session;
use crate::client::absorb::is_on;
use crate::config::Settings;
use crate::protocol::Command;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::sql::{Charset, Class, Effects, Hint, Leading, has_word, mentions};
use crate::state::Image;
use crate::state::image::CHARSETS;

/// Most of them that are known.
const KEPT_MAX: usize = 1_000;
/// Longest text, in bytes.
const TEXT_MAX: usize = 1_024;

/// Variables that are nothing but a part of an image; and the one that the session knows besides.
const PLAIN: [&str; 19] = [
    "autocommit",
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
    /// What clients that want to know are told.
    tracked: Box<[Tracked]>,
    /// The schema was chosen by it.
    choice: Option<Choice>,
    since: Duration,
}

/// Who has asked for it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::client) struct Asked {
    login: Arc<ConnectionKey>,
    before: Image,
    /// Changes of accounts and global variables before the session began, and up to now; those of schemas.
    epochs: [u64; 3],
    /// The server's.
    version: Box<str>,
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
        let may_be = match work.verdict.leading {
            Leading::Set => true,
            // As at its login. Later on it may be there to renew privileges.
            Leading::Use => self.begun_mode.is_none() && self.choice.is_none(),
            _ => false,
        };
        let is_on = || !self.context.assignments.max_age.is_zero();
        if !may_be
            || self.held.is_some()
            || !is_on()
            || !self.has_autocommit()
            || !is_plain(work)
            || !self.is_plain()
        {
            return None;
        }
        let (login, before) = (self.identity.key.clone(), self.image.clone());
        let version = self.facts.own_version.as_str().into();
        Some(Box::new(Asked { login, before, epochs: self.assignment_epochs(), version }))
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
        if known.choice.is_some() {
            self.choice = known.choice;
        }
        if let Some(is_on) = known.tracked.iter().find_map(autocommit_in) {
            self.set_autocommit(is_on);
            self.status.set(Status::AUTOCOMMIT, is_on);
        }
        if let Some(teller) = &mut self.teller {
            teller.keep(&known.tracked);
        }
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
        if !is_done
            || asked.epochs != self.assignment_epochs()
            || self.image.get("character_set_connection").is_some()
            || !is_told(summary, (&asked.before, &self.image), work)
        {
            return;
        }
        let (key, since) = (asked.key(work.sql), self.context.now());
        let (text, after) = (work.sql.into(), self.image.clone());
        let tracked = summary.tracked.as_slice().into();
        let choice = self.choice.filter(|_| work.verdict.leading == Leading::Use);
        let assignment = Assignment { asked, text, after, tracked, choice, since };
        self.context.assignments.kept.insert(key, Arc::new(assignment));
    }

    /// Whether there is nothing to the session but its image, nor anything to be told of it.
    fn is_plain(&self) -> bool {
        self.is_at_rest()
            && self.begun.is_none()
            && !self.status.contains(Status::IN_TRANS)
            && self.teller.as_ref().is_none_or(|teller| !teller.tells_more())
            && self.began_as_known()
            && self.trackers.is_none()
            && self.diagnostics.is_clear()
            && !self.image.has_servers_collation()
            // They may be of any length.
            && self.image.variables().all(|(name, _)| !name.starts_with('@'))
    }

    /// Whether its first connection has begun as its login should, as far as that is known: what texts are read by is
    /// learned from it otherwise.
    fn began_as_known(&self) -> bool {
        let begun = self.begun_mode.as_ref();
        begun.is_none_or(|begun| **begun == *self.facts.sql_mode)
            && self.begun_charset.is_none_or(|begun| begun == Charset::named(self.login_charset()))
    }

    fn assignment_epochs(&self) -> [u64; 3] {
        let epochs = &self.context.epochs;
        [self.begun_after, epochs.logins(), epochs.schemas()]
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
        && !work.sql.contains(&b'(')
        && reads_no_variable(work.sql)
        && ![&b"/*"[..], b"current_", b"utc_", b"localtime"]
            .iter()
            .any(|part| mentions(work.sql, part))
        && ![&b"default"[..], b"global", b"persist"]
            .into_iter()
            .any(|word| has_word(work.sql, word))
}

/// Whether each `@` belongs to the name of what is set: `SET @@session.autocommit = 0`.
fn reads_no_variable(sql: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = sql[at..].iter().position(|&byte| byte == b'@') {
        let before = sql[..at + found].trim_ascii();
        let is_name = before.last() == Some(&b',') || before.len() == "SET".len();
        if !is_name || sql.get(at + found + 1) != Some(&b'@') {
            return false;
        }
        at += found + 2;
    }
    true
}

/// Whether autocommit is on, where it is told.
fn autocommit_in(tracked: &Tracked) -> Option<bool> {
    match tracked {
        Tracked::Variable { name, value } if name == "autocommit" => Some(is_on(value)),
        _ => None,
    }
}

/// Whether the text of an assignment sets this variable: more may be told that was left untold before.
fn is_set_by(sql: &[u8], name: &str) -> bool {
    const ALL: [&[u8]; 3] = [b"names", b"character", b"charset"];
    const PAIR: [&str; 2] = ["character_set_connection", "collation_connection"];
    let has = |word: &str| has_word(sql, word.as_bytes());
    has(name)
        || CHARSETS.contains(&name) && ALL.iter().any(|word| has_word(sql, word))
        || PAIR.contains(&name) && PAIR.into_iter().any(has)
}

/// Whether all that it has changed was told, and is plain, and nothing else was told.
fn is_told(summary: &Summary, (before, after): (&Image, &Image), work: &Work<'_>) -> bool {
    if work.verdict.leading == Leading::Use {
        let is_choice = |told: &Tracked| matches!(told, Tracked::Schema(_) | Tracked::StateChanged);
        return before == after && summary.tracked.iter().all(is_choice);
    }
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
        && names
            .iter()
            .all(|name| name.is_empty() || PLAIN.contains(name) && is_set_by(work.sql, name));
    let is_known = |name: &str| {
        names.contains(&name) || CHARSETS.contains(&name) && names.contains(&"character_set_client")
    };
    let differ = |one: &Image, other: &Image| -> bool {
        one.variables().any(|(name, value)| other.get(name) != Some(value) && !is_known(name))
    };
    are_plain && before.schema == after.schema && !differ(before, after) && !differ(after, before)
}
