//! `fairlane sandbox`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::sandbox::{
    APP_PASSWORD, APP_SCHEMA, APP_USER, Options, ROOT_PASSWORD, SERVICE_PASSWORD, SERVICE_USER,
    Sandbox,
};

/// What the sandbox is to look like.
#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// How many replicas follow the primary.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Where the servers live; kept at the end. Without it: a temporary directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Option for all servers, such as general_log=ON. May be given several times.
    #[arg(long, value_name = "OPTION")]
    server_option: Vec<String>,
}

/// Starts the servers and keeps them until Ctrl-C or SIGTERM.
pub(super) fn run(args: SandboxArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("building the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let options = Options {
            directory: args.directory,
            replicas: args.replicas,
            extra: args.server_option,
            ..Options::default()
        };
        let sandbox = tokio::select! {
            started = Sandbox::start(options) => started?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        print(&sandbox);
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        println!("stopping");
        sandbox.stop().await?;
        Ok(())
    })
}

fn print(sandbox: &Sandbox) {
    let primary = &sandbox.primary;
    println!("directory  {}", sandbox.directory().display());
    println!("primary    {}", primary.url(APP_USER, APP_PASSWORD, APP_SCHEMA));
    println!("root       {}", primary.url("root", ROOT_PASSWORD, APP_SCHEMA));
    for replica in &sandbox.replicas {
        println!("replica    {}", replica.url(APP_USER, APP_PASSWORD, APP_SCHEMA));
    }
    println!("\nStand before them with:\n");
    print!(
        "    fairlane serve --primary mysql://{SERVICE_USER}:{SERVICE_PASSWORD}@{}:{}",
        primary.host, primary.port
    );
    for replica in &sandbox.replicas {
        print!(" --replica mysql://{}:{}", replica.host, replica.port);
    }
    println!("\n\nCtrl-C stops the servers.");
}
