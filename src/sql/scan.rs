//! One pass over the tokens of one statement: what is in it.

use super::digest::{Hash, Normaliser};
use super::function::{self, Function};
use super::lexer::{Kind, Lexer, Token};
use super::verdict::{Effects, Needs, Reason};

/// Leading words kept for the decision.
pub(super) const WORDS: usize = 8;

/// What is in a statement.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    /// The first tokens, without leading parentheses; unused ones are [`Kind::End`].
    pub(super) first: [Token<'a>; WORDS],
    count: usize,
    /// Why it is no plain read, if so: the first reason found.
    pub(super) doubt: Option<Reason>,
    pub(super) effects: Effects,
    pub(super) needs: Needs,
    /// A word that only a writing statement has, after the first one.
    pub(super) has_write_word: bool,
    pub(super) has_from: bool,
    /// WITH READ LOCK, FOR EXPORT.
    pub(super) has_lock_words: bool,
    /// SET of a global or persisted variable.
    pub(super) sets_global: bool,
    /// The token that ended it.
    pub(super) end: Kind,
}

/// A few tokens back, and where in the statement the scan is.
struct Place<'a> {
    before: Token<'a>,
    before_that: Token<'a>,
    depth: usize,
    /// The next word is an object's name, which a list of columns may follow.
    expects_name: bool,
    /// In SET: the next token is what is set.
    expects_variable: bool,
}

const NOTHING: Token<'static> = Token { kind: Kind::End, text: &[], start: 0, end: 0 };

impl<'a> Scan<'a> {
    /// Reads up to the `;` or the end.
    pub(super) fn run(lexer: &mut Lexer<'a>, digest: &mut Normaliser<Hash>) -> Self {
        let mut scan = Self {
            first: [NOTHING; WORDS],
            count: 0,
            doubt: None,
            effects: Effects::empty(),
            needs: Needs::empty(),
            has_write_word: false,
            has_from: false,
            has_lock_words: false,
            sets_global: false,
            end: Kind::End,
        };
        let mut place = Place {
            before: NOTHING,
            before_that: NOTHING,
            depth: 0,
            expects_name: false,
            expects_variable: false,
        };
        loop {
            let token = lexer.next();
            match token.kind {
                Kind::End | Kind::Broken => {
                    scan.end = token.kind;
                    return scan;
                }
                Kind::Punct(b';') => {
                    scan.end = token.kind;
                    return scan;
                }
                _ => {}
            }
            digest.take(&token);
            scan.keep(token);
            scan.take(token, &mut place, lexer);
            place.before_that = place.before;
            place.before = token;
        }
    }

    /// Whether there was nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.end != Kind::Broken
    }

    /// One of the first tokens is this keyword.
    pub(super) fn is(&self, index: usize, keyword: &str) -> bool {
        self.first[index].is(keyword)
    }

    fn keep(&mut self, token: Token<'a>) {
        let is_leading_parenthesis = self.count == 0 && token.is_punct(b'(');
        if self.count < WORDS && !is_leading_parenthesis {
            self.first[self.count] = token;
            self.count += 1;
        }
    }

    fn doubt(&mut self, reason: Reason) {
        self.doubt.get_or_insert(reason);
    }

    fn take(&mut self, token: Token<'a>, place: &mut Place<'a>, lexer: &Lexer<'a>) {
        if self.count > 1 && self.first[0].is("set") {
            self.take_in_set(token, place);
        }
        if !matches!(token.kind, Kind::Word | Kind::Quoted | Kind::Punct(b'.')) {
            place.expects_name = false;
        }
        match token.kind {
            Kind::Word => self.word(token, place, lexer),
            Kind::Quoted => self.name(token, place, lexer),
            Kind::Punct(b'(') => {
                place.depth += 1;
                place.expects_name = false;
            }
            Kind::Punct(b')') => place.depth = place.depth.saturating_sub(1),
            Kind::UserVariable => {
                self.doubt(Reason::UserVariable);
                let is_target = place.before.is("into")
                    || self.first[0].is("load")
                    || self.first[0].is("call")
                    || self.doubt == Some(Reason::IntoClause) && place.before.is_punct(b',');
                if is_target {
                    self.effects |= Effects::USER_VARIABLE;
                }
            }
            Kind::Assign => {
                self.doubt(Reason::UserVariable);
                self.effects |= Effects::USER_VARIABLE;
            }
            Kind::SystemVariable => self.system_variable(token, lexer),
            Kind::Literal | Kind::Parameter | Kind::Punct(_) | Kind::Broken | Kind::End => {}
        }
    }

    fn system_variable(&mut self, token: Token<'a>, lexer: &Lexer<'a>) {
        self.doubt(Reason::SystemVariable);
        let mut ahead = lexer.clone();
        let mut name = token;
        let is_scope = ["global", "session", "local", "persist", "persist_only"]
            .iter()
            .any(|scope| token.variable_name().eq_ignore_ascii_case(scope.as_bytes()));
        if is_scope && ahead.next().is_punct(b'.') {
            name = ahead.next();
        }
        let is = |wanted: &str| name.variable_name().eq_ignore_ascii_case(wanted.as_bytes());
        if is("identity") || is("last_insert_id") {
            self.needs |= Needs::LAST_INSERT_ID;
        } else if is("warning_count") || is("error_count") {
            self.needs |= Needs::DIAGNOSTICS;
        }
    }

    /// A quoted name: a function when a parenthesis follows, a schema when a dot does.
    fn name(&mut self, token: Token<'a>, place: &mut Place<'a>, lexer: &Lexer<'a>) {
        let next = lexer.clone().next();
        if next.is_punct(b'.') {
            self.schema(token);
        } else if next.is_punct(b'(') && !place.expects_name && !is_alias(place) {
            self.unknown_function();
        }
        if !next.is_punct(b'.') {
            place.expects_name = false;
        }
    }

    fn schema(&mut self, token: Token<'_>) {
        const SYSTEM: [&[u8]; 4] = [b"information_schema", b"performance_schema", b"mysql", b"sys"];
        if SYSTEM.iter().any(|schema| token.text.eq_ignore_ascii_case(schema)) {
            self.doubt(Reason::SystemSchema);
        }
    }

    fn unknown_function(&mut self) {
        self.doubt(Reason::UnknownFunction);
        self.effects |= Effects::OPAQUE;
        self.needs |= Needs::LAST_INSERT_ID;
    }

    fn word(&mut self, token: Token<'a>, place: &mut Place<'a>, lexer: &Lexer<'a>) {
        let is_qualified = place.before.is_punct(b'.');
        let next = lexer.clone().next();
        if next.is_punct(b'.') {
            self.schema(token);
        }
        if next.is_punct(b'(') {
            self.call(token, is_qualified, place, lexer);
        }
        if is_qualified {
            return;
        }
        let was_name = std::mem::replace(&mut place.expects_name, false);
        let mut buffer = [0; 20];
        let Some(lower) = buffer.get_mut(..token.text.len()) else { return };
        lower.copy_from_slice(token.text);
        lower.make_ascii_lowercase();
        match &*lower {
            b"into" => {
                self.doubt(Reason::IntoClause);
                place.expects_name = true;
            }
            b"for" if next.is("update") || next.is("share") => self.doubt(Reason::LockingClause),
            b"for" if next.is("export") => self.has_lock_words = true,
            b"lock" if next.is("in") => self.doubt(Reason::LockingClause),
            b"value" if next.is("for") => self.doubt(Reason::Sequence),
            b"sql_calc_found_rows" => {
                self.doubt(Reason::SessionFunction);
                self.effects |= Effects::FOUND_ROWS;
            }
            b"from" => self.has_from = true,
            b"temporary" if place.before.is("create") || place.before.is("replace") => {
                self.effects |= Effects::TEMPORARY_TABLE;
            }
            b"read" if next.is("lock") => self.has_lock_words = true,
            b"insert" | b"replace" | b"update" | b"delete" | b"call" => {
                self.has_write_word |= self.count > 1 && !next.is_punct(b'(');
                place.expects_name = self.names_objects();
            }
            b"recursive" | b"with" if self.first[0].is("with") => place.expects_name = true,
            b"table" | b"references" | b"index" | b"key" | b"constraint" | b"view"
            | b"low_priority" | b"ignore" | b"delayed" | b"exists" | b"if" | b"not"
            | b"recursive" | b"with" | b"procedure" | b"function" | b"unique" | b"fulltext"
            | b"spatial" | b"primary" | b"high_priority" | b"trigger" | b"event" => {
                place.expects_name = !next.is_punct(b'(') && self.names_objects();
            }
            b"as" => place.expects_name = true,
            b"on" => place.expects_name = self.first[0].is("create"),
            _ => place.expects_name = was_name && next.is_punct(b'.'),
        }
    }

    /// Whether names of tables and columns, followed by a list, may be in such a statement where
    /// an expression would have a call.
    fn names_objects(&self) -> bool {
        ["insert", "replace", "update", "delete", "create", "alter", "drop", "load", "call", "with"]
            .iter()
            .any(|word| self.first[0].is(word))
    }

    /// A word with a parenthesis behind it.
    fn call(&mut self, token: Token<'a>, is_qualified: bool, place: &Place<'a>, lexer: &Lexer<'a>) {
        if place.expects_name || is_alias(place) {
            return;
        }
        if is_qualified {
            return self.unknown_function();
        }
        match function::lookup(token.text) {
            Function::Keyword | Function::Pure => {}
            Function::Session(effects, needs) => {
                self.doubt(Reason::SessionFunction);
                self.effects |= effects;
                self.needs |= needs;
                if needs.contains(Needs::LAST_INSERT_ID) && has_argument(lexer) {
                    self.effects |= Effects::INSERT_ID_EXPRESSION;
                }
            }
            Function::Sequence => self.doubt(Reason::Sequence),
            Function::Unknown => self.unknown_function(),
        }
    }

    /// The left-hand sides of a SET statement.
    fn take_in_set(&mut self, token: Token<'a>, place: &mut Place<'a>) {
        let starts = self.count == 2 && place.before.is("set");
        if starts || place.depth == 0 && place.before.is_punct(b',') {
            place.expects_variable = true;
        }
        if token.is("collate") {
            self.effects |= Effects::COLLATION;
        }
        if !place.expects_variable {
            return;
        }
        let name = token.variable_name();
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match token.kind {
            Kind::UserVariable => self.effects |= Effects::USER_VARIABLE,
            Kind::Word | Kind::Quoted | Kind::SystemVariable => {
                if is("global") || is("persist") || is("persist_only") {
                    self.sets_global = true;
                }
                if is("session")
                    || is("local")
                    || is("global")
                    || is("persist")
                    || is("persist_only")
                {
                    return;
                }
                if function::is_unreplayable_variable(name) {
                    self.effects |= Effects::UNREPLAYABLE_VARIABLE;
                }
            }
            Kind::Punct(b'.') => return,
            _ => {}
        }
        place.expects_variable = false;
    }
}

/// After `)` a name with a list of columns is an alias.
fn is_alias(place: &Place<'_>) -> bool {
    place.before.is("as") || place.before.is_punct(b')') && place.before_that.kind != Kind::End
}

fn has_argument(lexer: &Lexer<'_>) -> bool {
    let mut ahead = lexer.clone();
    ahead.next();
    !ahead.next().is_punct(b')')
}
