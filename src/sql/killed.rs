//! Whose sessions a KILL USER ends (MariaDB).

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

/// Whose sessions a KILL ends, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KilledUser<'s> {
    /// Of this user, from this host: a text that is compared without letter case, and is no pattern; `None` for any.
    Named(&'s [u8], Option<&'s [u8]>),
    /// CURRENT_USER.
    Current,
}

/// Whose sessions `sql` ends; `None` for what is no KILL USER, for one that ends statements only
/// (QUERY), and for names with escapes.
pub fn killed_user(sql: &[u8], mode: Mode) -> Option<KilledUser<'_>> {
    let mut lexer = Lexer::new(sql, mode);
    if lexer.next().word != Word::Kill {
        return None;
    }
    let mut token = lexer.next();
    for words in [[Word::Hard, Word::Soft], [Word::Connection; 2]] {
        if words.contains(&token.word) {
            token = lexer.next();
        }
    }
    if token.word != Word::User {
        return None;
    }
    let name = lexer.next();
    let user = text(sql, &name)?;
    let next = lexer.next();
    if name.kind == Kind::Word && user.eq_ignore_ascii_case(b"current_user") {
        return Some(KilledUser::Current);
    }
    let is_last = next.kind == Kind::End || next.is_op(b';');
    match next.kind {
        _ if is_last => Some(KilledUser::Named(user, None)),
        Kind::UserVariable => {
            let host = without_quotes(&sql[next.start + 1..next.end])?;
            Some(KilledUser::Named(user, (host != b"%").then_some(host)))
        }
        _ => None,
    }
}

fn text<'s>(sql: &'s [u8], token: &Token) -> Option<&'s [u8]> {
    match token.kind {
        Kind::Word | Kind::Quoted | Kind::String => without_quotes(&sql[token.start..token.end]),
        _ => None,
    }
}

fn without_quotes(text: &[u8]) -> Option<&[u8]> {
    let Some(quote) = text.first().filter(|first| b"'\"`".contains(first)) else {
        return Some(text);
    };
    let inside = text.get(1..text.len() - 1)?;
    let is_plain = |byte: &u8| byte != quote && *byte != b'\\';
    inside.iter().all(is_plain).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_in_every_form() {
        use KilledUser::{Current, Named};
        for (sql, expected) in [
            ("KILL USER v3", Some(Named(b"v3", None))),
            ("kill /* a */ user `v3`;", Some(Named(b"v3", None))),
            ("KILL SOFT CONNECTION USER 'v3'@'%'", Some(Named(b"v3", None))),
            ("KILL HARD USER 'v 3'@`10.1.2.3`", Some(Named(b"v 3", Some(b"10.1.2.3")))),
            ("KILL USER v3@localhost", Some(Named(b"v3", Some(b"localhost")))),
            ("KILL USER v3@127.0.0.1", Some(Named(b"v3", Some(b"127.0.0.1")))),
            ("KILL USER CURRENT_USER()", Some(Current)),
            ("KILL USER 'current_user'", Some(Named(b"current_user", None))),
            ("KILL QUERY USER v3", None),
            ("KILL 5", None),
            ("KILL USER 'it''s'", None),
            ("SELECT 1", None),
        ] {
            assert_eq!(killed_user(sql.as_bytes(), Mode::default()), expected, "{sql}");
        }
    }
}
