//! The end of a connection: it counts until the server has forgotten it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Pool;
use crate::backend::Connection;
use crate::metrics::Closed;
use crate::route::view::BackendId;

/// How long a killed connection may take to go: a statement is not always interrupted at once.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// Ends what a connection is doing, by the backend's control connection.
pub trait Killer: Send + Sync + std::fmt::Debug {
    /// KILL of the connection `thread_id`; `false` when the server could not be told.
    fn kill(
        &self,
        backend: BackendId,
        thread_id: u64,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// How to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retire {
    /// It is between statements, or the server has closed it.
    Quit(Closed),
    /// It is in the middle of something.
    Kill,
}

impl Pool {
    /// Ends a connection in the background.
    pub(super) fn retire(self: &Arc<Self>, connection: Box<Connection>, how: Retire) {
        let pool = self.clone();
        let reason = match how {
            Retire::Quit(reason) => reason,
            Retire::Kill => Closed::Killed,
        };
        self.metrics().closed_total(reason).inc();
        tokio::spawn(async move {
            let thread_id = connection.thread_id;
            match how {
                Retire::Quit(_) => connection.close().await,
                Retire::Kill => {
                    pool.killer.kill(pool.backend, connection.thread_id).await;
                    connection.wait_gone(KILL_WAIT).await;
                }
            }
            pool.aims.forget(thread_id);
        });
    }
}
