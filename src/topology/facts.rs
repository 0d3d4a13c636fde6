//! What Fairlane must know of the primary to speak for it: its greeting and its global variables.

use std::time::Duration;

use foldhash::HashMap;

use super::greeting::Greeting;
use crate::protocol::Family;
use crate::protocol::status::Status;
use crate::state::image::AUTOCOMMIT;
use crate::state::{Kept, TransactionNames, begun, kept};

/// The primary, as last probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version as the greeting has it (MariaDB puts `5.5.5-` in front).
    pub version: String,
    /// The server's own version, with its family: the greeting has what an operator has set.
    pub own_version: String,
    /// The greeting's default collation.
    pub collation: u8,
    /// Lower 32 bits: `CLIENT_*`; upper 32 bits: MariaDB's extended capabilities.
    pub capabilities: u64,
    /// The greeting's status flags, as they are now.
    pub status: u16,
    /// The greeting's authentication plugin.
    pub auth_plugin: String,
    /// Which servers it is like, whatever the version text says.
    pub family: Family,
    /// Every write gets a GTID, and has for some time, so that a commit without one wrote nothing.
    pub has_gtids: bool,
    /// No schema but the server's own is left out of the binary log, as the server tells.
    pub logs_all: bool,
    /// What leaves others out.
    pub log_filter: Option<String>,
    /// Sessions log statements as they are, whatever they change (MariaDB).
    pub logs_statements: bool,
    /// `@@global.sql_mode`.
    pub sql_mode: String,
    /// `@@global.wait_timeout`.
    pub wait_timeout: Duration,
    /// `@@global.interactive_timeout`: the same for clients with CLIENT_INTERACTIVE.
    pub interactive_timeout: Duration,
    /// `@@global.max_allowed_packet`.
    pub max_allowed_packet: u64,
    /// `@@global.lower_case_table_names`.
    pub lower_case_table_names: u8,
    /// The host the server sees Fairlane at (`localhost` or an address): logins that Fairlane
    /// makes to this server are matched with accounts for this host.
    pub seen_as: String,
    /// Values of [`VARIABLES`], [`ISOLATION`], [`READ_ONLY`], [`TRACK_GTIDS`] and [`GTID_MODE`] (by these names
    /// for both families).
    pub variables: HashMap<&'static str, String>,
}

/// Global variables read with each probe of the primary, and what stands among them without being one. What a family or
/// version does not have is empty there.
pub const VARIABLES: &[&str] = &[
    AUTOCOMMIT,
    BINLOG_FORMAT,
    "block_encryption_mode",
    "character_set_client",
    "character_set_collations",
    "character_set_connection",
    "character_set_results",
    "character_set_server",
    "collation_connection",
    "collation_server",
    "completion_type",
    "cte_max_recursion_depth",
    "default_collation_for_utf8mb4",
    "default_regex_flags",
    "default_week_format",
    "div_precision_increment",
    "end_markers_in_json",
    "explain_format",
    "explain_json_format_version",
    "foreign_key_checks",
    "ft_boolean_syntax",
    "ft_max_word_len",
    "ft_min_word_len",
    "ft_query_expansion_limit",
    "ft_stopword_file",
    "group_concat_max_len",
    "idle_readonly_transaction_timeout",
    "idle_transaction_timeout",
    "idle_write_transaction_timeout",
    "init_connect",
    "innodb_ft_enable_stopword",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_ft_server_stopword_table",
    "innodb_ft_user_stopword_table",
    "interactive_timeout",
    KEPT,
    "lc_messages",
    "lc_time_names",
    LOGIN_NAMES,
    "lower_case_table_names",
    "max_allowed_packet",
    "max_error_count",
    "max_execution_time",
    "max_join_size",
    "max_recursive_iterations",
    "max_sort_length",
    "max_statement_time",
    "mhnsw_ef_search",
    "net_read_timeout",
    "net_write_timeout",
    "ngram_token_size",
    "note_verbosity",
    "old_mode",
    OWN_VERSION,
    "partial_revokes",
    "read_only",
    SECURE_TRANSPORT,
    "session_track_schema",
    "session_track_state_change",
    "session_track_system_variables",
    "session_track_transaction_info",
    "show_create_table_verbosity",
    "show_gipk_in_create_table_and_information_schema",
    "skip_name_resolve",
    "skip_show_database",
    "sql_auto_is_null",
    "sql_big_selects",
    "sql_mode",
    "sql_notes",
    "sql_quote_show_create",
    "sql_select_limit",
    "standard_compliant_cte",
    "system_versioning_asof",
    "time_zone",
    "unique_checks",
    UTC_OFFSETS,
    "wait_timeout",
    "windowing_use_high_precision",
];

/// Those of them, and [`ISOLATION`], that results hang on beside [`begun::NAMES`].
const SHAPING_TOO: [&str; 21] = [
    "ft_boolean_syntax",
    "ft_max_word_len",
    "ft_min_word_len",
    "ft_query_expansion_limit",
    "ft_stopword_file",
    "init_connect",
    "innodb_ft_enable_stopword",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_ft_server_stopword_table",
    "innodb_ft_user_stopword_table",
    LOGIN_NAMES,
    "lower_case_table_names",
    MAX_PACKET,
    "max_execution_time",
    "max_statement_time",
    "ngram_token_size",
    "partial_revokes",
    "skip_show_database",
    ISOLATION,
    UTC_OFFSETS,
];

/// Those that results hang on. A session begins with the primary's, and has a replica's when it reads there.
pub(super) fn shaping() -> impl Iterator<Item = &'static str> {
    begun::NAMES.into_iter().chain(SHAPING_TOO)
}

/// No variable, but what a time zone comes to: that of the system is the default, and two of them may
/// have the same offset for half of a year.
const UTC_OFFSETS: &str = "utc_offsets";

/// Moments at which time zones differ that are alike at others: by summer time, its first and last weeks,
/// and changes of law.
const MOMENTS: [&str; 10] = [
    "1975-01-15",
    "1975-07-15",
    "1995-01-15",
    "1995-07-15",
    "2008-01-15",
    "2008-07-15",
    "2020-01-15",
    "2020-03-20",
    "2020-07-15",
    "2020-10-28",
];
/// Of replicas less of it counts; 0 is without end.
const TIME_LIMITS: [&str; 2] = ["max_execution_time", "max_statement_time"];

/// Of replicas less of it counts.
const MAX_PACKET: &str = "max_allowed_packet";

/// How changes are logged (MariaDB).
pub const BINLOG_FORMAT: &str = "binlog_format";

/// Whether this value of [`BINLOG_FORMAT`] has statements logged as they are, whatever they change.
pub fn logs_statements(format: &str) -> bool {
    format.eq_ignore_ascii_case("statement")
}

/// No variable, but MariaDB's version as its InnoDB has it, which nobody can set; where it is needed.
const OWN_VERSION: &str = "own_version";

/// No variable, but the character sets that a login like Fairlane's comes to: versions of a server have
/// other collations for the same number.
const LOGIN_NAMES: &str = "character_sets_of_logins";

/// No variable, but what sessions go on with, as [`kept::question`] has it.
const KEPT: &str = "kept";

/// `ON`: no login without TLS. MariaDB before 10.5.2 has no such variable.
const SECURE_TRANSPORT: &str = "require_secure_transport";

/// How one of [`VARIABLES`] or of [`shaping`] is asked for.
pub(super) fn asked(name: &str, family: Family) -> String {
    match name {
        UTC_OFFSETS => {
            let now = [("UTC_TIMESTAMP()".to_owned())];
            let then = MOMENTS.iter().map(|day| format!("TIMESTAMP'{day} 12:00:00'"));
            let offset = |at: String| {
                format!("TIMEDIFF(CONVERT_TZ({at}, '+00:00', @@global.time_zone), {at})")
            };
            let offsets: Vec<String> = now.into_iter().chain(then).map(offset).collect();
            format!("CONCAT_WS(' ', {}) AS {name}", offsets.join(", "))
        }
        LOGIN_NAMES => format!(
            "CONCAT_WS(' ', @@session.character_set_client, @@session.character_set_results, \
             @@session.collation_connection) AS {name}"
        ),
        BINLOG_FORMAT | OWN_VERSION if family == Family::MySql => format!("'' AS {name}"),
        // Of MariaDB alone.
        _ if family == Family::MySql && name.ends_with("_transaction_timeout") => {
            format!("'' AS {name}")
        }
        OWN_VERSION => format!(
            "IF(@@global.version LIKE '%MariaDB%', '', (SELECT PLUGIN_AUTH_VERSION \
             FROM information_schema.plugins WHERE PLUGIN_NAME = 'InnoDB')) AS {name}"
        ),
        SECURE_TRANSPORT if family.is_mariadb() => {
            format!("COALESCE(/*M!100502 @@global.{name},*/ 0) AS {name}")
        }
        KEPT => {
            let names =
                if family.is_mariadb() { TransactionNames::Short } else { TransactionNames::Long };
            format!("{} AS {name}", kept::question("global", family, names))
        }
        ISOLATION => {
            let transaction = if family.is_mariadb() { "tx" } else { "transaction" };
            format!("@@global.{transaction}_isolation AS {name}")
        }
        _ => format!("{} AS {name}", begun::asked("global", name, family)),
    }
}

/// Read with each probe, under a name that differs between the families.
pub const ISOLATION: &str = "tx_isolation";

/// Likewise; `0` or `1`.
pub const READ_ONLY: &str = "tx_read_only";

/// Read with each probe of MySQL; empty for MariaDB, which tracks GTIDs among the variables.
pub const TRACK_GTIDS: &str = "session_track_gtids";

/// Read with each probe of MySQL; MariaDB has no such switch, there it is always `ON`.
pub const GTID_MODE: &str = "gtid_mode";

/// How long a statement may take, of [`TIME_LIMITS`].
fn limit(value: &str) -> f64 {
    value.parse().ok().filter(|limit| *limit > 0.0).unwrap_or(f64::INFINITY)
}

/// The version of the greeting, unless it is another one's.
fn own_version(told: &str, family: Family, of_innodb: &str) -> String {
    match family {
        Family::MariaDb if !Family::of_version(told).is_mariadb() => {
            format!("{of_innodb}-MariaDB")
        }
        Family::MariaDb | Family::MySql => told.to_owned(),
    }
}

/// The flags of a greeting of now. That was read when the server had started.
///
/// FACT(mariadb 10.11 and 11.8, mysql 9.7): MariaDB's follows the global variable, MySQL's has it always;
/// test: `sessions_begin_with_the_autocommit_there_is`.
fn status(greeted: u16, family: Family, is_autocommit_on: bool) -> u16 {
    let mut status = Status::from_bits_retain(greeted);
    if family.is_mariadb() {
        status.set(Status::AUTOCOMMIT, is_autocommit_on);
    }
    status.bits()
}

fn is_on(value: &str) -> bool {
    matches!(value, "1" | "ON")
}

/// Whether an `init_connect` may, itself or by what it calls.
fn may_set_autocommit(init_connect: &str) -> bool {
    let text = init_connect.to_ascii_lowercase();
    [AUTOCOMMIT, "call", "execute"].iter().any(|word| text.contains(word))
}

/// What keeps changes in some schemas out of a binary log, if anything does.
pub(super) type LogFilter = Option<String>;

impl ServerFacts {
    /// Puts together what the greeting and a probe said.
    pub(super) fn new(
        greeting: &Greeting,
        family: Family,
        (seen_as, log_filter): (String, Option<LogFilter>),
        variables: HashMap<&'static str, String>,
    ) -> Self {
        let text = |name: &str| variables.get(name).map_or("", String::as_str);
        // The fallbacks are both servers' defaults.
        let seconds = |name: &str| Duration::from_secs(text(name).parse().unwrap_or(28_800));
        Self {
            version: greeting.version.clone(),
            own_version: own_version(&greeting.version, family, text(OWN_VERSION)),
            collation: greeting.collation,
            capabilities: greeting.capabilities,
            status: status(greeting.status, family, is_on(text(AUTOCOMMIT))),
            auth_plugin: greeting.auth_plugin.clone(),
            family,
            // Also ON_PERMISSIVE, which permits others' transactions to have none.
            has_gtids: text(GTID_MODE) == "ON",
            logs_all: log_filter.as_ref().is_some_and(Option::is_none),
            log_filter: log_filter.flatten(),
            logs_statements: family.is_mariadb() && logs_statements(text(BINLOG_FORMAT)),
            sql_mode: text("sql_mode").to_owned(),
            wait_timeout: seconds("wait_timeout"),
            interactive_timeout: seconds("interactive_timeout"),
            max_allowed_packet: text("max_allowed_packet").parse().unwrap_or(16 << 20),
            lower_case_table_names: text("lower_case_table_names").parse().unwrap_or(0),
            seen_as,
            variables,
        }
    }

    /// True for MariaDB, whatever the version text says.
    pub fn is_mariadb(&self) -> bool {
        self.family.is_mariadb()
    }

    /// `require_secure_transport`: it lets nobody log in without TLS.
    pub fn requires_tls(&self) -> bool {
        self.variable(SECURE_TRANSPORT).is_some_and(is_on)
    }

    /// Whether autocommit is on globally.
    pub fn has_autocommit(&self) -> bool {
        self.variable(AUTOCOMMIT).is_some_and(is_on)
    }

    /// Whether it is on after a login, where that is known: `init_connect` may set it.
    pub fn begins_with_autocommit(&self) -> Option<bool> {
        let init = self.variable("init_connect").unwrap_or_default();
        (!may_set_autocommit(init)).then(|| self.has_autocommit())
    }

    /// The first of [`shaping`] that is other than in `values`, which are in their order; there may be
    /// none, and then nothing is known.
    pub(super) fn first_other(&self, values: &[String]) -> Option<&'static str> {
        let is_other = |name: &str, value: &str| match name {
            // More is given to replicas for the sake of replication; what REPEAT() and the like make of it is
            // theirs.
            MAX_PACKET => value.parse().is_ok_and(|bytes: u64| bytes < self.max_allowed_packet),
            name if TIME_LIMITS.contains(&name) => {
                limit(value) < limit(self.variable(name).unwrap_or_default())
            }
            _ => self.variable(name) != Some(value),
        };
        let mut pairs = shaping().zip(values);
        pairs.find(|(name, value)| is_other(name, value)).map(|(name, _)| name)
    }

    /// The first of [`begun::NAMES`] with which sessions begin otherwise on a replica, if these are its values.
    pub fn first_begun_otherwise(&self, values: &[String]) -> Option<&'static str> {
        let mut pairs = begun::NAMES.iter().zip(values);
        pairs.find(|(name, value)| self.variable(name) != Some(value)).map(|(name, _)| *name)
    }

    /// What a session that begins now goes on with.
    pub fn kept(&self) -> Kept {
        Kept::told(self.variable(KEPT).unwrap_or_default())
    }

    /// The character set of texts where a login's own is not taken: Fairlane's asks for utf8mb4
    /// (`character-set-client-handshake=OFF`).
    pub fn imposed_charset(&self) -> Option<&str> {
        let (client, _) = self.variable(LOGIN_NAMES)?.split_once(' ')?;
        Some(client).filter(|client| *client != "utf8mb4")
    }

    /// A global variable that is read with each probe; empty for NULL.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_end_is_the_longest() {
        assert!(limit("0.500000") < limit("2.000000"));
        assert!(limit("5000") < limit("0") && limit("5000") < limit("0.000000"));
        assert!(limit("") == limit("0"), "a server without such a limit");
    }

    #[test]
    fn what_is_set_at_a_login_need_not_leave_autocommit_unknown() {
        for text in ["SET AutoCommit = 0", "CALL shop.begins()", "EXECUTE IMMEDIATE @a"] {
            assert!(may_set_autocommit(text), "{text}");
        }
        for text in ["", "SET NAMES utf8mb4", "INSERT INTO shop.log VALUES (USER())"] {
            assert!(!may_set_autocommit(text), "{text}");
        }
    }

    #[test]
    fn what_sessions_begin_with_is_known_of_the_primary() {
        assert!(begun::NAMES.iter().all(|name| VARIABLES.contains(name)));
    }
}
