//! Clients that never finish their login, and ones that speak nothing like the protocol: nobody else
//! may notice them, and they leave nothing behind.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use fairlane::protocol::Capabilities;

use crate::support::{Proxy, Raw, eventually, pause, servers};

const PEERS: usize = 1000;
const STATEMENTS: usize = 2000;
const MORE: &str = "login_timeout = \"5s\"\nproxy_protocol_networks = \"127.0.0.1\"\n\
    [tls]\nmode = \"preferred\"\n";

/// First half of a response that asks for TLS.
fn tls_request() -> Vec<u8> {
    let capabilities =
        Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::SSL;
    let mut packet = vec![32, 0, 0, 1];
    packet.extend(capabilities.low().to_le_bytes());
    packet.resize(36, 0);
    packet
}

/// What a peer sends that then waits.
fn half_open(index: usize) -> Vec<u8> {
    match index % 6 {
        0 => Vec::new(),
        1 => b"PROXY TCP4 10.1".to_vec(),
        2 => b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff".to_vec(),
        3 => vec![100, 0, 0, 1, 5, 0xa2, 0x3a, 0, 0],
        // A record of TLS whose hello has only begun.
        4 => [tls_request(), vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]].concat(),
        _ => tls_request(),
    }
}

/// What a peer sends that speaks another protocol, or none.
fn garbage(index: usize) -> Vec<u8> {
    let noise =
        |length| std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect::<Vec<_>>();
    match index % 6 {
        0 => noise(fastrand::usize(1..5000)),
        1 => [&[0xff, 0xff, 0xff, 1][..], &noise(70_000)].concat(),
        2 => [&[40, 0, 0, fastrand::u8(2..)][..], &noise(40)].concat(),
        3 => [&tls_request()[..], &noise(500)].concat(),
        4 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        _ => [&b"PROXY "[..], &noise(200)].concat(),
    }
}

/// Connections that have sent that, and been greeted.
fn peers(proxy: &Proxy, says: fn(usize) -> Vec<u8>) -> Vec<TcpStream> {
    (0..PEERS)
        .map(|index| {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // Fairlane may have hung up already.
            let _ = stream.write_all(&says(index));
            stream
        })
        .collect()
}

/// The time of 99 of 100 statements.
fn p99(client: &mut Raw) -> Duration {
    let mut times: Vec<Duration> = (0..STATEMENTS)
        .map(|_| {
            let start = Instant::now();
            client.run("SELECT 1");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[STATEMENTS * 99 / 100]
}

/// Open files, and resident memory in KiB.
fn holds(proxy: &Proxy) -> (usize, i64) {
    let process = format!("/proc/{}", proxy.pid());
    let files = std::fs::read_dir(format!("{process}/fd")).unwrap().count();
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (files, resident.trim().trim_end_matches(" kB").parse().unwrap())
}

/// What a horde of peers does to another client's statements, and what it leaves.
fn horde(proxy: &Proxy, client: &mut Raw, says: fn(usize) -> Vec<u8>) -> (Duration, usize, i64) {
    let streams = peers(proxy, says);
    let during = p99(client);
    for mut stream in streams {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let is_open = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_open, "a peer that does nothing is still connected");
    }
    eventually("no session is left", || proxy.metric("fairlane_sessions_open") == 1.0);
    // Memory is given back a moment later.
    pause(1_500);
    let (files, memory) = holds(proxy);
    (during, files, memory)
}

fn assert_unnoticed(says: fn(usize) -> Vec<u8>, name: &str) {
    let proxy = Proxy::with(servers(), 5, MORE);
    let mut client = proxy.app();
    p99(&mut client);
    let before = p99(&mut client);
    let (files, _) = holds(&proxy);
    // What the first horde needs (threads' buffers, the allocator's arenas) stays.
    let (first, _, memory) = horde(&proxy, &mut client, says);
    let (mut during, mut memory_after) = (first, memory);
    for _ in 0..2 {
        let (again, files_after, now) = horde(&proxy, &mut client, says);
        assert!(files_after <= files, "{name}: {files_after} files, {files} before");
        (during, memory_after) = (during.min(again), now);
    }
    let after = p99(&mut client);
    println!(
        "{name}: 99 of 100 statements within {before:?} before, {during:?} during, {after:?} after; \
         {memory} KiB after one horde, {memory_after} KiB after three"
    );
    let bound = before.max(after) * 3 + Duration::from_millis(5);
    assert!(during < bound, "{name}: {before:?} before, {during:?} during, {after:?} after");
    assert!(memory_after < memory + 4096, "{name}: from {memory} KiB to {memory_after} KiB");
    assert_eq!(client.text("SELECT 1"), "1");
    proxy.app().run("SELECT 1");
}

#[test]
fn a_thousand_half_open_connections_are_not_noticed() {
    assert_unnoticed(half_open, "half-open");
}

#[test]
fn a_thousand_connections_that_send_garbage_are_not_noticed() {
    assert_unnoticed(garbage, "garbage");
}

#[test]
fn peers_that_do_not_read_their_greeting_leave() {
    let proxy = Proxy::with(servers(), 5, MORE);
    let streams: Vec<_> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", proxy.port)).unwrap()).collect();
    eventually("they are seen", || proxy.metric("fairlane_sessions_open") == 50.0);
    for stream in &streams {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    eventually("they are gone", || proxy.metric("fairlane_sessions_open") == 0.0);
}
