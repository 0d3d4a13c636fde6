//! Connection attributes of Fairlane's logins at servers: of itself, and of clients if it is to.
//!
//! A pooled connection serves one client after the other: a program's name that was true at the login
//! would soon be a wrong one. So connections carry Fairlane's own attributes, or are shared only by
//! clients with the same ones.

use std::sync::Arc;

/// Names and values.
pub type Attributes = [(String, String)];

/// What tells one process, or one thread in it, from others that run the same program.
const OF_A_PROCESS: [&str; 2] = ["_pid", "_thread"];
/// Most bytes of names and values taken over from a client: servers refuse more than 64 KiB in all.
const SHARED_MAX: usize = 60_000;

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

/// Those of a client's that it shares with others of its kind, sorted; none when they are too long.
pub fn shared(given: &Attributes) -> Arc<Attributes> {
    let is_shared = |(name, _): &&(String, String)| !OF_A_PROCESS.contains(&name.as_str());
    let mut shared: Vec<_> = given.iter().filter(is_shared).cloned().collect();
    shared.sort();
    let bytes: usize = shared.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > SHARED_MAX {
        shared.clear();
    }
    shared.into()
}

/// Those of a connection of the pool, whose clients are told of if `shared` is given: with
/// Fairlane's own behind them, under names that no client's library takes.
pub fn of_pool(shared: Option<&Attributes>) -> Vec<(String, String)> {
    let Some(shared) = shared else {
        return own(Role::Pool).map(|(name, value)| (name.to_owned(), value)).into();
    };
    let added = [
        ("fairlane_pid", std::process::id().to_string()),
        ("fairlane_role", "pool".to_owned()),
        ("fairlane_version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let added = added.map(|(name, value)| (name.to_owned(), value));
    let is_kept = |(name, _): &&(String, String)| added.iter().all(|(own, _)| own != name);
    shared.iter().filter(is_kept).cloned().chain(added.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn processes_of_one_program_have_the_same() {
        let one =
            texts(&[("_pid", "1"), ("_os", "Linux"), ("_client_name", "x"), ("_thread", "9")]);
        let other = texts(&[("_client_name", "x"), ("_os", "Linux"), ("_pid", "2")]);
        assert_eq!(shared(&one), shared(&other));
        assert_eq!(shared(&one)[..], texts(&[("_client_name", "x"), ("_os", "Linux")]));
        assert_ne!(shared(&one), shared(&texts(&[("_client_name", "y"), ("_os", "Linux")])));
    }

    #[test]
    fn too_long_ones_are_left_out_whole() {
        let long = texts(&[("a", "b"), ("x", &"y".repeat(SHARED_MAX))]);
        assert!(shared(&long).is_empty());
    }

    #[test]
    fn nobody_passes_for_fairlane() {
        let given = texts(&[("fairlane_role", "control"), ("program_name", "artisan")]);
        let names = |all: Vec<(String, String)>| all.into_iter().map(|(name, _)| name);
        let all: Vec<String> = names(of_pool(Some(&given))).collect();
        assert_eq!(all, ["program_name", "fairlane_pid", "fairlane_role", "fairlane_version"]);
        let role = of_pool(Some(&given)).into_iter().find(|(name, _)| name == "fairlane_role");
        assert_eq!(role.expect("a role").1, "pool");
        assert_eq!(of_pool(None).len(), own(Role::Pool).len());
    }
}
