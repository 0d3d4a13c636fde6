//! What a statement leaves on its connection, or seems to: triggers that fail, locks that were not
//! granted, changes of global variables.

use std::time::SystemTime;

use fairlane::protocol::auth::NATIVE;
use fairlane::protocol::{Capabilities, Command};

use crate::support::hop::Hop;
use crate::support::raw::{Login, reply};
use crate::support::servers::keep;
use crate::support::{ONE_LANE, Proxy, Raw, Twin, eventually, product, servers};

fn root() -> Raw {
    Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap()
}

/// One slot for everybody.
fn crowded() -> Proxy {
    Proxy::with(servers(), 2, ONE_LANE)
}

#[test]
fn a_variable_set_by_a_trigger_of_what_fails_is_nobodys() {
    let mut root = root();
    for sql in [
        "DROP TABLE IF EXISTS lo_fails",
        "CREATE TABLE lo_fails (id INT PRIMARY KEY)",
        "INSERT INTO lo_fails VALUES (1)",
        "CREATE TRIGGER lo_fails_trigger BEFORE INSERT ON lo_fails FOR EACH ROW \
         SET SESSION group_concat_max_len = 4",
    ] {
        root.run(sql);
    }
    let proxy = crowded();
    let read = "SELECT @@group_concat_max_len";
    let prepared = |client: &mut Raw| {
        let answer = client.command(Command::StmtPrepare, read.as_bytes()).unwrap();
        answer.summary.prepared.unwrap().0.to_le_bytes()
    };
    let value = |client: &mut Raw, id: &[u8]| {
        let body = [id, &[0, 1, 0, 0, 0]].concat();
        client.command(Command::StmtExecute, &body).unwrap().packets()[2].clone()
    };
    for more in [Capabilities::DEPRECATE_EOF, Capabilities::MULTI_RESULTS] {
        let login =
            Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
        let [mut a, mut b, mut c] = [(); 3].map(|()| Raw::login(&login).unwrap());
        let usual = b.text(read);
        let id = prepared(&mut c);
        let before = value(&mut c, &id);
        assert_eq!(a.query("INSERT INTO lo_fails VALUES (1)").unwrap_err().code(), 1062);
        assert_eq!(b.text(read), usual, "text");
        assert_eq!(a.query("INSERT INTO lo_fails VALUES (1)").unwrap_err().code(), 1062);
        assert_eq!(value(&mut c, &id), before, "prepared");
        assert_eq!(a.query("INSERT INTO lo_fails VALUES (1)").unwrap_err().code(), 1062);
        b.run("SET div_precision_increment = 7");
        assert_eq!(b.text(read), usual, "with variables of its own");
        // Else it is told, and binds the session.
        if !product().is_mysql() && !more.contains(Capabilities::DEPRECATE_EOF) {
            a.run("INSERT INTO lo_fails VALUES (2) RETURNING id");
            assert_eq!(c.text(read), usual, "rows of what it changed");
        }
    }
}

#[test]
fn a_lock_that_was_not_granted_binds_nobody() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let pinned = || proxy.metric("fairlane_sessions_pinned{reason=\"user_lock\"}");
    let (mut owner, mut other) = (proxy.app(), proxy.app());
    assert_eq!(owner.text("SELECT GET_LOCK('lo_job', 0)"), "1");
    for _ in 0..3 {
        assert_eq!(other.text("SELECT GET_LOCK('lo_job', 0)"), "0");
    }
    eventually("one is bound", || pinned() == 1.0);
    assert_eq!(owner.text("SELECT IS_USED_LOCK('lo_job') = CONNECTION_ID()"), "1");
    assert_eq!(other.text("SELECT IS_USED_LOCK('lo_job') = CONNECTION_ID()"), "0");
    assert_eq!(owner.text("SELECT RELEASE_LOCK('lo_job')"), "1");
    eventually("nobody is bound", || pinned() == 0.0);
    // One that is granted stays, whatever was refused before.
    assert_eq!(other.text("SELECT GET_LOCK('lo_job', 0)"), "1");
    eventually("one is bound", || pinned() == 1.0);
    assert_eq!(owner.text("SELECT GET_LOCK('lo_job', 0)"), "0");
    assert_eq!(other.text("SELECT RELEASE_LOCK('lo_job')"), "1");
    eventually("nobody is bound", || pinned() == 0.0);
    // By a prepared statement, as drivers do it.
    let lock = |client: &mut Raw, sql: &str, more: &[u8], types: &[u8]| {
        let prepared = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
        let id = prepared.summary.prepared.unwrap().0.to_le_bytes();
        let name = [&[6][..], b"lo_job"].concat();
        let body = [&id[..], &[0, 1, 0, 0, 0, 0, 1], types, &name, more].concat();
        let answer = client.command(Command::StmtExecute, &body).unwrap();
        assert_eq!(answer.error(), None, "{sql}");
    };
    let seconds = 0_i64.to_le_bytes();
    for client in [&mut owner, &mut other] {
        lock(client, "SELECT GET_LOCK(?, ?)", &seconds, &[253, 0, 8, 0]);
    }
    eventually("only the first one is bound", || pinned() == 1.0);
    lock(&mut owner, "SELECT RELEASE_LOCK(?)", b"", &[253, 0]);
    eventually("nobody is bound", || pinned() == 0.0);
}

#[test]
fn a_session_keeps_its_mode_when_the_global_one_changes() {
    // Sessions of other tests would begin with it.
    let (servers, _orders) = keep(product().options());
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    let mut root = servers.root();
    let usual = root.text("SELECT @@global.sql_mode");
    let mut client = proxy.app();
    let escaped = r"SELECT 'it\'s'";
    assert_eq!(client.text(escaped), "it's");
    root.run("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'");
    // Its own connection is another's, so that it is given a new one.
    let mut other = proxy.app();
    other.run("BEGIN");
    other.run("SELECT 1");
    let now = [client.text("SELECT @@sql_mode"), client.text(escaped), client.text("SELECT \"a\"")];
    root.run(&format!("SET GLOBAL sql_mode = '{usual}'"));
    assert_eq!(now, [usual, "it's".to_owned(), "a".to_owned()]);
}

#[test]
fn a_routine_of_another_schema_that_fails_leaves_the_session_in_its_own() {
    let mut root = root();
    for sql in [
        "CREATE DATABASE IF NOT EXISTS lo_other",
        "GRANT ALL PRIVILEGES ON lo_other.* TO 'app'@'%'",
        "DROP PROCEDURE IF EXISTS lo_other.fails",
        "CREATE PROCEDURE lo_other.fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000'; END",
        "DROP TABLE IF EXISTS lo_other.lo_rows",
        "DROP TABLE IF EXISTS shop.lo_rows",
        "CREATE TABLE lo_other.lo_rows (id INT PRIMARY KEY)",
        "CREATE TABLE shop.lo_rows (id INT PRIMARY KEY)",
        "INSERT INTO lo_other.lo_rows VALUES (1)",
        "INSERT INTO shop.lo_rows VALUES (1)",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let more = Capabilities::DEPRECATE_EOF | Capabilities::MULTI_RESULTS;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let mut client = Raw::login(&login).unwrap();
    client.send(Command::Query, b"CALL lo_other.fails()");
    let answer = client.answer(fairlane::protocol::Shape::Results).unwrap();
    assert_eq!(answer.error().map(|error| error.code()), Some(1644));
    client.command(Command::ResetConnection, &[]).unwrap();
    assert_eq!(client.text("SELECT DATABASE()"), "shop");
    client.run("DELETE FROM lo_rows");
    assert_eq!(root.text("SELECT COUNT(*) FROM lo_other.lo_rows"), "1");
    assert_eq!(root.text("SELECT COUNT(*) FROM shop.lo_rows"), "0");
    root.run("DROP DATABASE lo_other");
}

/// A text of several statements tells of the routine's schema before its error, and not of its own after it.
#[test]
fn a_text_that_fails_in_a_routine_of_another_schema_leaves_the_session_in_its_own() {
    let mut root = root();
    for sql in [
        "CREATE DATABASE IF NOT EXISTS lo_texts",
        "GRANT ALL PRIVILEGES ON lo_texts.* TO 'app'@'%'",
        "DROP PROCEDURE IF EXISTS lo_texts.fails",
        "CREATE PROCEDURE lo_texts.fails() BEGIN SELECT 1; SET time_zone = '+03:00'; SIGNAL SQLSTATE '45000'; END",
        "DROP TABLE IF EXISTS lo_texts.lo_written, shop.lo_written",
        "CREATE TABLE lo_texts.lo_written (id INT AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE shop.lo_written (id INT AUTO_INCREMENT PRIMARY KEY)",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let texts = [
        "DO 1; CALL lo_texts.fails()",
        "CALL lo_texts.fails(); SELECT 1",
        "PREPARE s FROM 'CALL lo_texts.fails()'; EXECUTE s",
        "SET TRANSACTION READ WRITE; CALL lo_texts.fails()",
    ];
    let between = [
        "SHOW VARIABLES LIKE 'sql_mode'",
        "SET SESSION session_track_schema = 1",
        "SET @@sql_safe_updates = 0",
        "SELECT @@session_track_schema",
    ];
    let mut written = 0;
    for (text, sql) in texts.iter().flat_map(|text| between.map(|sql| (text, sql))) {
        let mut client = proxy.app();
        client.send(Command::Query, text.as_bytes());
        let answer = client.answer(fairlane::protocol::Shape::Results).unwrap();
        assert_eq!(answer.error().map(|error| error.code()), Some(1644), "{text}");
        client.run(sql);
        assert_eq!(client.text("SELECT @@time_zone"), "+03:00", "{text}, {sql}");
        client.run("INSERT INTO lo_written VALUES (NULL)");
        written += 1;
        let count = root.text("SELECT COUNT(*) FROM shop.lo_written");
        assert_eq!(count, written.to_string(), "{text}, {sql}");
        // Its variables and its schema are known, whatever connection it has next.
        client.command(Command::ResetConnection, &[]).unwrap();
        assert_eq!(client.text("SELECT DATABASE()"), "shop", "{text}, {sql}");
    }
    root.run("DROP DATABASE lo_texts");
}

#[test]
fn rows_that_go_into_a_file_are_found_whatever_stands_in_front() {
    let mut root = root();
    root.run("DROP TABLE IF EXISTS lo_found");
    root.run("CREATE TABLE lo_found (id INT PRIMARY KEY)");
    root.run("INSERT INTO lo_found VALUES (1), (2), (3)");
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut client = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let nanos = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    for front in ["", "/* c */ ", "-- x\n", "#c\n"] {
        client.run("SELECT id FROM lo_found");
        let file = format!("lo_found_{}", nanos());
        client.run(&format!("{front}SELECT id FROM lo_found WHERE id < 3 INTO OUTFILE '{file}'"));
        assert_eq!(client.text("SELECT FOUND_ROWS()"), "2", "{front}");
    }
}

#[test]
fn the_last_position_is_the_sessions_own() {
    if product().is_mysql() {
        return;
    }
    let proxy = crowded();
    let (mut a, mut b) = (proxy.app(), proxy.app());
    a.run("CREATE OR REPLACE TABLE lo_gtid (id INT PRIMARY KEY)");
    assert_eq!(b.text("SELECT @@last_gtid"), "");
    a.run("INSERT INTO lo_gtid VALUES (1)");
    let own = a.text("SELECT @@last_gtid");
    b.run("INSERT INTO lo_gtid VALUES (2)");
    let others = b.text("SELECT @@session.last_gtid");
    assert_ne!(own, others);
    assert_eq!(a.text("SELECT @@last_gtid"), own);
    assert_eq!(a.text("SELECT @@last_gtid; SELECT 1"), own);
    assert_eq!(b.text("SELECT CONCAT(@@last_gtid, '!')"), format!("{others}!"));
    assert_eq!(a.text("SELECT MASTER_GTID_WAIT(@@last_gtid, 1)"), "-1", "asked, and too late here");
}

/// To a client without CLIENT_DEPRECATE_EOF nothing is told of it behind rows.
#[test]
fn the_last_position_is_that_of_a_write_with_rows() {
    if product().is_mysql() {
        return;
    }
    let proxy = crowded();
    let more = Capabilities::MULTI_RESULTS;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let [mut a, mut b] = [(); 2].map(|()| Raw::login(&login).unwrap());
    a.run("CREATE OR REPLACE TABLE lo_rows_gtid (id INT PRIMARY KEY)");
    let number = |client: &mut Raw| -> u64 {
        let told = client.text("SELECT @@last_gtid");
        told.rsplit('-').next().unwrap().parse().unwrap()
    };
    a.run("INSERT INTO lo_rows_gtid VALUES (1)");
    let mut last = number(&mut a);
    for (id, others) in [(2, false), (3, true)] {
        a.run(&format!("INSERT INTO lo_rows_gtid VALUES ({id}) RETURNING id"));
        if others {
            b.run("DO 1");
        }
        let now = number(&mut a);
        assert!(now > last, "{now} after {last}, with others in between: {others}");
        last = now;
    }
    // On a connection that it holds, and once it does so no longer.
    a.run("PREPARE held FROM 'SELECT 1'");
    a.run("INSERT INTO lo_rows_gtid VALUES (4) RETURNING id");
    let held = number(&mut a);
    assert!(held > last, "{held} after {last}, held");
    a.run("DEALLOCATE PREPARE held");
    b.run("DO 1");
    assert_eq!(number(&mut a), held);
}

#[test]
fn texts_that_a_server_keeps_by_a_function_are_shown_to_no_other() {
    let mut root = servers().root();
    root.run("USE shop");
    root.run("DROP FUNCTION IF EXISTS lo_keeps");
    let (set, show) = match product().is_mysql() {
        true => (
            "SET optimizer_trace = 'enabled=on'",
            "SELECT query FROM information_schema.optimizer_trace",
        ),
        false => ("SET profiling = 1", "SHOW PROFILES"),
    };
    root.run(&format!(
        "CREATE FUNCTION lo_keeps() RETURNS INT DETERMINISTIC NO SQL BEGIN {set}; RETURN 1; END"
    ));
    let proxy = crowded();
    // Older clients are told nothing beside rows: the connection is asked.
    for more in [Capabilities::MULTI_RESULTS, Capabilities::DEPRECATE_EOF] {
        let login =
            Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
        let mut one = Raw::login(&login).unwrap();
        one.run("SELECT lo_keeps()");
        one.run("SELECT 'lo_own' FROM (SELECT 1) t");
        drop(one);
        let mut two = proxy.app();
        two.run("BEGIN");
        two.run("SELECT 1 FROM (SELECT 1) t FOR UPDATE");
        let shown = two.rows(show);
        let has_own = shown.iter().flatten().flatten().any(|text| text.contains("lo_own"));
        assert!(!has_own, "{more:?}: another session is shown them");
    }
}

/// A reset leaves them with the server.
#[test]
fn texts_that_a_server_keeps_for_a_session_are_shown_to_no_other() {
    let proxy = crowded();
    let kept = [
        ("SET @@profiling = 1", "SHOW PROFILES"),
        ("SET SESSION profiling = 1", "SHOW PROFILES"),
        (
            "SET SESSION optimizer_trace = 'enabled=on'",
            "SELECT query FROM information_schema.optimizer_trace",
        ),
    ];
    for (set, show) in kept {
        let mut one = proxy.app();
        one.run(set);
        one.run("SELECT 'lo_own' FROM (SELECT 1) t");
        let has_own = |client: &mut Raw| {
            let shown = client.rows(show);
            shown.iter().flatten().flatten().any(|text| text.contains("lo_own"))
        };
        assert!(has_own(&mut one), "{set}");
        drop(one);
        let mut two = proxy.app();
        two.run("BEGIN");
        two.run("SELECT 1 FROM (SELECT 1) t FOR UPDATE");
        assert!(!has_own(&mut two), "{set}: another session is shown them");
    }
}

#[test]
fn no_question_of_fairlanes_own_is_cut_by_a_limit() {
    let proxy = crowded();
    let (mut a, mut b) = (proxy.app(), proxy.app());
    a.run("SET sql_select_limit = 0");
    a.run("SET NAMES utf8mb4 COLLATE utf8mb4_bin");
    a.run("SET sql_select_limit = DEFAULT");
    b.run("SELECT 1");
    assert_eq!(a.text("SELECT COLLATION('a')"), "utf8mb4_bin");
    assert_ne!(b.text("SELECT COLLATION('a')"), "utf8mb4_bin");
}

#[test]
fn what_can_not_be_read_stays_with_its_connection() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    // In swe7 a bracket may be a letter.
    let mut client = in_collation(&proxy, 10);
    client.run("SELECT GET_LOCK('lo_read', 0)");
    let pinned = || proxy.metric("fairlane_sessions_pinned{reason=\"state_changed\"}");
    eventually("it is bound", || pinned() == 1.0);
    let mut other = proxy.app();
    other.run("BEGIN");
    other.run("SELECT 1");
    assert_eq!(client.text("SELECT RELEASE_LOCK('lo_read')"), "1");
    // What the server can't read either has done nothing.
    let mut third = proxy.app();
    assert_eq!(third.query("SELECT 'open").unwrap_err().code(), 1064);
    drop(client);
    eventually("nobody is bound", || pinned() == 0.0);
}

/// A client that has logged in with the collation of this number.
fn in_collation(proxy: &Proxy, collation: u8) -> Raw {
    let login =
        Login { schema: Some("shop"), collation, ..Login::new(proxy.port, "app", "app-secret") };
    Raw::login(&login).unwrap()
}

/// In Latin-1 the byte A0 is a blank for the server, and in utf8mb4 a part of a name.
#[test]
fn the_first_text_is_read_in_the_character_set_of_the_login() {
    let proxy = crowded();
    let run = |client: &mut Raw, sql: &[u8]| {
        let answer = client.command(Command::Query, sql).unwrap();
        assert_eq!(answer.error(), None, "{}", String::from_utf8_lossy(sql));
    };
    let mut root = root();
    for collation in [8, 47] {
        let mut client = in_collation(&proxy, collation);
        run(&mut client, b"SELECT 5 INTO\xa0@lo_blank");
        drop(client);
        let mut client = in_collation(&proxy, collation);
        assert_eq!(client.text("SELECT @lo_blank"), "NULL");
        run(&mut client, b"SELECT 1,\xa0GET_LOCK('lo_blank', 0)");
        assert_eq!(root.text("SELECT IS_FREE_LOCK('lo_blank')"), "0");
        drop(client);
        eventually("it is free", || root.text("SELECT IS_FREE_LOCK('lo_blank')") == "1");
    }
    let reads = || proxy.sum("fairlane_statements_routed_total{reason=\"plain_read\"");
    let before = reads();
    let outfile = b"SELECT 1 INTO\xa0OUTFILE '/no/such/folder/at/all'";
    let refused = in_collation(&proxy, 8).command(Command::Query, outfile).unwrap();
    assert!(refused.error().is_some());
    assert_eq!(reads(), before, "a file is the primary's");
}

/// A question of Fairlane's own may meet a KILL QUERY, and tells nothing of the transaction then.
#[test]
fn a_transaction_is_rolled_back_whatever_was_asked_in_it() {
    let mut root = root();
    for sql in [
        "DROP TABLE IF EXISTS lo_asked",
        "CREATE TABLE lo_asked (id INT)",
        "DROP PROCEDURE IF EXISTS lo_asked",
        "CREATE PROCEDURE lo_asked() DO 1",
    ] {
        root.run(sql);
    }
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 2, ONE_LANE);
    let login = Login {
        schema: Some("shop"),
        more: Capabilities::MULTI_RESULTS,
        ..Login::new(proxy.port, "app", "app-secret")
    };
    let mut texts = vec!["CALL lo_asked()"];
    if !product().is_mysql() {
        texts.push("SET STATEMENT lock_wait_timeout = 7 FOR SELECT 1 FROM lo_asked");
    }
    let mut rows = 0;
    for sql in texts {
        for end in [Command::Quit, Command::ResetConnection, Command::ChangeUser] {
            let mut one = Raw::login(&login).unwrap();
            one.run("BEGIN");
            one.run("INSERT INTO lo_asked VALUES (1)");
            hop.spoil_answer_to(b"DO 0", |answer| {
                *answer = b"\x0a\0\0\x01\xff\x25\x05#70100.".to_vec();
            });
            one.run(sql);
            let nonce = one.greeting.nonce.clone();
            match end {
                Command::ChangeUser => {
                    let proof = reply(NATIVE, "app-secret", &nonce);
                    let length = u8::try_from(proof.len()).unwrap();
                    let tail = b"shop\0\x2d\0mysql_native_password\0\0";
                    let body = [b"app\0", &[length][..], &proof, tail].concat();
                    one.send(Command::ChangeUser, &body);
                    one.prove("app-secret").unwrap();
                }
                _ => one.send(end, b""),
            }
            let mut other = Raw::login(&login).unwrap();
            other.run("INSERT INTO lo_asked VALUES (2)");
            rows += 1;
            assert!(hop.has_spoilt(), "{sql}: nothing was asked");
            let seen = root.text("SELECT GROUP_CONCAT(id) FROM lo_asked");
            assert_eq!(seen, vec!["2"; rows].join(","), "{sql}, {end:?}");
            drop(one);
        }
    }
}

/// What is no answer to a question comes from a connection that can't be trusted with any other.
#[test]
fn a_connection_that_does_not_say_how_it_begins_is_not_used() {
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 3, ONE_LANE);
    hop.spoil_answer_to(b"CURRENT_ROLE()", |answer| {
        *answer = b"\x07\0\0\x01\0\0\0\x02\0\0\0".to_vec();
    });
    let told = proxy.try_app().and_then(|mut client| client.query("SELECT 1").map(drop));
    assert!(hop.has_spoilt(), "it was asked");
    assert!(told.is_err(), "{told:?}");
    assert_eq!(proxy.app().text("SELECT 5"), "5", "another one is");
}

/// They are set in front of the statement that asks for them, which has a count of its own.
#[test]
fn a_count_beside_own_trackers_is_that_of_the_statement_before() {
    root().run("CREATE TABLE IF NOT EXISTS lo_counted (a INT)");
    let proxy = crowded();
    let mut one = proxy.app();
    one.run("SET session_track_schema = 0");
    one.run("START TRANSACTION");
    one.run("INSERT INTO lo_counted VALUES (1), (2), (3)");
    let rows = one.rows("SELECT ROW_COUNT(), @@session_track_schema");
    assert_eq!(rows, [[Some("3".to_owned()), Some("0".to_owned())]]);
}

/// What is not created selects nothing, and a note tells so; a warning of the SELECT looks the same.
#[test]
fn a_table_that_is_created_counts_what_it_selects() {
    if product().is_mysql() {
        return;
    }
    root().replace("CREATE OR REPLACE TABLE lo_selected (a INT)");
    root().run("INSERT INTO lo_selected VALUES (1), (2), (3)");
    let proxy = crowded();
    let mut other = proxy.app();
    for holds in [false, true] {
        let mut twin = Twin::new(&proxy, usize::from(holds));
        twin.both("SET sql_mode = ''");
        if holds {
            twin.both("CREATE TEMPORARY TABLE lo_holds (a INT)");
        }
        for create in [
            "CREATE TABLE lo_new_X AS SELECT a FROM lo_selected WHERE a = 'zz' AND EXISTS (SELECT 1)",
            "CREATE TABLE IF NOT EXISTS lo_newer_X AS SELECT a FROM lo_selected WHERE a = 'zz'",
            // It is there.
            "CREATE TABLE IF NOT EXISTS lo_new_X AS SELECT a FROM lo_selected",
            "CREATE TABLE IF NOT EXISTS lo_new_X (a INT) ENGINE = none SELECT a FROM lo_selected",
        ] {
            twin.both("SELECT a FROM lo_selected");
            if !holds {
                other.run("SELECT a FROM lo_selected WHERE a < 3");
            }
            twin.both(create);
            twin.both("SELECT FOUND_ROWS(), ROW_COUNT()");
            twin.both("SHOW WARNINGS");
        }
    }
}

/// A reset leaves the connection in it.
#[test]
fn a_resource_group_is_its_sessions() {
    if !product().is_mysql() {
        return;
    }
    let mut direct = root();
    direct.run("CREATE RESOURCE GROUP lo_group TYPE = USER");
    let proxy = crowded();
    let connect = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let group = "SELECT COUNT(*) FROM performance_schema.threads WHERE RESOURCE_GROUP = 'lo_group'";
    for texts in [
        &["SET RESOURCE GROUP lo_group"][..],
        &["PREPARE s FROM 'SET RESOURCE GROUP lo_group'", "EXECUTE s"],
        &["SET @text = 'SET RESOURCE GROUP lo_group'", "PREPARE s FROM @text", "EXECUTE s"],
    ] {
        let mut one = connect();
        texts.iter().for_each(|sql| drop(one.run(sql)));
        assert_eq!(direct.text(group), "1");
        drop(one);
        connect().run("SELECT 1");
        eventually("nobody is in it", || direct.text(group) == "0");
    }
    direct.run("DROP RESOURCE GROUP lo_group FORCE");
}

/// With a list of a length of its own what Fairlane asks for must not raise warnings itself, as MySQL's FOUND_ROWS() does.
#[test]
fn errors_are_counted_where_the_list_has_a_length() {
    let proxy = crowded();
    let connect = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let (mut one, mut other) = (connect(), connect());
    one.run("SET max_error_count = 2");
    for (sql, errors) in [("SELECT * FROM lo_nowhere", "1"), ("SELECT CAST('x' AS SIGNED)", "0")] {
        for (asked, count) in [("SELECT @@warning_count", "1"), ("SELECT @@error_count", errors)] {
            let _ = one.query(sql);
            assert_eq!(other.text("SELECT 5"), "5");
            assert_eq!(one.text(asked), count, "{sql}; {asked}");
        }
    }
}

/// MariaDB has these names built in, and MySQL runs whatever is stored under them.
#[test]
fn names_of_mariadbs_functions_are_those_of_any_other_on_mysql() {
    if !product().is_mysql() {
        return;
    }
    let mut root = root();
    for sql in [
        "DROP FUNCTION IF EXISTS rownum",
        "DROP FUNCTION IF EXISTS nextval",
        "CREATE FUNCTION rownum() RETURNS INT DETERMINISTIC NO SQL BEGIN \
         SET @lo_rows = IFNULL(@lo_rows, 0) + 1; RETURN @lo_rows; END",
        "CREATE FUNCTION nextval(name TEXT) RETURNS INT DETERMINISTIC NO SQL RETURN 5",
    ] {
        root.run(sql);
    }
    let proxy = crowded();
    for more in [Capabilities::MULTI_RESULTS, Capabilities::DEPRECATE_EOF] {
        let login =
            Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
        let connect = || Raw::login(&login).unwrap();
        let mut one = connect();
        assert_eq!(one.text("SELECT nextval('o')"), "5");
        assert_eq!(connect().text("SELECT 1"), "1", "the only slot is free");
        assert_eq!(one.text("SELECT rownum()"), "1");
        drop(one);
        assert_eq!(connect().text("SELECT @lo_rows"), "NULL");
    }
    root.run("DROP FUNCTION rownum");
    root.run("DROP FUNCTION nextval");
}

/// Which MariaDB refuses as a bare number.
#[test]
fn a_text_of_digits_is_carried_as_a_text() {
    let (set, read) = match product().is_mysql() {
        true => ("SET external_table_secondary_storage_engine = '5'", "SELECT 1"),
        false => ("SET default_master_connection = '5'", "SELECT @@default_master_connection"),
    };
    let proxy = crowded();
    let connect = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let (mut one, mut other) = (connect(), connect());
    let (before, _) = (one.text(read), one.run(set));
    assert_eq!(other.text(read), before);
    let expected = if product().is_mysql() { "1" } else { "5" };
    assert_eq!(one.text(read), expected);
    assert_eq!(other.text(read), before);
}

/// An answer that nobody has read to its end may have told of another schema; an error tells none.
#[test]
fn a_schema_that_a_vanished_client_has_chosen_is_nobodys() {
    let mut root = root();
    let proxy = crowded();
    let is_sleeping = "SELECT COUNT(*) FROM information_schema.processlist \
                       WHERE info LIKE '%SLEEP(0.7)%' AND id <> CONNECTION_ID()";
    for (schema, more) in
        [(None, ""), (Some("shop"), ""), (Some("shop"), "; SELECT * FROM lo_nowhere")]
    {
        for sql in [
            "DROP DATABASE IF EXISTS test_vanished",
            "CREATE DATABASE test_vanished",
            "CREATE TABLE test_vanished.lo_chosen (id INT)",
            "DROP TABLE IF EXISTS lo_chosen",
            "CREATE TABLE lo_chosen (id INT)",
        ] {
            root.run(sql);
        }
        let connect = || Raw::connect(proxy.port, "app", "app-secret", schema).unwrap();
        let mut gone = connect();
        gone.send(Command::Query, format!("USE test_vanished; DO SLEEP(0.7){more}").as_bytes());
        eventually("it runs", || root.text(is_sleeping) == "1");
        gone.hang_up();
        eventually("it has ended, the slot is free", || {
            root.text(is_sleeping) == "0" && proxy.sum("fairlane_lane_slots_in_use{") == 0.0
        });
        let mut next = connect();
        next.command(Command::ResetConnection, b"").unwrap();
        let insert = next.query("INSERT INTO lo_chosen VALUES (1)");
        assert_eq!(insert.err().map_or(0, |error| error.code()), schema.map_or(1046, |_| 0));
        assert_eq!(root.text("SELECT COUNT(*) FROM test_vanished.lo_chosen"), "0", "{schema:?}");
        drop(next);
        eventually("the slot is free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    }
    // One that is gone is none.
    let mut gone = Raw::connect(proxy.port, "root", "root-secret", Some("test_vanished")).unwrap();
    gone.send(Command::Query, b"DROP DATABASE test_vanished; DO SLEEP(0.7)");
    eventually("it runs", || root.text(is_sleeping) == "1");
    gone.hang_up();
    eventually("it has ended", || root.text(is_sleeping) == "0");
    root.run("CREATE DATABASE test_vanished");
    let schema = Some("test_vanished");
    let mut next = Raw::connect(proxy.port, "root", "root-secret", schema).unwrap();
    assert_eq!(next.text("SELECT DATABASE()"), "test_vanished");
    next.command(Command::ResetConnection, b"").unwrap();
    next.run("CREATE TABLE lo_chosen (id INT)");
    root.run("DROP DATABASE test_vanished");
}
