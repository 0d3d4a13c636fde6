//! BEGIN, which begins nothing yet: it is answered at once, and sent to the primary in front of the
//! statement that comes next.
//!
//! ```text
//!  BEGIN ──► OK          no slot, no connection: whoever thinks now keeps nobody waiting
//!  INSERT ... ──► lane and kind of work of this statement, slot, connection ──► BEGIN ──► INSERT ...
//!  SELECT ... ──► the same, with one write for both
//!  COMMIT ──► OK         where nothing came in between
//! ```
//!
//! What a transaction is shows in its first statement: all of them have the same BEGIN, those of users
//! as those of a scraper. Neither server's engines do anything for a BEGIN either: InnoDB takes the
//! snapshot of a transaction with its first read. Where BEGIN would do more than that (it ends what a
//! session holds), or its answer would say more, it goes to the server as it comes.
//!
//! A BEGIN may fail (who kills a statement may hit it), and the server runs what comes behind it all the same. A query
//! has left nothing then once its connection is closed. A change would stay.

use super::along::{COPIED_MAX, is_just_query};
use super::execute::{Unfinished, chooses_schema, has_cursor_of};
use super::moves::Moves;
use super::{Attempt, Refusal, Work};
use crate::backend::{Connection, Exchange};
use crate::client::login::server_error;
use crate::client::{Session, Stop};
use crate::metrics::Closed;
use crate::pool::{Checkout, Retire};
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Command, Shape};
use crate::route::view::BackendId;
use crate::route::{Decision, Reason};
use crate::sql::{Class, Hint, Snapshot, Verdict};
use crate::topology::READ_ONLY;

/// A BEGIN that no server has been sent.
#[derive(Debug, Clone)]
pub(in crate::client) struct Begun {
    /// As it came, in packets.
    packets: Box<[u8]>,
    /// Its text.
    sql: Box<[u8]>,
    verdict: Verdict,
}

impl Begun {
    fn work(&self) -> Work<'_> {
        Work {
            command: Command::Query,
            packets: (&*self.packets).into(),
            shape: Shape::Results,
            verdict: &self.verdict,
            prepared: None,
            sql: &self.sql,
        }
    }
}

impl Session {
    /// Answers a BEGIN that can wait for what comes after it, and a COMMIT or ROLLBACK when nothing
    /// has. Whether `work` was one.
    pub(in crate::client) fn answer_begin(&mut self, work: &Work<'_>) -> bool {
        let tells = self.teller.as_ref().is_some_and(|teller| teller.tells_transactions());
        if self.held.is_some() || tells || !is_plain(work) {
            return false;
        }
        let was_open = self.begun.is_some();
        match work.verdict.class {
            Class::Begin { .. } if self.can_wait() && self.assigned_lane(work).is_none() => {
                let (packets, sql) = (work.packets.to_vec().into(), work.sql.into());
                self.begun = Some(Box::new(Begun { packets, sql, verdict: work.verdict.clone() }));
                self.status |= Status::IN_TRANS;
            }
            Class::Commit | Class::Rollback if was_open && !self.chains() => self.forget_begun(),
            _ => return false,
        }
        self.characteristics.start();
        self.turn(was_open, self.begun.is_none());
        if !self.facts.is_mariadb() {
            // It empties its list for any statement.
            self.diagnostics.end_list();
        }
        self.is_status_told = true;
        self.send_ok();
        self.count_local();
        self.show_binding();
        true
    }

    /// No transaction is waiting for its first statement any more.
    pub(in crate::client) fn forget_begun(&mut self) {
        self.begun = None;
        self.status -= Status::IN_TRANS;
    }

    /// Begins, on a connection that is held from then on, what `work` is the first statement of. What
    /// goes wrong is the answer to `work`, and the transaction goes on waiting: `Some` of what became
    /// of that, or of `work` where it went along.
    pub(in crate::client) async fn begin_for(
        &mut self,
        work: &Work<'_>,
    ) -> Option<Result<(), Stop>> {
        let mut begun = self.begun.take()?;
        self.status -= Status::IN_TRANS;
        let goes_along = goes_with_begin(work);
        // Nothing of it has been said: it may be tried again where a connection was gone already.
        let mut may_retry = true;
        loop {
            let decision = Decision::primary(Reason::Transaction);
            let mut checkout = match self.obtain(work, decision).await {
                Ok(checkout) => checkout,
                Err(Refusal::Gone) => return Some(Err(Stop::Client)),
                Err(Refusal::Error(error)) => {
                    let refused = Box::pin(self.turn_away(work, &error)).await;
                    return Some(self.begin_again(begun, refused));
                }
            };
            self.diagnostics.forget_held();
            self.snapshot = Snapshot::None;
            let unfinished = if goes_along {
                self.under_way.begin = Some(begun);
                let done = self.begin_with(&mut checkout, work).await;
                let waiting = self.under_way.begin.take();
                match (done, waiting) {
                    (Ok(mut summary), _) => {
                        return Some(self.conclude(checkout, work, &mut summary, true).await);
                    }
                    (Err(unfinished), Some(waiting)) => {
                        begun = waiting;
                        unfinished
                    }
                    (Err(unfinished), None) => {
                        // Its transaction has begun there.
                        let recovered = self.recover(checkout, work, unfinished, attempt(true));
                        return Some(Box::pin(recovered).await.unwrap_or(Ok(())));
                    }
                }
            } else {
                match self.begin_on(&mut checkout, &begun, work).await {
                    Ok(()) => {
                        self.held = Some(checkout);
                        return None;
                    }
                    Err(unfinished) => unfinished,
                }
            };
            // In this order: whoever aims says that the session is killed before the aim is over.
            let is_lost = matches!(unfinished, Unfinished::Lost { .. });
            if is_lost && may_retry && !checkout.is_aimed_at() && !self.entry.is_killed() {
                self.context.metrics.backend(BackendId::PRIMARY.index()).retries.inc();
                self.under_way.sent = None;
                checkout.discard(Retire::Quit(Closed::Broken));
                self.entry.set_released();
                may_retry = false;
                continue;
            }
            let told = Box::pin(self.recover(checkout, work, unfinished, attempt(false))).await;
            return Some(self.begin_again(begun, told.unwrap_or(Ok(()))));
        }
    }

    /// Sends the BEGIN that is under way together with `work`, and passes on what that is answered.
    async fn begin_with(
        &mut self,
        checkout: &mut Checkout,
        work: &Work<'_>,
    ) -> Result<Summary, Unfinished> {
        self.put_untold_right(checkout.connection()).await?;
        self.count_route(None);
        self.execute(checkout, work, attempt(false)).await
    }

    /// Puts the BEGIN that is under way into `packets`; whether there is one.
    pub(super) fn put_begin(&self, packets: &mut Vec<u8>) -> bool {
        let begun = self.under_way.begin.as_ref();
        begun.inspect(|begun| packets.extend_from_slice(&begun.packets)).is_some()
    }

    /// Reads the answer to the BEGIN in front of `first`.
    pub(super) async fn pass_begin(
        &mut self,
        connection: &mut Connection,
        first: &Work<'_>,
    ) -> Result<(), Unfinished> {
        let answer = connection.answer(Shape::Results).await;
        let answer = answer.map_err(|_| Unfinished::Lost { untouched: true })?;
        let Some(begun) = self.under_way.begin.take() else { return Ok(()) };
        let taken = self.take_up_begin(connection, &begun, answer);
        match taken {
            Ok(()) => self.note_in_transaction(first),
            Err(_) => self.under_way.begin = Some(begun),
        }
        taken
    }

    /// The same on a connection at rest that the session is to hold for another reason, where it is over
    /// with waiting then; whether it is in the transaction.
    pub(in crate::client) async fn begin_beside(&self, connection: &mut Connection) -> bool {
        let Some(begun) = &self.begun else { return true };
        let is_sent = connection.send(&begun.packets).await.is_ok();
        let answer = if is_sent { connection.answer(Shape::Results).await.ok() } else { None };
        let Some(Exchange { summary, .. }) = answer else { return false };
        summary.tracked.iter().for_each(|tracked| connection.image.apply(tracked));
        summary.status.contains(Status::IN_TRANS)
    }

    async fn begin_on(
        &mut self,
        checkout: &mut Checkout,
        begun: &Begun,
        first: &Work<'_>,
    ) -> Result<(), Unfinished> {
        const LOST: Unfinished = Unfinished::Lost { untouched: true };
        let work = begun.work();
        let own = self.image.schema.clone();
        let connection = checkout.connection();
        self.put_untold_right(connection).await?;
        self.take_off_variables(connection, first.sql).await.map_err(|_| LOST)?;
        if chooses_schema(first) {
            // What was chosen before does not matter, and may be gone.
            Box::pin(self.choose_schema_anew(connection)).await.map_err(|_| LOST)?;
            self.image.schema.clone_from(&connection.image.schema);
        }
        let sent = self.send(checkout, &work, false, false).await;
        self.image.schema = own;
        sent?;
        let connection = checkout.connection();
        let answer = connection.answer(work.shape).await.map_err(|_| LOST)?;
        self.take_up_begin(connection, begun, answer)
    }

    /// Before a transaction is begun: in it it may be too late.
    async fn put_untold_right(&self, connection: &mut Connection) -> Result<(), Unfinished> {
        if connection.residue.has_untold {
            let told = connection.query("DO 0").await;
            told.map_err(|_| Unfinished::Lost { untouched: true })?;
        }
        Ok(())
    }

    /// A BEGIN that the client has its answer of was answered.
    fn take_up_begin(
        &mut self,
        connection: &mut Connection,
        begun: &Begun,
        answer: Exchange,
    ) -> Result<(), Unfinished> {
        let Exchange { mut summary, bytes, .. } = answer;
        if let Some(error) = server_error(&bytes, summary.error) {
            // It may have begun all the same.
            return Err(Unfinished::Spoilt(error));
        }
        // What an earlier session has left untold is put right by the statement that comes now.
        summary.tracked.iter().for_each(|tracked| connection.image.apply(tracked));
        summary.tracked.retain(|tracked| matches!(tracked, Tracked::Characteristics(_)));
        self.take_up_insert_id(connection);
        let row_count = self.diagnostics.row_count();
        self.absorb(connection, &begun.work(), &summary);
        self.diagnostics.keep_row_count(row_count);
        // Its flags may be those of what an earlier session has left.
        self.take_modes_flags();
        let is_open = self.status.contains(Status::IN_TRANS);
        if is_open { Ok(()) } else { Err(Unfinished::Lost { untouched: true }) }
    }

    /// A transaction could not be begun, and its client was `told` so.
    fn begin_again(&mut self, begun: Box<Begun>, told: Result<(), Stop>) -> Result<(), Stop> {
        told?;
        self.begun = Some(begun);
        self.status |= Status::IN_TRANS;
        self.show_binding();
        Ok(())
    }

    /// Whether a BEGIN does nothing but to begin, and its OK says no more than that.
    fn can_wait(&self) -> bool {
        let is_set = |name| self.image.get(name).is_some();
        let is_read_only = self.facts.variable(READ_ONLY).is_none_or(|value| value != "0");
        self.has_autocommit()
            // There BEGIN opens a block (MariaDB).
            && !self.mode.oracle
            && self.is_at_rest()
            && !crate::state::transaction_names::READ_ONLY.into_iter().any(is_set)
            && !is_read_only
            && (self.begun.is_some() || !self.status.contains(Status::IN_TRANS))
    }

    /// Whether nothing but a transaction may bind the session, or has to be told to it.
    pub(super) fn is_at_rest(&self) -> bool {
        self.pins.is_empty() && !self.image_warns && !self.asks_conditions && !self.owes_deadlock
    }

    /// Whether a COMMIT begins the next transaction, or ends the session.
    fn chains(&self) -> bool {
        const VARIABLE: &str = "completion_type";
        let own = self.image.get(VARIABLE).or_else(|| self.facts.variable(VARIABLE));
        own.is_none_or(|value| value != "NO_CHAIN")
    }
}

/// On a connection that the session has just got, or `was_held` before.
fn attempt(was_held: bool) -> Attempt {
    Attempt { was_held, may_retry: false, moves: Moves::Never }
}

/// Whether a statement can be sent in one write with the BEGIN of its transaction.
fn goes_with_begin(work: &Work<'_>) -> bool {
    let Verdict { class, uses_table, statements, effects, needs, .. } = *work.verdict;
    let is_query = class == Class::Read && statements == 1 && effects.is_empty();
    uses_table
        && needs.is_empty()
        && (is_query || class == Class::Write && is_just_query(work))
        && matches!(work.command, Command::Query | Command::StmtExecute)
        && !has_cursor_of(work)
        && work.packets.len() <= COPIED_MAX
}

/// Whether a text is BEGIN, COMMIT or ROLLBACK in its plainest form, and nothing else is asked.
fn is_plain(work: &Work<'_>) -> bool {
    const TEXTS: [&[u8]; 7] = [
        b"begin",
        b"start transaction",
        b"commit",
        b"rollback",
        b"begin work",
        b"commit work",
        b"rollback work",
    ];
    // It is kept while the client thinks.
    const LONGEST: usize = 200;
    let sql = work.sql.trim_ascii();
    let sql = sql.strip_suffix(b";").unwrap_or(sql).trim_ascii_end();
    let verdict = work.verdict;
    work.command == Command::Query
        && work.packets.len() <= LONGEST
        && verdict.statements == 1
        && verdict.effects.is_empty()
        && verdict.needs.is_empty()
        && verdict.hint == Hint::default()
        && TEXTS.iter().any(|text| text.eq_ignore_ascii_case(sql))
}
