//! Statements that are prepared again: whom Fairlane asks, and what changes the answer.

use fairlane::protocol::{Command, code};

use crate::support::hop::Hop;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, product, servers};

const TIMES: u64 = 20;
const LOCAL: &str = "fairlane_statements_routed_total{reason=\"local\",target=\"local\"}";

fn with_age(age: &str) -> String {
    format!("{ONE_LANE}\n[pool]\nprepared_answer_age = \"{age}\"")
}

/// PREPARE and CLOSE; how many columns the statement has, or the error.
fn columns(client: &mut Raw, sql: &str) -> Result<u16, u16> {
    let answer = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    if let Some(error) = answer.error() {
        return Err(error.code());
    }
    let (id, columns, _) = answer.summary.prepared.unwrap();
    client.send(Command::StmtClose, &id.to_le_bytes());
    Ok(columns)
}

/// As PDO does it: PREPARE, EXECUTE, CLOSE.
fn run_once(client: &mut Raw, sql: &str) {
    let answer = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    assert_eq!(answer.error(), None, "{sql}");
    let (id, ..) = answer.summary.prepared.unwrap();
    let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    assert_eq!(client.command(Command::StmtExecute, &body).unwrap().error(), None, "{sql}");
    client.send(Command::StmtClose, &id.to_le_bytes());
}

#[test]
fn a_statement_that_is_prepared_each_time_costs_one_round_trip() {
    let hop = Hop::before(servers().primary, "app");
    for (age, trips_each) in [("1h", 1), ("0s", 2)] {
        let proxy = Proxy::behind(hop.port, servers(), 2, &with_age(age));
        let mut client = proxy.app();
        client.run("DROP TABLE IF EXISTS pr_a");
        client.run("CREATE TABLE pr_a (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
        for sql in
            ["INSERT INTO pr_a (v) VALUES (1)", "UPDATE pr_a SET v = 2", "SELECT v FROM pr_a"]
        {
            run_once(&mut client, sql);
            client.run("SELECT 1");
            let before = hop.trips();
            (0..TIMES).for_each(|_| run_once(&mut client, sql));
            client.run("SELECT 1");
            assert_eq!(hop.trips() - before, TIMES * trips_each + 1, "{sql}, {age}");
            // In a transaction, which begins with what is executed.
            let before = hop.trips();
            client.run("BEGIN");
            (0..TIMES).for_each(|_| run_once(&mut client, sql));
            client.run("COMMIT");
            client.run("SELECT 1");
            // A query takes it along, unless it has to be prepared first.
            let begins = u64::from(trips_each > 1 || !sql.starts_with("SELECT"));
            assert_eq!(hop.trips() - before, TIMES * trips_each + 2 + begins, "{sql}, {age}");
        }
    }
}

#[test]
fn a_change_through_fairlane_counts_at_once() {
    let proxy = Proxy::with(servers(), 3, &with_age("1h"));
    let (mut one, mut other) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE pr_b (a INT)");
    let mut root = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    root.run("DROP USER IF EXISTS pr_user@'%'");
    root.run("CREATE USER pr_user@'%' IDENTIFIED BY 'pr-secret'");
    root.run("GRANT SELECT, INSERT ON shop.pr_b TO pr_user@'%'");
    let mut third = Raw::connect(proxy.port, "pr_user", "pr-secret", Some("shop")).unwrap();
    let sql = "SELECT * FROM pr_b";
    for client in [&mut one, &mut other, &mut third] {
        assert_eq!((columns(client, sql), columns(client, sql)), (Ok(1), Ok(1)));
    }
    // The first one of each user is asked for.
    assert_eq!(proxy.metric(LOCAL), 4.0);
    one.run("ALTER TABLE pr_b ADD COLUMN b INT");
    assert_eq!(columns(&mut other, sql), Ok(2));
    // In a routine.
    root.run("DROP PROCEDURE IF EXISTS pr_proc");
    root.run("CREATE PROCEDURE pr_proc() ALTER TABLE pr_b ADD COLUMN c INT");
    assert_eq!(columns(&mut other, sql), Ok(2));
    root.run("CALL pr_proc()");
    assert_eq!(columns(&mut other, sql), Ok(3));
    assert_eq!(columns(&mut third, sql), Ok(3));
    // Behind what Fairlane does not read.
    other.run("SELECT 1 /*!99997 x */; ALTER TABLE pr_b ADD COLUMN d INT");
    assert_eq!(columns(&mut one, sql), Ok(4));
    root.run("REVOKE SELECT ON shop.pr_b FROM pr_user@'%'");
    assert_eq!(columns(&mut third, sql), Err(1142));
    // Another one of that name, for one session only.
    one.run("CREATE TEMPORARY TABLE pr_b (x INT, y INT)");
    assert_eq!((columns(&mut one, sql), columns(&mut other, sql)), (Ok(2), Ok(4)));
    one.run("DROP TEMPORARY TABLE pr_b");
    other.run("SELECT 1; DROP TABLE pr_b");
    assert_eq!((columns(&mut one, sql), columns(&mut other, sql)), (Err(1146), Err(1146)));
    root.run("DROP USER pr_user@'%'");
}

#[test]
fn a_change_past_fairlane_counts_after_a_while() {
    let proxy = Proxy::with(servers(), 3, &with_age("300ms"));
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.pr_c (a INT)");
    let mut client = proxy.app();
    let sql = "SELECT * FROM pr_c";
    assert_eq!((columns(&mut client, sql), columns(&mut client, sql)), (Ok(1), Ok(1)));
    assert!(proxy.metric(LOCAL) > 0.0);
    root.run("ALTER TABLE shop.pr_c ADD COLUMN b INT");
    eventually("the new column is there", || columns(&mut client, sql) == Ok(2));
    root.run("DROP TABLE shop.pr_c");
    eventually("the table is gone", || columns(&mut client, sql) == Err(code::NO_SUCH_TABLE));
}

/// Servers make the variables of a text that they prepare: with a type, and no value yet.
#[test]
fn a_variable_that_was_only_prepared_is_its_sessions() {
    let mut server = Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
    // One connection for both.
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let texts = ["SET @pr_0 = ?", "SELECT @pr_1 := ?", "SELECT 5 INTO @pr_2"];
    for (number, sql) in texts.iter().enumerate() {
        let asked = format!("SELECT @pr_{number}");
        let expected = server.run(&asked).bytes;
        for is_reset in [false, true] {
            let (mut one, mut two) = (proxy.app(), proxy.app());
            let answer = one.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
            assert_eq!(answer.error(), None, "{sql}");
            if is_reset {
                one.command(Command::ResetConnection, b"").unwrap();
                assert_eq!(one.run(&asked).bytes, expected, "{sql}, its own session after a reset");
            } else {
                assert_eq!(two.run(&asked).bytes, expected, "{sql}, another session");
            }
        }
    }
}

/// MariaDB empties its list of warnings for what uses a table, which is not known of a CALL and a block.
#[test]
fn a_list_of_warnings_outlives_what_is_prepared_as_it_does_at_the_server() {
    let mut texts = vec![
        "CALL pr_none()",
        "CALL pr_none((SELECT 1 FROM pr_list))",
        "DO (SELECT 1 FROM pr_list)",
        "SELECT 1 FROM pr_list",
        "INSERT INTO pr_list VALUES (?)",
        "SET @a = ?",
    ];
    if !product().is_mysql() {
        texts.push("BEGIN NOT ATOMIC SELECT 1; END");
        texts.push("BEGIN NOT ATOMIC SELECT 1 FROM pr_list; END");
    }
    let primary = servers().primary;
    let mut server = Raw::connect(primary, "app", "app-secret", Some("shop")).unwrap();
    server.run("DROP TABLE IF EXISTS pr_list");
    server.run("CREATE TABLE pr_list (id INT)");
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut client = proxy.app();
    for sql in texts {
        let [expected, shown] = [&mut server, &mut client].map(|it| {
            it.query("SELEC").unwrap_err();
            let prepared = it.command(Command::StmtPrepare, sql.as_bytes()).unwrap().summary.error;
            (prepared, it.rows("SHOW WARNINGS"), it.text("SELECT ROW_COUNT()"))
        });
        assert_eq!(shown, expected, "{sql}");
    }
}
