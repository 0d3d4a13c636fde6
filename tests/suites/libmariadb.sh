# MariaDB's C client, of the server's source, with the tests beside it.
TESTS='basic-t bulk1 charset conc336 connection cursor dyncol errors features-10_2 fetch logs misc ps
    ps_bugs ps_new result sp thread view async t_conc173'

fetch() {
    command -v cmake cc
    unpack_debian bookworm mariadb
    [ -x build/unittest/libmariadb/view ] || {
        # A warning of this compiler is no fault of theirs.
        sed -i 's/-Werror//g' source/libmariadb/CMakeLists.txt
        cmake -S source/libmariadb -B build -DWITH_UNIT_TESTS=ON -DCMAKE_BUILD_TYPE=Release \
            -DWITH_EXTERNAL_ZLIB=ON -DCMAKE_C_FLAGS=-w
        cmake --build build
    }
}

run_suite() {
    sql 'ALTER DATABASE test CHARACTER SET latin1'
    export MARIADB_CC_TEST=1 MYSQL_TEST_HOST=$HOST MYSQL_TEST_PORT=$PORT MYSQL_TEST_USER=$USER
    export MYSQL_TEST_PASSWD=$PASSWORD MYSQL_TEST_DB=test
    cd build/unittest/libmariadb
    local name
    for name in $TESTS; do
        echo "suite $name"
        timeout 120 "./$name" || echo "not ok 0 - $name ends badly"
    done
}

results() {
    awk '$1 == "suite" { suite = $2 }
        /^ok .*# skip/ { sub(/^ok [0-9]+ # skip /, ""); print "skip " suite " " $0; next }
        /^ok [0-9]/ { sub(/^ok [0-9]+ - /, ""); print "pass " suite " " $0 }
        /^not ok [0-9]/ { sub(/^not ok [0-9]+ - /, ""); print "fail " suite " " $0 }'
}
