//! What a routine has left on a connection, and nobody told.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::writes::{LOG, is_quiet, may_be_half_way, names_left_out};
use crate::backend::{Connection, Failure, LockCounts, Ran};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Command, code};
use crate::sql::{Effects, Leading, Mode, called, calls_in, changes_rows, has_word};
use crate::state::Pin;

/// For how long the text of a procedure is known: another one may take its place past this Fairlane.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Most procedures remembered.
const KNOWN_MAX: usize = 1000;
/// Most procedures that are looked at for one text, and how deep they are followed.
const CALLS_MAX: usize = 8;
const CALLS_DEEP: usize = 4;

/// Schema and name of a procedure.
pub(super) type Name = (Box<str>, Box<str>);

/// What was seen of a procedure's text.
#[derive(Clone, Copy)]
struct Seen {
    takes_no_lock: bool,
    leaves_nothing: bool,
    /// It may leave something out of the binary log, or one that it calls.
    switches_log: bool,
    at: Instant,
}

/// Procedures whose texts have been looked at.
pub struct Procedures(Cache<Name, Seen>);

impl Default for Procedures {
    fn default() -> Self {
        Self(Cache::new(KNOWN_MAX))
    }
}

impl std::fmt::Debug for Procedures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Procedures").field("len", &self.0.len()).finish()
    }
}

impl Procedures {
    /// What was seen of this one's text, if that is known.
    fn get(&self, name: &Name) -> Option<Seen> {
        self.0.get(name).filter(|seen| seen.at.elapsed() < KNOWN_FOR)
    }

    /// Whether one of these may leave something out of the binary log, if that is known.
    pub(super) fn switch_log(&self, names: &[Name]) -> Option<bool> {
        let mut seen = names.iter().map(|name| self.get(name).map(|seen| seen.switches_log));
        seen.try_fold(false, |switches, one| Some(switches | one?))
    }

    /// Asks for a text when it is not known, and for those of the procedures that it calls.
    async fn look_into(
        &self,
        connection: &mut Connection,
        name: Name,
        deep: usize,
    ) -> Result<Seen, Failure> {
        if let Some(seen) = self.get(&name) {
            return Ok(seen);
        }
        let text = connection.text_of_procedure(&name.0, &name.1).await?;
        let (takes_no_lock, leaves_nothing) = (takes_no_lock(&text), leaves_nothing(&text));
        // It may have come in a wide character set.
        let text = text.replace('\0', "");
        let switches_log = has_word(text.as_bytes(), LOG.as_bytes());
        let calls = named_in(text.as_bytes(), Mode::default(), Some(&name.0));
        let mut seen = Seen { takes_no_lock, leaves_nothing, switches_log, at: Instant::now() };
        self.0.insert(name.clone(), seen);
        for called in calls.into_iter().filter(|_| deep > 0) {
            let called = Box::pin(self.look_into(connection, called, deep - 1)).await;
            // What is known of it is not all then.
            let called = called.inspect_err(|_| drop(self.0.remove(&name)))?;
            seen.switches_log |= called.switches_log;
        }
        if seen.switches_log != switches_log {
            self.0.insert(name, seen);
        }
        Ok(seen)
    }

    /// Looks at the texts of these, wherever they have run.
    pub(super) async fn look_at(
        &self,
        connection: &mut Connection,
        names: &[Name],
    ) -> Result<bool, Failure> {
        let mut switch_log = false;
        for name in names {
            switch_log |= self.look_into(connection, name.clone(), CALLS_DEEP).await?.switches_log;
        }
        Ok(switch_log)
    }
}

/// The procedures that a text names behind CALL, in a session or a procedure of the schema `own`.
fn named_in(text: &[u8], mode: Mode, own: Option<&str>) -> Vec<Name> {
    let calls = calls_in(text, mode, CALLS_MAX).into_iter();
    let names = calls.filter_map(|(within, name)| {
        let schema = match within {
            Some(schema) => std::str::from_utf8(schema).ok()?,
            None => own?,
        };
        named(schema, name)
    });
    names.collect()
}

/// A name that needs no escapes.
fn named(schema: &str, name: &[u8]) -> Option<Name> {
    let is_plain = |name: &str| !name.contains(['\'', '\\', '`', '"', '\0']);
    let name = std::str::from_utf8(name).ok()?;
    (is_plain(schema) && is_plain(name)).then(|| (schema.into(), name.into()))
}

/// Whether a procedure with this text takes no lock that servers don't tell of, and makes no table, whatever else it
/// calls.
fn takes_no_lock(text: &str) -> bool {
    const WORDS: [&str; 7] = ["flush", "lock", "backup", "create", "prepare", "execute", "call"];
    // One with a NUL has not been read as it is written.
    !text.is_empty()
        && !text.contains('\0')
        && !WORDS.iter().any(|word| has_word(text.as_bytes(), word.as_bytes()))
}

/// Whether a procedure with this text leaves nothing for its session that is neither told nor counted: user variables
/// by INTO and `:=`, locks by name. What it calls is not looked at, but for other procedures.
fn leaves_nothing(text: &str) -> bool {
    const WORDS: [&str; 4] = ["get_lock", "prepare", "execute", "call"];
    !text.is_empty()
        && !text.contains(['\0', '@'])
        && !WORDS.iter().any(|word| has_word(text.as_bytes(), word.as_bytes()))
}

impl Session {
    /// What `work` is about to run on its connection.
    pub(in crate::client) fn note_ran(&self, connection: &mut Connection, work: &Work<'_>) {
        let counted = Effects::BACKUP_LOCK | Effects::HANDLER | Effects::TEMPORARY_TABLE;
        let is_counted = work.verdict.leading == Leading::Flush
            || work.verdict.effects.intersects(counted)
            || work.command == Command::Refresh
            || work.verdict.effects.contains(Effects::IMPLICIT_COMMIT)
                && !self.facts.is_mariadb()
                && has_word(work.sql, b"create");
        if is_counted {
            connection.ran = connection.ran.max(Ran::Flush);
        }
        if !work.verdict.effects.contains(Effects::OPAQUE) || work.command == Command::StmtPrepare {
            if work.verdict.effects.contains(Effects::IMPLICIT_COMMIT) {
                // It may put another procedure in the place of one.
                self.context.procedures.0.clear();
            }
            return;
        }
        let takes_none = || {
            let seen = |name: &Name| self.context.procedures.get(name);
            if self.procedures_in(work).iter().filter_map(seen).any(|seen| seen.switches_log) {
                self.writes.note_unlogged();
            }
            let name = self.procedure_of(work);
            name.as_ref().and_then(seen).is_some_and(|seen| seen.takes_no_lock)
        };
        let ran = match self.calls_just_functions(work) || takes_none() {
            false => Ran::Procedure,
            // MariaDB flags a SET ROLE as a change of state.
            true if self.facts.is_mariadb() => Ran::Plain,
            true => Ran::Function,
        };
        connection.ran = connection.ran.max(ran);
    }

    /// A FLUSH of the client's own is none of a procedure's that ran on the connection before.
    ///
    /// FACT(mariadb 10.11, mysql 9.7): those that fail with these errors count, too; test:
    /// `a_flush_that_fails_is_not_taken_for_one_of_a_procedure`.
    pub(in crate::client) fn note_flushed(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) {
        const COUNTED: [u16; 2] = [code::SPECIFIC_ACCESS_DENIED, code::NO_SUCH_TABLE];
        let verdict = work.verdict;
        let is_counted =
            |code| COUNTED.contains(&code) && !verdict.effects.contains(Effects::SET_STATEMENT);
        let is_one = work.command == Command::Query
            && verdict.leading == Leading::Flush
            && verdict.statements == 1
            && summary.error.is_none_or(is_counted);
        if is_one && summary.error.is_none() && has_word(work.sql, b"status") {
            // It has set the session's counters to zero.
            connection.lock_counts = LockCounts::default();
        } else if is_one {
            connection.lock_counts.flushes = connection.lock_counts.flushes.wrapping_add(1);
        }
    }

    /// The procedures that a text names behind CALL, wherever.
    pub(super) fn procedures_in(&self, work: &Work<'_>) -> Vec<Name> {
        let own = self.image.schema.as_deref().filter(|_| !self.moves(work));
        named_in(work.sql, self.mode_of(work), own)
    }

    /// The procedure that `work` is a CALL of, and nothing else.
    fn procedure_of(&self, work: &Work<'_>) -> Option<Name> {
        if work.verdict.statements != 1 {
            return None;
        }
        let (within, name) = called(work.sql, self.mode_of(work))?;
        let schema = match within {
            Some(schema) => std::str::from_utf8(schema).ok()?,
            // Not that of the session where it was prepared in another one.
            None if self.moves(work) => return None,
            None => self.image.schema.as_deref()?,
        };
        named(schema, name)
    }

    /// Whether `work` is a CALL of a procedure of another schema: servers flag that they choose that for it like any other
    /// change, so changes are counted before. Not where a transaction keeps the connection anyway.
    pub(in crate::client) fn calls_elsewhere(&self, work: &Work<'_>) -> bool {
        work.verdict.effects.contains(Effects::OPAQUE)
            && work.verdict.leading == Leading::Other
            && matches!(work.command, Command::Query | Command::StmtExecute)
            && self.autocommit
            && (self.facts.is_mariadb() || !self.has_select_limit())
            && self.procedure_of(work).is_some_and(|(schema, _)| {
                self.image.schema.as_deref().is_none_or(|own| *own != *schema)
            })
    }

    /// Whether answers of SHOW, with which MySQL is asked for counters, may lack rows.
    fn has_select_limit(&self) -> bool {
        const NONE: &str = "18446744073709551615";
        self.select_limit().is_none_or(|limit| limit != NONE)
    }

    /// How many rows a SELECT without a LIMIT has at most.
    pub(in crate::client) fn select_limit(&self) -> Option<&str> {
        let own = self.image.get("sql_select_limit");
        own.or_else(|| self.facts.variable("sql_select_limit"))
    }

    /// Whether a change that `work` has flagged may be just that of the schema for a moment, so that the server is
    /// asked.
    pub(in crate::client) fn may_be_unchanged(&self, summary: &Summary) -> bool {
        let own = self.image.schema.as_deref().unwrap_or_default();
        let is_back = |tracked: &Tracked| matches!(tracked, Tracked::Schema(told) if told == own);
        self.under_way.changes_before.is_some()
            && summary.error.is_none()
            && summary.tracked.iter().any(is_back)
    }

    /// Asks what `work` has left beside what was told. A connection that `keeps` its session for another reason may keep
    /// it longer for a flag that nobody has looked into.
    pub(in crate::client) async fn settle_call(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        (keeps, owes_look): (bool, bool),
    ) -> Result<(), Failure> {
        if owes_look {
            self.look_at_calls(connection, work).await?;
        }
        if std::mem::take(&mut self.under_way.may_be_unchanged)
            && (keeps || !self.is_unchanged(connection, work).await?)
        {
            self.pins.add(Pin::StateChanged);
        }
        match !keeps && connection.ran != Ran::Plain {
            true => self.settle_routine(connection, Some(work)).await,
            false => Ok(()),
        }
    }

    /// Whether a CALL of a procedure of another schema has changed nothing but that for a moment.
    async fn is_unchanged(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<bool, Failure> {
        self.diagnostics.disturb(Disturbs::Both);
        let before = self.under_way.changes_before.take();
        let now = connection.count_changes(self.facts.family).await?;
        let Some(name) = self.procedure_of(work) else { return Ok(false) };
        let leaves_nothing = self.look_at(connection, name).await?.leaves_nothing;
        Ok(before.is_some() && now == before && leaves_nothing)
    }

    /// Whether the texts of procedures are to be looked at that `work` has run on a connection that stays: MySQL tells
    /// what they have done to the binary log. Asked where no transaction may be open, in which they could not.
    pub(super) fn owes_look(&self, work: &Work<'_>, summary: &Summary) -> bool {
        if !work.verdict.effects.contains(Effects::OPAQUE) || is_quiet(work.command) {
            return false;
        }
        let schema = self.image.schema.as_deref();
        self.facts.is_mariadb()
            && self.autocommit
            && !self.status.contains(Status::IN_TRANS)
            && !self.calls_just_functions(work)
            && (summary.error.is_none()
                || may_be_half_way(work, summary, schema, self.mode_of(work)))
            // Whose client asks for conditions would lose them.
            && !(self.asks_conditions && self.diagnostics.are_on_connection)
            && !self.procedures_in(work).iter().all(|it| self.context.procedures.get(it).is_some())
    }

    /// Looks at the texts of all procedures that `work` names.
    pub(super) async fn look_at_calls(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        self.diagnostics.disturb(Disturbs::Both);
        for name in self.procedures_in(work) {
            self.look_at(connection, name).await?;
        }
        Ok(())
    }

    /// What the text of a procedure says that has just run.
    async fn look_at(&self, connection: &mut Connection, name: Name) -> Result<Seen, Failure> {
        let seen = self.context.procedures.look_into(connection, name, CALLS_DEEP).await?;
        if seen.switches_log {
            self.writes.note_unlogged();
        }
        Ok(seen)
    }

    /// Whether the server may have yet to tell that `work` has turned its binary log off, and perhaps on again: errors
    /// tell nothing, nor do rows. Nobody can do that while a transaction is open.
    pub(super) fn may_have_switched(&self, work: &Work<'_>, summary: &Summary) -> bool {
        let effects = work.verdict.effects;
        if !effects.intersects(Effects::OPAQUE | Effects::SET_STATEMENT) || is_quiet(work.command) {
            return false;
        }
        let is_open = self.is_status_told && self.status.contains(Status::IN_TRANS);
        let schema = self.image.schema.as_deref();
        let fails = || may_be_half_way(work, summary, schema, self.mode_of(work));
        let runs_others =
            || effects.contains(Effects::OPAQUE) && !self.calls_just_functions(work) && fails();
        let sets = || effects.contains(Effects::SET_STATEMENT) && names_left_out(work.sql);
        !is_open && (sets() || runs_others())
    }

    /// Whether `work` calls no procedure: functions can't take locks for the session.
    pub(super) fn calls_just_functions(&self, work: &Work<'_>) -> bool {
        let is_expression =
            matches!(work.verdict.leading, Leading::Select | Leading::Do | Leading::Set);
        work.verdict.statements == 1
            && !work.verdict.effects.contains(Effects::SET_STATEMENT)
            && (is_expression || changes_rows(work.sql, self.mode))
    }

    /// Asks what a routine has left, before its connection goes to another session; the warnings and counts of
    /// its statement have been read.
    pub(in crate::client) async fn settle_routine(
        &mut self,
        connection: &mut Connection,
        work: Option<&Work<'_>>,
    ) -> Result<(), Failure> {
        self.diagnostics.disturb(Disturbs::Both);
        // Read before it asks: what is granted meanwhile counts as news.
        let logins = self.context.epochs.logins();
        if !self.facts.is_mariadb() && connection.has_other_role(logins).await? {
            self.pins.add(Pin::Role);
        }
        if connection.ran == Ran::Flush {
            let now = connection.count_locks(self.facts.family).await?;
            connection.lock_counts = now.unwrap_or_default();
        }
        if connection.ran == Ran::Procedure {
            self.learn_locks(connection).await?;
            if let Some(work) = work {
                self.look_at_calls(connection, work).await?;
            }
        }
        let is_over = self.is_status_told && !self.status.contains(Status::IN_TRANS);
        if !self.facts.is_mariadb() && !self.autocommit && is_over {
            // What is read in the dictionary begins a transaction then.
            //
            // FACT(mysql 9.7): it has its snapshot from there on; test: `questions_begin_no_transaction`.
            connection.roll_back().await?;
        }
        connection.ran = Ran::Plain;
        Ok(())
    }

    /// Whether a procedure has taken a lock that holds everybody up to its session's end.
    async fn learn_locks(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        match connection.count_locks(self.facts.family).await? {
            None => self.pins.add(Pin::StateChanged),
            Some(now) => {
                let before = std::mem::replace(&mut connection.lock_counts, now);
                if now.flushes != before.flushes {
                    self.pins.add(Pin::TableLock);
                }
                if now.backup_locks != before.backup_locks {
                    self.pins.add(Pin::BackupLock);
                }
                if now.handlers != before.handlers {
                    // Nobody has told its name, with which it is closed.
                    self.pins.add(Pin::StateChanged);
                }
                if now.tables != before.tables {
                    self.pins.add(Pin::StateChanged);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{leaves_nothing, takes_no_lock};

    #[test]
    fn a_text_that_may_leave_something_untold_is_not_taken_for_another() {
        for (text, is_nothing) in [
            ("BEGIN INSERT INTO t VALUES (1); SELECT a INTO b FROM t; END", true),
            ("SELECT a INTO @b FROM t", false),
            ("DO GET_LOCK('a', 1)", false),
            ("CALL other()", false),
            ("EXECUTE IMMEDIATE a", false),
            ("", false),
        ] {
            assert_eq!(leaves_nothing(text), is_nothing, "{text}");
        }
    }

    #[test]
    fn a_text_that_may_take_a_lock_is_not_taken_for_another() {
        for (text, takes_none) in [
            ("BEGIN INSERT INTO t VALUES (1); SELECT flushed, clock FROM t; END", true),
            ("SELECT 1", true),
            ("flush TABLES WITH READ LOCK", false),
            ("BEGIN IF a THEN/**/FLUSH TABLES WITH READ LOCK; END IF; END", false),
            ("CALL other()", false),
            ("EXECUTE IMMEDIATE a", false),
            ("CREATE TEMPORARY TABLE t SELECT 1", false),
            ("LOCK INSTANCE FOR BACKUP", false),
            // Who may not read it sees none.
            ("", false),
            ("\0F\0L\0U\0S\0H", false),
        ] {
            assert_eq!(takes_no_lock(text), takes_none, "{text}");
        }
    }
}
