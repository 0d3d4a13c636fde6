//! LOAD DATA LOCAL: the client's file on its way to the server.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::read::poll_fill;
use super::relay::{RelayError, ServerSide};
use super::socket::Socket;
use crate::protocol::packet::{FULL, HEADER, Header};

/// Most bytes read of what a server says before it has the whole file.
const TOLD_MAX: usize = 64 * 1024;

/// Passes the file, from a client's socket, to the server; the client may pause for `limit`.
///
/// Packets in compressed frames are numbered anew, on from `first`, which the server expects: nobody looks
/// at the numbers they have there, and clients begin with 0 or count their frames.
///
/// # Errors
/// When either side is gone.
///
/// # Cancel safety
/// Not cancel safe: the server waits for the rest.
pub async fn pass_file(
    (client, inbox): (&mut Socket, &mut Vec<u8>),
    mut server: ServerSide<'_, Socket>,
    (first, limit): (u8, Duration),
) -> Result<u64, RelayError> {
    if let Some(numbering) = server.stream.numbering() {
        numbering.begin_file();
    }
    let renumbered = client.is_compressed().then_some(first);
    if let Some(compression) = client.compression() {
        compression.expect_more();
    }
    // Frames that come before the file has ended are not numbered behind it.
    let told_max = if server.stream.is_compressed() { 0 } else { TOLD_MAX };
    let how = How { sequence: renumbered, limit, told_max };
    let passed = pass_packets((client, inbox), &mut server, how).await;
    if let Some(compression) = client.compression() {
        compression.begin_answer();
    }
    let passed = passed?;
    if let Some(numbering) = server.stream.numbering() {
        numbering.end_file();
    }
    server.stream.flush().await.map_err(RelayError::Server)?;
    Ok(passed)
}

/// How a file is passed on.
#[derive(Debug, Clone, Copy)]
struct How {
    /// Its packets are numbered anew, from this on.
    sequence: Option<u8>,
    /// How long the client may pause.
    limit: Duration,
    /// Most bytes read of what the server says meanwhile.
    told_max: usize,
}

/// Passes packets from the client on to the server until the empty one that ends the file, which
/// is passed on too. `inbox` holds what the client sent already; what follows the file stays.
///
/// Returns the bytes passed on.
async fn pass_packets<C, B>(
    (client, inbox): (&mut C, &mut Vec<u8>),
    server: &mut ServerSide<'_, B>,
    How { mut sequence, limit, told_max }: How,
) -> Result<u64, RelayError>
where
    C: AsyncRead + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut passed = 0;
    let mut place = Place::default();
    loop {
        let (ready, is_end) = scan(inbox, &mut place, sequence.as_mut());
        server.stream.write_all(&inbox[..ready]).await.map_err(RelayError::Server)?;
        passed += ready as u64;
        inbox.drain(..ready);
        if is_end {
            return Ok(passed);
        }
        let mut is_unflushed = true;
        let more = poll_fn(|cx| {
            let come = poll_fill(client, inbox, cx).map_err(RelayError::Client)?;
            if let Poll::Ready(length) = come {
                let gone = || RelayError::Client(io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(if length == 0 { Err(gone()) } else { Ok(()) });
            }
            poll_server(server, &mut is_unflushed, told_max, cx).map(Err)
        });
        let late = || RelayError::Client(io::ErrorKind::TimedOut.into());
        timeout(limit, more).await.unwrap_or_else(|_| Err(late()))?;
    }
}

/// While the client takes its time: what the server's stream keeps (frames, TLS) is sent, since the server's own
/// clock runs. Ready with an error when the server has gone.
fn poll_server<B: AsyncRead + AsyncWrite + Unpin>(
    server: &mut ServerSide<'_, B>,
    is_unflushed: &mut bool,
    told_max: usize,
    cx: &mut Context<'_>,
) -> Poll<RelayError> {
    if *is_unflushed {
        match Pin::new(&mut *server.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(RelayError::Server(error)),
            flushed => *is_unflushed = flushed.is_pending(),
        }
    }
    while server.inbox.len() < told_max {
        let gone = match ready!(poll_fill(server.stream, server.inbox, cx)) {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => continue,
            Err(error) => error,
        };
        return Poll::Ready(RelayError::Server(gone));
    }
    Poll::Pending
}

/// Where in a file a scan has come to.
#[derive(Debug, Default)]
pub struct Place {
    /// What is left of the packet before.
    skip: usize,
    /// That packet is of the greatest length, and the next one goes on with it, be it empty.
    continues: bool,
}

/// How many leading bytes belong to the file, and whether they end it; on from `place`. With a
/// `sequence` the packets are numbered anew, on from that.
pub fn scan(bytes: &mut [u8], place: &mut Place, mut sequence: Option<&mut u8>) -> (usize, bool) {
    let mut at = place.skip.min(bytes.len());
    place.skip -= at;
    while place.skip == 0 {
        let Some(header) = Header::parse(&bytes[at..]) else { break };
        if let Some(sequence) = &mut sequence {
            bytes[at + HEADER - 1] = **sequence;
            **sequence = sequence.wrapping_add(1);
        }
        if header.length == 0 && !place.continues {
            return (at + HEADER, true);
        }
        place.continues = header.length == FULL;
        let length = HEADER + header.length;
        let here = length.min(bytes.len() - at);
        at += here;
        place.skip = length - here;
    }
    (at, false)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, ReadBuf, duplex};

    use super::*;

    /// A server that takes everything and says nothing.
    #[derive(Default)]
    struct Mute(Vec<u8>);

    impl AsyncRead for Mute {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Mute {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Passes a file on to `server`.
    async fn pass<B: AsyncRead + AsyncWrite + Unpin>(
        (client, inbox): (&mut &[u8], &mut Vec<u8>),
        server: &mut B,
        sequence: Option<u8>,
    ) -> Result<u64, RelayError> {
        let mut server = ServerSide { stream: server, inbox: &mut Vec::new() };
        let how = How { sequence, limit: LIMIT, told_max: TOLD_MAX };
        pass_packets((client, inbox), &mut server, how).await
    }

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_file_ends_at_its_empty_packet_wherever_it_is_cut() {
        let file = b"\x03\x00\x00\x02abc\x01\x00\x00\x03d\x00\x00\x00\x04";
        for cut in 0..file.len() {
            let mut inbox = file[..cut].to_vec();
            let rest = [&file[cut..], b"next"].concat();
            let mut server = Mute::default();
            let mut client = &rest[..];
            let passed = pass((&mut client, &mut inbox), &mut server, None).await;
            let passed = passed.expect("whole");
            assert_eq!(passed, file.len() as u64);
            assert_eq!(server.0, file);
            assert_eq!(inbox, b"next");
        }
    }

    #[tokio::test]
    async fn an_empty_packet_behind_one_of_the_greatest_length_ends_that_alone() {
        let long = [&b"\xff\xff\xff\x02"[..], &vec![b'x'; FULL], b"\0\0\0\x03"].concat();
        for rest in [&b"\0\0\0\x04"[..], b"\x01\0\0\x04y\0\0\0\x05"] {
            let file = [&long, rest].concat();
            let (mut server, mut inbox) = (Mute::default(), Vec::new());
            let mut client = &[&file, &b"next"[..]].concat()[..];
            let passed = pass((&mut client, &mut inbox), &mut server, None).await;
            assert_eq!(passed.expect("whole"), file.len() as u64);
            let left = [&inbox, client].concat();
            assert!(server.0 == file && left == b"next", "{} bytes are left", left.len());
        }
    }

    #[tokio::test]
    async fn packets_of_frames_are_numbered_anew() {
        let file = b"\x03\x00\x00\x00abc\x01\x00\x00\x77d\x00\x00\x00\x77";
        for cut in 0..file.len() {
            let mut inbox = file[..cut].to_vec();
            let mut server = Mute::default();
            let mut client = &file[cut..];
            let passed = pass((&mut client, &mut inbox), &mut server, Some(0xff)).await;
            passed.expect("whole");
            assert_eq!(server.0, b"\x03\x00\x00\xffabc\x01\x00\x00\x00d\x00\x00\x00\x01");
        }
    }

    #[tokio::test]
    async fn a_server_has_all_that_came_and_is_missed_while_the_client_pauses() {
        let (mut sender, mut client) = duplex(64);
        let (here, mut server) = duplex(64);
        let mut here = tokio::io::BufWriter::new(here);
        let (mut inbox, mut told) = (Vec::new(), Vec::new());
        let how = How { sequence: None, limit: LIMIT, told_max: TOLD_MAX };
        let passing = async {
            let mut server = ServerSide { stream: &mut here, inbox: &mut told };
            pass_packets((&mut client, &mut inbox), &mut server, how).await
        };
        let away = async {
            sender.write_all(b"\x01\0\0\x02x").await.expect("there is room");
            let mut come = [0; 5];
            server.read_exact(&mut come).await.expect("it is not kept back");
            drop(server);
        };
        let (passed, ()) = tokio::join!(passing, away);
        assert!(matches!(passed, Err(RelayError::Server(_))), "{passed:?}");
    }
}
