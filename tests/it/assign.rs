//! SET that applications send after each login is answered without a server where it was done just so before, and
//! nobody can tell.

use fairlane::protocol::Capabilities;

use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, product, servers};

const LOCAL: &str = "fairlane_statements_routed_total{reason=\"local\",target=\"local\"}";

/// A client as PHP's: it asks for no tracking.
fn plain(port: u16) -> Login<'static> {
    let login = tracking(port);
    Login { more: login.more - Capabilities::SESSION_TRACK, ..login }
}

fn tracking(port: u16) -> Login<'static> {
    Login { schema: Some("shop"), ..Login::new(port, "app", "app-secret") }
}

/// What a session can see of its settings and of its last statement.
const SEEN: [&str; 4] = [
    "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection, \
     COLLATION('x'), HEX('\u{e4}')",
    "SELECT @@sql_mode, @@time_zone, @@foreign_key_checks, @@wait_timeout, @@group_concat_max_len",
    "SELECT ROW_COUNT(), LAST_INSERT_ID(), @@warning_count, @@autocommit, DATABASE()",
    "SHOW WARNINGS",
];

/// The packets of an answer, or the error.
fn said(client: &mut Raw, sql: &str) -> Result<Vec<Vec<u8>>, String> {
    client.query(sql).map(|answer| answer.packets()).map_err(|failed| format!("{failed:?}"))
}

#[test]
fn what_was_set_just_so_before_is_set_all_the_same() {
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    servers().root().replace("CREATE OR REPLACE TABLE shop.assigned (id INT)");
    for sets in [
        &["SET NAMES utf8mb4"][..],
        &["USE shop", "SET NAMES latin1", "USE shop", "USE information_schema"],
        &["use `shop`;", "use `shop`", "set names 'utf8mb4' collate 'utf8mb4_unicode_ci'"],
        &["USE nowhere", "USE shop", "SET NAMES utf8mb4"],
        &["SET NAMES latin1", "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'"],
        &["SET time_zone = '+03:00'", "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"],
        &["set foreign_key_checks=0, group_concat_max_len = 77;", "SET wait_timeout=99"],
        &["SET NAMES gbk", "SET sql_mode = ''", "SET NAMES gbk"],
        &["SET CHARACTER SET latin1", "SET character_set_results = NULL", "SET NAMES utf8mb4"],
        &["SET sql_mode = 'nonsense'", "SET NAMES nonsense", "SET time_zone = 'nowhere'"],
        &["SET autocommit = 0", "SET NAMES utf8mb4", "SET autocommit = 1"],
        &["SET session_track_state_change = 1", "SET NAMES latin1", "SET time_zone = '+01:00'"],
        &["SET session_track_system_variables = '*'", "SET NAMES latin1, sql_mode = ''"],
        &["SET @@session.autocommit = OFF", "SET NAMES latin1", "SELECT 1", "SET autocommit = 1"],
        &["SET AUTOCOMMIT = 0", "INSERT INTO assigned VALUES (1)", "ROLLBACK", "SET autocommit=1"],
        &[
            "SET group_concat_max_len = 50, @@sql_mode = ''",
            "SET wait_timeout = @@group_concat_max_len",
        ],
        &["SET @own = 5", "SET NAMES latin1", "SELECT @own"],
        &["SET PASSWORD = 'app-secret'", "SET TRANSACTION READ ONLY", "SET NAMES utf8mb4"],
        &["BEGIN", "SET NAMES latin1", "COMMIT"],
        &["SELECT 1/0", "SET NAMES utf8mb4", "INSERT INTO nothing VALUES (1)", "SET NAMES utf8mb4"],
    ] {
        // The third time it is known for sure.
        for login in [plain, tracking, plain, tracking, plain, tracking] {
            let mut through = Raw::login(&login(proxy.port)).unwrap();
            let mut direct = Raw::login(&login(servers().primary)).unwrap();
            for sql in sets.iter().copied().chain(SEEN).chain(sets.iter().copied()).chain(SEEN) {
                assert_eq!(said(&mut through, sql), said(&mut direct, sql), "{sql} of {sets:?}");
            }
        }
    }
    assert!(proxy.metric(LOCAL) > 20.0, "{}", proxy.metric(LOCAL));
}

#[test]
fn it_needs_no_slot_and_a_client_that_cancels_is_not_kept_waiting() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let set = "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci";
    let login = || Raw::login(&plain(proxy.port)).unwrap();
    let mut one = login();
    one.run(set);
    assert_eq!(proxy.metric(LOCAL), 0.0, "the first of its kind");
    let mut busy = login();
    busy.run(set);
    assert_eq!(proxy.metric(LOCAL), 1.0);
    busy.send(fairlane::protocol::Command::Query, b"SELECT SLEEP(60)");
    eventually("no slot is free", || proxy.sum("fairlane_lane_slots_in_use{") == 1.0);
    let mut canceller = login();
    canceller.run(set);
    canceller.run(&format!("KILL QUERY {}", busy.greeting.thread_id));
    eventually("it is free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
    assert_eq!(canceller.text("SELECT @@collation_connection"), "utf8mb4_unicode_ci");
    // Others are not meant: another state, another user, another text.
    let before = proxy.metric(LOCAL);
    one.run(set);
    canceller.run("SET NAMES utf8mb4");
    let mut root =
        Raw::login(&Login { user: "root", password: b"root-secret", ..plain(proxy.port) }).unwrap();
    root.run(set);
    assert_eq!(proxy.metric(LOCAL), before);
}

#[test]
fn a_changed_global_variable_is_asked_for_anew() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let login = || Raw::login(&plain(proxy.port)).unwrap();
    let set = "SET sql_mode = 'ANSI_QUOTES'";
    login().run(set);
    login().run(set);
    assert_eq!(proxy.metric(LOCAL), 1.0);
    let mut root = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    root.run("SET GLOBAL max_connect_errors = 100");
    login().run(set);
    assert_eq!(proxy.metric(LOCAL), 1.0);
    let never = format!("{ONE_LANE}\n[pool]\nassignment_age = \"0s\"\n");
    let never = Proxy::with(servers(), 4, &never);
    for _ in 0..3 {
        Raw::login(&plain(never.port)).unwrap().run(set);
    }
    assert_eq!(never.metric(LOCAL), 0.0);
}

/// Laravel sends it before anything else.
#[test]
fn a_choice_of_the_schema_of_the_login_is_answered_until_it_may_have_another_answer() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut root = Raw::connect(proxy.port, "root", "root-secret", None).unwrap();
    root.replace("CREATE OR REPLACE USER chooser@'%' IDENTIFIED BY 'chooser-secret'");
    root.run("DROP DATABASE IF EXISTS chosen");
    root.run("CREATE DATABASE chosen");
    root.run("GRANT SELECT, CREATE ON chosen.* TO chooser@'%'");
    root.run("GRANT USAGE ON *.* TO chooser@'%'");
    let login = Login {
        user: "chooser",
        password: b"chooser-secret",
        schema: Some("chosen"),
        ..plain(proxy.port)
    };
    let login = || Raw::login(&login).unwrap();
    let answered = || proxy.metric(LOCAL);
    login().run("USE chosen");
    let before = answered();
    let mut known = login();
    known.run("USE chosen");
    assert_eq!(answered(), before + 1.0);
    // Once the session has had a connection it may mean the privileges of the moment.
    known.run("DO 1");
    known.run("USE chosen");
    assert_eq!(answered(), before + 1.0);
    let mut early = login();
    root.run("REVOKE SELECT, CREATE ON chosen.* FROM chooser@'%'");
    assert_eq!(early.query("USE chosen").unwrap_err().code(), 1044);
    root.run("GRANT SELECT ON chosen.* TO chooser@'%'");
    early.run("USE chosen");
    root.run("DROP DATABASE chosen");
    assert_eq!(early.query("USE chosen").unwrap_err().code(), 1049);
    assert_eq!(answered(), before + 1.0);
    root.run("DROP USER chooser@'%'");
}

/// It has been chosen when the primary did so last, and not when a connection was opened long ago.
#[test]
fn privileges_given_past_fairlane_are_there_after_a_choice_that_was_answered() {
    let proxy = Proxy::with(servers(), 4, ONE_LANE);
    let mut root = servers().root();
    root.replace("CREATE OR REPLACE USER late_chooser@'%' IDENTIFIED BY 'chooser-secret'");
    root.replace("CREATE OR REPLACE TABLE shop.late_chosen (id INT)");
    root.run("GRANT INSERT ON shop.* TO late_chooser@'%'");
    servers().wait_replicated();
    let login = Login { user: "late_chooser", password: b"chooser-secret", ..plain(proxy.port) };
    let login = || Raw::login(&login).unwrap();
    let read = "SELECT COUNT(*) FROM late_chosen";
    let mut one = login();
    eventually("it is let in", || one.query("INSERT INTO late_chosen VALUES (1)").is_ok());
    one.run("BEGIN");
    one.run("INSERT INTO late_chosen VALUES (2)");
    root.run("GRANT SELECT, UPDATE, DELETE ON shop.* TO late_chooser@'%'");
    let before = proxy.metric(LOCAL);
    login().run("USE shop");
    assert_eq!(proxy.metric(LOCAL), before, "nobody has asked for it yet");
    // On whichever connection.
    let mut both = [login(), login()];
    one.run("COMMIT");
    for another in &mut both {
        another.run("USE shop");
    }
    assert_eq!(proxy.metric(LOCAL), before + 2.0);
    for another in &mut both {
        another.run("BEGIN");
        assert_eq!(another.text(read), "2");
    }
    root.run("DROP USER late_chooser@'%'");
}

/// MySQL does not tell at once what a function in a view has set, but with the next SET.
#[test]
fn what_another_session_has_left_untold_is_not_remembered() {
    if !product().is_mysql() {
        return;
    }
    let mut root = Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap();
    for sql in [
        "DROP VIEW IF EXISTS as_view",
        "DROP FUNCTION IF EXISTS as_sets",
        "CREATE FUNCTION as_sets() RETURNS INT DETERMINISTIC NO SQL BEGIN SET time_zone = '+05:00'; RETURN 1; END",
        "CREATE VIEW as_view AS SELECT as_sets() AS a",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(servers(), 8, ONE_LANE);
    let login = plain(proxy.port);
    let login = Login { more: login.more - Capabilities::DEPRECATE_EOF, ..login };
    let login = || Raw::login(&login).unwrap();
    let (set, read) = ("SET NAMES latin1", "SELECT @@time_zone FROM DUAL FOR UPDATE");
    let usual = root.text(read);
    let mut one = login();
    assert_eq!(one.text("SELECT a FROM as_view"), "1");
    let mut on_that = login();
    on_that.run(set);
    on_that.hold();
    for _ in 0..3 {
        let mut other = login();
        other.run(set);
        assert_eq!(other.text(read), usual);
    }
    root.run("DROP VIEW as_view");
    root.run("DROP FUNCTION as_sets");
}
