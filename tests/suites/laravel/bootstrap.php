<?php
// What Laravel's tests want of their test bench, which no Debian package has: an application in a
// directory of its own, on the database of the suite.

namespace Orchestra\Testbench;

require_once 'Illuminate/autoload.php';
require_once 'Doctrine/DBAL/autoload.php';
require_once 'Mockery/autoload.php';
require_once 'Faker/autoload.php';

spl_autoload_register(function (string $class): void {
    $prefix = 'Illuminate\\Tests\\';
    $file = getcwd().'/tests/'.strtr(substr($class, strlen($prefix)), '\\', '/').'.php';
    if (str_starts_with($class, $prefix) && is_file($file)) {
        require $file;
    }
});

class ConsoleKernel extends \Illuminate\Foundation\Console\Kernel
{
    // The configuration is in this file.
    protected $bootstrappers = [
        \Illuminate\Foundation\Bootstrap\RegisterFacades::class,
        \Illuminate\Foundation\Bootstrap\SetRequestForConsole::class,
        \Illuminate\Foundation\Bootstrap\RegisterProviders::class,
        \Illuminate\Foundation\Bootstrap\BootProviders::class,
    ];
}

/** Gives each test empty databases, as those in memory are. */
class EmptyDatabase implements \PHPUnit\Runner\BeforeTestHook
{
    public function executeBeforeTest(string $test): void
    {
        $server = sprintf('mysql:host=%s;port=%d', getenv('HOST'), getenv('PORT'));
        $root = new \PDO($server, getenv('USER'), getenv('PASSWORD'));
        $used = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_schema LIKE 'test%'";
        foreach ($root->query($used)->fetchAll(\PDO::FETCH_COLUMN) as $name) {
            $root->exec("DROP DATABASE $name");
            $root->exec("CREATE DATABASE $name CHARACTER SET utf8mb4");
        }
    }
}

abstract class TestCase extends \Illuminate\Foundation\Testing\TestCase
{
    public function createApplication()
    {
        $base = getenv('APPLICATION');
        $app = new \Illuminate\Foundation\Application($base);
        $app->detectEnvironment(fn () => 'testing');
        $app->singleton(\Illuminate\Contracts\Console\Kernel::class, ConsoleKernel::class);
        $app->singleton(\Illuminate\Contracts\Http\Kernel::class, \Illuminate\Foundation\Http\Kernel::class);
        $app->singleton(
            \Illuminate\Contracts\Debug\ExceptionHandler::class,
            \Illuminate\Foundation\Exceptions\Handler::class
        );
        $app->instance('config', new \Illuminate\Config\Repository($this->configuration($base)));
        $app['config']->set('app.providers', array_merge(
            $app['config']['app.providers'], $this->getPackageProviders($app)
        ));
        $this->defineEnvironment($app);
        $this->getEnvironmentSetUp($app);
        $app->make(\Illuminate\Contracts\Console\Kernel::class)->bootstrap();

        return $app;
    }

    private function configuration(string $base): array
    {
        $mysql = [
            'driver' => 'mysql', 'host' => getenv('HOST'), 'port' => getenv('PORT'),
            'database' => 'test', 'username' => getenv('USER'), 'password' => getenv('PASSWORD'),
            'charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci', 'prefix' => '',
            'prefix_indexes' => true, 'strict' => true, 'engine' => null,
        ];
        $components = [
            'Auth\AuthServiceProvider', 'Broadcasting\BroadcastServiceProvider', 'Bus\BusServiceProvider',
            'Cache\CacheServiceProvider', 'Foundation\Providers\ConsoleSupportServiceProvider',
            'Cookie\CookieServiceProvider', 'Database\DatabaseServiceProvider',
            'Encryption\EncryptionServiceProvider', 'Filesystem\FilesystemServiceProvider',
            'Foundation\Providers\FoundationServiceProvider', 'Hashing\HashServiceProvider',
            'Notifications\NotificationServiceProvider', 'Pagination\PaginationServiceProvider',
            'Pipeline\PipelineServiceProvider', 'Queue\QueueServiceProvider',
            'Session\SessionServiceProvider', 'Translation\TranslationServiceProvider',
            'Validation\ValidationServiceProvider', 'View\ViewServiceProvider',
        ];

        return [
            'app' => [
                'name' => 'Laravel', 'env' => 'testing', 'debug' => true, 'url' => 'http://localhost',
                'timezone' => 'UTC', 'locale' => 'en', 'fallback_locale' => 'en',
                'key' => str_repeat('k', 32), 'cipher' => 'AES-256-CBC',
                'providers' => array_map(fn ($name) => "Illuminate\\$name", $components),
                'aliases' => [
                    'DB' => \Illuminate\Support\Facades\DB::class,
                    'Schema' => \Illuminate\Support\Facades\Schema::class,
                ],
            ],
            'auth' => [
                'defaults' => ['guard' => 'web', 'passwords' => 'users'],
                'guards' => ['web' => ['driver' => 'session', 'provider' => 'users']],
                'providers' => ['users' => ['driver' => 'eloquent', 'model' => 'User']],
            ],
            'broadcasting' => ['default' => 'null', 'connections' => ['null' => ['driver' => 'null']]],
            'cache' => ['default' => 'array', 'prefix' => '', 'stores' => [
                'array' => ['driver' => 'array'],
                'database' => ['driver' => 'database', 'table' => 'cache', 'connection' => null],
            ]],
            'database' => [
                'default' => 'mysql', 'migrations' => 'migrations',
                'connections' => ['mysql' => $mysql],
            ],
            'filesystems' => [
                'default' => 'local', 'disks' => ['local' => ['driver' => 'local', 'root' => "$base/storage"]],
            ],
            'hashing' => ['driver' => 'bcrypt', 'bcrypt' => ['rounds' => 4]],
            'logging' => ['default' => 'null', 'channels' => ['null' => [
                'driver' => 'monolog', 'handler' => \Monolog\Handler\NullHandler::class,
            ]]],
            'queue' => [
                'default' => 'sync', 'failed' => ['driver' => 'null'],
                'connections' => [
                    'sync' => ['driver' => 'sync'],
                    'database' => [
                        'driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90,
                    ],
                ],
            ],
            'session' => [
                'driver' => 'array', 'lifetime' => 120, 'expire_on_close' => false, 'encrypt' => false,
                'cookie' => 'session', 'path' => '/', 'domain' => null,
                'secure' => false, 'lottery' => [0, 100],
            ],
            'view' => ['paths' => ["$base/views"], 'compiled' => "$base/storage"],
        ];
    }

    protected function setUpTraits()
    {
        $this->defineDatabaseMigrations();
        $uses = parent::setUpTraits();
        $this->defineDatabaseMigrationsAfterDatabaseRefreshed();

        return $uses;
    }

    protected function getPackageProviders($app)
    {
        return [];
    }

    protected function defineEnvironment($app)
    {
    }

    protected function getEnvironmentSetUp($app)
    {
    }

    protected function defineDatabaseMigrations()
    {
    }

    protected function defineDatabaseMigrationsAfterDatabaseRefreshed()
    {
    }
}
