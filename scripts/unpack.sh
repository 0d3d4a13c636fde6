#!/usr/bin/env bash
# Unpacks programs of Debian unstable, with every library they need, into a directory of their own:
#   unpack.sh DIRECTORY PACKAGE...          (unpack.sh target/unstable/mysql mysql-server-core)
# Nothing is installed: the system's packages and its apt state stay as they are, and root is not
# needed. Each program is replaced by a script, also to be found in DIRECTORY/bin, that runs it
# with the loader and the libraries of DIRECTORY, since those of the system are too old for it.
# Quick when DIRECTORY has just these packages already; remove it to get newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 2 ] || { echo "usage: $0 DIRECTORY PACKAGE..." >&2; exit 2; }
mkdir -p "$1"
root=$(cd "$1" && pwd)
shift
packages="$*"
state=$PWD/target/unstable/apt

# Packages that only the scripts run at an installation need; apt takes them as installed.
unneeded=(adduser base-files base-passwd bash coreutils dash debconf debianutils dpkg gawk hostname
    init-system-helpers iproute2 lsb-base lsof mariadb-common mawk mysql-common passwd perl perl-base
    procps psmisc rsync sed socat systemd sysvinit-utils tar tzdata ucf util-linux)

fail() { echo "$0: $*" >&2; exit 1; }

is_done() { [ "$(cat "$root/.packages" 2>/dev/null)" = "$packages" ]; }

codename() { (. /etc/os-release && echo "${VERSION_CODENAME:-sid}"); }

# The files' text; a file that is not there has none.
entries() {
    local file
    for file; do
        [ ! -r "$file" ] || { cat "$file" && echo; }
    done
}

# Writes apt's entries for a suite: those of the system for Debian, in both of apt's forms, so that
# mirror and key are the system's. A keyring given as well takes the place of their key.
sources() {
    local suite=$1 keyring=${2:-} known directory=$state/etc/$1.d
    known=" $(codename) stable testing unstable sid "
    mkdir -p "$directory"
    entries /etc/apt/sources.list /etc/apt/sources.list.d/*.list |
        awk -v suite="$suite" -v keyring="$keyring" -v known="$known" '
            $1 == "deb" && / main( |$)/ {
                at = 2
                options = ""
                if ($2 ~ /^\[/) do options = options " " $at; while ($(at++) !~ /\]$/ && at <= NF)
                if (!index(known, " " $(at + 1) " ")) next
                gsub(/[][]/, "", options)
                if (keyring != "") {
                    sub(/signed-by=[^ ]*/, "", options)
                    options = options " signed-by=" keyring
                }
                print "deb", "[" options " ]", $at, suite, "main"
            }' >"$directory/debian.list"
    # A stanza a time. Its fields stay, but for those that choose what to get.
    entries /etc/apt/sources.list.d/*.sources |
        awk -v suite="$suite" -v keyring="$keyring" -v known="$known" '
            function finish() {
                if (fits && deb && main && !off)
                    printf "Types: deb\nSuites: %s\nComponents: main\n%s\n", suite, kept
                kept = keyring == "" ? "" : "Signed-By: " keyring "\n"
                fits = deb = main = off = 0
            }
            BEGIN { finish() }
            /^#/ { next }
            /^[ \t]*$/ { finish(); next }
            {
                if (/^[^ \t]/) field = tolower($1)
                for (i = 1; i <= NF; i++) {
                    if (field == "suites:" && index(known, " " $i " ")) fits = 1
                    if (field == "types:" && $i == "deb") deb = 1
                    if (field == "components:" && $i == "main") main = 1
                    if (field == "enabled:" && tolower($i) == "no") off = 1
                }
                if (field ~ /^(types|suites|components|enabled):/) next
                if (field == "signed-by:" && keyring != "") next
                kept = kept $0 "\n"
            }
            END { finish() }' >"$directory/debian.sources"
    [ -s "$directory/debian.list" ] || [ -s "$directory/debian.sources" ] ||
        fail "no entry for Debian's own archive in /etc/apt/sources.list or sources.list.d"
}

# apt with a state of its own, in which nothing but the unneeded packages is installed.
configure() {
    mkdir -p "$state"/{etc,lists/partial,archives/partial}
    local package
    for package in "${unneeded[@]}"; do
        printf 'Package: %s\nStatus: install ok installed\nVersion: 9:9\nArchitecture: %s\n' \
            "$package" "$(dpkg --print-architecture)"
        printf 'Multi-Arch: allowed\nMaintainer: nobody\nDescription: not needed\n'
        [ "$package" != debconf ] || echo 'Provides: debconf-2.0'
        echo
    done >"$state/status"
    {
        # Of the system's settings those of downloads (a proxy), but none of its hooks.
        apt-config dump | grep -E '^Acquire::(http|https|ftp|Check|Retries)' || true
        cat <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "false";
APT::Install-Recommends "false";
CONF
    } >"$state/etc/apt.conf"
}

# apt SUITE COMMAND...: knows that suite alone.
apt() {
    local suite=$1
    shift
    APT_CONFIG=$state/etc/apt.conf apt-get -qq -o Dir::Etc::sourceparts="$state/etc/$suite.d" "$@"
}

# Gets the lists of unstable, verified. A system whose keyring is older than unstable's key takes
# the keyring that its own release has by now, verified with the keys it has.
update() {
    local log=$state/update.log own
    sources unstable
    apt unstable update --error-on=any 2>"$log" && return
    grep -q NO_PUBKEY "$log" || fail "cannot get the lists of unstable: $(cat "$log")"
    own=$(codename)
    echo "the keyring here is older than unstable's key: taking the one that $own has by now"
    sources "$own"
    apt "$own" update --error-on=any
    rm -rf "$state/keyring"
    mkdir -p "$state/keyring"
    (cd "$state/keyring" && apt "$own" download debian-archive-keyring && dpkg-deb -x ./*.deb .)
    sources unstable "$state/keyring/usr/share/keyrings/debian-archive-keyring.gpg"
    apt unstable update --error-on=any
}

# Names of the archives that make up the packages, as apt stores them.
archives() {
    apt unstable -s install "$@" |
        sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*\[([^ ]+)\]\).*/\1_\2_\3.deb/p' | sed 's/:/%3a/g'
}

# Puts a script in the place of each program of a new root that will be at $root, and a link to
# it into bin.
wrap() {
    local new=$1 loader libraries program
    cd "$new"
    loader=$(find usr/lib* -name 'ld-linux*.so.*' | sort | head -n 1)
    [ -n "$loader" ] || fail "no dynamic loader among the packages"
    libraries=$(find usr/lib* -name 'lib*.so.*' -printf "$root/%h\n" | sort -u | paste -sd:)
    mkdir -p bin
    for program in usr/sbin/* usr/bin/* usr/libexec/*; do
        [ -x "$program" ] || continue
        if [ ! -L "$program" ] && [ "$(head -c 4 "$program" | tail -c 3)" = ELF ]; then
            mv "$program" "$program.elf"
            printf '#!/bin/sh\nexec "%s" --argv0 "%s" --library-path "%s" "%s" "$@"\n' \
                "$root/$loader" "$root/$program" "$libraries" "$root/$program.elf" >"$program"
            chmod 755 "$program"
        fi
        ln -sf "../$program" "bin/${program##*/}"
    done
}

is_done && exit 0
command -v apt-get >/dev/null || fail "needs a system with apt-get"
mkdir -p "$state"
exec 9>"$state/lock"
flock 9
is_done && exit 0

configure
update
read -ra names <<<"$packages"
echo "unpacking $packages of Debian unstable into ${root#"$PWD"/}"
apt unstable --download-only -y install "${names[@]}"
mapfile -t archives < <(archives "${names[@]}")
[ ${#archives[@]} -gt 0 ] || fail "apt names no archive for: $packages"
new=$root.new
rm -rf "$new"
mkdir -p "$new"
for archive in "${archives[@]}"; do
    dpkg-deb -x "$state/archives/$archive" "$new"
done
(wrap "$new")
echo "$packages" >"$new/.packages"
rm -rf "$root"
mv "$new" "$root"
