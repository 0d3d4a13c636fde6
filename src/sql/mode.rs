//! What the lexer must know about the session: `sql_mode`, client character set, server version.
//!
//! The same bytes are a different statement under another mode, so a [`Mode`] is part of the key
//! of everything that is remembered about a text.

use crate::protocol::Family;

/// How the server reads the bytes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// A backslash in a string is an ordinary character.
    pub no_backslash_escapes: bool,
    /// `COUNT (*)` is the built-in function despite the blank.
    pub ignore_space: bool,
    /// `a.b()` may be a routine of a package, as `a.b.c()` always may (MariaDB).
    pub oracle: bool,
    /// What bytes above 0x7F do.
    pub charset: Charset,
    /// MariaDB rather than MySQL.
    pub mariadb: bool,
    /// `101119` for 10.11.19; decides which version comments are code.
    pub server_version: u32,
}

/// The client character sets, as far as they change where a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Charset {
    /// No byte of a multi-byte character looks like ASCII: utf8mb4, ujis, euckr, gb2312, binary...
    Plain,
    /// One byte a character; the byte held here is the no-break space, which servers skip as
    /// white space in some of these character sets.
    SingleByte(u8),
    /// gbk and gb18030: a lead byte may be followed by a backslash or a backtick.
    Gbk,
    /// sjis and cp932, likewise.
    Sjis,
    /// big5, likewise.
    Big5,
    /// swe7: what looks like a bracket or another sign of ASCII may be a letter. Nothing is understood.
    ///
    /// FACT(mariadb 10.11 and 11.8): after `SET NAMES swe7` the text `SELECT f{(1)` calls a function
    /// whose name has two letters; test: `in_swe7_nothing_is_understood`.
    Foreign,
}

const FOREIGN_NAME: &str = "swe7";
/// The name of the character set that is [`Charset::Foreign`].
pub(super) const FOREIGN: &[u8] = FOREIGN_NAME.as_bytes();

impl Mode {
    /// From the session's `sql_mode` and `character_set_client`, and the server's version string.
    pub fn new(sql_mode: &str, charset: &str, server_version: &str) -> Self {
        let mut mode = Self {
            ansi_quotes: false,
            no_backslash_escapes: false,
            ignore_space: false,
            oracle: false,
            charset: Charset::named(charset),
            mariadb: Family::of_version(server_version).is_mariadb(),
            server_version: version_number(server_version),
        };
        for flag in sql_mode.split(',').map(str::trim) {
            // The combination modes switch the single ones on.
            let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(flag));
            const ANSI_LIKE: [&str; 6] = ["ANSI", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"];
            mode.ansi_quotes |= is(&["ANSI_QUOTES"]) || is(&ANSI_LIKE);
            mode.ignore_space |= is(&["IGNORE_SPACE"]) || is(&ANSI_LIKE);
            mode.oracle |= is(&["ORACLE"]);
            mode.no_backslash_escapes |= is(&["NO_BACKSLASH_ESCAPES"]);
        }
        mode
    }

    /// Whether a version comment that begins with six digits, and goes on with `next`, has them all in
    /// its number. MySQL takes six since 8.1, where a blank follows.
    pub(super) fn takes_six_digits(self, next: u8) -> bool {
        let is_blank = matches!(next, b' ' | b'\t'..=b'\r');
        self.mariadb || self.server_version >= 80_100 && is_blank
    }

    /// True if a version comment of this number holds code for this server.
    pub(super) fn executes(self, version: u32, is_mariadb_comment: bool) -> bool {
        if version > self.server_version {
            return false;
        }
        // MariaDB takes 50700..=99999 for MySQL features it does not have.
        !self.mariadb || is_mariadb_comment || !(50_700..=99_999).contains(&version)
    }
}

impl Default for Mode {
    /// MariaDB 10.11 as it comes.
    fn default() -> Self {
        Self {
            ansi_quotes: false,
            no_backslash_escapes: false,
            ignore_space: false,
            oracle: false,
            charset: Charset::Plain,
            mariadb: true,
            server_version: 101_100,
        }
    }
}

impl Charset {
    /// The one of this name, or of a collation.
    pub fn named(name: &str) -> Self {
        let name = name.trim().to_ascii_lowercase();
        let base = name.split('_').next().unwrap_or_default();
        match base {
            "gbk" | "gb18030" => Self::Gbk,
            "sjis" | "cp932" => Self::Sjis,
            "big5" => Self::Big5,
            FOREIGN_NAME => Self::Foreign,
            "" | "utf8" | "utf8mb3" | "utf8mb4" | "binary" | "ascii" | "ujis" | "eucjpms"
            | "euckr" | "gb2312" => Self::Plain,
            "macroman" | "macce" => Self::SingleByte(0xCA),
            "cp850" | "cp852" | "cp866" | "keybcs2" => Self::SingleByte(0xFF),
            _ => Self::SingleByte(0xA0),
        }
    }

    /// True if a byte of a character above 0x7F may be an ASCII byte.
    pub(super) fn has_ascii_trail(self) -> bool {
        matches!(self, Self::Gbk | Self::Sjis | Self::Big5)
    }

    /// True if these two bytes are one character. A lead byte without a valid trail byte stands
    /// alone, as in the server: else `0xBF 0x27` would hide the end of a string.
    pub(super) fn is_pair(self, lead: u8, trail: u8) -> bool {
        let high_trail = match self {
            Self::Plain | Self::SingleByte(_) | Self::Foreign => return false,
            Self::Gbk => (0x81..=0xFE).contains(&lead) && (0x80..=0xFE).contains(&trail),
            Self::Sjis => Self::sjis_lead(lead) && (0x80..=0xFC).contains(&trail),
            Self::Big5 => (0xA1..=0xF9).contains(&lead) && (0xA1..=0xFE).contains(&trail),
        };
        let ascii_trail = (0x40..=0x7E).contains(&trail);
        let lead_is_valid = match self {
            Self::Plain | Self::SingleByte(_) | Self::Foreign => false,
            Self::Gbk => (0x81..=0xFE).contains(&lead),
            Self::Sjis => Self::sjis_lead(lead),
            Self::Big5 => (0xA1..=0xF9).contains(&lead),
        };
        high_trail || (lead_is_valid && ascii_trail)
    }

    fn sjis_lead(lead: u8) -> bool {
        (0x81..=0x9F).contains(&lead) || (0xE0..=0xFC).contains(&lead)
    }
}

/// `10.11.19-MariaDB-log` to 101119; a version that cannot be read is 0 (no version comment is
/// code then, which only hides what an old server would not do either).
fn version_number(text: &str) -> u32 {
    // MariaDB before 11 puts this before its own version, for old replication clients.
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut parts = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse::<u32>().unwrap_or(0).min(999));
    let mut next = || parts.next().unwrap_or(0);
    next() * 10_000 + next().min(99) * 100 + next().min(99)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Class, Effects, Reason};

    #[test]
    fn reads_sql_mode_charset_and_version() {
        let mode = Mode::new("STRICT_TRANS_TABLES,ANSI_QUOTES", "utf8mb4", "10.11.19-MariaDB-log");
        assert!(mode.ansi_quotes && !mode.no_backslash_escapes && mode.mariadb);
        assert_eq!(mode.server_version, 101_119);
        let mode = Mode::new("ansi, no_backslash_escapes", "gbk_chinese_ci", "8.0.36");
        assert!(mode.ansi_quotes && mode.no_backslash_escapes && mode.ignore_space);
        assert!(!mode.mariadb);
        assert_eq!((mode.server_version, mode.charset), (80_036, Charset::Gbk));
        assert_eq!(Mode::new("", "latin1", "5.5.5-10.6.1-MariaDB").server_version, 100_601);
        assert_eq!(Mode::new("", "latin1", "nonsense").server_version, 0);
    }

    #[test]
    fn in_swe7_nothing_is_understood() {
        let verdict = |sql: &str, mode| crate::sql::classify(sql.as_bytes(), mode);
        let swe7 = Mode::new("", "swe7_swedish_ci", "10.11.19-MariaDB");
        for sql in
            ["SELECT f{(1)", "SELECT 1", "SET NAMES utf8mb4", "BEGIN", "KILL 5", "SHOW WARNINGS"]
        {
            let found = verdict(sql, swe7);
            assert_eq!((found.class, found.reason), (Class::Write, Reason::NotUnderstood), "{sql}");
            assert!(found.effects.contains(Effects::OPAQUE | Effects::UNREADABLE), "{sql}");
        }
        // Behind a change of the character set in the same text.
        for (sql, is_readable) in
            [("SET NAMES SWE7; SELECT f{(1)", false), ("SET NAMES latin1; SELECT f{(1)", true)]
        {
            let effects = verdict(sql, Mode::default()).effects;
            assert_eq!(!effects.contains(Effects::UNREADABLE), is_readable, "{sql}");
        }
    }

    #[test]
    fn mysql_features_are_not_code_for_mariadb() {
        let mariadb = Mode::new("", "", "10.11.19-MariaDB");
        let facts = [
            (50_699, false, true),
            (50_701, false, false),
            (99_999, false, false),
            (99_999, true, true),
            (100_000, false, true),
            (101_119, false, true),
            (101_120, false, false),
            (101_120, true, false),
        ];
        for (version, maria, code) in facts {
            assert_eq!(mariadb.executes(version, maria), code, "{version} {maria}");
        }
        assert!(Mode::new("", "", "8.0.36").executes(80_000, false));
    }
}
