# Laravel: the tests of its database layer, by PDO, with a test bench of tests/suites/laravel/. Those
# that its authors run on SQLite in memory are run here as well.
fetch() {
    command -v phpunit
    php -r 'foreach (["Illuminate", "Doctrine/DBAL", "Mockery", "Faker"] as $name) require_once "$name/autoload.php";'
    unpack_debian bookworm php-laravel-framework
    mkdir -p app/{bootstrap/cache,storage,views,app,database/migrations}
    echo '{"autoload": {"psr-4": {"App\\\\": "app/"}}}' >app/composer.json
    local login="'driver' => 'mysql', 'host' => getenv('HOST'), 'port' => getenv('PORT')"
    login+=", 'username' => getenv('USER'), 'password' => getenv('PASSWORD'), 'charset' => 'utf8mb4'"
    # The second connection of a test has a database of its own, as in memory.
    perl -pi -e 'BEGIN { $login = shift } $count = 0 if $. == 1; close ARGV if eof;
        s/\x27driver\x27 *=> *\x27sqlite\x27/$login/;
        s/\x27:memory:\x27/"\x27test" . (++$count > 1 ? $count : "") . "\x27"/e' \
        "$login" source/tests/Database/*Test.php
}

run_suite() {
    sql 'DROP DATABASE IF EXISTS test2; CREATE DATABASE test2 CHARACTER SET utf8mb4;
        DROP DATABASE IF EXISTS test3; CREATE DATABASE test3 CHARACTER SET utf8mb4;
        ALTER DATABASE test CHARACTER SET utf8mb4'
    cd source
    echo '<phpunit><extensions><extension class="Orchestra\Testbench\EmptyDatabase"/></extensions></phpunit>' >suite.xml
    # A process each: the connections of a test stay open to the end of it.
    local path
    for path in tests/Integration/{Database,Migration,Validation,Auth/AuthenticationTest.php} \
        tests/Integration/Queue/JobEncryptionTest.php $(grep -l "getenv('PORT')" tests/Database/*Test.php); do
        APPLICATION=$PWD/../app phpunit --configuration suite.xml \
            --bootstrap "$DATA/laravel/bootstrap.php" --teamcity "$path" || true
    done
}

results() { teamcity_results; }
