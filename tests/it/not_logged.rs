//! What is left out of the binary log: no replica ever has it, so it is read where it was written.

use std::sync::OnceLock;

use fairlane::protocol::Capabilities;
use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{Login, Proxy, Raw, Servers, eventually, product};

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
