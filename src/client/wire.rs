//! The client's socket: whole commands in, packets out.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use zeroize::Zeroize as _;

use crate::net::proxy_header::Start;
use crate::net::read::{self, ReadError};
use crate::net::relay::{ClientSide, Outbox, PENDING_MAX, Stall};
use crate::net::socket::Socket;
use crate::net::tls::Acceptor;
use crate::protocol::command::are_left_to_run;
use crate::protocol::compress::Algorithm;
use crate::protocol::packet::{self, Framed};

/// Most bytes of a client's packet before it is logged in.
const LOGIN_PACKET_MAX: usize = 128 * 1024;

/// `net_write_timeout` until it is known.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// The client's socket and its buffers.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: Socket,
    pub(super) inbox: Vec<u8>,
    outbox: Outbox,
    /// Sequence id of the next packet to the client.
    sequence: u8,
    /// Packets of the command under way that come after its first one.
    more_packets: u8,
    /// How long the client may read nothing of what it is sent.
    stall_limit: Duration,
    /// Bytes of the command that is due when it was last asked whether more has come.
    seen: usize,
    /// Commands sent ahead are run also when the client has closed its end behind them.
    runs_ahead: bool,
}

/// One command as it came.
#[derive(Debug)]
pub(super) struct CommandPacket {
    wire: Vec<u8>,
    framed: Framed,
}

impl CommandPacket {
    /// The bytes as they came, headers included.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire[..self.framed.wire_length]
    }

    /// The payload: command byte and body.
    pub(super) fn payload(&self) -> Cow<'_, [u8]> {
        packet::payload(&self.wire, &self.framed)
    }

    pub(super) fn wire_length(&self) -> usize {
        self.framed.wire_length
    }
}

impl Wire {
    pub(super) fn new(stream: Socket) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            sequence: 0,
            more_packets: 0,
            stall_limit: STALL_LIMIT,
            seen: 0,
            runs_ahead: true,
        }
    }

    /// Nothing of what was sent ahead is run for a client that has closed its end.
    pub(super) fn end_with_client(&mut self) {
        self.runs_ahead = false;
    }

    /// The client may read nothing of what it is sent for so long.
    pub(super) fn set_stall_limit(&mut self, limit: Duration) {
        self.stall_limit = limit;
    }

    /// The next command is due.
    pub(super) fn begin_command(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
            self.outbox.shrink();
        }
        if let Some(compression) = self.stream.compression() {
            compression.expect_command();
        }
        self.sequence = 0;
        self.seen = 0;
    }

    /// Bytes of the command that is due which have come.
    fn begun(&self) -> usize {
        self.inbox.len() + self.stream.unread()
    }

    /// Whether a part of the command that is due has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun() > 0
    }

    /// Whether more of it has come since this was asked last.
    pub(super) fn goes_on(&mut self) -> bool {
        let begun = self.begun();
        std::mem::replace(&mut self.seen, begun) != begun
    }

    /// Reads the command that is due; sets the sequence id of the answer.
    ///
    /// # Cancel safety
    /// What was read stays in the inbox, and the next call goes on.
    pub(super) async fn read_command(&mut self, limit: usize) -> Result<CommandPacket, ReadError> {
        let first = (!self.stream.is_compressed()).then_some(0);
        let read = read::packet_of(&mut self.stream, &mut self.inbox, limit, first).await;
        if let Err(ReadError::TooLong { last_sequence, .. }) = read {
            self.sequence = last_sequence.wrapping_add(1);
        }
        let framed = read?;
        self.sequence = framed.last_sequence.wrapping_add(1);
        if let Some(compression) = self.stream.compression() {
            compression.begin_answer();
            self.sequence = compression.sequence();
            // Numbers inside frames mean nothing, but a backend would look at them.
            packet::renumber(&mut self.inbox[..framed.wire_length], 0);
        }
        self.more_packets = packet::last_sequence(&self.inbox[..framed.wire_length]);
        let rest = match self.inbox.len() == framed.wire_length {
            true => Vec::new(),
            false => self.inbox.split_off(framed.wire_length),
        };
        let wire = std::mem::replace(&mut self.inbox, rest);
        Ok(CommandPacket { wire, framed })
    }

    /// What the ids in the answer lack to which the command under way was sent as `packets`: it may have been
    /// written anew and come to another number of them.
    pub(super) fn lacks_ids(&self, packets: &[u8]) -> u8 {
        self.more_packets.wrapping_sub(packet::last_sequence(packets))
    }

    /// Writes what is queued and looks at what the client begins with; a PROXY protocol header in
    /// front of its first packet is taken off if `is_trusted`.
    pub(super) async fn start(&mut self, is_trusted: bool) -> Result<Start, ReadError> {
        self.flush().await?;
        loop {
            let start = Start::of(&self.inbox);
            match start {
                // Nobody waits for the end of what is not believed.
                Start::Incomplete if is_trusted || !Start::is_header(&self.inbox) => {}
                Start::Header { length, .. } if is_trusted => {
                    self.inbox.drain(..length);
                    return Ok(start);
                }
                _ => return Ok(start),
            }
            if read::fill(&mut self.stream, &mut self.inbox).await? == 0 {
                return Err(ReadError::Closed);
            }
        }
    }

    /// Writes what is queued and reads the peer's next packet of the connection phase.
    pub(super) async fn ask(&mut self) -> Result<Vec<u8>, ReadError> {
        self.flush().await?;
        if let Some(compression) = self.stream.compression() {
            compression.expect_more();
        }
        let next = (!self.stream.is_compressed()).then_some(self.sequence);
        let read = read::packet_of(&mut self.stream, &mut self.inbox, LOGIN_PACKET_MAX, next);
        let framed = read.await?;
        if let Some(compression) = self.stream.compression() {
            compression.begin_answer();
        }
        let payload = packet::payload(&self.inbox, &framed).into_owned();
        // It may be a password.
        self.inbox[..framed.wire_length].zeroize();
        self.inbox.drain(..framed.wire_length);
        self.sequence = framed.last_sequence.wrapping_add(1);
        Ok(payload)
    }

    /// The same client with TLS from here on.
    pub(super) async fn start_tls(self, acceptor: &Acceptor) -> io::Result<Self> {
        let Socket::Tcp(stream) = self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let stream = acceptor.accept(stream, self.inbox).await?;
        Ok(Self { stream, inbox: Vec::new(), ..self })
    }

    /// The same client with compressed frames from here on.
    pub(super) fn start_compression(self, algorithm: Algorithm) -> Self {
        let stream = self.stream.compressed(algorithm, self.inbox);
        Self { stream, inbox: Vec::new(), sequence: 0, ..self }
    }

    /// Queues a packet.
    pub(super) fn push(&mut self, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + packet::HEADER);
        self.sequence = packet::put(&mut bytes, self.sequence, payload);
        self.outbox.push(&bytes);
    }

    /// Queues a packet that answers nothing.
    pub(super) fn push_unasked(&mut self, payload: &[u8]) {
        self.sequence = 0;
        self.push(payload);
    }

    /// Queues bytes that are whole packets already.
    pub(super) fn push_raw(&mut self, packets: &[u8]) {
        self.outbox.push(packets);
    }

    /// Writes all that is queued.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.outbox.is_done() {
            return Ok(());
        }
        self.outbox.flush(&mut self.stream, self.stall_limit).await
    }

    /// Bytes queued or written for the client since they were last taken; `None` while so many wait for it
    /// that no more are read.
    pub(super) fn passed(&self) -> Option<u64> {
        (self.outbox.waiting() <= PENDING_MAX).then(|| self.outbox.total())
    }

    /// Bytes for the client since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        self.outbox.take_total()
    }

    /// How long a client may keep others waiting that takes nothing of an answer.
    pub(super) fn stall(&self) -> Stall {
        Stall::new(self.stall_limit)
    }

    /// The client's end of a relay.
    pub(super) fn client_side<'a>(&'a mut self, stall: &'a mut Stall) -> ClientSide<'a, Socket> {
        ClientSide {
            stream: &mut self.stream,
            inbox: &mut self.inbox,
            outbox: &mut self.outbox,
            stall,
            runs_ahead: self.runs_ahead,
        }
    }

    /// The client's socket and what it sent ahead, for LOCAL INFILE.
    pub(super) fn reading_side(&mut self) -> (&mut Socket, &mut Vec<u8>) {
        (&mut self.stream, &mut self.inbox)
    }

    /// Ready when the client has closed its end, and no command that it sent ahead is left to run. What it sends
    /// ahead goes to the inbox.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn gone(&mut self) {
        const AHEAD_MAX: usize = 64 * 1024;
        while self.inbox.len() < AHEAD_MAX {
            match read::fill(&mut self.stream, &mut self.inbox).await {
                Ok(0) | Err(_) if self.runs_ahead && are_left_to_run(&self.inbox) => break,
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }
}
