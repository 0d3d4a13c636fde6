//! The cells that were measured, and the tables made of them.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::plan::{Behind, Load};
use crate::proxies::Way;

const HEAD: &str = "\
| load | statements | threads | way | queries/s | to HAProxy | p50 ms | p95 ms | proxy CPU us/query | to HAProxy |
|---|---|--:|---|--:|--:|--:|--:|--:|--:|
";

const HEAD_OF_CEILINGS: &str = "\
| statements | threads | way | queries/s | to HAProxy | proxy CPU us/query | to HAProxy | null server, of a core |
|---|--:|---|--:|--:|--:|--:|--:|
";

/// One run of sysbench.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) round: u32,
    pub(crate) load: Load,
    pub(crate) way: Way,
    pub(crate) queries: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    /// CPU time of the proxy for one query in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// CPU time of the null server for one query in microseconds, where it answers.
    pub(crate) null_cpu_us: Option<f64>,
}

impl Cell {
    /// For those who watch.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{:.0} queries/s, p95 {:.2} ms, {:.2} us of proxy CPU",
            self.per_second,
            self.p95_ms,
            self.cpu_us.unwrap_or_default()
        )
    }
}

/// Medians of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Middle {
    pub(crate) per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    pub(crate) cpu_us: Option<f64>,
    null_cpu_us: Option<f64>,
}

impl Middle {
    /// Of the cells of a load and way, if there are any.
    pub(crate) fn of(cells: &[Cell], load: Load, way: Way) -> Option<Self> {
        let of_way = || cells.iter().filter(|cell| cell.load == load && cell.way == way);
        Some(Self {
            per_second: median(of_way().map(|cell| cell.per_second).collect())?,
            p50_ms: median(of_way().map(|cell| cell.p50_ms).collect())?,
            p95_ms: median(of_way().map(|cell| cell.p95_ms).collect())?,
            cpu_us: median(of_way().filter_map(|cell| cell.cpu_us).collect()),
            null_cpu_us: median(of_way().filter_map(|cell| cell.null_cpu_us).collect()),
        })
    }

    /// The columns of the CPU, the latter as a ratio to HAProxy's.
    fn cpu(&self, haproxy: &Self) -> String {
        self.cpu_us.zip(haproxy.cpu_us).map_or_else(
            || "- | -".to_owned(),
            |(us, other)| format!("{us:.2} | {:.2}", us / other),
        )
    }
}

/// A markdown table of the medians with the servers behind, with ratios to HAProxy.
pub(crate) fn table(cells: &[Cell], loads: &[Load]) -> Result<String> {
    let mut table = HEAD.to_owned();
    for (load, way, this, haproxy) in middles(cells, loads, Behind::Servers) {
        writeln!(
            table,
            "| {} | {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {} |",
            load.script.name(),
            load.statements.name(),
            load.threads(),
            way.name(),
            this.per_second,
            this.per_second / haproxy.per_second,
            this.p50_ms,
            this.p95_ms,
            this.cpu(&haproxy),
        )?;
    }
    Ok(table)
}

/// A markdown table of the medians with the null server behind.
pub(crate) fn ceilings(cells: &[Cell], loads: &[Load]) -> Result<String> {
    let mut table = HEAD_OF_CEILINGS.to_owned();
    for (load, way, this, haproxy) in middles(cells, loads, Behind::Null) {
        let share = this.per_second * this.null_cpu_us.unwrap_or_default() / 1e6;
        writeln!(
            table,
            "| {} | {} | {} | {:.0} | {:.2} | {} | {share:.2} |",
            load.statements.name(),
            load.threads(),
            way.name(),
            this.per_second,
            this.per_second / haproxy.per_second,
            this.cpu(&haproxy),
        )?;
    }
    Ok(table)
}

/// A row a load and way: the way's medians, and HAProxy's.
fn middles(cells: &[Cell], loads: &[Load], behind: Behind) -> Vec<(Load, Way, Middle, Middle)> {
    let loads = loads.iter().filter(|load| load.behind == behind);
    let rows = loads.flat_map(|&load| load.ways().iter().map(move |&way| (load, way)));
    let medians = |(load, way)| {
        let (this, haproxy) =
            (Middle::of(cells, load, way)?, Middle::of(cells, load, Way::HaProxy)?);
        Some((load, way, this, haproxy))
    };
    rows.filter_map(medians).collect()
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}
