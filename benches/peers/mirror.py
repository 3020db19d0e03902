#!/usr/bin/env python3
"""Ringway with a mirror beside Ringway without one: CPU of the process for each request of a user, in interleaved rounds.

usage: mirror.py [--rounds 5] [--seconds 3] [--ringway target/release/ringway] [workload ...]

Needs what compare.py needs, and measures in the same way. Every request is copied (`percent: 100`); what came of the copies is
printed, since copies that were dropped cost little: with fewer than nine in ten compared the figure says nothing.
"""
import re, signal, statistics, sys, tempfile, urllib.request
from compare import arguments, free_ports, measure, start, start_origin, writer

FILE = """
listeners: [{{ address: "127.0.0.1:{port}" }}]
telemetry: {{ address: "127.0.0.1:{telemetry}" }}
admin: {{ address: "127.0.0.1:{admin}" }}
services:
  shop:
    hashOn: [{{ cookie: uid }}, clientIP]
    variants:
      stable: {{ weight: 100, endpoints: ["127.0.0.1:{stable}"] }}
      canary: {{ weight: 0, endpoints: ["127.0.0.1:{canary}"] }}
"""
MIRROR = "    mirror: { to: canary, methods: [GET, HEAD, POST], maxBody: 128KiB, maxInFlight: 64 }\n"


def results(telemetry):
    text = urllib.request.urlopen(f"http://127.0.0.1:{telemetry}/metrics").read().decode()
    return {name: int(count) for name, count in re.findall(r'ringway_mirror_requests_total{.*result="(\w+)"} (\d+)', text)}


def main():
    given = arguments(__doc__, ["h1", "h1hdr"])
    port, stable, canary, telemetry, admin = free_ports(5)
    with tempfile.TemporaryDirectory() as directory:
        write = writer(directory)
        file = FILE.format(port=port, stable=stable, canary=canary, telemetry=telemetry, admin=admin)
        files = {"without": write("without.yaml", file), "with": write("with.yaml", file + MIRROR)}
        source = start_origin(write, stable, canary)
        figures, copies = {workload: [] for workload in given.workloads}, {}
        try:
            for _ in range(given.rounds):
                for workload in given.workloads:
                    cost = {}
                    for name, path in files.items():
                        process = start(1, [given.ringway, "run", "-c", path], port)
                        cost[name] = measure(process, port, workload, given.seconds, directory)
                        for result, count in results(telemetry).items():
                            copies[workload, result] = copies.get((workload, result), 0) + count
                        process.send_signal(signal.SIGTERM)
                        process.wait(40)
                    figures[workload].append((cost["with"], cost["without"]))
        finally:
            source.terminate()
    print(f"{'workload':9} {'with µs':>10} {'without µs':>10}  ratio [least..most] of {given.rounds} rounds; copies")
    for workload, pairs in figures.items():
        ratios = sorted(one / other for one, other in pairs)
        one, other = (statistics.median(column) for column in zip(*pairs))
        told = ", ".join(f"{count} {result}" for (of, result), count in copies.items() if of == workload and count)
        print(f"{workload:9} {one:10.1f} {other:10.1f}  {statistics.median(ratios):.2f} [{ratios[0]:.2f}..{ratios[-1]:.2f}]; {told}")


if __name__ == "__main__":
    main()
