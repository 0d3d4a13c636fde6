//! Statements about the session: transactions, locks, USE.

use super::classify::Classifier;
use super::effect::Outcome;
use super::verdict::{Class, Effects, Reason};
use super::word::Word;

impl Classifier<'_> {
    /// USE schema.
    pub(super) fn use_schema(&mut self) -> Outcome {
        self.skip();
        if self.skip_name().is_none() {
            return self.not_understood();
        }
        self.finish((Class::Session, Reason::SessionControl))
    }

    /// BEGIN `[WORK]`, or MariaDB's BEGIN NOT ATOMIC.
    pub(super) fn begin(&mut self) -> Outcome {
        self.skip();
        if self.ahead.word == Word::Not {
            return self.compound();
        }
        self.skip_word(Word::Work);
        self.finish((Class::Begin { read_only: false }, Reason::TransactionControl))
    }

    /// START TRANSACTION; START SLAVE and the like.
    pub(super) fn start(&mut self) -> Outcome {
        self.skip();
        if !self.skip_word(Word::Transaction) {
            self.found.effects |= Effects::IMPLICIT_COMMIT;
            self.skip_to_end();
            return self.found.write(Reason::NotARead);
        }
        let mut read_only = false;
        while !self.at_end() {
            let is_known = match self.skip().word {
                Word::Read => {
                    let only = self.skip_word(Word::Only);
                    read_only |= only;
                    only || self.skip_word(Word::Write)
                }
                Word::With => self.skip_word(Word::Consistent) && self.skip_word(Word::Snapshot),
                _ => false,
            };
            let goes_on = self.ahead.is_op(b',');
            if goes_on {
                self.skip();
            }
            if !is_known || (goes_on && self.at_end()) {
                return self.not_understood();
            }
        }
        self.finish((Class::Begin { read_only }, Reason::TransactionControl))
    }

    /// COMMIT and ROLLBACK `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`, ROLLBACK TO.
    pub(super) fn commit(&mut self, class: Class) -> Outcome {
        self.skip();
        self.skip_word(Word::Work);
        if class == Class::Rollback && self.skip_word(Word::To) {
            self.found.effects |= Effects::SAVEPOINT;
            self.skip_word(Word::Savepoint);
            self.skip_name();
            return self.finish((Class::Write, Reason::TransactionControl));
        }
        if self.skip_word(Word::And) {
            self.skip_word(Word::No);
            if !self.skip_word(Word::Chain) {
                return self.not_understood();
            }
        }
        let keeps = self.skip_word(Word::No);
        if self.skip_word(Word::Release) {
            self.found.effects |= if keeps { Effects::NO_RELEASE } else { Effects::RELEASE };
        }
        self.finish((class, Reason::TransactionControl))
    }

    /// SAVEPOINT and RELEASE SAVEPOINT.
    pub(super) fn savepoint(&mut self) -> Outcome {
        if self.skip().word == Word::Release && !self.skip_word(Word::Savepoint) {
            return self.not_understood();
        }
        self.found.effects |= Effects::SAVEPOINT;
        self.skip_name();
        self.finish((Class::Write, Reason::TransactionControl))
    }

    /// XA: the branch belongs to the connection until it is prepared and committed.
    pub(super) fn xa(&mut self) -> Outcome {
        self.skip();
        if matches!(self.ahead.word, Word::Start | Word::Begin | Word::End | Word::Prepare) {
            self.found.effects |= Effects::XA;
        }
        self.skip_to_end();
        self.found.write(Reason::TransactionControl)
    }

    /// LOCK, UNLOCK, FLUSH, BACKUP.
    pub(super) fn lock(&mut self) -> Outcome {
        let first = self.skip().word;
        let second = self.ahead.word;
        if first == Word::Backup {
            self.found.effects |= Effects::IMPLICIT_COMMIT;
        }
        match (first, second) {
            (Word::Lock, Word::Instance) => self.found.effects |= Effects::BACKUP_LOCK,
            (Word::Lock, _) => {
                self.found.effects |= Effects::TABLE_LOCK | Effects::IMPLICIT_COMMIT;
            }
            (Word::Unlock, Word::Tables | Word::Table) => {
                self.found.effects |= Effects::UNLOCK_TABLES;
            }
            (Word::Backup, Word::Stage) => {
                self.skip();
                if self.ahead.word != Word::End {
                    self.found.effects |= Effects::BACKUP_LOCK;
                }
            }
            (Word::Backup, Word::Lock) => self.found.effects |= Effects::BACKUP_LOCK,
            (Word::Flush, _) => self.flush(),
            _ => {}
        }
        self.skip_to_end();
        self.found.write(Reason::NotARead)
    }

    fn flush(&mut self) {
        self.found.effects |= Effects::IMPLICIT_COMMIT;
        while !self.at_end() {
            let word = self.skip().word;
            if word == Word::Privileges {
                self.found.effects |= Effects::SERVER_DEFAULTS;
            }
            let locks = matches!(
                (word, self.ahead.word),
                (Word::With, Word::Read) | (Word::For, Word::Export)
            );
            if locks {
                self.found.effects |= Effects::TABLE_LOCK;
            }
        }
    }
}
