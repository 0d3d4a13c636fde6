//! MariaDB's `ed25519` accounts: the server keeps a public key, clients sign its nonce.
//!
//! The secret is SHA-512 of the whole password, so it has no 32-byte seed as in RFC 8032, but
//! signatures are verified as any others.
//! Source: <https://mariadb.com/kb/en/authentication-plugin-ed25519/>.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use mysql_common::scramble::create_response_for_ed25519;

use super::base64;

/// The server's name of the plugin, in its account tables.
pub const SERVER: &str = "ed25519";
/// The client's name of it, in authentication packets.
pub const CLIENT: &str = "client_ed25519";
/// Bytes of its nonce.
pub const NONCE: usize = 32;

/// Bytes of a public key.
const KEY: usize = 32;

/// A client's reply to a nonce.
pub fn reply(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    create_response_for_ed25519(password, nonce).to_vec()
}

/// Whether `reply` is the nonce signed by the owner of the public key that an account stores.
pub fn is_right(reply: &[u8], nonce: &[u8], stored: &[u8]) -> bool {
    let key = base64::decode(stored).filter(|key| key.len() == KEY);
    key.is_some_and(|key| UnparsedPublicKey::new(&ED25519, key).verify(nonce, reply).is_ok())
}

/// Whether a stored text is of this password.
pub fn is_password(password: &[u8], stored: &[u8]) -> bool {
    // What is signed does not matter here.
    const MESSAGE: [u8; NONCE] = [0; NONCE];
    is_right(&reply(password, &MESSAGE), &MESSAGE, stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    // FACT(mariadb 10.11): ed25519_password('secret') is this text; test:
    // `ed25519_accounts_log_in_over_tls`.
    const STORED: &[u8] = b"ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY";

    #[test]
    fn a_stored_key_is_of_its_password_only() {
        assert!(is_password(b"secret", STORED));
        assert!(!is_password(b"Secret", STORED) && !is_password(b"", STORED));
        assert!(!is_password(b"secret", b"") && !is_password(b"secret", b"ZIgU"));
    }

    #[test]
    fn a_reply_is_good_for_its_nonce_only() {
        let nonce = [7; NONCE];
        assert!(is_right(&reply(b"secret", &nonce), &nonce, STORED));
        assert!(!is_right(&reply(b"secret", &nonce), &[8; NONCE], STORED));
        assert!(!is_right(&[], &nonce, STORED) && !is_right(&[0; 64], &nonce, STORED));
    }
}
