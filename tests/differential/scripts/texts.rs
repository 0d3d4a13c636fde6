//! COM_QUERY: statements, errors, warnings, transactions, state.

use std::sync::{Mutex, MutexGuard};

use crate::compare::{ALL, Script, check};
use crate::step::queries;
use crate::support::{Proxy, servers};

pub(super) const ANSWERS: &[&str] = &[
    "SELECT 1",
    "SELECT 1 AS `a b`, 'x', NULL, 1.5, 1e10, X'00ff', b'101', TRUE, DATE '2026-01-02'",
    "DO 0",
    "DO 1, 2",
    "CREATE OR REPLACE TABLE df_a (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(5), UNIQUE (t))",
    "INSERT INTO df_a (t) VALUES ('a'), ('b')",
    "INSERT INTO df_a (t) VALUES ('a')",
    "INSERT IGNORE INTO df_a (t) VALUES ('a'), ('far too long')",
    "SHOW WARNINGS",
    "INSERT INTO df_a (t) VALUES ('c') RETURNING id, t",
    "REPLACE INTO df_a (id, t) VALUES (1, 'z'), (90, 'y')",
    "INSERT INTO df_a (id, t) VALUES (1, 'q') ON DUPLICATE KEY UPDATE t = 'w'",
    "UPDATE df_a SET t = 'w' WHERE id = 1",
    "UPDATE df_a SET t = 'v' WHERE id < 3",
    "UPDATE IGNORE df_a SET t = 'v'",
    "SELECT * FROM df_a ORDER BY id",
    "SELECT id FROM df_a WHERE 1 = 0",
    "SELECT MAX(id), GROUP_CONCAT(t ORDER BY id), AVG(id) FROM df_a",
    "SELECT df_a.id FROM shop.df_a AS x JOIN df_a USING (id) LIMIT 1",
    "DELETE FROM df_a WHERE id = 90",
    "SELECT LAST_INSERT_ID()",
    "TRUNCATE df_a",
    "ALTER TABLE df_a ADD COLUMN n INT",
    "CHECK TABLE df_a",
    "ANALYZE TABLE df_a",
    "SHOW CREATE TABLE df_a",
    "SHOW COLUMNS FROM df_a",
    "SHOW INDEX FROM df_a",
    "SHOW TABLES LIKE 'df\\_a'",
    "DESCRIBE df_a t",
    "EXPLAIN SELECT * FROM df_a WHERE id = 1",
    "HANDLER df_a OPEN",
    "HANDLER df_a READ FIRST",
    "HANDLER df_a CLOSE",
    "LOCK TABLES df_a READ",
    "INSERT INTO df_a (t) VALUES ('l')",
    "UNLOCK TABLES",
    "DROP TABLE df_a",
    "DROP TABLE IF EXISTS df_a",
    "SHOW WARNINGS",
    "BEGIN NOT ATOMIC SELECT 1; SELECT 2; END",
    "VALUES (1, 2), (3, 4)",
    "(SELECT 1) UNION (SELECT 2)",
    "WITH RECURSIVE n AS (SELECT 1 AS a UNION SELECT a + 1 FROM n WHERE a < 5) SELECT * FROM n",
    "HELP 'nothing like it'",
    "SHOW STATUS LIKE 'nothing_like_it'",
    "SHOW ENGINES",
    "SHOW PLUGINS SONAME 'nothing'",
    "SHOW GRANTS",
    "SHOW DATABASES",
    "SHOW COLLATION LIKE 'utf8mb4_u%'",
    "SHOW PRIVILEGES",
    "SELECT CURRENT_USER(), USER(), DATABASE(), VERSION()",
    "SELECT @@version, @@version_comment, @@port, @@max_allowed_packet, @@autocommit",
];

pub(super) const ERRORS: &[&str] = &[
    "",
    " ",
    ";",
    "-- nothing",
    "/* nothing */",
    "SELEC",
    "SELECT",
    "SELECT 'open",
    "SELECT nothing_like_it",
    "SELECT * FROM nothing_like_it",
    "SELECT * FROM nowhere.nothing",
    "SELECT * FROM mysql.global_priv",
    "SELECT no_function(1)",
    "SELECT shop.no_function(1)",
    "CALL no_procedure()",
    "USE nowhere",
    "USE mysql",
    "SELECT 1/0",
    "SHOW WARNINGS",
    "SELECT CAST('12x' AS INT), 'a' + 1",
    "SHOW WARNINGS",
    "SHOW COUNT(*) WARNINGS",
    "SHOW COUNT(*) ERRORS",
    "SELECT @@warning_count",
    "SELECT @@error_count",
    "SET nothing_like_it = 1",
    "SET @@global.sort_buffer_size = 100000",
    "SET sql_mode = 'NOTHING'",
    "SET autocommit = 7",
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own words', MYSQL_ERRNO = 1234",
    "SHOW WARNINGS",
    "SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'only a warning'",
    "SHOW WARNINGS",
    "SELECT SLEEP(0.001)",
    "SET STATEMENT max_statement_time = 0.02 FOR SELECT SLEEP(2), 'late'",
    "SELECT (SELECT 1 UNION SELECT 2)",
    "SELECT REPEAT('x', 1000000000)",
    "SHOW WARNINGS",
    "GRANT ALL ON *.* TO app",
    "CREATE DATABASE df_forbidden",
    "KILL 4000000000",
    "KILL QUERY 4000000000",
    "SHUTDOWN",
    "COMMIT",
    "ROLLBACK TO SAVEPOINT nothing",
    "EXECUTE nothing",
    "DEALLOCATE PREPARE nothing",
    "PREPARE s FROM 'SELEC'",
    "XA START 'x', 'y', 'z'",
    "RELEASE SAVEPOINT nothing",
    "SELECT \"\u{e9}\" FROM nothing_\u{e9}",
    "SELECT '\u{e9}' AS `\u{e9}`, '\u{1F600}'",
    "SELECT 1 FROM DUAL WHERE",
    "SELECT @@sql_mode",
    "SELECT count (*) FROM (SELECT 1) t",
    "SELECT 1\0",
    "SELECT '\0'",
];

pub(super) const STATE: &[&str] = &[
    "CREATE OR REPLACE TABLE df_state (id INT PRIMARY KEY) ENGINE = InnoDB",
    "START TRANSACTION",
    "INSERT INTO df_state VALUES (1)",
    "SAVEPOINT a",
    "INSERT INTO df_state VALUES (2)",
    "ROLLBACK TO a",
    "SELECT * FROM df_state",
    "COMMIT AND CHAIN",
    "SELECT * FROM df_state",
    "ROLLBACK",
    "START TRANSACTION READ ONLY",
    "INSERT INTO df_state VALUES (3)",
    "SELECT COUNT(*) FROM df_state",
    "COMMIT",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "ROLLBACK",
    "SET autocommit = 0",
    "SELECT 1",
    "SELECT COUNT(*) FROM df_state",
    "INSERT INTO df_state VALUES (4)",
    "ROLLBACK",
    "SET autocommit = 1",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET TRANSACTION READ ONLY",
    "BEGIN",
    "DELETE FROM df_state",
    "COMMIT",
    "SET @a = 1, @b := 'x'",
    "SELECT @a, @b, @c",
    "SELECT @a := @a + 1",
    "CREATE TEMPORARY TABLE df_tmp (a INT)",
    "INSERT INTO df_tmp VALUES (1)",
    "SELECT * FROM df_tmp",
    "DROP TEMPORARY TABLE df_tmp",
    "PREPARE s FROM 'SELECT ?, @a'",
    "EXECUTE s USING @b",
    "DEALLOCATE PREPARE s",
    "SET sql_mode = 'ANSI_QUOTES'",
    "SELECT \"a\"",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "SELECT 'a\\'",
    "SET sql_mode = DEFAULT",
    "SET time_zone = '+05:30'",
    "SELECT @@time_zone, FROM_UNIXTIME(0)",
    "SET NAMES latin1",
    "SELECT 'caf\u{e9}', @@character_set_client",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SELECT COLLATION('a'), @@collation_connection",
    "USE information_schema",
    "SELECT DATABASE()",
    "SELECT COUNT(*) FROM df_state",
    "USE shop",
    "SELECT SQL_CALC_FOUND_ROWS id FROM df_state LIMIT 0",
    "SELECT FOUND_ROWS()",
    "SELECT GET_LOCK('df_lock', 0)",
    "SELECT IS_FREE_LOCK('df_lock')",
    "SELECT RELEASE_LOCK('df_lock')",
    "SET SESSION sql_select_limit = 1",
    "SELECT 1 UNION SELECT 2",
    "SET SESSION sql_select_limit = DEFAULT",
    "SET SESSION max_statement_time = 10",
    "SELECT @@max_statement_time",
    "XA START 'df_xa'",
    "XA END 'df_xa'",
    "XA ROLLBACK 'df_xa'",
    "CREATE SEQUENCE IF NOT EXISTS df_seq",
    "SELECT NEXT VALUE FOR df_seq",
    "SELECT LASTVAL(df_seq)",
    "DROP SEQUENCE df_seq",
    "SET last_insert_id = 77",
    "SELECT LAST_INSERT_ID(), @@identity",
    "FLUSH TABLES df_state",
    "COMMIT RELEASE",
    "SELECT 1",
];

/// One test at a time has the tables of these texts.
pub(super) fn tables() -> MutexGuard<'static, ()> {
    static TABLES: Mutex<()> = Mutex::new(());
    TABLES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn texts_have_the_same_answers() {
    let _tables = tables();
    let proxy = Proxy::start(servers());
    let alone = |name: &str, all: &[&str]| -> Vec<Script> {
        // Each error by itself too, or the first difference would hide those behind it.
        all.iter().map(|sql| Script::new(format!("{name} alone"), queries(&[sql]))).collect()
    };
    let whole = [("answers", ANSWERS), ("errors", ERRORS), ("state", STATE)].map(|(name, all)| {
        let steps = queries(all);
        Script::new(name, steps)
    });
    check(&proxy, &whole, ALL);
    check(&proxy, &alone("errors", ERRORS), &ALL[..1]);
    let nowhere = Script::new("without a schema", queries(NO_SCHEMA)).without_schema();
    check(&proxy, &[nowhere], &ALL[..2]);
}

const NO_SCHEMA: &[&str] = &[
    "SELECT DATABASE()",
    "SELECT * FROM t",
    "SHOW TABLES",
    "CREATE TABLE t (a INT)",
    "CREATE TEMPORARY TABLE shop.df_x (a INT)",
    "SELECT * FROM shop.df_x",
    "CALL p()",
    "USE shop",
    "SELECT DATABASE()",
    "USE ``",
    "SELECT DATABASE()",
];

/// Functions whose values Fairlane puts into the text itself, in columns without a name.
const KNOWN_VALUES: &[&str] = &[
    "SELECT 1",
    "SELECT ROW_COUNT(), FOUND_ROWS() + 1, (SELECT ROW_COUNT())",
    "SELECT CASE ROW_COUNT() WHEN 1 THEN 2 END, CASE WHEN FOUND_ROWS() = 1 THEN 'x' END AS n",
    "SELECT ROW_COUNT() end",
    "SELECT ROW_COUNT() = 'ä', ROW_COUNT() = 'a😀b`c'",
    "SELECT ROW_COUNT() = x'ff'",
    "SELECT(ROW_COUNT()",
    "SELECT ROW_COUNT())",
    "SELECT ((FOUND_ROWS()), 1",
];

#[test]
fn columns_of_known_values_have_the_servers_names() {
    let proxy = Proxy::start(servers());
    check(&proxy, &[Script::new("known values", queries(KNOWN_VALUES))], ALL);
}
