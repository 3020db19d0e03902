#!/usr/bin/env bash
# Every check of the project: installs what it needs, then formatting, lints, tests, documents, examples and
# packaging. The first check that fails ends the run with its exit code.
#
#   ./tests/run.sh            all of it
#   ./tests/run.sh --quick    without the slow ones: documents of the API, real Prometheus, packaging
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

is_quick=false
case "${1:-}" in
    "") ;;
    --quick) is_quick=true ;;
    *)
        echo "usage: tests/run.sh [--quick]" >&2
        exit 2
        ;;
esac

# Answers nothing and asks nothing: continuous integration has no terminal and no standard input.
exec </dev/null
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}" CARGO_NET_RETRY="${CARGO_NET_RETRY:-5}"
# Tests that need a tool skip without it, loudly. Here it is installed, so a missing tool is a failure.
export RINGWAY_REQUIRE_TOOLS=1

main() {
    find_cargo
    tree_before=$(tree_state)
    step "tools" install_tools
    step "clients" install_clients
    step "dependencies" cargo fetch --locked
    step "formatting" cargo fmt --check
    step "lints" cargo clippy --all-targets --locked -- -D warnings
    step "tests" cargo test --locked --lib --bins
    step "integration tests" integration_tests
    step "examples" check_examples
    step "API document" check_api_document
    step "dashboard" tests/dashboard/run.sh
    step "deployment" check_deployment
    if ! "$is_quick"; then
        step "documentation tests" cargo test --locked --doc
        step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
        step "package" check_package
    fi
    step "clean tree" check_tree
    echo
    echo "all checks passed in ${SECONDS} s"
}

# step HEADLINE COMMAND...: runs the command in this shell, so that `set -e` holds inside of it, and says how long it
# took. What failed is said by the trap below.
current=""
step() {
    current=$1
    local began=$SECONDS
    shift
    printf '\n== %s ==\n' "$current"
    "$@"
    printf '== %s: %s s ==\n' "$current" "$((SECONDS - began))"
}

cleanup() {
    local code=$?
    remove_start_guard
    if [ "$code" -ne 0 ]; then
        printf '\n%s failed after %s s (exit code %s)\n' "${current:-the start}" "$SECONDS" "$code" >&2
    fi
}

find_cargo() {
    local environment="${CARGO_HOME:-${HOME:-}/.cargo}/env"
    if ! command -v cargo >/dev/null && [ -f "$environment" ]; then
        # shellcheck disable=SC1090
        . "$environment"
    fi
    if ! command -v cargo >/dev/null; then
        echo "cargo is not installed; see https://rustup.rs" >&2
        return 3
    fi
}

# --- tools -----------------------------------------------------------------------------------------------------------

# command and Debian package
TOOLS="cc:build-essential curl:curl openssl:openssl python3:python3 prometheus:prometheus promtool:prometheus nghttp:nghttp2-client h2load:nghttp2-client wrk:wrk chromium:chromium node:nodejs npm:npm systemd-analyze:systemd go:golang-go dpkg-shlibdeps:dpkg-dev strip:binutils man:man-db"
# folder and Debian package
LIBRARIES="/usr/share/gocode/src/github.com/Masterminds/sprig:golang-github-masterminds-sprig-dev /usr/share/gocode/src/gopkg.in/yaml.v3:golang-gopkg-yaml.v3-dev"

install_tools() {
    install_components
    local tool missing=()
    for tool in $TOOLS; do
        command -v "${tool%%:*}" >/dev/null || missing+=("${tool#*:}")
    done
    for tool in $LIBRARIES; do
        [ -d "${tool%%:*}" ] || missing+=("${tool#*:}")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        echo "nothing to install"
        return
    fi
    install_packages "${missing[@]}"
    for tool in $TOOLS; do
        command -v "${tool%%:*}" >/dev/null || {
            echo "\`${tool%%:*}\` is still missing after installing the package ${tool#*:}" >&2
            return 3
        }
    done
}

# Clients from PyPI, for tests/edge: in an environment of their own, below the target folder.
PYTHON_CLIENTS="grpcio==1.85.1 websockets==17.4 sslyze==6.3.1 tlslite-ng==0.8.2 openfeature-sdk==0.10.0 openfeature-provider-ofrep==0.3.0 openapi-spec-validator==0.9.0"

install_clients() {
    install_python_clients
    install_node_clients
}

# OpenFeature's SDK from npm: what the lock file says, beside the others.
install_node_clients() {
    local folder="${CARGO_TARGET_DIR:-target}/clients/npm"
    if cmp -s tests/edge/npm/package-lock.json "$folder/installed"; then
        return
    fi
    mkdir -p "$folder"
    cp tests/edge/npm/package.json tests/edge/npm/package-lock.json "$folder/"
    npm ci --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts
    cp "$folder/package-lock.json" "$folder/installed"
}

install_python_clients() {
    local folder="${CARGO_TARGET_DIR:-target}/clients"
    if [ "$(cat "$folder/installed" 2>/dev/null)" = "$PYTHON_CLIENTS" ]; then
        return
    fi
    python3 -c "import ensurepip" 2>/dev/null || install_packages python3-venv
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check $PYTHON_CLIENTS
    echo "$PYTHON_CLIENTS" >"$folder/installed"
}

install_components() {
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "missing, and this is no Debian to install them on: $*" >&2
        return 3
    fi
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
        echo "missing: $*; run this as root, or first: sudo apt-get install --no-install-recommends $*" >&2
        return 3
    fi
    put_start_guard
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    remove_start_guard
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The package of Prometheus starts it as a service, which is not ours to do on somebody's machine: Debian's
# policy-rc.d forbids it (exit code 101) for as long as we install.
START_GUARD=/usr/sbin/policy-rc.d
has_put_start_guard=false

put_start_guard() {
    if [ ! -e "$START_GUARD" ]; then
        has_put_start_guard=true
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$START_GUARD" >/dev/null
        as_root chmod 755 "$START_GUARD"
    fi
}

remove_start_guard() {
    if "$has_put_start_guard"; then
        has_put_start_guard=false
        as_root rm -f "$START_GUARD"
    fi
}

# --- checks ----------------------------------------------------------------------------------------------------------

# Every file and folder of tests/ that cargo takes for a test, so that a new one is not forgotten here.
integration_tests() {
    local arguments=() name
    for name in tests/*.rs tests/*/main.rs; do
        [ -e "$name" ] || continue
        name=${name%/main.rs}
        name=$(basename "$name" .rs)
        if "$is_quick" && [ "$name" = prometheus ]; then
            echo "skipped: the tests with a real Prometheus"
            continue
        fi
        arguments+=(--test "$name")
    done
    # all of them, so that one run tells all that is wrong
    cargo test --locked --no-fail-fast "${arguments[@]}"
}

# Through the program, as people do: a JSON report that says "valid" for each example.
check_examples() {
    cargo build --locked --quiet
    local ringway="${CARGO_TARGET_DIR:-target}/debug/ringway" file edge="${CARGO_TARGET_DIR:-target}/edge"
    config/edge-certificates.sh "$edge"
    for file in config/*.yaml; do
        # it names certificates, and no private key is kept with the examples
        if [ "$file" = config/edge.yaml ]; then
            file=$edge/edge.yaml
        fi
        "$ringway" check -c "$file" -o json | python3 -c '
import json, sys
report = json.load(sys.stdin)
tests = report["tests"]
ok = report["valid"] and tests["failed"] == 0 and tests["passed"] > 0
print(sys.argv[1], "valid" if ok else "NOT VALID", tests, *report["diagnostics"])
sys.exit(0 if ok else 1)' "$file"
    done
}

# What a running process says of its admin API, by a validator that somebody else wrote.
check_api_document() {
    local target ringway folder pid
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    ringway=$target/debug/ringway
    folder=$(mktemp -d)
    cat >"$folder/ringway.yaml" <<'FILE'
listeners: [{ address: 127.0.0.1:0 }]
telemetry: { address: 127.0.0.1:0 }
admin: { address: "unix:admin.sock" }
services: { shop: { variants: { stable: { endpoints: [127.0.0.1:1] } } } }
FILE
    "$ringway" run -c "$folder/ringway.yaml" --workers 1 2>"$folder/log" &
    pid=$!
    curl --silent --show-error --fail --retry 30 --retry-delay 1 --retry-all-errors --max-time 10 \
        --unix-socket "$folder/admin.sock" http://localhost/api/v1/openapi.json --output "$folder/openapi.json" || cat "$folder/log" >&2
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    "$target/clients/venv/bin/openapi-spec-validator" "$folder/openapi.json"
    rm -rf "$folder"
}

# Each folder of deploy/; the slow ones start real processes.
check_deployment() {
    python3 -c "import ensurepip" 2>/dev/null || install_packages python3-venv
    deploy/check.sh --tools
    if "$is_quick"; then
        deploy/check.sh docker kubernetes systemd grafana guides
    else
        deploy/check.sh
    fi
}

# What would be published: the texts that a crate must carry, and none of the bulk that it must not.
check_package() {
    local list file
    list=$(cargo package --locked --allow-dirty --list)
    for file in LICENSE README.md CHANGELOG.md Cargo.lock src/main.rs src/lib.rs; do
        grep -qx "$file" <<<"$list" || {
            echo "the package has no $file" >&2
            return 1
        }
    done
    if grep -E '^(fuzz|target|\.ci)/' <<<"$list"; then
        echo "the package holds files that belong to the repository only" >&2
        return 1
    fi
    echo "$(wc -l <<<"$list") files"
}

# A check that changes the tree (a lock file, a generated page) would pass here and fail for the next person.
check_tree() {
    local now
    now=$(tree_state)
    if [ "$now" != "$tree_before" ]; then
        printf 'the checks have changed the tree; before:\n%s\nnow:\n%s\n' "$tree_before" "$now" >&2
        return 1
    fi
    echo "as before"
}

# What git sees as changed, by name and content; nothing where there is no git.
tree_state() {
    git status --porcelain 2>/dev/null || true
    git diff 2>/dev/null | cksum
}

trap cleanup EXIT
main
