//! The accounts of the primary, with what it takes to verify a client's password.

use std::net::IpAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::Value;
use zeroize::Zeroize;

use super::host;

/// `SHA1(SHA1(password))`, zeroed on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash([u8; 20]);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Hash {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// From `*` and 40 hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('*').filter(|digits| digits.len() == 40)?;
        let mut hash = [0; 20];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// How an account proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// mysql_native_password.
    NativePassword {
        /// `None` for the empty password.
        hash: Option<Hash>,
    },
    /// One that Fairlane can't pass through.
    Other(String),
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User name; empty for the anonymous one.
    pub user: String,
    /// Host pattern.
    pub host: String,
    /// How it logs in.
    pub plugin: Plugin,
    /// It may not log in.
    pub is_locked: bool,
}

/// All accounts, in the order in which the server looks at them.
#[derive(Debug, Default)]
pub struct Accounts(Vec<Account>);

impl Accounts {
    fn new(mut accounts: Vec<Account>) -> Self {
        accounts.sort_by_cached_key(|account| (host::rank(&account.host), account.user.is_empty()));
        Self(accounts)
    }

    /// The account a client falls under.
    pub fn find(&self, user: &str, client: IpAddr) -> Option<&Account> {
        self.0.iter().find(|account| {
            (account.user == user || account.user.is_empty())
                && host::matches(&account.host, client)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Loads the accounts.
pub(super) async fn load(
    conn: &mut Conn,
    is_mariadb: bool,
) -> Result<Accounts, mysql_async::Error> {
    if is_mariadb {
        let rows: Vec<Row> =
            conn.query("SELECT User, Host, CAST(Priv AS CHAR) FROM mysql.global_priv").await?;
        return Ok(Accounts::new(rows.into_iter().filter_map(of_global_priv).collect()));
    }
    let rows: Vec<Row> = conn
        .query(
            "SELECT User, Host, plugin, CAST(authentication_string AS CHAR), account_locked \
             FROM mysql.user",
        )
        .await?;
    Ok(Accounts::new(rows.into_iter().filter_map(of_user_table).collect()))
}

fn text(row: &mut Row, index: usize) -> Option<String> {
    let bytes: Vec<u8> = row.take_opt(index)?.ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn of_global_priv(mut row: Row) -> Option<Account> {
    let (user, host) = (text(&mut row, 0)?, text(&mut row, 1)?);
    let privileges: Value = serde_json::from_str(&text(&mut row, 2)?).ok()?;
    if privileges.get("is_role").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let is_locked = privileges.get("account_locked").and_then(Value::as_bool) == Some(true);
    Some(Account { user, host, plugin: plugin_of(&privileges), is_locked })
}

/// Of several ways to log in the native one, which is the one that can be passed through.
fn plugin_of(privileges: &Value) -> Plugin {
    let empty = Vec::new();
    let alternatives = privileges.get("auth_or").and_then(Value::as_array).unwrap_or(&empty);
    // An empty object among the alternatives stands for the account's own entry.
    let own = std::iter::once(privileges);
    let others = alternatives.iter().filter(|way| way.get("plugin").is_some());
    let mut name = String::from("mysql_native_password");
    for way in own.chain(others) {
        let field = |field| way.get(field).and_then(Value::as_str).unwrap_or_default();
        let plugin = native(field("plugin"), field("authentication_string"));
        match plugin {
            Plugin::NativePassword { .. } => return plugin,
            Plugin::Other(other) => name = other,
        }
    }
    Plugin::Other(name)
}

fn native(plugin: &str, stored: &str) -> Plugin {
    if !matches!(plugin, "" | "mysql_native_password") {
        return Plugin::Other(plugin.to_owned());
    }
    match (stored, Hash::parse(stored)) {
        ("", _) => Plugin::NativePassword { hash: None },
        (_, Some(hash)) => Plugin::NativePassword { hash: Some(hash) },
        // 'invalid', or a hash of the time before 4.1: nobody logs in with these.
        _ => Plugin::Other("mysql_native_password with an invalid hash".to_owned()),
    }
}

fn of_user_table(mut row: Row) -> Option<Account> {
    let (user, host) = (text(&mut row, 0)?, text(&mut row, 1)?);
    let plugin = native(&text(&mut row, 2)?, &text(&mut row, 3).unwrap_or_default());
    let is_locked = text(&mut row, 4).is_some_and(|locked| locked == "Y");
    Some(Account { user, host, plugin, is_locked })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";

    #[test]
    fn the_native_way_is_found_among_several() {
        let json = format!(
            r#"{{"auth_or":[{{}},{{"plugin":"unix_socket"}}],"plugin":"mysql_native_password","authentication_string":"{HASH}"}}"#
        );
        let privileges = serde_json::from_str(&json).expect("JSON");
        assert_eq!(plugin_of(&privileges), Plugin::NativePassword { hash: Hash::parse(HASH) });
        let invalid = r#"{"plugin":"mysql_native_password","authentication_string":"invalid","auth_or":[{},{"plugin":"unix_socket"}]}"#;
        let invalid = serde_json::from_str(invalid).expect("JSON");
        assert_eq!(plugin_of(&invalid), Plugin::Other("unix_socket".into()));
    }

    #[test]
    fn the_account_of_the_nearest_host_decides() {
        let account = |user: &str, host: &str| Account {
            user: user.into(),
            host: host.into(),
            plugin: Plugin::NativePassword { hash: None },
            is_locked: false,
        };
        let accounts = Accounts::new(vec![
            account("app", "%"),
            account("", "localhost"),
            account("app", "10.1.%"),
        ]);
        let found = |user: &str, address: &str| {
            let account = accounts.find(user, address.parse().expect("an address"));
            account.map(|account| (account.user.clone(), account.host.clone()))
        };
        assert_eq!(found("app", "10.1.1.1"), Some(("app".into(), "10.1.%".into())));
        // The well-known trap: an anonymous account at localhost hides 'app'@'%'.
        assert_eq!(found("app", "127.0.0.1"), Some((String::new(), "localhost".into())));
        assert_eq!(found("other", "10.1.1.1"), None);
    }
}
