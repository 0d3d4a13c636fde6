//! What is sent in one write: the commands that bring a connection at rest to the session's state,
//! and the statement they are for.
//!
//! A command in front may be refused or killed, and the server runs the statement all the same, in
//! the state of another session. Where that leaves nothing, its answer is thrown away. A change of
//! rows goes behind a fuse ([`crate::state::diff::Fused`]), which refuses it then. All else waits
//! until the commands are answered: CALL and DDL do things no fuse stops.

use super::Work;
use super::execute::{Unfinished, chooses_schema, has_cursor_of};
use super::ready::Ready;
use crate::backend::Connection;
use crate::client::Session;
use crate::client::login::server_error;
use crate::error::Error;
use crate::protocol::response::Summary;
use crate::protocol::status::Tracked;
use crate::protocol::{Command, Shape, code};
use crate::route::view::BackendId;
use crate::sql::{Class, Effects, Leading, Needs, Reason, changes_rows, mentions};
use crate::state::transaction_names::READ_ONLY;

/// Longest statement that is copied to be sent together with what precedes it.
pub(in crate::client) const COPIED_MAX: usize = 64 * 1024;

/// Character sets in which the second byte of a character may be a quote or a backslash.
const HAVE_ASCII_PAIRS: [&str; 5] = ["big5", "cp932", "gb18030", "gbk", "sjis"];

/// Ends a SET or its fuse in the middle where it is short.
pub(in crate::client) const TIMEOUT: &str = "max_statement_time";
const NO_LIMIT: &str = "0.000000";

/// Whether a statement can be sent together with what precedes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Along {
    /// It waits for the answers.
    Waits,
    /// It can; should what precedes it fail, nothing is left of it.
    Free,
    /// It can behind a fuse.
    Fused,
}

/// What has come of a statement with what was sent in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Front {
    /// Its own answer comes next.
    Through,
    /// The fuse has stopped it: nothing of it has run.
    Stopped,
}

impl Session {
    /// How `work` is sent to a connection that is not as it has to be.
    pub(in crate::client) fn along(
        &self,
        connection: &Connection,
        work: &Work<'_>,
        was_held: bool,
        sets_insert_id: bool,
    ) -> Along {
        let is_small = work.packets.len() <= COPIED_MAX;
        // MySQL clears the list of warnings for the statement itself.
        let clears = !self.facts.is_mariadb()
            && work.verdict.class != Class::Diagnostics
            && matches!(work.command, Command::Query | Command::StmtExecute);
        let may_warn = (self.image_warns || connection.residue.image_warns) && !clears;
        // The answer with a cursor ends in another way than one without.
        let waits = work.command == Command::StmtPrepare || has_cursor_of(work);
        if !is_small || may_warn || waits || !self.is_read_alike(connection, work) {
            return Along::Waits;
        }
        let is_equal = sets_insert_id && connection.image == self.image;
        // A connection with a transaction can't be closed.
        let is_free = || ends_with_connection(work) || is_passing_query(work);
        if is_equal || work.verdict.class == Class::Read || !was_held && is_free() {
            return Along::Free;
        }
        let has_fuse = !was_held && !connection.is_restricted && self.can_be_fused(connection);
        if has_fuse && self.is_stopped_by_fuse(work) { Along::Fused } else { Along::Waits }
    }

    /// Whether a text ends where it ends here also in the state that the connection is in: that hangs
    /// on what a backslash and what the second byte of a character is.
    fn is_read_alike(&self, connection: &Connection, work: &Work<'_>) -> bool {
        let (here, own) = (&connection.image, &self.image);
        let base = &*connection.base.client;
        let charsets = [here, own].map(|image| image.client_charset().unwrap_or(base));
        let has_pairs = charsets.iter().any(|charset| HAVE_ASCII_PAIRS.contains(charset));
        let is_same_mode = here.get("sql_mode") == own.get("sql_mode");
        let is_same_charset = charsets[0] == charsets[1];
        (is_same_mode || !work.sql.contains(&b'\\'))
            && (is_same_charset || !has_pairs || work.sql.is_ascii())
    }

    /// Whether the fuse is a session's that can write, and has the time to be put in.
    fn can_be_fused(&self, connection: &Connection) -> bool {
        let mut names = READ_ONLY.into_iter().chain([TIMEOUT]);
        let is_set = |name| self.image.get(name).is_some() || connection.image.get(name).is_some();
        let is_limited =
            connection.base.of_login(TIMEOUT).is_some_and(|limit| **limit != *NO_LIMIT);
        !connection.is_read_only && !is_limited && !names.any(is_set)
    }

    fn is_stopped_by_fuse(&self, work: &Work<'_>) -> bool {
        let verdict = work.verdict;
        let counts = Effects::COUNTS_ROWS | Effects::INSERT_ID_EXPRESSION | Effects::SETS_INSERT_ID;
        verdict.class == Class::Write
            && verdict.reason == Reason::NotARead
            && verdict.statements == 1
            && (verdict.effects - counts).is_empty()
            && (verdict.needs - Needs::LAST_INSERT_ID).is_empty()
            && matches!(work.command, Command::Query | Command::StmtExecute)
            && changes_rows(work.sql, self.mode)
    }

    /// Reads the answers to what was sent in front of `work`.
    pub(in crate::client) async fn pass_front(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        ready: &Ready,
    ) -> Result<Front, Unfinished> {
        const LOST: Unfinished = Unfinished::Lost { untouched: true };
        let (mut refused, mut answers) = (None, ready.answers - usize::from(ready.begins));
        if ready.asks {
            connection.take_unread().await.map_err(|_| LOST)?;
            self.entry.set_connection(BackendId::PRIMARY, connection);
            answers -= 1;
            if ready.answers == 1 {
                return Ok(Front::Through);
            }
        }
        let mut no_fuse = None;
        if ready.is_fused {
            answers -= 1;
            let exchange = connection.answer(Shape::Results).await.map_err(|_| LOST)?;
            no_fuse = server_error(&exchange.bytes, exchange.summary.error);
        }
        let mut is_out = !ready.is_fused;
        for _ in 0..answers {
            let exchange = connection.answer(Shape::Results).await.map_err(|_| LOST)?;
            is_out |= tells_fuse_is_out(&exchange.summary);
            let error = self.take_over(connection, &exchange);
            refused = refused.or(error);
        }
        // It is only taken out where it was in, whatever became of the command that put it in.
        if refused.is_none() && is_out {
            self.is_ready_now(connection, work, ready);
            if ready.begins {
                self.pass_begin(connection, work).await?;
            }
            return Ok(Front::Through);
        }
        if ready.begins {
            // There is a transaction of nobody's.
            return Err(refused.map_or(LOST, Unfinished::Spoilt));
        }
        connection.residue.is_astray = true;
        connection.choice = None;
        if let Some(prepared) = &work.prepared {
            // The server takes for known what nobody has read.
            connection.statements.set_metadata(&prepared.key, None);
        }
        if ready.is_fused {
            let is_fuse_in = no_fuse.is_none();
            let refused = no_fuse.or(refused);
            return self.pass_fuse(connection, work, ready, (is_fuse_in, refused)).await;
        }
        let may_end = ends_with_connection(work) || is_passing_query(work);
        let Some(error) = refused.filter(|_| may_end) else {
            // Setting an insert id does not fail. If it did, the statement has run with another.
            tracing::error!("a connection refused LAST_INSERT_ID()");
            return Err(LOST);
        };
        if !ends_with_connection(work) {
            // It may wait for a lock.
            return Err(Unfinished::Spoilt(error));
        }
        match connection.answer(work.shape).await {
            Ok(_) if work.verdict.class == Class::Read => Err(Unfinished::Unprepared(error)),
            Ok(_) => Err(Unfinished::Spoilt(error)),
            Err(_) => Err(LOST),
        }
    }

    /// The connection is in the session's state.
    fn is_ready_now(&self, connection: &mut Connection, work: &Work<'_>, ready: &Ready) {
        let schema = connection.image.schema.clone();
        connection.was_given(&self.image);
        if chooses_schema(work) {
            connection.image.schema = schema;
        }
        connection.residue.image_warns = self.image_warns;
        connection.insert_id = ready.insert_id.or(connection.insert_id);
    }

    /// After a command behind the fuse has failed: it has stopped the statement, or one that was killed
    /// had done its work before, and taken it out.
    async fn pass_fuse(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        ready: &Ready,
        (is_fuse_in, refused): (bool, Option<Error>),
    ) -> Result<Front, Unfinished> {
        const LOST: Unfinished = Unfinished::Lost { untouched: true };
        let answer = connection.answer(work.shape).await.map_err(|_| LOST)?;
        let Some(error) = answer.summary.error else {
            if !is_fuse_in {
                tracing::error!("a statement has run in another state: two commands were killed");
                return Err(LOST);
            }
            // It would have been refused.
            connection.inbox.splice(..0, answer.bytes);
            self.is_ready_now(connection, work, ready);
            return Ok(Front::Through);
        };
        let spoilt = |refused: Option<Error>| refused.map_or(LOST, Unfinished::Spoilt);
        let is_stopped = error == code::CANT_EXECUTE_IN_READ_ONLY_TRANSACTION;
        if !is_stopped && !is_fuse_in {
            return Err(spoilt(refused));
        }
        if !is_stopped {
            match connection.can_write().await {
                Ok(true) => {
                    connection.inbox.splice(..0, answer.bytes);
                    self.is_ready_now(connection, work, ready);
                    return Ok(Front::Through);
                }
                Ok(false) => {}
                Err(_) => return Err(spoilt(refused)),
            }
        }
        if connection.let_write().await.is_err() {
            return Err(spoilt(refused));
        }
        READ_ONLY.into_iter().for_each(|name| connection.image.unset(name));
        connection.residue.is_dirty = true;
        match refused {
            // A KILL QUERY was for the statement.
            Some(Error::Server { code: code::QUERY_INTERRUPTED, .. }) => {
                Err(refused.map_or(LOST, Unfinished::Unprepared))
            }
            _ => Ok(Front::Stopped),
        }
    }
}

/// Whether it is the variable of the fuse.
pub(in crate::client) fn tells_read_only(tracked: &Tracked) -> bool {
    matches!(tracked, Tracked::Variable { name, .. } if READ_ONLY.contains(&&**name))
}

/// Whether a SET has said that the session can write.
fn tells_fuse_is_out(summary: &Summary) -> bool {
    let is_off = |tracked: &Tracked| match tracked {
        Tracked::Variable { value, .. } => &**value == "OFF" || &**value == "0",
        _ => false,
    };
    summary.tracked.iter().any(|tracked| tells_read_only(tracked) && is_off(tracked))
}

/// Whether nothing is left of a command once its connection is closed.
fn ends_with_connection(work: &Work<'_>) -> bool {
    matches!(work.verdict.class, Class::Read | Class::Session | Class::Begin { .. })
}

/// The same of a query that only the primary answers.
fn is_passing_query(work: &Work<'_>) -> bool {
    let verdict = work.verdict;
    verdict.class == Class::Write
        && (verdict.needs - Needs::LAST_INSERT_ID).is_empty()
        && is_just_query(work)
}

/// Whether a statement is one query and does nothing else.
pub(in crate::client) fn is_just_query(work: &Work<'_>) -> bool {
    work.verdict.statements == 1
        && work.verdict.effects.is_empty()
        && work.verdict.leading == Leading::Select
        && !mentions(work.sql, b"into")
}
