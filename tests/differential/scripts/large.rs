//! Rows and statements around the length at which a payload continues in another packet.

use crate::compare::{BOTH, MODERN, Script, check};
use crate::params::{VAR_STRING, null_as, text_as};
use crate::step::{bytes, execute, long_data, prepare, query};
use crate::support::{Proxy, servers};

/// Longest payload of one packet.
const FULL: usize = 0xff_ffff;

/// A statement whose payload has `length` bytes.
fn statement(length: usize) -> Vec<u8> {
    let frame = "\x03SELECT LENGTH('')".len();
    let text = "x".repeat(length - frame);
    format!("\x03SELECT LENGTH('{text}')").into_bytes()
}

#[test]
fn long_rows_and_statements_are_the_same() {
    let proxy = Proxy::start(servers());
    let mut steps = Vec::new();
    for length in [FULL - 1, FULL, FULL + 1, 2 * FULL] {
        let mut step = bytes(&statement(length));
        step.what = format!("a statement of {length} bytes");
        steps.push(step);
        // One column: the value and three or eight bytes more of its length.
        let value = length - if length - 4 > FULL { 9 } else { 4 };
        steps.push(query(format!("SELECT REPEAT('x', {value})")));
    }
    steps.push(query(format!("SELECT REPEAT('x', {}), 1", FULL - 4)));
    steps.push(query("SELECT ''"));
    check(&proxy, &[Script::new("long rows", steps)], BOTH);
}

#[test]
fn long_parameters_are_the_same() {
    let proxy = Proxy::start(servers());
    let half = vec![b'x'; FULL / 2];
    let mut full = text_as(VAR_STRING, &vec![b'y'; FULL]);
    let mut steps = vec![
        prepare(0, "SELECT LENGTH(?), ? IS NULL"),
        long_data(0, 0, &half),
        long_data(0, 0, &half),
        long_data(0, 0, &half),
        execute(0, &[null_as(VAR_STRING), null_as(VAR_STRING)]),
        execute(0, &[full.clone(), null_as(VAR_STRING)]),
    ];
    full.value.as_mut().unwrap().truncate(1000);
    steps.push(query("SELECT 'end'"));
    check(&proxy, &[Script::new("long parameters", steps)], &[MODERN]);
}
