//! Reading whole packets.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::scratch::with_scratch;
use crate::protocol::packet::{self, Framed, Header};

/// Appends what can be read now to `inbox`; 0 is the end of the stream.
pub(super) fn poll_fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    with_scratch(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        inbox.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

/// Appends at least one byte to `inbox`; 0 is the end of the stream.
///
/// # Cancel safety
/// Nothing read is lost: it is in `inbox`.
pub async fn fill<S: AsyncRead + Unpin>(stream: &mut S, inbox: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| poll_fill(stream, inbox, cx)).await
}

/// The same, but what does not come is not awaited once `is_over`: whoever waits has to be woken to ask that.
///
/// # Errors
/// `TimedOut` then, else those of the system.
pub async fn fill_unless<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut Vec<u8>,
    is_over: impl Fn() -> bool,
) -> io::Result<usize> {
    poll_fn(|cx| match poll_fill(stream, inbox, cx) {
        Poll::Pending if is_over() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        polled => polled,
    })
    .await
}

/// Why no packet could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer closed its side between packets.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed its side inside a packet, or the socket failed.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The packet does not have the sequence id it should have.
    #[error("a packet out of order")]
    OutOfOrder,
    /// The packet is longer than `limit` bytes.
    #[error("a packet of over {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
        /// The sequence id of the last header that was read of it.
        last_sequence: u8,
    },
}

/// Reads until `inbox` starts with a whole logical packet of at most `limit` payload bytes.
///
/// # Cancel safety
/// What was read stays in `inbox`; calling again goes on.
pub async fn packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut Vec<u8>,
    limit: usize,
) -> Result<Framed, ReadError> {
    packet_of(stream, inbox, limit, None).await
}

/// Like [`packet()`], and its sequence id has to be `sequence` if that is given.
///
/// # Cancel safety
/// As that of [`packet()`].
pub async fn packet_of<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut Vec<u8>,
    limit: usize,
    sequence: Option<u8>,
) -> Result<Framed, ReadError> {
    loop {
        if let (Some(header), Some(sequence)) = (Header::parse(inbox), sequence)
            && header.sequence != sequence
        {
            return Err(ReadError::OutOfOrder);
        }
        match packet::frame(inbox) {
            Ok(framed) if framed.payload_length <= limit => return Ok(framed),
            Ok(framed) => {
                let last_sequence = framed.last_sequence;
                return Err(ReadError::TooLong { limit, last_sequence });
            }
            Err(needed) if needed > limit.saturating_add(needed / packet::FULL * 4 + 8) => {
                let last_sequence = packet::last_sequence(inbox);
                return Err(ReadError::TooLong { limit, last_sequence });
            }
            Err(needed) if needed > packet::HEADER => inbox.reserve(needed - inbox.len()),
            Err(_) => {}
        }
        if fill(stream, inbox).await? == 0 {
            return Err(match inbox.is_empty() {
                true => ReadError::Closed,
                false => ReadError::Broken(io::ErrorKind::UnexpectedEof.into()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_silent_server_is_awaited_until_it_is_over() {
        let (mut here, mut server) = duplex(64);
        let (is_over, mut inbox) = (Cell::new(false), Vec::new());
        {
            let mut filling = pin!(fill_unless(&mut here, &mut inbox, || is_over.get()));
            let silent = poll_fn(|cx| Poll::Ready(filling.as_mut().poll(cx).is_pending()));
            assert!(silent.await);
            is_over.set(true);
            assert_eq!(filling.await.expect_err("nothing came").kind(), io::ErrorKind::TimedOut);
        }
        server.write_all(b"rows").await.expect("there is room");
        let filled = fill_unless(&mut here, &mut inbox, || is_over.get());
        assert_eq!(filled.await.expect("what has come is read"), 4);
    }
}
