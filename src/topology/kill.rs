//! `KILL` through a control connection: a bounded queue of jobs per backend.
//!
//! A job is carried out only while its caller waits and only on the run of the server it was queued for: a
//! late `KILL QUERY` would hit the next statement, and thread ids start again when a server restarts. So
//! jobs are refused when the control connection is lost or finds another one, and stay when it is only
//! opened anew.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::line::{Line, Trouble};
use crate::protocol::code;

/// Most jobs that wait for one backend; one more is refused at once.
const MAX_JOBS: usize = 128;

/// Longest wait of a caller.
const KILL_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct KillQueue {
    state: Mutex<State>,
}

enum State {
    /// To `Open` when the control connection is ready.
    Closed,
    /// To `Closed`, with all jobs refused, when it is lost.
    Open(VecDeque<Job>),
}

pub(super) struct Job {
    statement: String,
    done: oneshot::Sender<bool>,
}

impl KillQueue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State::Closed) }
    }

    /// Whether the server confirmed the kill in time.
    ///
    /// # Cancel safety
    /// Dropped half-way, the kill is carried out only if it was already sent.
    pub(super) async fn kill(&self, thread_id: u64, query_only: bool, wake: &Notify) -> bool {
        let what = if query_only { "QUERY " } else { "" };
        self.ask(format!("KILL {what}{thread_id}"), wake).await
    }

    /// Whether the server has told in time that it has no such connection any more.
    ///
    /// # Cancel safety
    /// Nothing changes.
    pub(super) async fn is_gone(&self, thread_id: u64, wake: &Notify) -> bool {
        let table = "information_schema.PROCESSLIST";
        self.ask(format!("SELECT 1 FROM {table} WHERE ID = {thread_id}"), wake).await
    }

    /// Whether `statement` was carried out in time, and has found nothing.
    async fn ask(&self, statement: String, wake: &Notify) -> bool {
        let (done, answer) = oneshot::channel();
        match &mut *self.state.lock() {
            State::Open(jobs) if jobs.len() < MAX_JOBS => jobs.push_back(Job { statement, done }),
            State::Open(_) | State::Closed => return false,
        }
        wake.notify_one();
        matches!(timeout(KILL_LIMIT, answer).await, Ok(Ok(true)))
    }

    /// The control connection is ready.
    pub(super) fn open(&self) {
        *self.state.lock() = State::Open(VecDeque::new());
    }

    /// The control connection is gone: whoever waits gets a no.
    pub(super) fn close(&self) {
        *self.state.lock() = State::Closed;
    }

    /// Carries out what is queued.
    pub(super) async fn work(&self, line: &mut Line) -> Result<(), Trouble> {
        while let Some(job) = self.next() {
            if job.done.is_closed() {
                continue;
            }
            let is_killed = match line.query(&job.statement).await {
                Ok(found) => found.is_empty(),
                // The connection or statement is gone already, which is what was wanted.
                Err(Trouble::Refused { code: code::NO_SUCH_THREAD, .. }) => true,
                Err(refused @ Trouble::Refused { .. }) => {
                    tracing::warn!(statement = job.statement, error = %refused, "refused");
                    false
                }
                Err(lost) => return Err(lost),
            };
            // The caller may have gone; then nobody needs to know.
            let _ = job.done.send(is_killed);
        }
        Ok(())
    }

    fn next(&self) -> Option<Job> {
        match &mut *self.state.lock() {
            State::Open(jobs) => jobs.pop_front(),
            State::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_a_connection_the_answer_is_no_at_once() {
        let before = tokio::time::Instant::now();
        assert!(!KillQueue::new().kill(7, true, &Notify::new()).await);
        assert!(before.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_nobody_waits_for_any_more_is_known_as_such() {
        let queue = KillQueue::new();
        queue.open();
        assert!(!queue.kill(7, true, &Notify::new()).await, "nobody carries it out");
        let job = queue.next().expect("still queued");
        assert_eq!(job.statement, "KILL QUERY 7");
        assert!(job.done.is_closed());
    }
}
