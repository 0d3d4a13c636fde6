//! A connection in use, together with the slot that allows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::admission::{Admitted, Waiting};
use super::{Pool, Request, Retire, Shared, Slot};
use crate::backend::{Connection, Failure, UnreadId};
use crate::error::Error;
use crate::lanes::Demand;
use crate::metrics::Closed;
use crate::protocol::code;

/// A connection in use. Exactly one of [`Checkout::check_in`] and [`Checkout::discard`] ends it;
/// one that is dropped is taken to be in the middle of something, and killed.
#[derive(Debug)]
pub struct Checkout {
    /// `None` only while it ends, or is asked for another session's LAST_INSERT_ID().
    connection: Option<Box<Connection>>,
    slot: Option<Slot>,
}

impl Pool {
    /// Waits for the slot of `demand` and finds or opens a connection. `now` is the time.
    ///
    /// # Errors
    /// [`Error::QueueFull`] at once or when others need the place, [`Error::Overloaded`] and
    /// [`Error::QueueTimeout`] after the lane's times, and the server's own refusal of a new connection.
    ///
    /// # Cancel safety
    /// Nothing is lost: the queue is left, the slot given back, a connection being opened is
    /// closed again.
    pub async fn check_out(
        self: &Arc<Self>,
        demand: Demand,
        request: Request<'_>,
        now: Instant,
    ) -> Result<Checkout, Error> {
        match self.check_out_at_once(demand, &request, now) {
            Ok(checkout) => Ok(checkout),
            Err(waiting) => self.check_out_later(waiting, &request).await,
        }
    }

    /// The first step of [`Self::check_out`], and nearly always the only one.
    ///
    /// # Errors
    /// What to give to [`Self::check_out_later`], when anything has to be waited for.
    pub fn check_out_at_once(
        self: &Arc<Self>,
        demand: Demand,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Checkout, Waiting<'_>> {
        let is_fine = |connection: &Connection| {
            let may_be = request.asks || connection.unread.is_none();
            may_be && connection.is_here() && connection.is_usable(now)
        };
        let (slot, connection) = self.admit_at_once(demand, request, now, is_fine)?;
        Ok(Checkout { connection: Some(connection), slot: Some(slot) })
    }

    /// The second step of [`Self::check_out`], with its errors.
    ///
    /// # Cancel safety
    /// As that of [`Self::check_out`].
    pub async fn check_out_later(
        self: &Arc<Self>,
        waiting: Waiting<'_>,
        request: &Request<'_>,
    ) -> Result<Checkout, Error> {
        let admitted = self.admit(waiting).await?;
        self.find_or_open(admitted, request).await
    }

    /// What follows in [`Self::check_out_later`] once [`Self::admit`] has given it a slot.
    ///
    /// # Errors
    /// The server's own refusal of a new connection.
    ///
    /// # Cancel safety
    /// As that of [`Self::check_out`].
    pub async fn find_or_open(
        self: &Arc<Self>,
        (mut slot, mut found): Admitted,
        request: &Request<'_>,
    ) -> Result<Checkout, Error> {
        let now = slot.granted_at;
        loop {
            // Who had to wait, or found a dead one, looks (again).
            let found = found.take().or_else(|| self.idle_match(&mut self.shared.lock(), request));
            let connection = match found {
                Some(connection) if connection.is_usable(now) => {
                    match self.moved_here(connection) {
                        Some(connection) => connection,
                        None => continue,
                    }
                }
                Some(dead) => {
                    self.retire_unusable(dead, now);
                    continue;
                }
                None => self.open_or_share(request).await?,
            };
            let mut checkout = Checkout { connection: Some(connection), slot: Some(slot) };
            match checkout.read_others_id(request).await {
                None => return Ok(checkout),
                Some(kept) => slot = kept,
            }
        }
    }

    /// The idle connection that suits best; none of a server that is tried anew.
    pub(super) fn idle_match(
        &self,
        shared: &mut Shared,
        request: &Request<'_>,
    ) -> Option<Box<Connection>> {
        match self.reach.is_lost() {
            true => None,
            false => shared.idle.take_match(request, &self.whereabouts),
        }
    }

    /// A new connection; where the server takes no more of them, one that comes to rest meanwhile: who is
    /// logged in must not find the server full.
    async fn open_or_share(
        self: &Arc<Self>,
        request: &Request<'_>,
    ) -> Result<Box<Connection>, Error> {
        if let Some(error) = self.stale(request) {
            return Err(error);
        }
        let now = Instant::now();
        if !self.backend.is_primary() {
            if !self.knows_persona(request) {
                return Err(
                    self.unavailable("the primary has not said whom it takes this user for")
                );
            }
            if !self.refusals.may_try(request.key, now) {
                return Err(self.unavailable("it has refused a login a moment ago"));
            }
        }
        let until = now + self.ages.connect_timeout;
        let mut tries = 0_u32;
        loop {
            let refused = match self.open(request).await {
                Err(error) if self.backend.is_primary() && is_full(&error) && self.has_others() => {
                    error
                }
                opened => return opened,
            };
            tries += 1;
            for _ in 0..LOOKS_BETWEEN * tries {
                let found = self.idle_match(&mut self.shared.lock(), request);
                let now = Instant::now();
                match found {
                    Some(dead) if !dead.is_usable(now) => self.retire_unusable(dead, now),
                    Some(connection) => {
                        if let Some(connection) = self.moved_here(connection) {
                            return Ok(connection);
                        }
                    }
                    None => {}
                }
                if Instant::now() > until {
                    return Err(refused);
                }
                sleep(LOOK_EVERY).await;
            }
        }
    }
}

impl Pool {
    /// Ends an idle connection that can't be given to a session.
    fn retire_unusable(self: &Arc<Self>, connection: Box<Connection>, now: Instant) {
        let reason = match connection.has_rested_long(now) {
            true => Closed::Idle,
            false => Closed::Broken,
        };
        self.retire(connection, Retire::Quit(reason));
    }

    /// The connection, watched by the caller's thread; one that can't be is closed, and counted.
    fn moved_here(&self, connection: Box<Connection>) -> Option<Box<Connection>> {
        let told = |error: &std::io::Error| {
            let backend = self.name();
            tracing::error!(%error, backend, "can't watch a connection's socket");
            self.metrics().closed_total(Closed::Broken).inc();
        };
        connection.move_here().inspect_err(told).ok()
    }

    /// Whether it has connections.
    fn has_others(&self) -> bool {
        self.connections_now().0 > 0
    }
}

/// Time between looks for a connection that has come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Looks before another connection is tried to open, and as many more after each try.
const LOOKS_BETWEEN: u32 = 20;

/// Whether a server refuses a connection because it has too many.
fn is_full(error: &Error) -> bool {
    const FULL: [u16; 3] =
        [code::CON_COUNT_ERROR, code::TOO_MANY_USER_CONNECTIONS, code::USER_LIMIT_REACHED];
    matches!(error, Error::Server { code, .. } if FULL.contains(code))
}

impl Pool {
    /// Asks the connection on which a session's LAST_INSERT_ID() is unread, if it is idle; it is
    /// told to the session. In a task of its own, so that the session can go away meanwhile.
    pub fn read_unread(self: &Arc<Self>, unread: &Arc<UnreadId>) {
        let Some(connection) = self.shared.lock().idle.take_unread(unread) else { return };
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let Some(mut connection) = pool.moved_here(connection) else { return };
            match pool.read_there(&mut connection).await {
                Ok(()) => pool.put_aside(connection),
                Err(_) => pool.retire(connection, Retire::Quit(Closed::Broken)),
            }
        });
    }

    /// Asks a connection for the LAST_INSERT_ID() that a session has left there; `None` when it
    /// fails, and is retired.
    ///
    /// # Cancel safety
    /// The session is told all the same: this is done in a task of its own.
    async fn read_for_others(
        self: &Arc<Self>,
        mut connection: Box<Connection>,
    ) -> Option<Box<Connection>> {
        let (tell, told) = oneshot::channel();
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if pool.read_there(&mut connection).await.is_err() {
                return pool.retire(connection, Retire::Quit(Closed::Broken));
            }
            let _ = tell.send(Read { pool, connection: Some(connection) });
        });
        told.await.ok()?.connection.take()
    }

    /// Reads what is unread on a connection, while its server is there.
    async fn read_there(&self, connection: &mut Connection) -> Result<(), Failure> {
        let generation = connection.generation;
        tokio::select! {
            biased;
            read = connection.read_unread() => read,
            () = self.forsakes(generation) => Err(Failure::Abandoned),
        }
    }

    /// Takes a clean connection back whose slot is in other hands.
    fn put_aside(self: &Arc<Self>, connection: Box<Connection>) {
        let mut shared = self.shared.lock();
        // Whoever waits for the right to open one has looked for an idle one before.
        if self.openings.load(Ordering::Relaxed) == 0 {
            return shared.idle.push(connection);
        }
        drop(shared);
        self.retire(connection, Retire::Quit(Closed::Evicted));
    }
}

/// A connection that was asked, for whoever wants to use it; when he is gone it is put aside.
struct Read {
    pool: Arc<Pool>,
    connection: Option<Box<Connection>>,
}

impl Drop for Read {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_aside(connection);
        }
    }
}

impl Checkout {
    /// Asks for the LAST_INSERT_ID() that another session has left. When the connection fails the
    /// slot is left.
    async fn read_others_id(&mut self, request: &Request<'_>) -> Option<Slot> {
        let unread = self.connection().unread.as_ref()?;
        if request.asks || unread.is_of(request.unread) {
            return None;
        }
        if !unread.is_wanted() {
            // Nothing is asked then.
            let _ = self.connection().read_unread().await;
            return None;
        }
        let connection = self.connection.take()?;
        self.connection = self.pool().read_for_others(connection).await;
        match self.connection {
            Some(_) => None,
            None => self.slot.take(),
        }
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("a checkout that ended is not used"),
        }
    }

    /// The pool it came from.
    pub fn pool(&self) -> &Arc<Pool> {
        match &self.slot {
            Some(slot) => &slot.pool,
            None => unreachable!("a checkout that ended is not used"),
        }
    }

    /// When its slot was granted.
    pub fn granted_at(&self) -> Instant {
        self.slot.as_ref().map_or_else(Instant::now, |slot| slot.granted_at)
    }

    /// Gives a connection back that is between statements and carries nothing of its session but
    /// its image and prepared statements.
    pub fn check_in(mut self) {
        if self.connection.as_ref().is_some_and(|connection| connection.key.expired.is_some()) {
            // Its password is no longer good for a login.
            return self.retire(Retire::Quit(Closed::ResetFailed));
        }
        if self.connection.as_ref().is_some_and(|connection| connection.residue.keeps_texts) {
            return self.retire(Retire::Quit(Closed::ResetFailed));
        }
        if self.is_aimed_at() {
            return self.retire(Retire::Quit(Closed::Killed));
        }
        if self.is_elsewhere() {
            return self.retire(Retire::Quit(Closed::Moved));
        }
        let (Some(mut connection), Some(slot)) = (self.connection.take(), self.slot.take()) else {
            return;
        };
        count_sent(&mut connection, &slot);
        // Its session has set that, in a transaction.
        connection.residue.is_astray |= connection.base.only_reads && connection.image.can_write();
        debug_assert!(connection.inbox.is_empty());
        slot.release_with(connection);
    }

    /// Whether a KILL is on its way to the connection.
    pub fn is_aimed_at(&self) -> bool {
        let (Some(connection), Some(slot)) = (&self.connection, &self.slot) else { return false };
        slot.pool.aims.has(connection.thread_id)
    }

    /// Whether one is, of which is told when it is over.
    pub fn is_kill_under_way(&self) -> bool {
        let (Some(connection), Some(slot)) = (&self.connection, &self.slot) else { return false };
        slot.pool.aims.has_under_way(connection.thread_id)
    }

    /// Whether it is of another server than the one that is there now.
    pub fn is_elsewhere(&self) -> bool {
        let (Some(connection), Some(slot)) = (&self.connection, &self.slot) else { return false };
        !slot.pool.has(connection.generation)
    }

    /// Whether its connection, on which nothing is awaited, is of no more use: the server has closed it,
    /// or the address has left that long ago.
    pub fn is_lost(&self, now: Instant) -> bool {
        self.connection.as_ref().is_some_and(|connection| {
            connection.place.is_forsaken(connection.generation) || !connection.is_alive(now)
        })
    }

    /// Gets rid of the connection.
    pub fn discard(mut self, how: Retire) {
        self.retire(how);
    }

    /// Gets rid of the connection, and is ready when its server has it no more, or could not be asked for long.
    pub fn end(mut self, how: Retire) -> impl Future<Output = ()> + use<> {
        let gone = match (self.connection.take(), self.slot.take()) {
            (Some(mut connection), Some(slot)) => {
                count_sent(&mut connection, &slot);
                Some(slot.pool.end_for_sure(connection, how))
            }
            _ => None,
        };
        async move {
            if let Some(gone) = gone {
                gone.await;
            }
        }
    }

    fn retire(&mut self, how: Retire) {
        if let (Some(mut connection), Some(slot)) = (self.connection.take(), self.slot.take()) {
            count_sent(&mut connection, &slot);
            slot.pool.retire(connection, how);
        }
    }
}

fn count_sent(connection: &mut Connection, slot: &Slot) {
    let sent = std::mem::take(&mut connection.bytes_sent);
    slot.pool.metrics().bytes_sent.inc_by(sent);
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.retire(Retire::Kill);
    }
}
