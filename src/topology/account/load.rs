//! The account tables' rows to [`Account`]s.
//!
//! MariaDB 10.4 and later keep accounts in `mysql.global_priv` (one JSON object each); MySQL and
//! older MariaDB in `mysql.user`.

use std::time::Duration;

use serde_json::Value;

use super::super::line::{Line, Record, Trouble};
use super::host::{HostPattern, Names};
use super::{Account, Accounts, PasswordHash, Plugin, RequiredTls, SocketMethod};
use crate::protocol::sha2::{CACHING_SHA2, SHA256};
use crate::protocol::{Family, code, ed25519, parsec};

const NATIVE: &str = "mysql_native_password";

/// Most accounts taken from a server.
pub(in super::super) const MAX_ACCOUNTS: usize = 100_000;

/// Time for all of them.
const LOAD_LIMIT: Duration = Duration::from_secs(10);

/// `max_password_errors` of MariaDB that bounds nothing.
const UNLIMITED_ERRORS: i64 = u32::MAX as i64;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// Loads all accounts over the primary's control connection.
pub(in super::super) async fn load(line: &mut Line, family: Family) -> Result<Accounts, Trouble> {
    let limit = MAX_ACCOUNTS + 1;
    // MariaDB before 10.4.3 has none; the other comment is one of MySQL's.
    let rows = line
        .query(
            "SELECT @@global.skip_name_resolve AS skipped, UNIX_TIMESTAMP() AS now, \
             COALESCE(/*M!100403 @@global.default_password_lifetime,*/ \
             /*!80000 @@global.default_password_lifetime,*/ 0) AS lifetime, \
             COALESCE(/*M!100403 @@global.max_password_errors,*/ 0) AS errors",
        )
        .await?;
    let told = |name: &str| rows.first().and_then(|row| row.text(&[name]));
    let number = |name: &str| told(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let terms = Terms {
        now: number("now"),
        lifetime_days: number("lifetime"),
        counts_failures: (1..UNLIMITED_ERRORS).contains(&number("errors")),
    };
    let skipped = told("skipped");
    let names = if skipped.as_deref() == Some("1") { Names::Skipped } else { Names::Resolved };
    if family.is_mariadb() {
        let sql = format!("SELECT Host, User, Priv FROM mysql.global_priv LIMIT {limit}");
        match line.query_within(&sql, LOAD_LIMIT).await {
            Ok(rows) => return Ok(collect(&rows, names, |row| from_global_priv(row, terms))),
            // There is no mysql.global_priv.
            Err(Trouble::Refused { code: code::NO_SUCH_TABLE, .. }) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    let changed = match family {
        Family::MariaDb => "",
        Family::MySql => ", UNIX_TIMESTAMP(password_last_changed) AS changed",
    };
    let sql = format!("SELECT *{changed} FROM mysql.user LIMIT {limit}");
    let rows = line.query_within(&sql, LOAD_LIMIT).await?;
    Ok(collect(&rows, names, |row| from_user(row, family, terms)))
}

/// What holds for all accounts that do not say otherwise.
#[derive(Debug, Clone, Copy, Default)]
struct Terms {
    /// The server's time.
    now: i64,
    /// `default_password_lifetime`; 0: passwords do not expire by age.
    lifetime_days: i64,
    /// MariaDB's `max_password_errors` is set.
    counts_failures: bool,
}

impl Terms {
    /// Whether a password of this second has expired by age.
    fn is_over(self, changed: i64, own_days: Option<i64>) -> bool {
        let days = own_days.unwrap_or(self.lifetime_days);
        days > 0 && self.now.saturating_sub(changed) / SECONDS_A_DAY >= days
    }
}

fn collect(rows: &[Record], names: Names, parse: impl Fn(&Record) -> Option<Account>) -> Accounts {
    bounded(rows.iter().map(parse), names)
}

fn bounded(rows: impl ExactSizeIterator<Item = Option<Account>>, names: Names) -> Accounts {
    let are_more = rows.len() > MAX_ACCOUNTS;
    Accounts { are_more, ..Accounts::new(rows.take(MAX_ACCOUNTS).flatten(), names) }
}

fn from_global_priv(row: &Record, terms: Terms) -> Option<Account> {
    let (user, host) = (row.text(&["User"])?, row.text(&["Host"])?);
    let privileges: Value = serde_json::from_slice(row.bytes(&["Priv"])?).ok()?;
    global_priv_account(&user, &host, &privileges, terms)
}

/// The account of a row of MariaDB's `mysql.global_priv`, whatever the time is; `None` for a role, and
/// for what is no JSON.
pub fn parse_global_priv(user: &str, host: &str, privileges: &[u8]) -> Option<Account> {
    let privileges: Value = serde_json::from_slice(privileges).ok()?;
    global_priv_account(user, host, &privileges, Terms::default())
}

/// `None` for a role.
fn global_priv_account(
    user: &str,
    host: &str,
    privileges: &Value,
    terms: Terms,
) -> Option<Account> {
    let is_set = |key: &str| privileges.get(key).and_then(Value::as_bool).unwrap_or(false);
    if is_set("is_role") {
        return None;
    }
    let methods = match privileges.get("auth_or").and_then(Value::as_array) {
        // An empty object stands for the method written beside `auth_or`.
        Some(list) => list
            .iter()
            .map(|one| method(if one.get("plugin").is_some() { one } else { privileges }))
            .collect(),
        None => vec![method(privileges)],
    };
    let text =
        |key: &str| privileges.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| privileges.get(key).and_then(Value::as_i64);
    let changed = number("password_last_changed");
    let own_days = number("password_lifetime").filter(|days| *days >= 0);
    let required_tls = match privileges.get("ssl_type").and_then(Value::as_u64) {
        None | Some(0) => RequiredTls::Nothing,
        Some(1) => RequiredTls::Any,
        Some(2) => RequiredTls::Certificate,
        Some(_) => RequiredTls::Specified {
            issuer: text("x509_issuer"),
            subject: text("x509_subject"),
            cipher: text("ssl_cipher"),
        },
    };
    Some(account(
        user,
        HostPattern::new(host, Family::MariaDb),
        methods,
        Requirements {
            is_locked: is_set("account_locked"),
            required_tls,
            is_expired: changed == Some(0) || terms.is_over(changed.unwrap_or(0), own_days),
            counts_failures: terms.counts_failures,
        },
    ))
}

fn method(object: &Value) -> Plugin {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    plugin(text("plugin"), text("authentication_string").as_bytes())
}

fn from_user(row: &Record, family: Family, terms: Terms) -> Option<Account> {
    let (user, host) = (row.text(&["User"])?, row.text(&["Host"])?);
    let says = |name: &str| row.text(&[name]).unwrap_or_default();
    if says("is_role") == "Y" {
        return None;
    }
    // Before MariaDB 10.4 the hash may be in either column.
    let stored = [row.bytes(&["authentication_string"]), row.bytes(&["Password"])];
    let stored = stored.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or_default();
    let mut method = plugin(&says("plugin"), stored);
    if let Plugin::CachingSha2 { stored } | Plugin::Sha256 { stored } = &mut method {
        stored.extend(retained(&says("User_attributes")));
    }
    let methods = vec![method];
    let own_days = says("password_lifetime").parse().ok();
    let is_old = says("changed").parse().is_ok_and(|changed| terms.is_over(changed, own_days));
    let required_tls = match says("ssl_type").as_str() {
        "" => RequiredTls::Nothing,
        "ANY" => RequiredTls::Any,
        "X509" => RequiredTls::Certificate,
        _ => RequiredTls::Specified {
            issuer: says("x509_issuer"),
            subject: says("x509_subject"),
            cipher: says("ssl_cipher"),
        },
    };
    Some(account(
        &user,
        HostPattern::new(&host, family),
        methods,
        Requirements {
            is_locked: says("account_locked") == "Y",
            required_tls,
            is_expired: says("password_expired") == "Y" || is_old,
            counts_failures: counts_failures(&says("User_attributes")),
        },
    ))
}

/// The text of a password that was changed with RETAIN CURRENT PASSWORD.
fn retained(attributes: &str) -> Option<Box<[u8]>> {
    let attributes: Value = serde_json::from_str(attributes).ok()?;
    Some(attributes.get("additional_password")?.as_str()?.as_bytes().into())
}

/// Whether wrong passwords block an account: MySQL wants a number of them and a time.
fn counts_failures(attributes: &str) -> bool {
    let Ok(attributes) = serde_json::from_str::<Value>(attributes) else { return false };
    let number = |key: &str| attributes.get("Password_locking")?.get(key)?.as_i64();
    let is_set = |key: &str| number(key).is_some_and(|number| number != 0);
    is_set("failed_login_attempts") && is_set("password_lock_time_days")
}

fn plugin(name: &str, stored: &[u8]) -> Plugin {
    let texts = || [stored].into_iter().filter(|text| !text.is_empty()).map(Into::into).collect();
    match name {
        CACHING_SHA2 => return Plugin::CachingSha2 { stored: texts() },
        SHA256 => return Plugin::Sha256 { stored: texts() },
        ed25519::SERVER => return Plugin::Ed25519 { stored: stored.into() },
        parsec::PARSEC => return Plugin::Parsec { stored: stored.into() },
        "" | NATIVE => {}
        other => return Plugin::Other(other.to_owned()),
    }
    if stored.is_empty() {
        return Plugin::NativePassword { hash: None };
    }
    match PasswordHash::parse(stored) {
        Some(hash) => Plugin::NativePassword { hash: Some(hash) },
        None => Plugin::Unusable,
    }
}

struct Requirements {
    is_locked: bool,
    required_tls: RequiredTls,
    is_expired: bool,
    counts_failures: bool,
}

fn account(
    user: &str,
    host_pattern: HostPattern,
    mut methods: Vec<Plugin>,
    requirements: Requirements,
) -> Account {
    let socket = SocketMethod::among(&methods);
    let preferred =
        methods.iter().position(|method| matches!(method, Plugin::NativePassword { .. }));
    let plugin = match preferred.unwrap_or(0) {
        index if index < methods.len() => methods.remove(index),
        _ => Plugin::Unusable,
    };
    Account {
        user: user.to_owned(),
        host_pattern,
        plugin,
        alternatives: methods,
        is_locked: requirements.is_locked,
        required_tls: requirements.required_tls,
        is_expired: requirements.is_expired,
        counts_failures: requirements.counts_failures,
        socket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";

    fn parsed(json: &str) -> Option<Account> {
        let value = serde_json::from_str(json).expect("JSON");
        global_priv_account(
            "app",
            "%",
            &value,
            Terms { now: 20 * SECONDS_A_DAY, lifetime_days: 10, ..Terms::default() },
        )
    }

    fn native(stored: &str) -> Plugin {
        Plugin::NativePassword { hash: PasswordHash::parse(stored.as_bytes()) }
    }

    #[test]
    fn a_password_account_has_its_hash() {
        let json = format!(
            r#"{{"access":0,"plugin":"mysql_native_password","authentication_string":"{STORED}"}}"#
        );
        let account = parsed(&json).expect("an account");
        assert_eq!(account.plugin, native(STORED));
        assert!(!account.is_locked && account.required_tls == RequiredTls::Nothing);
    }

    #[test]
    fn a_password_is_preferred_among_alternatives() {
        let json = format!(
            r#"{{"plugin":"mysql_native_password","authentication_string":"{STORED}",
                "auth_or":[{{"plugin":"unix_socket"}},{{}}],"account_locked":true,"ssl_type":1}}"#
        );
        let account = parsed(&json).expect("an account");
        assert_eq!(account.plugin, native(STORED));
        assert_eq!(account.alternatives, [Plugin::Other("unix_socket".to_owned())]);
        assert_eq!(account.socket, SocketMethod::Earlier);
        assert!(account.is_locked && account.required_tls == RequiredTls::Any);
    }

    #[test]
    fn no_password_and_no_possible_password_are_different() {
        assert_eq!(parsed("{}").expect("an account").plugin, native(""));
        let invalid = r#"{"plugin":"mysql_native_password","authentication_string":"invalid"}"#;
        assert_eq!(parsed(invalid).expect("an account").plugin, Plugin::Unusable);
        assert!(parsed(r#"{"is_role":true}"#).is_none());
        assert_eq!(parsed(r#"{"auth_or":[]}"#).expect("an account").plugin, Plugin::Unusable);
    }

    #[test]
    fn accounts_beyond_the_bound_are_left_out_and_it_is_known() {
        let rows = |count| {
            let one = |number| parse_global_priv(&format!("user{number}"), "%", b"{}");
            bounded((0..count).map(one), Names::Resolved)
        };
        let all = rows(MAX_ACCOUNTS);
        assert!(all.len() == MAX_ACCOUNTS && !all.are_more());
        let some = rows(MAX_ACCOUNTS + 1);
        assert!(some.len() == MAX_ACCOUNTS && some.are_more());
    }

    #[test]
    fn passwords_expire_by_age() {
        for (changed, own_days, is_expired) in [
            (11, None, false),
            (10, None, true),
            (10, Some(-1), true),
            (10, Some(11), false),
            (10, Some(0), false),
            (19, Some(1), true),
        ] {
            let seconds = changed * SECONDS_A_DAY;
            let own = own_days.map(|days: i64| format!(r#","password_lifetime":{days}"#));
            let own = own.unwrap_or_default();
            let account = parsed(&format!(r#"{{"password_last_changed":{seconds}{own}}}"#));
            let account = account.expect("an account");
            assert_eq!(account.is_expired, is_expired, "{changed} {own_days:?}");
        }
    }
}
