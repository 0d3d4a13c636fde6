//! What counts as a built-in function is one to the server: if it would look for a stored
//! function, the statement is no read.

use fairlane::sql::{Class, Mode, classify};

use crate::support::servers;

/// FUNCTION ... does not exist; and the same for a stored or loadable function in a schema.
const UNKNOWN_FUNCTION: [u16; 2] = [1305, 1630];

/// Names that servers other than MariaDB 10.11 have built in, or that are built in there only with
/// some arguments.
const ELSEWHERE: &str = "any_value bin_to_uuid uuid_to_bin is_uuid grouping gtid_subset \
    json_storage_size regexp_like statement_digest st_latitude st_collect st_simplify to_vector \
    json_schema_valid format_bytes format_pico_time uuid_v4 uuid_v7 vec_distance vec_totext kdf \
    json_array_intersect json_key_value lateral point polygon linestring multipoint \
    multilinestring multipolygon geometrycollection json_table chr nvl crosses";

#[test]
fn the_server_has_built_in_what_counts_as_built_in() {
    let mut root = servers().root();
    root.run("USE shop");
    let version = root.text("SELECT VERSION()");
    let mode = Mode::new("", "utf8mb4", &version);
    let mut names: Vec<String> = ELSEWHERE.split_whitespace().map(str::to_owned).collect();
    for table in ["keywords", "sql_functions"] {
        let all = format!(
            "SELECT GROUP_CONCAT({}) FROM information_schema.{table}",
            if table == "keywords" { "word" } else { "function" }
        );
        root.run("SET group_concat_max_len = 1000000");
        let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        names.extend(root.text(&all).split(',').filter(is_name).map(str::to_owned));
    }
    assert!(names.len() > 800, "only {} names", names.len());
    let mut wrong = Vec::new();
    let mut reads = 0;
    for name in &names {
        for call in ["()", "(1)", " (1)", "/**/(1)", "(1, 2)", "(1, 2, 3)"] {
            let sql = format!("SELECT {name}{call}");
            if classify(sql.as_bytes(), mode).class != Class::Read {
                continue;
            }
            reads += 1;
            let error = root.query(&sql).err().map_or(0, |error| error.code());
            if UNKNOWN_FUNCTION.contains(&error) {
                wrong.push(sql);
            }
        }
    }
    assert!(wrong.is_empty(), "stored functions to the server, reads to us: {wrong:?}");
    assert!(reads > 1000, "only {reads} calls were tried");
}

#[test]
fn a_stored_function_with_the_name_of_a_built_in_one_runs_on_the_primary() {
    let servers = servers();
    let proxy = crate::support::Proxy::start(servers);
    let mut root = servers.root();
    root.run("SET GLOBAL log_bin_trust_function_creators = 1");
    root.run("CREATE TABLE shop.names_calls (a INT)");
    let calls =
        ["point(1)", "json_table(1)", "count (1)", "count/**/(1)", "any_value(1)", "path(1)"];
    for name in ["point", "json_table", "count", "any_value", "path"] {
        root.run(&format!(
            "CREATE FUNCTION shop.`{name}`(a INT) RETURNS INT \
             BEGIN INSERT INTO names_calls VALUES (a); RETURN 4711; END"
        ));
    }
    servers.wait_replicated();
    let mut client = proxy.app();
    for call in calls {
        assert_eq!(client.text(&format!("SELECT {call}")), "4711", "{call}");
    }
    let count = client.text("SELECT COUNT(*) FROM names_calls");
    assert_eq!(count, calls.len().to_string());
    servers.wait_replicated();
    let seen = servers.replica_saw();
    let asked = |call: &str| seen.lines().any(|line| line.contains(&format!("SELECT {call}")));
    assert!(!calls.iter().any(|call| asked(call)), "the replica was asked");
    for name in ["point", "json_table", "count", "any_value", "path"] {
        root.run(&format!("DROP FUNCTION shop.`{name}`"));
    }
    let retried = proxy.sum("fairlane_replica_retries_total");
    assert_eq!(retried, 0.0, "nothing had to be asked twice");
}
