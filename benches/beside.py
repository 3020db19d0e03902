#!/usr/bin/env python3
"""What open dashboards cost the threads that serve requests: in turn none and 10 of them, beside a load of your own.

    benches/beside.py PID 127.0.0.1:9901                      a process under load, and its admin door
    benches/beside.py PID 127.0.0.1:9901 --rounds 20 --seconds 4

Each dashboard has a stream of events and polls what the on-call page polls (see `dashboards.sh`, which does the same by curl and
so needs more of the machine). Prints, for each thread, the share of a core that it used (`/proc/PID/task/*/schedstat`), without
and with dashboards, and the median of the ratios of neighbours. The load must be the same all the time, say `h2load --rps`.
"""

import argparse
import asyncio
import json
import pathlib
import random
import statistics
import time
import urllib.request


def used(pid):
    """Nanoseconds on a processor, by thread."""
    by_name = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            spent = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
        by_name[name] = by_name.get(name, 0) + spent
    return by_name


class Dashboards:
    def __init__(self, door, service, many):
        self.door, self.statuses, self.bytes = door, {}, 0
        series = [f"/series?service={service}&window=15m&points=150", f"/rollouts/{service}/differences?gate=errors&window=15m"]
        seldom = [f"/events?limit=50&service={service}", "/history?days=30"]
        plans = [(6.5, series), (2, ["/services"]), (30, seldom)]
        self.tasks = []
        for _ in range(many):
            self.tasks.append(asyncio.create_task(self.stream()))
            self.tasks += [asyncio.create_task(self.every(pause, paths)) for pause, paths in plans]

    async def ask(self, path, ends):
        host, port = self.door.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"GET /api/v1{path} HTTP/1.1\r\nhost: {self.door}\r\n{ends}\r\n".encode())
            first = await reader.readline()
            status = first.split()[1].decode() if first else "none"
            self.statuses[status] = self.statuses.get(status, 0) + 1
            while part := await reader.read(1 << 16):
                self.bytes += len(part)
        finally:
            writer.close()

    async def stream(self):
        await self.ask("/stream", "")

    async def every(self, pause, paths):
        await asyncio.sleep(random.random() * min(pause, 4))
        while True:
            for path in paths:
                await self.ask(path, "connection: close\r\n")
            await asyncio.sleep(pause)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def shares(pid, seconds):
    await asyncio.sleep(0.5)
    before, began = used(pid), time.monotonic()
    await asyncio.sleep(seconds)
    after, took = used(pid), time.monotonic() - began
    return {name: (spent - before.get(name, 0)) / took / 1e7 for name, spent in after.items()}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pid", type=int)
    parser.add_argument("door")
    parser.add_argument("--dashboards", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4)
    wanted = parser.parse_args()
    with urllib.request.urlopen(f"http://{wanted.door}/api/v1/services") as answer:
        service = json.load(answer)["services"][0]["name"]
    rounds, statuses = [], {}
    for at in range(wanted.rounds):
        round_of = {}
        # which comes first changes, as machines drift
        for watched in [at % 2 == 0, at % 2 == 1]:
            dashboards = Dashboards(wanted.door, service, wanted.dashboards if watched else 0)
            round_of[watched] = await shares(wanted.pid, wanted.seconds)
            await dashboards.close()
            for status, count in dashboards.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        rounds.append(round_of)
    for name in sorted(rounds[0][False]):
        alone = [one[False].get(name, 0) for one in rounds]
        watched = [one[True].get(name, 0) for one in rounds]
        line = f"{name}: {statistics.median(alone):.2f} % of a core alone, {statistics.median(watched):.2f} % beside {wanted.dashboards} dashboards"
        if min(alone) > 0 and len(rounds) > 1:
            ratios = [after / before for before, after in zip(alone, watched)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            line += f"; ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f})"
        print(line)
    print(f"answers by status: {statuses}")


if __name__ == "__main__":
    asyncio.run(main())
