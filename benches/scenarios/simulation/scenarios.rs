//! What is simulated: ten slots and statements of 10 ms are a thousand statements a second.

use std::time::Duration;

use crate::model::{Arrivals, Scenario, Statement, Stream};
use Arrivals::{Burst, Closed, Rate};

const fn statement(kind: u64, cost: f64) -> Statement {
    Statement { kind, cost }
}

const ONE: &[Statement] = &[statement(0, 1.0)];

const fn one(arrivals: &'static [Arrivals]) -> Stream {
    Stream { client: 1, statements: ONE, arrivals }
}

/// Visits of seven statements that are alike.
const fn pages(arrivals: &'static [Arrivals]) -> Stream {
    const STATEMENTS: &[Statement] = &[statement(0, 1.0); 7];
    Stream { client: 1, statements: STATEMENTS, arrivals }
}

/// The same of seven kinds, each of which takes something else.
const fn mixed_pages(arrivals: &'static [Arrivals]) -> Stream {
    const STATEMENTS: &[Statement] = &[
        statement(1, 0.2),
        statement(2, 1.0),
        statement(3, 0.4),
        statement(4, 2.5),
        statement(5, 0.2),
        statement(6, 1.5),
        statement(7, 1.2),
    ];
    Stream { client: 1, statements: STATEMENTS, arrivals }
}

/// Small pages, the first statement of which scrapers have as well.
const fn clicks(arrivals: &'static [Arrivals]) -> Stream {
    const STATEMENTS: &[Statement] = &[
        statement(1, 0.02),
        statement(2, 0.1),
        statement(3, 0.2),
        statement(4, 0.1),
        statement(5, 0.1),
        statement(6, 0.1),
    ];
    Stream { client: 1, statements: STATEMENTS, arrivals }
}

/// Visits of one long transaction each, with one short statement before it.
const fn scrapes(arrivals: &'static [Arrivals]) -> Stream {
    const STATEMENTS: &[Statement] = &[statement(1, 0.02), statement(8, 5.0)];
    Stream { client: 1, statements: STATEMENTS, arrivals }
}

const fn scenario(name: &'static str, streams: &'static [Stream]) -> Scenario {
    let service = Duration::from_millis(10);
    Scenario { name, slots: 10, service, streams, slow: None, length: 60 }
}

/// From 10 s to 40 s more than can be done.
pub(crate) const OVER: (usize, usize) = (10, 40);

/// Overload of one client in the middle, 70 % before and after.
pub(crate) const STEPS: &[Scenario] = &[
    scenario("1x", &[one(&[Rate(0, 700.0), Rate(10, 1000.0), Rate(40, 700.0)])]),
    scenario("1.2x", &[one(&[Rate(0, 700.0), Rate(10, 1200.0), Rate(40, 700.0)])]),
    scenario("2x", &[one(&[Rate(0, 700.0), Rate(10, 2000.0), Rate(40, 700.0)])]),
    scenario("5x", &[one(&[Rate(0, 700.0), Rate(10, 5000.0), Rate(40, 700.0)])]),
    scenario("pages, 1x", &[pages(&[Rate(0, 100.0), Rate(10, 142.9), Rate(40, 100.0)])]),
    scenario("pages, 2x", &[pages(&[Rate(0, 100.0), Rate(10, 285.7), Rate(40, 100.0)])]),
    scenario("pages, 5x", &[pages(&[Rate(0, 100.0), Rate(10, 714.3), Rate(40, 100.0)])]),
    scenario(
        "mixed pages, 2x",
        &[mixed_pages(&[Rate(0, 100.0), Rate(10, 285.7), Rate(40, 100.0)])],
    ),
    scenario(
        "mixed pages, 5x",
        &[mixed_pages(&[Rate(0, 100.0), Rate(10, 714.3), Rate(40, 100.0)])],
    ),
    scenario(
        "ramp to 3x",
        &[one(&[
            Rate(0, 700.0),
            Rate(10, 1000.0),
            Rate(15, 1400.0),
            Rate(20, 1800.0),
            Rate(25, 2200.0),
            Rate(30, 2600.0),
            Rate(35, 3000.0),
            Rate(40, 700.0),
        ])],
    ),
];

/// What drains within `queue_timeout`, or is done by those who wait for their answers: nobody may
/// be refused.
pub(crate) const BURSTS: &[Scenario] = &[
    scenario("4000 at once", &[one(&[Rate(0, 100.0), Burst(10, 4000)])]),
    scenario("4000 at once, out of nothing", &[one(&[Burst(10, 4000)])]),
    scenario(
        "2000 at once, each 5 s",
        &[one(&[
            Rate(0, 300.0),
            Burst(10, 2000),
            Burst(15, 2000),
            Burst(20, 2000),
            Burst(25, 2000),
            Burst(30, 2000),
            Burst(35, 2000),
        ])],
    ),
    scenario("2x for 2 s", &[one(&[Rate(0, 500.0), Rate(10, 2000.0), Rate(12, 500.0)])]),
    Scenario {
        slow: Some((10, 12, f64::INFINITY)),
        ..scenario("stalls for 2 s", &[one(&[Rate(0, 700.0)])])
    },
    scenario("2000 that wait for answers", &[one(&[Closed(10, 40, 2000)])]),
    scenario("500 pages, again and again", &[pages(&[Closed(10, 40, 500)])]),
];

/// Others beside it.
pub(crate) const HOGS: &[Scenario] = &[
    scenario(
        "5x of one client, 0.4x of another",
        &[
            Stream {
                client: 1,
                statements: ONE,
                arrivals: &[Rate(0, 10.0), Rate(10, 5000.0), Rate(40, 10.0)],
            },
            Stream { client: 2, statements: ONE, arrivals: &[Rate(0, 400.0)] },
        ],
    ),
    scenario(
        "1500 waiting of one client, 0.2x of another",
        &[
            Stream { client: 1, statements: ONE, arrivals: &[Closed(10, 40, 1500)] },
            Stream { client: 2, statements: ONE, arrivals: &[Rate(0, 200.0)] },
        ],
    ),
    scenario(
        "40 loops, 0.5x in pages of the same client",
        &[one(&[Closed(10, 40, 40)]), pages(&[Rate(0, 71.0)])],
    ),
    scenario(
        "65 scrapers, 0.06x in clicks of the same client",
        &[scrapes(&[Closed(10, 40, 65)]), clicks(&[Rate(0, 100.0)])],
    ),
    Scenario {
        slow: Some((10, 40, 4.0)),
        ..scenario("four times as slow for 30 s, 0.7x", &[one(&[Rate(0, 700.0)])])
    },
];
