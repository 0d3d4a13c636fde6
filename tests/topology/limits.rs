//! What topology must never do to a server: two connections at once, or getting the host blocked.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fairlane::topology::Topology;
use mysql_async::prelude::Queryable as _;
use secrecy::SecretString;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::matching::relay_from;
use crate::servers::Pair;
use crate::{INTERVAL, PATIENCE, Seen, settings, start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_control_connection_is_replaced_by_one() {
    let (primary, _directory) = Pair::primary_only(&[]).await;
    let mut root = primary.root().await;
    // Those that have set the server up may not be counted out yet.
    loop {
        let connected: Option<(String, u64)> =
            root.query_first("SHOW STATUS LIKE 'Threads_connected'").await.expect("a query");
        if connected.expect("a row").1 == 1 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    root.query_drop("FLUSH STATUS").await.expect("a query");
    let (topology, _) = start(&[&primary]);
    topology.wait_for_facts(PATIENCE).await.expect("facts");
    for round in 0..5 {
        let id: u64 = loop {
            let id = root
                .query_first("SELECT ID FROM information_schema.processlist WHERE USER='fairlane'")
                .await
                .expect("a query");
            if let Some(id) = id {
                break id;
            }
            sleep(Duration::from_millis(20)).await;
        };
        // It may have gone by itself since.
        let _ = root.query_drop(format!("KILL {id}")).await;
        until(&format!("round {round}"), || topology.view().primary_up).await;
        sleep(INTERVAL * 3).await;
    }
    let used: (String, u64) = root
        .query_first("SHOW STATUS LIKE 'Max_used_connections'")
        .await
        .expect("a query")
        .expect("a row");
    assert_eq!(used.1, 2, "root's and one more");
    let aborted: (String, u64) = root
        .query_first("SHOW STATUS LIKE 'Aborted_connects'")
        .await
        .expect("a query")
        .expect("a row");
    assert!(aborted.1 <= 1, "the greeting was read once: {aborted:?}");
}

/// Most sockets connected to this port at once. The kernel hands its table out in pieces, so one
/// look can show a socket that closed and its successor; two looks in a row have both only if both
/// were there.
fn client_sockets_at_once(port: u16) -> usize {
    let before = client_sockets(port);
    if before.len() <= 1 { before.len() } else { (&before & &client_sockets(port)).len() }
}

/// Addresses of this process's sockets that are connected, or being connected, to this port.
fn client_sockets(port: u16) -> BTreeSet<String> {
    const CONNECTED: [&str; 2] = ["01", "02"];
    let remote = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the kernel's table");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row.len() > 3 && row[2] == remote && CONNECTED.contains(&row[3]));
    rows.map(|row| row[1].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_never_gets_two_connections() {
    let (primary, _directory) = Pair::primary_only(&[]).await;
    let mut settings = settings(&[primary.port]);
    settings.pool.connect_timeout = Duration::from_millis(300);
    let topology = Topology::start(Arc::new(settings), Arc::new(Seen::default()));
    let began = Instant::now();
    let mut most = 0;
    let mut is_frozen = false;
    while began.elapsed() < Duration::from_secs(5) {
        most = most.max(client_sockets_at_once(primary.port));
        if !is_frozen && topology.view().primary_up {
            primary.signal("STOP").await;
            is_frozen = true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    assert!(is_frozen && !topology.view().primary_up);
    assert_eq!(most, 1);
    primary.signal("CONT").await;
    until("up again", || topology.view().primary_up).await;
    topology.close().await;
    assert_eq!(client_sockets(primary.port), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greetings_do_not_get_the_host_blocked() {
    let (primary, _directory) = Pair::primary_only(&["--max-connect-errors=2"]).await;
    primary
        .run(&[
            "CREATE USER fairlane@'%' IDENTIFIED BY 'fairlane-secret'",
            "GRANT SELECT ON mysql.* TO fairlane@'%'",
        ])
        .await;
    // The server counts no errors for 127.0.0.1.
    let port = relay_from(Ipv4Addr::new(127, 0, 0, 5), primary.port).await;
    let mut wrong = settings(&[port]);
    wrong.service.password = SecretString::from("wrong");
    let topology = Topology::start(Arc::new(wrong), Arc::new(Seen::default()));
    sleep(Duration::from_secs(2)).await;
    assert!(topology.facts().is_none());
    topology.close().await;

    for _ in 0..3 {
        let right = Arc::new(settings(&[port]));
        let topology = Topology::start(right, Arc::new(Seen::default()));
        topology.wait_for_facts(PATIENCE).await.expect("not blocked");
        topology.close().await;
    }

    let mut first_bytes = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let mut packet = [0; 5];
        stream.read_exact(&mut packet).await.expect("a packet");
        first_bytes.push(packet[4]);
        drop(stream);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(first_bytes, [10, 10, 0xff, 0xff], "greetings without a login do block it");
}
