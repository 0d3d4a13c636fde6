//! Listening and accepting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::workers::{Place, Worker};
use crate::admin::accepting::Failures;
use crate::client::{self, Context};
use crate::net::socket::{Watch, watch};
use crate::net::worker;

/// Connections the kernel keeps for us until they are accepted: PHP opens one for each request.
const BACKLOG: i32 = 8192;

/// Listens on an address, where `is_v6_only` says so without the IPv4 addresses that `[::]` stands
/// for as well.
pub(super) fn listen(address: SocketAddr, is_v6_only: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if is_v6_only {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Accepted ones inherit both.
    watch(&socket, Watch::CLIENT)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why nobody is listened for at a `place`, and what helps.
pub(super) fn not_listening(place: &str, error: io::Error) -> anyhow::Error {
    let cure = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; stop what listens there (`ss -ltnp` names it; it may be another Fairlane), or write another \
             port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; write an address that this machine has (`ip address` lists them), or 0.0.0.0 for all"
        }
        io::ErrorKind::PermissionDenied => {
            "; write a port from 1024 on, or give Fairlane the capability CAP_NET_BIND_SERVICE"
        }
        _ => "",
    };
    anyhow::anyhow!("listening for {place}: {error}{cure}")
}

/// Accepts on worker `here` until Fairlane goes down.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    context: Arc<Context>,
    sessions: TaskTracker,
    workers: Arc<[Worker]>,
    here: usize,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "can't watch for clients");
            return;
        }
    };
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            () = context.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(client) => {
                let place = Place::take(&workers, here);
                let handle = place.handle().clone();
                sessions.spawn_on(serve(context.clone(), client, place, here), &handle);
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait until some are free.
                if let Some(untold) = failures.note(Instant::now()) {
                    tracing::error!(
                        %error,
                        untold,
                        "can't accept a client; is the file limit too low?"
                    );
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a client that was accepted on worker `here`.
async fn serve(context: Arc<Context>, client: (TcpStream, SocketAddr), place: Place, here: usize) {
    let (stream, peer) = client;
    let stream = match place.index() == here {
        true => Ok(stream),
        false => worker::adopt(stream),
    };
    match stream {
        Ok(stream) => client::serve(context, stream, peer).await,
        Err(error) => tracing::error!(%error, %peer, "can't watch a client's socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_do_not_wait_to_fill_their_segments() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
