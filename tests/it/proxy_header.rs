//! The PROXY protocol, in and out: with it, Fairlane has to answer as MariaDB does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;

use crate::support::{
    Failed, Login, ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, Servers, eventually, servers,
};

const TRUSTED: &str = "proxy_protocol_networks = \"127.0.0.1\"\n";

fn prepare() {
    let mut root = servers().root();
    for sql in [
        "CREATE USER IF NOT EXISTS ph_a@'10.9.%' IDENTIFIED BY 'x'",
        "GRANT SELECT ON shop.* TO ph_a@'10.9.%'",
        "CREATE USER IF NOT EXISTS ph_a@'2001:db8::%' IDENTIFIED BY 'x'",
        "CREATE USER IF NOT EXISTS ph_a@localhost IDENTIFIED BY 'x'",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
}

fn line(client: &str) -> Vec<u8> {
    let (family, server) = if client.contains(':') { (6, "::1") } else { (4, "127.0.0.1") };
    format!("PROXY TCP{family} {client} {server} 4444 3306\r\n").into_bytes()
}

/// A header of version 2.
fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, rest].concat()
}

fn log_in(port: u16, header: &[u8]) -> Result<Raw, Failed> {
    Raw::login(&Login { header, ..Login::new(port, "ph_a", "x") })
}

/// What a client gets that begins with `header`: its names, or the error.
fn visit(port: u16, from: [u8; 4], header: &[u8]) -> Result<String, Failed> {
    let mut client = Raw::login(&Login { header, from, ..Login::new(port, "ph_a", "x") })?;
    Ok(client.text("SELECT CONCAT(USER(), ' ', CURRENT_USER())"))
}

/// The shared servers, which are told whom a connection is for.
fn told(version: &str) -> Servers {
    Servers { keys: format!("proxy_protocol = \"{version}\""), ..servers().clone() }
}

#[test]
fn a_client_has_the_address_its_load_balancer_tells_as_on_the_server() {
    prepare();
    let four = [10, 9, 1, 3, 10, 0, 0, 1, 0x11, 0x5c, 0x0c, 0xea];
    let six: Vec<u8> =
        (0..36).map(|at| [0x20, 1, 0x0d, 0xb8].get(at).copied().unwrap_or(7)).collect();
    let headers = [
        Vec::new(),
        line("10.9.1.2"),
        line("10.8.1.2"),
        line("127.0.0.1"),
        line("2001:db8::7"),
        line("::ffff:10.9.1.2"),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY \r\n".to_vec(),
        b"PROXY TCP4 10.9.1.999 10.0.0.1 4444 3306\r\n".to_vec(),
        b"PROXY TCP4 10.9.1.2\r\n".to_vec(),
        [&b"PROXY "[..], &[b'x'; 300]].concat(),
        second(1, 0x11, &four),
        second(1, 0x11, &[&four[..], &[4, 0, 3], b"abc"].concat()),
        second(1, 0x21, &six),
        second(1, 0x31, &[b'/'; 216]),
        second(0, 0, b""),
        second(0, 0x11, &four),
        second(5, 0x11, &four),
        second(1, 0x11, b"abc"),
    ];
    for version in ["v1", "v2"] {
        let proxy = Proxy::with(&told(version), 5, TRUSTED);
        for header in &headers {
            for from in [[127, 0, 0, 1], [127, 0, 0, 2]] {
                let direct = visit(servers().primary, from, header);
                let through = visit(proxy.port, from, header);
                // Where the end of a connection overtakes its error, there is nothing to compare.
                if direct != Err(Failed::Closed) && through != Err(Failed::Closed) {
                    assert_eq!(through, direct, "{version} {from:?} {}", header.escape_ascii());
                }
            }
        }
        let name = "fairlane_logins_failed_total{reason=\"proxy_header\"}";
        eventually("refused headers are counted", || proxy.metric(name) >= 20.0);
    }
}

#[test]
fn headers_are_refused_unless_they_are_asked_for() {
    prepare();
    let proxy = Proxy::with(servers(), 5, "");
    let refused = log_in(proxy.port, &line("10.9.1.2")).expect_err("nobody is trusted");
    assert_eq!(refused.code(), 1130, "{refused:?}");
    // Only the first one counts: what follows comes from the client.
    let proxy = Proxy::with(servers(), 5, TRUSTED);
    let twice = [line("10.9.1.2"), line("127.0.0.1")].concat();
    assert!(log_in(proxy.port, &twice).is_err());
    // Somebody who is to be believed and does not go on.
    let mut half = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    half.write_all(b"PROXY TCP4 10.9").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    half.read_to_end(&mut said).unwrap();
    assert_eq!(usize::from(said[0]) + 4, said.len(), "nothing but the greeting");
}

#[test]
fn connections_are_shared_by_clients_of_one_address_only() {
    prepare();
    let proxy = Proxy::with(&told("v2"), 2, &format!("{TRUSTED}{ONE_LANE}"));
    let connect = |client: &str| log_in(proxy.port, &line(client)).unwrap();
    let (mut one, mut two, mut same) =
        (connect("10.9.1.2"), connect("10.9.1.3"), connect("10.9.1.2"));
    for _ in 0..3 {
        assert_eq!(one.text("SELECT USER()"), "ph_a@10.9.1.2");
        assert_eq!(two.text("SELECT USER()"), "ph_a@10.9.1.3");
    }
    assert_eq!(one.text("SELECT USER()"), "ph_a@10.9.1.2");
    let opened = "fairlane_backend_connections_opened_total{backend=\"primary\"}";
    let before = proxy.metric(opened);
    assert_eq!(same.text("SELECT USER()"), "ph_a@10.9.1.2");
    assert_eq!(proxy.metric(opened), before);
    assert!(same.query("SELECT 1 FROM nowhere.nothing").is_err());
    let denied = connect("127.0.0.1").query("SELECT * FROM shop.users").expect_err("no grant");
    assert_eq!(denied.code(), 1142, "{denied:?}");
}

/// They are the same there as at the primary, which is told the same address.
#[test]
fn replicas_answer_clients_whose_address_they_are_told() {
    prepare();
    let proxy = Proxy::with(&told("v2"), 5, &format!("{TRUSTED}{ONE_LANE_AND_REPLICA}"));
    for client in ["10.9.1.4", "127.0.0.1"] {
        let mut client = log_in(proxy.port, &line(client)).unwrap();
        proxy.until_replica_answers(&mut client, "SELECT 1 FROM (SELECT 1) t");
    }
}

#[test]
fn rules_and_the_session_list_see_the_clients_address() {
    prepare();
    let rules = "[[rule]]\nlane = \"batch\"\nnetwork = \"10.9.1.0/24\"\n";
    let proxy = Proxy::with(servers(), 5, &format!("{TRUSTED}{rules}"));
    let app = |client: &str| {
        let header = line(client);
        Raw::login(&Login { header: &header, ..Login::new(proxy.port, "app", "app-secret") })
    };
    let admitted = "fairlane_lane_admitted_total{backend=\"primary\",lane=\"batch\"}";
    let before = proxy.metric(admitted);
    let mut other = app("10.8.1.2").unwrap();
    other.run("DO 1");
    assert_eq!(proxy.metric(admitted), before);
    let mut batch = app("10.9.1.2").unwrap();
    batch.run("SELECT 1 FROM DUAL FOR UPDATE");
    eventually("the rule holds", || proxy.metric(admitted) > before);
    let state = proxy.get("/state");
    assert!(state.contains("\"10.9.1.2:4444\"") && state.contains("\"10.8.1.2:4444\""), "{state}");
}

/// A load balancer for one connection.
fn balance(port: u16, header: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        server.write_all(&header).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    own
}

#[test]
fn a_header_comes_before_the_greeting_and_before_tls() {
    prepare();
    let more = format!("{TRUSTED}[tls]\nmode = \"required\"\n");
    let proxy = Proxy::with(&told("v1"), 5, &more);
    let port = balance(proxy.port, line("10.9.1.2"));
    let output = Command::new("mariadb")
        .args(["--no-defaults", "-h127.0.0.1", "-uph_a", "-px", "-N", "--ssl"])
        .args([&format!("-P{port}"), "-e", "SELECT USER()"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ph_a@10.9.1.2\n", "{errors}");
}
