//! Accounts whose password itself is needed, caching_sha2_password most of all: what Fairlane
//! remembers of passwords, and how it asks.
//!
//! The servers' hash gives no proof that could be passed on, so the first login of an account has
//! to bring the password itself. It is checked against the text the account stores, remembered
//! in memory only, and erased when it is forgotten. Accounts of `ed25519` and `parsec` keep public
//! keys: there too nothing but the password opens a connection to a backend, so it is asked for
//! openly, over TLS only.

use std::sync::Arc;

use quick_cache::sync::Cache;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::auth::{Claim, Unproved};
use crate::client::wire::Wire;
use crate::error::Error;
use crate::net::rsa::KeyPair;
use crate::protocol::crypt;
use crate::protocol::sha2::{self, CACHING_SHA2, Double};

/// Most passwords remembered.
const PASSWORDS_MAX: usize = 10_000;

/// A password and what replies are checked against.
#[derive(Clone)]
pub(in crate::client) struct Known {
    /// Its bytes: in which character set they are is the client's affair.
    pub(in crate::client) password: SecretSlice<u8>,
    pub(in crate::client) double: Double,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}

impl Known {
    pub(in crate::client) fn new(password: SecretSlice<u8>) -> Self {
        let double = sha2::double(password.expose_secret());
        Self { password, double }
    }

    /// From a packet: the password with a NUL behind it.
    pub(in crate::client) fn from_wire(packet: &[u8]) -> Option<Arc<Self>> {
        let (0, password) = packet.split_last().map(|(last, rest)| (*last, rest))? else {
            return None;
        };
        Some(Arc::new(Self::new(SecretSlice::from(password.to_vec()))))
    }
}

/// Bytes of the longest password that hashing by SHA-2 takes (`MAX_PLAINTEXT_LENGTH` of MySQL).
const PASSWORD_MAX: usize = 256;

/// Whether a stored text is of a password.
pub(in crate::client) type Compare = fn(password: &[u8], stored: &[u8]) -> bool;

/// User name and the text the server stores, which changes with the password.
type Account = (Box<str>, Box<[u8]>);

/// Passwords that were proved, and the key for those that come without TLS.
pub struct Passwords {
    known: Cache<Account, Arc<Known>>,
    pair: OnceCell<KeyPair>,
    turn: Semaphore,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("len", &self.known.len()).finish()
    }
}

impl Passwords {
    /// None known yet; without a `pair` one is made when it is needed first.
    pub fn new(pair: Option<KeyPair>) -> Self {
        let pair = OnceCell::new_with(pair);
        Self { known: Cache::new(PASSWORDS_MAX), pair, turn: Semaphore::new(1) }
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

    /// The key that passwords without TLS are encrypted with, in PEM form.
    ///
    /// # Errors
    /// [`Error::NotReady`] when the system has no randomness to make one.
    pub(in crate::client) async fn public_key(&self) -> Result<&str, Error> {
        Ok(&self.pair().await?.public_pem)
    }

    /// The password of a client whose account the server stores as one of `texts`: from memory
    /// when its reply fits, else from the client.
    pub(in crate::client) async fn prove(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
        texts: &[Box<[u8]>],
    ) -> Result<Proved, Unproved> {
        if !claim.progress.was_asked {
            claim.progress.was_asked = true;
            claim.progress.given = self.exchange(claim, wire, texts).await?;
        }
        let Some(given) = claim.progress.given.clone() else { return Err(claim.denied().into()) };
        self.prove_crypt(claim, given, texts).await
    }

    async fn prove_crypt(
        &self,
        claim: &Claim,
        given: Arc<Known>,
        texts: &[Box<[u8]>],
    ) -> Result<Proved, Unproved> {
        for stored in texts {
            if self.is_right(&claim.user, &given, stored, crypt::is_password).await {
                return Ok(Proved { known: given, stored: stored.clone() });
            }
        }
        Err(claim.denied().into())
    }

    /// Likewise with sha256_password, whose clients send the password each time; `None` where
    /// there is none, neither of the client nor of the account.
    pub(in crate::client) async fn prove_sha256(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
        texts: &[Box<[u8]>],
    ) -> Result<Option<Proved>, Unproved> {
        if !claim.progress.was_asked {
            claim.progress.was_asked = true;
            claim.progress.given = self.exchange_sha256(claim, wire).await?;
        }
        match claim.progress.given.clone() {
            Some(given) => self.prove_crypt(claim, given, texts).await.map(Some),
            None if texts.is_empty() && claim.reply.is_empty() => Ok(None),
            None => Err(claim.denied().into()),
        }
    }

    /// The password of a client whose account stores a public key: the client sends it openly.
    ///
    /// # Errors
    /// [`Error::NeedsTls`] without TLS.
    pub(in crate::client) async fn prove_openly(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
        (plugin, stored, compare): (&str, &[u8], Compare),
    ) -> Result<Proved, Unproved> {
        if claim.tls.is_none() {
            let (user, plugin) = (claim.user.clone(), plugin.to_owned());
            return Err(Error::NeedsTls { user, plugin }.into());
        }
        if !claim.progress.was_asked {
            claim.progress.was_asked = true;
            claim.progress.given = claim.ask_openly(wire).await?;
        }
        let Some(given) = claim.progress.given.clone() else { return Err(claim.denied().into()) };
        if self.is_right(&claim.user, &given, stored, compare).await {
            return Ok(Proved { known: given, stored: stored.into() });
        }
        Err(claim.denied().into())
    }

    /// Whether the password is the account's; remembers one that is.
    async fn is_right(
        &self,
        user: &str,
        given: &Arc<Known>,
        stored: &[u8],
        compare: Compare,
    ) -> bool {
        let same = |known: &Arc<Known>| bool::from(known.double.ct_eq(&given.double));
        let is_known = self.find(user, stored).as_ref().is_some_and(same);
        if !is_known && !self.is_of(given, stored, compare).await {
            return false;
        }
        if !is_known {
            self.known.insert((user.into(), stored.into()), given.clone());
        }
        true
    }

    /// Gets the password; `None` when what the client sent is none.
    async fn exchange(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
        texts: &[Box<[u8]>],
    ) -> Result<Option<Arc<Known>>, Unproved> {
        for known in texts.iter().filter_map(|stored| self.find(&claim.user, stored)) {
            if sha2::is_right(&claim.reply, &claim.nonce, &known.double) {
                wire.push(&[sha2::MORE_DATA, sha2::FAST_OK]);
                return Ok(Some(known));
            }
            claim.progress.is_refused = true;
        }
        wire.push(&[sha2::MORE_DATA, sha2::FULL]);
        let answer = Zeroizing::new(wire.ask().await?);
        self.open(claim, wire, (answer, sha2::REQUEST_KEY)).await
    }

    /// Gets the password; `None` when what the client sent is none, or says that it has none.
    async fn exchange_sha256(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
    ) -> Result<Option<Arc<Known>>, Unproved> {
        let answer = claim.ask_sha256(wire).await?;
        if claim.reply.is_empty() {
            return Ok(None);
        }
        self.open(claim, wire, (answer, sha2::SHA256_REQUEST_KEY)).await
    }

    /// The password in what the client has answered: plain over TLS, else encrypted, perhaps after
    /// it was given the key that it has asked for.
    async fn open(
        &self,
        claim: &Claim,
        wire: &mut Wire,
        (mut answer, request_key): (Zeroizing<Vec<u8>>, u8),
    ) -> Result<Option<Arc<Known>>, Unproved> {
        if claim.tls.is_none() {
            if *answer == [request_key] {
                let pem = self.pair().await?.public_pem.as_bytes();
                wire.push(&[&[sha2::MORE_DATA], pem].concat());
                answer = Zeroizing::new(wire.ask().await?);
            }
            let Ok(masked) = self.pair().await?.decrypt(&answer) else { return Ok(None) };
            answer = sha2::mask(&masked, &claim.nonce);
        }
        // Hashing takes time by the square of the length: the servers refuse longer ones, too.
        if answer.len() > PASSWORD_MAX + 1 {
            return Ok(None);
        }
        Ok(Known::from_wire(&answer))
    }

    /// Checks the password of a client of sha256_password that stands in the configuration.
    pub(in crate::client) async fn check_configured_sha256(
        &self,
        claim: &mut Claim,
        wire: &mut Wire,
        password: &SecretString,
    ) -> Result<Double, Unproved> {
        if !claim.progress.was_asked {
            claim.progress.was_asked = true;
            claim.progress.given = self.exchange_sha256(claim, wire).await?;
        }
        let double = sha2::double(password.expose_secret().as_bytes());
        match &claim.progress.given {
            Some(given) if bool::from(given.double.ct_eq(&double)) => Ok(double),
            _ => Err(claim.denied().into()),
        }
    }

    /// Whether a stored text is of this password. It costs milliseconds of a core, so one at a time
    /// and on a thread of its own: guessing must not take the cores from those who are in.
    async fn is_of(&self, given: &Arc<Known>, stored: &[u8], compare: Compare) -> bool {
        let Ok(_turn) = self.turn.acquire().await else { return false };
        let (given, stored) = (given.clone(), stored.to_vec());
        let compare = move || compare(given.password.expose_secret(), &stored);
        spawn_blocking(compare).await.unwrap_or(false)
    }
}

/// A password that is the account's.
pub(in crate::client) struct Proved {
    pub(in crate::client) known: Arc<Known>,
    /// The text it is of.
    pub(in crate::client) stored: Box<[u8]>,
}

/// Checks the reply of a client whose password stands in the configuration.
pub(in crate::client) async fn check_configured(
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
