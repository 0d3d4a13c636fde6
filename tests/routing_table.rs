//! The routing table: what each kind of statement means, one line a statement.
//!
//! `tests/data/routing.tsv` is read by people as well; a new decision gets a line there.

use fairlane::sql::{Class, Effects, Mode, Needs, RouteHint, classify};

const TABLE: &str = include_str!("data/routing.tsv");

fn class_name(class: Class) -> String {
    match class {
        Class::Read => "read".to_owned(),
        Class::Write => "write".to_owned(),
        Class::Begin { read_only: false } => "begin".to_owned(),
        Class::Begin { read_only: true } => "begin_read_only".to_owned(),
        Class::Commit => "commit".to_owned(),
        Class::Rollback => "rollback".to_owned(),
        Class::Session => "session".to_owned(),
        Class::Diagnostics => "diagnostics".to_owned(),
        Class::Kill { query, id } => {
            let what = if query { "query" } else { "connection" };
            id.map_or_else(|| format!("kill:{what}:own"), |id| format!("kill:{what}:{id}"))
        }
    }
}

fn flags<F: bitflags::Flags>(text: &str) -> F {
    text.split('|').filter(|name| *name != "-").fold(F::empty(), |all, name| {
        all.union(F::from_name(name).unwrap_or_else(|| panic!("no flag {name}")))
    })
}

/// In the table `\n`, `\t`, `\0`, `\xHH` and the doubled backslash are escapes.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'0') => out.push(0),
            Some(b'x') => {
                let digits = [bytes.next(), bytes.next()].map(|digit| digit.expect("a digit"));
                let digits = std::str::from_utf8(&digits).expect("digits");
                out.push(u8::from_str_radix(digits, 16).expect("a byte"));
            }
            other => out.extend(other),
        }
    }
    out
}

#[test]
fn every_statement_of_the_table_gets_its_verdict() {
    let mode = Mode::new("", "utf8mb4", "10.11.19-MariaDB");
    let mut failures = Vec::new();
    let mut count = 0;
    for (number, line) in TABLE.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [class, reason, effects, needs, sql, ..] = fields[..] else {
            panic!("line {}: too few fields", number + 1);
        };
        count += 1;
        let got = classify(&unescape(sql), mode);
        let expected =
            format!("{class} {reason} {:?} {:?}", flags::<Effects>(effects), flags::<Needs>(needs));
        let (name, reason) = (class_name(got.class), got.reason.label());
        let found = format!("{name} {reason} {:?} {:?}", got.effects, got.needs);
        if expected != found {
            let line = number + 1;
            failures.push(format!("line {line}: {sql}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(count >= 400, "only {count} lines");
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn modes_change_verdicts() {
    let class = |sql: &str, sql_mode: &str, charset: &str, version: &str| {
        classify(sql.as_bytes(), Mode::new(sql_mode, charset, version)).class
    };
    let maria = "10.11.19-MariaDB";
    // With ANSI_QUOTES "f" is a name, so this calls a function.
    assert_eq!(class("SELECT \"f\"(1)", "ANSI_QUOTES", "utf8mb4", maria), Class::Write);
    // The string ends before FOR UPDATE, or swallows it.
    let sql = r"SELECT a FROM t WHERE b = '\' FOR UPDATE -- '";
    assert_eq!(class(sql, "", "utf8mb4", maria), Class::Read);
    assert_eq!(class(sql, "NO_BACKSLASH_ESCAPES", "utf8mb4", maria), Class::Write);
    assert_eq!(class("SELECT COUNT (*) FROM t", "IGNORE_SPACE", "utf8mb4", maria), Class::Read);
    // It ignores blanks, not comments (MariaDB 10.11).
    let sql = "SELECT COUNT/**/(1) FROM t";
    assert_eq!(class(sql, "IGNORE_SPACE", "utf8mb4", maria), Class::Write);
    // Version comments and functions by server.
    let sql = "SELECT a FROM t /*!80000 FOR UPDATE */";
    assert_eq!(class(sql, "", "utf8mb4", maria), Class::Read);
    assert_eq!(class(sql, "", "utf8mb4", "8.0.36"), Class::Write);
    assert_eq!(class("SELECT BIN_TO_UUID(a) FROM t", "", "utf8mb4", "8.0.36"), Class::Read);
    assert_eq!(class("SELECT NVL(a, b) FROM t", "", "utf8mb4", "8.0.36"), Class::Write);
    for sql in ["SELECT RANK() OVER w FROM t WINDOW w AS (ORDER BY a)", "SELECT JSON_VALUE(a, '$')"]
    {
        assert_eq!(class(sql, "", "utf8mb4", "8.0.36"), Class::Read, "{sql}");
        assert_eq!(class(sql, "", "utf8mb4", "5.7.44"), Class::Write, "{sql}");
    }
    let sql = "SELECT a FROM t INTERSECT (SELECT 1)";
    assert_eq!(class(sql, "", "utf8mb4", "8.4.0"), Class::Read);
    assert_eq!(class(sql, "", "utf8mb4", "8.0.30"), Class::Write);
    // In gbk the backslash belongs to the character before it, so the string ends.
    let sql = b"SELECT '\xBF\\' FOR UPDATE -- '";
    assert_eq!(classify(sql, Mode::new("", "gbk", maria)).class, Class::Write);
    assert_eq!(classify(sql, Mode::new("", "utf8mb4", maria)).class, Class::Read);
}

#[test]
fn hints_and_counts() {
    let verdict = classify(b"/* fairlane: lane=batch, route=primary */ SELECT 1", Mode::default());
    assert_eq!(verdict.class, Class::Read, "the router honours the hint, not the class");
    assert_eq!(verdict.hint.lane.as_deref(), Some("batch"));
    assert_eq!(verdict.hint.route, Some(RouteHint::Primary));
    let count = |sql: &str| classify(sql.as_bytes(), Mode::default()).statements;
    assert_eq!((count(""), count("SELECT 1;"), count("SELECT 1; ; SELECT 2")), (0, 1, 2));
}
