//! KILL QUERY of a command that no server runs yet: its session ends it, and nothing that comes later.
//!
//! ```text
//! begins ──► waits for a slot, a replica, a lock's holder ──► sets out ──► runs on a server ──► is answered
//!            KILL QUERY: it never sets out                                 KILL QUERY: goes to the server
//! ```
//!
//! Once it is answered a KILL QUERY does nothing, as on a server: what runs on its connection then is Fairlane's own.
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
/// Its client has the answer.
const ANSWERED: u64 = 8;
const BITS: u64 = WAITS | STOPPED | OWED | ANSWERED;

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
        const BEFORE: u64 = WAITS | ANSWERED;
        if self.0.load(Ordering::Relaxed) & BEFORE == 0 {
            return false;
        }
        let before = self.0.fetch_and(!BEFORE, Ordering::AcqRel);
        before & WAITS != 0 && before & STOPPED != 0
    }

    /// Its client has the answer; there may be more of it, which sets out anew. In one order with the aims of the
    /// pool, as the place of a session is. Only for the session's own task.
    pub(super) fn answer(&self) {
        self.0.fetch_or(ANSWERED, Ordering::SeqCst);
    }

    /// Whether a command is answered, or was before the one that is under way.
    pub(super) fn is_over(&self, command: u64) -> bool {
        let word = self.0.load(Ordering::SeqCst);
        number(word) != command || word & ANSWERED != 0
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
        let is_under_way = |word: u64| number(word) == command && word & ANSWERED == 0;
        let is_it = |word: u64| is_under_way(word).then_some(word | bit);
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
    fn what_is_answered_is_not_killed_unless_there_is_more_of_it() {
        let interrupt = Interrupt::default();
        interrupt.begin();
        let command = interrupt.command();
        assert!(!interrupt.set_out() && !interrupt.is_over(command));
        interrupt.answer();
        assert!(interrupt.is_over(command) && interrupt.stop(command));
        interrupt.owe(command);
        assert!(!interrupt.is_stopped() && !interrupt.is_owed());
        assert!(!interrupt.set_out() && !interrupt.is_over(command) && !interrupt.stop(command));
        interrupt.begin();
        assert!(interrupt.is_over(command));
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
