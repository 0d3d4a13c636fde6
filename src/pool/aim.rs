//! Connections that a KILL is on its way to. It names the server's thread, not the session: were the
//! connection given to another session meanwhile, the KILL would meet that one.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Who is aimed at, at one backend.
#[derive(Debug, Default)]
pub(super) struct Aims {
    /// Length of `targets`: nearly always none, which costs a release one load.
    count: AtomicUsize,
    targets: Mutex<Vec<Target>>,
}

/// A connection that is aimed at.
#[derive(Debug)]
struct Target {
    thread_id: u64,
    /// Nobody says when that is over.
    stays: bool,
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
        if let Some(target) = self.aims.targets.lock().iter_mut().find(|it| self.is(it)) {
            target.stays = true;
        }
        std::mem::forget(self);
    }

    fn is(&self, target: &Target) -> bool {
        target.thread_id == self.thread_id && !target.stays
    }
}

impl Aims {
    /// A KILL for `thread_id` is about to be sent. Whoever aims has to look once more whether the
    /// connection is still that of the session meant: from then on it is not given to another.
    pub(super) fn at(&self, thread_id: u64) -> Aim<'_> {
        let mut targets = self.targets.lock();
        targets.push(Target { thread_id, stays: false });
        self.count.store(targets.len(), Ordering::SeqCst);
        Aim { aims: self, thread_id }
    }

    /// A connection is gone, and with it all that was aimed at it.
    pub(super) fn forget(&self, thread_id: u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut targets = self.targets.lock();
        targets.retain(|target| target.thread_id != thread_id);
        self.count.store(targets.len(), Ordering::SeqCst);
    }

    /// Whether a connection that its session has left must not be used again.
    pub(super) fn has(&self, thread_id: u64) -> bool {
        self.has_such(|target| target.thread_id == thread_id)
    }

    /// Whether a KILL is on its way there, and whoever has sent it says when it is over.
    pub(super) fn has_under_way(&self, thread_id: u64) -> bool {
        self.has_such(|target| target.thread_id == thread_id && !target.stays)
    }

    fn has_such(&self, is_it: impl Fn(&Target) -> bool) -> bool {
        self.count.load(Ordering::SeqCst) > 0 && self.targets.lock().iter().any(is_it)
    }
}

impl Drop for Aim<'_> {
    fn drop(&mut self) {
        let mut targets = self.aims.targets.lock();
        if let Some(at) = targets.iter().position(|target| self.is(target)) {
            targets.swap_remove(at);
        }
        self.aims.count.store(targets.len(), Ordering::SeqCst);
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
        let under_way = aims.at(9);
        aims.at(9).stay();
        assert!(aims.has(9) && aims.has_under_way(9));
        drop(under_way);
        assert!(aims.has(9) && !aims.has_under_way(9));
        aims.forget(9);
        assert!(!aims.has(9));
    }
}
