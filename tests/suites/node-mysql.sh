# mysql of Node, whose tests only Debian's source has.
fetch() {
    unpack_debian bookworm node-mysql
    [ -d source/node_modules/sqlstring ] ||
        npm install --silent --no-audit --no-fund --no-save --prefix source --omit=dev
    # Beside the source: npm leaves out what its package needs for tests only.
    [ -d node_modules/utest ] || npm install --silent --no-audit --no-fund --no-save --prefix . \
        after@0.8.2 seedrandom@3.0.5 timezone-mock@0.0.7 urun@0.0.8 utest@0.0.8
}

run_suite() {
    cd source
    MYSQL_HOST=$HOST MYSQL_PORT=$PORT MYSQL_USER=$USER MYSQL_PASSWORD=$PASSWORD MYSQL_DATABASE=test \
        FILTER=integration node test/run.js
}

results() { sed -nE 's/^ok [0-9]+ (.*)$/pass \1/p; s/^not ok [0-9]+ (.*)$/fail \1/p'; }
