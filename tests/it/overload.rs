//! More work than the server can do: who is answered, who is refused, and how soon it is over.

use std::time::Duration;

use crate::support::{Proxy, eventually, servers};

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
            std::thread::spawn(move || {
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
