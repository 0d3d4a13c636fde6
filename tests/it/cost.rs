//! What carrying sessions from connection to connection costs: round trips to the server, and
//! statements there.

use crate::support::hop::Hop;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, pause, servers};

const TIMES: u64 = 20;

/// Each SET asks the server.
fn one_slot(hop: &Hop) -> Proxy {
    let config = format!("{ONE_LANE}\n[pool]\nassignment_age = \"0s\"\n");
    Proxy::behind(hop.port, servers(), 2, &config)
}

fn table(client: &mut Raw, name: &str) {
    client.replace(&format!(
        "CREATE OR REPLACE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(9)) \
         ENGINE=InnoDB"
    ));
}

/// Round trips and commands of pooled connections.
fn count(hop: &Hop, work: impl FnOnce()) -> (u64, u64) {
    let (trips, commands) = (hop.trips(), hop.commands());
    work();
    // What Fairlane asks when the client has its answer is over when the next statement is.
    (hop.trips() - trips, hop.commands() - commands)
}

#[test]
fn a_statement_is_one_statement_and_one_round_trip() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = one_slot(&hop);
    let mut client = proxy.app();
    table(&mut client, "co_a");
    for sql in [
        "SELECT id FROM co_a WHERE id = 1",
        "INSERT INTO co_a (v) VALUES (1)",
        "INSERT INTO co_a (v, s) VALUES (2, 'two'), (3, 'three')",
        "UPDATE co_a SET v = v + 1 WHERE id = 1",
        "DELETE FROM co_a WHERE id = 5",
        "SELECT LAST_INSERT_ID()",
        "SET NAMES latin1",
        "set names 'utf8mb4' collate 'utf8mb4_unicode_ci'",
        "SET time_zone = '+01:00'",
        "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET autocommit = 0",
        "INSERT INTO co_a (v) VALUES (1)",
        "COMMIT",
        "SET autocommit = 1",
        "USE shop",
    ] {
        client.run(sql);
        client.run("SELECT 1");
        let (trips, asked) = count(&hop, || {
            (0..TIMES).for_each(|_| drop(client.run(sql)));
            client.run("SELECT 1");
        });
        assert_eq!((trips, asked), (TIMES + 1, TIMES + 1), "{sql}");
    }
    let (trips, asked) = count(&hop, || {
        for _ in 0..TIMES {
            for sql in ["BEGIN", "INSERT INTO co_a (v) VALUES (1)", "SELECT 1", "COMMIT"] {
                client.run(sql);
            }
            for sql in ["BEGIN", "COMMIT", "START TRANSACTION", "ROLLBACK"] {
                client.run(sql);
            }
        }
    });
    assert_eq!((trips, asked), (4 * TIMES, 4 * TIMES), "BEGIN comes with what is first");
    for first in ["SELECT v FROM co_a WHERE id = 1", "SELECT v FROM co_a WHERE id = 1 FOR UPDATE"] {
        let (trips, asked) = count(&hop, || {
            for _ in 0..TIMES {
                for sql in ["BEGIN", first, "UPDATE co_a SET v = 3 WHERE id = 1", "COMMIT"] {
                    client.run(sql);
                }
            }
        });
        assert_eq!((trips, asked), (3 * TIMES, 4 * TIMES), "in one write with {first}");
    }
}

#[test]
fn two_sessions_in_turn_cost_no_more_round_trips() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = one_slot(&hop);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    table(&mut one, "co_b");
    one.run("SET time_zone = '+05:00', sql_mode = 'ANSI_QUOTES'");
    other.run("SET NAMES latin1");
    one.run("INSERT INTO co_b (v) VALUES (1)");
    for (sql, apart) in [
        ("SELECT \"id\" FROM co_b WHERE id = 1", 0),
        ("SET time_zone = '+05:00'", 0),
        // Its query goes along.
        ("BEGIN", 0),
        ("SELECT LAST_INSERT_ID()", 0),
        ("UPDATE co_b SET v = v + 1 WHERE \"id\" = 1", 0),
        ("INSERT INTO co_b (v) VALUES (1)", 0),
        ("/* a */ DELETE FROM co_b WHERE id > 5", 0),
        // What may do something that no refusal stops waits until the server has said that mode and
        // schema are right.
        ("ALTER TABLE co_b COMMENT 'x'", TIMES),
    ] {
        let mut pair = || {
            one.run(sql);
            if sql == "BEGIN" {
                one.run("SELECT v FROM co_b");
                one.run("COMMIT");
            }
            other.run("SELECT 1");
        };
        pair();
        let statements = if sql == "BEGIN" { 4 } else { 2 };
        let least = if sql == "BEGIN" { 3 } else { 2 };
        let (trips, asked) = count(&hop, || (0..TIMES).for_each(|_| pair()));
        assert_eq!(trips, TIMES * least + apart, "{sql}");
        // Each brings its state along, a fuse, and the question for the other's insert id.
        let most = TIMES * (statements + 4);
        assert!((TIMES * statements..=most).contains(&asked), "{sql}: {asked}");
    }
}

#[test]
fn a_call_costs_one_question_until_its_text_is_known_to_take_no_lock() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = one_slot(&hop);
    let mut client = proxy.app();
    table(&mut client, "co_e");
    for (name, body, questions) in [
        ("co_plain", "BEGIN UPDATE co_e SET v = 1; END", 0),
        ("co_doubtful", "BEGIN UPDATE co_e SET v = 1; /* no lock */ END", TIMES),
    ] {
        client.run(&format!("DROP PROCEDURE IF EXISTS {name}"));
        client.run(&format!("CREATE PROCEDURE {name}() {body}"));
        let call = format!("CALL {name}()");
        for sql in [&*call, "SELECT 1"] {
            client.run(sql);
        }
        let (trips, _) = count(&hop, || {
            (0..TIMES).for_each(|_| drop(client.run(&call)));
            client.run("SELECT 1");
        });
        // A text that was seen ten seconds ago is asked for once more.
        let least = TIMES + 1 + questions;
        assert!((least..=least + 2).contains(&trips), "{body}: {trips}");
    }
}

#[test]
fn a_php_request_costs_what_it_says() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 2, ONE_LANE);
    table(&mut proxy.app(), "co_c");
    let request = || {
        let mut client = proxy.app();
        client.run("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'");
        client.run("SET SESSION sql_mode = 'STRICT_ALL_TABLES'");
        client.run("INSERT INTO co_c (v) VALUES (1)");
        client.run("SELECT v FROM co_c WHERE id = 1");
        client.run("UPDATE co_c SET v = 2 WHERE id = 1");
    };
    request();
    let (trips, asked) = count(&hop, || (0..TIMES).for_each(|_| request()));
    // A request that begins before Fairlane has seen the end of the last one asks for its insert id.
    assert!((3 * TIMES..=4 * TIMES).contains(&trips), "{trips}: what is set is known");
    // One for what LAST_INSERT_ID() is before the INSERT, one for the state after another's request.
    assert!((3 * TIMES..=5 * TIMES).contains(&asked), "{asked}");
}

#[test]
fn the_time_a_session_is_bound_is_counted_by_what_binds_it() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let bound = |by| proxy.metric(&format!("fairlane_sessions_bound_seconds_total{{by=\"{by}\"}}"));
    let mut client = proxy.app();
    client.run("CREATE TEMPORARY TABLE co_d (a INT)");
    // Fairlane's time begins when it is back from having sent the answer, on a busy machine later.
    pause(400);
    client.run("BEGIN");
    eventually("the pin's time is counted", || bound("pin") >= 0.3);
    pause(300);
    client.run("COMMIT");
    eventually("the transaction's time is counted", || bound("transaction") >= 0.2);
    assert!(bound("pin") < 3.0 && bound("transaction") < 3.0);
}
