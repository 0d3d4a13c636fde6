//! Which statements mean the same in every schema.

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

/// Whether `sql` reads or changes rows and names the schema of each table in it. False where that is not sure: of tables
/// behind a comma, and of what asks for its schema.
pub fn names_schemas(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode);
    let mut token = lexer.next();
    let mut prev = Token::END;
    let mut needs_into = match token.word {
        Word::Select | Word::Delete | Word::Update => false,
        Word::Insert | Word::Replace => true,
        _ => return false,
    };
    // Whether tables are listed, in each parenthesis that is open.
    let mut lists = vec![false];
    loop {
        let next = lexer.next();
        match token.word {
            Word::Database | Word::Schema | Word::Table => return false,
            Word::Update if matches!(prev.word, Word::For | Word::Key) => {}
            Word::From | Word::Join | Word::StraightJoin | Word::Into | Word::Update => {
                needs_into &= token.word != Word::Into;
                lists.last_mut().into_iter().for_each(|lists| *lists = true);
                if next.is_op(b'(') {
                    // Of a list of tables nothing is known.
                    let inner = lexer.next();
                    if inner.word != Word::Select {
                        return false;
                    }
                    lists.push(false);
                    (prev, token) = (next, inner);
                    continue;
                } else {
                    let is_qualified = next.is_name() && lexer.next().is_op(b'.');
                    prev = lexer.next();
                    if !is_qualified || !prev.is_name() {
                        return false;
                    }
                    token = lexer.next();
                    continue;
                }
            }
            Word::Where
            | Word::Group
            | Word::Having
            | Word::Order
            | Word::Limit
            | Word::Set
            | Word::Select
            | Word::Values => {
                lists.last_mut().into_iter().for_each(|lists| *lists = false);
            }
            _ => match token.kind {
                Kind::End => return !needs_into,
                Kind::Bad => return false,
                _ if token.is_op(b'(') => lists.push(false),
                _ if token.is_op(b')') => drop(lists.pop()),
                _ if token.is_op(b';') => return false,
                _ if token.is_op(b',') && lists.last() != Some(&false) => return false,
                _ => {}
            },
        }
        (prev, token) = (token, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_whose_tables_all_have_a_schema_are_told_from_others() {
        for (sql, all) in [
            ("SELECT a FROM shop.x WHERE a > ?", true),
            ("SELECT a, b FROM `shop`.`x` AS y JOIN shop.z ON y.a = z.a", true),
            ("SELECT a FROM (SELECT a FROM shop.x) y", true),
            ("SELECT a FROM shop.x FOR UPDATE", true),
            ("INSERT INTO shop.x VALUES (?)", true),
            ("INSERT INTO shop.x VALUES (1) ON DUPLICATE KEY UPDATE a = 2", true),
            ("UPDATE shop.x SET a = 1", true),
            ("DELETE FROM shop.x", true),
            ("SELECT ?, 2", true),
            ("SELECT a FROM x", false),
            ("SELECT a FROM (x)", false),
            ("SELECT a FROM (shop.a, b)", false),
            ("SELECT a FROM shop.a JOIN (x JOIN shop.y)", false),
            ("SELECT a FROM shop.x, y", false),
            ("SELECT a FROM shop.x y, z", false),
            ("SELECT a FROM shop.x JOIN y", false),
            ("SELECT DATABASE() FROM shop.x", false),
            ("SELECT EXTRACT(YEAR FROM a) FROM shop.x", false),
            ("INSERT x SELECT a FROM shop.x", false),
            ("INSERT INTO shop.x TABLE y", false),
            ("SELECT a FROM shop.x WHERE a NOT IN (TABLE y)", false),
            ("SELECT a FROM (TABLE y) x", false),
            ("SELECT a FROM shop.x UNION TABLE y", false),
            ("UPDATE x SET a = (SELECT a FROM shop.x)", false),
            ("SELECT a FROM shop.x USE INDEX (i), y", false),
            ("SELECT a FROM (SELECT b FROM shop.x WHERE b = 1) x, y", false),
            ("SELECT 1; SELECT a FROM x", false),
            ("CALL shop.p()", false),
            ("", false),
        ] {
            assert_eq!(names_schemas(sql.as_bytes(), Mode::default()), all, "{sql}");
        }
    }
}
