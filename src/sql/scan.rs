//! The rules for everything that is an expression or a query, wherever it stands.
//!
//! [`Classifier::step`] consumes one token and notes what it means: locking clauses, INTO,
//! variables, calls, system schemas, sequences. A word after a dot is a name and no keyword.

use super::classify::{Classifier, Context};
use super::effect;
use super::lexer::is_space;
use super::substitute::{Asked, CallSite};
use super::token::{Kind, Token};
use super::verdict::{Effects, Needs, Reason};
use super::word::{Call, SessionCall, Shape, Word};

/// How far a call's arguments are looked at; longer ones look like an unknown call.
const ARGUMENT_TOKENS_MAX: usize = 48;

/// How deep the names of a WITH are followed; deeper column lists look like unknown calls.
const WITH_DEPTH_MAX: u32 = 63;

impl Classifier<'_> {
    /// Consumes one token under the rules for expressions.
    pub(super) fn step(&mut self) -> Token {
        if self.ahead.is_inert() {
            return self.skip();
        }
        let prev = self.prev;
        let before = self.before;
        let token = self.skip();
        match token.kind {
            Kind::Word if prev.is_op(b'.') => self.dotted(&token, prev.start),
            Kind::Word => self.word(&token, &prev, before),
            Kind::Quoted if prev.is_op(b'.') => self.dotted(&token, prev.start),
            Kind::Quoted => self.name(&token, &prev),
            Kind::UserVariable => self.user_variable(&prev),
            Kind::SystemVariable => self.system_variable(token.start),
            Kind::Assign => {
                self.found.effects |= Effects::USER_VARIABLE;
                self.found.note(Reason::UserVariable);
            }
            Kind::Op => self.parenthesis(token.op, &prev),
            Kind::String | Kind::Number | Kind::Param | Kind::Bad | Kind::End => {}
        }
        token
    }

    fn parenthesis(&mut self, op: u8, prev: &Token) {
        match op {
            b'(' => {
                if prev.is_op(b')') {
                    // Behind the names of a WITH comes its query, which may be in parentheses.
                    self.set_with_names(false);
                }
                self.depth = self.depth.saturating_add(1);
            }
            b')' => {
                self.set_with_names(false);
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn set_with_names(&mut self, on: bool) {
        if self.depth <= WITH_DEPTH_MAX {
            let bit = 1 << self.depth;
            self.with_names = if on { self.with_names | bit } else { self.with_names & !bit };
        }
    }

    fn is_among_with_names(&self) -> bool {
        self.depth <= WITH_DEPTH_MAX && self.with_names & (1 << self.depth) != 0
    }

    fn word(&mut self, token: &Token, prev: &Token, before: Word) {
        if self.ahead.is_op(b'%') && self.bytes(token).eq_ignore_ascii_case(b"sql") {
            // SQL%ROWCOUNT in MariaDB's ORACLE mode.
            self.found.note(Reason::SessionFunction);
        }
        if token.word != Word::None {
            self.keyword(token, prev);
        }
        if self.ahead.is_op(b'(') && !(prev.word == Word::Set && before == Word::Character) {
            self.before_parenthesis(token, prev);
        }
    }

    fn keyword(&mut self, token: &Token, prev: &Token) {
        match token.word {
            Word::Select | Word::Values | Word::Table => self.set_with_names(false),
            Word::With => match self.ahead.word {
                Word::Rollup | Word::Ties | Word::Query => {}
                _ => self.set_with_names(true),
            },
            Word::For if matches!(self.ahead.word, Word::Update | Word::Share) => {
                self.found.note(Reason::LockingClause);
            }
            Word::Lock => self.found.note(Reason::LockingClause),
            Word::For if self.ahead.word == Word::SystemPeriod => {
                self.found.is_of_another_time = true;
            }
            // FACT(mariadb 10.11): each server numbers the transactions of InnoDB itself; test:
            // `rows_as_of_a_transaction_are_those_of_the_primary`.
            Word::Transaction if self.found.is_of_another_time => {
                self.found.note(Reason::ServerSpecific);
            }
            Word::From => {
                self.found.has_from = true;
                self.found.is_from_table |= !self.bytes(&self.ahead).eq_ignore_ascii_case(b"dual");
            }
            Word::Into => {
                if self.ahead.kind == Kind::UserVariable {
                    self.found.effects |= Effects::USER_VARIABLE;
                }
                self.found.note(Reason::IntoClause);
            }
            Word::Outfile | Word::Dumpfile => self.found.note(Reason::IntoClause),
            Word::Insert | Word::Replace if self.ahead.is_op(b'(') => {}
            Word::Update if prev.word == Word::For => {}
            Word::Update | Word::Delete | Word::Insert | Word::Replace => {
                self.set_with_names(false);
                self.found.note(Reason::WrapsWrite);
            }
            Word::Kill if self.found.is_opaque() => self.found.effects |= Effects::KILL,
            Word::SqlCalcFoundRows => {
                self.found.effects |= Effects::FOUND_ROWS;
                self.found.note(Reason::SessionFunction);
            }
            Word::Next | Word::Previous if self.ahead.word == Word::Value => {
                self.sequence(token.word == Word::Next);
            }
            // Reserved words that no read has.
            Word::Procedure
            | Word::Create
            | Word::Drop
            | Word::Alter
            | Word::Grant
            | Word::Revoke
            | Word::Call
            | Word::Load
            | Word::Kill
                if self.context == Context::Read && prev.word != Word::As =>
            {
                self.found.note_not_understood();
            }
            _ => self.schema(token, prev),
        }
    }

    fn sequence(&mut self, takes: bool) {
        if takes {
            self.found.effects |= Effects::SEQUENCE;
        }
        self.found.is_from_table = true;
        self.found.note(Reason::Sequence);
    }

    /// A quoted name that follows no dot.
    fn name(&mut self, token: &Token, prev: &Token) {
        self.schema(token, prev);
        if self.ahead.is_op(b'(') && !self.is_column_list(prev) {
            self.unknown_function();
        }
    }

    /// Schemas that each server fills on its own.
    fn schema(&mut self, token: &Token, prev: &Token) {
        let is_system = matches!(
            token.name,
            Word::InformationSchema | Word::PerformanceSchema | Word::Mysql | Word::Sys
        );
        // SHOW TABLES FROM mysql names it without a dot.
        let is_named = self.ahead.is_op(b'.')
            || (self.context == Context::Read && matches!(prev.word, Word::From | Word::In));
        if is_system && is_named {
            self.found.asks_owner = true;
            self.found.note(Reason::SystemSchema);
        }
    }

    /// `table.column`, `schema.table`, `sequence.NEXTVAL`, `schema.function(`, or `package.function(`.
    /// The dot before it is at `dot`.
    fn dotted(&mut self, token: &Token, dot: usize) {
        if self.ahead.is_op(b'.') {
            self.second_dot = self.ahead.start;
        } else if self.ahead.is_op(b'(') {
            self.note_routine(if self.second_dot == dot { 3 } else { 2 });
            self.unknown_function();
        } else if self.mode.oracle && matches!(token.name, Word::Nextval | Word::Currval) {
            // FACT(mariadb 10.11 and 11.8): in any other mode it is a column, and in this one it is not, also quoted;
            // test: `a_column_may_have_the_name_of_what_a_sequence_gives`.
            self.sequence(token.name == Word::Nextval);
        } else if self.bytes(token).eq_ignore_ascii_case(b"session_variables") {
            self.found.needs |= Needs::TRACKERS;
        }
    }

    // === variables ===

    fn user_variable(&mut self, prev: &Token) {
        // SELECT ... INTO @a, @b
        if self.ahead.kind == Kind::Assign || prev.word == Word::Into {
            self.found.effects |= Effects::USER_VARIABLE;
        }
        self.found.note(Reason::UserVariable);
    }

    /// After `@@`: `[scope.]name`.
    fn system_variable(&mut self, start: usize) {
        let scope = self.ahead.name;
        if !self.ahead.is_name() {
            return self.found.note_not_understood();
        }
        let mut token = self.skip();
        let mut name = token.name;
        let has_scope = matches!(
            scope,
            Word::Global | Word::Session | Word::Local | Word::Persist | Word::PersistOnly
        );
        if has_scope && self.ahead.is_op(b'.') {
            self.skip();
            name = self.ahead.name;
            token = self.ahead;
            if self.ahead.is_name() {
                self.skip();
            }
        }
        if scope != Word::Global && effect::is_tracker(self.bytes(&token)) {
            self.found.needs |= Needs::TRACKERS;
        }
        match name {
            Word::LastInsertId | Word::Identity => self.found.needs |= Needs::LAST_INSERT_ID,
            Word::PseudoThreadId => self.found.needs |= Needs::CONNECTION_ID,
            Word::WarningCount | Word::ErrorCount => {
                let asked = match name {
                    Word::WarningCount => Asked::WarningCount,
                    _ => Asked::ErrorCount,
                };
                // The servers have no global ones.
                let is_sessions = !has_scope || matches!(scope, Word::Session | Word::Local);
                // No call can follow; behind a parenthesis it would look like a list of columns.
                let follows_call = self.ahead.kind == Kind::Word
                    && !matches!(self.ahead.call, Call::Syntax)
                    && self.lexer.clone().next().is_op(b'(');
                let end = (is_sessions && !follows_call).then_some(token.end);
                self.replaceable_until(start, end, asked);
                return self.found.note(Reason::Diagnostics);
            }
            _ => {
                let is_sessions = !has_scope || matches!(scope, Word::Session | Word::Local);
                if self.mode.mariadb
                    && is_sessions
                    && self.bytes(&token).eq_ignore_ascii_case(b"last_gtid")
                {
                    self.replaceable_until(start, Some(token.end), Asked::LastGtid);
                }
            }
        }
        self.found.note(Reason::SystemVariable);
    }

    // === calls ===

    /// True if what follows a name in parentheses lists columns or the size of a type:
    /// `AS t (a, b)`, `AS CHAR(10)`, `(...) t (a)`, `WITH t (a) AS`.
    fn is_column_list(&self, prev: &Token) -> bool {
        prev.word == Word::As
            || prev.is_op(b')')
            || (self.is_among_with_names()
                && (prev.is_op(b',') || matches!(prev.word, Word::With | Word::Recursive)))
    }

    fn before_parenthesis(&mut self, token: &Token, prev: &Token) {
        if self.is_column_list(prev) {
            return;
        }
        match token.call {
            Call::Syntax | Call::Pure => {}
            Call::PureIf(shape) if self.has_shape(shape, prev) => {}
            Call::PureIf(_) => self.unknown_function(),
            Call::PureTight if self.is_tight(token) => {}
            Call::PureTight => self.unknown_function(),
            Call::Session(call) => self.session_function(token, call),
            Call::Unknown => match (token.word, prev) {
                // JSON_TABLE(doc, '$' COLUMNS (...)), a MEMBER OF (b), CHARSET utf8 (a, b)
                (Word::Columns, path) if path.is_literal() => {}
                (Word::Of, member) if member.word == Word::Member => {}
                (_, charset) if charset.word == Word::Charset => {}
                _ => self.unknown_function(),
            },
        }
    }

    fn unknown_function(&mut self) {
        self.found.note_opaque();
        self.found.note(Reason::UnknownFunction);
    }

    fn session_function(&mut self, token: &Token, call: SessionCall) {
        self.found.note(match call {
            SessionCall::TakesSequence | SessionCall::AsksSequence => Reason::Sequence,
            _ => Reason::SessionFunction,
        });
        match call {
            SessionCall::TakesLock => self.found.effects |= Effects::USER_LOCK,
            SessionCall::TakesServiceLock => self.found.effects |= Effects::SERVICE_LOCK,
            SessionCall::TakesSequence => {
                self.found.effects |= Effects::SEQUENCE;
                self.found.is_from_table = true;
            }
            SessionCall::AsksSequence => self.found.is_from_table = true,
            SessionCall::LastInsertId => {
                if self.closes_at().is_some() {
                    self.found.needs |= Needs::LAST_INSERT_ID;
                } else if self.context == Context::ReportsInsertId {
                    self.found.reports_insert_id = true;
                    self.found.effects |= Effects::SETS_INSERT_ID;
                } else {
                    self.found.effects |= Effects::INSERT_ID_EXPRESSION;
                }
            }
            SessionCall::RowCount => self.replaceable(token, Asked::RowCount),
            SessionCall::FoundRows => self.replaceable(token, Asked::FoundRows),
            SessionCall::ConnectionId => self.replaceable(token, Asked::ConnectionId),
            SessionCall::AsksLock => {
                // It tells the server's id of who has the lock.
                self.found.asks_owner |= self.bytes(token).eq_ignore_ascii_case(b"is_used_lock");
            }
            SessionCall::ServerBound => {
                self.found.asks_owner |= self.bytes(token).eq_ignore_ascii_case(b"ps_thread_id");
            }
        }
    }

    /// A call whose value Fairlane knows.
    fn replaceable(&mut self, token: &Token, asked: Asked) {
        let end = self.closes_at();
        self.replaceable_until(token.start, end, asked);
    }

    /// What asks for a value that Fairlane knows, from `start` on.
    fn replaceable_until(&mut self, start: usize, end: Option<usize>, asked: Asked) {
        if self.is_behind_others && asked != Asked::ConnectionId {
            // The connection knows what ran on it.
            return;
        }
        self.found.needs |= asked.need();
        // Only the first statement still sees what the text before it left.
        let is_ours = self.index == 0 || asked == Asked::ConnectionId;
        if let (Some(calls), Some(end), true) = (&mut self.calls, end, is_ours) {
            calls.push(CallSite { start, end, asked });
        }
    }

    /// With `(` ahead: whether it is near enough to the name of a built-in function.
    fn is_tight(&self, name: &Token) -> bool {
        let between = &self.text[name.end..self.ahead.start];
        // IGNORE_SPACE does not ignore comments (MariaDB 10.11).
        between.is_empty() || self.mode.ignore_space && between.iter().all(|&byte| is_space(byte))
    }

    /// With `(` ahead: whether the arguments are those of the built-in function. If not, the
    /// server looks for a stored function of that name.
    fn has_shape(&self, shape: Shape, prev: &Token) -> bool {
        let is_table = matches!(prev.word, Word::From | Word::Join);
        if shape == Shape::Columns && is_table {
            return true;
        }
        let mut lexer = self.lexer.clone();
        let (mut depth, mut commas, mut last) = (0_u32, 0, Token::END);
        for index in 0..ARGUMENT_TOKENS_MAX {
            let token = lexer.next();
            match (token.kind, token.op) {
                (Kind::End | Kind::Bad, _) => return false,
                (Kind::Op, b'(') => depth += 1,
                (Kind::Op, b')') if depth == 0 => {
                    return match shape {
                        Shape::Any => index > 0,
                        Shape::Pair => commas == 1,
                        Shape::Columns => false,
                    };
                }
                (Kind::Op, b')') => depth -= 1,
                (Kind::Op, b',') if depth == 0 => commas += 1,
                (Kind::Op, b';') => return false,
                _ if shape == Shape::Any => return true,
                _ if shape == Shape::Columns
                    && depth == 0
                    && commas == 1
                    && token.word == Word::Columns
                    && last.is_literal() =>
                {
                    return true;
                }
                _ => {}
            }
            last = token;
        }
        false
    }

    /// With `(` ahead: where the call ends if it has no arguments. Looks past one token more
    /// than the walk does, so it is asked for rare functions only.
    pub(super) fn closes_at(&self) -> Option<usize> {
        let next = self.lexer.clone().next();
        next.is_op(b')').then_some(next.end)
    }
}
