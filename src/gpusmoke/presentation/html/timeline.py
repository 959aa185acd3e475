"""One run over time: rate and SM clock, power and temperature, and what held the clock down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpusmoke.presentation.html import canvas
from gpusmoke.presentation.html.canvas import COLOURS, SMALL, WIDTH
from gpusmoke.presentation.html.plot import AXIS, Plot, dots
from gpusmoke.presentation.html.rows import NONE, Device, Timeline, figure
from gpusmoke.presentation.html.tables import Table

# In pixels; the names of the formats stand above the first panel, in two lines where one has no room for them.
LEFT, RIGHT, TOP, PANEL, BETWEEN = 34.0, 6.0, 46.0, 100.0, 30.0
NAME_LINES = (4.0, 15.0)
REASON = 22.0
WIDE_RANGE = 4.0  # rates that lie further apart than by this factor need a logarithm
MOST_LINES = 40  # of the table
UNITS = ((3 * 3600, 3600, "hours"), (600, 60, "minutes"), (0, 1, "seconds"))
"""(seconds from which on, seconds of one, name)."""
LEFT_OUT = "Left out: the record holds no timeline. Older ones have none, nor do runs without NVML."


class Panel(NamedTuple):
    """One quantity over time; `points` where it is known only now and then."""

    name: str
    unit: str
    values: Sequence[float | None]
    points: bool = False


def over_time(device: Device) -> list[Plot]:
    """Two figures with the same time axis, or one sentence."""
    line = device.timeline
    if line is None:
        return [Plot("Over time", LEFT_OUT)]
    unit = unit_of(line)[1]
    reasons = list(dict.fromkeys(name for names in line.reasons for name in names))
    shaded = "Shaded: while one number format was measured back to back."
    speed = [
        Panel("rate of the rounds", "TFLOP/s or TOP/s", line.rate, True),
        Panel("SM clock", "MHz", line.sm_clock_mhz),
    ]
    heat = [Panel("power", "W", line.power_w), Panel("temperature", "°C", line.temperature_c)]
    return [
        Plot(
            title=f"Rate and clock over time, in {unit}",
            caption=shaded,
            svg=draw(device, line, speed, []),
            numbers=numbers(line),
        ),
        Plot(
            title=f"Power and temperature over time, in {unit}",
            caption="At the bottom: what the driver names as holding the clock." if reasons else shaded,
            svg=draw(device, line, heat, reasons),
        ),
    ]


def unit_of(line: Timeline) -> tuple[float, str]:
    """The unit that suits the run: its seconds, and its name."""
    return next((each, name) for least, each, name in UNITS if line.seconds[-1] - line.seconds[0] >= least)


def draw(device: Device, line: Timeline, panels: Sequence[Panel], reasons: Sequence[str]) -> Markup:
    """The panels below each other, then the reasons, on one time axis."""
    each, unit = unit_of(line)
    times = [at / each for at in line.seconds]
    below = AXIS + len(reasons) * REASON
    height = TOP + len(panels) * (PANEL + BETWEEN) - BETWEEN + (8 if reasons else 0) + below
    drawn = canvas.new(height)
    told = []
    for number, panel in enumerate(panels):
        top = TOP + number * (PANEL + BETWEEN)
        made = canvas.axes(drawn, LEFT, top, RIGHT, height - top - PANEL)
        made.set_xlim(times[0], times[-1])
        head = f"{panel.name}, {panel.unit}"
        above = (TOP - 12 if number == 0 else 9) / PANEL
        made.text(-LEFT / (WIDTH - LEFT - RIGHT), 1 + above, head, transform=made.transAxes, size=SMALL)
        shade(made, [(name, start / each, end / each) for name, start, end in line.runs()], named=number == 0)
        told.append(trace(made, times, panel))
        made.tick_params(labelbottom=number == len(panels) - 1 and not reasons)
    if reasons:
        made = canvas.axes(drawn, LEFT, height - below, RIGHT, AXIS)
        made.set(xlim=(times[0], times[-1]), ylim=(len(reasons) * REASON, 0), yticks=[])
        for number, reason in enumerate(reasons):
            hold(made, times, [reason in names for names in line.reasons], number * REASON, reason)
        told.append(f"the clock was held by: {', '.join(reasons)}")
    title = f"{' and '.join(panel.name for panel in panels)} over {unit}: {device.heading}"
    key = f"{device.key}-{panels[0].name.split()[0]}"
    return canvas.inline(drawn, key, title[0].upper() + title[1:], f"{'; '.join(told)}.")


def shade(made: Axes, runs: Sequence[tuple[str, float, float]], named: bool) -> None:
    """Shade the stretches of the number formats; where `named`, with their names above, as far as there is room."""
    start, end = made.get_xlim()
    pixel = (end - start) / (WIDTH - LEFT - RIGHT)
    taken = [-math.inf] * len(NAME_LINES)
    for name, begins, ends in runs:
        made.axvspan(begins, max(ends, begins + pixel), facecolor=COLOURS["band"], edgecolor="none")
        room = next((line for line, until in enumerate(taken) if begins >= until), None)
        if named and room is not None:
            taken[room] = begins + (canvas.text_width(name) + 4) * pixel
            place, y = made.get_xaxis_transform(), 1 + NAME_LINES[room] / PANEL
            made.text(begins, y, name, transform=place, size=SMALL, color=COLOURS["muted"])


def trace(made: Axes, times: Sequence[float], panel: Panel) -> str:
    """Draw one quantity, and tell it in words."""
    made.grid(axis="y")
    known = [(at, value) for at, value in zip(times, panel.values, strict=True) if value is not None]
    made.yaxis.set_major_locator(MaxNLocator(4))
    if not known:
        made.set_yticks([])
        return f"{panel.name}: not read"
    low, high = min(value for _, value in known), max(value for _, value in known)
    if panel.points and high > WIDE_RANGE * low:
        made.set_yscale("log")
        made.set_ylim(low / 1.3, high * 1.3)
        made.minorticks_off()
    else:
        room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        made.set_ylim(low - room, high + room)
    made.yaxis.set_major_formatter(lambda value, _: figure(value))
    if panel.points:
        dots(made, known, 3.0)
    else:
        values = [math.nan if value is None else value for value in panel.values]
        made.plot(times, values, color=COLOURS["settled"], linewidth=1.5)
    return f"{panel.name} from {figure(low)} to {figure(high)} {panel.unit}"


def hold(made: Axes, times: Sequence[float], held: Sequence[bool], top: float, reason: str) -> None:
    """Draw when one reason held the clock, its name above."""
    made.text(0, top + 10, reason, transform=made.get_yaxis_transform(), size=SMALL, color=COLOURS["muted"])
    step = (times[-1] - times[0]) / (len(times) - 1)
    spans: list[tuple[float, float]] = []
    for at, is_held in zip(times, held, strict=True):
        if is_held and spans and at - sum(spans[-1]) < step:
            spans[-1] = (spans[-1][0], at + step / 2 - spans[-1][0])
        elif is_held:
            spans.append((max(times[0], at - step / 2), step))
    made.broken_barh(spans, (top + 14, 5), facecolor=COLOURS["burst"])


def numbers(line: Timeline) -> Table:
    """The timeline as a table, of which every n-th point is shown where there are many."""
    each = math.ceil(len(line.seconds) / MOST_LINES)
    head = (
        "s" if each == 1 else f"s (every {each}. of {len(line.seconds)})",
        "rate",
        "of",
        "MHz",
        "W",
        "°C",
        "held by",
    )
    rows = [
        (
            figure(line.seconds[at]),
            figure(line.rate[at]),
            line.dtype[at] or NONE,
            figure(line.sm_clock_mhz[at]),
            figure(line.power_w[at]),
            figure(line.temperature_c[at]),
            ", ".join(line.reasons[at]) or NONE,
        )
        for at in range(0, len(line.seconds), each)
    ]
    return Table("Over time, numbers", head, rows)
