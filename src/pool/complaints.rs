//! Openings that fail and connections that are lost, in the log: each client may cause many, for as long as the
//! trouble lasts.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Pool, Proof};
use crate::backend::{LoginError, Persona};
use crate::error::Error;
use crate::protocol::code;

/// Least time between two lines about the same user, or about none.
const SPACING: Duration = Duration::from_secs(60);
/// Most users that are told of within that time.
const USERS_MAX: usize = 32;

/// Least time between two lines about lost connections.
const LOSS_SPACING: Duration = Duration::from_secs(1);

/// Those of one pool.
#[derive(Debug)]
pub(super) struct Complaints {
    spacing: Duration,
    /// By user; `None`: about no user.
    told: Mutex<HashMap<Option<Box<str>>, Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl Default for Complaints {
    fn default() -> Self {
        Self { spacing: SPACING, told: Mutex::default() }
    }
}

impl Complaints {
    /// Those about lost connections.
    pub(super) fn of_losses() -> Self {
        Self { spacing: LOSS_SPACING, ..Self::default() }
    }

    /// One more, at `now`. When it is time for a line, how many there were since the last one that had none.
    fn note(&self, user: Option<&str>, now: Instant) -> Option<u64> {
        let mut told = self.told.lock();
        let user = user.map(Box::from);
        let is_recent = |told: &Told| now.saturating_duration_since(told.at) < self.spacing;
        if let Some(told) = told.get_mut(&user) {
            if is_recent(told) {
                told.untold += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.untold));
        }
        if told.len() > USERS_MAX {
            told.retain(|_, told| is_recent(told));
        }
        if told.len() > USERS_MAX {
            return None;
        }
        told.insert(user, Told { at: now, untold: 0 });
        Some(0)
    }

    /// How many about no user have had no line, once that is due: nobody else may come whose line would say so.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut told = self.told.lock();
        let Told { at, untold } = told.get_mut(&None)?;
        if *untold == 0 || now.saturating_duration_since(*at) < self.spacing {
            return None;
        }
        *at = now;
        Some(std::mem::take(untold))
    }
}

impl Pool {
    /// The server has refused the login of a user whom Fairlane has let in, which had this proof.
    pub(super) fn complain_of_refusal(
        self: &Arc<Self>,
        (user, proof): (&str, Option<Proof>),
        error: &LoginError,
    ) {
        if matches!(error, LoginError::Refused(Error::MustChangePassword { .. })) {
            // The session is about to log in otherwise.
            return;
        }
        let Some(untold) = self.complaints.note(Some(user), Instant::now()) else { return };
        let text = error.to_string();
        if !is_unknown(error) {
            return self.tell_of_refusal(user, &text, untold, "");
        }
        let (pool, user) = (Arc::clone(self), Box::<str>::from(user));
        tokio::spawn(async move {
            let is_current = |proof| pool.control.standing(&user, proof).is_current;
            if proof.is_some_and(is_current) {
                // As far as was known before.
                pool.control.read_accounts().await;
            }
            let why = match proof.is_none_or(is_current) {
                true => ": does the account there allow this machine's address?",
                false => {
                    ": the account was dropped or its password changed since the session's login"
                }
            };
            pool.tell_of_refusal(&user, &text, untold, why);
        });
    }

    fn tell_of_refusal(&self, user: &str, error: &str, untold: u64, why: &str) {
        let backend = self.name();
        tracing::warn!(
            user,
            backend,
            error,
            untold,
            "a server refuses a user whom Fairlane has let in{why}"
        );
    }

    /// The server takes a user for another one than the primary does, whose word comes first.
    pub(super) fn complain_of_persona(&self, user: &str, (told, here): (&Persona, &Persona)) {
        let Some(untold) = self.complaints.note(Some(user), Instant::now()) else { return };
        tracing::warn!(
            user,
            backend = self.name(),
            %here,
            at_primary = %told,
            untold,
            "a replica takes a user for another one than the primary does, who reads on the primary \
             then: do both see Fairlane under the same host, and have the same accounts, roles and privileges?"
        );
    }

    /// A connection was lost, in which a session had something.
    pub fn complain_of_loss(&self, backend_thread: u64, error: &dyn Display) {
        let Some(untold) = self.losses.note(None, Instant::now()) else { return };
        let backend = self.name();
        tracing::warn!(backend, backend_thread, %error, untold, "lost a backend connection");
    }

    /// Tells of those that had no line; to be called now and then.
    pub(super) fn complain_of_untold_losses(&self, now: Instant) {
        if let Some(untold) = self.losses.due(now) {
            tracing::warn!(backend = self.name(), untold, "lost more backend connections");
        }
    }

    /// No connection could be opened, whoever it was for.
    pub(super) fn complain_of_opening(&self, why: &str) {
        let Some(untold) = self.complaints.note(None, Instant::now()) else { return };
        tracing::warn!(backend = self.name(), error = why, untold, "no connection can be opened");
    }
}

/// Whether a server knows no account of this name, address and password.
fn is_unknown(error: &LoginError) -> bool {
    const UNKNOWN: [u16; 2] = [code::ACCESS_DENIED, code::HOST_NOT_PRIVILEGED];
    matches!(error, LoginError::Refused(Error::Server { code, .. }) if UNKNOWN.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_is_told_of_once_a_minute_with_the_number_of_the_others() {
        let (start, complaints) = (Instant::now(), Complaints::default());
        let note = |user: Option<&str>, seconds: u64| {
            complaints.note(user, start + Duration::from_secs(seconds))
        };
        assert_eq!(
            [note(Some("a"), 0), note(Some("a"), 1), note(Some("a"), 59)],
            [Some(0), None, None]
        );
        assert_eq!([note(Some("b"), 1), note(None, 1), note(None, 2)], [Some(0), Some(0), None]);
        assert_eq!([note(Some("a"), 60), note(Some("a"), 61)], [Some(2), None]);
    }

    #[test]
    fn lost_connections_are_told_of_once_a_second() {
        let (start, losses) = (Instant::now(), Complaints::of_losses());
        let note = |millis| losses.note(None, start + Duration::from_millis(millis));
        assert_eq!([note(0), note(1), note(999), note(1000)], [Some(0), None, None, Some(2)]);
    }

    #[test]
    fn lost_connections_after_which_none_comes_are_told_of_a_second_later() {
        let (start, losses) = (Instant::now(), Complaints::of_losses());
        let at = |millis| start + Duration::from_millis(millis);
        let note = |millis| losses.note(None, at(millis));
        assert_eq!(losses.due(at(0)), None);
        assert_eq!([note(0), note(1), note(2)], [Some(0), None, None]);
        assert_eq!([losses.due(at(999)), losses.due(at(1000))], [None, Some(2)]);
        assert_eq!(losses.due(at(5000)), None, "once");
        assert_eq!([note(1500), note(2000)], [None, Some(1)], "that was a line");
    }

    #[test]
    fn the_users_told_of_are_bounded() {
        let (start, complaints) = (Instant::now(), Complaints::default());
        let told = |at: Instant| {
            let users =
                (0..1000).filter(|user| complaints.note(Some(&format!("{user}")), at).is_some());
            users.count()
        };
        let first = told(start);
        assert!((USERS_MAX..USERS_MAX + 2).contains(&first), "{first}");
        assert_eq!(told(start + SPACING / 2), 0);
        assert_eq!(told(start + SPACING), first);
    }
}
