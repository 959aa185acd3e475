"""A record as GitHub-flavoured Markdown, for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gpusmoke.presentation import shown_by
from gpusmoke.presentation.gfm import escaped, items
from gpusmoke.presentation.html import tables
from gpusmoke.presentation.html.rows import devices, ordered
from gpusmoke.presentation.terminal import closing
from gpusmoke.record import Record


def markdown(record: Record) -> str:
    """The verdict, the measurements as a table for each device, and the findings with their advice."""
    if own := shown_by(record.command):
        return str(own.markdown(record))
    if record.command == "audit":
        from gpusmoke.presentation.audit import markdown as audited

        return audited(record)
    if record.command == "compare":
        from gpusmoke.presentation.comparison import markdown as compared

        return compared(record)
    first, rest = ordered(record.findings)
    lines = [f"### {record.command}: {escaped(closing(record))}", ""]
    lines += items(first)
    measured = devices(record.facts, record.measurements)
    for together in tables.of_several(record):
        lines += shown(together)
    for device in measured:
        table = tables.rates(device)
        lines += shown(replace(table, title=device.heading, note=table.note if device is measured[-1] else ""))
    if record.command == "collectives":
        lines += [line for table in tables.of_command(record) for line in shown(table)]
    lines += items(rest)
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
