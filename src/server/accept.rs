//! Listening and accepting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::client::{self, Context};

/// Connections the kernel keeps for us until they are accepted: PHP opens one for each request.
const BACKLOG: i32 = 8192;

/// Listens on an address.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until Fairlane goes down.
pub(super) async fn accept(listener: TcpListener, context: Arc<Context>, sessions: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = context.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                sessions.spawn(client::serve(context.clone(), stream, peer));
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait until some are free.
                tracing::error!(%error, "can't accept a client; is the file limit too low?");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
