//! Bytes to meaning of the MySQL client/server protocol, without sockets.
//!
//! ```text
//! connection phase                          command phase
//! Greeting ─► HandshakeResponse ─► OK/ERR   Command ─► Response (a shape per command) ─► ...
//!          (AuthSwitchRequest ─► reply)
//! ```
//!
//! [`packet`] frames, [`wire`] reads and writes the basic types, [`handshake`] and [`auth`] are
//! the connection phase, [`command`] and [`response`] the command phase, [`status`] the OK, EOF
//! and ERR packets, [`compress`] the frames around packets and [`numbering`] their numbers towards
//! a server. Nothing but [`edit`] looks into a row.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html> and
//! <https://mariadb.com/kb/en/clientserver-protocol/>.

pub mod attribute;
pub mod auth;
mod base64;
pub mod capability;
pub mod code;
pub mod command;
pub mod compress;
pub mod crypt;
pub mod ed25519;
pub mod edit;
pub mod encoding;
mod family;
pub mod handshake;
pub mod metadata;
pub mod numbering;
pub mod packet;
pub mod parsec;
pub mod response;
pub mod sha2;
pub mod status;
pub mod tracking;
pub mod wire;

pub use capability::Capabilities;
pub use command::Command;
pub use encoding::Encoding;
pub use family::Family;
pub use response::{Advance, Response, Shape};
pub use wire::Malformed;
