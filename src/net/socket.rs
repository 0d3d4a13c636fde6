//! A stream: TCP, TLS over it, a Unix socket to a server on the same host, or compression over one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsStream;

use super::certificate::ClientTls;
use super::compressed::Compressed;
use super::tls::Replay;
use super::worker;
use crate::config::settings::Address;
use crate::protocol::compress::Algorithm;
use crate::protocol::numbering::Numbering;

/// Pause before a full backlog is tried again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// How a peer is noticed that is gone without a word: its host is down, or the network forgot it.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// Silence after which it is asked whether it is there, and pauses between that.
    idle: Duration,
    interval: Duration,
    /// Questions without an answer after which it is not.
    retries: u32,
    /// How long it may take nothing of what was sent; `None` for as long as it answers.
    stalled: Option<Duration>,
}

impl Watch {
    /// Of clients, whose transactions hold locks; what they are sent may lie in the kernel for as long as
    /// they like.
    pub const CLIENT: Self = Self {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        retries: 6,
        stalled: None,
    };
    /// Of servers: what they are sent is acknowledged at once, whatever they do.
    pub const SERVER: Self = Self {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        retries: 3,
        stalled: Some(Duration::from_secs(30)),
    };
    /// Of servers that are sent so much that it does not fit their kernel's buffers, and may take their
    /// time to read it: a file for rows that are locked.
    pub const PATIENT: Self = Self { stalled: None, ..Self::SERVER };
}

/// Longest time for an address of a name that has others after it: one may be of a network that is not
/// there.
pub const ADDRESS_LIMIT: Duration = Duration::from_secs(1);

/// Connects to the first of the name's addresses that answers.
async fn connect_to_any(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = lookup_host((host, port)).await?.peekable();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(address) = addresses.next() {
        let connect = TcpStream::connect(address);
        let connected = match addresses.peek() {
            None => connect.await,
            Some(_) => timeout(ADDRESS_LIMIT, connect)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Has the kernel watch the peer of a TCP socket.
///
/// # Errors
/// Those of the system.
pub fn watch<'a>(socket: impl Into<SockRef<'a>>, watch: Watch) -> io::Result<()> {
    let Watch { idle, interval, retries, stalled } = watch;
    let keepalive =
        TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
    let socket = socket.into();
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(stalled)
}

/// A connected stream.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<Replay>>),
    /// Compressed frames over one of the others.
    Compressed(Box<Compressed>),
}

impl Socket {
    /// Connects to `address`. Sets no limit to the time it takes.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let stream = connect_to_any(host, *port).await?;
                stream.set_nodelay(true)?;
                watch(&stream, Watch::SERVER)?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    // What TCP does by itself: wait until the server takes one from its backlog.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        sleep(BACKLOG_PAUSE).await;
                    }
                    connected => return connected.map(Self::Unix),
                }
            },
        }
    }

    /// Has the kernel watch the other end; a Unix socket needs nobody to.
    pub fn watch(&self, how: Watch) {
        let raw = self.raw();
        if raw.domain().is_ok_and(|domain| domain != Domain::UNIX) {
            // Otherwise it is as it was.
            let _ = watch(raw, how);
        }
    }

    /// The other end's address; `None` where it has none, or is gone.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.raw().peer_addr().ok()?.as_socket()
    }

    /// The same stream to a client, with compressed frames from here on; `ahead` was read of it
    /// already.
    pub fn compressed(self, algorithm: Algorithm, ahead: Vec<u8>) -> Self {
        Self::Compressed(Box::new(Compressed::to_client(self, algorithm, ahead)))
    }

    /// Likewise to a server.
    pub fn compressed_to_server(self, algorithm: Algorithm, ahead: Vec<u8>) -> Self {
        Self::Compressed(Box::new(Compressed::to_server(self, algorithm, ahead)))
    }

    /// The stream without its compression.
    pub fn uncompressed(self) -> Self {
        match self {
            Self::Compressed(stream) => stream.into_below(),
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => self,
        }
    }

    /// Whether it holds nothing that was read and not handed out.
    pub fn is_at_rest(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => true,
            Self::Compressed(stream) => stream.is_at_rest(),
        }
    }

    /// Bytes that it has read and not handed out, as far as compression goes.
    pub fn unread(&self) -> usize {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => 0,
            Self::Compressed(stream) => stream.unread(),
        }
    }

    /// The numbers of the frames exchanged with a server, where these are compressed.
    pub fn numbering(&mut self) -> Option<&mut Numbering> {
        self.compression()?.numbering()
    }

    /// The compression on it, which has to be told whose turn it is.
    pub fn compression(&mut self) -> Option<&mut Compressed> {
        match self {
            Self::Compressed(stream) => Some(stream),
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => None,
        }
    }

    /// Takes the stream from the event queue it is registered with to this thread's.
    ///
    /// # Errors
    /// When the kernel refuses the registration (out of memory, or of watches).
    pub fn adopt(self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => worker::adopt(stream).map(Self::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream.into_std()?).map(Self::Unix),
            // Stays where it is: its answers wake this thread through the other.
            Self::Tls(_) => Ok(self),
            Self::Compressed(stream) => Ok(Self::Compressed(Box::new(stream.adopt()?))),
        }
    }

    /// Reads what the event queue knows to be there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
            Self::Tls(stream) => stream.get_ref().0.stream().try_read(buffer),
            Self::Compressed(stream) => stream.below().try_read(buffer),
        }
    }

    /// Whether it consists of compressed frames.
    pub fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(_))
    }

    /// Whether what is written goes to the wire as it is.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// What TLS tells of the client at the other end; `None` without TLS.
    pub fn client_tls(&self) -> Option<ClientTls> {
        match self {
            Self::Tls(stream) => Some(ClientTls::of(stream.get_ref().1)),
            // Asked of before anything is compressed.
            Self::Tcp(_) | Self::Unix(_) | Self::Compressed(_) => None,
        }
    }

    /// The socket itself, for system calls that go past the event queue (and past TLS).
    pub fn raw(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0.stream()),
            Self::Compressed(stream) => stream.below().raw(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Compressed(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Compressed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Compressed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Compressed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
