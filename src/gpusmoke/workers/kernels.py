"""What one child does for `kernels` before it measures: every kernel is built, and verified on random products."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch

from gpusmoke.facts import Json
from gpusmoke.kernels.matmul import HERE, multiply
from gpusmoke.kernels.plan import FAMILIES, Plan, Problem, plan
from gpusmoke.measuring.dtypes import DTYPES, Dtype
from gpusmoke.measuring.shapes import CUBE, LAYOUTS, Item, Shape, by, shapes
from gpusmoke.measuring.verify import Verification, elementwise, same_bits
from gpusmoke.nvcc import NvccError, cubin
from gpusmoke.workers.bench import USUAL, Bench

CASES = 60  # of each kernel and number format
SEED = 20261126
# One element, primes, a tile or a vector of 16 bytes and one element more or less; and far from square.
SIZES = (1, 2, 3, 7, 8, 9, 17, 31, 63, 64, 65, 127, 128, 129, 255, 256, 257, 509, 512, 513, 1021)
THIN = ((8191, 1, 64), (1, 8192, 333), (64, 65, 20011), (4097, 40, 8))
THIN_SHARE = 0.1
MOST_TOLD = 10  # of wrong products: a kernel that is wrong everywhere must not fill the record
SMALLER_CUBE: Shape = (4096, 4096, 4096)


@dataclass(frozen=True)
class Case:
    """A random product: beside shape and layout, how far operands are from aligned and how rows are padded."""

    family: str
    dtype: str
    shape: Shape
    layout: str
    offsets: tuple[int, int]
    padding: tuple[int, int, int]
    other_stream: bool

    def operand(self, generator: torch.Generator, at: int) -> torch.Tensor:
        """A, M x K (at 0), or B, K x N (at 1), as a view into something larger."""
        m, n, k = self.shape
        rows, columns, turned = (m, k, self.layout[0] == "T") if at == 0 else (k, n, self.layout[1] == "T")
        if turned:
            rows, columns = columns, rows
        start = self.offsets[at]
        whole = DTYPES[self.dtype].random(rows, start + columns + self.padding[at], generator)
        view = whole[:, start : start + columns]
        return view.t() if turned else view

    def run(self, generator: torch.Generator) -> Verification | None:
        """Multiply twice, and compare every element with float64; None where the kernel can't have this product."""
        dtype, (m, n, _) = DTYPES[self.dtype], self.shape
        a, b = self.operand(generator, 0), self.operand(generator, 1)
        outs = [torch.full((m, n + self.padding[2]), dtype.poison, dtype=dtype.output, device=a.device) for _ in "12"]
        current = torch.cuda.current_stream(a.device)
        stream = torch.cuda.Stream(a.device) if self.other_stream else current  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            done = [multiply(a, b, out[:, :n], self.family) for out in outs]
        current.wait_stream(stream)
        if isinstance(done[0], str):
            return None
        checked = elementwise(a, b.t(), outs[0][:, :n], dtype)
        assert checked is not None
        beside = all(bool(out[:, n:].isnan().all()) for out in outs)  # nothing may be written there
        equal = same_bits(outs[0], outs[1])
        return Verification(checked.method, checked.passed and equal and beside, checked.error, checked.bound, equal)


def cases(family: str, dtype: Dtype, count: int, seed: int = SEED) -> Iterator[Case]:
    """Random products of a kernel."""
    chance = random.Random(f"{family} {dtype.name} {seed}")  # noqa: S311 - nothing is secret
    unit = 16 // dtype.operand.itemsize

    def pad(length: int, aligned: bool) -> int:
        return -length % unit if aligned else chance.choice((0, 0, 1, 3, unit))

    for _ in range(count):
        m, n, k = (chance.choice(SIZES) for _ in range(3))
        if chance.random() < THIN_SHARE:
            m, n, k = chance.choice(THIN)
        layout, aligned = chance.choice(LAYOUTS), chance.random() < 1 / 2
        offsets = tuple(chance.choice((0, unit) if aligned else (0, 1, unit)) for _ in range(2))
        lengths = (m if layout[0] == "T" else k, k if layout[1] == "T" else n)
        padding = [pad(start + length, aligned) for start, length in zip(offsets, lengths, strict=True)]
        yield Case(
            family,
            dtype.name,
            (m, n, k),
            layout,
            (offsets[0], offsets[1]),
            (padding[0], padding[1], pad(n, aligned)),
            chance.random() < 1 / 2,
        )


def plans(worker: Bench) -> dict[str, dict[str, Plan]]:
    """By number format, the kernels that this GPU can have."""
    device = worker.device
    found: dict[str, dict[str, Plan]] = {}
    for dtype, families in FAMILIES.items():
        for family in families:
            chosen = plan(Problem(device.capability, device.multiprocessors, dtype, CUBE, "nt"), family)
            if isinstance(chosen, Plan):
                found.setdefault(dtype, {})[family] = chosen
    return found


def build(plans: Sequence[Plan]) -> list[dict[str, Json]]:
    """Compile what is not in the cache, all at once: source, architecture and seconds of each. Raises NvccError."""

    def one(chosen: Plan) -> dict[str, Json]:
        started = time.monotonic()
        cubin(HERE / f"matmul_{chosen.family}.cu", chosen.architecture)
        seconds = round(time.monotonic() - started, 3)
        return {"kernel": f"matmul_{chosen.family}", "architecture": chosen.architecture, "seconds": seconds}

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, plans))


def prove(worker: Bench, dtypes: Sequence[str], asked: Sequence[Sequence[int]] | None, models: bool) -> list[Item]:
    """Build and verify every kernel, and report how that went; returns what to measure, each beside cuBLAS."""
    row: dict[str, Json] = {"cases": 0, "wrong": []}
    name = f"bench.{worker.ordinal}.kernels"
    known = {dtype: found for dtype, found in plans(worker).items() if dtype in dtypes}
    if worker.device.kind == "cpu":
        return []
    worker.report.step("in building the kernels")
    started = time.monotonic()
    try:
        row["built"] = build(list({one.family: one for found in known.values() for one in found.values()}.values()))
    except NvccError as error:
        worker.report.fact(name, {**row, **error.told()}, "nvcc")
        return []
    row["build_seconds"] = round(time.monotonic() - started, 3)
    for dtype, found in known.items():
        for family in found:
            worker.report.step(f"in verifying matmul_{family} in {dtype}")
            for case in cases(family, DTYPES[dtype], CASES):
                checked = case.run(worker.device.generator)
                row["cases"] += checked is not None
                if checked is not None and not checked.passed and len(row["wrong"]) < MOST_TOLD:
                    row["wrong"].append({**asdict(case), **checked.to_json()})
    worker.report.fact(name, row, "nvcc, and float64 products by PyTorch")
    return beside_cublas(
        {dtype: [f"nvcc-{family}" for family in found] for dtype, found in known.items()}, asked, models
    )


def beside_cublas(backends: dict[str, list[str]], asked: Sequence[Sequence[int]] | None, models: bool) -> list[Item]:
    """What to measure of the backends of each number format, the fastest first: the first format has more shapes."""
    chosen: list[Item] = []
    for at, (dtype, mine) in enumerate(backends.items()):
        usual = [CUBE, SMALLER_CUBE] if at == 0 else [CUBE]
        sizes: list[Shape] = [(m, n, k) for m, n, k in asked or usual]
        chosen += by([USUAL, *mine], [Item(dtype, shape, fixed=asked is not None) for shape in sizes])
        if models and at == 0:
            chosen += by([USUAL, mine[0]], [Item(dtype, shape) for shape in shapes("model") if shape not in sizes])
    return chosen
