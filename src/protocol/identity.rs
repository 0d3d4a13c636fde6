//! What tells a server from all others.

/// An expression for what a server says it is. MariaDB has no UUID.
/// Source: <https://dev.mysql.com/doc/refman/8.4/en/replication-options.html#sysvar_server_uuid>.
pub const fn server_identity(is_mariadb: bool) -> &'static str {
    match is_mariadb {
        true => "CONCAT_WS(' ',@@hostname,@@port,@@global.server_id)",
        false => "@@server_uuid",
    }
}
