//! Who a client is towards the backends, and whom the primary has agreed to lately.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::backend::{ConnectionKey, Credential, DoubleHash};
use crate::error::Error;
use crate::pool::{Proof, Whose};
use crate::protocol::{Family, code};
use crate::topology::mark;

/// A client's user as the backends see it.
#[derive(Debug, Clone)]
pub(in crate::client) struct Identity {
    pub(in crate::client) key: Arc<ConnectionKey>,
    pub(in crate::client) credential: Credential,
    /// What proved the password; `None` where that is not known.
    pub(in crate::client) proof: Option<Proof>,
    /// The account's password has expired.
    pub(in crate::client) is_expired: bool,
}

impl Identity {
    /// For whom connections are.
    pub(in crate::client) fn whose(&self) -> Whose<'_> {
        Whose { key: &self.key, credential: &self.credential, proof: self.proof }
    }

    /// The same, proved to a client of this address by a stored text.
    pub(in crate::client) fn proved_by(self, text: &[u8], client: IpAddr) -> Self {
        Self { proof: Some(Proof { mark: mark(text), client }), ..self }
    }
}

/// For how long a login that the primary agreed to needs no asking again.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Most logins remembered.
const VERIFIED_MAX: usize = 10_000;

type VerifiedKey = (Box<str>, Option<DoubleHash>, Box<str>, u8, Option<IpAddr>, (u64, u64));
/// Without the collation: it decides nothing. The last is the change of schemas, and none where there is no schema.
type KnownKey =
    (Box<str>, Option<DoubleHash>, Option<Box<str>>, Option<IpAddr>, (u64, Option<u64>));

/// Logins (user, password, schema, collation, address if it is told: not all are allowed) that the primary has agreed to
/// lately. A storm of equal logins asks once: the others wait for the answer. That no connection was free to ask on is
/// one for those of the same client, whose turn it was, and for those who have waited for so long: each would wait for
/// one in turn.
///
/// While no connection is free to ask on, an older agreement is enough, or without a schema one with any: who wants
/// to end his statements with KILL, which needs no connection, may log in while they have them all. Whatever
/// needs a connection still waits for one that the server has let this user open.
pub struct Verified {
    cache: Cache<VerifiedKey, Answer>,
    /// Whom the primary has agreed to since the last change, however long ago.
    known: Cache<KnownKey, ()>,
}

/// What came of asking.
#[derive(Debug, Clone)]
enum Answer {
    /// The primary agreed then.
    Agreed(Instant),
    /// It was not asked. Only for those who wait for the answer.
    Busy(Box<Refusal>),
}

/// What the lane has said to whoever was to ask.
#[derive(Debug, Clone)]
struct Refusal {
    error: Error,
    /// Whose turn it was, see [`crate::lanes::Demand`].
    client: u64,
}

impl Refusal {
    /// Whether it is true as well of a login of `client` that waits since then.
    fn holds_for(&self, client: u64, since: Instant) -> bool {
        self.client == client || self.error.waited().is_some_and(|limit| since.elapsed() >= limit)
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").field("len", &self.cache.len()).finish()
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self { cache: Cache::new(VERIFIED_MAX), known: Cache::new(VERIFIED_MAX) }
    }
}

impl Verified {
    /// Asks with `ask` unless the answer is known since the last of `changes`: of accounts and of
    /// schemas. `client` is the one of the demand with which is asked, and `must_wait` tells whether it would wait.
    pub(in crate::client) async fn verify(
        &self,
        whose: &ConnectionKey,
        schema: Option<&str>,
        changes: (u64, u64),
        (client, must_wait): (u64, impl FnOnce() -> bool),
        ask: impl AsyncFnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let named = schema.unwrap_or_default().into();
        let key = (whose.user.clone(), whose.stored, named, whose.collation, whose.client, changes);
        if let Some(Answer::Agreed(since)) = self.cache.get(&key) {
            if since.elapsed() < VERIFIED_FOR {
                return Ok(());
            }
            self.cache.remove(&key);
        }
        let known = known_key(whose, schema, changes);
        if self.known.get(&known).is_some() && must_wait() {
            return Ok(());
        }
        let since = Instant::now();
        let guard = loop {
            match self.cache.get_value_or_guard_async(&key).await {
                Ok(Answer::Agreed(_)) => return Ok(()),
                Ok(Answer::Busy(refusal)) if refusal.holds_for(client, since) => {
                    return Err(refusal.error);
                }
                // It is about to be removed.
                Ok(Answer::Busy(_)) => yield_now().await,
                Err(guard) => break guard,
            }
        };
        match ask().await {
            Ok(()) => {
                let _ = guard.insert(Answer::Agreed(Instant::now()));
                self.known.insert(known, ());
                self.known.insert(known_key(whose, None, changes), ());
                Ok(())
            }
            Err(error) => {
                if let Error::Server { code, .. } = error {
                    self.known.remove(&known);
                    // It says nothing against a login without that schema.
                    if ![code::DBACCESS_DENIED, code::UNKNOWN_DATABASE].contains(&code) {
                        self.known.remove(&known_key(whose, None, changes));
                    }
                }
                if error.is_busy() {
                    let refusal = Refusal { error: error.clone(), client };
                    let _ = guard.insert(Answer::Busy(Box::new(refusal)));
                    // Whoever comes later asks anew.
                    self.cache.remove(&key);
                }
                Err(error)
            }
        }
    }
}

fn known_key(
    whose: &ConnectionKey,
    schema: Option<&str>,
    (logins, schemas): (u64, u64),
) -> KnownKey {
    let change = (logins, schema.map(|_| schemas));
    (whose.user.clone(), whose.stored, schema.map(Into::into), whose.client, change)
}

/// The character set that a login with this collation comes to; `None`: the global one, as for numbers
/// that the server does not know.
/// Source: `@@character_set_client` after logins with each number on MariaDB 10.11 and 11.8 and on MySQL
/// 9.7, which refuse those of utf16 and the like.
pub(in crate::client) fn charset_of_collation(id: u8, family: Family) -> Option<&'static str> {
    const OF_BOTH: &[(&str, &[u8])] = &[
        ("armscii8", &[32, 64]),
        ("ascii", &[11, 65]),
        ("big5", &[1, 84]),
        ("binary", &[63]),
        ("cp1250", &[26, 34, 44, 66, 99]),
        ("cp1251", &[14, 23, 50, 51, 52]),
        ("cp1256", &[57, 67]),
        ("cp1257", &[29, 58, 59]),
        ("cp850", &[4, 80]),
        ("cp852", &[40, 81]),
        ("cp866", &[36, 68]),
        ("cp932", &[95, 96]),
        ("dec8", &[3, 69]),
        ("eucjpms", &[97, 98]),
        ("euckr", &[19, 85]),
        ("gb2312", &[24, 86]),
        ("gbk", &[28, 87]),
        ("geostd8", &[92, 93]),
        ("greek", &[25, 70]),
        ("hebrew", &[16, 71]),
        ("hp8", &[6, 72]),
        ("keybcs2", &[37, 73]),
        ("koi8r", &[7, 74]),
        ("koi8u", &[22, 75]),
        ("latin1", &[5, 8, 15, 31, 47, 48, 49, 94]),
        ("latin2", &[2, 9, 21, 27, 77]),
        ("latin5", &[30, 78]),
        ("latin7", &[20, 41, 42, 79]),
        ("macce", &[38, 43]),
        ("macroman", &[39, 53]),
        ("sjis", &[13, 88]),
        ("swe7", &[10, 82]),
        ("tis620", &[18, 89]),
        ("ujis", &[12, 91]),
    ];
    match id {
        33 | 83 | 192..=215 | 223 => Some("utf8mb3"),
        45 | 46 | 224..=247 => Some("utf8mb4"),
        76 if !family.is_mariadb() => Some("utf8mb3"),
        248..=250 if !family.is_mariadb() => Some("gb18030"),
        255 if !family.is_mariadb() => Some("utf8mb4"),
        _ => OF_BOTH.iter().find(|(_, ids)| ids.contains(&id)).map(|&(charset, _)| charset),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_is_refused_with_its_like_that_find_no_connection_to_ask_on() {
        let verified = Verified::default();
        let key = ConnectionKey::of_user("app");
        let asked = Cell::new(0);
        let ask_as = |client: u64, takes: Duration, answer: Result<(), Error>| {
            let (verified, key, asked) = (&verified, &key, &asked);
            async move {
                let ask = async || {
                    asked.set(asked.get() + 1);
                    yield_now().await;
                    advance(takes).await;
                    answer
                };
                verified.verify(key, None, (0, 0), (client, || false), ask).await
            }
        };
        let ask = |answer| ask_as(1, Duration::ZERO, answer);
        let (lane, backend) = ("interactive".to_owned(), "primary".to_owned());
        let busy = Error::QueueTimeout { lane, backend, limit: Duration::from_secs(5) };
        let refused = || ask(Err(busy.clone()));
        let all = tokio::join!(refused(), refused(), refused());
        assert_eq!(all, (Err(busy.clone()), Err(busy.clone()), Err(busy.clone())));
        assert_eq!(asked.take(), 1);
        // That another client had no turn is nothing to those who have just come, nor whatever has no limit.
        let soon = Duration::from_secs(1);
        let other = |takes, error: &Error| {
            let error = error.clone();
            async move { tokio::join!(ask_as(1, takes, Err(error)), ask_as(2, soon, Ok(()))) }
        };
        assert_eq!(other(soon, &busy).await, (Err(busy.clone()), Ok(())));
        assert_eq!(asked.take(), 2);
        verified.cache.clear();
        let (lane, backend) = ("interactive".to_owned(), "primary".to_owned());
        let full = Error::QueueFull { lane, backend, limit: 1 };
        assert_eq!(other(soon, &full).await, (Err(full), Ok(())));
        assert_eq!(asked.take(), 2);
        verified.cache.clear();
        let late = other(Duration::from_secs(5), &busy).await;
        assert_eq!(late, (Err(busy.clone()), Err(busy)), "it has waited for as long");
        assert_eq!(asked.take(), 1);
        // Any other failure may be that of one connection.
        let lost = Error::LostBackend { backend: "primary".to_owned() };
        let all = tokio::join!(ask(Err(lost.clone())), ask(Ok(())), ask(Ok(())));
        assert_eq!(all, (Err(lost), Ok(()), Ok(())));
        assert_eq!(asked.take(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_agreement_is_enough_while_there_is_nothing_to_ask_on() {
        let verified = Verified::default();
        let app = ConnectionKey::of_user("app");
        let (lane, backend) = ("interactive".to_owned(), "primary".to_owned());
        let busy = Error::QueueFull { lane, backend, limit: 1 };
        let denied =
            |code| Error::Server { code, sqlstate: "42000".to_owned(), message: Vec::new() };
        let log_in =
            |key: &ConnectionKey, schema, changes, must_wait: bool, answer: Result<(), Error>| {
                let (verified, key) = (&verified, key.clone());
                async move {
                    let client = (1, move || must_wait);
                    verified.verify(&key, schema, changes, client, async || answer).await
                }
            };
        let full = |key: &ConnectionKey, schema, changes| {
            log_in(key, schema, changes, true, Err(busy.clone()))
        };
        let refused = Err(busy.clone());
        let shop = Some("shop");
        assert_eq!(full(&app, shop, (1, 1)).await, refused, "nobody has asked yet");
        assert_eq!(log_in(&app, shop, (1, 1), false, Ok(())).await, Ok(()));
        advance(VERIFIED_FOR * 100).await;
        for _ in 0..2 {
            assert_eq!(log_in(&app, shop, (1, 1), false, Err(busy.clone())).await, refused);
            assert_eq!(full(&app, shop, (1, 1)).await, Ok(()));
            assert_eq!(full(&app, None, (1, 2)).await, Ok(()), "without a schema");
            let others = ConnectionKey { collation: app.collation + 1, ..app.clone() };
            assert_eq!(full(&others, shop, (1, 1)).await, Ok(()));
        }
        assert_eq!(full(&app, Some("other"), (1, 1)).await, refused);
        assert_eq!(full(&app, shop, (1, 2)).await, refused, "schemas have changed");
        assert_eq!(full(&app, None, (2, 1)).await, refused, "accounts have changed");
        let stored = Some(DoubleHash::Sha1([1; 20]));
        assert_eq!(full(&ConnectionKey { stored, ..app.clone() }, None, (1, 1)).await, refused);
        assert_eq!(full(&ConnectionKey::of_user("root"), None, (1, 1)).await, refused);
        advance(VERIFIED_FOR * 100).await;
        for code in [code::DBACCESS_DENIED, code::UNKNOWN_DATABASE] {
            let answer = log_in(&app, shop, (1, 1), false, Err(denied(code))).await;
            assert_eq!(answer, Err(denied(code)));
            assert_eq!(full(&app, shop, (1, 1)).await, refused, "not with that schema");
            assert_eq!(full(&app, None, (1, 1)).await, Ok(()), "the login was fine");
        }
        let answer = log_in(&app, shop, (1, 1), false, Err(denied(code::ACCESS_DENIED))).await;
        assert_eq!(answer, Err(denied(code::ACCESS_DENIED)));
        assert_eq!(full(&app, None, (1, 1)).await, refused, "the primary agrees no more");
    }
}
