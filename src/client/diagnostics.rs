//! What a session's last statement left to ask about: insert id, row counts, warnings.
//!
//! On a shared connection these would be those of whoever used it last, so the session keeps its
//! own record and answers from it.

pub(super) mod conditions;
pub(super) mod insert_id;
pub(super) mod warnings;

use std::sync::Arc;

use super::{Session, Stop};
use crate::backend::{Connection, Exchange, Failure, UnreadId};
use crate::error::Error;
use crate::protocol::response::Summary;
use crate::protocol::wire::{Cursor, put_lenenc_bytes};
use crate::protocol::{Capabilities, Command, Encoding, packet, status};
use crate::sql::Substitution;

/// The record of one session.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    /// What LAST_INSERT_ID() returns.
    pub(super) insert_id: u64,
    /// The last statement on the held connection may have changed LAST_INSERT_ID().
    pub(super) is_insert_id_stale: bool,
    /// The connection was not given the session's LAST_INSERT_ID() before the statement, a plain read:
    /// where the session keeps it all the same, that has to be made up for.
    pub(super) is_insert_id_owed: bool,
    /// The session's LAST_INSERT_ID() where it was left unread: newer than `insert_id`.
    pub(super) unread: Option<Arc<UnreadId>>,
    /// The id that an OK packet has told since LAST_INSERT_ID() was read.
    pub(super) reported_id: Option<u64>,
    /// What @@last_gtid is: domain, server and sequence number (MariaDB).
    pub(super) last_gtid: Option<(u32, u32, u64)>,
    /// The held connection knows that better: nobody has told it.
    pub(super) is_gtid_held: bool,
    /// What ROW_COUNT() returns.
    row_count: i64,
    /// What FOUND_ROWS() returns.
    found_rows: u64,
    /// The held connection knows FOUND_ROWS(): a statement on it has set it, and nothing of Fairlane's own
    /// has run there since that would set it to something else.
    is_found_rows_held: bool,
    /// A statement on the held connection has set FOUND_ROWS() to what no packet told.
    is_found_rows_stale: bool,
    /// The held connection knows ROW_COUNT(): the last statement has run there, and nothing of Fairlane's
    /// own since.
    is_row_count_held: bool,
    /// The held connection may have warnings.
    pub(super) are_on_connection: bool,
    /// The connection has a mark in the place of the list that was saved.
    pub(super) is_marked: bool,
    /// The answer to SHOW WARNINGS, when there is anything to show.
    pub(super) warnings: Option<Saved>,
    /// SQLSTATE of the last error.
    pub(super) sqlstate: [u8; 5],
    /// Conditions of the last statement, which MySQL tells again with answers to commands that are
    /// none; 0 on MariaDB.
    pub(super) conditions: u16,
    /// The last error, when it was not the answer of a connection: newer than `warnings`.
    pub(super) own_error: Option<Error>,
}

/// What a question of Fairlane's own makes a connection forget of the session's last statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbs {
    /// ROW_COUNT(), as everything does.
    RowCount,
    /// FOUND_ROWS() as well, as what has rows does.
    Both,
}

/// A kept answer to SHOW WARNINGS.
#[derive(Debug)]
pub(super) struct Saved {
    /// Its packets.
    pub(super) packets: Box<[u8]>,
    /// Its rows, and those that it had no room for (`max_error_count`).
    pub(super) count: u64,
    /// Errors among them.
    pub(super) errors: u64,
}

/// Whether a normalised text is SHOW WARNINGS or SHOW ERRORS in any form but SHOW COUNT(*).
pub(super) fn is_list(text: &str) -> bool {
    text.starts_with("show warnings") || text.starts_with("show errors")
}

impl Saved {
    /// The answer to SHOW WARNINGS or SHOW ERRORS: of its rows `most`, after so many that are left out.
    /// `end` is the packet that ends columns and rows now; `rows` their form.
    fn listed(
        &self,
        (skipped, most): (u64, u64),
        only_errors: bool,
        end: &[u8],
        rows: Form,
    ) -> Vec<u8> {
        let mut rest = &self.packets[..];
        let definitions = if has_no_metadata(rest) { 0 } else { COLUMNS };
        let (mut out, mut sequence, mut index, mut row) = (Vec::new(), 1, 0, 0);
        while let Ok(framed) = packet::frame(rest) {
            let payload = &rest[packet::HEADER..framed.wire_length];
            rest = &rest[framed.wire_length..];
            let is_end = payload.first() == Some(&0xfe);
            let is_row = index > definitions && !is_end;
            index += 1;
            if is_row {
                if only_errors && !is_error(payload) {
                    continue;
                }
                row += 1;
                if row <= skipped || row > skipped.saturating_add(most) {
                    continue;
                }
            }
            let binary = (is_row && rows == Form::Binary).then(|| binary_row(payload)).flatten();
            let payload = binary.as_deref().unwrap_or(if is_end { end } else { payload });
            sequence = packet::put(&mut out, sequence, payload);
        }
        out
    }
}

/// The form of rows: that of COM_QUERY or that of COM_STMT_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary,
}

/// A row of SHOW WARNINGS as a prepared statement has it: the code is an INT. `None` if the row is
/// none.
fn binary_row(text: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(text);
    let level = cursor.lenenc_bytes("level").ok()?;
    let code: u32 = Encoding::of(level).read(cursor.lenenc_bytes("code").ok()?).parse().ok()?;
    let message = cursor.lenenc_bytes("message").ok()?;
    // No column is NULL.
    let mut row = vec![0, 0];
    put_lenenc_bytes(&mut row, level);
    row.extend_from_slice(&code.to_le_bytes());
    put_lenenc_bytes(&mut row, message);
    Some(row)
}

/// Whether a result set in packets comes without its metadata.
fn has_no_metadata(packets: &[u8]) -> bool {
    matches!(packets.get(packet::HEADER..), Some([_, 0, ..])) && packets[0] == 2
}

/// Columns of SHOW WARNINGS: level, code, message.
const COLUMNS: usize = 3;

/// Whether a packet is the row of an error.
pub(super) fn is_error(row: &[u8]) -> bool {
    // The level, with its length before it.
    row.get(1..).is_some_and(|level| {
        let written = Encoding::of(level).write("Error");
        usize::from(row[0]) == written.len() && level.starts_with(&written)
    })
}

impl Diagnostics {
    /// The result set whose rows were counted has passed over so many.
    pub(super) fn note_skipped(&mut self, skipped: u64) {
        match self.found_rows.checked_add(skipped) {
            // How many there were to pass over is known if there was one behind them.
            Some(found) if self.found_rows > 0 || skipped == 0 => self.found_rows = found,
            _ => self.is_found_rows_stale = true,
        }
    }

    /// Takes over what a response told; `counts_rows`: its rows are found rows.
    pub(super) fn note(&mut self, summary: &Summary, counts_rows: bool) {
        if counts_rows {
            self.found_rows = summary.rows;
            self.is_found_rows_stale = false;
        }
        if summary.error.is_some() {
            self.sqlstate = summary.sqlstate;
            return;
        }
        self.is_insert_id_stale |= summary.insert_id != 0;
        if summary.insert_id != 0 {
            self.reported_id = Some(summary.insert_id);
        }
    }

    /// Takes over ROW_COUNT() of a statement that sets it, from its response.
    pub(super) fn note_counted(&mut self, summary: &Summary) {
        let is_told = summary.has_status || summary.error.is_some();
        match summary.affected.filter(|_| summary.error.is_none()) {
            Some(affected) => self.row_count = i64::try_from(affected).unwrap_or(i64::MAX),
            None if is_told => self.row_count = -1,
            None => {}
        }
        self.is_row_count_held |= is_told;
    }

    /// Takes over an error that no connection has answered.
    pub(super) fn note_own(&mut self, error: &Error) {
        let (_, sqlstate) = error.code();
        self.sqlstate = sqlstate.as_bytes().try_into().unwrap_or_default();
        self.own_error = Some(error.clone());
        self.note_row_count(-1);
    }

    /// Takes over what @@last_gtid is told to be.
    pub(super) fn note_gtid(&mut self, value: &str) {
        self.is_gtid_held = false;
        let mut parts = value.split('-');
        let mut part = || parts.next()?.parse::<u64>().ok();
        let numbers = part().zip(part()).zip(part());
        self.last_gtid = numbers.and_then(|((domain, server), number)| {
            Some((domain.try_into().ok()?, server.try_into().ok()?, number))
        });
    }

    /// What ROW_COUNT() returns after an answer of Fairlane's own.
    pub(super) fn note_row_count(&mut self, row_count: i64) {
        self.row_count = row_count;
        self.is_row_count_held = false;
    }

    /// Takes over ROW_COUNT() of what has failed on the held connection without an error in its answer.
    pub(super) fn note_failed(&mut self) {
        (self.row_count, self.is_row_count_held) = (-1, true);
    }

    /// What ROW_COUNT() returns.
    pub(super) fn row_count(&self) -> i64 {
        self.row_count
    }

    /// ROW_COUNT() is still so, whatever the last answer was: that of a statement before the session's last one.
    pub(super) fn keep_row_count(&mut self, row_count: i64) {
        self.is_row_count_held &= self.row_count == row_count;
        self.row_count = row_count;
    }

    /// What FOUND_ROWS() returns, told by no statement of the client's on the held connection.
    pub(super) fn note_found_rows(&mut self, found_rows: u64) {
        self.found_rows = found_rows;
        self.is_found_rows_stale = false;
        self.is_found_rows_held = false;
    }

    /// A statement has set FOUND_ROWS() on the held connection, too.
    pub(super) fn note_found_there(&mut self) {
        self.is_found_rows_held = true;
    }

    /// A statement has set FOUND_ROWS() on the held connection, and no packet told to what.
    pub(super) fn note_found_unseen(&mut self) {
        self.is_found_rows_stale = true;
        self.is_found_rows_held = true;
    }

    /// The held connection is asked something by Fairlane.
    pub(super) fn disturb(&mut self, disturbs: Disturbs) {
        self.is_row_count_held = false;
        self.is_found_rows_held &= disturbs == Disturbs::RowCount;
    }

    /// What FOUND_ROWS() returns, unless it is stale.
    pub(super) fn found_rows(&self) -> u64 {
        self.found_rows
    }

    /// Whether only the held connection knows FOUND_ROWS().
    pub(super) fn is_found_rows_stale(&self) -> bool {
        self.is_found_rows_stale
    }

    /// Whether the held connection answers FOUND_ROWS() as it should.
    pub(super) fn is_found_rows_held(&self) -> bool {
        self.is_found_rows_held
    }

    /// Whether the held connection answers ROW_COUNT() as it should.
    pub(super) fn is_row_count_held(&self) -> bool {
        self.is_row_count_held
    }

    /// Whether the last statement has left nothing to show.
    pub(super) fn have_no_list(&self) -> bool {
        self.warnings.is_none()
            && !self.are_on_connection
            && self.own_error.is_none()
            && self.conditions == 0
    }

    /// The session's last statement has left nothing to be shown here.
    pub(super) fn end_list(&mut self) {
        (self.warnings, self.own_error, self.conditions) = (None, None, 0);
    }

    /// Whether the session's last statement has left nothing to be shown.
    pub(super) fn is_clear(&self) -> bool {
        self.warnings.is_none() && self.own_error.is_none() && self.conditions == 0
    }

    /// Whether the list of warnings is here and not on a connection: it is true until a statement
    /// brings something newer, see `settle`.
    pub(super) fn are_saved(&self) -> bool {
        self.warnings.is_some() && !self.are_on_connection
    }

    /// Whether the list of warnings on the held connection is that of the session's last statement, of
    /// which an error does not tell how long it is.
    pub(super) fn has_last_list_there(&self) -> bool {
        self.are_on_connection && self.own_error.is_none() && self.conditions > 0
    }

    /// The session is on a connection that nothing of it has run on yet.
    pub(super) fn forget_held(&mut self) {
        self.is_found_rows_held = false;
        self.is_found_rows_stale = false;
        self.is_row_count_held = false;
        self.is_gtid_held = false;
        self.are_on_connection = false;
    }

    /// What both kinds of reset leave: FOUND_ROWS().
    pub(super) fn after_reset(&self) -> Self {
        Self { found_rows: self.found_rows, ..Self::default() }
    }

    /// The values that stand for function calls in a statement text.
    pub(super) fn substitution(&self, connection_id: u32) -> Substitution {
        let (warning_count, error_count) =
            self.warnings.as_ref().map_or((0, 0), |saved| (saved.count, saved.errors));
        Substitution {
            row_count: self.row_count,
            found_rows: self.found_rows,
            connection_id: u64::from(connection_id),
            warning_count,
            error_count,
            last_gtid: self.last_gtid,
        }
    }
}

impl Session {
    /// Asks the session's connection something of Fairlane's own: the one way to do so once a statement of
    /// the client's has run there.
    pub(super) async fn ask(
        &mut self,
        connection: &mut Connection,
        question: &str,
        disturbs: Disturbs,
    ) -> Result<Exchange, Failure> {
        self.diagnostics.disturb(disturbs);
        connection.query(question).await
    }

    /// Asks the session's connection for nothing but its status flags, and what it has to tell.
    pub(super) async fn ping(&mut self, connection: &mut Connection) -> Result<Exchange, Failure> {
        self.diagnostics.disturb(Disturbs::RowCount);
        connection.command(Command::Ping, b"").await
    }

    /// Answers a statement about the diagnostics of the previous one, when no connection is held
    /// that knows them. `None` when a connection has to answer.
    pub(super) async fn answer_diagnostics(
        &mut self,
        sql: &[u8],
        form: Form,
    ) -> Result<Option<Result<(), Stop>>, Stop> {
        if self.held.is_some() && !self.diagnostics.are_saved() {
            return Ok(None);
        }
        let text = crate::sql::digest_text(sql, self.mode).to_ascii_lowercase();
        let text = text.trim_end_matches([';', ' ']);
        let (count, errors) =
            self.diagnostics.warnings.as_ref().map_or((0, 0), |saved| (saved.count, saved.errors));
        let number = match text {
            _ if is_list(text) => {
                // On a connection, which at rest has none, there is nothing to show.
                if self.diagnostics.warnings.is_none() {
                    return Ok(None);
                }
                self.settle_status().await?;
                let end = self.end_of_rows();
                let Some(saved) = &self.diagnostics.warnings else { return Ok(None) };
                let limit = crate::sql::list_limit(sql, self.mode);
                let packets = saved.listed(limit, text.starts_with("show errors"), &end, form);
                self.wire.push_raw(&packets);
                self.diagnostics.conditions = 0;
                self.diagnostics.note_row_count(-1);
                self.count_local();
                return Ok(Some(Ok(())));
            }
            "select @@warning_count" | "select @@session.warning_count" => count,
            "select @@error_count" | "select @@session.error_count" => errors,
            _ if text.starts_with("show count") && text.contains("warnings") => count,
            _ if text.starts_with("show count") && text.contains("errors") => errors,
            _ => return Ok(None),
        };
        if self.image.get("sql_select_limit") == Some("0") {
            // There is no row to tell it in.
            return Ok(None);
        }
        let name = match text {
            _ if text.starts_with("show count") && text.contains("warnings") => {
                "@@session.warning_count"
            }
            _ if text.starts_with("show count") => "@@session.error_count",
            // The column has the name as it was written.
            _ => &String::from_utf8_lossy(crate::sql::variable_written(sql, self.mode)),
        };
        self.settle_status().await?;
        self.send_number(name, number, form);
        self.diagnostics.conditions = 0;
        if !self.facts.is_mariadb() && text.starts_with("select") {
            // MySQL empties its list for a SELECT that tells how long it was.
            self.diagnostics.warnings = None;
        }
        self.count_local();
        Ok(Some(Ok(())))
    }

    /// Answers with one row and column, as a server answers for a system variable that counts.
    fn send_number(&mut self, name: &str, value: u64, form: Form) {
        let encoding = self.image.get("character_set_results").map(Encoding::named);
        let encoding = encoding.unwrap_or_default();
        let mut column = Vec::new();
        put_lenenc_bytes(&mut column, &encoding.write("def"));
        column.extend_from_slice(b"\0\0\0");
        put_lenenc_bytes(&mut column, &encoding.write(name));
        // No original name; no extended type.
        column.push(0);
        // Length of the rest, binary character set, 21 characters, BIGINT, UNSIGNED BINARY.
        if self.capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            column.push(0);
        }
        column.extend_from_slice(b"\x0c\x3f\0\x15\0\0\0\x08\xa0\0\0\0\0");
        let mut row = Vec::new();
        match form {
            Form::Text => {
                // MySQL writes all numbers alike.
                let encoding = if self.facts.is_mariadb() { encoding } else { Encoding::Ascii };
                put_lenenc_bytes(&mut row, &encoding.write(&value.to_string()));
            }
            Form::Binary => {
                row.extend_from_slice(&[0, 0]);
                row.extend_from_slice(&value.to_le_bytes());
            }
        }
        let end = self.end_of_rows();
        let wants_metadata = self.wants_metadata();
        let says_so = Capabilities::OPTIONAL_METADATA | Capabilities::MARIADB_CACHE_METADATA;
        match self.capabilities.intersects(says_so) {
            true => self.wire.push(&[1, u8::from(wants_metadata)]),
            false => self.wire.push(&[1]),
        }
        if wants_metadata {
            self.wire.push(&column);
        }
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.wire.push(&end);
        }
        self.wire.push(&row);
        self.wire.push(&end);
        self.diagnostics.note_row_count(-1);
        self.diagnostics.note_found_rows(1);
    }

    /// Whether result sets begin with their metadata (`resultset_metadata`, MySQL).
    fn wants_metadata(&self) -> bool {
        self.image.get("resultset_metadata").is_none_or(|wanted| wanted != "NONE")
    }

    /// The packet that ends rows, and for older clients columns.
    fn end_of_rows(&mut self) -> Vec<u8> {
        let status = self.idle_status();
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            return status::eof(status, 0);
        }
        let mut end = status::ok(status, 0);
        end[0] = 0xfe;
        self.told(end)
    }

    pub(super) fn count_local(&self) {
        let reason = crate::route::Reason::Local.index();
        self.context.metrics.routed(crate::metrics::Target::Local, reason).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_prepared_statements_have_a_number() {
        let row = binary_row(b"\x07Warning\x041265\x02ab");
        assert_eq!(row.as_deref(), Some(&b"\0\0\x07Warning\xf1\x04\0\0\x02ab"[..]));
        assert_eq!(binary_row(b"\x07Warning\x01x\x02ab"), None);
    }
}
