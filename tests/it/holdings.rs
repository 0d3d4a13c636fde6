//! What a session holds by name binds it no longer than it is held; user variables of literal
//! values do not bind it at all.

use fairlane::protocol::{Capabilities, Command};

use crate::support::product::product;
use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, Raw, Twin, eventually, servers};

/// One slot for everybody.
fn crowded() -> Proxy {
    Proxy::with(servers(), 2, ONE_LANE)
}

fn pinned(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_sessions_pinned{")
}

/// They would be sent together, in a packet that a server need not take.
#[test]
fn long_user_variables_stay_where_they_are() {
    let proxy = crowded();
    let mut client = proxy.app();
    let half = "x".repeat(9_000);
    for (variable, pins) in [("@a", 0.0), ("@a", 0.0), ("@b", 1.0)] {
        client.run(&format!("SET {variable} = '{half}'"));
        // What binds it is counted once it has its answer.
        client.run("SELECT 1");
        assert_eq!(pinned(&proxy), pins, "{variable}");
    }
    let lengths = client.rows("SELECT LENGTH(@a), LENGTH(@b)");
    assert_eq!(lengths, [[Some("9000".to_owned()), Some("9000".to_owned())]]);
    client.command(Command::ResetConnection, b"").unwrap();
    assert_eq!(client.text("SELECT @b"), "NULL");
    assert_eq!(pinned(&proxy), 0.0);
}

#[test]
fn a_pin_ends_with_what_it_is_for() {
    let proxy = crowded();
    let mut other = proxy.app();
    for (index, statements) in [
        &["CREATE TEMPORARY TABLE ho (a INT)", "INSERT INTO ho VALUES (1)", "DROP TABLE ho"][..],
        &[
            "CREATE TEMPORARY TABLE ho_1 (a INT)",
            "CREATE OR REPLACE TEMPORARY TABLE shop.ho_2 SELECT 1",
            "DROP TEMPORARY TABLE IF EXISTS ho_1, ho_2",
        ],
        &["SELECT GET_LOCK('ho', 1)", "DO RELEASE_LOCK('ho')"],
        &[
            "SELECT GET_LOCK('ho', 1)",
            "SELECT GET_LOCK('ho', 1)",
            "SELECT RELEASE_LOCK('ho')",
            "SELECT RELEASE_LOCK('ho') AS freed",
        ],
        &["SELECT GET_LOCK(CONCAT('h', 'o'), 1)", "SELECT RELEASE_ALL_LOCKS()"],
        &["HANDLER mysql.db OPEN AS h", "HANDLER h READ FIRST", "HANDLER h CLOSE"],
        &["PREPARE s FROM 'SELECT 1'", "DEALLOCATE PREPARE s"],
        &["LOCK TABLES mysql.db READ", "UNLOCK TABLES"],
    ]
    .iter()
    .enumerate()
    {
        let mut one = proxy.app();
        if statements[0].contains("mysql.db") {
            one.hang_up();
            one = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
        }
        let (last, before) = statements.split_last().unwrap();
        for sql in before {
            one.run(sql);
            eventually("it is pinned", || pinned(&proxy) > 0.0);
        }
        one.run(last);
        assert_eq!(other.text("SELECT 1"), "1", "{index}: there is only one slot");
        assert_eq!(pinned(&proxy), 0.0, "{index}: {last}");
        assert_eq!(other.text("SELECT IS_USED_LOCK('ho')"), "NULL", "{index}");
        assert!(other.query("SELECT * FROM ho").is_err(), "{index}");
        assert!(other.query("EXECUTE s").is_err(), "{index}");
        // What failed may have done anything.
        other.hang_up();
        other = proxy.app();
        one.run("SELECT 1");
    }
}

#[test]
fn a_pin_stays_while_something_may_be_held() {
    let proxy = crowded();
    let mut root = servers().root();
    root.run("USE shop");
    root.run("DROP FUNCTION IF EXISTS hs_fails");
    root.run(
        "CREATE FUNCTION hs_fails() RETURNS INT NO SQL BEGIN \
         SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1064, MESSAGE_TEXT = 'no'; RETURN 1; END",
    );
    for statements in [
        &[
            "CREATE TEMPORARY TABLE hs_1 (a INT)",
            "CREATE TEMPORARY TABLE hs_2 (a INT)",
            "DROP TABLE hs_1",
        ][..],
        &[
            "CREATE TEMPORARY TABLE hs_1 (a INT)",
            "ALTER TABLE hs_1 RENAME hs_2",
            "DROP TABLE IF EXISTS hs_1",
        ],
        &["SELECT GET_LOCK('hs', 1)", "SELECT GET_LOCK('hs', 1)", "SELECT RELEASE_LOCK('hs')"],
        &["SELECT GET_LOCK('hs', 1)", "SELECT RELEASE_LOCK('hs') FROM DUAL WHERE 0"],
        &["SELECT GET_LOCK('hs', 1)", "SELECT RELEASE_LOCK('HS')"],
        &["SELECT GET_LOCK('hs', 1)", "SET sql_select_limit = 0", "SELECT RELEASE_LOCK('hs')"],
        // MySQL runs no DO then.
        match product().is_mysql() {
            true => {
                &["SELECT GET_LOCK('hs', 1)", "SET sql_select_limit = 0", "DO RELEASE_LOCK('hs')"]
            }
            false => &["SELECT GET_LOCK('hs', 1)"][..],
        },
        &["SELECT GET_LOCK('hs', 1), hs_fails()"],
        &["PREPARE s FROM 'SELECT 1'", "PREPARE t FROM 'SELECT 1'", "DEALLOCATE PREPARE s"],
        &["CREATE TEMPORARY TABLE hs_1 (a INT)", "SELECT 1; DROP TABLE hs_1"],
        // Nothing of MySQL's but for backups' own accounts.
        match product().is_mysql() {
            true => &["SELECT GET_LOCK('hs', 1)"][..],
            false => &["BACKUP LOCK shop.hs", "UNLOCK TABLES"],
        },
    ] {
        let mut one = proxy.app();
        for sql in statements {
            let _ = one.query(sql);
        }
        eventually("it is pinned", || pinned(&proxy) > 0.0);
        // Settled by the next answer.
        one.run("SET sql_select_limit = DEFAULT");
        one.run("DO 0");
        assert!(pinned(&proxy) > 0.0, "{statements:?}");
        one.hang_up();
        eventually("it is given back", || pinned(&proxy) == 0.0);
    }
}

#[test]
fn a_text_that_cannot_be_read_takes_no_lock() {
    let proxy = crowded();
    let mut other = proxy.app();
    for sql in [
        "SELECT GET_LOCK('hu', 1), FROM mysql.db WHERE",
        "SELECT GET_LOCK(CONCAT('h', 'u'), 1) a b c",
        "INSERT INTO hu VALUES (GET_LOCK('hu', 1) ",
    ] {
        let mut one = proxy.app();
        assert_eq!(one.query(sql).unwrap_err().code(), 1064, "{sql}");
        assert_eq!(
            other.text("SELECT IS_USED_LOCK('hu')"),
            "NULL",
            "there is only one slot: {sql}"
        );
        assert_eq!(pinned(&proxy), 0.0, "{sql}");
        one.run("SELECT 1");
    }
}

#[test]
fn user_variables_of_literal_values_follow_their_session() {
    let proxy = crowded();
    let mut twins: Vec<Twin> = (0..3).map(|index| Twin::new(&proxy, index)).collect();
    for sql in [
        "SET @a = 1, @B := 'one', @c = -2.50",
        "SET NAMES latin1",
        "SET @s = 'latin', @n = 18446744073709551615",
        "SET sql_mode = 'ANSI_QUOTES'",
    ] {
        twins[0].both(sql);
    }
    twins[1].both("SET @a = 'text', @z = 7");
    for sql in ["SET NAMES binary", "SET @b = 'bytes'", "SET NAMES utf8mb4"] {
        twins[2].both(sql);
    }
    assert_eq!(pinned(&proxy), 0.0);
    let read =
        "SELECT @a, @b, @c, @d, @s, @n, @z, CHARSET(@s), COLLATION(@b), COERCIBILITY(@b), @A + 1";
    for _ in 0..3 {
        for twin in &mut twins {
            twin.both(read);
            twin.both("SELECT 1");
        }
        twins[0].both("SET @a = 5");
        twins[1].both("SET NAMES utf8mb4 COLLATE utf8mb4_bin");
        twins[1].both("SET @a = 'other'");
    }
    assert_eq!(pinned(&proxy), 0.0);
    // Known to nobody but its connection.
    twins[0].both("SET @a = 1 + 1");
    eventually("it is pinned", || pinned(&proxy) > 0.0);
    twins[0].both(read);
}

/// What has no schema in front is in that in which it was prepared.
#[test]
fn a_prepared_statement_names_tables_of_its_own_schema() {
    let proxy = crowded();
    servers().root().run("CREATE DATABASE IF NOT EXISTS test_held");
    for (prepared, then) in [
        ("CREATE TEMPORARY TABLE hp (a INT)", ["DO 0", "EXECUTED", "DROP TABLE IF EXISTS hp"]),
        (
            "DROP TEMPORARY TABLE IF EXISTS hp",
            ["CREATE TEMPORARY TABLE hp (a INT)", "EXECUTED", "SELECT * FROM hp"],
        ),
    ] {
        let mut one = proxy.app();
        let answer = one.command(Command::StmtPrepare, prepared.as_bytes()).unwrap();
        let (id, ..) = answer.summary.prepared.unwrap();
        let execute = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        one.run("USE test_held");
        for sql in then {
            match sql {
                "EXECUTED" => drop(one.command(Command::StmtExecute, &execute).unwrap()),
                _ => drop(one.run(sql)),
            }
        }
        one.run("DO 0");
        assert!(pinned(&proxy) > 0.0, "{prepared}: a table is there still");
        one.hang_up();
        eventually("it is given back", || pinned(&proxy) == 0.0);
    }
}

/// A variable set to NULL keeps its type, and an empty text is NULL in a mode of MariaDB's.
#[test]
fn what_is_no_plain_value_keeps_its_session_where_it_was_set() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut other = proxy.app();
    other.run("SET @a = 5, @b = 5");
    let mut twin = Twin::new(&proxy, 0);
    twin.both("SET @a = 5");
    let modes: &[&str] = match product().is_mysql() {
        true => &["SET @a = NULL, @b = ''"],
        false => &["SET @a = NULL", "SET sql_mode = 'EMPTY_STRING_IS_NULL'", "SET @b = ''"],
    };
    modes.iter().for_each(|sql| twin.both(sql));
    for _ in 0..2 {
        twin.both("SELECT @a, @b, @b IS NULL");
        other.run("SELECT @a, @b");
    }
}

/// A trigger is no part of the text that fires it.
#[test]
fn what_a_trigger_sets_outlives_a_pin_for_something_else() {
    let proxy = crowded();
    let mut one = proxy.app();
    one.replace("CREATE OR REPLACE TABLE held_by (v INT)");
    one.run("CREATE TRIGGER held_by_t BEFORE INSERT ON held_by FOR EACH ROW SET @held = 9");
    for (fires, then) in [
        ("INSERT INTO held_by VALUES (GET_LOCK('held_by', 1))", "SELECT RELEASE_ALL_LOCKS()"),
        ("INSERT INTO held_by SELECT SQL_CALC_FOUND_ROWS 1 FROM (SELECT 1) t", "SELECT 1"),
    ] {
        let mut one = proxy.app();
        one.run(fires);
        one.run(then);
        assert_eq!(one.text("SELECT @held"), "9");
        assert!(pinned(&proxy) > 0.0, "{fires}");
        one.hang_up();
        eventually("it is given back", || pinned(&proxy) == 0.0);
        assert_eq!(proxy.app().text("SELECT @held"), "NULL");
    }
}

/// Also to a client that MariaDB does not tell what has changed.
#[test]
fn what_a_function_sets_is_its_sessions_alone() {
    let proxy = crowded();
    let mut root = servers().root();
    root.run("USE shop");
    root.run("DROP FUNCTION IF EXISTS held_count");
    root.run(
        "CREATE FUNCTION held_count() RETURNS INT NO SQL \
         BEGIN SET @held = IFNULL(@held, 0) + 1; RETURN @held; END",
    );
    root.run("CREATE OR REPLACE VIEW held_view AS SELECT held_count() AS n");
    let plain = Login::new(proxy.port, "app", "app-secret");
    let classic = plain.more - Capabilities::DEPRECATE_EOF;
    let is_told = !product().is_mysql();
    for more in [plain.more, classic] {
        // MySQL tells such a client of a view's doing with the next OK packet, which is too late.
        let knows_views = is_told || more == plain.more;
        let reads = ["SELECT held_count()", "SELECT n FROM held_view"];
        for read in reads.iter().take(1 + usize::from(knows_views)) {
            let login = Login { schema: Some("shop"), more, ..plain.clone() };
            let mut one = Raw::login(&login).unwrap();
            assert_eq!(one.text(read), "1", "{read}");
            assert_eq!(one.text(read), "2", "{read}");
            one.hang_up();
            eventually("it is given back", || pinned(&proxy) == 0.0);
            // Connections are shared by clients with the same capabilities.
            let mut next = Raw::login(&login).unwrap();
            assert_eq!(next.text("SELECT @held"), "NULL", "{read}");
        }
    }
    // What reads from a table only is not taken for that.
    let login = Login { schema: Some("shop"), more: classic, ..plain };
    let mut one = Raw::login(&login).unwrap();
    one.run("CREATE TABLE IF NOT EXISTS held_read (v INT)");
    for sql in ["SELECT * FROM held_read", "BEGIN", "SELECT * FROM held_read", "COMMIT", "DO 0"] {
        one.run(sql);
    }
    assert_eq!(pinned(&proxy), 0.0);
}

/// A variable that is told does not explain what else a trigger or a function in a view has done.
#[test]
fn what_is_set_beside_a_variable_that_is_told_is_its_sessions_alone() {
    let proxy = crowded();
    let mut root = servers().root();
    for sql in [
        "USE shop",
        "DROP TABLE IF EXISTS held_rows",
        "CREATE TABLE held_rows (v INT)",
        "CREATE TRIGGER held_trigger BEFORE INSERT ON held_rows FOR EACH ROW \
         BEGIN SET @held = 1; SET time_zone = '+02:00'; END",
        "DROP FUNCTION IF EXISTS held_both",
        "CREATE FUNCTION held_both() RETURNS INT NO SQL \
         BEGIN SET @held = 1; SET time_zone = '+02:00'; RETURN 1; END",
        "CREATE OR REPLACE VIEW held_both_view AS SELECT held_both() AS n",
    ] {
        root.run(sql);
    }
    for sql in ["INSERT INTO held_rows VALUES (1)", "SELECT n FROM held_both_view"] {
        let mut one = proxy.app();
        one.run(sql);
        assert_eq!(one.text("SELECT @held"), "1", "{sql}");
        assert_eq!(one.text("SELECT @@time_zone"), "+02:00", "{sql}");
        one.hang_up();
        eventually("it is given back", || pinned(&proxy) == 0.0);
        let mut next = proxy.app();
        assert_eq!(next.text("SELECT @held"), "NULL", "{sql}");
        assert_ne!(next.text("SELECT @@time_zone"), "+02:00", "{sql}");
    }
}

/// GET DIAGNOSTICS holds a connection on which the error is raised once more.
#[test]
fn a_session_that_asks_for_conditions_is_on_a_connection_of_its_own_state() {
    let proxy = crowded();
    let (mut other, mut one) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE ho_ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
    one.run("INSERT INTO ho_ids (id, v) VALUES (500, 1)");
    one.run("INSERT INTO ho_ids (v) VALUES (1)");
    for _ in 0..2 {
        one.query("SELECT nothing_like_it").unwrap_err();
        other.run("SET @ho_leak = 'secret'");
        other.run("INSERT INTO ho_ids (v) VALUES (2)");
        one.run("GET DIAGNOSTICS CONDITION 1 @code = MYSQL_ERRNO");
        assert_eq!(one.text("SELECT @code"), "1054");
        assert_eq!(one.text("SELECT @ho_leak"), "NULL");
        assert_eq!(one.text("SELECT LAST_INSERT_ID()"), "501");
        one.command(Command::ResetConnection, b"").unwrap();
        one.run("SET last_insert_id = 501");
    }
}
