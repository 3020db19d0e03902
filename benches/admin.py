#!/usr/bin/env python3
"""What looking on costs: the CPU that a process uses for nothing, for 50 viewers of its stream, and for 10 dashboards.

    cargo build --release && benches/admin.py
    RINGWAY=/path/to/ringway benches/admin.py --seconds 20

A process with ten cohorts and a rollout, and 200 requests a second so that there is something to tell. Prints shares of one core,
from what the kernel says the process has used (`/proc/PID/stat`), in interleaved rounds.
"""

import argparse
import http.client
import http.server
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ.get("RINGWAY", str(HERE.parent / "target/release/ringway"))
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


def file_of(upstream, listener, door):
    cohorts = "\n".join(f"      - {{ name: ring{at}, when: {{ header: {{ name: x-ring, exact: \"{at}\" }} }} }}" for at in range(9))
    return f"""listeners: [{{ address: 127.0.0.1:{listener} }}]
admin: {{ address: 127.0.0.1:{door} }}
telemetry: {{ address: 127.0.0.1:0 }}
stateDir: state
services:
  shop:
    hashOn: [{{ header: x-user-id }}]
    variants:
      stable: {{ weight: 100, endpoints: ["127.0.0.1:{upstream}"] }}
      canary: {{ weight: 0, endpoints: ["127.0.0.1:{upstream}"] }}
    cohorts:
{cohorts}
    rollout: {{ id: v2, to: canary, steps: [{{ cohort: everyone, weight: 50, hold: 10h }}] }}
"""


def used(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def share(pid, seconds):
    before, began = used(pid), time.monotonic()
    time.sleep(seconds)
    return (used(pid) - before) / (time.monotonic() - began) * 100


def traffic(listener, is_over):
    client = http.client.HTTPConnection("127.0.0.1", listener)
    at = 0
    while not is_over.is_set():
        try:
            client.request("GET", "/", headers={"host": "shop", "x-user-id": f"u{at % 2000}", "x-ring": str(at % 10)})
            client.getresponse().read()
        except (OSError, http.client.HTTPException):
            client.close()
        at += 1
        time.sleep(0.005)


class Viewers:
    """So many open streams; what comes is read and thrown away."""

    def __init__(self, door, many):
        self.sockets = []
        for _ in range(many):
            viewer = socket.create_connection(("127.0.0.1", door))
            viewer.sendall(b"GET /api/v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
            self.sockets.append(viewer)
        self.bytes = 0
        self.threads = [threading.Thread(target=self.read, args=(viewer,), daemon=True) for viewer in self.sockets]
        for thread in self.threads:
            thread.start()

    def read(self, viewer):
        try:
            while part := viewer.recv(1 << 16):
                self.bytes += len(part)
        except OSError:
            pass

    def close(self):
        for viewer in self.sockets:
            viewer.shutdown(socket.SHUT_RDWR)
            viewer.close()
        for thread in self.threads:
            thread.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    listener, door = free_port(), free_port()
    is_over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "ringway.yaml"
        path.write_text(file_of(service.server_address[1], listener, door))
        process = subprocess.Popen([PROGRAM, "run", "-c", str(path), "--workers", "1"], cwd=folder, stderr=subprocess.DEVNULL)
        try:
            time.sleep(3)
            client = threading.Thread(target=traffic, args=(listener, is_over))
            client.start()
            time.sleep(2)
            rows = {"nobody": [], "50 viewers": [], "10 dashboards": []}
            for _ in range(wanted.rounds):
                rows["nobody"].append(share(process.pid, wanted.seconds))
                viewers = Viewers(door, 50)
                time.sleep(1)
                rows["50 viewers"].append(share(process.pid, wanted.seconds))
                viewers.close()
                command = [str(HERE / "dashboards.sh"), f"127.0.0.1:{door}", "10", str(int(wanted.seconds + 2))]
                dashboards = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                time.sleep(1)
                rows["10 dashboards"].append(share(process.pid, wanted.seconds))
                print(dashboards.communicate()[0].strip())
            nobody = statistics.median(rows["nobody"])
            for name, shares in rows.items():
                middle = statistics.median(shares)
                each = ", ".join(f"{one:.2f}" for one in shares)
                print(f"{name}: {middle:.2f} % of a core ({each}); {middle - nobody:+.2f} beyond nobody")
        finally:
            is_over.set()
            process.send_signal(signal.SIGKILL)
            process.wait()
            service.shutdown()


if __name__ == "__main__":
    main()
