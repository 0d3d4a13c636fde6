//! The relay of a response: read once, scanned in place, written on.
//!
//! Back-pressure: once [`PENDING_MAX`] bytes wait for a slow client nothing more is read from the
//! server. When the response is complete the relay returns although bytes may still wait, so
//! that the backend connection can go to the next session while the client takes its time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::read::poll_fill;
use super::scratch::with_scratch;
use crate::protocol::Malformed;
use crate::protocol::command::are_left_to_run;
use crate::protocol::response::{Next, Response, Stage, Summary};

/// Bytes that may wait for a slow client before the server is no longer read.
pub const PENDING_MAX: usize = 256 * 1024;
/// Bytes a client may send ahead while its statement runs before its socket is no longer read.
const AHEAD_MAX: usize = 64 * 1024;

/// The client's end of a relay.
#[derive(Debug)]
pub struct ClientSide<'a, C> {
    /// Its socket.
    pub stream: &'a mut C,
    /// Bytes it sent ahead.
    pub inbox: &'a mut Vec<u8>,
    /// Bytes waiting to be written to it.
    pub outbox: &'a mut Outbox,
    /// How long it may keep others waiting.
    pub stall: &'a mut Stall,
    /// It is taken to be there, when it has closed its end, as long as commands that it sent ahead are left to run.
    pub runs_ahead: bool,
}

/// A client that reads nothing: nobody waits for it longer than a server would (`net_write_timeout`). The
/// clock runs only while something waits, and starts anew with each byte that is taken.
#[derive(Debug)]
pub struct Stall {
    limit: Duration,
    running: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Stall {
    /// After so long.
    pub fn new(limit: Duration) -> Self {
        Self { limit, running: None }
    }

    /// Ready with an error when the client has taken nothing of `waiting` bytes for too long.
    fn poll(&mut self, waiting: usize, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let (clock, before) = self.running.get_or_insert_with(|| (Box::pin(sleep(limit)), waiting));
        if *before != waiting {
            *before = waiting;
            clock.as_mut().reset(Instant::now() + limit);
        }
        clock.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

/// The server's end of a relay.
#[derive(Debug)]
pub struct ServerSide<'a, B> {
    /// Its socket.
    pub stream: &'a mut B,
    /// Bytes read from it and not passed on.
    pub inbox: &'a mut Vec<u8>,
}

/// Bytes on their way to a client.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    total: u64,
    /// What was written may still be in the stream's own buffer (TLS).
    is_unflushed: bool,
}

impl Outbox {
    /// Queues `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        // A client that takes less than comes, and always something, never empties it.
        if self.sent > self.waiting() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.total += bytes.len() as u64;
    }

    /// Bytes waiting.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether nothing waits, here or in the stream's own buffer.
    pub fn is_done(&self) -> bool {
        self.waiting() == 0 && !self.is_unflushed
    }

    /// Bytes queued or written so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes queued or written so far, and starts counting anew.
    pub fn take_total(&mut self) -> u64 {
        std::mem::take(&mut self.total)
    }

    /// Gives the memory back; only when nothing waits.
    pub fn shrink(&mut self) {
        debug_assert!(self.is_done());
        self.bytes = Vec::new();
        self.sent = 0;
    }

    /// Writes what waits. Ready when nothing does any more.
    fn poll_flush<C: AsyncWrite + Unpin>(
        &mut self,
        client: &mut C,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            match Pin::new(&mut *client).poll_write(cx, &self.bytes[self.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.sent += written;
                    self.is_unflushed = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        self.poll_stream(client, cx)
    }

    /// Empties the stream's own buffer.
    fn poll_stream<C: AsyncWrite + Unpin>(
        &mut self,
        client: &mut C,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(client).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes `bytes` at once as far as the socket takes them, and queues the rest.
    fn send<C: AsyncWrite + Unpin>(
        &mut self,
        client: &mut C,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut written = 0;
        if self.waiting() == 0
            && !bytes.is_empty()
            && let Poll::Ready(result) = Pin::new(&mut *client).poll_write(cx, bytes)
        {
            written = result?;
            self.is_unflushed = true;
            if let Poll::Ready(Err(error)) = self.poll_stream(client, cx) {
                return Err(error);
            }
        }
        self.total += written as u64;
        self.push(&bytes[written..]);
        Ok(())
    }

    /// Writes all that waits, unless the client takes nothing of it for `limit`.
    ///
    /// # Cancel safety
    /// What is written is no longer waiting.
    pub async fn flush<C: AsyncWrite + Unpin>(
        &mut self,
        client: &mut C,
        limit: Duration,
    ) -> io::Result<()> {
        let mut stall = Stall::new(limit);
        poll_fn(|cx| match self.poll_flush(client, cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => stall.poll(self.waiting(), cx).map(Err),
        })
        .await
    }
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The response is complete.
    Done,
    /// The response is complete and is nothing but an ERR packet, which is still in the server's
    /// inbox (only when asked for).
    ErrorHeld,
    /// The client has to send a file.
    Infile,
}

/// Why a relay failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The client is gone.
    #[error("the client is gone: {0}")]
    Client(io::Error),
    /// The server's connection broke.
    #[error("the server's connection broke: {0}")]
    Server(io::Error),
    /// The server sent something that is not a legal response.
    #[error("the server's response can't be followed: {0}")]
    Malformed(#[from] Malformed),
}

/// Passes one response on to the client until it ends. `note` is told of the end of each statement
/// before the client is, and of rows that come before that is known.
///
/// # Cancel safety
/// Nothing is lost: what was read is with the client, in the outbox or in the server's inbox, and `response`
/// knows how far it has come. Called again with the same ones it goes on; if it is not, a response cut in the
/// middle makes both connections unusable.
pub async fn relay<C, B>(
    mut client: ClientSide<'_, C>,
    mut server: ServerSide<'_, B>,
    response: &mut Response,
    holds_error: bool,
    note: &mut impl FnMut(&Summary, Stage),
) -> Result<End, RelayError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + Unpin,
{
    let mut is_unread = !server.inbox.is_empty();
    poll_fn(|cx| {
        loop {
            if !client.outbox.is_done() {
                let flushed = client.outbox.poll_flush(client.stream, cx);
                if let Poll::Ready(Err(error)) = flushed {
                    return Poll::Ready(Err(RelayError::Client(error)));
                }
                if flushed.is_pending() && client.outbox.waiting() > PENDING_MAX {
                    let stalled = client.stall.poll(client.outbox.waiting(), cx);
                    return stalled.map(|error| Err(RelayError::Client(error)));
                }
                client.stall.running = None;
            }
            let step = match std::mem::take(&mut is_unread) {
                true => pass_inbox(&mut client, &mut server, response, holds_error, note, cx),
                false => poll_pass(&mut client, &mut server, response, holds_error, note, cx),
            };
            match step {
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(end))) => return Poll::Ready(Ok(end)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return watch(&mut client, cx),
            }
        }
    })
    .await
}

type Step = Poll<Result<Option<End>, RelayError>>;

/// Reads from the server and passes on what is ready.
fn poll_pass<C, B>(
    client: &mut ClientSide<'_, C>,
    server: &mut ServerSide<'_, B>,
    response: &mut Response,
    holds_error: bool,
    note: &mut impl FnMut(&Summary, Stage),
    cx: &mut Context<'_>,
) -> Step
where
    C: AsyncWrite + Unpin,
    B: AsyncRead + Unpin,
{
    if !server.inbox.is_empty() {
        return match poll_fill(server.stream, server.inbox, cx) {
            Poll::Ready(Ok(0)) => closed(),
            Poll::Ready(Ok(_)) => pass_inbox(client, server, response, holds_error, note, cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(RelayError::Server(error))),
            Poll::Pending => Poll::Pending,
        };
    }
    with_scratch(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        match Pin::new(&mut *server.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(RelayError::Server(error))),
            Poll::Pending => return Poll::Pending,
        }
        let chunk = buffer.filled_mut();
        if chunk.is_empty() {
            return closed();
        }
        let advance = response.advance(chunk)?;
        response.note_received(advance.ready);
        tell(response, note);
        if holds_error && response.is_only_an_error() {
            server.inbox.extend_from_slice(&chunk[..advance.length]);
            return Poll::Ready(Ok(Some(End::ErrorHeld)));
        }
        server.inbox.extend_from_slice(&chunk[advance.ready..advance.length]);
        let sent = client.outbox.send(client.stream, &chunk[..advance.ready], cx);
        if let Next::Instead(skipped) = advance.next {
            put_instead(client, server, response, (sent, skipped), cx)?;
            return pass_inbox(client, server, response, holds_error, note, cx);
        }
        sent.map_err(RelayError::Client)?;
        Poll::Ready(Ok(ended(advance.next)))
    })
}

/// Sends a packet that has grown, in place of the first bytes of the server's inbox, if what comes before
/// was `sent`. It is taken off there all the same: the rest of the response is read without the client.
fn put_instead<C: AsyncWrite + Unpin, B>(
    client: &mut ClientSide<'_, C>,
    server: &mut ServerSide<'_, B>,
    response: &mut Response,
    (sent, skipped): (io::Result<()>, usize),
    cx: &mut Context<'_>,
) -> Result<(), RelayError> {
    server.inbox.drain(..skipped);
    let bytes = response.take_instead();
    sent.and_then(|()| client.outbox.send(client.stream, &bytes, cx)).map_err(RelayError::Client)
}

/// Passes on what is ready in the server's inbox.
fn pass_inbox<C: AsyncWrite + Unpin, B>(
    client: &mut ClientSide<'_, C>,
    server: &mut ServerSide<'_, B>,
    response: &mut Response,
    holds_error: bool,
    note: &mut impl FnMut(&Summary, Stage),
    cx: &mut Context<'_>,
) -> Step {
    loop {
        let advance = response.advance(server.inbox)?;
        response.note_received(advance.ready);
        tell(response, note);
        server.inbox.truncate(advance.length);
        if holds_error && response.is_only_an_error() {
            return Poll::Ready(Ok(Some(End::ErrorHeld)));
        }
        let sent = client.outbox.send(client.stream, &server.inbox[..advance.ready], cx);
        server.inbox.drain(..advance.ready);
        if let Next::Instead(skipped) = advance.next {
            put_instead(client, server, response, (sent, skipped), cx)?;
            continue;
        }
        if server.inbox.is_empty() {
            *server.inbox = Vec::new();
        }
        sent.map_err(RelayError::Client)?;
        return Poll::Ready(Ok(ended(advance.next)));
    }
}

/// While the server is silent: notices a client that went away, and takes what it sends ahead.
fn watch<C: AsyncRead + Unpin>(
    client: &mut ClientSide<'_, C>,
    cx: &mut Context<'_>,
) -> Poll<Result<End, RelayError>> {
    while client.inbox.len() < AHEAD_MAX {
        let gone = match poll_fill(client.stream, client.inbox, cx) {
            Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
            Poll::Ready(Ok(_)) => continue,
            Poll::Ready(Err(error)) => error,
            Poll::Pending => break,
        };
        if client.runs_ahead && are_left_to_run(client.inbox) {
            // As at a server, which finds out when it can't write an answer.
            break;
        }
        return Poll::Ready(Err(RelayError::Client(gone)));
    }
    Poll::Pending
}

fn tell(response: &mut Response, note: &mut impl FnMut(&Summary, Stage)) {
    if response.take_ended() {
        note(response.summary(), Stage::End);
    }
    if response.take_begun() && response.is_in_results() {
        note(response.summary(), Stage::Rows);
    }
}

fn ended(next: Next) -> Option<End> {
    match next {
        Next::More | Next::Instead(_) => None,
        Next::Infile => Some(End::Infile),
        Next::Done => Some(End::Done),
    }
}

fn closed() -> Step {
    Poll::Ready(Err(RelayError::Server(io::ErrorKind::UnexpectedEof.into())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;
    use crate::protocol::packet::put;
    use crate::protocol::response::Advance;
    use crate::protocol::status::Tracked;
    use crate::protocol::tracking::{Teller, Wanted};
    use crate::protocol::{Capabilities, Shape};

    /// A result whose last packet grows, since the client is to be told of its schema.
    fn growing() -> (Response, Vec<u8>) {
        let mut teller = Teller::new(Arc::new(Wanted { schema: true, ..Wanted::default() }));
        teller.keep(&[Tracked::Schema("shop".into())]);
        let mut response = Response::on(Shape::Results, Capabilities::DEPRECATE_EOF);
        response.set_teller(Some(Box::new(teller)));
        let mut bytes = Vec::new();
        let mut sequence = 1;
        for payload in [&b"\x01"[..], b"def", b"\x01a", b"\xfe\0\0\x02\0\0\0"] {
            sequence = put(&mut bytes, sequence, payload);
        }
        (response, bytes)
    }

    #[tokio::test]
    async fn a_packet_that_has_grown_is_read_also_when_the_client_is_gone() {
        for is_there_already in [false, true] {
            let (mut response, bytes) = growing();
            let (mut stream, client) = duplex(1024);
            drop(client);
            let (mut ahead, mut outbox) = (Vec::new(), Outbox::default());
            let mut stall = Stall::new(Duration::from_secs(1));
            let (stream, inbox, outbox) = (&mut stream, &mut ahead, &mut outbox);
            let stall = &mut stall;
            let client = ClientSide { stream, inbox, outbox, stall, runs_ahead: true };
            let (mut inbox, mut rest) = match is_there_already {
                true => (bytes, &b""[..]),
                false => (Vec::new(), &bytes[..]),
            };
            let server = ServerSide { stream: &mut rest, inbox: &mut inbox };
            let relayed = relay(client, server, &mut response, false, &mut |_, _| {}).await;
            assert!(matches!(relayed, Err(RelayError::Client(_))), "{relayed:?}");
            let done = Advance { ready: 0, length: 0, next: Next::Done };
            assert_eq!(response.advance(&mut inbox).ok(), Some(done), "{is_there_already}");
        }
    }

    #[tokio::test]
    async fn a_client_that_always_takes_something_holds_no_more_than_waits() {
        let (mut here, mut client) = duplex(64 * 1024);
        let mut outbox = Outbox::default();
        let (mut sent, mut taken) = (0, 0);
        for round in 0..400_u32 {
            let piece = vec![u8::try_from(round % 251).expect("a byte"); 48 * 1024];
            while outbox.waiting() > PENDING_MAX {
                poll_fn(|cx| {
                    assert!(outbox.poll_flush(&mut here, cx).is_pending(), "it never has all");
                    Poll::Ready(())
                })
                .await;
                let mut part = vec![0; 40 * 1024];
                taken += client.read(&mut part).await.expect("it reads");
            }
            outbox.push(&piece);
            sent += piece.len();
        }
        assert!(sent > 16 * 1024 * 1024 && taken > sent / 2);
        assert!(outbox.bytes.capacity() < 8 * PENDING_MAX, "{}", outbox.bytes.capacity());
    }
}
