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
