//! Servers with other global variables than usual, or than each other.

use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, product};

const IN_ROTATION: &str = "fairlane_backend_in_rotation{backend=\"replica1\"}";

fn options() -> Options {
    Options { max_connections: 50, ..product().options() }
}

/// They pad names of accounts, refuse what may read many rows, and cut answers.
#[test]
fn fairlane_reads_the_accounts_whatever_is_global() {
    let (servers, _orders) = keep(options());
    for mut root in [servers.root(), servers.replica_root()] {
        root.run("SET GLOBAL sql_mode = CONCAT(@@sql_mode, ',PAD_CHAR_TO_FULL_LENGTH')");
        root.run("SET GLOBAL max_join_size = 1");
        root.run("SET GLOBAL sql_select_limit = 1");
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    assert_eq!(proxy.app().text("SELECT 1"), "1");
}

#[test]
fn a_replica_of_another_set_up_takes_no_reads() {
    let (servers, _orders) = keep(options());
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let (mut primary, mut replica) = (servers.root(), servers.replica_root());
    let of_product: &[(&str, &str)] = match product().is_mysql() {
        true => &[
            ("max_execution_time", "5000"),
            ("show_gipk_in_create_table_and_information_schema", "OFF"),
            ("show_create_table_verbosity", "ON"),
            ("explain_json_format_version", "1"),
            ("partial_revokes", "ON"),
            ("explain_format", "'TRADITIONAL'"),
            ("end_markers_in_json", "ON"),
            ("windowing_use_high_precision", "OFF"),
        ],
        false => &[("max_statement_time", "5"), ("standard_compliant_cte", "0")],
    };
    let of_both = [
        ("init_connect", "'SET @a = 1'"),
        ("ft_boolean_syntax", "' -+><()~*:\"\"&|'"),
        ("completion_type", "1"),
        ("innodb_ft_enable_stopword", "0"),
        ("max_join_size", "1000000"),
        ("sql_notes", "0"),
    ];
    for (name, value) in of_both.iter().chain(of_product) {
        let set = format!("SET GLOBAL {name} = {value}");
        replica.run(&set);
        eventually(name, || proxy.metric(IN_ROTATION) == 0.0);
        // As it is at the primary, too.
        primary.run(&set);
        eventually(name, || proxy.metric(IN_ROTATION) == 1.0);
    }
    // It would leave out what it can't apply.
    let name = format!("{}_exec_mode", replica_word());
    for (value, is_in) in [("IDEMPOTENT", 0.0), ("STRICT", 1.0)] {
        replica.run(&format!("SET GLOBAL {name} = '{value}'"));
        eventually(value, || proxy.metric(IN_ROTATION) == is_in);
    }
}

/// What the server calls replicas in names of variables.
fn replica_word() -> &'static str {
    if product().is_mysql() { "replica" } else { "slave" }
}

/// By what can't be set while a server runs.
#[test]
fn a_replica_that_was_started_otherwise_takes_no_reads() {
    let word = replica_word();
    let skips = (format!("{word}-skip-errors=1062"), format!("{word}_skip_errors is 1062"));
    let differs = |option: &str| {
        let name = option.split('=').next().unwrap_or_default().replace('-', "_");
        (option.to_owned(), format!("{name} is not as at the primary"))
    };
    // MySQL takes names as they were taken when its directory was made.
    let of_mariadb = Some("lower-case-table-names=1").filter(|_| !product().is_mysql());
    let of_mysql = Some("ngram-token-size=3").filter(|_| product().is_mysql());
    let others = ["skip-show-database", "ft-stopword-file="].into_iter().chain(of_mariadb);
    let others = others.chain(of_mysql).map(differs);
    for (option, why) in others.chain([skips]) {
        let (servers, _orders) = keep(Options { replica_extra: vec![option], ..options() });
        let proxy = Proxy::start_without_waiting(&servers, 4, ONE_LANE_AND_REPLICA);
        eventually("it is compared", || proxy.get("/state").contains(&why));
        assert_eq!(proxy.metric(IN_ROTATION), 0.0);
    }
}

/// No probe need have seen it, and a connection that is opened then keeps it.
#[test]
fn what_a_replica_has_for_a_moment_stays_with_no_connection() {
    let (servers, _orders) = keep(options());
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    let mut client = proxy.app();
    client.run("CREATE TABLE moment_a (a INT, at TIMESTAMP NOT NULL)");
    client.run("INSERT INTO moment_a VALUES (1, '2020-01-01 10:00:00')");
    let mut replica = servers.replica_root();
    let mode = replica.text("SELECT @@global.sql_mode");
    let mode = format!("'{mode}'");
    let read = "SELECT CONCAT(at, \"a\") FROM moment_a";
    let end_all = |replica: &mut Raw| {
        let all = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
        for id in replica.rows(all).into_iter().flatten().flatten() {
            let _ = replica.query(&format!("KILL {id}"));
        }
    };
    for (name, other, usual) in
        [("time_zone", "'+05:00'", "SYSTEM"), ("sql_mode", "'ANSI_QUOTES'", &*mode)]
    {
        for _ in 0..20 {
            proxy.until_replica_answers(&mut client, read);
            let mut new = proxy.app();
            end_all(&mut replica);
            replica.run(&format!("SET GLOBAL {name} = {other}"));
            let found = new.text(read);
            replica.run(&format!("SET GLOBAL {name} = {usual}"));
            assert_eq!(found, "2020-01-01 10:00:00a", "{name} in the moment");
            assert_eq!(new.text(read), "2020-01-01 10:00:00a", "{name} after it");
        }
    }
}
