//! Changes of rows that are sent together with what makes their connection ready: whatever happens to
//! that, they run in the state of their own session or not at all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fairlane::protocol::Command;

use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, pause, product, servers};

const ROUNDS: usize = 300;

fn replace(client: &mut Raw, table: &str) {
    for sql in product().replacing(table) {
        client.run(&sql);
    }
}

/// Hits the statements of the user's backend connections until it is told to stop.
fn kill_statements(user: &str, is_over: &AtomicBool, hits: &AtomicU64) {
    let mut root = servers().root();
    let list = format!("SELECT id FROM information_schema.processlist WHERE user = '{user}'");
    while !is_over.load(Ordering::Acquire) {
        for id in root.rows(&list).into_iter().flatten().flatten() {
            for _ in 0..20 {
                pause(1);
                let hit = root.query(&format!("KILL QUERY {id}"));
                hits.fetch_add(u64::from(hit.is_ok()), Ordering::AcqRel);
            }
        }
    }
}

/// A session with its own time zone and schema.
struct Writer<'a> {
    proxy: &'a Proxy,
    state: &'a [&'a str],
    prepared: &'a str,
    session: Option<(Raw, u32)>,
}

impl Writer<'_> {
    /// What is hit is not done, and a command of Fairlane's own that is hit ends the session.
    fn write(&mut self, sql: Option<&str>) {
        let (client, id) = self.session.get_or_insert_with(|| {
            loop {
                let login = Login::new(self.proxy.port, "al_hit", "x-secret");
                let login = Login { schema: Some("shop"), ..login };
                let Ok(mut client) = Raw::login(&login) else { continue };
                let is_set = self.state.iter().all(|sql| client.query(sql).is_ok());
                if is_set && let Some(id) = prepare(&mut client, self.prepared) {
                    return (client, id);
                }
            }
        });
        let written = match sql {
            Some(sql) => client.query(sql),
            None => {
                let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
                client.command(Command::StmtExecute, &body)
            }
        };
        match written.and_then(|answer| answer.error().map_or(Ok(()), Err)) {
            Err(failed) if failed.code() == 1158 => self.session = None,
            Err(failed) => assert_eq!(failed.code(), 1317, "{sql:?}: {failed:?}"),
            Ok(()) => {}
        }
    }
}

fn prepare(client: &mut Raw, sql: &str) -> Option<u32> {
    Some(client.command(Command::StmtPrepare, sql.as_bytes()).ok()?.summary.prepared?.0)
}

#[test]
fn a_change_behind_a_fuse_runs_in_its_own_state_or_not_at_all() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut root = servers().root();
    replace(&mut root, "CREATE OR REPLACE TABLE shop.al_a (who INT, at DATETIME)");
    replace(&mut root, "CREATE OR REPLACE TABLE shop.al_m (who INT, at DATETIME) ENGINE=MyISAM");
    root.run("CREATE DATABASE IF NOT EXISTS al_other");
    root.run("CREATE USER IF NOT EXISTS al_hit@'%' IDENTIFIED BY 'x-secret'");
    root.run("GRANT ALL ON al_other.* TO al_hit@'%'");
    root.run("GRANT ALL ON shop.* TO al_hit@'%'");
    let writer = |state, prepared| Writer { proxy: &proxy, state, prepared, session: None };
    let mut one =
        writer(&["SET time_zone = '+01:00'"], "INSERT INTO al_a VALUES (1, FROM_UNIXTIME(86400))");
    let mut other = writer(
        &["SET time_zone = '+02:00', sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'", "USE al_other"],
        "INSERT INTO shop.al_a VALUES (2, FROM_UNIXTIME(86400))",
    );
    let (is_over, hits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| kill_statements("al_hit", &is_over, &hits));
        for _ in 0..ROUNDS {
            one.write(Some("INSERT INTO al_a VALUES (1, FROM_UNIXTIME(86400))"));
            other.write(Some("INSERT INTO shop.al_a VALUES (2, FROM_UNIXTIME(86400))"));
            one.write(Some("INSERT INTO al_m VALUES (1, FROM_UNIXTIME(86400))"));
            other.write(Some("INSERT INTO shop.al_m VALUES (2, FROM_UNIXTIME(86400))"));
            one.write(None);
            other.write(None);
        }
        drop(over);
    });
    assert!(hits.into_inner() > 100, "nothing was killed");
    for table in ["al_a", "al_m"] {
        let sql =
            format!("SELECT who, HOUR(at), COUNT(*) FROM shop.{table} GROUP BY 1, 2 ORDER BY 1, 2");
        let rows = root.rows(&sql);
        let seen: Vec<_> = rows.iter().map(|row| (row[0].as_deref(), row[1].as_deref())).collect();
        assert_eq!(seen, [(Some("1"), Some("1")), (Some("2"), Some("2"))], "{table}: {rows:?}");
    }
}

/// Ends the hits also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A session whose transactions begin with a query.
struct Reader<'a> {
    proxy: &'a Proxy,
    zone: &'a str,
    hour: u8,
    session: Option<Raw>,
}

impl Reader<'_> {
    /// Where a statement is hit, the next one goes on in its transaction, or begins it.
    fn transaction(&mut self, locks: &str) {
        let Some(mut client) = self.session.take().or_else(|| self.log_in()) else { return };
        let query = format!("SELECT HOUR(FROM_UNIXTIME(86400)), v FROM al_d WHERE id = 1 {locks}");
        for sql in ["BEGIN", &query, "UPDATE al_d SET v = v + 1 WHERE id = 1"] {
            match client.query(sql) {
                Ok(answer) if sql == query => {
                    let row = [1, b'0' + self.hour, 1, b'0'];
                    let is_right = answer.bytes.windows(row.len()).any(|bytes| bytes == row);
                    assert!(is_right, "{sql}: {:?}", answer.bytes);
                }
                Ok(_) => {}
                Err(failed) if failed.code() == 1158 => return,
                Err(failed) => assert_eq!(failed.code(), 1317, "{sql}: {failed:?}"),
            }
        }
        while let Err(failed) = client.query("ROLLBACK") {
            if failed.code() == 1158 {
                return;
            }
            assert_eq!(failed.code(), 1317, "{failed:?}");
        }
        self.session = Some(client);
    }

    fn log_in(&self) -> Option<Raw> {
        let login = Login::new(self.proxy.port, "al_begin", "x-secret");
        let mut client = Raw::login(&Login { schema: Some("shop"), ..login }).ok()?;
        client.query(&format!("SET time_zone = '{}'", self.zone)).ok()?;
        Some(client)
    }
}

#[test]
fn a_transaction_that_begins_with_a_query_begins_or_not_at_all() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut root = servers().root();
    replace(
        &mut root,
        "CREATE OR REPLACE TABLE shop.al_d (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
    );
    root.run("INSERT INTO shop.al_d VALUES (1, 0)");
    root.run("CREATE USER IF NOT EXISTS al_begin@'%' IDENTIFIED BY 'x-secret'");
    root.run("GRANT ALL ON shop.* TO al_begin@'%'");
    let reader = |zone, hour| Reader { proxy: &proxy, zone, hour, session: None };
    let (mut one, mut other) = (reader("+01:00", 1), reader("+02:00", 2));
    let (is_over, hits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| kill_statements("al_begin", &is_over, &hits));
        for round in 0..ROUNDS {
            let locks = if round % 2 == 0 { "" } else { "FOR UPDATE" };
            one.transaction(locks);
            other.transaction(locks);
        }
        drop(over);
    });
    assert!(hits.into_inner() > 100, "nothing was killed");
    assert_eq!(root.text("SELECT v FROM shop.al_d"), "0", "outside of a transaction");
    let open = "SELECT COUNT(*) FROM information_schema.innodb_trx t \
        JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
        WHERE p.user = 'al_begin'";
    drop((one, other));
    eventually("no transaction of nobody's", || root.text(open) == "0");
}

#[test]
fn a_schema_that_is_gone_stops_a_change_and_spoils_nothing() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    replace(
        &mut one,
        "CREATE OR REPLACE TABLE al_b (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME)",
    );
    let mut root = servers().root();
    root.run("CREATE DATABASE IF NOT EXISTS al_gone");
    root.run("GRANT ALL ON al_gone.* TO app@'%'");
    one.run("USE al_gone");
    one.run("SET time_zone = '+01:00'");
    one.run("INSERT INTO shop.al_b (at) VALUES (FROM_UNIXTIME(86400)), (FROM_UNIXTIME(86400))");
    other.run("SET time_zone = '+02:00'");
    root.run("DROP DATABASE al_gone");
    pause(50);
    for _ in 0..3 {
        let failed =
            one.query("INSERT INTO shop.al_b (at) VALUES (FROM_UNIXTIME(86400))").unwrap_err();
        assert_eq!(failed.code(), 1049, "{failed:?}");
        other.run("INSERT INTO al_b (at) VALUES (FROM_UNIXTIME(86400))");
    }
    // A cursor's answer ends otherwise.
    let id = prepare(&mut other, "SELECT id FROM shop.al_b FOR UPDATE").unwrap();
    root.run("CREATE DATABASE al_gone");
    other.run("USE al_gone");
    one.run("USE shop");
    one.run("SELECT 1");
    root.run("DROP DATABASE al_gone");
    let body = [&id.to_le_bytes()[..], &[1, 1, 0, 0, 0]].concat();
    let failed = other.command(Command::StmtExecute, &body).unwrap().error().unwrap();
    assert_eq!(failed.code(), 1049, "{failed:?}");
    let rows = root.rows("SELECT HOUR(at), COUNT(*) FROM shop.al_b GROUP BY 1 ORDER BY 1");
    let expected = [("1", "2"), ("2", "3")];
    let seen: Vec<_> =
        rows.iter().map(|row| (row[0].as_deref().unwrap(), row[1].as_deref().unwrap())).collect();
    assert_eq!(seen, expected);
}

/// What is sent in front of a statement is not all or nothing.
#[test]
fn a_schema_that_is_gone_leaves_nothing_of_its_session_on_a_connection() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut root, mut one) = (servers().root(), proxy.app());
    replace(&mut one, "CREATE OR REPLACE TABLE al_c (id INT PRIMARY KEY)");
    root.run("DROP PROCEDURE IF EXISTS shop.al_nothing");
    root.run("CREATE PROCEDURE shop.al_nothing() DO 0");
    root.run("GRANT ALL ON al_left.* TO app@'%'");
    let statements = [
        "SELECT 1",
        "SELECT id FROM shop.al_c FOR UPDATE",
        "UPDATE shop.al_c SET id = id + 1",
        "CALL shop.al_nothing()",
    ];
    for sql in statements.map(Some).into_iter().chain([None]) {
        root.run("CREATE DATABASE IF NOT EXISTS al_left");
        one.run("USE al_left");
        one.run("SET @al_secret = 'of one'");
        let id = prepare(&mut one, "SELECT 7 FROM shop.al_c FOR UPDATE").unwrap();
        let mut other = proxy.app();
        assert_eq!(other.text("SELECT @al_secret"), "NULL");
        // Its copy goes with the connection that is reset.
        root.run("DROP DATABASE al_left");
        match sql {
            Some(sql) => assert_eq!(one.query(sql).unwrap_err().code(), 1049, "{sql}"),
            // What names its schemas is prepared where the session is now.
            None => {
                one.run("USE shop");
                other.run("SELECT 1");
                let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
                let answer = one.command(Command::StmtExecute, &body).unwrap();
                assert_eq!(answer.error(), None);
            }
        }
        assert_eq!(other.text("SELECT @al_secret"), "NULL", "{sql:?}");
        one.run("USE shop");
        assert_eq!(one.text("SELECT @al_secret"), "of one", "{sql:?}");
    }
}
