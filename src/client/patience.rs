//! Waits that end with their session: for a slot and a connection, and for what others ask in its place.

use tokio::time::Instant;

use super::Session;
use super::registry::{Entry, Order};
use super::statement::Refusal;
use super::wire::Wire;
use crate::error::Error;
use crate::lanes::Demand;
use crate::pool::{Checkout, Request};
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
        let obtained = self.context.primary_pool().check_out(demand, request, Instant::now());
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
