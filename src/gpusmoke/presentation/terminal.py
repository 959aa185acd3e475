"""A record for the terminal: readable at 80 columns, with colour and without, and in a CI log."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpusmoke.facts import Json
from gpusmoke.findings import Finding
from gpusmoke.record import Record

# Words, not symbols: they survive a log without colour and a terminal without UTF-8.
MARKS = {
    "ok": ("ok", "green"),
    "note": ("note", "cyan"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "bold red"),
}
MARK_WIDTH = 9
CI_WIDTH = 80


def make_console() -> Console:
    """A console on standard output; 80 columns where nobody says how wide it is."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=CI_WIDTH)


def heading(console: Console, record: Record) -> None:
    """Which run this is."""
    started = record.started.replace("T", " ").replace("Z", " UTC")
    console.print(Text(f"gpusmoke {record.version} {record.command}, {started}, {record.seconds:.1f} s", style="dim"))


def lead(found: Sequence[Finding]) -> list[Finding]:
    """The findings in the order in which they are shown: that CUDA was not exercised comes before everything else."""
    return sorted(found, key=lambda one: one.id != "cuda-not-exercised")


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width`; paths and links stay whole, so that they can be copied."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def show_finding(console: Console, found: Finding) -> None:
    """One line; what was read and what to type only where something is wrong."""
    word, style = MARKS[found.severity]
    width = console.width - MARK_WIDTH
    about = "" if found.gpu is None else f"GPU {found.gpu}: "
    first, *rest = wrapped(f"{about}{found.title}", width)
    console.print(Text.assemble((word.ljust(MARK_WIDTH), style), first))
    details = [(line, "") for line in rest]
    if found.severity in ("problem", "warning"):
        read = [f"id: {found.id}", *found.evidence]
        details += [(line, "dim") for text in read for line in wrapped(text, width)]
        details += [(f"try: {step}", "") for step in found.advice]
        details += [(f"see: {found.link}", "dim")] if found.link else []
    for line, style in details:
        console.print(Text(f"{'':{MARK_WIDTH}}{line}", style=style), soft_wrap=True)


def show_measurements(console: Console, rows: Sequence[dict[str, Json]]) -> None:
    """All rates as one table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("dtype")
    for title in ("size", "", "T/s", "p10-p90", "%peak", "%clock", "MHz", "W", "C", "right"):
        table.add_column(title, justify="left" if title == "" else "right")
    for row in rows:
        telemetry, sizes = row["telemetry"], row["shape"]
        table.add_row(
            row["dtype"],
            str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes)),
            row["regime"],
            f"{row['value']:.4g}",
            f"{row['p10']:.4g}-{row['p90']:.4g}",
            *(cell(row.get(key), ".1f") for key in ("percent_of_datasheet", "percent_of_clock")),
            *(cell(telemetry.get(key), ".0f") for key in ("sm_clock_mhz", "power_w", "temperature_c")),
            "yes" if row["verified"]["passed"] is True else "NO",
        )
    console.print()
    console.print(table)
    console.print(
        Text(
            "T/s: TFLOP/s, int8 TOP/s. %peak: of the datasheet. %clock: of what the sampled clock allows.", style="dim"
        )
    )


def cell(value: Json, form: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def closing(record: Record) -> str:
    """The one sentence that says it all."""
    bad = [found.id for found in record.findings if found.severity == "problem"]
    if not record.complete:
        return "Interrupted: not complete, and so not healthy."
    if bad:
        plural = "" if len(bad) == 1 else "s"
        return f"{len(bad)} problem{plural} found: {', '.join(dict.fromkeys(bad))}."
    warnings = sum(found.severity == "warning" for found in record.findings)
    return "Healthy." if not warnings else f"Healthy, with {warnings} warning{'' if warnings == 1 else 's'}."


def show(record: Record, saved: str | None = None) -> None:
    """Print a whole record, and where it was saved."""
    console = make_console()
    heading(console, record)
    for found in lead(record.findings):
        show_finding(console, found)
    if record.measurements:
        show_measurements(console, record.measurements)
    console.print()
    if saved:
        console.print(Text(f"Record: {saved}", style="dim"), overflow="fold")
    console.print(Text(closing(record), style="bold green" if record.verdict == "healthy" else "bold red"))
