//! What was committed, or written for good, by a statement whose answer tells no position: nobody of the scope misses it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlane::protocol::{Capabilities, Command, Shape};
use fairlane::sandbox::Options;
use parking_lot::{Mutex, MutexGuard};

use crate::support::hop::Hop;
use crate::support::servers::keep;
use crate::support::{Login, Proxy, Raw, Servers, eventually, pause, product};

/// A primary and a replica that one test at a time keeps from what it is to have.
fn pair() -> (&'static Servers, MutexGuard<'static, ()>) {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    static IN_USE: Mutex<()> = Mutex::new(());
    let in_use = IN_USE.lock();
    let options = || Options { max_connections: 200, ..product().options() };
    (SERVERS.get_or_init(|| keep(options()).0), in_use)
}

fn log_in(proxy: &Proxy, less: Capabilities) -> Raw {
    let login = Login::new(proxy.port, "app", "app-secret");
    Raw::login(&Login { schema: Some("shop"), more: login.more - less, ..login }).unwrap()
}

/// What `writer` does while the replica stands still; only the last of it commits anything. Then nobody may read
/// something else than the primary has.
fn assert_seen(proxy: &Proxy, servers: &Servers, read: &str, writer: &mut Raw, does: &[&str]) {
    let (mut root, mut replica) = (servers.root(), servers.replica_root());
    root.run("USE shop");
    servers.wait_replicated();
    let mut other = proxy.app();
    proxy.until_replica_answers(&mut other, read);
    let before = root.text(read);
    replica.run("FLUSH TABLES WITH READ LOCK");
    for (index, sql) in does.iter().enumerate() {
        if index + 1 == does.len() {
            proxy.until_replica_answers(&mut other, read);
        }
        // Some are to fail.
        let _ = writer.query(sql);
    }
    let there = root.text(read);
    assert_ne!(there, before, "{does:?} writes");
    assert_eq!(other.text(read), there, "another session after {does:?}");
    assert_eq!(writer.text(read), there, "the same session after {does:?}");
    replica.run("UNLOCK TABLES");
}

#[test]
fn what_a_denied_statement_has_committed_counts() {
    let (servers, _in_use) = pair();
    let proxy = Proxy::start(servers);
    let mut root = servers.root();
    root.run("CREATE TABLE shop.denied_a (a INT)");
    let fails = "INSERT INTO shop.denied_a VALUES (1); SIGNAL SQLSTATE '45000'";
    root.run(&format!("CREATE PROCEDURE shop.denied_p() BEGIN {fails}; END"));
    root.run(&format!("CREATE PROCEDURE shop.denied_q() BEGIN START TRANSACTION; {fails}; END"));
    let read = "SELECT COUNT(*) FROM denied_a";
    let denied = "CREATE TABLE mysql.denied_b (a INT)";
    for less in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
        let mut writer = log_in(&proxy, less);
        assert_seen(&proxy, servers, read, &mut writer, &["CALL denied_q()", denied]);
        writer.run("SET autocommit = 0");
        assert_seen(&proxy, servers, read, &mut writer, &["CALL denied_p()", denied]);
    }
}

#[test]
fn what_is_committed_under_the_clients_own_trackers_counts() {
    let (servers, _in_use) = pair();
    let proxy = Proxy::start(servers);
    let mut root = servers.root();
    root.run("CREATE TABLE shop.tracked_a (a INT)");
    root.run("CREATE TABLE shop.tracked_b (a INT)");
    let read =
        "SELECT CONCAT((SELECT COUNT(*) FROM tracked_a), '/', (SELECT COUNT(*) FROM tracked_b))";
    let set = "SET session_track_schema = 1";
    let begin: [&str; 2] = ["SET autocommit = 0", "INSERT INTO tracked_a VALUES (1)"];
    let ends = [
        format!("{set}, autocommit = 1"),
        "SET autocommit = 1, session_track_schema = 1".to_owned(),
        "SET @@session.session_track_state_change = 1, @@autocommit = 1".to_owned(),
        format!("{set}; COMMIT"),
        format!("COMMIT; {set}"),
    ];
    let alone = [
        format!("{set}; INSERT INTO tracked_b VALUES (1)"),
        format!("{set}; TRUNCATE tracked_b"),
        format!("{set}; BEGIN; INSERT INTO tracked_a VALUES (1); COMMIT"),
    ];
    let mut cases: Vec<Vec<&str>> =
        ends.iter().map(|end| [&begin[..], &[end.as_str()]].concat()).collect();
    cases.extend(alone.iter().map(|text| vec![text.as_str()]));
    for less in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
        for case in &cases {
            assert_seen(&proxy, servers, read, &mut log_in(&proxy, less), case);
        }
    }
}

#[test]
fn what_a_read_has_written_before_it_failed_counts() {
    let (servers, _in_use) = pair();
    let proxy = Proxy::start(servers);
    let mut root = servers.root();
    root.run("CREATE TABLE shop.half_a (a INT) ENGINE = MyISAM");
    root.run("CREATE TABLE shop.half_b (b INT)");
    root.run("INSERT INTO shop.half_b VALUES (1)");
    root.run(
        "CREATE FUNCTION shop.half_f() RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO shop.half_a VALUES (1); SIGNAL SQLSTATE '45000'; RETURN 1; END",
    );
    root.run("CREATE VIEW shop.half_v AS SELECT shop.half_f() AS x FROM shop.half_b");
    // What its handler tells is the same whatever fails.
    root.run(
        "CREATE FUNCTION shop.half_g() RETURNS INT MODIFIES SQL DATA \
         BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN SIGNAL SQLSTATE '45000'; END; \
         INSERT INTO shop.half_a VALUES (1); SIGNAL SQLSTATE '45001'; RETURN 1; END",
    );
    root.run("CREATE VIEW shop.half_w AS SELECT shop.half_g() AS x FROM shop.half_b");
    let read = "SELECT COUNT(*) FROM half_a";
    let fails = "SELECT x FROM half_v";
    let alike = "SELECT x FROM half_w";
    let hinted = "/* fairlane: route=primary */ SELECT x FROM half_v";
    for less in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
        // One that a replica refuses, and those that it is not asked.
        for case in [&[fails][..], &[alike], &[hinted], &["BEGIN", fails]] {
            let mut writer = log_in(&proxy, less);
            proxy.until_replica_answers(&mut writer, read);
            assert_seen(&proxy, servers, read, &mut writer, case);
        }
    }
}

#[test]
fn a_read_that_fails_alike_on_both_servers_keeps_no_reads_on_the_primary() {
    let (servers, _in_use) = pair();
    let proxy = Proxy::start(servers);
    servers.root().run("CREATE TABLE shop.alike_a (a INT)");
    let (read, routed) = ("SELECT COUNT(*) FROM alike_a", "target=\"primary\"");
    let mut client = proxy.app();
    servers.wait_replicated();
    proxy.until_replica_answers(&mut client, read);
    let on_primary = || {
        let metrics = proxy.get("/metrics");
        let of_reads = |line: &&str| {
            line.starts_with("fairlane_statements_routed_total{")
                && line.contains(routed)
                && line.contains("fresh")
        };
        metrics.lines().filter(of_reads).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = on_primary();
    for _ in 0..20 {
        assert_eq!(client.query("SELECT missing FROM alike_a").unwrap_err().code(), 1054);
        client.run(read);
    }
    assert_eq!(on_primary(), before);
}

/// A function that a view calls writes, and commits with the read.
#[test]
fn what_a_read_has_written_stays_seen_while_its_answer_is_on_its_way() {
    static IS_HELD: AtomicBool = AtomicBool::new(false);
    let (servers, _in_use) = pair();
    let mut root = servers.root();
    root.run("CREATE TABLE shop.window_a (a INT)");
    root.run("CREATE TABLE shop.window_b (b INT)");
    root.run("INSERT INTO shop.window_b VALUES (1)");
    root.run(
        "CREATE FUNCTION shop.window_f() RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO shop.window_a VALUES (1); RETURN 1; END",
    );
    root.run("CREATE VIEW shop.window_v AS SELECT shop.window_f() AS x FROM shop.window_b");
    let read = "SELECT COUNT(*) FROM window_a";
    let hint = "/* fairlane: route=primary */";
    let cases = [
        "SELECT x FROM window_v".to_owned(),
        "SELECT x FROM window_v FOR UPDATE".to_owned(),
        format!("{hint} SELECT x FROM window_v"),
    ];
    let mut missed = Vec::new();
    for (before, case) in cases.iter().enumerate() {
        let hop = Hop::before(servers.primary, "app");
        let proxy = Proxy::behind(hop.port, servers, 15, "");
        let (mut writer, mut other) = (proxy.app(), proxy.app());
        // So that it has a connection.
        writer.run(&format!("{hint} SELECT 1 FROM window_b"));
        servers.wait_replicated();
        proxy.until_replica_answers(&mut other, read);
        let mut replica = servers.replica_root();
        replica.run("FLUSH TABLES WITH READ LOCK");
        IS_HELD.store(true, Ordering::Release);
        hop.spoil_answer_to(b"window_v", |_| {
            while IS_HELD.load(Ordering::Acquire) {
                pause(1);
            }
        });
        writer.send(Command::Query, case.as_bytes());
        let there = (before + 1).to_string();
        eventually("it has committed", || {
            hop.has_spoilt() && root.text("SELECT COUNT(*) FROM shop.window_a") == there
        });
        assert_eq!(other.text(&format!("{hint} {read}")), there);
        if other.text(read) != there {
            missed.push(case);
        }
        IS_HELD.store(false, Ordering::Release);
        writer.answer(Shape::Results).unwrap();
        replica.run("UNLOCK TABLES");
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Beside a procedure, whatever has left a change nothing to do counts for the whole scope.
#[test]
fn a_change_that_finds_nothing_to_do_counts_however_it_begins() {
    let (servers, _in_use) = pair();
    let proxy = Proxy::start(servers);
    let mut root = servers.root();
    root.run("CREATE TABLE shop.idle_a (a INT PRIMARY KEY, state VARCHAR(10), n INT)");
    root.run("INSERT INTO shop.idle_a VALUES (1, 'new', 0)");
    root.run(
        "CREATE PROCEDURE shop.idle_a() BEGIN UPDATE shop.idle_a SET state = 'running'; \
         DO GET_LOCK('idle_a', 30); DO RELEASE_LOCK('idle_a'); END",
    );
    let zero = "UPDATE shop.idle_a SET n = 1 WHERE state = 'new'";
    root.run(&format!("CREATE PROCEDURE shop.idle_b() BEGIN {zero}; END"));
    let mut cases = vec!["CALL idle_b()".to_owned(), format!("DO 0; {zero}")];
    // With a client for which rows count that are as they are to be.
    let same = "UPDATE shop.idle_a SET state = 'running'";
    cases.push(same.to_owned());
    match product().is_mysql() {
        true => cases.push(format!(
            "WITH x AS (SELECT 1 AS b) {}",
            zero.replace("SET", "JOIN x ON x.b = a SET")
        )),
        false => cases.push(format!("SET STATEMENT max_statement_time = 9 FOR {zero}")),
    }
    let read = "SELECT state FROM idle_a";
    let login = Login::new(proxy.port, "app", "app-secret");
    let more = login.more | Capabilities::FOUND_ROWS;
    let mut client = Raw::login(&Login { schema: Some("shop"), more, ..login }).unwrap();
    let mut other = proxy.app();
    let mut missed = Vec::new();
    for case in cases {
        root.run("UPDATE shop.idle_a SET state = 'new'");
        root.run("SELECT GET_LOCK('idle_a', 5)");
        servers.wait_replicated();
        proxy.until_replica_answers(&mut other, read);
        let mut replica = servers.replica_root();
        replica.run("FLUSH TABLES WITH READ LOCK");
        let mut writer = proxy.app();
        writer.send(Command::Query, b"CALL idle_a()");
        eventually("its first step is done", || {
            root.text("SELECT state FROM shop.idle_a") == "running"
        });
        client.run(&case);
        if other.text(read) != "running" {
            missed.push(case);
        }
        replica.run("UNLOCK TABLES");
        root.run("DO RELEASE_LOCK('idle_a')");
        writer.answer(Shape::Results).unwrap();
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
