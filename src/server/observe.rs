//! Where layers meet that know nothing of each other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::client::Context;
use crate::metrics::Metrics;
use crate::pool::Killer;
use crate::route::freshness::Position;
use crate::route::view::{BackendId, Rotation};
use crate::topology::{Observer, Topology};

/// Writes what probes find into the metrics.
#[derive(Debug)]
pub(super) struct MetricsObserver(pub(super) Arc<Metrics>);

impl Observer for MetricsObserver {
    fn backend_up(&self, backend: BackendId, up: bool) {
        self.0.backend(backend).up.set(i64::from(up));
        if backend == 0 {
            self.0.backend(backend).in_rotation.set(i64::from(up));
        }
    }

    fn replica(
        &self,
        backend: BackendId,
        rotation: Rotation,
        lag: Option<Duration>,
        applied: &Position,
    ) {
        let metrics = self.0.backend(backend);
        metrics.in_rotation.set(i64::from(rotation == Rotation::In));
        metrics.replication_lag_seconds.set(lag.map_or(f64::NAN, |lag| lag.as_secs_f64()));
        metrics.watermark.set(i64::try_from(applied.sequence_sum()).unwrap_or(i64::MAX));
    }
}

/// Time between looks at what holds slots for long.
const STEER_EVERY: Duration = Duration::from_millis(100);
/// Looks a second.
const STEERS_A_SECOND: u32 = 10;

/// Lets lanes follow what happens.
pub(super) async fn steer_lanes(context: Arc<Context>) {
    let mut every = interval(STEER_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for turn in 0_u32.. {
        every.tick().await;
        context.pools.iter().for_each(|pool| pool.steer());
        if turn % STEERS_A_SECOND == 0 && context.policy.get().batch_lane.is_some() {
            context.evidence.tick();
            let sessions = &context.metrics.sessions;
            sessions.features.set(i64::try_from(context.evidence.len()).unwrap_or(i64::MAX));
            sessions.heavy_from_seconds.set(f64::from(context.evidence.heavy_from()));
        }
    }
}

/// Ends connections by the control connection of their backend.
#[derive(Debug)]
pub(super) struct ControlKiller(pub(super) Arc<Topology>);

impl Killer for ControlKiller {
    fn kill(
        &self,
        backend: BackendId,
        thread_id: u64,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.0.kill(backend, thread_id, false))
    }
}
