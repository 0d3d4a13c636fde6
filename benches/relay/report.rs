//! The cells that were measured, and the tables made of them.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::proxies::Way;
use crate::sysbench::{Script, Statements};

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    pub(crate) script: Script,
    pub(crate) statements: Statements,
    pub(crate) threads: u32,
}

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
}

/// Medians of the rounds.
#[derive(Debug, Clone, Copy)]
struct Middle {
    per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    cpu_us: Option<f64>,
}

/// A markdown table of the medians, with ratios to HAProxy.
pub(crate) fn table(cells: &[Cell], loads: &[Load]) -> Result<String> {
    let mut table = String::from(
        "| load | statements | threads | way | queries/s | to HAProxy | p50 ms | p95 ms | proxy CPU us/query | to \
         HAProxy |\n|---|---|--:|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for load in loads {
        let Some(haproxy) = middle(cells, *load, Way::HaProxy) else { continue };
        for way in Way::ALL {
            let Some(this) = middle(cells, *load, way) else { continue };
            let cpu = this.cpu_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.2}"));
            let ratio = this.cpu_us.zip(haproxy.cpu_us).map(|(us, other)| us / other);
            let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            writeln!(
                table,
                "| {} | {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {cpu} | {ratio} |",
                load.script.name(),
                load.statements.name(),
                load.threads,
                way.name(),
                this.per_second,
                this.per_second / haproxy.per_second,
                this.p50_ms,
                this.p95_ms,
            )?;
        }
    }
    Ok(table)
}

fn middle(cells: &[Cell], load: Load, way: Way) -> Option<Middle> {
    let of_way = || cells.iter().filter(|cell| cell.load == load && cell.way == way);
    Some(Middle {
        per_second: median(of_way().map(|cell| cell.per_second).collect())?,
        p50_ms: median(of_way().map(|cell| cell.p50_ms).collect())?,
        p95_ms: median(of_way().map(|cell| cell.p95_ms).collect())?,
        cpu_us: median(of_way().filter_map(|cell| cell.cpu_us).collect()),
    })
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}
