# What the suites share; sourced by scripts/suites.sh. A suite's file defines
#     fetch      gets its source and what it needs into the current directory; quick if it is there
#     run_suite  runs it against HOST, PORT, USER and PASSWORD; SERVER and SIDE say which these are
#     results    turns what run_suite printed into lines "pass|fail|skip TEST"
SUITES=$PWD/target/suites/sources
DATA=$PWD/tests/suites

# Statements as root of the server under test.
sql() { mariadb --no-defaults -h "$HOST" -P "$PORT" -u "$USER" -p"$PASSWORD" --skip-ssl -e "$*" 2>/dev/null ||
    mariadb --no-defaults -h "$HOST" -P "$PORT" -u "$USER" -p"$PASSWORD" --ssl -e "$*"; }

# Each suite begins with an empty database of its own.
prepare() { sql 'DROP DATABASE IF EXISTS test; CREATE DATABASE test'; }

# The suite's own $PYTHON, with packages: python_with PACKAGE...
PYTHON=$SUITES/$SUITE/python/bin/python
python_with() {
    [ -x "$PYTHON" ] || python3 -m venv python
    "$PYTHON" -m pip install -q "$@"
}

# unpack_sdist PACKAGE[==VERSION]: the source that PyPI has, in ./source.
unpack_sdist() {
    [ ! -d source ] || return 0
    "$PYTHON" -m pip download -q --no-deps --no-binary :all: -d download "$1"
    unpack download/*
}

# unpack_debian SUITE PACKAGE: the source that Debian has, as its authors made it, in ./source.
unpack_debian() {
    [ ! -d source ] || return 0
    local state=$SUITES/apt/$1
    mkdir -p "$state"/{lists/partial,archives,etc} download
    if [ ! -e "$state/apt.conf" ]; then
        cat >"$state/etc/debian.sources" <<SOURCES
Types: deb-src
URIs: $(sed -nE 's/^URIs: *(.*debian)\/?$/\1/p' /etc/apt/sources.list.d/debian.sources | head -n 1)
Suites: $1
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
        cat >"$state/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$state/etc";
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::Cache "$state";
APT::Sandbox::User "root";
CONF
        APT_CONFIG=$state/apt.conf apt-get -qq update
    fi
    # The packaging beside it may be gone from the archive; only the authors' part is needed.
    (cd download && APT_CONFIG=$state/apt.conf apt-get -qq source --download-only --tar-only "$2" || true)
    unpack download/*.orig.tar.*[xz2]
}

# unpack_git REPOSITORY TAG: the source of a release that no registry has with its tests, in ./source.
unpack_git() {
    [ ! -d source ] || return 0
    rm -rf source.new
    git clone --quiet --depth 1 --branch "$2" "https://github.com/$1" source.new
    mv source.new source
}

unpack() {
    rm -rf source.new
    mkdir source.new
    tar xf "$1" -C source.new --strip-components 1
    mv source.new source
}

# Lines of pytest -v.
pytest_results() {
    sed -nE 's/^(.*::.*[^ ]) +(PASSED|XPASS)( .*)?$/pass \1/p
        s/^(.*::.*[^ ]) +(FAILED|ERROR)( .*)?$/fail \1/p
        s/^(.*::.*[^ ]) +(SKIPPED|XFAIL).*$/skip \1/p'
}

# Lines of unittest's verbose runners.
unittest_results() {
    sed -nE 's/^(test[^ ]* \([^)]*\)).*\.\.\. (.*)$/\2 \1/p' |
        sed -nE "s/^ok /pass /p; s/^(FAIL|ERROR) /fail /p; s/^(skipped|expected failure)[^(]*('.*')? ?(test.*)/skip \3/p"
}

# Lines of prove --verbose: the file's name, and the number and name of each test, without the ids of
# connections that some names have.
tap_results() {
    awk '/^t\/.* \.\./ { file = $1; sub(/^\[[^]]*\]/, "", file) }
        /^\[.*\] t\/.* \.\./ { file = $2 }
        /^not ok .*# *TO[D]O/ || /^ok .*# *(skip|TO[D]O)/ { next }
        / connection: [0-9]+/ { sub(/ connection: [0-9]+( => [0-9]+)?/, " connection") }
        /^ok [0-9]/ { sub(/^ok /, ""); print "pass " file " " $0 }
        /^not ok [0-9]/ { sub(/^not ok /, ""); print "fail " file " " $0 }
        / skipped/ && file { print "skip " file }'
}

# Lines of phpunit --teamcity.
teamcity_results() {
    awk '/^##teamcity\[testStarted / {
            name = $0
            sub(/.*locationHint=.php_qn:[^ ]*\.php::\\*/, "", name)
            sub(/\x27 flowId=.*/, "", name)
            result = "pass"
        }
        /^##teamcity\[testFailed / { result = "fail" }
        /^##teamcity\[testIgnored / { result = "skip" }
        /^##teamcity\[testFinished / { print result " " name; name = "" }
        END { if (name) print "fail " name }'
}
