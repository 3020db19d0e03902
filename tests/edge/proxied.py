"""Starts `ringway run` before a service at a port of this machine."""

import json
import pathlib
import subprocess
import tempfile
import time


class Proxy:
    """A proxy; `port` is its listener's, `flags` that for feature flags, `telemetry` that of its metrics. `protocol` is what
    the service at `to` speaks, unless a `file` has the services; `listener` has more keys of the listener."""

    def __init__(self, program, to=None, protocol="http1", file=None, listener=""):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        self.file = folder / "ringway.yaml"
        services = (
            "services: { shop: { variants: { stable: "
            f'{{ endpoints: ["127.0.0.1:{to}"], protocol: {protocol} }} }} }} }}\n'
        )
        self.file.write_text(
            f"listeners: [{{ address: 127.0.0.1:0{listener} }}]\n"
            'admin: { address: "unix:admin.sock" }\ntelemetry: { address: 127.0.0.1:0 }\n' + (file or services)
        )
        log = folder / "log"
        self.process = subprocess.Popen(
            [program, "run", "--log-format", "json"], cwd=folder, stderr=log.open("w"), stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while '"ready"' not in log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(log.read_text())
            time.sleep(0.01)
        self.port = port_of(log, '"listening"')
        self.telemetry = port_of(log, '"telemetry door')
        self.flags = port_of(log, "door for feature flags")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def port_of(log, words):
    """Of the line of the log with these words; `None` without one."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if words in line)
    return next((int(line.get("fields", line)["address"].rsplit(":", 1)[1]) for line in lines), None)
