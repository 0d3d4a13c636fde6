//! A connection that is held while its client does something of which that hears nothing: it sends a command
//! that takes long to arrive, or gives one that Fairlane answers. To the server the client is idle meanwhile,
//! and it would close the connection.
//!
//! No command pays for this: how long a connection has heard nothing is asked after commands that were not
//! sent to it, and once a second while a session holds one and waits ([`super::adrift`]).

use std::time::Duration;

use super::{Session, Stop};

/// Time between looks at a connection that is held, and something for the way.
const LOOKS_APART: Duration = Duration::from_millis(1_500);

/// In transactions; 0 is none.
const IDLE_LIMITS: [&str; 3] = [
    "idle_transaction_timeout",
    "idle_readonly_transaction_timeout",
    "idle_write_transaction_timeout",
];

/// The id of no statement, which can be closed without an answer: unlike COM_PING that leaves ROW_COUNT() and the
/// list of GET DIAGNOSTICS alone.
const NO_STATEMENT: u32 = 0;

/// When the connection that is held was seen to have been sent something.
#[derive(Debug, Default)]
pub(super) struct LastHeard {
    /// How much by then.
    sent: u64,
    at: Duration,
}

impl Session {
    /// Whether the held connection is to hear that its client is there: that has done something since, and
    /// time runs out. The client waits at `at`, or goes on to.
    pub(super) fn has_to_keep_held(&mut self, at: Duration) -> bool {
        let Some(held) = &mut self.held else {
            self.last_heard.sent = 0;
            return false;
        };
        let sent = held.connection().bytes_sent;
        if sent != self.last_heard.sent {
            self.last_heard = LastHeard { sent, at };
            return false;
        }
        let heard = self.last_heard.at;
        let (_, active) = self.entry.activity();
        active > heard && at.saturating_sub(heard) >= due_after(self.held_limit())
    }

    /// How long the server lets the client be idle there.
    fn held_limit(&mut self) -> Duration {
        let limit = self.held.as_mut().map_or(Duration::MAX, |held| held.connection().rest_limit());
        let own = IDLE_LIMITS.into_iter().map(|name| self.seconds(name, 0));
        own.filter(|limit| !limit.is_zero()).fold(limit, Duration::min)
    }

    /// Tells the held connection that its client is there.
    pub(super) async fn keep_held(&mut self) -> Result<(), Stop> {
        let Some(held) = &mut self.held else { return Ok(()) };
        let connection = held.connection();
        if connection.close_statement(NO_STATEMENT).await.is_err() {
            self.lose_held().await;
            return Err(Stop::Fatal);
        }
        self.last_heard = LastHeard { sent: connection.bytes_sent, at: self.context.now() };
        Ok(())
    }
}

/// After how long without a word a connection with this limit has to hear something.
fn due_after(limit: Duration) -> Duration {
    (limit / 2).min(limit.saturating_sub(LOOKS_APART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_hears_something_before_its_limit_also_if_the_next_look_is_late() {
        let due = |seconds| due_after(Duration::from_secs(seconds));
        assert_eq!([due(600), due(5)], [Duration::from_secs(300), Duration::from_millis(2_500)]);
        for seconds in 2..100 {
            assert!(due(seconds) + LOOKS_APART <= Duration::from_secs(seconds), "{seconds}");
        }
        assert_eq!(due(1), Duration::ZERO);
    }
}
