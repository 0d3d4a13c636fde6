//! The text that a server stores for an account of caching_sha2_password or sha256_password, and
//! which password it is of.
//!
//! The former is `$A$`, rounds / 1000 as three hexadecimal digits, `$`, a salt of 20 bytes, and the
//! SHA256-crypt of both in 43 letters; the latter `$5$`, such a salt, `$` and the letters of 5000
//! rounds.
//! Source: <https://www.akkadia.org/drepper/SHA-crypt.txt>; the layout of the text and the salt
//! that is longer than in the standard are MySQL's (9.7, tried).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const SALT: usize = 20;
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// More rounds than the servers accept.
const ROUNDS_MAX: usize = 0xFFF * 1000;
/// Those of the standard, where a text does not name them.
const ROUNDS: usize = 5000;

/// Whether `stored` is the text of `password`. Takes some milliseconds.
pub fn is_password(password: &[u8], stored: &[u8]) -> bool {
    let Some((rounds, salt, hash)) = parse(stored) else { return false };
    let computed = encode(&crypt(password, salt, rounds));
    computed.ct_eq(hash).into()
}

fn parse(stored: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    if let Some(rest) = stored.strip_prefix(b"$5$") {
        let (salt, hash) = rest.split_at_checked(SALT)?;
        return Some((ROUNDS, salt, hash.strip_prefix(b"$")?));
    }
    let rest = stored.strip_prefix(b"$A$")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let (salt, hash) = rest.strip_prefix(b"$")?.split_at_checked(SALT)?;
    let rounds = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? * 1000;
    (rounds <= ROUNDS_MAX).then_some((rounds, salt, hash))
}

type Hash = [u8; 32];

fn repeated(hash: &Hash, length: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(hash.iter().copied().cycle().take(length).collect())
}

fn crypt(password: &[u8], salt: &[u8], rounds: usize) -> Hash {
    let both: Hash = Sha256::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Sha256::new().chain_update(password).chain_update(salt);
    first.update(&*repeated(&both, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(both)
        } else {
            first.update(password)
        }
        bits >>= 1;
    }
    let mut hash: Hash = first.finalize().into();
    let mut passwords = Sha256::new();
    (0..password.len()).for_each(|_| passwords.update(password));
    let password = repeated(&passwords.finalize().into(), password.len());
    let mut salts = Sha256::new();
    (0..16 + usize::from(hash[0])).for_each(|_| salts.update(salt));
    let salt = repeated(&salts.finalize().into(), salt.len());
    for round in 0..rounds {
        let mut next = Sha256::new();
        let is_odd = round & 1 == 1;
        if is_odd {
            next.update(&*password)
        } else {
            next.update(hash)
        }
        if round % 3 != 0 {
            next.update(&*salt);
        }
        if round % 7 != 0 {
            next.update(&*password);
        }
        if is_odd {
            next.update(hash)
        } else {
            next.update(&*password)
        }
        hash = next.finalize().into();
    }
    hash
}

/// The standard's own order of bytes and letters.
fn encode(hash: &Hash) -> Vec<u8> {
    let mut letters = Vec::with_capacity(43);
    let mut put = |high: u8, middle: u8, low: u8, count: usize| {
        let mut bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
        for _ in 0..count {
            letters.push(LETTERS[(bits & 63) as usize]);
            bits >>= 6;
        }
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        put(hash[a], hash[b], hash[c], 4);
        (a, b, c) = ((c + 1) % 30, (a + 1) % 30, (b + 1) % 30);
    }
    put(0, hash[31], hash[30], 3);
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the standard: "Hello world!" with the salt "saltstring" and 5000 rounds.
    #[test]
    fn the_standards_example_comes_out() {
        let hash = crypt(b"Hello world!", b"saltstring", 5000);
        assert_eq!(encode(&hash), b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
    }

    #[test]
    fn a_stored_text_is_of_its_password_only() {
        let salt = [b's'; SALT];
        let mut stored = b"$A$005$".to_vec();
        stored.extend(salt);
        stored.extend(encode(&crypt(b"secret", &salt, 5000)));
        assert!(is_password(b"secret", &stored));
        assert!(!is_password(b"Secret", &stored));
        assert!(!is_password(b"", &stored));
        for length in 0..stored.len() {
            assert!(!is_password(b"secret", &stored[..length]), "{length}");
        }
        // MySQL 9.7, CREATE USER IDENTIFIED WITH sha256_password BY 'pw-1'.
        let stored =
            b"$5$\x0ax5e\x01]vs}PuS%f~A\x1dLKN$b2pcijIJu0OBxwBXyDe.vniJuUFagvarUHXOWlvscqA";
        assert!(is_password(b"pw-2", stored) && !is_password(b"pw-1", stored));
        for length in 0..stored.len() {
            assert!(!is_password(b"pw-2", &stored[..length]), "{length}");
        }
    }
}
