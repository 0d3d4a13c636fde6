//! Which sessions share what they have written: `routing.consistency_scope`.
//!
//! A session gets its [`SharedToken`] once, at its login, so that no statement looks anything up.
//!
//! Forgetting is safe: a user nobody is logged in as may be forgotten, and what it has written
//! then counts for every user who is not known yet, itself among them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::token::{SharedToken, Token};
use crate::config::settings::Scope;

/// Most users remembered, besides those that are logged in.
pub const USERS_MAX: usize = 10_000;

/// What was written, by scope.
#[derive(Debug)]
pub struct Scopes {
    scope: Scope,
    /// Of all sessions, in the global scope.
    global: Arc<SharedToken>,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    known: HashMap<Box<str>, Arc<SharedToken>>,
    /// What forgotten users have written.
    forgotten: Token,
    forgotten_total: u64,
}

impl Scopes {
    /// Nothing is written yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, global: Arc::default(), users: Mutex::default() }
    }

    /// What a new session of `user` has to see, and adds to.
    ///
    /// The user is the name alone: an account's host does not separate what an application reads
    /// from what it writes, and neither does a schema.
    pub fn join(&self, user: &str) -> Arc<SharedToken> {
        match self.scope {
            Scope::Session => Arc::default(),
            Scope::User => self.users.lock().join(user),
            Scope::Global => joined(&self.global),
        }
    }

    /// The same for a session that becomes one of `user`, and must go on seeing what it has seen
    /// as another one.
    pub fn change(&self, written: &Arc<SharedToken>, user: &str) -> Arc<SharedToken> {
        let joined = match self.scope {
            Scope::Session | Scope::Global => Arc::clone(written),
            Scope::User => self.users.lock().join(user),
        };
        if !Arc::ptr_eq(&joined, written) {
            let mut before = written.lock().clone();
            // That is this session's own affair.
            before.forget_unlogged();
            joined.lock().merge(&before);
        }
        joined
    }

    /// Whether sessions see what others have written.
    pub fn is_shared(&self) -> bool {
        self.scope != Scope::Session
    }

    /// Users that were forgotten so far, to remember others.
    pub fn forgotten_total(&self) -> u64 {
        self.users.lock().forgotten_total
    }
}

impl Users {
    fn join(&mut self, user: &str) -> Arc<SharedToken> {
        if let Some(known) = self.known.get(user) {
            return joined(known);
        }
        if self.known.len() >= USERS_MAX {
            self.forget();
        }
        let written = Arc::new(SharedToken::new(self.forgotten.clone()));
        self.known.insert(user.into(), Arc::clone(&written));
        written
    }

    /// Forgets all users without a session. Nobody can join one meanwhile: that takes the lock.
    fn forget(&mut self) {
        let before = self.known.len();
        let forgotten = &mut self.forgotten;
        self.known.retain(|_, written| {
            let stays = Arc::strong_count(written) > 1;
            if !stays {
                let mut written = written.lock();
                written.forget_unlogged();
                forgotten.merge(&written);
            }
            stays
        });
        self.forgotten_total += (before - self.known.len()) as u64;
    }
}

/// For a further session of a scope. The first one after all others have ended is not kept from replicas for
/// what those have left out of the binary log, which nothing would ever end.
fn joined(written: &Arc<SharedToken>) -> Arc<SharedToken> {
    if Arc::strong_count(written) == 1 {
        written.lock().forget_unlogged();
    }
    Arc::clone(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::freshness::Position;
    use crate::route::token::Stamp;

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    fn write(written: &SharedToken, text: &str) {
        written.lock().add(&position(text), Stamp { session: 1, readings: 0 });
    }

    fn needs(written: &SharedToken, text: &str) -> bool {
        !written.lock().is_covered_by(&position(text))
    }

    #[test]
    fn a_write_counts_for_the_sessions_of_its_scope() {
        for (scope, same_user, other_user) in [
            (Scope::Session, false, false),
            (Scope::User, true, false),
            (Scope::Global, true, true),
        ] {
            let scopes = Scopes::new(scope);
            let before = scopes.join("app");
            let writer = scopes.join("app");
            write(&writer, "0-1-9");
            assert!(needs(&writer, "0-1-8"), "{scope:?}");
            assert_eq!(needs(&before, "0-1-8"), same_user, "{scope:?}");
            drop((before, writer));
            assert_eq!(needs(&scopes.join("app"), "0-1-8"), same_user, "{scope:?}");
            assert_eq!(needs(&scopes.join("other"), "0-1-8"), other_user, "{scope:?}");
        }
    }

    #[test]
    fn a_forgotten_users_write_counts_for_everybody_new_and_a_live_user_is_kept() {
        let scopes = Scopes::new(Scope::User);
        let live = scopes.join("live");
        write(&live, "0-1-3");
        write(&scopes.join("writer"), "0-1-9");
        let early = scopes.join("early");
        for number in 0..USERS_MAX {
            drop(scopes.join(&format!("user{number}")));
        }
        assert!(scopes.forgotten_total() > 0);
        assert!(scopes.users.lock().known.len() <= USERS_MAX);
        assert!(needs(&scopes.join("writer"), "0-1-8"), "itself");
        assert!(needs(&scopes.join("new"), "0-1-8"), "and everybody new");
        assert!(!needs(&early, "0-1-0"), "but not who was there");
        // Still one and the same.
        write(&live, "0-1-20");
        assert!(needs(&scopes.join("live"), "0-1-19"));
    }

    #[test]
    fn what_is_in_no_binary_log_counts_while_its_scope_has_sessions() {
        for scope in [Scope::Session, Scope::User, Scope::Global] {
            let scopes = Scopes::new(scope);
            let (one, other) = (scopes.join("app"), scopes.join("app"));
            one.lock().add_unlogged(1);
            assert_eq!(other.lock().is_unlogged(), scope != Scope::Session, "{scope:?}");
            drop(one);
            let next = scopes.join("app");
            assert_eq!(next.lock().is_unlogged(), scope != Scope::Session, "{scope:?}");
            drop((other, next));
            assert!(!scopes.join("app").lock().is_unlogged(), "{scope:?}");
        }
    }

    #[test]
    fn a_session_that_changes_its_user_goes_on_seeing_its_writes() {
        for scope in [Scope::Session, Scope::User, Scope::Global] {
            let scopes = Scopes::new(scope);
            let written = scopes.join("app");
            write(&written, "0-1-9");
            assert!(needs(&scopes.change(&written, "other"), "0-1-8"), "{scope:?}");
        }
    }
}
