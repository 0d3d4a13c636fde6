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
    /// That of a login with these values.
    pub(super) fn new(user: &str, account: String, roles: &str) -> Self {
        let mut roles: Vec<&str> = roles.split(',').collect();
        roles.sort_unstable();
        let name = user.rsplit_once('@').map_or(user, |(name, _)| name);
        Self { user: name.into(), account: account.into(), roles: roles.join(",").into() }
    }
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
}
