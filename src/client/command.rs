//! One arm for each command of the protocol.

use super::registry::is_sessions;
use super::statement::Work;
use super::wire::CommandPacket;
use super::{Session, Stop};
use crate::error::Error;
use crate::protocol::status::{self, Status};
use crate::protocol::{Capabilities, Command, Family};
use crate::sql::{Class, Effects, Hint, Leading, Needs, Reason, Verdict};

/// Of COM_REFRESH: the accounts and privileges.
const REFRESH_GRANT: u8 = 1;

impl Session {
    /// Answers one command.
    pub(super) async fn command(&mut self, packet: CommandPacket) -> Result<(), Stop> {
        let payload = packet.payload();
        let Some(&byte) = payload.first() else {
            return self.send_error(&Error::UnknownCommand).await;
        };
        let Some(command) = Command::from_byte(byte) else {
            return self.send_error(&Error::UnknownCommand).await;
        };
        self.context.metrics.command(command.index()).inc();
        let body = &payload[1..];
        if !self.facts.is_mariadb() && body.len() < least(command) {
            let error = Error::Malformed { family: Family::MySql };
            return self.send_error(&error).await;
        }
        match command {
            Command::Quit => Err(Stop::Client),
            Command::Ping => Box::pin(self.answer_ok()).await,
            Command::Query => Box::pin(self.query(packet.wire(), body)).await,
            Command::InitDb => Box::pin(self.pass_on(command, &packet, Class::Session)).await,
            Command::StmtPrepare => Box::pin(self.prepare(packet.wire(), &payload)).await,
            Command::StmtExecute
            | Command::StmtBulkExecute
            | Command::StmtFetch
            | Command::StmtReset
            | Command::StmtSendLongData => Box::pin(self.run_prepared(command, &payload)).await,
            Command::StmtClose => {
                Box::pin(self.close_statement(&payload)).await;
                Ok(())
            }
            Command::SetOption => Box::pin(self.set_option(&packet, body)).await,
            Command::ChangeUser => Box::pin(self.change_user(body)).await,
            Command::ResetConnection => Box::pin(self.reset_connection(&packet)).await,
            Command::ProcessKill => {
                let id = body.iter().take(4).rev().fold(0, |id, &byte| id << 8 | u64::from(byte));
                // MySQL has no such command since 8.3.
                let is_known = self.facts.is_mariadb() || self.mode.server_version < 80_300;
                if is_known && is_sessions(id) {
                    return Box::pin(self.kill_session(false, id)).await;
                }
                Box::pin(self.pass_on(command, &packet, Class::Write)).await
            }
            Command::FieldList
            | Command::CreateDb
            | Command::DropDb
            | Command::Refresh
            | Command::Shutdown
            | Command::Statistics
            | Command::ProcessInfo
            | Command::Debug => Box::pin(self.pass_on(command, &packet, Class::Write)).await,
            Command::BinlogDump | Command::BinlogDumpGtid => {
                self.send_error(&Error::Refused("reading the binary log")).await
            }
            Command::RegisterReplica => {
                self.send_error(&Error::Refused("registration as a replica")).await
            }
            Command::TableDump => self.send_error(&Error::UnknownCommand).await,
        }
    }

    /// Answers what does nothing, with the status flags of what the session holds: an error may have
    /// begun or ended a transaction of which only the server knows.
    pub(super) async fn answer_ok(&mut self) -> Result<(), Stop> {
        if self.held.is_none() {
            self.send_ok();
            return Ok(());
        }
        let verdict = plain(Class::Write, Reason::ServerSpecific);
        let work = Work {
            command: Command::Ping,
            packets: status::packet(0, &[Command::Ping as u8]).into(),
            shape: Command::Ping.shape(),
            verdict: &verdict,
            prepared: None,
            sql: &[],
        };
        Box::pin(self.run_work(&work)).await
    }

    /// Before an answer of Fairlane's own: its status flags are those of now, also after an error, which
    /// tells none and may have begun or ended a transaction.
    pub(super) async fn settle_status(&mut self) -> Result<(), Stop> {
        match self.is_status_told || self.held.is_none() {
            true => Ok(()),
            false => Box::pin(self.learn_status()).await,
        }
    }

    /// Asks the held connection for its status flags.
    pub(super) async fn learn_status(&mut self) -> Result<(), Stop> {
        let Some(mut held) = self.held.take() else { return Err(Stop::Fatal) };
        let told = self.ping(held.connection()).await;
        let Ok(told) = told else {
            self.held = Some(held);
            return Err(Stop::Fatal);
        };
        if !told.summary.has_status {
            // It was killed; nothing else is known of it.
            self.held = Some(held);
            return Err(Stop::Fatal);
        }
        self.take_late(held.connection(), &told.summary);
        self.held = Some(held);
        Ok(())
    }

    /// A command without a statement text, to the primary or to what the session holds.
    pub(super) async fn pass_on(
        &mut self,
        command: Command,
        packet: &CommandPacket,
        class: Class,
    ) -> Result<(), Stop> {
        let reason = match class {
            Class::Session => Reason::SessionControl,
            _ => Reason::ServerSpecific,
        };
        let mut verdict = plain(class, reason);
        if matches!(command, Command::CreateDb | Command::DropDb) {
            // As the statements of that name.
            verdict.effects = Effects::SCHEMA_DEFAULTS | Effects::IMPLICIT_COMMIT;
        }
        if command == Command::Refresh
            && packet.payload().get(1).is_some_and(|which| which & REFRESH_GRANT != 0)
        {
            // As FLUSH PRIVILEGES.
            verdict.effects = Effects::SERVER_DEFAULTS;
        }
        let work = Work {
            command,
            packets: packet.wire().into(),
            shape: command.shape(),
            verdict: &verdict,
            prepared: None,
            sql: &[],
        };
        self.run_work(&work).await
    }

    /// COM_SET_OPTION: whether texts may hold several statements. It is fixed at login on the
    /// backends, so from now on the session uses connections of the other kind.
    async fn set_option(&mut self, packet: &CommandPacket, body: &[u8]) -> Result<(), Stop> {
        let is_on = match body {
            [0, 0, ..] => true,
            [1, 0, ..] => false,
            _ => return self.send_error(&Error::UnknownCommand).await,
        };
        if self.held_on_replica()
            && let Err(error) = self.move_to_primary(true).await?
        {
            return self.send_error(&error).await;
        }
        let mut key = (*self.identity.key).clone();
        key.capabilities.set(Capabilities::MULTI_STATEMENTS, is_on);
        let key = std::sync::Arc::new(key);
        self.identity.key = key.clone();
        self.capabilities.set(Capabilities::MULTI_STATEMENTS, is_on);
        if let Some(held) = &mut self.held {
            held.connection().key = key;
            return self.pass_on(Command::SetOption, packet, Class::Write).await;
        }
        self.diagnostics.note_row_count(-1);
        let status = self.idle_status() - Status::MORE_RESULTS;
        let conditions = self.diagnostics.conditions;
        if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            let mut ok = status::ok(status, conditions);
            ok[0] = 0xfe;
            let ok = self.told(ok);
            self.wire.push(&ok);
        } else {
            self.wire.push(&status::eof(status, conditions));
        }
        Ok(())
    }
}

/// The shortest body MySQL takes; MariaDB reads what happens to lie behind a shorter one.
fn least(command: Command) -> usize {
    match command {
        Command::StmtFetch => 8,
        Command::StmtSendLongData => 6,
        Command::StmtReset | Command::StmtClose => 4,
        _ => 0,
    }
}

/// The verdict of a command that has no text.
pub(super) fn plain(class: Class, reason: Reason) -> Verdict {
    Verdict {
        class,
        reason,
        leading: Leading::Other,
        effects: Effects::empty(),
        needs: Needs::empty(),
        hint: Hint::default(),
        statements: 1,
        uses_table: false,
        digest: 0,
    }
}
