//! What is sticky in a session, and how to carry it to another backend connection.
//!
//! A session and a backend connection each have an [`Image`]: schema and changed system
//! variables. Before a statement runs on a connection whose image differs, [`diff`] writes the
//! commands that make them equal. What cannot be carried pins the session to its connection
//! ([`Pin`]).

pub mod begun;
mod characteristics;
pub mod diff;
mod holdings;
pub mod image;
pub mod kept;
pub mod kinds;
mod pin;
pub mod prepared;
mod trackers;
pub mod transaction_names;

pub use characteristics::{Characteristics, Turn};
pub use holdings::Holdings;
pub use image::{Base, Image};
pub use kept::Kept;
pub use pin::{Pin, Pins};
pub use trackers::{Trackers, own_trackers};
pub use transaction_names::TransactionNames;
