//! A hop between a replica and its primary that holds back what the primary sends.
//!
//! The servers' own delay (`MASTER_DELAY`) counts in seconds; this one in milliseconds.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::product::product;
use super::proxy::free_port;
use super::{Servers, pause};

/// Chunks on their way at once.
const ON_THE_WAY_MAX: usize = 10_000;

/// Makes the replica of `servers` follow its primary through a hop, until the process ends. The milliseconds
/// may be changed for what the primary sends from then on.
pub fn delay_replication(servers: &Servers, by: Duration) -> Arc<AtomicU64> {
    let by = Arc::new(AtomicU64::new(u64::try_from(by.as_millis()).unwrap()));
    let delay = Arc::clone(&by);
    servers.wait_replicated();
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = listener.local_addr().unwrap().port();
    let primary = servers.primary;
    std::thread::spawn(move || {
        while let Ok((replica, _)) = listener.accept() {
            hop(replica, primary, Arc::clone(&delay));
        }
    });
    let mut root = servers.replica_root();
    let statements = match product().is_mysql() {
        true => [
            "STOP REPLICA".to_owned(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_PORT = {port}"),
            "START REPLICA".to_owned(),
        ],
        false => [
            "STOP SLAVE".to_owned(),
            format!("CHANGE MASTER TO MASTER_PORT = {port}, MASTER_USE_GTID = slave_pos"),
            "START SLAVE".to_owned(),
        ],
    };
    statements.iter().for_each(|sql| drop(root.run(sql)));
    by
}

fn hop(replica: TcpStream, primary: u16, by: Arc<AtomicU64>) {
    let Ok(primary) = TcpStream::connect(("127.0.0.1", primary)) else { return };
    primary.set_nodelay(true).unwrap();
    replica.set_nodelay(true).unwrap();
    let (from, to) = (replica.try_clone().unwrap(), primary.try_clone().unwrap());
    std::thread::spawn(move || pass_on(from, to));
    let (put, take) = sync_channel(ON_THE_WAY_MAX);
    std::thread::spawn(move || receive(primary, &put, &by));
    std::thread::spawn(move || deliver(replica, &take));
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

fn receive(mut primary: TcpStream, put: &SyncSender<(Instant, Vec<u8>)>, by: &AtomicU64) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = primary.read(&mut chunk) {
        let by = Duration::from_millis(by.load(Ordering::Relaxed));
        if put.send((Instant::now() + by, chunk[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(mut replica: TcpStream, take: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, chunk)) = take.recv() {
        let left = due.saturating_duration_since(Instant::now());
        pause(u64::try_from(left.as_millis()).unwrap() + 1);
        if replica.write_all(&chunk).is_err() {
            return;
        }
    }
    let _ = replica.shutdown(Shutdown::Both);
}
