//! What is told on standard error while the demo runs: a line in place on a terminal, else a line
//! every few seconds.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, interval};

use crate::scrape::Tally;

/// Time between two looks on a terminal, and elsewhere.
const PACE: Duration = Duration::from_millis(500);
const PACE_OF_LINES: Duration = Duration::from_secs(5);

/// All clicks of a run, those before and after the window as well.
#[derive(Debug, Default)]
pub(crate) struct Clicks {
    pub(crate) arrived: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Connection ids of all of them.
    pub(crate) ids: Mutex<HashSet<u32>>,
}

/// Tells what has happened since `begin`.
pub(crate) fn tell(begin: Instant, text: &str) {
    eprintln!("{}[{:>3} s] {text}", clear(), begin.elapsed().as_secs());
}

/// Tells how a run goes until it is dropped.
pub(crate) async fn follow(clicks: &Clicks, tally: &Tally) -> Infallible {
    let is_terminal = std::io::stderr().is_terminal();
    let mut ticks = interval(if is_terminal { PACE } else { PACE_OF_LINES });
    ticks.tick().await;
    let begin = Instant::now();
    loop {
        ticks.tick().await;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (answered, failed) = (count(&clicks.answered), count(&clicks.failed));
        let waiting = count(&clicks.arrived).saturating_sub(answered + failed);
        let line = format!(
            "  {:>4.0} s: clicks {answered} answered, {waiting} waiting, {failed} failed; {} \
             outlets scraped",
            begin.elapsed().as_secs_f64(),
            count(&tally.outlets)
        );
        if is_terminal {
            eprint!("{}{line}", clear());
            // A lost line of progress is no loss.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

/// Takes away a line in place.
fn clear() -> &'static str {
    if std::io::stderr().is_terminal() { "\r\u{1b}[2K" } else { "" }
}
