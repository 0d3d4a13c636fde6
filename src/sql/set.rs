//! SET in all its forms.

use super::classify::{Classifier, Context};
use super::effect::{self, Outcome};
use super::mode::Mode;
use super::token::{Kind, Token};
use super::verdict::{Class, Effects, Needs, Reason};
use super::word::Word;

/// Names of the variables that `sql` sets as `@@x`, without the word SESSION: MariaDB tracks all
/// other forms; and of all that it sets beside trackers. Those that bind the session to its
/// connection anyway are left out, and so is what SET NAMES sets.
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

/// What a SET sets for the session.
#[derive(Default)]
pub(super) struct Assigned<'a> {
    /// Variables whose values can be asked for, in their order.
    names: Vec<&'a [u8]>,
    /// There is something whose value can't be asked for.
    is_hidden: bool,
}

impl<'a> Classifier<'a> {
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
        self.assigned = Assigned::default();
        let bare_before = self.bare.len();
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
        if trackers > 0 && (others > 0 || self.found.is_opaque()) {
            self.note_beside(bare_before);
        }
        self.finish(if touches_server {
            (Class::Write, Reason::NotARead)
        } else {
            (Class::Session, Reason::SessionControl)
        })
    }

    /// What is set beside trackers has to be asked for.
    ///
    /// FACT(mariadb 10.11 and 11.8, mysql 9.7): a statement that sets what is tracked tells only of what it
    /// sets behind that, if it is tracked then; nothing tells of the rest later; test:
    /// `what_is_set_beside_trackers_is_the_sessions_on_every_connection`.
    fn note_beside(&mut self, bare_before: usize) {
        let assigned = std::mem::take(&mut self.assigned);
        let is_plain =
            |name: &&[u8]| name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if assigned.is_hidden
            || self.is_wrapped
            || self.found.is_opaque()
            || !assigned.names.iter().all(is_plain)
        {
            self.found.effects |= Effects::UNREPLAYABLE_VARIABLE;
        } else if !assigned.names.is_empty() {
            self.found.effects |= Effects::BARE_VARIABLE;
            self.bare.truncate(bare_before);
            self.bare.extend(assigned.names);
        }
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
                self.assigned.is_hidden = true;
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
            self.assigned.is_hidden = true;
            self.skip_to_end();
            return Some(scope);
        }
        let name = self.skip_variable(1)?;
        self.named_value(&name, scope)
    }

    /// A variable's name, of so many parts at most unless it is a component's.
    fn skip_variable(&mut self, most: u32) -> Option<Token> {
        let (name, parts) = self.skip_names();
        self.assigned.is_hidden |= parts > most;
        name
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
                let name = self.skip_variable(1 + u32::from(is_scope(first.name)))?;
                let scope = match first.name {
                    _ if first.start == name.start => Scope::Bare,
                    Word::Global | Word::Persist | Word::PersistOnly => Scope::Server,
                    _ => Scope::Session,
                };
                self.named_value(&name, scope)
            }
            _ => {
                let name = self.skip_variable(1)?;
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
        // What is written under another server's number is left out there.
        let is_asked_for = (own - Effects::COLLATION).is_empty()
            || self.bytes(name).eq_ignore_ascii_case(b"server_id");
        if scope != Scope::Server && is_asked_for {
            self.assigned.names.push(self.bytes(name));
        }
        match scope {
            Scope::Bare if is_characteristic => {
                self.found.effects |= Effects::NEXT_TRANSACTION;
                self.assigned.is_hidden = true;
            }
            Scope::Bare if is_asked_for => {
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
            // All of it is asked for together.
            self.found.effects |= Effects::NAMES;
        } else {
            let names: [&[u8]; 3] =
                [b"character_set_client", b"character_set_results", b"collation_connection"];
            self.assigned.names.extend(names);
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

fn is_scope(word: Word) -> bool {
    matches!(word, Word::Session | Word::Local | Word::Global | Word::Persist | Word::PersistOnly)
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
        assert_eq!(bare("SET @@Server_id = 2, @@global.server_id = 3"), [b"Server_id"]);
    }

    #[test]
    fn all_that_is_set_beside_trackers_is_asked_for() {
        let beside = |sql: &'static str| -> Option<Vec<&'static [u8]>> {
            let mut walk = Classifier::new(sql.as_bytes(), Mode::default());
            let effects = walk.run().effects;
            let is_asked_for = effects.contains(Effects::BARE_VARIABLE);
            assert_eq!(is_asked_for, !walk.bare.is_empty(), "{sql}");
            (!effects.contains(Effects::UNREPLAYABLE_VARIABLE)).then_some(walk.bare)
        };
        let all = "SET a = 1, session_track_schema = 0, @@b = 2, SESSION c = 3, @@local.d = 4, \
                   @@global.e = 5, `f` := (SELECT 1, 2), @g = 7, NAMES utf8mb4, collation_server = x";
        let names: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"f", b"collation_server"];
        assert_eq!(beside(all).unwrap(), names);
        let charset = beside("SET CHARACTER SET latin1, session_track_schema = 0").unwrap();
        assert_eq!(charset.len(), 3);
        assert_eq!(beside("SET NAMES latin1, session_track_schema = 0").unwrap(), [b""; 0]);
        assert_eq!(beside("SET session_track_schema = 0, GLOBAL a = 1").unwrap(), [b""; 0]);
        assert_eq!(beside("SET session_track_schema = 0; SET a = 1").unwrap(), [b""; 0]);
        for hidden in [
            "SET session_track_schema = 0, timestamp = 5",
            "SET session_track_schema = 0, a = f(1)",
            "SET session_track_schema = f(1)",
            "SET session_track_schema = 0, @@tx_isolation = 'SERIALIZABLE'",
            "SET session_track_schema = 0, `a-b` = 1",
            "SET session_track_schema = 0, a.b = 1",
            "SET session_track_schema = 0, @@a.b = 1",
            "SET session_track_schema = 0, @@session.a.b = 1",
            "SET STATEMENT a = 1 FOR SET session_track_schema = 0, b = 1",
        ] {
            assert_eq!(beside(hidden), None, "{hidden}");
        }
    }
}
