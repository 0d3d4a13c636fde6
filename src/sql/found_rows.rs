//! What FOUND_ROWS() is after a statement, as far as its text tells: whether it counts the rows that are
//! sent, and how many more.

use super::digest::{DIGEST_TEXT_BYTES_MAX, digest_text};
use super::mode::Mode;
use super::verdict::{Leading, Verdict};

/// Whether the rows that the last statement of `sql` sends are those that FOUND_ROWS() tells. False where
/// that is not known: of several statements in a long text.
pub fn counts_rows(sql: &[u8], mode: Mode, verdict: &Verdict) -> bool {
    let is_several = verdict.statements > 1;
    if verdict.leading == Leading::Select && !is_several {
        return true;
    }
    let text = digest_text(sql, mode).to_ascii_lowercase();
    let is_whole = text.len() + 4 < DIGEST_TEXT_BYTES_MAX;
    (!is_several || is_whole) && tells_rows(last_statement(&text), mode.mariadb)
}

/// Whether `sql` is a SHOW or DESCRIBE whose rows FOUND_ROWS() tells (MariaDB).
pub fn lists_rows(sql: &[u8], mode: Mode) -> bool {
    let text = digest_text(sql, mode).to_ascii_lowercase();
    let first = text.split(' ').next().unwrap_or_default();
    matches!(first, "show" | "describe" | "desc" | "explain") && tells_rows(&text, true)
}

/// The rows of a query, the last of its text, that FOUND_ROWS() counts and that are not sent; `u64::MAX`
/// where a parameter tells.
pub fn rows_skipped(sql: &[u8], mode: Mode, verdict: &Verdict) -> u64 {
    let skipped = limit_skips(sql);
    if skipped == 0 || verdict.leading == Leading::Select && verdict.statements == 1 {
        return skipped;
    }
    let text = digest_text(sql, mode).to_ascii_lowercase();
    let last = last_statement(&text).trim_start_matches(['(', ' ']);
    let first = last.split([' ', '(']).next().unwrap_or_default();
    match first {
        "select" | "with" | "values" | "table" | "set" => skipped,
        _ => 0,
    }
}

/// The last statement of a normalised text.
fn last_statement(text: &str) -> &str {
    text.trim_end_matches([';', ' ']).rsplit(';').next().unwrap_or(text)
}

/// Whether the rows that a statement sends are those that FOUND_ROWS() tells, by its normalised text.
/// What neither selects nor reads the dictionary as if it did leaves FOUND_ROWS() as it was.
fn tells_rows(text: &str, is_mariadb: bool) -> bool {
    let mut words = text.split([' ', '(', ';']).filter(|word| !word.is_empty());
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let is_left = match first {
        // An ALTER that sends rows is of partitions: CHECK, ANALYZE, OPTIMIZE, REPAIR.
        "insert" | "replace" | "delete" | "check" | "checksum" | "optimize" | "repair"
        | "handler" | "xa" | "help" | "alter" | "cache" | "load" => true,
        "analyze" => matches!(second, "table" | "tables" | "local" | "no_write_to_binlog"),
        "values" => is_mariadb,
        "explain" | "describe" | "desc" => matches!(
            second,
            "select"
                | "with"
                | "insert"
                | "update"
                | "delete"
                | "replace"
                | "format"
                | "extended"
                | "partitions"
                | "for"
                | "analyze"
                | "values"
        ),
        "show" => {
            matches!(
                second,
                "warnings"
                    | "errors"
                    | "create"
                    | "processlist"
                    | "full"
                    | "grants"
                    | "privileges"
                    | "profile"
                    | "profiles"
                    | "engine"
                    | "binary"
                    | "binlog"
                    | "explain"
            ) && !(second == "full" && words.next() != Some("processlist"))
        }
        _ => false,
    };
    !is_left
}

/// Rows that a LIMIT at the end of a text passes over, which FOUND_ROWS() counts; `u64::MAX` where a
/// parameter tells.
fn limit_skips(sql: &[u8]) -> u64 {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
    let trimmed = |text: &mut &[u8]| {
        let length = text.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
        *text = &text[..length];
    };
    // The last word of one kind, taken off.
    fn taken<'a>(text: &mut &'a [u8], is_of_it: impl Fn(u8) -> bool) -> &'a [u8] {
        let from = text.iter().rposition(|byte| !is_of_it(*byte)).map_or(0, |last| last + 1);
        let (rest, word) = text.split_at(from);
        *text = rest;
        word
    }
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'?';
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut rest = sql;
    trimmed(&mut rest);
    let mut skipped = taken(&mut rest, is_number);
    if skipped.is_empty() {
        return 0;
    }
    trimmed(&mut rest);
    let (before, word): (_, &[u8]) = match rest.strip_suffix(b",") {
        Some(before) => (before, b"limit"),
        None if rest.last().is_some_and(|last| last.eq_ignore_ascii_case(&b't')) => {
            (rest, b"offset")
        }
        None => return 0,
    };
    rest = before;
    trimmed(&mut rest);
    if word == b"limit" {
        skipped = taken(&mut rest, is_number);
        trimmed(&mut rest);
    }
    match taken(&mut rest, is_letter).eq_ignore_ascii_case(word) {
        false => 0,
        true => std::str::from_utf8(skipped).ok().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_maintenance_are_not_found_rows() {
        for (sql, tells) in [
            ("SELECT a FROM t", true),
            ("SHOW TABLES", true),
            ("CHECK TABLE t", false),
            ("ALTER TABLE t CHECK PARTITION ALL", false),
            ("ALTER TABLE t OPTIMIZE PARTITION p0", false),
            ("CACHE INDEX t IN default", false),
            ("LOAD INDEX INTO CACHE t", false),
        ] {
            let verdict = crate::sql::classify(sql.as_bytes(), Mode::default());
            assert_eq!(counts_rows(sql.as_bytes(), Mode::default(), &verdict), tells, "{sql}");
        }
    }

    #[test]
    fn rows_that_a_limit_passes_over_are_read_in_every_form() {
        for (sql, skipped) in [
            ("SELECT a FROM t LIMIT 2 OFFSET 3", 3),
            ("select a from t limit 3 , 2 ;", 3),
            ("SELECT a FROM t LIMIT 3,2", 3),
            ("SELECT a FROM t LIMIT ? OFFSET ?", u64::MAX),
            ("SELECT a FROM t LIMIT ?, ?", u64::MAX),
            ("SELECT a FROM t LIMIT 5", 0),
            ("SELECT a FROM t ORDER BY 1, 2", 0),
            ("SELECT a FROM t WHERE a = 7", 0),
            ("SELECT 1, 2", 0),
            ("SELECT", 0),
            ("", 0),
        ] {
            assert_eq!(limit_skips(sql.as_bytes()), skipped, "{sql}");
        }
    }
}
