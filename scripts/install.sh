#!/usr/bin/env bash
# Installs what a target needs and is missing: install.sh demo|test|bench|suites
# Quick when nothing is missing. Never starts a service of the distribution.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-test}
common=(mariadb-server mariadb-client)
case $target in
    demo) packages=("${common[@]}") ;;
    bench) packages=("${common[@]}" sysbench haproxy) ;;
    test)
        packages=("${common[@]}" mydumper sysbench prometheus valgrind php-cli php-mysql php-illuminate-database
            python3-pymysql)
        command -v node >/dev/null || packages+=(nodejs)
        command -v npm >/dev/null || packages+=(npm)
        ;;
    suites)
        packages=("${common[@]}" cmake g++ golang-go libdbd-mariadb-perl libdbd-mysql-perl libmariadb-dev libssl-dev
            git libtest-deep-perl php-cli php-doctrine-dbal php-faker php-laravel-framework php-mockery php-mysql
            php-symfony-cache phpunit pkg-config python3-venv ruby-dev ruby-rspec zlib1g-dev)
        command -v node >/dev/null || packages+=(nodejs)
        command -v npm >/dev/null || packages+=(npm)
        ;;
    *) echo "usage: $0 demo|test|bench|suites" >&2; exit 2 ;;
esac

root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    # The packages' own services must not start: the tests bring private servers.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | root tee $policy >/dev/null
        root chmod 755 $policy
        trap 'root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >/dev/null
fi

modules=target/clients/node/node_modules
if [ "$target" = test ] && { [ ! -d $modules/mysql2 ] || [ ! -d $modules/mariadb ]; }; then
    mkdir -p target/clients/node
    npm install --silent --no-audit --no-fund --prefix target/clients/node mysql2@3 mariadb@3
fi

# Debian has MySQL's own programs, and newer ones of MariaDB, only in its development version;
# nothing of it is installed.
case $target in
    bench)
        scripts/unpack.sh target/unstable/router mysql-router
        scripts/unpack.sh target/unstable/mysql mysql-server-core
        ;;
    test)
        scripts/unpack.sh target/unstable/mysql mysql-server-core
        scripts/unpack.sh target/unstable/client mysql-client-core
        scripts/unpack.sh target/unstable/mariadb mariadb-server-core mariadb-client-core
        ;;
esac
