//! Servers and clients that go away.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use fairlane::protocol::{Command, Shape, packet};
use fairlane::sandbox::Options;

use crate::support::hop::Hop;
use crate::support::servers::{What, keep, order};
use crate::support::{
    ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, pause, product, servers, within,
};

#[test]
fn clients_that_vanish_at_any_moment_leave_the_pool_whole() {
    let proxy = Proxy::with(servers(), 3, "");
    let mut setup = proxy.app();
    setup.run(
        "CREATE TABLE vanish (id INT AUTO_INCREMENT PRIMARY KEY, data LONGTEXT) ENGINE=InnoDB",
    );
    setup.run(&format!("INSERT INTO vanish (data) VALUES ('{}')", "x".repeat(3_000_000)));
    drop(setup);
    servers().wait_replicated();
    for moment in 0..30 {
        let mut client = proxy.app();
        match moment % 6 {
            0 => {}
            1 => client.send(Command::Query, b"SELECT a.data FROM vanish a, vanish b, vanish c"),
            2 => {
                client.run("BEGIN");
                client.run("UPDATE vanish SET data = 'never' WHERE id = 1");
            }
            3 => client.send(Command::Query, b"INSERT INTO vanish (data) SELECT SLEEP(0.05)"),
            4 => client.send(Command::Query, b"SELECT SLEEP(30)"),
            _ => {
                client.stream.write_all(&[50, 0, 0, 0, 3, b'S', b'E']).unwrap();
            }
        }
        pause(5);
        client.hang_up();
    }
    let mut client = proxy.app();
    assert_eq!(client.text("SELECT LENGTH(data) FROM vanish WHERE id = 1 FOR UPDATE"), "3000000");
    eventually("sleeping statements of vanished clients are ended", || {
        servers().root().text("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(30)%'") == "0"
    });
    eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
}

#[test]
fn statements_of_vanished_clients_end_as_configured() {
    let read = "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq < 0";
    let write = "DELETE FROM vanished WHERE id = 1 AND SLEEP(1.5) = 0";
    let running = |like: &str| {
        servers().root().text(&format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{like}%' AND id <> CONNECTION_ID()"
        ))
    };
    for (abandoned, is_read_killed, is_write_killed) in
        [("kill_reads", true, false), ("kill", true, true), ("finish", false, false)]
    {
        let more = format!("[routing]\nreplica_reads = false\n[pool]\nabandoned = \"{abandoned}\"");
        let proxy = Proxy::with(servers(), 4, &more);
        let mut client = proxy.app();
        client.replace("CREATE OR REPLACE TABLE vanished (id INT) ENGINE=InnoDB");
        client.run("INSERT INTO vanished VALUES (1)");
        let vanish = |sql: &str| {
            let mut gone = proxy.app();
            gone.send(Command::Query, sql.as_bytes());
            eventually("it runs", || running(&sql[..30]) == "1");
            gone.hang_up();
        };
        vanish(write);
        eventually("the write has ended", || running(&write[..30]) == "0");
        let left = client.text("SELECT COUNT(*) FROM vanished");
        assert_eq!(left, if is_write_killed { "1" } else { "0" }, "{abandoned}");
        vanish(read);
        if is_read_killed {
            eventually("the read has ended", || running(&read[..30]) == "0");
        } else {
            pause(300);
            assert_eq!(running(&read[..30]), "1", "{abandoned}");
            let mut root = servers().root();
            let id = root.text(&format!(
                "SELECT id FROM information_schema.processlist WHERE info LIKE '{}%' AND id <> CONNECTION_ID()",
                &read[..30]
            ));
            root.run(&format!("KILL {id}"));
        }
        eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    }
}

/// It goes to the primary, but is a read all the same.
#[test]
fn queries_of_system_schemas_end_with_their_clients() {
    let proxy = Proxy::with(servers(), 4, "");
    let sql = "SELECT COLLATION_NAME, 'vanished rows' FROM information_schema.COLLATIONS, seq_1_to_1000000000";
    for command in [Command::Query, Command::StmtPrepare] {
        let mut gone = proxy.app();
        gone.send(command, sql.as_bytes());
        if command == Command::StmtPrepare {
            let id =
                gone.answer(command.shape()).unwrap().summary.prepared.expect("it is prepared").0;
            gone.send(Command::StmtExecute, &[&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat());
        }
        let running = || {
            servers().root().text(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%vanished rows%' AND id <> CONNECTION_ID()",
            )
        };
        eventually("it runs", || running() == "1");
        gone.hang_up();
        eventually("it has ended", || running() == "0");
        eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    }
}

/// A server that has read a write runs it, whatever its client does next.
#[test]
fn a_write_that_waits_for_a_slot_is_run_without_its_client() {
    for abandoned in ["kill_reads", "kill"] {
        let more = format!("{ONE_LANE}[pool]\nabandoned = \"{abandoned}\"");
        let proxy = Proxy::with(servers(), 3, &more);
        let mut client = proxy.app();
        client.replace("CREATE OR REPLACE TABLE waits_a (id INT)");
        let mut holders = [proxy.app(), proxy.app()];
        holders.iter_mut().for_each(Raw::hold);
        let waiters = || proxy.sum("fairlane_lane_waiters{backend=\"primary\"");
        let vanish = |sql: &str| {
            let mut gone = proxy.app();
            let id = gone.greeting.thread_id;
            gone.send(Command::Query, sql.as_bytes());
            eventually("it waits", || waiters() == 1.0);
            gone.hang_up();
            id
        };
        vanish("SELECT id FROM waits_a");
        eventually("the read waits no longer", || waiters() == 0.0);
        if abandoned == "kill_reads" {
            let id = vanish("INSERT INTO waits_a VALUES (1)");
            holders[0].run(&format!("KILL {id}"));
            eventually("who is killed waits no longer", || waiters() == 0.0);
        }
        vanish("INSERT INTO waits_a VALUES (2)");
        // To be noticed.
        pause(200);
        holders.iter_mut().for_each(|holder| drop(holder.run("ROLLBACK")));
        eventually("nobody waits, all slots are free", || {
            waiters() == 0.0 && proxy.sum("fairlane_lane_slots_in_use{") == 0.0
        });
        let run = client.text("SELECT GROUP_CONCAT(id) FROM waits_a");
        assert_eq!(run, if abandoned == "kill" { "NULL" } else { "2" }, "{abandoned}");
    }
}

const PATIENT: &str =
    "[lanes]\nauto = \"off\"\n[[lane]]\nname = \"interactive\"\nqueue_timeout = \"60s\"\n";

/// It holds a slot of the replica meanwhile, which is somebody else's then.
#[test]
fn a_transaction_that_waits_to_leave_its_replica_ends_with_its_session() {
    let proxy = Proxy::with(servers(), 3, PATIENT);
    let mut client = proxy.app();
    client.replace("CREATE OR REPLACE TABLE leaves_a (id INT)");
    servers().wait_replicated();
    let mut holders = [proxy.app(), proxy.app()];
    let waiters = || proxy.sum("fairlane_lane_waiters{backend=\"primary\"");
    let on_replica = || proxy.sum("fairlane_lane_slots_in_use{backend=\"replica1\"");
    let read = "SELECT id FROM leaves_a";
    let mut waiting = || {
        let mut one = proxy.holder_on_replica(read);
        holders.iter_mut().for_each(Raw::hold);
        one.send(Command::Query, b"SAVEPOINT a");
        eventually("it waits", || waiters() == 1.0);
        one
    };
    let one = waiting();
    assert!(proxy.get("/state").contains("a connection of primary in lane interactive"));
    one.hang_up();
    within(3, "nobody waits", || waiters() == 0.0 && on_replica() == 0.0);
    let mut one = waiting();
    client.run(&format!("KILL {}", one.greeting.thread_id));
    assert!(one.answer(Shape::Results).is_err());
    within(3, "nobody waits", || waiters() == 0.0 && on_replica() == 0.0);
}

/// A connection may be wanted for what is no statement of theirs.
#[test]
fn who_kills_or_logs_in_or_asks_for_warnings_waits_no_longer_than_its_session() {
    let more = format!("login_timeout = \"60s\"\n{PATIENT}[routing]\nreplica_reads = false\n");
    let proxy = Proxy::with(servers(), 2, &more);
    let root = || Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    let (mut root, mut other_root, mut asks) = (root(), root(), proxy.app());
    let refused = asks.command(Command::BinlogDump, &[0; 10]).unwrap();
    assert!(refused.error().is_some());
    let (mut killer, mut holder) = (proxy.app(), proxy.app());
    holder.hold();
    let waiters = || proxy.sum("fairlane_lane_waiters{backend=\"primary\"");
    let waits = || eventually("it waits", || waiters() == 1.0);
    let ends = || within(3, "nobody waits", || waiters() == 0.0);
    root.send(Command::Query, format!("KILL {}", holder.greeting.thread_id).as_bytes());
    waits();
    other_root.run(&format!("KILL {}", root.greeting.thread_id));
    ends();
    assert!(root.answer(Shape::Results).is_err());
    asks.send(Command::Query, b"SHOW WARNINGS");
    waits();
    asks.hang_up();
    ends();
    // Another schema than that with which the user was let in; the ids of sessions follow each other.
    let next = holder.greeting.thread_id + 1;
    let login = std::thread::scope(|scope| {
        let port = proxy.port;
        let schema = Some("information_schema");
        let login = scope.spawn(move || Raw::connect(port, "app", "app-secret", schema));
        waits();
        killer.run(&format!("KILL {next}"));
        ends();
        login.join().unwrap()
    });
    assert!(login.is_err());
    holder.run("COMMIT");
    assert_eq!(killer.text("SELECT 1"), "1");
}

/// Its connection is given what is its own, which the server does not answer.
#[test]
fn a_killed_session_whose_server_is_silent_gives_its_slot_back() {
    let (servers, orders) = keep(product().options());
    let proxy = Proxy::with(&servers, 2, ONE_LANE);
    let (mut client, mut killer) = (proxy.app(), proxy.app());
    client.run("CREATE TABLE silent_a (id INT)");
    client.run("SET SESSION sql_select_limit = 5");
    killer.run("SELECT 1");
    order(&orders, What::PausePrimary);
    let in_use = || proxy.sum("fairlane_lane_slots_in_use{backend=\"primary\"");
    client.send(Command::Query, b"SELECT id FROM silent_a");
    eventually("it waits for the server", || in_use() == 1.0);
    killer.run(&format!("KILL {}", client.greeting.thread_id));
    within(5, "its slot is free", || in_use() == 0.0);
    assert!(client.answer(Shape::Results).is_err());
    order(&orders, What::ResumePrimary);
    eventually("the primary is back", || killer.query("SELECT 1").is_ok());
}

/// As packets that are commands of their own.
fn commands(bodies: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for body in bodies {
        packet::put(&mut bytes, 0, body);
    }
    bytes
}

/// A server finds out that a client has closed its end when it has run what that has sent ahead.
#[test]
fn commands_sent_ahead_are_run_also_where_the_client_has_closed_behind_them() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let kills = Proxy::with(servers(), 4, &format!("{ONE_LANE}[pool]\nabandoned = \"kill\""));
    let mut root = servers().root();
    let insert = b"\x03INSERT INTO ahead_a VALUES (1)";
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE 'INSERT INTO ahead_a %' AND state LIKE 'Waiting for table%'";
    for (port, rows) in [(servers().primary, "3"), (proxy.port, "3"), (kills.port, "0")] {
        for how in ["texts", "transaction", "prepared"] {
            root.replace("CREATE OR REPLACE TABLE shop.ahead_a (id INT) ENGINE=InnoDB");
            let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
            let prepared = client.command(Command::StmtPrepare, &insert[1..]).unwrap();
            let id = prepared.summary.prepared.expect("it is prepared").0.to_le_bytes();
            let execute = [&b"\x17"[..], &id, &[0, 1, 0, 0, 0]].concat();
            let close = [&b"\x19"[..], &id].concat();
            let bytes = match how {
                "texts" => commands(&[insert, insert, insert, b"\x01"]),
                "prepared" => commands(&[&execute, &execute, &execute, &close, b"\x01"]),
                _ => commands(&[b"\x03BEGIN", insert, insert, insert, b"\x03COMMIT", b"\x01"]),
            };
            let mut blocker = servers().root();
            blocker.run("LOCK TABLES shop.ahead_a WRITE");
            client.stream.write_all(&bytes).unwrap();
            eventually("the first one waits", || root.text(waiting) == "1");
            client.stream.shutdown(Shutdown::Write).unwrap();
            if port == kills.port {
                eventually("it is killed", || root.text(waiting) == "0");
            } else {
                // To be noticed.
                pause(100);
            }
            blocker.run("UNLOCK TABLES");
            let count = "SELECT COUNT(*) FROM shop.ahead_a";
            eventually("all have run", || root.text(count) == rows);
        }
    }
    let are_gone =
        || proxy.metric("fairlane_sessions_open") + kills.metric("fairlane_sessions_open") == 0.0;
    eventually("all sessions are over", are_gone);
    // A farewell alone keeps no read.
    let mut client = proxy.app();
    let read =
        b"\x03SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq < 0";
    let bytes = commands(&[read, b"\x19\x01\0\0\0", b"\x01"]);
    client.stream.write_all(&bytes).unwrap();
    client.hang_up();
    eventually("all are gone", || proxy.metric("fairlane_sessions_open") == 0.0);
    eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
}

/// A statement is prepared anew on the connection it gets, which may have to wait for a lock.
#[test]
fn who_leaves_or_is_killed_while_a_statement_is_prepared_keeps_no_slot() {
    let waiting = |command: &str, verb: &str| {
        format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE command = '{command}' \
             AND info LIKE '{verb} %left_a%' AND state LIKE 'Waiting for table%'"
        )
    };
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.left_a (id INT)");
    let read = "SELECT id FROM left_a WHERE id = 1";
    let write = "INSERT INTO left_a VALUES (1)";
    for (sql, is_killed, rows) in [(read, false, "0"), (write, true, "0"), (write, false, "1")] {
        // One without idle connections.
        let proxy = Proxy::with(servers(), 4, ONE_LANE);
        let mut killer = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
        let mut client = proxy.app();
        let prepared = client.command(Command::StmtPrepare, sql.as_bytes());
        let id = prepared.unwrap().summary.prepared.expect("it is prepared").0;
        // Where it is prepared is taken.
        eventually("it is back", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
        let mut other = proxy.app();
        other.run("SET @own = RAND()");
        let (mut blocker, mut waiter) = (servers().root(), servers().root());
        blocker.run("BEGIN");
        blocker.run("SELECT * FROM shop.left_a");
        waiter.send(Command::Query, b"ALTER TABLE shop.left_a COMMENT = 'changed'");
        eventually("it waits", || root.text(&waiting("Query", "ALTER")) == "1");
        client.send(Command::StmtExecute, &[&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat());
        let waits = waiting("Prepare", &sql[..6]);
        eventually("it waits", || root.text(&waits) == "1");
        if is_killed {
            killer.run(&format!("KILL {}", client.greeting.thread_id));
            assert!(client.answer(Shape::Results).is_err(), "it is closed");
        } else {
            client.hang_up();
        }
        if rows == "0" {
            eventually("it waits no longer", || root.text(&waits) == "0");
        } else {
            // To be noticed.
            pause(200);
        }
        blocker.run("COMMIT");
        assert!(waiter.answer(Shape::Results).unwrap().error().is_none());
        drop(other);
        eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
        assert_eq!(root.text("SELECT COUNT(*) FROM shop.left_a"), rows, "{sql}");
    }
}

#[test]
fn killed_idle_connections_are_never_handed_to_a_statement() {
    let proxy = Proxy::with(servers(), 6, "");
    servers().root().replace("CREATE OR REPLACE USER kill_me@localhost IDENTIFIED BY 'x'");
    servers().root().run("GRANT ALL ON shop.* TO kill_me@localhost");
    servers().wait_replicated();
    let mut client = Raw::connect(proxy.port, "kill_me", "x", Some("shop")).unwrap();
    client.run("CREATE TABLE killed_a (id INT)");
    for round in 0..20 {
        client.run("INSERT INTO killed_a VALUES (1)");
        client.run("SELECT 1");
        let kill = |mut root: Raw| {
            for row in
                root.rows("SELECT id FROM information_schema.processlist WHERE user = 'kill_me'")
            {
                let _ = root.query(&format!("KILL {}", row[0].as_deref().unwrap()));
            }
        };
        kill(servers().root());
        kill(servers().replica_root());
        if round % 2 == 0 {
            pause(20);
        } else {
            eventually("the server has ended them", || {
                servers().root().text(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'kill_me'",
                ) == "0"
            });
            pause(5);
        }
    }
    assert_eq!(client.text("SELECT COUNT(*) FROM killed_a"), "20");
}

#[test]
fn a_connection_killed_under_a_statement_is_an_error_the_client_understands() {
    let proxy = Proxy::with(servers(), 6, "");
    let mut client = proxy.app();
    let statement = std::thread::spawn(move || {
        let answer = client.query("SELECT SLEEP(20), 'under_statement'");
        (client, answer)
    });
    let find = "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(20), %under_statement%'";
    eventually("the statement runs", || !servers().root().rows(find).is_empty());
    let id = servers().root().text(find);
    servers().root().run(&format!("KILL {id}"));
    let (mut client, answer) = statement.join().unwrap();
    assert!([1158, 1317, 1927].contains(&answer.unwrap_err().code()));
    // Nothing but the statement was on that connection.
    assert_eq!(client.text("SELECT 5"), "5");

    // A session that ends with its connection finds its own closed, as without Fairlane.
    let lost = ["SET @pinned = RAND()", "BEGIN"].map(|begin| {
        let mut client = proxy.app();
        client.run(begin);
        client.send(Command::Query, b"DO SLEEP(21)");
        let find = "SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(21)'";
        eventually("the statement runs", || !servers().root().rows(find).is_empty());
        let id = servers().root().text(find);
        servers().root().run(&format!("KILL {id}"));
        let answer = client.answer(Shape::Results);
        answer.map_or_else(|end| end, |answer| answer.error().expect("it was killed"))
    });
    let servers_own = [0, 1317, 1927];
    assert!(lost.iter().all(|end| servers_own.contains(&end.code())), "{lost:?}");
}

#[test]
fn a_dead_or_frozen_replica_leaves_rotation_and_comes_back() {
    let (servers, orders) = keep(Options { max_connections: 100, ..Options::default() });
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    client.run("CREATE TABLE replica_a (id INT)");
    client.run("INSERT INTO replica_a VALUES (1)");
    let in_rotation = || proxy.metric("fairlane_backend_in_rotation{backend=\"replica1\"}") == 1.0;
    // Killed in the middle of a CREATE TABLE its replication could be broken for good.
    servers.wait_replicated();
    order(&orders, What::KillReplica);
    for _ in 0..50 {
        assert_eq!(client.text("SELECT id FROM replica_a"), "1");
    }
    eventually("the dead replica leaves rotation", || !in_rotation());
    order(&orders, What::StartReplica);
    eventually("the replica comes back", in_rotation);
    order(&orders, What::PauseReplica);
    eventually("the frozen replica leaves rotation", || !in_rotation());
    assert_eq!(proxy.app().text("SELECT id FROM replica_a"), "1");
    order(&orders, What::ResumeReplica);
    eventually("the replica comes back", in_rotation);
    let mut root = servers.replica_root();
    root.run("STOP SLAVE");
    eventually("the stopped replica leaves rotation", || !in_rotation());
    root.run("START SLAVE");
    eventually("the replica comes back", in_rotation);
    assert_eq!(client.text("SELECT id FROM replica_a"), "1");

    order(&orders, What::KillPrimary);
    let refused = client.query("INSERT INTO replica_a VALUES (2)").unwrap_err();
    assert!([1040, 1158].contains(&refused.code()), "{refused:?}");
    eventually("not ready without a primary", || proxy.get("/readyz").starts_with("HTTP/1.1 503"));
    assert!(proxy.get("/healthz").starts_with("HTTP/1.1 200"));
    order(&orders, What::StartPrimary);
    eventually("ready again", || proxy.get("/readyz").starts_with("HTTP/1.1 200"));
    let mut client = proxy.app();
    client.run("INSERT INTO replica_a VALUES (3)");
    assert_eq!(client.text("SELECT COUNT(*) FROM replica_a"), "2");

    // A write that was lost may have been done: its session reads where that can be seen.
    let lost = std::thread::spawn(move || {
        let answer = client.query("INSERT INTO replica_a SELECT SLEEP(20)");
        (client, answer)
    });
    let find = "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT INTO replica_a SELECT%'";
    eventually("the write runs", || !servers.root().rows(find).is_empty());
    order(&orders, What::KillPrimary);
    let (mut client, answer) = lost.join().unwrap();
    assert_eq!(answer.unwrap_err().code(), 1158);
    order(&orders, What::StartPrimary);
    eventually("ready again", || proxy.get("/readyz").starts_with("HTTP/1.1 200"));
    eventually("the replica is back", in_rotation);
    let count = servers.root().text("SELECT COUNT(*) FROM shop.replica_a");
    assert_eq!(client.text("SELECT COUNT(*) FROM replica_a"), count);
    proxy.until_replica_answers(&mut client, "SELECT id FROM replica_a");
}

/// Nothing closes the connection; the replica is down, and its client has got nothing.
#[test]
fn a_read_on_a_replica_that_freezes_is_answered_by_the_primary() {
    let (servers, orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    client.run("CREATE TABLE freezes_a (id INT)");
    client.run("INSERT INTO freezes_a VALUES (1)");
    let read = "SELECT id FROM freezes_a";
    // By itself, and behind a SET of Fairlane's own.
    for (round, variables) in
        [(1.0, "SET div_precision_increment = 4"), (2.0, "SET lc_time_names = 'de_DE'")]
    {
        proxy.until_replica_answers(&mut client, read);
        client.run(variables);
        if round == 1.0 {
            proxy.until_replica_answers(&mut client, read);
        }
        order(&orders, What::PauseReplica);
        client.send(Command::Query, read.as_bytes());
        let retries = "fairlane_replica_retries_total";
        eventually("the primary is asked", || proxy.metric(retries) == round);
        assert!(client.answer(Shape::Results).unwrap().error().is_none());
        assert_eq!(client.text(read), "1");
        eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
        order(&orders, What::ResumeReplica);
    }
    proxy.until_replica_answers(&mut client, read);
}

/// Each try would take the read's time, and that of others who open connections.
#[test]
fn a_replica_that_refuses_an_account_is_not_tried_by_each_read() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    client.run("CREATE TABLE locked_a (id INT)");
    client.run("INSERT INTO locked_a VALUES (1)");
    let read = "SELECT id FROM locked_a";
    proxy.until_replica_answers(&mut client, read);
    let mut root = servers.replica_root_who_writes();
    let mut lock = |how: &str| {
        for host in ["localhost", "127.0.0.1", "%"] {
            root.run(&format!("ALTER USER app@'{host}' ACCOUNT {how}"));
        }
    };
    lock("LOCK");
    end_connections_of(&mut servers.replica_root(), "app");
    let refused = || proxy.metric("fairlane_backend_open_errors_total{backend=\"replica1\"}");
    let start = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(client.text(read), "1");
    }
    let tries = 1.0 + start.elapsed().as_secs_f64() / 2.0;
    assert!((1.0..=tries).contains(&refused()), "{} in {:?}", refused(), start.elapsed());
    lock("UNLOCK");
    proxy.until_replica_answers(&mut client, read);
}

fn end_connections_of(root: &mut Raw, user: &str) {
    let all = format!("SELECT id FROM information_schema.processlist WHERE user = '{user}'");
    for row in root.rows(&all) {
        // It may be gone by now.
        let _ = root.query(&format!("KILL {}", row[0].as_deref().unwrap()));
    }
}

/// A pool of the client's that asks with COM_PING would keep it for ever.
#[test]
fn a_session_that_the_primary_lets_in_no_more_ends() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut root = servers().root();
    root.run("CREATE USER changes@'%' IDENTIFIED BY 'changes-secret'");
    for begin in [false, true] {
        let mut client = Raw::connect(proxy.port, "changes", "changes-secret", None).unwrap();
        client.run("DO 1");
        root.run("ALTER USER changes@'%' IDENTIFIED BY 'other-secret'");
        end_connections_of(&mut root, "changes");
        if begin {
            client.run("BEGIN");
        }
        assert_eq!(client.query("DO 2").expect_err("no login").code(), 1045);
        assert!(client.command(Command::Ping, b"").is_err(), "it has ended");
        root.run("ALTER USER changes@'%' IDENTIFIED BY 'changes-secret'");
    }
    root.run("DROP USER changes@'%'");
}

#[test]
fn who_opens_a_connection_to_a_replica_that_freezes_is_answered_by_the_primary() {
    let (servers, orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    client.run("CREATE TABLE freezes_b (id INT)");
    client.run("INSERT INTO freezes_b VALUES (1)");
    let read = "SELECT id FROM freezes_b";
    proxy.until_replica_answers(&mut client, read);
    end_connections_of(&mut servers.replica_root(), "app");
    order(&orders, What::PauseReplica);
    let start = std::time::Instant::now();
    assert_eq!(client.text(read), "1");
    let took = start.elapsed().as_secs_f64();
    assert!(took < 4.0, "pool.connect_timeout is 5 s: {took}");
    order(&orders, What::ResumeReplica);
    proxy.until_replica_answers(&mut client, read);
}

/// It is down, since the control connection is refused; whoever reads there is answered.
#[test]
fn a_replica_that_refuses_its_control_connection_ends_what_it_runs() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::start(&servers);
    let mut client = proxy.app();
    client.run("CREATE TABLE refused_a (id INT)");
    client.run("INSERT INTO refused_a VALUES (1)");
    let read = "SELECT id FROM refused_a";
    proxy.until_replica_answers(&mut client, read);
    let mut root = servers.replica_root_who_writes();
    root.run("LOCK TABLES shop.refused_a WRITE");
    client.send(Command::Query, read.as_bytes());
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info = '{read}' AND user = 'app'"
    );
    eventually("it waits on the replica", || servers.replica_root().text(&waiting) == "1");
    let mut other = servers.replica_root_who_writes();
    for host in ["localhost", "127.0.0.1", "%"] {
        other.run(&format!("ALTER USER fairlane@'{host}' ACCOUNT LOCK"));
    }
    let control = "SELECT id FROM information_schema.processlist WHERE user = 'fairlane'";
    let control = other.text(control);
    other.run(&format!("KILL {control}"));
    eventually("it is down", || proxy.metric("fairlane_backend_up{backend=\"replica1\"}") == 0.0);
    // As long as a frozen one would have.
    pause(3000);
    root.run("UNLOCK TABLES");
    assert!(client.answer(Shape::Results).unwrap().error().is_none());
    assert_eq!(proxy.metric("fairlane_replica_retries_total"), 0.0);
}

/// The replica freezes while a connection is brought to the state of when the statement was prepared.
#[test]
fn a_session_stays_in_its_schema_when_a_replica_freezes() {
    let (servers, orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::start(&servers);
    let mut root = servers.root();
    root.run("CREATE DATABASE freezes_other");
    for schema in ["shop", "freezes_other"] {
        root.run(&format!("CREATE TABLE {schema}.freezes_b (v INT)"));
        root.run(&format!("INSERT INTO {schema}.freezes_b VALUES (1)"));
    }
    for host in ["localhost", "127.0.0.1", "%"] {
        root.run(&format!("GRANT ALL ON freezes_other.* TO app@'{host}'"));
    }
    servers.wait_replicated();
    let mut client = proxy.app();
    let read = "SELECT v FROM freezes_b";
    let prepared = client.command(Command::StmtPrepare, read.as_bytes());
    let id = prepared.unwrap().summary.prepared.expect("it is prepared").0;
    // What it may have been prepared on is gone; the next connection is in the other schema.
    let mut replica = servers.replica_root();
    let ids = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
    for row in replica.rows(ids) {
        replica.run(&format!("KILL {}", row[0].as_deref().unwrap()));
    }
    client.run("USE freezes_other");
    proxy.until_replica_answers(&mut client, read);
    let retries = || proxy.metric("fairlane_replica_retries_total");
    let before = retries();
    order(&orders, What::PauseReplica);
    client.send(Command::StmtExecute, &[&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat());
    assert!(client.answer(Shape::Results).unwrap().error().is_none());
    assert_eq!(retries(), before + 1.0);
    assert_eq!(client.text("SELECT DATABASE()"), "freezes_other");
    client.run("UPDATE freezes_b SET v = 2");
    let both = "SELECT CONCAT(a.v, b.v) FROM shop.freezes_b a, freezes_other.freezes_b b";
    assert_eq!(root.text(both), "12");
    order(&orders, What::ResumeReplica);
}

#[test]
fn sigterm_lets_transactions_end() {
    let mut proxy = Proxy::with(servers(), 5, "");
    let mut idle = proxy.app();
    let mut busy = proxy.app();
    busy.run("CREATE TABLE sigterm_a (id INT) ENGINE=InnoDB");
    busy.run("BEGIN");
    busy.run("INSERT INTO sigterm_a VALUES (1)");
    proxy.signal("TERM");
    eventually("an idle session ends", || idle.query("SELECT 1").is_err());
    pause(200);
    assert_eq!(proxy.exit_code(), None);
    busy.run("INSERT INTO sigterm_a VALUES (2)");
    busy.run("COMMIT");
    eventually("Fairlane ends", || proxy.exit_code().is_some());
    assert_eq!(proxy.exit_code(), Some(0));
    assert_eq!(servers().root().text("SELECT COUNT(*) FROM shop.sigterm_a"), "2");
}

#[test]
fn nothing_stops_when_the_log_cannot_be_written() {
    let servers = keep(product().options()).0;
    let mut proxy = Proxy::on_a_full_disk(&servers);
    let mut client = proxy.app();
    let query = Command::Query;
    client.send(query, b"SELECT 1 /* fairlane: lane=unheard_of */");
    client.answer(Shape::Results).unwrap();
    client.run("CREATE TABLE full_disk (id INT)");
    let mut root = servers.root();
    // The control connection says so, and goes on.
    root.run("SET GLOBAL read_only = ON");
    pause(1500);
    root.run("SET GLOBAL read_only = OFF");
    root.run("CREATE USER late@'%' IDENTIFIED BY 'late'");
    within(20, "a new account gets in", || Raw::connect(proxy.port, "late", "late", None).is_ok());
    proxy.signal("HUP");
    client.run("BEGIN");
    client.run("INSERT INTO full_disk VALUES (1)");
    proxy.signal("TERM");
    pause(300);
    client.run("INSERT INTO full_disk VALUES (2)");
    client.run("COMMIT");
    eventually("Fairlane ends", || proxy.exit_code().is_some());
    assert_eq!(proxy.exit_code(), Some(0));
    assert_eq!(root.text("SELECT COUNT(*) FROM shop.full_disk"), "2");
}

/// Nobody else can be asked: what a replica that is frozen has begun to answer, or has in a transaction, is lost.
#[test]
fn a_replica_that_is_frozen_for_long_keeps_nobody() {
    let (servers, orders) = keep(Options { max_connections: 100, ..product().options() });
    let proxy = Proxy::with(&servers, 8, ONE_LANE_AND_REPLICA);
    let mut client = proxy.app();
    client.run("CREATE TABLE held_a (data LONGTEXT)");
    client.run("INSERT INTO held_a VALUES (REPEAT('x', 100000)), (REPEAT('y', 100000))");
    client.run("CREATE TABLE held_b (id INT PRIMARY KEY)");
    let rows: Vec<String> = (0..300).map(|id| format!("({id})")).collect();
    client.run(&format!("INSERT INTO held_b VALUES {}", rows.join(",")));
    let count = "SELECT COUNT(*) FROM held_a";
    proxy.until_replica_answers(&mut client, count);
    let in_use = "fairlane_lane_slots_in_use{backend=\"replica1\"";
    let mut holder = proxy.holder_on_replica(count);
    let long = "SELECT data, IF(data LIKE 'x%', 0, (SELECT COUNT(*) FROM held_b a, held_b b, held_b c, \
                held_b d WHERE a.id + b.id + c.id + d.id < LENGTH(data) - 100000)) FROM held_a";
    let mut reader = None;
    eventually("the reader is on the replica", || {
        let mut client = proxy.app();
        client.send(Command::Query, long.as_bytes());
        client.packet().expect("it answers");
        reader = Some(client);
        proxy.sum(in_use) == 2.0
    });
    order(&orders, What::PauseReplica);
    holder.send(Command::Query, count.as_bytes());
    within(100, "their slots are free", || proxy.sum(in_use) == 0.0);
    assert!(holder.answer(Shape::Results).is_err());
    assert_eq!(client.text(count), "2");
    order(&orders, What::ResumeReplica);
    proxy.until_replica_answers(&mut client, count);
}

/// As at the server, its client finds the connection closed; and its slot is somebody else's.
#[test]
fn what_a_session_holds_and_its_server_has_closed_keeps_no_slot() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    servers().root().replace("CREATE OR REPLACE USER held_b@localhost IDENTIFIED BY 'x'");
    servers().root().run("GRANT ALL ON shop.* TO held_b@localhost");
    let in_use = || proxy.sum("fairlane_lane_slots_in_use{backend=\"primary\"");
    for port in [servers().primary, proxy.port] {
        let connect = || Raw::connect(port, "held_b", "x", Some("shop")).unwrap();
        let (mut open, mut pinned) = (connect(), connect());
        open.hold();
        pinned.run("CREATE TEMPORARY TABLE held_b (id INT)");
        if port == proxy.port {
            eventually("they hold their connections", || in_use() == 2.0);
        }
        let mut root = servers().root();
        for row in root.rows("SELECT id FROM information_schema.processlist WHERE user = 'held_b'")
        {
            // It may be gone by now.
            let _ = root.query(&format!("KILL {}", row[0].as_deref().unwrap()));
        }
        for mut client in [open, pinned] {
            let mut said = Vec::new();
            let end = client.stream.read_to_end(&mut said);
            assert!(said.is_empty() && end.is_ok(), "port {port}: {end:?}, {said:?}");
        }
        eventually("their slots are free", || in_use() == 0.0);
    }
    assert_eq!(proxy.app().text("SELECT 1"), "1");
}

#[test]
fn openings_that_fail_at_the_primary_are_told_of_in_the_log() {
    let hop = Hop::before(servers().primary, "app");
    let more = "[pool]\nconnect_timeout = \"300ms\"\n";
    let proxy = Proxy::behind(hop.port, servers(), 8, more);
    hop.hold_answers(true);
    let errors = "fairlane_backend_open_errors_total{backend=\"primary\"}";
    // Before its probes fail.
    for _ in 0..2 {
        proxy.try_app().unwrap_err();
    }
    assert!(proxy.metric(errors) > 0.0, "{}", proxy.log());
    let log = proxy.log();
    let lines = log.lines().filter(|line| line.contains("no connection can be opened"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("no login within 300 ms") && lines[0].contains("primary"), "{log}");
    hop.hold_answers(false);
}
