//! Numbers of one lane at one backend.

use prometheus::{IntCounter, IntGauge};

use super::catalogue as families;
use super::cell::{CellCounter, CellHistogram};
use super::register::Registrar;

/// Handles of one lane at one backend.
#[derive(Debug)]
pub struct LaneMetrics {
    /// Slots held now.
    pub in_use: IntGauge,
    /// Sessions waiting now.
    pub waiting: IntGauge,
    /// Most slots it may hold now.
    pub limit: IntGauge,
    /// Slots only it may use.
    pub reserved: IntGauge,
    /// Grants, at once or after a wait.
    pub admitted: CellCounter,
    /// Refused because the queue was full.
    pub rejected_full: IntCounter,
    /// Refused after `queue_timeout`.
    pub rejected_timeout: IntCounter,
    /// Refused after `overload_timeout` in an overloaded lane.
    pub rejected_overload: IntCounter,
    /// 1 while the lane is overloaded.
    pub overloaded: IntGauge,
    /// Waiters that left by themselves.
    pub abandoned: IntCounter,
    /// Slots that count for the batch lane since they were held for long.
    pub reassigned: IntCounter,
    /// From asking for a slot to having it, also when that was at once.
    pub wait_seconds: CellHistogram,
    /// From having a slot to giving it back.
    pub service_seconds: CellHistogram,
}

impl LaneMetrics {
    /// Refused for whatever reason.
    pub fn rejected(&self) -> u64 {
        [&self.rejected_full, &self.rejected_timeout, &self.rejected_overload]
            .map(|counter| counter.get())
            .iter()
            .sum()
    }

    pub(super) fn collect(&self) {
        self.admitted.collect();
        self.wait_seconds.collect();
        self.service_seconds.collect();
    }
}

/// One entry per backend and lane, all lanes of the first backend first.
pub(super) fn register(
    to: &Registrar<'_>,
    backends: &[String],
    lanes: &[String],
) -> Result<Vec<LaneMetrics>, prometheus::Error> {
    let in_use = to.gauges(&families::LANE_IN_USE)?;
    let waiting = to.gauges(&families::LANE_WAITING)?;
    let limit = to.gauges(&families::LANE_LIMIT)?;
    let reserved = to.gauges(&families::LANE_RESERVED)?;
    let admitted = to.counters(&families::LANE_ADMITTED)?;
    let rejected = to.counters(&families::LANE_REJECTED)?;
    let overloaded = to.gauges(&families::LANE_OVERLOADED)?;
    let abandoned = to.counters(&families::LANE_ABANDONED)?;
    let reassigned = to.counters(&families::LANE_REASSIGNED)?;
    let wait_seconds = to.histograms(&families::LANE_WAIT)?;
    let service_seconds = to.histograms(&families::LANE_SERVICE)?;

    let mut all = Vec::with_capacity(backends.len() * lanes.len());
    for backend in backends {
        for lane in lanes {
            let key = [backend.as_str(), lane.as_str()];
            let [backend, lane] = key;
            all.push(LaneMetrics {
                in_use: in_use.with_label_values(&key),
                waiting: waiting.with_label_values(&key),
                limit: limit.with_label_values(&key),
                reserved: reserved.with_label_values(&key),
                admitted: CellCounter::new(admitted.with_label_values(&key)),
                rejected_full: rejected.with_label_values(&[backend, lane, "full"]),
                rejected_timeout: rejected.with_label_values(&[backend, lane, "timeout"]),
                rejected_overload: rejected.with_label_values(&[backend, lane, "overload"]),
                overloaded: overloaded.with_label_values(&key),
                abandoned: abandoned.with_label_values(&key),
                reassigned: reassigned.with_label_values(&key),
                wait_seconds: CellHistogram::new(&wait_seconds.with_label_values(&key)),
                service_seconds: CellHistogram::new(&service_seconds.with_label_values(&key)),
            });
        }
    }
    Ok(all)
}
