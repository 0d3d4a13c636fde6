//! What is wrong with a configuration: where, which key, and what to do about it.

use std::fmt;

/// Why a configuration cannot be used: one finding or several, in the order of the file.
///
/// Displays one paragraph per finding, ready for a terminal. Never contains a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the settings came from: a file's name, or `command line`.
    source: String,
    /// At least one.
    findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line of the file, from 1; none when there is no file.
    pub line: Option<usize>,
    /// The key as in the key table (`lane.reserved`), empty when the trouble is not with a key.
    pub key: String,
    /// What is wrong with it.
    pub wrong: String,
    /// What would make it right.
    pub cure: String,
}

impl Problem {
    /// A problem of several findings; sorts them by line.
    pub fn new(source: &str, mut findings: Vec<Finding>) -> Self {
        debug_assert!(!findings.is_empty(), "a problem has a finding");
        findings.sort_by_key(|finding| finding.line);
        Self { source: source.to_owned(), findings }
    }

    /// A problem of one finding that is about no line.
    pub fn one(source: &str, key: &str, wrong: impl Into<String>, cure: impl Into<String>) -> Self {
        let (key, wrong, cure) = (key.to_owned(), wrong.into(), cure.into());
        Self::new(source, vec![Finding { line: None, key, wrong, cure }])
    }

    /// Everything found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.source)?;
            if let Some(line) = finding.line {
                write!(f, ":{line}")?;
            }
            if !finding.key.is_empty() {
                write!(f, ": {}", finding.key)?;
            }
            write!(f, ": {}\n    cure: {}", finding.wrong, finding.cure)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_names_source_line_key_and_cure() {
        let finding = |line, key: &str| Finding {
            line,
            key: key.to_owned(),
            wrong: "is odd".to_owned(),
            cure: "make it even".to_owned(),
        };
        let problem = Problem::new("f.toml", vec![finding(Some(9), "b"), finding(Some(2), "a.b")]);
        assert_eq!(
            problem.to_string(),
            "f.toml:2: a.b: is odd\n    cure: make it even\n\
             f.toml:9: b: is odd\n    cure: make it even"
        );
        let problem = Problem::one("command line", "", "nothing given", "give something");
        assert_eq!(problem.to_string(), "command line: nothing given\n    cure: give something");
    }
}
