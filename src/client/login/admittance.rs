//! Whether the primary lets a proved user in: asked once for many, and each time for an account
//! whose password has expired.

use std::sync::Arc;

use tokio::time::Instant;

use super::{refused, server_error};
use crate::backend::{Choice, ExpiredLogin};
use crate::client::Session;
use crate::client::patience::unless_over;
use crate::client::registry::Order;
use crate::client::statement::Refusal;
use crate::error::Error;
use crate::pool::Request;
use crate::protocol::{Capabilities, Command, code};
use crate::state::{Image, Pin};

impl Session {
    /// Asks the primary whether this user may log in and use `schema`, unless it has agreed
    /// lately; the schema is then the session's.
    pub(in crate::client) async fn verify_schema(
        &mut self,
        schema: Option<&str>,
    ) -> Result<(), Refusal> {
        let verified = match self.identity.is_expired {
            true => Err(self.must_change().into()),
            false => self.ask_primary(schema).await,
        };
        match verified {
            Err(Refusal::Error(error)) if self.may_be_restricted(&error) => {
                self.enter_restricted(schema).await?;
            }
            verified => verified?,
        }
        self.image.schema = schema.map(Into::into);
        Ok(())
    }

    fn must_change(&self) -> Error {
        Error::MustChangePassword { family: self.facts.family }
    }

    /// Whether the primary may let the session in to change its password, after it has refused a
    /// connection that can do more.
    fn may_be_restricted(&self, error: &Error) -> bool {
        let handles = self.capabilities.contains(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS);
        match error {
            Error::MustChangePassword { .. } => true,
            Error::Server { code, .. } => *code == code::MUST_CHANGE_PASSWORD_LOGIN && handles,
            _ => false,
        }
    }

    /// A login with an expired password: the session gets a connection of its own, on which the
    /// primary itself refuses everything but a new password, and keeps it to its end, since no
    /// other could be opened with the old one.
    async fn enter_restricted(&mut self, schema: Option<&str>) -> Result<(), Refusal> {
        let mut key = (*self.identity.key).clone();
        key.expired = Some(ExpiredLogin { schema: schema.map(Into::into) });
        key.capabilities |= self.capabilities & Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS;
        self.identity.key = Arc::new(key);
        self.image.schema = schema.map(Into::into);
        let lane = self.plain_lane();
        let whose = self.identity.whose();
        let request = Request::plain(whose, &self.image, (self.entry.id, self.epoch));
        let pool = self.context.primary_pool().clone();
        let obtained = pool.check_out(self.demand(lane), request, Instant::now());
        let session = (&*self.entry, Order::Drain);
        let mut checkout = unless_over((&mut self.wire, true), session, obtained).await?;
        self.entry.set_running(pool.backend(), checkout.connection(), self.context.now());
        self.pins.add(Pin::ExpiredPassword);
        self.held = Some(checkout);
        self.show_binding();
        Ok(())
    }

    async fn ask_primary(&mut self, schema: Option<&str>) -> Result<(), Refusal> {
        let context = self.context.clone();
        let mut image = Image::default();
        image.schema = schema.map(Into::into);
        let identity = self.identity.clone();
        let (epoch, session) = (self.epoch, self.entry.id);
        let changes = (epoch, context.epochs.schemas());
        // Who logs in waits for it: not behind the work of his lane, which has all the time.
        let demand = self.demand(self.policy.rules.default_lane());
        let (lane, client) = (demand.lane, demand.client);
        // Of a primary that is down nobody is told that he is logged in.
        let must_wait =
            || context.topology.view().primary_up && !context.primary_pool().has_free(lane);
        let ask = async || {
            let whose = identity.whose();
            let request = Request::plain(whose, &image, (session, epoch));
            let checkout = context.primary_pool().check_out(demand, request, Instant::now()).await;
            let mut checkout = checkout.map_err(|error| refused(&context, error))?;
            let lost = || Error::LostBackend { backend: context.primary_pool().name().to_owned() };
            if let Some(schema) = schema {
                let choice = Choice { at: Instant::now(), epoch };
                let used = checkout.connection().command(Command::InitDb, schema.as_bytes()).await;
                let used = used.map_err(|_| lost())?;
                if let Some(error) = server_error(&used.bytes, used.summary.error) {
                    checkout.connection().residue.is_dirty = true;
                    checkout.check_in();
                    return Err(error);
                }
                let connection = checkout.connection();
                connection.image.schema = Some(schema.into());
                connection.choice = Some(choice);
            }
            checkout.check_in();
            Ok(())
        };
        let answer =
            context.verified.verify(&identity.key, schema, changes, (client, must_wait), ask);
        let session = (&*self.entry, Order::Drain);
        Box::pin(unless_over((&mut self.wire, true), session, answer)).await
    }
}
