//! The comparison as a table.

use std::fmt;

use crate::Way;
use crate::report::Latency;
use crate::verdicts::Verdicts;
use crate::work::Scenario;

/// One scenario in one way.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) way: Way,
    pub(crate) latency: Latency,
    pub(crate) failed: u64,
    pub(crate) stale: u64,
    /// Units of batch work a second.
    pub(crate) rate: f64,
    pub(crate) misjudged: Option<Verdicts>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms =
            |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |ms| format!("{ms:.1}"));
        let Latency { answered, p50, p95, p99, max, .. } = &self.latency;
        let share = |(light, batch): (u64, u64), wrong: u64| {
            format!("{:.2} %", 100.0 * wrong as f64 / (light + batch).max(1) as f64)
        };
        let (clicks, others) = match self.misjudged {
            None => ("-".to_owned(), "-".to_owned()),
            Some(Verdicts { clicks, others }) => (share(clicks, clicks.1), share(others, others.0)),
        };
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} | {clicks} | {others} |",
            self.scenario.name,
            self.way.name(),
            answered + self.failed,
            ms(*p50),
            ms(*p95),
            ms(*p99),
            ms(*max),
            self.failed,
            self.stale,
            self.rate,
        )
    }
}

/// All rows, as Markdown.
pub(crate) fn of(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scenario | way | clicks | p50 ms | p95 ms | p99 ms | max ms | failed | stale | batch/s \
         | clicks taken for batch | others taken for light |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    rows.iter().for_each(|row| text.push_str(&format!("{row}\n")));
    text
}
