//! One run of the scenario: workers and clicks against one address, for one window.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::clicks::{Arrivals, Outcome, Page};
use crate::progress::{self, Clicks};
use crate::report::Latency;
use crate::scrape::{Scrape, Style};
use crate::servers::login;
use crate::statement::Form;
use crate::support::cpu::time_of;
use crate::witness::Connections;

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

/// Where a run's clients connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// What is there.
    pub(crate) mode: Mode,
    /// Its port on loopback.
    pub(crate) port: u16,
    /// The process in between.
    pub(crate) proxy: Option<u32>,
}

/// How much work there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Restaurants.
    pub(crate) outlets: u32,
    /// Scraper workers.
    pub(crate) workers: u32,
    /// How often each way is measured, in turn, so that a machine that slows down or speeds up
    /// meanwhile does not decide a comparison.
    pub(crate) turns: u32,
}

/// How long a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Load that is not counted.
    pub(crate) warm_up: Duration,
    /// Load that is counted.
    pub(crate) length: Duration,
    /// How statements are sent.
    pub(crate) form: Form,
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
    /// Most connections at once, where they were counted.
    pub(crate) connections: Option<Connections>,
    /// The longest time that the disk took to keep 4 KiB, where that was watched.
    pub(crate) disk_ms: Option<f64>,
    /// CPU time of this program per second of the window.
    pub(crate) generator_cpu: f64,
    /// The same for Fairlane.
    pub(crate) proxy_cpu: f64,
    /// Share of the reads outside of transactions that the replica answered, through Fairlane.
    pub(crate) replica_share: Option<f64>,
}

/// What one window gave.
#[derive(Debug)]
pub(crate) struct Sample {
    outcome: Outcome,
    scraped: u64,
    scrape_errors: u64,
    seconds: f64,
    generator_cpu: f64,
    proxy_cpu: f64,
    /// Most connections at once, where they were counted.
    pub(crate) connections: Option<Connections>,
    /// The longest time that the disk took to keep something, where that was watched.
    pub(crate) disk: Option<Duration>,
    /// Reads that the primary and the replica answered, through Fairlane.
    pub(crate) reads: Option<(f64, f64)>,
}

impl Sample {
    /// What happened, for the one who waits.
    pub(crate) fn sentence(&self) -> String {
        format!(
            "  {} of {} clicks answered, {:.1} outlets/s, {} scrape errors, load generator {:.0} % \
             and Fairlane {:.0} % of a core",
            self.outcome.latencies.len(),
            self.outcome.count(),
            self.scraped as f64 / self.seconds,
            self.scrape_errors,
            100.0 * self.generator_cpu / self.seconds,
            100.0 * self.proxy_cpu / self.seconds,
        )
    }
}

impl Run {
    /// The numbers of all `samples` of one way and size.
    pub(crate) fn of(mode: Mode, size: Size, samples: Vec<Sample>) -> Result<Self> {
        let seconds: f64 = samples.iter().map(|sample| sample.seconds).sum();
        let per_second = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / seconds;
        // A window that something else on the machine disturbed must not decide a comparison.
        let rates = samples.iter().map(|sample| sample.scraped as f64 / sample.seconds).collect();
        let outlets_per_second = median(rates);
        let (generator_cpu, proxy_cpu) =
            (per_second(|sample| sample.generator_cpu), per_second(|sample| sample.proxy_cpu));
        let scrape_errors = samples.iter().map(|sample| sample.scrape_errors).sum();
        let connections =
            samples.iter().filter_map(|sample| sample.connections).reduce(Connections::most);
        let disk = samples.iter().filter_map(|sample| sample.disk).max();
        let reads = samples.iter().filter_map(|sample| sample.reads);
        let reads = reads.reduce(|all, one| (all.0 + one.0, all.1 + one.1));
        let replica_share = reads.map(|(primary, replica)| replica / (primary + replica));
        let mut all = Outcome::default();
        samples.into_iter().for_each(|sample| all.append(sample.outcome));
        Ok(Self {
            outlets: size.outlets,
            workers: size.workers,
            mode,
            clicks: all.count(),
            failed: all.failed,
            stale: all.stale,
            latency: Latency::of(&all.latencies, all.failed)?,
            outlets_per_second,
            scrape_errors,
            first_error: all.first_error,
            connections,
            disk_ms: disk.map(|longest| longest.as_secs_f64() * 1000.0),
            generator_cpu,
            proxy_cpu,
            replica_share,
        })
    }
}

/// Runs `size` at one address; without workers this is the baseline of clicks alone.
pub(crate) async fn run(way: Way, size: Size, window: Window) -> Result<Sample> {
    let Way { mode, port, proxy } = way;
    let Size { outlets, workers, .. } = size;
    let gate = match mode {
        Mode::Direct => Gate::limited(CONNECTIONS),
        Mode::Fairlane => Gate::open(),
    };
    let style = Style { form: window.form, ..Style::default() };
    let scrape = Scrape::start(login(port), gate.clone(), outlets, workers, style);
    if workers > 0 {
        // The scrape has begun before the users come.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let from = Instant::now() + window.warm_up;
    let until = from + window.length;
    let rate = f64::from(outlets) * CLICKS_PER_OUTLET;
    let seen = Arc::new(Clicks::default());
    let clicks = Arc::clone(&seen);
    let opts = login(port);
    let (page, form) = (Page::Live, window.form);
    let arrivals = Arrivals { opts, gate, outlets, rate, from, until, clicks, page, form };
    let clicks = tokio::spawn(arrivals.run());

    let tally = scrape.tally();
    let measured = async {
        sleep_until(from).await;
        let done = tally.outlets.load(Ordering::Relaxed);
        let before = (cpu(Some(std::process::id())), cpu(proxy));
        sleep_until(until).await;
        let done = tally.outlets.load(Ordering::Relaxed) - done;
        let after = (cpu(Some(std::process::id())), cpu(proxy));
        // The workers go on while the last clicks wait: these must not gain from an early end.
        let outcome = clicks.await?;
        anyhow::Ok((done, before, after, outcome))
    };
    let (scraped, before, after, outcome) = tokio::select! {
        measured = measured => measured?,
        never = progress::follow(&seen, tally) => match never {},
    };
    let scrape_errors = tally.errors.load(Ordering::Relaxed);
    scrape.stop().await;
    Ok(Sample {
        outcome,
        scraped,
        scrape_errors,
        seconds: window.length.as_secs_f64(),
        generator_cpu: after.0 - before.0,
        proxy_cpu: after.1 - before.1,
        connections: None,
        disk: None,
        reads: None,
    })
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.get((values.len().max(1) - 1) / 2).zip(values.get(values.len() / 2));
    middle.map_or(0.0, |(lower, upper)| f64::midpoint(*lower, *upper))
}

/// Seconds of CPU time a process has used by now; zero for no process.
fn cpu(pid: Option<u32>) -> f64 {
    pid.and_then(time_of).unwrap_or_default().as_secs_f64()
}
