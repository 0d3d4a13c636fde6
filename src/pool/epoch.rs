//! When what sessions begin with has changed last.
//!
//! A server gives a session its global variables and privileges at its login, and the defaults of
//! a schema when it is chosen. A connection at rest has those of the time it was opened, so one that
//! is older than a change is none for a session that began after it, and its schema is chosen anew.
//! A replica has privileges and roles as of what it has applied: its connections are as old as that.
//! Changes made past this Fairlane, or inside of a routine, are not known. Of a text that nobody has
//! seen, run by EXECUTE, what is answered like one may be: this counts now and then only, or whoever runs
//! such texts in a loop would slow down all who log in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::route::freshness::Position;
use crate::route::token::{Reading, Token};
use crate::route::whereabouts::is_as_of;

/// Time between changes of one kind that are counted because of texts that nobody has seen.
const UNSEEN_SPACING: Duration = Duration::from_secs(5);

/// Changes whose places are told apart; those of before come with the first of them.
const PLACED: usize = 16;

/// Counts the changes that went through this Fairlane.
#[derive(Debug, Default)]
pub struct Epochs {
    logins: AtomicU64,
    schemas: AtomicU64,
    tables: AtomicU64,
    /// The changes among `logins` that are known of the primary.
    known: AtomicU64,
    /// The last ones among `logins`, each with what a replica that has it must have applied.
    placed: Mutex<VecDeque<(u64, Token)>>,
    /// One of them may be in no binary log, so that a replica that has all of it need not have that.
    are_astray: AtomicBool,
    /// Something was left out of the binary log, in tables of privileges perhaps, which a later change may have read.
    has_unlogged: AtomicBool,
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

    /// A change is made; its client does not know yet. Who has applied all of `at` has it.
    pub fn note_login_change(&self, at: Token) {
        let mut placed = self.placed.lock();
        if placed.len() == PLACED
            && let Some((_, oldest)) = placed.pop_front()
            && let Some((_, next)) = placed.front_mut()
        {
            next.merge(&oldest);
        }
        let before = self.logins.fetch_add(1, Ordering::AcqRel);
        placed.push_back((before + 1, at));
    }

    /// The next change may be in no binary log: told before it is noted, so that whoever comes after it knows.
    pub fn note_astray(&self) {
        self.are_astray.store(true, Ordering::Release);
    }

    /// Something is left out of the binary log, from now on.
    pub fn note_unlogged(&self) {
        self.has_unlogged.store(true, Ordering::Release);
    }

    /// Whether something was.
    pub fn has_unlogged(&self) -> bool {
        self.has_unlogged.load(Ordering::Acquire)
    }

    /// Whether a change was noted that may be in no binary log. Read after [`Self::logins`].
    pub fn are_astray(&self) -> bool {
        self.are_astray.load(Ordering::Acquire)
    }

    /// How many of the changes a replica has for sure that has applied `applied`; and what the next one
    /// takes, when there is one. `reading` is the last one of the primary's position.
    pub fn logins_at(&self, applied: &Position, reading: &Reading) -> (u64, Option<Token>) {
        let mut placed = self.placed.lock();
        let mut had = 0;
        for (epoch, token) in placed.iter_mut() {
            token.settle(reading);
            if !token.is_covered_by(applied) {
                return (had, Some(token.clone()));
            }
            had = *epoch;
        }
        (self.logins(), None)
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

/// How many of the changes of logins a replica is known to have, as told of the connections of one
/// generation.
#[derive(Debug, Default)]
pub(super) struct Applied(AtomicU64);

impl Applied {
    const GENERATION: u32 = u16::BITS;

    /// It has `logins` of them for sure, which is known of connections of `generation`.
    pub(super) fn note(&self, logins: u64, generation: u16) {
        let now = logins << Self::GENERATION | u64::from(generation);
        let newer = |before| match Self::split(before) {
            (more, same) if same == generation && more >= logins => None,
            _ => Some(now),
        };
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, newer);
    }

    /// Whether those of `generation` have as many as `logins`.
    pub(super) fn has(&self, logins: u64, generation: u16) -> bool {
        logins == 0 || {
            let (had, then) = self.now();
            had >= logins && then == generation
        }
    }

    /// The changes, and the generation.
    pub(super) fn now(&self) -> (u64, u16) {
        Self::split(self.0.load(Ordering::Acquire))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
    fn split(both: u64) -> (u64, u16) {
        (both >> Self::GENERATION, both as u16)
    }
}

/// What a connection of `generation` has for sure that was opened after `known` was read.
pub(super) fn had_at_opening((logins, then): (u64, u16), generation: u16) -> u64 {
    if is_as_of(then, generation) { logins } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::token::Stamp;

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    fn at(text: &str) -> Token {
        let mut token = Token::default();
        token.add(&position(text), Stamp { session: 1, readings: 0 });
        token
    }

    #[test]
    fn a_replica_has_the_changes_that_it_has_applied() {
        let (epochs, none) = (Epochs::default(), Reading::default());
        assert_eq!(epochs.logins_at(&Position::default(), &none), (0, None));
        epochs.note_login_change(at("0-1-5"));
        epochs.note_login_change(at("0-1-7"));
        assert_eq!(epochs.logins_at(&position("0-1-4"), &none), (0, Some(at("0-1-5"))));
        assert_eq!(epochs.logins_at(&position("0-1-6"), &none), (1, Some(at("0-1-7"))));
        assert_eq!(epochs.logins_at(&position("0-1-7"), &none), (2, None));
        // A global variable is no replica's affair.
        epochs.note_login_change(Token::default());
        assert_eq!(epochs.logins_at(&position("0-1-7"), &none), (3, None));
    }

    #[test]
    fn a_change_at_an_unknown_position_is_placed_by_a_reading() {
        let epochs = Epochs::default();
        let mut unknown = Token::default();
        unknown.add_unknown(Stamp { session: 1, readings: 3 });
        epochs.note_login_change(unknown.clone());
        let mut reading = Reading { number: 3, position: position("0-1-9"), ..Reading::default() };
        assert_eq!(epochs.logins_at(&position("0-1-99"), &reading), (0, Some(unknown)));
        reading.number = 4;
        assert_eq!(epochs.logins_at(&position("0-1-8"), &reading).0, 0);
        assert_eq!(epochs.logins_at(&position("0-1-9"), &reading), (1, None));
    }

    #[test]
    fn changes_of_long_ago_count_together() {
        let (epochs, none) = (Epochs::default(), Reading::default());
        for number in 1..=PLACED + 4 {
            epochs.note_login_change(at(&format!("0-1-{number}")));
        }
        assert_eq!(epochs.placed.lock().len(), PLACED);
        assert_eq!(epochs.logins_at(&position("0-1-4"), &none).0, 0, "they come with the fifth");
        assert_eq!(epochs.logins_at(&position("0-1-5"), &none).0, 5);
        assert_eq!(epochs.logins_at(&position("0-1-20"), &none), (20, None));
    }

    #[test]
    fn what_is_known_of_one_server_is_not_taken_for_the_next_ones() {
        let applied = Applied::default();
        assert!(applied.has(0, 9) && !applied.has(1, 0));
        applied.note(3, 1);
        applied.note(2, 1);
        assert!(applied.has(3, 1) && !applied.has(4, 1) && !applied.has(3, 2));
        applied.note(1, 2);
        assert!(applied.has(1, 2) && !applied.has(3, 2) && !applied.has(1, 1));
        assert_eq!(had_at_opening(applied.now(), 2), 1);
        assert_eq!(had_at_opening(applied.now(), 1), 1, "of before, and here still");
        assert_eq!(had_at_opening(applied.now(), 3), 0);
    }

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
