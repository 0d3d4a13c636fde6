//! Fairlane as a child process.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long Fairlane may take to become ready, and to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running Fairlane.
#[derive(Debug)]
pub(crate) struct Fairlane {
    child: Child,
    /// Where applications connect.
    pub(crate) port: u16,
    /// Where operators look.
    pub(crate) admin_port: u16,
}

impl Fairlane {
    /// Starts Fairlane with `config`, in which `LISTEN` and `ADMIN` stand for free ports, and waits
    /// until it is ready. Its configuration and log are in `directory`.
    pub(crate) async fn start(config: &str, directory: &Path) -> Result<Self> {
        let (port, admin_port) = free_ports()?;
        let config =
            config.replace("LISTEN", &port.to_string()).replace("ADMIN", &admin_port.to_string());
        let file = directory.join("fairlane.toml");
        let log = directory.join("fairlane.log");
        std::fs::write(&file, config)?;

        let program = program()?;
        let out = std::fs::File::create(&log)?;
        let child = Command::new(&program)
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut fairlane = Self { child, port, admin_port };
        fairlane.wait_ready(&log).await?;
        Ok(fairlane)
    }

    async fn wait_ready(&mut self, log: &Path) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                bail!("Fairlane ended ({status}); see {}", log.display());
            }
            if is_ok(self.admin_port, "/readyz").await {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("Fairlane is not ready after {} s; see {}", PATIENCE.as_secs(), log.display())
    }

    /// Its process, as long as it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// All its metrics, as text.
    pub(crate) async fn metrics(&self) -> Result<String> {
        get(self.admin_port, "/metrics").await
    }

    /// How many statements were answered by a server of this kind so far (`primary`, `replica`), for
    /// reasons that `counts` names.
    pub(crate) async fn routed(&self, target: &str, counts: &[&str]) -> Result<f64> {
        let metrics = self.metrics().await?;
        let is_counted = |line: &&str| {
            line.starts_with("fairlane_statements_routed_total{")
                && line.contains(&format!("target=\"{target}\""))
                && counts.iter().any(|reason| line.contains(&format!("reason=\"{reason}\"")))
        };
        let values = metrics.lines().filter(is_counted).filter_map(|line| line.rsplit(' ').next());
        Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
    }

    /// Asks Fairlane to end, and waits for it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        }
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                ensure!(status.success(), "Fairlane ended with {status}");
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                bail!("Fairlane did not end within {} s of SIGTERM", PATIENCE.as_secs())
            }
        }
    }
}

/// `FAIRLANE_BIN`, or the binary built beside the directory of this example.
fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("FAIRLANE_BIN") {
        return Ok(path.into());
    }
    let example = std::env::current_exe()?;
    let target = example.parent().and_then(Path::parent).context("this program has no folder")?;
    let path = target.join("fairlane");
    ensure!(path.exists(), "{} is missing: build the binary or set FAIRLANE_BIN", path.display());
    Ok(path)
}

/// Two different ports nobody listens on.
fn free_ports() -> Result<(u16, u16)> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (first, second) = (bind()?, bind()?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// Whether a GET of `path` answers 200.
async fn is_ok(port: u16, path: &str) -> bool {
    matches!(get(port, path).await, Ok(answer) if answer.starts_with("HTTP/1.1 200"))
}

/// The answer to a GET of `path`, headers included.
async fn get(port: u16, path: &str) -> Result<String> {
    let get = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    Ok(timeout(Duration::from_secs(1), get).await??)
}
