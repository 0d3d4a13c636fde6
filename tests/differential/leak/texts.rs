//! What the sessions say. `_X` is the session's own name, `{n}` a number from 1 to 12, `{g}` the
//! session's number.

use std::sync::OnceLock;

use crate::support::product;

/// Texts of one kind: those of all servers, of MariaDB's, of MySQL.
struct Kind {
    all: &'static [&'static str],
    mariadb: &'static [&'static str],
    mysql: &'static [&'static str],
}

impl Kind {
    fn texts(&self) -> Vec<&'static str> {
        let own = if product().is_mysql() { self.mysql } else { self.mariadb };
        self.all.iter().chain(own).copied().collect()
    }
}

/// The texts the server of this run knows, by what they are for.
pub struct Texts {
    /// Variables and schema: carried from connection to connection.
    pub state: Vec<&'static str>,
    /// What another session's state would change.
    pub reads: Vec<&'static str>,
    pub writes: Vec<&'static str>,
    /// What the last statement left.
    pub diagnostics: Vec<&'static str>,
    /// Wrong, or of another kind.
    pub odd: Vec<&'static str>,
    /// What holds a connection until the session's end or reset.
    pub holding: Vec<&'static str>,
    /// Prepared statements and how many parameters they have.
    pub prepared: Vec<(&'static str, usize)>,
}

pub fn texts() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let own = if product().is_mysql() { PREPARED_MYSQL } else { PREPARED_MARIADB };
        Texts {
            state: STATE.texts(),
            reads: READS.texts(),
            writes: WRITES.texts(),
            diagnostics: DIAGNOSTICS.texts(),
            odd: ODD.texts(),
            holding: HOLDING.texts(),
            prepared: PREPARED.iter().chain(own).copied().collect(),
        }
    })
}

/// Variables, but for those of the server or of one connection, and those that tell the schema's
/// character set: after a reset servers tell another one.
pub const ALL_VARIABLES: &str = "SHOW SESSION VARIABLES WHERE variable_name NOT LIKE 'session_track%' \
    AND variable_name NOT LIKE '%gtid%' AND variable_name NOT LIKE 'rand_seed%' \
    AND variable_name NOT LIKE '%_database' AND variable_name NOT IN ('timestamp', 'pseudo_thread_id', 'statement_id', 'external_user', \
    'proxy_user', 'last_insert_id', 'identity', 'insert_id', 'error_count', 'warning_count')";

const STATE: Kind = Kind {
    all: &[
        "SET sql_mode = ''",
        "SET sql_mode = 'ANSI_QUOTES'",
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
        "SET sql_mode = 'STRICT_ALL_TABLES'",
        "SET sql_mode = 'PIPES_AS_CONCAT,IGNORE_SPACE,NO_UNSIGNED_SUBTRACTION'",
        "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        "SET sql_mode = DEFAULT",
        "SET sql_mode = DEFAULT",
        "SET @@session.sql_mode = CONCAT(@@sql_mode, ',HIGH_NOT_PRECEDENCE')",
        "SET time_zone = '+03:00'",
        "SET time_zone = '-11:30'",
        "SET time_zone = 'SYSTEM'",
        "SET time_zone = DEFAULT",
        "SET time_zone = CONCAT('+0', 1 + 2, ':00')",
        "SET time_zone = 'Nowhere/At_all'",
        "SET NAMES latin1",
        "SET NAMES utf8mb4",
        "SET NAMES utf8mb3",
        "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'",
        "SET NAMES DEFAULT",
        "SET NAMES nothing_like_it",
        "SET CHARACTER SET latin1",
        "SET CHARACTER SET DEFAULT",
        "SET character_set_results = NULL",
        "SET character_set_results = 'latin1'",
        "SET character_set_client = latin1",
        "SET character_set_connection = latin1",
        "SET collation_connection = utf8mb4_unicode_ci",
        "SET collation_connection = DEFAULT",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION TRANSACTION READ WRITE",
        "SET sql_select_limit = 2",
        "SET sql_select_limit = 1 + 3",
        "SET sql_select_limit = DEFAULT",
        "SET group_concat_max_len = 5",
        "SET group_concat_max_len = (SELECT COUNT(*) + 4 FROM shop.lk_X)",
        "SET group_concat_max_len = DEFAULT",
        "SET foreign_key_checks = 0",
        "SET foreign_key_checks = ON",
        "SET unique_checks = OFF",
        "SET unique_checks = 1",
        "SET sql_log_bin = 0",
        "SET lc_time_names = 'de_DE'",
        "SET lc_time_names = 'fr_FR'",
        "SET lc_time_names = DEFAULT",
        "SET div_precision_increment = 2",
        "SET div_precision_increment = @@div_precision_increment + 1",
        "SET div_precision_increment = DEFAULT",
        "SET max_sort_length = 20",
        "SET max_sort_length = DEFAULT",
        "SET sort_buffer_size = 65536",
        "SET sort_buffer_size = DEFAULT",
        "SET auto_increment_increment = 3, auto_increment_offset = 2",
        "SET auto_increment_increment = DEFAULT, auto_increment_offset = DEFAULT",
        "SET sql_safe_updates = 1",
        "SET sql_safe_updates = 0",
        "SET sql_auto_is_null = 0",
        "SET sql_quote_show_create = 0",
        "SET sql_quote_show_create = 1",
        "SET sql_big_selects = 0",
        "SET sql_big_selects = 1",
        "SET max_join_size = 50000",
        "SET max_join_size = DEFAULT",
        "SET default_week_format = 3",
        "SET default_week_format = DEFAULT",
        "SET net_write_timeout = 90",
        "SET wait_timeout = 20000",
        "SET lock_wait_timeout = 40",
        "SET innodb_lock_wait_timeout = 40",
        "SET innodb_lock_wait_timeout = DEFAULT",
        "SET optimizer_switch = 'index_merge=off'",
        "SET optimizer_switch = DEFAULT",
        "SET tmp_table_size = 2000000, max_heap_table_size = 2000000",
        "SET tmp_table_size = DEFAULT, max_heap_table_size = DEFAULT",
        "SET default_storage_engine = MEMORY",
        "SET default_storage_engine = InnoDB",
        "SET low_priority_updates = 1",
        "SET low_priority_updates = 0",
        "SET sql_warnings = 1",
        "SET sql_warnings = 0",
        "SET sql_notes = 0",
        "SET sql_notes = 1",
        "SET max_error_count = 1",
        "SET max_error_count = DEFAULT",
        "SET sql_buffer_result = 1",
        "SET sql_buffer_result = 0",
        "SET block_encryption_mode = 'aes-256-cbc'",
        "SET block_encryption_mode = DEFAULT",
        "SET updatable_views_with_limit = 0",
        "SET eq_range_index_dive_limit = 5",
        "SET long_query_time = 7.5",
        "SET sql_select_limit = 3, time_zone = 'Nowhere/At_all'",
        "SET div_precision_increment = 1, nothing_like_it = 2",
        "SET sql_mode = 'nothing_like_it'",
        "SET lc_messages = 'en_US'",
        "SET character_set_filesystem = utf8mb4",
        "SET collation_server = utf8mb4_bin",
        "SET sort_buffer_size = 1",
        "SET big_tables = 1",
        "SET big_tables = 0",
        "SET last_insert_id = {n}",
        "SET identity = {n}",
        "USE shop",
        "USE shop",
        "USE test_leak",
        "USE test_leak",
        "USE information_schema",
        "USE nowhere",
    ],
    mariadb: &[
        "SET max_statement_time = 40",
        "SET max_statement_time = DEFAULT",
        "SET tx_isolation = 'READ-UNCOMMITTED'",
        "SET SESSION tx_read_only = 0",
        "SET old_mode = 'NO_DUP_KEY_WARNINGS_WITH_IGNORE'",
        "SET old_mode = DEFAULT",
        "SET max_recursive_iterations = 5",
        "SET max_recursive_iterations = DEFAULT",
        "SET column_compression_threshold = 50",
        "SET sql_if_exists = 1",
        "SET sql_if_exists = 0",
        "SET sql_mode = 'EMPTY_STRING_IS_NULL'",
        "SET alter_algorithm = 'INPLACE'",
        "SET alter_algorithm = DEFAULT",
        "SET check_constraint_checks = 0",
        "SET check_constraint_checks = 1",
        "SET default_tmp_storage_engine = NULL",
        "SET STATEMENT sql_select_limit = 1 FOR SELECT k FROM shop.lk_X ORDER BY k",
        "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT \"k\" FROM shop.lk_X ORDER BY k LIMIT 2",
        "SET STATEMENT time_zone = '+09:00', div_precision_increment = 1 FOR \
         SELECT FROM_UNIXTIME(0), 1/3",
        "SET STATEMENT max_statement_time = 30 FOR UPDATE shop.lk_X SET v = v + 1 WHERE k = {n}",
        "SET STATEMENT group_concat_max_len = 4 FOR SELECT nothing_like_it",
        "SET STATEMENT auto_increment_increment = 7 FOR INSERT INTO shop.lk_X (v) VALUES ({n})",
    ],
    mysql: &[
        "SET max_execution_time = 40000",
        "SET max_execution_time = DEFAULT",
        "SET transaction_isolation = 'READ-UNCOMMITTED'",
        "SET SESSION transaction_read_only = 0",
        "SET cte_max_recursion_depth = 5",
        "SET cte_max_recursion_depth = DEFAULT",
        "SET information_schema_stats_expiry = 0",
        "SET windowing_use_high_precision = 0",
        "SET windowing_use_high_precision = DEFAULT",
        "SET show_create_table_verbosity = 1",
        "SET show_create_table_verbosity = 0",
        "SET print_identified_with_as_hex = 1",
        "SET sql_require_primary_key = 1",
        "SET default_tmp_storage_engine = MEMORY",
        "SET SESSION generated_random_password_length = 30",
        "SET collation_connection = utf8mb4_0900_as_cs",
        "SELECT /*+ SET_VAR(sql_mode = 'ANSI_QUOTES') */ @@sql_mode",
        "SELECT /*+ SET_VAR(group_concat_max_len = 4) */ GROUP_CONCAT(k ORDER BY k) FROM shop.lk_X",
        "SELECT /*+ SET_VAR(sort_buffer_size = 70000) SET_VAR(sql_select_limit = 1) */ \
         @@sort_buffer_size, k FROM shop.lk_X ORDER BY k",
        "SELECT /*+ SET_VAR(div_precision_increment = 1) */ 1/3, nothing_like_it",
        "INSERT /*+ SET_VAR(auto_increment_increment = 7) */ INTO shop.lk_X (v) VALUES ({n})",
    ],
};

const READS: Kind = Kind {
    all: &[
        "SELECT @@sql_mode, @@time_zone, @@autocommit, @@sql_select_limit, DATABASE()",
        "SELECT @@character_set_client, @@character_set_results, @@collation_connection, \
         @@character_set_connection",
        "SELECT @@group_concat_max_len, @@foreign_key_checks, @@unique_checks, @@lc_time_names, \
         @@div_precision_increment, @@lc_messages",
        "SELECT @@max_sort_length, @@sort_buffer_size, @@sql_safe_updates, @@sql_auto_is_null, \
         @@sql_notes, @@max_error_count, @@default_storage_engine, @@sql_warnings",
        "SELECT @@auto_increment_increment, @@auto_increment_offset, @@optimizer_switch, \
         @@max_join_size, @@sql_big_selects, @@wait_timeout, @@big_tables",
        "SELECT CHARSET('a'), COLLATION('a'), HEX('\u{e9}'), 'caf\u{e9}'",
        "SELECT GROUP_CONCAT(s ORDER BY k, id), COUNT(*) FROM shop.lk_X",
        "SELECT 1/3, DATE_FORMAT('2026-03-01', '%M %W'), FROM_UNIXTIME(86400), WEEK('2026-01-01')",
        "SELECT 'a\\\\b', LENGTH('\\\\'), 'a' || 'b', NOT 1 BETWEEN 0 AND 5",
        "SELECT COUNT(\"k\") FROM shop.lk_X",
        "SELECT k, v, s FROM lk_X ORDER BY k, id LIMIT 5",
        "SELECT k, v FROM shop.lk_X ORDER BY k, id",
        "SELECT COUNT(*), MAX(v), SUM(w) FROM test_leak.lk_X",
        "SELECT v FROM shop.lk_X WHERE k = {n}",
        "SELECT k FROM shop.lk_X WHERE k > {n} ORDER BY k LIMIT 3",
        "SELECT seq FROM shop.seq_1_to_9",
        "SELECT CAST(1 AS UNSIGNED) - {n}",
        // Flags of a sorted column tell in which order the optimizer took the tables.
        "SELECT COUNT(*), MAX(a.k) FROM shop.lk_X a JOIN test_leak.lk_X b ON a.k = b.k",
        "SELECT k, s FROM lv_X ORDER BY k, v, s",
        "SHOW TABLES LIKE 'lk_X'",
        "SHOW COLUMNS FROM lk_X",
        "SELECT CURRENT_USER(), CURRENT_ROLE() <=> 'lk_role'",
        "SELECT IS_FREE_LOCK('lk_X_free')",
        "SELECT k FROM shop.lk_X WHERE k = {n} FOR UPDATE",
        "SELECT @a, @b, @c",
        "SELECT AES_ENCRYPT('a', 'b', '0123456789012345') = 'x', COUNT(*) FROM shop.lk_X",
        "SELECT 1",
        "DO 0",
    ],
    mariadb: &[
        "SELECT @@tx_isolation, @@tx_read_only, @@in_transaction, @@max_statement_time, @@old_mode",
        "SELECT k FROM shop.lk_X WHERE k = {n} LOCK IN SHARE MODE NOWAIT",
        "SELECT k FROM shop.lk_X WHERE k = {n} FOR UPDATE WAIT 9",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT @@last_insert_id IS NULL, @@rowid_merge_buff_size",
        "SELECT '' IS NULL, CONCAT('', 'a')",
        "SHOW CREATE TABLE shop.lv_X",
    ],
    mysql: &[
        "SELECT @@transaction_isolation, @@transaction_read_only, @@max_execution_time, \
         @@cte_max_recursion_depth, @@default_tmp_storage_engine",
        "SELECT k FROM shop.lk_X WHERE k = {n} FOR SHARE NOWAIT",
        "TABLE test_leak.lk_X ORDER BY id LIMIT 2",
        // MySQL's text of a view has the sql_buffer_result of whoever opened it first.
        "SHOW COLUMNS FROM shop.lv_X",
        "VALUES ROW(1, 'a'), ROW(2, 'b')",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 9) \
         SELECT MAX(i) FROM n",
    ],
};

const WRITES: Kind = Kind {
    all: &[
        "INSERT INTO shop.lk_X (k, v) VALUES ({n}, 1)",
        "INSERT INTO shop.lk_X (v) VALUES ({n})",
        "INSERT INTO lk_X (v, s) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO test_leak.lk_X (k, v) VALUES ({n}, 5)",
        "INSERT INTO test_leak.lk_X (v) VALUES (LAST_INSERT_ID())",
        "INSERT IGNORE INTO shop.lk_X (k, v) VALUES ({n}, 2), (1, 3)",
        "INSERT INTO shop.lk_X (k, s) VALUES ({n}, 'far too long for it')",
        "INSERT INTO shop.lk_X (k, v) VALUES ({n}, 4) ON DUPLICATE KEY UPDATE v = v + 1",
        "INSERT INTO shop.lk_X (k, v) VALUES ({n}, 4) \
         ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = 7",
        "INSERT INTO shop.lk_X (id, k, v) VALUES (0, {n}, 9)",
        "INSERT INTO test_leak.lk_X (v, s) SELECT v, s FROM shop.lk_X ORDER BY id LIMIT 2",
        "REPLACE INTO shop.lk_X (k, v) VALUES ({n}, 6)",
        "UPDATE shop.lk_X SET v = v + 1 WHERE k = {n}",
        "UPDATE shop.lk_X SET v = v + 1 WHERE k < {n}",
        "UPDATE lk_X SET s = CONCAT('u', {n}) WHERE k = {n}",
        "UPDATE shop.lk_X SET s = 'far too long for it' WHERE k = {n}",
        "UPDATE shop.lk_X SET v = LAST_INSERT_ID(v + 100) WHERE k = {n}",
        "UPDATE shop.lk_X SET s = 'safe' ORDER BY id LIMIT 1",
        "UPDATE shop.lk_X SET v = 1/0 WHERE k = {n}",
        "DELETE FROM shop.lk_X WHERE k = {n}",
        "DELETE FROM shop.lk_X WHERE k > 12 OR k IS NULL",
        "DELETE FROM test_leak.lk_X WHERE k IS NULL",
        "DELETE FROM lk_X WHERE k = {n}",
        "UPDATE lv_X SET v = 3 WHERE k = {n}",
    ],
    mariadb: &[
        "INSERT INTO shop.lk_X (v) VALUES ({n}) RETURNING id > 0, v",
        "DELETE FROM shop.lk_X WHERE k = {n} RETURNING v, s",
        "REPLACE INTO shop.lk_X (k, v) VALUES ({n}, 8) RETURNING k",
    ],
    mysql: &[
        "INSERT INTO shop.lk_X (k, v) VALUES ({n}, 4) AS new ON DUPLICATE KEY UPDATE v = new.v + 1",
    ],
};

const DIAGNOSTICS: Kind = Kind {
    all: &[
        "SELECT LAST_INSERT_ID()",
        "SELECT LAST_INSERT_ID()",
        "SELECT ROW_COUNT()",
        "SELECT ROW_COUNT(), LAST_INSERT_ID()",
        "SELECT @@identity, @@last_insert_id",
        "SELECT @@insert_id",
        "SHOW WARNINGS",
        "SHOW WARNINGS",
        "SHOW ERRORS",
        "SHOW COUNT(*) WARNINGS",
        "SHOW COUNT(*) ERRORS",
        "SHOW WARNINGS LIMIT 1",
        "SELECT @@warning_count, @@error_count",
        "SELECT 1/0, 5/0",
        "SELECT CAST('x' AS SIGNED)",
        "SELECT CAST('12abc' AS SIGNED) FROM shop.lk_X ORDER BY id LIMIT 2",
        "SELECT nothing_like_it",
        "SELECT nothing_like_it FROM shop.lk_X",
        "SELEC 1",
        "SELECT k FROM ln_X",
        "DROP TABLE IF EXISTS shop.ln_X",
    ],
    mariadb: &["SELECT FOUND_ROWS()", "SELECT FOUND_ROWS(), ROW_COUNT()"],
    mysql: &[],
};

const ODD: Kind = Kind {
    all: &[
        "ALTER TABLE shop.lk_X COMMENT = 'c{n}'",
        "ANALYZE TABLE shop.ln_X",
        "CALL shop.lp_none()",
        "SELECT shop.lf_none(1)",
        "GRANT SELECT ON shop.lk_X TO nobody_like_it@localhost",
        "ROLLBACK TO nothing_like_it",
        "UNLOCK TABLES",
        "DEALLOCATE PREPARE nothing_like_it",
        "SHOW CREATE TABLE shop.ln_X",
        "CHECK TABLE shop.ln_X",
    ],
    mariadb: &[],
    mysql: &[],
};

const HOLDING: Kind = Kind {
    all: &[
        "SET @a = {n}",
        "SET @a = {n} + 1, @b = 'x', sql_select_limit = 9",
        "SET @b = (SELECT COUNT(*) FROM shop.lk_X)",
        "SET @c = @a",
        "SELECT @a := {n}, @b",
        "SELECT v INTO @b FROM shop.lk_X WHERE k = {n}",
        "SELECT COUNT(*), MAX(v) FROM shop.lk_X INTO @a, @c",
        "CALL shop.lp_out({n}, @a)",
        "CALL shop.lp_two()",
        "SELECT shop.lf_plus({n}) + 1",
        "SELECT {n}; SELECT ROW_COUNT(); UPDATE shop.lk_X SET s = 'm' WHERE k = {n}",
        "INSERT INTO shop.lk_X (v) VALUES (5); SELECT LAST_INSERT_ID() > 0; SELECT nothing_like_it",
        "SET sql_select_limit = 4; SELECT k FROM shop.lk_X ORDER BY id; SELECT @@sql_select_limit",
        "USE test_leak; SELECT COUNT(*), DATABASE() FROM shop.lk_X; SHOW WARNINGS",
        "SELECT 1/0 FROM shop.lk_X; SHOW WARNINGS",
        "SET NAMES latin1; SELECT COUNT(*), 'caf\u{e9}' FROM shop.lk_X",
        "DO 1; SET time_zone = '+01:00'; SELEC",
        "BEGIN; UPDATE shop.lk_X SET v = 77 WHERE k = 1; COMMIT",
        "BEGIN; UPDATE shop.lk_X SET v = 78 WHERE k = 1; ROLLBACK; SELECT 1",
        "CALL shop.lp_state({n})",
        "SELECT shop.lf_sets({n})",
        "SELECT shop.lf_both({n})",
        "INSERT INTO test_leak.lr_X VALUES ({n})",
        "CREATE TEMPORARY TABLE lk_X (a INT AUTO_INCREMENT PRIMARY KEY, k INT, v INT, s VARCHAR(2))",
        "CREATE TEMPORARY TABLE shop.lt_X (a INT)",
        "CREATE TEMPORARY TABLE IF NOT EXISTS shop.lt_X SELECT 1 AS a",
        "INSERT INTO shop.lt_X VALUES ({n})",
        "SELECT COUNT(*), MAX(a) FROM shop.lt_X",
        "DROP TEMPORARY TABLE IF EXISTS shop.lt_X",
        "DROP TEMPORARY TABLE lk_X",
        "ALTER TABLE shop.lt_X ADD COLUMN IF NOT EXISTS b INT",
        "SELECT GET_LOCK('lk_X_{g}', 0)",
        "SELECT GET_LOCK('lk_X_{g}b', 0)",
        "SELECT RELEASE_LOCK('lk_X_{g}')",
        "SELECT RELEASE_ALL_LOCKS()",
        "SELECT IS_FREE_LOCK('lk_X_{g}'), IS_USED_LOCK('lk_X_{g}b') IS NULL",
        "PREPARE s FROM 'SELECT ? + 1'",
        "PREPARE s FROM 'SELECT k, v FROM lk_X WHERE k < ? ORDER BY k, v'",
        "PREPARE t FROM 'INSERT INTO shop.lk_X (v) VALUES (?)'",
        "EXECUTE s USING @a",
        "EXECUTE t USING @a",
        "DEALLOCATE PREPARE s",
        "HANDLER shop.lk_X OPEN AS h",
        "HANDLER h READ FIRST",
        "HANDLER h READ NEXT LIMIT 2",
        "HANDLER h CLOSE",
        "SET ROLE lk_role",
        "SET ROLE NONE",
        "SET ROLE nothing_like_it",
        "SELECT LAST_INSERT_ID({n})",
        "SELECT LAST_INSERT_ID(k) FROM shop.lk_X ORDER BY id LIMIT 1",
        "SET timestamp = 1000000{n}",
        "SELECT IF(@@timestamp < 500000000, NOW(), 0)",
        "SET sql_auto_is_null = 1",
        "SELECT id IS NOT NULL FROM shop.lk_X WHERE id IS NULL",
        "SET rand_seed1 = {n}, rand_seed2 = 5",
        "SET timestamp = DEFAULT",
    ],
    mariadb: &[
        "SET insert_id = 1000{n}",
        "EXECUTE IMMEDIATE 'SELECT ? * 2' USING {n}",
        "EXECUTE IMMEDIATE 'SET time_zone = ''+04:00'''",
        "BEGIN NOT ATOMIC SELECT 1; SET sql_select_limit = 8; END",
        "SET STATEMENT max_statement_time = 30 FOR SELECT 1; SET sql_select_limit = 7",
        "SET STATEMENT max_statement_time = 30 FOR SET div_precision_increment = {n}",
        "CREATE OR REPLACE TEMPORARY TABLE shop.lt_X (a INT, b INT)",
        "BEGIN NOT ATOMIC DECLARE x INT DEFAULT {n}; INSERT INTO shop.lk_X (v) VALUES (x); END",
        "SET @@pseudo_thread_id = @@pseudo_thread_id",
        // A routine called by schema and name may be a package's then, whose variables are the session's.
        "SET sql_mode = 'ORACLE'",
    ],
    mysql: &[
        // One above the table's counter moves that by the increment that MySQL's handler of the table has
        // had last.
        "SET insert_id = 3",
    ],
};

const PREPARED: &[(&str, usize)] = &[
    ("SELECT k, v, s FROM lk_X WHERE k > ? ORDER BY k, v, s", 1),
    ("SELECT k, v FROM shop.lk_X WHERE k < ? ORDER BY k, v", 1),
    ("SELECT ?, ?", 2),
    // A server prepares anew what uses a table that has changed, and texts in it by the character set of
    // then, see docs/compatibility.md.
    ("SELECT COUNT(\"k\") FROM shop.lk_X", 0),
    ("SELECT 'a' || 'b', 'a\\\\b'", 0),
    ("SELECT DATABASE(), @@sql_mode, @@time_zone, 'caf\u{e9}'", 0),
    ("SELECT CHARSET('a'), COLLATION('a')", 0),
    ("SELECT 1/0, 1/3, WEEK('2026-01-01')", 0),
    ("SELECT LAST_INSERT_ID()", 0),
    ("SELECT ROW_COUNT()", 0),
    ("INSERT INTO shop.lk_X (v) VALUES (?)", 1),
    ("INSERT INTO lk_X (k, v) VALUES (?, ?)", 2),
    ("INSERT INTO test_leak.lk_X (v, s) VALUES (?, 'p')", 1),
    ("UPDATE shop.lk_X SET v = ? WHERE k = ?", 2),
    ("DELETE FROM lk_X WHERE k = ?", 1),
    ("REPLACE INTO shop.lk_X (k, v) VALUES (?, 1)", 1),
    ("SELECT 5", 0),
    ("SELECT nothing_like_it", 0),
    ("SELEC ?", 0),
    ("SELECT seq FROM shop.seq_1_to_9", 0),
    ("SELECT * FROM lz_X WHERE a > ?", 1),
    ("SHOW COLUMNS FROM lk_X", 0),
    ("SET time_zone = '+06:00'", 0),
    ("DO 1/0", 0),
    ("SELECT s FROM shop.lk_X WHERE s = 'A' ORDER BY id", 0),
    ("SELECT GROUP_CONCAT(s ORDER BY id) FROM lk_X", 0),
    ("SELECT k, v FROM shop.lk_X WHERE k = ? FOR UPDATE", 1),
];

const PREPARED_MARIADB: &[(&str, usize)] = &[
    // MySQL prepares these anew in the circumstances of the first value, see
    // docs/compatibility.md.
    ("SELECT CHARSET('a'), COLLATION('a'), ?", 1),
    ("SELECT 1/0, ?", 1),
    ("SET sql_select_limit = ?", 1),
    ("INSERT INTO shop.lk_X (v) VALUES (?) RETURNING v", 1),
    ("SET STATEMENT sql_select_limit = 1 FOR SELECT k FROM shop.lk_X ORDER BY k", 0),
];

const PREPARED_MYSQL: &[(&str, usize)] = &[(
    "SELECT /*+ SET_VAR(group_concat_max_len = 4) */ GROUP_CONCAT(k ORDER BY k) FROM shop.lk_X",
    0,
)];
