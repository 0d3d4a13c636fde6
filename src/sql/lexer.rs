//! Bytes of a statement to tokens, as the servers' own lexers cut them.
//!
//! A streaming pass that allocates nothing but hints; long strings and comments are skipped with
//! `memchr`. Whoever has to look further ahead than one token walks on with a clone. It never fails:
//! what a server would refuse becomes [`Kind::Bad`], and the classifier sends it to the primary.
//!
//! Comments are dropped, but `/*! */` and `/*M! */` are code when the server would run them.
//! A `/* fairlane: ... */` comment is handed to [`super::hint`].

use memchr::{memchr, memchr2, memmem};

use super::hint;
use super::mode::{Charset, Mode};
use super::token::{Kind, Token};
use super::verdict::Hint;
use super::word;

/// The lexer: call [`Lexer::next`] until it gives [`Kind::End`].
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    mode: Mode,
    /// Inside `/*! ... */` that is code.
    in_version_comment: bool,
    /// The last token ended here and was a name: a dot that follows is no decimal point.
    name_end: usize,
    /// The next token follows such a dot: digits first is still a name.
    after_dot: bool,
    /// What `/* fairlane: ... */` comments said so far.
    pub(super) hint: Hint,
}

const SPACE: u8 = 1;
const WORD: u8 = 2;
const DIGIT: u8 = 4;
const HEX: u8 = 8;
/// One-byte operators that begin no longer one.
const SINGLE: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let b = byte.to_le_bytes()[0];
        table[byte] = match b {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C => SPACE,
            b'0'..=b'9' => DIGIT | WORD | HEX,
            b'a'..=b'f' | b'A'..=b'F' => WORD | HEX,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' | b'$' | 0x80..=0xFF => WORD,
            b'(' | b')' | b',' | b';' | b'+' | b'%' | b'^' | b'~' | b'{' | b'}' => SINGLE,
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn has_class(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// White space in all character sets.
pub(super) fn is_space(byte: u8) -> bool {
    has_class(byte, SPACE)
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], mode: Mode) -> Self {
        Self {
            text,
            at: 0,
            mode,
            in_version_comment: false,
            name_end: usize::MAX,
            after_dot: false,
            hint: Hint::default(),
        }
    }

    #[inline]
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Token {
        if let Err(start) = self.skip_blank() {
            return self.give_up(start);
        }
        let start = self.at;
        let Some(&first) = self.text.get(start) else {
            if self.in_version_comment {
                self.in_version_comment = false;
                return self.token(Kind::Bad, start);
            }
            return self.token(Kind::End, start);
        };
        let after_dot = std::mem::take(&mut self.after_dot);
        if has_class(first, WORD) {
            return if has_class(first, DIGIT) && !after_dot {
                self.number_or_word(start)
            } else {
                self.word(start)
            };
        }
        if has_class(first, SINGLE) {
            self.at += 1;
            return self.op(start, first);
        }
        match first {
            b'\'' => self.string(start, first),
            b'"' if self.mode.ansi_quotes => self.quoted(start, first),
            b'"' => self.string(start, first),
            b'`' => self.quoted(start, first),
            b'.' => self.dot(start),
            b'@' => self.at_sign(start),
            b'?' => self.advance_as(Kind::Param, start, 1),
            b'\\' if self.byte(1) == b'N' => self.advance_as(Kind::Number, start, 2),
            _ => self.operator(start, first),
        }
    }

    #[inline]
    fn token(&self, kind: Kind, start: usize) -> Token {
        Token { kind, start, end: self.at, ..Token::END }
    }

    fn advance_as(&mut self, kind: Kind, start: usize, len: usize) -> Token {
        self.at = start + len;
        self.token(kind, start)
    }

    #[inline]
    fn op(&self, start: usize, op: u8) -> Token {
        Token { op, hash: u64::from(op), ..self.token(Kind::Op, start) }
    }

    /// What stands from `start` on cannot be read: one bad token, then the end.
    fn give_up(&mut self, start: usize) -> Token {
        self.at = self.text.len();
        self.in_version_comment = false;
        self.token(Kind::Bad, start)
    }

    // === blanks and comments ===

    /// Skips white space and comments; the error is where an unreadable comment begins.
    #[inline]
    fn skip_blank(&mut self) -> Result<(), usize> {
        loop {
            let start = self.at;
            match self.byte(0) {
                byte if has_class(byte, SPACE) => self.at += 1,
                b'#' => self.skip_line(),
                b'-' if self.byte(1) == b'-' => match self.byte(2) {
                    // The servers want white space or a control character; the end of the text
                    // is one too. Above 0x7F it depends on the character set.
                    0x80.. => return Err(start),
                    byte if byte <= b' ' || byte == 0x7F => self.skip_line(),
                    _ => return Ok(()),
                },
                b'/' if self.byte(1) == b'*' => self.comment()?,
                b'*' if self.in_version_comment && self.byte(1) == b'/' => {
                    self.in_version_comment = false;
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A zero byte ends a `#` or `--` comment like a line end does (MariaDB 10.11).
    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += memchr2(b'\n', 0, rest).unwrap_or(rest.len());
    }

    fn comment(&mut self) -> Result<(), usize> {
        let start = self.at;
        let (marker, is_mariadb_comment) = match (self.byte(2), self.byte(3)) {
            (b'!', _) => (3, false),
            (b'M', b'!') if self.mode.mariadb => (4, true),
            _ => return self.skip_comment(start),
        };
        let mut digits = (0..6).take_while(|i| self.byte(marker + i).is_ascii_digit()).count();
        if digits == 6 && !self.mode.takes_six_digits(self.byte(marker + 6)) {
            digits = 5;
        }
        if digits < 5 {
            self.at = start + marker;
            self.in_version_comment = true;
            return Ok(());
        }
        let version =
            (0..digits).fold(0, |value, i| value * 10 + u32::from(self.byte(marker + i) - b'0'));
        // Galera's consistency check: code or not depends on the node.
        if self.mode.mariadb && version == 99_997 {
            return Err(start);
        }
        if self.mode.executes(version, is_mariadb_comment) {
            self.at = start + marker + digits;
            self.in_version_comment = true;
            return Ok(());
        }
        self.at = start + marker;
        self.skip_version_comment(start)
    }

    /// A plain comment: ends at the first `*/`, whatever is in it.
    fn skip_comment(&mut self, start: usize) -> Result<(), usize> {
        let body = &self.text[start + 2..];
        let len = memmem::find(body, b"*/").ok_or(start)?;
        hint::read(&body[..len], &mut self.hint);
        self.at = start + 2 + len + 2;
        Ok(())
    }

    /// A version comment for other servers: one level of plain comments inside counts.
    fn skip_version_comment(&mut self, start: usize) -> Result<(), usize> {
        let mut nested = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            self.at += memchr2(b'*', b'/', rest).ok_or(start)?;
            match (self.byte(0), self.byte(1), nested) {
                (b'*', b'/', true) => nested = false,
                (b'*', b'/', false) => {
                    self.at += 2;
                    return Ok(());
                }
                (b'/', b'*', false) => nested = true,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
        }
    }

    // === words and numbers ===

    #[inline]
    fn word(&mut self, start: usize) -> Token {
        let mut odd = false;
        if self.mode.charset == Charset::Plain {
            let rest = &self.text[self.at..];
            self.at += rest.iter().position(|&byte| !has_class(byte, WORD)).unwrap_or(rest.len());
        } else {
            odd = self.skip_foreign_word();
        }
        if odd {
            return self.token(Kind::Bad, start);
        }
        if self.at == start + 1 && self.byte(0) == b'\'' && b"xXbBnN".contains(&self.text[start]) {
            return self.string(start, b'\'');
        }
        self.word_token(start)
    }

    /// A word in a character set with traps; true if it holds what may be white space there.
    fn skip_foreign_word(&mut self) -> bool {
        let charset = self.mode.charset;
        let mut odd = false;
        loop {
            let byte = self.byte(0);
            if charset.is_pair(byte, self.byte(1)) {
                self.at += 2;
            } else if has_class(byte, WORD) {
                odd |= matches!(charset, Charset::SingleByte(blank) if blank == byte);
                self.at += 1;
            } else {
                return odd;
            }
        }
    }

    #[inline]
    fn word_token(&mut self, start: usize) -> Token {
        self.name_end = self.at;
        let (hash, entry) = word::look_up(&self.text[start..self.at]);
        let mut token = self.token(Kind::Word, start);
        token.hash = hash;
        if let Some(entry) = entry {
            token.word = entry.word;
            token.name = entry.word;
            token.call = entry.call_for(self.mode);
        }
        token
    }

    /// Digits first: a number, unless word characters follow that make it a name.
    fn number_or_word(&mut self, start: usize) -> Token {
        if self.byte(0) == b'0' && matches!(self.byte(1), b'x' | b'b') {
            let is_hex = self.byte(1) == b'x';
            let is_digit =
                |b: u8| if is_hex { has_class(b, HEX) } else { matches!(b, b'0' | b'1') };
            self.at += 2;
            let digits = self.skip_while(is_digit);
            if digits > 0 && !has_class(self.byte(0), WORD) {
                return self.token(Kind::Number, start);
            }
            self.at = start;
            return self.word(start);
        }
        self.skip_while(|byte| byte.is_ascii_digit());
        match self.byte(0) {
            b'.' => {
                self.at += 1;
                self.fraction(start)
            }
            b'e' | b'E' if self.skip_exponent() => self.token(Kind::Number, start),
            byte if has_class(byte, WORD) => self.word(start),
            _ => self.token(Kind::Number, start),
        }
    }

    /// After the decimal point.
    fn fraction(&mut self, start: usize) -> Token {
        self.skip_while(|byte| byte.is_ascii_digit());
        if matches!(self.byte(0), b'e' | b'E') && !self.skip_exponent() {
            // MySQL takes this for nothing where the next token is a single byte: `f 1.e(` is a call.
            self.at += 1;
            return self.token(Kind::Bad, start);
        }
        self.token(Kind::Number, start)
    }

    /// At an `e`: skips the exponent if one follows.
    fn skip_exponent(&mut self) -> bool {
        let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
        if !self.byte(1 + sign).is_ascii_digit() {
            return false;
        }
        self.at += 1 + sign;
        self.skip_while(|byte| byte.is_ascii_digit());
        true
    }

    fn skip_while(&mut self, is_wanted: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.at < self.text.len() && is_wanted(self.byte(0)) {
            self.at += 1;
        }
        self.at - start
    }

    fn dot(&mut self, start: usize) -> Token {
        let follows_name = self.name_end == start;
        self.at += 1;
        if !follows_name && self.byte(0).is_ascii_digit() {
            return self.fraction(start);
        }
        self.after_dot = has_class(self.byte(0), WORD);
        self.op(start, b'.')
    }

    // === quotes ===

    /// A string; `start` may stand before a prefix, `self.at` is at the quote.
    fn string(&mut self, start: usize, quote: u8) -> Token {
        self.at += 1;
        let is_closed = match (self.mode.charset.has_ascii_trail(), self.mode.no_backslash_escapes)
        {
            (false, true) => self.skip_to_quote(quote),
            (false, false) => self.skip_escaped(quote),
            (true, _) => self.skip_foreign(quote, !self.mode.no_backslash_escapes),
        };
        if is_closed { self.token(Kind::String, start) } else { self.give_up(start) }
    }

    /// A quoted identifier: no escapes but the doubled quote.
    fn quoted(&mut self, start: usize, quote: u8) -> Token {
        if !self.skip_quoted(quote) {
            return self.give_up(start);
        }
        self.name_end = self.at;
        let (hash, entry) = word::look_up(&self.text[start + 1..self.at - 1]);
        let mut token = self.token(Kind::Quoted, start);
        token.hash = hash;
        if let Some(entry) = entry {
            token.name = entry.word;
            // Quoted it is no keyword, so it must not share a digest with the keyword.
            token.hash = !hash;
        }
        token
    }

    /// At an opening quote of an identifier; false if it is not closed.
    fn skip_quoted(&mut self, quote: u8) -> bool {
        self.at += 1;
        if self.mode.charset.has_ascii_trail() {
            self.skip_foreign(quote, false)
        } else {
            self.skip_to_quote(quote)
        }
    }

    fn skip_to_quote(&mut self, quote: u8) -> bool {
        while let Some(len) = memchr(quote, &self.text[self.at..]) {
            self.at += len + 1;
            if self.byte(0) != quote {
                return true;
            }
            self.at += 1;
        }
        false
    }

    fn skip_escaped(&mut self, quote: u8) -> bool {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(len) = memchr2(quote, b'\\', rest) else { return false };
            let is_escape = rest[len] == b'\\';
            self.at += len + 1;
            if is_escape || self.byte(0) == quote {
                self.at += 1;
            } else {
                return true;
            }
        }
    }

    /// As above where a quote or backslash may be the second half of a character.
    fn skip_foreign(&mut self, quote: u8, escapes: bool) -> bool {
        while self.at < self.text.len() {
            let byte = self.byte(0);
            let pair = self.mode.charset.is_pair(byte, self.byte(1));
            self.at += 1;
            if pair || (escapes && byte == b'\\') || (byte == quote && self.byte(0) == quote) {
                self.at += 1;
            } else if byte == quote {
                return true;
            }
        }
        false
    }

    // === variables and operators ===

    fn at_sign(&mut self, start: usize) -> Token {
        self.at += 1;
        match self.byte(0) {
            b'@' => self.advance_as(Kind::SystemVariable, start, 2),
            quote @ (b'\'' | b'"') if quote == b'\'' || !self.mode.ansi_quotes => {
                let string = self.string(start, quote);
                self.user_variable(start, string.kind == Kind::String)
            }
            quote @ (b'`' | b'"') => {
                let is_closed = self.skip_quoted(quote);
                self.user_variable(start, is_closed)
            }
            _ => {
                let from = self.at;
                let len = self.skip_while(|byte| has_class(byte, WORD) || byte == b'.');
                let may_end = match self.mode.charset {
                    Charset::SingleByte(blank) => self.text[from..self.at].contains(&blank),
                    _ => false,
                };
                self.user_variable(start, len > 0 && !may_end)
            }
        }
    }

    fn user_variable(&mut self, start: usize, is_whole: bool) -> Token {
        if !is_whole {
            return self.give_up(start);
        }
        let hash = word::look_up(&self.text[start..self.at]).0;
        Token { hash, ..self.token(Kind::UserVariable, start) }
    }

    fn operator(&mut self, start: usize, first: u8) -> Token {
        let len = match (first, self.byte(1), self.byte(2)) {
            (b'<', b'=', b'>') | (b'-', b'>', b'>') => 3,
            (b'<', b'=' | b'>' | b'<', _)
            | (b'>', b'=' | b'>', _)
            | (b'!', b'=', _)
            | (b'|', b'|', _)
            | (b'&', b'&', _)
            | (b'-', b'>', _) => 2,
            (b':', b'=', _) => {
                let token = self.advance_as(Kind::Assign, start, 2);
                return Token { hash: u64::from(b':') << 8, ..token };
            }
            (b'<' | b'>' | b'=' | b'!' | b'|' | b'&' | b'-' | b'*' | b'/' | b':', _, _) => 1,
            _ => return self.advance_as(Kind::Bad, start, 1),
        };
        self.at = start + len;
        if len == 1 {
            return self.op(start, first);
        }
        let hash = self.text[start..self.at].iter().fold(0, |h, &b| (h << 8) | u64::from(b));
        Token { hash, ..self.token(Kind::Op, start) }
    }
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
