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
