"""The roofline of one device: what its memory and its arithmetic allow, and where the products lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup
from matplotlib.axes import Axes

from gpusmoke.measuring.formats import ELEMENT_BYTES
from gpusmoke.presentation.html import canvas
from gpusmoke.presentation.html.canvas import COLOURS, SMALL, WIDTH
from gpusmoke.presentation.html.plot import Plot, dots
from gpusmoke.presentation.html.rates import span, value_of
from gpusmoke.presentation.html.rows import Device, Measured, figure, positive
from gpusmoke.presentation.html.tables import Table

TITLE = "Roofline"
RESULT_BYTES = ELEMENT_BYTES | {"fp8": 2, "int8": 4}
"""Bytes of one element of C: a product of fp8 gives bf16, one of int8 gives int32."""
HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300.0, 34.0, 104.0, 8.0, 36.0
LINE = 13.0  # from one label to the next, in pixels
NAMES_OF_ONE_PEAK = 2  # that are told; more would not fit beside the plot

Point = tuple[Measured, float, float]
"""A product, its operations per byte, and its settled rate in 10^12 operations per second."""


def intensity(one: Measured) -> float | None:
    """Operations per byte of a product that reads A and B and writes C once; None where the row does not tell."""
    shape, dtype = one.told["shape"], one.told["dtype"]
    if len(shape) != 3 or dtype not in ELEMENT_BYTES or any(positive(side) is None for side in shape):
        return None
    m, n, k = shape
    return positive(2 * m * n * k / (ELEMENT_BYTES[dtype] * (m * k + k * n) + RESULT_BYTES[dtype] * m * n))


def peaks_of(points: Sequence[Point]) -> dict[float, list[str]]:
    """The number formats by their datasheet peak."""
    found: dict[float, list[str]] = {}
    for one, _, _ in points:
        if (peak := positive(one.told.get("datasheet"))) and one.dtype not in found.setdefault(peak, []):
            found[peak].append(one.dtype)
    return found


def roofline(device: Device) -> Plot:
    """Settled products below the lines that measured bandwidth and the datasheet's peaks draw."""
    copy = next((one.settled for one in device.copies if one.told["quantity"] == "memory-copy"), None)
    bandwidth = value_of(copy)
    points = [
        (one, x, y) for one in device.products if (x := intensity(one)) and (y := value_of(one.settled)) is not None
    ]
    peaks = peaks_of(points)
    if copy is None or bandwidth is None or not peaks:
        missing = "no rate of memory copies" if bandwidth is None else "no settled product with a datasheet peak"
        return Plot(TITLE, f"Left out: the record holds {missing}.")
    speed, sheet = f"memory, {figure(bandwidth)} GB/s measured", positive(copy.get("datasheet"))
    told = (
        f"{len(points)} settled products, at {span(x for _, x, _ in points)} operations per byte, below the lines of "
        f"{speed}, and of the datasheet's peaks. The numbers stand in the table below."
    )
    return Plot(
        title=f"{TITLE}, T operations/s",
        caption=(
            "The line at the left is what the memory can feed, those above are what the card can compute. "
            "Operations per byte: 2 M N K over the bytes of A, B and C, each moved once."
        ),
        svg=draw(device, points, peaks, bandwidth, sheet, told),
        legend=[
            ("dot", "settled; the fastest of a format is named"),
            ("memory", f"{speed}{f'; dotted: datasheet, {figure(sheet)}' if sheet else ''}"),
            ("peak", "datasheet peak"),
        ],
        numbers=Table(
            f"{TITLE}, numbers",
            ("", "operations per byte", "settled", "datasheet peak", "memory allows"),
            [
                (
                    one.name,
                    figure(x),
                    figure(y),
                    figure(one.told.get("datasheet")),
                    figure(x * bandwidth / 1000),
                )
                for one, x, y in points
            ],
        ),
    )


def draw(
    device: Device,
    points: Sequence[Point],
    peaks: dict[float, list[str]],
    bandwidth: float,
    sheet: float | None,
    told: str,
) -> Markup:
    """The figure; `bandwidth` and `sheet`, what was measured and what the datasheet says, in GB/s."""
    drawn = canvas.new(HEIGHT)
    made = canvas.axes(drawn, LEFT, TOP, RIGHT, BOTTOM)
    rates = [*(y for _, _, y in points), *peaks]
    bottom, top = 0.4 * min(rates), 1.6 * max(rates)
    left, right = 1000 * bottom / bandwidth, 1.5 * max(x for _, x, _ in points)
    left = min(left, 0.5 * min(x for _, x, _ in points))
    made.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    made.grid(axis="both")
    made.minorticks_off()
    for axis in (made.xaxis, made.yaxis):
        axis.set_major_formatter(lambda value, _: figure(value))
    made.set_xlabel("operations per byte", size=SMALL)
    for speed, pattern in [(bandwidth, "-"), *([(sheet, ":")] if sheet else [])]:
        ends = [max(left, 1000 * bottom / speed), min(right, 1000 * max(peaks) / speed)]
        if ends[0] < ends[1]:
            heights = [end * speed / 1000 for end in ends]
            made.plot(ends, heights, pattern, color=COLOURS["memory"], linewidth=2)
    for peak in peaks:
        ridge = min(1000 * peak / (sheet or bandwidth), right)
        made.plot([ridge, right], [peak, peak], color=COLOURS["peak"], linewidth=2, solid_capstyle="butt")
    dots(made, [(x, y) for _, x, y in points], 6.0)
    name_all(made, points, peaks, right)
    return canvas.inline(drawn, f"{device.key}-roofline", f"{TITLE}: {device.heading}", told)


def name_all(made: Axes, points: Sequence[Point], peaks: dict[float, list[str]], right: float) -> None:
    """Write the names of points and peaks beside the axes, one below the other, with a thin line to what they name."""
    best: dict[str, Point] = {}
    for point in points:
        if point[0].dtype not in best or best[point[0].dtype][2] < point[2]:
            best[point[0].dtype] = point
    labels = [(x, y, f"{dtype} {figure(y)}", "ink") for dtype, (_, x, y) in best.items()]
    for peak, dtypes in peaks.items():
        more = len(dtypes) - NAMES_OF_ONE_PEAK
        names = ", ".join(dtypes[:NAMES_OF_ONE_PEAK]) + (f" +{more}" if more > 0 else "")
        labels.append((right, peak, f"{figure(peak)} {names}", "peak"))
    bottom, top = made.get_ylim()
    height = HEIGHT - TOP - BOTTOM
    pixels = [height * math.log(y / bottom) / math.log(top / bottom) for _, y, _, _ in labels]
    edge = 1 + 14 / (WIDTH - LEFT - RIGHT)  # where the names begin, in parts of the axes
    for (x, y, text, colour), at in zip(labels, apart(pixels, height), strict=True):
        made.annotate(
            text,
            xy=(x, y),
            xytext=(edge, at / height),
            textcoords="axes fraction",
            color=COLOURS[colour],
            size=SMALL,
            va="center_baseline",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": COLOURS["muted"], "linewidth": 0.7, "shrinkA": 2, "shrinkB": 4}
            | {"relpos": (0, 0.5)},
        )


def apart(wanted: Sequence[float], height: float) -> list[float]:
    """Places near the wanted ones, in the same order, at least LINE apart and not above `height`."""
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    places = list(wanted)
    for below, at in pairwise(order):
        places[at] = max(places[at], places[below] + LINE)
    limit = height
    for at in reversed(order):
        places[at] = min(places[at], limit)
        limit = places[at] - LINE
    return places
