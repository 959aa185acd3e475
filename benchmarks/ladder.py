"""What each step of the tensor core kernels is worth: they are measured without it. On a machine with a Hopper GPU:

    PYTHONPATH=src python benchmarks/ladder.py [--shape 8192] [--family mma]

Every rung is the one above it without one thing more. They are measured and verified as bench does it, in turns; the
figures are TFLOP/s, and parts of cuBLAS's. Exit code 1: a rung was wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from variants import Edits, variant

from gpusmoke.facts import Json
from gpusmoke.kernels import matmul, plan
from gpusmoke.measuring.shapes import Item
from gpusmoke.workers.bench import USUAL, Bench, measure
from gpusmoke.workers.device import Device
from gpusmoke.workers.product import Product
from gpusmoke.workers.reporter import Reporter

SECONDS = 6.0  # for each
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
COPY, PRODUCTS = "load(step + STAGES - 1);", "#pragma unroll\n            for (int i = 0; i < WARP_M / 16; ++i)"
COPIES_LATER = [(MMA, COPY, ""), (MMA, PRODUCTS, f"if (part == 0) {COPY}\n{PRODUCTS}")]
STORES_OF_4_BYTES = [
    (MMA, "odd * 8 + lane % 4 / 2 * 4", "lane % 4 * 2"),
    (MMA, "const u32 got = __shfl_xor_sync(~0u, odd ? first : second, 1);", ""),
    (MMA, "odd ? make_uint2(got, second) : make_uint2(first, got)", "make_uint2(first, second)"),
    (
        MMA,
        "<uint2 *>(out + j * 8) = four",
        "<u32 *>(out + j * 8) = four.x, *reinterpret_cast<u32 *>(out + j * 8 + 8) = four.y",
    ),
]
BEFORE_32 = [*COPIES_LATER, *STORES_OF_4_BYTES]
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
    Rung("copies after the loads", "mma", COPIES_LATER),
    Rung("stores of 4 bytes", "mma", BEFORE_32),
    Rung("K in steps of 32", "mma", [*BEFORE_32, STEP_OF_32], shared_bytes=4 * 384 * 32 * 2),
    Rung("no swizzle", "mma", [*BEFORE_32, STEP_OF_32, NO_SWIZZLE], shared_bytes=4 * 384 * 32 * 2),
    Rung(
        "two stages for four",
        "mma",
        [*BEFORE_32, (MMA, STEP_OF_32[1], "constexpr int BK = 32, STAGES = 2;"), NO_SWIZZLE],
    ),
]


class Rows(Reporter):
    """Keeps the measurements instead of saying them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Json]] = []

    def _say(self, kind: str, content: Json) -> None:
        if kind == "measurement":
            self.rows.append(content)


class Ladder(Bench):
    """A benchmark whose backends are the rungs, each built from its own folder."""

    def __init__(self, folder: Path, rungs: Sequence[Rung], seconds: float) -> None:
        super().__init__(Rows(), 0, Device("cuda:0"), seconds)
        self.folders = {rung.name: variant(folder / str(number), rung.edits) for number, rung in enumerate(rungs)}

    def product(self, item: Item) -> Product:
        """The item by the rung that its backend names."""
        if item.backend == USUAL:
            return super().product(item)
        rung = next(one for one in RUNGS if one.name == item.backend)
        launches: dict[int, matmul.Launch] = {}

        def multiply(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
            if out.data_ptr() not in launches:
                launches[out.data_ptr()] = prepared(rung, self.folders[rung.name], a, b.t(), out)
            launches[out.data_ptr()](torch.cuda.current_stream().cuda_stream)

        return Product(self.device, item, multiply)


def prepared(rung: Rung, folder: Path, *operands: torch.Tensor) -> matmul.Launch:
    """What launches a rung's kernel: the plan and the source of matmul.py with the rung's in their place."""
    kept = plan.HOPPER_TILES, plan.plan, matmul.Launch, matmul.HERE
    m, n = operands[-1].shape

    def changed(problem: plan.Problem, family: str) -> plan.Plan:
        chosen = kept[1](problem, family)
        assert isinstance(chosen, plan.Plan)
        grid = (rung.blocks(m, n), 1, 1) if rung.blocks else chosen.grid
        return dataclasses.replace(chosen, grid=grid, shared_bytes=rung.shared_bytes or chosen.shared_bytes)

    plan.HOPPER_TILES = rung.tiles or plan.HOPPER_TILES
    matmul.plan, matmul.HERE = changed, folder
    matmul.Launch = lambda *arguments: kept[2](*arguments[:-1], rung.overlap)
    try:
        where = [(one.data_ptr(), one.shape, one.stride()) for one in operands]
        return matmul.prepare.__wrapped__("bf16", *where, 0, rung.family)[1]
    finally:
        plan.HOPPER_TILES, matmul.plan, matmul.Launch, matmul.HERE = kept


def main() -> int:
    """Measure all, and print a table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, default=8192, help="of a cube, a multiple of 256 (default: 8192)")
    parser.add_argument("--family", choices=("hopper", "mma"), help="one kernel's rungs alone")
    args = parser.parse_args()
    if args.shape % 256:
        parser.error("rungs with simpler stores want a --shape that is a multiple of 256")
    size, rungs = args.shape, [rung for rung in RUNGS if args.family in (None, rung.family)]
    names = [USUAL, *(rung.name for rung in rungs)]
    seconds = SECONDS * len(names)
    with tempfile.TemporaryDirectory() as scratch:
        ladder = Ladder(Path(scratch), rungs, seconds)
        items = [Item("bf16", (size, size, size), fixed=True, backend=name) for name in names]
        measure(ladder, items, seconds, bandwidth=False, triad=False)
    rates: dict[tuple[str, str], float] = {(row["backend"], row["regime"]): row["value"] for row in ladder.report.rows}
    wrong = {row["backend"] for row in ladder.report.rows if not row["verified"]["passed"]}
    print(f"| {ladder.device.name}, bf16 {size}³ | burst | of cuBLAS | settled | of cuBLAS | |")
    print("|---|---|---|---|---|---|")
    for name in names:
        shown = [f"{rates[name, one]:.0f} | {rates[name, one] / rates[USUAL, one]:.3f}" for one in ("burst", "settled")]
        print(f"| {name} | {' | '.join(shown)} | {'WRONG' if name in wrong else ''} |")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
