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
    /// Learns what its account may do, in whatever character set and order it is told; nothing where the server does not
    /// tell. Right after the login.
    pub async fn learn_grants(&mut self) -> Result<(), Failure> {
        let results = self.base.results.clone();
        let is_converted = !results.is_empty() && !results.starts_with("utf8");
        if is_converted {
            demand(&self.query("SET character_set_results=utf8mb4").await?)?;
        }
        let answer = self.query("SHOW GRANTS").await?;
        if is_converted {
            let set = format!("SET character_set_results={results}");
            demand(&self.query(&set).await?)?;
        }
        self.image.reset_variables();
        self.persona.grants = answer.summary.error.is_none().then(|| digest_of(&answer.rows()));
        Ok(())
    }
}

/// The same for the same grants, in whatever order they are.
fn digest_of(rows: &[Vec<String>]) -> [u8; 32] {
    let mut grants: Vec<String> = rows.iter().flatten().map(|grant| in_order(grant)).collect();
    grants.sort_unstable();
    let mut digest = Sha256::new();
    for grant in grants {
        digest.update(grant);
        digest.update([0]);
    }
    digest.finalize().into()
}

/// A grant with the columns of each privilege in order. To be compared, not to be read.
///
/// FACT(mariadb 10.11): they come in the order of a hash table, which is another one once the accounts are read again;
/// test: `columns_are_the_same_privileges_in_whatever_order`.
fn in_order(grant: &str) -> String {
    let mut quote = None;
    let is_mark = |c| {
        match quote {
            // One that is doubled ends it and begins it again.
            Some(open) if open == c => quote = None,
            None if matches!(c, '`' | '"' | '\'') => quote = Some(c),
            _ => {}
        }
        quote.is_none() && matches!(c, '(' | ',' | ')')
    };
    let mut parts: Vec<&str> = grant.split_inclusive(is_mark).collect();
    for list in parts.split_mut(|part| part.ends_with('(')).skip(1) {
        let Some(last) = list.iter().position(|part| part.ends_with(')')) else { continue };
        if let Some((columns, _)) = list.split_at_mut_checked(last + 1) {
            columns.iter_mut().for_each(|it| *it = it.trim_matches([' ', ',', ')']));
            columns.sort_unstable();
        }
    }
    parts.join(",")
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
    fn grants_are_the_same_in_whatever_order_they_and_their_columns_are() {
        let digest = |grants: &[&str]| {
            digest_of(&grants.iter().map(|grant| vec![(*grant).to_owned()]).collect::<Vec<_>>())
        };
        let usage = "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*0A'";
        let first = "GRANT SELECT (`a`, `b`, `c`), INSERT (`d`) ON `s`.`t` TO `u`@`%`";
        let second = "GRANT SELECT (`c`, `a`, `b`), INSERT (`d`) ON `s`.`t` TO `u`@`%`";
        assert_eq!(digest(&[usage, first]), digest(&[second, usage]));
        for other in [
            "GRANT SELECT (`a`, `b`), INSERT (`c`, `d`) ON `s`.`t` TO `u`@`%`",
            "GRANT SELECT (`a`, `b`, `d`), INSERT (`c`) ON `s`.`t` TO `u`@`%`",
            "GRANT SELECT (`a`, `c`), INSERT (`d`) ON `s`.`t` TO `u`@`%`",
        ] {
            assert_ne!(digest(&[first]), digest(&[other]), "{other}");
        }
    }

    #[test]
    fn what_is_in_the_names_of_columns_is_no_list() {
        assert_eq!(in_order("(`b`, `a)`)"), in_order("(`a)`, `b`)"));
        assert_eq!(in_order("(`b`, `a,``(`)"), in_order("(`a,``(`, `b`)"));
        assert_ne!(in_order("ON `(b,a)`.`t`"), in_order("ON `(a,b)`.`t`"));
        assert_ne!(in_order("(`b,a`)"), in_order("(`a,b`)"));
    }

    #[test]
    fn names_are_read_from_their_digits() {
        let persona = Persona::of_digits("7540C3BC", "754025", "");
        assert_eq!(persona.to_string(), "USER() u, CURRENT_USER() u@%, CURRENT_ROLE() NONE");
        assert_eq!(unhexed("7072C3BC666572").as_deref(), Some("prüfer"));
    }
}
