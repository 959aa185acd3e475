"""The page about a fleet: every line, how the rates lie, and every node, with a box to look for one."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup

from gpusmoke.facts import Facts, Json
from gpusmoke.presentation.fleet import BAD, STATES, TITLES, advised, cells, lines, rates, state, where
from gpusmoke.presentation.html import canvas
from gpusmoke.presentation.html.canvas import COLOURS, SMALL
from gpusmoke.presentation.html.page import template
from gpusmoke.presentation.html.plot import EDGE, Plot
from gpusmoke.presentation.html.rows import figure, number, positive
from gpusmoke.presentation.html.tables import Table
from gpusmoke.presentation.terminal import closing
from gpusmoke.record import Record

Row = dict[str, Json]

HEIGHT, TOP, BOTTOM = 120.0, 14.0, 20.0  # pixels: of a histogram, and of what is above and below its bars
LEAST = 2.5  # pixels of a bar: one slow GPU among thousands has to be seen
LONGEST = 400  # characters of nodes in a line
SCRIPT = """
const box = document.getElementById("look");
box.parentElement.hidden = false;
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/);
  document.getElementById("nodes").open = box.value !== "";
  for (const row of document.querySelectorAll("tr[data-row]"))
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
});
"""


def render(record: Record) -> str:
    """The page as text."""
    facts = record.facts
    rows = lines(facts)
    with canvas.style():
        plots = [
            (model, table(model, held), [histogram(one, f"plot{at}-{nth}") for nth, one in enumerate(held)])
            for at, (model, held) in enumerate(rates(facts).items())
        ]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return template("fleet.html.jinja").render(
        record=record,
        closing=closing(record),
        lines=[(row["severity"], *told(row)) for row in rows if row["severity"] in BAD],
        remarks=[": ".join(part for part in told(row)[1:] if part) for row in rows if row["severity"] not in BAD],
        models=plots,
        versions=versions(facts),
        nodes=nodes(facts),
        advice=list(advised(record.findings)),
        script=Markup(SCRIPT),  # noqa: S704 - our own
        digest=digest,
    )


def told(row: Row) -> tuple[str, str, str]:
    """One line: state, nodes, sentence."""
    return state(row), where(row, LONGEST), row["text"]


def table(model: str, rows: list[Row]) -> Table:
    """What is usual for a model."""
    return Table(f"Rates of {model}", TITLES, [cells(row) for row in rows])


def versions(facts: Facts) -> Table:
    """Every version of everything that ran."""
    known = [
        row
        for row in facts.rows("fleet.versions")
        if all(isinstance(row.get(name), str) for name in ("what", "version", "nodes"))
    ]
    cells_of = [
        [row["what"], row["version"], figure(row.get("count")), row["nodes"][:LONGEST] or "most"] for row in known
    ]
    return Table("Versions", ("", "version", "nodes", "which"), cells_of, words=True)


def nodes(facts: Facts) -> list[tuple[str, ...]]:
    """Every node: name, state, GPUs, when it was seen, and how often."""
    names = ("node", "state", "gpus", "started", "command")
    found = list[tuple[str, ...]]()
    for row in facts.rows("fleet.nodes"):
        if all(isinstance(row.get(name), str) for name in names):
            runs = number(row.get("runs")) or 1
            seen = f"{row['started'].replace('T', ' ').replace('Z', '')}, {row['command']}"
            again = f"{runs:.0f} runs" if runs > 1 else ""
            name, state = str(row["node"]), str(row["state"])
            found.append((name, STATES.get(state, state), row["gpus"] or "no GPU", seen, again))
    return found


def bins(row: Row) -> list[tuple[float, int]]:
    """The bars of a histogram as (percent of the median at their left, GPUs)."""
    held = row.get("histogram")
    pairs = held if isinstance(held, list) else []
    whole = [one for one in pairs if isinstance(one, list) and len(one) == 2 and None not in map(number, one)]
    return [(float(percent), int(count)) for percent, count in whole if count > 0 and 0 <= percent < 1000]


def histogram(row: Row, key: str) -> Plot:
    """How many GPUs reach what: a bar for each percent of the median, those of slow ones in another colour."""
    held, median, low = bins(row), positive(row["median"]), positive(row["slow_below"])
    title = f"{row['what']}, {row['unit']}"
    if median is None or not held:
        return Plot(title, "Left out: the record has no rates that can be drawn.")
    drawn = canvas.new(TOP + HEIGHT + BOTTOM)
    made = canvas.axes(drawn, EDGE, TOP, EDGE, BOTTOM)
    most = max(count for _, count in held)
    made.set_ylim(0, most)
    made.set_yticks([])
    step = median / 100
    limits = [held[0][0] * step, (held[-1][0] + 1) * step, *([low] if low else [])]
    margin = 0.02 * (max(limits) - min(limits))
    made.set_xlim(min(limits) - margin, max(limits) + margin)
    made.locator_params(axis="x", nbins=6)
    for percent, count in held:
        slow = low is not None and (percent + 0.5) * step < low
        height = max(count, most * LEAST / HEIGHT)
        made.bar(percent * step, height, 0.9 * step, align="edge", color=COLOURS["peak" if slow else "settled"])
        if slow:
            made.text((percent + 0.45) * step, height + most * 0.03, str(count), size=SMALL, ha="center")
    if low is not None:
        made.plot([low, low], [0, most], color=COLOURS["peak"], linewidth=1)
    description = (
        f"A histogram of {row['gpus']} GPUs: median {figure(median)}, slowest {figure(row['slowest'])}"
        + (f", slow below {figure(low)}" if low else "")
        + ". The numbers stand in the table below."
    )
    return Plot(
        title=title,
        caption=(
            f"{row['gpus']} GPUs, a bar for each percent of their median, {figure(median)}; "
            "the smallest bars are drawn higher than they are."
        ),
        svg=canvas.inline(drawn, key, title, description),
        legend=[("", "GPUs"), *([("peak", f"slow: below {figure(low)}")] if low else [])],
        numbers=Table(
            f"{title}, numbers",
            ("from", "to", "GPUs"),
            [(figure(percent * step), figure((percent + 1) * step), str(count)) for percent, count in held],
        ),
    )
