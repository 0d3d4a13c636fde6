//! Cores that never sleep: a busy loop on each, which gives way to everything else.
//!
//! With one client every message wakes a core that had nothing to do. How long a virtual core takes
//! for that depends on the machine below it, and can outweigh what a proxy does.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};

/// The loops; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Spinners(#[expect(dead_code, reason = "held for its drop")] Vec<Child>);

impl Spinners {
    /// A loop on every core, of the scheduling class that runs when nothing else wants to.
    pub(crate) fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let spin = |core: usize| {
            Command::new("chrt")
                .args(["--idle", "0", "taskset", "--cpu-list", &core.to_string()])
                .args(["sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        };
        let loops = (0..cores).map(spin).collect::<std::io::Result<_>>();
        Ok(Self(loops.context("running chrt (install the package util-linux)")?))
    }
}
