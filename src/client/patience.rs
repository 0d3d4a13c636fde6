//! Waits that end with their session: for a slot and a connection, and for what others ask in its place.

use std::sync::Arc;

use tokio::time::Instant;

use super::Session;
use super::registry::{Entry, Order};
use super::statement::Refusal;
use super::wire::Wire;
use crate::error::Error;
use crate::lanes::Demand;
use crate::pool::{Checkout, Pool, Request, Waiting};
use crate::route::view::BackendId;
use crate::state::Image;

/// What is `awaited`, unless the session is told before to do `least` or more, or its client is gone
/// and what it wants `is_given_up` then.
///
/// # Cancel safety
/// That of what is awaited, also when it is given up.
pub(super) async fn unless_over<T>(
    (wire, is_given_up): (&mut Wire, bool),
    (entry, least): (&Entry, Order),
    awaited: impl Future<Output = Result<T, Error>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        found = awaited => found.map_err(Refusal::Error),
        () = wire.gone(), if is_given_up => Err(Refusal::Gone),
        () = entry.told(least) => Err(Refusal::Gone),
    }
}

/// What `waiting` waits for, unless its command is stopped before it has a slot. What is being opened then is
/// waited for: who stops and asks again would have one after the other opened for nobody.
///
/// # Cancel safety
/// That of [`Pool::check_out_later`].
pub(super) async fn unless_stopped(
    entry: &Entry,
    pool: &Arc<Pool>,
    waiting: Waiting<'_>,
    request: &Request<'_>,
) -> Result<Checkout, Error> {
    entry.begin_wait();
    let admitted = tokio::select! {
        biased;
        admitted = pool.admit(waiting) => admitted?,
        () = entry.stopped_waiting() => return Err(Error::Interrupted),
    };
    let checkout = pool.find_or_open(admitted, request).await?;
    if entry.is_stopped() {
        checkout.check_in();
        return Err(Error::Interrupted);
    }
    Ok(checkout)
}

impl Session {
    /// A connection of the primary to go on with what was begun.
    pub(super) async fn check_out_to_go_on(
        &mut self,
        is_given_up: bool,
    ) -> Result<Checkout, Refusal> {
        let demand = self.demand_to_go_on();
        let whose = self.identity.whose();
        let plain = Request::plain(whose, &self.image, (self.entry.id, self.epoch));
        let request = Request { insert_id: self.diagnostics.insert_id, ..plain };
        let (entry, pool) = (&*self.entry, self.context.primary_pool());
        let obtained = async {
            match pool.check_out_at_once(demand, &request, Instant::now()) {
                Ok(checkout) => Ok(checkout),
                Err(waiting) => unless_stopped(entry, pool, waiting, &request).await,
            }
        };
        let session = (&*self.entry, Order::Kill);
        Box::pin(unless_over((&mut self.wire, is_given_up), session, obtained)).await
    }

    /// A connection of this user beside the session's own, with nothing of the session.
    pub(super) async fn check_out_beside(
        &mut self,
        backend: BackendId,
        demand: Demand,
        is_given_up: bool,
    ) -> Result<Checkout, Refusal> {
        let image = Image::default();
        let whose = self.identity.whose();
        let request = Request::plain(whose, &image, (self.entry.id, self.epoch));
        let obtained = self.context.pool(backend).check_out(demand, request, Instant::now());
        let session = (&*self.entry, Order::Kill);
        Box::pin(unless_over((&mut self.wire, is_given_up), session, obtained)).await
    }
}
