//! One connection to one server: login, state, prepared statements, reset and farewell.

mod connection;
mod farewell;
mod life;
mod login;
mod names;
mod persona;
mod reset;
mod residue;
mod routine;
mod statement;
mod unread;

pub use connection::{
    Choice, Connection, ConnectionKey, DoubleHash, Exchange, ExpiredLogin, Failure, command_packet,
};
pub use farewell::LINGER;
pub use life::{Life, Strays};
pub use login::{Credential, LoginError, Route, open};
pub use names::{NamesMemory, means_the_same};
pub use persona::Persona;
pub use reset::{KEEP_TEXTS, Reset};
pub use residue::Residue;
pub use routine::{Definition, LockCounts, Ran};
pub use statement::StatementCache;
pub use unread::{UnreadHere, UnreadId};

pub use crate::net::tls::TlsError;
