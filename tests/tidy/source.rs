//! Rust text, split into code and comments. Both have the lines and columns of the original,
//! with spaces where something was taken out, so that a place in one is a place in the other.

/// One Rust file.
pub(crate) struct Source {
    /// From the root of the tree, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Without comments and without what is inside string and character literals.
    pub(crate) code: String,
    /// `code` without items under `#[cfg(test)]`; nothing at all in a file of tests.
    pub(crate) shipped: String,
    /// Only comments.
    pub(crate) comments: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let is_test =
            path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        let shipped = if is_test { String::new() } else { without_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped, comments }
    }
}

/// Where `text[at..]` is, as a line number from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Identifiers and numbers, with their place.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// End of the item that starts at `from`: behind its `;` or the `}` of its first `{`.
pub(crate) fn item_end(code: &str, from: usize) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return from + at + 1,
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return from + at + 1,
            _ => {}
        }
    }
    code.len()
}

fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = 0;
    while let Some(found) = code[rest..].find("#[cfg(test)]") {
        let start = rest + found;
        let end = item_end(code, start);
        kept.push_str(&code[rest..start]);
        kept.extend(code[start..end].chars().flat_map(blank));
        rest = end;
    }
    kept.push_str(&code[rest..]);
    kept
}

/// As many bytes of white space as the character has, so that places stay the same.
fn blank(c: char) -> impl Iterator<Item = char> {
    let space = if c == '\n' { '\n' } else { ' ' };
    std::iter::repeat_n(space, c.len_utf8())
}

/// What a run of characters is.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Code,
    Comment,
    Literal,
}

fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::with_capacity(text.len()), String::new());
    let mut rest = text;
    let mut before = ' ';
    while !rest.is_empty() {
        let (length, piece) = next_piece(rest, before);
        let (head, tail) = rest.split_at(length);
        for c in head.chars() {
            match piece {
                Piece::Code => code.push(c),
                Piece::Comment | Piece::Literal => code.extend(blank(c)),
            }
            match piece {
                Piece::Comment => comments.push(c),
                Piece::Code | Piece::Literal => comments.extend(blank(c)),
            }
        }
        before = head.chars().next_back().unwrap_or(' ');
        rest = tail;
    }
    (code, comments)
}

/// Length in bytes and kind of what `rest` starts with.
fn next_piece(rest: &str, before: char) -> (usize, Piece) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Piece::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Piece::Comment);
    }
    if !is_word(before)
        && let Some(length) = raw_string(rest)
    {
        return (length, Piece::Literal);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), Piece::Literal);
    }
    let mut chars = rest.chars();
    let first = chars.next().unwrap_or(' ');
    // `'a'` and `'\n'` are characters, `'a` alone is a lifetime.
    if first == '\'' && (chars.next() == Some('\\') || chars.next() == Some('\'')) {
        return (quoted(rest, '\''), Piece::Literal);
    }
    (first.len_utf8(), Piece::Code)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a raw string at the start, with any of its prefixes.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        let hashes = rest.strip_prefix(prefix).map(|tail| tail.trim_start_matches('#'));
        hashes.is_some_and(|tail| tail.starts_with('"'))
    })?;
    let hashes = rest[prefix.len()..].find('"')?;
    let start = prefix.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = rest[start..].find(&close).map(|end| start + end + close.len());
    Some(length.unwrap_or(rest.len()))
}

/// Length of a literal that ends at the first `end` without a backslash before it.
fn quoted(rest: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == end => return at + 1,
            _ => {}
        }
    }
    rest.len()
}
