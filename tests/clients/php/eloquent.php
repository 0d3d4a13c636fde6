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
    public function tags() { return $this->belongsToMany(Tag::class, 'el_outlet_tag'); }
}
class Tag extends Model {
    protected $table = 'el_tags';
    protected $guarded = [];
    protected $casts = ['options' => 'array', 'seen_at' => 'datetime'];
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

// Relations through a pivot table, casts, and the query builder.
foreach (['el_outlet_tag', 'el_tags'] as $table) { $schema->dropIfExists($table); }
$schema->create('el_tags', function ($t) { $t->id(); $t->string('name'); $t->json('options')->nullable(); $t->dateTime('seen_at', 6)->nullable(); $t->timestamps(); });
$schema->create('el_outlet_tag', function ($t) { $t->unsignedInteger('outlet_id'); $t->unsignedBigInteger('tag_id'); $t->primary(['outlet_id', 'tag_id']); });
$schema->table('el_tags', function ($t) { $t->string('colour', 20)->default('red')->index(); });
$tag = Tag::create(['name' => 'näme', 'options' => ['a' => [1, null]], 'seen_at' => '2026-11-24 10:11:12']);
same('default of a new column', 'red', $tag->fresh()->colour);
same('json', ['a' => [1, null]], Tag::find($tag->id)->options);
same('date', '2026-11-24 10:11:12', Tag::find($tag->id)->seen_at->format('Y-m-d H:i:s'));
Outlet::find(1)->tags()->attach($tag->id);
Outlet::find(2)->tags()->sync([$tag->id]);
same('pivot', [1, 2], Outlet::whereHas('tags')->orderBy('id')->pluck('id')->all());
same('counts', [1, 1, 0], Outlet::withCount('tags')->orderBy('id')->take(3)->pluck('tags_count')->map(fn ($n) => (int) $n)->all());
same('detached', 1, Outlet::find(1)->tags()->detach());
same('insertGetId', $db->table('el_tags')->insertGetId(['name' => 'x']), $db->table('el_tags')->max('id'));
same('exists', [true, false], [Tag::where('name', 'x')->exists(), Tag::where('name', 'no')->exists()]);
same('page', ['S3', 'S4'], Item::where('outlet_id', 4)->orderBy('sku')->forPage(2, 2)->pluck('sku')->all());
same('lazy', 50, Item::lazyById(9)->count());
same('group', 10, Item::selectRaw('outlet_id, SUM(stock) AS s')->groupBy('outlet_id')->havingRaw('s > ?', [0])->get()->count());
same('union', 2, count($db->select('(SELECT id FROM el_outlets WHERE id = ?) UNION ALL (SELECT id FROM el_tags WHERE name = ?)', [1, 'x'])));
same('affected', 5, $db->update('UPDATE el_items SET stock = stock + 1 WHERE outlet_id = ?', [9]));
same('unprepared', true, $db->unprepared("SET @el = 'kept'"));
same('user variable', 'kept', $db->selectOne('SELECT @el AS v')->v);
same('soft lock', 5, Item::where('outlet_id', 2)->sharedLock()->get()->count());

// Every write is read at once by the same connection: the application's first expectation.
for ($i = 1; $i <= 100; $i++) {
    $item = Item::where('outlet_id', 5)->where('sku', 'S1')->first();
    $item->update(['stock' => $i]);
    if (Item::find($item->id)->stock != $i) { same("own write $i", $i, Item::find($item->id)->stock); }
}
same('a hundred own writes', 100, (int) Item::where('outlet_id', 5)->where('sku', 'S1')->value('stock'));

// Transactions: levels, one that is retried, one that fails as a whole, an error inside.
$db->beginTransaction();
$db->beginTransaction();
same('levels', 2, $db->transactionLevel());
Tag::query()->update(['colour' => 'blue']);
$db->commit();
$db->rollBack();
same('the outer rolled back the inner', 0, Tag::where('colour', 'blue')->count());
$attempts = 0;
$db->transaction(function () use (&$attempts, $db) {
    if (++$attempts < 3) { throw new PDOException('Deadlock found when trying to get lock; try restarting transaction'); }
    Tag::query()->update(['colour' => 'green']);
}, 5);
same('third attempt', [3, 2], [$attempts, Tag::where('colour', 'green')->count()]);
try {
    $db->transaction(function () {
        Tag::create(['name' => 'lost']);
        Outlet::create(['name' => 'Outlet 1']);
    });
} catch (Illuminate\Database\QueryException $e) {
}
same('nothing of a failed transaction', 0, Tag::where('name', 'lost')->count());
$db->transaction(function () {
    try { Outlet::create(['name' => 'Outlet 1']); } catch (Illuminate\Database\QueryException $e) { }
    Tag::create(['name' => 'kept']);
});
same('an error inside, handled', 1, Tag::where('name', 'kept')->count());
$pdo = $db->getPdo();
$db->reconnect();
same('reconnected', true, $pdo !== $db->getPdo() && Outlet::count() === 10);
$db->table('el_outlet_tag')->truncate();
same('truncated', 0, $db->table('el_outlet_tag')->count());
same('deleted', 5, Outlet::find(10)->items()->delete());
same('model deleted', [true, null], [Outlet::find(10)->delete(), Outlet::find(10)]);
foreach (['el_outlet_tag', 'el_tags', 'el_items', 'el_outlets'] as $table) { $schema->drop($table); }
same('dropped', false, $schema->hasTable('el_items'));
