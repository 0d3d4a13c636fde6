//! A transaction is on one connection, wherever its statements would go alone.

use fairlane::protocol::status::Status;
use fairlane::protocol::{Capabilities, Command};
use fairlane::sandbox::Options;

use crate::support::raw::Login;
use crate::support::servers::keep;
use crate::support::{
    ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, pause, product, servers,
};

const OPEN: Status = Status::IN_TRANS.union(Status::AUTOCOMMIT);

#[test]
fn a_transaction_stays_on_one_primary_connection() {
    let (_, proxy) = (servers(), Proxy::start(servers()));
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE trx_a (id INT PRIMARY KEY, value INT) ENGINE=InnoDB");
    one.run("START TRANSACTION");
    one.run("INSERT INTO trx_a VALUES (1, 1)");
    assert_eq!(one.text("SELECT value FROM trx_a"), "1");
    assert!(one.status().contains(Status::IN_TRANS));
    assert_eq!(other.run("SELECT value FROM trx_a").summary.rows, 0);
    one.run("SAVEPOINT a");
    one.run("UPDATE trx_a SET value = 2");
    one.run("ROLLBACK TO a");
    one.run("COMMIT");
    assert!(!one.status().contains(Status::IN_TRANS));
    assert_eq!(one.text("SELECT value FROM trx_a"), "1");
    one.run("BEGIN");
    one.run("DELETE FROM trx_a");
    one.run("ROLLBACK AND CHAIN");
    assert!(one.status().contains(Status::IN_TRANS));
    one.run("ROLLBACK");
    assert_eq!(one.text("SELECT COUNT(*) FROM trx_a"), "1");
}

/// One slot: whoever has only said BEGIN does not have it.
#[test]
fn a_transaction_takes_a_connection_with_its_first_statement() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE trx_k (id INT) ENGINE=InnoDB");
    for end in ["ROLLBACK", "COMMIT"] {
        assert_eq!(one.run("START TRANSACTION").summary.status, OPEN);
        assert_eq!(other.run("begin work;").summary.status, OPEN);
        assert_eq!(other.run("INSERT INTO trx_k VALUES (1)").summary.status, OPEN);
        other.run(end);
        assert_eq!(one.run("INSERT INTO trx_k VALUES (2)").summary.status, OPEN);
        assert_eq!(one.run(end).summary.status, Status::AUTOCOMMIT);
    }
    assert_eq!(one.text("SELECT COUNT(*) FROM trx_k"), "2", "what was committed");
    // Nothing in between: no server hears of it.
    let routed = || proxy.sum("fairlane_statements_routed_total{reason=\"transaction_control\"");
    let before = routed();
    for end in ["COMMIT", "ROLLBACK"] {
        one.run("BEGIN");
        assert_eq!(one.run(end).summary.status, Status::AUTOCOMMIT);
    }
    assert_eq!(routed(), before);
}

/// The first statement has no slot, or no connection: it fails, and the transaction is still to begin.
#[test]
fn a_transaction_whose_first_statement_was_refused_begins_with_the_next() {
    let lanes = "[lanes]\nauto = \"off\"\n[[lane]]\nname = \"interactive\"\nqueue_timeout = \"200ms\"\n\
        [routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 2, lanes);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE trx_l (id INT) ENGINE=InnoDB");
    other.hold();
    one.run("BEGIN");
    for _ in 0..2 {
        let refused = one.query("INSERT INTO trx_l VALUES (1)").unwrap_err();
        assert_eq!(refused.code(), 1040, "{refused:?}");
        assert_eq!(one.command(Command::Ping, b"").unwrap().summary.status, OPEN);
    }
    other.run("COMMIT");
    assert_eq!(one.run("SHOW WARNINGS").summary.rows, 1);
    one.run("INSERT INTO trx_l VALUES (2)");
    assert!(one.status().contains(Status::IN_TRANS));
    assert_eq!(other.query("SELECT 1").unwrap_err().code(), 1040, "the slot is held");
    one.run("ROLLBACK");
    assert_eq!(one.text("SELECT COUNT(*) FROM trx_l"), "0");
    // A reset ends it like any other.
    one.run("BEGIN");
    one.command(Command::ResetConnection, b"").unwrap();
    assert_eq!(one.run("INSERT INTO trx_l VALUES (3)").summary.status, Status::AUTOCOMMIT);
    assert_eq!(other.text("SELECT COUNT(*) FROM trx_l"), "1");
}

/// What was chosen before it does not matter to a choice that comes first.
/// What runs nothing, or asks for a server's variables, must not begin it anew elsewhere.
#[test]
fn a_transaction_that_reads_on_a_replica_keeps_its_snapshot() {
    let proxy = Proxy::with(servers(), 6, "");
    let (mut one, mut two) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE tr_kept (id INT) ENGINE=InnoDB");
    two.run("INSERT INTO tr_kept VALUES (1)");
    servers().wait_replicated();
    one.run("START TRANSACTION READ ONLY");
    assert_eq!(one.text("SELECT COUNT(*) FROM tr_kept"), "1");
    two.run("INSERT INTO tr_kept VALUES (2)");
    servers().wait_replicated();
    assert_eq!(one.command(Command::Ping, b"").unwrap().error(), None);
    one.run("SELECT @@sql_mode, @@version");
    one.run("SELECT COUNT(*) FROM information_schema.SCHEMATA");
    assert_eq!(one.text("SELECT COUNT(*) FROM tr_kept"), "1");
    one.run("COMMIT");
    assert_eq!(one.text("SELECT COUNT(*) FROM tr_kept"), "2");
}

#[test]
fn a_transaction_may_begin_with_another_schema_than_one_that_is_gone() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut client, mut other) = (proxy.app(), proxy.app());
    for choice in ["USE shop", ""] {
        client.run("CREATE DATABASE test_gone");
        client.run("USE test_gone");
        other.run("DROP DATABASE test_gone");
        other.run("SELECT 1");
        client.run("BEGIN");
        match choice {
            "" => assert_eq!(client.command(Command::InitDb, b"shop").unwrap().error(), None),
            sql => drop(client.run(sql)),
        }
        assert!(client.status().contains(Status::IN_TRANS));
        assert_eq!(client.text("SELECT DATABASE()"), "shop");
        client.run("COMMIT");
    }
}

/// The flags, the read-only transaction and the chain are those of a server that was started so.
#[test]
fn a_begin_on_a_server_with_other_defaults_is_the_same() {
    let variables = ["sql_mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "completion_type=CHAIN"];
    let extra = variables.map(str::to_owned).into();
    let (servers, _orders) = keep(Options { extra, ..product().options() });
    let proxy = Proxy::start(&servers);
    let said = |port: u16| {
        let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        let status = |client: &mut Raw, sql: &str| client.run(sql).summary.status;
        let mut said = vec![];
        for sql in [
            "BEGIN",
            "COMMIT",
            "ROLLBACK AND NO CHAIN",
            "BEGIN",
            "SELECT \"a\" FROM (SELECT 1 AS a) t",
        ] {
            said.push(status(&mut client, sql));
        }
        client.command(Command::ResetConnection, b"").unwrap();
        said.push(status(&mut client, "BEGIN"));
        said.push(client.command(Command::Ping, b"").unwrap().summary.status);
        said
    };
    assert_eq!(said(proxy.port), said(servers.primary));
    let mut root = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    root.run("SET GLOBAL TRANSACTION READ ONLY");
    eventually("Fairlane knows", || {
        let mut client = Raw::connect(proxy.port, "app", "app-secret", Some("shop")).unwrap();
        let begun = client.run("BEGIN").summary.status;
        begun.contains(Status::IN_TRANS_READONLY)
            && client.run("DO 0").summary.status == begun
            && client.query("CREATE TABLE trx_n (id INT)").unwrap_err().code() == 1792
    });
}

/// The server has closed the connection it would have begun on.
#[test]
fn a_transaction_begins_on_another_connection_where_one_is_gone() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER trx_m@localhost IDENTIFIED BY 'x'");
    root.run("GRANT ALL ON shop.* TO trx_m@localhost");
    let mut client = Raw::connect(proxy.port, "trx_m", "x", Some("shop")).unwrap();
    client.replace("CREATE OR REPLACE TABLE trx_m (id INT) ENGINE=InnoDB");
    for round in 0..10 {
        client.run("INSERT INTO trx_m VALUES (0)");
        client.run("BEGIN");
        let list = "SELECT id FROM information_schema.processlist WHERE user = 'trx_m'";
        for row in root.rows(list) {
            let _ = root.query(&format!("KILL {}", row[0].as_deref().unwrap()));
        }
        pause(if round % 2 == 0 { 20 } else { 0 });
        client.run("INSERT INTO trx_m VALUES (1)");
        client.run("ROLLBACK");
    }
    assert_eq!(client.text("SELECT COUNT(*) FROM trx_m"), "10");
}

#[test]
fn autocommit_off_is_one_transaction_after_another() {
    let (_, proxy) = (servers(), Proxy::start(servers()));
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE trx_b (id INT) ENGINE=InnoDB");
    one.run("SET autocommit = 0");
    assert!(!one.run("DO 1").summary.status.contains(Status::AUTOCOMMIT));
    one.run("INSERT INTO trx_b VALUES (1)");
    assert_eq!(other.text("SELECT COUNT(*) FROM trx_b"), "0");
    one.run("COMMIT");
    assert_eq!(one.text("SELECT COUNT(*) FROM trx_b"), "1");
    one.run("INSERT INTO trx_b VALUES (2)");
    one.run("ROLLBACK");
    assert_eq!(one.text("SELECT COUNT(*) FROM trx_b"), "1");
    one.run("SET autocommit = 1");
    one.run("INSERT INTO trx_b VALUES (3)");
    assert_eq!(one.text("SELECT COUNT(*) FROM trx_b"), "2");
    assert!(one.status().contains(Status::AUTOCOMMIT));
}

#[test]
fn a_read_only_transaction_may_be_on_the_replica_until_it_needs_the_primary() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE trx_c (id INT) ENGINE=InnoDB");
    servers.wait_replicated();
    let mut client = proxy.app();
    proxy.until_replica_answers(&mut client, "SELECT id FROM trx_c");
    client.run("START TRANSACTION READ ONLY");
    assert_eq!(client.text("SELECT COUNT(*) FROM trx_c"), "0");
    let metric =
        "fairlane_statements_routed_total{reason=\"transaction_control\",target=\"replica\"}";
    assert_eq!(proxy.sum(metric), 1.0);
    // The server's own words, not those of a read-only server.
    assert_eq!(client.query("INSERT INTO trx_c VALUES (1)").unwrap_err().code(), 1792);
    assert!(client.status().contains(Status::IN_TRANS));
    client.run("COMMIT");
    client.run("START TRANSACTION READ ONLY");
    client.run("SET @a = 5");
    client.run("COMMIT");
    assert_eq!(client.text("SELECT @a"), "5");
    client.run("INSERT INTO trx_c VALUES (2)");
    assert_eq!(client.text("SELECT COUNT(*) FROM trx_c"), "1");
}

#[test]
fn what_a_session_leaves_open_is_rolled_back_before_anybody_gets_the_connection() {
    let (_, proxy) = (servers(), Proxy::with(servers(), 2, ONE_LANE));
    let mut first = proxy.app();
    first.run("CREATE TABLE trx_d (id INT) ENGINE=InnoDB");
    first.run("BEGIN");
    first.run("INSERT INTO trx_d VALUES (1)");
    first.hang_up();
    let mut second = proxy.app();
    second.run("INSERT INTO trx_d VALUES (2)");
    assert_eq!(second.text("SELECT GROUP_CONCAT(id) FROM trx_d"), "2");
}

#[test]
fn set_transaction_is_for_the_next_transaction_only() {
    let (_, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE trx_e (id INT) ENGINE=InnoDB");
    client.run("SET TRANSACTION READ ONLY");
    client.run("START TRANSACTION");
    assert_eq!(client.query("INSERT INTO trx_e VALUES (1)").unwrap_err().code(), 1792);
    client.run("COMMIT");
    client.run("INSERT INTO trx_e VALUES (1)");
    client.run("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE");
    assert_eq!(client.text("SELECT @@tx_isolation"), "SERIALIZABLE");
    let mut other = proxy.app();
    assert_eq!(other.text("SELECT @@tx_isolation"), "REPEATABLE-READ");
}

#[test]
fn xa_branches_keep_their_connection() {
    let (_, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE trx_f (id INT) ENGINE=InnoDB");
    client.run("XA START 'x1'");
    client.run("INSERT INTO trx_f VALUES (1)");
    client.run("XA END 'x1'");
    client.run("XA PREPARE 'x1'");
    client.run("XA COMMIT 'x1'");
    assert_eq!(client.text("SELECT COUNT(*) FROM trx_f"), "1");
    eventually("the pin ends", || proxy.sum("fairlane_sessions_pinned{") == 0.0);
}

#[test]
fn a_prepared_branch_outlives_its_session() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE branches (id INT PRIMARY KEY) ENGINE=InnoDB");
    // In a text that nobody has seen as well, where the server takes it there.
    let hidden = "EXECUTE IMMEDIATE 'XA PREPARE ''outlives3'''";
    let ways =
        [("XA PREPARE 'outlives1'", false), ("XA PREPARE 'outlives2'", true), (hidden, false)];
    let known = if product().is_mysql() { 2 } else { 3 };
    for (id, (prepare, resets)) in (1..).zip(&ways[..known]) {
        let mut session = proxy.app();
        session.run(&format!("XA START 'outlives{id}'"));
        session.run(&format!("INSERT INTO branches VALUES ({id})"));
        session.run(&format!("XA END 'outlives{id}'"));
        session.run(prepare);
        match resets {
            true => drop(session.command(Command::ResetConnection, b"").unwrap()),
            false => session.hang_up(),
        }
        // The server has to see first that it has no connection any more.
        let commit = format!("XA COMMIT 'outlives{id}'");
        eventually("the branch is committed", || proxy.app().query(&commit).is_ok());
        let found = proxy.app().text(&format!("SELECT COUNT(*) FROM branches WHERE id = {id}"));
        assert_eq!(found, "1", "{prepare}");
    }
}

#[test]
fn a_transaction_that_chains_ends_with_its_client() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE chained (id INT PRIMARY KEY) ENGINE=InnoDB");
    client.run("SET completion_type = 1");
    client.run("BEGIN");
    client.run("INSERT INTO chained VALUES (1)");
    client.hang_up();
    let mut next = proxy.app();
    next.run("INSERT INTO chained VALUES (2)");
    assert!(!next.status().contains(Status::IN_TRANS));
    let ids = servers().root().rows("SELECT id FROM shop.chained");
    assert_eq!(ids, [[Some("2".to_owned())]], "acknowledged, and there");
}

#[test]
fn a_write_that_fails_half_way_is_seen_by_its_session() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    client.run("CREATE TABLE half (id INT PRIMARY KEY) ENGINE=MyISAM");
    client.run("CREATE TABLE whole (id INT PRIMARY KEY) ENGINE=InnoDB");
    servers().wait_replicated();
    let mut frozen = servers().replica_root();
    frozen.run("LOCK TABLES shop.half READ, shop.whole READ");
    client.query("INSERT INTO half VALUES (1), (2), (1)").unwrap_err();
    assert_eq!(client.text("SELECT COUNT(*) FROM half"), "2");
    let mut client = proxy.app();
    client.run("BEGIN");
    client.run("INSERT INTO whole VALUES (7)");
    client.query("DROP TABLE nowhere_at_all").unwrap_err();
    client.run("SELECT 1");
    assert_eq!(client.text("SELECT COUNT(*) FROM whole"), "1");
    frozen.run("UNLOCK TABLES");
}

#[test]
fn what_a_read_only_transaction_counted_moves_with_it() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let mut other = proxy.app();
    other.run("SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 FOR UPDATE");
    let mut client = proxy.app();
    client.run("START TRANSACTION READ ONLY");
    client.run("SELECT 1 UNION SELECT 2");
    client.run("SELECT CAST('x' AS INT) UNION SELECT 5");
    assert_eq!(client.text("SELECT FOUND_ROWS()"), "2");
    assert_eq!(client.rows("SHOW WARNINGS").len(), 1);
    client.run("COMMIT");
    client.run("SELECT CAST('x' AS INT)");
    let answer = client.run("SELECT @@Warning_Count ;");
    assert!(answer.packets()[1].windows(15).any(|name| name == b"@@Warning_Count"));
    assert_eq!(client.text("SHOW COUNT(*) WARNINGS"), "1");
}

#[test]
fn a_read_only_transaction_that_moves_sees_nobodys_variables() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    proxy.until_replica_answers(&mut one, "SELECT 1 FROM (SELECT 1) t");
    one.run("START TRANSACTION READ ONLY");
    one.run("SELECT 1");
    other.run("SET @others = 7");
    other.run("DO 1");
    let moves = "SELECT CONCAT(IFNULL(@others, 'none'), GET_LOCK('moves', 0))";
    assert_eq!(one.text(moves), "none1");
}

/// Trackers are turned off and on for what shows them.
#[test]
fn the_end_of_a_transaction_is_told_whatever_was_asked_in_it() {
    // One connection for both.
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let log_in = |port: u16| {
        let more = Capabilities::SESSION_TRACK | Capabilities::DEPRECATE_EOF;
        let login = Login { schema: Some("shop"), more, ..Login::new(port, "app", "app-secret") };
        Raw::login(&login).unwrap()
    };
    let told = |port: u16| {
        let (mut one, mut two) = (log_in(port), log_in(port));
        let asked = "SHOW VARIABLES LIKE 'session_track_gtids'";
        let its = ["BEGIN", "DO 1", asked, "DO 2", "COMMIT", "DO 0"]
            .map(|sql| one.run(sql).summary.tracked);
        let others =
            ["DO 0", "BEGIN", "DO 1", "COMMIT", "DO 0"].map(|sql| two.run(sql).summary.tracked);
        (its, others)
    };
    assert_eq!(told(proxy.port), told(servers().primary));
}
