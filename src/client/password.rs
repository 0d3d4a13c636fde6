//! caching_sha2_password towards clients: what Fairlane remembers of passwords, and how it asks.
//!
//! The servers' hash gives no proof that could be passed on, so the first login of an account has
//! to bring the password itself, and a backend has to agree to it. Then it is remembered, in
//! memory only, and erased when it is forgotten.

use std::sync::Arc;

use quick_cache::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::auth::{Claim, Unproved};
use super::wire::Wire;
use crate::error::Error;
use crate::net::rsa::KeyPair;
use crate::protocol::sha2::{self, CACHING_SHA2, Double};

/// Most passwords remembered.
const PASSWORDS_MAX: usize = 10_000;

/// A password and what replies are checked against.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) password: SecretString,
    pub(super) double: Double,
}

impl Known {
    pub(super) fn new(password: SecretString) -> Self {
        let double = sha2::double(password.expose_secret().as_bytes());
        Self { password, double }
    }
}

/// User name and the text the server stores, which changes with the password.
type Account = (Box<str>, Box<[u8]>);

/// Passwords that backends have agreed to, and the key for those that come without TLS.
pub struct Passwords {
    known: Cache<Account, Arc<Known>>,
    pair: OnceCell<KeyPair>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("len", &self.known.len()).finish()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self { known: Cache::new(PASSWORDS_MAX), pair: OnceCell::new() }
    }
}

impl Passwords {
    /// Remembers a password a backend has agreed to.
    pub(super) fn keep(&self, user: &str, stored: &[u8], known: &Arc<Known>) {
        self.known.insert((user.into(), stored.into()), known.clone());
    }

    fn find(&self, user: &str, stored: &[u8]) -> Option<Arc<Known>> {
        self.known.get(&(Box::<str>::from(user), Box::<[u8]>::from(stored)))
    }

    /// Made when it is needed first, on a thread that nobody waits for.
    async fn pair(&self) -> Result<&KeyPair, Error> {
        let make = async || match spawn_blocking(KeyPair::generate).await {
            Ok(Ok(pair)) => Ok(pair),
            failed => {
                tracing::error!(?failed, "can't make an RSA key");
                Err(Error::NotReady)
            }
        };
        self.pair.get_or_try_init(make).await
    }

    /// The password of a client whose account the server stores as `stored`: from memory when its
    /// reply fits, else from the client. Whether it is right is the backends' word.
    pub(super) async fn ask(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
        stored: &[u8],
    ) -> Result<Arc<Known>, Unproved> {
        if let Some(given) = &claim.given {
            return Ok(given.clone());
        }
        if let Some(known) = self.find(&claim.user, stored)
            && sha2::is_right(&claim.reply, &claim.nonce, &known.double)
        {
            wire.push(&[sha2::MORE_DATA, sha2::FAST_OK]);
            return Ok(known);
        }
        wire.push(&[sha2::MORE_DATA, sha2::FULL]);
        let mut answer = Zeroizing::new(wire.ask().await?);
        if !claim.is_tls {
            if *answer == [sha2::REQUEST_KEY] {
                let pem = self.pair().await?.public_pem.as_bytes();
                wire.push(&[&[sha2::MORE_DATA], pem].concat());
                answer = Zeroizing::new(wire.ask().await?);
            }
            let masked = self.pair().await?.decrypt(&answer).map_err(|_| claim.denied())?;
            answer = sha2::mask(&masked, &claim.nonce);
        }
        let Some((0, password)) = answer.split_last() else { return Err(claim.denied().into()) };
        let password = std::str::from_utf8(password).map_err(|_| claim.denied())?;
        let given = Arc::new(Known::new(SecretString::from(password)));
        claim.given = Some(given.clone());
        Ok(given)
    }
}

/// Checks the reply of a client whose password stands in the configuration.
pub(super) async fn check_configured(
    claim: &mut Claim,
    wire: &mut Wire,
    password: &SecretString,
) -> Result<Double, Unproved> {
    claim.reply_with(CACHING_SHA2, wire).await?;
    let double = sha2::double(password.expose_secret().as_bytes());
    if !sha2::is_right(&claim.reply, &claim.nonce, &double) {
        return Err(claim.denied().into());
    }
    wire.push(&[sha2::MORE_DATA, sha2::FAST_OK]);
    Ok(double)
}
