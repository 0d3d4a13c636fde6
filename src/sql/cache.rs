//! Verdicts of texts seen before: applications send the same statements over and over, with
//! other literals in them.
//!
//! A text's *shape* is the text with each number and string literal replaced by the shortest
//! one of its kind. For the statements kept here the [`classify()`] never looks into a literal,
//! so texts of one shape and mode have one verdict. The shape is made without the lexer: what
//! would make that doubtful (comments, character sets with ASCII trail bytes, quotes left
//! open) has none, and is classified each time.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::classify::classify;
use super::mode::Mode;
use super::verdict::{Class, Effects, Hint, Needs, Verdict};

/// Longest shape that is kept, in bytes.
const SHAPE_MAX: usize = 1024;
/// Longest text that is tried.
const TEXT_MAX: usize = 8 * SHAPE_MAX;
/// Shapes that are kept; a power of two.
const SLOTS: usize = 1024;

/// First words of the statements whose verdicts hang on no literal.
const FIRST_WORDS: [&[u8]; 9] = [
    b"SELECT",
    b"INSERT",
    b"UPDATE",
    b"DELETE",
    b"REPLACE",
    b"BEGIN",
    b"START",
    b"COMMIT",
    b"ROLLBACK",
];

/// A bounded number of verdicts, at most about 1.2 MiB; a new one takes the place of one that
/// happens to have the same slot.
#[derive(Debug)]
pub struct VerdictCache {
    slots: Vec<Option<Kept>>,
    shape: Vec<u8>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Kept {
    shape: Box<[u8]>,
    mode: Mode,
    verdict: Verdict,
}

impl Default for VerdictCache {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            shape: Vec::with_capacity(SHAPE_MAX),
            // Whoever finds texts that share a slot only makes them miss.
            hasher: FixedState::with_seed(0),
        }
    }
}

impl VerdictCache {
    /// What [`classify()`] says of the same arguments.
    pub fn classify(&mut self, sql: &[u8], mode: Mode) -> Verdict {
        if sql.len() > TEXT_MAX || !put_shape(sql, mode, &mut self.shape) {
            return classify(sql, mode);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let hash = self.hasher.hash_one(self.shape.as_slice());
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        if let Some(kept) = &self.slots[slot]
            && *kept.shape == *self.shape
            && kept.mode == mode
        {
            return kept.verdict.clone();
        }
        let verdict = classify(sql, mode);
        if is_worth_keeping(&verdict) {
            let shape = self.shape.as_slice().into();
            self.slots[slot] = Some(Kept { shape, mode, verdict: verdict.clone() });
        }
        verdict
    }
}

/// Only what says nothing but the class and the reason.
fn is_worth_keeping(verdict: &Verdict) -> bool {
    use Class::{Begin, Commit, Read, Rollback, Write};
    matches!(verdict.class, Read | Write | Begin { .. } | Commit | Rollback)
        && verdict.statements == 1
        && verdict.effects == Effects::empty()
        && verdict.needs == Needs::empty()
        && verdict.hint == Hint::default()
}

const WORD: u8 = 1;
const DIGIT: u8 = 2;
/// Begins something that is looked at.
const SPECIAL: u8 = 4;
/// A number behind it may be something else: `t.1`, `@1`.
const JOINS: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let b = byte.to_le_bytes()[0];
        table[byte] = match b {
            b'0'..=b'9' => WORD | DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80..=0xFF => WORD,
            b'\'' | b'"' | b'`' | b'/' | b'-' | b'#' => SPECIAL,
            b'.' | b'@' => JOINS,
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn has_class(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// Writes the shape of `sql` to `shape`; false when it has none, or one that is too long.
fn put_shape(sql: &[u8], mode: Mode, shape: &mut Vec<u8>) -> bool {
    shape.clear();
    if mode.charset.has_ascii_trail() || !begins_well(sql) {
        return false;
    }
    let mut at = 0;
    while at < sql.len() {
        let kept = at;
        // What needs no look is copied in one piece.
        loop {
            let rest = &sql[at..];
            let found = rest.iter().position(|&byte| has_class(byte, DIGIT | SPECIAL));
            at += found.unwrap_or(rest.len());
            let goes_on = at > kept && has_class(sql[at - 1], WORD | JOINS);
            if !(goes_on && sql.get(at).is_some_and(u8::is_ascii_digit)) {
                break;
            }
            at += 1;
        }
        if shape.len() + (at - kept) + 2 > SHAPE_MAX {
            return false;
        }
        shape.extend_from_slice(&sql[kept..at]);
        match sql.get(at).copied() {
            None => {}
            Some(b'/') if sql.get(at + 1) == Some(&b'*') => return false,
            Some(b'-') if sql.get(at + 1) == Some(&b'-') => return false,
            Some(operator @ (b'/' | b'-')) => {
                shape.push(operator);
                at += 1;
            }
            Some(quote @ (b'\'' | b'"' | b'`')) => {
                // The name of a variable is no literal.
                if quote == b'"' && mode.ansi_quotes || shape.last() == Some(&b'@') {
                    return false;
                }
                let escapes = quote != b'`' && !mode.no_backslash_escapes;
                let Some(end) = after_quoted(sql, at, quote, escapes) else { return false };
                match quote {
                    // A name.
                    b'`' if shape.len() + (end - at) > SHAPE_MAX => return false,
                    b'`' => shape.extend_from_slice(&sql[at..end]),
                    _ => shape.extend([quote; 2]),
                }
                at = end;
            }
            Some(b'#') => return false,
            Some(_) => {
                let end = after_number(sql, at);
                match end - at {
                    // Something else that begins with a digit.
                    0 => {
                        let length = sql[at..].iter().take_while(|&&byte| has_class(byte, WORD));
                        let end = at + length.count();
                        if shape.len() + (end - at) > SHAPE_MAX {
                            return false;
                        }
                        shape.extend_from_slice(&sql[at..end]);
                        at = end;
                    }
                    _ => {
                        shape.push(b'0');
                        at = end;
                    }
                }
            }
        }
    }
    true
}

fn begins_well(sql: &[u8]) -> bool {
    let first = sql.first().map_or(0, u8::to_ascii_uppercase);
    let is = |word: &&[u8]| {
        word.first() == Some(&first)
            && sql.get(..word.len()).is_some_and(|first| first.eq_ignore_ascii_case(word))
            && sql.get(word.len()).is_none_or(|&byte| !has_class(byte, WORD))
    };
    FIRST_WORDS.iter().any(is)
}

/// Where the number at `start` ends; `start` when it is none that can be left out: a name that
/// begins with a digit, hexadecimal, with an exponent.
fn after_number(sql: &[u8], start: usize) -> usize {
    let digits = |from: usize| {
        let rest = sql.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    // Behind `1e-` stands an exponent, in which a dot is none of the number's.
    if start >= 3
        && matches!(sql[start - 1], b'+' | b'-')
        && matches!(sql[start - 2], b'e' | b'E')
        && (sql[start - 3].is_ascii_digit() || sql[start - 3] == b'.')
    {
        return start;
    }
    let mut end = digits(start);
    if sql.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    match sql.get(end) {
        Some(&byte) if has_class(byte, WORD | JOINS) => start,
        _ => end,
    }
}

/// Behind the quote that closes the one at `start`.
fn after_quoted(sql: &[u8], start: usize, quote: u8, escapes: bool) -> Option<usize> {
    let mut at = start + 1;
    loop {
        let rest = sql.get(at..)?;
        let len = match escapes {
            true => memchr::memchr2(quote, b'\\', rest)?,
            false => memchr::memchr(quote, rest)?,
        };
        let found = rest[len];
        at += len + 1;
        if found != quote || sql.get(at) == Some(&quote) {
            at += 1;
        } else {
            return Some(at);
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
