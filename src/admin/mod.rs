//! What operators see, over HTTP: `/metrics`, `/healthz`, `/readyz`, `/state` and the live page.
//!
//! It only reads: no route changes anything. What it shows comes from [`Sources`], so it knows
//! neither pools nor sessions. It must not cost the sessions anything they notice: connections
//! are bounded in number, age and patience, a snapshot is made away from the workers and serves
//! everybody who asks within [`STATE_AGE_MAX`].

pub mod accepting;
mod answer;
pub mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use accepting::Failures;
use answer::Server;
use snapshot::Snapshot;

/// Connections at once; one more ends the oldest.
pub const CONNECTIONS_MAX: usize = 64;

/// Longest wait for the header of a request, the first or the next.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// Age at which a connection is ended after its current answer, so that none is held for good.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);

/// Time an answer has to be finished once its connection must end.
pub const END_GRACE: Duration = Duration::from_secs(2);

/// Bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Age up to which a snapshot serves the next one who asks.
pub const STATE_AGE_MAX: Duration = Duration::from_millis(500);

/// Pause after a failed accept: without file descriptors, trying at once only burns the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether this Fairlane should get new clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it should.
    pub ready: bool,
    /// Why, or why not: a sentence.
    pub detail: String,
}

/// Where answers come from.
pub struct Sources {
    /// For `/metrics`; must not block.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// For `/readyz`; called for each request, must not block.
    pub ready: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// For `/state`; called at most once in [`STATE_AGE_MAX`], on a thread that may block.
    pub snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
}

/// Answers until `shutdown` is done, then ends the connections and returns.
///
/// # Cancel safety
///
/// Dropping it closes all its connections at once.
pub async fn serve(listener: TcpListener, sources: Arc<Sources>, shutdown: impl Future) {
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let server = Arc::new(Server::new(sources, is_local));
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut shutdown = pin!(shutdown);
    let mut failures = Failures::default();
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {
                oldest_first.retain(|connection| !connection.is_finished());
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Silent ones must not keep out who asks whether Fairlane is ready.
                    while oldest_first.len() >= CONNECTIONS_MAX
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    let talk = converse(stream, Arc::clone(&server), stop.clone());
                    oldest_first.push_back(connections.spawn(talk));
                }
                Err(error) => {
                    if let Some(untold) = failures.note(Instant::now()) {
                        tracing::warn!(%error, untold, "cannot accept an admin connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    stop.cancel();
    while connections.join_next().await.is_some() {}
}

/// One connection until its client leaves, it is too old, or everything stops.
async fn converse(stream: TcpStream, server: Arc<Server>, stop: CancellationToken) {
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(&request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // How a connection ends is its client's business: errors are not worth a log line.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(END_GRACE, connection).await;
}
