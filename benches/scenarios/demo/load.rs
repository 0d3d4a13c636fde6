//! One run of the scenario: workers and clicks against one address, for one window.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::clicks::Arrivals;
use crate::report::Latency;
use crate::scrape::Scrape;
use crate::servers::login;

/// Connections the application may have in all.
pub(crate) const CONNECTIONS: usize = 15;
/// Clicks per second and outlet.
const CLICKS_PER_OUTLET: f64 = 0.2;

/// The application's limit of connections, first come, first served; or none.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Option<Arc<Semaphore>>);

impl Gate {
    /// A limit of `connections`.
    pub(crate) fn limited(connections: usize) -> Self {
        Self(Some(Arc::new(Semaphore::new(connections))))
    }

    /// No limit: whoever answers keeps its own.
    pub(crate) fn open() -> Self {
        Self(None)
    }

    /// Waits for a place, which ends with the answer's life.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        match &self.0 {
            // The semaphore is never closed, so an error cannot happen.
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        }
    }
}

/// Which way the application reaches its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Straight to the primary.
    Direct,
    /// Through Fairlane.
    Fairlane,
}

impl Mode {
    /// As the table writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fairlane => "Fairlane",
        }
    }
}

/// How much work there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Restaurants.
    pub(crate) outlets: u32,
    /// Scraper workers.
    pub(crate) workers: u32,
}

/// How long a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Load that is not counted.
    pub(crate) warm_up: Duration,
    /// Load that is counted.
    pub(crate) length: Duration,
}

/// The numbers of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) outlets: u32,
    pub(crate) workers: u32,
    pub(crate) mode: Mode,
    pub(crate) clicks: u64,
    pub(crate) failed: u64,
    pub(crate) stale: u64,
    pub(crate) latency: Latency,
    pub(crate) outlets_per_second: f64,
    pub(crate) scrape_errors: u64,
    pub(crate) first_error: Option<String>,
    /// CPU time of this program per second of the window.
    pub(crate) generator_cpu: f64,
}

/// Runs `size` at `port`; without workers this is the baseline of clicks alone.
pub(crate) async fn run(mode: Mode, port: u16, size: Size, window: Window) -> Result<Run> {
    let Size { outlets, workers } = size;
    let gate = match mode {
        Mode::Direct => Gate::limited(CONNECTIONS),
        Mode::Fairlane => Gate::open(),
    };
    let scrape = Scrape::start(login(port), gate.clone(), outlets, workers);
    if workers > 0 {
        // The scrape has begun before the users come.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let from = Instant::now() + window.warm_up;
    let until = from + window.length;
    let rate = f64::from(outlets) * CLICKS_PER_OUTLET;
    let arrivals = Arrivals { opts: login(port), gate, outlets, rate, from, until };
    let clicks = tokio::spawn(arrivals.run());

    sleep_until(from).await;
    let tally = scrape.tally();
    let (done, cpu) = (tally.outlets.load(Ordering::Relaxed), cpu_time());
    sleep_until(until).await;
    let done = tally.outlets.load(Ordering::Relaxed) - done;
    let cpu = cpu_time().saturating_sub(cpu);
    // The workers go on while the last clicks wait: these must not gain from an early end.
    let outcome = clicks.await?;
    let scrape_errors = tally.errors.load(Ordering::Relaxed);
    scrape.stop().await;

    let seconds = window.length.as_secs_f64();
    Ok(Run {
        outlets,
        workers,
        mode,
        clicks: outcome.count(),
        failed: outcome.failed,
        stale: outcome.stale,
        outlets_per_second: done as f64 / seconds,
        scrape_errors,
        generator_cpu: cpu.as_secs_f64() / seconds,
        latency: Latency::of(&outcome.latencies)?,
        first_error: outcome.first_error,
    })
}

/// CPU time this process has used; zero where the kernel does not tell.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; utime and stime are 12th and 13th after it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
