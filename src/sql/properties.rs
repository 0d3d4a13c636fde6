//! Properties that hold for all texts, tried on generated ones.

use proptest::prelude::*;

use super::*;

fn modes() -> Vec<Mode> {
    let charsets =
        [Charset::Plain, Charset::SingleByte(0xA0), Charset::Gbk, Charset::Sjis, Charset::Big5];
    let mut modes = Vec::new();
    for charset in charsets {
        for bits in 0..8 {
            let base = if bits & 4 == 0 { Mode::default() } else { Mode::new("", "", "8.0.36") };
            modes.push(Mode {
                ansi_quotes: bits & 1 != 0,
                no_backslash_escapes: bits & 2 != 0,
                charset,
                ..base
            });
        }
    }
    modes
}

/// Pieces that meet in traps when thrown together.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "SELECT",
        "FROM",
        "t",
        "WHERE",
        "a",
        "=",
        "1",
        "'x'",
        "\"y\"",
        "`z`",
        "(",
        ")",
        ",",
        ";",
        ".",
        "@",
        "@@",
        ":=",
        "--",
        "-- ",
        "#",
        "/*",
        "*/",
        "/*!",
        "/*M!50000",
        "/*!99999",
        "\\",
        "'",
        "\"",
        "`",
        "\0",
        "\n",
        " ",
        "FOR",
        "UPDATE",
        "INTO",
        "WITH",
        "AS",
        "SET",
        "STATEMENT",
        "BEGIN",
        "END",
        "CASE",
        "CREATE",
        "PROCEDURE",
        "TABLE",
        "IF",
        "f",
        "NOW",
        "COUNT",
        "*",
        "INSERT",
        "VALUES",
        "EXPLAIN",
        "KILL",
        "x'",
        "0x",
        "1e",
        ".5",
        "?",
        "é",
        "ROW_COUNT()",
        "LAST_INSERT_ID",
        "CONNECTION_ID()",
        "/* fairlane: lane=a */",
    ])
}

/// A statement as its tokens, and whether a blank may be put before each.
fn statement() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::select(vec![
        vec!["select", " ", "a", " ", "from", " ", "t", " ", "where", " ", "b", "=", "'x'"],
        vec!["select", " ", "f", "(", "1", ")", " ", "for", " ", "update"],
        vec!["insert", " ", "into", " ", "t", "(", "a", ",", "b", ")", "values", "(", "1", ")"],
        vec!["update", " ", "t", " ", "set", " ", "a", "=", "-", "1"],
        vec!["set", " ", "@a", ":=", "1", ",", "names", " ", "utf8"],
        vec!["select", " ", "@@", "global", ".", "x", ",", "get_lock", "(", "'a'", ",", "1", ")"],
        vec!["with", " ", "x", "(", "a", ")", "as", "(", "select", " ", "1", ")", "delete"],
        vec!["start", " ", "transaction", " ", "read", " ", "only", ";", "commit"],
        vec!["show", " ", "tables", " ", "from", " ", "mysql"],
        vec!["create", " ", "temporary", " ", "table", " ", "t", " ", "select", " ", "1"],
    ])
}

fn verdicts_agree(left: &Verdict, right: &Verdict) -> bool {
    Verdict { hint: Hint::default(), ..left.clone() }
        == Verdict { hint: Hint::default(), ..right.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for mode in modes() {
            let verdict = classify(&bytes, mode);
            prop_assert_eq!(&verdict, &classify(&bytes, mode));
            prop_assert!(digest_text(&bytes, mode).len() <= DIGEST_TEXT_BYTES_MAX);
        }
    }

    #[test]
    fn pieces_never_panic(pieces in prop::collection::vec(piece(), 0..40), blank in any::<bool>()) {
        let text = pieces.join(if blank { " " } else { "" });
        let values = Substitution {
            row_count: 1,
            found_rows: 2,
            connection_id: 3,
            warning_count: 4,
            error_count: 5,
            last_gtid: None,
        };
        for mode in modes() {
            let verdict = classify(text.as_bytes(), mode);
            digest_text(text.as_bytes(), mode);
            if let Some(other) = substitute(text.as_bytes(), mode, &values, Needs::all()) {
                prop_assert!(other != text.as_bytes());
            } else if verdict.statements == 1 && verdict.needs.contains(Needs::CONNECTION_ID) {
                // Only a variable, or a call with arguments, cannot be replaced.
                prop_assert!(!text.contains("CONNECTION_ID()") || text.contains("@@"));
            }
        }
    }

    #[test]
    fn comments_blanks_and_case_change_nothing(
        tokens in statement(),
        fill in prop::collection::vec(
            prop::sample::select(vec!["", " ", "\n", "/**/", "/* ' ; */", "-- x'\n", "#`\n", "\t"]), 20),
        upper in prop::collection::vec(any::<bool>(), 20),
    ) {
        let mut text = String::new();
        for (i, token) in tokens.iter().enumerate() {
            let is_string = token.starts_with('\'');
            if upper[i] && !is_string { text += &token.to_uppercase() } else { text += token }
            // A variable's name follows its @@ at once.
            if *token != "@@" { text += fill[i] }
        }
        let plain = tokens.concat();
        for mode in modes() {
            let (left, right) = (classify(plain.as_bytes(), mode), classify(text.as_bytes(), mode));
            prop_assert!(verdicts_agree(&left, &right), "{plain:?} {left:?}\n{text:?} {right:?}");
            prop_assert!(digest_text(plain.as_bytes(), mode)
                .eq_ignore_ascii_case(&digest_text(text.as_bytes(), mode)));
        }
    }

    #[test]
    fn digests_forget_literals(number in any::<i32>(), word in "[a-z'\\\\]{0,8}", rows in 1..9_usize) {
        let quoted = word.replace('\\', "\\\\").replace('\'', "''");
        let row = format!("({number}, '{quoted}', x'41', NULL, 1.5e3)");
        let sql = format!(
            "INSERT INTO t VALUES {}; SELECT a FROM t WHERE b IN ({number}, 2) AND c = '{quoted}'",
            vec![row; rows].join(",")
        );
        let other = "INSERT INTO t VALUES (1, 2, 3, 4, 5); SELECT a FROM t WHERE b IN (0) AND c = ?";
        let hash = |sql: &str| digest(sql.as_bytes(), Mode::default());
        prop_assert_eq!(hash(&sql), hash(other));
        prop_assert_eq!(
            digest_text(sql.as_bytes(), Mode::default()),
            digest_text(other.as_bytes(), Mode::default())
        );
    }

    #[test]
    fn equal_digests_have_equal_verdicts(
        left in prop::collection::vec(piece(), 0..12),
        changes in prop::collection::vec((0..12_usize, piece()), 0..3),
    ) {
        let mut right = left.clone();
        for (at, piece) in changes {
            if let Some(slot) = right.get_mut(at) { *slot = piece }
        }
        let mode = Mode::default();
        let (left, right) = (left.join(" "), right.join(" "));
        let (a, b) = (classify(left.as_bytes(), mode), classify(right.as_bytes(), mode));
        let is_equal =
            digest(left.as_bytes(), mode) == digest(right.as_bytes(), mode);
        if is_equal && !matches!(a.class, Class::Kill { .. }) {
            prop_assert!(
                (a.class, a.reason, a.effects, a.needs) == (b.class, b.reason, b.effects, b.needs),
                "{left:?} {a:?}\n{right:?} {b:?}"
            );
        }
    }
}

#[test]
fn huge_texts_take_linear_time() {
    // Each of these would take hours if any part were looked at once per token.
    let traps = [
        "(".repeat(1 << 17),
        "/*".repeat(1 << 17),
        "/*!999999 /*".repeat(1 << 15),
        "/*!".repeat(1 << 17),
        "`".repeat(1 << 17),
        "'".repeat((1 << 17) + 1),
        "a.".repeat(1 << 17),
        "last_insert_id(".repeat(1 << 15),
        "row_count( /* ".repeat(1 << 15),
        "select 1;".repeat(1 << 15),
        "set statement a=1 for ".repeat(1 << 14),
        format!("select {}", "(select ".repeat(1 << 15)),
        format!("insert into t values {}", "(1,'x',null),".repeat(1 << 15)),
        "with a(b) as (".repeat(1 << 15),
        "explain ".repeat(1 << 15),
    ];
    let values = Substitution {
        row_count: 1,
        found_rows: 2,
        connection_id: 3,
        warning_count: 4,
        error_count: 5,
        last_gtid: None,
    };
    for text in traps {
        classify(text.as_bytes(), Mode::default());
        digest_text(text.as_bytes(), Mode::default());
        substitute(text.as_bytes(), Mode::default(), &values, Needs::all());
    }
}

#[test]
fn tables_may_be_used_by_all_but_bare_expressions_and_control() {
    let uses_table = |sql: &str| classify(sql.as_bytes(), Mode::default()).uses_table;
    for sql in ["SELECT a FROM t", "INSERT INTO t VALUES (1)", "TABLE t", "SHOW TABLES", "DESC t"] {
        assert!(uses_table(sql), "{sql}");
    }
    assert!(!uses_table("UNLOCK TABLES"));
    assert!(uses_table("SET sql_select_limit = (SELECT COUNT(*) FROM t)"));
    assert!(!uses_table("SET sql_select_limit = (SELECT 5)"));
    for sql in ["SELECT 1", "DO 1", "VALUES (1)", "SET @a = 1", "BEGIN", "SHOW WARNINGS", "USE a"] {
        assert!(!uses_table(sql), "{sql}");
    }
    assert!(uses_table("SELECT 1; SELECT a FROM t"));
}

#[test]
fn the_first_word_is_that_of_the_first_statement_behind_comments() {
    let mut cache = VerdictCache::default();
    for (sql, leading) in [
        ("SELECT a FROM t", Leading::Select),
        ("/* c */ select 1", Leading::Select),
        ("-- c\n#d\n ; SELECT 1; SET @a = 1", Leading::Select),
        ("/*!50000 SELECT */ 1", Leading::Select),
        ("(SELECT 1)", Leading::Other),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Leading::Other),
        ("\tSHOW TABLES", Leading::Show),
        ("#c\nSET NAMES utf8mb4", Leading::Set),
        ("SET STATEMENT max_statement_time = 1 FOR SELECT 1", Leading::Set),
        ("/* c */USE`shop`", Leading::Use),
        ("DO(1)", Leading::Do),
        ("do_something", Leading::Other),
        ("/* c */ update t SET a = 1", Leading::Update),
        ("DELETE FROM t", Leading::Delete),
        ("FLUSH STATUS", Leading::Flush),
        ("`select` 1", Leading::Other),
        ("INSERT INTO t SELECT 1", Leading::Other),
        ("", Leading::Other),
    ] {
        for _ in 0..2 {
            let verdict = cache.classify(sql.as_bytes(), Mode::default());
            assert_eq!(verdict.leading, leading, "{sql}");
        }
    }
}

#[test]
fn only_wanted_calls_are_substituted() {
    let values = Substitution {
        row_count: 1,
        found_rows: 2,
        connection_id: 3,
        warning_count: 4,
        error_count: 5,
        last_gtid: None,
    };
    let sql = b"SET @a = ROW_COUNT(), @b = CONNECTION_ID()";
    let text = substitute(sql, Mode::default(), &values, Needs::CONNECTION_ID).expect("a call");
    assert_eq!(text, b"SET @a = ROW_COUNT(), @b = IF(1,CAST(3 AS UNSIGNED),CONNECTION_ID())");
    assert_eq!(substitute(sql, Mode::default(), &values, Needs::FOUND_ROWS), None);
}
