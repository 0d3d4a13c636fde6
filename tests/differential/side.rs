//! One of the two ways: a client that records every packet it is answered.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read};
use std::time::Duration;

use fairlane::protocol::handshake::{auth_switch, parse_auth_switch};
use fairlane::protocol::packet::Header;
use fairlane::protocol::response::{Next, Response, Summary};
use fairlane::protocol::sha2;
use fairlane::protocol::wire::Cursor;
use fairlane::protocol::{Capabilities, Command, Shape};

use crate::step::{Payload, Step};
use crate::support::raw::{Failed, Login, more, reply};
use crate::support::{Raw, product};

/// A server that says nothing for so long says nothing at all.
const SILENCE: Duration = Duration::from_secs(5);
/// Pieces of a local file.
const PIECE: usize = 100_000;

/// A packet as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub sequence: u8,
    pub payload: Vec<u8>,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Whole,
    Closed,
    Silent,
    /// It is none the protocol knows.
    Illegal(String),
}

/// What one side said to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub packets: Vec<Packet>,
    pub end: End,
}

/// A logged-in client with the ids of its prepared statements.
#[derive(Debug)]
pub struct Side {
    raw: Raw,
    ids: Vec<Option<u32>>,
    /// All ids it ever had, as errors write them.
    seen: Vec<String>,
    is_over: bool,
    /// What stands for [`NAME`] on this side.
    name: Option<String>,
    /// Whether column definitions are put in that were left out because the client has them: when a
    /// server sends them again although they are the same hangs on when it prepared the statement
    /// anew.
    pub puts_definitions: bool,
    /// Of the last answer.
    summary: Summary,
    /// Column definitions of statements by their slots, see [`Self::put_definitions`].
    definitions: HashMap<usize, Vec<Packet>>,
    /// Slots of statements whose definitions came in other character sets than they would now.
    outdated: HashSet<usize>,
}

/// Whether a command is a text that may set the session's character sets.
fn sets_character_set(sent: &[u8]) -> bool {
    let words: [&[u8]; 3] = [b"NAMES", b"CHARACTER SET", b"character_set"];
    let has = |word: &[u8]| sent.windows(word.len()).any(|at| at == word);
    sent.first() == Some(&(Command::Query as u8)) && words.into_iter().any(has)
}

/// Leaves of a column definition what hangs on no character set: its last six bytes, which are type,
/// flags and decimals.
/// Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>.
fn mask_character_set(definition: &mut Packet) {
    let end = definition.payload.len();
    definition.payload.drain(..end.saturating_sub(6));
}

/// Stands in texts for a name that each side has of its own; both are equally long.
pub const NAME: &str = "_X";

impl Side {
    pub fn login(login: &Login<'_>) -> Result<Self, Failed> {
        let raw = Raw::login(login)?;
        raw.stream.socket.set_read_timeout(Some(SILENCE)).unwrap();
        Ok(Self {
            raw,
            ids: Vec::new(),
            seen: Vec::new(),
            is_over: false,
            name: None,
            puts_definitions: false,
            summary: Summary::default(),
            definitions: HashMap::new(),
            outdated: HashSet::new(),
        })
    }

    /// With a name for [`NAME`].
    pub fn named(self, name: String) -> Self {
        Self { name: Some(name), puts_definitions: true, ..self }
    }

    /// Facts of the last answer.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The connection, given up.
    pub fn into_raw(self) -> Raw {
        self.raw
    }

    /// What it sends for a step.
    pub fn payload(&self, step: &Step) -> Vec<u8> {
        let payload = step.encode(&self.ids, &self.raw.greeting.nonce);
        // A proof of a password may have the same bytes by chance.
        let is_text = !matches!(step.payload, Payload::ChangeUser { .. });
        match &self.name {
            Some(name) if is_text => replaced(payload, NAME.as_bytes(), name.as_bytes()),
            _ => payload,
        }
    }

    pub fn capabilities(&self) -> Capabilities {
        self.raw.capabilities
    }

    /// Runs a step; what differs for good reason (statement ids) is masked in the answer.
    pub fn take(&mut self, step: &Step) -> Said {
        let mut said = Said { packets: Vec::new(), end: End::Closed };
        if self.is_over {
            return said;
        }
        let payload = self.payload(step);
        self.raw.put(0, &payload);
        said.end = match &step.payload {
            Payload::ChangeUser { password, .. } => {
                let end = self.change_user(password, &mut said.packets);
                mask_cache(&mut said.packets);
                end
            }
            _ => self.read(step, &mut said.packets),
        };
        self.is_over = said.end != End::Whole;
        if let Payload::Prepare { slot, .. } = step.payload {
            let id = said.packets.first_mut().and_then(|packet| take_id(&mut packet.payload));
            self.ids.resize(self.ids.len().max(slot + 1), None);
            self.ids[slot] = id;
            self.seen.extend(id.map(|id| format!("({id})")));
        }
        let is_compressed = self.raw.capabilities.contains(Capabilities::COMPRESS);
        for packet in &mut said.packets {
            if is_compressed {
                // Servers number packets in frames by the frames sent so far; nobody looks at it.
                packet.sequence = 0;
            }
            self.seen.iter().for_each(|own| mask(&mut packet.payload, own));
            if let Some(name) = &self.name {
                let payload = std::mem::take(&mut packet.payload);
                packet.payload = replaced(payload, name.as_bytes(), NAME.as_bytes());
            }
        }
        let may_lack = self.capabilities().contains(Capabilities::MARIADB_CACHE_METADATA);
        if self.puts_definitions && may_lack {
            self.put_definitions(step, &mut said.packets);
        }
        said
    }

    /// See [`Self::puts_definitions`].
    ///
    /// MariaDB does not send them again for another `character_set_results`, but has sent those of that
    /// if it sends them for another reason: from then on only their types are compared.
    fn put_definitions(&mut self, step: &Step, packets: &mut Vec<Packet>) {
        let Some(first) = packets.first_mut() else { return };
        match &step.payload {
            Payload::Fixed(sent) if sets_character_set(sent) => {
                self.outdated.extend(self.definitions.keys());
            }
            Payload::Prepare { slot, .. } => {
                self.outdated.remove(slot);
            }
            _ => {}
        }
        match (&step.payload, &first.payload[..]) {
            (Payload::Prepare { slot, .. }, &[0, _, _, _, _, columns, 0, parameters, 0, ..]) => {
                let from = 1 + usize::from(parameters);
                let known = packets[from..from + usize::from(columns)].to_vec();
                self.definitions.insert(*slot, known);
            }
            (Payload::WithId { slot, .. }, &[columns, 1]) => {
                let known = packets[1..=usize::from(columns)].to_vec();
                self.definitions.insert(*slot, known);
            }
            (Payload::WithId { slot, .. }, &[_, 0]) => {
                first.payload[1] = 1;
                let known = self.definitions.get(slot).cloned().unwrap_or_default();
                packets.splice(1..1, known);
            }
            _ => {}
        }
        packets.iter_mut().for_each(|packet| packet.sequence = 0);
        if let Payload::WithId { slot, .. } = &step.payload
            && self.outdated.contains(slot)
            && let Some(columns) = self.definitions.get(slot).map(Vec::len)
        {
            packets.iter_mut().skip(1).take(columns).for_each(mask_character_set);
        }
    }

    fn read(&mut self, step: &Step, packets: &mut Vec<Packet>) -> End {
        let mut response = Response::on(step.shape, self.raw.capabilities);
        response.may_open_cursor(step.opens_cursor());
        self.summary = Summary::default();
        let mut begins = step.shape == Shape::Results;
        while !response.is_done() {
            let mut packet = match self.packet() {
                Ok(packet) => packet,
                Err(end) => return end,
            };
            mask_prepared_anew(&mut packet.payload);
            if self.name.is_some() {
                begins = mask_indexes(&mut packet.payload, begins);
            }
            let header = Header { length: packet.payload.len(), sequence: packet.sequence };
            let mut chunk = [&header.bytes()[..], &packet.payload].concat();
            let sequence = packet.sequence;
            packets.push(packet);
            match response.advance(&mut chunk) {
                Ok(advance) if advance.next == Next::Infile => {
                    self.send_file(sequence.wrapping_add(1), step.file.as_deref());
                    response.infile_sent();
                }
                Ok(_) => {}
                Err(error) => return End::Illegal(error.to_string()),
            }
        }
        self.summary = response.into_summary();
        End::Whole
    }

    /// Reads OK or an error; answers requests for more, and masks what is new in each.
    fn change_user(&mut self, password: &str, packets: &mut Vec<Packet>) -> End {
        let mut nonce = self.raw.greeting.nonce.clone();
        loop {
            let mut packet = match self.packet() {
                Ok(packet) => packet,
                Err(end) => return end,
            };
            let sequence = packet.sequence.wrapping_add(1);
            let answer = answer(&mut packet.payload, password, &mut nonce);
            let is_last = matches!(packet.payload[0], 0x00 | 0xff);
            packets.push(packet);
            match answer {
                Some(answer) => self.raw.put(sequence, &answer),
                None if is_last => return End::Whole,
                None => {}
            }
        }
    }

    fn packet(&mut self) -> Result<Packet, End> {
        let mut header = [0; 4];
        self.raw.stream.read_exact(&mut header).map_err(end)?;
        let header = Header::parse(&header).expect("four bytes");
        let mut payload = vec![0; header.length];
        self.raw.stream.read_exact(&mut payload).map_err(end)?;
        if let [0xfe, _, _, _, status] = &mut payload[..] {
            // EOF packets announce session tracking also to clients that never get any, and that
            // the server has prepared a statement anew, which it does once on each connection.
            *status &= !(0x40 | 0x04);
        }
        if self.raw.capabilities.contains(Capabilities::SESSION_TRACK) {
            crate::tracked::mask(&mut payload);
        }
        Ok(Packet { sequence: header.sequence, payload })
    }

    fn send_file(&mut self, mut sequence: u8, file: Option<&[u8]>) {
        for piece in file.unwrap_or_default().chunks(PIECE) {
            self.raw.put(sequence, piece);
            sequence = sequence.wrapping_add(1);
        }
        self.raw.put(sequence, b"");
    }
}

/// Whether caching_sha2_password wants the whole password depends on what a server has in its cache:
/// its packets are left out, and the others not numbered.
pub fn mask_cache(packets: &mut Vec<Packet>) {
    if product().is_mysql() {
        packets.retain(|packet| !matches!(packet.payload[..], [sha2::MORE_DATA, _]));
        packets.iter_mut().for_each(|packet| packet.sequence = 0);
    }
}

/// What a client answers to a packet of the connection phase; nonce and key in it are masked.
pub fn answer(payload: &mut Vec<u8>, password: &str, nonce: &mut Vec<u8>) -> Option<Vec<u8>> {
    match payload[0] {
        0xfe => {
            let (plugin, new) = parse_auth_switch(payload).expect("a switch");
            *payload = auth_switch(&plugin, &vec![b'n'; new.len()]);
            *nonce = new;
            Some(reply(&plugin, password, nonce))
        }
        sha2::MORE_DATA => {
            let answer = more(payload, password.as_bytes(), nonce);
            payload.truncate(2);
            answer
        }
        _ => None,
    }
}

/// Likewise in the OK packet at the end of rows.
fn mask_prepared_anew(payload: &mut [u8]) {
    if payload.first() != Some(&0xfe) || payload.len() < 7 {
        return;
    }
    let mut cursor = Cursor::new(&payload[1..]);
    if cursor.lenenc("affected").and_then(|_| cursor.lenenc("insert id")).is_ok() {
        let at = payload.len() - cursor.remaining().len();
        payload[at + 1] &= !0x04;
    }
}

/// Takes out of an OK or EOF packet that no index was used: between tables alike that is what the
/// optimizer makes of its samples of them. Whether a result `begins` with the packet, and with the next.
fn mask_indexes(payload: &mut [u8], begins: bool) -> bool {
    let is_ok = match payload.first() {
        Some(0x00) => begins,
        Some(0xfe) => payload.len() >= 7,
        _ => false,
    };
    let at = match payload {
        [0xfe, _, _, _, _] => Some(3),
        _ if is_ok => {
            let mut cursor = Cursor::new(&payload[1..]);
            let read = cursor.lenenc("affected").and_then(|_| cursor.lenenc("insert id"));
            read.ok().map(|_| payload.len() - cursor.remaining().len())
        }
        _ => None,
    };
    let Some(status) = at.and_then(|at| payload.get_mut(at..at + 2)) else { return false };
    status[0] &= !INDEX_FLAGS;
    status[0] & MORE_RESULTS != 0
}

/// SERVER_QUERY_NO_GOOD_INDEX_USED and SERVER_QUERY_NO_INDEX_USED.
const INDEX_FLAGS: u8 = 0x30;
/// SERVER_MORE_RESULTS_EXISTS.
const MORE_RESULTS: u8 = 0x08;

/// With another name in place of each.
fn replaced(payload: Vec<u8>, name: &[u8], other: &[u8]) -> Vec<u8> {
    let mut found = memchr::memmem::find_iter(&payload, name).peekable();
    if found.peek().is_none() {
        drop(found);
        return payload;
    }
    let mut out = Vec::with_capacity(payload.len() + 64);
    let mut from = 0;
    for at in found {
        out.extend_from_slice(&payload[from..at]);
        out.extend_from_slice(other);
        from = at + name.len();
    }
    out.extend_from_slice(&payload[from..]);
    out
}

fn end(error: std::io::Error) -> End {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Silent,
        _ => End::Closed,
    }
}

/// The statement id in a PREPARE_OK, which is zero from then on.
fn take_id(payload: &mut [u8]) -> Option<u32> {
    if payload.first() != Some(&0) || payload.len() < 5 {
        return None;
    }
    let id = u32::from_le_bytes([payload[1], payload[2], payload[3], payload[4]]);
    payload[1..5].fill(0);
    Some(id)
}

/// Takes a statement id out of an error, or out of a row of SHOW WARNINGS that holds one.
fn mask(payload: &mut Vec<u8>, own: &str) {
    let is_row = payload.starts_with(WARNING);
    let found = payload.windows(own.len()).position(|window| window == own.as_bytes());
    if let Some(at) = found
        && (is_row || payload.first() == Some(&0xff))
    {
        payload.splice(at..at + own.len(), *b"(#)");
        if is_row {
            // The length of the text is the byte behind level and code.
            payload[WARNING.len() + 5] = (payload.len() - WARNING.len() - 6) as u8;
        }
    }
}

/// How a row about an error begins: its level; a code of four digits and the text follow.
const WARNING: &[u8] = b"\x05Error";
