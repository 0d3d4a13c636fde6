//! Fairlane: a MySQL-wire-protocol proxy that keeps interactive work fast while batch work runs.
//!
//! The crate is a stack of layers; a module may use modules of lower layers only
//! (`tests/tidy.rs` keeps that true):
//!
//! | layer | module | owns |
//! |---|---|---|
//! | 0 | [`units`], [`metrics`] | written quantities; numbers, their names and labels |
//! | 1 | [`protocol`] | bytes to meaning of the MySQL client/server protocol, without sockets |
//! | 1 | [`sql`] | statement text to [`sql::Verdict`] |
//! | 1 | [`config`] | the TOML file to validated [`config::Settings`] |
//! | 1 | [`error`] | what can go wrong, for whom, and the ERR packet that says so |
//! | 2 | [`state`] | what is sticky in a session, and how to carry it to another connection |
//! | 2 | [`route`] | which backend a statement goes to, and why |
//! | 2 | [`lanes`] | who may run now |
//! | 3 | [`net`], [`backend`] | sockets: the relay, and one connection to one server |
//! | 4 | [`pool`], [`topology`] | bounded connections per backend; what the servers are |
//! | 5 | [`client`] | one client session: the only place that knows all of the above |
//! | 6 | [`admin`], [`server`], [`sandbox`] | what operators see; building everything; private servers |
//! | 7 | [`cli`] | the command line |
//!
//! CONTRIBUTING.md has the reading order for a newcomer, docs/glossary.md the words.

pub mod admin;
pub mod backend;
pub mod cli;
pub mod client;
pub mod config;
pub mod error;
pub mod lanes;
pub mod metrics;
pub mod net;
pub mod pool;
pub mod protocol;
pub mod route;
pub mod sandbox;
pub mod server;
pub mod sql;
pub mod state;
pub mod topology;
pub mod units;
