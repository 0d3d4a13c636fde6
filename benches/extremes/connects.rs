//! PHP's way: connect, one point select, quit; also with what frameworks send after each login.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use fairlane::protocol::Command;
use fairlane::sandbox::{Options, Sandbox};
use mysql_async::prelude::Queryable as _;

use crate::product::Product;
use crate::proxies::{Proxies, Servers, Way};
use crate::table::{Table, ratio};
use crate::{WAYS, login, medians, query};

/// A part of the bench, and what is sent after each login.
pub(crate) type Part = (&'static str, &'static [&'static str]);

/// As Laravel sends it.
const SETTINGS: &[&str] = &[
    "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'",
    "SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,\
     ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
];
pub(crate) const ON_MARIADB: [Part; 2] = [
    ("connect, select, quit: 16 clients", &[]),
    ("connect, two SETs, select, quit: 16 clients", SETTINGS),
];
const ON_MYSQL: [Part; 2] = [
    ("connect, select, quit on MySQL: 16 clients", &[]),
    ("connect, two SETs, select, quit on MySQL: 16 clients", SETTINGS),
];
const CLIENTS: usize = 16;
const LENGTH: Duration = Duration::from_secs(4);

/// Connections per second, each way.
pub(crate) fn measure(
    proxies: &Proxies,
    (part, settings): Part,
    rounds: usize,
    table: &mut Table,
) -> Result<()> {
    let rates = medians(proxies, rounds, |port| rate(port, settings))?;
    for (way, rate) in WAYS.iter().zip(rates) {
        let note = match way {
            Way::Direct => String::new(),
            _ => ratio(rate, rates[0], "direct"),
        };
        table.add(part, way.name(), format!("{rate:.0}/s"), note);
    }
    Ok(())
}

/// The same on MySQL, whose connections are dearer.
pub(crate) async fn measure_mysql(logs: &Path, rounds: usize, table: &mut Table) -> Result<()> {
    let options = Product::MySql.options();
    let sandbox = Sandbox::start(Options { replicas: 1, max_connections: 500, ..options }).await?;
    let mut root = sandbox.primary.root().await?;
    for sql in [
        "CREATE TABLE shop.sbtest1 (id INT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL)",
        "INSERT INTO shop.sbtest1 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 1000) SELECT a.i * 100 + b.i, 0, SHA2(a.i, 256) FROM n a JOIN n b \
         WHERE b.i <= 100",
    ] {
        root.query_drop(sql).await?;
    }
    root.disconnect().await?;
    let proxies = Proxies::start(&WAYS, Servers::of(&sandbox)?, logs).await?;
    tokio::task::block_in_place(|| {
        ON_MYSQL.into_iter().try_for_each(|part| measure(&proxies, part, rounds, table))
    })?;
    proxies.stop().await?;
    Ok(sandbox.stop().await?)
}

fn rate(port: u16, settings: &[&str]) -> Result<f64> {
    let (done, begin) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while begin.elapsed() < LENGTH {
                        let mut raw = login(port)?;
                        settings.iter().try_for_each(|sql| query(&mut raw, sql).map(drop))?;
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
