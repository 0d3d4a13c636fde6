//! Several results: of one text, of procedures, with errors in the middle, with many columns.

use fairlane::protocol::Command;

use crate::compare::{ALL, BOTH, Script, check};
use crate::params::{big, text};
use crate::step::{Step, command, execute, prepare, queries, query};
use crate::support::{Proxy, servers};

const PROCEDURES: &[&str] = &[
    "CREATE OR REPLACE TABLE df_r (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT)",
    "CREATE OR REPLACE PROCEDURE df_several() BEGIN SELECT 1 AS a; SELECT 2 AS b, 'x' AS c; \
     SELECT * FROM df_r WHERE 0; INSERT INTO df_r (t) VALUES ('p'), ('q'); SELECT 3; END",
    "CREATE OR REPLACE PROCEDURE df_quiet() BEGIN DO 0; END",
    "CREATE OR REPLACE PROCEDURE df_fails() BEGIN SELECT 1; SELECT nothing_like_it; SELECT 2; END",
    "CREATE OR REPLACE PROCEDURE df_signals() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET \
     MESSAGE_TEXT = 'no more'; END",
    "CREATE OR REPLACE PROCEDURE df_warns() BEGIN SELECT 1/0; SELECT 'a' + 1; END",
    "CREATE OR REPLACE PROCEDURE df_out(IN a INT, OUT b INT, INOUT c VARCHAR(20)) \
     BEGIN SET b = a * 2; SET c = CONCAT(c, '!'); SELECT a, b, c; END",
    "CREATE OR REPLACE PROCEDURE df_only_out(OUT b INT) SET b = 5",
    "CREATE OR REPLACE PROCEDURE df_own_cursor() BEGIN DECLARE c CURSOR FOR SELECT 1; OPEN c; CLOSE c; \
     SELECT 1 AS a; SELECT 2 AS b; END",
    "CREATE OR REPLACE FUNCTION df_double(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
];

const CALLS: &[&str] = &[
    "CALL df_several()",
    "CALL df_quiet()",
    "CALL df_fails()",
    "SELECT 1",
    "CALL df_signals()",
    "SHOW WARNINGS",
    "CALL df_warns()",
    "SHOW WARNINGS",
    "SET @c = 'in'",
    "CALL df_out(1, @b, @c)",
    "SELECT @b, @c",
    "CALL df_out(1, 2)",
    "CALL df_only_out(@b)",
    "SELECT @b",
    "CALL df_own_cursor()",
    "SELECT df_double(21)",
    "BEGIN NOT ATOMIC CALL df_several(); CALL df_quiet(); END",
    "SELECT LAST_INSERT_ID(), ROW_COUNT()",
];

const MULTI: &[&str] = &[
    "SELECT 1; SELECT 2",
    "SELECT 1;",
    "SELECT 1; ",
    "SELECT 1; -- end",
    "SELECT 1;; SELECT 2",
    "DO 1; DO 2; DO 3",
    "SELECT 1; SELECT nothing_like_it; SELECT 3",
    "SELECT 1; SELEC; SELECT 3",
    "SELEC; SELECT 1",
    "INSERT INTO df_r (t) VALUES ('m'); SELECT LAST_INSERT_ID(); UPDATE df_r SET t = 'n' WHERE id = 1",
    "CALL df_several(); SELECT 'after'",
    "CALL df_fails(); SELECT 'after'",
    "SELECT 1/0; SELECT 2",
    "SHOW WARNINGS; SELECT 1",
    "SET @x = 1; SELECT @x; SET @x = NULL",
    "BEGIN; SELECT 1; COMMIT",
    "USE shop; SELECT DATABASE()",
    "SELECT 1 WHERE 0; SELECT 2 WHERE 0",
    "SET sql_mode = 'ANSI_QUOTES'; SELECT 1",
    "SET sql_mode = DEFAULT; SELECT 1",
];

fn prepared_calls() -> Vec<Step> {
    let mut steps = queries(&PROCEDURES[..1]);
    for (slot, sql) in [
        "CALL df_several()",
        "CALL df_out(?, ?, ?)",
        "CALL df_only_out(?)",
        "CALL df_fails()",
        "CALL df_quiet()",
        "CALL df_nothing()",
        "CALL df_own_cursor()",
        "SELECT 1; SELECT 2",
    ]
    .iter()
    .enumerate()
    {
        steps.push(prepare(slot, sql));
        let params = match slot {
            1 => vec![big(4), big(0), text("in")],
            2 => vec![big(0)],
            _ => Vec::new(),
        };
        steps.push(execute(slot, &params));
        steps.push(execute(slot, &params));
    }
    steps.push(query("SELECT 'end'"));
    steps
}

#[test]
fn several_results_are_the_same() {
    let proxy = Proxy::start(servers());
    let mut root = servers().root();
    root.run("USE shop");
    PROCEDURES.iter().for_each(|sql| root.replace(sql));
    servers().wait_replicated();
    let mut switched = vec![command(Command::SetOption, [1, 0]), query("SELECT 1; SELECT 2")];
    switched.extend([command(Command::SetOption, [0, 0]), query("SELECT 1; SELECT 2")]);
    switched.push(query("CALL df_several()"));
    let empty = "TRUNCATE df_r";
    let scripts = [
        Script::new("procedures", [queries(&[empty]), queries(CALLS)].concat()),
        Script::new("multi-statements", [queries(&[empty]), queries(MULTI)].concat()),
        Script::new("prepared calls", prepared_calls()),
        Script::new("switched multi-statements", switched),
    ];
    check(&proxy, &scripts, ALL);
}

#[test]
fn many_columns_and_rows_are_the_same() {
    let proxy = Proxy::start(servers());
    let list = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let mut steps = Vec::new();
    for count in [250, 251, 252, 255, 256, 4096] {
        let sql = format!("SELECT {}", list(count));
        steps.extend([query(&sql), prepare(count, &sql), execute(count, &[])]);
    }
    steps.push(query(format!("SELECT {}", list(4097))));
    let columns = (0..1017).map(|n| format!("c{n} TINYINT")).collect::<Vec<_>>().join(",");
    steps.push(query(format!("CREATE OR REPLACE TABLE df_wide ({columns})")));
    steps.extend(queries(&["SELECT * FROM df_wide", "INSERT INTO df_wide () VALUES (), ()"]));
    steps.extend(queries(&["SELECT * FROM df_wide", "DROP TABLE df_wide"]));
    let rows = "SELECT seq, REPEAT('x', seq % 300) FROM seq_1_to_20000";
    steps.extend([query(rows), prepare(0, rows), execute(0, &[])]);
    check(&proxy, &[Script::new("many columns and rows", steps)], BOTH);
}
