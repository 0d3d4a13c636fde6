//! The interactive work: clicks on "live data", in an open loop.
//!
//! Arrivals are a Poisson process that does not wait for answers, and a click's latency counts
//! from its scheduled arrival: a system that stalls cannot hide the clicks it kept waiting. An
//! answer with rows missing is a failed click, not a fast one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::load::Gate;
use crate::progress::Clicks;
use crate::servers::{ITEMS, ORDERS};
use crate::statement::Form;

/// A click without its last answer after this time has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Every click of the demo has a token of its own, also across runs.
static TOKEN: AtomicU64 = AtomicU64::new(1);

/// Items on the page a click shows, as many as its statement says.
const PAGE: u32 = 25;
const _: () = assert!(PAGE <= ITEMS);
/// Orders below it, likewise.
const LAST_ORDERS: u32 = 10;
const _: () = assert!(LAST_ORDERS <= ORDERS);

/// The arrivals of one run.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    /// How the clicks log in.
    pub(crate) opts: Opts,
    /// The application's limit of connections.
    pub(crate) gate: Gate,
    /// Clicks are on the outlets 1 to this one.
    pub(crate) outlets: u32,
    /// Clicks per second.
    pub(crate) rate: f64,
    /// Arrivals before this time are not counted.
    pub(crate) from: Instant,
    /// No arrivals from this time on.
    pub(crate) until: Instant,
    /// What happens, for who watches.
    pub(crate) clicks: Arc<Clicks>,
    /// What a click asks for.
    pub(crate) page: Page,
    /// How it sends statements.
    pub(crate) form: Form,
}

/// What a click asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// Live data.
    Live,
    /// The same; it also changes an item, as the scraper does.
    Buys,
    /// Every second click orders instead, in a transaction.
    Orders,
}

/// What became of the counted clicks.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Latencies of the answered clicks.
    pub(crate) latencies: Vec<Duration>,
    /// Clicks that failed or took too long.
    pub(crate) failed: u64,
    /// Clicks that did not see their own write.
    pub(crate) stale: u64,
    /// The first error, for the reader of a failed run.
    pub(crate) first_error: Option<String>,
}

/// One click's end.
enum Click {
    Answered(Duration),
    Stale(Duration),
    Failed(String),
}

impl Arrivals {
    /// Runs all clicks, and waits for those still open when the arrivals end.
    pub(crate) async fn run(self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut open = JoinSet::new();
        let mut random = fastrand::Rng::with_seed(46);
        let shared = Arc::new(self);
        let mut arrival = Instant::now();
        loop {
            // Exponential gaps; 1 - f64() is never zero.
            let gap = -(1.0 - random.f64()).ln() / shared.rate;
            arrival += Duration::from_secs_f64(gap);
            if arrival >= shared.until {
                break;
            }
            sleep_until(arrival).await;
            let outlet = random.u32(1..=shared.outlets);
            shared.clicks.arrived.fetch_add(1, Ordering::Relaxed);
            open.spawn(click(Arc::clone(&shared), arrival, outlet));
            while let Some(ended) = open.try_join_next() {
                outcome.add(ended.unwrap_or_else(|broken| Some(Click::Failed(broken.to_string()))));
            }
        }
        while let Some(ended) = open.join_next().await {
            outcome.add(ended.unwrap_or_else(|broken| Some(Click::Failed(broken.to_string()))));
        }
        outcome
    }
}

impl Outcome {
    /// Clicks of the window.
    pub(crate) fn count(&self) -> u64 {
        self.latencies.len() as u64 + self.failed
    }

    /// Adds what became of other clicks.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.latencies.append(&mut other.latencies);
        self.failed += other.failed;
        self.stale += other.stale;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn add(&mut self, click: Option<Click>) {
        match click {
            None => {}
            Some(Click::Answered(latency)) => self.latencies.push(latency),
            Some(Click::Stale(latency)) => {
                self.latencies.push(latency);
                self.stale += 1;
            }
            Some(Click::Failed(error)) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }
}

/// One click; `None` when its arrival was before the window.
async fn click(shared: Arc<Arrivals>, arrival: Instant, outlet: u32) -> Option<Click> {
    let click = timeout_at(arrival + PATIENCE, request(&shared, arrival, outlet)).await;
    let click = match click {
        Ok(Ok(click)) => click,
        Ok(Err(error)) => Click::Failed(error.to_string()),
        Err(_) => Click::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    let ended = match click {
        Click::Answered(_) | Click::Stale(_) => &shared.clicks.answered,
        Click::Failed(_) => &shared.clicks.failed,
    };
    ended.fetch_add(1, Ordering::Relaxed);
    (arrival >= shared.from).then_some(click)
}

/// What PHP does for a click: a connection, reads, a write, and a read of that write. The user's
/// wait ends with the last answer; the permit is kept until the connection is closed.
async fn request(shared: &Arrivals, arrival: Instant, outlet: u32) -> mysql_async::Result<Click> {
    let _permit = shared.gate.enter().await;
    let mut conn = Conn::new(shared.opts.clone()).await?;
    shared.clicks.ids.lock().insert(conn.id());
    conn.query_drop("SET NAMES utf8mb4").await?;
    let token = TOKEN.fetch_add(1, Ordering::Relaxed);
    if shared.page == Page::Orders && token.is_multiple_of(2) {
        return order(conn, shared.form, arrival, outlet, token).await;
    }
    let form = shared.form;
    for (expected, sql) in READS {
        let (_, rows) = form.run(&mut conn, sql, vec![outlet.into()]).await?;
        if rows != expected {
            return Ok(Click::Failed(format!("{rows} rows instead of {expected}")));
        }
    }
    if shared.page == Page::Buys {
        let item = fastrand::u32(1..=ITEMS);
        let sql = "UPDATE items SET stock = stock + 1 WHERE outlet_id = ? AND sku = ?";
        let values = vec![outlet.into(), format!("sku-{item}").into()];
        form.run(&mut conn, sql, values).await?;
    }
    let seen = view(&mut conn, form, outlet, token).await?;
    let found = viewed(&mut conn, form, token).await?;
    let latency = arrival.elapsed();
    // The user has the page by now, whatever becomes of the connection.
    drop(conn.disconnect().await);
    Ok(if found == Some(seen) { Click::Answered(latency) } else { Click::Stale(latency) })
}

/// Writes that a page was seen; when.
async fn view(conn: &mut Conn, form: Form, outlet: u32, token: u64) -> mysql_async::Result<u64> {
    let seen = fastrand::u64(1..1 << 40);
    let sql = "INSERT INTO views (token, outlet_id, seen) VALUES (?, ?, ?)";
    form.run(conn, sql, vec![token.into(), outlet.into(), seen.into()]).await?;
    Ok(seen)
}

/// When it was.
async fn viewed(conn: &mut Conn, form: Form, token: u64) -> mysql_async::Result<Option<u64>> {
    let sql = "SELECT seen FROM views WHERE token = ?";
    let (row, _) = form.run(conn, sql, vec![token.into()]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// An order, as a framework does it: all in one transaction, of which BEGIN is the first statement.
async fn order(
    mut conn: Conn,
    form: Form,
    arrival: Instant,
    outlet: u32,
    token: u64,
) -> mysql_async::Result<Click> {
    conn.query_drop("START TRANSACTION").await?;
    let total = fastrand::u32(1..10_000);
    let sql = "INSERT INTO orders (outlet_id, total, placed_at) VALUES (?, ?, NOW(3))";
    form.run(&mut conn, sql, vec![outlet.into(), total.into()]).await?;
    let seen = view(&mut conn, form, outlet, token).await?;
    let found = viewed(&mut conn, form, token).await?;
    conn.query_drop("COMMIT").await?;
    let latency = arrival.elapsed();
    drop(conn.disconnect().await);
    Ok(if found == Some(seen) { Click::Answered(latency) } else { Click::Stale(latency) })
}

/// The reads of a click, each with the number of rows it must answer; their one value is the outlet.
const READS: [(u32, &str); 4] = [
    (1, "SELECT id, name, city, scraped_at FROM outlets WHERE id = ?"),
    (
        PAGE,
        "SELECT sku, name, price, stock, is_available, updated_at FROM items \
         WHERE outlet_id = ? ORDER BY sku LIMIT 25",
    ),
    (
        1,
        "SELECT COUNT(*), MIN(stock), AVG(price) FROM items \
         WHERE outlet_id = ? AND is_available = 1 AND stock < 10",
    ),
    (
        LAST_ORDERS,
        "SELECT id, total, placed_at FROM orders WHERE outlet_id = ? \
         ORDER BY placed_at DESC LIMIT 10",
    ),
];
