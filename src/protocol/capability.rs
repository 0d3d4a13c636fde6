//! Capability flags of both server families, and what Fairlane offers.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html>,
//! <https://mariadb.com/kb/en/connection/#capabilities>. MariaDB's own flags are bits 32 and up;
//! they are exchanged where MySQL has reserved bytes, when `LONG_PASSWORD` is not set.

use bitflags::bitflags;

bitflags! {
    /// Capability flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u64 {
        /// MySQL server or client (MariaDB clears it to announce its own flags).
        const LONG_PASSWORD = 1;
        /// UPDATE counts found instead of changed rows.
        const FOUND_ROWS = 1 << 1;
        /// Long column flags.
        const LONG_FLAG = 1 << 2;
        /// A schema in the handshake response.
        const CONNECT_WITH_DB = 1 << 3;
        /// No `schema.table.column`.
        const NO_SCHEMA = 1 << 4;
        /// zlib compression.
        const COMPRESS = 1 << 5;
        /// ODBC client.
        const ODBC = 1 << 6;
        /// LOAD DATA LOCAL.
        const LOCAL_FILES = 1 << 7;
        /// Spaces between function name and parenthesis.
        const IGNORE_SPACE = 1 << 8;
        /// The 4.1 protocol; Fairlane speaks no other.
        const PROTOCOL_41 = 1 << 9;
        /// `interactive_timeout` instead of `wait_timeout`.
        const INTERACTIVE = 1 << 10;
        /// TLS.
        const SSL = 1 << 11;
        /// Client ignores SIGPIPE.
        const IGNORE_SIGPIPE = 1 << 12;
        /// Status flags in EOF packets.
        const TRANSACTIONS = 1 << 13;
        /// Old name of `PROTOCOL_41`.
        const RESERVED = 1 << 14;
        /// 4.1 authentication.
        const SECURE_CONNECTION = 1 << 15;
        /// Several statements in one text.
        const MULTI_STATEMENTS = 1 << 16;
        /// Several result sets for one text.
        const MULTI_RESULTS = 1 << 17;
        /// Several result sets for one prepared statement.
        const PS_MULTI_RESULTS = 1 << 18;
        /// Named authentication plugins.
        const PLUGIN_AUTH = 1 << 19;
        /// Connection attributes.
        const CONNECT_ATTRS = 1 << 20;
        /// Length-encoded authentication data.
        const PLUGIN_AUTH_LENENC = 1 << 21;
        /// Can log in with an expired password.
        const CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22;
        /// Session state in OK packets.
        const SESSION_TRACK = 1 << 23;
        /// OK instead of EOF at the end of a result set.
        const DEPRECATE_EOF = 1 << 24;
        /// Result set metadata is optional (MySQL).
        const OPTIONAL_METADATA = 1 << 25;
        /// zstd compression (MySQL).
        const ZSTD = 1 << 26;
        /// Query attributes (MySQL).
        const QUERY_ATTRIBUTES = 1 << 27;
        /// Several authentication factors (MySQL).
        const MULTI_FACTOR = 1 << 28;
        /// The client verifies the server's certificate (client only).
        const VERIFY_SERVER_CERT = 1 << 30;
        /// The client remembers options (client only).
        const REMEMBER_OPTIONS = 1 << 31;
        /// MariaDB: reports of the progress of long statements.
        const MARIADB_PROGRESS = 1 << 32;
        /// MariaDB: several commands in one packet; today's servers do not offer it.
        const MARIADB_COM_MULTI = 1 << 33;
        /// MariaDB: execution of a prepared statement with arrays of parameters.
        const MARIADB_BULK = 1 << 34;
        /// MariaDB: extended type information in column definitions.
        const MARIADB_EXTENDED_METADATA = 1 << 35;
        /// MariaDB: column definitions are left out where the client has them already.
        const MARIADB_CACHE_METADATA = 1 << 36;
        /// MariaDB: a result for each set of parameters of a bulk execution.
        const MARIADB_BULK_UNIT_RESULTS = 1 << 37;
    }
}

impl Capabilities {
    /// What Fairlane can carry between a client and a server that both have it.
    pub const SUPPORTED: Self = Self::FOUND_ROWS
        .union(Self::LONG_PASSWORD)
        .union(Self::LONG_FLAG)
        .union(Self::CONNECT_WITH_DB)
        .union(Self::COMPRESS)
        .union(Self::ZSTD)
        .union(Self::NO_SCHEMA)
        .union(Self::ODBC)
        .union(Self::LOCAL_FILES)
        .union(Self::IGNORE_SPACE)
        .union(Self::PROTOCOL_41)
        .union(Self::INTERACTIVE)
        .union(Self::IGNORE_SIGPIPE)
        .union(Self::TRANSACTIONS)
        .union(Self::RESERVED)
        .union(Self::SECURE_CONNECTION)
        .union(Self::MULTI_STATEMENTS)
        .union(Self::MULTI_RESULTS)
        .union(Self::PS_MULTI_RESULTS)
        .union(Self::PLUGIN_AUTH)
        .union(Self::CONNECT_ATTRS)
        .union(Self::PLUGIN_AUTH_LENENC)
        .union(Self::SESSION_TRACK)
        .union(Self::DEPRECATE_EOF)
        .union(Self::QUERY_ATTRIBUTES)
        .union(Self::OPTIONAL_METADATA)
        .union(Self::CAN_HANDLE_EXPIRED_PASSWORDS)
        .union(Self::VERIFY_SERVER_CERT)
        .union(Self::REMEMBER_OPTIONS)
        .union(Self::MARIADB_PROGRESS)
        .union(Self::MARIADB_BULK)
        .union(Self::MARIADB_EXTENDED_METADATA)
        .union(Self::MARIADB_CACHE_METADATA)
        .union(Self::MARIADB_BULK_UNIT_RESULTS);

    /// Flags that change the meaning or the form of what a server answers: part of the identity
    /// of a pooled connection, since they are fixed at login. IGNORE_SPACE is not one of them: it
    /// is a part of the sql_mode a session begins with.
    pub const SEMANTIC: Self = Self::FOUND_ROWS
        .union(Self::NO_SCHEMA)
        .union(Self::ODBC)
        .union(Self::LOCAL_FILES)
        .union(Self::INTERACTIVE)
        .union(Self::TRANSACTIONS)
        .union(Self::MULTI_STATEMENTS)
        .union(Self::MULTI_RESULTS)
        .union(Self::PS_MULTI_RESULTS)
        .union(Self::DEPRECATE_EOF)
        .union(Self::QUERY_ATTRIBUTES)
        .union(Self::OPTIONAL_METADATA)
        .union(Self::MARIADB_PROGRESS)
        .union(Self::MARIADB_EXTENDED_METADATA)
        .union(Self::MARIADB_CACHE_METADATA);

    /// Flags without which packets to or from a server have another form.
    pub const FORM: Self = Self::DEPRECATE_EOF
        .union(Self::QUERY_ATTRIBUTES)
        .union(Self::MARIADB_EXTENDED_METADATA)
        .union(Self::MARIADB_CACHE_METADATA);

    /// Flags that only allow a command, or a flag of one. Backends are always asked for them, and
    /// whether a client has them is for Fairlane to see.
    const PERMITS: Self = Self::MARIADB_BULK.union(Self::MARIADB_BULK_UNIT_RESULTS);

    /// What is offered to clients of a server with `self`. A MariaDB server clears
    /// `LONG_PASSWORD` and has bits above 31.
    pub fn offered(self) -> Self {
        self & Self::SUPPORTED
    }

    /// What Fairlane asks a backend for on behalf of a client that negotiated `self`, given what
    /// the `server` has.
    pub fn towards_backend(self, server: Self) -> Self {
        let own = Self::PROTOCOL_41
            | Self::LONG_FLAG
            | Self::SECURE_CONNECTION
            | Self::PLUGIN_AUTH
            | Self::SESSION_TRACK
            | Self::TRANSACTIONS
            | Self::PERMITS
            | (server & Self::LONG_PASSWORD);
        let asked = Self::SEMANTIC | Self::CAN_HANDLE_EXPIRED_PASSWORDS;
        ((self & asked) | own) & server
    }

    /// Low half, as the greeting and the response carry it.
    pub fn low(self) -> u32 {
        (self.bits() & 0xffff_ffff) as u32
    }

    /// MariaDB's half.
    pub fn high(self) -> u32 {
        (self.bits() >> 32) as u32
    }
}
