//! The cache says what the classifier says, whatever it was asked before.

use proptest::prelude::*;

use super::super::mode::Charset;
use super::*;

const TABLE: &str = include_str!("../../tests/data/routing.tsv");

fn shape(sql: &str) -> Option<String> {
    let mut shape = Vec::new();
    let has_one = put_shape(sql.as_bytes(), Mode::default(), &mut shape);
    has_one.then(|| String::from_utf8(shape).expect("UTF-8"))
}

fn kept(cache: &VerdictCache) -> usize {
    cache.slots.iter().flatten().count()
}

#[test]
fn literals_are_left_out_and_nothing_else() {
    let shape = |sql: &str| shape(sql).expect("it has one");
    assert_eq!(
        shape("SELECT a1 FROM t2 WHERE b = 17 AND c IN (1,-2.50,'x') LIMIT 10"),
        "SELECT a1 FROM t2 WHERE b = 0 AND c IN (0,-0,'') LIMIT 0"
    );
    assert_eq!(
        shape(r"select 'it''s', 'a\'b', `5`, `x'y`, 'z'"),
        "select '','',`5`,`x'y`,''".replace(',', ", ")
    );
    assert_eq!(
        shape("SELECT 0x1F, 1e5, 5a, t.5, @1, x'41', 7/2"),
        "SELECT 0x1F, 1e5, 5a, t.5, @1, x'', 0/0"
    );
    assert_eq!(shape("SELECT 1.2.3, \"d'e\", 3;"), "SELECT 1.2.3, \"\", 0;");
}

#[test]
fn doubtful_texts_have_no_shape() {
    for sql in [
        "SELECT 1 /* 'x */",
        "SELECT 1 -- it's",
        "SELECT 1 # it's",
        "SELECT 'open",
        "SELECT `open",
        "KILL 5",
        "SET @a = 5",
        "SELECTS 1",
        "BEGINS",
        "",
    ] {
        assert_eq!(shape(sql), None, "{sql}");
    }
    let long = format!("SELECT {}", "a,".repeat(SHAPE_MAX));
    assert_eq!(shape(&long), None);
    let gbk = Mode { charset: Charset::Gbk, ..Mode::default() };
    assert!(!put_shape(b"SELECT 1", gbk, &mut Vec::new()));
    let ansi = Mode { ansi_quotes: true, ..Mode::default() };
    assert!(!put_shape(b"SELECT * FROM \"mysql\".user", ansi, &mut Vec::new()));
}

#[test]
fn texts_of_one_shape_share_a_place_and_modes_do_not() {
    let mut cache = VerdictCache::default();
    for id in 0..100 {
        let sql = format!("SELECT name FROM items WHERE id = {id} AND sku = 'sku-{id}'");
        assert_eq!(cache.classify(sql.as_bytes(), Mode::default()).class, Class::Read);
    }
    assert_eq!(kept(&cache), 1);
    let spaced = b"SELECT COUNT (x) FROM t";
    let ignoring = Mode { ignore_space: true, ..Mode::default() };
    for mode in [Mode::default(), ignoring, Mode::default()] {
        assert_eq!(cache.classify(spaced, mode), classify(spaced, mode));
    }
}

#[test]
fn what_carries_more_than_its_class_is_not_kept() {
    let mut cache = VerdictCache::default();
    for sql in ["SELECT LAST_INSERT_ID(5)", "SELECT GET_LOCK('a', 1)", "SELECT 1; SELECT 2"] {
        cache.classify(sql.as_bytes(), Mode::default());
    }
    assert_eq!(kept(&cache), 0);
}

/// The same text with other literals, as far as that is easily said: also such as would be
/// code if the quotes before them were taken for something else.
fn with_other_literals(sql: &str) -> Vec<String> {
    let other = |c: char, by: u32| match c.to_digit(10) {
        Some(digit) => char::from_digit((digit + by) % 10, 10).unwrap_or(c),
        None => c,
    };
    let digits = |by: u32| sql.chars().map(|c| other(c, by)).collect();
    let strings = ["''", "'it''s 5 -- x'", "'\n INTO @b, f() -- '", "'*/ INTO @b, f() /*'"];
    let strings = strings.map(|string| sql.replace("'x'", string));
    [sql.to_owned(), digits(1), digits(4)].into_iter().chain(strings).collect()
}

#[test]
fn the_routing_table_is_answered_as_without_a_cache() {
    let mut cache = VerdictCache::default();
    let modes = [Mode::default(), Mode::new("ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "latin1", "8.4.0")];
    let mut texts = 0;
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let sql = line.split('\t').nth(4).expect("a field");
        for text in with_other_literals(sql) {
            for mode in modes {
                let expected = classify(text.as_bytes(), mode);
                assert_eq!(cache.classify(text.as_bytes(), mode), expected, "{text}");
                texts += 1;
            }
        }
    }
    assert!(texts > 5000 && kept(&cache) > 100, "{texts} texts, {} kept", kept(&cache));
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "1",
        "23",
        "4.5",
        ".5",
        "5.",
        "1e5",
        "1e-5.",
        "@@",
        "0X1F",
        "RAND(",
        "1e-5.3",
        "0x1F",
        "0b1",
        "5a",
        "'x'",
        "'it''s'",
        r"'a\'b'",
        r"'\\'",
        "\"x\"",
        "\"it's\"",
        "`a`",
        "`5`",
        "`it's`",
        "x'41'",
        "N'x'",
        "_utf8'x'",
        "\\",
        "'",
        "\"",
        "`",
        "--",
        "-",
        "#",
        "/",
        "/*",
        "*/",
        "/*!",
        "*",
        ".",
        ",",
        "@",
        "@@",
        "@1",
        "@'x'",
        ":=",
        ";",
        "(",
        ")",
        "a",
        "t",
        "e",
        "é",
        "\n",
        " ",
        "FROM",
        "WHERE",
        "INTO",
        "FOR",
        "UPDATE",
        "VALUES",
        "SET",
        "LIMIT",
        "COUNT",
        "NOW",
        "f",
        "LAST_INSERT_ID",
        "SLEEP",
        "?",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_texts_are_answered_as_without_a_cache(
        first in prop::sample::select(vec![
            "SELECT ", "insert ", "UPDATE ", "DELETE ", "REPLACE ", "BEGIN", "START TRANSACTION ", "commit ", "ROLLBACK",
        ]),
        texts in prop::collection::vec(prop::collection::vec(piece(), 0..9), 1..60),
        bits in 0_u8..8,
    ) {
        let mode = Mode {
            ansi_quotes: bits & 1 != 0,
            no_backslash_escapes: bits & 2 != 0,
            charset: if bits & 4 != 0 { Charset::SingleByte(0xA0) } else { Charset::Plain },
            ..Mode::default()
        };
        let mut cache = VerdictCache::default();
        for pieces in texts {
            for glue in ["", " "] {
                for text in with_other_literals(&format!("{first}{}", pieces.join(glue))) {
                    let expected = classify(text.as_bytes(), mode);
                    prop_assert_eq!(cache.classify(text.as_bytes(), mode), expected, "{}", text);
                }
            }
        }
    }
}
