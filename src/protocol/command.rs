//! Commands of the command phase and the shape of the response to each.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>,
//! <https://mariadb.com/kb/en/3-binary-protocol-prepared-statements/>.

use super::family::Family;
use super::packet::{self, HEADER};
use super::response::Shape;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $byte:literal, $label:literal;)*) => {
        /// A command byte Fairlane knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Command { $($(#[$doc])* $name = $byte,)* }

        impl Command {
            /// All commands, in the order of [`Command::index`].
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// From the first byte of a command packet.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$name),)* _ => None }
            }

            /// The metric label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

commands! {
    /// End of the session; no response.
    Quit = 0x01, "quit";
    /// Change of the schema.
    InitDb = 0x02, "init_db";
    /// A statement text.
    Query = 0x03, "query";
    /// Columns of a table; deprecated.
    FieldList = 0x04, "field_list";
    /// Create a schema; deprecated, refused by today's servers.
    CreateDb = 0x05, "create_db";
    /// Drop a schema; deprecated, refused by today's servers.
    DropDb = 0x06, "drop_db";
    /// FLUSH; deprecated.
    Refresh = 0x07, "refresh";
    /// Shut the server down.
    Shutdown = 0x08, "shutdown";
    /// A line of statistics.
    Statistics = 0x09, "statistics";
    /// SHOW PROCESSLIST; deprecated.
    ProcessInfo = 0x0a, "process_info";
    /// KILL; deprecated.
    ProcessKill = 0x0c, "process_kill";
    /// Dump debug information to the server's log.
    Debug = 0x0d, "debug";
    /// Is the server alive?
    Ping = 0x0e, "ping";
    /// Log in again as somebody.
    ChangeUser = 0x11, "change_user";
    /// Binary log from a file position.
    BinlogDump = 0x12, "binlog_dump";
    /// Copy of a table; gone from today's servers.
    TableDump = 0x13, "table_dump";
    /// Registration as a replica.
    RegisterReplica = 0x15, "register_replica";
    /// Prepare a statement.
    StmtPrepare = 0x16, "stmt_prepare";
    /// Execute a prepared statement.
    StmtExecute = 0x17, "stmt_execute";
    /// A piece of a long parameter; no response.
    StmtSendLongData = 0x18, "stmt_send_long_data";
    /// Forget a prepared statement; no response.
    StmtClose = 0x19, "stmt_close";
    /// Forget a prepared statement's long data and cursor.
    StmtReset = 0x1a, "stmt_reset";
    /// Multi-statements on or off.
    SetOption = 0x1b, "set_option";
    /// Rows of a cursor.
    StmtFetch = 0x1c, "stmt_fetch";
    /// Binary log from a GTID position.
    BinlogDumpGtid = 0x1e, "binlog_dump_gtid";
    /// Session back to its state after login.
    ResetConnection = 0x1f, "reset_connection";
    /// MariaDB: execute with arrays of parameters.
    StmtBulkExecute = 0xfa, "stmt_bulk_execute";
}

impl Command {
    /// How servers name a prepared statement's command in their errors.
    pub fn statement_name(self, family: Family) -> &'static str {
        match self {
            _ if !family.is_mariadb() => "mysql_stmt_precheck",
            Self::StmtReset => "mysqld_stmt_reset",
            Self::StmtFetch => "mysqld_stmt_fetch",
            _ => "mysqld_stmt_execute",
        }
    }

    /// Whether it runs a prepared statement.
    pub fn executes(self) -> bool {
        matches!(self, Self::StmtExecute | Self::StmtBulkExecute)
    }

    /// Dense index for metrics.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|&known| known == self).unwrap_or(0)
    }

    /// The shape of a server's response.
    pub fn shape(self) -> Shape {
        match self {
            Self::Quit | Self::StmtSendLongData | Self::StmtClose => Shape::Nothing,
            Self::Statistics => Shape::Text,
            Self::FieldList => Shape::Fields,
            Self::StmtPrepare => Shape::Prepared,
            Self::StmtFetch => Shape::Rows,
            Self::InitDb
            | Self::Query
            | Self::CreateDb
            | Self::DropDb
            | Self::Refresh
            | Self::Shutdown
            | Self::ProcessInfo
            | Self::ProcessKill
            | Self::Debug
            | Self::Ping
            | Self::ChangeUser
            | Self::BinlogDump
            | Self::TableDump
            | Self::RegisterReplica
            | Self::StmtExecute
            | Self::StmtReset
            | Self::SetOption
            | Self::BinlogDumpGtid
            | Self::ResetConnection
            | Self::StmtBulkExecute => Shape::Results,
        }
    }
}

/// Whether there is a whole command in `bytes`, which begin with one, that does more than to tidy up and to leave:
/// a server runs it also when its client has closed its end behind it.
pub fn are_left_to_run(mut bytes: &[u8]) -> bool {
    while let Ok(framed) = packet::frame(bytes) {
        let (whole, rest) = bytes.split_at(framed.wire_length);
        match whole.get(HEADER).and_then(|&byte| Command::from_byte(byte)) {
            Some(Command::Quit) => return false,
            Some(Command::StmtClose | Command::StmtReset | Command::Ping) => bytes = rest,
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_run_is_whole_and_more_than_a_farewell() {
        let (close, quit) = (&b"\x05\0\0\0\x19\x01\0\0\0"[..], &b"\x01\0\0\0\x01"[..]);
        let (query, begun) = (&b"\x03\0\0\0\x03DO"[..], &b"\x04\0\0\0\x03DO"[..]);
        for (commands, are_left) in [
            (&[][..], false),
            (&[quit], false),
            (&[close, quit], false),
            (&[close, close], false),
            (&[begun], false),
            (&[close, begun], false),
            (&[&b"\0\0"[..]], false),
            (&[query], true),
            (&[query, begun], true),
            (&[close, query, quit], true),
            // What comes behind a farewell is read by nobody.
            (&[quit, query], false),
            // An empty one is answered, with an error.
            (&[&b"\0\0\0\0"[..], quit], true),
        ] {
            assert_eq!(are_left_to_run(&commands.concat()), are_left, "{commands:?}");
        }
    }
}
