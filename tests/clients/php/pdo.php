<?php
// PDO as applications use it: emulated and native prepares, unbuffered results, several results,
// transactions, errors, large values, local files.
require __DIR__ . '/check.php';

[$dsn, $user, $password] = [dsn(), setting('USER'), setting('PASSWORD')];

function connect_with(array $options): PDO {
    return new PDO(dsn(), setting('USER'), setting('PASSWORD'), $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

// Values of many types there and back, NULL among them.
function types(PDO $db, string $kind): void {
    $db->exec('DROP TABLE IF EXISTS pdo_types');
    $db->exec('CREATE TABLE pdo_types (a BIGINT, u BIGINT UNSIGNED, b TINYINT, d DOUBLE, p DECIMAL(20,6),
        dt DATETIME(6), da DATE, ti TIME(3), y YEAR, e ENUM(\'x\',\'y\'), s SET(\'m\',\'n\'), bi BIT(9), j JSON, t TEXT, vb VARBINARY(20))');
    $row = ['-9223372036854775808', '18446744073709551615', '-128', '0.5', '12345678901234.567890',
        '2026-11-24 23:59:59.123456', '1000-01-01', '-838:59:59.000', '2155', 'y', 'm,n', null, '{"a": [1, null]}', "\u{1F600} 'q' \\", "\x00\xff\x1a"];
    $insert = $db->prepare('INSERT INTO pdo_types VALUES (' . rtrim(str_repeat('?,', count($row)), ',') . ')');
    $insert->execute($row);
    $insert->execute(array_fill(0, count($row), null));
    $read = $db->prepare('SELECT * FROM pdo_types ORDER BY a IS NULL');
    $read->execute();
    same("$kind: types", $row, array_map(fn ($v) => $v === null ? null : (string) $v, $read->fetch(PDO::FETCH_NUM)));
    same("$kind: nulls", array_fill(0, count($row), null), $read->fetch(PDO::FETCH_NUM));
    $read = $db->prepare('SELECT u, j FROM pdo_types WHERE u = ? LIMIT 0');
    $read->execute(['18446744073709551615']);
    same("$kind: no rows", [], $read->fetchAll());
    same("$kind: columns of no rows", ['u', 'j'], [$read->getColumnMeta(0)['name'], $read->getColumnMeta(1)['name']]);
    same("$kind: table of a column", 'pdo_types', $read->getColumnMeta(0)['table']);
}

// A result that is not read to its end must not reach the next statement.
function abandoned(PDO $db, string $kind): void {
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $result = $db->query('SELECT a.id FROM pdo_a a, pdo_a b, pdo_a c');
    $result->fetch();
    $result->closeCursor();
    same("$kind: after an abandoned result", '77', (string) $db->query('SELECT 77')->fetchAll(PDO::FETCH_NUM)[0][0]);
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
}

// Several statements open at once, one of them executed again after an error.
function statements(PDO $db, string $kind): void {
    $one = $db->prepare('SELECT id FROM pdo_a WHERE id <= ? ORDER BY id');
    $two = $db->prepare('SELECT COUNT(*) FROM pdo_a WHERE name LIKE :name');
    foreach ([1, 3, 2] as $n) {
        $one->execute([$n]);
        $two->execute(['name' => 'näme%']);
        same("$kind: interleaved", [$n, '20'], [count($one->fetchAll()), (string) $two->fetchColumn()]);
    }
    $write = $db->prepare('INSERT INTO pdo_a (id, name) VALUES (?, ?)');
    foreach ([[1, '23000'], [null, '00000']] as [$id, $state]) {
        try { $write->execute([$id, "again $kind"]); } catch (PDOException $e) { }
        same("$kind: executed after an error", $state, $write->errorCode());
    }
    same("$kind: rows of a write", 1, $write->rowCount());
    try {
        $db->prepare('SELECT nonsense FROM pdo_a')->execute();
        same("$kind: unknown column", 'an exception', 'none');
    } catch (PDOException $e) {
        same("$kind: unknown column", ['42S22', 1054], [$e->getCode(), $e->errorInfo[1]]);
    }
    same("$kind: in no transaction", false, $db->inTransaction());
    $db->beginTransaction();
    same("$kind: in a transaction", true, $db->inTransaction());
    $db->exec("DELETE FROM pdo_a WHERE name = 'again $kind'");
    $db->commit();
    same("$kind: committed", '0', (string) $db->query("SELECT COUNT(*) FROM pdo_a WHERE name = 'again $kind'")->fetchColumn());
    $db->exec("SET @pdo = 41");
    same("$kind: user variable", '42', (string) $db->query('SELECT @pdo + 1')->fetchColumn());
    same("$kind: attributes", true, str_contains($db->getAttribute(PDO::ATTR_SERVER_INFO), 'Uptime'));
    $db->exec("INSERT INTO pdo_a (name) VALUES ('last $kind')");
    same("$kind: LAST_INSERT_ID()", $db->lastInsertId(), (string) $db->query('SELECT LAST_INSERT_ID()')->fetchColumn());
    $db->exec("DELETE FROM pdo_a WHERE name = 'last $kind'");
}

// Several statements in one text: results in order, and an error in the middle.
function several(PDO $db): void {
    $result = $db->query("SELECT 1; SET @x = 5; SELECT @x, 'b' UNION SELECT 6, 'c'");
    $all = [];
    do { $all[] = $result->columnCount() ? $result->fetchAll(PDO::FETCH_NUM) : 'no rows'; } while ($result->nextRowset());
    same('several statements', '[[["1"]],"no rows",[["5","b"],["6","c"]]]', json_encode(array_map(
        fn ($rows) => is_array($rows) ? array_map(fn ($row) => array_map('strval', $row), $rows) : $rows, $all)));
    $result = $db->query('SELECT 1; SELECT * FROM nowhere; SELECT 3');
    try {
        $result->nextRowset();
        same('an error in the middle', 'an exception', 'none');
    } catch (PDOException $e) {
        same('an error in the middle', 1146, $e->errorInfo[1]);
    }
    $result = null;
    same('after it', '4', (string) $db->query('SELECT 4')->fetchColumn());
}

foreach ([true, false] as $emulated) {
    $kind = $emulated ? 'emulated' : 'native';
    $db = new PDO($dsn, $user, $password, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => $emulated,
        PDO::MYSQL_ATTR_LOCAL_INFILE => true,
        PDO::MYSQL_ATTR_INIT_COMMAND => "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'",
    ]);
    // As Laravel does when it connects.
    $db->exec("SET SESSION sql_mode='ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE'");
    $db->exec('DROP TABLE IF EXISTS pdo_a');
    $db->exec('CREATE TABLE pdo_a (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) UNIQUE, price DECIMAL(8,2), data LONGBLOB)');
    $insert = $db->prepare('INSERT INTO pdo_a (name, price) VALUES (?, ?)');
    for ($i = 1; $i <= 20; $i++) {
        $insert->execute(["näme $i", $i * 1.5]);
        same("$kind: lastInsertId", (string) $i, $db->lastInsertId());
        $read = $db->prepare('SELECT name, price FROM pdo_a WHERE id = :id');
        $read->execute(['id' => $i]);
        same("$kind: own write", ["näme $i", number_format($i * 1.5, 2)], $read->fetch(PDO::FETCH_NUM));
    }
    same("$kind: collation", 'utf8mb4_unicode_ci', $db->query('SELECT @@collation_connection')->fetchColumn());
    try {
        $insert->execute(['näme 1', 1]);
        same("$kind: duplicate", 'an exception', 'none');
    } catch (PDOException $e) {
        same("$kind: duplicate", ['23000', 1062], [$e->getCode(), $e->errorInfo[1]]);
    }
    $db->beginTransaction();
    $db->exec("UPDATE pdo_a SET price = 0");
    same("$kind: in the transaction", '0.00', $db->query('SELECT MAX(price) FROM pdo_a')->fetchColumn());
    $db->rollBack();
    same("$kind: rolled back", '30.00', $db->query('SELECT MAX(price) FROM pdo_a')->fetchColumn());
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $rows = 0;
    foreach ($db->query('SELECT * FROM pdo_a ORDER BY id') as $row) { $rows++; }
    same("$kind: unbuffered", 20, $rows);
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
    $blob = str_repeat("\x00\x27\x5c\xff", 1200000) . 'end';
    $write = $db->prepare('UPDATE pdo_a SET data = ? WHERE id = 1');
    $write->bindValue(1, $blob, PDO::PARAM_LOB);
    $write->execute();
    same("$kind: blob", md5($blob), md5($db->query('SELECT data FROM pdo_a WHERE id = 1')->fetchColumn()));
    $large = str_repeat('x', 17 * 1024 * 1024);
    $write->bindValue(1, $large, PDO::PARAM_LOB);
    $write->execute();
    same("$kind: over 16 MiB", strlen($large), strlen($db->query('SELECT data FROM pdo_a WHERE id = 1')->fetchColumn()));
    $file = tempnam(sys_get_temp_dir(), 'pdo');
    file_put_contents($file, "901,one\n902,two\n");
    same("$kind: local file", 2, $db->exec("LOAD DATA LOCAL INFILE '$file' INTO TABLE pdo_a FIELDS TERMINATED BY ',' (id, name)"));
    unlink($file);
    $db->exec('DROP PROCEDURE IF EXISTS pdo_p');
    $db->exec('CREATE PROCEDURE pdo_p() BEGIN SELECT 1; SELECT 2, 3; END');
    $call = $db->query('CALL pdo_p()');
    $results = [];
    do { if ($row = $call->fetch(PDO::FETCH_NUM)) { $results[] = $row; } } while ($call->nextRowset());
    same("$kind: results of a procedure", $emulated ? [['1'], ['2', '3']] : [[1], [2, 3]], array_map(fn ($r) => $emulated ? array_map('strval', $r) : array_map('intval', $r), $results));
    $call->closeCursor();
    types($db, $kind);
    abandoned($db, $kind);
    statements($db, $kind);
}
several(connect_with([PDO::ATTR_EMULATE_PREPARES => true]));
$found = connect_with([PDO::MYSQL_ATTR_FOUND_ROWS => true]);
same('rows found', 1, $found->exec("UPDATE pdo_a SET name = 'one' WHERE id = 901"));
same('rows changed', 0, connect_with([])->exec("UPDATE pdo_a SET name = 'one' WHERE id = 901"));
$persistent = fn () => new PDO($dsn, $user, $password, [PDO::ATTR_PERSISTENT => true]);
same('persistent', '1', (string) $persistent()->query('SELECT 1')->fetchColumn());
same('persistent again', '2', (string) $persistent()->query('SELECT 2')->fetchColumn());
try {
    new PDO($dsn, $user, 'wrong');
    same('wrong password', 'an exception', 'none');
} catch (PDOException $e) {
    same('wrong password', 1045, $e->getCode());
}
