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

/// What leaves a row out of the log, and perhaps another one not.
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
    ];
    if !product().is_mysql() {
        ways.extend([
            "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO left_out VALUES (1)",
            "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO left_out VALUES (1) RETURNING a",
            "SET STATEMENT max_statement_time = 9 FOR CALL left_out_p()",
            "EXECUTE IMMEDIATE 'CALL left_out_p()'",
            "EXECUTE IMMEDIATE 'SET @@sql_log_bin = 0'; INSERT INTO left_out VALUES (1)",
            "BEGIN NOT ATOMIC CALL left_out_p(); END",
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
    ] {
        root.run(sql);
    }
    let count = "SELECT COUNT(*) FROM left_out";
    for (way, deprecates_eof) in
        ways().into_iter().flat_map(|way| [true, false].map(|deprecates_eof| (way, deprecates_eof)))
    {
        let proxy = Proxy::start(pair());
        let (mut one, mut other) = (log_in(&proxy, deprecates_eof), log_in(&proxy, true));
        pair().wait_replicated();
        proxy.until_replica_answers(&mut one, count);
        let _ = one.query(way);
        pair().wait_replicated();
        let there = root.text("SELECT COUNT(*) FROM shop.left_out");
        for _ in 0..3 {
            // Others may read before a procedure's text has been looked at for the first time; its own session may not.
            let seen = [&mut one, &mut other].map(|session| session.text(count));
            assert_eq!(seen, [&*there, &*there], "{way}");
        }
        drop((one, other));
        eventually("replicas are of use again", || log_in(&proxy, true).text(count) != there);
    }
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
    let mut texts = vec![off.to_owned(), "CALL unseen_calls()".to_owned()];
    if !product().is_mysql() {
        texts.push(format!("BEGIN NOT ATOMIC {off}; END"));
        texts.push(
            "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO unseen VALUES (SLEEP(1.25))".to_owned(),
        );
    }
    for (text, end) in texts.iter().flat_map(|text| ENDS.map(|end| (text, end))) {
        let proxy = Proxy::start(pair());
        let (one, mut other) = (log_in(&proxy, true), log_in(&proxy, true));
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
