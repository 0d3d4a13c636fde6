//! What a session does next, and what of it holds its connection.

use std::collections::VecDeque;

use fairlane::protocol::status::Status;
use fairlane::protocol::{Capabilities, Command};

use super::act::{Act, Entry, Leave, Told};
use super::texts::{ALL_VARIABLES, texts};
use crate::params::{BLOB, Param, big, null, text, text_as};
use crate::step::*;
use crate::support::product;

/// Prepared statements of a session.
const SLOTS: usize = 4;

/// An act and what it does to the session besides what its answer tells.
#[derive(Debug, Clone)]
pub struct Deed {
    pub act: Act,
    effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Nothing,
    /// Holds a connection until the session's end or reset.
    Forever,
    LocksTables,
    UnlocksTables,
    CalculatesFoundRows,
    TellsFoundRows,
    /// SET TRANSACTION.
    NextTransaction,
    /// The transaction that it was for has ended.
    Ended,
    BeginsXa,
    EndsXa,
    /// The statement of a slot is made, unless that fails.
    Prepares(usize),
    /// The statement of a slot has a cursor, or long data, or has neither.
    Opens(usize),
    Closes(usize),
    /// There is none any more.
    Forgets(usize),
    /// Likewise, unless it fails.
    Executes(usize),
    /// The session begins anew; where it chooses a schema, whether it has none.
    Resets(Option<bool>),
}

#[derive(Debug, Clone, Copy)]
struct Made {
    parameters: usize,
    /// Statements executed with a cursor first stay with it on MySQL, see docs/compatibility.md.
    has_cursor: Option<bool>,
    /// The kind of values that each parameter keeps to: on MySQL one is of the kind that its first value
    /// had, and shows it where it is a column, see docs/compatibility.md.
    kept: Option<[u32; 2]>,
    uses_table: bool,
    /// It compares a value with a column.
    compares: bool,
    /// It was prepared without an error.
    is_there: bool,
    since: Since,
}

/// What has happened since a statement was prepared. MySQL prepares one anew whose table has changed,
/// or that has got a value of another kind, in the circumstances of then, see docs/compatibility.md.
#[derive(Debug, Clone, Copy, Default)]
struct Since {
    tables_changed: bool,
    circumstances_changed: bool,
    /// Of the circumstances the one that results of all kinds show.
    buffering_changed: bool,
}

impl Since {
    fn note(&mut self, what: &str) {
        let has = |names: &[&str]| names.iter().any(|name| what.contains(name));
        self.tables_changed |= has(CHANGES_TABLES);
        if has(&["SET ", "lp_state"]) {
            self.circumstances_changed |= has(CIRCUMSTANCES);
            self.buffering_changed |= what.contains("sql_buffer_result");
        }
    }
}

const CHANGES_TABLES: &[&str] =
    &["ALTER TABLE", "FLUSH TABLES", "TRUNCATE", " TABLE IF ", "TEMPORARY"];

const CIRCUMSTANCES: &[&str] = &[
    "sql_mode",
    "NAMES",
    "CHARACTER SET",
    "character_set",
    "collation",
    "time_zone",
    "lc_time_names",
    "div_precision_increment",
    "default_week_format",
    "optimizer_switch",
    "group_concat_max_len",
    "lp_state",
    "sql_buffer_result",
];

impl Made {
    fn of(sql: &str, parameters: usize, has_cursor: Option<bool>) -> Self {
        let uses_table = sql.contains("_X");
        let compares = sql.contains("WHERE");
        let (is_there, since) = (false, Since::default());
        Self { parameters, has_cursor, kept: None, uses_table, compares, is_there, since }
    }

    /// Whether Fairlane and the server know it alike on every connection.
    fn is_known(&self) -> bool {
        let Since { tables_changed, circumstances_changed, buffering_changed } = self.since;
        let is_made_anew = self.uses_table && tables_changed && circumstances_changed;
        let is_shown = self.kept.is_some() && circumstances_changed;
        let may_get_others = self.parameters > 0 && (buffering_changed || is_shown);
        !product().is_mysql() || !is_made_anew && !may_get_others
    }
}

/// A session as the hunter knows it.
#[derive(Debug)]
pub struct Model {
    status: Status,
    is_held_forever: bool,
    locks_tables: bool,
    calculates_found_rows: bool,
    has_next_transaction: bool,
    is_in_xa: bool,
    /// `completion_type` is set: a server ends the session in the middle of a text, for Fairlane it
    /// is over after it.
    has_completion: bool,
    /// SET ROLE: servers leave the role to the session through a reset, and Fairlane the connection.
    has_role: bool,
    /// It began without a schema, in which its prepared statements can't be prepared once more on a
    /// connection that has one, see docs/compatibility.md.
    began_without_schema: bool,
    /// Its schema is one with a character set of its own, which a reset takes away on servers, see
    /// docs/compatibility.md.
    is_in_tables_schema: bool,
    slots: [Option<Made>; SLOTS],
    open: [bool; SLOTS],
    plan: VecDeque<Vec<Deed>>,
    /// Number of the session, for names nobody else has.
    number: u32,
    /// Capabilities of this round's clients.
    capabilities: Vec<Capabilities>,
    is_over: bool,
}

pub fn pick<T: Copy>(random: &mut fastrand::Rng, all: &[T]) -> T {
    all[random.usize(0..all.len())]
}

fn deed(step: Step, effect: Effect) -> Vec<Deed> {
    vec![Deed { act: Act::Step(step), effect }]
}

fn plain(step: Step) -> Vec<Deed> {
    deed(step, Effect::Nothing)
}

impl Model {
    pub fn new(capabilities: &[Capabilities]) -> Self {
        Self {
            status: Status::AUTOCOMMIT,
            is_held_forever: false,
            locks_tables: false,
            calculates_found_rows: false,
            has_next_transaction: false,
            is_in_xa: false,
            has_completion: false,
            has_role: false,
            began_without_schema: false,
            is_in_tables_schema: false,
            slots: [None; SLOTS],
            open: [false; SLOTS],
            plan: VecDeque::new(),
            number: 0,
            capabilities: capabilities.to_vec(),
            is_over: true,
        }
    }

    /// Whether the session may hold its connection now.
    pub fn holds(&self) -> bool {
        self.is_held_forever
            || self.locks_tables
            || self.calculates_found_rows
            || self.has_next_transaction
            || self.is_in_xa
            || self.open.contains(&true)
            || self.status.contains(Status::IN_TRANS)
            || !self.status.contains(Status::AUTOCOMMIT)
    }

    /// Whether it may be on a replica, in a read-only transaction.
    fn reads_only(&self) -> bool {
        self.status.contains(Status::IN_TRANS_READONLY)
    }

    /// Takes over what a deed has come to.
    pub fn note(&mut self, deed: &Deed, told: &Told) {
        let Told::Same { error, status } = told else {
            self.is_over = true;
            self.forget();
            return;
        };
        self.is_over = false;
        self.status = status.unwrap_or(self.status);
        match &deed.act {
            Act::Login(entry) => self.began_without_schema = entry.schema.is_none(),
            Act::Step(step) => {
                self.has_role |= step.what.contains("SET ROLE");
                self.slots.iter_mut().flatten().for_each(|made| made.since.note(&step.what));
            }
            Act::Leave(_) => {}
        }
        match deed.effect {
            Effect::Nothing => {}
            Effect::Forever => self.is_held_forever = true,
            Effect::LocksTables => self.locks_tables = true,
            Effect::UnlocksTables => self.locks_tables &= error.is_some(),
            Effect::CalculatesFoundRows => self.calculates_found_rows = true,
            Effect::TellsFoundRows => self.calculates_found_rows &= error.is_some(),
            Effect::NextTransaction => self.has_next_transaction = true,
            Effect::Ended => self.has_next_transaction &= error.is_some(),
            Effect::BeginsXa => self.is_in_xa = true,
            Effect::EndsXa => self.is_in_xa = false,
            Effect::Prepares(slot) => {
                let made = self.slots[slot].as_mut();
                made.into_iter().for_each(|made| made.is_there = error.is_none());
            }
            Effect::Opens(slot) => self.open[slot] = true,
            Effect::Closes(slot) => self.open[slot] = false,
            Effect::Forgets(slot) => {
                self.open[slot] = false;
                self.slots[slot] = None;
            }
            Effect::Executes(slot) => self.open[slot] &= error.is_some(),
            Effect::Resets(is_without_schema) if error.is_none() => {
                // Another user has no role on MySQL; on MariaDB this does not come.
                self.has_role &= is_without_schema.is_none();
                self.forget();
                if let Some(is_without_schema) = is_without_schema {
                    self.began_without_schema = is_without_schema;
                }
            }
            Effect::Resets(_) => {}
        }
    }

    fn forget(&mut self) {
        let keeps_role = self.has_role && !self.is_over;
        *self = Self {
            number: self.number,
            has_role: keeps_role,
            is_held_forever: keeps_role,
            began_without_schema: self.began_without_schema,
            capabilities: std::mem::take(&mut self.capabilities),
            is_over: self.is_over,
            ..Self::new(&[])
        };
    }

    /// What comes next; without `may_hold` nothing that holds a connection.
    pub fn next(&mut self, random: &mut fastrand::Rng, may_hold: bool) -> Vec<Deed> {
        if self.is_over {
            return self.begin(random);
        }
        let goes_on = self.is_in_xa && random.u32(0..3) > 0 || random.u32(0..3) == 0;
        if goes_on && (may_hold || self.holds()) {
            if let Some(planned) = self.plan.pop_front() {
                return self.unless_it_has_a_cursor(planned);
            }
            if self.holds() && random.bool() {
                return self.end_of_hold(random);
            }
        }
        match random.u32(0..100) {
            0..=18 => self.state(random),
            19..=29 => self.text(random, &texts().reads),
            30..=43 => self.text(random, &texts().writes),
            44..=57 => self.text(random, &texts().diagnostics),
            58..=73 => self.binary(random),
            74..=77 => self.odd(random),
            78 => self.anew(random),
            79 => leave(random),
            80..=88 if may_hold && random.u32(0..3) == 0 => {
                self.text_with(random, &texts().holding, Effect::Forever)
            }
            80..=97 if may_hold && !self.is_held_forever => self.passing(random),
            80..=97 if may_hold => self.text_with(random, &texts().holding, Effect::Forever),
            98 if !self.reads_only() => plain(query(ALL_VARIABLES)),
            _ => self.text(random, &texts().reads),
        }
    }

    /// What was planned for the statement that was in a slot then, or its reset: that of now may have
    /// begun with a cursor, see [`Made::has_cursor`].
    fn unless_it_has_a_cursor(&self, planned: Vec<Deed>) -> Vec<Deed> {
        let executed = planned.iter().find_map(|deed| match deed.effect {
            Effect::Executes(slot) => Some(slot),
            _ => None,
        });
        let has_cursor =
            |slot: &usize| self.slots[*slot].is_some_and(|made| made.has_cursor == Some(true));
        match executed.filter(has_cursor) {
            Some(slot) if product().is_mysql() => self.with_id(reset(slot), Effect::Closes(slot)),
            _ => planned,
        }
    }

    /// A login, and tables as everybody finds them.
    fn begin(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        self.number += 1;
        let entry = Entry {
            user: if random.u32(0..8) == 0 { "leaker" } else { "app" },
            schema: pick(random, &[Some("shop"), Some("shop"), Some("test_leak"), None]),
            collation: pick(random, &[45, 45, 45, 45, 45, 45, 45, 8]),
            more: pick(random, &self.capabilities),
        };
        let mut deeds = vec![Deed { act: Act::Login(entry), effect: Effect::Nothing }];
        let mut texts = vec![
            "DELETE FROM shop.lk_X",
            "DELETE FROM test_leak.lk_X",
            "INSERT INTO shop.lk_X (k, v, s) VALUES (1, 10, 'a'), (2, 20, 'b'), (3, NULL, ''), \
             (4, 40, NULL), (5, 50, 'e')",
            "INSERT INTO test_leak.lk_X (k, v, s) VALUES (1, 7, 'one'), (2, 8, 'two')",
        ];
        if random.u32(0..8) == 0 {
            texts.push("DROP TABLE IF EXISTS shop.lz_X");
        }
        deeds.extend(texts.iter().flat_map(|text| plain(query(text))));
        deeds
    }

    fn fill(&self, random: &mut fastrand::Rng, text: &str) -> String {
        let mut text = text.replace("{g}", &self.number.to_string());
        while text.contains("{n}") {
            text = text.replacen("{n}", &random.u32(1..13).to_string(), 1);
        }
        text
    }

    fn text(&self, random: &mut fastrand::Rng, all: &[&str]) -> Vec<Deed> {
        self.text_with(random, all, Effect::Nothing)
    }

    fn text_with(&self, random: &mut fastrand::Rng, all: &[&str], effect: Effect) -> Vec<Deed> {
        let mut text = pick(random, all);
        if self.has_completion && text.starts_with("BEGIN;") {
            text = "SELECT 1; DO 0";
        }
        if self.reads_only() && text.starts_with("SELECT @@t") {
            // Its `transaction_read_only` is 1 on a replica, see docs/compatibility.md.
            text = "SELECT 2";
        }
        let text = self.fill(random, text);
        // MySQL answers CALL with the rows that what ran before it has changed, see
        // docs/compatibility.md.
        let calls = product().is_mysql() && text.starts_with("CALL");
        let before = if calls { plain(query("DO 0")) } else { Vec::new() };
        [before, deed(query(text), effect)].concat()
    }

    fn state(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let text = pick(random, &texts().state);
        self.is_in_tables_schema |= text == "USE information_schema";
        let text = self.fill(random, text);
        let is_charset = ["NAMES", "CHARACTER SET", "character_set"].iter();
        let is_charset = is_charset.clone().any(|name| text.contains(name));
        let mut deeds = Vec::new();
        if text.starts_with("SET CHARACTER SET") {
            // Takes the schema's collation. Without one that hangs on whether a trigger has run, see
            // docs/compatibility.md.
            deeds.extend(plain(query("USE shop")));
        }
        deeds.extend(plain(query(text)));
        if is_charset {
            // A list of warnings is kept in the character set it had when they came.
            deeds.extend(plain(query("SELECT COUNT(*) FROM shop.lk_X")));
        }
        deeds
    }

    fn odd(&self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let is_mysql = product().is_mysql();
        let mut deeds = match random.u32(0..12) {
            0 => plain(command(Command::InitDb, "shop")),
            1 => plain(command(Command::InitDb, "test_leak")),
            2 => plain(command(Command::InitDb, "nowhere")),
            3 => plain(command(Command::Ping, "")),
            4 => plain(command(Command::FieldList, "lk_X\0%")),
            5 => plain(bytes(&[0x77])),
            6 if !is_mysql => plain(command(Command::SetOption, [random.u8(0..2), 0])),
            _ => self.text(random, &texts().odd),
        };
        self.clear_conditions(&mut deeds);
        deeds
    }

    /// Errors of commands that are no statements are added to MySQL's list of warnings, see
    /// docs/compatibility.md.
    fn clear_conditions(&self, deeds: &mut Vec<Deed>) {
        if product().is_mysql() {
            deeds.extend(plain(query("DO 0")));
        }
    }

    /// COM_RESET_CONNECTION and COM_CHANGE_USER.
    fn anew(&self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let user = pick(random, &["app", "app", "leaker"]);
        // MariaDB leaves a role even to another user, see docs/compatibility.md.
        let must_reset = self.has_role && !product().is_mysql();
        let mut deeds = if must_reset || random.bool() {
            deed(command(Command::ResetConnection, ""), Effect::Resets(None))
        } else {
            let schema = pick(random, &["shop", "shop", "test_leak", ""]);
            let step = change_user(user, &format!("{user}-secret"), schema);
            deed(step, Effect::Resets(Some(schema.is_empty())))
        };
        if self.is_in_tables_schema {
            deeds.extend(plain(query("USE shop")));
        }
        deeds
    }

    fn binary(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let slot = random.usize(0..SLOTS);
        let may_go_on = |made: &Made| random.u32(0..5) > 0 && made.is_known();
        let Some(made) = self.slots[slot].filter(may_go_on) else {
            let (mut sql, mut parameters) = pick(random, &texts().prepared);
            while !self.may_prepare(sql) {
                (sql, parameters) = pick(random, &texts().prepared);
            }
            let deeds = self.prepare(slot, sql);
            let is_shown = product().is_mysql() && !sql.contains("lk_X");
            let kept = is_shown.then(|| [random.u32(0..4), random.u32(0..4)]);
            self.slots[slot] = Some(Made { kept, ..Made::of(sql, parameters, None) });
            return deeds;
        };
        match random.u32(0..12) {
            0 => self.unless_there(made, reset(slot), Effect::Closes(slot)),
            1 => {
                self.slots[slot] = None;
                deed(close(slot), Effect::Forgets(slot))
            }
            2 if made.has_cursor == Some(true) => {
                self.with_id(fetch(slot, random.u32(0..4)), Effect::Nothing)
            }
            _ if made.has_cursor == Some(true) && product().is_mysql() => {
                self.with_id(reset(slot), Effect::Closes(slot))
            }
            _ => {
                self.slots[slot] = Some(Made { has_cursor: Some(false), ..made });
                let params = params(random, made);
                self.unless_there(made, execute(slot, &params), Effect::Executes(slot))
            }
        }
    }

    fn may_prepare(&self, sql: &str) -> bool {
        let needs_schema = OF_SCHEMA.iter().any(|name| sql.contains(name));
        !(needs_schema && self.began_without_schema)
    }

    /// PREPARE into a slot; the statement in it is closed where it holds something.
    fn prepare(&self, slot: usize, sql: &str) -> Vec<Deed> {
        let mut deeds = Vec::new();
        if self.open[slot] {
            deeds.extend(deed(close(slot), Effect::Closes(slot)));
        }
        deeds.extend(deed(prepare(slot, sql), Effect::Prepares(slot)));
        deeds
    }

    /// A command about a statement: nothing is added to the list if that was prepared.
    fn unless_there(&self, made: Made, step: Step, effect: Effect) -> Vec<Deed> {
        if made.is_there { deed(step, effect) } else { self.with_id(step, effect) }
    }

    /// A command about a statement that may not have been prepared.
    fn with_id(&self, step: Step, effect: Effect) -> Vec<Deed> {
        let mut deeds = deed(step, effect);
        self.clear_conditions(&mut deeds);
        deeds
    }

    /// What holds a connection for a while.
    fn passing(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        match random.u32(0..24) {
            0..=6 => {
                let begin = pick(random, BEGINS);
                plain(query(begin))
            }
            7..=9 if self.locks_tables && loses_rows() => plain(query("DO 0")),
            7..=9 => plain(query("SET autocommit = 0")),
            10..=11 => {
                let text = "SELECT SQL_CALC_FOUND_ROWS k FROM shop.lk_X ORDER BY id LIMIT 1";
                let mut deeds = deed(query(text), Effect::CalculatesFoundRows);
                let asks = deed(query("SELECT FOUND_ROWS()"), Effect::TellsFoundRows);
                // On MySQL many statements set it to what only the connection knows.
                match product().is_mysql() {
                    // It may fail, which leaves the count of what was before.
                    true => deeds = [plain(query("SELECT 1")), deeds, asks].concat(),
                    false => self.plan.push_back(asks),
                }
                deeds
            }
            12..=13 => {
                self.plan.push_back(deed(query("UNLOCK TABLES"), Effect::UnlocksTables));
                let is_on = self.status.contains(Status::AUTOCOMMIT);
                let locks = if is_on || !loses_rows() { LOCKS } else { READ_LOCKS };
                deed(query(pick(random, locks)), Effect::LocksTables)
            }
            14..=16 => self.next_transaction(random),
            17..=18 => self.xa(random),
            // MySQL 9.7 falls over a FETCH after XA PREPARE.
            19..=20 if self.is_in_xa && product().is_mysql() => plain(query("DO 0")),
            19..=20 => self.cursor(random),
            21 => self.long_data(random),
            22 => self.completion(random),
            _ => self.scratch(random),
        }
    }

    fn next_transaction(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let text = pick(random, NEXT);
        for text in [pick(random, BEGINS), "SELECT COUNT(*) FROM shop.lk_X"] {
            self.plan.push_back(plain(query(text)));
        }
        self.plan.push_back(self.text(random, &texts().writes));
        self.plan.push_back(deed(query(pick(random, &["COMMIT", "ROLLBACK"])), Effect::Ended));
        deed(query(text), Effect::NextTransaction)
    }

    /// A whole XA transaction; what comes between its statements is up to chance, but for the
    /// moment when it would outlive its session.
    fn xa(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let xid = format!("'lk_X_{}'", self.number);
        for _ in 0..random.usize(1..3) {
            self.plan.push_back(self.text(random, &texts().writes));
        }
        let end = pick(random, &["COMMIT", "ROLLBACK"]);
        let texts = match random.u32(0..3) {
            0 => vec![format!("XA END {xid}"), format!("XA COMMIT {xid} ONE PHASE")],
            1 => vec![format!("XA END {xid}"), format!("XA ROLLBACK {xid}")],
            _ => {
                let [ends, prepares] = ["END", "PREPARE"].map(|verb| format!("XA {verb} {xid}"));
                vec![ends, prepares, format!("XA {end} {xid}")]
            }
        };
        let mut last: Vec<Deed> = texts.iter().flat_map(|text| plain(query(text))).collect();
        if let Some(deed) = last.last_mut() {
            deed.effect = Effect::EndsXa;
        }
        self.plan.push_back(last);
        deed(query(format!("XA START {xid}")), Effect::BeginsXa)
    }

    fn cursor(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let slot = random.usize(0..SLOTS);
        let sql = pick(
            random,
            &["SELECT seq FROM shop.seq_1_to_9", "SELECT k, v, s FROM shop.lk_X ORDER BY k, id"],
        );
        for _ in 0..random.u32(1..4) {
            self.plan.push_back(self.with_id(fetch(slot, random.u32(1..6)), Effect::Nothing));
        }
        let (end, effect) = match random.bool() {
            true => (reset(slot), Effect::Closes(slot)),
            false => (close(slot), Effect::Forgets(slot)),
        };
        self.plan.push_back(self.with_id(end, effect));
        let mut deeds = self.prepare(slot, sql);
        self.slots[slot] = Some(Made::of(sql, 0, Some(true)));
        deeds.extend(self.with_id(execute_with(slot, 1, &[], true), Effect::Opens(slot)));
        deeds
    }

    fn long_data(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let slot = random.usize(0..SLOTS);
        let blob = Param { kind: BLOB, is_unsigned: false, value: None };
        let (end, effect) = match random.u32(0..3) {
            0 => (reset(slot), Effect::Closes(slot)),
            1 => (close(slot), Effect::Forgets(slot)),
            _ => (execute(slot, &[blob]), Effect::Executes(slot)),
        };
        self.plan.push_back(deed(long_data(slot, 0, b" and more"), Effect::Opens(slot)));
        self.plan.push_back(self.with_id(end, effect));
        let mut deeds = self.prepare(slot, "SELECT ?");
        // After a number MariaDB takes no long data as what it is, see docs/compatibility.md.
        let kept = Some([OF_BLOB; 2]);
        self.slots[slot] = Some(Made { kept, ..Made::of("SELECT ?", 1, Some(false)) });
        deeds.extend(deed(long_data(slot, 0, b"some"), Effect::Opens(slot)));
        deeds
    }

    /// COMMIT that begins the next transaction, or ends the session.
    fn completion(&mut self, random: &mut fastrand::Rng) -> Vec<Deed> {
        self.has_completion = true;
        let text = pick(random, &["SET completion_type = 1", "SET completion_type = 'RELEASE'"]);
        for text in ["BEGIN", "UPDATE shop.lk_X SET v = 5 WHERE k = 1", "COMMIT"] {
            self.plan.push_back(plain(query(text)));
        }
        deed(query(text), Effect::Forever)
    }

    /// Tables that come and go; DDL commits.
    fn scratch(&self, random: &mut fastrand::Rng) -> Vec<Deed> {
        let text = pick(
            random,
            &[
                "CREATE TABLE IF NOT EXISTS shop.lz_X (a INT, b VARCHAR(9) DEFAULT 'b')",
                "CREATE TABLE shop.lz_X (a INT PRIMARY KEY)",
                "ALTER TABLE shop.lz_X ADD COLUMN c INT DEFAULT 3",
                "ALTER TABLE shop.lz_X DROP COLUMN b",
                "INSERT INTO shop.lz_X (a) VALUES (2), (9)",
                "INSERT INTO shop.lz_X (a) VALUES (4)",
                "DROP TABLE shop.lz_X",
                "TRUNCATE TABLE shop.lz_X",
            ],
        );
        plain(query(text))
    }

    /// Something after which less holds the connection.
    fn end_of_hold(&self, random: &mut fastrand::Rng) -> Vec<Deed> {
        if let Some(slot) = self.open.iter().position(|&is_open| is_open) {
            return self.with_id(reset(slot), Effect::Closes(slot));
        }
        if self.calculates_found_rows {
            return deed(query("SELECT FOUND_ROWS()"), Effect::TellsFoundRows);
        }
        if self.locks_tables {
            return deed(query("UNLOCK TABLES"), Effect::UnlocksTables);
        }
        if self.status.contains(Status::IN_TRANS) && !self.is_in_xa {
            return match random.u32(0..12) {
                0 => autocommit(),
                _ => deed(query(pick(random, ENDS)), Effect::Ended),
            };
        }
        if !self.status.contains(Status::AUTOCOMMIT) {
            return autocommit();
        }
        if self.has_next_transaction {
            let begin = plain(query("BEGIN"));
            return [begin, deed(query("COMMIT"), Effect::Ended)].concat();
        }
        match random.u32(0..6) {
            0 if self.is_held_forever => leave(random),
            1 if self.is_held_forever => self.anew(random),
            _ => self.text(random, &texts().diagnostics),
        }
    }
}

/// The kind of a parameter that long data was sent for.
const OF_BLOB: u32 = 4;

fn params(random: &mut fastrand::Rng, made: Made) -> Vec<Param> {
    let one = |index: usize| match made.kept.map_or_else(|| random.u32(0..4), |kept| kept[index]) {
        0 => null(),
        // How often servers warn of a word that is compared with a number is their optimizer's business:
        // MariaDB for the same statement of one session 1, 2 or 3 times.
        1 if made.compares || product().is_mysql() => text("5"),
        1 => text("word"),
        OF_BLOB => text_as(BLOB, b"5"),
        _ => big(random.i64(1..12)),
    };
    (0..made.parameters).map(one).collect()
}

/// What asks for the schema it was prepared in.
const OF_SCHEMA: &[&str] = &["DATABASE()", " lk_X", " lz_X"];

const BEGINS: &[&str] = &[
    "BEGIN",
    "START TRANSACTION",
    "START TRANSACTION READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "START TRANSACTION READ WRITE",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
];

const ENDS: &[&str] = &[
    "COMMIT",
    "ROLLBACK",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "COMMIT RELEASE",
    "COMMIT AND NO CHAIN NO RELEASE",
    "SAVEPOINT a",
    "ROLLBACK TO SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "ALTER TABLE shop.lk_X COMMENT = 'commits'",
    "BEGIN",
];

const NEXT: &[&str] = &[
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "SET TRANSACTION READ ONLY",
];

const LOCKS: &[&str] = &[
    "LOCK TABLES shop.lk_X WRITE",
    "LOCK TABLES shop.lk_X READ, test_leak.lk_X WRITE",
    READ_LOCKS[0],
    READ_LOCKS[1],
];

const READ_LOCKS: &[&str] =
    &["LOCK TABLES shop.lk_X AS a READ", "FLUSH TABLES shop.lk_X WITH READ LOCK"];

/// A fault of MySQL 9.7: with autocommit off and tables locked, a statement that fails because its table is
/// not locked for it takes the rows of the one before it, into a table with a trigger, out of the binary
/// log, though not out of the table. Replicas are without them then, and stop at the next that looks
/// for one.
fn loses_rows() -> bool {
    product().is_mysql()
}

/// Servers leave the characteristics of the transaction that this ends to what comes next; where they do
/// not tell so, only the COMMIT is known to end that.
fn autocommit() -> Vec<Deed> {
    let ends = deed(query("SET autocommit = 1"), Effect::NextTransaction);
    let next = plain(query("SELECT COUNT(*) FROM shop.lk_X"));
    [ends, next, deed(query("COMMIT"), Effect::Ended)].concat()
}

fn leave(random: &mut fastrand::Rng) -> Vec<Deed> {
    let long = "SELECT REPEAT('x', 900) FROM shop.seq_1_to_100".to_owned();
    let leave = match random.u32(0..8) {
        0..=2 => Leave::Quit,
        3..=4 => Leave::Drop,
        5 => Leave::InAnswer(long),
        6 => Leave::BeforeAnswer(long),
        _ => Leave::InCommand,
    };
    vec![Deed { act: Act::Leave(leave), effect: Effect::Nothing }]
}
