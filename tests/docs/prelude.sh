# Before the commands of each page.
set -Eeuo pipefail
__at="the prelude"
__started=()
__log=""

__end() {
    local code=$?
    trap - EXIT ERR
    [ -z "$__at" ] || echo "failed at $__at with $code"
    if [ -n "$__at" ] && [ -n "$__log" ]; then tail -n 20 "$__log"; fi
    for pid in "${__started[@]}" $(jobs -p); do kill -KILL "$pid" 2>/dev/null || true; done
    exit "$code"
}
trap __end EXIT

__expect() { [ "$1" = "$2" ] || { echo "it ended with $2, and the page says $1"; return 1; }; }

# The test puts free ports in the place of 8080 and its like, so what stands in brackets is what pages say. A file that
# names no door would get the usual ones.
__localize() {
    sed -i -e 's/0[.]0[.]0[.]0:/127.0.0.1:/' -e 's/:[8]080/:8080/' -e 's/:[9]901/:9901/' -e 's/:[9]902/:9902/' "$1"
    grep -q '^admin:' "$1" || echo 'admin: { address: "127.0.0.1:9901" }' >>"$1"
    grep -q '^telemetry:' "$1" || echo 'telemetry: { address: "127.0.0.1:9902" }' >>"$1"
}

# What people save takes the place of the old file as a whole.
__save() {
    mkdir -p "$(dirname "$1")"
    cat >".saved"
    if grep -q '^listeners:' .saved; then __localize .saved; fi
    mv .saved "$1"
}

__serve() {
    __log=".$1.log"
    "$RINGWAY" "$@" >>"$__log" 2>&1 &
    __started+=($!)
    local pid=$! config=()
    while [ $# -gt 0 ]; do
        case $1 in -c | --config) config=(-c "$2") ;; --dir) config=(-c "$2/ringway.yaml") ;; esac
        shift
    done
    until "$RINGWAY" healthcheck "${config[@]}" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || { echo "it did not stay:"; cat "$__log"; return 1; }
        read -r -t 0.1 <> <(:) || true
    done
}

# What is under test; what serves stays in the background, and is ready when the next command is typed.
ringway() {
    case "${1:-}" in
        run) __serve "$@" ;;
        demo)
            __serve "$@" --plain --port 0 --dir ringway-demo
            __demo_admin=$(sed -n 's/^admin: .*127.0.0.1:\([0-9]*\).*/\1/p' ringway-demo/ringway.yaml)
            ;;
        rehearse)
            local words=() word is_runs=false
            for word in "$@"; do
                if "$is_runs" || [ "$word" = --runs ]; then is_runs=$([ "$word" = --runs ] && echo true || echo false); continue; fi
                words+=("$word")
            done
            "$RINGWAY" "${words[@]}" --runs 1
            ;;
        init) "$RINGWAY" "$@" && __localize ringway.yaml ;;
        *) "$RINGWAY" "$@" ;;
    esac
}

# The demo takes any free ports; its pages name the usual one.
__demo_admin=9901
curl() { command curl --max-time 10 "${@//:9901/:$__demo_admin}"; }

# `cargo run` is the build under test, `cargo install` has happened, and tests are run by others if they are there.
cargo() {
    case "$1" in
        run) while [ "$1" != -- ]; do shift; done; shift; ringway "$@" ;;
        install) [ -e "$REPOSITORY/Cargo.toml" ] ;;
        test)
            while [ $# -gt 0 ]; do
                if [ "$1" = --test ]; then
                    [ -e "$REPOSITORY/tests/$2.rs" ] || [ -e "$REPOSITORY/tests/$2/main.rs" ]
                fi
                shift
            done
            ;;
        # run or cmin, -s, none, and the target; it takes minutes and a tool that few have
        fuzz) [ -e "$REPOSITORY/fuzz/fuzz_targets/$5.rs" ] ;;
        *) echo "cargo $1 is not known to the test of documents"; return 1 ;;
    esac
}

cp -r "$REPOSITORY/config" config
for __file in config/*.yaml; do __localize "$__file"; done
cp config/beta.txt config/countries.csv .
[ ! -d "$REPOSITORY/deploy" ] || cp -r "$REPOSITORY/deploy" deploy
