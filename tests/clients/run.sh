#!/usr/bin/env bash
# Runs one client's checks against the server at FAIRLANE_TEST_HOST/PORT/USER/PASSWORD/DATABASE:
#     tests/clients/run.sh pdo|mysqli|eloquent|pymysql|mysql2|mariadb-node|mariadb|sysbench|dumps
#     tests/clients/run.sh laravel|django|sysbench-text|sysbench-prepared   a thousand clients
# Works as well on a server itself (`fairlane sandbox` prints an address), which tells a fault of
# Fairlane from one of the checks.
set -euo pipefail
cd "$(dirname "$0")"
for name in HOST PORT USER PASSWORD DATABASE; do
    variable=FAIRLANE_TEST_$name
    [ -n "${!variable:-}" ] || { echo "$variable is not set" >&2; exit 2; }
done
case ${1:-} in
    pdo) exec php -d memory_limit=1G php/pdo.php ;;
    mysqli) exec php -d memory_limit=1G -d mysqli.allow_local_infile=1 php/mysqli.php ;;
    eloquent) exec php php/eloquent.php ;;
    # The distribution's Python, whose package has the driver; not one that comes first in PATH.
    pymysql) exec /usr/bin/python3 python/pymysql_test.py ;;
    mysql2) NODE_PATH=$(cd ../.. && pwd)/target/clients/node/node_modules exec node node/mysql2_test.js ;;
    mariadb-node) NODE_PATH=$(cd ../.. && pwd)/target/clients/node/node_modules exec node node/mariadb_test.js ;;
    mariadb) exec bash cli/mariadb.sh ;;
    sysbench) exec bash cli/sysbench.sh ;;
    dumps) exec bash cli/dumps.sh ;;
    laravel | django | sysbench-text | sysbench-prepared) exec bash cli/crowd.sh "$1" ;;
    *) sed -n 2,4p "$0" >&2; exit 2 ;;
esac
