# peewee, by PyMySQL.
fetch() {
    python_with pymysql cryptography
    unpack_debian trixie peewee
}

run_suite() {
    sql 'DROP DATABASE IF EXISTS peewee_test; CREATE DATABASE peewee_test CHARACTER SET utf8mb4'
    cd source
    PEEWEE_TEST_BACKEND=mysql PEEWEE_MYSQL_HOST=$HOST PEEWEE_MYSQL_PORT=$PORT PEEWEE_MYSQL_USER=$USER \
        PEEWEE_MYSQL_PASSWORD=$PASSWORD "$PYTHON" -m unittest -v tests 2>&1
}

results() { unittest_results; }
