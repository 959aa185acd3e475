"""Whether `bench --search` finds the fastest shape, judged by another method than its own. On a machine with a GPU:

    PYTHONPATH=src python benchmarks/search.py

The judge is mamf-finder's published method (https://github.com/stas00/ml-engineering, benchmark_version 2), written
anew: bf16, A normal M x K, B normal N x K transposed, one torch.mm(out=C) between two events, 50 launches to warm up
and 100 that count, between them 256 MiB set to zero and C overwritten; the mean of the 100. Its 19 shapes are those of
`--m_range 1024 20480 1024 --n 8192 --k 8192`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time

import torch

JUDGED = [(m, 8192, 8192) for m in range(1024, 20480, 1024)]
WARM_UP_SECONDS = 2.0
READINGS = 3
WARM_UPS, TIMED = 50, 100
FLUSHED_BYTES = 256 << 20
TIMES_AS_LONG = 5
Shape = tuple[int, int, int]


def kit(*arguments: str, deadline: float = 600) -> dict:
    """The record of one run of bench."""
    command = [sys.executable, "-P", "-m", "gpusmoke", "bench", "--dtype", "bf16", "--json", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=deadline)
    return json.loads(done.stdout)


def settled(record: dict) -> dict[Shape, float]:
    """The settled rates by shape, the fastest first."""
    rows = [row for row in record["measurements"] if row["regime"] == "settled"]
    return {tuple(row["shape"]): row["value"] for row in sorted(rows, key=lambda row: -row["value"])}


def mamf(shape: Shape, flush: torch.Tensor) -> float:
    """Mean TFLOP/s by mamf-finder's method."""
    m, n, k = shape
    a = torch.randn(m, k, dtype=torch.bfloat16, device="cuda")
    b = torch.randn(n, k, dtype=torch.bfloat16, device="cuda").t()
    c, other = (torch.empty(m, n, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    other.normal_()
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(TIMED)]
    for _ in range(WARM_UPS):
        flush.zero_()
        torch.mm(a, b, out=c)
        c.copy_(other)
    for start, end in marks:
        flush.zero_()
        start.record()
        torch.mm(a, b, out=c)
        end.record()
        c.copy_(other)
    torch.cuda.synchronize()
    seconds = sum(start.elapsed_time(end) for start, end in marks) / 1000 / TIMED
    return 2 * m * n * k / seconds / 1e12


def judge(shapes: list[Shape], passes: int) -> dict[Shape, float]:
    """The mean over several passes of all shapes, each in its own steady state.

    mamf-finder warms up once, on its first shape; what follows is then measured in the clock that its predecessor left,
    for 20 to 300 ms, which is less than the power controller's period.
    """
    flush = torch.empty(FLUSHED_BYTES // 4, dtype=torch.int32, device="cuda")
    seen: dict[Shape, list[float]] = {shape: [] for shape in shapes}
    for _ in range(passes):
        for shape in random.sample(shapes, len(shapes)):
            until = time.monotonic() + WARM_UP_SECONDS
            while time.monotonic() < until:
                mamf(shape, flush)
            seen[shape] += [mamf(shape, flush) for _ in range(READINGS)]
    for shape, rates in seen.items():
        size, middle = "x".join(map(str, shape)), statistics.fmean(rates)
        print(
            f"  {size:18} {middle:7.1f} TFLOP/s by mamf-finder's method ({min(rates):.0f}-{max(rates):.0f})", flush=True
        )
    return {shape: statistics.fmean(rates) for shape, rates in seen.items()}


def sizes(text: str) -> list[Shape]:
    """Shapes as bench takes them."""
    return [tuple(map(int, one.split("x"))) for one in text.split(",")]


def compare_settled(best: list[Shape]) -> None:
    """What both searches found, in one run."""
    together = settled(kit("--shape", ",".join("x".join(map(str, shape)) for shape in dict.fromkeys(best))))
    print(f"settled, interleaved: {together}")
    print(f"short against long search: {together[best[0]] / together[best[1]]:.4f}x", flush=True)


def main() -> None:
    """Search twice, once TIMES_AS_LONG times as long; judge what was found by mamf-finder's method and by the kit's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=44.0, help="of the short search (default: 44, as bench has it)"
    )
    parser.add_argument("--passes", type=int, default=3, help="how often the judge looks at each shape (default: 3)")
    parser.add_argument("--short", action="store_true", help="leave the long search out")
    parser.add_argument("--judge", type=sizes, metavar="SHAPES", help="judge these, and search nothing")
    args = parser.parse_args()
    if args.judge:
        judge([*JUDGED, *args.judge], args.passes)
        return
    best: list[Shape] = []
    for name, seconds in (("short", args.seconds), ("long", TIMES_AS_LONG * args.seconds))[: 1 if args.short else 2]:
        record = kit("--search", "--seconds", str(seconds))
        found = record["facts"]["bench.0.search"]["value"]
        best.append(tuple(found["shape"]))
        print(f"{name} search, {record['seconds']:.1f} s in all: {best[-1]}, {found['value']} TFLOP/s", flush=True)
    if not args.short:
        compare_settled(best)
    judged = judge([*JUDGED, *dict.fromkeys(best)], args.passes)
    top = max(JUDGED, key=judged.__getitem__)
    print(f"the best of the 19: {top}; what the short search found: {judged[best[0]] / judged[top]:.4f}x")


if __name__ == "__main__":
    main()
