//! The tables that a SELECT names.

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

/// Most of them that are told.
const NAMES_MAX: usize = 16;

/// A table's name, behind that of its schema where it is written.
pub type TableName<'a> = (Option<&'a [u8]>, &'a [u8]);

/// The names of all tables and views that the only statement of `sql`, a SELECT, reads. Names of other things may be
/// among them; `None` where one could be missed.
pub fn tables_read(sql: &[u8], mode: Mode) -> Option<Vec<TableName<'_>>> {
    let mut lexer = Lexer::new(sql, mode);
    let mut last = lexer.next();
    if last.word != Word::Select {
        return None;
    }
    let mut names = Vec::new();
    // Whether what stands now at each depth of parentheses is a list of tables.
    let mut lists = vec![false];
    let mut is_due = false;
    loop {
        let token = lexer.next();
        if is_due {
            is_due = false;
            *lists.last_mut()? = true;
            if token.is_op(b'(') {
                last = lexer.next();
                lists.push(false);
                if last.word != Word::Select {
                    return None;
                }
                continue;
            }
            names.push(table(sql, token, &mut lexer)?);
            if names.len() > NAMES_MAX {
                return None;
            }
        } else {
            match (token.kind, token.word) {
                (Kind::End, _) => return Some(names),
                (Kind::Bad, _) | (_, Word::Table) => return None,
                (_, Word::From | Word::Join | Word::StraightJoin) => is_due = true,
                // FOR ORDER BY and FOR GROUP BY are about an index, behind which the list goes on.
                (_, word) if ends_list(word) && last.word == Word::For => return None,
                (_, word) if ends_list(word) => *lists.last_mut()? = false,
                _ if token.is_op(b'(') => lists.push(false),
                _ if token.is_op(b')') => drop(lists.pop()),
                _ if token.is_op(b',') => is_due = *lists.last()?,
                _ => {}
            }
        }
        last = token;
    }
}

/// The name that begins with `first`.
fn table<'s>(sql: &'s [u8], first: Token, lexer: &mut Lexer<'_>) -> Option<TableName<'s>> {
    let outer = name(sql, &first)?;
    let mut ahead = lexer.clone();
    let next = ahead.next();
    if next.is_op(b'(') {
        // What makes rows: JSON_TABLE, LATERAL.
        return None;
    }
    if !next.is_op(b'.') {
        return Some((None, outer));
    }
    *lexer = ahead;
    Some((Some(outer), name(sql, &lexer.next())?))
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

fn ends_list(word: Word) -> bool {
    use Word::{Except, Group, Having, Intersect, Into, Limit, Order, Union, Where, Window};
    matches!(
        word,
        Except | Group | Having | Intersect | Into | Limit | Order | Union | Where | Window
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Option<String> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let names = tables_read(sql.as_bytes(), Mode::default())?;
        let names = names.into_iter().map(|(schema, name)| match schema {
            Some(schema) => format!("{}.{}", text(schema), text(name)),
            None => text(name),
        });
        Some(names.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn all_tables_of_a_select_are_told() {
        for (sql, expected) in [
            ("SELECT 1", ""),
            ("SELECT a, b FROM t WHERE a IN (1, 2) ORDER BY a, b LIMIT 1, 2", "t"),
            ("SELECT * FROM shop.t AS x, `u v` y JOIN w ON x.a = y.a, z", "shop.t u v w z"),
            ("SELECT (SELECT MAX(a) FROM i), b FROM (SELECT * FROM j, k) d, l", "i j k l"),
            ("SELECT * FROM t USE INDEX (a, b), u PARTITION (p, q), v FOR UPDATE", "t u v"),
            ("SELECT a FROM t UNION SELECT b, c FROM u GROUP BY b, c", "t u"),
            ("SELECT * FROM t LEFT JOIN u USING (a, b) WHERE EXISTS (SELECT 1 FROM v)", "t u v"),
            ("SELECT /*! a FROM */ t, u; ", "t u"),
        ] {
            assert_eq!(names(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_could_hide_one_tells_none() {
        for sql in [
            "TABLE t",
            "WITH c AS (SELECT 1) SELECT * FROM c",
            "SELECT * FROM (t, u)",
            "SELECT * FROM ((SELECT 1) UNION (SELECT 2)) d",
            "SELECT 1 UNION TABLE t",
            "SELECT * FROM { OJ t LEFT JOIN u ON 1 }",
            "SELECT * FROM t USE INDEX FOR ORDER BY (a), u",
            "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a INT PATH '$')) j, u",
            "INSERT INTO t SELECT * FROM u",
        ] {
            assert_eq!(names(sql), None, "{sql}");
        }
    }
}
