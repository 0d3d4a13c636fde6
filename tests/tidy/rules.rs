//! One function per rule; each returns its findings as `path:line: what is wrong`.

use super::source::{Source, is_word, item_end, line_of, words};

/// Lines of a file.
const FILE_LINES_MAX: usize = 800;

/// Lines of a function, from `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 100;

/// Folders that are functions of their input: no socket, task, clock or file inside.
const PURE: &[&str] = &["protocol", "sql", "config", "state", "route", "lanes"];

/// Which other modules a module may use, from the lowest layer up. A module that is not here
/// has no layer yet: give it one, as low as it can be.
const LAYERS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("metrics", &["units"]),
    ("protocol", &["units"]),
    ("sql", &["protocol", "units"]),
    ("config", &["sql", "units"]),
    ("error", &["protocol", "units"]),
    ("state", &["protocol", "sql"]),
    ("route", &["sql", "state", "config"]),
    ("lanes", &["config", "sql", "metrics"]),
    ("net", &["protocol", "config", "error", "metrics"]),
    ("backend", &["net", "route", "state", "protocol", "config", "error", "metrics"]),
    ("pool", &["backend", "lanes", "route", "state", "protocol", "config", "error", "metrics"]),
    ("topology", &["net", "route", "lanes", "state", "protocol", "config", "error", "metrics"]),
    ("client", BELOW_CLIENT),
    ("admin", &["client", "pool", "topology", "route", "lanes", "config", "metrics", "units"]),
    ("sandbox", &["protocol", "units"]),
    ("server", BELOW_SERVER),
    ("cli", BELOW_CLI),
    ("main", &["cli"]),
];

const BELOW_CLIENT: &[&str] = &[
    "units", "metrics", "protocol", "sql", "config", "error", "state", "route", "lanes", "net",
    "backend", "pool", "topology",
];

const BELOW_SERVER: &[&str] = &[
    "units", "metrics", "protocol", "sql", "config", "error", "state", "route", "lanes", "net",
    "backend", "pool", "topology", "client", "admin",
];

const BELOW_CLI: &[&str] = &[
    "units", "metrics", "protocol", "sql", "config", "error", "state", "route", "lanes", "net",
    "backend", "pool", "topology", "client", "admin", "sandbox", "server",
];

/// Words with a better one in our glossary: primary, replica, backend.
const BANNED: &[&str] = &["master", "masters", "slave", "slaves", "hostgroup", "hostgroups"];

/// Names the servers have for things, which code may have to repeat.
const SERVER_NAMES: &[&str] = &[
    "gtid_slave_pos",
    "master_gtid_wait",
    "master_pos_wait",
    "seconds_behind_master",
    "slave_io_running",
    "slave_sql_running",
    "last_io_error",
    "slave_sql_delay",
];

/// Marks of unfinished work. Spelled in pieces so that this file is not a finding.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders of the machine somebody worked on.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "wt"),
    concat!("/tmp/", "tgt"),
];

/// All rules for a Rust file.
pub(crate) fn of_source(source: &Source) -> Vec<String> {
    [
        layers(source),
        purity(source),
        second_readings(source),
        file_length(source),
        function_lengths(source),
        module_doc(source),
        unwraps(source),
        commented_out_modules(source),
        unfinished(&source.path, &source.code),
        unfinished(&source.path, &source.comments),
        banned_names(source),
        banned_prose(&source.path, &source.comments),
        machine_paths(&source.path, &source.text),
    ]
    .concat()
}

/// All rules for any other text.
pub(crate) fn of_prose(path: &str, text: &str) -> Vec<String> {
    [unfinished(path, text), banned_prose(path, text), machine_paths(path, text)].concat()
}

/// Links of a Markdown file to files and headings that are not there. `read` is the text of a file, by its
/// path from the root; of folders and pictures it is empty.
pub(crate) fn links(path: &str, text: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let link = text[at + 2..].split([')', ' ', '\n']).next().unwrap_or_default();
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() { path.to_owned() } else { joined(folder, file) };
        let what = match read(&target) {
            None => format!("{link}: no such file"),
            Some(there) if !heading.is_empty() && !headings(&there).any(|name| name == heading) => {
                format!("{link}: no such heading")
            }
            Some(_) => continue,
        };
        found.push(finding(path, text, at, &what));
    }
    found
}

/// A relative path, from the root.
fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Headings as links name them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|&c| c.is_alphanumeric() || "-_ ".contains(c));
        kept.collect::<String>().replace(' ', "-")
    })
}

fn finding(path: &str, text: &str, at: usize, what: &str) -> String {
    format!("{path}:{}: {what}", line_of(text, at))
}

/// The module directly below `src/` a file belongs to, and how many `super` lead to the root.
fn module(path: &str) -> Option<(&str, usize)> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let parts = inside.split('/').count();
    inside.split('/').next().map(|top| (top, parts))
}

/// No import but of lower layers.
pub(crate) fn layers(source: &Source) -> Vec<String> {
    let Some((own, depth)) = module(&source.path) else { return Vec::new() };
    if own == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("{}:1: module {own} is in no layer: add it to LAYERS", source.path)];
    };
    let up = format!("{}::", vec!["super"; depth].join("::"));
    let mut roots: Vec<&str> = vec!["crate::", &up];
    if own == "main" {
        roots = vec!["fairlane::"];
    }
    let mut findings = Vec::new();
    for root in roots {
        for (at, name) in imported(&source.shipped, root) {
            let is_module = LAYERS.iter().any(|(known, _)| *known == name);
            if is_module && name != own && !allowed.contains(&name) {
                let what = format!("{own} must not use {name}");
                findings.push(finding(&source.path, &source.shipped, at, &what));
            }
        }
    }
    findings
}

/// First names behind each `root`, also those of a group in braces.
fn imported<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(root) {
        let starts_word = !code[..at].ends_with(|c: char| is_word(c) || c == ':');
        let behind = &code[at + root.len()..];
        if !starts_word {
            continue;
        }
        if let Some(group) = behind.strip_prefix('{') {
            names.extend(group_heads(group).into_iter().map(|name| (at, name)));
        } else if let Some((_, name)) = words(behind).next() {
            names.push((at, name));
        }
    }
    names
}

/// First names of the parts of `{a::b, c::{d, e}}`, given what follows the first brace.
fn group_heads(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(words(&group[start..at]).next().map(|(_, name)| name));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// No I/O, task or clock where decisions are made.
pub(crate) fn purity(source: &Source) -> Vec<String> {
    let Some((own, _)) = module(&source.path) else { return Vec::new() };
    if !PURE.contains(&own) {
        return Vec::new();
    }
    let code = &source.shipped;
    let mut findings = Vec::new();
    for (at, word) in words(code) {
        let banned = word == "async"
            || word == "SystemTime"
            || word.starts_with("tokio")
            || ["TcpStream", "TcpListener", "UdpSocket"].contains(&word)
            || (word == "Instant" && code[at..].starts_with("Instant::now"))
            || (word == "fs" && code[..at].ends_with("std::") && own != "config");
        if banned {
            let what = format!("{word} in {own}, which is pure: take it as an argument");
            findings.push(finding(&source.path, code, at, &what));
        }
    }
    findings
}

/// A session asks the verdict what a text is: who looks at its letters again misses a comment.
pub(crate) fn second_readings(source: &Source) -> Vec<String> {
    const COMPARES: &str = "eq_ignore_ascii_case(";
    if module(&source.path).is_none_or(|(own, _)| own != "client") {
        return Vec::new();
    }
    let code = &source.shipped;
    let compares = code.match_indices(COMPARES).map(|(at, _)| at);
    let compares = compares.filter(|at| source.text[at + COMPARES.len()..].starts_with("b\""));
    let cuts = words(code).filter(|(_, word)| ["windows", "trim_ascii_start"].contains(word));
    let found = compares.chain(cuts.map(|(at, _)| at));
    found.map(|at| finding(&source.path, code, at, "reads SQL again: ask the verdict")).collect()
}

/// No file that takes more than one sitting.
pub(crate) fn file_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}:1: {lines} lines; the limit is {FILE_LINES_MAX}", source.path)]
}

/// No function that takes more than two screens.
pub(crate) fn function_lengths(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut findings = Vec::new();
    for (at, _) in words(code).filter(|(_, word)| *word == "fn") {
        // A type such as `fn(u8) -> u8` has no name.
        let name = code[at + 2..].trim_start();
        if !name.starts_with(is_word) {
            continue;
        }
        let lines = code[at..item_end(code, at)].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = name.split(|c| !is_word(c)).next().unwrap_or_default();
            let what = format!("fn {name} has {lines} lines; the limit is {FUNCTION_LINES_MAX}");
            findings.push(finding(&source.path, code, at, &what));
        }
    }
    findings
}

/// Every file says what it is for, first of all.
pub(crate) fn module_doc(source: &Source) -> Vec<String> {
    let mut lines = source.text.lines().filter(|line| !line.trim().is_empty());
    if lines.next().is_some_and(|line| line.starts_with("//!")) {
        return Vec::new();
    }
    vec![format!("{}:1: does not open with //!", source.path)]
}

/// `unwrap()` says nothing when it fails; `expect` says why it cannot.
pub(crate) fn unwraps(source: &Source) -> Vec<String> {
    let code = &source.shipped;
    let places = code.match_indices(".unwrap()");
    places.map(|(at, _)| finding(&source.path, code, at, "unwrap() outside tests")).collect()
}

/// A module is compiled or it is gone.
pub(crate) fn commented_out_modules(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in source.comments.lines().enumerate() {
        let said = line.trim().trim_start_matches('/').trim();
        let said = said.strip_prefix("pub ").unwrap_or(said);
        let name = said.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        if name.is_some_and(|name| name.chars().all(is_word)) && !line.contains("//!") {
            findings.push(format!("{}:{}: commented-out module", source.path, index + 1));
        }
    }
    findings
}

/// What is not done is not in the tree.
pub(crate) fn unfinished(path: &str, text: &str) -> Vec<String> {
    let marks = words(text).filter(|(_, word)| UNFINISHED.contains(word));
    marks.map(|(at, word)| finding(path, text, at, &format!("{word}: do it now"))).collect()
}

/// Our names for things are those of the glossary.
pub(crate) fn banned_names(source: &Source) -> Vec<String> {
    let code = &source.code;
    let names = words(code).filter(|(_, word)| {
        has_banned_part(word) && !SERVER_NAMES.contains(&word.to_lowercase().as_str())
    });
    names.map(|(at, word)| finding(&source.path, code, at, &banned(word))).collect()
}

/// So are our words; a server's own words stand in backticks, in capitals (SQL), or have an
/// underscore (its variables and columns).
pub(crate) fn banned_prose(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start_matches(['/', '!', ' ', '\t']).starts_with("```");
        in_block ^= fence;
        if in_block || fence {
            continue;
        }
        let outside = line.split('`').step_by(2);
        for (_, word) in outside.flat_map(words) {
            let is_sql = !word.chars().any(char::is_lowercase);
            if has_banned_part(word) && !is_sql && !word.contains('_') {
                findings.push(format!("{path}:{}: {}", index + 1, banned(word)));
            }
        }
    }
    findings
}

fn banned(word: &str) -> String {
    format!("{word}: say primary, replica or backend")
}

/// Whether a banned word is one of the parts of an identifier in snake or camel case.
fn has_banned_part(word: &str) -> bool {
    let mut parts = vec![String::new()];
    let mut before = ' ';
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            parts.push(String::new());
        }
        if let (true, Some(part)) = (c != '_', parts.last_mut()) {
            part.extend(c.to_lowercase());
        }
        before = c;
    }
    parts.iter().any(|part| BANNED.contains(&part.as_str()))
}

/// Nothing that is true on one machine only.
pub(crate) fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for banned in MACHINE_PATHS {
        for (at, _) in text.match_indices(banned) {
            // Not where it is the middle of somebody else's path.
            if !text[..at].ends_with(|c: char| is_word(c) || c == '.') {
                findings.push(finding(path, text, at, "a path of one machine"));
            }
        }
    }
    findings
}

/// A fact about a server names the test that shows it, as `FACT(server version): ...; test: name`.
pub(crate) fn facts(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for (at, _) in source.comments.match_indices("// FACT(") {
            // It may go on over several comment lines, up to the first line of code.
            let lines = source.comments[at..].lines().take_while(|line| !line.trim().is_empty());
            let fact: Vec<_> = lines.map(|line| line.trim().trim_start_matches('/')).collect();
            let fact = fact.join(" ");
            let test = fact.split_once("test: ").and_then(|(_, rest)| words(rest).next());
            let exists = test.is_some_and(|(_, name)| {
                let head = format!("fn {name}(");
                sources.iter().any(|source| source.code.contains(&head))
            });
            if !exists {
                let what = "a FACT without an existing test";
                findings.push(finding(&source.path, &source.comments, at, what));
            }
        }
    }
    findings
}

/// Every metric family is documented.
pub(crate) fn metrics<'a>(names: impl Iterator<Item = &'a str>, documented: &str) -> Vec<String> {
    let missing = names.filter(|name| !documented.contains(&format!("| `{name}` |")));
    missing.map(|name| format!("docs/metrics.md:1: {name} is missing")).collect()
}
