//! Autocommit as sessions begin with it: as it is globally, or as `init_connect` sets it, whatever a replica has.

use fairlane::protocol::Command;
use fairlane::sandbox::Options;

use crate::support::servers::{Servers, keep};
use crate::support::{ONE_LANE_AND_REPLICA, Proxy, Raw, end_connections, pause, product};

const AUTOCOMMIT: &str = "SELECT @@autocommit";

fn options() -> Options {
    Options { max_connections: 50, ..product().options() }
}

fn direct(servers: &Servers) -> Raw {
    Raw::connect(servers.primary, "app", "app-secret", Some("shop")).unwrap()
}

/// A read on a replica would begin a transaction there, which can't write.
#[test]
fn who_has_read_writes_where_autocommit_is_off() {
    let (servers, _orders) = keep(options());
    let mut root = servers.root();
    root.run("CREATE TABLE shop.ac_read (a INT)");
    root.run("INSERT INTO shop.ac_read VALUES (0)");
    for (off, on) in [
        ("autocommit = 0", "autocommit = 1"),
        ("init_connect = 'SET autocommit = 0'", "init_connect = ''"),
    ] {
        for mut root in [servers.root(), servers.replica_root()] {
            root.run(&format!("SET GLOBAL {off}"));
        }
        let proxy = Proxy::with(&servers, 2, ONE_LANE_AND_REPLICA);
        let tell = |mut client: Raw| {
            let told = [
                "SELECT COUNT(*) FROM ac_read",
                "UPDATE ac_read SET a = a + 1",
                "ROLLBACK",
                "SELECT MAX(a) FROM ac_read",
                "COMMIT",
                "DO 1",
            ]
            .map(|sql| client.run(sql).packets());
            let pinged = client.command(Command::Ping, b"").unwrap().packets();
            client.command(Command::ResetConnection, b"").unwrap();
            (told, pinged, client.text(AUTOCOMMIT))
        };
        assert_eq!(tell(proxy.app()), tell(direct(&servers)), "{off}");
        for left in ["DO 1", "CREATE TEMPORARY TABLE ac_left (a INT)"] {
            let mut one = proxy.app();
            one.run("SET autocommit = 1");
            one.run(left);
            drop(one);
            for _ in 0..3 {
                pause(20);
                let mut next = proxy.app();
                assert_eq!(next.text(AUTOCOMMIT), "0", "{off}, after {left}");
                next.run("INSERT INTO ac_read VALUES (7)");
            }
        }
        assert_eq!(root.text("SELECT COUNT(*) FROM shop.ac_read WHERE a = 7"), "0", "{off}");
        for mut root in [servers.root(), servers.replica_root()] {
            root.run(&format!("SET GLOBAL {on}"));
        }
    }
}

#[test]
fn sessions_begin_with_the_autocommit_there_is() {
    let (servers, _orders) = keep(options());
    let mut root = servers.root();
    root.run("CREATE TABLE shop.ac_begin (a INT)");
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut open = proxy.app();
    let count = "SELECT COUNT(*) FROM ac_begin";
    proxy.until_replica_answers(&mut open, count);
    Raw::connect(proxy.port, "root", "root-secret", None).unwrap().run("SET GLOBAL autocommit = 0");
    let begin = |mut client: Raw| {
        let pinged = client.command(Command::Ping, b"").unwrap().summary.status;
        let told = (client.greeting.status, pinged, client.text(AUTOCOMMIT), client.text(count));
        (told, client)
    };
    let (told, mut through) = begin(proxy.app());
    let (expected, mut direct) = begin(direct(&servers));
    assert_eq!(told, expected);
    root.run("INSERT INTO shop.ac_begin VALUES (1)");
    for client in [&mut direct, &mut through] {
        assert_eq!(client.text(count), "0", "it has its snapshot");
    }
}

/// Where that is off, a read would begin a transaction that can't write.
#[test]
fn a_replicas_own_autocommit_does_not_count() {
    let (servers, _orders) = keep(options());
    servers.replica_root().run("SET GLOBAL autocommit = 0");
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut client = proxy.app();
    client.run("CREATE TABLE ac_replica (a INT)");
    for _ in 0..2 {
        proxy.until_replica_answers(&mut client, "SELECT a FROM ac_replica");
        client.run("INSERT INTO ac_replica VALUES (1)");
    }
    assert_eq!(client.text("SELECT COUNT(*) FROM ac_replica"), "2");
}

/// Also of those whose values writes hang on.
#[test]
fn sessions_go_on_with_the_autocommit_they_began_with() {
    let (servers, _orders) = keep(options());
    let mut root = servers.root();
    root.run("CREATE TABLE shop.ac_on (a INT)");
    let others = [
        ("autocommit", "0"),
        ("completion_type", "1"),
        ("foreign_key_checks", "0"),
        ("sql_auto_is_null", "1"),
        ("unique_checks", "0"),
    ];
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut before = proxy.app();
    let asked = others.map(|(name, _)| format!("@@{name}")).join(", ");
    let ask = format!("/* fairlane: route=primary */ SELECT {asked}");
    let begun = before.rows(&ask);
    let global = others.map(|(name, value)| format!("GLOBAL {name} = {value}")).join(", ");
    let mut set = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    set.run(&format!("SET {global}"));
    end_connections(&mut root, "app");
    assert_eq!(before.rows(&ask), begun);
    let now = ["0", "CHAIN", "0", "1", "0"].map(|value| Some(value.to_owned()));
    assert_eq!(proxy.app().rows(&ask), [now]);
    before.run("INSERT INTO ac_on VALUES (1)");
    assert_eq!(root.text("SELECT COUNT(*) FROM shop.ac_on"), "1");
}
