"""Which products are measured: shapes from data/shapes.toml, times number formats, times layouts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpusmoke.tables import table

Shape = tuple[int, int, int]
"""M, N, K: C = A B with A of M x K and B of K x N."""

LAYOUTS = ("NT", "NN", "TN", "TT")
"""How A and then B are stored, row-major: A as M x K (N) or K x M (T), B as K x N (N) or N x K (T, a linear layer)."""

SCOPES = ("default", "quick", "smoke", "full")
"""How much is measured: "smoke" is "quick" and the other formats asked for."""

CUBE: Shape = (8192, 8192, 8192)
CUBE_ON_CPU: Shape = (2048, 2048, 2048)


@dataclass(frozen=True)
class Item:
    """One product to measure, and what multiplies; unless `fixed`, `shape` may be made smaller for a small device."""

    dtype: str
    shape: Shape
    layout: str = "NT"
    fixed: bool = False
    backend: str = "cublas"


def shapes(name: str) -> list[Shape]:
    """The list "default", "quick" or "model" of the data file, each shape once."""
    data = table("shapes")[name]
    lists = data.values() if isinstance(data, dict) else [data]
    return list(dict.fromkeys((m, n, k) for rows in lists for m, n, k in rows))


def candidates() -> list[Shape]:
    """Every shape that --search begins with."""
    grid = table("shapes")["search"]
    return list(itertools.product(grid["m"], grid["n"], grid["k"]))


def leading(runnable: Sequence[str]) -> str:
    """The format that gets several shapes: the 16-bit one that this device has, else its first."""
    return next((name for name in ("bf16", "fp16") if name in runnable), runnable[0])


def items(
    runnable: Sequence[str],
    asked: Sequence[Shape] | None,
    layouts: Sequence[str],
    scope: str,
    on_cpu: bool,
    backends: Sequence[str] = ("cublas",),
) -> list[Item]:
    """What to measure of the formats that the device has, in order; `scope` is one of SCOPES.

    Without shapes asked for, the leading format gets several and every other one a cube. Each is there once for each of
    the backends.
    """
    if not runnable:
        return []
    if asked:
        return by(backends, [Item(d, s, y, fixed=True) for d in runnable for y in layouts for s in asked])
    cube, first = CUBE_ON_CPU if on_cpu else CUBE, leading(runnable)
    several = [cube] if on_cpu else shapes("quick" if scope in ("quick", "smoke") else "default")
    if scope == "full" and not on_cpu:
        several = list(dict.fromkeys([*several, *shapes("model")]))
        layouts = LAYOUTS if list(layouts) == ["NT"] else layouts
    # The other layouts of the cube alone: of every shape they would take minutes.
    chosen = [Item(first, shape, layouts[0]) for shape in several]
    chosen += [Item(first, cube, layout) for layout in layouts[1:]]
    rest = [] if scope == "quick" else [name for name in runnable if name != first]
    return by(backends, [*chosen, *(Item(name, cube, layouts[0]) for name in rest)])


def by(backends: Sequence[str], chosen: Sequence[Item]) -> list[Item]:
    """Each of the items by each of the backends."""
    return [replace(item, backend=backend) for item in chosen for backend in backends]
