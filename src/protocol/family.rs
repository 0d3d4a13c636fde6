//! Which server is on the other side, as far as the servers differ.

/// Which servers behave alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// MariaDB.
    MariaDb,
    /// MySQL and what is built from it.
    MySql,
}

impl Family {
    /// The family of a server whose own version this is.
    pub fn of_version(version: &str) -> Self {
        match version.to_ascii_lowercase().contains("mariadb") {
            true => Self::MariaDb,
            false => Self::MySql,
        }
    }

    /// True for [`Family::MariaDb`].
    pub const fn is_mariadb(self) -> bool {
        matches!(self, Self::MariaDb)
    }

    /// An expression for what tells a server from all others. MariaDB has no UUID.
    /// Source: <https://dev.mysql.com/doc/refman/8.4/en/replication-options.html#sysvar_server_uuid>.
    pub const fn server_identity(self) -> &'static str {
        match self {
            Self::MariaDb => "CONCAT_WS(' ',@@hostname,@@port,@@global.server_id)",
            Self::MySql => "@@server_uuid",
        }
    }
}
