//! The `session_track_*` variables of a session.
//!
//! Backend connections have those that Fairlane needs. What the client has set is kept here, is
//! put on the connection for statements that set or show it, and decides what a client that asked
//! for session tracking is told.

use super::diff::quoted;
use crate::protocol::Family;
use crate::protocol::tracking::Wanted;

/// The variables, and the values with which a server reports all changes; the last one is
/// MySQL's only.
const NAMES: [(&str, &str); 5] = [
    ("session_track_system_variables", "*"),
    ("session_track_schema", "1"),
    ("session_track_state_change", "1"),
    ("session_track_transaction_info", "CHARACTERISTICS"),
    (GTIDS, "OWN_GTID"),
];
const GTIDS: &str = "session_track_gtids";

/// How the first of them is set on MariaDB, which reads it back as the value above.
///
/// FACT(mariadb 11.8): of variables that are no session's own, such as `last_gtid` and
/// `last_insert_id`, it tells only the one it has met first, and that one also in the place of the
/// others; with this value `last_gtid` comes first; test:
/// `a_write_is_told_after_an_insert_id_was_put_back`.
const VARIABLES_OF_MARIADB: &str = "last_gtid,*";

/// Values of a session's trackers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trackers {
    /// By the names above; `None` where the server has no such variable.
    values: [Option<Box<str>>; 5],
}

impl Trackers {
    /// What a session begins with: the server's global values, empty where it has none.
    pub fn of_server<'a>(global: impl Fn(&str) -> Option<&'a str>) -> Self {
        let value = |(name, _): (&str, &str)| match global(name) {
            Some("") if name == GTIDS => None,
            value => value.map(Into::into),
        };
        Self { values: NAMES.map(value) }
    }

    /// Takes over the answer to [`Self::question`]; of a connection that `had_own`, only what is
    /// not Fairlane's.
    pub fn learn(&mut self, answer: &[String], had_own: bool) {
        let known = self.values.iter_mut().zip(NAMES);
        let known = known.filter_map(|(value, (_, own))| Some((value.as_mut()?, own)));
        for ((known, own), value) in known.zip(answer) {
            if !had_own || value != own {
                *known = value.as_str().into();
            }
        }
    }

    /// The select list that asks a connection for its values.
    pub fn question(&self) -> String {
        let known = NAMES.iter().zip(&self.values).filter(|(_, value)| value.is_some());
        known.map(|((name, _), _)| format!("@@{name}")).collect::<Vec<_>>().join(",")
    }

    /// The statement that gives a connection these values instead of Fairlane's own; `None` when
    /// they are the same. What need not be set is not: setting a transaction tracker makes it
    /// forget what it has reported. What can't be set `in_transaction` is left out.
    pub fn to_set(&self, in_transaction: bool) -> Option<String> {
        set(self.other(in_transaction).map(|(name, value, _)| (name, value)))
    }

    /// The statement that gives a connection Fairlane's own values instead.
    pub fn to_undo(&self, all_gtids: bool, in_transaction: bool) -> Option<String> {
        let family = if self.values[4].is_none() { Family::MariaDb } else { Family::MySql };
        let own = |(name, _, own)| match name {
            GTIDS if all_gtids => (name, "ALL_GTIDS"),
            _ => (name, as_set(name, own, family)),
        };
        set(self.other(in_transaction).map(own))
    }

    /// Name, value and Fairlane's own value, where they differ.
    fn other(
        &self,
        in_transaction: bool,
    ) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        NAMES.iter().zip(&self.values).filter_map(move |(&(name, own), value)| {
            let value = value.as_deref()?;
            (value != own && !(in_transaction && name == GTIDS)).then_some((name, value, own))
        })
    }

    /// What a client is told.
    pub fn wanted(&self) -> Wanted {
        Wanted::new(|name| {
            let index = NAMES.iter().position(|(known, _)| *known == name)?;
            self.values[index].as_deref()
        })
    }

    /// Whether GTIDs are wanted in a form that connections have to be asked for.
    pub fn wants_all_gtids(&self) -> bool {
        self.values[4].as_deref().is_some_and(|value| value.eq_ignore_ascii_case("ALL_GTIDS"))
    }
}

/// The statement that gives a new connection Fairlane's own trackers.
pub fn own_trackers(family: Family) -> String {
    let known = NAMES.into_iter().filter(|&(name, _)| !family.is_mariadb() || name != GTIDS);
    set(known.map(|(name, own)| (name, as_set(name, own, family)))).unwrap_or_default()
}

fn as_set(name: &str, own: &'static str, family: Family) -> &'static str {
    if family.is_mariadb() && name == NAMES[0].0 { VARIABLES_OF_MARIADB } else { own }
}

fn set<'a>(values: impl Iterator<Item = (&'static str, &'a str)>) -> Option<String> {
    let assignment = |(name, value): (&str, &str)| match value {
        "0" | "1" => format!("{name}={value}"),
        _ => format!("{name}={}", quoted(value)),
    };
    let all: Vec<_> = values.map(assignment).collect();
    (!all.is_empty()).then(|| format!("SET {}", all.join(",")))
}
