//! Real clients through Fairlane: the scripts in this folder, each against a real primary and
//! replica. A client that is not installed is a failure, not a skip.

#![allow(unreachable_pub, reason = "the support modules are a small library of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::needless_collect,
    reason = "these are tests"
)]

#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests")]
mod support;

use std::process::Command;

use mysql_async::prelude::Queryable;
use support::product::product;
use support::{Proxy, servers};

/// Runs a client's checks with the address of Fairlane in their environment.
fn run(client: &str) {
    run_before(&Proxy::start(servers()), client);
}

/// For checks in which one session looks for what another wrote, which a replica may not have
/// yet; the others read from the replica.
fn strong() -> Proxy {
    Proxy::with(servers(), 15, "[routing]\nconsistency = \"strong\"")
}

fn run_before(proxy: &Proxy, client: &str) {
    run_as("app", proxy, client);
}

fn run_as(user: &str, proxy: &Proxy, client: &str) {
    let family = if product().is_mysql() { "mysql" } else { "mariadb" };
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/run.sh"))
        .arg(client)
        .env("FAIRLANE_TEST_HOST", "127.0.0.1")
        .env("FAIRLANE_TEST_PORT", proxy.port.to_string())
        .env("FAIRLANE_TEST_SERVER_PORT", servers().primary.to_string())
        .env("FAIRLANE_TEST_FAMILY", family)
        .env("FAIRLANE_TEST_USER", user)
        .env("FAIRLANE_TEST_PASSWORD", format!("{user}-secret"))
        .env("FAIRLANE_TEST_DATABASE", "shop")
        .output()
        .unwrap_or_else(|error| panic!("run.sh can't be run: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success(),
        "{client} (scripts/install.sh test?)\n{text}\n{}",
        proxy.log()
    );
    assert!(text.contains("ok "), "nothing was checked:\n{text}");
    println!("{text}");
}

#[test]
fn mariadb_command_line_and_dump() {
    run_before(&strong(), "mariadb");
}

#[test]
fn dumps_and_restores() {
    run_as("root", &strong(), "dumps");
}

#[test]
fn php_pdo() {
    run("pdo");
}

#[test]
fn php_mysqli() {
    run("mysqli");
}

#[test]
fn php_eloquent() {
    run("eloquent");
}

#[test]
fn python_pymysql() {
    run_before(&strong(), "pymysql");
}

#[test]
fn node_mysql2() {
    run_before(&strong(), "mysql2");
}

#[test]
fn node_mariadb() {
    run_before(&strong(), "mariadb-node");
}

#[test]
fn sysbench() {
    let before = servers().replica_saw().len();
    run("sysbench");
    let seen = servers().replica_saw();
    assert!(seen[before..].contains("FROM sbtest"), "reads are on the replica");
    assert!(
        !seen[before..].lines().any(|line| {
            let is_statement =
                ["Query\t", "Execute\t", "Prepare\t"].iter().any(|kind| line.contains(kind));
            is_statement
                && ["UPDATE sbtest", "INSERT INTO sbtest", "DELETE FROM sbtest"]
                    .iter()
                    .any(|write| line.contains(write))
        }),
        "no write is"
    );
}

/// A thousand clients of each kind over sixteen connections a server, which next to nothing but
/// statements and transactions keeps.
#[test]
fn a_thousand_clients_share_sixteen_connections() {
    for kind in ["laravel", "django", "sysbench-text", "sysbench-prepared"] {
        // A thousand threads without a pause make a queue that is longer than people wait.
        let lane = "[[lane]]\nname = \"interactive\"\nqueue_timeout = \"120s\"";
        let proxy = Proxy::with(servers(), 17, lane);
        run_before(&proxy, kind);
        let bound =
            |by| proxy.metric(&format!("fairlane_sessions_bound_seconds_total{{by=\"{by}\"}}"));
        let (pins, transactions) = (bound("pin"), bound("transaction"));
        let held = proxy.sum("fairlane_lane_service_seconds_sum");
        let sessions = proxy.metric("fairlane_sessions_total");
        println!(
            "{kind}: {sessions} sessions held connections for {held:.2} s, of these \
             {transactions:.2} s in transactions, {pins:.4} s by pins outside of them"
        );
        assert!(sessions >= 1000.0, "{kind}: {sessions} sessions");
        assert!(transactions > 0.0 && pins <= 0.01 * held, "{kind}: {pins} s of {held} s");
        let open = proxy.sum("fairlane_backend_connections_open{");
        assert!(open > 0.0 && open <= 32.0, "{kind}: {open} connections");
    }
}

#[test]
fn rust_mysql_async() {
    let proxy = Proxy::start(servers());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // One connection: another would be another session, for which the replica may be behind.
        let url = format!(
            "mysql://app:app-secret@127.0.0.1:{}/shop?prefer_socket=false&pool_min=1&pool_max=1",
            proxy.port
        );
        let pool = mysql_async::Pool::new(url.as_str());
        let mut conn = pool.get_conn().await.unwrap();
        conn.query_drop("CREATE TABLE rust_a (id BIGINT PRIMARY KEY, note TEXT)").await.unwrap();
        for id in 0..50_u64 {
            conn.exec_drop("INSERT INTO rust_a VALUES (?, ?)", (id, format!("note {id}")))
                .await
                .unwrap();
            let note: Option<String> =
                conn.exec_first("SELECT note FROM rust_a WHERE id = ?", (id,)).await.unwrap();
            assert_eq!(note, Some(format!("note {id}")));
        }
        let mut transaction = conn.start_transaction(mysql_async::TxOpts::default()).await.unwrap();
        transaction.query_drop("DELETE FROM rust_a").await.unwrap();
        transaction.rollback().await.unwrap();
        let count: Option<u64> = conn.query_first("SELECT COUNT(*) FROM rust_a").await.unwrap();
        assert_eq!(count, Some(50));
        // Given back to the pool with COM_RESET_CONNECTION.
        drop(conn);
        let mut conn = pool.get_conn().await.unwrap();
        let rows: Vec<(u64, String)> =
            conn.query("SELECT id, note FROM rust_a ORDER BY id").await.unwrap();
        assert_eq!(rows.len(), 50);
        drop(conn);
        pool.disconnect().await.unwrap();
    });
}
