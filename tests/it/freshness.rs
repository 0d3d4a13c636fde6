//! Reads see what was written, in the scope that is configured, while the replica lags.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fairlane::protocol::auth::NATIVE;
use fairlane::protocol::{Capabilities, Command};
use fairlane::sandbox::Options;

use crate::support::delay::delay_replication;
use crate::support::servers::keep;
use crate::support::{Login, Proxy, Raw, Servers, eventually, pause, product};

/// How far the replica lags.
const DELAY: Duration = Duration::from_millis(200);
/// Users that write and read at the same time, each for itself.
const USERS: usize = 20;
/// Longest pause between a write and its read; twice the delay.
const PAUSE_MS: u64 = 400;

/// A primary and a replica that lags.
fn delayed() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let (servers, _) = keep(Options { max_connections: 400, ..product().options() });
        let mut root = servers.root();
        for user in 0..USERS {
            for host in ["localhost", "127.0.0.1", "%"] {
                root.run(&format!("CREATE USER fresh{user}@'{host}' IDENTIFIED BY 'secret'"));
                root.run(&format!("GRANT ALL PRIVILEGES ON shop.* TO fresh{user}@'{host}'"));
            }
        }
        root.run("CREATE TABLE shop.fresh (id INT PRIMARY KEY, value INT)");
        let rows: Vec<String> = (0..USERS).map(|user| format!("({user}, 0)")).collect();
        root.run(&format!("INSERT INTO shop.fresh VALUES {}", rows.join(",")));
        delay_replication(&servers, DELAY);
        servers
    })
}

fn scope(name: &str) -> Proxy {
    waiting(name, 0)
}

/// With so many milliseconds of patience for the replica.
fn waiting(name: &str, wait: u32) -> Proxy {
    let keys = format!("consistency_scope = \"{name}\"\nfreshness_wait = \"{wait}ms\"");
    // Connections are of a user: with fewer, users would take them from each other all the time.
    Proxy::with(delayed(), 3 * USERS, &format!("[routing]\n{keys}"))
}

fn log_in(proxy: &Proxy, user: usize) -> Raw {
    let session = Raw::connect(proxy.port, &format!("fresh{user}"), "secret", Some("shop"));
    session.unwrap_or_else(|error| panic!("{error:?}\n{}", proxy.log()))
}

/// Pairs of a write and a read for each way; the full proof is `FAIRLANE_FRESHNESS_PAIRS=10000`.
fn pairs() -> usize {
    let pairs = std::env::var("FAIRLANE_FRESHNESS_PAIRS").ok();
    pairs.map_or(200, |pairs| pairs.parse().expect("FAIRLANE_FRESHNESS_PAIRS is a number"))
}

/// Which connections a pair uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One for all pairs.
    OneConnection,
    /// One for the writes, one for the reads.
    TwoConnections,
    /// A new one for each step, as PHP has it.
    NewConnections,
}

/// Writes and reads as all users at once; returns how many reads were stale, and the share of them
/// that the replica has answered.
fn stale_reads(proxy: &Proxy, way: Way) -> (usize, f64) {
    let replica = "fairlane_statements_routed_total{reason=\"plain_read\",target=\"replica\"}";
    let before = proxy.metric(replica);
    let stale: usize = std::thread::scope(|threads| {
        let run = |user| threads.spawn(move || stale_reads_of(proxy, way, user));
        let all: Vec<_> = (0..USERS).map(run).collect();
        all.into_iter().map(|user| user.join().unwrap()).sum()
    });
    let all = pairs().div_ceil(USERS) * USERS;
    let mut served = 0.0;
    eventually("the replica has served reads", || {
        served = proxy.metric(replica) - before;
        served > 0.0
    });
    let share = served / all as f64;
    let percent = 100.0 * share;
    println!("{way:?}: {stale} of {all} reads stale, {percent:.1} % served by the replica");
    (stale, share)
}

fn stale_reads_of(proxy: &Proxy, way: Way, user: usize) -> usize {
    let (mut writer, mut reader) = (log_in(proxy, user), log_in(proxy, user));
    let first: usize = writer
        .text(&format!("SELECT value FROM fresh WHERE id = {user} FOR UPDATE"))
        .parse()
        .unwrap();
    let mut stale = 0;
    for value in first + 1..=first + pairs().div_ceil(USERS) {
        if way == Way::NewConnections {
            writer = log_in(proxy, user);
        }
        writer.run(&format!("UPDATE fresh SET value = {value} WHERE id = {user}"));
        // Half of the reads come at once.
        pause(fastrand::u64(0..=2 * PAUSE_MS).saturating_sub(PAUSE_MS));
        let reader = match way {
            Way::OneConnection => &mut writer,
            Way::TwoConnections => &mut reader,
            Way::NewConnections => {
                reader = log_in(proxy, user);
                &mut reader
            }
        };
        let read = reader.text(&format!("SELECT value FROM fresh WHERE id = {user}"));
        stale += usize::from(read != value.to_string());
    }
    stale
}

#[test]
fn no_read_is_stale_in_its_scope_behind_a_replica_that_lags() {
    let proxy = scope("session");
    assert_eq!(stale_reads(&proxy, Way::OneConnection).0, 0);
    // What the test can see: without a scope that holds both connections, reads are stale.
    assert_ne!(stale_reads(&proxy, Way::TwoConnections).0, 0);
    let proxy = scope("user");
    assert_eq!(stale_reads(&proxy, Way::NewConnections).0, 0);
    assert_eq!(stale_reads(&proxy, Way::TwoConnections).0, 0);
    let (stale, share) = stale_reads(&waiting("user", 5000), Way::NewConnections);
    assert_eq!(stale, 0);
    assert!(share > 0.9, "with patience the replica answers: {share}");
}

#[test]
fn the_scope_says_whose_writes_count() {
    for (name, sees) in [("session", false), ("user", false), ("global", true)] {
        let proxy = scope(name);
        let mut root = Raw::connect(proxy.port, "app", "app-secret", Some("shop")).unwrap();
        root.run(&format!("CREATE TABLE scope_{name} (a INT)"));
        root.run(&format!("INSERT INTO scope_{name} VALUES (1)"));
        delayed().wait_replicated();
        let mut other = log_in(&proxy, 0);
        root.run(&format!("INSERT INTO scope_{name} VALUES (2)"));
        let count = other.text(&format!("SELECT COUNT(*) FROM scope_{name}"));
        assert_eq!(count == "2", sees, "{name}");
        let reason = "reason=\"others_not_fresh\",target=\"primary\"";
        let metric = format!("fairlane_statements_routed_total{{{reason}}}");
        if sees {
            eventually("it is counted", || proxy.metric(&metric) >= 1.0);
        }
    }
}

#[test]
fn a_write_of_unknown_position_counts_for_the_scope_and_not_for_ever() {
    let proxy = scope("user");
    let mut client = log_in(&proxy, 1);
    client.run("CREATE TABLE unknown_a (a INT PRIMARY KEY) ENGINE = MyISAM");
    delayed().wait_replicated();
    proxy.until_replica_answers(&mut client, "SELECT a FROM unknown_a");
    // It fails, and two rows stay; an ERR packet has no position.
    let failed = client.query("INSERT INTO unknown_a VALUES (1), (2), (1)");
    assert_eq!(failed.unwrap_err().code(), 1062);
    let mut other = log_in(&proxy, 1);
    let count = "SELECT COUNT(*) FROM unknown_a";
    assert_eq!(other.text(count), "2");
    proxy.until_replica_answers(&mut client, count);
    proxy.until_replica_answers(&mut other, count);
    assert_eq!((client.text(count), other.text(count)), ("2".to_owned(), "2".to_owned()));
}

/// MariaDB 11.8 told the insert id in the place of the position, from then on, if a connection had
/// that to tell first.
#[test]
fn a_write_is_told_after_an_insert_id_was_put_back() {
    let login = Login::new(delayed().primary, "root", "root-secret");
    let login = Login { more: login.more | Capabilities::SESSION_TRACK, ..login };
    let mut connection = Raw::login(&login).unwrap();
    delayed().root().run("CREATE TABLE shop.told_a (a INT PRIMARY KEY)");
    let mut answer = |sql: &str| {
        connection.send(Command::Query, sql.as_bytes());
        connection.packet().unwrap().1
    };
    answer(&fairlane::state::own_trackers(product().family()));
    answer("SET last_insert_id = 5");
    for a in 1..=3 {
        answer("BEGIN");
        answer(&format!("INSERT INTO shop.told_a VALUES ({a})"));
        let told = String::from_utf8_lossy(&answer("COMMIT")).into_owned();
        // MySQL's GTIDs have no name, but a colon behind the server's UUID.
        assert!(told.contains(if product().is_mysql() { ":" } else { "last_gtid" }), "{told:?}");
    }
}

#[test]
fn a_client_that_vanishes_has_written_all_the_same() {
    let proxy = scope("user");
    let mut client = log_in(&proxy, 2);
    client.run("CREATE TABLE vanished_a (a INT)");
    delayed().wait_replicated();
    client.send(Command::Query, b"INSERT INTO vanished_a SELECT SLEEP(0.3)");
    pause(100);
    client.hang_up();
    eventually("it was written", || {
        delayed().root().text("SELECT COUNT(*) FROM shop.vanished_a") == "1"
    });
    // In a moment Fairlane has read the end of the answer.
    pause(20);
    assert_eq!(log_in(&proxy, 2).text("SELECT COUNT(*) FROM vanished_a"), "1");
}

#[test]
fn rows_found_and_left_as_they_are_do_not_keep_reads_on_the_primary() {
    let proxy = scope("user");
    let login = Login::new(proxy.port, "fresh3", "secret");
    let more = login.more | Capabilities::FOUND_ROWS;
    let mut client = Raw::login(&Login { schema: Some("shop"), more, ..login }).unwrap();
    client.run("CREATE TABLE found_a (a INT)");
    client.run("INSERT INTO found_a VALUES (1)");
    let same = client.run("UPDATE found_a SET a = 1");
    assert_eq!(same.summary.affected, Some(1));
    proxy.until_replica_answers(&mut client, "SELECT a FROM found_a");
}

/// Where changes of rows are logged as rows, these are not.
#[test]
fn what_replicas_do_not_need_does_not_keep_reads_on_the_primary() {
    let proxy = scope("user");
    let mut client = log_in(&proxy, 8);
    client.run("CREATE TABLE needless_a (a INT PRIMARY KEY)");
    client.run("INSERT INTO needless_a VALUES (1), (2)");
    let read = "SELECT a FROM needless_a";
    let made = client.run("CREATE TEMPORARY TABLE needless_b AS SELECT a FROM needless_a");
    assert_eq!(made.summary.affected, Some(2));
    client.run("DROP TEMPORARY TABLE needless_b");
    proxy.until_replica_answers(&mut client, read);
    let same = client.run("REPLACE INTO needless_a VALUES (1)");
    assert_eq!(same.summary.affected, Some(1));
    proxy.until_replica_answers(&mut client, read);
}

#[test]
fn a_schema_that_is_not_in_the_binary_log_is_read_where_it_was_written() {
    let extra = vec!["binlog_ignore_db=test_left".to_owned()];
    let (servers, _orders) = keep(Options { max_connections: 100, extra, ..product().options() });
    let proxy = Proxy::start_without_waiting(&servers, 15, "");
    let mut primary = servers.root();
    primary.run("SET sql_log_bin = 0");
    for root in [&mut primary, &mut servers.replica_root_who_writes()] {
        root.run("CREATE DATABASE test_left");
        root.run("CREATE TABLE test_left.replaced_a (a INT PRIMARY KEY)");
    }
    eventually("the replica was looked at", || proxy.log().contains("is test_left at the primary"));
    eventually("Fairlane is ready", || proxy.get("/readyz").starts_with("HTTP/1.1 200"));
    let mut client = proxy.app();
    client.run("BEGIN");
    client.run("REPLACE INTO test_left.replaced_a VALUES (1)");
    client.run("COMMIT");
    let mut other = proxy.app();
    for _ in 0..20 {
        for session in [&mut client, &mut other] {
            assert_eq!(session.text("SELECT COUNT(*) FROM test_left.replaced_a"), "1");
        }
        pause(20);
    }
}

/// Clients without CLIENT_DEPRECATE_EOF are told no position at the end of rows.
#[test]
fn what_was_written_beside_rows_counts_without_a_position() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let (mut root, mut replica) = (servers.root(), servers.replica_root());
    root.run("SET GLOBAL log_bin_trust_function_creators = 1");
    root.run("CREATE TABLE shop.beside_a (a INT)");
    root.run("CREATE TABLE shop.beside_b (b INT)");
    root.run(
        "CREATE FUNCTION shop.beside_f() RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO shop.beside_a VALUES (1); RETURN 5; END",
    );
    root.run("CREATE VIEW shop.beside_v AS SELECT shop.beside_f() AS x");
    let proxy = Proxy::start(&servers);
    let login = Login::new(proxy.port, "app", "app-secret");
    let more = login.more - Capabilities::DEPRECATE_EOF;
    let log_in = || Raw::login(&Login { schema: Some("shop"), more, ..login.clone() }).unwrap();
    let mut reader = log_in();
    let insert = "INSERT INTO beside_a VALUES (1)";
    let (cursor, prepared) = ("SELECT beside_f()", "/* prepared */ SELECT x FROM beside_v");
    let mut cases = vec![
        vec!["SELECT x FROM beside_v"],
        vec!["SELECT x FROM beside_v FOR UPDATE"],
        vec!["PREPARE st FROM 'ANALYZE TABLE beside_b'", "BEGIN", insert, "EXECUTE st"],
        vec![cursor],
        vec![prepared],
    ];
    let mut count = "SELECT COUNT(*) FROM beside_a".to_owned();
    if !product().is_mysql() {
        root.run("CREATE SEQUENCE shop.beside_s");
        cases.push(vec!["SELECT NEXTVAL(beside_s)"]);
        count = "SELECT COUNT(*) + (SELECT next_not_cached_value FROM beside_s) FROM beside_a"
            .to_owned();
    }
    root.run("USE shop");
    for case in cases {
        servers.wait_replicated();
        proxy.until_replica_answers(&mut reader, &count);
        let mut writer = log_in();
        replica.run("FLUSH TABLES WITH READ LOCK");
        for sql in &case {
            if [cursor, prepared].contains(sql) {
                let told = writer.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
                let id = told.summary.prepared.unwrap().0.to_le_bytes();
                let body = [&id[..], &[u8::from(*sql == cursor), 1, 0, 0, 0]].concat();
                writer.command(Command::StmtExecute, &body).unwrap();
            } else {
                writer.run(sql);
            }
        }
        let there = root.text(&count);
        assert_eq!((reader.text(&count), writer.text(&count)), (there.clone(), there), "{case:?}");
        replica.run("UNLOCK TABLES");
    }
}

/// It says all the while that it is connected and not behind.
#[test]
fn a_replica_that_is_cut_off_from_its_primary_takes_no_reads() {
    let (mut servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    if product().is_mysql() {
        servers.replica_address = format!("127.0.0.1:{}", servers.replica);
    }
    let delay = delay_replication(&servers, Duration::ZERO);
    let mut root = servers.root();
    root.run("CREATE TABLE shop.cut_a (a INT)");
    let proxy = Proxy::with(&servers, 15, "[routing]\nmax_lag = \"1s\"");
    let mut reader = proxy.app();
    let count = "SELECT COUNT(*) FROM cut_a";
    proxy.until_replica_answers(&mut reader, count);
    delay.store(3_600_000, Ordering::Relaxed);
    root.run("INSERT INTO shop.cut_a VALUES (1)");
    let is_in = "fairlane_backend_in_rotation{backend=\"replica1\"}";
    eventually("the replica is out", || proxy.metric(is_in) == 0.0);
    assert_eq!(reader.text(count), "1");
    eventually("it is told why", || proxy.log().contains("is it cut off from its source?"));
}

#[test]
fn writes_of_sessions_that_began_with_gtids_count_without_them() {
    if !product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let (mut root, mut replica) = (servers.root(), servers.replica_root());
    let proxy = Proxy::start(&servers);
    let (mut writer, mut reader) = (proxy.app(), proxy.app());
    writer.run("CREATE TABLE numberless_a (a INT)");
    servers.wait_replicated();
    let end = root.rows("SHOW BINARY LOG STATUS").swap_remove(0);
    let [file, position] = [0, 1].map(|at| end[at].clone().unwrap());
    replica.run("STOP REPLICA");
    replica.run(&format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0, SOURCE_LOG_FILE = '{file}', \
         SOURCE_LOG_POS = {position}"
    ));
    replica.run("START REPLICA");
    for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE"] {
        root.run(&format!("SET GLOBAL gtid_mode = {mode}"));
        replica.run(&format!("SET GLOBAL gtid_mode = {mode}"));
    }
    eventually("that is seen", || proxy.log().contains("not gtid_mode = ON"));
    let count = "SELECT COUNT(*) FROM numberless_a";
    proxy.until_replica_answers(&mut reader, count);
    replica.run("FLUSH TABLES WITH READ LOCK");
    writer.run("BEGIN");
    writer.run("INSERT INTO numberless_a VALUES (1)");
    writer.run("COMMIT");
    let mut stays = || {
        assert_eq!((reader.text(count), writer.text(count)), ("1".to_owned(), "1".to_owned()));
    };
    stays();
    // What was written before has no number all the same.
    root.run("SET GLOBAL gtid_mode = ON_PERMISSIVE");
    for _ in 0..25 {
        stays();
        pause(100);
    }
}

/// MariaDB's numbers come again: without `gtid_strict_mode` as somebody likes, and after RESET MASTER all of them.
#[test]
fn a_number_that_was_there_before_does_not_say_that_a_replica_has_it() {
    if product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let (mut root, mut replica) = (servers.root(), servers.replica_root());
    root.run("SET GLOBAL gtid_strict_mode = 0");
    replica.run("SET GLOBAL gtid_strict_mode = 0");
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    client.run("CREATE TABLE again_a (a INT)");
    let count = "SELECT COUNT(*) FROM shop.again_a";
    let stays = |reader: &mut Raw, rows: &str| {
        for _ in 0..25 {
            assert_eq!(reader.text(count), rows);
            pause(100);
        }
    };
    proxy.until_replica_answers(&mut client, count);
    replica.run("FLUSH TABLES WITH READ LOCK");
    client.run("INSERT INTO again_a VALUES (1)");
    root.run("SET gtid_seq_no = 5");
    root.run("CREATE TABLE shop.again_b (b INT)");
    stays(&mut client, "1");
    let log_in = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let (mut writer, mut reader) = (log_in(), log_in());
    writer.run("SET SESSION gtid_seq_no = 6");
    writer.run("INSERT INTO again_a VALUES (2)");
    stays(&mut reader, "2");
    replica.run("UNLOCK TABLES");
    client.run("INSERT INTO again_a VALUES (3)");
    proxy.until_replica_answers(&mut client, count);
    proxy.until_replica_answers(&mut reader, count);
    // Readings end while it runs.
    replica.run("FLUSH TABLES WITH READ LOCK");
    writer.run("SET SESSION gtid_seq_no = 7");
    writer.run("INSERT INTO again_a SELECT 3 FROM (SELECT SLEEP(2)) late");
    stays(&mut reader, "4");
    replica.run("UNLOCK TABLES");
    client.run("INSERT INTO again_a VALUES (3)");
    proxy.until_replica_answers(&mut client, count);

    // Not so many writes that the log is as long again as it was: there the replica would go on reading.
    root.run("RESET MASTER");
    for rows in 6..14 {
        client.run("INSERT INTO again_a VALUES (4)");
        assert_eq!(client.text(count), rows.to_string());
    }
    let is_in = "fairlane_backend_in_rotation{backend=\"replica1\"}";
    eventually("the replica is out", || proxy.metric(is_in) == 0.0);
    stays(&mut client, "13");
}

#[test]
fn a_domain_that_the_primary_has_forgotten_is_not_waited_for() {
    if product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let (mut root, mut replica) = (servers.root(), servers.replica_root());
    root.run("CREATE TABLE shop.forgotten_a (a INT PRIMARY KEY)");
    root.run("SET gtid_domain_id = 7");
    root.run("INSERT INTO shop.forgotten_a VALUES (1)");
    root.run("SET gtid_domain_id = 0");
    servers.wait_replicated();
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    // An error has no room for a position: that of the primary counts.
    let mut write_and_read = || {
        let failed = client.query("INSERT INTO forgotten_a VALUES (1)");
        assert_eq!(failed.unwrap_err().code(), 1062);
        proxy.until_replica_answers(&mut client, "SELECT COUNT(*) FROM forgotten_a");
    };
    write_and_read();
    // Only once no log is left that has it.
    eventually("the domain is forgotten", || {
        root.run("FLUSH BINARY LOGS");
        let logs = root.rows("SHOW BINARY LOGS");
        let last = logs.last().and_then(|row| row[0].clone()).unwrap();
        root.run(&format!("PURGE BINARY LOGS TO '{last}'"));
        root.query("FLUSH BINARY LOGS DELETE_DOMAIN_ID = (7)").is_ok()
    });
    replica.run("STOP SLAVE");
    replica.run(
        "SET GLOBAL gtid_slave_pos = REGEXP_REPLACE(@@global.gtid_slave_pos, ',?7-[^,]+', '')",
    );
    replica.run("START SLAVE");
    write_and_read();
    root.run("DELETE FROM shop.forgotten_a");
    root.run("INSERT INTO shop.forgotten_a VALUES (1)");
    write_and_read();
    let is_reset = || proxy.log().contains("as after RESET MASTER");
    assert!(!is_reset(), "{}", proxy.log());
    // The log does not become shorter.
    root.run("RESET MASTER TO 1000");
    eventually("the primary is met anew", is_reset);
}

/// A replica that has the old transactions takes the new ones of the same numbers for them.
#[test]
fn a_replica_takes_no_reads_after_mysql_has_given_its_numbers_anew() {
    if !product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let (mut root, mut replica) = (servers.root(), servers.replica_root());
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    for table in ["anew_a", "anew_b", "anew_c", "anew_d", "anew_e", "anew_f", "anew_g"] {
        client.run(&format!("CREATE TABLE {table} (a INT)"));
    }
    let count = "SELECT COUNT(*) FROM shop.anew_a";
    proxy.until_replica_answers(&mut client, count);
    root.run("RESET BINARY LOGS AND GTIDS");
    let is_in = "fairlane_backend_in_rotation{backend=\"replica1\"}";
    for rows in 1..4 {
        client.run("INSERT INTO shop.anew_a VALUES (1)");
        for _ in 0..6 {
            assert_eq!(client.text(count), rows.to_string());
            pause(50);
        }
        eventually("the replica is out", || proxy.metric(is_in) == 0.0);
    }
    // One that knows nothing of it.
    let next = Proxy::start_without_waiting(&servers, 15, "");
    let told = "it has transactions that the primary has not";
    eventually("it is told why", || next.log().contains(told));
    let mut client = next.app();
    client.run("INSERT INTO shop.anew_a VALUES (1)");
    assert_eq!((client.text(count), next.metric(is_in)), ("4".to_owned(), 0.0));

    for sql in ["STOP REPLICA", "RESET REPLICA", "RESET BINARY LOGS AND GTIDS", "START REPLICA"] {
        replica.run(sql);
    }
    next.until_replica_answers(&mut client, count);
    assert_eq!(client.text(count), "4");
}

#[test]
fn what_is_not_in_the_binary_log_is_read_where_it_was_written() {
    let proxy = scope("user");
    let mut root = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    root.run("CREATE TABLE unlogged_a (a INT)");
    root.run("SET sql_log_bin = 0");
    root.run("INSERT INTO unlogged_a VALUES (1)");
    // Long enough for the replica to have what it will ever have.
    delayed().wait_replicated();
    pause(3 * 200);
    for _ in 0..5 {
        assert_eq!(root.text("SELECT COUNT(*) FROM unlogged_a"), "1");
    }
    // The same in one text, which turns it on again.
    let mut root = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    root.run("SET sql_log_bin = 0; INSERT INTO unlogged_a VALUES (2); SET sql_log_bin = 1");
    delayed().wait_replicated();
    pause(3 * 200);
    for _ in 0..5 {
        assert_eq!(root.text("SELECT COUNT(*) FROM unlogged_a"), "2");
    }
}

/// In a routine, which may turn it on again, and for other sessions of the user as well.
#[test]
fn what_a_routine_leaves_out_of_the_binary_log_is_read_where_it_was_written() {
    let log_in = |proxy: &Proxy| Raw::connect(proxy.port, "root", "root-secret", Some("shop"));
    let first = scope("user");
    let mut root = log_in(&first).unwrap();
    root.run("CREATE TABLE unlogged_b (a INT)");
    let write = "SET @@sql_log_bin = 0; INSERT INTO unlogged_b VALUES (1); SET @@sql_log_bin = 1;";
    root.run(&format!("CREATE PROCEDURE unlogged_p() BEGIN {write} END"));
    let mut ways = vec!["CALL unlogged_p()".to_owned(), write.to_owned()];
    if !product().is_mysql() {
        ways.push(format!("BEGIN NOT ATOMIC {write} END"));
    }
    let count = "SELECT COUNT(*) FROM unlogged_b";
    for (written, way) in (1..).zip(&ways) {
        let proxy = scope("user");
        let (mut one, mut other) = (log_in(&proxy).unwrap(), log_in(&proxy).unwrap());
        proxy.until_replica_answers(&mut one, count);
        one.run(way);
        delayed().wait_replicated();
        pause(3 * 200);
        for _ in 0..5 {
            let seen = [one.text(count), other.text(count)];
            assert_eq!(seen, [written.to_string(), written.to_string()], "{way}");
        }
        drop((one, other));
        eventually("replicas are of use again", || {
            log_in(&proxy).is_ok_and(|mut next| next.text(count) != written.to_string())
        });
    }
}

#[test]
fn a_session_that_was_reset_sees_what_it_wrote_before() {
    let proxy = scope("user");
    let mut client = log_in(&proxy, 4);
    client.run("CREATE TABLE changed_a (a INT)");
    delayed().wait_replicated();
    client.run("INSERT INTO changed_a VALUES (1)");
    client.run("/* the last one */ INSERT INTO changed_a VALUES (2)");
    client.command(Command::ResetConnection, b"").unwrap();
    assert_eq!(client.text("SELECT COUNT(*) FROM shop.changed_a"), "2");
}

#[test]
fn a_read_only_transaction_sees_what_was_written_before_its_first_read_and_keeps_to_that() {
    let proxy = scope("user");
    let (mut writer, mut reader) = (log_in(&proxy, 5), log_in(&proxy, 5));
    writer.run("CREATE TABLE snapshot_a (a INT)");
    delayed().wait_replicated();
    let count = "SELECT COUNT(*) FROM snapshot_a";
    proxy.until_replica_answers(&mut reader, count);
    reader.run("START TRANSACTION READ ONLY");
    writer.run("INSERT INTO snapshot_a VALUES (1)");
    assert_eq!(reader.text(count), "1", "not what the replica had at the beginning");
    writer.run("INSERT INTO snapshot_a VALUES (2)");
    assert_eq!(reader.text(count), "1", "the snapshot of the first read");
    reader.run("COMMIT");
    assert_eq!(reader.text(count), "2");
    delayed().wait_replicated();
    proxy.until_replica_answers(&mut reader, count);
    reader.run("START TRANSACTION READ ONLY");
    assert_eq!(reader.text(count), "2");
    writer.run("INSERT INTO snapshot_a VALUES (3)");
    assert_eq!(reader.text(count), "2", "the snapshot, also on the replica");
    reader.run("COMMIT");
    assert_eq!(reader.text(count), "3");
}

/// What has not looked at rows has taken no snapshot.
#[test]
fn a_read_only_transaction_that_has_seen_no_rows_sees_what_was_written_since_it_began() {
    let proxy = scope("user");
    let (mut writer, mut reader) = (log_in(&proxy, 11), log_in(&proxy, 11));
    writer.run("CREATE TABLE snapshot_b (a INT)");
    let count = "SELECT COUNT(*) FROM snapshot_b";
    let prepare = "prepare";
    let begun =
        "fairlane_statements_routed_total{reason=\"transaction_control\",target=\"replica\"}";
    for (written, first) in (1..).zip([
        "SELECT 1",
        "SELECT NOW() < 0",
        "SELECT nothing_like_it FROM snapshot_b",
        "EXPLAIN SELECT a FROM snapshot_b",
        "SELECT a FROM snapshot_b WHERE 1=0",
        "SELECT a FROM snapshot_b LIMIT 0",
        // On MySQL a SHOW looks at rows: of the dictionary.
        if product().is_mysql() { "SELECT 2" } else { "SHOW COLUMNS FROM snapshot_b" },
        "WITH c AS (SELECT 1 AS a) SELECT a FROM c",
        "SELECT EXTRACT(YEAR FROM CURRENT_DATE)",
        "SELECT a FROM snapshot_b WHERE 'a' = 'b'",
        "SELECT EXISTS (SELECT a FROM snapshot_b WHERE 1=0)",
        prepare,
    ]) {
        delayed().wait_replicated();
        proxy.until_replica_answers(&mut reader, count);
        let before = proxy.sum(begun);
        reader.run("START TRANSACTION READ ONLY");
        match first == prepare {
            true => drop(reader.command(Command::StmtPrepare, count.as_bytes()).unwrap()),
            false => drop(reader.query(first)),
        }
        assert!(proxy.sum(begun) > before, "{first}: it is on the replica");
        writer.run("INSERT INTO snapshot_b VALUES (1)");
        assert_eq!(reader.text(count), written.to_string(), "{first}");
        reader.run("COMMIT");
    }
}

/// A snapshot has neither the dictionary in it nor what tables are like.
#[test]
fn a_snapshot_on_a_replica_has_no_tables_from_before_a_change_of_theirs() {
    let proxy = scope("user");
    let (mut writer, mut reader) = (log_in(&proxy, 12), log_in(&proxy, 12));
    let mut direct = Raw::connect(delayed().primary, "fresh12", "secret", Some("shop")).unwrap();
    writer.run("CREATE TABLE snapshot_c (a INT)");
    let count = "SELECT COUNT(*) FROM snapshot_c";
    for (number, change, read) in [
        (0, "INSERT INTO snapshot_c VALUES (5)", count),
        (1, "ALTER TABLE snapshot_d1 ADD b INT", "SHOW COLUMNS FROM snapshot_d1"),
        (2, "CREATE TABLE snapshot_e (a INT)", "SHOW TABLES LIKE 'snapshot_e'"),
        (3, "ALTER TABLE snapshot_d3 ADD b INT, ALGORITHM=COPY", "SELECT * FROM snapshot_d3"),
        (4, "TRUNCATE snapshot_d4", "SELECT * FROM snapshot_d4"),
        (5, "DROP TABLE snapshot_d5", "SELECT * FROM snapshot_d5"),
    ] {
        writer.run(&format!("CREATE TABLE snapshot_d{number} (a INT)"));
        writer.run(&format!("INSERT INTO snapshot_d{number} VALUES (1)"));
        delayed().wait_replicated();
        proxy.until_replica_answers(&mut reader, count);
        for session in [&mut reader, &mut direct] {
            session.run("START TRANSACTION READ ONLY");
            session.run(count);
        }
        writer.run(change);
        let [seen, there] = [&mut reader, &mut direct].map(|session| {
            session.query(read).map(|answer| answer.summary.rows).map_err(|error| error.code())
        });
        assert_eq!(seen, there, "{change}");
        let kept = [&mut reader, &mut direct].map(|session| session.text(count));
        assert_eq!(kept[0], kept[1], "{change}: it keeps its snapshot");
        for session in [&mut reader, &mut direct] {
            session.run("ROLLBACK");
        }
    }
}

#[test]
fn a_session_that_changes_its_user_sees_what_it_wrote_as_another_one() {
    let proxy = scope("user");
    let mut client = log_in(&proxy, 6);
    client.run("CREATE TABLE changed_b (a INT)");
    delayed().wait_replicated();
    client.run("INSERT INTO changed_b VALUES (1)");
    // An empty reply: servers ask for one to a new nonce, whatever is sent.
    let plugin = if product().is_mysql() { "caching_sha2_password" } else { NATIVE };
    let body = [b"fresh7\0\0shop\0\x2d\0", plugin.as_bytes(), b"\0\0"].concat();
    client.send(Command::ChangeUser, &body);
    client.prove("secret").unwrap();
    assert!(client.text("SELECT CURRENT_USER()").starts_with("fresh7@"));
    assert_eq!(client.text("SELECT COUNT(*) FROM changed_b"), "1");
    // And so does, from then on, whoever comes as that user.
    assert_eq!(log_in(&proxy, 7).text("SELECT COUNT(*) FROM changed_b"), "1");
}

/// Rows that no rollback takes back have a position, also where the rollback is for others.
#[test]
fn what_outlives_a_rollback_for_others_is_read_by_its_session() {
    if product().is_mysql() {
        // It lets nobody change both kinds of tables in a transaction that has a GTID.
        return;
    }
    let lanes = "[lanes]\nlock_guard = \"abort\"\nlock_wait = \"20ms\"\nlock_abort_after = \"100ms\"\n\
                 [[rule]]\nlane = \"batch\"\nprogram_name = \"scraper\"\n\
                 [routing]\nconsistency_scope = \"session\"\n";
    let proxy = Proxy::with(delayed(), 20, lanes);
    let login = Login::new(proxy.port, "root", "root-secret");
    let mut batch =
        Raw::login(&Login { schema: Some("shop"), program: "scraper", ..login }).unwrap();
    batch.run("CREATE TABLE outlived_a (a INT) ENGINE = MyISAM");
    batch.run("CREATE TABLE outlived_b (b INT PRIMARY KEY)");
    batch.run("INSERT INTO outlived_b VALUES (1)");
    delayed().wait_replicated();
    let count = "SELECT COUNT(*) FROM outlived_a";
    proxy.until_replica_answers(&mut batch, count);
    // So that both are written to the log together.
    batch.run("SET binlog_format = 'STATEMENT'");
    batch.run("BEGIN");
    batch.run("UPDATE outlived_b SET b = 2");
    batch.run("INSERT INTO outlived_a VALUES (1)");
    let before = batch.text("SELECT @@last_gtid");
    let mut other = log_in(&proxy, 9);
    other.run("UPDATE outlived_b SET b = 3");
    batch.run("ROLLBACK");
    assert_eq!(batch.text(count), "1");
    assert_ne!(batch.text("SELECT @@last_gtid"), before);
}

/// The error tells no position, and others need not wait for what comes after it.
#[test]
fn what_a_failed_statement_leaves_in_a_transaction_is_read_by_its_user() {
    let proxy = scope("user");
    let mut client = log_in(&proxy, 10);
    client.run("CREATE TABLE left_a (a INT PRIMARY KEY) ENGINE = MyISAM");
    client.run("CREATE TABLE left_b (b INT PRIMARY KEY)");
    let duplicate = ["INSERT INTO left_a VALUES (7), (7)", "INSERT INTO left_a VALUES (8), (7)"];
    let mut cases = vec![
        ("left_a", vec!["BEGIN", duplicate[0], "COMMIT"]),
        ("left_a", vec!["BEGIN", duplicate[1], "ROLLBACK"]),
        ("left_a", vec!["BEGIN", "INSERT INTO left_a VALUES (9), (7)"]),
        ("left_b", vec!["BEGIN", "INSERT INTO left_b VALUES (1)", "DROP TABLE left_nowhere"]),
    ];
    // For which it has no right.
    let refused = match product().is_mysql() {
        true => ["CLONE LOCAL DATA DIRECTORY = '/nowhere'", "RESTART"],
        false => ["BACKUP UNLOCK", "BACKUP STAGE START"],
    };
    for (insert, refused) in
        ["INSERT INTO left_b VALUES (2)", "INSERT INTO left_b VALUES (3)"].into_iter().zip(refused)
    {
        cases.push(("left_b", vec!["BEGIN", insert, refused]));
    }
    let mut other = log_in(&proxy, 10);
    for (table, statements) in cases {
        let count = format!("SELECT COUNT(*) FROM {table}");
        delayed().wait_replicated();
        proxy.until_replica_answers(&mut client, &count);
        let before: u32 = client.text(&count).parse().unwrap();
        for sql in &statements {
            let _ = client.query(sql);
        }
        for (session, whose) in [(&mut other, "another session"), (&mut client, "its session")] {
            assert_eq!(session.text(&count), (before + 1).to_string(), "{statements:?}, {whose}");
        }
        client.run("ROLLBACK");
    }
}
