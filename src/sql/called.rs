//! Which procedure a CALL is of, and which functions a SELECT calls by itself.

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

/// The procedure that `sql` calls, behind its schema if that is named; `None` for what does not begin
/// with CALL, or has a name of another form.
pub fn called(sql: &[u8], mode: Mode) -> Option<(Option<&[u8]>, &[u8])> {
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

/// Whether `sql` is a SELECT that calls the function of this name and schema itself, in a session with the
/// schema `own`: servers look for all of these before anything runs.
pub fn selects_function(
    sql: &[u8],
    mode: Mode,
    own: Option<&str>,
    (schema, function): (&str, &str),
) -> bool {
    let mut lexer = Lexer::new(sql, mode);
    let mut last = [Token::END, Token::END, lexer.next()];
    if last[2].word != Word::Select {
        return false;
    }
    while last[2].kind != Kind::End {
        let token = lexer.next();
        let within = match last[1].is_op(b'.') {
            true => name(sql, &last[0]),
            false => own.map(str::as_bytes),
        };
        let is_named = |text: &[u8]| text.eq_ignore_ascii_case(function.as_bytes());
        if token.is_op(b'(')
            && within == Some(schema.as_bytes())
            && name(sql, &last[2]).is_some_and(is_named)
        {
            return true;
        }
        last = [last[1], last[2], token];
    }
    false
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
    fn a_function_is_called_where_a_parenthesis_follows_its_name() {
        let calls =
            |sql: &str, own| selects_function(sql.as_bytes(), Mode::default(), own, ("shop", "f"));
        for sql in ["SELECT F(1)", "SELECT a, `f` () FROM t", "SELECT 1 WHERE shop.f(2) > 1"] {
            assert!(calls(sql, Some("shop")), "{sql}");
        }
        assert!(calls("SELECT shop.f(1)", None) && !calls("SELECT f(1)", None));
        for sql in [
            "SELECT other.f(1)",
            "SELECT g('f(1)') /* f(1) */",
            "SELECT f, g(1)",
            "CALL f(1)",
            "INSERT INTO t VALUES (f(1))",
        ] {
            assert!(!calls(sql, Some("shop")), "{sql}");
        }
    }
}
