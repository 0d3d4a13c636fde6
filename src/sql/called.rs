//! Which procedure a CALL is of.

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
}
