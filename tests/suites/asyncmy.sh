# asyncmy.
fetch() {
    python_with pytest==7.4.4 pytest-asyncio==0.21.2 asyncmy
    unpack_debian trixie python-asyncmy
    # The compiled package is tested, not the source beside the tests.
    rm -rf source/asyncmy
    sed -i 's/port=3306/port=int(os.environ["PORT"])/' source/conftest.py
}

run_suite() {
    sql 'DROP DATABASE IF EXISTS test'
    cd source
    MYSQL_PASS=$PASSWORD "$PYTHON" -m pytest -v -p no:cacheprovider --tb=short tests
}

results() { pytest_results; }
