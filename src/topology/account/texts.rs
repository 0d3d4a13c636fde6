//! What accounts store of their passwords, to tell whether one was changed.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;

use super::{Account, Accounts, Plugin};

const MARK: FixedState = FixedState::with_seed(3);

/// The mark of a stored text by which a password is proved; of an empty one where there is no password.
pub fn mark(text: &[u8]) -> u64 {
    MARK.hash_one(text)
}

impl Plugin {
    fn texts(&self) -> Vec<&[u8]> {
        match self {
            Self::NativePassword { hash: Some(hash) } => vec![hash.as_bytes()],
            Self::NativePassword { hash: None } => vec![b""],
            Self::CachingSha2 { stored } | Self::Sha256 { stored } if stored.is_empty() => {
                vec![b""]
            }
            Self::CachingSha2 { stored } | Self::Sha256 { stored } => {
                stored.iter().map(|text| &**text).collect()
            }
            Self::Ed25519 { stored } | Self::Parsec { stored } => vec![stored],
            Self::Unusable | Self::Other(_) => Vec::new(),
        }
    }
}

impl Account {
    fn texts(&self) -> Vec<&[u8]> {
        let plugins = std::iter::once(&self.plugin).chain(&self.alternatives);
        plugins.flat_map(Plugin::texts).collect()
    }

    /// The mark of all its texts, for a password that is known otherwise.
    pub fn mark(&self) -> u64 {
        MARK.hash_one(self.texts())
    }
}

impl Accounts {
    fn of_user(&self, user: &str) -> impl Iterator<Item = &Account> {
        [user, ""].into_iter().filter_map(|name| self.by_user.get(name)).flatten()
    }

    /// Whether an account that `user` may be given still has a text, or texts, of this mark.
    pub fn have(&self, user: &str, wanted: u64) -> bool {
        self.of_user(user).any(|account| {
            account.mark() == wanted || account.texts().into_iter().any(|text| mark(text) == wanted)
        })
    }

    /// A mark of all that is stored for `user`.
    pub fn version(&self, user: &str) -> u64 {
        MARK.hash_one(self.of_user(user).map(Account::texts).collect::<Vec<_>>())
    }

    /// Whether wrong passwords of `user` are counted.
    pub fn count_failures(&self, user: &str) -> bool {
        self.of_user(user).any(|account| account.counts_failures)
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Names;
    use super::super::parse_global_priv;
    use super::*;

    const TEXTS: [&str; 2] =
        ["*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"];

    fn accounts(users: &[(&str, &str)]) -> Accounts {
        let account = |&(user, text): &(&str, &str)| {
            let json =
                format!(r#"{{"plugin":"mysql_native_password","authentication_string":"{text}"}}"#);
            parse_global_priv(user, "%", json.as_bytes()).expect("an account")
        };
        Accounts::new(users.iter().map(account), Names::Resolved)
    }

    #[test]
    fn a_changed_password_is_told_from_one_that_is_still_there() {
        let before = accounts(&[("app", TEXTS[0]), ("other", TEXTS[1])]);
        let account = before.by_user.get("app").and_then(|list| list.first()).expect("there");
        let (text, all) = (mark(account.texts()[0]), account.mark());
        assert!(before.have("app", text) && before.have("app", all));
        assert!(!before.have("app", mark(b"")) && !before.have("other", text));
        let after = accounts(&[("app", TEXTS[1]), ("other", TEXTS[1])]);
        assert!(!after.have("app", text) && !after.have("app", all));
        assert_ne!(before.version("app"), after.version("app"));
        assert_eq!(before.version("other"), after.version("other"));
        let empty = accounts(&[("app", "")]);
        assert!(empty.have("app", mark(b"")) && !empty.have("gone", mark(b"")));
    }
}
