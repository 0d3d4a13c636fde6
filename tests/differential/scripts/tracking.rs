//! Session tracking for clients that ask for it, with all that can be tracked on and off.

use super::texts::{ANSWERS, ERRORS, STATE, tables};
use crate::compare::{BOTH, Script, TRACKING, check};
use crate::step::{Step, change_user, command, execute, prepare, queries, query};
use crate::support::product::product;
use crate::support::{Proxy, servers};
use fairlane::protocol::Command;

const SETTINGS: &[&str] = &[
    "SET session_track_system_variables = '*', session_track_state_change = 1, \
     session_track_transaction_info = 'CHARACTERISTICS'",
    "SET session_track_transaction_info = 'STATE', session_track_schema = 0",
    "SET session_track_system_variables = ' SQL_MODE, Time_Zone,character_set_client'",
    "SET session_track_system_variables = ''",
];

/// Setting and showing the trackers themselves.
const TRACKERS: &[&str] = &[
    "SELECT @@session_track_system_variables, @@session.session_track_schema, \
     @@session_track_state_change, @@session_track_transaction_info",
    "SHOW VARIABLES LIKE 'session_track%'",
    "SHOW SESSION VARIABLES WHERE Variable_name LIKE 'session\\_track%'",
    "SELECT COUNT(*) FROM information_schema.session_variables \
     WHERE VARIABLE_NAME LIKE 'session_track%' AND VARIABLE_VALUE IN ('ON', '*', 'STATE')",
    "SHOW GLOBAL VARIABLES LIKE 'session_track%'",
    "SET session_track_state_change = 1",
    "SET @@session_track_schema = OFF",
    "SHOW VARIABLES LIKE 'session_track%'",
    "USE mysql",
    "SET session_track_system_variables = 'nothing_like_it'",
    "SHOW WARNINGS",
    "SET session_track_system_variables = CONCAT(@@session_track_system_variables, ',sql_mode')",
    "SELECT @@session_track_system_variables",
    "SET sql_mode = 'ANSI_QUOTES', time_zone = '+03:00'",
    "SELECT \"session_track_schema\" FROM (SELECT 1 AS session_track_schema) t",
    "SET session_track_system_variables = 'time_zone', sql_mode = ''",
    "SELECT \"text\", @@sql_mode",
    "SET session_track_schema = DEFAULT",
    "USE shop",
    "SET sql_mode = DEFAULT",
    "SELECT 1 UNION SELECT 2",
    "SET session_track_schema = 'perhaps'",
    "SELECT FOUND_ROWS(), ROW_COUNT()",
    "SET session_track_transaction_info = 'STATE'",
    "BEGIN",
    "SHOW VARIABLES LIKE 'sort_buffer_size'",
    "CREATE OR REPLACE TABLE df_t (a INT)",
    "START TRANSACTION",
    "INSERT INTO df_t VALUES (1)",
    "SELECT * FROM df_t",
    "ROLLBACK",
    "USE mysql; SET NAMES latin1; SELECT 1; SET autocommit = 0; DO 0",
    "SET autocommit = 1; USE shop; SELECT nothing_like_it; SET NAMES utf8",
    "SELECT @@session_track_system_variables",
];

fn with_commands(settings: &str) -> Vec<Step> {
    let track = query(settings);
    vec![
        track.clone(),
        command(Command::Ping, ""),
        command(Command::InitDb, "mysql"),
        command(Command::InitDb, "shop"),
        command(Command::InitDb, "nowhere"),
        prepare(0, "SET time_zone = ?"),
        execute(0, &[crate::params::text("+04:00")]),
        prepare(1, "SELECT @@session_track_schema"),
        execute(1, &[]),
        prepare(2, "SET session_track_schema = 0"),
        execute(2, &[]),
        execute(1, &[]),
        query("USE mysql"),
        command(Command::SetOption, [0, 0]),
        command(Command::SetOption, [1, 0]),
        query("SET NAMES latin1"),
        query("SELECT 1/0"),
        query("SHOW WARNINGS"),
        query("SET autocommit = 0"),
        query("SELECT COUNT(*) FROM shop.df_track"),
        command(Command::ResetConnection, ""),
        query("SHOW VARIABLES LIKE 'session_track%'"),
        query("USE shop"),
        track,
        change_user("app", "app-secret", "shop"),
        query("SHOW VARIABLES LIKE 'session_track%'"),
        query("SET time_zone = '+01:00'"),
        change_user("app", "app-secret", ""),
    ]
}

#[test]
fn sessions_are_told_what_the_server_would_tell_them() {
    let _tables = tables();
    let proxy = Proxy::start(servers());
    servers().root().replace("CREATE OR REPLACE TABLE shop.df_track (a INT)");
    servers().wait_replicated();
    let mut scripts = vec![Script::new("trackers", queries(TRACKERS))];
    for settings in SETTINGS {
        for (name, all) in [("answers", ANSWERS), ("errors", ERRORS), ("state", STATE)] {
            let steps = [queries(&[settings]), queries(all)].concat();
            scripts.push(Script::new(format!("{name} after {settings}"), steps));
        }
        let name = format!("commands after {settings}");
        scripts.push(Script::new(name, with_commands(settings)));
    }
    check(&proxy, &scripts, TRACKING);
    // A client that was told nothing sees its own trackers all the same.
    check(&proxy, &[Script::new("trackers", queries(TRACKERS))], BOTH);
}

/// What is set beside the trackers, and what is told of it then and later.
fn beside() -> Vec<Script> {
    let isolation = match product().is_mysql() {
        true => "transaction_isolation",
        false => "tx_isolation",
    };
    let login = format!(
        "set sql_mode=CONCAT(@@sql_mode,',STRICT_TRANS_TABLES'),session_track_system_variables = \
         CONCAT(@@global.session_track_system_variables,',{isolation}')"
    );
    let ask = format!(
        "SELECT @@sql_mode, @@{isolation}, @@time_zone, @@unique_checks, @@foreign_key_checks, \
         @@collation_connection, @@character_set_results, @@session_track_system_variables"
    );
    let texts = [
        format!("{login},NAMES utf8mb4"),
        format!("{login},NAMES utf8mb4 COLLATE utf8mb4_bin"),
        format!("{login},@@session.{isolation}='READ-COMMITTED',NAMES latin1"),
        "SET session_track_system_variables = 'time_zone', time_zone = '+01:00', sql_mode = ''"
            .into(),
        "SET sql_mode = '', time_zone = '+01:00', session_track_system_variables = 'time_zone'"
            .into(),
        "SET session_track_system_variables = '', unique_checks = 0, foreign_key_checks = 0".into(),
        "SET unique_checks = 0, session_track_schema = 0, CHARACTER SET latin1".into(),
        "SET session_track_schema = 0, time_zone = 'nowhere', sql_mode = ''".into(),
    ];
    let later = [
        "DO 0",
        "USE mysql",
        "SET time_zone = '+02:00'",
        "SET session_track_system_variables = 'sql_mode,time_zone'",
        "SET sql_mode = 'ANSI', time_zone = '+03:00'",
        "DO 0",
    ];
    let script = |sql: &String| {
        let steps = [queries(&[sql, &ask]), queries(&later), queries(&[&ask])].concat();
        Script::new(format!("beside: {sql}"), steps)
    };
    texts.iter().map(script).collect()
}

#[test]
fn what_is_set_beside_trackers_is_told_as_the_server_tells_it() {
    let proxy = Proxy::start(servers());
    check(&proxy, &beside(), TRACKING);
    check(&proxy, &beside(), BOTH);
}

/// What a result leaves untold, clients with other trackers than Fairlane's are told later.
#[test]
fn a_schema_is_told_late() {
    let proxy = Proxy::start(servers());
    let in_other = |then: &[&str]| {
        let mut steps =
            vec![prepare(0, "SELECT 5"), query("USE information_schema"), execute(0, &[])];
        steps.extend(queries(then));
        steps
    };
    let scripts = [
        in_other(&["SET @a = 5", "DO 0", "SET autocommit = 1", "SET autocommit = 1"]),
        in_other(&["SELECT 1", "SET autocommit = 1", "USE information_schema"]),
        in_other(&["BEGIN", "COMMIT", "USE information_schema", "SET autocommit = 1"]),
        in_other(&["SET @a = 5", "USE shop", "SET autocommit = 1"]),
        in_other(&["PREPARE s FROM 'SELECT 1'", "SET autocommit = 0", "SELECT 1", "ROLLBACK"]),
        [in_other(&[]), vec![command(Command::Ping, ""), command(Command::InitDb, "shop")]]
            .concat(),
        [in_other(&[]), vec![command(Command::ResetConnection, ""), query("SET autocommit = 1")]]
            .concat(),
        [in_other(&["SET session_track_state_change = 1"]), in_other(&["SET @a = 5", "DO 0"])]
            .concat(),
    ];
    let name = |index: usize| format!("late, {index}");
    let scripts: Vec<Script> = scripts
        .into_iter()
        .enumerate()
        .map(|(index, steps)| Script::new(name(index), steps))
        .collect();
    // The second time others have left something untold on the connections.
    for _ in 0..2 {
        check(&proxy, &scripts, TRACKING);
    }
}

/// Its error says nothing of the transaction that it has begun, in which MySQL refuses to set one of
/// the trackers.
#[test]
fn trackers_are_shown_after_a_failed_statement_with_autocommit_off() {
    let _tables = tables();
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.df_track_key (id INT PRIMARY KEY)");
    root.run("INSERT INTO shop.df_track_key VALUES (1)");
    let shown = "SHOW SESSION VARIABLES LIKE 'session_track_s%'";
    let texts = [
        "SET autocommit = 0",
        "INSERT INTO df_track_key VALUES (1)",
        shown,
        "INSERT INTO df_track_key VALUES (2)",
        "SELECT @@session_track_schema",
        "ROLLBACK",
        "SHOW SESSION VARIABLES LIKE 'session_track%'",
        "SELECT * FROM df_track_key",
        "ROLLBACK",
        "INSERT INTO df_track_key VALUES (1)",
        "SELECT @@session_track_schema, nothing_like_it FROM df_track_key",
        "SET session_track_schema = nothing_like_it",
        "SELECT id, (SELECT id FROM df_track_key UNION SELECT 9), @@session_track_schema FROM df_track_key",
        "SELECT @@session_track_gtids FROM nothing_like_it",
        "ROLLBACK",
    ];
    check(&proxy, &[Script::new("failed", queries(&texts))], BOTH);
    check(&proxy, &[Script::new("failed", queries(&texts))], TRACKING);
}
