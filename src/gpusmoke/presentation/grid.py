"""Tables of text that terminal, Markdown and HTML each draw in their own way; and how a terminal does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpusmoke.presentation.terminal import Page

NONE = "-"


class Grid(NamedTuple):
    """A table: its title, the heads of its columns, its rows, each beginning with its name, and what is below it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def matrix(title: str, cells: dict[tuple[int, int], str]) -> Grid:
    """A value for each two GPUs, from the row to the column."""
    gpus = sorted({gpu for pair in cells for gpu in pair})
    lines = [[f"GPU {a}", *("X" if a == b else cells.get((a, b), NONE) for b in gpus)] for a in gpus]
    return Grid(title, ["", *map(str, gpus)], lines)


def draw(page: Page, grid: Grid) -> None:
    """Add a grid as lines, in blocks of as many columns as fit, each with the first column again."""
    widths = [max(len(line[at]) for line in (grid.head, *grid.rows)) for at in range(len(grid.head))]
    page.add(grid.title)
    for columns in blocks(widths, page.width):
        gap = "  " if sum(widths[at] + 2 for at in columns) - 2 <= page.width else " "
        for line in (grid.head, *grid.rows):
            cells = [line[at].rjust(widths[at]) if at else line[at].ljust(widths[at]) for at in columns]
            page.add(gap.join(cells).rstrip())
    for line in grid.note.splitlines():
        page.add(line, "dim")


def blocks(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns that fit beside the first one, again and again until all have been."""
    columns = [0]
    for at in range(1, len(widths)):
        if len(columns) > 1 and sum(widths[one] + 1 for one in (*columns, at)) - 1 > room:
            yield columns
            columns = [0]
        columns.append(at)
    yield columns
