//! mysql_native_password, from both ends.
//!
//! A server stores `SHA1(SHA1(password))`. The client proves that it knows `SHA1(password)` by
//! sending it XORed with `SHA1(nonce + stored)`; whoever has the stored hash can take it out
//! again, and log in elsewhere with it. That is how Fairlane logs in as the client without
//! knowing its password.
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_native_password_authentication.html>.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Name of the plugin.
pub const NATIVE: &str = "mysql_native_password";
/// Length of a nonce.
pub const NONCE: usize = 20;

/// `SHA1(password)`, which is as good as the password towards a server; zeroed on drop.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proof([u8; 20]);

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(..)")
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Proof {
    /// From a password; `None` for the empty one, which is proved by an empty reply.
    pub fn of_password(password: &[u8]) -> Option<Self> {
        (!password.is_empty()).then(|| Self(Sha1::digest(password).into()))
    }

    /// Takes the proof out of a client's reply; `None` when the reply does not fit the stored
    /// hash, that is, when the password is wrong.
    pub fn from_reply(reply: &[u8], nonce: &[u8], stored: &[u8; 20]) -> Option<Self> {
        let mut proof: [u8; 20] = reply.try_into().ok()?;
        let mask = mask(nonce, stored);
        proof.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        let proof = Self(proof);
        bool::from(proof.stored().ct_eq(stored)).then_some(proof)
    }

    /// What a server stores for this password.
    pub fn stored(&self) -> [u8; 20] {
        Sha1::digest(self.0).into()
    }

    /// The reply to a server's nonce.
    pub fn reply(&self, nonce: &[u8]) -> [u8; 20] {
        let mut reply = mask(nonce, &self.stored());
        reply.iter_mut().zip(self.0).for_each(|(byte, proof)| *byte ^= proof);
        reply
    }
}

fn mask(nonce: &[u8], stored: &[u8; 20]) -> [u8; 20] {
    Sha1::new().chain_update(nonce).chain_update(stored).finalize().into()
}

/// A nonce for a greeting: 20 bytes without NUL from the system's random source.
///
/// # Errors
/// When the system has no randomness to give.
pub fn nonce() -> Result<[u8; NONCE], getrandom::Error> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce)?;
    // 7 bits a byte, as the servers do it: the nonce travels as a NUL-terminated string.
    nonce.iter_mut().for_each(|byte| *byte = (*byte & 0x7f).max(1));
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_taken_from_a_reply_logs_in_elsewhere() {
        let proof = Proof::of_password(b"secret").expect("not empty");
        let stored = proof.stored();
        let (here, there) = ([b'a'; NONCE], [b'b'; NONCE]);
        let taken = Proof::from_reply(&proof.reply(&here), &here, &stored).expect("right password");
        assert_eq!(taken.reply(&there), proof.reply(&there));
        assert!(Proof::from_reply(&proof.reply(&here), &there, &stored).is_none());
        assert!(Proof::from_reply(b"", &here, &stored).is_none());
        assert_eq!(format!("{proof:?}"), "Proof(..)");
    }
}
