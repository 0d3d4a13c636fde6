//! What the demo tells: a table, a file of raw numbers, and whether its promises hold.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::config::{PRIMARY_CONNECTIONS, REPLICA_CONNECTIONS};
use crate::load::{Mode, Run};
use crate::witness::Connections;

/// Longest p95 of clicks through Fairlane.
const P95_MS: f64 = 100.0;
/// Least scrape throughput through Fairlane, as a share of direct, at the smallest size.
const SCRAPE_SHARE: f64 = 0.8;
/// The size at which scrape throughput is compared.
const SCRAPE_OUTLETS: u32 = 46;

/// A distribution of latencies in milliseconds over all clicks. A failed click waited longer than
/// every answered one, so that a percentile it falls into is none.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) answered: u64,
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Points of the cumulative distribution: milliseconds and the share of answered clicks.
    pub(crate) cdf: Vec<(f64, f64)>,
}

impl Latency {
    /// The distribution of the `latencies` of answered clicks, and of `failed` ones.
    pub(crate) fn of(latencies: &[Duration], failed: u64) -> Result<Self> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
        for latency in latencies {
            histogram.saturating_record(latency.as_micros().try_into().unwrap_or(u64::MAX));
        }
        if histogram.is_empty() {
            return Ok(Self::default());
        }
        let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let cdf = (0..=200).map(|step| f64::from(step) / 200.0).map(|q| (ms(q), q)).collect();
        let all = (histogram.len() + failed) as f64;
        let of_all = |quantile: f64| {
            let of_answered = quantile * all / histogram.len() as f64;
            (of_answered <= 1.0).then(|| ms(of_answered))
        };
        Ok(Self {
            answered: histogram.len(),
            p50: of_all(0.5),
            p95: of_all(0.95),
            p99: of_all(0.99),
            max: of_all(1.0),
            cdf,
        })
    }
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Clicks alone, straight to the primary.
    pub(crate) baseline: Option<Run>,
    /// The runs, in the order they were made.
    pub(crate) runs: Vec<Run>,
}

impl Results {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{:>7} {:>7}  {:<8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>6} {:>5} {:>9} {:>8} {:>9} {:>9} {:>7}\n",
            "outlets",
            "workers",
            "mode",
            "clicks",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms",
            "failed",
            "stale",
            "outlets/s",
            "% direct",
            "backends",
            "% replica",
            "disk ms"
        );
        for run in self.baseline.iter().chain(&self.runs) {
            table.push_str(&self.row(run));
        }
        table
    }

    fn row(&self, run: &Run) -> String {
        let latency = &run.latency;
        let ms =
            |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |ms| format!("{ms:.1}"));
        let backends = run.connections.map_or_else(
            || "-".to_owned(),
            |Connections { primary, replica }| format!("{primary}+{replica}"),
        );
        let reads = run.replica_share;
        let reads = reads.map_or_else(|| "-".to_owned(), |share| format!("{:.0}", 100.0 * share));
        let (scraped, share) = match self.scrape_share(run) {
            _ if run.workers == 0 => ("-".to_owned(), "-".to_owned()),
            Some(share) => (format!("{:.1}", run.outlets_per_second), format!("{share:.0}")),
            None => (format!("{:.1}", run.outlets_per_second), "-".to_owned()),
        };
        format!(
            "{:>7} {:>7}  {:<8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>6} {:>5} {:>9} {:>8} {:>9} {:>9} {:>7}\n",
            run.outlets,
            run.workers,
            run.mode.name(),
            run.clicks,
            ms(latency.p50),
            ms(latency.p95),
            ms(latency.p99),
            ms(latency.max),
            run.failed,
            run.stale,
            scraped,
            share,
            backends,
            reads,
            ms(run.disk_ms),
        )
    }

    /// Scrape throughput of `run` in percent of the direct run of the same size.
    fn scrape_share(&self, run: &Run) -> Option<f64> {
        let direct = self
            .runs
            .iter()
            .find(|other| other.mode == Mode::Direct && other.outlets == run.outlets)?;
        (direct.outlets_per_second > 0.0)
            .then(|| 100.0 * run.outlets_per_second / direct.outlets_per_second)
    }

    /// What was promised and does not hold, one sentence each.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for run in self.runs.iter().filter(|run| run.mode == Mode::Fairlane) {
            let at = format!("at {} outlets through Fairlane", run.outlets);
            match run.latency.p95 {
                None => broken.push(format!("fewer than 95 % of clicks were answered {at}")),
                Some(p95) if p95 > P95_MS => {
                    broken.push(format!("click p95 {at} is {p95:.1} ms, over {P95_MS}"));
                }
                Some(_) => {}
            }
            if run.failed > 0 {
                let error = run.first_error.as_deref().unwrap_or("no error kept");
                broken.push(format!("{} clicks failed {at}; the first: {error}", run.failed));
            }
            if run.stale > 0 {
                broken.push(format!("{} clicks did not see their own write {at}", run.stale));
            }
            if let Some(Connections { primary, replica }) = run.connections
                && (primary > PRIMARY_CONNECTIONS || replica > REPLICA_CONNECTIONS)
            {
                broken.push(format!(
                    "the servers saw {primary} and {replica} connections {at}, over \
                     {PRIMARY_CONNECTIONS} and {REPLICA_CONNECTIONS}"
                ));
            }
        }
        broken
    }

    /// What the scrape lacks. It is no broken promise: load, servers and proxy share the machine, and what
    /// else it has to do weighs as much as the proxy.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let is_meant = |run: &&Run| run.mode == Mode::Fairlane && run.outlets == SCRAPE_OUTLETS;
        let share = self.scrape_share(self.runs.iter().find(is_meant)?)?;
        (share < 100.0 * SCRAPE_SHARE).then(|| {
            let least = 100.0 * SCRAPE_SHARE;
            format!(
                "scrape throughput at {SCRAPE_OUTLETS} outlets through Fairlane is {share:.0} % of direct, under {least:.0} %"
            )
        })
    }

    /// Writes the raw numbers to `path`.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}
