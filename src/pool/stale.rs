//! Passwords that were changed while sessions logged in with them go on. A server counts each login with one
//! of before and blocks the account after a few (`FAILED_LOGIN_ATTEMPTS`, `max_password_errors`), for those with the new
//! one, too, or answers all logins late (connection_control). So once the account that is found for the client has
//! another password, one login with that of before tells the answer for all until the account changes again; and no replica is
//! asked, since the primary can be. Where failing logins are counted one goes ahead in any case: those that come
//! meanwhile follow side by side once it is let in.

use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout};

use super::open::Opening;
use super::{Pool, Request};
use crate::backend::{Credential, LoginError};
use crate::error::Error;
use crate::protocol::code;

/// Most passwords of which something is known.
const KNOWN_MAX: usize = 1024;

/// What proved a password at a session's own login.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    /// A mark of what the account stored.
    pub mark: u64,
    /// The client's address, by which the account is found.
    pub client: IpAddr,
}

/// What the account that the primary has by now for a client says of his login; the default where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// A mark of its name.
    pub account: u64,
    /// What proved the password is stored still.
    pub is_current: bool,
    /// A mark of all that it stores.
    pub version: u64,
    /// Wrong passwords of it are counted.
    pub counts_failures: bool,
}

/// User, [`Standing::account`], digest of the password.
type Whom = (Box<str>, u64, [u8; 32]);

/// What came of a login.
#[derive(Debug, Clone)]
pub(super) struct Last {
    at: Instant,
    /// [`Standing::version`] then.
    version: u64,
    /// `None`: it was let in.
    refusal: Option<Error>,
}

/// The right to log in with a password, ahead of others; and what came of the last login.
pub(super) type Turn = OwnedMutexGuard<Option<Last>>;

/// The passwords of one pool whose logins are counted.
pub(super) struct Stale {
    turns: Cache<Whom, Arc<Mutex<Option<Last>>>>,
}

impl std::fmt::Debug for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stale").field("len", &self.turns.len()).finish()
    }
}

impl Default for Stale {
    fn default() -> Self {
        Self { turns: Cache::new(KNOWN_MAX) }
    }
}

impl Stale {
    fn turn(
        &self,
        (user, account): (&str, u64),
        credential: &Credential,
    ) -> Arc<Mutex<Option<Last>>> {
        let whom: Whom = (user.into(), account, credential.digest());
        let Ok(turn) = self.turns.get_or_insert_with(&whom, || Ok::<_, ()>(Arc::default())) else {
            return Arc::default();
        };
        turn
    }
}

impl Last {
    /// The answer to a login that waits for its turn since then, if it is known; who is let in may log in.
    fn answer(&self, standing: Standing, since: Instant) -> Option<Result<(), Error>> {
        let is_same = !standing.is_current && standing.version == self.version;
        match &self.refusal {
            Some(error) if is_same || self.at > since => Some(Err(error.clone())),
            None if self.at > since => Some(Ok(())),
            _ => None,
        }
    }
}

impl Pool {
    /// The answer to a login that is not to be made; it may be known only once it has its turn.
    pub(super) fn stale(&self, request: &Request<'_>) -> Option<Error> {
        let user = &request.key.user;
        let standing = self.control.standing(user, request.proof?);
        if standing.is_current {
            return None;
        }
        // It may count failing logins though the primary does not, and answer them late.
        if !self.backend.is_primary() {
            return Some(self.unavailable("the password was changed since"));
        }
        let turn = self.stale.turn((user, standing.account), request.credential);
        turn.try_lock().ok()?.as_ref()?.answer(standing, Instant::now())?.err()
    }

    /// Waits for the turn of a login that is likely to fail, or would be counted then; or its answer, if it is known by
    /// then. Who needs no turn any more has none.
    pub(super) async fn turn(&self, opening: &Opening) -> Result<Option<Turn>, Error> {
        let Opening { key, credential, proof: Some(proof), .. } = opening else { return Ok(None) };
        let standing = self.control.standing(&key.user, *proof);
        if standing.is_current && !standing.counts_failures {
            return Ok(None);
        }
        let since = Instant::now();
        let turn = self.stale.turn((&key.user, standing.account), credential).lock_owned();
        let Ok(turn) = timeout(self.ages.connect_timeout, turn).await else {
            if self.control.standing(&key.user, *proof).is_current {
                return Ok(None);
            }
            return Err(self.unavailable("other logins of this user are not answered"));
        };
        let standing = self.control.standing(&key.user, *proof);
        match turn.as_ref().and_then(|last| last.answer(standing, since)) {
            Some(known) => known.map(|()| None),
            None => Ok(Some(turn)),
        }
    }

    /// A server has let in the login that had the turn.
    pub(super) fn let_in(turn: Option<Turn>) {
        if let Some(mut turn) = turn {
            *turn = Some(Last { at: Instant::now(), version: 0, refusal: None });
        }
    }

    /// A server has answered a login with `error`. If it does not know the password, the accounts may have
    /// changed: they are read before the next one. Nobody waits for that but who has the same password.
    pub(super) fn doubt(
        self: &Arc<Self>,
        opening: &Arc<Opening>,
        turn: Option<Turn>,
        error: &LoginError,
    ) {
        let LoginError::Refused(error @ Error::Server { code: code::ACCESS_DENIED, .. }) = error
        else {
            return;
        };
        let Some(proof) = opening.proof else { return };
        let (pool, opening, error) = (self.clone(), opening.clone(), error.clone());
        tokio::spawn(async move {
            let standing = || pool.control.standing(&opening.key.user, proof);
            if standing().is_current {
                pool.control.read_accounts().await;
            }
            let Standing { account, version, .. } = standing();
            let last = Some(Last { at: Instant::now(), version, refusal: Some(error) });
            if let Some(mut turn) = turn {
                turn.clone_from(&last);
            }
            // It may be another account by now.
            let whom = (&*opening.key.user, account);
            *pool.stale.turn(whom, &opening.credential).lock().await = last;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_the_answer_while_the_accounts_are_as_then() {
        let at = Instant::now();
        let refused = |at| Last { at, version: 7, refusal: Some(Error::NotReady) };
        let standing = Standing { version: 7, counts_failures: true, ..Standing::default() };
        let error = Some(Err(Error::NotReady));
        assert_eq!(refused(at).answer(standing, at), error);
        assert_eq!(refused(at).answer(Standing { version: 8, ..standing }, at), None);
        let current = Standing { is_current: true, ..standing };
        assert_eq!(refused(at).answer(current, at), None, "a later one with what is stored asks");
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        let later = refused(Instant::now());
        assert_eq!(later.answer(current, at), error, "it has waited for just that login");
        let let_in = Last { refusal: None, ..later };
        assert_eq!(let_in.answer(current, at), Some(Ok(())));
        assert_eq!(let_in.answer(current, Instant::now()), None, "it comes later");
    }

    #[test]
    fn sessions_with_the_same_password_share_a_turn() {
        let stale = Stale::default();
        let (app, proof) = (("app", 1), Credential::Empty);
        let turn = stale.turn(app, &proof);
        assert!(Arc::ptr_eq(&turn, &stale.turn(app, &proof)));
        let other = Credential::Password(b"other".to_vec().into());
        assert!(!Arc::ptr_eq(&turn, &stale.turn(app, &other)));
        assert!(!Arc::ptr_eq(&turn, &stale.turn(("app", 2), &proof)), "another host's account");
        assert!(!Arc::ptr_eq(&turn, &stale.turn(("bob", 1), &proof)));
    }
}
