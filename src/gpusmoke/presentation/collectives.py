"""Collective operations as nccl-tests shows them: for each operation a line a size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpusmoke.facts import Json
from gpusmoke.measuring.formats import size_text
from gpusmoke.presentation import progress
from gpusmoke.presentation.html.tables import Table
from gpusmoke.presentation.several import text
from gpusmoke.presentation.terminal import Page, counted
from gpusmoke.workers.parent import Event

Row = dict[str, Json]

TITLES = ("size", "count", "time us", "algbw GB/s", "busbw GB/s", "right")
WIDTHS = (11, 12, 11, 12, 12, 7)
LEGEND = """\
Sizes and bandwidths by nccl-tests' definitions; the time is that of the slowest
rank, the median of five rounds; right: every element on every rank, exactly"""


class Progress(progress.Progress):
    """A line for each size as it is measured."""

    def show(self, event: Event) -> None:
        """Take in one event; a measurement is told in the words of the table."""
        if event.kind == "measurement":
            size, _, microseconds, _, bus, right = cells(event.content)
            wrong = "" if right == "yes" else ", WRONG"
            said = f"{event.content['quantity']} of {size}: {microseconds} us, {bus} GB/s on the bus{wrong}"
            event = Event(event.ordinal, "line", said)
        super().show(event)


def cells(row: Row) -> tuple[str, ...]:
    """One line of a table."""
    return (
        size_text(int(row["shape"][0])),
        str(row.get("count", "-")),
        figure(row.get("time_us")),
        figure(row["value"]),
        figure(row.get("bus_gb_s")),
        "yes" if row["verified"]["passed"] is True else "NO",
    )


def figure(value: Json) -> str:
    """A number with as many digits as can be meant; a dash where there is none."""
    if not isinstance(value, int | float):
        return "-"
    return text(value) if abs(value) >= 1 else f"{value:.4f}"


def by_operation(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Each operation's rows, under its heading."""
    for operation in dict.fromkeys(row["quantity"] for row in rows):
        mine = [row for row in rows if row["quantity"] == operation]
        yield heading(mine[0]), mine


def heading(row: Row) -> str:
    """What was measured, on what."""
    where = f"{counted(row.get('ranks'), 'rank')} on {counted(row.get('nodes'), 'node')}"
    return f"{row['quantity']}, {row['dtype']}, {row['backend']}: {where}, {row['device']}"


def add_collectives(page: Page, rows: Sequence[Row]) -> None:
    """Add a table for each operation, 80 columns wide."""
    for title, mine in by_operation(rows):
        page.add("")
        page.add_wrapped(title)
        page.add("".join(name.rjust(width) for name, width in zip(TITLES, WIDTHS, strict=True)))
        for row in mine:
            wrong = row["verified"]["passed"] is not True
            line = "".join(cell.rjust(width) for cell, width in zip(cells(row), WIDTHS, strict=True))
            page.add(line, "red" if wrong else "")
    if rows:
        page.add("")
        for line in LEGEND.splitlines():
            page.add(line, "dim")


def tables(rows: Sequence[Row]) -> list[Table]:
    """The same for pages."""
    found = []
    for title, mine in by_operation(rows):
        wrong = frozenset(at for at, row in enumerate(mine) if row["verified"]["passed"] is not True)
        found.append(Table(title, TITLES, [cells(row) for row in mine], wrong=wrong))
    if found:
        found[-1] = Table(found[-1].title, TITLES, found[-1].rows, " ".join(LEGEND.split()), wrong=found[-1].wrong)
    return found
