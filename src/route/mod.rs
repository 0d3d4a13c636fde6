//! Which backend a statement goes to, and why. Pure: no socket, no clock.

pub mod freshness;
pub mod view;
