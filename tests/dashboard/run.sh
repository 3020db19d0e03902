#!/usr/bin/env bash
# The dashboard in a real browser. Needs Debian's chromium, nodejs (20 or later) and npm, and the built program.
# Pictures of its pages are in target/dashboard/ afterwards.
#
#   tests/dashboard/run.sh                 all of it
#   tests/dashboard/run.sh states          one file of it
#
# RINGWAY is another program to try; RINGWAY_FILES a folder whose files stand in for those that are built in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
export RINGWAY="${RINGWAY:-$target/debug/ringway}" RINGWAY_PICTURES="$target/dashboard/"
cd tests/dashboard

for tool in chromium node npm; do
    command -v "$tool" >/dev/null || {
        echo "\`$tool\` is missing: sudo apt-get install --no-install-recommends chromium nodejs npm" >&2
        exit 3
    }
done
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo "node $(node --version) is too old; version 20 or later is needed" >&2
    exit 3
fi
# what is there is what the lock file says
if ! cmp -s package-lock.json node_modules/.ringway-lock; then
    npm ci --silent --no-audit --no-fund --ignore-scripts
    cp package-lock.json node_modules/.ringway-lock
fi
node --test --test-concurrency=1 ${1:+"$1.test.mjs"}
