//! Variables that a connection begins with and results hang on: how a server is asked for them, whatever its family and
//! version have of them.

use crate::protocol::Family;

/// Those that are a session's own, by the names they have among the facts of a server. (What the system's time
/// zone comes to changes with no variable.)
pub const NAMES: [&str; 31] = [
    "block_encryption_mode",
    "character_set_collations",
    "completion_type",
    "cte_max_recursion_depth",
    "default_collation_for_utf8mb4",
    "default_regex_flags",
    "default_week_format",
    "div_precision_increment",
    "end_markers_in_json",
    "explain_format",
    "explain_json_format_version",
    "group_concat_max_len",
    "lc_messages",
    "lc_time_names",
    "max_error_count",
    "max_join_size",
    "max_recursive_iterations",
    "max_sort_length",
    "mhnsw_ef_search",
    "note_verbosity",
    "old_mode",
    "show_create_table_verbosity",
    "show_gipk_in_create_table_and_information_schema",
    "sql_mode",
    "sql_notes",
    "sql_quote_show_create",
    "sql_select_limit",
    "standard_compliant_cte",
    "system_versioning_asof",
    "time_zone",
    "windowing_use_high_precision",
];

/// In the place of a value that is not asked for, where that is told from an empty one. No value is so.
pub const UNASKED: &str = "-";

/// Variables that only one family has, or is asked for.
const OF_MARIADB: [&str; 13] = [
    "character_set_collations",
    "check_constraint_checks",
    "default_regex_flags",
    "idle_transaction_timeout",
    // Of MySQL's few accounts may set it.
    "innodb_strict_mode",
    "max_recursive_iterations",
    "max_statement_time",
    "mhnsw_ef_search",
    "note_verbosity",
    "old_mode",
    "standard_compliant_cte",
    "system_versioning_alter_history",
    "system_versioning_asof",
];
const OF_MYSQL: [&str; 7] = [
    "cte_max_recursion_depth",
    "default_collation_for_utf8mb4",
    "end_markers_in_json",
    "max_execution_time",
    "ngram_token_size",
    "show_create_table_verbosity",
    "windowing_use_high_precision",
];
/// With the version they came with, and what holds before.
const OF_LATE_MARIADB: [(&str, &str, &str); 5] = [
    ("block_encryption_mode", "110200", "aes-128-ecb"),
    ("character_set_collations", "110300", ""),
    // Before it is no session's.
    ("explicit_defaults_for_timestamp", "101000", UNASKED),
    ("mhnsw_ef_search", "110701", "20"),
    // 10.11.6 has it, but the first ones of 11.0 to 11.2 have not.
    ("note_verbosity", "110300", ""),
];
const OF_LATE_MYSQL: [(&str, &str, &str); 4] = [
    ("explain_format", "80032", "TRADITIONAL"),
    ("explain_json_format_version", "80300", "1"),
    ("partial_revokes", "80016", "0"),
    ("show_gipk_in_create_table_and_information_schema", "80030", "1"),
];

/// The expression for a variable of this `scope` (`global`, `session`) that some servers may not have.
pub fn asked(scope: &str, name: &str, family: Family) -> String {
    const NONE: &str = "''";
    let of = |late: &[(&str, &'static str, &'static str)]| {
        let found = late.iter().find(|(late, ..)| *late == name);
        found.map(|(_, since, before)| (*since, *before))
    };
    match (family, of(&OF_LATE_MARIADB), of(&OF_LATE_MYSQL)) {
        (Family::MariaDb, Some((since, before)), _) => {
            format!("COALESCE(/*M!{since} @@{scope}.{name},*/ '{before}')")
        }
        (Family::MySql, _, Some((since, before))) => {
            format!("COALESCE(/*!{since} @@{scope}.{name},*/ '{before}')")
        }
        (Family::MariaDb, _, Some(_)) => NONE.to_owned(),
        (Family::MariaDb, ..) if OF_MYSQL.contains(&name) => NONE.to_owned(),
        (Family::MySql, ..) if OF_MARIADB.contains(&name) => NONE.to_owned(),
        _ => format!("@@{scope}.{name}"),
    }
}

/// Columns that ask a session for its values of [`NAMES`], behind one that is 0 where `init_connect` may have
/// given it others.
pub fn question(family: Family) -> String {
    let columns = NAMES.iter().map(|name| asked("session", name, family));
    let columns: Vec<String> = [IS_AS_GLOBAL.to_owned()].into_iter().chain(columns).collect();
    columns.join(",")
}

const IS_AS_GLOBAL: &str = "@@global.init_connect=''";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_may_not_have_is_asked_for_so_that_it_does_not_matter() {
        for (name, of_mariadb, of_mysql) in [
            ("time_zone", "@@session.time_zone", "@@session.time_zone"),
            ("old_mode", "@@session.old_mode", "''"),
            ("max_execution_time", "''", "@@session.max_execution_time"),
            (
                "block_encryption_mode",
                "COALESCE(/*M!110200 @@session.block_encryption_mode,*/ 'aes-128-ecb')",
                "@@session.block_encryption_mode",
            ),
            (
                "explain_json_format_version",
                "''",
                "COALESCE(/*!80300 @@session.explain_json_format_version,*/ '1')",
            ),
        ] {
            assert_eq!(asked("session", name, Family::MariaDb), of_mariadb);
            assert_eq!(asked("session", name, Family::MySql), of_mysql);
        }
    }
}
