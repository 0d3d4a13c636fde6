//! Responses in one piece, and cut at every byte.

use proptest::prelude::*;

use super::*;
use crate::protocol::metadata::{Expected, Metadata};
use crate::protocol::packet::{put, renumber};
use crate::protocol::status;

fn wire(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = put(&mut out, sequence, payload);
    }
    out
}

/// Feeds `bytes` in pieces of `step`, keeping back what is not ready; returns what was sent on.
fn relay(response: &mut Response, bytes: &[u8], step: usize) -> Vec<u8> {
    let (mut held, mut sent) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        held.extend_from_slice(piece);
        let advance = response.advance(&mut held).expect("legal");
        sent.extend_from_slice(&held[..advance.ready]);
        held.truncate(advance.length);
        held.drain(..advance.ready);
    }
    assert!(held.is_empty());
    sent
}

const EOF_MORE: &[u8] = &[0xfe, 0, 0, 0x0a, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
const OK_END: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];
const TRACKED_END: &[u8] = b"\xfe\x00\x00\x02\x40\x00\x00\x00\x0f\x00\x0d\x01a\x0a123456789A";

#[test]
fn several_results_end_at_the_last_one() {
    let bytes = wire(&[&[1], b"def", EOF, b"\x01x", b"\xfb", EOF_MORE, &[0, 1, 7, 2, 0, 0, 0]]);
    for step in 1..bytes.len() + 1 {
        let mut response = Response::new(Shape::Results, false);
        assert_eq!(relay(&mut response, &bytes, step), bytes);
        assert!(response.is_done());
        assert_eq!(response.summary().insert_id, 7);
        assert_eq!(response.summary().rows, 2);
    }
}

#[test]
fn out_parameters_are_followed_by_ok() {
    let columns_end: &[u8] = &[0xfe, 0, 0, 8, 0x10];
    let rows_end: &[u8] = &[0xfe, 0, 0, 0, 0];
    let bytes = wire(&[&[1], b"def", columns_end, b"\0\0x", rows_end, &[0, 0, 0, 2, 0, 0, 0]]);
    for step in 1..bytes.len() + 1 {
        let mut response = Response::new(Shape::Results, false);
        assert_eq!(relay(&mut response, &bytes, step), bytes);
        assert!(response.is_done());
    }
}

#[test]
fn a_row_may_look_like_an_end() {
    // A first column of 2^24 bytes starts with 0xFE; its packet is a full one.
    let mut row = vec![0xfe, 0, 0, 0, 1, 0, 0, 0, 0];
    row.resize(row.len() + (1 << 24), 0xfe);
    let bytes = wire(&[&[1], b"def", &row, OK_END]);
    let mut response = Response::new(Shape::Results, true);
    assert_eq!(relay(&mut response, &bytes, 60_000), bytes);
    assert!(response.is_done());
    assert_eq!(response.summary().rows, 1);
}

#[test]
fn tracking_is_taken_out_in_place() {
    let bytes = wire(&[&[1], b"def", b"\x01x", TRACKED_END]);
    let expected = wire(&[&[1], b"def", b"\x01x", OK_END]);
    for step in 1..bytes.len() + 1 {
        let mut response = Response::new(Shape::Results, true);
        assert_eq!(relay(&mut response, &bytes, step), expected);
        assert_eq!(response.summary().tracked.len(), 1);
    }
}

#[test]
fn a_prepare_response_has_both_lists_and_the_clients_id() {
    let ok = [0, 9, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0];
    let mut told = ok;
    told[1] = 42;
    for deprecates_eof in [false, true] {
        let lists: &[&[u8]] = if deprecates_eof {
            &[b"param", b"col", b"col"]
        } else {
            &[b"param", EOF, b"col", b"col", EOF]
        };
        let bytes = wire(&[&[&ok[..]], lists].concat());
        let mut response = Response::new(Shape::Prepared, deprecates_eof);
        response.tell_id(42);
        let expected = wire(&[&[&told[..]], lists].concat());
        assert_eq!(relay(&mut response, &bytes, 5), expected);
        assert!(response.is_done());
        assert_eq!(response.summary().prepared, Some((9, 2, 1)));
    }
}

#[test]
fn a_response_is_done_with_its_last_byte_and_not_before() {
    let ok = [0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let bytes = wire(&[&ok, b"a column"]);
    for cut in 0..bytes.len() {
        let mut response = Response::new(Shape::Prepared, true);
        response.tell_id(42);
        let mut piece = bytes[..cut].to_vec();
        let advance = response.advance(&mut piece).expect("legal");
        assert!(!response.is_done() && advance.next == Next::More, "{cut} bytes");
        let mut rest = bytes[advance.ready..].to_vec();
        assert_eq!(response.advance(&mut rest).expect("legal").next, Next::Done);
        assert!(response.is_done());
    }
}

#[test]
fn a_file_is_asked_for_and_then_answered() {
    let mut response = Response::new(Shape::Results, true);
    let mut ask = wire(&[b"\xfbfile.csv"]);
    let advance = response.advance(&mut ask).expect("legal");
    assert_eq!((advance.ready, advance.next), (ask.len(), Next::Infile));
    response.infile_sent();
    let mut end = wire(&[&status::ok(Status::AUTOCOMMIT, 0)]);
    assert_eq!(response.advance(&mut end).expect("legal").next, Next::Done);
}

#[test]
fn an_error_alone_can_still_be_kept_back() {
    let mut response = Response::new(Shape::Results, true);
    let mut error = wire(&[&status::err(1290, "HY000", "read-only")]);
    response.advance(&mut error).expect("legal");
    assert!(response.is_only_an_error());
    let mut response = Response::new(Shape::Results, true);
    let mut late = wire(&[&[1], b"def", &status::err(1317, "70100", "interrupted")]);
    response.advance(&mut late).expect("legal");
    assert!(!response.is_only_an_error() && response.is_done());
}

#[test]
fn a_cursor_ends_after_its_columns() {
    let bytes = wire(&[&[1], b"def", &[0xfe, 0, 0, 0x42, 0]]);
    let mut response = Response::new(Shape::Results, false);
    response.may_open_cursor(true);
    assert_eq!(relay(&mut response, &bytes, 3), bytes);
    assert!(response.is_done());
}

#[test]
fn rows_follow_where_only_a_routine_has_had_a_cursor() {
    let bytes = wire(&[&[1], b"def", &[0xfe, 0, 0, 0x42, 0], b"\x011", &[0xfe, 0, 0, 0x42, 0]]);
    let mut response = Response::new(Shape::Results, false);
    assert_eq!(relay(&mut response, &bytes, 3), bytes);
    assert!(response.is_done());
    assert_eq!(response.into_summary().rows, 1);
}

proptest! {
    #[test]
    fn garbage_never_panics(mut bytes: Vec<u8>, deprecates_eof: bool, shape in 0..6_u8) {
        let shape = [Shape::Nothing, Shape::Results, Shape::Prepared, Shape::Fields, Shape::Rows,
            Shape::Text][usize::from(shape)];
        let mut response = Response::new(shape, deprecates_eof);
        if let Ok(advance) = response.advance(&mut bytes) {
            prop_assert!(advance.ready <= advance.length && advance.length <= bytes.len());
        }
    }
}

#[test]
fn metadata_are_followed_only_where_they_follow() {
    // Count and flag, [EOF], a row, the end; as MySQL 9.7 sends it.
    let modern = wire(&[b"\x01\0", b"\x011", b"\xfe\0\0\x02\0\0\0"]);
    let classic = wire(&[b"\x01\0", b"\xfe\0\0\x02\0", b"\x011", b"\xfe\0\0\x02\0"]);
    let full = wire(&[b"\x01\x01", b"\x03def", b"\x011", b"\xfe\0\0\x02\0\0\0"]);
    for (mut bytes, deprecates) in [(modern, true), (classic, false), (full, true)] {
        let mut response = Response::new(Shape::Results, deprecates);
        let advance = response.advance(&mut bytes).expect("legal");
        assert_eq!((advance.next, advance.ready), (Next::Done, bytes.len()));
        assert_eq!(response.summary().rows, 1);
    }
    // Two parameters, a column, no metadata.
    let ok = b"\0\x04\0\0\0\x01\0\x02\0\0\0\0\0";
    let eof = b"\xfe\0\0\x02\0";
    for (mut bytes, deprecates) in [(wire(&[ok]), true), (wire(&[ok, eof, eof]), false)] {
        let mut response = Response::new(Shape::Prepared, deprecates);
        response.tell_id(1);
        let advance = response.advance(&mut bytes).expect("legal");
        assert_eq!((advance.next, advance.ready), (Next::Done, bytes.len()));
    }
}

/// Like [`relay`], for responses in which packets grow.
fn relay_growing(response: &mut Response, bytes: &[u8], step: usize) -> Vec<u8> {
    let (mut held, mut sent) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            let advance = response.advance(&mut held).expect("legal");
            sent.extend_from_slice(&held[..advance.ready]);
            held.truncate(advance.length);
            held.drain(..advance.ready);
            let Next::Instead(skipped) = advance.next else { break };
            held.drain(..skipped);
            sent.extend(response.take_instead());
        }
    }
    assert!(held.is_empty());
    sent
}

fn lacks(packets: &[u8]) -> Expected {
    Expected { lacking: Some(packets.into()), known: None }
}

#[test]
fn definitions_a_client_has_are_left_out_and_what_follows_is_renumbered() {
    let known = Some(Metadata::new(wire(&[b"def a", b"def b"])).digest);
    for deprecates_eof in [false, true] {
        let end: &[&[u8]] = if deprecates_eof { &[] } else { &[EOF] };
        let rows: &[&[u8]] = &[b"\x01x\x01y", if deprecates_eof { OK_END } else { EOF }];
        let answer = |head: &[&[u8]]| wire(&[head, end, rows].concat());
        let whole = answer(&[&[2, 1], b"def a", b"def b"]);
        let others = answer(&[&[2, 1], b"def a", b"def c"]);
        let refused = wire(&[&[2, 1], b"def a", b"\xff\x01\x04#HY000no"]);
        for (sent, expected) in
            [(&whole, &answer(&[&[2, 0]])), (&others, &others), (&refused, &refused)]
        {
            for step in 1..=sent.len() {
                let mut response = Response::new(Shape::Results, deprecates_eof);
                response.keep_definitions(Expected { lacking: None, known });
                assert_eq!(&relay_growing(&mut response, sent, step), expected);
                assert!(response.is_done());
                let kept = response.summary().definitions.as_slice();
                assert!(sent == &refused || kept == &sent[6..6 + 2 * 9]);
            }
        }
    }
}

#[test]
fn definitions_a_client_lacks_are_put_in_and_what_follows_is_renumbered() {
    let lacking = wire(&[b"def a", b"def b"]);
    for deprecates_eof in [false, true] {
        let (short, whole): (Vec<u8>, Vec<u8>) = match deprecates_eof {
            true => (
                wire(&[&[2, 0], b"\x01x\x01y", TRACKED_END]),
                wire(&[&[2, 1], b"def a", b"def b", b"\x01x\x01y", OK_END]),
            ),
            false => (
                wire(&[&[2, 0], EOF, b"\x01x\x01y", EOF]),
                wire(&[&[2, 1], b"def a", b"def b", EOF, b"\x01x\x01y", EOF]),
            ),
        };
        for step in 1..=short.len() {
            let mut response = Response::new(Shape::Results, deprecates_eof);
            response.keep_definitions(lacks(&lacking));
            assert_eq!(relay_growing(&mut response, &short, step), whole);
            assert!(response.is_done());
            assert_eq!(response.summary().definitions, lacking);
            // The command came in one packet more than it was sent in.
            let mut response = Response::new(Shape::Results, deprecates_eof);
            response.keep_definitions(lacks(&lacking));
            response.shift_ids(1);
            let mut later = whole.clone();
            renumber(&mut later, 2);
            assert_eq!(relay_growing(&mut response, &short, step), later);
            // What the server sends is kept, and nothing is put in.
            let mut response = Response::new(Shape::Results, deprecates_eof);
            response.keep_definitions(lacks(b"none"));
            assert_eq!(relay_growing(&mut response, &whole, step), whole);
            assert_eq!(response.summary().definitions, whole[6..6 + 2 * 9]);
        }
    }
}

#[test]
fn only_columns_of_a_prepared_statement_are_kept() {
    let ok = |columns| [0, 9, 0, 0, 0, columns, 0, 1, 0, 0, 0, 0];
    for deprecates_eof in [false, true] {
        let end: &[&[u8]] = if deprecates_eof { &[] } else { &[EOF] };
        let (head, none) = (ok(1), ok(0));
        let bytes = wire(&[&[&head[..], b"parameter"], end, &[b"column"], end].concat());
        let mut response = Response::new(Shape::Prepared, deprecates_eof);
        response.keep_definitions(Expected::default());
        relay(&mut response, &bytes, 3);
        assert_eq!(&response.summary().definitions[4..], b"column");
        let bytes = wire(&[&[&none[..], b"parameter"], end].concat());
        let mut response = Response::new(Shape::Prepared, deprecates_eof);
        response.keep_definitions(Expected::default());
        relay(&mut response, &bytes, 3);
        assert!(response.is_done() && response.summary().definitions.is_empty());
    }
}

#[test]
fn a_report_of_progress_ends_nothing_where_it_may_come() {
    let report = b"\xff\xff\xff\x01\x01\x02\x10\x27\x00\x05stage";
    let ok = [0, 1, 0, 2, 0, 0, 0];
    let more: &[u8] = &[0xfe, 0, 0, 0x0a, 0, 0, 0];
    let modern = [report.as_slice(), &[1], b"def", report, b"\x01x", report, more, report, &ok];
    let classic = [report.as_slice(), &[1], b"def", EOF, report, b"\x01x", EOF_MORE, report, &ok];
    for (packets, capabilities) in
        [(&modern, Capabilities::DEPRECATE_EOF), (&classic, Capabilities::empty())]
    {
        let bytes = wire(packets);
        for step in 1..=bytes.len() {
            let asked = capabilities | Capabilities::MARIADB_PROGRESS;
            let mut response = Response::on(Shape::Results, asked);
            assert_eq!(relay(&mut response, &bytes, step), bytes);
            assert!(response.is_done());
            assert_eq!((response.summary().error, response.summary().rows), (None, 1));
        }
    }
    // Without the flag it is an error like any other.
    let mut response = Response::on(Shape::Results, Capabilities::empty());
    relay(&mut response, &wire(&[report]), 99);
    assert_eq!((response.is_done(), response.summary().error), (true, Some(PROGRESS)));
}
