//! Each trap of the lexer, one test.

use super::*;

/// The tokens as `kind:text`.
fn tokens_in(sql: &[u8], mode: Mode) -> Vec<String> {
    let mut lexer = Lexer::new(sql, mode);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next();
        let text = String::from_utf8_lossy(&sql[token.start..token.end]).into_owned();
        match token.kind {
            Kind::End => return tokens,
            Kind::Op | Kind::Param | Kind::Assign | Kind::SystemVariable => tokens.push(text),
            Kind::Word => tokens.push(format!("w:{text}")),
            Kind::Quoted => tokens.push(format!("q:{text}")),
            Kind::String => tokens.push(format!("s:{text}")),
            Kind::Number => tokens.push(format!("n:{text}")),
            Kind::UserVariable => tokens.push(format!("v:{text}")),
            Kind::Bad => tokens.push(format!("bad:{text}")),
        }
    }
}

fn tokens(sql: &str) -> Vec<String> {
    tokens_in(sql.as_bytes(), Mode::default())
}

fn assert_tokens(cases: &[(&str, &[&str])]) {
    for (sql, expected) in cases {
        assert_eq!(tokens(sql), *expected, "{sql}");
    }
}

#[test]
fn numbers_and_names_that_begin_with_digits() {
    assert_tokens(&[
        ("1e", &["w:1e"]),
        ("1e3", &["n:1e3"]),
        ("1e+3", &["n:1e+3"]),
        ("1e+", &["w:1e", "+"]),
        ("1.e3 .5 5.", &["n:1.e3", "n:.5", "n:5."]),
        ("1.5.a", &["n:1.5", ".", "w:a"]),
        ("1INTO", &["w:1INTO"]),
        ("1.INTO", &["n:1.", "w:INTO"]),
        ("2a $b a$b _c", &["w:2a", "w:$b", "w:a$b", "w:_c"]),
        ("t.1e3", &["w:t", ".", "w:1e3"]),
        ("t .5", &["w:t", "n:.5"]),
        ("0x41 0xg 0b01 0b2 0x 0X4", &["n:0x41", "w:0xg", "n:0b01", "w:0b2", "w:0x", "w:0X4"]),
        ("\\N", &["n:\\N"]),
    ]);
}

#[test]
fn strings_and_their_prefixes() {
    assert_tokens(&[
        ("'a''b' \"a\"\"b\"", &["s:'a''b'", "s:\"a\"\"b\""]),
        (r"'a\'b' 'a\\'", &[r"s:'a\'b'", r"s:'a\\'"]),
        ("x'41' X'4' b'1' n'a' N'a'", &["s:x'41'", "s:X'4'", "s:b'1'", "s:n'a'", "s:N'a'"]),
        ("x '41' _utf8mb4'a'", &["w:x", "s:'41'", "w:_utf8mb4", "s:'a'"]),
        ("x\"41\"", &["w:x", "s:\"41\""]),
        ("`a``b` `c'`", &["q:`a``b`", "q:`c'`"]),
        ("'a\0b'", &["s:'a\0b'"]),
        ("'open", &["bad:'open"]),
        (r"'open\'", &[r"bad:'open\'"]),
        ("`open; SELECT 1", &["bad:`open; SELECT 1"]),
        ("''", &["s:''"]),
        ("'", &["bad:'"]),
        ("'\\", &["bad:'\\"]),
    ]);
}

#[test]
fn sql_modes_change_quotes_and_escapes() {
    let ansi = Mode { ansi_quotes: true, ..Mode::default() };
    assert_eq!(tokens_in(br#""a""b" "c\""#, ansi), ["q:\"a\"\"b\"", "q:\"c\\\""]);
    assert_eq!(tokens_in(br#"@"a b""#, ansi), ["v:@\"a b\""]);
    let plain = Mode { no_backslash_escapes: true, ..Mode::default() };
    assert_eq!(tokens_in(br"'a\' 'b'", plain), [r"s:'a\'", "s:'b'"]);
    assert_eq!(tokens_in(br"'a''\'", plain), [r"s:'a''\'"]);
}

#[test]
fn a_quote_or_backslash_may_be_half_a_character() {
    let gbk = Mode { charset: Charset::Gbk, ..Mode::default() };
    assert_eq!(tokens_in(b"'\xBF\\' 1", gbk).len(), 2, "backslash is a trail byte");
    assert_eq!(tokens_in(b"'\xBF' 1", gbk).len(), 2, "a quote is no valid trail byte");
    assert_eq!(tokens_in(b"'\xBF\\\\' 1", gbk).len(), 1, "only the second one escapes");
    assert_eq!(tokens_in(b"`\x81`` 1", gbk).len(), 2, "so is a backtick");
    let sjis = Mode { charset: Charset::Sjis, ..Mode::default() };
    assert_eq!(tokens_in(b"'\x83\\' 1", sjis).len(), 2);
    assert_eq!(tokens_in(b"'\xB1' 1", sjis).len(), 2, "half-width kana are single bytes");
    let utf8 = Mode::default();
    assert_eq!(tokens_in(b"'\xBF\\' 1", utf8).len(), 1, "here the backslash escapes");
    let big5 = Mode { charset: Charset::Big5, no_backslash_escapes: true, ..utf8 };
    assert_eq!(tokens_in(b"a\xA4\\b 1", big5).len(), 2, "inside a name, too");
}

#[test]
fn what_may_be_white_space_in_a_character_set_is_not_guessed() {
    let latin1 = Mode { charset: Charset::SingleByte(0xA0), ..Mode::default() };
    assert!(tokens_in(b"FOR\xA0UPDATE", latin1)[0].starts_with("bad:"));
    assert_eq!(tokens_in("à".as_bytes(), Mode::default()), ["w:à"]);
}

#[test]
fn comments() {
    assert_tokens(&[
        ("1--1", &["n:1", "-", "-", "n:1"]),
        ("1 --1", &["n:1", "-", "-", "n:1"]),
        ("1 -- 1\n2", &["n:1", "n:2"]),
        ("1--\n2", &["n:1", "n:2"]),
        ("1--", &["n:1"]),
        ("1 --\x01 2\n3", &["n:1", "n:3"]),
        ("1 # 2\n3#4", &["n:1", "n:3"]),
        ("1 # a\0 2", &["n:1", "bad:\0", "n:2"]),
        ("1 --\u{A0} 2", &["n:1", "bad:--\u{A0} 2"]),
        ("1/**/2", &["n:1", "n:2"]),
        ("1/* /* */2", &["n:1", "n:2"]),
        ("1/* /* */ */2", &["n:1", "*", "/", "n:2"]),
        ("1 /* x", &["n:1", "bad:/* x"]),
        ("1 /*/ 2", &["n:1", "bad:/*/ 2"]),
        ("1 /*+ MAX_EXECUTION_TIME(1) */", &["n:1"]),
        ("*/", &["*", "/"]),
    ]);
}

/// Tried one by one on MariaDB 10.11.
#[test]
fn version_comments_are_code_if_the_server_runs_them() {
    let mode = Mode { server_version: 101_119, ..Mode::default() };
    let count = |sql: &str| tokens_in(sql.as_bytes(), mode).len();
    for sql in [
        "1 /*! +1 */",
        "1 /*!+1*/",
        "1 /*!50699 +1 */",
        "1 /*!100000 +1 */",
        "1 /*!101119 +1 */",
        "1 /*M! +1 */",
        "1 /*M!50701 +1 */",
        "1 /*M!99999 +1 */",
    ] {
        assert_eq!(count(sql), 3, "{sql}");
    }
    for sql in [
        "1 /*!50701 +1 */",
        "1 /*!99999 +1 */",
        "1 /*!101120 +1 */",
        "1 /*M!101120 +1 */",
        "1 /*m! +1 */",
    ] {
        assert_eq!(count(sql), 1, "{sql}");
    }
    assert_eq!(count("1 /*!1011 +1 */"), 4, "four digits are no version");
    assert_eq!(count("1 /*!1010199 */"), 2, "six digits are, the seventh is code");
    assert_eq!(count("1 /*! +1 /* b */ +1 */"), 5, "plain comments inside code");
    assert_eq!(count("1 /*!999999 +1 /* b */ +2 */ +3"), 3, "one level is counted in others");
    assert_eq!(count("1 /*!999999 '*/' +2 */ +3"), 2, "but no strings");
    assert_eq!(tokens("1 /*! +1").last().expect("a token"), "bad:");
    assert_eq!(tokens("1 /*!99997 +1 */"), ["n:1", "bad:/*!99997 +1 */"], "Galera's own");
    let mysql = Mode::new("", "utf8mb4", "8.0.36");
    assert_eq!(tokens_in(b"1 /*!50701 +1 */ /*M! 2 */", mysql).len(), 3);
}

#[test]
fn variables() {
    assert_tokens(&[
        ("@a @a.b @$c", &["v:@a", "v:@a.b", "v:@$c"]),
        ("@'x y' @`x``y` @\"z\"", &["v:@'x y'", "v:@`x``y`", "v:@\"z\""]),
        ("@@a @@global . b", &["@@", "w:a", "@@", "w:global", ".", "w:b"]),
        ("@a:=1", &["v:@a", ":=", "n:1"]),
        ("@ a", &["bad:@ a"]),
        ("u@h 'u'@'%'", &["w:u", "v:@h", "s:'u'", "v:@'%'"]),
        ("@'open", &["bad:@'open"]),
    ]);
}

#[test]
fn operators() {
    assert_tokens(&[
        ("a<=>b<>c!=d", &["w:a", "<=>", "w:b", "<>", "w:c", "!=", "w:d"]),
        ("a->>'$'||b&&c<<d", &["w:a", "->>", "s:'$'", "||", "w:b", "&&", "w:c", "<<", "w:d"]),
        ("a*-b", &["w:a", "*", "-", "w:b"]),
        ("?;{}", &["?", ";", "{", "}"]),
        ("a\0b", &["w:a", "bad:\0", "w:b"]),
        ("a [ b", &["w:a", "bad:[", "w:b"]),
    ]);
}

#[test]
fn hints_are_read_from_any_plain_comment() {
    let mut lexer =
        Lexer::new(b"/* fairlane: lane=batch */ x /*fairlane:route=primary*/", Mode::default());
    while lexer.next().kind != Kind::End {}
    assert_eq!(lexer.hint.lane.as_deref(), Some("batch"));
    assert!(lexer.hint.route.is_some());
}
