//! Server error codes and SQLSTATEs that Fairlane sends or looks at.
//!
//! Source: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>.

/// Too many connections.
pub const CON_COUNT_ERROR: u16 = 1040;
/// The account's connections are too many for the server (1203) or for the account (1226).
pub const TOO_MANY_USER_CONNECTIONS: u16 = 1203;
/// See [`TOO_MANY_USER_CONNECTIONS`].
pub const USER_LIMIT_REACHED: u16 = 1226;
/// Bad handshake.
pub const HANDSHAKE_ERROR: u16 = 1043;
/// Access denied for user.
pub const ACCESS_DENIED: u16 = 1045;
/// ER_ACCESS_DENIED_NO_PASSWORD_ERROR: the same, of an account that may have none.
pub const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
/// ER_DBACCESS_DENIED_ERROR: no privilege for a schema.
pub const DBACCESS_DENIED: u16 = 1044;
/// ER_TABLEACCESS_DENIED_ERROR.
pub const TABLEACCESS_DENIED: u16 = 1142;
/// ER_COLUMNACCESS_DENIED_ERROR.
pub const COLUMNACCESS_DENIED: u16 = 1143;
/// ER_SPECIFIC_ACCESS_DENIED_ERROR: a global privilege is missing.
pub const SPECIFIC_ACCESS_DENIED: u16 = 1227;
/// ER_PROCACCESS_DENIED_ERROR: a routine may not be called.
pub const PROCACCESS_DENIED: u16 = 1370;
/// ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL).
pub const ACCOUNT_LOCKED_MYSQL: u16 = 3118;
/// An account is blocked after wrong passwords: MySQL's error, and MariaDB's.
pub const BLOCKED: [u16; 2] = [3955, 4150];
/// Unknown command.
pub const UNKNOWN_COM: u16 = 1047;
/// No schema is chosen.
pub const NO_DB: u16 = 1046;
/// Unknown schema.
pub const UNKNOWN_DATABASE: u16 = 1049;
/// Unknown table in a schema of the server's own.
pub const UNKNOWN_TABLE: u16 = 1109;
/// The table does not exist.
pub const NO_SUCH_TABLE: u16 = 1146;
/// ER_SP_DOES_NOT_EXIST: there is no such routine.
pub const SP_DOES_NOT_EXIST: u16 = 1305;
/// ER_BAD_FIELD_ERROR: the column does not exist.
pub const BAD_FIELD: u16 = 1054;
/// ER_KEY_DOES_NOT_EXITS: nor does the index that was named.
pub const KEY_DOES_NOT_EXIST: u16 = 1176;
/// ER_FT_MATCHING_KEY_NOT_FOUND: no such full-text index.
pub const FT_MATCHING_KEY_NOT_FOUND: u16 = 1191;
/// ER_UNKNOWN_PARTITION.
pub const UNKNOWN_PARTITION: u16 = 1735;
/// ER_WARN_I_S_SKIPPED_TABLE: its definition is being changed.
pub const SKIPPED_TABLE: u16 = 1684;
/// ER_WRONG_OBJECT: a table where a view was meant, or the like.
pub const WRONG_OBJECT: u16 = 1347;
/// ER_VIEW_NO_EXPLAIN: what is behind a view may not be seen.
pub const VIEW_NO_EXPLAIN: u16 = 1345;
/// ER_VIEW_INVALID: what a view names is not there, or may not be read.
pub const VIEW_INVALID: u16 = 1356;
/// ER_NO_SUCH_USER: the one a view or a routine is defined by.
pub const NO_SUCH_USER: u16 = 1449;
/// No such privilege: of an account, on a table, on a routine.
pub const NONEXISTING_GRANT: u16 = 1141;
/// See [`NONEXISTING_GRANT`].
pub const NONEXISTING_TABLE_GRANT: u16 = 1147;
/// See [`NONEXISTING_GRANT`].
pub const NONEXISTING_PROC_GRANT: u16 = 1403;
/// ER_PARSE_ERROR: the statement did nothing at all.
pub const PARSE_ERROR: u16 = 1064;
/// Unknown time zone.
pub const UNKNOWN_TIME_ZONE: u16 = 1298;
/// Unknown system variable.
pub const UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
/// Unknown thread id.
pub const NO_SUCH_THREAD: u16 = 1094;
/// ER_SERVER_OFFLINE_MODE (MySQL).
pub const SERVER_OFFLINE: u16 = 3032;
/// ER_HOST_IS_BLOCKED.
pub const HOST_IS_BLOCKED: u16 = 1129;
/// ER_HOST_NOT_PRIVILEGED.
pub const HOST_NOT_PRIVILEGED: u16 = 1130;
/// KILL of somebody else's session.
pub const KILL_DENIED: u16 = 1095;
/// Unknown error.
pub const UNKNOWN_ERROR: u16 = 1105;
/// Packet larger than `max_allowed_packet`.
pub const NET_PACKET_TOO_LARGE: u16 = 1153;
/// Incorrect arguments to a command.
pub const WRONG_ARGUMENTS: u16 = 1210;
/// Packets out of order.
pub const NET_PACKETS_OUT_OF_ORDER: u16 = 1156;
/// Deadlock: the transaction was rolled back.
pub const LOCK_DEADLOCK: u16 = 1213;
/// A change of rows in a transaction or a session that can only read.
pub const CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: u16 = 1792;
/// Not supported yet.
pub const NOT_SUPPORTED_YET: u16 = 1235;
/// Unknown prepared statement handler.
pub const UNKNOWN_STMT_HANDLER: u16 = 1243;
/// The client knows no plugin its account could have.
pub const NOT_SUPPORTED_AUTH_MODE: u16 = 1251;
/// Not to be done with a prepared statement.
pub const UNSUPPORTED_PS: u16 = 1295;
/// Nothing but a new password is taken.
pub const MUST_CHANGE_PASSWORD: u16 = 1820;
/// The password has expired, and the client can't handle that.
pub const MUST_CHANGE_PASSWORD_LOGIN: u16 = 1862;
/// COM_STMT_FETCH without an open cursor.
pub const STMT_HAS_NO_OPEN_CURSOR: u16 = 1421;
/// Too many prepared statements.
pub const MAX_PREPARED_STMT_COUNT: u16 = 1461;
/// Malformed communication packet.
pub const MALFORMED_PACKET: u16 = 1835;
/// Query execution was interrupted.
pub const QUERY_INTERRUPTED: u16 = 1317;
/// MariaDB: the session was ended.
pub const CONNECTION_KILLED: u16 = 1927;
/// The server shuts down.
pub const SERVER_SHUTDOWN: u16 = 1053;
/// CR_SERVER_GONE_ERROR.
pub const SERVER_GONE: u16 = 2006;
/// MariaDB: `max_statement_time` exceeded.
pub const STATEMENT_TIMEOUT: u16 = 1969;
/// MySQL: `max_execution_time` exceeded.
pub const QUERY_TIMEOUT: u16 = 3024;
/// ER_WRONG_COMPRESSION_LEVEL_CLIENT.
pub const WRONG_COMPRESSION_LEVEL: u16 = 3923;
/// ER_SECURE_TRANSPORT_REQUIRED.
pub const SECURE_TRANSPORT_REQUIRED: u16 = 3159;
/// ER_NET_READ_ERROR. What clients call a lost connection has a number (2013) that only they may use:
/// in an ERR packet they take it for a malformed one.
pub const NET_READ_ERROR: u16 = 1158;
/// ER_CLIENT_INTERACTION_TIMEOUT (MySQL).
pub const CLIENT_INTERACTION_TIMEOUT: u16 = 4031;
/// MariaDB: this account is locked.
pub const ACCOUNT_LOCKED_MARIADB: u16 = 4151;
