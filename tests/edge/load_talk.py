"""h2load and wrk as the load, HTTP/2 and HTTP/1.1, while the file changes again and again and new processes take over (row
D18): no request fails."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from proxied import Proxy
from tls_house import Service

SECONDS, RELOADS, UPGRADES = float(os.environ.get("RINGWAY_TEST_LOAD", "6")), 50, 3


def serving(folder):
    """The processes of this folder, the oldest first."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == str(folder) and b"run" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return sorted(found)


def until(what, ask):
    deadline = time.monotonic() + 30
    while not ask():
        assert time.monotonic() < deadline, f"{what} did not come:\n{log.read_text()[-4000:]}"
        time.sleep(0.01)


def services(service, weight):
    variant = f'endpoints: ["127.0.0.1:{service.port}"]'
    return f"services: {{ shop: {{ variants: {{ stable: {{ weight: {weight}, {variant} }}, canary: {{ weight: 5, {variant} }} }} }} }}\n"


def load(*words):
    return subprocess.Popen([*words, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def done(h2load, wrk):
    """How many requests each has made, none of which failed."""
    one, other = (process.communicate(timeout=60)[0] for process in (h2load, wrk))
    counts = re.search(r"requests: (\d+) total.* (\d+) failed, (\d+) errored, (\d+) timeout", one)
    assert counts and counts.groups()[1:] == ("0", "0", "0") and int(counts[1]) > 100, one
    count = re.search(r"(\d+) requests in", other)
    assert count and "Socket errors" not in other and "Non-2xx" not in other, other
    return f"{counts[1]} requests of h2load, {count[1]} of wrk, 0 failed"


service = Service()
with Proxy(sys.argv[1], file=services(service, 1)) as proxy:
    folder, log = proxy.file.parent.resolve(), proxy.file.parent / "log"
    url = f"http://127.0.0.1:{proxy.port}/"
    first = proxy.file.read_text()
    for_wrk = ["wrk", "-t1", "-c8", f"-d{SECONDS:g}s"]
    try:
        loads = load("h2load", "-c4", "-m8", f"-D{SECONDS:g}"), load(*for_wrk)
        for number in range(RELOADS):
            new = proxy.file.with_suffix(".new")
            new.write_text(first.replace("weight: 1,", f"weight: {number + 2},"))
            new.rename(proxy.file)
            time.sleep(SECONDS * 0.8 / RELOADS)
        print(f"{RELOADS} edits: {done(*loads)}")
        # h2load counts what it does not send after a GOAWAY as failed, so that it speaks HTTP/1.1 here
        loads = load("h2load", "--h1", "-c4", f"-D{SECONDS:g}"), load(*for_wrk)
        for _ in range(UPGRADES):
            time.sleep(SECONDS * 0.2)
            ready = log.read_text().count('"ready"')
            os.kill(serving(folder)[-1], signal.SIGUSR2)
            until("the next process", lambda: log.read_text().count('"ready"') > ready)
        print(f"{UPGRADES} upgrades: {done(*loads)}")
    finally:
        for process in serving(folder):
            os.kill(process, signal.SIGKILL)
