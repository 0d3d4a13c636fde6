//! Accounts whose passwords have expired: what they may do until they have a new one, and after.

use fairlane::protocol::{Capabilities, Command};

use crate::support::product::product;
use crate::support::raw::Failed;
use crate::support::raw::Login;
use crate::support::{Proxy, Raw, eventually, servers};

/// Logs in, without the flag that the client can handle an expired password or with it.
fn login(port: u16, user: &str, password: &str, handles: bool) -> Result<Raw, Failed> {
    let mut login = Login { schema: Some("shop"), ..Login::new(port, user, password) };
    login.more.set(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS, handles);
    Raw::login(&login)
}

/// What a client sees of an answer.
fn said(client: &mut Raw, command: Command, body: &str) -> String {
    match client.command(command, body.as_bytes()) {
        Err(failed) => format!("{failed:?}"),
        Ok(answer) => match answer.error() {
            Some(error) => format!("{error:?}"),
            None => format!("{} packets, {:?}", answer.packets().len(), answer.summary.status),
        },
    }
}

fn set_password(user: &str, password: &str) -> String {
    match product().is_mysql() {
        true => format!("ALTER USER {user}@localhost IDENTIFIED BY '{password}'"),
        false => format!("SET PASSWORD = PASSWORD('{password}')"),
    }
}

/// A session from its login with an expired password on.
fn session(port: u16, user: &str, handles: bool) -> Vec<String> {
    let mut client = match login(port, user, "old-secret", handles) {
        Ok(client) => client,
        Err(failed) => return vec![format!("{failed:?}")],
    };
    let query = Command::Query;
    let mut found = Vec::new();
    let change = set_password(user, "new-secret");
    for (command, body) in [
        (Command::Ping, ""),
        (query, "SELECT 1"),
        (query, "SHOW WARNINGS"),
        (query, "SELEC"),
        (query, "INSERT INTO expired_n VALUES (1)"),
        (query, "COMMIT"),
        (query, "USE shop"),
        (Command::InitDb, "shop"),
        (Command::Statistics, ""),
        (Command::ResetConnection, ""),
        (query, "SELECT @@warning_count"),
        (query, &change),
        (query, "SELECT DATABASE(), CURRENT_USER()"),
        (query, "SET @a = 5, sql_mode = 'ANSI_QUOTES'"),
        (query, "SELECT \"x\", @a, @@sql_mode"),
        (query, "CREATE TEMPORARY TABLE expired_t (a INT)"),
        (query, "SELECT CAST('x' AS SIGNED)"),
        (query, "SHOW WARNINGS"),
        (Command::ResetConnection, ""),
        (query, "SELECT * FROM expired_t"),
        (query, "SELECT @@sql_mode, @a, DATABASE()"),
        (query, "SET PASSWORD = ''x'"),
        (query, "SELECT 1"),
    ] {
        found.push(format!("{body}: {}", said(&mut client, command, body)));
    }
    // The new password is good at once, the old one no more.
    found.push(format!("{:?}", login(port, user, "old-secret", handles).err()));
    let text = login(port, user, "new-secret", handles).map(|mut new| new.text("SELECT 5"));
    found.push(format!("{text:?}"));
    found
}

/// A login that fails makes Fairlane look at the accounts.
fn look_again(proxy: &Proxy) {
    assert!(login(proxy.port, "expired_a", "wrong", true).is_err());
}

#[test]
fn an_expired_password_is_good_for_a_new_one_only() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.expired_n (n INT)");
    let expire = |root: &mut Raw| {
        for user in ["expired_a", "expired_b"] {
            root.run(&format!("ALTER USER {user}@localhost IDENTIFIED BY 'old-secret'"));
            root.run(&format!("ALTER USER {user}@localhost PASSWORD EXPIRE"));
        }
    };
    for user in ["expired_a", "expired_b"] {
        root.run(&format!("CREATE USER {user}@localhost IDENTIFIED BY 'old-secret'"));
        root.run(&format!("GRANT ALL ON shop.* TO {user}@localhost"));
    }
    servers().wait_replicated();
    // MySQL's can't be changed, and is on.
    let settings: &[&str] = if product().is_mysql() { &["ON"] } else { &["OFF", "ON"] };
    for disconnects in settings {
        if !product().is_mysql() {
            root.run(&format!("SET GLOBAL disconnect_on_expired_password = {disconnects}"));
        }
        for handles in [false, true] {
            // Idle connections from before the password expired are none for the login after.
            let mut before = login(proxy.port, "expired_b", "old-secret", handles);
            if let Ok(client) = &mut before {
                client.run("SELECT COUNT(*) FROM expired_n");
            }
            drop(before);
            expire(&mut root);
            servers().wait_replicated();
            look_again(&proxy);
            let direct = session(servers().primary, "expired_a", handles);
            let through = session(proxy.port, "expired_b", handles);
            let through: Vec<String> =
                through.iter().map(|text| text.replace("expired_b", "expired_a")).collect();
            assert_eq!(through, direct, "disconnects {disconnects}, handles {handles}");
            for user in ["expired_a", "expired_b"] {
                root.run(&format!("ALTER USER {user}@localhost IDENTIFIED BY 'old-secret'"));
            }
            servers().wait_replicated();
            look_again(&proxy);
        }
    }
    if !product().is_mysql() {
        root.run("SET GLOBAL disconnect_on_expired_password = OFF");
    }
    eventually("all connections are given back", || {
        proxy.metric("fairlane_sessions_pinned{reason=\"expired_password\"}") == 0.0
    });
}

#[test]
fn passwords_expire_by_age_while_connections_are_idle() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    let user = "aged_a@localhost";
    root.replace(&format!(
        "CREATE OR REPLACE USER {user} IDENTIFIED BY 'old-secret' PASSWORD EXPIRE INTERVAL 5 DAY"
    ));
    root.run(&format!("GRANT ALL ON shop.* TO {user}"));
    let mut before = login(proxy.port, "aged_a", "old-secret", true).unwrap();
    before.run("SELECT 1");
    drop(before);
    root.run(match product().is_mysql() {
        true => {
            "UPDATE mysql.user SET password_last_changed = NOW() - INTERVAL 6 DAY \
             WHERE user = 'aged_a'"
        }
        false => {
            "UPDATE mysql.global_priv SET priv = JSON_SET(priv, '$.password_last_changed', \
             UNIX_TIMESTAMP() - 6 * 86400) WHERE user = 'aged_a'"
        }
    });
    root.run("FLUSH PRIVILEGES");
    look_again(&proxy);
    let ask = |port: u16| {
        let mut client = login(port, "aged_a", "old-secret", true).unwrap();
        said(&mut client, Command::Query, "SELECT 1")
    };
    let direct = ask(servers().primary);
    assert!(direct.contains("1820"), "{direct}");
    assert_eq!(ask(proxy.port), direct);
    root.run(&format!("DROP USER {user}"));
}

/// An account may be older there, or passwords may last less long.
#[test]
fn a_password_that_has_expired_on_a_replica_only_is_no_readers_affair() {
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER expired_r@'%' IDENTIFIED BY 'old-secret'");
    root.run("GRANT SELECT ON shop.* TO expired_r@'%'");
    servers().wait_replicated();
    let mut replica = servers().replica_root_who_writes();
    replica.run("ALTER USER expired_r@'%' PASSWORD EXPIRE");
    let proxy = Proxy::start(servers());
    let mut client = login(proxy.port, "expired_r", "old-secret", false).unwrap();
    eventually("a read was refused there", || {
        assert_eq!(client.text("SELECT 5"), "5");
        proxy.metric("fairlane_backend_open_errors_total{backend=\"replica1\"}") > 0.0
    });
    root.run("DROP USER expired_r@'%'");
}
