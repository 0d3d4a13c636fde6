# aiomysql. Its fixtures start servers in containers; they are told of one that runs instead.
fetch() {
    python_with pytest==7.4.4 aiomysql pymysql cryptography uvloop sqlalchemy==1.4.54
    unpack_sdist aiomysql
}

run_suite() {
    cd source
    cp "$CERTIFICATE" tests/ssl_resources/ssl/ca.pem
    MYSQL_ROOT_PASSWORD=$PASSWORD PYTHONPATH=. "$PYTHON" -m pytest -v -p no:cacheprovider --tb=short \
        --mysql-address "server=$HOST:$PORT" tests
}

results() { pytest_results; }
