//! Schema and changed system variables, of a session or of a backend connection.

use std::sync::Arc;

use super::{Kept, TransactionNames, transaction_names};
use crate::protocol::status::Tracked;

/// What a connection has right after login, as far as it can't be had back with `DEFAULT`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// `character_set_client`.
    pub client: String,
    /// `character_set_results`; empty is NULL.
    pub results: String,
    /// `collation_connection`.
    pub collation: String,
    /// `sql_mode`: the global one may be another by now.
    pub sql_mode: Arc<str>,
    /// Values of [`OF_LOGIN`]; empty where the server has none.
    pub of_login: [Arc<str>; OF_LOGIN.len()],
    /// What it has begun with of what a session goes on with, also anew; of a connection that can write.
    pub kept: Kept,
    /// How the server names the variables of transactions.
    pub transaction: TransactionNames,
    /// Sessions on it can only read, whatever they have set: nothing that was taken for a read and writes all
    /// the same does so on a replica, whose `read_only` does not hold for every account.
    pub only_reads: bool,
}

/// Variables that a login may give another value than the global one, which is their `DEFAULT`: an
/// account may have a limit, with `CLIENT_INTERACTIVE` another variable counts, and [`AUTOCOMMIT`] may be
/// turned off by `init_connect`, whose other variables are not given back.
///
/// FACT(mariadb 10.11 and 11.8, mysql 9.7): there are no others, and MariaDB's reset gives the global
/// values; test: `a_session_begins_with_the_limits_of_its_login`.
pub const OF_LOGIN: [&str; 3] = ["max_statement_time", "wait_timeout", AUTOCOMMIT];

/// Whether each statement is a transaction of its own.
pub const AUTOCOMMIT: &str = "autocommit";

impl Base {
    /// The value that a variable has had after login, if that may be another than `DEFAULT`.
    pub fn of_login(&self, name: &str) -> Option<&Arc<str>> {
        let known = OF_LOGIN.iter().zip(&self.of_login).find(|(known, _)| **known == name);
        known.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// Character set and collation of the `SET NAMES` that has the same effect, if there is one.
    pub fn names(&self) -> Option<(&str, &str)> {
        let Self { client, results, collation, .. } = self;
        let rest = collation.strip_prefix(&**client).filter(|_| !client.is_empty())?;
        let fits = client == results && (rest.is_empty() || rest.starts_with('_'));
        let fits =
            fits && collation.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        fits.then_some((client, collation))
    }
}

/// What stands in an image for the effect of a `SET NAMES`: character set and collation, with a
/// blank between. `character_set_client` and the others are beside it only when set after it.
pub(super) const NAMES: &str = "names";

/// The variables that `SET NAMES` sets, and what stands for it.
pub const CHARSETS: [&str; 5] = [
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    NAMES,
];

/// The variables that the choice of a schema sets, to the defaults of that.
pub const SCHEMA_VARIABLES: [&str; 2] = ["character_set_database", "collation_database"];

/// What stands in an image without a value after a reset, which leaves the server's own.
pub(super) const LEFT_BY_RESET: &str = SCHEMA_VARIABLES[1];

/// Most variables of an image to which user variables are added.
const VARIABLES_MAX: usize = 64;
/// Most bytes of its user variables: they are sent together, in a packet that a server has to take, and each
/// prepared statement has those of its moment.
const USER_VARIABLES_BYTES_MAX: usize = 16 * 1024;

/// Whether a variable of an image is a user variable, whose value is its literal in SQL.
pub(super) fn is_user_variable(name: &str) -> bool {
    name.starts_with('@')
}

/// Schema, system variables that differ from those after login, and user variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Current schema; `None` when there is none.
    pub schema: Option<Box<str>>,
    /// By name, sorted; of each of the [`PAIRS`] one at most.
    variables: Vec<(Box<str>, Box<str>)>,
}

/// Variables of which each sets the other: only the one that was set last is in an image.
///
/// FACT(mariadb 10.11 and 11.8, mysql 9.7): there are no others of which both are carried; test:
/// `two_names_of_a_variable_are_one`.
const PAIRS: &[[&str; 2]] = &[
    ["character_set_connection", "collation_connection"],
    ["character_set_server", "collation_server"],
    ["character_set_database", "collation_database"],
    // Two names of one.
    transaction_names::ISOLATION,
    transaction_names::READ_ONLY,
    ["storage_engine", "default_storage_engine"],
    ["tmp_table_size", "tmp_memory_table_size"],
    ["old_alter_table", "alter_algorithm"],
    ["long_query_time", "log_slow_query_time"],
    ["min_examined_row_limit", "log_slow_min_examined_row_limit"],
    ["slow_query_log", "log_slow_query"],
];

impl Image {
    /// Whether it says that sessions can write.
    pub fn can_write(&self) -> bool {
        let value = transaction_names::READ_ONLY.into_iter().find_map(|name| self.get(name));
        value.is_some_and(|value| value == "0" || value.eq_ignore_ascii_case("off"))
    }

    /// The changed variables, sorted by name.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a changed variable.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&str> {
        // Asked several times for each statement, of sessions that mostly have none.
        if self.variables.is_empty() { None } else { self.find(name) }
    }

    fn find(&self, name: &str) -> Option<&str> {
        let index = self.variables.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.variables[index].1)
    }

    /// The character set of texts from the client, when it was changed.
    pub fn client_charset(&self) -> Option<&str> {
        self.get("character_set_client").or_else(|| Some(self.names()?.0))
    }

    /// Character set and collation of string literals, as far as both are known; on a connection
    /// that had `base` after login.
    pub fn of_literals<'a>(&'a self, base: &'a Base) -> Option<(&'a str, &'a str)> {
        let is_apart = ["character_set_connection", "collation_connection"];
        if is_apart.iter().any(|name| self.get(name).is_some()) {
            return None;
        }
        self.names().or_else(|| base.names())
    }

    /// Whether user variables can be carried beside what is carried already, or in its place.
    pub fn has_room_for(&self, values: &[(&str, String)]) -> bool {
        let is_kept = |name: &str| !values.iter().any(|(new, _)| *new == name);
        let kept = self.user_variables().filter(|(name, _)| is_kept(name));
        let new = values.iter().map(|(name, value)| (*name, &**value));
        let bytes: usize = kept.chain(new).map(|(name, value)| name.len() + value.len()).sum();
        self.variables.len() + values.len() <= VARIABLES_MAX && bytes <= USER_VARIABLES_BYTES_MAX
    }

    /// Whether a connection with this image has user variables that a session with image `other`
    /// must not see: nothing but a reset takes them away.
    pub fn has_user_variables_beside(&self, other: &Self) -> bool {
        self.user_variables().any(|(name, _)| other.get(name).is_none())
    }

    /// The user variables, with their values as literals.
    pub(super) fn user_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        // They sort in front of all names of system variables.
        self.variables().take_while(|(name, _)| is_user_variable(name))
    }

    /// The text that a user variable has.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        // A string has no quotes in it.
        self.get(name).filter(|_| is_user_variable(name))?.split('\'').nth(1)
    }

    /// It is no longer known what those user variables are that `other` has.
    pub fn forget_user_variables(&mut self, other: &Self) {
        other.user_variables().for_each(|(name, _)| self.unset(name));
    }

    /// Character set and collation of the last `SET NAMES`.
    pub(super) fn names(&self) -> Option<(&str, &str)> {
        self.get(NAMES)?.split_once(' ')
    }

    /// Notes a `SET NAMES` that has run on a connection which had `base` after login: it makes
    /// more equal than the variables show, since results get the collation too.
    pub fn set_names(&mut self, (charset, collation): (&str, &str), base: &Base) {
        if self.get("character_set_results").is_some_and(|results| results == charset) {
            self.unset("character_set_results");
        }
        for name in ["character_set_client", "character_set_connection", "collation_connection"] {
            self.unset(name);
        }
        match base.names() == Some((charset, collation)) {
            true => self.unset(NAMES),
            false => self.set(NAMES, &format!("{charset} {collation}")),
        }
    }

    /// Notes that the character sets are those of `base`, on connections that began with others.
    pub fn set_base(&mut self, base: &Base) {
        CHARSETS.iter().for_each(|name| self.unset(name));
        match base.names() {
            Some(names) => self.set_names(names, &Base::default()),
            None => {
                self.set("character_set_client", &base.client);
                self.set("character_set_results", &base.results);
                self.set("collation_connection", &base.collation);
            }
        }
    }

    /// Notes the values of [`OF_LOGIN`] that a connection has, where they are others than after login.
    pub fn set_of_login(&mut self, now: &Base, begun: &Base) {
        for name in OF_LOGIN {
            if let Some(value) =
                now.of_login(name).filter(|_| now.of_login(name) != begun.of_login(name))
            {
                self.set(name, value);
            }
        }
    }

    /// Notes a new value.
    pub fn set(&mut self, name: &str, value: &str) {
        for [one, other] in PAIRS {
            if *one == name {
                self.unset(other);
            } else if *other == name {
                self.unset(one);
            }
        }
        match self.variables.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(index) if *self.variables[index].1 == *value => {}
            Ok(index) => self.variables[index].1 = value.into(),
            Err(index) => self.variables.insert(index, (name.into(), value.into())),
        }
    }

    /// Forgets a variable: it has its value after login again.
    pub fn unset(&mut self, name: &str) {
        if let Ok(index) = self.variables.binary_search_by(|(known, _)| (**known).cmp(name)) {
            self.variables.remove(index);
        }
    }

    /// Notes that a reset has left the server's own collation in the place of the schema's.
    pub fn set_servers_collation(&mut self) {
        if self.schema.is_some() {
            self.set(LEFT_BY_RESET, "");
        }
    }

    /// Whether a reset has left it that, and nothing has changed it since.
    pub fn has_servers_collation(&self) -> bool {
        self.get(LEFT_BY_RESET) == Some("")
    }

    /// The schema has its own defaults.
    pub fn unset_collation(&mut self) {
        SCHEMA_VARIABLES.into_iter().for_each(|name| self.unset(name));
    }

    /// Forgets all variables, as COM_RESET_CONNECTION does; the schema stays.
    pub fn reset_variables(&mut self) {
        self.variables.clear();
    }

    /// Whether the session and the connection agree.
    pub fn same_variables(&self, other: &Self) -> bool {
        self.variables == other.variables
    }

    /// Notes that a connection was given all that `other` has. A schema can't be left, nor can a
    /// user variable.
    pub fn turn_into(&mut self, other: &Self) {
        let before = std::mem::replace(self, other.clone());
        if self.schema.is_none() {
            self.schema.clone_from(&before.schema);
        }
        for (name, value) in before.user_variables() {
            if self.get(name).is_none() {
                self.set(name, value);
            }
        }
    }

    /// Whether the image says something about what was tracked.
    pub fn has(&self, tracked: &Tracked) -> bool {
        match tracked {
            Tracked::Schema(_) => self.schema.is_some(),
            Tracked::Variable { name, .. } => self.get(name).is_some(),
            _ => false,
        }
    }

    /// Takes over what the server tracked; whatever is no part of an image is left alone.
    pub fn apply(&mut self, tracked: &Tracked) {
        match tracked {
            Tracked::Schema(schema) => {
                self.schema = Some(schema.as_str().into()).filter(|_| !schema.is_empty());
            }
            Tracked::Variable { name, value } => self.take_over(name, value),
            _ => {}
        }
    }

    /// Takes over a variable the server has tracked, if it is part of an image.
    pub fn take_over(&mut self, name: &str, value: &str) {
        if is_carried(name) {
            self.set(name, value);
        }
    }
}

/// Setting it sets [`BIG_SELECTS`]: whether joins of more rows are run.
pub const MAX_JOIN_SIZE: &str = "max_join_size";
/// Follows the last setting of it or of [`MAX_JOIN_SIZE`].
pub const BIG_SELECTS: &str = "sql_big_selects";
/// The largest [`MAX_JOIN_SIZE`].
const UNLIMITED: &str = "18446744073709551615";

/// The variable and its value that the servers set with another one, and tell nobody.
pub fn set_with(name: &str, value: &str) -> Option<(&'static str, &'static str)> {
    let is_unlimited = value == UNLIMITED;
    (name == MAX_JOIN_SIZE).then_some((BIG_SELECTS, if is_unlimited { "ON" } else { "OFF" }))
}

/// Whether a variable reported by the server is carried from connection to connection.
/// `last_gtid` is a result, the insert ids are kept apart, the trackers are Fairlane's.
fn is_carried(name: &str) -> bool {
    !matches!(
        name,
        "last_gtid" | "last_insert_id" | "identity" | "insert_id" | "gtid_next" | "timestamp"
    ) && !name.starts_with("session_track_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collation_and_character_set_of_the_connection_replace_each_other() {
        let mut image = Image::default();
        image.set("collation_connection", "utf8mb4_bin");
        image.set("character_set_connection", "latin1");
        assert_eq!(image.variables().collect::<Vec<_>>(), [("character_set_connection", "latin1")]);
        image.set("collation_connection", "latin1_bin");
        assert_eq!(image.get("character_set_connection"), None);
    }

    #[test]
    fn two_names_of_a_variable_replace_each_other() {
        for &[one, other] in PAIRS {
            let mut image = Image::default();
            for (name, gone) in [(one, other), (other, one)] {
                image.set(name, "a");
                assert_eq!((image.get(name), image.get(gone)), (Some("a"), None));
            }
        }
    }

    #[test]
    fn names_stand_for_the_variables_they_set() {
        let general = |charset: &str| Base {
            client: charset.to_owned(),
            results: charset.to_owned(),
            collation: format!("{charset}_general_ci"),
            ..Base::default()
        };
        let mut image = Image::default();
        image.set("character_set_client", "latin1");
        image.set("character_set_results", "latin1");
        image.set("character_set_connection", "latin1");
        image.set_names(("latin1", "latin1_swedish_ci"), &general("utf8mb4"));
        assert_eq!(image.variables().collect::<Vec<_>>(), [(NAMES, "latin1 latin1_swedish_ci")]);
        assert_eq!(image.client_charset(), Some("latin1"));
        image.set("character_set_results", "");
        image.set_names(("utf8mb4", "utf8mb4_general_ci"), &general("utf8mb4"));
        assert_eq!(image.variables().collect::<Vec<_>>(), [("character_set_results", "")]);
        image.set_base(&general("latin1"));
        assert_eq!(image.names(), Some(("latin1", "latin1_general_ci")));
        let mixed = Base { results: String::new(), ..general("utf8mb4") };
        assert_eq!(mixed.names(), None);
        image.set_base(&mixed);
        assert_eq!(image.client_charset(), Some("utf8mb4"));
        assert_eq!(image.names(), None);
    }

    #[test]
    fn user_variables_are_carried_up_to_a_size() {
        let mut image = Image::default();
        let half = "1".repeat(USER_VARIABLES_BYTES_MAX / 2);
        image.set("@a", &half);
        assert!(image.has_room_for(&[("@a", half.clone())]));
        assert!(image.has_room_for(&[("@a", "1".into()), ("@b", half.clone())]));
        assert!(!image.has_room_for(&[("@b", half)]));
        assert!(!Image::default().has_room_for(&[("@b", "1".repeat(USER_VARIABLES_BYTES_MAX))]));
    }

    #[test]
    fn results_of_statements_are_not_state() {
        let mut image = Image::default();
        let gtid = Tracked::Variable { name: "last_gtid".into(), value: "0-1-2".into() };
        image.apply(&gtid);
        assert_eq!(image, Image::default());
        image.apply(&Tracked::Schema("shop".into()));
        assert_eq!(image.schema.as_deref(), Some("shop"));
        image.apply(&Tracked::Schema(String::new()));
        assert_eq!(image.schema, None);
    }
}
