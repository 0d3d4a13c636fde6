//! GET DIAGNOSTICS outside of routines, which reads what the statement before it has left on its
//! connection.
//!
//! Few clients use it. A session that has done so keeps its connection from then on while there are
//! conditions it may ask for. The first time the connection is gone: numbers come from the session's
//! record, and an error is raised once more.

use std::borrow::Cow;

use super::{Disturbs, is_error};
use crate::client::Session;
use crate::metrics::Closed;
use crate::pool::{Checkout, Retire};
use crate::protocol::wire::Cursor;
use crate::protocol::{Command, Encoding, packet};
use crate::sql;

impl Session {
    /// Makes `sql`, if it is a GET DIAGNOSTICS, find what it asks for: returns the text to run in
    /// its place, or holds a connection that has the error.
    pub(in crate::client) async fn find_conditions(&mut self, sql: &[u8]) -> Option<Vec<u8>> {
        let asked = sql::diagnostics_asked(sql, self.mode)?;
        self.asks_conditions = true;
        // What Fairlane has asked since has set ROW_COUNT() there, which alone may know how many conditions there are.
        let is_number_there =
            self.diagnostics.are_on_connection && self.diagnostics.warnings.is_none();
        let is_disturbed = asked == sql::Asked::Statement
            && !self.diagnostics.is_row_count_held()
            && sql::has_word(sql, b"row_count")
            && !(is_number_there && sql::has_word(sql, b"number"));
        if self.held.is_some() && !self.diagnostics.are_saved() && !is_disturbed {
            return None;
        }
        if asked == sql::Asked::Statement {
            if !self.facts.is_mariadb() {
                self.save_held_list().await;
            }
            let values = self.diagnostics.substitution(self.entry.id);
            let set = sql::get_diagnostics_as_set(sql, self.mode, &values)?;
            // A SET has another ROW_COUNT() there.
            self.diagnostics.disturb(Disturbs::RowCount);
            return Some(set);
        }
        if let Some(signal) = self.signal_of_error() {
            self.hold_with(&signal).await;
        }
        None
    }

    /// Before a SET that makes MySQL empty the list on the connection that is held.
    async fn save_held_list(&mut self) {
        if !self.diagnostics.are_on_connection {
            return;
        }
        if let Some(mut held) = self.held.take() {
            // When it can't be had, the connection is gone, and with it all else.
            let _ = Box::pin(self.learn_all(held.connection(), None)).await;
            self.held = Some(held);
        }
    }

    /// The SIGNAL that raises the last error again, where it is the only condition.
    fn signal_of_error(&self) -> Option<String> {
        let saved = self.diagnostics.warnings.as_ref()?;
        if (saved.count, saved.errors) != (1, 1) {
            return None;
        }
        let (code, message) = saved.only_error()?;
        // What a SIGNAL takes of a message.
        let longest = if self.facts.is_mariadb() { 512 } else { 128 };
        let sqlstate = std::str::from_utf8(&self.diagnostics.sqlstate).ok()?;
        if message.chars().count() > longest || sqlstate < "02" {
            return None;
        }
        Some(signal(sqlstate, code, message.as_bytes()))
    }

    /// Holds a connection, of the primary if there is none yet, on which `statement` has run last. What goes
    /// wrong is found by the statement that comes next.
    async fn hold_with(&mut self, statement: &str) {
        if let Some(mut held) = self.held.take() {
            held.connection().residue.is_dirty = true;
            let raised = self.raise(held.connection(), statement).await;
            self.diagnostics.are_on_connection |= matches!(raised, Ok(true));
            self.held = Some(held);
            return;
        }
        let Ok(mut checkout) = self.check_out_to_go_on(true).await else { return };
        match self.raise_on(&mut checkout, statement).await {
            true => {
                self.begun = None;
                self.diagnostics.forget_held();
                self.diagnostics.are_on_connection = true;
                self.held = Some(checkout);
            }
            false => checkout.discard(Retire::Quit(Closed::Broken)),
        }
    }

    async fn raise_on(&mut self, checkout: &mut Checkout, statement: &str) -> bool {
        let connection = checkout.connection();
        let is_ready = matches!(self.move_in(connection).await, Ok(Ok(())))
            && self.begin_beside(connection).await;
        connection.residue.is_dirty = true;
        // Its error may be any.
        is_ready && connection.command(Command::Query, statement.as_bytes()).await.is_ok()
    }
}

/// The SIGNAL that raises an error.
pub(in crate::client) fn signal(sqlstate: &str, code: u32, message: &[u8]) -> String {
    let message: String = message.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "SIGNAL SQLSTATE '{sqlstate}' SET MYSQL_ERRNO = {code}, \
         MESSAGE_TEXT = _utf8mb4 X'{message}'"
    )
}

impl super::Saved {
    /// Code and message of the error that is the only row.
    fn only_error(&self) -> Option<(u32, Cow<'_, str>)> {
        let mut rest = &self.packets[..];
        while let Ok(framed) = packet::frame(rest) {
            let payload = &rest[packet::HEADER..framed.wire_length];
            rest = &rest[framed.wire_length..];
            if is_error(payload) {
                let mut cursor = Cursor::new(payload);
                let encoding = Encoding::of(cursor.lenenc_bytes("level").ok()?);
                let code = encoding.read(cursor.lenenc_bytes("code").ok()?).parse().ok()?;
                let message = cursor.lenenc_bytes("message").ok()?;
                // Any other character set than UTF-8 is not to be guessed.
                return match encoding {
                    Encoding::Ascii => Some((code, std::str::from_utf8(message).ok()?.into())),
                    _ => Some((code, encoding.read(message))),
                };
            }
        }
        None
    }
}
