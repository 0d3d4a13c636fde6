//! Session tracking for a client that asked for it: what its own session would be told.
//!
//! Backends report everything to Fairlane, and a session changes connections: so the entries of
//! an OK packet are not the client's. A [`Teller`] keeps what the client wants to know and has
//! been told, and writes the session tracking of its OK packets anew:
//! - entries that the client's own `session_track_*` variables leave out are dropped;
//! - the transaction's state is told when it differs from what *this client* was told last,
//!   whatever the connection has reported to others;
//! - what an exchange of Fairlane's own has swallowed is told with the next OK packet.
//!
//! Never here: what Fairlane does to a connection in front of a statement; those answers pass no
//! teller.

use std::sync::Arc;

use super::status::{OkPacket, Status, Tracked};
use super::wire::{Cursor, Malformed, put_lenenc_bytes};

/// Types of entries, in the numbers of the protocol.
const VARIABLE: u8 = 0;
const SCHEMA: u8 = 1;
const STATE_CHANGE: u8 = 2;
const GTIDS: u8 = 3;
const CHARACTERISTICS: u8 = 4;
const TRANSACTION_STATE: u8 = 5;

/// The state outside of any transaction.
const NO_TRANSACTION: [u8; 8] = *b"________";

/// What a client's `session_track_*` variables ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Names as the client has written them.
    pub variables: Vec<String>,
    /// All of them: `*`.
    pub all_variables: bool,
    /// As MySQL tells variables: sorted by name, each as the client has written it. MariaDB's
    /// order is that of a hash.
    pub by_name: bool,
    /// `session_track_schema`.
    pub schema: bool,
    /// `session_track_state_change`.
    pub state_change: bool,
    /// `session_track_gtids` is not OFF.
    pub gtids: bool,
    /// `session_track_transaction_info` is STATE or CHARACTERISTICS.
    pub transaction: bool,
    /// It is CHARACTERISTICS.
    pub characteristics: bool,
    /// It is OFF, and the server is MySQL (9.7), which tells beginning and end of transactions all
    /// the same.
    pub only_ends: bool,
}

/// What a transaction tracker has reported last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Eight letters about the open transaction.
    pub state: [u8; 8],
    /// Statements that would open it again.
    pub characteristics: Box<[u8]>,
}

impl Reported {
    /// What it reports of a transaction in which nothing was done yet.
    pub fn begun() -> Self {
        Self { state: *b"T_______", characteristics: (*b"START TRANSACTION;").into() }
    }

    /// An OK packet came with these flags, and tells no state.
    ///
    /// FACT(mysql 9.7): a tracker that is turned off and on inside of a transaction has forgotten that it has
    /// reported one, and does not tell when it ends; test:
    /// `the_end_of_a_transaction_is_told_whatever_was_asked_in_it`.
    pub fn note_untold(&mut self, status: Status) {
        if is_begun(&self.state) && !status.contains(Status::IN_TRANS) {
            *self = Self::default();
        }
    }
}

impl Default for Reported {
    fn default() -> Self {
        Self { state: NO_TRANSACTION, characteristics: Box::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: u8,
    data: Vec<u8>,
}

/// Tells one client about its session.
#[derive(Debug, Default)]
pub struct Teller {
    wanted: Arc<Wanted>,
    /// What the client was told last.
    told: Reported,
    /// What the connection in use has reported last.
    reported: Reported,
    /// For the next OK packet.
    pending: Vec<Entry>,
    /// For the next OK packet that tells anything.
    beside: Vec<Entry>,
    /// The connection has the client's own trackers for now: what it tells is told.
    is_verbatim: bool,
    /// A schema that is told now is what the end of a result had no room for.
    late: Box<str>,
    /// That is so of the next answer.
    expects_late: bool,
    /// Such a schema is the client's own, and told with the next OK packet that tells anything.
    is_schema_due: bool,
}

impl Teller {
    /// For a client that wants to know `wanted` and was told nothing yet.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// The client changed its mind; a tracker begins anew when it is turned on.
    pub fn want(&mut self, wanted: Arc<Wanted>) {
        if wanted.transaction && !self.wanted.transaction {
            self.told = Reported::default();
        }
        self.wanted = wanted;
    }

    /// The next answer comes from a connection that has reported `reported` so far; with
    /// `is_verbatim` it has the client's own trackers.
    pub fn listen(&mut self, reported: Reported, is_verbatim: bool) {
        self.reported = reported;
        self.is_verbatim = is_verbatim;
        self.expects_late = false;
    }

    /// The next answer is that of a statement that leaves the session in `schema`: if it tells of
    /// that one, it does so for an earlier statement.
    ///
    /// FACT(mariadb): a schema that was chosen and left while a result was sent whose end is an EOF
    /// packet is told with the next OK packet that tells anything, of which there are more with
    /// Fairlane's trackers than with the client's (MySQL: with the next one); test:
    /// `a_schema_is_told_late`.
    pub fn expect_late(&mut self, schema: &str) {
        if *self.late != *schema {
            self.late = schema.into();
        }
        self.expects_late = true;
    }

    /// The client's own statement has chosen and left a schema, and its result ended in an EOF
    /// packet.
    pub fn owe_schema(&mut self) {
        self.is_schema_due = true;
    }

    /// An exchange the client does not see had these entries, which are about its own doings.
    pub fn keep(&mut self, tracked: &[Tracked]) {
        for entry in tracked.iter().filter_map(entry_of).filter(|entry| self.wanted.has(entry)) {
            put(&mut self.pending, entry);
        }
    }

    /// The same of what the server would have told with the next packet that tells anything (MariaDB).
    pub fn keep_beside(&mut self, tracked: &[Tracked]) {
        for entry in tracked.iter().filter_map(entry_of).filter(|entry| self.wanted.has(entry)) {
            put(&mut self.beside, entry);
        }
    }

    /// Whether the client has asked to be told what its transactions do.
    pub fn tells_transactions(&self) -> bool {
        self.wanted.transaction
    }

    /// Whether it may have to tell more than what a statement has set.
    pub fn tells_more(&self) -> bool {
        self.wanted.transaction || self.is_schema_due
    }

    /// Whether an OK packet without entries of its own has none for the client either.
    pub fn is_silent(&self) -> bool {
        self.pending.is_empty() && !self.is_transaction_news()
    }

    /// The payload the client gets for an OK payload of a connection, `None` to leave it as it is.
    ///
    /// # Errors
    /// When the entries can't be read.
    pub fn retell(
        &mut self,
        payload: &[u8],
        ok: &OkPacket<'_>,
    ) -> Result<Option<Vec<u8>>, Malformed> {
        let has_entries = ok.status.contains(Status::SESSION_STATE_CHANGED);
        let own = entries(ok.tracking)?;
        if own.iter().all(|entry| entry.kind != TRANSACTION_STATE) {
            self.reported.note_untold(ok.status);
        }
        if !has_entries && self.is_silent() {
            return Ok(None);
        }
        let mut told = std::mem::take(&mut self.pending);
        let late = self.expects_late.then(|| text_entry(SCHEMA, self.late.as_bytes()));
        for entry in own {
            self.note(&entry);
            if !self.is_verbatim && late.as_ref() == Some(&entry) {
                continue;
            }
            if self.is_verbatim || self.wanted.has(&entry) {
                put(&mut told, entry);
            }
        }
        self.tell_transaction(&mut told);
        if !told.is_empty() && !self.beside.is_empty() {
            let newer = std::mem::replace(&mut told, std::mem::take(&mut self.beside));
            newer.into_iter().for_each(|entry| put(&mut told, entry));
        }
        if !told.is_empty() && std::mem::take(&mut self.is_schema_due) {
            let has_schema = told.iter().any(|entry| entry.kind == SCHEMA);
            told.extend(late.filter(|entry| !has_schema && self.wanted.has(entry)));
            told.sort_by_cached_key(|entry| self.wanted.rank(entry));
        }
        if !self.is_verbatim {
            told.iter_mut().for_each(|entry| self.wanted.rename(entry));
            told.sort_by_cached_key(|entry| self.wanted.rank(entry));
        }
        Ok(Some(ok.with_tracking(payload, &encode(&told))))
    }

    fn is_transaction_news(&self) -> bool {
        self.is_state_news()
            || self.wanted.characteristics
                && self.told.characteristics != self.reported.characteristics
    }

    fn is_state_news(&self) -> bool {
        let (told, now) = (&self.told.state, &self.reported.state);
        self.wanted.transaction && told != now
            || self.wanted.only_ends && is_begun(told) != is_begun(now)
    }

    /// Takes over what the connection reports about its transaction.
    fn note(&mut self, entry: &Entry) {
        let Ok(text) = Cursor::new(&entry.data).lenenc_bytes("transaction") else { return };
        match entry.kind {
            TRANSACTION_STATE => {
                self.reported.state = text.try_into().unwrap_or(self.reported.state);
            }
            CHARACTERISTICS => self.reported.characteristics = text.into(),
            _ => {}
        }
    }

    /// Adds what the client was not told of the transaction, and takes out what it was.
    fn tell_transaction(&mut self, told: &mut Vec<Entry>) {
        if self.is_state_news() {
            let state = match self.wanted.transaction || is_begun(&self.reported.state) {
                true => self.reported.state,
                false => NO_TRANSACTION,
            };
            put(told, text_entry(TRANSACTION_STATE, &state));
        } else if !self.is_verbatim {
            told.retain(|entry| entry.kind != TRANSACTION_STATE);
        }
        let is_new = self.told.characteristics != self.reported.characteristics;
        if self.wanted.characteristics && is_new {
            put(told, text_entry(CHARACTERISTICS, &self.reported.characteristics));
        } else if !self.is_verbatim && self.reported.characteristics.is_empty() {
            told.retain(|entry| entry.kind != CHARACTERISTICS);
        }
        self.told = self.reported.clone();
    }
}

impl Wanted {
    /// Reads the values of a session's variables, of those its server has.
    pub fn new<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Self {
        let is_on = |name| matches!(value(name), Some("1" | "ON" | "on"));
        let mut wanted = Self {
            schema: is_on("session_track_schema"),
            state_change: is_on("session_track_state_change"),
            gtids: !matches!(value("session_track_gtids"), None | Some("" | "OFF" | "0")),
            ..Self::default()
        };
        let info = value("session_track_transaction_info").unwrap_or_default();
        wanted.characteristics = matches!(info, "CHARACTERISTICS" | "2");
        wanted.transaction = wanted.characteristics || matches!(info, "STATE" | "1");
        let names = value("session_track_system_variables").unwrap_or_default();
        wanted.by_name = value("session_track_gtids").is_some();
        wanted.only_ends = wanted.by_name && !wanted.transaction;
        wanted.variables = names.split(',').map(|name| name.trim().to_owned()).collect();
        let has_star = wanted.variables.iter().any(|name| name == "*");
        // MySQL takes a star among names for the name of nothing.
        wanted.all_variables = has_star && (!wanted.by_name || wanted.variables.len() == 1);
        wanted
    }

    fn has(&self, entry: &Entry) -> bool {
        match entry.kind {
            VARIABLE => self.all_variables || self.listed(entry).is_some(),
            SCHEMA => self.schema,
            STATE_CHANGE => self.state_change,
            GTIDS => self.gtids,
            TRANSACTION_STATE => self.transaction,
            CHARACTERISTICS => self.characteristics,
            _ => true,
        }
    }

    /// The name of a variable as the client has it in its list.
    fn listed(&self, entry: &Entry) -> Option<&str> {
        let name = Cursor::new(&entry.data).lenenc_bytes("variable name").ok()?;
        let found = self.variables.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        found.map(String::as_str)
    }

    fn rename(&self, entry: &mut Entry) {
        if entry.kind == VARIABLE
            && self.by_name
            && let Some(name) = self.listed(entry)
            && let Some(bytes) = entry.data.get_mut(1..=name.len())
        {
            bytes.copy_from_slice(name.as_bytes());
        }
    }

    /// The order in which servers write entries: by tracker, the transaction's state before its
    /// characteristics.
    fn rank(&self, entry: &Entry) -> (u8, Vec<u8>) {
        match entry.kind {
            VARIABLE if self.by_name => {
                (0, entry.data.get(1..).unwrap_or_default().to_ascii_lowercase())
            }
            TRANSACTION_STATE => (4, Vec::new()),
            CHARACTERISTICS => (5, Vec::new()),
            kind => (kind, Vec::new()),
        }
    }
}

/// Whether a transaction was begun by a statement of its own.
fn is_begun(state: &[u8; 8]) -> bool {
    state[0] == b'T'
}

/// The entry that was read as `tracked`; the transaction's own has other ways.
fn entry_of(tracked: &Tracked) -> Option<Entry> {
    match tracked {
        Tracked::Variable { name, value } => {
            let mut entry = text_entry(VARIABLE, name.as_bytes());
            put_lenenc_bytes(&mut entry.data, value.as_bytes());
            Some(entry)
        }
        Tracked::Schema(schema) => Some(text_entry(SCHEMA, schema.as_bytes())),
        Tracked::StateChanged => Some(text_entry(STATE_CHANGE, b"1")),
        Tracked::Gtids(_) | Tracked::Characteristics(_) | Tracked::TransactionState(_) => None,
    }
}

fn text_entry(kind: u8, text: &[u8]) -> Entry {
    let mut data = Vec::with_capacity(text.len() + 1);
    put_lenenc_bytes(&mut data, text);
    Entry { kind, data }
}

/// Adds an entry, in place of an older one about the same.
fn put(entries: &mut Vec<Entry>, entry: Entry) {
    let name = |entry: &Entry| match entry.kind {
        VARIABLE => Cursor::new(&entry.data).lenenc_bytes("variable name").ok().map(<[u8]>::to_vec),
        _ => None,
    };
    let about = (entry.kind, name(&entry));
    match entries.iter_mut().find(|known| (known.kind, name(known)) == about) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

fn entries(tracking: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut cursor = Cursor::new(tracking);
    let mut entries = Vec::new();
    while !cursor.is_empty() {
        let kind = cursor.u8("tracking type")?;
        let data = cursor.lenenc_bytes("tracking entry")?.to_vec();
        entries.push(Entry { kind, data });
    }
    Ok(entries)
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.push(entry.kind);
        put_lenenc_bytes(&mut out, &entry.data);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::status;

    fn wanted(list: &str, info: &str, gtids: Option<&str>) -> Arc<Wanted> {
        let values = |name: &str| match name {
            "session_track_system_variables" => Some(list),
            "session_track_transaction_info" => Some(info),
            "session_track_gtids" => gtids,
            _ => None,
        };
        Arc::new(Wanted::new(values))
    }

    fn variable(name: &str, value: &str) -> Entry {
        let mut entry = text_entry(VARIABLE, name.as_bytes());
        put_lenenc_bytes(&mut entry.data, value.as_bytes());
        entry
    }

    /// What the client is told when its connection tells `entries`.
    fn told(teller: &mut Teller, entries_told: &[Entry]) -> Vec<Entry> {
        let plain = status::ok(Status::AUTOCOMMIT, 0);
        let payload =
            OkPacket::parse(&plain).expect("valid").with_tracking(&plain, &encode(entries_told));
        let ok = OkPacket::parse(&payload).expect("valid");
        let told = teller.retell(&payload, &ok).expect("valid").unwrap_or_else(|| payload.clone());
        let told = OkPacket::parse(&told).expect("valid");
        assert_eq!(told.status.contains(Status::SESSION_STATE_CHANGED), !told.tracking.is_empty());
        entries(told.tracking).expect("valid")
    }

    #[test]
    fn only_what_is_wanted_is_told_in_the_clients_own_words() {
        let all = [variable("autocommit", "ON"), variable("sql_mode", ""), variable("a", "b")];
        let mut teller = Teller::new(wanted(" SQL_Mode,autocommit", "OFF", Some("OFF")));
        let expected = [variable("autocommit", "ON"), variable("SQL_Mode", "")];
        assert_eq!(told(&mut teller, &all), expected);
        let mut teller = Teller::new(wanted("sql_mode,*", "OFF", None));
        assert_eq!(told(&mut teller, &all), all);
        let mut teller = Teller::new(wanted("sql_mode,*", "OFF", Some("OFF")));
        assert_eq!(told(&mut teller, &all), [variable("sql_mode", "")]);
    }

    #[test]
    fn entries_without_a_name_have_a_place_too() {
        let mut teller = Teller::new(wanted("*", "OFF", Some("OFF")));
        let nameless = Entry { kind: VARIABLE, data: Vec::new() };
        let expected = [nameless.clone(), variable("a", "b")];
        assert_eq!(told(&mut teller, &[variable("a", "b"), nameless]), expected);
    }

    #[test]
    fn a_transaction_is_told_of_whatever_the_connection_told_others() {
        let mut teller = Teller::new(wanted("", "STATE", None));
        let open = text_entry(TRANSACTION_STATE, b"T_______");
        let none = text_entry(TRANSACTION_STATE, b"________");
        assert_eq!(told(&mut teller, std::slice::from_ref(&open)), std::slice::from_ref(&open));
        // Another connection, on which nobody has opened one.
        teller.listen(Reported::default(), false);
        assert_eq!(told(&mut teller, &[]), std::slice::from_ref(&none));
        assert_eq!(told(&mut teller, &[]), []);
        // A third one, which has yet to tell that another session's transaction is over.
        teller.listen(Reported { state: *b"T_______", ..Reported::default() }, false);
        assert_eq!(told(&mut teller, &[none]), []);
    }

    #[test]
    fn the_end_of_a_transaction_is_told_also_when_the_connection_says_nothing() {
        let mut teller = Teller::new(wanted("", "CHARACTERISTICS", Some("OFF")));
        let open = text_entry(TRANSACTION_STATE, b"T_______");
        let none = text_entry(TRANSACTION_STATE, b"________");
        let how = text_entry(CHARACTERISTICS, b"START TRANSACTION;");
        let begun = [open, how];
        let mut next = |status: Status, entries_told: &[Entry]| {
            let plain = status::ok(status, 0);
            let payload = OkPacket::parse(&plain).expect("valid");
            let payload = payload.with_tracking(&plain, &encode(entries_told));
            let ok = OkPacket::parse(&payload).expect("valid");
            let told = teller.retell(&payload, &ok).expect("valid").unwrap_or(payload);
            entries(OkPacket::parse(&told).expect("valid").tracking).expect("valid")
        };
        assert_eq!(next(Status::IN_TRANS, &begun), begun);
        assert_eq!(next(Status::IN_TRANS, &[]), []);
        assert_eq!(next(Status::AUTOCOMMIT, &[]), [none, text_entry(CHARACTERISTICS, b"")]);
        assert_eq!(next(Status::AUTOCOMMIT, &[]), []);
    }

    #[test]
    fn a_schema_that_is_told_late_waits_for_what_the_client_wants_to_know() {
        let values = |name: &str| match name {
            "session_track_schema" => Some("1"),
            "session_track_system_variables" => Some("autocommit"),
            _ => None,
        };
        let mut teller = Teller::new(Arc::new(Wanted::new(values)));
        let (schema, other) = (text_entry(SCHEMA, b"shop"), text_entry(STATE_CHANGE, b"1"));
        let autocommit = variable("autocommit", "ON");
        let mut next = |owes: bool, entries: &[Entry]| {
            if owes {
                teller.owe_schema();
            }
            teller.listen(Reported::default(), false);
            teller.expect_late("shop");
            told(&mut teller, entries)
        };
        assert_eq!(next(false, &[schema.clone(), other.clone()]), [], "another session's");
        assert_eq!(next(true, &[schema.clone(), other]), []);
        let both = [autocommit.clone(), schema];
        assert_eq!(next(false, std::slice::from_ref(&autocommit)), both);
        assert_eq!(next(false, std::slice::from_ref(&autocommit)), [autocommit]);
        assert_eq!(next(false, &[text_entry(SCHEMA, b"x")]), [text_entry(SCHEMA, b"x")]);
    }

    #[test]
    fn what_fairlane_overheard_is_told_once() {
        let mut teller = Teller::new(wanted("time_zone", "OFF", None));
        teller.keep(&[Tracked::Variable { name: "time_zone".into(), value: "x".into() }]);
        let newer = variable("time_zone", "y");
        assert_eq!(told(&mut teller, std::slice::from_ref(&newer)), [newer]);
        assert_eq!(told(&mut teller, &[]), []);
    }
}
