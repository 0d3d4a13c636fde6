//! A storm of clients over a small pool: nobody is refused, and the server never sees one
//! connection too many.

use std::sync::{Arc, Barrier};
use std::thread;

use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{Proxy, Raw};

/// Clients connected at the same time.
const CLIENTS: usize = 5_000;
const THREADS: usize = 50;

#[test]
fn five_thousand_clients_at_once_over_fifteen_connections() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..Options::default() });
    let proxy = Arc::new(Proxy::with(&servers, 15, ""));
    let most_used = |root: &mut Raw| {
        let rows = root.rows("SHOW GLOBAL STATUS LIKE 'Max_used_connections'");
        rows[0][1].clone().unwrap().parse::<usize>().unwrap()
    };
    // The test's own connections must not be counted: they end before the storm.
    for mut root in [servers.root(), servers.replica_root()] {
        root.run("FLUSH STATUS");
    }
    crate::support::pause(300);
    let connected = Arc::new(Barrier::new(THREADS));
    let storm: Vec<_> = (0..THREADS)
        .map(|_| {
            let (proxy, connected) = (proxy.clone(), connected.clone());
            thread::spawn(move || {
                let mut clients: Vec<Raw> = (0..CLIENTS / THREADS).map(|_| proxy.app()).collect();
                connected.wait();
                for client in &mut clients {
                    client.run("SELECT 1");
                    client.run("DO 1");
                }
                connected.wait();
                clients.len()
            })
        })
        .collect();
    let served: usize = storm.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(served, CLIENTS);
    assert_eq!(proxy.sum("fairlane_lane_rejected_total{"), 0.0);
    // The replica keeps a thread of its own on the primary, which is no client connection of
    // Fairlane; it is counted by the primary like one.
    let replication = 1;
    let (mut root, mut replica_root) = (servers.root(), servers.replica_root());
    let (primary, replica) = (most_used(&mut root), most_used(&mut replica_root));
    let own = 1;
    assert!(primary <= 15 + replication, "{primary} connections on the primary");
    assert!(replica <= 15 + own, "{replica} connections on the replica");
    println!(
        "Max_used_connections: primary {primary} (with {replication} of the replica), replica {replica}"
    );
}
