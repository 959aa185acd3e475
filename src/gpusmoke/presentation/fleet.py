"""Many machines as one table, the worst first: for the terminal, and as Markdown for GitHub's step summary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gpusmoke.facts import Facts, Json
from gpusmoke.findings import Finding
from gpusmoke.fleet.hostlist import shortened
from gpusmoke.presentation.gfm import escaped, fenced
from gpusmoke.presentation.terminal import MARKS, Page, closing, counted

if TYPE_CHECKING:
    from gpusmoke.record import Record

Row = dict[str, Json]

MOST = 50  # lines, unless all are asked for
BAD = ("problem", "warning")
# What a line is about, in a word; a finding that has none stands under its id.
STATES = {
    "node-broken": "BROKEN",
    "node-missing": "MISSING",
    "record-damaged": "DAMAGED",
    "record-broken": "BROKEN",
    "node-interrupted": "INTERRUPTED",
    "node-without-gpu": "NO GPU",
    "slower-than-fleet": "SLOW",
    "driver-skew": "driver",
    "version-skew": "version",
    "hardware-skew": "hardware",
    "fewer-gpus": "fewer GPUs",
    "gpus-changed": "other GPUs",
    "node-warned": "warned",
    "same-gpus": "same GPUs",
    "node-flaky": "flaky",
    "node-unexpected": "unexpected",
    "records-passed-over": "note",
    "too-few-to-compare": "note",
    "fleet-healthy": "healthy",
}
STATE_WIDTH = 13
MOST_WHERE, LEAST_TEXT = 28, 40  # columns
NODE_LINES = 3  # of names that are too long for their column


def is_whole(row: Row) -> bool:
    """Whether a row of a stored record is a line that fleet wrote."""
    texts = all(isinstance(row.get(name), str) for name in ("id", "severity", "nodes", "gpus", "text"))
    return texts and row["severity"] in MARKS and isinstance(row.get("count"), int)


def lines(facts: Facts) -> list[Row]:
    """All lines, the worst first."""
    return [row for row in facts.rows("fleet.lines") if is_whole(row)]


def split(facts: Facts) -> tuple[list[Row], list[Row], list[Row]]:
    """The lines about faults that are shown, those that are left out for room, and the remarks."""
    rows = lines(facts)
    faults = [row for row in rows if row["severity"] in BAD]
    room = len(faults) if facts.flag("request.all") else MOST
    return faults[:room], faults[room:], [row for row in rows if row["severity"] not in BAD]


def where(row: Row, room: int) -> str:
    """The nodes and GPUs of a line."""
    gpus = f" GPU{'' if row['gpus'].isdigit() else 's'} {row['gpus']}" if row["gpus"] else ""
    return shortened(row["nodes"], room - len(gpus)) + gpus


def state(row: Row) -> str:
    """What a line is about, in a word."""
    kind: str = row["id"]
    return STATES.get(kind, kind)


def left_out(rows: Sequence[Row]) -> str:
    """What there was no room for."""
    counts = Counter(state(row) for row in rows)
    nodes = sum(row["count"] for row in rows)
    states = ", ".join(f"{n} {what}" for what, n in counts.items())
    return f"… and {counted(len(rows), 'more line')} about {counted(nodes, 'node')}: {states}"


def advised(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first finding of each kind that has advice: what is typed for one is typed for all."""
    seen = set[str]()
    for found in findings:
        if found.severity in BAD and found.id not in seen:
            seen.add(found.id)
            yield found


# ── For the terminal ─────────────────────────────────────────────────────────────────────────────────────────────────


def show(record: Record) -> None:
    """Print the whole record."""
    page, facts = Page(), record.facts
    shown, rest, remarks = split(facts)
    everything = facts.flag("request.all")
    widest = max((len(where(row, MOST_WHERE)) for row in shown), default=0)
    for row in shown:
        add_line(page, row, widest, everything)
    if rest:
        page.add_wrapped(f"{left_out(rest)} (--all shows them)", STATE_WIDTH)
    for row in remarks:
        add_line(page, row, 0, everything)
    if everything:
        for node in facts.rows("fleet.nodes"):
            if node.get("state") == "healthy":
                page.add(f"{'healthy':{STATE_WIDTH}}{node.get('node')}: {node.get('gpus') or 'no GPU'}")
    add_rates(page, facts)
    add_advice(page, record.findings)
    page.add("")
    counts = facts.row("fleet.counts")
    again = f", {counts['repeated']} of them more than once" if counts.get("repeated") else ""
    nodes, gpus = counted(counts.get("nodes"), "node"), counted(counts.get("gpus"), "GPU")
    page.add(f"{nodes} with a record{again}, {gpus}", "dim")
    started = record.started.replace("T", " ").replace("Z", " UTC")
    page.add(f"gpusmoke {record.version} fleet, {started}, {record.seconds:.1f} s", "dim")
    page.add_wrapped(closing(record), style="green" if record.verdict == "healthy" else "red")
    page.print()


def add_line(page: Page, row: Row, widest: int, everything: bool) -> None:
    """Add a line: state, nodes and sentence side by side, or the sentence below where the names are long."""
    mark, style = f"{state(row):{STATE_WIDTH}}", MARKS[row["severity"]][1]
    if not row["nodes"]:
        page.add_wrapped(row["text"], STATE_WIDTH, mark=mark, marked=style)
        return
    # Names are as long as they are; where they leave little room for the sentence, they have lines of their own.
    names = where(row, len(row["nodes"]) + 20 if everything else NODE_LINES * (page.width - STATE_WIDTH - 1))
    if len(names) <= widest and page.width - STATE_WIDTH - widest - 2 >= LEAST_TEXT:
        indent = STATE_WIDTH + widest + 2
        first, *more = page.wrap(row["text"], indent)
        page.add(f"{names:{widest}}  {first}", mark=mark, marked=style)
    else:
        indent = STATE_WIDTH
        room = max(page.width - indent, 2)
        first, *more = broken(names, room)
        page.add(first, mark=mark, marked=style)
        more += page.wrap(row["text"], indent)
    for part in more:
        page.add(" " * indent + part)


def broken(names: str, room: int) -> list[str]:
    """Names in lines that fit, broken behind commas where there are some: half a name can't be copied."""
    return re.findall(rf".{{1,{room}}}\Z|.{{1,{room - 1}}},|.{{{room}}}", names, re.DOTALL)


def rates(facts: Facts) -> dict[str, list[Row]]:
    """What is usual for settled products, else for whatever was measured, by model."""
    rows = [row for row in facts.rows("fleet.rates") if is_rate(row)]
    found: dict[str, list[Row]] = {}
    for row in [row for row in rows if row["settled_product"]] or rows:
        found.setdefault(row["model"], []).append(row)
    return found


def is_rate(row: Row) -> bool:
    """Whether a row of a stored record is a rate that fleet wrote."""

    def number(name: str) -> bool:
        return isinstance(row.get(name), int | float) and not isinstance(row[name], bool)

    return (
        all(isinstance(row.get(name), str) for name in ("model", "what", "unit"))
        and all(number(name) for name in ("gpus", "median", "deviation_percent", "slowest"))
        and isinstance(row.get("settled_product"), bool)
        and (number("slow_below") or row.get("slow_below") is None)
    )


LEGEND = """\
±%: a standard deviation, as the median absolute deviation tells it; a GPU is
slow only where all its products of one format are, taken together"""
TITLES = ("", "GPUs", "median", "±%", "slow below", "slowest", "unit")


def cells(row: Row) -> tuple[str, ...]:
    """One rate's cells, by TITLES."""
    low = "-" if row["slow_below"] is None else f"{row['slow_below']:.4g}"
    numbers = f"{row['gpus']}", f"{row['median']:.4g}", f"{row['deviation_percent']:.1f}", low, f"{row['slowest']:.4g}"
    return (row["what"], *numbers, row["unit"])


def add_rates(page: Page, facts: Facts) -> None:
    """Add what is usual, a few columns for each model."""
    held = rates(facts)
    if not held:
        return
    table = [TITLES, *(cells(row) for rows in held.values() for row in rows)]
    longest, *widths = (max(len(line[at]) for line in table) for at in range(len(TITLES)))
    name_width = min(longest, page.width - sum(width + 2 for width in widths))

    def add(line: Sequence[str], style: str = "") -> None:
        name, *numbers, unit = line
        if len(name) > name_width:  # as that of a kernel: it has a line of its own
            page.add(name, style)
            name = ""
        middle = (cell.rjust(width) for cell, width in zip(numbers, widths, strict=False))
        page.add("  ".join([name.ljust(name_width), *middle, unit]), style)

    page.add("")
    add(TITLES, "dim")
    for model, rows in held.items():
        page.add(model)
        for row in rows:
            add(cells(row))
    for line in LEGEND.splitlines():
        page.add(line, "dim")


def add_advice(page: Page, findings: Sequence[Finding]) -> None:
    """Add what to type, once for each kind of finding."""
    for found in advised(findings):
        page.add("")
        page.add(f"{found.id}:")
        for step in found.advice:
            page.add(f"  try: {step}")
        if found.link:
            page.add(f"  see: {found.link}", "dim")


# ── As Markdown ──────────────────────────────────────────────────────────────────────────────────────────────────────


def markdown(record: Record) -> str:
    """The record as GitHub-flavoured Markdown."""
    facts = record.facts
    shown, rest, remarks = split(facts)
    found = [f"### fleet: {escaped(closing(record))}", ""]
    if shown:
        found += ["| | nodes | what |", "|---|---|---|"]
        found += [f"| {state(row)} | {escaped(where(row, 200))} | {escaped(row['text'])} |" for row in shown]
        found.append("")
    found += [f"{escaped(left_out(rest))}", ""] if rest else []
    for row in remarks:
        names = f"{escaped(where(row, 200))}: " if row["nodes"] else ""
        found.append(f"- {names}{escaped(row['text'])}")
    for model, rows in rates(facts).items():
        found += ["", f"**{escaped(model)}**", "", f"| {' | '.join(TITLES)} |", "|---|" + "---:|" * 5 + "---|"]
        found += [f"| {' | '.join(map(escaped, cells(row)))} |" for row in rows]
    for one in advised(record.findings):
        found += ["", f"`{one.id}`", *fenced(one.advice)]
    found += ["", f"<sub>gpusmoke {escaped(record.version)}, {record.started}, {record.seconds:.1f} s</sub>"]
    return "\n".join(found) + "\n"
