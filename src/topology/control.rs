//! The control task of one backend: connect, probe, obey orders; for ever.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row};
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::health::{Health, Probe};
use super::{Topology, account, facts};
use crate::config::Settings;
use crate::route::freshness::Position;
use crate::route::view::BackendId;

/// Limit of one probe.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Limit of connecting.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Time for a server to forget a connection before the next is opened.
const LINGER: Duration = Duration::from_millis(20);
/// Pauses between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Time between looks at a watermark that somebody waits for.
const CLOSE_LOOK: Duration = Duration::from_millis(5);
/// Least time between two loads of the accounts.
const LOAD_PAUSE: Duration = Duration::from_millis(300);

/// What a control task is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Load the accounts (primary only).
    LoadAccounts,
    /// End a connection or its statement.
    Kill { thread_id: u64, query_only: bool, tell: oneshot::Sender<bool> },
}

/// One backend's control task.
pub(super) struct Control {
    topology: Arc<Topology>,
    settings: Arc<Settings>,
    backend: BackendId,
    health: Health,
    is_mariadb: bool,
    accounts_due: Instant,
    accounts_loaded: Instant,
}

impl Control {
    pub(super) fn new(
        topology: Arc<Topology>,
        settings: Arc<Settings>,
        backend: BackendId,
    ) -> Self {
        let routing = &settings.routing;
        let health = Health::new(routing.max_lag, routing.recovery_probes);
        let now = Instant::now();
        Self {
            topology,
            settings,
            backend,
            health,
            is_mariadb: true,
            accounts_due: now,
            accounts_loaded: now,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut pause = BACKOFF.0;
        let mut was_told = false;
        loop {
            match self.connect().await {
                Ok(conn) => {
                    pause = BACKOFF.0;
                    was_told = false;
                    let name = &self.settings.backends[self.backend].name;
                    tracing::info!(backend = %name, "control connection is up");
                    let error = self.serve(conn, &mut inbox).await;
                    let name = &self.settings.backends[self.backend].name;
                    tracing::warn!(backend = %name, %error, "control connection is lost");
                }
                Err(error) if !was_told => {
                    was_told = true;
                    let name = &self.settings.backends[self.backend].name;
                    tracing::warn!(backend = %name, %error, "no control connection");
                }
                Err(_) => {}
            }
            self.set_down();
            let jitter = 0.75 + fastrand::f64() / 2.0;
            let until = Instant::now() + LINGER + pause.mul_f64(jitter);
            pause = (pause * 2).min(BACKOFF.1);
            refuse_until(until, &mut inbox).await;
        }
    }

    async fn connect(&mut self) -> Result<Conn, String> {
        if self.backend == 0 {
            let server = self.settings.backends[0].clone();
            let greeting = facts::greeting(&server, CONNECT_WAIT).await?;
            sleep(LINGER).await;
            let mut conn = self.open().await?;
            self.learn(&mut conn, greeting).await.map_err(|error| error.to_string())?;
            self.load_accounts(&mut conn).await?;
            return Ok(conn);
        }
        let conn = self.open().await?;
        // A server says MariaDB in its version text only; the family is the primary's.
        self.is_mariadb = self.topology.facts().is_none_or(|facts| facts.is_mariadb);
        Ok(conn)
    }

    async fn open(&self) -> Result<Conn, String> {
        let server = &self.settings.backends[self.backend];
        let service = &self.settings.service;
        let opts: Opts = OptsBuilder::default()
            .ip_or_hostname(server.host.clone())
            .tcp_port(server.port)
            .user(Some(service.user.clone()))
            .pass(Some(service.password.expose_secret().to_owned()))
            .prefer_socket(false)
            .max_allowed_packet(Some(16 * 1024 * 1024))
            .wait_timeout(Some(28_800))
            .into();
        let opened = timeout(CONNECT_WAIT, Conn::new(opts)).await;
        opened.map_err(|_| "no login in time".to_owned())?.map_err(|error| error.to_string())
    }

    async fn learn(
        &mut self,
        conn: &mut Conn,
        greeting: crate::protocol::handshake::Greeting,
    ) -> Result<(), mysql_async::Error> {
        type Globals = (String, usize, String, Option<String>, String);
        let globals: Option<Globals> = conn
            .query_first(
                "SELECT @@global.sql_mode, @@global.max_allowed_packet, \
                 @@global.character_set_client, @@global.character_set_results, \
                 @@global.collation_connection",
            )
            .await?;
        let Some((sql_mode, max_allowed_packet, client, results, collation)) = globals else {
            return Ok(());
        };
        self.is_mariadb = greeting.version.contains("MariaDB");
        self.topology.publish_facts(facts::ServerFacts {
            is_mariadb: self.is_mariadb,
            version: greeting.version,
            collation: greeting.collation,
            capabilities: greeting.capabilities.bits(),
            status: greeting.status,
            sql_mode,
            max_allowed_packet,
            character_set_client: client,
            character_set_results: results.unwrap_or_default(),
            collation_connection: collation,
        });
        Ok(())
    }

    /// Until the connection fails; returns why.
    async fn serve(&mut self, mut conn: Conn, inbox: &mut mpsc::Receiver<Order>) -> String {
        let mut probe_due = Instant::now();
        loop {
            let now = Instant::now();
            if now >= probe_due {
                probe_due = now + self.settings.routing.probe_interval;
                match timeout(PROBE_WAIT, self.probe(&mut conn)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "the probe timed out".to_owned(),
                }
            }
            if self.backend == 0 && now >= self.accounts_due {
                if let Err(error) = self.load_accounts(&mut conn).await {
                    return error;
                }
            }
            let mut next = probe_due;
            if self.backend == 0 {
                next = next.min(self.accounts_due);
            } else if self.topology.is_fresh_wanted() {
                if let Err(error) = self.look_at_watermark(&mut conn).await {
                    return error.to_string();
                }
                next = next.min(Instant::now() + CLOSE_LOOK);
            }
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => {
                        if let Err(error) = self.obey(order, &mut conn).await {
                            return error.to_string();
                        }
                    }
                    None => return "Fairlane goes down".to_owned(),
                },
                () = sleep_until(next) => {}
                () = self.topology.fresh_wanted.notified(),
                    if self.backend != 0 && !self.topology.is_fresh_wanted() => {}
            }
        }
    }

    async fn obey(&mut self, order: Order, conn: &mut Conn) -> Result<(), mysql_async::Error> {
        match order {
            Order::LoadAccounts => {
                self.accounts_due = self.accounts_due.min(self.accounts_loaded + LOAD_PAUSE);
                Ok(())
            }
            Order::Kill { thread_id, query_only, tell } => {
                let what = if query_only { "QUERY" } else { "CONNECTION" };
                let killed = conn.query_drop(format!("KILL {what} {thread_id}")).await;
                let (is_told, failed) = match killed {
                    Ok(()) | Err(mysql_async::Error::Server(_)) => (killed.is_ok(), Ok(())),
                    Err(error) => (false, Err(error)),
                };
                let _ = tell.send(is_told);
                failed
            }
        }
    }

    async fn load_accounts(&mut self, conn: &mut Conn) -> Result<(), String> {
        let began = Instant::now();
        self.accounts_loaded = began;
        self.accounts_due = began + self.settings.routing.accounts_refresh;
        match timeout(PROBE_WAIT, account::load(conn, self.is_mariadb)).await {
            Ok(Ok(accounts)) => {
                self.topology.publish_accounts(accounts, began);
                Ok(())
            }
            Ok(Err(mysql_async::Error::Server(error))) => {
                tracing::error!(%error, "the service account can't read the accounts; \
                    grant it SELECT on mysql.global_priv (MariaDB) or mysql.user (MySQL), or list \
                    the users as [[user]]");
                self.topology.publish_accounts(account::Accounts::default(), began);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("loading the accounts timed out".to_owned()),
        }
    }

    async fn probe(&mut self, conn: &mut Conn) -> Result<(), mysql_async::Error> {
        if self.backend == 0 {
            conn.query_drop("DO 1").await?;
            self.topology.publish(|view| view.primary_up = true);
            self.topology.observer.up(0, true);
            return Ok(());
        }
        let probe = match self.replication(conn).await {
            Err(mysql_async::Error::Server(error)) => {
                tracing::warn!(%error, "the service account can't see the replica's state; \
                    grant it SLAVE MONITOR (MariaDB) or REPLICATION CLIENT (MySQL)");
                Probe::Failed
            }
            other => other?,
        };
        let applied = self.applied(conn).await?;
        self.publish_replica(probe, Some(applied));
        self.topology.observer.up(self.backend, true);
        Ok(())
    }

    async fn replication(&self, conn: &mut Conn) -> Result<Probe, mysql_async::Error> {
        let read_only: Option<u8> = conn.query_first("SELECT @@global.read_only").await?;
        let show = if self.is_mariadb { "SHOW ALL SLAVES STATUS" } else { "SHOW REPLICA STATUS" };
        let rows: Vec<Row> = conn.query(show).await?;
        if rows.is_empty() || read_only == Some(0) {
            return Ok(Probe::NotAReplica);
        }
        let mut worst = Some(Duration::ZERO);
        for row in &rows {
            let field = |names: [&str; 2]| {
                names.iter().find_map(|name| row.get_opt::<String, _>(*name)?.ok())
            };
            let runs = |names| field(names).is_some_and(|state| state == "Yes");
            if !runs(["Slave_IO_Running", "Replica_IO_Running"])
                || !runs(["Slave_SQL_Running", "Replica_SQL_Running"])
            {
                return Ok(Probe::Stopped);
            }
            let lag = field(["Seconds_Behind_Master", "Seconds_Behind_Source"]);
            let lag = lag.and_then(|lag| lag.parse().ok()).map(Duration::from_secs);
            worst = worst.zip(lag).map(|(worst, lag)| worst.max(lag)).or(lag);
        }
        Ok(Probe::Replicating { lag: worst })
    }

    async fn applied(&self, conn: &mut Conn) -> Result<Position, mysql_async::Error> {
        if !self.is_mariadb {
            return Ok(Position::default());
        }
        let text: Option<String> = conn.query_first("SELECT @@global.gtid_slave_pos").await?;
        Ok(text.and_then(|text| Position::parse(&text)).unwrap_or_default())
    }

    async fn look_at_watermark(&mut self, conn: &mut Conn) -> Result<(), mysql_async::Error> {
        let applied = self.applied(conn).await?;
        let backend = self.backend;
        self.topology.publish(|view| {
            if let Some(replica) = view.replicas.iter_mut().find(|known| known.backend == backend) {
                replica.applied = applied;
            }
        });
        Ok(())
    }

    fn publish_replica(&mut self, probe: Probe, applied: Option<Position>) {
        let before = self.health.rotation();
        let rotation = self.health.note(probe);
        let name = &self.settings.backends[self.backend].name;
        if before != rotation {
            tracing::info!(backend = %name, ?before, now = ?rotation, "rotation of a replica");
        }
        let lag = match probe {
            Probe::Replicating { lag } => lag,
            _ => None,
        };
        let applied = applied.unwrap_or_default();
        self.topology.observer.replica(self.backend, rotation, lag, &applied);
        let backend = self.backend;
        self.topology.publish(|view| {
            if let Some(replica) = view.replicas.iter_mut().find(|known| known.backend == backend) {
                (replica.rotation, replica.lag, replica.applied) = (rotation, lag, applied);
            }
        });
    }

    fn set_down(&mut self) {
        self.topology.observer.up(self.backend, false);
        if self.backend == 0 {
            self.topology.publish(|view| view.primary_up = false);
        } else {
            self.publish_replica(Probe::Failed, None);
        }
    }
}

/// Sleeps, and tells everybody who asks meanwhile that nothing can be done.
async fn refuse_until(until: Instant, inbox: &mut mpsc::Receiver<Order>) {
    loop {
        tokio::select! {
            () = sleep_until(until) => return,
            order = inbox.recv() => match order {
                Some(Order::Kill { tell, .. }) => drop(tell.send(false)),
                Some(Order::LoadAccounts) => {}
                None => return,
            },
        }
    }
}
