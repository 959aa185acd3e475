"""A record as GitHub-flavoured Markdown, for the summary of a CI job."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace

from gpusmoke.findings import Finding
from gpusmoke.presentation.html import tables
from gpusmoke.presentation.html.rows import devices, ordered
from gpusmoke.presentation.terminal import closing
from gpusmoke.record import Record


def markdown(record: Record) -> str:
    """The verdict, the measurements as a table for each device, and the findings with their advice."""
    if record.command == "audit":
        from gpusmoke.presentation.audit import markdown as audited

        return audited(record)
    if record.command == "compare":
        from gpusmoke.presentation.comparison import markdown as compared

        return compared(record)
    first, rest = ordered(record.findings)
    lines = [f"### {record.command}: {escaped(closing(record))}", ""]
    lines += [line for found in first for line in told(found)]
    measured = devices(record.facts, record.measurements)
    if together := tables.side_by_side(measured):
        lines += shown(together)
    for device in measured:
        table = tables.rates(device)
        lines += shown(replace(table, title=device.heading, note=table.note if device is measured[-1] else ""))
    lines += [line for found in rest for line in told(found)]
    started = record.started.replace("T", " ").replace("Z", " UTC")
    lines += ["", f"<sub>gpusmoke {escaped(record.version)}, {started}, {record.seconds:.1f} s</sub>"]
    return "\n".join(lines) + "\n"


def shown(table: tables.Table) -> Iterator[str]:
    """A table under its title, and below it what its columns mean."""
    yield from (f"**{escaped(table.title)}**", "")
    yield "| " + " | ".join(table.head) + " |"
    yield "|---|" + "---:|" * (len(table.head) - 1)
    yield from ("| " + " | ".join(escaped(cell) for cell in row) + " |" for row in table.rows)
    yield ""
    if table.note:
        yield from (f"<sub>{escaped(table.note)}</sub>", "")


def told(found: Finding) -> Iterator[str]:
    """One finding as an item of a list; where something is wrong, with what to type."""
    bad = found.severity in ("problem", "warning")
    about = "" if found.gpu is None else f"GPU {found.gpu}: "
    mark = f"**{found.severity.upper()}** " if bad else ""
    yield f"- {mark}{about}{escaped(found.title)}" + (f" (`{found.id}`)" if bad else "")
    if bad and found.advice:
        # The fence is longer than any in the text.
        fence = "`" * max(3, 1 + max(len(run) for step in found.advice for run in re.findall("`*", step)))
        yield from ("", f"  {fence}text", *(f"  {' '.join(step.split())}" for step in found.advice), f"  {fence}", "")


def escaped(text: str) -> str:
    """Text of a record so that it is neither HTML nor Markdown, and stays on its line and in its cell."""
    return re.sub(r"([\\`*_|\[\]~#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
