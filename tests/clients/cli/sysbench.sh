#!/usr/bin/env bash
# sysbench's OLTP loads in both statement modes with 1, 16 and 64 threads: no error at all.
set -euo pipefail
seconds=${FAIRLANE_TEST_SECONDS:-2}
base=(sysbench --db-driver=mysql "--mysql-host=$FAIRLANE_TEST_HOST" "--mysql-port=$FAIRLANE_TEST_PORT"
    "--mysql-user=$FAIRLANE_TEST_USER" "--mysql-password=$FAIRLANE_TEST_PASSWORD"
    "--mysql-db=$FAIRLANE_TEST_DATABASE" --tables=2 --table-size=5000)
"${base[@]}" oltp_read_write prepare >/dev/null
for load in oltp_read_write oltp_read_only oltp_point_select; do
    for threads in 1 16 64; do
        for mode in disable auto; do
            out=$("${base[@]}" "--threads=$threads" "--time=$seconds" "--db-ps-mode=$mode" "$load" run 2>&1) || {
                printf 'FAILED %s %s threads %s\n%s\n' "$load" "$threads" "$mode" "$out"
                exit 1
            }
            rate=$(sed -n 's/.*transactions: *[0-9]* *(\([0-9.]*\) per sec.*/\1/p' <<<"$out")
            reconnects=$(sed -n 's/.*reconnects: *\([0-9]*\).*/\1/p' <<<"$out")
            if [ "$reconnects" != 0 ] || grep -qE 'FATAL|error [0-9]+' <<<"$out"; then
                printf 'FAILED %s %s threads %s\n%s\n' "$load" "$threads" "$mode" "$out"
                exit 1
            fi
            echo "ok $load $threads threads $mode: $rate transactions/s"
        done
    done
done
"${base[@]}" oltp_read_write cleanup >/dev/null
