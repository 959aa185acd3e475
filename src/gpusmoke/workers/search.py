"""`bench --search`: the shape that is fastest in the settled state, by successive halving inside a time budget.

All candidates get a little time, the best third of them more, and so on, until a few are measured like any other
product. Everything runs back to back and in turns, so that the clock's drift hits all alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from gpusmoke.measuring.shapes import CUBE, Item, candidates
from gpusmoke.measuring.statistics import mean, rounded
from gpusmoke.workers.bench import CPU_WINDOW, WARM_WINDOW, Bench
from gpusmoke.workers.product import fits, groups

SETTLE_SHARE, FINAL_SHARE = 0.15, 0.4  # of the time; the rungs have the rest, each as much as the next
KEPT = 1 / 3  # of the candidates, from one rung to the next
# On an H100 16 shapes lie within 1.2 % of each other, as much as a rung's figures vary: the best one is sought among as
# many, which are measured for long.
FINALISTS = 14
TIE = 0.01  # what runs of one product differ by
# On an H100 a turn varies by 1.5 %, be it 0.01 s or 0.1 s long: many short ones tell most.
TURN_SECONDS = 0.012
FEWEST_ROUNDS = 3  # of a rung, of which the first is not counted: its queue holds what came before
CPU_SCALE, CPU_STEP = 32, 6  # a CPU is given shapes so much smaller, and so many fewer: to prepare them takes it long


def search(worker: Bench, dtype: str, layouts: Sequence[str], seconds: float, backend: str = "cublas") -> None:
    """Search all candidates in one format; reports rung by rung, and the finalists as measurements."""
    device, on_cpu = worker.device, worker.device.kind == "cpu"
    shapes = candidates()
    if on_cpu:
        shapes = [(m // CPU_SCALE, n // CPU_SCALE, k // CPU_SCALE) for m, n, k in shapes[::CPU_STEP]]
    field = [Item(dtype, shape, layout, backend=backend) for layout in layouts for shape in shapes]
    field = [item for item in field if fits(device, item)]
    cube = Item(dtype, CUBE, layouts[0], backend=backend)
    worker.report.step("in the search, settling")
    rung(worker, [cube] if fits(device, cube) and not on_cpu else field[:1], SETTLE_SHARE * seconds)
    sizes = [len(field)]
    while sizes[-1] * KEPT > FINALISTS:
        sizes.append(round(sizes[-1] * KEPT))
    told = []
    for left in [*sizes[1:], FINALISTS]:
        worker.report.step(f"in the search, {len(field)} shapes left")
        started = time.monotonic()
        rates = rung(worker, field, (1 - SETTLE_SHARE - FINAL_SHARE) * seconds / len(sizes))
        ranked = sorted(rates, key=lambda item: rates[item], reverse=True)
        told.append({"shapes": len(field), "seconds": round(time.monotonic() - started, 2)})
        field = ranked[:left]
    worker.report.step("in the search, measuring the finalists")
    field = groups(device, field)[0]  # as many as the memory holds at once, the best first
    rates = worker.settle(field, FINAL_SHARE * seconds, CPU_WINDOW if on_cpu else WARM_WINDOW)
    best = winner(rates)
    found = {"shape": list(best.shape), "layout": best.layout, "value": rounded(rates[best]), "rungs": told}
    worker.report.fact(f"bench.{worker.ordinal}.search", found, "PyTorch")


def winner(rates: dict[Item, float]) -> Item:
    """The fastest; of those that are as fast within TIE the smallest, which leaves room for more than one product."""
    top = max(rates.values())
    return min((item for item in rates if rates[item] >= (1 - TIE) * top), key=lambda item: math.prod(item.shape))


def rung(worker: Bench, field: Sequence[Item], seconds: float) -> dict[Item, float]:
    """The rate of each item in TFLOP/s, all together within about `seconds`, in turns as far as the memory allows."""
    rates: dict[Item, float] = {}
    for part in groups(worker.device, field):
        turns = [worker.turn(item, TURN_SECONDS) for item in part]
        until = time.monotonic() + seconds * len(part) / len(field)
        for number, at in enumerate(worker.play(turns), 1):
            if number >= FEWEST_ROUNDS and at >= until:
                break
        for turn in turns:
            product = turn.product
            rates[product.item] = mean([product.rate(each) for each in turn.seconds[1:]])
        if worker.device.kind == "cuda":
            torch.cuda.synchronize()
    return rates
