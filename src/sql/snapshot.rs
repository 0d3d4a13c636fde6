//! Which reads have looked at rows: with the first of them InnoDB settles what later reads of its
//! transaction see.

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

/// Whether a transaction has its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Snapshot {
    /// It has none.
    #[default]
    None,
    /// Its servers may have worked out all they were asked without a look at rows, or not.
    Perhaps,
    /// It has.
    Taken,
}

/// What `sql`, a read that was run, means for the snapshot of its transaction. It has surely looked at rows if it begins with
/// SELECT, its own FROM begins with a table, and no condition in it could be one that servers need no row for: `1=0`, as
/// ORMs write an empty list. What is in a WITH, in a query inside, or behind EXPLAIN, it need not have looked at.
pub fn snapshot_of(sql: &[u8], mode: Mode) -> Snapshot {
    let mut lexer = Lexer::new(sql, mode);
    let tokens: Vec<Token> = std::iter::from_fn(|| {
        let token = lexer.next();
        (!matches!(token.kind, Kind::End | Kind::Bad)).then_some(token)
    })
    .collect();
    let text = |token: &Token| &sql[token.start..token.end];
    let opened = tokens.iter().take_while(|token| token.is_op(b'(')).count();
    let tokens = &tokens[opened..];
    let first = tokens.first().map_or(Word::None, |first| first.word);
    let mut pairs = tokens.iter().zip(tokens.iter().skip(1));
    let names_table = pairs.any(|(token, next)| precedes_table(token) && !is_dual(text(next)));
    if first == Word::Show || !names_table {
        return Snapshot::None;
    }
    let is_plain = matches!(first, Word::Select | Word::Table)
        && own_table(tokens).is_some_and(|table| is_table(table, text))
        && !has_doubt(tokens, text);
    if is_plain { Snapshot::Taken } else { Snapshot::Perhaps }
}

fn precedes_table(token: &Token) -> bool {
    matches!(token.word, Word::From | Word::Table)
}

/// What follows the FROM of a query that `tokens` begin with, and not of one inside.
fn own_table(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.op {
            b'(' if token.kind == Kind::Op => depth += 1,
            b')' if token.kind == Kind::Op => depth = depth.checked_sub(1)?,
            _ if depth == 0 && precedes_table(token) => return tokens.get(at + 1..),
            _ => {}
        }
    }
    None
}

fn is_dual(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"dual")
}

/// Whether `rest` begins with the name of a table: neither DUAL nor a function's.
fn is_table<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let is_call = rest.get(1).is_some_and(|next| next.is_op(b'('));
    rest.first().is_some_and(|name| name.is_name() && !is_dual(text(name)) && !is_call)
}

/// Whether a condition begins with a value and may be false by it, has NULL for one, or no rows are asked for.
fn has_doubt<'a>(tokens: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let (mut is_between, mut before, mut has_condition) = (false, Word::None, false);
    tokens.iter().enumerate().any(|(at, token)| {
        let rest = &tokens[at + 1..];
        let ends_between = token.word == Word::And && std::mem::take(&mut is_between);
        is_between |= token.word == Word::Between;
        let before = std::mem::replace(&mut before, token.word);
        has_condition |= matches!(token.word, Word::Where | Word::Having | Word::On);
        match token.word {
            Word::Limit => is_none(rest, &text),
            Word::Null => has_condition && !matches!(before, Word::Is | Word::Not),
            Word::And if ends_between => false,
            Word::Where | Word::Having | Word::On | Word::And if is_true(rest, &text) => false,
            Word::Where | Word::Having | Word::On | Word::And | Word::Or | Word::Xor => {
                begins_with_value(rest, &text)
            }
            _ => matches!(text(token), b"&&" | b"||") && begins_with_value(rest, &text),
        }
    })
}

/// Whether what follows is true whatever the rows are, and one of conditions that are all to be: `1=1`, with which texts
/// begin that are put together.
fn is_true<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let ends = |at: usize| {
        rest.get(at).is_none_or(|next| {
            matches!(next.word, Word::And | Word::Where | Word::Group | Word::Order | Word::Limit)
                || next.is_op(b')')
                || next.is_op(b';')
        })
    };
    let is_number = |token: &Token| token.kind == Kind::Number;
    match rest {
        [left, op, right, ..] if is_number(left) && text(op) == b"=" => {
            is_number(right) && text(left) == text(right) && ends(3)
        }
        [value, ..] => {
            (text(value) == b"1" || text(value).eq_ignore_ascii_case(b"true")) && ends(1)
        }
        [] => false,
    }
}

fn begins_with_value<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let is_before =
        |token: &&Token| token.word == Word::Not || matches!(token.op, b'(' | b'-' | b'!');
    let first = rest.iter().find(|token| !is_before(token));
    first.is_some_and(|first| {
        let is_word = |word: &[u8]| text(first).eq_ignore_ascii_case(word);
        first.is_literal() || is_word(b"true") || is_word(b"false")
    })
}

/// Whether what follows a LIMIT asks for no rows.
fn is_none<'a>(rest: &[Token], text: impl Fn(&Token) -> &'a [u8]) -> bool {
    let is_pair = rest.get(1).is_some_and(|next| next.is_op(b','));
    rest.get(if is_pair { 2 } else { 0 }).is_some_and(|count| text(count) == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_have_looked_at_rows_are_told_from_those_that_need_not_have() {
        use Snapshot::{None, Perhaps, Taken};
        for (snapshot, texts) in [
            (
                Taken,
                &[
                    "SELECT a FROM t",
                    "((SELECT a FROM t))",
                    "(SELECT a FROM t) UNION (SELECT 1)",
                    "SELECT 1 UNION SELECT a FROM t",
                    "TABLE t",
                    "SELECT EXTRACT(YEAR FROM a), (SELECT 1) FROM s.`t` x, (SELECT 1) y",
                    "SELECT a FROM t WHERE b = 0 AND (c > 1 OR NOT d) LIMIT 0, 5",
                    "SELECT a FROM t LIMIT 10 OFFSET 0",
                    "SELECT a FROM t WHERE b BETWEEN -10 AND 0 AND c",
                    "SELECT a FROM t WHERE 1=1 AND b = 7 OR c",
                    "SELECT a, IFNULL(b, NULL) FROM t JOIN u ON 1 = 1 WHERE TRUE AND a.c",
                    "SELECT a FROM t WHERE b IS NULL AND c IS NOT NULL AND d IN (?, 1)",
                    "SELECT a FROM t LEFT JOIN u ON t.a = u.a WHERE NOT EXISTS (SELECT 1 FROM u)",
                ][..],
            ),
            (
                Perhaps,
                &[
                    "WITH c AS (SELECT 1 AS a) SELECT a FROM c",
                    "SELECT EXTRACT(YEAR FROM CURRENT_DATE), TRIM(BOTH 0 FROM CURRENT_USER)",
                    "(SELECT 1) ORDER BY EXTRACT(YEAR FROM CURRENT_DATE)",
                    "EXPLAIN SELECT a FROM t",
                    "SELECT 1 FROM (SELECT a FROM t) x",
                    "SELECT a FROM (t, u)",
                    "SELECT EXISTS (SELECT a FROM t)",
                    "SELECT a FROM t UNION ALL SELECT a FROM u WHERE 1=0",
                    "SELECT a FROM t LEFT JOIN u ON FALSE",
                    "SELECT a FROM t, (SELECT a FROM u LIMIT 0) x",
                    "SELECT a FROM t LIMIT 0",
                    "SELECT a FROM t LIMIT 5, 0",
                    "SELECT a FROM t WHERE 1=0",
                    "SELECT a FROM t WHERE ((-1 > 2)) AND b = 7 OR c",
                    "SELECT a FROM t WHERE b = 1 AND NOT 'a' = 'a'",
                    "SELECT a FROM t WHERE b = 1 && TRUE",
                    "SELECT a FROM t WHERE 1=1 = b AND 1=1.0",
                    "SELECT a FROM t WHERE NOT 1=1 AND b",
                    "SELECT a FROM t WHERE 1=1 OR b",
                    "SELECT a FROM t WHERE b BETWEEN 1 AND 2 AND 0",
                    "SELECT a FROM t WHERE b OR ?",
                    "SELECT a FROM t WHERE b IN (NULL)",
                    "SELECT a FROM t WHERE NULL",
                    "SELECT a, b AND 0 FROM t",
                ],
            ),
            (
                None,
                &[
                    "SELECT 1",
                    "SELECT NOW() < 0",
                    "SELECT 1 FROM DUAL",
                    "VALUES (1)",
                    "SHOW COLUMNS FROM t",
                    "SHOW CREATE TABLE t",
                    "DESCRIBE t",
                    "",
                ],
            ),
        ] {
            for sql in texts {
                assert_eq!(snapshot_of(sql.as_bytes(), Mode::default()), snapshot, "{sql}");
            }
        }
    }
}
