# shellcheck shell=bash
# What the scripts in this directory share. Source it; it does nothing by itself.
#
# Everything works in the bash 3.2 of macOS too. Each need_* function returns at once when the need is met, so
# that a second run installs nothing and uses no network. Messages go to stderr: stdout is for results.

postgres_min=15
redis_min=7
valkey_min=8

say() { printf '== %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The first number in a text: the major version in "postgres (PostgreSQL) 15.18" or "Redis server v=7.0.15".
major() { printf '%s\n' "$1" | sed -n '1s/^[^0-9]*\([0-9][0-9]*\).*/\1/p'; }

# --- Installing -------------------------------------------------------------------------------------------------

# Runs a command as root. In CI nobody can type a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo ${CI:+-n} "$@"
    else
        die "root is needed to run \"$*\", and there is no sudo: run it as root, then try again"
    fi
}

# install_packages WHAT DEBIAN FEDORA BREW: the packages that bring WHAT, by the name each system gives them.
install_packages() {
    local what=$1 debian=$2 fedora=$3 brew=$4
    say "installing $what"
    # The names are split into words on purpose.
    # shellcheck disable=SC2086
    if have apt-get; then
        apt_install $debian
    elif have dnf; then
        as_root dnf install -y $fedora >&2
    elif have brew; then
        brew install $brew >&2
    else
        die "$what is missing: please install it (on Debian the packages are called $debian, on Fedora $fedora)"
    fi
}

# A fresh container has no package lists; elsewhere the existing ones will do.
apt_knows() { apt-cache show "$@" >/dev/null 2>&1; }

apt_lists() { apt_knows "$@" || as_root apt-get update -qq >&2; }

# apt_offers PACKAGE MIN: whether the version in the repositories is new enough.
apt_offers() {
    local version
    apt_lists "$1"
    version=$(apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p')
    version=$(major "${version#*:}") # without the epoch, "5:" in "5:7.0.15-1"
    [ "${version:-0}" -ge "$2" ]
}

# Debian starts a server as soon as it is installed, and at every boot. We want the programs, and nothing more on
# somebody's machine. Three things prevent it, and none of them stays:
#   - policy-rc.d, Debian's own way to forbid starting services, there only while apt-get runs. RUNLEVEL=1 in the
#     environment would be lighter, but deb-systemd-invoke does not look at it;
#   - a drop-in that keeps postgresql-common from making a database cluster, likewise;
#   - packages enable their service for the next boot without asking anybody: so disable it afterwards.
apt_install() {
    apt_lists "$@"
    # Children read /dev/null, since this shell reads the script from its standard input.
    as_root env DEBIAN_FRONTEND=noninteractive bash -s -- "$@" >&2 <<'AS_ROOT'
set -euo pipefail
policy=/usr/sbin/policy-rc.d
dropins=/etc/postgresql-common/createcluster.d
dropin=$dropins/paceline-no-cluster.conf
made_policy='' made_dropins=''
clean_up() {
    if [ -n "$made_policy" ]; then rm -f "$policy"; fi
    rm -f "$dropin"
    if [ -n "$made_dropins" ]; then rmdir "$dropins" 2>/dev/null || true; fi
}
trap clean_up EXIT

if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
[ -d "$dropins" ] || made_dropins=yes
mkdir -p "$dropins"
echo 'create_main_cluster = false' >"$dropin"

apt-get install -y --no-install-recommends "$@" </dev/null

for package in "$@"; do
    case $package in
    redis-server | pgbouncer)
        if command -v systemctl >/dev/null; then
            systemctl disable --quiet "$package.service" </dev/null || true
        else
            update-rc.d "$package" disable </dev/null || true
        fi
        ;;
    esac
done
AS_ROOT
}

# --- Building ---------------------------------------------------------------------------------------------------

# Not only whether cc is there: a compiler without the C library's headers and start files is of no use.
links() { printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null; }

need_build_tools() {
    links && return
    if [ "$(uname)" = Darwin ]; then
        die "the C compiler is missing: run \"xcode-select --install\""
    fi
    install_packages "a C compiler (Rust links with it)" "gcc libc6-dev" "gcc glibc-devel" gcc
    links || die "cc still cannot compile and link a small program"
}

# need_rust [COMPONENT…]: cargo, as new as Cargo.toml asks for, and components such as rustfmt.
need_rust() {
    local want have_version component
    want=$(sed -n 's/^rust-version *= *"\([^"]*\)".*/\1/p' Cargo.toml)
    have cargo || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    # Where rustup is a package, cargo is there before any toolchain is: ask it.
    if ! cargo --version >/dev/null 2>&1; then
        say "installing Rust"
        if ! have rustup && have apt-get && apt_offers rustup 1; then apt_install rustup; fi
        have rustup || die "Rust $want or newer is missing: install it with rustup, as https://rustup.rs explains"
        rustup toolchain install stable --profile minimal >&2
        rustup default stable >&2
    fi
    have_version=$(cargo --version | cut -d ' ' -f 2)
    if ! at_least "$have_version" "$want"; then
        have rustup || die "Rust $want or newer is needed, and $(command -v cargo) is $have_version: update it, or" \
            "install a newer one with rustup, as https://rustup.rs explains"
        say "updating Rust $have_version"
        rustup update stable >&2
        have_version=$(cargo --version | cut -d ' ' -f 2)
        at_least "$have_version" "$want" || die "the cargo in use is still $have_version, and $want is needed:" \
            "does rustup override the toolchain here (\"rustup show\")?"
    fi
    for component in "$@"; do
        case $component in
        rustfmt) cargo fmt --version >/dev/null 2>&1 && continue ;;
        clippy) cargo clippy --version >/dev/null 2>&1 && continue ;;
        esac
        have rustup || die "$component is missing: install it beside $(command -v cargo)"
        say "installing $component"
        rustup component add "$component" >&2
    done
}

# Sets cargo_deny to the program of this version; another version may judge otherwise. Built without optimisation: that
# saves minutes, and the check takes seconds either way.
cargo_deny_version=0.20.2
need_cargo_deny() {
    local root=${CARGO_TARGET_DIR:-target}/tools
    for cargo_deny in "$root/bin/cargo-deny" cargo-deny; do
        if [ "$("$cargo_deny" --version 2>/dev/null)" = "cargo-deny $cargo_deny_version" ]; then return; fi
    done
    say "installing cargo-deny $cargo_deny_version in $root: once, and some minutes"
    cargo install cargo-deny --version "$cargo_deny_version" --debug --locked --root "$root" >&2
    cargo_deny=$root/bin/cargo-deny
}

need_shellcheck() {
    have shellcheck || install_packages "shellcheck (lints shell scripts)" shellcheck ShellCheck shellcheck
}

# at_least VERSION WANT: by major and minor number.
at_least() {
    local got_major got_minor want_major want_minor rest
    IFS=. read -r got_major got_minor rest <<<"$1"
    IFS=. read -r want_major want_minor rest <<<"$2"
    [ "$got_major" -gt "$want_major" ] || { [ "$got_major" = "$want_major" ] && [ "$got_minor" -ge "$want_minor" ]; }
}

need_luacheck() {
    have luacheck && return
    install_packages "luacheck (reads the scripts that Redis runs)" lua-check luacheck luacheck
    have luacheck || die "luacheck is still not to be found"
}

# --- Servers ----------------------------------------------------------------------------------------------------

# The directory of initdb, pg_ctl, postgres and psql: on the PATH, or the newest where packagers put them.
find_postgres() {
    local dir version best='' best_version=$((postgres_min - 1))
    dir=$(dirname "$(command -v initdb || echo /nowhere/initdb)")
    for dir in "$dir" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
        /usr/local/opt/postgresql@*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
        if ! { [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ -x "$dir/pg_ctl" ] && [ -x "$dir/psql" ]; }; then
            continue
        fi
        version=$(major "$("$dir/postgres" --version)")
        if [ "${version:-0}" -gt "$best_version" ]; then
            best=$dir best_version=$version
        fi
    done
    [ -n "$best" ] && printf '%s\n' "$best"
}

# The Redis or Valkey program that is new enough. Distributions install Valkey under the name of Redis: ask it.
find_redis() {
    local program answer min
    for program in redis-server valkey-server; do
        program=$(PATH="$PATH:/usr/sbin:/usr/local/bin:/opt/homebrew/bin" command -v "$program") || continue
        answer=$("$program" --version)
        min=$valkey_min
        case $answer in Redis*) min=$redis_min ;; esac
        if [ "$(major "$answer")" -ge "$min" ]; then
            printf '%s\n' "$program"
            return
        fi
    done
    return 1
}

need_postgres() {
    find_postgres >/dev/null && return
    if have apt-get && ! apt_offers postgresql "$postgres_min"; then
        die "PostgreSQL $postgres_min or newer is needed, and this system's packages do not offer it: install it as" \
            "https://www.postgresql.org/download/ explains, or let the settings point to servers you have"
    fi
    install_packages "PostgreSQL (only its programs: no service, no cluster)" postgresql postgresql-server postgresql@17
    find_postgres >/dev/null || die "PostgreSQL $postgres_min or newer still cannot be found"
}

need_pgbouncer() {
    PATH=$PATH:/usr/sbin:/opt/homebrew/bin have pgbouncer && return
    install_packages "PgBouncer (only its program: no service)" pgbouncer pgbouncer pgbouncer
}

need_redis() {
    find_redis >/dev/null && return
    if have apt-get && ! apt_offers redis-server "$redis_min"; then
        die "Redis $redis_min or newer (or Valkey $valkey_min) is needed, and this system's packages do not offer it:" \
            "install it as https://redis.io/downloads/ explains"
    fi
    install_packages "Redis (only its programs: no service)" redis-server valkey redis
    find_redis >/dev/null || die "Redis $redis_min or newer (or Valkey $valkey_min) still cannot be found"
}

# url_psql URL ARGUMENTS…: psql with the password in its environment, since `ps` shows command lines to everybody.
url_psql() {
    local url=$1 secret
    shift
    secret=${url#*://paceline:} secret=${secret%%@*}
    PGPASSWORD=$secret PGCONNECT_TIMEOUT=5 "$(find_postgres)/psql" -qX -v ON_ERROR_STOP=1 -d "${url/:$secret@/@}" "$@"
}

# Puts the test servers' URLs into the environment. Whoever starts them stops them.
use_test_servers() {
    scripts/servers status || trap 'scripts/servers stop' EXIT
    eval "$(scripts/servers start)"
}

# Puts the URL of a Redis Cluster into the environment: three primaries and their replicas, on loopback, in a directory
# of its own. `end_test_cluster` ends it.
use_test_cluster() {
    local redis cli n port hosts=()
    redis=$(find_redis) cli=${redis%-server}-cli
    cluster_dir=$(mktemp -d "${TMPDIR:-/tmp}/paceline-test-cluster.XXXXXX")
    for n in 1 2 3 4 5 6; do
        port=$((20000 + RANDOM % 12000))
        mkdir "$cluster_dir/$n"
        "$redis" --bind 127.0.0.1 --port "$port" --cluster-enabled yes --cluster-port $((port + 12000)) --save '' \
            --appendonly no --maxmemory-policy noeviction --dir "$cluster_dir/$n" --pidfile "$cluster_dir/$n/pid" \
            --logfile "$cluster_dir/$n/log" --daemonize yes
        hosts+=("127.0.0.1:$port")
    done
    for port in "${hosts[@]}"; do
        until "$cli" -h 127.0.0.1 -p "${port#*:}" PING >/dev/null 2>&1; do sleep 0.1; done
    done
    "$cli" --cluster create "${hosts[@]}" --cluster-replicas 1 --cluster-yes >"$cluster_dir/created"
    export PACELINE_TEST_REDIS_URL="redis://${hosts[0]},${hosts[1]}/"
}

end_test_cluster() {
    local pid
    for pid in "$cluster_dir"/*/pid; do kill "$(cat "$pid")" 2>/dev/null || true; done
    rm -rf "$cluster_dir"
}
