//! Idle connections: the best match for a session, and who is too old.

use std::time::Duration;

use tokio::time::Instant;

use super::Request;
use crate::backend::Connection;
use crate::metrics::Closed;
use crate::state::diff::{distance, is_reachable};

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
    /// that has begun with what the session has begun with comes before all newer ones.
    pub(super) fn take_match(&mut self, want: &Request<'_>) -> Option<Box<Connection>> {
        let mut best: Option<(usize, (bool, usize, bool, bool))> = None;
        for (index, connection) in self.0.iter().enumerate().rev() {
            let fits = *connection.key == **want.key && connection.epoch >= want.epoch;
            if !fits || !is_reachable(&connection.image, want.image) {
                continue;
            }
            let has_id = want.insert_id == 0 || connection.insert_id == want.insert_id;
            let distance = distance(&connection.image, want.image);
            let is_newer = connection.epoch > want.epoch;
            let cost = (is_newer, distance, !connection.is_here(), !has_id);
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((index, cost));
            }
            if cost == (false, 0, false, false) {
                break;
            }
        }
        best.map(|(index, _)| self.0.remove(index))
    }

    /// The least recently used one.
    pub(super) fn take_oldest(&mut self) -> Option<Box<Connection>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    #[expect(clippy::vec_box, reason = "as in the field")]
    pub(super) fn take_all(&mut self) -> Vec<Box<Connection>> {
        std::mem::take(&mut self.0)
    }

    /// Those that were idle or alive for too long.
    pub(super) fn take_old(
        &mut self,
        now: Instant,
        idle_timeout: Duration,
        max_age: Duration,
    ) -> Vec<(Box<Connection>, Closed)> {
        let mut old = Vec::new();
        let mut index = 0;
        while index < self.0.len() {
            let connection = &self.0[index];
            let reason = if now.duration_since(connection.idle_since) > idle_timeout {
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
