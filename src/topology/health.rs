//! Whether reads may go to a replica. Pure: probes in, [`Rotation`] out.
//!
//! ```text
//!   probe fails ──► Down ──┐
//!   threads stopped ► Broken ├─ good probe ─► Recovering ─ recovery_probes good ones ─► In
//!   behind max_lag ► Lagging ┘      (any bad probe goes back to its own state)
//! ```
//!
//! `Seconds_Behind_Master` counts whole seconds and only what the replica has received; a stuck
//! receiver shows as a thread that does not run, and freshness is not taken from it anyway.

use std::time::Duration;

use crate::route::view::Rotation;

/// What a probe of a replica found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// It could not be asked.
    Failed,
    /// It replicates from nobody, or can be written to.
    NotAReplica,
    /// A replication thread does not run.
    Stopped,
    /// It replicates, and is so far behind as it knows.
    Replicating {
        /// Delay.
        lag: Option<Duration>,
    },
}

/// A replica's state over time.
#[derive(Debug)]
pub(super) struct Health {
    max_lag: Duration,
    recovery_probes: u32,
    rotation: Rotation,
    good: u32,
    is_new: bool,
}

impl Health {
    pub(super) fn new(max_lag: Duration, recovery_probes: u32) -> Self {
        Self { max_lag, recovery_probes, rotation: Rotation::Down, good: 0, is_new: true }
    }

    pub(super) fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// Takes a probe. The first one ever is believed at once, or a start would be slow.
    pub(super) fn note(&mut self, probe: Probe) -> Rotation {
        let bad = match probe {
            Probe::Failed => Some(Rotation::Down),
            Probe::NotAReplica => Some(Rotation::NotAReplica),
            Probe::Stopped => Some(Rotation::Broken),
            Probe::Replicating { lag } if lag.is_some_and(|lag| lag > self.max_lag) => {
                Some(Rotation::Lagging)
            }
            Probe::Replicating { .. } => None,
        };
        self.rotation = match bad {
            Some(bad) => {
                self.good = 0;
                bad
            }
            None => {
                self.good += 1;
                let is_enough = self.is_new || self.good >= self.recovery_probes;
                if self.rotation == Rotation::In || is_enough {
                    Rotation::In
                } else {
                    Rotation::Recovering
                }
            }
        };
        self.is_new &= probe == Probe::Failed;
        self.rotation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Probe = Probe::Replicating { lag: Some(Duration::ZERO) };

    #[test]
    fn a_replica_leaves_at_once_and_comes_back_after_good_probes() {
        let mut health = Health::new(Duration::from_secs(5), 3);
        assert_eq!(health.note(Probe::Failed), Rotation::Down);
        assert_eq!(health.note(GOOD), Rotation::In);
        assert_eq!(health.note(Probe::Stopped), Rotation::Broken);
        assert_eq!(health.note(GOOD), Rotation::Recovering);
        assert_eq!(health.note(GOOD), Rotation::Recovering);
        assert_eq!(health.note(GOOD), Rotation::In);
        let late = Probe::Replicating { lag: Some(Duration::from_secs(6)) };
        assert_eq!(health.note(late), Rotation::Lagging);
        assert_eq!(health.note(Probe::NotAReplica), Rotation::NotAReplica);
        assert_eq!(health.note(GOOD), Rotation::Recovering);
        assert_eq!(health.note(Probe::Failed), Rotation::Down);
        assert_eq!(health.rotation(), Rotation::Down);
    }
}
