//! Where a session notes its writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::MutexGuard;
use tokio::time::{Instant, sleep};

use super::changes::Changes;
use super::found::{Found, Needs};
use super::{LOG, SERVER, position_in};
use crate::client::Context;
use crate::client::absorb::flight::{Seen, Sent};
use crate::client::absorb::is_on;
use crate::pool::Epochs;
use crate::protocol::status::Tracked;
use crate::route::flights::{Commits, Flight};
use crate::route::freshness::Position;
use crate::route::token::{Reading, SharedToken, Stamp, Token};
use crate::topology::Topology;

/// Where a session notes its writes. Outlives the session where its statement does.
#[derive(Debug)]
pub(in crate::client) struct WriteTracker {
    written: Arc<SharedToken>,
    pub(super) topology: Arc<Topology>,
    epochs: Arc<Epochs>,
    session: u32,
    /// The session has written something that had no position where one was due.
    is_unlogged: AtomicBool,
    /// What it may have seen that is not in the token yet.
    seen: Seen,
    /// What it has found on the primary that others have committed.
    found: Found,
    /// Others see rows of its transaction that get a position when that ends.
    holds_back: AtomicBool,
}

impl WriteTracker {
    /// For the session with this id and user.
    pub(in crate::client) fn new(context: &Context, session: u32, user: &str) -> Self {
        Self {
            written: context.scopes.join(user),
            topology: Arc::clone(&context.topology),
            epochs: Arc::clone(&context.epochs),
            session,
            is_unlogged: AtomicBool::new(false),
            seen: Seen::default(),
            found: Found::default(),
            holds_back: AtomicBool::new(false),
        }
    }

    /// The same session as another user, who goes on seeing what it has written.
    pub(in crate::client) fn change(&self, context: &Context, user: &str) -> Self {
        // What a reading has told by now goes along in the token.
        let has_seen_more = self.has_seen_more();
        let changed = Self {
            written: context.scopes.change(&self.written, user),
            topology: Arc::clone(&self.topology),
            epochs: Arc::clone(&self.epochs),
            session: self.session,
            is_unlogged: AtomicBool::new(self.is_unlogged() || self.token().is_unlogged()),
            seen: Seen::default(),
            found: self.found.change(),
            holds_back: AtomicBool::new(false),
        };
        if has_seen_more {
            // What that was is on its way in the other scope.
            changed.note_unknown();
        }
        changed
    }

    /// The primary leaves no schema out of its binary log.
    pub(super) fn logs_all(&self) -> bool {
        self.topology.facts().is_some_and(|facts| facts.logs_all)
    }

    /// Sessions of the primary log statements as they are.
    pub(super) fn logs_statements(&self) -> bool {
        self.topology.facts().is_some_and(|facts| facts.logs_statements)
    }

    /// Whether a session with this value of a variable may write what a replica leaves out.
    pub(in crate::client::absorb) fn leaves_out(&self, name: &str, value: &str) -> bool {
        match name {
            LOG => !is_on(value),
            SERVER => {
                let own = self.topology.reading().own;
                own.is_some() && value.parse().ok() != own
            }
            _ => false,
        }
    }

    /// What replicas must have before the session reads there.
    pub(in crate::client) fn needs(&self) -> Needs<'_> {
        match self.found.is_any() {
            true => self.found.add_to(self.written.lock(), &self.topology.view()),
            false => Needs::Scope(self.written.lock()),
        }
    }

    /// What the scope has written and a replica must have.
    pub(in crate::client) fn token(&self) -> MutexGuard<'_, Token> {
        self.written.lock()
    }

    /// Whether the session has written something that had no position where one was due: it seems that no replica
    /// will ever have it.
    pub(in crate::client) fn is_unlogged(&self) -> bool {
        self.is_unlogged.load(Ordering::Relaxed)
    }

    /// The session has written something that had no position where one was due.
    pub(super) fn note_no_position(&self) {
        self.is_unlogged.store(true, Ordering::Relaxed);
    }

    /// What the scope has written.
    pub(in crate::client::absorb) fn written(&self) -> &Arc<SharedToken> {
        &self.written
    }

    /// Whether others see rows of its transaction that get a position when that ends.
    pub(in crate::client::absorb) fn holds_back(&self) -> bool {
        self.holds_back.load(Ordering::Relaxed)
    }

    /// Whether others see rows of the session's transaction that get a position when that ends: until then nothing
    /// that is written in the scope has a known one.
    pub(in crate::client) fn hold_back(&self, holds: bool) {
        if self.holds_back.load(Ordering::Relaxed) == holds
            || self.holds_back.swap(holds, Ordering::AcqRel) == holds
        {
            return;
        }
        if holds {
            self.written.flights.lose();
        }
        self.note_unknown();
        if !holds {
            self.written.flights.forget_lost();
        }
    }

    /// A statement that may commit so is about to be sent to the primary.
    pub(in crate::client::absorb) fn sends(&self, commits: Commits) -> Sent {
        Sent::new(&self.written, commits)
    }

    /// Whether the session may have seen, on the primary, what the token does not have yet.
    pub(in crate::client) fn has_seen_more(&self) -> bool {
        let Some((age, readings)) = self.seen.get() else { return false };
        let is_told = self.written.flights.have_ended(age) || {
            let reading = self.topology.reading();
            reading.number > readings && self.written.lock().raise(&reading)
        };
        if is_told {
            self.seen.clear();
        }
        !is_told
    }

    /// A statement on the primary has ended that may have seen what others have committed and nobody has told.
    /// Its session must not miss that. Others that its client tells of it ask, but beside a procedure, when that is
    /// told; beside one they must not miss what has left the statement nothing to change (`is_idle`).
    pub(super) fn note_seen(&self, own: Flight, is_idle: bool) {
        let beside = self.written.flights.beside(own);
        if beside == Commits::Never {
            return;
        }
        if beside == Commits::InSteps && is_idle {
            return self.note_unknown();
        }
        let is_again = self.seen.is_some();
        self.seen.set(self.written.flights.seen(), self.topology.readings_begun());
        // A reading is asked for where those that are on their way need not end soon.
        if (is_again || beside == Commits::InSteps) && self.topology.has_gtids() {
            self.topology.reading_wanted();
        }
    }

    /// A statement on the primary has changed nothing, as it seems, or locked rows: it has told its client of what anybody
    /// has committed.
    pub(super) fn note_found(&self) {
        if self.topology.has_gtids() {
            self.found.note(self.stamp());
        }
    }

    /// A transaction has ended, or a statement, at a position that is behind all that the session has found.
    pub(super) fn note_placed(&self) {
        self.found.note_placed();
    }

    /// Uses what is known of the primary's own position; whether that may help a read.
    pub(in crate::client) fn settle(&self) -> bool {
        let reading = self.topology.reading();
        let mut token = self.written.lock();
        if self.written.flights.have_lost() {
            return false;
        }
        let is_settled = token.settle(&reading);
        let (has_found, needs_more) = self.found.settle(&reading);
        if (token.is_unknown() || needs_more) && self.topology.has_gtids() {
            self.topology.reading_wanted();
        }
        is_settled || has_found
    }

    /// Something was, or may have been, written at a position that nobody tells.
    pub(in crate::client) fn note_unknown(&self) {
        self.written.lock().add_unknown(self.stamp());
        if self.topology.has_gtids() {
            self.topology.reading_wanted();
        }
    }

    /// Something may have been written, or may be from now on, that is left out of the binary log: no replica will
    /// ever have it.
    pub(in crate::client) fn note_unlogged(&self) {
        self.written.lock().add_unlogged(self.session);
        self.epochs.note_unlogged();
    }

    /// A statement that may have written has ended out of sight, and may have changed this as well.
    pub(in crate::client) fn note_unseen(&self, changes: Changes) {
        self.note_unknown();
        self.note_changes(changes);
    }

    /// What an answer to Fairlane itself has told.
    pub(in crate::client) fn note_told(&self, tracked: &[Tracked]) {
        tracked.iter().filter_map(position_in).for_each(|position| self.note(&position, None));
    }

    pub(super) fn note_changes(&self, changes: Changes) {
        if changes.tables {
            self.epochs.note_table_change();
        }
        // A FLUSH PRIVILEGES reads what anybody has left out of the log before, as a GRANT that fails does (MySQL).
        let is_astray = || {
            changes.is_astray
                || changes.logins && self.epochs.has_unlogged()
                || self.token().is_unlogged()
        };
        if (changes.logins || changes.hidden_logins) && is_astray() {
            self.epochs.note_astray();
        }
        if changes.logins {
            let mut at = self.written.lock().clone();
            // No replica would ever have it: privileges are compared.
            at.forget_unlogged();
            self.epochs.note_login_change(at);
        } else if changes.hidden_logins {
            let (topology, session) = (Arc::clone(&self.topology), self.session);
            self.note_hidden(Epochs::login_change_due, move |epochs| {
                epochs.note_login_change(unplaced(&topology, session));
            });
        }
        if changes.schemas {
            self.epochs.note_schema_change();
        } else if changes.hidden_schemas {
            self.note_hidden(Epochs::schema_change_due, Epochs::note_schema_change);
        }
    }

    /// Has what a text that nobody has seen may have changed counted when it is due.
    fn note_hidden(
        &self,
        due: fn(&Epochs, Instant) -> Option<Duration>,
        note: impl FnOnce(&Epochs) + Send + 'static,
    ) {
        match due(&self.epochs, Instant::now()) {
            None => {}
            Some(Duration::ZERO) => note(&self.epochs),
            Some(wait) => {
                let epochs = Arc::clone(&self.epochs);
                tokio::spawn(async move {
                    sleep(wait).await;
                    note(&epochs);
                });
            }
        }
    }

    /// A read is likely to follow: replicas are watched for its sake from now on. What was written may tell
    /// the last reading before: had the primary a transaction of that number then (RESET MASTER, or a client that
    /// numbers its own), the position says nothing.
    pub(super) fn note(&self, position: &Position, before: Option<&Reading>) {
        let stamp = self.stamp();
        let is_again = before.is_some_and(|it| it.had(position));
        let mut token = self.written.lock();
        token.add(position, stamp);
        if is_again || !self.topology.is_primary_met() {
            // A replica may have other transactions of these numbers.
            token.add_unknown(stamp);
        }
        drop(token);
        if is_again {
            self.topology.reading_wanted();
        }
        self.topology.written(position);
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { session: self.session, readings: self.topology.readings_begun() }
    }
}

impl Drop for WriteTracker {
    fn drop(&mut self) {
        self.hold_back(false);
    }
}

/// What was done by now, of which nobody has told where.
fn unplaced(topology: &Topology, session: u32) -> Token {
    let mut token = Token::default();
    token.add_unknown(Stamp { session, readings: topology.readings_begun() });
    if topology.has_gtids() {
        topology.reading_wanted();
    }
    token
}
