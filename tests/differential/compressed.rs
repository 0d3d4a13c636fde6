//! Compressed frames: contents of every length are the same after unpacking, and what is wrong with
//! a frame is answered as the server does it. Most other scripts run with compression too.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use fairlane::protocol::Capabilities;
use fairlane::protocol::compress::Algorithm;

use crate::compare::{CLASSIC, MODERN, Script, check};
use crate::step::{bytes, change_user, execute, long_data, prepare, query};
use crate::support::line::pack;
use crate::support::raw::Login;
use crate::support::{Proxy, Raw, Servers, eventually, product, servers};

/// Longest contents of a packet, and of a frame.
const FULL: usize = 0xff_ffff;

const COMPRESSED: &[Capabilities] =
    &[MODERN.union(Capabilities::COMPRESS), CLASSIC.union(Capabilities::COMPRESS)];
const EITHER: &[Capabilities] = &[MODERN, CLASSIC.union(Capabilities::COMPRESS)];

/// Ways of clients, and a Fairlane whose servers compress and one whose servers do not.
fn ways() -> [(Proxy, &'static [Capabilities]); 2] {
    let algorithm = if product().is_mysql() { "zstd" } else { "zlib" };
    let keys = format!("compression = \"{algorithm}\"");
    let compressed = Servers { keys, ..servers().clone() };
    let off = Servers { keys: "compression = \"off\"".to_owned(), ..servers().clone() };
    [(Proxy::start(&off), COMPRESSED), (Proxy::start(&compressed), EITHER)]
}

#[test]
fn answers_of_every_length_are_the_same() {
    // Contents from which on the servers pack, and those around the length of their buffers.
    let lengths = (0..70).chain([16_300, 16_384, 65_500, 65_536, 200_000]);
    let rows = lengths.map(|length| query(format!("SELECT REPEAT('x', {length})"))).collect();
    let noise = "SELECT GROUP_CONCAT(SHA2(seq, 512)) FROM seq_1_to_5000";
    let more = vec![
        query("SET group_concat_max_len = 10000000"),
        query(noise),
        query("SELECT seq, REPEAT('y', seq % 100) FROM seq_1_to_20000"),
        query("SELECT 1; SELECT nothing; SELECT 3"),
        query("SELECT 1; DO 2; SELECT seq FROM seq_1_to_9000; SELECT 4"),
        query(""),
        query("DO 0"),
        prepare(0, "SELECT LENGTH(?)"),
        long_data(0, 0, &[b'l'; 300_000]),
        long_data(0, 0, b"m"),
        execute(0, &[crate::params::null_as(crate::params::VAR_STRING)]),
        change_user("app", "app-secret", "shop"),
        query("SELECT 'after it'"),
        change_user("app", "wrong", "shop"),
    ];
    let scripts = [Script::new("lengths", rows), Script::new("kinds", more)];
    for (proxy, clients) in ways() {
        check(&proxy, &scripts, clients);
    }
}

#[test]
fn statements_of_every_length_are_the_same() {
    let statement = |length: usize| {
        let text = "x".repeat(length - "\x03SELECT LENGTH('')".len());
        let mut step = bytes(format!("\x03SELECT LENGTH('{text}')").as_bytes());
        step.what = format!("a statement of {length} bytes");
        step
    };
    // With their packets' headers these are around 50 bytes.
    let short = (19..60).map(statement).collect();
    let long = [FULL - 5, FULL - 4, FULL - 1, FULL, FULL + 1, 2 * FULL];
    let long = long.into_iter().map(statement).chain([
        query(format!("SELECT REPEAT('x', {})", FULL - 4)),
        query(format!("SELECT REPEAT('x', {FULL})")),
        query(format!("SELECT REPEAT('x', {FULL}), REPEAT('y', {FULL})")),
        query("SELECT 'end'"),
    ]);
    let scripts = [Script::new("short", short), Script::new("long", long.collect())];
    for (proxy, clients) in ways() {
        check(&proxy, &scripts, clients);
    }
}

/// A frame as a client writes it: `claim` is the length of its contents when unpacked.
fn frame(sequence: u8, body: &[u8], claim: usize) -> Vec<u8> {
    let length = body.len().to_le_bytes();
    let claim = claim.to_le_bytes();
    let header = [length[0], length[1], length[2], sequence, claim[0], claim[1], claim[2]];
    [&header[..], body].concat()
}

/// What a logged-in client with compression gets for these bytes: the contents of the frames (the
/// ids inside say nothing), and whether the connection is open still.
fn said(port: u16, sent: &[u8]) -> (Vec<u8>, bool) {
    let more = MODERN | Capabilities::COMPRESS;
    let login = Login { more, ..Login::new(port, "app", "app-secret") };
    let raw = Raw::login(&login).expect("a login");
    let mut socket = raw.stream.socket.try_clone().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = socket.write_all(sent);
    let mut rest = Vec::new();
    let read = socket.read_to_end(&mut rest);
    let is_open = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    let mut contents = Vec::new();
    let mut rest = &rest[..];
    while rest.len() >= 7 {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], 0]) as usize;
        let is_packed = rest[4..7] != [0; 3];
        let (body, behind) = rest[7..].split_at(length);
        let from = contents.len();
        match is_packed {
            true => {
                flate2::read::ZlibDecoder::new(body).read_to_end(&mut contents).unwrap();
            }
            false => contents.extend_from_slice(body),
        }
        // One packet a frame here.
        contents[from + 3] = 0;
        rest = behind;
    }
    assert!(rest.is_empty(), "half a header");
    (contents, is_open)
}

/// Frames that can't be unpacked: MySQL says nothing, and reads on.
const MYSQL_WAITS: [&str; 4] =
    ["a claim that is too small", "a claim without contents", "half a stream", "no stream at all"];

#[test]
fn wrong_frames_have_the_servers_answers() {
    let proxy = Proxy::start(servers());
    let ping = [1, 0, 0, 0, 0x0e];
    let long = [&[101, 0, 0, 0, 3][..], format!("DO '{:94}'", "").as_bytes(), b"  "].concat();
    let long = &long[..105];
    let packed = pack(Algorithm::Zlib, long);
    let cut = &packed[..packed.len() - 6];
    let cases: &[(&str, Vec<u8>)] = &[
        ("nothing", Vec::new()),
        ("a good one", frame(0, &packed, long.len())),
        ("two frames", [frame(0, &ping, 0), frame(0, &ping, 0)].concat()),
        ("one in two frames", [frame(0, &ping[..2], 0), frame(1, &ping[2..], 0)].concat()),
        ("an empty frame first", [frame(0, b"", 0), frame(1, &ping, 0)].concat()),
        ("other numbers inside", frame(0, &[1, 0, 0, 9, 0x0e], 0)),
        ("a wrong sequence id", frame(1, &ping, 0)),
        ("a wrong sequence id later", [frame(0, &ping[..2], 0), frame(5, &ping[2..], 0)].concat()),
        ("a claim that is too large", frame(0, &packed, long.len() + 1)),
        ("a claim that is too small", frame(0, &packed, long.len() - 1)),
        ("a claim of everything", frame(0, &packed, FULL)),
        ("a claim without contents", frame(0, b"", 100)),
        ("half a stream", frame(0, cut, long.len())),
        ("no stream at all", frame(0, &[0xa5; 60], 100)),
        ("half a header", vec![5, 0, 0]),
        ("half a body", frame(0, &packed, long.len())[..20].to_vec()),
        ("packets without frames", [&[20, 0, 0, 0, 3][..], b"SELECT 1 + 2 + 3 + 4"].concat()),
        ("an unknown command", frame(0, &[1, 0, 0, 0, 0xee], 0)),
        ("an empty packet", frame(0, &[0, 0, 0, 0], 0)),
    ];
    let mut differences = Vec::new();
    for (name, sent) in cases {
        let (direct, through) = (said(servers().primary, sent), said(proxy.port, sent));
        if product().is_mysql() && MYSQL_WAITS.contains(name) {
            let (waits, ends) = ((Vec::new(), true), (Vec::new(), false));
            assert_eq!(
                (direct, through),
                (waits, ends),
                "{name}: docs/compatibility.md, Compression"
            );
        } else if direct != through {
            let text =
                |said: &(Vec<u8>, bool)| format!("{}, open: {}", said.0.escape_ascii(), said.1);
            let (direct, through) = (text(&direct), text(&through));
            differences.push(format!("{name}\n  server:   {direct}\n  Fairlane: {through}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    eventually("no session is left", || proxy.metric("fairlane_sessions_open") == 0.0);
}
