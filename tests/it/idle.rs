//! Clients that are idle for longer than their session may be.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use fairlane::protocol::Capabilities;

use crate::support::{Failed, Login, Proxy, Raw, pause, servers};

/// The server closes the connection at its `wait_timeout`, Fairlane within a second of it.
const SOON: Duration = Duration::from_millis(3_500);

fn assert_ends_soon(mut client: Raw, side: &str) {
    let start = Instant::now();
    // MariaDB resets the connection, so that sending the next command fails already.
    let ended = client.stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{side}: nothing is said");
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
        assert!(matches!(forgotten.query("SELECT 1"), Err(Failed::Closed)), "{side}");
        // The global value holds again after a reset.
        let mut reset = connect();
        reset.run("SET wait_timeout = 1");
        reset.command(fairlane::protocol::Command::ResetConnection, b"").unwrap();
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
