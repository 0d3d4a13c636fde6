//! Idle connections: the best match for a session, and who is too old.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Request;
use crate::backend::{Connection, UnreadHere, UnreadId};
use crate::metrics::Closed;
use crate::route::whereabouts::Whereabouts;
use crate::state::diff::{distance, is_reachable};

/// What speaks against a connection, the weightiest first: it is not the one with the session's
/// own LAST_INSERT_ID(), has begun later than the session, takes that many changes, is watched by
/// another worker, has to be asked for another session's id, has not the session's.
type Cost = (bool, bool, usize, bool, bool, bool);

/// Idle connections, the least recently used first.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a connection is moved often, and is large")]
pub(super) struct Idle(Vec<Box<Connection>>);

impl Idle {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, connection: Box<Connection>) {
        self.0.push(connection);
    }

    /// The connection that takes the fewest changes, of equals one whose socket this worker watches
    /// already, of these the most recently used: a small set stays warm and the rest ages out. One
    /// that has begun with what the session has begun with comes before all newer ones; after one of these it is
    /// too old for it.
    /// Only those of the server that is there now count.
    pub(super) fn take_match(
        &mut self,
        want: &Request<'_>,
        place: &Whereabouts,
    ) -> Option<Box<Connection>> {
        let mut best: Option<(usize, Cost)> = None;
        for (index, connection) in self.0.iter().enumerate().rev() {
            let fits = *connection.key == **want.key && connection.epoch >= want.epoch;
            let is_here = place.has(connection.generation);
            if !fits || !is_here || !is_reachable(&connection.image, want.image) {
                continue;
            }
            let unread = connection.unread.as_ref();
            let is_own = unread.is_some_and(|unread| unread.is_of(want.unread));
            let has_id = want.insert_id == 0 || connection.insert_id == Some(want.insert_id);
            let distance = distance(&connection.image, want.image);
            let is_others = !is_own && unread.is_some_and(UnreadHere::is_wanted);
            let is_away = want.unread.is_some() && !is_own;
            let is_newer = connection.epoch > want.epoch;
            let cost = (is_away, is_newer, distance, !connection.is_here(), is_others, !has_id);
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((index, cost));
            }
            if cost == (false, false, 0, false, false, false) {
                break;
            }
        }
        best.map(|(index, _)| self.0.remove(index))
    }

    /// The one on which the LAST_INSERT_ID() of a session is unread.
    pub(super) fn take_unread(&mut self, unread: &Arc<UnreadId>) -> Option<Box<Connection>> {
        let is_it = |connection: &Connection| {
            connection.unread.as_ref().is_some_and(|here| here.is_of(Some(unread)))
        };
        let index = self.0.iter().position(|connection| is_it(connection))?;
        Some(self.0.remove(index))
    }

    /// The least recently used one.
    pub(super) fn take_oldest(&mut self) -> Option<Box<Connection>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    #[expect(clippy::vec_box, reason = "as in the field")]
    pub(super) fn take_all(&mut self) -> Vec<Box<Connection>> {
        std::mem::take(&mut self.0)
    }

    /// Those that were idle or alive for too long, or are of another server than is there now. The servers'
    /// own limit is never waited for.
    pub(super) fn take_old(
        &mut self,
        now: Instant,
        (idle_timeout, max_age): (Duration, Duration),
        place: &Whereabouts,
    ) -> Vec<(Box<Connection>, Closed)> {
        let mut old = Vec::new();
        let mut index = 0;
        while index < self.0.len() {
            let connection = &self.0[index];
            let idle_timeout = idle_timeout.min(connection.rest_limit().mul_f64(0.75));
            let reason = if !place.has(connection.generation) {
                Closed::Moved
            } else if now.duration_since(connection.idle_since) > idle_timeout {
                Closed::Idle
            } else if now.duration_since(connection.opened_at) > max_age {
                Closed::Age
            } else {
                index += 1;
                continue;
            };
            old.push((self.0.remove(index), reason));
        }
        old
    }
}
