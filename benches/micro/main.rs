//! What the pure core costs, one operation after the other, without sockets.
//!
//! Without arguments: nanoseconds of each case on this machine. `tests/instructions.rs` runs single
//! cases under callgrind and compares instructions, which do not depend on who else is busy.

mod cases;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::cases::{CASES, Case};

/// How long each case is timed.
const LENGTH: Duration = Duration::from_millis(300);

/// Times the pure core.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this case.
    #[arg(long)]
    case: Option<String>,
    /// Runs the case so often and prints nothing.
    #[arg(long, requires = "case")]
    iterations: Option<u64>,
    /// Prints the names of the cases.
    #[arg(long)]
    list: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        CASES.iter().for_each(|case| println!("{}", case.name));
        return Ok(());
    }
    let wanted = |case: &&Case| arguments.case.as_deref().is_none_or(|name| name == case.name);
    if let Some(iterations) = arguments.iterations {
        let case = CASES.iter().find(wanted).context("there is no case of this name")?;
        let mut operation = (case.prepare)();
        (0..iterations).for_each(|_| operation());
        return Ok(());
    }
    println!("| case | ns | |\n|---|--:|---|");
    for case in CASES.iter().filter(wanted) {
        let nanoseconds = time(case);
        let note = case.bytes.map(|bytes| format!("{:.1} GB/s", bytes as f64 / nanoseconds));
        println!("| {} | {nanoseconds:.0} | {} |", case.name, note.unwrap_or_default());
    }
    Ok(())
}

/// Nanoseconds of one operation: the best of several stretches, since everything that disturbs
/// only makes it slower.
fn time(case: &Case) -> f64 {
    let mut operation = (case.prepare)();
    let mut stretch = 1_u32;
    let mut best = f64::INFINITY;
    #[expect(clippy::disallowed_methods, reason = "this is what a clock is for")]
    let now = Instant::now;
    let begin = now();
    while begin.elapsed() < LENGTH {
        let start = now();
        (0..stretch).for_each(|_| black_box(&mut operation)());
        let took = start.elapsed();
        best = best.min(took.as_secs_f64() * 1e9 / f64::from(stretch));
        if took < Duration::from_millis(2) {
            stretch = stretch.saturating_mul(2);
        }
    }
    best
}
