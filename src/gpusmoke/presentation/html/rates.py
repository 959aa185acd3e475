"""The rates of one device: bars beside the datasheet's peak, and how the rounds lie around their mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes

from gpusmoke.presentation.html import canvas
from gpusmoke.presentation.html.canvas import COLOURS, SMALL
from gpusmoke.presentation.html.plot import EDGE, Plot, dots, name_row, stacked
from gpusmoke.presentation.html.rows import Device, Measured, Row, figure, fixed, number, positive
from gpusmoke.presentation.html.tables import Table

# Pixels: from one product to the next, from its top to the text above its bars, and the bars' own.
PITCH, BASE, BAR, BAR_PITCH = 46.0, 14.0, 9.0, 12.0
# The same of a row of rounds.
STRIP_PITCH, STRIP = 38.0, 14.0
MOST_DOTS = 48  # of a strip: with more they can't be told apart, and a page of eight GPUs grows
THINNED = ", of many every second or third one"
BEYOND = 1.13  # room for a value at the end of the longest bar


def value_of(row: Row | None) -> float | None:
    """The rate, where it can be drawn."""
    return None if row is None else positive(row["value"])


def bars(device: Device) -> Plot:
    """Burst and settled rates of all products on one scale."""
    shown = [one for one in device.products if value_of(one.burst) or value_of(one.settled)]
    units = list(dict.fromkeys(str(one.told["unit"]) for one in shown))
    title = f"Rates, {', '.join(units)}" if units else "Rates"
    if not shown:
        return Plot(title, "Left out: the record holds no rate of a product.")
    peaks = [positive(one.told.get("datasheet")) for one in shown]
    drawn, made = stacked(len(shown), PITCH)
    drawable = [value for one in shown for value in (value_of(one.burst), value_of(one.settled))]
    made.set_xlim(0, BEYOND * max(value for value in [*drawable, *peaks] if value is not None))
    for at, (one, peak) in enumerate(zip(shown, peaks, strict=True)):
        share = number(one.told.get("percent_of_datasheet"))
        told = f"{share:.0f} % of {figure(peak)}" if peak is not None and share is not None else ""
        name_row(made, at * PITCH + BASE, one, told)
        draw_bars(made, at * PITCH + BASE, one, peak)
    known = any(peak is not None for peak in peaks)
    rested = any(value_of(one.burst) for one in shown)  # soak never does
    caption = "Burst: 12 ms after a rest. " if rested else ""
    caption += "Settled: back to back, once rate and clock have come to rest."
    caption += " At the right: the settled rate in percent of the datasheet's dense peak." if known else ""
    told = (
        f"Bars for {len(shown)} products: burst {span(value_of(one.burst) for one in shown)}, settled "
        f"{span(value_of(one.settled) for one in shown)}. The numbers stand in the table below."
    )
    return Plot(
        title=title,
        caption=caption,
        svg=canvas.inline(drawn, f"{device.key}-rates", f"{title}: {device.heading}", told),
        legend=[
            *([("burst", "burst")] if rested else []),
            ("settled", "settled"),
            *([("peak", "datasheet peak")] if known else []),
        ],
        numbers=Table(
            f"{title}, numbers",
            ("", "burst", "settled", "unit", "datasheet peak", "% of it"),
            [
                (
                    one.name,
                    figure(one.burst and one.burst["value"]),
                    figure(one.settled and one.settled["value"]),
                    str(one.told["unit"]),
                    figure(one.told.get("datasheet")),
                    fixed(one.told.get("percent_of_datasheet"), 1),
                )
                for one in shown
            ],
        ),
    )


def draw_bars(made: Axes, base: float, one: Measured, peak: float | None) -> None:
    """Both bars of a product, each with its value at its end, or behind the peak where that is in the way.

    The peak's line is no longer than the bars, since the texts above them may stand where it would go on.
    """
    pixel = made.get_xlim()[1] / made.bbox.width
    if peak is not None:
        ends = [base + 4, base + 4 + BAR_PITCH + BAR]
        made.plot([peak, peak], ends, color=COLOURS["peak"], linewidth=2, solid_capstyle="butt")
    for number_, (name, row) in enumerate((("burst", one.burst), ("settled", one.settled))):
        if (value := value_of(row)) is None:
            continue
        top = base + 4 + number_ * BAR_PITCH
        made.barh(top, value, BAR, align="edge", color=COLOURS[name])
        text, start = figure(value), value + 4 * pixel
        if peak is not None and value - 3 * pixel < peak < start + (canvas.text_width(text) + 4) * pixel:
            start = max(start, peak + 5 * pixel)
        made.text(start, top + BAR - 0.5, text, size=SMALL)


def span(values: Iterable[float | None]) -> str:
    """From the least to the largest of the values that there are."""
    known = [value for value in values if value is not None]
    return f"{figure(min(known))} to {figure(max(known))}" if known else "none"


def rounds(device: Device) -> Plot:
    """How far the settled rounds lie from their mean, in the order in which they were run."""
    title = "Spread of the settled rounds"
    shown = [(one, off) for one in [*device.products, *device.copies] if len(off := deviations(one, "samples")) > 1]
    if not shown:
        return Plot(title, "Left out: no settled row of the record has more than one round.")
    drawn, made = stacked(len(shown), STRIP_PITCH, left=EDGE)
    most = max(abs(value) for one, off in shown for value in [*off, *deviations(one, "p10", "p90")])
    made.set_xlim(-1.08 * (most or 1), 1.08 * (most or 1))
    made.xaxis.set_major_formatter(lambda value, _: f"{value:+g} %" if value else "mean")
    for at, (one, off) in enumerate(shown):
        base = at * STRIP_PITCH + STRIP
        name_row(made, base, one, "" if one.spread is None else f"±{one.spread:.1f} %")
        draw_rounds(made, base + 4, one, off)
    thinned = any(len(off) > MOST_DOTS for _, off in shown)
    return Plot(
        title=title,
        caption=(
            f"Each dot is one round, the first at the top of its strip{THINNED if thinned else ''}; shaded: p10 to "
            "p90. At the right: half of p10 to p90, in percent of the mean."
        ),
        svg=canvas.inline(
            drawn,
            f"{device.key}-rounds",
            f"{title}: {device.heading}",
            f"A strip of dots for each of {len(shown)} settled rows; half of p10 to p90 is "
            f"{span(one.spread for one, _ in shown)} percent. The numbers stand in the table below.",
        ),
        legend=[("dot", "one round"), ("band", "p10 to p90")],
        numbers=Table(
            f"{title}, numbers",
            ("", "rounds", "rate", "p10", "p90", "± %"),
            [
                (
                    one.name,
                    str(len(off)),
                    *(figure(one.told[name]) for name in ("value", "p10", "p90")),
                    fixed(one.spread, 1),
                )
                for one, off in shown
            ],
        ),
    )


def deviations(one: Measured, *names: str) -> list[float]:
    """By how many percent the numbers of these fields are off the settled rate; none where that can't be told."""
    value = value_of(one.settled)
    if one.settled is None or value is None:
        return []
    fields = [one.settled[name] for name in names]
    rates = [positive(rate) for field in fields for rate in (field if isinstance(field, list) else [field])]
    return [100 * (rate / value - 1) for rate in rates if rate is not None]


def draw_rounds(made: Axes, top: float, one: Measured, off: Sequence[float]) -> None:
    """A strip: the band from p10 to p90, the mean, and the rounds as dots from its top to its bottom."""
    if len(band := deviations(one, "p10", "p90")) == 2:
        made.barh(top, band[1] - band[0], STRIP + 2, left=band[0], align="edge", color=COLOURS["band"])
    made.plot([0, 0], [top, top + STRIP + 2], color=COLOURS["muted"], linewidth=1)
    shown = off[:: math.ceil(len(off) / MOST_DOTS)]
    step = (STRIP - 2) / max(1, len(shown) - 1)
    dots(made, [(x, top + 2 + step * at) for at, x in enumerate(shown)], 3.2)
