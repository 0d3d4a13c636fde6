//! The demo's configuration of Fairlane: servers and pools, and nothing about lanes.

use crate::load::CONNECTIONS;

/// Backend connections to the primary: two thirds of what the application has without Fairlane.
pub(crate) const PRIMARY_CONNECTIONS: u64 = 10;
/// Backend connections to the replica: the rest of it.
pub(crate) const REPLICA_CONNECTIONS: u64 = 5;
const _: () = assert!(PRIMARY_CONNECTIONS + REPLICA_CONNECTIONS == CONNECTIONS as u64);

const TEMPLATE: &str = r#"
listen = ["127.0.0.1:LISTEN"]

[admin]
listen = "127.0.0.1:ADMIN"

[service]
user = "fairlane"
password = "fairlane-secret"

[primary]
address = "127.0.0.1:PRIMARY"
max_connections = BOUND_P

[[replica]]
address = "127.0.0.1:REPLICA"
max_connections = BOUND_R

[routing]
KEYS
"#;

/// The configuration before the two servers; `LISTEN` and `ADMIN` are still to be filled in;
/// `routing` has lines for that section.
pub(crate) fn text((primary_port, replica_port): (u16, u16), routing: &str) -> String {
    TEMPLATE
        .replace("BOUND_P", &PRIMARY_CONNECTIONS.to_string())
        .replace("BOUND_R", &REPLICA_CONNECTIONS.to_string())
        .replace("KEYS", routing)
        .replace("PRIMARY", &primary_port.to_string())
        .replace("REPLICA", &replica_port.to_string())
}
