//! Who a client is towards the backends, and whom the primary has agreed to lately.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::backend::{ConnectionKey, Credential, DoubleHash};

/// A client's user as the backends see it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) key: Arc<ConnectionKey>,
    pub(super) credential: Credential,
    /// The account's password has expired.
    pub(super) is_expired: bool,
}

/// For how long a login that the primary agreed to needs no asking again.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Most logins remembered.
const VERIFIED_MAX: usize = 10_000;

type VerifiedKey = (Box<str>, Option<DoubleHash>, Box<str>, u8, Option<IpAddr>, (u64, u64));

/// Logins (user, password, schema, collation, address if it is told: not all are allowed) that the primary has agreed to
/// lately. A storm of equal logins asks once: the others wait for the answer.
pub struct Verified {
    cache: Cache<VerifiedKey, Instant>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").field("len", &self.cache.len()).finish()
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self { cache: Cache::new(VERIFIED_MAX) }
    }
}

impl Verified {
    /// Asks with `ask` unless the answer is known since the last of `changes`: of accounts and of
    /// schemas.
    pub(super) async fn verify<E>(
        &self,
        key: &ConnectionKey,
        schema: Option<&str>,
        changes: (u64, u64),
        ask: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let schema = schema.unwrap_or_default().into();
        let key = (key.user.clone(), key.stored, schema, key.collation, key.client, changes);
        if let Some(since) = self.cache.get(&key) {
            if since.elapsed() < VERIFIED_FOR {
                return Ok(());
            }
            self.cache.remove(&key);
        }
        match self.cache.get_value_or_guard_async(&key).await {
            Ok(_) => Ok(()),
            Err(guard) => {
                ask().await?;
                let _ = guard.insert(Instant::now());
                Ok(())
            }
        }
    }
}

/// The character set of a collation id, as far as the lexer needs to know: those in which a byte
/// of a character may look like a backslash or a quote.
/// Source: `information_schema.collations` of MariaDB 10.11 and MySQL 9.
pub(super) fn charset_of_collation(id: u8) -> &'static str {
    match id {
        1 | 84 => "big5",
        13 | 88 => "sjis",
        28 | 87 => "gbk",
        95 | 96 => "cp932",
        248..=250 => "gb18030",
        _ => "utf8mb4",
    }
}
