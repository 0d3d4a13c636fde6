//! Who gets a slot when there are not enough.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fairlane::protocol::Command;
use fairlane::sandbox::Options;

use crate::support::raw::Login;
use crate::support::servers::keep;
use crate::support::{Proxy, Raw, eventually, product, servers};

const LANES: &str = "[lanes]\nauto = \"off\"\n[[lane]]\nname = \"interactive\"\nreserved = 1\nqueue_timeout = \"20s\"\n\
    [[lane]]\nname = \"batch\"\nreserved = 1\nmax = 2\nqueue = 3\nqueue_timeout = \"1s\"\n\
    [routing]\nreplica_reads = false\n";

/// Statements so far whose lane was chosen for this reason.
fn choices(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!("fairlane_lane_choices_total{{reason=\"{reason}\"}}"))
}

/// A connection of its own that sends one kind of statement ten times.
fn visit(proxy: &Proxy, sql: &str) {
    let mut client = proxy.app();
    (0..10).for_each(|_| assert_eq!(client.run(sql).summary.error, None));
}

#[test]
fn who_uses_much_is_batch_and_so_is_who_does_the_same_with_nothing_configured() {
    let proxy = Proxy::with(servers(), 6, "[routing]\nreplica_reads = false\n");
    let mut scraper = proxy.app();
    let began = Instant::now();
    while choices(&proxy, "attained_service") == 0.0 {
        scraper.run("DO SLEEP(0.03)");
        assert!(began.elapsed() < Duration::from_secs(2), "not seen to be batch");
    }
    println!("a session is known after {:?}", began.elapsed());
    // Now with a new connection for each page, and clicks in between.
    let (began, mut first) = (Instant::now(), None);
    while choices(&proxy, "company") < 20.0 {
        visit(&proxy, "DO SLEEP(0.03)");
        visit(&proxy, "SELECT 'click'");
        if first.is_none() && choices(&proxy, "company") > 0.0 {
            first = Some(began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not known by its company");
    }
    println!("its kind is known after {first:?} of visits of 0.3 s by turns with clicks");
    let batch = || choices(&proxy, "company") + choices(&proxy, "attained_service");
    let before = batch();
    (0..50).for_each(|_| visit(&proxy, "SELECT 'click'"));
    assert_eq!(batch() - before, 0.0, "clicks were taken for batch");
    // A rule overrides what behaviour says; that is tested with rules.
    let off = Proxy::with(servers(), 6, "[lanes]\nauto = \"off\"\n");
    (0..5).for_each(|_| visit(&off, "DO SLEEP(0.1)"));
    assert_eq!(choices(&off, "attained_service") + choices(&off, "company"), 0.0);
}

/// Connections of an application's own pool click a few times a second each; the server has no core to spare then.
#[test]
fn who_is_slow_because_of_batch_is_not_taken_for_it() {
    const RULE: &str = "[routing]\nreplica_reads = false\n[[rule]]\nprogram_name = \"cruncher\"\nlane = \"batch\"\n";
    let proxy = Arc::new(Proxy::with(servers(), 15, RULE));
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let repeat = |mut client: Raw, sql: &'static str, rest: u64| {
        let is_over = stop.0.clone();
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.run(sql).summary.error, None);
                thread::sleep(Duration::from_millis(rest));
            }
        })
    };
    let click = "SELECT BENCHMARK(8000, MD5('x'))";
    let mut all: Vec<_> = (0..4).map(|_| repeat(proxy.app(), click, 100)).collect();
    thread::sleep(Duration::from_secs(5));
    let attained = choices(&proxy, "attained_service");
    let batch = "SELECT BENCHMARK(400000, SHA1('x'))";
    all.extend((0..12).map(|_| repeat(with_program(&proxy, "cruncher"), batch, 0)));
    thread::sleep(Duration::from_secs(3));
    let before = (choices(&proxy, "light"), choices(&proxy, "attained_service"));
    thread::sleep(Duration::from_secs(7));
    let light = choices(&proxy, "light") - before.0;
    let taken = choices(&proxy, "attained_service") - before.1;
    println!("{attained} before it, {taken} and {light} light ones beside it");
    assert!(taken < light / 2.0, "{taken} of {light}");
    drop(stop);
    all.into_iter().for_each(|thread| thread.join().expect("no failure"));
}

/// A scraper sends the same as users do, who rest in between.
#[test]
fn who_prepares_anew_each_time_is_found_beside_batch_as_well() {
    const KEYS: &str = "[pool]\nprepared_answer_age = \"0s\"\n[routing]\nreplica_reads = false\n";
    let proxy = Arc::new(Proxy::with(servers(), 20, KEYS));
    let run = |client: &mut Raw| {
        let answer = client.command(Command::StmtPrepare, b"SELECT SLEEP(0.1)").unwrap();
        let id = answer.summary.prepared.unwrap().0.to_le_bytes();
        let execute = [&id[..], &[0, 1, 0, 0, 0]].concat();
        client.command(Command::StmtExecute, &execute).unwrap();
        client.send(Command::StmtClose, &id);
    };
    let mut users: Vec<_> = (0..10).map(|_| proxy.app()).collect();
    for _ in 0..4 {
        for user in &mut users {
            run(user);
            thread::sleep(Duration::from_millis(100));
        }
    }
    let taken = || choices(&proxy, "attained_service") + choices(&proxy, "company");
    let users = taken();
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let batch: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, is_over) = (proxy.app(), stop.0.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    client.run("/* fairlane: lane=batch */ DO SLEEP(0.5)");
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    let mut scraper = proxy.app();
    let began = Instant::now();
    while taken() == users {
        run(&mut scraper);
        thread::sleep(Duration::from_millis(10));
        assert!(began.elapsed() < Duration::from_secs(15), "not seen to be batch");
    }
    println!("{users} of users, found after {:?}", began.elapsed());
    drop(stop);
    batch.into_iter().for_each(|thread| thread.join().expect("no failure"));
}

/// It works for everybody, and only Fairlane's own account is locked.
#[test]
fn who_uses_much_is_batch_also_while_the_primary_turns_the_control_connection_away() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::with(&servers, 6, "[routing]\nreplica_reads = false\n");
    let mut scraper = proxy.app();
    scraper.run("DO 1");
    let mut root = servers.root();
    for host in ["localhost", "127.0.0.1", "%"] {
        root.run(&format!("ALTER USER fairlane@'{host}' ACCOUNT LOCK"));
    }
    let control =
        root.text("SELECT MAX(id) FROM information_schema.processlist WHERE user = 'fairlane'");
    root.run(&format!("KILL {control}"));
    eventually("it is down", || proxy.metric("fairlane_backend_up{backend=\"primary\"}") == 0.0);
    eventually("it is batch", || {
        assert_eq!(scraper.run("DO SLEEP(0.2)").summary.error, None);
        choices(&proxy, "attained_service") > 0.0
    });
}

/// Stops scrapers also when a test fails.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections that update one row in ten statements of a transaction each, until they are stopped.
fn scrape(proxy: &Proxy, row: usize, is_over: &AtomicBool) {
    let update = format!("UPDATE lanes_bulk SET v = v + 1 WHERE id = {row}");
    while !is_over.load(Ordering::Relaxed) {
        let mut client = proxy.app();
        client.run("START TRANSACTION");
        for _ in 0..10 {
            client.run("DO SLEEP(0.001)");
            assert_eq!(client.run(&update).summary.error, None);
        }
        client.run("COMMIT");
    }
}

#[test]
fn many_short_transactions_on_new_connections_are_batch_while_others_wait_for_their_slots() {
    const SCRAPERS: usize = 24;
    let proxy = Arc::new(Proxy::with(servers(), 4, "[routing]\nreplica_reads = false\n"));
    proxy.app().replace("CREATE OR REPLACE TABLE lanes_bulk (id INT PRIMARY KEY, v INT)");
    (0..SCRAPERS).for_each(|row| {
        proxy.app().run(&format!("INSERT INTO lanes_bulk VALUES ({row}, 0)"));
    });
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let scrapers: Vec<_> = (0..SCRAPERS)
        .map(|row| {
            let (proxy, is_over) = (proxy.clone(), stop.0.clone());
            thread::spawn(move || scrape(&proxy, row, &is_over))
        })
        .collect();
    let click = || {
        let began = Instant::now();
        let mut client = proxy.app();
        for what in ["'click'", "1 + 1", "NULL", "1 < 2"] {
            assert_eq!(client.run(&format!("SELECT {what}")).summary.error, None);
        }
        began.elapsed()
    };
    let began = Instant::now();
    while proxy.metric("fairlane_lane_bulk_is_heavy") == 0.0 {
        click();
        assert!(began.elapsed() < Duration::from_secs(20), "not known for what they are");
    }
    println!("short transactions are heavy after {:?}", began.elapsed());
    let before = choices(&proxy, "company");
    let mut clicks = Vec::new();
    while choices(&proxy, "company") < before + 100.0 {
        clicks.push(click());
        assert!(began.elapsed() < Duration::from_secs(40), "they are not taken for batch");
    }
    drop(stop);
    scrapers.into_iter().for_each(|scraper| scraper.join().unwrap());
    clicks.sort();
    println!("then a click takes {:?}", clicks[clicks.len() / 2]);
    let before = choices(&proxy, "company") + choices(&proxy, "attained_service");
    (0..50).for_each(|_| assert!(click() < Duration::from_secs(5)));
    let after = choices(&proxy, "company") + choices(&proxy, "attained_service");
    assert_eq!(after - before, 0.0, "clicks were taken for batch");
}

#[test]
fn a_statement_that_runs_long_gives_its_place_in_the_lane_back() {
    // Four slots, one of them batch's: four reports in lane interactive would leave none.
    let proxy = Arc::new(Proxy::with(servers(), 5, "[routing]\nreplica_reads = false\n"));
    let reports: Vec<_> = (0..3)
        .map(|_| {
            let mut client = proxy.app();
            thread::spawn(move || client.run("SELECT SLEEP(4)").summary.rows)
        })
        .collect();
    eventually("the reports count for batch", || {
        let in_use = "fairlane_lane_slots_in_use{backend=\"primary\",lane=\"batch\"}";
        proxy.metric(in_use) == 3.0
    });
    let began = Instant::now();
    proxy.app().run("SELECT 'click'");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    reports.into_iter().for_each(|report| assert_eq!(report.join().unwrap(), 1));
}

#[test]
fn a_report_that_many_users_open_leaves_the_last_slots_to_others() {
    // Eight slots, two of them reserved for lane interactive.
    let proxy = Arc::new(Proxy::with(servers(), 9, "[routing]\nreplica_reads = false\n"));
    let mut clicks = proxy.app();
    clicks.run("SELECT 'click'");
    let reports: Vec<_> = (0..12)
        .map(|_| {
            let mut client = proxy.app();
            thread::sleep(Duration::from_millis(150));
            thread::spawn(move || client.run("SELECT SLEEP(4) AS report").summary.rows)
        })
        .collect();
    let began = Instant::now();
    assert_eq!(clicks.run("SELECT 'click'").summary.error, None);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(choices(&proxy, "crowd") > 0.0);
    reports.into_iter().for_each(|report| assert_eq!(report.join().unwrap(), 1));
}

#[test]
fn statements_whose_clients_have_gone_leave_the_last_slots_to_others() {
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.lanes_orphans (id INT PRIMARY KEY, v INT)");
    root.run("INSERT INTO shop.lanes_orphans VALUES (1, 0)");
    // Eight slots, two of them reserved for lane interactive.
    let proxy = Proxy::with(servers(), 9, "[routing]\nreplica_reads = false\n");
    root.run("BEGIN");
    root.run("UPDATE shop.lanes_orphans SET v = 1");
    let mut clicks = proxy.app();
    for user in 0..20 {
        let mut client = proxy.app();
        client.send(Command::Query, b"UPDATE lanes_orphans SET v = v + 1 WHERE id = 1");
        thread::sleep(Duration::from_millis(300));
        client.hang_up();
        let began = Instant::now();
        assert_eq!(clicks.run("SELECT 'click'").summary.error, None);
        assert!(began.elapsed() < Duration::from_secs(2), "beside {user}: {:?}", began.elapsed());
    }
    assert!(choices(&proxy, "crowd") > 0.0);
    root.run("ROLLBACK");
}

fn with_program(proxy: &Proxy, program: &str) -> Raw {
    let login =
        Login { schema: Some("shop"), program, ..Login::new(proxy.port, "app", "app-secret") };
    Raw::login(&login).unwrap()
}

#[test]
fn interactive_work_overtakes_batch_and_batch_is_capped() {
    let rules = "[[rule]]\nlane = \"batch\"\nprogram_name = \"scraper*\"\n";
    let proxy = Arc::new(Proxy::with(servers(), 5, &format!("{LANES}{rules}")));
    // Four slots: batch holds two and no more.
    let batch: Vec<_> = (0..2)
        .map(|_| {
            let mut client = with_program(&proxy, "scraper-7");
            thread::spawn(move || client.run("SELECT SLEEP(2)").summary.rows)
        })
        .collect();
    let in_use = |lane: &str| {
        proxy.metric(&format!("fairlane_lane_slots_in_use{{backend=\"primary\",lane=\"{lane}\"}}"))
    };
    let waiting = |lane: &str| {
        proxy.metric(&format!("fairlane_lane_waiters{{backend=\"primary\",lane=\"{lane}\"}}"))
    };
    eventually("batch holds its two slots", || in_use("batch") == 2.0);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for _ in 0..2 {
        let (mut client, order) = (with_program(&proxy, "scraper-8"), order.clone());
        waiters.push(thread::spawn(move || {
            let answer = client.query("SELECT 'batch'").map(|_| ());
            order.lock().unwrap().push("batch");
            answer.map_err(|error| error.code())
        }));
    }
    eventually("batch waits", || waiting("batch") == 2.0);
    for _ in 0..20 {
        let started = Instant::now();
        with_program(&proxy, "php").run("SELECT 'click'");
        assert!(started.elapsed().as_millis() < 500, "a click waited");
        order.lock().unwrap().push("click");
    }
    let waited: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
    assert_eq!(waited, [Err(1040), Err(1040)], "batch waits one second and is then refused");
    batch.into_iter().for_each(|batch| assert_eq!(batch.join().unwrap(), 1));
    assert_eq!(order.lock().unwrap().iter().filter(|who| **who == "click").count(), 20);
    assert_eq!(
        proxy.sum(
            "fairlane_lane_rejected_total{backend=\"primary\",lane=\"batch\",reason=\"timeout\"}"
        ),
        2.0
    );
}

#[test]
fn a_full_queue_refuses_at_once_with_the_names_of_lane_and_limit() {
    let proxy = Proxy::with(
        servers(),
        3,
        &format!(
            "{}[[rule]]\nlane = \"batch\"\nuser = \"app\"\n",
            LANES
                .replace("max = 2", "max = 1")
                .replace("queue = 3", "queue = 1")
                .replace("\"1s\"", "\"20s\"")
        ),
    );
    let mut clients: Vec<Raw> = (0..3).map(|_| proxy.app()).collect();
    let last = clients.pop().unwrap();
    let running: Vec<_> = clients
        .into_iter()
        .map(|mut client| thread::spawn(move || client.query("SELECT SLEEP(3)").is_ok()))
        .collect();
    eventually("one runs and one waits", || {
        proxy.metric("fairlane_lane_waiters{backend=\"primary\",lane=\"batch\"}") == 1.0
    });
    let mut last = last;
    let refused = format!("{:?}", last.query("SELECT 1").unwrap_err());
    for fragment in ["1040", "'batch'", "'primary'", "lane.queue"] {
        assert!(refused.contains(fragment), "{refused}");
    }
    running.into_iter().for_each(|running| assert!(running.join().unwrap()));
}

#[test]
fn lanes_are_chosen_by_hint_user_network_program_schema_and_statement() {
    let mut root = servers().root();
    root.run("CREATE DATABASE IF NOT EXISTS test_lane_schema");
    root.replace("CREATE OR REPLACE USER lane_user@localhost IDENTIFIED BY 'x'");
    root.replace("CREATE OR REPLACE TABLE shop.lane_items (id INT)");
    let rules = "[[rule]]\nlane = \"batch\"\nuser = \"lane_user\"\n\
        [[rule]]\nlane = \"batch\"\nprogram_name = \"*scraper*\"\n\
        [[rule]]\nlane = \"batch\"\nschema = \"test_lane_*\"\n\
        [[rule]]\nlane = \"batch\"\nnetwork = [\"10.0.0.0/8\", \"127.0.0.7\"]\n\
        [[rule]]\nlane = \"batch\"\ndigest = \"insert into lane_items*\"\nscope = \"session\"\n\
        [routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 6, rules);
    let admitted =
        || proxy.metric("fairlane_lane_admitted_total{backend=\"primary\",lane=\"batch\"}");
    let mut before = admitted();
    let mut is_batch = |what: &str, expected: bool| {
        let now = admitted();
        assert_eq!(now > before, expected, "{what}");
        before = now;
    };
    let mut plain = proxy.app();
    plain.run("SELECT 1");
    is_batch("nothing matches", false);
    plain.run("SELECT 1 /* fairlane: lane=batch */");
    is_batch("hint", true);
    Raw::connect(proxy.port, "lane_user", "x", None).unwrap().run("SELECT 1");
    is_batch("user", true);
    with_program(&proxy, "My-Scraper/2").run("SELECT 1");
    is_batch("program_name", true);
    plain.run("USE test_lane_schema");
    is_batch("USE itself is in the old schema", false);
    plain.run("SELECT 1");
    is_batch("schema", true);
    plain.run("USE shop");
    is_batch("USE itself is in the old schema", true);
    plain.run("SELECT 1");
    is_batch("back", false);
    plain.run("INSERT INTO lane_items VALUES (1), (2)");
    is_batch("digest", true);
    plain.run("SELECT 1");
    is_batch("for the rest of the session", true);
    for _ in 0..2 {
        plain.run("SELECT 1 /* fairlane: lane=nowhere */");
    }
    is_batch("a hint of no lane is none", true);
    let told = proxy.log().matches("a hint names a lane that is not there").count();
    assert_eq!(told, 1, "{}", proxy.log());
    plain.command(Command::ResetConnection, b"").unwrap();
    plain.run("SELECT 1");
    is_batch("a session that is reset begins anew", false);
}

#[test]
fn many_waiters_all_get_their_turn() {
    let proxy = Arc::new(Proxy::with(servers(), 4, "[routing]\nreplica_reads = false\n"));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let (proxy, done) = (proxy.clone(), done.clone());
            thread::spawn(move || {
                let mut client = proxy.app();
                for _ in 0..20 {
                    client.run("SELECT 1");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(done.load(Ordering::Relaxed), 1200);
    eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    assert_eq!(proxy.sum("fairlane_lane_waiters{"), 0.0);
}
