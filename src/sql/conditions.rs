//! What a GET DIAGNOSTICS asks for.

use super::lexer::Lexer;
use super::mode::Mode;
use super::substitute::Substitution;
use super::token::{Kind, Token};
use super::word::Word;

/// What a GET DIAGNOSTICS asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Numbers of the statement: NUMBER, ROW_COUNT.
    Statement,
    /// One of its conditions.
    Condition,
}

/// What `sql` asks for, if it is a `GET [CURRENT] DIAGNOSTICS`.
pub fn diagnostics_asked(sql: &[u8], mode: Mode) -> Option<Asked> {
    let next = after_diagnostics(&mut Lexer::new(sql, mode))?;
    let is_condition = sql[next.start..next.end].eq_ignore_ascii_case(b"condition");
    Some(if is_condition { Asked::Condition } else { Asked::Statement })
}

/// The SET that gives user variables what a GET DIAGNOSTICS about the statement would give them;
/// `None` where it asks for anything else, or is not understood.
pub fn get_diagnostics_as_set(sql: &[u8], mode: Mode, values: &Substitution) -> Option<Vec<u8>> {
    let mut lexer = Lexer::new(sql, mode);
    let mut target = after_diagnostics(&mut lexer)?;
    let mut set = Vec::new();
    loop {
        let (equals, item) = (lexer.next(), lexer.next());
        if target.kind != Kind::UserVariable || !equals.is_op(b'=') {
            return None;
        }
        let value = match &sql[item.start..item.end] {
            name if name.eq_ignore_ascii_case(b"number") => {
                format!("CAST({} AS UNSIGNED)", values.warning_count)
            }
            name if name.eq_ignore_ascii_case(b"row_count") => values.row_count.to_string(),
            _ => return None,
        };
        set.extend_from_slice(if set.is_empty() { b"SET " } else { b"," });
        set.extend_from_slice(&sql[target.start..target.end]);
        set.extend_from_slice(format!("={value}").as_bytes());
        match lexer.next() {
            end if end.kind == Kind::End => return Some(set),
            comma if comma.is_op(b',') => target = lexer.next(),
            _ => return None,
        }
    }
}

fn after_diagnostics(lexer: &mut Lexer<'_>) -> Option<Token> {
    if lexer.next().word != Word::Get {
        return None;
    }
    let mut word = lexer.next();
    if word.word == Word::Current {
        word = lexer.next();
    }
    (word.word == Word::Diagnostics).then(|| lexer.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_statement_are_set() {
        let values = Substitution {
            row_count: -1,
            found_rows: 0,
            connection_id: 0,
            warning_count: 3,
            error_count: 0,
            last_gtid: None,
        };
        let set = |sql: &str| {
            let text = get_diagnostics_as_set(sql.as_bytes(), Mode::default(), &values);
            text.map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        let text = set("GET CURRENT DIAGNOSTICS @n = NUMBER, @`r` = row_count");
        assert_eq!(text.as_deref(), Some("SET @n=CAST(3 AS UNSIGNED),@`r`=-1"));
        for other in [
            "GET DIAGNOSTICS CONDITION 1 @a = MESSAGE_TEXT",
            "GET STACKED DIAGNOSTICS @n = NUMBER",
            "GET DIAGNOSTICS @n = NUMBER; SELECT 1",
            "GET DIAGNOSTICS @n",
            "GET DIAGNOSTICS n = NUMBER",
            "SELECT 1",
        ] {
            assert_eq!(set(other), None, "{other}");
        }
        let asked = |sql: &str| diagnostics_asked(sql.as_bytes(), Mode::default());
        assert_eq!(asked("get diagnostics condition 1 @a = x"), Some(Asked::Condition));
        assert_eq!(asked("GET DIAGNOSTICS @n = NUMBER"), Some(Asked::Statement));
        assert_eq!(asked("SHOW WARNINGS"), None);
    }
}
