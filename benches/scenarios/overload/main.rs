//! `make overload`: goodput at one, two and five times what a real server can do, with the queue of
//! Fairlane's default lane and with a plain one.

mod load;
#[path = "../../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other benches need more of it")]
mod support;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use fairlane::sandbox::{Options, Sandbox};

use crate::load::{Outcome, Visit, capacity, visits};
use crate::support::fairlane::Fairlane;

/// Connections to the server; one of them is the control connection, one slot is batch's.
const CONNECTIONS: u32 = 6;
/// What a statement costs is known: nothing but time.
const SQL: &str = "SELECT SLEEP(0.02)";

const CONFIG: &str = r#"
listen = ["127.0.0.1:LISTEN"]

[admin]
listen = "127.0.0.1:ADMIN"

[service]
user = "fairlane"
password = "fairlane-secret"

[primary]
address = "127.0.0.1:PRIMARY"
max_connections = CONNECTIONS

# Sleeping is what users do here.
[[rule]]
lane = "interactive"
user = "app"
"#;

/// First come, first served, for five seconds.
const PLAIN: &str = "[[lane]]\nname = \"interactive\"\nreserved = \"25%\"\noverload_timeout = \"off\"\n\
    [[lane]]\nname = \"batch\"\nreserved = 1\n";

/// Measures a lane under overload.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each overload.
    #[arg(long, default_value_t = 20)]
    seconds: usize,
    /// Only lanes whose name begins so.
    #[arg(long, default_value = "")]
    only: String,
    /// Statements of a visit.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5])]
    statements: Vec<u32>,
    /// Loads, as multiples of what can be done.
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 2.0, 5.0])]
    loads: Vec<f64>,
    /// Where Fairlane's log goes.
    #[arg(long, default_value = "target/overload")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.out)?;
    let sandbox = Sandbox::start(Options { replicas: 0, ..Options::default() }).await?;
    println!(
        "| lane | statements a visit | visits/s that can be | load | good/s | of what can be | worst second | \
         late | refused | after s | broken | good again after s |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let lanes = [("plain queue, 5 s", PLAIN), ("as installed", "")];
    for (name, lanes) in lanes.iter().filter(|(name, _)| name.starts_with(&arguments.only)) {
        let config = CONFIG
            .replace("PRIMARY", &sandbox.primary.port.to_string())
            .replace("CONNECTIONS", &CONNECTIONS.to_string());
        let config = format!("{config}{lanes}");
        for &statements in &arguments.statements {
            let fairlane = Fairlane::start(&config, &arguments.out).await?;
            let visit = Visit { port: fairlane.port, program: "web", sql: SQL, statements };
            let possible = capacity(&visit, 3 * CONNECTIONS, Duration::from_secs(4)).await;
            ensure!(possible > 10.0, "only {possible} statements a second");
            for &factor in &arguments.loads {
                let possible = possible / f64::from(statements);
                let row = measure(&visit, possible, factor, arguments.seconds).await;
                println!("| {name} | {statements} | {possible:.0} | {factor}x | {row} |");
            }
            fairlane.stop().await?;
        }
    }
    sandbox.stop().await.context("stopping the private server")
}

/// A load, and 70 % of what can be done after it.
async fn measure(visit: &Visit, possible: f64, factor: f64, seconds: usize) -> String {
    visits(visit, 0.7 * possible, 3).await;
    // Arrivals go on when the load ends: the queue it left is theirs.
    let over = tokio::spawn({
        let visit = *visit;
        async move { visits(&visit, factor * possible, seconds).await }
    });
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let after = visits(visit, 0.7 * possible, 15).await;
    let over = over.await.unwrap_or_default();
    let could = possible.min(factor * possible);
    let worst = over.good.iter().min().copied().unwrap_or(0);
    let Outcome { late, refused, broken, in_vain, .. } = &over;
    if let Some(error) = over.first_error.as_ref().or(after.first_error.as_ref()) {
        eprintln!("first error: {error}");
    }
    format!(
        "{:.0} | {:.0} % | {:.0} % | {late} | {refused} | {:.2} | {broken} | {}",
        over.goodput(),
        100.0 * over.goodput() / could,
        100.0 * f64::from(worst) / could,
        in_vain.as_secs_f64() / f64::from((*refused).max(1)),
        after.recovered().map_or_else(|| "over 15".to_owned(), |second| second.to_string()),
    )
}
