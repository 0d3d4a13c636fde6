//! Reads reach the replica, writes never do, and a session always sees its own writes.

use fairlane::protocol::Command;
use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{Proxy, Raw, eventually, product, servers};

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

/// Replicas lag by different times: rows would come, and go again.
#[test]
fn a_session_goes_on_reading_from_the_replica_that_it_has_read_from() {
    let (servers, _orders) = keep(Options { replicas: 2, ..product().options() });
    let second = format!("[[replica]]\naddress = \"127.0.0.1:{}\"\n", servers.others[0]);
    let proxy = Proxy::with(&servers, 15, &second);
    let mut root = servers.root();
    root.run("CREATE TABLE shop.stays_a (id INT PRIMARY KEY)");
    let read = "SELECT COUNT(*) FROM stays_a";
    let mut session = proxy.app();
    proxy.until_replica_answers(&mut session, read);
    let replicas = ["replica1", "replica2"]
        .map(|name| format!("fairlane_backend_in_rotation{{backend=\"{name}\"}}"));
    eventually("both are in rotation", || replicas.iter().all(|name| proxy.metric(name) == 1.0));
    let mut direct = [servers.replica, servers.others[0]]
        .map(|port| Raw::connect(port, "root", "root-secret", Some("shop")).unwrap());
    let mut sessions: Vec<Raw> = (0..6).map(|_| proxy.app()).collect();
    eventually("both have the table", || direct.iter_mut().all(|it| it.query(read).is_ok()));
    direct[0].run("FLUSH TABLES WITH READ LOCK");
    root.run("INSERT INTO shop.stays_a VALUES (1)");
    eventually("the other one has the row", || direct[1].text(read) == "1");
    for session in &mut sessions {
        let first = session.text(read);
        for _ in 0..20 {
            assert_eq!(session.text(read), first);
        }
    }
    direct[0].run("UNLOCK TABLES");
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

/// A view does not tell that it writes, and `read_only` does not hold for root.
#[test]
fn what_was_taken_for_a_read_writes_on_no_replica() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut root = servers.root();
    root.run("CREATE OR REPLACE VIEW shop.hidden_v AS SELECT 1 AS x");
    root.replace("CREATE OR REPLACE TABLE shop.hidden_a (id INT AUTO_INCREMENT PRIMARY KEY)");
    root.run("DROP FUNCTION IF EXISTS shop.hidden_f");
    root.run(
        "CREATE FUNCTION shop.hidden_f() RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO shop.hidden_a VALUES (NULL); RETURN 7; END",
    );
    root.run("CREATE OR REPLACE VIEW shop.hidden_v AS SELECT shop.hidden_f() AS x");
    servers.wait_replicated();
    let mut client = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let retries = || proxy.metric("fairlane_replica_retries_total");
    let other = Command::ResetConnection;
    for (round, set) in ["DO 1", "SET SESSION TRANSACTION READ WRITE", "reset"].iter().enumerate() {
        match *set {
            "reset" => drop(client.command(other, &[]).unwrap()),
            set => drop(client.run(set)),
        }
        let before = retries();
        eventually("a replica is asked first", || {
            assert_eq!(client.text("SELECT x FROM hidden_v"), "7", "round {round}");
            retries() > before
        });
        servers.wait_replicated();
        let count = "SELECT COUNT(*) FROM shop.hidden_a";
        assert_eq!(servers.replica_root().text(count), root.text(count), "{set}");
    }
    let mut replica = servers.replica_root();
    let status = replica.text(match product().is_mysql() {
        true => "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status",
        false => "SELECT VARIABLE_VALUE FROM information_schema.global_status WHERE VARIABLE_NAME = 'SLAVE_RUNNING'",
    });
    assert_eq!(status, "ON", "it still follows");
}

#[test]
fn who_has_once_set_read_write_reads_on_replicas_as_others_do() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE read_write_a (id INT)");
    client.run("SET SESSION TRANSACTION READ ONLY");
    client.run("SET SESSION TRANSACTION READ WRITE");
    client.run("SET sql_mode = 'ANSI_QUOTES,NO_UNSIGNED_SUBTRACTION'");
    for _ in 0..8 {
        proxy.until_replica_answers(&mut client, "SELECT id FROM read_write_a");
    }
    // Only for the first reads on each connection.
    let seen = servers.replica_saw();
    let sets = seen.lines().filter(|line| line.contains("SET") && line.contains("UNSIGNED_SUB"));
    let sets = sets.count();
    assert!((1..5).contains(&sets), "{sets}");
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

#[test]
fn who_sees_what_is_not_committed_reads_on_the_primary() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut writer = proxy.app();
    writer.run("CREATE TABLE uncommitted_a (a INT)");
    servers.wait_replicated();
    writer.run("BEGIN");
    writer.run("INSERT INTO uncommitted_a VALUES (1), (2), (3)");
    let count = "SELECT COUNT(*) FROM uncommitted_a";
    let name = if product().is_mysql() { "transaction_isolation" } else { "tx_isolation" };
    for level in [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        "SET SESSION TRANSACTION READ ONLY, ISOLATION LEVEL READ UNCOMMITTED",
        &format!("SET {name} = 'read-uncommitted'"),
        &format!("SET @@session.{name} = 0"),
    ] {
        let mut reader = proxy.app();
        proxy.until_replica_answers(&mut reader, count);
        reader.run(level);
        assert_eq!(reader.text(count), "3", "{level}");
        reader.run("START TRANSACTION READ ONLY");
        assert_eq!(reader.text(count), "3", "{level}");
        reader.run("COMMIT");
        reader.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
        assert_eq!(reader.text(count), "0", "{level}");
        proxy.until_replica_answers(&mut reader, count);
    }
    let reason = "reason=\"read_uncommitted\",target=\"primary\"";
    assert!(proxy.sum(&format!("fairlane_statements_routed_total{{{reason}}}")) > 0.0);
}

#[test]
fn rows_as_of_a_transaction_are_those_of_the_primary() {
    if product().is_mysql() {
        return;
    }
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run(
        "CREATE TABLE numbered_a (a INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, \
         e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) \
         WITH SYSTEM VERSIONING ENGINE = InnoDB",
    );
    client.run("INSERT INTO numbered_a (a) VALUES (1)");
    let id = servers.root().text("SELECT s FROM shop.numbered_a");
    servers.wait_replicated();
    proxy.until_replica_answers(&mut client, "SELECT a FROM numbered_a");
    for period in [
        format!("AS OF TRANSACTION {id}"),
        format!("BETWEEN TRANSACTION {id} AND TRANSACTION {id}"),
    ] {
        let rows = format!("SELECT a FROM numbered_a FOR SYSTEM_TIME {period}");
        assert_eq!(client.text(&rows), "1", "{rows}");
    }
}
