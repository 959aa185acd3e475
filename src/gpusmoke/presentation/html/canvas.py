"""From matplotlib's figures to SVG that stands inline in a page: no fonts, no styles of its own, colours by name."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

WIDTH = 380.0
"""Of every figure, in its own pixels: two stand side by side on a desk, and one fills a phone, still readable."""

TEXT, SMALL = 11.0, 10.0
# matplotlib only knows colours; each stands for a variable of the page's style, which has two sets of them.
NAMES = ("ink", "muted", "line", "burst", "settled", "peak", "memory", "band")
COLOURS = {name: f"#0000{number:02x}" for number, name in enumerate(NAMES, start=1)}

SVG = "{http://www.w3.org/2000/svg}"
# What data/report.css says of all figures, and what none needs.
USUAL = {
    ("font-size", "10px"),
    ("fill", COLOURS["ink"]),
    ("fill", "none"),
    ("text-anchor", "start"),
    ("stroke-linecap", "square"),
}
UNUSED = ("font-family", "stroke-linejoin", "stroke-dashoffset")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gpusmoke",
    "path.simplify_threshold": 0.1,
    "font.size": TEXT,
    "text.color": COLOURS["ink"],
    "text.parse_math": False,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 1,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 1,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, whatever the user's own matplotlibrc says."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # such as that it builds its list of fonts
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


@cache
def text_width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """How wide the text is in DejaVu Sans, in pixels: a wide font, the reader's is hardly wider."""
    outline = TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight))
    return float(max(outline.vertices[:, 0], default=0))


def new(height: float) -> Figure:
    """An empty figure, `height` pixels high."""
    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72, frameon=False)


def axes(drawn: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes with that many pixels around them."""
    width, height = (72 * float(side) for side in drawn.get_size_inches())
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    made = drawn.add_axes(box)
    made.patch.set_visible(False)
    return made


def inline(drawn: Figure, key: str, title: str, description: str) -> Markup:
    """The figure as an <svg> that tells its title and what it shows; `key` is its own within the page."""
    text = io.StringIO()
    drawn.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(text.getvalue())  # noqa: S314 - matplotlib wrote it just now
    named = f"{key}-title {key}-description"
    made = ET.Element("svg", {"viewBox": root.attrib["viewBox"], "role": "img", "aria-labelledby": named})
    for tag, name, words in (("title", "title", title), ("desc", "description", description)):
        ET.SubElement(made, tag, {"id": f"{key}-{name}"}).text = words
    # Its groups and ids are for people who edit the file, its clip paths for what is drawn out of bounds: none here.
    made.extend(tidy(element) for element in root.iter() if element.tag in (f"{SVG}path", f"{SVG}text"))
    return Markup(ET.tostring(made, encoding="unicode"))  # noqa: S704 - ElementTree escaped all text in it


def tidy(element: ET.Element) -> ET.Element:
    """A path or text with colours as the page's variables, and without what the page's own style says."""
    kept = {name: value for name, value in element.attrib.items() if name in ("x", "y", "d")}
    made = ET.Element(element.tag.removeprefix(SVG), {name: tidied(value) for name, value in kept.items()})
    made.text = element.text
    looks = dict(part.strip().split(": ", 1) for part in element.attrib.get("style", "").split(";") if ": " in part)
    if font := re.match(r"(\w+ )?([\d.]+px)", looks.pop("font", "")):  # as matplotlib wrote it before 3.11
        looks |= {"font-size": font.group(2)} | ({"font-weight": font.group(1).strip()} if font.group(1) else {})
    kept = {n: v for n, v in looks.items() if (n, v) not in USUAL and n not in UNUSED}
    if kept:
        made.set("style", tidied(";".join(f"{name}:{value}" for name, value in kept.items())))
    return made


def tidied(value: str) -> str:
    """An attribute with names for colours, one decimal, and paths without what they do not need."""
    for name, colour in COLOURS.items():
        value = value.replace(colour, f"var(--{name})")
    value = re.sub(r"\d+\.\d+", lambda found: f"{float(found.group()):.1f}".removesuffix(".0"), " ".join(value.split()))
    value = re.sub(r" ?\b([MLQCz])\b ?", r"\1", value)
    return re.sub(r"M(\S+) (\S+)L\1 \2(?=M|$)", dot, value)


def dot(line: re.Match[str]) -> str:
    """A line without a length, at a whole pixel: a page of eight GPUs has thousands."""
    return f"M{round(float(line.group(1)))} {round(float(line.group(2)))}h0"
