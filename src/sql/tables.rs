//! Which statements use a table: MariaDB (10.11, `mysql_execute_command`) leaves the list of warnings
//! to all others.

use super::classify::Classifier;
use super::lexer::Lexer;
use super::mode::Mode;
use super::token::{Kind, Token};
use super::word::Word;

impl Classifier<'_> {
    /// Whether the statement just walked over may use a table.
    pub(super) fn may_use_table(&self) -> bool {
        self.found.is_from_table
            || match self.first {
                Word::Insert | Word::Replace | Word::Update | Word::Delete => true,
                first if is_expression(first) => false,
                _ => !names_no_table(&self.text[self.start..], self.mode),
            }
    }
}

/// Whether a text begins with a statement that changes rows: no LOAD DATA, whose file would be gone
/// at a second time, and no DDL.
pub fn changes_rows(sql: &[u8], mode: Mode) -> bool {
    let first = Lexer::new(sql, mode).next().word;
    matches!(first, Word::Insert | Word::Replace | Word::Update | Word::Delete)
}

/// Whether a text begins with a REPLACE. It counts rows that are there already as they are.
pub fn replaces_rows(sql: &[u8], mode: Mode) -> bool {
    Lexer::new(sql, mode).next().word == Word::Replace
}

/// Whether a text of one statement, which is understood, changes no table's definition, nor a routine's.
/// What is not known may do so.
pub fn leaves_tables(sql: &[u8], mode: Mode) -> bool {
    // Most of them, without the lexer.
    const MOST: [&[u8]; 3] = [b"INSERT ", b"UPDATE ", b"DELETE "];
    let begin = sql.get(..7).unwrap_or_default();
    if MOST.iter().any(|first| first.eq_ignore_ascii_case(begin)) {
        return true;
    }
    let first = Lexer::new(sql, mode).next();
    matches!(
        first.word,
        Word::Insert
            | Word::Replace
            | Word::Update
            | Word::Delete
            | Word::Select
            | Word::With
            | Word::Values
            | Word::Show
            | Word::Explain
            | Word::Describe
            | Word::Desc
            | Word::Do
            | Word::Savepoint
            | Word::Release
            | Word::Rollback
            | Word::Lock
            | Word::Unlock
            | Word::Load
            | Word::Handler
            | Word::Prepare
            | Word::Deallocate
            | Word::Kill
            | Word::Xa
    )
}

/// Whether statements that begin so use a table only where they have a FROM.
pub(super) fn is_expression(first: Word) -> bool {
    matches!(first, Word::Select | Word::Do | Word::Values | Word::With)
}

/// Whether the statement that `sql` begins with, which is neither a query nor a change of rows, is
/// about no table. What is not known may be.
fn names_no_table(sql: &[u8], mode: Mode) -> bool {
    let mut words = Words { sql, lexer: Lexer::new(sql, mode) };
    let first = words.next();
    match first.word {
        Word::Binlog
        | Word::Change
        | Word::Deallocate
        | Word::Help
        | Word::Install
        | Word::Kill
        | Word::Prepare
        | Word::Purge
        | Word::Release
        | Word::Reset
        | Word::Rollback
        | Word::Savepoint
        | Word::Set
        | Word::Shutdown
        | Word::Start
        | Word::Stop
        | Word::Uninstall
        | Word::Unlock
        | Word::Xa => true,
        Word::Backup => words.next().word != Word::Lock,
        Word::Rename => words.next().word == Word::User,
        Word::Create | Word::Alter | Word::Drop => words.define_no_table(first.word == Word::Drop),
        Word::Grant | Word::Revoke => words.grant_no_table(),
        Word::Flush => words.flush_no_table(),
        Word::Show => words.show_no_table(),
        _ => false,
    }
}

/// The tokens of one statement, one after the other.
struct Words<'a> {
    sql: &'a [u8],
    lexer: Lexer<'a>,
}

impl Words<'_> {
    /// The next token; at the end of the statement [`Kind::End`].
    fn next(&mut self) -> Token {
        let token = self.lexer.next();
        if token.is_op(b';') { Token::END } else { token }
    }

    fn is(&self, token: &Token, name: &str) -> bool {
        self.sql[token.start..token.end].eq_ignore_ascii_case(name.as_bytes())
    }

    /// CREATE, ALTER, DROP: by the kind of object, in front of which much may stand.
    fn define_no_table(&mut self, is_drop: bool) -> bool {
        loop {
            let token = self.next();
            match token.word {
                Word::Database
                | Word::Schema
                | Word::User
                | Word::Role
                | Word::Procedure
                | Word::Function
                | Word::Package
                | Word::Event => return true,
                Word::Trigger => return is_drop,
                Word::Table | Word::Tables | Word::View | Word::Index | Word::Temporary => {
                    return false;
                }
                _ if self.is(&token, "server") => return true,
                _ if token.kind == Kind::End || self.is(&token, "sequence") => return false,
                _ => {}
            }
        }
    }

    /// GRANT and REVOKE: of roles, and what is granted `ON` a schema, on all, or on a routine.
    fn grant_no_table(&mut self) -> bool {
        let mut is_on = false;
        loop {
            let token = self.next();
            match token.word {
                Word::To | Word::From => return !is_on,
                Word::Procedure | Word::Function | Word::Package if is_on => return true,
                _ if token.kind == Kind::End => return !is_on,
                _ if is_on && token.is_op(b'*') => return true,
                _ => is_on |= self.is(&token, "on"),
            }
        }
    }

    /// FLUSH: `TABLES` with names uses them.
    fn flush_no_table(&mut self) -> bool {
        let mut token = self.next();
        while matches!(token.word, Word::Local | Word::NoWrite) {
            token = self.next();
        }
        if !matches!(token.word, Word::Table | Word::Tables) {
            return true;
        }
        let name = self.next();
        name.kind == Kind::End || matches!(name.word, Word::With | Word::For)
    }

    /// SHOW: what reads no table of the dictionary.
    fn show_no_table(&mut self) -> bool {
        let mut token = self.next();
        while token.word == Word::Full {
            token = self.next();
        }
        if token.word == Word::Create {
            let kind = self.next();
            let is_table = matches!(kind.word, Word::Table | Word::View);
            return !is_table && !self.is(&kind, "sequence");
        }
        WITHOUT_TABLE.iter().any(|name| self.is(&token, name))
    }
}

/// What SHOW tells without a table: `SHOW GRANTS`, and `SHOW ENGINE` of one, not `SHOW ENGINES`.
const WITHOUT_TABLE: &[&str] = &[
    "all",
    "authors",
    "binary",
    "binlog",
    "contributors",
    "engine",
    "grants",
    "master",
    "privileges",
    "processlist",
    "profiles",
    "relaylog",
    "replica",
    "slave",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_change_rows_are_known_by_their_first_word() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "\n update t SET a = 1",
            "REPLACE/**/t VALUES (1)",
            "/* x */ UPDATE t SET a = 1",
            "-- x\nDELETE FROM t",
        ] {
            assert!(changes_rows(sql.as_bytes(), Mode::default()), "{sql}");
        }
        for sql in
            ["LOAD DATA INFILE 'x' INTO TABLE t", "inserted", "`insert` INTO t", "(UPDATE", ""]
        {
            assert!(!changes_rows(sql.as_bytes(), Mode::default()), "{sql}");
        }
    }

    #[test]
    fn statements_that_leave_tables_alone_are_known_by_their_first_word() {
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT 1) SELECT 1",
            "show status",
            "SAVEPOINT s",
            "DO 1",
            "insert t SET a = 1",
        ] {
            assert!(leaves_tables(sql.as_bytes(), Mode::default()), "{sql}");
        }
        for sql in [
            "ALTER TABLE t ADD a INT",
            "CALL p()",
            "EXECUTE s",
            "EXECUTE IMMEDIATE 'DROP TABLE t'",
            "BEGIN NOT ATOMIC DROP TABLE t; END",
            "SET STATEMENT max_statement_time = 1 FOR DROP TABLE t",
            "/*!50000 DROP TABLE t */",
            "{CALL p()}",
            "",
        ] {
            assert!(!leaves_tables(sql.as_bytes(), Mode::default()), "{sql}");
        }
    }

    use crate::sql::classify;

    /// As MariaDB 10.11 does after an error: its list of warnings is still there, or gone.
    const KEEPS: &[&str] = &[
        "SELECT 1",
        "(SELECT 1) LIMIT 1",
        "((SELECT 1))",
        "WITH a AS (SELECT 1) SELECT 2",
        "EXPLAIN SELECT 1",
        "ANALYZE FORMAT=JSON SELECT 1",
        "SET STATEMENT time_zone = '+09:00' FOR SELECT 1",
        "SET PASSWORD = PASSWORD('a')",
        "SET DEFAULT ROLE NONE",
        "SHOW CREATE DATABASE shop",
        "SHOW CREATE TRIGGER g",
        "SHOW CREATE FUNCTION f",
        "SHOW CREATE USER a@'%'",
        "SHOW MASTER STATUS",
        "SHOW BINLOG EVENTS LIMIT 1",
        "SHOW ENGINE INNODB STATUS",
        "SHOW ALL SLAVES STATUS",
        "SHOW GRANTS FOR a@'%'",
        "SHOW FULL PROCESSLIST",
        "SHOW PRIVILEGES",
        "SHOW PROFILES",
        "CREATE OR REPLACE PROCEDURE p() SELECT a FROM t",
        "CREATE DEFINER = a@b FUNCTION f() RETURNS INT RETURN 1",
        "ALTER EVENT e DISABLE",
        "DROP TRIGGER g",
        "RENAME USER a TO b",
        "GRANT SELECT ON shop.* TO a@'%'",
        "GRANT EXECUTE ON PROCEDURE shop.p TO a",
        "GRANT r TO a",
        "REVOKE r FROM a",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
        "DROP DATABASE d",
        "FLUSH PRIVILEGES",
        "FLUSH TABLES",
        "FLUSH TABLES WITH READ LOCK",
        "BACKUP STAGE START",
        "BACKUP UNLOCK",
        "UNLOCK TABLES",
        "XA START 'x'",
        "XA RECOVER",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "HELP 'contents'",
        "PREPARE s FROM 'SELECT 1'",
        "KILL QUERY ID 7",
        "CHANGE MASTER TO MASTER_HOST = 'x'",
        "STOP SLAVE",
    ];
    const CLEARS: &[&str] = &[
        "(SELECT a FROM t)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "WITH a AS (SELECT 1) UPDATE t SET b = 1",
        "EXPLAIN SELECT a FROM t",
        "EXPLAIN UPDATE t SET a = 1",
        "SET STATEMENT time_zone = '+09:00' FOR SELECT a FROM t",
        "SHOW CREATE TABLE t",
        "SHOW CREATE VIEW v",
        "SHOW CREATE SEQUENCE s",
        "SHOW ENGINES",
        "SHOW PROFILE",
        "SHOW FUNCTION STATUS",
        "SHOW VARIABLES",
        "CREATE TABLE t (a INT)",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        "DROP VIEW v",
        "DROP SEQUENCE s",
        "CREATE INDEX i ON t (a)",
        "RENAME TABLE t TO u",
        "GRANT SELECT ON shop.t TO a@'%'",
        "GRANT SELECT, INSERT ON t TO a",
        "FLUSH TABLES t",
        "FLUSH LOCAL TABLES t WITH READ LOCK",
        "LOCK TABLES t READ",
        "BACKUP LOCK t",
        "TRUNCATE t",
        "CHECK TABLE t",
        "LOAD INDEX INTO CACHE t",
        "HANDLER t OPEN",
        "PREPARE s FROM 'SELECT a FROM t'",
        "SELECT NEXTVAL(s)",
        "SELECT LASTVAL(s)",
        "SELECT PREVIOUS VALUE FOR s",
        "DO NEXT VALUE FOR s",
        "SET @a = NEXTVAL(s)",
    ];

    #[test]
    fn statements_that_use_no_table_are_known() {
        let uses_table = |sql: &&&str| classify(sql.as_bytes(), Mode::default()).uses_table;
        let wrong: Vec<_> = KEEPS.iter().filter(uses_table).collect();
        assert!(wrong.is_empty(), "use a table: {wrong:?}");
        let wrong: Vec<_> = CLEARS.iter().filter(|sql| !uses_table(sql)).collect();
        assert!(wrong.is_empty(), "use none: {wrong:?}");
    }
}
