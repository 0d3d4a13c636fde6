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
