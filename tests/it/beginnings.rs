//! What a session begins with: global variables, privileges and the defaults of its schema as they
//! are now, also on a connection that was opened before they changed.

use std::time::Instant;

use fairlane::protocol::{Command, Shape};
use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{
    ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, pause, product, servers,
};

const TIMEOUT: &str = "SELECT @@net_write_timeout";
const COLLATION: &str = "SELECT @@collation_database";

/// root through Fairlane.
fn root(proxy: &Proxy) -> Raw {
    Raw::connect(proxy.port, "root", "root-secret", None).unwrap()
}

/// As old programs with ODBC want it.
#[test]
fn the_row_inserted_last_is_found_where_that_is_on_globally() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "CREATE TABLE shop.be_null (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
        "SET GLOBAL sql_auto_is_null = 1",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let (mut one, mut other) = (proxy.app(), proxy.app());
    for client in [&mut one, &mut other] {
        client.run("INSERT INTO be_null (a) VALUES (5)");
    }
    let found = "SELECT GROUP_CONCAT(a) FROM be_null WHERE id IS NULL";
    assert_eq!(one.text(found), "5");
    let mut third = proxy.app();
    third.run("SET sql_auto_is_null = 0");
    third.run("INSERT INTO be_null (a) VALUES (6)");
    assert_eq!(third.text(found), "NULL");
    eventually("it is not bound", || proxy.sum("fairlane_sessions_pinned{") == 2.0);
}

/// The server takes none from a login there: the second byte of `BF 5C` is no backslash in gbk.
#[test]
fn texts_are_read_in_the_character_set_that_the_server_imposes() {
    if product().is_mysql() {
        return;
    }
    let extra = ["character-set-client-handshake=OFF", "character-set-server=gbk"];
    let extra = extra.map(str::to_owned).to_vec();
    let (servers, _orders) = keep(Options { max_connections: 50, extra, ..product().options() });
    servers.root().run("CREATE TABLE shop.be_gbk (a VARCHAR(9))");
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut client = proxy.app();
    for _ in 0..2 {
        let insert = b"INSERT INTO be_gbk VALUES ('\xbf\x5c')";
        let answer = client.command(Command::Query, insert).unwrap();
        assert_eq!(answer.error(), None);
        assert_eq!(proxy.sum("fairlane_sessions_pinned{"), 0.0);
    }
    assert_eq!(client.text("SELECT MAX(HEX(a)) FROM be_gbk"), "BF5C");
}

#[test]
fn sessions_begin_with_the_global_variables_there_are() {
    let proxy = Proxy::with(servers(), 4, "");
    let (mut before, mut root) = (proxy.app(), root(&proxy));
    let old = before.text(TIMEOUT);
    root.run("SET GLOBAL net_write_timeout = 77");
    let mut after = proxy.app();
    let found = (before.text(TIMEOUT), root.text(TIMEOUT), after.text(TIMEOUT));
    before.command(Command::ResetConnection, b"").unwrap();
    let reset = before.text(TIMEOUT);
    root.run("SET GLOBAL net_write_timeout = DEFAULT");
    assert_eq!(found, (old.clone(), old.clone(), "77".to_owned()));
    assert_eq!(reset, "77");
    assert_eq!(proxy.app().text(TIMEOUT), old);
}

#[test]
fn sessions_go_on_with_what_they_began_with_on_newer_connections() {
    let proxy = Proxy::with(servers(), 4, "");
    let week = "/* fairlane: route=primary */ SELECT WEEK('2023-01-01')";
    let (mut before, mut other, mut root) = (proxy.app(), proxy.app(), root(&proxy));
    // MariaDB 10.11 has no other name for it.
    let short =
        !product().is_mysql() && servers().root().text("SELECT VERSION()").starts_with("10");
    let level = if short { "tx_isolation" } else { "transaction_isolation" };
    let level = format!("/* fairlane: route=primary */ SELECT @@{level}");
    before.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    assert_eq!(before.text(week), "1");
    root.run("SET GLOBAL default_week_format = 3");
    // Its connection is another's, so that it is given a new one.
    other.run("BEGIN");
    other.run("SELECT 1 FOR UPDATE");
    let found = [before.text(week), before.text(&level), proxy.app().text(week)];
    root.run("SET GLOBAL default_week_format = DEFAULT");
    assert_eq!(found, ["1", "READ-COMMITTED", "52"]);
}

#[test]
fn sessions_begin_with_the_defaults_their_schema_has() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut root = root(&proxy);
    let connect = || Raw::connect(proxy.port, "root", "root-secret", Some("begun")).unwrap();
    root.run("CREATE DATABASE begun CHARACTER SET latin1 COLLATE latin1_bin");
    let mut other = connect();
    assert_eq!(other.text(COLLATION), "latin1_bin");
    // What a session leaves behind is reset before the next one has the connection.
    connect().run("CREATE TEMPORARY TABLE left_behind (a INT)");
    for _ in 0..4 {
        pause(50);
        assert_eq!(connect().text(COLLATION), "latin1_bin", "a reset has changed it");
    }
    other.run("SET @@collation_database = 'utf8mb4_bin'");
    assert_eq!(connect().text(COLLATION), "latin1_bin", "not the server's");
    assert_eq!(other.text(COLLATION), "utf8mb4_bin");
    root.run("ALTER DATABASE begun COLLATE latin1_general_ci");
    assert_eq!(connect().text(COLLATION), "latin1_general_ci");
    root.run("DROP DATABASE begun");
    root.run("CREATE DATABASE begun CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    let mut inside = connect();
    assert_eq!(inside.text(COLLATION), "utf8mb4_bin");
    inside.run("CREATE TABLE t (a CHAR(1))");
    let collation = inside.rows("SHOW TABLE STATUS LIKE 't'")[0][14].clone();
    assert_eq!(collation.as_deref(), Some("utf8mb4_bin"));
    root.run("DROP DATABASE begun");
    let gone = Raw::connect(proxy.port, "root", "root-secret", Some("begun"));
    assert_eq!(gone.expect_err("there is none").code(), 1049);
}

/// As clients' pools do it, whatever their account may set.
#[test]
fn a_reset_leaves_the_servers_collation_in_the_place_of_the_schemas() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut root = root(&proxy);
    root.run("CREATE DATABASE resets CHARACTER SET latin1");
    root.run("CREATE USER resets@'%' IDENTIFIED BY 'resets-secret'");
    root.run("GRANT ALL ON resets.* TO resets@'%'");
    let connect = |port| Raw::connect(port, "resets", "resets-secret", Some("resets")).unwrap();
    let (mut through, mut other) = (connect(proxy.port), connect(proxy.port));
    let mut direct = connect(servers().primary);
    let ask = "SELECT CONCAT_WS(' ', @@collation_database, @@character_set_database, \
               @@collation_connection, DATABASE())";
    for (number, (command, body)) in [
        (Command::Ping, ""),
        (Command::ResetConnection, ""),
        (Command::Query, "USE resets"),
        (Command::ResetConnection, ""),
        (Command::InitDb, "resets"),
        (Command::ResetConnection, ""),
        (Command::ResetConnection, ""),
        (Command::Query, "SET CHARACTER SET utf8mb4"),
        (Command::Query, "SET @a = 5"),
        (Command::Query, "ALTER DATABASE resets CHARACTER SET latin1"),
        (Command::ResetConnection, ""),
        (Command::Query, "USE information_schema"),
        (Command::Query, "USE resets"),
    ]
    .into_iter()
    .enumerate()
    {
        for client in [&mut direct, &mut through] {
            client.send(command, body.as_bytes());
            client.answer(Shape::Results).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(through.text(ask), direct.text(ask), "{number}: {command:?} {body}");
            assert_eq!(other.text(COLLATION), "latin1_swedish_ci", "{number}: {command:?}");
        }
    }
}

#[test]
fn sessions_begin_with_the_privileges_there_are() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut root = root(&proxy);
    root.run("CREATE DATABASE granted");
    root.run("CREATE TABLE granted.t (a INT)");
    root.run("CREATE USER begins@'%' IDENTIFIED BY 'begins-secret'");
    root.run("GRANT SELECT ON granted.* TO begins@'%'");
    let connect = || Raw::connect(proxy.port, "begins", "begins-secret", Some("granted")).unwrap();
    // Both connections stay: what they may do is not asked again where they are.
    let insert = "INSERT INTO t VALUES (1)";
    assert_eq!(connect().query(insert).expect_err("not yet").code(), 1142);
    root.run("GRANT INSERT ON granted.* TO begins@'%'");
    connect().run(insert);
    root.run("REVOKE INSERT ON granted.* FROM begins@'%'");
    assert_eq!(connect().query(insert).expect_err("no more").code(), 1142);
    root.run("ALTER USER begins@'%' IDENTIFIED BY 'other-secret'");
    let old = Raw::connect(proxy.port, "begins", "begins-secret", Some("granted"));
    assert_eq!(old.expect_err("the old password").code(), 1045);
    root.run("DROP USER begins@'%'");
    root.run("DROP DATABASE granted");
}

/// Five sessions that have been on five connections, of an account with privileges on `chosen`.
fn sessions_of_chosen(connect: impl Fn() -> Raw) -> Vec<Raw> {
    let mut sessions: Vec<Raw> = (0..5).map(|_| connect()).collect();
    sessions.iter_mut().for_each(hold);
    sessions.iter_mut().for_each(|session| drop(session.run("COMMIT")));
    sessions
}

/// It keeps a connection.
fn hold(session: &mut Raw) {
    session.run("BEGIN");
    session.run("SELECT a FROM held FOR UPDATE");
}

#[test]
fn a_choice_of_the_schema_renews_the_privileges_on_all_connections() {
    let proxy = Proxy::with(servers(), 8, ONE_LANE);
    let (mut direct, mut through) = (servers().root(), root(&proxy));
    direct.run("CREATE DATABASE chosen");
    direct.run("CREATE TABLE chosen.t (a INT)");
    direct.run("CREATE TABLE chosen.held (a INT)");
    let cases = [("past", "GRANT", "TO"), ("past", "REVOKE", "FROM")];
    let cases =
        cases.into_iter().chain([("through", "GRANT", "TO"), ("through", "REVOKE", "FROM")]);
    for (index, (way, verb, to)) in cases.enumerate() {
        let user = format!("chooser{index}");
        let more = if verb == "REVOKE" { ", INSERT" } else { "" };
        direct.run(&format!("CREATE USER {user}@'%' IDENTIFIED BY 'chooser-secret'"));
        direct.run(&format!("GRANT SELECT, UPDATE{more} ON chosen.* TO {user}@'%'"));
        let login = || Raw::connect(proxy.port, &user, "chooser-secret", Some("chosen"));
        eventually("the account is known", || login().is_ok());
        let mut sessions = sessions_of_chosen(|| login().unwrap());
        let by = if way == "past" { &mut direct } else { &mut through };
        by.run(&format!("{verb} INSERT ON chosen.* {to} {user}@'%'"));
        let (first, others) = sessions.split_first_mut().unwrap();
        match index % 2 {
            0 => drop(first.run("USE chosen")),
            _ => assert!(first.command(Command::InitDb, b"chosen").is_ok()),
        }
        let mut codes = Vec::new();
        let mut insert =
            || codes.push(first.query("INSERT INTO t VALUES (1)").err().map(|e| e.code()));
        insert();
        others.iter_mut().for_each(hold);
        for other in others {
            other.run("COMMIT");
            insert();
            hold(other);
        }
        let expected = if verb == "GRANT" { None } else { Some(1142) };
        assert_eq!(codes, [expected; 5], "{verb} {way}");
        direct.run(&format!("DROP USER {user}@'%'"));
    }
    direct.run("DROP DATABASE chosen");
}

#[test]
fn a_choice_of_the_schema_counts_on_replicas_too() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE_AND_REPLICA);
    let (mut direct, mut root) = (servers().root(), root(&proxy));
    direct.run("CREATE DATABASE chosen_there");
    direct.run("CREATE TABLE chosen_there.t (a INT)");
    direct.run("CREATE USER chooses@'%' IDENTIFIED BY 'chooser-secret'");
    direct.run("GRANT SELECT, INSERT ON chosen_there.* TO chooses@'%'");
    let login = || Raw::connect(proxy.port, "chooses", "chooser-secret", Some("chosen_there"));
    eventually("the account is known", || login().is_ok());
    let (mut session, read) = (login().unwrap(), "SELECT a FROM t");
    proxy.until_replica_answers(&mut session, read);
    root.run("REVOKE SELECT ON chosen_there.* FROM chooses@'%'");
    session.run("USE chosen_there");
    for _ in 0..20 {
        assert_eq!(session.query(read).expect_err("no more").code(), 1142);
        pause(10);
    }
    root.run("GRANT SELECT ON chosen_there.* TO chooses@'%'");
    session.run("USE chosen_there");
    for _ in 0..20 {
        session.run(read);
        pause(10);
    }
    proxy.until_replica_answers(&mut session, read);
    direct.run("DROP USER chooses@'%'");
    direct.run("DROP DATABASE chosen_there");
}

/// Laravel's sessions begin with USE.
#[test]
fn schemas_are_chosen_again_now_and_then_only() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    // Connections are found again wherever they were used.
    let keys = format!("workers = 1\n{ONE_LANE}[pool]\nassignment_age = \"0s\"\n");
    let proxy = Proxy::with(&servers, 4, &keys);
    let mut direct = servers.root();
    let mut choices = || -> u64 {
        let row = direct.rows("SHOW GLOBAL STATUS LIKE 'Com_change_db'").remove(0);
        row[1].as_deref().unwrap().parse().unwrap()
    };
    let page = |begins_with_use: bool| {
        let (mut session, mut other) = (proxy.app(), proxy.app());
        other.run("BEGIN");
        other.run("SELECT 1 FOR UPDATE");
        if begins_with_use {
            session.run("USE shop");
        }
        other.run("COMMIT");
        session.run("SELECT 1 FOR UPDATE");
    };
    // New connections choose it as well.
    const CONNECTIONS: u64 = 4;
    let before = choices();
    (0..20).for_each(|_| page(false));
    let between = choices();
    assert!(between - before <= CONNECTIONS, "{} times for nobody", between - before);
    let start = Instant::now();
    (0..60).for_each(|_| page(true));
    let again = choices() - between - 60;
    let bound = CONNECTIONS + 2 * (1 + start.elapsed().as_secs());
    assert!(again <= bound, "{again} times beside their own, not {bound}");
}

#[test]
fn a_session_that_goes_on_changes_its_privileges_once_at_most() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let (mut direct, mut root) = (servers().root(), root(&proxy));
    direct.run("CREATE DATABASE goes_on");
    direct.run("CREATE TABLE goes_on.t (a INT)");
    direct.run("CREATE USER goes_on@'%' IDENTIFIED BY 'goes-on'");
    direct.run("GRANT SELECT, UPDATE ON shop.* TO goes_on@'%'");
    let login = || Raw::connect(proxy.port, "goes_on", "goes-on", Some("shop"));
    eventually("the account is known", || login().is_ok());
    let (mut session, mut other) = (login().unwrap(), login().unwrap());
    let read = "SELECT a FROM goes_on.t";
    assert_eq!(session.query(read).expect_err("not its own").code(), 1142);
    root.run("GRANT SELECT ON *.* TO goes_on@'%'");
    // It is given a new one.
    other.run("BEGIN");
    other.run("SELECT 1 FOR UPDATE");
    session.run(read);
    other.run("COMMIT");
    for _ in 0..5 {
        session.run(read);
    }
    assert_eq!(other.query(read).expect_err("has not had a new one").code(), 1142);
    direct.run("DROP USER goes_on@'%'");
    direct.run("DROP DATABASE goes_on");
}

#[test]
fn a_session_that_goes_on_keeps_its_limit_of_time() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let (mut direct, mut root) = (servers().root(), root(&proxy));
    direct.run("CREATE USER be_limit@'%' IDENTIFIED BY 'be-limit'");
    direct.run("GRANT SELECT, UPDATE ON shop.* TO be_limit@'%'");
    let login = || Raw::connect(proxy.port, "be_limit", "be-limit", Some("shop"));
    eventually("the account is known", || login().is_ok());
    let (mut session, mut other) = (login().unwrap(), login().unwrap());
    let limit = "SELECT @@max_statement_time";
    assert_eq!(session.text(limit), "0.000000");
    root.run("ALTER USER be_limit@'%' WITH MAX_STATEMENT_TIME 77");
    other.run("BEGIN");
    other.run("SELECT 1 FOR UPDATE");
    assert_eq!(session.text(limit), "0.000000", "on a newer connection");
    let mut third = login().unwrap();
    assert_eq!(third.text(limit), "77.000000");
    session.run("SET max_statement_time = 55");
    assert_eq!(
        (session.text(limit), third.text(limit)),
        ("55.000000".to_owned(), "77.000000".to_owned())
    );
    direct.run("DROP USER be_limit@'%'");
}

/// A connection that is opened while the replica does not have the REVOKE yet would have the privileges for as
/// long as it lives.
#[test]
fn a_replica_that_lags_gives_nobody_privileges_that_were_taken_away() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let proxy = Proxy::start(&servers);
    let mut root = root(&proxy);
    for sql in [
        "CREATE DATABASE secret",
        "CREATE TABLE secret.t (a INT)",
        "INSERT INTO secret.t VALUES (1)",
        "CREATE TABLE shop.revoked_a (a INT)",
        "CREATE USER reader@'%' IDENTIFIED BY 'reader-secret'",
        "GRANT SELECT ON *.* TO reader@'%'",
        "GRANT SELECT ON shop.* TO reader@'%'",
    ] {
        root.run(sql);
    }
    let (secret, read) = ("SELECT a FROM secret.t", "SELECT COUNT(*) FROM shop.revoked_a");
    let connect = || Raw::connect(proxy.port, "reader", "reader-secret", None).unwrap();
    proxy.until_replica_answers(&mut connect(), secret);
    let mut replica = servers.replica_root();
    replica.run("FLUSH TABLES WITH READ LOCK");
    root.run("REVOKE SELECT ON *.* FROM reader@'%'");
    let denied = || connect().query(secret).map(|_| ()).expect_err("no more").code();
    assert_eq!(denied(), 1142, "the replica does not know yet");
    replica.run("UNLOCK TABLES");
    for _ in 0..20 {
        assert_eq!(denied(), 1142);
        pause(20);
    }
    // And it answers who may read.
    proxy.until_replica_answers(&mut connect(), read);
    assert_eq!(denied(), 1142);
}

/// Although it has its snapshot on a replica that does not know of them yet.
#[test]
fn a_read_only_transaction_has_the_privileges_that_were_given_since_it_read_first() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let proxy = Proxy::start(&servers);
    let (mut root, mut replica) = (root(&proxy), servers.replica_root());
    for sql in [
        "CREATE DATABASE given",
        "CREATE TABLE given.t (a INT)",
        "INSERT INTO given.t VALUES (9)",
        "CREATE TABLE shop.given_a (a INT)",
        "CREATE USER taker@'%' IDENTIFIED BY 'taker-secret'",
        "GRANT SELECT ON shop.* TO taker@'%'",
    ] {
        root.run(sql);
    }
    let read = "SELECT COUNT(*) FROM shop.given_a";
    for (asks, rows) in [("SELECT a FROM given.t", 1), ("USE given", 0)] {
        servers.wait_replicated();
        let mut taker = Raw::connect(proxy.port, "taker", "taker-secret", Some("shop")).unwrap();
        proxy.until_replica_answers(&mut taker, read);
        taker.run("START TRANSACTION READ ONLY");
        taker.run(read);
        replica.run("FLUSH TABLES WITH READ LOCK");
        root.run("GRANT SELECT ON given.* TO taker@'%'");
        assert_eq!(taker.run(asks).summary.rows, rows, "{asks}");
        replica.run("UNLOCK TABLES");
        taker.run("COMMIT");
        root.run("REVOKE SELECT ON given.* FROM taker@'%'");
    }
}

#[test]
fn what_a_text_changes_for_logins_counts() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut root = root(&proxy);
    root.run("DROP USER IF EXISTS begins_inside@localhost");
    root.run("CREATE USER begins_inside@localhost IDENTIFIED BY 'secret'");
    let login = || Raw::connect(proxy.port, "begins_inside", "secret", None);
    let mut texts = vec![
        "SET @t = 'ALTER USER begins_inside@localhost ACCOUNT {}'; PREPARE s FROM @t; EXECUTE s",
        "PREPARE s FROM 'ALTER USER begins_inside@localhost ACCOUNT {}'; EXECUTE s",
    ];
    if !product().is_mysql() {
        texts.extend([
            "EXECUTE IMMEDIATE 'ALTER USER begins_inside@localhost ACCOUNT {}'",
            "EXECUTE IMMEDIATE CONCAT('ALTER USER begins_inside@localhost ACCOUNT ', '{}')",
            "BEGIN NOT ATOMIC ALTER USER begins_inside@localhost ACCOUNT {}; END",
            "IF 1 THEN ALTER USER begins_inside@localhost ACCOUNT {}; END IF",
        ]);
    }
    for text in texts {
        // The account's own connection stays, and lets in whoever is not asked about.
        login().unwrap().run("SELECT 1");
        let mut run = |what: &str| {
            let text = text.replace("{}", what);
            match text.starts_with("BEGIN") || text.starts_with("IF") {
                true => drop(root.run(&text)),
                false => text.split("; ").for_each(|part| drop(root.run(part))),
            }
        };
        run("LOCK");
        assert!(login().is_err(), "{text}");
        run("UNLOCK");
    }
    root.run("DROP USER begins_inside@localhost");
}

#[test]
fn what_a_text_that_nobody_sees_changes_of_a_schema_counts() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut root = root(&proxy);
    let login = || Raw::connect(proxy.port, "root", "root-secret", Some("unseen"));
    root.run("CREATE DATABASE unseen");
    root.run("CREATE TABLE unseen.t (a INT)");
    drop(login().unwrap());
    // The answer counts the tables.
    root.run("SET @t = CONCAT('DROP DATABASE ', 'unseen')");
    root.run("PREPARE s FROM @t");
    root.run("EXECUTE s");
    assert_eq!(login().expect_err("there is none").code(), 1049);
}

#[test]
fn texts_in_a_loop_take_no_connections_from_logins() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut looping = proxy.app();
    let opened = || proxy.metric("fairlane_backend_connections_opened_total{backend=\"primary\"}");
    let mut opened_by = |texts: &[&str], are_refused: bool| {
        let (before, start) = (opened(), Instant::now());
        for _ in 0..10 {
            for text in texts {
                assert_eq!(looping.query(text).is_err(), are_refused, "{text}");
            }
            proxy.app().run("SELECT 1 FOR UPDATE");
        }
        (opened() - before, start.elapsed().as_secs_f64())
    };
    let [prepare, execute] = ["PREPARE s FROM @t", "EXECUTE s"];
    let (known, _) = opened_by(&["SET @t = 'DO 1'", prepare, execute], false);
    assert!(known <= 1.0, "the first login's: {known}");
    let (unknown, seconds) = opened_by(&["SET @t = CONCAT('DO ', 1)", prepare, execute], false);
    assert!(unknown <= 2.0 + seconds / 5.0, "now and then: {unknown} in {seconds} s");
    let (refused, _) =
        opened_by(&["SET GLOBAL max_connections = 5", "DROP USER root@localhost"], true);
    assert!(refused <= 2.0, "nothing has changed: {refused}");
}
