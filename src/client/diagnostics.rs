//! What a session's last statement left to ask about: insert id, row counts, warnings.
//!
//! On a shared connection these would be those of whoever used it last, so the session keeps its
//! own record and answers from it.

use super::statement::Work;
use super::{Session, Stop};
use crate::protocol::response::Summary;
use crate::protocol::{Command, Shape, packet};
use crate::sql::Substitution;

/// The record of one session.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    /// What LAST_INSERT_ID() returns.
    pub(super) insert_id: u64,
    /// The last statement on the held connection may have changed LAST_INSERT_ID().
    pub(super) is_insert_id_stale: bool,
    /// What ROW_COUNT() returns.
    pub(super) row_count: i64,
    /// What FOUND_ROWS() returns.
    pub(super) found_rows: u64,
    /// The held connection may have warnings.
    pub(super) are_on_connection: bool,
    /// The answer to SHOW WARNINGS, when there is anything to show.
    pub(super) warnings: Option<Saved>,
}

/// A kept answer to SHOW WARNINGS.
#[derive(Debug)]
pub(super) struct Saved {
    /// Its packets.
    pub(super) packets: Box<[u8]>,
    /// Its rows.
    pub(super) count: u64,
    /// Rows that are errors.
    pub(super) errors: u64,
}

impl Diagnostics {
    /// Takes over what a response told.
    pub(super) fn note(&mut self, summary: &Summary) {
        if summary.error.is_some() {
            self.row_count = -1;
            return;
        }
        match summary.affected {
            Some(affected) => self.row_count = i64::try_from(affected).unwrap_or(i64::MAX),
            None if summary.has_status => {
                self.row_count = -1;
                self.found_rows = summary.rows;
            }
            None => {}
        }
        self.is_insert_id_stale |= summary.insert_id != 0;
    }

    /// The values that stand for function calls in a statement text.
    pub(super) fn substitution(&self, connection_id: u32) -> Substitution {
        Substitution {
            row_count: self.row_count,
            found_rows: self.found_rows,
            connection_id: u64::from(connection_id),
        }
    }
}

impl Session {
    /// Answers a statement about the diagnostics of the previous one, when no connection is held
    /// that knows them. `None` when a connection has to answer.
    pub(super) async fn answer_diagnostics(
        &mut self,
        sql: &[u8],
    ) -> Result<Option<Result<(), Stop>>, Stop> {
        if self.held.is_some() {
            return Ok(None);
        }
        let text = crate::sql::digest_text(sql, self.mode).to_ascii_lowercase();
        let text = text.trim_end_matches([';', ' ']);
        let (count, errors) =
            self.diagnostics.warnings.as_ref().map_or((0, 0), |saved| (saved.count, saved.errors));
        let number = match text {
            "show warnings" => {
                let Some(saved) = &self.diagnostics.warnings else { return self.empty(sql).await };
                let packets = saved.packets.clone();
                self.wire.push_raw(&packets);
                self.count_local();
                return Ok(Some(Ok(())));
            }
            "select @@warning_count" | "select @@session.warning_count" => count,
            "select @@error_count" | "select @@session.error_count" => errors,
            _ if text.starts_with("show count") && text.contains("warnings") => count,
            _ if text.starts_with("show count") && text.contains("errors") => errors,
            _ => return self.empty(sql).await,
        };
        let name = match text {
            _ if text.starts_with("show count") && text.contains("warnings") => {
                "@@session.warning_count"
            }
            _ if text.starts_with("show count") => "@@session.error_count",
            _ => text.trim_start_matches("select "),
        };
        let sql = format!("SELECT CAST({number} AS UNSIGNED) AS `{name}`");
        Ok(Some(self.plain_query(sql.as_bytes()).await))
    }

    /// Runs a statement about diagnostics on a connection, which at rest has none: there is
    /// nothing to show.
    async fn empty(&mut self, sql: &[u8]) -> Result<Option<Result<(), Stop>>, Stop> {
        Ok(Some(self.plain_query(sql).await))
    }

    fn count_local(&self) {
        let reason = crate::route::Reason::Local.index();
        self.context.metrics.routed(crate::metrics::Target::Local, reason).inc();
    }

    /// Runs a text on the primary.
    async fn plain_query(&mut self, sql: &[u8]) -> Result<(), Stop> {
        let mut payload = vec![Command::Query as u8];
        payload.extend_from_slice(sql);
        let mut packets = Vec::with_capacity(payload.len() + packet::HEADER);
        packet::put(&mut packets, 0, &payload);
        let verdict = crate::sql::classify(sql, self.mode);
        let work = Work {
            command: Command::Query,
            packets: packets.into(),
            shape: Shape::Results,
            verdict: &verdict,
            prepared: None,
            sql,
        };
        self.run_work(work).await
    }
}
