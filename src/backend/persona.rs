//! Whom a server takes a login for. Two of them may differ in that though their accounts are the same: they see
//! Fairlane under different hosts, or their global variables have logins begin with other roles.

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
        Self { user: name.into(), account: account.into(), roles: roles.join(",").into() }
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
        let Self { user, account, roles } = self;
        let roles = if roles.is_empty() { "NONE" } else { roles };
        write!(f, "USER() {user}, CURRENT_USER() {account}, CURRENT_ROLE() {roles}")
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
