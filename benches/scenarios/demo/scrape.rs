//! The batch work: workers that upsert outlet after outlet until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, Value};
use tokio::task::JoinSet;

use crate::load::Gate;
use crate::servers::ITEMS;
use crate::statement::Form;

/// Rows of one upsert.
const BATCH: u32 = 5;
/// How long a worker waits before it connects again.
const RETRY: Duration = Duration::from_millis(200);

/// What the workers have done by now; the run reads it at both ends of its window.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Outlets scraped and committed.
    pub(crate) outlets: AtomicU64,
    /// Transactions or logins that failed.
    pub(crate) errors: AtomicU64,
}

/// The workers of one run.
#[derive(Debug)]
pub(crate) struct Scrape {
    tally: Arc<Tally>,
    is_stopping: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

/// How workers use their connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// A connection of its own for each outlet.
    pub(crate) connects_anew: bool,
    /// How long a worker waits for a web page in the middle of each transaction.
    pub(crate) think: Duration,
    /// How statements are sent.
    pub(crate) form: Form,
}

/// What every worker of a run shares.
#[derive(Debug)]
struct Shared {
    opts: Opts,
    gate: Gate,
    outlets: u32,
    style: Style,
    next: AtomicU32,
    tally: Arc<Tally>,
    is_stopping: Arc<AtomicBool>,
}

impl Scrape {
    /// Starts `workers` workers over the outlets 1 to `outlets`.
    pub(crate) fn start(opts: Opts, gate: Gate, outlets: u32, workers: u32, style: Style) -> Self {
        let tally = Arc::new(Tally::default());
        let is_stopping = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            opts,
            gate,
            outlets,
            style,
            next: AtomicU32::new(0),
            tally: Arc::clone(&tally),
            is_stopping: Arc::clone(&is_stopping),
        });
        let mut set = JoinSet::new();
        for _ in 0..workers {
            set.spawn(work(Arc::clone(&shared)));
        }
        Self { tally, is_stopping, workers: set }
    }

    /// The counters.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Ends the workers, each after its transaction at the latest; those that hang are cut off.
    pub(crate) async fn stop(mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let all = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(3), all).await.is_err() {
            self.workers.shutdown().await;
        }
    }
}

async fn work(shared: Arc<Shared>) {
    while !shared.is_stopping.load(Ordering::Relaxed) {
        if let Err(error) = session(&shared).await {
            let before = shared.tally.errors.fetch_add(1, Ordering::Relaxed);
            if before == 0 {
                eprintln!("  scrape: {error}");
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// One connection's life: it scrapes one outlet, or until the end of the run.
async fn session(shared: &Shared) -> mysql_async::Result<()> {
    // Held as long as the connection: this is what starves the clicks of a shared limit.
    let _permit = shared.gate.enter().await;
    if shared.is_stopping.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut conn = Conn::new(shared.opts.clone()).await?;
    conn.query_drop("SET NAMES utf8mb4").await?;
    let sql = upsert();
    while !shared.is_stopping.load(Ordering::Relaxed) {
        let turn = shared.next.fetch_add(1, Ordering::Relaxed);
        let (outlet, round) = (turn % shared.outlets + 1, turn / shared.outlets);
        scrape(&mut conn, &sql, outlet, round, shared.style).await?;
        shared.tally.outlets.fetch_add(1, Ordering::Relaxed);
        if shared.style.connects_anew {
            break;
        }
    }
    conn.disconnect().await
}

/// Upserts all items of `outlet` in one transaction, with other prices and stock each round.
async fn scrape(
    conn: &mut Conn,
    sql: &str,
    outlet: u32,
    round: u32,
    Style { think, form, .. }: Style,
) -> mysql_async::Result<()> {
    conn.query_drop("START TRANSACTION").await?;
    for first in (1..=ITEMS).step_by(BATCH as usize) {
        form.run(conn, sql, items(outlet, first, round)).await?;
        if first == 1 && !think.is_zero() {
            tokio::time::sleep(think).await;
        }
    }
    let sql = "UPDATE outlets SET scraped_at = NOW(3) WHERE id = ?";
    form.run(conn, sql, vec![outlet.into()]).await?;
    conn.query_drop("COMMIT").await
}

/// The statement for the items of one batch.
fn upsert() -> String {
    const ROW: &str = "(?,?,?,?,?,?,?,NOW(3))";
    let rows = [ROW; BATCH as usize].join(",");
    format!(
        "INSERT INTO items (outlet_id, sku, name, price, stock, is_available, description, \
         updated_at) VALUES {rows} ON DUPLICATE KEY UPDATE name=VALUES(name), \
         price=VALUES(price), stock=VALUES(stock), is_available=VALUES(is_available), \
         description=VALUES(description), updated_at=VALUES(updated_at)"
    )
}

/// Its values.
fn items(outlet: u32, first: u32, round: u32) -> Vec<Value> {
    let row = |item: u32| -> [Value; 7] {
        let (price, stock) = (5 + (item + round) % 20, (item * 7 + round) % 50);
        let about =
            format!("Scraped in round {round}: a dish of the day, with rice or bread and a salad");
        [
            outlet.into(),
            format!("sku-{item}").into(),
            format!("Dish {item}").into(),
            format!("{price}.90").into(),
            stock.into(),
            u32::from(stock > 0).into(),
            about.into(),
        ]
    };
    (first..first + BATCH).flat_map(row).collect()
}
