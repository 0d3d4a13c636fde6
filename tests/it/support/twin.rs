//! A session through Fairlane next to one straight on the server: every packet has to be the same.

use fairlane::protocol::Command;

use super::raw::Raw;
use super::{Proxy, servers};

/// Two sessions that do the same, each on tables of its own.
#[derive(Debug)]
pub struct Twin {
    pub through: Raw,
    pub direct: Raw,
    pub index: usize,
    pub in_transaction: bool,
    /// What it did so far, for the reader of a failure.
    done: Vec<String>,
}

impl Twin {
    pub fn new(proxy: &Proxy, index: usize) -> Self {
        let direct =
            Raw::connect(servers().primary, "app", "app-secret", Some("shop")).expect("a login");
        Self { through: proxy.app(), direct, index, in_transaction: false, done: Vec::new() }
    }

    /// Runs a statement on both ways and compares the packets. `NAME_X` stands for a name that
    /// only this session uses on this way; the names of both ways are equally long.
    pub fn both(&mut self, sql: &str) {
        let Self { through, direct, index, done, .. } = self;
        done.push(sql.to_owned());
        let last = &done[done.len().saturating_sub(24)..];
        let through = said(through, sql, &format!("_p{index}"));
        let direct = said(direct, sql, &format!("_d{index}"));
        assert_eq!(through, direct, "session {index}: {last:#?}");
    }

    /// Likewise with a statement that is prepared first.
    pub fn both_prepared(&mut self, sql: &str) {
        let Self { through, direct, index, done, .. } = self;
        done.push(format!("prepared: {sql}"));
        let last = &done[done.len().saturating_sub(24)..];
        let through = said_prepared(through, sql, &format!("_p{index}"));
        let direct = said_prepared(direct, sql, &format!("_d{index}"));
        assert_eq!(through, direct, "session {index}: {last:#?}");
    }
}

/// The packets of the answers to PREPARE and EXECUTE, without the statement's id and names.
fn said_prepared(raw: &mut Raw, sql: &str, name: &str) -> Vec<String> {
    let sql = sql.replace("_X", name);
    let answer = raw.command(Command::StmtPrepare, sql.as_bytes()).expect("an answer");
    let mut packets = answer.packets();
    if let Some((id, ..)) = answer.summary.prepared {
        packets[0][1..5].fill(0);
        let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        packets.extend(raw.command(Command::StmtExecute, &body).expect("an answer").packets());
        raw.send(Command::StmtClose, &id.to_le_bytes());
    }
    let text = |packet: Vec<u8>| packet.escape_ascii().to_string().replace(name, "_X");
    packets.into_iter().map(text).collect()
}

/// The answer's packets, with the session's names taken out.
fn said(raw: &mut Raw, sql: &str, name: &str) -> Vec<String> {
    let sql = sql.replace("_X", name);
    let answer = raw.command(Command::Query, sql.as_bytes()).expect("an answer");
    let text = |packet: Vec<u8>| packet.escape_ascii().to_string().replace(name, "_X");
    answer.packets().into_iter().map(text).collect()
}
