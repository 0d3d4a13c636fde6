//! The server as the oracle: the same scripts on a server itself and through Fairlane, answers
//! compared packet by packet.
//!
//! What is masked: connection ids and nonces (in the greeting), ids of prepared statements.
//! Differences that are on purpose are listed in `docs/compatibility.md`, and the scripts here
//! keep clear of them.

#![allow(unreachable_pub, reason = "the support modules are a small library of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::needless_collect,
    reason = "these are tests"
)]

#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests")]
mod support;

mod compare;
mod compressed;
mod describe;
mod gone;
mod leak;
mod login;
mod params;
mod random;
mod scripts;
mod side;
mod step;
mod stopped;
mod tracked;
mod typed;
