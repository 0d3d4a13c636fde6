//! Who waits for whose locks, asked on the primary's control connection when somebody wants to know.
//!
//! FACT(mariadb 10.11, 11.8): `INNODB_LOCK_WAITS` and `INNODB_TRX` need PROCESS, and show what was a
//! tenth of a second ago to whoever looks more often than that. They name every transaction in the
//! way, also those that only wait in front. Metadata locks: a statement's state alone tells that it
//! waits for one; who has them only `METADATA_LOCK_INFO` tells, a plugin which is seldom installed, and
//! that does not tell who waits for which; test: `a_wait_is_reported_with_both_sides`.
//! FACT(mysql 9.7): `data_lock_waits` and `metadata_locks` need SELECT on `performance_schema`, and tell
//! both sides of each wait; test: the same.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use super::line::{Line, Record, Trouble};
use crate::lanes::lock_guard::{LockKind, LockWait};
use crate::protocol::{Family, code};

/// Until a server that does not tell who has metadata locks is asked again: a plugin may be installed meanwhile.
const NAMES_PAUSE: Duration = Duration::from_secs(10);

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Most rows of an answer: where hundreds wait for one row the first ones tell enough.
const ROWS_MAX: usize = 1000;

/// Why nobody knows who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untold {
    /// The server refused to tell: its words.
    Refused(String),
    /// There is no control connection, or it has not answered in time.
    Unreachable,
}

type Answer = Result<Vec<LockWait>, Untold>;

struct Question {
    threads: Vec<u64>,
    done: oneshot::Sender<Answer>,
}

/// Where the primary's control task takes its question, one at a time.
#[derive(Default)]
pub(super) struct LockDesk {
    question: Mutex<Option<Question>>,
    /// When the server is asked again who has metadata locks: it has not told.
    names_due: Mutex<Option<Instant>>,
}

impl LockDesk {
    /// Who waits for whom now, and what for; whether `threads` wait for metadata, too.
    ///
    /// # Cancel safety
    /// Dropped half-way, the question is asked only if that was begun.
    pub(super) async fn ask(&self, threads: Vec<u64>, wake: &Notify) -> Answer {
        let (done, answer) = oneshot::channel();
        *self.question.lock() = Some(Question { threads, done });
        wake.notify_one();
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Untold::Unreachable),
        }
    }

    /// Asks the server what somebody wants to know.
    pub(super) async fn work(&self, line: &mut Line, family: Family) -> Result<(), Trouble> {
        let question = self.question.lock().take();
        let Some(question) = question.filter(|question| !question.done.is_closed()) else {
            return Ok(());
        };
        let answer = match self.waits(line, family, &question.threads).await {
            Ok(waits) => Ok(waits),
            Err(Trouble::Refused { code, text }) => {
                Err(Untold::Refused(format!("{text} ({code})")))
            }
            Err(lost) => return Err(lost),
        };
        // Nobody may want to know any more.
        let _ = question.done.send(answer);
        Ok(())
    }

    async fn waits(
        &self,
        line: &mut Line,
        family: Family,
        threads: &[u64],
    ) -> Result<Vec<LockWait>, Trouble> {
        let sql = match family {
            Family::MariaDb => MARIADB_ROWS,
            Family::MySql => MYSQL_ROWS,
        };
        let rows = line.query_within(&format!("{sql} LIMIT {ROWS_MAX}"), LOOK_LIMIT).await?;
        let mut waits: Vec<_> = rows.iter().filter_map(|row| wait(row, LockKind::Row)).collect();
        let is_known = |thread: &u64| waits.iter().any(|wait| wait.waiting == *thread);
        let unknown: Vec<String> =
            threads.iter().filter(|thread| !is_known(thread)).map(u64::to_string).collect();
        if !unknown.is_empty() {
            let threads = unknown.join(",");
            waits.extend(match family {
                Family::MariaDb => self.metadata_on_mariadb(line, &threads).await?,
                Family::MySql => {
                    let sql = format!("{MYSQL_METADATA} IN ({threads}) LIMIT {ROWS_MAX}");
                    let rows = line.query_within(&sql, LOOK_LIMIT).await?;
                    rows.iter().filter_map(|row| wait(row, LockKind::Metadata)).collect()
                }
            });
        }
        Ok(waits)
    }

    /// That a statement waits for a metadata lock its state tells; whose, perhaps the plugin.
    async fn metadata_on_mariadb(
        &self,
        line: &mut Line,
        threads: &str,
    ) -> Result<Vec<LockWait>, Trouble> {
        let sql = format!("{MARIADB_STATES} AND ID IN ({threads})");
        let rows = line.query_within(&sql, LOOK_LIMIT).await?;
        let waiting: Vec<_> = rows.iter().filter_map(|row| wait(row, LockKind::Metadata)).collect();
        let is_due = self.names_due.lock().is_none_or(|due| Instant::now() >= due);
        if waiting.is_empty() || !is_due {
            return Ok(waiting);
        }
        let holders = match line.query_within(MARIADB_METADATA, LOOK_LIMIT).await {
            Ok(rows) => rows,
            Err(Trouble::Refused { code, text }) => {
                let due = Instant::now() + NAMES_PAUSE;
                if self.names_due.lock().replace(due).is_some() {
                    // It was said before.
                } else if code == code::UNKNOWN_TABLE {
                    tracing::info!(
                        "the primary does not tell who holds metadata locks: its plugin \
                         metadata_lock_info is not installed"
                    );
                } else {
                    tracing::warn!(
                        error = text,
                        "the primary does not tell who holds metadata locks"
                    );
                }
                return Ok(waiting);
            }
            Err(lost) => return Err(lost),
        };
        *self.names_due.lock() = None;
        Ok(waiting.into_iter().flat_map(|wait| named(wait, &holders)).collect())
    }
}

/// Time for a question: tables of locks are long just when many wait.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

const MARIADB_ROWS: &str = "SELECT r.trx_mysql_thread_id AS waiting, b.trx_mysql_thread_id AS blocking, \
     r.trx_query AS statement FROM information_schema.INNODB_LOCK_WAITS w \
     JOIN information_schema.INNODB_TRX r ON r.trx_id = w.requesting_trx_id \
     JOIN information_schema.INNODB_TRX b ON b.trx_id = w.blocking_trx_id";

const MARIADB_STATES: &str = "SELECT ID AS waiting, LEFT(INFO, 1024) AS statement \
     FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for % lock'";

const MARIADB_METADATA: &str = "SELECT THREAD_ID AS blocking, TABLE_NAME AS name \
     FROM information_schema.METADATA_LOCK_INFO WHERE LOCK_TYPE = 'Table metadata lock'";

const MYSQL_ROWS: &str = "SELECT r.PROCESSLIST_ID AS waiting, b.PROCESSLIST_ID AS blocking, \
     LEFT(r.PROCESSLIST_INFO, 1024) AS statement FROM performance_schema.data_lock_waits w \
     JOIN performance_schema.threads r ON r.THREAD_ID = w.REQUESTING_THREAD_ID \
     JOIN performance_schema.threads b ON b.THREAD_ID = w.BLOCKING_THREAD_ID";

const MYSQL_METADATA: &str = "SELECT r.PROCESSLIST_ID AS waiting, b.PROCESSLIST_ID AS blocking, \
     LEFT(r.PROCESSLIST_INFO, 1024) AS statement FROM performance_schema.threads r \
     JOIN performance_schema.metadata_locks w \
       ON w.OWNER_THREAD_ID = r.THREAD_ID AND w.LOCK_STATUS = 'PENDING' \
     JOIN performance_schema.metadata_locks h \
       ON h.OBJECT_TYPE = w.OBJECT_TYPE AND h.OBJECT_SCHEMA <=> w.OBJECT_SCHEMA \
       AND h.OBJECT_NAME <=> w.OBJECT_NAME AND h.LOCK_STATUS = 'GRANTED' \
       AND h.OWNER_THREAD_ID <> w.OWNER_THREAD_ID \
     JOIN performance_schema.threads b ON b.THREAD_ID = h.OWNER_THREAD_ID \
     WHERE r.PROCESSLIST_ID";

/// `None` for the server's own threads, which have no number.
fn wait(row: &Record, kind: LockKind) -> Option<LockWait> {
    let number = |name: &str| row.text(&[name])?.parse::<u64>().ok();
    Some(LockWait {
        waiting: number("waiting")?,
        blocking: number("blocking"),
        kind,
        statement: row.text(&["statement"]).unwrap_or_default(),
    })
}

/// A wait with everybody who has a lock on a table whose name is in its statement.
fn named(wait: LockWait, holders: &[Record]) -> Vec<LockWait> {
    let others = holders.iter().filter_map(|holder| {
        let thread = holder.text(&["blocking"])?.parse::<u64>().ok()?;
        let name = holder.text(&["name"])?;
        (thread != wait.waiting && mentions(&wait.statement, &name)).then_some(thread)
    });
    let mut threads: Vec<u64> = others.collect();
    threads.sort_unstable();
    threads.dedup();
    if threads.is_empty() {
        return vec![wait];
    }
    threads.into_iter().map(|thread| LockWait { blocking: Some(thread), ..wait.clone() }).collect()
}

/// Whether a statement has `name` as a word of its own.
fn mentions(statement: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    !name.is_empty() && statement.split(|c| !is_part(c)).any(|word| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_mentioned_by_its_whole_name() {
        assert!(mentions("ALTER TABLE `shop`.`Items` ADD x INT", "items"));
        assert!(!mentions("SELECT * FROM items_old", "items") && !mentions("SELECT 1", ""));
    }
}
