//! `fairlane health`: for container health checks, without a shell or curl in the image.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

const WAIT: Duration = Duration::from_secs(3);

/// Whom to ask.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// The operators' address of a running Fairlane (admin.listen), or its URL.
    #[arg(long, default_value = "127.0.0.1:9306")]
    admin: String,
    /// Whether it runs at all, and not whether it should get new clients: for whoever restarts what does not.
    /// While the primary is down sessions still read.
    #[arg(long)]
    live: bool,
}

/// Asks /readyz, or /healthz.
pub(super) fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let admin = args.admin.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = connect(admin).with_context(|| format!("connecting to {admin}"))?;
    stream.set_read_timeout(Some(WAIT))?;
    let (path, not) = if args.live { ("/healthz", "not alive") } else { ("/readyz", "not ready") };
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    stream.take(16 * 1024).read_to_string(&mut answer)?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim();
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("{not}: {body}");
    }
    std::io::stdout().write_all(format!("{body}\n").as_bytes()).context("writing the answer")
}

/// Connects to the first of the name's addresses that answers.
fn connect(name: &str) -> anyhow::Result<TcpStream> {
    let mut failed = None;
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WAIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => bail!("the name has no address"),
    }
}
