//! The end of a connection: when the server has forgotten it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::{Connection, command_packet};
use crate::net::read::fill;
use crate::net::socket::Watch;
use crate::protocol::Command;

/// How long a server may take to close a connection it was told to.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Time between a server's closing of a socket and its forgetting of the connection
/// (MariaDB 10.11: well under a millisecond when idle, more under load).
pub const LINGER: Duration = Duration::from_millis(10);

impl Connection {
    /// Says good-bye, and returns when the server has closed its end and forgotten the connection: whoever
    /// gives its permit back only then never shows the server one connection too many.
    pub async fn close(mut self) {
        let _ = timeout(CLOSE_WAIT, self.read_unread()).await;
        let _ = self.send(&command_packet(Command::Quit, &[])).await;
        self.wait_gone(CLOSE_WAIT).await;
    }

    /// Waits until the server has closed its end, or is gone, and then as [`Self::close`]. After `limit` a
    /// server that goes on sending is cut off; one that is silent has the connection, a rollback takes its
    /// time.
    pub async fn wait_gone(self, limit: Duration) {
        // Also behind a frame that could not be read.
        let mut stream = self.stream.uncompressed();
        stream.watch(Watch::SERVER);
        // A server that was told nothing learns so that it is over.
        let _ = timeout(CLOSE_WAIT, stream.shutdown()).await;
        if read_out(&mut stream, self.thread_id, limit).await == Left::Sending {
            tracing::warn!(backend_thread = self.thread_id, "the server goes on sending: cut off");
        }
        // What a server sends from here on is refused.
        drop(stream);
        // The server closes the socket shortly before it counts the connection out.
        sleep(LINGER).await;
    }
}

/// How a server leaves that was told that it is over.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// It has closed its end.
    Closed,
    /// It does not look: while it sends it learns of nothing but a closed socket.
    Sending,
}

async fn read_out<S: AsyncRead + Unpin>(stream: &mut S, thread_id: u64, limit: Duration) -> Left {
    let (deadline, mut rest) = (Instant::now() + limit, Vec::new());
    while Instant::now() < deadline {
        match timeout_at(deadline, fill(stream, &mut rest)).await {
            Ok(Ok(1..)) => rest.clear(),
            Ok(Ok(0) | Err(_)) => return Left::Closed,
            Err(_) => break,
        }
    }
    tracing::warn!(
        backend_thread = thread_id,
        "the server does not close a connection; it counts until it has"
    );
    match fill(stream, &mut rest).await {
        Ok(1..) => Left::Sending,
        Ok(0) | Err(_) => Left::Closed,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_server_that_goes_on_sending_is_not_listened_to_for_ever() {
        let (mut here, mut server) = duplex(64);
        let sending = tokio::spawn(async move {
            while server.write_all(b"row").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let began = Instant::now();
        assert_eq!(read_out(&mut here, 7, LIMIT).await, Left::Sending);
        assert!(began.elapsed() >= LIMIT && began.elapsed() < 2 * LIMIT);
        drop(here);
        sending.await.expect("it notices");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_one_is_waited_for_until_it_closes() {
        let (mut here, server) = duplex(64);
        tokio::spawn(async move {
            sleep(20 * LIMIT).await;
            drop(server);
        });
        let began = Instant::now();
        assert_eq!(read_out(&mut here, 7, LIMIT).await, Left::Closed);
        assert!(began.elapsed() >= 20 * LIMIT);
    }
}
