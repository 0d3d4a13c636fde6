//! What routing needs to know of the servers; `topology` fills it in and publishes it.

use std::time::{Duration, Instant};

use super::freshness::Position;

/// A backend: its place in `config::Settings::backends`, where the primary is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendId(usize);

impl BackendId {
    /// The primary.
    pub const PRIMARY: Self = Self(0);

    /// The backend at a place in the settings.
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// Its place in the settings, and in whatever is kept of each backend.
    pub const fn index(self) -> usize {
        self.0
    }

    /// True for the primary.
    pub const fn is_primary(self) -> bool {
        self.0 == 0
    }
}

/// Snapshot of all servers, replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The last probe of the primary succeeded.
    pub primary_up: bool,
    /// The primary says nothing at all: it is frozen, or out of reach.
    pub is_primary_silent: bool,
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
    /// The probe fails, or it lets nobody in.
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
