//! What others have committed and no OK packet has told yet: whoever has seen it goes on seeing it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlane::protocol::{Capabilities, Command, Shape};
use fairlane::sandbox::Options;

use crate::support::hop::Hop;
use crate::support::servers::keep;
use crate::support::{Login, Proxy, Raw, Servers, eventually, pause, product};

/// A primary and a replica of these tests, which keeps replicas from what they are to have.
fn pair() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| keep(Options { max_connections: 200, ..product().options() }).0)
}

/// Root on the replica, which applies nothing until the tables are unlocked; `read` is answered there before.
fn cut_off(proxy: &Proxy, reader: &mut Raw, read: &str) -> Raw {
    pair().wait_replicated();
    proxy.until_replica_answers(reader, read);
    let mut replica = pair().replica_root();
    replica.run("FLUSH TABLES WITH READ LOCK");
    replica
}

fn log_in(proxy: &Proxy, more: Capabilities, less: Capabilities) -> Raw {
    let login = Login::new(proxy.port, "app", "app-secret");
    let more = (login.more | more) - less;
    Raw::login(&Login { schema: Some("shop"), more, ..login }).unwrap()
}

/// A procedure that commits its first step, and goes on while root has the lock of its name.
fn make_procedure(root: &mut Raw, name: &str, then: &str) {
    root.run(&format!("CREATE TABLE shop.{name} (a INT PRIMARY KEY, state VARCHAR(10), n INT)"));
    root.run(&format!("INSERT INTO shop.{name} VALUES (1, 'new', 0)"));
    root.run(&format!(
        "CREATE PROCEDURE shop.{name}() BEGIN UPDATE shop.{name} SET state = 'running'; {then}; \
         DO GET_LOCK('{name}', 30); DO RELEASE_LOCK('{name}'); END"
    ));
}

#[test]
fn what_a_procedure_has_committed_stays_seen_while_it_goes_on() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    make_procedure(&mut root, "going_a", "DO 0");
    let read = "SELECT state FROM going_a WHERE a = 1";
    let zero = "UPDATE going_a SET n = 1 WHERE a = 1 AND state = 'new'";
    let ignored = "INSERT IGNORE INTO going_a VALUES (1, 'x', 0)";
    let same = "INSERT INTO going_a VALUES (1, 'x', 0) ON DUPLICATE KEY UPDATE n = n";
    let for_update = format!("{read} FOR UPDATE");
    let hinted = format!("/* fairlane: route=primary */ {read}");
    // And whether another session may be told of it.
    let cases: [(&[&str], bool); 6] = [
        (&[zero], true),
        (&[ignored], true),
        (&[same], true),
        (&[&for_update], true),
        (&[&hinted], false),
        (&["BEGIN", read, "COMMIT"], false),
    ];
    let mut reader = log_in(&proxy, Capabilities::DEPRECATE_EOF, Capabilities::empty());
    let mut other = proxy.app();
    for (looks, tells_others) in cases {
        root.run("UPDATE shop.going_a SET state = 'new', n = 0");
        root.run("SELECT GET_LOCK('going_a', 5)");
        let mut replica = cut_off(&proxy, &mut reader, read);
        let mut writer = proxy.app();
        writer.send(Command::Query, b"CALL going_a()");
        eventually("its first step is done", || {
            root.text("SELECT state FROM shop.going_a") == "running"
        });
        looks.iter().for_each(|look| drop(reader.run(look)));
        // The reading that tells may have come by then, or not.
        for wait in [0, 50, 50] {
            pause(wait);
            assert_eq!(reader.text(read), "running", "{looks:?}, after {wait} ms");
            if tells_others {
                assert_eq!(other.text(read), "running", "{looks:?}, others after {wait} ms");
            }
        }
        replica.run("UNLOCK TABLES");
        // Also while it goes on.
        proxy.until_replica_answers(&mut reader, read);
        root.run("DO RELEASE_LOCK('going_a')");
        writer.answer(Shape::Results).unwrap();
        proxy.until_replica_answers(&mut reader, read);
    }
}

#[test]
fn what_was_seen_is_seen_as_another_user_too() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    make_procedure(&mut root, "changed_a", "DO 0");
    for host in ["localhost", "127.0.0.1", "%"] {
        root.run(&format!("CREATE USER changed@'{host}' IDENTIFIED BY 'secret'"));
        root.run(&format!("GRANT SELECT ON shop.* TO changed@'{host}'"));
    }
    let read = "SELECT state FROM changed_a WHERE a = 1";
    let looks = format!("/* fairlane: route=primary */ {read}");
    root.run("SELECT GET_LOCK('changed_a', 5)");
    let mut reader = proxy.app();
    let mut replica = cut_off(&proxy, &mut reader, read);
    let mut writer = proxy.app();
    writer.send(Command::Query, b"CALL changed_a()");
    eventually("its first step is done", || {
        root.text("SELECT state FROM shop.changed_a") == "running"
    });
    // The reading that tells may have come by then, or not.
    for wait in [0, 50, 200] {
        let mut reader = proxy.app();
        assert_eq!(reader.text(&looks), "running");
        pause(wait);
        reader.send(Command::ChangeUser, b"changed\0\0shop\0\x2d\0mysql_native_password\0");
        reader.prove("secret").unwrap();
        assert_eq!(reader.text(read), "running", "after {wait} ms");
    }
    replica.run("UNLOCK TABLES");
    root.run("DO RELEASE_LOCK('changed_a')");
    writer.answer(Shape::Results).unwrap();
}

#[test]
fn who_has_lost_a_race_reads_what_the_winner_wrote_before_that_is_told() {
    static IS_HELD: AtomicBool = AtomicBool::new(false);
    let hop = Hop::before(pair().primary, "app");
    let proxy = Proxy::behind(hop.port, pair(), 15, "");
    let mut root = pair().root();
    root.run("CREATE TABLE shop.raced_a (a INT PRIMARY KEY, version INT)");
    root.run("INSERT INTO shop.raced_a VALUES (1, 0)");
    let (mut winner, mut loser) = (proxy.app(), proxy.app());
    let read = "SELECT version FROM raced_a WHERE a = 1";
    let change = "UPDATE raced_a SET version = version + 1 WHERE a = 1 AND version = 0";
    // So that both have connections.
    winner.run("UPDATE raced_a SET version = 0 WHERE a = 2");
    let mut replica = cut_off(&proxy, &mut loser, read);
    IS_HELD.store(true, Ordering::Release);
    hop.spoil_answer_to(b"version = 0", |_| {
        while IS_HELD.load(Ordering::Acquire) {
            pause(1);
        }
    });
    winner.send(Command::Query, change.as_bytes());
    eventually("it has won", || {
        hop.has_spoilt() && root.text("SELECT version FROM shop.raced_a") == "1"
    });
    assert_eq!(loser.run(change).summary.affected, Some(0));
    assert_eq!(loser.text(read), "1");
    IS_HELD.store(false, Ordering::Release);
    assert_eq!(winner.answer(Shape::Results).unwrap().summary.affected, Some(1));
    assert_eq!(loser.text(read), "1");
    replica.run("UNLOCK TABLES");
    proxy.until_replica_answers(&mut loser, read);
}

/// Nobody tells where that was committed, and it need not have gone through Fairlane.
#[test]
fn who_is_told_of_others_rows_by_a_change_or_a_lock_reads_them_back() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    root.run("CREATE TABLE shop.told_a (a INT PRIMARY KEY, state VARCHAR(10), n INT)");
    root.run("INSERT INTO shop.told_a VALUES (1, 'old', 0)");
    let read = "SELECT state FROM told_a WHERE a = 1";
    let for_update = format!("{read} FOR UPDATE");
    let same = "UPDATE told_a SET state = 'new' WHERE a = 1";
    let cases: [&[&str]; 7] = [
        &["UPDATE told_a SET n = 1 WHERE a = 1 AND state = 'old'"],
        &[same],
        // As drivers of Java have it, this one counts the row it has found.
        &["BEGIN", same, "COMMIT"],
        &["INSERT IGNORE INTO told_a VALUES (1, 'x', 0)"],
        &["INSERT INTO told_a VALUES (1, 'x', 0) ON DUPLICATE KEY UPDATE n = n"],
        &[&for_update],
        &["BEGIN", &for_update, "COMMIT"],
    ];
    let mut other = proxy.app();
    for looks in cases {
        let counts_found =
            if looks.contains(&"BEGIN") { Capabilities::FOUND_ROWS } else { Capabilities::empty() };
        let mut reader = log_in(&proxy, counts_found, Capabilities::empty());
        root.run("UPDATE shop.told_a SET state = 'old'");
        let mut replica = cut_off(&proxy, &mut reader, read);
        root.run("UPDATE shop.told_a SET state = 'new'");
        assert_eq!(reader.text(read), "old", "the replica lags");
        looks.iter().for_each(|look| drop(reader.run(look)));
        // The reading that tells may have come by then, or not.
        for wait in [0, 50, 50] {
            pause(wait);
            assert_eq!(reader.text(read), "new", "{looks:?}, after {wait} ms");
        }
        // Others of its user were told of nothing.
        proxy.until_replica_answers(&mut other, read);
        reader.send(Command::ChangeUser, b"app\0\0shop\0\x2d\0mysql_native_password\0");
        reader.prove("app-secret").unwrap();
        assert_eq!(reader.text(read), "new", "{looks:?}, as another user");
        replica.run("UNLOCK TABLES");
        proxy.until_replica_answers(&mut reader, read);
    }
}

#[test]
fn what_a_procedure_has_done_by_then_is_seen_when_its_client_gives_up() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    make_procedure(&mut root, "given_up_a", "DO 0");
    let read = "SELECT state FROM given_up_a WHERE a = 1";
    root.run("SELECT GET_LOCK('given_up_a', 5)");
    let mut replica = cut_off(&proxy, &mut proxy.app(), read);
    let mut client = proxy.app();
    client.send(Command::Query, b"CALL given_up_a()");
    eventually("its first step is done", || {
        root.text("SELECT state FROM shop.given_up_a") == "running"
    });
    client.hang_up();
    // In a moment Fairlane has noticed.
    pause(20);
    let mut next = proxy.app();
    assert_eq!(next.text(read), "running");
    replica.run("UNLOCK TABLES");
    proxy.until_replica_answers(&mut next, read);
    root.run("DO RELEASE_LOCK('given_up_a')");
}

#[test]
fn what_a_procedure_has_done_is_seen_by_others_when_its_client_has_first_rows_of_it() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    // More than a server keeps back, and few.
    let long =
        "SELECT n, REPEAT('x', 30000), IF(n = 9, GET_LOCK('rows_a', 30), 0) FROM shop.rows_n";
    root.run("CREATE TABLE shop.rows_n (n INT PRIMARY KEY)");
    root.run("INSERT INTO shop.rows_n VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)");
    make_procedure(&mut root, "rows_a", long);
    make_procedure(&mut root, "rows_b", "SELECT 'x'");
    for name in ["rows_a", "rows_b"] {
        for less in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
            let read = format!("SELECT state FROM {name} WHERE a = 1");
            root.run(&format!("UPDATE shop.{name} SET state = 'new'"));
            root.run(&format!("SELECT GET_LOCK('{name}', 5)"));
            let mut other = proxy.app();
            let mut replica = cut_off(&proxy, &mut other, &read);
            let mut client = log_in(&proxy, Capabilities::DEPRECATE_EOF, less);
            client.send(Command::Query, format!("CALL {name}()").as_bytes());
            if name == "rows_b" {
                // MySQL keeps a short result back until more comes.
                eventually("its first step is done", || {
                    root.text(&format!("SELECT state FROM shop.{name}")) == "running"
                });
                if product().is_mysql() {
                    root.run(&format!("DO RELEASE_LOCK('{name}')"));
                }
            }
            client.packet().unwrap();
            assert_eq!(other.text(&read), "running", "{name}, {less:?}");
            replica.run("UNLOCK TABLES");
            root.run(&format!("DO RELEASE_LOCK('{name}')"));
            proxy.until_replica_answers(&mut other, &read);
        }
    }
}

#[test]
fn what_is_done_on_a_connection_that_was_cut_off_is_seen_once_it_is_done() {
    let hop = Hop::before(pair().primary, "app");
    let proxy = Proxy::behind(hop.port, pair(), 15, "");
    let mut root = pair().root();
    root.run("CREATE TABLE shop.cut_off_a (a INT PRIMARY KEY, v INT)");
    root.run("INSERT INTO shop.cut_off_a VALUES (1, 0)");
    let read = "SELECT v FROM cut_off_a WHERE a = 1";
    let (mut writer, mut reader) = (proxy.app(), proxy.app());
    let mut replica = cut_off(&proxy, &mut reader, read);
    let mut other = pair().root();
    other.run("BEGIN");
    other.run("SELECT v FROM shop.cut_off_a FOR UPDATE");
    writer.send(Command::Query, b"UPDATE cut_off_a SET v = 7 WHERE a = 1");
    eventually("it waits for the row", || !statement(&mut root, "UPDATE cut_off_a").is_empty());
    hop.cut();
    assert!(writer.answer(Shape::Results).unwrap().error().is_some());
    // The reading that tells nothing may have come by then, or not.
    for wait in [0, 50, 50] {
        pause(wait);
        assert_eq!(reader.text(read), "0");
    }
    other.run("ROLLBACK");
    eventually("it is done", || root.text("SELECT v FROM shop.cut_off_a") == "7");
    for wait in [0, 50, 50] {
        pause(wait);
        assert_eq!(reader.text(read), "7", "after {wait} ms");
    }
    replica.run("UNLOCK TABLES");
    proxy.until_replica_answers(&mut reader, read);
}

#[test]
fn who_gets_a_lock_by_name_sees_what_was_committed_under_it() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    let under = "DO RELEASE_LOCK('under_lock')";
    make_procedure(&mut root, "under_a", under);
    root.run(
        "CREATE PROCEDURE shop.under_lock() BEGIN DO GET_LOCK('under_lock', 30); CALL shop.under_a(); END",
    );
    let read = "SELECT state FROM under_a WHERE a = 1";
    for (asks, lets_go) in [
        ("SELECT GET_LOCK('under_lock', 30)", "SELECT RELEASE_LOCK('under_lock')"),
        ("DO GET_LOCK('under_lock', 30)", "DO RELEASE_LOCK('under_lock')"),
        ("SELECT IS_FREE_LOCK('under_lock')", "DO 0"),
        ("SELECT @a, IFNULL(IS_USED_LOCK('under_lock'), 'free')", "DO 0"),
    ] {
        root.run("UPDATE shop.under_a SET state = 'new'");
        root.run("SELECT GET_LOCK('under_a', 5)");
        let mut reader = proxy.app();
        let mut replica = cut_off(&proxy, &mut reader, read);
        let mut writer = proxy.app();
        writer.send(Command::Query, b"CALL under_lock()");
        eventually("it has let the lock go", || {
            root.text("SELECT state FROM shop.under_a") == "running"
                && root.text("SELECT IS_FREE_LOCK('under_lock')") == "1"
        });
        reader.run(asks);
        reader.run(lets_go);
        for wait in [0, 50, 50] {
            pause(wait);
            assert_eq!(reader.text(read), "running", "{asks}, after {wait} ms");
        }
        replica.run("UNLOCK TABLES");
        root.run("DO RELEASE_LOCK('under_a')");
        writer.answer(Shape::Results).unwrap();
    }
}

/// The ids of the primary's connections that run what begins so.
fn statement(root: &mut Raw, begins: &str) -> Vec<Vec<Option<String>>> {
    let list = "information_schema.PROCESSLIST";
    root.rows(&format!("SELECT ID FROM {list} WHERE INFO LIKE '{begins}%'"))
}

#[test]
fn what_is_killed_in_its_commit_is_seen_once_it_is_committed() {
    let mut root = pair().root();
    root.run("CREATE TABLE shop.killed_a (a INT PRIMARY KEY)");
    let read = "SELECT COUNT(*) FROM killed_a";
    let (waits, waits_not) = match product().is_mysql() {
        true => (
            &["SET GLOBAL binlog_group_commit_sync_delay = 1000000"][..],
            "SET GLOBAL binlog_group_commit_sync_delay = 0",
        ),
        false => (
            &[
                "SET GLOBAL binlog_commit_wait_usec = 1000000",
                "SET GLOBAL binlog_commit_wait_count = 50",
            ][..],
            "SET GLOBAL binlog_commit_wait_count = 0",
        ),
    };
    let proxies = ["", "[pool]\nabandoned = \"kill\""].map(|more| Proxy::with(pair(), 15, more));
    for (number, way) in ["at the server", "through Fairlane", "abandoned"].iter().enumerate() {
        let proxy = &proxies[usize::from(*way == "abandoned")];
        let (mut writer, mut reader, mut killer) = (proxy.app(), proxy.app(), proxy.app());
        let id = writer.text("SELECT CONNECTION_ID()");
        let mut replica = cut_off(proxy, &mut reader, read);
        waits.iter().for_each(|set| drop(root.run(set)));
        let insert = format!("INSERT INTO killed_a VALUES ({number})");
        writer.send(Command::Query, insert.as_bytes());
        let all = (number + 1).to_string();
        let mut is_committed = || root.text("SELECT COUNT(*) FROM shop.killed_a") == all;
        let mut looker = pair().root();
        eventually("it is about to commit", || {
            // Whoever asks more often is told the same again.
            pause(120);
            let transactions = "information_schema.INNODB_TRX WHERE trx_rows_modified = 1";
            let mine = format!("trx_query = '{insert}'");
            let found = looker.text(&format!("SELECT COUNT(*) FROM {transactions} AND {mine}"));
            // On a slow machine it may be over.
            found == "1" || is_committed()
        });
        match *way {
            "at the server" => {
                for id in statement(&mut looker, &insert) {
                    let _ = looker.query(&format!("KILL {}", id[0].as_ref().unwrap()));
                }
                let _ = writer.answer(Shape::Results);
            }
            "abandoned" => writer.hang_up(),
            _ => {
                killer.run(&format!("KILL {id}"));
                let _ = writer.answer(Shape::Results);
            }
        }
        reader.run(read);
        eventually("it is committed", is_committed);
        for wait in [0, 50, 50] {
            pause(wait);
            assert_eq!(reader.text(read), all, "{way}, after {wait} ms");
        }
        root.run(waits_not);
        replica.run("UNLOCK TABLES");
        proxy.until_replica_answers(&mut reader, read);
    }
}

/// With `binlog_format = STATEMENT` MariaDB logs such rows with the transaction.
#[test]
fn what_no_transaction_holds_back_is_seen_by_others_before_it_is_logged() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    root.run("CREATE TABLE shop.logged_late (a INT) ENGINE = MyISAM");
    root.run("CREATE TABLE shop.logged_late_t (a INT) ENGINE = InnoDB");
    let read = "SELECT COUNT(*) FROM shop.logged_late";
    let (user, password) = ("root", "root-secret");
    for end in ["COMMIT", "ROLLBACK"] {
        let log_in = || Raw::connect(proxy.port, user, password, Some("shop")).unwrap();
        let (mut client, mut other) = (log_in(), log_in());
        pair().wait_replicated();
        client.run("SET binlog_format = 'STATEMENT'");
        proxy.until_replica_answers(&mut other, read);
        client.run("BEGIN");
        client.run("INSERT INTO logged_late_t VALUES (1)");
        client.run("INSERT INTO logged_late VALUES (1)");
        let there = root.text(read);
        for _ in 0..5 {
            assert_eq!(other.text(read), there, "before {end}");
            pause(100);
        }
        client.run(end);
        proxy.until_replica_answers(&mut other, read);
        assert_eq!(other.text(read), there, "after {end}");
    }
}

/// An error does not tell of such rows, nor may a procedure that has committed before.
#[test]
fn what_no_transaction_holds_back_is_seen_by_others_where_it_is_not_told() {
    if product().is_mysql() {
        return;
    }
    let extra = vec!["binlog-format=STATEMENT".to_owned()];
    let options = Options { max_connections: 100, extra, ..product().options() };
    let (other_pair, _orders) = keep(options);
    for (servers, set) in [(&other_pair, "DO 0"), (pair(), "SET binlog_format = 'STATEMENT'")] {
        let proxy = Proxy::start(servers);
        let mut root = servers.root();
        let (row, late) = ("INSERT INTO shop.untold_t VALUES (1)", "INSERT INTO shop.untold");
        let writes = format!("{row}; {late} VALUES (NULL)");
        let fails = "SIGNAL SQLSTATE '45000'";
        for sql in [
            "CREATE TABLE shop.untold (a INT PRIMARY KEY AUTO_INCREMENT) ENGINE = MyISAM",
            "CREATE TABLE shop.untold_t (a INT) ENGINE = InnoDB",
            &format!("{late} VALUES (1)"),
            &format!("CREATE PROCEDURE shop.untold_p() BEGIN {writes}; {fails}; END"),
            &format!(
                "CREATE PROCEDURE shop.untold_begins() \
                 BEGIN START TRANSACTION; {writes}; {fails}; END"
            ),
            &format!(
                "CREATE PROCEDURE shop.untold_commits() \
                 BEGIN {row}; COMMIT; START TRANSACTION; {writes}; END"
            ),
        ] {
            root.run(sql);
        }
        let read = "SELECT COUNT(*) FROM shop.untold";
        let duplicate = format!("{late} VALUES (NULL), (1)");
        let log_in = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
        let mut other = log_in();
        for statements in [
            &["BEGIN", row, &duplicate][..],
            &["BEGIN", "CALL untold_p()"],
            &["BEGIN", "CALL untold_p()", row],
            &["CALL untold_begins()"],
            &["SET autocommit = 0", row, &duplicate],
            &["CALL untold_commits()"],
        ] {
            servers.wait_replicated();
            proxy.until_replica_answers(&mut other, read);
            let (mut client, before) = (log_in(), root.text(read));
            client.run(set);
            statements.iter().for_each(|sql| drop(client.query(sql)));
            let there = root.text(read);
            assert_ne!(there, before, "{statements:?}");
            for _ in 0..5 {
                assert_eq!(other.text(read), there, "{statements:?}");
                pause(50);
            }
            client.run("ROLLBACK");
            proxy.until_replica_answers(&mut other, read);
            assert_eq!(other.text(read), there, "{statements:?}, after their end");
        }
        // Such an error is nothing to keep others from replicas where rows are logged, or nothing is open.
        for (set, begin) in [("SET binlog_format = 'ROW'", "BEGIN"), (set, "DO 0")] {
            let mut client = log_in();
            [set, begin, &duplicate].iter().for_each(|sql| drop(client.query(sql)));
            proxy.until_replica_answers(&mut other, read);
        }
    }
}

/// The server has yet to roll back when its client is gone.
#[test]
fn what_no_transaction_holds_back_is_seen_by_others_while_it_is_rolled_back() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    root.run("CREATE TABLE shop.rolled_back (a INT) ENGINE = MyISAM");
    root.run("CREATE TABLE shop.rolled_back_t (a INT PRIMARY KEY, b CHAR(99)) ENGINE = InnoDB");
    let read = "SELECT COUNT(*) FROM shop.rolled_back";
    let log_in = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let (mut client, mut other) = (log_in(), log_in());
    pair().wait_replicated();
    proxy.until_replica_answers(&mut other, read);
    for sql in [
        "SET binlog_format = 'STATEMENT'",
        "BEGIN",
        // It takes a while to undo.
        "INSERT INTO rolled_back_t SELECT seq, 'x' FROM seq_1_to_200000",
        "INSERT INTO rolled_back VALUES (1)",
    ] {
        client.run(sql);
    }
    let waits = "SELECT COUNT(*) FROM rolled_back_t a, rolled_back_t b WHERE a.b < b.b";
    client.send(Command::Query, waits.as_bytes());
    eventually("it runs", || !statement(&mut root, waits).is_empty());
    client.hang_up();
    eventually("its connection is killed", || statement(&mut root, waits).is_empty());
    let rows = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 1000";
    eventually("it is rolled back", || {
        for _ in 0..6 {
            assert_eq!(other.text(read), "1");
            pause(20);
        }
        // Whoever asks more often is told the same again.
        root.text(rows) == "0"
    });
    proxy.until_replica_answers(&mut other, read);
    assert_eq!(other.text(read), "1");
}

/// Behind rows that have no room for a position.
#[test]
fn what_no_transaction_holds_back_is_seen_by_others_while_one_is_open() {
    let proxy = Proxy::start(pair());
    let mut root = pair().root();
    root.run("CREATE TABLE shop.at_once (a INT) ENGINE = MyISAM");
    root.run(
        "CREATE FUNCTION shop.at_once_f() RETURNS INT DETERMINISTIC \
         BEGIN INSERT INTO shop.at_once VALUES (1); RETURN 1; END",
    );
    let count = "SELECT COUNT(*) FROM at_once";
    let mut cases = vec![("SELECT at_once_f()", count)];
    if !product().is_mysql() {
        root.run("CREATE SEQUENCE shop.at_once_s NOCACHE");
        cases.push(("INSERT INTO at_once VALUES (1) RETURNING a", count));
        cases.push(("SELECT NEXTVAL(at_once_s)", "SELECT next_not_cached_value FROM at_once_s"));
    }
    for (writes, read) in cases {
        let mut other = proxy.app();
        let mut replica = cut_off(&proxy, &mut other, read);
        let mut client = log_in(&proxy, Capabilities::empty(), Capabilities::DEPRECATE_EOF);
        let before = other.text(read);
        client.run("BEGIN");
        client.run(writes);
        assert_ne!(other.text(read), before, "{writes}");
        replica.run("UNLOCK TABLES");
        client.run("COMMIT");
        proxy.until_replica_answers(&mut other, read);
    }
}
