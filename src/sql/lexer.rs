//! Tokens of a statement text, as the servers' own lexers see them.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/language-structure.html>,
//! <https://mariadb.com/kb/en/comment-syntax/>. Executable comments are code when the server
//! runs them, and skipped when it does not; ordinary comments are skipped but for hints.

use super::hint;
use super::mode::Mode;
use super::verdict::Hint;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Unquoted identifier or keyword.
    Word,
    /// Quoted identifier; the text is without its quotes.
    Quoted,
    /// String or number.
    Literal,
    /// `?`
    Parameter,
    /// `@name`
    UserVariable,
    /// `@@name`; a scope is the name, and the rest follows.
    SystemVariable,
    /// `:=`
    Assign,
    /// Any other character.
    Punct(u8),
    /// A string, identifier or comment without an end.
    Broken,
    /// End of the text.
    End,
}

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// For words and names their letters, else the token as written.
    pub(super) text: &'a [u8],
    /// Where it is in the text.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token<'_> {
    /// The name of a system variable, without `@@` and quotes.
    pub(super) fn variable_name(&self) -> &[u8] {
        let name = self.text.strip_prefix(b"@@").unwrap_or(self.text);
        name.strip_prefix(b"`").and_then(|name| name.strip_suffix(b"`")).unwrap_or(name)
    }

    /// Whether it is this keyword, given in lower case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Whether it is this character.
    pub(super) fn is_punct(&self, byte: u8) -> bool {
        self.kind == Kind::Punct(byte)
    }
}

/// Reads tokens from a text, once.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    mode: Mode,
    /// Executable comments that are open.
    open_comments: u32,
    /// Hints seen so far.
    pub(super) hint: Hint,
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], mode: Mode) -> Self {
        Self { text, at: 0, mode, open_comments: 0, hint: Hint::default() }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next token; after the last one [`Kind::End`] for ever.
    pub(super) fn next(&mut self) -> Token<'a> {
        if !self.skip_blank() {
            return self.token(Kind::Broken, self.at);
        }
        let start = self.at;
        let Some(&byte) = self.text.get(start) else { return self.token(Kind::End, start) };
        match byte {
            b'\'' => self.string(start, b'\''),
            b'"' if !self.mode.ansi_quotes => self.string(start, b'"'),
            b'"' | b'`' => self.quoted(start, byte),
            b'0'..=b'9' => self.number(start),
            b'.' if self.peek(1).is_ascii_digit() && !self.follows_name(start) => {
                self.number(start)
            }
            b'?' => self.one(Kind::Parameter, start),
            b'@' => self.variable(start),
            b':' if self.peek(1) == b'=' => {
                self.at += 2;
                self.token(Kind::Assign, start)
            }
            _ if is_word_byte(byte) => {
                // x'..', b'..', n'..' are strings with a prefix.
                if self.peek(1) == b'\'' && matches!(byte | 0x20, b'x' | b'b' | b'n') {
                    self.at += 1;
                    return self.string(start, b'\'');
                }
                self.pass_word();
                self.token(Kind::Word, start)
            }
            _ => self.one(Kind::Punct(byte), start),
        }
    }

    /// `t.1` is a column, `.1` is a number.
    fn follows_name(&self, start: usize) -> bool {
        start > 0 && (is_word_byte(self.text[start - 1]) || self.text[start - 1] == b'`')
    }

    fn token(&self, kind: Kind, start: usize) -> Token<'a> {
        Token { kind, text: &self.text[start..self.at], start, end: self.at }
    }

    fn one(&mut self, kind: Kind, start: usize) -> Token<'a> {
        self.at += 1;
        self.token(kind, start)
    }

    fn pass_word(&mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            if !is_word_byte(byte) {
                break;
            }
            self.at += 1;
            if self.mode.is_lead(byte) && self.at < self.text.len() {
                self.at += 1;
            }
        }
    }

    fn number(&mut self, start: usize) -> Token<'a> {
        while let Some(&byte) = self.text.get(self.at) {
            let is_exponent_sign = matches!(byte, b'+' | b'-')
                && matches!(self.text[self.at - 1], b'e' | b'E')
                && self.peek(1).is_ascii_digit()
                && !self.text[start..self.at].starts_with(b"0x");
            if !(byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'_' | b'$')
                || is_exponent_sign)
            {
                break;
            }
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let is_hex = text.len() > 2 && text[0] == b'0' && matches!(text[1], b'x' | b'X' | b'b');
        let is_plain = text
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
        // `1abc` is a name.
        self.token(if is_hex || is_plain { Kind::Literal } else { Kind::Word }, start)
    }

    fn string(&mut self, start: usize, quote: u8) -> Token<'a> {
        self.at += 1;
        let kind = if self.pass_quoted(quote, !self.mode.no_backslash_escapes) {
            Kind::Literal
        } else {
            Kind::Broken
        };
        self.token(kind, start)
    }

    fn quoted(&mut self, start: usize, quote: u8) -> Token<'a> {
        self.at += 1;
        if !self.pass_quoted(quote, false) {
            return self.token(Kind::Broken, start);
        }
        Token { kind: Kind::Quoted, text: &self.text[start + 1..self.at - 1], start, end: self.at }
    }

    /// Goes behind the closing quote; `false` when there is none.
    fn pass_quoted(&mut self, quote: u8, has_escapes: bool) -> bool {
        loop {
            let rest = &self.text[self.at.min(self.text.len())..];
            let found = if self.mode.multibyte_trail {
                rest.iter().position(|&byte| {
                    byte == quote || byte == b'\\' && has_escapes || self.mode.is_lead(byte)
                })
            } else if has_escapes {
                memchr::memchr2(quote, b'\\', rest)
            } else {
                memchr::memchr(quote, rest)
            };
            let Some(found) = found else {
                self.at = self.text.len();
                return false;
            };
            let byte = rest[found];
            self.at += found + 1;
            if byte == quote {
                if self.peek(0) != quote {
                    return true;
                }
                self.at += 1;
            } else {
                self.at += 1;
            }
        }
    }

    fn variable(&mut self, start: usize) -> Token<'a> {
        self.at += 1;
        if self.peek(0) == b'@' {
            self.at += 1;
            if self.peek(0) == b'`' {
                self.at += 1;
                let kind =
                    if self.pass_quoted(b'`', false) { Kind::SystemVariable } else { Kind::Broken };
                return self.token(kind, start);
            }
            self.pass_word();
            return self.token(Kind::SystemVariable, start);
        }
        match self.peek(0) {
            quote @ (b'\'' | b'"' | b'`') => {
                self.at += 1;
                let kind = if self.pass_quoted(quote, quote != b'`') {
                    Kind::UserVariable
                } else {
                    Kind::Broken
                };
                self.token(kind, start)
            }
            _ => {
                while is_word_byte(self.peek(0)) || self.peek(0) == b'.' {
                    if self.at >= self.text.len() {
                        break;
                    }
                    self.at += 1;
                }
                self.token(Kind::UserVariable, start)
            }
        }
    }

    /// Skips white space and comments; `false` for a comment without an end.
    fn skip_blank(&mut self) -> bool {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'#' => self.skip_line(),
                b'-' if self.peek(1) == b'-'
                    && (self.at + 2 >= self.text.len()
                        || self.peek(2) <= b' '
                        || self.peek(2) == 0x7f) =>
                {
                    self.skip_line();
                }
                b'/' if self.peek(1) == b'*' => {
                    if !self.comment() {
                        return false;
                    }
                }
                b'*' if self.open_comments > 0 && self.peek(1) == b'/' => {
                    self.open_comments -= 1;
                    self.at += 2;
                }
                _ => return true,
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        // A zero byte ends it too (MariaDB 10.11).
        self.at += memchr::memchr2(b'\n', 0, rest).map_or(rest.len(), |end| end + 1);
    }

    /// At `/*`: enters an executable comment the server runs, skips any other.
    fn comment(&mut self) -> bool {
        let is_own = self.mode.mariadb && self.peek(2) == b'M' && self.peek(3) == b'!';
        if !is_own && self.peek(2) != b'!' {
            return self.skip_comment();
        }
        let digits_at = self.at + if is_own { 4 } else { 3 };
        let digits = self.text[digits_at.min(self.text.len())..]
            .iter()
            .take(6)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits < 5 {
            self.at = digits_at.min(self.text.len());
            self.open_comments += 1;
            return true;
        }
        let version = self.text[digits_at..digits_at + digits]
            .iter()
            .fold(0_u32, |version, byte| version * 10 + u32::from(byte - b'0'));
        // MariaDB leaves alone what only MySQL 5.7 and later have.
        let is_foreign = self.mode.mariadb && !is_own && (50_700..=99_999).contains(&version);
        if version <= self.mode.server_version && !is_foreign {
            self.at = digits_at + digits;
            self.open_comments += 1;
            return true;
        }
        self.skip_nested_comment()
    }

    fn skip_comment(&mut self) -> bool {
        let body = self.at + 2;
        match memchr::memmem::find(&self.text[body..], b"*/") {
            Some(length) => {
                hint::read(&self.text[body..body + length], &mut self.hint);
                self.at = body + length + 2;
                true
            }
            None => {
                self.at = self.text.len();
                false
            }
        }
    }

    /// Skips an executable comment that is not run; ordinary comments nest in it.
    fn skip_nested_comment(&mut self) -> bool {
        let mut depth = 0;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return true;
                    }
                }
                _ => self.at += 1,
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
