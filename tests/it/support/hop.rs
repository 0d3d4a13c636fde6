//! A hop between Fairlane and a server that counts round trips: how often Fairlane speaks again
//! after the server has.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::proxy::free_port;

/// Where the user's name is in a handshake response, its header included.
const NAME: usize = 36;

/// A hop in front of a server, until the process ends.
pub struct Hop {
    pub port: u16,
    trips: Arc<AtomicU64>,
}

impl Hop {
    /// In front of the server at a port; the round trips of connections of `user` are counted.
    pub fn before(server: u16, user: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let trips = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&trips);
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                pass(client, server, user, Arc::clone(&counter));
            }
        });
        Self { port, trips }
    }

    /// Round trips up to now.
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::Acquire)
    }
}

fn pass(client: TcpStream, server: u16, user: &'static str, trips: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let has_answered = Arc::new(AtomicBool::new(false));
    let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answered = Arc::clone(&has_answered);
    std::thread::spawn(move || copy(from, to, |_| answered.store(true, Ordering::Release)));
    let mut is_counted = None;
    std::thread::spawn(move || {
        copy(client, server, |bytes| {
            let has_name =
                || bytes.get(NAME..).is_some_and(|rest| rest.starts_with(user.as_bytes()));
            let is_counted = *is_counted.get_or_insert_with(has_name);
            if has_answered.swap(false, Ordering::AcqRel) && is_counted {
                trips.fetch_add(1, Ordering::AcqRel);
            }
        });
    });
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        look(&chunk[..length]);
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
