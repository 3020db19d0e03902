#!/usr/bin/env python3
"""The image and the quickstart, as far as they can be looked at without a Docker daemon.

    deploy/checks/docker.py

hadolint reads the Dockerfile; this reads what it does not know: what the build may see, what the image runs as, and whether
the files of the quickstart fit together.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"


def main():
    problems = []
    dockerfile(problems)
    context(problems)
    compose(problems)
    if problems:
        sys.exit("✘ " + "\n✘ ".join(problems))
    print("✔ Dockerfile, .dockerignore and compose.yaml fit together")


def instructions(path):
    """Pairs of an instruction and its text, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text()).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def dockerfile(problems):
    lines = instructions(DEPLOY / "docker" / "Dockerfile")
    stages = [text for name, text in lines if name == "FROM"]
    last = lines[max(at for at, (name, _) in enumerate(lines) if name == "FROM") :]
    of = {name: text for name, text in last}
    if len(stages) < 2 or not re.search(r"distroless|^scratch", stages[-1]):
        problems.append("Dockerfile: the last stage is not distroless or scratch")
    for stage in stages:
        if stage != "scratch" and (":" not in stage or ":latest" in stage):
            problems.append(f"Dockerfile: `{stage}` is not a version")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", of.get("USER", "")):
        problems.append("Dockerfile: USER must be numbers and not root, so that runAsNonRoot can be seen to hold")
    if '["/usr/bin/ringway", "healthcheck"]' not in of.get("HEALTHCHECK", ""):
        problems.append("Dockerfile: HEALTHCHECK does not ask the program, and there is no shell for anything else")
    for name in ("ENTRYPOINT", "CMD"):
        if not of.get(name, "").startswith("["):
            problems.append(f"Dockerfile: {name} needs a shell")
    rust = re.search(r"rust:(\d+\.\d+)", stages[0])
    needed = re.search(r'rust-version = "(\d+\.\d+)"', (ROOT / "Cargo.toml").read_text())
    if rust is None or version(rust) < version(needed):
        problems.append(f"Dockerfile: `{stages[0]}` is older than the rust-version of Cargo.toml")
    recorded = (ROOT / "benches/profile/version").read_text().split()[1]
    if f"rust:{recorded}-" not in stages[0]:
        problems.append(f"Dockerfile: `{stages[0]}` is not {recorded}, which the profile is for, and would build without it")


def version(found):
    return tuple(int(part) for part in found.group(1).split("."))


def context(problems):
    """A copy of what the build sees must be a package that cargo understands, and hold nothing else."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    if rules[0] != "*" or not all(rule.startswith("!") for rule in rules[1:]):
        problems.append(".dockerignore: name what is let in, after a `*`")
        return
    allowed = [rule[1:] for rule in rules[1:]]
    # cargo looks for what the manifest names, also where it is not built
    if "[[bench]]" in (ROOT / "Cargo.toml").read_text() and "benches" not in allowed:
        problems.append(".dockerignore: Cargo.toml names benches")
    if ".cargo" not in allowed:
        problems.append(".dockerignore: without .cargo the image is built without the recorded profile")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    seen = [name for name in tracked if any(fnmatch(name.split("/")[0], rule) for rule in allowed)]
    secrets = [name for name in seen if re.search(r"\.(key|pem|p12)$", name)]
    problems.extend(f".dockerignore lets {name} in" for name in secrets)
    with tempfile.TemporaryDirectory() as folder:
        for name in seen:
            copy = Path(folder) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
        command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if said.returncode:
            problems.append(f".dockerignore: cargo does not understand what is left:\n{said.stderr}")
    problems.extend(outside(allowed))


def outside(allowed):
    """Texts that code outside of tests takes in from where the build does not look."""
    for path in sorted((ROOT / "src").rglob("*.rs")):
        code = path.read_text().split("#[cfg(test)]")[0]
        if path.name == "tests.rs" or "/tests/" in str(path) or path.name == "corpus.rs":
            continue
        for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', code):
            target = (path.parent / name).resolve().relative_to(ROOT)
            if target.parts[0] not in allowed:
                yield f".dockerignore: {path.relative_to(ROOT)} needs {target}"


def compose(problems):
    folder = DEPLOY / "compose"
    text = yaml.safe_load((folder / "compose.yaml").read_text())
    services = text["services"]
    for name, service in services.items():
        image = service.get("image", "")
        if ":" not in image or image.endswith(":latest"):
            problems.append(f"compose: {name}: `{image}` is not a version")
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            problems.append(f"compose: {name} keeps capabilities or may get more")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                problems.append(f"compose: {name}: {port} is open to other machines")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            exists = (folder / source).exists() if source.startswith(".") else source in text["volumes"]
            if not exists:
                problems.append(f"compose: {name}: {source} does not exist")
        problems.extend(f"compose: {name}: no service {other}" for other in service.get("depends_on", []) if other not in services)
    mounts = [volume.split(":")[1] for volume in services["ringway"]["volumes"]]
    if "/etc/ringway" not in mounts:
        problems.append("compose: the folder /etc/ringway must be mounted, not a file in it")
    rules = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text())["rule_files"]
    inside = [volume.split(":")[1] for volume in services["prometheus"]["volumes"]]
    problems.extend(f"compose: Prometheus does not see {rule}" for rule in rules if str(Path(rule).parent) not in inside)
    provider = yaml.safe_load((folder / "grafana/provisioning/dashboards/ringway.yaml").read_text())["providers"][0]
    seen = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    if provider["options"]["path"] not in seen:
        problems.append(f"compose: Grafana does not see {provider['options']['path']}")
    hosts = set(re.findall(r'endpoints: \["(\w+):', (folder / "ringway" / "ringway.yaml").read_text()))
    problems.extend(f"compose: ringway.yaml names {host}, which is no service" for host in hosts - set(services))


if __name__ == "__main__":
    main()
