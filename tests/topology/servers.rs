//! Private MariaDB servers for these tests: a primary and a replica in a temporary directory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const START_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    directory: PathBuf,
    options: Vec<String>,
    pub(crate) port: u16,
    child: Child,
}

impl Server {
    /// A server with fresh system tables.
    pub(crate) async fn install(directory: PathBuf, options: &[&str]) -> Self {
        let (data, temporary) = (directory.join("data"), directory.join("tmp"));
        std::fs::create_dir_all(&data).expect("a directory");
        std::fs::create_dir_all(&temporary).expect("a directory");
        let output = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--user=root"])
            .arg(format!("--datadir={}", data.display()))
            // Servers that share a directory for temporary files can get in each other's way.
            .arg(format!("--tmpdir={}", temporary.display()))
            .output()
            .await
            .expect("mariadb-install-db is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::start(directory, options).await
    }

    async fn start(directory: PathBuf, options: &[&str]) -> Self {
        let port = free_port();
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(&directory, port, &options);
        let mut server = Self { directory, options, port, child };
        server.wait_until_ready().await;
        server
    }

    /// Starts it again, on the same port.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.directory, self.port, &self.options);
        self.wait_until_ready().await;
    }

    /// Sends the process a signal.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("a running server").to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().await;
        assert!(status.expect("kill is installed").success());
    }

    /// Ends the process without a goodbye.
    pub(crate) async fn crash(&mut self) {
        self.child.kill().await.expect("a running server");
    }

    /// As `restart`, with more options.
    pub(crate) async fn restart_with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self.restart().await;
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        while self.try_root().await.is_err() {
            let is_running = self.child.try_wait().expect("a child").is_none();
            assert!(is_running && Instant::now() < deadline, "{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("error.log")).unwrap_or_default()
    }

    async fn try_root(&self) -> mysql_async::Result<Conn> {
        let socket = self.directory.join("socket").display().to_string();
        Conn::new(OptsBuilder::default().user(Some("root")).socket(Some(socket))).await
    }

    /// A connection as root, not through TCP.
    pub(crate) async fn root(&self) -> Conn {
        self.try_root().await.expect("root can log in")
    }

    /// Runs statements as root.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut root = self.root().await;
        for statement in statements {
            root.query_drop(*statement)
                .await
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        root.disconnect().await.expect("closed");
    }

    /// First row of a query as root.
    pub(crate) async fn first<T: FromRow + Send + 'static>(&self, query: &str) -> T {
        let mut root = self.root().await;
        let row = root.query_first(query).await.expect("a query").expect("a row");
        root.disconnect().await.expect("closed");
        row
    }
}

/// Below the range from which the kernel takes the ports of outgoing connections: one of those
/// could sit on the port of a server that is down, or even connect to itself there.
fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(18_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one is free")
}

fn spawn(directory: &Path, port: u16, options: &[String]) -> Child {
    let path = |name: &str| directory.join(name).display().to_string();
    let log = std::fs::File::create(directory.join("error.log")).expect("a log file");
    Command::new("mariadbd")
        .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1"])
        .args(["--log-bin=binlog", "--log-slave-updates", "--innodb-log-file-size=8M"])
        .args(["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"])
        .arg(format!("--datadir={}", path("data")))
        .arg(format!("--tmpdir={}", path("tmp")))
        .arg(format!("--socket={}", path("socket")))
        .arg(format!("--pid-file={}", path("pid")))
        .arg(format!("--port={port}"))
        .args(options)
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("mariadbd is installed")
}

pub(crate) struct Pair {
    pub primary: Server,
    pub replica: Server,
    _directory: TempDir,
}

/// What the service account may do.
pub(crate) const SERVICE_GRANTS: [&str; 2] = [
    "GRANT SELECT ON mysql.* TO fairlane@localhost",
    "GRANT SLAVE MONITOR, CONNECTION ADMIN, PROCESS ON *.* TO fairlane@localhost",
];

const ACCOUNTS: &[&str] = &[
    "DELETE FROM mysql.global_priv WHERE User = ''",
    "FLUSH PRIVILEGES",
    "CREATE USER fairlane@localhost IDENTIFIED BY 'fairlane-secret'",
    SERVICE_GRANTS[0],
    SERVICE_GRANTS[1],
    // For servers that know no names.
    "CREATE USER fairlane@127.0.0.1 IDENTIFIED BY 'fairlane-secret'",
    "GRANT SELECT ON mysql.* TO fairlane@127.0.0.1",
    "CREATE USER replication@localhost IDENTIFIED BY 'replication-secret'",
    "GRANT REPLICATION SLAVE ON *.* TO replication@localhost",
    "CREATE DATABASE shop",
    "CREATE TABLE shop.items (id INT PRIMARY KEY)",
];

impl Pair {
    /// A primary and a replica that follows it.
    pub(crate) async fn start(replica_options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let primary = Server::install(directory.path().join("p"), &["--server-id=1"]).await;
        let mut options = vec!["--server-id=2", "--read-only"];
        options.extend(replica_options);
        let replica = Server::install(directory.path().join("r"), &options).await;
        primary.run(&["RESET MASTER"]).await;
        primary.run(ACCOUNTS).await;
        let source = format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='replication', \
             MASTER_PASSWORD='replication-secret', MASTER_USE_GTID=slave_pos, \
             MASTER_CONNECT_RETRY=1",
            primary.port
        );
        replica.run(&["RESET MASTER", ACCOUNTS[0], ACCOUNTS[1]]).await;
        replica.run(&[&source, "START SLAVE"]).await;
        Self { primary, replica, _directory: directory }
    }

    /// A primary alone; returned with the directory that must live as long.
    pub(crate) async fn primary_only(options: &[&str]) -> (Server, TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut all = vec!["--server-id=1"];
        all.extend(options);
        let primary = Server::install(directory.path().join("p"), &all).await;
        primary.run(ACCOUNTS).await;
        (primary, directory)
    }
}
