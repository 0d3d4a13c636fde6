//! What Fairlane tells servers of itself: the connection attributes of its own logins.
//!
//! A pooled connection serves one client after the other, so it carries nothing of any of them: a
//! program's name that was true at the login would soon be a wrong one.

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Statements of clients.
    Pool,
    /// Probes and what else Fairlane asks for itself.
    Control,
}

/// Names and values, the names as clients of the servers use them.
/// Source: <https://dev.mysql.com/doc/refman/8.4/en/performance-schema-connection-attribute-tables.html>.
pub fn own(role: Role) -> [(&'static str, String); 7] {
    let role = match role {
        Role::Pool => "pool",
        Role::Control => "control",
    };
    [
        ("_client_name", "fairlane".to_owned()),
        ("_client_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("_os", std::env::consts::OS.to_owned()),
        ("_pid", std::process::id().to_string()),
        ("_platform", std::env::consts::ARCH.to_owned()),
        ("fairlane_role", role.to_owned()),
        ("program_name", "fairlane".to_owned()),
    ]
}
