//! What binds a session to its connection, as operators see it: pins, and how long.

use tokio::time::Instant;

use super::Session;
use crate::metrics::BoundBy;
use crate::protocol::status::Status;
use crate::state::{Pin, Pins};

/// What has been shown of a session's binding.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pins: Pins,
    /// What keeps the connection, and the moment up to which that time is counted.
    bound: Option<(BoundBy, Instant)>,
}

impl Session {
    /// Nothing binds the session to a connection any more.
    pub(super) fn forget_binding(&mut self) {
        self.pins = Pins::default();
        self.open_cursors.clear();
        self.long_data.clear();
        self.status -= Status::IN_TRANS;
        self.entry.set_released();
        self.show_binding();
    }

    /// Shows what binds the session in metrics and registry.
    pub(super) fn show_binding(&mut self) {
        let in_transaction = self.status.contains(Status::IN_TRANS);
        self.entry.set_bound(self.pins, in_transaction);
        self.count_bound_time(in_transaction);
        if self.pins == self.shown.pins {
            return;
        }
        for &pin in Pin::ALL {
            let index = pin as usize;
            match (self.shown.pins.has(pin), self.pins.has(pin)) {
                (false, true) => {
                    self.context.metrics.pinned(index).inc();
                    self.context.metrics.pins_total(index).inc();
                }
                (true, false) => self.context.metrics.pinned(index).dec(),
                _ => {}
            }
        }
        self.shown.pins = self.pins;
    }

    /// Free sessions, nearly all, cost no look at the clock.
    fn count_bound_time(&mut self, in_transaction: bool) {
        let by = match (self.held.is_some(), in_transaction, self.pins.is_empty()) {
            (false, ..) => None,
            (true, false, false) => Some(BoundBy::Pin),
            // Without autocommit a transaction may be open that no flag shows.
            (true, true, _) | (true, false, true) => Some(BoundBy::Transaction),
        };
        if by.is_none() && self.shown.bound.is_none() {
            return;
        }
        let now = Instant::now();
        if let Some((by, since)) = self.shown.bound {
            let seconds = now.duration_since(since).as_secs_f64();
            self.context.metrics.sessions.bound_seconds_total(by).inc_by(seconds);
        }
        self.shown.bound = by.map(|by| (by, now));
    }
}
