//! Thousands of clients that are logged in and do nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fairlane::protocol::Command;

use crate::proxies::FAIRLANE;
use crate::support::fairlane::Fairlane;
use crate::support::memory::resident_kib;
use crate::table::Table;
use crate::{login, query};

/// Clients, unless the limit of open files is in the way.
const CLIENTS: u64 = 20_000;
/// Files of this program and of Fairlane that are no clients.
const OTHER_FILES: u64 = 300;
/// How long memory may take to go back to the system.
const RETURN_LIMIT: Duration = Duration::from_secs(40);

/// Memory of a client, and what is left of it when all have gone.
pub(crate) async fn measure(primary: u16, out: &Path, table: &mut Table) -> Result<()> {
    let config = FAIRLANE
        .replace("READS", "[routing]\nreplica_reads = false\n")
        .replace("PRIMARY", &primary.to_string());
    let fairlane = Fairlane::start(&config, out).await?;
    let (port, pid) = (fairlane.port, fairlane.pid().context("Fairlane has ended")?);
    let measured = tokio::task::block_in_place(|| clients(port, pid))?;
    fairlane.stop().await?;
    let Measured { clients, per_client, share_left, after } = measured;
    table.add(
        "idle clients",
        "Fairlane",
        format!("{per_client:.1} KiB each"),
        format!(
            "{clients} clients, half of them after a statement; {:.0} s after they left memory is \
             {share_left:.2} x the start",
            after.as_secs_f64()
        ),
    );
    Ok(())
}

struct Measured {
    clients: u64,
    per_client: f64,
    share_left: f64,
    after: Duration,
}

fn clients(port: u16, pid: u32) -> Result<Measured> {
    let count = CLIENTS.min(files()?.saturating_sub(OTHER_FILES));
    // A first client, so that the pool and its connection are not counted.
    query(&mut login(port)?, "SELECT 1")?;
    std::thread::sleep(Duration::from_millis(500));
    let start = resident_kib(pid)? as f64;
    let mut clients = Vec::new();
    for index in 0..count {
        let mut raw = login(port).with_context(|| format!("client {index} of {count}"))?;
        if index % 2 == 0 {
            query(&mut raw, "SELECT c FROM sbtest1 WHERE id = 4711")?;
        }
        clients.push(raw);
    }
    std::thread::sleep(Duration::from_secs(1));
    let per_client = (resident_kib(pid)? as f64 - start) / count as f64;
    for mut client in clients {
        client.send(Command::Quit, b"");
    }
    let left = Instant::now();
    loop {
        let share_left = resident_kib(pid)? as f64 / start;
        if share_left <= 1.2 || left.elapsed() > RETURN_LIMIT {
            return Ok(Measured { clients: count, per_client, share_left, after: left.elapsed() });
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// How many files a process may have open.
fn files() -> Result<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).context("no limit of open files")
}
