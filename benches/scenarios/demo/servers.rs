//! The database of the demo: where it is, how the application logs in, its tables and rows.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fairlane::sandbox::{APP_PASSWORD, APP_SCHEMA, APP_USER, Options, Sandbox};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder};

use crate::witness::Witness;

/// Items of each outlet.
pub(crate) const ITEMS: u32 = 200;
/// Orders of each outlet.
pub(crate) const ORDERS: u32 = 20;

const SCHEMA: &[&str] = &[
    "DROP TABLE IF EXISTS outlets, items, views, orders",
    "CREATE TABLE outlets (
        id INT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(80) NOT NULL, city VARCHAR(80) NOT NULL,
        scraped_at DATETIME(3) NULL) ENGINE=InnoDB",
    "CREATE TABLE items (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, outlet_id INT UNSIGNED NOT NULL,
        sku VARCHAR(20) NOT NULL, name VARCHAR(80) NOT NULL, price DECIMAL(8,2) NOT NULL,
        stock INT NOT NULL, is_available TINYINT NOT NULL, description VARCHAR(255) NOT NULL,
        updated_at DATETIME(3) NOT NULL,
        UNIQUE KEY outlet_sku (outlet_id, sku), KEY outlet_stock (outlet_id, is_available, stock)
    ) ENGINE=InnoDB",
    "CREATE TABLE views (
        token BIGINT UNSIGNED NOT NULL PRIMARY KEY, outlet_id INT UNSIGNED NOT NULL,
        seen BIGINT UNSIGNED NOT NULL, KEY outlet (outlet_id)) ENGINE=InnoDB",
    "CREATE TABLE orders (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, outlet_id INT UNSIGNED NOT NULL,
        total DECIMAL(8,2) NOT NULL, placed_at DATETIME(3) NOT NULL,
        KEY outlet_placed (outlet_id, placed_at)) ENGINE=InnoDB",
];

/// The private primary and replica.
#[derive(Debug)]
pub(crate) struct Servers {
    sandbox: Sandbox,
    /// Port of the primary on loopback.
    pub(crate) primary_port: u16,
    /// Port of the replica on loopback.
    pub(crate) replica_port: u16,
}

impl Servers {
    /// Starts both servers.
    pub(crate) async fn start() -> Result<Self> {
        // A redo log that is not full every few seconds: else the flushing storms of the servers,
        // not who waits for whom, decide the latencies of both runs.
        let options = Options {
            replicas: 1,
            buffer_pool_mb: 256,
            extra: vec!["innodb_log_file_size=512M".to_owned()],
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).await.context("starting the private servers")?;
        ensure!(sandbox.replicas.len() == 1, "the sandbox has no replica");
        let (primary_port, replica_port) = (sandbox.primary.port, sandbox.replicas[0].port);
        Ok(Self { sandbox, primary_port, replica_port })
    }

    /// Makes the tables anew, with rows for `outlets` outlets, and lets the replica catch up.
    pub(crate) async fn fill(&self, outlets: u32) -> Result<()> {
        let mut conn = Conn::new(login(self.primary_port)).await?;
        for statement in SCHEMA {
            conn.query_drop(*statement).await?;
        }
        let rows = format!("FROM seq_1_to_{outlets} AS o");
        conn.query_drop(format!(
            "INSERT INTO outlets (id, name, city)
             SELECT o.seq, CONCAT('Outlet ', o.seq), CONCAT('City ', o.seq MOD 17) {rows}"
        ))
        .await?;
        conn.query_drop(format!(
            "INSERT INTO items (outlet_id, sku, name, price, stock, is_available, description,
                                updated_at)
             SELECT o.seq, CONCAT('sku-', i.seq), CONCAT('Dish ', i.seq), 5 + i.seq MOD 20,
                    i.seq MOD 50, 1, REPEAT('good ', 20), NOW(3)
             {rows} JOIN seq_1_to_{ITEMS} AS i ORDER BY o.seq, i.seq"
        ))
        .await?;
        conn.query_drop(format!(
            "INSERT INTO orders (outlet_id, total, placed_at)
             SELECT o.seq, 10 + i.seq, NOW(3) - INTERVAL i.seq MINUTE
             {rows} JOIN seq_1_to_{ORDERS} AS i"
        ))
        .await?;
        conn.disconnect().await?;
        self.settle().await
    }

    /// Waits until the replica has applied all that the primary has committed by now.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.sandbox.wait_replicated().await.context("waiting for the replica")
    }

    /// Begins to watch how many connections both servers have.
    pub(crate) async fn watch(&self) -> Result<Witness> {
        Witness::start(&self.sandbox.primary, &self.sandbox.replicas[0]).await
    }

    /// A configuration that has the servers' Unix sockets in the place of their ports.
    #[allow(dead_code, reason = "the demo reaches them over TCP alone")]
    pub(crate) fn by_socket(&self, config: &str) -> String {
        let servers = [&self.sandbox.primary, &self.sandbox.replicas[0]];
        servers.iter().fold(config.to_owned(), |config, server| {
            let port = format!("127.0.0.1:{}\"", server.port);
            config.replace(&port, &format!("{}\"", server.socket.display()))
        })
    }

    /// Where both servers write to.
    pub(crate) fn directory(&self) -> &Path {
        self.sandbox.directory()
    }

    /// Stops both servers and removes their files.
    pub(crate) async fn stop(self) -> Result<()> {
        self.sandbox.stop().await.context("stopping the private servers")
    }
}

/// How the application logs in at `port`: like PHP, without one round trip more.
pub(crate) fn login(port: u16) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(APP_USER))
        .pass(Some(APP_PASSWORD))
        .db_name(Some(APP_SCHEMA))
        .prefer_socket(false)
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
        .stmt_cache_size(0)
        .into()
}
