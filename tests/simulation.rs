//! What a lane does under overload, simulated with the program's own scheduler: the scenarios of
//! `make simulation`, and what has to hold in them.

#![allow(clippy::unwrap_used, reason = "this is a test")]

#[path = "../benches/scenarios/simulation/model.rs"]
mod model;
#[path = "../benches/scenarios/simulation/policy.rs"]
#[allow(dead_code, reason = "the other policies are for comparison")]
mod policy;
#[path = "../benches/scenarios/simulation/scenarios.rs"]
mod scenarios;

use model::{Outcome, Scenario, run};
use policy::{Lane, Policy, Queue, Rule};
use scenarios::{BURSTS, HOGS, OVER, STEPS};

fn simulate(scenario: &Scenario) -> Vec<Outcome> {
    run(scenario, &mut Lane::new(scenario.slots))
}

/// Good visits of the first stream while there are too many, of those that could be.
fn goodput(scenario: &Scenario, outcome: &Outcome) -> f64 {
    outcome.goodput(OVER.0, OVER.1) * scenario.streams[0].cost() / scenario.capacity(OVER.0)
}

#[test]
fn goodput_stays_whatever_comes_and_is_back_within_two_seconds() {
    for scenario in STEPS {
        // A server that is busy to its last slot makes pages late without being overloaded.
        if scenario.name == "pages, 1x" {
            continue;
        }
        let outcome = &simulate(scenario)[0];
        let good = goodput(scenario, outcome);
        assert!(good > 0.9, "{}: {good}", scenario.name);
        let after = OVER.1 + 2;
        let worst = (after..after + 10).map(|second| outcome.share(second)).fold(1.0, f64::min);
        assert!(worst > 0.95, "{}: {worst} of those who come later", scenario.name);
    }
}

#[test]
fn a_plain_queue_collapses() {
    let scenario = STEPS.iter().find(|scenario| scenario.name == "5x").unwrap();
    let outcome = &run(scenario, &mut Queue::new(Rule::First, scenario.slots))[0];
    let good = goodput(scenario, outcome);
    assert!(good < 0.1, "{good}");
}

#[test]
fn who_is_refused_has_not_waited_for_long() {
    for scenario in STEPS {
        let outcome = &simulate(scenario)[0];
        let waited = outcome.in_vain / outcome.refused.max(1) as f64;
        assert!(waited < 0.8, "{}: {waited} s", scenario.name);
    }
}

#[test]
fn nobody_is_refused_who_would_be_served_in_time() {
    for scenario in BURSTS {
        let outcome = &simulate(scenario)[0];
        assert_eq!(outcome.refused, 0, "{}", scenario.name);
    }
}

#[test]
fn one_client_does_not_make_others_wait() {
    for scenario in HOGS.iter().filter(|scenario| scenario.streams.len() == 2) {
        let outcome = &simulate(scenario)[1];
        assert_eq!((outcome.refused, outcome.late), (0, 0), "{}", scenario.name);
    }
}

#[test]
fn the_same_comes_out_each_time() {
    let scenario = &STEPS[2];
    let name = Lane::new(scenario.slots).name();
    let [first, second] = [(), ()].map(|()| simulate(scenario)[0].clone());
    assert_eq!((first.refused, first.late), (second.refused, second.late), "{name}");
    assert_eq!(first.good, second.good);
}
