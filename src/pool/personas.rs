//! Whom the primary takes users for. A replica that takes one for somebody else has other privileges and other rows in
//! views for him, so it gets none of his reads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Pool, Request, Retire};
use crate::backend::{Connection, ConnectionKey, DoubleHash, Persona};
use crate::error::Error;
use crate::metrics::Closed;

/// Most logins that are remembered for sure. Who is forgotten reads on the primary until a connection is opened there.
const KNOWN: usize = 16 * 1024;

/// What of a key a persona hangs on: who knows it by one of them need not have asked with each.
type Whose = (Box<str>, Option<DoubleHash>, Option<IpAddr>);

fn whose(key: &ConnectionKey) -> Whose {
    (key.user.clone(), key.stored, key.client)
}

/// The primary's word on each login, shared by all pools.
#[derive(Debug, Default)]
pub struct Personas(Mutex<Known>);

/// Once `recent` is full it comes after itself, and what is not asked for again until it is full the next time
/// is forgotten.
#[derive(Debug, Default)]
struct Known {
    recent: HashMap<Whose, Told>,
    before: HashMap<Whose, Told>,
}

/// What the primary said at a login.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) persona: Persona,
    /// Changes of [`Epochs::logins`](super::Epochs::logins) that the login came after.
    pub(super) epoch: u64,
}

impl Personas {
    /// The primary has let `key` in. Of two logins at a time the older one may be told last.
    pub(super) fn note(&self, key: &ConnectionKey, told: Told) {
        let (whose, mut known) = (whose(key), self.0.lock());
        if known.get(&whose).is_none_or(|before| before.epoch <= told.epoch) {
            known.put(whose, told);
        }
    }

    /// What it said last.
    pub(super) fn get(&self, key: &ConnectionKey) -> Option<Told> {
        self.0.lock().get(&whose(key)).cloned()
    }
}

impl Known {
    fn put(&mut self, whose: Whose, told: Told) {
        if self.recent.len() >= KNOWN && !self.recent.contains_key(&whose) {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(whose, told);
    }

    fn get(&mut self, whose: &Whose) -> Option<&Told> {
        if !self.recent.contains_key(whose)
            && let Some((whose, told)) = self.before.remove_entry(whose)
        {
            self.put(whose, told);
        }
        self.recent.get(whose)
    }
}

impl Pool {
    /// Whether the primary has let in the user of `request` after what his session comes after. Each login asks it, so
    /// that this is nearly always so; where it is not, a read there makes it known. While another primary has
    /// not let him in yet, the word of the last one counts.
    pub(super) fn knows_persona(&self, request: &Request<'_>) -> bool {
        self.personas.get(request.key).is_some_and(|told| told.epoch >= request.epoch)
    }

    /// Compares a new connection of a replica with what the primary said, or remembers that. Where it did not tell the
    /// privileges that are to be compared, no replica is asked for sessions that come after the change.
    pub(super) fn admit_persona(
        self: &Arc<Self>,
        mut connection: Box<Connection>,
        compares_grants: bool,
    ) -> Result<Box<Connection>, Error> {
        let Connection { key, persona, epoch, .. } = &*connection;
        if self.backend.is_primary() {
            if !connection.is_restricted && (persona.has_grants() || !compares_grants) {
                self.personas.note(key, Told { persona: persona.clone(), epoch: *epoch });
            }
            return Ok(connection);
        }
        let told = self.personas.get(key);
        if told.as_ref().is_some_and(|told| told.persona == *persona) {
            return Ok(connection);
        }
        if let Some(told) = told.as_ref().filter(|told| !told.persona.has_grants())
            && told.persona.is_like(persona)
        {
            // Privileges were not compared then: it is only for sessions from before it came to that.
            connection.epoch = connection.epoch.min(told.epoch);
            return Ok(connection);
        }
        if let Some(told) = told {
            // One that lags has it in a moment, and one that did not tell its privileges is asked anew.
            let is_untold = !persona.has_grants() && told.persona.is_like(persona);
            if *epoch >= told.epoch && !is_untold {
                self.complain_of_persona(&key.user, (&told.persona, persona));
            }
            self.refusals.note(Some(key.clone()), Instant::now());
        }
        // It has answered.
        self.reach.succeeded();
        self.retire(connection, Retire::Quit(Closed::Differs));
        Err(self.unavailable("it takes the user for another one than the primary does"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> ConnectionKey {
        ConnectionKey::of_user(user)
    }

    fn told(epoch: u64) -> Told {
        Told { persona: Persona::default(), epoch }
    }

    #[test]
    fn the_last_login_counts_and_not_the_one_that_was_told_last() {
        let (personas, key) = (Personas::default(), key("a"));
        assert!(personas.get(&key).is_none());
        let epoch = || personas.get(&key).map(|told| told.epoch);
        personas.note(&key, told(2));
        personas.note(&key, told(1));
        assert_eq!(epoch(), Some(2));
        personas.note(&key, told(3));
        assert_eq!(epoch(), Some(3));
        let other = ConnectionKey { collation: 8, ..key.clone() };
        assert!(personas.get(&other).is_some(), "the account is the same");
        let other = ConnectionKey { client: Some([10, 9, 1, 2].into()), ..key.clone() };
        assert!(personas.get(&other).is_none(), "it may be another account");
    }

    #[test]
    fn who_is_asked_for_is_remembered_and_the_others_are_bounded() {
        let personas = Personas::default();
        let (used, unused) = (key("used"), key("unused"));
        personas.note(&used, told(1));
        personas.note(&unused, told(1));
        for user in 0..3 * KNOWN {
            personas.note(&key(&user.to_string()), told(1));
            assert!(personas.get(&used).is_some());
        }
        assert!(personas.get(&unused).is_none());
        let known = personas.0.lock();
        assert!(known.recent.len() <= KNOWN && known.before.len() <= KNOWN);
    }
}
