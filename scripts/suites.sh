#!/usr/bin/env bash
# Runs the test suites of well-known clients on a server itself and through Fairlane:
#     scripts/suites.sh [--server mariadb|mysql|mariadb-unstable] [--consistency session|strong] [SUITE...]
# Without a name every suite of tests/suites/ runs. Prints how many tests pass on each side and every
# test whose result differs; exits 1 if one does. Sources and results stay in target/suites/.
# Compilers and runtimes (Go, Perl's DBI and the like) are those of the system (scripts/install.sh suites);
# a suite that lacks what it needs says so and counts as a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
server=mariadb consistency=session
while [ $# -gt 0 ]; do
    case $1 in
        --server) server=$2; shift 2 ;;
        --consistency) consistency=$2; shift 2 ;;
        -*) sed -n 3p "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- $(cd tests/suites && ls -- *.sh | grep -v '^lib\.sh$' | sed 's/\.sh$//')

temporary=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait; rm -rf "$temporary"' EXIT

# Some suites insist on TLS, which MariaDB 10.11 has only with a certificate it is given.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -keyout "$temporary/key.pem" -out "$temporary/certificate.pem" 2>/dev/null
# One of them leaves all its connections open.
sandbox=(--server-option local_infile=1 --server-option max_connections=1000
    --server-option "ssl_ca=$temporary/certificate.pem" --server-option "ssl_cert=$temporary/certificate.pem"
    --server-option "ssl_key=$temporary/key.pem")
case $server in
    mariadb) ;;
    mysql) sandbox+=(--server mysql --programs target/unstable/mysql/bin) ;;
    mariadb-unstable) sandbox+=(--programs target/unstable/mariadb/bin) ;;
    *) echo "$0: no server is called $server" >&2; exit 2 ;;
esac
if [ -z "${FAIRLANE:-}" ]; then
    cargo build --quiet --locked --bin fairlane
    FAIRLANE=${CARGO_TARGET_DIR:-target}/debug/fairlane
fi

# start NAME COMMAND...: in the background, its output in $temporary/NAME.
start() {
    local name=$1
    shift
    "$@" >"$temporary/$name" 2>&1 &
    started+=($!)
}

# await NAME TEXT: until the output of NAME has TEXT, for a minute.
await() {
    local _
    for _ in $(seq 600); do
        ! grep -q "$2" "$temporary/$1" 2>/dev/null || return 0
        sleep 0.1
    done
    cat "$temporary/$1" >&2
    exit 1
}

# address NAME SERVER: host and port of a server of a sandbox.
address() { sed -nE "s|^$2 .*@(.*)/.*|\1|p" "$temporary/$1"; }

start direct "$FAIRLANE" sandbox "${sandbox[@]}" --replicas 0
start behind "$FAIRLANE" sandbox "${sandbox[@]}" --replicas 1
await direct Ctrl-C
await behind Ctrl-C
# Suites fail to log in on purpose, over and over.
cat >"$temporary/fairlane.toml" <<CONFIG
listen = ["127.0.0.1:0"]
login_failures = 1000
[tls]
certificate = "$temporary/certificate.pem"
key = "$temporary/key.pem"
[admin]
listen = "off"
[service]
user = "fairlane"
password = "fairlane-secret"
[primary]
address = "$(address behind primary)"
[[replica]]
address = "$(address behind replica)"
[routing]
consistency = "$consistency"
CONFIG
start fairlane "$FAIRLANE" serve --config "$temporary/fairlane.toml"
await fairlane 'primary.* up=true'
port=$(sed -nE 's/.*listening for clients.*127\.0\.0\.1:([0-9]+).*/\1/p' "$temporary/fairlane")

# run SUITE SIDE PORT: writes "pass|fail|skip TEST" lines to target/suites/SERVER/SUITE.SIDE.
run() {
    local results=$root/target/suites/$server/$1.$2
    mkdir -p "${results%/*}"
    (
        export HOST=127.0.0.1 PORT=$3 USER=root PASSWORD=root-secret SERVER=$server SIDE=$2 SUITE=$1
        export CERTIFICATE=$temporary/certificate.pem
        . tests/suites/lib.sh
        . "tests/suites/$1.sh"
        mkdir -p "$SUITES/$1"
        cd "$SUITES/$1"
        # In a condition bash would go on after a step that fails.
        set +e
        (set -e; fetch) >"$results.fetch" 2>&1
        [ $? = 0 ] || { echo "fail fetch" >"$results"; exit 0; }
        set -e
        prepare
        run_suite >"$results.log" 2>&1 || true
        results <"$results.log" | LC_ALL=C sort -u -k2 >"$results"
    )
}

count() { grep -c "^$1 " "$2" || true; }

status=0
printf '%-16s %6s %7s %9s %8s\n' suite tests direct Fairlane differ
for suite; do
    run "$suite" direct "$(address direct root | sed 's/.*://')"
    run "$suite" fairlane "$port"
    direct=target/suites/$server/$suite.direct through=target/suites/$server/$suite.fairlane
    differences=$(diff "$direct" "$through" | grep '^[<>]' || true)
    printf '%-16s %6d %7d %9d %8d\n' "$suite" "$(grep -vc '^skip ' "$direct" || true)" \
        "$(count pass "$direct")" "$(count pass "$through")" \
        "$(cut -d' ' -f3- <<<"$differences" | sort -u | grep -c . || true)"
    if [ -n "$differences" ]; then
        sed 's/^</    direct  /; s/^>/    Fairlane/' <<<"$differences"
        status=1
    fi
    if [ "$(count pass "$direct")" = 0 ]; then
        echo "    no test of it passed on the server itself: see $direct.fetch and $direct.log"
        status=1
    fi
done
exit $status
