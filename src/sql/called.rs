//! Which procedure a CALL is of, and which functions a statement calls by itself.

use super::lexer::Lexer;
use super::mode::{Charset, Mode};
use super::token::{Kind, Token};
use super::word::Word;

/// A procedure's name, behind its schema if a text has that.
type Named<'s> = (Option<&'s [u8]>, &'s [u8]);

/// The procedure that `sql` calls, behind its schema if that is named; `None` for what does not begin
/// with CALL, or has a name of another form.
pub fn called(sql: &[u8], mode: Mode) -> Option<Named<'_>> {
    let mut lexer = Lexer::new(sql, mode);
    if lexer.next().word != Word::Call {
        return None;
    }
    let first = name(sql, &lexer.next())?;
    let next = lexer.next();
    if !next.is_op(b'.') {
        return is_end(&next).then_some((None, first));
    }
    let second = name(sql, &lexer.next())?;
    is_end(&lexer.next()).then_some((Some(first), second))
}

/// How much of a text is looked at for calls, and how much behind each.
const LOOKED_AT: usize = 64 * 1024;
const NAME_MAX: usize = 1024;

/// What a text calls by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Calls<'s> {
    /// Procedures, behind their schemas where those are named, each once.
    pub names: Vec<Named<'s>>,
    /// There are no others.
    pub are_all: bool,
}

/// What follows the word CALL, wherever that stands at the beginning of `sql`, be it in a literal: the procedures that
/// it names, `most` at most.
pub fn calls_in(whole: &[u8], mode: Mode, most: usize) -> Calls<'_> {
    let sql = &whole[..whole.len().min(LOOKED_AT)];
    let is_read = sql.len() == whole.len() && mode.charset != Charset::Foreign;
    let mut calls = Calls { names: Vec::new(), are_all: is_read };
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| {
            byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(*byte, b'_' | b'$' | b'.')
        })
    };
    for at in memchr::memchr2_iter(b'c', b'C', sql) {
        let rest = &sql[at..sql.len().min(at + NAME_MAX)];
        let is_call = rest.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"call"));
        let before = at.checked_sub(1).and_then(|before| sql.get(before));
        if !is_call || is_part(before) || is_part(rest.get(4)) {
            continue;
        }
        let mut lexer = Lexer::new(rest, mode);
        lexer.next();
        let (found, end) = name_behind(rest, &mut lexer);
        // One of three parts is of a package; and what is cut off may be the end of a name.
        calls.are_all &= !end.is_op(b'.') && (end.end < rest.len() || at + NAME_MAX >= sql.len());
        match found.filter(|found| !calls.names.contains(found)) {
            Some(found) if calls.names.len() < most => calls.names.push(found),
            Some(_) => calls.are_all = false,
            None => {}
        }
    }
    calls
}

/// The name of a procedure, if the next tokens are one, and what follows it.
fn name_behind<'s>(sql: &'s [u8], lexer: &mut Lexer<'_>) -> (Option<Named<'s>>, Token) {
    // Of what mode the text is nobody knows.
    let name = |token: &Token| match sql.get(token.start..token.end) {
        Some([b'"', text @ .., b'"']) => Some(text),
        _ => name(sql, token),
    };
    let token = lexer.next();
    let Some(first) = name(&token) else { return (None, token) };
    let next = lexer.next();
    if !next.is_op(b'.') {
        return (Some((None, first)), next);
    }
    let token = lexer.next();
    match name(&token) {
        Some(second) => (Some((Some(first), second)), lexer.next()),
        None => (None, token),
    }
}

/// The functions that a statement calls itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCalls {
    /// The one that was asked for is among them.
    pub has_it: bool,
    /// How many there are at most that are none of the server's.
    pub unknown_at_most: usize,
}

/// The functions that `sql` calls itself in a session with the schema `own`, and whether that of this schema and
/// name is one of them; `None` where servers don't look for all of them before anything runs.
///
/// FACT(mariadb 10.11, 11.8): SET and the arguments of CALL are worked out one by one; test:
/// `a_function_that_there_is_not_is_missed_before_others_run`.
pub fn own_calls(
    sql: &[u8],
    mode: Mode,
    own: Option<&str>,
    (schema, function): (Option<&str>, &str),
) -> Option<OwnCalls> {
    let mut calls = OwnCalls { has_it: false, unknown_at_most: 0 };
    let mut lexer = Lexer::new(sql, mode);
    let mut last = [Token::END, Token::END, Token::END, lexer.next()];
    if !last[3].is_op(b'(') && !finds_first(last[3].word) {
        return None;
    }
    while last[3].kind != Kind::End {
        let token = lexer.next();
        let (within, before) = match last[2].is_op(b'.') {
            true => (name(sql, &last[1]), &last[0]),
            false => (own.map(str::as_bytes), &last[2]),
        };
        let is_named = |text: &[u8]| text.eq_ignore_ascii_case(function.as_bytes());
        // Behind INTO it is a table with its columns.
        let is_call = token.is_op(b'(') && before.word != Word::Into;
        if let Some(called) = name(sql, &last[3]).filter(|_| is_call) {
            calls.unknown_at_most += usize::from(last[3].word == Word::None);
            calls.has_it |= within == schema.map(str::as_bytes) && is_named(called);
        }
        last = [last[1], last[2], last[3], token];
    }
    Some(calls)
}

fn finds_first(word: Word) -> bool {
    use Word::{Delete, Do, Insert, Replace, Select, Update, Values, With};
    matches!(word, Delete | Do | Insert | Replace | Select | Update | Values | With)
}

fn is_end(token: &Token) -> bool {
    token.kind == Kind::End || token.is_op(b'(') || token.is_op(b';')
}

/// A name without its quotes.
fn name<'s>(sql: &'s [u8], token: &Token) -> Option<&'s [u8]> {
    let text = &sql[token.start..token.end];
    match token.kind {
        Kind::Word => Some(text),
        Kind::Quoted => text.get(1..text.len() - 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_behind_call_is_the_name() {
        for (sql, schema, procedure) in [
            ("CALL p()", None, "p"),
            ("/* x */ call `p`", None, "p"),
            ("CALL shop . `p 2` ('q', f())", Some("shop"), "p 2"),
            ("CALL p; SELECT 1", None, "p"),
        ] {
            let expected = Some((schema.map(str::as_bytes), procedure.as_bytes()));
            assert_eq!(called(sql.as_bytes(), Mode::default()), expected, "{sql}");
        }
        for sql in [
            "CALL shop.pack.p()",
            "CALL",
            "CALL 'p'()",
            "SELECT p()",
            "BEGIN NOT ATOMIC CALL p(); END",
            "SET STATEMENT max_statement_time = 1 FOR CALL p()",
        ] {
            assert_eq!(called(sql.as_bytes(), Mode::default()), None, "{sql}");
        }
    }

    #[test]
    fn procedures_are_named_wherever_call_stands() {
        for (sql, names) in [
            ("CALL p(); SELECT 1", &["p"][..]),
            ("BEGIN NOT ATOMIC CALL `a-b`; call s . q(1); END", &["a-b", "s.q"]),
            ("EXECUTE IMMEDIATE 'CALL p'", &["p"]),
            ("SET STATEMENT max_statement_time = 1 FOR CALL p()", &["p"]),
            ("SELECT recall, called, x.call FROM t", &[]),
            ("SELECT 'écall p', $call, call$ p", &[]),
            ("CALL", &[]),
            ("CALL p(); CALL s.p(); -- call p", &["p", "s.p"]),
            ("CALL \"p 2\"(1)", &["p 2"]),
            ("DO 'call me. 5', 'call: @a'", &[]),
        ] {
            let calls = calls_in(sql.as_bytes(), Mode::default(), 8);
            assert!(calls.are_all, "{sql}");
            let found = calls.names.into_iter().map(|(schema, name)| {
                let text = |bytes| std::str::from_utf8(bytes).unwrap();
                let schema = schema.map(|schema| format!("{}.", text(schema)));
                format!("{}{}", schema.unwrap_or_default(), text(name))
            });
            assert_eq!(found.collect::<Vec<_>>(), names, "{sql}");
        }
    }

    #[test]
    fn what_may_call_more_than_it_names_says_so() {
        let nine: String = (0..9).map(|number| format!("CALL p{number}();")).collect();
        let padded = |blanks| format!("CALL /*{}*/ p()", " ".repeat(blanks));
        for (sql, count) in [
            ("CALL shop.pack.p()", 1),
            (&*nine, 8),
            (&format!("{}CALL p()", " ".repeat(LOOKED_AT)), 0),
            (&padded(NAME_MAX), 0),
            (&padded(NAME_MAX - 12), 1),
        ] {
            let calls = calls_in(sql.as_bytes(), Mode::default(), 8);
            assert_eq!((calls.names.len(), calls.are_all), (count, false), "{sql}");
        }
        let foreign = Mode { charset: Charset::Foreign, ..Mode::default() };
        assert!(!calls_in(b"CALL p()", foreign, 8).are_all);
    }

    #[test]
    fn a_function_is_called_where_a_parenthesis_follows_its_name() {
        let all =
            |sql: &str, own| own_calls(sql.as_bytes(), Mode::default(), own, (Some("shop"), "f"));
        let calls = |sql: &str, own| all(sql, own).is_some_and(|calls| calls.has_it);
        for sql in [
            "SELECT F(1)",
            "SELECT a, `f` () FROM t",
            "SELECT 1 WHERE shop.f(2) > 1",
            "INSERT INTO t VALUES (1, f(1))",
            "(SELECT f(1)) UNION SELECT 2",
            "DO g(), f()",
        ] {
            assert!(calls(sql, Some("shop")), "{sql}");
        }
        assert!(calls("SELECT shop.f(1)", None) && !calls("SELECT f(1)", None));
        let found = own_calls(b"SELECT f(1)", Mode::default(), None, (None, "f"));
        assert!(found.is_some_and(|calls| calls.has_it));
        for (sql, count) in [("SELECT shop.f(1) FROM t", 1), ("SELECT g(), shop.f(1)", 2)] {
            let expected = OwnCalls { has_it: true, unknown_at_most: count };
            assert_eq!(all(sql, None), Some(expected), "{sql}");
        }
        for sql in [
            "SELECT other.f(1)",
            "SELECT g('f(1)') /* f(1) */",
            "SELECT f, g(1)",
            "CALL f(1)",
            "SET @a = f(1)",
            "BEGIN NOT ATOMIC DO 1; SELECT f(1); END",
            "INSERT INTO f (a) VALUES (g())",
            "INSERT INTO shop.f (a) VALUES (g())",
        ] {
            assert!(!calls(sql, Some("shop")), "{sql}");
        }
    }
}
