//! Session state follows its client over shared connections, and reaches nobody else.

use fairlane::protocol::status::Status;
use fairlane::protocol::{Capabilities, Command};

use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, pause, product, servers};

/// One slot for everybody: every session is on the connection of the one before.
fn crowded() -> Proxy {
    Proxy::with(servers(), 2, ONE_LANE)
}

fn app(proxy: &Proxy, collation: u8) -> Raw {
    let login =
        Login { schema: Some("shop"), collation, ..Login::new(proxy.port, "app", "app-secret") };
    Raw::login(&login).unwrap()
}

#[test]
fn variables_follow_their_session_and_leak_to_nobody() {
    let proxy = crowded();
    let variables = [
        ("sql_mode", "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"),
        ("time_zone", "'+03:00'"),
        ("max_statement_time", "7.5"),
        ("sql_select_limit", "10"),
        ("foreign_key_checks", "0"),
        ("group_concat_max_len", "2048"),
        ("collation_connection", "'utf8mb4_unicode_ci'"),
        ("lc_time_names", "'de_DE'"),
        ("wait_timeout", "555"),
    ];
    let read = |client: &mut Raw| -> Vec<String> {
        variables.iter().map(|(name, _)| client.text(&format!("SELECT @@{name}"))).collect()
    };
    // MariaDB does not track those with nothing but @@.
    for form in ["", "@@", "@@session.", "SESSION ", "LOCAL "] {
        let (mut one, mut other) = (proxy.app(), proxy.app());
        let before = read(&mut other);
        for (name, value) in variables {
            one.run(&format!("SET {form}{name} = {value}"));
        }
        let set = read(&mut one);
        assert_eq!(read(&mut other), before, "{form}: leaked");
        assert_eq!(read(&mut one), set, "{form}: lost");
        for ((name, _), (set, before)) in variables.iter().zip(set.iter().zip(&before)) {
            assert_ne!(set, before, "{name} was not set");
        }
        assert_eq!(
            one.text("SELECT \"Tables_in_shop\" FROM (SELECT 1 AS \"Tables_in_shop\") x"),
            "1"
        );
        assert_eq!(other.text("SELECT \"text\""), "text");
    }
}

#[test]
fn character_sets_follow_their_session() {
    let proxy = crowded();
    let sets = "SELECT CONCAT_WS(' ', @@character_set_client, @@character_set_connection, \
                IFNULL(@@character_set_results, 'NULL'), @@collation_connection)";
    let (mut one, mut other) = (app(&proxy, 45), app(&proxy, 8));
    let mut direct_one =
        Raw::login(&Login { collation: 45, ..Login::new(servers().primary, "app", "app-secret") })
            .unwrap();
    let mut direct_other =
        Raw::login(&Login { collation: 8, ..Login::new(servers().primary, "app", "app-secret") })
            .unwrap();
    for statement in [
        "DO 0",
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
        "SET NAMES latin1",
        "SET collation_connection = latin1_bin",
        "SET character_set_results = NULL",
        "SET character_set_connection = utf8mb3",
        "SET NAMES DEFAULT",
        "SET CHARACTER SET utf8mb4",
    ] {
        one.run(statement);
        direct_one.run(statement);
        assert_eq!(one.text(sets), direct_one.text(sets), "{statement}");
        assert_eq!(other.text(sets), direct_other.text(sets), "{statement} leaked");
        assert_eq!(one.text(sets), direct_one.text(sets), "{statement} was lost");
    }
}

/// Answers to Fairlane itself are then written with two or four bytes a character.
#[test]
fn a_session_with_a_wide_character_set_is_read_as_well() {
    let proxy = crowded();
    let collation =
        "SELECT CONCAT_WS(' ', @@character_set_client, @@collation_connection, @@sql_mode)";
    for wide in ["utf16", "ucs2", "utf16le", "utf32"] {
        let results = format!("character_set_results = {wide}");
        let sets = [
            format!("SET {results}, collation_connection = utf8mb4_bin"),
            format!("SET NAMES latin1 COLLATE latin1_bin, {results}"),
        ];
        for set in sets {
            let (mut one, mut other) = (proxy.app(), proxy.app());
            one.run(&set);
            other.run("SET time_zone = '+01:00', collation_connection = utf8mb4_spanish_ci");
            one.run("SELECT 1");
            one.run("SET character_set_results = utf8mb4");
            other.run("SELECT 1");
            let mut direct = Raw::connect(servers().primary, "app", "app-secret", None).unwrap();
            direct.run(&set);
            direct.run("SET character_set_results = utf8mb4");
            assert_eq!(one.text(collation), direct.text(collation), "{set}");
        }
    }
}

#[test]
fn the_schema_follows_its_session() {
    let proxy = crowded();
    let mut root = servers().root();
    root.run("CREATE DATABASE IF NOT EXISTS test_second");
    let mut nowhere = Raw::connect(proxy.port, "app", "app-secret", None).unwrap();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("USE test_second");
    assert_eq!(one.text("SELECT DATABASE()"), "test_second");
    assert_eq!(other.text("SELECT DATABASE()"), "shop");
    assert_eq!(nowhere.text("SELECT DATABASE()"), "NULL");
    other.command(Command::InitDb, b"test_second").unwrap();
    assert_eq!(other.text("SELECT DATABASE()"), "test_second");
    assert_eq!(other.query("USE nowhere").unwrap_err().code(), 1044);
    assert_eq!(other.text("SELECT DATABASE()"), "test_second");
    assert_eq!(one.text("SELECT DATABASE()"), "test_second");
    assert_eq!(nowhere.text("SELECT DATABASE()"), "NULL");
}

/// What maintenance tells of tables is no rows that were found.
#[test]
fn found_rows_outlive_maintenance() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE found_p (a INT) PARTITION BY HASH (a) PARTITIONS 2");
    one.run("CREATE TABLE found_m (a INT, KEY (a)) ENGINE=MyISAM");
    let mut cases = vec![
        "ALTER TABLE found_p CHECK PARTITION ALL",
        "ALTER TABLE found_p ANALYZE PARTITION p0",
        "CACHE INDEX found_m IN default",
        "LOAD INDEX INTO CACHE found_m",
    ];
    if !product().is_mysql() {
        cases.push("CREATE TABLE IF NOT EXISTS found_p SELECT 1 AS a");
    }
    for sql in cases {
        one.run("SELECT 1 UNION SELECT 2 UNION SELECT 3");
        other.run("SELECT 1");
        one.run(sql);
        other.run("SELECT 1");
        assert_eq!(one.text("SELECT FOUND_ROWS()"), "3", "{sql}");
    }
}

#[test]
fn diagnostics_are_those_of_the_sessions_own_last_statement() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE diag (id INT AUTO_INCREMENT PRIMARY KEY, a INT) ENGINE=InnoDB");
    one.run("INSERT INTO diag (a) VALUES (1), (2)");
    other.run("INSERT INTO diag (a) VALUES (3)");
    assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "1");
    assert_eq!(other.text("SELECT LAST_INSERT_ID()"), "3");
    one.run("INSERT INTO diag (id, a) VALUES (100, 1)");
    assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "1", "an id given is no insert id");
    one.run("INSERT INTO diag (a) SELECT LAST_INSERT_ID()");
    assert_eq!(one.text("SELECT a FROM diag ORDER BY id DESC LIMIT 1"), "1");
    one.run("UPDATE diag SET a = 9 WHERE id < 3");
    other.run("DELETE FROM diag WHERE id = 3");
    assert_eq!(one.text("SELECT ROW_COUNT()"), "2");
    assert_eq!(one.text("SELECT ROW_COUNT()"), "-1");
    one.run("SELECT id FROM diag LIMIT 2");
    other.run("SELECT 1");
    assert_eq!(one.text("SELECT FOUND_ROWS()"), "2");
    one.run("SELECT SQL_CALC_FOUND_ROWS id FROM diag LIMIT 1");
    assert_eq!(one.text("SELECT FOUND_ROWS()"), "4");

    one.run("SELECT 1/0");
    assert_eq!(other.run("SHOW WARNINGS").summary.rows, 0, "leaked");
    assert_eq!(one.rows("SHOW WARNINGS")[0][1].as_deref(), Some("1365"));
    assert_eq!(one.text("SHOW COUNT(*) WARNINGS"), "1");
    assert_eq!(one.text("SELECT @@warning_count"), "1");
    other.query("SELECT nonsense FROM diag").unwrap_err();
    assert_eq!(one.rows("SHOW WARNINGS")[0][1].as_deref(), Some("1365"));
    assert_eq!(other.rows("SHOW WARNINGS")[0][1].as_deref(), Some("1054"));
    assert_eq!(other.text("SELECT @@error_count"), "1");
    one.run("SELECT 1");
    assert_eq!(one.run("SHOW WARNINGS").summary.rows, 1, "a statement without a table keeps them");
    one.run("SELECT id FROM diag");
    assert_eq!(one.run("SHOW WARNINGS").summary.rows, 0);
}

#[test]
fn the_connection_id_is_the_clients() {
    let proxy = crowded();
    let mut client = proxy.app();
    let id = client.greeting.thread_id.to_string();
    assert_eq!(client.text("SELECT CONNECTION_ID()"), id);
    proxy.app().run("SELECT 1");
    assert_eq!(client.text("SELECT CONNECTION_ID()"), id);
}

#[test]
fn what_can_not_be_carried_pins_and_is_gone_afterwards() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let pinned =
        |reason: &str| proxy.metric(&format!("fairlane_sessions_pinned{{reason=\"{reason}\"}}"));
    let mut client = proxy.app();
    client.run("CREATE TABLE pins (id INT)");
    client.run("SET @a = 5, @b = 'x'");
    client.run("SELECT @c := 3");
    eventually("the metric", || pinned("user_variable") == 1.0);
    client.run("CREATE TEMPORARY TABLE pins (note VARCHAR(10))");
    client.run("INSERT INTO pins VALUES ('temporary')");
    eventually("the metric", || pinned("temporary_table") == 1.0);
    assert_eq!(client.text("SELECT GET_LOCK('it_lock', 1)"), "1");
    eventually("the metric", || pinned("user_lock") == 1.0);
    client.run("PREPARE p FROM 'SELECT ? + 1'");
    for _ in 0..3 {
        proxy.app().run("SELECT 1");
        assert_eq!(
            client.rows("SELECT @a, @b, @c")[0],
            [Some("5".into()), Some("x".into()), Some("3".into())]
        );
        assert_eq!(client.text("SELECT note FROM pins"), "temporary");
    }
    assert_eq!(client.text("EXECUTE p USING @a"), "6");
    client.hang_up();
    eventually("the pin ends", || pinned("user_variable") == 0.0);
    // The same connection, for somebody else.
    for _ in 0..3 {
        let mut next = proxy.app();
        assert_eq!(next.text("SELECT IFNULL(@a, 'nothing')"), "nothing");
        assert_eq!(next.run("SELECT id FROM pins").summary.rows, 0);
        assert_eq!(next.text("SELECT IS_FREE_LOCK('it_lock')"), "1");
        next.query("EXECUTE p USING 1").unwrap_err();
    }
    let mut locker = proxy.app();
    locker.run("LOCK TABLES pins WRITE");
    eventually("the metric", || pinned("table_lock") == 1.0);
    locker.run("UNLOCK TABLES");
    eventually("the metric", || pinned("table_lock") == 0.0);
}

#[test]
fn an_autocommit_set_by_its_bare_name_is_its_sessions() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE bare_auto (id INT)");
    one.run("SET @@autocommit = 0");
    one.run("INSERT INTO bare_auto VALUES (1)");
    one.run("COMMIT");
    other.run("INSERT INTO bare_auto VALUES (2)");
    assert!(!other.status().contains(Status::IN_TRANS), "committed at once");
    assert_eq!(one.text("SELECT COUNT(*) FROM bare_auto"), "2");
    one.run("INSERT INTO bare_auto VALUES (3)");
    one.run("ROLLBACK");
    assert_eq!(other.text("SELECT COUNT(*) FROM bare_auto"), "2");
}

#[test]
fn a_set_for_one_statement_is_over_after_it() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    let before = one.text("SELECT @@max_statement_time");
    one.run("SET STATEMENT max_statement_time = 5 FOR SELECT 1");
    assert_eq!(other.text("SELECT @@max_statement_time"), before);
    assert_eq!(one.text("SELECT @@max_statement_time"), before);
    // What is set beside it, or by its statement, stays, and with its session.
    for (turn, sql) in [
        "SET STATEMENT max_statement_time = 5 FOR SELECT 1; SET div_precision_increment = 7",
        "SET STATEMENT max_statement_time = 5 FOR SELECT 1; SET div_precision_increment = 8; SELECT 2",
        "SET STATEMENT max_statement_time = 5 FOR SET div_precision_increment = 9",
    ]
    .into_iter()
    .enumerate()
    {
        for deprecates_eof in [true, false] {
            let mut login = Login::new(proxy.port, "app", "app-secret");
            login.more.set(Capabilities::DEPRECATE_EOF, deprecates_eof);
            let mut third = Raw::login(&login).unwrap();
            third.run("SET div_precision_increment = 2");
            third.run(sql);
            third.run("SET NAMES latin1");
            let own = third.text("SELECT @@div_precision_increment");
            assert_eq!(own, (7 + turn).to_string(), "{sql}");
            third.hang_up();
            assert_eq!(other.text("SELECT @@div_precision_increment"), "4", "{sql}");
            assert_eq!(other.text("SELECT @@max_statement_time"), before);
        }
    }
}

#[test]
fn clients_without_deprecate_eof_have_the_same_state() {
    let proxy = crowded();
    let login = Login {
        schema: Some("shop"),
        more: Capabilities::MULTI_STATEMENTS | Capabilities::MULTI_RESULTS,
        ..Login::new(proxy.port, "app", "app-secret")
    };
    let (mut one, mut other) = (Raw::login(&login).unwrap(), proxy.app());
    one.run("CREATE TABLE old_eof (id INT AUTO_INCREMENT PRIMARY KEY)");
    one.run("SET sql_select_limit = 3");
    assert_eq!(one.text("INSERT INTO old_eof VALUES (NULL) RETURNING id"), "1");
    assert_eq!(other.text("SELECT COUNT(*) FROM old_eof"), "1");
    assert_eq!(one.text("SELECT @@sql_select_limit"), "3");
    assert_eq!(one.text("SELECT COUNT(*) FROM old_eof"), "1");
    assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "1");
    assert_ne!(other.text("SELECT @@sql_select_limit"), "3");
}

#[test]
fn procedures_keep_what_they_change() {
    let proxy = crowded();
    let mut client = proxy.app();
    client.run("CREATE PROCEDURE keeps() BEGIN SET @from_procedure = 42; SELECT 1 AS first; SELECT 2 AS second; END");
    let answer = client.run("CALL keeps()");
    assert!(answer.packets().len() > 6, "two results and an OK");
    client.run("SELECT 1");
    assert_eq!(client.text("SELECT @from_procedure"), "42");
    assert!(proxy.sum("fairlane_sessions_pinned{") >= 1.0);
}

#[test]
fn what_the_review_found_does_not_come_back() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE review (id INT AUTO_INCREMENT PRIMARY KEY, parent BIGINT) ENGINE=InnoDB");
    one.run("ALTER TABLE review AUTO_INCREMENT = 42");
    // An insert id survives into a transaction that begins later.
    one.run("INSERT INTO review (parent) VALUES (NULL)");
    one.run("BEGIN");
    one.run("INSERT INTO review (parent) VALUES (LAST_INSERT_ID())");
    one.run("COMMIT");
    assert_eq!(one.text("SELECT parent FROM review ORDER BY id DESC LIMIT 1"), "42");
    // A routine keeps ROW_COUNT() as it is written, and a text of several statements its own.
    one.run(
        "CREATE FUNCTION review_count() RETURNS INT MODIFIES SQL DATA BEGIN \
             DELETE FROM review WHERE id = 42; RETURN ROW_COUNT(); END",
    );
    assert_eq!(one.text("SELECT review_count()"), "1");
    let several = one.run("UPDATE review SET parent = 5; SELECT ROW_COUNT()");
    assert_eq!(several.packets()[3], b"\x011");
    // An abandoned transaction leaves neither insert id nor warnings.
    one.run("BEGIN");
    one.run("INSERT INTO review (parent) VALUES (1)");
    one.run("SELECT 1/0");
    one.hang_up();
    other.run("BEGIN");
    assert_eq!(other.text("SELECT LAST_INSERT_ID()"), "0");
    assert_eq!(other.run("SHOW WARNINGS").summary.rows, 0);
    other.run("COMMIT");
    // A failing text keeps what its first statement did to itself.
    other.query("SET @left = 5; SELEC 1").unwrap_err();
    assert_eq!(other.text("SELECT @left"), "5");
}

#[test]
fn a_schema_that_vanished_is_an_error_of_one_session_only() {
    let proxy = crowded();
    let mut root = servers().root();
    root.run("CREATE DATABASE test_vanishing");
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("USE test_vanishing");
    other.run("SELECT 1");
    root.run("DROP DATABASE test_vanishing");
    assert_eq!(one.query("CREATE TABLE nowhere_else (id INT)").unwrap_err().code(), 1049);
    assert_eq!(other.run("SHOW WARNINGS").summary.rows, 0);
    other.run("BEGIN");
    assert_eq!(other.run("SHOW WARNINGS").summary.rows, 0);
    other.run("COMMIT");
    assert_eq!(other.query("SELECT id FROM nowhere_else").unwrap_err().code(), 1146);
}

#[test]
fn a_schema_that_vanished_is_left_by_a_use_behind_a_comment() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    for comment in ["/* c */ ", "-- c\n", "#c\n"] {
        one.run("CREATE DATABASE test_commented");
        one.run("USE test_commented");
        other.run("DROP DATABASE test_commented");
        one.run(&format!("{comment}USE shop"));
        assert_eq!(one.text("SELECT DATABASE()"), "shop", "{comment}");
    }
}

#[test]
fn warnings_of_carried_variables_are_nobodys() {
    let proxy = crowded();
    let (mut client, mut other) = (proxy.app(), proxy.app());
    client.run("CREATE TABLE carried (id INT)");
    // A deprecated variable: each SET of it warns.
    client.run("SET big_tables = 1");
    assert_eq!(client.rows("SHOW WARNINGS").len(), 1);
    client.run("INSERT INTO carried VALUES (1)");
    assert_eq!(other.text("SELECT @@big_tables"), "0");
    assert_eq!(client.run("SHOW WARNINGS").summary.rows, 0);
}

#[test]
fn how_long_one_statement_waits_is_no_setting() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE waits (id INT PRIMARY KEY) ENGINE=InnoDB");
    let waits = "SELECT CONCAT(@@lock_wait_timeout, ' ', @@innodb_lock_wait_timeout)";
    let before = one.text(waits);
    for statement in [
        "SELECT id FROM waits FOR UPDATE NOWAIT",
        "SELECT id FROM waits WHERE id = 1 LOCK IN SHARE MODE WAIT 3",
        "TRUNCATE waits NOWAIT",
        "SELECT 1; SELECT id FROM waits FOR UPDATE NOWAIT",
    ] {
        one.run(statement);
        // Another session on the same connection: the next statement brings one's state anew.
        other.run("SET sql_select_limit = 5");
        assert_eq!(one.text(waits), before, "{statement}");
        assert_eq!(other.text(waits), before, "{statement} leaked");
    }
    one.run("SET lock_wait_timeout = 77; SELECT id FROM waits FOR UPDATE NOWAIT");
    other.run("SET sql_select_limit = 6");
    assert!(one.text(waits).starts_with("77 "));
    assert_eq!(other.text(waits), before);
}

#[test]
fn variables_that_are_null_or_warn_leave_nothing_behind() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("SET default_tmp_storage_engine = NULL");
    assert_eq!(other.text("SELECT 5"), "5");
    assert_eq!(one.text("SELECT IFNULL(@@default_tmp_storage_engine, 'none')"), "none");
    one.run("SET big_tables = 0");
    // What puts it back warns, and nothing here takes the warning off.
    other.run("START TRANSACTION");
    assert_eq!(other.text("SHOW COUNT(*) WARNINGS"), "0");
    other.run("ROLLBACK");
    assert_eq!(one.run("SELECT 1").summary.warnings, 0);
    other.run("SELECT CAST('x' AS SIGNED)");
    assert_eq!(other.text("SHOW COUNT(*) WARNINGS"), "1");
}

#[test]
fn nobody_has_the_warnings_of_what_carries_a_session() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("CREATE TABLE carries (id INT)");
    for set in [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION READ ONLY",
    ] {
        one.run(set);
        for turn in 0..3 {
            let client = if turn == 1 { &mut one } else { &mut other };
            client.run("START TRANSACTION WITH CONSISTENT SNAPSHOT");
            assert_eq!(client.text("SHOW COUNT(*) WARNINGS"), "0", "{set}");
            client.run("ROLLBACK");
        }
    }
    one.run("SET SESSION TRANSACTION READ WRITE");
    // Told by this name from now on (MariaDB 11.8), where setting it warns.
    other.run("SET sql_notes = 1");
    for set in ["SET unique_checks = 1", "SET @@unique_checks = 1", "SET @@sql_notes = 1"] {
        one.command(Command::ResetConnection, b"").unwrap();
        one.run(set);
        let mut third = proxy.app();
        third.run("START TRANSACTION WITH CONSISTENT SNAPSHOT");
        assert_eq!(third.text("SHOW COUNT(*) WARNINGS"), "0");
        third.run("ROLLBACK");
        // Its own are over with what uses a table.
        one.run("SELECT id FROM carries");
        one.run("START TRANSACTION WITH CONSISTENT SNAPSHOT");
        assert_eq!(one.text("SHOW COUNT(*) WARNINGS"), "0");
        one.run("ROLLBACK");
    }
    other.run("INSERT INTO carries VALUES (1)");
    // Behind a fuse, and none of its own leaves a list.
    assert_eq!(one.query("INSERT INTO carried_by_nobody VALUES (1)").unwrap_err().code(), 1146);
    assert_eq!(one.text("SHOW COUNT(*) WARNINGS"), "1");
}

/// As on the server, whatever has become of the schema before.
#[test]
fn a_session_leaves_a_schema_that_vanished() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut root = servers().root();
    root.run("CREATE DATABASE test_left");
    let mut sessions: Vec<_> = (0..2).map(|_| proxy.app()).collect();
    sessions.iter_mut().for_each(|session| drop(session.run("USE test_left")));
    let mut other = proxy.app();
    other.run("SELECT 1");
    root.run("DROP DATABASE test_left");
    assert_eq!(sessions[0].query("USE test_nowhere").unwrap_err().code(), 1049);
    assert_eq!(other.text("SELECT DATABASE()"), "shop");
    sessions[0].run("use `shop`");
    sessions[1].command(Command::InitDb, b"shop").unwrap();
    for session in &mut sessions {
        assert_eq!(session.text("SELECT DATABASE()"), "shop");
        session.run("SET @left = 1");
    }
}

#[test]
fn a_role_is_its_sessions_alone_through_a_reset() {
    let proxy = crowded();
    let mut root = servers().root();
    root.run("CREATE ROLE st_role");
    for host in ["localhost", "127.0.0.1", "%"] {
        root.run(&format!("GRANT st_role TO app@'{host}'"));
    }
    let role = |client: &mut Raw| client.text("SELECT IFNULL(CURRENT_ROLE(), 'none')");
    for resets in [0, 1, 2] {
        let mut one = proxy.app();
        one.run("SET ROLE st_role");
        for _ in 0..resets {
            one.command(Command::ResetConnection, b"").unwrap();
            // As MariaDB has it.
            assert_eq!(role(&mut one), "st_role");
            assert_eq!(one.text("SELECT DATABASE()"), "shop");
        }
        drop(one);
        assert_eq!(role(&mut proxy.app()), "none", "after {resets} resets");
    }
}

/// MariaDB tells them with any result set that something has changed, not what.
#[test]
fn changes_that_are_known_hold_no_client_without_deprecate_eof() {
    let proxy = crowded();
    let login = Login {
        schema: Some("shop"),
        more: Capabilities::MULTI_STATEMENTS | Capabilities::MULTI_RESULTS,
        ..Login::new(proxy.port, "app", "app-secret")
    };
    let mut one = Raw::login(&login).unwrap();
    one.run("CREATE TABLE old_known (id INT)");
    one.run("CREATE VIEW old_known_view AS SELECT id FROM old_known");
    one.run("SHOW CREATE VIEW old_known_view");
    proxy.app().run("SELECT 1");
    one.run("SET TRANSACTION READ ONLY");
    one.run("SELECT COUNT(*) FROM old_known");
    proxy.app().run("SELECT 1");
    one.run("SET TRANSACTION READ ONLY");
    one.run("BEGIN");
    one.run("COMMIT");
    proxy.app().run("SELECT 1");
    one.run("BEGIN");
    one.query("ALTER TABLE old_none COMMENT = 'commits'").unwrap_err();
    one.run("SELECT COUNT(*) FROM old_known");
    proxy.app().run("SELECT 1");
    one.run("BEGIN");
    // Commits, and says so with rows.
    one.run("CHECK TABLE old_none");
    one.run("SELECT COUNT(*) FROM old_known");
    let mut two = Raw::login(&login).unwrap();
    two.run("SELECT COUNT(*) FROM old_known");
    proxy.app().run("SELECT 1");
    one.command(Command::StmtPrepare, b"SELECT COUNT(*) FROM old_known").unwrap();
    one.run("USE information_schema");
    let executed = one.command(Command::StmtExecute, &[1, 0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    assert_eq!(executed.summary.rows, 1);
    proxy.app().run("SELECT 1");
    one.run("SET SESSION TRANSACTION READ ONLY");
    one.run("LOCK TABLES shop.old_known AS a READ");
    // Lets the other lock go.
    one.query("LOCK TABLES shop.old_known WRITE").unwrap_err();
    one.run("SELECT COUNT(*) FROM shop.old_known");
    one.run("UNLOCK TABLES");
    proxy.app().run("SELECT 1");
}

#[test]
fn what_a_variable_sets_unseen_follows_its_session() {
    let proxy = crowded();
    let (mut one, mut other) = (proxy.app(), proxy.app());
    let ask = "SELECT CONCAT(@@max_join_size, ' ', @@sql_big_selects + 0)";
    one.run("SET max_join_size = 50000");
    other.run("SET sql_big_selects = 1, max_join_size = 50000");
    other.run("SET sql_big_selects = 1");
    for _ in 0..2 {
        assert_eq!(one.text(ask), "50000 0");
        assert_eq!(other.text(ask), "50000 1");
        assert_eq!(proxy.app().text(ask), "18446744073709551615 1");
    }
}

#[test]
fn a_schema_that_could_not_be_chosen_is_nobodys() {
    let proxy = crowded();
    let mut one = proxy.app();
    // Its settings warn, and so are made before the choice, not with it.
    one.run("SET big_tables = 1");
    let mut bare = Raw::connect(proxy.port, "app", "app-secret", None).unwrap();
    bare.run("SELECT 1");
    one.query("USE st_nowhere").unwrap_err();
    one.run("CREATE TABLE after_no_choice (id INT)");
    assert_eq!(proxy.app().text("SELECT COUNT(*) FROM after_no_choice"), "0");
}

/// Without CLIENT_DEPRECATE_EOF a result set leaves it to the next OK packet, which may be another's.
#[test]
fn a_schema_told_late_is_no_other_sessions() {
    let proxy = crowded();
    let login = Login {
        schema: Some("shop"),
        more: Capabilities::MULTI_STATEMENTS | Capabilities::MULTI_RESULTS,
        ..Login::new(proxy.port, "app", "app-secret")
    };
    let (mut one, mut two) = (Raw::login(&login).unwrap(), Raw::login(&login).unwrap());
    two.run("SET div_precision_increment = 7");
    one.command(Command::StmtPrepare, b"SELECT 5").unwrap();
    one.run("USE information_schema");
    one.command(Command::StmtExecute, &[1, 0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    two.query("USE st_nowhere").unwrap_err();
    assert_eq!(two.text("SELECT DATABASE()"), "shop");
    assert_eq!(one.text("SELECT DATABASE()"), "information_schema");
}

/// A connection that was new has no schema, and chooses the session's behind a USE that fails.
#[test]
fn a_use_that_fails_is_counted_whatever_connection_it_is_on() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("SET autocommit = 0");
    other.hold();
    assert_eq!(one.query("USE state_nowhere").unwrap_err().code(), 1044);
    assert_eq!(one.text("SELECT ROW_COUNT()"), "-1");
    assert_eq!(one.text("SELECT DATABASE()"), "shop");
}

/// MariaDB 11.8 tells of a connection's option bits only the one that was set first.
#[test]
fn variables_that_are_told_by_one_name_stay_with_their_session() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.run("SET foreign_key_checks = 0");
    for (set, name, values) in [
        ("SET autocommit = 0", "autocommit", ["0", "1"]),
        ("SET @@autocommit = 1", "autocommit", ["1", "1"]),
        ("SET @@unique_checks = 0", "unique_checks", ["0", "1"]),
        ("SET sql_if_exists = 1", "sql_if_exists", ["1", "0"]),
        ("SET SESSION sql_safe_updates = 1, sql_notes = 0", "sql_safe_updates", ["1", "0"]),
        ("SET @@session.foreign_key_checks = 1", "foreign_key_checks", ["1", "1"]),
        ("SET foreign_key_checks = 0", "foreign_key_checks", ["0", "1"]),
    ] {
        one.run(set);
        other.run("DO 1");
        let ask = format!("SELECT @@{name} FROM (SELECT 1) t");
        let own = one.text(&ask);
        one.run("ROLLBACK");
        assert_eq!([own, other.text(&ask)], values, "{set}");
    }
    assert_eq!([one.text("SELECT @@sql_notes"), other.text("SELECT @@sql_notes")], ["0", "1"]);
}

/// Each of two names, with another value each; the second comes last.
const PAIRS: &[(&str, &str, &str, &str)] = &[
    ("storage_engine", "MyISAM", "default_storage_engine", "MEMORY"),
    ("tmp_table_size", "8388608", "tmp_memory_table_size", "4194304"),
    ("alter_algorithm", "COPY", "old_alter_table", "INPLACE"),
    ("long_query_time", "5", "log_slow_query_time", "6"),
    ("min_examined_row_limit", "5", "log_slow_min_examined_row_limit", "6"),
    ("slow_query_log", "1", "log_slow_query", "0"),
];

/// Whichever was set last counts, on every connection.
#[test]
fn two_names_of_a_variable_are_one() {
    let proxy = crowded();
    let mut other = proxy.app();
    let mut root = servers().root();
    for &(first, one, second, two) in PAIRS {
        // MariaDB 11.8 has no `old_alter_table`.
        if root.rows(&format!("SHOW VARIABLES LIKE '{second}'")).is_empty() {
            continue;
        }
        for (first, one, second, two) in [(first, one, second, two), (second, two, first, one)] {
            let mut client = proxy.app();
            let ask = format!("SELECT CONCAT(@@{first}, ' ', @@{second})");
            let begun = other.text(&ask);
            client.run(&format!("SET {first} = {one}"));
            let between = client.text(&ask);
            client.run(&format!("SET {second} = {two}"));
            let set = client.text(&ask);
            assert_ne!(set, between, "{second} was not set");
            assert_eq!(other.text(&ask), begun, "{second} leaked at once");
            assert_eq!(client.text(&ask), set, "{first}, then {second}");
            assert_eq!(other.text(&ask), begun, "{second} leaked");
        }
    }
}

/// A limit of the account, and what CLIENT_INTERACTIVE sets: not the global values, which DEFAULT gives.
#[test]
fn a_session_begins_with_the_limits_of_its_login() {
    let mut root = servers().root();
    let (timed, limited) = ("SELECT @@wait_timeout", "SELECT @@max_statement_time");
    let interactive = |port| {
        let more = Capabilities::INTERACTIVE | Capabilities::DEPRECATE_EOF;
        Raw::login(&Login { more, ..Login::new(port, "app", "app-secret") }).unwrap()
    };
    let old = root.text("SELECT @@global.interactive_timeout");
    root.run("SET GLOBAL interactive_timeout = 5000");
    let proxy = crowded();
    let leave = ["SET wait_timeout = 100", "CREATE TEMPORARY TABLE shop.st_limits (a INT)"];
    for left in leave {
        assert_eq!(interactive(proxy.port).text(timed), "5000", "before {left}");
        let mut one = interactive(proxy.port);
        one.run("SET wait_timeout = 100");
        one.run(left);
        drop(one);
        for _ in 0..3 {
            pause(20);
            assert_eq!(interactive(proxy.port).text(timed), "5000", "after {left}");
        }
        assert_ne!(proxy.app().text(timed), "5000");
    }
    root.run(&format!("SET GLOBAL interactive_timeout = {old}"));
    if product().is_mysql() {
        return;
    }
    root.run("CREATE OR REPLACE USER st_limit@'%' IDENTIFIED BY 'x' WITH MAX_STATEMENT_TIME 5");
    root.run("GRANT ALL ON shop.* TO st_limit@'%'");
    let limit = || Raw::connect(proxy.port, "st_limit", "x", Some("shop")).unwrap();
    for left in ["DO 1", "CREATE TEMPORARY TABLE st_limits (a INT)"] {
        let mut one = limit();
        assert_eq!(one.text(limited), "5.000000", "before {left}");
        one.run("SET max_statement_time = 100");
        one.run(left);
        assert_eq!(one.text(limited), "100.000000");
        one.run("SET max_statement_time = DEFAULT");
        assert_eq!(one.text(limited), "0.000000");
        drop(one);
        for _ in 0..3 {
            pause(20);
            assert_eq!(limit().text(limited), "5.000000", "after {left}");
        }
    }
    root.run("DROP USER st_limit@'%'");
}
