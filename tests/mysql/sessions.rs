//! Sessions over shared connections on MySQL.

use fairlane::protocol::{Capabilities, Command, Shape};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, Value};

use crate::support::raw::{Login, Raw};
use crate::support::{ONE_LANE, Proxy, eventually};
use crate::{as_root, client, mysql, with_keys};

async fn connect(port: u16) -> Conn {
    let login = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some("app"))
        .pass(Some("app-secret"))
        .db_name(Some("shop"));
    Conn::new(login).await.unwrap()
}

#[tokio::test]
async fn a_session_sees_its_own_writes_and_reads_on_the_replica() {
    let proxy = Proxy::start(mysql());
    let mut conn = connect(proxy.port).await;
    conn.query_drop("CREATE TABLE own_writes (id INT PRIMARY KEY, n INT)").await.unwrap();
    for id in 0..200 {
        conn.exec_drop("INSERT INTO own_writes VALUES (?, 0)", (id,)).await.unwrap();
        conn.query_drop(format!("UPDATE own_writes SET n = n + 1 WHERE id = {id}")).await.unwrap();
        let found: Option<i32> =
            conn.exec_first("SELECT n FROM own_writes WHERE id = ?", (id,)).await.unwrap();
        assert_eq!(found, Some(1), "{id}");
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let before = answered_by_replica(&proxy);
    for id in 0..20 {
        let found: Option<i32> =
            conn.query_first(format!("SELECT n FROM own_writes WHERE id = {id}")).await.unwrap();
        assert_eq!(found, Some(1));
    }
    let after = answered_by_replica(&proxy);
    assert!(after - before >= 20.0, "{before} {after}");
}

fn answered_by_replica(proxy: &Proxy) -> f64 {
    let metrics = proxy.get("/metrics");
    let lines = metrics.lines().filter(|line| line.starts_with("fairlane_statements_routed_total"));
    let replica = lines.filter(|line| line.contains("target=\"replica\""));
    replica.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn state_follows_its_session_over_two_connections() {
    state_follows(&Proxy::with(mysql(), 3, "[routing]\nreplica_reads = false")).await;
}

#[tokio::test]
async fn connections_with_tls_are_shared_by_workers() {
    let servers = with_keys("tls = \"required\"");
    state_follows(&Proxy::with(&servers, 3, "workers = 3\n[routing]\nreplica_reads = false")).await;
}

async fn state_follows(proxy: &Proxy) {
    let mut sessions = Vec::new();
    for index in 0..6_u32 {
        let mut conn = connect(proxy.port).await;
        conn.query_drop(format!("SET time_zone = '+0{index}:00', sql_mode = ''")).await.unwrap();
        sessions.push(conn);
    }
    for round in 0..5_u64 {
        for (index, conn) in sessions.iter_mut().enumerate() {
            let zone: Option<String> = conn.query_first("SELECT @@time_zone").await.unwrap();
            assert_eq!(zone.unwrap(), format!("+0{index}:00"), "round {round}");
            conn.query_drop("START TRANSACTION").await.unwrap();
            let one: Option<u64> = conn.query_first("SELECT 1").await.unwrap();
            conn.query_drop("ROLLBACK").await.unwrap();
            assert_eq!(one, Some(1));
        }
    }
}

#[tokio::test]
async fn a_client_that_idles_for_too_long_is_told_so() {
    let proxy = Proxy::start(mysql());
    let mut said = Vec::new();
    for port in [mysql().primary, proxy.port] {
        let mut conn = connect(port).await;
        conn.query_drop("SET wait_timeout = 1").await.unwrap();
        let mut other = connect(port).await;
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        other.query_drop("SELECT 1").await.unwrap();
        said.push(conn.query_drop("SELECT 1").await.unwrap_err().to_string());
    }
    // The driver finds an error packet that answers nothing; without one it would find the end.
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains("out of sync"), "{}", said[0]);
}

#[tokio::test]
async fn checks_that_one_session_has_set_are_on_for_the_next() {
    let proxy = Proxy::with(mysql(), 2, ONE_LANE);
    let (mut one, mut other) = (connect(proxy.port).await, connect(proxy.port).await);
    let checks = "SELECT @@foreign_key_checks + @@unique_checks";
    for statement in ["SET foreign_key_checks = 0, unique_checks = 0", "SET foreign_key_checks = 1"]
    {
        one.query_drop(statement).await.unwrap();
        let seen: Option<i64> = other.query_first(checks).await.unwrap();
        assert_eq!(seen, Some(2), "{statement}");
    }
    let own: Option<i64> = one.query_first(checks).await.unwrap();
    assert_eq!(own, Some(1));
}

/// MySQL gives user variables in a prepared statement the types they have when it is prepared.
#[tokio::test]
async fn prepared_statements_know_their_own_sessions_variables() {
    for slots in [1, 2] {
        let proxy = Proxy::with(mysql(), 1 + slots, ONE_LANE);
        let mut sessions = Vec::new();
        for value in ["5", "'abc'", "1.5", "5 + 0"].into_iter().take(3 + slots / 2) {
            let mut conn = connect(proxy.port).await;
            conn.query_drop(format!("SET @typed = {value}")).await.unwrap();
            sessions.push(conn);
        }
        for _ in 0..3 {
            let mut said = Vec::new();
            for conn in &mut sessions {
                let value: Option<Value> = conn.exec_first("SELECT @typed", ()).await.unwrap();
                said.push(value.unwrap());
            }
            let text = |text: &str| Value::Bytes(text.into());
            let number = "1.5";
            let all = [Value::Int(5), text("abc"), text(number), Value::Int(5)];
            assert_eq!(said, all[..said.len()]);
        }
    }
}

#[tokio::test]
async fn a_write_is_prepared_again_after_a_session_that_only_reads() {
    let proxy = Proxy::with(mysql(), 2, ONE_LANE);
    let mut writer = connect(proxy.port).await;
    writer.query_drop("CREATE TABLE prepared_again (id INT PRIMARY KEY)").await.unwrap();
    let insert = "INSERT INTO prepared_again VALUES (?)";
    writer.exec_drop(insert, (1,)).await.unwrap();
    // What ends with state is reset: the statement is gone from the one connection.
    let mut pinned = connect(proxy.port).await;
    pinned.query_drop("CREATE TEMPORARY TABLE prepared_gone (id INT)").await.unwrap();
    pinned.disconnect().await.unwrap();
    let mut reader = connect(proxy.port).await;
    reader.query_drop("SET SESSION TRANSACTION READ ONLY").await.unwrap();
    writer.exec_drop(insert, (2,)).await.unwrap();
}

/// After SET TRANSACTION a SELECT is the transaction it was for, which MySQL tells a client without
/// CLIENT_DEPRECATE_EOF with the next OK packet only.
#[test]
fn a_select_after_set_transaction_holds_no_client_without_deprecate_eof() {
    let proxy = Proxy::with(mysql(), 2, ONE_LANE);
    let login = Login {
        schema: Some("shop"),
        more: Capabilities::MULTI_STATEMENTS | Capabilities::MULTI_RESULTS,
        ..Login::new(proxy.port, "app", "app-secret")
    };
    let mut one = Raw::login(&login).unwrap();
    let mut two = Raw::login(&login).unwrap();
    one.run("CREATE TABLE old_next (id INT)");
    one.run("SET TRANSACTION READ ONLY");
    one.run("SELECT CAST('x' AS SIGNED), COUNT(*) FROM old_next");
    two.run("SELECT 1");
    assert_eq!(one.query("SHOW WARNINGS").unwrap().summary.rows, 1);
    one.run("SET TRANSACTION READ ONLY");
    one.run("SELECT COUNT(*) FROM old_next");
    assert_eq!(one.text("SELECT ROW_COUNT()"), "-1");
    one.run("INSERT INTO old_next VALUES (1)");
    two.run("SELECT 1");
    one.run("SET TRANSACTION READ ONLY");
    one.run("SELECT /*+ SET_VAR(sql_mode = 'ANSI_QUOTES') */ COUNT(*) FROM old_next");
    two.run("SELECT 1");
    // Nor does it tell that a statement ran in the schema it was prepared in.
    one.command(Command::StmtPrepare, b"SELECT COUNT(*) FROM old_next").unwrap();
    one.run("USE information_schema");
    one.command(Command::StmtExecute, &[1, 0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    one.query("SELEC 1").unwrap_err();
    two.run("SELECT 1");
    one.run("USE shop");
    // It is still for the next one after a statement without a table.
    one.run("SET TRANSACTION READ ONLY");
    one.run("DO 0");
    one.query("INSERT INTO old_next VALUES (1)").unwrap_err();
}

/// A transaction that the statement itself begins lets nobody set them back.
#[tokio::test]
async fn a_connection_keeps_its_trackers_when_showing_them_begins_a_transaction() {
    let own = "CREATE USER tracked@'%' IDENTIFIED BY 'x'; GRANT ALL ON shop.* TO tracked@'%'; \
               CREATE TABLE shop.tracked (id INT PRIMARY KEY)";
    as_root(mysql(), own);
    let proxy = Proxy::with(mysql(), 2, ONE_LANE);
    let login = ["-utracked", "-px", "shop"];
    let shows = "SET autocommit = 0; SELECT @@session_track_schema, id FROM tracked; COMMIT";
    assert_eq!(client(proxy.port, &login, shows).err, "");
    let sql = "SELECT VARIABLE_VALUE FROM performance_schema.variables_by_thread \
               JOIN performance_schema.threads USING (THREAD_ID) \
               WHERE PROCESSLIST_USER = 'tracked' AND VARIABLE_NAME = 'session_track_gtids'";
    let found = client(mysql().primary, &["-uroot", "-proot-secret"], sql).out;
    assert_eq!(found, "OWN_GTID\n", "the position of a later write would not be told");
}

/// RELEASE_ALL_LOCKS() gives back GET_LOCK's only.
#[test]
fn locks_of_the_locking_service_stay_with_their_session() {
    as_root(
        mysql(),
        "CREATE FUNCTION service_get_write_locks RETURNS INT SONAME 'locking_service.so'",
    );
    let proxy = Proxy::with(mysql(), 3, ONE_LANE);
    let login = Login { schema: Some("shop"), ..Login::new(proxy.port, "app", "app-secret") };
    let mut one = Raw::login(&login).unwrap();
    let mut two = Raw::login(&login).unwrap();
    assert_eq!(one.text("SELECT service_get_write_locks('shop', 'stock', 1)"), "1");
    assert_eq!(one.text("SELECT RELEASE_ALL_LOCKS()"), "0");
    // On the connection of the first it would get what the first has.
    two.query("SELECT service_get_write_locks('shop', 'stock', 0)").unwrap_err();
    one.hang_up();
    eventually("the lock is free", || {
        two.query("SELECT service_get_write_locks('shop', 'stock', 0)").is_ok()
    });
}

#[test]
fn a_plan_is_shown_by_the_id_that_clients_have() {
    let proxy = Proxy::with(mysql(), 4, ONE_LANE);
    let login = Login { schema: Some("shop"), ..Login::new(proxy.port, "app", "app-secret") };
    let (mut one, mut two) = (Raw::login(&login).unwrap(), Raw::login(&login).unwrap());
    one.run("CREATE TABLE explained (a INT)");
    one.run("INSERT INTO explained VALUES (1)");
    let id = one.text("SELECT CONNECTION_ID()");
    one.send(Command::Query, b"SELECT a FROM explained WHERE SLEEP(3) = 0");
    let ask = format!("EXPLAIN FORMAT=JSON FOR CONNECTION {id}");
    eventually("a plan", || two.query(&ask).is_ok());
    one.answer(Shape::Results).unwrap();
}
