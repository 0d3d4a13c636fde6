//! What a sandbox is to look like.

use std::path::PathBuf;

use crate::protocol::Family;

/// Settings of a sandbox; the default is one primary with one replica in a temporary directory.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which server to run.
    pub family: Family,
    /// The directory with the server's programs. `None`: they are searched for in `PATH`, and
    /// where distributions keep servers.
    pub programs: Option<PathBuf>,
    /// Where the servers live. `None`: a new temporary directory, removed at the end. A directory
    /// given by name is kept, and the same servers start again when it is given another time.
    pub directory: Option<PathBuf>,
    /// How many replicas follow the primary.
    pub replicas: usize,
    /// Server options for all servers (`max_connections=50`, with or without leading dashes).
    /// Options given here win over those the sandbox sets itself.
    pub extra: Vec<String>,
    /// Server options for the primary only; they win over `extra`.
    pub primary_extra: Vec<String>,
    /// Server options for the replicas only; they win over `extra`.
    pub replica_extra: Vec<String>,
    /// InnoDB buffer pool of each server, in MiB.
    pub buffer_pool_mb: u32,
    /// `max_connections` of each server.
    pub max_connections: u32,
    /// Whether the replicas write a general log (every statement they get, see
    /// [`Server::general_log_path`](super::Server::general_log_path)).
    pub replica_general_log: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            family: Family::MariaDb,
            programs: None,
            directory: None,
            replicas: 1,
            extra: Vec::new(),
            primary_extra: Vec::new(),
            replica_extra: Vec::new(),
            buffer_pool_mb: 64,
            max_connections: 200,
            replica_general_log: false,
        }
    }
}

/// A server option as an argument: leading dashes are added where they are missing.
pub(super) fn as_argument(option: &str) -> String {
    if option.starts_with("--") { option.to_owned() } else { format!("--{option}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments_with_exactly_two_dashes() {
        assert_eq!(as_argument("general_log=ON"), "--general_log=ON");
        assert_eq!(as_argument("--general_log=ON"), "--general_log=ON");
    }
}
