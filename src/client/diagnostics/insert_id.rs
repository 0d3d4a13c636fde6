//! LAST_INSERT_ID() over shared connections: the session's own is given to a connection before whatever
//! may read it, and is learned, or left there unread until somebody asks, after whatever may set it.

use std::sync::Arc;

use super::Disturbs;
use crate::backend::{Connection, Failure, UnreadHere, UnreadId};
use crate::client::Session;
use crate::client::absorb::settle::changes_charset;
use crate::client::absorb::{is_on, is_wait};
use crate::client::statement::Work;
use crate::client::statement::execute::has_cursor_of;
use crate::protocol::response::Summary;
use crate::protocol::status::Tracked;
use crate::protocol::{Command, code};
use crate::sql::{Class, Needs};
use crate::state::{Pin, Pins};

impl Session {
    /// Keeps the session where it may have inserted a row, if `WHERE id IS NULL` finds that: globally on, as
    /// the session's own setting binds it anyway.
    pub(in crate::client) fn pin_for_null(&mut self) {
        const VARIABLE: &str = "sql_auto_is_null";
        let value = self.image.get(VARIABLE).or_else(|| self.facts.variable(VARIABLE));
        if value.is_some_and(is_on) {
            self.pins.add(Pin::UnreplayableVariable);
        }
    }

    /// Whether another session has left its LAST_INSERT_ID() on a connection.
    pub(in crate::client) fn has_others_id(&self, connection: &Connection) -> bool {
        let own = self.diagnostics.unread.as_ref();
        connection.unread.as_ref().is_some_and(|here| !here.is_of(own))
    }

    /// Asks for that.
    pub(in crate::client) async fn read_others_id(
        &self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        match self.has_others_id(connection) {
            true => Box::pin(connection.read_unread()).await,
            false => Ok(()),
        }
    }

    /// The LAST_INSERT_ID() a connection at rest has to be given before a statement: the
    /// session's own before whatever may read it, also unseen in a trigger, may set another, or
    /// may be the first of several here. Only a read that does not stay needs none.
    pub(in crate::client) async fn insert_id_for(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<Option<u64>, Failure> {
        let verdict = work.verdict;
        connection.drop_unwanted();
        let unread = self.diagnostics.unread.as_ref();
        let is_here = connection.unread.as_ref().is_some_and(|here| here.is_of(unread));
        let stays = has_cursor_of(work) || !Pins::of_effects(verdict.effects).is_empty();
        let may_stay = stays || !self.autocommit || self.asks_conditions || !self.pins.is_empty();
        let is_plain = verdict.class == Class::Read || work.command == Command::StmtPrepare;
        let matters = !is_plain
            || may_stay
            || verdict.needs.contains(Needs::LAST_INSERT_ID)
            || connection.insert_id.is_none();
        self.diagnostics.is_insert_id_owed = !is_here && !matters;
        if is_here || !matters {
            return Ok(None);
        }
        if self.diagnostics.unread.is_some() {
            // Another session must not wait for this one, which may have to wait for that.
            self.read_others_id(connection).await?;
            Box::pin(self.recall_insert_id()).await;
        }
        let own = self.diagnostics.insert_id;
        let is_here = connection.insert_id == Some(own) && !self.has_others_id(connection);
        Ok((!is_here).then_some(own))
    }

    /// What LAST_INSERT_ID() is now. An OK packet does not tell for sure: its id may be one that
    /// the statement gave itself.
    ///
    /// Before the statement the connection had the session's own id or 0, see
    /// [`Self::insert_id_for`]: what it had is what nothing has changed.
    pub(in crate::client) async fn learn_insert_id(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let before = connection.insert_id;
        connection.insert_id = connection.read_insert_id().await?;
        match connection.insert_id {
            Some(id) if before != Some(id) => self.diagnostics.insert_id = id,
            Some(_) => {}
            None => connection.residue.is_dirty = true,
        }
        self.diagnostics.is_insert_id_stale = false;
        self.diagnostics.reported_id = None;
        Ok(())
    }

    /// Leaves LAST_INSERT_ID() unread on the connection, which had the session's own before.
    pub(in crate::client) fn leave_insert_id(&mut self, connection: &mut Connection) {
        let unread = Arc::new(UnreadId::default());
        connection.unread = Some(UnreadHere::new(&unread));
        self.diagnostics.unread = Some(unread);
        self.diagnostics.is_insert_id_stale = false;
    }

    /// The session is on the connection with its unread LAST_INSERT_ID(), which knows better.
    pub(in crate::client) fn take_up_insert_id(&mut self, connection: &mut Connection) {
        let unread = self.diagnostics.unread.as_ref();
        if connection.unread.as_ref().is_some_and(|here| here.is_of(unread)) {
            connection.unread = None;
            self.diagnostics.unread = None;
            self.diagnostics.is_insert_id_stale = true;
        }
    }

    /// Has the session's LAST_INSERT_ID() read where it was left.
    ///
    /// # Cancel safety
    /// It is as if nobody had asked.
    pub(in crate::client) async fn recall_insert_id(&mut self) {
        let Some(unread) = &self.diagnostics.unread else { return };
        self.context.primary_pool().read_unread(unread);
        let told = unread.wait().await;
        self.diagnostics.unread = None;
        // Of a lost connection there is only what it has said itself.
        let reported = self.diagnostics.reported_id.take();
        if let Some(id) = told.or(reported) {
            self.diagnostics.insert_id = id;
        }
    }

    /// Gives the connection the session's LAST_INSERT_ID(): a plain read, which was sent without it, has
    /// bound the session to it. A view, for one, may call a function that sets a variable.
    pub(in crate::client) async fn pay_insert_id(
        &mut self,
        connection: &mut Connection,
        summary: &Summary,
    ) -> Result<(), Failure> {
        self.diagnostics.is_insert_id_owed = false;
        self.recall_insert_id().await;
        let own = self.diagnostics.insert_id;
        if connection.insert_id == Some(own) || self.diagnostics.is_insert_id_stale {
            return Ok(());
        }
        let has_new = summary.had_warnings || summary.error.is_some();
        self.learn_all(connection, Some(summary).filter(|_| has_new)).await?;
        let set = format!("SET last_insert_id={own}");
        let mut set_it = self.ask(connection, &set, Disturbs::RowCount).await?.summary;
        if set_it.error == Some(code::QUERY_INTERRUPTED) {
            // A KILL QUERY that came late: the session's own statement was over.
            set_it = self.ask(connection, &set, Disturbs::RowCount).await?.summary;
        }
        if set_it.error.is_some() {
            return Err(std::io::Error::other("an insert id could not be set").into());
        }
        connection.insert_id = Some(own);
        match connection.deprecates_eof() {
            true => Ok(()),
            false => self.learn_late(connection, set_it.tracked).await,
        }
    }

    /// What a read has changed and told with the OK packet to a SET of the insert id: its own answer had
    /// none, and the next one that tells anything tells all.
    async fn learn_late(
        &mut self,
        connection: &mut Connection,
        mut tracked: Vec<Tracked>,
    ) -> Result<(), Failure> {
        let is_of_set = |name: &str| matches!(name, "last_insert_id" | "identity" | "last_gtid");
        tracked.retain(|it| !matches!(it, Tracked::Variable { name, .. } if is_of_set(name)));
        if let Some(teller) = &mut self.teller {
            teller.keep(&tracked);
        }
        for told in &tracked {
            match told {
                // A function's own, with NOWAIT.
                Tracked::Variable { name, .. } if self.facts.is_mariadb() && is_wait(name) => {}
                Tracked::Variable { name, value } => {
                    self.absorb_variable(connection, name, value);
                }
                _ => {}
            }
        }
        self.notice_changes(&tracked);
        if changes_charset(&tracked) {
            self.learn_collation(connection, None).await?;
        }
        Ok(())
    }
}
