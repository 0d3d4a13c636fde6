//! MySQL 9.7 behind Fairlane, and TLS, with MySQL's own client: each answer next to the one the
//! server gives directly.

#![allow(unreachable_pub, reason = "the support modules are a small library of their own")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "these are tests")]

#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests")]
mod support;

mod attributes;
mod compression;
mod logins;
mod sessions;
mod sha256;
mod tls;

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use fairlane::protocol::Family;
use fairlane::sandbox::Options;
use support::Servers;
use support::servers::{Order, keep};
use tokio::sync::mpsc::Sender;

const SERVER_PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/unstable/mysql/bin");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/unstable/client/bin/mysql");

/// A MySQL primary and replica, shared by all tests.
fn mysql() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let (servers, _) = started(vec!["max_allowed_packet=64M".into()]);
        servers
    })
}

/// A MySQL primary and replica with more options; orders can be sent to them.
fn started(extra: Vec<String>) -> (Servers, Sender<Order>) {
    let programs = Some(SERVER_PROGRAMS.into());
    let options = Options { family: Family::MySql, programs, extra, ..Options::default() };
    let (mut servers, orders) = keep(options);
    // Over a Unix socket MySQL would see localhost, and take another account.
    servers.replica_address = format!("127.0.0.1:{}", servers.replica);
    (servers, orders)
}

/// The same servers, with more in Fairlane's configuration of them.
fn with_keys(keys: &str) -> Servers {
    Servers { keys: keys.to_owned(), ..mysql().clone() }
}

/// What a run of the client said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    out: String,
    err: String,
}

/// Runs the client against a port.
fn client(port: u16, arguments: &[&str], sql: &str) -> Said {
    let output = Command::new(CLIENT)
        .args(["--no-defaults", "--host=127.0.0.1", "--batch", "--skip-column-names"])
        .arg(format!("--port={port}"))
        .args(arguments)
        .arg("--execute")
        .arg(sql)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{CLIENT}: {error} (scripts/install.sh test?)"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let err = text(&output.stderr);
    let warning = "mysql: [Warning] Using a password on the command line interface can be \
                   insecure.\n";
    Said { out: text(&output.stdout), err: err.replace(warning, "") }
}

/// Runs statements as root on the primary, and waits until the replica has them.
fn as_root(servers: &Servers, sql: &str) {
    let said = client(servers.primary, &["-uroot", "-proot-secret"], sql);
    assert_eq!(said.err, "", "{sql}");
    let position = client(servers.primary, &["-uroot", "-proot-secret"], "SELECT @@gtid_executed");
    let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{}', 20)", position.out.trim());
    let waited = client(servers.replica, &["-uroot", "-proot-secret"], &wait);
    assert_eq!(waited.out.trim(), "0", "{waited:?}");
}
