<?php
require __DIR__ . '/check.php';

function connect(int $flags = 0): mysqli {
    $db = mysqli_init();
    $db->options(MYSQLI_OPT_LOCAL_INFILE, true);
    $db->real_connect(setting('HOST'), setting('USER'), setting('PASSWORD'), setting('DATABASE'), (int) setting('PORT'), null, $flags);
    $db->set_charset('utf8mb4');
    return $db;
}

$db = connect();
$db->query('DROP TABLE IF EXISTS mysqli_a');
$db->query('CREATE TABLE mysqli_a (id INT AUTO_INCREMENT PRIMARY KEY, a INT, note VARCHAR(5))');
$db->query('INSERT INTO mysqli_a (a) VALUES (1), (2), (3)');
same('affected rows', 3, $db->affected_rows);
same('insert id', 1, $db->insert_id);
same('info', 'Records: 3  Duplicates: 0  Warnings: 0', $db->info);
$statement = $db->prepare('SELECT id, a FROM mysqli_a WHERE a >= ? ORDER BY id');
$least = 2;
$statement->bind_param('i', $least);
$statement->execute();
same('prepared', [[2, 2], [3, 3]], $statement->get_result()->fetch_all());
$least = 3;
$statement->execute();
same('executed again', [[3, 3]], $statement->get_result()->fetch_all());
$statement->close();
$db->multi_query('SELECT 1; UPDATE mysqli_a SET a = a + 1; SELECT 2, 3');
$results = [];
do { if ($r = $db->store_result()) { $results[] = $r->fetch_row(); } } while ($db->more_results() && $db->next_result());
same('several statements', [['1'], ['2', '3']], $results);
$db->autocommit(false);
$db->query('UPDATE mysqli_a SET a = 100');
$db->rollback();
same('rolled back', '4', $db->query('SELECT MAX(a) FROM mysqli_a')->fetch_row()[0]);
$db->query('UPDATE mysqli_a SET a = 100');
$db->commit();
$db->autocommit(true);
same('committed', '100', $db->query('SELECT MAX(a) FROM mysqli_a')->fetch_row()[0]);
$db->query("SET sql_mode = ''");
$db->query("INSERT INTO mysqli_a (note) VALUES ('too long for it')");
same('warnings', 1, $db->warning_count);
same('SHOW WARNINGS', '1265', $db->query('SHOW WARNINGS')->fetch_row()[1]);
same('ping', true, $db->ping());
same('statistics', 'Uptime', substr($db->stat(), 0, 6));
same('unbuffered', 4, count($db->query('SELECT * FROM mysqli_a', MYSQLI_USE_RESULT)->fetch_all()));
same('change of user', true, $db->change_user(setting('USER'), setting('PASSWORD'), setting('DATABASE')));
same('after it', '4', $db->query('SELECT COUNT(*) FROM mysqli_a')->fetch_row()[0]);
same('server version', true, $db->server_version > 100000);
$thread = $db->thread_id;
same('thread id', (string) $thread, $db->query('SELECT CONNECTION_ID()')->fetch_row()[0]);
$found = connect(MYSQLI_CLIENT_FOUND_ROWS);
$found->query('UPDATE mysqli_a SET a = 100 WHERE id = 1');
same('found rows', 1, $found->affected_rows);
$db->query('UPDATE mysqli_a SET a = 100 WHERE id = 1');
same('changed rows', 0, $db->affected_rows);
try {
    $db->query('SELECT * FROM nowhere');
    same('no such table', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('no such table', 1146, $e->getCode());
}

// Flags.
same('interactive', str_repeat('z', 300000), connect(MYSQLI_CLIENT_INTERACTIVE)->query("SELECT REPEAT('z', 300000)")->fetch_row()[0]);
same('spaces before parentheses', '3', connect(MYSQLI_CLIENT_IGNORE_SPACE)->query('SELECT COUNT (*) FROM mysqli_a WHERE id < 4')->fetch_row()[0]);

// Transactions: read only, savepoints, chained.
$db->begin_transaction(MYSQLI_TRANS_START_READ_ONLY);
same('read-only transaction', '4', $db->query('SELECT COUNT(*) FROM mysqli_a')->fetch_row()[0]);
try {
    $db->query('DELETE FROM mysqli_a');
    same('a write in it', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('a write in it', 1792, $e->getCode());
}
$db->rollback();
$db->begin_transaction();
$db->query('UPDATE mysqli_a SET a = 5');
$db->savepoint('here');
$db->query('UPDATE mysqli_a SET a = 6');
$db->query('ROLLBACK TO SAVEPOINT here');
$db->commit(MYSQLI_TRANS_COR_AND_CHAIN);
same('savepoint', '5', $db->query('SELECT MAX(a) FROM mysqli_a')->fetch_row()[0]);
$db->query('UPDATE mysqli_a SET a = 7');
$db->rollback();
same('the chained transaction was rolled back', '5', $db->query('SELECT MAX(a) FROM mysqli_a')->fetch_row()[0]);

// Prepared: long data in pieces, a cursor, types, and a result set left unread.
$db->query('DROP TABLE IF EXISTS mysqli_b');
$db->query('CREATE TABLE mysqli_b (id INT AUTO_INCREMENT PRIMARY KEY, d DOUBLE, s VARCHAR(20), data LONGBLOB, n BIGINT UNSIGNED)');
$insert = $db->prepare('INSERT INTO mysqli_b (d, s, data, n) VALUES (?, ?, ?, ?)');
$d = 0.25; $s = 'ünï'; $data = null; $n = null;
$insert->bind_param('dsbi', $d, $s, $data, $n);
$piece = random_bytes(1 << 20);
for ($i = 0; $i < 18; $i++) { $insert->send_long_data(2, $piece); }
$insert->execute();
same('prepared insert id', 1, $insert->insert_id);
same('prepared affected rows', 1, $insert->affected_rows);
$row = $db->execute_query('SELECT d, s, n, data FROM mysqli_b WHERE id = ?', [1])->fetch_row();
same('binary types', [0.25, 'ünï', null, md5(str_repeat($piece, 18))], [$row[0], $row[1], $row[2], md5($row[3])]);
for ($i = 2; $i <= 40; $i++) { $d = $i / 2; $s = "s$i"; $n = $i; $insert->execute(); }
$cursor = $db->prepare('SELECT id FROM mysqli_b WHERE id > ? ORDER BY id');
$cursor->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
$least = 1;
$cursor->bind_param('i', $least);
$cursor->execute();
$cursor->bind_result($id);
$seen = [];
while ($cursor->fetch()) { $seen[] = $id; }
same('cursor', range(2, 40), $seen);
$cursor->close();
$unread = $db->prepare('SELECT id FROM mysqli_b ORDER BY id');
$unread->execute();
$unread->bind_result($id);
$unread->fetch();
$unread->free_result();
$unread->close();
same('after a result left unread', '9', $db->query('SELECT 9')->fetch_row()[0]);
$result = $db->execute_query('UPDATE mysqli_b SET s = ? WHERE id IN (?, ?)', ['same', 2, 3]);
same('info of a prepared statement', 'Rows matched: 2  Changed: 2  Warnings: 0', $db->info);
try {
    $db->prepare('SELECT * FROM nowhere WHERE id = ?');
    same('prepare fails', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('prepare fails', [1146, '42S02'], [$e->getCode(), $e->getSqlState()]);
}

// Procedures: prepared, with results and an OUT parameter.
$db->query('DROP PROCEDURE IF EXISTS mysqli_p');
$db->query('CREATE PROCEDURE mysqli_p(IN a INT, OUT b INT) BEGIN SELECT a AS first; SET b = a * 3; SELECT a, b AS second; END');
$call = $db->prepare('CALL mysqli_p(?, @b)');
$a = 14;
$call->bind_param('i', $a);
$call->execute();
$results = [];
do { if ($r = $call->get_result()) { $results[] = $r->fetch_row(); } } while ($call->more_results() && $call->next_result());
$call->close();
same('prepared call', [[14], [14, 42]], $results);
same('OUT parameter', '42', $db->query('SELECT @b')->fetch_row()[0]);

// Several statements, the second of which fails.
$db->multi_query('SELECT 1; SELECT * FROM nowhere; SELECT 3');
$db->store_result()->free();
try {
    $db->next_result();
    same('an error in the middle', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('an error in the middle', 1146, $e->getCode());
}
same('after it', '4', $db->query('SELECT 4')->fetch_row()[0]);

// Asynchronous queries on three connections at once.
$waiting = [];
for ($i = 0; $i < 3; $i++) { $waiting[$i] = connect(); $waiting[$i]->query("SELECT $i * 10, SLEEP(0.05)", MYSQLI_ASYNC); }
$answers = [];
while ($waiting) {
    $read = $error = $reject = array_values($waiting);
    if (!mysqli_poll($read, $error, $reject, 5)) { break; }
    foreach ($read as $link) { $answers[] = (int) $link->reap_async_query()->fetch_row()[0]; }
    $waiting = array_filter($waiting, fn ($link) => !in_array($link, $read, true));
}
sort($answers);
same('asynchronous', [0, 10, 20], $answers);

// The diagnostics area, session state, and its end with change_user.
$db->query("SET sql_mode = ''");
$db->query('DROP TABLE IF EXISTS mysqli_nowhere');
same('a note', 'Note', $db->query('SHOW WARNINGS')->fetch_row()[0]);
$warnings = $db->query('SELECT 1 / 0') ? $db->get_warnings() : null;
$db->query("SET sql_mode = 'ERROR_FOR_DIVISION_BY_ZERO'");
$db->query('SELECT 1 / 0');
same('warning of a read', [1, 1365], [$db->warning_count, $db->get_warnings()->errno]);
$db->query('SELECT SQL_CALC_FOUND_ROWS id FROM mysqli_b LIMIT 3');
same('FOUND_ROWS', '40', $db->query('SELECT FOUND_ROWS()')->fetch_row()[0]);
$db->query('UPDATE mysqli_b SET s = s LIMIT 0');
same('ROW_COUNT', '0', $db->query('SELECT ROW_COUNT()')->fetch_row()[0]);
$db->query('CREATE TEMPORARY TABLE mysqli_temporary SELECT 8 AS n');
same('temporary table', '8', $db->query('SELECT n FROM mysqli_temporary')->fetch_row()[0]);
$db->query("SET @kept = 1, SESSION sort_buffer_size = 524288");
$db->change_user(setting('USER'), setting('PASSWORD'), setting('DATABASE'));
same('variables are gone', [null, false], [$db->query('SELECT @kept')->fetch_row()[0], $db->query('SELECT @@sort_buffer_size')->fetch_row()[0] === '524288']);
try {
    $db->query('SELECT n FROM mysqli_temporary');
    same('the temporary table is gone', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('the temporary table is gone', 1146, $e->getCode());
}
try {
    $db->change_user(setting('USER'), 'wrong', setting('DATABASE'));
    same('change of user, wrong password', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('change of user, wrong password', 1045, $e->getCode());
}

// select_db, character sets, and killing another session by the id it sees.
$db = connect();
same('select_db', true, $db->select_db(setting('DATABASE')));
try {
    $db->select_db('nowhere');
    same('select_db of no schema', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('select_db of no schema', true, in_array($e->getCode(), [1044, 1049], true));
}
same('still there', setting('DATABASE'), $db->query('SELECT DATABASE()')->fetch_row()[0]);
foreach (['latin1' => "\xfc", 'utf8mb4' => 'ü'] as $set => $letter) {
    $db->set_charset($set);
    same("character set $set", [$letter, $set], $db->query("SELECT _utf8mb4 x'C3BC', @@character_set_results")->fetch_row());
}
$victim = connect();
$db->query('KILL ' . $victim->thread_id);
try {
    $victim->query('SELECT 1');
    same('killed', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('killed', true, in_array($e->getCode(), [2006, 2013, 1927], true));
}
same('large query', 17 << 20, (int) $db->query("SELECT LENGTH('" . str_repeat('q', 17 << 20) . "')")->fetch_row()[0]);
$db->close();

// Compressed: contents around the length from which on they are packed, and long ones.
$packed = connect(MYSQLI_CLIENT_COMPRESS);
foreach ([0, 1, 30, 49, 50, 51, 70000, 17 << 20] as $length) {
    $text = str_repeat('p', $length);
    same("compressed, $length bytes", $text === $packed->query("SELECT '$text'")->fetch_row()[0], true);
}
$statement = $packed->prepare('SELECT ?, ? + 1');
$statement->bind_param('si', $text, $length);
$statement->execute();
same('compressed, prepared', [$text, $length + 1], $statement->get_result()->fetch_row());
$packed->query('CREATE TEMPORARY TABLE mysqli_packed (id INT, t VARCHAR(100))');
$file = tempnam(sys_get_temp_dir(), 'rows');
file_put_contents($file, implode('', array_map(fn ($i) => "$i\tline $i\n", range(1, 50000))));
$packed->query("LOAD DATA LOCAL INFILE '$file' INTO TABLE mysqli_packed");
unlink($file);
same('compressed, a local file', ['50000', '1250025000'], $packed->query('SELECT COUNT(*), SUM(id) FROM mysqli_packed')->fetch_row());
try {
    $packed->query('SELECT nonsense');
    same('compressed, an error', 'an exception', 'none');
} catch (mysqli_sql_exception $e) {
    same('compressed, an error', 1054, $e->getCode());
}
$packed->change_user(setting('USER'), setting('PASSWORD'), setting('DATABASE'));
same('compressed, after a change of user', '5', $packed->query('SELECT 5')->fetch_row()[0]);
