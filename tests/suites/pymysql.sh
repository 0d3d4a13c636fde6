# PyMySQL's own tests, which only Debian's source has.
fetch() {
    python_with pytest==7.4.4 pymysql cryptography
    unpack_debian trixie python-pymysql
}

run_suite() {
    sql 'DROP DATABASE IF EXISTS test1; CREATE DATABASE test1 CHARACTER SET utf8mb4;
        DROP DATABASE IF EXISTS test2; CREATE DATABASE test2 CHARACTER SET utf8mb4'
    local login="\"host\": \"$HOST\", \"port\": $PORT, \"user\": \"$USER\", \"passwd\": \"$PASSWORD\""
    cat >source/pymysql/tests/databases.json <<JSON
[{$login, "database": "test1", "use_unicode": true, "local_infile": true}, {$login, "database": "test2"}]
JSON
    cd source
    PYTHONPATH=. "$PYTHON" -m pytest -v -p no:cacheprovider --tb=short pymysql
}

results() { pytest_results; }
