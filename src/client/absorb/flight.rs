//! Statements on their way to the primary, and what other sessions' statements there may have seen of them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::writes::{Changes, WriteTracker, is_quiet, may_write};
use crate::client::Session;
use crate::client::statement::Work;
use crate::pool::{Checkout, Retire};
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::route::flights::{Commits, Flight};
use crate::route::token::SharedToken;
use crate::sql::{Class, Effects, Reason, RouteHint, Verdict, mentions};

/// How long the scope of a statement that was lost reads on the primary until that is over. What takes longer
/// rolls back most likely, or waits.
const LOST_WAIT: Duration = Duration::from_secs(30);

/// A statement that was sent to the primary; on its way until this is dropped.
#[derive(Debug)]
pub(in crate::client) struct Sent {
    /// Where it counts, if it does: most reads cost their scope nothing.
    written: Option<Arc<SharedToken>>,
    flight: Flight,
}

impl Sent {
    /// Before it is sent.
    pub(super) fn new(written: &Arc<SharedToken>, commits: Commits) -> Self {
        let flight = written.flights.begin(commits);
        let written = (commits != Commits::Never).then(|| Arc::clone(written));
        Self { written, flight }
    }

    pub(super) fn flight(&self) -> Flight {
        self.flight
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(written) = &self.written {
            written.flights.end(self.flight);
        }
    }
}

/// A statement whose connection was lost, or of which more is to be found out: until this is dropped, all that is
/// written in its scope has no known position.
#[derive(Debug)]
pub(super) struct Lost(Arc<SharedToken>);

impl Lost {
    pub(super) fn new(written: &Arc<SharedToken>) -> Self {
        written.flights.lose();
        Self(Arc::clone(written))
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        self.0.flights.forget_lost();
    }
}

impl WriteTracker {
    /// A statement that may write has ended out of sight, with its connection. A killed one may be in the midst of
    /// its commit, and a server that has not noticed goes on: nobody knows until it has that connection no more.
    /// The task that waits for this goes on by itself.
    pub(in crate::client) fn lose(
        self: &Arc<Self>,
        checkout: Checkout,
        how: Retire,
        sent: Option<Sent>,
        changes: Changes,
    ) -> JoinHandle<()> {
        // Nothing that was not sent, or not to the primary, is committed.
        let mut lost = sent.as_ref().map(|_| Lost::new(self.written()));
        self.note_unseen(changes);
        let (writes, ended) = (Arc::clone(self), checkout.end(how));
        tokio::spawn(async move {
            let mut ended = pin!(ended);
            if timeout(LOST_WAIT, &mut ended).await.is_err() && sent.is_some() {
                lost = None;
                ended.await;
            }
            writes.note_unseen(changes);
            drop((lost, sent));
        })
    }
}

impl WriteTracker {
    /// A connection is to go whose transaction the server has yet to roll back: rows of it that others see get
    /// their position then.
    pub(in crate::client) fn discard(self: &Arc<Self>, checkout: Checkout, how: Retire) {
        if !self.holds_back() || !checkout.pool().backend().is_primary() {
            return checkout.discard(how);
        }
        let lost = Lost::new(self.written());
        self.hold_back(false);
        let (writes, ended) = (Arc::clone(self), checkout.end(how));
        tokio::spawn(async move {
            // After that it may be missed until its end.
            let _ = timeout(LOST_WAIT, ended).await;
            writes.note_unknown();
            drop(lost);
        });
    }
}

/// What a session may have seen of others' writes before they were told. Only the session itself changes it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The age at which that was, and one more (see `flights`); 0 for nothing.
    age: AtomicU64,
    /// Readings of the primary's position that had begun then.
    readings: AtomicU64,
}

impl Seen {
    /// Whether something that was seen before has not been told yet.
    pub(super) fn is_some(&self) -> bool {
        self.age.load(Ordering::Relaxed) > 0
    }

    pub(super) fn set(&self, age: u64, readings: u64) {
        self.readings.store(readings, Ordering::Relaxed);
        self.age.store(age + 1, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.age.store(0, Ordering::Relaxed);
    }

    /// The age, and readings that had begun.
    pub(super) fn get(&self) -> Option<(u64, u64)> {
        let age = self.age.load(Ordering::Relaxed).checked_sub(1)?;
        Some((age, self.readings.load(Ordering::Relaxed)))
    }
}

impl Session {
    /// `work` is about to be sent to the primary.
    pub(in crate::client) fn sends(&self, work: &Work<'_>) -> Sent {
        self.writes.sends(self.commits(work))
    }

    /// What others may see of `work` before its end is known here.
    fn commits(&self, work: &Work<'_>) -> Commits {
        let Verdict { class, reason, effects, statements, .. } = *work.verdict;
        if is_quiet(work.command) {
            return Commits::Never;
        }
        // A function commits nothing by itself.
        let is_opaque = effects.contains(Effects::OPAQUE) && reason != Reason::UnknownFunction;
        if class != Class::Read && (statements > 1 || is_opaque) {
            return Commits::InSteps;
        }
        let is_open = self.status.contains(Status::IN_TRANS);
        let may_be_open = self.may_be_open();
        let is_alone = !is_open && (self.autocommit || self.begun_autocommit.is_none());
        let commits = match class {
            Class::Write if effects.contains(Effects::IMPLICIT_COMMIT) => true,
            _ if effects.contains(Effects::UNLOCK_TABLES) => may_be_open,
            // XA COMMIT.
            Class::Write if reason == Reason::TransactionControl => {
                !effects.intersects(Effects::SAVEPOINT | Effects::XA)
            }
            Class::Write => {
                is_alone
                    && (may_write(work.verdict)
                        || matches!(reason, Reason::Sequence | Reason::LockingClause))
            }
            Class::Commit | Class::Begin { .. } | Class::Session => may_be_open,
            // What a replica refused may write, by a function that a view calls; so may what none is to be asked.
            Class::Read => {
                let is_hinted = work.verdict.hint.route == Some(RouteHint::Primary);
                self.under_way.was_refused || is_hinted && work.verdict.uses_table && is_alone
            }
            Class::Rollback | Class::Diagnostics | Class::Kill { .. } => false,
        };
        if commits { Commits::AtItsEnd } else { Commits::Never }
    }
}

/// Whether a statement may tell its client of rows that are there, or that others are done with them: by a lock by
/// name that they have let go, or a wait for their position.
pub(super) fn may_see(command: Command, verdict: &Verdict, sql: &[u8]) -> bool {
    let looks = verdict.uses_table
        || verdict.effects.contains(Effects::OPAQUE)
        || matches!(
            verdict.reason,
            Reason::UnknownFunction
                | Reason::DictionaryRead
                | Reason::SystemSchema
                | Reason::NotUnderstood
        )
        || verdict.class == Class::Write
            && [&b"_lock"[..], b"_wait", b"wait_for"].iter().any(|word| mentions(sql, word));
    looks && !is_quiet(command)
}
