//! What a session goes on with as it began, once global variables have changed and connections have begun with the new
//! ones.

use fairlane::protocol::{Command, Family};
use fairlane::sandbox::Options;
use fairlane::state::{TransactionNames, kept};

use crate::support::servers::{Servers, keep};
use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, end_connections, pause, product};

fn servers_of_its_own() -> Servers {
    keep(Options { max_connections: 50, ..product().options() }).0
}

/// What the session has of all of them, on the primary.
fn asked(session: &mut Raw) -> String {
    let family = if product().is_mysql() { Family::MySql } else { Family::MariaDb };
    let transaction = TransactionNames::of(family, &session.greeting.version);
    let question = kept::question("session", family, transaction);
    session.text(&format!("/* fairlane: route=primary */ SELECT {question}"))
}

/// Others than usual.
fn globals(root: &mut Raw) -> Vec<(&'static str, &'static str)> {
    let mut globals = vec![
        ("auto_increment_increment", "7"),
        ("collation_server", "'latin1_bin'"),
        ("default_storage_engine", "'MyISAM'"),
        ("default_tmp_storage_engine", "'MyISAM'"),
        ("explicit_defaults_for_timestamp", "0"),
        ("foreign_key_checks", "0"),
        ("innodb_lock_wait_timeout", "7"),
        ("lock_wait_timeout", "77"),
        ("max_join_size", "1"),
        ("sql_safe_updates", "1"),
        ("updatable_views_with_limit", "'NO'"),
    ];
    globals.extend(match product().is_mysql() {
        true => [("transaction_read_only", "1"), ("windowing_use_high_precision", "0")],
        false => [("tx_read_only", "1"), ("check_constraint_checks", "0")],
    });
    if !product().is_mysql() {
        globals.push(("innodb_strict_mode", "0"));
        // It is what a login computes of both.
        root.run("SET GLOBAL sql_big_selects = 0");
    }
    globals
}

#[test]
fn sessions_go_on_with_what_writes_hang_on() {
    let servers = servers_of_its_own();
    let mut root = servers.root();
    for sql in [
        "CREATE TABLE shop.kept (id INT AUTO_INCREMENT PRIMARY KEY, a INT, CHECK (a < 100))",
        "CREATE VIEW shop.kept_view AS SELECT a FROM shop.kept",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    // One of them has had no connection yet.
    let (mut before, mut fresh) = (proxy.app(), proxy.app());
    let begun = asked(&mut before);
    before.run("SET div_precision_increment = 9");
    before.run("DO 1");
    let mut set = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    for (name, value) in globals(&mut root) {
        set.run(&format!("SET GLOBAL {name} = {value}"));
    }
    end_connections(&mut root, "app");
    assert_ne!(asked(&mut proxy.app()), begun);
    assert_eq!(asked(&mut fresh), begun);
    for session in [&mut before, &mut fresh] {
        session.run("INSERT INTO kept (a) VALUES (1), (2)");
        session.run("BEGIN");
        session.run("INSERT INTO kept (a) VALUES (3)");
        session.run("COMMIT");
        let refused = session.query("INSERT INTO kept (a) VALUES (500)").expect_err("the check");
        assert_eq!(refused.code(), if product().is_mysql() { 3819 } else { 4025 });
        session.run("UPDATE kept_view SET a = a + 1 LIMIT 1");
        session.run("SELECT COUNT(*) FROM kept x, kept y FOR UPDATE");
        session.run("CREATE TABLE kept_engine (a INT)");
        let engine =
            "SELECT engine FROM information_schema.tables WHERE table_name = 'kept_engine'";
        assert_eq!(session.text(engine), "InnoDB");
        session.run("DROP TABLE kept_engine");
        session.run("UPDATE kept SET a = 1");
    }
    assert_eq!(asked(&mut before), begun.replace("|4|", "|9|"), "its own stays");
    before.command(Command::ResetConnection, b"").unwrap();
    assert_ne!(asked(&mut before), begun, "it begins anew");
}

/// A connection that was reset has the new ones, too, and what another session has set goes back to what the
/// connection began with.
#[test]
fn sessions_go_on_with_what_they_began_with_on_older_connections() {
    let servers = servers_of_its_own();
    let proxy = Proxy::with(&servers, 2, ONE_LANE);
    let mut before = proxy.app();
    let begun = asked(&mut before);
    let mut direct = servers.root();
    for left in [
        "SET foreign_key_checks = 0, sql_safe_updates = 1",
        "CREATE TEMPORARY TABLE kept_left (a INT)",
    ] {
        let mut other = proxy.app();
        other.run(left);
        other.run("DO 1");
        direct.run("SET GLOBAL foreign_key_checks = 0");
        direct.run("SET GLOBAL sql_safe_updates = 1");
        drop(other);
        pause(20);
        assert_eq!(asked(&mut before), begun, "after {left}");
        direct.run("SET GLOBAL foreign_key_checks = 1");
        direct.run("SET GLOBAL sql_safe_updates = 0");
    }
}

/// It is there for logins alone, and over once a session has had a connection.
#[test]
fn what_init_connect_begins_is_in_nobodys_way_later() {
    let servers = servers_of_its_own();
    let mut root = servers.root();
    root.run("CREATE TABLE shop.kept_begun (a INT)");
    for mut root in [servers.root(), servers.replica_root()] {
        root.run("SET GLOBAL init_connect = 'BEGIN'");
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let count = "SELECT COUNT(*) FROM kept_begun";
    let insert = |session: &mut Raw| {
        session.run("INSERT INTO kept_begun VALUES (1)");
        session.run("ROLLBACK");
    };
    let mut session = proxy.app();
    session.command(Command::ResetConnection, b"").unwrap();
    insert(&mut session);
    assert_eq!(root.text("SELECT COUNT(*) FROM shop.kept_begun"), "1", "it was reset");
    let mut other = proxy.app();
    other.run("INSERT INTO kept_begun VALUES (1)");
    other.run("COMMIT");
    end_connections(&mut root, "app");
    insert(&mut other);
    assert_eq!(root.text("SELECT COUNT(*) FROM shop.kept_begun"), "3", "it has gone on");
    let mut third = proxy.app();
    end_connections(&mut root, "app");
    insert(&mut third);
    // MySQL's connections can't be set up in it.
    let begins_beside = u32::from(product().is_mysql());
    let rows = root.text("SELECT COUNT(*) FROM shop.kept_begun");
    assert_eq!(rows, (3 + begins_beside).to_string(), "it begins in it");
    proxy.until_replica_answers(&mut session, count);
    for rows in 4 + begins_beside..8 {
        other.run("INSERT INTO kept_begun VALUES (1)");
        assert_eq!(session.text(count), rows.to_string(), "the replica's go on");
        proxy.until_replica_answers(&mut session, count);
    }
}
