//! User variables that a text names.

use memchr::{memchr, memchr_iter};

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::Kind;
use super::verdict::Effects;

/// Whether a text names a user variable, which it may make when it is prepared: with a type, and no value yet.
pub fn names_variable(sql: &[u8], mode: Mode) -> bool {
    names_other_variable(sql, mode, |_| false)
}

/// Whether a text names a user variable that is not `known` by its name: with the @, in lower case.
pub fn names_other_variable(sql: &[u8], mode: Mode, known: impl Fn(&str) -> bool) -> bool {
    // Tables and a SHOW of that name list all there are.
    const LIST: &[u8] = b"user_variables";
    let mut lists = memchr_iter(b'_', sql).filter_map(|at| sql.get(at.checked_sub(4)?..at + 10));
    if lists.any(|word| word.eq_ignore_ascii_case(LIST)) {
        return true;
    }
    if memchr(b'@', sql).is_none() {
        return false;
    }
    let mut lexer = Lexer::new(sql, mode);
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return false,
            Kind::UserVariable => {
                let name = std::str::from_utf8(&sql[token.start..token.end]);
                if !name.is_ok_and(|name| known(&name.to_ascii_lowercase())) {
                    return true;
                }
            }
            // Whatever comes behind it may be one.
            Kind::Bad => return true,
            _ => {}
        }
    }
}

/// The user variable whose text the only statement of `sql` prepares, or runs at once: with the @, in lower case.
pub fn variable_prepared(sql: &[u8], mode: Mode) -> Option<String> {
    let mut lexer = Lexer::new(sql, mode);
    let mut next = || {
        let token = lexer.next();
        (token.kind, sql[token.start..token.end].to_ascii_lowercase())
    };
    let is_at_once = match &*next().1 {
        b"prepare" => false,
        b"execute" => true,
        _ => return None,
    };
    let (_, name) = next();
    if is_at_once && name != b"immediate" || !is_at_once && next().1 != b"from" {
        return None;
    }
    let (Kind::UserVariable, variable) = next() else { return None };
    let is_whole = match next() {
        (Kind::End, _) => true,
        (Kind::Op, text) if text == b";" => next().0 == Kind::End,
        (Kind::Word, word) => is_at_once && word == b"using",
        _ => false,
    };
    String::from_utf8(variable).ok().filter(|_| is_whole)
}

/// Whether a text calls a routine of a package, as far as its own names tell (MariaDB).
pub fn calls_package(sql: &[u8], mode: Mode) -> bool {
    let may_call = mode.mariadb && memchr(b'.', sql).is_some();
    may_call && super::classify(sql, mode).effects.contains(Effects::PACKAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_strings_and_of_the_server_are_none() {
        let names = |sql: &str| {
            names_other_variable(sql.as_bytes(), Mode::default(), |name| name == "@known")
        };
        for sql in ["SELECT 1", "SELECT @@sql_mode, 'a@b.c'", "SELECT @Known + @known -- @x"] {
            assert!(!names(sql), "{sql}");
        }
        for sql in [
            "SHOW USER_VARIABLES",
            "SELECT @u",
            "SELECT @known, @`u v`",
            "SET @a = 1",
            "SELECT 1 /*! , @u */",
        ] {
            assert!(names(sql), "{sql}");
        }
    }

    #[test]
    fn the_text_of_one_variable_alone_is_prepared() {
        let prepared = |sql: &str| variable_prepared(sql.as_bytes(), Mode::default());
        for sql in ["PREPARE s FROM @Q", "prepare `s` from /* a */ @q;", "EXECUTE IMMEDIATE @q"] {
            assert_eq!(prepared(sql).as_deref(), Some("@q"), "{sql}");
        }
        assert_eq!(prepared("EXECUTE IMMEDIATE @q USING 1").as_deref(), Some("@q"));
        for sql in [
            "",
            "PREPARE s FROM 'SELECT @q'",
            "PREPARE s FROM @q; EXECUTE s",
            "EXECUTE IMMEDIATE @q || 'a'",
            "EXECUTE s USING @q",
            "EXECUTE IMMEDIATE CONCAT(@q)",
        ] {
            assert_eq!(prepared(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_routine_of_a_package_has_one_name_more() {
        let oracle = Mode { oracle: true, ..Mode::default() };
        let mysql = Mode { mariadb: false, ..Mode::default() };
        for (sql, is_in_oracle, is_in_others) in [
            ("SELECT p.f()", true, false),
            ("SELECT a.b.c FROM t WHERE p.f(1) = 2", true, false),
            ("SELECT s . `p` . f (1)", true, true),
            ("CALL p.f(1)", true, false),
            ("CALL s.p.f", true, true),
            ("BEGIN NOT ATOMIC SELECT 1; CALL s.p.f(); END", true, true),
            ("SELECT f(), COUNT(*), a.b, s.t.c FROM s.t WHERE (1)", false, false),
            ("SELECT s.t.c IN (1), s.t.c AND (1)", false, false),
            ("SELECT s.t.*, p.f(1) FROM s.t", true, false),
            ("CALL f()", false, false),
        ] {
            assert_eq!(calls_package(sql.as_bytes(), oracle), is_in_oracle, "{sql}");
            assert_eq!(calls_package(sql.as_bytes(), Mode::default()), is_in_others, "{sql}");
            assert!(!calls_package(sql.as_bytes(), mysql), "{sql}");
        }
    }
}
