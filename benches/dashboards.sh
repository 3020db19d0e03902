#!/usr/bin/env bash
# What open dashboards ask of an admin door, without browsers: each has a stream of events, and polls what the on-call page
# polls (series of 15 minutes and the difference each 6.5 s, services each 2 s, events and history each 30 s). To be run beside a
# load, to see what it costs there.
#
#   benches/dashboards.sh 127.0.0.1:9901 10 60             10 dashboards for 60 s
#   benches/dashboards.sh unix:/run/ringway/admin.sock 10 60
#   RINGWAY_TOKEN=rw_.. benches/dashboards.sh https://ringway.example.com:9901 10 60
#
# At the end one line: answers, those among them that were no 200, bytes of streams, seconds.
set -euo pipefail

door=${1:?usage: benches/dashboards.sh ADDRESS [DASHBOARDS] [SECONDS]}
dashboards=${2:-10}
seconds=${3:-60}
command -v curl >/dev/null || {
    echo "\`curl\` is missing" >&2
    exit 3
}

ask=(curl --silent --show-error --max-time "$seconds")
case "$door" in
    unix:*) ask+=(--unix-socket "${door#unix:}") base=http://localhost ;;
    http://* | https://*) base=${door%/} ;;
    *) base=http://$door ;;
esac
if [ -n "${RINGWAY_TOKEN:-}" ]; then
    ask+=(--header "authorization: Bearer $RINGWAY_TOKEN")
fi
if [ -n "${RINGWAY_CA_FILE:-}" ]; then
    ask+=(--cacert "$RINGWAY_CA_FILE")
fi
base=$base/api/v1
service=$("${ask[@]}" --fail "$base/services" | sed -n 's/.*"services":\[{"name":"\([^"]*\)".*/\1/p')
: "${service:?the door tells no service}"

folder=$(mktemp -d)
pids=()
finish() {
    [ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# every PAUSE NAME PATH...: asks for all of them again and again, on one connection each time
every() {
    local pause=$1 out=$2
    shift 2
    local urls=() path
    for path in "$@"; do urls+=(--output /dev/null "$base$path"); done
    while [ "$SECONDS" -lt "$until" ]; do
        "${ask[@]}" --write-out '%{http_code}\n' "${urls[@]}" >>"$out" || echo 000 >>"$out"
        sleep "$pause"
    done
}

until=$((SECONDS + seconds))
for ((at = 0; at < dashboards; at++)); do
    { "${ask[@]}" --no-buffer "$base/stream" 2>/dev/null || true; } >"$folder/stream.$at" &
    pids+=($!)
    every 6.5 "$folder/codes.$at.a" "/series?service=$service&window=15m&points=150" "/rollouts/$service/differences?gate=errors&window=15m" &
    pids+=($!)
    every 2 "$folder/codes.$at.b" "/services" &
    pids+=($!)
    every 30 "$folder/codes.$at.c" "/events?limit=50&service=$service" "/history?days=30" &
    pids+=($!)
done
wait "${pids[@]}" || true
pids=()
answers=$(cat "$folder"/codes.* | wc -l)
bad=$(cat "$folder"/codes.* | grep -cv '^200$' || true)
bytes=$(cat "$folder"/stream.* | wc -c)
echo "$dashboards dashboards: $answers answers, $bad not 200, $bytes bytes of streams, $seconds s"
