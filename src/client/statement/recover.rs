//! A command that has not run to its end: it is tried elsewhere, or its client is told.

use super::execute::Unfinished;
use super::{Attempt, Work};
use crate::client::{Session, Stop};
use crate::error::Error;
use crate::metrics::Closed;
use crate::pool::{Checkout, Retire};
use crate::protocol::{Shape, code};
use crate::sql::Class;

/// What servers say to whom they do not let in, whatever he tries.
const REFUSES_LOGIN: [u16; 3] =
    [code::ACCESS_DENIED, code::ACCOUNT_LOCKED_MYSQL, code::ACCOUNT_LOCKED_MARIADB];

/// What became of a command that has not run to its end; `None`: it is to be tried on the primary.
pub(super) type Recovered = Option<Result<(), Stop>>;

impl Session {
    /// A command has not run to its end on `checkout`; `None` when it is to be tried on the primary.
    pub(in crate::client) async fn recover(
        &mut self,
        mut checkout: Checkout,
        work: &Work<'_>,
        unfinished: Unfinished,
        attempt: Attempt,
    ) -> Recovered {
        let Attempt { was_held, may_retry, .. } = attempt;
        let sent = self.under_way.sent.take();
        Some(match unfinished {
            Unfinished::ReplicaRefused(error) => {
                (self.under_way.was_refused, self.under_way.refusal) = (true, error);
                if was_held {
                    return self.move_refused(checkout, work).await;
                }
                self.give_back_refused(checkout);
                return None;
            }
            Unfinished::Unprepared(error) if may_retry && error != Error::Interrupted => {
                // MySQL refuses what writes when it prepares it.
                (self.under_way.was_refused, self.under_way.refusal) = (true, error.code().0);
                self.give_back_refused(checkout);
                return None;
            }
            Unfinished::Unprepared(error) if attempt.moves_after(&error) => {
                return self.move_refused(checkout, work).await;
            }
            Unfinished::Spoilt(_) if may_retry => {
                self.roll_back_refused(checkout).await;
                return None;
            }
            Unfinished::Lost { untouched } => {
                let name = checkout.pool().name().to_owned();
                // In this order: whoever aims says that the session is killed before the aim is over.
                let is_killed = checkout.is_aimed_at() || self.entry.is_killed();
                let retries = untouched && may_retry;
                if retries {
                    let metrics = &self.context.metrics;
                    metrics.sessions.replica_retries.inc();
                    metrics.backend(checkout.pool().backend().index()).retries.inc();
                }
                // A server that is there, and was only given up, goes on with a statement that nobody ends.
                let how = match self.entry.is_adrift() {
                    true => Retire::Kill,
                    false => Retire::Quit(Closed::Broken),
                };
                if retries {
                    checkout.discard(how);
                    self.entry.set_released();
                    return None;
                }
                if sent.is_some() {
                    self.note_unseen_log(work);
                }
                // It may have been done all the same, or be done yet, and nobody says at which position. What a
                // replica has refused may write.
                match work.verdict.class != Class::Read || self.under_way.was_refused {
                    true => drop(self.writes.lose(checkout, how, sent, self.changes(work))),
                    false => self.writes.discard(checkout, how),
                }
                self.lost(work, name, was_held || is_killed, untouched).await
            }
            Unfinished::Unprepared(error) => {
                self.under_way.error = Some(error.code().0);
                checkout.connection().residue.is_dirty = true;
                if was_held {
                    self.keep_or_release(checkout).await;
                } else {
                    // It was at rest, and must be cleaned before anything else runs on it.
                    self.entry.set_released();
                    checkout.check_in();
                }
                self.refuse(work, &error).await
            }
            Unfinished::GaveWay => self.concede(checkout, work).await,
            Unfinished::Spoilt(error) => {
                self.writes.discard(checkout, Retire::Kill);
                if was_held {
                    // With its transaction, and all that binds it.
                    self.forget_binding();
                    return Some(Err(Stop::Fatal));
                }
                self.entry.set_released();
                self.refuse(work, &error).await
            }
            Unfinished::ClientGone(response) => {
                self.abandon(checkout, work, response, sent);
                Err(Stop::Client)
            }
        })
    }

    /// Answers a command that could not be run; one that has no answer gets none.
    pub(in crate::client) async fn refuse(
        &mut self,
        work: &Work<'_>,
        error: &Error,
    ) -> Result<(), Stop> {
        if work.shape == Shape::Nothing {
            if let Some(prepared) = &work.prepared {
                Box::pin(self.spoil_data(prepared.id, error)).await;
            }
            return Ok(());
        }
        self.send_error(error).await
    }

    /// The primary has no connection for a command. Whom it lets in no more is told so and leaves: he could
    /// run nothing until he logs in anew, and a COM_PING would tell him all the same that all is well.
    pub(in crate::client) async fn turn_away(
        &mut self,
        work: &Work<'_>,
        error: &Error,
    ) -> Result<(), Stop> {
        self.refuse(work, error).await?;
        match error {
            Error::Server { code, .. } if REFUSES_LOGIN.contains(code) => Err(Stop::Client),
            _ => Ok(()),
        }
    }

    /// A replica could not answer: the connection goes back, with the error still on it.
    fn give_back_refused(&self, mut checkout: Checkout) {
        self.context.metrics.sessions.replica_retries.inc();
        checkout.connection().residue.is_dirty = true;
        self.entry.set_released();
        checkout.check_in();
    }

    /// The same of one that has begun a transaction that is not the session's.
    async fn roll_back_refused(&self, mut checkout: Checkout) {
        match checkout.connection().roll_back().await {
            Ok(_) => self.give_back_refused(checkout),
            Err(_) => {
                self.context.metrics.sessions.replica_retries.inc();
                self.entry.set_released();
                checkout.discard(Retire::Quit(Closed::Broken));
            }
        }
    }

    /// The server is gone in the middle of a statement. A session that `ends` is told nothing: a
    /// server that goes away says nothing either, and only so clients know what has happened.
    async fn lost(
        &mut self,
        work: &Work<'_>,
        backend: String,
        ends: bool,
        untouched: bool,
    ) -> Result<(), Stop> {
        let had_state = ends || !self.pins.is_empty();
        self.forget_binding();
        // What the connection carried is lost, or half a result is sent: only a new login helps,
        // as it would with the server itself.
        if had_state || !untouched {
            return Err(Stop::Fatal);
        }
        self.refuse(work, &Error::LostBackend { backend }).await
    }
}
