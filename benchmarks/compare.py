"""Whether compare finds 3 % and only that. Run it on a machine with a GPU and nothing else on it; about 4 minutes:

    PYTHONPATH=src python benchmarks/compare.py --keep results/compare

Runs of `bench --quick` as they are (A), runs in which 1 product in 33 is launched twice and counted once (B: the same
clock and power, 2.9 % less of what is counted), in turns, and one beside another process that multiplies, too. Every A
against every other A has to be told as no change, every A against every B as slower, and the other process has to be
named. Exit code 1: something was not. `--judge` compares what was kept before, without measuring; without a GPU:

    PYTHONPATH=src python benchmarks/compare.py --runs 2 --slow 1 --options "--dtype fp32 --shape 256 --seconds 2"
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpusmoke.cli import main as gpusmoke

DEADLINE_SECONDS = 120
EVERY = 33
# Run at the start of every child before its own program.
SLOWED = f"""\
import sys
if "gpusmoke.workers.child" in sys.orig_argv:
    from gpusmoke.workers.product import Product
    launch, done = Product.launch, {{}}
    def slowed(self, number):
        launch(self, number)
        done[id(self)] = done.get(id(self), 0) + 1
        if done[id(self)] % {EVERY} == 0:
            launch(self, number)
    Product.launch = slowed
"""
NEIGHBOUR = """\
import torch
where = "cuda" if torch.cuda.is_available() else "cpu"
a = torch.rand(4096, 4096, device=where, dtype=torch.bfloat16) if where == "cuda" else torch.rand(256, 256)
a @ a
print("multiplying", flush=True)
while True:
    a @ a
    if where == "cuda":
        torch.cuda.synchronize()
"""


def bench(path: Path, options: list[str], results: Path, search: list[str]) -> None:
    """One run of bench, kept at `path`, with these folders before others on its path; says what it read."""
    command = [sys.executable, "-P", "-m", "gpusmoke", "bench", "--json", "--results", str(results), *options]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*search, os.environ.get("PYTHONPATH", "")])}
    started = time.monotonic()
    # A run that finds a problem (somebody else on the GPU) ends with 1 and prints its record all the same.
    out = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_SECONDS).stdout
    path.write_text(out, encoding="utf-8")
    told = [
        f"{row['value']:.5g} at {row['telemetry'].get('sm_clock_mhz', '?')} MHz, {len(row['samples'])} rounds"
        for row in json.loads(out)["measurements"]
        if (row["quantity"], row["regime"]) == ("matmul", "settled")
    ]
    print(f"{path.stem:6} {time.monotonic() - started:5.1f} s  {'; '.join(told)}", flush=True)


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """Another process that multiplies on the first GPU."""
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def compared(older: Path, newer: Path) -> tuple[set[str], list[str], float]:
    """What compare says: the ids and sentences of its findings, and the change (%) of all products together."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = gpusmoke(["compare", str(older), str(newer), "--json"])
    record: dict[str, Any] = json.loads(out.getvalue())
    ids = {found["id"] for found in record["findings"]}
    assert code == (1 if "slower" in ids else 0)
    change = record["facts"]["compare.together"]["value"][-1]["change_percent"]
    return ids, [found["title"] for found in record["findings"]], change


def judged(pairs: list[tuple[Path, Path]], expected: str, name: str) -> bool:
    """Compare all pairs and say how many are told as expected, and what the others are."""
    found = [(older, newer, *compared(older, newer)) for older, newer in pairs]
    right = [one for one in found if expected in one[2] and not one[2] & ({"slower", "faster"} - {expected})]
    changes = [one[4] for one in found]
    span = f"{min(changes):+.2f} to {max(changes):+.2f} %" if changes else "none"
    print(f"{name}: {len(right)} of {len(found)} say {expected}; all products together: {span}")
    for older, newer, _, titles, _ in [one for one in found if one not in right]:
        print(f"  {older.stem} {newer.stem}: {' / '.join(titles)}")
    return len(right) == len(found)


def measure(folder: Path, runs: int, slow: int, options: list[str]) -> None:
    """All runs, the slow ones among the others, since a card warms up."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "slowed"
        place.mkdir()
        (place / "sitecustomize.py").write_text(SLOWED, encoding="utf-8")
        results = Path(temporary) / "results"
        step, taken = max(1, runs // max(1, slow)), 0
        for number in range(1, runs + 1):
            bench(folder / f"a{number}.json", options, results, [])
            if number % step == 0 and taken < slow:
                taken += 1
                bench(folder / f"b{taken}.json", options, results, [str(place)])
        with neighbour():
            bench(folder / "other.json", options, results, [])


def main() -> int:
    """Measure, unless told not to, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="runs as they are (default: 7)")
    parser.add_argument("--slow", type=int, default=3, help="slowed runs (default: 3)")
    parser.add_argument("--options", default="--quick", help="options of bench, in one argument (default: --quick)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the records go (default: nowhere)")
    parser.add_argument("--judge", action="store_true", help="measure nothing: compare the records in --keep")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not args.judge:
            folder.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            measure(folder, args.runs, args.slow, shlex.split(args.options))
            print(f"{time.monotonic() - started:.0f} s for all runs")
        a, b = sorted(folder.glob("a*.json")), sorted(folder.glob("b*.json"))
        good = judged(list(itertools.combinations(a, 2)), "no-change", "A against A")
        good &= judged([(one, other) for one in a for other in b], "slower", "A against B")
        ids, titles, _ = compared(a[0], folder / "other.json")
        named = "slower" in ids and any("other process" in title or "another process used" in title for title in titles)
        print(f"beside another process: {'named' if named else 'NOT named'}: {' / '.join(titles)}")
        return 0 if good and named else 1


if __name__ == "__main__":
    sys.exit(main())
