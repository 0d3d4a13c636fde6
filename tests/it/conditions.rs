//! The list of warnings and errors where a session holds no connection that has it.

use fairlane::protocol::Command;
use fairlane::protocol::status::Status;

use crate::support::{ONE_LANE, Proxy, Raw, product, servers};

fn levels(client: &mut Raw) -> Vec<Option<String>> {
    client.rows("SHOW WARNINGS").into_iter().map(|row| row[1].clone()).collect()
}

#[test]
fn a_text_finds_no_error_that_never_was() {
    let mut root = servers().root();
    root.run("USE shop");
    root.replace("CREATE OR REPLACE TABLE co_rows (id INT)");
    root.replace(
        "CREATE OR REPLACE PROCEDURE co_counts() BEGIN SELECT @@error_count; SELECT COUNT(*) FROM co_rows; END",
    );
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    for front in ["DO 1", "SET @x = 1"] {
        let mut client = proxy.app();
        client.run("SELECT CAST('x' AS SIGNED)");
        let packets = client.run(&format!("{front}; CALL co_counts()")).packets();
        // OK, the number of columns, the definition, the row.
        assert_eq!(packets[3], b"\x010", "{front}");
    }
    let mut client = proxy.app();
    client.run("SELECT CAST('x' AS SIGNED)");
    let answer = client.run("SHOW ERRORS; CALL co_counts()");
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("1644"));
}

#[test]
fn a_kill_is_a_statement_of_which_mysql_has_no_warnings() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut target = proxy.app();
    for holds in [false, true] {
        let mut client = proxy.app();
        if holds {
            client.hold();
            client.run("SELECT COUNT(*) FROM information_schema.schemata");
        }
        client.run("SELECT CAST('x' AS SIGNED)");
        let id = target.text("SELECT CONNECTION_ID()");
        let killed = client.run(&format!("KILL QUERY {id}"));
        assert!(!product().is_mysql() || killed.summary.warnings == 0, "holds: {holds}");
        let left = usize::from(!product().is_mysql());
        assert_eq!(levels(&mut client).len(), left, "holds: {holds}");
    }
}

/// A KILL of nobody is answered by Fairlane, and the list on a connection that is held does not tell of it.
#[test]
fn an_error_that_no_connection_has_answered_is_found() {
    const NUMBER: &str = "GET DIAGNOSTICS @n = NUMBER";
    const CONDITION: &str = "GET DIAGNOSTICS CONDITION 1 @code = MYSQL_ERRNO, \
         @state = RETURNED_SQLSTATE, @text = MESSAGE_TEXT";
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    for (holds, prepares) in [(false, false), (true, false), (false, true), (true, true)] {
        if prepares && product().is_mysql() {
            continue;
        }
        let ask = |client: &mut Raw, sql| match prepares {
            true => execute(client, sql),
            false => drop(client.run(sql)),
        };
        let mut client = proxy.app();
        if holds {
            client.run("BEGIN");
        }
        client.run("SELECT SCHEMA_NAME FROM information_schema.schemata LIMIT 2");
        for _ in 0..2 {
            assert_eq!(client.query("KILL 2000000000").unwrap_err().code(), 1094);
            ask(&mut client, NUMBER);
            assert_eq!(client.text("SELECT @n"), "1", "{holds} {prepares}");
            client.query("KILL 2000000000").unwrap_err();
            ask(&mut client, CONDITION);
            assert_eq!(levels(&mut client), [Some("1094".to_owned())], "{holds} {prepares}");
            assert_eq!(client.text("SELECT CONCAT(@code, @state)"), "1094HY000");
            assert!(client.text("SELECT @text").contains("2000000000"));
            assert_eq!(client.status().contains(Status::IN_TRANS), holds);
        }
        client.run("SELECT SCHEMA_NAME FROM information_schema.schemata LIMIT 2");
        client.query("KILL 2000000000").unwrap_err();
        ask(&mut client, CONDITION);
        assert_eq!(client.text("SELECT FOUND_ROWS()"), "2", "{holds} {prepares}");
    }
}

fn execute(client: &mut Raw, sql: &str) {
    let prepared = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    let id = prepared.summary.prepared.unwrap().0.to_le_bytes();
    let answer = client.command(Command::StmtExecute, &[&id[..], &[0, 1, 0, 0, 0]].concat());
    assert_eq!(answer.unwrap().summary.error, None, "{sql}");
}

#[test]
fn the_first_question_for_a_condition_may_be_prepared() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    for is_prepared_before in [false, true] {
        let mut client = proxy.app();
        let prepare = |client: &mut Raw| {
            let sql = b"GET DIAGNOSTICS CONDITION 1 @code = MYSQL_ERRNO";
            let answer = client.command(Command::StmtPrepare, sql).unwrap();
            answer.summary.prepared.unwrap().0.to_le_bytes()
        };
        let early = is_prepared_before.then(|| prepare(&mut client));
        client.query("SELECT nothing_like_it").unwrap_err();
        let id = early.unwrap_or_else(|| prepare(&mut client));
        let execute = [&id[..], &[0, 1, 0, 0, 0]].concat();
        let answer = client.command(Command::StmtExecute, &execute).unwrap();
        assert_eq!((answer.summary.error, answer.summary.warnings), (None, 0));
        assert_eq!(levels(&mut client), [Some("1054".to_owned())]);
        assert_eq!(client.text("SELECT @code"), "1054");
    }
}

/// Fairlane asks the server what a CALL has left before its client asks for its conditions.
#[test]
fn what_a_call_has_left_is_found_where_a_connection_is_held() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP PROCEDURE IF EXISTS cd_fails",
        "DROP PROCEDURE IF EXISTS cd_warns",
        "CREATE PROCEDURE cd_fails() BEGIN DO 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END",
        "CREATE PROCEDURE cd_warns() SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'careful', TABLE_NAME = 'cd'",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    for port in [servers().primary, proxy.port] {
        let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        client.run("CREATE TEMPORARY TABLE cd_held (a INT)");
        client.query("CALL cd_fails()").unwrap_err();
        client.run("GET DIAGNOSTICS @rows = ROW_COUNT");
        assert_eq!(client.text("SELECT @rows"), "-1", "{port}");
        client.run("CALL cd_warns()");
        client.run("GET DIAGNOSTICS CONDITION 1 @table = TABLE_NAME, @text = MESSAGE_TEXT");
        assert_eq!(client.text("SELECT CONCAT(@table, @text)"), "cdcareful", "{port}");
    }
}

#[test]
fn a_list_of_warnings_may_be_longer_than_an_answer_that_is_kept() {
    const COUNT: usize = 65_535;
    if product().is_mysql() {
        // Who may not set session variables of administrators has 1024 at most.
        return;
    }
    let (column, table) = ("c".repeat(64), "t".repeat(64));
    let mut root = servers().root();
    root.run("USE shop");
    root.replace(&format!("CREATE OR REPLACE TABLE {table} ({column} INT)"));
    root.replace("CREATE OR REPLACE TABLE co_256 (id INT)");
    root.run(&format!("INSERT INTO co_256 VALUES (1){}", ", (1)".repeat(255)));
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut client = proxy.app();
    client.run(&format!("SET SESSION sql_mode = '', max_error_count = {COUNT}"));
    let long = "\u{e9}".repeat(120);
    client
        .run(&format!("INSERT INTO {table} SELECT '{long}' FROM co_256 a, co_256 b LIMIT {COUNT}"));
    for _ in 0..2 {
        assert_eq!(client.run("SHOW WARNINGS").summary.rows, COUNT as u64);
    }
    assert_eq!(client.text("SELECT COUNT(*) FROM co_256"), "256");
    assert_eq!(client.run("SHOW WARNINGS").summary.rows, 0);
    assert!(proxy.sum("fairlane_sessions_pinned{") < 1.0);
}

/// What `asks` gets from the primary, and through Fairlane.
fn both<T>(proxy: &Proxy, asks: impl Fn(&mut Raw) -> T) -> [T; 2] {
    [servers().primary, proxy.port].map(|port| {
        let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        asks(&mut client)
    })
}

fn make_routines(prefix: &str) {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    let table = format!("{prefix}_rows");
    for sql in [
        format!("DROP TABLE IF EXISTS {table}"),
        format!("CREATE TABLE {table} (id INT)"),
        format!("INSERT INTO {table} VALUES (1), (2)"),
        format!("DROP FUNCTION IF EXISTS {prefix}_writes"),
        format!("DROP FUNCTION IF EXISTS {prefix}_nothing"),
        format!("DROP PROCEDURE IF EXISTS {prefix}_empty"),
        format!(
            "CREATE FUNCTION {prefix}_writes() RETURNS INT \
             BEGIN INSERT INTO {table} VALUES (9); RETURN 1; END"
        ),
        format!("CREATE FUNCTION {prefix}_nothing() RETURNS INT DETERMINISTIC RETURN 1"),
        format!("CREATE PROCEDURE {prefix}_empty() BEGIN END"),
    ] {
        root.run(&sql);
    }
}

/// Where it is not known whether a statement ends the list, Fairlane raises an error in its place.
#[test]
fn nobody_sees_what_stands_for_a_list() {
    if product().is_mysql() {
        return;
    }
    make_routines("cm");
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let prepared = ["CALL cm_empty()", "BEGIN NOT ATOMIC DO 1; END", "CALL cm_missing()"];
    let run = ["DO cm_nothing()", "SELECT cm_nothing()", "DO GET_LOCK('cm_free', 0)"];
    let all = prepared.map(|sql| (Command::StmtPrepare, sql)).into_iter();
    for (command, sql) in all.chain(run.map(|sql| (Command::Query, sql))) {
        for holds in [false, true] {
            let mut client = proxy.app();
            client.query("SELECT nothing_like_it").unwrap_err();
            if holds {
                client.run("BEGIN");
            }
            client.command(command, sql.as_bytes()).unwrap();
            client.run("COMMIT");
            client.run("DO RELEASE_LOCK('cm_free')");
            for _ in 0..3 {
                let mut other = proxy.app();
                assert_eq!(levels(&mut other), [], "{sql}, holds: {holds}");
                assert_eq!(other.text("SELECT @@warning_count"), "0", "{sql}");
            }
        }
    }
}

#[test]
fn functions_and_locks_end_a_list_as_on_the_server() {
    if product().is_mysql() {
        return;
    }
    make_routines("cf");
    let proxy = Proxy::with(servers(), 6, ONE_LANE);
    let mut holder = Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
    holder.run("DO GET_LOCK('cf_held', 0)");
    for sql in [
        "SELECT cf_writes()",
        "DO cf_writes()",
        "SET @a = cf_writes()",
        "DO cf_nothing()",
        "SELECT cf_nothing(), ROW_COUNT()",
        "DO GET_LOCK('cf_held', 0)",
        "DO GET_LOCK('cf_free', 0)",
        "SELECT RELEASE_LOCK('cf_none')",
        "SELECT 1",
    ] {
        for more in ["DO 1", "BEGIN", "SET max_error_count = 0"] {
            let [direct, through] = both(&proxy, |client| {
                client.run("SELECT id FROM cf_rows LIMIT 2");
                client.query("SELECT nothing_like_it").unwrap_err();
                client.run(more);
                // A mark is an error, which sets ROW_COUNT().
                client.run("SET @b = 1");
                let answer = client.rows(sql);
                let left = [client.text("SELECT FOUND_ROWS()"), client.text("SELECT ROW_COUNT()")];
                let levels = (!more.contains("max")).then(|| levels(client));
                (answer, left, levels)
            });
            assert_eq!(through, direct, "{sql}, {more}");
        }
    }
    // Between XA END and the end of the transaction no statement can use a table.
    let [direct, through] = both(&proxy, |client| {
        client.query("SELECT nothing_like_it").unwrap_err();
        for sql in ["XA START 'cf'", "XA END 'cf'", "DO cf_nothing()", "XA ROLLBACK 'cf'"] {
            client.run(sql);
        }
        levels(client)
    });
    assert_eq!(through, direct);
}

#[test]
fn get_diagnostics_leaves_what_it_tells_of() {
    make_routines("cg");
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let (number, rows) = ("GET DIAGNOSTICS @n = NUMBER", "GET DIAGNOSTICS @r = ROW_COUNT");
    let condition = "GET DIAGNOSTICS CONDITION 1 @c = MYSQL_ERRNO";
    let write = "UPDATE cg_rows SET id = id + 1 LIMIT 2";
    for before in [&[write][..], &["BEGIN", write], &["SELECT nothing_like_it"]] {
        for asked in [&[number, rows][..], &[rows, rows], &[condition, number, rows], &[condition]]
        {
            for last in ["GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT", "DO 0", "KILL 2000000000"] {
                let [direct, through] = both(&proxy, |client| {
                    for sql in [before, asked].concat() {
                        let _ = client.query(sql);
                    }
                    let count = client.text("SELECT ROW_COUNT()");
                    for sql in [before, asked, &[last]].concat() {
                        let _ = client.query(sql);
                    }
                    let levels = (!last.starts_with("KILL")).then(|| levels(client));
                    (count, levels, client.rows("SELECT @n, @r, @c"))
                });
                assert_eq!(through, direct, "{before:?}, {asked:?}, {last}");
            }
        }
    }
    // MySQL's SET, which may stand for it, empties the list on a connection that is held.
    let [direct, through] = both(&proxy, |client| {
        client.run("BEGIN");
        client.query("SELECT nothing_like_it").unwrap_err();
        (0..3).for_each(|_| drop(client.run("GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT")));
        (client.rows("SELECT @n, @r"), client.run("COMMIT").summary.warnings)
    });
    assert_eq!(through, direct);
}

fn prepare(client: &mut Raw, sql: &str) -> [u8; 4] {
    let prepared = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    prepared.summary.prepared.unwrap().0.to_le_bytes()
}

/// ROW_COUNT() in the first column of a prepared statement with so many.
fn counted(client: &mut Raw, id: [u8; 4], columns: usize) -> i64 {
    let execute = [&id[..], &[0, 1, 0, 0, 0]].concat();
    let answer = client.command(Command::StmtExecute, &execute).unwrap();
    let row = answer.packets().swap_remove(1 + columns);
    i64::from_le_bytes(row[2..10].try_into().unwrap())
}

/// A text with another value for FOUND_ROWS() has to be prepared, which sets ROW_COUNT() there.
#[test]
fn row_count_beside_found_rows_is_the_last_statement_s() {
    make_routines("cr");
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let write = "UPDATE cr_rows SET id = id + 1 LIMIT 2";
    let sets = ["DO 1", "SET time_zone = '+02:00'", "SET NAMES latin1", "USE information_schema"];
    for (index, set) in sets.into_iter().enumerate() {
        let [direct, through] = both(&proxy, |client| {
            let id = prepare(client, &format!("SELECT ROW_COUNT(), FOUND_ROWS(), {index}"));
            client.run("BEGIN");
            client.run(set);
            client.run(&write.replace("cr_", "shop.cr_"));
            let count = counted(client, id, 3);
            client.run("ROLLBACK");
            count
        });
        assert_eq!((through, direct), (2, 2), "{set}");
    }
}

/// A BEGIN that waits for what comes next is before what Fairlane has answered meanwhile.
#[test]
fn row_count_after_begin_is_that_of_an_error_of_fairlane_s_own() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let [direct, through] = both(&proxy, |client| {
        client.run("BEGIN");
        client.query("KILL 2000000000").unwrap_err();
        let id = prepare(client, "SELECT ROW_COUNT()");
        counted(client, id, 1)
    });
    assert_eq!((through, direct), (-1, -1));
}
