//! Character sets and collations: names, literals, metadata, errors.

use std::collections::BTreeSet;

use crate::compare::{MODERN, Script, check};
use crate::params::text_as;
use crate::step::{execute, prepare, queries, query};
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
