//! The command line.

mod check;
mod explain;
mod health;
mod sandbox;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A MySQL proxy that keeps interactive work fast while batch work runs.
#[derive(Debug, Parser)]
#[command(name = "fairlane", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand before a primary and its replicas.
    Serve(serve::ServeArgs),
    /// Check a configuration and say what it means.
    Check(check::CheckArgs),
    /// Say how a statement is classified, where it goes, in which lane, and why.
    Explain(explain::ExplainArgs),
    /// Start a private primary with replicas from the installed server, for trying things out.
    Sandbox(sandbox::SandboxArgs),
    /// Ask a running Fairlane whether it is ready (exit code 0) or not (1).
    Health(health::HealthArgs),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let parsed = match Cli::try_parse() {
        // It would repeat a word that is out of place, which may be a URL with its password.
        Err(error) if error.use_stderr() && error.to_string().contains("://") => {
            eprintln!(
                "fairlane: a URL where none is expected; cure: give it to --primary or --replica of \
                 `fairlane serve`, see --help"
            );
            return ExitCode::from(2);
        }
        parsed => parsed.unwrap_or_else(|error| error.exit()),
    };
    let done = match parsed.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Sandbox(args) => sandbox::run(args),
        Command::Health(args) => health::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairlane: {error:#}");
            ExitCode::FAILURE
        }
    }
}
