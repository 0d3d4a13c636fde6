//! The sandbox itself: replication, read-only replicas, and servers that come and go.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::Duration;

use fairlane::protocol::Family;
use fairlane::sandbox::{
    APP_PASSWORD, APP_SCHEMA, APP_USER, Options, SERVICE_PASSWORD, SERVICE_USER, Sandbox, Server,
};
use mysql_async::prelude::{FromValue, Queryable as _};

/// MySQL, unpacked by `scripts/install.sh test`.
fn mysql() -> Options {
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/target/unstable/mysql/bin");
    Options { family: Family::MySql, programs: Some(programs.into()), ..Options::default() }
}

async fn value<T: FromValue + Send + 'static>(server: &Server, sql: &str) -> T {
    let mut app = server.connect(APP_USER, APP_PASSWORD, APP_SCHEMA).await.unwrap();
    app.query_first(sql).await.unwrap().unwrap()
}

async fn execute(server: &Server, sql: &str) {
    let mut app = server.connect(APP_USER, APP_PASSWORD, APP_SCHEMA).await.unwrap();
    app.query_drop(sql).await.unwrap();
}

#[tokio::test]
async fn a_write_on_the_primary_is_read_on_a_replica_that_refuses_writes() {
    replicate_and_refuse(Options::default()).await;
}

#[tokio::test]
async fn a_write_on_the_primary_is_read_on_a_replica_that_refuses_writes_of_mysql() {
    replicate_and_refuse(mysql()).await;
}

async fn replicate_and_refuse(options: Options) {
    let options = Options { replica_general_log: true, ..options };
    let sandbox = Sandbox::start(options).await.unwrap();
    let [replica] = sandbox.replicas.as_slice() else { panic!("one replica") };

    let mut app = sandbox.primary.connect(APP_USER, APP_PASSWORD, APP_SCHEMA).await.unwrap();
    app.query_drop("CREATE TABLE item (id INT PRIMARY KEY, name TEXT)").await.unwrap();
    app.query_drop("INSERT INTO item VALUES (1, 'pear')").await.unwrap();
    sandbox.wait_replicated().await.unwrap();
    assert_eq!(value::<String>(replica, "SELECT name FROM item WHERE id = 1").await, "pear");

    let mut app = replica.connect(APP_USER, APP_PASSWORD, APP_SCHEMA).await.unwrap();
    let refused = app.query_drop("INSERT INTO item VALUES (2, 'plum')").await.unwrap_err();
    assert!(refused.to_string().contains("1290"), "{refused}");

    let log = std::fs::read_to_string(replica.general_log_path()).unwrap();
    assert!(log.contains("SELECT name FROM item WHERE id = 1"), "{log}");
    sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_was_killed_catches_up_after_its_start() {
    kill_and_catch_up(Options::default()).await;
}

#[tokio::test]
async fn a_replica_that_was_killed_catches_up_after_its_start_of_mysql() {
    kill_and_catch_up(mysql()).await;
}

async fn kill_and_catch_up(options: Options) {
    let sandbox = Sandbox::start(options).await.unwrap();
    let replica = &sandbox.replicas[0];
    let (port, pid) = (replica.port, replica.pid().unwrap());

    replica.kill().await.unwrap();
    assert!(!replica.is_running());
    assert!(replica.connect(APP_USER, APP_PASSWORD, APP_SCHEMA).await.is_err());
    execute(&sandbox.primary, "CREATE TABLE later SELECT 7 AS n").await;

    replica.start().await.unwrap();
    assert_eq!(replica.port, port);
    assert_ne!(replica.pid(), Some(pid));
    sandbox.wait_replicated().await.unwrap();
    assert_eq!(value::<u8>(replica, "SELECT n FROM later").await, 7);

    replica.pause().await.unwrap();
    let paused = replica.connect(APP_USER, APP_PASSWORD, APP_SCHEMA);
    assert!(tokio::time::timeout(Duration::from_millis(200), paused).await.is_err());
    replica.resume().unwrap();
    assert_eq!(value::<u8>(replica, "SELECT n FROM later").await, 7);
}

#[tokio::test]
async fn the_service_account_may_do_what_fairlane_needs_and_not_write() {
    let allowed = [
        "SELECT Host, User, Priv FROM mysql.global_priv",
        "SELECT Host, User, plugin, authentication_string FROM mysql.user",
        "SHOW MASTER STATUS",
        "SHOW REPLICA STATUS",
        "SELECT * FROM information_schema.innodb_trx",
        "SELECT * FROM information_schema.innodb_lock_waits",
        "SELECT @@gtid_slave_pos, @@gtid_binlog_pos, @@read_only",
        "SELECT MASTER_GTID_WAIT('', 1)",
    ];
    allow_and_refuse(Options::default(), &allowed).await;
}

#[tokio::test]
async fn the_service_account_may_do_what_fairlane_needs_and_not_write_of_mysql() {
    let allowed = [
        "SELECT Host, User, plugin, authentication_string FROM mysql.user",
        "SHOW BINARY LOG STATUS",
        "SHOW REPLICA STATUS",
        "SELECT * FROM information_schema.innodb_trx",
        "SELECT * FROM performance_schema.data_lock_waits",
        "SELECT @@gtid_executed, @@read_only",
        "SELECT WAIT_FOR_EXECUTED_GTID_SET('', 1)",
    ];
    allow_and_refuse(mysql(), &allowed).await;
}

async fn allow_and_refuse(options: Options, allowed: &[&str]) {
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut app = sandbox.primary.connect(APP_USER, APP_PASSWORD, APP_SCHEMA).await.unwrap();
    let id: u64 = app.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();

    for server in [&sandbox.primary, &sandbox.replicas[0]] {
        let mut service = server.connect(SERVICE_USER, SERVICE_PASSWORD, "").await.unwrap();
        for &sql in allowed {
            service.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let refused = service.query_drop("CREATE TABLE shop.no (id INT)").await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("1142") || refused.contains("1290"), "{refused}");
    }

    let mut service = sandbox.primary.connect(SERVICE_USER, SERVICE_PASSWORD, "").await.unwrap();
    service.query_drop(format!("KILL {id}")).await.unwrap();
    assert!(app.query_drop("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_named_directory_can_be_started_again_with_another_replica() {
    start_again(Options::default()).await;
}

#[tokio::test]
async fn a_named_directory_can_be_started_again_with_another_replica_of_mysql() {
    start_again(mysql()).await;
}

async fn start_again(options: Options) {
    let parent = tempfile::tempdir().unwrap();
    let directory = Some(parent.path().join("kept"));
    let options = Options { directory, ..options };

    let sandbox = Sandbox::start(options.clone()).await.unwrap();
    execute(&sandbox.primary, "CREATE TABLE kept SELECT 3 AS n").await;
    sandbox.stop().await.unwrap();

    let sandbox = Sandbox::start(Options { replicas: 2, ..options }).await.unwrap();
    for server in [&sandbox.primary, &sandbox.replicas[0], &sandbox.replicas[1]] {
        assert_eq!(value::<u8>(server, "SELECT n FROM kept").await, 3, "{server}");
    }
}

#[tokio::test]
async fn a_dropped_sandbox_leaves_no_process_and_no_directory() {
    let sandbox = Sandbox::start(Options { replicas: 0, ..Options::default() }).await.unwrap();
    let directory = sandbox.directory().to_owned();
    let process = format!("/proc/{}", sandbox.primary.pid().unwrap());
    assert!(directory.is_dir() && std::path::Path::new(&process).exists());
    drop(sandbox);
    assert!(!directory.exists() && !std::path::Path::new(&process).exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let extra = vec!["no-such-option=1".to_owned()];
    let options = Options { extra, replicas: 0, ..Options::default() };
    let error = Sandbox::start(options).await.unwrap_err().to_string();
    assert!(error.contains("primary") && error.contains("no-such-option"), "{error}");
}
