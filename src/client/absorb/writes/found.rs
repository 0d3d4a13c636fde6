//! What a session has found on the primary that others have committed, in whatever scope.
//!
//! A change of rows that finds nothing to do, and a read that locks rows, tell their client what is there now. No
//! position comes with that, so the session alone goes on seeing it by a reading of the primary's that begins later.
//! That is asked for once the session would read on a replica: what finds nothing all day long costs no reading.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::route::token::{Reading, Stamp, Token};
use crate::route::view::{Rotation, View};

/// What a session has found, as if it had written that itself.
#[derive(Debug, Default)]
pub(super) struct Found {
    is_any: AtomicBool,
    token: Mutex<Token>,
}

/// What replicas must have before a session reads there.
#[derive(Debug)]
pub(in crate::client) enum Needs<'a> {
    /// What its scope has written.
    Scope(MutexGuard<'a, Token>),
    /// That, and what it has found itself.
    Session(Box<Token>),
}

impl Deref for Needs<'_> {
    type Target = Token;

    fn deref(&self) -> &Token {
        match self {
            Self::Scope(token) => token,
            Self::Session(token) => token,
        }
    }
}

impl Found {
    /// Whether it has found anything that the scope need not have.
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// A statement has found something, and ended at `stamp`.
    pub(super) fn note(&self, stamp: Stamp) {
        self.token.lock().add_unknown(stamp);
        self.is_any.store(true, Ordering::Release);
    }

    /// The token of the scope has a position by now that is behind all of that, but for what a reading has told.
    pub(super) fn note_placed(&self) {
        if self.is_any() {
            self.token.lock().forget_unknown();
        }
    }

    /// The same for the session as another user.
    pub(super) fn change(&self) -> Self {
        let is_any = AtomicBool::new(self.is_any());
        Self { is_any, token: Mutex::new(self.token.lock().clone()) }
    }

    /// Uses what a reading tells. Whether it told anything, and whether another one is needed.
    pub(super) fn settle(&self, reading: &Reading) -> (bool, bool) {
        if !self.is_any() {
            return (false, false);
        }
        let mut token = self.token.lock();
        // Once it counts for the scope, an older reading must not tell that it is lost.
        let is_settled = token.settle(reading) && token.raise(reading);
        (is_settled, token.is_unknown())
    }

    /// What replicas must have, by this and by what the `scope` has written. What all of them have is the scope's from
    /// then on: it keeps nobody from any of them.
    pub(super) fn add_to<'a>(&self, mut scope: MutexGuard<'a, Token>, view: &View) -> Needs<'a> {
        if !self.is_any() {
            return Needs::Scope(scope);
        }
        let mut found = self.token.lock();
        let mut replicas = view.replicas.iter().filter(|it| it.rotation == Rotation::In);
        if !found.is_unknown() && replicas.all(|replica| found.is_covered_by(&replica.applied)) {
            scope.merge(&std::mem::take(&mut *found));
            self.is_any.store(false, Ordering::Release);
            return Needs::Scope(scope);
        }
        let mut needed = Box::new(scope.clone());
        needed.merge(&found);
        Needs::Session(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::freshness::Position;
    use crate::route::token::SharedToken;
    use crate::route::view::{BackendId, ReplicaView};

    const STAMP: Stamp = Stamp { session: 1, readings: 2 };

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    fn reading(number: u64, text: &str) -> Reading {
        Reading { number, position: position(text), ..Reading::default() }
    }

    fn view(applied: &[(&str, Rotation)]) -> View {
        let replica = |(index, &(applied, rotation)): (usize, &(&str, Rotation))| ReplicaView {
            backend: BackendId::new(index + 1),
            rotation,
            lag: None,
            applied: position(applied),
            generation: 0,
            silent: None,
        };
        let replicas = applied.iter().enumerate().map(replica).collect();
        View { replicas, ..View::default() }
    }

    #[test]
    fn what_was_found_is_needed_by_the_session_alone_until_all_replicas_have_it() {
        let (found, scope) = (Found::default(), SharedToken::default());
        scope.lock().add(&position("0-1-5"), STAMP);
        let one_lags = view(&[("0-1-9", Rotation::In), ("0-1-5", Rotation::In)]);
        let covers = |view: &View, applied: &str| {
            found.add_to(scope.lock(), view).is_covered_by(&position(applied))
        };
        assert!(covers(&one_lags, "0-1-5"));
        found.note(STAMP);
        assert!(!covers(&one_lags, "0-1-9"));
        assert_eq!(found.settle(&reading(2, "0-1-9")), (false, true), "it had begun before");
        assert_eq!(found.settle(&reading(3, "0-1-7")), (true, false));
        assert!(!covers(&one_lags, "0-1-6") && covers(&one_lags, "0-1-7"));
        assert_eq!(found.change().settle(&reading(4, "0-1-9")), (false, false));
        assert!(!found.change().add_to(scope.lock(), &one_lags).is_covered_by(&position("0-1-6")));
        assert!(scope.lock().is_covered_by(&position("0-1-5")), "others need less");
        let one_is_out = view(&[("0-1-9", Rotation::In), ("0-1-5", Rotation::Lagging)]);
        assert!(covers(&one_is_out, "0-1-7"));
        // It may come in again.
        assert!(!covers(&one_lags, "0-1-6") && !scope.lock().is_covered_by(&position("0-1-6")));
        assert!(!found.is_any());
    }

    #[test]
    fn a_position_that_is_behind_all_needs_no_reading() {
        let (found, scope) = (Found::default(), SharedToken::default());
        let lags = view(&[("0-1-5", Rotation::In)]);
        found.note(STAMP);
        assert!(found.add_to(scope.lock(), &lags).is_unknown());
        scope.lock().add(&position("0-1-9"), STAMP);
        found.note_placed();
        assert_eq!(found.settle(&reading(2, "0-1-9")), (false, false));
        assert!(found.add_to(scope.lock(), &lags).is_covered_by(&position("0-1-9")));
        // What a reading has told of other domains stays.
        found.note(STAMP);
        assert_eq!(found.settle(&reading(3, "0-1-9,1-1-4")), (true, false));
        found.note_placed();
        assert!(!found.add_to(scope.lock(), &lags).is_covered_by(&position("0-1-9")));
    }

    #[test]
    fn what_the_primary_has_lost_is_not_waited_for() {
        let (found, scope) = (Found::default(), SharedToken::default());
        found.note(STAMP);
        found.settle(&reading(3, "0-1-9"));
        assert_eq!(found.settle(&reading(4, "0-1-2")), (true, false));
        let lags = view(&[("0-1-1", Rotation::In)]);
        assert!(found.add_to(scope.lock(), &lags).is_covered_by(&position("0-1-2")));
    }
}
