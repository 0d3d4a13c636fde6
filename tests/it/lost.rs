//! A connection that is lost once the client has its answer: with what nobody but it knew the session goes, too.

use fairlane::protocol::{Capabilities, Command};

use crate::support::hop::Hop;
use crate::support::{Login, ONE_LANE, Proxy, Raw, eventually, product, servers};

/// Answered, and then the connection is lost before it has answered the question with `question` in it.
fn lose_behind(hop: &Hop, client: &mut Raw, sql: &str, question: &'static [u8]) {
    hop.spoil_answer_to(question, Vec::clear);
    client.run(sql);
    eventually("it is asked", || hop.has_spoilt());
    hop.cut();
}

#[test]
fn a_session_ends_with_the_connection_that_knew_what_it_has() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 3, ONE_LANE);
    let mut one = proxy.app();
    for sql in [
        "DROP FUNCTION IF EXISTS lost_f",
        "CREATE FUNCTION lost_f() RETURNS INT BEGIN SET @lost = 5; RETURN 1; END",
        "DROP PROCEDURE IF EXISTS lost_p",
        "CREATE PROCEDURE lost_p() CREATE TEMPORARY TABLE lost_t SELECT 5 AS a",
    ] {
        one.run(sql);
    }
    // Fairlane's question and the client's behind it.
    let names = "SET NAMES latin1 COLLATE latin1_german1_ci";
    let mut cases: Vec<(&str, &'static [u8], &str)> =
        vec![(names, b"SELECT @@collation_connection", "SELECT @@collation_connection")];
    match product().is_mysql() {
        true => cases.extend([
            ("SELECT lost_f()", &b"DO 0"[..], "SELECT @lost"),
            ("CALL lost_p()", b"SHOW SESSION STATUS", "SELECT a FROM lost_t"),
        ]),
        false => cases.extend([
            ("SET @@sql_mode = 'ANSI_QUOTES'", &b"SET SESSION"[..], "SELECT @@sql_mode"),
            ("SET @@autocommit = 0", b"SET SESSION", "SELECT @@autocommit"),
            ("CALL lost_p()", b"session_status", "SELECT a FROM lost_t"),
        ]),
    }
    for (sql, question, later) in cases {
        let login = Login::new(proxy.port, "app", "app-secret");
        let more = login.more - Capabilities::DEPRECATE_EOF;
        let mut client = Raw::login(&Login { schema: Some("shop"), more, ..login }).unwrap();
        lose_behind(&hop, &mut client, sql, question);
        client.send(Command::Query, later.as_bytes());
        let told = client.packet();
        assert!(told.is_err(), "{sql}; {later}: {told:?}");
    }
}

#[test]
fn a_session_that_has_lost_just_a_list_of_warnings_goes_on() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 3, ONE_LANE);
    let mut client = proxy.app();
    client.run("SET @lost = 5");
    lose_behind(&hop, &mut client, "SELECT 'x' + 1", b"SHOW WARNINGS");
    assert_eq!(client.text("SELECT @lost"), "5");
}
