//! What a statement takes or gives back by name: temporary tables, locks, handlers, prepared
//! statements; and user variables that get literal values.
//!
//! Only forms of which the outcome is certain are known. Looked at for sessions that hold
//! something, or begin to: seldom.

use super::lexer::Lexer;
use super::mention::has_word;
use super::mode::Mode;
use super::token::{Kind, Token};

/// Most tokens of a statement that are looked at.
const TOKENS: usize = 128;

/// What can be held by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A temporary table; its name with its schema and a zero, which is in no name, in front.
    Table,
    /// A user-level lock, which may be held several times; its name as it is written, since for
    /// MariaDB `a` and `A` are two, whatever its manual says.
    Lock,
    /// An open HANDLER.
    Handler,
    /// A statement of PREPARE.
    Prepared,
}

impl Held {
    /// All kinds, by their number.
    pub const ALL: [Self; 4] = [Self::Table, Self::Lock, Self::Handler, Self::Prepared];
}

/// The value of a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A number, as text.
    Bare(Box<str>),
    /// The contents of a string of ASCII letters, without quotes or backslashes; never empty, which
    /// is NULL in some modes.
    Text(Box<str>),
}

/// What a statement does to what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// Takes one, if it succeeds.
    Takes(Held, Box<[u8]>),
    /// Gives back all of these that are held, if it succeeds.
    Frees(Held, Vec<Box<[u8]>>),
    /// Gives back all of a kind, if it succeeds.
    FreesAll(Held),
    /// May give a table another name.
    Renames,
    /// Gives user variables, by their names in lower case, literal values.
    Sets(Vec<(Box<str>, Literal)>),
}

/// What the only statement of `sql` does, in a session with this current schema; `None` for all
/// that is not known.
pub fn holding(sql: &[u8], mode: Mode, schema: Option<&str>) -> Option<Holding> {
    let mut lexer = Lexer::new(sql, mode);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next();
        if token.kind == Kind::End {
            break;
        }
        tokens.push(token);
        if tokens.len() == TOKENS {
            break;
        }
    }
    let is_whole = tokens.len() < TOKENS;
    if is_whole && tokens.last().is_some_and(|token| token.is_op(b';')) {
        tokens.pop();
    }
    let mut words = Words { sql, tokens: &tokens, is_whole };
    let first = words.word()?;
    match &*first {
        "create" => words.create(schema),
        "drop" => words.drop(schema),
        "deallocate" => words.skip("prepare").then(|| words.last_name(Held::Prepared))?,
        "prepare" => {
            let name = words.name()?.to_ascii_lowercase().into();
            words.skip("from").then_some(Holding::Takes(Held::Prepared, name))
        }
        "handler" => words.handler(),
        "select" | "do" => words.lock(),
        // What comes behind its FOR may be one of those.
        "set" if words.skip("statement") => {
            let may_rename = has_word(sql, b"alter") || has_word(sql, b"rename");
            may_rename.then_some(Holding::Renames)
        }
        "set" => words.set(),
        "alter" | "rename" => Some(Holding::Renames),
        _ => None,
    }
}

/// The rest of a statement.
struct Words<'a> {
    sql: &'a [u8],
    tokens: &'a [Token],
    /// All tokens of the statement are here.
    is_whole: bool,
}

impl Words<'_> {
    fn text(&self, token: &Token) -> &[u8] {
        &self.sql[token.start..token.end]
    }

    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    fn at_end(&self) -> bool {
        self.is_whole && self.tokens.is_empty()
    }

    /// An unquoted word in lower case.
    fn word(&mut self) -> Option<String> {
        let token = self.next().filter(|token| token.kind == Kind::Word)?;
        Some(String::from_utf8_lossy(self.text(&token)).to_ascii_lowercase())
    }

    /// Whether the next word is this one, which is taken then.
    fn skip(&mut self, word: &str) -> bool {
        let is_it = self.tokens.first().is_some_and(|token| {
            token.kind == Kind::Word && self.text(token).eq_ignore_ascii_case(word.as_bytes())
        });
        if is_it {
            self.tokens = &self.tokens[1..];
        }
        is_it
    }

    fn skip_op(&mut self, op: u8) -> bool {
        let is_it = self.tokens.first().is_some_and(|token| token.is_op(op));
        if is_it {
            self.tokens = &self.tokens[1..];
        }
        is_it
    }

    /// A name, without its quotes.
    fn name(&mut self) -> Option<Vec<u8>> {
        let token = self.next().filter(Token::is_name)?;
        let text = self.text(&token);
        if token.kind == Kind::Word {
            return Some(text.to_vec());
        }
        let inner = text.get(1..text.len() - 1)?;
        let is_plain = !inner.iter().any(|byte| b"`\"\\".contains(byte));
        is_plain.then(|| inner.to_vec())
    }

    /// A table's name, with its schema in front.
    fn table(&mut self, schema: Option<&str>) -> Option<Box<[u8]>> {
        let first = self.name()?;
        let (schema, table) = match self.skip_op(b'.') {
            true => (first, self.name()?),
            false => (schema?.as_bytes().to_vec(), first),
        };
        Some([&schema, &b"\0"[..], &table].concat().into())
    }

    /// The rest is a name and nothing else.
    fn last_name(&mut self, held: Held) -> Option<Holding> {
        let name = self.name()?.to_ascii_lowercase().into();
        self.at_end().then(|| Holding::Frees(held, vec![name]))
    }

    fn create(&mut self, schema: Option<&str>) -> Option<Holding> {
        if self.skip("or") && !self.skip("replace") {
            return None;
        }
        if !self.skip("temporary") || !self.skip("table") {
            return None;
        }
        if self.skip("if") && !(self.skip("not") && self.skip("exists")) {
            return None;
        }
        Some(Holding::Takes(Held::Table, self.table(schema)?))
    }

    fn drop(&mut self, schema: Option<&str>) -> Option<Holding> {
        if self.skip("prepare") {
            return self.last_name(Held::Prepared);
        }
        self.skip("temporary");
        if !self.skip("table") && !self.skip("tables") {
            return None;
        }
        if self.skip("if") && !self.skip("exists") {
            return None;
        }
        let mut tables = vec![self.table(schema)?];
        while self.skip_op(b',') {
            tables.push(self.table(schema)?);
        }
        self.at_end().then_some(Holding::Frees(Held::Table, tables))
    }

    fn handler(&mut self) -> Option<Holding> {
        let mut name = self.name()?;
        if self.skip_op(b'.') {
            name = self.name()?;
        }
        if self.skip("close") {
            let name = name.to_ascii_lowercase().into();
            return self.at_end().then(|| Holding::Frees(Held::Handler, vec![name]));
        }
        if !self.skip("open") {
            return None;
        }
        if self.skip("as") || !self.tokens.is_empty() {
            name = self.name()?;
        }
        let name = name.to_ascii_lowercase().into();
        self.at_end().then_some(Holding::Takes(Held::Handler, name))
    }

    /// One call of a function for locks, with literals.
    fn lock(&mut self) -> Option<Holding> {
        let function = self.word()?;
        if !self.skip_op(b'(') {
            return None;
        }
        let holding = match &*function {
            "release_all_locks" => Holding::FreesAll(Held::Lock),
            "release_lock" => Holding::Frees(Held::Lock, vec![self.lock_name()?]),
            "get_lock" => {
                let name = self.lock_name()?;
                let has_limit = self.skip_op(b',') && {
                    self.skip_op(b'-');
                    matches!(self.next()?.kind, Kind::Number | Kind::String)
                };
                has_limit.then_some(Holding::Takes(Held::Lock, name))?
            }
            _ => return None,
        };
        if !self.skip_op(b')') {
            return None;
        }
        if self.skip("as") || !self.tokens.is_empty() {
            self.name()?;
        }
        self.at_end().then_some(holding)
    }

    fn lock_name(&mut self) -> Option<Box<[u8]>> {
        let token = self.next()?;
        let name = plain_text(self.text(&token)).filter(|_| token.kind == Kind::String)?;
        Some(name.as_bytes().into())
    }

    fn set(&mut self) -> Option<Holding> {
        let mut variables = Vec::new();
        loop {
            let variable = self.next().filter(|token| token.kind == Kind::UserVariable)?;
            let name = std::str::from_utf8(self.text(&variable)).ok()?.to_ascii_lowercase();
            let is_plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.');
            if name.len() < 2 || !name.bytes().skip(1).all(is_plain) {
                return None;
            }
            let assigns = self.next()?;
            if assigns.kind != Kind::Assign && !assigns.is_op(b'=') {
                return None;
            }
            variables.push((name.into(), self.literal()?));
            if !self.skip_op(b',') {
                break;
            }
        }
        self.at_end().then_some(Holding::Sets(variables))
    }

    /// NULL is none: a variable that gets it keeps the type it had.
    fn literal(&mut self) -> Option<Literal> {
        let sign = if self.skip_op(b'-') { "-" } else { "" };
        let token = self.next()?;
        let text = self.text(&token);
        match token.kind {
            Kind::Number => {
                let is_plain = text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
                let digits = std::str::from_utf8(text).ok().filter(|_| is_plain)?;
                Some(Literal::Bare(format!("{sign}{digits}").into()))
            }
            Kind::String if sign.is_empty() => {
                let text = plain_text(text).filter(|text| !text.is_empty())?;
                Some(Literal::Text(text.into()))
            }
            _ => None,
        }
    }
}

/// The contents of a string in single quotes that means the same in all modes and character sets.
fn plain_text(text: &[u8]) -> Option<&str> {
    let inner = text.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let is_plain = inner.iter().all(|byte| (b' '..=b'~').contains(byte) && !b"'\\".contains(byte));
    std::str::from_utf8(inner).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Option<Holding> {
        holding(sql.as_bytes(), Mode::default(), Some("shop"))
    }

    fn takes(held: Held, name: &str) -> Option<Holding> {
        Some(Holding::Takes(held, name.as_bytes().into()))
    }

    fn frees(held: Held, names: &[&str]) -> Option<Holding> {
        Some(Holding::Frees(held, names.iter().map(|name| name.as_bytes().into()).collect()))
    }

    #[test]
    fn tables_are_known_by_schema_and_name() {
        for sql in [
            "CREATE TEMPORARY TABLE t (a INT)",
            "create or replace temporary table `t` select 1",
            "CREATE TEMPORARY TABLE IF NOT EXISTS shop.`t` LIKE u",
        ] {
            assert_eq!(of(sql), takes(Held::Table, "shop\0t"), "{sql}");
        }
        assert_eq!(of("DROP TABLE t"), frees(Held::Table, &["shop\0t"]));
        let two = frees(Held::Table, &["shop\0t", "x\0u"]);
        assert_eq!(of("DROP TEMPORARY TABLES IF EXISTS t, x.u;"), two);
        for sql in [
            "CREATE TEMPORARY SEQUENCE s",
            "CREATE TABLE t (a INT)",
            "DROP TABLE t CASCADE",
            "DROP TABLE t; DROP TABLE u",
            "DROP VIEW t",
            "DROP TABLE `a``b`",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
        assert_eq!(holding(b"DROP TABLE t", Mode::default(), None), None);
        assert_ne!(of("DROP TABLE `a.b`.c"), of("DROP TABLE a.`b.c`"));
        assert_eq!(of("ALTER TABLE t RENAME u"), Some(Holding::Renames));
    }

    #[test]
    fn locks_are_known_by_literal_names_and_certain_calls() {
        assert_eq!(of("SELECT GET_LOCK('A b', 10)"), takes(Held::Lock, "A b"));
        assert_eq!(of("DO get_lock('a', -1)"), takes(Held::Lock, "a"));
        assert_eq!(of("SELECT RELEASE_LOCK('a') AS freed"), frees(Held::Lock, &["a"]));
        assert_eq!(of("SELECT RELEASE_ALL_LOCKS()"), Some(Holding::FreesAll(Held::Lock)));
        for sql in [
            "SELECT RELEASE_LOCK('a') FROM t",
            "SELECT RELEASE_LOCK('a') WHERE 0",
            "SELECT IF(0, RELEASE_LOCK('a'), 1)",
            "SELECT RELEASE_LOCK('a'), 1",
            "SELECT RELEASE_LOCK(CONCAT('a', 'b'))",
            "SELECT RELEASE_LOCK('it''s')",
            "SELECT RELEASE_LOCK('a' 'b')",
            "SELECT RELEASE_LOCK(x'61')",
            "SELECT RELEASE_LOCK('a') LIMIT 0",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_table_may_get_another_name_behind_variables() {
        assert_eq!(of("ALTER TABLE t RENAME TO u"), Some(Holding::Renames));
        let sql = "SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE t RENAME TO u";
        assert_eq!(of(sql), Some(Holding::Renames));
        assert_eq!(of("SET STATEMENT max_statement_time = 5 FOR SELECT * FROM t"), None);
    }

    #[test]
    fn handlers_and_prepared_statements_are_known_by_name() {
        assert_eq!(of("HANDLER t OPEN"), takes(Held::Handler, "t"));
        assert_eq!(of("HANDLER shop.t OPEN AS h"), takes(Held::Handler, "h"));
        assert_eq!(of("HANDLER H CLOSE"), frees(Held::Handler, &["h"]));
        assert_eq!(of("HANDLER h READ FIRST"), None);
        assert_eq!(of("PREPARE S FROM 'SELECT 1'"), takes(Held::Prepared, "s"));
        assert_eq!(of("DEALLOCATE PREPARE s"), frees(Held::Prepared, &["s"]));
        assert_eq!(of("DROP PREPARE s"), frees(Held::Prepared, &["s"]));
        assert_eq!(of("EXECUTE s"), None);
    }

    #[test]
    fn variables_are_known_by_literal_values() {
        let bare = |text: &str| Literal::Bare(text.into());
        let expected = vec![
            ("@a".into(), bare("5")),
            ("@b_c".into(), Literal::Text("x y".into())),
            ("@d".into(), bare("-1.50")),
        ];
        let sql = "SET @a = 5, @B_c := 'x y', @d = -1.50";
        assert_eq!(of(sql), Some(Holding::Sets(expected)));
        for sql in [
            "SET @a = @b",
            "SET @a = 1 + 1",
            "SET @a = 'x' COLLATE utf8mb4_bin",
            "SET @a = 'a' 'b'",
            "SET @a = N'x'",
            "SET @a = 0x41",
            "SET @a = 1e3",
            "SET @a = 'caf\u{e9}'",
            "SET @a = 'a\\b'",
            "SET @`a b` = 1",
            "SET @a = 1, sql_mode = ''",
            "SET @a = 1; SELECT 2",
            "SET @a = TRUE",
            "SET @a = ''",
            "SET @a = NULL",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
