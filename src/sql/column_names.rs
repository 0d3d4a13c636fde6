//! The names that servers give to unnamed columns of select lists, for those whose text is changed.

use std::borrow::Cow;

use super::lexer::Lexer;
use super::mode::{Charset, Mode};
use super::substitute::{CallSite, Insertion};
use super::token::{Kind, Token};
use super::word::Word;

/// Servers refuse longer aliases.
const ALIAS_CHARS_MAX: usize = 255;

/// Finds the select items that hold a call and have no alias.
pub(super) struct ColumnNames<'a> {
    text: &'a [u8],
    mode: Mode,
    calls: &'a [CallSite],
    next_call: usize,
    levels: Vec<Level>,
    names: Vec<Insertion>,
}

/// What is between two parentheses, as far as it is a select list.
#[derive(Clone, Copy)]
struct Level {
    in_list: bool,
    /// Where the current item starts and ends so far.
    start: Option<usize>,
    end: usize,
    has_call: bool,
    /// There is an AS, or what no server can read: a quote left open would end in an alias.
    has_as: bool,
    /// CASE without its END so far.
    open_cases: u32,
    /// An INTERVAL, that is no function, without its unit so far.
    in_interval: bool,
    /// The item ends in a word that is no alias: the END of a CASE, the unit of an INTERVAL.
    ends_in_word: bool,
    /// What behind the last token belongs to the expression, and what behind the one before.
    joins: Joins,
    joined: Joins,
    /// The last token of the item and the one before.
    last: Token,
    before: Token,
}

impl Level {
    const OUTSIDE: Self = Self {
        in_list: false,
        start: None,
        end: 0,
        has_call: false,
        has_as: false,
        open_cases: 0,
        in_interval: false,
        ends_in_word: false,
        joins: Joins::Nothing,
        joined: Joins::Nothing,
        last: Token::END,
        before: Token::END,
    };
    const LIST: Self = Self { in_list: true, ..Self::OUTSIDE };

    /// `text` is that of the token.
    fn extend(&mut self, token: &Token, text: &[u8]) {
        self.start.get_or_insert(token.start);
        self.end = token.end;
        self.has_as |= token.word == Word::As || token.kind == Kind::Bad;
        let ends_case = token.word == Word::End && self.open_cases > 0;
        self.open_cases += u32::from(token.word == Word::Case);
        self.open_cases -= u32::from(ends_case);
        let ends_interval = self.in_interval && is_one_of(UNITS, text);
        // With a parenthesis it is a function, or its unit may be taken for an alias.
        let is_call = token.is_op(b'(') && self.last.word == Word::Interval;
        self.in_interval =
            token.word == Word::Interval || self.in_interval && !ends_interval && !is_call;
        self.ends_in_word = ends_case || ends_interval;
        self.joined = std::mem::replace(&mut self.joins, joins(token, text));
        self.before = std::mem::replace(&mut self.last, *token);
    }

    /// True if the item has a name, or might have: a second alias would be an error.
    fn is_named(&self) -> bool {
        let is_string = self.last.kind == Kind::String;
        let may_be_alias = self.last.is_name() && !self.ends_in_word || is_string;
        // 'a' 'b' is one string.
        let is_joined = match self.joined {
            Joins::Nothing => is_string && self.before.kind == Kind::String,
            Joins::Strings => is_string,
            Joins::Operands => true,
        };
        self.has_as || (may_be_alias && !is_joined)
    }
}

/// What a token makes a part of the expression, if it comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joins {
    Nothing,
    /// Strings.
    Strings,
    /// Strings and names.
    Operands,
}

/// Units of an INTERVAL.
const UNITS: &[&str] = &[
    "MICROSECOND",
    "SECOND",
    "MINUTE",
    "HOUR",
    "DAY",
    "WEEK",
    "MONTH",
    "QUARTER",
    "YEAR",
    "SECOND_MICROSECOND",
    "MINUTE_MICROSECOND",
    "MINUTE_SECOND",
    "HOUR_MICROSECOND",
    "HOUR_SECOND",
    "HOUR_MINUTE",
    "DAY_MICROSECOND",
    "DAY_SECOND",
    "DAY_MINUTE",
    "DAY_HOUR",
    "YEAR_MONTH",
];

/// Words that say what the string behind them is.
const KINDS: &[&str] =
    &["DATE", "TIME", "TIMESTAMP", "ESCAPE", "_binary", "_latin1", "_utf8", "_utf8mb3", "_utf8mb4"];

fn is_one_of(words: &[&str], text: &[u8]) -> bool {
    words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(text))
}

fn joins(token: &Token, text: &[u8]) -> Joins {
    match (token.kind, token.word) {
        (Kind::Op, _) if ends_operand(token) => Joins::Nothing,
        (Kind::Op | Kind::SystemVariable, _)
        | (
            Kind::Word,
            Word::And
            | Word::Or
            | Word::Xor
            | Word::Not
            | Word::Is
            | Word::Div
            | Word::Mod
            | Word::Like
            | Word::Rlike
            | Word::Regexp
            | Word::Binary
            | Word::Collate
            | Word::Over
            | Word::Between
            | Word::Then
            | Word::Else,
        ) => Joins::Operands,
        (Kind::Word, _) if is_one_of(KINDS, text) => Joins::Strings,
        _ => Joins::Nothing,
    }
}

/// A parenthesis or `{fn ...}` ends here.
fn ends_operand(token: &Token) -> bool {
    token.is_op(b')') || token.is_op(b'}')
}

impl<'a> ColumnNames<'a> {
    pub(super) fn new(text: &'a [u8], mode: Mode, calls: &'a [CallSite]) -> Self {
        Self { text, mode, calls, next_call: 0, levels: vec![Level::OUTSIDE], names: Vec::new() }
    }

    pub(super) fn run(mut self) -> Vec<Insertion> {
        let mut lexer = Lexer::new(self.text, self.mode);
        let mut after_dot = false;
        loop {
            let token = lexer.next();
            if self.calls.get(self.next_call).is_some_and(|call| call.start == token.start) {
                self.next_call += 1;
                if let Some(level) = self.levels.last_mut() {
                    level.has_call = true;
                }
            }
            match token.op {
                _ if token.kind == Kind::End => break,
                b';' => self.close_all(),
                b'(' => {
                    self.extend(&token);
                    self.levels.push(Level::OUTSIDE);
                }
                b')' => self.close(&token),
                b',' if self.in_list() => {
                    self.finish_item();
                    self.replace_level(Level::LIST);
                }
                _ if token.kind == Kind::Word && !after_dot => self.word(&token),
                _ => self.extend(&token),
            }
            after_dot = token.is_op(b'.');
        }
        self.close_all();
        self.names
    }

    fn in_list(&self) -> bool {
        self.levels.last().is_some_and(|level| level.in_list)
    }

    fn replace_level(&mut self, level: Level) {
        if let Some(last) = self.levels.last_mut() {
            *last = level;
        }
    }

    fn extend(&mut self, token: &Token) {
        if let Some(level) = self.levels.last_mut() {
            level.extend(token, &self.text[token.start..token.end]);
        }
    }

    fn word(&mut self, token: &Token) {
        let is_fresh =
            self.levels.last().is_some_and(|level| level.in_list && level.start.is_none());
        match token.word {
            Word::Select => self.replace_level(Level::LIST),
            Word::Distinct
            | Word::Distinctrow
            | Word::All
            | Word::HighPriority
            | Word::StraightJoin
            | Word::SqlBigResult
            | Word::SqlBufferResult
            | Word::SqlCache
            | Word::SqlNoCache
            | Word::SqlSmallResult
            | Word::SqlCalcFoundRows
                if is_fresh => {}
            Word::From
            | Word::Into
            | Word::Limit
            | Word::Order
            | Word::Where
            | Word::Having
            | Word::Group
            | Word::Union
            | Word::Except
            | Word::Intersect
            | Word::For
            | Word::Lock
            | Word::Window
            | Word::Procedure
            | Word::Fetch
            | Word::Offset
            // ON DUPLICATE KEY UPDATE: within parentheses ON belongs to something else.
            | Word::On
                if self.in_list() =>
            {
                self.finish_item();
                self.replace_level(Level::OUTSIDE);
            }
            // MariaDB: what it returns are columns, too.
            Word::Returning if self.mode.mariadb => {
                self.finish_item();
                self.replace_level(Level::LIST);
            }
            _ => self.extend(token),
        }
    }

    fn close(&mut self, token: &Token) {
        if self.levels.len() == 1 {
            // Nothing is open: no server takes the statement.
            return self.replace_level(Level::OUTSIDE);
        }
        self.finish_item();
        let had_call = self.levels.pop().is_some_and(|level| level.has_call);
        if let Some(parent) = self.levels.last_mut() {
            parent.extend(token, b")");
            // A subquery is a part of the item around it.
            parent.has_call |= had_call;
        }
    }

    /// At the end of a statement. Items in which a parenthesis is left open get no name: where
    /// they end is not known, and no server takes the statement.
    fn close_all(&mut self) {
        if self.levels.len() == 1 {
            self.finish_item();
        }
        self.levels.truncate(1);
        self.replace_level(Level::OUTSIDE);
    }

    /// Names the item that ends here, if it needs a name.
    fn finish_item(&mut self) {
        let Some(&item) = self.levels.last() else { return };
        let (true, true, Some(start)) = (item.in_list, item.has_call, item.start) else { return };
        // Behind an operator a name might begin a comment; no server takes that.
        let ends_in_operator = item.last.kind == Kind::Op && !ends_operand(&item.last);
        if item.is_named() || ends_in_operator {
            return;
        }
        if let Some(text) = alias(&self.text[start..item.end], self.mode) {
            self.names.push(Insertion { at: item.end, text });
        }
    }
}

/// ` AS` and the quoted `name`; `None` for what no server takes as an alias.
fn alias(name: &[u8], mode: Mode) -> Option<Vec<u8>> {
    if name.len() > ALIAS_CHARS_MAX || name.contains(&0) {
        return None;
    }
    let mut name = Cow::Borrowed(name);
    if mode.charset == Charset::Plain {
        // FACT(mariadb 10.11): names have no characters beyond U+FFFF; an alias with one is refused,
        // and a column that would be named by one has a question mark there;
        // test: `columns_of_known_values_have_the_servers_names`.
        let text = str::from_utf8(&name).ok()?;
        if !text.is_ascii() {
            let in_range = text.chars().map(|c| if c > '\u{ffff}' { '?' } else { c });
            name = Cow::Owned(in_range.collect::<String>().into_bytes());
        }
    }
    let mut alias = b" AS `".to_vec();
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        let trail = name.get(at + 1).copied().unwrap_or(b'`');
        if mode.charset.is_pair(byte, trail) {
            // The second half of a character may look like a quote, and that like a second half.
            name.get(at + 1)?;
            alias.extend([byte, trail]);
            at += 2;
            continue;
        }
        alias.extend(std::iter::repeat_n(byte, if byte == b'`' { 2 } else { 1 }));
        at += 1;
    }
    alias.push(b'`');
    Some(alias)
}
