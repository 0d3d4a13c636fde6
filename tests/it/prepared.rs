//! Prepared statements over shared connections.

use fairlane::protocol::status::Status;
use fairlane::protocol::{Capabilities, Command, Shape};

use crate::support::raw::Login;
use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, pause, product, servers};

/// PREPARE; the client's id.
fn prepare(client: &mut Raw, sql: &str) -> u32 {
    let answer = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    assert_eq!(answer.error(), None, "{sql}");
    answer.summary.prepared.unwrap().0
}

/// EXECUTE with one BIGINT parameter; types are sent only when asked for.
fn execute(client: &mut Raw, id: u32, value: i64, with_types: bool) -> crate::support::Answer {
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    if with_types {
        body.extend_from_slice(&[1, 8, 0]);
    } else {
        body.push(0);
    }
    body.extend_from_slice(&value.to_le_bytes());
    let answer = client.command(Command::StmtExecute, &body).unwrap();
    assert_eq!(answer.error(), None);
    answer
}

/// A text that is quoted is a name in another sql_mode: nobody is to be shown it.
#[test]
fn a_prepared_text_is_read_as_it_was_when_it_was_prepared() {
    let rule = "[[rule]]\nlane = \"batch\"\ndigest = \"select ? , ? + ?\"\n";
    let proxy = Proxy::with(servers(), 6, rule);
    let mut client = proxy.app();
    // MySQL prepares the text anew, in the mode of now, for a parameter of another type than it took.
    let id = prepare(&mut client, "SELECT \"a secret\", 1 + ?");
    client.run("SET sql_mode = 'ANSI_QUOTES'");
    let chosen = "fairlane_lane_choices_total{reason=\"rule\"}";
    let before = proxy.metric(chosen);
    execute(&mut client, id, 1, true);
    assert_eq!(proxy.metric(chosen), before + 1.0, "the rule is met");
    let state = proxy.get("/state");
    assert!(state.contains("SELECT ? , ? + ?") && !state.contains("a secret"), "{state}");
}

/// The BIGINT in a binary row of one column.
fn number(answer: &crate::support::Answer, deprecates_eof: bool) -> i64 {
    let packets = answer.packets();
    let row = &packets[2 + usize::from(!deprecates_eof)];
    i64::from_le_bytes(row[2..10].try_into().unwrap())
}

#[test]
fn a_statement_runs_on_whatever_connection_there_is() {
    for deprecates_eof in [true, false] {
        let proxy = Proxy::with(servers(), 3, "");
        let mut more = Capabilities::MULTI_RESULTS | Capabilities::PS_MULTI_RESULTS;
        more.set(Capabilities::DEPRECATE_EOF, deprecates_eof);
        let login =
            Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
        let mut clients: Vec<Raw> = (0..6).map(|_| Raw::login(&login).unwrap()).collect();
        let ids: Vec<u32> = clients
            .iter_mut()
            .map(|client| prepare(client, "SELECT CAST(? AS SIGNED) * 2"))
            .collect();
        for round in 0..20 {
            for (index, (client, id)) in clients.iter_mut().zip(&ids).enumerate() {
                let value = i64::from(round * 10) + index as i64;
                let answer = execute(client, *id, value, round == 0);
                assert_eq!(number(&answer, deprecates_eof), value * 2);
            }
        }
    }
}

#[test]
fn statements_read_on_the_replica_and_write_on_the_primary() {
    let (servers, proxy) = (servers(), Proxy::start(servers()));
    let mut client = proxy.app();
    client.run("CREATE TABLE ps_a (id BIGINT PRIMARY KEY)");
    servers.wait_replicated();
    let insert = prepare(&mut client, "INSERT INTO ps_a VALUES (?)");
    let select = prepare(&mut client, "SELECT CAST(COUNT(*) AS SIGNED) FROM ps_a WHERE id <= ?");
    for value in 1..50 {
        execute(&mut client, insert, value, value == 1);
        assert_eq!(number(&execute(&mut client, select, value, true), true), value);
    }
    servers.wait_replicated();
    let mut reader = proxy.app();
    proxy.until_replica_answers(&mut reader, "SELECT id FROM ps_a");
    let select = prepare(&mut reader, "SELECT CAST(COUNT(*) AS SIGNED) FROM ps_a WHERE id <= ?");
    assert_eq!(number(&execute(&mut reader, select, 1000, true), true), 49);
    assert!(
        proxy.sum("fairlane_statements_routed_total{reason=\"plain_read\",target=\"replica\"}")
            > 1.0
    );
    assert!(!servers.replica_saw().contains("Prepare\tINSERT INTO ps_a"));
}

#[test]
fn the_schema_at_prepare_time_counts() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut root = servers().root();
    root.run("CREATE DATABASE IF NOT EXISTS test_ps");
    root.replace("CREATE OR REPLACE TABLE test_ps.same (a BIGINT)");
    root.replace("CREATE OR REPLACE TABLE shop.same (a BIGINT)");
    root.run("INSERT INTO test_ps.same VALUES (111)");
    root.run("INSERT INTO shop.same VALUES (222)");
    let mut client = proxy.app();
    let id = prepare(&mut client, "SELECT a FROM same WHERE a > ?");
    assert_eq!(number(&execute(&mut client, id, 1, true), true), 222);
    client.run("USE test_ps");
    // Others make the connection forget what it had.
    let mut other = Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    other.run("SELECT 1");
    assert_eq!(number(&execute(&mut client, id, 1, false), true), 222);
    assert_eq!(client.text("SELECT a FROM same"), "111");
}

/// MySQL decides it then, MariaDB each time.
#[test]
fn what_is_null_finds_is_as_it_was_at_prepare_time() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    servers()
        .root()
        .replace("CREATE OR REPLACE TABLE shop.ps_null (id INT AUTO_INCREMENT PRIMARY KEY, v INT)");
    let rows = |mut client: Raw, (before, after): (u8, u8), mut other: Option<Raw>| {
        client.run(&format!("SET sql_auto_is_null = {before}"));
        let id = prepare(&mut client, "SELECT v FROM ps_null WHERE id IS NULL");
        if let Some(other) = &mut other {
            // The connection it was prepared on is taken.
            other.run("SET @own = RAND()");
        }
        client.run(&format!("SET sql_auto_is_null = {after}"));
        client.run("INSERT INTO ps_null (v) VALUES (5)");
        run(&mut client, id, 0).summary.rows
    };
    let app = || Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
    for values in [(0, 1), (1, 0), (1, 1)] {
        let direct = rows(app(), values, None);
        assert_eq!(rows(proxy.app(), values, Some(proxy.app())), direct, "{values:?}");
    }
}

#[test]
fn statements_prepared_on_the_servers_stay_bounded() {
    let proxy = Proxy::with(servers(), 3, "[routing]\nreplica_reads = false");
    let mut client = proxy.app();
    for number in 0..700 {
        let id = prepare(&mut client, &format!("SELECT {number} + ?"));
        if number % 2 == 0 {
            client.send(Command::StmtClose, &id.to_le_bytes());
        }
    }
    let count: f64 = servers().root().rows("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0][1]
        .clone()
        .unwrap()
        .parse()
        .unwrap();
    assert!(count <= 2.0 * 200.0 + 50.0, "{count} statements are prepared");
}

#[test]
fn long_data_and_cursors_keep_their_connection() {
    let proxy = Proxy::with(servers(), 4, "[routing]\nreplica_reads = false");
    let mut client = proxy.app();
    let id = prepare(&mut client, "SELECT LENGTH(?)");
    for _ in 0..3 {
        client.send(
            Command::StmtSendLongData,
            &[&id.to_le_bytes()[..], &[0, 0], &vec![b'x'; 100_000]].concat(),
        );
    }
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 0xfc, 0]);
    let answer = client.command(Command::StmtExecute, &body).unwrap();
    assert_eq!(answer.error(), None);
    let row = &answer.packets()[2];
    assert_eq!(u32::from_le_bytes(row[2..6].try_into().unwrap()), 300_000);
    crate::support::eventually("the pin ends", || proxy.sum("fairlane_sessions_pinned{") == 0.0);

    client.run("CREATE TABLE ps_cursor (a BIGINT)");
    client.run("INSERT INTO ps_cursor SELECT seq FROM seq_1_to_100");
    let id = prepare(&mut client, "SELECT a FROM ps_cursor WHERE a > ? ORDER BY a");
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&[1, 1, 0, 0, 0, 0, 1, 8, 0]);
    body.extend_from_slice(&0_i64.to_le_bytes());
    let answer = client.command(Command::StmtExecute, &body).unwrap();
    assert_eq!((answer.error(), answer.summary.rows), (None, 0));
    // The client has its answer a moment before the metric has the pin.
    let pinned = "fairlane_sessions_pinned{reason=\"cursor\"}";
    crate::support::eventually("the cursor pins", || proxy.metric(pinned) == 1.0);
    proxy.app().run("SELECT 1");
    let mut rows = 0;
    for _ in 0..12 {
        let fetch = [id.to_le_bytes(), 10_u32.to_le_bytes()].concat();
        client.send(Command::StmtFetch, &fetch);
        let fetched = client.answer(Shape::Rows).unwrap();
        rows += fetched.summary.rows;
        if fetched.summary.status.bits() & 0x80 != 0 {
            break;
        }
    }
    assert_eq!(rows, 100);
    crate::support::eventually("the pin ends", || proxy.sum("fairlane_sessions_pinned{") == 0.0);
}

#[test]
fn unknown_statements_get_the_servers_error() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    let body = [&99_u32.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    let through = client.command(Command::StmtExecute, &body).unwrap().error().unwrap();
    let mut direct = Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
    let there = direct.command(Command::StmtExecute, &body).unwrap().error().unwrap();
    assert_eq!(through.code(), there.code());
    let bad = client.command(Command::StmtPrepare, b"SELECT FROM").unwrap();
    assert_eq!(bad.error().unwrap().code(), 1064);
    client.run("SELECT 1");
}

#[test]
fn the_connection_id_of_a_prepared_statement_is_the_clients() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    for _ in 0..3 {
        let mut client = proxy.app();
        let id = prepare(&mut client, "SELECT CAST(CONNECTION_ID() AS SIGNED) + ?");
        let answer = execute(&mut client, id, 0, true);
        assert_eq!(number(&answer, true), i64::from(client.greeting.thread_id));
    }
}

/// EXECUTE without parameters.
fn run(client: &mut Raw, id: u32, flags: u8) -> crate::support::Answer {
    let body = [&id.to_le_bytes()[..], &[flags, 1, 0, 0, 0]].concat();
    let answer = client.command(Command::StmtExecute, &body).unwrap();
    assert_eq!(answer.error(), None);
    answer
}

#[test]
fn a_statement_with_an_open_cursor_outlives_many_others_of_its_session() {
    let proxy = Proxy::start(servers());
    let mut client = proxy.app();
    let id = prepare(&mut client, "SELECT seq FROM seq_1_to_10");
    let long = prepare(&mut client, "SELECT ?");
    run(&mut client, id, 1);
    let part = |text: &[u8]| [&long.to_le_bytes()[..], &[0, 0], text].concat();
    client.send(Command::StmtSendLongData, &part(b"still "));
    for number in 0..450 {
        let other = prepare(&mut client, &format!("SELECT {number}"));
        run(&mut client, other, 0);
    }
    client.send(Command::StmtSendLongData, &part(b"here"));
    let fetch = [id.to_le_bytes(), 20_u32.to_le_bytes()].concat();
    let rows = client.command(Command::StmtFetch, &fetch).unwrap();
    assert_eq!((rows.error(), rows.summary.rows), (None, 10));
    let body = [&long.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, 1, 0xfc, 0]].concat();
    let answer = client.command(Command::StmtExecute, &body).unwrap();
    assert!(answer.bytes.windows(10).any(|found| found == b"still here"));
}

/// A SELECT takes no sets of parameters, which MariaDB says before it touches the cursor.
#[test]
fn a_cursor_outlives_a_bulk_execution_that_is_refused() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let more = Capabilities::MARIADB_BULK | Capabilities::DEPRECATE_EOF;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let mut client = Raw::login(&login).unwrap();
    let id = prepare(&mut client, "SELECT seq FROM seq_1_to_10 WHERE seq > ? OR seq = ?");
    let values = [0_i64.to_le_bytes(); 2].concat();
    let body = [&id.to_le_bytes()[..], &[1, 1, 0, 0, 0, 0, 1, 8, 0, 8, 0], &values].concat();
    assert_eq!(client.command(Command::StmtExecute, &body).unwrap().error(), None);
    let set = [&[0][..], &values[..8], &[0], &values[8..]].concat();
    let body = [&id.to_le_bytes()[..], &[128, 0, 8, 0, 8, 0], &set].concat();
    let refused = client.command(Command::StmtBulkExecute, &body).unwrap().error().unwrap();
    assert_eq!(refused.code(), 1295);
    let fetch = [id.to_le_bytes(), 20_u32.to_le_bytes()].concat();
    client.send(Command::StmtFetch, &fetch);
    let fetched = client.answer(Shape::Rows).unwrap();
    assert_eq!((fetched.error(), fetched.summary.rows), (None, 10));
}

#[test]
fn a_client_that_keeps_metadata_is_sent_what_only_others_have_seen() {
    let cached = Capabilities::MARIADB_CACHE_METADATA;
    let most = Capabilities::DEPRECATE_EOF | Capabilities::MULTI_RESULTS;
    for more in [most | cached, Capabilities::MULTI_RESULTS | cached] {
        // One connection beside the control connection: both clients share its statement.
        let proxy = Proxy::with(servers(), 2, ONE_LANE);
        let login =
            Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
        let [mut a, mut b] = [(); 2].map(|()| Raw::login(&login).unwrap());
        a.replace("CREATE OR REPLACE TABLE ps_meta (n INT)");
        a.run("INSERT INTO ps_meta VALUES (7)");
        servers().wait_replicated();
        let sql = "SELECT * FROM ps_meta /* fairlane: route=primary */";
        let (id_a, id_b) = (prepare(&mut a, sql), prepare(&mut b, sql));
        let columns = |answer: &crate::support::Answer| {
            let packets = answer.packets();
            let sequences: Vec<u8> = headers(&answer.bytes);
            assert_eq!(sequences, (1..).take(packets.len()).collect::<Vec<u8>>());
            (packets[0].clone(), packets.iter().filter(|p| p.starts_with(b"\x03def")).count())
        };
        assert_eq!(columns(&run(&mut a, id_a, 0)), (vec![1, 0], 0), "known since PREPARE");
        b.run("ALTER TABLE ps_meta MODIFY n VARCHAR(9), ADD m INT");
        assert_eq!(columns(&run(&mut b, id_b, 0)), (vec![2, 1], 2), "sent by the server");
        assert_eq!(columns(&run(&mut b, id_b, 0)), (vec![2, 0], 0));
        let given = run(&mut a, id_a, 0);
        assert_eq!(columns(&given), (vec![2, 1], 2), "left out by the server, put in");
        assert_eq!(given.summary.rows, 1);
        assert_eq!(columns(&run(&mut a, id_a, 0)), (vec![2, 0], 0));
        assert_eq!(a.text("SELECT n FROM ps_meta"), "7");
    }
}

/// On whatever connection: its client reads each result by the definitions that came with it.
#[test]
fn a_client_that_keeps_metadata_is_sent_that_of_each_result_of_a_routine() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let more = Capabilities::DEPRECATE_EOF
        | Capabilities::MULTI_RESULTS
        | Capabilities::PS_MULTI_RESULTS
        | Capabilities::MARIADB_CACHE_METADATA;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let [mut a, mut b] = [(); 2].map(|()| Raw::login(&login).unwrap());
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    root.replace(
        "CREATE OR REPLACE PROCEDURE ps_both() BEGIN SELECT 1 AS a, 2 AS b; SELECT 3 AS c; END",
    );
    let id = prepare(&mut a, "CALL ps_both()");
    let definitions = |client: &mut Raw| {
        let packets = run(client, id, 0).packets();
        packets.iter().filter(|packet| packet.starts_with(b"\x03def")).count()
    };
    assert_eq!(definitions(&mut a), 3);
    assert_eq!(definitions(&mut a), 3, "on the same connection");
    b.run("BEGIN");
    b.run("SELECT 1");
    assert_eq!(definitions(&mut a), 3, "on another one");
}

/// Nobody is told that a piece was lost; the execution tells it.
#[test]
fn a_value_of_which_a_piece_was_lost_is_not_written() {
    let proxy = Proxy::with(servers(), 2, "[[lane]]\nname = \"all\"\nqueue_timeout = \"300ms\"\n");
    let (mut a, mut b) = (proxy.app(), proxy.app());
    a.replace("CREATE OR REPLACE TABLE ps_pieces (id INT AUTO_INCREMENT PRIMARY KEY, v BLOB)");
    let id = prepare(&mut a, "INSERT INTO ps_pieces (v) VALUES (?)").to_le_bytes();
    let piece = |client: &mut Raw, text: &[u8]| {
        client.send(Command::StmtSendLongData, &[&id[..], &[0, 0], text].concat());
    };
    b.run("BEGIN");
    b.run("SELECT 1");
    piece(&mut a, b"one");
    pause(600);
    b.run("COMMIT");
    piece(&mut a, b"two");
    let body = [&id[..], &[0, 1, 0, 0, 0, 0, 1, 252, 0]].concat();
    let refused = a.command(Command::StmtExecute, &body).unwrap().error();
    assert_eq!(refused.map(|error| error.code()), Some(1040));
    assert_eq!(a.text("SELECT COUNT(*) FROM ps_pieces"), "0");
    for text in [&b"one"[..], b"two"] {
        piece(&mut a, text);
    }
    assert_eq!(a.command(Command::StmtExecute, &body).unwrap().error(), None);
    assert_eq!(a.text("SELECT v FROM ps_pieces"), "onetwo");
}

#[test]
fn what_a_session_asks_of_its_last_statement_is_its_own_with_a_cursor_too() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let (mut a, mut b) = (proxy.app(), proxy.app());
    a.replace("CREATE OR REPLACE TABLE ps_asks (id INT PRIMARY KEY)");
    let rows = prepare(&mut a, "SELECT ROW_COUNT()");
    let warnings = prepare(&mut a, "SHOW WARNINGS");
    a.run("INSERT INTO ps_asks VALUES (1), (2), (3)");
    b.run("INSERT INTO ps_asks VALUES (4)");
    assert!(run(&mut a, rows, 1).summary.status.contains(Status::CURSOR_EXISTS));
    let fetch = [rows.to_le_bytes(), 9_u32.to_le_bytes()].concat();
    let row = a.command(Command::StmtFetch, &fetch).unwrap().packets()[0].clone();
    assert_eq!(row[2..6], [3, 0, 0, 0]);
    a.run("SELECT CAST('x' AS SIGNED)");
    b.run("SELECT 1 FROM ps_asks");
    assert_eq!(run(&mut a, warnings, 1).summary.rows, 1);
}

/// What brings the circumstances of then to a connection empties its list of warnings.
#[test]
fn what_the_last_statement_left_outlives_preparing_in_another_schema() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let mut direct = Raw::connect(servers().primary, "app", "app-secret", Some("shop")).unwrap();
    direct.replace("CREATE OR REPLACE TABLE ps_left (id INT PRIMARY KEY)");
    direct.run("INSERT INTO ps_left VALUES (1), (2), (3)");
    let mut texts = vec!["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()"];
    if !product().is_mysql() {
        texts.extend(["SHOW WARNINGS", "SHOW COUNT(*) WARNINGS"]);
        texts.extend(["SELECT @@warning_count", "SELECT @@error_count"]);
    }
    for sql in texts {
        let mut through = proxy.app();
        let mut holder = proxy.app();
        let rows = [&mut direct, &mut through].map(|it| {
            it.run("USE shop");
            let id = prepare(it, sql);
            // It takes the connection on which that is prepared.
            holder.hold();
            it.run("USE information_schema");
            it.run("BEGIN");
            it.run("SELECT id FROM shop.ps_left LIMIT 2 FOR UPDATE");
            assert_eq!(it.query("SELECT nothing").unwrap_err().code(), 1054);
            let mut packets = run(it, id, 0).packets();
            it.run("ROLLBACK");
            holder.run("ROLLBACK");
            packets.retain(|packet| packet.first() == Some(&0));
            packets
        });
        assert_eq!(rows[0], rows[1], "{sql}");
        assert_eq!(rows[0].len(), 1, "{sql}");
    }
}

#[test]
fn a_client_that_keeps_metadata_is_not_sent_again_what_it_has() {
    let more = Capabilities::DEPRECATE_EOF | Capabilities::MARIADB_CACHE_METADATA;
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let login = Login { more, ..Login::new(proxy.port, "app", "app-secret") };
    let [mut a, mut b] = [(); 2].map(|()| Raw::login(&login).unwrap());
    let sql = "SELECT ? /* fairlane: route=primary */";
    let (id_a, id_b) = (prepare(&mut a, sql), prepare(&mut b, sql));
    let execute = |client: &mut Raw, id: u32, param: &[u8]| {
        let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, 1], param].concat();
        let answer = client.command(Command::StmtExecute, &body).unwrap();
        let packets = answer.packets();
        assert_eq!(headers(&answer.bytes), (1..).take(packets.len()).collect::<Vec<u8>>());
        (packets[0].clone(), packets.len())
    };
    let (number, text): (&[u8], &[u8]) = (&[3, 0, 7, 0, 0, 0], &[253, 0, 1, b'x']);
    assert_eq!(execute(&mut a, id_a, number), (vec![1, 1], 4), "another type than PREPARE told");
    assert_eq!(execute(&mut a, id_a, number), (vec![1, 0], 3));
    assert_eq!(execute(&mut b, id_b, text), (vec![1, 1], 4));
    assert_eq!(execute(&mut a, id_a, number), (vec![1, 0], 3), "sent by the server, left out");
    assert_eq!(execute(&mut b, id_b, text), (vec![1, 0], 3));
}

#[test]
fn a_client_that_keeps_metadata_has_the_same_on_every_connection() {
    let more = Capabilities::DEPRECATE_EOF | Capabilities::MARIADB_CACHE_METADATA;
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let login = Login { more, ..Login::new(proxy.port, "app", "app-secret") };
    let [mut client, mut holder] = [(); 2].map(|()| Raw::login(&login).unwrap());
    let id = prepare(&mut client, "SELECT CHARSET('a')");
    client.run("SET character_set_results = NULL");
    holder.hold();
    assert_eq!(run(&mut client, id, 0).packets()[0], [1, 0], "left out, as on the server itself");
}

/// Their definitions are not those of the statement, which a server sends once.
#[test]
fn results_of_a_bulk_execution_s_sets_come_with_their_definitions_on_every_connection() {
    let unit = Capabilities::MARIADB_BULK | Capabilities::MARIADB_BULK_UNIT_RESULTS;
    let more = unit
        | Capabilities::DEPRECATE_EOF
        | Capabilities::MULTI_RESULTS
        | Capabilities::PS_MULTI_RESULTS
        | Capabilities::MARIADB_CACHE_METADATA;
    if !servers().root().greeting.capabilities.contains(unit) {
        return;
    }
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut login = Login { schema: Some("shop"), more, ..Login::new(0, "app", "app-secret") };
    servers().root().replace(
        "CREATE OR REPLACE TABLE shop.ps_units (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
    );
    let insert = "INSERT INTO ps_units (n) VALUES (?)";
    let returning = "INSERT INTO ps_units (n) VALUES (?) RETURNING n";
    for sql in [insert, returning] {
        let [direct, through] = [servers().primary, proxy.port].map(|port| {
            login.port = port;
            let [mut client, mut other] = [(); 2].map(|()| Raw::login(&login).unwrap());
            let (id, others) = (prepare(&mut client, sql), prepare(&mut other, sql));
            let bulk = |client: &mut Raw, id: u32| {
                let set = [0, 7, 0, 0, 0];
                let body = [&id.to_le_bytes()[..], &[128 | 64, 0, 3, 0], &set, &set].concat();
                let answer = client.command(Command::StmtBulkExecute, &body).unwrap();
                let packets = answer.packets();
                assert_eq!(headers(&answer.bytes), (1..).take(packets.len()).collect::<Vec<u8>>());
                let is_head =
                    |packet: &&Vec<u8>| packet.len() == 2 || packet.starts_with(b"\x03def");
                packets.iter().filter(is_head).cloned().collect::<Vec<_>>()
            };
            let mut told = vec![bulk(&mut client, id), bulk(&mut client, id)];
            told.push(bulk(&mut other, others));
            other.hold();
            told.extend([bulk(&mut client, id), bulk(&mut client, id)]);
            other.run("ROLLBACK");
            told.extend([bulk(&mut client, id), bulk(&mut other, others)]);
            told
        });
        assert_eq!(direct, through, "{sql}");
        assert!(direct.iter().all(|told| told.len() > 2), "{sql}");
    }
}

#[test]
fn a_statement_that_can_t_be_prepared_again_leaves_its_session_its_character_sets() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let [mut client, mut holder] = [(); 2].map(|()| proxy.app());
    client.replace("CREATE OR REPLACE TABLE ps_gone (n INT)");
    let id = prepare(&mut client, "SELECT n FROM ps_gone FOR UPDATE");
    client.run("DROP TABLE ps_gone");
    client.run("SET NAMES utf8mb4 COLLATE utf8mb4_bin");
    holder.hold();
    // On another connection than it was prepared on.
    client.run("BEGIN");
    let execution = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    let refused = client.command(Command::StmtExecute, &execution).unwrap();
    assert_eq!(refused.summary.error, Some(1146));
    let columns = client.run("SHOW WARNINGS");
    let bin = 46;
    assert_eq!(columns.packets()[1][14..16], [0x0c, bin], "the collation of `Level`");
    assert_eq!(client.text("SELECT @@collation_connection"), "utf8mb4_bin");
}

/// What resets another statement is answered with the flags of the session's own sql_mode.
#[test]
fn a_statement_that_can_t_be_prepared_again_leaves_its_session_its_flags() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let [mut client, mut holder] = [(); 2].map(|()| proxy.app());
    client.replace("CREATE OR REPLACE TABLE ps_vanished (n INT)");
    let other = prepare(&mut client, "SELECT 2");
    client.run("SET sql_mode = 'NO_BACKSLASH_ESCAPES'");
    let id = prepare(&mut client, "SELECT n FROM ps_vanished FOR UPDATE");
    client.run("SET sql_mode = ''");
    client.run("DROP TABLE ps_vanished");
    holder.hold();
    // On another connection than it was prepared on.
    client.run("BEGIN");
    let execution = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    let refused = client.command(Command::StmtExecute, &execution).unwrap();
    assert_eq!(refused.summary.error, Some(1146));
    let reset = client.command(Command::StmtReset, &other.to_le_bytes()).unwrap();
    assert_eq!(reset.summary.status, Status::IN_TRANS | Status::AUTOCOMMIT);
    assert_eq!(client.text(r"SELECT LENGTH('\n')"), "1");
}

/// A SHOW of a table that is not there leaves ROW_COUNT(), but what prepares it elsewhere does not.
#[test]
fn a_statement_prepared_on_another_connection_leaves_row_count() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let [mut client, mut holder] = [(); 2].map(|()| proxy.app());
    let id = prepare(&mut client, "SHOW COLUMNS FROM ps_nowhere");
    client.run("SET div_precision_increment = 2");
    holder.hold();
    client.run("BEGIN");
    client.run("SELECT 1");
    let execution = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    let failed = client.command(Command::StmtExecute, &execution).unwrap();
    assert_eq!(failed.summary.error, Some(1146));
    assert_eq!(client.text("SELECT ROW_COUNT()"), "-1");
}

/// MariaDB takes long data for a number that is not there after an execution with one.
#[test]
fn long_data_is_taken_as_what_it_is_whatever_others_have_executed() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let [mut one, mut other] = [(); 2].map(|()| proxy.app());
    one.replace("CREATE OR REPLACE TABLE ps_blobs (id INT, t TEXT)");
    let sql = "INSERT INTO ps_blobs VALUES (?, ?)";
    let (id_one, id_other) = (prepare(&mut one, sql), prepare(&mut other, sql));
    let number = [3, 0, 7, 0, 0, 0];
    let body = |id: u32, kinds: [u8; 4], values: &[u8]| {
        [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, 1], &kinds, values].concat()
    };
    let numbers = body(id_other, [3, 0, 3, 0], &[&number[2..], &number[2..]].concat());
    let mixed = body(id_one, [3, 0, 0xfc, 0], &number[2..]);
    for _ in 0..2 {
        let answer = other.command(Command::StmtExecute, &numbers).unwrap();
        assert_eq!(answer.error(), None);
        let part = [&id_one.to_le_bytes()[..], &[1, 0], b"long"].concat();
        one.send(Command::StmtSendLongData, &part);
        one.send(Command::StmtSendLongData, &part);
        assert_eq!(one.command(Command::StmtExecute, &mixed).unwrap().error(), None);
    }
    assert_eq!(
        one.text("SELECT GROUP_CONCAT(t ORDER BY t) FROM ps_blobs"),
        "7,7,longlong,longlong"
    );
}

/// Also where the first parameter with long data has had no number, and the second has.
#[test]
fn long_data_of_several_parameters_is_taken_as_what_it_is_whatever_others_have_executed() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let [mut one, mut other] = [(); 2].map(|()| proxy.app());
    one.replace("CREATE OR REPLACE TABLE ps_two_blobs (s TEXT, t TEXT)");
    let sql = "INSERT INTO ps_two_blobs VALUES (?, ?)";
    let (id_one, id_other) = (prepare(&mut one, sql), prepare(&mut other, sql));
    let body = |id: u32, kinds: [u8; 4], values: &[u8]| {
        [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, 1], &kinds, values].concat()
    };
    let a_number = body(id_other, [0xfc, 0, 3, 0], &[1, b'x', 7, 0, 0, 0]);
    assert_eq!(other.command(Command::StmtExecute, &a_number).unwrap().error(), None);
    for index in 0..2 {
        let part = [&id_one.to_le_bytes()[..], &[index, 0], b"long"].concat();
        one.send(Command::StmtSendLongData, &part);
    }
    let blobs = body(id_one, [0xfc, 0, 0xfc, 0], &[]);
    assert_eq!(one.command(Command::StmtExecute, &blobs).unwrap().error(), None);
    assert_eq!(
        one.text("SELECT GROUP_CONCAT(s, '-', t ORDER BY s) FROM ps_two_blobs"),
        "long-long,x-7"
    );
}

/// Sequence ids of the packets.
fn headers(mut bytes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while let [a, b, c, sequence, ..] = *bytes {
        found.push(sequence);
        bytes = &bytes[4 + u32::from_le_bytes([a, b, c, 0]) as usize..];
    }
    found
}

#[test]
fn long_statements_report_their_progress_to_those_who_ask() {
    let proxy = Proxy::start(servers());
    let more = Capabilities::DEPRECATE_EOF | Capabilities::MARIADB_PROGRESS;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let mut client = Raw::login(&login).unwrap();
    let mut other = proxy.app();
    client
        .run("CREATE TABLE ps_progress AS SELECT seq, REPEAT('x', 200) AS t FROM seq_1_to_300000");
    let progress = |answer: &crate::support::Answer| {
        let packets = answer.packets();
        assert_eq!(packets.last().unwrap()[0], 0, "OK ends it");
        packets.iter().filter(|packet| packet.starts_with(b"\xff\xff\xff")).count()
    };
    for rounds in 0.. {
        client.run("SET progress_report_time = 1");
        let found = progress(&client.run("ALTER TABLE ps_progress FORCE, ALGORITHM = COPY"));
        if found > 0 {
            break;
        }
        // Too fast a machine.
        assert!(rounds < 4, "no report");
        client.run("INSERT INTO ps_progress SELECT * FROM ps_progress");
    }
    other.run("SET progress_report_time = 1");
    assert_eq!(progress(&other.run("ALTER TABLE ps_progress FORCE, ALGORITHM = COPY")), 0);
    client.run("DROP TABLE ps_progress");
    assert_eq!(client.text("SELECT 5"), "5");
}

#[test]
fn long_data_given_in_a_transaction_on_a_replica_is_the_sessions() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE_AND_REPLICA);
    let mut one = proxy.app();
    proxy.until_replica_answers(&mut one, "SELECT 1 FROM (SELECT 1) t");
    let id = prepare(&mut one, "SELECT CONCAT(?, '')");
    one.run("START TRANSACTION READ ONLY");
    one.run("SELECT 1");
    one.send(Command::StmtSendLongData, &[&id.to_le_bytes()[..], &[0, 0], b"long"].concat());
    one.run("COMMIT");
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 0xfc, 0]);
    let answer = one.command(Command::StmtExecute, &body).unwrap();
    assert_eq!(answer.error(), None);
    assert!(answer.packets()[2].ends_with(b"\x04long"), "{:?}", answer.packets()[2]);
}

/// The schema matters to what has to be looked for in it.
#[test]
fn a_statement_that_names_its_schemas_outlives_the_one_it_was_prepared_in() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut client, mut holder) = (proxy.app(), proxy.app());
    client.run("CREATE TABLE outlives_a (a BIGINT)");
    client.run("CREATE DATABASE test_outlived");
    client.run("USE test_outlived");
    let insert = prepare(&mut client, "INSERT INTO shop.outlives_a VALUES (?)");
    client.run("DROP DATABASE test_outlived");
    client.run("USE shop");
    // It gets another connection.
    holder.hold();
    execute(&mut client, insert, 5, true);
    holder.run("COMMIT");
    assert_eq!(client.text("SELECT a FROM outlives_a"), "5");
}

#[test]
fn a_statement_that_names_no_schema_somewhere_does_not() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let connect = || Raw::connect(proxy.port, "root", "root-secret", Some("shop")).unwrap();
    let (mut client, mut holder) = (connect(), connect());
    client.run("CREATE TABLE outlives_b (a BIGINT)");
    let mut texts = vec![("INSERT INTO shop.outlives_b VALUES (outlives_f(?))", true)];
    if product().is_mysql() {
        texts.push(("INSERT INTO shop.outlives_b TABLE outlives_c", false));
    }
    for (sql, has_long_data) in texts {
        client.run("CREATE DATABASE test_outlived");
        for schema in ["shop", "test_outlived"] {
            client.run(&format!("USE {schema}"));
            client.run("DROP FUNCTION IF EXISTS outlives_f");
            client.run(
                "CREATE FUNCTION outlives_f(x TEXT) RETURNS INT DETERMINISTIC NO SQL RETURN 5",
            );
            client.run("DROP TABLE IF EXISTS outlives_c");
            client.run("CREATE TABLE outlives_c SELECT 5");
        }
        let id = prepare(&mut client, sql).to_le_bytes();
        client.run("DROP DATABASE test_outlived");
        client.run("USE shop");
        holder.hold();
        if has_long_data {
            client.send(Command::StmtSendLongData, &[&id[..], &[0, 0], b"long"].concat());
        }
        let types: &[u8] = if has_long_data { &[0, 1, 0xfc, 0] } else { &[] };
        let body = [&id[..], &[0, 1, 0, 0, 0], types].concat();
        let answer = client.command(Command::StmtExecute, &body).unwrap();
        assert!(answer.error().is_some(), "{sql}");
        client.send(Command::StmtClose, &id);
        holder.run("COMMIT");
        assert_eq!(client.text("SELECT COUNT(*) FROM shop.outlives_b"), "0", "{sql}");
    }
}
