//! KILL QUERY of a command that no server runs yet: its session ends it, and nothing that comes later.
//!
//! ```text
//! begins ──► waits for a slot, a replica, a lock's holder ──► sets out ──► runs on a server
//!            KILL QUERY: it never sets out                                 KILL QUERY: goes to the server
//! ```
//!
//! One word has the number of the session's command and what was said of it, so that each KILL QUERY finds a
//! command on one side of its setting out: it is not sent, or is killed where it is.

use std::sync::atomic::{AtomicU64, Ordering};

/// The command waits, or has waited, and has not set out.
const WAITS: u64 = 1;
/// It was told to end.
const STOPPED: u64 = 2;
/// Whoever has told it so has found it nowhere: its session has to have it killed where it runs.
const OWED: u64 = 4;
const BITS: u64 = WAITS | STOPPED | OWED;

/// What a session's command is told. Commands are numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Interrupt(AtomicU64);

impl Interrupt {
    /// The next command begins: whatever was said of the last one is over. Only for the session's own task.
    pub(super) fn begin(&self) {
        let last = self.0.load(Ordering::Relaxed);
        self.0.store((last | BITS).wrapping_add(1), Ordering::Relaxed);
    }

    /// The command that is under way, or was last.
    pub(super) fn command(&self) -> u64 {
        number(self.0.load(Ordering::Acquire))
    }

    /// It waits, and looks whether it is stopped, until it sets out. Only for the session's own task.
    pub(super) fn wait(&self) {
        self.0.fetch_or(WAITS, Ordering::AcqRel);
    }

    /// It goes to a server now, unless it was stopped while it waited: whether that is so. Only for the
    /// session's own task.
    pub(super) fn set_out(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WAITS != 0
            && self.0.fetch_and(!WAITS, Ordering::AcqRel) & STOPPED != 0
    }

    /// Stops a command; whether it ends by itself, or has ended.
    pub(super) fn stop(&self, command: u64) -> bool {
        self.add(STOPPED, command).is_none_or(|before| before & WAITS != 0)
    }

    /// A command that was stopped, and had not waited, was not to be found on any server.
    pub(super) fn owe(&self, command: u64) {
        self.add(OWED, command);
    }

    /// Whether the command under way was stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.has(STOPPED)
    }

    /// The same of one that waits.
    pub(super) fn is_stopped_waiting(&self) -> bool {
        self.has(STOPPED | WAITS)
    }

    /// Whether it is to be killed where it runs.
    pub(super) fn is_owed(&self) -> bool {
        self.has(OWED)
    }

    /// Somebody is told to kill it.
    pub(super) fn pay(&self) {
        self.0.fetch_and(!OWED, Ordering::AcqRel);
    }

    fn has(&self, bits: u64) -> bool {
        self.0.load(Ordering::Acquire) & bits == bits
    }

    /// What was there before, if `command` is under way.
    fn add(&self, bit: u64, command: u64) -> Option<u64> {
        let is_it = |word: u64| (number(word) == command).then_some(word | bit);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_it).ok()
    }
}

fn number(word: u64) -> u64 {
    word / (BITS + 1)
}

#[cfg(test)]
mod tests {
    use super::Interrupt;

    #[test]
    fn what_waits_does_not_set_out_once_it_is_stopped() {
        let interrupt = Interrupt::default();
        interrupt.begin();
        interrupt.wait();
        assert!(interrupt.stop(interrupt.command()), "it ends by itself");
        assert!(interrupt.is_stopped_waiting() && interrupt.set_out());
        assert!(interrupt.is_stopped() && !interrupt.is_stopped_waiting());
    }

    #[test]
    fn what_has_set_out_is_killed_where_it_is() {
        let interrupt = Interrupt::default();
        interrupt.begin();
        interrupt.wait();
        assert!(!interrupt.set_out());
        assert!(!interrupt.stop(interrupt.command()), "whoever stops it has to");
        assert!(interrupt.is_stopped(), "it is not repeated elsewhere");
        interrupt.owe(interrupt.command());
        assert!(interrupt.is_owed());
        interrupt.pay();
        assert!(!interrupt.is_owed() && interrupt.is_stopped());
    }

    #[test]
    fn nothing_that_is_said_of_a_command_counts_for_the_next() {
        let interrupt = Interrupt::default();
        for _ in 0..3 {
            let last = interrupt.command();
            interrupt.stop(last);
            interrupt.owe(last);
            interrupt.begin();
            assert_eq!(interrupt.command(), last + 1);
            assert!(!interrupt.is_stopped() && !interrupt.is_owed() && !interrupt.set_out());
            interrupt.wait();
            assert!(interrupt.stop(last), "it is over");
            interrupt.owe(last);
            assert!(!interrupt.is_stopped() && !interrupt.is_owed());
        }
    }
}
