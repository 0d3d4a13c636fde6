//! Whether reads may go to a replica: a state machine fed with probe outcomes. Pure: no socket,
//! no clock.
//!
//! ```text
//!            good                 bad sample: NotAReplica, Writable, Broken, Lagging, Down (offline)
//! Untried ────────► In ──────────────────────────────┐
//!    │               ▲ │ lost, or two failures       ▼
//!    │ lost/failed   │ └──────────► Down ◄───── out of rotation      (lost: or silent)
//!    └───────────────┼──────────►    │               │
//!                    │               │ good          │ good
//!        enough good └──────── Recovering ◄──────────┘
//! ```
//!
//! `Seconds_Behind_Master` is taken for what it is: whole seconds, measured between the newest
//! event *received* and the one being applied. While the receiving thread is stuck without having
//! noticed, it says 0: that is found out by the primary's own position (`history`). A receiving thread that *knows* it has no connection is handled here: the
//! lag is then estimated to grow with the clock, so that the replica leaves rotation once it may
//! be more than `max_lag` behind, and not earlier.

use std::time::{Duration, Instant};

use crate::route::view::Rotation;

/// Probes that must fail in a row before a connected server counts as down.
pub(super) const FAILURES_UNTIL_DOWN: u32 = 2;

/// From here up, a lagging replica must fall to half of `max_lag` before it recovers; below, half
/// would be under the grain of what servers report.
const HALVED_FROM: Duration = Duration::from_secs(2);

/// What one probe brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered everything.
    Good(Sample),
    /// The server answered with an error; the connection lives.
    Failed,
    /// The connection is gone or cannot be made, as the server or its machine says.
    Lost,
    /// Nothing was answered in time, and nothing refused.
    Silent,
}

/// What a replica says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// `@@global.read_only`.
    pub is_read_only: bool,
    /// It lets only administrators in (MySQL's `offline_mode`).
    pub is_offline: bool,
    /// Its replication threads.
    pub replication: Replication,
}

/// State of a replica's replication threads, all its sources together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// It replicates from nobody.
    Nowhere,
    /// A thread is stopped.
    Stopped,
    /// Applying, but not connected to its source at the moment, or it cannot tell its lag.
    Disconnected,
    /// Both threads run.
    Running {
        /// The largest lag of its sources.
        lag: Duration,
    },
}

/// The numbers of the state machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A replica that lags more leaves rotation.
    pub max_lag: Duration,
    /// Good probes in a row before a replica comes back; zero counts as one.
    pub recovery_probes: u32,
}

/// Health of one replica.
#[derive(Debug)]
pub struct Health {
    limits: Limits,
    state: State,
    /// Failed probes in a row.
    failures: u32,
    /// Last lag the replica reported while running, and when.
    reported: Option<(Duration, Instant)>,
    lag: Option<Duration>,
    /// Since when nothing is heard of it.
    silent: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No outcome yet; the first good probe leads to `Is(In)` at once.
    Untried,
    /// A settled state; `Rotation::Recovering` is never inside.
    Is(Rotation),
    /// To `Is(In)` with enough good probes.
    Recovering { good: u32 },
}

impl Health {
    /// Nothing known yet: out of rotation.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Untried, failures: 0, reported: None, lag: None, silent: None }
    }

    /// Takes in one probe's outcome; the only place where the state changes.
    pub fn observe(&mut self, outcome: Outcome, now: Instant) -> Rotation {
        self.silent = match outcome {
            Outcome::Silent => Some(self.silent.unwrap_or(now)),
            // Who refuses, or has no address any more, need not be the one that is frozen.
            Outcome::Lost => self.silent,
            Outcome::Failed | Outcome::Good(_) => None,
        };
        match outcome {
            Outcome::Lost | Outcome::Silent => self.go_down(),
            Outcome::Failed => {
                self.failures += 1;
                if self.failures >= FAILURES_UNTIL_DOWN {
                    self.go_down();
                }
            }
            Outcome::Good(sample) => {
                self.failures = 0;
                self.lag = self.estimate_lag(sample.replication, now);
                self.state = match self.objection(sample) {
                    Some(objection) => State::Is(objection),
                    None => self.promoted(),
                };
            }
        }
        self.rotation()
    }

    /// Whether reads may go there.
    pub fn rotation(&self) -> Rotation {
        match self.state {
            State::Untried => Rotation::Down,
            State::Is(rotation) => rotation,
            State::Recovering { .. } => Rotation::Recovering,
        }
    }

    /// It has answered, whatever it was.
    pub fn heard(&mut self) {
        self.silent = None;
    }

    /// Since when it says nothing at all: it is frozen, or out of reach. A server that is there and refuses
    /// its control connection goes on with what it runs.
    pub fn silent(&self) -> Option<Instant> {
        self.silent
    }

    /// Lag as reported, or as estimated while the replica cannot tell.
    pub fn lag(&self) -> Option<Duration> {
        self.lag
    }

    fn go_down(&mut self) {
        self.state = State::Is(Rotation::Down);
        self.failures = 0;
        self.reported = None;
        self.lag = None;
    }

    fn estimate_lag(&mut self, replication: Replication, now: Instant) -> Option<Duration> {
        match replication {
            Replication::Nowhere | Replication::Stopped => self.reported = None,
            Replication::Running { lag } => self.reported = Some((lag, now)),
            Replication::Disconnected => {}
        }
        self.reported.map(|(lag, since)| lag + now.saturating_duration_since(since))
    }

    /// Why reads must not go to a replica that says `sample`, if they must not.
    fn objection(&self, sample: Sample) -> Option<Rotation> {
        if sample.is_offline {
            return Some(Rotation::Down);
        }
        if !sample.is_read_only {
            return Some(Rotation::Writable);
        }
        let too_late = self.lag.is_none_or(|lag| lag > self.lag_bound());
        match sample.replication {
            Replication::Nowhere => Some(Rotation::NotAReplica),
            Replication::Stopped => Some(Rotation::Broken),
            Replication::Disconnected => too_late.then_some(Rotation::Broken),
            Replication::Running { .. } => too_late.then_some(Rotation::Lagging),
        }
    }

    /// Lag up to which a replica is fine: less for one that was too late before.
    fn lag_bound(&self) -> Duration {
        let max_lag = self.limits.max_lag;
        match self.state {
            State::Is(Rotation::Lagging) if max_lag >= HALVED_FROM => max_lag / 2,
            State::Untried | State::Is(_) | State::Recovering { .. } => max_lag,
        }
    }

    fn promoted(&self) -> State {
        let good = match self.state {
            State::Untried | State::Is(Rotation::In) => return State::Is(Rotation::In),
            State::Recovering { good } => good + 1,
            State::Is(_) => 1,
        };
        if good >= self.limits.recovery_probes {
            State::Is(Rotation::In)
        } else {
            State::Recovering { good }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(10);

    struct Replica {
        health: Health,
        now: Instant,
    }

    impl Replica {
        fn new(recovery_probes: u32) -> Self {
            let limits = Limits { max_lag: MAX_LAG, recovery_probes };
            let now = tokio::time::Instant::now().into_std();
            Self { health: Health::new(limits), now }
        }

        fn see(&mut self, outcome: Outcome) -> Rotation {
            self.now += Duration::from_secs(1);
            self.health.observe(outcome, self.now)
        }

        fn says(&mut self, replication: Replication) -> Rotation {
            let sample = Sample { is_read_only: true, is_offline: false, replication };
            self.see(Outcome::Good(sample))
        }

        fn lags(&mut self, seconds: u64) -> Rotation {
            self.says(Replication::Running { lag: Duration::from_secs(seconds) })
        }
    }

    #[test]
    fn a_healthy_replica_is_in_rotation_from_the_first_probe() {
        let mut replica = Replica::new(3);
        assert_eq!(replica.health.rotation(), Rotation::Down);
        assert_eq!(replica.lags(0), Rotation::In);
    }

    #[test]
    fn one_failed_probe_is_forgiven_and_the_second_in_a_row_is_not() {
        let mut replica = Replica::new(1);
        replica.lags(0);
        assert_eq!(replica.see(Outcome::Failed), Rotation::In);
        assert_eq!(replica.lags(0), Rotation::In);
        assert_eq!(replica.see(Outcome::Failed), Rotation::In);
        assert_eq!(replica.see(Outcome::Failed), Rotation::Down);
    }

    #[test]
    fn a_lost_connection_is_down_at_once_and_comes_back_after_enough_good_probes() {
        let mut replica = Replica::new(3);
        replica.lags(0);
        assert_eq!(replica.see(Outcome::Lost), Rotation::Down);
        assert_eq!(replica.health.lag(), None);
        assert_eq!(replica.lags(0), Rotation::Recovering);
        assert_eq!(replica.lags(0), Rotation::Recovering);
        assert_eq!(replica.lags(0), Rotation::In);
    }

    #[test]
    fn only_who_says_nothing_is_silent() {
        let mut replica = Replica::new(1);
        for outcome in [Outcome::Lost, Outcome::Failed, Outcome::Failed] {
            replica.see(outcome);
            assert_eq!(replica.health.silent(), None);
        }
        assert_eq!(replica.see(Outcome::Silent), Rotation::Down);
        let since = replica.health.silent();
        assert_eq!(since, Some(replica.now));
        replica.see(Outcome::Silent);
        assert_eq!(replica.health.silent(), since, "since the first time");
        assert_eq!(replica.see(Outcome::Lost), Rotation::Down);
        assert_eq!(replica.health.silent(), since, "something in front of it refuses");
        replica.health.heard();
        assert_eq!((replica.health.silent(), replica.health.rotation()), (None, Rotation::Down));
        replica.see(Outcome::Silent);
        assert_eq!(replica.health.silent(), Some(replica.now));
        assert_eq!((replica.lags(0), replica.health.silent()), (Rotation::In, None));
    }

    #[test]
    fn a_bad_probe_while_recovering_starts_the_count_again() {
        let mut replica = Replica::new(2);
        replica.see(Outcome::Lost);
        assert_eq!(replica.lags(0), Rotation::Recovering);
        assert_eq!(replica.says(Replication::Stopped), Rotation::Broken);
        assert_eq!(replica.lags(0), Rotation::Recovering);
        assert_eq!(replica.lags(0), Rotation::In);
    }

    #[test]
    fn a_lagging_replica_returns_only_well_below_the_limit() {
        let mut replica = Replica::new(1);
        assert_eq!(replica.lags(10), Rotation::In);
        assert_eq!(replica.lags(11), Rotation::Lagging);
        assert_eq!(replica.lags(9), Rotation::Lagging);
        assert_eq!(replica.lags(6), Rotation::Lagging);
        assert_eq!(replica.lags(5), Rotation::In);
        assert_eq!(replica.lags(9), Rotation::In);
    }

    #[test]
    fn a_replica_without_its_source_stays_until_it_may_lag_too_much() {
        let mut replica = Replica::new(1);
        replica.lags(2);
        for second in 1..=8 {
            assert_eq!(replica.says(Replication::Disconnected), Rotation::In, "second {second}");
        }
        assert_eq!(replica.health.lag(), Some(Duration::from_secs(10)));
        assert_eq!(replica.says(Replication::Disconnected), Rotation::Broken);
        assert_eq!(replica.lags(0), Rotation::In);
    }

    #[test]
    fn a_replica_whose_lag_was_never_known_is_not_trusted() {
        let mut replica = Replica::new(1);
        assert_eq!(replica.says(Replication::Disconnected), Rotation::Broken);
        replica.lags(0);
        replica.says(Replication::Stopped);
        assert_eq!(replica.says(Replication::Disconnected), Rotation::Broken);
    }

    #[test]
    fn a_writable_server_or_one_without_a_source_is_not_a_replica() {
        let mut replica = Replica::new(0);
        assert_eq!(replica.says(Replication::Nowhere), Rotation::NotAReplica);
        let replication = Replication::Running { lag: MAX_LAG };
        let writable = Sample { is_read_only: false, is_offline: false, replication };
        assert_eq!(replica.see(Outcome::Good(writable)), Rotation::Writable);
        assert_eq!(replica.lags(0), Rotation::In, "zero recovery probes count as one");
    }

    #[test]
    fn a_server_that_lets_nobody_in_is_down_at_once_and_not_silent() {
        let mut replica = Replica::new(2);
        replica.lags(0);
        let replication = Replication::Running { lag: Duration::ZERO };
        let offline = Sample { is_read_only: true, is_offline: true, replication };
        assert_eq!(replica.see(Outcome::Good(offline)), Rotation::Down);
        assert_eq!(replica.health.silent(), None);
        assert_eq!(replica.lags(0), Rotation::Recovering);
        assert_eq!(replica.lags(0), Rotation::In);
    }
}
