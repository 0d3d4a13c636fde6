//! What works beside the clicks, and how much of it gets done.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fairlane::sandbox::{APP_PASSWORD, APP_SCHEMA, APP_USER};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clicks::Page;
use crate::load::Gate;
use crate::scrape::{Scrape, Style};
use crate::servers::login;
use crate::statement::Form;

/// A minute's work for a server: each item with each other.
const REPORT: &str = "SELECT SUM(SQRT(a.price * b.stock)) FROM items a JOIN items b";

/// Who works.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Nobody.
    Nothing,
    /// Scrapers.
    Scrape(u32, Style),
    /// A reporting query after the other.
    Report,
    /// A dump after the other.
    Dump,
    /// A user who reloads the page as fast as it comes.
    Reload,
    /// An application's pool that keeps connections and does not use them, beside six scrapers.
    IdlePool(u32),
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) outlets: u32,
    /// Clicks a second.
    pub(crate) clicks: f64,
    /// What they ask for.
    pub(crate) page: Page,
    /// How they send statements.
    pub(crate) form: Form,
}

const LONG: Style = Style { connects_anew: false, think: Duration::ZERO, form: Form::Text };
const ANEW: Style = Style { connects_anew: true, think: Duration::ZERO, form: Form::Text };
const PREPARED: Style = Style { form: Form::Prepared, ..LONG };
const THINKING: Style =
    Style { connects_anew: false, think: Duration::from_millis(200), form: Form::Text };

const fn scenario(name: &'static str, kind: Kind, outlets: u32, clicks: f64) -> Scenario {
    Scenario { name, kind, outlets, clicks, page: Page::Live, form: Form::Text }
}

const fn ordering(name: &'static str, kind: Kind, outlets: u32, clicks: f64) -> Scenario {
    Scenario { page: Page::Orders, ..scenario(name, kind, outlets, clicks) }
}

const fn preparing(name: &'static str, kind: Kind, outlets: u32, clicks: f64) -> Scenario {
    Scenario { form: Form::Prepared, ..scenario(name, kind, outlets, clicks) }
}

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("0 clicks alone", Kind::Nothing, 46, 20.0),
    scenario("0 clicks alone, 100/s", Kind::Nothing, 500, 100.0),
    scenario("a 46 outlets, 6 workers", Kind::Scrape(6, LONG), 46, 20.0),
    scenario("a 100 outlets, 13 workers", Kind::Scrape(13, LONG), 100, 20.0),
    scenario("a 500 outlets, 65 workers", Kind::Scrape(65, LONG), 500, 100.0),
    scenario("b a connection for each outlet", Kind::Scrape(6, ANEW), 46, 20.0),
    scenario("b 65 workers, a connection for each outlet", Kind::Scrape(65, ANEW), 500, 100.0),
    scenario("c 200 ms of thought in transactions", Kind::Scrape(13, THINKING), 100, 20.0),
    Scenario {
        page: Page::Buys,
        ..scenario("d clicks change items", Kind::Scrape(6, LONG), 46, 20.0)
    },
    scenario("e reporting query", Kind::Report, 46, 20.0),
    scenario("f dump", Kind::Dump, 500, 20.0),
    scenario("g refresh loop", Kind::Reload, 46, 20.0),
    scenario("h 500 idle connections", Kind::IdlePool(500), 46, 20.0),
    ordering("i orders alone", Kind::Nothing, 46, 20.0),
    ordering("i orders, 6 workers", Kind::Scrape(6, LONG), 46, 20.0),
    ordering("i orders, a connection for each outlet", Kind::Scrape(6, ANEW), 46, 20.0),
    ordering(
        "i orders, 65 workers, a connection for each outlet",
        Kind::Scrape(65, ANEW),
        500,
        100.0,
    ),
    preparing("j prepared, clicks alone", Kind::Nothing, 46, 20.0),
    preparing("j prepared, 6 workers", Kind::Scrape(6, PREPARED), 46, 20.0),
    preparing("j prepared, 65 workers", Kind::Scrape(65, PREPARED), 500, 100.0),
];

/// Work under way.
#[derive(Debug)]
pub(crate) struct Work {
    scrape: Option<Scrape>,
    others: JoinSet<()>,
    done: Arc<AtomicU64>,
    is_stopping: Arc<AtomicBool>,
}

impl Work {
    /// Starts what `scenario` has beside the clicks.
    pub(crate) fn start(scenario: &Scenario, port: u16, gate: &Gate) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let mut others = JoinSet::new();
        let scrapers = |workers, style| {
            Some(Scrape::start(login(port), gate.clone(), scenario.outlets, workers, style))
        };
        let mut scrape = None;
        match scenario.kind {
            Kind::Nothing => {}
            Kind::Scrape(workers, style) => scrape = scrapers(workers, style),
            Kind::Report => {
                let (gate, done, is_stopping) = (gate.clone(), done.clone(), is_stopping.clone());
                others.spawn(async move {
                    let _permit = gate.enter().await;
                    while !is_stopping.load(Ordering::Relaxed) && query(port, REPORT).await {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            Kind::Dump => {
                let (done, is_stopping) = (done.clone(), is_stopping.clone());
                others.spawn(async move {
                    while !is_stopping.load(Ordering::Relaxed) && dump(port).await {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            Kind::Reload => {
                let (done, is_stopping) = (done.clone(), is_stopping.clone());
                let gate = gate.clone();
                others.spawn(async move {
                    while !is_stopping.load(Ordering::Relaxed) {
                        let _permit = gate.enter().await;
                        let sql = "SELECT sku, name, price, stock FROM items WHERE outlet_id = 7";
                        if query(port, sql).await {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            Kind::IdlePool(connections) => {
                scrape = scrapers(6, LONG);
                others.spawn(async move {
                    let mut pool = Vec::new();
                    for _ in 0..connections {
                        // A server without a proxy in front has no room for them all.
                        let Ok(mut conn) = Conn::new(login(port)).await else { break };
                        let _ = conn.query_drop("SELECT 1").await;
                        pool.push(conn);
                    }
                    std::future::pending::<()>().await;
                });
            }
        }
        Self { scrape, others, done, is_stopping }
    }

    /// Outlets, reports, dumps or pages so far.
    pub(crate) fn done(&self) -> u64 {
        let outlets = self.scrape.as_ref().map(|scrape| &scrape.tally().outlets);
        outlets.map_or(0, |outlets| outlets.load(Ordering::Relaxed))
            + self.done.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        if let Some(scrape) = self.scrape {
            scrape.stop().await;
        }
        self.others.shutdown().await;
        // The servers see it a moment later.
        sleep(Duration::from_millis(300)).await;
    }
}

async fn query(port: u16, sql: &str) -> bool {
    let asked = async {
        let mut conn = Conn::new(login(port)).await?;
        conn.query_drop("SET NAMES utf8mb4").await?;
        conn.query_drop(sql).await?;
        conn.disconnect().await
    };
    asked.await.is_ok()
}

async fn dump(port: u16) -> bool {
    let dumping = Command::new("mariadb-dump")
        .args(["--host=127.0.0.1", "--single-transaction", "--skip-lock-tables"])
        .arg(format!("--port={port}"))
        .arg(format!("--user={APP_USER}"))
        .arg(format!("--password={APP_PASSWORD}"))
        .arg(APP_SCHEMA)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    dumping.await.is_ok_and(|status| status.success())
}
