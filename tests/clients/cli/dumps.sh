#!/usr/bin/env bash
# Dumps of a schema with everything in it, their restores, and the slap load: through Fairlane as
# on the server itself, whose port is FAIRLANE_TEST_SERVER_PORT, with the programs of its own family
# (FAIRLANE_TEST_FAMILY: mariadb or mysql; those of MySQL know no mysql_native_password). As root.
set -euo pipefail
host=$FAIRLANE_TEST_HOST user=$FAIRLANE_TEST_USER password=$FAIRLANE_TEST_PASSWORD
family=$FAIRLANE_TEST_FAMILY
case $family in
    mariadb) client=mariadb dump=mariadb-dump slap=mariadb-slap options=() ;;
    mysql)
        unpacked=$(cd "$(dirname "$0")/../../.." && pwd)/target/unstable/client/bin
        client=$unpacked/mysql dump=$unpacked/mysqldump slap=$unpacked/mysqlslap
        options=(--get-server-public-key)
        ;;
esac
login() { echo --no-defaults "-h$host" "-P$1" "-u$user" "-p$password" "${options[@]}"; }
through=$(login "$FAIRLANE_TEST_PORT")
direct=$(login "$FAIRLANE_TEST_SERVER_PORT")
quiet() { { "$@" 2>&1 1>&3 | grep -v 'Using a password on the command line' >&2 || true; } 3>&1; }
asks() { quiet "$client" "$@"; }
sql() { asks $through --default-character-set=utf8mb4 --max-allowed-packet=64M -N -B "$@"; }
same() {
    if [ "$2" != "$3" ]; then
        printf 'FAILED %s\n' "$1"
        diff <(echo "$2") <(echo "$3") | cut -c1-300 | head -20
        exit 1
    fi
    echo "ok $1"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sql -e 'DROP DATABASE IF EXISTS dumps_from; CREATE DATABASE dumps_from CHARACTER SET utf8mb4'
cat >"$work/schema.sql" <<'SQL'
CREATE TABLE numbers (a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d INT ZEROFILL, e BIGINT UNSIGNED PRIMARY KEY,
    f DECIMAL(65,30), g FLOAT, h DOUBLE, i BIT(64), j BOOLEAN, k YEAR) COMMENT='numbers, ''quoted''';
INSERT INTO numbers VALUES (-128, 65535, -8388608, 7, 18446744073709551615,
    '12345678901234567890123456789012345.123456789012345678901234567890', 1.5e30, -2.2250738585072014e-308, b'1', TRUE, 2155),
    (NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE moments (a DATE, b DATETIME(6), c TIMESTAMP(3) NULL, d TIME(2), KEY (a, b DESC));
INSERT INTO moments VALUES ('1000-01-01', '9999-12-31 23:59:59.999999', '2026-11-28 01:02:03.456', '-838:59:58.99'),
    ('2024-02-29', NULL, NULL, '00:00:00');
CREATE TABLE texts (id INT AUTO_INCREMENT PRIMARY KEY, a CHAR(9) CHARACTER SET latin1, b VARCHAR(255) COLLATE utf8mb4_bin,
    c LONGTEXT, d ENUM('x', 'it''s', 'ü'), e SET('p', 'q', 'r') DEFAULT 'p,r', f VARCHAR(20) CHARACTER SET utf16,
    FULLTEXT KEY (c), UNIQUE KEY (b(20))) AUTO_INCREMENT = 77;
INSERT INTO texts (a, b, c, d, e, f) VALUES ('café', '😀 \\ '' " % \0 \n \r \Z', REPEAT('long ', 100000), 'it''s', 'q,p', '漢字'),
    ('', '', '', 'ü', '', ''), (NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE bytes (id INT PRIMARY KEY, a BINARY(5), b VARBINARY(300), c TINYBLOB, d LONGBLOB);
INSERT INTO bytes VALUES (1, x'00FF', x'00270a0d1a5c22', x'', NULL), (2, NULL, NULL, NULL, REPEAT(x'00ff5c27', 5000000));
INSERT INTO bytes SELECT seq + 10, CHAR(seq), CHAR(seq, 255 - seq), REPEAT(CHAR(seq), 255), NULL FROM
    (SELECT a.n + 16 * b.n AS seq FROM (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5
    UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9 UNION SELECT 10 UNION SELECT 11 UNION SELECT 12 UNION SELECT 13
    UNION SELECT 14 UNION SELECT 15) a, (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5
    UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9 UNION SELECT 10 UNION SELECT 11 UNION SELECT 12 UNION SELECT 13
    UNION SELECT 14 UNION SELECT 15) b) s;
CREATE TABLE others (id INT PRIMARY KEY, j JSON, g GEOMETRY, p POINT NOT NULL, SPATIAL KEY (p));
INSERT INTO others VALUES (1, '{"a": [1, null, "ü"]}', ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))'), POINT(1, 2));
CREATE TABLE made (a INT, b INT AS (a * 2) VIRTUAL, c VARCHAR(20) AS (CONCAT('n', a)) STORED, d INT DEFAULT 5,
    CHECK (a < 1000), KEY (c));
INSERT INTO made (a) VALUES (1), (2), (999);
CREATE TABLE parents (id INT PRIMARY KEY, name VARCHAR(20));
CREATE TABLE children (id INT PRIMARY KEY, parent INT, CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id)
    ON DELETE CASCADE);
INSERT INTO parents VALUES (1, 'one'), (2, 'two');
INSERT INTO children VALUES (1, 1), (2, 1), (3, 2);
CREATE TABLE parts (id INT, d DATE NOT NULL) PARTITION BY RANGE (YEAR(d)) (PARTITION old VALUES LESS THAN (2000),
    PARTITION new VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, '1999-01-01'), (2, '2026-11-28');
CREATE TABLE `odd name` (`a b` INT, `select` INT, `ü` INT);
INSERT INTO `odd name` VALUES (1, 2, 3);
CREATE TABLE many (id INT PRIMARY KEY, t VARCHAR(100));
INSERT INTO many SELECT a.id * 1000 + b.id * 100 + c.id, REPEAT(CHAR(65 + c.id % 26), 80) FROM bytes a, bytes b, bytes c
    WHERE a.id BETWEEN 11 AND 30 AND b.id BETWEEN 11 AND 20 AND c.id BETWEEN 11 AND 110;
CREATE VIEW lower_view AS SELECT p.id, p.name, COUNT(*) AS n FROM parents p JOIN children c ON c.parent = p.id GROUP BY p.id, p.name;
CREATE VIEW a_view AS SELECT name FROM lower_view WHERE n > 1;
DELIMITER //
CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2 //
CREATE PROCEDURE work(IN a INT, OUT b INT) COMMENT 'ü' BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION SET b = -1;
    SELECT 'it''s; fine' AS t; SET b = twice(a); END //
CREATE TRIGGER up BEFORE INSERT ON children FOR EACH ROW SET NEW.id = NEW.id + 0 //
CREATE TRIGGER down AFTER DELETE ON parents FOR EACH ROW BEGIN INSERT INTO made (a) VALUES (OLD.id); END //
CREATE EVENT later ON SCHEDULE EVERY 1 YEAR STARTS '2030-01-01 00:00:00' DISABLE DO DELETE FROM parts //
DELIMITER ;
SQL
sql dumps_from <"$work/schema.sql"
if [ $family = mariadb ]; then sql dumps_from -e 'CREATE SEQUENCE counted START WITH 5 INCREMENT BY 3; DO NEXTVAL(counted)'; fi
echo "ok a schema with everything"

# Of the server itself: what every other copy has to be like.
tables=$(asks $direct -N -B -e "SELECT CONCAT('\`', REPLACE(table_name, '\`', '\`\`'), '\`') FROM information_schema.tables
    WHERE table_schema = 'dumps_from' AND table_type = 'BASE TABLE' ORDER BY table_name" | paste -sd,)
sums() { asks $direct -N -B "$1" -e "CHECKSUM TABLE $tables" | sed "s/^$1\\.//"; }
plain() { grep -vE '^-- (Host|Server version|Dump completed|Current Database|MariaDB dump|MySQL dump)|^/\*.*sandbox mode'; }
kept=(--routines --triggers --events --single-transaction --hex-blob --default-character-set=utf8mb4 --max-allowed-packet=64M)
before=$(sums dumps_from)

# NAME OPTION...: dumps and restores.
dumps() {
    local name=$1 more=("${@:2}")
    "$dump" $direct "${kept[@]}" "${more[@]}" dumps_from 2>/dev/null | plain >"$work/direct.sql"
    "$dump" $through "${kept[@]}" "${more[@]}" dumps_from 2>"$work/error" >"$work/dump.sql" || { cat "$work/error"; exit 1; }
    plain <"$work/dump.sql" >"$work/through.sql"
    same "$name: the dump" "$(sha256sum <"$work/direct.sql")" "$(sha256sum <"$work/through.sql")"
    sql -e 'DROP DATABASE IF EXISTS dumps_to; CREATE DATABASE dumps_to CHARACTER SET utf8mb4'
    sql dumps_to <"$work/dump.sql"
    same "$name: the restore" "$before" "$(sums dumps_to)"
    "$dump" $direct "${kept[@]}" "${more[@]}" dumps_to 2>/dev/null | plain | sed 's/dumps_to/dumps_from/g' >"$work/again.sql"
    same "$name: a dump of the restore" "$(sha256sum <"$work/direct.sql")" "$(sha256sum <"$work/again.sql")"
    same "$name: a routine" $'it\'s; fine\n14' "$(sql dumps_to -e 'CALL work(7, @b); SELECT @b')"
}
if [ $family = mysql ]; then kept+=(--set-gtid-purged=OFF); fi
dumps "${dump##*/}"
dumps "${dump##*/}, one row a statement" --skip-extended-insert --complete-insert --skip-opt --create-options

quiet "$dump" $through "${kept[@]}" --no-create-info --compact --where='id < 3' dumps_from children parents >"$work/some.sql"
same 'some rows' 2 "$(grep -c '^INSERT INTO' "$work/some.sql")"

if [ $family = mariadb ]; then
    mydumper -h "$host" -P "$FAIRLANE_TEST_PORT" -u "$user" -p "$password" -B dumps_from -o "$work/my" -t 4 -G -E -R \
        >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    if grep -q CRITICAL "$work/log"; then cat "$work/log"; exit 1; fi
    sql -e 'DROP DATABASE IF EXISTS dumps_my'
    myloader -h "$host" -P "$FAIRLANE_TEST_PORT" -u "$user" -p "$password" -d "$work/my" -B dumps_my -t 4 -o \
        >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    if grep -q CRITICAL "$work/log"; then cat "$work/log"; exit 1; fi
    same 'mydumper and myloader' "$before" "$(sums dumps_my)"
fi

"$slap" $through --concurrency=8 --iterations=2 --number-of-queries=800 --auto-generate-sql \
    --auto-generate-sql-load-type=mixed --auto-generate-sql-add-autoincrement --create-schema=dumps_slap \
    --auto-generate-sql-unique-query-number=5 --detach=20 >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
same "${slap##*/}" 1 "$(grep -c 'Average number of queries per client: 100' "$work/log")"
sql -e 'DROP DATABASE dumps_from; DROP DATABASE dumps_to; DROP DATABASE IF EXISTS dumps_my; DROP DATABASE IF EXISTS dumps_slap'
