//! Every column type in both protocols, with NULL and extremes.

use fairlane::protocol::{Capabilities, Command};

use crate::compare::{BOTH, CLASSIC, MODERN, Script, check};
use crate::step::{Step, command, execute, prepare, query};
use crate::support::{Proxy, servers};

/// Type, and values as SQL.
const COLUMNS: &[(&str, &[&str])] = &[
    ("TINYINT", &["-128", "127", "0"]),
    ("TINYINT UNSIGNED", &["0", "255"]),
    ("BOOL", &["TRUE", "FALSE"]),
    ("SMALLINT", &["-32768", "32767"]),
    ("SMALLINT UNSIGNED ZEROFILL", &["7", "65535"]),
    ("MEDIUMINT", &["-8388608", "8388607"]),
    ("MEDIUMINT UNSIGNED", &["0", "16777215"]),
    ("INT", &["-2147483648", "2147483647"]),
    ("INT UNSIGNED", &["0", "4294967295"]),
    ("INT(5) ZEROFILL", &["42"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807"]),
    ("BIGINT UNSIGNED", &["0", "18446744073709551615"]),
    ("FLOAT", &["-3.402823466e38", "1.17549435e-38", "0.1", "0"]),
    ("FLOAT(7,3)", &["1234.567"]),
    ("DOUBLE", &["-1.7976931348623157e308", "2.2250738585072014e-308", "0.1"]),
    ("DOUBLE UNSIGNED", &["1e100"]),
    ("DECIMAL(65,30)", &["-99999999999999999999999999999999999.999999999999999999999999999999"]),
    ("DECIMAL(5,0) UNSIGNED", &["0", "99999"]),
    ("BIT(1)", &["b'0'", "b'1'"]),
    ("BIT(64)", &["0", "X'ffffffffffffffff'"]),
    ("DATE", &["'0000-00-00'", "'1000-01-01'", "'9999-12-31'"]),
    ("TIME", &["'-838:59:59'", "'838:59:59'", "'00:00:00'"]),
    ("TIME(6)", &["'-838:59:59.999999'", "'00:00:00.000001'"]),
    ("DATETIME", &["'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'", "'2026-01-02'"]),
    ("DATETIME(3)", &["'2026-01-02 03:04:05.678'"]),
    ("DATETIME(6)", &["'9999-12-31 23:59:59.999999'", "'2026-01-02 00:00:00.000001'"]),
    ("TIMESTAMP NULL", &["'1970-01-02 00:00:01'", "'2038-01-18 03:14:07'"]),
    ("TIMESTAMP(6) NULL", &["'2026-01-02 03:04:05.999999'"]),
    ("YEAR", &["1901", "2155", "0"]),
    ("CHAR(0)", &["''"]),
    ("CHAR(255)", &["''", "'\u{e9}\u{1F600}'", "REPEAT('x', 255)"]),
    ("CHAR(5) CHARACTER SET latin1", &["'\u{e9}'"]),
    ("BINARY(5)", &["''", "X'00ff'"]),
    ("VARCHAR(2000)", &["''", "REPEAT('\u{444}', 250)", "REPEAT('y', 251)", "REPEAT('z', 2000)"]),
    ("VARCHAR(10) CHARACTER SET ucs2", &["'\u{444}'"]),
    ("VARCHAR(10) COLLATE utf8mb4_bin", &["'a'"]),
    ("VARBINARY(70)", &["''", "REPEAT(X'00', 70)"]),
    ("TINYTEXT", &["''", "REPEAT('x', 255)"]),
    ("TEXT", &["REPEAT('x', 65535)"]),
    ("MEDIUMTEXT", &["REPEAT('x', 70000)"]),
    ("LONGTEXT", &["'long'"]),
    ("TINYBLOB", &["X'00'"]),
    ("BLOB", &["REPEAT(X'fe', 300)"]),
    ("MEDIUMBLOB", &["X'ff'"]),
    ("LONGBLOB", &["X'fb'", "X'fe'", "X'00'"]),
    ("ENUM('a', '', '\u{e9}')", &["'a'", "''", "'\u{e9}'"]),
    ("SET('x', 'y', 'z')", &["''", "'x,z'"]),
    ("JSON", &["'{\"a\": [1, null]}'"]),
    ("UUID", &["'123e4567-e89b-12d3-a456-426614174000'"]),
    ("INET4", &["'255.0.0.1'"]),
    ("INET6", &["'::1'", "'::ffff:10.0.0.1'"]),
    ("GEOMETRY", &["POINT(1, 2)"]),
    ("POINT", &["POINT(-1.5, 1e300)"]),
    ("POLYGON", &["ST_GeomFromText('POLYGON((0 0,0 3,3 0,0 0))')"]),
    ("INT NOT NULL DEFAULT 7", &["DEFAULT"]),
    ("INT INVISIBLE", &["1"]),
    ("INT AS (1 + 1) VIRTUAL", &["DEFAULT"]),
    ("VARCHAR(2000) COMPRESSED", &["REPEAT('c', 500)"]),
];

fn one_type(index: usize, kind: &str, values: &[&str]) -> Script {
    let table = format!("df_type_{index}");
    let mut steps = vec![
        query("SET sql_mode = '', time_zone = '+00:00'"),
        query(format!("CREATE OR REPLACE TABLE {table} (id INT PRIMARY KEY, v {kind})")),
    ];
    let insert = |number: usize, value: &str| {
        query(format!("INSERT INTO {table} (id, v) VALUES ({number}, {value})"))
    };
    steps.extend(values.iter().enumerate().map(|(number, value)| insert(number, value)));
    if !kind.contains("NOT NULL") && !kind.contains("VIRTUAL") {
        steps.push(insert(values.len(), "NULL"));
    }
    steps.extend(looks(&table));
    Script::new(format!("type {kind}"), steps)
}

fn looks(table: &str) -> Vec<Step> {
    let select = format!("SELECT v, id FROM {table} ORDER BY id");
    let nothing = format!("SELECT v FROM {table} WHERE id = 99");
    let mut steps = vec![
        query(&select),
        query(&nothing),
        query(format!("SELECT MAX(v), MIN(v), COUNT(v) FROM {table}")),
        query(format!("SELECT * FROM {table} ORDER BY id")),
        query(format!("SHOW COLUMNS FROM {table}")),
        command(Command::FieldList, format!("{table}\0%")),
    ];
    for (slot, sql) in
        [select, nothing, format!("SELECT COALESCE(v, v), v = v FROM {table}")].iter().enumerate()
    {
        steps.extend([prepare(slot, sql), execute(slot, &[]), execute(slot, &[])]);
    }
    steps.push(query(format!("DROP TABLE {table}")));
    steps
}

#[test]
fn every_type_has_the_same_answers() {
    let proxy = Proxy::start(servers());
    let scripts: Vec<Script> = COLUMNS
        .iter()
        .enumerate()
        .map(|(index, (kind, values))| one_type(index, kind, values))
        .collect();
    check(&proxy, &scripts, BOTH);
    let extended = Capabilities::MARIADB_EXTENDED_METADATA;
    check(&proxy, &scripts, &[MODERN | extended, CLASSIC | extended]);
}
