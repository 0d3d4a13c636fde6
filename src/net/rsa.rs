//! The RSA encryption of passwords that travel without TLS (caching_sha2_password): OAEP with
//! SHA-1, as the servers and their clients do it.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

/// Tag of a public key in PEM form.
const PEM_TAG: &str = "PUBLIC KEY";

/// A key pair of Fairlane's own.
pub struct KeyPair {
    private: OaepPrivateDecryptingKey,
    /// The public half in PEM form, as clients want it.
    pub public_pem: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

impl KeyPair {
    /// Makes one; takes a fraction of a second.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, Unspecified> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
        let der: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        let public_pem = pem::encode(&pem::Pem::new(PEM_TAG, der.as_ref()));
        Ok(Self { private: OaepPrivateDecryptingKey::new(private)?, public_pem })
    }

    /// What was encrypted with the public half.
    ///
    /// # Errors
    /// When it was not.
    pub fn decrypt(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let mut plain = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length = self.private.decrypt(&OAEP_SHA1_MGF1SHA1, secret, &mut plain, None)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Encrypts for the owner of a public key in PEM form.
///
/// # Errors
/// When it is no such key, or too small for `plain`.
pub fn encrypt(plain: &[u8], public_pem: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let parsed = pem::parse(public_pem).map_err(|_| Unspecified)?;
    let key = PublicEncryptingKey::from_der(parsed.contents()).map_err(|_| Unspecified)?;
    let key = OaepPublicEncryptingKey::new(key)?;
    let mut secret = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut secret, None)?.len();
    secret.truncate(length);
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_decrypted_and_nothing_else() {
        let pair = KeyPair::generate().expect("a key");
        let secret = encrypt(b"password\0", pair.public_pem.as_bytes()).expect("encrypted");
        assert_eq!(pair.decrypt(&secret).expect("decrypted").as_slice(), b"password\0");
        assert!(pair.decrypt(&secret[1..]).is_err());
        assert!(pair.decrypt(&vec![0; secret.len()]).is_err());
        assert!(encrypt(b"x", b"no key").is_err());
        assert!(encrypt(&[0; 300], pair.public_pem.as_bytes()).is_err());
    }
}
