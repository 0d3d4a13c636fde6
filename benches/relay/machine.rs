//! Where and with what a result was measured: a number without it means nothing later.

use std::fmt::Write as _;
use std::process::Command;
use std::time::SystemTime;

use crate::others::ROUTER;

/// What a result file says about its origin.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The day, in UTC.
    pub(crate) date: String,
    cores: usize,
    processor: String,
}

impl Machine {
    /// This machine, today.
    pub(crate) fn this() -> Self {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = facts.lines().find(|line| line.starts_with("model name"));
        let processor = model.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
        Self {
            date: now.chars().take("2000-01-01".len()).collect(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor.unwrap_or("unknown processor").to_owned(),
        }
    }

    /// A name for folders: letters, digits and dashes.
    pub(crate) fn slug(&self) -> String {
        let processor = self.processor.split('@').next().unwrap_or_default();
        let words = processor.split(|c: char| !c.is_ascii_alphanumeric());
        let mut slug = format!("{}core", self.cores);
        for word in words.filter(|word| !word.is_empty() && !matches!(*word, "R" | "TM" | "CPU")) {
            slug.push('-');
            slug.push_str(&word.to_lowercase());
        }
        slug
    }

    /// A list for the head of a result file.
    pub(crate) fn list(&self) -> String {
        let mut list = format!("- {}, {} cores\n", self.processor, self.cores);
        for (program, argument) in [
            ("uname", "-sr"),
            ("mariadbd", "--version"),
            ("haproxy", "-v"),
            (ROUTER, "--version"),
            ("sysbench", "--version"),
        ] {
            if let Some(line) = first_line(program, argument) {
                // A String takes everything.
                let _ = writeln!(list, "- {line}");
            }
        }
        let _ = writeln!(list, "- Fairlane {}", env!("CARGO_PKG_VERSION"));
        list
    }
}

fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}
