//! A client that goes away in the middle: what it leaves, and what the next one finds.

use std::io::Write;

use fairlane::protocol::{Command, packet};

use crate::support::{Proxy, Raw, eventually, servers};

/// A client's last deed.
type Leave = fn(&mut Raw);

/// How a client goes away.
const WAYS: &[(&str, Leave)] = &[
    ("in a transaction", |_| {}),
    ("with half a header", |raw| raw.stream.write_all(&[9, 0]).unwrap()),
    ("with half a command", |raw| raw.stream.write_all(b"\x20\0\0\0\x03SELECT").unwrap()),
    ("with half a long command", |raw| {
        raw.stream.write_all(&[0xff, 0xff, 0xff, 0]).unwrap();
        raw.stream.write_all(&[3; 70_000]).unwrap();
    }),
    ("before the answer", |raw| raw.send(Command::Query, b"INSERT INTO df_g VALUES (2)")),
    ("in a long answer", |raw| {
        raw.send(Command::Query, b"SELECT REPEAT('x', 900) FROM seq_1_to_90000");
        raw.packet().unwrap();
    }),
    ("between two results", |raw| {
        let more =
            "SELECT 1; SELECT REPEAT('x', 900) FROM seq_1_to_90000; INSERT INTO df_g VALUES (3)";
        raw.send(Command::Query, more.as_bytes());
        raw.packet().unwrap();
    }),
    ("before a statement is prepared", |raw| {
        raw.send(Command::StmtPrepare, b"INSERT INTO df_g VALUES (?)");
    }),
    ("before a prepared statement is executed", |raw| {
        let id = prepared(raw, "INSERT INTO df_g VALUES (4)");
        raw.send(Command::StmtExecute, &execution(id, 0));
    }),
    ("with half an execution", |raw| {
        prepared(raw, "INSERT INTO df_g VALUES (5)");
        raw.stream.write_all(&[10, 0, 0, 0, Command::StmtExecute as u8, 1, 0]).unwrap();
    }),
    ("in a cursor", |raw| {
        let id = prepared(raw, "SELECT REPEAT('x', 900) FROM seq_1_to_90000 LIMIT 9000");
        raw.command(Command::StmtExecute, &execution(id, 1)).unwrap();
        let rows = 5000_u32.to_le_bytes();
        raw.send(Command::StmtFetch, &[&id[..], &rows].concat());
        raw.packet().unwrap();
    }),
    ("after long data", |raw| {
        let id = prepared(raw, "INSERT INTO df_g VALUES (?)");
        raw.send(Command::StmtSendLongData, &[&id[..], &[0, 0], &[b'7'; 50_000]].concat());
    }),
    ("in a change of user", |raw| {
        raw.send(Command::ChangeUser, b"app\0\0shop\0\x2d\0nothing_like_it\0");
        raw.packet().unwrap();
    }),
    ("in a reset", |raw| raw.send(Command::ResetConnection, b"")),
    ("before a local file", |raw| {
        raw.send(Command::Query, b"LOAD DATA LOCAL INFILE 'a' INTO TABLE df_g");
        raw.packet().unwrap();
    }),
    ("in a local file", |raw| {
        raw.send(Command::Query, b"LOAD DATA LOCAL INFILE 'a' INTO TABLE df_g");
        let (sequence, _) = raw.packet().unwrap();
        raw.put(sequence + 1, b"7\n8\n");
    }),
    ("with an order of packets that is wrong", |raw| {
        let mut out = Vec::new();
        packet::put(&mut out, 5, b"\x03DO 0");
        raw.stream.write_all(&out).unwrap();
    }),
    ("with good-bye", |raw| raw.send(Command::Quit, b"")),
];

/// The id of a statement.
fn prepared(raw: &mut Raw, sql: &str) -> [u8; 4] {
    let answer = raw.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    let (id, ..) = answer.summary.prepared.expect("a prepared statement");
    id.to_le_bytes()
}

/// COM_STMT_EXECUTE of a statement without parameters.
fn execution(id: [u8; 4], flags: u8) -> Vec<u8> {
    [&id[..], &[flags], &1_u32.to_le_bytes()].concat()
}

/// What is left after a client left so, as the next one sees it.
fn left(port: u16, leave: Leave) -> Vec<Vec<Option<String>>> {
    let connect = || Raw::connect(port, "app", "app-secret", Some("shop")).expect("a login");
    let mut first = connect();
    first.replace("CREATE OR REPLACE TABLE df_g (id INT)");
    first.run("INSERT INTO df_g VALUES (0)");
    first.run("SET @gone = 1");
    first.run("SELECT GET_LOCK('df_gone', 9)");
    first.run("BEGIN");
    first.run("INSERT INTO df_g VALUES (1)");
    leave(&mut first);
    first.hang_up();
    let mut next = connect();
    eventually("the locks are free", || next.text("SELECT IS_FREE_LOCK('df_gone')") == "1");
    next.rows("SELECT id, @gone, @@autocommit, LAST_INSERT_ID() FROM df_g FOR UPDATE")
}

#[test]
fn clients_that_go_away_leave_the_same() {
    let proxy = Proxy::with(servers(), 4, "");
    let expected = vec![vec![Some("0".to_owned()), None, Some("1".into()), Some("0".into())]];
    for (name, leave) in WAYS {
        let direct = left(servers().primary, *leave);
        let through = left(proxy.port, *leave);
        assert_eq!(direct, through, "gone {name}");
        assert_eq!(through, expected, "gone {name}");
    }
}
