//! Statements on servers that are not there: found once a second, so that none needs a clock of its own.
//!
//! - A read on a replica that says nothing asks the primary, if its client has got nothing yet: a frozen
//!   server closes nothing.
//! - One that waits for a slot or a connection of a replica asks the primary as soon as that is silent or down.
//! - What waits for a server that the address has left long ago, or for a replica that has been silent for so
//!   long, is lost: a slot must not stay with it, and in a transaction nobody else can be asked.
//! - A connection that a session holds while its client is idle is looked at, too: the server may have closed it.
//!
//! A replica is silent while its control connection gets no answer at all. One that refuses that, or closes
//! it, is down and goes on with what it runs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::registry::{Activity, Entry, Place};
use super::{Context, Session};
use crate::metrics::Closed;
use crate::pool::Retire;
use crate::route::view::{BackendId, Rotation};

/// How long a replica has to be silent, and a statement to have run.
const SILENT_LIMIT: Duration = Duration::from_secs(1);
/// Idle time in which nobody asks whether a connection that is held is still there; less than the time between
/// looks, so that none is left out.
const REST: Duration = Duration::from_millis(500);
/// By how much the server may be ahead of Fairlane with an idle client.
const AHEAD: Duration = Duration::from_secs(1);
/// Pause between looks at a replica while a connection to it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long servers that the address has left may take for what they run.
const LEFT_LIMIT: Duration = Duration::from_secs(30);

/// What was seen of one backend.
#[derive(Debug, Default)]
struct Seen {
    /// The first generation of the server that is there, and since when.
    first: Option<(u16, Instant)>,
    /// Since when it is silent.
    silent: Option<Instant>,
    /// When it was last given up.
    given_up: Option<Instant>,
}

impl Seen {
    /// Looks again; the generation before which all have been left for long.
    fn look(&mut self, now: Instant, first: u16, silent: Option<Instant>) -> Option<u16> {
        self.silent = silent;
        match self.first {
            Some((seen, since)) if seen == first => (now - since >= LEFT_LIMIT).then_some(first),
            _ => {
                self.first = Some((first, now));
                None
            }
        }
    }

    /// Whether it is time to give up what it has, since it has been silent for so long.
    fn gives_up(&mut self, now: Instant) -> bool {
        let since = self.silent.map(|since| self.given_up.map_or(since, |last| last.max(since)));
        let is_due = since.is_some_and(|since| now - since >= LEFT_LIMIT);
        if is_due {
            self.given_up = Some(now);
        }
        is_due
    }

    /// Whether what has run for so long, on the server that is there or on one before it, has no replica.
    fn is_adrift(&self, now: Instant, ran: Duration, is_there: bool) -> bool {
        let is_long = |since: Instant| now - since >= SILENT_LIMIT;
        let is_left = || !is_there && self.first.is_some_and(|(_, since)| is_long(since));
        ran >= SILENT_LIMIT && (self.silent.is_some_and(is_long) || is_left())
    }
}

/// Looks for such statements.
#[derive(Debug, Default)]
pub struct Adrift(Vec<Seen>);

impl Adrift {
    /// To be called about once a second.
    pub fn look(&mut self, context: &Context) {
        let now = Instant::now();
        let (topology, view) = (&context.topology, context.topology.view());
        let mut are_given_up = false;
        self.0.resize_with(context.pools.len(), Seen::default);
        for (index, seen) in self.0.iter_mut().enumerate() {
            let backend = BackendId::new(index);
            let silent = view.replica(backend).and_then(|replica| replica.silent);
            let place = topology.whereabouts(backend);
            if let Some(first) = seen.look(now, place.first(), silent.map(Instant::from_std)) {
                are_given_up |= place.forsake_before(first);
            }
            if seen.gives_up(now) {
                place.give_up();
                are_given_up = true;
            }
        }
        let at = context.since_start(now);
        context.registry.look_at_all(|entry| {
            let (activity, since) = entry.activity();
            let lasts = at.saturating_sub(since);
            if are_given_up {
                // It may wait there, whatever is shown of it: also what is Fairlane's own has to be answered.
                entry.rouse();
            }
            match (activity, entry.place()) {
                (Activity::Holding, _) if lasts >= REST => entry.set_to_look(since),
                (Activity::Running, Some(place)) => {
                    self.look_at_running(context, entry, (now, since, lasts), place);
                }
                _ => {}
            }
        });
    }

    fn look_at_running(
        &self,
        context: &Context,
        entry: &Entry,
        (now, since, ran): (Instant, Duration, Duration),
        Place { backend, generation, .. }: Place,
    ) {
        let is_there = context.pool(backend).has(generation);
        if !backend.is_primary() && self.0[backend.index()].is_adrift(now, ran, is_there) {
            entry.set_adrift(since);
        }
        if context.topology.whereabouts(backend).is_forsaken(generation) {
            entry.rouse();
        }
    }
}

impl Context {
    /// Ready when a replica is silent or down: who waits for a slot or a new connection there asks the primary.
    pub(super) async fn loses(&self, replica: BackendId) {
        let is_there = || {
            let view = self.topology.view();
            view.replica(replica)
                .is_some_and(|it| it.silent.is_none() && it.rotation != Rotation::Down)
        };
        while is_there() {
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Session {
    /// The connection that the session holds between commands is lost, and with it what was carried by that:
    /// its client finds its own closed, as it would at the server.
    pub(super) async fn lose_held(&mut self) {
        // The server may have found the client idle for too long a moment before Fairlane.
        self.entry.expire(Instant::now() + AHEAD);
        self.say_expired().await;
        let Some(mut held) = self.held.take() else { return };
        let thread = held.connection().thread_id;
        held.pool().complain_of_loss(thread, &"it was held between statements");
        self.writes.discard(held, Retire::Quit(Closed::Broken));
        self.forget_binding();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_runs_on_a_replica_that_is_silent_for_a_second_is_adrift() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        assert_eq!(seen.look(start, 0, Some(start)), None);
        assert!(!seen.is_adrift(start, 9 * SECOND, true), "it was just noticed");
        seen.look(start + SECOND, 0, Some(start));
        assert!(seen.is_adrift(start + SECOND, SECOND, true));
        assert!(!seen.is_adrift(start + SECOND, SECOND / 2, true), "it has just begun");
        seen.look(start + 2 * SECOND, 0, None);
        assert!(!seen.is_adrift(start + 2 * SECOND, 9 * SECOND, true), "it is back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_given_up_each_half_minute_that_it_is_silent() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let mut given_up = Vec::new();
        for second in 0..100 {
            let now = start + second * SECOND;
            let silent = match second {
                0..5 => Some(start),
                5 => None,
                _ => Some(start + 6 * SECOND),
            };
            seen.look(now, 0, silent);
            if seen.gives_up(now) {
                given_up.push(second);
            }
        }
        assert_eq!(given_up, [36, 66, 96]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_on_a_server_that_was_left_is_adrift_and_forsaken_after_a_while() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        seen.look(start, 4, None);
        assert!(!seen.is_adrift(start + 9 * SECOND, 9 * SECOND, true));
        let moved = start + 40 * SECOND;
        assert_eq!(seen.look(moved - SECOND, 4, None), Some(4));
        assert_eq!(seen.look(moved, 5, None), None, "another generation");
        assert!(!seen.is_adrift(moved, 9 * SECOND, false));
        assert!(seen.is_adrift(moved + SECOND, 9 * SECOND, false));
        assert_eq!(seen.look(moved + LEFT_LIMIT - SECOND, 5, None), None);
        assert_eq!(seen.look(moved + LEFT_LIMIT, 5, None), Some(5));
    }
}
