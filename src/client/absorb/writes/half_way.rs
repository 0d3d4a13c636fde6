//! Errors after which something of a statement may have run.

use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::{Command, code};
use crate::sql::{Effects, Mode, called, has_word, own_calls};

/// Errors that come before anything of a statement has run: syntax, no schema, unknown routine,
/// no privilege. What runs statements of its own (a routine, EXECUTE) may have them in its midst.
pub(super) fn did_nothing(code: u16, effects: Effects) -> bool {
    comes_first(code) && !effects.contains(Effects::OPAQUE)
}

pub(super) fn comes_first(code: u16) -> bool {
    matches!(
        code,
        code::PARSE_ERROR
            | code::DBACCESS_DENIED
            | code::NO_DB
            | code::TABLEACCESS_DENIED
            | code::SP_DOES_NOT_EXIST
            | code::PROCACCESS_DENIED
    )
}

/// Whether something that `work` calls may have run before its error, in a session with this schema.
pub(in crate::client) fn may_be_half_way(
    work: &Work<'_>,
    summary: &Summary,
    schema: Option<&str>,
    mode: Mode,
) -> bool {
    let Some(code) = summary.error else { return false };
    if work.command == Command::StmtPrepare {
        // It runs nothing.
        return false;
    }
    if !comes_first(code) {
        return true;
    }
    if code == code::PARSE_ERROR {
        // In the midst only of what prepares texts. In this mode any block may, by a procedure that it names.
        const WORDS: [&[u8]; 4] = [b"call", b"execute", b"atomic", b"oracle"];
        return WORDS.iter().any(|word| has_word(work.sql, word))
            || mode.oracle && has_word(work.sql, b"end");
    }
    if work.verdict.statements != 1 {
        return true;
    }
    // What runs may fail so as well, but not about the procedure that it is, nor about a function that it
    // calls itself and servers look for first.
    let message = String::from_utf8_lossy(&summary.message);
    let Some((of, named)) = routine_in(&message) else { return true };
    let is_itself = || {
        called(work.sql, mode).is_some_and(|(within, procedure)| {
            within.or_else(|| schema.map(str::as_bytes)) == of.map(str::as_bytes)
                && procedure.eq_ignore_ascii_case(named.as_bytes())
        })
    };
    let calls = || own_calls(work.sql, mode, schema, (of, named));
    !match message.split(' ').next() {
        Some("FUNCTION") => calls().is_some_and(|calls| calls.has_it),
        // Privileges are looked at when it is its turn: others may have run before.
        _ => is_itself() || calls().is_some_and(|calls| calls.has_it && calls.unknown_at_most == 1),
    }
}

/// The routine that an error is about, behind its schema if that is told.
fn routine_in(message: &str) -> Option<(Option<&str>, &str)> {
    let named = match message.strip_suffix("'") {
        Some(quoted) => quoted.rsplit('\'').next()?,
        None => message.split(' ').nth(1)?,
    };
    let (schema, name) = match named.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, named),
    };
    (schema != Some("") && !name.is_empty()).then_some((schema, name))
}

#[cfg(test)]
mod tests {
    use super::routine_in;

    #[test]
    fn errors_name_their_routine() {
        for (message, name) in [
            ("PROCEDURE shop.p does not exist", Some((Some("shop"), "p"))),
            ("FUNCTION shop.f_1 does not exist", Some((Some("shop"), "f_1"))),
            ("FUNCTION f does not exist", Some((None, "f"))),
            (
                "execute command denied to user 'a'@'%' for routine 'shop.p'",
                Some((Some("shop"), "p")),
            ),
            ("", None),
        ] {
            assert_eq!(routine_in(message), name, "{message}");
        }
    }
}
