//! What triggers, and functions in views, leave on a connection behind the back of their statement.

use fairlane::protocol::{Capabilities, Command};

use crate::support::hop::Hop;
use crate::support::raw::Login;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, product, servers};

/// Clients as drivers are: mysqlnd does not know DEPRECATE_EOF.
const KINDS: [Capabilities; 2] = [
    Capabilities::MULTI_STATEMENTS.union(Capabilities::MULTI_RESULTS),
    Capabilities::MULTI_STATEMENTS
        .union(Capabilities::MULTI_RESULTS)
        .union(Capabilities::DEPRECATE_EOF),
];

fn root() -> Raw {
    Raw::connect(servers().primary, "root", "root-secret", Some("shop")).unwrap()
}

fn client(proxy: &Proxy, more: Capabilities) -> Raw {
    let login = Login { schema: Some("shop"), more, ..Login::new(proxy.port, "app", "app-secret") };
    Raw::login(&login).unwrap()
}

fn pinned(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_sessions_pinned{")
}

/// Tables and views with these names: `ROWS` of one row, `VIEW`, and `FAILS`, a view that fails; what makes the
/// temporary table `TEMP` is put into their trigger and functions.
fn make(prefix: &str, makes: &str) {
    let mut root = root();
    root.run("SET GLOBAL log_bin_trust_function_creators = 1");
    for sql in [
        "CREATE DATABASE IF NOT EXISTS hi_other",
        "GRANT ALL PRIVILEGES ON hi_other.* TO 'app'@'%'",
        "DROP VIEW IF EXISTS P_view, P_fails",
        "DROP FUNCTION IF EXISTS P_f",
        "DROP FUNCTION IF EXISTS P_g",
        "DROP TABLE IF EXISTS P_rows",
        "CREATE TABLE P_rows (id INT PRIMARY KEY)",
        "INSERT INTO P_rows VALUES (1)",
        "CREATE TRIGGER P_trigger BEFORE INSERT ON P_rows FOR EACH ROW BEGIN MAKES END",
        "CREATE FUNCTION P_f() RETURNS INT BEGIN MAKES RETURN 1; END",
        "CREATE FUNCTION P_g() RETURNS INT BEGIN MAKES SIGNAL SQLSTATE '45000'; RETURN 1; END",
        "CREATE VIEW P_view AS SELECT P_f() AS x",
        "CREATE VIEW P_fails AS SELECT P_g() AS x",
    ] {
        root.run(&sql.replace("MAKES", makes).replace("P_", &format!("{prefix}_")));
    }
}

/// Texts that run the trigger or the functions of tables with the prefix `P`; those that begin with a `!` fail.
fn scripts() -> Vec<&'static [&'static str]> {
    let mut scripts: Vec<&[&str]> = vec![
        &["BEGIN", "INSERT INTO P_rows VALUES (3)", "ROLLBACK"],
        &["BEGIN; INSERT INTO P_rows VALUES (4); ROLLBACK"],
        &["!INSERT INTO P_rows VALUES (1)"],
        &["BEGIN", "!INSERT INTO P_rows VALUES (1)", "ROLLBACK"],
        &["SELECT * FROM P_view"],
        &["BEGIN", "SELECT * FROM P_view", "COMMIT"],
        &["SELECT * FROM P_view FOR UPDATE"],
        &["SELECT 1; SELECT * FROM P_view; SELECT 2"],
        &["!SELECT * FROM P_fails"],
        &["SHOW TABLES WHERE (SELECT x FROM P_view) = 1"],
        &["SET max_sort_length = (SELECT x + 99 FROM P_view)"],
        &["CREATE TEMPORARY TABLE P_own AS SELECT * FROM P_view", "DROP TEMPORARY TABLE P_own"],
    ];
    if !product().is_mysql() {
        scripts.push(&["SET STATEMENT max_statement_time = 10 FOR SELECT * FROM P_view"]);
        scripts.push(&[
            "BEGIN",
            "SET STATEMENT max_statement_time = 10 FOR INSERT INTO P_rows VALUES (5)",
            "ROLLBACK",
        ]);
        scripts.push(&["SELECT * FROM P_view, P_rows FOR UPDATE NOWAIT"]);
        scripts.push(&["BEGIN", "INSERT INTO P_rows VALUES (6) RETURNING id", "ROLLBACK"]);
        scripts.push(&["REPLACE INTO P_rows VALUES (1) RETURNING id"]);
    }
    scripts
}

fn play(session: &mut Raw, script: &[&str], prefix: &str) {
    for sql in script {
        let sql = sql.replace("P_", &format!("{prefix}_"));
        match sql.strip_prefix('!') {
            Some(sql) => drop(session.query(sql).unwrap_err()),
            None => drop(session.run(&sql)),
        }
    }
}

/// Executes `sql`, which was prepared in another schema.
fn execute_elsewhere(session: &mut Raw, sql: &str) {
    session.run("USE hi_other");
    let prepared = session.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    let id = prepared.summary.prepared.unwrap().0.to_le_bytes();
    session.run("USE shop");
    let body = [&id[..], &[0, 1, 0, 0, 0]].concat();
    assert_eq!(session.command(Command::StmtExecute, &body).unwrap().error(), None, "{sql}");
}

#[test]
fn a_table_that_a_trigger_makes_for_its_session_is_no_other_ones() {
    // One that sets a variable to the value it has flags no more than that.
    for (prefix, more) in [("hi", ""), ("hj", "SET SESSION group_concat_max_len = 9999;")] {
        let makes = format!("CREATE TEMPORARY TABLE IF NOT EXISTS {prefix}_temp (a INT); {more}");
        make(prefix, &makes);
        let proxy = Proxy::with(servers(), 3, ONE_LANE);
        let temporary = format!("SELECT * FROM {prefix}_temp");
        let other_misses = |play: &mut dyn FnMut(&mut Raw), more, what: &str| {
            let mut session = client(&proxy, more);
            session.run("SET group_concat_max_len = 9999");
            play(&mut session);
            let mut other = client(&proxy, more);
            for _ in 0..2 {
                assert_eq!(other.query(&temporary).unwrap_err().code(), 1146, "{what}");
            }
            session.run(&temporary);
            drop((session, other));
            eventually("nobody is bound", || pinned(&proxy) == 0.0);
        };
        for more in KINDS {
            for script in scripts() {
                let what = format!("{script:?} {more:?}");
                other_misses(&mut |session| play(session, script, prefix), more, &what);
            }
            let insert = format!("REPLACE INTO shop.{prefix}_rows VALUES (1)");
            let select = format!("SELECT * FROM shop.{prefix}_view");
            for sql in [&insert, &select] {
                other_misses(&mut |session| execute_elsewhere(session, sql), more, sql);
            }
        }
    }
}

#[test]
fn triggers_and_views_that_leave_nothing_bind_nobody() {
    make("hk", "DO 1;");
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    for more in KINDS {
        let mut session = client(&proxy, more);
        // What was made and is gone is no sign of anything.
        session.run("CREATE TEMPORARY TABLE hk_gone (a INT)");
        session.run("DROP TEMPORARY TABLE hk_gone");
        for script in scripts() {
            play(&mut session, script, "hk");
            eventually(&format!("nobody is bound by {script:?}"), || pinned(&proxy) == 0.0);
        }
        for sql in ["REPLACE INTO shop.hk_rows VALUES (1)", "SELECT * FROM shop.hk_view"] {
            execute_elsewhere(&mut session, sql);
            eventually(&format!("nobody is bound by {sql}"), || pinned(&proxy) == 0.0);
        }
    }
}

#[test]
fn a_temporary_table_that_got_another_name_behind_variables_is_its_sessions() {
    if product().is_mysql() {
        return;
    }
    let proxy = Proxy::with(servers(), 3, ONE_LANE);
    let (mut session, mut other) = (proxy.app(), proxy.app());
    session.run("CREATE TEMPORARY TABLE hi_first (a INT)");
    session.run("SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE hi_first RENAME TO hi_then");
    session.run("DROP TABLE IF EXISTS hi_first");
    assert_eq!(other.query("SELECT * FROM hi_then").unwrap_err().code(), 1146);
    session.run("SELECT * FROM hi_then");
}

#[test]
fn clients_without_deprecate_eof_read_tables_at_no_more_round_trips() {
    const TIMES: u64 = 20;
    let mut root = root();
    root.replace("CREATE OR REPLACE TABLE hi_read (id INT PRIMARY KEY)");
    let hop = Hop::before(servers().primary, "app");
    let proxy = Proxy::behind(hop.port, servers(), 2, ONE_LANE);
    let transaction = ["BEGIN", "SELECT * FROM hi_read", "DELETE FROM hi_read", "COMMIT"];
    for texts in [
        &["SELECT * FROM hi_read"][..],
        &["SELECT r.id FROM hi_read r, shop.hi_read s FOR UPDATE"][..],
        &transaction[..],
    ] {
        let trips = KINDS.map(|more| {
            let mut session = client(&proxy, more);
            let mut play = || texts.iter().for_each(|sql| drop(session.run(sql)));
            // The names are asked for once in a while.
            play();
            session_rests(&proxy);
            let before = hop.trips();
            (0..TIMES).for_each(|_| play());
            session_rests(&proxy);
            hop.trips() - before
        });
        assert_eq!(trips[0], trips[1], "{texts:?}");
    }
}

/// What Fairlane asks when a client has its answer is over.
fn session_rests(proxy: &Proxy) {
    eventually("nothing is in use", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
}
