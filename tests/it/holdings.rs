//! What a session holds by name binds it no longer than it is held; user variables of literal
//! values do not bind it at all.

use crate::support::{ONE_LANE, Proxy, Raw, Twin, eventually, servers};

/// One slot for everybody.
fn crowded() -> Proxy {
    Proxy::with(servers(), 2, ONE_LANE)
}

fn pinned(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_sessions_pinned{")
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
        &["PREPARE s FROM 'SELECT 1'", "PREPARE t FROM 'SELECT 1'", "DEALLOCATE PREPARE s"],
        &["CREATE TEMPORARY TABLE hs_1 (a INT)", "SELECT 1; DROP TABLE hs_1"],
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
fn user_variables_of_literal_values_follow_their_session() {
    let proxy = crowded();
    let mut twins: Vec<Twin> = (0..3).map(|index| Twin::new(&proxy, index)).collect();
    for sql in [
        "SET @a = 1, @B := 'one', @c = -2.50, @d = NULL",
        "SET NAMES latin1",
        "SET @s = 'latin', @n = 18446744073709551615",
        "SET sql_mode = 'ANSI_QUOTES'",
    ] {
        twins[0].both(sql);
    }
    twins[1].both("SET @a = 'text', @z = 7");
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
