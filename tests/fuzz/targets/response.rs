//! Responses of servers: the same whole and in pieces, and as they were written.

use std::sync::Arc;

use fairlane::protocol::metadata::{Expected, Metadata};
use fairlane::protocol::response::{Next, Response, Shape, Summary};
use fairlane::protocol::status::{self, ErrPacket, OkPacket, Status, Tracked};
use fairlane::protocol::tracking::{Reported, Teller, Wanted};
use fairlane::protocol::wire::{put_lenenc, put_lenenc_bytes};
use fairlane::protocol::{Capabilities, Malformed, packet};

use super::input::Input;

const SHAPES: [Shape; 6] =
    [Shape::Nothing, Shape::Results, Shape::Prepared, Shape::Fields, Shape::Rows, Shape::Text];

/// What became of a stream of bytes.
#[derive(Debug, PartialEq, Eq)]
struct Relayed {
    /// Bytes sent on to the client.
    sent: Vec<u8>,
    /// Bytes that were not ready.
    held: Vec<u8>,
    files: usize,
    is_done: bool,
    is_untouched: bool,
    summary: Summary,
}

/// Feeds `bytes` in pieces of `step` as the relay does; the client's files are empty.
fn relay(mut response: Response, bytes: &[u8], step: usize) -> Result<Relayed, Malformed> {
    let (mut held, mut sent, mut files) = (Vec::new(), Vec::new(), 0);
    let mut pieces = bytes.chunks(step.max(1));
    loop {
        let advance = response.advance(&mut held)?;
        assert!(advance.ready <= advance.length && advance.length <= held.len());
        held.truncate(advance.length);
        sent.extend(held.drain(..advance.ready));
        match advance.next {
            Next::Instead(skipped) => {
                held.drain(..skipped);
                let instead = response.take_instead();
                assert!(are_whole(&instead));
                sent.extend(instead);
                continue;
            }
            Next::Infile => {
                files += 1;
                response.infile_sent();
                continue;
            }
            Next::Done => assert!(response.is_done()),
            Next::More => assert!(!response.is_done()),
        }
        let Some(piece) = pieces.next() else { break };
        held.extend_from_slice(piece);
    }
    let (is_done, is_untouched) = (response.is_done(), response.is_untouched());
    Ok(Relayed { sent, held, files, is_done, is_untouched, summary: response.into_summary() })
}

fn are_whole(mut packets: &[u8]) -> bool {
    while let Ok(framed) = packet::frame(packets) {
        packets = &packets[framed.wire_length..];
    }
    packets.is_empty()
}

/// Any bytes as the answer to any command: whole and in pieces they are the same.
pub(crate) fn response(data: &[u8]) {
    let mut input = Input::new(data);
    let shape = SHAPES[input.below(SHAPES.len())];
    let flags = input.byte();
    let (deprecates_eof, is_framed) = (flags & 1 != 0, flags & 2 != 0);
    let step = 1 + input.below(17);
    let capabilities = input.byte();
    let mut some = |is_given: bool| is_given.then(|| definitions(&mut input));
    let (lacking, known) = (some(capabilities & 1 != 0), some(capabilities & 8 != 0));
    let known = known.map(|known| Metadata::new(known).digest);
    let expected = Expected { lacking: lacking.map(Arc::from), known };
    let new = || {
        let mut response = Response::on(shape, connection(deprecates_eof, capabilities & 2 != 0));
        if shape == Shape::Prepared {
            response.tell_id(42);
        }
        if capabilities & 4 != 0 {
            response.keep_definitions(expected.clone());
        }
        response.set_teller((flags & 4 != 0).then(|| Box::new(teller(flags >> 3))));
        response
    };
    let bytes = if is_framed { framed(&mut input) } else { input.rest().to_vec() };
    // Where in its chunk a packet is malformed depends on the chunk.
    let relay = |step| relay(new(), &bytes, step).map_err(|malformed| malformed.what);
    let whole = relay(bytes.len());
    assert_eq!(relay(step), whole);
    if let Ok(whole) = whole {
        let tracked: usize = whole.summary.tracked.iter().map(size).sum();
        assert!(tracked <= 4 * bytes.len());
        assert!(whole.held.len() <= bytes.len());
    }
}

fn connection(deprecates_eof: bool, has_progress: bool) -> Capabilities {
    let mut capabilities = Capabilities::SESSION_TRACK;
    capabilities.set(Capabilities::DEPRECATE_EOF, deprecates_eof);
    capabilities.set(Capabilities::MARIADB_PROGRESS, has_progress);
    capabilities
}

/// Column definitions as they are kept: whole packets, numbered from 0 on.
fn definitions(input: &mut Input<'_>) -> Vec<u8> {
    let (mut packets, mut sequence) = (Vec::new(), 0);
    for _ in 0..input.below(3) {
        sequence = packet::put(&mut packets, sequence, input.piece());
    }
    packets
}

fn size(tracked: &Tracked) -> usize {
    match tracked {
        Tracked::Variable { name, value } => name.len() + value.len(),
        Tracked::StateChanged => 0,
        Tracked::Schema(text)
        | Tracked::Characteristics(text)
        | Tracked::TransactionState(text)
        | Tracked::Gtids(text) => text.len(),
    }
}

/// Each piece of the input as a packet.
fn framed(input: &mut Input<'_>) -> Vec<u8> {
    let (mut wire, mut sequence) = (Vec::new(), 1);
    while !input.is_empty() {
        sequence = packet::put(&mut wire, sequence, input.piece());
    }
    wire
}

fn teller(flags: u8) -> Teller {
    let is = |bit: u8| flags & bit != 0;
    Teller::new(Arc::new(Wanted {
        variables: vec!["Autocommit".to_owned(), "sql_mode".to_owned()],
        all_variables: is(1),
        by_name: is(2),
        schema: is(4),
        state_change: is(8),
        gtids: is(16),
        transaction: is(8),
        characteristics: is(16) && is(8),
        only_ends: is(2) && !is(8),
    }))
}

/// Answers written as servers write them: read to their end, and not a byte further.
pub(crate) fn answers(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let (deprecates_eof, has_progress) = (flags & 1 != 0, flags & 2 != 0);
    let step = 1 + input.below(33);
    let mut written = Written { deprecates_eof, has_progress, sequence: 1, ..Written::default() };
    loop {
        let has_more = input.bit() && !input.is_empty();
        written.result(&mut input, has_more);
        if !has_more || written.error.is_some() {
            break;
        }
    }
    let rest = input.rest();
    let bytes = [&written.wire, rest].concat();
    let response = Response::on(Shape::Results, connection(deprecates_eof, has_progress));
    let relayed = relay(response, &bytes, step).expect("a legal answer");
    assert!(relayed.is_done, "it was written to its end");
    assert_eq!(relayed.sent, written.wire);
    assert_eq!(relayed.held, rest);
    assert_eq!(relayed.files, written.files);
    assert_eq!(relayed.summary.error, written.error);
    assert_eq!(relayed.summary.rows, written.rows);
    assert_eq!(relayed.summary.affected, written.affected);
    assert_eq!(relayed.summary.insert_id, written.insert_id);
}

/// A response in the making, and what it holds.
#[derive(Default)]
struct Written {
    wire: Vec<u8>,
    sequence: u8,
    deprecates_eof: bool,
    has_progress: bool,
    files: usize,
    rows: u64,
    affected: Option<u64>,
    insert_id: u64,
    error: Option<u16>,
}

impl Written {
    /// A packet; reports of progress come in front of some.
    fn put(&mut self, payload: &[u8]) {
        if self.has_progress && payload.len().is_multiple_of(2) {
            let report = b"\xff\xff\xff\x01\x01\x02\0\0\0\x05state";
            self.sequence = packet::put(&mut self.wire, self.sequence, report);
        }
        self.sequence = packet::put(&mut self.wire, self.sequence, payload);
    }

    fn result(&mut self, input: &mut Input<'_>, has_more: bool) {
        let mut status = Status::AUTOCOMMIT;
        status.set(Status::MORE_RESULTS, has_more);
        match input.below(6) {
            0 => self.error(input),
            1 => self.ok(input, status),
            2 => {
                self.put(b"\xfbfile.csv");
                self.files += 1;
                self.ok(input, status);
            }
            _ => self.result_set(input, status),
        }
    }

    fn error(&mut self, input: &mut Input<'_>) {
        let code = u16::from(input.byte()) + 1000;
        self.put(&status::err(code, "HY000", &input.text()));
        self.error = Some(code);
    }

    fn ok(&mut self, input: &mut Input<'_>, status: Status) {
        let (affected, insert_id) = (input.number(), u64::from(input.byte()));
        let mut payload = vec![0];
        put_lenenc(&mut payload, affected);
        put_lenenc(&mut payload, insert_id);
        payload.extend(status.bits().to_le_bytes());
        payload.extend([0, 0]);
        put_lenenc_bytes(&mut payload, input.piece());
        self.put(&payload);
        self.affected = Some(affected);
        if insert_id != 0 {
            self.insert_id = insert_id;
        }
    }

    fn result_set(&mut self, input: &mut Input<'_>, status: Status) {
        let columns = 1 + input.below(3);
        self.put(&[columns.to_le_bytes()[0]]);
        for _ in 0..columns {
            self.put(&[b"\x03def", input.piece()].concat());
        }
        if !self.deprecates_eof {
            self.put(&status::eof(Status::AUTOCOMMIT, 0));
        }
        (self.rows, self.affected) = (0, None);
        for _ in 0..input.below(9) {
            let mut row = Vec::new();
            for _ in 0..columns {
                match input.piece() {
                    [] => row.push(0xfb),
                    value => put_lenenc_bytes(&mut row, value),
                }
            }
            self.put(&row);
            self.rows += 1;
        }
        if input.below(8) == 0 {
            return self.error(input);
        }
        if self.deprecates_eof {
            let mut end = status::ok(status, 0);
            end[0] = 0xfe;
            self.put(&end);
        } else {
            self.put(&status::eof(status, 0));
        }
    }
}

/// OK, EOF and ERR packets, with session tracking taken out and put in.
pub(crate) fn status(data: &[u8]) {
    if let Ok(err) = ErrPacket::parse(data)
        && let (Ok(sqlstate), Ok(message)) =
            (std::str::from_utf8(err.sqlstate), std::str::from_utf8(err.message))
        && sqlstate.len() == 5
        && message.len() < 512
    {
        let written = status::err(err.code, sqlstate, message);
        assert_eq!(ErrPacket::parse(&written), Ok(err.clone()));
    }
    let Ok(ok) = OkPacket::parse(data) else { return };
    let mut tracked = Vec::new();
    let is_readable = ok.tracked(&mut tracked).is_ok();
    let plain = ok.without_tracking(data);
    let read = OkPacket::parse(&plain).expect("it was written here");
    assert!(read.tracking.is_empty() && !read.status.contains(Status::SESSION_STATE_CHANGED));
    assert_eq!(fields(&read), fields(&ok));
    assert_eq!(read.without_tracking(&plain), plain);
    let told = read.with_tracking(&plain, ok.tracking);
    let read = OkPacket::parse(&told).expect("it was written here");
    assert_eq!((fields(&read), read.tracking), (fields(&ok), ok.tracking));
    let mut again = Vec::new();
    assert_eq!(read.tracked(&mut again).is_ok(), is_readable);
    assert_eq!(again, tracked);
}

fn fields<'a>(ok: &OkPacket<'a>) -> (u64, u64, Status, u16, &'a [u8]) {
    let status = ok.status - Status::SESSION_STATE_CHANGED;
    (ok.affected, ok.insert_id, status, ok.warnings, ok.text)
}

/// Session tracking told anew to a client, over several OK packets of several connections.
pub(crate) fn tracking(data: &[u8]) {
    let mut input = Input::new(data);
    let values = [input.text(), input.text(), input.text()];
    let flags = input.byte();
    let wanted = Arc::new(Wanted::new(|name| match name {
        "session_track_system_variables" => Some(values[0].as_str()),
        "session_track_transaction_info" => Some(values[1].as_str()),
        "session_track_gtids" => (flags & 1 != 0).then_some(values[2].as_str()),
        "session_track_schema" => Some(if flags & 2 != 0 { "ON" } else { "0" }),
        "session_track_state_change" => Some(if flags & 4 != 0 { "1" } else { "OFF" }),
        _ => None,
    }));
    let mut teller = Teller::new(wanted.clone());
    while !input.is_empty() {
        match input.below(4) {
            0 => {
                let state = input.take(8).try_into().unwrap_or(*b"________");
                let characteristics = input.piece().into();
                teller.listen(Reported { state, characteristics }, input.bit());
            }
            1 => {
                let (name, value) = (input.text(), input.text());
                teller.keep(&[Tracked::Variable { name, value }, Tracked::StateChanged]);
            }
            2 => teller.want(wanted.clone()),
            _ => tell(&mut teller, &mut input),
        }
    }
}

fn tell(teller: &mut Teller, input: &mut Input<'_>) {
    let plain = status::ok(Status::AUTOCOMMIT, 3);
    let ok = OkPacket::parse(&plain).expect("it was written here");
    let payload = ok.with_tracking(&plain, input.piece());
    let ok = OkPacket::parse(&payload).expect("it was written here");
    let Ok(told) = teller.retell(&payload, &ok) else { return };
    if let Some(told) = told {
        let told = OkPacket::parse(&told).expect("it was written here");
        assert_eq!(fields(&told), fields(&ok));
        let has_entries = told.status.contains(Status::SESSION_STATE_CHANGED);
        assert_eq!(has_entries, !told.tracking.is_empty());
    } else {
        assert!(ok.tracking.is_empty(), "what a server tells is never passed on unread");
    }
    assert!(teller.is_silent(), "all that was pending is told");
    // In a transaction, if there is one; behind it its end is news, which no server needs to tell.
    let quiet = status::ok(Status::AUTOCOMMIT | Status::IN_TRANS, 3);
    let same = OkPacket::parse(&quiet).expect("it was written here");
    assert_eq!(teller.retell(&quiet, &same), Ok(None), "nothing is told twice");
    let ended = OkPacket::parse(&plain).expect("it was written here");
    let _ = teller.retell(&plain, &ended);
    assert_eq!(teller.retell(&plain, &ended), Ok(None), "nor is an end");
}
