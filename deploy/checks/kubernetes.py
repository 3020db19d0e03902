#!/usr/bin/env python3
"""Manifests, kustomizations and the Helm chart: schemas of Kubernetes, rules of our own, and the files that they carry.

    deploy/checks/kubernetes.py RINGWAY RENDER

RENDER is the renderer of checks/helm, built. Kustomizations are put together by `kubectl kustomize` or `kustomize` where
one of version 5 is installed, and always by kustomize.py here; where both are there, they must agree.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import kustomize
import yaml

DEPLOY = Path(__file__).resolve().parent.parent
# The oldest one that has everything, and the newest one known. `sleep` of hooks is on by default from 1.30.
VERSIONS = ("1.30", "1.37")
PLAIN_VERSIONS = ("1.27", "1.37")
KUSTOMIZATIONS = {
    "overlays/staging": PLAIN_VERSIONS,
    "overlays/production": PLAIN_VERSIONS,
    "sidecar-native": VERSIONS,
    "sidecar-plain": PLAIN_VERSIONS,
}
CHART = DEPLOY / "helm" / "ringway"


class Problems(list):
    def unless(self, holds, place, text):
        if not holds:
            self.append(f"{place}: {text}")


def main(ringway, render):
    problems = Problems()
    for folder, versions in KUSTOMIZATIONS.items():
        documents = kustomized(DEPLOY / "kubernetes" / folder, problems)
        look_at(f"kubernetes/{folder}", documents, versions, ringway, problems)
    for name in ("", "ci/full-values.yaml", "ci/least-values.yaml"):
        documents = rendered(render, name, problems)
        look_at(f"helm {name or 'defaults'}", documents, PLAIN_VERSIONS, ringway, problems)
    schema_refuses(problems)
    scraping(problems)
    if problems:
        sys.exit("✘ " + "\n✘ ".join(problems))


# --- kustomize -------------------------------------------------------------------------------------------------------


def kustomized(folder, problems):
    documents = kustomize.build(folder)
    command = kustomize_command()
    if command:
        said = subprocess.run([*command, str(folder)], capture_output=True, text=True)
        problems.unless(said.returncode == 0, folder.name, said.stderr)
        problems.unless("deprecated" not in said.stderr, folder.name, said.stderr)
        real = [document for document in yaml.safe_load_all(said.stdout) if document]
        problems.unless(by_name(real) == by_name(documents), folder.name, "kustomize and kustomize.py disagree")
        print(f"✔ {folder.name}: {' '.join(command)} agrees")
    return documents


def kustomize_command():
    for command, version in ((["kubectl", "kustomize"], ["kubectl", "version", "--client"]), (["kustomize", "build"], ["kustomize", "version"])):
        try:
            said = subprocess.run(version, capture_output=True, text=True).stdout
        except FileNotFoundError:
            continue
        if "v5." in said:
            return command
    return None


def by_name(documents):
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


# --- helm ------------------------------------------------------------------------------------------------------------


def rendered(render, values, problems):
    """What the chart makes of values, each document checked by the schema of the values first."""
    command = [render, str(CHART), "edge", "shop"] + ([str(CHART / values)] if values else [])
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"✘ helm {values}: {said.stderr}")
    answer = json.loads(said.stdout)
    errors = jsonschema.Draft7Validator(schema()).iter_errors(answer["values"])
    problems.extend(f"helm {values}: {error.json_path}: {error.message}" for error in errors)
    notes = answer["rendered"].pop("NOTES.txt")
    problems.unless("ringway status" in notes and "{{" not in notes, f"helm {values}", "the notes say nothing")
    documents = []
    for name, text in answer["rendered"].items():
        try:
            documents += [document for document in yaml.safe_load_all(text) if document]
        except yaml.YAMLError as error:
            sys.exit(f"✘ helm {values}: {name}: {error}\n{text}")
    return documents


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def schema_refuses(problems):
    """Slips that would otherwise be noticed by what does not happen."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    unknown = set(defaults) - set(schema()["properties"])
    problems.unless(not unknown, "values.schema.json", f"does not know {unknown}")
    slips = [
        {"replicaCount": 3},
        {"replicas": "3"},
        {"config": {"services": {}}},
        {"config": "listeners: []"},
        {"image": {"repository": "r", "digest": "latest"}},
        {"service": {"type": "ClusterIp"}},
        {"drain": {"after": "10"}},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
    ]
    for slip in slips:
        problems.unless(not jsonschema.Draft7Validator(schema()).is_valid({**defaults, **slip}), "values.schema.json", f"accepts {slip}")
    print(f"✔ values.schema.json refuses {len(slips)} slips")


# --- rules -----------------------------------------------------------------------------------------------------------


def look_at(place, documents, versions, ringway, problems):
    for document in documents:
        where = f"{place}: {document['kind']} {document['metadata']['name']}"
        for version in versions:
            if document["apiVersion"].startswith("monitoring.coreos.com/"):
                # defined by an operator, not by Kubernetes
                continue
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{where}: {version}: {error.message}")
        spec = pod_spec(document)
        if spec:
            pod_rules(where, spec, problems)
        if document["kind"] == "ConfigMap":
            config_is_valid(where, document["data"], ringway, problems)
        if document["kind"] == "ServiceAccount":
            problems.unless(document.get("automountServiceAccountToken") is False, where, "has a token")
    selectors_find_pods(place, documents, problems)
    print(f"✔ {place}: {len(documents)} objects, Kubernetes {' and '.join(versions)}")


def pod_spec(document):
    if document["kind"] == "Deployment":
        return document["spec"]["template"]["spec"]
    return document["spec"] if document["kind"] == "Pod" else None


def pod_rules(where, spec, problems):
    problems.unless(spec.get("automountServiceAccountToken") is False, where, "a token of the service account is mounted")
    pod = spec.get("securityContext", {})
    problems.unless(pod.get("runAsNonRoot") is True, where, "may run as root")
    problems.unless(pod.get("seccompProfile", {}).get("type") == "RuntimeDefault", where, "no seccomp profile")
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec.get("initContainers", []) + spec["containers"]:
        at = f"{where}: {container['name']}"
        security = container.get("securityContext", {})
        problems.unless(security.get("readOnlyRootFilesystem") is True, at, "its root can be written")
        problems.unless(security.get("allowPrivilegeEscalation") is False, at, "privileges may be escalated")
        problems.unless(security.get("capabilities", {}).get("drop") == ["ALL"], at, "keeps capabilities")
        problems.unless(isinstance(security.get("runAsUser", pod.get("runAsUser")), int), at, "no numeric user")
        for mount in container.get("volumeMounts", []):
            problems.unless("subPath" not in mount, at, f"{mount['mountPath']} is mounted by itself and never updated")
            problems.unless(mount["name"] in volumes, at, f"no volume {mount['name']}")
        if container["name"] == "ringway":
            ringway_rules(at, spec, container, problems)


def ringway_rules(at, spec, container, problems):
    ports = {port.get("name"): port["containerPort"] for port in container["ports"]}
    problems.unless(ports.get("telemetry") == 9902, at, "no port `telemetry`")
    for probe, path in (("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        get = container.get(probe, {}).get("httpGet", {})
        problems.unless((get.get("path"), get.get("port")) == (path, "telemetry"), at, f"{probe} is {get}")
    hook = container["lifecycle"]["preStop"]["exec"]["command"]
    problems.unless(hook[:3] == ["/usr/bin/ringway", "drain", "--after"], at, f"the hook is {hook}")
    patience = spec["terminationGracePeriodSeconds"] - int(hook[3].removesuffix("s"))
    problems.unless(patience > 30, at, f"only {patience} s are left for requests in flight, which may take 30 s")
    problems.unless("memory" in container["resources"]["limits"], at, "no limit of memory")


def config_is_valid(where, data, ringway, problems):
    """The file that pods will read, with what lies beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in data.items():
            (Path(folder) / name).write_text(text)
        said = subprocess.run([ringway, "check", "-c", f"{folder}/ringway.yaml"], capture_output=True, text=True)
        problems.unless(said.returncode == 0, where, said.stdout + said.stderr)


def selectors_find_pods(place, documents, problems):
    """What selects pods selects those that are there."""
    pods = [document["spec"]["template"]["metadata"]["labels"] for document in documents if document["kind"] == "Deployment"]
    for document in documents:
        spec = document.get("spec", {})
        selector = {
            "Deployment": lambda: spec["selector"]["matchLabels"],
            "Service": lambda: spec["selector"],
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
            "PodMonitor": lambda: spec["selector"]["matchLabels"],
        }.get(document["kind"])
        if selector:
            wanted = selector().items()
            found = any(wanted <= labels.items() for labels in pods)
            problems.unless(found, f"{place}: {document['kind']} {document['metadata']['name']}", f"selects no pod: {dict(wanted)}")


def scraping(problems):
    """The examples for Prometheus find the pods of the examples for Kubernetes."""
    label = yaml.safe_load((DEPLOY / "prometheus" / "podmonitor.yaml").read_text())["spec"]["selector"]["matchLabels"]
    for folder in ("overlays/production", "sidecar-native", "sidecar-plain"):
        documents = kustomize.build(DEPLOY / "kubernetes" / folder)
        pods = [document["spec"]["template"]["metadata"]["labels"] for document in documents if document["kind"] == "Deployment"]
        problems.unless(any(label.items() <= labels.items() for labels in pods), "podmonitor.yaml", f"selects no pod of {folder}")
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "scrape-kubernetes.yaml").read_text())
    known = {"job_name", "kubernetes_sd_configs", "relabel_configs"}
    problems.unless(all(set(job) <= known for job in jobs), "scrape-kubernetes.yaml", "an unknown key")
    targets = [rule.get("target_label") for job in jobs for rule in job["relabel_configs"]]
    problems.unless(not {"service", "cohort", "variant"} & set(targets), "scrape-kubernetes.yaml", "pushes a label of Ringway aside")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
