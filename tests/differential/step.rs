//! What a client does: one command, with what differs between the two ways left open.

use fairlane::protocol::auth::NATIVE;
use fairlane::protocol::sha2::CACHING_SHA2;
use fairlane::protocol::{Command, Shape};

use crate::params::{Param, put_params};
use crate::support::product;
use crate::support::product::Product;
use crate::support::raw::reply;

/// One command of a script and what to do with its answer.
#[derive(Debug, Clone)]
pub struct Step {
    /// For the reader of a difference.
    pub what: String,
    pub payload: Payload,
    pub shape: Shape,
    /// Contents for LOCAL INFILE; `None`: the client refuses.
    pub file: Option<Vec<u8>>,
    pub depth: Depth,
    /// Servers that take it; the others leave it out.
    pub on: &'static [Product],
}

/// Servers that something can be asked of.
pub const EVERYWHERE: &[Product] = &[Product::MariaDb, Product::MariaDbUnstable, Product::MySql];
pub const MYSQL: &[Product] = &[Product::MySql];
pub const MARIADB: &[Product] = &[Product::MariaDb, Product::MariaDbUnstable];

/// All but MariaDB 11.
pub const NOT_MARIADB_11: &[Product] = &[Product::MariaDb, Product::MySql];

/// The payload of a command.
#[derive(Debug, Clone)]
pub enum Payload {
    Fixed(Vec<u8>),
    /// Prepares a statement and keeps its id in a slot.
    Prepare {
        slot: usize,
        sql: Vec<u8>,
    },
    /// A command byte, the id in a slot, and the rest.
    WithId {
        command: u8,
        slot: usize,
        rest: Vec<u8>,
    },
    /// COM_CHANGE_USER, whose reply depends on the greeting.
    ChangeUser {
        user: String,
        password: String,
        tail: Vec<u8>,
    },
}

/// How closely the answers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Bytes,
    /// Number of packets and kind of each, code and SQLSTATE of errors: where a text holds a
    /// number of its moment.
    Kinds,
    /// The first packets only: where rows tell what goes on.
    Start,
}

impl Step {
    fn new(what: String, payload: Payload, shape: Shape) -> Self {
        Self { what, payload, shape, file: None, depth: Depth::Bytes, on: EVERYWHERE }
    }

    /// The same in words that the server of this run knows.
    pub fn for_product(self) -> Vec<Self> {
        if !self.on.contains(&product()) {
            return Vec::new();
        }
        let Payload::Fixed(bytes) = &self.payload else { return vec![self] };
        let text = bytes.strip_prefix(&[Command::Query as u8]).map(std::str::from_utf8);
        let Some(Ok(text)) = text else { return vec![self] };
        let mut texts = product().replacing(text);
        let Some(create) = texts.pop().filter(|create| create != text) else { return vec![self] };
        // Whether there is anything to drop depends on who comes first.
        texts.iter().map(|sql| query(sql).by_kind()).chain([query(create)]).collect()
    }

    /// For some servers only.
    pub fn on(self, on: &'static [Product]) -> Self {
        Self { on, ..self }
    }

    /// Answers a request for a local file with this.
    pub fn with_file(self, file: &[u8]) -> Self {
        Self { file: Some(file.to_vec()), ..self }
    }

    /// Compares kinds of packets only.
    pub fn by_kind(self) -> Self {
        Self { depth: Depth::Kinds, ..self }
    }

    /// Compares the first packets only.
    pub fn by_start(self) -> Self {
        Self { depth: Depth::Start, ..self }
    }

    /// Whether it is a COM_STMT_EXECUTE that asks for a cursor.
    pub fn opens_cursor(&self) -> bool {
        matches!(&self.payload, Payload::WithId { command, rest, .. }
            if *command == Command::StmtExecute as u8 && rest.first().is_some_and(|flags| flags & 1 != 0))
    }

    /// The payload as one side sends it.
    pub fn encode(&self, ids: &[Option<u32>], nonce: &[u8]) -> Vec<u8> {
        match &self.payload {
            Payload::Fixed(bytes) => bytes.clone(),
            Payload::Prepare { sql, .. } => [&[Command::StmtPrepare as u8], &sql[..]].concat(),
            Payload::WithId { command, slot, rest } => {
                let id = ids.get(*slot).copied().flatten().unwrap_or(NEVER_GIVEN);
                [&[*command], &id.to_le_bytes()[..], rest].concat()
            }
            Payload::ChangeUser { user, password, tail } => {
                let reply = reply(default_plugin(), password, nonce);
                let head = [Command::ChangeUser as u8];
                [&head[..], user.as_bytes(), &[0, reply.len() as u8], &reply, tail].concat()
            }
        }
    }
}

/// An id no server has given to a statement of a test.
const NEVER_GIVEN: u32 = 0x00ff_0000;

/// COM_QUERY.
pub fn query(sql: impl AsRef<[u8]>) -> Step {
    command(Command::Query, sql)
}

/// COM_QUERY for each of these.
pub fn queries(all: &[&str]) -> Vec<Step> {
    all.iter().map(query).collect()
}

/// Any command with a known byte.
pub fn command(command: Command, body: impl AsRef<[u8]>) -> Step {
    let body = body.as_ref();
    let shown = body[..body.len().min(300)].escape_ascii();
    let payload = [&[command as u8], body].concat();
    Step::new(format!("{command:?} `{shown}`"), Payload::Fixed(payload), command.shape())
}

/// Bytes that may be no command at all.
pub fn bytes(payload: &[u8]) -> Step {
    let what = format!("bytes `{}`", payload.escape_ascii());
    Step::new(what, Payload::Fixed(payload.to_vec()), Shape::Results)
}

pub fn prepare(slot: usize, sql: impl AsRef<[u8]>) -> Step {
    let sql = sql.as_ref();
    let shown = sql[..sql.len().min(300)].escape_ascii();
    let what = format!("prepare #{slot} `{shown}`");
    Step::new(what, Payload::Prepare { slot, sql: sql.to_vec() }, Shape::Prepared)
}

/// COM_STMT_EXECUTE; `flags` is the type of the cursor.
pub fn execute_with(slot: usize, flags: u8, params: &[Param], sends_types: bool) -> Step {
    let mut rest = vec![flags, 1, 0, 0, 0];
    put_params(&mut rest, params, sends_types);
    let what = format!("execute #{slot} flags {flags} {params:?} types {sends_types}");
    with_id(what, Command::StmtExecute, slot, rest)
}

pub fn execute(slot: usize, params: &[Param]) -> Step {
    execute_with(slot, 0, params, true)
}

pub fn fetch(slot: usize, rows: u32) -> Step {
    with_id(format!("fetch #{slot} {rows}"), Command::StmtFetch, slot, rows.to_le_bytes().into())
}

pub fn reset(slot: usize) -> Step {
    with_id(format!("reset #{slot}"), Command::StmtReset, slot, Vec::new())
}

pub fn close(slot: usize) -> Step {
    with_id(format!("close #{slot}"), Command::StmtClose, slot, Vec::new())
}

pub fn long_data(slot: usize, parameter: u16, data: &[u8]) -> Step {
    let what = format!("long data #{slot} parameter {parameter}, {} bytes", data.len());
    let rest = [&parameter.to_le_bytes()[..], data].concat();
    with_id(what, Command::StmtSendLongData, slot, rest)
}

/// A statement's command with whatever follows the id.
pub fn with_id(what: String, command: Command, slot: usize, rest: Vec<u8>) -> Step {
    let payload = Payload::WithId { command: command as u8, slot, rest };
    Step::new(what, payload, command.shape())
}

/// The plugin of the greeting.
pub fn default_plugin() -> &'static str {
    if product().is_mysql() { CACHING_SHA2 } else { NATIVE }
}

/// COM_CHANGE_USER as clients send it.
pub fn change_user(user: &str, password: &str, schema: &str) -> Step {
    let tail = [schema.as_bytes(), &[0, 45, 0], default_plugin().as_bytes(), &[0, 0]].concat();
    change_user_with(user, password, &tail)
}

/// COM_CHANGE_USER with whatever follows the reply.
pub fn change_user_with(user: &str, password: &str, tail: &[u8]) -> Step {
    let what = format!("change user {user} {password} `{}`", tail.escape_ascii());
    let payload =
        Payload::ChangeUser { user: user.into(), password: password.into(), tail: tail.to_vec() };
    Step::new(what, payload, Shape::Results)
}
