//! The built-in functions that a replica may answer, and those it must not.
//!
//! A name stands here only if the server itself defines it: whatever else is called may be a
//! stored function that writes. So each list says which servers have its names, from which
//! version on; on another server the same name is unknown.

use super::mode::Mode;
use super::word::{Call, SessionCall, Shape};

/// The versions that have a name built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    mariadb: u32,
    mysql: u32,
    /// The first MySQL without it.
    mysql_end: u32,
}

const NEVER: u32 = u32::MAX;

impl Since {
    /// All servers Fairlane speaks to.
    pub(super) const ALWAYS: Self = Self::of(0, 0);

    const fn of(mariadb: u32, mysql: u32) -> Self {
        Self { mariadb, mysql, mysql_end: NEVER }
    }

    const fn mariadb(version: u32) -> Self {
        Self::of(version, NEVER)
    }

    const fn mysql(version: u32) -> Self {
        Self::of(NEVER, version)
    }

    /// True if a server of this kind and version has the name built in.
    pub(super) fn holds(self, mode: Mode) -> bool {
        match mode.mariadb {
            true => mode.server_version >= self.mariadb,
            false => (self.mysql..self.mysql_end).contains(&mode.server_version),
        }
    }
}

/// Names that are functions only right before their parenthesis (unless IGNORE_SPACE is set).
const TIGHT: &str = "ADDDATE BIT_AND BIT_OR BIT_XOR COUNT CURDATE CURTIME DATE_ADD DATE_SUB \
    EXTRACT GROUP_CONCAT MAX MID MIN NOW POSITION STD STDDEV STDDEV_POP STDDEV_SAMP SUBDATE \
    SUBSTR SUBSTRING SUM SYSDATE TRIM VARIANCE VAR_POP VAR_SAMP CAST";

/// Likewise, of later origin; tight in MariaDB, not all of them in MySQL.
const TIGHT_LATER: &str = "CUME_DIST DENSE_RANK FIRST_VALUE LAG LEAD NTH_VALUE NTILE \
    PERCENT_RANK RANK JSON_ARRAYAGG JSON_OBJECTAGG";

/// Likewise, of MariaDB.
const TIGHT_MARIADB: &str = "MEDIAN PERCENTILE_CONT PERCENTILE_DISC TRIM_ORACLE";

/// Names that are built-in functions with such arguments only.
const SHAPED: &[(Shape, &str)] = &[
    (Shape::Pair, "POINT"),
    (Shape::Columns, "JSON_TABLE"),
    (Shape::Any, "POLYGON LINESTRING MULTIPOINT MULTILINESTRING MULTIPOLYGON GEOMETRYCOLLECTION"),
];

/// Grammar, or in the servers' function tables, on both sides since long ago.
const BOTH: &str = "\
    ABS ACOS ADDTIME AES_DECRYPT AES_ENCRYPT ASCII ASIN ATAN ATAN2 AVG BIN BIT_COUNT BIT_LENGTH \
    CEIL CEILING CHAR CHARACTER_LENGTH CHARSET CHAR_LENGTH COALESCE COERCIBILITY COLLATION \
    COMPRESS CONCAT CONCAT_WS CONV CONVERT CONVERT_TZ COS COT CRC32 CURRENT_DATE \
    CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DATABASE DATE DATEDIFF DATE_FORMAT \
    DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES ELT EXP EXPORT_SET \
    EXTRACTVALUE FIELD FIND_IN_SET FLOOR FORMAT FROM_BASE64 FROM_DAYS \
    FROM_UNIXTIME GET_FORMAT GREATEST HEX HOUR IF IFNULL INET6_ATON INET6_NTOA INET_ATON \
    INET_NTOA INSERT INSTR ISNULL IS_IPV4 IS_IPV4_COMPAT IS_IPV4_MAPPED IS_IPV6 JSON_ARRAY \
    JSON_ARRAY_APPEND JSON_ARRAY_INSERT JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH \
    JSON_EXTRACT JSON_INSERT JSON_KEYS JSON_LENGTH JSON_OBJECT JSON_QUOTE JSON_REMOVE JSON_REPLACE JSON_SEARCH JSON_SET \
    JSON_TYPE JSON_UNQUOTE JSON_VALID LAST_DAY LCASE LEAST LEFT \
    LENGTH LN LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKEDATE MAKETIME \
    MAKE_SET MICROSECOND MINUTE MOD MONTH MONTHNAME NAME_CONST NULLIF OCT \
    OCTET_LENGTH ORD PERIOD_ADD PERIOD_DIFF PI POW POWER QUARTER QUOTE RADIANS \
    RAND REPEAT REPLACE REVERSE RIGHT ROUND \
    RPAD RTRIM SCHEMA SECOND SEC_TO_TIME SHA2 SIGN SIN SOUNDEX SPACE SQRT \
    STRCMP STR_TO_DATE SUBSTRING_INDEX SUBTIME TAN TIME TIMEDIFF TIMESTAMP TIMESTAMPADD \
    TIMESTAMPDIFF TIME_FORMAT TIME_TO_SEC TO_BASE64 TO_DAYS TO_SECONDS TRUNCATE UCASE UNCOMPRESS \
    UNCOMPRESSED_LENGTH UNHEX UNIX_TIMESTAMP UPDATEXML UPPER UTC_DATE UTC_TIME UTC_TIMESTAMP \
    UUID WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEAR YEARWEEK \
    ST_AREA ST_ASBINARY ST_ASGEOJSON ST_ASTEXT ST_ASWKB ST_ASWKT ST_BUFFER ST_CENTROID \
    ST_CONTAINS ST_CONVEXHULL ST_CROSSES ST_DIFFERENCE ST_DIMENSION ST_DISJOINT ST_DISTANCE \
    ST_DISTANCE_SPHERE ST_ENDPOINT ST_ENVELOPE ST_EQUALS ST_EXTERIORRING ST_GEOMCOLLFROMTEXT \
    ST_GEOMCOLLFROMWKB ST_GEOMETRYCOLLECTIONFROMTEXT ST_GEOMETRYCOLLECTIONFROMWKB \
    ST_GEOMETRYFROMTEXT ST_GEOMETRYFROMWKB ST_GEOMETRYN ST_GEOMETRYTYPE ST_GEOMFROMGEOJSON \
    ST_GEOMFROMTEXT ST_GEOMFROMWKB ST_INTERIORRINGN ST_INTERSECTION ST_INTERSECTS ST_ISCLOSED \
    ST_ISEMPTY ST_ISSIMPLE ST_LENGTH ST_LINEFROMTEXT ST_LINEFROMWKB ST_LINESTRINGFROMTEXT \
    ST_LINESTRINGFROMWKB ST_NUMGEOMETRIES ST_NUMINTERIORRINGS ST_NUMPOINTS ST_OVERLAPS \
    ST_POINTFROMTEXT ST_POINTFROMWKB ST_POINTN ST_POLYFROMTEXT ST_POLYFROMWKB \
    ST_POLYGONFROMTEXT ST_POLYGONFROMWKB ST_SRID ST_STARTPOINT ST_SYMDIFFERENCE ST_TOUCHES \
    ST_UNION ST_WITHIN ST_X ST_Y MBRCONTAINS MBRDISJOINT MBREQUALS MBRINTERSECTS MBROVERLAPS \
    MBRTOUCHES MBRWITHIN";

/// MariaDB 10.6, the oldest that is kept up, and what later versions added.
const MARIADB: &[(u32, &str)] = &[
    (
        0,
        "ADD_MONTHS AREA ASBINARY ASTEXT ASWKB ASWKT BOUNDARY BUFFER CENTROID CHR \
        COLUMN_ADD COLUMN_CHECK COLUMN_CREATE COLUMN_DELETE COLUMN_EXISTS COLUMN_GET COLUMN_JSON \
        COLUMN_LIST CONTAINS CONVEXHULL CROSSES  DECODE DECODE_HISTOGRAM DIMENSION \
        DISJOINT ENCODE ENCRYPT ENDPOINT ENVELOPE EQUALS EXTERIORRING GEOMCOLLFROMTEXT \
        GEOMCOLLFROMWKB GEOMETRYCOLLECTIONFROMTEXT GEOMETRYCOLLECTIONFROMWKB GEOMETRYFROMTEXT \
        GEOMETRYFROMWKB GEOMETRYN GEOMETRYTYPE GEOMFROMTEXT GEOMFROMWKB GLENGTH INTERIORRINGN \
        INTERSECTS ISCLOSED ISEMPTY ISRING ISSIMPLE JSON_COMPACT JSON_DETAILED \
        JSON_EXISTS JSON_LOOSE JSON_QUERY LENGTHB LINEFROMTEXT LINEFROMWKB \
        LINESTRINGFROMTEXT LINESTRINGFROMWKB MLINEFROMTEXT MLINEFROMWKB MPOINTFROMTEXT \
        MPOINTFROMWKB MPOLYFROMTEXT MPOLYFROMWKB MULTILINESTRINGFROMTEXT MULTILINESTRINGFROMWKB \
        MULTIPOINTFROMTEXT MULTIPOINTFROMWKB MULTIPOLYGONFROMTEXT MULTIPOLYGONFROMWKB \
        NUMGEOMETRIES NUMINTERIORRINGS NUMPOINTS NVL NVL2 OLD_PASSWORD OVERLAPS PASSWORD \
        POINTFROMTEXT POINTFROMWKB POINTN POINTONSURFACE \
        POLYFROMTEXT POLYFROMWKB POLYGONFROMTEXT POLYGONFROMWKB SRID STARTPOINT ST_BOUNDARY \
        ST_ISRING ST_POINTONSURFACE ST_RELATE SYS_GUID TOUCHES TO_CHAR WITHIN X Y \
        MBREQUAL LPAD_ORACLE RPAD_ORACLE LTRIM_ORACLE RTRIM_ORACLE SUBSTR_ORACLE \
        REPLACE_ORACLE CONCAT_OPERATOR_ORACLE DECODE_ORACLE",
    ),
    (100_700, "JSON_EQUALS JSON_NORMALIZE NATURAL_SORT_KEY SFORMAT"),
    (100_800, "CRC32C"),
    (110_200, "JSON_ARRAY_INTERSECT JSON_KEY_VALUE JSON_OBJECT_FILTER_KEYS JSON_OBJECT_TO_ARRAY"),
    (110_300, "KDF"),
    (
        110_701,
        "UUID_V4 UUID_V7 VEC_DISTANCE VEC_DISTANCE_COSINE VEC_DISTANCE_EUCLIDEAN VEC_FROMTEXT VEC_TOTEXT",
    ),
];

/// MySQL 8.0 and what later versions added.
const MYSQL: &[(u32, &str)] = &[
    (
        80_000,
        "ST_SIMPLIFY ANY_VALUE BIN_TO_UUID GROUPING GTID_SUBSET GTID_SUBTRACT IS_UUID \
        JSON_STORAGE_FREE JSON_STORAGE_SIZE REGEXP_LIKE STATEMENT_DIGEST \
        STATEMENT_DIGEST_TEXT ST_GEOHASH ST_ISVALID ST_LATFROMGEOHASH ST_LATITUDE \
        ST_LONGFROMGEOHASH ST_LONGITUDE ST_MAKEENVELOPE ST_MLINEFROMTEXT ST_MLINEFROMWKB \
        ST_MPOINTFROMTEXT ST_MPOINTFROMWKB ST_MPOLYFROMTEXT ST_MPOLYFROMWKB \
        ST_MULTILINESTRINGFROMTEXT ST_MULTILINESTRINGFROMWKB ST_MULTIPOINTFROMTEXT \
        ST_MULTIPOINTFROMWKB ST_MULTIPOLYGONFROMTEXT ST_MULTIPOLYGONFROMWKB \
        ST_NUMINTERIORRING ST_POINTFROMGEOHASH ST_SWAPXY ST_VALIDATE UUID_TO_BIN",
    ),
    (80_017, "JSON_SCHEMA_VALIDATION_REPORT"),
    (80_016, "FORMAT_BYTES"),
    (80_013, "ST_TRANSFORM"),
    (80_014, "LATERAL"),
    (
        80_024,
        "ST_HAUSDORFFDISTANCE ST_FRECHETDISTANCE ST_LINEINTERPOLATEPOINT \
        ST_LINEINTERPOLATEPOINTS ST_POINTATDISTANCE",
    ),
    (90_000, "FROM_VECTOR STRING_TO_VECTOR TO_VECTOR VECTOR_DIM VECTOR_TO_STRING"),
];

/// Functions that must run on the session's own connection or on the primary.
const SESSION: &[(SessionCall, Since, &str)] = &[
    (SessionCall::TakesLock, Since::ALWAYS, "GET_LOCK"),
    // They are loaded from files.
    (
        SessionCall::TakesServiceLock,
        Since::mysql(0),
        "SERVICE_GET_READ_LOCKS SERVICE_GET_WRITE_LOCKS VERSION_TOKENS_LOCK_SHARED \
        VERSION_TOKENS_LOCK_EXCLUSIVE",
    ),
    (SessionCall::AsksLock, Since::mysql(0), "SERVICE_RELEASE_LOCKS VERSION_TOKENS_UNLOCK"),
    (
        SessionCall::AsksLock,
        Since::ALWAYS,
        "RELEASE_LOCK RELEASE_ALL_LOCKS IS_FREE_LOCK IS_USED_LOCK",
    ),
    (SessionCall::LastInsertId, Since::ALWAYS, "LAST_INSERT_ID"),
    (SessionCall::RowCount, Since::ALWAYS, "ROW_COUNT"),
    (SessionCall::FoundRows, Since::ALWAYS, "FOUND_ROWS"),
    (SessionCall::ConnectionId, Since::ALWAYS, "CONNECTION_ID"),
    (SessionCall::TakesSequence, Since::mariadb(0), "NEXTVAL SETVAL"),
    (SessionCall::AsksSequence, Since::mariadb(0), "LASTVAL"),
    (
        SessionCall::ServerBound,
        Since::ALWAYS,
        "SLEEP BENCHMARK LOAD_FILE MASTER_POS_WAIT UUID_SHORT USER SESSION_USER SYSTEM_USER VERSION",
    ),
    (
        SessionCall::ServerBound,
        Since::mariadb(0),
        "MASTER_GTID_WAIT BINLOG_GTID_POS DES_ENCRYPT DES_DECRYPT WSREP_LAST_SEEN_GTID \
        WSREP_LAST_WRITTEN_GTID WSREP_SYNC_WAIT_UPTO_GTID ROWNUM",
    ),
    (
        SessionCall::ServerBound,
        Since::mysql(80_000),
        "WAIT_FOR_EXECUTED_GTID_SET VALIDATE_PASSWORD_STRENGTH ROLES_GRAPHML",
    ),
    (SessionCall::ServerBound, Since::mysql(80_004), "ICU_VERSION"),
    (SessionCall::ServerBound, Since::mysql(80_016), "PS_THREAD_ID PS_CURRENT_THREAD_ID"),
    (SessionCall::ServerBound, Since::mysql(80_026), "SOURCE_POS_WAIT"),
];

/// Hands every name with its meaning to `add`.
pub(super) fn for_each(mut add: impl FnMut(&'static str, Call, Since)) {
    let mut add_all = |names: &'static str, call, since| {
        names.split_ascii_whitespace().for_each(|name| add(name, call, since));
    };
    add_all(BOTH, Call::Pure, Since::ALWAYS);
    // A component has them since, where it is installed.
    add_all("MD5 SHA SHA1", Call::Pure, Since { mysql_end: 90_600, ..Since::ALWAYS });
    add_all(TIGHT, Call::PureTight, Since::ALWAYS);
    for &(shape, names) in SHAPED {
        add_all(names, Call::PureIf(shape), Since::ALWAYS);
    }
    for &(version, names) in MYSQL {
        add_all(names, Call::Pure, Since::mysql(version));
    }
    for &(version, names) in MARIADB {
        add_all(names, Call::Pure, Since::mariadb(version));
    }
    add_all(TIGHT_LATER, Call::PureTight, Since::of(0, 80_000));
    add_all(TIGHT_MARIADB, Call::PureTight, Since::mariadb(0));
    add_all("ST_COLLECT", Call::PureTight, Since::mysql(80_024));
    for &(version, mariadb, names) in SHARED {
        add_all(names, Call::Pure, Since::of(mariadb, version));
    }
    for &(version, names) in LATER_SYNTAX {
        add_all(names, Call::Syntax, Since::of(0, version));
    }
    for &(call, since, names) in SESSION {
        add_all(names, Call::Session(call), since);
    }
}

/// Names both servers have, from different versions on: MySQL's version, MariaDB's, names.
const SHARED: &[(u32, u32, &str)] = &[
    (80_017, 100_900, "JSON_OVERLAPS"),
    (80_017, 110_100, "JSON_SCHEMA_VALID"),
    (80_000, 101_000, "RANDOM_BYTES"),
    (80_016, 110_000, "FORMAT_PICO_TIME"),
    (80_000, 0, "JSON_PRETTY JSON_MERGE JSON_MERGE_PATCH JSON_MERGE_PRESERVE CURRENT_ROLE"),
    (80_000, 0, "ROW_NUMBER LAST_VALUE"),
    (80_004, 0, "REGEXP_INSTR REGEXP_REPLACE REGEXP_SUBSTR"),
    (80_021, 0, "JSON_VALUE"),
];

/// Words of the grammar that are younger than the oldest servers: before, they are names.
const LATER_SYNTAX: &[(u32, &str)] =
    &[(80_002, "OVER WINDOW EXCEPT"), (80_031, "INTERSECT RETURNING")];

#[cfg(test)]
mod tests {
    use crate::sql::{Class, Effects, Mode, Reason, classify};

    #[test]
    fn names_of_the_other_family_may_be_stored_functions() {
        let (mariadb, mysql) = ("10.11.6-MariaDB", "9.7.4");
        let reason = |sql: &str, version| {
            let verdict = classify(sql.as_bytes(), Mode::new("", "utf8mb4", version));
            (verdict.reason, verdict.effects.contains(Effects::OPAQUE))
        };
        let unknown = (Reason::UnknownFunction, true);
        for name in ["NEXTVAL", "setval", "LASTVAL", "ROWNUM", "wsrep_last_seen_gtid"] {
            let sql = format!("SELECT {name}(a)");
            assert_eq!(reason(&sql, mysql), unknown, "{name}");
            assert_ne!(reason(&sql, mariadb), unknown, "{name}");
        }
        for name in ["PS_THREAD_ID", "roles_graphml", "SOURCE_POS_WAIT", "VERSION_TOKENS_UNLOCK"] {
            let sql = format!("SELECT {name}(a)");
            assert_eq!(reason(&sql, mariadb), unknown, "{name}");
            assert_ne!(reason(&sql, mysql), unknown, "{name}");
        }
    }

    #[test]
    fn a_column_may_have_the_name_of_what_a_sequence_gives() {
        for sql in ["SELECT s.nextval FROM s", "SELECT d.s.`currval`", "SELECT `s`.`nextval`"] {
            for (sql_mode, reason) in [("", Reason::PlainRead), ("ORACLE", Reason::Sequence)] {
                let mode = Mode::new(sql_mode, "utf8mb4", "10.11.6-MariaDB");
                assert_eq!(classify(sql.as_bytes(), mode).reason, reason, "{sql} {sql_mode}");
            }
        }
    }

    #[test]
    fn a_name_that_a_server_no_longer_has_may_be_a_stored_function() {
        for (version, is_built_in) in
            [("8.0.36", true), ("9.5.0", true), ("9.6.0", false), ("10.11.6-MariaDB", true)]
        {
            let mode = Mode::new("", "utf8mb4", version);
            for name in ["MD5", "sha", "SHA1"] {
                let verdict = classify(format!("SELECT {name}('a')").as_bytes(), mode);
                assert_eq!(verdict.class == Class::Read, is_built_in, "{name} on {version}");
            }
        }
    }
}
