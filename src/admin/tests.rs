//! The routes over real sockets, the bounds of a snapshot, and a page that can be looked at.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::answer::{NONCE, PAGE};
use super::snapshot::*;
use super::*;
use crate::metrics::{Labels, Metrics};

#[expect(clippy::cast_possible_truncation, reason = "made-up numbers are small")]
mod made_up;

struct Admin {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    snapshots: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

fn metrics() -> Arc<Metrics> {
    let (backends, lanes) = (["primary".to_owned()], ["interactive".to_owned()]);
    let labels = Labels {
        version: "0.1.0",
        backends: &backends,
        lanes: &lanes,
        pin_reasons: &["user_lock"],
        route_reasons: &["plain_read"],
        commands: &["query"],
    };
    Arc::new(Metrics::new(&labels).expect("labels are valid"))
}

async fn start() -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let ready = Arc::new(AtomicBool::new(false));
    let snapshots = Arc::new(AtomicUsize::new(0));
    let (is_ready, taken) = (Arc::clone(&ready), Arc::clone(&snapshots));
    let sources = Sources {
        metrics: Box::new(|| metrics().encode()),
        ready: Box::new(move || match is_ready.load(Ordering::Relaxed) {
            true => Readiness { ready: true, detail: "the primary answers".to_owned() },
            false => Readiness { ready: false, detail: "the primary is down".to_owned() },
        }),
        snapshot: Box::new(move || {
            taken.fetch_add(1, Ordering::Relaxed);
            made_up::snapshot(3.0)
        }),
    };
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, Arc::new(sources), stopped));
    Admin { address, ready, snapshots, stop, served }
}

/// Sends one request and returns the whole answer, up to the end of the connection.
async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    ask_as(address, method, path, "localhost:9306").await
}

async fn ask_as(address: SocketAddr, method: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answers in UTF-8");
    answer
}

#[tokio::test]
async fn each_route_answers() {
    let admin = start().await;
    let metrics = ask(admin.address, "GET", "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nfairlane_build_info{version=\"0.1.0\"} 1\n"), "{metrics}");

    let health = ask(admin.address, "GET", "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nok\n"), "{health}");

    let state = ask(admin.address, "GET", "/state?pretty=no").await;
    let json = state.split_once("\r\n\r\n").expect("a body").1;
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(json["backends"][0]["role"], "primary");
    assert_eq!(json["sessions"]["list"][0]["state"], "waiting");

    let page = ask(admin.address, "GET", "/").await;
    assert!(page.contains("<title>Fairlane</title>") && !page.contains(NONCE), "{page}");
}

#[tokio::test]
async fn readiness_follows_its_source() {
    let admin = start().await;
    let answer = ask(admin.address, "GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("the primary is down\n"), "{answer}");
    admin.ready.store(true, Ordering::Relaxed);
    let answer = ask(admin.address, "GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let admin = start().await;
    assert!(ask(admin.address, "GET", "/etc/passwd").await.starts_with("HTTP/1.1 404"));
    let answer = ask(admin.address, "POST", "/state").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"), "{answer}");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let admin = start().await;
    let answer = ask(admin.address, "HEAD", "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-length: 3\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_crowd_costs_one_snapshot() {
    let admin = start().await;
    // Several may take a little longer than the age on a loaded machine, but not 20 times so.
    for _ in 0..20 {
        ask(admin.address, "GET", "/state").await;
    }
    assert!(admin.snapshots.load(Ordering::Relaxed) < 10);
}

#[tokio::test]
async fn a_page_of_strangers_that_leads_here_by_its_own_name_sees_nothing() {
    let admin = start().await;
    for host in ["evil.example", "evil.example:9306", "127.0.0.1.evil.example", "localhost.evil"] {
        for path in ["/", "/state", "/metrics"] {
            let answer = ask_as(admin.address, "GET", path, host).await;
            assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        }
    }
    for host in ["127.0.0.1:9306", "[::1]:9306", "LOCALHOST", "fairlane.localhost"] {
        let answer = ask_as(admin.address, "GET", "/metrics", host).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    let ready = ask_as(admin.address, "GET", "/readyz", "evil.example").await;
    assert!(!ready.starts_with("HTTP/1.1 421"), "{ready}");
}

#[tokio::test]
async fn silent_connections_are_bounded_and_end_with_the_server() {
    let admin = start().await;
    let mut silent = Vec::new();
    for _ in 0..=CONNECTIONS_MAX {
        silent.push(TcpStream::connect(admin.address).await.expect("the listen queue takes it"));
    }
    let answer = ask(admin.address, "GET", "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut ended = Vec::new();
    for stream in &mut silent {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut byte));
        ended.push(read.await.is_ok());
    }
    let expected = (0..=CONNECTIONS_MAX).map(|index| index < 2);
    assert!(ended.iter().copied().eq(expected), "the oldest two make room: {ended:?}");

    admin.stop.send(()).expect("it still serves");
    tokio::time::timeout(2 * END_GRACE, admin.served).await.expect("in time").expect("no panic");
    for mut stream in silent {
        let ended: io::Result<usize> = stream.read(&mut [0; 1]).await;
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
}

#[test]
fn a_snapshot_counts_all_sessions_and_lists_the_telling_ones() {
    let session = |id: u64, state| {
        let mut session = made_up::session(id, "app", state, id as f64);
        session.lane = "batch".to_owned();
        session
    };
    let idle = (0..5000).map(|id| session(id, State::Idle));
    let sessions = Sessions::pick(idle.chain((5000..5010).map(|id| session(id, State::Waiting))));
    assert_eq!((sessions.total, sessions.states.idle, sessions.states.waiting), (5010, 5000, 10));
    assert_eq!(sessions.list.len(), SESSIONS_MAX);
    assert_eq!(sessions.list[0].id, 5009, "the longest waiter is first");
    assert_eq!(sessions.list[10].id, 4999, "and after the waiters the longest idle");
}

#[test]
fn long_statements_are_cut_between_characters() {
    assert_eq!(shorten("SELECT ?"), "SELECT ?");
    let cut = shorten(&"ü".repeat(STATEMENT_CHARS_MAX + 1));
    assert_eq!(cut.chars().count(), STATEMENT_CHARS_MAX + 1);
    assert!(cut.ends_with('…'));
}

/// Texts of clients must stay texts, and nothing may be fetched from elsewhere.
#[test]
fn the_page_writes_no_markup_and_loads_nothing() {
    for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!PAGE.contains(banned), "{banned}");
    }
    for banned in [" src=", "@import", "url(", "https://"] {
        assert!(!PAGE.contains(banned), "{banned}");
    }
    let namespaces = PAGE.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(PAGE.matches("http://").count(), namespaces);
}

/// `cargo test --lib admin::tests::live_page -- --ignored --nocapture`, then open the address.
#[tokio::test]
#[ignore = "serves a made-up Fairlane until it is interrupted, to look at the page"]
async fn live_page() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    println!("http://{}/", listener.local_addr().expect("bound"));
    let started = Instant::now();
    let sources = Sources {
        metrics: Box::new(|| metrics().encode()),
        ready: Box::new(|| Readiness { ready: true, detail: "made up".to_owned() }),
        snapshot: Box::new(move || made_up::snapshot(300.0 + started.elapsed().as_secs_f64())),
    };
    serve(listener, Arc::new(sources), std::future::pending::<()>()).await;
}
