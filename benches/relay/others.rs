//! The other proxies, each at its plainest, as child processes.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// Where `scripts/install.sh bench` unpacks MySQL Router; the bench runs in the repository.
const ROUTER_ROOT: &str = "target/unstable/router";

/// MySQL Router's program.
pub(crate) const ROUTER: &str = "target/unstable/router/bin/mysqlrouter";

/// As many threads as Fairlane has workers on two cores.
const HAPROXY_CONFIG: &str = "\
global
    nbthread 2
    maxconn 2000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen mysql
    bind 127.0.0.1:LISTEN
    server primary 127.0.0.1:PRIMARY
";

/// A connection to the server for each client, no TLS, no sharing, as many threads as the others.
const ROUTER_CONFIG: &str = "\
[DEFAULT]
plugin_folder=ROOT/usr/lib/mysqlrouter/plugin
runtime_folder=DIRECTORY
data_folder=DIRECTORY
logging_folder=
[logger]
level=WARNING
[io]
threads=2
[routing:mysql]
bind_address=127.0.0.1
bind_port=LISTEN
destinations=127.0.0.1:PRIMARY
routing_strategy=first-available
protocol=classic
client_ssl_mode=DISABLED
server_ssl_mode=DISABLED
connection_sharing=0
max_connections=2000
";

/// A proxy that is not Fairlane.
#[derive(Debug)]
pub(crate) struct Other {
    child: Child,
    /// Where clients connect.
    pub(crate) port: u16,
}

impl Other {
    /// HAProxy in TCP mode before the server at `primary`. Configuration and log are in `directory`.
    pub(crate) async fn haproxy(primary: u16, directory: &Path) -> Result<Self> {
        let mut command = Command::new("haproxy");
        // In the foreground, so that its process is our child.
        command.args(["-db", "-f"]);
        Self::start(command, HAPROXY_CONFIG, primary, directory)
            .await
            .context("starting HAProxy (of the package haproxy)")
    }

    /// MySQL Router before the server at `primary`. Configuration and log are in `directory`.
    pub(crate) async fn router(primary: u16, directory: &Path) -> Result<Self> {
        ensure!(
            Path::new(ROUTER).exists(),
            "MySQL Router is missing ({ROUTER}): run `scripts/install.sh bench` in the repository"
        );
        let root = std::path::absolute(ROUTER_ROOT)?;
        let config = ROUTER_CONFIG
            .replace("ROOT", &root.to_string_lossy())
            .replace("DIRECTORY", &directory.to_string_lossy());
        let mut command = Command::new(ROUTER);
        command.arg("--config");
        Self::start(command, &config, primary, directory).await.context("starting MySQL Router")
    }

    /// Its process, as long as it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Runs `command` with the configuration as its last argument, and waits until it listens.
    async fn start(
        mut command: Command,
        config: &str,
        primary: u16,
        directory: &Path,
    ) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config =
            config.replace("LISTEN", &port.to_string()).replace("PRIMARY", &primary.to_string());
        let (file, log) = (directory.join("proxy.cfg"), directory.join("proxy.log"));
        std::fs::write(&file, config)?;
        let out = std::fs::File::create(&log)?;
        let child = command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()?;
        let mut proxy = Self { child, port };
        proxy.wait_listening(&log).await?;
        Ok(proxy)
    }

    async fn wait_listening(&mut self, log: &Path) -> Result<()> {
        for _ in 0..100 {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status}): {}", std::fs::read_to_string(log)?);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("it does not listen: {}", std::fs::read_to_string(log)?)
    }
}
