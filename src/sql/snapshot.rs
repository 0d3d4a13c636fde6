//! Which reads have surely looked at rows: with the first of them InnoDB settles what later reads of its
//! transaction see.

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

/// Whether `sql`, which has run without an error, has surely looked for rows in a table, as far as its text tells: it
/// is a query, names a table, and has no condition or LIMIT with which servers do not look at all.
pub fn reads_rows(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode);
    let tokens: Vec<Token> = std::iter::from_fn(|| {
        let token = lexer.next();
        (!matches!(token.kind, Kind::End | Kind::Bad)).then_some(token)
    })
    .collect();
    let mut from = tokens.iter().skip_while(|token| token.is_op(b'('));
    let is_query = from.next().is_some_and(|first| {
        matches!(first.word, Word::Select | Word::With | Word::Values | Word::Table)
    });
    let text = |token: &Token| &sql[token.start..token.end];
    let behind = |at: usize| tokens.get(at + 1..).unwrap_or_default();
    let mut names_table = false;
    // One of several queries says nothing of the others, nor does one in parentheses.
    let are_several = tokens
        .iter()
        .any(|token| matches!(token.word, Word::Union | Word::Except | Word::Intersect));
    let opened = tokens.iter().take_while(|token| token.is_op(b'(')).count();
    let (mut depth, mut is_between) = (0, false);
    for (at, token) in tokens.iter().enumerate() {
        depth += usize::from(token.is_op(b'('));
        depth -= usize::from(token.is_op(b')')).min(depth);
        let is_main = depth <= opened && !are_several;
        let ends_between = token.word == Word::And && std::mem::take(&mut is_between);
        is_between |= token.word == Word::Between;
        match token.word {
            Word::From | Word::Join | Word::StraightJoin | Word::Table => {
                names_table |= begins_with_table(behind(at), text);
            }
            Word::Limit if is_main && is_none(behind(at), text) => return false,
            Word::Where | Word::And | Word::Having
                if is_main && !ends_between && is_false(behind(at), text) =>
            {
                return false;
            }
            _ => {}
        }
    }
    is_query && names_table
}

/// Whether what follows a FROM is a table's name, and neither DUAL nor the argument of a function.
fn begins_with_table<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let is_call = rest.get(1).is_some_and(|next| next.is_op(b'('));
    rest.first()
        .is_some_and(|name| name.is_name() && !text(name).eq_ignore_ascii_case(b"dual") && !is_call)
}

/// Whether what follows a LIMIT asks for no rows.
fn is_none<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let is_pair = rest.get(1).is_some_and(|next| next.is_op(b','));
    rest.get(if is_pair { 2 } else { 0 }).is_some_and(|count| text(count) == b"0")
}

/// Whether a condition that `rest` begins with, and that has no alternative, is false whatever the rows are: `1=0`, as
/// ORMs write an empty list.
fn is_false<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let opened = rest.iter().take_while(|token| token.is_op(b'(')).count();
    let rest = &rest[opened..];
    let ends = |at: usize| {
        let closed = rest.iter().skip(at).take_while(|token| token.is_op(b')')).count();
        if closed < opened {
            return false;
        }
        rest.get(at + closed).is_none_or(|next| match next.kind {
            Kind::Word => !matches!(
                next.word,
                Word::Or | Word::Xor | Word::Is | Word::In | Word::Between | Word::Div | Word::Mod
            ),
            _ => next.is_op(b')') || next.is_op(b';'),
        })
    };
    let Some(first) = rest.first() else { return false };
    let is_word = |word: &[u8]| text(first).eq_ignore_ascii_case(word);
    if ends(1) && (text(first) == b"0" || is_word(b"false") || is_word(b"null")) {
        return true;
    }
    let [left, op, right, ..] = rest else { return false };
    let are_numbers = left.kind == Kind::Number && right.kind == Kind::Number;
    let is_same = text(left) == text(right);
    are_numbers
        && ends(3)
        && match text(op) {
            b"=" => !is_same,
            b"<>" | b"!=" => is_same,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_have_looked_at_rows_are_told_from_those_that_need_not_have() {
        for (sql, reads) in [
            ("SELECT a FROM t", true),
            ("(SELECT a FROM t)", true),
            ("WITH c AS (SELECT a FROM t) SELECT * FROM c", true),
            ("SELECT 1 FROM (SELECT 1) x STRAIGHT_JOIN `t`", true),
            ("TABLE t", true),
            ("SELECT a FROM t WHERE 1=1 AND b = 0 LIMIT 0, 5", true),
            ("SELECT a FROM t WHERE 1 = 0 OR b = 3", true),
            ("SELECT a FROM t WHERE 0 + b > 1", true),
            ("SELECT a FROM t WHERE 0 IN (b)", true),
            ("SELECT a FROM t LIMIT 10 OFFSET 0", true),
            ("SELECT a FROM t WHERE a = 0", true),
            ("SELECT a FROM t WHERE b BETWEEN -10 AND 0", true),
            ("SELECT a FROM t WHERE (b AND 0) OR c", true),
            ("SELECT a FROM t WHERE (1 <> 1) OR c", true),
            ("SELECT a FROM t UNION ALL SELECT a FROM u WHERE 1=0", true),
            ("SELECT a FROM t LEFT JOIN u ON FALSE", true),
            ("SELECT a FROM t WHERE a NOT IN (SELECT a FROM u LIMIT 0)", true),
            ("(SELECT a FROM t WHERE 1=0)", false),
            ("SELECT 1", false),
            ("SELECT NOW() < 0", false),
            ("SELECT 1 FROM DUAL", false),
            ("SELECT 1 FROM (SELECT 1) x", false),
            ("SELECT EXTRACT(YEAR FROM NOW())", false),
            ("VALUES (1)", false),
            ("EXPLAIN SELECT a FROM t", false),
            ("SHOW COLUMNS FROM t", false),
            ("DESCRIBE t", false),
            ("SELECT a FROM t LIMIT 0", false),
            ("SELECT a FROM t LIMIT 5, 0", false),
            ("SELECT a FROM t WHERE 1=0", false),
            ("SELECT COUNT(*) FROM t WHERE (1 <> 1) AND a = 1", false),
            ("SELECT a FROM t WHERE b = 1 AND 0 = 1 ORDER BY a", false),
            ("SELECT a FROM t WHERE FALSE", false),
            ("SELECT a FROM t WHERE 0 GROUP BY a", false),
            ("", false),
        ] {
            assert_eq!(reads_rows(sql.as_bytes(), Mode::default()), reads, "{sql}");
        }
    }
}
