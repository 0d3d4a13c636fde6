//! Fairlane before real servers: one module per behaviour.

#![allow(unreachable_pub, reason = "the support modules are a small library of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::needless_collect,
    reason = "these are tests"
)]

mod support;

mod along;
mod assign;
mod auth;
mod autocommit;
mod bad_peers;
mod beginnings;
mod cli;
mod commands;
mod compression;
mod conditions;
mod cost;
mod expired;
mod failures;
mod freshness;
mod holdings;
mod idle;
mod in_flight;
mod insert_ids;
mod interrupts;
mod kept;
mod lanes;
mod large;
mod leftovers;
mod locks;
mod lost;
mod moved;
mod names;
mod not_logged;
mod other_globals;
mod overload;
mod personas;
mod pool_bound;
mod prepare;
mod prepared;
mod procedures;
mod proxy_header;
mod reload;
mod rotation;
mod routines;
mod routing;
mod shown;
mod shutdown;
mod sockets;
mod state;
mod throttle;
mod trackers;
mod transactions;
mod twins;
mod untold;
mod visits;
