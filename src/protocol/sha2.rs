//! caching_sha2_password and sha256_password, from both ends, without their packets.
//!
//! A client that knows the password sends `SHA256(password) XOR SHA256(SHA256(SHA256(password)) +
//! nonce)`. A server can check that only if it has the double hash in its cache; if not, it asks
//! for the password itself, over TLS or encrypted with its RSA key.
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>.
//!
//! sha256_password, its predecessor, has no cache: the first reply is the password over TLS, and
//! without TLS what asks for the key.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Name of the plugin with a cache.
pub const CACHING_SHA2: &str = "caching_sha2_password";
/// Name of the plugin without one (MySQL).
pub const SHA256: &str = "sha256_password";
/// First byte of an AuthMoreData packet.
pub const MORE_DATA: u8 = 0x01;
/// The reply was right: OK follows.
pub const FAST_OK: u8 = 0x03;
/// The password itself is wanted.
pub const FULL: u8 = 0x04;
/// The client asks for the RSA key.
pub const REQUEST_KEY: u8 = 0x02;
/// Likewise with [`SHA256`].
pub const SHA256_REQUEST_KEY: u8 = 0x01;

/// `SHA256(SHA256(password))`: checks replies, and gives no password away.
pub type Double = [u8; 32];

/// The double hash of a password.
pub fn double(password: &[u8]) -> Double {
    let mut single: [u8; 32] = Sha256::digest(password).into();
    let double = Sha256::digest(single).into();
    single.zeroize();
    double
}

/// What tells a password of one stored text from all others, and from itself under another.
pub fn bound(double: &Double, stored: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(double).chain_update(stored).finalize().into()
}

/// Whether `reply` to `nonce` shows that the client knows the password of `double`.
pub fn is_right(reply: &[u8], nonce: &[u8], double: &Double) -> bool {
    let Ok(mut single) = <[u8; 32]>::try_from(reply) else { return false };
    let mask: [u8; 32] = Sha256::new().chain_update(double).chain_update(nonce).finalize().into();
    single.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    let hashed: [u8; 32] = Sha256::digest(single).into();
    single.zeroize();
    hashed.ct_eq(double).into()
}

/// The reply to a server's nonce; empty for the empty password.
pub fn reply(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    mysql_common::scramble::scramble_sha256(nonce, password)
        .map(|reply| reply.to_vec())
        .unwrap_or_default()
}

/// XORs a password with the nonce, again and again: done before it is encrypted, and undone after.
pub fn mask(password: &[u8], nonce: &[u8]) -> Zeroizing<Vec<u8>> {
    let masks = nonce.iter().cycle();
    Zeroizing::new(password.iter().zip(masks).map(|(byte, mask)| byte ^ mask).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_right_for_its_password_and_nonce_only() {
        let nonce = [b'n'; 20];
        let reply = reply(b"secret", &nonce);
        assert!(is_right(&reply, &nonce, &double(b"secret")));
        assert!(!is_right(&reply, &[b'm'; 20], &double(b"secret")));
        assert!(!is_right(&reply, &nonce, &double(b"Secret")));
        assert!(!is_right(&reply[..31], &nonce, &double(b"secret")));
        assert!(!is_right(b"", &nonce, &double(b"")));
        assert!(super::reply(b"", &nonce).is_empty());
    }

    #[test]
    fn masking_twice_gives_the_password_back() {
        let nonce = [7; 20];
        let long = b"a password that is longer than the nonce\0";
        assert_eq!(*mask(&mask(long, &nonce), &nonce), long);
    }
}
