//! Every command, through Fairlane and directly: the packets are the same.

use std::time::{Duration, Instant};

use fairlane::protocol::{Capabilities, Command, Shape};

use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, pause, product, servers};

fn pair(proxy: &Proxy, more: Capabilities) -> (Raw, Raw) {
    let login = |port| {
        let login = Login { schema: Some("shop"), more, ..Login::new(port, "app", "app-secret") };
        Raw::login(&login).unwrap()
    };
    (login(proxy.port), login(servers().primary))
}

const ALL: [Capabilities; 4] = [
    Capabilities::DEPRECATE_EOF
        .union(Capabilities::MULTI_STATEMENTS)
        .union(Capabilities::MULTI_RESULTS),
    Capabilities::MULTI_STATEMENTS.union(Capabilities::MULTI_RESULTS),
    Capabilities::DEPRECATE_EOF.union(Capabilities::FOUND_ROWS).union(Capabilities::MULTI_RESULTS),
    Capabilities::MARIADB_EXTENDED_METADATA.union(Capabilities::MULTI_RESULTS),
];

#[test]
fn the_greeting_is_the_primarys() {
    let proxy = Proxy::start(servers());
    let (through, direct) = pair(&proxy, ALL[0]);
    assert_eq!(through.greeting.version, direct.greeting.version);
    assert_eq!(through.greeting.collation, direct.greeting.collation);
    assert_eq!(through.greeting.status, direct.greeting.status);
    assert_eq!(through.greeting.plugin, direct.greeting.plugin);
    let missing = direct.greeting.capabilities - through.greeting.capabilities;
    let known = Capabilities::SUPPORTED & missing;
    assert!(known.is_empty(), "{known:?} is supported and not offered");
}

#[test]
fn answers_are_the_same_byte_for_byte() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.bytes_a (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT, n DECIMAL(10,2), d DATETIME NULL)");
    root.run("INSERT INTO shop.bytes_a (t, n, d) VALUES ('two', 1.5, '2026-01-01 10:00:00'), (NULL, NULL, NULL), ('', 0, NULL)");
    servers().wait_replicated();
    let statements = [
        "SELECT 1",
        "SELECT * FROM bytes_a ORDER BY id",
        "SELECT * FROM bytes_a WHERE 1 = 0",
        "SELECT REPEAT('x', 70000), NULL, 5",
        "DO 0",
        "UPDATE bytes_a SET t = 'two' WHERE id = 1",
        "SELECT nonsense",
        "SELEC",
        "",
        "SELECT 1/0",
        "SHOW WARNINGS",
        "SELECT 'a' + 1; SELECT 2; DO 1; SELECT 3 WHERE 1 = 0",
        "SELECT 1; SELECT nonsense; SELECT 3",
        "USE nowhere",
        "USE shop",
        "SET NAMES utf8mb4",
        "SET nonsense = 1",
        "SHOW TABLES LIKE 'bytes%'",
        "SHOW COLUMNS FROM bytes_a",
        "DESCRIBE bytes_a",
        "EXPLAIN SELECT * FROM bytes_a",
        "START TRANSACTION",
        "SELECT COUNT(*) FROM bytes_a",
        "COMMIT",
        "SET autocommit = 0",
        "SELECT COUNT(*) FROM bytes_a",
        "COMMIT",
        "SET autocommit = 1",
        "SELECT LAST_INSERT_ID()",
        "SELECT ROW_COUNT()",
        "SELECT FOUND_ROWS()",
    ];
    for more in ALL {
        let (mut through, mut direct) = pair(&proxy, more);
        for sql in statements {
            let through = through.command(Command::Query, sql.as_bytes()).unwrap();
            let direct = direct.command(Command::Query, sql.as_bytes()).unwrap();
            if ["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()"].contains(&sql) {
                // The values; the display widths of a CAST differ.
                assert_eq!(through.packets()[2..], direct.packets()[2..], "{sql} {more:?}");
                continue;
            }
            assert_eq!(through.packets(), direct.packets(), "{sql} {more:?}");
            assert_eq!(through.bytes, direct.bytes, "sequence ids: {sql} {more:?}");
        }
        for (command, body) in [
            (Command::Ping, &b""[..]),
            (Command::InitDb, b"shop"),
            (Command::InitDb, b"nowhere"),
            (Command::SetOption, &[1, 0]),
            (Command::SetOption, &[0, 0]),
            (Command::FieldList, b"bytes_a\0%"),
            (Command::ResetConnection, b""),
            (Command::CreateDb, b"x"),
            (Command::TableDump, b"x"),
        ] {
            let shape = if command == Command::FieldList { Shape::Fields } else { command.shape() };
            through.send(command, body);
            direct.send(command, body);
            let (through, direct) = (through.answer(shape).unwrap(), direct.answer(shape).unwrap());
            if command == Command::TableDump {
                assert_eq!(through.error().unwrap().code(), direct.error().unwrap().code());
                continue;
            }
            assert_eq!(through.packets(), direct.packets(), "{command:?} {more:?}");
        }
        let statistics = through.command(Command::Statistics, b"").unwrap();
        assert!(String::from_utf8_lossy(&statistics.packets()[0]).starts_with("Uptime:"));
        let sets = "SELECT CONCAT(@@character_set_client, @@collation_connection)";
        assert_eq!(through.text(sets), direct.text(sets), "after a reset");
    }
}

#[test]
fn commands_that_make_no_sense_are_refused_in_words() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    for command in [Command::BinlogDump, Command::BinlogDumpGtid, Command::RegisterReplica] {
        let error = client.command(command, &[0; 30]).unwrap().error().unwrap();
        assert_eq!(error.code(), 1235, "{error:?}");
    }
    client.put(0, &[0x77, 1, 2]);
    assert_eq!(client.answer(Shape::Results).unwrap().error().unwrap().code(), 1047);
    client.run("SELECT 1");
    client.send(Command::Quit, b"");
    assert!(client.packet().is_err(), "the connection ends");
}

#[test]
fn several_statements_are_on_the_primary_and_can_be_switched_off() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    client.run("CREATE TABLE multi_a (id INT)");
    let answer =
        client.run("INSERT INTO multi_a VALUES (1); SELECT id FROM multi_a; DELETE FROM multi_a");
    assert_eq!(answer.packets().len(), 6, "two OK packets, columns, a row and its end");
    client.command(Command::SetOption, &[1, 0]).unwrap();
    assert_eq!(client.query("SELECT 1; SELECT 2").unwrap_err().code(), 1064);
    client.command(Command::SetOption, &[0, 0]).unwrap();
    client.run("SELECT 1; SELECT 2");
}

#[test]
fn kill_works_with_the_ids_that_clients_see() {
    let proxy = Proxy::with(servers(), 6, "");
    let mut sleeper = proxy.app();
    let id = sleeper.greeting.thread_id;
    let mut killer = proxy.app();
    let sleeping = std::thread::spawn(move || {
        let answer = sleeper.query("SELECT SLEEP(20), 'sleeper'");
        (sleeper, answer)
    });
    eventually("the statement runs", || {
        servers().root().text("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%\\'sleeper\\'%' AND info NOT LIKE '%processlist%'") == "1"
    });
    killer.run(&format!("KILL QUERY '{id}'"));
    let (mut sleeper, answer) = sleeping.join().unwrap();
    // MariaDB answers 1317, or 1 for an interrupted SLEEP.
    assert!(answer.is_err_and(|error| error.code() == 1317) || sleeper.text("SELECT 1") == "1");
    assert_eq!(sleeper.text("SELECT 5"), "5");
    killer.run(&format!("KILL {id}"));
    eventually("the session ends", || sleeper.query("SELECT 1").is_err());
    let mut other = proxy.app();
    killer.run(&format!("KILL '{}'", other.greeting.thread_id));
    eventually("the session ends", || other.query("SELECT 1").is_err());
    for id in ["4000000000", "'4000000000'", "'1x'", "''"] {
        assert_eq!(killer.query(&format!("KILL {id}")).unwrap_err().code(), 1094, "{id}");
    }
}

/// As clients do it on Ctrl-C (without a schema) and drivers when the time of a statement is over (with one).
#[test]
fn statements_that_hold_all_slots_are_killed_by_new_logins_of_their_user() {
    let lanes = "[[lane]]\nname = \"interactive\"\nqueue_timeout = \"1s\"\noverload_timeout = \"off\"\n\
        [routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(servers(), 3, lanes);
    let mut root = servers().root();
    let log_in = |user, password, schema| Raw::connect(proxy.port, user, password, schema);
    let mut sleepers = [proxy.app(), proxy.app()];
    for sleeper in &mut sleepers {
        sleeper.send(Command::Query, b"DO SLEEP(30), 'uncancelled'");
    }
    let running =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'DO %uncancelled%'";
    eventually("both statements run", || root.text(running) == "2");
    let refused = |user, password, schema| log_in(user, password, schema).unwrap_err().code();
    assert_eq!(refused("app", "wrong", None), 1045);
    assert_eq!(refused("nobody_at_all", "app-secret", None), 1045);
    assert_eq!(refused("app", "app-secret", Some("no_such_schema")), 1040, "it is to be asked for");
    let began = Instant::now();
    let mut killers = [
        log_in("app", "app-secret", None).unwrap(),
        log_in("app", "app-secret", Some("shop")).unwrap(),
    ];
    let waited = killers[0].query("DO 1").unwrap_err();
    assert_eq!(waited.code(), 1040, "whatever else it wants has to wait");
    for (sleeper, killer) in sleepers.iter_mut().zip(&mut killers) {
        killer.run(&format!("KILL QUERY {}", sleeper.greeting.thread_id));
        let _ = sleeper.answer(Shape::Results);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "they have ended before their time");
    assert!(matches!(refused("app", "app-secret", Some("no_such_schema")), 1044 | 1049));
    assert_eq!(killers.map(|mut killer| killer.text("SELECT 5")), ["5", "5"]);
}

/// Its own user may, and has a connection for that.
#[test]
fn kill_query_ends_a_statement_that_the_service_account_may_not_end() {
    let mut root = servers().root();
    let (table, extra) = match product().is_mysql() {
        true => ("mysql.user", "REPLICATION CLIENT"),
        false => ("mysql.global_priv", "BINLOG MONITOR, SLAVE MONITOR"),
    };
    for host in ["localhost", "127.0.0.1", "%"] {
        root.replace(&format!("CREATE OR REPLACE USER kill_poor@'{host}' IDENTIFIED BY 'poor'"));
        root.run(&format!("GRANT SELECT ON {table} TO kill_poor@'{host}'"));
        root.run(&format!("GRANT {extra} ON *.* TO kill_poor@'{host}'"));
    }
    servers().wait_replicated();
    let proxy = Proxy::as_service(servers(), ("kill_poor", "poor"), "");
    let (mut sleeper, mut killer) = (proxy.app(), proxy.app());
    let began = Instant::now();
    sleeper.send(Command::Query, b"DO SLEEP(20), 'unserved'");
    let running =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'DO %unserved%'";
    eventually("the statement runs", || root.text(running) == "1");
    killer.run(&format!("KILL QUERY {}", sleeper.greeting.thread_id));
    let _ = sleeper.answer(Shape::Results);
    assert!(began.elapsed() < Duration::from_secs(15), "it has ended before its time");
    assert_eq!(sleeper.text("SELECT 5"), "5");
}

/// An operator's KILL of a session that is idle, and so has no connection of its own to ask about.
#[test]
fn idle_sessions_of_others_are_killed_by_those_who_may() {
    let proxy = Proxy::with(servers(), 6, "");
    let mut root = servers().root();
    for sql in [
        "CREATE ROLE killing",
        "GRANT CONNECTION ADMIN ON *.* TO killing",
        "CREATE USER 'SUPER'@'%' IDENTIFIED BY 'secret'",
        "GRANT ALL PRIVILEGES ON shop.* TO 'SUPER'@'%'",
        "CREATE USER killer@'%' IDENTIFIED BY 'secret'",
        "GRANT killing TO killer@'%'",
        "SET DEFAULT ROLE killing FOR killer@'%'",
    ] {
        root.run(sql);
    }
    let mut victim = proxy.app();
    victim.run("SELECT 1");
    let id = victim.greeting.thread_id;
    let mut stranger = Raw::connect(proxy.port, "SUPER", "secret", None).unwrap();
    for sql in [format!("KILL {id}"), format!("KILL QUERY {id}")] {
        assert_eq!(stranger.query(&sql).unwrap_err().code(), 1095);
    }
    let mut killer = Raw::connect(proxy.port, "killer", "secret", None).unwrap();
    killer.run(&format!("KILL QUERY {id}"));
    assert_eq!(victim.text("SELECT 5"), "5", "nothing of it ran");
    killer.run(&format!("KILL {id}"));
    eventually("the session ends", || victim.query("SELECT 1").is_err());
}

/// Most of them have no connection that the server could end.
#[test]
fn kill_user_ends_all_sessions_of_a_user() {
    if product().is_mysql() {
        return;
    }
    let mut root = servers().root();
    for user in ["kill_all", "kill_none"] {
        root.run(&format!("CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY 'secret'"));
    }
    let proxy = Proxy::with(servers(), 6, "");
    let login = |user: &str| Raw::connect(proxy.port, user, "secret", None).unwrap();
    let (mut stays, mut stranger) = (proxy.app(), login("kill_none"));
    let mut root = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    let mut sessions = [login("kill_all"), login("kill_all")];
    // Their names are told, by which a server that knows none of them can't refuse.
    let _ = stranger.query("KILL USER kill_all");
    root.run("KILL QUERY USER kill_all");
    root.run("KILL USER kill_all@'10.1.2.3'");
    root.run("KILL USER kill_all@'127.0.0.1'");
    sessions.iter_mut().for_each(|session| drop(session.run("SELECT 1")));
    for kill in ["KILL USER kill_all", "KILL SOFT USER 'kill_all'@'LOCALHOST'"] {
        root.run(kill);
        for session in &mut sessions {
            eventually("the session ends", || session.query("SELECT 1").is_err());
        }
        sessions = [login("kill_all"), login("kill_all")];
    }
    sessions[0].run("KILL USER CURRENT_USER");
    eventually("its own sessions end", || sessions[1].query("SELECT 1").is_err());
    stays.run("SELECT 1");
    stranger.run("SELECT 1");
    root.run("DROP USER kill_all@'%', kill_none@'%'");
}

/// COM_REFRESH with the bit for accounts and privileges, which MySQL knows no more.
#[test]
fn privileges_that_a_command_has_read_anew_count_for_logins_after_it() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER refreshed@'%' IDENTIFIED BY 'secret'");
    root.run("GRANT SELECT ON shop.* TO refreshed@'%'");
    let login = |port: u16| Raw::connect(port, "refreshed", "secret", Some("shop"));
    login(proxy.port).unwrap().run("DO 1");
    let mut admin = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    admin.run("DELETE FROM mysql.db WHERE User = 'refreshed'");
    login(proxy.port).unwrap();
    assert!(admin.command(Command::Refresh, b"\x01").unwrap().error().is_none());
    assert_eq!(login(proxy.port).unwrap_err(), login(servers().primary).unwrap_err());
    root.run("DROP USER refreshed@'%'");
}

/// A KILL names a connection of the server, which may be another session's by the time it arrives.
#[test]
fn kill_meets_nobody_but_the_session_it_names() {
    let proxy = Proxy::with(servers(), 3, "");
    let (mut named, mut other, mut killer) = (proxy.app(), proxy.app(), proxy.app());
    let kill = format!("KILL QUERY {}", named.greeting.thread_id);
    let until = Instant::now() + Duration::from_secs(4);
    let kills = std::thread::spawn(move || {
        while Instant::now() < until {
            killer.run(&kill);
        }
    });
    let named = std::thread::spawn(move || {
        let mut stopped = 0;
        while Instant::now() < until {
            named.query("SELECT SLEEP(0.001)").ok();
            let begun = Instant::now();
            // Interrupted it returns 1, or error 1317.
            named.query("SELECT SLEEP(0.5)").ok();
            stopped += usize::from(begun.elapsed() < Duration::from_millis(400));
        }
        // It is there as long as it may be named.
        (stopped, named)
    });
    let mut answers = 0;
    while Instant::now() < until {
        assert_eq!(other.text("SELECT SLEEP(0.002)"), "0", "after {answers} answers");
        answers += 1;
    }
    kills.join().unwrap();
    let (stopped, _named) = named.join().unwrap();
    assert!(stopped > 0, "the one that was meant is met");
}

/// The one that is named goes away while another user's KILL waits for a slot, and its connection is given on.
#[test]
fn kill_by_another_user_meets_nobody_else() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let waiting = || proxy.sum("fairlane_lane_waiters{");
    let root = || Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    let (mut named, mut holder, mut killer) = (proxy.app(), root(), root());
    named.hold();
    holder.hold();
    let mut other = proxy.app();
    let other = std::thread::spawn(move || other.text("SELECT SLEEP(3)"));
    eventually("the next session waits", || waiting() == 1.0);
    let kill = format!("KILL QUERY {}", named.greeting.thread_id);
    let kill = std::thread::spawn(move || killer.query(&kill).map(drop));
    eventually("the KILL waits", || waiting() == 2.0);
    named.hang_up();
    eventually("its slot is given on", || waiting() < 2.0);
    holder.run("COMMIT");
    assert_eq!(other.join().unwrap(), "0", "nobody stops the next one");
    assert!(kill.join().unwrap().is_ok(), "it has nothing to stop");
}

/// The server's id of the connection that runs a statement.
fn server_id(text: &str) -> String {
    let rows = servers().root().rows(
        "SELECT id, info FROM information_schema.processlist WHERE info NOT LIKE '%processlist%'",
    );
    let found = rows.into_iter().find(|row| row[1].as_deref().is_some_and(|info| info == text));
    found.and_then(|row| row[0].clone()).unwrap_or_default()
}

#[test]
fn kill_takes_the_servers_ids_as_well() {
    let proxy = Proxy::with(servers(), 6, "");
    let mut killer = proxy.app();
    for (round, by_command) in [false, true].into_iter().enumerate() {
        let text = format!("SELECT SLEEP(20 + {round}), 'victim'");
        let mut victim = proxy.app();
        assert!(victim.greeting.thread_id >= 1 << 30, "no id a server has");
        let running = text.clone();
        let sleeping = std::thread::spawn(move || {
            let answer = victim.query(&running);
            (victim, answer)
        });
        eventually("it runs", || !server_id(&text).is_empty());
        // As an operator sees it, who has asked the server for the list.
        let id: u32 = server_id(&text).parse().unwrap();
        assert!(id < 1 << 30);
        if by_command {
            // A server's id, so the whole connection is ended, as the server does it.
            killer.command(Command::ProcessKill, &id.to_le_bytes()).unwrap();
            let (_, answer) = sleeping.join().unwrap();
            assert!(matches!(answer.unwrap_err().code(), 1317 | 1927 | 1158));
            continue;
        }
        killer.run(&format!("KILL QUERY {id}"));
        let (mut victim, answer) = sleeping.join().unwrap();
        assert!(answer.is_err_and(|error| error.code() == 1317) || victim.text("SELECT 1") == "1");
        assert_eq!(victim.text("SELECT 5"), "5", "the session lives on");
    }
    assert_eq!(killer.query("KILL 999999999").unwrap_err().code(), 1094);
    assert_eq!(killer.query("KILL QUERY 4 + 999999").unwrap_err().code(), 1094);
    assert_eq!(killer.query("KILL 1073741823").unwrap_err().code(), 1094);
}

#[test]
fn the_list_of_processes_has_the_ids_that_clients_know() {
    let proxy = Proxy::with(servers(), 6, "");
    let (mut asker, mut idle) = (proxy.app(), proxy.app());
    let mut holding = Raw::login(&Login {
        more: Capabilities::MULTI_STATEMENTS,
        ..Login::new(proxy.port, "app", "app-secret")
    })
    .unwrap();
    holding.hold();
    let ids = [&asker, &idle, &holding].map(|client| client.greeting.thread_id.to_string());
    for list in ["SHOW PROCESSLIST", "show /* all */ full processlist"] {
        asker.run("SELECT 1 UNION SELECT 2");
        let rows = asker.rows(list);
        let commands = ids.clone().map(|id| {
            let row = rows.iter().find(|row| row[0].as_deref() == Some(&id)).expect("shown");
            assert_eq!(row[1].as_deref(), Some("app"));
            assert_eq!(row.len(), rows[0].len());
            (row[4].clone().unwrap(), row[7].clone())
        });
        let sleep = || ("Sleep".to_owned(), None);
        assert_eq!(commands, [("Query".to_owned(), Some(list.to_owned())), sleep(), sleep()]);
        assert_eq!(asker.text("SELECT FOUND_ROWS()"), "2", "a list of processes is no SELECT");
    }
    let shown = asker.command(Command::ProcessInfo, b"").unwrap();
    assert!(shown.bytes.windows(ids[1].len()).any(|part| part == ids[1].as_bytes()));
    // The server's own tables know its own ids.
    let own = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = CONNECTION_ID()";
    assert_eq!(asker.text(own), "1");
    asker.run(&format!("KILL {}", ids[1]));
    assert!(idle.query("SELECT 1").is_err(), "no command after it is answered");
    eventually("it is not shown any more", || {
        let rows = asker.rows("SHOW PROCESSLIST");
        !rows.iter().any(|row| row[0].as_deref() == Some(&ids[1]))
    });
}

#[test]
fn a_session_can_end_itself() {
    let proxy = Proxy::start(servers());
    for how in ["KILL CONNECTION_ID()", "KILL QUERY CONNECTION_ID()", "KILL ID"] {
        let mut client = proxy.app();
        let id = client.text("SELECT CONNECTION_ID()");
        assert_eq!(id, client.greeting.thread_id.to_string());
        let code = client
            .query(&how.replace("ID", &id).replace(&format!("CONNECTION_{id}"), "CONNECTION_ID"))
            .unwrap_err()
            .code();
        // As MariaDB: the session's own end is not the statement's.
        assert_eq!(code, if how.contains("QUERY") { 1317 } else { 1927 }, "{how}");
        let lives = client.query("SELECT 1").is_ok();
        assert_eq!(lives, how.contains("QUERY"), "{how}");
    }
}

#[test]
fn a_plan_is_shown_by_the_id_that_clients_have() {
    let proxy = Proxy::start(servers());
    let (mut one, mut two) = (proxy.app(), proxy.app());
    one.replace("CREATE OR REPLACE TABLE explained (a INT)");
    one.run("INSERT INTO explained VALUES (1)");
    let id = one.text("SELECT CONNECTION_ID()");
    // MariaDB answers once the sleep is over.
    for (front, ask) in [
        ("", format!("SHOW EXPLAIN FOR {id}")),
        ("", format!("/* a */ EXPLAIN FORMAT=JSON FOR CONNECTION {id} ;")),
        ("ANALYZE ", format!("SHOW ANALYZE FORMAT=JSON FOR {id}")),
    ] {
        let sleeping = format!("{front}SELECT a FROM explained WHERE SLEEP(1) = 0");
        eventually(&ask, || {
            one.send(Command::Query, sleeping.as_bytes());
            // It may be asked for too early or too late.
            let is_shown = (0..25).any(|_| {
                pause(20);
                two.query(&ask).is_ok()
            });
            one.answer(Shape::Results).unwrap();
            is_shown
        });
    }
    assert_eq!(two.query("SHOW EXPLAIN FOR 1073741823").unwrap_err().code(), 1094);
}
