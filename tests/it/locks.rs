//! Users' statements that wait for what batch work has locked.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fairlane::protocol::response::Summary;
use fairlane::protocol::{Command, Shape};
use fairlane::sandbox::Options;

use crate::support::raw::Login;
use crate::support::servers::{What, keep, order};
use crate::support::{Failed, Proxy, Raw, Servers, eventually, pause, product, servers};

/// Whoever calls itself a scraper is batch; everybody else clicks.
const RULE: &str = "[[rule]]\nlane = \"batch\"\nprogram_name = \"scraper*\"\n\
    [routing]\nreplica_reads = false\n";

fn proxy(servers: &Servers, lanes: &str) -> Proxy {
    Proxy::with(servers, 8, &format!("[lanes]\n{lanes}\n{RULE}"))
}

fn scraper(proxy: &Proxy) -> Raw {
    let login = Login {
        schema: Some("shop"),
        program: "scraper",
        ..Login::new(proxy.port, "app", "app-secret")
    };
    Raw::login(&login).unwrap()
}

/// A table of the test's own, with the rows 1 to 9.
fn table(servers: &Servers, name: &str) {
    let mut root = servers.root();
    root.replace(&format!("CREATE OR REPLACE TABLE shop.{name} (id INT PRIMARY KEY, n INT)"));
    let rows: Vec<String> = (1..10).map(|id| format!("({id}, 0)")).collect();
    root.run(&format!("INSERT INTO shop.{name} VALUES {}", rows.join(",")));
}

/// Runs a statement of a click beside; how it ended, and how long it took.
fn click(proxy: &Proxy, sql: &str) -> JoinHandle<(Result<(), Failed>, Duration)> {
    let (mut client, sql) = (proxy.app(), sql.to_owned());
    thread::spawn(move || {
        let began = Instant::now();
        (client.query(&sql).map(|_| ()), began.elapsed())
    })
}

fn waits(proxy: &Proxy, kind: &str) -> f64 {
    proxy.metric(&format!(
        "fairlane_lock_waits_total{{blocker=\"batch\",kind=\"{kind}\",lane=\"interactive\"}}"
    ))
}

fn probes(proxy: &Proxy) -> f64 {
    proxy.sum("fairlane_lock_probes_total{")
}

fn did(proxy: &Proxy, action: &str) -> f64 {
    proxy.metric(&format!("fairlane_lock_guard_actions_total{{action=\"{action}\"}}"))
}

fn is_deadlock(error: &Failed) -> bool {
    matches!(error, Failed::Server { code: 1213, sqlstate, message }
        if sqlstate == "40001" && message.starts_with("Deadlock found when trying to get lock"))
}

#[test]
fn a_wait_is_reported_with_both_sides() {
    table(servers(), "lock_seen");
    let proxy = proxy(servers(), "");
    let mut scraper = scraper(&proxy);
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_seen SET n = 4711 WHERE id = 1");
    let click = click(&proxy, "UPDATE lock_seen SET n = 815 WHERE id = 1");
    eventually("the wait is found", || waits(&proxy, "row") == 1.0);
    let state = proxy.get("/state");
    let begin = state.find("\"lock_waits\"").unwrap();
    let shown = &state[begin..state.find("\"sessions\":{").unwrap()];
    for part in [
        "\"kind\":\"row\"",
        "UPDATE lock_seen SET n = ? WHERE id = ?",
        "\"lane\":\"interactive\"",
        "\"lane\":\"batch\"",
        "\"user\":\"app\"",
        "\"doing\":\"idle for ",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("= 4711") && !shown.contains("= 815"), "no values: {shown}");
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("a statement waits for a lock")).unwrap();
    assert!(line.contains("lane interactive") && line.contains("lane batch"), "{line}");
    // The default policy changes nothing.
    pause(600);
    assert!(!click.is_finished());
    scraper.run("COMMIT");
    click.join().unwrap().0.unwrap();
    eventually("the wait is over", || {
        proxy.get("/state").contains("\"lock_waits\":[]")
            && proxy.metric("fairlane_lock_wait_seconds_count{lane=\"interactive\"}") == 1.0
    });
    assert_eq!(waits(&proxy, "row"), 1.0, "told once");
    assert_eq!(did(&proxy, "paced") + did(&proxy, "aborted") + did(&proxy, "spared"), 0.0);
    assert_eq!(proxy.app().text("SELECT n FROM lock_seen WHERE id = 1"), "815");
}

#[test]
fn a_statement_whose_client_has_gone_is_no_other_program() {
    table(servers(), "lock_orphan");
    let proxy = proxy(servers(), "");
    let mut scraper = scraper(&proxy);
    scraper.send(Command::Query, b"UPDATE lock_orphan SET n = n + 1 + SLEEP(60) WHERE id < 3");
    eventually("it runs", || proxy.get("/state").contains("SET n = n + ? + SLEEP ( ? )"));
    scraper.hang_up();
    eventually("it goes on", || proxy.get("/state").contains("\"is_orphan\":true"));
    let click = click(&proxy, "UPDATE lock_orphan SET n = 815 WHERE id = 1");
    eventually("the wait is found", || proxy.sum("fairlane_lock_waits_total{") == 1.0);
    assert_eq!(waits(&proxy, "row"), 1.0, "for batch");
    eventually("it is said", || proxy.log().contains("a statement waits for a lock"));
    let log = proxy.log();
    assert!(log.contains("lane batch") && !log.contains("another program"), "{log}");
    eventually("it is shown", || proxy.get("/state").contains("\"blockers\":[{\"session\":"));
    let state = proxy.get("/state");
    let begin = state.find("\"blockers\":[").unwrap();
    let shown = &state[begin..state.find("\"sessions\":{").unwrap()];
    for part in ["\"lane\":\"batch\"", "\"doing\":\"runs\"", "SET n = n + ? + SLEEP ( ? )"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let mut root = servers().root();
    let running =
        "SELECT id FROM information_schema.processlist WHERE info LIKE 'UPDATE lock_orphan%+%'";
    let thread = root.text(running);
    root.run(&format!("KILL {thread}"));
    click.join().unwrap().0.unwrap();
}

/// MariaDB tells it by a plugin, which may be installed at any time.
#[test]
fn who_holds_a_metadata_lock_is_told_once_the_server_tells() {
    if product().is_mysql() {
        return;
    }
    let (servers, _orders) = keep(product().options());
    if !servers.root().text("SELECT VERSION()").starts_with("10.") {
        // The package of the newer one comes without plugins here.
        return;
    }
    table(&servers, "lock_named");
    let proxy = proxy(&servers, "");
    let mut scraper = scraper(&proxy);
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_named SET n = 4711 WHERE id = 1");
    let click = click(&proxy, "ALTER TABLE lock_named ADD COLUMN more INT");
    let shown = || {
        let state = proxy.get("/state");
        let begin = state.find("\"lock_waits\"").unwrap();
        state[begin..state.find("\"sessions\":{").unwrap()].to_owned()
    };
    eventually("the wait is found", || shown().contains("\"kind\":\"metadata\""));
    assert!(shown().contains("\"blockers\":[]"), "{}", shown());
    servers.root().run("INSTALL SONAME 'metadata_lock_info'");
    eventually("it is named", || shown().contains("\"lane\":\"batch\""));
    scraper.run("COMMIT");
    click.join().unwrap().0.unwrap();
}

#[test]
fn who_has_waited_for_the_lock_of_batch_is_not_taken_for_batch() {
    table(servers(), "lock_victim");
    let proxy = proxy(servers(), "");
    let (mut scraper, mut user) = (scraper(&proxy), proxy.app());
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_victim SET n = 1 WHERE id = 1");
    let click = thread::spawn(move || {
        user.run("UPDATE lock_victim SET n = 2 WHERE id = 1");
        user
    });
    eventually("the wait is found", || waits(&proxy, "row") == 1.0);
    pause(4_000);
    scraper.run("COMMIT");
    let mut user = click.join().unwrap();
    // What a busy machine adds to its work has worn off by then; four seconds would not have.
    pause(1_000);
    user.run("SELECT n FROM lock_victim WHERE id = 1");
    let batch =
        |reason: &str| proxy.metric(&format!("fairlane_lane_choices_total{{reason=\"{reason}\"}}"));
    assert_eq!(batch("attained_service") + batch("company"), 0.0);
}

#[test]
fn who_has_waited_for_another_program_is_not_taken_for_batch_though_nobody_is_batch() {
    table(servers(), "lock_outside");
    let proxy = proxy(servers(), "");
    let (mut outside, mut user) = (servers().root(), proxy.app());
    outside.run("BEGIN");
    outside.run("UPDATE shop.lock_outside SET n = 1 WHERE id = 1");
    let click = thread::spawn(move || {
        user.run("UPDATE lock_outside SET n = 2 WHERE id = 1");
        user
    });
    eventually("the wait is found", || proxy.sum("fairlane_lock_waits_total{") == 1.0);
    pause(4_000);
    outside.run("COMMIT");
    let mut user = click.join().unwrap();
    // As above.
    pause(1_000);
    user.run("SELECT n FROM lock_outside WHERE id = 1");
    let batch =
        |reason: &str| proxy.metric(&format!("fairlane_lane_choices_total{{reason=\"{reason}\"}}"));
    assert_eq!(batch("attained_service") + batch("company"), 0.0);
}

#[test]
fn a_gap_and_a_queue_in_front_are_found() {
    table(servers(), "lock_gap");
    let proxy = proxy(servers(), "");
    let mut first = scraper(&proxy);
    first.run("BEGIN");
    first.run("SELECT * FROM lock_gap WHERE id = 20 FOR UPDATE");
    let inserting = click(&proxy, "INSERT INTO lock_gap VALUES (30, 0)");
    eventually("a gap is found", || waits(&proxy, "row") == 1.0);
    first.run("ROLLBACK");
    inserting.join().unwrap().0.unwrap();
}

#[test]
fn a_wait_for_metadata_is_found() {
    table(servers(), "lock_meta");
    let proxy = proxy(servers(), "lock_guard = \"abort\"\nlock_abort_after = \"100ms\"");
    let mut scraper = scraper(&proxy);
    scraper.run("BEGIN");
    scraper.run("SELECT * FROM lock_meta");
    let altering = click(&proxy, "ALTER TABLE lock_meta ADD COLUMN more INT");
    let total = "fairlane_lock_waits_total{";
    eventually("the wait is found", || proxy.sum(total) > 0.0);
    if product().is_mysql() {
        assert_eq!(waits(&proxy, "metadata"), 1.0, "MySQL tells for whom");
    }
    pause(700);
    assert!(!altering.is_finished(), "nobody is rolled back for that");
    scraper.run("COMMIT");
    altering.join().unwrap().0.unwrap();
    assert_eq!(did(&proxy, "aborted"), 0.0);
}

#[test]
fn nothing_is_asked_while_nobody_can_wait() {
    // Servers of their own, which write down what they are asked.
    let extra = vec!["general_log=ON".to_owned(), "log_output=TABLE".to_owned()];
    let options = Options { max_connections: 100, primary_extra: extra, ..product().options() };
    let (servers, _orders) = keep(options);
    let servers = adapted(servers);
    table(&servers, "lock_none");
    let mut root = servers.root();
    let mut questions = || {
        let count = "SELECT COUNT(*) FROM mysql.general_log WHERE user_host LIKE 'fairlane[%' \
                     AND CONVERT(argument USING utf8mb4) REGEXP 'lock_waits|LOCK_WAITS'";
        root.text(count).parse::<u64>().unwrap()
    };
    let proxy = proxy(&servers, "lock_wait = \"20ms\"");
    let (mut user, mut batch) = (proxy.app(), scraper(&proxy));
    batch.run("BEGIN");
    batch.run("UPDATE lock_none SET n = 1 WHERE id = 1");
    // Short statements beside a transaction that holds a lock, and long ones beside nobody.
    for _ in 0..100 {
        user.run("SELECT 1");
    }
    batch.run("ROLLBACK");
    user.run("SELECT SLEEP(0.7) /* fairlane: lane=interactive */");
    batch.run("SELECT SLEEP(0.7)");
    assert_eq!((questions(), probes(&proxy)), (0, 0.0));
    // A long one beside a transaction: a few questions, less and less often.
    batch.run("BEGIN");
    batch.run("UPDATE lock_none SET n = 2 WHERE id = 1");
    user.run("SELECT SLEEP(3) /* fairlane: lane=interactive */");
    let asked = probes(&proxy);
    assert!((2.0..=6.0).contains(&asked), "{asked}");
    assert_eq!(questions() as f64, asked);
    assert_eq!(proxy.sum("fairlane_lock_waits_total{"), 0.0);
}

/// Over a Unix socket MySQL would see localhost, and take another account.
fn adapted(mut servers: Servers) -> Servers {
    if product().is_mysql() {
        servers.replica_address = format!("127.0.0.1:{}", servers.replica);
    }
    servers
}

const ABORT: &str = "lock_guard = \"abort\"\nlock_wait = \"50ms\"\nlock_abort_after = \"200ms\"";

#[test]
fn an_idle_blocker_is_rolled_back_and_told_with_its_next_statement() {
    table(servers(), "lock_idle");
    let proxy = proxy(servers(), ABORT);
    let mut scraper = scraper(&proxy);
    scraper.run("SET @mine = 5");
    scraper.run("SET NAMES latin1");
    let (_, statement) = prepare(&mut scraper, "SELECT n FROM lock_idle WHERE id = 9");
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_idle SET n = 1 WHERE id IN (1, 2)");
    let (clicked, took) = click(&proxy, "UPDATE lock_idle SET n = 2 WHERE id = 1").join().unwrap();
    clicked.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    eventually("it is counted", || did(&proxy, "aborted") == 1.0);
    let error = scraper.query("UPDATE lock_idle SET n = 1 WHERE id = 3").unwrap_err();
    assert!(is_deadlock(&error), "{error:?}");
    let warnings = scraper.rows("SHOW WARNINGS");
    assert_eq!(warnings[0][1].as_deref(), Some("1213"), "{warnings:?}");
    // Told once; nothing of the transaction is there, everything of the session is.
    scraper.run("ROLLBACK");
    assert_eq!(
        scraper.text("SELECT GROUP_CONCAT(n ORDER BY id) FROM lock_idle WHERE id < 4"),
        "2,0,0"
    );
    assert_eq!(scraper.text("SELECT @mine"), "5");
    assert_eq!(scraper.text("SELECT @@character_set_client"), "latin1");
    assert_eq!(execute(&mut scraper, statement).summary.error, None);
    // It can do its work now.
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_idle SET n = 7 WHERE id = 3");
    scraper.run("COMMIT");
    assert_eq!(proxy.app().text("SELECT n FROM lock_idle WHERE id = 3"), "7");
}

fn prepare(client: &mut Raw, sql: &str) -> (usize, u32) {
    let answer = client.command(Command::StmtPrepare, sql.as_bytes()).unwrap();
    let (id, columns, _) = answer.summary.prepared.unwrap();
    (usize::from(columns), id)
}

fn execute(client: &mut Raw, id: u32) -> crate::support::Answer {
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 0, 0]);
    client.command(Command::StmtExecute, &body).unwrap()
}

#[test]
fn a_running_blocker_is_stopped_rolled_back_and_told_at_once() {
    table(servers(), "lock_runs");
    let proxy = proxy(servers(), ABORT);
    for way in ["text", "prepared"] {
        let mut scraper = scraper(&proxy);
        let sql = "UPDATE lock_runs SET n = n + 1 + SLEEP(10) WHERE id = 2";
        let (_, id) = prepare(&mut scraper, sql);
        scraper.run("SET @mine = 6");
        scraper.run("BEGIN");
        scraper.run("UPDATE lock_runs SET n = 100 WHERE id = 1");
        match way {
            "text" => scraper.send(Command::Query, sql.as_bytes()),
            _ => {
                let mut body = id.to_le_bytes().to_vec();
                body.extend_from_slice(&[0, 1, 0, 0, 0]);
                scraper.send(Command::StmtExecute, &body);
            }
        }
        pause(50);
        let (clicked, took) =
            click(&proxy, "UPDATE lock_runs SET n = 3 WHERE id = 1").join().unwrap();
        clicked.unwrap();
        assert!(took < Duration::from_secs(3), "{way}: {took:?}");
        let error = scraper.answer(Shape::Results).unwrap().error().unwrap();
        assert!(is_deadlock(&error), "{way}: {error:?}");
        assert_eq!(scraper.text("SELECT @mine"), "6");
        assert_eq!(
            scraper.text("SELECT GROUP_CONCAT(n ORDER BY id) FROM lock_runs WHERE id < 3"),
            "3,0"
        );
        assert!(!scraper.status().contains(fairlane::protocol::status::Status::IN_TRANS));
    }
    eventually("both are counted", || did(&proxy, "aborted") == 2.0);
    assert_eq!(proxy.metric("fairlane_errors_sent_total{code=\"1213\",origin=\"fairlane\"}"), 2.0);
    eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
}

#[test]
fn an_autocommit_statement_is_a_transaction_of_its_own() {
    table(servers(), "lock_auto");
    let proxy = proxy(servers(), ABORT);
    let mut scraper = scraper(&proxy);
    scraper.send(Command::Query, b"UPDATE lock_auto SET n = 9 + SLEEP(3) WHERE id < 4");
    pause(100);
    let (clicked, took) = click(&proxy, "UPDATE lock_auto SET n = 3 WHERE id = 1").join().unwrap();
    clicked.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(is_deadlock(&scraper.answer(Shape::Results).unwrap().error().unwrap()));
    assert_eq!(
        scraper.text("SELECT GROUP_CONCAT(n ORDER BY id) FROM lock_auto WHERE id < 4"),
        "3,0,0"
    );
}

#[test]
fn a_client_that_rolls_back_by_itself_need_not_know_and_one_that_commits_has_to() {
    table(servers(), "lock_end");
    let proxy = proxy(servers(), ABORT);
    for (end, is_told) in [("ROLLBACK", false), ("COMMIT", true), ("BEGIN", true)] {
        let mut scraper = scraper(&proxy);
        let before = did(&proxy, "aborted");
        scraper.run("BEGIN");
        scraper.run("UPDATE lock_end SET n = 1 WHERE id = 1");
        click(&proxy, "UPDATE lock_end SET n = 2 WHERE id = 1").join().unwrap().0.unwrap();
        eventually("it is rolled back", || did(&proxy, "aborted") > before);
        scraper.command(Command::Ping, b"").unwrap();
        assert_eq!(
            scraper.query(end).err().is_some_and(|error| is_deadlock(&error)),
            is_told,
            "{end}"
        );
        scraper.run("UPDATE lock_end SET n = 3 WHERE id = 2");
    }
    assert_eq!(proxy.app().text("SELECT n FROM lock_end WHERE id = 1"), "2");
}

#[test]
fn who_clicks_too_or_holds_what_no_rollback_frees_is_left_alone() {
    table(servers(), "lock_left");
    let proxy = proxy(servers(), ABORT);
    // Another click.
    let mut user = proxy.app();
    user.run("BEGIN");
    user.run("UPDATE lock_left SET n = 1 WHERE id = 1");
    // A slot of a batch session, or nobody would look.
    let mut batch = scraper(&proxy);
    batch.run("BEGIN");
    batch.run("UPDATE lock_left SET n = 1 WHERE id = 5");
    let waiting = click(&proxy, "UPDATE lock_left SET n = 2 WHERE id = 1");
    let between =
        "fairlane_lock_waits_total{blocker=\"interactive\",kind=\"row\",lane=\"interactive\"}";
    eventually("it is found", || proxy.metric(between) == 1.0);
    pause(700);
    assert!(!waiting.is_finished());
    user.run("COMMIT");
    waiting.join().unwrap().0.unwrap();
    batch.run("COMMIT");
    // An open cursor.
    let (_, id) = prepare(&mut batch, "SELECT * FROM lock_left");
    batch.run("BEGIN");
    batch.run("UPDATE lock_left SET n = 1 WHERE id = 1");
    let mut body = id.to_le_bytes().to_vec();
    body.extend_from_slice(&[1, 1, 0, 0, 0]);
    batch.command(Command::StmtExecute, &body).unwrap();
    let waiting = click(&proxy, "UPDATE lock_left SET n = 2 WHERE id = 1");
    eventually("it is spared", || did(&proxy, "spared") >= 1.0);
    assert!(!waiting.is_finished());
    batch.run("COMMIT");
    waiting.join().unwrap().0.unwrap();
    assert_eq!(did(&proxy, "aborted"), 0.0);
}

#[test]
fn pacing_lets_the_holder_go_first_and_holds_nobody_for_long() {
    table(servers(), "lock_pace");
    let proxy = proxy(servers(), "target = \"off\"\nlock_guard = \"pace\"\nlock_wait = \"50ms\"");
    let mut holder = scraper(&proxy);
    holder.run("BEGIN");
    holder.run("UPDATE lock_pace SET n = 1 WHERE id = 1");
    // It goes on with something long, on which others' waiting might help.
    holder.send(Command::Query, b"UPDATE lock_pace SET n = 1 + SLEEP(2) WHERE id = 2");
    let waiting = click(&proxy, "UPDATE lock_pace SET n = 2 WHERE id = 1");
    eventually("the wait is found", || waits(&proxy, "row") == 1.0);
    let mut other = scraper(&proxy);
    // One that may have locks itself: it is held back for moments only.
    let mut inside = scraper(&proxy);
    inside.run("BEGIN");
    inside.run("UPDATE lock_pace SET n = 1 WHERE id = 4");
    let (mut longest, mut user) = (Duration::ZERO, proxy.app());
    let mut users = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1800) {
        let at = Instant::now();
        other.run("SELECT n FROM lock_pace WHERE id = 3");
        longest = longest.max(at.elapsed());
        let at = Instant::now();
        user.run("SELECT n FROM lock_pace WHERE id = 3");
        inside.run("SELECT n FROM lock_pace WHERE id = 3");
        users.push(at.elapsed());
    }
    assert!(did(&proxy, "paced") >= 2.0);
    users.sort_unstable();
    assert!(users[users.len() / 2] < Duration::from_millis(50), "held back as well: {users:?}");
    let bounds = Duration::from_millis(50)..Duration::from_millis(400);
    assert!(bounds.contains(&longest), "{longest:?} at most");
    holder.answer(Shape::Results).unwrap();
    assert_eq!(
        holder.query("COMMIT").map(|_| ()),
        Ok(()),
        "the end of a transaction is not held back"
    );
    waiting.join().unwrap().0.unwrap();
    assert_eq!(did(&proxy, "aborted"), 0.0);
}

#[test]
fn without_the_privilege_the_guard_says_so_once_and_is_off() {
    table(servers(), "lock_denied");
    let mut root = servers().root();
    for host in ["localhost", "127.0.0.1", "%"] {
        let (table, extra) = match product().is_mysql() {
            true => ("mysql.user", "REPLICATION CLIENT, CONNECTION_ADMIN"),
            false => ("mysql.global_priv", "BINLOG MONITOR, SLAVE MONITOR, CONNECTION ADMIN"),
        };
        root.replace(&format!("CREATE OR REPLACE USER lock_poor@'{host}' IDENTIFIED BY 'poor'"));
        root.run(&format!("GRANT SELECT ON {table} TO lock_poor@'{host}'"));
        root.run(&format!("GRANT {extra} ON *.* TO lock_poor@'{host}'"));
    }
    servers().wait_replicated();
    let proxy =
        Proxy::as_service(servers(), ("lock_poor", "poor"), &format!("[lanes]\n{ABORT}\n{RULE}"));
    let mut scraper = scraper(&proxy);
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_denied SET n = 1 WHERE id = 1");
    for _ in 0..2 {
        let waiting = click(&proxy, "UPDATE lock_denied SET n = 2 WHERE id = 1");
        let refused = "fairlane_lock_probes_total{outcome=\"refused\"}";
        eventually("the primary refuses", || proxy.metric(refused) == 1.0);
        pause(600);
        assert!(!waiting.is_finished());
        scraper.run("COMMIT");
        waiting.join().unwrap().0.unwrap();
        scraper.run("BEGIN");
        scraper.run("UPDATE lock_denied SET n = 1 WHERE id = 1");
    }
    let log = proxy.log();
    assert_eq!(log.matches("the lock guard is off").count(), 1, "{log}");
}

#[test]
fn a_server_that_dies_while_somebody_waits_leaves_everything_whole() {
    let (servers, orders) = keep(Options { max_connections: 100, ..product().options() });
    let servers = adapted(servers);
    table(&servers, "lock_dies");
    let proxy = proxy(&servers, ABORT);
    let mut holder = scraper(&proxy);
    holder.run("BEGIN");
    holder.run("UPDATE lock_dies SET n = 1 WHERE id = 1");
    let waiting = click(&proxy, "UPDATE lock_dies SET n = 2 WHERE id = 1");
    pause(180);
    order(&orders, What::KillPrimary);
    let _ = waiting.join().unwrap();
    let _ = holder.query("SELECT 1");
    order(&orders, What::StartPrimary);
    eventually("the primary is back", || {
        proxy.try_app().is_ok_and(|mut client| client.query("SELECT 1").is_ok())
    });
    eventually("nobody waits", || proxy.get("/state").contains("\"lock_waits\":[]"));
    let mut holder = scraper(&proxy);
    holder.run("BEGIN");
    holder.run("UPDATE lock_dies SET n = 1 WHERE id = 2");
    click(&proxy, "UPDATE lock_dies SET n = 2 WHERE id = 2").join().unwrap().0.unwrap();
    drop(holder);
    eventually("all slots are free", || proxy.sum("fairlane_lane_slots_in_use{") == 0.0);
}

/// `sql` of `single` against a transaction of `other` that has written more and closes the circle, so that the
/// server chooses the first, whose statement is a transaction of its own.
fn deadlock([single, other]: &mut [Raw; 2], name: &str, sql: &str) -> Result<Summary, Failed> {
    other.run("BEGIN");
    for id in 3..10 {
        other.run(&format!("UPDATE {name} SET n = n + 1 WHERE id = {id}"));
    }
    // Rows from the first on: it has those in front of the other's, and waits.
    single.send(Command::Query, sql.as_bytes());
    pause(150);
    other.run(&format!("UPDATE {name} SET n = n + 1 WHERE id = 1"));
    other.run("COMMIT");
    let answer = single.answer(Shape::Results)?;
    match answer.error() {
        Some(error) => Err(error),
        None => Ok(answer.summary),
    }
}

fn deadlocked(proxy: &Proxy, name: &str, sql: &str) -> Result<Summary, Failed> {
    deadlock(&mut [proxy.app(), proxy.app()], name, sql)
}

#[test]
fn a_single_statement_that_loses_a_deadlock_is_repeated() {
    let sql = "UPDATE lock_repeat SET n = n + 100 WHERE id < 5";
    let is_told = !product().is_mysql();
    for (lanes, is_repeated) in [
        ("deadlock_retries = 0", false),
        // MySQL does not tell of triggers.
        ("", is_told),
        ("deadlock_repeat = \"all\"", true),
    ] {
        table(servers(), "lock_repeat");
        let proxy = proxy(servers(), lanes);
        let answer = deadlocked(&proxy, "lock_repeat", sql);
        if !is_repeated {
            assert!(
                answer.is_err_and(|error| is_deadlock(&error)),
                "{lanes}: as the server tells it"
            );
            assert_eq!(did(&proxy, "repeated"), 0.0, "{lanes}");
            continue;
        }
        assert_eq!(answer.unwrap().affected, Some(4), "{lanes}");
        assert_eq!(did(&proxy, "repeated"), 1.0, "{lanes}");
        let all = "SELECT GROUP_CONCAT(n ORDER BY id) FROM lock_repeat";
        assert_eq!(proxy.app().text(all), "101,100,101,101,1,1,1,1,1", "{lanes}");
        // What depends on the session, or leaves something in it, is told.
        let sql = "UPDATE lock_repeat SET n = (@last := id) WHERE id < 5";
        assert!(is_deadlock(&deadlocked(&proxy, "lock_repeat", sql).unwrap_err()));
        assert_eq!(did(&proxy, "repeated"), 1.0, "{lanes}");
    }
}

/// Rows of a table without transactions, and what a trigger has done.
#[test]
fn what_is_left_after_a_deadlock_is_not_done_twice() {
    if product().is_mysql() {
        return;
    }
    let proxy = proxy(servers(), "");
    let mut root = servers().root();
    table(servers(), "lock_undone");
    root.replace("CREATE OR REPLACE TABLE shop.lock_kept (id INT) ENGINE=MyISAM");
    root.run("DROP FUNCTION IF EXISTS shop.lock_note");
    root.run("CREATE FUNCTION shop.lock_note(n INT) RETURNS INT DETERMINISTIC BEGIN SET @lock_noted = 1; RETURN n; END");
    root.run(
        "CREATE OR REPLACE VIEW shop.lock_view AS \
         SELECT id, n FROM shop.lock_undone WHERE shop.lock_note(id) > 0",
    );
    let change = "UPDATE lock_undone SET n = n + 100 WHERE id < 5";
    let both =
        "UPDATE lock_kept k, lock_undone l SET k.id = k.id + 10, l.n = l.n + 100 WHERE l.id < 5";
    for (prepares, sql) in [
        ("DO 1", both),
        ("SET max_error_count = 1", both),
        ("SET max_error_count = 0", both),
        (
            "CREATE TRIGGER shop.lock_counts AFTER UPDATE ON shop.lock_undone FOR EACH ROW \
             SET @lock_seen = IFNULL(@lock_seen, 0) + 1",
            change,
        ),
        ("DO 1", "UPDATE lock_view SET n = n + 100 WHERE id < 5"),
    ] {
        let [direct, through] = [servers().primary, proxy.port].map(|port| {
            table(servers(), "lock_undone");
            root.run("DELETE FROM shop.lock_kept");
            root.run("INSERT INTO shop.lock_kept VALUES (0)");
            let connect = || Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
            let mut clients = [connect(), connect()];
            let is_trigger = prepares.starts_with("CREATE");
            if is_trigger {
                root.run(prepares)
            } else {
                clients[0].run(prepares)
            };
            let error = deadlock(&mut clients, "lock_undone", sql).unwrap_err();
            let single = &mut clients[0];
            let shown = [single.rows("SHOW WARNINGS"), single.rows("SHOW COUNT(*) ERRORS")];
            let id = single.text("SELECT LAST_INSERT_ID()");
            let kept = single.rows("SELECT id FROM lock_kept ORDER BY id");
            (error.code(), shown, id, kept)
        });
        assert_eq!(through, direct, "{prepares}, {sql}");
        assert_eq!(direct.0, 1213);
    }
    assert_eq!(did(&proxy, "repeated"), 0.0);
}

#[test]
fn the_policy_changes_under_running_sessions() {
    table(servers(), "lock_reload");
    let config = |lanes: &str| format!("[lanes]\n{lanes}\n{RULE}");
    let proxy = Proxy::with(servers(), 8, &config("lock_guard = \"off\""));
    let mut scraper = scraper(&proxy);
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_reload SET n = 100 WHERE id = 1");
    let clicked = click(&proxy, "UPDATE lock_reload SET n = 3 WHERE id = 1");
    pause(500);
    assert_eq!(probes(&proxy), 0.0);
    proxy.reconfigure(&config("lock_guard = \"off\""), &config(ABORT));
    clicked.join().unwrap().0.unwrap();
    assert!(is_deadlock(&scraper.query("SELECT 1").unwrap_err()));
    // So does what a statement that runs may come to.
    scraper.run("BEGIN");
    scraper.run("UPDATE lock_reload SET n = 100 WHERE id = 1");
    scraper.send(Command::Query, b"UPDATE lock_reload SET n = 1 + SLEEP(10) WHERE id = 2");
    pause(50);
    let (clicked, took) =
        click(&proxy, "UPDATE lock_reload SET n = 4 WHERE id = 1").join().unwrap();
    clicked.unwrap();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(is_deadlock(&scraper.answer(Shape::Results).unwrap().error().unwrap()));
}
