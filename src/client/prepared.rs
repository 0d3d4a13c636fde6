//! The binary protocol: statements prepared by the client, run on whatever connection there is.

pub(super) mod answers;
pub(super) mod description;
pub(super) mod prepare;
pub(super) mod prepare_here;

use std::borrow::Cow;
use std::sync::Arc;

use super::diagnostics::Form;
use super::statement::execute::{is_call, opens_cursor};
use super::statement::{PreparedWork, Work};
use super::{Session, Stop};
use crate::backend::Connection;
use crate::error::Error;
use crate::pool::Checkout;
use crate::protocol::metadata::{Expected, Metadata};
use crate::protocol::response::Summary;
use crate::protocol::status::Status;
use crate::protocol::{Capabilities, Command, code};
use crate::route::view::BackendId;
use crate::sql::{Class, Effects, Hint, Mode, Needs, Reason, Verdict, changes_rows};
use crate::state::Pin;
use crate::state::prepared::{
    BULK_HEADER, EXECUTE_HEADER, Statement, StatementKey, asks_units, number_bit,
};
use prepare::JustPrepared;

/// A statement that a command of the binary protocol is about.
struct Found {
    /// The client's id.
    id: u32,
    key: Arc<StatementKey>,
    verdict: Verdict,
    /// How its text is read.
    mode: Mode,
}

impl Session {
    /// Whether user variables that a text may name have for all executions the types they have when
    /// it is prepared, as on MySQL.
    pub(super) fn has_typed_variables(&self, sql: &[u8]) -> bool {
        !self.facts.is_mariadb() && sql.contains(&b'@')
    }

    /// COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE, COM_STMT_FETCH, COM_STMT_RESET,
    /// COM_STMT_SEND_LONG_DATA.
    pub(super) async fn run_prepared(
        &mut self,
        command: Command,
        payload: &[u8],
    ) -> Result<(), Stop> {
        if let Some(error) = self.unlike_an_execute(command, payload) {
            return self.send_error(&error).await;
        }
        let found = match self.find_statement(command, payload) {
            Ok(found) => found,
            Err(Some(error)) => return self.send_error(&error).await,
            Err(None) => return Ok(()),
        };
        match command {
            Command::StmtFetch => self.fetch(found, payload).await,
            Command::StmtReset => self.reset_statement(found, payload).await,
            Command::StmtSendLongData => self.send_long_data(found, payload).await,
            _ => self.execute_prepared(command, found, payload).await,
        }
    }

    /// The statement a command is about, or what it is answered instead: an error, or nothing.
    fn find_statement(&mut self, command: Command, payload: &[u8]) -> Result<Found, Option<Error>> {
        let sent = payload.get(1..5);
        let sent = sent.map_or(0, |id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]));
        let id = if self.facts.is_mariadb() { self.statements.resolve(sent) } else { sent };
        let Some(statement) = self.statements.get_mut(id) else {
            let is_silent = command == Command::StmtSendLongData;
            let command = command.statement_name(self.facts.family);
            return Err((!is_silent).then_some(Error::UnknownStatement { id: sent, command }));
        };
        statement.older_types = None;
        let (key, verdict, mode) =
            (statement.key.clone(), statement.verdict.clone(), statement.mode);
        match self.told_of_spoilt_data(id, command) {
            Some(told) => Err(told),
            None => Ok(Found { id, key, verdict, mode }),
        }
    }

    /// COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE.
    async fn execute_prepared(
        &mut self,
        command: Command,
        found: Found,
        payload: &[u8],
    ) -> Result<(), Stop> {
        let Found { id, mut key, mut verdict, mode } = found;
        let mut payload = Cow::Borrowed(payload);
        if command == Command::StmtExecute && verdict.shows_diagnostics() {
            // Servers open none for it, and it may run on another connection than the last one.
            payload.to_mut()[5] &= !CURSOR;
        }
        let has_cursor = payload.get(5).is_some_and(|flags| flags & CURSOR != 0);
        if command == Command::StmtBulkExecute || has_cursor {
            // A cursor lives on its connection, which must be one it can stay on.
            verdict.class = Class::Write;
        }
        if command == Command::StmtExecute && self.diagnostics.are_on_connection {
            self.save_list_to_prepare(id, &verdict).await;
        }
        if !self.long_data.contains(&id)
            && let Some(sql) = self.substitute_in_prepared(&verdict, &key, mode)
        {
            key = Arc::new(key.with_text(sql.into()));
        }
        if command == Command::StmtExecute && verdict.class == Class::Diagnostics {
            if let Some(error) = self.diagnostics.own_error.take() {
                Box::pin(self.show_own(&error, true)).await?;
            }
            if let Some(answered) = self.answer_diagnostics(&key.sql, Form::Binary).await? {
                return answered;
            }
            if let Some(sql) = Box::pin(self.find_conditions(&key.sql)).await {
                key = Arc::new(key.with_text(sql.into()));
            }
        }
        self.run_work(&work_of(command, id, &key, &verdict, &payload)).await
    }

    /// COM_STMT_FETCH.
    async fn fetch(
        &mut self,
        Found { id, verdict, .. }: Found,
        payload: &[u8],
    ) -> Result<(), Stop> {
        let Some(key) = self.cursor_of(id) else {
            // The server would say so with an id the client does not know.
            let family = self.facts.family;
            return self.send_error(&Error::NoCursor { id, family }).await;
        };
        self.run_work(&work_of(Command::StmtFetch, id, &key, &quiet(&verdict), payload)).await
    }

    /// COM_STMT_RESET.
    async fn reset_statement(&mut self, found: Found, payload: &[u8]) -> Result<(), Stop> {
        let Found { id, key, verdict, .. } = found;
        if self.held.is_none() {
            // Neither cursor nor long data can be anywhere.
            if !self.facts.is_mariadb() {
                // It does not say here how long its list of warnings is.
                self.diagnostics.conditions = 0;
            }
            self.send_ok();
            return Ok(());
        }
        let cursor = self.cursor_of(id);
        let has_state = cursor.is_some() || self.long_data.contains(&id);
        if !has_state && self.facts.is_mariadb() {
            // It may not even be prepared on what the session holds, where a transaction that only
            // reads would not let it be.
            return self.answer_ok().await;
        }
        let key = cursor.unwrap_or(key);
        let is_here = |held: &mut Checkout| held.connection().statements.has(&key);
        if !has_state && !self.held.as_mut().is_some_and(is_here) {
            // Nor may MySQL let it be.
            return self.answer_reset().await;
        }
        self.run_work(&work_of(Command::StmtReset, id, &key, &quiet(&verdict), payload)).await
    }

    /// COM_STMT_SEND_LONG_DATA.
    async fn send_long_data(&mut self, found: Found, payload: &[u8]) -> Result<(), Stop> {
        let Found { id, key, verdict, .. } = found;
        let key = self.cursor_of(id).unwrap_or(key);
        let command = Command::StmtSendLongData;
        self.run_work(&work_of(command, id, &key, &quiet(&verdict), payload)).await
    }

    /// Answers COM_STMT_RESET on MySQL with the status of the connection that is held, and without a
    /// word of the list of warnings, which stays.
    async fn answer_reset(&mut self) -> Result<(), Stop> {
        self.learn_status().await?;
        self.diagnostics.conditions = 0;
        self.send_ok();
        self.release_if_free().await;
        Ok(())
    }

    /// What is wrong with a command that runs a statement, before it is known which.
    fn unlike_an_execute(&self, command: Command, payload: &[u8]) -> Option<Error> {
        let header = match command {
            Command::StmtExecute => EXECUTE_HEADER,
            Command::StmtBulkExecute if !self.facts.is_mariadb() => {
                return Some(Error::UnknownCommand);
            }
            Command::StmtBulkExecute => BULK_HEADER,
            _ => return None,
        };
        if payload.len() < header {
            return Some(Error::Malformed { family: self.facts.family });
        }
        let is_refused = command == Command::StmtBulkExecute
            && !self.capabilities.contains(Capabilities::MARIADB_BULK);
        is_refused.then_some(Error::UnsupportedPrepared)
    }

    /// Whether a connection can't tell which column definitions its server takes for known, and
    /// the client may lack just those.
    pub(super) fn needs_definitions(
        &self,
        connection: &Connection,
        work: &PreparedWork<'_>,
    ) -> bool {
        let Some(statement) = self.statements.get(work.id) else { return false };
        connection.caches_metadata()
            && !is_call_of(statement)
            && connection.statements.metadata(&work.key).is_none_or(|sent| {
                sent.packets.is_none() && statement.metadata != Some(sent.digest)
            })
    }

    /// What the client is to have of column definitions, where that is not what the server takes
    /// for known.
    pub(super) fn expected_definitions(
        &self,
        connection: &Connection,
        work: &PreparedWork<'_>,
    ) -> Expected {
        let sent = connection.statements.metadata(&work.key);
        let statement = self.statements.get(work.id);
        let (Some(sent), Some(statement)) = (sent, statement) else { return Expected::default() };
        let has = statement.metadata;
        // FACT(mariadb 10.11): what a routine sends comes with its definitions each time; test:
        // `a_client_that_keeps_metadata_is_sent_that_of_each_result_of_a_routine`.
        if has == Some(sent.digest) || is_call_of(statement) {
            return Expected::default();
        }
        Expected { lacking: sent.packets.clone(), known: has }
    }

    /// Notes on a connection for which parameters an execution there gives numbers (MariaDB).
    pub(super) fn note_numbers(
        &self,
        connection: &mut Connection,
        work: &PreparedWork<'_>,
        command: Command,
    ) {
        let numbers = self.statements.get(work.id).map_or(0, |statement| statement.numbers);
        if command.executes() && numbers != 0 {
            connection.statements.note_numbers(&work.key, numbers);
        }
    }

    /// Whether the copy of a statement on a connection takes long data as what it is.
    ///
    /// MariaDB (10.11) takes that of a parameter that has had a number before, also another session's,
    /// for an address in its own memory. Once one parameter has its data here, it is too late for the
    /// others: none may have had a number that is not the session's own.
    pub(super) fn takes_long_data(
        &self,
        connection: &Connection,
        work: &PreparedWork<'_>,
        command: Command,
    ) -> bool {
        // What is open on the copy is the session's own.
        let is_own = self.long_data.contains(&work.id) || self.cursor_of(work.id).is_some();
        if command != Command::StmtSendLongData || is_own {
            return true;
        }
        let index = work.payload.get(5..7).map_or(0, |at| u16::from_le_bytes([at[0], at[1]]));
        let own = self.statements.get(work.id).map_or(0, |statement| statement.numbers);
        connection.statements.numbers(&work.key) & (number_bit(index.into()) | !own) == 0
    }

    /// Before a statement is prepared on a connection, which may close another one for it.
    pub(super) fn guard_statements(&self, connection: &mut Connection) {
        let statements = self.long_data.iter().filter_map(|id| self.statements.get(*id));
        let keys = statements.map(|statement| statement.key.clone());
        let cursors = self.open_cursors.iter().map(|(_, key)| key.clone());
        connection.statements.guard(keys.chain(cursors));
    }

    /// Takes over what an answer told of a statement: that it is prepared, and which column
    /// definitions server and client know now.
    pub(super) async fn note_prepared(
        &mut self,
        connection: &mut Connection,
        work: &PreparedWork<'_>,
        summary: &mut Summary,
        backend: BackendId,
    ) {
        let mut definitions = std::mem::take(&mut summary.definitions);
        if self.are_of_units(work, summary) {
            definitions.clear();
        }
        let mut metadata = None;
        if let Some((server_id, ..)) = summary.prepared {
            self.guard_statements(connection);
            if Box::pin(connection.note_prepared(work.key.clone(), server_id)).await.is_err() {
                tracing::debug!("a connection broke right after a statement was prepared");
            }
        }
        if connection.caches_metadata() && (summary.prepared.is_some() || !definitions.is_empty()) {
            let sent = Metadata::new(definitions);
            metadata = Some(sent.digest);
            connection.statements.set_metadata(&work.key, Some(sent));
        }
        match summary.prepared {
            Some((.., parameters)) => {
                let wanted = std::mem::take(&mut summary.parameter_types).into();
                let answer = summary.answer.take().filter(|_| !summary.had_warnings);
                self.under_way.just_prepared =
                    Some(JustPrepared { parameters, metadata, wanted, answer, backend });
            }
            None if metadata.is_some() => {
                if let Some(statement) = self.statements.get_mut(work.id) {
                    statement.metadata = metadata;
                }
            }
            None => {}
        }
    }

    /// Whether the definitions in an answer are those of the results of a bulk execution's sets.
    ///
    /// FACT(mariadb 11.8): they come each time, behind the statement's own result if it has one; test:
    /// `results_of_a_bulk_execution_s_sets_come_with_their_definitions_on_every_connection`.
    fn are_of_units(&self, work: &PreparedWork<'_>, summary: &Summary) -> bool {
        work.payload.first() == Some(&(Command::StmtBulkExecute as u8))
            && self.capabilities.contains(Capabilities::MARIADB_BULK_UNIT_RESULTS)
            && asks_units(work.payload)
            && summary.result_sets == 1
            && summary.error.is_none()
    }

    /// COM_STMT_CLOSE. The statement stays prepared on the connections, for others.
    pub(super) async fn close_statement(&mut self, payload: &[u8]) {
        let id = payload.get(1..5).map_or(0, |id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]));
        let id = if self.facts.is_mariadb() { self.statements.resolve(id) } else { id };
        let Some(statement) = self.statements.remove(id) else { return };
        self.spoilt_data.retain(|(spoilt, _)| *spoilt != id);
        self.drop_open(id, &statement.key).await;
    }

    /// Has cursor and long data of a statement go from the connection that is held.
    async fn drop_open(&mut self, id: u32, key: &StatementKey) {
        let cursor = self.cursor_of(id);
        if cursor.is_none() && !self.long_data.contains(&id) {
            return;
        }
        if let Some(held) = &mut self.held
            && let Some(server_id) =
                held.connection().statements.remove(cursor.as_deref().unwrap_or(key))
        {
            let _ = held.connection().close_statement(server_id).await;
        }
        self.forget_statement(id);
        self.release_if_free().await;
    }

    /// What a command is answered of whose statement a piece of long data was lost: an error, or nothing;
    /// `None` where none was lost, or it does not matter any more.
    fn told_of_spoilt_data(&mut self, id: u32, command: Command) -> Option<Option<Error>> {
        let at = self.spoilt_data.iter().position(|(spoilt, _)| *spoilt == id)?;
        if command == Command::StmtSendLongData {
            return Some(None);
        }
        if !command.executes() && command != Command::StmtReset {
            return None;
        }
        let (_, error) = self.spoilt_data.swap_remove(at);
        command.executes().then_some(Some(error))
    }

    /// The statement that an open cursor is of, as it was sent: with values in it, perhaps.
    fn cursor_of(&self, id: u32) -> Option<Arc<StatementKey>> {
        self.open_cursors.iter().find(|(open, _)| *open == id).map(|(_, key)| key.clone())
    }

    /// A piece of long data could not be given to the server, which nobody is told: what has come before
    /// and what comes after it must not be taken for the whole.
    pub(super) async fn spoil_data(&mut self, id: u32, error: &Error) {
        let Some(statement) = self.statements.get(id) else { return };
        let key = statement.key.clone();
        self.spoilt_data.push((id, error.clone()));
        self.drop_open(id, &key).await;
    }

    /// What the end of a binary protocol command means for pins.
    pub(super) fn absorb_prepared(&mut self, work: &Work<'_>, summary: &Summary) {
        let Some(prepared) = &work.prepared else { return };
        let id = prepared.id;
        if summary.error == Some(code::MALFORMED_PACKET)
            && !self.facts.is_mariadb()
            && let Some(statement) = self.statements.get_mut(id)
        {
            statement.forget_types();
        }
        match work.command {
            command
                if command.executes()
                    && summary.error.is_some()
                    && self.long_data.contains(&id) =>
            {
                // A statement that could not take its long data fails until it is reset, and keeps
                // its cursor; no other session may find it so.
            }
            command if command.executes() && has_not_run(command, summary) => {
                // A cursor is as it was.
            }
            Command::StmtExecute | Command::StmtBulkExecute => {
                self.forget_statement(id);
                let has_cursor = summary.status.contains(Status::CURSOR_EXISTS);
                if summary.error.is_none() && has_cursor && opens_cursor(work) {
                    self.open_cursors.push((id, prepared.key.clone()));
                }
            }
            Command::StmtFetch if summary.status.contains(Status::LAST_ROW_SENT) => {
                self.open_cursors.retain(|(open, _)| *open != id);
            }
            Command::StmtPrepare if summary.error.is_none() => self.pin_description(work),
            Command::StmtReset => self.forget_statement(id),
            // Not before it is sent: the session may have left a replica for it.
            Command::StmtSendLongData if !self.long_data.contains(&id) => self.long_data.push(id),
            _ => {}
        }
        self.show_statement_pins();
    }

    /// A statement has neither cursor nor long data any more.
    pub(super) fn forget_statement(&mut self, id: u32) {
        self.open_cursors.retain(|(open, _)| *open != id);
        self.long_data.retain(|open| *open != id);
        self.show_statement_pins();
    }

    fn show_statement_pins(&mut self) {
        for (pin, is_on) in [
            (Pin::Cursor, !self.open_cursors.is_empty()),
            (Pin::LongData, !self.long_data.is_empty()),
        ] {
            if is_on { self.pins.add(pin) } else { self.pins.drop(pin) }
        }
    }
}

/// Whether an execution was refused before anything was run: parameters that can't be, or sets of them for
/// what takes none.
fn has_not_run(command: Command, summary: &Summary) -> bool {
    let is_bulk = command == Command::StmtBulkExecute;
    summary.error == Some(code::WRONG_ARGUMENTS)
        || is_bulk && summary.error == Some(code::UNSUPPORTED_PS)
}

/// Whether a statement is a CALL, or a block: not a change of rows that calls a function.
fn is_call_of(statement: &Statement) -> bool {
    is_call(&statement.verdict) && !changes_rows(&statement.key.sql, statement.mode)
}

/// CURSOR_TYPE_READ_ONLY, the one flag of COM_STMT_EXECUTE that opens a cursor.
pub(super) const CURSOR: u8 = 0x01;

fn work_of<'a>(
    command: Command,
    id: u32,
    key: &'a Arc<StatementKey>,
    verdict: &'a Verdict,
    payload: &'a [u8],
) -> Work<'a> {
    Work {
        command,
        packets: Cow::Borrowed(&[]),
        shape: command.shape(),
        verdict,
        prepared: Some(PreparedWork { id, key: key.clone(), payload, told_id: None }),
        sql: &key.sql,
    }
}

/// A verdict for a command about a statement that does not run it: on the primary, no effects.
fn quiet(verdict: &Verdict) -> Verdict {
    Verdict {
        class: Class::Write,
        reason: Reason::NotARead,
        effects: Effects::empty(),
        needs: Needs::empty(),
        hint: Hint::default(),
        uses_table: false,
        ..verdict.clone()
    }
}
