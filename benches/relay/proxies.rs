//! The ways to the server that are compared: straight, HAProxy in TCP mode, and Fairlane.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::support::fairlane::Fairlane;

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

/// Fairlane without a replica, so that all ways end at the same server.
const FAIRLANE: &str = r#"listen = ["127.0.0.1:LISTEN"]

[admin]
listen = "127.0.0.1:ADMIN"

[service]
user = "fairlane"
password = "fairlane-secret"

[primary]
address = "127.0.0.1:PRIMARY"
max_connections = 100

[routing]
replica_reads = false
"#;

/// A way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Direct,
    HaProxy,
    Fairlane,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::HaProxy, Self::Fairlane];

    /// As the tables write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "HAProxy",
            Self::Fairlane => "Fairlane",
        }
    }
}

/// Both proxies, running.
#[derive(Debug)]
pub(crate) struct Proxies {
    primary_port: u16,
    haproxy_port: u16,
    haproxy: Child,
    fairlane: Fairlane,
    _directory: TempDir,
}

impl Proxies {
    /// Starts both before the server at `primary_port`; their logs go into `out`.
    pub(crate) async fn start(primary_port: u16, out: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (haproxy, haproxy_port) = start_haproxy(primary_port, directory.path(), out).await?;
        let config = FAIRLANE.replace("PRIMARY", &primary_port.to_string());
        let fairlane = Fairlane::start(&config, out).await?;
        Ok(Self { primary_port, haproxy_port, haproxy, fairlane, _directory: directory })
    }

    /// Where clients of `way` connect.
    pub(crate) fn port(&self, way: Way) -> u16 {
        match way {
            Way::Direct => self.primary_port,
            Way::HaProxy => self.haproxy_port,
            Way::Fairlane => self.fairlane.port,
        }
    }

    /// The process in between.
    pub(crate) fn pid(&self, way: Way) -> Option<u32> {
        match way {
            Way::Direct => None,
            Way::HaProxy => self.haproxy.id(),
            Way::Fairlane => self.fairlane.pid(),
        }
    }

    /// Where operators of Fairlane look.
    pub(crate) fn admin_port(&self) -> u16 {
        self.fairlane.admin_port
    }

    /// Ends both.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.haproxy.kill().await?;
        self.fairlane.stop().await
    }
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
