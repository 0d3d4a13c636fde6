//! Fuzz targets: functions over bytes that panic when something does not hold.
//!
//! Each one stands for what reads bytes from clients, servers or operators. They are plain functions
//! so that `tests/corpus.rs` can replay the corpus without libFuzzer, with every `make test`.

mod input;
mod logins;
mod packets;
mod response;
mod servers;
mod session;
mod settings;
mod texts;

/// Panics when something does not hold for an input.
pub(crate) type Run = fn(&[u8]);

/// Each target with its name, which is also that of its folder in the corpus.
pub(crate) const ALL: [(&str, Run); 31] = [
    ("accounts", servers::accounts),
    ("answers", response::answers),
    ("attributes", packets::attributes),
    ("auth", logins::auth),
    ("cache", texts::cache),
    ("certificate", servers::certificate),
    ("change_user", packets::change_user),
    ("classify", texts::classify),
    ("compressed", packets::compressed),
    ("config", settings::file),
    ("diff", session::session_diff),
    ("digest", texts::digest),
    ("execute", packets::execute_parameters),
    ("file", packets::file),
    ("frames", packets::frames),
    ("greeting", packets::greeting),
    ("hosts", logins::hosts),
    ("login", packets::login),
    ("numbering", packets::numbering),
    ("positions", settings::positions),
    ("proxy_header", servers::proxy_header),
    ("quantities", settings::quantities),
    ("response", response::response),
    ("rows", servers::rows),
    ("scheduler", session::scheduler),
    ("status", response::status),
    ("stored", logins::stored),
    ("substitute", texts::substitution),
    ("trackers", session::trackers),
    ("tracking", response::tracking),
    ("urls", settings::urls),
];
