//! What routines and triggers do behind a statement's back.

use fairlane::protocol::auth::NATIVE;
use fairlane::protocol::status::Status;
use fairlane::protocol::{Command, Shape};

use crate::support::{ONE_LANE, Proxy, Raw, eventually, product, servers};

/// Ways to leave `@u` at 7, whether they fail in doing so, and whether the session still has it then
/// (see docs/compatibility.md).
const WAYS: &[(&str, bool, bool)] = &[
    ("CALL rt_into()", false, false),
    ("CALL rt_set()", false, true),
    ("CALL rt_assign()", false, false),
    ("SELECT rt_function()", false, false),
    ("DO rt_function()", false, false),
    ("INSERT INTO rt_into (id) VALUES (NULL)", false, false),
    ("INSERT INTO rt_set (id) VALUES (NULL)", false, false),
    ("INSERT INTO rt_into (id) VALUES (1)", true, false),
    ("INSERT INTO rt_set (id) VALUES (1)", true, false),
    ("UPDATE rt_set SET id = 1 WHERE id = 2", false, false),
    ("CALL rt_fails()", true, true),
    ("SELECT * FROM rt_view", false, false),
];

fn set_up() {
    // Two tests make the same ones.
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(make);
}

fn make() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP PROCEDURE IF EXISTS rt_into",
        "DROP PROCEDURE IF EXISTS rt_set",
        "DROP PROCEDURE IF EXISTS rt_assign",
        "DROP PROCEDURE IF EXISTS rt_fails",
        "DROP FUNCTION IF EXISTS rt_function",
        "DROP VIEW IF EXISTS rt_view",
        "DROP TABLE IF EXISTS rt_into",
        "DROP TABLE IF EXISTS rt_set",
        "CREATE PROCEDURE rt_into() SELECT 7 INTO @u",
        "CREATE PROCEDURE rt_set() SET @u = 7",
        "CREATE PROCEDURE rt_assign() SELECT @u := 7",
        "CREATE PROCEDURE rt_fails() BEGIN SELECT 7 INTO @u; CALL rt_no_such_thing(); END",
        "CREATE FUNCTION rt_function() RETURNS INT DETERMINISTIC BEGIN SELECT 7 INTO @u; RETURN 1; END",
        "CREATE VIEW rt_view AS SELECT rt_function()",
        "CREATE TABLE rt_into (id INT AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE rt_set (id INT AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO rt_into VALUES (1), (2)",
        "INSERT INTO rt_set VALUES (1), (2)",
        "CREATE TRIGGER rt_into_trigger BEFORE INSERT ON rt_into FOR EACH ROW SELECT 7 INTO @u",
        "CREATE TRIGGER rt_set_trigger BEFORE INSERT ON rt_set FOR EACH ROW SET @u = 7",
        "CREATE TRIGGER rt_update BEFORE UPDATE ON rt_set FOR EACH ROW SET @u = 7, NEW.id = 2",
    ] {
        root.run(sql);
    }
}

#[test]
fn a_variable_that_a_routine_sets_is_its_sessions() {
    set_up();
    let proxy = Proxy::with(servers(), 5, ONE_LANE);
    let mut wrong = Vec::new();
    for (sql, fails, is_kept) in WAYS {
        let (mut one, mut two) = (proxy.app(), proxy.app());
        assert_eq!(one.query(sql).is_err(), *fails, "{sql}");
        // Whatever is free, most of all what the first one has left.
        let mut others: Vec<Raw> = (0..3).map(|_| proxy.app()).collect();
        for other in others.iter_mut().chain([&mut two]) {
            if other.text("SELECT COALESCE(@u, 'none')") != "none" {
                wrong.push(format!("{sql}: another session has it"));
            }
            other.run("BEGIN");
            other.run("SELECT 1 FROM rt_set FOR UPDATE");
            other.run("ROLLBACK");
        }
        if *is_kept && one.text("SELECT COALESCE(@u, 'none')") != "7" {
            wrong.push(format!("{sql}: its own session lost it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_variable_that_a_routine_sets_ends_with_a_reset() {
    set_up();
    // One connection, so that it is the same one afterwards.
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut wrong = Vec::new();
    for (sql, fails, _) in WAYS {
        for end in [Command::ResetConnection, Command::ChangeUser] {
            let mut client = proxy.app();
            assert_eq!(client.query(sql).is_err(), *fails, "{sql}");
            if end == Command::ChangeUser {
                // An empty reply: servers ask for one to a new nonce, whatever is sent.
                let body = [b"app\0\0shop\0\x2d\0", NATIVE.as_bytes(), b"\0\0"].concat();
                client.send(end, &body);
                client.prove("app-secret").unwrap();
            } else {
                assert_eq!(client.command(end, b"").unwrap().error(), None);
            }
            let value = client.text("SELECT COALESCE(@u, 'none')");
            if value != "none" {
                wrong.push(format!("{sql}, {end:?}: {value}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A routine may fail late with an error that others fail with before they do anything.
#[test]
fn a_transaction_that_a_failed_routine_left_open_is_its_sessions() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP PROCEDURE IF EXISTS rt_opens",
        "DROP TABLE IF EXISTS rt_log",
        "CREATE TABLE rt_log (id INT)",
        "CREATE PROCEDURE rt_opens() BEGIN START TRANSACTION; INSERT INTO rt_log VALUES (1); \
         CALL rt_no_such_thing(); COMMIT; END",
    ] {
        root.run(sql);
    }
    root.run("DROP PROCEDURE IF EXISTS rt_makes");
    root.run("CREATE PROCEDURE rt_makes() BEGIN CREATE TEMPORARY TABLE rt_log (x INT); CALL rt_no_such_thing(); END");
    let proxy = Proxy::with(servers(), 6, ONE_LANE);
    let (mut one, mut two) = (proxy.app(), proxy.app());
    assert_eq!(two.query("CALL rt_makes()").unwrap_err().code(), 1305);
    assert_eq!(one.query("CALL rt_opens()").unwrap_err().code(), 1305);
    for id in 2..6 {
        let mut other = proxy.app();
        other.run(&format!("INSERT INTO rt_log VALUES ({id})"));
        other.hang_up();
    }
    assert_eq!(one.text("SELECT COUNT(*) FROM rt_log WHERE id = 1"), "1");
    assert_eq!(two.text("SELECT COUNT(x) FROM rt_log"), "0");
    // One that there is not has done nothing.
    let mut three = proxy.app();
    assert_eq!(three.query("CALL rt_no_such_thing()").unwrap_err().code(), 1305);
    eventually("two are held", || proxy.sum("fairlane_sessions_pinned{") == 2.0);
    one.run("ROLLBACK");
    assert_eq!(root.text("SELECT GROUP_CONCAT(id ORDER BY id) FROM rt_log"), "2,3,4,5");
}

/// In this mode a block names a procedure without another word, and others fail with this error before they do anything.
#[test]
fn a_transaction_that_a_block_of_oracle_mode_left_open_is_its_sessions() {
    if product().is_mysql() {
        return;
    }
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP PROCEDURE IF EXISTS rt_unparsed",
        "CREATE OR REPLACE TABLE rt_open (id INT)",
        "SET sql_mode = ORACLE",
        "CREATE PROCEDURE rt_unparsed AS BEGIN START TRANSACTION; INSERT INTO rt_open VALUES (1); \
         EXECUTE IMMEDIATE 'SELEC'; END",
    ] {
        root.run(sql);
    }
    for (mode, text) in [
        ("ORACLE", "BEGIN rt_unparsed; END"),
        ("ORACLE", "IF 1 THEN rt_unparsed; END IF"),
        ("''", "SET sql_mode = ORACLE; BEGIN rt_unparsed; END"),
    ] {
        let proxy = Proxy::with(servers(), 3, ONE_LANE);
        let mut one = proxy.app();
        one.run(&format!("SET sql_mode = {mode}"));
        one.send(Command::Query, text.as_bytes());
        let answer = one.answer(Shape::Results).unwrap();
        assert_eq!(answer.error().map(|error| error.code()), Some(1064), "{text}");
        for id in 2..6 {
            let mut other = proxy.app();
            other.run(&format!("INSERT INTO rt_open VALUES ({id})"));
            other.hang_up();
        }
        assert_eq!(one.text("SELECT COUNT(*) FROM rt_open WHERE id = 1"), "1", "{text}");
        one.run("ROLLBACK");
        let there = root.text("SELECT GROUP_CONCAT(id ORDER BY id) FROM rt_open");
        assert_eq!(there, "2,3,4,5", "{text}");
        root.run("TRUNCATE rt_open");
    }
}

/// MySQL refuses to set what is told of GTIDs in a transaction, of which the error does not tell.
#[test]
fn a_transaction_that_a_failed_routine_left_open_outlives_a_look_at_trackers() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    root.replace("CREATE OR REPLACE TABLE rt_kept (id INT PRIMARY KEY)");
    let fails = "INSERT INTO rt_kept VALUES (9); SIGNAL SQLSTATE '45000'";
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    for begins in ["START TRANSACTION", "SET autocommit = 0"] {
        root.replace(&format!(
            "CREATE OR REPLACE PROCEDURE rt_leaves() BEGIN {begins}; {fails}; END"
        ));
        for text in ["CALL rt_leaves()", "SET session_track_state_change = 1; CALL rt_leaves()"] {
            for sql in ["SHOW VARIABLES LIKE 'sql_mode'", "SELECT @@session_track_schema"] {
                let mut one = proxy.app();
                one.send(Command::Query, text.as_bytes());
                let answer = one.answer(Shape::Results).unwrap();
                assert_eq!(answer.error().map(|error| error.code()), Some(1644), "{text}");
                one.run(sql);
                assert_eq!(
                    one.text("SELECT COUNT(*) FROM rt_kept"),
                    "1",
                    "{begins}, {text}, {sql}"
                );
                one.run("ROLLBACK");
                assert_eq!(root.text("SELECT COUNT(*) FROM rt_kept"), "0");
            }
        }
    }
}

/// What fails in the midst names a routine that its text has too, as another word.
#[test]
fn a_name_in_a_text_does_not_say_that_nothing_has_run() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP PROCEDURE IF EXISTS rt_job",
        "DROP FUNCTION IF EXISTS rt_orders",
        "DROP TABLE IF EXISTS rt_jobs",
        "DROP TABLE IF EXISTS rt_other",
        "CREATE TABLE rt_jobs (id INT)",
        "CREATE TABLE rt_other (id INT)",
        "CREATE PROCEDURE rt_job(name TEXT) BEGIN START TRANSACTION; INSERT INTO rt_jobs VALUES (1); \
         CALL rt_cleanup(); COMMIT; END",
        "CREATE FUNCTION rt_orders() RETURNS INT DETERMINISTIC BEGIN \
         CREATE TEMPORARY TABLE rt_other (x INT); CALL rt_cleanup(); RETURN 1; END",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut wrong = Vec::new();
    root.run("INSERT INTO rt_jobs VALUES (0)");
    for (number, sql) in [
        "CALL rt_job('rt_cleanup')",
        "CALL rt_job('') -- rt_cleanup",
        "CALL rt_job(/* shop.rt_cleanup */ '')",
        "INSERT INTO rt_jobs VALUES (rt_orders())",
        "UPDATE rt_jobs SET id = rt_orders()",
        "DELETE FROM rt_jobs WHERE id = rt_orders()",
        "SET @rt = rt_orders()",
        "SELECT 1; SELECT rt_orders(), 'shop.rt_cleanup'",
    ]
    .iter()
    .enumerate()
    {
        let (mut one, mut two) = (proxy.app(), proxy.app());
        let failed = match one.query(sql) {
            Err(error) => error.code(),
            Ok(answer) => answer.error().map_or(0, |error| error.code()),
        };
        if failed != 1305 {
            wrong.push(format!("{sql}: {failed}"));
        }
        let id = number + 10;
        two.run(&format!("INSERT INTO rt_jobs VALUES ({id})"));
        if two.query("SELECT COUNT(x) FROM rt_other").is_ok() {
            wrong.push(format!("{sql}: another session has its table"));
        }
        if root.text(&format!("SELECT COUNT(*) FROM rt_jobs WHERE id = {id}")) != "1" {
            wrong.push(format!("{sql}: its transaction is another session's"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Servers look for the functions that a statement calls itself before anything of it runs.
#[test]
fn a_function_that_there_is_not_is_missed_before_others_run() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP FUNCTION IF EXISTS rt_runs",
        "CREATE FUNCTION rt_runs() RETURNS INT DETERMINISTIC BEGIN \
         CREATE TEMPORARY TABLE rt_has_run (x INT); RETURN 1; END",
        "DROP TABLE IF EXISTS rt_rows",
        "CREATE TABLE rt_rows (id INT PRIMARY KEY)",
        "INSERT INTO rt_rows VALUES (1), (2)",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut client = proxy.app();
    for sql in [
        "SELECT rt_runs(), rt_none()",
        "SELECT id FROM rt_rows WHERE id = rt_runs() AND rt_none() = 1",
        "SELECT id FROM rt_rows WHERE id = 1 HAVING rt_runs() ORDER BY rt_none()",
        "SELECT rt_runs() UNION SELECT rt_none()",
        "SELECT * FROM (SELECT rt_runs() AS a) t WHERE a = rt_none()",
        "SELECT a.x, b.x FROM (SELECT rt_runs() AS x) a, (SELECT rt_none() AS x) b",
        "SELECT (SELECT rt_runs()), (SELECT shop.rt_none() FROM rt_rows LIMIT 1)",
        "SELECT id FROM rt_rows GROUP BY id, rt_runs() HAVING MAX(id) = rt_none()",
        "(SELECT rt_runs()) UNION (SELECT rt_none())",
        "WITH x AS (SELECT rt_runs() AS a) SELECT a, rt_none() FROM x",
        "INSERT INTO rt_rows VALUES (rt_runs() + 5), (rt_none())",
        "INSERT INTO rt_rows SELECT rt_runs() + 5 FROM rt_rows WHERE rt_none() = 1",
        "INSERT INTO rt_rows VALUES (rt_runs()) ON DUPLICATE KEY UPDATE id = rt_none()",
        "REPLACE INTO rt_rows VALUES (rt_runs()), (rt_none())",
        "UPDATE rt_rows SET id = rt_runs() + 5 WHERE id = rt_none()",
        "DELETE FROM rt_rows WHERE id = rt_runs() + 5 AND id = rt_none()",
        "DO rt_runs(), rt_none()",
    ] {
        for client in [&mut root, &mut client] {
            assert_eq!(client.query(sql).unwrap_err().code(), 1305, "{sql}");
            assert_eq!(client.query("SELECT x FROM rt_has_run").unwrap_err().code(), 1146, "{sql}");
        }
    }
    assert_eq!(proxy.sum("fairlane_sessions_pinned{"), 0.0, "it binds nobody");
}

/// SAVEPOINT alone opens nothing that status flags show.
#[test]
fn a_savepoint_with_autocommit_off_is_there_after_a_set() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let (mut one, mut two) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE rt_saved (id INT)");
    for between in ["SET @x = 5", "USE shop", "SHOW WARNINGS"] {
        one.run("SET autocommit = 0");
        one.run("SAVEPOINT a");
        let _ = one.query(between).unwrap();
        two.run("INSERT INTO rt_saved VALUES (2)");
        one.run("INSERT INTO rt_saved VALUES (1)");
        one.run("ROLLBACK TO a");
        one.run("COMMIT");
        assert_eq!(two.text("SELECT COUNT(*) FROM rt_saved WHERE id = 1"), "0", "{between}");
    }
}

/// What a CMS sends when it connects.
#[test]
fn names_and_another_character_set_are_set_in_one_go() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut others = [proxy.app(), proxy.app()];
    for set in [
        "SET NAMES 'utf8mb4', character_set_client = binary",
        "SET NAMES 'latin1' COLLATE 'latin1_bin', character_set_results = NULL",
        "SET NAMES utf8mb4, character_set_client = latin1, character_set_results = latin1",
    ] {
        let shown = "SELECT CONCAT_WS('/', @@character_set_client, @@character_set_connection, \
                     COALESCE(@@character_set_results, 'none'), @@collation_connection)";
        let mut direct =
            Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
        let mut one = proxy.app();
        direct.run(set);
        one.run(set);
        for other in &mut others {
            other.run("BEGIN");
            other.run("SELECT 1 FROM DUAL FOR UPDATE");
            assert_eq!(one.text(shown), direct.text(shown), "{set}");
            other.run("COMMIT");
        }
    }
}

/// A session's own value is not what a routine has made of another's on the same connection.
/// The collation shows in the definitions of columns alone.
#[test]
fn names_behind_a_set_statement_keep_their_collation() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut direct = servers().root();
    for text in [
        "SET STATEMENT max_statement_time = 5 FOR SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET STATEMENT max_statement_time = 5 FOR SELECT 1; SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    ] {
        let mut client = proxy.app();
        let definition = |client: &mut Raw| client.run("SELECT 'a'").packets()[1].clone();
        let before = definition(&mut client);
        client.run(text);
        direct.run(text);
        assert_ne!(definition(&mut client), before, "{text}");
        assert_eq!(definition(&mut client), definition(&mut direct), "{text}");
    }
}

#[test]
fn a_variable_of_the_same_name_keeps_its_sessions_value() {
    set_up();
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut one, mut two) = (proxy.app(), proxy.app());
    for client in [&mut one, &mut two] {
        client.run("SET @u = 5");
    }
    for sql in ["CALL rt_into()", "DO rt_function()", "INSERT INTO rt_into (id) VALUES (NULL)"] {
        one.run(sql);
        assert_eq!(two.text("SELECT @u"), "5", "{sql}");
        two.run("SET @u = 5");
        one.run(sql);
        two.run("BEGIN");
        two.run("SELECT COUNT(*) FROM rt_set");
        assert_eq!(two.text("SELECT @u"), "5", "{sql}, in a transaction");
        two.run("COMMIT");
    }
}

/// Variables of a package are the session's, as MariaDB has them.
#[test]
fn variables_of_a_package_are_its_sessions() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut root = servers().root();
    root.run("CREATE DATABASE IF NOT EXISTS packages");
    root.run("USE packages");
    root.run("SET sql_mode = ORACLE");
    root.run("DROP PACKAGE IF EXISTS counter");
    root.run("CREATE PACKAGE counter AS FUNCTION inc RETURN INT; PROCEDURE put(x INT); END");
    root.run(
        "CREATE PACKAGE BODY counter AS v INT := 0; \
         FUNCTION inc RETURN INT AS BEGIN v := v + 1; RETURN v; END; \
         PROCEDURE put(x INT) AS BEGIN v := x; END; END",
    );
    for mode in ["ORACLE", "DEFAULT"] {
        let name = if mode == "ORACLE" { "counter" } else { "packages.counter" };
        let session = || {
            let session = Raw::connect(proxy.port, "root", "root-secret", Some("packages"));
            let mut session = session.unwrap();
            session.run(&format!("SET sql_mode = {mode}"));
            session
        };
        let inc = |session: &mut Raw| session.text(&format!("SELECT {name}.inc()"));
        let (mut one, mut other) = (session(), session());
        assert_eq!([inc(&mut one), inc(&mut other), inc(&mut one)], ["1", "1", "2"], "{mode}");
        other.run(&format!("CALL {name}.put(50)"));
        assert_eq!([inc(&mut one), inc(&mut other)], ["3", "51"], "{mode}");
        one.command(Command::ResetConnection, &[]).unwrap();
        one.run(&format!("SET sql_mode = {mode}"));
        assert_eq!(inc(&mut one), "1", "{mode}");
        drop(one);
        assert_eq!(inc(&mut session()), "1", "{mode}");
    }
}

/// A procedure may find more rows than it sends, or others.
#[test]
fn found_rows_after_a_procedure_are_what_it_has_found() {
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP TABLE IF EXISTS rt_found",
        "CREATE TABLE rt_found (id INT PRIMARY KEY)",
        "INSERT INTO rt_found VALUES (1), (2), (3), (4)",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut other = proxy.app();
    for (body, fails) in [
        ("SELECT SQL_CALC_FOUND_ROWS id FROM rt_found LIMIT 2", false),
        ("SELECT id FROM rt_found LIMIT 1, 2", false),
        ("SELECT SQL_CALC_FOUND_ROWS id, CAST('1x' AS SIGNED) FROM rt_found LIMIT 1", false),
        (
            "BEGIN DECLARE n INT; SELECT id FROM rt_found; SELECT COUNT(*) INTO n FROM rt_found; END",
            false,
        ),
        ("BEGIN SELECT id FROM rt_found; SELECT 1; END", false),
        (
            "BEGIN SELECT SQL_CALC_FOUND_ROWS id FROM rt_found LIMIT 2; SIGNAL SQLSTATE '45000'; END",
            true,
        ),
    ] {
        root.run("DROP PROCEDURE IF EXISTS rt_page");
        root.run(&format!("CREATE PROCEDURE rt_page() {body}"));
        for text in ["CALL rt_page()", "SELECT 7; CALL rt_page()"] {
            let mut direct =
                Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
            let mut through = proxy.app();
            let found = [&mut direct, &mut through].map(|client| {
                client.send(Command::Query, text.as_bytes());
                let answer = client.answer(Shape::Results).unwrap();
                assert_eq!(answer.error().is_some(), fails, "{text}: {body}");
                other.run("SELECT 1");
                client.text("SELECT FOUND_ROWS()")
            });
            assert_eq!(found[0], found[1], "{text}: {body}");
        }
    }
}

/// MySQL tells nobody of it.
#[test]
fn a_role_that_a_routine_sets_is_its_sessions() {
    if !product().is_mysql() {
        return;
    }
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP PROCEDURE IF EXISTS rt_elevate",
        "DROP FUNCTION IF EXISTS rt_elevated",
        "CREATE PROCEDURE rt_elevate() SQL SECURITY INVOKER SET ROLE rt_role",
        "CREATE FUNCTION rt_elevated() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER \
         BEGIN SET ROLE rt_role; RETURN 1; END",
        "CREATE ROLE IF NOT EXISTS rt_role",
        "CREATE USER IF NOT EXISTS 'rt_invoker'@'%' IDENTIFIED BY 'rt-secret'",
        "GRANT ALL PRIVILEGES ON shop.* TO 'rt_invoker'@'%'",
        "GRANT rt_role TO 'rt_invoker'@'%'",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let login = || Raw::connect(proxy.port, "rt_invoker", "rt-secret", Some("shop")).unwrap();
    let role = |client: &mut Raw| {
        client.hold();
        client.run("SELECT 1 FROM (SELECT 1) t FOR UPDATE");
        let role = client.text("SELECT CURRENT_ROLE()");
        client.run("COMMIT");
        role
    };
    for ways in [
        &["CALL rt_elevate()"][..],
        &["SELECT rt_elevated()"],
        &["BEGIN", "DO rt_elevated()", "COMMIT"],
    ] {
        let (mut one, mut two) = (login(), login());
        ways.iter().for_each(|sql| drop(one.run(sql)));
        assert_eq!([role(&mut two), role(&mut one)], ["NONE", "`rt_role`@`%`"], "{ways:?}");
        drop(one);
        eventually("its connection is gone", || proxy.sum("fairlane_sessions_pinned{") == 0.0);
        assert_eq!(role(&mut login()), "NONE", "{ways:?}, after it has gone");
    }
    // In a transaction that is not ended.
    let mut one = login();
    one.run("BEGIN");
    one.run("CALL rt_elevate()");
    drop(one);
    let (mut two, mut three) = (login(), login());
    two.hold();
    assert_eq!([role(&mut two), role(&mut three)], ["NONE", "NONE"]);
}

/// The account had none when somebody last looked.
#[test]
fn a_role_that_was_just_granted_and_a_function_sets_is_its_sessions() {
    if !product().is_mysql() {
        return;
    }
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP FUNCTION IF EXISTS rt_promoted",
        "CREATE FUNCTION rt_promoted() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER \
         BEGIN SET ROLE rt_new_role; RETURN 1; END",
        "DROP FUNCTION IF EXISTS rt_one",
        "CREATE FUNCTION rt_one() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE ROLE IF NOT EXISTS rt_new_role",
        "DROP USER IF EXISTS 'rt_later'@'%'",
        "CREATE USER 'rt_later'@'%' IDENTIFIED BY 'rt-secret'",
        "GRANT ALL PRIVILEGES ON shop.* TO 'rt_later'@'%'",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let login = || Raw::connect(proxy.port, "rt_later", "rt-secret", Some("shop")).unwrap();
    let (mut one, mut two) = (login(), login());
    let mut admin = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    let role = |client: &mut Raw| client.text("SELECT CURRENT_ROLE() FROM (SELECT 1) t FOR UPDATE");
    // Several times: whoever looked longer ago looks again anyway.
    for _ in 0..5 {
        one.run("SELECT rt_one()");
        admin.run("GRANT rt_new_role TO 'rt_later'@'%'");
        one.run("SELECT rt_promoted()");
        assert_eq!([role(&mut two), role(&mut one)], ["NONE", "`rt_new_role`@`%`"]);
        admin.run("REVOKE rt_new_role FROM 'rt_later'@'%'");
        (one, two) = (login(), login());
    }
}

/// Asked after its end, with autocommit off, a dictionary in InnoDB begins the next one: with a snapshot of that moment.
#[test]
fn questions_begin_no_transaction() {
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    root.replace("CREATE OR REPLACE TABLE rt_snapshot (id INT)");
    root.run("DROP PROCEDURE IF EXISTS rt_nothing");
    root.run("CREATE PROCEDURE rt_nothing() DO 0");
    root.run("DROP FUNCTION IF EXISTS rt_one");
    root.run("CREATE FUNCTION rt_one() RETURNS INT DETERMINISTIC RETURN 1");
    for (rows, asks) in ["CALL rt_nothing()", "SELECT rt_one()", "SELEC 1"].iter().enumerate() {
        // Answers are known for a while.
        let proxy = Proxy::with(servers(), 2, ONE_LANE);
        let mut client = proxy.app();
        client.run("SET autocommit = 0");
        let _ = client.query(asks);
        client.run("ROLLBACK");
        root.run("INSERT INTO rt_snapshot VALUES (1)");
        let found = client.text("SELECT COUNT(*) FROM rt_snapshot");
        assert_eq!(found, (rows + 1).to_string(), "after {asks}");
        client.run("COMMIT");
        let _ = client.query(asks);
        client.run("ROLLBACK");
        assert!(!client.status().contains(Status::IN_TRANS), "after {asks}");
    }
}
