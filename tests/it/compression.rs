//! Compressed connections to servers: that they are, for clients of every kind, and what becomes of
//! servers that do not compress, or wrongly. The differential suite has more clients on them.

use fairlane::protocol::compress::Algorithm;
use fairlane::protocol::{Capabilities, Command, Shape};

use crate::support::hop::Hop;
use crate::support::line::pack;
use crate::support::{Login, ONE_LANE, Proxy, Raw, Servers, eventually, servers};

const NOT_READY: &str = "the primary has not been reached yet";

/// The shared servers, compressed.
fn compressed() -> Servers {
    Servers { keys: "compression = \"zlib\"".to_owned(), ..servers().clone() }
}

fn app(proxy: &Proxy, more: Capabilities) -> Raw {
    let login = Login::new(proxy.port, "app", "app-secret");
    let more = login.more | more;
    Raw::login(&Login { more, schema: Some("shop"), ..login }).unwrap()
}

/// What the server says of the connection a client is on.
const ON_THE_SERVER: &str = "SELECT variable_value FROM information_schema.session_status \
                             WHERE variable_name = 'Compression'";

#[test]
fn the_two_legs_of_a_session_are_compressed_apart() {
    let off = Servers { keys: "compression = \"off\"".to_owned(), ..servers().clone() };
    let (off, zlib) = (Proxy::start(&off), Proxy::start(&compressed()));
    let over_sockets = Proxy::over_sockets(&compressed(), 5, "");
    for (proxy, to_server) in [(&off, "OFF"), (&zlib, "ON"), (&over_sockets, "ON")] {
        for (more, to_client) in [(Capabilities::empty(), "OFF"), (Capabilities::COMPRESS, "ON")] {
            let mut client = app(proxy, more);
            for route in ["primary", "replica"] {
                let hint = format!("/* fairlane: route={route} */ {ON_THE_SERVER}");
                assert_eq!(client.text(&hint), to_server, "{route}");
            }
            let shown = client.rows("SHOW STATUS LIKE 'Compression'");
            assert_eq!(shown[0][1].as_deref(), Some(to_client));
        }
    }
}

#[test]
fn everything_a_connection_carries_goes_through_frames() {
    let proxy = Proxy::with(&compressed(), 3, ONE_LANE);
    for (index, more) in [Capabilities::empty(), Capabilities::COMPRESS].into_iter().enumerate() {
        let mut client = app(&proxy, more);
        let mut other = app(&proxy, more);
        let table = format!("frames_{index}");
        client.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, data LONGBLOB)"));
        let length = 40_000_000;
        client.run(&format!("INSERT INTO {table} VALUES (0, '{}')", "x".repeat(length)));
        assert_eq!(client.text(&format!("SELECT LENGTH(data) FROM {table}")), length.to_string());
        assert!(client.run(&format!("SELECT data FROM {table}")).bytes.len() > length);

        let load = format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE {table}");
        let file: String = (1..50_000).map(|id| format!("{id}\tnote {id}\n")).collect();
        client.send(Command::Query, load.as_bytes());
        let answer = client.answer_with_file(Shape::Results, Some(file.as_bytes())).unwrap();
        assert_eq!(answer.summary.affected, Some(49_999));

        // A file in the midst of a text: the server's request for it is not the answer's first packet.
        let text = format!("SELECT 4; {load}; SELECT 5");
        client.send(Command::Query, text.as_bytes());
        let answer = client.answer_with_file(Shape::Results, Some(b"60000\tlate\n")).unwrap();
        assert_eq!(answer.summary.error, None, "{:?}", answer.error());
        assert_eq!(client.text(&format!("SELECT data FROM {table} WHERE id = 60000")), "late");

        // State that goes in front of statements, short ones and such of several frames.
        client.run("SET time_zone = '+05:00'");
        other.run("SET time_zone = '+02:00'");
        for length in [10, 60_000, 65_400, 65_536, 262_144, 600_000] {
            let long = "y".repeat(length);
            for (session, zone) in [(&mut client, "+05:00"), (&mut other, "+02:00")] {
                let sql = format!("SELECT @@time_zone, LENGTH('{long}')");
                let row = [Some(zone.to_owned()), Some(length.to_string())];
                assert_eq!(session.rows(&sql), [row]);
            }
        }
        client.command(Command::ResetConnection, b"").unwrap();
        assert_eq!(client.text("SELECT @@time_zone"), "SYSTEM");
    }
    assert!(!proxy.log().contains("wrong"), "{}", proxy.log());
}

#[test]
fn a_server_without_the_compression_wanted_is_not_used() {
    let keys = "compression = \"zstd\"".to_owned();
    let without = Servers { keys, ..servers().clone() };
    let proxy = Proxy::start_without_waiting(&without, 5, "");
    let told = "the server offers no zstd compression, and the key compression of this server wants \
                it (offered: zlib)";
    for backend in ["primary", "replica1"] {
        let is_told = |line: &str| line.contains(told) && line.contains(backend);
        eventually("the trouble is told", || proxy.log().lines().any(is_told));
    }
    assert!(!proxy.get("/readyz").starts_with("HTTP/1.1 200"));
    let error = proxy.try_app().map(drop).unwrap_err();
    assert!(format!("{error:?}").contains(NOT_READY), "{error:?}");

    let far = format!(
        "[[replica]]\nname = \"far\"\naddress = \"127.0.0.1:{}\"\ncompression = \"zstd\"\n",
        servers().replica
    );
    let proxy = Proxy::with(&Servers { keys: String::new(), ..servers().clone() }, 5, &far);
    eventually("the trouble is told", || proxy.log().contains(told));
    assert_eq!(proxy.metric("fairlane_backend_in_rotation{backend=\"far\"}"), 0.0);
    assert_eq!(proxy.app().text("SELECT 1"), "1");
}

/// Zeros, more than a frame may hold, packed.
fn bomb() -> Vec<u8> {
    pack(Algorithm::Zlib, &vec![0; 1 << 26])
}

fn frame(sequence: u8, claim: usize, body: &[u8]) -> Vec<u8> {
    let (length, claim) = (body.len().to_le_bytes(), claim.to_le_bytes());
    let header = [length[0], length[1], length[2], sequence, claim[0], claim[1], claim[2]];
    [&header[..], body].concat()
}

/// What a server might say that has lost its way, and what is said of it.
type Mistake = (fn(&mut Vec<u8>), &'static str);

const MISTAKES: &[Mistake] = &[
    (|bytes| bytes[3] = 77, "Got packets out of order"),
    (|bytes| bytes.iter_mut().for_each(|byte| *byte = 0xff), "Got packets out of order"),
    (|bytes| *bytes = frame(1, 0xff_ffff, &[0xa5; 100]), "Couldn't uncompress"),
    (|bytes| *bytes = frame(1, 0xff_ffff, &bomb()), "Couldn't uncompress"),
    (|bytes| *bytes = frame(1, 100, &bomb()), "Couldn't uncompress"),
    (|bytes| *bytes = frame(1, 100, b""), "Couldn't uncompress"),
];

#[test]
fn a_servers_wrong_frame_costs_its_connection_and_no_more() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, &compressed(), 3, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE wrong_frames (id INT AUTO_INCREMENT PRIMARY KEY)");
    client.run("INSERT INTO wrong_frames VALUES (NULL)");
    let told = |what: &str| {
        let is_it = |line: &&str| line.contains("compressed frame is wrong") && line.contains(what);
        proxy.log().lines().filter(is_it).count()
    };
    for (spoil, what) in MISTAKES {
        for sql in ["SELECT REPEAT('z', 3)", "INSERT INTO wrong_frames VALUES (NULL)"] {
            let before = told(what);
            hop.spoil(*spoil);
            let lost = client.query(sql).map(drop).unwrap_err();
            assert_eq!(lost.code(), 1158, "{lost:?}");
            assert!(hop.has_spoilt());
            assert_eq!(told(what), before + 1, "{}", proxy.log());
            assert_eq!(client.text("SELECT 'goes on'"), "goes on");
        }
    }
    let count = client.text("SELECT COUNT(*) FROM wrong_frames");
    assert_eq!(count, (MISTAKES.len() + 1).to_string());
    let most = most_resident_kib(proxy.pid());
    assert!(most < 300 * 1024, "{most} KiB");
}

/// Most memory a process has held.
fn most_resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
