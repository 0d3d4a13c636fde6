<?php
// PDO as applications use it: emulated and native prepares, unbuffered results, several results,
// transactions, errors, large values, local files.
require __DIR__ . '/check.php';

[$dsn, $user, $password] = [dsn(), setting('USER'), setting('PASSWORD')];
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
}
$persistent = fn () => new PDO($dsn, $user, $password, [PDO::ATTR_PERSISTENT => true]);
same('persistent', '1', (string) $persistent()->query('SELECT 1')->fetchColumn());
same('persistent again', '2', (string) $persistent()->query('SELECT 2')->fetchColumn());
try {
    new PDO($dsn, $user, 'wrong');
    same('wrong password', 'an exception', 'none');
} catch (PDOException $e) {
    same('wrong password', 1045, $e->getCode());
}
