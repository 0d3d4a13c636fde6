//! Giving way: a transaction that holds a row lock for which more urgent work waits is rolled back,
//! as the server itself does it to one of two that wait for each other.
//!
//! ```text
//! a statement runs ──► KILL QUERY ──► its error 1317 kept back ──► ROLLBACK ──► error 1213
//! the client thinks ─────────────────────────────────────────────► ROLLBACK ──► error 1213 in answer
//!                                                                               to its next statement
//! ```
//!
//! The second way is what a Galera node does to a transaction that a replicated one overtakes. The
//! connection, its prepared statements and all session state stay, as after any deadlock. A
//! statement whose answer has begun, or that can't be undone by a rollback, is left to end first.

use tokio::task::JoinHandle;

use super::diagnostics::Disturbs;
use super::registry::Place;
use super::statement::Work;
use super::{Session, Stop};
use crate::backend::{Connection, Failure};
use crate::config::settings::LockPolicy;
use crate::error::Error;
use crate::metrics::Closed;
use crate::pool::{Checkout, Retire};
use crate::protocol::Command;
use crate::protocol::status::Status;
use crate::sql::{Class, Effects};
use crate::state::{Pin, Pins};

/// What a rollback would not undo, or would undo without the client's knowing.
const KEEPERS: [Pin; 7] = [
    Pin::TableLock,
    Pin::BackupLock,
    Pin::Handler,
    Pin::Xa,
    Pin::LongData,
    Pin::Cursor,
    Pin::ExpiredPassword,
];

fn keeps(pins: Pins) -> bool {
    KEEPERS.iter().any(|pin| pins.has(*pin))
}

impl Session {
    /// Whether a statement may be stopped for others: what it has done is undone with its
    /// transaction, and error 1213 is what its client expects of it.
    pub(super) fn can_be_stopped(&self, work: &Work<'_>) -> bool {
        let lasting = Effects::IMPLICIT_COMMIT | Effects::OPAQUE;
        let is_wanted = self.policy.lock_guard.policy == LockPolicy::Abort;
        is_wanted
            && matches!(work.command, Command::Query | Command::StmtExecute)
            && matches!(work.verdict.class, Class::Read | Class::Write)
            && work.verdict.statements <= 1
            && !work.verdict.effects.intersects(lasting)
            && !keeps(self.pins)
    }

    /// Has a server stop what runs on a connection.
    pub(super) fn stop_statement(&self, place: Place) -> JoinHandle<bool> {
        let Place { backend, thread_id, generation } = place;
        let (topology, pool) = (self.context.topology.clone(), self.context.pool(backend).clone());
        tokio::spawn(async move {
            let aim = pool.aim(thread_id);
            let is_done = topology.kill(backend, thread_id, true, generation).await;
            if !is_done {
                aim.stay();
            }
            is_done
        })
    }

    /// A statement was stopped for others: its transaction ends, and the client is told.
    pub(super) async fn concede(
        &mut self,
        mut checkout: Checkout,
        work: &Work<'_>,
    ) -> Result<(), Stop> {
        self.entry.need_not_give_way();
        self.context.metrics.locks.aborted.inc();
        self.take_up_insert_id(checkout.connection());
        let undone = self.roll_back_for_others(checkout.connection()).await;
        self.send_error(&Error::Deadlock).await?;
        if let Some(prepared) = &work.prepared {
            self.forget_statement(prepared.id);
        }
        if undone.is_err() {
            self.writes.discard(checkout, Retire::Quit(Closed::Broken));
            self.forget_binding();
            return Err(Stop::Fatal);
        }
        self.diagnostics.is_insert_id_stale = true;
        self.held = Some(checkout);
        self.release_if_free().await;
        Ok(())
    }

    /// Between commands, with a connection held: ends its transaction for others, if that can be
    /// done without harm.
    pub(super) async fn give_way(&mut self) -> Result<(), Stop> {
        self.entry.need_not_give_way();
        let is_open = self.status.contains(Status::IN_TRANS) || !self.autocommit;
        let Some(mut held) = self.held.take() else { return Ok(()) };
        if !is_open || keeps(self.pins) || !held.pool().backend().is_primary() {
            self.context.metrics.locks.spared.inc();
            self.held = Some(held);
            return Ok(());
        }
        let undone = async {
            self.learn_all(held.connection(), None).await?;
            self.roll_back_for_others(held.connection()).await
        };
        if undone.await.is_err() {
            self.writes.discard(held, Retire::Quit(Closed::Broken));
            self.forget_binding();
            return Err(Stop::Fatal);
        }
        self.context.metrics.locks.aborted.inc();
        self.owes_deadlock = true;
        self.held = Some(held);
        self.release_if_free().await;
        Ok(())
    }

    async fn roll_back_for_others(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let tracked = connection.roll_back().await?;
        // Rows that it does not take back have a position.
        self.writes.note_told(&tracked);
        self.writes.hold_back(false);
        self.note_last_gtid(&tracked);
        if let Some(teller) = &mut self.teller {
            teller.keep(&tracked);
        }
        // The list of what was stopped is nobody's.
        connection.clear_warnings().await?;
        self.diagnostics.disturb(Disturbs::Both);
        self.status -= Status::IN_TRANS | Status::IN_TRANS_READONLY;
        Ok(())
    }

    /// Whether a command is the one that is answered with the deadlock that is owed. A client
    /// that rolls back by itself need not know.
    pub(super) fn is_told_by(&mut self, work: &Work<'_>) -> bool {
        let runs = work.command == Command::Query || work.command.executes();
        if !runs || matches!(work.verdict.class, Class::Diagnostics | Class::Kill { .. }) {
            return false;
        }
        self.owes_deadlock = false;
        work.verdict.class != Class::Rollback
    }
}
