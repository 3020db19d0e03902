#!/usr/bin/env python3
"""Rules, alerts and dashboards against a real Prometheus that scrapes a real Ringway under load.

    deploy/checks/live.py target/debug/ringway

Every rule must evaluate, every recording rule and every query of every dashboard must return data, and the alerts whose
causes can be made here in a minute must rise. The others have unit tests (prometheus/tests).
"""

import json
import re
import subprocess
import sys

from stack import DEPLOY, Stack, eventually, free_port, get

CONFIG = """
listeners:
  - {{ name: public, address: "127.0.0.1:{public}" }}
  - {{ name: secure, address: "127.0.0.1:{secure}", tls: {{ certificates: [{{ certFile: tls.crt, keyFile: tls.key }}] }} }}
admin: {{ address: "unix:admin.sock" }}
telemetry: {{ address: "127.0.0.1:{telemetry}" }}
stateDir: state
services:
  shop:
    hashOn: [{{ cookie: uid }}, clientIP]
    variants:
      stable:
        weight: 100
        endpoints: ["127.0.0.1:{stable}"]
        healthCheck: {{ path: /healthz, interval: 1s }}
        outlierDetection: {{ consecutiveErrors: 1000 }}
      canary: {{ weight: 0, endpoints: ["127.0.0.1:{canary}"], healthCheck: {{ path: /healthz, interval: 1s }} }}
    cohorts:
      - {{ name: beta, when: {{ header: {{ name: x-beta, exact: "1" }} }} }}
    mirror: {{ to: canary, percent: 50, methods: [GET], compare: [status, body] }}
    rollout:
      id: v42
      to: canary
      steps: [{{ cohort: everyone, weight: 40, hold: 10m, warmup: 3s }}]
      onHarm: {{ action: rollback, scope: rollout }}
      # not before there is something for alerts to see: the judge would be done after a handful
      judge: {{ minBad: 60 }}
  search:
    fallback: stable
    variants:
      stable: {{ weight: 80, endpoints: ["127.0.0.1:{stable}"] }}
      # nobody listens there
      canary: {{ weight: 20, endpoints: ["127.0.0.1:1"], healthCheck: {{ path: /healthz, interval: 1s }} }}
routes:
  - {{ hostnames: [search.example.com], service: search }}
  - {{ service: shop }}
"""

# Made below, each within a minute.
RISING = {
    "RingwayRolledBack", "RingwayGateHarm", "RingwayVariantWorse", "RingwayBudgetBurnsFast", "RingwayNoEndpoints",
    "RingwayReloadFailed", "RingwayConfigSkew", "RingwayDown", "RingwayCertificateExpires",
}  # fmt: skip


def main(binary):
    with Stack(binary) as stack:
        ports = {name: free_port() for name in ("public", "secure", "telemetry")}
        ports |= {name: stack.service(name) for name in ("stable", "canary")}
        certificate(stack.folder / "first")
        text = CONFIG.format(**ports)
        stack.ringway("first", text, ports["telemetry"])
        second, other = other_instance(stack, ports)
        stack.load(ports["public"], rate=200)
        prometheus = stack.prometheus([ports["telemetry"], other])

        eventually("two instances are up", lambda: len(prometheus.query("up == 1")) == 2)
        recorded = rules_evaluate(prometheus)
        gate = 'ringway_gate_verdicts_total{gate="errors",verdict="pass"} > 0'
        eventually("a gate has passed", lambda: prometheus.query(gate))

        get(f"http://127.0.0.1:{ports['canary']}/behave?errors=0.5", b"")
        eventually("the rollback", lambda: prometheus.query('ringway_rollout_phase{phase="rolled-back"} == 1'))
        (stack.folder / "first" / "ringway.yaml").write_text(text.replace("hashOn", "hash_on"))
        rises(prometheus, RISING - {"RingwayDown"})
        second.kill()
        rises(prometheus, {"RingwayDown"})
        recorded_data(prometheus, recorded)
        dashboards(prometheus)


def certificate(folder):
    """One that expires soon."""
    folder.mkdir()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 5 -subj /CN=shop.example.com"
    files = ["-addext", "subjectAltName=DNS:shop.example.com", "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    (folder / "tls.key").chmod(0o600)


def other_instance(stack, ports):
    """With another file, and so another revision."""
    telemetry = free_port()
    text = (
        f'listeners: [{{ address: "127.0.0.1:{free_port()}" }}]\nadmin: {{ address: "unix:admin.sock" }}\n'
        f'telemetry: {{ address: "127.0.0.1:{telemetry}" }}\n'
        f'services: {{ other: {{ variants: {{ stable: {{ endpoints: ["127.0.0.1:{ports["stable"]}"] }} }} }} }}\n'
    )
    return stack.ringway("second", text, telemetry), telemetry


def rules_evaluate(prometheus):
    """All of them without an error; the names of those that record."""

    def are_well():
        rules = prometheus.rules()
        return rules if rules and all(rule["health"] == "ok" for rule in rules) else None

    rules = eventually("every rule evaluates", are_well)
    print(f"✔ {len(rules)} rules evaluate")
    return [rule["name"] for rule in rules if rule["type"] == "recording"]


def rises(prometheus, expected):
    eventually(f"alerts {sorted(expected)}", lambda: expected <= prometheus.alerts() or print_missing(prometheus, expected))
    print(f"✔ {len(expected)} alerts rise: {', '.join(sorted(expected))}")


said = set()


def print_missing(prometheus, expected):
    missing = frozenset(expected - prometheus.alerts())
    if missing not in said:
        said.add(missing)
        print(f"  waiting for {', '.join(sorted(missing))}")
    return None


def recorded_data(prometheus, names):
    for name in names:
        eventually(f"{name} has data", lambda name=name: prometheus.query(name))
    print(f"✔ {len(names)} recording rules return data")


def dashboards(prometheus):
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        count = 0
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                expr = filled_in(target["expr"])
                eventually(f"{path.name}: {panel['title']}: {expr}", lambda expr=expr: prometheus.query(expr))
                count += 1
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                expr = re.sub(r"label_values\((.+), (\w+)\)", r"count by (\2) (\1)", variable["query"]["query"])
                eventually(f"{path.name}: variable {variable['name']}", lambda expr=expr: prometheus.query(filled_in(expr)))
                count += 1
        for annotation in dashboard["annotations"]["list"]:
            # events of a moment: nothing but the query itself can be looked at
            prometheus.query(filled_in(annotation["expr"]))
        print(f"✔ {path.name}: {count} queries return data")


def filled_in(expr):
    expr = expr.replace("$__rate_interval", "1m").replace("$__interval", "1s").replace("$__range", "1m")
    return re.sub(r"\$(job|service|cohort)\b", ".*", expr)


if __name__ == "__main__":
    main(sys.argv[1])
