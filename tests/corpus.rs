//! Replays the fuzz targets on their corpus: inputs that once found something, or that reach what
//! no other input reaches. `scripts/fuzz.sh` makes new ones.

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Inputs are run whole, and cut after so many parts of this many.
const CUTS: usize = 8;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| name(entry.expect("an entry"))).collect()
}

#[test]
fn every_target_holds_on_its_corpus() {
    let mut findings = Vec::new();
    for (target, run) in targets::ALL {
        let folder = corpus().join(target);
        for name in names(&folder) {
            let bytes = fs::read(folder.join(&name)).expect("a readable file");
            for part in 1..=CUTS {
                let cut = &bytes[..bytes.len() * part / CUTS];
                if catch_unwind(|| run(cut)).is_err() {
                    findings.push(format!("{target}/{name}, {} bytes of it", cut.len()));
                }
            }
        }
    }
    assert!(findings.is_empty(), "see above for why:\n{}", findings.join("\n"));
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> =
        targets::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&corpus()).into_iter().collect::<BTreeSet<_>>(), targets);
    for target in targets {
        let count = names(&corpus().join(&target)).len();
        assert!((3..=500).contains(&count), "{target} has {count} inputs");
    }
}
