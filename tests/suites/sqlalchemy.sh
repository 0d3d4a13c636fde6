# SQLAlchemy: the suite for dialects and MySQL's own tests, by PyMySQL.
fetch() {
    python_with pytest==7.4.4 sqlalchemy==2.0.36 pymysql cryptography setuptools
    unpack_sdist sqlalchemy==2.0.36
}

run_suite() {
    sql 'ALTER DATABASE test CHARACTER SET utf8mb4;
        DROP DATABASE IF EXISTS test_schema; CREATE DATABASE test_schema CHARACTER SET utf8mb4;
        DROP DATABASE IF EXISTS test_schema_2; CREATE DATABASE test_schema_2 CHARACTER SET utf8mb4'
    cd source
    "$PYTHON" -m pytest -v -p no:cacheprovider --tb=short --maxfail=1000 \
        --dburi "mysql+pymysql://$USER:$PASSWORD@$HOST:$PORT/test?charset=utf8mb4" \
        test/dialect/test_suite.py test/dialect/mysql test/engine/test_transaction.py \
        test/engine/test_reconnect.py test/engine/test_reflection.py test/sql/test_query.py \
        test/sql/test_insert_exec.py test/sql/test_defaults.py test/sql/test_resultset.py
}

results() { pytest_results; }
