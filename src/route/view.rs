//! What routing needs to know of the servers; `topology` fills it in and publishes it.

use std::time::{Duration, Instant};

use super::freshness::Position;

/// Index of a backend in `config::Settings::backends`; 0 is always the primary.
pub type BackendId = usize;

/// Snapshot of all servers, replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The last probe of the primary succeeded.
    pub primary_up: bool,
    /// All configured replicas.
    pub replicas: Vec<ReplicaView>,
}

impl View {
    /// A replica.
    pub fn replica(&self, backend: BackendId) -> Option<&ReplicaView> {
        self.replicas.iter().find(|replica| replica.backend == backend)
    }
}

/// One replica as last probed.
#[derive(Debug, Clone)]
pub struct ReplicaView {
    /// Which backend it is.
    pub backend: BackendId,
    /// Whether reads may go there.
    pub rotation: Rotation,
    /// Replication delay as the replica says, when it knows.
    pub lag: Option<Duration>,
    /// Applied transactions (`gtid_slave_pos`, MySQL's `gtid_executed`).
    pub applied: Position,
    /// The generation of the last connections to the server that has told this, see
    /// [`super::whereabouts`].
    pub generation: u16,
    /// Since when it says nothing at all, if it does: it is frozen, or out of reach.
    pub silent: Option<Instant>,
}

/// Whether reads may go to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Reads may go there.
    In,
    /// The probe fails.
    Down,
    /// Replication is stopped or broken.
    Broken,
    /// It lags more than `max_lag`.
    Lagging,
    /// Good again, but not for enough probes yet.
    Recovering,
    /// It replicates from nobody.
    NotAReplica,
    /// It is not read-only: what runs there by mistake would write.
    Writable,
    /// It is set up otherwise than the primary in what results hang on, or has transactions that the primary has
    /// not.
    Differs,
}
