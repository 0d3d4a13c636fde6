//! The ways to the server that are compared: straight, through other proxies, and Fairlane.

use std::path::Path;

use anyhow::{Context as _, Result};
use fairlane::sandbox::{Options, Sandbox};
use serde::Serialize;

use crate::others::Other;
use crate::support::fairlane::Fairlane;
use crate::sysbench;

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
    Router,
    Fairlane,
    FairlaneReplica,
}

impl Way {
    /// As the tables write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "HAProxy",
            Self::Router => "MySQL Router",
            Self::Fairlane => "Fairlane",
            Self::FairlaneReplica => "Fairlane, replica",
        }
    }
}

/// Ports of the servers at the end of the ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Servers {
    pub(crate) primary: u16,
    pub(crate) replica: u16,
}

impl Servers {
    /// Those of a sandbox.
    pub(crate) fn of(sandbox: &Sandbox) -> Result<Self> {
        let replica = sandbox.replicas.first().context("the sandbox has no replica")?;
        Ok(Self { primary: sandbox.primary.port, replica: replica.port })
    }
}

/// The proxies, running.
#[derive(Debug)]
pub(crate) struct Proxies {
    servers: Servers,
    running: Vec<(Way, Proxy)>,
}

#[derive(Debug)]
enum Proxy {
    Other(Other),
    Fairlane(Fairlane),
}

impl Proxies {
    /// Starts those of `ways` before the servers; their files go into `out`.
    pub(crate) async fn start(ways: &[Way], servers: Servers, out: &Path) -> Result<Self> {
        let mut running = Vec::new();
        for &way in ways {
            let directory = out.join(way.name());
            std::fs::create_dir_all(&directory)?;
            let proxy = match way {
                Way::Direct => continue,
                Way::HaProxy => Proxy::Other(Other::haproxy(servers.primary, &directory).await?),
                Way::Router => Proxy::Other(Other::router(servers.primary, &directory).await?),
                Way::Fairlane => fairlane(ON_THE_PRIMARY, servers, &directory).await?,
                Way::FairlaneReplica => fairlane(ON_THE_REPLICA, servers, &directory).await?,
            };
            running.push((way, proxy));
        }
        Ok(Self { servers, running })
    }

    fn get(&self, way: Way) -> Option<&Proxy> {
        self.running.iter().find(|(known, _)| *known == way).map(|(_, proxy)| proxy)
    }

    /// Where clients of `way` connect.
    pub(crate) fn port(&self, way: Way) -> u16 {
        match self.get(way) {
            None => {
                assert_eq!(way, Way::Direct, "this way was not started");
                self.servers.primary
            }
            Some(Proxy::Other(other)) => other.port,
            Some(Proxy::Fairlane(fairlane)) => fairlane.port,
        }
    }

    /// The process in between.
    pub(crate) fn pid(&self, way: Way) -> Option<u32> {
        match self.get(way)? {
            Proxy::Other(other) => other.pid(),
            Proxy::Fairlane(fairlane) => fairlane.pid(),
        }
    }

    /// Ends all of them.
    pub(crate) async fn stop(self) -> Result<()> {
        for (way, proxy) in self.running {
            match proxy {
                Proxy::Other(other) => other.stop().await,
                Proxy::Fairlane(fairlane) => fairlane.stop().await,
            }
            .with_context(|| format!("ending {}", way.name()))?;
        }
        Ok(())
    }
}

async fn fairlane(reads: &str, servers: Servers, directory: &Path) -> Result<Proxy> {
    let config = FAIRLANE
        .replace("READS", reads)
        .replace("PRIMARY", &servers.primary.to_string())
        .replace("REPLICA", &servers.replica.to_string());
    Ok(Proxy::Fairlane(Fairlane::start(&config, directory).await?))
}

/// A primary with sysbench's table, and a replica.
pub(crate) async fn start_servers() -> Result<Sandbox> {
    let options = Options { replicas: 1, max_connections: 2_500, ..Options::default() };
    let sandbox = Sandbox::start(options).await?;
    sysbench::prepare(sandbox.primary.port).await?;
    sandbox.wait_replicated().await?;
    Ok(sandbox)
}
