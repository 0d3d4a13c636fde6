//! Instructions of the pure core, counted under callgrind: the same on a busy machine and on an
//! idle one. More than kept in `benches/instructions.toml` is a failure; say in the commit why the
//! kept number has to change, and write it with `FAIRLANE_KEEP_INSTRUCTIONS=1`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "this is a test")]

#[path = "kept/mod.rs"]
mod kept;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two runs of different length: their difference has no start-up in it.
const SHORT: u64 = 100;
const LONG: u64 = 1_100;

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = target.join("release/examples/micro_bench");
    assert!(
        path.exists(),
        "{} is missing: cargo build --release --example micro_bench",
        path.display()
    );
    path
}

fn instructions(case: &str, iterations: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program())
        .args(["--case", case, "--iterations", &iterations.to_string()])
        .output()
        .expect("valgrind runs (install the package valgrind)");
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected :"));
    let counted = counted.and_then(|(_, number)| number.trim().parse().ok());
    counted.unwrap_or_else(|| panic!("no count for {case}:\n{text}"))
}

#[test]
fn the_pure_core_needs_no_more_instructions_than_kept() {
    let list = Command::new(program()).arg("--list").output().unwrap();
    let mut counted = BTreeMap::new();
    for case in String::from_utf8(list.stdout).unwrap().lines() {
        let difference = instructions(case, LONG) - instructions(case, SHORT);
        counted.insert(case.to_owned(), difference / (LONG - SHORT));
    }
    let head = "Instructions of one operation of `benches/micro`; tests/instructions.rs compares.";
    kept::compare(&counted, "benches/instructions.toml", head, 5.0);
}
