//! PHP's way: connect, one point select, quit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use fairlane::protocol::Command;

use crate::proxies::{Proxies, Way};
use crate::table::{Table, ratio};
use crate::{WAYS, login, medians, query};

const CLIENTS: usize = 16;
const LENGTH: Duration = Duration::from_secs(4);

/// Connections per second, each way.
pub(crate) fn measure(proxies: &Proxies, rounds: usize, table: &mut Table) -> Result<()> {
    let rates = medians(proxies, rounds, rate)?;
    for (way, rate) in WAYS.iter().zip(rates) {
        let note = match way {
            Way::Direct => String::new(),
            _ => ratio(rate, rates[0], "direct"),
        };
        table.add("connect, select, quit: 16 clients", way.name(), format!("{rate:.0}/s"), note);
    }
    Ok(())
}

fn rate(port: u16) -> Result<f64> {
    let (done, begin) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while begin.elapsed() < LENGTH {
                        let mut raw = login(port)?;
                        query(&mut raw, "SELECT c FROM sbtest1 WHERE id = 4711")?;
                        raw.send(Command::Quit, b"");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    Ok(done.into_inner() as f64 / begin.elapsed().as_secs_f64())
}
