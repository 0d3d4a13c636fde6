//! KILL QUERY of a statement that no server runs yet: a client that cancels does so when it has to wait.

use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fairlane::protocol::status::Status;
use fairlane::protocol::{Command, Shape};
use fairlane::sandbox::Options;

use crate::support::delay::delay_replication;
use crate::support::raw::Login;
use crate::support::servers::keep;
use crate::support::{
    Failed, ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, pause, product, servers,
};

/// A table of the test's own, without rows.
fn table(name: &str) {
    servers().root().replace(&format!("CREATE OR REPLACE TABLE shop.{name} (id INT)"));
    servers().wait_replicated();
}

fn rows(table: &str) -> String {
    let mut root = servers().root();
    root.text(&format!("SELECT COALESCE(GROUP_CONCAT(id ORDER BY id), '') FROM shop.{table}"))
}

/// Runs `sql` beside; the client is back with the answer.
fn beside(mut client: Raw, sql: &'static str) -> JoinHandle<(Raw, Result<(), Failed>)> {
    thread::spawn(move || {
        let answer = client.query(sql).map(drop);
        (client, answer)
    })
}

fn waiters(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_lane_waiters{")
}

fn slots(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_lane_slots_in_use{")
}

#[track_caller]
fn assert_interrupted(answer: Result<(), Failed>) {
    let is_it = matches!(&answer, Err(Failed::Server { code: 1317, sqlstate, message })
        if sqlstate == "70100" && message == "Query execution was interrupted");
    assert!(is_it, "{answer:?}");
}

/// All slots are held, and a statement waits for one when it is stopped.
#[test]
fn what_waits_for_a_slot_never_runs_once_it_is_stopped() {
    table("cancelled");
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut holder, mut killer, client) = (proxy.app(), proxy.app(), proxy.app());
    let id = client.greeting.thread_id;
    holder.hold();
    let waiting = beside(client, "INSERT INTO cancelled VALUES (1)");
    eventually("it waits", || waiters(&proxy) == 1.0);
    killer.run(&format!("KILL QUERY {id}"));
    let (mut client, answer) = waiting.join().unwrap();
    assert_interrupted(answer);
    assert_eq!((waiters(&proxy), slots(&proxy)), (0.0, 1.0));
    // Nothing is left of it, nor of one that comes when nothing runs.
    killer.run(&format!("KILL QUERY {id}"));
    let waiting = thread::spawn(move || {
        client.run("INSERT INTO cancelled VALUES (2)");
        client
    });
    eventually("it waits", || waiters(&proxy) == 1.0);
    holder.run("COMMIT");
    let mut client = waiting.join().unwrap();
    assert_eq!(rows("cancelled"), "2");

    // A prepared statement, and one that waits to be prepared.
    holder.hold();
    for (command, body) in [
        (Command::StmtPrepare, &b"INSERT INTO cancelled VALUES (3)"[..]),
        (Command::InitDb, b"information_schema"),
    ] {
        let waiting = thread::spawn(move || {
            let answer = client.command(command, body).unwrap();
            (client, answer.error().map_or(Ok(()), Err))
        });
        eventually("it waits", || waiters(&proxy) == 1.0);
        killer.run(&format!("KILL QUERY {id}"));
        let (back, answer) = waiting.join().unwrap();
        client = back;
        assert_interrupted(answer);
    }
    holder.run("COMMIT");
    let shown = client.rows("SHOW WARNINGS");
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0][1].as_deref(), Some("1317"));
    assert_eq!(client.text("SELECT DATABASE()"), "shop");
    assert_eq!(rows("cancelled"), "2");
}

#[test]
fn a_transaction_stays_open_when_its_first_statement_is_stopped() {
    table("stays_open");
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut holder, mut killer, mut client) = (proxy.app(), proxy.app(), proxy.app());
    let id = client.greeting.thread_id;
    client.run("BEGIN");
    holder.hold();
    let waiting = beside(client, "INSERT INTO stays_open VALUES (1)");
    eventually("it waits", || waiters(&proxy) == 1.0);
    killer.run(&format!("KILL QUERY {id}"));
    let (mut client, answer) = waiting.join().unwrap();
    assert_interrupted(answer);
    holder.run("COMMIT");
    let inserted = client.run("INSERT INTO stays_open VALUES (2)");
    assert!(inserted.summary.status.contains(Status::IN_TRANS));
    client.run("ROLLBACK");
    assert_eq!(rows("stays_open"), "");
}

/// The same of one that is on a replica, and was about to leave it.
#[test]
fn a_transaction_stays_where_it_is_when_its_move_is_stopped() {
    table("unmoved");
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let client = proxy.holder_on_replica("SELECT COUNT(*) FROM unmoved");
    let id = client.greeting.thread_id;
    let (mut holder, mut killer) = (proxy.app(), proxy.app());
    holder.hold();
    let waiting = beside(client, "SAVEPOINT moves");
    eventually("it waits", || waiters(&proxy) == 1.0);
    killer.run(&format!("KILL QUERY {id}"));
    let (mut client, answer) = waiting.join().unwrap();
    assert_interrupted(answer);
    let in_use = "fairlane_lane_slots_in_use{backend=\"replica1\"";
    assert_eq!((proxy.sum(in_use), waiters(&proxy)), (1.0, 0.0));
    let read = client.run("SELECT COUNT(*) FROM unmoved");
    assert!(read.summary.status.contains(Status::IN_TRANS));
    holder.run("COMMIT");
    client.run("SAVEPOINT moves");
    eventually("it has moved", || proxy.sum(in_use) == 0.0);
}

/// Whoever may not stop it has to have no effect on it; whoever may, and is another user, stops it.
#[test]
fn what_waits_is_stopped_by_those_who_may() {
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER stops_none@'%' IDENTIFIED BY 'secret'");
    root.run("GRANT SELECT ON shop.* TO stops_none@'%'");
    table("guarded");
    let lanes = "[[lane]]\nname = \"interactive\"\n[[lane]]\nname = \"batch\"\nmax = 1\n\
        [[rule]]\nlane = \"batch\"\nuser = \"app\"\n[routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 6, lanes);
    let log_in = |user, password| Raw::connect(proxy.port, user, password, None).unwrap();
    let (mut holder, client) = (proxy.app(), proxy.app());
    let kill = format!("KILL QUERY {}", client.greeting.thread_id);
    holder.hold();
    let waiting = beside(client, "INSERT INTO guarded VALUES (1)");
    eventually("it waits", || waiters(&proxy) == 1.0);
    assert_eq!(log_in("stops_none", "secret").query(&kill).unwrap_err().code(), 1095);
    assert_eq!(waiters(&proxy), 1.0);
    log_in("root", "root-secret").run(&kill);
    let (client, answer) = waiting.join().unwrap();
    assert_interrupted(answer);
    let waiting = beside(client, "INSERT INTO guarded VALUES (2)");
    eventually("it waits", || waiters(&proxy) == 1.0);
    assert_eq!(log_in("stops_none", "secret").query(&kill).unwrap_err().code(), 1095);
    holder.run("COMMIT");
    waiting.join().unwrap().1.unwrap();
    assert_eq!(rows("guarded"), "2");
    root.run("DROP USER stops_none@'%'");
}

/// A slot comes free just when the statement is stopped: it has run, or it has not, as it says.
#[test]
fn what_is_stopped_as_its_slot_comes_has_run_only_if_it_says_so() {
    table("close_call");
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut holder, mut killer, mut client) = (proxy.app(), proxy.app(), proxy.app());
    let kill = format!("KILL QUERY {}", client.greeting.thread_id);
    let mut have_run = Vec::new();
    for round in 0..60 {
        holder.hold();
        let waiting = thread::spawn(move || {
            let answer = client.query(&format!("INSERT INTO close_call VALUES ({round})"));
            (client, answer.map(drop))
        });
        eventually("it waits", || waiters(&proxy) == 1.0);
        thread::scope(|scope| {
            scope.spawn(|| killer.run(&kill));
            thread::sleep(Duration::from_micros(fastrand::u64(0..400)));
            holder.run("COMMIT");
        });
        let (back, answer) = waiting.join().unwrap();
        client = back;
        match answer {
            Ok(()) => have_run.push(round.to_string()),
            Err(_) => assert_interrupted(answer),
        }
        // The KILL is answered: it meets nothing that comes now.
        assert_eq!(client.text("SELECT SLEEP(0.001)"), "0", "round {round}");
    }
    assert_eq!(rows("close_call").split(',').collect::<Vec<_>>().len(), have_run.len().max(1));
    eventually("the slot is free", || slots(&proxy) == 0.0);
}

/// A read that waits for its replica.
#[test]
fn a_read_is_stopped_while_it_waits_for_its_own_write() {
    let options = Options { max_connections: 100, ..product().options() };
    let (servers, _orders) = keep(options);
    servers.root().run("CREATE TABLE shop.waited_for (id INT)");
    let delay = delay_replication(&servers, Duration::ZERO);
    let proxy = Proxy::with(&servers, 6, "[routing]\nfreshness_wait = \"20s\"");
    let (mut client, mut killer) = (proxy.app(), proxy.app());
    proxy.until_replica_answers(&mut client, "SELECT COUNT(*) FROM waited_for");
    delay.store(6000, Ordering::SeqCst);
    client.run("INSERT INTO waited_for VALUES (1)");
    let began = Instant::now();
    let kill = format!("KILL QUERY {}", client.greeting.thread_id);
    let waiting = beside(client, "SELECT COUNT(*) FROM waited_for");
    while !waiting.is_finished() {
        pause(20);
        killer.run(&kill);
    }
    assert_interrupted(waiting.join().unwrap().1);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// A statement that is held back for the sake of others.
#[test]
fn a_statement_is_stopped_while_it_is_paced() {
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.stop_paced (id INT PRIMARY KEY, n INT)");
    root.run("INSERT INTO shop.stop_paced VALUES (1, 0), (2, 0), (3, 0)");
    let keys = "[lanes]\ntarget = \"off\"\nlock_guard = \"pace\"\nlock_wait = \"50ms\"\n\
        [[rule]]\nlane = \"batch\"\nprogram_name = \"scraper*\"\n[routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 8, keys);
    let scraper = || {
        let login = Login::new(proxy.port, "app", "app-secret");
        Raw::login(&Login { schema: Some("shop"), program: "scraper", ..login }).unwrap()
    };
    let (mut holder, mut paced, mut killer) = (scraper(), scraper(), proxy.app());
    holder.run("BEGIN");
    holder.run("UPDATE stop_paced SET n = 1 WHERE id = 1");
    let goes_on = beside(holder, "UPDATE stop_paced SET n = 1 + SLEEP(3) WHERE id = 2");
    let click = beside(proxy.app(), "UPDATE stop_paced SET n = 2 WHERE id = 1");
    let did = "fairlane_lock_guard_actions_total{action=\"paced\"}";
    let kill = format!("KILL QUERY {}", paced.greeting.thread_id);
    let mut interrupted = 0;
    while !goes_on.is_finished() && interrupted == 0 {
        let before = proxy.metric(did);
        let (client, answer) = thread::scope(|scope| {
            let waiting = beside(paced, "SELECT n FROM stop_paced WHERE id = 3");
            scope.spawn(|| {
                // For longer than it takes where it is not held back.
                pause(30);
                killer.run(&kill);
            });
            waiting.join().unwrap()
        });
        paced = client;
        if answer.is_err() && proxy.metric(did) > before {
            assert_interrupted(answer);
            interrupted += 1;
        }
    }
    assert!(interrupted > 0);
    goes_on.join().unwrap().0.run("COMMIT");
    click.join().unwrap().1.unwrap();
    assert_eq!(paced.text("SELECT n FROM stop_paced WHERE id = 3"), "0");
}

/// Another user's KILL QUERY needs a slot itself, and has it when the next statement runs.
#[test]
fn what_comes_after_the_statement_that_was_meant_is_not_stopped() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut holder, mut target) = (proxy.app(), proxy.app());
    let root = Login { schema: Some("shop"), ..Login::new(proxy.port, "root", "root-secret") };
    let killer = Raw::login(&root).unwrap();
    let id = target.greeting.thread_id;
    target.hold();
    holder.hold();
    target.send(Command::Query, b"SELECT SLEEP(1)");
    let kill: &'static str = format!("KILL QUERY {id}").leak();
    let killing = beside(killer, kill);
    eventually("it waits for a slot", || waiters(&proxy) == 1.0);
    let first = target.answer(Shape::Results).unwrap();
    assert_eq!(first.error(), None);
    target.send(Command::Query, b"SELECT SLEEP(1), 'it ends' FROM DUAL");
    holder.run("COMMIT");
    let (_, killed) = killing.join().unwrap();
    killed.unwrap();
    let second = target.answer(Shape::Results).unwrap();
    let row = [&[1, b'0', 7][..], b"it ends"].concat();
    assert!(second.bytes.windows(row.len()).any(|bytes| bytes == row), "{second:?}");
}

/// What Fairlane asks behind an answer is not what a KILL QUERY is for that comes then.
#[test]
fn who_is_stopped_too_late_loses_nothing_and_leaves_nothing() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut root = servers().root();
    root.run("DROP PROCEDURE IF EXISTS shop.in_nothing");
    root.run("CREATE PROCEDURE shop.in_nothing() BEGIN END");
    let (mut stopped, mut other, mut killer) = (proxy.app(), proxy.app(), proxy.app());
    let kill = format!("KILL QUERY {}", stopped.greeting.thread_id);
    for round in 0..600 {
        let (sql, warnings) = match round % 3 {
            0 => ("SELECT CAST('x' AS SIGNED)", 1),
            1 => ("CALL in_nothing()", 0),
            _ => ("SET NAMES utf8mb4 COLLATE utf8mb4_bin", 0),
        };
        assert_eq!(stopped.run(sql).summary.warnings, warnings, "{round}");
        killer.run(&kill);
        other.run("DO 2");
        assert_eq!(other.run("SHOW WARNINGS").summary.rows, 0, "{round} {sql}");
        if warnings > 0 {
            assert_eq!(stopped.run("SHOW WARNINGS").summary.rows, 1, "{round}");
        }
    }
    assert_eq!(stopped.text("SELECT @@collation_connection"), "utf8mb4_bin");
    assert_eq!(slots(&proxy), 0.0, "nobody is bound to the connection");
}
