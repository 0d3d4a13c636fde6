//! Counts of instructions next to those that are kept in a file.

use std::collections::BTreeMap;
use std::path::Path;

/// Growth that fails.
const GROWTH: f64 = 1.05;

/// Compares `counted` with what `file` (in the repository) has, or writes it there with `FAIRLANE_KEEP_INSTRUCTIONS=1`, under
/// a line with `head`. Up to `slack` instructions more are none.
pub(crate) fn compare(counted: &BTreeMap<String, u64>, file: &str, head: &str, slack: f64) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("FAIRLANE_KEEP_INSTRUCTIONS").is_some() {
        let lines = counted.iter().map(|(case, count)| format!("{case} = {count}\n"));
        std::fs::write(&file, format!("# {head}\n") + &lines.collect::<String>()).unwrap();
        return;
    }
    let kept: BTreeMap<String, u64> =
        toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut grown = Vec::new();
    for (case, &count) in counted {
        println!("{case}: {count}, kept {:?}", kept.get(case));
        match kept.get(case) {
            Some(&kept) if count as f64 <= kept as f64 * GROWTH + slack => {}
            kept => grown.push(format!("{case}: {count} instructions, kept {kept:?}")),
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("\n"));
    assert_eq!(kept.len(), counted.len(), "a kept case is no longer measured");
}
