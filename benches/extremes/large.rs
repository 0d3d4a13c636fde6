//! A result of one gigabyte: how fast it passes, and what it costs when its reader stalls.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fairlane::protocol::Command;

use crate::proxies::{Proxies, Way};
use crate::support::memory::resident_kib;
use crate::table::{Table, ratio};
use crate::{WAYS, login, medians, query};

const GIB: &str = "SELECT REPEAT('x', 1048576) FROM seq_1_to_1024";
const BYTES: usize = 1 << 30;
/// Clients beside a slow reader, and how long they are watched.
const OTHERS: usize = 4;
const WATCHED: Duration = Duration::from_secs(4);

/// Throughput of a gigabyte, each way.
pub(crate) fn measure(proxies: &Proxies, rounds: usize, table: &mut Table) -> Result<()> {
    let rates = medians(proxies, rounds, rate)?;
    for (way, rate) in WAYS.iter().zip(rates) {
        let note = match way {
            Way::Fairlane => ratio(rate, rates[1], "HAProxy"),
            _ => String::new(),
        };
        table.add("result of 1 GiB", way.name(), format!("{rate:.2} GiB/s"), note);
    }
    Ok(())
}

/// GiB per second. The last bytes need not be understood: a row more than asked for would be an
/// error of the tests, not of this.
fn rate(port: u16) -> Result<f64> {
    let mut raw = login(port)?;
    let begin = Instant::now();
    raw.send(Command::Query, GIB.as_bytes());
    let mut chunk = vec![0; 1 << 20];
    let mut read = 0;
    while read < BYTES {
        let count = raw.stream.read(&mut chunk)?;
        ensure!(count > 0, "the result broke off after {read} bytes");
        read += count;
    }
    Ok(1.0 / begin.elapsed().as_secs_f64())
}

/// A reader that stops in the middle of a gigabyte: memory of the proxy, latency of the others.
pub(crate) fn measure_slow(proxies: &Proxies, table: &mut Table) -> Result<()> {
    for way in [Way::HaProxy, Way::Fairlane] {
        let pid = proxies.pid(way).context("a proxy has ended")?;
        let port = proxies.port(way);
        // Once before, so that what a first time costs is not counted.
        p99(port, Duration::from_secs(1))?;
        let alone = p99(port, WATCHED)?;
        let before = resident_kib(pid)?;
        let mut raw = login(port)?;
        raw.send(Command::Query, GIB.as_bytes());
        let mut chunk = vec![0; 1 << 20];
        raw.stream.read_exact(&mut chunk)?;
        let beside = p99(port, WATCHED)?;
        let grown = resident_kib(pid)?.saturating_sub(before);
        let note = format!(
            "p99 of {OTHERS} others {:.2} ms, without it {:.2} ms",
            1e3 * beside.as_secs_f64(),
            1e3 * alone.as_secs_f64()
        );
        table.add("a reader stalls in 1 GiB", way.name(), format!("{grown} KiB"), note);
    }
    Ok(())
}

/// The 99th percentile of point selects.
fn p99(port: u16, length: Duration) -> Result<Duration> {
    let is_over = AtomicBool::new(false);
    let mut all = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let clients: Vec<_> = (0..OTHERS)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Duration>> {
                    let mut raw = login(port)?;
                    let mut latencies = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let begin = Instant::now();
                        query(&mut raw, "SELECT c FROM sbtest1 WHERE id = 4711")?;
                        latencies.push(begin.elapsed());
                    }
                    Ok(latencies)
                })
            })
            .collect();
        std::thread::sleep(length);
        is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in clients {
            all.append(&mut client.join().expect("a client panicked")?);
        }
        Ok(all)
    })?;
    all.sort_unstable();
    all.get(all.len() * 99 / 100).copied().context("no select was answered")
}
