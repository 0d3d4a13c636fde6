# PHP's own tests of mysqli and PDO, run by the system's PHP.
fetch() {
    php -r 'exit((extension_loaded("mysqli") && extension_loaded("pdo_mysql")) ? 0 : 1);'
    unpack_debian bookworm php8.2
}

run_suite() {
    cd source
    export MYSQL_TEST_HOST=$HOST MYSQL_TEST_PORT=$PORT MYSQL_TEST_USER=$USER MYSQL_TEST_PASSWD=$PASSWORD
    export MYSQL_TEST_DB=test PDO_MYSQL_TEST_DSN="mysql:host=$HOST;port=$PORT;dbname=test"
    export PDO_MYSQL_TEST_USER=$USER PDO_MYSQL_TEST_PASS=$PASSWORD PDO_MYSQL_TEST_HOST=$HOST
    export PDO_MYSQL_TEST_PORT=$PORT PDO_MYSQL_TEST_DB=test
    export TEST_PHP_EXECUTABLE NO_INTERACTION=1 SKIP_ONLINE_TESTS=1
    TEST_PHP_EXECUTABLE=$(command -v php)
    php run-tests.php -q --offline --set-timeout 60 --no-color ext/mysqli ext/pdo_mysql
}

results() {
    sed -nE 's/^.*\b(PASS|FAIL|SKIP|XFAIL|BORK|WARN|LEAK) .*\[([^]]*\.phpt)\].*$/\1 \2/p' |
        sed -E 's/^PASS/pass/; s/^(FAIL|BORK|WARN|LEAK)/fail/; s/^(SKIP|XFAIL)/skip/'
}
