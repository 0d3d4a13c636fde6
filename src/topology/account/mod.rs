//! The servers' accounts: who may log in from where, and how.
//!
//! Loaded from the primary's account table and replaced as a whole; [`Accounts::find`] answers
//! like the server would for a client with that address. Password hashes are wiped when dropped
//! and never printed.

pub mod host;
mod ledger;
mod load;
mod texts;

pub(super) use ledger::{Ledger, RELOAD_SPACING};
pub use load::parse_global_priv;
pub(super) use load::{MAX_ACCOUNTS, load};
pub use texts::mark;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use zeroize::{Zeroize as _, ZeroizeOnDrop};

use self::host::{HostPattern, Names, Peer};

/// What the service account needs to read the accounts.
pub const ACCOUNTS_GRANT: &str = "GRANT SELECT ON mysql.global_priv (MySQL: mysql.user)";

/// The plugin for clients over a Unix socket (MariaDB).
pub const UNIX_SOCKET: &str = "unix_socket";

/// SHA1(SHA1(password)), what `mysql_native_password` stores.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash([u8; 20]);

impl PasswordHash {
    /// Wraps the binary hash.
    pub fn new(hash: [u8; 20]) -> Self {
        Self(hash)
    }

    /// Parses `*` and 40 hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.strip_prefix(b"*").filter(|digits| digits.len() == 40)?;
        let mut hash = Self([0; 20]);
        for (byte, pair) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(hash)
    }

    /// The binary hash.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl Drop for PasswordHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for PasswordHash {}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// How an account proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// `mysql_native_password`.
    NativePassword {
        /// `None`: the password is empty.
        hash: Option<PasswordHash>,
    },
    /// `mysql_native_password` with a stored text that no password matches, such as `invalid`.
    Unusable,
    /// `caching_sha2_password`.
    CachingSha2 {
        /// The stored texts of the passwords that are good (a second one while the old is
        /// retained); none for the empty password.
        stored: Vec<Box<[u8]>>,
    },
    /// `sha256_password` (MySQL).
    Sha256 {
        /// As with [`Plugin::CachingSha2`].
        stored: Vec<Box<[u8]>>,
    },
    /// `ed25519` (MariaDB).
    Ed25519 {
        /// The public key as the account stores it.
        stored: Box<[u8]>,
    },
    /// `parsec` (MariaDB).
    Parsec {
        /// Iterations, salt and public key as the account stores them.
        stored: Box<[u8]>,
    },
    /// Any other plugin, by name.
    Other(String),
}

/// What an account requires of TLS.
/// Source: <https://mariadb.com/kb/en/securing-connections-for-client-and-server/#requiring-tls>.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RequiredTls {
    /// Nothing, not even TLS.
    #[default]
    Nothing,
    /// `REQUIRE SSL`.
    Any,
    /// `REQUIRE X509`: a certificate of an issuer the server trusts.
    Certificate,
    /// `REQUIRE ISSUER`, `SUBJECT`, `CIPHER`, each if it is not empty.
    Specified {
        /// The certificate's issuer.
        issuer: String,
        /// Its subject.
        subject: String,
        /// The connection's cipher.
        cipher: String,
    },
}

impl RequiredTls {
    /// Whether it is fulfilled by a client with this cipher and certificate (issuer, subject);
    /// `None` is no TLS at all.
    pub fn is_met(&self, tls: Option<(&str, Option<(&str, &str)>)>) -> bool {
        let Some((used, shown)) = tls else { return *self == Self::Nothing };
        let is = |wanted: &str, has: Option<&str>| wanted.is_empty() || has == Some(wanted);
        match self {
            Self::Nothing | Self::Any => true,
            Self::Certificate => shown.is_some(),
            Self::Specified { issuer, subject, cipher } => {
                is(cipher, Some(used))
                    && is(issuer, shown.map(|(issuer, _)| issuer))
                    && is(subject, shown.map(|(_, subject)| subject))
            }
        }
    }
}

/// One account.
#[derive(Debug, Clone)]
pub struct Account {
    /// User name; empty for the anonymous account.
    pub user: String,
    /// Where its clients come from.
    pub host_pattern: HostPattern,
    /// How it logs in: `mysql_native_password` if any of its methods is that, else the first.
    pub plugin: Plugin,
    /// Its other methods (`IDENTIFIED VIA ... OR ...`), in the server's order: one is enough.
    pub alternatives: Vec<Plugin>,
    /// `ACCOUNT LOCK`: the server refuses it after a correct password.
    pub is_locked: bool,
    /// `REQUIRE`: what the server wants of a client's TLS.
    pub required_tls: RequiredTls,
    /// `PASSWORD EXPIRE`, or the password is too old: the server lets it do nothing but change the password.
    pub is_expired: bool,
    /// The server counts wrong passwords, and blocks the account after too many.
    pub counts_failures: bool,
    /// Whether `unix_socket` is one of its methods, which no client over TCP can use.
    pub socket: SocketMethod,
}

/// What `unix_socket` is among an account's methods (MariaDB). The server does not mention the password in an error once it
/// has tried that, until it tries a password that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SocketMethod {
    /// None of them.
    #[default]
    None,
    /// Others follow.
    Earlier,
    /// The last one, or the only one.
    Last,
}

impl SocketMethod {
    fn among(methods: &[Plugin]) -> Self {
        let is_socket =
            |method: &Plugin| matches!(method, Plugin::Other(name) if name == UNIX_SOCKET);
        match methods.iter().rposition(is_socket) {
            None => Self::None,
            Some(last) if last + 1 == methods.len() => Self::Last,
            Some(_) => Self::Earlier,
        }
    }
}

/// All accounts of the primary, as last loaded.
#[derive(Debug, Default)]
pub struct Accounts {
    /// By user name, each list in the order the server tries its hosts.
    by_user: HashMap<String, Vec<Account>>,
    count: usize,
    names: Names,
    /// The server has more of them than were loaded.
    are_more: bool,
}

impl Accounts {
    /// Sorts accounts the way the server does.
    pub fn new(accounts: impl IntoIterator<Item = Account>, names: Names) -> Self {
        let mut all = Self { names, ..Self::default() };
        for account in accounts {
            all.count += 1;
            all.by_user.entry(account.user.clone()).or_default().push(account);
        }
        for list in all.by_user.values_mut() {
            list.sort_by(|a, b| a.host_pattern.rank().cmp(b.host_pattern.rank()));
        }
        all
    }

    /// The account the server uses for a client `user` from this address.
    ///
    /// A more specific host wins even over the user name: the anonymous account at `localhost` is
    /// taken before `user` at `%`. A loopback client that no account is for is looked up as
    /// `localhost`, `127.0.0.1` and `::1` as well.
    pub fn find(&self, user: &str, client: IpAddr) -> Option<&Account> {
        let peer = Peer::new(client, self.names);
        self.find_exactly(user, &peer)
            .or_else(|| peer.aliases().find_map(|alias| self.find_exactly(user, &alias)))
    }

    fn find_exactly(&self, user: &str, peer: &Peer) -> Option<&Account> {
        let first = |name: &str| {
            self.by_user.get(name)?.iter().find(|account| account.host_pattern.matches(peer))
        };
        let (named, anonymous) = match (first(user), first("")) {
            (Some(named), Some(anonymous)) => (named, anonymous),
            (found, other) => return found.or(other),
        };
        let (named_host, anonymous_host) = (&named.host_pattern, &anonymous.host_pattern);
        let anonymous_wins = !named_host.is_as_general_as(anonymous_host)
            && anonymous_host.rank() < named_host.rank();
        Some(if anonymous_wins { anonymous } else { named })
    }

    /// Whether the server turns addresses into names.
    pub fn names(&self) -> Names {
        self.names
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the server has more of them, which were not loaded.
    pub fn are_more(&self) -> bool {
        self.are_more
    }

    /// Nothing loaded, or nothing there.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Family;

    fn account(user: &str, host: &str) -> Account {
        Account {
            user: user.to_owned(),
            host_pattern: HostPattern::new(host, Family::MariaDb),
            plugin: Plugin::NativePassword { hash: None },
            alternatives: Vec::new(),
            is_locked: false,
            required_tls: RequiredTls::Nothing,
            is_expired: false,
            counts_failures: false,
            socket: SocketMethod::None,
        }
    }

    fn found(accounts: &Accounts, user: &str, client: &str) -> Option<String> {
        let client = client.parse().expect("an address");
        let account = accounts.find(user, client)?;
        Some(format!("{}@{}", account.user, account.host_pattern.as_str()))
    }

    #[test]
    fn the_more_specific_host_wins_over_the_user_name() {
        let accounts = [
            account("bob", "%"),
            account("", "localhost"),
            account("", "10.%"),
            account("eve", "10.%"),
        ];
        let accounts = Accounts::new(accounts, Names::Resolved);
        assert_eq!(found(&accounts, "bob", "127.0.0.1").as_deref(), Some("@localhost"));
        assert_eq!(found(&accounts, "bob", "192.0.2.1").as_deref(), Some("bob@%"));
        assert_eq!(found(&accounts, "bob", "10.0.0.1").as_deref(), Some("@10.%"));
        assert_eq!(found(&accounts, "eve", "10.0.0.1").as_deref(), Some("eve@10.%"));
        assert_eq!(found(&accounts, "nobody", "192.0.2.1"), None);
        assert_eq!(found(&accounts, "BOB", "192.0.2.1"), None, "user names have letter case");
    }

    #[test]
    fn without_names_localhost_is_the_last_resort() {
        let both = [account("bob", "localhost"), account("bob", "127.%")];
        let accounts = Accounts::new(both.clone(), Names::Skipped);
        assert_eq!(found(&accounts, "bob", "127.0.0.1").as_deref(), Some("bob@127.%"));
        let accounts = Accounts::new(both.into_iter().take(1), Names::Skipped);
        assert_eq!(found(&accounts, "bob", "127.0.0.1").as_deref(), Some("bob@localhost"));
        assert_eq!(found(&accounts, "bob", "127.0.0.5"), None);
    }

    #[test]
    fn hashes_are_parsed_and_never_printed() {
        let text = b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";
        let hash = PasswordHash::parse(text).expect("a hash");
        assert_eq!(hash.as_bytes()[..2], [0x24, 0x70]);
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
        assert!(PasswordHash::parse(b"invalid").is_none());
        assert!(PasswordHash::parse(&text[..40]).is_none());
    }
}
