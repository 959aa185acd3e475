"""Measured rates for the terminal: a table for each device, a line for each product, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gpusmoke.facts import Json
from gpusmoke.findings.comparable import workload
from gpusmoke.measuring.shares import shares
from gpusmoke.presentation.several import add_rates
from gpusmoke.presentation.terminal import PLAIN_WIDTH, Page

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Json]

LEGEND = """\
TFLOP/s (int8: TOP/s), from rest and settled; ±%: half of p10 to p90 of rounds;
%peak: of the datasheet; %clock: of what the sampled clock allows; both settled;
right: verified against float64, and repeats bit-equal"""
MOVES = {
    "memory-copy": "memory copy",
    "memory-triad": "memory triad",
    "host-to-device": "host to device",
    "device-to-host": "device to host",
}


def add_measurements(page: Page, rows: Sequence[Row]) -> None:
    """Add the rates of several GPUs beside each other, then of every device: products as a table, copies as a line."""
    add_rates(page, rows)
    rows = [row for row in rows if "peer" not in row]
    devices = list(dict.fromkeys(row["gpu"] for row in rows))
    for gpu in devices:
        mine = [row for row in rows if row["gpu"] == gpu]
        page.add("")
        if len(devices) > 1:
            page.add(f"GPU {gpu}: {mine[0]['device']}")
        if products := list(pairs(mine)):
            width = max(page.width, PLAIN_WIDTH)
            page.draw(table(products, width), width)
        if copies := "; ".join(moved(row) for row in mine if row["quantity"] in MOVES):
            page.add_wrapped(copies)
    for line in LEGEND.splitlines() if any(row["quantity"] == "matmul" for row in rows) else ():
        page.add(line, "dim")


def pairs(rows: Sequence[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """The products of one device, each with its burst and its settled measurement; one of them may be missing."""
    found: dict[tuple[Json, ...], dict[str, Row]] = {}
    for row in rows:
        if row["quantity"] == "matmul":
            found.setdefault(workload(row), {})[row["regime"]] = row
    for both in found.values():
        yield both.get("burst"), both.get("settled")


def table(products: Sequence[tuple[Row | None, Row | None]], width: int) -> Table:
    """The table; without the layout where all products are in that of a linear layer, NT."""
    from rich.table import Table

    lines = [cells(burst, settled) for burst, settled in products]
    titles = list(lines[0])
    if {line["layout"] for line in lines} == {"NT"}:
        titles.remove("layout")
    if {line["by"] for line in lines} <= {"cublas", "cpu"}:
        titles.remove("by")
    else:  # what is beside it matters more than what held it up
        add_shares(products, lines)
        titles = [name for name in lines[0] if name in titles and name not in ("%peak", "MHz", "W")]
    room = width - sum(max(len(line[title]) for line in (*lines, {title: title})) for title in titles)
    gap = 2 if room >= 2 * (len(titles) - 1) else 1  # else the longest shapes and layouts would be cut
    drawn = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for title in titles:
        drawn.add_column(
            title, justify="left" if title in ("dtype", "MxNxK", "layout", "by") else "right", no_wrap=True
        )
    for line in lines:
        drawn.add_row(*(line[title] for title in titles))
    return drawn


def add_shares(products: Sequence[tuple[Row | None, Row | None]], lines: Sequence[dict[str, str]]) -> None:
    """Add to each burst and settled rate what part it is of cuBLAS's, where that multiplied the same."""
    told = [(row, line) for both, line in zip(products, lines, strict=True) for row in both if row is not None]
    for (row, line), share in zip(told, shares([row for row, _ in told]), strict=True):
        if share is not None:
            line[row["regime"]] += f" ({share:.2f}x)"


def cells(burst: Row | None, settled: Row | None) -> dict[str, str]:
    """One product's cells by the title of their column; a dash where there is no number."""
    told = settled or burst or {}
    telemetry = told["telemetry"]
    right = all(row["verified"]["passed"] is True for row in (burst, settled) if row is not None)
    return {
        "dtype": str(told["dtype"]),
        "MxNxK": "x".join(map(str, told["shape"])),
        "layout": str(told["layout"]),
        "by": str(told["backend"]),
        "burst": number(burst and burst["value"], ".4g"),
        "settled": number(settled and settled["value"], ".4g"),
        "±%": number(settled and 50 * (settled["p90"] - settled["p10"]) / settled["value"], ".1f"),
        "%peak": number(told.get("percent_of_datasheet"), ".1f"),
        "%clock": number(told.get("percent_of_clock"), ".1f"),
        "MHz": number(telemetry.get("sm_clock_mhz"), ".0f"),
        "W": number(telemetry.get("power_w"), ".0f"),
        "right": "yes" if right else "NO",
    }


def number(value: Json, form: str) -> str:
    """The number in that form, or a dash."""
    return "-" if value is None else format(value, form)


def moved(row: Row) -> str:
    """What moved how fast."""
    share = f" ({row['percent_of_datasheet']:.1f} % of the datasheet)" if "percent_of_datasheet" in row else ""
    wrong = "" if row["verified"]["passed"] is True else ", NOT ALL ARRIVED"
    return f"{MOVES[row['quantity']]} {row['value']:.4g} GB/s{share}{wrong}"
