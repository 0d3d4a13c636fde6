//! The lock guard: which urgent statements wait for locks of less urgent work, and what to do.
//!
//! ```text
//!  slots held now ── an urgent statement runs for long beside later lanes? ──► ask the server
//!  its answer     ── it waits, for whom?  ──► report ──► pace: others of later lanes wait a moment
//!                                                    └─► abort: the holder is rolled back
//! ```
//!
//! Whoever waits for batch, or for a program that does not go through Fairlane, is not to be taken for batch because it
//! held its slot meanwhile: that time is told ([`LockGuard::waited`]), and not counted as use. So such waits are also looked for where behaviour has put
//! the waiter into the batch lane itself; but nobody is told anything for its sake there.
//!
//! Slots do not help against locks: a scraper's transaction that holds a row makes a click wait
//! however many connections are free. This is priority inversion (Lampson and Redell, 1980). `pace` is
//! the nearest thing to priority inheritance (Sha, Rajkumar and Lehoczky, 1990) that a proxy can do:
//! it can't make the holder faster but by making others of its lane wait.
//!
//! Invariants: the server is asked only while an urgent statement runs for longer than the patience
//! and a session of a later lane could hold what it waits for, or while one runs for so long that it could be taken for
//! batch because of that; not more often than each [`PROBE_SPACING`]; of later lanes nobody is held back for more than [`PACE_MAX`] in a row or half of
//! the time; a session of the waiter's own or an earlier lane is never told anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::settings::LockPolicy;

/// How long a statement runs at least before the server is asked about it only since behaviour has put it into a
/// later lane than it would be in: batch work runs long, and mostly waits for nothing.
const PATIENCE_IN_BATCH: Duration = Duration::from_millis(100);
/// The same where no session of a later lane could have what it waits for: another program may.
const PATIENCE_ALONE: Duration = FOUND_AFTER;
/// Least time between two questions. MariaDB gives answers of up to 100 ms ago to whoever asks more
/// often than that.
pub const PROBE_SPACING: Duration = Duration::from_millis(200);
/// A statement that waits for nothing is looked at less and less often, but this often.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// A statement that waits is looked at at least this often.
const WATCH_MAX: Duration = Duration::from_secs(1);
/// How long before the first answer that tells of it a wait may have begun, at most, for its time not to be counted as use:
/// one that is there from a statement's beginning is found by the first question or the second.
const FOUND_AFTER: Duration = Duration::from_millis(300);
/// Longest time for which statements are held back, and least time before it happens again.
pub const PACE_MAX: Duration = Duration::from_millis(200);
/// The same for who is inside of a transaction: others may wait for its locks.
pub const PACE_INSIDE_MAX: Duration = Duration::from_millis(50);
/// Whoever thinks for longer inside its transaction does not get faster by others' waiting.
const THINKING: Duration = Duration::from_millis(20);

/// A session that holds a slot, as seen at one moment. Times are since a common start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The session.
    pub session: u32,
    /// Its lane, as chosen when it got the slot: the smaller the more urgent.
    pub lane: usize,
    /// The lane it would be in if behaviour decided nothing.
    pub native: usize,
    /// Behaviour chooses its lane: what it uses counts.
    pub is_judged: bool,
    /// The server's id of its connection.
    pub thread: u64,
    /// A statement runs; otherwise it waits for its client.
    pub is_running: bool,
    /// Since when it does.
    pub since: Duration,
    /// A transaction is open.
    pub in_transaction: bool,
}

/// What kind of lock is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum LockKind {
    /// Rows, gaps between them, tables of the storage engine.
    Row = 0,
    /// The definition of a table or more.
    Metadata = 1,
}

impl LockKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Row, Self::Metadata];

    /// Its name in metrics and the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Metadata => "metadata",
        }
    }
}

/// One connection waits for another, as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWait {
    /// Who waits.
    pub waiting: u64,
    /// For whom; `None` when the server does not tell.
    pub blocking: Option<u64>,
    /// For what.
    pub kind: LockKind,
    /// The statement that waits, as far as the server shows it.
    pub statement: String,
}

/// Who makes a statement wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocker {
    /// The server's id of its connection.
    pub thread: u64,
    /// Session and lane, if it is one of Fairlane's.
    pub session: Option<(u32, usize)>,
}

/// A statement that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Its session, as last seen.
    pub waiter: Holder,
    /// Since when it may wait: it was not found waiting before.
    pub since: Duration,
    /// For what.
    pub kind: LockKind,
    /// The statement, as far as the server shows it.
    pub statement: String,
    /// Who makes it wait, the least urgent first; empty when the server does not tell.
    pub blockers: Vec<Blocker>,
    /// Sessions that have to get on for it to end: blockers, and who makes those wait.
    chain: BTreeSet<u32>,
    /// Blockers that were told to roll back.
    told: BTreeSet<u32>,
    /// Up to when its session has been told of it.
    counted: Duration,
}

impl Wait {
    /// The lane of the first blocker.
    pub fn blocker_lane(&self) -> Option<usize> {
        self.blockers.first()?.session.map(|(_, lane)| lane)
    }

    /// Blockers that were told to roll back for it.
    pub fn told(&self) -> impl Iterator<Item = u32> {
        self.told.iter().copied()
    }

    /// Whether somebody makes it wait whose work would be less urgent, whatever behaviour says of the waiter, or who
    /// is no session here. While nobody knows who it is, it is another program's connection.
    fn is_for_others(&self) -> bool {
        let is_later = |(_, lane)| lane > self.waiter.native;
        let is_other = |blocker: &Blocker| blocker.session.is_none_or(is_later);
        self.blockers.is_empty() || self.blockers.iter().any(is_other)
    }

    /// Blockers whose work is less urgent.
    fn culprits(&self) -> impl Iterator<Item = u32> {
        let is_later = |(_, lane): &(u32, usize)| *lane > self.waiter.lane;
        self.blockers
            .iter()
            .filter_map(|blocker| blocker.session)
            .filter(is_later)
            .map(|(id, _)| id)
    }
}

/// What a look at the slots has shown.
#[derive(Debug, Default)]
pub struct Look {
    /// Connections that may wait for locks: to be asked about now; empty when there is no need.
    pub ask: Vec<u64>,
    /// Waits that are over.
    pub ended: Vec<Wait>,
}

/// Whose statements are held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Those of lanes behind this one ...
    pub behind: usize,
    /// ... but for these sessions, which are to end first.
    pub exempt: BTreeSet<u32>,
}

/// When a statement is looked at again.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Duration,
    pause: Duration,
    /// When it was last found not to wait; its beginning at first.
    free_at: Duration,
}

impl Turn {
    /// It is looked at again after a pause that grows up to `longest`.
    fn again(&mut self, now: Duration, longest: Duration) {
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(longest);
    }
}

/// Watches one server.
#[derive(Debug)]
pub struct LockGuard {
    policy: LockPolicy,
    abort_after: Duration,
    /// Statements that run for long: by session and the time they began.
    turns: BTreeMap<(u32, Duration), Turn>,
    next_probe: Duration,
    /// The server has not answered what it was asked last.
    is_unanswered: bool,
    waits: Vec<Wait>,
    /// Waits that were over when the server was asked last.
    over: Vec<Wait>,
    /// When statements began to be held back, or when that ended last.
    paced_since: Option<Duration>,
    rested_since: Option<Duration>,
}

impl LockGuard {
    /// With nobody waiting. `abort_after` is for [`LockPolicy::Abort`].
    pub fn new(policy: LockPolicy, abort_after: Duration) -> Self {
        Self {
            policy,
            abort_after,
            turns: BTreeMap::new(),
            next_probe: Duration::ZERO,
            is_unanswered: false,
            waits: Vec::new(),
            over: Vec::new(),
            paced_since: None,
            rested_since: None,
        }
    }

    /// Who waits now.
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// Looks at the slots held at `now`. Statements count from `patience` on.
    pub fn look(&mut self, now: Duration, patience: Duration, held: &[Holder]) -> Look {
        let mut look = Look::default();
        let still = |waiter: &Holder| held.iter().any(|seen| is_same(seen, waiter));
        let (waits, ended) =
            std::mem::take(&mut self.waits).into_iter().partition(|wait| still(&wait.waiter));
        (self.waits, look.ended) = (waits, ended);
        look.ended.append(&mut self.over);
        let slow: Vec<&Holder> =
            held.iter().filter(|holder| may_wait(holder, now, patience, held)).collect();
        self.turns.retain(|key, _| slow.iter().any(|holder| key_of(holder) == *key));
        for holder in &slow {
            let turn = Turn { at: now, pause: PROBE_SPACING, free_at: holder.since };
            self.turns.entry(key_of(holder)).or_insert(turn);
        }
        let is_due = self.turns.values().any(|turn| turn.at <= now);
        if is_due && now >= self.next_probe {
            self.next_probe = now + PROBE_SPACING;
            self.is_unanswered = true;
            look.ask = slow.iter().map(|holder| holder.thread).collect();
        }
        look
    }

    /// Takes in what the server has answered about the slots held at `now`, which is after it was
    /// asked. The waits that are new.
    pub fn learn(&mut self, now: Duration, held: &[Holder], answer: &[LockWait]) -> Vec<Wait> {
        self.is_unanswered = false;
        let mut known = std::mem::take(&mut self.waits);
        let mut new = Vec::new();
        for holder in held.iter().filter(|holder| holder.is_running) {
            let Some(turn) = self.turns.get_mut(&key_of(holder)) else { continue };
            let at = known.iter().position(|wait| is_same(&wait.waiter, holder));
            let before = at.map(|at| known.swap_remove(at));
            let Some(mut wait) = wait_of(holder, held, answer) else {
                self.over.extend(before);
                turn.free_at = now;
                turn.again(now, LOOK_MAX);
                continue;
            };
            if before.is_none() {
                turn.pause = PROBE_SPACING;
            }
            wait.since = turn.free_at;
            turn.again(now, WATCH_MAX);
            let acts_at = wait.since + self.abort_after;
            let is_near = acts_at > now && turn.at + PROBE_SPACING > acts_at;
            if self.policy == LockPolicy::Abort && is_near {
                // Asked a moment before, it could not be asked in time.
                turn.at = acts_at;
            }
            match before {
                Some(before) => (wait.told, wait.counted) = (before.told, before.counted),
                None => {
                    wait.counted = wait.since.max(now.saturating_sub(FOUND_AFTER));
                    new.push(wait.clone());
                }
            }
            self.waits.push(wait);
        }
        self.over.append(&mut known);
        new
    }

    /// Statements that wait for less urgent work or another program, and for how long they have since this was asked last, as far as the
    /// server's answers tell: while it gives none, nothing is known to go on.
    pub fn waited(&mut self, now: Duration) -> impl Iterator<Item = (Holder, Duration)> {
        let (turns, is_known) = (&self.turns, !self.is_unanswered);
        let waits = self.waits.iter_mut().filter(move |_| is_known);
        waits.filter(|wait| wait.is_for_others()).filter_map(move |wait| {
            let from = std::mem::replace(&mut wait.counted, now);
            // Without a turn nobody else's lock is to be thought of any more, and the server is not asked.
            let is_watched = turns.contains_key(&key_of(&wait.waiter));
            is_watched.then(|| (wait.waiter, now.saturating_sub(from)))
        })
    }

    /// Those told to roll back for a wait that is over who need not any more: nobody else waits for them.
    pub fn excused(&self, ended: &Wait) -> impl Iterator<Item = u32> {
        ended.told().filter(|id| !self.waits.iter().any(|wait| wait.told.contains(id)))
    }

    /// Sessions that have to be rolled back: to be called after [`Self::learn`], whose answer is new.
    pub fn aborts(&mut self, now: Duration, answer: &[LockWait]) -> Vec<u32> {
        if self.policy != LockPolicy::Abort {
            return Vec::new();
        }
        let waiting: BTreeSet<u64> = answer.iter().map(|wait| wait.waiting).collect();
        let mut all = Vec::new();
        for wait in &mut self.waits {
            let has_waited = now.saturating_sub(wait.since) >= self.abort_after;
            if wait.kind != LockKind::Row || !has_waited {
                continue;
            }
            // Who waits in front of it for the same lock may get it, and be quick, when the holder
            // is gone; where everybody waits it is them.
            let moves = |blocker: &&Blocker| !waiting.contains(&blocker.thread);
            let is_held = wait.blockers.iter().any(|blocker| moves(&blocker));
            let culprits: BTreeSet<u32> = wait.culprits().collect();
            let to_tell = wait.blockers.iter().filter(|blocker| !is_held || moves(blocker));
            for (session, _) in to_tell.filter_map(|blocker| blocker.session) {
                if culprits.contains(&session) && wait.told.insert(session) {
                    all.push(session);
                }
            }
        }
        all
    }

    /// Whether, and whose, statements are held back at `now`.
    pub fn pace(&mut self, now: Duration, held: &[Holder]) -> Option<Pace> {
        let pace = self.wanted_pace(now, held);
        let Some(pace) = pace else {
            self.rest(now);
            return None;
        };
        if self.rested_since.is_some_and(|since| now.saturating_sub(since) < PACE_MAX) {
            return None;
        }
        let since = *self.paced_since.get_or_insert(now);
        if now.saturating_sub(since) >= PACE_MAX {
            self.rest(now);
            return None;
        }
        Some(pace)
    }

    fn rest(&mut self, now: Duration) {
        if self.paced_since.take().is_some() {
            self.rested_since = Some(now);
        }
    }

    fn wanted_pace(&self, now: Duration, held: &[Holder]) -> Option<Pace> {
        if self.policy != LockPolicy::Pace {
            return None;
        }
        let moves = |session: &u32| {
            let seen = held.iter().find(|seen| seen.session == *session);
            seen.is_some_and(|seen| seen.is_running || now.saturating_sub(seen.since) < THINKING)
        };
        let helped = |wait: &&Wait| wait.culprits().any(|culprit| moves(&culprit));
        let helped: Vec<&Wait> = self.waits.iter().filter(helped).collect();
        let behind = helped.iter().map(|wait| wait.waiter.lane).min()?;
        let exempt = helped.iter().flat_map(|wait| &wait.chain).copied().collect();
        Some(Pace { behind, exempt })
    }
}

/// A statement by its session and beginning.
fn key_of(holder: &Holder) -> (u32, Duration) {
    (holder.session, holder.since)
}

/// Whether both are the same running statement.
fn is_same(seen: &Holder, waiter: &Holder) -> bool {
    seen.is_running && key_of(seen) == key_of(waiter)
}

/// Whether a statement runs for long, and somebody of a later lane may have what it waits for; or, when it has run for
/// so long that a wait would count as its use, anybody.
fn may_wait(holder: &Holder, now: Duration, patience: Duration, held: &[Holder]) -> bool {
    let runs_for = now.saturating_sub(holder.since);
    let than =
        if runs_for >= PATIENCE_IN_BATCH { holder.native.min(holder.lane) } else { holder.lane };
    let is_culprit = |other: &Holder| {
        let may_hold = other.is_running || other.in_transaction;
        other.lane > than && may_hold && other.session != holder.session
    };
    let is_alone = holder.is_judged && runs_for >= PATIENCE_ALONE.max(patience);
    holder.is_running && runs_for >= patience && (is_alone || held.iter().any(is_culprit))
}

/// The wait of a session according to the server.
fn wait_of(holder: &Holder, held: &[Holder], answer: &[LockWait]) -> Option<Wait> {
    let own: Vec<&LockWait> = answer.iter().filter(|wait| wait.waiting == holder.thread).collect();
    let first = own.first()?;
    let session_of = |thread: u64| {
        let seen = held.iter().find(|seen| seen.thread == thread);
        seen.map(|seen| (seen.session, seen.lane))
    };
    let threads: BTreeSet<u64> = own.iter().filter_map(|wait| wait.blocking).collect();
    let mut blockers: Vec<Blocker> = threads
        .iter()
        .filter(|thread| **thread != holder.thread)
        .map(|&thread| Blocker { thread, session: session_of(thread) })
        .collect();
    blockers.sort_by_key(|blocker| std::cmp::Reverse(blocker.session.map(|(_, lane)| lane)));
    let mut reached = threads;
    loop {
        let next = answer.iter().filter(|wait| reached.contains(&wait.waiting));
        let more: Vec<u64> = next.filter_map(|wait| wait.blocking).collect();
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            break;
        }
    }
    let chain = reached.into_iter().filter_map(session_of).map(|(session, _)| session);
    Some(Wait {
        waiter: *holder,
        since: holder.since,
        kind: first.kind,
        statement: first.statement.clone(),
        blockers,
        chain: chain.collect(),
        told: BTreeSet::new(),
        counted: Duration::ZERO,
    })
}

#[cfg(test)]
#[path = "lock_guard_tests.rs"]
mod tests;
