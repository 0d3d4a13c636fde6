//! What was committed, or written for good, by a statement whose answer tells no position: nobody of the scope misses it.

use std::sync::OnceLock;

use fairlane::protocol::Capabilities;
use fairlane::sandbox::Options;
use parking_lot::{Mutex, MutexGuard};

use crate::support::servers::keep;
use crate::support::{Login, Proxy, Raw, Servers, product};

/// A primary and a replica that one test at a time keeps from what it is to have.
fn pair() -> (&'static Servers, MutexGuard<'static, ()>) {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    static IN_USE: Mutex<()> = Mutex::new(());
    let in_use = IN_USE.lock();
    let servers = SERVERS.get_or_init(|| {
        let (mut servers, _) = keep(Options { max_connections: 200, ..product().options() });
        if product().is_mysql() {
            servers.replica_address = format!("127.0.0.1:{}", servers.replica);
        }
        servers.root().run("SET GLOBAL log_bin_trust_function_creators = 1");
        servers
    });
    (servers, in_use)
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
