//! Servers that take a user for different accounts, or give him different roles.

use fairlane::protocol::Command;
use fairlane::sandbox::Options;

use crate::support::hop::Hop;
use crate::support::raw::Login;
use crate::support::servers::{Servers, keep};
use crate::support::{ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, product, servers};

const DIFFERS: &str =
    "fairlane_backend_connections_closed_total{backend=\"replica1\",reason=\"differs\"}";

/// One of them looks names of hosts up, the other does not.
#[test]
fn who_is_another_account_on_a_replica_reads_on_the_primary() {
    let replica_extra = vec!["skip-name-resolve=ON".into()];
    let options = Options { max_connections: 50, replica_extra, ..product().options() };
    let (mut servers, _orders) = keep(options);
    servers.replica_address = format!("127.0.0.1:{}", servers.replica);
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut root = servers.root();
    for sql in [
        "CREATE USER who@localhost IDENTIFIED BY 'who-secret'",
        "CREATE USER who@'127.0.0.%' IDENTIFIED BY 'who-secret'",
        "GRANT SELECT ON shop.* TO who@localhost",
        "GRANT SELECT ON *.* TO who@'127.0.0.%'",
        "CREATE DATABASE who_hidden",
        "CREATE TABLE shop.who (account VARCHAR(99))",
        "INSERT INTO shop.who VALUES ('who@localhost'), ('who@127.0.0.1'), ('who@127.0.0.%')",
        "CREATE SQL SECURITY INVOKER VIEW shop.of_account AS \
         SELECT account FROM shop.who WHERE account = CURRENT_USER()",
        "CREATE SQL SECURITY INVOKER VIEW shop.of_user AS \
         SELECT account FROM shop.who WHERE account = USER()",
    ] {
        root.run(sql);
    }
    servers.wait_replicated();
    let connect = |port| Raw::connect(port, "who", "who-secret", Some("shop")).unwrap();
    let (mut direct, mut through) = (connect(servers.primary), connect(proxy.port));
    for _ in 0..20 {
        for sql in [
            "SELECT CURRENT_USER()",
            "SELECT account FROM of_account",
            "SELECT account FROM of_user",
            "SELECT COUNT(*) FROM who WHERE account = CURRENT_USER()",
            "SHOW DATABASES",
        ] {
            assert_eq!(through.rows(sql), direct.rows(sql), "{sql}");
        }
    }
    eventually("the replica was tried", || {
        through.run("SELECT account FROM who");
        proxy.metric(DIFFERS) > 0.0
    });
    let log = proxy.log();
    assert!(log.contains("takes a user for another one") && log.contains("who@localhost"), "{log}");
}

/// As one that is not replicated yet would be.
#[test]
fn who_has_other_roles_on_a_replica_reads_there_once_he_has_the_same() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE_AND_REPLICA);
    let mut root = servers().root();
    for sql in [
        "CREATE ROLE personas",
        "CREATE USER personas_a@'%' IDENTIFIED BY 'personas-secret'",
        "GRANT SELECT ON shop.* TO personas_a@'%'",
        "GRANT personas TO personas_a@'%'",
        "CREATE SQL SECURITY INVOKER VIEW shop.personas_role AS SELECT CURRENT_ROLE() AS role",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
    let mut replica = servers().replica_root_who_writes();
    let link = if product().is_mysql() { "TO" } else { "FOR" };
    let mut set = |role| {
        replica.run(&format!("SET DEFAULT ROLE {role} {link} personas_a@'%'"));
    };
    set("personas");
    let connect = |port| Raw::connect(port, "personas_a", "personas-secret", Some("shop")).unwrap();
    let read = "SELECT role FROM personas_role";
    let none = connect(servers().primary).rows(read);
    let mut through = connect(proxy.port);
    eventually("the replica was tried", || {
        assert_eq!(through.rows(read), none);
        proxy.metric(DIFFERS) > 0.0
    });
    set("NONE");
    proxy.until_replica_answers(&mut through, read);
    assert_eq!(through.rows(read), none);
}

/// Who he is does not hang on the character set in which he is told so.
#[test]
fn a_role_whose_name_is_not_ascii_is_the_same_to_clients_of_all_character_sets() {
    let (servers, _orders) = keep(product().options());
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut root = servers.root();
    let link = if product().is_mysql() { "TO" } else { "FOR" };
    root.run("CREATE ROLE 'prüfer'");
    root.run("CREATE USER examiner@'%' IDENTIFIED BY 'x'");
    root.run("GRANT ALL ON shop.* TO examiner@'%'");
    root.run("GRANT 'prüfer' TO examiner@'%'");
    root.run(&format!("SET DEFAULT ROLE 'prüfer' {link} examiner@'%'"));
    root.run("CREATE TABLE shop.of_all (a INT)");
    servers.wait_replicated();
    let connect = |collation| {
        let schema = Some("shop");
        Raw::login(&Login { schema, collation, ..Login::new(proxy.port, "examiner", "x") }).unwrap()
    };
    let mut utf8 = connect(45);
    utf8.run("SELECT COUNT(*) FROM of_all FOR UPDATE");
    let mut latin1 = connect(8);
    latin1.run("SELECT COUNT(*) FROM of_all FOR UPDATE");
    proxy.until_replica_answers(&mut utf8, "SELECT COUNT(*) FROM of_all");
    proxy.until_replica_answers(&mut latin1, "SELECT COUNT(*) FROM of_all");
    assert_eq!(proxy.metric(DIFFERS), 0.0);
}

/// How an account loses privileges that replicas never hear of.
enum Loss {
    /// By statements of an administrator.
    By(&'static [&'static str]),
    /// By the first ones; what these have done is read by another one's FLUSH PRIVILEGES.
    Later(&'static [&'static str]),
    /// By COM_REFRESH behind a change of the table of privileges.
    Refresh,
}

/// The administrator's `way` with accounts of one name.
fn lose(admin: &mut Raw, user: &str, way: &Loss) {
    const FROM_TABLE: &str = "DELETE FROM mysql.db WHERE User = '$' AND Db = 'shop'";
    match way {
        Loss::By(statements) | Loss::Later(statements) => {
            for sql in *statements {
                // One of them is to fail half-way.
                let _ = admin.query(&sql.replace('$', user));
            }
        }
        Loss::Refresh => {
            admin.run(&FROM_TABLE.replace('$', user));
            assert!(admin.command(Command::Refresh, b"\x01").unwrap().error().is_none());
        }
    }
}

fn loses_on_the_primary_alone(servers: &Servers, user: &str, way: &Loss) {
    let proxy = Proxy::with(servers, 6, ONE_LANE_AND_REPLICA);
    let mut root = servers.root();
    for sql in [
        "CREATE USER $@'%' IDENTIFIED BY 'astray-secret'",
        "GRANT SELECT ON shop.* TO $@'%'",
        "GRANT SELECT ON astray_kept.* TO $@'%'",
    ] {
        root.run(&sql.replace('$', user));
    }
    servers.wait_replicated();
    let connect = || Raw::connect(proxy.port, user, "astray-secret", None).unwrap();
    let (lost, kept) = ("SELECT * FROM shop.astray", "SELECT * FROM astray_kept.t");
    proxy.until_replica_answers(&mut connect(), lost);
    let through = |user| Raw::connect(proxy.port, user, &format!("{user}-secret"), None).unwrap();
    lose(&mut through("root"), user, way);
    if let Loss::Later(_) = way {
        eventually("he has gone", || proxy.metric("fairlane_sessions_open") == 0.0);
        through("root").run("FLUSH PRIVILEGES");
    }
    // Others who come after it find that the replica has it, as far as positions tell.
    proxy.until_replica_answers(&mut through("app"), lost);
    eventually("the replica was tried", || {
        let mut client = connect();
        assert_eq!(client.query(lost).unwrap_err().code(), 1142, "{user}");
        client.run(kept);
        proxy.metric(DIFFERS) > 0.0
    });
    let mut replica = servers.replica_root_who_writes();
    let _ = replica.query(&format!("REVOKE SELECT ON shop.* FROM {user}@'%'"));
    replica.run("FLUSH LOCAL PRIVILEGES");
    proxy.until_replica_answers(&mut connect(), kept);
}

#[test]
fn who_has_lost_privileges_on_the_primary_alone_reads_there() {
    // Others' logins are not to meet accounts that are read anew.
    let (servers, _orders) = keep(product().options());
    let mut root = servers.root();
    for sql in [
        "CREATE TABLE shop.astray (a INT)",
        "CREATE DATABASE astray_kept",
        "CREATE TABLE astray_kept.t (a INT)",
    ] {
        root.run(sql);
    }
    const REVOKE: &str = "REVOKE SELECT ON shop.* FROM $@'%'";
    const DELETE: &str = "DELETE FROM mysql.db WHERE User = '$' AND Db = 'shop'";
    loses_on_the_primary_alone(&servers, "astray_1", &Loss::By(&["SET sql_log_bin = 0", REVOKE]));
    loses_on_the_primary_alone(
        &servers,
        "astray_2",
        &Loss::By(&[DELETE, "FLUSH LOCAL PRIVILEGES"]),
    );
    loses_on_the_primary_alone(
        &servers,
        "astray_3",
        &Loss::By(&[DELETE, "PREPARE s FROM 'FLUSH NO_WRITE_TO_BINLOG PRIVILEGES'", "EXECUTE s"]),
    );
    if product().is_mysql() {
        let fails = Loss::By(&[DELETE, "DROP USER nobody@nowhere"]);
        loses_on_the_primary_alone(&servers, "astray_7", &fails);
    }
    loses_on_the_primary_alone(
        &servers,
        "astray_6",
        &Loss::Later(&["SET sql_log_bin = 0", DELETE]),
    );
    if !product().is_mysql() {
        loses_on_the_primary_alone(
            &servers,
            "astray_4",
            &Loss::By(&["REVOKE SELECT ON shop.* FROM $@'%', nobody@nowhere"]),
        );
        loses_on_the_primary_alone(&servers, "astray_5", &Loss::Refresh);
    }
}

type Spoiler = fn(&mut Vec<u8>);

/// Somebody's KILL QUERY hits a connection that is being opened, or the server does not tell the privileges.
#[test]
fn who_is_not_told_his_privileges_is_nobody_else() {
    let (servers, _orders) = keep(product().options());
    let hop = Hop::before(servers.primary, "app");
    let proxy = Proxy::behind(hop.port, &servers, 6, ONE_LANE_AND_REPLICA);
    servers.root().run("CREATE TABLE shop.untold (a INT)");
    servers.wait_replicated();
    let (read, schema) = ("SELECT a FROM untold", Some("shop"));
    // Latin 1, in which SHOW GRANTS is not to come.
    let login = Login { schema, collation: 8, ..Login::new(proxy.port, "app", "app-secret") };
    let connect = || Raw::login(&login).unwrap();
    proxy.until_replica_answers(&mut connect(), read);
    Raw::connect(proxy.port, "root", "root-secret", None).unwrap().run("FLUSH LOCAL PRIVILEGES");
    let killed = |answer: &mut Vec<u8>| *answer = b"\x0a\0\0\x01\xff\x25\x05#70100.".to_vec();
    let refused = |answer: &mut Vec<u8>| *answer = b"\x0a\0\0\x01\xff\x0a\x05#HY000.".to_vec();
    let spoilers: [(&[u8], Spoiler, bool); 4] = [
        (b"SHOW GRANTS", killed, true),
        (b"character_set_results=utf8mb4", killed, true),
        (b"character_set_results=latin1", killed, true),
        (b"SHOW GRANTS", refused, false),
    ];
    for (command, spoiler, is_asked_again) in spoilers {
        hop.cut();
        hop.spoil_answer_to(command, spoiler);
        let mut client = connect();
        client.run("SELECT a FROM untold FOR UPDATE");
        assert!(hop.has_spoilt());
        if is_asked_again {
            proxy.until_replica_answers(&mut client, read);
        }
        for _ in 0..10 {
            client.run(read);
        }
    }
    hop.cut();
    proxy.until_replica_answers(&mut connect(), read);
    let log = proxy.log();
    assert!(!log.contains("takes a user for another one"), "{log}");
}

/// MariaDB has the columns of a table in another order once the accounts are read again.
#[test]
fn columns_are_the_same_privileges_in_whatever_order() {
    let (servers, _orders) = keep(product().options());
    let proxy = Proxy::with(&servers, 6, ONE_LANE_AND_REPLICA);
    let mut root = servers.root();
    for sql in [
        "CREATE TABLE shop.of_columns (c1 INT, c2 INT, c3 INT, c4 INT, c5 INT)",
        "CREATE USER columns@'%' IDENTIFIED BY 'columns-secret'",
        "GRANT INSERT (c5, c1), SELECT (c3, c2, c5) ON shop.of_columns TO columns@'%'",
        "GRANT UPDATE (c4), SELECT (c1) ON shop.of_columns TO columns@'%'",
    ] {
        root.run(sql);
    }
    servers.wait_replicated();
    let connect = |user| {
        let password = format!("{user}-secret");
        Raw::connect(proxy.port, user, &password, None).unwrap()
    };
    connect("root").run("FLUSH LOCAL PRIVILEGES");
    proxy.until_replica_answers(&mut connect("columns"), "SELECT c1 FROM shop.of_columns");
    assert_eq!(proxy.metric(DIFFERS), 0.0);
}
