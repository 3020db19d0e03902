#!/usr/bin/env python3
"""Ringway beside HAProxy: CPU of the proxy for each request, in interleaved rounds on one machine.

usage: compare.py [--rounds 5] [--seconds 3] [--ringway target/release/ringway] [workload ...]

Needs Linux with two cores, and haproxy and wrk (Debian: apt-get install haproxy wrk). The proxy alone runs on CPU 1 with
one thread; the load and the origin (a second HAProxy that answers by itself) run on CPU 0; everything is on loopback.
CPU is what the scheduler says of all threads of the proxy (schedstat), divided by the requests that were answered. The
machine drifts: only ratios of the same round mean something, and their median is what is printed.
"""
import argparse, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

BROWSER = ["User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
           "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: en-US,en;q=0.5",
           "Accept-Encoding: gzip, deflate, br, zstd", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate",
           "Cookie: session=0123456789abcdef0123456789abcdef; uid=3f2b8c1e-9d47-4a6b-8a52-0c1de94f7a10"]
WORKLOADS = {  # name: (path, connections, headers, lua)
    "h1": ("/", 64, [], None),
    "h1hdr": ("/api/v1/items?page=2", 64, BROWSER, None),
    "close": ("/", 64, ["Connection: close"], None),
    "post64k": ("/", 64, [], 'wrk.method="POST" wrk.body=string.rep("x",65536)'),
    "get1m": ("/1m", 16, [], None),
}
# A service that answers from files, 1 MiB among them, begins with this.
ORIGIN_BEGIN = """
global
  maxconn 8192
  tune.bufsize 1200000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-buffer-request
"""
ORIGIN = ORIGIN_BEGIN + """
frontend origin
  bind 127.0.0.1:{stable}
  bind 127.0.0.1:{canary}
  http-request return status 200 content-type text/plain file {big} if {{ path /1m }}
  http-request return status 200 content-type text/plain file {small}
"""
PEER = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend http
  bind 127.0.0.1:{port}
  use_backend canary if {{ req.hdr(x-canary) 1 }}
  use_backend canary if {{ rand(100) lt 10 }}
  default_backend stable
backend stable
  server s 127.0.0.1:{stable}
backend canary
  server c 127.0.0.1:{canary}
"""
# The body of a service of Ringway.
SPLIT = """
    hashOn: [{{ cookie: uid }}, clientIP]
    override: {{ header: x-canary, from: [127.0.0.0/8] }}
    variants:
      stable: {{ weight: 90, endpoints: ["127.0.0.1:{stable}"] }}
      canary: {{ weight: 10, endpoints: ["127.0.0.1:{canary}"] }}
"""
RINGWAY = """
listeners: [{{ address: "127.0.0.1:{port}" }}]
telemetry: {{ address: "127.0.0.1:{telemetry}" }}
admin: {{ address: "127.0.0.1:{admin}" }}
services:
  shop:""" + SPLIT


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(cpu, command, port):
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    sys.exit(f"{command[0]} does not listen on {port}: run it by hand to see why: {' '.join(command)}")


def cpu_seconds(process):
    """Scheduler time of all threads; a HAProxy master has its work done by a child."""
    total = 0
    for pid in [process.pid] + children(process.pid):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                total += int(stat.read().split()[0])
    return total / 1e9


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as listing:
        found = [int(child) for child in listing.read().split()]
    return found + [grandchild for child in found for grandchild in children(child)]


def measure(process, port, workload, seconds, directory):
    path, connections, headers, lua = WORKLOADS[workload]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        command += ["-H", header]
    if lua:
        script = os.path.join(directory, workload + ".lua")
        with open(script, "w") as out:
            out.write(lua)
        command += ["-s", script]
    before = cpu_seconds(process)
    run = subprocess.run(command + [f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, {0}))
    used = cpu_seconds(process) - before
    count = re.search(r"(\d+) requests in", run.stdout)
    if not count or "Non-2xx" in run.stdout or int(count[1]) == 0:
        sys.exit(f"{workload} did not go well:\n{run.stdout}{run.stderr}")
    return used / int(count[1]) * 1e6


def arguments(text, workloads):
    options = argparse.ArgumentParser(description=text.split("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=3)
    options.add_argument("--ringway", default="target/release/ringway")
    options.add_argument("workloads", nargs="*", default=workloads)
    given = options.parse_args()
    need(haproxy="haproxy", wrk="wrk")
    return given


def need(**packages):
    """Ends with a word where a tool is missing, and names its package."""
    for tool, package in packages.items():
        if not shutil.which(tool):
            sys.exit(f"{tool} is not there: apt-get install {package}")


def writer(directory):
    def write(name, text):
        path = os.path.join(directory, name)
        with open(path, "w") as out:
            out.write(text)
        return path
    return write


def answers(write):
    """The bodies that services answer with: 1 KiB and 1 MiB."""
    return {"small": write("small", "x" * 1024), "big": write("big", "x" * (1 << 20))}


def start_origin(write, stable, canary):
    """The services: HAProxy, which answers from files."""
    origin = write("origin.cfg", ORIGIN.format(stable=stable, canary=canary, **answers(write)))
    return start(0, ["haproxy", "-db", "-f", origin], stable)


def main():
    given = arguments(__doc__, list(WORKLOADS))
    stable, canary, peer, ours, telemetry, admin = free_ports(6)
    with tempfile.TemporaryDirectory() as directory:
        write = writer(directory)
        haproxy = write("haproxy.cfg", PEER.format(port=peer, stable=stable, canary=canary))
        ringway = write("ringway.yaml", RINGWAY.format(port=ours, stable=stable, canary=canary, telemetry=telemetry, admin=admin))
        source = start_origin(write, stable, canary)
        figures = {workload: [] for workload in given.workloads}
        try:
            for _ in range(given.rounds):
                cost = {}
                for name, command, port in (("haproxy", ["haproxy", "-db", "-f", haproxy], peer),
                                            ("ringway", [given.ringway, "run", "-c", ringway], ours)):
                    process = start(1, command, port)
                    for workload in given.workloads:
                        cost[name, workload] = measure(process, port, workload, given.seconds, directory)
                    process.send_signal(signal.SIGTERM)
                    process.wait(40)
                for workload in given.workloads:
                    figures[workload].append((cost["ringway", workload], cost["haproxy", workload]))
        finally:
            source.terminate()
    print(f"{'workload':9} {'ringway µs':>10} {'haproxy µs':>10}  ratio [least..most] of {given.rounds} rounds")
    for workload, pairs in figures.items():
        ratios = sorted(ours / theirs for ours, theirs in pairs)
        mine, theirs = (statistics.median(column) for column in zip(*pairs))
        print(f"{workload:9} {mine:10.1f} {theirs:10.1f}  {statistics.median(ratios):.2f} [{ratios[0]:.2f}..{ratios[-1]:.2f}]")


if __name__ == "__main__":
    main()
