//! The list of warnings over shared connections: it is taken off a connection before others get that, and
//! answered from the session's record.

use super::conditions::signal;
use super::{Disturbs, Saved, is_error};
use crate::backend::{Connection, Failure};
use crate::client::statement::{Refusal, Work, classify};
use crate::client::{Session, Stop};
use crate::error::Error;
use crate::metrics::Closed;
use crate::pool::Retire;
use crate::protocol::response::Summary;
use crate::protocol::status::Tracked;
use crate::protocol::{Command, Shape, packet};
use crate::sql::{Effects, Reason, Verdict, changes_rows};
use crate::state::Pin;
use crate::state::diff::diff;

/// The error that marks a list of warnings: it leaves ROW_COUNT() and FOUND_ROWS() as most errors do.
const MARK: &str = "SIGNAL SQLSTATE '45000'";

/// Warnings from which on a list stays on its connection. A message has up to 512 characters of up to four bytes, and
/// Fairlane reads 16 MiB.
const LONG_LIST: u16 = 8_000;

impl Session {
    /// What of the list of warnings a statement has left that has nothing for a new one, or `has_new`.
    pub(in crate::client) async fn settle_list(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        has_new: bool,
    ) -> Result<(), Failure> {
        // MySQL clears the list for each statement but SHOW and GET DIAGNOSTICS, MariaDB only for
        // one that uses a table.
        let shows = work.verdict.shows_diagnostics();
        let clears_always = !self.facts.is_mariadb() && !shows && !keeps_conditions(work.command);
        let clears = match self.has_kept_mark(connection, has_new).await? {
            Some(is_kept) => !is_kept,
            None => work.verdict.uses_table || clears_always,
        };
        if has_new || clears {
            self.diagnostics.warnings = None;
            self.diagnostics.own_error = None;
        }
        self.diagnostics.are_on_connection |= has_new;
        Ok(())
    }

    /// Before a statement of which only MariaDB knows whether it ends the list of warnings: an error is raised in
    /// the place of the list that was saved, to be seen whether it is still there afterwards. Not before
    /// several, of which one may show it.
    pub(in crate::client) async fn mark_list(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        // That of a statement which never came to its end is on no connection any more.
        self.diagnostics.is_marked = false;
        let is_unsure = match work.command {
            Command::StmtPrepare => self.may_end_list_by_preparing(work),
            // It changes rows of a table.
            Command::StmtBulkExecute => false,
            _ => self.may_end_list(work.verdict),
        };
        if !is_unsure || connection.is_restricted {
            return Ok(());
        }
        Box::pin(self.ask(connection, MARK, Disturbs::RowCount)).await?;
        connection.residue.is_dirty = true;
        self.diagnostics.is_marked = true;
        Ok(())
    }

    /// Whether there is a list to be marked before a statement that is run.
    pub(in crate::client) fn may_end_list(&self, verdict: &Verdict) -> bool {
        let Verdict { uses_table, effects, .. } = *verdict;
        // A stored function may use a table, and a lock that is not granted ends the list, too. What can't be read
        // may show it.
        let is_unsure = match uses_table {
            true => effects.contains(Effects::OPAQUE),
            false => {
                effects.intersects(Effects::OPAQUE | Effects::USER_LOCK)
                    && !effects.contains(Effects::UNREADABLE)
            }
        };
        is_unsure && self.has_list_to_mark(verdict)
    }

    /// The same of one that is prepared, whose verdict has no effects: a CALL, a block and what is like them, or
    /// what calls a stored function.
    fn may_end_list_by_preparing(&self, work: &Work<'_>) -> bool {
        let Verdict { uses_table, reason, .. } = *work.verdict;
        self.has_list_to_mark(work.verdict)
            && match uses_table {
                true => reason == Reason::NotARead && !changes_rows(work.sql, self.mode),
                false => classify(work.sql, self.mode).effects.contains(Effects::OPAQUE),
            }
    }

    fn has_list_to_mark(&self, verdict: &Verdict) -> bool {
        let has_list = self.diagnostics.are_saved() || self.diagnostics.own_error.is_some();
        has_list
            && verdict.statements <= 1
            && self.facts.is_mariadb()
            && self.image.get("max_error_count") != Some("0")
            // Between XA END and its end the mark could not be taken off again.
            && !self.pins.has(Pin::Xa)
    }

    /// Whether the mark on a connection has outlived a statement, and with it what was saved; `None` where there
    /// is no mark. It is not left there, where others would see it.
    async fn has_kept_mark(
        &mut self,
        connection: &mut Connection,
        has_new: bool,
    ) -> Result<Option<bool>, Failure> {
        if !std::mem::take(&mut self.diagnostics.is_marked) || has_new {
            return Ok(None);
        }
        // It leaves FOUND_ROWS().
        let answer = Box::pin(self.ask(connection, "SHOW WARNINGS", Disturbs::RowCount)).await?;
        let is_kept = answer.summary.rows > 0;
        if is_kept {
            if self.diagnostics.is_found_rows_stale() {
                Box::pin(self.learn_found_rows(connection)).await?;
            }
            self.diagnostics.disturb(Disturbs::Both);
            Box::pin(connection.clear_warnings()).await?;
        }
        Ok(Some(is_kept))
    }

    /// How many warnings what does nothing has to tell of (MySQL).
    pub(in crate::client) fn note_conditions(
        &mut self,
        work: &Work<'_>,
        summary: &Summary,
        has_new: bool,
    ) {
        if !self.facts.is_mariadb() && (has_new || !keeps_conditions(work.command)) {
            self.diagnostics.conditions = match summary.error {
                Some(_) => summary.warnings.max(1),
                None => summary.warnings,
            };
        }
    }

    /// Saves the list of warnings; `counted` tells how many there are. What a statement sets for itself
    /// alone (`is_passing`) is told, and nobody's.
    pub(in crate::client) async fn take_warnings(
        &mut self,
        connection: &mut Connection,
        (counted, is_passing): (Option<&Summary>, bool),
    ) -> Result<(), Failure> {
        let has_failed = counted.is_some_and(|summary| summary.error.is_some());
        self.save_warnings(connection, has_failed && !is_passing).await?;
        let Some((saved, summary)) = self.diagnostics.warnings.as_mut().zip(counted) else {
            return Ok(());
        };
        // Those beyond max_error_count are counted, and not kept. The last answer of a text tells of the last
        // statement, as MySQL's SHOW WARNINGS of none.
        saved.count = saved.count.max(summary.warnings.into());
        // An error does not tell how many there are.
        if !self.facts.is_mariadb() && summary.error.is_some() {
            self.diagnostics.conditions = u16::try_from(saved.count).unwrap_or(u16::MAX);
        }
        Ok(())
    }

    /// Whether a list of warnings may be longer than what Fairlane reads of an answer to itself.
    pub(in crate::client) fn may_be_too_long(&self, summary: &Summary) -> bool {
        summary.warnings >= LONG_LIST && self.longest_list().is_none_or(|it| it >= LONG_LIST.into())
    }

    /// How many warnings the server keeps, where that is known.
    fn longest_list(&self) -> Option<u64> {
        self.image.get(MAX).or_else(|| self.facts.variable(MAX))?.parse().ok()
    }

    /// Takes the list of warnings off the connection, which keeps it until a statement uses a
    /// table: the next session must not see it. With `asks_untold` the server is made to tell what a trigger
    /// has set, which an error does not.
    pub(in crate::client) async fn save_warnings(
        &mut self,
        connection: &mut Connection,
        asks_untold: bool,
    ) -> Result<(), Failure> {
        let mut packets = connection.packet(Command::Query, b"SHOW WARNINGS");
        // MySQL's SHOW WARNINGS leaves it, and what clears the list does not.
        let asks_found_rows = !self.facts.is_mariadb() && self.diagnostics.is_found_rows_stale();
        // A short list may have had more, or an error more before it.
        let asks_counts = self.image.get(MAX).is_some()
            || self.longest_list().is_some_and(|longest| longest < DEFAULT_MAX);
        let question = self.question_for_counts(asks_counts, asks_found_rows);
        let asks = question.is_some();
        if let Some(question) = question {
            packets.extend(connection.packet(Command::Query, question));
        }
        if asks_untold {
            packets.extend(connection.packet(Command::Query, TELL.as_bytes()));
        }
        packets.extend(connection.packet(Command::Query, b"SELECT 1 FROM (SELECT 1) t"));
        connection.send(&packets).await?;
        let answer = connection.answer(Shape::Results).await?;
        if asks_untold {
            connection.note_astray(&answer.summary);
        }
        let counts = match asks {
            true => connection.answer(Shape::Results).await?.first_row(),
            false => Vec::new(),
        };
        let told = |index: usize| counts.get(index).and_then(|count| count.parse().ok());
        if asks_found_rows {
            let found_rows = told(0).unwrap_or_else(|| self.diagnostics.found_rows());
            self.diagnostics.note_found_rows(found_rows);
        }
        let mut is_hit = answer.summary.error.is_some();
        for _ in 0..1 + usize::from(asks_untold) {
            let last = connection.answer(Shape::Results).await?;
            is_hit |= last.summary.error.is_some();
            if asks_untold {
                connection.note_astray(&last.summary);
            }
            self.keep_untold(&last.summary.tracked);
        }
        if is_hit {
            // By somebody's KILL QUERY, past Fairlane: what was to be told or taken off may still be there.
            connection.residue.is_astray |= asks_untold;
            connection.clear_warnings().await?;
        }
        self.diagnostics.are_on_connection = false;
        self.diagnostics.disturb(Disturbs::Both);
        if let Some(list) = self.under_way.list.take() {
            self.diagnostics.warnings = Some(list);
            return Ok(());
        }
        let count = told(1).unwrap_or(answer.summary.rows);
        if answer.summary.error.is_some() || count == 0 {
            return Ok(());
        }
        let errors = told(2).unwrap_or_else(|| rows_of_errors(&answer.bytes));
        self.diagnostics.warnings = Some(Saved { packets: answer.bytes.into(), count, errors });
        Ok(())
    }

    /// One question at most, since each ends what the others ask for. MySQL's FOUND_ROWS() raises a warning in the
    /// place of those that are to be counted.
    fn question_for_counts(
        &self,
        asks_counts: bool,
        asks_found_rows: bool,
    ) -> Option<&'static [u8]> {
        match self.facts.is_mariadb() {
            true if asks_counts => Some(COUNTS),
            false if asks_counts && !asks_found_rows => Some(COUNTS_ALONE),
            _ => asks_found_rows.then_some(FOUND_ROWS),
        }
    }

    /// What the server would have told with a later answer was told to a statement of Fairlane's own.
    pub(in crate::client) fn keep_untold(&mut self, tracked: &[Tracked]) {
        self.note_last_gtid(tracked);
        if let Some(teller) = &mut self.teller {
            for told in tracked.iter().filter(|told| last_gtid(told).is_some()) {
                teller.keep_beside(std::slice::from_ref(told));
            }
        }
    }

    /// What @@last_gtid is by what was told.
    pub(in crate::client) fn note_last_gtid(&mut self, tracked: &[Tracked]) {
        if let Some(value) = tracked.iter().filter_map(last_gtid).next_back() {
            self.diagnostics.note_gtid(value);
        }
    }

    /// Turns an error that no connection has answered into a list of warnings: one raises it, so
    /// that the list is the server's own. When none can, the list stays as it was. It is for a statement
    /// that `only_reads`, or does more.
    pub(in crate::client) async fn show_own(
        &mut self,
        error: &Error,
        only_reads: bool,
    ) -> Result<(), Stop> {
        let (code, sqlstate) = error.code();
        let signal = signal(sqlstate, code.into(), error.to_string().as_bytes());
        if let Some(mut held) = self.held.take() {
            // When it can't be had, the connection is gone, and with it all else.
            let _ = self.raise_and_save(held.connection(), &signal).await;
            self.held = Some(held);
            return Ok(());
        }
        let mut checkout = match self.check_out_to_go_on(only_reads).await {
            Ok(checkout) => checkout,
            Err(Refusal::Error(_)) => return Ok(()),
            Err(Refusal::Gone) => return Err(Stop::Client),
        };
        match self.raise_and_save(checkout.connection(), &signal).await {
            Ok(()) => checkout.check_in(),
            Err(_) => checkout.discard(Retire::Quit(Closed::Broken)),
        }
        Ok(())
    }

    /// Has a connection raise an error, and takes over what it shows of it.
    async fn raise_and_save(
        &mut self,
        connection: &mut Connection,
        signal: &str,
    ) -> Result<(), Failure> {
        if self.raise(connection, signal).await? {
            self.save_warnings(connection, false).await?;
        }
        Ok(())
    }

    /// Has a connection raise an error. Whether it has done so.
    pub(super) async fn raise(
        &mut self,
        connection: &mut Connection,
        signal: &str,
    ) -> Result<bool, Failure> {
        if self.diagnostics.is_found_rows_stale() {
            self.learn_found_rows(connection).await?;
        }
        // One that is held is in other circumstances where a statement could not be prepared.
        let diff = diff(&connection.image, &self.image, &connection.base, None);
        let is_ready = self.apply(connection, &diff).await?.is_ok();
        if is_ready {
            self.diagnostics.disturb(Disturbs::RowCount);
            // Its error may be any.
            connection.command(Command::Query, signal.as_bytes()).await?;
        }
        Ok(is_ready)
    }
}

/// The variable for how many warnings are kept, and the less of its defaults.
const MAX: &str = "max_error_count";
const DEFAULT_MAX: u64 = 64;

/// The question for what FOUND_ROWS() is.
pub(in crate::client) const FOUND_ROWS: &[u8] = b"SELECT FOUND_ROWS() LIMIT 1";

/// The same, and how many warnings and errors there were.
const COUNTS: &[u8] = b"SELECT FOUND_ROWS(),@@warning_count,@@error_count LIMIT 1";

/// These without what FOUND_ROWS() is.
const COUNTS_ALONE: &[u8] = b"SELECT 0,@@warning_count,@@error_count LIMIT 1";

/// A change that is told, and with it all that was not: none.
pub(in crate::client) const TELL: &str = "SET SESSION sql_select_limit=@@SESSION.sql_select_limit";

/// The value of @@last_gtid that is told.
fn last_gtid(told: &Tracked) -> Option<&str> {
    match told {
        Tracked::Variable { name, value } if name == "last_gtid" => Some(value),
        _ => None,
    }
}

/// Commands that are no statements for MySQL: it keeps the list of warnings.
pub(in crate::client) fn keeps_conditions(command: Command) -> bool {
    use Command::{Debug, InitDb, Ping, SetOption, StmtFetch, StmtSendLongData};
    matches!(command, Debug | InitDb | Ping | SetOption | StmtFetch | StmtSendLongData)
}

/// Rows of SHOW WARNINGS whose level is Error.
fn rows_of_errors(mut bytes: &[u8]) -> u64 {
    let mut errors = 0;
    while let Ok(framed) = packet::frame(bytes) {
        errors += u64::from(is_error(&bytes[packet::HEADER..framed.wire_length]));
        bytes = &bytes[framed.wire_length..];
    }
    errors
}
