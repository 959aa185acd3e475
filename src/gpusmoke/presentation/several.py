"""What several GPUs reached, beside each other, and the copies between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from gpusmoke.facts import Json
from gpusmoke.measuring.statistics import median
from gpusmoke.presentation.grid import NONE, Grid, draw, matrix

if TYPE_CHECKING:
    from gpusmoke.presentation.terminal import Page

Row = dict[str, Json]
READINGS = {"sm_clock_mhz": "MHz", "power_w": "W", "temperature_c": "C"}
BOTH_WAYS = "peer-copy-both-ways"


def of_models(rows: Sequence[Row]) -> Iterator[tuple[str, list[int], list[Row]]]:
    """The settled rates by model of which there are several GPUs: its name, the GPUs, and the rows."""
    for name in dict.fromkeys(row["device"] for row in rows if row["gpu"] is not None):
        mine = [row for row in rows if row["device"] == name and row["regime"] == "settled" and "peer" not in row]
        gpus = sorted({row["gpu"] for row in mine if row["gpu"] is not None})
        if len(gpus) > 1:
            yield name, gpus, mine


def beside(
    rows: Sequence[Row], name: Callable[[Row], str], figure: Callable[[float], str], cell: Callable[[str, str], str]
) -> Iterator[Grid]:
    """For each model the settled rates: the median of all its GPUs, and of each the rate and by how many % it is off.

    `cell` puts these two into one text. Below them: clock, power and temperature of the first product.
    """
    for model, gpus, mine in of_models(rows):
        lines: dict[str, dict[int, float]] = {}
        for row in mine:
            lines.setdefault(name(row), {})[row["gpu"]] = row["value"]
        grid = []
        for what, values in lines.items():
            middle = median(list(values.values()))
            off = {gpu: f"{100 * (value / middle - 1):+.1f}" for gpu, value in values.items() if middle}
            cells = [cell(figure(values[gpu]), off.get(gpu, "")) if gpu in values else NONE for gpu in gpus]
            grid.append([what, figure(middle), *cells])
        first = {row["gpu"]: row["telemetry"] for row in reversed(mine) if row["quantity"] == "matmul"}
        for reading, unit in READINGS.items():
            seen = {gpu: told[reading] for gpu, told in first.items() if told.get(reading) is not None}
            if seen:
                read = [f"{seen[gpu]:.0f}" if gpu in seen else NONE for gpu in gpus]
                grid.append([unit, f"{median(list(seen.values())):.0f}", *read])
        yield Grid(f"{len(gpus)} x {model}", ["", "median", *(f"GPU {gpu}" for gpu in gpus)], grid)


def peers(rows: Sequence[Row]) -> Iterator[Grid]:
    """Copies between GPUs in GB/s, one way and both ways at once: from the GPU of the row to that of the column."""
    for quantity, title in (("peer-copy", "one way"), (BOTH_WAYS, "both ways at once")):
        rates = {(row["gpu"], row["peer"]): row["value"] for row in rows if row["quantity"] == quantity}
        if quantity == BOTH_WAYS:
            rates |= {(b, a): value for (a, b), value in rates.items()}
        if rates:
            yield matrix(f"Copies between GPUs, {title}, GB/s", {pair: f"{value:.3g}" for pair, value in rates.items()})


def named(row: Row) -> str:
    """What was measured, as it stands in a terminal's table."""
    if row["quantity"] != "matmul":
        return str(row["quantity"]).replace("-", " ")
    others = [row["layout"] if row["layout"] != "NT" else "", row["backend"] if row["backend"] != "cublas" else ""]
    return " ".join([row["dtype"], "x".join(map(str, row["shape"])), *filter(None, others)])


def add_rates(page: Page, rows: Sequence[Row]) -> None:
    """Add the settled rates of several GPUs beside each other, and the copies between them."""

    def narrow(_value: str, off: str) -> str:
        return off or NONE

    def wide(value: str, off: str) -> str:
        return f"{value} {off:>5}"

    for grid, in_full in zip(beside(rows, named, text, narrow), beside(rows, named, text, wide), strict=True):
        room = sum(max(len(line[at]) for line in (in_full.head, *in_full.rows)) + 2 for at in range(len(grid.head)))
        page.add("")
        told = "settled: the median, and by how many % each is off"
        draw(page, (in_full if room - 2 <= page.width else grid)._replace(title=f"{grid.title}, {told}"))
    for grid in peers(rows):
        page.add("")
        draw(page, grid)


def text(value: float) -> str:
    """A rate to four digits."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
