//! Logins: as the server would take them, and refused as the server would.

use std::io::{Read as _, Write as _};

use fairlane::protocol::auth::{NATIVE, Proof};
use fairlane::protocol::handshake::{HandshakeResponse, parse_auth_switch};
use fairlane::protocol::{Capabilities, Command, Shape, packet};
use fairlane::sandbox::Options;

use crate::support::raw::{Failed, Login, reply};
use crate::support::servers::keep;
use crate::support::{Proxy, Raw, eventually, product, servers};

fn both(
    proxy: &Proxy,
    user: &str,
    password: &str,
    schema: Option<&str>,
) -> (Result<Raw, Failed>, Result<Raw, Failed>) {
    (
        Raw::connect(proxy.port, user, password, schema),
        Raw::connect(servers().primary, user, password, schema),
    )
}

#[test]
fn refusals_are_the_servers_own() {
    let proxy = Proxy::start(servers());
    for (user, password, schema) in [
        ("app", "wrong", None),
        ("app", "", None),
        ("nobody", "x", None),
        ("app", "app-secret", Some("nowhere")),
        ("app", "app-secret", Some("mysql")),
        ("'app", "app-secret", None),
        ("'app'", "wrong", None),
        ("\"app\"", "app-secret", None),
    ] {
        let (through, direct) = both(&proxy, user, password, schema);
        assert_eq!(through.unwrap_err(), direct.unwrap_err(), "{user} {password:?} {schema:?}");
    }
}

#[test]
fn a_user_who_may_not_come_from_here_is_told_of_in_the_log() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER elsewhere@'127.0.0.7' IDENTIFIED BY 'hush'");
    let from =
        |from: [u8; 4]| Raw::login(&Login { from, ..Login::new(proxy.port, "elsewhere", "hush") });
    // Not let in by Fairlane.
    assert_eq!(from([127, 0, 0, 8]).unwrap_err().code(), 1045);
    assert!(!proxy.log().contains("elsewhere"), "{}", proxy.log());
    // By Fairlane, and not by the server, to which it comes from another address.
    for _ in 0..3 {
        assert_eq!(from([127, 0, 0, 7]).unwrap_err().code(), 1045);
    }
    eventually("that is in the log", || proxy.log().contains("elsewhere"));
    let log = proxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("elsewhere")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for fragment in ["WARN", "allow this machine's address?", "\"primary\"", "Access denied"] {
        assert!(lines[0].contains(fragment), "{log}");
    }
    assert!(!log.contains("hush"), "{log}");
    root.run("DROP USER elsewhere@'127.0.0.7'");
}

#[test]
fn quotes_around_a_user_name_are_none_of_it() {
    let proxy = Proxy::start(servers());
    let (through, direct) = both(&proxy, "'app'", "app-secret", None);
    assert_eq!(through.unwrap().text("SELECT USER()"), "app@localhost");
    assert_eq!(direct.unwrap().text("SELECT USER()"), "app@localhost");
}

#[test]
fn the_server_counts_wrong_passwords() {
    // Its errors name addresses.
    let extra = vec!["max_password_errors=2".into(), "skip_name_resolve".into()];
    let (servers, _orders) = keep(Options { extra, ..Options::default() });
    let proxy = Proxy::start(&servers);
    let login = |password: &str| Raw::connect(proxy.port, "app", password, None);
    login("app-secret").unwrap().run("SELECT 1");
    let wrong = |port: u16| Raw::connect(port, "nobody", "wrong", None).unwrap_err();
    assert_eq!(wrong(proxy.port), wrong(servers.primary));
    let codes: Vec<u16> = (0..3).map(|_| login("wrong").unwrap_err().code()).collect();
    assert_eq!(codes, [1045, 1045, 4150]);
    assert!(!proxy.log().contains("let in"), "{}", proxy.log());
    let blocked = Raw::connect(servers.primary, "app", "app-secret", None).unwrap_err();
    assert_eq!(login("app-secret").unwrap_err(), blocked);
    servers.root().run("FLUSH PRIVILEGES");
    login("app-secret").unwrap().run("SELECT 1");
}

#[test]
fn accounts_made_later_log_in_and_changed_passwords_count() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER late@localhost IDENTIFIED BY 'first'");
    let late = |password: &str| Raw::connect(proxy.port, "late", password, None);
    late("first").unwrap().run("SELECT 1");
    root.run("ALTER USER late@localhost IDENTIFIED BY 'second'");
    late("second").unwrap().run("SELECT 1");
    assert_eq!(late("first").unwrap_err().code(), 1045);
    root.run("ALTER USER late@localhost ACCOUNT LOCK");
    eventually("the lock is seen", || late("second").is_err());
    root.run("DROP USER late@localhost");
    eventually("the user is gone", || late("second").is_err());
}

#[test]
fn a_login_that_was_good_before_is_not_taken_for_a_wrong_address() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    let changes = [
        ("auth_gone", "DROP USER auth_gone@localhost"),
        ("auth_new", "ALTER USER auth_new@localhost IDENTIFIED BY 'other'"),
    ];
    for (user, change) in changes {
        root.replace(&format!("CREATE OR REPLACE USER {user}@localhost IDENTIFIED BY 'first'"));
        let mut client = Raw::connect(proxy.port, user, "first", None).unwrap();
        client.run("DO 1");
        root.run(change);
        let list = "SELECT id FROM information_schema.processlist WHERE user";
        for row in root.rows(&format!("{list} = '{user}'")) {
            // It may be gone by now.
            let _ = root.query(&format!("KILL {}", row[0].as_deref().unwrap()));
        }
        eventually("it needs a new connection", || client.query("DO 1").is_err());
        let told = || {
            let (log, of_user) = (proxy.log(), format!("user=\"{user}\""));
            log.lines().find(|line| line.contains(&of_user)).map(str::to_owned)
        };
        eventually("that is in the log", || told().is_some());
        let line = told().unwrap();
        assert!(line.contains("dropped or its password changed"), "{line}");
    }
    root.run("DROP USER auth_new@localhost");
}

#[test]
fn while_the_accounts_cannot_be_read_it_is_not_ready_and_nobody_is_denied() {
    let mut root = servers().root();
    let (table, extra) = match product().is_mysql() {
        true => ("mysql.user", "REPLICATION CLIENT"),
        false => ("mysql.global_priv", "BINLOG MONITOR, SLAVE MONITOR"),
    };
    let hosts = ["localhost", "127.0.0.1", "%"];
    for host in hosts {
        root.replace(&format!("CREATE OR REPLACE USER auth_poor@'{host}' IDENTIFIED BY 'poor'"));
        root.run(&format!("GRANT {extra} ON *.* TO auth_poor@'{host}'"));
    }
    let proxy = Proxy::as_service_without_waiting(servers(), ("auth_poor", "poor"), "");
    eventually("the log says what is missing", || proxy.log().contains("GRANT SELECT ON"));
    let refused = proxy.try_app().unwrap_err();
    assert_eq!(refused.code(), 1040, "{refused:?}");
    let ready = proxy.get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("GRANT SELECT ON"), "{ready}");
    let failed = "fairlane_logins_failed_total{reason=\"backend\"}";
    assert_eq!((proxy.metric(failed), proxy.sum("fairlane_logins_failed_total")), (1.0, 1.0));
    for host in hosts {
        root.run(&format!("GRANT SELECT ON {table} TO auth_poor@'{host}'"));
    }
    proxy.app().run("SELECT 1");
    assert!(proxy.get("/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_server_sees_the_clients_own_user() {
    let proxy = Proxy::start(servers());
    let mut app = proxy.app();
    assert_eq!(app.text("SELECT CURRENT_USER()"), "app@localhost");
    assert_eq!(app.query("SELECT * FROM mysql.global_priv").unwrap_err().code(), 1142);
    let mut root = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    assert!(root.text("SELECT CURRENT_USER()").starts_with("root@"));
    root.run("SELECT COUNT(*) FROM mysql.global_priv");
}

#[test]
fn other_plugins_are_switched_and_configured_users_need_no_native_account() {
    let mut root = servers().root();
    // Plugins are installed on each server, or the account would break the replication.
    for mut root in [servers().root(), servers().replica_root()] {
        root.run("SET sql_log_bin = 0");
        let _ = root.query("INSTALL SONAME 'auth_ed25519'");
    }
    root.run(
        "CREATE OR REPLACE USER ed@localhost IDENTIFIED VIA ed25519 USING PASSWORD('ed-secret')",
    );
    let proxy = Proxy::with(servers(), 5, "[[user]]\nname = \"ed\"\npassword = \"ed-secret\"");
    assert_eq!(
        Raw::connect(proxy.port, "ed", "ed-secret", None).unwrap().text("SELECT CURRENT_USER()"),
        "ed@localhost"
    );
    assert_eq!(Raw::connect(proxy.port, "ed", "wrong", None).unwrap_err().code(), 1045);
    let switched =
        Login { plugin: "caching_sha2_password", ..Login::new(proxy.port, "app", "app-secret") };
    Raw::login(&switched).unwrap().run("SELECT 1");
    let plain = Proxy::start(servers());
    let refused = Raw::connect(plain.port, "ed", "ed-secret", None).unwrap_err();
    let Failed::Server { code: 1045, message, .. } = refused else { panic!("{refused:?}") };
    assert!(message.contains("ed25519") && message.contains("[[user]]"), "{message}");
}

/// As clients with another character set make them.
#[test]
fn a_password_is_bytes_of_any_character_set() {
    if !product().is_mysql() {
        return;
    }
    let mut root = servers().root();
    root.run("SET NAMES latin1");
    let proxy = Proxy::start(servers());
    for plugin in ["caching_sha2_password", "sha256_password"] {
        root.run("DROP USER IF EXISTS bytes@'%'");
        let create = format!("CREATE USER bytes@'%' IDENTIFIED WITH {plugin} BY 'p");
        root.send(Command::Query, &[create.as_bytes(), b"\xe4ss'"].concat());
        assert!(root.answer(Shape::Results).unwrap().error().is_none());
        for port in [servers().primary, proxy.port, proxy.port] {
            let mut client = Raw::login(&Login::new(port, "bytes", b"p\xe4ss")).unwrap();
            assert_eq!(client.text("SELECT CURRENT_USER()"), "bytes@%");
        }
        let wrong = Raw::login(&Login::new(proxy.port, "bytes", b"p\xe5ss"));
        assert_eq!(wrong.unwrap_err().code(), 1045);
    }
}

#[test]
fn change_user_is_a_login_on_an_open_connection() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut client = proxy.app();
    client.run("SET @left = 1");
    client.run("SET sql_select_limit = 5");
    let change = |client: &mut Raw, user: &str, password: &str, schema: &str| {
        let reply = Proof::of_password(password.as_bytes())
            .map(|p| p.reply(&client.greeting.nonce).to_vec())
            .unwrap_or_default();
        let mut body =
            [user.as_bytes(), &[0, reply.len() as u8], &reply, schema.as_bytes(), &[0, 45, 0]]
                .concat();
        body.extend_from_slice(b"mysql_native_password\0\0");
        client.send(Command::ChangeUser, &body);
        client.prove(password)
    };
    assert_eq!(change(&mut client, "root", "root-secret", ""), Ok(()));
    assert!(client.text("SELECT CURRENT_USER()").starts_with("root@"));
    assert_eq!(client.text("SELECT DATABASE()"), "NULL");
    assert_eq!(client.text("SELECT @left"), "NULL");
    assert_ne!(client.text("SELECT @@sql_select_limit"), "5");
    assert_eq!(change(&mut client, "app", "app-secret", "shop"), Ok(()));
    assert_eq!(client.text("SELECT CONCAT(CURRENT_USER(), DATABASE())"), "app@localhostshop");
    assert_eq!(change(&mut client, "app", "wrong", "shop").unwrap_err().code(), 1045);
    assert!(client.command(Command::Ping, b"").is_err(), "a failed change ends the connection");
}

#[test]
fn bad_handshakes_end_in_bounded_time() {
    use std::io::{Read, Write};
    let proxy = Proxy::with(servers(), 5, "");
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 300],
        &[5, 0, 0, 1, 1, 2, 3, 4, 5],
        &[1, 0, 0, 1, 0],
    ] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.read_to_end(&mut answer).expect("Fairlane hangs up");
        assert!(!answer.is_empty());
    }
    proxy.app().run("SELECT 1");
}

/// MariaDB's own client over TLS; what it printed, or its error.
fn over_tls(port: u16, user: &str, password: &str, more: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new("mariadb")
        .args(["--no-defaults", "--ssl", "-h127.0.0.1", "-N", "-e", "SELECT CURRENT_USER()"])
        .args([format!("-P{port}"), format!("-u{user}"), format!("-p{password}")])
        .args(more)
        .output()
        .expect("mariadb runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    output.status.success().then(|| text(&output.stdout)).ok_or_else(|| text(&output.stderr))
}

#[test]
fn ed25519_accounts_log_in_over_tls() {
    for mut root in [servers().root(), servers().replica_root()] {
        root.run("SET sql_log_bin = 0");
        let _ = root.query("INSTALL SONAME 'auth_ed25519'");
    }
    let mut root = servers().root();
    root.run(
        "CREATE OR REPLACE USER ed2@localhost IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
    );
    let proxy = Proxy::with(servers(), 5, "[tls]\nmode = \"preferred\"");
    let through = |password: &str| over_tls(proxy.port, "ed2", password, &[]);
    assert_eq!(through("secret").as_deref(), Ok("ed2@localhost"));
    assert_eq!(through("secret").as_deref(), Ok("ed2@localhost"), "and again");
    let direct = over_tls(servers().primary, "ed2", "Secret", &["--skip-ssl"]).unwrap_err();
    assert_eq!(through("Secret").unwrap_err(), direct, "{direct}");
    assert!(direct.contains("1045") && direct.contains("using password: YES"), "{direct}");
    let plain = over_tls(proxy.port, "ed2", "secret", &["--skip-ssl"]).unwrap_err();
    assert!(plain.contains("over TLS") && plain.contains("[[user]]"), "{plain}");
    root.run("ALTER USER ed2@localhost IDENTIFIED VIA ed25519 USING PASSWORD('another')");
    // At once, unless loading the accounts takes longer than a login waits for it.
    eventually("the new password is right", || through("another").is_ok());
    assert!(through("secret").is_err(), "the old one");
    root.run("ALTER USER ed2@localhost ACCOUNT LOCK");
    eventually("the lock is seen", || through("another").is_err());
}

#[test]
fn change_user_asks_for_a_reply_to_the_greetings_nonce() {
    // MariaDB's C client replies to that one, whatever the server has sent since.
    let proxy = Proxy::start(servers());
    for port in [servers().primary, proxy.port] {
        let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        let answer = reply(NATIVE, "app-secret", &client.greeting.nonce);
        for _ in 0..2 {
            client.send(Command::ChangeUser, b"app\0\0shop\0\x2d\0mysql_native_password\0\0");
            let (sequence, packet) = client.packet().unwrap();
            let (plugin, nonce) = parse_auth_switch(&packet).unwrap();
            assert_eq!((plugin.as_str(), &nonce), (NATIVE, &client.greeting.nonce));
            client.put(sequence + 1, &answer);
            assert_eq!(client.packet().unwrap().1[0], 0, "let in");
        }
        assert!(client.text("SELECT CURRENT_USER()").starts_with("app@"));
    }
}

#[test]
fn an_account_of_several_methods_logs_in_by_each() {
    for mut root in [servers().root(), servers().replica_root()] {
        root.run("SET sql_log_bin = 0");
        let _ = root.query("INSTALL SONAME 'auth_ed25519'");
    }
    let mut root = servers().root();
    let native = |password: &str| format!("mysql_native_password USING PASSWORD('{password}')");
    let ed25519 = "ed25519 USING PASSWORD('ed')".to_owned();
    for (user, methods) in [
        ("either_a", [ed25519.clone(), native("one")]),
        ("either_b", [native("one"), ed25519]),
        ("either_c", [native("one"), native("two")]),
    ] {
        let methods = methods.join(" OR ");
        root.run(&format!("CREATE OR REPLACE USER {user}@localhost IDENTIFIED VIA {methods}"));
    }
    let proxy = Proxy::with(servers(), 8, "[tls]\nmode = \"preferred\"");
    for (user, passwords) in
        [("either_a", ["one", "ed"]), ("either_b", ["one", "ed"]), ("either_c", ["one", "two"])]
    {
        let who = Ok(format!("{user}@localhost"));
        for password in passwords {
            assert_eq!(over_tls(servers().primary, user, password, &["--skip-ssl"]), who);
            assert_eq!(over_tls(proxy.port, user, password, &[]), who, "{password}");
            if password != "ed" {
                assert_eq!(over_tls(proxy.port, user, password, &["--skip-ssl"]), who);
            }
        }
        let direct = over_tls(servers().primary, user, "wrong", &["--skip-ssl"]);
        for more in [&["--skip-ssl"][..], &[]] {
            assert_eq!(over_tls(proxy.port, user, "wrong", more), direct, "{user}");
        }
        root.run(&format!("DROP USER {user}@localhost"));
    }
}

/// A wrong reply over TLS, and nothing to what follows from it.
fn hang_up_when_asked(port: u16, user: &str) {
    let mut client = std::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-starttls", "mysql"])
        .args(["-connect", &format!("127.0.0.1:{port}")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl runs");
    let response = HandshakeResponse {
        capabilities: Capabilities::PROTOCOL_41
            | Capabilities::SSL
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH,
        compresses_unasked: false,
        max_packet: 1 << 24,
        collation: 45,
        user: user.to_owned(),
        auth: vec![7; 20],
        schema: None,
        plugin: "mysql_native_password".to_owned(),
        attributes: Vec::new(),
        zstd_level: 3,
    };
    let mut packet = Vec::new();
    packet::put(&mut packet, 2, &response.encode());
    client.stdin.as_mut().unwrap().write_all(&packet).unwrap();
    let mut asked = [0; 25];
    client.stdout.as_mut().unwrap().read_exact(&mut asked).unwrap();
    assert_eq!(&asked[4..], b"\xfemysql_clear_password");
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn a_client_that_is_gone_at_the_next_question_has_failed() {
    for mut root in [servers().root(), servers().replica_root()] {
        root.run("SET sql_log_bin = 0");
        let _ = root.query("INSTALL SONAME 'auth_ed25519'");
    }
    let mut root = servers().root();
    root.run(
        "CREATE OR REPLACE USER asked_on@localhost IDENTIFIED VIA mysql_native_password \
         USING PASSWORD('one') OR ed25519 USING PASSWORD('ed')",
    );
    let more = "login_failures = 0\nlogin_delay = \"1s\"\n[tls]\nmode = \"preferred\"";
    let proxy = Proxy::with(servers(), 5, more);
    for failed in 1..=2 {
        hang_up_when_asked(proxy.port, "asked_on");
        eventually("it is late", || {
            proxy.metric("fairlane_logins_delayed_total") == f64::from(failed)
        });
    }
    eventually("it is denied", || {
        proxy.metric("fairlane_logins_failed_total{reason=\"denied\"}") == 2.0
    });
    assert!(over_tls(proxy.port, "asked_on", "one", &[]).is_ok());
    root.run("DROP USER asked_on@localhost");
}

/// Who comes over TCP can't use them, and MariaDB does not mention his password.
#[test]
fn accounts_of_unix_sockets_are_denied_in_the_servers_words() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 4, "login_failures = 0\nlogin_delay = \"0s\"");
    let mut root = servers().root();
    for methods in [
        "unix_socket",
        "unix_socket OR mysql_native_password USING PASSWORD('right')",
        "mysql_native_password USING PASSWORD('right') OR unix_socket",
        "mysql_native_password USING 'invalid' OR unix_socket",
        "unix_socket OR mysql_native_password USING 'invalid'",
        "mysql_native_password USING 'invalid'",
    ] {
        root.run(&format!("CREATE OR REPLACE USER on_socket@'%' IDENTIFIED VIA {methods}"));
        for password in ["wrong", ""] {
            let login = |port| Raw::connect(port, "on_socket", password, None).unwrap_err();
            assert_eq!(login(proxy.port), login(servers().primary), "{methods}, '{password}'");
        }
    }
    root.run("DROP USER on_socket@'%'");
}
