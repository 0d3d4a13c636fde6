//! Connections that a KILL is on its way to. It names the server's thread, not the session: were the
//! connection given to another session meanwhile, the KILL would meet that one.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Who is aimed at, at one backend.
#[derive(Debug, Default)]
pub(super) struct Aims {
    /// Length of `threads`: nearly always none, which costs a release one load.
    count: AtomicUsize,
    threads: Mutex<Vec<u64>>,
}

/// A KILL on its way; over when it is dropped.
#[derive(Debug)]
pub struct Aim<'a> {
    aims: &'a Aims,
    thread_id: u64,
}

impl Aim<'_> {
    /// The server has ended the connection, or did not say that it has carried the KILL out and may do
    /// so at any time: nobody else ever gets the connection.
    pub fn stay(self) {
        std::mem::forget(self);
    }
}

impl Aims {
    /// A KILL for `thread_id` is about to be sent. Whoever aims has to look once more whether the
    /// connection is still that of the session meant: from then on it is not given to another.
    pub(super) fn at(&self, thread_id: u64) -> Aim<'_> {
        let mut threads = self.threads.lock();
        threads.push(thread_id);
        self.count.store(threads.len(), Ordering::SeqCst);
        Aim { aims: self, thread_id }
    }

    /// A connection is gone, and with it all that was aimed at it.
    pub(super) fn forget(&self, thread_id: u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut threads = self.threads.lock();
        threads.retain(|aimed_at| *aimed_at != thread_id);
        self.count.store(threads.len(), Ordering::SeqCst);
    }

    /// Whether a connection that its session has left must not be used again.
    pub(super) fn has(&self, thread_id: u64) -> bool {
        self.count.load(Ordering::SeqCst) > 0 && self.threads.lock().contains(&thread_id)
    }
}

impl Drop for Aim<'_> {
    fn drop(&mut self) {
        let mut threads = self.aims.threads.lock();
        if let Some(at) = threads.iter().position(|thread_id| *thread_id == self.thread_id) {
            threads.swap_remove(at);
        }
        self.aims.count.store(threads.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::Aims;

    #[test]
    fn a_connection_is_spared_for_as_long_as_anybody_aims_at_it() {
        let aims = Aims::default();
        assert!(!aims.has(7));
        let (first, second, other) = (aims.at(7), aims.at(7), aims.at(8));
        drop(first);
        assert!(aims.has(7) && aims.has(8) && !aims.has(9));
        drop(second);
        assert!(!aims.has(7) && aims.has(8));
        drop(other);
        assert!(!aims.has(8));
        aims.at(9).stay();
        assert!(aims.has(9));
        aims.forget(9);
        assert!(!aims.has(9));
    }
}
