//! Answers that are stopped half-way: KILL by another session while rows stream, and readers that
//! take their time.

use std::io::Read;
use std::time::Duration;

use fairlane::protocol::{Capabilities, Command, Shape};

use crate::compare::{CLASSIC, MODERN};
use crate::describe::describe;
use crate::side::Packet;
use crate::support::raw::{Failed, Login};
use crate::support::{Proxy, Raw, eventually, pause, servers};

/// Three rows of more than a server keeps in its buffer, and then a long wait.
const ROWS: &str = "SELECT seq, REPEAT('x', 60000), SLEEP(IF(seq < 4, 0, 30)) FROM seq_1_to_9";
/// The rows that come before it, with the packets of the definitions in front.
const FIRST: usize = 3;

fn login(port: u16, more: Capabilities) -> Raw {
    let login = Login { schema: Some("shop"), more, ..Login::new(port, "app", "app-secret") };
    let raw = Raw::login(&login).expect("a login");
    raw.stream.socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    raw
}

/// The next packet, with the flags of the EOF packets that a server sets unasked taken out.
fn next(raw: &mut Raw) -> Option<Packet> {
    let (sequence, mut payload) = raw.packet().ok()?;
    if let [0xfe, _, _, _, status] = &mut payload[..] {
        *status &= !0x40;
    }
    Some(Packet { sequence, payload })
}

/// Kills a session in the middle of its rows; all that it was sent.
fn killed(port: u16, more: Capabilities, kill: &str) -> Vec<Packet> {
    let mut victim = login(port, more);
    let mut other = login(port, more);
    let id = victim.greeting.thread_id;
    victim.send(Command::Query, ROWS.as_bytes());
    let definitions = 1 + 3 + usize::from(!more.contains(Capabilities::DEPRECATE_EOF));
    let mut said = Vec::new();
    for _ in 0..definitions + FIRST {
        said.extend(next(&mut victim));
    }
    assert_eq!(said.len(), definitions + FIRST, "the rows before the wait");
    // It sleeps by now: the row it sleeps in is sent, and the next is not begun.
    pause(500);
    other.run(&format!("{kill} {id}"));
    while let Some(packet) = next(&mut victim) {
        let is_end = matches!(packet.payload.first(), Some(0xfe | 0xff));
        said.push(packet);
        if is_end {
            break;
        }
    }
    // Whoever is still there goes on as if nothing had been.
    victim.send(Command::Query, b"SELECT 'after it'");
    for _ in 0..definitions - 1 {
        said.extend(next(&mut victim));
    }
    said
}

fn compare(name: &str, direct: &[Packet], through: &[Packet]) {
    let count = direct.len().max(through.len());
    let unlike = (0..count).find(|&index| direct.get(index) != through.get(index));
    if let Some(index) = unlike {
        let (a, b) = (describe(direct.get(index), 0), describe(through.get(index), 0));
        panic!("{name}, packet {index}\n    server:   {a}\n    Fairlane: {b}");
    }
}

#[test]
fn a_query_killed_among_its_rows_ends_the_same() {
    let proxy = Proxy::start(servers());
    for more in [MODERN, CLASSIC] {
        let direct = killed(servers().primary, more, "KILL QUERY");
        let through = killed(proxy.port, more, "KILL QUERY");
        compare("KILL QUERY", &direct, &through);
        let after = |packet: &Packet| packet.payload == b"\x08after it";
        assert!(direct.iter().any(after), "the statement after it was answered: {direct:?}");
    }
}

#[test]
fn a_session_killed_among_its_rows_is_gone() {
    let proxy = Proxy::start(servers());
    let direct = killed(servers().primary, MODERN, "KILL");
    let through = killed(proxy.port, MODERN, "KILL");
    // Whether a last error is seen before the end is a race on the server itself.
    let rows = 1 + 3 + FIRST;
    compare("KILL", &direct[..rows], &through[..rows]);
    let is_rest = |said: &[Packet]| said[rows..].iter().all(|packet| packet.payload[0] == 0xff);
    assert!(is_rest(&direct) && is_rest(&through), "{:?} {:?}", &direct[rows..], &through[rows..]);
}

/// The end of a session that is killed under a statement of which nothing was answered yet.
fn end(port: u16, begin: &str, sql: &str, kill: impl FnOnce(&Raw)) -> Failed {
    let mut victim = login(port, MODERN);
    if !begin.is_empty() {
        victim.run(begin);
    }
    victim.send(Command::Query, sql.as_bytes());
    eventually("it runs", || is_running(sql));
    kill(&victim);
    let answer = victim.answer(Shape::Results);
    let end = answer.map_or_else(|end| end, |answer| answer.error().expect("it was killed"));
    if end != Failed::Closed {
        assert_eq!(victim.packet(), Err(Failed::Closed), "{sql}, after {end:?}");
    }
    end
}

fn is_running(sql: &str) -> bool {
    // MySQL refuses the list while it has a text with characters that utf8mb3 lacks.
    servers().root().query(&running(sql)).is_ok_and(|answer| answer.summary.rows > 0)
}

/// Asks for the server's id of the connection that runs a statement.
fn running(sql: &str) -> String {
    format!("SELECT id FROM information_schema.processlist WHERE info = '{sql}'")
}

/// A server ends the connection, perhaps with an error of its own before. What clients call a lost
/// connection they find out by themselves; they take its number in a packet for a mistake.
#[test]
fn a_session_killed_under_a_statement_is_told_what_a_server_tells() {
    let proxy = Proxy::start(servers());
    Raw::connect(proxy.port, "app", "app-secret", Some("shop"))
        .unwrap()
        .replace("CREATE OR REPLACE TABLE df_killed (id INT)");
    for (port, begin) in [(servers().primary, ""), (proxy.port, ""), (proxy.port, "BEGIN")] {
        for (index, sql) in
            ["SELECT SLEEP(21)", "INSERT INTO df_killed SELECT SLEEP(22)", "DO SLEEP(23)"]
                .into_iter()
                .cycle()
                .take(9)
                .enumerate()
        {
            let user = [("app", "app-secret"), ("root", "root-secret")][index / 3 % 2];
            let said = end(port, begin, sql, |victim| {
                let mut killer = Raw::connect(port, user.0, user.1, None).expect("a login");
                killer.run(&format!("KILL {}", victim.greeting.thread_id));
            });
            let is_servers = match &said {
                Failed::Closed => true,
                Failed::Server { code, message, .. } => {
                    [1053, 1317, 1927].contains(code) && !message.contains("Fairlane")
                }
            };
            assert!(is_servers, "{begin} {sql}, killed by {user:?}: {said:?}");
        }
    }
}

/// Reads an answer in small pieces with pauses; all its bytes.
fn slowly(port: u16, more: Capabilities, sql: &str, piece: usize) -> Vec<u8> {
    let mut raw = login(port, more);
    raw.send(Command::Query, sql.as_bytes());
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; piece]);
    let mut reads = 0;
    loop {
        reads += 1;
        if reads < 40 {
            pause(25);
        }
        let read = raw.stream.socket.read(&mut buffer).expect("the answer goes on");
        bytes.extend_from_slice(&buffer[..read]);
        if ends(&bytes) {
            return bytes;
        }
        assert!(read > 0, "closed after {} bytes", bytes.len());
    }
}

/// Whether an answer of short rows, and none that looks like an end, is whole.
fn ends(bytes: &[u8]) -> bool {
    let short = bytes.len().checked_sub(9).map(|at| &bytes[at..at + 5]);
    let long = bytes.len().checked_sub(11).map(|at| &bytes[at..at + 5]);
    matches!(short, Some([5, 0, 0, _, 0xfe])) || matches!(long, Some([7, 0, 0, _, 0xfe]))
}

#[test]
fn slow_readers_get_the_same() {
    let proxy = Proxy::start(servers());
    let sql = "SELECT seq, REPEAT('y', 700) FROM seq_1_to_20000";
    for (more, piece) in [(MODERN, 1_000), (CLASSIC, 100_000)] {
        let direct = slowly(servers().primary, more, sql, piece);
        let mut through = slowly(proxy.port, more, sql, piece);
        let length = direct.len();
        assert!(length > 14_000_000, "{length}");
        // The flag of session tracking, see `next`.
        let mut expected = direct;
        for bytes in [&mut expected, &mut through] {
            let at = bytes.len() - if more.contains(Capabilities::DEPRECATE_EOF) { 3 } else { 1 };
            bytes[at] &= !0x40;
        }
        let unlike = (0..length).find(|&at| expected.get(at) != through.get(at));
        assert_eq!((through.len(), unlike), (length, None));
    }
}
