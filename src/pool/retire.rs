//! The end of a connection: it counts until the server has forgotten it.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Pool, Proof, Standing};
use crate::backend::{Connection, LINGER};
use crate::metrics::Closed;
use crate::route::view::BackendId;
use crate::route::whereabouts::Whereabouts;

/// How long a killed connection may take to go: a statement is not always interrupted at once.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// How long a server is asked whether it still has a connection that was lost: a statement on it may take its time.
const FORGOTTEN_WAIT: Duration = Duration::from_secs(3600);

/// Pause between looks whether the address has left the server of a connection that is about to end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a pool wants of the backend's control connection.
pub trait Control: Send + Sync + std::fmt::Debug {
    /// KILL of the connection `thread_id` of a generation; `false` when the server could not be told.
    fn kill(
        &self,
        backend: BackendId,
        thread_id: u64,
        generation: u16,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// Whether there is no connection `thread_id` of a generation any more; `false` also when the server
    /// does not tell.
    fn is_gone(
        &self,
        backend: BackendId,
        thread_id: u64,
        generation: u16,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// Where it is.
    fn whereabouts(&self, backend: BackendId) -> Arc<Whereabouts>;

    /// Another connection has led to another server: it is to look again where its address leads.
    fn doubt(&self, backend: BackendId);

    /// What the primary's accounts, as last read, say of a login of `user` that has this proof.
    fn standing(&self, user: &str, proof: Proof) -> Standing;

    /// Has the accounts read anew; returns when that is done, or has taken too long.
    fn read_accounts(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// How to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retire {
    /// It is between statements, or the server has closed it.
    Quit(Closed),
    /// It is in the middle of something.
    Kill,
    /// It is in the middle of an answer that nobody wants: the server is to notice by itself.
    Cut,
}

impl Pool {
    /// Has a connection killed, once the server can be told. Does not end: whoever waits waits for the
    /// connection's end.
    async fn kill(&self, thread_id: u64, generation: u16) -> Infallible {
        while !self.control.kill(self.backend, thread_id, generation).await {
            sleep(LOOK_EVERY).await;
        }
        pending().await
    }

    /// Waits until the server has no such connection any more.
    async fn forgotten(&self, thread_id: u64, generation: u16) {
        let mut pause = LINGER;
        loop {
            sleep(pause).await;
            if self.control.is_gone(self.backend, thread_id, generation).await {
                return;
            }
            pause = LOOK_EVERY.min(2 * pause);
        }
    }

    /// Ends a connection in the background, also where nobody waits; ready when the server has it no more. One
    /// that was killed in the midst of a commit is closed long before that.
    pub(super) fn end_for_sure(
        self: &Arc<Self>,
        connection: Box<Connection>,
        how: Retire,
    ) -> impl Future<Output = ()> + use<> {
        let Connection { thread_id, generation, .. } = *connection;
        let (pool, ended) = (Arc::clone(self), self.end(connection, how));
        async move {
            let _ = ended.await;
            let _ = timeout(FORGOTTEN_WAIT, pool.forgotten(thread_id, generation)).await;
        }
    }

    /// Ends a connection in the background.
    pub(super) fn retire(self: &Arc<Self>, connection: Box<Connection>, how: Retire) {
        drop(self.end(connection, how));
    }

    /// Likewise; it has ended when the task has.
    fn end(self: &Arc<Self>, connection: Box<Connection>, how: Retire) -> JoinHandle<()> {
        let pool = self.clone();
        let reason = match how {
            Retire::Quit(reason) => reason,
            Retire::Kill | Retire::Cut => Closed::Killed,
        };
        self.metrics().closed_total(reason).inc();
        let mut connection = connection;
        let Connection { thread_id, generation, .. } = *connection;
        let (mut permit, server) =
            (connection.take_permit(), std::mem::take(&mut connection.server));
        tokio::spawn(async move {
            let mut ending = pin!(async {
                match how {
                    Retire::Quit(_) => connection.close().await,
                    Retire::Kill => tokio::select! {
                        () = connection.wait_gone(KILL_WAIT) => {}
                        never = pool.kill(thread_id, generation) => match never {},
                    },
                    Retire::Cut => {
                        // Its closed socket tells nothing any more.
                        drop(connection);
                        let _ = timeout(KILL_WAIT, pool.forgotten(thread_id, generation)).await;
                    }
                }
            });
            loop {
                if pool.whereabouts.has_left(&server, generation) {
                    // The bound is that of the server which is there now.
                    permit = None;
                }
                if timeout(LOOK_EVERY, &mut ending).await.is_ok() {
                    break;
                }
            }
            drop(permit);
            pool.aims.forget(thread_id);
        })
    }
}
