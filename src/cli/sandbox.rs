//! `fairlane sandbox`

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::protocol::Family;
use crate::sandbox::{
    APP_PASSWORD, APP_SCHEMA, APP_USER, Options, ROOT_PASSWORD, SERVICE_PASSWORD, SERVICE_USER,
    Sandbox, Server,
};

/// What the sandbox is to look like.
#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// Which server to run.
    #[arg(long, value_enum, default_value = "mariadb")]
    server: Family,
    /// The directory with the server's programs; without it they are searched for in PATH.
    #[arg(long, value_name = "DIR", env = "FAIRLANE_SANDBOX_PROGRAMS")]
    programs: Option<PathBuf>,
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

impl ValueEnum for Family {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::MariaDb, Self::MySql]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::MariaDb => PossibleValue::new("mariadb").help("MariaDB 10.6 or later"),
            Self::MySql => PossibleValue::new("mysql").help("MySQL 8.4 or later"),
        })
    }
}

/// Starts the servers and keeps them until Ctrl-C or SIGTERM.
pub(super) fn run(args: SandboxArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("building the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let options = Options {
            family: args.server,
            programs: args.programs,
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
        // Not println!: a reader that goes away is no reason to panic.
        std::io::stdout().write_all(description(&sandbox).as_bytes())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        sandbox.stop().await?;
        Ok(())
    })
}

/// What stands where, and how to go on from here.
fn description(sandbox: &Sandbox) -> String {
    let primary = &sandbox.primary;
    let app = |server: &Server| server.url(APP_USER, APP_PASSWORD, APP_SCHEMA);
    let mut lines = vec![
        format!("directory  {}", sandbox.directory().display()),
        format!("primary    {}", app(primary)),
        format!("root       {}", primary.url("root", ROOT_PASSWORD, APP_SCHEMA)),
    ];
    lines.extend(sandbox.replicas.iter().map(|replica| format!("replica    {}", app(replica))));
    let mut serve = format!(
        "    fairlane serve --primary mysql://{SERVICE_USER}:{SERVICE_PASSWORD}@{}:{}",
        primary.host, primary.port
    );
    for replica in &sandbox.replicas {
        serve.push_str(&format!(" --replica mysql://{}:{}", replica.host, replica.port));
    }
    lines.extend(["\nStand before them with:\n".to_owned(), serve]);
    lines.push("\nCtrl-C stops the servers.\n".to_owned());
    lines.join("\n")
}
