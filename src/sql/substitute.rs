//! Puts values in the place of calls that only the session's last connection could answer.
//!
//! ROW_COUNT(), FOUND_ROWS(), CONNECTION_ID(), @@warning_count, @@error_count and @@last_gtid are put into an
//! IF() that never asks them and has their type, so the statement may run on any connection. Nothing
//! is taken out of a text: a call may begin in a version comment and end behind it. Where the call
//! is (part of) an unnamed column of a select list, the column gets the name the server would have
//! given it: the text of the expression.

use super::classify::Classifier;
use super::column_names::ColumnNames;
use super::mode::Mode;
use super::verdict::Needs;

/// The values the session would see on its own connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Substitution {
    /// ROW_COUNT(): -1 after a result set.
    pub row_count: i64,
    /// FOUND_ROWS().
    pub found_rows: u64,
    /// CONNECTION_ID() as the client knows it.
    pub connection_id: u64,
    /// @@warning_count.
    pub warning_count: u64,
    /// @@error_count.
    pub error_count: u64,
    /// @@last_gtid: domain, server and sequence number.
    pub last_gtid: Option<(u32, u32, u64)>,
}

/// What stands in a text for a value of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    RowCount,
    FoundRows,
    ConnectionId,
    WarningCount,
    ErrorCount,
    LastGtid,
}

impl Asked {
    /// The need a text has for it.
    pub(super) fn need(self) -> Needs {
        match self {
            Self::RowCount => Needs::ROW_COUNT,
            Self::FoundRows => Needs::FOUND_ROWS,
            Self::ConnectionId => Needs::CONNECTION_ID,
            Self::WarningCount | Self::ErrorCount => Needs::DIAGNOSTICS,
            Self::LastGtid => Needs::LAST_GTID,
        }
    }
}

/// A call that can be replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallSite {
    pub start: usize,
    pub end: usize,
    pub asked: Asked,
}

/// An insertion in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insertion {
    /// In front of which byte.
    pub at: usize,
    /// What is inserted.
    pub text: Vec<u8>,
}

/// The text with known values in place of the calls of the `wanted` kinds; `None` if there is no
/// such call.
///
/// In a text of several statements ROW_COUNT() and FOUND_ROWS() are replaced in the first one
/// only: the later ones ask about the statements before them.
pub fn substitute(sql: &[u8], mode: Mode, values: &Substitution, wanted: Needs) -> Option<Vec<u8>> {
    let insertions = insertions(sql, mode, values, wanted);
    if insertions.is_empty() {
        return None;
    }
    let mut text = Vec::with_capacity(sql.len() + 64 * insertions.len());
    let mut at = 0;
    for insertion in insertions {
        text.extend_from_slice(&sql[at..insertion.at]);
        text.extend_from_slice(&insertion.text);
        at = insertion.at;
    }
    text.extend_from_slice(&sql[at..]);
    Some(text)
}

/// What [`substitute`] inserts, from the first to the last.
pub fn insertions(sql: &[u8], mode: Mode, values: &Substitution, wanted: Needs) -> Vec<Insertion> {
    let mut walk = Classifier::new(sql, mode);
    walk.calls = Some(Vec::new());
    walk.run();
    let mut calls = walk.calls.take().unwrap_or_default();
    calls.retain(|call| wanted.contains(call.asked.need()));
    if calls.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<Insertion> = calls.iter().flat_map(|call| values.around(sql, call)).collect();
    all.extend(ColumnNames::new(sql, mode, &calls).run());
    // Stable: a name stands behind the call that ends there.
    all.sort_by_key(|insertion| insertion.at);
    all
}

impl Substitution {
    /// What stands in front of a call in `sql` and behind it.
    fn around(&self, sql: &[u8], call: &CallSite) -> [Insertion; 2] {
        let unsigned = |value: u64| format!("IF(1,CAST({value} AS UNSIGNED),");
        let front = match call.asked {
            Asked::RowCount => format!("IF(1,{},", self.row_count),
            Asked::FoundRows => format!("IF(1,{},", self.found_rows),
            Asked::ConnectionId => unsigned(self.connection_id),
            Asked::WarningCount => unsigned(self.warning_count),
            Asked::ErrorCount => unsigned(self.error_count),
            Asked::LastGtid => match self.last_gtid {
                Some((domain, server, number)) => format!("IF(1,'{domain}-{server}-{number}',"),
                None => "IF(1,'',".to_owned(),
            },
        };
        // SELECT@@warning_count: the word before a variable ends only by the variable's signs.
        let follows_word = sql[..call.start].last().is_some_and(|&byte| is_of_word(byte));
        let front = if follows_word { format!(" {front}") } else { front };
        [
            Insertion { at: call.start, text: front.into_bytes() },
            Insertion { at: call.end, text: b")".to_vec() },
        ]
    }
}

/// Whether a byte may be one of a word.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::mode::Charset;

    const VALUES: Substitution = Substitution {
        row_count: -1,
        found_rows: 7,
        connection_id: 9,
        warning_count: 4,
        error_count: 2,
        last_gtid: None,
    };

    fn substituted(sql: &str) -> Option<String> {
        let text = substitute(sql.as_bytes(), Mode::default(), &VALUES, Needs::all())?;
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn columns_keep_their_names() {
        for (sql, expected) in [
            ("SELECT row_count()", "SELECT IF(1,-1,row_count()) AS `row_count()`"),
            (
                "select  found_rows( ) , 1 from t",
                "select  IF(1,7,found_rows( )) AS `found_rows( )` , 1 from t",
            ),
            (
                "SELECT DISTINCT CONNECTION_ID()+1;",
                "SELECT DISTINCT IF(1,CAST(9 AS UNSIGNED),CONNECTION_ID())+1 AS `CONNECTION_ID()+1`;",
            ),
            (
                "SELECT (SELECT ROW_COUNT()), 2",
                "SELECT (SELECT IF(1,-1,ROW_COUNT()) AS `ROW_COUNT()`) AS `(SELECT ROW_COUNT())`, 2",
            ),
            (
                "SELECT FOUND_ROWS(/*!50000) + 1 */",
                "SELECT IF(1,7,FOUND_ROWS(/*!50000)) + 1 AS `FOUND_ROWS(/*!50000) + 1` */",
            ),
            (
                "SELECT CASE ROW_COUNT() WHEN 1 THEN 2 END",
                "SELECT CASE IF(1,-1,ROW_COUNT()) WHEN 1 THEN 2 END AS `CASE ROW_COUNT() WHEN 1 THEN 2 END`",
            ),
            (
                "SELECT ROW_COUNT() = 'ä\u{1f600}'",
                "SELECT IF(1,-1,ROW_COUNT()) = 'ä\u{1f600}' AS `ROW_COUNT() = 'ä?'`",
            ),
            (
                "SELECT ROW_COUNT() = t.`a` FROM t",
                "SELECT IF(1,-1,ROW_COUNT()) = t.`a` AS `ROW_COUNT() = t.``a``` FROM t",
            ),
        ] {
            assert_eq!(substituted(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn named_columns_and_other_places_get_no_alias() {
        for (sql, expected) in [
            ("SELECT ROW_COUNT() AS n", "SELECT IF(1,-1,ROW_COUNT()) AS n"),
            ("SELECT ROW_COUNT() end", "SELECT IF(1,-1,ROW_COUNT()) end"),
            ("SELECT ROW_COUNT() n", "SELECT IF(1,-1,ROW_COUNT()) n"),
            ("SELECT ROW_COUNT() day", "SELECT IF(1,-1,ROW_COUNT()) day"),
            ("SELECT 1 + date + ROW_COUNT() date", "SELECT 1 + date + IF(1,-1,ROW_COUNT()) date"),
            ("SELECT ROW_COUNT() + date n", "SELECT IF(1,-1,ROW_COUNT()) + date n"),
            (
                "SELECT INTERVAL(ROW_COUNT(), 1) second",
                "SELECT INTERVAL(IF(1,-1,ROW_COUNT()), 1) second",
            ),
            ("SELECT ROW_COUNT()'n', `row_count`", "SELECT IF(1,-1,ROW_COUNT())'n', `row_count`"),
            ("SET @a = ROW_COUNT()", "SET @a = IF(1,-1,ROW_COUNT())"),
            (
                "INSERT INTO t VALUES (CONNECTION_ID(), 1)",
                "INSERT INTO t VALUES (IF(1,CAST(9 AS UNSIGNED),CONNECTION_ID()), 1)",
            ),
        ] {
            assert_eq!(substituted(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn a_statement_that_no_server_takes_gets_no_names() {
        for (sql, expected) in [
            (" SELECT(ROW_COUNT()", " SELECT(IF(1,-1,ROW_COUNT())"),
            ("SELECT 1+(FOUND_ROWS() /* (", "SELECT 1+(IF(1,7,FOUND_ROWS()) /* ("),
            ("SELECT (SELECT(ROW_COUNT()", "SELECT (SELECT(IF(1,-1,ROW_COUNT())"),
            ("SELECT(ROW_COUNT(),(1);", "SELECT(IF(1,-1,ROW_COUNT()),(1);"),
            ("SELECT ROW_COUNT())", "SELECT IF(1,-1,ROW_COUNT()))"),
            ("SELECT ROW_COUNT()--,1", "SELECT IF(1,-1,ROW_COUNT())--,1"),
            ("SELECT ROW_COUNT()=`a", "SELECT IF(1,-1,ROW_COUNT())=`a"),
        ] {
            assert_eq!(substituted(sql).as_deref(), Some(expected), "{sql}");
        }
        assert_eq!(substituted("SELECT(ROW_COUNT("), None);
    }

    #[test]
    fn a_name_is_quoted_in_the_clients_character_set() {
        let quoted = |sql: &[u8], charset| {
            let mode = Mode { charset, ..Mode::default() };
            let text = substitute(sql, mode, &VALUES, Needs::all()).expect("a call");
            let at = text.windows(5).position(|window| window == b" AS `")?;
            Some(text[at + 4..].to_vec())
        };
        let sql = b"SELECT ROW_COUNT()='\x81`'";
        assert_eq!(quoted(sql, Charset::Gbk).as_deref(), Some(&b"`ROW_COUNT()='\x81`'`"[..]));
        let single = Charset::SingleByte(0xa0);
        assert_eq!(quoted(sql, single).as_deref(), Some(&b"`ROW_COUNT()='\x81``'`"[..]));
        // Half a character would take the closing quote with it.
        assert_eq!(quoted(b"SELECT ROW_COUNT()+\x81", Charset::Gbk), None);
        assert_eq!(quoted(b"SELECT ROW_COUNT()='\0'", Charset::Plain), None);
        assert_eq!(quoted(b"SELECT ROW_COUNT()=_binary'\xff'", Charset::Plain), None);
    }

    #[test]
    fn beside_a_servers_own_tables_its_id_stays() {
        for sql in [
            "SELECT USER() FROM information_schema.processlist WHERE ID = CONNECTION_ID()",
            "SET STATEMENT sort_buffer_size = CONNECTION_ID() FOR SELECT 1 FROM mysql.user",
        ] {
            assert_eq!(substituted(sql), None, "{sql}");
        }
        let verdict = crate::sql::classify(
            b"SELECT PS_THREAD_ID(CONNECTION_ID())",
            Mode::new("", "utf8mb4", "9.7.4"),
        );
        assert!(verdict.needs.is_empty());
        assert_eq!(
            substituted("SET @a = CONNECTION_ID(); SELECT 1 FROM sys.x WHERE a = CONNECTION_ID()")
                .as_deref(),
            Some(
                "SET @a = IF(1,CAST(9 AS UNSIGNED),CONNECTION_ID()); \
                 SELECT 1 FROM sys.x WHERE a = CONNECTION_ID()"
            )
        );
    }

    #[test]
    fn only_what_asks_about_before_the_text() {
        assert_eq!(substituted("SELECT 1, 'ROW_COUNT()' /* ROW_COUNT() */"), None);
        assert_eq!(substituted("CREATE PROCEDURE p() SELECT ROW_COUNT()"), None);
        assert_eq!(
            substituted("SELECT @@warning_count + 1, @@SESSION.error_count").as_deref(),
            Some(
                "SELECT IF(1,CAST(4 AS UNSIGNED),@@warning_count) + 1 AS `@@warning_count + 1`, \
                 IF(1,CAST(2 AS UNSIGNED),@@SESSION.error_count) AS `@@SESSION.error_count`"
            )
        );
        assert_eq!(
            substituted("SELECT @@error_count FROM t").as_deref(),
            Some("SELECT IF(1,CAST(2 AS UNSIGNED),@@error_count) AS `@@error_count` FROM t")
        );
        assert_eq!(
            substituted("SELECT @@error_count e FROM t").as_deref(),
            Some("SELECT IF(1,CAST(2 AS UNSIGNED),@@error_count) e FROM t")
        );
        assert_eq!(
            substituted("SELECT@@error_count").as_deref(),
            Some("SELECT IF(1,CAST(2 AS UNSIGNED),@@error_count) AS `@@error_count`")
        );
        assert_eq!(substituted("SELECT @@global.warning_count"), None);
        assert_eq!(substituted("SET @@warning_count = 1"), None);
        assert_eq!(substituted("SELECT 1; SELECT @@warning_count"), None);
        assert_eq!(substituted("KILL QUERY CONNECTION_ID()"), None);
        assert_eq!(substituted("UPDATE t SET a = 1; SELECT ROW_COUNT()"), None);
        assert_eq!(
            substituted("BEGIN NOT ATOMIC DO 1; SET @a = ROW_COUNT(), @b = CONNECTION_ID(); END")
                .as_deref(),
            Some(
                "BEGIN NOT ATOMIC DO 1; \
                 SET @a = ROW_COUNT(), @b = IF(1,CAST(9 AS UNSIGNED),CONNECTION_ID()); END"
            )
        );
        assert_eq!(
            substituted("IF ROW_COUNT() THEN SET @a = ROW_COUNT(); END IF").as_deref(),
            Some("IF IF(1,-1,ROW_COUNT()) THEN SET @a = ROW_COUNT(); END IF")
        );
        for sql in
            ["WHILE ROW_COUNT() DO UPDATE t SET a = 1; END WHILE", "LOOP DO ROW_COUNT(); END LOOP"]
        {
            assert_eq!(substituted(sql), None, "{sql}");
        }
        assert_eq!(
            substituted("SELECT 1; SELECT CONNECTION_ID()").as_deref(),
            Some("SELECT 1; SELECT IF(1,CAST(9 AS UNSIGNED),CONNECTION_ID()) AS `CONNECTION_ID()`")
        );
    }
}
