//! The binary protocol: parameters of every type, cursors, long data, statements that are gone.

use fairlane::protocol::Command;

use crate::compare::{ALL, BOTH, Script, check};
use crate::params::*;
use crate::step::*;
use crate::support::{Proxy, product, servers};

fn parameters() -> Vec<Param> {
    vec![
        fixed(TINY, &[0x80]),
        unsigned(TINY, &[0xff]),
        fixed(SHORT, &i16::MIN.to_le_bytes()),
        unsigned(SHORT, &u16::MAX.to_le_bytes()),
        fixed(LONG, &i32::MIN.to_le_bytes()),
        unsigned(LONG, &u32::MAX.to_le_bytes()),
        fixed(INT24, &(-8_388_608_i32).to_le_bytes()),
        big(i64::MIN),
        unsigned(LONGLONG, &u64::MAX.to_le_bytes()),
        fixed(FLOAT, &f32::MAX.to_le_bytes()),
        fixed(FLOAT, &0.1_f32.to_le_bytes()),
        fixed(DOUBLE, &f64::MIN_POSITIVE.to_le_bytes()),
        fixed(DOUBLE, &f64::NAN.to_le_bytes()),
        fixed(YEAR, &2026_u16.to_le_bytes()),
        moment(DATE, &[]),
        moment(DATE, &[0xea, 0x07, 2, 3]),
        moment(DATETIME, &[0xea, 0x07, 2, 3]),
        moment(DATETIME, &[0xea, 0x07, 2, 3, 4, 5, 6]),
        moment(TIMESTAMP, &[0xea, 0x07, 2, 3, 4, 5, 6, 0x40, 0xe2, 1, 0]),
        moment(TIME, &[]),
        moment(TIME, &[1, 34, 0, 0, 0, 22, 59, 59]),
        moment(TIME, &[0, 1, 0, 0, 0, 2, 3, 4, 1, 0, 0, 0]),
        text_as(DECIMAL, b"-1.50"),
        text_as(NEWDECIMAL, b"99999999999999999999.123456789"),
        text_as(VARCHAR, b"abc"),
        text_as(VAR_STRING, "caf\u{e9}".as_bytes()),
        text_as(STRING, b""),
        text_as(TINY_BLOB, b"\0\xff"),
        text_as(MEDIUM_BLOB, b"x"),
        text_as(LONG_BLOB, &[7; 300]),
        text_as(BLOB, &[8; 70_000]),
        text_as(ENUM, b"e"),
        text_as(SET, b"s"),
        text_as(BIT, b"\x01"),
        null(),
        null_as(LONGLONG),
        null_as(BLOB),
    ]
}

fn each_parameter() -> Script {
    let mut steps = vec![prepare(0, "SELECT ?, ? IS NULL, HEX(?)")];
    for param in parameters() {
        let three = [param.clone(), param.clone(), param];
        steps.push(execute(0, &three));
        steps.push(execute_with(0, 0, &three, false));
    }
    // A kind that does not exist.
    steps.push(execute(0, &[fixed(0x20, &[1]), null(), null()]));
    steps.push(query("SELECT 'end'"));
    Script::new("each parameter", steps)
}

fn all_parameters() -> Script {
    let all = parameters();
    let marks = vec!["?"; all.len()].join(",");
    let steps = vec![
        prepare(0, format!("SELECT {marks}")),
        execute(0, &all),
        execute_with(0, 0, &all, false),
        execute(0, &vec![null(); all.len()]),
        execute_with(0, 0, &vec![null_as(TINY); all.len()], true),
        prepare(1, format!("SELECT {}", vec!["?"; 300].join(","))),
        execute(1, &vec![big(5); 300]),
    ];
    Script::new("all parameters", steps)
}

const PREPARED: &[&str] = &[
    "SELECT 1",
    "SELECT ?",
    "SELECT ? + 1, 'x', NULL",
    "SELECT * FROM df_p WHERE id = ?",
    "INSERT INTO df_p VALUES (?, ?)",
    "UPDATE df_p SET t = ? WHERE id = ?",
    "DELETE FROM df_p WHERE id = ?",
    "INSERT INTO df_p VALUES (9, 'r') RETURNING *",
    "SHOW TABLES LIKE 'df\\_p'",
    "SHOW COLUMNS FROM df_p",
    "SET @v = ?",
    "DO ?",
    "BEGIN",
    "COMMIT",
    "USE shop",
    "CREATE TABLE IF NOT EXISTS df_p (id INT)",
    "EXPLAIN SELECT * FROM df_p",
    "SELEC",
    "",
    "SELECT nothing_like_it",
    "SELECT * FROM nothing_like_it",
    "SELECT 1; SELECT 2",
    "PREPARE s FROM 'SELECT 1'",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE df_p",
    "SELECT 1/0",
    "SHOW WARNINGS",
    "LOCK TABLES df_p READ",
    "UNLOCK TABLES",
    "BEGIN NOT ATOMIC SELECT 1; END",
    "SELECT LAST_INSERT_ID()",
    "SELECT FOUND_ROWS()",
    "SELECT 1 INTO @x",
    "SELECT ? LIMIT ?",
    "FLUSH TABLES",
    "SHOW GRANTS",
    "SHOW CREATE TABLE df_p",
    "CALL df_nothing(?)",
    "XA RECOVER",
    "SIGNAL SQLSTATE '45000'",
    "GET DIAGNOSTICS @n = NUMBER",
    "CHECK TABLE df_p",
];

/// MySQL 9.7 dies of the fetch from a cursor over an EXPLAIN.
fn kills(sql: &str) -> bool {
    sql.starts_with("EXPLAIN")
}

/// How many parameters a text has.
fn params_of(sql: &str) -> Vec<Param> {
    (0..sql.matches('?').count()).map(|n| big(n as i64 + 3)).collect()
}

fn each_statement() -> Vec<Script> {
    let one = |sql: &&str| {
        let params = params_of(sql);
        let steps = vec![
            query("CREATE OR REPLACE TABLE df_p (id INT PRIMARY KEY, t TEXT)"),
            // What FOUND_ROWS() is before that is what the session before on its thread left.
            query("SELECT 1"),
            prepare(0, sql),
            execute(0, &params),
            execute_with(0, 0, &params, false),
            reset(0),
            execute_with(0, 1, &params, true),
            fetch(0, 10).on(if kills(sql) { MARIADB } else { EVERYWHERE }),
            close(0),
            execute(0, &params),
            query("ROLLBACK"),
            query("SELECT @v, @x"),
        ];
        Script::new(format!("prepared `{sql}`"), steps)
    };
    PREPARED.iter().map(one).collect()
}

/// Their ids differ; what is said of the column does not.
fn connection_id() -> Script {
    let texts = ["SELECT CONNECTION_ID()", "SELECT CONNECTION_ID() + ?, CONNECTION_ID() AS id"];
    let steps = texts.iter().enumerate().map(|(slot, sql)| prepare(slot, sql)).collect();
    Script::new("prepared connection id", steps)
}

fn cursors() -> Vec<Script> {
    let rows = "SELECT seq, REPEAT('x', seq) FROM seq_1_to_25";
    let mut steps = vec![prepare(0, rows)];
    for flags in [0, 1, 2, 3, 4, 5, 8, 0x80] {
        steps.push(execute_with(0, flags, &[], true));
        steps.extend([1, 0, 10, 100, 1].map(|count| fetch(0, count)));
    }
    let interleaved = vec![
        prepare(0, rows),
        prepare(1, "SELECT seq FROM seq_1_to_3 WHERE seq > ?"),
        execute_with(0, 1, &[], true),
        execute_with(1, 1, &[big(1)], true),
        fetch(0, 2),
        fetch(1, 1),
        query("SELECT 'between'"),
        fetch(0, 2),
        reset(0),
        fetch(0, 2),
        fetch(1, 5),
        fetch(1, 5),
        execute_with(0, 1, &[], true),
        execute_with(0, 1, &[], true),
        fetch(0, 3),
        close(0),
        fetch(0, 3),
        query("SELECT 'end'"),
    ];
    let odd = vec![
        prepare(0, "SELECT 1 WHERE 0"),
        execute_with(0, 1, &[], true),
        fetch(0, 1),
        prepare(1, "DO 0"),
        execute_with(1, 1, &[], true),
        fetch(1, 1),
        prepare(2, rows),
        fetch(2, 1),
        query("BEGIN"),
        execute_with(2, 1, &[], true),
        query("COMMIT"),
        fetch(2, 1),
        command(Command::ResetConnection, ""),
        fetch(2, 1),
        execute(2, &[]),
    ];
    [("cursors", steps), ("two cursors", interleaved), ("odd cursors", odd)]
        .map(|(name, steps)| Script::new(name, steps))
        .into()
}

fn long_pieces() -> Vec<Script> {
    let steps = vec![
        prepare(0, "SELECT ?, LENGTH(?)"),
        long_data(0, 0, b"abc"),
        long_data(0, 0, b"def"),
        long_data(0, 1, b""),
        execute(0, &[null_as(BLOB), null_as(BLOB)]),
        execute(0, &[text("x"), text("y")]),
        long_data(0, 0, b"gone"),
        reset(0),
        execute(0, &[text("x"), text("y")]),
        long_data(0, 1, b"kept"),
        query("SELECT 'between'"),
        execute(0, &[text("x"), null_as(BLOB)]),
        query("SELECT 'end'"),
    ];
    let wrong = vec![
        prepare(0, "SELECT ?"),
        long_data(0, 7, b"no such parameter"),
        execute(0, &[text("x")]),
        query("SHOW WARNINGS"),
        reset(0),
        execute(0, &[text("x")]),
        long_data(5, 0, b"no such statement"),
        query("SELECT 'end'"),
    ];
    let after_cursor = vec![
        prepare(0, "SELECT seq FROM seq_1_to_9"),
        execute_with(0, 1, &[], true),
        long_data(0, 0, b"no such parameter"),
        execute(0, &[]),
        reset(0),
        query("CREATE OR REPLACE TABLE df_l (t TEXT)"),
        prepare(1, "INSERT INTO df_l VALUES (?)"),
        execute_with(1, 1, &[text("a")], true),
        long_data(1, 0, b"long"),
        long_data(1, 0, b" data"),
        execute(1, &[null_as(BLOB)]),
        query("SELECT * FROM df_l ORDER BY t"),
    ];
    [("long data", steps), ("wrong long data", wrong), ("long data after a cursor", after_cursor)]
        .map(|(name, steps)| Script::new(name, steps))
        .into()
}

/// Tables and state that change between PREPARE and EXECUTE.
fn changes() -> Vec<Script> {
    let create = "CREATE OR REPLACE TABLE df_c (id INT, t VARCHAR(9))";
    let ddl = vec![
        query(create),
        query("INSERT INTO df_c VALUES (1, 'a')"),
        prepare(0, "SELECT * FROM df_c"),
        execute(0, &[]),
        query("ALTER TABLE df_c ADD COLUMN n BIGINT DEFAULT 5"),
        execute(0, &[]),
        query("ALTER TABLE df_c DROP COLUMN t"),
        execute(0, &[]),
        query("DROP TABLE df_c"),
        execute(0, &[]),
        query(create),
        execute(0, &[]),
        execute_with(0, 1, &[], true),
        fetch(0, 1),
    ];
    let state = vec![
        query(create),
        prepare(0, "SELECT COUNT(*), DATABASE() FROM df_c"),
        query("USE information_schema"),
        execute(0, &[]),
        prepare(1, "SELECT 'caf\u{e9}', @@sql_mode, @@time_zone"),
        query("SET NAMES latin1"),
        execute(1, &[]),
        query("SET sql_mode = 'ANSI_QUOTES', time_zone = '+02:00'"),
        execute(1, &[]),
        prepare(2, "SELECT \"a\""),
        query("SET sql_mode = DEFAULT"),
        execute(1, &[]),
        query("SET @v = 3"),
        prepare(3, "SELECT @v + ?"),
        execute(3, &[big(1)]),
        query("SET @v = 4"),
        execute_with(3, 0, &[big(1)], false),
    ];
    // Which table it describes is decided when it is prepared (MySQL).
    let temporary = vec![
        query(create),
        prepare(0, "SHOW COLUMNS FROM df_c"),
        prepare(1, "SHOW INDEX FROM df_c"),
        prepare(2, "DESCRIBE df_c"),
        execute(0, &[]),
        query("CREATE TEMPORARY TABLE df_c (a INT PRIMARY KEY)"),
        execute(0, &[]),
        execute(1, &[]),
        execute(2, &[]),
        prepare(3, "SHOW COLUMNS FROM df_c"),
        execute(3, &[]),
        query("DROP TEMPORARY TABLE df_c"),
        execute(3, &[]),
        execute(0, &[]),
    ];
    [("DDL between", ddl), ("state between", state), ("a temporary table between", temporary)]
        .map(|(name, steps)| Script::new(name, steps))
        .into()
}

/// A statement that was prepared before its session left autocommit, executed in a transaction on
/// a connection that does not have it: none of its steps may end the transaction.
fn late_autocommit() -> Vec<Script> {
    let steps = |begin: &[&str]| {
        let mut steps = vec![prepare(0, "SELECT ? + 1"), execute(0, &[big(1)])];
        steps.push(query("SET autocommit = 0"));
        steps.extend(queries(begin));
        steps.extend([execute(0, &[big(2)]), query("DO 0")]);
        steps.extend(queries(&["ROLLBACK", "SELECT COUNT(*) FROM df_late"]));
        steps
    };
    let write = steps(&["INSERT INTO df_late VALUES (1)"]);
    let read = steps(&["START TRANSACTION READ ONLY", "SELECT 1 FROM df_late", "UNLOCK TABLES"]);
    vec![Script::new("autocommit off, a write", write), Script::new("autocommit off, reads", read)]
}

/// Cursors that executions leave open, or close.
fn failing_cursors() -> Vec<Script> {
    let rows = "SELECT seq FROM seq_1_to_9 WHERE seq > ?";
    let begin = || vec![prepare(0, rows), execute_with(0, 1, &[big(1)], true), fetch(0, 1)];
    let long = [
        begin(),
        vec![
            long_data(0, 9, b"no such parameter"),
            execute_with(0, 1, &[big(5)], true),
            fetch(0, 1),
            execute(0, &[big(5)]),
            query("SELECT 'between'"),
            fetch(0, 2),
            reset(0),
            fetch(0, 1),
            execute_with(0, 1, &[big(7)], true),
            fetch(0, 9),
        ],
    ];
    let kept = [
        begin(),
        vec![
            long_data(0, 9, b"no such parameter"),
            execute(0, &[big(5)]),
            query("SELECT 'between'"),
            execute(0, &[big(5)]),
            query("SELECT 'between'"),
            close(0),
            prepare(0, rows),
            execute(0, &[big(7)]),
        ],
    ];
    let arguments = [
        begin(),
        vec![
            with_id("no parameters".into(), Command::StmtExecute, 0, vec![1, 1, 0, 0, 0]),
            fetch(0, 1),
            execute(0, &[big(7)]),
            fetch(0, 1),
        ],
    ];
    let failing = [
        queries(&["SET sql_mode = 'STRICT_ALL_TABLES'"]),
        vec![
            prepare(0, "SELECT seq, (SELECT seq FROM seq_1_to_9 WHERE seq <= ?) FROM seq_1_to_9"),
            execute_with(0, 1, &[big(1)], true),
            fetch(0, 2),
            execute_with(0, 1, &[big(2)], true),
            fetch(0, 2),
            query("SELECT 'end'"),
        ],
    ];
    if product().is_mysql() {
        // A statement that began with a cursor has no legal answer without one any more.
        return vec![Script::new("cursors after bad rows", failing.concat())];
    }
    [
        ("long data", long),
        ("long data, no cursor", kept),
        ("arguments", arguments),
        ("rows", failing),
    ]
    .map(|(name, steps)| Script::new(format!("cursors after bad {name}"), steps.concat()))
    .into()
}

/// The counts of the statement before, by a prepared one.
fn counts() -> Vec<Script> {
    let counts = "SELECT ROW_COUNT(), FOUND_ROWS() AS found, ROW_COUNT() + ?";
    let mut steps = queries(&["DROP TABLE IF EXISTS df_n", "CREATE TABLE df_n (id INT)"]);
    steps[0] = steps[0].clone().by_kind();
    steps.extend([query("SELECT 1"), prepare(0, counts), prepare(1, "SELECT FOUND_ROWS()")]);
    for sql in [
        "INSERT INTO df_n VALUES (1), (2), (3)",
        // A replica that applies in parallel has rows without a key in another order.
        "SELECT * FROM df_n ORDER BY id",
        "UPDATE df_n SET id = 5 WHERE id > 1",
        "SELECT nothing_like_it",
        "SELECT * FROM df_n ORDER BY id LIMIT 1",
        "INSERT INTO df_n SELECT id FROM df_n",
        "REPLACE INTO df_n SELECT 7 FROM df_n LIMIT 1",
        "CREATE TEMPORARY TABLE IF NOT EXISTS df_m AS SELECT * FROM df_n",
        "DROP TEMPORARY TABLE df_m",
        "DO 0",
    ] {
        // What MySQL has found for its writes, see docs/compatibility.md.
        let finds = ["UPDATE", "INSERT INTO df_n SELECT", "REPLACE", "CREATE TEMPORARY"];
        if product().is_mysql() && finds.iter().any(|start| sql.starts_with(start)) {
            continue;
        }
        steps.extend([query(sql), execute(0, &[big(1)]), execute(0, &[big(1)])]);
        steps.extend([query(sql), execute(1, &[]), query("SELECT ROW_COUNT()")]);
    }
    let pinned = [queries(&["SET @a = 1"]), steps.clone()].concat();
    let begun = [queries(&["BEGIN"]), steps.clone()].concat();
    [("counts", steps), ("counts, pinned", pinned), ("counts in a transaction", begun)]
        .map(|(name, steps)| Script::new(name, steps))
        .into()
}

/// Ids nobody has, lengths that are wrong.
fn wrong() -> Vec<Script> {
    let rest = |what: &str, command, rest: &[u8]| with_id(what.into(), command, 0, rest.to_vec());
    let no_id = vec![execute(3, &[]), fetch(3, 1), reset(3), close(3), query("SELECT 'end'")];
    let mut scripts = vec![Script::new("no such statement", no_id)];
    for (what, body) in [
        ("no flags", &[][..]),
        ("no iterations", &[0]),
        ("no parameters", &[0, 1, 0, 0, 0]),
        ("no types", &[0, 1, 0, 0, 0, 0]),
        ("types missing", &[0, 1, 0, 0, 0, 0, 1]),
        ("values missing", &[0, 1, 0, 0, 0, 0, 1, 8, 0]),
        ("a value too short", &[0, 1, 0, 0, 0, 0, 1, 8, 0, 1, 2, 3]),
        ("a text too short", &[0, 1, 0, 0, 0, 0, 1, 0xfd, 0, 9, b'x']),
        ("a date too short", &[0, 1, 0, 0, 0, 0, 1, 0x0c, 0, 7, 1]),
        ("no types sent ever", &[0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("many iterations", &[0, 9, 0, 0, 0, 0, 1, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("more than needed", &[0, 1, 0, 0, 0, 0, 1, 1, 0, 5, 6, 7]),
    ] {
        let steps = vec![
            prepare(0, "SELECT ?"),
            rest(what, Command::StmtExecute, body),
            execute(0, &[big(1)]),
            query("SELECT 'end'"),
        ];
        scripts.push(Script::new(format!("execute with {what}"), steps));
    }
    let odd = vec![
        prepare(0, "SELECT 1"),
        rest("execute with too much", Command::StmtExecute, &[0, 1, 0, 0, 0, 1, 2, 3]),
        rest("fetch without a number", Command::StmtFetch, &[]),
        rest("fetch with half a number", Command::StmtFetch, &[1, 0]),
        rest("reset with too much", Command::StmtReset, &[1, 0]),
        rest("close with too much", Command::StmtClose, &[1, 0]),
        query("SELECT 'end'"),
    ];
    scripts.push(Script::new("odd lengths", odd));
    scripts
}

/// The id that MariaDB reads as that of the statement prepared last.
fn last_one() -> Script {
    let last = |what: Command, rest: &[u8]| command(what, [&[0xff; 4], rest].concat());
    let steps = vec![
        last(Command::StmtExecute, &[0, 1, 0, 0, 0]),
        prepare(0, "SELECT 1"),
        prepare(1, "SELECT 2"),
        last(Command::StmtExecute, &[0, 1, 0, 0, 0]),
        prepare(2, "SELEC"),
        last(Command::StmtExecute, &[0, 1, 0, 0, 0]),
        last(Command::StmtReset, &[]),
        last(Command::StmtClose, &[]),
        last(Command::StmtExecute, &[0, 1, 0, 0, 0]),
        query("SELECT 'end'"),
    ];
    Script::new("the last statement", steps)
}

#[test]
fn parameters_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    check(&proxy, &[each_parameter(), all_parameters()], BOTH);
}

#[test]
fn prepared_statements_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    check(&proxy, &each_statement(), BOTH);
    check(&proxy, &cursors(), ALL);
    check(&proxy, &long_pieces(), BOTH);
    check(&proxy, &changes(), ALL);
    check(&proxy, &failing_cursors(), ALL);
    check(&proxy, &counts(), BOTH);
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE TABLE shop.df_late (id INT)");
    servers().wait_replicated();
    check(&proxy, &late_autocommit(), BOTH);
    check(&proxy, &wrong(), &BOTH[..1]);
    check(&proxy, &[connection_id()], BOTH);
    check(&proxy, &[last_one()], &BOTH[..1]);
}
