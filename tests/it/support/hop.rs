//! A hop between Fairlane and a server that counts commands, and round trips: how often Fairlane
//! speaks again after the server has. It can also spoil what a server says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::pause;
use super::proxy::free_port;

/// Where the user's name is in a handshake response, its header included.
const NAME: usize = 36;

/// A hop in front of a server, until the process ends.
pub struct Hop {
    pub port: u16,
    counted: Arc<Counted>,
    is_silent: Arc<AtomicBool>,
    spoiler: Spoiler,
    /// Those of the user, towards Fairlane.
    sockets: Sockets,
}

type Sockets = Arc<Mutex<Vec<TcpStream>>>;

/// What is done once to what a server says, after this has been sent to it.
type Spoiler = Arc<Mutex<Option<(&'static [u8], fn(&mut Vec<u8>))>>>;

#[derive(Default)]
struct Counted {
    trips: AtomicU64,
    commands: AtomicU64,
}

impl Hop {
    /// In front of the server at a port; what connections of `user` do is counted.
    pub fn before(server: u16, user: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counted = Arc::new(Counted::default());
        let counter = Arc::clone(&counted);
        let is_silent = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&is_silent);
        let spoiler = Spoiler::default();
        let spoils = Arc::clone(&spoiler);
        let sockets = Sockets::default();
        let opened = Arc::clone(&sockets);
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let shared = (Arc::clone(&counter), Arc::clone(&silent), Arc::clone(&spoils));
                pass(client, server, user, shared, Arc::clone(&opened));
            }
        });
        Self { port, counted, is_silent, spoiler, sockets }
    }

    /// Closes all connections of the user, on both sides.
    pub fn cut(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Changes the next bytes that the server says on a connection of the user's.
    pub fn spoil(&self, spoiler: fn(&mut Vec<u8>)) {
        self.spoil_answer_to(b"", spoiler);
    }

    /// Likewise, once a command with this in it was sent there. They come no sooner than this is done.
    pub fn spoil_answer_to(&self, command: &'static [u8], spoiler: fn(&mut Vec<u8>)) {
        *self.spoiler.lock().unwrap() = Some((command, spoiler));
    }

    /// Whether they have come.
    pub fn has_spoilt(&self) -> bool {
        self.spoiler.lock().unwrap().is_none()
    }

    /// Holds back what the server says from now on, or does so no longer.
    pub fn hold_answers(&self, holds: bool) {
        self.is_silent.store(holds, Ordering::Release);
    }

    /// Round trips up to now.
    pub fn trips(&self) -> u64 {
        self.counted.trips.load(Ordering::Acquire)
    }

    /// Commands up to now.
    pub fn commands(&self) -> u64 {
        self.counted.commands.load(Ordering::Acquire)
    }
}

fn pass(
    client: TcpStream,
    server: u16,
    user: &'static str,
    (counted, is_silent, spoiler): (Arc<Counted>, Arc<AtomicBool>, Spoiler),
    sockets: Sockets,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let has_answered = Arc::new(AtomicBool::new(false));
    let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answered = Arc::clone(&has_answered);
    let waits = Arc::clone(&spoiler);
    let is_the_users = Arc::new(AtomicBool::new(false));
    let is_of_interest = Arc::clone(&is_the_users);
    std::thread::spawn(move || {
        copy(from, to, |bytes| {
            let take = || spoiler.lock().unwrap().take_if(|(command, _)| command.is_empty());
            if let Some((_, spoil)) = is_the_users.load(Ordering::Acquire).then(take).flatten() {
                spoil(bytes);
            }
            while is_silent.load(Ordering::Acquire) {
                pause(1);
            }
            answered.store(true, Ordering::Release);
        });
    });
    let (mut is_counted, mut packets) = (None, Packets::default());
    let mut socket = client.try_clone().ok();
    std::thread::spawn(move || {
        copy(client, server, |bytes| {
            let has_name =
                || bytes.get(NAME..).is_some_and(|rest| rest.starts_with(user.as_bytes()));
            let is_counted = *is_counted.get_or_insert_with(has_name);
            is_of_interest.store(is_counted, Ordering::Release);
            sockets.lock().unwrap().extend(socket.take().filter(|_| is_counted));
            let commands = packets.commands(bytes);
            let speaks_again = has_answered.swap(false, Ordering::AcqRel);
            if is_counted {
                if let Some((command, _)) = &mut *waits.lock().unwrap()
                    && bytes.windows(command.len().max(1)).any(|sent| sent == *command)
                {
                    *command = b"";
                }
                counted.trips.fetch_add(u64::from(speaks_again), Ordering::AcqRel);
                counted.commands.fetch_add(commands, Ordering::AcqRel);
            }
        });
    });
}

/// What is between the packets of a stream, or the frames, from the first command on, if it is
/// compressed.
#[derive(Default)]
struct Packets {
    header: Vec<u8>,
    left: usize,
    /// From the login.
    compresses: Option<bool>,
    has_frames: bool,
}

impl Packets {
    /// Commands that begin in these bytes: their packets have the number 0, and each has a frame of
    /// its own.
    fn commands(&mut self, mut bytes: &[u8]) -> u64 {
        let asked = bytes.get(4).is_some_and(|flags| flags & 1 << 5 != 0);
        let compresses = *self.compresses.get_or_insert(asked);
        let mut commands = 0;
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (4 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [a, b, c, number] = self.header[..] {
                commands += u64::from(number == 0);
                self.left = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
                self.has_frames |= compresses && number == 0;
                self.left += if self.has_frames { 3 } else { 0 };
                self.header.clear();
            }
        }
        commands
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&mut Vec<u8>)) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let mut bytes = chunk[..length].to_vec();
        look(&mut bytes);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
