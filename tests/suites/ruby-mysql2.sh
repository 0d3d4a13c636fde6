# Ruby's mysql2, with MariaDB's C client.
fetch() {
    command -v rspec
    unpack_git brianmario/mysql2 0.5.7
    [ -e source/lib/mysql2/mysql2.so ] || {
        (cd source/ext/mysql2 && ruby extconf.rb && make)
        cp source/ext/mysql2/mysql2.so source/lib/mysql2/
    }
}

run_suite() {
    sql 'ALTER DATABASE test CHARACTER SET utf8mb4'
    cd source
    local login="{host: $HOST, port: $PORT, username: $USER, password: $PASSWORD, database: test}"
    echo "{root: $login, user: $login}" >spec/configuration.yml
    # The tests that ask for certificates are given the server's own. In capitals its host is none that
    # the client takes for a Unix socket.
    cp "$CERTIFICATE" spec/ssl/ca-cert.pem
    cp "$CERTIFICATE" spec/ssl/client-cert.pem
    cp "${CERTIFICATE%/*}/key.pem" spec/ssl/client-key.pem
    TEST_RUBY_MYSQL2_SSL_CERT_DIR=$PWD/spec/ssl TEST_RUBY_MYSQL2_SSL_CERT_HOST=LOCALHOST \
        rspec --format json --out ../results.json --format documentation spec/mysql2 || true
    ruby -rjson -e 'JSON.load_file("../results.json")["examples"].each { |example|
        puts "example #{example["status"]} #{example["file_path"]} #{example["full_description"]}" }'
}

results() { sed -nE 's/^example passed /pass /p; s/^example failed /fail /p; s/^example pending /skip /p'; }
