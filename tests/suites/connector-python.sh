# MySQL's Connector/Python, without its compiled part and what needs services of other kinds.
fetch() {
    python_with setuptools cryptography dnspython
    unpack_sdist mysql-connector-python==26.10.0
}

run_suite() {
    cd source
    "$PYTHON" unittests.py --use-external-server --skip-install --host "$HOST" --port "$PORT" \
        --user "$USER" --password "$PASSWORD" --verbosity 2 2>&1 || true
}

# What is logged within a test comes between its name and its result.
results() {
    awk 'function tell(result) {
            if (result ~ /^ok/) print "pass " name
            else if (result ~ /^(FAIL|ERROR|unexpected success)/) print "fail " name
            else if (result ~ /^(skipped|expected failure)/) print "skip " name
            else return
            name = ""
        }
        / \.\.\. / { name = $1; sub(/.* \.\.\. /, ""); tell($0); next }
        name { tell($0) }'
}
