//! What the servers themselves counted: a bound on connections is proven by who accepts them.
//!
//! A witness watches from one connection of its own to each server. It takes out of the server's
//! count whoever is there already: itself and the replica's stream of changes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fairlane::sandbox::Server;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use serde::Serialize;
use tokio::time::sleep;

/// How long connections of the run before may take to go.
const SETTLE: Duration = Duration::from_secs(10);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections of the application and of Fairlane.
const CLIENTS: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
    WHERE USER IN ('app', 'fairlane', 'unauthenticated user') \
    OR (USER = 'root' AND ID <> CONNECTION_ID())";
/// Everybody else the server counts as connected.
const OTHERS: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
    WHERE USER NOT IN ('app', 'fairlane', 'unauthenticated user', 'system user', 'event_scheduler')";
/// Sets the most connections at once to the connections of now. Not for the binary log.
const RESET: &str = "FLUSH LOCAL STATUS";
const MOST: &str = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
    WHERE VARIABLE_NAME = 'MAX_USED_CONNECTIONS'";

/// The most connections at one moment, as the servers counted them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Connections {
    pub(crate) primary: u64,
    pub(crate) replica: u64,
}

impl Connections {
    /// The larger of two counts, for each server.
    pub(crate) fn most(self, other: Self) -> Self {
        Self { primary: self.primary.max(other.primary), replica: self.replica.max(other.replica) }
    }
}

/// Watches both servers during one run.
#[derive(Debug)]
pub(crate) struct Witness {
    primary: Watched,
    replica: Watched,
}

#[derive(Debug)]
struct Watched {
    conn: Conn,
    others: u64,
}

impl Witness {
    /// Begins to count at zero, once nobody of an earlier run is connected any more.
    pub(crate) async fn start(primary: &Server, replica: &Server) -> Result<Self> {
        Ok(Self {
            primary: Watched::start(primary).await?,
            replica: Watched::start(replica).await?,
        })
    }

    /// What the servers saw since the start.
    pub(crate) async fn stop(self) -> Result<Connections> {
        let (primary, replica) = (self.primary.stop().await?, self.replica.stop().await?);
        Ok(Connections { primary, replica })
    }
}

impl Watched {
    async fn start(server: &Server) -> Result<Self> {
        let mut conn = server.root().await?;
        let mut waited = Duration::ZERO;
        while number(&mut conn, CLIENTS).await? > 0 {
            if waited >= SETTLE {
                bail!("{server} still has connections of an earlier run after {SETTLE:?}");
            }
            sleep(PAUSE).await;
            waited += PAUSE;
        }
        let others = number(&mut conn, OTHERS).await?;
        conn.query_drop(RESET).await?;
        Ok(Self { conn, others })
    }

    async fn stop(mut self) -> Result<u64> {
        let most = number(&mut self.conn, MOST).await?;
        self.conn.disconnect().await?;
        Ok(most.saturating_sub(self.others))
    }
}

async fn number(conn: &mut Conn, sql: &str) -> Result<u64> {
    conn.query_first(sql).await?.context("a count without a row")
}
