//! `make demo`: a restaurant back office whose scraper starves its users, and how lanes end that.
//!
//! Scraper workers upsert items outlet by outlet, users click "live data", and the application has
//! fifteen database connections. Each size runs straight on the primary and then through Fairlane
//! with the same number of backend connections. See `load` for a run, `scrape` and `clicks` for
//! the two kinds of work, `report` for what is promised.

mod clicks;
mod config;
mod disk;
mod load;
mod plot;
mod progress;
mod report;
mod scrape;
mod servers;
mod statement;
#[path = "../../support/mod.rs"]
mod support;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::disk::DiskWatch;
use crate::load::{Mode, Run, Sample, Size, Way, Window};
use crate::report::Results;
use crate::servers::Servers;
use crate::statement::Form;
use crate::support::fairlane::Fairlane;

const SIZES: &[Size] = &[
    Size { outlets: 46, workers: 6, turns: 4 },
    Size { outlets: 100, workers: 13, turns: 1 },
    Size { outlets: 500, workers: 65, turns: 1 },
];
const BASELINE: Size = Size { outlets: 500, workers: 0, turns: 1 };

/// Shows what happens to users' clicks while a scraper runs, without Fairlane and with it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Shorter windows, for a first look.
    #[arg(long)]
    quick: bool,
    /// Only the size with this many outlets (46, 100 or 500).
    #[arg(long)]
    only: Option<u32>,
    /// A key of Fairlane's section `[routing]` with its value; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    routing: Vec<String>,
    /// Statements are prepared, executed once and closed, as PDO does it unless it emulates.
    #[arg(long)]
    prepared: bool,
    /// Only the runs straight on the primary.
    #[arg(long)]
    direct: bool,
    /// Do not fail when a promise is broken.
    #[arg(long)]
    no_check: bool,
    /// Leave servers and Fairlane running until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where plot, numbers and log go.
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
}

impl Arguments {
    fn form(&self) -> Form {
        if self.prepared { Form::Prepared } else { Form::Text }
    }
}

/// What runs when the numbers are in.
#[derive(Debug)]
struct Demo {
    servers: Servers,
    fairlane: Option<Fairlane>,
    is_success: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now();
        let demo = tokio::select! {
            demo = run(&arguments, begin) => demo?,
            // Dropping the demo stops the servers and Fairlane.
            heard = interrupted() => return heard.map(|()| ExitCode::from(130)),
        };
        if arguments.keep {
            demo.look_around().await?;
        }
        let is_success = demo.is_success || arguments.no_check;
        demo.stop().await?;
        progress::tell(begin, "done");
        Ok(if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Waits for Ctrl-C, or to be told to end.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Starts, measures and reports everything.
async fn run(arguments: &Arguments, begin: Instant) -> Result<Demo> {
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    progress::tell(begin, "starting a private primary and replica");
    let servers = Servers::start().await?;
    let (results, fairlane) = measure(arguments, &servers, begin).await?;

    println!("\n{}", results.table());
    results.save(&out.join("results.json"))?;
    plot::save(&results.runs, &out.join("latency.svg"))?;
    println!("plot:    {}", out.join("latency.svg").display());
    println!("numbers: {}", out.join("results.json").display());
    if fairlane.is_some() {
        println!("config:  {}", out.join("fairlane.toml").display());
    }
    if !arguments.keep {
        println!("look around in it, with its live page: --keep");
    }
    if let Some(sentence) = results.shortfall() {
        println!("SLOW: {sentence}");
    }
    let broken = results.broken_promises();
    for sentence in &broken {
        println!("FAILED: {sentence}");
    }
    Ok(Demo { servers, fairlane, is_success: broken.is_empty() })
}

/// All runs; Fairlane of the last one still runs.
async fn measure(
    arguments: &Arguments,
    servers: &Servers,
    begin: Instant,
) -> Result<(Results, Option<Fairlane>)> {
    let mut results = Results { baseline: None, runs: Vec::new() };
    let mut bench = Bench { arguments, servers, begin, fairlane: None };
    if arguments.only.is_none() {
        progress::tell(begin, "clicks alone, straight to the primary");
        servers.fill(BASELINE.outlets).await?;
        let direct = Way { mode: Mode::Direct, port: servers.primary_port, proxy: None };
        let sample = load::run(direct, BASELINE, window(1, 5, arguments.form())).await?;
        progress::tell(begin, &sample.sentence());
        results.baseline = Some(Run::of(Mode::Direct, BASELINE, vec![sample])?);
    }
    let sizes = SIZES.iter().filter(|size| arguments.only.is_none_or(|only| only == size.outlets));
    for &size in sizes {
        let (mut direct, mut proxied) = (Vec::new(), Vec::new());
        for turn in 0..size.turns {
            // Who goes first in one turn goes last in the next.
            let order = [Mode::Direct, Mode::Fairlane];
            for mode in if turn % 2 == 0 { order } else { [order[1], order[0]] } {
                match mode {
                    Mode::Direct => direct.push(bench.sample(mode, size).await?),
                    Mode::Fairlane if arguments.direct => {}
                    Mode::Fairlane => proxied.push(bench.sample(mode, size).await?),
                }
            }
        }
        results.runs.push(Run::of(Mode::Direct, size, direct)?);
        if !arguments.direct {
            results.runs.push(Run::of(Mode::Fairlane, size, proxied)?);
        }
    }
    Ok((results, bench.fairlane))
}

/// What all windows share.
struct Bench<'a> {
    arguments: &'a Arguments,
    servers: &'a Servers,
    begin: Instant,
    /// The Fairlane of the last window, which still runs.
    fairlane: Option<Fairlane>,
}

impl Bench<'_> {
    /// One window.
    async fn sample(&mut self, mode: Mode, size: Size) -> Result<Sample> {
        let Self { arguments, servers, begin, .. } = *self;
        // A Fairlane of the window before would hold connections, and its memories.
        if let Some(fairlane) = self.fairlane.take() {
            fairlane.stop().await?;
        }
        servers.fill(size.outlets).await?;
        let witness = servers.watch().await?;
        let (way, fairlane) = match mode {
            Mode::Direct => {
                progress::tell(begin, &announce(size, "straight on the primary, 15 connections"));
                (Way { mode, port: servers.primary_port, proxy: None }, None)
            }
            Mode::Fairlane => {
                progress::tell(begin, &announce(size, "through Fairlane, 15 backend connections"));
                let ports = (servers.primary_port, servers.replica_port);
                let config = config::text(ports, &arguments.routing.join("\n"));
                let fairlane = Fairlane::start(&config, &arguments.out).await?;
                (Way { mode, port: fairlane.port, proxy: fairlane.pid() }, Some(fairlane))
            }
        };
        self.fairlane = fairlane;
        let length = if arguments.quick {
            window(1, 6, arguments.form())
        } else {
            window(2, if size.turns > 1 { 7 } else { 18 }, arguments.form())
        };
        let disk = DiskWatch::start(servers.directory()).await?;
        let mut sample = load::run(way, size, length).await?;
        sample.disk = Some(disk.stop().await?);
        sample.connections = Some(witness.stop().await?);
        if let Some(fairlane) = &self.fairlane {
            let primary = fairlane.routed("primary", READ_REASONS).await?;
            let replica = fairlane.routed("replica", READ_REASONS).await?;
            sample.reads = Some((primary, replica));
        }
        progress::tell(begin, &sample.sentence());
        Ok(sample)
    }
}

/// Reasons with which plain reads outside of transactions go to a server.
const READ_REASONS: &[&str] =
    &["plain_read", "not_fresh", "others_not_fresh", "unknown_position", "no_replica"];

const fn window(warm_up: u64, length: u64, form: Form) -> Window {
    Window { warm_up: Duration::from_secs(warm_up), length: Duration::from_secs(length), form }
}

impl Demo {
    /// Tells where to look, and waits for Ctrl-C.
    async fn look_around(&self) -> Result<()> {
        println!("primary:   mysql://app:app-secret@127.0.0.1:{}/shop", self.servers.primary_port);
        println!("replica:   mysql://app:app-secret@127.0.0.1:{}/shop", self.servers.replica_port);
        if let Some(fairlane) = &self.fairlane {
            println!("Fairlane:  mysql://app:app-secret@127.0.0.1:{}/shop", fairlane.port);
            println!("live page: http://127.0.0.1:{}/", fairlane.admin_port);
            println!("metrics:   http://127.0.0.1:{}/metrics", fairlane.admin_port);
        }
        println!("Ctrl-C ends all of it.");
        interrupted().await
    }

    async fn stop(self) -> Result<()> {
        if let Some(fairlane) = self.fairlane {
            fairlane.stop().await?;
        }
        self.servers.stop().await
    }
}

fn announce(size: Size, way: &str) -> String {
    format!("{} outlets, {} workers, {way}", size.outlets, size.workers)
}
