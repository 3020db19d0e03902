#!/usr/bin/env python3
"""Lints dashboards, rules and alerts: what is asked for exists, what is shown is explained.

    deploy/checks/dashboards.py
"""

import json
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
SEVERITIES = {"page", "ticket", "info"}


def main():
    problems = []
    known = families()
    groups = [group for path in sorted((DEPLOY / "prometheus/rules").glob("*.yaml")) for group in yaml.safe_load(path.read_text())["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    records = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        unknown_metrics(rule.get("record") or rule["alert"], rule["expr"], known, records, problems)
    alerts = [rule for rule in rules if "alert" in rule]
    for alert in alerts:
        alert_rules(alert, problems)
    tested(alerts, problems)
    paths = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
    if len(paths) != 3:
        problems.append(f"{len(paths)} dashboards, not 3")
    for path in paths:
        dashboard_rules(path.name, json.loads(path.read_text()), known, records, problems)
    unused = known - used(paths, rules)
    if unused:
        problems.append(f"no dashboard and no rule shows {', '.join(sorted(unused))}")
    if problems:
        sys.exit("✘ " + "\n✘ ".join(problems))
    print(f"✔ {len(paths)} dashboards, {len(records)} recording rules, {len(alerts)} alerts; {len(known)} families, each shown somewhere")


def families():
    page = (ROOT / "docs/reference/metrics.md").read_text()
    return set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def names_in(expr):
    """Metrics that an expression asks for. Labels and words of PromQL are in no family."""
    return set(re.findall(r"\b(?:ringway|process)_\w+|\b\w+:ringway_\w+:\w+", expr))


def unknown_metrics(place, expr, known, records, problems):
    for name in names_in(expr):
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        if name not in records and name not in known and family not in known:
            problems.append(f"{place}: there is no metric {name}")


def used(paths, rules):
    text = " ".join([path.read_text() for path in paths] + [rule["expr"] for rule in rules])
    names = names_in(text)
    return names | {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def alert_rules(alert, problems):
    name = alert["alert"]
    if alert["labels"].get("severity") not in SEVERITIES:
        problems.append(f"{name}: severity is not one of {SEVERITIES}")
    for annotation in ("summary", "description", "runbook"):
        if not alert["annotations"].get(annotation):
            problems.append(f"{name}: no {annotation}")
    page = (ROOT / "docs/operations/alerts.md").read_text()
    if f"\n## {name}\n" not in page:
        problems.append(f"{name}: docs/operations/alerts.md does not explain it")
    if alert["annotations"]["runbook"] != f"docs/operations/alerts.md#{name.lower()}":
        problems.append(f"{name}: its runbook leads elsewhere")


def tested(alerts, problems):
    texts = " ".join(path.read_text() for path in (DEPLOY / "prometheus" / "tests").glob("*.yaml"))
    tests = [test for path in (DEPLOY / "prometheus" / "tests").glob("*.yaml") for test in yaml.safe_load(path.read_text())["tests"]]
    rising = {case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if case["exp_alerts"]}
    for alert in alerts:
        if alert["alert"] not in rising:
            problems.append(f"{alert['alert']}: no test in prometheus/tests sees it rise")
    page = (ROOT / "docs/operations/alerts.md").read_text()
    names = {alert["alert"] for alert in alerts}
    for name in re.findall(r"^## (Ringway\w+)$", page, re.MULTILINE) + re.findall(r"alertname: (\w+)", texts):
        if name not in names:
            problems.append(f"{name}: there is no such alert")


def dashboard_rules(place, dashboard, known, records, problems):
    if dashboard["uid"] + ".json" != place or not dashboard["title"].startswith("Ringway / "):
        problems.append(f"{place}: uid {dashboard['uid']}, title {dashboard['title']}")
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        problems.append(f"{place}: two panels have the same id")
    titles = [panel["title"] for panel in dashboard["panels"]]
    if len(set(titles)) != len(titles):
        problems.append(f"{place}: two panels have the same title")
    taken = set()
    for panel in dashboard["panels"]:
        at = f"{place}: {panel['title']}"
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        if taken & cells or grid["x"] + grid["w"] > 24:
            problems.append(f"{at}: covers another panel, or leaves the page")
        taken |= cells
        if panel["type"] != "row":
            panel_rules(at, panel, known, records, problems)


def panel_rules(at, panel, known, records, problems):
    if not panel.get("description"):
        problems.append(f"{at}: not explained")
    if not panel["fieldConfig"]["defaults"].get("unit"):
        problems.append(f"{at}: no unit")
    if panel["datasource"]["uid"] != "${datasource}":
        problems.append(f"{at}: asks one source only")
    for target in panel["targets"]:
        expr = target["expr"]
        unknown_metrics(at, expr, known, records, problems)
        if "$job" not in expr and "ALERTS" not in expr:
            problems.append(f"{at}: does not choose by job")
        if re.search(r"\brate\([^()]*\[(?!\$__rate_interval)", expr):
            problems.append(f"{at}: a rate over a fixed window does not follow the scrape interval")
        if re.search(r"(?<!in_)\brate\(\w+(?<!_total)(?<!_bucket)(?<!_count)(?<!_sum)\{", expr):
            problems.append(f"{at}: a rate of what is no counter")


if __name__ == "__main__":
    main()
