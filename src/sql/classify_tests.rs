//! Properties; the table of statements is `tests/routing_table.rs`.

use proptest::prelude::*;

use super::*;

fn verdict(sql: &str) -> Verdict {
    classify(sql.as_bytes(), Mode::default())
}

#[test]
fn equal_digests_for_equal_shapes() {
    let digest = |sql: &str| verdict(sql).digest;
    assert_eq!(digest("SELECT a FROM t WHERE id = 5"), digest("select A from T where ID='x' -- c"));
    assert_ne!(digest("SELECT a FROM t"), digest("SELECT b FROM t"));
    assert_eq!(digest("SELECT 1 IN (1,2)"), digest("SELECT 1 IN (1,2,3,4)"));
}

#[test]
fn a_text_of_several_statements_has_the_effects_of_all() {
    let both = verdict("SELECT 1; SET @a = 1");
    assert_eq!((both.class, both.reason), (Class::Write, Reason::MultiStatement));
    assert_eq!((both.statements, both.effects), (2, Effects::USER_VARIABLE));
    assert_eq!(verdict("SELECT 1;").statements, 1);
    assert_eq!(verdict(" ; -- x").reason, Reason::Empty);
    let unlocked = verdict("LOCK TABLES t READ; UNLOCK TABLES");
    assert_eq!(unlocked.effects, Effects::UNLOCK_TABLES);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(bytes: Vec<u8>, flags: [bool; 4]) {
        let mode = Mode {
            ansi_quotes: flags[0],
            no_backslash_escapes: flags[1],
            multibyte_trail: flags[2],
            single_kana: flags[2] && flags[0],
            mariadb: flags[3],
            server_version: 101_100,
        };
        let _ = classify(&bytes, mode);
        let _ = crate::sql::digest_text(&bytes, mode);
    }

    #[test]
    fn sql_like_texts_neither(words in prop::collection::vec(
        prop::sample::select(vec!["SELECT", "(", ")", "'", "\"", "`", "@a", "@@x", "/*!", "/*", "*/",
            ";", ":=", "SET", ",", "FROM", "x.", "--", "\\", "get_lock", "INTO", "#", "\n"]), 0..40)) {
        let text = words.join(" ");
        let plain = classify(text.as_bytes(), Mode::default());
        let glued = classify(words.concat().as_bytes(), Mode::default());
        prop_assert!(plain.statements <= 40 && glued.statements <= 40);
    }

    #[test]
    fn comments_and_white_space_change_nothing(sql in prop::sample::select(vec![
        "SELECT a FROM t WHERE b = 'c'", "INSERT INTO t ( a ) VALUES ( 1 )", "SET NAMES utf8mb4",
        "SELECT * FROM t FOR UPDATE", "SELECT my ( 1 )"])) {
        let spaced = sql.split(' ').collect::<Vec<_>>().join(" /* c */ \n\t");
        prop_assert_eq!(verdict(sql), verdict(&spaced));
    }
}
