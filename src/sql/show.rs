//! Statements that look at the server: SHOW, EXPLAIN, DESCRIBE, ANALYZE, GET DIAGNOSTICS.

use std::ops::Range;

use super::classify::{Classifier, Context};
use super::effect::Outcome;
use super::lexer::Lexer;
use super::mode::Mode;
use super::token::Kind;
use super::verdict::{Class, Effects, Needs, Reason};
use super::word::Word;

/// What a SHOW tells of its own connection or of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// `SHOW [FULL] PROCESSLIST`.
    Processes,
    /// `SHOW [SESSION] STATUS`.
    Status,
}

/// What the statement `sql` shows of connections, if it is nothing else.
pub fn shown(sql: &[u8], mode: Mode) -> Option<Shown> {
    let mut lexer = Lexer::new(sql, mode);
    let is_show = lexer.next().word == Word::Show;
    let mut what = lexer.next();
    if matches!(what.word, Word::Full | Word::Session | Word::Local) {
        what = lexer.next();
    }
    match &sql[what.start..what.end] {
        word if !is_show || word.is_empty() => None,
        word if word.eq_ignore_ascii_case(b"processlist") => Some(Shown::Processes),
        word if word.eq_ignore_ascii_case(b"status") => Some(Shown::Status),
        _ => None,
    }
}

/// The literal id of the connection whose plan `sql` asks for, and where it stands: EXPLAIN FOR
/// CONNECTION, SHOW EXPLAIN FOR, SHOW ANALYZE FOR.
pub fn explained_connection(sql: &[u8], mode: Mode) -> Option<(Range<usize>, u64)> {
    let mut lexer = Lexer::new(sql, mode);
    let mut token = lexer.next();
    let is_show = token.word == Word::Show;
    if is_show {
        token = lexer.next();
    }
    let is_plan = match token.word {
        Word::Explain | Word::Analyze => true,
        Word::Describe | Word::Desc => !is_show,
        _ => false,
    };
    while is_plan && !matches!(token.kind, Kind::End | Kind::Bad) && token.word != Word::For {
        token = lexer.next();
    }
    if token.word != Word::For || !is_show && lexer.next().word != Word::Connection {
        return None;
    }
    let number = lexer.next();
    let end = lexer.next();
    let is_last = end.kind == Kind::End || end.is_op(b';') && lexer.next().kind == Kind::End;
    let range = number.start..number.end;
    let id = std::str::from_utf8(&sql[range.clone()]).ok()?.parse().ok()?;
    is_last.then_some((range, id))
}

/// Rows that the LIMIT of a SHOW WARNINGS leaves out, and the most it shows then.
pub fn list_limit(sql: &[u8], mode: Mode) -> (u64, u64) {
    const ALL: (u64, u64) = (0, u64::MAX);
    let mut lexer = Lexer::new(sql, mode);
    let mut tokens = std::iter::from_fn(|| {
        let token = lexer.next();
        (token.kind != Kind::End && !token.is_op(b';')).then_some(token)
    });
    if !tokens.any(|token| token.word == Word::Limit) {
        return ALL;
    }
    let mut number = || {
        let token = tokens.next()?;
        let number: u64 = std::str::from_utf8(&sql[token.start..token.end]).ok()?.parse().ok()?;
        Some((number, tokens.next()))
    };
    let Some((first, behind)) = number() else { return ALL };
    match behind {
        None => (0, first),
        Some(behind) => match number() {
            Some((second, None)) if behind.word == Word::Offset => (second, first),
            Some((second, None)) if behind.is_op(b',') => (first, second),
            _ => ALL,
        },
    }
}

/// The first byte of the pattern of `SHOW [SESSION] VARIABLES LIKE`, if that is in single quotes.
pub fn variables_like(sql: &[u8], mode: Mode) -> Option<u8> {
    let mut lexer = Lexer::new(sql, mode);
    let is_show = lexer.next().word == Word::Show;
    let mut what = lexer.next();
    if matches!(what.word, Word::Session | Word::Local) {
        what = lexer.next();
    }
    let is_variables = sql[what.start..what.end].eq_ignore_ascii_case(b"variables");
    if !is_show || !is_variables || lexer.next().word != Word::Like {
        return None;
    }
    let pattern = lexer.next();
    sql[pattern.start..pattern.end].strip_prefix(b"'")?.first().copied()
}

/// The text from the first `@@` to the end of the statement: the name of the column, if it is all that
/// is selected.
pub fn variable_written(sql: &[u8], mode: Mode) -> &[u8] {
    let mut lexer = Lexer::new(sql, mode);
    let mut found: Option<(usize, usize)> = None;
    loop {
        let token = lexer.next();
        match (token.kind, &mut found) {
            (Kind::End, _) => break,
            (Kind::Op, Some(_)) if token.is_op(b';') => break,
            (_, Some((_, end))) => *end = token.end,
            (Kind::SystemVariable, None) => found = Some((token.start, token.end)),
            _ => {}
        }
    }
    found.map_or(&[], |(start, end)| &sql[start..end])
}

impl Classifier<'_> {
    /// SHOW: the dictionary is the same everywhere, all else speaks of one server.
    pub(super) fn show(&mut self) -> Outcome {
        self.skip();
        while matches!(self.ahead.word, Word::Full | Word::Extended) {
            self.skip();
        }
        match self.ahead.word {
            Word::Tables
            | Word::Columns
            | Word::Fields
            | Word::Index
            | Word::Indexes
            | Word::Keys
            | Word::Databases
            | Word::Schemas => {
                while !self.at_end() {
                    if self.step().word == Word::Select {
                        // A subquery in it locks the rows it reads (MariaDB 10.11).
                        self.found.note(Reason::LockingClause);
                    }
                }
                self.found.read(Reason::DictionaryRead)
            }
            Word::Create => {
                self.skip();
                if matches!(self.ahead.word, Word::Table | Word::View) {
                    self.step_to_end();
                    return self.found.read(Reason::DictionaryRead);
                }
                self.context = Context::Write;
                self.step_to_end();
                self.found.write(Reason::ServerSpecific)
            }
            Word::Warnings | Word::Errors => self.diagnostics(),
            Word::Count => {
                while !self.at_end() && !matches!(self.ahead.word, Word::Warnings | Word::Errors) {
                    self.skip();
                }
                if self.at_end() { self.not_understood() } else { self.diagnostics() }
            }
            _ => {
                self.context = Context::Write;
                if !matches!(self.ahead.word, Word::Global) {
                    self.shown_variables();
                }
                self.step_to_end();
                self.found.write(Reason::ServerSpecific)
            }
        }
    }

    /// `[SESSION | LOCAL] VARIABLES`: the trackers may be among them, whatever the pattern, of
    /// which a cached verdict knows nothing.
    fn shown_variables(&mut self) {
        if matches!(self.ahead.word, Word::Session | Word::Local) {
            self.skip();
        }
        if self.bytes(&self.ahead).eq_ignore_ascii_case(b"variables") {
            self.found.needs |= Needs::TRACKERS;
        }
    }

    fn diagnostics(&mut self) -> Outcome {
        self.found.needs |= Needs::DIAGNOSTICS;
        self.skip_to_end();
        self.found.unless_doubtful((Class::Diagnostics, Reason::Diagnostics))
    }

    /// GET `[CURRENT | STACKED]` DIAGNOSTICS: fills user variables.
    pub(super) fn get_diagnostics(&mut self) -> Outcome {
        self.skip();
        if matches!(self.ahead.word, Word::Current | Word::Stacked) {
            self.skip();
        }
        if !self.skip_word(Word::Diagnostics) {
            return self.not_understood();
        }
        while !self.at_end() {
            if self.ahead.kind == Kind::UserVariable {
                self.found.effects |= Effects::USER_VARIABLE;
            }
            self.skip();
        }
        self.diagnostics()
    }

    /// ANALYZE TABLE, or MariaDB's ANALYZE of a statement, which runs it.
    pub(super) fn analyze(&mut self) -> Outcome {
        self.skip();
        if matches!(self.ahead.word, Word::Table | Word::Tables | Word::Local | Word::NoWrite) {
            self.found.effects |= Effects::IMPLICIT_COMMIT;
            self.skip_to_end();
            return self.found.write(Reason::NotARead);
        }
        self.explained(true)
    }

    /// EXPLAIN, DESCRIBE, DESC: of a statement or of a table.
    pub(super) fn explain(&mut self) -> Outcome {
        self.skip();
        self.explained(false)
    }

    fn explained(&mut self, mut runs: bool) -> Outcome {
        loop {
            match self.ahead.word {
                Word::Extended | Word::Partitions | Word::Analyze => {
                    runs |= self.skip().word == Word::Analyze;
                }
                Word::Into => {
                    self.step();
                    if self.at_end() {
                        return self.not_understood();
                    }
                    self.step();
                }
                Word::Format => {
                    self.skip();
                    if self.ahead.is_op(b'=') {
                        self.skip();
                        if self.at_end() {
                            return self.not_understood();
                        }
                        self.skip();
                    }
                }
                Word::For => {
                    self.skip();
                    let of = self.bytes(&self.ahead);
                    let is_schema = [&b"schema"[..], b"database"];
                    if !is_schema.iter().any(|word| of.eq_ignore_ascii_case(word)) {
                        self.skip_to_end();
                        return self.found.write(Reason::ServerSpecific);
                    }
                    self.skip();
                    if self.at_end() {
                        return self.not_understood();
                    }
                    self.skip();
                }
                _ => break,
            }
        }
        self.first = self.ahead.word;
        match self.ahead.word {
            Word::Insert | Word::Replace => self.insert(),
            Word::Update => self.change(Context::ReportsInsertId),
            Word::Delete => self.change(Context::Write),
            Word::Select | Word::With | Word::Values | Word::Table => {
                self.step_to_end();
                if runs || !self.found.is_from_table {
                    self.found.effects |= Effects::COUNTS_ROWS;
                }
                return self.found.read(Reason::PlainRead);
            }
            _ if self.ahead.is_op(b'(') => {
                self.step_to_end();
                return self.found.read(Reason::PlainRead);
            }
            _ if self.ahead.is_name() || self.at_end() => {
                self.step_to_end();
                return self.found.read(Reason::DictionaryRead);
            }
            _ => return self.not_understood(),
        };
        // What is run may set an insert id, and no OK packet tells it.
        self.found.write(if runs { Reason::NotARead } else { Reason::WrapsWrite })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_plan_is_asked_for_is_known_by_a_literal_id() {
        for (sql, id) in [
            ("EXPLAIN FOR CONNECTION 7", Some(7)),
            ("explain format = json for connection /* a */ 1073741999 ;", Some(1_073_741_999)),
            ("DESC FOR CONNECTION 7", Some(7)),
            ("SHOW EXPLAIN FOR 7", Some(7)),
            ("SHOW ANALYZE FORMAT=JSON FOR 7 -- 8", Some(7)),
            ("SHOW EXPLAIN FOR 7 + 1", None),
            ("SHOW EXPLAIN FOR 'x'", None),
            ("EXPLAIN FOR SCHEMA s SELECT 7", None),
            ("EXPLAIN SELECT 7 FOR UPDATE", None),
            ("SHOW PROCESSLIST", None),
            ("SHOW EXPLAIN FOR 7; SELECT 1", None),
        ] {
            let found = explained_connection(sql.as_bytes(), Mode::default());
            assert_eq!(found.as_ref().map(|(_, id)| *id), id, "{sql}");
            if let Some((range, id)) = found {
                assert_eq!(&sql[range], id.to_string());
            }
        }
    }

    #[test]
    fn limits_are_read_in_every_form_and_not_in_comments() {
        for (sql, expected) in [
            ("show warnings", (0, u64::MAX)),
            ("SHOW WARNINGS\nLIMIT 3;", (0, 3)),
            ("show errors limit 2,5", (2, 5)),
            ("show errors limit 2 , 5 ;", (2, 5)),
            ("show warnings limit 5 offset 2", (2, 5)),
            ("show warnings limit/**/5/**/offset/* 7 */2 -- limit 9", (2, 5)),
            ("show warnings /* limit 1 */", (0, u64::MAX)),
            ("/* limit 0 */ show warnings limit 1 # trace", (0, 1)),
        ] {
            assert_eq!(list_limit(sql.as_bytes(), Mode::default()), expected, "{sql}");
        }
    }

    #[test]
    fn patterns_of_variables_are_not_those_of_comments() {
        for (sql, first) in [
            ("SHOW VARIABLES LIKE 'sql_mode'", Some(b's')),
            ("/* like 'x' */ show session variables like 'version%'", Some(b'v')),
            ("/* like 'x' */ SHOW VARIABLES LIKE \"session%\"", None),
            ("SHOW VARIABLES WHERE Variable_name LIKE 'v%'", None),
            ("SHOW VARIABLES -- LIKE 'v%'", None),
            ("SHOW STATUS LIKE 'v%'", None),
        ] {
            assert_eq!(variables_like(sql.as_bytes(), Mode::default()), first, "{sql}");
        }
    }

    #[test]
    fn a_variable_is_named_as_it_is_written() {
        for (sql, expected) in [
            ("/* a@b */ SELECT @@warning_count", "@@warning_count"),
            (
                "select /* @@a */ @@Session . warning_count /* b */ ; -- c",
                "@@Session . warning_count",
            ),
            ("SELECT 1", ""),
        ] {
            let written = variable_written(sql.as_bytes(), Mode::default());
            assert_eq!(written, expected.as_bytes(), "{sql}");
        }
    }
}
