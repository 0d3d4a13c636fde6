//! The normalised form of a statement: what stays the same when only its values change.
//!
//! Literals become `?`, lists of literals and repeated rows become one, comments and extra
//! blanks go, so does a trailing semicolon. The hash also folds letter case. Within one
//! [`Mode`] two texts with the same hash have the same class, reason, effects and needs, except
//! for the id of a KILL and what a PREPARE has in its string; hints are not part of it.
//!
//! It is a pass of its own over the tokens, which rules with a digest pattern, and people, ask for.
//! Of each text whose verdict is not cached the first tokens are hashed ([`front_digest`]): lanes
//! tell kinds of statements by them.
//!
//! ```text
//! INSERT INTO t VALUES (1, 'a'), (-2, NULL)   ->   INSERT INTO t VALUES ( ? )
//! ```

use super::lexer::{Lexer, is_space};
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::{Call, Word, mix};

/// The longest normalised text, in bytes.
pub const DIGEST_TEXT_BYTES_MAX: usize = 4096;

/// Tokens of a text that its kind hangs on; and how many more those may be that a SELECT has before its FROM: an ORM
/// names all columns, and what tells its statements apart comes behind them.
const FRONT_TOKENS: usize = 64;
const LIST_TOKENS: usize = 512;

/// Deeper parentheses are kept as they are, without folding of lists.
const LEVELS: usize = 16;

/// What a literal contributes to the hash.
const LITERAL: u64 = 0x3F;

/// The hash of the normalised token stream: equal for texts that differ in literals, white
/// space, comments and letter case only. The same in every process.
pub fn digest(sql: &[u8], mode: Mode) -> u64 {
    let mut lexer = Lexer::new(sql, mode);
    let mut normaliser = Normaliser::new(HashSink::default());
    let mut before = Token::END;
    loop {
        let token = lexer.next();
        if token.kind == Kind::End {
            normaliser.push(&token, sql);
            return normaliser.sink.value();
        }
        if before.call == Call::PureTight && token.is_op(b'(') && before.end != token.start {
            // The normalised form drops the blank that makes it another function.
            let is_blank = sql[before.end..token.start].iter().all(|&byte| is_space(byte));
            if !(mode.ignore_space && is_blank) {
                normaliser.sink.note(1);
            }
        }
        normaliser.push(&token, sql);
        before = token;
    }
}

/// The digest of a text's first 64 tokens, in a SELECT of the first 64 from its FROM on and of those before it:
/// what kind of statement it is, at a cost that does not grow with its length.
pub fn front_digest(sql: &[u8], mode: Mode) -> u64 {
    let mut lexer = Lexer::new(sql, mode);
    let mut normaliser = Normaliser::new(HashSink::default());
    let mut next = |normaliser: &mut Normaliser<HashSink>| {
        let token = lexer.next();
        let goes_on = token.kind != Kind::End;
        if goes_on {
            normaliser.push(&token, sql);
        }
        goes_on.then_some(token.word)
    };
    let mut most = FRONT_TOKENS - 1;
    if next(&mut normaliser) == Some(Word::Select) {
        let mut list = 0..FRONT_TOKENS + LIST_TOKENS;
        let has_ended = list.any(|_| match next(&mut normaliser) {
            Some(Word::From) => normaliser.depth == 0,
            word => word.is_none(),
        });
        most = if has_ended { FRONT_TOKENS } else { 0 };
    }
    for _ in 0..most {
        if next(&mut normaliser).is_none() {
            break;
        }
    }
    normaliser.sink.value()
}

/// The normalised text of a statement, cut at [`DIGEST_TEXT_BYTES_MAX`].
pub fn digest_text(sql: &[u8], mode: Mode) -> String {
    let mut lexer = Lexer::new(sql, mode);
    let mut normaliser = Normaliser::new(TextSink::default());
    loop {
        let token = lexer.next();
        normaliser.push(&token, sql);
        if token.kind == Kind::End {
            break;
        }
    }
    let mut text = String::from_utf8_lossy(&normaliser.sink.bytes).into_owned();
    let mut end = text.len().min(DIGEST_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Where the normalised units go. Folding a list takes back what was written since a mark.
pub(super) trait Sink {
    type Mark: Copy;
    fn put(&mut self, hash: u64, text: &[u8]);
    fn mark(&self) -> Self::Mark;
    fn take_back(&mut self, mark: Self::Mark);
}

/// Keeps a hash only.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HashSink(u64);

impl HashSink {
    pub(super) fn value(self) -> u64 {
        self.0
    }

    /// Mixes in a fact that the units do not show.
    pub(super) fn note(&mut self, fact: u64) {
        self.0 = mix(self.0, fact);
    }
}

impl Sink for HashSink {
    type Mark = u64;

    fn put(&mut self, hash: u64, _text: &[u8]) {
        self.0 = mix(self.0, hash);
    }

    fn mark(&self) -> u64 {
        self.0
    }

    fn take_back(&mut self, mark: u64) {
        self.0 = mark;
    }
}

#[derive(Default)]
struct TextSink {
    bytes: Vec<u8>,
}

impl Sink for TextSink {
    type Mark = usize;

    fn put(&mut self, _hash: u64, text: &[u8]) {
        let room = DIGEST_TEXT_BYTES_MAX.saturating_sub(self.bytes.len());
        if room == 0 {
            return;
        }
        let is_tight = text == b"." || self.bytes.ends_with(b".") || self.bytes.ends_with(b"@@");
        if !self.bytes.is_empty() && !is_tight {
            self.bytes.push(b' ');
        }
        self.bytes.extend_from_slice(&text[..text.len().min(room)]);
    }

    fn mark(&self) -> usize {
        self.bytes.len()
    }

    fn take_back(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }
}

/// What is known about the innermost open parentheses.
#[derive(Clone, Copy)]
struct Level<M> {
    /// Hash of what stands in them so far.
    hash: u64,
    /// The parenthesis stands where a whole list item may.
    is_item: bool,
    /// Hash of the list item that was just finished: a literal, or a group in parentheses.
    item: Option<u64>,
    /// Before the last comma: where to go back to, the hash there, and the item before it.
    comma: Option<(M, u64, u64)>,
}

impl<M> Level<M> {
    fn new(is_item: bool) -> Self {
        Self { hash: 0, is_item, item: None, comma: None }
    }
}

/// The last unit, as far as the next one asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Open,
    Comma,
    Operator,
    /// IS, NOT: a NULL after these is no value.
    Test,
    /// VALUES, VALUE, IN: a list follows.
    List,
    Other,
}

/// Turns tokens into normalised units.
pub(super) struct Normaliser<S: Sink> {
    pub(super) sink: S,
    levels: [Level<S::Mark>; LEVELS],
    /// Index of the current level; only the outermost [`LEVELS`] are tracked.
    depth: usize,
    last: Last,
    semicolon: bool,
    sign: Option<u8>,
}

impl<S: Sink> Normaliser<S> {
    pub(super) fn new(sink: S) -> Self {
        let levels = [Level::new(false); LEVELS];
        Self { sink, levels, depth: 0, last: Last::Nothing, semicolon: false, sign: None }
    }

    /// Takes the next token of `text`.
    #[inline]
    pub(super) fn push(&mut self, token: &Token, text: &[u8]) {
        if self.semicolon || self.sign.is_some() {
            self.settle(token);
        }
        match token.kind {
            Kind::String | Kind::Number | Kind::Param => self.literal(),
            Kind::Word if token.word == Word::Null && self.last != Last::Test => self.literal(),
            Kind::Word => {
                self.other(token.hash, &text[token.start..token.end]);
                self.last = match token.word {
                    Word::Is | Word::Not => Last::Test,
                    Word::Values | Word::Value | Word::In => Last::List,
                    _ => Last::Other,
                };
            }
            Kind::Op => self.operator(token, text),
            Kind::Quoted => {
                self.other(token.hash, &text[token.start + 1..token.end - 1]);
                self.last = Last::Other;
            }
            Kind::Assign => {
                self.other(token.hash, b":=");
                self.last = Last::Operator;
            }
            Kind::SystemVariable => {
                self.other(u64::from(b'@'), b"@@");
                self.last = Last::Other;
            }
            Kind::UserVariable => {
                self.other(token.hash, &text[token.start..token.end]);
                self.last = Last::Other;
            }
            // It may be the beginning of a literal whose end was cut off.
            Kind::Bad => {
                self.other(token.hash, b"?");
                self.last = Last::Other;
            }
            Kind::End => {}
        }
    }

    /// Writes what was held back until it was known what follows.
    fn settle(&mut self, token: &Token) {
        if self.semicolon && !token.is_op(b';') && token.kind != Kind::End {
            self.semicolon = false;
            self.other(u64::from(b';'), b";");
            self.last = Last::Nothing;
        }
        if let Some(sign) = self.sign.take()
            && token.kind != Kind::Number
        {
            self.other(u64::from(sign), &[sign]);
            self.last = Last::Operator;
        }
    }

    fn operator(&mut self, token: &Token, text: &[u8]) {
        match token.op {
            b'(' => self.open(),
            b')' => self.close(),
            b',' => self.comma(),
            b';' => {
                self.semicolon = self.last != Last::Nothing;
                self.depth = 0;
                self.levels[0] = Level::new(false);
            }
            sign @ (b'-' | b'+') if self.last != Last::Other => self.sign = Some(sign),
            _ => {
                self.other(token.hash, &text[token.start..token.end]);
                self.last = Last::Operator;
            }
        }
    }

    fn put(&mut self, hash: u64, text: &[u8]) {
        self.sink.put(hash, text);
        if let Some(level) = self.levels.get_mut(self.depth) {
            level.hash = mix(level.hash, hash);
        }
    }

    fn other(&mut self, hash: u64, text: &[u8]) {
        self.put(hash, text);
        if let Some(level) = self.levels.get_mut(self.depth) {
            (level.item, level.comma) = (None, None);
        }
    }

    fn literal(&mut self) {
        let is_item = matches!(self.last, Last::Open | Last::Comma);
        self.put(LITERAL, b"?");
        self.last = Last::Other;
        // Outside of parentheses the number of values tells statements apart (LIMIT 1, 2).
        self.finish_item((is_item && self.depth > 0).then_some(LITERAL));
    }

    fn open(&mut self) {
        let is_item = matches!(self.last, Last::Open | Last::Comma | Last::List);
        self.put(u64::from(b'('), b"(");
        self.last = Last::Open;
        self.depth += 1;
        if let Some(level) = self.levels.get_mut(self.depth) {
            *level = Level::new(is_item);
        }
    }

    fn close(&mut self) {
        self.put(u64::from(b')'), b")");
        self.last = Last::Other;
        if self.depth == 0 {
            return;
        }
        let group = self.levels.get(self.depth).copied();
        self.depth -= 1;
        let Some(group) = group else { return };
        if let Some(parent) = self.levels.get_mut(self.depth) {
            parent.hash = mix(parent.hash, group.hash);
        }
        self.finish_item(group.is_item.then_some(group.hash));
    }

    fn comma(&mut self) {
        let mark = self.sink.mark();
        if let Some(level) = self.levels.get_mut(self.depth) {
            level.comma = level.item.take().map(|item| (mark, level.hash, item));
        }
        self.put(u64::from(b','), b",");
        self.last = Last::Comma;
    }

    /// A list item ends here; if it equals the one before the comma, takes both back.
    fn finish_item(&mut self, item: Option<u64>) {
        let Some(level) = self.levels.get_mut(self.depth) else { return };
        if let (Some((mark, hash, before)), Some(item)) = (level.comma.take(), item)
            && before == item
        {
            level.hash = hash;
            self.sink.take_back(mark);
        }
        level.item = item;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> String {
        digest_text(sql.as_bytes(), Mode::default())
    }

    #[test]
    fn literals_and_lists_fold() {
        for (sql, digest) in [
            ("select  a from t where id=5", "select a from t where id = ?"),
            ("SELECT 'x''y', -1.5e3, 0x1F, -a", "SELECT ? , ? , ? , - a"),
            ("a in (1, 2,3)", "a in ( ? )"),
            ("a = -1 - 2", "a = ? - ?"),
            ("VALUES (1,'a'), (2,NULL), (3, ?)", "VALUES ( ? )"),
            ("VALUES (1,now()), (2,now())", "VALUES ( ? , now ( ) )"),
            ("VALUES (1,now()), (2,uuid())", "VALUES ( ? , now ( ) ) , ( ? , uuid ( ) )"),
            ("f(1, a, 2)", "f ( ? , a , ? )"),
            ("(a,b) in ((1,2),(3,4))", "( a , b ) in ( ( ? ) )"),
            ("limit 1, 2", "limit ? , ?"),
            ("x is not null and y is null", "x is not null and y is null"),
            ("`T`.`a b` /* c */ -- d\n;", "T.a b"),
            ("; ; a;;b ;", "a ; b"),
            ("a = -", "a = -"),
            ("@a := @@global.x", "@a := @@global.x"),
        ] {
            assert_eq!(text(sql), digest, "{sql}");
        }
    }

    #[test]
    fn kinds_of_an_orms_selects_differ_behind_their_columns() {
        let kind = |sql: &str| front_digest(sql.as_bytes(), Mode::default());
        let columns = |count: usize| -> String {
            (0..count).map(|at| format!("t0.c{at} AS c{at}_0, ")).collect()
        };
        let list = columns(30);
        let by_id = format!("SELECT {list}MAX(1) FROM t t0 WHERE id = 5");
        let by_state = format!("SELECT {list}MAX(1) FROM t t0 WHERE state = 5");
        assert_ne!(kind(&by_id), kind(&by_state));
        assert_eq!(kind(&by_id), kind(&by_id.replace("= 5", "= 7")));
        // Not without an end, nor for what is no SELECT.
        let list = columns(200);
        let long = |last: &str| format!("SELECT {list}{last} FROM t");
        assert_eq!(kind(&long("a")), kind(&long("b")));
        let set = "a = 1, ".repeat(30);
        let update = |last: &str| format!("UPDATE t SET {set}a = 1 WHERE {last} = 1");
        assert_eq!(kind(&update("a")), kind(&update("b")));
    }

    #[test]
    fn a_literal_that_was_cut_off_is_not_shown() {
        for (cut, digest) in [
            ("update t set a = 'xx', b = 'secr", "update t set a = ? , b = ?"),
            ("update t set b = \"secr", "update t set b = ?"),
            ("insert into t values (x'41", "insert into t values ( ?"),
            ("insert into t values (_latin1'secr", "insert into t values ( _latin1 ?"),
            ("select 1 /* secr", "select ? ?"),
            ("select 'it\\'s secr", "select ?"),
        ] {
            assert_eq!(text(cut), digest, "{cut}");
        }
    }

    #[test]
    fn text_is_bounded() {
        let many = format!("select {}", "ä, ".repeat(5000));
        assert!(text(&many).len() <= DIGEST_TEXT_BYTES_MAX);
        let rows = format!("insert into t values {}(1)", "(1,2),".repeat(20_000));
        assert_eq!(text(&rows), "insert into t values ( ? )");
        let deep = format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        assert!(text(&deep).len() <= DIGEST_TEXT_BYTES_MAX);
    }
}
