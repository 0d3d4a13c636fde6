//! Variables that MariaDB 11 keeps as bits of one number: it tells only the one of them that was set
//! first on a connection, and that one also in the place of the others.

use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::status::Tracked;
use crate::sql::{Class, Effects};
use crate::state::Pin;

/// Their names, but for those that bind a session to its connection; all are on or off. Found by setting
/// every variable of that type behind another (11.8.9).
///
/// FACT(mariadb 11.8): what is told of one is its own value, that of the others is not told; test:
/// `variables_that_are_told_by_one_name_stay_with_their_session`.
const BITS: [&str; 16] = [
    "autocommit",
    "check_constraint_checks",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "skip_parallel_replication",
    "sql_auto_is_null",
    "sql_big_selects",
    "sql_buffer_result",
    "sql_if_exists",
    "sql_log_off",
    "sql_notes",
    "sql_quote_show_create",
    "sql_safe_updates",
    "sql_warnings",
    "system_versioning_insert_history",
    "unique_checks",
];

/// The one of them whose setting warns (1287 since 11.8).
const WARNING: &str = "sql_notes";

impl Session {
    /// Whether `work` may have set some of them that were not told. What a routine has set can't be
    /// known, and stays on its connection.
    pub(in crate::client) fn asks_bits(&mut self, work: &Work<'_>, summary: &Summary) -> bool {
        let effects = work.verdict.effects;
        let is_told = summary.tracked.iter().any(is_bit);
        let is_set = is_told || effects.contains(Effects::BARE_VARIABLE);
        if !is_set || effects.contains(Effects::SET_STATEMENT) || !self.tells_bits_by_one() {
            return false;
        }
        if work.verdict.class != Class::Session || effects.contains(Effects::OPAQUE) {
            self.pins.add(Pin::StateChanged);
        }
        true
    }

    /// Asks for those that the text of `work` names.
    pub(in crate::client) async fn learn_bits(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        let sql = work.prepared.as_ref().map_or(work.sql, |prepared| &prepared.key.sql);
        let text = String::from_utf8_lossy(sql).to_ascii_lowercase();
        let named: Vec<&str> = BITS.into_iter().filter(|name| text.contains(name)).collect();
        if named.is_empty() {
            return Ok(());
        }
        let question = format!("SELECT @@SESSION.{} LIMIT 1", named.join(",@@SESSION."));
        let answer = self.ask(connection, &question, Disturbs::Both).await?;
        for (name, value) in named.iter().zip(answer.first_row()) {
            let value = if value == "1" { "ON" } else { "OFF" };
            self.absorb_variable(connection, name, value);
        }
        Ok(())
    }

    /// Whether a variable whose setting warns may have been told in the place of another, without a warning.
    pub(in crate::client) fn is_told_for_another(&self, name: &str) -> bool {
        name == WARNING && self.tells_bits_by_one()
    }

    /// Whether the server is one of those; MariaDB 10.11 tells each by its name.
    fn tells_bits_by_one(&self) -> bool {
        let version = self.facts.own_version.trim_start_matches("5.5.5-");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.facts.is_mariadb() && major.is_none_or(|major| major >= 11)
    }
}

fn is_bit(tracked: &Tracked) -> bool {
    matches!(tracked, Tracked::Variable { name, .. } if BITS.contains(&&**name))
}
