# Perl's DBD::mysql, as the system has it compiled.
fetch() {
    perl -MDBD::mysql -MTest::Deep -MTest::Simple -e 1
    unpack_debian bookworm libdbd-mysql-perl
}

run_suite() {
    cd source
    cat >t/mysql.mtest <<PERL
\$::test_host = '$HOST'; \$::test_port = $PORT; \$::test_user = '$USER'; \$::test_password = '$PASSWORD';
\$::test_db = 'test'; \$::test_dsn = 'DBI:mysql:database=test;host=$HOST;port=$PORT';
1;
PERL
    DBI_DSN="DBI:mysql:database=test;host=$HOST;port=$PORT" DBI_USER=$USER DBI_PASS=$PASSWORD \
        CONNECTION_TESTING='' PERL_HASH_SEED=0 prove --verbose --timer t
}

results() { tap_results; }
