//! Whom a replica lets in no more, while it is well otherwise: it is full, or has not the account as the
//! primary has it. Each try would keep a read waiting, and others who open connections, for nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::reach::PAUSE;
use crate::backend::ConnectionKey;

/// Whom it has refused; `None` is everybody.
type Whom = Option<Arc<ConnectionKey>>;

/// Most refusals that are known at a time.
const KNOWN_MAX: usize = 1024;
/// As many are looked through at each question.
const FEW: usize = 8;

/// The refusals of one server.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Length of `known`: nearly always none, which costs a statement one load.
    count: AtomicUsize,
    known: Mutex<HashMap<Whom, Refusal>>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    pause: Duration,
    /// When it may be tried again.
    until: Instant,
    /// It is being tried.
    is_tried: bool,
}

impl Refusals {
    /// Somebody was refused.
    pub(super) fn note(&self, whom: Whom, now: Instant) {
        let mut known = self.known.lock();
        let before = known.get(&whom).copied();
        let pause = match before {
            // It began before the pause did.
            Some(before) if !before.is_tried && now < before.until => return,
            Some(before) => (before.pause * 2).min(PAUSE.1),
            None => PAUSE.0,
        };
        known.retain(|_, refusal| now < refusal.until + PAUSE.1);
        if before.is_none() && known.len() >= KNOWN_MAX {
            let first = known.iter().min_by_key(|(_, refusal)| refusal.until);
            if let Some(first) = first.map(|(whom, _)| whom.clone()) {
                known.remove(&first);
            }
        }
        known.insert(whom, Refusal { pause, until: now + pause, is_tried: false });
        self.count.store(known.len(), Ordering::Release);
    }

    /// `key` was let in.
    pub(super) fn forget(&self, key: &Arc<ConnectionKey>) {
        if self.are_none() {
            return;
        }
        let mut known = self.known.lock();
        known.remove(&None);
        known.remove(&Some(key.clone()));
        self.count.store(known.len(), Ordering::Release);
    }

    /// Whether `key` is known to be refused, and no try is due. What is long over is forgotten.
    pub(super) fn has(&self, key: &Arc<ConnectionKey>, now: Instant) -> bool {
        if self.are_none() {
            return false;
        }
        let mut known = self.known.lock();
        if known.len() <= FEW {
            // Who never comes back would be looked for at each read for good.
            known.retain(|_, refusal| now < refusal.until + PAUSE.1);
            self.count.store(known.len(), Ordering::Release);
        }
        let is_refused = |whom| known.get(&whom).is_some_and(|refusal| now < refusal.until);
        is_refused(None) || is_refused(Some(key.clone()))
    }

    /// Whether a connection may be opened for `key`: by one in each pause while it is refused.
    pub(super) fn may_try(&self, key: &Arc<ConnectionKey>, now: Instant) -> bool {
        if self.has(key, now) {
            return false;
        }
        if !self.are_none() {
            let mut known = self.known.lock();
            for whom in [None, Some(key.clone())] {
                if let Some(refusal) = known.get_mut(&whom) {
                    (refusal.until, refusal.is_tried) = (now + PAUSE.0, true);
                }
            }
        }
        true
    }

    fn are_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> Arc<ConnectionKey> {
        Arc::new(ConnectionKey::of_user(user))
    }

    #[test]
    fn who_is_refused_tries_once_in_each_pause_and_the_pauses_grow() {
        let (refusals, own, other) = (Refusals::default(), key("own"), key("other"));
        let start = Instant::now();
        assert!(refusals.may_try(&own, start) && !refusals.has(&own, start));
        refusals.note(Some(own.clone()), start);
        // That began before.
        refusals.note(Some(own.clone()), start);
        assert!(!refusals.may_try(&own, start) && refusals.may_try(&other, start));
        let mut now = start;
        for pause in [PAUSE.0, PAUSE.0 * 2, PAUSE.0 * 4, PAUSE.0 * 8, PAUSE.1, PAUSE.1] {
            assert!(refusals.has(&own, now + pause / 2));
            now += pause;
            assert!(refusals.may_try(&own, now) && !refusals.may_try(&own, now));
            refusals.note(Some(own.clone()), now);
        }
        refusals.forget(&own);
        assert!(refusals.may_try(&own, now) && refusals.may_try(&own, now));
        assert!(refusals.are_none());
    }

    #[test]
    fn who_never_comes_back_is_forgotten() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        refusals.note(Some(key("gone")), now);
        assert!(!refusals.has(&key("other"), now + PAUSE.0) && !refusals.are_none());
        assert!(!refusals.has(&key("other"), now + PAUSE.0 + PAUSE.1) && refusals.are_none());
    }

    #[test]
    fn a_server_that_is_full_refuses_everybody() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        refusals.note(None, now);
        assert!(refusals.has(&key("a"), now) && !refusals.may_try(&key("b"), now));
        refusals.forget(&key("c"));
        assert!(!refusals.has(&key("a"), now) && refusals.are_none());
    }

    #[test]
    fn only_so_many_refusals_are_known() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for user in 0..u32::try_from(KNOWN_MAX).expect("few") + 5 {
            refusals.note(Some(key(&user.to_string())), now + Duration::from_millis(user.into()));
        }
        assert_eq!(refusals.known.lock().len(), KNOWN_MAX);
        assert!(!refusals.has(&key("4"), now) && refusals.has(&key("5"), now));
    }
}
