//! What a transaction on a replica asks of the primary, and comes back from with its snapshot.

use fairlane::protocol::Command;
use fairlane::protocol::status::Status;
use parking_lot::{Mutex, MutexGuard};

use crate::support::raw::Answer;
use crate::support::{ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, servers};

const COUNT: &str = "SELECT COUNT(*) FROM visit_rows";
const ON_REPLICA: &str = "fairlane_lane_slots_in_use{backend=\"replica1\"";
const ON_PRIMARY: &str = "fairlane_lane_slots_in_use{backend=\"primary\"";

/// They have one table, which the next test makes anew.
static ALONE: Mutex<()> = Mutex::new(());

fn set_up() -> (MutexGuard<'static, ()>, Proxy) {
    let alone = ALONE.lock();
    let proxy = Proxy::with(servers(), 3, ONE_LANE_AND_REPLICA);
    let mut client = proxy.app();
    client.replace("CREATE OR REPLACE TABLE visit_rows (id INT) ENGINE=InnoDB");
    servers().wait_replicated();
    (alone, proxy)
}

fn begin_on_replica(proxy: &Proxy, client: &mut Raw) {
    eventually("the transaction is on the replica", || {
        client.run("START TRANSACTION READ ONLY");
        client.run(COUNT);
        let is_there = proxy.sum(ON_REPLICA) == 1.0;
        if !is_there {
            client.run("COMMIT");
        }
        is_there
    });
}

/// What a session sends, and what it gets.
fn ask(session: &mut Raw, sql: &str) -> Vec<Vec<u8>> {
    let packets = |answer: Answer| match answer.error() {
        Some(error) => vec![error.code().to_le_bytes().to_vec()],
        None => answer.packets(),
    };
    let Some(text) = sql.strip_prefix("prepared ") else {
        session.send(Command::Query, sql.as_bytes());
        return packets(session.answer(Command::Query.shape()).unwrap());
    };
    match prepare(session, text) {
        Ok(id) => packets(execute(session, id)),
        Err(refused) => packets(*refused),
    }
}

fn prepare(session: &mut Raw, sql: &str) -> Result<u32, Box<Answer>> {
    let prepared = session.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    prepared.summary.prepared.map(|(id, ..)| id).ok_or_else(|| Box::new(prepared))
}

fn execute(session: &mut Raw, id: u32) -> Answer {
    let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    session.command(Command::StmtExecute, &body).unwrap()
}

#[test]
fn what_a_read_only_transaction_asks_besides_rows_costs_no_snapshot() {
    let (_alone, proxy) = set_up();
    let (mut writer, mut through) = (proxy.app(), proxy.app());
    let mut direct = Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
    let early = "DELETE FROM visit_rows WHERE id = 1";
    let ids = [&mut through, &mut direct].map(|session| prepare(session, early).unwrap());
    let texts = [
        "SET NAMES latin1",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET NAMES nonsense",
        "SELECT ROW_COUNT()",
        "SELECT FOUND_ROWS()",
        "SELECT LAST_INSERT_ID()",
        "prepared SELECT LAST_INSERT_ID()",
        "SELECT VERSION()",
        "SELECT CONNECTION_ID() > 0",
        "SELECT SLEEP(0), 1/0",
        "DO 1",
        "DO SLEEP(0), 1/0",
        "SHOW GRANTS",
        "SHOW GRANTS FOR nobody_like_it",
        "SHOW STATUS LIKE 'nothing'",
        "SHOW COLLATION LIKE 'utf8mb4_bin'",
        "SHOW CREATE DATABASE shop",
        "SHOW TRIGGERS LIKE 'nothing'",
        "SELEC",
        "INSERT INTO visit_rows VALUES (",
        "INSERT INTO visit_rows VALUES (9)",
        "INSERT INTO visit_rows SELECT * FROM visit_rows",
        "UPDATE visit_rows SET id = 9 WHERE id = 0",
        "DELETE FROM visit_rows",
        "prepared REPLACE INTO visit_rows VALUES (9)",
        "SELECT 1; SELECT COUNT(*) FROM visit_rows; SELECT 2",
        "SELECT id FROM visit_rows WHERE id > 0; SELECT 'x' + 0;",
        "SELECT 1; SELECT nothing FROM visit_rows",
        early,
    ];
    for sql in texts {
        servers().wait_replicated();
        through.run("SET NAMES utf8mb4");
        direct.run("SET NAMES utf8mb4");
        begin_on_replica(&proxy, &mut through);
        direct.run("START TRANSACTION READ ONLY");
        let before = [&mut through, &mut direct].map(|session| session.text(COUNT));
        writer.run("INSERT INTO visit_rows VALUES (1)");
        let told = match sql == early {
            true => [execute(&mut through, ids[0]), execute(&mut direct, ids[1])]
                .map(|answer| vec![answer.error().unwrap().code().to_le_bytes().to_vec()]),
            false => [&mut through, &mut direct].map(|session| ask(session, sql)),
        };
        assert_eq!(told[0], told[1], "{sql}");
        assert_eq!(proxy.sum(ON_REPLICA), 1.0, "{sql}");
        eventually("nothing is held on the primary", || proxy.sum(ON_PRIMARY) == 0.0);
        for asks in ["SHOW WARNINGS", "SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", COUNT] {
            let told = [&mut through, &mut direct].map(|session| ask(session, asks));
            assert_eq!(told[0], told[1], "{sql}: {asks}");
        }
        let after = [&mut through, &mut direct].map(|session| session.text(COUNT));
        assert_eq!(before, after, "{sql}");
        assert!(through.status().contains(Status::IN_TRANS), "{sql}");
        for session in [&mut through, &mut direct] {
            session.run("COMMIT");
        }
    }
    assert_eq!(writer.text("SELECT COUNT(*) FROM visit_rows WHERE id <> 1"), "0");
}

#[test]
fn a_transaction_that_stays_on_the_primary_keeps_nothing_on_the_replica() {
    let (_alone, proxy) = set_up();
    let mut writer = proxy.app();
    for stays in ["SELEC", "SELECT SLEEP(0)"] {
        let mut client = proxy.holder_on_replica(COUNT);
        let before: u32 = client.text(COUNT).parse().unwrap();
        let _ = client.query(stays);
        assert_eq!(proxy.sum(ON_REPLICA), 1.0);
        writer.run("INSERT INTO visit_rows VALUES (1)");
        assert_eq!(client.text("SELECT GET_LOCK('visit_own', 0)"), "1");
        eventually("the replica is left", || proxy.sum(ON_REPLICA) == 0.0);
        assert_eq!(client.text(COUNT), (before + 1).to_string());
        client.hang_up();
        eventually("nothing is held", || proxy.sum(ON_PRIMARY) == 0.0);
        servers().wait_replicated();
    }
}

#[test]
fn a_session_that_ends_while_it_asks_the_primary_keeps_nothing_on_either() {
    let (_alone, proxy) = set_up();
    let mut killer = proxy.app();
    for (order, is_over) in [("KILL QUERY", false), ("KILL", true)] {
        let mut client = proxy.holder_on_replica(COUNT);
        client.send(Command::Query, b"SELECT SLEEP(60)");
        eventually("it asks the primary", || proxy.sum(ON_PRIMARY) == 1.0);
        // It may not have begun.
        eventually("it is stopped", || {
            let kill = killer.query(&format!("{order} {}", client.greeting.thread_id));
            // Nor be there any more.
            assert!(kill.map_or_else(|refused| refused.code() == 1094, |_| true));
            proxy.sum(ON_PRIMARY) == 0.0
        });
        match is_over {
            true => assert!(client.answer(Command::Query.shape()).is_err()),
            false => {
                client.answer(Command::Query.shape()).unwrap();
                client.text(COUNT);
                assert_eq!(proxy.sum(ON_REPLICA), 1.0);
                client.run("COMMIT");
            }
        }
        eventually("nothing is held", || proxy.sum(ON_REPLICA) == 0.0);
    }
}

/// The primary's transaction is as good as that.
#[test]
fn a_transaction_whose_replica_is_lost_while_it_asks_the_primary_stays_there() {
    let (_alone, proxy) = set_up();
    let mut root = servers().root();
    root.run("CREATE USER visits@'%' IDENTIFIED BY 'visits-secret'");
    root.run("GRANT SELECT ON shop.* TO visits@'%'");
    servers().wait_replicated();
    let mut client = Raw::connect(proxy.port, "visits", "visits-secret", Some("shop")).unwrap();
    begin_on_replica(&proxy, &mut client);
    client.send(Command::Query, b"SELECT SLEEP(2)");
    eventually("it asks the primary", || proxy.sum(ON_PRIMARY) == 1.0);
    let mut replica = servers().replica_root();
    let list = "SELECT id FROM information_schema.processlist WHERE user = 'visits'";
    for row in replica.rows(list) {
        replica.run(&format!("KILL {}", row[0].as_ref().unwrap()));
    }
    client.answer(Command::Query.shape()).unwrap();
    client.text(COUNT);
    assert!(client.status().contains(Status::IN_TRANS));
    assert_eq!(proxy.sum(ON_REPLICA), 0.0);
    client.run("COMMIT");
}
