#!/usr/bin/env python3
"""Commands of the guides about deployment. Those that need neither root nor a daemon are run; of the others, every `ringway`
command and every path of the repository in them must exist.

    deploy/checks/guides.py target/debug/ringway
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDES = ("docs/guides/docker.md", "docs/guides/kubernetes.md", "docs/guides/systemd.md")
# Where the machine of the tests has nothing that could carry them out.
NEEDS_MORE = ("docker ", "kubectl apply", "kubectl exec", "helm ", "sudo ", "sudoedit ", "cd deploy/compose")
# What is on a machine that Ringway is installed on.
INSTALLED = {"/etc/ringway/ringway.yaml": "deploy/systemd/ringway.yaml"}


def main(binary):
    problems, ran, read = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(Path(binary).resolve(), Path(folder) / "ringway")
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        for guide in GUIDES:
            text = (ROOT / guide).read_text()
            for command in commands(text):
                if command.startswith(NEEDS_MORE):
                    read += 1
                elif command.split()[0] == "kubectl" and not has_kustomize():
                    print(f"SKIPPED: no kubectl with kustomize 5: {command}", file=sys.stderr)
                else:
                    run(guide, command, environment, problems)
                    ran += 1
            paths(guide, text, problems)
            own_commands(guide, text, environment, problems)
    if problems or ran < 5:
        sys.exit("✘ " + "\n✘ ".join(problems or ["fewer than five commands were found"]))
    print(f"✔ {len(GUIDES)} guides: {ran} commands run, {read} that need more read")


def commands(text):
    """Indented blocks, continued lines joined; sections of unit files are no commands."""
    blocks = re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    for block in blocks:
        if block.strip().startswith("["):
            continue
        joined = block.replace("\\\n", " ")
        yield from (line.strip() for line in joined.splitlines())


def run(guide, command, environment, problems):
    for installed, here in INSTALLED.items():
        command = command.replace(installed, here)
    # the program is not installed where the tests run, which is the only thing that may be wrong with the unit
    is_verify = command.startswith("systemd-analyze verify")
    said = subprocess.run(shlex.split(command), cwd=ROOT, env=environment, capture_output=True, text=True)
    told = (said.stdout + said.stderr).strip()
    other = [line for line in told.splitlines() if "/usr/bin/ringway is not executable" not in line]
    if (is_verify and other) or (said.returncode and not is_verify):
        problems.append(f"{guide}: `{command}` ends with {said.returncode}:\n{told}")


def has_kustomize():
    if shutil.which("kubectl") is None:
        return False
    return "v5." in subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True).stdout


def paths(guide, text, problems):
    for path in set(re.findall(r"\bdeploy/[\w./-]*[\w]", text)):
        if not (ROOT / path).exists():
            problems.append(f"{guide}: there is no {path}")


def own_commands(guide, text, environment, problems):
    """`ringway status …` in any command or sentence: the command exists, and so do its options."""
    known = subprocess.run(["ringway", "--help"], env=environment, capture_output=True, text=True).stdout
    for name, rest in set(re.findall(r"(?<![\w/.-])ringway ([a-z][a-z-]+)((?: -[^\s`]*| [^\s`|]+)*)", text)):
        if not re.search(rf"^  {name} ", known, re.MULTILINE):
            # prose, or the name of the container in `docker compose exec ringway ringway status`
            if name != "ringway" and ("`ringway " + name) in text:
                problems.append(f"{guide}: there is no command `ringway {name}`")
            continue
        told = subprocess.run(["ringway", name, "--help"], env=environment, capture_output=True, text=True).stdout
        for option in re.findall(r"(?<=\s)(--?[a-z-]+)", rest):
            if not re.search(rf"(?<![\w-]){option}\b", told):
                problems.append(f"{guide}: `ringway {name}` has no {option}")


if __name__ == "__main__":
    main(sys.argv[1])
