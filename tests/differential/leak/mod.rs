//! The leak hunter: hundreds of random sessions over a handful of connections, each next to a model
//! of it, which is the same session with the server to itself. Nothing of one session may be seen by
//! another, or get lost, whatever state it sets, whatever it holds and however it ends.
//!
//! A *round* is a Fairlane of its own with some workers. Each worker has sessions of its own, with one
//! statement of one of them under way at a time; connections move between the sessions of all workers.
//! So many sessions may hold a connection that one slot is left for everybody else: where Fairlane
//! keeps a connection that nothing binds any more, the round comes to a stand.
//!
//! What a worker does follows from the round's seed alone; the order in which workers take their turns
//! does not. A difference is made short by running the log of its round again in one thread, see
//! [`replay`].

mod act;
mod model;
mod replay;
mod texts;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlane::protocol::Capabilities;

use crate::compare::{CLASSIC, MODERN, is_offered};
use crate::random::environment;
use crate::support::delay::delay_replication;
use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, pause, product, servers};
use act::{Act, PROGRAM, Pair, Told, names, perform};
use model::{Model, pick};

const WORKERS: usize = 4;
/// Sessions that are alive at the same time unless the environment says how many.
const SESSIONS: usize = 40;
/// Statements of a round. Each begins with new connections, and its log is what can be run again.
const ROUND: usize = 20_000;
/// Statements of a run unless the environment says how many.
const STATEMENTS: usize = 5_000;
/// Differences after which a run ends.
const REPORTED: usize = 8;

/// What happened to the session of a seat.
#[derive(Debug, Clone)]
struct Event {
    seat: usize,
    act: Act,
}

/// Where two ways parted.
#[derive(Debug)]
struct Failure {
    /// Its event is the last of this seat.
    seat: usize,
    text: String,
    /// Seats that held a connection without a reason, and what Fairlane had for one. Scripts that are
    /// made short hold more than they may: these are shown as they were.
    strays: Vec<(usize, String)>,
}

/// One Fairlane and who uses it.
#[derive(Debug)]
struct Round {
    seed: u64,
    statements: usize,
    /// Sessions of one worker that are alive at the same time.
    seats: usize,
    /// Connections that each worker's sessions may hold at the same time.
    held: [usize; WORKERS],
    capabilities: Vec<Capabilities>,
    reads_on_replica: bool,
}

/// A place that one session after the other takes.
type Seat = (Model, Option<Pair>);

/// The seat of a failure that is not one session's.
const NOBODY: usize = usize::MAX;
/// How long it may take until what was held is given back.
const QUIET: Duration = Duration::from_secs(5);

/// What all workers of a round share.
#[derive(Debug, Default)]
struct Shared {
    log: Mutex<Vec<Event>>,
    failure: Mutex<Option<Failure>>,
    is_over: AtomicBool,
}

impl Round {
    fn of(seed: u64, statements: usize, seats: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut held = [1; WORKERS];
        match random.u32(0..3) {
            0 => held[0] = 0,
            1 => held[0] = 2,
            _ => {}
        }
        let offered: Vec<Capabilities> =
            CAPABILITIES.iter().copied().filter(|&more| is_offered(more)).collect();
        let mut capabilities = vec![pick(&mut random, &[MODERN, MODERN, CLASSIC])];
        if random.bool() {
            capabilities.push(pick(&mut random, &offered));
        }
        let reads_on_replica = random.bool() || delay().is_some();
        Self { seed, statements, seats, held, capabilities, reads_on_replica }
    }

    /// A Fairlane with one slot more than can be held, and its control connection.
    fn proxy(&self) -> Proxy {
        let connections = self.held.iter().sum::<usize>() + 2;
        let replica = format!("{ONE_LANE_AND_REPLICA}[routing]\nconsistency_scope = \"session\"\n");
        let routing = if self.reads_on_replica { &replica } else { ONE_LANE };
        Proxy::with(servers(), connections, routing)
    }

    /// Runs it; the log and the first difference, if there is one.
    fn run(&self) -> (Vec<Event>, Option<Failure>) {
        let proxy = self.proxy();
        let shared = Shared::default();
        let (all, proxy_of_all) = (&shared, &proxy);
        let seats: Vec<Seat> = std::thread::scope(|scope| {
            let worker = |worker| scope.spawn(move || self.work(worker, proxy_of_all, all));
            let workers: Vec<_> = (0..WORKERS).map(worker).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let mut failure = shared.failure.into_inner().unwrap();
        let holders: Vec<bool> = seats.iter().map(|(model, _)| model.holds()).collect();
        match &mut failure {
            None => failure = kept_for_nothing(&proxy, &holders),
            Some(failure) if failure.text.contains(NO_SLOT) => {
                failure.strays = strays(&proxy, &holders);
            }
            Some(_) => {}
        }
        (shared.log.into_inner().unwrap(), failure)
    }

    /// One worker's sessions, which are still alive when it is done.
    fn work(&self, worker: usize, proxy: &Proxy, shared: &Shared) -> Vec<Seat> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ (worker as u64 + 1) << 56);
        let mut seats: Vec<Seat> =
            (0..self.seats).map(|_| (Model::new(&self.capabilities), None)).collect();
        let mut done = 0;
        while done < self.statements / WORKERS && !shared.is_over.load(Ordering::Relaxed) {
            let holders: Vec<usize> =
                (0..self.seats).filter(|&seat| seats[seat].0.holds()).collect();
            let index = match random.u32(0..5) {
                0 | 1 if !holders.is_empty() => pick(&mut random, &holders),
                _ => random.usize(0..self.seats),
            };
            let may_hold = seats[index].0.holds() || holders.len() < self.held[worker];
            done += shared.turn(
                &mut random,
                proxy,
                worker * self.seats + index,
                &mut seats[index],
                may_hold,
            );
        }
        seats
    }
}

impl Shared {
    /// What a session does next; the number of statements.
    fn turn(
        &self,
        random: &mut fastrand::Rng,
        proxy: &Proxy,
        seat: usize,
        (model, pair): &mut Seat,
        may_hold: bool,
    ) -> usize {
        let deeds = model.next(random, may_hold);
        for (index, deed) in deeds.iter().enumerate() {
            self.log.lock().unwrap().push(Event { seat, act: deed.act.clone() });
            let told = perform(pair, proxy, seat, &deed.act);
            model.note(deed, &told);
            match told {
                Told::Same { .. } => {}
                Told::Over => return index + 1,
                Told::Different(text) => {
                    if !self.is_over.swap(true, Ordering::Relaxed) {
                        *self.failure.lock().unwrap() =
                            Some(Failure { seat, text, strays: Vec::new() });
                    }
                    return index + 1;
                }
            }
        }
        deeds.len()
    }
}

/// Whether more connections are held than sessions have a reason for, now that nothing is under way.
fn kept_for_nothing(proxy: &Proxy, holders: &[bool]) -> Option<Failure> {
    let holding = holders.iter().filter(|holds| **holds).count();
    let deadline = Instant::now() + QUIET;
    loop {
        let in_use = proxy.sum("fairlane_lane_slots_in_use{");
        if in_use <= holding as f64 {
            return None;
        }
        if Instant::now() > deadline {
            let text = format!("{in_use} slots in use, {holding} sessions may hold one");
            return Some(Failure { seat: NOBODY, text, strays: strays(proxy, holders) });
        }
        pause(50);
    }
}

/// Seats that hold a connection in Fairlane's eyes only, and why.
fn strays(proxy: &Proxy, holders: &[bool]) -> Vec<(usize, String)> {
    let answer = proxy.get("/state");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let state: serde_json::Value = serde_json::from_str(body).expect("the state as JSON");
    let listed = state["sessions"]["list"].as_array().expect("a list of sessions");
    let of_session = |session: &serde_json::Value| {
        let seat: usize = session["program"].as_str()?.strip_prefix(PROGRAM)?.parse().ok()?;
        let is_stray = !holders[seat] && !session["backend"].as_str()?.is_empty();
        is_stray.then(|| (seat, format!("{} {}", session["state"], session["pins"])))
    };
    listed.iter().filter_map(of_session).collect()
}

/// What Fairlane says when all slots are held.
const NO_SLOT: &str = "Fairlane: no free connection";

/// What some of the clients ask for.
const CAPABILITIES: &[Capabilities] = &[
    MODERN,
    CLASSIC,
    MODERN.union(Capabilities::FOUND_ROWS),
    MODERN.union(Capabilities::MARIADB_EXTENDED_METADATA),
    MODERN.union(Capabilities::MARIADB_CACHE_METADATA),
    MODERN.union(Capabilities::COMPRESS),
];

/// What the sessions find: accounts, schemas, routines, and tables of each seat's own on both ways.
fn arrange(seats: usize) {
    let mut root = servers().root();
    let mut run = |sql: &str| drop(root.run(sql));
    run("CREATE DATABASE IF NOT EXISTS test_leak");
    run("CREATE ROLE IF NOT EXISTS lk_role");
    for host in ["localhost", "127.0.0.1", "%"] {
        run(&format!("CREATE USER leaker@'{host}' IDENTIFIED BY 'leaker-secret'"));
        run(&format!("GRANT RELOAD ON *.* TO leaker@'{host}'"));
        run(&format!("GRANT ALL ON shop.* TO leaker@'{host}'"));
        run(&format!("GRANT ALL ON `test%`.* TO leaker@'{host}'"));
        run(&format!("GRANT lk_role TO leaker@'{host}'"));
        run(&format!("GRANT lk_role TO app@'{host}'"));
    }
    run("USE shop");
    ROUTINES.iter().for_each(|sql| run(sql));
    for name in (0..WORKERS * seats).flat_map(names) {
        let table = format!("lk{name} {TABLE}");
        run(&format!("CREATE TABLE shop.{table}"));
        run(&format!("CREATE TABLE test_leak.{table}"));
        run(&format!("CREATE VIEW shop.lv{name} AS SELECT k, v, s FROM shop.lk{name}"));
        // Reads the insert id unseen.
        run(&format!(
            "CREATE TRIGGER test_leak.lg{name} BEFORE INSERT ON test_leak.lk{name} \
             FOR EACH ROW SET NEW.w = LAST_INSERT_ID()"
        ));
        run(&format!("CREATE TABLE test_leak.lr{name} (a INT)"));
        // What is told of the variable must not hide the other one.
        run(&format!(
            "CREATE TRIGGER test_leak.lh{name} BEFORE INSERT ON test_leak.lr{name} \
             FOR EACH ROW BEGIN SET @c = NEW.a; SET div_precision_increment = 7; END"
        ));
    }
    servers().wait_replicated();
}

/// How far the replica is behind, if it is to be.
fn delay() -> Option<Duration> {
    environment("FAIRLANE_LEAK_DELAY").map(Duration::from_millis)
}

/// Writes a round's whole log to a file of its own, for what was not made short.
fn keep(round: &Round, log: &[Event]) {
    let path = format!("{}/leak-{}.log", env!("CARGO_TARGET_TMPDIR"), round.seed);
    std::fs::write(&path, replay::script(log)).unwrap();
    println!("all of it: {path}");
}

/// Makes the tables of both ways equal again, after sessions were stopped in the middle.
fn even_out(seats: impl Iterator<Item = usize>) {
    let mut root = servers().root();
    for xid in root.rows("XA RECOVER").into_iter().filter_map(|row| row.into_iter().nth(3)?) {
        // It may belong to another test, or be gone.
        if xid.starts_with("lk_") {
            let _ = root.query(&format!("XA ROLLBACK '{xid}'"));
        }
    }
    for name in seats.flat_map(names) {
        root.run(&format!("DROP TABLE IF EXISTS shop.lz{name}"));
        root.run(&format!("TRUNCATE TABLE shop.lk{name}"));
        root.run(&format!("TRUNCATE TABLE test_leak.lk{name}"));
        root.run(&format!("TRUNCATE TABLE test_leak.lr{name}"));
    }
}

const TABLE: &str = "(id INT AUTO_INCREMENT PRIMARY KEY, k INT UNIQUE, v INT, s VARCHAR(5), w INT) \
                     ENGINE = InnoDB";

const ROUTINES: &[&str] = &[
    "CREATE PROCEDURE lp_out(IN a INT, OUT b INT) SET b = a + 1",
    // The type of a variable alone is that of the routine's first run on a connection (MySQL).
    "CREATE PROCEDURE lp_two() BEGIN SELECT 1 AS one; SELECT 2 AS two, CAST(@a AS CHAR(9)); END",
    "CREATE PROCEDURE lp_state(IN a INT) BEGIN SET group_concat_max_len = 40 + a; \
     SET @c = a; SET time_zone = '+07:00'; END",
    "CREATE FUNCTION lf_plus(a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a + 1",
    "CREATE FUNCTION lf_sets(a INT) RETURNS INT DETERMINISTIC NO SQL BEGIN SET @b = a; RETURN a; END",
    "CREATE FUNCTION lf_both(a INT) RETURNS INT DETERMINISTIC NO SQL \
     BEGIN SET @b = a; SET div_precision_increment = 6; RETURN a; END",
];

/// Round *n* has the seed `FAIRLANE_SEED + n`; `FAIRLANE_LEAK_STATEMENTS` says how many statements
/// all rounds have, `FAIRLANE_LEAK_SESSIONS` how many sessions are alive, `FAIRLANE_LEAK_PATIENCE` how
/// many seconds each difference may take to be made short, `FAIRLANE_LEAK_DELAY` that the replica, on
/// which all rounds read then, is so many milliseconds behind.
#[test]
fn no_session_sees_anything_of_another() {
    let first = environment("FAIRLANE_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    let wanted = environment("FAIRLANE_LEAK_STATEMENTS").map_or(STATEMENTS, |count| count as usize);
    let sessions = environment("FAIRLANE_LEAK_SESSIONS").map_or(SESSIONS, |count| count as usize);
    let seats = sessions.div_ceil(WORKERS);
    let begun = Instant::now();
    arrange(seats);
    if let Some(delay) = delay() {
        delay_replication(servers(), delay);
    }
    let mut reports = Vec::new();
    let mut done = 0;
    for number in 0.. {
        if done + WORKERS > wanted || reports.len() >= REPORTED {
            break;
        }
        let round = Round::of(first.wrapping_add(number), ROUND.min(wanted - done), seats);
        let (log, failure) = round.run();
        done += log.len();
        println!("{done} statements in {} s", begun.elapsed().as_secs());
        if let Some(failure) = failure {
            println!("seat {}: {}", failure.seat, failure.text);
            keep(&round, &log);
            let report = replay::report(&round, &log, &failure);
            println!("{report}\n");
            even_out(0..WORKERS * seats);
            reports.push(report);
        }
    }
    let seconds = begun.elapsed().as_secs();
    println!("{done} statements from FAIRLANE_SEED={first} on {:?} in {seconds} s", product());
    let count = reports.len();
    assert!(reports.is_empty(), "{count} differences\n\n{}", reports.join("\n\n"));
}
