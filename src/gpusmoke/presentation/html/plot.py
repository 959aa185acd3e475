"""What all plots of the page share: a figure with the numbers behind it, and rows with their names above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import blended_transform_factory

from gpusmoke.presentation.html import canvas
from gpusmoke.presentation.html.canvas import COLOURS, SMALL, TEXT, WIDTH
from gpusmoke.presentation.html.rows import Measured
from gpusmoke.presentation.html.tables import Table

AXIS = 20.0
"""Height of the numbers below the axes, in pixels."""

EDGE = 14.0
"""Room for half of a number that stands below the end of an axis, in pixels."""


@dataclass(frozen=True)
class Plot:
    """A figure and the numbers behind it; where there is nothing to draw, `svg` is None and the caption says why."""

    title: str
    caption: str
    svg: Markup | None = None
    legend: Sequence[tuple[str, str]] = ()
    """(what the page's style calls the mark, what it stands for)."""
    numbers: Table | None = None


def stacked(count: int, pitch: float, left: float = 1) -> tuple[Figure, Axes]:
    """A figure with axes for `count` rows of `pitch` pixels, in which y counts pixels from the top."""
    drawn = canvas.new(count * pitch + AXIS)
    made = canvas.axes(drawn, left, top=0, right=EDGE, bottom=AXIS)
    made.set_ylim(count * pitch, 0)
    made.set_yticks([])
    made.grid(axis="x")
    return drawn, made


def name_row(made: Axes, y: float, one: Measured, told: str) -> None:
    """Write what a row is about at its left end, and what is told of it at its right end."""
    place = blended_transform_factory(made.figure.transFigure, made.transData)  # across the whole figure
    made.text(0, y, one.dtype, transform=place, weight="bold")
    beside = (max(canvas.text_width(text, TEXT, "bold") for text in (one.dtype, "bf16")) + 6) / WIDTH
    made.text(beside, y, one.what, transform=place, color=COLOURS["muted"], size=SMALL)
    made.text(1, y, told, transform=place, color=COLOURS["muted"], size=SMALL, ha="right")


def dots(made: Axes, places: Sequence[tuple[float, float]], diameter: float) -> None:
    """Draw dots as one path of strokes without a length: a mark for each would make the page five times as large."""
    path = Path([place for place in places for _ in range(2)], [Path.MOVETO, Path.LINETO] * len(places))
    path.should_simplify = False
    look = {"edgecolor": COLOURS["settled"], "linewidth": diameter, "capstyle": "round", "zorder": 3}
    made.add_patch(PathPatch(path, fill=False, **look))
