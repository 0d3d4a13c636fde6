//! When what sessions begin with has changed last.
//!
//! A server gives a session its global variables and privileges at its login, and the defaults of
//! a schema when it is chosen. A connection at rest has those of the time it was opened, so one that
//! is older than a change is none for a session that began after it, and its schema is chosen anew.
//! Changes made past this Fairlane, or inside of a routine, are not known. Of a text that nobody has
//! seen, run by EXECUTE, what is answered like one may be: this counts now and then only, or whoever runs
//! such texts in a loop would slow down all who log in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Time between changes of one kind that are counted because of texts that nobody has seen.
const UNSEEN_SPACING: Duration = Duration::from_secs(5);

/// Counts the changes that went through this Fairlane.
#[derive(Debug, Default)]
pub struct Epochs {
    logins: AtomicU64,
    schemas: AtomicU64,
    tables: AtomicU64,
    /// The changes among `logins` that are known of the primary.
    known: AtomicU64,
    unseen_logins: Unseen,
    unseen_schemas: Unseen,
}

/// When one was counted last because of a text that nobody has seen, or is going to be.
#[derive(Debug, Default)]
struct Unseen(Mutex<Option<Instant>>);

impl Unseen {
    /// How long until one that may have been made by `now` is to be counted; `None` when that is going to be
    /// done for an earlier one.
    fn due(&self, now: Instant) -> Option<Duration> {
        let mut counted = self.0.lock();
        if counted.is_some_and(|counted| counted > now) {
            return None;
        }
        let at = counted.map_or(now, |counted| now.max(counted + UNSEEN_SPACING));
        *counted = Some(at);
        Some(at.duration_since(now))
    }
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

    /// A text that nobody has seen may have made one: how long until [`Self::note_login_change`] is to be
    /// told of it, unless that is going to be done anyway.
    pub fn login_change_due(&self, now: Instant) -> Option<Duration> {
        self.unseen_logins.due(now)
    }

    /// Likewise of [`Self::note_schema_change`].
    pub fn schema_change_due(&self, now: Instant) -> Option<Duration> {
        self.unseen_schemas.due(now)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_seen_counts_now_and_then_and_none_is_left_out() {
        let epochs = Epochs::default();
        let start = Instant::now();
        let due = |millis| epochs.login_change_due(start + Duration::from_millis(millis));
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(due(0), millis(0), "the first one counts at once");
        assert_eq!(due(1000), millis(4000));
        assert_eq!(due(4999), None, "one that is going to be counted is later");
        assert_eq!(due(5000), millis(5000));
        assert_eq!(due(9999), None);
        assert_eq!(due(20_000), millis(0));
        assert_eq!(epochs.schema_change_due(start), millis(0), "each kind by itself");
    }
}
