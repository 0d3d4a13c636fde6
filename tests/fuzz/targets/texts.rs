//! Statement texts of clients: verdicts, digests, and values put in the place of calls.

use std::cell::RefCell;

use fairlane::sql::{
    Charset, Class, DIGEST_TEXT_BYTES_MAX, Effects, Hint, Insertion, Mode, Needs, Reason,
    Substitution, Verdict, VerdictCache, classify as cold, digest as hash, digest_text, insertions,
    substitute,
};

use super::input::Input;

/// Any mode a session may be in.
fn mode(input: &mut Input<'_>) -> Mode {
    let flags = input.byte();
    let charset = [
        Charset::Plain,
        Charset::Plain,
        Charset::SingleByte(0xA0),
        Charset::Gbk,
        Charset::Sjis,
        Charset::Big5,
        Charset::SingleByte(0xFF),
        Charset::Plain,
    ][usize::from(flags >> 5)];
    let base = match flags & 16 {
        0 => Mode::default(),
        _ => Mode { mariadb: false, server_version: 90_700, ..Mode::default() },
    };
    Mode {
        ansi_quotes: flags & 1 != 0,
        no_backslash_escapes: flags & 2 != 0,
        ignore_space: flags & 4 != 0,
        oracle: flags & 8 != 0,
        charset,
        ..base
    }
}

fn is_understood(verdict: &Verdict) -> bool {
    !verdict.effects.contains(Effects::OPAQUE) && verdict.reason != Reason::NotUnderstood
}

/// The same again, and with blanks and comments around it.
pub(crate) fn classify(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = mode(&mut input);
    let text = input.rest();
    let verdict = cold(text, mode);
    assert_eq!(cold(text, mode), verdict);
    assert!(verdict.class != Class::Read || is_understood(&verdict));
    assert!(verdict.class != Class::Read || verdict.statements == 1);
    let around = [b"\n/* a */ ", text, b"\n -- b\n#c\n"].concat();
    let wrapped = cold(&around, mode);
    if is_understood(&verdict) {
        assert_eq!(wrapped, verdict, "with comments around it");
    }
    // Behind a text that could be read, another statement makes it several; bodies of procedures
    // go on to the end.
    if verdict.class != Class::Write {
        let more = cold(&[text, b"\n;SELECT 1"].concat(), mode);
        assert_eq!(more.statements, verdict.statements.saturating_add(1));
        assert_eq!((more.class, more.reason), (Class::Write, Reason::MultiStatement));
        assert!(more.needs.contains(verdict.needs));
    }
}

thread_local! {
    /// One for all inputs: an empty one for each would take longer than all else.
    static CACHE: RefCell<VerdictCache> = RefCell::default();
}

/// Several texts through one cache: each verdict is that of a cold look.
pub(crate) fn cache(data: &[u8]) {
    let mut input = Input::new(data);
    let modes = [mode(&mut input), mode(&mut input)];
    for (index, text) in input.rest().split(|&byte| byte == 0xfe).take(8).enumerate() {
        let mode = modes[index % 2];
        // The same with other literals, which may share its place.
        for text in [text, &other_literals(text)] {
            let kept = CACHE.with_borrow_mut(|cache| cache.classify(text, mode));
            assert_eq!(kept, cold(text, mode), "{} in {mode:?}", text.escape_ascii());
        }
    }
}

/// The text with other digits, of which some are literals.
fn other_literals(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if byte.is_ascii_digit() { b'1' + (byte & 7) } else { byte }).collect()
}

/// Digests are bounded, forget literals, and tell texts of different verdicts apart.
pub(crate) fn digest(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = mode(&mut input);
    let text = input.rest();
    let (normal, own) = (digest_text(text, mode), hash(text, mode));
    assert!(normal.len() <= DIGEST_TEXT_BYTES_MAX);
    let around = [b"\n/* a */ ", text, b"\n;\n-- b\n"].concat();
    let verdict = cold(text, mode);
    if is_understood(&verdict) {
        assert_eq!((digest_text(&around, mode), hash(&around, mode)), (normal, own));
    }
    let other = other_literals(text);
    // The id of a KILL, and what a PREPARE has in its string, are none of the digest's.
    let has_literal_meaning = text.windows(4).any(|word| word.eq_ignore_ascii_case(b"kill"))
        || text.windows(7).any(|word| word.eq_ignore_ascii_case(b"prepare"))
        || text.windows(9).any(|word| word.eq_ignore_ascii_case(b"immediate"));
    if hash(&other, mode) == own && !has_literal_meaning {
        let other = cold(&other, mode);
        let facts = |verdict: Verdict| Verdict { hint: Hint::default(), ..verdict };
        assert_eq!(facts(other), facts(verdict), "of texts with one digest");
    }
}

/// Insertions leave the rest of the text as it is; what comes out means the same.
pub(crate) fn substitution(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = mode(&mut input);
    let wanted = Needs::from_bits_truncate(input.byte());
    let values = Substitution {
        row_count: -1,
        found_rows: 7,
        connection_id: 9,
        warning_count: 4,
        error_count: 2,
        last_gtid: Some((0, 1, 7)),
    };
    let text = input.rest();
    let insertions = insertions(text, mode, &values, wanted);
    let substituted = substitute(text, mode, &values, wanted);
    assert_eq!(substituted.is_some(), !insertions.is_empty());
    let Some(substituted) = substituted else { return };
    rest_is_as_it_was(text, &substituted, &insertions);
    let (before, after) = (cold(text, mode), cold(&substituted, mode));
    // A call's arguments are followed only so far, and insertions make them longer.
    if is_understood(&before) && is_understood(&after) {
        let after = Verdict { digest: before.digest, ..after };
        assert_eq!(after, before, "{}", substituted.escape_ascii());
    }
}

fn rest_is_as_it_was(text: &[u8], substituted: &[u8], insertions: &[Insertion]) {
    let (mut before, mut after, mut open) = (0, 0, 0);
    for Insertion { at, text: inserted } in insertions {
        let kept = at - before;
        assert_eq!(substituted[after..after + kept], text[before..*at]);
        after += kept;
        assert_eq!(&substituted[after..after + inserted.len()], inserted);
        after += inserted.len();
        before = *at;
        match &inserted[..] {
            b")" => open -= 1,
            alias if alias.starts_with(b" AS `") => assert_eq!(open, 0, "no name inside of a call"),
            call => {
                assert!(call.trim_ascii_start().starts_with(b"IF(1,"));
                open += 1;
            }
        }
        assert!((0..=1).contains(&open));
    }
    assert_eq!(open, 0);
    assert_eq!(substituted[after..], text[before..]);
}
