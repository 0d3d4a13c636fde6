//! Opening connections: at a bounded pace, within the bound, and with the server's own words when
//! it refuses.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

#[cfg(doc)]
use super::Epochs;
use super::epoch::had_at_opening;
use super::{Pool, Proof, Retire};
use crate::backend::{self, Connection, ConnectionKey, Credential, LINGER, LoginError, UnreadId};
use crate::error::Error;
use crate::metrics::Closed;
use crate::protocol::code;
use crate::state::Image;

/// Openings that may be made at once after a pause, as time ahead of the pace.
const BURST: Duration = Duration::from_millis(100);
/// How long a connection that timed out while opening still counts: the server may be about to
/// accept it.
const TIMED_OUT_LINGER: Duration = Duration::from_secs(1);

/// Pause after which who waits for the right to open a connection looks for an idle one again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks whether the control connection has followed to another server.
const LOOKS_AWAY: u32 = 30;

/// After so many looks without a right it closes another one.
const LOOKS: u32 = 10;

/// For whom a connection is.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// What has to be equal.
    pub key: &'a Arc<ConnectionKey>,
    /// How to log in anew.
    pub credential: &'a Credential,
    /// What proved the password at the session's own login; `None` where that is not known.
    pub proof: Option<Proof>,
}

/// What a session needs of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What has to be equal.
    pub key: &'a Arc<ConnectionKey>,
    /// How to log in anew.
    pub credential: &'a Credential,
    /// That of [`Whose`].
    pub proof: Option<Proof>,
    /// The session's image: a connection near to it is preferred.
    pub image: &'a Image,
    /// The session's LAST_INSERT_ID(): a connection that has it is preferred.
    pub insert_id: u64,
    /// [`Epochs::logins`] when the session began: no older connection will do.
    pub epoch: u64,
    /// The session's id.
    pub session: u32,
    /// The session's LAST_INSERT_ID() that is unread on a connection: that one is preferred, and
    /// given to it as it is.
    pub unread: Option<&'a Arc<UnreadId>>,
    /// Takes a connection also with another session's: it asks for it on its way.
    pub asks: bool,
    /// A wrong password, for a server that counts them: it is expected to refuse it.
    pub is_guess: bool,
}

impl<'a> Request<'a> {
    /// A connection with nothing of the session that asks, which has this id and begins in this epoch.
    pub fn plain(
        Whose { key, credential, proof }: Whose<'a>,
        image: &'a Image,
        (session, epoch): (u32, u64),
    ) -> Self {
        let (insert_id, unread, asks, is_guess) = (0, None, false, false);
        Self { key, credential, proof, image, insert_id, epoch, session, unread, asks, is_guess }
    }
}

/// A login that is to be made.
pub(super) struct Opening {
    pub(super) key: Arc<ConnectionKey>,
    pub(super) credential: Credential,
    pub(super) proof: Option<Proof>,
    is_guess: bool,
}

/// Who can't be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// The server can't be worked with.
    Server,
    /// Nobody more is let in.
    Everybody,
    /// Others may be let in all the same.
    Account,
}

impl Kept {
    /// Who can't after `error`. Where servers are told the client's address they judge that.
    fn out_by(error: &LoginError, is_told_address: bool) -> Self {
        match error {
            LoginError::Refused(Error::Server { code, .. }) => match *code {
                code::SERVER_OFFLINE | code::SERVER_SHUTDOWN => Self::Server,
                code::CON_COUNT_ERROR => Self::Everybody,
                code::HOST_IS_BLOCKED | code::HOST_NOT_PRIVILEGED if !is_told_address => {
                    Self::Everybody
                }
                _ => Self::Account,
            },
            LoginError::Refused(_) | LoginError::Plugin(_) => Self::Account,
            _ => Self::Server,
        }
    }
}

/// A bound on openings per second (a virtual schedule: each opening has its moment).
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(None) }
    }

    async fn wait(&self) {
        let now = Instant::now();
        let moment = {
            let mut next = self.next.lock();
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            let moment = next.unwrap_or(earliest).max(earliest);
            *next = Some(moment + self.interval);
            moment
        };
        if moment > now {
            sleep_until(moment).await;
        }
    }
}

impl Pool {
    /// Opens a connection in a task of its own, so that a client that gives up does not leave one
    /// half open.
    pub(super) async fn open(
        self: &Arc<Self>,
        request: &Request<'_>,
    ) -> Result<Box<Connection>, Error> {
        let (tell, told) = oneshot::channel();
        let pool = self.clone();
        let opening = Arc::new(Opening {
            key: request.key.clone(),
            credential: request.credential.clone(),
            proof: request.proof,
            is_guess: request.is_guess,
        });
        tokio::spawn(async move {
            pool.metrics().opening.inc();
            pool.openings.fetch_add(1, Ordering::Relaxed);
            let opened = pool.open_now(&opening).await;
            pool.openings.fetch_sub(1, Ordering::Relaxed);
            pool.metrics().opening.dec();
            match &opened {
                Ok(_) => {
                    pool.metrics().opened_total.inc();
                    pool.reach.succeeded();
                    pool.refusals.forget(&opening.key);
                }
                Err(_) => pool.metrics().open_errors_total.inc(),
            }
            // Nobody waits any more: it must not count as idle, since whoever waits for the
            // permit would not see it.
            if let Err(Ok(connection)) = tell.send(opened) {
                pool.retire(connection, Retire::Quit(Closed::Evicted));
            }
        });
        told.await.unwrap_or_else(|_| Err(self.unavailable("opening was interrupted")))
    }

    async fn open_now(self: &Arc<Self>, opening: &Arc<Opening>) -> Result<Box<Connection>, Error> {
        let turn = self.turn(opening).await?;
        let limit = self.ages.connect_timeout;
        let Ok(permit) = timeout(limit, self.permit()).await else {
            const WHY: &str = "old connections are not closed by the server";
            self.complain_of_opening(WHY);
            return Err(self.unavailable(WHY));
        };
        self.pace.wait().await;
        let (logins, applied) = (self.epochs.logins(), self.applied.now());
        let (schemas, compares_grants) = (self.epochs.schemas(), self.epochs.are_astray());
        let login = Box::pin(self.log_in(opening, compares_grants));
        match timeout(limit, login).await {
            Ok(Ok(mut connection)) => {
                Self::let_in(turn);
                connection.epoch = match self.backend.is_primary() {
                    true => logins,
                    false => had_at_opening(applied, connection.generation),
                };
                connection.schema_epoch = schemas;
                connection.hold(permit);
                self.admit_persona(Box::new(connection), compares_grants)
            }
            Ok(Err(error)) => {
                self.note_failed(opening, &error);
                sleep(LINGER).await;
                drop(permit);
                self.doubt(opening, turn, &error);
                Err(self.refused(error))
            }
            Err(_) => {
                let why =
                    format!("no login within {} ms (pool.connect_timeout)", limit.as_millis());
                self.note_unreachable(&why);
                tokio::spawn(async move {
                    sleep(TIMED_OUT_LINGER).await;
                    drop(permit);
                });
                Err(self.unavailable(&why))
            }
        }
    }

    /// A login has failed with `error`.
    fn note_failed(
        self: &Arc<Self>,
        Opening { key, proof, is_guess, .. }: &Opening,
        error: &LoginError,
    ) {
        let kept = Kept::out_by(error, key.client.is_some());
        if kept == Kept::Server {
            return self.note_unreachable(&error.to_string());
        }
        if !*is_guess {
            self.complain_of_refusal((&key.user, *proof), error);
        }
        // Of the primary there is no other.
        if !self.backend.is_primary() {
            self.refusals.note((kept == Kept::Account).then(|| key.clone()), Instant::now());
        }
    }

    /// It could not be reached, or said nothing. Of the primary there is no other.
    fn note_unreachable(&self, why: &str) {
        if self.backend.is_primary() {
            self.complain_of_opening(why);
        } else if self.reach.failed() {
            tracing::warn!(backend = self.name(), error = why, "no connections can be opened");
        }
    }

    /// A connection to the server that the control connection is on. One to another server has that look
    /// where the address leads to by now, and waits a moment for it.
    async fn log_in(
        &self,
        Opening { key, credential, .. }: &Opening,
        compares_grants: bool,
    ) -> Result<Connection, LoginError> {
        loop {
            let mut connection = backend::open(&self.route, key.clone(), credential).await?;
            if compares_grants && !connection.is_restricted {
                connection.learn_grants().await?;
            }
            for _ in 0..LOOKS_AWAY {
                if let Some(generation) = self.whereabouts.generation_of(&connection.server) {
                    connection.generation = generation;
                    connection.place = self.whereabouts.clone();
                    return Ok(connection);
                }
                self.control.doubt(self.backend);
                sleep(LOOK_AGAIN).await;
            }
            tracing::warn!(
                backend = self.name(),
                server = connection.server,
                "the address leads to several servers: write each as a server of its own"
            );
            connection.close().await;
        }
    }

    /// The right to one more connection; an idle one has to go when there is none left.
    async fn permit(self: &Arc<Self>) -> OwnedSemaphorePermit {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return permit;
        }
        let mut has_evicted = self.evict_oldest();
        let mut acquired = pin!(self.permits.clone().acquire_owned());
        let mut looks = 0_u32;
        loop {
            match timeout(LOOK_AGAIN, &mut acquired).await {
                Ok(Ok(permit)) => return permit,
                Ok(Err(_)) => unreachable!("the semaphore of a pool is never closed"),
                Err(_) => looks = looks.wrapping_add(1),
            }
            // One may have come to rest meanwhile, and what it makes free may go to another.
            if !has_evicted || looks.is_multiple_of(LOOKS) {
                has_evicted |= self.evict_oldest();
            }
        }
    }

    /// Closes the connection that has been idle for longest; whether there was one.
    fn evict_oldest(self: &Arc<Self>) -> bool {
        let oldest = self.shared.lock().idle.take_oldest();
        let Some(oldest) = oldest else { return false };
        self.retire(oldest, Retire::Quit(Closed::Evicted));
        true
    }

    fn refused(&self, error: LoginError) -> Error {
        match error {
            LoginError::Refused(refusal) => refusal,
            other => self.unavailable(&other.to_string()),
        }
    }

    pub(super) fn unavailable(&self, detail: &str) -> Error {
        Error::BackendUnavailable { backend: self.name().to_owned(), detail: detail.to_owned() }
    }
}
