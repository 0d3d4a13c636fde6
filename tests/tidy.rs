//! The style as a test: layers, sizes, module docs, banned calls and words, over the whole tree.
//!
//! `tidy/source.rs` splits Rust text into code and comments, `tidy/rules.rs` holds one function
//! per rule, `tidy/self_test.rs` shows that each rule can fail. All findings are reported
//! at once, as `path:line: what is wrong`.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/self_test.rs"]
mod self_test;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::Path;

use fairlane::metrics::catalogue::FAMILIES;
use source::Source;

/// Folders that are not ours to judge; hidden ones are skipped as well, but for `.ci`.
const SKIPPED: &[&str] = &["target", "node_modules", "vendor", "corpus"];

/// Endings of the files that are read as prose.
const PROSE: &[&str] = &["md", "toml", "yml", "yaml", "html", "sh", "py", "php", "js"];

/// Files without an ending that are read as prose.
const PROSE_NAMES: &[&str] = &["Makefile", "Dockerfile", "run"];

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut sources, mut texts) = (Vec::new(), Vec::new());
    read_tree(root, root, &mut |path, text| {
        let (stem, ending) = path.rsplit_once('.').unwrap_or((path, ""));
        if ending == "rs" {
            sources.push(Source::new(path, text));
        } else if PROSE.contains(&ending) || PROSE_NAMES.iter().any(|name| stem.ends_with(name)) {
            texts.push((path.to_owned(), text.to_owned()));
        }
    });
    assert!(sources.len() > 20, "found only {} sources", sources.len());

    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(rules::of_source(source));
    }
    for (path, text) in &texts {
        findings.extend(rules::of_prose(path, text));
    }
    let read = |path: &str| {
        let path = root.join(path);
        path.exists().then(|| fs::read_to_string(path).unwrap_or_default())
    };
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        findings.extend(rules::links(path, text, &read));
    }
    findings.extend(rules::facts(&sources));
    let documented = fs::read_to_string(root.join("docs/metrics.md")).unwrap_or_default();
    findings.extend(rules::metrics(FAMILIES.iter().map(|family| family.name), &documented));
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Hands every text file below `folder` to `see`, with its path from `root`.
fn read_tree(root: &Path, folder: &Path, see: &mut dyn FnMut(&str, &str)) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("a file type");
        let hidden = name.starts_with('.') && name != ".ci";
        if kind.is_dir() && !hidden && !SKIPPED.contains(&name.as_str()) {
            read_tree(root, &entry.path(), see);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            let path = entry.path();
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy();
            see(&path, &text);
        }
    }
}
