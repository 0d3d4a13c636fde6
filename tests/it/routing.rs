//! Reads reach the replica, writes never do, and a session always sees its own writes.

use crate::support::{Proxy, eventually, servers};

#[test]
fn reads_go_to_the_replica_and_writes_never() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE routing_a (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(50))");
    for number in 0..20 {
        client.run(&format!("INSERT INTO routing_a (note) VALUES ('marker_write_{number}')"));
        client.run(&format!(
            "UPDATE routing_a SET note = CONCAT(note, '_marker_update') WHERE id = {number}"
        ));
        client.run(&format!("SELECT note FROM routing_a WHERE id = {number} /* not a marker */"));
    }
    client.run("SELECT 1 FROM routing_a FOR UPDATE");
    client.run("SELECT GET_LOCK('marker_lock', 1)");
    client.run("DELETE FROM routing_a WHERE note = 'marker_delete'");
    drop(client);
    servers.wait_replicated();
    let mut reader = proxy.app();
    proxy.until_replica_answers(&mut reader, "SELECT id FROM routing_a");
    for _ in 0..5 {
        reader.run("SELECT 'marker_read' FROM routing_a");
    }
    let seen = servers.replica_saw();
    let queries: Vec<&str> = seen.lines().filter(|line| line.contains("Query")).collect();
    for marker in
        ["INSERT INTO routing_a", "marker_update", "marker_delete", "marker_lock", "FOR UPDATE"]
    {
        assert!(
            !queries.iter().any(|line| line.contains(marker)),
            "the replica was asked {marker}"
        );
    }
    assert!(queries.iter().any(|line| line.contains("marker_read")), "reads are on the replica");
    assert!(
        proxy.sum("fairlane_statements_routed_total{reason=\"plain_read\",target=\"replica\"}")
            > 0.0
    );
}

#[test]
fn a_session_sees_its_own_writes_whatever_the_replica_does() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE own_writes (id INT PRIMARY KEY, value INT)");
    client.run("INSERT INTO own_writes VALUES (1, 0)");
    for value in 1..200 {
        client.run(&format!("UPDATE own_writes SET value = {value}"));
        assert_eq!(client.text("SELECT value FROM own_writes"), value.to_string());
    }
    // A replica that stands still: its reads are stale, and Fairlane knows.
    servers.replica_root().run("STOP SLAVE SQL_THREAD");
    client.run("UPDATE own_writes SET value = 777");
    assert_eq!(client.text("SELECT value FROM own_writes"), "777");
    servers.replica_root().run("START SLAVE SQL_THREAD");
    servers.wait_replicated();
    eventually("reads come back to the replica", || {
        client.run("SELECT value FROM own_writes");
        proxy.metric("fairlane_backend_in_rotation{backend=\"replica1\"}") == 1.0
    });
}

#[test]
fn a_replica_error_is_asked_again_on_the_primary() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut root = servers.root();
    root.run("SET sql_log_bin = 0");
    root.run("CREATE TABLE shop.only_on_primary (id INT)");
    let mut client = proxy.app();
    assert_eq!(client.run("SELECT id FROM only_on_primary").summary.rows, 0);
    assert!(proxy.metric("fairlane_replica_retries_total") >= 1.0, "{}", proxy.get("/metrics"));
    assert_eq!(client.query("SELECT id FROM nowhere").unwrap_err().code(), 1146);
    root.run("DROP TABLE shop.only_on_primary");
}

#[test]
fn statements_that_ask_about_the_session_are_answered_by_the_primary() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    let primary = servers.root().text("SELECT @@server_id");
    assert_eq!(client.text("SELECT @@server_id"), primary);
    assert_eq!(client.run("SHOW VARIABLES LIKE 'server_id'").summary.rows, 1);
    client.run("USE information_schema");
    assert_ne!(client.text("SELECT COUNT(*) FROM tables"), "0");
}

#[test]
fn hints_choose_the_server() {
    let (_, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("SELECT 1 /* fairlane: route=primary */");
    assert!(
        proxy.sum("fairlane_statements_routed_total{reason=\"route_hint\",target=\"primary\"}")
            >= 1.0
    );
    client.run("CREATE TABLE hinted (a INT)");
    client.run("/* fairlane: route=replica */ INSERT INTO hinted VALUES (1)");
    assert_eq!(client.text("/* fairlane: route=primary */ SELECT COUNT(*) FROM hinted"), "1");
}
