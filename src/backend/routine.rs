//! What routines leave on a connection, and servers don't tell.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Connection, Exchange, Failure};
use super::persona::unhexed;
use crate::protocol::Family;

/// What has run on a connection since it was at rest that may have left there what nothing tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Ran {
    /// Nothing of the kind.
    #[default]
    Plain,
    /// A function, which may have set the role.
    Function,
    /// A FLUSH, a HANDLER, a lock for a backup, or a CREATE TABLE that counts, by a text of its session: counted like those of routines.
    /// Perhaps a function, too.
    Flush,
    /// A procedure, or a block of statements.
    Procedure,
}

/// How many statements of these kinds have run on a connection since it was reset; those of routines count.
///
/// FACT(mariadb 10.11, mysql 9.7): a reset sets the counters of a session to zero; test:
/// `a_lock_that_a_procedure_takes_is_its_sessions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockCounts {
    /// FLUSH, with or without a lock.
    pub flushes: u64,
    /// LOCK INSTANCE, BACKUP STAGE, BACKUP LOCK.
    pub backup_locks: u64,
    /// HANDLER ... OPEN.
    pub handlers: u64,
    /// CREATE TEMPORARY TABLE; on MySQL any CREATE TABLE.
    ///
    /// FACT(mariadb 10.11 and 11.8, mysql 9.7): with a SELECT it is not flagged; test:
    /// `a_table_that_a_procedure_selects_into_is_its_sessions`.
    pub tables: u64,
}

/// The counters' names. A limit of the session's own cuts SHOW, too.
const COUNTERS: &str = "WHERE VARIABLE_NAME IN \
                        ('Com_flush','Com_lock_instance','Com_backup','Com_backup_lock','Com_ha_open',\
                        'Com_create_table','Com_create_temporary_table')";

/// Likewise of what changes a session and is flagged, but for variables and schemas, which are told.
const CHANGES: &str = "WHERE VARIABLE_NAME IN ('Com_set_option','Com_set_role','Com_set_resource_group',\
                       'Com_create_table','Com_create_temporary_table','Com_create_sequence','Com_drop_table',\
                       'Com_drop_temporary_table','Com_prepare_sql','Com_dealloc_sql','Com_execute_immediate')";

/// For how long an account without roles is taken to have none: one may be granted past this Fairlane.
const ROLELESS_FOR: Duration = Duration::from_secs(1);

/// Its name in the form in which it was told at the login.
const ROLE: &str = "SELECT HEX(CONVERT(CURRENT_ROLE() USING utf8mb4)) LIMIT 1";
const ROLES: &str = "SELECT COUNT(*) FROM information_schema.applicable_roles LIMIT 1";

/// What the dictionary shows of a procedure.
#[derive(Debug)]
pub enum Definition {
    /// There is none of the name, or the account may not run it itself.
    None,
    /// The account may not read it.
    Hidden,
    /// All of it.
    Text {
        /// Its body.
        text: String,
        /// It was made with `sql_mode = ORACLE`, and may call others without CALL (MariaDB).
        is_oracle: bool,
    },
}

/// Whether a row of SHOW GRANTS lets the account turn the binary log off.
///
/// FACT(mariadb 10.11, mysql 9.7): error 1227 for `SET sql_log_bin` names them all but for ALL PRIVILEGES; test:
/// `what_a_hidden_procedure_leaves_out_is_read_where_it_was_written`.
fn switches_log(grant: &str) -> bool {
    const RIGHTS: [&str; 5] = [
        "SUPER",
        "BINLOG ADMIN",
        "ALL PRIVILEGES",
        "SYSTEM_VARIABLES_ADMIN",
        "SESSION_VARIABLES_ADMIN",
    ];
    let rights = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON *.* TO "));
    rights.is_some_and(|(rights, _)| rights.split(',').any(|one| RIGHTS.contains(&one.trim())))
}

fn hexed(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

impl Connection {
    /// What has been counted by now; `None` where the server does not say.
    pub async fn count_locks(&mut self, family: Family) -> Result<Option<LockCounts>, Failure> {
        let answer = self.counters(family, COUNTERS).await?;
        let (mut counts, mut is_told) = (LockCounts::default(), false);
        for row in answer.rows() {
            let [name, value] = row.as_slice() else { continue };
            let value: u64 = value.parse().unwrap_or(0);
            match name.to_ascii_lowercase().as_str() {
                "com_flush" => (counts.flushes, is_told) = (value, true),
                "com_ha_open" => counts.handlers = value,
                "com_create_table" if family.is_mariadb() => {}
                "com_create_table" | "com_create_temporary_table" => counts.tables = value,
                _ => counts.backup_locks = counts.backup_locks.wrapping_add(value),
            }
        }
        Ok(is_told.then_some(counts))
    }

    /// How many statements have run on it, those of routines too, that change a session and are flagged; `None` where
    /// the server does not say.
    ///
    /// FACT(mariadb 10.11, mysql 9.7): SET of a user variable in a routine is counted, of its own variable not;
    /// test: `what_a_procedure_of_another_schema_leaves_is_its_sessions`.
    pub async fn count_changes(&mut self, family: Family) -> Result<Option<u64>, Failure> {
        let rows = self.counters(family, CHANGES).await?.rows();
        let mut counts = rows.iter().map(|row| row.get(1)?.parse::<u64>().ok());
        Ok(if rows.is_empty() {
            None
        } else {
            counts.try_fold(0, |sum: u64, count| Some(sum.wrapping_add(count?)))
        })
    }

    async fn counters(&mut self, family: Family, which: &str) -> Result<Exchange, Failure> {
        let question = match family.is_mariadb() {
            true => format!("SELECT * FROM information_schema.session_status {which} LIMIT 99"),
            false => format!("SHOW SESSION STATUS {which}"),
        };
        self.ask_aside(&question).await
    }

    /// Asks the dictionary. It refuses to connections of clients with CLIENT_NO_SCHEMA, which is nobody's warning.
    async fn ask_aside(&mut self, question: &str) -> Result<Exchange, Failure> {
        let answer = self.query(question).await?;
        if answer.summary.error.is_some() {
            self.clear_warnings().await?;
        }
        Ok(answer)
    }

    /// What the dictionary shows of a procedure, in whatever character set the session talks.
    pub async fn definition(&mut self, schema: &str, name: &str) -> Result<Definition, Failure> {
        let question = format!(
            "SELECT SQL_MODE LIKE '%ORACLE%',HEX(CONVERT(ROUTINE_DEFINITION USING utf8mb4)) \
             FROM information_schema.routines WHERE ROUTINE_TYPE='PROCEDURE' \
             AND ROUTINE_SCHEMA=_utf8mb4 X'{}' AND ROUTINE_NAME=_utf8mb4 X'{}' LIMIT 1",
            hexed(schema),
            hexed(name)
        );
        let answer = self.ask_aside(&question).await?;
        Ok(match (answer.summary.error, answer.first_row().as_slice()) {
            (None, []) => Definition::None,
            (None, [is_oracle, digits]) => match unhexed(digits) {
                Some(text) if !text.is_empty() => {
                    Definition::Text { text, is_oracle: is_oracle != "0" }
                }
                _ => Definition::Hidden,
            },
            _ => Definition::Hidden,
        })
    }

    /// Whether the dictionary shows a package of this name.
    pub async fn has_package(&mut self, schema: &str, name: &str) -> Result<bool, Failure> {
        let question = format!(
            "SELECT 1 FROM information_schema.routines WHERE ROUTINE_TYPE LIKE 'PACKAGE%' \
             AND ROUTINE_SCHEMA=_utf8mb4 X'{}' AND ROUTINE_NAME=_utf8mb4 X'{}' LIMIT 1",
            hexed(schema),
            hexed(name)
        );
        let answer = self.ask_aside(&question).await?;
        // What can't be asked may be there.
        Ok(answer.summary.error.is_some() || !answer.rows().is_empty())
    }

    /// Whether its account may turn the session's binary log off. That of a role counts while it is in force.
    pub async fn may_switch_log(&mut self) -> Result<bool, Failure> {
        let grants = self.ask_aside("SHOW GRANTS").await?.rows();
        // Whose rights nobody tells may have this one.
        Ok(grants.is_empty() || grants.iter().flatten().any(|grant| switches_log(grant)))
    }

    /// Whether its role is another than after its login, or may be. Asks once a second where the account
    /// has none to set, and after each change of privileges: `logins` counts those.
    pub async fn has_other_role(&mut self, logins: u64) -> Result<bool, Failure> {
        let is_known =
            |(since, had): (Instant, u64)| had == logins && since.elapsed() < ROLELESS_FOR;
        if self.roleless_since.is_some_and(is_known) {
            return Ok(false);
        }
        let asked_at = Instant::now();
        let answer = self.query(ROLES).await?;
        if answer.first_row().first().is_some_and(|count| count == "0") {
            self.roleless_since = Some((asked_at, logins));
            return Ok(false);
        }
        let answer = self.query(ROLE).await?;
        Ok(answer.first_row().first() != Some(&self.role))
    }
}

#[cfg(test)]
mod tests {
    use super::switches_log;

    #[test]
    fn who_may_turn_the_log_off_is_told_by_rights_on_all_schemas() {
        for (grant, may) in [
            ("GRANT BINLOG ADMIN ON *.* TO `a`@`%`", true),
            ("GRANT SELECT, SUPER, RELOAD ON *.* TO `a`@`%` WITH GRANT OPTION", true),
            ("GRANT ALL PRIVILEGES ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*0'", true),
            ("GRANT BACKUP_ADMIN,SESSION_VARIABLES_ADMIN ON *.* TO `a`@`%`", true),
            ("GRANT USAGE ON *.* TO `a`@`%`", false),
            ("GRANT SELECT, BINLOG MONITOR ON *.* TO `a`@`%`", false),
            ("GRANT ALL PRIVILEGES ON `shop`.* TO `a`@`%`", false),
            ("GRANT `SUPER` TO `a`@`%`", false),
        ] {
            assert_eq!(switches_log(grant), may, "{grant}");
        }
    }
}
