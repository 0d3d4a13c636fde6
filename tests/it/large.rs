//! Packets over 16 MiB both ways, LOCAL INFILE, slow readers.

use std::io::{Read as _, Write as _};

use fairlane::protocol::packet::{self, FULL};
use fairlane::protocol::{Command, Shape};

use crate::support::{ONE_LANE, Proxy, Raw, eventually, pause, servers};

#[test]
fn statements_and_rows_of_any_size_pass() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    client.run("CREATE TABLE large_a (id INT PRIMARY KEY, data LONGBLOB)");
    let head = "INSERT INTO large_a VALUES (1, '";
    for payload in [FULL - 1, FULL, FULL + 1, 2 * FULL, 40_000_000] {
        // The payload is the command byte and the text.
        let text = format!("{head}{}')", "x".repeat(payload - 1 - head.len() - 2));
        assert_eq!(text.len() + 1, payload);
        client.run("DELETE FROM large_a");
        client.run(&text);
        let length = payload - 1 - head.len() - 2;
        assert_eq!(client.text("SELECT LENGTH(data) FROM large_a"), length.to_string());
        let answer = client.run("SELECT data FROM large_a");
        assert_eq!(answer.summary.rows, 1);
        let row: usize = answer.bytes.len();
        assert!(row > length, "{row} bytes for {length}");
    }
    let too_long = "x".repeat(70_000_000);
    let refused = client.query(&format!("SELECT '{too_long}'"));
    assert!(refused.is_err());
}

/// Types that are put in make one packet two, and a value in the place of a function two packets one.
#[test]
fn answers_are_numbered_by_what_the_client_has_sent() {
    let proxy = Proxy::start(servers());
    let answers = |port: u16| {
        let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        let mut answers = Vec::new();
        let prepared = client.command(Command::StmtPrepare, b"SELECT LENGTH(?)").unwrap();
        let id = prepared.summary.prepared.unwrap().0.to_le_bytes();
        let head = [&id[..], &[0, 1, 0, 0, 0, 0]].concat();
        let first = [&head[..], &[1, 253, 0, 1, b'x']].concat();
        answers.push(client.command(Command::StmtExecute, &first).unwrap().bytes);
        for payload in [FULL - 3, FULL - 2, FULL - 1] {
            // Of the payload 12 bytes come before the value, and 4 are its length.
            let value = vec![b'x'; payload - 16];
            let length = u32::try_from(value.len()).unwrap().to_le_bytes();
            let later = [&head[..], &[0, 253], &length[..3], &value].concat();
            assert_eq!(later.len() + 1, payload);
            answers.push(client.command(Command::StmtExecute, &later).unwrap().bytes);
        }
        let (before, behind) = ("SELECT CONNECTION_ID() > 0 AS a, LENGTH('", "') AS b");
        for end in [behind.to_owned(), format!("{behind}, nosuch")] {
            let value = "x".repeat(FULL - 1 - before.len() - end.len());
            let sql = format!("{before}{value}{end}");
            answers.push(client.command(Command::Query, sql.as_bytes()).unwrap().bytes);
            let prepared = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
            answers.push(prepared.bytes[..4].to_vec());
        }
        answers
    };
    assert_eq!(answers(proxy.port), answers(servers().primary));
}

#[test]
fn a_local_file_is_passed_on() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    client.run("CREATE TABLE infile_a (id INT, note VARCHAR(100))");
    let load = "LOAD DATA LOCAL INFILE 'x.csv' INTO TABLE infile_a FIELDS TERMINATED BY ','";
    let file: String = (0..50_000).map(|id| format!("{id},note {id}\n")).collect();
    client.send(Command::Query, load.as_bytes());
    let answer = client.answer_with_file(Shape::Results, Some(file.as_bytes())).unwrap();
    assert_eq!(answer.error(), None);
    assert_eq!(answer.summary.affected, Some(50_000));
    assert_eq!(client.text("SELECT COUNT(*) FROM infile_a"), "50000");
    client.send(Command::Query, load.as_bytes());
    let nothing = client.answer_with_file(Shape::Results, None).unwrap();
    assert_eq!(nothing.summary.affected, Some(0));
    client.send(Command::Query, load.replace("infile_a", "nowhere").as_bytes());
    assert_eq!(
        client.answer_with_file(Shape::Results, Some(b"1,a\n")).unwrap().error().unwrap().code(),
        1146
    );
    client.run("SELECT 1");
}

/// The server is somewhere in the file then: it takes what comes next for a command, or for a part of one.
#[test]
fn a_file_whose_packets_are_out_of_order_ends_its_session() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.infile_d (id INT, note VARCHAR(9))");
    for (file, is_held) in
        [(&b"1\n"[..], false), (b"1\n", true), (b"1\tab\n", false), (b"1\tab\n", true)]
    {
        let mut client = proxy.app();
        if is_held {
            client.run("SET @own = RAND()");
        }
        client.send(Command::Query, b"LOAD DATA LOCAL INFILE 'x' INTO TABLE infile_d");
        let (sequence, _) = client.packet().unwrap();
        client.put(sequence + 3, file);
        client.put(sequence + 4, b"");
        let (_, error) = client.packet().unwrap();
        assert_eq!(error[..3], [255, 132, 4], "{error:?}");
        let mut more = Vec::new();
        client.stream.read_to_end(&mut more).expect("it is closed");
        assert_eq!(more, b"");
        eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    }
    assert_eq!(root.text("SELECT COUNT(*) FROM shop.infile_d"), "0");
}

#[test]
fn a_client_gone_inside_its_file_leaves_the_pool_whole() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE infile_b (id INT)");
    client.send(Command::Query, b"LOAD DATA LOCAL INFILE 'x' INTO TABLE infile_b");
    client.packet().unwrap();
    client.put(2, b"1\n2\n");
    client.hang_up();
    assert_eq!(proxy.app().text("SELECT COUNT(*) FROM infile_b"), "0");
}

fn is_free(proxy: &Proxy) {
    eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    eventually("they are gone", || proxy.metric("fairlane_sessions_open") == 1.0);
}

/// As the servers do it, by `net_read_timeout` and `net_write_timeout`, or by KILL.
#[test]
fn who_neither_sends_nor_reads_keeps_no_slot() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE infile_c (id INT)");
    for how in ["timeout", "KILL"] {
        let mut silent = proxy.app();
        silent.run("SET net_read_timeout = 1");
        silent.send(Command::Query, b"LOAD DATA LOCAL INFILE 'x' INTO TABLE infile_c");
        silent.packet().unwrap();
        if how == "KILL" {
            client.run(&format!("KILL {}", silent.greeting.thread_id));
        }
        is_free(&proxy);
        // More than sockets and Fairlane take, so that the server has to wait; and less, which may stay.
        let sizes = [20_000_000, 200_000];
        for size in &sizes[..if how == "KILL" { 2 } else { 1 }] {
            let mut silent = proxy.app();
            silent.run("SET net_write_timeout = 1");
            silent.run("BEGIN");
            silent.run("SELECT * FROM infile_c FOR UPDATE");
            let sql = format!("SELECT REPEAT('x', {size}) FROM seq_1_to_20");
            silent.send(Command::Query, sql.as_bytes());
            if how == "KILL" {
                pause(500);
                client.run(&format!("KILL {}", silent.greeting.thread_id));
            }
            is_free(&proxy);
        }
    }
}

/// A server notices with the rows that it can't get rid of, and stops there.
#[test]
fn nothing_runs_behind_a_large_result_whose_client_is_gone() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut client = proxy.app();
    client.run("CREATE TABLE gone_rows (id INT PRIMARY KEY)");
    client.run("INSERT INTO gone_rows VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)");
    client.run("CREATE TABLE gone_log (how VARCHAR(20))");
    let big = "SELECT REPEAT('x', 3000) FROM gone_rows a, gone_rows b, gone_rows c, gone_rows d, \
        gone_rows e LIMIT 30000";
    let log = |how: &str| format!("INSERT INTO gone_log VALUES ('{how}')");
    client.run(&format!("CREATE PROCEDURE gone_big() BEGIN {big}; {}; END", log("call")));
    let text = format!("SELECT 1; {big}; {}", log("text"));
    let mut root = servers().root();
    let mut vanish = |sql: &str| {
        let mut gone = proxy.app();
        gone.send(Command::Query, sql.as_bytes());
        gone.packet().unwrap();
        gone.hang_up();
        eventually("it has ended", || {
            proxy.sum("fairlane_lane_slots_in_use{") == 0.0
                && root.text(
                    "SELECT COUNT(*) FROM information_schema.processlist \
                     WHERE info LIKE '%gone\\_log%' AND id <> CONNECTION_ID()",
                ) == "0"
        });
    };
    // More often than there are connections, which all have to come back.
    for _ in 0..3 {
        vanish(&text);
        vanish("CALL gone_big()");
    }
    // What is small is taken whole, and what is behind it runs.
    vanish(&format!("SELECT 1; DO SLEEP(0.5); SELECT 2; {}", log("short")));
    assert_eq!(client.text("SELECT GROUP_CONCAT(how) FROM gone_log FOR UPDATE"), "short");
}

/// Servers take less than `max_allowed_packet`; what has grown beyond it on its way costs no transaction.
#[test]
fn commands_that_nearly_fill_max_allowed_packet() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let limit: usize = servers().root().text("SELECT @@max_allowed_packet").parse().unwrap();
    let outcome = |port: u16, payload: usize| {
        let mut client = Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
        let sql = format!("SELECT 1/*{}*/", "x".repeat(payload - 1 - 12));
        let error = client.query(&sql).err().map(|failed| failed.code());
        (error, client.query("SELECT 7").is_ok())
    };
    for payload in [limit - 1, limit] {
        assert_eq!(outcome(proxy.port, payload), outcome(servers().primary, payload), "{payload}");
    }
    let mut client = proxy.app();
    client.run("CREATE TABLE grown_a (id INT) ENGINE=InnoDB");
    let prepared = client.command(Command::StmtPrepare, b"SELECT LENGTH(?)").unwrap();
    let id = prepared.summary.prepared.unwrap().0.to_le_bytes();
    let head = [&id[..], &[0, 1, 0, 0, 0, 0]].concat();
    let first = [&head[..], &[1, 253, 0, 1, b'x']].concat();
    client.command(Command::StmtExecute, &first).unwrap();
    client.run("BEGIN");
    client.run("INSERT INTO grown_a VALUES (1)");
    // Of the payload 12 bytes come before the value, and 9 are its length.
    let value = vec![b'x'; limit - 1 - 21];
    let length = (value.len() as u64).to_le_bytes();
    let later = [&head[..], &[0, 254], &length[..], &value].concat();
    let sql = format!("SELECT CONNECTION_ID() > 0/*{}*/", "x".repeat(limit - 2 - 30));
    for (command, body) in [(Command::StmtExecute, &later[..]), (Command::Query, sql.as_bytes())] {
        assert_eq!(body.len() + 1, limit - 1);
        assert_eq!(client.command(command, body).unwrap().error().unwrap().code(), 1153);
    }
    client.run("COMMIT");
    assert_eq!(client.text("SELECT COUNT(*) FROM grown_a"), "1");
}

#[test]
fn a_slow_reader_holds_up_neither_memory_nor_others() {
    let proxy = Proxy::with(servers(), 4, "");
    let mut slow = proxy.app();
    slow.run("CREATE TABLE slow_a (data LONGTEXT)");
    for _ in 0..10 {
        slow.run(&format!("INSERT INTO slow_a VALUES ('{}')", "x".repeat(4_000_000)));
    }
    servers().wait_replicated();
    slow.send(Command::Query, b"SELECT a.data FROM slow_a a, slow_a b");
    pause(1000);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(resident() < 150_000, "{} KiB for a result of 400 MB nobody reads", resident());
    let mut quick = proxy.app();
    for _ in 0..50 {
        quick.run("SELECT 1");
    }
    slow.hang_up();
    eventually("the slow reader's connection is free again", || {
        proxy.sum("fairlane_lane_slots_in_use{") == 0.0
    });
}

#[test]
fn commands_sent_ahead_are_answered_in_order() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    let mut bytes = Vec::new();
    for number in 0..20 {
        packet::put(&mut bytes, 0, format!("\x03SELECT {number} AS n").as_bytes());
    }
    client.stream.write_all(&bytes).unwrap();
    for number in 0..20_u8 {
        let mut payloads = Vec::new();
        // Column count, definition, row, end.
        for _ in 0..4 {
            payloads.push(client.packet().unwrap().1);
        }
        assert_eq!(payloads[2][1..], *number.to_string().as_bytes());
    }
}
