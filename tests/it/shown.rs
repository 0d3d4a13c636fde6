//! What operators are shown of sessions: what holds the slots, and who waits for them.

use std::thread::{self, JoinHandle};

use fairlane::protocol::Command;
use serde_json::Value;

use crate::support::{ONE_LANE, Proxy, Raw, eventually, servers};

/// A statement that runs until it is stopped, in a thread of its own; and its session.
fn run_long(mut client: Raw, sql: &'static str) -> (u32, JoinHandle<()>) {
    let id = client.greeting.thread_id;
    let run = move || {
        client.send(Command::Query, sql.as_bytes());
        let _ = client.answer(fairlane::protocol::Shape::Results);
    };
    (id, thread::spawn(run))
}

fn state(proxy: &Proxy) -> Value {
    let answer = proxy.get("/state");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    serde_json::from_str(body).unwrap_or_default()
}

/// What is shown of a session.
fn shown(proxy: &Proxy, id: u32) -> Value {
    let state = state(proxy);
    let list = state["sessions"]["list"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|session| session["id"] == id).unwrap_or_default()
}

#[test]
fn whoever_waits_sees_what_holds_the_slot() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (holder, holding) = run_long(proxy.app(), "SELECT SLEEP(60), 'secret'");
    let has_slot = || shown(&proxy, holder)["state"] == "running";
    eventually("the slot is held", has_slot);
    let (waiter, waiting) = run_long(proxy.app(), "SELECT 2");
    eventually("somebody waits for it", || {
        let waiter = shown(&proxy, waiter);
        waiter["state"] == "waiting" && waiter["backend"] == "primary"
    });
    eventually("its statement is shown", || {
        shown(&proxy, holder)["statement"] == "SELECT SLEEP ( ? ) , ?"
    });
    stop(&proxy, holder);
    holding.join().unwrap();
    waiting.join().unwrap();
    assert_eq!(shown(&proxy, waiter)["statement"], "", "slots of the first lane come and go");
}

fn stop(proxy: &Proxy, session: u32) {
    let _ = proxy.app().query(&format!("KILL QUERY {session}"));
}

#[test]
fn a_slot_that_counts_for_batch_is_shown_so() {
    let proxy = Proxy::with(servers(), 6, "[routing]\nreplica_reads = false\n");
    let (holder, holding) = run_long(proxy.app(), "SELECT SLEEP(60), 'secret'");
    eventually("its slot counts for batch", || {
        let holder = shown(&proxy, holder);
        holder["counts_for"] == "batch"
            && holder["lane"] == "interactive"
            && holder["statement"] == "SELECT SLEEP ( ? ) , ?"
    });
    stop(&proxy, holder);
    holding.join().unwrap();
}

#[test]
fn batch_shows_its_statements_whatever_the_lock_guard_does() {
    let proxy = Proxy::with(servers(), 6, "[lanes]\nlock_guard = \"off\"\n");
    let mut client = proxy.app();
    client.run("SELECT 1 /* fairlane: lane=batch */");
    client.run("SELECT 1, 2 /* fairlane: lane=batch */");
    assert_eq!(shown(&proxy, client.greeting.thread_id)["statement"], "SELECT ? , ?");
}

#[test]
fn a_statement_whose_client_has_gone_is_shown_until_it_ends() {
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.shown_orphan (n INT)");
    let proxy = Proxy::with(servers(), 6, "");
    let mut client = proxy.app();
    let id = client.greeting.thread_id;
    client.send(Command::Query, b"INSERT INTO shown_orphan SELECT SLEEP(60)");
    let running =
        "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT INTO shown_orphan%'";
    eventually("it runs", || !root.rows(running).is_empty());
    let thread: u64 = root.text(running).parse().unwrap();
    client.hang_up();
    eventually("it is shown as what it is", || {
        let orphan = shown(&proxy, id);
        orphan["is_orphan"] == true
            && orphan["thread"] == thread
            && orphan["backend"] == "primary"
            && orphan["statement"] == "INSERT INTO shown_orphan SELECT SLEEP ( ? )"
    });
    root.run(&format!("KILL QUERY {thread}"));
    eventually("it has ended", || shown(&proxy, id).is_null());
}

#[test]
fn connections_that_are_lost_all_at_once_are_few_lines() {
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.shown_lost (n INT)");
    let proxy = Proxy::with(servers(), 20, "");
    let mut clients: Vec<_> = (0..12).map(|_| proxy.app()).collect();
    for client in &mut clients {
        client.run("BEGIN");
        client.run("INSERT INTO shown_lost VALUES (1)");
    }
    let shown = state(&proxy);
    let sessions = shown["sessions"]["list"].as_array().unwrap();
    let threads: Vec<u64> = sessions.iter().filter_map(|it| it["thread"].as_u64()).collect();
    assert_eq!(threads.len(), clients.len());
    for thread in threads {
        root.run(&format!("KILL {thread}"));
    }
    let open = "fairlane_sessions_open";
    eventually("all have ended", || proxy.metric(open) == 0.0);
    let lines = proxy.log().matches("lost a backend connection").count();
    assert!((1..=4).contains(&lines), "{lines} lines: {}", proxy.log());
    eventually("the log tells of all", || {
        let log = proxy.log();
        let of = |line: &str| -> Option<usize> {
            line.split("untold=").nth(1)?.split_whitespace().next()?.parse().ok()
        };
        let lines = || {
            log.lines().filter(|line| line.contains("lost ") && line.contains("backend connection"))
        };
        let named = lines().filter(|line| line.contains("lost a backend connection")).count();
        named + lines().filter_map(of).sum::<usize>() == clients.len()
    });
}
