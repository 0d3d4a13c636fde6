//! Accounts of sha256_password: every way to log in to one, next to the server's own answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fairlane::protocol::handshake::{Greeting, HandshakeResponse, auth_switch, parse_auth_switch};
use fairlane::protocol::packet::{self, Header};
use fairlane::protocol::{Capabilities, Command};

use crate::support::{Proxy, Raw, eventually};
use crate::{as_root, client, mysql, with_keys};

const OPEN: &str = "--ssl-mode=DISABLED";
const TLS: &str = "--ssl-mode=REQUIRED";
const WITH: &str = "IDENTIFIED WITH sha256_password";

/// The packets behind the greeting, where the client answers the server's with `answers`; nonces
/// and keys are masked.
fn told(port: u16, user: &str, answers: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (_, greeting) = read(&mut stream).expect("a greeting");
    let greeting = Greeting::parse(&greeting).expect("a greeting");
    let response = HandshakeResponse {
        capabilities: Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::TRANSACTIONS,
        compresses_unasked: false,
        max_packet: 1 << 24,
        collation: greeting.collation,
        user: user.into(),
        // The server asks whatever was said before.
        auth: b"\x01".to_vec(),
        schema: None,
        plugin: "sha256_password".into(),
        attributes: Vec::new(),
        zstd_level: 0,
    };
    write(&mut stream, 1, &response.encode());
    let (mut said, mut answers) = (Vec::new(), answers.iter());
    while let Some((sequence, mut payload)) = read(&mut stream) {
        match payload[0] {
            0xfe => {
                let (plugin, nonce) = parse_auth_switch(&payload).unwrap();
                payload = auth_switch(&plugin, &vec![b'n'; nonce.len()]);
            }
            0x01 => {
                assert!(payload.starts_with(b"\x01-----BEGIN PUBLIC KEY-----\n"));
                payload.truncate(2);
            }
            _ => {}
        }
        said.push((sequence, payload));
        match answers.next() {
            Some(answer) => write(&mut stream, sequence + 1, answer),
            None => break,
        }
    }
    said
}

fn write(stream: &mut TcpStream, sequence: u8, payload: &[u8]) {
    let mut out = Vec::new();
    packet::put(&mut out, sequence, payload);
    stream.write_all(&out).unwrap();
}

fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let header = Header::parse(&header)?;
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload).ok()?;
    Some((header.sequence, payload))
}

#[test]
fn every_packet_is_the_servers() {
    let servers = mysql();
    as_root(servers, &format!("CREATE USER s_a {WITH} BY 'pw'; CREATE USER s_empty_a {WITH}"));
    let proxy = Proxy::start(servers);
    let garbage: &[u8] = &[b'g'; 256];
    let ways: [&[&[u8]]; 9] = [
        &[],
        &[b""],
        &[b"\0"],
        &[b"pw\0"],
        &[garbage],
        &[b"\x01", garbage],
        &[b"\x01", b"garbage"],
        &[b"\x01", b""],
        &[b"\x01", b"\0"],
    ];
    for user in ["s_a", "s_empty_a"] {
        for answers in ways {
            let (direct, through) =
                (told(servers.primary, user, answers), told(proxy.port, user, answers));
            assert!(direct[0].1.starts_with(b"\xfesha256_password\0"), "{direct:?}");
            assert_eq!(through, direct, "{user} {answers:?}");
        }
    }
}

#[test]
fn a_password_changes_and_the_old_one_may_be_retained() {
    let servers = mysql();
    as_root(servers, &format!("CREATE USER s_b {WITH} BY 'first'"));
    let proxy = Proxy::start(servers);
    // Between the two ways the account may have been looked at anew.
    let login = |password: &str| {
        let said =
            [TLS, OPEN].map(|way| client(proxy.port, &["-us_b", password, way], "SELECT 'in'"));
        (said[0] == said[1]).then(|| said[0].out == "in\n")
    };
    let (is_in, is_out) = (Some(true), Some(false));
    assert!(login("-pfirst") == is_in && login("-psecond") == is_out);
    as_root(servers, "ALTER USER s_b IDENTIFIED BY 'second' RETAIN CURRENT PASSWORD");
    eventually("both are good", || login("-psecond") == is_in && login("-pfirst") == is_in);
    as_root(servers, "ALTER USER s_b DISCARD OLD PASSWORD");
    eventually("the old one is not", || login("-pfirst") == is_out && login("-psecond") == is_in);
    as_root(servers, "ALTER USER s_b IDENTIFIED WITH caching_sha2_password BY 'third'");
    eventually("the plugin is another", || {
        client(proxy.port, &["-us_b", "-pthird", TLS], "SELECT 'in'").out == "in\n"
    });
    as_root(servers, &format!("ALTER USER s_b {WITH} BY 'fourth'"));
    eventually("and this one again", || login("-pfourth") == is_in && login("-pthird") == is_out);
}

#[test]
fn the_way_to_the_server_may_be_any() {
    let servers = mysql();
    as_root(
        servers,
        &format!("CREATE USER s_c {WITH} BY 'pw', s_empty_c {WITH}, s_d {WITH} BY 'known'"),
    );
    let configured = "[[user]]\nname = \"s_d\"\npassword = \"known\"";
    for proxy in [
        Proxy::with(&with_keys("tls = \"required\""), 8, configured),
        Proxy::with(servers, 8, configured),
        Proxy::over_sockets(servers, 8, configured),
    ] {
        let said = |arguments: &[&str]| client(proxy.port, arguments, "SELECT CURRENT_USER()");
        for way in [TLS, OPEN] {
            assert_eq!(said(&["-us_c", "-ppw", way]).out, "s_c@%\n");
            assert!(said(&["-us_c", "-pwrong", way]).err.contains("using password: YES"));
            assert!(said(&["-us_c", way]).err.contains("using password: NO"));
            assert_eq!(said(&["-us_empty_c", way]).out, "s_empty_c@%\n");
            assert!(said(&["-us_empty_c", "-px", way]).err.contains("using password: YES"));
            assert_eq!(said(&["-us_d", "-pknown", way]).out, "s_d@%\n");
            assert!(said(&["-us_d", "-pwrong", way]).err.contains("using password: YES"));
        }
    }
}

#[test]
fn a_session_changes_to_it_and_back() {
    let servers = mysql();
    as_root(servers, &format!("CREATE USER s_e {WITH} BY 'pw'"));
    let proxy = Proxy::start(servers);
    for port in [servers.primary, proxy.port] {
        let mut client = Raw::connect(port, "app", "app-secret", None).expect("a login");
        let mut change = |user: &str, password: &str| {
            let body = [user.as_bytes(), b"\0\0\0\x2d\0nothing\0\0"].concat();
            client.send(Command::ChangeUser, &body);
            client.prove(password).map(|()| client.text("SELECT CURRENT_USER()"))
        };
        assert_eq!(change("s_e", "pw").as_deref(), Ok("s_e@%"));
        assert!(change("app", "app-secret").expect("changed").starts_with("app@"));
        assert_eq!(change("s_e", "wrong").unwrap_err().code(), 1045);
    }
}

/// Clients that are to have the key in a file get it from there.
#[test]
fn status_shows_the_key_that_passwords_are_encrypted_with() {
    let servers = mysql();
    as_root(servers, &format!("CREATE USER s_f {WITH} BY 'pw'"));
    let proxy = Proxy::start(servers);
    let directory = tempfile::tempdir().unwrap();
    for variable in ["Rsa_public_key", "Caching_sha2_password_rsa_public_key"] {
        let mut app = proxy.app();
        let rows = app.rows(&format!("SHOW STATUS LIKE '{variable}'"));
        let [name, Some(key)] = &rows[0][..] else { panic!("{rows:?}") };
        assert_eq!(name.as_deref(), Some(variable));
        let file = directory.path().join(variable);
        std::fs::write(&file, key).unwrap();
        let file = format!("--server-public-key-path={}", file.display());
        assert_eq!(client(proxy.port, &["-us_f", "-ppw", OPEN, &file], "SELECT 1").out, "1\n");
        let direct = client(servers.primary, &["-us_f", "-ppw", OPEN, &file], "SELECT 1");
        assert!(direct.err.contains("1045"), "the server's key is another: {direct:?}");
    }
}

/// The server's own key serves clients that have been given its public half.
#[test]
fn a_key_may_be_the_servers() {
    let servers = mysql();
    as_root(
        servers,
        &format!(
            "CREATE USER s_g {WITH} BY 'pw', s_h IDENTIFIED WITH caching_sha2_password BY 'pw'"
        ),
    );
    let data = servers.primary_socket.with_file_name("data");
    let (private, public) = (data.join("private_key.pem"), data.join("public_key.pem"));
    let key = format!("rsa_private_key = \"{}\"\n", private.display());
    let proxy = Proxy::with(servers, 5, &key);
    let public = format!("--server-public-key-path={}", public.display());
    for user in ["-us_g", "-us_h"] {
        for port in [servers.primary, proxy.port] {
            let said = client(port, &[user, "-ppw", OPEN, &public], "SELECT 'in'");
            assert_eq!(said.out, "in\n", "{said:?}");
        }
    }
    let shown = "SHOW STATUS LIKE 'Rsa_public_key'";
    let app = ["-uapp", "-papp-secret"];
    assert_eq!(client(proxy.port, &app, shown), client(servers.primary, &app, shown));
}
