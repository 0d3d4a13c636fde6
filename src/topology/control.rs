//! One task per backend: connect, ask, publish; again and again until told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::line::{Line, Trouble};
use super::primary::Primary;
use super::replica::Replica;
use super::{Desk, Shared};
use crate::route::view::BackendId;

/// First and longest pause between two attempts to connect; half as much again is random.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(3300));

/// Runs the control task and starts it anew should it ever panic, which a broken answer to the
/// client library might cause: the proxy goes on with the server marked as down meanwhile.
pub(super) async fn supervise(shared: Arc<Shared>, backend: BackendId) {
    loop {
        let task = AbortOnDropHandle::new(tokio::spawn(run(Arc::clone(&shared), backend)));
        match task.await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(backend = shared.name(backend), %error, "control task failed");
                shared.publish_lost(backend);
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep(BACKOFF.1) => {}
        }
    }
}

async fn run(shared: Arc<Shared>, backend: BackendId) {
    let mut line = Line::new(&shared.settings, backend);
    tokio::select! {
        () = shared.stop.cancelled() => {}
        never = keep_connected(&shared, backend, &mut line) => match never {},
    }
    shared.desk(backend).kills.close();
    line.close().await;
}

async fn keep_connected(shared: &Shared, backend: BackendId, line: &mut Line) -> Infallible {
    let mut backoff = Backoff::default();
    let mut told = None;
    let mut role = match backend {
        BackendId::PRIMARY => Role::Primary(Box::new(Primary::new(shared))),
        _ => Role::Replica(Box::new(Replica::new(shared, backend))),
    };
    loop {
        let served = match &mut role {
            Role::Primary(primary) => primary.serve(line, &mut backoff).await,
            Role::Replica(replica) => replica.serve(line, &mut backoff).await,
        };
        let trouble = match served {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        };
        match &mut role {
            Role::Primary(primary) => primary.lost(&trouble),
            Role::Replica(replica) => replica.lost(&trouble),
        }
        let text = trouble.to_string();
        let name = shared.name(backend);
        if backoff.is_fresh() || told.as_ref() != Some(&text) {
            tracing::warn!(backend = name, error = text, "no control connection");
        } else {
            tracing::debug!(backend = name, error = text, "still no control connection");
        }
        told = Some(text);
        line.close().await;
        sleep(backoff.next_pause()).await;
    }
}

enum Role<'a> {
    Primary(Box<Primary<'a>>),
    Replica(Box<Replica<'a>>),
}

/// Least time between two looks where an address leads to; longer after it has led to other servers twice
/// within a minute, or one that leads to several by turns would have connections closed all the time.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
const MOVES_WITHIN: Duration = Duration::from_secs(60);

/// First and longest pause between looks of a primary that is read-only, which may have become a replica, and of a
/// replica that is out of rotation.
const SUSPECT_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// When the control connection has to be opened anew, to see where its address leads to.
pub(super) struct Doubt {
    not_before: Option<Instant>,
    /// By what the server itself says; and the pause until the next look for that.
    suspected: Option<Instant>,
    pause: Duration,
    /// When the address has led to another server last.
    moved: Option<Instant>,
}

impl Default for Doubt {
    fn default() -> Self {
        Self { not_before: None, suspected: None, pause: SUSPECT_EVERY.0, moved: None }
    }
}

impl Doubt {
    /// Whether it is to be done now: somebody has found another server there, or it is suspect.
    pub(super) fn is_due(&self, desk: &Desk) -> bool {
        let now = Instant::now();
        let is_wanted = desk.is_doubted.load(Ordering::Acquire)
            || self.suspected.is_some_and(|since| now >= since);
        is_wanted && self.not_before.is_none_or(|moment| now >= moment)
    }

    /// The server is no longer what it should be.
    pub(super) fn suspect(&mut self) {
        self.suspected.get_or_insert_with(Instant::now);
    }

    /// It was done.
    pub(super) fn looked(&mut self, desk: &Desk, is_other: bool) {
        desk.is_doubted.store(false, Ordering::Release);
        let now = Instant::now();
        let again = self.moved.is_some_and(|at| now - at < MOVES_WITHIN);
        self.not_before = Some(now + if is_other && again { LOOK_EVERY.1 } else { LOOK_EVERY.0 });
        if is_other {
            self.moved = Some(now);
        }
        self.suspected = self.suspected.map(|_| now + self.pause);
        self.pause = (self.pause * 2).min(SUSPECT_EVERY.1);
    }

    /// The server is what it should be.
    pub(super) fn trust(&mut self) {
        (self.suspected, self.pause) = (None, SUSPECT_EVERY.0);
    }
}

/// Result of serving a connection: it ends only with trouble.
pub(super) type Served = Result<Infallible, Trouble>;

/// Growing, random pauses between attempts.
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: BACKOFF.0 }
    }
}

impl Backoff {
    /// The connection works: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.next = BACKOFF.0;
    }

    fn is_fresh(&self) -> bool {
        self.next == BACKOFF.0
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(1.0 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(BACKOFF.1);
        pause
    }
}

/// Sleeps until `deadline` or until somebody wakes the desk.
pub(super) async fn wait(wake: &tokio::sync::Notify, deadline: Instant) {
    tokio::select! {
        () = tokio::time::sleep_until(deadline) => {}
        () = wake.notified() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_tenth_of_a_second_to_at_most_five() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..12).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] >= BACKOFF.0 && pauses[0] < Duration::from_millis(150));
        assert!(pauses[11] >= BACKOFF.1 && pauses[11] <= Duration::from_secs(5));
        backoff.reset();
        assert!(backoff.is_fresh());
    }
}
