//! When what sessions begin with has changed last.
//!
//! A server gives a session its global variables and privileges at its login, and the defaults of
//! a schema when it is chosen. A connection at rest has those of the time it was opened, so one that
//! is older than a change is none for a session that began after it, and its schema is chosen anew.
//! Changes made past this Fairlane, or inside of a routine, are not known; of a text that nobody has
//! seen, run by EXECUTE, those that are answered like one may be.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the changes that went through this Fairlane.
#[derive(Debug, Default)]
pub struct Epochs {
    logins: AtomicU64,
    schemas: AtomicU64,
    tables: AtomicU64,
    /// The changes among `logins` that are known of the primary.
    known: AtomicU64,
}

impl Epochs {
    /// The changes of global variables, privileges and roles so far. Read before a login begins:
    /// it has at least these.
    pub fn logins(&self) -> u64 {
        self.logins.load(Ordering::Acquire)
    }

    /// The changes of schemas so far, likewise before one is chosen.
    pub fn schemas(&self) -> u64 {
        self.schemas.load(Ordering::Acquire)
    }

    /// Whether what came before `epoch` has to be read yet.
    pub fn is_news(&self, epoch: u64) -> bool {
        self.known.load(Ordering::Acquire) < epoch
    }

    /// What came before `epoch` was read.
    pub fn note_known(&self, epoch: u64) {
        self.known.fetch_max(epoch, Ordering::AcqRel);
    }

    /// A change is made; its client does not know yet.
    pub fn note_login_change(&self) {
        self.logins.fetch_add(1, Ordering::AcqRel);
    }

    /// The statements so far that may have changed what tables and routines there are, and what they
    /// are like.
    pub fn tables(&self) -> u64 {
        self.tables.load(Ordering::Acquire)
    }

    /// Tables or routines may have changed; its client does not know yet.
    pub fn note_table_change(&self) {
        self.tables.fetch_add(1, Ordering::AcqRel);
    }

    /// A schema was made, changed or removed; its client does not know yet.
    pub fn note_schema_change(&self) {
        self.schemas.fetch_add(1, Ordering::AcqRel);
    }
}
