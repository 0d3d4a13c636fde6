//! What was prepared just before, and is prepared again: Fairlane answers by itself where nothing has
//! changed that the answer hangs on.

use fairlane::protocol::Command;

use crate::compare::{BOTH, Script, check};
use crate::params::text;
use crate::step::*;
use crate::support::{ONE_LANE, Proxy, servers};

const TEXTS: &[&str] = &[
    "SELECT * FROM df_again WHERE id = ?",
    "SELECT a, ?, 'caf\u{e9}' FROM df_again ORDER BY id",
    "SELECT \"a\" FROM df_again WHERE id < ?",
    "INSERT INTO df_again (a) VALUES (?)",
    "UPDATE df_again SET a = a + ? WHERE id = 1",
    "DELETE FROM df_again WHERE a = ?",
    "SELECT ? IN (SELECT a FROM df_other)",
    "SELECT ? AS `caf\u{e9}`, nothing_like_it FROM df_again",
];

/// What comes between, and what undoes it.
const BETWEEN: &[(&str, &str)] = &[
    ("SELECT 1", "SELECT 2"),
    ("BEGIN", "COMMIT"),
    ("START TRANSACTION READ ONLY", "COMMIT"),
    ("SET TRANSACTION READ ONLY", "COMMIT"),
    ("SET autocommit = 0", "SET autocommit = 1"),
    ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    ("SET sql_mode = 'ANSI_QUOTES'", "SET sql_mode = DEFAULT"),
    ("SET NAMES latin1", "SET NAMES utf8mb4"),
    ("SET character_set_results = NULL", "SET character_set_results = utf8mb4"),
    ("SET div_precision_increment = 8", "SET div_precision_increment = DEFAULT"),
    ("SELECT CAST('x' AS SIGNED)", "SELECT 2"),
    ("SELECT nonsense", "SELECT 2"),
    ("UPDATE df_again SET a = 5", "SELECT 2"),
    ("SET @a = 5", "SET @a = NULL"),
    ("LOCK TABLES df_again READ", "UNLOCK TABLES"),
    ("USE mysql", "USE shop"),
    ("CREATE TEMPORARY TABLE df_again (a INT, t VARCHAR(20))", "DROP TEMPORARY TABLE df_again"),
    ("CREATE TABLE df_other (a INT)", "DROP TABLE df_other"),
    ("ALTER TABLE df_again ADD COLUMN later DATETIME", "ALTER TABLE df_again DROP COLUMN later"),
    ("DROP TABLE df_again", "CREATE TABLE df_again (id INT AUTO_INCREMENT PRIMARY KEY, a INT)"),
    ("SELECT 1; ALTER TABLE df_again ADD COLUMN b INT", "ALTER TABLE df_again DROP COLUMN b"),
];

fn scripts() -> Vec<Script> {
    let script = |(between, back): &(&str, &str)| {
        let mut steps = queries(&[
            "DROP TABLE IF EXISTS df_other",
            "DROP TABLE IF EXISTS df_again",
            "CREATE TABLE df_again (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
            "INSERT INTO df_again (a) VALUES (1), (2), (3)",
        ]);
        for sql in TEXTS {
            // A session's only statement of that text each time: the answer to the second one is known.
            steps.extend([prepare(0, sql), close(0), prepare(0, sql), execute(0, &[text("2")])]);
            steps.extend([close(0), query(between)]);
            steps.extend([prepare(1, sql), query("SELECT ROW_COUNT()")]);
            steps.extend([close(1), prepare(1, sql), query("SHOW WARNINGS")]);
            steps.extend([execute(1, &[text("1")]), close(1)]);
            steps.extend([query("UPDATE df_again SET a = 1 WHERE id = 1"), prepare(1, sql)]);
            steps.extend([query("SELECT ROW_COUNT()"), execute(1, &[text("1")]), close(1)]);
            steps.extend([query("SELECT 1 UNION SELECT 2"), prepare(2, sql)]);
            steps
                .extend(queries(&["SELECT FOUND_ROWS(), LAST_INSERT_ID(), @@warning_count", back]));
            steps.extend([prepare(3, sql), execute(3, &[text("3")]), execute(2, &[text("3")])]);
            steps.extend((0..4).map(close));
        }
        steps.push(command(Command::ResetConnection, ""));
        steps.extend([prepare(0, TEXTS[0]), execute(0, &[text("1")])]);
        steps.push(query("DROP TABLE df_again"));
        Script::new(format!("prepared again after {between}"), steps)
    };
    BETWEEN.iter().map(script).collect()
}

#[test]
fn what_is_prepared_again_is_the_same() {
    let long = format!("{ONE_LANE}\n[pool]\nprepared_answer_age = \"1h\"");
    check(&Proxy::with(servers(), 3, &long), &scripts(), BOTH);
}
