"""What each step of the tensor core kernels is worth: they are measured without it. On a machine with a Hopper GPU:

    PYTHONPATH=src python benchmarks/ladder.py [--shape 8192]

Every rung is the one above it without one thing more. All are verified, and measured in turns, burst and settled, as
bench does; the figures are TFLOP/s, and parts of cuBLAS's.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from variants import Edits, variant

from gpusmoke.kernels import matmul, plan
from gpusmoke.measuring.shapes import Item
from gpusmoke.measuring.statistics import mean, median
from gpusmoke.measuring.timing import bursts, interleaved
from gpusmoke.workers.device import Device
from gpusmoke.workers.product import Product

BURSTS, REST_SECONDS, TURN_SECONDS, SETTLING_SECONDS, SETTLED_SECONDS = 6, 0.2, 0.1, 6.0, 8.0
HOPPER, MMA = "matmul_hopper.cu", "matmul_mma.cu"
WIDE = "LAYOUTS(NAME##_256x256, T, 256, 4, 2)"
NO_CLUSTER = (HOPPER, WIDE, "LAYOUTS(NAME##_128x256, T, 256, 4, 1)")
ROW_BY_ROW = (HOPPER, "GROUP = 8", "GROUP = 1")


@dataclasses.dataclass(frozen=True)
class Rung:
    """A kernel: its family, what is changed in its source, and in its plan."""

    name: str
    family: str
    edits: Edits = ()
    tiles: dict[str, tuple[int, int, float]] | None = None
    shared_bytes: int | None = None
    overlap: bool = False
    blocks: Callable[[int, int], int] | None = None
    """Of a grid that has one for each tile, by M and N."""


ALONE = {"128x256": (1, 4, 1.0)}
SMALL = {"128x128": (1, 6, 1.0)}
STEP_OF_32 = (MMA, "constexpr int BK = 64, STAGES = 3;", "constexpr int BK = 32, STAGES = 4;")
NO_SWIZZLE = (MMA, "(row * CHUNKS + (at ^ mask)) * CHUNK", "(row * CHUNKS + at + 0 * mask) * CHUNK")
RUNGS = [
    Rung("matmul_hopper", "hopper", overlap=True),
    Rung("launches that do not overlap", "hopper"),
    Rung("no cluster, no multicast", "hopper", [NO_CLUSTER], ALONE),
    Rung("tiles row by row", "hopper", [NO_CLUSTER, ROW_BY_ROW], ALONE),
    Rung("a block for each tile", "hopper", [NO_CLUSTER, ROW_BY_ROW], ALONE, blocks=lambda m, n: m // 128 * (n // 256)),
    Rung("tiles of 128 x 128", "hopper", [ROW_BY_ROW], SMALL, blocks=lambda m, n: m // 128 * (n // 128)),
    Rung(
        "two stages for six",
        "hopper",
        [ROW_BY_ROW, (HOPPER, "LAYOUTS(NAME##_128x128, T, 128, 6, 1)", "LAYOUTS(NAME##_128x128, T, 128, 2, 1)")],
        {"128x128": (1, 2, 1.0)},
        blocks=lambda m, n: m // 128 * (n // 128),
    ),
    Rung("matmul_mma", "mma"),
    Rung("K in steps of 32", "mma", [STEP_OF_32], shared_bytes=4 * 384 * 32 * 2),
    Rung("no swizzle", "mma", [STEP_OF_32, NO_SWIZZLE], shared_bytes=4 * 384 * 32 * 2),
    Rung("two stages for four", "mma", [(MMA, STEP_OF_32[1], "constexpr int BK = 32, STAGES = 2;"), NO_SWIZZLE]),
]


def product(device: Device, item: Item, rung: Rung, folder: Path) -> Product:
    """The item by that rung."""
    m, n, _ = item.shape
    launches: dict[tuple[int, ...], tuple[plan.Plan, matmul.Launch] | str] = {}

    def multiply(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
        key = (a.data_ptr(), b.data_ptr(), out.data_ptr())
        if key not in launches:
            launches[key] = prepared(a, b, out)
        launch = launches[key][1]
        launch(torch.cuda.current_stream().cuda_stream)

    def prepared(*operands: torch.Tensor) -> tuple[plan.Plan, matmul.Launch]:
        kept = plan.HOPPER_TILES, plan.plan, matmul.Launch, matmul.HERE
        plan.HOPPER_TILES = rung.tiles or plan.HOPPER_TILES

        def changed(*arguments: object) -> plan.Plan | str:
            chosen = kept[1](*arguments)
            assert isinstance(chosen, plan.Plan)
            grid = (rung.blocks(m, n), 1, 1) if rung.blocks else chosen.grid
            return dataclasses.replace(chosen, grid=grid, shared_bytes=rung.shared_bytes or chosen.shared_bytes)

        matmul.plan, matmul.HERE = changed, folder
        matmul.Launch = lambda *arguments: kept[2](*arguments[:-1], rung.overlap)
        try:
            where = [(one.data_ptr(), one.shape, one.stride()) for one in operands]
            return matmul.prepare.__wrapped__("bf16", *where, 0, rung.family)
        finally:
            plan.HOPPER_TILES, matmul.plan, matmul.Launch, matmul.HERE = kept

    return Product(device, item, multiply)


def main() -> None:
    """Measure all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, default=8192, help="of a cube (default: 8192)")
    size = parser.parse_args().shape
    device, item = Device("cuda:0"), Item("bf16", (size, size, size))
    products = {"cuBLAS": Product(device, item)}
    with tempfile.TemporaryDirectory() as scratch:
        for number, rung in enumerate(RUNGS):
            made = product(device, item, rung, variant(Path(scratch, str(number)), rung.edits))
            made.operands = products["cuBLAS"].operands
            products[rung.name] = made
        each = {name: one.prepare() for name, one in products.items()}  # builds
    found: dict[str, list[float]] = {name: [] for name in products}
    for _ in range(BURSTS):
        for name, one in products.items():
            found[name] += map(one.rate, bursts(one.launch, device.timer, each[name], REST_SECONDS, 1))
    turns = [(one.launch, max(1, round(TURN_SECONDS / each[name]))) for name, one in products.items()]
    settled: dict[str, list[float]] = {name: [] for name in products}
    started = time.monotonic()
    for who, seconds, at in interleaved(turns, device.timer):
        name = list(products)[who]
        if at - started > SETTLING_SECONDS:
            settled[name].append(products[name].rate(seconds))
        if at - started > SETTLING_SECONDS + SETTLED_SECONDS:
            break
    torch.cuda.synchronize()
    usual = median(found["cuBLAS"]), mean(settled["cuBLAS"])
    print(f"| {device.name}, bf16 {size}³ | burst | of cuBLAS | settled | of cuBLAS | |\n|---|---|---|---|---|---|")
    for name, one in products.items():
        burst, rest = median(found[name]), mean(settled[name])
        right = "" if one.verify(1e9).passed else "WRONG"
        print(f"| {name} | {burst:.0f} | {burst / usual[0]:.3f} | {rest:.0f} | {rest / usual[1]:.3f} | {right} |")


if __name__ == "__main__":
    main()
