//! The ways to the server that are compared: straight, HAProxy in TCP mode, and Fairlane.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fairlane::sandbox::{Options, Sandbox};
use serde::Serialize;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::support::fairlane::Fairlane;
use crate::sysbench;

/// HAProxy at its plainest, with as many threads as Fairlane has workers on two cores.
const HAPROXY: &str = "\
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

/// Fairlane with all reads on the primary, so that the ways that are compared end at the same server.
pub(crate) const FAIRLANE: &str = r#"listen = ["127.0.0.1:LISTEN"]

[admin]
listen = "127.0.0.1:ADMIN"

[service]
user = "fairlane"
password = "fairlane-secret"

[primary]
address = "127.0.0.1:PRIMARY"
max_connections = 100

READS"#;

const ON_THE_PRIMARY: &str = "[routing]\nreplica_reads = false\n";

const ON_THE_REPLICA: &str = "\
[[replica]]
address = \"127.0.0.1:REPLICA\"
max_connections = 100
";

/// A way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Direct,
    HaProxy,
    Fairlane,
    FairlaneReplica,
}

impl Way {
    pub(crate) const ALL: [Self; 4] =
        [Self::Direct, Self::HaProxy, Self::Fairlane, Self::FairlaneReplica];

    /// As the tables write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "HAProxy",
            Self::Fairlane => "Fairlane",
            Self::FairlaneReplica => "Fairlane, replica",
        }
    }
}

/// The proxies, running.
#[derive(Debug)]
pub(crate) struct Proxies {
    primary_port: u16,
    haproxy_port: u16,
    haproxy: Child,
    fairlane: Fairlane,
    fairlane_replica: Fairlane,
    _directory: TempDir,
}

impl Proxies {
    /// Starts them before the servers at these ports; their logs go into `out`.
    async fn start(primary_port: u16, replica_port: u16, out: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (haproxy, haproxy_port) = start_haproxy(primary_port, directory.path(), out).await?;
        let start = async |reads: &str, name: &str| {
            let config = FAIRLANE
                .replace("READS", reads)
                .replace("PRIMARY", &primary_port.to_string())
                .replace("REPLICA", &replica_port.to_string());
            let out = out.join(name);
            std::fs::create_dir_all(&out)?;
            Fairlane::start(&config, &out).await
        };
        Ok(Self {
            primary_port,
            haproxy_port,
            haproxy,
            fairlane: start(ON_THE_PRIMARY, "fairlane").await?,
            fairlane_replica: start(ON_THE_REPLICA, "fairlane-replica").await?,
            _directory: directory,
        })
    }

    /// Where clients of `way` connect.
    pub(crate) fn port(&self, way: Way) -> u16 {
        match way {
            Way::Direct => self.primary_port,
            Way::HaProxy => self.haproxy_port,
            Way::Fairlane => self.fairlane.port,
            Way::FairlaneReplica => self.fairlane_replica.port,
        }
    }

    /// The process in between.
    pub(crate) fn pid(&self, way: Way) -> Option<u32> {
        match way {
            Way::Direct => None,
            Way::HaProxy => self.haproxy.id(),
            Way::Fairlane => self.fairlane.pid(),
            Way::FairlaneReplica => self.fairlane_replica.pid(),
        }
    }

    /// Where operators of Fairlane look.
    pub(crate) fn admin_port(&self) -> u16 {
        self.fairlane.admin_port
    }

    /// Ends all of them.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.haproxy.kill().await?;
        self.fairlane.stop().await?;
        self.fairlane_replica.stop().await
    }
}

/// A primary with sysbench's table, a replica, and all proxies before them; logs go into `out`.
pub(crate) async fn start_all(out: &Path) -> Result<(Sandbox, Proxies)> {
    let options = Options { replicas: 1, max_connections: 500, ..Options::default() };
    let sandbox = Sandbox::start(options).await?;
    ensure!(sandbox.replicas.len() == 1, "the sandbox has no replica");
    sysbench::prepare(sandbox.primary.port).await?;
    sandbox.wait_replicated().await?;
    let (primary, replica) = (sandbox.primary.port, sandbox.replicas[0].port);
    let proxies = Proxies::start(primary, replica, out).await?;
    Ok((sandbox, proxies))
}

/// HAProxy in the foreground, so that its process is our child.
async fn start_haproxy(primary_port: u16, directory: &Path, out: &Path) -> Result<(Child, u16)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let file = directory.join("haproxy.cfg");
    let config =
        HAPROXY.replace("LISTEN", &port.to_string()).replace("PRIMARY", &primary_port.to_string());
    std::fs::write(&file, config)?;
    let log = std::fs::File::create(out.join("haproxy.log"))?;
    let mut child = Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("running haproxy (install the package haproxy)")?;
    for _ in 0..100 {
        if let Some(status) = child.try_wait()? {
            bail!("HAProxy ended ({status}); see {}", out.join("haproxy.log").display());
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok((child, port));
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("HAProxy does not listen; see {}", out.join("haproxy.log").display())
}
