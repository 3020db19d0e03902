"""Starts `ringway run` before a service at a port of this machine."""

import json
import pathlib
import subprocess
import tempfile
import time


class Proxy:
    """A proxy; `port` is its listener's. `protocol` is what the service at `to` speaks."""

    def __init__(self, program, to, protocol):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        (folder / "ringway.yaml").write_text(
            "listeners: [{ address: 127.0.0.1:0 }]\n"
            'admin: { address: "unix:admin.sock" }\ntelemetry: { address: 127.0.0.1:0 }\n'
            "services: { shop: { variants: { stable: "
            f'{{ endpoints: ["127.0.0.1:{to}"], protocol: {protocol} }} }} }} }}\n'
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
        line = next(json.loads(line) for line in log.read_text().splitlines() if '"listening"' in line)
        self.port = int(line.get("fields", line)["address"].rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()
