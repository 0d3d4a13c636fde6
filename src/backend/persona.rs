//! Whom a server takes a login for. Two of them may differ in that though their accounts are the same: they see
//! Fairlane under different hosts, or their global variables have logins begin with other roles.

use sha2::{Digest, Sha256};

use super::connection::{Connection, Failure};
use super::reset::demand;

/// What the functions of these names told after a login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persona {
    /// USER() without its host, which is what the server calls Fairlane, or the client where it is told: servers see it
    /// where it is for them, and few views ask.
    user: Box<str>,
    /// CURRENT_USER(): the account whose privileges count.
    account: Box<str>,
    /// CURRENT_ROLE(), in an order of their own.
    roles: Box<str>,
    /// A digest of SHOW GRANTS, if that was asked for.
    grants: Option<[u8; 32]>,
}

impl Persona {
    /// That of a login with these values, each as hexadecimal digits of UTF-8.
    pub(super) fn of_digits(user: &str, account: &str, roles: &str) -> Self {
        let text = |digits| unhexed(digits).unwrap_or_default();
        Self::new(&text(user), text(account), &text(roles))
    }

    fn new(user: &str, account: String, roles: &str) -> Self {
        let mut roles: Vec<&str> = roles.split(',').collect();
        roles.sort_unstable();
        let name = user.rsplit_once('@').map_or(user, |(name, _)| name);
        Self {
            user: name.into(),
            account: account.into(),
            roles: roles.join(",").into(),
            grants: None,
        }
    }

    /// Whether its privileges are known.
    pub fn has_grants(&self) -> bool {
        self.grants.is_some()
    }

    /// Whether it is the same as `other` but for the privileges.
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { user, account, roles, .. } = self;
        (user, account, roles) == (&other.user, &other.account, &other.roles)
    }
}

impl Connection {
    /// Learns what its account may do, in whatever character set and order it is told. Right after the login.
    pub async fn learn_grants(&mut self) -> Result<(), Failure> {
        let results = self.base.results.clone();
        let is_converted = !results.is_empty() && !results.starts_with("utf8");
        if is_converted {
            demand(&self.query("SET character_set_results=utf8mb4").await?)?;
        }
        let mut grants = self.query("SHOW GRANTS").await?.rows();
        if is_converted {
            demand(&self.query(&format!("SET character_set_results={results}")).await?)?;
        }
        self.image.reset_variables();
        grants.sort_unstable();
        let mut digest = Sha256::new();
        grants.iter().flatten().for_each(|grant| {
            digest.update(grant);
            digest.update([0]);
        });
        self.persona.grants = Some(digest.finalize().into());
        Ok(())
    }
}

/// The text of hexadecimal digits; `None` where they are none, or not those of UTF-8.
pub(super) fn unhexed(digits: &str) -> Option<String> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

impl std::fmt::Display for Persona {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, account, roles, grants } = self;
        let roles = if roles.is_empty() { "NONE" } else { roles };
        write!(f, "USER() {user}, CURRENT_USER() {account}, CURRENT_ROLE() {roles}")?;
        match grants {
            Some([a, b, c, d, ..]) => {
                write!(f, ", digest of SHOW GRANTS {a:02x}{b:02x}{c:02x}{d:02x}")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_the_same_in_whatever_order() {
        let new = |roles| Persona::new("u@h", "u@%".to_owned(), roles);
        assert_eq!(new("`b`@`%`,`a`@`%`"), new("`a`@`%`,`b`@`%`"));
        assert_ne!(new("`a`@`%`"), new(""));
        assert_eq!(new("").to_string(), "USER() u, CURRENT_USER() u@%, CURRENT_ROLE() NONE");
    }

    #[test]
    fn names_are_read_from_their_digits() {
        let persona = Persona::of_digits("7540C3BC", "754025", "");
        assert_eq!(persona.to_string(), "USER() u, CURRENT_USER() u@%, CURRENT_ROLE() NONE");
        assert_eq!(unhexed("7072C3BC666572").as_deref(), Some("prüfer"));
    }
}
