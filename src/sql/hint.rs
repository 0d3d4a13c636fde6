//! `/* fairlane: lane=batch, route=primary */`

use super::verdict::{Hint, RouteHint};

/// Longest lane name taken from a hint.
const NAME_MAX: usize = 64;

/// Reads a comment's body. What is no hint, or not understood, is ignored: it is a comment.
pub(super) fn read(body: &[u8], hint: &mut Hint) {
    let Some(settings) = body.trim_ascii_start().strip_prefix(b"fairlane:") else { return };
    let Ok(settings) = std::str::from_utf8(settings) else { return };
    for setting in settings.split([',', ' ']).filter(|setting| !setting.is_empty()) {
        let Some((key, value)) = setting.split_once('=') else { continue };
        match (key.trim(), value.trim()) {
            ("lane", name) if name.len() <= NAME_MAX => hint.lane = Some(name.into()),
            ("route", "primary") => hint.route = Some(RouteHint::Primary),
            ("route", "replica") => hint.route = Some(RouteHint::Replica),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_and_other_comments_are_not() {
        let mut hint = Hint::default();
        read(b" fairlane: lane=batch, route=primary, color=red ", &mut hint);
        assert_eq!(hint.lane.as_deref(), Some("batch"));
        assert_eq!(hint.route, Some(RouteHint::Primary));
        let mut none = Hint::default();
        read(b" see fairlane: lane=batch ", &mut none);
        assert_eq!(none, Hint::default());
    }
}
