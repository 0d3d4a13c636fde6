//! The rounds: every load, every way in turn.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use crate::null_server::NullServer;
use crate::plan::{Behind, Cores, Load};
use crate::proxies::{Proxies, Way};
use crate::report::Cell;
use crate::spinners::Spinners;
use crate::support::cpu::time_of;
use crate::sysbench;

/// What is measured, and how.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Seconds of each cell.
    pub(crate) seconds: u32,
    /// How often every cell is measured.
    pub(crate) rounds: u32,
    pub(crate) before_servers: Proxies,
    pub(crate) before_null: Proxies,
    pub(crate) null: NullServer,
}

impl Bench {
    /// All cells, and sysbench's own reports.
    pub(crate) async fn run(&self, loads: &[Load]) -> Result<(Vec<Cell>, String)> {
        let begin = Instant::now();
        let (mut cells, mut raw) = (Vec::new(), String::new());
        for round in 1..=self.rounds {
            for &load in loads {
                let _spinners = match load.cores {
                    Cores::Alone => None,
                    Cores::Awake => Some(Spinners::start()?),
                };
                let mut ways = load.ways().to_vec();
                // Nobody is always the first after a change of load.
                ways.rotate_left(round as usize % load.ways().len());
                for way in ways {
                    let title = title(round, load, way);
                    let (cell, text) =
                        self.cell(round, load, way).await.with_context(|| title.clone())?;
                    eprintln!("[{:>3} s] {title}: {}", begin.elapsed().as_secs(), cell.summary());
                    raw.push_str(&format!("=== {title}\n{}\n\n", text.trim()));
                    cells.push(cell);
                }
            }
        }
        Ok((cells, raw))
    }

    async fn cell(&self, round: u32, load: Load, way: Way) -> Result<(Cell, String)> {
        let (proxies, server) = match load.behind {
            Behind::Servers => (&self.before_servers, None),
            Behind::Null => (&self.before_null, self.null.pid()),
        };
        let cpu_of = |process: Option<u32>| process.and_then(time_of);
        let proxy = proxies.pid(way);
        let (proxy_before, server_before) = (cpu_of(proxy), cpu_of(server));
        let Load { script, statements, threads, .. } = load;
        let (report, text) =
            sysbench::run(proxies.port(way), script, statements, threads, self.seconds).await?;
        let per_query = |after: Option<Duration>, before: Option<Duration>| {
            let used = after?.saturating_sub(before?);
            Some(1e6 * used.as_secs_f64() / report.queries as f64)
        };
        let cell = Cell {
            round,
            load,
            way,
            queries: report.queries,
            per_second: report.per_second,
            p50_ms: report.p50_ms,
            p95_ms: report.p95_ms,
            cpu_us: per_query(cpu_of(proxy), proxy_before),
            null_cpu_us: per_query(cpu_of(server), server_before),
        };
        Ok((cell, text))
    }

    /// Ends the proxies and the null server.
    pub(crate) async fn stop(self) -> Result<()> {
        self.before_servers.stop().await?;
        self.before_null.stop().await?;
        self.null.stop().await
    }
}

fn title(round: u32, load: Load, way: Way) -> String {
    let behind = match load.behind {
        Behind::Servers => "",
        Behind::Null => " to the null server",
    };
    format!(
        "round {round}, {}, {} statements, {} threads, {}{behind}",
        load.script.name(),
        load.statements.name(),
        load.threads(),
        way.name()
    )
}
