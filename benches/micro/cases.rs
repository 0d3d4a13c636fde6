//! The operations that are measured. Their input is made before, and their result is used.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use fairlane::config::settings::Consistency;
use fairlane::lanes::{Admission, Demand, Limits, Scheduler};
use fairlane::protocol::response::Response;
use fairlane::protocol::{Shape, packet};
use fairlane::route::freshness::Position;
use fairlane::route::token::{SharedToken, Stamp};
use fairlane::route::view::{BackendId, ReplicaView, Rotation, View};
use fairlane::route::{Isolation, SessionView, decide};
use fairlane::sql::{self, Mode, VerdictCache};
use fairlane::state::diff::diff;
use fairlane::state::{Base, Image};

/// An operation that can be repeated.
pub(crate) type Operation = Box<dyn FnMut()>;

/// One thing that is measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn() -> Operation,
    /// Bytes that one operation goes through, where throughput is the question.
    pub(crate) bytes: Option<usize>,
}

pub(crate) const CASES: &[Case] = &[
    Case { name: "classify-select-60", prepare: || classify(POINT_SELECT.to_owned()), bytes: None },
    Case { name: "classify-select-200", prepare: || classify(JOIN.to_owned()), bytes: None },
    Case {
        name: "classify-select-200-seen-before",
        prepare: || classify_again(JOIN.to_owned()),
        bytes: None,
    },
    Case { name: "classify-insert-1600", prepare: || classify(upsert()), bytes: None },
    Case { name: "digest-select-200", prepare: digest, bytes: None },
    Case { name: "scan-64-kib-of-100-byte-rows", prepare: scan, bytes: Some(CHUNK) },
    Case { name: "admit-and-release", prepare: admit, bytes: None },
    Case {
        name: "admit-and-release-with-1000-waiting",
        prepare: || admit_crowded(1000, 1),
        bytes: None,
    },
    Case {
        name: "admit-and-release-with-100000-waiting",
        prepare: || admit_crowded(100_000, 1),
        bytes: None,
    },
    Case {
        name: "admit-and-release-with-100000-waiting-of-1000-clients",
        prepare: || admit_crowded(100_000, 1000),
        bytes: None,
    },
    Case { name: "diff-of-equal-sessions", prepare: || compare(false), bytes: None },
    Case { name: "diff-of-two-variables", prepare: || compare(true), bytes: None },
    Case { name: "route-a-read-that-two-replicas-may-answer", prepare: route, bytes: None },
    Case { name: "note-a-write", prepare: note_write, bytes: None },
];

const POINT_SELECT: &str = "SELECT id, name, price FROM items WHERE outlet_id = 17 LIMIT 25";
const JOIN: &str = "SELECT o.id, o.total, c.name, COUNT(*) AS n FROM orders o \
    JOIN customers c ON c.id = o.customer_id WHERE o.outlet_id = 46 AND o.placed_at >= '2026-11-01' \
    AND c.city IN ('Pune', 'Goa') GROUP BY o.id ORDER BY n DESC LIMIT 10";
/// Row bytes of one scan.
const CHUNK: usize = 64 * 1024;

fn mode() -> Mode {
    Mode::new("STRICT_TRANS_TABLES", "utf8mb4", "10.11.14-MariaDB")
}

fn upsert() -> String {
    let mut sql =
        "INSERT INTO items (outlet_id, sku, name, price, stock, description) VALUES ".to_owned();
    for item in 0..20 {
        let separator = if item == 0 { "" } else { "," };
        // A String takes everything.
        let _ = write!(
            sql,
            "{separator}(46,'sku-{item}','Dish {item}',{item}.90,7,'with rice or bread')"
        );
    }
    sql.push_str(" ON DUPLICATE KEY UPDATE price=VALUES(price), stock=VALUES(stock)");
    sql
}

fn classify(sql: String) -> Operation {
    let mode = mode();
    Box::new(move || {
        black_box(sql::classify(black_box(sql.as_bytes()), mode));
    })
}

fn classify_again(sql: String) -> Operation {
    let mode = mode();
    let mut verdicts = VerdictCache::default();
    Box::new(move || {
        black_box(verdicts.classify(black_box(sql.as_bytes()), mode));
    })
}

fn digest() -> Operation {
    let mode = mode();
    Box::new(move || {
        black_box(sql::digest(black_box(JOIN.as_bytes()), mode));
    })
}

/// The rows of a result set in chunks, as they come from a server.
fn scan() -> Operation {
    let mut head = Vec::new();
    let sequence = packet::put(&mut head, 1, &[1]);
    packet::put(&mut head, sequence, b"\x03def\0\0\0\x01c\0\x0c\x21\0\0\0\0\0\xfd\0\0\0\0\0");
    let mut response = Response::new(Shape::Results, true);
    if response.advance(&mut head).is_err() {
        unreachable!("the head of the result set is legal");
    }
    let mut rows = Vec::with_capacity(CHUNK + 200);
    while rows.len() < CHUNK {
        packet::put(&mut rows, 0, &[b'x'; 100]);
    }
    Box::new(move || {
        black_box(response.advance(black_box(&mut rows)).is_ok());
    })
}

fn lanes() -> Scheduler<u64> {
    Scheduler::new(
        15,
        &[
            Limits { reserved: 4, max: 15, queue: 1_000_000 },
            Limits { reserved: 1, max: 7, queue: 10_000 },
        ],
    )
}

/// What a turn takes.
const SERVICE: Duration = Duration::from_micros(700);

fn demand(client: u64) -> Demand {
    Demand { lane: 0, client, kind: 0, crowd: 0, begun: None }
}

fn admit() -> Operation {
    let mut scheduler = lanes();
    Box::new(move || {
        if let Admission::Granted(turn) = scheduler.admit(demand(0), || 0) {
            scheduler.release(black_box(turn), SERVICE);
        }
    })
}

/// With `waiting` waiters of `clients`: one ends, the next is granted, another comes.
fn admit_crowded(waiting: u64, clients: u64) -> Operation {
    let mut scheduler = lanes();
    let (mut next, mut running) = (0, Vec::new());
    while scheduler.lane(0).waiting < usize::try_from(waiting).unwrap_or(usize::MAX) {
        next += 1;
        if let Admission::Granted(turn) = scheduler.admit(demand(next % clients), || next) {
            running.push(turn);
        }
    }
    Box::new(move || {
        next += 1;
        black_box(scheduler.admit(demand(next % clients), || next));
        if let Some(turn) = running.pop() {
            scheduler.release(turn, SERVICE);
        }
        if let Some((turn, waiter)) = scheduler.next_grant() {
            black_box(waiter);
            running.push(turn);
        }
    })
}

fn compare(differs: bool) -> Operation {
    let base = Base::default();
    let mut from = Image::default();
    from.set("sql_mode", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION");
    from.set("character_set_client", "utf8mb4");
    from.set("time_zone", "+05:30");
    let mut to = from.clone();
    if differs {
        to.set("time_zone", "UTC");
        to.set("sql_select_limit", "100");
    }
    Box::new(move || {
        black_box(diff(black_box(&from), black_box(&to), &base, None));
    })
}

fn position(number: u64) -> Position {
    Position::parse(&format!("0-1-{number}")).unwrap_or_default()
}

/// With a user who has written, and replicas that have it.
fn route() -> Operation {
    let verdict = sql::classify(POINT_SELECT.as_bytes(), mode());
    let replica = |backend| ReplicaView {
        backend,
        rotation: Rotation::In,
        lag: None,
        applied: position(46),
        generation: 0,
        silent: None,
    };
    let view = View {
        primary_up: true,
        is_primary_silent: false,
        replicas: vec![replica(BackendId::new(1)), replica(BackendId::new(2))],
    };
    let written = SharedToken::default();
    written.lock().add(&position(45), Stamp { session: 1, readings: 0 });
    Box::new(move || {
        let token = written.lock();
        let session = SessionView {
            autocommit: true,
            isolation: Isolation::Committed,
            id: 2,
            token: &token,
            is_unlogged: false,
            has_seen_more: false,
            last: None,
        };
        black_box(decide(&verdict, session, Consistency::Session, black_box(&view), |_| 0));
    })
}

fn note_write() -> Operation {
    let written = SharedToken::default();
    let (old, new) = (position(45), position(46));
    written.lock().add(&old, Stamp { session: 1, readings: 0 });
    Box::new(move || {
        written.lock().add(black_box(&new), Stamp { session: 1, readings: 7 });
    })
}
