#!/usr/bin/env bash
# Everything that has to hold: one line per stage with its time; the output of a stage that fails.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/logs
export CARGO_TERM_COLOR=never RUST_BACKTRACE=1
# Most tests wait for servers: with as many as cores half of the machine idles.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}

# Whether a command's log shows tests that ran, for each name it picks them by. Cargo is content with
# none: a stage whose tests are renamed would be empty and pass.
has_run() {
    local log=$1
    shift
    [[ " $* " == *' cargo test '* ]] || return 0
    if grep -q '^test result: ok\. 0 passed' "$log"; then
        echo 'no test has run' >>"$log"
        return 1
    fi
    while [ $# -gt 0 ]; do
        case $1 in
            --test | --skip) shift ;;
            env | cargo | test | -* | *=*) ;;
            *)
                if ! grep -q "^test .*$1.* \.\.\. ok" "$log"; then
                    echo "no test of this name has run: $1" >>"$log"
                    return 1
                fi
                ;;
        esac
        shift
    done
}

stage() {
    local name=$1 log=target/logs/$1.log started=$SECONDS
    shift
    if "$@" >"$log" 2>&1 && has_run "$log" "$@"; then
        printf '%-18s ok      %4d s\n' "$name" $((SECONDS - started))
        grep -hE '^test result:|^ +Summary' "$log" || true
    else
        printf '%-18s FAILED  %4d s  (%s)\n' "$name" $((SECONDS - started)) "$log"
        tail -n 150 "$log"
        exit 1
    fi
}

# Whether what runs beside the stages has succeeded; its output when not.
beside() {
    wait "$1" && return
    cat "$2"
    return 1
}

[ "${FAIRLANE_SKIP_INSTALL:-}" = 1 ] || stage install scripts/install.sh test
stage fmt cargo fmt --check
# It takes minutes, and neither this nor the next stages keep all cores busy.
nice cargo build --locked --release --example micro_bench --bin fairlane >target/logs/core-build.log 2>&1 &
core=$!
trap 'kill $core 2>/dev/null' EXIT
stage clippy cargo clippy --locked --all-targets -- -D warnings
stage doc env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --lib
stage unit cargo test --locked --lib
stage tidy cargo test --locked --test tidy
stage corpus cargo test --locked --test corpus
stage simulation cargo test --locked --test simulation
stage routing cargo test --locked --test routing_table
stage build cargo build --locked --bin fairlane
stage sandbox cargo test --locked --test sandbox
stage core beside $core target/logs/core-build.log
trap - EXIT
stage instructions cargo test --locked --test instructions
stage statement cargo test --locked --test statement_cost
# Servers are frozen and killed in it, and looked at moments later.
stage topology env RUST_TEST_THREADS=2 cargo test --locked --test topology
stage integration cargo test --locked --test it
stage locks-mysql env FAIRLANE_TEST_SERVER=mysql cargo test --locked --test it -- locks:: along:: what_is_null who_leaves routines:: sessions_go_on end_of_a_transaction_is_told only_prepared wide_character_set trackers:: sessions_begin_with_the_defaults a_resource_group names_of_mariadbs a_text_of_digits limits_of_its_login errors_are_counted
stage locks-11.8 env FAIRLANE_TEST_SERVER=mariadb-unstable cargo test --locked --test it -- locks:: a_write_is_told insert_ids:: state:: along:: trackers:: results_of_a_bulk
stage cost env FAIRLANE_TEST_SERVER=mysql cargo test --locked --test it two_sessions_in_turn
stage freshness env FAIRLANE_TEST_SERVER=mysql cargo test --locked --test it -- freshness in_flight untold:: not_logged:: visits::
# Random sessions are the same ones in each run, so that a change is judged by what it changed.
seed=FAIRLANE_SEED=${FAIRLANE_SEED:-20000}
stage differential env "$seed" cargo test --locked --test differential -- --skip no_session_sees
stage differential-11.8 env "$seed" FAIRLANE_TEST_SERVER=mariadb-unstable cargo test --locked --test differential -- --skip no_session_sees
stage differential-mysql env "$seed" FAIRLANE_TEST_SERVER=mysql cargo test --locked --test differential -- --skip no_session_sees
# Alone on its servers, which others would hold up.
stage leaks env "$seed" FAIRLANE_LEAK_STATEMENTS=6000 cargo test --locked --test differential no_session_sees
stage leaks-11.8 env "$seed" FAIRLANE_LEAK_STATEMENTS=6000 FAIRLANE_TEST_SERVER=mariadb-unstable cargo test --locked --test differential no_session_sees
stage leaks-mysql env "$seed" FAIRLANE_LEAK_STATEMENTS=6000 FAIRLANE_TEST_SERVER=mysql cargo test --locked --test differential no_session_sees
stage mysql cargo test --locked --test mysql
# They share a table of sysbench's.
stage clients env RUST_TEST_THREADS=2 cargo test --locked --test clients
