//! Where layers meet that know nothing of each other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::client::Context;
use crate::client::registry::Activity;
use crate::lanes::{Policy, Slots};
use crate::metrics::Metrics;
use crate::pool::{Control, Pool, Proof, Standing};
use crate::route::freshness::Position;
use crate::route::view::{BackendId, Rotation};
use crate::route::whereabouts::Whereabouts;
use crate::topology::{Observer, Topology};

/// Writes what probes find into the metrics.
#[derive(Debug)]
pub(super) struct MetricsObserver(pub(super) Arc<Metrics>);

impl Observer for MetricsObserver {
    fn backend_up(&self, backend: BackendId, up: bool) {
        self.0.backend(backend.index()).up.set(i64::from(up));
        if backend.is_primary() {
            self.0.backend(backend.index()).in_rotation.set(i64::from(up));
        }
    }

    fn replica(
        &self,
        backend: BackendId,
        rotation: Rotation,
        lag: Option<Duration>,
        applied: &Position,
    ) {
        let metrics = self.0.backend(backend.index());
        metrics.in_rotation.set(i64::from(rotation == Rotation::In));
        metrics.replication_lag_seconds.set(lag.map_or(f64::NAN, |lag| lag.as_secs_f64()));
        metrics.watermark.set(sequence(applied));
    }
}

/// Brings the primary's position up to date: each write moves it.
pub(super) fn show_written(context: &Context) {
    context.metrics.backend(0).watermark.set(sequence(&context.topology.newest_position()));
}

fn sequence(position: &Position) -> i64 {
    i64::try_from(position.sequence_sum()).unwrap_or(i64::MAX)
}

/// Time between looks at what holds slots for long.
const STEER_EVERY: Duration = Duration::from_millis(100);
/// Looks a second.
const STEERS_A_SECOND: u32 = 10;

/// Wait from which a look at a queue finds it long.
const LONG_WAIT_MS: u64 = 20;

/// Looks at the primary's queues since they were told of that found somebody who had waited for long.
#[derive(Debug, Default)]
struct Looks {
    /// In the default lane.
    default: u32,
    batch: u32,
    /// Slots in use, and those of them that the default lane has, of all looks.
    in_use: usize,
    in_default: usize,
    /// Slots that the default lane could have, likewise.
    slots: usize,
}

/// Part of the slots that is most of them.
const MOST: f32 = 0.875;

impl Looks {
    fn look(&mut self, pool: &Pool, policy: &Policy, batch: usize) {
        let (lanes, default) = (pool.lanes_now(), policy.rules.default_lane());
        let is_long = |lane: usize| lanes.get(lane).is_some_and(|&(_, _, ms)| ms >= LONG_WAIT_MS);
        self.default += u32::from(is_long(default));
        self.batch += u32::from(is_long(batch));
        self.in_use += lanes.iter().map(|&(in_use, ..)| in_use).sum::<usize>();
        self.in_default += lanes.get(default).map_or(0, |&(in_use, ..)| in_use);
        self.slots += policy.default_slots(pool.slots());
    }

    /// What they have found, and seconds for which slots were used.
    fn take(&mut self) -> (Slots, f32) {
        let Self { default, batch, in_use, in_default, slots } = std::mem::take(self);
        let is_busy = slots > 0 && in_default as f32 >= MOST * slots as f32;
        let is_most = |looks: u32| 2 * looks > STEERS_A_SECOND;
        let slots = match (is_most(default), is_most(batch)) {
            (true, _) => Slots::Scarce,
            (false, batch_waits) if is_busy => Slots::Busy { batch_waits },
            (false, true) => Slots::BatchWaits,
            (false, false) => Slots::Enough,
        };
        (slots, in_use as f32 * STEER_EVERY.as_secs_f32())
    }
}

/// Lets lanes follow what happens.
pub(super) async fn steer_lanes(context: Arc<Context>) {
    let mut every = interval(STEER_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looks = Looks::default();
    for turn in 0_u32.. {
        every.tick().await;
        let now = context.started.elapsed();
        let is_idle = |session: u32| {
            context.registry.activity(session).is_some_and(|(activity, since)| {
                activity != Activity::Running && now.saturating_sub(since) >= STEER_EVERY
            })
        };
        let runs_for = |session: u32| {
            let activity = context.registry.activity(session);
            let running = activity.filter(|(activity, _)| *activity == Activity::Running);
            running.map_or(Duration::ZERO, |(_, since)| now.saturating_sub(since))
        };
        for pool in &context.pools {
            pool.steer(is_idle, runs_for);
            for (session, _) in pool.long_holders() {
                if let Some(entry) = context.registry.get(session.into()) {
                    entry.want_statement();
                }
            }
        }
        if context.topology.view().is_primary_silent {
            excuse_running(&context);
        }
        for replica in &context.topology.view().replicas {
            let pool = context.pool(replica.backend);
            if replica.rotation == Rotation::Down || pool.is_out_of_reach() {
                pool.dismiss_all();
            }
        }
        let policy = context.policy.get();
        if let Some(batch) = policy.batch_lane {
            looks.look(context.primary_pool(), &policy, batch);
        }
        if turn % STEERS_A_SECOND == 0 {
            // Without a batch lane nobody looks, and what was learned is forgotten.
            let (slots, used) = looks.take();
            context.evidence.tick(slots, used);
            let sessions = &context.metrics.sessions;
            sessions.features.set(i64::try_from(context.evidence.len()).unwrap_or(i64::MAX));
            sessions.heavy_from_seconds.set(f64::from(context.evidence.heavy_from()));
            sessions.bulk_is_heavy.set(i64::from(context.evidence.are_short_heavy()));
        }
    }
}

/// What runs on a primary that does nothing, as far as anybody can see, uses nothing.
fn excuse_running(context: &Context) {
    let holders = context.primary_pool().holders();
    for entry in holders.iter().filter_map(|&session| context.registry.get(session.into())) {
        if let (Activity::Running, since) = entry.activity() {
            entry.add_standstill(since, STEER_EVERY);
        }
    }
}

/// The control connections, for the pools.
#[derive(Debug)]
pub(super) struct Controls(pub(super) Arc<Topology>);

impl Control for Controls {
    fn kill(
        &self,
        backend: BackendId,
        thread_id: u64,
        generation: u16,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.0.kill(backend, thread_id, false, generation))
    }

    fn is_gone(
        &self,
        backend: BackendId,
        thread_id: u64,
        generation: u16,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.0.is_gone(backend, thread_id, generation))
    }

    fn whereabouts(&self, backend: BackendId) -> Arc<Whereabouts> {
        self.0.whereabouts(backend)
    }

    fn doubt(&self, backend: BackendId) {
        self.0.doubt(backend);
    }

    fn standing(&self, user: &str, proof: Proof) -> Standing {
        let accounts = self.0.accounts();
        let account = accounts.find(user, proof.client);
        account.map_or_else(Standing::default, |account| Standing {
            account: account.name_mark(),
            is_current: account.has(proof.mark),
            version: account.mark(),
            counts_failures: account.counts_failures,
        })
    }

    fn read_accounts(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.0.refresh())
    }
}
