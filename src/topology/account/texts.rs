//! What accounts store of their passwords, to tell whether one was changed.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;

use super::{Account, Plugin};

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

    /// Whether it still has a text, or texts, of this mark.
    pub fn has(&self, wanted: u64) -> bool {
        self.mark() == wanted || self.texts().into_iter().any(|text| mark(text) == wanted)
    }

    /// A mark of its name.
    pub fn name_mark(&self) -> u64 {
        MARK.hash_one((&self.user, self.host_pattern.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_global_priv;
    use super::*;

    const TEXTS: [&str; 2] =
        ["*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"];

    fn account(user: &str, host: &str, text: &str) -> Account {
        let json =
            format!(r#"{{"plugin":"mysql_native_password","authentication_string":"{text}"}}"#);
        parse_global_priv(user, host, json.as_bytes()).expect("an account")
    }

    #[test]
    fn a_changed_password_is_told_from_one_that_is_still_there() {
        let before = account("app", "%", TEXTS[0]);
        let (text, all) = (mark(before.texts()[0]), before.mark());
        assert!(before.has(text) && before.has(all) && !before.has(mark(b"")));
        let after = account("app", "%", TEXTS[1]);
        assert!(!after.has(text) && !after.has(all));
        assert_eq!(before.name_mark(), after.name_mark());
        assert_ne!(before.name_mark(), account("app", "localhost", TEXTS[0]).name_mark());
        assert!(account("app", "%", "").has(mark(b"")));
    }
}
