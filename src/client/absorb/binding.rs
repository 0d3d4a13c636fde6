//! What binds a session to its connection, as operators see it: pins, and how long.

use tokio::time::Instant;

use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::metrics::BoundBy;
use crate::protocol::Command;
use crate::protocol::response::Summary;
use crate::protocol::status::Status;
use crate::sql::{Effects, Held, Holding, Literal, Mode, holding};
use crate::state::{Characteristics, Holdings, Pin, Pins};

/// What has been shown of a session's binding.
#[derive(Debug, Default)]
pub(in crate::client) struct Shown {
    pins: Pins,
    /// What keeps the connection, and the moment up to which that time is counted.
    bound: Option<(BoundBy, Instant)>,
}

impl Session {
    /// Nothing binds the session to a connection any more.
    pub(in crate::client) fn forget_binding(&mut self) {
        self.pins = Pins::default();
        self.holdings = Holdings::default();
        self.characteristics = Characteristics::default();
        self.open_cursors.clear();
        self.long_data.clear();
        self.forget_begun();
        self.entry.set_released();
        self.show_binding();
    }

    /// What a statement that brings `pins` does to what is held by name, if that may matter.
    pub(in crate::client) fn change_of_holdings(
        &self,
        work: &Work<'_>,
        pins: Pins,
    ) -> Option<Holding> {
        if pins.is_empty() && self.pins.is_empty() {
            return None;
        }
        let is_run = matches!(work.command, Command::Query | Command::StmtExecute);
        let may_matter = pins.has(Pin::UserVariable)
            || Held::ALL.iter().any(|held| pins.has(held.pin()) || self.pins.has(held.pin()));
        let is_one = work.verdict.statements == 1;
        if !is_run || !may_matter || !is_one || work.verdict.effects.contains(Effects::OPAQUE) {
            return None;
        }
        // Names without a schema are those of the one in which it was prepared.
        let schema = match &work.prepared {
            Some(prepared) => self.statements.get(prepared.id)?.image.schema.as_deref(),
            None => self.image.schema.as_deref(),
        };
        let mode = self.mode_of(work);
        let is_of_lock = pins.has(Pin::UserLock) || self.pins.has(Pin::UserLock);
        if let Some(prepared) = work.prepared.as_ref().filter(|_| is_of_lock)
            && let Some(text) = self.statements.get(prepared.id)?.with_values(prepared.payload)
            && let Some(change) = holding(&text, mode, schema)
            && matches!(change, Holding::Takes(Held::Lock, _) | Holding::Frees(Held::Lock, _))
        {
            return Some(change);
        }
        holding(work.sql, mode, schema)
    }

    /// How the text of a command is read: one that was prepared as it was then.
    pub(in crate::client) fn mode_of(&self, work: &Work<'_>) -> Mode {
        let prepared = work.prepared.as_ref().and_then(|it| self.statements.get(it.id));
        prepared.map_or(self.mode, |statement| statement.mode)
    }

    /// Gives literal values of user variables to the image instead of pinning for them.
    pub(in crate::client) fn carry_variables(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        change: &Holding,
    ) -> bool {
        let Holding::Sets(variables) = change else { return false };
        if self.pins.has(Pin::UserVariable) {
            return false;
        }
        // Literals are in the character set of when they were prepared.
        let prepared = work.prepared.as_ref().and_then(|it| self.statements.get(it.id));
        let image = prepared.map_or(&self.image, |statement| &statement.image);
        let mut values = Vec::with_capacity(variables.len());
        for (name, value) in variables {
            let text = match value {
                Literal::Bare(text) => text.to_string(),
                Literal::Text(text) => {
                    let Some((charset, collation)) = image.of_literals(&connection.base) else {
                        return false;
                    };
                    format!("_{charset}'{text}' COLLATE '{collation}'")
                }
            };
            values.push((&**name, text));
        }
        if !self.image.has_room_for(&values) {
            return false;
        }
        self.variable_sets = self.variable_sets.wrapping_add(1);
        for (name, text) in values {
            self.image.set(name, &text);
            connection.image.set(name, &text);
        }
        true
    }

    /// Takes over what a statement took or gave back by name; whether nothing of some kind is held
    /// any more, so that its pin is gone.
    pub(in crate::client) fn absorb_holdings(
        &mut self,
        work: &Work<'_>,
        summary: &Summary,
        pins: Pins,
        change: Option<&Holding>,
    ) -> bool {
        let effects = work.verdict.effects;
        let is_unsure = work.verdict.statements > 1 || effects.contains(Effects::OPAQUE);
        if let Some(Holding::Takes(Held::Lock, name)) = change {
            self.under_way.lock_to_ask_for = Some(name.clone());
        }
        for held in Held::ALL.into_iter().filter(|held| self.pins.has(held.pin())) {
            if pins.has(held.pin()) {
                self.holdings.take(held, change);
            }
            if is_unsure {
                self.holdings.lose_track(held);
            }
        }
        let Some(change) = change else { return false };
        if *change == Holding::Renames {
            self.holdings.lose_track(Held::Table);
        }
        // A function was called if there is a row of it, or nothing but the call. MySQL runs no DO at a limit of 0.
        let is_called = match summary.has_result_set {
            true => summary.rows == 1,
            false => {
                self.facts.is_mariadb()
                    || !super::counts::is_do(work)
                    || self.select_limit() != Some("0")
            }
        };
        let is_done = summary.error.is_none() && is_called;
        let freed = if is_done { self.holdings.free(change) } else { None };
        let Some(held) = freed.filter(|held| self.pins.has(held.pin())) else { return false };
        self.pins.drop(held.pin());
        true
    }

    /// Asks whether the session holds a lock of this name, and forgets it if not: one that was not granted
    /// binds nobody.
    pub(in crate::client) async fn learn_lock(
        &mut self,
        connection: &mut Connection,
        name: &[u8],
    ) -> Result<(), Failure> {
        let name_text = String::from_utf8_lossy(name);
        let question = format!("SELECT IS_USED_LOCK('{name_text}')<=>CONNECTION_ID() LIMIT 1");
        let answer = self.ask(connection, &question, Disturbs::Both).await?;
        let is_free = answer.first_row().first().is_some_and(|holds| holds == "0");
        if is_free && self.holdings.forget(Held::Lock, name) {
            self.pins.drop(Pin::UserLock);
        }
        Ok(())
    }

    /// Shows what binds the session in metrics and registry.
    pub(in crate::client) fn show_binding(&mut self) {
        let in_transaction = self.status.contains(Status::IN_TRANS);
        self.entry.set_bound(self.pins, in_transaction);
        self.count_bound_time(in_transaction);
        if self.pins == self.shown.pins {
            return;
        }
        for &pin in Pin::ALL {
            let index = pin as usize;
            match (self.shown.pins.has(pin), self.pins.has(pin)) {
                (false, true) => {
                    self.context.metrics.pinned(index).inc();
                    self.context.metrics.pins_total(index).inc();
                }
                (true, false) => self.context.metrics.pinned(index).dec(),
                _ => {}
            }
        }
        self.shown.pins = self.pins;
    }

    /// Free sessions, nearly all, cost no look at the clock.
    fn count_bound_time(&mut self, in_transaction: bool) {
        let by = match (self.held.is_some(), in_transaction, self.pins.is_empty()) {
            (false, ..) => None,
            (true, false, false) => Some(BoundBy::Pin),
            // Without autocommit a transaction may be open that no flag shows.
            (true, true, _) | (true, false, true) => Some(BoundBy::Transaction),
        };
        if by.is_none() && self.shown.bound.is_none() {
            return;
        }
        let now = Instant::now();
        if let Some((by, since)) = self.shown.bound {
            let seconds = now.duration_since(since).as_secs_f64();
            self.context.metrics.sessions.bound_seconds_total(by).inc_by(seconds);
        }
        self.shown.bound = by.map(|by| (by, now));
    }
}
