//! sysbench's loads: the rows, one measured cell, and its numbers out of its report.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use fairlane::sandbox::{APP_PASSWORD, APP_SCHEMA, APP_USER};
use serde::Serialize;
use tokio::process::Command;

/// Rows of the one table.
const ROWS: u32 = 100_000;

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Statements {
    /// Texts, `--db-ps-mode=disable`.
    Text,
    /// Prepared once for each connection, `--db-ps-mode=auto`.
    Prepared,
}

impl Statements {
    /// As the tables write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Text => "--db-ps-mode=disable",
            Self::Prepared => "--db-ps-mode=auto",
        }
    }
}

/// One of sysbench's loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Script {
    PointSelect,
    ReadOnly,
    ReadWrite,
}

impl Script {
    /// As the tables write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PointSelect => "point select",
            Self::ReadOnly => "read only",
            Self::ReadWrite => "read write",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::PointSelect => "oltp_point_select",
            Self::ReadOnly => "oltp_read_only",
            Self::ReadWrite => "oltp_read_write",
        }
    }
}

/// What sysbench reports.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    /// All queries of the cell.
    pub(crate) queries: u64,
    /// Transactions that lost a deadlock.
    pub(crate) errors: f64,
    /// Queries per second.
    pub(crate) per_second: f64,
    /// Median of the latencies in milliseconds.
    pub(crate) p50_ms: f64,
    /// 95th percentile of the latencies in milliseconds.
    pub(crate) p95_ms: f64,
}

/// Makes the table straight on the server at `port`.
pub(crate) async fn prepare(port: u16) -> Result<()> {
    sysbench(port, Script::PointSelect, &["prepare"]).await.map(drop)
}

/// A load at `port` for `seconds`; returns the numbers and the text without its histogram.
pub(crate) async fn run(
    port: u16,
    script: Script,
    statements: Statements,
    threads: u32,
    seconds: u32,
) -> Result<(Report, String)> {
    let (threads, time) = (format!("--threads={threads}"), format!("--time={seconds}"));
    let text = sysbench(port, script, &[statements.option(), &threads, &time, "run"]).await?;
    let report = parse(&text).with_context(|| format!("reading sysbench's report:\n{text}"))?;
    let may_fail = script == Script::ReadWrite;
    ensure!(may_fail || report.errors == 0.0, "{} statements failed", report.errors);
    let lines = text.lines().filter(|line| !line.contains('|'));
    Ok((report, lines.collect::<Vec<_>>().join("\n")))
}

async fn sysbench(port: u16, script: Script, arguments: &[&str]) -> Result<String> {
    let output = Command::new("sysbench")
        .arg(script.file())
        .args(["--tables=1", "--mysql-host=127.0.0.1", "--histogram=on"])
        // Two clients on one row: the loser of a deadlock is run again, as applications do.
        .arg("--mysql-ignore-errors=1213")
        .arg(format!("--table-size={ROWS}"))
        .arg(format!("--mysql-port={port}"))
        .arg(format!("--mysql-user={APP_USER}"))
        .arg(format!("--mysql-password={APP_PASSWORD}"))
        .arg(format!("--mysql-db={APP_SCHEMA}"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("running sysbench (install the package sysbench)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("sysbench failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Report> {
    let (queries, rest) = number_after(text, "queries:").context("no queries")?;
    let (per_second, _) = number_after(rest, "(").context("no rate")?;
    let (p95_ms, _) = number_after(text, "95th percentile:").context("no percentile")?;
    let p50_ms = median(text).context("no histogram")?;
    let (errors, _) = number_after(text, "ignored errors:").context("no errors")?;
    ensure!(queries >= 1.0, "no statement ran");
    // A count under 2^53 is exact.
    #[expect(clippy::cast_possible_truncation, reason = "a count printed as an integer")]
    let queries = queries as u64;
    Ok(Report { queries, errors, per_second, p50_ms, p95_ms })
}

/// The median of the latencies, out of the lines `value |*** count` of sysbench's histogram.
fn median(text: &str) -> Option<f64> {
    let buckets: Vec<(f64, u64)> = text
        .lines()
        .filter_map(|line| {
            let (value, rest) = line.split_once('|')?;
            let count = rest.trim_start_matches('*').trim();
            Some((value.trim().parse().ok()?, count.parse().ok()?))
        })
        .collect();
    let all: u64 = buckets.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    buckets.into_iter().find_map(|(value, count)| {
        below += count;
        (2 * below >= all).then_some(value)
    })
}

/// The number after `label`, and the text after it.
fn number_after<'t>(text: &'t str, label: &str) -> Option<(f64, &'t str)> {
    let (_, rest) = text.split_once(label)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}
