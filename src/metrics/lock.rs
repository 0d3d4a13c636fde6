//! Numbers of the lock guard.

use prometheus::{Histogram, IntCounter};

use super::catalogue as families;
use super::register::Registrar;

/// Kinds of locks, as the guard numbers them.
const KINDS: [&str; 2] = ["row", "metadata"];

/// Handles of the lock guard.
#[derive(Debug)]
pub struct LockMetrics {
    /// By lane of the waiter, lane of the blocker (the last one stands for others), and kind.
    waits: Vec<Vec<[IntCounter; KINDS.len()]>>,
    /// How long statements ran that waited, by lane.
    wait_seconds: Vec<Histogram>,
    /// Statements held back.
    pub paced: IntCounter,
    /// Transactions rolled back.
    pub aborted: IntCounter,
    /// Transactions that could not be.
    pub spared: IntCounter,
    /// Statements sent again after a deadlock.
    pub repeated: IntCounter,
    /// Questions answered.
    pub probes_answered: IntCounter,
    /// Questions refused.
    pub probes_refused: IntCounter,
    /// Questions nobody answered.
    pub probes_unreachable: IntCounter,
}

impl LockMetrics {
    /// Statements of `lane` that waited for one of lane `blocker`, or of another program, for a
    /// lock of kind `kind`.
    pub fn waits(&self, lane: usize, blocker: Option<usize>, kind: usize) -> &IntCounter {
        let of_lane = &self.waits[lane];
        &of_lane[blocker.unwrap_or(of_lane.len() - 1)][kind]
    }

    /// How long statements of `lane` ran that waited for locks.
    pub fn wait_seconds(&self, lane: usize) -> &Histogram {
        &self.wait_seconds[lane]
    }

    pub(super) fn register(
        to: &Registrar<'_>,
        lanes: &[String],
    ) -> Result<Self, prometheus::Error> {
        let waits = to.counters(&families::LOCK_WAITS)?;
        let seconds = to.histograms(&families::LOCK_WAIT)?;
        let actions = to.counters(&families::LOCK_ACTIONS)?;
        let probes = to.counters(&families::LOCK_PROBES)?;
        let blockers = || lanes.iter().map(String::as_str).chain(["other"]);
        let waits = lanes.iter().map(|lane| {
            let of = |blocker| {
                KINDS.map(|kind| waits.with_label_values(&[lane.as_str(), blocker, kind]))
            };
            blockers().map(of).collect()
        });
        Ok(Self {
            waits: waits.collect(),
            wait_seconds: lanes.iter().map(|lane| seconds.with_label_values(&[lane])).collect(),
            paced: actions.with_label_values(&["paced"]),
            aborted: actions.with_label_values(&["aborted"]),
            spared: actions.with_label_values(&["spared"]),
            repeated: actions.with_label_values(&["repeated"]),
            probes_answered: probes.with_label_values(&["answered"]),
            probes_refused: probes.with_label_values(&["refused"]),
            probes_unreachable: probes.with_label_values(&["unreachable"]),
        })
    }
}
