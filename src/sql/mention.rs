//! What a text has somewhere in it, be it in a comment or a literal: cheap, and never missed where it
//! stands. For questions of which a wrong yes costs little.

/// Whether a text has these letters anywhere, in whatever case.
pub fn mentions(sql: &[u8], letters: &[u8]) -> bool {
    sql.windows(letters.len()).any(|here| here.eq_ignore_ascii_case(letters))
}

/// Whether a text has a word, in whatever case.
pub fn has_word(sql: &[u8], word: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii())
    };
    let is_here = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| sql.get(before));
        !is_part(before) && !is_part(sql.get(at + word.len()))
    };
    let mut found = sql.windows(word.len()).enumerate();
    found.any(|(at, here)| here.eq_ignore_ascii_case(word) && is_here(at))
}

/// Whether a hint may set variables for a statement alone (MySQL).
pub fn has_set_var(sql: &[u8]) -> bool {
    set_var_hints(sql).next().is_some()
}

/// Whether a hint sets one of these variables for its statement (MySQL).
pub fn sets_by_hint(sql: &[u8], names: &[&str]) -> bool {
    set_var_hints(sql).any(|rest| {
        // Blanks, a parenthesis and a quote, of whatever kind.
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let Some(begin) = rest.iter().position(is_name) else { return false };
        let name = &rest[begin..];
        let end = name.iter().position(|byte| !is_name(byte)).unwrap_or(name.len());
        names.iter().any(|known| name[..end].eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// What follows each SET_VAR of a text.
fn set_var_hints(sql: &[u8]) -> impl Iterator<Item = &[u8]> {
    const HINT: &[u8] = b"SET_VAR";
    memchr::memchr_iter(b'_', sql).filter_map(|at| {
        let begin = at.checked_sub(3)?;
        let (hint, rest) = sql.get(begin..)?.split_at_checked(HINT.len())?;
        hint.eq_ignore_ascii_case(HINT).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        for (text, word, is_there) in [
            ("CALL p()", "call", true),
            ("/* a */call`p`", "call", true),
            ("SELECT callsign, recall FROM t", "call", false),
            ("CALL p2()", "p", false),
            ("CALL p", "p", true),
        ] {
            assert_eq!(has_word(text.as_bytes(), word.as_bytes()), is_there, "{text}");
        }
    }

    #[test]
    fn hints_tell_what_they_set() {
        let sql = b"SELECT /*+ set_var( `timestamp` = 1) SET_VAR(sql_mode='') */ 1";
        assert!(has_set_var(sql) && sets_by_hint(sql, &["insert_id", "TIMESTAMP"]));
        assert!(!sets_by_hint(sql, &["time", "insert_id"]));
        assert!(!has_set_var(b"SELECT set_va, _var"));
    }
}
