//! What is left out of the binary log: no replica ever has it, so it is read where it was written.

use std::sync::OnceLock;

use fairlane::protocol::{Capabilities, Command, Shape};
use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{Login, Proxy, Raw, Servers, eventually, pause, product};

/// A primary and a replica of these tests.
fn pair() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| keep(Options { max_connections: 200, ..product().options() }).0)
}

fn log_in(proxy: &Proxy, deprecates_eof: bool) -> Raw {
    let login = Login::new(proxy.port, "root", "root-secret");
    let less = match deprecates_eof {
        true => Capabilities::empty(),
        false => Capabilities::DEPRECATE_EOF,
    };
    Raw::login(&Login { schema: Some("shop"), more: login.more - less, ..login }).unwrap()
}

/// What leaves a row out of the log, and perhaps another one not: texts with bars between them.
fn ways() -> Vec<&'static str> {
    let mut ways = vec![
        "SET sql_log_bin = 0; SELECT x FROM left_out_view",
        "SET @@sql_log_bin = 0; INSERT INTO left_out VALUES (1); SET @@sql_log_bin = 1",
        "CALL left_out_p()",
        "CALL `left-out`()",
        "CALL left_out_calls()",
        "CALL left_out_fails()",
        "CALL left_out_p(); SELECT 1",
        "PREPARE left_out FROM 'CALL left_out_p()'; EXECUTE left_out",
        "CALL left_out_calls_more()",
        "CALL left_out_calls_so()",
        "CALL `left``out`()",
        "SET NAMES latin1|CALL `büro`.p()",
        "SET NAMES latin1|CALL `ö`()",
        "SET NAMES latin1|USE `büro`|CALL p()",
    ];
    if !product().is_mysql() {
        ways.extend([
            "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO left_out VALUES (1)",
            "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO left_out VALUES (1) RETURNING a",
            "SET STATEMENT max_statement_time = 9 FOR CALL left_out_p()",
            "EXECUTE IMMEDIATE 'CALL left_out_p()'",
            "EXECUTE IMMEDIATE 'SET @@sql_log_bin = 0'; INSERT INTO left_out VALUES (1)",
            "BEGIN NOT ATOMIC CALL left_out_p(); END",
            "CALL left_out_oracle()",
            "SET sql_mode = ORACLE|BEGIN left_out_p; END",
            "SET sql_mode = ORACLE; BEGIN left_out_p; END",
            "SET sql_mode = ORACLE|CALL left_out_pack.p()",
            "SET sql_mode = ORACLE|CALL shop.left_out_pack.p()",
            "BEGIN NOT ATOMIC SET @@sql_log_bin = 0; INSERT INTO left_out VALUES (1); \
             SET @@sql_log_bin = 1; SIGNAL SQLSTATE '45000'; END",
        ]);
    }
    ways
}

#[test]
fn what_is_left_out_of_the_binary_log_by_whatever_is_read_where_it_was_written() {
    let mut root = pair().root();
    let off = "SET @@sql_log_bin = 0; INSERT INTO shop.left_out VALUES (1);";
    let whole = format!("{off} SET @@sql_log_bin = 1; INSERT INTO shop.left_in VALUES (1);");
    for sql in [
        "CREATE TABLE shop.left_out (a INT)",
        "CREATE TABLE shop.left_in (a INT)",
        "CREATE FUNCTION shop.left_out_f() RETURNS INT DETERMINISTIC \
         BEGIN INSERT INTO shop.left_out VALUES (1); RETURN 1; END",
        "CREATE VIEW shop.left_out_view AS SELECT shop.left_out_f() AS x",
        &format!("CREATE PROCEDURE shop.left_out_p() BEGIN {whole} END"),
        "CREATE PROCEDURE shop.left_out_calls() CALL left_out_p()",
        "CREATE PROCEDURE shop.`left-out`() CALL left_out_p()",
        &format!("CREATE PROCEDURE shop.left_out_fails() BEGIN {off} SIGNAL SQLSTATE '45000'; END"),
        "CREATE PROCEDURE shop.left_out_calls_more() BEGIN /* call a; call b; call c; call d; \
         call e; call f; call g; call h */ CALL left_out_p(); END",
        "CREATE PROCEDURE shop.`left``out`() CALL left_out_p()",
        "CREATE PROCEDURE shop.`ö`() CALL left_out_p()",
        "CREATE DATABASE `büro`",
        "CREATE PROCEDURE `büro`.p() CALL shop.left_out_p()",
        "SET sql_mode = ANSI_QUOTES",
        "CREATE PROCEDURE shop.left_out_calls_so() CALL \"left_out_p\"()",
    ] {
        root.run(sql);
    }
    if !product().is_mysql() {
        for sql in [
            "SET sql_mode = ORACLE",
            "CREATE PROCEDURE shop.left_out_oracle AS BEGIN left_out_p; END",
            "CREATE PACKAGE shop.left_out_pack AS PROCEDURE p; END",
            &format!(
                "CREATE PACKAGE BODY shop.left_out_pack AS PROCEDURE p AS BEGIN {whole} END; END"
            ),
        ] {
            root.run(sql);
        }
    }
    let count = "SELECT COUNT(*) FROM shop.left_out";
    let mut wrong = Vec::new();
    for (way, deprecates_eof) in
        ways().into_iter().flat_map(|way| [true, false].map(|deprecates_eof| (way, deprecates_eof)))
    {
        let proxy = Proxy::start(pair());
        let (mut one, mut other) = (log_in(&proxy, deprecates_eof), log_in(&proxy, true));
        pair().wait_replicated();
        proxy.until_replica_answers(&mut one, count);
        for text in way.split('|') {
            // What is beyond ASCII comes after SET NAMES.
            let bytes: Vec<u8> = text.chars().map(|char| char as u8).collect();
            one.send(Command::Query, &bytes);
            let _ = one.answer(Shape::Results);
        }
        pair().wait_replicated();
        let there = root.text("SELECT COUNT(*) FROM shop.left_out");
        for _ in 0..3 {
            // Others may read before a procedure's text has been looked at for the first time; its own session may not.
            let seen = [&mut one, &mut other].map(|session| session.text(count));
            if seen != [&*there, &*there] && !wrong.contains(&way) {
                wrong.push(way);
            }
        }
        drop((one, other));
        eventually("replicas are of use again", || log_in(&proxy, true).text(count) != there);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// One whose text hides from who runs it, or from who has run it before.
#[test]
fn what_a_hidden_procedure_leaves_out_is_read_where_it_was_written() {
    let mut root = pair().root();
    let right = match product().is_mysql() {
        true => "SESSION_VARIABLES_ADMIN",
        false => "BINLOG ADMIN",
    };
    let runs = "GRANT SELECT, EXECUTE ON shop.* TO";
    for sql in [
        "USE shop",
        "CREATE TABLE hidden (a INT)",
        "CREATE PROCEDURE hidden_logged() INSERT INTO hidden VALUES (1)",
        "CREATE PROCEDURE hidden_p() BEGIN SET @@sql_log_bin = 0; INSERT INTO hidden VALUES (1); END",
        "CREATE USER may@'%' IDENTIFIED BY 'secret'",
        "CREATE USER may_not@'%' IDENTIFIED BY 'secret'",
        "CREATE USER may_by_role@'%' IDENTIFIED BY 'secret'",
        "CREATE ROLE hidden_role",
        &format!("{runs} may@'%'"),
        &format!("{runs} may_not@'%'"),
        &format!("{runs} may_by_role@'%'"),
        &format!("GRANT {right} ON *.* TO may@'%'"),
        &format!("GRANT {right} ON *.* TO hidden_role"),
        "GRANT hidden_role TO may_by_role@'%'",
    ] {
        root.run(sql);
    }
    pair().wait_replicated();
    let count = "SELECT COUNT(*) FROM hidden";
    let log_in = |proxy: &Proxy, user: &str| {
        let password = if user == "root" { "root-secret" } else { "secret" };
        Raw::connect(proxy.port, user, password, Some("shop")).unwrap()
    };
    let is_missing = |proxy: &Proxy, user: &str, before: &[&str]| {
        let (mut one, mut other) = (log_in(proxy, user), log_in(proxy, user));
        proxy.until_replica_answers(&mut other, count);
        before.iter().for_each(|sql| drop(one.run(sql)));
        one.run("CALL hidden_p()");
        pair().wait_replicated();
        // Once it is known; its own session knows at once.
        let there = pair().root().text("SELECT COUNT(*) FROM shop.hidden");
        assert_eq!(one.text(count), there, "{user}");
        other.text(count) != there
    };
    for (user, before) in [
        ("may", &[][..]),
        ("may_by_role", &["CALL hidden_logged()", "SET ROLE hidden_role"]),
        ("root", &[]),
    ] {
        let proxy = Proxy::start(pair());
        // Who may not read it has looked at it just now.
        let mut first = log_in(&proxy, "may_not");
        proxy.until_replica_answers(&mut first, count);
        first.run("CALL hidden_logged()");
        first.run("CALL hidden_p()");
        first.hang_up();
        assert!(!is_missing(&proxy, user, before), "{user}");
    }
    // Who may not turn it off goes on reading on replicas.
    let proxy = Proxy::start(pair());
    let mut one = log_in(&proxy, "may_not");
    one.run("CALL hidden_logged()");
    proxy.until_replica_answers(&mut one, count);
}

/// A replica leaves out what comes with its own number.
#[test]
fn what_is_written_as_a_replica_is_read_where_it_was_written() {
    if product().is_mysql() {
        // No session has a number of its own.
        return;
    }
    let mut root = pair().root();
    let number = "SELECT @@global.server_id";
    let (own, replica) = (root.text(number), pair().replica_root().text(number));
    root.run("CREATE TABLE shop.as_replica (a INT)");
    let count = "SELECT COUNT(*) FROM shop.as_replica";
    let insert = "INSERT INTO as_replica VALUES (1)";
    for statements in [
        &[&format!("SET SESSION server_id = {replica}"), insert][..],
        &[&format!("SET @@server_id = {replica}"), insert],
        &[&format!("SET @@server_id = {replica}; {insert}; SET @@server_id = {own}")],
        &[&format!("SET STATEMENT server_id = {replica} FOR {insert}")],
    ] {
        let proxy = Proxy::start(pair());
        let (mut one, mut other) = (log_in(&proxy, true), log_in(&proxy, true));
        pair().wait_replicated();
        proxy.until_replica_answers(&mut other, count);
        statements.iter().for_each(|sql| drop(one.query(sql)));
        pair().wait_replicated();
        let there = root.text(count);
        for _ in 0..10 {
            let seen = [&mut one, &mut other].map(|session| session.text(count));
            assert_eq!(seen, [&*there, &*there], "{statements:?}");
            // It is in no hurry to find that the replica has the position.
            pause(50);
        }
        drop((one, other));
        eventually("replicas are of use again", || log_in(&proxy, true).text(count) != there);
    }
    // As itself, as what is read from a binary log writes.
    let proxy = Proxy::start(pair());
    let (mut one, mut other) = (log_in(&proxy, true), log_in(&proxy, true));
    [&*format!("SET SESSION server_id = {own}"), insert].iter().for_each(|sql| drop(one.run(sql)));
    proxy.until_replica_answers(&mut other, count);
}

/// How a statement ends that nobody sees the end of.
const ENDS: [&str; 2] = ["its client hangs up", "its connection is killed"];

const UNSEEN: &str = "SELECT COUNT(*) FROM unseen";

/// Ids of the statements that wait for this test.
fn waiting(root: &mut Raw) -> Vec<String> {
    let ids = "SELECT id FROM information_schema.processlist \
               WHERE info LIKE '%SLEEP(1.25)%' AND id <> CONNECTION_ID()";
    root.rows(ids).into_iter().flatten().flatten().collect()
}

/// Runs `text` to such an end. Its session, if that goes on.
fn end_unseen(mut session: Raw, text: &str, end: &str) -> Option<Raw> {
    let mut root = pair().root();
    session.send(Command::Query, text.as_bytes());
    eventually("it runs", || waiting(&mut root).len() == 1);
    if end == ENDS[0] {
        session.hang_up();
        eventually("it has ended", || waiting(&mut root).is_empty());
        return None;
    }
    for id in waiting(&mut root) {
        let _ = root.query(&format!("KILL {id}"));
    }
    let _ = session.answer(Shape::Results);
    session.command(Command::Ping, b"").is_ok().then_some(session)
}

#[test]
fn what_is_left_out_of_the_binary_log_by_what_ends_unseen_is_read_where_it_was_written() {
    let mut root = pair().root();
    let off = "SET @@sql_log_bin = 0; INSERT INTO unseen VALUES (1); DO SLEEP(1.25)";
    let logged = "INSERT INTO unseen VALUES (1); DO SLEEP(1.25)";
    root.run("USE shop");
    root.run("CREATE TABLE unseen (a INT)");
    root.run(&format!("CREATE PROCEDURE unseen_p() BEGIN {off}; END"));
    root.run("CREATE PROCEDURE unseen_calls() CALL unseen_p()");
    root.run("CREATE PROCEDURE `unseen``q`() CALL unseen_p()");
    let mut texts = vec![
        off.to_owned(),
        "CALL unseen_calls()".to_owned(),
        "CALL `unseen``q`()".to_owned(),
        "EXECUTE unseen_s".to_owned(),
    ];
    if !product().is_mysql() {
        texts.push(format!("BEGIN NOT ATOMIC {off}; END"));
        texts.push(
            "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO unseen VALUES (SLEEP(1.25))".to_owned(),
        );
    }
    for (text, end) in texts.iter().flat_map(|text| ENDS.map(|end| (text, end))) {
        let proxy = Proxy::start(pair());
        let (mut one, mut other) = (log_in(&proxy, true), log_in(&proxy, true));
        if text == "EXECUTE unseen_s" {
            one.run("PREPARE unseen_s FROM 'CALL unseen_p()'");
        }
        pair().wait_replicated();
        proxy.until_replica_answers(&mut other, UNSEEN);
        let mut one = end_unseen(one, text, end);
        pair().wait_replicated();
        let there = root.text(UNSEEN);
        if let Some(one) = &mut one {
            assert_eq!(one.text(UNSEEN), there, "its own session, {text}, {end}");
        }
        // Others may read before Fairlane knows that it has ended.
        eventually(text, || other.text(UNSEEN) == there);
        for _ in 0..5 {
            assert_eq!(other.text(UNSEEN), there, "{text}, {end}");
        }
    }
    // What is logged is no reason to keep anybody from replicas.
    root.run(&format!("CREATE PROCEDURE unseen_logged() BEGIN {logged}; END"));
    root.run("TRUNCATE unseen");
    for end in ENDS {
        let proxy = Proxy::start(pair());
        let (one, mut other) = (log_in(&proxy, true), log_in(&proxy, true));
        let one = end_unseen(one, "CALL unseen_logged()", end);
        proxy.until_replica_answers(&mut other, UNSEEN);
        assert_eq!(other.text(UNSEEN), root.text(UNSEEN), "{end}");
        drop(one);
    }
}
