//! Worker threads: each has a runtime of its own, and a session lives on one from accept to end.
//!
//! A socket belongs to the event queue it is registered with. A backend connection is registered
//! with that of the worker which uses it, so that an answer wakes nobody but the thread that
//! relays it (docs/decisions/0001-runtime-per-core.md).

use std::cell::Cell;
use std::io;

use tokio::net::TcpStream;

thread_local! {
    static CURRENT: Cell<WorkerId> = const { Cell::new(WorkerId::NONE) };
}

/// A worker thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId(usize);

impl WorkerId {
    /// A thread that is no worker.
    const NONE: Self = Self(usize::MAX);

    /// The worker with this index.
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// The worker whose thread this is. All threads that are no workers count as one.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Makes this thread the worker's.
    pub fn enter(self) {
        CURRENT.set(self);
    }
}

/// Takes a socket from the event queue it is registered with to this thread's.
///
/// # Errors
/// When the kernel refuses the registration (out of memory, or of watches).
pub fn adopt(stream: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}
