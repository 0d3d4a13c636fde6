//! Character sets and collations: names, literals, metadata, errors.

use std::collections::BTreeSet;

use crate::compare::{BOTH, MODERN, Script, check};
use crate::params::text_as;
use crate::step::{execute, prepare, queries, query};
use crate::support::product::product;
use crate::support::{Proxy, servers};

fn names(sql: &str) -> Vec<String> {
    let rows = servers().root().rows(sql);
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

#[test]
fn every_character_set_has_the_same_answers() {
    let proxy = Proxy::start(servers());
    let sets = names("SHOW CHARACTER SET");
    assert!(sets.len() > 30, "{sets:?}");
    let scripts: Vec<Script> = sets
        .iter()
        .map(|set| {
            let mut steps = vec![query(format!("SET NAMES {set}"))];
            steps.extend(queries(&[
                "SELECT 'abc', @@character_set_client, @@collation_connection, CHARSET('a')",
                "SELECT '\u{e9}\u{444}', HEX('\u{e9}')",
                "SELECT nothing_\u{e9}",
                "SHOW WARNINGS",
                "SHOW VARIABLES LIKE 'character_set_c%'",
                "SELECT 'a\\'b', 'a''b'",
            ]));
            steps.extend([
                query(format!("SELECT _{set} X'616263', CONVERT('\u{e9}' USING {set})")),
                prepare(0, "SELECT ?, CHARSET(?)"),
                execute(0, &[text_as(0xfd, b"a\xe9"), text_as(0xfc, b"a\xe9")]),
                query(format!("SET CHARACTER SET {set}")),
                query("SELECT 'abc', @@collation_connection"),
                query("SET NAMES DEFAULT"),
                query("SELECT 'abc', @@collation_connection"),
            ]);
            Script::new(format!("character set {set}"), steps)
        })
        .collect();
    check(&proxy, &scripts, &[MODERN]);
}

#[test]
fn every_collation_of_a_login_has_the_same_answers() {
    let proxy = Proxy::start(servers());
    let known =
        names("SELECT MIN(id) FROM information_schema.collations GROUP BY character_set_name");
    let mut ids: BTreeSet<u8> = known.iter().filter_map(|id| id.parse().ok()).collect();
    assert!(ids.len() > 30);
    // None, and some nobody has.
    ids.extend([0, 46, 128, 224, 250, 254, 255]);
    let look = [
        "SELECT 'a', @@character_set_client, @@character_set_results, @@collation_connection",
        "SELECT '\u{e9}', HEX('\u{e9}')",
        "SELECT nothing_\u{e9}",
    ];
    let scripts: Vec<Script> = ids
        .into_iter()
        .map(|id| Script {
            collation: id,
            ..Script::new(format!("collation {id}"), queries(&look))
        })
        .collect();
    check(&proxy, &scripts, &[MODERN]);
}

/// Those that results may be sent in, and statements may not, write ASCII with two or four bytes a character.
#[test]
fn counts_are_told_in_wide_character_sets() {
    let proxy = Proxy::start(servers());
    let first = ["SELECT nothing", "SELECT CAST('x' AS SIGNED)", "SELECT 1"];
    let asking = [
        "SHOW COUNT(*) ERRORS",
        "SHOW COUNT(*) WARNINGS",
        "SHOW ERRORS",
        "SHOW WARNINGS",
        "SELECT @@error_count",
        "SELECT @@warning_count, 'a'",
        "SELECT FOUND_ROWS(), ROW_COUNT()",
        "SELECT LAST_INSERT_ID()",
        "GET DIAGNOSTICS @df_wide = NUMBER",
        "SELECT @df_wide",
        "SET collation_connection = utf8mb4_bin",
        "SELECT 'a', @@collation_connection, @@character_set_results",
        "SET @@session.sql_mode = 'ANSI_QUOTES'",
        "SELECT @@sql_mode",
        "SET session_track_state_change = 1, sql_mode = ''",
        "SELECT @@sql_mode, \"a\"",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin, character_set_results = WIDE",
        "SELECT 'a', @@collation_connection, @@character_set_client",
    ];
    let scripts: Vec<Script> = ["utf16", "ucs2", "utf16le", "utf32"]
        .into_iter()
        .flat_map(|wide| first.map(|first| (wide, first)))
        .map(|(wide, first)| {
            let mut steps = queries(&[&format!("SET character_set_results = {wide}")]);
            for asking in asking {
                let asking = asking.replace("WIDE", wide);
                steps.extend([query(first), query(asking), query("SELECT 'a', 1, 1.5")]);
            }
            // MySQL prepares neither.
            let lists = ["SHOW WARNINGS", "SHOW ERRORS"];
            for list in lists.iter().filter(|_| !product().is_mysql()) {
                steps.extend([query(first), prepare(0, list), execute(0, &[])]);
            }
            Script::new(format!("{wide} after {first}"), steps)
        })
        .collect();
    check(&proxy, &scripts, BOTH);
}
