//! `topology` against real servers.

mod limits;
mod matching;
mod mysql;
mod servers;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fairlane::config::Settings;
use fairlane::config::settings::{
    Address, Backend, BackendCompression, BackendTls, BackendTlsMode, Consistency, Lane, LockGuard,
    LockPolicy, Log, Pool, ProxyProtocol, Repeat, Routing, Scope, Service, Share, Tls, TlsMode,
};
use fairlane::route::freshness::Position;
use fairlane::route::view::{BackendId, Rotation};
use fairlane::topology::{Observer, Plugin, RequiredTls, Topology};
use mysql_async::prelude::Queryable as _;
use parking_lot::Mutex;
use secrecy::SecretString;
use servers::{Pair, Server};
use sha1::{Digest as _, Sha1};
use tokio::time::{Instant, sleep};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const REPLICA: BackendId = BackendId::new(1);
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
const RECOVERY_PROBES: u32 = 3;
const MAX_LAG: Duration = Duration::from_secs(3);
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn settings(ports: &[u16]) -> Settings {
    let backend = |(index, port): (usize, &u16)| Backend {
        name: format!("backend{index}"),
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port: *port },
        tls: BackendTls { mode: BackendTlsMode::Disabled, ca: None, own: None },
        compression: BackendCompression::Off,
        proxy_protocol: ProxyProtocol::Off,
        max_connections: 10,
    };
    let lane = Lane {
        name: "all".to_owned(),
        reserved: Share::Slots(0),
        max: Share::Percent(100),
        queue: 10,
        queue_timeout: Duration::from_secs(1),
        overload_timeout: None,
    };
    Settings {
        listen: Vec::new(),
        proxy_networks: Vec::new(),
        workers: None,
        max_clients: 10,
        login_timeout: Duration::from_secs(5),
        login_failures: 0,
        login_delay: Duration::ZERO,
        rsa_private_key: None,
        tls: Tls { mode: TlsMode::Disabled, files: None, client_ca: None },
        admin: None,
        service: Service {
            user: "fairlane".to_owned(),
            password: SecretString::from("fairlane-secret"),
        },
        backends: ports.iter().enumerate().map(backend).collect(),
        pool: Pool {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            max_age: Duration::from_secs(600),
            open_rate: 100,
            abandoned: fairlane::config::settings::Abandoned::KillReads,
            prepared_answer_age: Duration::ZERO,
            assignment_age: Duration::ZERO,
            tells_attributes: false,
        },
        lanes: vec![lane],
        rules: Vec::new(),
        default_lane: 0,
        batch_lane: None,
        latency_target: fairlane::config::settings::LatencyTarget::Off,
        deadlock_retries: 0,
        deadlock_repeat: Repeat::Undone,
        lock_guard: LockGuard {
            policy: LockPolicy::Off,
            wait: None,
            abort_after: Duration::from_secs(1),
        },
        users: Vec::new(),
        routing: Routing {
            replica_reads: true,
            consistency: Consistency::Session,
            scope: Scope::Session,
            max_lag: MAX_LAG,
            freshness_wait: Duration::ZERO,
            probe_interval: INTERVAL,
            recovery_probes: RECOVERY_PROBES,
            accounts_refresh: Duration::from_secs(3600),
        },
        log: Log { filter: "info".to_owned(), json: false },
    }
}

/// Keeps the order of a replica's rotations.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<Rotation>>);

impl Seen {
    fn since_last_asked(&self) -> Vec<Rotation> {
        let mut seen = std::mem::take(&mut *self.0.lock());
        seen.dedup();
        seen
    }
}

impl Observer for Seen {
    fn backend_up(&self, _: BackendId, _: bool) {}

    fn replica(&self, _: BackendId, rotation: Rotation, _: Option<Duration>, _: &Position) {
        self.0.lock().push(rotation);
    }
}

pub(crate) fn start(servers: &[&Server]) -> (Arc<Topology>, Arc<Seen>) {
    let ports: Vec<_> = servers.iter().map(|server| server.port).collect();
    start_at(&ports)
}

fn start_at(ports: &[u16]) -> (Arc<Topology>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let observer: Arc<Seen> = Arc::clone(&seen);
    (Topology::start(Arc::new(settings(ports)), observer), seen)
}

pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn rotation(topology: &Topology) -> Rotation {
    topology.view().replicas[0].rotation
}

async fn until_rotation(topology: &Topology, wanted: Rotation) {
    let deadline = Instant::now() + PATIENCE;
    while rotation(topology) != wanted {
        let now = topology.view();
        assert!(Instant::now() < deadline, "waited too long for {wanted:?}: {now:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn native_hash(password: &str) -> [u8; 20] {
    Sha1::digest(Sha1::digest(password)).into()
}

/// Connections over TCP as the service account, now.
async fn service_connections(server: &Server) -> u64 {
    server
        .first("SELECT COUNT(*) FROM information_schema.processlist WHERE USER = 'fairlane'")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_and_accounts_are_the_primarys() {
    let options = ["--sql-mode=ANSI_QUOTES", "--wait-timeout=77", "--max-allowed-packet=2M"];
    let (mut primary, _directory) = Pair::primary_only(&options).await;
    primary.run(&["CREATE USER app@'%' IDENTIFIED BY 'app-secret'"]).await;
    let (topology, _) = start(&[&primary]);

    let facts = topology.wait_for_facts(PATIENCE).await.expect("facts");
    let version: String = primary.first("SELECT VERSION()").await;
    assert_eq!(facts.version, format!("5.5.5-{version}"));
    assert_eq!(facts.own_version, facts.version);
    assert!(facts.is_mariadb());
    assert_eq!(facts.sql_mode, "ANSI_QUOTES");
    assert_eq!(facts.wait_timeout, Duration::from_secs(77));
    assert_eq!(facts.max_allowed_packet, 2 << 20);
    assert_eq!(facts.lower_case_table_names, 0);
    assert_eq!(facts.auth_plugin, "mysql_native_password");
    assert_eq!(facts.status & 2, 2, "autocommit");
    assert_eq!(facts.capabilities & 1, 0, "MariaDB clears CLIENT_MYSQL");
    assert_ne!(facts.capabilities >> 32, 0, "extended capabilities");
    assert_eq!(facts.seen_as, "localhost");
    assert_eq!(facts.variable("tx_isolation"), Some("REPEATABLE-READ"));
    let collation: u64 = primary
        .first(
            "SELECT ID FROM information_schema.collations \
             WHERE COLLATION_NAME = @@global.collation_server",
        )
        .await;
    assert_eq!(u64::from(facts.collation), collation);

    let accounts = topology.accounts();
    let account = accounts.find("app", LOCAL).expect("an account");
    let Plugin::NativePassword { hash: Some(hash) } = &account.plugin else {
        panic!("{account:?}");
    };
    assert_eq!(*hash.as_bytes(), native_hash("app-secret"));
    assert!(accounts.find("late", LOCAL).is_none());

    primary
        .run(&[
            "CREATE USER late@'%' IDENTIFIED BY 'late-secret' ACCOUNT LOCK",
            "CREATE USER two_ways@'%' IDENTIFIED VIA unix_socket OR mysql_native_password \
             USING PASSWORD('both-secret') REQUIRE SSL",
            "CREATE ROLE late_role",
            "SET GLOBAL sql_mode = ''",
        ])
        .await;
    topology.refresh().await;
    let accounts = topology.accounts();
    assert!(accounts.find("late", LOCAL).expect("an account").is_locked);
    assert!(accounts.find("late_role", LOCAL).is_none());
    let both = accounts.find("two_ways", LOCAL).expect("an account");
    assert!(both.required_tls == RequiredTls::Any && !both.is_locked);
    assert_eq!(both.alternatives, [Plugin::Other("unix_socket".to_owned())]);
    let Plugin::NativePassword { hash: Some(hash) } = &both.plugin else { panic!("{both:?}") };
    assert_eq!(*hash.as_bytes(), native_hash("both-secret"));
    until("the new sql_mode", || topology.facts().is_some_and(|facts| facts.sql_mode.is_empty()))
        .await;

    // A server that comes back different is asked for its greeting again.
    primary.crash().await;
    until("down", || !topology.view().primary_up).await;
    assert!(topology.facts().is_some(), "kept while it is down");
    // Runs are told apart by the second they began in.
    sleep(Duration::from_secs(1)).await;
    let options = ["--character-set-server=utf8mb4", "--version=8.0.35-ours"];
    primary.restart_with(&options).await;
    until("the new collation", || topology.facts().is_some_and(|facts| facts.collation == 45))
        .await;
    let facts = topology.facts().expect("facts");
    assert!(facts.is_mariadb() && facts.version.ends_with("8.0.35-ours"), "{facts:?}");
    let own = version.split("-MariaDB").next().expect("a version");
    assert_eq!(facts.own_version, format!("{own}-MariaDB"), "whatever it is told to say");
    assert!(topology.view().primary_up);

    topology.close().await;
    assert_eq!(service_connections(&primary).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_refreshes_shares_reloads() {
    let (primary, _directory) = Pair::primary_only(&[]).await;
    let (topology, _) = start(&[&primary]);
    topology.wait_for_facts(PATIENCE).await.expect("facts");
    let began = Instant::now();
    for _ in 0..3 {
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let topology = Arc::clone(&topology);
                tokio::spawn(async move { topology.refresh().await })
            })
            .collect();
        for caller in callers {
            caller.await.expect("refreshed");
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    primary.run(&["REVOKE SELECT ON mysql.* FROM fairlane@localhost"]).await;
    let before = topology.accounts().len();
    topology.refresh().await;
    assert_eq!(topology.accounts().len(), before, "a failing reload keeps the old ones");
    assert!(topology.view().primary_up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_end_statements_and_connections() {
    let (primary, _directory) = Pair::primary_only(&[]).await;
    let (topology, _) = start(&[&primary]);
    topology.wait_for_facts(PATIENCE).await.expect("facts");

    let mut victim = primary.root().await;
    let id = u64::from(victim.id());
    let asleep = tokio::spawn(async move {
        let slept: Option<u8> = victim.query_first("SELECT SLEEP(30)").await.unwrap_or(Some(2));
        (victim, slept)
    });
    sleep(Duration::from_millis(200)).await;
    assert!(topology.kill(BackendId::PRIMARY, id, true, 0).await);
    let (mut victim, slept) = asleep.await.expect("woken");
    assert_ne!(slept, Some(0), "interrupted");
    victim.ping().await.expect("the connection lives on after KILL QUERY");

    assert!(topology.kill(BackendId::PRIMARY, id, false, 0).await);
    sleep(Duration::from_millis(100)).await;
    victim.ping().await.expect_err("the connection is dead after KILL");
    assert!(
        topology.kill(BackendId::PRIMARY, id, false, 0).await,
        "one that is gone is as good as killed"
    );
    assert!(!topology.kill(BackendId::new(7), id, false, 0).await, "no such backend");
    topology.close().await;
    assert!(
        !topology.kill(BackendId::PRIMARY, id, false, 0).await,
        "no control connection any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_privilege_granted_late_counts() {
    let pair = Pair::start(&[]).await;
    let revoke = "REVOKE ALL PRIVILEGES, GRANT OPTION FROM fairlane@localhost, fairlane@127.0.0.1";
    pair.primary.run(&[revoke]).await;
    let revoked: String = pair.primary.first("SELECT @@gtid_binlog_pos").await;
    let wait = format!("SELECT MASTER_GTID_WAIT('{revoked}', 10)");
    assert_eq!(pair.replica.first::<i64>(&wait).await, 0);
    let (topology, _) = start(&[&pair.primary, &pair.replica]);
    topology.wait_for_facts(PATIENCE).await.expect("facts");
    sleep(INTERVAL * 5).await;
    assert_eq!(rotation(&topology), Rotation::Down);
    assert!(topology.why(REPLICA).contains("Access denied"), "{}", topology.why(REPLICA));
    assert!(topology.accounts().is_empty() && !topology.knows_accounts());
    let mut victim = pair.primary.root().await;
    assert!(
        !topology.kill(BackendId::PRIMARY, u64::from(victim.id()), false, 0).await,
        "not allowed"
    );

    pair.primary.run(&servers::SERVICE_GRANTS).await;
    until_rotation(&topology, Rotation::In).await;
    topology.refresh().await;
    assert!(!topology.accounts().is_empty() && topology.knows_accounts());
    assert_eq!(topology.why(REPLICA), "");
    sleep(INTERVAL * 2).await;
    assert!(topology.kill(BackendId::PRIMARY, u64::from(victim.id()), false, 0).await);
    victim.ping().await.expect_err("killed");
    assert!(topology.view().primary_up);
    assert_eq!(service_connections(&pair.primary).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_leaves_rotation_and_comes_back() {
    let mut pair = Pair::start(&[]).await;
    let (topology, seen) = start(&[&pair.primary, &pair.replica]);
    until_rotation(&topology, Rotation::In).await;
    assert!(topology.view().replicas[0].lag.is_some());

    pair.primary.run(&["SET GLOBAL div_precision_increment = 8"]).await;
    until_rotation(&topology, Rotation::Differs).await;
    pair.replica.run(&["SET GLOBAL div_precision_increment = 8"]).await;
    until_rotation(&topology, Rotation::In).await;
    for server in [&pair.primary, &pair.replica] {
        server.run(&["SET GLOBAL div_precision_increment = DEFAULT"]).await;
    }
    until_rotation(&topology, Rotation::In).await;
    for (odd, even) in [
        ("SET GLOBAL tx_isolation = 'READ-COMMITTED'", "SET GLOBAL tx_isolation = DEFAULT"),
        ("SET GLOBAL time_zone = '+02:00'", "SET GLOBAL time_zone = DEFAULT"),
        ("SET GLOBAL default_regex_flags = 'EXTENDED'", "SET GLOBAL default_regex_flags = ''"),
    ] {
        pair.replica.run(&[odd]).await;
        until_rotation(&topology, Rotation::Differs).await;
        pair.replica.run(&[even]).await;
        until_rotation(&topology, Rotation::In).await;
    }
    let filter = |value: &str| format!("SET GLOBAL replicate_ignore_table = '{value}'");
    for (value, rotation) in
        [("shop.logs", Rotation::Differs), ("mysql.rds_history", Rotation::In), ("", Rotation::In)]
    {
        pair.replica.run(&["STOP SLAVE", &filter(value), "START SLAVE"]).await;
        until_rotation(&topology, rotation).await;
    }
    for (ids, rotation) in [("1", Rotation::Differs), ("", Rotation::In)] {
        let ignore = format!("CHANGE MASTER TO IGNORE_SERVER_IDS = ({ids})");
        pair.replica.run(&["STOP SLAVE", &ignore, "START SLAVE"]).await;
        until_rotation(&topology, rotation).await;
    }

    pair.replica.run(&["STOP SLAVE"]).await;
    until_rotation(&topology, Rotation::Broken).await;
    seen.since_last_asked();
    pair.replica.run(&["START SLAVE"]).await;
    until_rotation(&topology, Rotation::In).await;
    let back = seen.since_last_asked();
    assert!(back.ends_with(&[Rotation::Recovering, Rotation::In]), "{back:?}");

    pair.replica.run(&["STOP SLAVE SQL_THREAD"]).await;
    until_rotation(&topology, Rotation::Broken).await;
    pair.replica.run(&["START SLAVE", "SET GLOBAL read_only = 0"]).await;
    until_rotation(&topology, Rotation::Writable).await;
    pair.replica.run(&["SET GLOBAL read_only = 1"]).await;
    until_rotation(&topology, Rotation::In).await;

    pair.replica.crash().await;
    until_rotation(&topology, Rotation::Down).await;
    assert!(topology.view().replicas[0].applied.is_empty());
    seen.since_last_asked();
    pair.replica.restart().await;
    until_rotation(&topology, Rotation::In).await;
    let back = seen.since_last_asked();
    assert!(back.contains(&Rotation::Recovering), "{back:?}");
    assert_eq!(service_connections(&pair.replica).await, 1);

    pair.replica.run(&["STOP SLAVE", "RESET SLAVE ALL"]).await;
    until_rotation(&topology, Rotation::NotAReplica).await;
    topology.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_its_primary_stays_until_it_may_lag_too_much() {
    let mut pair = Pair::start(&[]).await;
    let (topology, seen) = start(&[&pair.primary, &pair.replica]);
    until_rotation(&topology, Rotation::In).await;
    until("up", || topology.view().primary_up).await;
    seen.since_last_asked();
    pair.primary.crash().await;
    let crashed = Instant::now();
    until("down", || !topology.view().primary_up).await;
    until_rotation(&topology, Rotation::Broken).await;
    assert!(crashed.elapsed() > MAX_LAG - Duration::from_secs(1), "{:?}", crashed.elapsed());
    assert_eq!(seen.since_last_asked(), [Rotation::In, Rotation::Broken]);
    pair.primary.restart().await;
    until_rotation(&topology, Rotation::In).await;
}

/// Whoever wrote through a Fairlane of before reads through the one that has just begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_answers_once_it_has_what_the_primary_had_in_the_beginning() {
    let pair = Pair::start(&[]).await;
    let made: String = pair.primary.first("SELECT @@gtid_binlog_pos").await;
    let wait = format!("SELECT MASTER_GTID_WAIT('{made}', 10)");
    assert_eq!(pair.replica.first::<i64>(&wait).await, 0);
    let mut blocker = pair.replica.root().await;
    blocker.query_drop("LOCK TABLES shop.items READ").await.expect("locked");
    pair.primary.run(&["INSERT INTO shop.items VALUES (1)"]).await;
    let (topology, seen) = start(&[&pair.primary, &pair.replica]);
    topology.wait_for_facts(PATIENCE).await.expect("facts");
    until_rotation(&topology, Rotation::Lagging).await;
    sleep(INTERVAL * 5).await;
    assert!(!seen.since_last_asked().contains(&Rotation::In));
    blocker.query_drop("UNLOCK TABLES").await.expect("unlocked");
    until_rotation(&topology, Rotation::In).await;
    topology.close().await;

    // What it will never have is not waited for.
    pair.primary.run(&["SET GLOBAL gtid_slave_pos = '7-7-7'"]).await;
    let (topology, seen) = start(&[&pair.primary, &pair.replica]);
    let began = Instant::now();
    until_rotation(&topology, Rotation::In).await;
    assert!(seen.since_last_asked().contains(&Rotation::Lagging));
    assert!(began.elapsed() >= MAX_LAG, "{:?}", began.elapsed());
}

/// MariaDB gives the numbers of what a failover has lost to what comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_what_the_primary_has_lost_takes_no_reads() {
    let pair = Pair::start(&[]).await;
    let (promoted, _directory) = Pair::primary_only(&["--log-bin", "--server-id=9"]).await;
    pair.primary.run(&["INSERT INTO shop.items VALUES (1), (2)"]).await;
    let written: String = pair.primary.first("SELECT @@gtid_binlog_pos").await;
    let last: u64 = written.rsplit('-').next().expect("a number").parse().expect("a number");
    let state = |last: u64| format!("SET GLOBAL gtid_binlog_state = '0-7-{last}'");
    promoted.run(&["RESET MASTER", &state(last)]).await;
    let (topology, _) = start(&[&promoted, &pair.replica]);
    until_rotation(&topology, Rotation::In).await;
    sleep(INTERVAL * 5).await;
    assert_eq!(rotation(&topology), Rotation::In, "it has what the primary has");
    topology.close().await;

    promoted.run(&["RESET MASTER", &state(last - 1)]).await;
    let (topology, seen) = start(&[&promoted, &pair.replica]);
    until_rotation(&topology, Rotation::Differs).await;
    // What is written from now on has numbers that the replica seems to have.
    promoted.run(&["CREATE DATABASE later", "CREATE DATABASE later_still"]).await;
    sleep(INTERVAL * 5).await;
    assert_eq!(rotation(&topology), Rotation::Differs);
    // It is the same with another control connection.
    seen.since_last_asked();
    let control = "SELECT ID FROM information_schema.processlist WHERE USER='fairlane'";
    let control: u64 = pair.replica.first(control).await;
    pair.replica.run(&[&format!("KILL {control}")]).await;
    while !seen.since_last_asked().contains(&Rotation::Down) {
        sleep(INTERVAL / 4).await;
    }
    until_rotation(&topology, Rotation::Differs).await;
    sleep(INTERVAL * 5).await;
    assert!(!seen.since_last_asked().contains(&Rotation::In));

    // It had not applied them yet when it was met: they are there before what it writes itself.
    let (domain_and_server, _) = written.rsplit_once('-').expect("a number");
    let applied = format!("{domain_and_server}-{last},0-7-{}", last + 9);
    promoted.run(&["RESET MASTER", &format!("SET GLOBAL gtid_binlog_state = '{applied}'")]).await;
    until_rotation(&topology, Rotation::In).await;
}

/// It was the primary itself, and has transactions that its successor never got.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_has_what_the_next_one_lacks_takes_no_reads() {
    let pair = Pair::start(&[]).await;
    let (promoted, _directory) = Pair::primary_only(&["--log-bin", "--server-id=9"]).await;
    let written: String = pair.primary.first("SELECT @@gtid_binlog_pos").await;
    let state = |last| format!("SET GLOBAL gtid_binlog_state = '{written},0-2-{last}'");
    pair.replica.run(&["STOP SLAVE", "RESET MASTER", &state(3), "START SLAVE"]).await;
    promoted.run(&["RESET MASTER", &state(2)]).await;
    let (topology, seen) = start(&[&promoted, &pair.replica]);
    until_rotation(&topology, Rotation::Differs).await;
    sleep(INTERVAL * 5).await;
    assert!(!seen.since_last_asked().contains(&Rotation::In));
    promoted.run(&["RESET MASTER", &state(3)]).await;
    until_rotation(&topology, Rotation::In).await;
}

/// A failover tool does so before it moves the address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_follows_another_server_is_compared_again() {
    let pair = Pair::start(&[]).await;
    let (promoted, _directory) = Pair::primary_only(&["--log-bin", "--server-id=9"]).await;
    let (topology, _) = start(&[&pair.primary, &pair.replica]);
    until_rotation(&topology, Rotation::In).await;
    sleep(INTERVAL * 5).await;
    let written: String = pair.primary.first("SELECT @@gtid_binlog_pos").await;
    let last: u64 = written.rsplit('-').next().expect("a number").parse().expect("a number");
    let set = |variable| format!("SET GLOBAL {variable} = '0-9-{}'", last + 50);
    promoted.run(&["RESET MASTER", &set("gtid_binlog_state")]).await;
    let source = format!("CHANGE MASTER TO MASTER_PORT = {}", promoted.port);
    pair.replica.run(&["STOP SLAVE", &set("gtid_slave_pos"), &source, "START SLAVE"]).await;
    until_rotation(&topology, Rotation::Differs).await;
    // The primary's numbers come to that, and it differs all the same.
    for id in 0..60 {
        pair.primary.run(&[&format!("INSERT INTO shop.items VALUES ({id})")]).await;
    }
    sleep(INTERVAL * 5).await;
    assert_eq!(rotation(&topology), Rotation::Differs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leaves_out_marked_transactions_takes_no_reads() {
    let option = "--replicate-events-marked-for-skip=FILTER_ON_SLAVE";
    let pair = Pair::start(&[option]).await;
    let (topology, _) = start(&[&pair.primary, &pair.replica]);
    until_rotation(&topology, Rotation::Differs).await;
    for sql in ["STOP SLAVE", "SET GLOBAL replicate_events_marked_for_skip = REPLICATE"] {
        pair.replica.run(&[sql]).await;
    }
    pair.replica.run(&["START SLAVE"]).await;
    until_rotation(&topology, Rotation::In).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_replica_is_lagging() {
    let pair = Pair::start(&[]).await;
    let (topology, _) = start(&[&pair.primary, &pair.replica]);
    until_rotation(&topology, Rotation::In).await;
    let mut blocker = pair.replica.root().await;
    blocker.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("locked");
    pair.primary.run(&["INSERT INTO shop.items VALUES (1)"]).await;
    until_rotation(&topology, Rotation::Lagging).await;
    // It is found out by the primary's position as well, before the seconds that it tells are more.
    let lag = || topology.view().replicas[0].lag;
    until("it tells its lag", || lag().is_some_and(|lag| lag > MAX_LAG)).await;
    assert_eq!(rotation(&topology), Rotation::Lagging);
    blocker.query_drop("UNLOCK TABLES").await.expect("unlocked");
    until_rotation(&topology, Rotation::In).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_covered_position_is_visible() {
    let parallel = ["--slave-parallel-threads=4", "--slave-parallel-mode=optimistic"];
    let pair = Pair::start(&parallel).await;
    let (topology, _) = start(&[&pair.primary, &pair.replica]);
    until_rotation(&topology, Rotation::In).await;
    let (mut writer, mut reader) = (pair.primary.root().await, pair.replica.root().await);
    let mut longest = Duration::ZERO;
    for id in 1..=300_u32 {
        writer.query_drop(format!("INSERT INTO shop.items VALUES ({id})")).await.expect("written");
        let token: Option<String> =
            writer.query_first("SELECT @@last_gtid").await.expect("a query");
        let token = Position::parse(&token.expect("a GTID")).expect("a GTID");
        let began = Instant::now();
        assert!(topology.wait_applied(REPLICA, &token, Duration::from_secs(2)).await, "{id}");
        longest = longest.max(began.elapsed());
        let found: Option<u32> = reader
            .query_first(format!("SELECT id FROM shop.items WHERE id = {id}"))
            .await
            .expect("a query");
        assert_eq!(found, Some(id), "the watermark covered it");
        assert!(topology.view().replicas[0].applied.covers(&token));
    }
    println!("longest wait for a watermark: {longest:?}");

    let future = Position::parse("0-1-999999").expect("a position");
    let began = Instant::now();
    assert!(!topology.wait_applied(REPLICA, &future, Duration::from_millis(1200)).await);
    assert!(began.elapsed() >= Duration::from_millis(1200));
    assert!(
        !topology.wait_applied(BackendId::new(9), &future, Duration::from_secs(1)).await,
        "no such backend"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_covers_what_was_written_before_it() {
    let (primary, _directory) = Pair::primary_only(&[]).await;
    let (topology, _) = start(&[&primary]);
    topology.wait_for_facts(PATIENCE).await.expect("facts");
    let mut writer = primary.root().await;
    for id in 0..200 {
        writer.query_drop(format!("INSERT INTO shop.items VALUES ({id})")).await.expect("written");
        let begun = topology.readings_begun();
        let last: Option<String> = writer.query_first("SELECT @@last_gtid").await.expect("a query");
        let written = Position::parse(&last.expect("a GTID")).expect("a GTID");
        topology.reading_wanted();
        until("a later reading", || topology.reading().number > begun).await;
        assert!(topology.reading().position.covers(&written), "{id}");
    }
}
