//! A made-up Fairlane whose numbers move with time: clicks in waves, batch always wanting more,
//! a replica that lags now and then, and a client that tries to put markup into the page.

use crate::admin::snapshot::*;

pub(super) fn session(id: u64, user: &str, state: State, state_seconds: f64) -> Session {
    Session {
        id,
        user: user.to_owned(),
        client: format!("10.0.3.{}:{}", id % 250, 40_000 + id % 20_000),
        schema: "shop".to_owned(),
        program: String::new(),
        state,
        state_seconds,
        lane: "interactive".to_owned(),
        lane_chosen_by: "light",
        counts_for: String::new(),
        backend: String::new(),
        thread: None,
        is_orphan: false,
        pins: Vec::new(),
        statement: String::new(),
        waiting_for: String::new(),
    }
}

fn wave(now: f64, period: f64, height: f64) -> usize {
    (height * (1.0 + (now * std::f64::consts::TAU / period).sin()) / 2.0).round() as usize
}

fn lane(name: &str, in_use: usize, waiting: usize, limit: usize, granted: f64) -> Lane {
    Lane {
        name: name.to_owned(),
        in_use,
        waiting,
        limit,
        reserved: if name == "interactive" { 4 } else { 0 },
        admitted_total: granted as u64,
        rejected_total: if name == "batch" { (granted / 40.0) as u64 } else { 0 },
        oldest_wait_ms: (waiting > 0).then_some(180 * waiting as u64 + 37),
    }
}

fn backend(name: &str, role: Role, now: f64, lanes: Vec<Lane>) -> Backend {
    let in_use = lanes.iter().map(|lane| lane.in_use).sum::<usize>();
    let slots = if name == "replica2" { 120 } else { 15 };
    let idle = (slots - in_use).min(2);
    Backend {
        name: name.to_owned(),
        role,
        address: "db.internal:3306".to_owned(),
        up: true,
        in_rotation: true,
        rotation: String::new(),
        lag_seconds: (role == Role::Replica).then_some(0.2),
        watermark: format!("0-1-{}", 481_516 + (now * 90.0) as u64),
        slots,
        open: in_use + idle,
        idle,
        opening: usize::from(slots > in_use + idle),
        in_use,
        lanes,
    }
}

fn backends(now: f64) -> Vec<Backend> {
    let clicks = wave(now, 17.0, 6.0);
    let queue = wave(now, 45.0, 38.0);
    let primary = vec![
        lane("interactive", clicks, clicks / 5, 15, now * 212.0),
        lane("batch", 7, queue, 7, now * 31.0),
    ];
    let replica = vec![
        lane("interactive", wave(now, 11.0, 5.0), 0, 15, now * 640.0),
        lane("batch", wave(now, 29.0, 7.0), wave(now, 29.0, 7.0) / 7, 7, now * 55.0),
    ];
    let mut lagging = backend(
        "replica2",
        Role::Replica,
        now,
        vec![lane("interactive", 0, 0, 120, 900.0), lane("batch", 31, 0, 60, 70.0)],
    );
    lagging.in_rotation = false;
    lagging.rotation = "lags 14 s, more than max_lag (5 s)".to_owned();
    lagging.lag_seconds = Some(14.2);
    let mut down = backend(
        "replica3",
        Role::Replica,
        now,
        vec![lane("interactive", 0, 0, 15, 0.0), lane("batch", 0, 0, 7, 0.0)],
    );
    (down.up, down.in_rotation, down.lag_seconds) = (false, false, None);
    (down.open, down.idle, down.opening) = (0, 0, 0);
    down.rotation = "Connection refused (os error 111)".to_owned();
    let primary = backend("primary", Role::Primary, now, primary);
    vec![primary, backend("replica1", Role::Replica, now, replica), lagging, down]
}

fn sessions(now: f64) -> Sessions {
    let mut all = Vec::new();
    for id in 0..wave(now, 45.0, 38.0) as u64 {
        let mut waiter = session(1000 + id, "scraper", State::Waiting, 0.18 * (id + 1) as f64);
        waiter.lane = "batch".to_owned();
        waiter.backend = "primary".to_owned();
        waiter.program = "outlet-worker".to_owned();
        waiter.waiting_for = "a slot of primary: batch holds 7 of 7".to_owned();
        waiter.statement = "INSERT INTO items ( outlet_id , sku , price , stock ) VALUES ( ? , ? , ? , ? ) ON DUPLICATE KEY UPDATE price = VALUES ( price ) , stock = VALUES ( stock )".to_owned();
        all.push(waiter);
    }
    for id in 0..7 {
        let mut worker = session(2000 + id, "scraper", State::InTransaction, 0.4 + id as f64);
        worker.lane = "batch".to_owned();
        worker.backend = "primary".to_owned();
        worker.program = "outlet-worker".to_owned();
        worker.statement = "INSERT INTO items ( ... ) VALUES ( ... )".to_owned();
        if id == 3 {
            worker.pins = vec!["temporary_table", "user_lock"];
            worker.state = State::Pinned;
        }
        all.push(worker);
    }
    for id in 0..wave(now, 17.0, 6.0) as u64 {
        let mut click = session(3000 + id, "shop", State::Running, 0.004 * (id + 1) as f64);
        click.backend = if id % 2 == 0 { "replica1" } else { "primary" }.to_owned();
        click.program = "php-fpm".to_owned();
        click.statement =
            "SELECT sku , price , stock FROM items WHERE outlet_id = ? LIMIT ?".to_owned();
        all.push(click);
    }
    let mut hostile = session(3999, "<img src=x onerror=alert(1)>", State::Running, 0.1);
    hostile.program = "\"><script>document.title='owned'</script>".to_owned();
    hostile.statement = "SELECT '<b>bold</b><script>document.title=\"owned\"</script>'".to_owned();
    hostile.backend = "replica1".to_owned();
    all.push(hostile);
    all.extend((0..1400).map(|id| session(5000 + id, "shop", State::Idle, now - 0.1 * id as f64)));
    Sessions::pick(all)
}

/// For half of the time a click waits for a scraper's transaction and for another program.
fn lock_waits(now: f64) -> Vec<LockWait> {
    let side = |session: Option<u64>, lane: &str, doing: &str, statement: &str| LockSide {
        session,
        thread: 4711,
        user: session.map_or_else(String::new, |_| "shop".to_owned()),
        client: session.map_or_else(String::new, |_| "10.0.3.7:41870".to_owned()),
        lane: lane.to_owned(),
        doing: doing.to_owned(),
        statement: statement.to_owned(),
    };
    let update = "UPDATE items SET stock = stock + ? WHERE id = ?";
    let waiting = LockWait {
        kind: "row",
        seconds: now % 10.0,
        waiter: side(Some(81), "interactive", "runs", update),
        blockers: vec![
            side(Some(82), "batch", "idle for 740 ms", "INSERT INTO items VALUES (?) <b>"),
            side(None, "", "", ""),
        ],
    };
    if now % 10.0 < 5.0 { vec![waiting] } else { Vec::new() }
}

/// What it does `now` seconds after its start.
pub(super) fn snapshot(now: f64) -> Snapshot {
    let sessions = sessions(now);
    Snapshot {
        process: Process {
            version: "0.1.0".to_owned(),
            uptime_seconds: now,
            listen: vec!["0.0.0.0:3306".to_owned(), "[::]:3306".to_owned()],
        },
        totals: Totals {
            statements: (now * 1890.0 + 300.0 * (now / 7.0).sin()) as u64,
            admitted: (now * 930.0) as u64,
            rejected: (now * 0.8) as u64,
            sessions: (now * 42.0) as u64,
        },
        backends: backends(now),
        lock_waits: lock_waits(now),
        sessions,
    }
}
