//! Servers shared by all tests, a Fairlane per test, and a raw protocol client.

pub mod delay;
pub mod hop;
pub mod line;
pub mod product;
pub mod proxy;
pub mod raw;
pub mod servers;
pub mod twin;

pub use product::product;
pub use proxy::Proxy;
pub use raw::{Answer, Failed, Login, Raw};
pub use servers::{Servers, servers};
pub use twin::Twin;

use std::time::{Duration, Instant};

/// Waits until `holds`, at most thirty seconds.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(30, what, holds);
}

/// Waits until it holds, for so many seconds.
pub fn within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "not within {seconds} seconds: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Ends all connections of a user at a server: what comes next has new ones.
pub fn end_connections(root: &mut Raw, user: &str) {
    let all = format!("SELECT id FROM information_schema.processlist WHERE user = '{user}'");
    eventually("there are new connections", || {
        let old = root.rows(&all);
        for id in old.iter().flatten().flatten() {
            let _ = root.query(&format!("KILL {id}"));
        }
        old.is_empty()
    });
}

/// A pause, for races that need a moment.
pub fn pause(millis: u64) {
    let until = Instant::now() + Duration::from_millis(millis);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Configuration of one lane that has all slots, and of reads on the primary: with a pool of one
/// slot every session is on the connection of the one before.
pub const ONE_LANE: &str = "[[lane]]\nname = \"interactive\"\n[routing]\nreplica_reads = false\n";

/// Likewise, with reads where they go by default.
pub const ONE_LANE_AND_REPLICA: &str = "[[lane]]\nname = \"interactive\"\n";
