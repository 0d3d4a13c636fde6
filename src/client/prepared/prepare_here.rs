//! A binary protocol command on a connection: its statement is prepared there if it was not before,
//! and the command is written for that copy.

use super::CURSOR;
use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::login::server_error;
use crate::client::statement::{PreparedWork, Work};
use crate::error::Error;
use crate::protocol::metadata::Expected;
use crate::protocol::{Command, Family, code, packet};
use crate::sql::{Class, Effects, Needs, Verdict, names_schemas, names_variable};
use crate::state::diff::diff;
use crate::state::kinds::{Execution, Kinds};
use crate::state::prepared::{
    BadExecute, ExecuteForm, Statement, circumstances, execute, execute_bulk, image_to_prepare,
};
use crate::state::{Image, Pin};

/// What a binary protocol command is on one connection.
#[derive(Debug, Default)]
pub(in crate::client) struct Own {
    /// Its packets; `None` when they are the client's.
    pub(in crate::client) packets: Option<Vec<u8>>,
    /// What the client is to have of column definitions.
    pub(in crate::client) expected: Expected,
}

/// The copy of a statement on one connection, before it is executed there.
#[derive(Debug)]
struct KindsHere {
    /// What kinds of values its parameters have had after that.
    after: Kinds,
    /// It is of use.
    serves: bool,
}

impl Session {
    /// The packets of a binary protocol command, for a statement that is prepared here if it was
    /// not before; and the column definitions that the client lacks, should the server leave them
    /// out.
    pub(in crate::client) async fn prepared_here(
        &mut self,
        connection: &mut Connection,
        work: &PreparedWork<'_>,
        whole: &Work<'_>,
    ) -> Result<Result<Own, Error>, Failure> {
        let command = whole.command;
        let mut payload = match self.payload_of(work, command) {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(error)),
        };
        if payload.len().max(work.key.sql.len() + 1) >= self.packet_limit() {
            // With types, or the session's id, it is longer than its client has sent it.
            return Ok(Err(Error::PacketTooLarge));
        }
        if connection.statements.is_of_other(&work.key, self.life)
            && let Some(server_id) = connection.statements.remove(&work.key)
        {
            Box::pin(connection.close_statement(server_id)).await?;
        }
        let kinds = self.note_kinds(connection, work, command, &payload);
        let server_id = match self.statement_here(connection, work, whole, kinds.serves).await? {
            Ok(server_id) => server_id,
            Err(error) => return Ok(Err(error)),
        };
        payload[1..5].copy_from_slice(&server_id.to_le_bytes());
        let expected = match command.executes() && connection.caches_metadata() {
            true => self.expected_definitions(connection, work),
            false => Expected::default(),
        };
        if self.facts.is_mariadb() {
            self.note_numbers(connection, work, command);
        } else if command == Command::StmtExecute {
            connection.statements.note_execution(&work.key, has_cursor(work), &kinds.after);
        }
        Ok(Ok(Own { packets: Some(packet::framed(payload)), expected }))
    }

    /// The payload of a binary protocol command, but for the server's id of the statement.
    fn payload_of(&mut self, work: &PreparedWork<'_>, command: Command) -> Result<Vec<u8>, Error> {
        let family = self.facts.family;
        let form = self.execute_form();
        let Some(statement) = self.statements.get_mut(work.id) else {
            return Err(unknown_statement(work, command, family));
        };
        let payload = match command {
            Command::StmtExecute => execute(work.payload, 0, statement, form, family),
            Command::StmtBulkExecute => execute_bulk(work.payload, 0, statement),
            _ if work.payload.len() >= 5 => Ok(work.payload.to_vec()),
            _ => Err(BadExecute::Packet),
        };
        payload.map_err(|bad| match (bad, command) {
            (BadExecute::Arguments, _) => Error::WrongArguments { command: "COM_STMT_EXECUTE" },
            (BadExecute::Types, Command::StmtBulkExecute) => {
                Error::WrongArguments { command: "mysqld_stmt_bulk_execute" }
            }
            (BadExecute::Types, _) => Error::WrongArguments { command: "mysqld_stmt_execute" },
            (BadExecute::Packet, _) => Error::Malformed { family },
        })
    }

    fn execute_form(&self) -> ExecuteForm {
        if self.has_attributes() { ExecuteForm::Attributes } else { ExecuteForm::Plain }
    }

    /// Takes over what kinds of values an execution gives its parameters, and tells whether the
    /// copy of the statement on this connection is of use for it.
    fn note_kinds(
        &mut self,
        connection: &Connection,
        work: &PreparedWork<'_>,
        command: Command,
        payload: &[u8],
    ) -> KindsHere {
        let (form, owner) = (self.execute_form(), (self.entry.id, work.id));
        let has_long_data = self.long_data.contains(&work.id);
        let has_kinds = |statement: &&mut Statement| statement.parameters > 0;
        let statement = self.statements.get_mut(work.id).filter(has_kinds);
        let Some(statement) = statement.filter(|_| !self.facts.is_mariadb()) else {
            let serves =
                !self.facts.is_mariadb() || self.takes_long_data(connection, work, command);
            return KindsHere { after: Kinds::default(), serves };
        };
        if command != Command::StmtExecute {
            // What long data is sent to has to be what is executed then, also without a cursor.
            let here = connection.statements.kinds(&work.key);
            let serves = command != Command::StmtSendLongData
                || !connection.statements.began_with_cursor(&work.key)
                    && here.is_none_or(|here| here.are_none() || *here == statement.kinds);
            return KindsHere { after: Kinds::default(), serves };
        }
        let types = (&statement.wanted[..], has_long_data);
        let Ok(execution) = Execution::read(payload, statement.parameters, form, types) else {
            // The server may run it all the same, on what is as the session's own would be.
            let here = connection.statements.kinds(&work.key);
            let serves = here.is_none_or(|here| here.are_none() || *here == statement.kinds);
            return KindsHere { after: statement.kinds.clone(), serves };
        };
        let execution = execution.of(owner, circumstances(&self.image, false));
        let here = connection.statements.kinds(&work.key);
        let serves = here.is_none_or(|here| here.serve(&statement.kinds, &execution));
        let before = here.filter(|_| serves).cloned().unwrap_or_default();
        statement.kinds = before.with(&execution);
        KindsHere { after: statement.kinds.clone(), serves }
    }

    /// The server's id of a statement on this connection, on which it is prepared if it was not
    /// before.
    async fn statement_here(
        &mut self,
        connection: &mut Connection,
        work: &PreparedWork<'_>,
        whole: &Work<'_>,
        serves: bool,
    ) -> Result<Result<u32, Error>, Failure> {
        let command = whole.command;
        // Long data for a parameter that there is not makes the server refuse to execute it.
        let is_spoilt = command == Command::StmtExecute
            && !has_cursor(work)
            && !self.long_data.contains(&work.id)
            && !self.facts.is_mariadb()
            && connection.statements.began_with_cursor(&work.key);
        if !serves || is_spoilt || command.executes() && self.needs_definitions(connection, work) {
            // They are known after the statement was prepared anew.
            if let Some(server_id) = connection.statements.remove(&work.key) {
                Box::pin(connection.close_statement(server_id)).await?;
            }
        }
        match connection.statements.get(&work.key) {
            Some(server_id) => Ok(Ok(server_id)),
            None => Box::pin(self.prepare_here(connection, work, whole)).await,
        }
    }

    /// What a connection has to be while a statement is prepared on it, and whether it has user variables for
    /// their types then.
    fn image_then(&self, statement: &Statement, sql: &[u8]) -> (Image, bool) {
        // What a session has computed is on its connection only, which must not get older values.
        let is_computed = self.pins.has(Pin::UserVariable) || self.pins.has(Pin::StateChanged);
        let typed_variables = self.has_typed_variables(sql) && !is_computed;
        (image_to_prepare(&self.image, &statement.image, typed_variables), typed_variables)
    }

    /// Before a statement that asks what the last one has left on the connection that is held: where it has
    /// to be prepared there in other circumstances than those of now, what brings these takes that off.
    pub(in crate::client) async fn save_list_to_prepare(&mut self, id: u32, verdict: &Verdict) {
        if !verdict.needs.intersects(Needs::DIAGNOSTICS | Needs::FOUND_ROWS)
            && verdict.class != Class::Diagnostics
        {
            return;
        }
        let Some(statement) = self.statements.get(id) else { return };
        let (then, _) = self.image_then(statement, &statement.key.sql);
        let Some(mut held) = self.held.take() else { return };
        let connection = held.connection();
        let is_here = connection.statements.has(&statement.key)
            && !connection.statements.is_of_other(&statement.key, self.life);
        if !is_here && !diff(&connection.image, &then, &connection.base, None).is_empty() {
            // When it can't be had, the connection is gone, and with it all else.
            let _ = Box::pin(self.learn_all(connection, None)).await;
        }
        self.held = Some(held);
    }

    /// Prepares a statement on this connection, under the circumstances of when its client did, for the
    /// command `whole`.
    pub(in crate::client) async fn prepare_here(
        &mut self,
        connection: &mut Connection,
        work: &PreparedWork<'_>,
        whole: &Work<'_>,
    ) -> Result<Result<u32, Error>, Failure> {
        let command = whole.command;
        let Some(statement) = self.statements.get(work.id) else {
            return Ok(Err(unknown_statement(work, command, self.facts.family)));
        };
        let (mut then, typed_variables) = self.image_then(statement, &work.key.sql);
        // Not those of the command, which may be one that only sends data.
        let (mode, effects) = (statement.mode, statement.verdict.effects);
        if names_variable(&work.key.sql, statement.mode) {
            connection.residue.strays.note(self.life);
        }
        let mut applied = self.become_for_now(connection, &then).await?;
        if let Err(Error::Server { code: code::UNKNOWN_DATABASE, .. }) = applied
            && then.schema != self.image.schema
            && !effects.intersects(Effects::OPAQUE | Effects::SEQUENCE)
            && names_schemas(&work.key.sql, mode)
        {
            // The schema of then is gone, and does not matter.
            then.schema.clone_from(&self.image.schema);
            applied = Box::pin(self.become_for_now(connection, &then)).await?;
        }
        if let Err(error) = applied {
            return Ok(Err(error));
        }
        // What can't be as it was then may change its meaning.
        let is_own = !work.key.is_of(&circumstances(&then, typed_variables));
        self.guard_statements(connection);
        // It may have to wait for a lock.
        self.read_others_id(connection).await?;
        let is_given_up = self.is_given_up_without_client(whole);
        let exchange = tokio::select! {
            biased;
            exchange = connection.prepare(&work.key) => exchange?,
            () = self.wire.gone(), if is_given_up => return Err(Failure::Abandoned),
            () = self.entry.killed() => return Err(Failure::Abandoned),
        };
        if is_own {
            connection.statements.set_owner(&work.key, self.life);
        }
        Ok(match exchange.summary.prepared {
            Some((server_id, ..)) => Ok(server_id),
            None => {
                let error = server_error(&exchange.bytes, exchange.summary.error);
                Err(error.unwrap_or_else(|| unknown_statement(work, command, self.facts.family)))
            }
        })
    }
}

impl Session {
    /// Makes a connection what it has to be under another image than the session's.
    async fn become_for_now(
        &mut self,
        connection: &mut Connection,
        then: &Image,
    ) -> Result<Result<(), Error>, Failure> {
        let diff = diff(&connection.image, then, &connection.base, None);
        let as_then = AsThen::new(self, then.clone());
        as_then.session.apply(connection, &diff).await
    }
}

/// A session that has another image for as long as this is there: nobody may wait to the end of it.
struct AsThen<'a> {
    session: &'a mut Session,
    /// The image of now.
    now: Image,
}

impl<'a> AsThen<'a> {
    fn new(session: &'a mut Session, then: Image) -> Self {
        let now = std::mem::replace(&mut session.image, then);
        Self { session, now }
    }
}

impl Drop for AsThen<'_> {
    fn drop(&mut self) {
        std::mem::swap(&mut self.session.image, &mut self.now);
    }
}

/// Whether a COM_STMT_EXECUTE asks for a cursor.
pub(in crate::client) fn has_cursor(work: &PreparedWork<'_>) -> bool {
    work.payload.get(5).is_some_and(|flags| flags & CURSOR != 0)
}

fn unknown_statement(work: &PreparedWork<'_>, command: Command, family: Family) -> Error {
    Error::UnknownStatement { id: work.id, command: command.statement_name(family) }
}
