#!/usr/bin/env python3
"""The quickstart without containers: its own file, services, users and verify.sh, on loopback. Grafana is left out.

    deploy/checks/quickstart.py target/debug/ringway
"""

import os
import subprocess
import sys

from stack import DEPLOY, Stack, free_port


def main(binary):
    compose = DEPLOY / "compose"
    text = (compose / "ringway" / "ringway.yaml").read_text()
    with Stack(binary) as stack:
        listener, telemetry = free_port(), free_port()
        stable, canary = stack.service("stable"), stack.service("canary")
        # what the network of the containers and their folders are there
        places = {
            "0.0.0.0:8080": f"127.0.0.1:{listener}",
            "0.0.0.0:9902": f"127.0.0.1:{telemetry}",
            "stable:8080": f"127.0.0.1:{stable}",
            "canary:8080": f"127.0.0.1:{canary}",
            "/run/ringway": str(stack.folder),
            "/var/lib/ringway": str(stack.folder / "state"),
        }
        for place, here in places.items():
            if place not in text:
                sys.exit(f"✘ ringway.yaml of the quickstart no longer says {place}")
            text = text.replace(place, here)
        stack.ringway("quickstart", text, telemetry)
        stack.load(listener, rate=200)
        prometheus = stack.prometheus([telemetry])
        environment = {
            "RINGWAY": f"http://127.0.0.1:{listener}",
            "TELEMETRY": f"http://127.0.0.1:{telemetry}",
            "CANARY": f"http://127.0.0.1:{canary}",
            "PROMETHEUS": prometheus.address,
            "GRAFANA": "",
            "PATIENCE": "300",
            "no_proxy": "127.0.0.1",
        }
        done = subprocess.run([str(compose / "verify.sh")], env={**os.environ, **environment})
        if done.returncode:
            raise SystemExit(f"✘ verify.sh ended with {done.returncode}")


if __name__ == "__main__":
    main(sys.argv[1])
