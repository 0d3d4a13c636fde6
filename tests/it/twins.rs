//! Random sessions over few connections, each next to a twin that has the server to itself: state,
//! diagnostics and transactions of one must not be seen by another, nor get lost.

use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Twin, servers};

const SESSIONS: usize = 7;
/// Sessions that may hold a connection for good: variables, temporary tables, locks.
const PINNING: usize = 3;
/// Sessions that may be in a transaction at the same moment.
const IN_TRANSACTION: usize = 2;
/// One slot more than can be held.
const CONNECTIONS: usize = 1 + PINNING + IN_TRANSACTION + 1;
const STEPS: usize = 4000;

fn twin(proxy: &Proxy, index: usize) -> Twin {
    let mut twin = Twin::new(proxy, index);
    // Not later: a list of warnings is kept in the character set it had when they came.
    if fastrand::bool() {
        twin.both("SET NAMES latin1");
    }
    twin.both(
        "CREATE OR REPLACE TABLE tw_X (id INT AUTO_INCREMENT PRIMARY KEY, v INT UNIQUE, \
         s VARCHAR(5)) ENGINE=InnoDB",
    );
    // What FOUND_ROWS() is after CREATE OR REPLACE depends on what was replaced.
    twin.both("SELECT 1");
    twin
}

/// What any session may do at any moment.
fn plain(random: &mut fastrand::Rng) -> String {
    let n = random.u32(1..12);
    let pick =
        |random: &mut fastrand::Rng, all: &[&str]| all[random.usize(0..all.len())].to_owned();
    match random.u32(0..16) {
        0 => "SELECT CHARSET('a'), @@character_set_client".to_owned(),
        1 => pick(random, &["SET time_zone = '+05:30'", "SET time_zone = 'SYSTEM'"]),
        2 => pick(
            random,
            &[
                "SET sql_mode = ''",
                "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
                "SET sql_mode = 'STRICT_ALL_TABLES'",
                "SET sql_mode = DEFAULT",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET tx_isolation = 'REPEATABLE-READ'",
                "SET sql_select_limit = 2",
                "SET sql_select_limit = DEFAULT",
                "SET group_concat_max_len = 4",
            ],
        ),
        3 => "SELECT @@time_zone, @@sql_mode, @@collation_connection, @@character_set_results, \
              @@tx_isolation, @@sql_select_limit, @@group_concat_max_len, DATABASE()"
            .to_owned(),
        4 => pick(random, &["USE shop", "USE test_second", "USE test_second"]),
        5 => pick(
            random,
            &[
                "SELECT 'caf\u{e9}', HEX('\u{e9}'), CHARSET('a'), COLLATION('a')",
                "SELECT 'a\\\\b', LENGTH('\\\\')",
                "SELECT COUNT(\"v\") FROM shop.tw_X",
            ],
        ),
        6 => pick(
            random,
            &["SELECT 1/0", "SELECT CAST('x' AS INT), 1", "SELECT nothing_like_it", "SELEC 1"],
        ),
        7 => pick(
            random,
            &["SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SELECT @@warning_count"],
        ),
        8 => {
            pick(random, &["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT LAST_INSERT_ID()"])
        }
        9 => format!("INSERT INTO shop.tw_X (v, s) VALUES ({n}, 'abc')"),
        10 => "INSERT INTO shop.tw_X (v, s) VALUES (NULL, 'far too long')".to_owned(),
        11 => format!("UPDATE shop.tw_X SET s = 'u{n}' WHERE v = {n}"),
        12 => format!("DELETE FROM shop.tw_X WHERE v = {n}"),
        13 => "SELECT id, v, s FROM shop.tw_X ORDER BY id DESC LIMIT 5".to_owned(),
        14 => "SELECT GROUP_CONCAT(s ORDER BY id), COUNT(*) FROM shop.tw_X".to_owned(),
        _ => format!("SELECT {n}; SELECT ROW_COUNT(); UPDATE shop.tw_X SET s = 'm' WHERE v = {n}"),
    }
}

/// What holds a connection.
fn pinning(random: &mut fastrand::Rng) -> String {
    let n = random.u32(1..100);
    match random.u32(0..14) {
        0 => format!("SET @a = {n}"),
        1 => format!("SELECT @a := {n}, @b"),
        2 | 3 => "SELECT @a, @b".to_owned(),
        4 => format!("SELECT {n} INTO @b"),
        5 => "CREATE TEMPORARY TABLE shop.tmp (a INT)".to_owned(),
        6 => format!("INSERT INTO shop.tmp VALUES ({n})"),
        7 => "SELECT COUNT(*), MAX(a) FROM shop.tmp".to_owned(),
        8 => "DROP TEMPORARY TABLE shop.tmp".to_owned(),
        9 => "SELECT GET_LOCK('lock_X', 0)".to_owned(),
        10 => "SELECT IS_FREE_LOCK('lock_X'), RELEASE_LOCK('lock_X')".to_owned(),
        11 => "SELECT SQL_CALC_FOUND_ROWS id FROM shop.tw_X LIMIT 1".to_owned(),
        12 => "PREPARE s FROM 'SELECT ? + 1'".to_owned(),
        _ => "EXECUTE s USING @a".to_owned(),
    }
}

#[test]
fn no_session_can_tell_that_its_connection_is_shared() {
    // One after the other: both use the same tables.
    hunt(ONE_LANE);
    hunt(ONE_LANE_AND_REPLICA);
}

fn hunt(routing: &str) {
    servers().root().run("CREATE DATABASE IF NOT EXISTS test_second");
    let seed = std::env::var("FAIRLANE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (repeat with FAIRLANE_SEED)");
    let mut random = fastrand::Rng::with_seed(seed);
    let proxy = Proxy::with(servers(), CONNECTIONS, routing);
    let mut twins: Vec<Twin> = (0..SESSIONS).map(|index| twin(&proxy, index)).collect();
    for _ in 0..STEPS {
        let index = random.usize(0..SESSIONS);
        let open = twins[PINNING..].iter().filter(|twin| twin.in_transaction).count();
        let one = &mut twins[index];
        match random.u32(0..20) {
            0 | 1 if one.in_transaction => {
                one.both(["COMMIT", "ROLLBACK"][random.usize(0..2)]);
                one.in_transaction = false;
            }
            0 | 1 if index < PINNING || open < IN_TRANSACTION => {
                let begins = ["START TRANSACTION", "START TRANSACTION READ ONLY"];
                one.both(begins[random.usize(0..2)]);
                one.in_transaction = true;
            }
            2..=9 if index < PINNING => one.both(&pinning(&mut random)),
            10 if !one.in_transaction && random.u32(0..8) == 0 => *one = twin(&proxy, index),
            _ => one.both(&plain(&mut random)),
        }
    }
}
