//! A session's prepared statements (binary protocol).
//!
//! The client has Fairlane's ids. On a server a statement is prepared when it is first needed on
//! a connection, under the schema and modes of the moment the client prepared it.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::fast::FixedState;

use super::image::{Image, LEFT_BY_RESET, NAMES, is_user_variable};
use super::kinds::Kinds;
use crate::protocol::metadata::MetadataDigest;
use crate::protocol::wire::{Cursor, put_lenenc};
use crate::protocol::{Family, attribute};
use crate::sql::{Mode, Verdict};

/// Most prepared statements of one session; servers allow 16,382 for all sessions together
/// (`max_prepared_stmt_count`).
pub const STATEMENTS_MAX: usize = 16_382;

/// Between the hashes of statements that are alike: odd, and far.
const COPY_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Identity of a prepared statement on a connection: two sessions that prepare the same text
/// under the same circumstances share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementKey {
    /// Of all the rest, made once: it is looked up several times an execution.
    hash: u64,
    /// The text.
    pub sql: Box<[u8]>,
    /// What changes its meaning, see [`circumstances()`].
    circumstances: Box<str>,
    /// Counts the statements of one session that are alike: each has a cursor and long data of
    /// its own.
    copy: u16,
}

impl StatementKey {
    /// Of a text and what changes its meaning, for the `copy`th of those that are alike.
    pub fn new(sql: Box<[u8]>, circumstances: Box<str>, copy: u16) -> Self {
        // Whoever finds texts of one hash makes maps slower that are his own, or small.
        let hash = FixedState::with_seed(0).hash_one((&sql, &circumstances));
        Self { hash, sql, circumstances, copy }
    }

    /// Bytes of the text and what changes its meaning.
    pub fn size(&self) -> usize {
        self.sql.len() + self.circumstances.len()
    }

    /// Whether it was prepared under these circumstances, and nothing else.
    pub fn is_of(&self, circumstances: &str) -> bool {
        *self.circumstances == *circumstances
    }

    /// The same statement with another text.
    pub fn with_text(&self, sql: Box<[u8]>) -> Self {
        Self::new(sql, self.circumstances.clone(), self.copy)
    }
}

impl Hash for StatementKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash.wrapping_add(u64::from(self.copy).wrapping_mul(COPY_STEP)));
    }
}

/// Variables that don't change what a text means when it is prepared, nor what its columns are.
const HARMLESS: [&str; 16] = [
    "autocommit",
    "completion_type",
    "foreign_key_checks",
    "innodb_lock_wait_timeout",
    "interactive_timeout",
    "lock_wait_timeout",
    "long_query_time",
    "max_execution_time",
    "max_statement_time",
    "net_read_timeout",
    "net_write_timeout",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
    "wait_timeout",
];

/// Variables that do, and can be set again at any time.
const CIRCUMSTANCES: [&str; 19] = [
    "sql_mode",
    // MySQL decides then what IS NULL finds.
    "sql_auto_is_null",
    "character_set_client",
    "character_set_connection",
    // Of column definitions that a server leaves out afterwards.
    "character_set_results",
    "collation_connection",
    NAMES,
    "time_zone",
    "lc_time_names",
    "div_precision_increment",
    "default_week_format",
    "optimizer_switch",
    "explain_format",
    "sql_buffer_result",
    "group_concat_max_len",
    "old_mode",
    "character_set_collations",
    "default_collation_for_utf8mb4",
    "windowing_use_high_precision",
];

/// What may change the meaning of a text when it is prepared: the schema, and all variables but those of
/// which it is known that they don't. With `typed_variables` also what user variables are: MySQL gives
/// them the types they have then.
pub fn circumstances(image: &Image, typed_variables: bool) -> Box<str> {
    let mut text = String::from(image.schema.as_deref().unwrap_or_default());
    let matters = |name: &str| !HARMLESS.contains(&name) && !is_user_variable(name);
    // Which collation a reset has left is nothing that a text hangs on.
    let is_left = |name: &str, value: &str| name == LEFT_BY_RESET && value.is_empty();
    let system = image.variables().filter(|&(name, value)| matters(name) && !is_left(name, value));
    let user = image.user_variables().filter(|_| typed_variables);
    for (name, value) in system.chain(user) {
        for part in ["\0", name, "=", value] {
            text.push_str(part);
        }
    }
    text.into()
}

/// What a connection has to be while a statement that was prepared under `then` is prepared on it
/// again. All else is the session's as it is `now`: giving autocommit its value of that moment would
/// commit the transaction that is open now, with another session's `transaction_read_only`
/// MySQL would not prepare what writes, and some variables can't be set back.
pub fn image_to_prepare(now: &Image, then: &Image, typed_variables: bool) -> Image {
    let mut image = now.clone();
    image.schema = then.schema.clone();
    CIRCUMSTANCES.iter().for_each(|name| image.unset(name));
    let known = CIRCUMSTANCES.iter().filter_map(|&name| Some((name, then.get(name)?)));
    known.for_each(|(name, value)| image.set(name, value));
    let variables = then.user_variables().filter(|_| typed_variables);
    variables.for_each(|(name, value)| image.set(name, value));
    image
}

/// One prepared statement of a session.
#[derive(Debug)]
pub struct Statement {
    /// Identity on connections.
    pub key: Arc<StatementKey>,
    /// The session's image when it was prepared.
    pub image: Image,
    /// How the text was read then.
    pub mode: Mode,
    /// What the text means.
    pub verdict: Verdict,
    /// Number of parameters.
    pub parameters: u16,
    /// Parameter types as last sent by the client: two bytes each, and a name where parameters
    /// have one.
    pub types: Option<Box<[u8]>>,
    /// Which of them are of numbers and the like, see [`number_bit`] (MariaDB).
    pub numbers: u64,
    /// What `types` were before this execution, once it has brought others.
    pub older_types: Option<Option<Box<[u8]>>>,
    /// The column definitions its client has; `None` where they are sent each time.
    pub metadata: Option<MetadataDigest>,
    /// Types of its parameters as MySQL tells them, one byte each.
    pub wanted: Box<[u8]>,
    /// Kinds of its parameters' values so far (MySQL).
    pub kinds: Kinds,
}

impl Statement {
    /// The last execution could not be read: MySQL goes on with the types of before.
    pub fn forget_types(&mut self) {
        if let Some(older) = self.older_types.take() {
            self.types = older;
        }
    }
}

impl Statement {
    /// The text with the values of an execution in the places of its one or two parameters, where these are
    /// plain texts or numbers: what it takes or gives back by name. Numbers are all written as 1.
    pub fn with_values(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let sql = &self.key.sql;
        let parameters = usize::from(self.parameters);
        let types = self.types.as_ref().filter(|types| types.len() == 2 * parameters)?;
        let is_told = |byte: &u8| matches!(byte, b'\'' | b'"' | b'`' | b'\\' | b'#' | b'/');
        let places = sql.iter().filter(|byte| **byte == b'?').count();
        if !(1..=2).contains(&parameters) || places != parameters || sql.iter().any(is_told) {
            return None;
        }
        let mut cursor = Cursor::new(payload.get(EXECUTE_HEADER..)?);
        let (nulls, is_typed) = (cursor.u8("NULL bitmap").ok()?, cursor.u8("types").ok()? != 0);
        if is_typed {
            cursor.take(2 * parameters, "types").ok()?;
        }
        let mut parts = sql.split(|byte| *byte == b'?');
        let mut text = parts.next()?.to_vec();
        for (index, part) in parts.enumerate() {
            if nulls & 1 << index != 0 {
                return None;
            }
            let kind = types[2 * index];
            let value = attribute::value(&mut cursor, kind).ok()?;
            let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && !b"'\\".contains(byte);
            match kind {
                1..=5 | 8 => text.push(b'1'),
                15 | 253 | 254 if value.iter().all(is_plain) => {
                    text.extend([b"'", value, b"'"].concat());
                }
                _ => return None,
            }
            text.extend_from_slice(part);
        }
        Some(text)
    }
}

/// The numbers of the statements that are alike.
#[derive(Debug, Default)]
struct Copies {
    /// This one and those behind it are free.
    next: u16,
    /// As are these in front of it.
    free: BTreeSet<u16>,
}

impl Copies {
    fn first_free(&self) -> u16 {
        self.free.first().copied().unwrap_or(self.next)
    }

    fn take(&mut self, copy: u16) {
        if copy >= self.next {
            self.free.extend(self.next..copy);
            self.next = copy + 1;
        } else {
            self.free.remove(&copy);
        }
    }

    fn give_back(&mut self, copy: u16) {
        if copy + 1 < self.next {
            self.free.insert(copy);
            return;
        }
        self.next = copy;
        while self.next > 0 && self.free.remove(&(self.next - 1)) {
            self.next -= 1;
        }
    }
}

/// All prepared statements of a session, by the id the client has.
#[derive(Debug, Default)]
pub struct Statements {
    by_id: HashMap<u32, Statement>,
    /// By the hash of their keys: texts that share one share its numbers.
    copies: HashMap<u64, Copies>,
    last_id: u32,
    /// The statement that the last COM_STMT_PREPARE made, unless it failed; 0 is none.
    last_prepared: u32,
}

impl Statements {
    /// The id the next statement gets.
    pub fn next_id(&self) -> u32 {
        let mut id = self.last_id;
        loop {
            id = id.wrapping_add(1);
            // 0 and the id that MariaDB reads as "the last one prepared" are never given.
            if id != 0 && id != u32::MAX && !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// The key of a new statement: the first one that no other of this session has.
    pub fn new_key(&self, sql: &[u8], circumstances: Box<str>) -> StatementKey {
        let mut key = StatementKey::new(sql.into(), circumstances, 0);
        key.copy = self.copies.get(&key.hash).map_or(0, Copies::first_free);
        key
    }

    /// Keeps a statement under `id`, which came from [`Statements::next_id`].
    pub fn insert(&mut self, id: u32, statement: Statement) {
        self.last_id = id;
        self.last_prepared = id;
        self.copies.entry(statement.key.hash).or_default().take(statement.key.copy);
        let before = self.by_id.insert(id, statement);
        debug_assert!(before.is_none());
    }

    /// The id that means: the statement prepared last (MariaDB's pipelined execution).
    pub fn resolve(&self, id: u32) -> u32 {
        if id == u32::MAX { self.last_prepared } else { id }
    }

    /// A statement is about to be prepared: until it is, none was prepared last.
    pub fn forget_last(&mut self) {
        self.last_prepared = 0;
    }

    /// A statement.
    pub fn get(&self, id: u32) -> Option<&Statement> {
        self.by_id.get(&id)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Statement)> {
        self.by_id.iter().map(|(id, statement)| (*id, statement))
    }

    /// A statement, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Statement> {
        self.by_id.get_mut(&id)
    }

    /// Forgets a statement.
    pub fn remove(&mut self, id: u32) -> Option<Statement> {
        let statement = self.by_id.remove(&id)?;
        if let Entry::Occupied(mut copies) = self.copies.entry(statement.key.hash) {
            copies.get_mut().give_back(statement.key.copy);
            if copies.get().next == 0 {
                copies.remove();
            }
        }
        if self.last_prepared == id {
            self.last_prepared = 0;
        }
        Some(statement)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_id.clear();
        self.copies.clear();
        self.last_prepared = 0;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Offset of the parameter part of a COM_STMT_EXECUTE payload: command, id, flags, iterations.
pub const EXECUTE_HEADER: usize = 10;

/// How the parameters of a COM_STMT_EXECUTE are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecuteForm {
    /// As many as the statement has.
    Plain,
    /// With names, and query attributes behind them (MySQL).
    Attributes,
}

/// A COM_STMT_EXECUTE payload for a connection on which the statement has id `server_id`.
///
/// Parameter types travel only with a client's first execution; a server that did not see them
/// needs them, so they are kept in `statement` and always sent.
///
/// # Errors
/// When the payload is too short for its parameters.
pub fn execute(
    payload: &[u8],
    server_id: u32,
    statement: &mut Statement,
    form: ExecuteForm,
    family: Family,
) -> Result<Vec<u8>, BadExecute> {
    use BadExecute::{Arguments, Packet, Types};
    let is_mariadb = family.is_mariadb();
    // A client that names the statement prepared last has not seen how many parameters it has: MariaDB
    // wants the types with each such execution.
    let names_last = is_mariadb && payload.get(1..5) == Some(&u32::MAX.to_le_bytes()[..]);
    let cut_short = || if is_mariadb && !names_last { Types } else { Packet };
    let mut out = Vec::with_capacity(payload.len() + 16);
    out.extend_from_slice(payload.get(..EXECUTE_HEADER).ok_or(Packet)?);
    out[1..5].copy_from_slice(&server_id.to_le_bytes());
    let mut rest = Cursor::new(&payload[EXECUTE_HEADER..]);
    let parameters = usize::from(statement.parameters);
    let mut count = parameters;
    if form == ExecuteForm::Attributes {
        count = 0;
        // The flag tells of a count only where there may be none: Connector/Python sets it with attributes.
        if parameters > 0 || payload[5] & COUNT_AVAILABLE != 0 {
            let told = rest.lenenc("number of parameters").map_err(|_| Packet)?;
            count = usize::try_from(told).map_err(|_| Packet)?;
            put_lenenc(&mut out, told);
        }
        if count < parameters {
            return Err(Arguments);
        }
    }
    if count == 0 {
        out.extend_from_slice(rest.rest());
        return Ok(out);
    }
    let nulls = rest.take(count.div_ceil(8), "NULL bitmap").map_err(|_| cut_short())?;
    out.extend_from_slice(nulls);
    out.push(1);
    let has_types = rest.u8("types").map_err(|_| cut_short())?;
    // MySQL takes any other number for 1.
    if is_mariadb && has_types > 1 {
        return Err(Packet);
    }
    if has_types == 0 {
        // Attributes have no types of an earlier execution.
        if count > parameters || names_last {
            return Err(Packet);
        }
        match &statement.types {
            Some(types) => out.extend_from_slice(types),
            // MySQL reads texts as long as it knows no types.
            None if !is_mariadb && !are_texts(nulls, count, rest.clone()) => {
                return Err(Packet);
            }
            None => return Err(Types),
        }
        out.extend_from_slice(rest.rest());
        return Ok(out);
    }
    let types = match form {
        ExecuteForm::Plain => rest.take(2 * parameters, "types"),
        ExecuteForm::Attributes => attribute::named_types(&mut rest, parameters),
    };
    let types = types.map_err(|_| Packet)?;
    if is_mariadb {
        statement.numbers = numbers(types);
    }
    let older = statement.types.replace(types.into());
    // Asked of one server after another, it has the types of before all of them.
    statement.older_types.get_or_insert(older);
    out.extend_from_slice(types);
    out.extend_from_slice(rest.rest());
    Ok(out)
}

/// The bit of a parameter among those that have had numbers; the last one is that of all from there on.
pub fn number_bit(index: usize) -> u64 {
    1 << index.min(63)
}

/// The parameters whose types, two bytes each, are neither those of texts and blobs nor NULL.
fn numbers(types: &[u8]) -> u64 {
    const NULL: u8 = 6;
    // VARCHAR, and from JSON on all but NEWDECIMAL.
    let is_number = |kind: u8| kind != NULL && kind != 15 && (kind < 245 || kind == 246);
    let kinds = types.chunks_exact(2).enumerate().filter(|(_, kind)| is_number(kind[0]));
    kinds.fold(0, |bits, (index, _)| bits | number_bit(index))
}

/// Whether the values of the parameters that the NULL bitmap leaves can be read as texts.
fn are_texts(bitmap: &[u8], count: usize, mut values: Cursor<'_>) -> bool {
    let is_null = |index: &usize| bitmap[index / 8] & 1 << (index % 8) != 0;
    let mut sent = (0..count).filter(|index| !is_null(index));
    sent.all(|_| values.lenenc_bytes("value").is_ok())
}

/// Offset of the parameter part of a COM_STMT_BULK_EXECUTE payload: command, id, flags.
pub const BULK_HEADER: usize = 7;

/// The flag of COM_STMT_BULK_EXECUTE that types follow.
const BULK_TYPES: u16 = 0x80;
/// The flag that a result of each set of parameters is asked for.
const BULK_UNITS: u16 = 0x40;

/// Whether a COM_STMT_BULK_EXECUTE payload asks for a result of each set.
pub fn asks_units(payload: &[u8]) -> bool {
    bulk_flags(payload).is_some_and(|flags| flags & BULK_UNITS != 0)
}

/// The flags of a COM_STMT_BULK_EXECUTE payload.
fn bulk_flags(payload: &[u8]) -> Option<u16> {
    let flags = payload.get(5..BULK_HEADER)?;
    Some(u16::from_le_bytes([flags[0], flags[1]]))
}

/// A COM_STMT_BULK_EXECUTE payload (MariaDB) for a connection on which the statement has id
/// `server_id`. Types are kept and sent as those of [`execute`]; the sets of parameters behind
/// them are the server's to read.
///
/// # Errors
/// When the payload is too short for its types, or none are known.
pub fn execute_bulk(
    payload: &[u8],
    server_id: u32,
    statement: &mut Statement,
) -> Result<Vec<u8>, BadExecute> {
    let flags = bulk_flags(payload).ok_or(BadExecute::Packet)?;
    let mut rest = Cursor::new(&payload[BULK_HEADER..]);
    let mut out = Vec::with_capacity(payload.len() + 16);
    out.extend_from_slice(&payload[..1]);
    out.extend_from_slice(&server_id.to_le_bytes());
    if statement.parameters == 0 {
        // The server refuses it in its own words.
        out.extend_from_slice(&payload[5..]);
        return Ok(out);
    }
    out.extend_from_slice(&(flags | BULK_TYPES).to_le_bytes());
    if flags & BULK_TYPES != 0 {
        let types = rest.take(2 * usize::from(statement.parameters), "types");
        let types = types.map_err(|_| BadExecute::Packet)?;
        statement.numbers = numbers(types);
        statement.types = Some(types.into());
    }
    out.extend_from_slice(statement.types.as_deref().ok_or(BadExecute::Types)?);
    out.extend_from_slice(rest.rest());
    Ok(out)
}

/// PARAMETER_COUNT_AVAILABLE, the flag of COM_STMT_EXECUTE that a number of parameters follows.
pub(super) const COUNT_AVAILABLE: u8 = 0x08;

/// Why a COM_STMT_EXECUTE can't be passed on, as the servers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadExecute {
    /// Fewer parameters than the statement has.
    Arguments,
    /// No types, now or before.
    Types,
    /// Shorter than what it says is in it.
    Packet,
}

#[cfg(test)]
#[path = "prepared_tests.rs"]
mod tests;
