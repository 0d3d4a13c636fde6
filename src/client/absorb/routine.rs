//! What a routine has left on a connection, and nobody told.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::writes::{LOG, is_quiet, may_be_half_way, names_left_out};
use crate::backend::{Connection, ConnectionKey, Definition, Failure, LockCounts, Ran};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Command, code};
use crate::sql::{Charset, Effects, Leading, Mode, called, calls_in, changes_rows, has_word};
use crate::state::{Image, Pin};

/// For how long the text of a procedure is known: another one may take its place past this Fairlane.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Most procedures remembered.
const KNOWN_MAX: usize = 1000;
/// Most procedures that are looked at for one text, and how deep they are followed.
const CALLS_MAX: usize = 8;
const CALLS_DEEP: usize = 4;

/// Schema and name of a procedure.
pub(super) type Name = (Box<str>, Box<str>);

/// What a text does to its session's binary log, as far as texts tell. Of several the one that is last here counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Log {
    /// It leaves nothing out.
    On,
    /// Likewise, as far as the account knows: there is nothing of that name that it may run.
    Absent,
    /// Not all that it runs is known. Who may turn the log off may have done so.
    Unknown,
    /// It may leave something out.
    Off,
}

/// What was seen of a procedure.
#[derive(Clone, Copy)]
struct Seen {
    takes_no_lock: bool,
    leaves_nothing: bool,
    /// What it does, or one that it calls.
    log: Log,
    at: Instant,
}

/// What a text calls.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) names: Vec<Name>,
    /// The schema in which names without one are looked for.
    own: Option<Box<str>>,
    /// There are no others.
    pub(super) are_all: bool,
}

impl Calls {
    /// In a session or a procedure of the schema `own`.
    fn of(text: &[u8], mode: Mode, own: Option<&str>, is_utf8: impl Fn() -> bool) -> Self {
        let called = calls_in(text, mode, CALLS_MAX);
        // In this mode a block needs no CALL.
        let are_all = called.are_all && !mode.oracle;
        let mut calls = Self { names: Vec::new(), own: own.map(Box::from), are_all };
        for (within, name) in called.names {
            // Without a schema it fails.
            if within.is_some() || own.is_some() {
                let name = named((within, own), name, &is_utf8);
                calls.are_all &= name.is_some();
                calls.names.extend(name);
            }
        }
        calls
    }

    /// What they do at least.
    fn log(&self) -> Log {
        if self.are_all { Log::On } else { Log::Unknown }
    }
}

/// A procedure by what a text has for its schema, or else that of the text's own, and its name; `None` where that can't
/// be read.
fn named(
    (within, own): (Option<&[u8]>, Option<&str>),
    name: &[u8],
    is_utf8: impl Fn() -> bool,
) -> Option<Name> {
    // Quotes inside of a name are doubled.
    let is_plain = |name: &str| !name.contains(['`', '"', '\0', char::REPLACEMENT_CHARACTER]);
    let read = |name: &'_ [u8]| {
        let name = std::str::from_utf8(name).ok()?;
        (is_plain(name) && (name.is_ascii() || is_utf8())).then(|| name.into())
    };
    let schema = match within {
        Some(schema) => read(schema)?,
        None => own.filter(|own| is_plain(own))?.into(),
    };
    Some((schema, read(name)?))
}

/// Procedures that have been looked at.
pub struct Procedures {
    /// Those whose texts are known, and all that they call.
    known: Cache<Name, Seen>,
    /// Others, for those who have looked: another account may read more.
    unknown: Cache<(Arc<ConnectionKey>, Name), Seen>,
}

impl Default for Procedures {
    fn default() -> Self {
        Self { known: Cache::new(KNOWN_MAX), unknown: Cache::new(KNOWN_MAX) }
    }
}

impl std::fmt::Debug for Procedures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (known, unknown) = (self.known.len(), self.unknown.len());
        f.debug_struct("Procedures").field("known", &known).field("unknown", &unknown).finish()
    }
}

impl Procedures {
    /// What was seen of this one, if that is not long ago.
    fn get(&self, whose: &Arc<ConnectionKey>, name: &Name) -> Option<Seen> {
        let is_fresh = |seen: &Seen| seen.at.elapsed() < KNOWN_FOR;
        let unknown = || self.unknown.get(&(Arc::clone(whose), name.clone()));
        self.known.get(name).filter(is_fresh).or_else(|| unknown().filter(is_fresh))
    }

    /// What these do to the binary log, if all have been looked at.
    pub(super) fn log_of(&self, whose: &Arc<ConnectionKey>, calls: &Calls) -> Option<Log> {
        let mut seen = calls.names.iter().map(|name| self.get(whose, name).map(|seen| seen.log));
        seen.try_fold(calls.log(), |log, one| Some(log.max(one?)))
    }

    /// Asks for a text when it is not known, and for those of the procedures that it calls. It was called in a text of the
    /// schema `own`, by the procedures of `path`.
    async fn look_into(
        &self,
        connection: &mut Connection,
        (name, own): (&Name, Option<&str>),
        path: &mut Vec<Name>,
    ) -> Result<Seen, Failure> {
        let mut seen = Seen {
            takes_no_lock: false,
            leaves_nothing: false,
            log: Log::Unknown,
            at: Instant::now(),
        };
        if path.last().is_some_and(|caller| is_same(caller, name)) {
            // Its text is looked at already.
            seen.log = Log::On;
            return Ok(seen);
        }
        if path.len() > CALLS_DEEP || path.iter().any(|caller| is_same(caller, name)) {
            return Ok(seen);
        }
        if let Some(seen) = self.get(&connection.key, name) {
            return Ok(seen);
        }
        match connection.definition(&name.0, &name.1).await? {
            Definition::None => {
                // That of a package has no schema of its own.
                let package = own.filter(|own| **own != *name.0);
                let is_absent = match package {
                    Some(own) => !connection.has_package(own, &name.0).await?,
                    None => true,
                };
                if is_absent {
                    seen.log = Log::Absent;
                }
            }
            Definition::Hidden => {}
            Definition::Text { text, is_oracle } => {
                seen.takes_no_lock = !is_oracle && takes_no_lock(&text);
                seen.leaves_nothing = !is_oracle && leaves_nothing(&text);
                let mode = Mode { oracle: is_oracle, ..Mode::default() };
                let calls = Calls::of(text.as_bytes(), mode, Some(&name.0), || true);
                seen.log = match has_word(text.as_bytes(), LOG.as_bytes()) {
                    true => Log::Off,
                    false => calls.log(),
                };
                if seen.log != Log::Off {
                    path.push(name.clone());
                    seen.log = Box::pin(self.look_at(connection, &calls, path)).await?;
                    path.pop();
                }
                if matches!(seen.log, Log::On | Log::Off) {
                    self.known.insert(name.clone(), seen);
                    return Ok(seen);
                }
            }
        }
        self.unknown.insert((Arc::clone(&connection.key), name.clone()), seen);
        Ok(seen)
    }

    /// Looks at the texts of these, wherever they have run.
    async fn look_at(
        &self,
        connection: &mut Connection,
        calls: &Calls,
        path: &mut Vec<Name>,
    ) -> Result<Log, Failure> {
        let mut log = calls.log();
        for name in &calls.names {
            let called = (name, calls.own.as_deref());
            log = log.max(self.look_into(connection, called, path).await?.log);
        }
        Ok(log)
    }

    /// Whether one of these may leave something out of the binary log. Who `has_role` may do what nobody tells.
    pub(super) async fn switch_log(
        &self,
        connection: &mut Connection,
        (calls, has_role): (&Calls, bool),
    ) -> Result<bool, Failure> {
        match self.look_at(connection, calls, &mut Vec::new()).await? {
            Log::On | Log::Absent => Ok(false),
            Log::Off => Ok(true),
            Log::Unknown if has_role => Ok(true),
            Log::Unknown => may_switch_log(connection).await,
        }
    }
}

/// Whether two names are of one procedure.
fn is_same(one: &Name, other: &Name) -> bool {
    one.0 == other.0 && one.1.eq_ignore_ascii_case(&other.1)
}

/// Asks once for each connection.
async fn may_switch_log(connection: &mut Connection) -> Result<bool, Failure> {
    let may = match connection.may_switch_log {
        Some(may) => may,
        None => connection.may_switch_log().await?,
    };
    connection.may_switch_log = Some(may);
    Ok(may)
}

/// Whether a procedure with this text takes no lock that servers don't tell of, and makes no table, whatever else it
/// calls.
fn takes_no_lock(text: &str) -> bool {
    const WORDS: [&str; 7] = ["flush", "lock", "backup", "create", "prepare", "execute", "call"];
    !WORDS.iter().any(|word| has_word(text.as_bytes(), word.as_bytes()))
}

/// Whether a procedure with this text leaves nothing for its session that is neither told nor counted: user variables
/// by INTO and `:=`, locks by name. What it calls is not looked at, but for other procedures.
fn leaves_nothing(text: &str) -> bool {
    const WORDS: [&str; 4] = ["get_lock", "prepare", "execute", "call"];
    !text.contains('@') && !WORDS.iter().any(|word| has_word(text.as_bytes(), word.as_bytes()))
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
        if work.verdict.effects.contains(Effects::ROLE) {
            connection.may_switch_log = None;
        }
        if !work.verdict.effects.contains(Effects::OPAQUE) || work.command == Command::StmtPrepare {
            if work.verdict.effects.contains(Effects::IMPLICIT_COMMIT) {
                // It may put another procedure in the place of one.
                self.context.procedures.known.clear();
                self.context.procedures.unknown.clear();
            }
            return;
        }
        let takes_none = || {
            if self.switches_log_by(connection, work) == Some(true) {
                self.writes.note_unlogged();
            }
            let seen = |name: &Name| self.context.procedures.get(&connection.key, name);
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
    pub(super) fn procedures_in(&self, work: &Work<'_>) -> Calls {
        let mode = self.mode_of(work);
        let prepared = work.prepared.as_ref().and_then(|it| self.statements.get(it.id));
        // Names without a schema are those of the one in which it was prepared.
        let image = prepared.map_or(&self.image, |statement| &statement.image);
        let own = image.schema.as_deref();
        let mut calls = Calls::of(work.sql, mode, own, || self.is_utf8(image, mode));
        // One of several statements may choose that mode; what is in the values of a single CALL is none.
        let may_be_oracle = || has_word(work.sql, b"oracle") && has_word(work.sql, b"sql_mode");
        calls.are_all = calls.are_all && !may_be_oracle() || self.procedure_of(work).is_some();
        calls
    }

    /// Whether texts of a client with this image are in UTF-8.
    fn is_utf8(&self, image: &Image, mode: Mode) -> bool {
        let charset = image.client_charset().unwrap_or_else(|| self.login_charset());
        mode.charset == Charset::Plain && charset.starts_with("utf8")
    }

    /// Whether the procedures of `work` may leave something out of the binary log, if all that has to be known of that is.
    /// What MySQL has not told by now it will.
    fn switches_log_by(&self, connection: &Connection, work: &Work<'_>) -> Option<bool> {
        let calls = self.procedures_in(work);
        match self.context.procedures.log_of(&connection.key, &calls)? {
            Log::On | Log::Absent => Some(false),
            Log::Off => Some(true),
            Log::Unknown if !self.facts.is_mariadb() => Some(false),
            Log::Unknown => connection.may_switch_log,
        }
    }

    /// The procedure that `work` is a CALL of, and nothing else.
    fn procedure_of(&self, work: &Work<'_>) -> Option<Name> {
        if work.verdict.statements != 1 {
            return None;
        }
        let mode = self.mode_of(work);
        let (within, name) = called(work.sql, mode)?;
        // Not that of the session where it was prepared in another one.
        let own = self.image.schema.as_deref().filter(|_| !self.moves(work));
        named((within, own), name, || self.is_utf8(&self.image, mode))
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
        (keeps, owes_look, may_have_called): (bool, bool, bool),
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
            true => self.settle_routine(connection, Some(work).filter(|_| may_have_called)).await,
            false => Ok(()),
        }
    }

    /// Whether `work` may have run a procedure that it calls.
    pub(super) fn may_have_called(&self, work: &Work<'_>, summary: &Summary) -> bool {
        let schema = self.image.schema.as_deref();
        summary.error.is_none() || may_be_half_way(work, summary, schema, self.mode_of(work))
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
        let own = self.image.schema.as_deref();
        let procedures = &self.context.procedures;
        let seen = procedures.look_into(connection, (&name, own), &mut Vec::new()).await?;
        if seen.log == Log::Off {
            self.writes.note_unlogged();
        }
        Ok(before.is_some() && now == before && seen.leaves_nothing)
    }

    /// Whether the texts of procedures are to be looked at that `work` has run on a connection that stays: MySQL tells
    /// what they have done to the binary log. Asked where no transaction may be open, in which they could not.
    pub(super) fn owes_look(
        &self,
        connection: &Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> bool {
        if !work.verdict.effects.contains(Effects::OPAQUE) || is_quiet(work.command) {
            return false;
        }
        let may_look = self.facts.is_mariadb()
            && self.autocommit
            && !self.status.contains(Status::IN_TRANS)
            && !self.calls_just_functions(work)
            && self.may_have_called(work, summary)
            // Whose client asks for conditions would lose them.
            && !(self.asks_conditions && self.diagnostics.are_on_connection);
        let known = may_look.then(|| self.switches_log_by(connection, work));
        if known == Some(Some(true)) {
            // It may have become known while it ran.
            self.writes.note_unlogged();
        }
        known == Some(None)
    }

    /// Looks at the texts of all procedures that `work` names.
    pub(super) async fn look_at_calls(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        self.diagnostics.disturb(Disturbs::Both);
        let calls = self.procedures_in(work);
        let procedures = &self.context.procedures;
        let switches_log = match self.facts.is_mariadb() {
            true => procedures.switch_log(connection, (&calls, false)).await?,
            false => {
                let log = procedures.look_at(connection, &calls, &mut Vec::new()).await?;
                log == Log::Off
            }
        };
        if switches_log {
            self.writes.note_unlogged();
        }
        Ok(())
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
        ] {
            assert_eq!(takes_no_lock(text), takes_none, "{text}");
        }
    }
}
