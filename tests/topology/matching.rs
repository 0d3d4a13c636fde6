//! Which account a client gets: the same question to a server and to [`Accounts::find`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fairlane::topology::Topology;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket};

use crate::servers::{Pair, Server};
use crate::{Seen, settings};

const PATTERNS: &[&str] = &[
    "%",
    "localhost",
    "local%",
    "l%t",
    "127.0.0.1",
    "127.0.0.5",
    "127.0.0._",
    "127._.0.5",
    "127.0._.%",
    "127.0.0.%",
    "127.%",
    "127.%.5",
    "%.5",
    "1__.%",
    "_________",
    "%.%.%.%",
    "127.0.0.0/255.255.255.0",
    "127.0.0.0/255.0.0.0",
    "127.0.0.0/255.255.255.252",
    "127.0.0.0/8",
    "::1",
    "web1.example.net",
];

const ROUNDS: usize = 10;
const USERS: usize = 40;

/// Relays connections to the server so that they come from `source`.
pub(crate) async fn relay_from(source: Ipv4Addr, server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(SocketAddr::from((source, 0))).expect("bound");
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
            let mut server = socket.connect(server).await.expect("connected");
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    port
}

/// The account the server uses, or `None` when it lets nobody in.
async fn server_says(port: u16, user: &str) -> Option<String> {
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(user))
        .prefer_socket(false);
    let mut conn = match Conn::new(opts).await {
        Ok(conn) => conn,
        Err(mysql_async::Error::Server(error)) if [1045, 1130, 1698].contains(&error.code) => {
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let account = conn.query_first("SELECT CURRENT_USER()").await.expect("a query");
    conn.disconnect().await.expect("closed");
    account
}

async fn compare(server: &Server, topology: &Arc<Topology>, random: &mut fastrand::Rng) {
    let sources = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 5)];
    let mut ports = Vec::new();
    for source in sources {
        ports.push(relay_from(source, server.port).await);
    }
    let mut root = server.root().await;
    for round in 0..ROUNDS {
        let mut accounts = Vec::new();
        for user in 0..=USERS {
            // The last one is the anonymous account, which competes with all others.
            let (user, most) =
                if user < USERS { (format!("m{user}"), 5) } else { (String::new(), 3) };
            for _ in 0..random.usize(usize::from(!user.is_empty())..=most) {
                let account = format!("'{user}'@'{}'", PATTERNS[random.usize(..PATTERNS.len())]);
                if !accounts.contains(&account) {
                    root.query_drop(format!("CREATE USER {account}")).await.expect("created");
                    accounts.push(account);
                }
            }
        }
        if round % 2 == 1 {
            // As the server orders them when it starts.
            root.query_drop("FLUSH PRIVILEGES").await.expect("flushed");
        }
        topology.refresh().await;
        let known = topology.accounts();
        for (source, port) in sources.iter().zip(&ports) {
            for user in (0..USERS).map(|user| format!("m{user}")) {
                let expected = server_says(*port, &user).await;
                let found = known
                    .find(&user, (*source).into())
                    .map(|account| format!("{}@{}", account.user, account.host_pattern.as_str()));
                // Fairlane's one addition: the other loopback names, when nothing else fits.
                let is_local = source.octets() == [127, 0, 0, 1];
                let found = found.filter(|_| expected.is_some() || !is_local);
                assert_eq!(found, expected, "{round}: {user} from {source}, {accounts:?}");
            }
        }
        root.query_drop(format!("DROP USER {}", accounts.join(", "))).await.expect("dropped");
    }
}

async fn compare_with(options: &[&str]) {
    let (server, _directory) = Pair::primary_only(options).await;
    let topology = Topology::start(Arc::new(settings(&[server.port])), Arc::new(Seen::default()));
    topology.wait_for_facts(Duration::from_secs(10)).await.expect("facts");
    compare(&server, &topology, &mut fastrand::Rng::with_seed(7)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_match_as_the_server_matches_them() {
    compare_with(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_match_without_names_as_well() {
    compare_with(&["--skip-name-resolve"]).await;
}
