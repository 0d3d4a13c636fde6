#!/usr/bin/env bash
# A thousand clients of one kind at once: crowd.sh laravel|django|sysbench-text|sysbench-prepared
set -euo pipefail
seconds=${FAIRLANE_TEST_SECONDS:-5}
share=250
case $1 in
    laravel) one() { php -d memory_limit=1G php/crowd.php "$1" "$share" "$seconds"; } ;;
    django) one() { /usr/bin/python3 python/crowd_test.py "$1" "$share" "$seconds"; } ;;
    sysbench-*)
        base=(sysbench --db-driver=mysql "--mysql-host=$FAIRLANE_TEST_HOST" "--mysql-port=$FAIRLANE_TEST_PORT"
            "--mysql-user=$FAIRLANE_TEST_USER" "--mysql-password=$FAIRLANE_TEST_PASSWORD"
            "--mysql-db=$FAIRLANE_TEST_DATABASE" --tables=2 --table-size=20000)
        mode=disable
        [ "$1" = sysbench-text ] || mode=auto
        "${base[@]}" oltp_read_write cleanup >/dev/null
        "${base[@]}" oltp_read_write prepare >/dev/null
        # Deadlocks (1213) are the server's right answer to concurrent writers.
        out=$("${base[@]}" --threads=1000 "--time=$seconds" "--db-ps-mode=$mode" \
            --mysql-ignore-errors=1213 oltp_read_write run 2>&1) || { echo "FAILED $out"; exit 1; }
        "${base[@]}" oltp_read_write cleanup >/dev/null
        echo "ok $(sed -n 's/.*transactions: *\([0-9]*\) .*/\1/p' <<<"$out") transactions of 1000 threads"
        exit
        ;;
    *) exit 2 ;;
esac
pids=()
for number in 1 2 3 4; do
    one "$number" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
