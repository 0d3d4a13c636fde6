//! SET in all its forms.

use super::classify::{Classifier, Context};
use super::effect::{self, Outcome};
use super::mode::Mode;
use super::token::{Kind, Token};
use super::verdict::{Class, Effects, Needs, Reason};
use super::word::Word;

/// Names of the variables that `sql` sets as `@@x`, without the word SESSION: MariaDB tracks all
/// other forms. Those that bind the session to its connection anyway are left out.
pub fn bare_variables(sql: &[u8], mode: Mode) -> Vec<&[u8]> {
    let mut walk = Classifier::new(sql, mode);
    walk.run();
    walk.bare
}

/// Whose variable an assignment sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// `x =`, `SESSION x =`, `@@session.x =`.
    Session,
    /// `@@x =`: the session, but isolation level and access mode of the next transaction only.
    Bare,
    /// GLOBAL, PERSIST, PERSIST_ONLY.
    Server,
}

impl Classifier<'_> {
    /// SET.
    pub(super) fn set(&mut self) -> Outcome {
        self.context = Context::Write;
        self.skip();
        match self.ahead.word {
            Word::Statement => return self.set_statement(),
            Word::Password => {
                self.found.effects |= Effects::IMPLICIT_COMMIT | Effects::SERVER_DEFAULTS;
                self.step_to_end();
                return self.found.write(Reason::NotARead);
            }
            Word::Role => {
                self.found.effects |= Effects::ROLE;
                self.skip_to_end();
                return self.found.unless_doubtful((Class::Session, Reason::SessionControl));
            }
            Word::Default => {
                self.found.effects |=
                    Effects::ROLE | Effects::IMPLICIT_COMMIT | Effects::SERVER_DEFAULTS;
                self.skip_to_end();
                return self.found.write(Reason::NotARead);
            }
            Word::Resource => {
                self.found.note_opaque();
                // The connection stays in the group, and nothing tells so.
                self.found.effects |= Effects::UNREPLAYABLE_VARIABLE;
                self.skip_to_end();
                return self.found.write(Reason::NotARead);
            }
            _ => {}
        }
        let mut touches_server = false;
        let (mut trackers, mut others) = (0, 0);
        loop {
            let before = self.found.effects;
            self.found.effects -= Effects::TRACKERS;
            let Some(scope) = self.assignment() else { return self.not_understood() };
            touches_server |= scope == Scope::Server;
            match self.found.effects.contains(Effects::TRACKERS) {
                true => trackers += 1,
                false => others += 1,
            }
            self.found.effects |= before;
            if !self.ahead.is_op(b',') {
                break;
            }
            self.skip();
        }
        self.found.note_counting();
        if touches_server {
            self.found.effects |= Effects::SERVER_DEFAULTS;
        }
        if trackers > 0 && others > 0 {
            // Whatever else it sets may be told to nobody.
            self.found.effects |= Effects::UNREPLAYABLE_VARIABLE;
        }
        self.finish(if touches_server {
            (Class::Write, Reason::NotARead)
        } else {
            (Class::Session, Reason::SessionControl)
        })
    }

    /// MariaDB: SET STATEMENT a = 1, b = 2 FOR statement.
    fn set_statement(&mut self) -> Outcome {
        if std::mem::replace(&mut self.is_wrapped, true) {
            return self.not_understood();
        }
        self.skip();
        while !self.at_end() && (self.ahead.word != Word::For || self.depth > 0) {
            self.step();
        }
        if !self.skip_word(Word::For) || self.at_end() {
            return self.not_understood();
        }
        self.found.effects |= Effects::SET_STATEMENT;
        self.context = Context::Read;
        (self.first, self.start) = (self.ahead.word, self.ahead.start);
        let statement = self.statement();
        if statement.0 == Class::Session {
            // What it sets is told like what is passing.
            self.found.note_opaque();
        }
        let reason = match statement {
            (Class::Write | Class::Diagnostics, reason) => reason,
            (Class::Kill { .. }, reason) => {
                self.found.effects |= Effects::KILL;
                reason
            }
            _ => Reason::SessionControl,
        };
        self.found.write(reason)
    }

    /// One assignment up to its comma; `None` if it is none.
    fn assignment(&mut self) -> Option<Scope> {
        let scope = match self.ahead.word {
            Word::Global | Word::Persist | Word::PersistOnly => Scope::Server,
            Word::Session | Word::Local => Scope::Session,
            Word::Transaction => {
                self.found.effects |= Effects::NEXT_TRANSACTION;
                self.skip_to_end();
                return Some(Scope::Session);
            }
            Word::Names | Word::Charset | Word::Character => {
                return self.names().then_some(Scope::Session);
            }
            _ => return self.unscoped(),
        };
        self.skip();
        if self.ahead.word == Word::Transaction {
            self.skip_to_end();
            return Some(scope);
        }
        let name = self.skip_name()?;
        self.named_value(&name, scope)
    }

    fn unscoped(&mut self) -> Option<Scope> {
        match self.ahead.kind {
            Kind::UserVariable => {
                self.found.effects |= Effects::USER_VARIABLE;
                self.skip();
                self.value().then_some(Scope::Session)
            }
            Kind::SystemVariable => {
                self.skip();
                let first = self.ahead;
                let name = self.skip_name()?;
                let scope = match first.name {
                    _ if first.start == name.start => Scope::Bare,
                    Word::Global | Word::Persist | Word::PersistOnly => Scope::Server,
                    _ => Scope::Session,
                };
                self.named_value(&name, scope)
            }
            _ => {
                let name = self.skip_name()?;
                self.named_value(&name, Scope::Session)
            }
        }
    }

    fn named_value(&mut self, name: &Token, scope: Scope) -> Option<Scope> {
        let own = match scope {
            Scope::Server => Effects::empty(),
            Scope::Session | Scope::Bare => effect::of_variable(self.bytes(name)),
        };
        if scope != Scope::Server {
            self.found.effects |= own;
            if own == Effects::TRACKERS {
                self.found.needs |= Needs::TRACKERS;
            }
            self.found.changes_mode |= effect::is_lexical_variable(self.bytes(name));
        }
        let is_characteristic = matches!(
            name.name,
            Word::TxIsolation
                | Word::TransactionIsolation
                | Word::TxReadOnly
                | Word::TransactionReadOnly
        );
        match scope {
            Scope::Bare if is_characteristic => self.found.effects |= Effects::NEXT_TRANSACTION,
            Scope::Bare if (own - Effects::COLLATION).is_empty() => {
                self.found.effects |= Effects::BARE_VARIABLE;
                self.bare.push(self.bytes(name));
            }
            Scope::Bare | Scope::Session | Scope::Server => {}
        }
        self.value().then_some(scope)
    }

    /// NAMES x `[COLLATE y]`, CHARACTER SET x, CHARSET x.
    fn names(&mut self) -> bool {
        self.found.changes_mode = true;
        if self.ahead.word == Word::Names {
            self.found.effects |= Effects::NAMES;
        }
        if self.skip().word == Word::Character && !self.skip_word(Word::Set) {
            return false;
        }
        if self.at_end() || self.ahead.kind == Kind::Op {
            return false;
        }
        self.skip();
        if self.skip_word(Word::Collate) {
            self.found.effects |= Effects::COLLATION;
            if self.at_end() {
                return false;
            }
            self.skip();
        }
        true
    }

    /// `= expression` up to a comma outside of parentheses.
    fn value(&mut self) -> bool {
        if !self.ahead.is_op(b'=') && self.ahead.kind != Kind::Assign {
            return false;
        }
        self.skip();
        if self.at_end() {
            return false;
        }
        self.depth = 0;
        while !self.at_end() && (self.depth > 0 || !self.ahead.is_op(b',')) {
            self.step();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_by_its_bare_name_is_asked_for() {
        let bare = |sql: &'static str| -> Vec<&'static [u8]> {
            bare_variables(sql.as_bytes(), Mode::default())
        };
        assert_eq!(bare("SET @@a = @@b, c = @@d, @@`e` := 1"), [b"a", b"e"]);
        assert_eq!(bare("SET @@session.a = 1, @@global.b = 2, SESSION c = 3; SET @@d=4"), [b"d"]);
        assert_eq!(bare("SELECT @@a = 5"), <[&[u8]; 0]>::default());
        assert_eq!(bare("SET @@tx_isolation = 'SERIALIZABLE', @@rand_seed1 = 5"), [b""; 0]);
    }
}
