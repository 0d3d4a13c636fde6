//! A connection is brought to the session's state, for a statement or to stay.

use memchr::memchr3;

use super::Work;
use super::along::{Along, COPIED_MAX, TIMEOUT};
use super::execute::chooses_schema;
use crate::backend::{Connection, Exchange, Failure, Reset, Strays};
use crate::client::Session;
use crate::client::absorb::is_on;
use crate::client::diagnostics::Disturbs;
use crate::client::diagnostics::warnings::TELL;
use crate::client::login::server_error;
use crate::client::prepared::prepare_here::Own;
use crate::error::Error;
use crate::protocol::metadata::Expected;
use crate::protocol::status::Tracked;
use crate::protocol::{Command, Shape, packet};
use crate::sql::{Charset, Class, calls_package, names_other_variable};
use crate::state::diff::{Diff, diff};
use crate::state::image::{AUTOCOMMIT, SCHEMA_VARIABLES};
use crate::topology::ISOLATION;

/// What to send.
#[derive(Debug, Default)]
pub(in crate::client) struct Ready {
    /// Packets instead of the work's own.
    pub(in crate::client) packets: Option<Vec<u8>>,
    /// What the client is to have of column definitions.
    pub(in crate::client) expected: Expected,
    /// Answers that come before that to the work ...
    pub(in crate::client) answers: usize,
    /// ... to so many of the first bytes of `packets`.
    pub(in crate::client) front: usize,
    /// The first of them is to the question for another session's LAST_INSERT_ID().
    pub(in crate::client) asks: bool,
    /// The next one is a fuse's.
    pub(in crate::client) is_fused: bool,
    /// The last of them is to the BEGIN of the statement's transaction.
    pub(in crate::client) begins: bool,
    /// What LAST_INSERT_ID() is then.
    pub(in crate::client) insert_id: Option<u64>,
}

impl Ready {
    fn alone(packets: Option<Vec<u8>>, expected: Expected) -> Self {
        Self { packets, expected, ..Self::default() }
    }
}

/// Global variables that a session begins with, and goes on with on newer connections to replicas.
const BEGINNING: [&str; 11] = [
    "completion_type",
    "default_week_format",
    "div_precision_increment",
    "foreign_key_checks",
    "group_concat_max_len",
    "lc_time_names",
    "sql_auto_is_null",
    "sql_select_limit",
    "time_zone",
    "unique_checks",
    ISOLATION,
];

impl Session {
    /// Whether a command that was written anew has become too long for the server.
    fn has_outgrown(&self, packets: &[u8]) -> bool {
        let limit = self.packet_limit();
        packets.len() >= limit
            && packet::frame(packets).is_ok_and(|framed| framed.payload_length >= limit)
    }

    /// Makes the connection's state that of the session. With `waits` it is so when this returns,
    /// otherwise what does it may be part of what is to be sent.
    pub(in crate::client) async fn make_ready(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        was_held: bool,
        waits: bool,
    ) -> Result<Result<Ready, Error>, Failure> {
        if self.has_outgrown(&work.packets) {
            // The server would close the connection, and whatever transaction is open there were lost.
            return Ok(Err(Error::PacketTooLarge));
        }
        self.diagnostics.is_insert_id_owed = false;
        if connection.is_restricted {
            Box::pin(connection.lift_restriction(self.facts.family)).await?;
            if !connection.is_restricted {
                // There is a new password.
                Box::pin(self.context.topology.refresh()).await;
            }
        }
        if connection.is_restricted {
            // The server would not take what carries the session's state.
            connection.image = self.image.clone();
        }
        if !was_held {
            self.find_out(connection, work.sql).await?;
        }
        self.prepare_descriptions(connection, work).await?;
        let Own { packets: own, expected } = match &work.prepared {
            Some(prepared) if prepared.told_id.is_none() => {
                match self.prepared_here(connection, prepared, work).await? {
                    Ok(own) => own,
                    Err(error) => return Ok(Err(error)),
                }
            }
            _ => Own::default(),
        };
        if !was_held {
            self.choose_schema_anew(connection).await?;
        }
        if !was_held && connection.residue.is_dirty {
            Box::pin(connection.clean()).await?;
        }
        let insert_id = match was_held {
            true => None,
            false => self.insert_id_for(connection, work).await?,
        };
        let mut diff = diff(&connection.image, &self.image, &connection.base, insert_id);
        if chooses_schema(work) {
            // What was chosen before does not matter, and may be gone.
            diff.schema = None;
        }
        self.note_choice(connection, &diff);
        let is_small = work.packets.len() <= COPIED_MAX;
        let along = match diff.is_empty() {
            true if is_small => Along::Free,
            true => Along::Waits,
            false => self.along(connection, work, was_held, insert_id.is_some()),
        };
        if along != Along::Waits && !waits {
            let mut packets = Vec::new();
            let asks = self.has_others_id(connection) && connection.put_question(&mut packets);
            let is_fused = along == Along::Fused;
            let commands = match is_fused {
                true => connection.put_fused(&diff, &mut packets),
                false => connection.put_diff(&diff, &mut packets),
            };
            let answers = commands + usize::from(asks);
            if answers == 0 {
                return Ok(Ok(self.nearly_alone(work, own, expected)));
            }
            let begins = self.put_begin(&mut packets);
            let answers = answers + usize::from(begins);
            let front = packets.len();
            packets.extend_from_slice(own.as_deref().unwrap_or(&work.packets));
            let packets = Some(packets);
            let ready =
                Ready { packets, expected, answers, front, asks, is_fused, begins, insert_id };
            return Ok(Ok(ready));
        }
        self.read_others_id(connection).await?;
        if diff.is_empty() {
            return Ok(Ok(self.nearly_alone(work, own, expected)));
        }
        let applied = Box::pin(self.apply(connection, &diff)).await?;
        if work.verdict.class == Class::Diagnostics {
            // The client asks for its warnings, not for those of these commands.
            Box::pin(connection.clear_warnings()).await?;
        }
        Ok(applied.map(|()| {
            connection.insert_id = insert_id.or(connection.insert_id);
            self.nearly_alone(work, own, expected)
        }))
    }

    /// What is to be sent to a connection in the session's state: the statement, and what it waits for
    /// to begin.
    fn nearly_alone(&self, work: &Work<'_>, own: Option<Vec<u8>>, expected: Expected) -> Ready {
        let mut packets = Vec::new();
        if !self.put_begin(&mut packets) {
            return Ready::alone(own, expected);
        }
        let front = packets.len();
        packets.extend_from_slice(own.as_deref().unwrap_or(&work.packets));
        Ready { front, answers: 1, begins: true, ..Ready::alone(Some(packets), expected) }
    }

    /// A connection at rest may have more of its last session than is known: after this it has not, or has
    /// been reset.
    async fn find_out(&mut self, connection: &mut Connection, sql: &[u8]) -> Result<(), Failure> {
        if connection.has_begun {
            Box::pin(self.take_up_begun(connection)).await?;
        }
        if let Some(whose) = connection.residue.has_to_tell.take() {
            let told = Box::pin(connection.set_aside(TELL)).await?;
            if whose == self.life {
                self.keep_untold(&told.summary.tracked);
            }
        }
        if connection.residue.is_dirty {
            Box::pin(connection.clean()).await?;
        }
        self.take_off_variables(connection, sql).await?;
        if self.is_choice_old(connection) {
            Box::pin(self.renew_choice(connection)).await?;
        }
        if self.image.has_servers_collation() {
            Box::pin(self.leave_collation(connection)).await?;
        }
        self.compare_begun(connection)?;
        self.keep_begun_mode(connection);
        self.keep_begun_charset(connection);
        self.keep_begun_limit(connection);
        self.keep_begun_autocommit(connection);
        self.keep_begun(connection);
        if connection.epoch > self.epoch {
            if connection.base.only_reads {
                self.keep_beginning(connection.epoch);
            }
            // It changes once, and not back: privileges are those of the connection.
            self.epoch = connection.epoch;
        }
        Ok(())
    }

    /// A connection to a replica may have been opened, or reset, while a global variable there was another one for
    /// a moment, as no probe has seen.
    fn compare_begun(&self, connection: &mut Connection) -> Result<(), Failure> {
        let Some(begun) = connection.begun.take() else { return Ok(()) };
        let facts = self.context.topology.facts();
        let other = facts.and_then(|facts| facts.first_begun_otherwise(&begun));
        other.map_or(Ok(()), |name| {
            tracing::debug!(variable = name, "a replica's connection begins otherwise");
            Err(std::io::Error::other("a connection begins otherwise than at the primary").into())
        })
    }

    /// A connection may have begun with other variables than the session did.
    fn keep_begun(&mut self, connection: &Connection) {
        if connection.is_restricted || connection.base.only_reads {
            return;
        }
        let (now, here) = (&connection.base.kept, connection.generation);
        if self.begun_kept.as_ref().is_none_or(|(_, there)| *there != here) {
            let is_later = self.begun_kept.is_none() && connection.epoch > self.begun_after;
            let has_more = self.facts.variable("init_connect").is_none_or(|init| !init.is_empty());
            // A login at the session's time would have had others. Another server has its own (which ids it gives).
            let begun = if is_later && !has_more { self.facts.kept() } else { now.clone() };
            self.begun_kept = Some((begun, here));
        }
        if let Some((begun, _)) = &self.begun_kept
            && begun != now
        {
            begun.keep_beside(now, &mut self.image);
        }
    }

    /// A new connection is in a transaction where `init_connect` begins one: that is a session's which has had none since
    /// its login.
    async fn take_up_begun(&self, connection: &mut Connection) -> Result<(), Failure> {
        let begins = self.facts.variable("init_connect").is_some_and(|init| !init.is_empty());
        match begins && self.begun_kept.is_none() && self.life.is_first() {
            // Until an answer tells of it.
            true => Ok(()),
            false => connection.end_begun().await,
        }
    }

    /// A connection to a replica that was opened after the session began, and after global variables have changed,
    /// has the new ones: the session keeps its own of those that results hang on.
    fn keep_beginning(&mut self, epoch: u64) {
        let epochs = &self.context.epochs;
        // What is known is what connections of the last change begin with, once it was read.
        let is_known = epoch == epochs.logins() && !epochs.is_news(epoch);
        let now = self.context.topology.facts().filter(|_| is_known);
        let has_isolation = self.isolation().is_some();
        for name in BEGINNING {
            let is_own = self.image.get(name).is_some() || name == ISOLATION && has_isolation;
            let Some(begun) = self.facts.variable(name).filter(|_| !is_own) else { continue };
            if now.as_ref().is_none_or(|now| now.variable(name) != Some(begun)) {
                self.image.set(name, begun);
            }
        }
    }

    /// An account may have been given another limit since the session began.
    fn keep_begun_limit(&mut self, connection: &Connection) {
        if connection.is_restricted || connection.base.only_reads {
            return;
        }
        let Some(now) = connection.base.of_login(TIMEOUT) else { return };
        match &self.begun_limit {
            None => self.begun_limit = Some(now.clone()),
            Some(begun) if begun != now && self.image.get(TIMEOUT).is_none() => {
                self.image.set(TIMEOUT, begun);
            }
            Some(_) => {}
        }
    }

    /// A session goes on with the autocommit it began with. What that is after `init_connect` its first connection to
    /// the primary tells.
    fn keep_begun_autocommit(&mut self, connection: &Connection) {
        if connection.is_restricted {
            return;
        }
        let Some(now) = connection.base.of_login(AUTOCOMMIT).map(|value| is_on(value)) else {
            return;
        };
        let is_own = || self.image.get(AUTOCOMMIT).is_some();
        match self.begun_autocommit {
            None if connection.base.only_reads => {}
            None => {
                if !is_own() {
                    self.autocommit = now;
                }
                self.begun_autocommit = Some(now);
            }
            Some(begun) if begun != now && !is_own() => {
                self.image.set(AUTOCOMMIT, if begun { "ON" } else { "OFF" });
            }
            Some(_) => {}
        }
    }

    /// Connections begin with the `sql_mode` that is global then; a session keeps the first one it had, also
    /// because its texts are read by that.
    fn keep_begun_mode(&mut self, connection: &Connection) {
        if connection.is_restricted {
            return;
        }
        let now = &connection.base.sql_mode;
        match &self.begun_mode {
            None => {
                let is_known = **now == *self.facts.sql_mode;
                self.begun_mode = Some(now.clone());
                if !is_known {
                    self.image_changed();
                }
            }
            Some(begun) if begun != now && self.image.get("sql_mode").is_none() => {
                self.image.set("sql_mode", begun);
            }
            Some(_) => {}
        }
    }

    /// A login does not come to the character set it asks for where the server lets none choose, or where
    /// `init_connect` sets another.
    fn keep_begun_charset(&mut self, connection: &Connection) {
        if self.begun_charset.is_some() || connection.is_restricted {
            return;
        }
        let begun = Charset::named(&connection.base.client);
        self.begun_charset = Some(begun);
        if self.mode.charset != begun && self.image.client_charset().is_none() {
            self.image_changed();
        }
    }

    /// Resets a connection at rest that has user variables of other sessions, or may have without
    /// anybody's knowing when `sql` names one that is not the session's, or calls a routine of a package,
    /// which has variables of its own.
    pub(in crate::client) async fn take_off_variables(
        &self,
        connection: &mut Connection,
        sql: &[u8],
    ) -> Result<(), Failure> {
        let is_own = |name: &str| self.image.get(name).is_some();
        let has_strays = connection.residue.strays.are_of_other(self.life);
        let own = Some((self.life, self.variable_sets));
        if has_strays || connection.residue.strays != Strays::None && connection.given != own {
            // The session's own may have other values there by now: they are set anew, also for a trigger.
            connection.image.forget_user_variables(&self.image);
        }
        connection.given = own;
        let may_find = || {
            // Most texts have none of the marks of a variable, of the list of all, or of a package.
            has_strays
                && memchr3(b'@', b'_', b'.', sql).is_some()
                && (names_other_variable(sql, self.mode, is_own) || calls_package(sql, self.mode))
        };
        let is_of_others =
            connection.residue.is_astray || connection.image.has_user_variables_beside(&self.image);
        if !is_of_others && !may_find() {
            return Ok(());
        }
        let reset = async {
            connection.read_unread().await?;
            match connection.reset(self.facts.family).await? {
                Reset::Clean => Ok(()),
                Reset::KeepsRole | Reset::KeepsTexts | Reset::Refused => {
                    Err(std::io::Error::other("a connection could not be reset").into())
                }
            }
        };
        Box::pin(reset).await
    }

    /// A schema that has changed since a connection at rest has chosen it may have other defaults
    /// now, and its own are there again only after a choice where somebody has set others. MariaDB
    /// reads them only when it comes from another schema.
    pub(in crate::client) async fn choose_schema_anew(
        &self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        if self.image.has_servers_collation() {
            return Ok(());
        }
        let epoch = self.context.epochs.schemas();
        let is_set = |name| connection.image.get(name).is_some() && self.image.get(name).is_none();
        let were_set = SCHEMA_VARIABLES.into_iter().any(is_set);
        if connection.schema_epoch >= epoch && !were_set {
            return Ok(());
        }
        connection.schema_epoch = epoch;
        if self.image.schema.is_some() {
            SCHEMA_VARIABLES.into_iter().for_each(|name| connection.image.unset(name));
        }
        let Some(schema) = connection.image.schema.clone() else { return Ok(()) };
        let other = self.facts.is_mariadb().then_some("information_schema");
        for schema in other.into_iter().chain([&*schema]) {
            let chosen = connection.command(Command::InitDb, schema.as_bytes());
            let chosen = Box::pin(chosen).await?;
            match chosen.summary.error {
                None => connection.image.schema = Some(schema.into()),
                Some(_) => connection.residue.is_dirty = true,
            }
        }
        Ok(())
    }

    /// Gives a connection at rest all that is the session's: it is to stay there.
    pub(in crate::client) async fn move_in(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Result<(), Error>, Failure> {
        self.read_others_id(connection).await?;
        self.find_out(connection, b"").await?;
        self.choose_schema_anew(connection).await?;
        if connection.residue.is_dirty {
            connection.clean().await?;
        }
        self.recall_insert_id().await;
        let own = self.diagnostics.insert_id;
        let wanted = (connection.insert_id != Some(own)).then_some(own);
        let diff = diff(&connection.image, &self.image, &connection.base, wanted);
        if diff.is_empty() {
            return Ok(Ok(()));
        }
        self.note_choice(connection, &diff);
        let applied = self.apply(connection, &diff).await?;
        Ok(applied.map(|()| connection.insert_id = Some(own)))
    }

    /// Gives the commands of `diff` and waits for their answers: before a statement that could do
    /// harm in another schema or mode.
    pub(in crate::client) async fn apply(
        &mut self,
        connection: &mut Connection,
        diff: &Diff,
    ) -> Result<Result<(), Error>, Failure> {
        let mut packets = Vec::new();
        let answers = connection.put_diff(diff, &mut packets);
        if answers > 0 && self.diagnostics.are_on_connection {
            // What warns is cleared below, and with it the session's own list.
            Box::pin(self.learn_all(connection, None)).await?;
        }
        connection.send(&packets).await?;
        if answers > 0 {
            self.diagnostics.disturb(Disturbs::RowCount);
        }
        let (mut refused, mut has_warned) = (None, false);
        for _ in 0..answers {
            let exchange = connection.answer(Shape::Results).await?;
            has_warned |= exchange.summary.warnings > 0;
            if let Some(error) = self.take_over(connection, &exchange) {
                refused.get_or_insert(error);
            }
        }
        if refused.is_some() {
            connection.residue.is_astray = true;
            connection.choice = None;
        } else {
            let schema = connection.image.schema.clone();
            connection.was_given(&self.image);
            if diff.schema.is_none() {
                // It was not chosen, or the one that was told.
                connection.image.schema = schema;
            }
            connection.residue.image_warns = self.image_warns;
        }
        if has_warned {
            // These are nobody's warnings, but on the session's own connection what they are cleared
            // by has a row found.
            if self.diagnostics.is_found_rows_stale() {
                self.learn_found_rows(connection).await?;
            }
            self.diagnostics.disturb(Disturbs::Both);
            connection.clear_warnings().await?;
        }
        Ok(refused.map_or(Ok(()), Err))
    }

    /// Takes over what the server tracked in its answer to one command of a diff; the error it is.
    pub(in crate::client) fn take_over(
        &mut self,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Option<Error> {
        if let Some(error) = server_error(&exchange.bytes, exchange.summary.error) {
            return Some(error);
        }
        for tracked in &exchange.summary.tracked {
            connection.image.apply(tracked);
            // The server may write a name or a value in another way than the session had it; what it
            // has left untold before is another session's.
            if self.image.has(tracked) && !self.is_other_schema(tracked) {
                self.image.apply(tracked);
            }
        }
        None
    }

    fn is_other_schema(&self, tracked: &Tracked) -> bool {
        let own = self.image.schema.as_deref().unwrap_or_default();
        matches!(tracked, Tracked::Schema(told) if !told.eq_ignore_ascii_case(own))
    }
}
