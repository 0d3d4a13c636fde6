//! A replica's control connection: health, watermark, kills.

use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::control::{Backoff, Doubt, Served, wait};
use super::health::{Health, Limits, Outcome};
use super::history::History;
use super::line::{Line, Trouble};
use super::probe;
use crate::protocol::Family;
use crate::route::freshness::{Own, Position};
use crate::route::view::{BackendId, Rotation};

/// Least pause between two looks whether it has what the primary had when Fairlane met it.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(20);
/// The pause is this part of the time that it takes already.
const CATCH_UP_PART: u32 = 5;

pub(super) struct Replica<'a> {
    shared: &'a Shared,
    backend: BackendId,
    health: Health,
    /// What it says that it has applied.
    told: Position,
    /// As far as that is the primary's ([`crate::route::token::Reading::trusted`]).
    applied: Position,
    /// What it has told that the primary is to have first.
    pending: Position,
    /// It was applying something when it was probed last.
    was_applying: bool,
    history: History,
    /// Since when it is looked at more often than it is probed, as that is not known to be the primary's.
    catching_up: Option<Instant>,
    /// When the server that this is known of has started, if it tells.
    started: Option<String>,
    /// Its values of [`super::facts::shaping`]; none before the first probe.
    shaping: Vec<String>,
    /// What keeps some changes from it.
    filter: Option<String>,
    /// Whom it follows, and what it has committed itself.
    follows: Option<String>,
    own: Own,
    doubt: Doubt,
    /// What was last logged.
    logged: Option<(Rotation, Option<String>)>,
}

impl<'a> Replica<'a> {
    pub(super) fn new(shared: &'a Shared, backend: BackendId) -> Self {
        let routing = &shared.settings.routing;
        let limits = Limits { max_lag: routing.max_lag, recovery_probes: routing.recovery_probes };
        let health = Health::new(limits);
        let (applied, shaping) = (Position::default(), Vec::new());
        Self {
            shared,
            backend,
            health,
            told: Position::default(),
            applied,
            pending: Position::default(),
            was_applying: true,
            history: History::default(),
            catching_up: None,
            started: None,
            shaping,
            filter: None,
            follows: None,
            own: Own::default(),
            doubt: Doubt::default(),
            logged: None,
        }
    }

    /// Connects and serves until the connection is lost.
    pub(super) async fn serve(&mut self, line: &mut Line, backoff: &mut Backoff) -> Served {
        let (mut family, is_other) = self.connect(line).await?;
        let desk = self.shared.desk(self.backend);
        self.doubt.looked(desk, is_other);
        desk.kills.open();
        let mut next_probe = Instant::now();
        loop {
            desk.kills.work(line).await?;
            if Instant::now() >= next_probe || self.doubt.is_due(desk) {
                if line.was_denied() || self.doubt.is_due(desk) {
                    let is_other;
                    (family, is_other) = self.connect(line).await?;
                    self.doubt.looked(desk, is_other);
                    if is_other {
                        // What is queued was for the other one.
                        desk.kills.close();
                        desk.kills.open();
                    }
                }
                if self.probe(line, family).await? {
                    backoff.reset();
                }
                next_probe = Instant::now() + self.shared.settings.routing.probe_interval;
            } else if self.pause().is_some() {
                self.read_watermark(line, family).await?;
            }
            let deadline = match self.pause() {
                Some(pause) => next_probe.min(Instant::now() + pause),
                None => next_probe,
            };
            wait(&desk.wake, deadline).await;
        }
    }

    /// Until its watermark is read again, if that is to be before the next probe.
    fn pause(&self) -> Option<Duration> {
        if self.is_catching_up() {
            let since = self.catching_up.map_or(Duration::ZERO, |since| since.elapsed());
            return Some((since / CATCH_UP_PART).max(CATCH_UP_INTERVAL));
        }
        let is_in = self.rotation().0 == Rotation::In;
        is_in.then(|| self.shared.demand.pause(&self.applied)).flatten()
    }

    /// Also whether it is another server than before, of which nothing is known yet.
    async fn connect(&mut self, line: &mut Line) -> Result<(Family, bool), Trouble> {
        line.open().await?;
        if self.health.silent().is_some() {
            self.health.heard();
            self.publish();
        }
        probe::compression(line, &self.shared.settings.backends[self.backend.index()]).await?;
        let family = probe::family(line).await?;
        let (is_other, started) = self.shared.arrive(self.backend, line, family).await?;
        if is_other || started.is_none() || started != self.started {
            // It may have been set up anew.
            self.history = History::default();
        }
        self.started = started;
        if is_other {
            let name = self.shared.name(self.backend);
            tracing::info!(
                backend = name,
                "its address leads to another server, or it has restarted"
            );
            // All that is known is of the other one.
            self.health.observe(Outcome::Lost, Instant::now().into_std());
            (self.told, self.applied, self.pending) = Default::default();
            (self.shaping, self.filter, self.follows, self.own) = Default::default();
            self.publish();
        }
        Ok((family, is_other))
    }

    /// The connection is gone. What the replica had applied is forgotten: the server that
    /// answers next may have been set up anew from an older copy.
    pub(super) fn lost(&mut self, trouble: &Trouble) {
        self.shared.desk(self.backend).kills.close();
        self.shared.desk(self.backend).whereabouts.leave();
        (self.told, self.applied, self.pending) = Default::default();
        if matches!(trouble, Trouble::TurnedAway(_)) {
            self.health.heard();
        }
        let is_silent = matches!(trouble, Trouble::Silent(_));
        self.take_in(if is_silent { Outcome::Silent } else { Outcome::Lost }, None);
        *self.shared.desk(self.backend).why.lock() = trouble.to_string();
    }

    /// Whether the server answered well.
    async fn probe(&mut self, line: &mut Line, family: Family) -> Result<bool, Trouble> {
        match probe::replica(line, family).await {
            Ok(answer) => {
                let stands_still = !self.was_applying && !answer.is_applying;
                self.was_applying = answer.is_applying;
                // It is empty where the connection was lost.
                if stands_still && !self.told.is_empty() && self.told != answer.applied {
                    self.history.is_set_up();
                }
                self.hear(answer.applied);
                (self.shaping, self.filter, self.own) = (answer.shaping, answer.filter, answer.own);
                if self.follows != answer.follows {
                    self.history.follows_another();
                    self.follows = answer.follows;
                }
                self.look_at_history();
                let offline = answer.sample.is_offline.then(|| "offline_mode is ON".to_owned());
                self.take_in(Outcome::Good(answer.sample), offline.or(answer.error));
                self.doubt_where_it_leads();
                Ok(true)
            }
            Err(refused @ Trouble::Refused { .. }) => {
                self.take_in(Outcome::Failed, Some(refused.to_string()));
                self.doubt_where_it_leads();
                Ok(false)
            }
            Err(lost) => Err(lost),
        }
    }

    /// No other connection is opened to a replica out of rotation, which could find another server there.
    fn doubt_where_it_leads(&mut self) {
        match self.rotation().0 {
            Rotation::In | Rotation::Recovering => self.doubt.trust(),
            // That is over soon.
            _ if self.is_catching_up() => {}
            _ => self.doubt.suspect(),
        }
    }

    /// A watermark that cannot be read is left to the next probe to judge.
    async fn read_watermark(&mut self, line: &mut Line, family: Family) -> Result<(), Trouble> {
        match probe::applied(line, family).await {
            Ok(told)
                if told != self.told
                    || self.told != self.applied
                    || self.lacks_beginning()
                    || self.is_uncompared() =>
            {
                self.hear(told);
                self.look_at_history();
                self.publish();
                Ok(())
            }
            Ok(_) | Err(Trouble::Refused { .. }) => Ok(()),
            Err(lost) => Err(lost),
        }
    }

    /// It has applied `told`.
    fn hear(&mut self, told: Position) {
        let last = self.shared.readings.last();
        let mut applied = last.trusted(&told, &[&self.told, &self.applied]);
        applied.merge(&last.trusted(&told, &[&self.pending]));
        if last.trusted(&self.pending, &[]) == self.pending {
            self.pending.clone_from(&told);
        }
        let is_short = |domain| applied.only(domain) != told.only(domain);
        if self.told != told && last.domain.is_some_and(is_short) {
            // The primary may have that by now.
            self.shared.want_reading();
        }
        (self.told, self.applied) = (told, applied);
    }

    /// Whether its history is the primary's.
    fn look_at_history(&mut self) {
        let (readings, limit) = (&self.shared.readings, self.shared.settings.routing.max_lag);
        // In this order: the last one is of the primary that had the first, or of a later one.
        let (first, last, begun) = (readings.first(), readings.last(), readings.begun());
        let now = Instant::now().into_std();
        let is_over = self.history.look_back(&self.told, first.as_ref(), limit, now);
        self.history.compare((&self.told, &self.own), (&last, first.as_ref()), begun);
        // It may take a probe more to see that it has what it lacked.
        let limit = limit + self.shared.settings.routing.probe_interval;
        self.history.keep_up(&self.told, (&last, first.as_ref()), limit, now);
        if !self.history.is_compared(&last, first.as_ref()) {
            self.shared.want_reading();
        }
        let since = self.catching_up.unwrap_or_else(Instant::now);
        self.catching_up = self.is_catching_up().then_some(since);
        if is_over {
            let name = self.shared.name(self.backend);
            let first = first.as_deref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(
                backend = name,
                first,
                applied = %self.applied,
                "the replica lacks transactions that the primary had when Fairlane met it; gets reads all \
                 the same, as max_lag is over"
            );
        }
    }

    /// A primary is met, and it is not known yet that it has what that has, and nothing else.
    fn is_catching_up(&self) -> bool {
        self.shared.readings.first().is_some() && (self.lacks_beginning() || self.is_uncompared())
    }

    /// It is well, but lacks something that may have been written before Fairlane met this primary.
    fn lacks_beginning(&self) -> bool {
        self.health.rotation() == Rotation::In
            && !self.history.has(self.shared.readings.first().as_ref())
    }

    /// It is well, but may have something that this primary has not.
    fn is_uncompared(&self) -> bool {
        let readings = &self.shared.readings;
        let (first, last) = (readings.first(), readings.last());
        self.health.rotation() == Rotation::In && !self.history.is_compared(&last, first.as_ref())
    }

    fn take_in(&mut self, outcome: Outcome, error: Option<String>) {
        self.health.observe(outcome, Instant::now().into_std());
        let (rotation, other) = self.rotation();
        let error = error.or(other);
        // Also while that is as it was: it may have been held back meanwhile.
        *self.shared.desk(self.backend).why.lock() = error.clone().unwrap_or_default();
        let logged = Some((rotation, error));
        if logged != self.logged {
            let error = logged.as_ref().and_then(|(_, error)| error.as_deref()).unwrap_or_default();
            let name = self.shared.name(self.backend);
            match outcome {
                Outcome::Failed => {
                    tracing::warn!(backend = name, ?rotation, error, "the replica refuses probes");
                }
                _ => tracing::info!(backend = name, ?rotation, error, "replica"),
            }
            self.logged = logged;
        }
        self.publish();
    }

    /// Whether reads may go there, and how it is set up that keeps them from it.
    fn rotation(&self) -> (Rotation, Option<String>) {
        let rotation = self.health.rotation();
        if rotation != Rotation::In {
            return (rotation, None);
        }
        if self.lacks_beginning() {
            let what = "it has not applied yet what the primary had when Fairlane met it";
            return (Rotation::Lagging, Some(what.to_owned()));
        }
        if self.is_uncompared() {
            let what = "it is not known yet whether it has transactions that the primary has not";
            return (Rotation::Lagging, Some(what.to_owned()));
        }
        if self.history.is_late() {
            let what =
                "it has lacked for max_lag what the primary had: is it cut off from its source?";
            return (Rotation::Lagging, Some(what.to_owned()));
        }
        if let Some(ahead) = self.history.ahead() {
            let what = format!("it has transactions that the primary has not: up to {ahead}");
            return (Rotation::Differs, Some(what));
        }
        if let Some(stranded) = self.history.stranded() {
            let what = format!(
                "the primary was reset and gives numbers anew that the replica has applied ({stranded}), \
                 so it may be left without some: set it up anew, and restart it"
            );
            return (Rotation::Differs, Some(what));
        }
        let facts = self.shared.facts.borrow();
        let other = facts.as_ref().and_then(|facts| facts.first_other(&self.shaping));
        let other = other.map(|name| format!("{name} is not as at the primary"));
        let log_filter = || facts.as_ref().and_then(|facts| facts.log_filter.clone());
        match other.or_else(|| self.filter.clone()).or_else(log_filter) {
            Some(other) => (Rotation::Differs, Some(other)),
            None => (Rotation::In, None),
        }
    }

    fn publish(&self) {
        let (lag, silent) = (self.health.lag(), self.health.silent());
        loop {
            let (rotation, _) = self.rotation();
            self.shared.publish_replica(self.backend, rotation, (lag, silent), &self.applied);
            // It may have been held back meanwhile, for another primary.
            if self.rotation().0 == rotation {
                return;
            }
        }
    }
}
