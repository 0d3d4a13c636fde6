#!/usr/bin/env bash
# Fuzzing of what reads bytes from outside: scripts/fuzz.sh [keep] TARGET|all [EXECUTIONS]
#
# Runs libFuzzer on tests/fuzz with the stable toolchain: the compiler's own coverage pass is
# switched on by hand, since no sanitizer is needed where there is no unsafe code. With `keep` the
# corpus in tests/fuzz/corpus/, which `make test` replays, becomes the smallest that reaches all that
# was reached; inputs named found-* always stay. A finding stops the run; its input is in
# target/fuzz/findings/ and belongs into the corpus, once what it shows is mended.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=
if [ "${1:-}" = keep ]; then
    keep=1
    shift
fi
target=${1:?usage: scripts/fuzz.sh [keep] TARGET|all [EXECUTIONS]}
executions=${2:-1000000}
corpus=tests/fuzz/corpus
work=target/fuzz
findings=$work/findings
host=$(rustc -vV | sed -n 's/^host: //p')
build=${CARGO_TARGET_DIR:-target}/fuzz-build
mkdir -p "$findings"

# Its lock file follows the changes of the dependencies of the main one. With --target these flags are for the program alone, not for build scripts.
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
coverage+=' -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
coverage+=' -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares'
coverage+=' -Ccodegen-units=1'
RUSTFLAGS=$coverage cargo build --release --quiet --target "$host" \
    --target-dir "$build" --manifest-path tests/fuzz/Cargo.toml
program=$build/$host/release/fairlane-fuzz

# Runs the program on one target: run NAME ARGUMENTS...
run() {
    local name=$1
    shift
    FAIRLANE_FUZZ=$name nice -n 15 "$program" -rss_limit_mb=1024 -timeout=10 -max_len=4096 \
        -artifact_prefix="$findings/$name-" -print_final_stats=1 "$@"
}

fuzz() {
    local name=$1 dictionary=() log=$work/$1.log
    [ ! -f "tests/fuzz/$name.dict" ] || dictionary=(-dict="tests/fuzz/$name.dict")
    case $name in
        cache | classify | digest | substitute) dictionary=(-dict=tests/fuzz/sql.dict) ;;
    esac
    mkdir -p "$work/$name" "$corpus/$name"
    if ! run "$name" -runs="$executions" "${dictionary[@]}" "$work/$name" "$corpus/$name" >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "$name: FOUND SOMETHING ($log)"
        return 1
    fi
    sed -n 's/^stat::number_of_executed_units: *//p' "$log" | xargs printf '%-14s %s executions, ' "$name"
    sed -n 's/^stat::average_exec_per_sec: *//p' "$log" | xargs printf '%s a second\n'
    if [ -n "$keep" ]; then
        rm -rf "$work/$name.merged"
        mkdir -p "$work/$name.merged"
        run "$name" -set_cover_merge=1 -use_counters=0 -max_len=1024 "$work/$name.merged" \
            "$corpus/$name" "$work/$name" >"$log.merge" 2>&1
        find "$corpus/$name" -type f ! -name 'found-*' -delete
        mv "$work/$name.merged"/* "$corpus/$name"
    fi
}

if [ "$target" = all ]; then
    for name in $(sed -n 's/^    ("\([a-z_]*\)",.*/\1/p' tests/fuzz/targets/mod.rs); do
        fuzz "$name"
    done
else
    fuzz "$target"
fi
