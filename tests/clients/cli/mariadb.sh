#!/usr/bin/env bash
# The mariadb command line and mariadb-dump.
set -euo pipefail
login=(--no-defaults -h "$FAIRLANE_TEST_HOST" -P "$FAIRLANE_TEST_PORT" -u "$FAIRLANE_TEST_USER"
    "-p$FAIRLANE_TEST_PASSWORD")
sql() { mariadb "${login[@]}" -N -B "$@"; }
same() {
    if [ "$2" != "$3" ]; then
        printf 'FAILED %s\nexpected %s\nfound    %s\n' "$1" "$2" "$3"
        exit 1
    fi
    echo "ok $1"
}
# Every call is a session of its own, and a replica may be a moment behind another session.
settle() { sleep 0.5; }
db=$FAIRLANE_TEST_DATABASE
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

same 'a value' 1 "$(sql "$db" -e 'SELECT 1')"
cat >"$work/schema.sql" <<'SQL'
DROP TABLE IF EXISTS cli_child, cli_parent;
DROP VIEW IF EXISTS cli_view;
DROP PROCEDURE IF EXISTS cli_procedure;
DROP FUNCTION IF EXISTS cli_function;
CREATE TABLE cli_parent (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), data BLOB);
CREATE TABLE cli_child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES cli_parent (id));
INSERT INTO cli_parent (name, data) VALUES ('one', x'00FF27'), ('zwö', NULL), ('three', 'x');
INSERT INTO cli_child VALUES (1, 1), (2, 1), (3, 2);
CREATE VIEW cli_view AS SELECT p.name, COUNT(*) AS n FROM cli_parent p JOIN cli_child c ON c.parent = p.id GROUP BY p.id, p.name;
DELIMITER //
CREATE PROCEDURE cli_procedure(IN a INT) BEGIN SELECT a; SELECT a * 2; END //
CREATE FUNCTION cli_function(a INT) RETURNS INT DETERMINISTIC RETURN a + 1 //
CREATE TRIGGER cli_trigger BEFORE INSERT ON cli_child FOR EACH ROW SET NEW.id = NEW.id + 100 //
DELIMITER ;
SQL
sql "$db" <"$work/schema.sql"
settle
same 'a file with DELIMITER' $'5\n10' "$(sql "$db" -e 'CALL cli_procedure(5)')"
same 'a stored function' 6 "$(sql "$db" -e 'SELECT cli_function(5)')"
same 'a trigger' 104 "$(sql "$db" -e 'INSERT INTO cli_child VALUES (4, 2); SELECT MAX(id) FROM cli_child')"
settle
same 'a view' $'one\t2\nzwö\t2' "$(sql --default-character-set=utf8mb4 "$db" -e 'SELECT * FROM cli_view ORDER BY name')"
same 'USE' "$db" "$(sql -e "USE $db; SELECT DATABASE()")"
same 'quick' 3 "$(sql --quick "$db" -e 'SELECT name FROM cli_parent' | wc -l)"
same 'SHOW' 1 "$(sql "$db" -e "SHOW TABLES LIKE 'cli_parent'" | wc -l)"
sql "$db" -e 'status' >"$work/status"
same 'status' 1 "$(grep -c 'Current database' "$work/status")"
printf '7,seven\n8,eight\n' >"$work/rows.csv"
sql --local-infile=1 "$db" -e "LOAD DATA LOCAL INFILE '$work/rows.csv' INTO TABLE cli_parent FIELDS TERMINATED BY ',' (id, name)"
settle
same 'a local file' eight "$(sql "$db" -e 'SELECT name FROM cli_parent WHERE id = 8')"
if sql "$db" -e 'SELECT nonsense' 2>"$work/error"; then same 'an error' 1054 none; fi
same 'an error' 1 "$(grep -c 'ERROR 1054 (42S22)' "$work/error")"

tables='cli_parent cli_child'
sums() { sql "$db" -e "CHECKSUM TABLE ${tables// /,}"; }
before=$(sums)
mariadb-dump "${login[@]}" --routines --triggers --single-transaction "$db" $tables cli_view >"$work/dump.sql"
sql "$db" -e 'SET foreign_key_checks = 0; DROP TABLE cli_child, cli_parent; DROP VIEW cli_view'
sql "$db" <"$work/dump.sql"
same 'a dump and its restore' "$before" "$(sums)"

# The interactive commands, in a session of several statements.
cat >"$work/session.sql" <<SQL
\\s
USE $db;
SOURCE $work/inner.sql;
SELECT @inner + 1;
\\! echo shell
DELIMITER //
DROP PROCEDURE IF EXISTS cli_loop //
CREATE PROCEDURE cli_loop(n INT)
BEGIN
  DECLARE i INT DEFAULT 0;
  CREATE TEMPORARY TABLE IF NOT EXISTS cli_temporary (i INT);
  WHILE i < n DO INSERT INTO cli_temporary VALUES (i); SET i = i + 1; END WHILE;
END //
DELIMITER ;
CALL cli_loop(12);
SELECT COUNT(*), SUM(i) FROM cli_temporary;
SELECT 1 AS a, NULL AS b\\G
START TRANSACTION;
DELETE FROM cli_child;
ROLLBACK;
SELECT COUNT(*) FROM cli_child;
SQL
echo 'SET @inner = 41;' >"$work/inner.sql"
mariadb "${login[@]}" --unbuffered "$db" <"$work/session.sql" >"$work/session.out"
for line in 'Server version' 'Protocol version' 'TCP port'; do
    same "status: $line" 1 "$(grep -c "$line" "$work/session.out")"
done
same 'a session' '42 shell 12	66 a: 1 b: NULL 4' \
    "$(grep -xE '42|shell|12.66|[ab]: .*|4' "$work/session.out" | tr '\n' ' ' | sed 's/ $//')"
same 'the version is the server'"'"'s own' "$(sql -e 'SELECT VERSION()')" \
    "$(sed -n 's/^Server version:[[:space:]]*\([^ ]*\).*/\1/p' "$work/session.out")"

# SHOW and DESCRIBE have an answer of the right shape.
while IFS='|' read -r rows statement; do
    same "$statement" "$rows" "$(sql "$db" -e "$statement" | wc -l)"
done <<SQL
3|DESCRIBE cli_parent
2|SHOW COLUMNS FROM cli_child
2|SHOW INDEX FROM cli_child
1|SHOW CREATE TABLE cli_parent
1|SHOW CREATE PROCEDURE cli_loop
1|SHOW TRIGGERS LIKE 'cli_child'
1|SHOW VARIABLES LIKE 'max_allowed_packet'
1|SHOW STATUS LIKE 'Threads_connected'
1|SHOW CHARACTER SET LIKE 'utf8mb4'
1|SHOW PROCEDURE STATUS WHERE Db = '$db' AND Name = 'cli_loop'
1|SHOW TABLE STATUS LIKE 'cli_parent'
1|SHOW DATABASES LIKE '$db'
2|EXPLAIN SELECT * FROM cli_parent p JOIN cli_child c ON c.parent = p.id
SQL
same 'SHOW WARNINGS follows its statement' 'Note	1051' \
    "$(sql "$db" -e 'DROP TABLE IF EXISTS cli_nothing; SHOW WARNINGS' | cut -f1,2)"
same '--show-warnings' 1 "$(sql --show-warnings "$db" -e 'SELECT 1 / 0' 2>&1 | grep -c 'Division by 0')"

# Ctrl-C: the client logs in once more, and ends its statement by the id it was greeted with.
before=$SECONDS
mariadb "${login[@]}" -N -B "$db" -e "SELECT 'slept', SLEEP(30)" >"$work/interrupted" 2>&1 &
sleep 2
kill -INT $!
wait $! || true
same 'Ctrl-C' 1 "$(grep -c 'query killed' "$work/interrupted")"
same 'Ctrl-C, at once' 1 "$((SECONDS - before < 15))"
id=$(sql "$db" -e 'SELECT CONNECTION_ID()')
same 'ids of clients are none of the server' 1 "$((id >= 1 << 30))"
mariadb "${login[@]}" -N -B "$db" -e "SELECT 'victim', SLEEP(30)" >/dev/null 2>&1 &
sleep 2
id=$(sql "$db" -e 'SHOW FULL PROCESSLIST' | grep "'victim', SLEEP" | cut -f1)
mariadb-admin "${login[@]}" kill "$id"
same 'mariadb-admin kill with an id of the process list' 1 "$(wait $! && echo 0 || echo 1)"

# Forms of output, and going on after an error.
same '--force' $'1\n3' "$(printf 'SELECT 1;\nSELECT nonsense;\nSELECT 3;\n' | sql --force "$db" 2>/dev/null)"
same '--xml' 1 "$(sql --xml "$db" -e 'SELECT 1 AS a' | grep -c '<field name="a">1</field>')"
same '--html' 1 "$(sql --html "$db" -e 'SELECT 1 AS a' | grep -c '<TD>1</TD>')"
same '--column-type-info' 1 "$(mariadb "${login[@]}" --table --column-type-info "$db" -e 'SELECT id FROM cli_parent' | grep -c 'Table:  *.cli_parent.')"
same '--skip-ssl' 1 "$(sql --skip-ssl "$db" -e 'SELECT 1')"
for length in 1 49 50 51 100000; do
    text=$(printf '%*s' "$length" '' | tr ' ' c)
    same "--compress, $length bytes" "$text" "$(sql --compress "$db" <<<"SELECT '$text'")"
done
same '--compress, a large result' 17000000 "$(sql --compress --quick --max-allowed-packet=64M "$db" -e "SELECT REPEAT('y', 17000000)" | tr -d '\n' | wc -c)"
seq 1 300000 >"$work/numbers"
same '--compress, a local file' 300000 "$(sql --compress --local-infile=1 "$db" -e "CREATE TEMPORARY TABLE cli_packed (n INT);
    LOAD DATA LOCAL INFILE '$work/numbers' INTO TABLE cli_packed; SELECT COUNT(*) FROM cli_packed")"
same '--init-command' 7 "$(sql --init-command='SET @i = 7' "$db" -e 'SELECT @i')"
same 'completion reads the columns of all tables' 1 "$(echo 'SELECT 1;' | sql --auto-rehash "$db")"
same 'comments are kept' 1 "$(sql --comments "$db" -e '/* one */ SELECT /* two */ 1 -- three')"
same 'a large result' 2097152 "$(sql --quick "$db" -e "SELECT REPEAT('y', 2097152)" | tr -d '\n' | wc -c)"
if mariadb --no-defaults -h "$FAIRLANE_TEST_HOST" -P "$FAIRLANE_TEST_PORT" -u "$FAIRLANE_TEST_USER" -pwrong \
    -e 'SELECT 1' 2>"$work/error"; then same 'wrong password' 1045 none; fi
same 'wrong password' 1 "$(grep -c 'ERROR 1045 (28000)' "$work/error")"
if sql nowhere -e 'SELECT 1' 2>"$work/error"; then same 'no such schema' 1044 none; fi
same 'no such schema' 1 "$(grep -cE 'ERROR 1044 \(42000\)|ERROR 1049 \(42000\)' "$work/error")"

# The programs beside it.
same 'mariadb-admin ping' 'mysqld is alive' "$(mariadb-admin "${login[@]}" ping)"
same 'mariadb-admin status' 1 "$(mariadb-admin "${login[@]}" status | grep -c '^Uptime: ')"
same 'mariadb-admin processlist' 1 "$(mariadb-admin "${login[@]}" processlist | grep -c 'show processlist')"
same 'mariadb-show' 1 "$(mariadb-show "${login[@]}" "$db" cli_parent % | grep -c '| name ')"
same 'mariadb-check' 1 "$(mariadb-check "${login[@]}" "$db" cli_parent | grep -c 'cli_parent *OK')"
printf '21\ttwenty-one\n22\ttwenty-two\n' >"$work/cli_parent.txt"
same 'mariadb-import' 1 "$(mariadb-import "${login[@]}" --local --columns=id,name "$db" "$work/cli_parent.txt" |
    grep -c 'Records: 2  Deleted: 0  Skipped: 0  Warnings: 0')"
settle
same 'what it imported' twenty-two "$(sql "$db" -e 'SELECT name FROM cli_parent WHERE id = 22')"
mariadb-dump "${login[@]}" --no-create-info --extended-insert=FALSE --hex-blob "$db" cli_parent >"$work/rows.sql"
same 'a dump of rows' 1 "$(grep -c "^INSERT INTO .cli_parent. VALUES (1,'one',0x00FF27);" "$work/rows.sql")"
