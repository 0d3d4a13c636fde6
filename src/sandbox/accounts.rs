//! The accounts and schemas every sandbox has.
//!
//! They are created on the primary before its replicas start to follow it, so that they reach the
//! replicas by replication like everything else.
//!
//! | account | password | for |
//! |---|---|---|
//! | `root` | `root-secret` | tests that arrange or look behind the scenes |
//! | `fairlane` | `fairlane-secret` | Fairlane's service account |
//! | `app` | `app-secret` | the application: all on `shop` and on every `test...` schema |
//! | `replication` | `replication-secret` | the replicas |
//!
//! The service account has what Fairlane needs and no more:
//!
//! | MariaDB | MySQL | why |
//! |---|---|---|
//! | `SELECT` on `mysql.global_priv`, `mysql.user` | on `mysql.user` | how clients log in, and password hashes to verify them with |
//! | `BINLOG MONITOR` | `REPLICATION CLIENT` | what the primary leaves out of its binary log |
//! | `SLAVE MONITOR` | the same | `SHOW REPLICA STATUS`: lag, and whether replication is broken |
//! | `PROCESS` | the same, `SELECT` on `performance_schema` | see other users' statements and InnoDB transactions, to name who blocks whom |
//! | `CONNECTION ADMIN` | `CONNECTION_ADMIN` | `KILL` for a client that asked for it, and one connection when all are taken |

use super::dialect::Dialect;

/// Password of `root`.
pub const ROOT_PASSWORD: &str = "root-secret";
/// User of Fairlane's service account.
pub const SERVICE_USER: &str = "fairlane";
/// Password of Fairlane's service account.
pub const SERVICE_PASSWORD: &str = "fairlane-secret";
/// User of the application.
pub const APP_USER: &str = "app";
/// Password of the application.
pub const APP_PASSWORD: &str = "app-secret";
/// The schema every sandbox has, empty.
pub const APP_SCHEMA: &str = "shop";

const REPLICATION_USER: &str = "replication";
const REPLICATION_PASSWORD: &str = "replication-secret";

/// Hosts of the accounts that clients use. One entry each, because a server that resolves names
/// prefers `localhost` to `%`, and an entry for it might otherwise shadow the account.
const HOSTS: &[&str] = &["localhost", "127.0.0.1", "%"];

/// The statements that make a fresh primary a sandbox's primary.
pub(super) fn statements(dialect: &Dialect) -> Vec<String> {
    let mut all: Vec<String> = dialect.prepare.iter().map(|&sql| sql.to_owned()).collect();
    all.push(format!("CREATE DATABASE {APP_SCHEMA}"));
    for host in ["localhost", "%"] {
        all.push(account("CREATE USER", REPLICATION_USER, host, REPLICATION_PASSWORD));
        all.push(format!("GRANT REPLICATION SLAVE ON *.* TO '{REPLICATION_USER}'@'{host}'"));
    }
    for host in HOSTS {
        all.push(account("CREATE USER", SERVICE_USER, host, SERVICE_PASSWORD));
        all.push(account("CREATE USER", APP_USER, host, APP_PASSWORD));
        for grant in dialect.service_grants {
            all.push(format!("GRANT {grant} TO '{SERVICE_USER}'@'{host}'"));
        }
        for schema in [APP_SCHEMA, "test%"] {
            all.push(format!("GRANT ALL PRIVILEGES ON `{schema}`.* TO '{APP_USER}'@'{host}'"));
        }
    }
    // Some servers are installed with this one, without a password.
    all.push("DROP USER IF EXISTS 'root'@'127.0.0.1'".to_owned());
    all.push(account("CREATE USER", "root", "127.0.0.1", ROOT_PASSWORD));
    all.push("GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION".to_owned());
    // Last: whoever runs these statements came in without a password.
    all.push(account("ALTER USER", "root", "localhost", ROOT_PASSWORD));
    all
}

fn account(verb: &str, user: &str, host: &str, password: &str) -> String {
    format!("{verb} '{user}'@'{host}' IDENTIFIED BY '{password}'")
}

/// The statements that make a replica follow the primary at `host` and `port`.
pub(super) fn follow(dialect: &Dialect, host: &str, port: u16) -> [String; 3] {
    let ([stop, start], (change, source)) = (dialect.stop_start, dialect.change_source);
    [
        stop.to_owned(),
        format!(
            "{change} {source}_HOST = '{host}', {source}_PORT = {port}, \
             {source}_USER = '{REPLICATION_USER}', {source}_PASSWORD = '{REPLICATION_PASSWORD}', \
             {source}_CONNECT_RETRY = 1, {}",
            dialect.source_options
        ),
        start.to_owned(),
    ]
}
