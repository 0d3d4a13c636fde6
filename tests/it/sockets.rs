//! Servers on Unix sockets: what goes over TCP goes over them.

use fairlane::protocol::{Command, Shape};
use fairlane::sandbox::Options;

use crate::support::servers::{What, keep, order};
use crate::support::{ONE_LANE, Proxy, Raw, eventually, pause, servers};

#[test]
fn large_packets_files_and_statements_pass() {
    let proxy = Proxy::over_sockets(servers(), 3, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE sockets_a (id INT PRIMARY KEY, data LONGBLOB)");
    let length = 40_000_000;
    client.run(&format!("INSERT INTO sockets_a VALUES (1, '{}')", "x".repeat(length)));
    assert!(client.run("SELECT data FROM sockets_a").bytes.len() > length);
    let load = "LOAD DATA LOCAL INFILE 'x' INTO TABLE sockets_a";
    let file: String = (2..50_000).map(|id| format!("{id}\tnote {id}\n")).collect();
    client.send(Command::Query, load.as_bytes());
    let answer = client.answer_with_file(Shape::Results, Some(file.as_bytes())).unwrap();
    assert_eq!(answer.summary.affected, Some(49_998));
    assert_eq!(client.text("SELECT COUNT(*) FROM sockets_a"), "49999");
}

#[test]
fn a_statement_is_killed_and_its_connection_goes_on() {
    let proxy = Proxy::over_sockets(servers(), 4, ONE_LANE);
    let mut sleeper = proxy.app();
    let id = sleeper.text("SELECT CONNECTION_ID()");
    let mut other = proxy.app();
    let asleep = std::thread::spawn(move || {
        let killed = sleeper.query("SELECT SLEEP(20)").unwrap_err();
        (killed.code(), sleeper.text("SELECT 'alive'"))
    });
    pause(300);
    other.run(&format!("KILL QUERY {id}"));
    assert_eq!(asleep.join().unwrap(), (1317, "alive".to_owned()));
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let (servers, orders) = keep(Options::default());
    let proxy = Proxy::over_sockets(&servers, 4, "");
    let mut client = proxy.app();
    client.run("CREATE TABLE sockets_b (id INT PRIMARY KEY)");
    client.run("INSERT INTO sockets_b VALUES (1)");
    assert_eq!(client.text("SELECT COUNT(*) FROM sockets_b"), "1");
    order(&orders, What::KillPrimary);
    eventually("the primary is down", || {
        proxy.metric("fairlane_backend_up{backend=\"primary\"}") == 0.0
    });
    let refused =
        proxy.try_app().and_then(|mut late| late.query("INSERT INTO sockets_b VALUES (2)"));
    assert!(refused.is_err() || refused.unwrap().error().is_some());
    order(&orders, What::StartPrimary);
    eventually("the primary is up", || {
        proxy.metric("fairlane_backend_up{backend=\"primary\"}") == 1.0
    });
    proxy.app().run("INSERT INTO sockets_b VALUES (3)");
}

#[test]
fn a_primary_that_wants_tls_gets_no_client_without() {
    let (servers, _orders) = keep(Options::default());
    let proxy = Proxy::over_sockets(&servers, 4, "");
    let open = Proxy::over_sockets(&servers, 4, "[tls]\nmode = \"disabled\"");
    let mut root = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    root.run("SET GLOBAL require_secure_transport = ON");
    let direct = Raw::connect(servers.primary, "app", "app-secret", None).unwrap_err();
    assert_eq!(proxy.try_app().unwrap_err(), direct);
    open.app().run("SELECT 1");
    root.run("SET GLOBAL require_secure_transport = OFF");
    proxy.app().run("SELECT 1");
}
