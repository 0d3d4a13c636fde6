//! `make simulation`: what the queue of a lane does under overload, and what it could do instead.

mod model;
mod policy;
mod scenarios;

use crate::model::{Outcome, Scenario, Stream};
use crate::policy::{Lane, Policy, Queue, Rule};
use crate::scenarios::{BURSTS, HOGS, OVER, STEPS};

fn policies(slots: usize) -> [Box<dyn Policy>; 5] {
    [
        Box::new(Queue::new(Rule::First, slots)),
        Box::new(Queue::new(Rule::Newest, slots)),
        Box::new(Queue::new(Rule::Short, slots)),
        Box::new(Queue::new(Rule::Controlled, slots)),
        Box::new(Lane::new(slots)),
    ]
}

fn main() {
    println!(
        "| scenario | policy | good, of what can be | first 5 s | worst second | back after s | refused | \
         in vain s | late | p50 s | p99 s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for scenario in STEPS.iter().chain(BURSTS).chain(HOGS) {
        for mut policy in policies(scenario.slots) {
            let outcomes = model::run(scenario, policy.as_mut());
            for (stream, outcome) in scenario.streams.iter().zip(&outcomes) {
                let name = match scenario.streams.len() {
                    1 => scenario.name.to_owned(),
                    _ => format!(
                        "{}: {} of client {}",
                        scenario.name,
                        stream.statements.len(),
                        stream.client
                    ),
                };
                println!("| {name} | {} | {} |", policy.name(), row(scenario, stream, outcome));
            }
        }
    }
}

/// What became of the visits while there were too many, and after.
fn row(scenario: &Scenario, stream: &Stream, outcome: &Outcome) -> String {
    let (from, to) = OVER;
    let could = |second: usize| {
        let came = outcome.came.get(second).copied().unwrap_or(0);
        (scenario.capacity(second) / stream.cost()).min(f64::from(came))
    };
    let mean = |from: usize, to: usize| {
        let could: f64 = (from..to).map(could).sum();
        outcome.goodput(from, to) * (to - from) as f64 / could.max(1.0)
    };
    let good = |second: usize| f64::from(outcome.good.get(second).copied().unwrap_or(0));
    let worst = (from..to).map(|second| good(second) / could(second).max(1.0)).fold(9.0, f64::min);
    let length = usize::try_from(scenario.length).unwrap_or(usize::MAX);
    let back = (to..length - 1).find(|&second| outcome.share(second) >= 0.95);
    let mut took = outcome.took.clone();
    took.sort_by(f64::total_cmp);
    let quantile = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or(f64::NAN);
    format!(
        "{:.0} % | {:.0} % | {:.0} % | {} | {} | {:.2} | {} | {:.2} | {:.2}",
        100.0 * mean(from, to),
        100.0 * mean(from, from + 5),
        100.0 * worst,
        back.map_or_else(|| "never".to_owned(), |second| (second - to).to_string()),
        outcome.refused,
        outcome.in_vain / outcome.refused.max(1) as f64,
        outcome.late,
        quantile(50),
        quantile(99),
    )
}
