//! The words the classifier knows, and the table that finds them.
//!
//! One look-up a word serves all: its hash folds letter case and feeds the digest, and finds
//! the keyword and what the word means before a parenthesis.

use std::sync::LazyLock;

use super::function::{self, Since};
use super::mode::Mode;

/// What `word(` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Perhaps a stored or loadable function, or a function this server does not have built in.
    Unknown,
    /// No call: the parenthesis belongs to the grammar (`IN (`, `VALUES (`, `DECIMAL(`).
    Syntax,
    /// A built-in function that any server answers alike.
    Pure,
    /// Likewise, but only without a blank before the parenthesis.
    PureTight,
    /// Likewise, but only with arguments of this shape: with others the server looks for a stored
    /// function (MariaDB 10.11 runs a stored `point(1)` and `json_table(1)`).
    PureIf(Shape),
    /// A built-in function with session-local meaning or effects.
    Session(SessionCall),
}

/// What the arguments of a built-in function have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Some.
    Any,
    /// Two.
    Pair,
    /// JSON_TABLE's: a document, a path and COLUMNS.
    Columns,
}

/// Functions that a replica must not answer, by what they touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionCall {
    /// Takes a lock that belongs to the connection.
    TakesLock,
    /// Likewise, one of another kind than GET_LOCK's.
    TakesServiceLock,
    /// Reads or gives back such locks.
    AsksLock,
    LastInsertId,
    RowCount,
    FoundRows,
    ConnectionId,
    /// Takes a value from a sequence.
    TakesSequence,
    /// Reads what this connection took last.
    AsksSequence,
    /// Waits, or speaks of this one server.
    ServerBound,
}

/// An entry of the table.
pub(super) struct Entry {
    key: Key,
    text: &'static str,
    pub word: Word,
    call: Call,
    since: Since,
}

impl Entry {
    /// What the word means before a parenthesis on this server.
    pub(super) fn call_for(&self, mode: Mode) -> Call {
        if self.since.holds(mode) { self.call } else { Call::Unknown }
    }
}

macro_rules! words {
    ($($call:ident { $($word:ident $text:literal)* })*) => {
        /// Words with a meaning for the classifier.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Word {
            /// Any other.
            None,
            $($($word,)*)*
        }

        /// Each word, its text, and what it means before a parenthesis.
        static WORDS: &[(Word, &str, Call)] = &[$($((Word::$word, $text, Call::$call),)*)*];
    };
}

words! {
    // A parenthesis after these is grammar: reserved words, or so placed that no call can be.
    Syntax {
        Select "SELECT" From "FROM" Join "JOIN" StraightJoin "STRAIGHT_JOIN" On "ON" Using "USING"
        Where "WHERE" Having "HAVING" By "BY" Group "GROUP" Window "WINDOW" Union "UNION"
        Except "EXCEPT" Intersect "INTERSECT" All "ALL" Distinct "DISTINCT"
        Distinctrow "DISTINCTROW" As "AS" In "IN" Is "IS" Like "LIKE" Rlike "RLIKE" Regexp "REGEXP"
        Between "BETWEEN" Not "NOT" And "AND" Or "OR" Xor "XOR" Div "DIV" Exists "EXISTS"
        Case "CASE" When "WHEN" Then "THEN" Else "ELSE" Values "VALUES" Value "VALUE" Row "ROW"
        Interval "INTERVAL" Binary "BINARY" Index "INDEX" Key "KEY" Partition "PARTITION"
        Match "MATCH" Limit "LIMIT" Set "SET" Default "DEFAULT" Over "OVER" Lines "LINES"
        Varchar "VARCHAR" Varbinary "VARBINARY" Decimal "DECIMAL" Dec "DEC" Numeric "NUMERIC"
        Float "FLOAT" Double "DOUBLE" Real "REAL" Int "INT" Integer "INTEGER" Bigint "BIGINT"
        Smallint "SMALLINT" Tinyint "TINYINT" Mediumint "MEDIUMINT" Character "CHARACTER" Any "ANY"
        Some "SOME" Datetime "DATETIME" Text "TEXT" Blob "BLOB" Enum "ENUM" Nchar "NCHAR" Bit "BIT"
        While "WHILE" If "IF" Return "RETURN" Returning "RETURNING"
    }
    Unknown {
        Alter "ALTER" Analyze "ANALYZE" Backup "BACKUP" Begin "BEGIN" Binlog "BINLOG" Cache "CACHE"
        Call "CALL" Chain "CHAIN" Change "CHANGE" Charset "CHARSET" Check "CHECK"
        Checksum "CHECKSUM" Clone "CLONE" Collate "COLLATE" Columns "COLUMNS" Commit "COMMIT"
        Connection "CONNECTION" Consistent "CONSISTENT" Count "COUNT" Create "CREATE"
        Current "CURRENT" Data "DATA" Database "DATABASE" Databases "DATABASES"
        Deallocate "DEALLOCATE"
        Delayed "DELAYED" Delete "DELETE" Desc "DESC" Describe "DESCRIBE" Diagnostics "DIAGNOSTICS"
        Do "DO" Drop "DROP" Dumpfile "DUMPFILE" End "END" Errors "ERRORS" Event "EVENT"
        Execute "EXECUTE" Explain "EXPLAIN" Export "EXPORT" Extended "EXTENDED" Fields "FIELDS"
        Flush "FLUSH" For "FOR" Format "FORMAT" Full "FULL" Function "FUNCTION" Get "GET"
        Global "GLOBAL" Grant "GRANT" Handler "HANDLER" Hard "HARD" Help "HELP"
        HighPriority "HIGH_PRIORITY" Ignore "IGNORE" Import "IMPORT" Indexes "INDEXES"
        Insert "INSERT" Install "INSTALL" Instance "INSTANCE" Into "INTO" Keys "KEYS" Kill "KILL"
        Load "LOAD" Local "LOCAL" Lock "LOCK" Loop "LOOP" LowPriority "LOW_PRIORITY"
        Member "MEMBER" Mod "MOD" Names "NAMES" Next "NEXT" No "NO" NoWrite "NO_WRITE_TO_BINLOG"
        Null "NULL" Of "OF" Only "ONLY" Open "OPEN" Optimize "OPTIMIZE" Order "ORDER"
        Outfile "OUTFILE" Package "PACKAGE" Partitions "PARTITIONS" Password "PASSWORD"
        Persist "PERSIST" PersistOnly "PERSIST_ONLY" Prepare "PREPARE" Previous "PREVIOUS"
        Privileges "PRIVILEGES" Procedure "PROCEDURE" Purge "PURGE" Query "QUERY" Read "READ" Recursive "RECURSIVE"
        Release "RELEASE" Rename "RENAME" Repair "REPAIR" Repeat "REPEAT" Replace "REPLACE"
        Reset "RESET" Resignal "RESIGNAL" Resource "RESOURCE" Restart "RESTART" Revoke "REVOKE"
        Role "ROLE" Rollback "ROLLBACK" Rollup "ROLLUP" Savepoint "SAVEPOINT" Schema "SCHEMA" Schemas "SCHEMAS"
        Session "SESSION" Share "SHARE" Show "SHOW" Shutdown "SHUTDOWN" Signal "SIGNAL"
        Snapshot "SNAPSHOT" Soft "SOFT" SqlBigResult "SQL_BIG_RESULT"
        SqlBufferResult "SQL_BUFFER_RESULT" SqlCache "SQL_CACHE"
        SqlCalcFoundRows "SQL_CALC_FOUND_ROWS" SqlNoCache "SQL_NO_CACHE"
        SqlSmallResult "SQL_SMALL_RESULT" Stacked "STACKED" Stage "STAGE" Start "START"
        Statement "STATEMENT" Stop "STOP" SystemPeriod "SYSTEM_TIME" Table "TABLE" Tables "TABLES" Temporary "TEMPORARY"
        Ties "TIES" To "TO" Transaction "TRANSACTION" Trigger "TRIGGER" Truncate "TRUNCATE"
        Uninstall "UNINSTALL" Unlock "UNLOCK" Update "UPDATE" Use "USE" User "USER" View "VIEW"
        Warnings "WARNINGS" With "WITH" Work "WORK" Write "WRITE" Xa "XA" Xml "XML" Offset "OFFSET"
        Fetch "FETCH"
        // Names of variables and schemas.
        ErrorCount "ERROR_COUNT" Identity "IDENTITY" LastInsertId "LAST_INSERT_ID"
        PseudoThreadId "PSEUDO_THREAD_ID" WarningCount "WARNING_COUNT" TxIsolation "TX_ISOLATION"
        TransactionIsolation "TRANSACTION_ISOLATION" TxReadOnly "TX_READ_ONLY"
        TransactionReadOnly "TRANSACTION_READ_ONLY" Currval "CURRVAL" Nextval "NEXTVAL"
        InformationSchema "INFORMATION_SCHEMA" PerformanceSchema "PERFORMANCE_SCHEMA" Mysql "MYSQL"
        Sys "SYS"
    }
}

/// An open-addressing table: a power of two well above the number of words.
const SLOTS: usize = 4096;

struct Table {
    slots: Box<[u16; SLOTS]>,
    entries: Vec<Entry>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

impl Table {
    fn build() -> Self {
        let mut table = Self { slots: Box::new([u16::MAX; SLOTS]), entries: Vec::new() };
        for &(word, text, call) in WORDS {
            table.add(text, word, call, Since::ALWAYS);
        }
        function::for_each(|text, call, since| table.add(text, Word::None, call, since));
        assert!(table.entries.len() < SLOTS / 2, "grow SLOTS: the table of words is too full");
        table
    }

    /// Adds a word, or gives one that is there its meaning as a function.
    fn add(&mut self, text: &'static str, word: Word, call: Call, since: Since) {
        let key = Key::new(text.as_bytes());
        let mut slot = Self::slot(key.hash);
        while let Some(entry) = self.entries.get_mut(usize::from(self.slots[slot])) {
            if entry.text == text {
                (entry.call, entry.since) = (call, since);
                return;
            }
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        self.entries.push(Entry { key, text, word, call, since });
    }

    fn slot(hash: u64) -> usize {
        usize::from((hash >> 48) as u16) % SLOTS
    }

    #[inline]
    fn find(&self, key: &Key, word: &[u8]) -> Option<&Entry> {
        let mut slot = Self::slot(key.hash);
        while let Some(entry) = self.entries.get(usize::from(self.slots[slot])) {
            let is_long = key.len > KEY_BYTES;
            if entry.key == *key && (!is_long || entry.text.as_bytes().eq_ignore_ascii_case(word)) {
                return Some(entry);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }
}

/// The hash of a word without regard to letter case, and what is known about it.
#[inline]
pub(super) fn look_up(word: &[u8]) -> (u64, Option<&'static Entry>) {
    let key = Key::new(word);
    (key.hash, TABLE.find(&key, word))
}

/// Mixes one value into a hash; the seed is fixed, so digests are the same in every process.
#[expect(clippy::cast_possible_truncation, reason = "both halves of the product are used")]
pub(super) fn mix(state: u64, value: u64) -> u64 {
    const A: u64 = 0x9E37_79B9_7F4A_7C15;
    const B: u64 = 0xD6E8_FEB8_6659_FD93;
    let product = u128::from(state ^ A) * u128::from(value ^ B);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A word without regard to letter case: for up to 16 bytes the length and both halves are the
/// word itself, so that equal keys are equal words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    len: usize,
    hash: u64,
    head: u64,
    tail: u64,
}

/// Words up to this length are known by their key alone.
const KEY_BYTES: usize = 16;

impl Key {
    #[inline]
    fn new(word: &[u8]) -> Self {
        let (head, tail) = Self::halves(word);
        let mut hash = mix(word.len() as u64 ^ head, tail);
        if word.len() > KEY_BYTES {
            for chunk in word.as_chunks::<8>().0 {
                hash = mix(hash, lower(u64::from_le_bytes(*chunk)));
            }
        }
        Self { len: word.len(), hash, head, tail }
    }

    /// The first and the last bytes, without a copy: they may overlap.
    #[inline]
    fn halves(word: &[u8]) -> (u64, u64) {
        if let (Some(head), Some(tail)) = (word.first_chunk::<8>(), word.last_chunk::<8>()) {
            return (lower(u64::from_le_bytes(*head)), lower(u64::from_le_bytes(*tail)));
        }
        if let (Some(head), Some(tail)) = (word.first_chunk::<4>(), word.last_chunk::<4>()) {
            let both =
                u64::from(u32::from_le_bytes(*head)) << 32 | u64::from(u32::from_le_bytes(*tail));
            return (lower(both), 0);
        }
        (lower(word.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))), 0)
    }
}

/// Eight bytes at once: sets bit 5 of each ASCII capital.
fn lower(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let low = bytes & !HIGH;
    let at_least_a = low + ONES * (0x80 - b'A' as u64);
    let above_z = low + ONES * (0x80 - b'Z' as u64 - 1);
    let is_capital = at_least_a & !above_z & !bytes & HIGH;
    bytes | (is_capital >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_capitals_and_nothing_else() {
        for byte in 0..=255_u8 {
            let wide = lower(u64::from_le_bytes([byte; 8]));
            assert_eq!(wide.to_le_bytes(), [byte.to_ascii_lowercase(); 8], "{byte}");
        }
    }

    #[test]
    fn finds_words_in_any_case() {
        for (word, text, _) in WORDS {
            let entry = look_up(text.to_ascii_lowercase().as_bytes()).1.expect(text);
            assert_eq!(entry.word, *word, "{text}");
        }
        assert!(look_up(b"selects").1.is_none());
        assert!(look_up(b"").1.is_none());
    }

    #[test]
    fn functions_depend_on_the_server() {
        let call = |name: &str, mode| look_up(name.as_bytes()).1.map(|e| e.call_for(mode));
        let mysql = Mode::new("", "", "8.0.36");
        assert_eq!(call("bin_to_uuid", Mode::default()), Some(Call::Unknown));
        assert_eq!(call("bin_to_uuid", mysql), Some(Call::Pure));
        assert_eq!(call("count", mysql), Some(Call::PureTight));
    }
}
