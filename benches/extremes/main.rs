//! `make bench`, second part: what is far from one small statement after the other. Short
//! connections, idle clients, results of a gigabyte, readers that stall, and crowds of clients.
//!
//! Every part runs each way in turn, several rounds; the table has the medians.

#![allow(clippy::disallowed_methods, reason = "the clients are blocking threads of their own")]

#[path = "../../tests/it/support/line.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "the tests' client"
)]
mod line;
#[path = "../relay/machine.rs"]
mod machine;
#[path = "../relay/others.rs"]
#[allow(dead_code, reason = "only what this part needs")]
mod others;
#[path = "../../tests/it/support/product.rs"]
#[allow(dead_code, clippy::unwrap_used, unreachable_pub, reason = "the tests' client needs it")]
mod product;
#[path = "../relay/proxies.rs"]
#[allow(dead_code, reason = "only what this part needs")]
mod proxies;
#[path = "../../tests/it/support/raw.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "the tests' client"
)]
mod raw;
#[path = "../support/mod.rs"]
mod support;
#[path = "../relay/sysbench.rs"]
#[allow(dead_code, reason = "only what this part needs")]
mod sysbench;

mod connects;
mod crowd;
mod idle;
mod large;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use fairlane::sandbox::{APP_PASSWORD, APP_SCHEMA, APP_USER};

use crate::machine::Machine;
use crate::proxies::{Proxies, Servers, Way};
use crate::raw::Raw;
use crate::table::Table;

/// The ways that are compared here: one server behind each.
const WAYS: [Way; 3] = [Way::Direct, Way::HaProxy, Way::Fairlane];

/// Short connections, idle clients, large results, slow readers and crowds.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often every part is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only the part of this name: connects, idle, large, slow or crowd.
    #[arg(long)]
    only: Option<String>,
    /// Folder of the result files.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(bench(&arguments))
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let logs = tempfile::tempdir()?;
    let sandbox = proxies::start_servers().await?;
    let servers = Servers::of(&sandbox)?;
    let proxies = Proxies::start(&WAYS, servers, logs.path()).await?;
    let primary = servers.primary;

    let wants = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    let mut table = Table::default();
    if wants("connects") {
        tokio::task::block_in_place(|| {
            connects::ON_MARIADB.into_iter().try_for_each(|part| {
                connects::measure(&proxies, part, arguments.rounds, &mut table)
            })
        })?;
    }
    if wants("large") {
        tokio::task::block_in_place(|| large::measure(&proxies, arguments.rounds, &mut table))?;
    }
    if wants("slow") {
        tokio::task::block_in_place(|| large::measure_slow(&proxies, &mut table))?;
    }
    if wants("crowd") {
        crowd::measure(primary, logs.path(), arguments.rounds, &mut table).await?;
    }
    proxies.stop().await?;
    if wants("idle") {
        idle::measure(primary, logs.path(), &mut table).await?;
    }
    sandbox.stop().await?;
    if wants("connects") {
        connects::measure_mysql(&logs.path().join("mysql"), arguments.rounds, &mut table).await?;
    }
    println!("{}", table.markdown());
    save(arguments, &table)
}

fn save(arguments: &Arguments, table: &Table) -> Result<()> {
    if arguments.only.is_some() {
        return Ok(());
    }
    let machine = Machine::this();
    let out: &Path = &arguments.results.join(format!("{}-{}", machine.date, machine.slug()));
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let text = format!(
        "# Extremes: far from one small statement after the other, {}\n\n{}\nMedians of {} rounds, \
         each way in turn; load, proxies and server share the machine.\n\n{}",
        machine.date,
        machine.list(),
        arguments.rounds,
        table.markdown()
    );
    std::fs::write(out.join("extremes.md"), text)?;
    println!("written: {}", out.join("extremes.md").display());
    Ok(())
}

/// The median of `rounds` measurements of each way, made in turn.
fn medians(
    proxies: &Proxies,
    rounds: usize,
    rate: impl Fn(u16) -> Result<f64>,
) -> Result<[f64; WAYS.len()]> {
    let mut rates = [const { Vec::new() }; WAYS.len()];
    for _ in 0..rounds {
        for (way, rates) in WAYS.iter().zip(&mut rates) {
            rates.push(rate(proxies.port(*way))?);
        }
    }
    Ok(rates.map(table::median))
}

/// The application's user at a port.
fn login(port: u16) -> Result<Raw> {
    Raw::connect(port, APP_USER, APP_PASSWORD, Some(APP_SCHEMA))
        .map_err(|error| anyhow::anyhow!("logging in at port {port}: {error:?}"))
}

/// Runs a statement; an error packet is an error.
fn query(raw: &mut Raw, sql: &str) -> Result<raw::Answer> {
    raw.query(sql).map_err(|error| anyhow::anyhow!("{sql}: {error:?}"))
}
