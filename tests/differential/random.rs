//! Random sessions: any legal order of commands has the same answers. A difference is made short
//! before it is told.

use std::time::{Duration, Instant};

use fairlane::protocol::{Capabilities, Command};

use crate::compare::{ALL, Difference, Script, difference, is_offered};
use crate::params::{BLOB, big, null, null_as, text};
use crate::step::*;
use crate::support::{Proxy, product, servers};

/// Differences after which a run ends.
const REPORTED: usize = 12;
/// No session begins later than this, unless their number is given.
const LIMIT: Duration = Duration::from_secs(10);
const STEPS: usize = 30;
/// First steps of a script that stay when it is made short.
const KEPT: usize = 4;
/// Prepared statements of a script.
const SLOTS: usize = 4;

const TEXTS: &[&str] = &[
    "SELECT 1",
    "SELECT id, t FROM df_x ORDER BY id LIMIT 7",
    "SELECT t FROM df_x WHERE id = 3",
    "SELECT COUNT(*), MAX(id) FROM df_x",
    "INSERT INTO df_x (t) VALUES ('new'), ('newer')",
    "INSERT INTO df_x (id, t) VALUES (1, 'again')",
    "INSERT IGNORE INTO df_x (id, t) VALUES (1, 'again')",
    "UPDATE df_x SET t = 'changed' WHERE id < 4",
    "UPDATE df_x SET t = 'far too long for it' WHERE id = 2",
    "DELETE FROM df_x WHERE id > 5",
    "REPLACE INTO df_x (id, t) VALUES (2, 'r')",
    "SELECT LAST_INSERT_ID()",
    "SELECT ROW_COUNT()",
    "SHOW WARNINGS",
    "SHOW COUNT(*) WARNINGS",
    "SELECT @@warning_count",
    "SELECT 1/0",
    "SELECT nothing_like_it",
    "SELEC",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "SET @a = 5",
    "SELECT @a, @a := @a + 1",
    "SET sql_mode = 'ANSI_QUOTES'",
    "SET sql_mode = DEFAULT",
    "SELECT \"t\" FROM df_x LIMIT 1",
    "SELECT '\u{e9}', @@collation_connection, DATABASE()",
    "SET time_zone = '+03:00'",
    "SELECT @@time_zone, @@autocommit, @@sql_mode",
    "USE information_schema",
    "USE shop",
    "USE nowhere",
    "CREATE TEMPORARY TABLE df_y (a INT)",
    "SELECT * FROM df_y",
    "DROP TEMPORARY TABLE IF EXISTS df_y",
    "SELECT GET_LOCK('df_random', 9)",
    "SELECT RELEASE_LOCK('df_random')",
    "LOCK TABLES df_x WRITE",
    "UNLOCK TABLES",
    "SELECT 1; SELECT 2; DO 3",
    "INSERT INTO df_x (t) VALUES ('m'); SELECT LAST_INSERT_ID(); SELECT nothing_like_it",
    "BEGIN NOT ATOMIC SELECT 1; SELECT id FROM df_x LIMIT 2; END",
    "ALTER TABLE df_x COMMENT 'changed'",
    "SHOW COLUMNS FROM df_x",
    "SET last_insert_id = 7",
    "SET sql_select_limit = 2",
    "SET sql_select_limit = DEFAULT",
    "SET @@sql_select_limit = 3",
    "SET @@autocommit = 0, @@lock_wait_timeout = 55",
    "SET @@sql_mode = ''",
    "PREPARE s FROM 'SELECT ? + 1'",
    "DEALLOCATE PREPARE s",
    "KILL 4000000000",
];

const PREPARED: &[(&str, usize)] = &[
    ("SELECT id, t FROM df_x WHERE id > ? ORDER BY id", 1),
    ("SELECT ?, ?, @a", 2),
    ("SELECT 5", 0),
    ("INSERT INTO df_x (t) VALUES (?)", 1),
    ("UPDATE df_x SET t = ? WHERE id = ?", 2),
    ("SELECT DATABASE(), @@sql_mode, 'caf\u{e9}'", 0),
    ("SELECT nothing_like_it", 0),
    ("SELEC ?", 0),
    ("DELETE FROM df_x WHERE id = ?", 1),
    ("SELECT seq FROM seq_1_to_9", 0),
    ("BEGIN", 0),
];

/// Prepared statements at the moment a step is made: how many parameters each slot has.
#[derive(Debug, Default)]
struct Made {
    slots: [Option<usize>; SLOTS],
    /// Statements that were executed with a cursor first: on MySQL they stay with it, and others without,
    /// see docs/compatibility.md.
    only_cursors: [Option<bool>; SLOTS],
}

fn pick<T: Copy>(random: &mut fastrand::Rng, all: &[T]) -> T {
    all[random.usize(0..all.len())]
}

impl Made {
    fn step(&mut self, random: &mut fastrand::Rng) -> Step {
        let slot = random.usize(0..SLOTS);
        match (random.u32(0..24), self.slots[slot]) {
            (0..=11, _) => query(pick(random, TEXTS)),
            (12..=13, _) | (14..=21, None) => {
                let (sql, parameters) = pick(random, PREPARED);
                self.slots[slot] = Some(parameters);
                self.only_cursors[slot] = None;
                prepare(slot, sql)
            }
            (14..=17, Some(parameters)) => {
                let params: Vec<_> = (0..parameters)
                    .map(|_| match random.u32(0..4) {
                        0 => null(),
                        // How often MySQL warns of a word that is no number, is its optimizer's
                        // business.
                        1 => text(if product().is_mysql() { "5" } else { "word" }),
                        _ => big(random.i64(1..9)),
                    })
                    .collect();
                let has_cursor = random.u32(0..4) == 0;
                let is_first = *self.only_cursors[slot].get_or_insert(has_cursor);
                let has_cursor = if product().is_mysql() { is_first } else { has_cursor };
                execute_with(slot, u8::from(has_cursor), &params, true)
            }
            (18..=19, Some(_)) => fetch(slot, random.u32(0..4)),
            (20, Some(_)) => reset(slot),
            (21, Some(_)) => close(slot),
            (22, _) => command(Command::Ping, ""),
            _ => match random.u32(0..10) {
                0 => command(Command::InitDb, "shop"),
                1 => command(Command::InitDb, "nowhere"),
                // The rows it affects are those of whatever ran before on MySQL's connection.
                2 if !product().is_mysql() => command(Command::SetOption, [random.u8(0..2), 0]),
                3 => command(Command::FieldList, "df_x\0%"),
                4 => bytes(&[0x77]),
                5 => change_user("app", "app-secret", pick(random, &["shop", ""])),
                6 if !product().is_mysql() => execute(slot, &[null_as(BLOB)]),
                7 => command(Command::Debug, ""),
                _ => command(Command::ResetConnection, ""),
            },
        }
    }
}

/// Commands whose errors MySQL adds to the list of warnings, see docs/compatibility.md.
fn adds_conditions(step: &Step) -> bool {
    match &step.payload {
        Payload::Fixed(bytes) => bytes == b"w" || bytes == b"\r" || bytes == b"\x02nowhere",
        Payload::WithId { .. } => true,
        Payload::Prepare { .. } | Payload::ChangeUser { .. } => false,
    }
}

fn script(random: &mut fastrand::Rng) -> Script {
    let mut steps = queries(&[
        "CREATE OR REPLACE TABLE df_x (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(9))",
        "INSERT INTO df_x (t) VALUES ('a'), ('b'), (NULL), ('d'), ('')",
        // Not later: a list of warnings is kept in the character set it had when they came.
        pick(random, &["SET NAMES latin1", "SET NAMES utf8mb4", "SET NAMES utf8mb3"]),
    ]);
    let mut made = Made::default();
    for _ in 0..STEPS {
        let step = made.step(random);
        let adds = adds_conditions(&step);
        steps.push(step);
        if adds && product().is_mysql() {
            steps.push(query("DO 0"));
        }
    }
    let puts_definitions = steps.iter().any(|step| step.what.contains("ALTER TABLE"));
    Script { puts_definitions, ..Script::new("random", steps) }
}

/// Leaves out one step after the other as long as the same one is answered differently.
fn shorten(proxy: &Proxy, script: &Script, more: Capabilities, found: &Difference) -> Script {
    let mut short = script.clone();
    short.steps.truncate(found.step + 1);
    let what = short.steps[found.step].what.clone();
    for index in (KEPT..found.step).rev() {
        let mut shorter = short.clone();
        shorter.steps.remove(index);
        let still = difference(proxy, &shorter, more);
        if still.is_some_and(|still| shorter.steps[still.step].what == what) {
            short = shorter;
        }
    }
    short
}

/// A number in the environment.
pub fn environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is no number")))
}

/// What to do to see a difference again, the shortest script that shows it, and both answers.
fn report(proxy: &Proxy, seed: u64, script: &Script, more: Capabilities) -> Option<String> {
    let found = difference(proxy, script, more)?;
    let short = shorten(proxy, script, more, &found);
    let steps: Vec<&str> = short.steps.iter().map(|step| &*step.what).collect();
    let last = difference(proxy, &short, more).map(|last| last.text);
    let last = last.unwrap_or_else(|| format!("gone when run once more; at first: {}", found.text));
    Some(format!("FAIRLANE_SEED={seed} FAIRLANE_SESSIONS=1\n{}\n\n{last}", steps.join("\n")))
}

/// Session `n` has the seed `FAIRLANE_SEED + n`; without one the first is new each time. Without
/// `FAIRLANE_SESSIONS` there are as many as fit into some seconds.
#[test]
fn random_sessions_have_the_same_answers() {
    let first = environment("FAIRLANE_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    let sessions = environment("FAIRLANE_SESSIONS");
    let proxy = Proxy::start(servers());
    let begun = Instant::now();
    let mut reports = Vec::new();
    let mut number = 0;
    while reports.len() < REPORTED
        && sessions.map_or_else(|| begun.elapsed() < LIMIT, |sessions| number < sessions)
    {
        let seed = first.wrapping_add(number);
        let mut random = fastrand::Rng::with_seed(seed);
        let script = script(&mut random);
        let more = pick(&mut random, ALL);
        if is_offered(more) {
            reports.extend(report(&proxy, seed, &script, more));
        }
        number += 1;
    }
    println!("{number} sessions from FAIRLANE_SEED={first}");
    assert!(number > 0, "no session was run");
    let count = reports.len();
    assert!(reports.is_empty(), "{count} differences\n\n{}", reports.join("\n\n"));
}
