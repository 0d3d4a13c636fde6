//! KILL with the ids clients see: those of Fairlane's sessions, which no server gives, and in the
//! server's own list of processes those of its connections.

use tokio::time::Instant;

use super::{Session, Stop};
use crate::error::Error;
use crate::pool::Request;
use crate::protocol::Command;
use crate::state::Image;

use super::login::server_error;

impl Session {
    /// Ends another session or its statement. The server that runs the statement decides whether
    /// this user may; a session without a connection can be ended by its own user only.
    pub(super) async fn kill_session(&mut self, query: bool, id: u64) -> Result<(), Stop> {
        let Some(target) = self.context.registry.get(id) else {
            return self.send_error(&Error::UnknownThread(id)).await;
        };
        let is_own = target.labels.lock().user == self.client.user;
        if let Some((backend, thread_id)) = target.connection() {
            // Its own user may always; and a slot may be just what there is none of.
            if is_own {
                self.context.topology.kill(backend, thread_id, query).await;
            } else {
                let sql = format!("KILL {}{thread_id}", if query { "QUERY " } else { "" });
                if let Err(error) = self.run_elsewhere(backend, &sql).await {
                    return self.send_error(&error).await;
                }
            }
        } else if !is_own {
            return self.send_error(&Error::NotOwner(id)).await;
        }
        if !query {
            target.kill();
        }
        if target.id == self.entry.id {
            return self.send_error(&Error::Interrupted).await;
        }
        self.send_ok();
        Ok(())
    }

    /// Runs a statement of this user on `backend`, beside the session's own connection.
    async fn run_elsewhere(&self, backend: usize, sql: &str) -> Result<(), Error> {
        let lane = self.plain_lane();
        let image = Image::default();
        let (key, credential) = (&self.identity.key, &self.identity.credential);
        let pool = &self.context.pools[backend];
        let (epoch, session) = (self.epoch, self.entry.id);
        let request =
            Request { key, credential, image: &image, insert_id: 0, epoch, session, unread: None };
        let mut checkout = pool.check_out(self.demand(lane), request, Instant::now()).await?;
        match checkout.connection().command(Command::Query, sql.as_bytes()).await {
            Ok(exchange) => {
                checkout.connection().is_dirty = true;
                checkout.check_in();
                server_error(&exchange.bytes, exchange.summary.error).map_or(Ok(()), Err)
            }
            Err(_) => Err(Error::LostBackend { backend: pool.name().to_owned() }),
        }
    }
}
