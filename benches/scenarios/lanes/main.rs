//! `make lanes`: the scenarios of docs/lanes.md, with nothing configured about lanes.
//!
//! Users click while something else works, in three ways: straight on the primary with fifteen
//! connections, through Fairlane with one plain lane (a pool, first come, first served), and through
//! Fairlane as it is installed. See `work` for what works, and the demo's modules for the clicks.

#[path = "../demo/clicks.rs"]
mod clicks;
#[path = "../demo/config.rs"]
mod config;
#[path = "../demo/load.rs"]
#[allow(dead_code, reason = "the demo's own runs are not made here")]
mod load;
#[path = "../../relay/others.rs"]
#[allow(dead_code, reason = "only one of them is compared here")]
mod others;
#[path = "../demo/progress.rs"]
mod progress;
#[path = "../demo/report.rs"]
#[allow(dead_code, reason = "the demo's own table is not made here")]
mod report;
#[path = "../demo/scrape.rs"]
mod scrape;
#[path = "../demo/servers.rs"]
#[allow(dead_code, reason = "the witness watches the demo")]
mod servers;
#[path = "../demo/statement.rs"]
mod statement;
#[path = "../../support/mod.rs"]
mod support;
mod table;
mod verdicts;
#[path = "../demo/witness.rs"]
#[allow(dead_code, reason = "the witness watches the demo")]
mod witness;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clicks::{Arrivals, Outcome, Page};
use crate::load::{CONNECTIONS, Gate};
use crate::others::Other;
use crate::progress::{Clicks, tell};
use crate::report::Latency;
use crate::servers::{Servers, login};
use crate::support::fairlane::Fairlane;
use crate::table::Row;
use crate::work::{SCENARIOS, Scenario, Work};

/// One lane for all, and nothing moves.
const FIFO: &str = "[lanes]\nauto = \"off\"\n[[lane]]\nname = \"all\"\nqueue_timeout = \"60s\"\n";
/// Acts on waits for locks as soon as they can be found.
const PACE: &str = "[lanes]\nlock_guard = \"pace\"\nlock_wait = \"10ms\"\n";
const ABORT: &str = "[lanes]\nlock_guard = \"abort\"\nlock_wait = \"10ms\"\n\
    lock_abort_after = \"10ms\"\n";
/// Writes the verdicts of each session to the log.
const LOG: &str = "[log]\nfilter = \"info,fairlane::client=debug\"\n";

/// Compares what users wait in each scenario.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the scenarios whose names begin so.
    #[arg(long)]
    only: Option<String>,
    /// Only these ways; `haproxy` and `sockets` are measured only where they are named here.
    #[arg(long, value_delimiter = ',')]
    ways: Vec<String>,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before them.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Where the table and Fairlane's log go.
    #[arg(long, default_value = "target/lanes")]
    out: PathBuf,
}

/// How the application reaches its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight to the primary.
    Direct,
    /// To the primary through HAProxy, which copies bytes: what any proxy costs on this machine.
    HAProxy,
    /// Through Fairlane with one plain lane.
    Fifo,
    /// Through Fairlane as it is installed.
    Lanes,
    /// The same, on the servers' own host: over their Unix sockets.
    Sockets,
    /// The same, but sessions that hold locks are let go first.
    Pace,
    /// The same, but sessions that hold locks are rolled back.
    Abort,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Direct,
        Self::HAProxy,
        Self::Fifo,
        Self::Lanes,
        Self::Sockets,
        Self::Pace,
        Self::Abort,
    ];

    /// As the table writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HAProxy => "haproxy",
            Self::Fifo => "fifo",
            Self::Lanes => "lanes",
            Self::Sockets => "lanes, sockets",
            Self::Pace => "lanes, pace",
            Self::Abort => "lanes, abort",
        }
    }

    /// What it has in Fairlane's configuration.
    fn lanes(self) -> &'static str {
        match self {
            Self::Direct | Self::HAProxy | Self::Lanes | Self::Sockets => "",
            Self::Fifo => FIFO,
            Self::Pace => PACE,
            Self::Abort => ABORT,
        }
    }

    /// Whether it differs from others in a scenario: nobody waits for locks where clicks change
    /// nothing that others change.
    fn suits(self, scenario: &Scenario) -> bool {
        scenario.page == Page::Buys || !matches!(self, Self::Pace | Self::Abort)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    std::fs::create_dir_all(&arguments.out)?;
    let mut rows = Vec::new();
    let wanted = |scenario: &&Scenario| {
        arguments.only.as_ref().is_none_or(|only| scenario.name.starts_with(only.as_str()))
    };
    for scenario in SCENARIOS.iter().filter(wanted) {
        let ways = Way::ALL.into_iter();
        let is_wanted = |way: &Way| {
            arguments.ways.is_empty() && !matches!(way, Way::HAProxy | Way::Sockets)
                || arguments.ways.iter().any(|name| way.name().ends_with(name.as_str()))
        };
        for way in ways.filter(is_wanted).filter(|way| way.suits(scenario)) {
            tell(begin, &format!("{}: {}", scenario.name, way.name()));
            // New ones, for what comes later is slower on servers that have written much.
            let servers = Servers::start().await?;
            let row = measure(arguments, &servers, scenario, way).await?;
            servers.stop().await?;
            tell(begin, &row.to_string());
            rows.push(row);
        }
    }
    let text = table::of(&rows);
    println!("\n{text}");
    let path = arguments.out.join("lanes.md");
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// One scenario in one way.
async fn measure(
    arguments: &Arguments,
    servers: &Servers,
    scenario: &'static Scenario,
    way: Way,
) -> Result<Row> {
    servers.fill(scenario.outlets).await?;
    let mut haproxy = None;
    let (fairlane, port, gate) = match way {
        Way::Direct => (None, servers.primary_port, Gate::limited(CONNECTIONS)),
        Way::HAProxy => {
            let started = Other::haproxy(servers.primary_port, &arguments.out).await?;
            let port = started.port;
            haproxy = Some(started);
            (None, port, Gate::limited(CONNECTIONS))
        }
        Way::Fifo | Way::Lanes | Way::Sockets | Way::Pace | Way::Abort => {
            let ports = (servers.primary_port, servers.replica_port);
            let config = format!("{}{}{LOG}", config::text(ports, ""), way.lanes());
            let config = if way == Way::Sockets { servers.by_socket(&config) } else { config };
            let fairlane = Fairlane::start(&config, &arguments.out).await?;
            let port = fairlane.port;
            (Some(fairlane), port, Gate::open())
        }
    };
    let work = Work::start(scenario, port, &gate);
    sleep(Duration::from_millis(300)).await;
    let from = Instant::now() + Duration::from_secs(arguments.warm_up);
    let until = from + Duration::from_secs(arguments.seconds);
    let clicks = Arc::new(Clicks::default());
    let arrivals = Arrivals {
        opts: login(port),
        gate,
        outlets: scenario.outlets,
        rate: scenario.clicks,
        from,
        until,
        clicks: clicks.clone(),
        page: scenario.page,
        form: scenario.form,
    };
    let arrivals = tokio::spawn(arrivals.run());
    sleep_until(from).await;
    let done = work.done();
    sleep_until(until).await;
    let done = work.done() - done;
    let outcome: Outcome = arrivals.await?;
    work.stop().await;
    if let Some(error) = &outcome.first_error {
        eprintln!("  first error of a click: {error}");
    }
    if let Some(haproxy) = haproxy {
        haproxy.stop().await?;
    }
    let mut misjudged = None;
    if let Some(fairlane) = fairlane {
        let metrics = fairlane.metrics().await?;
        let of_locks =
            |line: &&str| line.starts_with("fairlane_lock_") && !line.contains("_bucket");
        metrics.lines().filter(of_locks).filter(|line| !line.ends_with(" 0")).for_each(|line| {
            eprintln!("  {line}");
        });
        fairlane.stop().await?;
        let log = std::fs::read_to_string(arguments.out.join("fairlane.log"))?;
        let ids = clicks.ids.lock();
        misjudged = (way != Way::Fifo).then(|| verdicts::count(&log, &ids));
    }
    Ok(Row {
        scenario,
        way,
        latency: Latency::of(&outcome.latencies, outcome.failed)?,
        failed: outcome.failed,
        stale: outcome.stale,
        rate: done as f64 / arguments.seconds as f64,
        misjudged,
    })
}
