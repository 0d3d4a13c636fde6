# MariaDB's connector for Node.
fetch() {
    unpack_git mariadb-corporation/mariadb-connector-nodejs 3.5.3
    [ -x source/node_modules/.bin/vitest ] ||
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix source
}

run_suite() {
    sql 'DROP DATABASE IF EXISTS testn; CREATE DATABASE testn CHARACTER SET utf8mb4'
    cd source
    export TEST_DB_HOST=$HOST TEST_DB_PORT=$PORT TEST_DB_USER=$USER TEST_DB_PASSWORD=$PASSWORD TEST_DB_DATABASE=testn
    if [ "$SERVER" = mysql ]; then export DB_TYPE=mysql; fi
    rm -f ../results.json
    node_modules/.bin/vitest run --no-file-parallelism --isolate --reporter=verbose \
        --reporter=json --outputFile=../results.json test/integration || true
    node -e 'for (const file of require("../results.json").testResults) {
        const path = file.name.replace(/.*\/integration\//, "");
        if (!file.assertionResults.length) console.log("result", file.status, path);
        for (const test of file.assertionResults) console.log("result", test.status, path, test.fullName);
    }'
}

results() { sed -nE 's/^result passed /pass /p; s/^result failed /fail /p; s/^result (skipped|pending|todo) /skip /p'; }
