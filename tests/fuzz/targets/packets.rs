//! Packets of the connection phase, parameters of commands, and the frames around packets.

use std::sync::Arc;

use fairlane::net::codec::{pack, unpack};
use fairlane::net::infile;
use fairlane::protocol::compress::{self, Algorithm, Frame};
use fairlane::protocol::handshake::{
    ATTRIBUTES_MAX, ChangeUser, Greeting, HandshakeResponse, asks_for_tls, is_old, tls_request,
};
use fairlane::protocol::numbering::Numbering;
use fairlane::protocol::wire::put_lenenc_bytes;
use fairlane::protocol::{Capabilities, Family, attribute, packet};
use fairlane::sql::{Mode, classify};
use fairlane::state::Image;
use fairlane::state::kinds::Kinds;
use fairlane::state::prepared::{ExecuteForm, Statement, StatementKey, execute, execute_bulk};
use fairlane::topology::greeting::Greeting as ProbedGreeting;

use super::input::Input;

/// A server's greeting: what is read can be written, and both readers agree.
pub(crate) fn greeting(data: &[u8]) {
    let read = Greeting::parse(data);
    if let Ok(probed) = ProbedGreeting::parse(data) {
        let read = read.as_ref().expect("the probe is the stricter reader");
        assert_eq!(probed.version, read.version);
        assert_eq!(probed.collation, read.collation);
        assert_eq!(probed.status, read.status);
        assert_eq!(probed.capabilities, read.capabilities.bits());
        if read.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            assert_eq!(probed.auth_plugin, read.plugin);
        }
    }
    // The nonce's length is fixed where Fairlane writes it.
    if let Ok(read) = read
        && read.nonce.len() == 20
    {
        assert_eq!(Greeting::parse(&read.encode()), Ok(read));
    }
}

/// A client's handshake response, of either age, or its request for TLS.
pub(crate) fn login(data: &[u8]) {
    let mut input = Input::new(data);
    let offered = Capabilities::from_bits_retain(input.number());
    let payload = input.rest();
    if asks_for_tls(payload) {
        let low = u32::from_le_bytes(*payload.first_chunk().expect("32 bytes"));
        let asked = Capabilities::from_bits_retain(u64::from(low));
        assert!(asks_for_tls(&tls_request(asked, 0, 0)));
    }
    if is_old(payload) {
        let Ok(old) = HandshakeResponse::parse_old(payload) else { return };
        assert!(old.user.len() + old.auth.len() <= 3 * payload.len());
        return;
    }
    let Ok(read) = HandshakeResponse::parse(payload, offered) else { return };
    assert!(offered.contains(read.capabilities));
    let attributes: usize =
        read.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(attributes <= 3 * ATTRIBUTES_MAX);
    let written = writable(read);
    // Text that was not UTF-8 has grown.
    if written.auth.len() < 251 && attributes < ATTRIBUTES_MAX / 2 {
        let read = HandshakeResponse::parse(&written.encode(), written.capabilities);
        assert_eq!(read, Ok(written));
    }
}

/// The response as Fairlane writes one: with the flags for what it holds.
fn writable(mut response: HandshakeResponse) -> HandshakeResponse {
    let flags = &mut response.capabilities;
    *flags |= Capabilities::PLUGIN_AUTH | Capabilities::PLUGIN_AUTH_LENENC;
    flags.set(Capabilities::CONNECT_WITH_DB, response.schema.is_some());
    if !flags.contains(Capabilities::CONNECT_ATTRS) {
        response.attributes.clear();
    }
    if !flags.contains(Capabilities::ZSTD) {
        response.zstd_level = 0;
    }
    if flags.contains(Capabilities::LONG_PASSWORD) {
        *flags = Capabilities::from_bits_retain(u64::from(flags.low()));
    }
    response.compresses_unasked = false;
    response
}

/// COM_CHANGE_USER: garbage, and what a client would write from the same bytes.
pub(crate) fn change_user(data: &[u8]) {
    let mut input = Input::new(data);
    let capabilities = match input.below(4) {
        0 => Capabilities::empty(),
        1 => Capabilities::PLUGIN_AUTH,
        2 => Capabilities::CONNECT_ATTRS,
        _ => Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS,
    };
    let payload = input.rest();
    let Ok(read) = ChangeUser::parse(payload, capabilities) else { return };
    let capabilities = Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS;
    let mut written = read.user.clone().into_bytes();
    written.push(0);
    written.push(u8::try_from(read.auth.len()).expect("its length was a byte"));
    written.extend(&read.auth);
    written.extend(read.schema.as_deref().unwrap_or_default().bytes());
    written.push(0);
    written.extend(read.collation.unwrap_or(0).to_le_bytes());
    written.extend(read.plugin.bytes());
    written.push(0);
    let mut list = Vec::new();
    for (name, value) in &read.attributes {
        put_lenenc_bytes(&mut list, name.as_bytes());
        put_lenenc_bytes(&mut list, value.as_bytes());
    }
    if list.len() <= ATTRIBUTES_MAX {
        put_lenenc_bytes(&mut written, &list);
        let collation = Some(read.collation.unwrap_or(0));
        let again = ChangeUser::parse(&written, capabilities);
        assert_eq!(again, Ok(ChangeUser { collation, ..read }));
    }
}

/// Query attributes in front of a text: where the text begins depends on nothing behind it.
pub(crate) fn attributes(data: &[u8]) {
    let Ok(front) = attribute::front(data) else { return };
    let attributes = &data[..front];
    assert_eq!(attribute::front(attributes), Ok(front));
    assert_eq!(attribute::front(&[attributes, b"SELECT 1"].concat()), Ok(front));
    let cut = front * usize::from(data[data.len() - 1]) / 256;
    assert!(attribute::front(&attributes[..cut]).is_err(), "{cut} of {front} bytes");
}

/// COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE: what is sent to a server says all by itself.
pub(crate) fn execute_parameters(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let family = if kind < 128 { Family::MariaDb } else { Family::MySql };
    let form = match kind % 3 {
        0 => Some(ExecuteForm::Plain),
        1 => Some(ExecuteForm::Attributes),
        _ => None,
    };
    let execute = |payload: &[u8], id, statement: &mut Statement| match form {
        Some(form) => execute(payload, id, statement, form, family),
        None => execute_bulk(payload, id, statement),
    };
    let parameters = u16::from(input.byte()) * (1 + 63 * u16::from(input.byte() & 1));
    let mut statement = statement(parameters);
    while !input.is_empty() {
        let id = u32::from(input.byte());
        let payload = [&[input.byte(), 1, 2, 3, 4, input.byte(), 1, 0, 0, 0], input.piece()];
        let payload = payload.concat();
        let before = statement.types.clone();
        let Ok(sent) = execute(&payload, id, &mut statement) else {
            assert_eq!(statement.types, before, "a refused execution changes nothing");
            continue;
        };
        assert_eq!((sent[0], &sent[1..5]), (payload[0], &id.to_le_bytes()[..]));
        assert!(form.is_none() || sent[5..10] == payload[5..10]);
        assert!(
            sent.len() <= payload.len() + statement.types.as_deref().map_or(0, <[u8]>::len) + 9
        );
        let mut fresh = self::statement(parameters);
        let again = execute(&sent, id, &mut fresh);
        assert_eq!(again, Ok(sent), "a server that knows no types");
    }
}

fn statement(parameters: u16) -> Statement {
    let key = StatementKey::new((*b"SELECT ?").into(), "".into(), 0);
    let verdict = classify(&key.sql, Mode::default());
    let image = Image::default();
    Statement {
        key: Arc::new(key),
        image,
        mode: Mode::default(),
        verdict,
        parameters,
        types: None,
        numbers: 0,
        older_types: None,
        metadata: None,
        wanted: Box::default(),
        kinds: Kinds::default(),
    }
}

/// Framing: whole packets are found wherever they are cut, and written as they were read.
pub(crate) fn frames(data: &[u8]) {
    match packet::frame(data) {
        Ok(framed) => {
            let payload = packet::payload(data, &framed);
            assert_eq!(payload.len(), framed.payload_length);
            let mut written = Vec::new();
            let next = packet::put(&mut written, framed.first_sequence, &payload);
            assert_eq!(written, data[..framed.wire_length]);
            assert_eq!(next, framed.last_sequence.wrapping_add(1));
            packet::renumber(&mut written, 7);
            let renumbered = packet::frame(&written).expect("whole");
            assert_eq!(renumbered.first_sequence, 7);
            assert_eq!(packet::payload(&written, &renumbered), payload);
            assert!(packet::frame(&data[..framed.wire_length - 1]).is_err());
        }
        Err(needed) => assert!(needed > data.len(), "{needed} bytes would do"),
    }
    if let Some(frame) = Frame::parse(data) {
        assert_eq!(frame.bytes(), data[..compress::HEADER]);
    }
}

/// Contents of compressed frames, good and bad.
pub(crate) fn compressed(data: &[u8]) {
    /// What a frame claims to hold: enough to see the bound, little enough for many executions.
    const CLAIM_MAX: usize = 0xf_ffff;
    let mut input = Input::new(data);
    let level = input.byte() % 24;
    let algorithm = if level == 0 { Algorithm::Zlib } else { Algorithm::Zstd { level } };
    let claim = 1 + usize::try_from(input.number()).unwrap_or(0) % CLAIM_MAX;
    let bytes = input.rest();
    let mut out = b"before".to_vec();
    if unpack(algorithm, bytes, claim, &mut out).is_ok() {
        assert!(out.len() - 6 <= claim);
    }
    // Room that was there is used, in vain, before a stream is found to be too long.
    assert!(out.len() <= 2 * (claim + 64) && out.starts_with(b"before"));
    let mut wire = Vec::new();
    pack(algorithm, 3, bytes, &mut wire);
    let frame = Frame::parse(&wire).expect("a header");
    let body = &wire[compress::HEADER..];
    assert_eq!((frame.length, frame.sequence), (body.len(), 3));
    if frame.plain_length == 0 {
        assert_eq!(body, bytes);
        return;
    }
    assert!(frame.plain_length == bytes.len() && body.len() < bytes.len());
    let mut back = Vec::new();
    unpack(algorithm, body, frame.plain_length, &mut back).expect("it was packed here");
    assert_eq!(back, bytes);
}

/// Frames to and from a server: commands are cut at their ends, and the packets of an answer get
/// their numbers, wherever the bytes are cut.
pub(crate) fn numbering(data: &[u8]) {
    let mut input = Input::new(data);
    let step = 1 + input.below(40);
    let bytes = input.rest();
    let end_from = |at: usize| {
        packet::frame(&bytes[at..]).map_or(usize::MAX, |framed| at + framed.wire_length)
    };
    let mut numbering = Numbering::default();
    let (mut at, mut end, mut next) = (0, end_from(0), 0_u8);
    while at < bytes.len() {
        let offered = &bytes[at..bytes.len().min(at + step)];
        let cut = numbering.cut(offered);
        assert_eq!(cut, (offered.len().min(end - at), next));
        (at, next) = (at + cut.0, next.wrapping_add(1));
        if at == end {
            (end, next) = (end_from(at), 0);
        }
    }
    let mut numbering = Numbering::default();
    numbering.begin_answer();
    let mut answer = bytes.to_vec();
    for (index, contents) in (0..=u8::MAX).cycle().zip(answer.chunks_mut(step)) {
        assert!(numbering.expects(index));
        numbering.take_frame(index, contents);
    }
    let (mut expected, mut at) = (bytes.to_vec(), 0);
    for number in (0..=u8::MAX).cycle() {
        let Some(header) = expected.get(at..).and_then(packet::Header::parse) else { break };
        expected[at + 3] = number;
        at += packet::HEADER + header.length;
    }
    assert_eq!(answer, expected);
}

/// A client's file: its end is found wherever its packets are cut.
pub(crate) fn file(data: &[u8]) {
    let mut input = Input::new(data);
    let renumbers = input.bit();
    let step = 1 + input.below(9);
    let bytes = input.rest();
    let whole = scanned(bytes, bytes.len().max(1), renumbers);
    assert_eq!(whole, scanned(bytes, step, renumbers));
    let (passed, is_end) = whole;
    assert!(!is_end || passed.len() >= packet::HEADER);
    assert!(is_end || passed.len() + packet::HEADER > bytes.len());
}

/// What is passed on, and whether the file has ended.
fn scanned(bytes: &[u8], step: usize, renumbers: bool) -> (Vec<u8>, bool) {
    let (mut inbox, mut passed) = (Vec::new(), Vec::new());
    let (mut place, mut sequence) = (infile::Place::default(), 0);
    for piece in bytes.chunks(step) {
        inbox.extend_from_slice(piece);
        let (ready, is_end) =
            infile::scan(&mut inbox, &mut place, renumbers.then_some(&mut sequence));
        passed.extend(inbox.drain(..ready));
        if is_end {
            return (passed, true);
        }
    }
    (passed, false)
}
