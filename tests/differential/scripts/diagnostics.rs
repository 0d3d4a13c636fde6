//! Counts of warnings and errors inside of longer statements.

use fairlane::protocol::Command;

use crate::compare::{ALL, BOTH, Script, check};
use crate::step::*;
use crate::support::product::product;
use crate::support::{Proxy, servers};

/// Each after a statement with a warning, and after one with an error.
const ASKING: &[&str] = &[
    "SELECT @@warning_count",
    "SELECT @@warning_count + 1, 5",
    "SELECT @@session.warning_count AS w, @@local.error_count, @@error_count e",
    "SELECT (SELECT @@warning_count), @@error_count * 2 FROM dual",
    "SELECT @@warning_count FROM df_diag",
    "SELECT a, @@error_count, @@warning_count FROM df_diag WHERE a + 5 > @@warning_count",
    "SELECT 1 FROM (SELECT @@warning_count AS n) t WHERE t.n > 0",
    "SELECT CASE WHEN @@warning_count > 0 THEN 1 ELSE 2 END, `a` FROM (SELECT 1 a) t",
    "SET @df_diag = @@warning_count",
    "SELECT @df_diag",
    "INSERT INTO df_diag VALUES (10 + @@warning_count)",
    "SELECT COUNT(*), MAX(a) FROM df_diag",
    "UPDATE df_diag SET a = a + @@error_count ORDER BY a DESC LIMIT 1",
    "DO @@warning_count",
    "SELECT @@warning_count, ROW_COUNT(), FOUND_ROWS()",
    "SELECT @@global.warning_count",
    "SET @@warning_count = 1",
    "SELECT 1; SELECT @@warning_count",
    "SELECT @@warning_count; SELECT @@warning_count",
    "SELECT @@warning_count INTO @df_diag_b",
    "SELECT @df_diag_b",
    "SHOW COUNT(*) WARNINGS",
    "SHOW COUNT(*) ERRORS",
];

/// MySQL's metadata may name another collation than that of the login, see
/// docs/compatibility.md.
fn warnings() -> Step {
    let step = query("SHOW WARNINGS");
    if product().is_mysql() { step.by_kind() } else { step }
}

fn counts() -> Vec<Script> {
    let first = ["SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)", "SELECT nonsense", "SELECT 1"];
    let mut scripts = Vec::new();
    for (number, first) in first.iter().enumerate() {
        let table = "CREATE OR REPLACE TABLE df_diag (a INT)";
        let mut steps = queries(&[table, "INSERT INTO df_diag VALUES (1), (2)"]);
        for asking in ASKING {
            steps.extend([query(first), query(asking), warnings()]);
        }
        // SHOW in a prepared statement is the server's own; MySQL prepares few of the others.
        let is_prepared = |asking: &&&str| !asking.starts_with("SHOW") && !product().is_mysql();
        for asking in ASKING.iter().filter(is_prepared) {
            steps.push(prepare(0, asking));
            steps.extend([query(first), execute(0, &[]), warnings(), close(0)]);
        }
        steps.push(query("BEGIN"));
        for asking in ASKING {
            steps.extend([query(first), query(asking), warnings()]);
        }
        steps.push(query("COMMIT"));
        scripts.push(Script::new(format!("counts of warnings {number}"), steps));
    }
    scripts
}

/// The list in a prepared statement, prepared before and after the statement it tells of.
fn prepared_lists() -> Vec<Script> {
    let first = ["SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)", "SELECT nonsense", "SELECT 1"];
    let lists = [
        "SHOW WARNINGS",
        "SHOW ERRORS",
        "SHOW WARNINGS LIMIT 1, 1",
        "SHOW COUNT(*) WARNINGS",
        "SHOW COUNT(*) ERRORS",
    ];
    let script = |list: &&str| {
        let mut steps = vec![prepare(0, list)];
        for first in first {
            steps.extend([
                query(first),
                execute(0, &[]),
                execute(0, &[]),
                query("SELECT ROW_COUNT()"),
            ]);
            steps.extend([query(first), prepare(1, list), execute(1, &[]), close(1)]);
            steps.extend([query("BEGIN"), query(first), execute(0, &[]), query("ROLLBACK")]);
        }
        Script::new(format!("prepared {list}"), steps)
    };
    lists.iter().map(script).collect()
}

/// GET DIAGNOSTICS on its own: the first time a session asks, and later.
fn conditions() -> Vec<Script> {
    let first = [
        "DROP TABLE df_no_such_table",
        "SELECT nonsense",
        "INSERT INTO df_cond VALUES (1), (2), (3)",
        "SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own', MYSQL_ERRNO = 31000",
        "SELECT 1",
    ];
    let statement = "GET DIAGNOSTICS @df_n = NUMBER, @df_r = ROW_COUNT";
    let condition = "GET CURRENT DIAGNOSTICS CONDITION 1 @df_s = RETURNED_SQLSTATE, \
        @df_e = MYSQL_ERRNO, @df_m = MESSAGE_TEXT";
    let show = "SELECT @df_n, @df_r, @df_s, @df_e, @df_m";
    let fresh = |first: &&str| {
        let table = "CREATE OR REPLACE TABLE df_cond (a INT)";
        // What is not the only condition, or a warning, is not there the first time.
        let is_there =
            first.contains("DROP") || first.contains("nonsense") || first.contains("SIGNAL");
        let mut steps = queries(&[table, first, statement, show]);
        if is_there {
            steps = queries(&[table, first, condition, show, statement, show]);
        }
        for again in [first, &"SELECT nonsense", first, first] {
            steps.extend(queries(&[again, condition, statement, "SHOW COUNT(*) WARNINGS", show]));
        }
        steps.extend(queries(&[statement, show, "SHOW COUNT(*) ERRORS", show]));
        Script::new(format!("conditions of {first}"), steps)
    };
    first.iter().map(fresh).collect()
}

/// Whether they leave MariaDB's list of warnings alone hangs on whether they use a table; what runs
/// another statement tells nobody.
const LEAVING: &[&str] = &[
    "XA START 'df_keeps'",
    "XA END 'df_keeps'",
    "XA ROLLBACK 'df_keeps'",
    "SET STATEMENT max_statement_time = 9 FOR SELECT 1",
    "SET STATEMENT max_statement_time = 9 FOR SELECT a FROM df_keeps",
    "(SELECT 1)",
    "(SELECT a FROM df_keeps)",
    "EXPLAIN SELECT 1",
    "ANALYZE SELECT a FROM df_keeps",
    "DO (SELECT COUNT(*) FROM df_keeps)",
    "SET sql_select_limit = (SELECT COUNT(*) FROM df_keeps)",
    "SHOW GRANTS",
    "SHOW CREATE PROCEDURE df_keeps_none",
    "SHOW CREATE TABLE df_keeps",
    "SHOW VARIABLES LIKE 'time_zone'",
    "HELP 'nothing_like_it'",
    "CALL df_keeps_none()",
    "CALL df_keeps_one()",
    "EXECUTE IMMEDIATE 'DO 1'",
    "EXECUTE IMMEDIATE 'SELECT a FROM df_keeps'",
    "BEGIN NOT ATOMIC DECLARE x INT; SET x = 1; END",
    "BEGIN NOT ATOMIC DECLARE x INT; SELECT MAX(a) INTO x FROM df_keeps; END",
    "PREPARE df_keeps FROM 'SELECT 1'",
    "EXECUTE df_keeps",
    "PREPARE df_keeps FROM 'SELECT a FROM df_keeps'",
    "EXECUTE df_keeps",
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT a FROM df_keeps",
    "SELECT a / 0 FROM df_keeps; SHOW WARNINGS",
    "SELECT a / 0 FROM df_keeps; SELECT 1 UNION SELECT 2; UPDATE df_keeps SET a = a",
    "SELECT 1 UNION SELECT 2; SELECT nonsense",
    "SELECT 1 UNION SELECT 2; SHOW GRANTS",
    "SELECT 1; SHOW COLUMNS FROM df_keeps",
    "SELECT CAST('z' AS SIGNED); DO 1",
    "SET time_zone = '+01:00'; SELEC",
    "SET max_error_count = 1; SELECT CAST('p' AS SIGNED), CAST('q' AS SIGNED), CAST('r' AS SIGNED)",
    "SET max_error_count = 1; INSERT INTO df_keeps VALUES (1 / 0), ('x'), ('y')",
];

/// Failures, and one success: those of the dictionary leave MariaDB's ROW_COUNT() as it was, others do
/// not.
const FAILING: &[&str] = &[
    "SHOW COLUMNS FROM df_nowhere",
    "SHOW FULL COLUMNS FROM df_nowhere.df_nowhere",
    "DESCRIBE df_nowhere",
    "EXPLAIN df_nowhere",
    "SHOW INDEX FROM df_nowhere",
    "SHOW TABLES FROM df_nowhere",
    "SHOW TABLE STATUS FROM df_nowhere",
    "SHOW TRIGGERS FROM df_nowhere",
    "SHOW COLUMNS FROM information_schema.df_nowhere",
    "SHOW CREATE TABLE df_nowhere",
    "SHOW COLUMNS FROM df_fails WHERE nonsense",
    "SHOW GRANTS FOR df_nobody@df_nowhere",
    "EXPLAIN SELECT a FROM df_nowhere",
    "SELECT a FROM df_nowhere",
    "USE df_nowhere",
    "SELECT a FROM df_fails ORDER BY a",
];

fn counts_after_failures() -> Script {
    let mut steps = queries(&["CREATE OR REPLACE TABLE df_fails (a INT)", "SELECT 1"]);
    for failing in FAILING {
        let write = query("INSERT INTO df_fails VALUES (1), (2), (3)");
        let asked = query("SELECT ROW_COUNT(), FOUND_ROWS()");
        steps.extend([write.clone(), query(failing), asked.clone()]);
        steps.extend([write.clone(), prepare(0, failing), asked.clone()]);
        steps.extend([execute(0, &[]), asked.clone()]);
        // On a connection that the session holds, which knows none of this yet.
        steps.extend([write, query("SET autocommit = 0"), query(failing), asked.clone()]);
        steps.extend([prepare(1, failing), asked, query("SET autocommit = 1")]);
    }
    Script::new("counts after failures", steps)
}

#[test]
fn counts_after_failures_are_the_same() {
    check(&Proxy::start(servers()), &[counts_after_failures()], BOTH);
}

/// What the first statement of a text asks about, and the later ones.
const ASKING_FIRST: &[&str] = &[
    "SELECT ROW_COUNT(); SELECT 1",
    "SELECT FOUND_ROWS(), ROW_COUNT() AS n; SELECT FOUND_ROWS(), ROW_COUNT()",
    "SELECT ROW_COUNT(); UPDATE df_first SET a = a + 1 LIMIT 2; SELECT ROW_COUNT(), FOUND_ROWS()",
    "INSERT INTO df_first VALUES (ROW_COUNT()); SELECT ROW_COUNT(), MAX(a) FROM df_first",
    "SELECT @@warning_count, @@error_count; SELECT 1",
    "BEGIN NOT ATOMIC UPDATE df_first SET a = a + 1 LIMIT 2; SELECT ROW_COUNT(); END",
    "SELECT a FROM df_first ORDER BY a LIMIT 2; SELECT FOUND_ROWS()",
];

fn counts_first_in_a_text() -> Script {
    let mut steps = queries(&["CREATE OR REPLACE TABLE df_first (a INT)"]);
    let before = [
        "INSERT IGNORE INTO df_first VALUES (1), (2), ('x')",
        "SELECT CAST('y' AS SIGNED) FROM df_first LIMIT 3",
        "SELECT nonsense",
        "INSERT INTO df_first VALUES (7), (8)",
    ];
    for asking in ASKING_FIRST {
        for before in before {
            steps.extend(queries(&[before, asking]));
        }
        // What is answered without a server.
        steps.extend(queries(&[before[0], "BEGIN", asking, "COMMIT"]));
        steps.extend(queries(&[before[0], "BEGIN", "SELECT @@warning_count", asking, "COMMIT"]));
    }
    Script::new("counts first in a text", steps)
}

#[test]
fn counts_first_in_a_text_are_the_same() {
    check(&Proxy::start(servers()), &[counts_first_in_a_text()], BOTH);
}

fn lists_that_stay() -> Vec<Script> {
    let first = ["SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)", "SELECT nonsense"];
    let script = |first: &&str| {
        let mut steps = queries(&[
            "CREATE OR REPLACE TABLE df_keeps (a INT)",
            "INSERT INTO df_keeps VALUES (1), (2), (3)",
            "CREATE OR REPLACE PROCEDURE df_keeps_none() SELECT FOUND_ROWS(), @@warning_count > 0",
            "CREATE OR REPLACE PROCEDURE df_keeps_one() SELECT MAX(a) FROM df_keeps",
        ]);
        for leaving in LEAVING {
            let asked =
                ["SELECT FOUND_ROWS(), ROW_COUNT()", "SHOW COUNT(*) WARNINGS", "SHOW WARNINGS"];
            steps.extend(queries(&["SELECT 1", first, leaving]));
            steps.extend(queries(&asked));
            steps.push(command(Command::ResetConnection, ""));
        }
        // An error that is Fairlane's own.
        for leaving in LEAVING {
            steps.extend([bytes(&[0x77]), query(leaving), query("SHOW WARNINGS")]);
        }
        Script::new(format!("what a list of warnings outlives, {first}"), steps)
    };
    first.iter().map(script).collect()
}

#[test]
fn lists_of_warnings_stay_as_long() {
    if !product().is_mysql() {
        check(&Proxy::start(servers()), &lists_that_stay(), BOTH);
    }
}

#[test]
fn conditions_have_the_same_answers() {
    check(&Proxy::start(servers()), &conditions(), BOTH);
}

#[test]
fn prepared_lists_of_warnings_have_the_same_answers() {
    check(&Proxy::start(servers()), &prepared_lists(), BOTH);
}

#[test]
fn counts_of_warnings_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    check(&proxy, &counts(), BOTH);
    // MySQL's EOF behind the columns may have the number of warnings, see docs/compatibility.md.
    if !product().is_mysql() {
        check(&proxy, &counts()[..1], &ALL[8..]);
    }
}

/// What there was beyond the list's length is counted.
fn short_lists() -> Vec<Script> {
    let first = [
        "SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)",
        "SELECT nonsense",
        "INSERT INTO df_short VALUES ('x'), ('y'), ('z')",
        "SELECT 1",
    ];
    let asking = [
        "SELECT @@warning_count",
        "SELECT @@error_count",
        "SHOW COUNT(*) WARNINGS",
        "SHOW COUNT(*) ERRORS",
        "SHOW WARNINGS",
        "SHOW ERRORS",
        "SELECT @@warning_count + 1, 5",
        "SELECT FOUND_ROWS(), ROW_COUNT()",
    ];
    let sets = [
        "max_error_count = 0",
        "max_error_count = 1",
        "max_error_count = 2",
        "sql_select_limit = 0",
        "sql_select_limit = 1",
    ];
    let script = |set: &&str| {
        let mut steps = queries(&[
            "CREATE OR REPLACE TABLE df_short (a INT)",
            "SET sql_mode = ''",
            &format!("SET {set}"),
        ]);
        for begin in ["DO 1", "BEGIN"] {
            steps.push(query(begin));
            for first in first {
                for asking in asking {
                    steps.extend([query(first), query(asking), query(asking)]);
                }
            }
        }
        steps.push(query("COMMIT"));
        Script::new(format!("short lists with {set}"), steps)
    };
    sets.iter().map(script).collect()
}

#[test]
fn short_lists_are_counted_in_full() {
    check(&Proxy::start(servers()), &short_lists(), BOTH);
}
