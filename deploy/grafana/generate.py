#!/usr/bin/env python3
"""Writes the dashboards of Grafana into dashboards/: what is on them stands here, once.

    deploy/grafana/generate.py            writes them
    deploy/grafana/generate.py --check    says which ones are not current, and ends with 1

Standard library only. The JSON is for Grafana 11 and later; older ones read it too, without the newest options.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
FLEET = 'job=~"$job"'
SERVICE = f'{FLEET},service=~"$service"'
COHORT = f'{SERVICE},cohort=~"$cohort"'
DURATION = "ringway_http_request_duration_seconds"
BY_VARIANT = "service, cohort, variant"
NAMED = "{{service}} / {{cohort}} / {{variant}}"


# --- parts -----------------------------------------------------------------------------------------------------------


def query(expr, legend="", **more):
    return {"expr": " ".join(expr.split()), "legend": legend, **more}


def panel(kind, title, description, unit, *queries, width=12, height=8, **options):
    """One panel, not yet placed. `options` go over those that Grafana would choose."""
    defaults = {"unit": unit, **options.pop("defaults", {})}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "targets": [target(number, wanted, kind) for number, wanted in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": options.pop("overrides", [])},
        "size": (width, height),
        **options,
    }


def target(number, wanted, kind):
    is_now = kind in ("stat", "table", "bargauge")
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": wanted["expr"],
        "legendFormat": wanted["legend"] or "__auto",
        "instant": is_now,
        "range": not is_now,
        "format": wanted.get("format", "table" if kind == "table" else "time_series"),
    }


def lines(title, description, unit, *queries, stack=False, **more):
    custom = {"lineWidth": 1, "fillOpacity": 20 if stack else 5, "showPoints": "never"}
    if stack:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults = {"custom": custom, "min": 0, **more.pop("defaults", {})}
    options = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, description, unit, *queries, defaults=defaults, options=options, **more)


def number(title, description, unit, expr, legend="", bad_from=None, **more):
    steps = [{"color": "green", "value": None}]
    if bad_from is not None:
        steps.append({"color": "red", "value": bad_from})
    defaults = {"thresholds": {"mode": "absolute", "steps": steps}, **more.pop("defaults", {})}
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
    return panel("stat", title, description, unit, query(expr, legend), width=more.pop("width", 4), height=4, defaults=defaults, options=options, **more)


def timeline(title, description, expr, legend, mappings, **more):
    return panel("state-timeline", title, description, "none", query(expr, legend), defaults={"mappings": mappings, "custom": {"fillOpacity": 80}}, **more)


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "size": (WIDTH, 1)}


def table(title, description, columns, **more):
    """Columns are (name, unit, expression), joined by service, cohort and variant."""
    queries = [query(expr, name) for name, _, expr in columns]
    names = {f"Value #{chr(ord('A') + at)}": name for at, (name, _, _) in enumerate(columns)}
    overrides = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, unit, _ in columns
    ]
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]
    return panel("table", title, description, "none", *queries, width=WIDTH, height=9, overrides=overrides, transformations=transformations, options={"showHeader": True}, **more)


def quantile(q, by, of, matchers, window="$__rate_interval"):
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({of}_bucket{{{matchers}}}[{window}])))"


def rate(metric, by, matchers, window="$__rate_interval"):
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[{window}]))"


def errors(by, matchers):
    failed = rate(f"{DURATION}_count", by, matchers + ',outcome="error"')
    return f"{failed} / ({rate(f'{DURATION}_count', by, matchers)} > 0)"


# --- dashboards ------------------------------------------------------------------------------------------------------


def cohorts():
    count = f"{DURATION}_count"
    return dashboard(
        "ringway-cohorts",
        "Ringway / Cohorts",
        "Who gets which version, and how it goes: each variant beside the others of its cohort.",
        ["service", "cohort"],
        [
            number("Requests", "Finished requests a second, all variants.", "reqps", f"sum(rate({count}{{{COHORT}}}[$__rate_interval]))"),
            number("Errors", "Share of answers that a variant is to blame for: 5xx, resets, timeouts.", "percentunit", f'sum(rate({count}{{{COHORT},outcome="error"}}[$__rate_interval])) / (sum(rate({count}{{{COHORT}}}[$__rate_interval])) > 0)', bad_from=0.01),
            number("p99", "The slowest percent takes at least this long.", "s", f"histogram_quantile(0.99, sum by (le) (rate({DURATION}_bucket{{{COHORT}}}[$__rate_interval])))"),
            number("In flight", "Requests that have begun and not finished.", "short", f"sum(ringway_http_requests_in_flight{{{COHORT}}})"),
            number("Fallbacks", "Requests a second that another variant served, because the assigned one could not.", "reqps", f"sum(rate(ringway_fallback_total{{{COHORT}}}[$__rate_interval]))", bad_from=0.01),
            number("Users with errors", "Distinct users that have met an error since the start of each replica, to about 1 %; replicas are summed.", "short", f"sum(ringway_users_with_errors{{{COHORT}}})", bad_from=1),
            table(
                "Variants",
                "Share is of the requests of the cohort; weight is of its users. They differ when some users send more than others.",
                [
                    ("Weight", "percentunit", f"avg by ({BY_VARIANT}) (ringway_variant_weight_ratio{{{COHORT}}})"),
                    ("Share", "percentunit", f"{rate(count, BY_VARIANT, COHORT)} / on (service, cohort) group_left () ({rate(count, 'service, cohort', COHORT)} > 0)"),
                    ("Requests", "reqps", rate(count, BY_VARIANT, COHORT)),
                    ("Errors", "percentunit", errors(BY_VARIANT, COHORT)),
                    ("p50", "s", quantile(0.5, BY_VARIANT, DURATION, COHORT)),
                    ("p95", "s", quantile(0.95, BY_VARIANT, DURATION, COHORT)),
                    ("p99", "s", quantile(0.99, BY_VARIANT, DURATION, COHORT)),
                    ("Users", "short", f"sum by ({BY_VARIANT}) (ringway_users_exposed{{{COHORT}}})"),
                ],
            ),
            row("Side by side"),
            lines("Errors by variant", "Share of answers that the variant is to blame for.", "percentunit", query(errors(BY_VARIANT, COHORT), NAMED)),
            lines("Requests by variant", "Finished requests a second.", "reqps", query(rate(count, BY_VARIANT, COHORT), NAMED), stack=True),
            lines("p50 by variant", "Half of the answers take longer.", "s", query(quantile(0.5, BY_VARIANT, DURATION, COHORT), NAMED), width=8),
            lines("p95 by variant", "One of twenty answers takes longer.", "s", query(quantile(0.95, BY_VARIANT, DURATION, COHORT), NAMED), width=8),
            lines("p99 by variant", "One of a hundred answers takes longer.", "s", query(quantile(0.99, BY_VARIANT, DURATION, COHORT), NAMED), width=8),
            lines(
                "Excess of errors",
                "How surprising the variant's errors are beside the others of its cohort (z score over five minutes). RingwayVariantWorse fires above 4.",
                "none",
                query(f"service_cohort_variant:ringway_error_excess:z5m{{{COHORT}}}", NAMED),
                defaults={"min": None, "custom": {"thresholdsStyle": {"mode": "line"}}, "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 4}]}},
            ),
            lines("Weight and configured weight", "The share of users in force, and the one in the file. They differ while a rollout rules.", "percentunit", query(f"avg by ({BY_VARIANT}) (ringway_variant_weight_ratio{{{COHORT}}})", f"{NAMED} in force"), query(f"avg by ({BY_VARIANT}) (ringway_variant_configured_weight_ratio{{{COHORT}}})", f"{NAMED} in the file"), defaults={"max": 1}),
            row("Users"),
            lines("Users exposed by variant", "Distinct users that the variant has served since the start, to about 1 %; replicas are summed.", "short", query(f"sum by ({BY_VARIANT}) (ringway_users_exposed{{{COHORT}}})", NAMED)),
            lines("Users with errors by variant", "Distinct users that have met an error of the variant since the start.", "short", query(f"sum by ({BY_VARIANT}) (ringway_users_with_errors{{{COHORT}}})", NAMED)),
            row("Why"),
            lines("Status", "Answers a second by status; 0 is none.", "reqps", query(rate("ringway_http_requests_total", "variant, code", COHORT), "{{variant}} {{code}}"), stack=True, width=8),
            lines("Reason", "Why users got the variant that they got.", "reqps", query(rate("ringway_http_requests_total", "variant, reason", COHORT), "{{variant}} by {{reason}}"), stack=True, width=8),
            lines("Fallbacks and retries", "What the assigned variant could not serve, by cause; and second attempts, by what came of them.", "reqps", query(rate("ringway_fallback_total", "variant, cause", COHORT), "{{variant}} fallback: {{cause}}"), query(rate("ringway_http_retries_total", "variant, result", COHORT), "{{variant}} retry: {{result}}"), width=8),
            panel("heatmap", "Latency of all answers", "Answers a second by how long they took.", "s", query(f"sum by (le) (rate({DURATION}_bucket{{{COHORT}}}[$__rate_interval]))", "{{le}}", format="heatmap"), width=WIDTH, options={"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Oranges"}}),
        ],
    )


PHASES = [
    ("idle", "text"), ("progressing", "green"), ("holding", "yellow"), ("paused", "orange"), ("awaiting-approval", "blue"),
    ("awaiting-window", "blue"), ("promoted", "dark-green"), ("rolled-back", "red"), ("superseded", "purple"),
]


def rollouts():
    phases = " or ".join(f'(max by (service) (ringway_rollout_phase{{{SERVICE},phase="{name}"}}) == 1) * {at}' for at, (name, _) in enumerate(PHASES))
    mapping = [{"type": "value", "options": {str(at): {"text": name, "color": color} for at, (name, color) in enumerate(PHASES)}}]
    mirror = "ringway_mirror_duration_seconds"
    return dashboard(
        "ringway-rollouts",
        "Ringway / Rollouts",
        "Where each rollout is, what its gates see, and what it has done to the weights.",
        ["service", "cohort"],
        [
            number("Under way", "Services whose rollout moves or waits.", "short", f'sum(max by (service) (ringway_rollout_phase{{{SERVICE},phase=~"progressing|holding|awaiting-.*"}}))'),
            number("Paused", "Services whose rollout somebody or something stopped.", "short", f'sum(max by (service) (ringway_rollout_phase{{{SERVICE},phase="paused"}}))', bad_from=1),
            number("Rolled back", "Services whose rollout was taken back.", "short", f'sum(max by (service) (ringway_rollout_phase{{{SERVICE},phase="rolled-back"}}))', bad_from=1),
            number("Promoted", "Services whose rollout is done.", "short", f'sum(max by (service) (ringway_rollout_phase{{{SERVICE},phase="promoted"}}))'),
            number("Highest evidence of harm", "How many times likelier harm is than a healthy release, over all gates.", "short", f"max(ringway_gate_evidence{{{COHORT}}})", bad_from=20),
            number("Gates that see harm", "Gates with a verdict of harm in the last five minutes.", "short", f'count(sum by (service, cohort, gate) (increase(ringway_gate_verdicts_total{{{COHORT},verdict="harm"}}[5m])) > 0) or vector(0)', bad_from=1),
            timeline("Phase", "The phase of each rollout over time.", phases, "{{service}}", mapping, width=16),
            lines("Step", "The step of the file that each rollout is at.", "short", query(f"max by (service) (ringway_rollout_step{{{SERVICE}}})", "{{service}}"), width=8, defaults={"decimals": 0}),
            lines("Weights in force", "The share of each cohort's users that each variant has.", "percentunit", query(f"avg by ({BY_VARIANT}) (ringway_variant_weight_ratio{{{COHORT}}})", NAMED), width=WIDTH, defaults={"max": 1, "custom": {"lineInterpolation": "stepAfter"}}),
            row("Gates"),
            lines("Evidence of harm", "How many times likelier harm is than a healthy release. What is needed for a verdict stands in `ringway status`; 20 by default.", "short", query(f"max by (service, cohort, gate) (ringway_gate_evidence{{{COHORT}}})", "{{service}} / {{cohort}} / {{gate}}"), defaults={"custom": {"scaleDistribution": {"type": "log", "log": 10}}, "min": None}),
            lines("Verdicts", "Looks a second at each gate, by verdict.", "short", query(rate("ringway_gate_verdicts_total", "gate, verdict", COHORT), "{{gate}}: {{verdict}}"), stack=True),
            row("What users met"),
            lines("Errors by variant", "Share of answers that the variant is to blame for.", "percentunit", query(errors(BY_VARIANT, COHORT), NAMED)),
            lines("p99 by variant", "One of a hundred answers takes longer.", "s", query(quantile(0.99, BY_VARIANT, DURATION, COHORT), NAMED)),
            lines("Users exposed to each variant", "Distinct users since the start, to about 1 %; replicas are summed.", "short", query(f"sum by ({BY_VARIANT}) (ringway_users_exposed{{{COHORT}}})", NAMED)),
            lines("Injected faults", "Faults of the file that were injected: drills.", "reqps", query(rate("ringway_faults_injected_total", "service, cohort, variant, kind", COHORT), NAMED + " {{kind}}")),
            row("Mirrors"),
            lines("Copies", "Requests copied a second, by what came of the copy.", "reqps", query(rate("ringway_mirror_requests_total", "service, variant, result", SERVICE), "{{service}} / {{variant}}: {{result}}"), stack=True, width=8),
            lines("Differences", "Answers a second that differ from those that users got, by the part that differs.", "reqps", query(rate("ringway_mirror_differences_total", "service, variant, kind", SERVICE), "{{service}} / {{variant}}: {{kind}}"), query(rate("ringway_mirror_bodies_uncompared_total", "service, variant, cause", SERVICE), "{{service}} / {{variant}} not compared: {{cause}}"), width=8),
            lines("p95 of both sides", "How long the same requests take with users and with copies.", "s", query(quantile(0.95, "service, variant, side", mirror, SERVICE), "{{service}} / {{variant}}: {{side}}"), width=8),
            row("Alerts"),
            panel("table", "Alerts that fire", "Those of this folder's rules.", "none", query('ALERTS{alertname=~"Ringway.*",alertstate="firing"}'), width=WIDTH, height=7, options={"showHeader": True}, transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True, "__name__": True}}}]),
        ],
    )


def fleet():
    by = "instance"
    return dashboard(
        "ringway-fleet",
        "Ringway / Fleet",
        "The processes: configuration, resources, connections, endpoints.",
        [],
        [
            number("Instances", "Processes that answer Prometheus.", "short", f"count(ringway_build_info{{{FLEET}}})"),
            number("Configurations", "Different revisions in force. More than one for longer than a reload takes is a skew.", "short", f"count(count by (rev) (ringway_config_info{{{FLEET}}}))", bad_from=2),
            number("Refused reloads", "Instances whose last reload was refused; the last good configuration serves.", "short", f"sum(1 - ringway_config_last_reload_successful{{{FLEET}}})", bad_from=1),
            number("Unusable endpoints", "Endpoints that are ejected or unhealthy, over all instances.", "short", f'sum(ringway_upstream_endpoints{{{FLEET},state!="healthy"}})', bad_from=1),
            number("Own time, p99", "Time spent in Ringway itself until a request was handed upstream.", "s", f"histogram_quantile(0.99, sum by (le) (rate(ringway_proxy_overhead_seconds_bucket{{{FLEET}}}[$__rate_interval])))"),
            number("Panics", "Contained bugs since the start.", "short", f"sum(ringway_panics_total{{{FLEET}}})", bad_from=1),
            panel("table", "Versions and revisions", "Which instance runs what.", "none", query(f"ringway_build_info{{{FLEET}}} * on (instance, job) group_left (rev) ringway_config_info{{{FLEET}}}"), width=12, options={"showHeader": True}, transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True, "__name__": True}}}]),
            lines("Reloads", "Loads of the configuration, by result.", "short", query(f"sum by (instance, result) (increase(ringway_config_reloads_total{{{FLEET}}}[$__rate_interval]))", "{{instance}} {{result}}"), width=6),
            number("Age of the configuration", "Since it was last put in force, on the instance with the oldest one.", "s", f"max(time() - ringway_config_last_reload_success_timestamp_seconds{{{FLEET}}})", width=6),
            row("Traffic"),
            lines("Requests", "Finished requests a second.", "reqps", query(rate("ringway_http_requests_total", by, FLEET), "{{instance}}"), stack=True),
            lines("Answered without a service", "Requests that were refused, or had no route, by status.", "reqps", query(rate("ringway_unrouted_requests_total", "code", FLEET), "{{code}}")),
            lines("Own time", "From the first byte of a request until it was handed upstream.", "s", query(quantile(0.5, by, "ringway_proxy_overhead_seconds", FLEET), "{{instance}} p50"), query(quantile(0.99, by, "ringway_proxy_overhead_seconds", FLEET), "{{instance}} p99")),
            lines("Connections of clients", "Open ones, and new ones a second.", "short", query(f"sum by ({by}) (ringway_downstream_connections{{{FLEET}}})", "{{instance}} open"), query(rate("ringway_downstream_connections_total", by, FLEET), "{{instance}} new a second"), query(rate("ringway_downstream_connections_refused_total", "reason", FLEET), "refused a second: {{reason}}")),
            row("Endpoints"),
            lines("By state", "Endpoints by their state, summed over instances.", "short", query(f"sum by (service, variant, state) (ringway_upstream_endpoints{{{FLEET}}})", "{{service}} / {{variant}}: {{state}}"), stack=True, width=8),
            lines("Ejections and failed checks", "Endpoints that were left alone, by cause; health checks by result.", "short", query(rate("ringway_upstream_ejections_total", "service, variant, cause", FLEET), "{{service}} / {{variant}}: {{cause}}"), query(rate("ringway_upstream_health_checks_total", "service, variant, result", FLEET), "{{service}} / {{variant}} checks: {{result}}"), width=8),
            lines("Use of limits", "Connections, requests in flight, and requests that wait, by variant.", "short", query(f"sum by (service, variant, of) (ringway_upstream_in_use{{{FLEET}}})", "{{service}} / {{variant}}: {{of}}"), query(rate("ringway_upstream_connections_total", by, FLEET), "{{instance}} new connections a second"), width=8),
            row("Resources"),
            lines("CPU", "Cores in use.", "short", query(rate("process_cpu_seconds_total", by, FLEET), "{{instance}}"), width=6),
            lines("Memory", "Resident memory.", "bytes", query(f"process_resident_memory_bytes{{{FLEET}}}", "{{instance}}"), width=6),
            lines("Descriptors", "Open file descriptors, as a share of those allowed.", "percentunit", query(f"process_open_fds{{{FLEET}}} / process_max_fds{{{FLEET}}}", "{{instance}}"), width=6),
            lines("Uptime", "Since the process started.", "s", query(f"time() - process_start_time_seconds{{{FLEET}}}", "{{instance}}"), width=6),
            lines("Overload stage", "0 not at all short of memory, 3 long answers are cut.", "short", query(f"ringway_overload_stage{{{FLEET}}}", "{{instance}}"), width=6, defaults={"max": 3, "decimals": 0}),
            lines("Lost lines of the access log", "A second.", "short", query(rate("ringway_access_log_dropped_total", by, FLEET), "{{instance}}"), width=6),
            lines("Folded names", "Services, cohorts and variants beyond telemetry.maxSeries.", "short", query(f"ringway_series_folded_total{{{FLEET}}}", "{{instance}}"), width=6),
            lines("Notes to people", "A second, by what became of them; 0 where nobody is to be told.", "short", query(rate("ringway_notifications_total", "notifier, result", FLEET) + " or vector(0)", "{{notifier}}: {{result}}"), width=6),
            lines("Probes", "A second, by result; 0 where there are none.", "short", query(rate("ringway_probes_total", "service, cohort, variant, result", FLEET) + " or vector(0)", "{{service}}/{{cohort}} {{variant}}: {{result}}"), width=6),
            lines("Spans", "A second, by what became of them; 0 where there is no tracer. Rejected ones the receiver did not want, failed ones it did not take, dropped ones had no room.", "short", query(rate("ringway_spans_total", "result", FLEET) + " or vector(0)", "{{result}}"), width=6),
            lines("Left over", "Of releases that are over; `ringway check` names it.", "short", query(f"sum by (service, kind) (ringway_leftovers{{{FLEET}}})", "{{service}}: {{kind}}"), width=6),
            lines("State of rollouts on the disk", "1 when it is; 0 while it cannot be written, and nothing rises.", "short", query(f"min by (instance) (ringway_rollout_state_durable{{{FLEET}}})", "{{instance}}"), width=6, defaults={"max": 1, "decimals": 0}),
            lines("Certificates expire in", "The soonest of each name.", "s", query(f"min by (listener, name) (ringway_tls_certificate_expiry_seconds{{{FLEET}}}) - time()", "{{listener}} / {{name}}"), width=6),
        ],
    )


# --- the whole -------------------------------------------------------------------------------------------------------


def dashboard(uid, title, description, variables, panels):
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["ringway"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["ringway"], "title": "Ringway", "asDropdown": False, "includeVars": True, "keepTime": True}],
        "annotations": {"list": [marks("Rolled back", 'max by (service) (ringway_rollout_phase{job=~"$job",phase="rolled-back"}) == 1 unless max by (service) (ringway_rollout_phase{job=~"$job",phase="rolled-back"} offset 1m) == 1', "red"), marks("Reloaded", 'changes(ringway_config_last_reload_success_timestamp_seconds{job=~"$job"}[1m]) > 0', "blue")]},
        "templating": {"list": [chosen_source(), *(variable(name) for name in ["job", *variables])]},
        "panels": placed(panels),
    }


def marks(name, expr, color):
    return {"name": name, "datasource": SOURCE, "enable": True, "expr": expr, "step": "60s", "iconColor": color, "titleFormat": name, "textFormat": "{{service}}{{instance}}"}


def chosen_source():
    return {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0}


def variable(name):
    within = {"job": "ringway_build_info", "service": f"ringway_http_requests_in_flight{{{FLEET}}}", "cohort": f"ringway_http_requests_in_flight{{{SERVICE}}}"}[name]
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({within}, {name})", "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


def placed(panels):
    """From left to right and from the top down, as text flows."""
    x = y = height = 0
    result = []
    for number_, wanted in enumerate(panels, start=1):
        width, own = wanted["size"]
        if x + width > WIDTH:
            x, y, height = 0, y + height, 0
        at = {"x": x, "y": y, "w": width, "h": own}
        x, height = x + width, max(height, own)
        result.append({"id": number_, "gridPos": at, **{key: value for key, value in wanted.items() if key != "size"}})
    return result


def main():
    is_check = sys.argv[1:] == ["--check"]
    stale = []
    for made in (cohorts(), rollouts(), fleet()):
        path = FOLDER / f"{made['uid']}.json"
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        if is_check:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        sys.exit(f"not current: {', '.join(stale)}; type: deploy/grafana/generate.py")


if __name__ == "__main__":
    main()
