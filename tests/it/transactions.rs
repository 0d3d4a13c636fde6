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

/// Of these nothing tells for sure whether they have looked at rows: both servers do here.
#[test]
fn a_read_of_which_it_is_not_clear_whether_it_reads_may_have_taken_a_snapshot() {
    let proxy = Proxy::with(servers(), 6, "");
    let (mut one, mut two) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE tr_perhaps (id INT PRIMARY KEY, v INT) ENGINE=InnoDB");
    two.run("INSERT INTO tr_perhaps VALUES (1, 0)");
    let read = "SELECT v FROM tr_perhaps WHERE id = 1";
    let mut all = vec![
        "SELECT v FROM tr_perhaps WHERE 1=0 AND v=7 OR id=1",
        "SELECT v FROM tr_perhaps WHERE 0 NOT IN (v)",
        "SELECT v FROM tr_perhaps WHERE 1=1.0",
        "SELECT v, id AND 0 FROM (tr_perhaps)",
        "EXPLAIN SELECT v FROM tr_perhaps WHERE id = 1",
        "WITH c AS (SELECT v FROM tr_perhaps) SELECT v FROM c",
    ];
    if product().is_mysql() {
        // Its dictionary is InnoDB's.
        all.extend(["SHOW COLUMNS FROM tr_perhaps", "DESCRIBE tr_perhaps", "EXPLAIN tr_perhaps"]);
        all.extend(["SHOW TABLES", "SHOW DATABASES", "SHOW INDEX FROM tr_perhaps"]);
    }
    for (before, first) in (0..).zip(all) {
        servers().wait_replicated();
        proxy.until_replica_answers(&mut one, read);
        one.run("START TRANSACTION READ ONLY");
        one.run(first);
        two.run("UPDATE tr_perhaps SET v = v + 1");
        servers().wait_replicated();
        one.run("SELECT @@version_comment");
        assert_eq!(one.text(read), before.to_string(), "{first}");
        one.run("COMMIT");
    }
}

/// It has a slot of the replica, and all of the primary's are held: it is open as before, and can go on there later.
#[test]
fn a_read_only_transaction_that_finds_no_slot_on_the_primary_stays_on_its_replica() {
    let lanes =
        "[lanes]\nauto = \"off\"\n[[lane]]\nname = \"interactive\"\nqueue_timeout = \"200ms\"\n";
    let proxy = Proxy::with(servers(), 2, lanes);
    let mut other = proxy.app();
    other.replace("CREATE OR REPLACE TABLE tr_stays (id INT) ENGINE=InnoDB");
    other.run("INSERT INTO tr_stays VALUES (1)");
    servers().wait_replicated();
    let count = "SELECT COUNT(*) FROM tr_stays";
    let mut one = proxy.holder_on_replica(count);
    other.hold();
    other.run("INSERT INTO tr_stays VALUES (2)");
    for _ in 0..2 {
        let refused = one.query("SAVEPOINT a").unwrap_err();
        assert_eq!(refused.code(), 1040, "{refused:?}");
        assert_eq!(one.run("SHOW WARNINGS").summary.rows, 1);
        assert_eq!(one.text(count), "1");
        assert!(one.run(count).summary.status.contains(Status::IN_TRANS));
    }
    let refused = one.command(Command::SetOption, &[1, 0]).unwrap();
    assert_eq!(refused.error().map(|error| error.code()), Some(1040));
    assert!(one.query("SELECT 1; SELECT 2").is_ok(), "it is as it was");
    other.run("COMMIT");
    // A snapshot of the primary now.
    one.run("SAVEPOINT a");
    assert_eq!(one.text(count), "2");
    one.run("ROLLBACK TO a");
    let in_use =
        |backend: &str| proxy.sum(&format!("fairlane_lane_slots_in_use{{backend=\"{backend}\""));
    eventually("only the primary's slot is held", || {
        in_use("primary") == 1.0 && in_use("replica1") == 0.0
    });
    assert!(one.query("INSERT INTO tr_stays VALUES (3)").is_err(), "it is read-only");
    one.run("COMMIT");
    assert_eq!(other.text(count), "2");
}

const REFUSED: &str = "fairlane_replica_retries_total";

/// A privilege that only the primary has stands for all that a replica lacks.
#[test]
fn a_read_only_transaction_moves_where_the_replica_refuses_what_it_reads() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE_AND_REPLICA);
    let mut root = servers().root();
    for sql in [
        "CREATE TABLE shop.tr_lacks (id INT) ENGINE=InnoDB",
        "INSERT INTO shop.tr_lacks VALUES (1)",
        "CREATE DATABASE lacking",
        "CREATE TABLE lacking.t (id INT) ENGINE=InnoDB",
        "INSERT INTO lacking.t VALUES (9)",
        "CREATE USER lacks@'%' IDENTIFIED BY 'lacks-secret'",
        "GRANT SELECT, INSERT ON shop.* TO lacks@'%'",
        "GRANT SELECT ON lacking.* TO lacks@'%'",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
    let mut replica = servers().replica_root_who_writes();
    replica.run("REVOKE SELECT ON lacking.* FROM lacks@'%'");
    let mut client = Raw::connect(proxy.port, "lacks", "lacks-secret", Some("shop")).unwrap();
    let (here, there) = ("SELECT id FROM tr_lacks", "SELECT id FROM lacking.t");
    let prepare = |client: &mut Raw| {
        let prepared = client.command(Command::StmtPrepare, there.as_bytes()).unwrap();
        assert_eq!(prepared.error(), None);
        [&prepared.summary.prepared.unwrap().0.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat()
    };
    let known = prepare(&mut client);
    for asks in 0..4 {
        proxy.until_replica_answers(&mut client, here);
        client.run("START TRANSACTION READ ONLY");
        let before = proxy.metric(REFUSED);
        match asks {
            0 => assert_eq!(client.text(there), "9"),
            1 => {
                client.run("USE lacking");
                assert_eq!(client.text("SELECT id FROM t"), "9");
                client.run("USE shop");
            }
            of_prepared => {
                let new = (of_prepared == 3).then(|| prepare(&mut client));
                let execute = new.as_ref().unwrap_or(&known);
                let answer = client.command(Command::StmtExecute, execute).unwrap();
                assert_eq!((answer.error(), answer.summary.rows), (None, 1));
            }
        }
        assert_eq!(proxy.metric(REFUSED), before + 1.0, "{asks}");
        assert_eq!(client.text(here), "1");
        let denied = client.query("INSERT INTO tr_lacks VALUES (2)").unwrap_err();
        assert_eq!(denied.code(), 1792);
        client.run("COMMIT");
    }
    // What the primary would refuse as well costs no snapshot.
    proxy.until_replica_answers(&mut client, here);
    client.run("START TRANSACTION READ ONLY");
    client.run(here);
    root.run("INSERT INTO shop.tr_lacks VALUES (3)");
    for own in [
        "SELECT (SELECT 1 UNION SELECT 2)",
        "SELECT 1 FROM tr_lacks WHERE",
        "SELECT 1 FROM not_granted.t",
        "USE not_granted",
        "SET sql_mode = 'nonsense'",
    ] {
        client.query(own).unwrap_err();
        assert_eq!(client.run(here).summary.rows, 1, "{own}");
    }
    client.run("COMMIT");
    replica.run("GRANT SELECT ON lacking.* TO lacks@'%'");
}

/// Whatever its values are on the replica.
#[test]
fn what_is_set_in_a_read_only_transaction_is_the_primarys() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE_AND_REPLICA);
    let (mut root, mut replica) = (servers().root(), servers().replica_root_who_writes());
    root.run("CREATE TABLE shop.tr_set (id INT) ENGINE=InnoDB");
    root.run("INSERT INTO shop.tr_set VALUES (1)");
    root.run("SET sql_log_bin = 0");
    for sql in [
        "REPLACE INTO mysql.time_zone_name VALUES ('Only/There', 7777)",
        "REPLACE INTO mysql.time_zone VALUES (7777, 'N')",
        "REPLACE INTO mysql.time_zone_transition_type VALUES (7777, 0, 3600, 0, 'OT')",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
    let read = "SELECT id FROM tr_set";
    let there = root.text("SELECT @@global.net_write_timeout");
    replica.run("SET GLOBAL net_write_timeout = 99");
    let mut client = proxy.app();
    for (first, set, variable, expected) in [
        ("SELECT 1", "SET net_write_timeout = DEFAULT", "net_write_timeout", &*there),
        (read, "SET @@net_write_timeout=@@global.net_write_timeout", "net_write_timeout", &there),
        ("SELECT 'x' + 0", "SET time_zone = 'Only/There'", "time_zone", "Only/There"),
        (read, "SET time_zone = 'Only/There'", "time_zone", "Only/There"),
    ] {
        client.run("SET net_write_timeout = 7, time_zone = '+00:00'");
        proxy.until_replica_answers(&mut client, read);
        client.run("START TRANSACTION READ ONLY");
        client.run(first);
        client.run(set);
        let list = client.rows("SHOW WARNINGS");
        assert!(list.iter().all(|row| row[0].as_deref() != Some("Error")), "{set}: {list:?}");
        assert_eq!(client.text(read), "1", "{set}");
        client.run("COMMIT");
        assert_eq!(client.text(&format!("SELECT @@{variable}")), expected, "{set}");
    }
    replica.run(&format!("SET GLOBAL net_write_timeout = {there}"));
}

/// The client would take it for open, or its next write would be one of its own.
#[test]
fn a_read_only_transaction_begins_where_the_schema_is_not_refused() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE_AND_REPLICA);
    let mut root = servers().root();
    root.run("CREATE TABLE shop.tr_denied (id INT) ENGINE=InnoDB");
    root.run("CREATE USER denied@'%' IDENTIFIED BY 'denied-secret'");
    root.run("GRANT SELECT, INSERT ON shop.* TO denied@'%'");
    servers().wait_replicated();
    let mut replica = servers().replica_root_who_writes();
    replica.run("REVOKE SELECT, INSERT ON shop.* FROM denied@'%'");
    let mut client = Raw::connect(proxy.port, "denied", "denied-secret", Some("shop")).unwrap();
    eventually("the replica was asked", || {
        let before = proxy.metric(REFUSED);
        client.run("START TRANSACTION READ ONLY");
        assert!(client.status().contains(Status::IN_TRANS));
        let denied = client.query("INSERT INTO tr_denied VALUES (1)").unwrap_err();
        assert_eq!(denied.code(), 1792);
        assert_eq!(client.text("SELECT COUNT(*) FROM tr_denied"), "0");
        client.run("COMMIT");
        proxy.metric(REFUSED) > before
    });
    // Nothing of it is left on the replica.
    let held = "fairlane_lane_slots_in_use{backend=\"replica1\"";
    eventually("no slot is held", || proxy.sum(held) == 0.0);
    replica.run("GRANT SELECT, INSERT ON shop.* TO denied@'%'");
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

#[test]
fn an_error_that_has_moved_a_transaction_is_shown_to_no_other_session() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let mut client = proxy.app();
    client.replace("CREATE OR REPLACE TABLE tr_shown (id INT) ENGINE=InnoDB");
    servers().wait_replicated();
    for bad in ["SELECT nothing_of_it", "SELECT * FROM tr_nowhere", "USE tr_nowhere"] {
        proxy.until_replica_answers(&mut client, "SELECT id FROM tr_shown");
        client.run("START TRANSACTION READ ONLY");
        let before = proxy.metric(REFUSED);
        client.query(bad).unwrap_err();
        assert_eq!(proxy.metric(REFUSED), before + 1.0, "{bad}");
        client.run("COMMIT");
        let held = "fairlane_lane_slots_in_use{";
        eventually("no slot is held", || proxy.sum(held) == 0.0);
        let mut other = proxy.app();
        other.run("START TRANSACTION READ ONLY");
        assert!(other.rows("SHOW WARNINGS").is_empty(), "{bad}");
        other.run("COMMIT");
    }
}

#[test]
fn a_transaction_that_the_primary_does_not_take_stays_on_the_replica() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let (mut root, mut other) = (servers().root(), proxy.app());
    other.replace("CREATE OR REPLACE TABLE shop.tr_stays (id INT) ENGINE=InnoDB");
    root.run("CREATE DATABASE test_stays");
    servers().wait_replicated();
    let mut client = Raw::connect(proxy.port, "app", "app-secret", Some("test_stays")).unwrap();
    let read = "SELECT COUNT(*) FROM shop.tr_stays";
    proxy.until_replica_answers(&mut client, read);
    client.run("START TRANSACTION READ ONLY");
    assert_eq!(client.text(read), "0");
    root.run("DROP DATABASE test_stays");
    // The primary's only connection is in another schema.
    other.run("INSERT INTO tr_stays VALUES (1)");
    for _ in 0..2 {
        assert_eq!(client.query("SAVEPOINT s").unwrap_err().code(), 1049);
        assert_eq!(client.text(read), "0", "what it has begun with");
        assert!(client.run(read).summary.status.contains(Status::IN_TRANS));
        other.run("INSERT INTO tr_stays VALUES (2)");
        assert!(other.rows("SHOW WARNINGS").is_empty());
    }
    client.run("COMMIT");
    client.run("USE shop");
    client.run("START TRANSACTION READ ONLY");
    client.run(read);
    client.run("SAVEPOINT s");
    assert_eq!(client.text(read), "3");
    client.run("COMMIT");
}
