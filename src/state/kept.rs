//! Variables that a session goes on with as it began, whatever its connections have begun with: results, errors
//! and writes hang on them.
//!
//! Each connection to the primary has the values of its login, or of its last reset. A session has those of its own
//! login. Only those are here that any account may set for itself without a warning.

use std::sync::Arc;

use super::begun::{UNASKED, asked};
use super::image::{BIG_SELECTS, MAX_JOIN_SIZE};
use super::{Image, TransactionNames, transaction_names};
use crate::protocol::Family;

/// Those of transactions by their short names.
pub const NAMES: [&str; 44] = [
    "auto_increment_increment",
    "auto_increment_offset",
    "block_encryption_mode",
    "character_set_collations",
    "check_constraint_checks",
    COLLATION_SERVER[0],
    "completion_type",
    "cte_max_recursion_depth",
    "default_regex_flags",
    "default_storage_engine",
    "default_tmp_storage_engine",
    "default_week_format",
    "div_precision_increment",
    "end_markers_in_json",
    "explain_format",
    "explain_json_format_version",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "group_concat_max_len",
    "idle_transaction_timeout",
    "innodb_lock_wait_timeout",
    "innodb_strict_mode",
    "lc_messages",
    "lc_time_names",
    "lock_wait_timeout",
    "max_heap_table_size",
    MAX_JOIN_SIZE,
    "max_recursive_iterations",
    "max_sort_length",
    "show_create_table_verbosity",
    "show_gipk_in_create_table_and_information_schema",
    "sql_auto_is_null",
    // Behind the one that sets it.
    BIG_SELECTS,
    "sql_quote_show_create",
    "sql_safe_updates",
    "sql_select_limit",
    "sql_warnings",
    "system_versioning_alter_history",
    "time_zone",
    transaction_names::ISOLATION[0],
    transaction_names::READ_ONLY[0],
    "unique_checks",
    "updatable_views_with_limit",
    "windowing_use_high_precision",
];

const COLLATION_SERVER: [&str; 2] = ["collation_server", "character_set_server"];

/// Variables of which an image has either.
const TWINS: [[&str; 2]; 3] =
    [COLLATION_SERVER, transaction_names::ISOLATION, transaction_names::READ_ONLY];

/// No value has it.
const SEPARATOR: char = '|';

/// Values of [`NAMES`], in one text: it is compared before most statements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept(Arc<str>);

impl Kept {
    /// What [`question`] is answered with.
    pub fn told(answer: &str) -> Self {
        Self(answer.into())
    }

    fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        NAMES.into_iter().zip(self.0.split(SEPARATOR))
    }

    /// The value of one of them, where they are known.
    pub fn get(&self, name: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let name =
            TWINS.iter().skip(1).find(|twins| twins.contains(&name)).map_or(name, |it| it[0]);
        let value = self.values().find(|(known, _)| *known == name).map(|(_, value)| value);
        value.filter(|value| *value != UNASKED)
    }

    /// Has `image` have those that are others on a connection which began with `other`, but for the session's own.
    pub fn keep_beside(&self, other: &Self, image: &mut Image) {
        let is_own = |image: &Image, name: &str| match TWINS.iter().find(|it| it[0] == name) {
            Some(twins) => twins.iter().any(|twin| image.get(twin).is_some()),
            None => image.get(name).is_some(),
        };
        let mut sets_big_selects = false;
        for ((name, value), (_, there)) in self.values().zip(other.values()) {
            let is_other = value != there || name == BIG_SELECTS && sets_big_selects;
            if is_other && value != UNASKED && !is_own(image, name) {
                sets_big_selects |= name == MAX_JOIN_SIZE;
                image.set(name, value);
            }
        }
    }
}

/// An expression for the values of [`NAMES`] of this `scope` (`global`, `session`).
///
/// FACT(mariadb 10.11 and 11.8): in it switches are ON and OFF, and 1 and 0 where they stand alone; test:
/// `sessions_go_on_with_what_writes_hang_on`.
pub fn question(scope: &str, family: Family, transaction: TransactionNames) -> String {
    let value = |name: &str| match asked(scope, transaction.own(name), family) {
        // It may be NULL, which would be left out.
        value if name == "default_tmp_storage_engine" => format!("COALESCE({value},'')"),
        value if value == "''" => format!("'{UNASKED}'"),
        // A login has what comes of both.
        value if name == BIG_SELECTS && scope == "global" => {
            let on = if family.is_mariadb() { "'ON'" } else { "1" };
            format!("IF(@@global.{MAX_JOIN_SIZE}=18446744073709551615,{on},{value})")
        }
        value => value,
    };
    let values: Vec<String> = NAMES.into_iter().map(value).collect();
    format!("CONCAT_WS('{SEPARATOR}',{})", values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All the same but for these.
    fn kept(others: &[(&str, &str)]) -> Kept {
        let value = |name| others.iter().find(|(other, _)| *other == name).map_or("1", |it| it.1);
        Kept::told(&NAMES.map(value).join("|"))
    }

    #[test]
    fn a_session_keeps_what_others_begin_otherwise_with_and_it_has_not_set() {
        let (begun, mut image) = (kept(&[("time_zone", "SYSTEM")]), Image::default());
        begun.keep_beside(&begun, &mut image);
        assert_eq!(image, Image::default());
        image.set("sql_select_limit", "5");
        image.set("transaction_read_only", "OFF");
        let now = kept(&[("time_zone", "UTC"), ("sql_select_limit", "7"), ("tx_read_only", "0")]);
        begun.keep_beside(&now, &mut image);
        let expected =
            [("sql_select_limit", "5"), ("time_zone", "SYSTEM"), ("transaction_read_only", "OFF")];
        assert_eq!(image.variables().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_a_variable_sets_unseen_is_kept_with_it() {
        let (begun, mut image) = (kept(&[(MAX_JOIN_SIZE, "50")]), Image::default());
        begun.keep_beside(&kept(&[]), &mut image);
        let expected = [(MAX_JOIN_SIZE, "50"), (BIG_SELECTS, "1")];
        assert_eq!(image.variables().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_value_is_found_by_either_name_of_its_variable() {
        let kept = kept(&[("tx_isolation", "SERIALIZABLE"), ("collation_server", "latin1_bin")]);
        assert_eq!(kept.get("transaction_isolation"), Some("SERIALIZABLE"));
        assert_eq!(kept.get("collation_server"), Some("latin1_bin"));
        assert_eq!(kept.get("character_set_server"), None, "that has another value");
        assert_eq!(Kept::default().get("tx_isolation"), None);
    }

    #[test]
    fn what_is_not_asked_for_is_not_known() {
        let (begun, mut image) = (kept(&[("innodb_strict_mode", UNASKED)]), Image::default());
        assert_eq!(begun.get("innodb_strict_mode"), None);
        begun.keep_beside(&kept(&[]), &mut image);
        assert_eq!(image, Image::default());
        let of_mysql = question("session", Family::MySql, TransactionNames::Long);
        assert!(of_mysql.contains(",'-',") && !of_mysql.contains(",'',"), "{of_mysql}");
    }

    #[test]
    fn a_server_is_asked_for_what_it_has() {
        let of_mysql = question("session", Family::MySql, TransactionNames::Long);
        assert!(of_mysql.contains(",@@session.transaction_read_only,"));
        assert!(of_mysql.contains(",COALESCE(@@session.default_tmp_storage_engine,''),"));
        assert!(!of_mysql.contains("check_constraint_checks"));
        let of_mariadb = question("session", Family::MariaDb, TransactionNames::Short);
        assert!(of_mariadb.contains(",@@session.tx_read_only,"));
        assert!(!of_mariadb.contains("windowing_use_high_precision"));
    }
}
