//! LAST_INSERT_ID() over shared connections: random sessions, each next to a twin that talks to the
//! server directly. Every packet has to be the same.

use fairlane::protocol::{Capabilities, Command};

use crate::support::hop::Hop;
use crate::support::product::product;
use crate::support::raw::Login;
use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, Twin, pause, servers};

const SESSIONS: usize = 8;
/// Sessions that may hold a connection for good, by an expression that sets the insert id.
const PINNING: usize = 2;
/// Sessions that may be in a transaction at the same moment.
const IN_TRANSACTION: usize = 2;
/// One slot more than can be held.
const CONNECTIONS: usize = 1 + PINNING + IN_TRANSACTION + 1;
const STEPS: usize = 3000;

/// A new session with an empty table.
fn twin(proxy: &Proxy, index: usize) -> Twin {
    let mut twin = Twin::new(proxy, index);
    twin.both(
        "CREATE OR REPLACE TABLE ids_X (id BIGINT AUTO_INCREMENT PRIMARY KEY, v BIGINT, w BIGINT, \
         UNIQUE (v)) ENGINE=InnoDB",
    );
    // Reads the insert id unseen.
    twin.both(
        "CREATE TRIGGER ids_trigger_X BEFORE INSERT ON ids_X FOR EACH ROW \
         SET NEW.w = LAST_INSERT_ID()",
    );
    twin
}

fn step(random: &mut fastrand::Rng) -> String {
    let known = random.u32(1..30);
    match random.u32(0..18) {
        0..=2 => "INSERT INTO ids_X (v) VALUES (NULL)".to_owned(),
        3 => "INSERT INTO ids_X (v) VALUES (NULL), (NULL), (NULL)".to_owned(),
        4 => format!("INSERT INTO ids_X (id, v) VALUES ({known}, NULL)"),
        5 => format!("INSERT INTO ids_X (v) VALUES (NULL), ({known}), ({known})"),
        6 => format!("INSERT INTO ids_X (v) VALUES ({known}) ON DUPLICATE KEY UPDATE v = v"),
        7 => format!("INSERT IGNORE INTO ids_X (v) VALUES ({known}), ({known})"),
        8 => format!("REPLACE INTO ids_X (v) VALUES ({known})"),
        9 => "INSERT INTO ids_X (v) VALUES (NULL) RETURNING id".to_owned(),
        10 => "INSERT INTO ids_X (v) VALUES (1000000 + LAST_INSERT_ID())".to_owned(),
        11 if known.is_multiple_of(2) => format!("SET identity = {known}"),
        11 => format!("SET last_insert_id = {known}"),
        12 => "SELECT @@last_insert_id, @@identity".to_owned(),
        13 => "SELECT COUNT(*), MAX(id), MAX(v), SUM(w) FROM ids_X".to_owned(),
        15 => format!("UPDATE ids_X SET v = NULL WHERE id = {known} + LAST_INSERT_ID(0)"),
        16 => format!("UPDATE ids_X SET v = LAST_INSERT_ID(2000000 + id) WHERE id = {known}"),
        14 => format!("DELETE FROM ids_X WHERE id = {known}"),
        _ => "SELECT LAST_INSERT_ID()".to_owned(),
    }
}

#[test]
fn every_session_has_its_own_insert_id_whoever_used_its_connection() {
    // One after the other: both use the same tables.
    hunt(ONE_LANE);
    hunt(ONE_LANE_AND_REPLICA);
}

/// What INSERT left on a connection is read when it is needed elsewhere.
#[test]
fn an_insert_id_is_found_wherever_it_was_left() {
    let eventual = "[[lane]]\nname = \"interactive\"\n[routing]\nconsistency = \"eventual\"\n";
    for (slots, more) in [(1, ONE_LANE), (2, ONE_LANE), (3, ONE_LANE), (2, eventual)] {
        let proxy = Proxy::with(servers(), 1 + slots, more);
        let mut one = proxy.app();
        one.replace("CREATE OR REPLACE TABLE ids_left (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
        let mut others: Vec<_> = (0..slots).map(|_| proxy.app()).collect();
        one.run("INSERT INTO ids_left (id, v) VALUES (40, 1)");
        assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "0", "it was given");
        one.run("INSERT INTO ids_left (v) VALUES (1), (1), (1)");
        let others_write = |others: &mut Vec<Raw>| {
            for other in others.iter_mut().skip(1) {
                other.hold();
            }
            others[0].run("INSERT INTO ids_left (v) VALUES (2)");
            others.iter_mut().skip(1).for_each(|other| drop(other.run("ROLLBACK")));
        };
        others_write(&mut others);
        assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "41", "{slots} slots");
        one.run("INSERT INTO ids_left (id, v) VALUES (100, 1)");
        others_write(&mut others);
        one.run("INSERT INTO ids_left (id, v) VALUES (200, LAST_INSERT_ID())");
        assert_eq!(one.text("SELECT v FROM ids_left WHERE id = 200 FOR UPDATE"), "41");
        one.run("BEGIN");
        one.run("INSERT INTO ids_left (v) VALUES (5)");
        one.run("COMMIT");
        others_write(&mut others);
        assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "201");
        // Of two slots this session's is idle, but not the one it gets.
        one.run("INSERT INTO ids_left (v) VALUES (6)");
        one.run("CREATE TEMPORARY TABLE ids_mine (a INT)");
        assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "203");
        one.run("DROP TEMPORARY TABLE ids_mine");
        assert_eq!(one.text("SELECT @@identity"), "203");
    }
}

/// Told by the server or not (MariaDB 11.8 tells another variable in the place of it), an id that is
/// set is the session's own, and binds nobody: all share one connection.
#[test]
fn an_insert_id_that_is_set_stays_with_its_session_and_binds_it_to_nothing() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    for (set, id) in [
        ("SET last_insert_id = 5", "5"),
        ("SET SESSION identity = 6", "6"),
        ("SET @@session.last_insert_id = 7", "7"),
        ("SET @@last_insert_id = 8", "8"),
        ("SET sql_mode = '', last_insert_id = 9", "9"),
        ("SET @@identity = 10, time_zone = '+01:00'", "10"),
        ("SET identity = 11, last_insert_id = 12", "12"),
        ("SET last_insert_id = 0", "0"),
    ] {
        one.run(set);
        other.run("SET last_insert_id = 99");
        // Takes the connection with an id of its own.
        other.run("DO 1");
        assert_eq!(one.text("SELECT LAST_INSERT_ID()"), id, "{set}");
        assert_eq!(other.text("SELECT LAST_INSERT_ID()"), "99", "{set}");
        proxy.until_replica_answers(&mut one, "SELECT 1 FROM (SELECT 1) t");
    }
}

/// The connection with the only word of an id is gone: what its OK packet said has to do.
#[test]
fn an_insert_id_outlives_its_connection() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    servers().root().run("CREATE DATABASE IF NOT EXISTS test_ids_gone");
    let mut one = proxy.app();
    one.run("USE test_ids_gone");
    one.replace("CREATE OR REPLACE TABLE ids_gone (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
    one.run("INSERT INTO ids_gone (v) VALUES (1), (1)");
    one.run("INSERT INTO ids_gone (v) VALUES (1)");
    let mut root = servers().root();
    for row in root.rows("SELECT id FROM information_schema.processlist WHERE db = 'test_ids_gone'")
    {
        let _ = root.query(&format!("KILL {}", row[0].as_ref().unwrap()));
    }
    assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "3");
}

/// A plain read is not given the session's id, which it does not read; but it may bind the session to the
/// connection, with the id of whoever used that before.
#[test]
fn an_insert_id_comes_along_to_a_connection_to_which_a_view_has_bound_its_session() {
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP FUNCTION IF EXISTS ids_count",
        "CREATE FUNCTION ids_count() RETURNS INT NO SQL \
         BEGIN SET @ids = IFNULL(@ids, 0) + 1; SET time_zone = '+03:00'; RETURN @ids; END",
        "CREATE OR REPLACE VIEW ids_view AS SELECT ids_count() AS n",
    ] {
        root.run(sql);
    }
    let plain = Login { schema: Some("shop"), ..Login::new(0, "app", "app-secret") };
    let classic = Login { more: plain.more - Capabilities::DEPRECATE_EOF, ..plain.clone() };
    // MySQL tells classic clients too late what a view has done.
    let logins = [plain, classic];
    for login in logins.iter().take(if product().is_mysql() { 1 } else { 2 }) {
        for lanes in [ONE_LANE, ONE_LANE_AND_REPLICA] {
            let proxy = Proxy::with(servers(), 3, lanes);
            let login = Login { port: proxy.port, ..login.clone() };
            let mut other = Raw::login(&login).unwrap();
            other.replace(
                "CREATE OR REPLACE TABLE ids_bound (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
            );
            for knows in [true, false] {
                other.run("SET last_insert_id = 99");
                other.run("DO 1");
                bind_by_view(&login, &mut other, knows, lanes == ONE_LANE);
            }
        }
    }
}

/// A session that `knows` its id or has it unread, on one connection after `other`'s.
fn bind_by_view(login: &Login<'_>, other: &mut Raw, knows: bool, on_primary: bool) {
    let mut one = Raw::login(login).unwrap();
    one.run("INSERT INTO ids_bound (v) VALUES (1)");
    let own = knows.then(|| one.text("SELECT LAST_INSERT_ID()"));
    other.run("SET last_insert_id = 99");
    other.run("DO 1");
    assert_eq!(one.text("SELECT n, 1 DIV 0 FROM ids_view"), "1");
    assert_eq!(one.run("SHOW WARNINGS").summary.rows, 1);
    if on_primary {
        assert_eq!(one.text("SELECT ROW_COUNT()"), "-1");
        assert_eq!(one.text("SELECT FOUND_ROWS()"), "1");
    }
    assert_eq!(one.text("SELECT @@time_zone"), "+03:00");
    one.run(if knows { "SELECT 1" } else { "DO 0" });
    let id = one.text("SELECT LAST_INSERT_ID()");
    assert!(own.is_none_or(|own| own == id) && id != "99" && id != "0", "{id}");
    one.run("INSERT INTO ids_bound (v) VALUES (2)");
    let next: u64 = one.text("SELECT LAST_INSERT_ID()").parse().unwrap();
    assert_eq!(next, id.parse::<u64>().unwrap() + 1);
    // On a replica the session was bound to that until it wrote.
    assert!(!on_primary || one.text("SELECT n FROM ids_view") == "2");
}

/// Preparing runs nothing: what is unread on another connection stays the session's.
#[test]
fn an_insert_id_outlives_the_preparing_of_a_statement_elsewhere() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE ids_prepared (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
    one.run("INSERT INTO ids_prepared (v) VALUES (1)");
    other.hold();
    for sql in ["INSERT INTO ids_prepared (v) VALUES (?)", "INSERT INTO ids_nowhere VALUES (?)"] {
        one.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    }
    other.run("ROLLBACK");
    assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "1");
}

/// Whoever is about to use the connection asks for the id; it is told also when he goes away.
#[test]
fn an_insert_id_is_told_by_whoever_goes_away() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 2, ONE_LANE);
    let mut one = proxy.app();
    one.replace("CREATE OR REPLACE TABLE ids_asked (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
    let mut other = proxy.app();
    one.run("INSERT INTO ids_asked (v) VALUES (1)");
    one.run("INSERT INTO ids_asked (id, v) VALUES (100, 1)");
    hop.hold_answers(true);
    other.send(Command::Query, b"SELECT 1");
    pause(300);
    other.hang_up();
    pause(300);
    hop.hold_answers(false);
    assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "1");
    let mut third = proxy.app();
    assert_eq!(third.text("SELECT 1"), "1", "neither slot nor connection is lost");
}

fn hunt(routing: &str) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let proxy = Proxy::with(servers(), CONNECTIONS, routing);
    let mut twins: Vec<Twin> = (0..SESSIONS).map(|index| twin(&proxy, index)).collect();
    for _ in 0..STEPS {
        let index = random.usize(0..SESSIONS);
        let open = twins.iter().filter(|twin| twin.in_transaction).count();
        let one = &mut twins[index];
        match random.u32(0..20) {
            0 | 1 if one.in_transaction => {
                one.both(if random.bool() { "COMMIT" } else { "ROLLBACK" });
                one.in_transaction = false;
            }
            0 | 1 if open < IN_TRANSACTION && index >= PINNING => {
                one.both("START TRANSACTION");
                one.in_transaction = true;
            }
            2 if index < PINNING => {
                let id = random.u32(1..500);
                one.both(&format!("SELECT LAST_INSERT_ID({id})"));
            }
            3 if !one.in_transaction && random.u32(0..4) == 0 => *one = twin(&proxy, index),
            4 | 5 => one.both_prepared(&step(&mut random)),
            _ => one.both(&step(&mut random)),
        }
        if random.bool() {
            twins[index].both("SELECT LAST_INSERT_ID()");
        }
    }
}
