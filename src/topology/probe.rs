//! The questions asked of the servers, and what their answers mean.

use std::time::Duration;

use foldhash::HashMap;

use super::facts::{
    GTID_MODE, ISOLATION, LogFilter, READ_ONLY, TRACK_GTIDS, VARIABLES, asked, shaping,
};
use super::health::{Replication, Sample};
use super::line::{Line, Record, Trouble};
use crate::config::settings::{Backend, BackendCompression};
use crate::protocol::{Family, code};
use crate::route::freshness::{Origins, Own, Position};
use crate::route::token::Reading;

/// MySQL's first version with `SHOW REPLICA STATUS`.
const REPLICA_STATUS_SINCE: (u16, u16, u16) = (8, 0, 22);

/// MySQL's first version whose variables say "replica".
const REPLICA_VARIABLES_SINCE: (u16, u16, u16) = (8, 0, 26);

/// MySQL's first version with `SHOW BINARY LOG STATUS`.
const LOG_STATUS_SINCE: (u16, u16, u16) = (8, 2, 0);

/// Tells the families apart by what they know, not by a version text anybody can configure.
pub(super) async fn family(line: &mut Line) -> Result<Family, Trouble> {
    match line.query("SELECT @@global.gtid_slave_pos").await {
        Ok(_) => Ok(Family::MariaDb),
        Err(Trouble::Refused { code: code::UNKNOWN_SYSTEM_VARIABLE, .. }) => Ok(Family::MySql),
        Err(trouble) => Err(trouble),
    }
}

/// Finds out whether a server offers the compression its key wants: the control connection does
/// without, but no other could be opened.
///
/// # Errors
/// [`Trouble::Lost`] when it does not.
pub(super) async fn compression(line: &mut Line, server: &Backend) -> Result<(), Trouble> {
    let wanted = match server.compression {
        BackendCompression::Off => return Ok(()),
        BackendCompression::Zlib => "zlib",
        BackendCompression::Zstd => "zstd",
    };
    // MariaDB has the first one, MySQL the second.
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
               ('have_compress', 'protocol_compression_algorithms')";
    let rows = match line.query(sql).await {
        Ok(rows) => rows,
        // Whoever opens a connection will see.
        Err(Trouble::Refused { .. }) => return Ok(()),
        Err(lost) => return Err(lost),
    };
    let value = |name: &str| {
        let row = rows.iter().find(|row| row.text(&["Variable_name"]).as_deref() == Some(name));
        row.and_then(|row| row.text(&["Value"]))
    };
    let offered = match (value("protocol_compression_algorithms"), value("have_compress")) {
        (Some(algorithms), _) => algorithms,
        (None, Some(yes)) if yes == "YES" => "zlib".to_owned(),
        (None, _) => "none".to_owned(),
    };
    if offered.split(',').any(|algorithm| algorithm.trim() == wanted) {
        return Ok(());
    }
    Err(Trouble::Lost(format!(
        "the server offers no {wanted} compression, and the key compression of this server wants \
         it (offered: {offered}); have the server offer it, or write another there, or \"off\""
    )))
}

/// The second the server started in, by its own clock; the same for the whole of one run. `None`:
/// it does not tell.
///
/// Both numbers are of the statement's own time, so that their difference has no rounding.
pub(super) async fn started(line: &mut Line, family: Family) -> Result<Option<String>, Trouble> {
    let schema = match family {
        Family::MariaDb => "information_schema",
        Family::MySql => "performance_schema",
    };
    let sql = format!(
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) AS started \
         FROM {schema}.global_status WHERE VARIABLE_NAME = 'Uptime'"
    );
    match line.query(&sql).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.text(&["started"]))),
        Err(Trouble::Refused { .. }) => Ok(None),
        Err(lost) => Err(lost),
    }
}

/// What a server says it is; empty when it does not.
pub(super) async fn identity(line: &mut Line, family: Family) -> Result<String, Trouble> {
    let identity = family.server_identity();
    match line.query(&format!("SELECT {identity} AS identity")).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.text(&["identity"])).unwrap_or_default()),
        Err(Trouble::Refused { .. }) => Ok(String::new()),
        Err(lost) => Err(lost),
    }
}

/// What keeps changes in some schemas out of the binary log, which is so or not for the whole of a server's run.
/// `None` when it does not tell.
pub(super) async fn log_filter(
    line: &mut Line,
    family: Family,
) -> Result<Option<LogFilter>, Trouble> {
    let status = match family {
        Family::MySql if line.version() >= LOG_STATUS_SINCE => "SHOW BINARY LOG STATUS",
        Family::MySql | Family::MariaDb => "SHOW MASTER STATUS",
    };
    let rows = line.query_if_allowed(status).await?;
    let filter = |row| filter_of(row, "Binlog", &["Do_DB", "Ignore_DB"]);
    Ok(rows.first().map(|row| filter(row).map(|filter| format!("{filter} at the primary"))))
}

/// Where a binary log ends: the length of its last file's name, the name, and the position in it.
pub(super) type LogEnd = (usize, String, u64);

/// Where the binary log ends, which only a reset takes back (MariaDB, and of those who may read no log as well).
pub(super) async fn log_end(line: &mut Line, family: Family) -> Result<Option<LogEnd>, Trouble> {
    if family == Family::MySql {
        return Ok(None);
    }
    let rows = line.query_if_allowed("SHOW GLOBAL STATUS LIKE 'Binlog\\_snapshot\\_%'").await?;
    let value = |name: &str| {
        let row = rows.iter().find(|row| row.text(&["Variable_name"]).as_deref() == Some(name));
        row.and_then(|row| row.text(&["Value"]))
    };
    let position = value("Binlog_snapshot_position").and_then(|position| position.parse().ok());
    let end = value("Binlog_snapshot_file").zip(position);
    Ok(end.map(|(file, position)| (file.len(), file, position)))
}

/// What the primary says of itself.
pub(super) struct PrimaryAnswer {
    pub(super) seen_as: String,
    pub(super) variables: HashMap<&'static str, String>,
}

pub(super) async fn primary(line: &mut Line, family: Family) -> Result<PrimaryAnswer, Trouble> {
    let (transaction, gtid_mode, track_gtids) = match family {
        Family::MariaDb => ("tx", "'ON'", "''"),
        Family::MySql => ("transaction", "@@global.gtid_mode", "@@global.session_track_gtids"),
    };
    let mut sql = format!(
        "SELECT USER() AS seen_as, @@global.{transaction}_read_only AS {READ_ONLY}, \
         {gtid_mode} AS {GTID_MODE}, {track_gtids} AS {TRACK_GTIDS}"
    );
    for name in VARIABLES.iter().chain([&ISOLATION]) {
        sql.push_str(&format!(", {}", asked(name, family)));
    }
    let rows = line.query(&sql).await?;
    let text = |name: &str| rows.first().and_then(|row| row.text(&[name])).unwrap_or_default();
    let user = text("seen_as");
    let seen_as = user.rsplit_once('@').map_or(user.as_str(), |(_, host)| host).to_owned();
    let names = VARIABLES.iter().copied().chain([ISOLATION, READ_ONLY, GTID_MODE, TRACK_GTIDS]);
    Ok(PrimaryAnswer { seen_as, variables: names.map(|name| (name, text(name))).collect() })
}

/// What a replica says of itself.
pub(super) struct ReplicaAnswer {
    pub(super) sample: Sample,
    pub(super) applied: Position,
    /// The first error of its replication threads, if any.
    pub(super) error: Option<String>,
    /// Its values of [`shaping`].
    pub(super) shaping: Vec<String>,
    /// What keeps some changes from it.
    pub(super) filter: Option<String>,
    /// Whom it follows; `None` when a thread of its replication does not run.
    pub(super) follows: Option<String>,
    /// Some source's changes are applied.
    pub(super) is_applying: bool,
    /// What is known of its own transactions.
    pub(super) own: Own,
}

pub(super) async fn replica(line: &mut Line, family: Family) -> Result<ReplicaAnswer, Trouble> {
    let status = match family {
        Family::MariaDb => "SHOW ALL SLAVES STATUS",
        Family::MySql if line.version() >= REPLICA_STATUS_SINCE => "SHOW REPLICA STATUS",
        Family::MySql => "SHOW SLAVE STATUS",
    };
    let sources = line.query(status).await?;
    let applied = applied_variable(family);
    let offline = match family {
        Family::MariaDb => "0",
        Family::MySql => "@@global.offline_mode",
    };
    let (skips, server, logged) = match family {
        Family::MariaDb => (
            "@@global.replicate_events_marked_for_skip",
            "@@global.server_id",
            "@@global.gtid_binlog_state",
        ),
        Family::MySql => ("''", "@@global.server_uuid", "''"),
    };
    let who = match family {
        Family::MySql if line.version() >= REPLICA_VARIABLES_SINCE => "replica",
        Family::MySql | Family::MariaDb => "slave",
    };
    let mut sql = format!(
        "SELECT @@global.read_only AS read_only, @@global.{applied} AS applied, {offline} AS offline, \
         {skips} AS skips, {server} AS server, {logged} AS logged, \
         @@global.{who}_skip_errors AS skip_errors, @@global.{who}_exec_mode AS exec_mode"
    );
    for name in shaping() {
        sql.push_str(&format!(", {}", asked(name, family)));
    }
    let rows = line.query(&sql).await?;
    let text = |name: &str| rows.first().and_then(|row| row.text(&[name])).unwrap_or_default();
    let sample = Sample {
        // Newer MariaDB has more values than off and on; all but off mean read-only.
        is_read_only: !matches!(text("read_only").as_str(), "0" | "OFF" | ""),
        is_offline: text("offline") == "1",
        replication: replication(&sources),
    };
    let follows = match sample.replication {
        Replication::Nowhere | Replication::Stopped => None,
        Replication::Disconnected | Replication::Running { .. } => Some(followed(&sources)),
    };
    let filter = sources
        .iter()
        .find_map(replication_filter)
        .or_else(|| skipping(&text("skips")))
        .or_else(|| passing_over(who, &text("skip_errors"), &text("exec_mode")));
    Ok(ReplicaAnswer {
        sample,
        applied: Position::parse(&text("applied")).unwrap_or_default(),
        error: sources.iter().find_map(replication_error),
        shaping: shaping().map(&text).collect(),
        filter,
        follows,
        is_applying: sources.iter().any(|source| {
            let applier = source.text(&["Slave_SQL_Running", "Replica_SQL_Running"]);
            applier.is_some_and(|state| state != "No")
        }),
        own: Own::new(&text("server"), &text("logged")),
    })
}

/// The variable with a replica's applied watermark.
///
/// FACT(mariadb 10.11): `gtid_slave_pos` moves after the transaction is visible to others, with
/// and without parallel replication; test: `a_covered_position_is_visible`.
/// FACT(mysql 9.7): so does `gtid_executed`; test: `a_covered_position_is_visible_on_mysql`.
fn applied_variable(family: Family) -> &'static str {
    match family {
        Family::MariaDb => "gtid_slave_pos",
        Family::MySql => "gtid_executed",
    }
}

/// The primary's own position: everything it has committed, also as a replica before it became
/// the primary (which MariaDB need not have in its binary log). `None` when it does not tell.
///
/// `gtid_binlog_pos` has the last transaction of a domain, which may have an earlier number than another server's
/// in `gtid_binlog_state`; or than one before of the same server, which is told nowhere any more.
///
/// FACT(mariadb 10.11): `gtid_binlog_state` has a transaction before its client has the OK packet;
/// test: `a_reading_covers_what_was_written_before_it`.
/// FACT(mysql 9.7): so has `gtid_executed`; test:
/// `a_reading_covers_what_was_written_before_it_on_mysql`.
pub(super) async fn written(line: &mut Line, family: Family) -> Result<Option<Reading>, Trouble> {
    // Unless they are required, MySQL has transactions that are in no set: of before, where they are permitted. MariaDB's last one is asked for
    // last, so that it is not found earlier than those that come meanwhile; and MySQL for what it is about to
    // commit first, which a replica has before `gtid_executed` where it waits for one (semisynchronous replication).
    let sql = match family {
        Family::MariaDb => {
            "SELECT @@global.gtid_binlog_state AS written, @@global.gtid_slave_pos AS applied, \
             @@global.gtid_domain_id AS domain, @@global.server_id AS own, \
             @@global.gtid_binlog_pos AS last"
        }
        Family::MySql => {
            "SELECT @@global.gtid_owned AS owned, @@global.server_uuid AS server, \
             IF(@@global.gtid_mode = 'ON', @@global.gtid_executed, NULL) AS written"
        }
    };
    let rows = line.query(sql).await?;
    let told = |column| rows.first().and_then(|row| row.text(&[column]));
    if told("written").is_none() {
        return Ok(None);
    }
    let text = |column| told(column).unwrap_or_default();
    let mut position = Position::default();
    for column in ["written", "applied"] {
        let text = text(column);
        match Position::parse(&text) {
            Some(part) if position.is_empty() => position = part,
            // Merging may close gaps, which nobody ever covers.
            Some(part) if part.is_empty() => {}
            Some(part) => position.merge(&part),
            // Half of it would be worse than nothing.
            None => return Ok(None),
        }
    }
    // What it has applied need not be in its own log.
    let mut origins = Origins::default();
    let own = text("own").parse().ok();
    if let Some(own) = own {
        ["written", "applied"].into_iter().for_each(|column| origins.add(&text(column), own));
    }
    let domain = text("domain").parse().ok();
    let written = Position::parse(&text("written")).zip(domain);
    let logged = written.filter(|(written, domain)| written.has_domain(*domain));
    let last = Position::parse(&text("last"));
    let is_out_of_order = logged
        .as_ref()
        .zip(last)
        .is_some_and(|((highest, domain), last)| highest.is_ahead(&last, *domain));
    let earlier = Position::parse(&text("applied")).unwrap_or_default();
    let is_renumbered =
        logged.as_ref().is_some_and(|(written, domain)| earlier.outnumbers(written, *domain));
    let logged = logged.map(|(written, _)| written);
    Ok(Some(Reading {
        position,
        is_out_of_order,
        is_renumbered,
        earlier,
        logged,
        domain,
        own,
        origins,
        server: told("server").map(|uuid| uuid.to_ascii_lowercase().into()),
        under_way: owned(&text("owned")),
        ..Reading::default()
    }))
}

/// The transactions of `gtid_owned`, which has `#` and the thread behind each, and need not have a comma before the
/// next server.
fn owned(text: &str) -> Position {
    const UUID_LENGTH: usize = 36;
    let mut gtids = String::new();
    for (before, numbers) in text.split('#').filter_map(|part| part.split_once(':')) {
        let uuid = before.len().checked_sub(UUID_LENGTH).and_then(|at| before.get(at..));
        if let Some(uuid) = uuid {
            gtids.push(',');
            gtids.push_str(uuid);
        }
        gtids.push(':');
        gtids.push_str(numbers);
    }
    Position::parse(&gtids).unwrap_or_default()
}

/// How far a replica has applied.
pub(super) async fn applied(line: &mut Line, family: Family) -> Result<Position, Trouble> {
    let variable = applied_variable(family);
    let rows = line.query(&format!("SELECT @@global.{variable} AS applied")).await?;
    let text = rows.first().and_then(|row| row.text(&["applied"])).unwrap_or_default();
    Ok(Position::parse(&text).unwrap_or_default())
}

/// All sources together: the worst of them counts.
fn replication(sources: &[Record]) -> Replication {
    let answers = sources.iter().map(|source| Threads {
        receiver: source.text(&["Slave_IO_Running", "Replica_IO_Running"]).unwrap_or_default(),
        applier: source.text(&["Slave_SQL_Running", "Replica_SQL_Running"]).unwrap_or_default(),
        lag: source.text(&["Seconds_Behind_Master", "Seconds_Behind_Source"]),
    });
    answers.map(|threads| threads.state()).reduce(worse).unwrap_or(Replication::Nowhere)
}

struct Threads {
    receiver: String,
    applier: String,
    lag: Option<String>,
}

impl Threads {
    fn state(&self) -> Replication {
        // FACT(mariadb 10.11): while it tries to connect the receiver is `Connecting`, just after
        // the start `Preparing`, and the lag is NULL; test:
        // `a_replica_without_its_primary_stays_until_it_may_lag_too_much`.
        match (self.applier.as_str(), self.receiver.as_str()) {
            ("Yes", "Yes") => match self.lag.as_ref().and_then(|lag| lag.parse().ok()) {
                Some(seconds) => Replication::Running { lag: Duration::from_secs(seconds) },
                None => Replication::Disconnected,
            },
            ("Yes", "Connecting" | "Preparing") => Replication::Disconnected,
            _ => Replication::Stopped,
        }
    }
}

fn worse(a: Replication, b: Replication) -> Replication {
    use Replication::{Disconnected, Nowhere, Running, Stopped};
    match (a, b) {
        (Running { lag: a }, Running { lag: b }) => Running { lag: a.max(b) },
        (Stopped, _) | (_, Stopped) => Stopped,
        (Disconnected, _) | (_, Disconnected) => Disconnected,
        (Nowhere, other) | (other, Nowhere) => other,
    }
}

/// Names of filters, without what the servers put in front of them.
const FILTERS: [&str; 10] = [
    "Do_DB",
    "Ignore_DB",
    "Do_Table",
    "Ignore_Table",
    "Wild_Do_Table",
    "Wild_Ignore_Table",
    "Rewrite_DB",
    "Do_Domain_Ids",
    "Ignore_Domain_Ids",
    "Ignore_Server_Ids",
];

/// A filter that keeps changes of tables from a replica, whose watermark goes past them all the same.
/// What is left out of the servers' own schemas is not read there.
fn replication_filter(source: &Record) -> Option<String> {
    filter_of(source, "Replicate", &FILTERS)
}

fn filter_of(row: &Record, of: &str, filters: &[&str]) -> Option<String> {
    filters.iter().find_map(|filter| {
        let name = format!("{of}_{filter}");
        let value = row.text(&[&name]).filter(|value| leaves_out(filter, value))?;
        Some(format!("{name} is {value}"))
    })
}

/// Transactions of `skip_replication = 1` are kept from it.
fn skipping(value: &str) -> Option<String> {
    let is_harmless = value.is_empty() || value == "REPLICATE";
    (!is_harmless).then(|| format!("replicate_events_marked_for_skip is {value}"))
}

/// Errors are no end of its replication: a change that it can't apply, as another row is there than at the primary,
/// or none, is left out, and counts as applied.
fn passing_over(who: &str, skip_errors: &str, exec_mode: &str) -> Option<String> {
    if !matches!(skip_errors, "" | "OFF") {
        return Some(format!("{who}_skip_errors is {skip_errors}"));
    }
    (exec_mode == "IDEMPOTENT").then(|| format!("{who}_exec_mode is {exec_mode}"))
}

/// Whom a replica follows, as far as it tells.
fn followed(sources: &[Record]) -> String {
    let mut followed: Vec<String> = sources
        .iter()
        .map(|source| {
            let part = |name: &str| {
                let names = [format!("Master_{name}"), format!("Source_{name}")];
                source.text(&names.each_ref().map(String::as_str)).unwrap_or_default()
            };
            ["Host", "Port", "Server_Id"].map(part).join(" ")
        })
        .collect();
    followed.sort_unstable();
    followed.join(", ")
}

fn leaves_out(filter: &str, value: &str) -> bool {
    let is_own = |name: &str| {
        let schema = name.trim().split('.').next().unwrap_or_default().replace('\\', "");
        // The last is of a plugin that hosted MySQL leaves out.
        const OWN: [&str; 5] =
            ["mysql", "sys", "performance_schema", "information_schema", "innodb_memcache"];
        OWN.contains(&&*schema)
    };
    let is_harmless = || filter.contains("Ignore") && value.split(',').all(is_own);
    !value.is_empty() && !is_harmless()
}

fn replication_error(source: &Record) -> Option<String> {
    ["Last_SQL_Error", "Last_IO_Error"]
        .iter()
        .find_map(|column| source.text(&[column]).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(applier: &str, receiver: &str, lag: Option<&str>) -> Replication {
        let (applier, receiver) = (applier.to_owned(), receiver.to_owned());
        Threads { receiver, applier, lag: lag.map(str::to_owned) }.state()
    }

    #[test]
    fn replication_runs_only_with_both_threads() {
        let running = Replication::Running { lag: Duration::from_secs(3) };
        assert_eq!(state("Yes", "Yes", Some("3")), running);
        assert_eq!(state("Yes", "Yes", None), Replication::Disconnected);
        assert_eq!(state("Yes", "Connecting", None), Replication::Disconnected);
        assert_eq!(state("Yes", "No", None), Replication::Stopped);
        assert_eq!(state("No", "Yes", None), Replication::Stopped);
    }

    #[test]
    fn what_is_owned_is_told_with_its_threads() {
        let (a, b) =
            ("35a4d99a-ec58-11f1-8bf5-02fc00000001", "35a4d99a-ec58-11f1-8bf5-02fc00000002");
        let plain = Position::parse(&format!("{a}:900-901:tagg:7,{b}:7"));
        // As MySQL 9.7 writes it.
        assert_eq!(Some(owned(&format!("{a}:901#13:900#12{a}:tagg:7#15{b}:7#1"))), plain);
        assert_eq!(Some(owned(&format!("{a}:901#13:900#12,\n{a}:tagg:7#15,\n{b}:7#1"))), plain);
        assert!(owned("").is_empty());
    }

    #[test]
    fn a_filter_counts_unless_it_ignores_the_servers_own_schemas() {
        for (filter, value, counts) in [
            ("Ignore_DB", "", false),
            ("Ignore_DB", "logs", true),
            ("Ignore_DB", "mysql", false),
            ("Ignore_DB", "mysql,logs", true),
            ("Ignore_Table", "mysql.rds_history,innodb_memcache.cache_policies", false),
            ("Wild_Ignore_Table", "mysql.%", false),
            ("Wild_Ignore_Table", "mysql%.%", true),
            ("Do_DB", "mysql", true),
            ("Ignore_Domain_Ids", "3", true),
            ("Ignore_Server_Ids", "", false),
            ("Ignore_Server_Ids", "1, 3", true),
        ] {
            assert_eq!(leaves_out(filter, value), counts, "{filter} {value}");
        }
    }

    #[test]
    fn what_leaves_out_marked_transactions_is_a_filter() {
        assert!(skipping("").is_none() && skipping("REPLICATE").is_none());
        assert!(skipping("FILTER_ON_SLAVE").is_some() && skipping("FILTER_ON_MASTER").is_some());
    }

    #[test]
    fn what_passes_over_errors_is_a_filter() {
        for (skip_errors, exec_mode, told) in [
            ("OFF", "STRICT", None),
            ("", "", None),
            ("1062", "STRICT", Some("slave_skip_errors is 1062")),
            ("ALL", "IDEMPOTENT", Some("slave_skip_errors is ALL")),
            ("OFF", "IDEMPOTENT", Some("slave_exec_mode is IDEMPOTENT")),
        ] {
            assert_eq!(passing_over("slave", skip_errors, exec_mode).as_deref(), told);
        }
    }

    #[test]
    fn the_worst_source_counts() {
        let running = |seconds| Replication::Running { lag: Duration::from_secs(seconds) };
        assert_eq!(worse(running(1), running(2)), running(2));
        assert_eq!(worse(running(1), Replication::Stopped), Replication::Stopped);
        assert_eq!(worse(Replication::Disconnected, running(1)), Replication::Disconnected);
        assert_eq!(replication(&[]), Replication::Nowhere);
    }
}
