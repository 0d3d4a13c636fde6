//! What is set beside `session_track_*` in one statement, as MariaDB Connector/J does at each login:
//! servers tell of it only what the client's own trackers tell.

use fairlane::protocol::Capabilities;

use crate::support::product::product;
use crate::support::raw::Login;
use crate::support::{ONE_LANE, ONE_LANE_AND_REPLICA, Proxy, Raw, Twin, eventually, servers};

fn pinned(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_sessions_pinned{")
}

/// The name that MariaDB 10.11 and MySQL have for the isolation level.
fn isolation() -> &'static str {
    if product().is_mysql() { "transaction_isolation" } else { "tx_isolation" }
}

/// What the driver sends, with `more` behind it.
fn login_of_connector_j(more: &str) -> String {
    format!(
        "set sql_mode=CONCAT(@@sql_mode,',STRICT_TRANS_TABLES'),session_track_system_variables = \
         CONCAT(@@global.session_track_system_variables,',{}'){more}",
        isolation()
    )
}

#[test]
fn sessions_of_connector_j_share_few_slots() {
    servers().root().replace("CREATE OR REPLACE TABLE shop.tr_read (a INT)");
    servers().wait_replicated();
    let proxy = Proxy::with(servers(), 3, ONE_LANE_AND_REPLICA);
    let more = Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    let mut sessions: Vec<Raw> = (0..20)
        .map(|index| {
            let mut session = Raw::login(&login).unwrap();
            session.run(&login_of_connector_j(["", ",NAMES utf8mb4"][index % 2]));
            session
        })
        .collect();
    assert_eq!(pinned(&proxy), 0.0);
    for session in &mut sessions {
        assert_eq!(session.text("SELECT @@sql_mode LIKE '%STRICT_TRANS_TABLES%'"), "1");
    }
    proxy.until_replica_answers(&mut sessions[0], "SELECT COUNT(*) FROM tr_read");
    assert_eq!(pinned(&proxy), 0.0);
}

#[test]
fn what_is_set_beside_trackers_is_the_sessions_on_every_connection() {
    let is = isolation();
    let read_only = is.replace("isolation", "read_only");
    let is_mariadb = !product().is_mysql();
    let track = "session_track_system_variables = 'autocommit'";
    let ask = format!(
        "SELECT @@sql_mode, @@{is}, @@{read_only}, @@autocommit, @@time_zone, @@foreign_key_checks, \
         @@unique_checks, @@sql_safe_updates, @@max_join_size, @@sql_big_selects, @@wait_timeout, \
         @@character_set_client, @@character_set_connection, @@collation_connection, \
         @@character_set_results, @@lock_wait_timeout, @@long_query_time, @@optimizer_switch, \
         @@session_track_system_variables, @@session_track_schema, \"a\", LAST_INSERT_ID()"
    );
    let mut texts = vec![
        login_of_connector_j(""),
        login_of_connector_j(",NAMES utf8mb4 COLLATE utf8mb4_bin"),
        login_of_connector_j(&format!(",@@session.{is}='SERIALIZABLE',@@session.{read_only}=1")),
        login_of_connector_j(",autocommit=0,time_zone='+03:00'"),
        format!("SET {track}, sql_mode = 'ANSI_QUOTES'"),
        format!("SET sql_mode = 'ANSI_QUOTES', time_zone = '+01:00', {track}"),
        "SET session_track_schema = 0, NAMES latin1".to_owned(),
        format!("SET NAMES latin1, character_set_results = NULL, {track}"),
        format!("SET CHARACTER SET latin1, {track}"),
        format!(
            "SET {track}, character_set_connection = latin1, NAMES utf8mb4 COLLATE utf8mb4_bin"
        ),
        format!(
            "SET {track}, character_set_connection = latin1, collation_connection = latin1_bin"
        ),
        format!(
            "SET {track}, collation_connection = latin1_bin, character_set_connection = latin1"
        ),
        format!("SET {track}, max_join_size = 500, sql_big_selects = 1"),
        format!("SET sql_big_selects = 1, max_join_size = 500, {track}"),
        format!("SET {track}, unique_checks = 0, foreign_key_checks = 0, sql_safe_updates = 1"),
        format!("SET {track}, @@foreign_key_checks = 0, `unique_checks` := 0"),
        format!("SET SESSION wait_timeout = 1000, LOCAL lock_wait_timeout = 20, {track}"),
        format!("SET {track}, long_query_time = 2.5, optimizer_switch = 'index_merge=off'"),
        format!("SET {track}, last_insert_id = 5, time_zone = '+01:00'"),
        format!("SET {track}, sql_mode = '', session_track_system_variables = '*'"),
        format!("SET {track}, sql_mode = '', time_zone = 'nowhere'"),
        format!("SET {track}, GLOBAL lock_wait_timeout = @@GLOBAL.lock_wait_timeout"),
        format!("SET {track}, sql_mode = 'ANSI_QUOTES', time_zone ="),
    ];
    if is_mariadb {
        texts.push(format!("SET {track}, NAMES utf8mb4, max_statement_time = 9.5"));
    }
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let mut other = proxy.app();
    for sql in &texts {
        let mut twin = Twin::new(&proxy, 0);
        for what in [sql, &ask] {
            twin.both(what);
        }
        // Autocommit that is off, what is asked before the first transaction, and errors bind.
        if !sql.contains("autocommit=0") && !sql.contains("nowhere") {
            assert_eq!(pinned(&proxy), 0.0, "{sql}");
            other.run("SET time_zone = '+05:00', unique_checks = 1, NAMES utf8mb4");
            other.run("SELECT 1");
            twin.both(&ask);
            twin.both("SET NAMES utf8mb4");
            other.run("SELECT 1");
            twin.both(&ask);
        }
        twin.both("SET autocommit = 1");
        twin.both(&ask);
        // A text that was seen on the connection before.
        let mut twin = Twin::new(&proxy, 1);
        // MySQL's answer to this one, if it is prepared without the privilege, is none to PREPARE.
        if !sql.contains("GLOBAL") {
            twin.both_prepared(sql);
        }
        twin.both(&ask);
    }
}

#[test]
fn what_can_t_be_asked_for_beside_trackers_keeps_its_connection() {
    let proxy = Proxy::with(servers(), 2, ONE_LANE);
    let is = isolation();
    for what in ["timestamp = 5", "@a = 1 + 1", &format!("@@{is} = 'SERIALIZABLE'")] {
        let mut client = proxy.app();
        client.run(&format!("SET session_track_schema = 0, {what}"));
        eventually("it is pinned", || pinned(&proxy) > 0.0);
        client.hang_up();
        eventually("it is given back", || pinned(&proxy) == 0.0);
    }
}
