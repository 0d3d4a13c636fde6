//! `make bench`: what Fairlane costs next to other proxies.
//!
//! sysbench's loads go straight to a private server, through HAProxy in TCP mode, through MySQL
//! Router and through Fairlane, in turn, several rounds: a machine that slows down slows all of
//! them. HAProxy only copies bytes; how far Fairlane is from it, with all reads on the same server,
//! is the price of understanding them. A second Fairlane shows what a replica adds, and a null
//! server what each proxy can do when the server costs nothing.

mod machine;
mod measure;
mod null_server;
mod others;
mod plan;
mod plot;
mod proxies;
mod report;
mod spinners;
#[path = "../support/mod.rs"]
mod support;
mod sysbench;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::machine::Machine;
use crate::measure::Bench;
use crate::null_server::NullServer;
use crate::plan::{PLAIN, WAYS};
use crate::proxies::{Proxies, Servers};
use crate::report::Cell;

/// Compares sysbench's loads straight, through other proxies and through Fairlane.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each cell.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// How often every cell is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Folder of the result files.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the bench starts itself as.
#[derive(Debug, Subcommand)]
enum Part {
    /// Only the null server, until standard input ends.
    NullServer {
        /// Port of the real server.
        #[arg(long)]
        behind: u16,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(Part::NullServer { behind }) = arguments.part {
        return runtime.block_on(null_server::serve(behind));
    }
    runtime.block_on(async {
        tokio::select! {
            done = bench(&arguments) => done,
            // Dropping the benchmark stops everything it started.
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                bail!("interrupted")
            }
        }
    })
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let machine = Machine::this();
    let out = arguments.results.join(format!("{}-{}", machine.date, machine.slug()));
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    eprintln!("starting a private primary and replica, a null server, and the proxies");
    let logs = tempfile::tempdir()?;
    let sandbox = proxies::start_servers().await?;
    let servers = Servers::of(&sandbox)?;
    let null = NullServer::start(servers.primary).await?;
    let before_null = Servers { primary: null.port, ..servers };
    let bench = Bench {
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        before_servers: Proxies::start(&WAYS, servers, &logs.path().join("servers")).await?,
        before_null: Proxies::start(&PLAIN, before_null, &logs.path().join("null")).await?,
        null,
    };

    let loads = plan::loads();
    let (cells, raw) = bench.run(&loads).await?;
    bench.stop().await?;
    sandbox.stop().await?;
    let tables = format!(
        "{}\n## Ceilings: the null server behind\n\n{}",
        report::table(&cells, &loads)?,
        report::ceilings(&cells, &loads)?
    );
    println!("{tables}");
    save(arguments, &out, &machine, &tables, &cells, &raw)
}

fn save(
    arguments: &Arguments,
    out: &Path,
    machine: &Machine,
    tables: &str,
    cells: &[Cell],
    raw: &str,
) -> Result<()> {
    let text = format!(
        "# Relay: next to other proxies, {}\n\n{}\nsysbench, {} s a cell, medians of {} interleaved \
         rounds; sysbench, proxies and server share the machine. CPU is the proxy's own user and \
         system time over the queries of the cell. Single cells are in relay.json, sysbench's \
         reports in relay.txt.\n\n{tables}",
        machine.date,
        machine.list(),
        arguments.seconds,
        arguments.rounds
    );
    std::fs::write(out.join("relay.md"), text)?;
    std::fs::write(out.join("relay.json"), serde_json::to_string_pretty(cells)?)?;
    std::fs::write(out.join("relay.txt"), raw)?;
    plot::save(cells, out)?;
    println!("written: {}", out.join("relay.md").display());
    Ok(())
}
