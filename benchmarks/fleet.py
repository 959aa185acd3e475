"""fleet on ten thousand records with forty planted faults, beside a program that merely reads them. Without a GPU:

    PYTHONPATH=src python benchmarks/fleet.py

Time, processor time and peak memory (of all processes together) of both, in turns, and whether all faults were found
and nothing else. Only two processors are used, however many there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from fleets import Fleet

from gpusmoke.fleet.hostlist import expand

CORES = 2
JSON_LOAD = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*.json"):
    try:
        with path.open(encoding="utf-8") as file:
            json.load(file)
    except ValueError:
        pass
"""
INTERVAL_SECONDS = 0.1
DEADLINE_SECONDS = 600


class Taken(NamedTuple):
    """What one run of a program took: seconds of time and of processors, and MB of memory at most."""

    seconds: float
    processors: float
    megabytes: float


def memory(pid: int) -> float:
    """The memory of a process and its children in MB, where what they share counts once (Pss); 0 if it has ended."""
    found = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1]) / 1e3
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    return found + sum(memory(int(child)) for child in children)


def run(command: list[str], output: Path) -> Taken:
    """Run a program and watch what it takes."""
    before, started, peak = os.times(), time.perf_counter(), 0.0
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file)
        stop = threading.Timer(DEADLINE_SECONDS, process.kill)
        stop.start()
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(INTERVAL_SECONDS)
        stop.cancel()
    seconds, after = time.perf_counter() - started, os.times()
    processors = after.children_user - before.children_user + after.children_system - before.children_system
    return Taken(seconds, processors, peak)


def check(text: str, planted: dict[str, str]) -> None:
    """Whether every planted fault was found, and no other node named; AssertionError if not."""
    found: dict[str, set[str]] = {}
    for row in json.loads(text)["facts"]["fleet.lines"]["value"]:
        for name in expand(row["nodes"]):
            found.setdefault(name, set()).add(row["id"])
    missed = {name: kind for name, kind in planted.items() if kind not in found.get(name, ())}
    wrong = found.keys() - planted.keys()
    assert not missed, f"not found: {missed}"
    assert not wrong, f"named without a fault: {wrong}"


def main() -> None:
    """Make the records, run both in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10000, metavar="N", help="how many (default: 10000)")
    parser.add_argument("--turns", type=int, default=3, help="runs of each (default: 3)")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder:
        records, output = Path(folder, "results"), Path(folder, "out.json")
        planted = Fleet(args.nodes).write(records)
        sizes = [path.stat().st_size for path in records.rglob("*.json")]
        print(
            f"{len(sizes)} records of {args.nodes} nodes, {sum(sizes) / 1e6:.0f} MB, {max(sizes) / 1e3:.0f} KB at most"
        )
        fleet = ["-P", "-m", "gpusmoke", "fleet", str(records), "--expect", f"node[00001-{args.nodes:05}]", "--json"]
        commands = {"json.load of each, one process": ["-c", JSON_LOAD, str(records)], "fleet": fleet}
        taken: dict[str, list[Taken]] = {name: [] for name in commands}
        for _ in range(args.turns):
            for name, arguments in commands.items():
                taken[name].append(run([sys.executable, *arguments], output))
                if name == "fleet":
                    check(output.read_text(), planted)
    for name, runs in taken.items():
        middle = Taken(*(statistics.median(column) for column in zip(*runs, strict=True)))
        least, most = min(runs).seconds, max(runs).seconds
        print(
            f"{name:31} {middle.seconds:6.2f} s ({least:.2f}-{most:.2f}), {middle.processors:6.2f} s of processors, "
            f"{middle.megabytes:4.0f} MB"
        )
    print(f"{args.turns} times: all {len(planted)} faults were found, and no other node was named")


if __name__ == "__main__":
    main()
