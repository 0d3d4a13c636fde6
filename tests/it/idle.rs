//! Clients that are idle for longer than their session may be.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use fairlane::protocol::{Capabilities, Command, Shape, packet};

use crate::support::{Failed, Login, ONE_LANE, Proxy, Raw, eventually, pause, product, servers};

/// The server closes the connection at its `wait_timeout`, Fairlane within a second of it.
const SOON: Duration = Duration::from_millis(3_500);

fn assert_ends_soon(mut client: Raw, side: &str) {
    let start = Instant::now();
    // MariaDB resets the connection, so that sending the next command fails already; MySQL tells why.
    let ended = client.stream.read(&mut [0]).map_err(|error| error.kind());
    let expected = if product().is_mysql() { Ok(1) } else { Err(ErrorKind::ConnectionReset) };
    assert_eq!(ended, expected, "{side}");
    let took = start.elapsed();
    assert!(took > Duration::from_millis(800) && took < SOON, "{side}: {took:?}");
}

#[test]
fn a_client_idle_for_longer_than_its_wait_timeout_is_disconnected() {
    let proxy = Proxy::with(servers(), 4, "");
    for port in [servers().primary, proxy.port] {
        let side = if port == proxy.port { "Fairlane" } else { "server" };
        let connect = || Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        let (mut untouched, mut forgotten) = (connect(), connect());
        forgotten.run("SET wait_timeout = 1");
        let mut idle = connect();
        idle.run("SET SESSION wait_timeout = 1");
        assert_ends_soon(idle, side);
        let mut holding = connect();
        holding.run("SET SESSION wait_timeout = 1");
        holding.hold();
        assert_ends_soon(holding, side);
        let mut begun = connect();
        begun.run("SET SESSION wait_timeout = 1");
        begun.run("BEGIN");
        assert_ends_soon(begun, side);
        // The statements of a client that is never idle for so long go on.
        let mut active = connect();
        active.run("SET wait_timeout = 1");
        for _ in 0..8 {
            pause(400);
            assert_eq!(active.text("SELECT @@wait_timeout"), "1", "{side}");
        }
        assert_eq!(active.text("SELECT SLEEP(2.5)"), "0", "{side}");
        assert_eq!(untouched.text("SELECT 1"), "1", "{side}");
        let told = forgotten.query("SELECT 1").map(drop).unwrap_err();
        let is_told = product().is_mysql() && told.code() == 4031;
        assert!(is_told || told == Failed::Closed, "{side}: {told:?}");
        // The global value holds again after a reset.
        let mut reset = connect();
        reset.run("SET wait_timeout = 1");
        reset.command(Command::ResetConnection, b"").unwrap();
        pause(2_500);
        assert_eq!(reset.text("SELECT 1"), "1", "{side}");
    }
}

#[test]
fn an_interactive_client_has_the_interactive_timeout() {
    let mut root = servers().root();
    root.run("SET GLOBAL interactive_timeout = 1");
    let proxy = Proxy::with(servers(), 4, "");
    let mut plain = proxy.app();
    let mut login = Login::new(proxy.port, "app", "app-secret");
    login.more |= Capabilities::INTERACTIVE;
    let interactive = Raw::login(&login).unwrap();
    root.run("SET GLOBAL interactive_timeout = DEFAULT");
    assert_ends_soon(interactive, "Fairlane");
    assert_eq!(plain.text("SELECT 1"), "1");
}

/// A session's own limit holds for the connections that it leaves to others.
#[test]
fn a_connection_at_rest_is_closed_before_the_limit_that_it_has() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let closed = "fairlane_backend_connections_closed_total{backend=\"primary\",reason=\"idle\"}";
    let mut own = proxy.app();
    own.run("SET SESSION wait_timeout = 4");
    own.run("DO 1");
    eventually("it is closed", || proxy.metric(closed) == 1.0);
    let mut root = servers().root();
    root.run("SET GLOBAL interactive_timeout = 4");
    let mut login = Login::new(proxy.port, "app", "app-secret");
    login.more |= Capabilities::INTERACTIVE;
    let mut interactive = Raw::login(&login).unwrap();
    interactive.run("DO 1");
    root.run("SET GLOBAL interactive_timeout = DEFAULT");
    eventually("so is that of an interactive client", || proxy.metric(closed) >= 2.0);
}

/// A command as its bytes come, in one stored frame where frames are compressed.
fn bytes_of(sql: &str, is_compressed: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet::put(&mut bytes, 0, &[&[Command::Query as u8], sql.as_bytes()].concat());
    if is_compressed {
        let length = bytes.len().to_le_bytes();
        bytes.splice(..0, [length[0], length[1], length[2], 0, 0, 0, 0]);
    }
    bytes
}

#[test]
fn a_client_that_sends_a_command_is_not_idle() {
    let proxy = Proxy::with(servers(), 4, "");
    for port in [servers().primary, proxy.port] {
        for more in [Capabilities::empty(), Capabilities::COMPRESS] {
            let mut login = Login::new(port, "app", "app-secret");
            login.more |= more;
            let mut client = Raw::login(&login).unwrap();
            client.run("SET SESSION wait_timeout = 2");
            let sql = format!("SELECT LENGTH('{}')", "x".repeat(100_000));
            let bytes = bytes_of(&sql, !more.is_empty());
            client.stream.begin();
            for piece in bytes.chunks(bytes.len() / 12) {
                pause(400);
                client.stream.socket.write_all(piece).unwrap();
            }
            client.stream.note_frame();
            let error = client.answer(Shape::Results).map(|answer| answer.error());
            assert_eq!(error, Ok(None), "port {port}, {more:?}");
        }
    }
    // One that stops in the middle is.
    let mut client = proxy.app();
    client.run("SET SESSION wait_timeout = 1");
    client.stream.socket.write_all(&bytes_of("SELECT 1", false)[..8]).unwrap();
    let ended = client.stream.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(0..=1) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
}

/// How long a client may be idle, and what keeps its connection then.
fn keepers() -> Vec<[&'static str; 3]> {
    let table = "CREATE TEMPORARY TABLE idle_kept (id INT)";
    let insert = "INSERT INTO idle_kept VALUES (1), (2), (3)";
    let mut all = vec![["SET SESSION wait_timeout = 4", table, insert]];
    if !product().is_mysql() {
        all.push(["SET SESSION idle_transaction_timeout = 4", "BEGIN", "SELECT 1 FOR UPDATE"]);
    }
    all
}

#[test]
fn a_client_that_sends_a_command_keeps_its_connection() {
    let proxy = Proxy::with(servers(), 4, "");
    for keeper in keepers() {
        let told = [servers().primary, proxy.port].map(|port| {
            let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
            keeper.iter().for_each(|sql| drop(client.run(sql)));
            let sql = format!(
                "GET DIAGNOSTICS @rows = ROW_COUNT, @n = NUMBER /* {} */",
                "x".repeat(10_000)
            );
            let bytes = bytes_of(&sql, false);
            for piece in bytes.chunks(bytes.len() / 14 + 1) {
                pause(600);
                client.stream.socket.write_all(piece).unwrap();
            }
            let answer = client.answer(Shape::Results).map(|answer| answer.error());
            assert_eq!(answer, Ok(None), "{keeper:?}, port {port}");
            client.rows("SELECT @rows, @n")
        });
        assert_eq!(told[0], told[1], "{keeper:?}");
        // One that stops in the middle does not.
        let mut client = proxy.app();
        keeper.iter().for_each(|sql| drop(client.run(sql)));
        client.stream.socket.write_all(&bytes_of("SELECT 1", false)[..8]).unwrap();
        let ended = client.stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(0..=1) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
    }
}

#[test]
fn a_client_keeps_its_connection_by_commands_that_are_answered_without_it() {
    let proxy = Proxy::with(servers(), 4, "");
    for keeper in keepers() {
        for port in [servers().primary, proxy.port] {
            let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
            keeper.iter().for_each(|sql| drop(client.run(sql)));
            for _ in 0..4 {
                // Less than half of the limit: when it comes, the connection need not hear of it yet.
                pause(1_700);
                client.send(Command::StmtClose, &99_999_u32.to_le_bytes());
            }
            pause(3_000);
            let alive = client.query("SELECT 1").map(|answer| answer.error());
            assert_eq!(alive, Ok(None), "{keeper:?}, port {port}");
        }
    }
}

#[test]
fn a_command_that_was_begun_is_answered_before_fairlane_goes_down() {
    let mut proxy = Proxy::with(servers(), 4, "");
    let (mut idle, mut sender) = (proxy.app(), proxy.app());
    let bytes = bytes_of("SELECT 1", false);
    sender.stream.socket.write_all(&bytes[..8]).unwrap();
    // What was sent before has come.
    idle.run("SELECT 1");
    proxy.signal("TERM");
    eventually("an idle session ends", || idle.query("SELECT 1").is_err());
    sender.stream.socket.write_all(&bytes[8..]).unwrap();
    assert!(sender.answer(Shape::Results).unwrap().error().is_none());
    eventually("Fairlane ends", || proxy.exit_code().is_some());
}
