//! Tokens: what the lexer hands out.

use super::word::{Call, Word};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An unquoted word: keyword, function or identifier.
    Word,
    /// A quoted identifier.
    Quoted,
    /// A string, with its `x`, `b` or `n` prefix.
    String,
    /// A number, also `0x..` and `0b..`.
    Number,
    /// `?`.
    Param,
    /// `@name`, quoted or not; also the host part of an account.
    UserVariable,
    /// The `@@` before a system variable's name.
    SystemVariable,
    /// `:=`.
    Assign,
    /// Any other operator or punctuation; single bytes are in [`Token::op`].
    Op,
    /// What no server accepts.
    Bad,
    /// The end of the text.
    End,
}

/// One token and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// What is known about an unquoted word. `Word::None` for quoted identifiers.
    pub word: Word,
    /// The same whether quoted or not: names of schemas and variables.
    pub name: Word,
    /// What it means before a parenthesis.
    pub call: Call,
    /// The byte of a one-byte operator, else 0.
    pub op: u8,
    /// Hash of what the digest keeps of the token (letter case folded).
    pub hash: u64,
}

impl Token {
    /// Stands for "no token yet" as well as for the end.
    pub(super) const END: Self = Self {
        kind: Kind::End,
        start: 0,
        end: 0,
        word: Word::None,
        name: Word::None,
        call: Call::Unknown,
        op: 0,
        hash: 0,
    };

    pub(super) fn is_op(&self, op: u8) -> bool {
        self.kind == Kind::Op && self.op == op
    }

    /// A value or an operator that means nothing by itself.
    pub(super) fn is_inert(&self) -> bool {
        match self.kind {
            Kind::Op => !matches!(self.op, b'(' | b')'),
            Kind::String | Kind::Number | Kind::Param => true,
            _ => false,
        }
    }

    pub(super) fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    pub(super) fn is_literal(&self) -> bool {
        matches!(self.kind, Kind::String | Kind::Number | Kind::Param)
    }
}
