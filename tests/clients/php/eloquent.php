<?php
// Laravel's Eloquent as Debian has it.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
require '/usr/share/php/Illuminate/Database/autoload.php';
require __DIR__ . '/check.php';
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);

use Illuminate\Database\Capsule\Manager as Capsule;
use Illuminate\Database\Eloquent\Model;

$capsule = new Capsule();
$capsule->addConnection([
    'driver' => 'mysql', 'host' => setting('HOST'), 'port' => setting('PORT'), 'database' => setting('DATABASE'),
    'username' => setting('USER'), 'password' => setting('PASSWORD'), 'charset' => 'utf8mb4',
    'collation' => 'utf8mb4_unicode_ci', 'prefix' => '', 'strict' => true, 'engine' => null,
    'timezone' => '+00:00',
]);
$capsule->setAsGlobal();
$capsule->bootEloquent();

class Outlet extends Model {
    protected $table = 'el_outlets';
    protected $guarded = [];
    public function items() { return $this->hasMany(Item::class); }
}
class Item extends Model {
    protected $table = 'el_items';
    protected $guarded = [];
    public function outlet() { return $this->belongsTo(Outlet::class); }
}

$schema = Capsule::schema();
$schema->dropIfExists('el_items');
$schema->dropIfExists('el_outlets');
$schema->create('el_outlets', function ($t) { $t->increments('id'); $t->string('name')->unique(); $t->timestamps(); });
$schema->create('el_items', function ($t) {
    $t->increments('id'); $t->unsignedInteger('outlet_id'); $t->string('sku'); $t->integer('stock')->default(0);
    $t->timestamps(); $t->unique(['outlet_id', 'sku']); $t->foreign('outlet_id')->references('id')->on('el_outlets');
});
same('has table', true, $schema->hasTable('el_items'));
same('columns', true, $schema->hasColumn('el_items', 'stock'));
for ($i = 1; $i <= 10; $i++) {
    $outlet = Outlet::create(['name' => "Outlet $i"]);
    same('read back', "Outlet $i", Outlet::find($outlet->id)->name);
    for ($j = 1; $j <= 5; $j++) {
        Item::updateOrCreate(['outlet_id' => $outlet->id, 'sku' => "S$j"], ['stock' => $j]);
    }
}
Item::updateOrCreate(['outlet_id' => 1, 'sku' => 'S1'], ['stock' => 50]);
same('updated', 50, (int) Item::where('sku', 'S1')->where('outlet_id', 1)->first()->stock);
same('count', 50, Item::count());
same('sum', 10 * 15 + 49, (int) Item::sum('stock'));
same('eager', 10, Outlet::with('items')->get()->filter(fn ($o) => $o->items->count() === 5)->count());
same('join', 10, Item::join('el_outlets', 'el_outlets.id', '=', 'outlet_id')->where('sku', 'S2')->count());
same('first or create', false, Outlet::firstOrCreate(['name' => 'Outlet 1'])->wasRecentlyCreated);
$db = Capsule::connection();
$db->transaction(function () use ($db) {
    Item::query()->increment('stock', 1000);
    try {
        $db->transaction(function () { Item::query()->delete(); throw new RuntimeException('inner'); });
    } catch (RuntimeException $e) {
    }
    same('the savepoint was rolled back', 50, Item::count());
});
same('committed', true, Item::min('stock') >= 1000);
$seen = 0;
Item::orderBy('id')->chunk(7, function ($items) use (&$seen) { $seen += $items->count(); });
same('chunks', 50, $seen);
$seen = 0;
foreach (Item::orderBy('id')->cursor() as $item) { $seen++; }
same('cursor', 50, $seen);
try {
    Outlet::create(['name' => 'Outlet 1']);
    same('duplicate', 'an exception', 'none');
} catch (Illuminate\Database\QueryException $e) {
    same('duplicate', 1062, $e->errorInfo[1]);
}
Item::where('outlet_id', 3)->lockForUpdate()->get();
same('upsert', 2, Item::upsert([['outlet_id' => 1, 'sku' => 'S1', 'stock' => 7]], ['outlet_id', 'sku'], ['stock']));
same('after it', 7, (int) Item::where('outlet_id', 1)->where('sku', 'S1')->value('stock'));
