//! What operators see of a moment.

use std::collections::HashMap;
use std::sync::Arc;

use super::locks;
use crate::admin::snapshot::{
    Backend, Lane, Process, Role, Session, Sessions, Snapshot, State, Totals, shorten,
};
use crate::client::Context;
use crate::client::registry::{Activity, Entry, Place};
use crate::pool::Pool;
use crate::route::view::{BackendId, Rotation, View};

/// Takes a snapshot of everything.
pub(super) fn take(context: &Context) -> Snapshot {
    let view = context.topology.view();
    let moved: HashMap<u32, usize> = context
        .pools
        .iter()
        .flat_map(|pool| pool.long_holders())
        .filter_map(|(session, lane)| Some((session, lane?)))
        .collect();
    Snapshot {
        process: Process {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: context.started.elapsed().as_secs_f64(),
            listen: context.settings.listen.iter().map(ToString::to_string).collect(),
        },
        totals: Totals::of(&context.metrics),
        backends: context.pools.iter().map(|pool| backend(context, &view, pool)).collect(),
        lock_waits: locks::shown(context),
        sessions: Sessions::pick(
            context
                .registry
                .all()
                .iter()
                .map(|entry| session(context, entry, &moved))
                .chain(context.registry.orphans().iter().map(|it| orphan(context, it, &moved))),
        ),
    }
}

fn backend(context: &Context, view: &View, pool: &Pool) -> Backend {
    let id = pool.backend();
    let settings = &context.settings.backends[id.index()];
    let replica = view.replicas.iter().find(|replica| replica.backend == id);
    let rotation = match replica.map(|replica| replica.rotation) {
        None if view.primary_up => "takes writes",
        None => "down",
        Some(Rotation::In) => "takes reads",
        Some(Rotation::Down) => "down",
        Some(Rotation::Broken) => "replication is stopped or broken",
        Some(Rotation::Lagging) => "lags too much",
        Some(Rotation::Recovering) => "good again, watched for a while",
        Some(Rotation::NotAReplica) => "follows nobody",
        Some(Rotation::Writable) => "is not read-only (SET GLOBAL read_only = ON)",
        Some(Rotation::Differs) => "is set up in another way than the primary",
    };
    let why = match replica {
        Some(replica) if replica.rotation != Rotation::In => context.topology.why(id),
        _ => String::new(),
    };
    let rotation = match why.is_empty() {
        true => rotation.to_owned(),
        false => format!("{rotation}: {why}"),
    };
    let metrics = context.metrics.backend(id.index());
    let (open, idle) = pool.connections_now();
    let lanes = pool.lanes_now();
    Backend {
        name: settings.name.clone(),
        role: if id.is_primary() { Role::Primary } else { Role::Replica },
        address: settings.address.to_string(),
        up: metrics.up.get() == 1,
        in_rotation: metrics.in_rotation.get() == 1,
        rotation,
        lag_seconds: replica.and_then(|replica| replica.lag).map(|lag| lag.as_secs_f64()),
        watermark: replica.map(|replica| replica.applied.to_string()).unwrap_or_default(),
        slots: pool.slots(),
        open,
        idle,
        opening: usize::try_from(metrics.opening.get()).unwrap_or(0),
        in_use: lanes.iter().map(|(in_use, ..)| in_use).sum(),
        lanes: lanes
            .iter()
            .enumerate()
            .map(|(index, now)| lane(context, id, index, *now))
            .collect(),
    }
}

fn lane(context: &Context, backend: BackendId, lane: usize, now: (usize, usize, u64)) -> Lane {
    let (in_use, waiting, oldest) = now;
    let metrics = context.metrics.lane(backend.index(), lane);
    Lane {
        name: context.policy.get().rules.lane_name(lane).to_owned(),
        in_use,
        waiting,
        limit: usize::try_from(metrics.limit.get()).unwrap_or(0),
        reserved: usize::try_from(metrics.reserved.get()).unwrap_or(0),
        admitted_total: metrics.admitted.get(),
        rejected_total: metrics.rejected(),
        oldest_wait_ms: (waiting > 0).then_some(oldest),
    }
}

/// `moved`: sessions whose slots count for another lane since they have been held for long.
fn session(context: &Context, entry: &Entry, moved: &HashMap<u32, usize>) -> Session {
    let now = entry.now();
    let labels = entry.labels.lock().clone();
    let state = match now.activity {
        Activity::Waiting => State::Waiting,
        Activity::Running => State::Running,
        Activity::Holding if now.pins.is_empty() => State::InTransaction,
        Activity::Holding => State::Pinned,
        Activity::Idle => State::Idle,
    };
    let policy = context.policy.get();
    let lane = policy.rules.lane_name(now.lane).to_owned();
    let counts_for = moved.get(&entry.id).map(|lane| policy.rules.lane_name(*lane).to_owned());
    let waiting_for = match state {
        State::Waiting if now.connection.is_some() => {
            format!("a connection of {} in lane {lane}", context.pool(now.asked).name())
        }
        State::Waiting => format!("a connection in lane {lane}"),
        _ => String::new(),
    };
    let backend = match now.connection {
        Some((backend, _)) => Some(backend),
        None => (state == State::Waiting).then_some(now.asked),
    };
    let backend = backend.map(|backend| context.pool(backend).name().to_owned());
    Session {
        id: u64::from(entry.id),
        user: labels.user,
        client: entry.client().to_string(),
        schema: labels.schema.unwrap_or_default(),
        program: labels.program,
        state,
        state_seconds: std::time::Duration::from_millis(now.for_ms).as_secs_f64(),
        lane,
        lane_chosen_by: now.chosen_by.label(),
        counts_for: counts_for.unwrap_or_default(),
        backend: backend.unwrap_or_default(),
        thread: now.connection.map(|(_, thread)| thread),
        is_orphan: false,
        pins: now.pins,
        statement: shorten(&entry.statement()),
        waiting_for,
    }
}

/// What goes on without its session.
fn orphan(
    context: &Context,
    (entry, place): &(Arc<Entry>, Option<Place>),
    moved: &HashMap<u32, usize>,
) -> Session {
    let backend = place.map(|place| context.pool(place.backend).name().to_owned());
    Session {
        backend: backend.unwrap_or_default(),
        thread: place.map(|place| place.thread_id),
        is_orphan: true,
        ..session(context, entry, moved)
    }
}
