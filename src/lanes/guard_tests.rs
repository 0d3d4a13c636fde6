//! The guard before a modelled server: statements share its cores, so that each takes longer the
//! more of them run.

use std::time::Duration;

use super::*;

/// Slots batch may have at most, and at least.
const CEILING: usize = 20;
const FLOOR: usize = 1;

/// A server with `cores`, on which an interactive statement takes `service` seconds of one core.
struct Server {
    cores: f64,
    service: f64,
}

impl Server {
    /// What an interactive statement takes beside `batch` statements.
    fn takes(&self, batch: usize) -> f64 {
        let running = batch as f64 + 1.0;
        self.service * (running / self.cores).max(1.0)
    }
}

/// Runs `ticks` with `statements` interactive ones in each and as much batch as may be; the limits.
fn run(
    guard: &mut Guard,
    server: &Server,
    ticks: u32,
    statements: u32,
    wants: usize,
) -> Vec<usize> {
    let mut limit = guard.limit();
    let tick = |_| {
        let in_use = limit.min(wants);
        (0..statements).for_each(|_| guard.served(server.takes(in_use)));
        limit = guard.tick(BatchNow { in_use, running: in_use, waiting: wants - in_use });
        limit
    };
    (0..ticks).map(tick).collect()
}

fn guard() -> Guard {
    Guard::new(LatencyTarget::Auto, FLOOR, CEILING)
}

fn mean(limits: &[usize]) -> f64 {
    limits.iter().sum::<usize>() as f64 / limits.len() as f64
}

#[test]
fn it_converges_near_the_target_and_does_not_swing() {
    let server = Server { cores: 4.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 50, 4, 0);
    let limits = run(&mut guard, &server, 1200, 4, 100);
    let settled = &limits[200..];
    // Twice the baseline and 2 ms: 8.4 statements on 4 cores, one of them interactive.
    assert!((5.0..8.5).contains(&mean(settled)), "{}", mean(settled));
    let far = settled.iter().filter(|limit| !(5..=8).contains(*limit)).count();
    assert!(far < settled.len() / 20, "{far} of {}", settled.len());
    assert!(limits.iter().all(|&limit| (FLOOR..=CEILING).contains(&limit)));
}

#[test]
fn a_step_of_load_is_followed_within_seconds_and_batch_never_starves() {
    let mut server = Server { cores: 4.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 50, 4, 0);
    let quiet = run(&mut guard, &server, 200, 4, 100);
    server.cores = 1.0;
    let slow = run(&mut guard, &server, 200, 4, 100);
    assert!(mean(&slow[30..]) < mean(&quiet[100..]) / 2.0, "{slow:?}");
    assert!(slow.iter().all(|&limit| limit >= FLOOR));
    server.cores = 4.0;
    let again = run(&mut guard, &server, 200, 4, 100);
    assert!(mean(&again[100..]) > 4.0, "{again:?}");
}

#[test]
fn a_heavy_step_is_over_within_seconds_and_a_moment_of_standstill_costs_little() {
    let server = Server { cores: 1.0, service: 0.01 };
    let mut guard = guard();
    run(&mut guard, &server, 50, 4, 0);
    // One statement a tick: windows of a second.
    let limits = run(&mut guard, &server, 60, 1, 100);
    assert!(limits[50] <= 2, "{limits:?}");
    let mut guard = Guard::new(LatencyTarget::Auto, FLOOR, CEILING);
    run(&mut guard, &server, 50, 4, 0);
    let before = guard.limit();
    (0..4).for_each(|_| {
        guard.served(1.0);
        guard.tick(BatchNow { in_use: 3, running: 3, waiting: 5 });
    });
    (0..40).for_each(|_| {
        guard.served(0.012);
        guard.tick(BatchNow { in_use: 3, running: 3, waiting: 5 });
    });
    assert!(guard.limit() >= before * 3 / 4, "{} of {before}", guard.limit());
}

#[test]
fn with_nobody_to_protect_batch_gets_everything_and_gives_it_back() {
    let server = Server { cores: 4.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 50, 4, 0);
    let alone = run(&mut guard, &server, 200, 0, 100);
    assert_eq!(alone.last(), Some(&CEILING));
    let shared = run(&mut guard, &server, 60, 4, 100);
    assert!(shared[30] <= 9, "{shared:?}");
}

/// All slots of a large pool are there within half a minute, not one after the other.
#[test]
fn with_nobody_to_protect_batch_gets_many_slots_soon() {
    let server = Server { cores: 4.0, service: 0.02 };
    let mut guard = Guard::new(LatencyTarget::Auto, 1, 100);
    run(&mut guard, &server, 300, 4, 100);
    assert!(guard.limit() < 20, "{}", guard.limit());
    let alone = run(&mut guard, &server, 300, 0, 100);
    assert_eq!(alone[200], 100, "{alone:?}");
}

#[test]
fn a_batch_that_was_there_first_shows_its_baseline_when_it_is_held_back() {
    let server = Server { cores: 2.0, service: 0.02 };
    let mut guard = guard();
    let limits = run(&mut guard, &server, 600, 4, 100);
    let looks = limits.iter().filter(|&&limit| limit == FLOOR).count();
    assert!((1..60).contains(&looks), "{looks}");
    assert!(guard.target_seconds().is_some_and(|target| target < 0.06));
    assert!((1.0..5.5).contains(&mean(&limits[400..])), "{}", mean(&limits[400..]));
}

#[test]
fn a_look_does_not_wait_for_those_who_hold_slots_for_long() {
    let mut guard = guard();
    let mut limits = Vec::new();
    // Ten minutes of statements that never end.
    for _ in 0..6000 {
        (0..4).for_each(|_| guard.served(0.02));
        limits.push(guard.tick(BatchNow { in_use: 3, running: 3, waiting: 5 }));
    }
    let held_back = limits.iter().filter(|&&limit| limit <= 3).count();
    assert!((10..limits.len() / 6).contains(&held_back), "{held_back}");
    assert_eq!(guard.target_seconds(), None);
}

#[test]
fn at_the_floor_it_waits_for_those_now_and_then() {
    let mut guard = guard();
    run(&mut guard, &Server { cores: 4.0, service: 0.02 }, 50, 4, 0);
    // Ten minutes of statements that never end.
    let tick = |_| {
        (0..4).for_each(|_| guard.served(0.07));
        guard.tick(BatchNow { in_use: 3, running: 3, waiting: 5 });
        guard.is_strict()
    };
    let strict: Vec<bool> = (0..6000).map(tick).collect();
    assert_eq!(guard.limit(), FLOOR);
    // What comes after the first look, and that is patient.
    let longest =
        strict[400..].chunk_by(|a, b| a == b).filter(|all| all[0]).map(<[bool]>::len).max();
    assert!(longest.is_some_and(|longest| (300..310).contains(&longest)), "{longest:?}");
    let all = strict.iter().filter(|is_strict| **is_strict).count();
    assert!(all < strict.len() / 4, "{all}");
}

#[test]
fn transactions_that_are_idle_in_the_slots_of_batch_are_no_contention() {
    let mut guard = guard();
    for _ in 0..1200 {
        (0..4).for_each(|_| guard.served(0.02));
        assert!(guard.tick(BatchNow { in_use: 3, running: 0, waiting: 5 }) > 3);
    }
    assert!(guard.target_seconds().is_some_and(|target| target < 0.05));
    // But they keep slots from others.
    for _ in 0..100 {
        (0..4).for_each(|_| guard.served(0.02));
        guard.waited();
        guard.tick(BatchNow { in_use: 3, running: 0, waiting: 5 });
    }
    assert_eq!(guard.limit(), FLOOR);
}

#[test]
fn a_batch_of_long_transactions_is_looked_behind_once() {
    let server = Server { cores: 2.0, service: 0.005 };
    let mut guard = guard();
    // Eight workers, each in a transaction of five seconds, one after the other; users now and then.
    let mut ends: Vec<u32> = (0..8).map(|worker| worker * 6).collect();
    let mut limits = Vec::new();
    for tick in 0..3000 {
        ends.retain(|&end| end > tick);
        while ends.len() < guard.limit().min(8) {
            ends.push(tick + 50);
        }
        (0..1 - (tick % 3).min(1)).for_each(|_| guard.served(server.takes(ends.len())));
        (0..u32::from(tick % 5 == 0)).for_each(|_| guard.served(server.takes(ends.len())));
        limits.push(guard.tick(BatchNow { in_use: ends.len(), running: ends.len(), waiting: 8 }));
    }
    let target = guard.target_seconds().expect("a baseline");
    assert!(target < 2.0 * server.takes(FLOOR) + 0.005, "{target}");
    let settled = mean(&limits[600..]);
    assert!((1.5..6.0).contains(&settled), "{settled}");
}

#[test]
fn next_to_nobody_to_protect_is_nobody() {
    let server = Server { cores: 2.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 300, 4, 0);
    run(&mut guard, &Server { cores: 0.5, ..server }, 300, 4, 100);
    assert!(guard.limit() <= 2, "{}", guard.limit());
    // A health check each five seconds.
    for tick in 0..400 {
        if tick % 50 == 0 {
            guard.served(0.001);
        }
        guard.tick(BatchNow { in_use: guard.limit(), running: guard.limit(), waiting: 50 });
    }
    assert_eq!(guard.limit(), CEILING);
}

#[test]
fn other_bounds_leave_what_it_knows() {
    let server = Server { cores: 2.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 300, 4, 0);
    run(&mut guard, &server, 300, 4, 100);
    let (target, limit) = (guard.target_seconds(), guard.limit());
    assert!(target.is_some() && limit < CEILING);
    guard.retune(&Guard::new(LatencyTarget::Auto, FLOOR, CEILING - 1));
    assert_eq!((guard.target_seconds(), guard.limit()), (target, limit));
    guard.retune(&Guard::new(LatencyTarget::Auto, CEILING, CEILING));
    assert_eq!((guard.target_seconds(), guard.limit()), (target, CEILING));
    guard.retune(&Guard::new(LatencyTarget::Auto, FLOOR, 2));
    guard.retune(&Guard::new(LatencyTarget::Off, FLOOR, CEILING));
    assert_eq!(guard.limit(), CEILING, "nothing steers it");
}

#[test]
fn a_fixed_target_is_kept_and_off_is_off() {
    let server = Server { cores: 2.0, service: 0.01 };
    let mut fixed = Guard::new(LatencyTarget::Fixed(Duration::from_millis(50)), FLOOR, CEILING);
    let limits = run(&mut fixed, &server, 600, 4, 100);
    // 0.05 s are ten statements on two cores.
    assert!((7.0..10.0).contains(&mean(&limits[200..])), "{}", mean(&limits[200..]));
    let mut off = Guard::new(LatencyTarget::Off, FLOOR, CEILING);
    assert!(run(&mut off, &server, 100, 4, 100).iter().all(|&limit| limit == CEILING));
}

/// Interactive statements alone, more of them than the server has cores for.
fn overload(guard: &mut Guard, server: &Server, ticks: u32, statements: u32, times: f64) {
    let slow = Server { service: server.service * times, ..*server };
    run(guard, &slow, ticks, statements, 0);
}

#[test]
fn an_overload_of_interactive_work_alone_is_no_new_baseline() {
    let server = Server { cores: 4.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 300, 4, 0);
    let target = |guard: &Guard| guard.target_seconds().expect("a baseline");
    let before = target(&guard);
    // A minute in which five times as many come and each takes five times as long.
    overload(&mut guard, &server, 600, 20, 5.0);
    assert!(target(&guard) < 1.25 * before + 0.002, "{} after {before}", target(&guard));
    // A batch that begins then gets no more than it would have got.
    let limits = run(&mut guard, &server, 300, 4, 100);
    assert!((5.0..8.5).contains(&mean(&limits[100..])), "{}", mean(&limits[100..]));
}

#[test]
fn a_load_that_grows_slowly_moves_the_baseline_within_bounds() {
    let server = Server { cores: 4.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 300, 4, 0);
    let before = guard.target_seconds().expect("a baseline");
    for step in 0..20 {
        let times = 1.2_f64.powi(step);
        overload(&mut guard, &server, 100, 4 + step.unsigned_abs(), times);
    }
    let after = guard.target_seconds().expect("a baseline");
    assert!(after < 2.7 * before, "{after} after {before}");
}

#[test]
fn a_server_that_became_slower_is_known_to_be_within_seconds() {
    let server = Server { cores: 4.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 300, 4, 0);
    // As many statements as before, each of which takes nearly twice as long.
    overload(&mut guard, &server, 100, 4, 1.9);
    let target = guard.target_seconds().expect("a baseline");
    assert!((target - (TOLERANCE * 0.038 + SLACK)).abs() < 0.005, "{target}");
}

#[test]
fn a_first_baseline_that_was_the_batchs_own_is_soon_known_to_be() {
    let server = Server { cores: 2.0, service: 0.004 };
    let mut guard = guard();
    // Nobody knows yet that these are batch work.
    (0..20).for_each(|_| guard.served(0.024));
    guard.tick(BatchNow { in_use: 0, running: 0, waiting: 0 });
    assert!(guard.target_seconds().is_some_and(|target| target > 0.045));
    run(&mut guard, &server, 100, 4, 100);
    let target = guard.target_seconds().expect("a baseline");
    assert!(target < 0.02, "{target}");
}

#[test]
fn a_click_now_and_then_neither_holds_batch_back_nor_lets_it_have_all() {
    let server = Server { cores: 2.0, service: 0.02 };
    let mut guard = guard();
    run(&mut guard, &server, 100, 4, 0);
    run(&mut guard, &server, 300, 4, 100);
    let mut limits = Vec::new();
    for tick in 0..3000 {
        let limit = guard.limit();
        if tick % 10 == 0 {
            guard.served(server.takes(limit));
        }
        limits.push(guard.tick(BatchNow { in_use: limit, running: limit, waiting: 50 }));
    }
    let at_floor = limits.iter().filter(|&&limit| limit == FLOOR).count();
    assert!(at_floor < limits.len() / 8, "{at_floor}");
    assert!(mean(&limits[500..]) < 8.0, "{}", mean(&limits[500..]));
}

#[test]
fn what_is_within_any_target_is_not_looked_at() {
    let server = Server { cores: 4.0, service: 0.0005 };
    let mut guard = guard();
    run(&mut guard, &server, 50, 4, 0);
    let limits = run(&mut guard, &server, 1000, 4, 6);
    assert!(limits.iter().all(|&limit| limit >= 6), "{limits:?}");
}

/// So many of users' statements of 60 ms in each tick, beside as much batch as may be of six sessions that are known;
/// its limit at the end.
fn users_of_60_ms(guard: &mut Guard, statements: u32, ticks: u32, batch: usize) -> usize {
    let mut limit = guard.limit();
    for _ in 0..ticks {
        (0..statements).for_each(|_| guard.served(0.06));
        let in_use = limit.min(batch);
        limit = guard.tick(BatchNow { in_use, running: in_use, waiting: batch - in_use });
    }
    limit
}

/// The same while nobody knows yet that the six are batch: theirs take 5 ms.
fn unknown(guard: &mut Guard, statements: u32, ticks: u32) {
    for _ in 0..ticks {
        (0..statements).for_each(|_| guard.served(0.06));
        (0..100).for_each(|_| guard.served(0.005));
        guard.tick(BatchNow { in_use: 0, running: 0, waiting: 0 });
    }
}

#[test]
fn batch_that_nobody_knew_yet_is_not_the_baseline_of_users() {
    for statements in [1, 20] {
        let mut guard = guard();
        users_of_60_ms(&mut guard, statements, 450, 0);
        unknown(&mut guard, statements, 20);
        let limit = users_of_60_ms(&mut guard, statements, 300, 6);
        assert!(limit >= 6, "{limit} at {:?}", guard.target_seconds());
        assert!(guard.target_seconds().is_some_and(|target| target > 0.1));
    }
}

#[test]
fn users_are_measured_anew_where_batch_was_there_before_them() {
    for statements in [1, 20] {
        let mut guard = guard();
        unknown(&mut guard, statements, 30);
        let limit = users_of_60_ms(&mut guard, statements, 1200, 6);
        assert!(limit >= 6, "{limit} at {:?}", guard.target_seconds());
    }
}
