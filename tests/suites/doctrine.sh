# Doctrine DBAL: its tests on a server, by PDO and by mysqli.
fetch() {
    command -v phpunit
    php -r 'foreach (["Doctrine/DBAL", "Symfony/Component/Cache"] as $name) require_once "$name/autoload.php";'
    unpack_git doctrine/dbal 3.6.1
    # What it needs beside itself is the system's.
    cat >bootstrap.php <<'PHP'
<?php
spl_autoload_register(static function (string $class): void {
    foreach (['Doctrine\\DBAL\\Tests\\' => 'tests/', 'Doctrine\\DBAL\\' => 'src/'] as $prefix => $folder) {
        $path = __DIR__ . "/source/$folder" . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
        if (str_starts_with($class, $prefix) && is_file($path)) {
            require $path;
            return;
        }
    }
});
foreach (['Doctrine/DBAL', 'Symfony/Component/Cache'] as $name) {
    require_once "$name/autoload.php";
}
PHP
}

run_suite() {
    local driver
    for driver in pdo_mysql mysqli; do
        cat >"$driver.xml" <<XML
<phpunit bootstrap="bootstrap.php"><php>
<ini name="error_reporting" value="-1"/><ini name="memory_limit" value="1G"/>
<var name="db_driver" value="$driver"/><var name="db_host" value="$HOST"/><var name="db_port" value="$PORT"/>
<var name="db_user" value="$USER"/><var name="db_password" value="$PASSWORD"/>
<var name="db_dbname" value="doctrine_tests"/><var name="db_charset" value="utf8mb4"/>
</php></phpunit>
XML
        echo "driver $driver"
        phpunit --configuration "$driver.xml" --teamcity source/tests/Functional || true
    done
}

results() {
    local log
    log=$(cat)
    for driver in pdo_mysql mysqli; do
        sed -n "/^driver $driver\$/,/^driver /p" <<<"$log" | teamcity_results | sed "s/ / $driver /"
    done
}
