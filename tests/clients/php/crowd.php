<?php
// Many Laravel connections of one process in turn: pages that read, and forms that write.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
require '/usr/share/php/Illuminate/Database/autoload.php';
require __DIR__ . '/check.php';
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);

use Illuminate\Database\Capsule\Manager as Capsule;

[, $number, $connections, $seconds] = $argv;
$capsule = new Capsule();
for ($i = 0; $i < $connections; $i++) {
    $capsule->addConnection([
        'driver' => 'mysql', 'host' => setting('HOST'), 'port' => setting('PORT'), 'database' => setting('DATABASE'),
        'username' => setting('USER'), 'password' => setting('PASSWORD'), 'charset' => 'utf8mb4',
        'collation' => 'utf8mb4_unicode_ci', 'prefix' => '', 'strict' => true, 'engine' => null,
        'timezone' => '+00:00',
    ], "c$i");
}
$table = "crowd_php_$number";
$first = $capsule->getConnection('c0');
$first->getSchemaBuilder()->dropIfExists($table);
$first->getSchemaBuilder()->create($table, function ($table) {
    $table->increments('id');
    $table->string('name');
    $table->integer('visits')->default(0);
    $table->timestamps();
});
$expected = [];
for ($i = 0; $i < $connections; $i++) {
    $expected[$i] = $capsule->getConnection("c$i")->table($table)->insertGetId(['name' => "name $i"]);
}
$requests = 0;
for ($until = microtime(true) + $seconds; microtime(true) < $until; $requests++) {
    $i = random_int(0, $connections - 1);
    $connection = $capsule->getConnection("c$i");
    $row = $connection->table($table)->where('id', $expected[$i])->first();
    if ($row->name !== "name $i") { same('a row', "name $i", $row->name); }
    if (random_int(0, 3) == 0) {
        $connection->transaction(function ($connection) use ($table, $row) {
            $connection->table($table)->where('id', $row->id)->increment('visits');
            $connection->table($table)->where('id', $row->id)->lockForUpdate()->first();
        });
        $now = $connection->table($table)->where('id', $row->id)->value('visits');
        if ($now !== $row->visits + 1) { same('visits', $row->visits + 1, $now); }
    }
}
$first->getSchemaBuilder()->drop($table);
echo "ok $requests requests over $connections connections\n";
