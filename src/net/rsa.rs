//! The RSA encryption of passwords that travel without TLS (caching_sha2_password and
//! sha256_password): OAEP with SHA-1, as the servers and their clients do it.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

/// Tag of a public key in PEM form.
const PEM_TAG: &str = "PUBLIC KEY";
/// Tag of a private one (PKCS #8).
const PRIVATE_TAG: &str = "PRIVATE KEY";

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
#[error(
    "rsa_private_key = \"{path}\": {reason}; give a file with an RSA key of 2048 bits or more in PEM \
     form, as PKCS #8: -----BEGIN PRIVATE KEY----- (openssl pkcs8 -topk8 -nocrypt turns others into it)"
)]
pub struct KeyError {
    path: String,
    reason: String,
}

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
        Self::new(PrivateDecryptingKey::generate(KeySize::Rsa2048)?)
    }

    /// That of a file.
    ///
    /// # Errors
    /// When it can't be read, or is no private key of PKCS #8 in PEM form.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |reason: String| KeyError { path: path.display().to_string(), reason };
        let text = std::fs::read(path).map(Zeroizing::new);
        let text = text.map_err(|error| failed(error.to_string()))?;
        let parsed = pem::parse(&*text).map_err(|_| failed("it is no PEM".to_owned()))?;
        let (tag, der) = (parsed.tag().to_owned(), Zeroizing::new(parsed.into_contents()));
        if tag != PRIVATE_TAG {
            return Err(failed(format!("it is a \"{tag}\"")));
        }
        let private = PrivateDecryptingKey::from_pkcs8(&der);
        let private = private.map_err(|error| failed(format!("it is no RSA key ({error})")))?;
        Self::new(private).map_err(|error| failed(error.to_string()))
    }

    fn new(private: PrivateDecryptingKey) -> Result<Self, Unspecified> {
        let der: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        // As the servers write it.
        let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let public_pem = pem::encode_config(&pem::Pem::new(PEM_TAG, der.as_ref()), lines);
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
