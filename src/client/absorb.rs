//! After a response: what it changed in the session, and whether the connection stays.

pub(super) mod binding;
pub(super) mod bits;
mod counts;
pub(super) mod flight;
mod left_out;
pub(super) mod routine;
pub(super) mod settle;
pub(super) mod tracking;
mod untold;
pub(super) mod writes;

use super::statement::Work;
use super::{Session, Stop};
use crate::backend::{Connection, KEEP_TEXTS};
use crate::metrics::{Closed, Origin};
use crate::pool::{Checkout, Retire};
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Command, code};
use crate::sql::{self, Class, Effects, Leading, Snapshot};
use crate::state::image::{BIG_SELECTS, SCHEMA_VARIABLES, set_with};
use crate::state::transaction_names::{self, READ_ONLY};
use crate::state::{Pin, Pins, Turn};
use crate::topology::ISOLATION;
use writes::may_be_half_way;

/// Variables that say how long a lock is waited for.
pub(super) fn is_wait(name: &str) -> bool {
    matches!(name, "lock_wait_timeout" | "innodb_lock_wait_timeout")
}

/// Whether `work` may both have set them and used NOWAIT or WAIT.
pub(super) fn hides_wait(work: &Work<'_>) -> bool {
    work.verdict.statements > 1 || work.verdict.effects.contains(Effects::OPAQUE)
}

/// Whether a variable that is told is on.
pub(super) fn is_on(value: &str) -> bool {
    value.eq_ignore_ascii_case("on") || value == "1"
}

/// How servers begin that message, in English.
const SYNTAX_ERROR: &[u8] = b"You have an error in your SQL syntax";

/// Variables that say how texts are read, and how long the client may take its time.
const HEEDED_AT_ONCE: [&str; 4] =
    ["sql_mode", "character_set_client", "wait_timeout", "net_write_timeout"];

/// Whether a CREATE TABLE IF NOT EXISTS with a SELECT may have found the table, of which a note tells, and not selected
/// (MariaDB). Warnings of the SELECT look like that as well.
pub(super) fn may_have_found_its_table(work: &Work<'_>, summary: &Summary) -> bool {
    summary.affected == Some(0)
        && summary.warnings > 0
        && work.verdict.effects.contains(Effects::IMPLICIT_COMMIT | Effects::COUNTS_ROWS)
        && work.verdict.statements == 1
        && sql::has_word(work.sql, b"exists")
}

/// Whether a text may do so: PREPARE of a text in a user variable says nothing of that.
fn may_set_resource_group(sql: &[u8], pins: &Pins) -> bool {
    sql::has_word(sql, b"resource") || pins.has(Pin::SqlPrepare) && sql.contains(&b'@')
}

/// What is tracked with those variables last that other ones set, too.
fn in_order(tracked: &[Tracked]) -> impl Iterator<Item = &Tracked> {
    let is_last = |tracked: &&Tracked| matches!(tracked, Tracked::Variable { name, .. } if name == BIG_SELECTS || name.starts_with("collation_"));
    tracked.iter().filter(move |&it| !is_last(&it)).chain(tracked.iter().filter(is_last))
}

impl Session {
    /// Takes over what a response told, and lets the connection go if nothing binds it.
    pub(super) async fn conclude(
        &mut self,
        mut checkout: Checkout,
        work: &Work<'_>,
        summary: &mut Summary,
        was_held: bool,
    ) -> Result<(), Stop> {
        if let Some(code) = summary.error {
            self.context.metrics.error_sent(Origin::Server, code);
            self.under_way.error = Some(code);
        }
        self.take_up_insert_id(checkout.connection());
        self.absorb(checkout.connection(), work, summary);
        self.absorb_prepared(work, summary);
        let backend = checkout.pool().backend();
        self.context.metrics.backend(backend.index()).bytes_received.inc_by(summary.received);
        let on_primary = backend.is_primary();
        if !on_primary && was_held {
            self.snapshot = self.snapshot.max(self.takes_snapshot(work, summary));
        }
        if let Some(prepared) = &work.prepared {
            self.note_prepared(checkout.connection(), prepared, summary, backend).await;
        }
        if summary.error == Some(code::MAX_PREPARED_STMT_COUNT) {
            // Those that are kept for others count, too: the next one has room.
            self.guard_statements(checkout.connection());
            let _ = Box::pin(checkout.connection().close_some()).await;
        }
        let has_conditions = summary.had_warnings || summary.error.is_some();
        let still_asks = work.verdict.class == Class::Diagnostics && self.keeps_conditions;
        let keeps_new = self.asks_conditions && has_conditions || self.may_be_too_long(summary);
        self.keeps_conditions = on_primary && (keeps_new || still_asks);
        if self.leaves_untold(checkout.connection(), work, summary) {
            // What fails here fails again below.
            let _ =
                Box::pin(self.learn_characteristics(checkout.connection(), work, summary)).await;
        }
        let is_told = self.is_status_told;
        let asked = self.under_way.lock_to_ask_for.take();
        if asked.is_some() {
            self.pins.drop(Pin::UserLock);
        }
        let mut keeps = self.must_keep(work, on_primary, (is_told, was_held));
        let mut settled =
            self.settle(checkout.connection(), work, summary, keeps, on_primary).await;
        if let Some(name) = asked {
            self.pins.add(Pin::UserLock);
            if !keeps && settled.is_ok() {
                settled = Box::pin(self.learn_lock(checkout.connection(), &name)).await;
            }
        }
        // Settling may have found another pin.
        keeps |= self.must_keep(work, on_primary, (is_told, was_held));
        let is_usable = !self.is_released && !checkout.connection().is_restricted;
        if keeps && self.diagnostics.is_insert_id_owed && is_usable && settled.is_ok() {
            settled = Box::pin(self.pay_insert_id(checkout.connection(), summary)).await;
        }
        if settled.is_err() {
            // The client has its answer; what could have been asked later is lost, but not what its session has.
            let had_state = keeps || self.asks_state(checkout.connection(), work, summary);
            if on_primary {
                self.note_unseen_log(work);
            }
            self.writes.discard(checkout, Retire::Quit(Closed::Broken));
            self.forget_binding();
            return if had_state { Err(Stop::Fatal) } else { Ok(()) };
        }
        if self.is_released {
            self.writes.discard(checkout, Retire::Quit(Closed::Broken));
            self.forget_binding();
            return Err(Stop::Client);
        }
        if keeps {
            self.held = Some(checkout);
        } else {
            if on_primary {
                self.writes.hold_back(false);
            }
            self.entry.set_released();
            checkout.check_in();
        }
        self.show_binding();
        Ok(())
    }

    pub(super) fn absorb(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) {
        let effects = work.verdict.effects;
        self.prepared_texts |= self.prepares_changes(work);
        let was_open = self.status.contains(Status::IN_TRANS);
        if matches!(work.verdict.class, Class::Commit | Class::Rollback) && summary.error.is_none()
        {
            // One that is chained sees what there is when it reads first.
            self.snapshot = Snapshot::None;
        }
        self.characteristics.start();
        // What fails may have ended a transaction, or have let locks of tables go.
        connection.residue.tells_late |= was_open || self.pins.has(Pin::TableLock);
        connection.residue.tells_late &= summary.affected.is_none();
        if summary.has_status {
            connection.has_begun = false;
            self.status = summary.status;
        }
        // Preparing tells none, and leaves it.
        let leaves = work.command == Command::StmtPrepare && self.autocommit;
        self.is_status_told &= leaves;
        self.is_status_told |= summary.has_status;
        self.is_status_told &= summary.error.is_none();
        let counts_rows = self.absorb_counts(connection, work, summary);
        self.diagnostics.is_insert_id_stale |= may_have_set_id(work, summary);
        let is_passing = effects.contains(Effects::SET_STATEMENT);
        let mut is_explained =
            is_passing || effects.contains(Effects::TRACKERS) || is_insert_id_set(work, summary);
        self.note_variables(&summary.tracked, is_passing, was_open);
        if was_open {
            self.note_beside(work);
        }
        let mut is_vetoed = false;
        for tracked in in_order(&summary.tracked) {
            match tracked {
                // The statement's own, which it does not say.
                Tracked::Variable { name, .. } if is_wait(name) && !self.sets_wait(work) => {
                    is_explained = true;
                }
                Tracked::Variable { name, value } if !is_passing => {
                    let is_new = self.image.get(name) != Some(&**value);
                    let is_carried = self.absorb_variable(connection, name, value);
                    let is_id = matches!(&**name, "last_insert_id" | "identity");
                    let is_others = is_new && !is_id && !connection.residue.has_untold;
                    is_explained |= is_carried;
                    is_vetoed |= is_carried && is_others && self.sets_none(work);
                    self.image_warns |= is_carried && summary.warnings > 0;
                    connection.residue.image_warns |= is_carried && summary.warnings > 0;
                }
                Tracked::Variable { .. } => {}
                // A routine's own: it has been left again, which nobody says when the routine fails.
                Tracked::Schema(_) if summary.error.is_some() && work.verdict.statements <= 1 => {
                    is_explained = true;
                }
                Tracked::Schema(_) => {
                    is_explained = true;
                    self.absorb_schema(connection, tracked);
                }
                Tracked::Characteristics(text) => {
                    is_explained = true;
                    self.absorb_characteristics(text);
                }
                Tracked::TransactionState(_) => {
                    if has_locked(std::slice::from_ref(tracked)) {
                        self.pins.add(Pin::TableLock);
                    }
                }
                Tracked::Gtids(_) | Tracked::StateChanged => {}
            }
        }
        if effects.contains(Effects::SCHEMA_DEFAULTS) && summary.error.is_none() {
            self.note_altered_schema(connection, work);
        }
        self.diagnostics.is_insert_id_stale &= !is_insert_id_told(work, summary);
        if self.diagnostics.is_insert_id_stale {
            self.pin_for_null();
        }
        connection.residue.is_dirty |=
            summary.had_warnings || summary.error.is_some() || self.diagnostics.is_insert_id_stale;
        self.note_untold(connection, work, summary);
        self.note_flushed(connection, work, summary);
        self.note_has_to_tell(connection, work, summary);
        self.owe_schema(work, summary);
        self.notice_changes(&summary.tracked);
        let is_state_changed = summary.tracked.contains(&Tracked::StateChanged)
            || self.has_changed_untold(work, summary, connection.residue.tells_late);
        if counts_rows && !effects.contains(Effects::FOUND_ROWS) {
            self.pins.drop(Pin::FoundRows);
        }
        let is_explained = is_explained && !is_vetoed;
        self.absorb_pins(connection, work, summary, (is_state_changed, is_explained));
        self.absorb_turn(work, summary, was_open);
        self.is_released |= summary.error.is_none() && self.releases(work);
    }

    /// The session is in another schema.
    pub(super) fn absorb_schema(&mut self, connection: &mut Connection, tracked: &Tracked) {
        for image in [&mut self.image, &mut connection.image] {
            image.apply(tracked);
            SCHEMA_VARIABLES.into_iter().for_each(|name| image.unset(name));
        }
        self.note_own_choice(connection);
        self.entry.labels.lock().schema = self.image.schema.as_deref().map(str::to_owned);
    }

    /// What variables that are told mean beside their values.
    fn note_variables(&mut self, tracked: &[Tracked], is_passing: bool, was_open: bool) {
        for tracked in tracked {
            match tracked {
                Tracked::Variable { name, value } if is_passing && name == "last_gtid" => {
                    self.diagnostics.note_gtid(value);
                }
                Tracked::Variable { name, .. } if !is_passing => {
                    self.characteristics.note_variable(name, was_open);
                }
                _ => {}
            }
        }
    }

    fn note_has_to_tell(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) {
        // MariaDB has something to tell of a statement with rows, and nowhere to put it.
        let has_to_tell = self.facts.is_mariadb()
            && summary.is_tracking_due
            && summary.has_result_set
            && work.verdict.class == Class::Write;
        if has_to_tell {
            connection.residue.has_to_tell = Some(self.life);
            self.diagnostics.is_gtid_held = true;
        }
    }

    /// What is known of a transaction, or of the next one.
    pub(super) fn absorb_characteristics(&mut self, text: &str) {
        let own =
            |names: [&'static str; 2]| names.into_iter().find_map(|name| self.image.get(name));
        let level = own(transaction_names::ISOLATION);
        let level = level.or_else(|| self.facts.variable(ISOLATION)).unwrap_or_default();
        let mode = own(READ_ONLY);
        let is_read_only = mode.is_some_and(is_on);
        self.characteristics.note_tracked(text, level, is_read_only);
        // With one open they are its own, and end with it.
        let is_open = self.status.contains(Status::IN_TRANS);
        if text.starts_with("SET TRANSACTION") && !is_open {
            self.pins.add(Pin::NextTransaction);
        } else if !self.characteristics.outlive() {
            self.pins.drop(Pin::NextTransaction);
            if text.is_empty() && !is_open {
                self.characteristics.end();
            }
        }
    }

    pub(super) fn set_autocommit(&mut self, is_on: bool) {
        let is_told = self.pins.has(Pin::NextTransaction) && !self.characteristics.outlive();
        let is_turned = is_on && !self.autocommit && !is_told;
        if is_turned && self.characteristics.turn_autocommit_on() {
            self.pins.add(Pin::NextTransaction);
        }
        self.autocommit = is_on;
    }

    /// What has become of a transaction, and of its characteristics.
    fn absorb_turn(&mut self, work: &Work<'_>, summary: &Summary, was_open: bool) {
        let (class, effects) = (work.verdict.class, work.verdict.effects);
        if effects.contains(Effects::NEXT_TRANSACTION) && summary.error.is_none() {
            self.characteristics.note_own();
        }
        let is_autocommit = |tracked: &Tracked| matches!(tracked, Tracked::Variable { name, .. } if name == "autocommit");
        if effects.contains(Effects::OPAQUE) && summary.tracked.iter().any(is_autocommit) {
            // It may have been off for a moment.
            let is_on = self.autocommit;
            self.characteristics.note_own();
            self.set_autocommit(false);
            self.set_autocommit(is_on);
        }
        let is_told = |tracked: &&Tracked| matches!(tracked, Tracked::Characteristics(_));
        if let Some(Tracked::Characteristics(text)) = summary.tracked.iter().rev().find(is_told)
            && text.starts_with("SET TRANSACTION")
        {
            self.characteristics.are_told();
        }
        let is_end = matches!(class, Class::Commit | Class::Rollback) && summary.error.is_none();
        self.turn(was_open, is_end);
    }

    /// Whether a transaction is open may have changed.
    pub(super) fn turn(&mut self, was_open: bool, is_end: bool) {
        let had_outlived = self.characteristics.outlive();
        let is_open = self.status.contains(Status::IN_TRANS);
        self.characteristics.turn(Turn { was_open, is_open, is_end });
        if had_outlived && !self.characteristics.outlive() {
            self.pins.drop(Pin::NextTransaction);
        }
    }

    /// Whether `work` may set how long a lock is waited for. MariaDB carries out NOWAIT and WAIT as
    /// such a setting, reports it, and does not report that it takes it back.
    fn sets_wait(&self, work: &Work<'_>) -> bool {
        !self.facts.is_mariadb()
            || work.verdict.class == Class::Session
            || work.verdict.leading == Leading::Set
            || hides_wait(work)
    }

    /// Whether the server closes the connection after `work`.
    fn releases(&self, work: &Work<'_>) -> bool {
        let effects = work.verdict.effects;
        let is_end = matches!(work.verdict.class, Class::Commit | Class::Rollback);
        let by_default = || {
            let own = self.image.get("completion_type");
            own.or_else(|| self.facts.variable("completion_type")) == Some("RELEASE")
        };
        effects.contains(Effects::RELEASE)
            || is_end && !effects.contains(Effects::NO_RELEASE) && by_default()
    }

    /// A variable has a new value; whether that is one to carry.
    pub(super) fn absorb_variable(
        &mut self,
        connection: &mut Connection,
        name: &str,
        value: &str,
    ) -> bool {
        match name {
            // See `writes`, and `settle_trackers`.
            "last_gtid" => {
                self.diagnostics.note_gtid(value);
                return false;
            }
            _ if name.starts_with("session_track_") => return false,
            "last_insert_id" | "identity" => {
                self.diagnostics.insert_id = value.parse().unwrap_or(0);
                connection.insert_id = Some(self.diagnostics.insert_id);
                return true;
            }
            "autocommit" => self.set_autocommit(is_on(value)),
            // Whatever it writes from now on.
            _ if self.writes.leaves_out(name, value) => self.writes.note_unlogged(),
            // `WHERE id IS NULL` finds the row inserted last, once.
            "sql_auto_is_null" if is_on(value) => self.pins.add(Pin::UnreplayableVariable),
            _ if KEEP_TEXTS.contains(&name) => connection.residue.keeps_texts = true,
            _ => {}
        }
        let warns = self.is_told_for_another(name);
        self.image_warns |= warns;
        connection.residue.image_warns |= warns;
        for image in [&mut self.image, &mut connection.image] {
            image.take_over(name, value);
            if let Some((name, value)) = set_with(name, value) {
                image.set(name, value);
            }
        }
        true
    }

    pub(super) fn notice_changes(&mut self, tracked: &[Tracked]) {
        let matters = |tracked: &Tracked| matches!(tracked, Tracked::Variable { name, .. } if HEEDED_AT_ONCE.contains(&&**name));
        if tracked.iter().any(matters) {
            self.image_changed();
        }
    }

    fn absorb_pins(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
        (is_state_changed, is_explained): (bool, bool),
    ) {
        let effects = work.verdict.effects;
        // A function that is called behind one that takes a lock may signal this error as well.
        let is_one = work.verdict.statements <= 1 && !effects.contains(Effects::OPAQUE);
        let may_be_signalled =
            || effects.contains(Effects::USER_LOCK) && !summary.message.starts_with(SYNTAX_ERROR);
        if summary.error == Some(code::PARSE_ERROR) && is_one && !may_be_signalled() {
            return;
        }
        let schema = self.image.schema.as_deref();
        if effects.contains(Effects::OPAQUE)
            && may_be_half_way(work, summary, schema, self.mode_of(work))
        {
            // An ERR packet carries no tracking, and tables for the session alone are tracked by nothing.
            self.pins.add(Pin::StateChanged);
        }
        // An error does not mean that nothing happened: a lock may be taken before it.
        let mut pins = Pins::of_effects(effects);
        let is_single = work.verdict.statements <= 1;
        if effects.contains(Effects::UNREADABLE)
            && summary.error == Some(code::PARSE_ERROR)
            && is_single
        {
            // The server could not read it either.
            pins.drop(Pin::StateChanged);
        }
        // MariaDB does not tell of `SET @@profiling`, nor MySQL of a resource group.
        let is_untold = pins.has(Pin::UnreplayableVariable) || pins.has(Pin::SqlPrepare);
        connection.residue.keeps_texts |= is_untold
            && (KEEP_TEXTS.iter().any(|name| sql::mentions(work.sql, name.as_bytes()))
                || !self.facts.is_mariadb() && may_set_resource_group(work.sql, &pins));
        if pins.has(Pin::NextTransaction) && self.status.contains(Status::IN_TRANS) {
            pins.drop(Pin::NextTransaction);
        }
        let is_run = work.command != Command::StmtPrepare;
        if !self.facts.is_mariadb()
            && is_run
            && sql::sets_by_hint(work.sql, &["timestamp", "insert_id"])
        {
            // MySQL gives them back the value they had, which is not none.
            self.pins.add(Pin::UnreplayableVariable);
        }
        let change = self.change_of_holdings(work, pins);
        let is_carried = summary.error.is_none()
            && change.as_ref().is_some_and(|change| self.carry_variables(connection, work, change));
        for pin in pins.reasons().filter(|&pin| !is_carried || pin != Pin::UserVariable) {
            self.pins.add(pin);
        }
        let is_freed = self.absorb_holdings(work, summary, pins, change.as_ref());
        if effects.contains(Effects::UNLOCK_TABLES)
            && summary.error.is_none()
            && !has_locked(&summary.tracked)
        {
            self.pins.drop(Pin::TableLock);
        }
        if !effects.contains(Effects::XA) && !self.status.contains(Status::IN_TRANS) {
            self.pins.drop(Pin::Xa);
        }
        // What takes a lock or counts rows flags nothing: a trigger did.
        let flags = |pin| !matches!(pin, Pin::UserLock | Pin::FoundRows);
        let is_pins = pins.reasons().any(flags);
        let unexplained =
            effects.contains(Effects::OPAQUE) || !is_explained && !is_freed && !is_pins;
        if is_state_changed && unexplained && !self.is_benign_change(work) {
            match self.may_be_unchanged(summary) {
                true => self.under_way.may_be_unchanged = true,
                false => self.pins.add(Pin::StateChanged),
            }
        }
    }

    /// Whether a prepared statement has another schema than the session.
    pub(super) fn moves(&self, work: &Work<'_>) -> bool {
        let prepared = work.prepared.as_ref().and_then(|work| self.statements.get(work.id));
        prepared.is_some_and(|statement| statement.image.schema != self.image.schema)
    }

    /// Statements that flag a state change which leaves nothing behind that is not known.
    fn is_benign_change(&self, work: &Work<'_>) -> bool {
        matches!(
            work.verdict.class,
            Class::Begin { .. } | Class::Commit | Class::Rollback | Class::Kill { .. }
        )
    }

    /// Whether the session has to keep its connection; `is_told`: the status flags are those of now,
    /// `was_held`: it had it before.
    fn must_keep(
        &self,
        work: &Work<'_>,
        on_primary: bool,
        (is_told, was_held): (bool, bool),
    ) -> bool {
        if self.status.contains(Status::IN_TRANS) || !self.pins.is_empty() || self.keeps_conditions
        {
            return true;
        }
        // With autocommit off a statement may have opened a transaction that the flags do not
        // show (MySQL bug 107875: a savepoint); only its end is a safe moment.
        let ends = matches!(work.verdict.class, Class::Commit | Class::Rollback);
        // What begins nothing keeps what it was given anew, but not what may have been open before.
        let begins_nothing =
            !was_held && matches!(work.verdict.class, Class::Session | Class::Diagnostics);
        on_primary && !self.autocommit && !((ends || begins_nothing) && is_told)
    }

    /// Between statements: keeps the connection if anything binds it.
    pub(super) async fn keep_or_release(&mut self, checkout: Checkout) {
        if !self.autocommit || self.status.contains(Status::IN_TRANS) || !self.pins.is_empty() {
            self.held = Some(checkout);
        } else {
            if checkout.pool().backend().is_primary() {
                // An error told nothing of the end of its transaction.
                self.writes.hold_back(false);
            }
            self.entry.set_released();
            checkout.check_in();
        }
    }
}

/// Whether `work` has set LAST_INSERT_ID() and nothing else that flags a change: MariaDB 11.8 tells
/// another variable in its place, see `state::trackers`.
fn is_insert_id_set(work: &Work<'_>, summary: &Summary) -> bool {
    work.verdict.class == Class::Session
        && work.verdict.effects.contains(Effects::SETS_INSERT_ID)
        && tells(summary, |name| name == "last_gtid")
}

/// Whether `work` may have set LAST_INSERT_ID() to what no packet reports: INSERT ... RETURNING, CALL and
/// what fails half-way.
fn may_have_set_id(work: &Work<'_>, summary: &Summary) -> bool {
    let may_set = Effects::OPAQUE | Effects::SETS_INSERT_ID;
    // Preparing runs nothing.
    work.command != Command::StmtPrepare
        && (work.verdict.effects.intersects(may_set)
            || work.verdict.reason == sql::Reason::NotARead && summary.affected.is_none()
            || work.verdict.class == Class::Write && summary.error.is_some())
}

/// Whether the answer to a SET tells what LAST_INSERT_ID() is now.
fn is_insert_id_told(work: &Work<'_>, summary: &Summary) -> bool {
    work.verdict.class == Class::Session
        && work.verdict.statements <= 1
        && !work.verdict.effects.intersects(Effects::OPAQUE | Effects::INSERT_ID_EXPRESSION)
        && tells(summary, |name| matches!(name, "last_insert_id" | "identity"))
}

fn tells(summary: &Summary, is_it: impl Fn(&str) -> bool) -> bool {
    let named =
        |tracked: &Tracked| matches!(tracked, Tracked::Variable { name, .. } if is_it(name));
    summary.tracked.iter().any(named)
}

/// Whether tables are locked, as the last of them tells.
fn has_locked(tracked: &[Tracked]) -> bool {
    let state = tracked.iter().rev().find_map(|tracked| match tracked {
        Tracked::TransactionState(state) => Some(state),
        _ => None,
    });
    state.is_some_and(|state| state.contains('L'))
}
