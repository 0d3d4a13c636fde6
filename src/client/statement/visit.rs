//! What costs a transaction on a replica, which has read there, its snapshot, and what does not.
//!
//! Whatever is no plain read goes to the primary. Nothing of much of that is left in a transaction that only reads, nor
//! has it to do with rows: a function of the session, a SHOW, a change that is refused. It runs on the primary, in a
//! transaction of the same kind, which is rolled back, and the session goes on where it was.

use tokio::time::Instant;

use super::Work;
use crate::client::{Session, Stop};
use crate::metrics::Closed;
use crate::pool::Retire;
use crate::protocol::status::Status;
use crate::protocol::{Command, code};
use crate::sql::{
    Class, Effects, Leading, Needs, Reason, Snapshot, Verdict, are_plain_reads, changes_rows,
    has_word, mentions,
};

impl Session {
    /// `work` is nothing for the replica that the session holds: its transaction moves to the primary, unless it can
    /// come back. `Some` of what became of `work`, if that is done.
    pub(super) async fn leave_replica(&mut self, work: &Work<'_>) -> Option<Result<(), Stop>> {
        if self.kept_snapshot() != Snapshot::None {
            if let Some(verdict) = self.as_one_read(work) {
                let work = Work {
                    command: work.command,
                    packets: (&*work.packets).into(),
                    shape: work.shape,
                    verdict: &verdict,
                    prepared: None,
                    sql: work.sql,
                };
                return Some(Box::pin(self.run_work(&work)).await);
            }
            if self.may_visit(work) {
                return Some(self.visit_primary(work).await);
            }
        }
        let is_given_up = self.is_given_up_without_client(work);
        match self.move_to_primary(is_given_up).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.refuse(work, &error).await),
            Err(stop) => Some(Err(stop)),
        }
    }

    /// The verdict on a text of several plain reads as on one: their transaction has to see the same in all of them.
    fn as_one_read(&self, work: &Work<'_>) -> Option<Verdict> {
        let verdict = work.verdict;
        let may_be = work.command == Command::Query
            && verdict.reason == Reason::MultiStatement
            && verdict.effects.is_empty()
            && verdict.needs.is_empty()
            && are_plain_reads(work.sql, self.mode);
        may_be.then(|| Verdict { class: Class::Read, reason: Reason::PlainRead, ..verdict.clone() })
    }

    /// Whether the session may come back from the primary after `work`.
    fn may_visit(&self, work: &Work<'_>) -> bool {
        let tells = self.teller.as_ref().is_some_and(|teller| teller.tells_transactions());
        self.pins.is_empty()
            && self.autocommit
            && !self.asks_conditions
            && !tells
            && (asks_no_rows(work) || self.may_be_refused(work))
    }

    /// Whether the primary may refuse `work` just since it does in any transaction that only reads, or anywhere.
    fn may_be_refused(&self, work: &Work<'_>) -> bool {
        let verdict = work.verdict;
        runs(work)
            && verdict.statements == 1
            && match verdict.reason {
                Reason::NotUnderstood => {
                    let may_do = Effects::UNREADABLE | Effects::KILL | Effects::IMPLICIT_COMMIT;
                    !verdict.effects.intersects(may_do)
                }
                Reason::NotARead => {
                    Effects::COUNTS_ROWS.contains(verdict.effects)
                        && changes_rows(work.sql, self.mode)
                }
                _ => false,
            }
    }

    /// Runs `work` on the primary, and comes back if nothing is left of it.
    async fn visit_primary(&mut self, work: &Work<'_>) -> Result<(), Stop> {
        self.learn_of_replica().await;
        let before = (self.status, self.is_status_told, self.characteristics);
        let is_given_up = self.is_given_up_without_client(work);
        let replica = match self.begin_on_primary(is_given_up).await? {
            Ok(replica) => replica,
            Err(error) => return self.refuse(work, &error).await,
        };
        self.under_way.error = None;
        let done = Box::pin(self.run_work(work)).await;
        let Some(mut replica) = replica else { return done };
        let may_return = done.is_ok() && self.has_left_nothing(work);
        if !may_return || replica.is_lost(Instant::now()) || !self.leave_primary().await {
            self.give_up_replica(replica);
            return done;
        }
        (self.status, self.is_status_told, self.characteristics) = before;
        let now = self.context.now();
        self.has_used_up_to(now, false);
        self.account.granted(now, replica.pool().beside());
        self.entry.set_connection(replica.pool().backend(), replica.connection());
        self.held = Some(replica);
        self.show_binding();
        done
    }

    /// Whether `work`, which has run, has neither left anything nor told of rows.
    fn has_left_nothing(&self, work: &Work<'_>) -> bool {
        const REFUSALS: [u16; 2] = [code::CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, code::PARSE_ERROR];
        let was_refused = self.under_way.error.is_some_and(|error| REFUSALS.contains(&error));
        (was_refused || asks_no_rows(work)) && self.is_just_open()
    }

    /// Whether nothing binds the session but its transaction.
    fn is_just_open(&self) -> bool {
        self.pins.is_empty()
            && self.autocommit
            && !self.keeps_conditions
            && self.status.contains(Status::IN_TRANS)
    }

    /// Ends the transaction on the primary and lets its connection go, once all on it is known; whether it could.
    async fn leave_primary(&mut self) -> bool {
        let Some(mut primary) = self.held.take() else { return false };
        let learned = self.learn_to_leave(primary.connection()).await;
        if learned.is_ok() && !self.is_just_open() {
            self.held = Some(primary);
            return false;
        }
        let ended = match learned {
            Ok(()) => primary.connection().roll_back().await,
            Err(failure) => Err(failure),
        };
        self.entry.set_released();
        match ended {
            Ok(_) => primary.check_in(),
            // The client has its answer; only what could have been asked later is lost.
            Err(_) => primary.discard(Retire::Quit(Closed::Broken)),
        }
        self.diagnostics.forget_held();
        true
    }
}

fn runs(work: &Work<'_>) -> bool {
    work.command == Command::Query
        || work.command == Command::StmtExecute && !super::execute::has_cursor_of(work)
}

/// Whether the answer to `work` hangs on no table's rows, and nothing is left of it whatever the answer is.
fn asks_no_rows(work: &Work<'_>) -> bool {
    let verdict = work.verdict;
    match work.command {
        Command::Statistics | Command::FieldList | Command::StmtPrepare => true,
        Command::Query | Command::StmtExecute => {
            let is_plain = match verdict.reason {
                Reason::SessionFunction | Reason::NotARead => {
                    matches!(verdict.leading, Leading::Select | Leading::Do)
                        && !verdict.uses_table
                        && !mentions(work.sql, b"into")
                        // `TABLE t` reads one without a FROM (MySQL).
                        && !mentions(work.sql, b"table")
                }
                Reason::ServerSpecific => {
                    verdict.leading == Leading::Show
                        && !mentions(work.sql, b"select")
                        && !has_word(work.sql, b"where")
                }
                _ => false,
            };
            is_plain
                && runs(work)
                && verdict.statements == 1
                && verdict.effects.is_empty()
                && !verdict.needs.contains(Needs::TRACKERS)
        }
        _ => false,
    }
}
