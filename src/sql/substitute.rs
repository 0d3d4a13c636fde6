//! The session's own values in place of functions that ask the connection.

use super::lexer::{Kind, Lexer, Token};
use super::mode::Mode;
use super::verdict::Needs;

/// What to write for the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Substitution {
    /// For ROW_COUNT().
    pub row_count: i64,
    /// For FOUND_ROWS().
    pub found_rows: u64,
    /// For CONNECTION_ID().
    pub connection_id: u64,
}

/// The text with literals for the calls in `wanted`; `None` when there are none. A call that is a
/// column of its own keeps its name.
pub fn substitute(sql: &[u8], mode: Mode, values: &Substitution, wanted: Needs) -> Option<Vec<u8>> {
    let mut lexer = Lexer::new(sql, mode);
    let mut out = Vec::new();
    let mut copied = 0;
    let mut depth = 0_usize;
    let mut first = true;
    let mut is_select = false;
    let mut before = None;
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End | Kind::Broken => break,
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.saturating_sub(1),
            Kind::Word => {
                if first {
                    is_select = token.is("select");
                    // The body of a routine keeps what it is written with.
                    if ["kill", "create", "alter", "begin"].iter().any(|word| token.is(word)) {
                        return None;
                    }
                }
                if let Some(literal) = literal(&token, values, wanted)
                    && let Some(close) = empty_call(&mut lexer)
                {
                    out.extend_from_slice(&sql[copied..token.start]);
                    out.extend_from_slice(literal.as_bytes());
                    if is_select && depth == 0 && starts_column(before) && ends_column(&lexer) {
                        out.extend_from_slice(b" AS `");
                        out.extend_from_slice(&sql[token.start..close]);
                        out.push(b'`');
                    }
                    copied = close;
                }
            }
            _ => {}
        }
        first = false;
        before = Some(token);
    }
    (copied > 0).then(|| {
        out.extend_from_slice(&sql[copied..]);
        out
    })
}

fn literal(token: &Token<'_>, values: &Substitution, wanted: Needs) -> Option<String> {
    if wanted.contains(Needs::ROW_COUNT) && token.is("row_count") {
        Some(format!("CAST({} AS SIGNED)", values.row_count))
    } else if wanted.contains(Needs::FOUND_ROWS) && token.is("found_rows") {
        Some(format!("CAST({} AS SIGNED)", values.found_rows))
    } else if wanted.contains(Needs::CONNECTION_ID) && token.is("connection_id") {
        Some(format!("CAST({} AS UNSIGNED)", values.connection_id))
    } else {
        None
    }
}

/// Passes `()`; the offset behind it.
fn empty_call(lexer: &mut Lexer<'_>) -> Option<usize> {
    let mut ahead = lexer.clone();
    if !ahead.next().is_punct(b'(') {
        return None;
    }
    let close = ahead.next();
    if !close.is_punct(b')') {
        return None;
    }
    *lexer = ahead;
    Some(close.end)
}

fn starts_column(before: Option<Token<'_>>) -> bool {
    before.is_some_and(|before| before.is("select") || before.is_punct(b','))
}

fn ends_column(lexer: &Lexer<'_>) -> bool {
    let next = lexer.clone().next();
    let ends = ["from", "limit", "where", "order", "group", "having", "union"];
    matches!(next.kind, Kind::End | Kind::Punct(b',' | b';'))
        || ends.iter().any(|word| next.is(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sql: &str) -> Option<String> {
        let values = Substitution { row_count: -1, found_rows: 7, connection_id: 42 };
        let substituted = substitute(sql.as_bytes(), Mode::default(), &values, Needs::all())?;
        Some(String::from_utf8(substituted).expect("text"))
    }

    #[test]
    fn calls_become_literals_and_columns_keep_their_names() {
        assert_eq!(
            run("SELECT row_count(), FOUND_ROWS( ) + 1 FROM t").as_deref(),
            Some("SELECT CAST(-1 AS SIGNED) AS `row_count()`, CAST(7 AS SIGNED) + 1 FROM t")
        );
        assert_eq!(
            run("SELECT CONNECTION_ID() AS id").as_deref(),
            Some("SELECT CAST(42 AS UNSIGNED) AS id")
        );
        assert_eq!(
            run("INSERT INTO t VALUES (connection_id(), 'found_rows()')").as_deref(),
            Some("INSERT INTO t VALUES (CAST(42 AS UNSIGNED), 'found_rows()')")
        );
        assert_eq!(run("SELECT 'row_count()'"), None);
        assert_eq!(run("KILL CONNECTION_ID()"), None);
    }
}
