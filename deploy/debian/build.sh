#!/usr/bin/env bash
# Builds the Debian package. Needs `cargo install cargo-deb --locked` and dpkg-dev.
#
#   deploy/debian/build.sh                    target/debian/ringway_VERSION_ARCH.deb, of a release build
#   deploy/debian/build.sh --dev DIRECTORY    of the program that `cargo build` has built, for trying the packaging out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${CARGO_TARGET_DIR:-target}
case "${1:-}" in
    "")
        # a package without it is a fifth slower, which nobody would notice here; RINGWAY_PROFILE=off says that it may be
        [ "${RINGWAY_PROFILE:-}" = off ] || benches/profile/record.py --check
        cargo build --release --locked
        program=$target/release/ringway
        arguments=()
        ;;
    --dev)
        # where cargo-deb looks for a release build
        folder=${2:?a directory for the package}
        mkdir -p "$folder/target/release"
        program=$folder/target/release/ringway
        strip -o "$program" "$target/debug/ringway"
        arguments=(--fast --no-strip --output "$folder")
        export CARGO_TARGET_DIR=$folder/target
        ;;
    *)
        echo "usage: deploy/debian/build.sh [--dev DIRECTORY]" >&2
        exit 2
        ;;
esac

rm -rf target/deb
mkdir -p target/deb/man target/deb/completions
"$program" man target/deb/man
"$program" completions bash >target/deb/completions/ringway.bash
"$program" completions zsh >target/deb/completions/_ringway
"$program" completions fish >target/deb/completions/ringway.fish
cargo deb --no-build "${arguments[@]}"
