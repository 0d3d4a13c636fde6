//! The response-shape machine: which packet may come next, and where the response ends.
//!
//! ```text
//!            ┌──────────── MORE_RESULTS ◄──────────────┐
//!            ▼                                         │
//! Results: First ── OK ───────────────────────────► (end?) ──► Done
//!            │  └── ERR ───────────────────────────────────► Done
//!            │  └── 0xFB ─► Infile (client sends the file) ─► First
//!            └── n ─► Columns(n) ─► [EOF] ─► Rows ─ EOF/OK ─► (end?)
//! Prepared:  First ── OK(columns, parameters) ─► definitions, each list with its [EOF] ─► Done
//! ```
//! Where a client has asked for optional metadata (MySQL) or for metadata once (MariaDB), a byte
//! behind a number of columns says whether the definitions follow; their EOF does so anyway. What
//! a client is to have of them is kept aside, see [`Response::keep_definitions`].
//!
//! Where a client has asked for reports of progress (MariaDB), one may come in place of any
//! packet: it looks like an ERR packet with a code of its own, and ends nothing.
//!
//! [`Response::advance`] looks at a chunk in place. Row bytes are passed over packet by packet
//! without being looked at, but for their first byte; only the packets that end something (OK,
//! EOF, ERR) and the first of each result are read, and they are held back until whole.
//! Invariants: bytes it calls ready are never looked at again; after `Done` nothing is consumed.

mod control;
mod definitions;

use super::capability::Capabilities;
use super::code;
use super::edit::RowEditor;
use super::metadata::Expected;
use super::packet::{FULL, HEADER, Header};
use super::status::{Status, Tracked};
use super::tracking::Teller;
use super::wire::Malformed;
use control::definitions;
use definitions::LeftOut;

/// Code of an ERR packet that is a report of progress.
/// Source: <https://mariadb.com/kb/en/err_packet/>.
const PROGRESS: u16 = 0xffff;

/// Errors whose message tells more: of a routine, which one it is that does not exist or may not be called; of a
/// text that cannot be read, whether it is the server that says so.
const TELLING: [u16; 3] = [code::SP_DOES_NOT_EXIST, code::PROCACCESS_DENIED, code::PARSE_ERROR];

/// What kind of answer a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// None at all.
    Nothing,
    /// OK, ERR, EOF, a request for a file, or result sets.
    Results,
    /// PREPARE_OK with definitions, or ERR.
    Prepared,
    /// Column definitions until EOF, or ERR.
    Fields,
    /// Rows until EOF, or ERR.
    Rows,
    /// One packet that is a text, or ERR.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Columns {
        left: u64,
    },
    ColumnsEnd,
    Rows,
    Prepared,
    /// `then` more definitions follow this list.
    Definitions {
        left: u64,
        then: u64,
    },
    DefinitionsEnd {
        then: u64,
    },
    /// EOF packets of lists whose definitions are left out.
    EmptyLists {
        left: u8,
    },
    Fields,
    Text,
    Infile,
    Done,
}

/// What [`Response::advance`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Leading bytes of the chunk that may be sent on.
    pub ready: usize,
    /// Valid bytes of the chunk: fewer than given when tracking was taken out.
    pub length: usize,
    /// What the caller has to do next.
    pub next: Next,
}

/// What a response has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The middle of a result set.
    Rows,
    /// The end of a statement.
    End,
}

/// What comes after the ready bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// More bytes from the server.
    More,
    /// To send [`Response::take_instead`] in place of so many of the following bytes.
    Instead(usize),
    /// The client has to send a file; then [`Response::infile_sent`].
    Infile,
    /// Nothing: the response is complete.
    Done,
}

/// Facts gathered while a response passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Status flags of the last OK or EOF packet.
    pub status: Status,
    /// The server sent at least one OK or EOF packet.
    pub has_status: bool,
    /// Rows affected by the last statement, from its OK packet; `None` after a result set.
    pub affected: Option<u64>,
    /// Insert id of the last OK packet that had one.
    pub insert_id: u64,
    /// Warnings of the last statement.
    pub warnings: u16,
    /// The last statement, or one before it, had warnings.
    pub had_warnings: bool,
    /// Rows of the last result set.
    pub rows: u64,
    /// Bytes that were passed on.
    pub received: u64,
    /// There was a result set.
    pub has_result_set: bool,
    /// How many there were.
    pub result_sets: u16,
    /// Code of the error that ended the response.
    pub error: Option<u16>,
    /// Its SQLSTATE.
    pub sqlstate: [u8; 5],
    /// Its message, where that is kept.
    pub message: Vec<u8>,
    /// Session tracking of all OK packets, in order.
    pub tracked: Vec<Tracked>,
    /// The last EOF packet says that something has changed, which nothing has told since.
    pub is_tracking_due: bool,
    /// The statement's id on the server, number of columns and parameters (PREPARE only).
    pub prepared: Option<(u32, u16, u16)>,
    /// Column definitions of the first result set or of the prepared statement, as packets; only
    /// where they are kept.
    pub definitions: Vec<u8>,
    /// Types of the prepared statement's parameters, one byte each; only where they are kept.
    pub parameter_types: Vec<u8>,
    /// The whole answer to COM_STMT_PREPARE, as packets; `None` where it is not kept, or too long.
    pub answer: Option<Vec<u8>>,
}

/// Longest answer to COM_STMT_PREPARE that is kept, in bytes.
const ANSWER_MAX: usize = 16 * 1024;

impl Summary {
    fn note_warnings(&mut self, warnings: u16) {
        self.warnings = warnings;
        self.had_warnings |= warnings > 0;
    }
}

/// One response in progress.
#[derive(Debug)]
pub struct Response {
    state: State,
    deprecates_eof: bool,
    /// Bytes of the current packet still to pass over, its header included.
    skip: usize,
    /// The packet being passed over is continued by the next one.
    continues: bool,
    /// Statement id to write into a PREPARE_OK instead of the server's.
    statement_id: u32,
    /// Nothing was called ready yet.
    is_untouched: bool,
    /// The command asked for a cursor. The flag of one alone says nothing: it also shows that a
    /// routine has opened one of its own.
    opens_cursor: bool,
    /// What a client that asked for session tracking is told.
    teller: Option<Box<Teller>>,
    /// What is put in the place of rows.
    editor: Option<Box<RowEditor>>,
    /// The rows are OUT parameters: an OK packet follows, also where their EOF packet does not say
    /// so (MySQL).
    are_out_params: bool,
    /// Warnings to tell of in an OK packet that has none.
    warnings: u16,
    /// Also in one that has others.
    tells_just_warnings: bool,
    /// A packet that has grown.
    instead: Option<Vec<u8>>,
    /// Reports of progress may come.
    has_progress: bool,
    /// Column definitions are kept in the summary.
    keeps_definitions: bool,
    /// Types of parameters are kept in the summary.
    keeps_parameters: bool,
    /// What the client is to have of them.
    expected: Expected,
    /// What is added to sequence ids: what they lack from the beginning, and the number of packets put in.
    shift: u8,
    /// Sequence id the server expects of the file's first packet.
    file_sequence: u8,
    /// A statement has ended since [`Response::take_ended`] was asked last.
    has_ended: bool,
    /// A result set has begun since [`Response::take_begun`] was asked last.
    has_begun: bool,
    summary: Summary,
}

impl Response {
    /// Starts a response of `shape`. With `deprecates_eof` result sets end in OK packets.
    pub fn new(shape: Shape, deprecates_eof: bool) -> Self {
        let state = match shape {
            Shape::Nothing => State::Done,
            Shape::Results => State::First,
            Shape::Prepared => State::Prepared,
            Shape::Fields => State::Fields,
            Shape::Rows => State::Rows,
            Shape::Text => State::Text,
        };
        Self {
            state,
            deprecates_eof,
            skip: 0,
            continues: false,
            statement_id: 0,
            is_untouched: true,
            opens_cursor: false,
            editor: None,
            teller: None,
            are_out_params: false,
            warnings: 0,
            tells_just_warnings: false,
            instead: None,
            has_progress: false,
            keeps_definitions: false,
            keeps_parameters: false,
            expected: Expected::default(),
            shift: 0,
            file_sequence: 0,
            has_ended: false,
            has_begun: false,
            summary: Summary::default(),
        }
    }

    /// The response on a connection with these capabilities.
    pub fn on(shape: Shape, capabilities: Capabilities) -> Self {
        let has_progress = capabilities.contains(Capabilities::MARIADB_PROGRESS);
        let deprecates_eof = capabilities.contains(Capabilities::DEPRECATE_EOF);
        Self { has_progress, ..Self::new(shape, deprecates_eof) }
    }

    /// Whether the command may open a cursor, after which no rows follow.
    pub fn may_open_cursor(&mut self, opens_cursor: bool) {
        self.opens_cursor = opens_cursor;
    }

    /// Puts other rows in the place of some.
    pub fn set_editor(&mut self, editor: Option<RowEditor>) {
        self.editor = editor.map(Box::new);
    }

    /// Tells a client of its session that wants to be told.
    pub fn set_teller(&mut self, teller: Option<Box<Teller>>) {
        self.teller = teller;
    }

    /// Tells a client how many warnings its last statement had, which the connection the response
    /// comes from does not know of.
    pub fn tell_warnings(&mut self, warnings: u16) {
        self.warnings = warnings;
    }

    /// The same where the connection may also know of warnings that are no longer the session's.
    pub fn tell_just_warnings(&mut self, warnings: u16) {
        (self.warnings, self.tells_just_warnings) = (warnings, true);
    }

    /// Gives the teller back.
    pub fn take_teller(&mut self) -> Option<Box<Teller>> {
        self.teller.take()
    }

    /// Adds so much to the sequence ids: the command came in more packets than it was sent in.
    pub fn shift_ids(&mut self, shift: u8) {
        self.shift = shift;
    }

    /// The bytes to send after [`Next::Instead`].
    pub fn take_instead(&mut self) -> Vec<u8> {
        self.instead.take().unwrap_or_default()
    }

    /// Tells the client `id` as that of a statement that is prepared.
    pub fn tell_id(&mut self, id: u32) {
        self.statement_id = id;
    }

    /// Keeps the types of a prepared statement's parameters in the summary.
    pub fn keep_parameters(&mut self, keeps_parameters: bool) {
        self.keeps_parameters = keeps_parameters;
    }

    /// Keeps column definitions in the summary, and makes them in the answer what is expected.
    pub fn keep_definitions(&mut self, expected: Expected) {
        (self.keeps_definitions, self.expected) = (true, expected);
    }

    /// Keeps the whole answer to COM_STMT_PREPARE in the summary.
    pub fn keep_answer(&mut self, keeps_answer: bool) {
        self.summary.answer = keeps_answer.then(Vec::new);
    }

    /// What was gathered so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What was gathered.
    pub fn into_summary(self) -> Summary {
        self.summary
    }

    /// Whether an OK, EOF or ERR packet has ended a statement since the last call.
    pub fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.has_ended)
    }

    /// Whether a result set has begun since the last call.
    pub fn take_begun(&mut self) -> bool {
        std::mem::take(&mut self.has_begun)
    }

    /// Whether the response is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done && self.skip == 0 && !self.continues
    }

    /// Whether it is in the middle of a result set.
    pub fn is_in_results(&self) -> bool {
        matches!(self.state, State::Columns { .. } | State::ColumnsEnd | State::Rows)
    }

    /// The sequence id that the server expects of the first packet of the file it asks for, after
    /// [`Next::Infile`]. The client has another one where packets were put in.
    pub fn file_sequence(&self) -> u8 {
        self.file_sequence
    }

    /// The client has sent its file, with the empty packet that ends it.
    pub fn infile_sent(&mut self) {
        debug_assert_eq!(self.state, State::Infile);
        self.state = State::First;
    }

    /// Whether nothing was passed on yet.
    pub fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Whether the response so far is nothing but an ERR packet: then it may still be kept from
    /// the client and the statement be tried elsewhere.
    pub fn is_only_an_error(&self) -> bool {
        self.is_untouched && self.summary.error.is_some()
    }

    /// Looks at the bytes that came after those called ready before.
    ///
    /// # Errors
    /// When a packet is not one that may come here; the connection is then of no more use.
    pub fn advance(&mut self, chunk: &mut [u8]) -> Result<Advance, Malformed> {
        let mut at = 0;
        let mut length = chunk.len();
        loop {
            if self.skip > 0 {
                let passed = self.skip.min(length - at);
                at += passed;
                self.skip -= passed;
                self.is_untouched &= passed == 0;
                if self.skip > 0 {
                    return Ok(Advance { ready: at, length, next: Next::More });
                }
            }
            match self.state {
                // Not in the middle of the last definition of a prepared statement.
                State::Done if !self.continues => {
                    return Ok(Advance { ready: at, length, next: Next::Done });
                }
                State::Infile => return Ok(Advance { ready: at, length, next: Next::Infile }),
                _ => {}
            }
            let Some(header) = Header::parse(&chunk[at..length]) else {
                return Ok(Advance { ready: at, length, next: Next::More });
            };
            if self.continues {
                if self.shift != 0 {
                    self.renumber(&mut chunk[at..]);
                }
                self.pass(header);
                continue;
            }
            if header.length == 0 {
                return Err(Malformed { what: "empty packet", offset: at });
            }
            let Some(&first) = chunk[..length].get(at + HEADER) else {
                return Ok(Advance { ready: at, length, next: Next::More });
            };
            if self.is_passed_over(first, header.length) {
                if self.shift != 0 {
                    self.renumber(&mut chunk[at..]);
                }
                self.pass(header);
                continue;
            }
            let end = at + HEADER + header.length;
            if end > length {
                return Ok(Advance { ready: at, length, next: Next::More });
            }
            if self.expects_known() {
                match self.leave_out_known(&chunk[at..length], end - at)? {
                    LeftOut::Unsure => return Ok(Advance { ready: at, length, next: Next::More }),
                    LeftOut::Bytes(left_out) => {
                        let next = Next::Instead(left_out);
                        return Ok(Advance { ready: at, length, next });
                    }
                    LeftOut::Nothing => {}
                }
            }
            if self.shift != 0 {
                self.renumber(&mut chunk[at..]);
            }
            let shrunk = self.control(&mut chunk[at..end])?;
            if self.instead.is_some() {
                self.is_untouched = false;
                let next = Next::Instead(HEADER + header.length);
                return Ok(Advance { ready: at, length, next });
            }
            if shrunk < header.length {
                let cut = header.length - shrunk;
                chunk.copy_within(end..length, end - cut);
                length -= cut;
            }
            at += HEADER + shrunk;
            if self.summary.error.is_none() {
                self.is_untouched = false;
            }
        }
    }

    /// Counts bytes that are passed on.
    pub fn note_received(&mut self, bytes: usize) {
        self.summary.received += bytes as u64;
    }

    fn pass(&mut self, header: Header) {
        self.skip = HEADER + header.length;
        self.continues = header.length == FULL;
    }

    /// Gives a packet the sequence id it has behind those put in.
    fn renumber(&self, packet: &mut [u8]) {
        packet[3] = packet[3].wrapping_add(self.shift);
    }

    /// Whether a packet among rows is none.
    fn ends_rows(&self, first: u8, length: usize) -> bool {
        first == 0xff || first == 0xfe && (length < 9 || self.deprecates_eof && length < FULL)
    }

    /// Whether a packet of the current state is passed over unread; counts rows.
    fn is_passed_over(&mut self, first: u8, length: usize) -> bool {
        match self.state {
            State::Rows => {
                let passes =
                    !self.ends_rows(first, length) && (self.editor.is_none() || length == FULL);
                // One for the editor counts when it is whole.
                self.summary.rows += u64::from(passes);
                passes
            }
            State::Columns { .. } | State::Definitions { .. } if first == 0xff => false,
            State::Columns { .. } | State::Definitions { .. } if self.keeps_definitions => false,
            State::Definitions { .. } if self.lacks_parameters() => false,
            State::Definitions { .. } if self.summary.answer.is_some() => false,
            State::Columns { left } => {
                self.state = self.after_column(left);
                true
            }
            State::Definitions { left, then } => {
                self.state = self.after_definition(left, then);
                true
            }
            State::Fields => first != 0xfe && first != 0xff,
            State::First
            | State::ColumnsEnd
            | State::Prepared
            | State::DefinitionsEnd { .. }
            | State::EmptyLists { .. }
            | State::Text
            | State::Infile
            | State::Done => false,
        }
    }

    /// Whether the next definition is that of a parameter whose type is to be kept.
    fn lacks_parameters(&self) -> bool {
        let (.., parameters) = self.summary.prepared.unwrap_or_default();
        self.keeps_parameters && self.summary.parameter_types.len() < usize::from(parameters)
    }

    /// The state behind a column definition, `left` of which were expected.
    fn after_column(&self, left: u64) -> State {
        match (left, self.deprecates_eof) {
            (1, true) => State::Rows,
            (1, false) => State::ColumnsEnd,
            _ => State::Columns { left: left - 1 },
        }
    }

    /// Likewise of a prepared statement's, with `then` more in another list.
    fn after_definition(&self, left: u64, then: u64) -> State {
        match (left, self.deprecates_eof) {
            (1, true) => definitions(then, 0),
            (1, false) => State::DefinitionsEnd { then },
            _ => State::Definitions { left: left - 1, then },
        }
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
