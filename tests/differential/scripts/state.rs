//! State that answers do not show at once: what a session has after it.

use fairlane::protocol::Command;

use crate::compare::{BOTH, Script, check};
use crate::params::big;
use crate::step::*;
use crate::support::product::Product;
use crate::support::{ONE_LANE, Proxy, eventually, product, servers};

const TABLE: &[&str] = &[
    "CREATE OR REPLACE TABLE df_state (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
    "INSERT INTO df_state (a) VALUES (1), (2), (3)",
];

/// A script that begins with a table.
fn with_table(name: &str, texts: &[&str]) -> Script {
    Script::new(name, [queries(TABLE), queries(texts)].concat())
}

/// What does so, or seems to, and does not begin with SELECT.
const SKIPPING: &[&str] = &[
    "/* app=x */ SELECT id FROM df_state LIMIT 2 OFFSET 1",
    "# app=x\nSELECT id FROM df_state LIMIT 1, 2",
    "WITH x AS (SELECT id FROM df_state) SELECT id FROM x LIMIT 1, 2",
    "(SELECT id FROM df_state) LIMIT 2 OFFSET 1",
    "/*! SELECT */ id FROM df_state LIMIT 2 OFFSET 1",
    "SELECT 1; SELECT id FROM df_state LIMIT 2 OFFSET 1",
    "DO 1; SELECT id FROM df_state LIMIT 2 OFFSET 1",
    "SELECT id FROM df_state LIMIT 2 OFFSET 1; SELECT id FROM df_state",
    "SET STATEMENT max_statement_time = 9 FOR SELECT id FROM df_state LIMIT 2 OFFSET 1",
    "EXPLAIN SELECT id FROM df_state LIMIT 2 OFFSET 1",
    "TABLE df_state ORDER BY id LIMIT 2 OFFSET 1",
];

/// What passes over rows, which FOUND_ROWS() counts.
fn skipped() -> Script {
    let mut steps = queries(TABLE);
    let more = (0..10).map(|a| query(format!("INSERT INTO df_state (a) VALUES ({a})")));
    steps.extend(more);
    for limit in
        ["LIMIT 2 OFFSET 3", "LIMIT 3, 2", "LIMIT 2 OFFSET 100", "LIMIT 0 OFFSET 2", "LIMIT 0,4"]
    {
        for rest in ["", " ORDER BY a", " ORDER BY id", " WHERE a > 1 ORDER BY a DESC"] {
            let sql = format!("SELECT id, a FROM df_state{rest} {limit}");
            steps.extend([query(&sql), query("SELECT FOUND_ROWS()")]);
            steps.extend([
                prepare(0, &sql),
                execute(0, &[]),
                query("SELECT FOUND_ROWS()"),
                close(0),
            ]);
        }
    }
    for sql in
        ["SELECT a FROM df_state LIMIT ?, ?", "SELECT a FROM df_state ORDER BY a LIMIT ? OFFSET ?"]
    {
        steps.push(prepare(1, sql));
        for values in [[2, 3], [3, 2], [4, 100], [100, 4]] {
            steps.extend([execute(1, &values.map(big)), query("SELECT FOUND_ROWS()")]);
        }
        steps.push(close(1));
    }
    for sql in SKIPPING {
        steps.extend([query("DO 1"), query(sql), query("SELECT FOUND_ROWS()")]);
    }
    Script::new("rows that are passed over", steps)
}

/// What leaves FOUND_ROWS() as it was although it sends rows, and what sets it.
const ROWS: &[&str] = &[
    "CHECK TABLE df_state",
    "SHOW CREATE TABLE df_state",
    "SHOW GRANTS",
    "EXPLAIN SELECT a FROM df_state",
    "HANDLER df_state OPEN",
    "HANDLER df_state READ FIRST",
    "HANDLER df_state CLOSE",
    "SHOW COLUMNS FROM df_state",
    "DESCRIBE df_state",
    "SHOW COUNT(*) WARNINGS",
];

const RETURNING: &[&str] = &[
    "SELECT a FROM df_state",
    "INSERT INTO df_state (a) VALUES (7) RETURNING a",
    "SELECT FOUND_ROWS()",
    "SELECT SQL_CALC_FOUND_ROWS a FROM df_state LIMIT 1",
    "DELETE FROM df_state WHERE a = 7 RETURNING a, id > 0",
    "SELECT FOUND_ROWS()",
    "SELECT SQL_CALC_FOUND_ROWS a FROM df_state LIMIT 1",
    "SET collation_connection = utf8mb4_bin",
    "SELECT FOUND_ROWS()",
];

const SEVERAL: &[&str] = &[
    "SELECT 1; SELECT a FROM df_state; SELECT nothing_like_it",
    "SHOW WARNINGS",
    "SELECT SQL_CALC_FOUND_ROWS a, 1/0 FROM df_state LIMIT 1; SELECT 1/0 FROM df_state; SELECT 2",
    "SHOW WARNINGS",
];

/// What fails has begun a transaction all the same, and tells no flags; the fetch fails in Fairlane.
fn untold() -> Script {
    let begins = "INSERT INTO df_state (id, a) VALUES (1, 1)";
    let mut steps = queries(TABLE);
    for asks in ["SELECT @@warning_count", "SHOW COUNT(*) ERRORS", "SHOW WARNINGS", "SHOW ERRORS"] {
        steps.extend([query("SET autocommit = 0"), query(begins), fetch(0, 1), query(asks)]);
        steps.extend(queries(&["ROLLBACK", "SET autocommit = 1"]));
    }
    Script::new("flags that errors do not tell", steps)
}

const FAILS: &[&str] = &[
    "SELECT a FROM df_state",
    "DO 5",
    "SELECT FOUND_ROWS()",
    "SELECT a FROM df_state",
    "SELECT CAST(1 AS UNSIGNED) - 9",
    "SELECT FOUND_ROWS()",
    "SELECT a FROM df_state",
    "SELECT IF(a < 3, a, CAST(1 AS UNSIGNED) - a) FROM df_state ORDER BY id",
    "SELECT FOUND_ROWS()",
];

fn found_rows() -> Script {
    let around = |text: &&str| queries(&["SELECT a FROM df_state", text, "SELECT FOUND_ROWS()"]);
    let steps = [queries(TABLE), ROWS.iter().flat_map(around).collect()].concat();
    Script::new("rows that are no found rows", steps)
}

fn scripts() -> Vec<Script> {
    let completes = ["SET completion_type = 'RELEASE'", "COMMIT AND NO CHAIN NO RELEASE"];
    let ended = |text| [&completes[..], &["SELECT 1", text, "SELECT 2"]].concat();
    let sets = ["SELECT nonsense", "SET sql_select_limit = (SELECT COUNT(*) + 9 FROM df_state)"];
    let mut resets = Script::new("reset with another collation", {
        let names = ["SET NAMES utf8mb4", "SELECT @@character_set_results"];
        let again = ["SELECT @@character_set_results, @@collation_connection, CHARSET('a')"];
        let reset = vec![command(Command::ResetConnection, "")];
        [queries(&names), reset.clone(), queries(&again), reset].concat()
    });
    resets.collation = 8;
    let mut cursor = queries(TABLE);
    cursor.extend([prepare(0, "SELECT a FROM df_state"), execute_with(0, 1, &[], true)]);
    cursor.extend([query("SELECT nonsense"), close(0), query("SHOW COUNT(*) ERRORS")]);
    let mut read_only = queries(TABLE);
    read_only.push(prepare(0, "DELETE FROM df_state WHERE a = 9"));
    read_only.extend([query("START TRANSACTION READ ONLY"), reset(0), query("COMMIT")]);
    read_only.extend(queries(&["SET autocommit = 0", "SET SESSION TRANSACTION READ ONLY"]));
    read_only.extend([query("SELECT a FROM df_state"), reset(0), query("COMMIT"), reset(0)]);
    read_only.extend(queries(&[
        "SET SESSION TRANSACTION READ WRITE",
        "SET autocommit = 1",
        "BEGIN",
    ]));
    read_only.push(query("ALTER TABLE df_no_such_table COMMENT = 'commits'"));
    read_only.extend([reset(0), command(Command::Ping, "")]);
    // An error does not say that it has begun a transaction, and neither does the next one.
    read_only.extend(queries(&["SET autocommit = 0", "INSERT INTO df_state (id) VALUES (1)"]));
    read_only.extend([command(Command::InitDb, "df_nowhere"), reset(0), query("ROLLBACK")]);
    // On MySQL this fails and ends the transaction, of which the error says nothing.
    let mut ended_by_error =
        queries(&["START TRANSACTION READ ONLY", "TRUNCATE TABLE df_no_table"]);
    ended_by_error.extend([command(Command::Ping, ""), query("DO 0")]);
    let mut fields = queries(TABLE);
    fields.extend([command(Command::FieldList, "df_state\0%"), command(Command::Ping, "")]);
    fields.extend(queries(&["SHOW COUNT(*) WARNINGS", "SHOW WARNINGS", "DO 0", "SHOW WARNINGS"]));
    let mut counted = queries(TABLE);
    counted.extend([prepare(0, "SELECT ROW_COUNT()"), query("BEGIN")]);
    counted.extend([query("UPDATE df_state SET a = a + 1"), execute(0, &[]), query("COMMIT")]);
    let mut unsent =
        [queries(TABLE), queries(&["SELECT 1", "SELECT a INTO @a FROM df_state WHERE a = 9"])]
            .concat();
    unsent.extend([command(Command::ResetConnection, ""), query("SELECT FOUND_ROWS()")]);
    unsent.extend([query("SELECT a FROM df_state"), prepare(0, "SELECT ?")]);
    unsent.extend([long_data(0, 0, b"some"), reset(0), query("SELECT FOUND_ROWS()")]);
    for cursor in ["SELECT a FROM df_state", "SELECT 5"] {
        unsent.extend([query("SELECT a FROM df_state LIMIT 2"), prepare(0, cursor)]);
        unsent.extend([execute_with(0, 1, &[], true), close(0), query("SELECT FOUND_ROWS()")]);
    }
    vec![
        Script::new("rows that are sent to nobody, before a reset", unsent),
        Script::new("count before a statement is prepared anew", counted),
        found_rows(),
        Script::new("completion type, COMMIT", queries(&ended("COMMIT"))),
        Script::new("completion type, ROLLBACK", queries(&ended("ROLLBACK"))),
        with_table("SET that uses a table", &[&sets[..], &["SELECT @@error_count"]].concat()),
        resets,
        Script::new("end of a cursor", cursor),
        Script::new("statement unknown to a transaction", read_only),
        Script::new("end of a transaction by an error", ended_by_error),
        with_table("rows of what fails", FAILS),
        with_table("warnings of several statements", SEVERAL),
        Script::new("warnings of COM_FIELD_LIST", fields),
    ]
}

const OF_MARIADB: &[&str] = &[
    "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT 1",
    "SHOW COUNT(*) ERRORS",
    "SET sql_auto_is_null = 1",
    "INSERT INTO df_state (a) VALUES (50)",
    "SELECT a FROM df_state WHERE id IS NULL",
    "SELECT a FROM df_state WHERE id IS NULL",
    // On a connection that the session goes on holding, which knows all of this.
    "SET autocommit = 0",
    "SELECT SQL_CALC_FOUND_ROWS a, CAST('x' AS SIGNED) FROM df_state LIMIT 1",
    "SET STATEMENT max_statement_time = 9 FOR SET div_precision_increment = 5",
    "SELECT FOUND_ROWS(), ROW_COUNT()",
    "SHOW WARNINGS",
];

#[test]
fn what_answers_do_not_show_is_the_same() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    check(&proxy, &scripts(), BOTH);
    check(&proxy, &[skipped()], BOTH);
    if !product().is_mysql() {
        let mut unknown = [queries(TABLE), vec![prepare(0, "SELEC"), query("BEGIN")]].concat();
        unknown.push(query("SELECT SQL_CALC_FOUND_ROWS a FROM df_state LIMIT 1"));
        unknown.push(execute(0, &[]));
        unknown.extend(queries(&["SHOW WARNINGS", "SELECT FOUND_ROWS()", "COMMIT"]));
        let more = [
            with_table("RETURNING", RETURNING),
            with_table("MariaDB", OF_MARIADB),
            untold(),
            Script::new("rows found before an unknown statement", unknown),
        ];
        check(&proxy, &more, BOTH);
    }
}

#[test]
fn transactions_begun_on_a_replica_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    // The open one, and on MySQL the next, are not serializable.
    let steps = queries(&[
        "START TRANSACTION READ ONLY",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        "SHOW WARNINGS",
        "COMMIT",
    ]);
    check(&proxy, &[Script::new("isolation set in a transaction", steps)], BOTH);
}

#[test]
fn the_error_of_a_use_is_told_wherever_it_was() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut own, mut other) = (proxy.app(), proxy.app());
    own.run("USE information_schema");
    own.run("SET autocommit = 0");
    for asks in ["SHOW ERRORS", "SHOW WARNINGS", "SHOW ERRORS"] {
        other.run("SELECT ROW_COUNT()");
        let refused = own.query("USE df_nowhere").unwrap_err().code();
        let told = own.rows(asks);
        assert_eq!(told.len(), 1, "{asks}");
        assert_eq!(told[0][1], Some(refused.to_string()), "{asks}");
        own.run("COMMIT");
    }
}

const OUTLIVED_TABLE: &[&str] = &[
    "CREATE OR REPLACE TABLE df_outlived (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
    "INSERT INTO df_outlived (a) VALUES (1), (2), (3)",
];

/// All leave a transaction's access mode or isolation level behind it, and on the server.
const OUTLIVED: &[&[&str]] = &[
    &["START TRANSACTION READ ONLY", "SET autocommit = 0", "DO 1", "SET autocommit = 1"],
    &["SET autocommit = 0", "SET TRANSACTION READ ONLY", "SET autocommit = 1"],
    &["SET autocommit = 0", "START TRANSACTION READ ONLY", "SET @@session.autocommit = ON"],
    &[
        "SET SESSION TRANSACTION READ ONLY",
        "SET autocommit = 0",
        "SELECT a FROM df_outlived",
        "SET SESSION TRANSACTION READ WRITE",
        "SET autocommit = 1",
    ],
    // MySQL's trackers do not tell of these.
    &[
        "START TRANSACTION READ ONLY",
        "SET autocommit = 0",
        "SELECT a FROM df_outlived",
        "SHOW SESSION VARIABLES LIKE 'sql%'",
        "SET autocommit = 1",
    ],
    &["SET autocommit = 0; START TRANSACTION READ ONLY; SET autocommit = 1"],
];

#[test]
fn what_outlives_a_transaction_stays_with_its_session() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let (mut own, mut other) = (proxy.app(), proxy.app());
    OUTLIVED_TABLE
        .iter()
        .for_each(|sql| product().replacing(sql).iter().for_each(|sql| drop(own.run(sql))));
    for &texts in OUTLIVED {
        for text in texts {
            own.run(text);
        }
        eventually("it is bound", || proxy.sum("fairlane_sessions_pinned{") >= 1.0);
        other.run("UPDATE df_outlived SET a = a + 1 WHERE id = 1");
        let refused = own.query("UPDATE df_outlived SET a = a + 1 WHERE id = 2").unwrap_err();
        assert_eq!(refused.code(), 1792, "{texts:?}");
        own.run("COMMIT");
        own.run("UPDATE df_outlived SET a = a + 1 WHERE id = 2");
    }
    // One that is over leaves nothing to those that come later.
    for text in [
        "SET TRANSACTION READ ONLY",
        "SELECT a FROM df_outlived",
        "SET autocommit = 0",
        "UPDATE df_outlived SET a = 7 WHERE id = 3",
        "SET autocommit = 1",
        "UPDATE df_outlived SET a = 8 WHERE id = 3",
        "UPDATE df_outlived SET a = 9 WHERE id = 3",
    ] {
        own.run(text);
    }
    if product() != Product::MariaDbUnstable {
        // There it is not known what the text of several statements has set.
        eventually("nothing binds it", || proxy.sum("fairlane_sessions_pinned{") == 0.0);
    }
    let end =
        ["SELECT a FROM df_outlived", "UPDATE df_outlived SET a = 9", "SET autocommit = 1", "DO 1"];
    let scripts = OUTLIVED.iter().map(|texts| {
        let texts = [*texts, &["UPDATE df_outlived SET a = 8", "SELECT 1"], &end].concat();
        let steps = [queries(OUTLIVED_TABLE), queries(&texts)].concat();
        Script::new("characteristics that outlive", steps)
    });
    check(&proxy, &scripts.collect::<Vec<_>>(), BOTH);
}
