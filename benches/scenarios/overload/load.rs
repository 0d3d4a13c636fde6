//! Visits that come whether or not others were answered (an open loop), before a server whose
//! capacity is known: a statement is a sleep, and so many run at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairlane::sandbox::{APP_PASSWORD, APP_SCHEMA, APP_USER};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts, OptsBuilder};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// What users wait for the last answer of a visit.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Who is not answered by then is counted as broken.
const LOST: Duration = Duration::from_secs(30);
/// Error of who gets no slot.
const TOO_MANY_CONNECTIONS: u16 = 1040;

/// What a visit is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) port: u16,
    /// Distinguishes clients.
    pub(crate) program: &'static str,
    pub(crate) sql: &'static str,
    /// How often that is asked, on one connection.
    pub(crate) statements: u32,
}

/// What became of the visits of one stretch, by the second in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) came: Vec<u32>,
    pub(crate) good: Vec<u32>,
    pub(crate) late: u32,
    pub(crate) refused: u32,
    /// What refused visits waited for their last answer, all together.
    pub(crate) in_vain: Duration,
    /// Any other error.
    pub(crate) broken: u32,
    pub(crate) first_error: Option<String>,
}

impl Outcome {
    /// Good visits a second.
    pub(crate) fn goodput(&self) -> f64 {
        f64::from(self.good.iter().sum::<u32>()) / self.good.len().max(1) as f64
    }

    /// The first second from which on nearly all visits were good.
    pub(crate) fn recovered(&self) -> Option<usize> {
        let is_good =
            |second: usize| f64::from(self.good[second]) >= 0.95 * f64::from(self.came[second]);
        (0..self.came.len()).find(|&second| (second..self.came.len()).all(is_good))
    }
}

enum End {
    Good,
    Late,
    Refused(Duration),
    Broken(String),
}

/// Runs visits at `rate` a second for `seconds`, and waits for the last.
pub(crate) async fn visits(visit: &Visit, rate: f64, seconds: usize) -> Outcome {
    let mut outcome =
        Outcome { came: vec![0; seconds], good: vec![0; seconds], ..Outcome::default() };
    let mut random = fastrand::Rng::with_seed(46);
    let (begin, mut open) = (Instant::now(), JoinSet::new());
    let mut arrival = begin;
    loop {
        // Exponential gaps; 1 - f64() is never zero.
        arrival += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
        let second = usize::try_from((arrival - begin).as_secs()).unwrap_or(usize::MAX);
        if second >= seconds {
            break;
        }
        sleep_until(arrival).await;
        outcome.came[second] += 1;
        let visit = *visit;
        open.spawn(async move { (second, one(&visit, arrival).await) });
        while let Some(ended) = open.try_join_next() {
            outcome.add(ended);
        }
    }
    while let Some(ended) = open.join_next().await {
        outcome.add(ended);
    }
    outcome
}

impl Outcome {
    fn add(&mut self, ended: Result<(usize, End), tokio::task::JoinError>) {
        let (second, end) = match ended {
            Ok(ended) => ended,
            Err(broken) => (0, End::Broken(broken.to_string())),
        };
        match end {
            End::Good => self.good[second] += 1,
            End::Late => self.late += 1,
            End::Refused(waited) => {
                self.refused += 1;
                self.in_vain += waited;
            }
            End::Broken(error) => {
                self.broken += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }
}

async fn one(visit: &Visit, arrival: Instant) -> End {
    let mut asked = arrival;
    let answered = timeout(LOST, async {
        let mut conn = Conn::new(login(visit)).await?;
        for _ in 0..visit.statements {
            asked = Instant::now();
            conn.query_drop(visit.sql).await?;
        }
        let took = arrival.elapsed();
        // The user has the page by now, whatever becomes of the connection.
        drop(conn.disconnect().await);
        Ok::<Duration, Error>(took)
    });
    match answered.await {
        Ok(Ok(took)) if took <= PATIENCE => End::Good,
        Ok(Ok(_)) => End::Late,
        Ok(Err(Error::Server(error))) if error.code == TOO_MANY_CONNECTIONS => {
            End::Refused(asked.elapsed())
        }
        Ok(Err(error)) => End::Broken(error.to_string()),
        Err(_) => End::Broken("no answer".to_owned()),
    }
}

/// Statements a second that so many clients get done which ask again as soon as they are answered.
pub(crate) async fn capacity(visit: &Visit, clients: u32, length: Duration) -> f64 {
    let until = Instant::now() + length;
    let done = Arc::new(AtomicU64::new(0));
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let (visit, done) = (*visit, done.clone());
        all.spawn(async move {
            let mut conn = Conn::new(login(&visit)).await?;
            while Instant::now() < until {
                conn.query_drop(visit.sql).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            conn.disconnect().await
        });
    }
    while all.join_next().await.is_some() {}
    done.load(Ordering::Relaxed) as f64 / length.as_secs_f64()
}

/// Like PHP: without one round trip more than needed.
fn login(visit: &Visit) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(visit.port)
        .user(Some(APP_USER))
        .pass(Some(APP_PASSWORD))
        .db_name(Some(APP_SCHEMA))
        .prefer_socket(false)
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
        .stmt_cache_size(0)
        .connect_attribute("program_name", visit.program)
        .into()
}
