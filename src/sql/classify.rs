//! The verdict on a text: cuts it into statements, hands each to the file that knows its kind,
//! and joins what they found.
//!
//! One pass over the tokens with one token of look-ahead. No grammar: each statement kind has
//! a handler that consumes its tokens up to the semicolon, and all share the rules for
//! expressions in [`super::scan`].

use super::digest::front_digest;
use super::effect::{Found, Outcome};
use super::lexer::Lexer;
use super::mode::{Charset, FOREIGN, Mode};
use super::set::Assigned;
use super::substitute::{Asked, CallSite};
use super::token::{Kind, Token};
use super::verdict::{Class, Effects, Hint, Leading, Needs, Reason, Verdict};
use super::word::Word;

/// What `sql` means for routing and for the session, read as the server would under `mode`.
///
/// Never fails: what is not understood goes to the primary. Takes one pass over the text.
pub fn classify(sql: &[u8], mode: Mode) -> Verdict {
    Verdict { digest: front_digest(sql, mode), ..Classifier::new(sql, mode).run() }
}

/// Whether each of the statements of `sql` is a plain read by itself.
pub fn are_plain_reads(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode);
    let mut start = 0;
    loop {
        let token = lexer.next();
        let is_last = token.kind == Kind::End;
        if is_last || token.is_op(b';') {
            let verdict = classify(&sql[start..token.start], mode);
            let is_plain = verdict.class == Class::Read && verdict.reason == Reason::PlainRead;
            if !is_plain && verdict.reason != Reason::Empty {
                return false;
            }
            start = token.end;
        }
        if is_last {
            return true;
        }
    }
}

/// The kind of statement whose expressions are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// May become a read.
    Read,
    /// Goes to the primary anyway.
    Write,
    /// Likewise, and its OK packet reports LAST_INSERT_ID(expr).
    ReportsInsertId,
}

/// A walk over the tokens of a text.
pub(super) struct Classifier<'a> {
    pub(super) text: &'a [u8],
    pub(super) mode: Mode,
    pub(super) lexer: Lexer<'a>,
    /// The token that comes next.
    pub(super) ahead: Token,
    /// The last one of this statement, and the word of the one before.
    pub(super) prev: Token,
    pub(super) before: Word,
    /// Where the last dot is that comes behind a name with another one before it.
    pub(super) second_dot: usize,
    pub(super) found: Found,
    pub(super) context: Context,
    /// Open parentheses.
    pub(super) depth: u32,
    /// Bit n: at n open parentheses we are among the names of a WITH.
    pub(super) with_names: u64,
    /// Inside SET STATEMENT ... FOR, which does not nest.
    pub(super) is_wrapped: bool,
    /// Inside a block, behind the beginning of its first statement: others may have run by then.
    pub(super) is_behind_others: bool,
    /// The word with which this statement begins; behind SET STATEMENT ... FOR the one it is for.
    pub(super) first: Word,
    /// Where in the text it begins.
    pub(super) start: usize,
    /// Number of this statement in the text, from 0.
    pub(super) index: u16,
    /// A statement so far changed how the server reads what follows it.
    changes_mode: bool,
    /// A statement so far sets the insert id in a way that only its own OK packet tells.
    reports_insert_id: bool,
    /// Where the calls stand that [`super::substitute()`] replaces, if it asks.
    pub(super) calls: Option<Vec<CallSite>>,
    /// Names of variables that are not told, which [`super::bare_variables()`] asks for.
    pub(super) bare: Vec<&'a [u8]>,
    /// What this SET sets so far.
    pub(super) assigned: Assigned<'a>,
}

impl<'a> Classifier<'a> {
    pub(super) fn new(text: &'a [u8], mode: Mode) -> Self {
        let mut lexer = Lexer::new(text, mode);
        let ahead = lexer.next();
        Self {
            text,
            mode,
            lexer,
            ahead,
            prev: Token::END,
            before: Word::None,
            second_dot: usize::MAX,
            found: Found::default(),
            context: Context::Read,
            depth: 0,
            with_names: 0,
            is_wrapped: false,
            is_behind_others: false,
            first: Word::None,
            start: 0,
            index: 0,
            changes_mode: false,
            reports_insert_id: false,
            calls: None,
            bare: Vec::new(),
            assigned: Assigned::default(),
        }
    }

    /// Walks to the end of the text.
    pub(super) fn run(&mut self) -> Verdict {
        let mut verdict = Verdict {
            class: Class::Write,
            reason: Reason::Empty,
            leading: Leading::Other,
            effects: Effects::empty(),
            needs: Needs::empty(),
            hint: Hint::default(),
            statements: 0,
            uses_table: false,
            digest: 0,
        };
        loop {
            while self.ahead.is_op(b';') {
                self.skip();
            }
            if self.ahead.kind == Kind::End {
                break;
            }
            self.reset();
            (self.first, self.start) = (self.ahead.word, self.ahead.start);
            if self.index == 0 {
                verdict.leading = leading(self.first);
            }
            let known = self.calls.as_ref().map_or(0, Vec::len);
            let outcome = self.statement();
            debug_assert!(self.at_end(), "a handler must consume its statement");
            if self.found.asks_owner {
                self.keep_own_id(known);
            }
            self.join(&mut verdict, outcome);
            self.index = self.index.saturating_add(1);
        }
        verdict.hint = std::mem::take(&mut self.lexer.hint);
        verdict
    }

    /// Adds the statement just walked over to those before it.
    fn join(&mut self, verdict: &mut Verdict, (mut class, mut reason): Outcome) {
        if self.mode.charset == Charset::Foreign {
            let kills = if is_kill(class) { Effects::KILL } else { Effects::empty() };
            (class, reason) = (Class::Write, Reason::NotUnderstood);
            self.found.note_opaque();
            self.found.effects |= Effects::UNREADABLE | kills;
        }
        // SET uses one in a subquery.
        verdict.uses_table |= match class {
            // Behind WITH a change of rows has no FROM.
            Class::Read | Class::Write => reason == Reason::WrapsWrite || self.may_use_table(),
            Class::Session => self.found.is_from_table,
            _ => false,
        };
        self.reports_insert_id |= self.found.reports_insert_id;
        if self.changes_mode {
            // Its tokens may be others than those seen here.
            self.found.note_opaque();
            let depends = |byte: &u8| matches!(byte, b'\\' | b'"') || !byte.is_ascii();
            if self.text[self.start..].iter().any(depends) || self.names_foreign() {
                self.found.effects |= Effects::UNREADABLE;
            }
        }
        self.changes_mode |= self.found.changes_mode;
        verdict.statements = verdict.statements.saturating_add(1);
        if verdict.statements == 1 {
            (verdict.class, verdict.reason) = (class, reason);
            (verdict.effects, verdict.needs) = (self.found.effects, self.found.needs);
            return;
        }
        if is_kill(class) || is_kill(verdict.class) {
            verdict.effects |= Effects::KILL;
        }
        if self.reports_insert_id {
            // It may be in a packet that is not the last one.
            verdict.effects |= Effects::INSERT_ID_EXPRESSION;
        }
        if (verdict.effects | self.found.effects).contains(Effects::SET_STATEMENT) {
            // What it sets for its statement is told like what others set for good.
            self.found.note_opaque();
        }
        verdict.effects = join_effects(verdict.effects, self.found.effects);
        verdict.needs |= later_needs(self.found.needs);
        (verdict.class, verdict.reason) = (Class::Write, Reason::MultiStatement);
    }

    /// Whether the text may choose a character set in which nothing is understood.
    fn names_foreign(&self) -> bool {
        self.text.windows(FOREIGN.len()).any(|word| word.eq_ignore_ascii_case(FOREIGN))
    }

    /// The statement whose calls begin with number `first` compares CONNECTION_ID() with the server's ids.
    fn keep_own_id(&mut self, first: usize) {
        self.found.needs -= Needs::CONNECTION_ID;
        let Some(calls) = &mut self.calls else { return };
        let mut number = 0;
        calls.retain(|call| {
            number += 1;
            number <= first || call.asked != Asked::ConnectionId
        });
    }

    fn reset(&mut self) {
        self.prev = Token::END;
        self.before = Word::None;
        self.found = Found::default();
        self.context = Context::Read;
        self.depth = 0;
        self.with_names = 0;
        self.is_wrapped = false;
        self.is_behind_others = false;
    }

    /// One statement, by its first word.
    pub(super) fn statement(&mut self) -> Outcome {
        if self.ahead.is_op(b'(') {
            return self.read();
        }
        match self.ahead.word {
            Word::Select | Word::With | Word::Values | Word::Table => self.read(),
            Word::Insert | Word::Replace => self.insert(),
            Word::Update => self.change(Context::ReportsInsertId),
            Word::Delete => self.change(Context::Write),
            Word::Set => self.set(),
            Word::Use => self.use_schema(),
            Word::Begin => self.begin(),
            Word::Start => self.start(),
            Word::Commit => self.commit(Class::Commit),
            Word::Rollback => self.commit(Class::Rollback),
            Word::Savepoint | Word::Release => self.savepoint(),
            Word::Xa => self.xa(),
            Word::Lock | Word::Unlock | Word::Flush | Word::Backup => self.lock(),
            Word::Show => self.show(),
            Word::Explain | Word::Describe | Word::Desc => self.explain(),
            Word::Analyze => self.analyze(),
            Word::Get => self.get_diagnostics(),
            Word::Kill => self.kill(),
            Word::Do => self.evaluate(),
            Word::Call => self.call(),
            Word::Prepare | Word::Execute | Word::Deallocate | Word::Handler => self.named(),
            Word::Load => self.load(),
            Word::Create => self.create(),
            Word::Alter | Word::Drop => self.alter(),
            word => self.by_table(word),
        }
    }

    /// Statements of which only the first word matters.
    fn by_table(&mut self, word: Word) -> Outcome {
        match word {
            Word::Grant | Word::Revoke => {
                self.found.effects |= Effects::IMPLICIT_COMMIT | Effects::SERVER_DEFAULTS;
            }
            Word::Rename => {
                self.skip();
                self.found.effects |= Effects::IMPLICIT_COMMIT;
                if self.ahead.word == Word::User {
                    self.found.effects |= Effects::SERVER_DEFAULTS;
                }
            }
            Word::Truncate
            | Word::Install
            | Word::Uninstall
            | Word::Optimize
            | Word::Check
            | Word::Repair
            | Word::Cache
            | Word::Reset
            | Word::Change
            | Word::Stop
            | Word::Import
            | Word::Restart
            | Word::Clone => self.found.effects |= Effects::IMPLICIT_COMMIT,
            // A format description is for the events that come after it.
            Word::Binlog => self.found.effects |= Effects::UNREPLAYABLE_VARIABLE,
            Word::Checksum
            | Word::Help
            | Word::Purge
            | Word::Shutdown
            | Word::Signal
            | Word::Resignal => {}
            Word::If | Word::Case | Word::Loop | Word::While | Word::Repeat | Word::For => {
                return self.compound();
            }
            _ => return self.not_understood(),
        }
        self.skip_to_end();
        self.found.write(Reason::NotARead)
    }

    /// SELECT, WITH, VALUES, TABLE, or one of them in parentheses.
    fn read(&mut self) -> Outcome {
        while self.ahead.is_op(b'(') {
            self.step();
        }
        self.first = self.ahead.word;
        match self.ahead.word {
            Word::Select | Word::With | Word::Values | Word::Table => {}
            _ => return self.not_understood(),
        }
        self.step_to_end();
        self.found.read(Reason::PlainRead)
    }

    /// Gives up on the statement; what its rest seems to do is noted all the same.
    pub(super) fn not_understood(&mut self) -> Outcome {
        self.found.note_not_understood();
        self.context = Context::Write;
        while !self.at_end() {
            self.step_in_block();
        }
        self.found.write(Reason::NotUnderstood)
    }

    /// `outcome` if the statement ends here; else there is something we do not know.
    pub(super) fn finish(&mut self, outcome: Outcome) -> Outcome {
        if self.at_end() { self.found.unless_doubtful(outcome) } else { self.not_understood() }
    }

    // === walking ===

    /// True if no token of this statement is left.
    pub(super) fn at_end(&self) -> bool {
        self.ahead.kind == Kind::End || self.ahead.is_op(b';')
    }

    /// Consumes one token without the rules for expressions.
    #[inline]
    pub(super) fn skip(&mut self) -> Token {
        let token = self.ahead;
        if token.kind == Kind::Bad {
            self.found.note_not_understood();
            self.found.effects |= Effects::UNREADABLE;
        }
        self.before = self.prev.word;
        self.prev = token;
        self.ahead = self.lexer.next();
        token
    }

    /// Consumes the next token if it is this word.
    pub(super) fn skip_word(&mut self, word: Word) -> bool {
        let is_next = self.ahead.word == word;
        if is_next {
            self.skip();
        }
        is_next
    }

    pub(super) fn skip_to_end(&mut self) {
        while !self.at_end() {
            self.skip();
        }
    }

    pub(super) fn step_to_end(&mut self) {
        while !self.at_end() {
            self.step();
        }
    }

    /// Consumes `name` or `schema.name` as a name, whatever follows; the last part.
    pub(super) fn skip_name(&mut self) -> Option<Token> {
        self.skip_names().0
    }

    /// The same, and how many parts there were.
    pub(super) fn skip_names(&mut self) -> (Option<Token>, u32) {
        let (mut last, mut parts) = (None, 0);
        while self.ahead.is_name() {
            last = Some(self.skip());
            parts += 1;
            if !self.ahead.is_op(b'.') {
                break;
            }
            self.skip();
        }
        (last, parts)
    }

    /// A routine is called by a name of so many parts: it may be one of a package.
    pub(super) fn note_routine(&mut self, parts: u32) {
        if self.mode.mariadb && (parts > 2 || parts > 1 && self.mode.oracle) {
            self.found.effects |= Effects::PACKAGE;
        }
    }

    /// The text of a token, without its quotes.
    pub(super) fn bytes(&self, token: &Token) -> &'a [u8] {
        let quote = usize::from(token.kind == Kind::Quoted);
        &self.text[token.start + quote..token.end - quote]
    }
}

fn leading(first: Word) -> Leading {
    match first {
        Word::Select => Leading::Select,
        Word::Show => Leading::Show,
        Word::Set => Leading::Set,
        Word::Use => Leading::Use,
        Word::Do => Leading::Do,
        Word::Update => Leading::Update,
        Word::Delete => Leading::Delete,
        Word::Flush => Leading::Flush,
        _ => Leading::Other,
    }
}

fn is_kill(class: Class) -> bool {
    matches!(class, Class::Kill { .. })
}

/// Effects of a text whose statements so far have `before`.
fn join_effects(before: Effects, next: Effects) -> Effects {
    // A statement after a failed one does not run, so only a leading UNLOCK TABLES is certain,
    // and only if nothing is locked again.
    let joined = before | (next - Effects::UNLOCK_TABLES);
    if next.contains(Effects::TABLE_LOCK) { joined - Effects::UNLOCK_TABLES } else { joined }
}

/// What a statement after another one still reads from before the text.
fn later_needs(needs: Needs) -> Needs {
    needs - Needs::ROW_COUNT - Needs::DIAGNOSTICS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_plain_reads_are_told_from_those_with_anything_else_between() {
        let are_plain = |sql: &str| are_plain_reads(sql.as_bytes(), Mode::default());
        assert!(are_plain(
            "SELECT 1; (SELECT a FROM t WHERE b = ';');; /* ; */ WITH c AS (SELECT 1) TABLE c; "
        ));
        for other in [
            "SHOW TABLES",
            "COMMIT",
            "SELECT a FROM t FOR UPDATE",
            "SELECT f()",
            "SELECT @a",
            "SELECT CONNECTION_ID()",
            "SELECT 'a",
            "INSERT INTO t VALUES (1)",
            "BEGIN NOT ATOMIC SELECT 1",
        ] {
            for sql in [format!("SELECT 1; {other}"), format!("{other}; SELECT 1; SELECT 2")] {
                assert!(!are_plain(&sql), "{sql}");
            }
        }
    }
}
