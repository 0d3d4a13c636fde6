//! More work than the server can do: who is answered, who is refused, and how soon it is over.

use std::thread;
use std::time::{Duration, Instant};

use fairlane::sandbox::Options;

use crate::support::servers::{What, keep, order};
use crate::support::{Failed, Login, Proxy, Raw, eventually, product, servers, within};

#[path = "../../benches/scenarios/overload/load.rs"]
mod load;

use load::{Outcome, Visit, capacity, visits};

/// Four slots, one of them batch's: about thirty of these a second.
const SQL: &str = "SELECT SLEEP(0.1)";
const CONNECTIONS: usize = 5;
/// Rules alone decide: nobody has to be known by behaviour first, see `Overload::with_forbearance`.
const RULE: &str = "[lanes]\nauto = \"off\"\n[[rule]]\nlane = \"interactive\"\nuser = \"app\"\n[routing]\nreplica_reads = false\n";

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn rejected(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!(
        "fairlane_lane_rejected_total{{backend=\"primary\",lane=\"interactive\",reason=\"{reason}\"}}"
    ))
}

#[test]
fn goodput_stays_at_five_times_what_can_be_done_and_is_back_soon() {
    let proxy = Proxy::with(servers(), CONNECTIONS, RULE);
    let visit = Visit { port: proxy.port, program: "web", sql: SQL, statements: 1 };
    let (peak, over, after) = run(async {
        let possible = capacity(&visit, 12, Duration::from_secs(3)).await;
        let over = visits(&visit, 5.0 * possible, 10).await;
        let after = visits(&visit, 0.7 * possible, 6).await;
        (possible, over, after)
    });
    let Outcome { refused, broken, in_vain, .. } = &over;
    assert_eq!((*broken, &over.first_error), (0, &None));
    let good = over.goodput();
    assert!(good > 0.9 * peak, "{good} good visits a second of {peak}: {over:?}");
    assert!(*refused > 0 && in_vain.as_secs_f64() / f64::from(*refused) < 1.0, "{over:?}");
    assert!(after.recovered().is_some_and(|second| second <= 2), "{after:?}");
    assert_eq!(rejected(&proxy, "overload"), f64::from(*refused));
    assert_eq!(rejected(&proxy, "timeout") + rejected(&proxy, "full"), 0.0);
    eventually("the overload is over", || proxy.sum("fairlane_lane_overloaded{") == 0.0);
    eventually("no slot is held", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
}

#[test]
fn one_client_that_asks_for_too_much_is_refused_alone() {
    let proxy = Proxy::with(servers(), CONNECTIONS, RULE);
    let hog = Visit { port: proxy.port, program: "hog", sql: SQL, statements: 1 };
    let other = Visit { program: "web", ..hog };
    let (hogs, others) = run(async {
        let others = tokio::spawn(async move { visits(&other, 8.0, 8).await });
        (visits(&hog, 150.0, 8).await, others.await.unwrap())
    });
    assert!(hogs.refused > 100, "{hogs:?}");
    let came: u32 = others.came.iter().sum();
    assert_eq!(others.good.iter().sum::<u32>(), came, "{others:?}");
}

#[test]
fn who_is_refused_is_told_why_and_may_go_on() {
    let lanes = "[[lane]]\nname = \"interactive\"\nqueue_timeout = \"2s\"\noverload_timeout = \"200ms\"\n\
        [routing]\nreplica_reads = false\n";
    let proxy = std::sync::Arc::new(Proxy::with(servers(), 2, lanes));
    // Nobody can be served within two seconds of which more come than go.
    let clients: Vec<_> = (0..60)
        .map(|number| {
            let proxy = proxy.clone();
            thread::spawn(move || {
                let mut client = proxy.app();
                crate::support::pause(number * 20);
                let answer = client.query("SELECT SLEEP(0.2)").map(|_| ());
                let again = (0..50).any(|_| client.query("SELECT 1").is_ok());
                (answer.map_err(|error| format!("{error:?}")), again)
            })
        })
        .collect();
    let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let refused: Vec<&String> =
        ends.iter().filter_map(|(answer, _)| answer.as_ref().err()).collect();
    assert!(refused.len() > 10, "{} of 60 refused", refused.len());
    for fragment in
        ["1040", "'interactive'", "'primary'", "overloaded", "200 ms", "overload_timeout"]
    {
        assert!(refused.iter().any(|error| error.contains(fragment)), "{fragment}: {refused:?}");
    }
    assert!(ends.iter().all(|(_, again)| *again), "a session goes on after it was refused");
}

/// Two sessions that hold a slot each.
fn holders(proxy: &Proxy) -> Vec<Raw> {
    let hold = |_| {
        let mut holder = proxy.app();
        holder.run("BEGIN");
        holder.run("SELECT 1");
        holder
    };
    (0..2).map(hold).collect()
}

/// All slots are held, and many log in at once to a schema to which nobody has: what they are told, and how long the slowest took.
fn logins_beside_no_slot(proxy: &Proxy) -> (Vec<String>, Duration) {
    let holders = holders(proxy);
    let port = proxy.port;
    let log_in = move || {
        let began = Instant::now();
        let failed = Raw::connect(port, "app", "app-secret", Some("information_schema"));
        let failed = failed.expect_err("no slot");
        let Failed::Server { code: 1040, message, .. } = failed else { panic!("{failed:?}") };
        (message, began.elapsed())
    };
    let logins: Vec<_> = (0..20).map(|_| thread::spawn(log_in)).collect();
    let told = logins.into_iter().map(|login| login.join().unwrap());
    let (messages, took): (Vec<String>, Vec<Duration>) = told.unzip();
    drop(holders);
    (messages, took.into_iter().max().unwrap())
}

fn failed_logins(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!("fairlane_logins_failed_total{{reason=\"{reason}\"}}"))
}

#[test]
fn logins_for_which_no_connection_is_free_are_refused_together() {
    let lanes = "[[lane]]\nname = \"interactive\"\nqueue_timeout = \"1s\"\noverload_timeout = \"off\"\n\
        [routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 3, lanes);
    let (messages, longest) = logins_beside_no_slot(&proxy);
    let words = "no free connection in lane 'interactive' of backend 'primary' within 1000 ms \
        (lane.queue_timeout)";
    assert!(messages.iter().all(|message| message.contains(words)), "{messages:?}");
    assert!(longest < Duration::from_secs(8), "one after another: {longest:?}");
    assert_eq!((failed_logins(&proxy, "busy"), failed_logins(&proxy, "backend")), (20.0, 0.0));
    eventually("who logs in later is asked for again", || {
        Raw::login(&Login::new(proxy.port, "app", "app-secret")).is_ok()
    });
}

#[test]
fn a_login_whose_time_ends_before_a_connection_is_free_is_told_so() {
    let lanes = "login_timeout = \"2s\"\n[[lane]]\nname = \"interactive\"\nqueue_timeout = \"60s\"\n\
        overload_timeout = \"off\"\n[routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 3, lanes);
    let (messages, _) = logins_beside_no_slot(&proxy);
    let words = "no free connection in lane 'interactive' of backend 'primary' within 2000 ms \
        (login_timeout)";
    assert!(messages.iter().all(|message| message.contains(words)), "{messages:?}");
    assert_eq!((failed_logins(&proxy, "busy"), failed_logins(&proxy, "backend")), (20.0, 0.0));
}

/// Somebody has to look at it: that others have the connections is not why.
#[test]
fn logins_beside_a_frozen_primary_are_told_that_it_does_not_answer() {
    let (servers, orders) = keep(Options { max_connections: 100, ..product().options() });
    let lanes = "[[lane]]\nname = \"interactive\"\nqueue_timeout = \"1s\"\noverload_timeout = \"off\"\n\
        [routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(&servers, 3, lanes);
    let holders = holders(&proxy);
    order(&orders, What::PausePrimary);
    let up = "fairlane_backend_up{backend=\"primary\"}";
    within(60, "the primary is down", || proxy.metric(up) == 0.0);
    let failed = Raw::login(&Login::new(proxy.port, "app", "app-secret")).expect_err("no slot");
    order(&orders, What::ResumePrimary);
    let Failed::Server { code: 1040, message, .. } = failed else { panic!("{failed:?}") };
    assert!(message.contains("backend 'primary' is not available"), "{message}");
    assert_eq!((failed_logins(&proxy, "busy"), failed_logins(&proxy, "backend")), (0.0, 1.0));
    drop(holders);
}
