//! What is different with MySQL.

use std::time::Duration;

use fairlane::protocol::Family;
use fairlane::route::freshness::Position;
use fairlane::route::view::Rotation;
use fairlane::sandbox::{Options, Sandbox};
use mysql_async::prelude::Queryable as _;

use super::{LOCAL, REPLICA, start_at, until, until_rotation};

async fn mysql() -> Sandbox {
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/target/unstable/mysql/bin");
    let family = Family::MySql;
    let options = Options { family, programs: Some(programs.into()), ..Options::default() };
    Sandbox::start(options).await.expect("MySQL, unpacked by scripts/install.sh test")
}

#[tokio::test]
async fn a_covered_position_is_visible_on_mysql() {
    let sandbox = mysql().await;
    let (primary, replica) = (&sandbox.primary, &sandbox.replicas[0]);
    let (topology, _) = start_at(&[primary.port, replica.port]);
    until_rotation(&topology, Rotation::In).await;
    let mut writer = primary.root().await.expect("a login");
    let mut reader = replica.root().await.expect("a login");
    writer.query_drop("CREATE TABLE shop.items (id INT PRIMARY KEY)").await.expect("a table");
    for id in 1..=300_u32 {
        writer.query_drop(format!("INSERT INTO shop.items VALUES ({id})")).await.expect("written");
        let token: Option<String> =
            writer.query_first("SELECT @@global.gtid_executed").await.expect("a query");
        let token = Position::parse(&token.expect("a GTID set")).expect("a GTID set");
        // How long it takes is the machine's; that it is visible then is what is tested.
        assert!(topology.wait_applied(REPLICA, &token, Duration::from_secs(20)).await, "{id}");
        let found: Option<u32> = reader
            .query_first(format!("SELECT id FROM shop.items WHERE id = {id}"))
            .await
            .expect("a query");
        assert_eq!(found, Some(id), "the watermark covered it");
        assert!(topology.view().replicas[0].applied.covers(&token));
    }
    let future = Position::parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:1").expect("a position");
    assert!(!topology.wait_applied(REPLICA, &future, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_reading_covers_what_was_written_before_it_on_mysql() {
    let sandbox = mysql().await;
    let (topology, _) = start_at(&[sandbox.primary.port]);
    topology.wait_for_facts(Duration::from_secs(5)).await.expect("facts");
    let mut writer = sandbox.primary.root().await.expect("a login");
    writer.query_drop("CREATE TABLE shop.items (id INT PRIMARY KEY)").await.expect("a table");
    for id in 0..200 {
        let before: Option<String> =
            writer.query_first("SELECT @@global.gtid_executed").await.expect("a query");
        let before = Position::parse(&before.expect("a GTID set")).expect("a GTID set");
        writer.query_drop(format!("INSERT INTO shop.items VALUES ({id})")).await.expect("written");
        let begun = topology.readings_begun();
        topology.reading_wanted();
        until("a later reading", || topology.reading().number > begun).await;
        let reading = topology.reading();
        assert!(reading.position.covers(&before), "{id}");
        // Nobody else writes.
        assert_eq!(reading.position.sequence_sum(), before.sequence_sum() + 1, "{id}");
    }
}

#[tokio::test]
async fn mysql_is_known_and_its_replica_leaves_rotation_and_comes_back() {
    let sandbox = mysql().await;
    let replica = &sandbox.replicas[0];
    let (topology, _) = start_at(&[sandbox.primary.port, replica.port]);
    let facts = topology.wait_for_facts(Duration::from_secs(5)).await.expect("facts");
    assert!(!facts.is_mariadb() && facts.has_gtids);
    assert_eq!(facts.variable("tx_isolation"), Some("REPEATABLE-READ"));
    assert!(facts.version.starts_with(|first: char| first.is_ascii_digit()));
    until_rotation(&topology, Rotation::In).await;
    let mut root = replica.root().await.expect("a login");
    root.query_drop("SET GLOBAL block_encryption_mode = 'aes-256-cbc'").await.expect("set");
    until_rotation(&topology, Rotation::Differs).await;
    root.query_drop("SET GLOBAL block_encryption_mode = DEFAULT").await.expect("set");
    until_rotation(&topology, Rotation::In).await;
    root.query_drop("STOP REPLICA SQL_THREAD").await.expect("stopped");
    until_rotation(&topology, Rotation::Broken).await;
    root.query_drop("START REPLICA").await.expect("started");
    until_rotation(&topology, Rotation::In).await;
    root.query_drop("SET GLOBAL offline_mode = ON").await.expect("set");
    until_rotation(&topology, Rotation::Down).await;
    root.query_drop("SET GLOBAL offline_mode = OFF").await.expect("set");
    until_rotation(&topology, Rotation::In).await;
    replica.kill().await.expect("killed");
    until_rotation(&topology, Rotation::Down).await;
    replica.start().await.expect("started");
    until_rotation(&topology, Rotation::In).await;
}

/// Takes away the account that the server prefers, until none is left.
#[tokio::test]
async fn accounts_match_as_mysql_matches_them() {
    let sandbox = mysql().await;
    let server = &sandbox.primary;
    let mut root = server.root().await.expect("a login");
    let hosts = ["%", "localhost", "127.0.0.1", "127.0.0.0/255.0.0.0", "127.0.0.0/8", "127.%"];
    for host in hosts.into_iter().chain(["local%", "10.0.0.1", "192.168.0.0/16"]) {
        root.query_drop(format!("CREATE USER many@'{host}' IDENTIFIED BY ''")).await.expect(host);
    }
    let (topology, _) = start_at(&[server.port]);
    topology.wait_for_facts(Duration::from_secs(5)).await.expect("facts");
    for _ in 0..hosts.len() + 1 {
        let mut client = server.connect("many", "", "").await.expect("a login");
        let name: Option<String> = client.query_first("SELECT CURRENT_USER()").await.expect("it");
        let host = name.expect("a name").rsplit('@').next().expect("a host").to_owned();
        topology.refresh().await;
        let accounts = topology.accounts();
        let found = accounts.find("many", LOCAL).expect("an account");
        assert_eq!(found.host_pattern.as_str(), host);
        root.query_drop(format!("DROP USER many@'{host}'")).await.expect("dropped");
    }
}

/// What is read first in a transaction that does not end stays as it was.
#[tokio::test]
async fn accounts_are_those_of_now_with_autocommit_off() {
    let sandbox = mysql().await;
    let mut root = sandbox.primary.root().await.expect("a login");
    root.query_drop("SET GLOBAL autocommit = 0").await.expect("set");
    root.query_drop("CREATE USER gone@'%' IDENTIFIED BY ''").await.expect("created");
    let (topology, _) = start_at(&[sandbox.primary.port]);
    topology.wait_for_facts(Duration::from_secs(5)).await.expect("facts");
    assert!(topology.accounts().find("gone", LOCAL).is_some());
    root.query_drop("DROP USER gone").await.expect("dropped");
    topology.refresh().await;
    assert!(topology.accounts().find("gone", LOCAL).is_none());
}
