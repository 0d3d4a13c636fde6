//! What the lexer has to know of the session: sql_mode, character set, server version.

/// Lexical circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// `"` quotes identifiers.
    pub ansi_quotes: bool,
    /// A backslash in a string is a backslash.
    pub no_backslash_escapes: bool,
    /// Characters may end in a byte that looks like a backslash, a quote or a letter.
    pub multibyte_trail: bool,
    /// Bytes 0xA1 to 0xDF are characters of their own (sjis, cp932).
    pub single_kana: bool,
    /// The server is MariaDB.
    pub mariadb: bool,
    /// As in executable comments: 101119 for 10.11.19.
    pub server_version: u32,
}

impl Default for Mode {
    /// MariaDB 10.11 with its default modes.
    fn default() -> Self {
        Self {
            ansi_quotes: false,
            no_backslash_escapes: false,
            multibyte_trail: false,
            single_kana: false,
            mariadb: true,
            server_version: 101_100,
        }
    }
}

impl Mode {
    /// Whether a byte is the first of a character whose second may look like anything.
    pub(super) fn is_lead(self, byte: u8) -> bool {
        self.multibyte_trail && byte >= 0x81 && !(self.single_kana && (0xa1..=0xdf).contains(&byte))
    }

    /// From `@@sql_mode`, `@@character_set_client` and `@@version`.
    pub fn new(sql_mode: &str, charset: &str, version: &str) -> Self {
        let has = |wanted: &str| sql_mode.split(',').any(|mode| mode.eq_ignore_ascii_case(wanted));
        // The compound modes are reported together with what they stand for.
        let multibyte = ["gbk", "gb18030", "sjis", "cp932", "big5"];
        Self {
            ansi_quotes: has("ANSI_QUOTES"),
            no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
            multibyte_trail: multibyte.iter().any(|name| charset.eq_ignore_ascii_case(name)),
            single_kana: ["sjis", "cp932"].iter().any(|name| charset.eq_ignore_ascii_case(name)),
            mariadb: version.contains("MariaDB"),
            server_version: version_number(version),
        }
    }
}

fn version_number(version: &str) -> u32 {
    // Old replication peers made MariaDB put this in front of its real version.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut parts =
        version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0_u32).min(99);
    next() * 10_000 + next() * 100 + next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_modes_are_read() {
        let mode = Mode::new("ANSI_QUOTES,STRICT_ALL_TABLES", "GBK", "5.5.5-10.11.19-MariaDB-log");
        assert_eq!(mode.server_version, 101_119);
        assert!(mode.ansi_quotes && mode.multibyte_trail && mode.mariadb);
        assert!(!mode.no_backslash_escapes);
        assert_eq!(Mode::new("", "utf8mb4", "9.7.0").server_version, 90_700);
    }
}
