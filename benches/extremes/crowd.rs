//! Two thousand busy clients over 32 connections, next to as many straight on the server, and to the best
//! that it does by itself.

use std::path::Path;

use anyhow::Result;

use crate::proxies::FAIRLANE;
use crate::support::fairlane::Fairlane;
use crate::sysbench::{self, Script, Statements};
use crate::table::{Table, median, ratio};

const CLIENTS: u32 = 2_000;
const CONNECTIONS: u32 = 32;
/// Threads straight on the server: the best of them counts.
const DIRECT: [u32; 5] = [4, 8, 16, 32, 64];
const SECONDS: u32 = 4;

/// Throughput of the crowd, and the best direct throughput.
pub(crate) async fn measure(
    primary: u16,
    out: &Path,
    rounds: usize,
    table: &mut Table,
) -> Result<()> {
    // One more for Fairlane's own control connection.
    let config = FAIRLANE
        .replace(
            "READS",
            "[routing]\nreplica_reads = false\n[[lane]]\nname = \"all\"\nqueue = 10000\n",
        )
        .replace("max_connections = 100", &format!("max_connections = {}", CONNECTIONS + 1))
        .replace("PRIMARY", &primary.to_string());
    let fairlane = Fairlane::start(&config, out).await?;
    let mut direct = vec![Vec::new(); DIRECT.len()];
    let (mut crowd, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (threads, rates) in DIRECT.iter().zip(&mut direct) {
            rates.push(
                sysbench::run(
                    primary,
                    Script::PointSelect,
                    Statements::Text,
                    *threads,
                    SECONDS / 2,
                )
                .await?
                .0
                .per_second,
            );
        }
        for (port, rates) in [(primary, &mut alone), (fairlane.port, &mut crowd)] {
            let load = (Script::PointSelect, Statements::Text);
            let (report, _) = sysbench::run(port, load.0, load.1, CLIENTS, SECONDS).await?;
            rates.push(report.per_second);
        }
    }
    fairlane.stop().await?;
    let best = direct.into_iter().map(median).zip(DIRECT).max_by(|a, b| a.0.total_cmp(&b.0));
    let (best, threads) = best.unwrap_or((f64::NAN, 0));
    let part = "point selects of a crowd";
    table.add(part, "direct", format!("{best:.0}/s"), format!("the best, with {threads} clients"));
    let (crowd, alone) = (median(crowd), median(alone));
    let note = format!("{CLIENTS} clients, each with a connection of its own");
    table.add(part, "direct", format!("{alone:.0}/s"), note);
    let note = format!(
        "{CLIENTS} clients over {CONNECTIONS}; {}; {}",
        ratio(crowd, alone, "direct with as many clients"),
        ratio(crowd, best, "the best")
    );
    table.add(part, "Fairlane", format!("{crowd:.0}/s"), note);
    Ok(())
}
