//! One thread and one runtime a core: a session's task, its client's socket and the backend
//! connections it uses stay on one of them.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::net::worker::WorkerId;

/// How long a worker's background work may take to end with it.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// All worker threads. They end with [`Workers::stop`].
#[derive(Debug)]
pub(super) struct Workers {
    workers: Arc<[Worker]>,
    threads: Vec<JoinHandle<()>>,
    stopping: CancellationToken,
}

/// One worker as others see it.
#[derive(Debug)]
pub(super) struct Worker {
    handle: Handle,
    /// Sessions that live here.
    sessions: AtomicUsize,
}

/// A session's place on a worker; given up on drop.
#[derive(Debug)]
pub(super) struct Place {
    workers: Arc<[Worker]>,
    index: usize,
}

impl Workers {
    /// Starts `count` workers; none means one a core.
    ///
    /// # Errors
    /// When a runtime can't be built or a thread can't be started.
    pub(super) fn start(count: Option<usize>) -> anyhow::Result<Self> {
        let cores = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = count.unwrap_or_else(cores);
        let stopping = CancellationToken::new();
        let (mut workers, mut threads) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for index in 0..count {
            let (handle, thread) = start_one(index, stopping.clone())
                .with_context(|| format!("starting worker {index} of {count} (key workers)"))?;
            workers.push(Worker { handle, sessions: AtomicUsize::new(0) });
            threads.push(thread);
        }
        Ok(Self { workers: workers.into(), threads, stopping })
    }

    /// All of them, for those who hand out sessions.
    pub(super) fn all(&self) -> Arc<[Worker]> {
        self.workers.clone()
    }

    /// Ends the threads with what still runs on them.
    pub(super) fn stop(self) {
        self.stopping.cancel();
        for thread in self.threads {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn start_one(index: usize, stopping: CancellationToken) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        WorkerId::new(index).enter();
        runtime.block_on(stopping.cancelled());
        runtime.shutdown_timeout(STOP_WAIT);
    })?;
    Ok((handle, thread))
}

/// Runs `future` on a worker, counted or not.
pub(super) fn spawn_on<F>(workers: &[Worker], index: usize, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    workers[index].handle.spawn(future);
}

impl Place {
    /// A place on the worker with the fewest sessions, preferably on `here`.
    pub(super) fn take(workers: &Arc<[Worker]>, here: usize) -> Self {
        let sessions = |index: &usize| workers[*index].sessions.load(Ordering::Relaxed);
        let order = (0..workers.len()).map(|step| (here + step) % workers.len());
        let index = order.min_by_key(sessions).unwrap_or(here);
        workers[index].sessions.fetch_add(1, Ordering::Relaxed);
        Self { workers: workers.clone(), index }
    }

    /// Index of the worker.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The worker's runtime.
    pub(super) fn handle(&self) -> &Handle {
        &self.workers[self.index].handle
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.workers[self.index].sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_spread_evenly_and_stay_here_when_all_are_equal() {
        let workers = Workers::start(Some(3)).expect("workers");
        let all = workers.all();
        let mut places: Vec<Place> = (0..6).map(|_| Place::take(&all, 1)).collect();
        let order: Vec<usize> = places.iter().map(|place| place.index).collect();
        assert_eq!(order, [1, 2, 0, 1, 2, 0]);
        places.remove(2);
        assert_eq!(Place::take(&all, 1).index, 0, "the one with the fewest");
        drop(places);
        let (tell, told) = std::sync::mpsc::channel();
        spawn_on(&all, 2, async move {
            tell.send((WorkerId::current(), thread::current().name().map(str::to_owned)))
                .expect("the test listens");
        });
        let expected = (WorkerId::new(2), Some("worker-2".to_owned()));
        assert_eq!(told.recv().expect("it ran"), expected);
        workers.stop();
    }
}
