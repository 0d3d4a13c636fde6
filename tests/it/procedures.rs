//! What a procedure or a view takes or sets for its session.

use fairlane::protocol::{Capabilities, Command, code};
use fairlane::sandbox::Options;

use crate::support::raw::Login;
use crate::support::servers::keep;
use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, product, servers};

/// Procedures that hold everybody up, and what gives it back before the session ends.
fn locks() -> [(&'static str, Option<&'static str>); 4] {
    [
        ("FLUSH TABLES WITH READ LOCK", Some("UNLOCK TABLES")),
        ("BEGIN CALL pr_none(); CALL pr_freezes(); END", Some("UNLOCK TABLES")),
        // It is told that something has changed.
        ("BEGIN PREPARE s FROM 'FLUSH TABLES WITH READ LOCK'; EXECUTE s; END", None),
        match product().is_mysql() {
            true => ("LOCK INSTANCE FOR BACKUP", None),
            false => ("EXECUTE IMMEDIATE 'BACKUP LOCK shop.pr_rows'", None),
        },
    ]
}

#[test]
fn a_lock_that_a_procedure_takes_is_its_sessions() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "USE shop",
        "CREATE TABLE pr_rows (id INT AUTO_INCREMENT PRIMARY KEY)",
        "CREATE PROCEDURE pr_none() INSERT INTO pr_rows VALUES (NULL)",
        "CREATE PROCEDURE pr_freezes() FLUSH TABLES WITH READ LOCK",
        "SET lock_wait_timeout = 1",
        "GRANT RELOAD ON *.* TO 'app'@'127.0.0.1', 'app'@'localhost', 'app'@'%'",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    let (mut other, mut first) = (proxy.app(), proxy.app());
    first.run("CALL pr_none()");
    for (body, gives_back) in locks() {
        root.run("DROP PROCEDURE IF EXISTS pr_takes");
        root.run(&format!("CREATE PROCEDURE pr_takes() {body}"));
        let is_frozen = |root: &mut Raw| root.query("ALTER TABLE pr_rows COMMENT 'x'").is_err();
        for ends in [gives_back, None].into_iter().take(1 + usize::from(gives_back.is_some())) {
            let mut one = proxy.app();
            // Whatever has run on its connection before.
            for own in ["FLUSH TABLES pr_rows", "FLUSH TABLES pr_rows WITH READ LOCK"] {
                one.run(own);
                one.run("UNLOCK TABLES");
                one.run("CALL pr_none()");
                // With what may have been anything before it.
                one.run("START TRANSACTION READ ONLY");
                one.query("SELEC 1").unwrap_err();
                one.run(own);
                one.run("UNLOCK TABLES");
                one.run("COMMIT");
            }
            assert_eq!(pinned(), 0.0, "a procedure that takes nothing binds nobody");
            one.run("CALL pr_takes()");
            eventually("it is bound", || pinned() == 1.0);
            other.run("SELECT 1 FROM pr_rows");
            assert!(is_frozen(&mut root), "{body}: it is given back while its session goes on");
            match ends {
                Some(sql) => drop(one.run(sql)),
                None => one.hang_up(),
            }
            eventually("nobody is bound", || pinned() == 0.0);
            eventually("the server goes on", || !is_frozen(&mut root));
        }
    }
}

/// One that was made in this mode calls others without a word for it.
#[test]
fn what_a_procedure_of_oracle_mode_takes_by_another_one_is_its_sessions() {
    if product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "USE shop",
        "CREATE TABLE pr_mine (a INT)",
        "SET sql_mode = ORACLE",
        "CREATE PROCEDURE pr_makes AS BEGIN CREATE TEMPORARY TABLE pr_mine AS SELECT 1 AS a; END",
        "CREATE PROCEDURE pr_locks AS BEGIN FLUSH TABLES WITH READ LOCK; END",
        "CREATE PROCEDURE pr_makes_so AS BEGIN pr_makes; END",
        "CREATE PROCEDURE pr_locks_so AS BEGIN pr_locks; END",
        "SET lock_wait_timeout = 1",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 3, ONE_LANE);
    let log_in = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    for call in ["CALL pr_makes_so()", "CALL pr_locks_so()"] {
        // Its text is known from the first time on.
        for _ in 0..3 {
            let mut one = log_in();
            one.run(call);
            eventually("it is bound", || pinned() == 1.0);
            assert_eq!(log_in().text("SELECT COUNT(*) FROM pr_mine"), "0", "{call}");
            one.hang_up();
            eventually("nobody is bound", || pinned() == 0.0);
            eventually("the server goes on", || {
                root.query("ALTER TABLE pr_mine COMMENT 'x'").is_ok()
            });
        }
    }
}

#[test]
fn a_flush_that_fails_is_not_taken_for_one_of_a_procedure() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut root = servers().root();
    root.run("CREATE PROCEDURE shop.pr_idle() DO 0");
    for (user, flush, ends, code) in [
        ("app", "FLUSH TABLES", "COMMIT", 1227),
        // It binds by its words, until this.
        ("root", "FLUSH TABLES pr_nowhere WITH READ LOCK", "UNLOCK TABLES", 1146),
    ] {
        for before in ["SELEC 1", "CALL pr_idle()"] {
            let password = format!("{user}-secret");
            let mut one = Raw::connect(proxy.port, user, &password, Some("shop")).unwrap();
            one.run("START TRANSACTION");
            // It may have been anything.
            let _ = one.query(before);
            for _ in 0..2 {
                assert_eq!(one.query(flush).unwrap_err().code(), code);
            }
            one.run("COMMIT");
            one.run(ends);
            one.run("DO 1");
            assert_eq!(proxy.sum("fairlane_sessions_pinned{"), 0.0, "{before}; {flush}");
        }
    }
    root.run("DROP PROCEDURE shop.pr_idle");
}

#[test]
fn a_procedure_that_takes_the_place_of_another_is_looked_at_anew() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let proxy = Proxy::with(&servers, 3, ONE_LANE);
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    let mut one = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    for (body, binds) in [("DO 1", 0.0), ("FLUSH TABLES WITH READ LOCK", 1.0)] {
        one.run("DROP PROCEDURE IF EXISTS pr_other");
        one.run(&format!("CREATE PROCEDURE pr_other() {body}"));
        one.run("CALL pr_other()");
        one.run("SELECT 1");
        one.run("CALL pr_other()");
        eventually("it is bound by what it runs now", || pinned() == binds);
    }
    one.hang_up();
    eventually("nobody is bound", || pinned() == 0.0);
    servers.root().run("CREATE TABLE shop.pr_thawed (a INT)");
}

/// The answer tells it, or what comes next; to MySQL's older clients nothing does.
#[test]
fn what_a_view_has_set_on_a_replica_is_there_on_the_primary() {
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP VIEW IF EXISTS pr_zoned",
        "DROP FUNCTION IF EXISTS pr_zone",
        "CREATE FUNCTION pr_zone() RETURNS INT DETERMINISTIC NO SQL \
         BEGIN SET time_zone = '+02:00'; RETURN @@port; END",
        "CREATE VIEW pr_zoned AS SELECT pr_zone()",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
    let proxy = Proxy::with(servers(), 4, ONE_LANE_AND_REPLICA);
    for more in [Capabilities::DEPRECATE_EOF, Capabilities::MULTI_RESULTS] {
        if product().is_mysql() && !more.contains(Capabilities::DEPRECATE_EOF) {
            continue;
        }
        let login =
            Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
        let mut one = Raw::login(&login).unwrap();
        let port = one.text("/* fairlane: route=replica */ SELECT * FROM pr_zoned");
        assert_eq!(port, servers().replica.to_string());
        let now = |one: &mut Raw| one.text("SELECT FROM_UNIXTIME(1)");
        assert_eq!(now(&mut one), "1970-01-01 02:00:01");
        one.run("DO 0");
        assert_eq!(now(&mut one), "1970-01-01 02:00:01", "{more:?}, on the primary");
    }
}

/// Rows numbered by a variable, as old texts do it.
#[test]
fn a_variable_that_is_set_once_more_begins_anew_in_a_view() {
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP VIEW IF EXISTS pr_numbered",
        "DROP FUNCTION IF EXISTS pr_number",
        "CREATE FUNCTION pr_number() RETURNS INT DETERMINISTIC NO SQL \
         BEGIN SET @pr = @pr + 1; RETURN @pr; END",
        "CREATE VIEW pr_numbered AS SELECT pr_number() AS n",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let more = Capabilities::MULTI_RESULTS;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let mut one = Raw::login(&login).unwrap();
    for _ in 0..3 {
        one.run("SET @pr = 0");
        let number = one.text("/* fairlane: route=replica */ SELECT n FROM pr_numbered");
        assert_eq!(number, "1");
    }
}

/// Its text is asked for on the connection of a session whose results may be written in any character set.
#[test]
fn a_procedure_whose_text_came_in_a_wide_character_set_is_read() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    servers.root().run("CREATE PROCEDURE shop.pr_wide() FLUSH TABLES WITH READ LOCK");
    let proxy = Proxy::with(&servers, 3, ONE_LANE);
    let root = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    for sets in ["SET character_set_results = utf16", "SET character_set_results = utf32", "DO 1"] {
        let mut one = root();
        one.run(sets);
        one.run("CALL pr_wide()");
        eventually("it is bound", || pinned() == 1.0);
        one.run("UNLOCK TABLES");
        eventually("nobody is bound", || pinned() == 0.0);
    }
    servers.root().run("CREATE TABLE shop.pr_thawed (a INT)");
}

/// Servers flag that they choose its schema like any change of a session.
#[test]
fn what_a_procedure_of_another_schema_leaves_is_its_sessions() {
    // Whoever makes a routine has packages of others begin anew.
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "CREATE DATABASE pr_elsewhere",
        "USE pr_elsewhere",
        "CREATE TABLE pr_kept (a INT)",
        "CREATE PROCEDURE pr_says(x INT) SELECT x",
        "CREATE PROCEDURE pr_writes(x INT) BEGIN DECLARE y INT; SET y = x; INSERT INTO pr_kept VALUES (y); END",
        "CREATE PROCEDURE pr_into() SELECT 7 INTO @u",
        "CREATE PROCEDURE pr_nests() CALL pr_into()",
        "CREATE PROCEDURE pr_variable() SET @u = 7",
        "CREATE PROCEDURE pr_temporary() CREATE TEMPORARY TABLE pr_temporary AS SELECT 7 AS a",
        "CREATE PROCEDURE pr_prepares() PREPARE s FROM 'SELECT 7'",
        "CREATE PROCEDURE pr_two() BEGIN CALL pr_says(1); CALL pr_variable(); END",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    for schema in [Some("shop"), None] {
        let connect = || Raw::connect(proxy.port, "root", "root-secret", schema).unwrap();
        let mut idle: Vec<Raw> = (0..4).map(|_| connect()).collect();
        for call in ["pr_says(5)", "pr_writes(5)"] {
            for client in &mut idle {
                client.run(&format!("CALL pr_elsewhere.{call}"));
                assert_eq!(
                    client.text("SELECT COALESCE(DATABASE(), 'none')"),
                    schema.unwrap_or("none")
                );
            }
            assert_eq!(pinned(), 0.0, "{call} binds nobody, {schema:?}");
        }
        for (call, finds) in [
            ("pr_variable", "SELECT @u"),
            ("pr_temporary", "SELECT a FROM pr_elsewhere.pr_temporary"),
            ("pr_prepares", "EXECUTE s"),
            ("pr_two", "SELECT @u"),
            ("pr_into", "SELECT @u"),
            ("pr_nests", "SELECT @u"),
        ] {
            let mut one = connect();
            one.run("SET sql_select_limit = 1");
            one.run(&format!("CALL pr_elsewhere.{call}()"));
            for other in &mut idle {
                other.run("SELECT 1 FROM pr_elsewhere.pr_kept");
            }
            assert_eq!(one.text(finds), "7", "{call}, {schema:?}");
            one.hang_up();
            eventually("nobody is bound", || pinned() == 0.0);
        }
    }
}

#[test]
fn a_table_that_a_procedure_selects_into_is_its_sessions() {
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP PROCEDURE IF EXISTS pr_selects",
        "CREATE PROCEDURE pr_selects() CREATE TEMPORARY TABLE pr_selected SELECT 7 AS a",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    // The second time the procedure's text is known.
    for _ in 0..2 {
        one.run("CALL pr_selects()");
        let missing = other.query("SELECT a FROM pr_selected").unwrap_err();
        assert_eq!(missing.code(), code::NO_SUCH_TABLE);
        assert_eq!(one.text("SELECT a FROM pr_selected"), "7");
        one.command(Command::ResetConnection, b"").unwrap();
    }
    // What the session itself has made is none of the next procedure's.
    one.run("CREATE TEMPORARY TABLE pr_selected SELECT 8 AS a");
    one.run("DROP TEMPORARY TABLE pr_selected");
    root.replace("CREATE OR REPLACE PROCEDURE pr_selects() INSERT INTO pr_selected VALUES (1)");
    root.replace("CREATE OR REPLACE TABLE pr_selected (a INT)");
    one.run("CALL pr_selects()");
    one.run("DO 1");
    assert_eq!(proxy.sum("fairlane_sessions_pinned{"), 0.0);
    other.run("DROP TABLE pr_selected");
}

/// By a text that the server reads as it runs: MariaDB takes these statements in no routine otherwise.
/// MariaDB counts it backwards (`Com_create_table`).
#[test]
fn a_procedure_of_another_schema_makes_a_sequence_for_its_session() {
    if product().is_mysql() {
        return;
    }
    let mut root = servers().root();
    root.run("USE shop");
    root.run(
        "CREATE OR REPLACE PROCEDURE pr_sequence() CREATE TEMPORARY SEQUENCE shop.pr_temporary_sequence",
    );
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut client = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    client.run("CALL shop.pr_sequence()");
    let mut other = proxy.app();
    other.run("DO 1");
    assert_eq!(client.text("SELECT NEXTVAL(shop.pr_temporary_sequence)"), "1");
}

#[test]
fn what_a_procedure_locks_or_opens_behind_its_text_is_its_sessions() {
    if product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "USE shop",
        "CREATE TABLE pr_held (id INT PRIMARY KEY)",
        "CREATE TABLE pr_free (id INT PRIMARY KEY)",
        "INSERT INTO pr_held VALUES (1)",
        "CREATE PROCEDURE pr_locks() EXECUTE IMMEDIATE 'LOCK TABLES pr_held WRITE'",
        "CREATE PROCEDURE pr_opens() EXECUTE IMMEDIATE 'HANDLER pr_held OPEN AS h'",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    for (text, own) in [
        ("UNLOCK TABLES; CALL pr_locks()", "INSERT INTO pr_held VALUES (2)"),
        ("CALL pr_opens()", "HANDLER h READ FIRST"),
    ] {
        let mut one = proxy.app();
        one.run(text);
        eventually("it is bound", || pinned() == 1.0);
        for _ in 0..4 {
            let mut other = proxy.app();
            other.run("INSERT IGNORE INTO pr_free VALUES (1)");
            other.run("HANDLER pr_free OPEN AS h");
        }
        one.run(own);
        one.hang_up();
        eventually("nobody is bound", || pinned() == 0.0);
        assert_eq!(proxy.app().text("SELECT COUNT(*) FROM pr_held"), "2");
    }
}

/// FLUSH STATUS sets the counters of a session to zero.
#[test]
fn a_lock_that_a_procedure_takes_is_its_sessions_behind_a_flush_of_the_counters() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "USE shop",
        "CREATE TABLE pr_zero (id INT)",
        "CREATE PROCEDURE pr_freezes() FLUSH TABLES WITH READ LOCK",
        "SET lock_wait_timeout = 1",
        "GRANT RELOAD ON *.* TO 'app'@'127.0.0.1', 'app'@'localhost', 'app'@'%'",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    let mut one = proxy.app();
    one.run("SET autocommit = 0");
    one.run("SELECT COUNT(*) FROM pr_zero");
    one.run("FLUSH STATUS");
    one.run("SELECT COUNT(*) FROM pr_zero");
    one.run("CALL pr_freezes()");
    one.run("COMMIT");
    eventually("it is bound", || pinned() == 1.0);
    drop(one);
    eventually("it is not any more", || pinned() == 0.0);
    root.run("ALTER TABLE pr_zero COMMENT 'thawed'");
}
