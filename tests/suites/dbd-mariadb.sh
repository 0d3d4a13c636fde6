# Perl's DBD::MariaDB, as the system has it compiled.
fetch() {
    perl -MDBD::MariaDB -MTest::Deep -MTest::Simple -e 1
    unpack_debian bookworm libdbd-mariadb-perl
}

run_suite() {
    sql 'ALTER DATABASE test CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci'
    cd source
    cat >t/MariaDB.mtest <<PERL
\$::test_host = '$HOST'; \$::test_port = $PORT; \$::test_user = '$USER'; \$::test_password = '$PASSWORD';
\$::test_db = 'test'; \$::test_dsn = 'DBI:MariaDB:database=test;host=$HOST;port=$PORT';
1;
PERL
    DBI_DSN="DBI:MariaDB:database=test;host=$HOST;port=$PORT" DBI_USER=$USER DBI_PASS=$PASSWORD \
        CONNECTION_TESTING='' PERL_HASH_SEED=0 prove --verbose --timer t
}

results() { tap_results; }
