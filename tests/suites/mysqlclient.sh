# mysqlclient (MySQLdb): the C client's Python interface.
fetch() {
    python_with pytest==7.4.4 setuptools mysqlclient
    unpack_sdist mysqlclient
}

run_suite() {
    sql 'ALTER DATABASE test CHARACTER SET utf8mb4'
    cat >login.cnf <<CNF
[MySQLdb-tests]
host = $HOST
port = $PORT
user = $USER
password = $PASSWORD
database = test
default-character-set = utf8mb4
CNF
    cd source
    TESTDB=$PWD/../login.cnf "$PYTHON" -m pytest -v -p no:cacheprovider --tb=short tests
}

results() { pytest_results; }
