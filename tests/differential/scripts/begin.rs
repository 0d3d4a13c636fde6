//! What comes after a BEGIN, which Fairlane answers before any server has begun anything.

use fairlane::protocol::Command;

use crate::compare::{BOTH, Script, TRACKING, check};
use crate::params::text;
use crate::step::*;
use crate::support::{Proxy, servers};

const BEGINS: &[&str] = &["BEGIN", "begin work ;", "START TRANSACTION"];

/// A statement each that comes first.
const FIRST: &[&str] = &[
    "SELECT a FROM df_begin ORDER BY id",
    "SELECT a FROM df_begin WHERE id = 1 FOR UPDATE",
    "INSERT INTO df_begin (a) VALUES (10), (11)",
    "UPDATE df_begin SET a = a + 1 WHERE id < 3",
    "INSERT INTO df_begin (id, a) VALUES (1, 1)",
    "INSERT INTO df_begin (a) VALUES (1 / 0)",
    "SELECT nonsense",
    "SELEC",
    "SELECT 1; INSERT INTO df_begin (a) VALUES (12); SELECT nonsense",
    "SET sql_select_limit = 3",
    "SET NAMES latin1",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION TRANSACTION READ ONLY",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "SET @a = 5",
    "USE mysql",
    "USE df_nowhere",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "COMMIT",
    "ROLLBACK",
    "commit;",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "SHOW WARNINGS",
    "SHOW COUNT(*) ERRORS",
    "SELECT @@warning_count",
    "GET DIAGNOSTICS @n = NUMBER",
    "GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT",
    "SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID(), CONNECTION_ID() > 0",
    "DO 1",
    "CREATE TEMPORARY TABLE df_begun (a INT)",
    "CREATE OR REPLACE VIEW df_begun_too AS SELECT 1",
    "LOCK TABLES df_begin READ",
    "SHOW TABLES LIKE 'df_begi%'",
    "EXPLAIN SELECT 1",
    "SELECT GET_LOCK('df_begin', 1), RELEASE_LOCK('df_begin')",
    "KILL QUERY 4294967295",
    "XA START 'df_begin'",
];

/// What has been before.
const BEFORE: &[&str] = &[
    "DO 0",
    "INSERT INTO df_begin (a) VALUES (7), (8), (9)",
    "SELECT CAST('x' AS SIGNED)",
    "SELECT nonsense",
    "SET completion_type = 'CHAIN'",
    "SET SESSION TRANSACTION READ ONLY",
    "SET TRANSACTION READ ONLY",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'",
    "SET sql_mode = 'ORACLE'",
    "BEGIN",
    "SET autocommit = 0",
];

const THEN: &[&str] = &[
    "COMMIT",
    "ROLLBACK",
    "BEGIN",
    "SHOW WARNINGS",
    "SHOW COUNT(*) WARNINGS",
    "SELECT @@warning_count, 2",
    "SELECT 1",
    "DELETE FROM df_begin",
];

const AFTER: &[&str] = &[
    "SELECT ROW_COUNT(), LAST_INSERT_ID()",
    "SHOW WARNINGS",
    "SELECT COUNT(*) FROM df_begin",
    "COMMIT",
    "SELECT @@autocommit",
];

/// MariaDB begins with whatever FOUND_ROWS() was in that memory.
fn table() -> Vec<Step> {
    queries(&[
        "SELECT 1",
        "ROLLBACK",
        "UNLOCK TABLES",
        "SET sql_notes = 0",
        "DROP TABLE IF EXISTS df_begin",
        "SET sql_notes = 1",
        "CREATE TABLE df_begin (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
        "INSERT INTO df_begin (a) VALUES (1), (2), (3)",
    ])
}

fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for (turn, first) in FIRST.iter().enumerate() {
        let begin = BEGINS[turn % BEGINS.len()];
        let around = [table(), queries(&[begin, first]), queries(AFTER)].concat();
        scripts.push(Script::new(format!("{begin}, then {first}"), around));
        let mut prepared = [table(), vec![query(begin), prepare(0, first)]].concat();
        prepared.extend([execute(0, &[]), reset(0), close(0)]);
        prepared.extend(queries(AFTER));
        scripts.push(Script::new(format!("{begin}, then prepared {first}"), prepared));
        let mut known = [table(), vec![prepare(0, first), query(begin), execute(0, &[])]].concat();
        known.extend(queries(AFTER));
        scripts.push(Script::new(format!("{begin}, then known {first}"), known));
    }
    for before in BEFORE {
        for then in THEN {
            let texts = [before, "BEGIN", then];
            let steps = [table(), queries(&texts), queries(AFTER)].concat();
            scripts.push(Script::new(format!("BEGIN after {before}, then {then}"), steps));
        }
    }
    for (name, commands) in commands() {
        let mut steps = [table(), vec![prepare(0, "SELECT ?"), query("BEGIN")]].concat();
        steps.extend(commands);
        steps.extend(queries(AFTER));
        scripts.push(Script::new(format!("BEGIN, then {name}"), steps));
    }
    scripts
}

fn commands() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("a ping", vec![command(Command::Ping, "")]),
        ("another schema", vec![command(Command::InitDb, "mysql"), command(Command::Ping, "")]),
        ("no schema", vec![command(Command::InitDb, "df_nowhere"), command(Command::Ping, "")]),
        ("an option", vec![command(Command::SetOption, [0, 0]), command(Command::Ping, "")]),
        ("a reset", vec![command(Command::ResetConnection, ""), command(Command::Ping, "")]),
        ("a change of user", vec![change_user("app", "app-secret", "shop")]),
        ("fields", vec![command(Command::FieldList, "df_begin\0%")]),
        ("a reset of a statement", vec![reset(0), execute(0, &[text("a")])]),
        ("long data", vec![long_data(0, 0, b"some"), execute(0, &[text("a")])]),
        ("a fetch", vec![fetch(0, 1), command(Command::Ping, "")]),
        ("an unknown statement", vec![execute(7, &[]), command(Command::Ping, "")]),
        ("debug", vec![command(Command::Debug, ""), command(Command::Ping, "")]),
    ]
}

#[test]
fn what_comes_after_a_begin_is_the_same() {
    check(&Proxy::start(servers()), &scripts(), BOTH);
}

/// The same for a client that is told of its session. What it is told of GET DIAGNOSTICS, and by MySQL of a
/// snapshot, differs without a BEGIN before it, too.
#[test]
fn what_is_told_after_a_begin_is_the_same() {
    let settings = "SET session_track_system_variables = '*', session_track_state_change = 1";
    let mut tracked = scripts();
    // The user is of another schema.
    let left_out = ["GET DIAGNOSTICS @n", "CONSISTENT SNAPSHOT", "a change of user"];
    tracked.retain(|script| !left_out.iter().any(|name| script.name.contains(name)));
    for script in &mut tracked {
        script.steps.insert(0, query(settings));
        script.schema = Some("test_begin");
    }
    servers().root().replace("CREATE SCHEMA IF NOT EXISTS test_begin");
    check(&Proxy::start(servers()), &tracked, TRACKING);
}
