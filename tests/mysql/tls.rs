//! TLS towards clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{Proxy, Servers, eventually, pause, servers};
use crate::{as_root, client, mysql, with_keys};

const APP: [&str; 2] = ["-uapp", "-papp-secret"];

/// Makes an issuer, a certificate of it for 127.0.0.1, and one for a client.
fn certify(directory: &Path) {
    certify_for(directory, &["127.0.0.1"], 2040);
}

/// Likewise, for other names and until the start of a year.
fn certify_for(directory: &Path, names: &[&str], until: i32) {
    let mut issuer = CertificateParams::new(vec![]).unwrap();
    issuer.distinguished_name.push(DnType::CommonName, "an issuer");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params.distinguished_name.push(DnType::CommonName, "fairlane");
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(directory.join("issuer.pem"), issuer.pem()).unwrap();
    std::fs::write(directory.join("certificate.pem"), certificate.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "till");
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(directory.join("till.pem"), certificate.pem()).unwrap();
    std::fs::write(directory.join("till-key.pem"), key.serialize_pem()).unwrap();
}

fn with_files(mode: &str, directory: &Path) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    format!("[tls]\nmode = \"{mode}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"")
}

fn verified(port: u16, issuer: &Path) -> crate::Said {
    let issuer = format!("--ssl-ca={}", issuer.display());
    let arguments = [&APP[..], &["--ssl-mode=VERIFY_IDENTITY", &issuer]].concat();
    client(port, &arguments, "SELECT 'verified'")
}

#[test]
fn a_certificate_is_verified_and_read_again_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let proxy = Proxy::with(mysql(), 5, &with_files("preferred", directory.path()));
    let issuer = directory.path().join("issuer.pem");
    let old_issuer = directory.path().join("old.pem");
    std::fs::copy(&issuer, &old_issuer).unwrap();
    assert_eq!(verified(proxy.port, &issuer), said("verified\n"));

    std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
    proxy.signal("HUP");
    eventually("the trouble is told", || proxy.log().contains("the old certificate stays"));
    assert!(proxy.log().contains("tls.key"), "{}", proxy.log());
    assert_eq!(verified(proxy.port, &issuer).out, "verified\n");

    certify(directory.path());
    proxy.signal("HUP");
    eventually("the new certificate", || verified(proxy.port, &issuer).out == "verified\n");
    let with_old = verified(proxy.port, &old_issuer);
    assert!(with_old.err.contains("ERROR 2026"), "{with_old:?}");
}

#[test]
fn modes_are_kept() {
    let open = [&APP[..], &["--ssl-mode=DISABLED", "--get-server-public-key"]].concat();
    let secure = [&APP[..], &["--ssl-mode=REQUIRED"]].concat();
    let required = Proxy::with(mysql(), 5, "[tls]\nmode = \"required\"");
    let refused = client(required.port, &open, "SELECT 1");
    let expected = "ERROR 3159 (HY000): Connections using insecure transport are prohibited while \
                    --require_secure_transport=ON.\n";
    assert_eq!(refused.err, expected);
    assert_eq!(client(required.port, &secure, "SELECT 1").out, "1\n");
    let disabled = Proxy::with(mysql(), 5, "[tls]\nmode = \"disabled\"");
    assert_eq!(client(disabled.port, &open, "SELECT 1").out, "1\n");
    assert!(client(disabled.port, &secure, "SELECT 1").err.contains("2026"));
}

#[test]
fn large_statements_and_results_pass_and_slow_readers_wait() {
    let proxy = Proxy::with(mysql(), 5, "[tls]\nmode = \"required\"");
    let arguments =
        [&APP[..], &["--ssl-mode=REQUIRED", "--max-allowed-packet=64M", "shop"]].concat();
    let length = 1_500_000;
    let sql = "CREATE TABLE tls_a (data LONGTEXT); \
        INSERT INTO tls_a VALUES (REPEAT('x', 40000000)); SELECT LENGTH(data) FROM tls_a; \
        SELECT SHA2(data, 256) = SHA2(REPEAT('x', 40000000), 256) FROM tls_a; \
        SELECT data FROM tls_a";
    let back = client(proxy.port, &arguments, sql);
    let (numbers, data) = back.out.split_at(11);
    assert_eq!((numbers, data.len(), back.err.as_str()), ("40000000\n1\n", 40_000_001, ""));
    assert!(data.trim_end().bytes().all(|byte| byte == b'x'));
    // As long as a command line may be.
    let long = "y".repeat(length / 15);
    assert_eq!(client(proxy.port, &arguments, &format!("SELECT '{long}'")).out.trim_end(), long);
}

fn said(out: &str) -> crate::Said {
    crate::Said { out: out.to_owned(), err: String::new() }
}

#[test]
fn servers_are_reached_with_tls() {
    as_root(
        mysql(),
        "CREATE USER only_tls@'%' IDENTIFIED BY 'x' REQUIRE SSL; \
         GRANT SELECT ON *.* TO only_tls@'%'",
    );
    let cipher = "SELECT VARIABLE_VALUE LIKE 'TLS%' FROM performance_schema.session_status \
        WHERE VARIABLE_NAME = 'Ssl_cipher'";
    let proxy = Proxy::start(&with_keys("tls = \"required\""));
    let only_tls = ["-uonly_tls", "-px", "--ssl-mode=REQUIRED"];
    assert_eq!(client(proxy.port, &only_tls, cipher), said("1\n"));
    let large = "SELECT LENGTH(REPEAT('x', 20000000)), REPEAT('y', 20000000)";
    let app = [&APP[..], &["--max-allowed-packet=64M"]].concat();
    assert_eq!(client(proxy.port, &app, large).out.len(), 20_000_010);
}

#[test]
fn a_server_is_used_only_if_its_certificate_is_good() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let keys = format!("tls = \"verify_identity\"\ntls_ca = \"{}\"", path("issuer.pem"));
    let start = || Proxy::start_without_waiting(&with_keys(&keys), 5, "");
    let proxy = start();
    eventually("the trouble is told", || proxy.log().contains("certificate"));
    pause(300);
    assert!(!proxy.get("/readyz").starts_with("HTTP/1.1 200"));

    let (issuer, certificate, key) = (path("issuer.pem"), path("certificate.pem"), path("key.pem"));
    let sql = format!(
        "SET GLOBAL ssl_ca = '{issuer}'; SET GLOBAL ssl_cert = '{certificate}'; SET GLOBAL ssl_key = '{key}'; \
         ALTER INSTANCE RELOAD TLS"
    );
    let changed = client(mysql().primary, &["-uroot", "-proot-secret"], &sql);
    assert_eq!(changed.err, "");
    let proxy = start();
    eventually("Fairlane is ready", || proxy.get("/readyz").starts_with("HTTP/1.1 200"));
    let write = "CREATE TABLE trusted (id INT); INSERT INTO trusted VALUES (7); \
        SELECT id FROM trusted FOR UPDATE";
    let app = [&APP[..], &["shop"]].concat();
    assert_eq!(client(proxy.port, &app, write), said("7\n"));
    accounts_may_require_certificates(directory.path());
}

/// The primary trusts the issuer in `directory` by now.
fn accounts_may_require_certificates(directory: &Path) {
    as_root(
        mysql(),
        "CREATE USER any_cert@'%' IDENTIFIED BY 'x' REQUIRE X509; \
         CREATE USER its_cert@'%' IDENTIFIED BY 'x' \
         REQUIRE SUBJECT '/CN=fairlane' AND ISSUER '/CN=an issuer'",
    );
    let path = |name: &str| directory.join(name).display().to_string();
    let keys = format!(
        "tls = \"required\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"",
        path("certificate.pem"),
        path("key.pem")
    );
    let more = format!(
        "[tls]\nmode = \"preferred\"\nclient_ca = \"{}\"\n[routing]\nreplica_reads = false",
        path("issuer.pem")
    );
    // The replica trusts another issuer, and stays out.
    let proxy = Proxy::start_without_waiting(&with_keys(&keys), 5, &more);
    eventually("Fairlane is ready", || proxy.get("/readyz").starts_with("HTTP/1.1 200"));
    let elsewhere = tempfile::tempdir().unwrap();
    certify(elsewhere.path());
    let shows = |user: &str, directory: &Path, name: &str, key: &str| {
        let path = |name: &str| directory.join(name).display().to_string();
        let (cert, key) =
            (format!("--ssl-cert={}", path(name)), format!("--ssl-key={}", path(key)));
        let arguments = [&format!("-u{user}"), "-px", "--ssl-mode=REQUIRED", &cert, &key];
        let of = |port| client(port, &arguments, "SELECT CURRENT_USER()");
        (of(proxy.port), of(mysql().primary))
    };
    for (user, name, key, is_in) in [
        ("any_cert", "till.pem", "till-key.pem", true),
        ("any_cert", "certificate.pem", "key.pem", true),
        ("its_cert", "certificate.pem", "key.pem", true),
        ("its_cert", "till.pem", "till-key.pem", false),
    ] {
        let (through, direct) = shows(user, directory, name, key);
        assert_eq!(through, direct, "{user} with {name}");
        assert_eq!(through.err.is_empty(), is_in, "{user} with {name}: {through:?}");
    }
    let (stranger, _) = shows("any_cert", elsewhere.path(), "till.pem", "till-key.pem");
    assert!(stranger.err.contains("ERROR 20"), "{stranger:?}");
    let bare = ["-uany_cert", "-px", "--ssl-mode=REQUIRED"];
    let through = client(proxy.port, &bare, "SELECT 1");
    assert_eq!(through, client(mysql().primary, &bare, "SELECT 1"));
    assert!(through.err.contains("1045"), "{through:?}");
    assert_eq!(client(proxy.port, &APP, "SELECT 1").out, "1\n", "nobody else needs one");
    // The issuers are read again, although the certificate shown to clients is self-made.
    std::fs::copy(elsewhere.path().join("issuer.pem"), directory.join("issuer.pem")).unwrap();
    proxy.signal("HUP");
    let till = |directory| shows("any_cert", directory, "till.pem", "till-key.pem").0;
    eventually("the new issuer is trusted", || till(elsewhere.path()).err.is_empty());
    assert!(till(directory).err.contains("ERROR 20"), "the old one is not");
}

/// A MariaDB with the certificate in `directory`, which `FLUSH SSL` reads again.
fn certified(directory: &Path) -> Servers {
    let path = |name: &str| directory.join(name).display().to_string();
    let extra = vec![
        format!("ssl_cert={}", path("certificate.pem")),
        format!("ssl_key={}", path("key.pem")),
    ];
    keep(Options { extra, ..Options::default() }).0
}

#[test]
fn an_issuer_is_enough_for_verify_ca() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = directory.path().join("issuer.pem");
    certify_for(directory.path(), &["db.example.net"], 2040);
    let trusted = directory.path().join("trusted.pem");
    std::fs::copy(&issuer, &trusted).unwrap();
    let certified = certified(directory.path());
    let start = |mode: &str| {
        let issuers = match mode.starts_with("verify") {
            true => format!("\ntls_ca = \"{}\"", trusted.display()),
            false => String::new(),
        };
        let keys = format!("tls = \"{mode}\"{issuers}");
        let replica_address = format!("127.0.0.1:{}", certified.replica);
        let servers = Servers { keys, replica_address, ..certified.clone() };
        Proxy::start_without_waiting(&servers, 5, "[routing]\nreplica_reads = false")
    };
    let is_refused = |mode: &str, why: &str| {
        let proxy = start(mode);
        eventually("the trouble is told", || proxy.log().contains(why));
        pause(300);
        assert!(!proxy.get("/readyz").starts_with("HTTP/1.1 200"), "{mode}: {why}");
    };
    let is_encrypted = |mode: &str| {
        let proxy = start(mode);
        eventually("Fairlane is ready", || proxy.get("/readyz").starts_with("HTTP/1.1 200"));
        !proxy.app().text(SERVERS_CIPHER).is_empty()
    };
    assert!(is_encrypted("verify_ca"));
    assert!(is_encrypted("preferred"));
    is_refused("verify_identity", "not valid for name");

    let renew = |names: &[&str], until| {
        certify_for(directory.path(), names, until);
        certified.root().run("FLUSH SSL");
    };
    // Of another issuer of the same name.
    renew(&["127.0.0.1"], 2040);
    is_refused("verify_ca", "certificate");
    assert!(is_encrypted("preferred"));
    std::fs::copy(&issuer, &trusted).unwrap();
    assert!(is_encrypted("verify_identity"));
    renew(&["127.0.0.1"], 2020);
    std::fs::copy(&issuer, &trusted).unwrap();
    is_refused("verify_ca", "expired");
    // As servers make them for themselves: without any name.
    renew(&[], 2040);
    std::fs::copy(&issuer, &trusted).unwrap();
    assert!(is_encrypted("verify_ca"));
}

/// The cipher between Fairlane and the server.
const SERVERS_CIPHER: &str = "SELECT VARIABLE_VALUE FROM information_schema.session_status \
    WHERE VARIABLE_NAME = 'Ssl_cipher'";

#[test]
fn preferred_does_without_tls_where_a_server_has_none() {
    let keys = "tls = \"preferred\"".to_owned();
    let proxy = Proxy::start(&Servers { keys, ..servers().clone() });
    assert_eq!(proxy.app().text(SERVERS_CIPHER), "");
    let refused = Proxy::start_without_waiting(
        &Servers {
            keys: "tls = \"required\"".into(),
            // A socket has none, and the file would be refused.
            replica_address: format!("127.0.0.1:{}", servers().replica),
            ..servers().clone()
        },
        5,
        "",
    );
    eventually("the trouble is told", || refused.log().contains("SSL"));
    let proxy = Proxy::start(&with_keys("tls = \"preferred\""));
    let of_mysql = SERVERS_CIPHER.replace("information_schema", "performance_schema");
    let cipher = client(proxy.port, &APP, &of_mysql);
    assert!(cipher.out.contains("TLS_"), "{cipher:?}");
}

#[test]
fn a_client_is_shown_the_tls_of_its_own_connection() {
    // Of the two ways from the client to the server only the first is encrypted.
    let proxy = Proxy::with(mysql(), 5, "[tls]\nmode = \"preferred\"");
    let show = "SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_cipher', 'Ssl_version')";
    let with = |mode: &str| client(proxy.port, &[APP[0], APP[1], mode], show).out;
    let encrypted = with("--ssl-mode=REQUIRED");
    assert!(encrypted.contains("Ssl_cipher\tTLS_AES_"), "{encrypted}");
    assert!(encrypted.contains("Ssl_version\tTLSv1.3"), "{encrypted}");
    let plain = with("--ssl-mode=DISABLED");
    assert!(plain.contains("Ssl_cipher\t\n") && plain.contains("Ssl_version\t"), "{plain}");
}

#[test]
fn mariadb_has_tls_from_fairlane_too() {
    let proxy = Proxy::with(servers(), 5, "[tls]\nmode = \"preferred\"");
    let run = |option: &str| {
        let output = std::process::Command::new("mariadb")
            .args(["--no-defaults", "-h127.0.0.1", "-uapp", "-papp-secret", "-N", option])
            .arg(format!("-P{}", proxy.port))
            .args(["-e", "SELECT 'in'"])
            .output()
            .unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.stderr)
    };
    for option in ["--ssl", "--skip-ssl"] {
        let (out, err) = run(option);
        assert_eq!(out, "in\n", "{option}: {}", String::from_utf8_lossy(&err));
    }
}

#[test]
fn clients_that_break_off_a_handshake_leave_nothing_behind() {
    let proxy = Proxy::with(mysql(), 5, "login_timeout = \"1s\"\n[tls]\nmode = \"preferred\"");
    let request = {
        // CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH and CLIENT_SSL.
        let mut packet = vec![32, 0, 0, 1];
        packet.extend(((1_u32 << 9) | (1 << 15) | (1 << 19) | (1 << 11)).to_le_bytes());
        packet.extend([0; 28]);
        packet
    };
    let endings: [&[u8]; 4] =
        [b"", b"\x16\x03\x01\xff\xff", b"garbage that is no hello", &[0; 4096]];
    for ending in endings {
        let mut streams: Vec<TcpStream> =
            (0..20).map(|_| TcpStream::connect(("127.0.0.1", proxy.port)).unwrap()).collect();
        for stream in &mut streams {
            let mut greeting = [0; 4];
            stream.read_exact(&mut greeting).unwrap();
            stream.write_all(&request).unwrap();
            // Fairlane may have hung up already.
            let _ = stream.write_all(ending);
        }
        let began = Instant::now();
        for mut stream in streams {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest);
            let is_timeout =
                ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!is_timeout, "still open after {:?}", began.elapsed());
        }
    }
    eventually("no session is left", || proxy.metric("fairlane_sessions_open") == 0.0);
    pause(50);
    let secure = [&APP[..], &["--ssl-mode=REQUIRED"]].concat();
    assert_eq!(client(proxy.port, &secure, "SELECT 1").out, "1\n");
}

#[test]
fn a_primary_that_wants_tls_has_it_of_fairlanes_clients() {
    let (mut servers, _orders) = crate::started(vec![]);
    servers.keys = "tls = \"preferred\"".to_owned();
    let proxy = Proxy::start(&servers);
    let disabled = Proxy::with(&servers, 5, "[tls]\nmode = \"disabled\"");
    let open = [&APP[..], &["--ssl-mode=DISABLED", "--get-server-public-key"]].concat();
    let secure = [&APP[..], &["--ssl-mode=REQUIRED"]].concat();
    assert_eq!(client(proxy.port, &open, "SELECT 1"), said("1\n"));
    let root = ["-uroot", "-proot-secret", "--ssl-mode=REQUIRED"];
    let set = |value| format!("SET GLOBAL require_secure_transport = {value}");
    assert_eq!(client(proxy.port, &root, &set("ON")), said(""));
    let refused = client(servers.primary, &open, "SELECT 1");
    assert!(refused.err.contains("3159"), "{refused:?}");
    assert_eq!(client(proxy.port, &open, "SELECT 1"), refused);
    let wrong = [&open[..], &["-pwrong"]].concat();
    let denied = client(servers.primary, &wrong, "SELECT 1");
    assert_eq!(client(proxy.port, &wrong, "SELECT 1"), denied, "a wrong password is told first");
    assert_eq!(client(proxy.port, &secure, "SELECT 1"), said("1\n"));
    assert_eq!(client(disabled.port, &open, "SELECT 1"), said("1\n"), "as its operator wants");
    assert_eq!(client(proxy.port, &root, &set("OFF")), said(""));
    assert_eq!(client(proxy.port, &open, "SELECT 1"), said("1\n"));
}
