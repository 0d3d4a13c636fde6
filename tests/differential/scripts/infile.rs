//! LOCAL INFILE: sent, empty, refused by the client, refused by the server.

use fairlane::protocol::Capabilities;

use crate::compare::{BOTH, MODERN, Script, check};
use crate::step::{Step, query};
use crate::support::{Proxy, servers};

fn load(sql: &str, file: &[u8]) -> Step {
    query(sql).with_file(file)
}

#[test]
fn local_files_have_the_same_answers() {
    let proxy = Proxy::start(servers());
    let load_a = "LOAD DATA LOCAL INFILE 'a' INTO TABLE df_i";
    let many: Vec<u8> = (0..60_000).flat_map(|n| format!("{n}\tline {n}\n").into_bytes()).collect();
    let steps = vec![
        query("CREATE OR REPLACE TABLE df_i (id INT PRIMARY KEY, t VARCHAR(20))"),
        load(load_a, b"1\tone\n2\ttwo\n"),
        load(load_a, b"1\tone\n3\n4\ttoo\tmany\nx\ty\n"),
        query("SHOW WARNINGS"),
        query("SELECT * FROM df_i"),
        query(load_a),
        load(load_a, b""),
        load("LOAD DATA LOCAL INFILE 'a' INTO TABLE nothing_like_it", b"1"),
        load("LOAD DATA LOCAL INFILE 'a' INTO TABLE df_i (nothing)", b"1"),
        load("LOAD DATA LOCAL INFILE 'a' REPLACE INTO TABLE df_i", &many),
        query("SELECT COUNT(*), LAST_INSERT_ID(), ROW_COUNT() FROM df_i"),
        load("LOAD DATA LOCAL INFILE 'a' INTO TABLE df_i; SELECT 'after'", b"70000\tx\n"),
        load("SELECT 1; LOAD DATA LOCAL INFILE 'a' INTO TABLE df_i; SELECT 'after'", b"70001\tx\n"),
        load("LOAD DATA INFILE '/nowhere/a' INTO TABLE df_i", b""),
        query("SELECT 1 INTO OUTFILE '/nowhere/a'"),
        query("SELECT 'end'"),
    ];
    let scripts = [Script::new("local infile", steps)];
    check(&proxy, &scripts, BOTH);
    check(&proxy, &scripts, &[MODERN | Capabilities::COMPRESS]);
    check(&proxy, &scripts, &[MODERN - Capabilities::LOCAL_FILES]);
}
