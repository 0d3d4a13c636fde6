//! What a statement changes that other sessions begin with or prepare.

use super::half_way::comes_first;
use super::is_quiet;
use crate::client::Session;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::{Command, code};
use crate::sql::{
    Class, Effects, Leading, Reason, Verdict, defaults_of, has_word, leaves_tables,
    variable_prepared,
};
use crate::state::Pin;

/// What a statement may change that other sessions begin with or prepare.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Changes {
    /// What tables and routines there are: whatever is neither a query nor a change of rows.
    pub(super) tables: bool,
    /// Global variables, privileges or roles.
    pub(super) logins: bool,
    /// Schemas.
    pub(super) schemas: bool,
    /// Likewise by a text that nobody has seen.
    pub(super) hidden_logins: bool,
    pub(super) hidden_schemas: bool,
    /// Perhaps of logins, and no replica will ever have it.
    pub(super) is_astray: bool,
    /// Likewise of logins after an error: a part of it is done (MariaDB), or the accounts are read again (MySQL), which is in
    /// no binary log then.
    ///
    /// FACT(mysql 9.7): test: `who_has_lost_privileges_on_the_primary_alone_reads_there`.
    strays_in_error: bool,
    /// It does nothing when the right to do it is missing.
    is_all_or_nothing: bool,
}

impl Changes {
    /// What a statement that has ended so may have changed: rows are no answer to one that changes accounts,
    /// global variables or schemas, nor is a number of them where it is not schemas.
    pub(super) fn of(self, summary: &Summary) -> Self {
        let affected = summary.affected.filter(|_| !summary.has_result_set);
        let is_denied = |code| {
            self.is_all_or_nothing && (comes_first(code) || code == code::SPECIFIC_ACCESS_DENIED)
        };
        if summary.error.is_some_and(is_denied) {
            return Self {
                logins: false,
                schemas: false,
                hidden_logins: false,
                hidden_schemas: false,
                ..self
            };
        }
        Self {
            hidden_logins: self.hidden_logins && affected == Some(0),
            hidden_schemas: self.hidden_schemas && affected.is_some(),
            is_astray: self.is_astray || self.strays_in_error && summary.error.is_some(),
            ..self
        }
    }
}

impl Session {
    /// What `work` may change.
    pub(in crate::client) fn changes(&self, work: &Work<'_>) -> Changes {
        let Verdict { class, reason, effects, statements, leading, .. } = *work.verdict;
        let is_known = statements == 1 && reason != Reason::NotUnderstood;
        let leaves = || effects == Effects::TEMPORARY_TABLE || leaves_tables(work.sql, self.mode);
        let is_sql_prepared = effects.contains(Effects::SQL_PREPARE);
        let prepares =
            work.command == Command::StmtPrepare || is_sql_prepared && !may_execute(work.verdict);
        let defaults = match prepares {
            true => Effects::empty(),
            false if is_sql_prepared => {
                effects & Effects::OPAQUE | self.defaults(work) | self.prepared_texts
            }
            false => effects,
        };
        let is_hidden = defaults.contains(Effects::HIDDEN_TEXT | Effects::OPAQUE);
        let logins = defaults.contains(Effects::SERVER_DEFAULTS);
        Changes {
            tables: class == Class::Write && !is_quiet(work.command) && !(is_known && leaves()),
            logins,
            schemas: defaults.contains(Effects::SCHEMA_DEFAULTS),
            hidden_logins: is_hidden,
            hidden_schemas: is_hidden,
            is_astray: logins && (is_sql_prepared || is_local(work)),
            strays_in_error: logins && leading != Leading::Set,
            is_all_or_nothing: is_known && !effects.contains(Effects::OPAQUE),
        }
    }

    /// What a text with a PREPARE or an EXECUTE changes for sessions to come, that of a variable too where its
    /// value is known.
    fn defaults(&self, work: &Work<'_>) -> Effects {
        let found = work.verdict.effects & Effects::DEFAULTS;
        // What the variables are of a session with this pin is known to its connection only.
        let may_know = found.contains(Effects::HIDDEN_TEXT)
            && work.verdict.statements == 1
            && !self.pins.has(Pin::UserVariable);
        if !may_know {
            return found;
        }
        let variable = variable_prepared(work.sql, self.mode_of(work));
        match variable.and_then(|variable| self.image.text_of(&variable)) {
            Some(text) => defaults_of(text.as_bytes(), self.mode),
            None => found,
        }
    }

    /// What `work` has prepared by PREPARE that later texts may run.
    pub(in crate::client) fn prepares_changes(&self, work: &Work<'_>) -> Effects {
        let Verdict { effects, statements, .. } = *work.verdict;
        let is_execute = statements == 1 && effects.contains(Effects::OPAQUE);
        match effects.contains(Effects::SQL_PREPARE) && !is_execute {
            true => self.defaults(work),
            false => Effects::empty(),
        }
    }
}

/// Whether `work` may have the accounts read again on this server alone.
///
/// FACT(mariadb 10.11, 11.8): COM_REFRESH is not logged; test:
/// `who_has_lost_privileges_on_the_primary_alone_reads_there`.
fn is_local(work: &Work<'_>) -> bool {
    const LOCAL: [&[u8]; 2] = [b"local", b"no_write_to_binlog"];
    work.command == Command::Refresh
        || has_word(work.sql, b"flush") && LOCAL.iter().any(|word| has_word(work.sql, word))
}

/// Whether a text with a PREPARE or an EXECUTE has more than a PREPARE.
fn may_execute(verdict: &Verdict) -> bool {
    verdict.statements > 1 || verdict.effects.contains(Effects::OPAQUE)
}
