//! Commands besides COM_QUERY, with good and with bad payloads.

use fairlane::protocol::Command;

use crate::compare::{ALL, Script, check};
use crate::step::{
    EVERYWHERE, MARIADB, MYSQL, NOT_MARIADB_11, Step, bytes, change_user, change_user_with,
    command, execute, prepare, queries, query, reset,
};
use crate::support::{Proxy, product, servers};

/// After a command: is the session as it should be?
const LOOK: &[&str] = &[
    "SELECT DATABASE(), USER(), @v, @@sql_mode, @@character_set_client, @@autocommit",
    "SELECT COLLATION('a'), @@collation_connection, @@time_zone, LAST_INSERT_ID()",
    "SHOW WARNINGS",
];

fn script(name: &str, steps: Vec<Step>) -> Script {
    let mut steps = steps;
    steps.extend(queries(LOOK));
    Script::new(name, steps)
}

/// A command whose error MySQL would add to those of the commands before it.
fn alone(step: Step) -> [Step; 2] {
    [step, query("DO 0").on(MYSQL)]
}

fn simple() -> Vec<Script> {
    vec![
        script("ping", vec![command(Command::Ping, ""), command(Command::Ping, "more")]),
        script("ping in a transaction", {
            let mut steps = queries(&["BEGIN"]);
            steps.push(command(Command::Ping, ""));
            steps.extend(queries(&["SET autocommit = 0", "SELECT 1/0"]));
            steps.push(command(Command::Ping, ""));
            steps.extend(queries(&["SHOW WARNINGS", "ROLLBACK"]));
            steps
        }),
        script("init db", {
            let names =
                ["test", "nowhere", "shop", "", "information_schema", "mysql", "a\0b", "SHOP"];
            names.iter().flat_map(|name| alone(command(Command::InitDb, name))).collect()
        }),
        script("statistics", vec![command(Command::Statistics, "").by_kind()]),
        script("debug", vec![command(Command::Debug, "")]),
        script("set option", {
            let bodies: [&[u8]; 5] = [&[0, 0], &[1, 0], &[2, 0], &[0, 1], &[0, 0, 9]];
            bodies.iter().flat_map(|body| alone(command(Command::SetOption, body))).collect()
        }),
        script("refresh", vec![command(Command::Refresh, [0]), command(Command::Refresh, [2])]),
        script("process info", vec![command(Command::ProcessInfo, "").by_start()]),
        script("create and drop db", {
            vec![command(Command::CreateDb, "test_df"), command(Command::DropDb, "test_df")]
        }),
        script("table dump", vec![command(Command::TableDump, "x")]),
        script("shutdown", vec![command(Command::Shutdown, [0])]),
    ]
}

/// An error of Fairlane's own in the middle of what a held connection knows.
fn own_error() -> Script {
    let mut steps = queries(&["SET @v = 1", "SELECT 1 UNION SELECT 2 UNION SELECT 3"]);
    steps.push(bytes(&[0x77]));
    steps.extend(queries(&["SHOW WARNINGS", "SELECT FOUND_ROWS()", "SHOW ERRORS", "SELECT @v"]));
    script("an unknown command with state", steps)
}

fn fields() -> Script {
    let mut steps =
        queries(&["CREATE OR REPLACE TABLE df_f (a INT DEFAULT 5 NOT NULL, b TEXT, c \
                               VARCHAR(9) DEFAULT 'x', d TIMESTAMP NULL)"]);
    let bodies =
        ["df_f\0%", "df_f\0", "df_f", "df_f\0b", "df_f\0nothing", "nothing\0%", "\0", "", "x.y\0%"];
    steps.extend(bodies.map(|body| command(Command::FieldList, body)));
    script("field list", steps)
}

/// Statement commands with lengths that are wrong; each in a session of its own, since servers
/// end some of them.
fn short_ones() -> Vec<Script> {
    let commands = [
        Command::StmtExecute,
        Command::StmtFetch,
        Command::StmtReset,
        Command::StmtClose,
        Command::StmtSendLongData,
        Command::ProcessKill,
        Command::ChangeUser,
        Command::StmtPrepare,
        Command::Query,
        Command::FieldList,
    ];
    let mut scripts = Vec::new();
    for what in commands {
        // Of a shorter one the server reads what happens to lie behind it.
        let least = match what {
            Command::StmtFetch | Command::StmtReset | Command::ProcessKill => 4,
            Command::ChangeUser => 1,
            _ => 0,
        };
        for length in [0, 1, 2, 4, 5, 6, 8, 9].into_iter().filter(|length| *length >= least) {
            let step = command(what, vec![7; length]).on(match what {
                Command::ChangeUser => NOT_MARIADB_11,
                _ => EVERYWHERE,
            });
            let steps = vec![query("SET @v = 1"), step];
            scripts.push(script(&format!("{what:?} with {length} bytes"), steps));
        }
    }
    scripts
}

fn unknown_ones() -> Vec<Script> {
    let known = [Command::BinlogDump, Command::BinlogDumpGtid, Command::RegisterReplica];
    // Clone and group replication, which ask for privileges first.
    let of_mysql = |byte: &u8| product().is_mysql() && matches!(byte, 0x20 | 0x21);
    let spoken = |byte: &u8| Command::from_byte(*byte).is_none_or(|c| known.contains(&c));
    let mut scripts: Vec<Script> = (0..=255)
        .filter(spoken)
        .filter(|byte| !of_mysql(byte))
        .filter(|byte| !known.iter().any(|command| *command as u8 == *byte))
        .map(|byte| script("unknown byte", vec![bytes(&[byte]), bytes(&[byte, 1, 2, 3])]))
        .collect();
    scripts.push(script("empty command", vec![bytes(&[]), bytes(&[])]));
    scripts
}

fn kill() -> Script {
    // The second one is of those Fairlane gives to its clients.
    let ids = [0_u32, 1 << 30, 4_000_000_000, u32::MAX].map(u32::to_le_bytes);
    let steps: Vec<Step> = ids.iter().map(|id| command(Command::ProcessKill, id)).collect();
    script("kill", steps)
}

/// State that a reset or a change of user ends.
const STATE: &[&str] = &[
    "SET @v = 1, sql_mode = 'ANSI_QUOTES', time_zone = '+01:00'",
    "SET NAMES latin1",
    "CREATE TEMPORARY TABLE df_tmp (a INT)",
    "SELECT LAST_INSERT_ID(9)",
    "SELECT GET_LOCK('df_reset', 0)",
    "SELECT 1/0",
    "SET autocommit = 0",
    "USE information_schema",
    "PREPARE s FROM 'SELECT 1'",
];

/// What is left of it.
const LEFT: &[&str] = &[
    "SHOW WARNINGS",
    "SELECT @@error_count",
    "SELECT @@warning_count",
    "SELECT * FROM shop.df_tmp",
    "SELECT IS_FREE_LOCK('df_reset')",
    "EXECUTE s",
    "SELECT ROW_COUNT(), FOUND_ROWS()",
];

/// A command between state it ends and looks at what is left.
fn around(name: &str, step: Step) -> Script {
    let mut steps = queries(STATE);
    steps.push(prepare(0, "SELECT 5"));
    steps.push(step);
    steps.extend(queries(LEFT));
    let mut script = script(name, steps);
    script.steps.push(execute(0, &[]));
    script
}

fn resets() -> Vec<Script> {
    let attributes = b"shop\0\x2d\0mysql_native_password\0\x06\x01a\x03bcd";
    vec![
        around("reset connection", command(Command::ResetConnection, "")),
        around("reset connection with a body", command(Command::ResetConnection, "abc")),
        around("change user", change_user("app", "app-secret", "shop")),
        around("change user without schema", change_user("app", "app-secret", "")),
        around("change user to root", change_user("root", "root-secret", "mysql")),
        around("change user, attributes", change_user_with("app", "app-secret", attributes)),
    ]
}

/// Servers take a second over each of these. Without a collation MariaDB 11 gives that of the login
/// as it was asked for.
fn short_changes() -> Vec<Script> {
    if !NOT_MARIADB_11.contains(&product()) {
        return Vec::new();
    }
    vec![
        around("change user, no collation", change_user_with("app", "app-secret", b"shop\0")),
        around("change user, nothing more", change_user_with("app", "app-secret", b"")),
    ]
}

/// After these Fairlane ends the session, see docs/compatibility.md.
fn failed_changes() -> Vec<Script> {
    let plugin = b"shop\0\x21\0caching_sha2_password\0\0";
    let all = [
        ("wrong password", change_user("app", "wrong", "shop")),
        ("no password", change_user("app", "", "shop")),
        // MySQL asks for the password of an unknown user by a plugin that hangs on its start.
        ("unknown user", change_user("nobody", "x", "shop").on(MARIADB)),
        ("unknown schema", change_user("app", "app-secret", "nowhere")),
        ("forbidden schema", change_user("app", "app-secret", "mysql")),
        ("another plugin", change_user_with("app", "app-secret", plugin)),
    ];
    all.map(|(name, step)| Script::new(format!("change user, {name}"), vec![step])).into()
}

#[test]
fn commands_have_the_same_answers() {
    let proxy = Proxy::with(servers(), 60, "");
    servers().root().run("CREATE DATABASE IF NOT EXISTS test");
    servers().wait_replicated();
    let mut scripts = simple();
    scripts.extend([fields(), kill(), own_error()]);
    scripts.extend(resets());
    check(&proxy, &scripts, ALL);
    check(&proxy, &short_changes(), &ALL[..1]);
    check(&proxy, &failed_changes(), &ALL[..1]);
    let root = scripts_of_root();
    check(&proxy, &root, &ALL[..2]);
}

fn scripts_of_root() -> Vec<Script> {
    let mut scripts = simple();
    scripts.retain(|script| script.name != "shutdown");
    scripts.into_iter().map(Script::by_root).collect()
}

#[test]
fn bad_payloads_have_the_same_answers() {
    let proxy = Proxy::with(servers(), 60, "");
    let mut scripts = short_ones();
    scripts.extend(unknown_ones());
    check(&proxy, &scripts, &ALL[..1]);
}

/// COM_PING tells of the warnings of what came before it, which is not always what has raised them.
#[test]
fn a_ping_tells_of_the_warnings_of_the_command_before() {
    let proxy = Proxy::with(servers(), 4, "");
    let ping = || command(Command::Ping, "");
    let mut steps = queries(&["SELECT CAST('x' AS SIGNED) FROM orders LIMIT 1; SHOW WARNINGS"]);
    steps.extend([ping(), ping(), prepare(0, "SELECT 1"), query("BEGIN")]);
    steps.extend([query("SELECT nothing_like_it"), ping(), reset(0), ping(), ping()]);
    steps.extend([query("SELECT CAST('x' AS SIGNED)"), ping(), query("ROLLBACK"), ping()]);
    // An error does not tell how many warnings came before it.
    let mut failed = queries(&[
        "SET sql_mode = ''",
        "CREATE TEMPORARY TABLE ping_t (id INT PRIMARY KEY, a VARCHAR(3))",
        "INSERT INTO ping_t VALUES (1, 'far too long'), (2, 'abc')",
        "INSERT INTO ping_t VALUES (1, 'far too long')",
    ]);
    failed.extend([ping(), ping(), query("SHOW WARNINGS"), ping(), execute(7, &[]), ping()]);
    failed.extend([query("SELECT 1"), ping(), query("DROP TEMPORARY TABLE ping_t"), ping()]);
    let scripts = [Script::new("pings", steps), Script::new("pings after a failure", failed)];
    check(&proxy, &scripts, &ALL[..2]);
}

/// What a session is told that ends its own statement, or itself.
#[test]
fn a_session_may_kill_itself() {
    let proxy = Proxy::start(servers());
    let texts = |kill: &'static str| queries(&["SELECT 1", kill, "SELECT 2"]);
    let held = [queries(&["BEGIN"]), texts("KILL CONNECTION_ID()")].concat();
    let scripts = [
        Script::new("kill its statement", texts("KILL QUERY CONNECTION_ID()")),
        Script::new("kill itself", texts("KILL CONNECTION_ID()")),
        Script::new("kill itself in a transaction", held),
    ];
    check(&proxy, &scripts, &ALL[..2]);
}
