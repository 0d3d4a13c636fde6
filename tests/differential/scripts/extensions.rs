//! What MariaDB adds to the protocol: bulk execution and cached metadata.

use fairlane::protocol::{Capabilities, Command};

use crate::compare::{CLASSIC, MODERN, Script, check};
use crate::params::*;
use crate::step::*;
use crate::support::product::product;
use crate::support::{Proxy, servers};

/// Flags of COM_STMT_BULK_EXECUTE.
const UNIT_RESULTS: u16 = 64;
const TYPES: u16 = 128;

/// A value in a row of a bulk execution, or what stands for one.
#[derive(Clone)]
enum Cell {
    Value(Vec<u8>),
    Null,
    Default,
    Ignore,
}

fn number(value: i32) -> Cell {
    Cell::Value(value.to_le_bytes().into())
}

fn word(value: &str) -> Cell {
    Cell::Value([&[value.len() as u8], value.as_bytes()].concat())
}

/// Flags, types when they are sent, and the rows.
fn body(flags: u16, kinds: &[u8], rows: &[&[Cell]]) -> Vec<u8> {
    let mut out = flags.to_le_bytes().to_vec();
    if flags & TYPES != 0 {
        out.extend(kinds.iter().flat_map(|kind| [*kind, 0]));
    }
    for cell in rows.iter().copied().flatten() {
        match cell {
            Cell::Value(value) => out.extend([&[0], &value[..]].concat()),
            Cell::Null => out.push(1),
            Cell::Default => out.push(2),
            Cell::Ignore => out.push(3),
        }
    }
    out
}

fn bulk(slot: usize, what: &str, body: Vec<u8>) -> Step {
    with_id(format!("bulk #{slot} {what}"), Command::StmtBulkExecute, slot, body)
}

const KINDS: &[u8] = &[LONG, VAR_STRING];

fn table(name: &str) -> Vec<Step> {
    vec![
        query(format!(
            "CREATE OR REPLACE TABLE {name} (id INT PRIMARY KEY AUTO_INCREMENT, \
             name VARCHAR(9) DEFAULT 'none', n INT)"
        )),
        prepare(0, format!("INSERT INTO {name} (id, name) VALUES (?, ?)")),
    ]
}

/// Rows of all forms, and what is left of them to ask about.
fn bulk_inserts() -> Script {
    let rows: &[&[Cell]] = &[
        &[number(1), word("one")],
        &[number(2), Cell::Null],
        &[Cell::Default, Cell::Default],
        &[number(9), word("nine")],
    ];
    let mut steps = table("df_bulk");
    steps.extend([
        bulk(0, "first", body(TYPES, KINDS, rows)),
        query("SELECT ROW_COUNT(), LAST_INSERT_ID()"),
        query("SELECT * FROM df_bulk"),
        bulk(0, "no types", body(0, KINDS, &[&[number(11), word("eleven")]])),
        execute_with(0, 0, &[fixed(LONG, &[12, 0, 0, 0]), text("twelve")], false),
        bulk(
            0,
            "a row twice",
            body(TYPES, KINDS, &[&[number(13), word("x")], &[number(13), word("y")]]),
        ),
        query("SHOW WARNINGS"),
        bulk(0, "too long a name", body(TYPES, KINDS, &[&[number(14), word("far too long")]])),
        query("SHOW WARNINGS"),
        query("SET sql_mode = ''"),
        prepare(1, "INSERT INTO df_bulk (id, name) VALUES (?, ?)"),
        bulk(
            1,
            "cut",
            body(
                TYPES,
                KINDS,
                &[&[number(15), word("far too long")], &[number(16), word("far too long, too")]],
            ),
        ),
        query("SHOW WARNINGS"),
        query("SELECT ROW_COUNT(), COUNT(*), MIN(name), MAX(id) FROM df_bulk"),
        bulk(0, "no row", body(TYPES, KINDS, &[])),
        bulk(0, "half a row", body(TYPES, KINDS, &[&[number(17)]])),
        bulk(0, "an unknown mark", [body(TYPES, KINDS, &[]), vec![9, 9]].concat()),
        query("SELECT COUNT(*) FROM df_bulk"),
        query("BEGIN"),
        bulk(
            0,
            "in a transaction",
            body(TYPES, KINDS, &[&[number(30), word("a")], &[number(31), word("b")]]),
        ),
        query("ROLLBACK"),
        query("SELECT COUNT(*), SUM(id) FROM df_bulk"),
    ]);
    Script::new("bulk inserts", steps)
}

/// Statements of other kinds, some of which no server runs in bulk.
fn bulk_others() -> Script {
    let one = |value| body(TYPES, &[LONG], &[&[number(value)]]);
    let two = body(TYPES, &[LONG], &[&[number(1)], &[number(2)]]);
    let mut steps = table("df_bulk_other");
    steps.extend([
        bulk(
            0,
            "rows",
            body(
                TYPES,
                KINDS,
                &[&[number(1), word("a")], &[number(2), word("b")], &[number(3), word("c")]],
            ),
        ),
        prepare(1, "UPDATE df_bulk_other SET n = 5, name = ? WHERE id = ?"),
        bulk(
            1,
            "update",
            body(
                TYPES,
                &[VAR_STRING, LONG],
                &[&[word("z"), number(1)], &[Cell::Ignore, number(2)]],
            ),
        ),
        prepare(2, "DELETE FROM df_bulk_other WHERE id = ?"),
        bulk(2, "delete", two.clone()),
        prepare(3, "SELECT * FROM df_bulk_other WHERE id = ?"),
        bulk(3, "select", one(3)),
        prepare(4, "SELECT 1"),
        bulk(4, "no parameters", 0_u16.to_le_bytes().into()),
        prepare(5, "INSERT INTO df_bulk_other (n) VALUES (?) RETURNING id, n, name"),
        bulk(5, "returning", two.clone()),
        bulk(5, "returning again", two.clone()),
        prepare(6, "REPLACE INTO df_bulk_other (id, n) VALUES (?, ROW_COUNT())"),
        bulk(6, "replace", two),
        prepare(7, "SET @df_bulk = ?"),
        bulk(7, "set", one(3)),
        prepare(8, "DO SLEEP(?)"),
        bulk(8, "do", one(0)),
        query("SELECT * FROM df_bulk_other"),
    ]);
    Script::new("bulk, other statements", steps)
}

/// Flags nobody knows, packets that end early, ids of nobody.
fn bulk_wrong() -> Script {
    let row: &[&[Cell]] = &[&[number(1), word("a")]];
    let last = |body: Vec<u8>| command(Command::StmtBulkExecute, [vec![0xff; 4], body].concat());
    let mut steps = table("df_bulk_wrong");
    steps.extend([
        bulk(0, "no types ever", body(0, KINDS, row)),
        bulk(0, "unknown flags", body(TYPES | 1, KINDS, row)),
        bulk(0, "no flags", vec![]),
        bulk(0, "half the flags", vec![128]),
        bulk(0, "no types", vec![128, 0]),
        bulk(0, "half the types", vec![128, 0, LONG, 0, VAR_STRING]),
        bulk(0, "a kind of nobody", body(TYPES, &[0x20, VAR_STRING], row)),
        bulk(3, "an id of nobody", body(TYPES, KINDS, row)),
        command(Command::StmtBulkExecute, []),
        command(Command::StmtBulkExecute, [1, 2]),
        last(body(TYPES, KINDS, row)),
        long_data(0, 1, b"long"),
        bulk(0, "after long data", body(TYPES, KINDS, &[&[number(2), word("short")]])),
        reset(0),
        bulk(0, "after a reset", body(TYPES, KINDS, &[&[number(3), word("c")]])),
        query("SELECT id, name FROM df_bulk_wrong"),
    ]);
    Script::new("bulk, wrong packets", steps)
}

fn unit_results() -> Script {
    let mut steps = table("df_bulk_unit");
    let flags = TYPES | UNIT_RESULTS;
    steps.extend([
        bulk(
            0,
            "units",
            body(flags, KINDS, &[&[number(5), word("a")], &[Cell::Default, word("b")]]),
        ),
        bulk(0, "units again", body(flags, KINDS, &[&[Cell::Default, word("c")]])),
        query("SELECT ROW_COUNT(), LAST_INSERT_ID()"),
        bulk(
            0,
            "a row twice",
            body(flags, KINDS, &[&[number(9), word("a")], &[number(9), word("b")]]),
        ),
        prepare(1, "UPDATE df_bulk_unit SET n = n + 1 WHERE id > ?"),
        bulk(1, "update", body(flags, &[LONG], &[&[number(0)], &[number(100)]])),
        query("SELECT * FROM df_bulk_unit"),
        prepare(2, "INSERT INTO df_bulk_unit (n) VALUES (?) RETURNING n, id"),
        bulk(2, "returning", body(flags, &[LONG], &[&[number(1)], &[number(2)]])),
        bulk(2, "returning again", body(flags, &[LONG], &[&[number(3)]])),
        bulk(2, "no units", body(TYPES, &[LONG], &[&[number(4)]])),
    ]);
    Script::new("bulk, results of units", steps)
}

/// ROW_COUNT() after sets that each have to do with several rows.
fn bulk_counts() -> Vec<Script> {
    const TEXTS: [(&str, &str); 9] = [
        ("an update", "UPDATE df_bulk_count SET n = n + 1 WHERE a = ?"),
        ("an update of one", "UPDATE df_bulk_count SET n = n + 1 WHERE a = ? LIMIT 1"),
        ("a delete", "DELETE FROM df_bulk_count WHERE a = ?"),
        (
            "a delete of two tables",
            "DELETE x FROM df_bulk_count x JOIN df_bulk_count y ON x.id = y.id WHERE x.a = ?",
        ),
        ("a replace", "REPLACE INTO df_bulk_count (id, a) VALUES (?, 9)"),
        ("an insert", "INSERT INTO df_bulk_count (a) VALUES (?), (8)"),
        (
            "an insert of a query",
            "INSERT INTO df_bulk_count (a) SELECT n FROM df_bulk_count WHERE a = ?",
        ),
        (
            "an insert that updates",
            "INSERT INTO df_bulk_count (id, a) VALUES (?, 4) ON DUPLICATE KEY UPDATE a = a + 1",
        ),
        ("an insert that ignores", "INSERT IGNORE INTO df_bulk_count (id, a) VALUES (?, 4)"),
    ];
    let sets = body(TYPES, &[LONG], &[&[number(1)], &[number(2)], &[number(3)], &[number(7)]]);
    let script = |&(what, text): &(&str, &str)| {
        let mut steps = queries(&[
            "CREATE OR REPLACE TABLE df_bulk_count (id INT PRIMARY KEY AUTO_INCREMENT, a INT, n INT DEFAULT 0)",
            "INSERT INTO df_bulk_count (a) VALUES (1), (1), (1), (2), (2), (3)",
        ]);
        steps.extend([
            prepare(0, text),
            bulk(0, what, sets.clone()),
            query("SELECT ROW_COUNT(), LAST_INSERT_ID()"),
            query("SELECT ROW_COUNT()"),
            query("BEGIN"),
            bulk(0, "in a transaction", sets.clone()),
            query("SELECT ROW_COUNT()"),
            query("COMMIT"),
            query("SELECT id FROM df_bulk_count LIMIT 2"),
            bulk(0, "no types", body(0, &[LONG], &[&[number(3)], &[number(3)]])),
            query("SELECT FOUND_ROWS()"),
            query("SHOW WARNINGS"),
        ]);
        Script::new(format!("bulk, counts after {what}"), steps)
    };
    TEXTS.iter().map(script).collect()
}

/// Statements that run often, whose columns change now and then.
fn metadata() -> Vec<Script> {
    let again = |slot| [execute(slot, &[]), execute(slot, &[])];
    let mut changes = queries(&[
        "CREATE OR REPLACE TABLE df_meta (a INT, b VARCHAR(5))",
        "INSERT INTO df_meta VALUES (1, 'x'), (2, NULL)",
    ]);
    changes.push(prepare(0, "SELECT * FROM df_meta"));
    changes.extend(again(0));
    changes.push(query("ALTER TABLE df_meta MODIFY a VARCHAR(20), ADD c INT DEFAULT 3"));
    changes.extend(again(0));
    changes.push(query("SET NAMES latin1"));
    changes.extend(again(0));
    changes.push(query("SET NAMES utf8mb4"));
    changes.extend(again(0));
    changes.extend([execute_with(0, 1, &[], true), fetch(0, 1), fetch(0, 9)]);
    changes.extend(again(0));
    changes.push(prepare(1, "SELECT * FROM df_meta"));
    changes.extend(again(1));
    changes.push(prepare(2, "INSERT INTO df_meta (c) VALUES (7) RETURNING c, a"));
    changes.extend(again(2));
    changes.push(query("TRUNCATE df_meta"));
    changes.extend(again(0));
    changes.push(query("DROP TABLE df_meta"));
    changes.extend(again(0));
    let kinds = vec![
        prepare(0, "SELECT ? AS a, ? + 1 AS b"),
        execute(0, &[big(1), big(2)]),
        execute(0, &[big(3), big(4)]),
        execute(0, &[text("x"), text("4")]),
        execute(0, &[text("longer"), text("4")]),
        execute(0, &[null(), null()]),
        prepare(1, "SELECT @df_meta, CONNECTION_ID() > 0"),
        execute(1, &[]),
        query("SET @df_meta = 'x'"),
        execute(1, &[]),
        execute(1, &[]),
        prepare(2, "SHOW WARNINGS"),
        execute(2, &[]),
        execute(2, &[]),
        prepare(3, "SHOW TABLES LIKE 'df_no%'"),
        execute(3, &[]),
        execute(3, &[]),
    ];
    let mut texts = queries(&[
        "SELECT 1, 'x'",
        "SELECT 1, 'x'",
        "SELECT CAST('x' AS INT)",
        "SHOW WARNINGS",
        "SHOW WARNINGS",
        "SHOW COUNT(*) WARNINGS",
        "SELECT @@warning_count",
        "PREPARE p FROM 'SELECT 5'",
        "EXECUTE p",
        "EXECUTE p",
        "SELECT 1; SELECT 2",
    ]);
    texts.push(command(Command::FieldList, b"orders\0"));
    let mut calls = queries(&[
        "CREATE OR REPLACE PROCEDURE df_meta_p(IN a INT, OUT b INT) BEGIN SELECT a; SELECT 'x', a; \
         SET b = a; END",
        "CREATE OR REPLACE PROCEDURE df_meta_q() BEGIN SELECT 1; END",
    ]);
    calls.push(prepare(0, "CALL df_meta_p(?, ?)"));
    calls.extend([big(1), big(2), big(3)].map(|param| execute(0, &[param, null()])));
    calls.push(prepare(1, "CALL df_meta_q()"));
    calls.extend(again(1));
    [("changes", changes), ("kinds", kinds), ("texts", texts), ("calls", calls)]
        .map(|(name, steps)| Script::new(format!("cached metadata, {name}"), steps))
        .into()
}

/// What a server without bulk execution says to one.
fn refused() -> Script {
    let one = body(TYPES, &[LONG], &[&[number(1)]]);
    let steps = vec![prepare(0, "SELECT ?"), bulk(0, "refused", one), query("SELECT 'end'")];
    Script::new("bulk, refused", steps)
}

#[test]
fn bulk_executions_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    check(&proxy, &[refused()], &[MODERN]);
    if product().is_mysql() {
        return;
    }
    let with = |more| MODERN.union(more);
    let (bulk, unit) = (Capabilities::MARIADB_BULK, Capabilities::MARIADB_BULK_UNIT_RESULTS);
    let asked = [
        MODERN,
        with(bulk),
        CLASSIC.union(bulk),
        with(bulk.union(Capabilities::SESSION_TRACK)),
        with(bulk.union(Capabilities::MARIADB_CACHE_METADATA)),
        with(bulk.union(unit)),
        with(bulk.union(unit).union(Capabilities::MARIADB_CACHE_METADATA)),
    ];
    check(&proxy, &[bulk_inserts(), bulk_others(), bulk_wrong(), unit_results()], &asked);
    check(&proxy, &bulk_counts(), &asked[1..]);
}

#[test]
fn cached_metadata_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    let cached = Capabilities::MARIADB_CACHE_METADATA;
    let all = [
        MODERN.union(cached),
        CLASSIC.union(cached),
        MODERN.union(cached).union(Capabilities::MARIADB_EXTENDED_METADATA),
    ];
    check(&proxy, &metadata(), &all);
}
