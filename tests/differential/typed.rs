//! What values another session gave the parameters of the same statement, on the same connection.

use crate::compare::{MODERN, differing};
use crate::params::*;
use crate::side::Side;
use crate::step::*;
use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, servers};

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

#[test]
fn values_of_another_session_do_not_type_a_statement() {
    let mut root = servers().root();
    for sql in [
        "DROP TABLE IF EXISTS shop.df_kinds",
        "CREATE TABLE shop.df_kinds (n INT, s VARCHAR(9), d DATE)",
        "INSERT INTO shop.df_kinds VALUES (1, 'abc', '2026-01-01'), (2, 'def', '2026-01-01')",
    ] {
        root.run(sql);
    }
    // One for everybody, and the control connection.
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut differences = Vec::new();
    for (sql, others, own) in cases() {
        let [mut direct, mut through, mut other] =
            [servers().primary, proxy.port, proxy.port].map(|port| {
                let login = Login { more: MODERN, ..Login::new(port, "app", "app-secret") };
                Side::login(&Login { schema: Some("shop"), ..login }).expect("a login")
            });
        let mut compare = |step: &Step| {
            let found = differing(step.depth, &direct.take(step), &through.take(step));
            differences.extend(found.map(|found| format!("{sql}: {}\n{found}", step.what)));
        };
        compare(&prepare(0, sql));
        other.take(&prepare(0, sql));
        other.take(&execute(0, &[others]));
        compare(&execute(0, std::slice::from_ref(&own)));
        compare(&execute(0, &[own]));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Long data that was sent is not lost with a copy that is of no use.
#[test]
fn long_data_finds_a_statement_that_others_have_executed() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let [mut direct, mut through, mut other] =
        [servers().primary, proxy.port, proxy.port].map(|port| {
            let login = Login { more: MODERN, ..Login::new(port, "app", "app-secret") };
            Side::login(&Login { schema: Some("shop"), ..login }).expect("a login")
        });
    let blob = Param { kind: BLOB, is_unsigned: false, value: None };
    let given = Param { value: Some(Vec::new()), ..blob };
    let sql = "SELECT ?, ?";
    let mut compare = |step: &Step| {
        let (direct, through) = (direct.take(step), through.take(step));
        assert_eq!(differing(step.depth, &direct, &through), None, "{}", step.what);
    };
    compare(&prepare(0, sql));
    for step in [prepare(0, sql), execute(0, &[big(5), big(5)])] {
        other.take(&step);
    }
    compare(&long_data(0, 0, b"some"));
    compare(&long_data(0, 0, b" and more"));
    compare(&execute(0, &[given, text("abc")]));
}
