//! What carrying a session's state costs: round trips to the server, and statements there.

use crate::support::hop::Hop;
use crate::support::{ONE_LANE, Proxy, Raw, servers};

const TIMES: u64 = 20;

#[test]
fn explore() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 2, ONE_LANE);
    let mut a = proxy.app();
    a.replace("CREATE OR REPLACE TABLE co_t (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(5)) ENGINE=InnoDB");
    let mut root = servers().root();
    let mut b = proxy.app();
    for sql in [
        "SELECT 1",
        "SELECT id FROM co_t WHERE id = 1",
        "INSERT INTO co_t (v) VALUES (1)",
        "UPDATE co_t SET v = v + 1 WHERE id = 1",
        "DELETE FROM co_t WHERE id = 5",
        "BEGIN",
        "COMMIT",
        "INSERT INTO co_t (v,s) VALUES (1, 'x')",
        "SELECT LAST_INSERT_ID()",
        "SET NAMES utf8mb4",
        "SET NAMES latin1",
        "set names 'utf8mb4' collate 'utf8mb4_unicode_ci'",
        "SET time_zone = '+01:00'",
        "SET SESSION sql_mode = 'ANSI_QUOTES'",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET autocommit = 0",
        "SELECT id FROM co_t WHERE id = 1",
        "COMMIT",
        "SET autocommit = 1",
        "USE shop",
        "SELECT SQL_CALC_FOUND_ROWS id FROM co_t LIMIT 2",
        "SELECT FOUND_ROWS()",
        "SELECT nothing_like_it",
        "SELECT 1/0",
        "SHOW WARNINGS",
        "SHOW TABLES",
        "SHOW VARIABLES LIKE 'sql_mode'",
        "SELECT @@version",
        "SELECT @@session.sql_mode",
    ] {
        let questions = |root: &mut Raw| root.rows("SHOW GLOBAL STATUS LIKE 'Questions'")[0][1].clone().unwrap().parse::<i64>().unwrap();
        let (trips, asked) = (hop.trips(), questions(&mut root));
        for _ in 0..TIMES {
            let _ = a.query(sql);
        }
        let (t1, q1) = (hop.trips(), questions(&mut root));
        for _ in 0..TIMES {
            let _ = a.query(sql);
            let _ = b.query("SELECT 1");
        }
        let (t2, q2) = (hop.trips(), questions(&mut root));
        println!("{:60} trips {:5.2} questions {:5.2}   in turn: trips {:5.2} questions {:5.2}", sql,
            (t1 - trips) as f64 / TIMES as f64, (q1 - asked - 1) as f64 / TIMES as f64,
            (t2 - t1) as f64 / TIMES as f64, (q2 - q1 - 1) as f64 / TIMES as f64);
    }
}
