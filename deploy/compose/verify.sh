#!/usr/bin/env bash
# Is the quickstart what it promises? Asks as a user, as Prometheus, as Grafana; then makes the canary ill and waits until
# it is taken back. Leaves the canary well again; the rollout stays rolled back until `ringway retry shop`.
#
#   ./verify.sh                  all of it
#   GRAFANA= ./verify.sh         without Grafana
#
# Exit code 0 when everything holds, else 1 with the line that does not.
set -euo pipefail

RINGWAY=${RINGWAY:-http://127.0.0.1:8080}
TELEMETRY=${TELEMETRY:-http://127.0.0.1:9902}
CANARY=${CANARY:-http://127.0.0.1:8081}
PROMETHEUS=${PROMETHEUS:-http://127.0.0.1:9090}
GRAFANA=${GRAFANA-http://127.0.0.1:3000}
PATIENCE=${PATIENCE:-120}

say() { printf '✔ %s\n' "$*"; }

fail() {
    printf '✘ %s\n' "$*" >&2
    exit 1
}

# eventually WHAT COMMAND...: once a second, until it succeeds
eventually() {
    local what=$1 began=$SECONDS
    shift
    until "$@" >/dev/null 2>&1; do
        [ $((SECONDS - began)) -lt "$PATIENCE" ] || fail "$what: not within $PATIENCE s"
        sleep 1
    done
    say "$what ($((SECONDS - began)) s)"
}

get() { curl -sS --fail --max-time 5 "$@"; }

variant_of() {
    get -o /dev/null -D - -H "cookie: uid=$1" "${@:2}" "$RINGWAY/" | tr -d '\r' |
        awk -F': ' 'tolower($1) == "x-ringway-variant" { print $2 }'
}

# has QUERY: PromQL that gives at least one series
has() {
    get -G "$PROMETHEUS/api/v1/query" --data-urlencode "query=$1" | grep -q '"value"'
}

same_user_same_variant() {
    local user first again
    for user in $(seq 1 20); do
        first=$(variant_of "u-$user")
        again=$(variant_of "u-$user")
        [ -n "$first" ] || return 1
        [ "$first" = "$again" ] || return 1
    done
}

finds_dashboards() {
    local found
    found=$(get "$GRAFANA/api/search?type=dash-db")
    for uid in ringway-cohorts ringway-rollouts ringway-fleet; do
        grep -q "\"$uid\"" <<<"$found" || return 1
    done
}

# behave SETTINGS: how well the canary is
behave() { get -o /dev/null -X POST -d '' "$CANARY/behave?$1"; }

eventually "Ringway is ready" get "$TELEMETRY/readyz"
eventually "it answers for the shop" get "$RINGWAY/"
eventually "the same user gets the same version" same_user_same_variant
eventually "Prometheus scrapes it" has 'up{job="ringway"} == 1'
eventually "the rules are evaluated" has 'service_cohort_variant:ringway_requests:rate5m'
eventually "staff are on the canary" has \
    'increase(ringway_http_request_duration_seconds_count{cohort="staff",variant="canary",outcome="success"}[1m]) > 0'
eventually "a gate has looked at it" has 'ringway_gate_verdicts_total{service="shop",cohort="staff"} > 0'
if [ -n "$GRAFANA" ]; then
    eventually "Grafana has the three dashboards" finds_dashboards
fi

behave "errors=0.5"
trap 'behave "errors=0" || true' EXIT
say "the canary is ill: half of its answers are errors"
eventually "it is taken back" has 'ringway_rollout_phase{service="shop",phase="rolled-back"} == 1'
eventually "nobody is sent to it" has \
    'sum(ringway_variant_weight_ratio{service="shop",variant="canary"}) == 0'
eventually "the alert RingwayRolledBack fires" has 'ALERTS{alertname="RingwayRolledBack",alertstate="firing"}'
echo "all of it holds"
