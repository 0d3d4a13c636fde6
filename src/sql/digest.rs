//! The normalised token stream of a text, as a hash and as text.
//!
//! Literals become `?`, lists of them `( ? )`, comments go, words are equal whatever their case.

use super::lexer::{Kind, Lexer, Token};
use super::mode::Mode;

/// Longest digest text, in bytes.
const TEXT_MAX: usize = 4096;

/// Takes the normalised tokens.
pub(super) trait Sink {
    /// One token.
    fn put(&mut self, token: &[u8]);
}

/// A 64-bit hash (FNV-1a, words in lower case).
#[derive(Debug)]
pub(super) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub(super) fn finish(&self) -> u64 {
        // FNV leaves the upper bits weak; a final mix makes all of them good for a cache.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}

impl Sink for Hash {
    fn put(&mut self, token: &[u8]) {
        let mut hash = self.0;
        for byte in token {
            hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3);
        }
        self.0 = (hash ^ 0x20).wrapping_mul(0x100_0000_01b3);
    }
}

/// A bounded text, one space between tokens but none around dots.
#[derive(Debug, Default)]
struct Text(String);

impl Sink for Text {
    fn put(&mut self, token: &[u8]) {
        if self.0.len() >= TEXT_MAX {
            return;
        }
        if !self.0.is_empty() && token != b"." && !self.0.ends_with('.') {
            self.0.push(' ');
        }
        let room = TEXT_MAX.saturating_sub(self.0.len());
        self.0.push_str(&String::from_utf8_lossy(&token[..token.len().min(room)]));
    }
}

/// Collapses lists of literals on their way to a sink.
#[derive(Debug, Default)]
pub(super) struct Normaliser<S> {
    pub(super) sink: S,
    state: List,
}

/// Where in a list of literals the stream is; what is held back is given in the name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum List {
    #[default]
    None,
    /// `(` was put.
    Open,
    /// `?` was put; inside a group that holds nothing else when `group`.
    Value { group: bool },
    /// `?` was put, `,` is held back.
    ValueComma { group: bool },
    /// `( ? )` was put.
    Group,
    /// `( ? )` was put, `,` is held back.
    GroupComma,
    /// `( ? )` was put, `, (` is held back.
    GroupOpen,
    /// `( ? )` was put, `, ( ?` is held back; a second literal may follow.
    GroupValue,
    /// As before, and a comma.
    GroupValueComma,
}

impl<S: Sink> Normaliser<S> {
    /// Takes a token.
    pub(super) fn take(&mut self, token: &Token<'_>) {
        let is_value = matches!(token.kind, Kind::Literal | Kind::Parameter);
        let is_comma = token.kind == Kind::Punct(b',');
        let is_open = token.kind == Kind::Punct(b'(');
        let is_close = token.kind == Kind::Punct(b')');
        self.state = match self.state {
            List::Value { group } if is_comma => List::ValueComma { group },
            List::Value { group } if is_value => List::Value { group },
            List::ValueComma { group } if is_value => List::Value { group },
            List::Value { group: true } if is_close => {
                self.sink.put(b")");
                List::Group
            }
            List::Group if is_comma => List::GroupComma,
            List::GroupComma if is_open => List::GroupOpen,
            List::GroupOpen | List::GroupValueComma if is_value => List::GroupValue,
            List::GroupValue if is_comma => List::GroupValueComma,
            List::GroupValue if is_close => List::Group,
            held => {
                let in_group = self.flush(held);
                if is_value {
                    self.sink.put(b"?");
                    List::Value { group: in_group }
                } else {
                    self.sink.put(token.text);
                    if is_open { List::Open } else { List::None }
                }
            }
        };
    }

    /// Puts what was held back; tells whether a group has just been opened.
    fn flush(&mut self, held: List) -> bool {
        let held: &[&[u8]] = match held {
            List::Open => return true,
            List::None | List::Value { .. } | List::Group => &[],
            List::ValueComma { .. } | List::GroupComma => &[b","],
            List::GroupOpen => &[b",", b"("],
            List::GroupValue => &[b",", b"(", b"?"],
            List::GroupValueComma => &[b",", b"(", b"?", b","],
        };
        held.iter().for_each(|token| self.sink.put(token));
        held.len() == 2
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> S {
        self.flush(self.state);
        self.sink
    }
}

/// The normalised text, at most 4,096 bytes and a little.
pub fn digest_text(sql: &[u8], mode: Mode) -> String {
    let mut lexer = Lexer::new(sql, mode);
    let mut normaliser = Normaliser::<Text>::default();
    loop {
        let token = lexer.next();
        if token.kind == Kind::End || normaliser.sink.0.len() >= TEXT_MAX {
            return normaliser.finish().0;
        }
        normaliser.take(&token);
        if token.kind == Kind::Broken {
            return normaliser.finish().0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> String {
        digest_text(sql.as_bytes(), Mode::default())
    }

    #[test]
    fn literals_and_lists_of_them_collapse() {
        assert_eq!(
            text("SELECT a.b, 'x' FROM `t` -- c\n WHERE id IN (1,2,3)"),
            "SELECT a.b , ? FROM t WHERE id IN ( ? )"
        );
        assert_eq!(
            text("INSERT INTO t (a,b) VALUES (1,'x'),(2,'y') , (3,NULL)"),
            "INSERT INTO t ( a , b ) VALUES ( ? ) , ( ? , NULL )"
        );
        assert_eq!(
            text("INSERT INTO t VALUES (1),(2),(3) ON DUPLICATE KEY UPDATE a=1"),
            "INSERT INTO t VALUES ( ? ) ON DUPLICATE KEY UPDATE a = ?"
        );
        assert_eq!(text("VALUES (1),(2),(f(3))"), "VALUES ( ? ) , ( f ( ? ) )");
        assert_eq!(text("SELECT ?, ?"), "SELECT ?");
    }
}
