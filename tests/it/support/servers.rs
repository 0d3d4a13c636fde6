//! A primary and a replica, started once for all tests and kept by a thread of their own.

use std::path::PathBuf;
use std::sync::OnceLock;

use fairlane::sandbox::{Options, Sandbox};
use tokio::sync::mpsc::Sender;

use super::product;
use super::product::SEQUENCES;
use super::raw::Raw;

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    pub primary: u16,
    pub replica: u16,
    pub primary_socket: PathBuf,
    /// Ports of further replicas.
    pub others: Vec<u16>,
    /// The first replica's address for Fairlane.
    pub replica_address: String,
    pub replica_log: PathBuf,
    /// Keys of both servers for Fairlane: TLS.
    pub keys: String,
    /// They run until the last of these is gone.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub kept: Sender<Order>,
}

/// The shared servers.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        // A table that InnoDB has forgotten begins anew with the ids it gave and did not use.
        let keeps_tables = "table_definition_cache=4000".into();
        let mut extra =
            vec!["local_infile=ON".into(), "max_allowed_packet=64M".into(), keeps_tables];
        if !product().is_mysql() {
            extra.push("proxy_protocol_networks=127.0.0.1,localhost".into());
        }
        let options = Options {
            replica_general_log: true,
            max_connections: 400,
            extra,
            ..product().options()
        };
        let (servers, _) = keep(options);
        if product().is_mysql() {
            make_sequences(&servers);
        }
        servers
    })
}

/// What MariaDB makes of the names by itself.
fn make_sequences(servers: &Servers) {
    let mut root = servers.root();
    root.run("USE shop");
    root.run("SET cte_max_recursion_depth = 1000000");
    for count in SEQUENCES {
        root.run(&format!(
            "CREATE TABLE seq_1_to_{count} (seq BIGINT UNSIGNED NOT NULL PRIMARY KEY)"
        ));
        root.run(&format!(
            "INSERT INTO seq_1_to_{count} WITH RECURSIVE n AS (SELECT 1 AS seq UNION ALL \
             SELECT seq + 1 FROM n WHERE seq < {count}) SELECT seq FROM n"
        ));
    }
    servers.wait_replicated();
}

/// Starts servers and keeps them for as long as anybody has what this returns; orders can be sent to them.
pub fn keep(options: Options) -> (Servers, Sender<Order>) {
    let (tell, told) = std::sync::mpsc::channel();
    let (orders, mut inbox) = tokio::sync::mpsc::channel::<Order>(16);
    let kept = orders.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let sandbox = Sandbox::start(options).await.unwrap_or_else(|error| panic!("{error}"));
            let replica = &sandbox.replicas[0];
            let servers = Servers {
                primary: sandbox.primary.port,
                replica: replica.port,
                others: sandbox.replicas[1..].iter().map(|replica| replica.port).collect(),
                primary_socket: sandbox.primary.socket.clone(),
                replica_address: match product().is_mysql() {
                    // Over a Unix socket MySQL would see localhost, and take another account.
                    true => format!("127.0.0.1:{}", replica.port),
                    false => replica.socket.display().to_string(),
                },
                replica_log: replica.general_log_path(),
                keys: String::new(),
                kept,
            };
            tell.send(servers).unwrap();
            while let Some((order, done)) = inbox.recv().await {
                let server = match order {
                    What::KillPrimary
                    | What::StartPrimary
                    | What::PausePrimary
                    | What::ResumePrimary => &sandbox.primary,
                    _ => &sandbox.replicas[0],
                };
                match order {
                    What::KillPrimary | What::KillReplica => server.kill().await.unwrap(),
                    What::StartPrimary | What::StartReplica => server.start().await.unwrap(),
                    What::PausePrimary | What::PauseReplica => server.pause().await.unwrap(),
                    What::ResumePrimary | What::ResumeReplica => server.resume().unwrap(),
                }
                let _ = done.send(());
            }
            // What a test has left running on them would take the others' time.
            for server in sandbox.replicas.iter().chain([&sandbox.primary]) {
                if server.is_running() {
                    let _ = server.kill().await;
                }
            }
        });
    });
    (told.recv().expect("the servers start"), orders)
}

/// What to do with a server, and whom to tell when it is done.
pub type Order = (What, std::sync::mpsc::Sender<()>);

#[derive(Debug, Clone, Copy)]
pub enum What {
    KillPrimary,
    StartPrimary,
    PausePrimary,
    ResumePrimary,
    KillReplica,
    StartReplica,
    PauseReplica,
    ResumeReplica,
}

/// Gives an order and waits until it is carried out.
pub fn order(orders: &Sender<Order>, what: What) {
    let (tell, told) = std::sync::mpsc::channel();
    orders.blocking_send((what, tell)).unwrap();
    told.recv().unwrap();
}

impl Servers {
    /// root on the primary, past Fairlane.
    pub fn root(&self) -> Raw {
        Raw::connect(self.primary, "root", "root-secret", None).expect("root logs in")
    }

    /// root on the replica, past Fairlane.
    pub fn replica_root(&self) -> Raw {
        Raw::connect(self.replica, "root", "root-secret", None).expect("root logs in")
    }

    /// root on the replica, who changes it without its primary.
    pub fn replica_root_who_writes(&self) -> Raw {
        let mut root = self.replica_root();
        if product().is_mysql() {
            root.run("SET GLOBAL super_read_only = OFF");
        }
        root.run("SET sql_log_bin = 0");
        root
    }

    /// Waits until the replica has all that the primary has.
    pub fn wait_replicated(&self) {
        let (position, wait) = match product().is_mysql() {
            true => ("@@global.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"),
            false => ("@@global.gtid_binlog_pos", "MASTER_GTID_WAIT"),
        };
        let position = self.root().text(&format!("SELECT {position}"));
        let waited = self.replica_root().text(&format!("SELECT {wait}('{position}', 20)"));
        assert_eq!(waited, "0");
    }

    /// What the replica was asked since the servers started.
    pub fn replica_saw(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.replica_log).unwrap()).into_owned()
    }
}
