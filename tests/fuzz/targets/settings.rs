//! The configuration, and the small texts that servers and operators write: positions, patterns,
//! quantities, modes.

use fairlane::config;
use fairlane::config::settings::Glob;
use fairlane::route::freshness::Position;
use fairlane::sql::Mode;
use fairlane::units::{Period, Share};

use super::input::Input;

/// A configuration file: settings, or findings that tell where and what.
pub(crate) fn file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // What is in other files and in the environment is none of the text's.
    if text.contains("_file") || text.contains("_env") {
        return;
    }
    match config::parse(&text, "fairlane.toml") {
        Ok(settings) => {
            assert!(!settings.backends.is_empty() && !settings.lanes.is_empty());
            assert!(settings.default_lane < settings.lanes.len());
        }
        Err(problem) => {
            assert!(!problem.findings().is_empty());
            for finding in problem.findings() {
                let lines = text.lines().count() + 1;
                assert!(finding.line.is_none_or(|line| (1..=lines).contains(&line)));
                assert!(!finding.wrong.is_empty() && !finding.cure.is_empty());
            }
            assert!(problem.to_string().contains("fairlane.toml"));
        }
    }
}

/// URLs of the command line, likewise.
pub(crate) fn urls(data: &[u8]) {
    let mut input = Input::new(data);
    let primary = input.text();
    let replicas: Vec<String> = (0..input.below(3)).map(|_| input.text()).collect();
    let overrides = config::Overrides {
        listen: (0..input.below(2)).map(|_| input.text()).collect(),
        admin: input.bit().then(|| input.text()),
        log: input.bit().then(|| input.text()),
    };
    match config::from_urls(&primary, &replicas, &overrides) {
        Ok(settings) => assert_eq!(settings.backends.len(), 1 + replicas.len()),
        Err(problem) => assert!(!problem.findings().is_empty()),
    }
}

/// GTID positions: sets that grow, are asked, and are written.
pub(crate) fn positions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(2, '|').map(Position::parse);
    let (Some(Some(first)), second) = (parts.next(), parts.next().flatten()) else { return };
    assert!(first.covers(&first) && first.covers(&Position::default()));
    assert!(first.sequence_sum() > 0 || first.is_empty());
    let written = first.to_string();
    // MariaDB's domains are written without the server, which does not matter.
    if !written.split(',').any(|part| {
        part.bytes().filter(|&byte| byte == b':').count() == 1 && part.find(':') != Some(36)
    }) {
        assert_eq!(Position::parse(&written), Some(first.clone()));
    }
    let Some(second) = second else { return };
    let mut both = first.clone();
    both.merge(&second);
    assert!(both.covers(&first) && both.covers(&second));
    assert!(both.sequence_sum() >= first.sequence_sum().max(second.sequence_sum()));
    let mut again = both.clone();
    again.merge(&first);
    assert!(again.covers(&both));
    if first.covers(&second) && second.covers(&first) {
        assert_eq!(first, second);
    }
}

/// Patterns with `*` and `?`, and quantities in their written form.
pub(crate) fn quantities(data: &[u8]) {
    let mut input = Input::new(data);
    let (pattern, text) = (input.text(), input.rest_text());
    let stars = pattern.bytes().filter(|&byte| byte == b'*').count();
    let matches = Glob::new(&pattern).matches(&text);
    if stars < 4 && text.len() < 64 {
        let expected = plainly_matches(pattern.as_bytes(), text.as_bytes());
        assert_eq!(matches, expected, "{pattern:?} and {text:?}");
    }
    if let Ok(period) = text.parse::<Period>() {
        assert_eq!(period.to_string().parse(), Ok(period));
    }
    if let Ok(share) = text.parse::<Share>() {
        assert_eq!(share.to_string().parse(), Ok(share));
        for total in [0, 1, 14, usize::MAX] {
            assert!(share.of(total) <= total);
        }
    }
    let (charset, version) = text.split_once('\n').unwrap_or((&text, ""));
    let mode = Mode::new(&pattern, charset, version);
    assert_eq!(Mode::new(&pattern.to_ascii_lowercase(), charset, version), mode);
    assert!(mode.server_version <= 999 * 10_000 + 99 * 101);
}

/// The meaning of a pattern, tried byte by byte.
fn plainly_matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => {
            (0..=text.len()).any(|skipped| plainly_matches(rest, &text[skipped..]))
        }
        [byte, rest @ ..] => {
            let same = |other: &u8| *byte == b'?' || byte.eq_ignore_ascii_case(other);
            text.first().is_some_and(same) && plainly_matches(rest, &text[1..])
        }
    }
}
