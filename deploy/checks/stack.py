"""Processes on loopback for the checks: services, users, Ringway, Prometheus. Everything ends with the `with` block."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
# Long, since machines of tests are slow; whatever is there is not waited for.
PATIENCE_SECONDS = 300


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, attempt):
    """Asks until there is a true answer, and returns it."""
    until, last = time.monotonic() + PATIENCE_SECONDS, None
    while time.monotonic() < until:
        try:
            last = attempt()
            if last:
                return last
        except (OSError, urllib.error.URLError) as error:
            last = error
        time.sleep(0.2)
    raise SystemExit(f"✘ {what}: not within {PATIENCE_SECONDS} s; last: {last}")


class Stack:
    """A folder, and what was started in it."""

    def __init__(self, ringway):
        self.ringway_binary = str(Path(ringway).resolve())
        self.processes = []

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        return self

    def __exit__(self, kind, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        if kind is not None:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
        self._folder.cleanup()

    def start(self, name, *command, **environment):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self.processes.append(process)
        return process

    def service(self, name, **environment):
        """A sample service; its port."""
        port = free_port()
        script = str(DEPLOY / "compose" / "service.py")
        self.start(f"service-{name}", sys.executable, script, NAME=name, ADDRESS="127.0.0.1", PORT=str(port), **environment)
        eventually(f"service {name}", lambda: get(f"http://127.0.0.1:{port}/healthz"))
        return port

    def load(self, port, rate):
        self.start("load", sys.executable, str(DEPLOY / "compose" / "load.py"), TARGET=f"127.0.0.1:{port}", RATE=str(rate))

    def ringway(self, name, text, telemetry):
        """Starts one on `NAME/ringway.yaml` and waits until it is ready."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "ringway.yaml").write_text(text)
        process = self.start(f"ringway-{name}", self.ringway_binary, "run", "-c", str(folder / "ringway.yaml"), "--workers", "1")
        eventually(f"ringway {name}", lambda: is_alive(process, name) and get(f"http://127.0.0.1:{telemetry}/readyz"))
        return process

    def prometheus(self, targets):
        """Starts one with the shipped rules and a second for each look."""
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(DEPLOY / "prometheus" / "rules" / "*.yaml")],
            "scrape_configs": [
                {"job_name": "ringway", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}]}
            ],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config))
        port = free_port()
        self.start(
            "prometheus",
            "prometheus",
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        )
        eventually("prometheus", lambda: get(f"http://127.0.0.1:{port}/-/ready"))
        return Prometheus(f"http://127.0.0.1:{port}")


class Prometheus:
    def __init__(self, address):
        self.address = address

    def query(self, expr):
        """The series of an instant query: a list of labels and values. A wrong query ends the check."""
        encoded = urllib.parse.urlencode({"query": expr})
        try:
            answer = json.loads(get(f"{self.address}/api/v1/query?{encoded}"))
        except urllib.error.HTTPError as error:
            raise SystemExit(f"✘ {expr}\n  {error.read().decode()}") from error
        result = answer["data"]["result"]
        return result if isinstance(result, list) else [result]

    def rules(self):
        groups = json.loads(get(f"{self.address}/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def alerts(self):
        """Names of alerts whose condition holds, whether or not for long enough."""
        return {rule["name"] for rule in self.rules() if rule["type"] == "alerting" and rule["state"] != "inactive"}


def get(url, data=None):
    request = urllib.request.Request(url, data=data)
    # no proxy of the environment stands between us and loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return answer.read() or b" "


def is_alive(process, name):
    if process.poll() is not None:
        raise SystemExit(f"✘ ringway {name} ended with {process.returncode}")
    return True
