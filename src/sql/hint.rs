//! `/* fairlane: lane=batch, route=primary */`: what an application asks for in a comment.
//!
//! Unknown keys and values are ignored: a hint is a wish, and must not make a statement fail.

use super::verdict::{Hint, RouteHint};

/// A lane's name is never longer; what is longer is not a name.
const LANE_NAME_MAX: usize = 64;

/// Reads the inside of a plain comment; leaves `hint` alone if it is not for us. Of two hints
/// for the same thing the later one counts.
pub(super) fn read(comment: &[u8], hint: &mut Hint) {
    let Some(mut rest) = body(comment) else { return };
    while let Some(equals) = rest.iter().position(|&byte| byte == b'=') {
        // Pairs stand between commas, semicolons or blanks; there may be blanks at the `=` too.
        let key = rest[..equals].trim_ascii_end();
        let key = key.rsplit(|&byte| is_separator(byte)).next().unwrap_or_default();
        rest = rest[equals + 1..].trim_ascii_start();
        let end = rest.iter().position(|&byte| is_separator(byte)).unwrap_or(rest.len());
        let value = &rest[..end];
        rest = &rest[end..];
        if key.eq_ignore_ascii_case(b"lane") {
            if let Some(lane) = lane(value) {
                hint.lane = Some(lane);
            }
        } else if key.eq_ignore_ascii_case(b"route") {
            if value.eq_ignore_ascii_case(b"primary") {
                hint.route = Some(RouteHint::Primary);
            } else if value.eq_ignore_ascii_case(b"replica") {
                hint.route = Some(RouteHint::Replica);
            }
        }
    }
}

fn is_separator(byte: u8) -> bool {
    byte == b',' || byte == b';' || byte.is_ascii_whitespace()
}

fn body(comment: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"fairlane";
    let comment = comment.trim_ascii_start();
    let (name, rest) = comment.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    rest.trim_ascii_start().strip_prefix(b":")
}

fn lane(value: &[u8]) -> Option<Box<str>> {
    let is_name = !value.is_empty()
        && value.len() <= LANE_NAME_MAX
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if !is_name {
        return None;
    }
    std::str::from_utf8(value).ok().map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(comment: &str) -> Hint {
        let mut hint = Hint::default();
        read(comment.as_bytes(), &mut hint);
        hint
    }

    #[test]
    fn reads_both_keys_with_any_blanks() {
        for text in [
            " fairlane: lane=batch, route=primary ",
            "fairlane:lane=batch,route=primary",
            "\n FairLane :  LANE = batch ;\tRoute = PRIMARY",
            "fairlane: lane=batch route=primary",
        ] {
            let hint = hint(text);
            assert_eq!(hint.lane.as_deref(), Some("batch"), "{text}");
            assert_eq!(hint.route, Some(RouteHint::Primary), "{text}");
        }
        assert_eq!(hint("fairlane: route=replica").route, Some(RouteHint::Replica));
    }

    #[test]
    fn ignores_what_it_does_not_know() {
        for text in ["fairlanes: lane=a", "lane=a", "fairlane lane=a", "fairlane: lane=", "fair"] {
            assert_eq!(hint(text), Hint::default(), "{text}");
        }
        assert_eq!(hint("fairlane: lane=a b").lane.as_deref(), Some("a"));
        assert_eq!(hint("fairlane: lane=a'b").lane, None);
        assert_eq!(hint("fairlane: speed=9, lane=x").lane.as_deref(), Some("x"));
        assert_eq!(hint("fairlane: route=moon").route, None);
    }
}
