//! Logins that fail again and again are answered late; nobody else notices.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fairlane::protocol::{Command, packet};

use crate::support::{Failed, Login, Proxy, Raw, eventually, servers};

const HERE: [u8; 4] = [127, 0, 0, 3];
const THERE: [u8; 4] = [127, 0, 0, 4];
/// Much less than the waits looked for, much more than a login takes.
const SOON: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_millis(950);

fn log_in(proxy: &Proxy, from: [u8; 4], password: &str) -> (Result<Raw, Failed>, Duration) {
    let start = Instant::now();
    let login = Login { from, ..Login::new(proxy.port, "th_a", password) };
    let answer = Raw::login(&login);
    (answer, start.elapsed())
}

fn fail(proxy: &Proxy, from: [u8; 4]) -> Duration {
    let (answer, took) = log_in(proxy, from, "wrong");
    let failed = answer.expect_err("a wrong password");
    assert_eq!(failed.code(), 1045, "{failed:?}");
    took
}

fn fail_as_change_of_user(mut client: Raw) -> Duration {
    let start = Instant::now();
    client.send(Command::ChangeUser, b"th_a\0\0\0\x2d\0mysql_native_password\0\0");
    assert_eq!(client.prove("wrong").expect_err("a wrong password").code(), 1045);
    start.elapsed()
}

/// As a client of before protocol 4.1.
fn fail_as_of_old(proxy: &Proxy) -> Duration {
    let (client, _) = log_in(proxy, HERE, "x");
    drop(client);
    let start = Instant::now();
    let login = Login { from: HERE, ..Login::new(proxy.port, "th_a", "") };
    let mut stream = crate::support::raw::connect(&login).unwrap();
    let mut packet = Vec::new();
    packet::put(&mut packet, 1, b"\x05\x20\0\0\x01th_a\0");
    stream.write_all(&packet).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let error = String::from_utf8_lossy(&said).into_owned();
    assert!(error.contains("Access denied for user 'th_a'@'127.0.0.3'"), "{error}");
    start.elapsed()
}

#[test]
fn failures_of_an_address_wait_and_nobody_else_does() {
    let mut root = servers().root();
    root.run("CREATE USER IF NOT EXISTS th_a@'127.%' IDENTIFIED BY 'x'");
    let more = "login_failures = 4\nlogin_delay = \"1s\"\n";
    let proxy = Proxy::with(servers(), 5, more);
    (0..4).for_each(|_| assert!(fail(&proxy, HERE) < SOON));
    let delayed = "fairlane_logins_delayed_total";
    assert_eq!(proxy.metric(delayed), 0.0);
    for millis in [100, 200, 400, 800] {
        assert!(fail(&proxy, HERE) >= Duration::from_millis(millis));
    }
    let (client, took) = log_in(&proxy, HERE, "x");
    assert!(took < SOON, "a right password: {took:?}");
    let took = fail(&proxy, THERE);
    assert!(took < SOON, "another address: {took:?}");
    assert!(fail_as_change_of_user(client.expect("a login")) >= LATE);
    assert!(fail_as_of_old(&proxy) >= LATE);
    eventually("waits are counted", || proxy.metric(delayed) == 6.0);

    // Right passwords are let in while wrong ones of the same address wait.
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..20).map(|_| scope.spawn(|| fail(&proxy, HERE))).collect();
        for _ in 0..10 {
            let (client, took) = log_in(&proxy, HERE, "x");
            assert!(took < SOON, "beside failures: {took:?}");
            assert_eq!(client.expect("a login").text("SELECT 1"), "1");
        }
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap() >= LATE));
    });
}

#[test]
fn a_drain_does_not_wait_for_late_answers() {
    let more = "login_failures = 0\nlogin_delay = \"60s\"\nlogin_timeout = \"60s\"\n";
    let mut proxy = Proxy::with(servers(), 5, more);
    // 0.1 s, 0.2 s, ... 6.4 s.
    for _ in 0..5 {
        fail(&proxy, HERE);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| fail(&proxy, HERE));
        let delayed = "fairlane_logins_delayed_total";
        eventually("a login waits", || proxy.metric(delayed) == 6.0);
        proxy.signal("TERM");
    });
    let start = Instant::now();
    eventually("Fairlane ends", || proxy.exit_code().is_some());
    assert!(start.elapsed() < Duration::from_millis(2_000), "{:?}", start.elapsed());
}

#[test]
fn a_storm_of_guesses_does_not_lock_its_address_out() {
    let mut root = servers().root();
    root.run("CREATE USER IF NOT EXISTS th_b@'127.%' IDENTIFIED BY 'x'");
    let more = "login_failures = 0\nlogin_delay = \"1s\"\n";
    let proxy = Proxy::with(servers(), 5, more);
    let log_in = |from, password| {
        let start = Instant::now();
        let login = Login { from, ..Login::new(proxy.port, "th_b", password) };
        Raw::login(&login).map(|_| start.elapsed())
    };
    for _ in 0..5 {
        log_in(HERE, "wrong").expect_err("a wrong password");
    }
    std::thread::scope(|scope| {
        // More than are looked at at once.
        let storm: Vec<_> = (0..400)
            .map(|_| {
                scope.spawn(|| {
                    let start = Instant::now();
                    log_in(HERE, "wrong").expect_err("a wrong password");
                    start.elapsed()
                })
            })
            .collect();
        let delayed = "fairlane_logins_delayed_total";
        eventually("many answers wait", || proxy.metric(delayed) > 200.0);
        let took = log_in(HERE, "x").expect("a right password");
        assert!(took < Duration::from_secs(5), "{took:?}");
        let took = log_in(THERE, "x").expect("a right password elsewhere");
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(storm.into_iter().all(|guess| guess.join().unwrap() >= LATE));
    });
}
