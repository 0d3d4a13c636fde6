//! A stream whose bytes travel in compressed frames.
//!
//! The two sides take turns, and the frames' sequence ids go through both turns and start anew with
//! each command. While Fairlane answers a client, what that sends ahead stays packed: it belongs to
//! a command whose ids have not begun. To a server, commands are sent ahead; whose answer is read
//! has to be told with [`Numbering::begin_answer`].
//!
//! At rest the stream holds no buffer; the libraries' contexts belong to the thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::codec::{pack, unpack};
use super::scratch::SCRATCH;
use super::socket::Socket;
use crate::protocol::compress::{Algorithm, Frame, HEADER, Violation};
use crate::protocol::numbering::Numbering;

/// Most plain bytes put into one frame to a client.
const FRAME_MAX: usize = SCRATCH;
/// Likewise to a server. MySQL copies what it has of a command with each frame: 32 MiB in frames of
/// 64 KiB took it 4 s the first time, 2 s in these, 1 s in the largest, which would hold up others.
const SERVER_FRAME_MAX: usize = 4 * FRAME_MAX;
/// Bytes a client may send ahead while it is answered before its socket is no longer read.
const AHEAD_MAX: usize = 64 * 1024;

thread_local! {
    static RECEIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
    static PACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whose frames are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The client's: they are unpacked.
    Client,
    /// Fairlane's own.
    Own,
}

/// Who is at the other end, and what its frames' ids depend on.
#[derive(Debug)]
enum Peer {
    /// A client.
    Client {
        turn: Turn,
        /// Sequence id of the next frame, whoever sends it.
        sequence: u8,
    },
    /// A server.
    Server(Numbering),
}

/// A stream of compressed frames.
#[derive(Debug)]
pub struct Compressed {
    stream: Socket,
    algorithm: Algorithm,
    peer: Peer,
    /// Read and not unpacked.
    received: Bytes,
    /// Unpacked and not handed out.
    plain: Bytes,
    /// Packed and not written.
    pending: Bytes,
    /// Why nothing can be read any more.
    violation: Option<Violation>,
}

impl Compressed {
    /// Over `stream` to a client, of which `ahead` has been read already.
    pub(super) fn to_client(stream: Socket, algorithm: Algorithm, ahead: Vec<u8>) -> Self {
        Self::new(stream, algorithm, Peer::Client { turn: Turn::Client, sequence: 0 }, ahead)
    }

    /// Likewise to a server.
    pub(super) fn to_server(stream: Socket, algorithm: Algorithm, ahead: Vec<u8>) -> Self {
        Self::new(stream, algorithm, Peer::Server(Numbering::default()), ahead)
    }

    fn new(stream: Socket, algorithm: Algorithm, peer: Peer, ahead: Vec<u8>) -> Self {
        Self {
            stream,
            algorithm,
            peer,
            received: Bytes { bytes: ahead, at: 0 },
            plain: Bytes::default(),
            pending: Bytes::default(),
            violation: None,
        }
    }

    /// The stream below.
    pub(super) fn below(&self) -> &Socket {
        &self.stream
    }

    /// The stream below, as it is without what is unpacked or to be written.
    pub(super) fn into_below(self) -> Socket {
        self.stream
    }

    /// The same over the stream below as this thread's event queue knows it.
    ///
    /// # Errors
    /// As [`Socket::adopt`].
    pub(super) fn adopt(self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.adopt()?, ..self })
    }

    /// Whether nothing is left that was read or is to be written.
    pub(super) fn is_at_rest(&self) -> bool {
        [&self.received, &self.plain, &self.pending].iter().all(|bytes| bytes.rest().is_empty())
    }

    /// Bytes that were read and not handed out.
    pub(super) fn unread(&self) -> usize {
        self.received.rest().len() + self.plain.rest().len()
    }

    /// Sequence id of the next frame from or to a client.
    pub fn sequence(&self) -> u8 {
        match self.peer {
            Peer::Client { sequence, .. } => sequence,
            Peer::Server(_) => 0,
        }
    }

    /// A new command of the client's is due.
    pub fn expect_command(&mut self) {
        self.give_turn(Turn::Client, 0);
    }

    /// More from the client is due, in the middle of a command.
    pub fn expect_more(&mut self) {
        self.give_turn(Turn::Client, self.sequence());
    }

    /// An answer of Fairlane's to a client is due.
    pub fn begin_answer(&mut self) {
        self.give_turn(Turn::Own, self.sequence());
    }

    fn give_turn(&mut self, turn: Turn, sequence: u8) {
        debug_assert!(matches!(self.peer, Peer::Client { .. }), "it is a server's");
        self.peer = Peer::Client { turn, sequence };
    }

    /// The numbers of what is exchanged with a server, which have to be told when an answer and
    /// when a file begins.
    pub fn numbering(&mut self) -> Option<&mut Numbering> {
        match &mut self.peer {
            Peer::Client { .. } => None,
            Peer::Server(numbering) => Some(numbering),
        }
    }

    /// Unpacks the next frame, if it is there as a whole.
    fn unpack_next(&mut self) -> Result<bool, Violation> {
        let received = self.received.rest();
        let Some(frame) = Frame::parse(received) else { return Ok(false) };
        let is_expected = match &self.peer {
            Peer::Client { sequence, .. } => frame.sequence == *sequence,
            Peer::Server(numbering) => numbering.expects(frame.sequence),
        };
        if !is_expected {
            return Err(Violation::OutOfOrder);
        }
        let end = HEADER + frame.length;
        let Some(body) = received.get(HEADER..end) else { return Ok(false) };
        let start = self.plain.bytes.len();
        match frame.plain_length {
            0 => self.plain.bytes.extend_from_slice(body),
            length => unpack(self.algorithm, body, length, &mut self.plain.bytes)?,
        }
        self.received.take(end);
        match &mut self.peer {
            Peer::Client { sequence, .. } => *sequence = sequence.wrapping_add(1),
            Peer::Server(numbering) => {
                numbering.take_frame(frame.sequence, &mut self.plain.bytes[start..]);
            }
        }
        Ok(true)
    }

    /// Reads what is there; 0 is the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        RECEIVED.with_borrow_mut(|received| {
            let mut buffer = ReadBuf::new(received);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.received.push(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Writes what is packed.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.rest().is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write(cx, self.pending.rest()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.take(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Packs `plain` as one frame to a client and writes as much of it as the stream takes now.
    fn send(&mut self, sequence: u8, plain: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        PACKED.with_borrow_mut(|packed| {
            packed.clear();
            pack(self.algorithm, sequence, plain, packed);
            let mut sent = 0;
            while sent < packed.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &packed[sent..]) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(written)) => sent += written,
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
            self.pending.push(&packed[sent..]);
            Ok(())
        })
    }

    /// Ends the stream with what unpacking has found. Servers' mistakes are told here: what becomes
    /// of the work they spoil may hide them.
    fn end(&mut self, violation: Violation) -> io::Error {
        let is_new = self.violation.replace(violation).is_none();
        if is_new && matches!(self.peer, Peer::Server(_)) {
            let peer = self.stream.peer().map(|address| address.to_string());
            let server = peer.as_deref().unwrap_or("on a Unix socket");
            tracing::warn!(server, %violation, "a server's compressed frame is wrong");
        }
        io::Error::new(io::ErrorKind::InvalidData, violation)
    }
}

/// What the other end did wrong, if that is why its stream ended.
pub fn violation(error: &io::Error) -> Option<Violation> {
    error.get_ref()?.downcast_ref().copied()
}

impl AsyncRead for Compressed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let plain = this.plain.rest();
            if !plain.is_empty() {
                let count = buffer.remaining().min(plain.len());
                buffer.put_slice(&plain[..count]);
                this.plain.take(count);
                return Poll::Ready(Ok(()));
            }
            if let Peer::Client { turn: Turn::Own, .. } = this.peer {
                if this.received.rest().len() >= AHEAD_MAX {
                    return Poll::Pending;
                }
            } else {
                match this.violation.map_or_else(|| this.unpack_next(), Err) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(violation) => return Poll::Ready(Err(this.end(violation))),
                }
            }
            if ready!(this.poll_receive(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Compressed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // To a server frames go together: whoever writes flushes behind the last byte.
        let (most, may_wait) = match this.peer {
            Peer::Client { .. } => (FRAME_MAX, 0),
            Peer::Server(_) => (SERVER_FRAME_MAX, SERVER_FRAME_MAX),
        };
        let now = &bytes[..bytes.len().min(most)];
        if now.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.pending.rest().len() >= may_wait {
            ready!(this.poll_pending(cx))?;
        }
        match &mut this.peer {
            Peer::Client { sequence, .. } => {
                let number = *sequence;
                *sequence = number.wrapping_add(1);
                this.send(number, now, cx)?;
                Poll::Ready(Ok(now.len()))
            }
            Peer::Server(numbering) => {
                let (length, number) = numbering.cut(now);
                pack(this.algorithm, number, &now[..length], this.pending.compact());
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// Bytes taken from the front; the memory goes with the last of them.
#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    at: usize,
}

impl Bytes {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, count: usize) {
        self.at += count;
        if self.at == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn push(&mut self, more: &[u8]) {
        self.compact().extend_from_slice(more);
    }

    /// What is there, to be added to.
    fn compact(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Compressed, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let peer = TcpStream::connect(address).await.expect("connected");
        let (own, _) = listener.accept().await.expect("accepted");
        (Compressed::to_client(Socket::Tcp(own), Algorithm::Zlib, Vec::new()), peer)
    }

    fn frame(sequence: u8, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        pack(Algorithm::Zlib, sequence, plain, &mut out);
        out
    }

    #[tokio::test]
    async fn a_command_sent_ahead_waits_until_the_answer_is_given() {
        let (mut own, mut peer) = pair().await;
        let both = [frame(0, b"first"), frame(0, b"second")].concat();
        peer.write_all(&both).await.expect("sent");
        let mut read = [0; 16];
        own.expect_command();
        assert_eq!(own.read(&mut read).await.expect("read"), 5);
        own.begin_answer();
        let ahead = tokio::time::timeout(std::time::Duration::from_millis(20), own.read(&mut read));
        assert!(ahead.await.is_err(), "it is not its turn");
        own.write_all(b"answer").await.expect("written");
        let mut answer = [0; HEADER + 6];
        peer.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer, *frame(1, b"answer"));
        own.expect_command();
        assert_eq!(own.read(&mut read).await.expect("read"), 6);
        assert_eq!(&read[..6], b"second");
    }

    #[tokio::test]
    async fn frames_cut_anywhere_are_put_together_and_nothing_is_kept() {
        let (mut own, mut peer) = pair().await;
        let plain: Vec<u8> = (0..=200).flat_map(|byte| vec![byte; 999]).collect();
        let (head, tail) = plain.split_at(77_777);
        let wire = [frame(0, head), frame(1, b""), frame(2, tail)].concat();
        let writing = async {
            for piece in wire.chunks(7) {
                peer.write_all(piece).await.expect("sent");
            }
        };
        let mut read = vec![0; plain.len()];
        own.expect_command();
        let (read_all, ()) = tokio::join!(own.read_exact(&mut read), writing);
        read_all.expect("read");
        assert_eq!(read, plain);
        for bytes in [&own.received, &own.plain, &own.pending] {
            assert_eq!(bytes.bytes.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn a_slow_reader_makes_the_writer_wait() {
        let (mut own, mut peer) = pair().await;
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 24).collect();
        own.begin_answer();
        let writing = own.write_all(&noise);
        let limit = std::time::Duration::from_millis(300);
        assert!(tokio::time::timeout(limit, writing).await.is_err(), "nobody reads");
        assert!(own.pending.rest().len() <= FRAME_MAX + HEADER);
        let mut some = vec![0; 1 << 20];
        peer.read_exact(&mut some).await.expect("read");
    }

    #[tokio::test]
    async fn wrong_frames_end_the_stream() {
        let bad = [
            (frame(1, b"x"), Violation::OutOfOrder),
            (vec![3, 0, 0, 0, 9, 0, 0, 1, 2, 3], Violation::NotUnpacked),
            (vec![0, 0, 0, 0, 9, 0, 0], Violation::NotUnpacked),
        ];
        for (wire, expected) in bad {
            let (mut own, mut peer) = pair().await;
            peer.write_all(&wire).await.expect("sent");
            own.expect_command();
            let error = own.read(&mut [0; 16]).await.expect_err("refused");
            assert_eq!(violation(&error), Some(expected));
        }
    }
}
