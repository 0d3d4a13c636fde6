//! The demo's configuration of Fairlane: lanes for users and scraper, and one rule.

/// Fifteen backend connections in all, as the application has without Fairlane.
const TEMPLATE: &str = r#"listen = ["127.0.0.1:LISTEN"]

[admin]
listen = "127.0.0.1:ADMIN"

[service]
user = "fairlane"
password = "fairlane-secret"

[primary]
address = "127.0.0.1:PRIMARY"
max_connections = 10

[[replica]]
address = "127.0.0.1:REPLICA"
max_connections = 5

[[lane]]
name = "interactive"
reserved = "40%"
max = "100%"
queue = 10000
queue_timeout = "5s"

[[lane]]
name = "batch"
reserved = 1
max = 6
queue = 10000
queue_timeout = "120s"

[[rule]]
lane = "batch"
digest = "insert into items*"
scope = "session"
"#;

/// The configuration before the two servers; `LISTEN` and `ADMIN` are still to be filled in.
pub(crate) fn text(primary_port: u16, replica_port: u16) -> String {
    TEMPLATE
        .replace("PRIMARY", &primary_port.to_string())
        .replace("REPLICA", &replica_port.to_string())
}
