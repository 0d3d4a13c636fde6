//! Lexical traps.

use super::*;

fn kinds(text: &str, mode: Mode) -> Vec<(Kind, String)> {
    let mut lexer = Lexer::new(text.as_bytes(), mode);
    let mut found = Vec::new();
    loop {
        let token = lexer.next();
        if token.kind == Kind::End {
            return found;
        }
        found.push((token.kind, String::from_utf8_lossy(token.text).into_owned()));
        if token.kind == Kind::Broken {
            return found;
        }
    }
}

fn texts(text: &str, mode: Mode) -> String {
    kinds(text, mode).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("|")
}

fn default(text: &str) -> String {
    texts(text, Mode::default())
}

#[test]
fn comments_are_skipped_and_executable_ones_are_code() {
    assert_eq!(default("a /* b */ c -- d\n e # f\n g"), "a|c|e|g");
    assert_eq!(default("1--1"), "1|-|-|1");
    assert_eq!(default("a --"), "a");
    assert_eq!(default("a /*! b */ c"), "a|b|c");
    assert_eq!(default("a /*!40101 b */ c /*M!100100 d */"), "a|b|c|d");
    assert_eq!(default("a /*!50701 b */ /*!999999 c /* d */ e */ f /*M!999999 g */"), "a|f");
    let mysql = Mode { mariadb: false, server_version: 90_700, ..Mode::default() };
    assert_eq!(texts("a /*!50701 b */ /*M! c */", mysql), "a|b");
    assert_eq!(kinds("a /* b", Mode::default()).last().map(|(kind, _)| *kind), Some(Kind::Broken));
}

#[test]
fn quotes_hide_what_is_between_them() {
    assert_eq!(default(r"'a''b\'c' `d``e` ; x"), r"'a''b\'c'|d``e|;|x");
    let plain = Mode { no_backslash_escapes: true, ..Mode::default() };
    assert_eq!(texts(r"'a\' b", plain), r"'a\'|b");
    let ansi = Mode { ansi_quotes: true, ..Mode::default() };
    assert_eq!(kinds("\"a\"", ansi), [(Kind::Quoted, "a".into())]);
    assert_eq!(kinds("\"a\"", Mode::default())[0].0, Kind::Literal);
    assert_eq!(default("x'41' n'a' _utf8mb4'b' b'1'"), "x'41'|n'a'|_utf8mb4|'b'|b'1'");
    assert_eq!(kinds("'abc", Mode::default())[0].0, Kind::Broken);
}

#[test]
fn a_trail_byte_is_neither_quote_nor_backslash() {
    let gbk = Mode { multibyte_trail: true, ..Mode::default() };
    let mut lexer = Lexer::new(b"'\xbf\x5c' x", gbk);
    assert_eq!(lexer.next().kind, Kind::Literal);
    assert_eq!(lexer.next().text, b"x");
    let mut lexer = Lexer::new(b"'\xbf\x5c' x' y", Mode::default());
    assert_eq!(lexer.next().kind, Kind::Literal);
    assert_eq!(lexer.next().text, b"y");
}

#[test]
fn numbers_names_and_variables_are_told_apart() {
    assert_eq!(default("1.5e-3 .5 0x1F t.1 1abc"), "1.5e-3|.5|0x1F|t|.|1|1abc");
    assert_eq!(kinds("1abc", Mode::default())[0].0, Kind::Word);
    assert_eq!(
        kinds("@a @'b c' @@x @@global.y", Mode::default()),
        [
            (Kind::UserVariable, "@a".into()),
            (Kind::UserVariable, "@'b c'".into()),
            (Kind::SystemVariable, "@@x".into()),
            (Kind::SystemVariable, "@@global".into()),
            (Kind::Punct(b'.'), ".".into()),
            (Kind::Word, "y".into()),
        ]
    );
    assert_eq!(kinds("@a:=1", Mode::default())[1].0, Kind::Assign);
}
