//! `make bench`: what Fairlane costs next to a plain TCP proxy.
//!
//! sysbench's loads go straight to a private server, through HAProxy in TCP mode and
//! through Fairlane, in turn, several rounds: a machine that slows down slows all of them. HAProxy
//! only copies bytes; how far Fairlane is from it, with all reads on the same server, is the price
//! of understanding them. A second Fairlane shows what a replica adds.

mod machine;
mod proxies;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod sysbench;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::time::Instant;

use crate::machine::Machine;
use crate::proxies::{Proxies, Way};
use crate::report::{Cell, Load};
use crate::support::cpu::time_of;
use crate::sysbench::{Script, Statements};

const THREADS: [u32; 4] = [1, 16, 64, 256];
/// Threads of the loads with transactions.
const THREADS_OF_MIXES: u32 = 16;

/// Compares point selects straight, through HAProxy and through Fairlane.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each cell.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often every cell is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Folder of the result files.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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
    eprintln!("starting a private primary and replica, HAProxy and Fairlane");
    let logs = tempfile::tempdir()?;
    let (sandbox, proxies) = proxies::start_all(logs.path()).await?;
    eprintln!("Fairlane's live page: http://127.0.0.1:{}/", proxies.admin_port());

    let loads = loads();
    let (cells, raw) = measure(arguments, &loads, &proxies).await?;
    proxies.stop().await?;
    sandbox.stop().await?;
    let table = report::table(&cells, &loads)?;
    println!("{table}");
    save(arguments, &out, &machine, &table, &cells, &raw)
}

/// Point selects in every combination of statements and threads, and transactions.
fn loads() -> Vec<Load> {
    let point_select = |statements| {
        THREADS.map(|threads| Load { script: Script::PointSelect, statements, threads })
    };
    let mix = |script| Load { script, statements: Statements::Text, threads: THREADS_OF_MIXES };
    [Statements::Text, Statements::Prepared]
        .into_iter()
        .flat_map(point_select)
        .chain([Script::ReadOnly, Script::ReadWrite].map(mix))
        .collect()
}

/// All cells, and sysbench's own reports.
async fn measure(
    arguments: &Arguments,
    loads: &[Load],
    proxies: &Proxies,
) -> Result<(Vec<Cell>, String)> {
    let begin = Instant::now();
    let (mut cells, mut raw) = (Vec::new(), String::new());
    for round in 1..=arguments.rounds {
        for &load in loads {
            let mut ways = Way::ALL;
            // Nobody is always the first after a change of load.
            ways.rotate_left(round as usize % Way::ALL.len());
            for way in ways {
                let (cell, text) = cell(arguments, proxies, round, load, way).await?;
                let Load { script, statements, threads } = load;
                let title = format!(
                    "round {round}, {}, {} statements, {threads} threads, {}",
                    script.name(),
                    statements.name(),
                    way.name()
                );
                eprintln!(
                    "[{:>3} s] {title}: {:.0} queries/s, p95 {:.2} ms, {:.2} us of proxy CPU",
                    begin.elapsed().as_secs(),
                    cell.per_second,
                    cell.p95_ms,
                    cell.cpu_us.unwrap_or_default()
                );
                raw.push_str(&format!("=== {title}\n{}\n\n", text.trim()));
                cells.push(cell);
            }
        }
    }
    Ok((cells, raw))
}

async fn cell(
    arguments: &Arguments,
    proxies: &Proxies,
    round: u32,
    load: Load,
    way: Way,
) -> Result<(Cell, String)> {
    let cpu = || proxies.pid(way).and_then(time_of);
    let before = cpu();
    let Load { script, statements, threads } = load;
    let (report, text) =
        sysbench::run(proxies.port(way), script, statements, threads, arguments.seconds)
            .await
            .with_context(|| format!("{} with {threads} threads", way.name()))?;
    let used = cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
    let per_query = |used: Duration| 1e6 * used.as_secs_f64() / report.queries as f64;
    let cell = Cell {
        round,
        load,
        way,
        queries: report.queries,
        per_second: report.per_second,
        p50_ms: report.p50_ms,
        p95_ms: report.p95_ms,
        cpu_us: used.map(per_query),
    };
    Ok((cell, text))
}

fn save(
    arguments: &Arguments,
    out: &Path,
    machine: &Machine,
    table: &str,
    cells: &[Cell],
    raw: &str,
) -> Result<()> {
    let text = format!(
        "# Relay: next to a TCP proxy, {}\n\n{}\nsysbench, {} s a cell, medians of {} interleaved rounds; sysbench, proxies and server share the machine. \
         CPU is the proxy's own user and system time over the queries of the cell. Single cells \
         are in relay.json, sysbench's reports in relay.txt.\n\n{table}",
        machine.date,
        machine.list(),
        arguments.seconds,
        arguments.rounds
    );
    std::fs::write(out.join("relay.md"), text)?;
    std::fs::write(out.join("relay.json"), serde_json::to_string_pretty(cells)?)?;
    std::fs::write(out.join("relay.txt"), raw)?;
    println!("written: {}", out.join("relay.md").display());
    Ok(())
}
