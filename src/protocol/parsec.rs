//! MariaDB's `parsec` accounts (11.6 and later): a salted key derived from the password signs the
//! server's nonce and the client's.
//!
//! ```text
//! server: nonce (32) ── client: empty ── server: 1, 'P', iterations, salt ── client: nonce, signature
//! ```
//! Source: <https://mariadb.com/kb/en/authentication-plugin-parsec/>.

use std::num::NonZero;

use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA512, derive};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::base64;

/// The name of the plugin.
pub const PARSEC: &str = "parsec";
/// Bytes of either side's nonce.
pub const NONCE: usize = 32;

/// More data of an exchange.
const MORE_DATA: u8 = 1;
const ALGORITHM: u8 = b'P';
/// Iterations are 1024 times a power of two; servers allow the exponents 0 to 9.
const ITERATIONS: u32 = 1024;
const EXPONENT_MAX: u8 = 9;

/// How a key is derived from a password: the second packet of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    iterations: NonZero<u32>,
    salt: Vec<u8>,
}

impl Recipe {
    fn new(exponent: u8, salt: &[u8]) -> Option<Self> {
        let is_known = exponent <= EXPONENT_MAX && !salt.is_empty();
        let iterations = NonZero::new(ITERATIONS << u32::from(exponent.min(EXPONENT_MAX)))?;
        is_known.then(|| Self { iterations, salt: salt.to_vec() })
    }

    /// Reads the packet; `None` when it is of another algorithm.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        match payload {
            [MORE_DATA, ALGORITHM, exponent, salt @ ..] => Self::new(*exponent, salt),
            _ => None,
        }
    }

    /// Iterations of the derivation: 1024 times a power of two, up to 524,288.
    pub fn iterations(&self) -> NonZero<u32> {
        self.iterations
    }

    fn key_pair(&self, password: &[u8]) -> Option<Ed25519KeyPair> {
        let mut seed = Zeroizing::new([0; 32]);
        derive(PBKDF2_HMAC_SHA512, self.iterations, &self.salt, password, &mut *seed);
        Ed25519KeyPair::from_seed_unchecked(&*seed).ok()
    }

    /// A client's reply: its own nonce, and the signature under both.
    pub fn reply(
        &self,
        password: &[u8],
        server_nonce: &[u8],
        nonce: &[u8; NONCE],
    ) -> Option<Vec<u8>> {
        // Nonces end in a NUL in most switches, and one that is part of it was taken for that.
        let mut signed = server_nonce.to_vec();
        signed.resize(NONCE, 0);
        signed.extend_from_slice(nonce);
        let signature = self.key_pair(password)?.sign(&signed);
        Some([nonce, signature.as_ref()].concat())
    }
}

/// Whether the text that an account stores, `P0:salt:key`, is of this password.
pub fn is_password(password: &[u8], stored: &[u8]) -> bool {
    let Some((recipe, key)) = parse_stored(stored) else { return false };
    let pair = recipe.key_pair(password);
    pair.is_some_and(|pair| pair.public_key().as_ref().ct_eq(&key).into())
}

/// Reads the text that an account stores: how its key is derived, and the public key.
pub fn parse_stored(stored: &[u8]) -> Option<(Recipe, Vec<u8>)> {
    let [ALGORITHM, exponent, b':', rest @ ..] = stored else { return None };
    let exponent = exponent.checked_sub(b'0')?;
    let at = rest.iter().position(|&byte| byte == b':')?;
    let recipe = Recipe::new(exponent, &base64::decode(&rest[..at])?)?;
    Some((recipe, base64::decode(&rest[at + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_signed_with_the_key_of_the_recipe() {
        let recipe = Recipe::parse(&[&[1, b'P', 0][..], &[5; 18]].concat()).expect("a recipe");
        let reply = recipe.reply(b"secret", &[1; NONCE], &[2; NONCE]).expect("a reply");
        let key = recipe.key_pair(b"secret").expect("a key");
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ED25519,
            key.public_key().as_ref(),
        );
        assert_eq!(reply[..NONCE], [2; NONCE]);
        assert!(key.verify(&[[1; NONCE], [2; NONCE]].concat(), &reply[NONCE..]).is_ok());
    }

    // FACT(mariadb 11.8): what CREATE USER ... IDENTIFIED VIA parsec USING PASSWORD('secret') stored;
    // test: `a_stored_text_is_of_its_password_only`.
    const STORED: &[u8] =
        b"P0:pJR1SjQyPzUjrTI5gW4NhUB6:nZ6xJEFJFZigCTCd/N8F1ZhJV0CCIcv73WSmiBYZXQ0";

    #[test]
    fn a_stored_text_is_of_its_password_only() {
        assert!(is_password(b"secret", STORED));
        assert!(!is_password(b"Secret", STORED) && !is_password(b"", STORED));
    }

    #[test]
    fn texts_that_are_none_are_of_no_password() {
        for stored in ["", "P", "P0:", "P0::", "Q0:AAAA:AAAA", "P/:AAAA:AAAA", "Pz:AAAA:AAAA"] {
            assert!(!is_password(b"", stored.as_bytes()), "{stored}");
        }
        assert!(Recipe::parse(&[1, b'P', 200, 1]).is_none() && Recipe::parse(b"P\0salt").is_none());
    }
}
