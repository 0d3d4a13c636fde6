//! Dialects of the server families: the programs, options and statements in which they differ.
//!
//! Each family is one [`Dialect`], a table of constants in a file of its own; the rest of the
//! sandbox knows no family by name.

use super::{mariadb, mysql};
use crate::protocol::Family;

/// What a family calls things.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The server's program.
    pub(super) server: &'static str,
    /// The program that creates the system tables.
    pub(super) installer: &'static str,
    /// What to do when a program is missing.
    pub(super) cure: &'static str,
    /// Programs of another family that are called like these: what their links lead to.
    pub(super) impostors: &'static [&'static str],
    /// Arguments of the installer, besides the directories.
    pub(super) install: &'static [&'static str],
    /// Files of a new data directory that no two servers may share.
    pub(super) unique_files: &'static [&'static str],
    /// Options of every server.
    pub(super) common: &'static [&'static str],
    /// Options of the primary only.
    pub(super) primary: &'static [&'static str],
    /// Options of replicas only.
    pub(super) replica: &'static [&'static str],
    /// The first statements on a new primary.
    pub(super) prepare: &'static [&'static str],
    /// What the service account is granted.
    pub(super) service_grants: &'static [&'static str],
    /// Ends and starts replication.
    pub(super) stop_start: [&'static str; 2],
    /// The statement that names the primary, and the prefix of its options.
    pub(super) change_source: (&'static str, &'static str),
    /// Further options of that statement, in full.
    pub(super) source_options: &'static str,
    /// Asks a primary for its position.
    pub(super) position: &'static str,
    /// Waits on a replica for a position, for some seconds; 0 means that it was reached.
    pub(super) wait_for_position: &'static str,
}

impl Family {
    pub(super) fn dialect(self) -> &'static Dialect {
        match self {
            Self::MariaDb => &mariadb::DIALECT,
            Self::MySql => &mysql::DIALECT,
        }
    }
}
