//! Statements that write or evaluate: DML, DDL, routines, and what names other statements.

use super::classify::{Classifier, Context};
use super::effect::Outcome;
use super::lexer::Lexer;
use super::mode::Mode;
use super::tables::is_expression;
use super::token::{Kind, Token};
use super::verdict::{Class, Effects, Reason};
use super::word::{Call, SessionCall, Word};

/// What a text that is run by PREPARE or EXECUTE changes for sessions to come.
pub fn defaults_of(text: &[u8], mode: Mode) -> Effects {
    let verdict = Classifier::new(text, mode).run();
    let found = verdict.effects & Effects::DEFAULTS;
    match verdict.reason {
        Reason::NotUnderstood => found | Effects::HIDDEN_TEXT,
        _ => found,
    }
}

impl Classifier<'_> {
    /// INSERT and REPLACE: the name of the table may stand before a list of columns.
    pub(super) fn insert(&mut self) -> Outcome {
        self.context = Context::ReportsInsertId;
        self.skip();
        while matches!(
            self.ahead.word,
            Word::LowPriority | Word::HighPriority | Word::Delayed | Word::Ignore | Word::Into
        ) {
            self.skip();
        }
        self.skip_name();
        self.step_to_end();
        if self.found.has_from {
            self.found.effects |= Effects::COUNTS_ROWS;
        }
        self.found.write(Reason::NotARead)
    }

    /// UPDATE and DELETE.
    pub(super) fn change(&mut self, context: Context) -> Outcome {
        self.context = context;
        self.skip();
        self.step_to_end();
        self.found.write(Reason::NotARead)
    }

    /// LOAD DATA, LOAD XML, LOAD INDEX.
    pub(super) fn load(&mut self) -> Outcome {
        self.context = Context::Write;
        self.skip();
        if !matches!(self.ahead.word, Word::Data | Word::Xml) {
            self.found.effects |= Effects::IMPLICIT_COMMIT;
            self.skip_to_end();
            return self.found.write(Reason::NotARead);
        }
        // Its OK packet does not tell the ids it gave.
        self.found.effects |= Effects::SETS_INSERT_ID;
        while !self.at_end() && self.ahead.word != Word::Table {
            if self.skip().word == Word::Local {
                self.found.effects |= Effects::LOCAL_INFILE;
            }
        }
        self.skip();
        self.skip_name();
        // A field may be read into a variable: (a, @b) SET c = @b
        self.may_set_variables();
        self.found.write(Reason::NotARead)
    }

    /// CALL: the procedure may do anything.
    pub(super) fn call(&mut self) -> Outcome {
        self.context = Context::Write;
        self.found.note_opaque();
        self.skip();
        let (_, parts) = self.skip_names();
        self.note_routine(parts);
        // An OUT argument sets it.
        self.may_set_variables();
        self.found.write(Reason::NotARead)
    }

    /// Steps to the end; every user variable on the way may be set.
    fn may_set_variables(&mut self) {
        while !self.at_end() {
            if self.step().kind == Kind::UserVariable {
                self.found.effects |= Effects::USER_VARIABLE;
            }
        }
    }

    /// DO: expressions for their effects.
    pub(super) fn evaluate(&mut self) -> Outcome {
        self.skip();
        self.step_to_end();
        self.found.note_counting();
        self.found.write(self.found.reason_or(Reason::NotARead))
    }

    /// PREPARE, EXECUTE, DEALLOCATE, HANDLER.
    pub(super) fn named(&mut self) -> Outcome {
        let first = self.skip().word;
        match first {
            Word::Prepare => self.found.effects |= Effects::SQL_PREPARE,
            Word::Execute => {
                // What it runs may do what no tracker reports.
                self.found.effects |= Effects::SQL_PREPARE;
                self.found.note_opaque();
            }
            Word::Handler => {
                self.skip_name();
                if self.ahead.word == Word::Open {
                    self.found.effects |= Effects::HANDLER;
                }
            }
            _ => {}
        }
        let is_immediate = first == Word::Execute && self.is_called(&self.ahead, b"immediate");
        let holds_text = matches!(first, Word::Prepare | Word::Execute);
        let (mut is_bare, mut is_shown) = (false, false);
        while !self.at_end() {
            let prev = self.prev;
            let token = self.step();
            if holds_text && token.kind == Kind::String {
                let follows = prev.word == Word::From || self.is_called(&prev, b"immediate");
                if follows && (self.at_end() || self.is_called(&self.ahead, b"using")) {
                    is_shown = true;
                    self.found.effects |= self.defaults_inside(&token);
                }
                let mut inside = inside(self.text, &token, self.mode);
                let word = inside.next().word;
                if word == Word::Kill {
                    self.found.effects |= Effects::KILL;
                }
                is_bare = first == Word::Prepare && is_expression(word) && has_no_from(inside);
            }
        }
        if (first == Word::Prepare || is_immediate) && !is_shown {
            self.found.effects |= Effects::HIDDEN_TEXT;
        }
        // The FROM of PREPARE itself names none.
        self.found.has_from &= !is_bare;
        self.found.is_from_table &= !is_bare;
        self.found.write(Reason::NotARead)
    }

    fn is_called(&self, token: &Token, word: &[u8]) -> bool {
        token.kind == Kind::Word && self.bytes(token).eq_ignore_ascii_case(word)
    }

    /// What the statement in a string changes for sessions to come.
    fn defaults_inside(&self, string: &Token) -> Effects {
        let text = &self.text[string.start..string.end];
        defaults_of(text.get(1..text.len() - 1).unwrap_or_default(), self.mode)
    }

    /// Steps over what may be any statement in the midst of a text.
    pub(super) fn step_in_block(&mut self) -> Token {
        let prev = self.prev.word;
        let token = self.step();
        let is_object = matches!(
            prev,
            Word::Create | Word::Replace | Word::Alter | Word::Drop | Word::Rename | Word::Default
        );
        self.found.effects |= match token.word {
            Word::Grant | Word::Revoke | Word::Privileges => Effects::SERVER_DEFAULTS,
            Word::Global | Word::Persist | Word::PersistOnly => Effects::SERVER_DEFAULTS,
            Word::Password if prev == Word::Set => Effects::SERVER_DEFAULTS,
            Word::Execute => Effects::HIDDEN_TEXT,
            word if is_object => defaults(word),
            _ if token.kind == Kind::SystemVariable && self.is_global(&token) => {
                Effects::SERVER_DEFAULTS
            }
            _ => Effects::empty(),
        };
        token
    }

    /// Whether the name behind `@@` is that of a global variable.
    fn is_global(&self, variable: &Token) -> bool {
        let name = &self.text[variable.end..];
        [&b"global"[..], b"persist"].iter().any(|scope| {
            name.get(..scope.len()).is_some_and(|first| first.eq_ignore_ascii_case(scope))
        })
    }

    /// KILL: a literal id may be that of a session, which no server knows.
    pub(super) fn kill(&mut self) -> Outcome {
        self.skip();
        if matches!(self.ahead.word, Word::Hard | Word::Soft) {
            self.skip();
        }
        let query = self.ahead.word == Word::Query;
        if query || self.ahead.word == Word::Connection {
            self.skip();
        }
        let by_account = self.ahead.word == Word::User;
        if matches!(self.ahead.kind, Kind::Number | Kind::String) {
            let literal = self.skip();
            let id = self.literal_id(&literal);
            if id.is_some() && self.at_end() {
                return self.found.unless_doubtful((Class::Kill { query, id }, Reason::Kill));
            }
        }
        if matches!(self.ahead.call, Call::Session(SessionCall::ConnectionId)) {
            self.skip();
            if self.ahead.is_op(b'(') && self.closes_at().is_some() {
                self.skip();
                self.skip();
                if self.at_end() {
                    let own = Class::Kill { query, id: None };
                    return self.found.unless_doubtful((own, Reason::Kill));
                }
            }
        }
        if !by_account {
            // An account's name is the same everywhere; an id is not.
            self.found.effects |= Effects::KILL;
        }
        // An id that is not literal can only be one the server knows.
        self.skip_to_end();
        self.found.write(Reason::Kill)
    }

    /// The number in a literal of digits alone, also in quotes. What else servers take for a number is left to
    /// them.
    fn literal_id(&self, literal: &Token) -> Option<u64> {
        let text = self.bytes(literal);
        let digits = match text {
            [quote @ (b'\'' | b'"'), digits @ .., end] if quote == end => digits,
            _ => text,
        };
        let is_plain = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
    }

    // === DDL ===

    /// CREATE: tables may select, routines have statements inside.
    pub(super) fn create(&mut self) -> Outcome {
        self.context = Context::Write;
        self.skip();
        let mut is_temporary = false;
        while !self.at_end() {
            let may_qualify = matches!(self.prev.word, Word::Create | Word::Replace);
            if may_qualify {
                self.found.effects |= defaults(self.ahead.word);
            }
            match self.skip().word {
                Word::Temporary if may_qualify => is_temporary = true,
                Word::Table => self.table_definition(),
                Word::Procedure | Word::Function | Word::Trigger | Word::Event | Word::Package => {
                    self.routine();
                }
                Word::View => self.skip_to_end(),
                _ => {}
            }
        }
        self.found.effects |=
            if is_temporary { Effects::TEMPORARY_TABLE } else { Effects::IMPLICIT_COMMIT };
        self.found.write(Reason::NotARead)
    }

    /// Up to a SELECT nothing is run; from there on it is like INSERT ... SELECT.
    fn table_definition(&mut self) {
        while !self.at_end() {
            let starts_query = match self.ahead.word {
                Word::Select => true,
                Word::With | Word::Values | Word::Table => self.prev.word == Word::As,
                _ => false,
            };
            if starts_query && !self.prev.is_op(b'.') {
                self.found.effects |= Effects::COUNTS_ROWS;
                return self.step_to_end();
            }
            self.skip();
        }
    }

    /// ALTER and DROP.
    pub(super) fn alter(&mut self) -> Outcome {
        let is_drop = self.skip().word == Word::Drop;
        self.found.effects |= defaults(self.ahead.word);
        match self.ahead.word {
            Word::Prepare | Word::Temporary if is_drop => {}
            _ => self.found.effects |= Effects::IMPLICIT_COMMIT,
        }
        if self.ahead.word == Word::Event {
            self.routine();
        }
        self.skip_to_end();
        self.found.write(Reason::NotARead)
    }

    /// The rest of a routine's definition: semicolons inside its body end no statement.
    fn routine(&mut self) {
        let mut open_blocks = 0_u32;
        let mut has_control = false;
        while self.ahead.kind != Kind::End {
            if self.ahead.is_op(b';') && open_blocks == 0 && !has_control {
                return;
            }
            let is_name = self.prev.is_op(b'.');
            let token = self.skip();
            match token.word {
                _ if is_name => {}
                Word::End => match self.ahead.word {
                    Word::If | Word::Loop | Word::While | Word::Repeat | Word::For => {
                        self.skip();
                    }
                    Word::Case => {
                        self.skip();
                        open_blocks = open_blocks.saturating_sub(1);
                    }
                    _ => open_blocks = open_blocks.saturating_sub(1),
                },
                Word::Begin | Word::Case => open_blocks += 1,
                Word::If | Word::Loop | Word::While | Word::Repeat if open_blocks == 0 => {
                    let is_clause = matches!(self.ahead.word, Word::Not | Word::Exists);
                    has_control |= !is_clause && !self.ahead.is_op(b'(');
                }
                _ => {}
            }
            // Where such a body ends is not followed: what comes after may be another statement.
            if token.is_op(b';') && has_control && self.ahead.kind != Kind::End {
                self.found.note_opaque();
            }
        }
        if open_blocks > 0 {
            self.found.note_opaque();
        }
    }

    /// BEGIN NOT ATOMIC and control statements outside of a routine: anything may run, to the
    /// end of the text.
    pub(super) fn compound(&mut self) -> Outcome {
        self.found.note_opaque();
        self.found.effects |= Effects::USER_VARIABLE;
        self.context = Context::Write;
        while self.ahead.kind != Kind::End {
            let token = self.step_in_block();
            // A handler and a cursor (FOR) run later than they stand; a loop comes back to its condition.
            self.is_behind_others |= token.is_op(b';')
                || matches!(
                    token.word,
                    Word::Then | Word::Do | Word::For | Word::Loop | Word::Repeat | Word::While
                );
        }
        self.found.write(Reason::NotARead)
    }
}

/// The tokens of the statement that a string of `text` holds.
fn inside<'t>(text: &'t [u8], string: &Token, mode: Mode) -> Lexer<'t> {
    let text = &text[string.start..string.end];
    Lexer::new(text.get(1..text.len() - 1).unwrap_or_default(), mode)
}

fn has_no_from(mut tokens: Lexer<'_>) -> bool {
    loop {
        let token = tokens.next();
        if token.kind == Kind::End || token.word == Word::From {
            return token.kind == Kind::End;
        }
    }
}

/// What making, changing or removing an object of this kind means for sessions to come.
fn defaults(kind: Word) -> Effects {
    match kind {
        Word::Database | Word::Schema => Effects::SCHEMA_DEFAULTS,
        Word::User | Word::Role => Effects::SERVER_DEFAULTS,
        _ => Effects::empty(),
    }
}
