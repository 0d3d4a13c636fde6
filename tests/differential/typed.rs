//! What another session did with the same statement, on the same connection.

use fairlane::protocol::Capabilities;

use crate::compare::{CLASSIC, MODERN, differing};
use crate::params::*;
use crate::side::Side;
use crate::step::*;
use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, eventually, product, servers};

/// A text, what another session gives its parameter, and what this one gives it after that.
fn cases() -> Vec<(&'static str, Param, Param)> {
    vec![
        ("SELECT ?", big(5), text("abc")),
        ("SELECT ?", big(5), null()),
        ("SELECT ?", null(), big(5)),
        ("SELECT ? + 1", text("1.5"), text("5")),
        ("SELECT ? + 1", fixed(DOUBLE, &1.5_f64.to_le_bytes()), big(5)),
        // After a number every word is 0.
        ("SELECT COUNT(*) FROM df_kinds WHERE s = ?", big(5), text("abc")),
        ("SELECT COUNT(*) FROM df_kinds WHERE s IN (?, 'def')", big(5), text("abc")),
        (
            "SELECT GREATEST(d, ?) FROM df_kinds LIMIT 1",
            text("2026-01-05 10:00:00"),
            text("2026-01-05"),
        ),
        ("SELECT COALESCE(n, ?) FROM df_kinds LIMIT 1", text("1.5"), text("7")),
        ("UPDATE df_kinds SET n = 1 WHERE s = ?", big(5), text("abc")),
    ]
}

/// A session on the server itself, the same through Fairlane, and another one there.
struct Three {
    direct: Side,
    through: Side,
    other: Side,
    differences: Vec<String>,
}

impl Three {
    fn log_in(proxy: &Proxy, more: Capabilities) -> Self {
        let [direct, through, other] = [servers().primary, proxy.port, proxy.port].map(|port| {
            let login = Login { more, ..Login::new(port, "app", "app-secret") };
            Side::login(&Login { schema: Some("shop"), ..login }).expect("a login")
        });
        Self { direct, through, other, differences: Vec::new() }
    }

    /// A step of the session that is compared.
    fn compare(&mut self, step: &Step) {
        let (direct, through) = (self.direct.take(step), self.through.take(step));
        let found = differing(step.depth, &direct, &through);
        self.differences.extend(found.map(|found| format!("{}\n{found}", step.what)));
    }

    /// Steps of the other session.
    fn meanwhile(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| drop(self.other.take(step)));
    }
}

fn arrange() {
    let mut root = servers().root();
    for sql in [
        "CREATE TABLE IF NOT EXISTS shop.df_kinds (n INT, s VARCHAR(9), d DATE)",
        "DELETE FROM shop.df_kinds",
        "INSERT INTO shop.df_kinds VALUES (1, 'abc', '2026-01-01'), (2, 'def', '2026-01-01')",
    ] {
        root.run(sql);
    }
}

/// With one connection for everybody, and the control connection.
fn one_connection() -> Proxy {
    Proxy::with(servers(), 2, ONE_LANE)
}

#[test]
fn values_of_another_session_do_not_type_a_statement() {
    arrange();
    let proxy = one_connection();
    let mut differences = Vec::new();
    for (sql, others, own) in cases() {
        let mut three = Three::log_in(&proxy, MODERN);
        three.compare(&prepare(0, sql));
        three.meanwhile(&[prepare(0, sql), execute(0, &[others])]);
        three.compare(&execute(0, std::slice::from_ref(&own)));
        three.compare(&execute(0, &[own]));
        differences.extend(three.differences.iter().map(|found| format!("{sql}: {found}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Long data that was sent is not lost with a copy that is of no use.
#[test]
fn long_data_finds_a_statement_that_others_have_executed() {
    let proxy = one_connection();
    let mut three = Three::log_in(&proxy, MODERN);
    let given = Param { kind: BLOB, is_unsigned: false, value: Some(Vec::new()) };
    let sql = "SELECT ?, ?";
    three.compare(&prepare(0, sql));
    three.meanwhile(&[prepare(0, sql), execute(0, &[given.clone(), big(5)])]);
    three.compare(&long_data(0, 0, b"some"));
    three.compare(&long_data(0, 0, b" and more"));
    three.compare(&execute(0, &[given, text("abc")]));
    assert!(three.differences.is_empty(), "{}", three.differences.join("\n"));
}

/// MariaDB 11.8 warns of each `old_mode`, also where Fairlane sets it to prepare a statement as it was, and
/// after that again.
#[test]
fn a_statement_of_other_circumstances_leaves_the_list_of_warnings() {
    arrange();
    // So that the transaction is on another connection than the statement was prepared on.
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut three = Three::log_in(&proxy, MODERN);
    three.compare(&prepare(0, "DO 1/0"));
    three.meanwhile(&[query("BEGIN"), query("SELECT n FROM df_kinds FOR UPDATE")]);
    for sql in [
        match product().is_mysql() {
            true => "SET sql_mode = 'NO_ZERO_DATE'",
            false => "SET old_mode = 'NO_DUP_KEY_WARNINGS_WITH_IGNORE'",
        },
        "SET sql_mode = 'STRICT_ALL_TABLES'",
        "BEGIN",
        "SELECT CAST('12abc' AS SIGNED) FROM df_kinds",
    ] {
        three.compare(&query(sql));
    }
    three.compare(&execute(0, &[]));
    three.compare(&query("SELECT @@warning_count, @@error_count"));
    three.compare(&query("SHOW WARNINGS"));
    assert!(three.differences.is_empty(), "{}", three.differences.join("\n"));
}

/// MySQL (9.7) keeps in a statement what these were when it was prepared, which it does again for
/// the first value that is no text.
#[test]
fn variables_of_another_session_do_not_change_a_statement() {
    arrange();
    let proxy = one_connection();
    let mut differences = Vec::new();
    for (set, sql, parameters) in [
        ("SET div_precision_increment = 2", "SELECT 1/3, n/3 FROM df_kinds", 0),
        ("SET default_week_format = 3", "SELECT WEEK('2026-01-01'), WEEK(d) FROM df_kinds", 0),
        // Its columns are those of a temporary table.
        ("SET sql_buffer_result = 1", "SELECT seq FROM seq_1_to_9", 0),
        ("SET sql_mode = 'ANSI_QUOTES'", "SELECT \"n\", ? FROM df_kinds", 1),
        ("SET div_precision_increment = 2", "SELECT 1/3, ?", 1),
    ] {
        let values = &[big(5)][..parameters];
        let mut three = Three::log_in(&proxy, MODERN);
        three.meanwhile(&[query(set), prepare(1, sql), execute(1, values)]);
        three.compare(&prepare(0, sql));
        three.meanwhile(&[query("SET sql_mode = DEFAULT"), prepare(0, sql), query(set)]);
        three.meanwhile(&[execute(1, values), execute(0, values)]);
        three.compare(&execute(0, values));
        differences.extend(three.differences.iter().map(|found| format!("{sql}: {found}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a hint has set for one statement is told with the next OK packet, also to another session,
/// which was then taken for one that has state of its own.
#[test]
fn hints_of_another_session_bind_nobody() {
    arrange();
    let proxy = one_connection();
    for (more, sql) in [
        (MODERN, "SELECT /*+ SET_VAR(sort_buffer_size = 70000) */ nothing_like_it"),
        (CLASSIC, "SELECT /*+ SET_VAR(sort_buffer_size = 70000) */ 1"),
    ] {
        let mut three = Three::log_in(&proxy, more);
        three.meanwhile(&[query(sql)]);
        three.compare(&query("UPDATE df_kinds SET n = n"));
        three.compare(&query("DO 0"));
        three.compare(&query("CALL nothing_like_it()"));
        eventually("nothing is held", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
        assert!(three.differences.is_empty(), "{}", three.differences.join("\n"));
    }
}

/// A client without CLIENT_DEPRECATE_EOF is told that a hint is over by an answer to Fairlane, which on MySQL
/// finds a row.
#[test]
fn hints_leave_the_rows_that_were_found() {
    let proxy = one_connection();
    let mut three = Three::log_in(&proxy, CLASSIC);
    for sql in [
        "BEGIN",
        "SELECT /*+ SET_VAR(sort_buffer_size = 70000) */ 1 UNION SELECT 2 UNION SELECT 3",
        "SELECT FOUND_ROWS()",
        "COMMIT",
    ] {
        three.compare(&query(sql));
    }
    assert!(three.differences.is_empty(), "{}", three.differences.join("\n"));
}

/// On MySQL a statement that writes can't even be prepared in a transaction that only reads.
#[test]
fn a_statement_is_reset_where_it_could_not_be_prepared() {
    arrange();
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut three = Three::log_in(&proxy, MODERN);
    three.compare(&prepare(0, "DELETE FROM df_kinds WHERE n = ?"));
    three.meanwhile(&[query("START TRANSACTION WITH CONSISTENT SNAPSHOT")]);
    for step in [
        query("START TRANSACTION READ ONLY"),
        query("SELECT CAST('x' AS SIGNED) FROM df_kinds"),
        reset(0),
        query("SHOW WARNINGS"),
        query("COMMIT"),
        query("SELECT CAST('x' AS SIGNED) FROM df_kinds"),
        reset(0),
        query("SHOW WARNINGS"),
    ] {
        three.compare(&step);
    }
    assert!(three.differences.is_empty(), "{}", three.differences.join("\n"));
}
