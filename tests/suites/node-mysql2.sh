# Node's mysql2: its tests on a server, file by file.
fetch() {
    unpack_git sidorares/node-mysql2 v3.23.4
    [ -d source/node_modules/tsx ] ||
        npm ci --silent --no-audit --no-fund --ignore-scripts --prefix source
}

run_suite() {
    sql 'ALTER DATABASE test CHARACTER SET utf8mb4'
    cd source
    export CI=1 MYSQL_HOST=$HOST MYSQL_PORT=$PORT MYSQL_USER=$USER MYSQL_PASSWORD=$PASSWORD MYSQL_DATABASE=test
    local path
    for path in $(find test/integration test/global -name '*.test.mts' | LC_ALL=C sort); do
        echo "file $path"
        if timeout 60 node --import tsx "$path"; then echo "end ok"; else echo "end bad"; fi
    done
}

# Tests within a file are indented, passed ones green, and failed ones red. One that never ends is told by
# the end of its file, as is a file without tests in it.
results() {
    awk 'BEGIN { green = "\033[32m\033[1m●"; red = "\033[91m\033[1m●" }
        function name() { sub(/^[^●]*● /, ""); sub(/\033.*/, ""); return file " " $0 }
        $1 == "file" { file = $2; seen = 0; next }
        / ◯ / || /^◯ / { skipped = 1 }
        /^  / && index($0, green) { print "pass " name(); seen = 1; next }
        /^  / && index($0, red) { print "fail " name(); seen = 1; next }
        $0 == "end bad" { print "fail " file }
        $0 == "end ok" && !seen { print "pass " file }'
}
