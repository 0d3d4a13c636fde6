//! Values of the session that Fairlane puts into texts: where they may stand, and what the columns are
//! called that they are part of.

use crate::compare::{BOTH, Script, check};
use crate::step::*;
use crate::support::product::product;
use crate::support::{Proxy, servers};

/// After these a session's counts and warnings are all different.
const BEFORE: &[&str] = &[
    "INSERT INTO df_blocks VALUES (1), (2)",
    "SELECT CAST('x' AS SIGNED) UNION SELECT 2",
    "SELECT nonsense",
];

/// Statements with others inside, which ask after the first of them has run.
const BLOCKS: &[&str] = &[
    "BEGIN NOT ATOMIC UPDATE df_blocks SET a = a + 1 WHERE a = 1; \
     IF ROW_COUNT() = 1 THEN INSERT INTO df_blocks VALUES (50); END IF; END",
    "IF 1 THEN UPDATE df_blocks SET a = a + 1 WHERE a < 3; SELECT ROW_COUNT(); END IF",
    "CASE WHEN 1 THEN DELETE FROM df_blocks WHERE a = 50; SELECT ROW_COUNT(); END CASE",
    "FOR i IN 1..2 DO SELECT ROW_COUNT() = 77; UPDATE df_blocks SET a = 9; END FOR",
    "WHILE (SELECT COUNT(*) FROM df_blocks) < 5 DO \
     INSERT INTO df_blocks VALUES (7), (8), (9); SELECT ROW_COUNT(); END WHILE",
    "REPEAT UPDATE df_blocks SET a = 6 WHERE a = 5; UNTIL ROW_COUNT() = 0 END REPEAT",
    "SET STATEMENT max_statement_time = 9 FOR \
     BEGIN NOT ATOMIC DELETE FROM df_blocks WHERE a = 9; SELECT ROW_COUNT(); END",
    "BEGIN NOT ATOMIC SELECT SQL_CALC_FOUND_ROWS a FROM df_blocks LIMIT 1; SELECT FOUND_ROWS(); END",
    "BEGIN NOT ATOMIC SELECT CAST('y' AS SIGNED) FROM df_blocks; SELECT @@warning_count; END",
    "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION SELECT ROW_COUNT(), @@error_count; \
     UPDATE df_blocks SET a = a + 1; SELECT nonsense FROM df_blocks; END",
    "BEGIN NOT ATOMIC INSERT INTO df_blocks VALUES (3); SELECT @@last_gtid = @df_gtid; END",
];

/// Those that ask before.
const BLOCKS_AT_ONCE: &[&str] = &[
    "IF ROW_COUNT() = 2 THEN SELECT 'two'; ELSE SELECT 'others'; END IF",
    "CASE FOUND_ROWS() WHEN 2 THEN SELECT 'two'; ELSE SELECT 'others'; END CASE",
    "BEGIN NOT ATOMIC SELECT ROW_COUNT(), FOUND_ROWS(); SELECT ROW_COUNT(); END",
    "BEGIN NOT ATOMIC DECLARE n INT DEFAULT ROW_COUNT(); SELECT n; END",
    "BEGIN NOT ATOMIC SELECT @@warning_count; SELECT @@warning_count; END",
    "BEGIN NOT ATOMIC IF @@error_count > 0 THEN SELECT 'failed'; END IF; END",
    "SET STATEMENT max_statement_time = 9 FOR IF ROW_COUNT() = 2 THEN SELECT 'two'; END IF",
];

#[test]
fn values_inside_of_blocks_are_those_of_the_moment() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::start(servers());
    let mut scripts = Vec::new();
    for block in BLOCKS.iter().chain(BLOCKS_AT_ONCE) {
        let mut steps = queries(&["SELECT 1", "CREATE OR REPLACE TABLE df_blocks (a INT)"]);
        if block.contains("gtid") {
            steps.push(query("SET @df_gtid = @@last_gtid"));
        }
        let shown = query("SELECT COUNT(*), SUM(a) FROM df_blocks");
        for before in BEFORE {
            steps.extend([query(before), query(block), shown.clone()]);
            steps.extend([prepare(0, block), query(before), execute(0, &[]), shown.clone()]);
            steps.extend([query(before), execute(0, &[]), shown.clone(), close(0)]);
        }
        steps.extend(queries(&["BEGIN", BEFORE[0], block, "ROLLBACK"]));
        scripts.push(Script::new(format!("block {block}"), steps));
    }
    check(&proxy, &scripts, BOTH);
}

#[test]
fn a_select_list_ends_at_what_follows_it() {
    let proxy = Proxy::start(servers());
    let table = "CREATE OR REPLACE TABLE df_lists (name VARCHAR(9) PRIMARY KEY, owner BIGINT)";
    let mut steps = queries(&[table]);
    for asked in ["ROW_COUNT()", "FOUND_ROWS()", "CONNECTION_ID() > 0"] {
        let insert = format!(
            "INSERT INTO df_lists (name, owner) SELECT 'n', {asked} \
             ON DUPLICATE KEY UPDATE owner = 10 + {asked}"
        );
        let from = insert.replace(" ON D", " FROM df_lists ON D");
        // An INSERT ... SELECT without FROM sets FOUND_ROWS(), see docs/compatibility.md.
        for sql in [&insert, &insert, &from] {
            steps.extend([query("SELECT 1 UNION SELECT 2"), query(sql)]);
        }
        steps.push(query("SELECT * FROM df_lists"));
        let returning = format!("REPLACE INTO df_lists SELECT 'n', {asked} RETURNING name");
        steps.extend([query("SELECT 1 UNION SELECT 2"), query(returning).on(MARIADB)]);
    }
    check(&proxy, &[Script::new("ends of lists", steps)], BOTH);
}

/// Columns without a name of their own.
const COLUMNS: &[&str] = &[
    "SELECT '2026-01-01' - INTERVAL ROW_COUNT() SECOND",
    "SELECT '2026-01-01' + INTERVAL ROW_COUNT() DAY_HOUR, 5",
    "SELECT '2026-01-01' + INTERVAL 1 DAY + INTERVAL ROW_COUNT() DAY day",
    "SELECT ROW_COUNT() second",
    "SELECT INTERVAL(ROW_COUNT(), 1) second",
    "SELECT INTERVAL(ROW_COUNT(), 1)",
    "SELECT ROW_COUNT() REGEXP a FROM df_columns",
    "SELECT ROW_COUNT() RLIKE a FROM df_columns",
    "SELECT ROW_COUNT() SOUNDS LIKE a FROM df_columns",
    "SELECT ROW_COUNT() NOT REGEXP a FROM df_columns",
    "SELECT ROW_COUNT() LIKE 'a' ESCAPE '|'",
    "SELECT ROW_COUNT() = 'a' 'b'",
    "SELECT ROW_COUNT() = 'a' 'b' AS c",
    "SELECT ROW_COUNT() = _latin1'a'",
    "SELECT ROW_COUNT() = BINARY a FROM df_columns",
    "SELECT CONCAT(ROW_COUNT()) COLLATE utf8mb4_bin",
    "SELECT SUM(ROW_COUNT()) OVER w FROM df_columns WINDOW w AS (ORDER BY a)",
    "SELECT SUM(ROW_COUNT()) OVER (ORDER BY a) FROM df_columns",
    "SELECT ROW_COUNT() = DATE'2026-01-01'",
    "SELECT {fn ROW_COUNT()}",
    "SELECT {fn FOUND_ROWS()} + 1, 2",
    "SELECT {fn FOUND_ROWS()} n",
    "SELECT 1 + {fn ABS(ROW_COUNT())}",
];

/// What follows RETURNING is a list as well.
const RETURNING: &[&str] = &[
    "INSERT INTO df_columns VALUES ('b') RETURNING ROW_COUNT(), a",
    "REPLACE INTO df_columns SELECT ROW_COUNT() RETURNING FOUND_ROWS()",
    "DELETE FROM df_columns WHERE a = 'b' RETURNING a, ROW_COUNT() n, ROW_COUNT() + 1",
];

#[test]
fn columns_are_called_as_the_server_calls_them() {
    let proxy = Proxy::start(servers());
    let mut steps = queries(&["CREATE OR REPLACE TABLE df_columns (a VARCHAR(9))"]);
    for column in COLUMNS {
        steps.extend([query("INSERT INTO df_columns VALUES ('a')"), query(column)]);
    }
    for column in RETURNING {
        steps.push(query(column).on(MARIADB));
    }
    check(&proxy, &[Script::new("names of columns", steps)], BOTH);
}

/// Each is true, or 1, where the server knows the id.
const OWN_ROWS: &[&str] = &[
    "SELECT USER() = '', p.ID = CONNECTION_ID() FROM information_schema.processlist p \
     WHERE p.ID = CONNECTION_ID()",
    "SET @df_own = (SELECT COUNT(*) FROM information_schema.processlist WHERE ID = CONNECTION_ID())",
    "SELECT @df_own",
    "INSERT INTO df_own SELECT COUNT(*) FROM information_schema.processlist \
     WHERE ID = CONNECTION_ID()",
    "SELECT MIN(n) FROM df_own",
    "SELECT 1; SELECT COUNT(*) FROM information_schema.processlist WHERE ID = CONNECTION_ID()",
    "SELECT CONNECTION_ID() > 0; SELECT USER() = '', COUNT(*) \
     FROM information_schema.processlist WHERE ID = CONNECTION_ID()",
    "USE information_schema",
    "SELECT COUNT(*) FROM PROCESSLIST WHERE ID = CONNECTION_ID()",
];

/// Of MySQL only.
const OWN_THREADS: &[&str] = &[
    "SELECT PS_THREAD_ID(CONNECTION_ID()) = PS_CURRENT_THREAD_ID()",
    "UPDATE performance_schema.threads SET INSTRUMENTED = 'NO' WHERE PROCESSLIST_ID = CONNECTION_ID()",
    "UPDATE performance_schema.threads SET INSTRUMENTED = 'YES' WHERE PROCESSLIST_ID = CONNECTION_ID()",
    "SELECT USER() = '', COUNT(*) FROM performance_schema.threads \
     WHERE PROCESSLIST_ID = CONNECTION_ID()",
];

#[test]
fn beside_a_servers_own_tables_the_id_is_the_servers() {
    let proxy = Proxy::start(servers());
    let mut steps = queries(&["CREATE OR REPLACE TABLE df_own (n INT)"]);
    for asking in OWN_ROWS {
        steps.push(query(asking));
    }
    for asking in OWN_ROWS.iter().filter(|asking| asking.starts_with("SELECT C")) {
        if !asking.contains(';') {
            steps.extend([prepare(0, asking), execute(0, &[]), close(0)]);
        }
    }
    steps.push(query("USE shop"));
    let mut scripts = vec![Script::new("own rows", steps)];
    if product().is_mysql() {
        scripts.push(Script::new("own threads", queries(OWN_THREADS)).by_root());
    }
    check(&proxy, &scripts, BOTH);
}

/// Comments in statements that Fairlane answers by itself.
const WITH_COMMENTS: &[&str] = &[
    "/* a@b.example */ SELECT @@warning_count",
    "SELECT @@warning_count /* trace */",
    "SELECT @@warning_count -- trace",
    "SELECT /* a@b */ @@session.warning_count /* c */ ; ",
    "# a@b\nSELECT @@error_count # c",
    "/* select */ SHOW COUNT(*) WARNINGS /* trace */",
    "SHOW WARNINGS LIMIT 1 /* trace */",
    "SHOW WARNINGS /* LIMIT 1 */",
    "SHOW /* limit 0 */ WARNINGS LIMIT 1, 1 -- LIMIT 0",
    "SHOW WARNINGS LIMIT/**/1/**/OFFSET/**/1",
    "SHOW ERRORS LIMIT 1 # trace",
];

#[test]
fn comments_are_no_part_of_what_is_asked() {
    let proxy = Proxy::start(servers());
    let mut steps = Vec::new();
    for asking in WITH_COMMENTS {
        for first in ["SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)", "SELECT nonsense"] {
            let step = query(asking);
            // MySQL names another collation than that of the login, see docs/compatibility.md.
            let is_list = product().is_mysql() && asking.contains("SHOW");
            steps.extend([query(first), if is_list { step.by_kind() } else { step }]);
        }
    }
    check(&proxy, &[Script::new("comments", steps)], BOTH);
}
