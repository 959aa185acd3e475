"""Which kernel computes a product on which GPU, with which grid: decided without the GPU, by numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from gpusmoke.nvcc import architecture

# C of a cluster, rows x columns: blocks in the cluster, stages, and how long it takes, measured on an H100.
HOPPER_TILES = {"256x256": (2, 4, 1.0), "256x128": (2, 6, 0.63), "128x128": (1, 6, 0.75)}
HOPPER_BLOCK_ROWS, HOPPER_STEP, HOPPER_THREADS = 128, 64, 384
HOPPER_RESULT_BYTES = 32 << 10  # two boxes of 8 KB for each of two consumers
ALIGNMENT = 1 << 10  # of swizzled boxes in shared memory

MMA_TILE, MMA_THREADS = (128, 256), 256
# Compute capabilities whose blocks get 99 KB of shared memory; matmul_mma.cu makes the same difference.
LITTLE_SHARED, LITTLE_SHARED_FROM = {(8, 6), (8, 8), (8, 9)}, (12, 0)

LARGEST_SIDE = (1 << 31) - max(MMA_TILE)  # kernels count in 32 bits, up to the end of the last tile
SIMT_COLUMNS = 65535 * 128  # as many tiles as a grid has blocks along y


@dataclass(frozen=True)
class Plan:
    """The kernel of a product, how it is launched, and why it is not a faster one."""

    family: str
    architecture: str
    kernel: str
    grid: tuple[int, int, int] = (1, 1, 1)
    threads: int = 1
    shared_bytes: int = 0
    note: str | None = None


@dataclass(frozen=True)
class Problem:
    """C = A B of shape (M, N, K) in a number format, and the GPU that is to multiply.

    `layout` is how A and then B lie, as in the kernels' names: "nt" has both with their rows along K.
    """

    capability: tuple[int, int]
    multiprocessors: int
    dtype: str
    shape: tuple[int, int, int]
    layout: str


FAMILIES = {"bf16": ("hopper", "mma"), "fp16": ("hopper", "mma"), "fp32": ("simt",)}
"""The kernels of each number format, the fastest first; source and kernel of the family are called matmul_FAMILY."""


def plan(problem: Problem, family: str | None = None) -> Plan | str:
    """The plan for a product, or in a sentence why there is none.

    Without a `family` the fastest is taken that this GPU can have.
    """
    known = FAMILIES.get(problem.dtype, ())
    if max(problem.shape) > LARGEST_SIDE:
        return f"the kernels count up to {LARGEST_SIDE}, and one side of the product has {max(problem.shape)}"
    if family is not None and family not in known:
        return f"matmul_{family} does not multiply in {problem.dtype}"
    why = f"no kernel multiplies in {problem.dtype}"
    for one in (family,) if family else known:
        answer = PLANS[one](problem)
        if isinstance(answer, Plan):
            told = answer.note if one == known[0] or family else why
            return replace(answer, note=told)
        why = answer
    return why


def hopper(problem: Problem) -> Plan | str:
    """The tile that is done soonest, in as few clusters as do it as soon: those left idle take no power from others."""
    if problem.capability != (9, 0):
        return needs("matmul_hopper", "9.0", problem)
    m, n, _ = problem.shape

    def rounds(tile: str) -> tuple[int, int]:
        rows, columns = map(int, tile.split("x"))
        tiles = math.ceil(m / rows) * math.ceil(n / columns)
        return tiles, math.ceil(tiles / max(1, problem.multiprocessors // HOPPER_TILES[tile][0]))

    tile = min(HOPPER_TILES, key=lambda one: rounds(one)[1] * HOPPER_TILES[one][2])
    tiles, turns = rounds(tile)
    cluster, stages, _ = HOPPER_TILES[tile]
    stage_bytes = (HOPPER_BLOCK_ROWS + int(tile.split("x")[1])) * HOPPER_STEP * 2
    barrier_bytes = 2 * 8 * stages
    return Plan(
        "hopper",
        "sm_90a",
        f"matmul_hopper_{problem.dtype}_{tile}_{problem.layout}",
        (cluster * math.ceil(tiles / turns), 1, 1),
        HOPPER_THREADS,
        stages * stage_bytes + HOPPER_RESULT_BYTES + barrier_bytes + ALIGNMENT,
    )


def mma(problem: Problem) -> Plan | str:
    """One block for each tile."""
    if problem.capability < (8, 0):
        return needs("matmul_mma", "8.0 or newer", problem)
    m, n, _ = problem.shape
    rows, columns = MMA_TILE
    little = problem.capability in LITTLE_SHARED or problem.capability >= LITTLE_SHARED_FROM
    step, stages = (32, 4) if little else (64, 3)
    return Plan(
        "mma",
        architecture(problem.capability),
        f"matmul_mma_{problem.dtype}_{problem.layout}",
        (math.ceil(m / rows) * math.ceil(n / columns), 1, 1),
        MMA_THREADS,
        stages * (rows + columns) * step * 2,
    )


def simt(problem: Problem) -> Plan | str:
    """Every GPU has CUDA cores; how it is launched stands in simt.py."""
    if (n := problem.shape[1]) > SIMT_COLUMNS:
        return f"matmul_simt computes up to {SIMT_COLUMNS} columns, and this product has {n}"
    return Plan("simt", architecture(problem.capability), "matmul_simt_fp32")


PLANS = {"hopper": hopper, "mma": mma, "simt": simt}


def needs(kernel: str, what: str, problem: Problem) -> str:
    """Why a GPU is too old or too new."""
    return f"{kernel} needs compute capability {what}, and this GPU has {'.'.join(map(str, problem.capability))}"
