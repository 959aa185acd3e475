"""The HTML page in a real browser: it loads alone and without a complaint, and nothing in it lies over another."""

import os
from pathlib import Path

import pytest

from gpusmoke.findings import finding
from gpusmoke.presentation.html.page import write
from gpusmoke.record import read

DATA = Path(__file__).parents[1] / "data"
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif("sys.platform == 'win32'", reason="the browser is driven by pipes"),
]

# Texts of a figure that share a place, as pairs. Two pixels are what the boxes of neighbouring lines may share.
OVERLAPS = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const boxes = [...svg.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect()]);
  return boxes.flatMap(([name, a], at) => boxes.slice(at + 1).filter(([_, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3).map(([other]) => name + " / " + other));
})"""
# Texts that the line of a datasheet's peak runs through.
CROSSED = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const lines = [...svg.querySelectorAll("path")].filter(one => one.style.stroke.includes("--peak"))
    .map(one => one.getBoundingClientRect());
  return [...svg.querySelectorAll("text")].filter(one => {
    const box = one.getBoundingClientRect();
    return lines.some(line => line.width < 3 && box.left < line.left && line.right < box.right &&
      Math.min(line.bottom, box.bottom) - Math.max(line.top, box.top) > 3);
  }).map(one => one.textContent);
})"""
OUTSIDE = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text, path")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.left < frame.left - 4 || box.right > frame.right + 4 || box.top < frame.top - 4 ||
      box.bottom > frame.bottom + 4;
  }).map(one => one.textContent || one.getAttribute("d").slice(0, 40));
})"""
VERDICT = """(() => {
  const box = document.querySelector("h1").getBoundingClientRect();
  return [document.querySelector("h1").textContent, box.top >= 0 && box.bottom < innerHeight && box.width > 0];
})()"""
COLOURS = """(() => {
  const fills = new Set([...document.querySelectorAll("svg text")].map(one => getComputedStyle(one).fill));
  return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, [...fills].sort()];
})()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory, made_record):
    """The pages of a real record, of one with everything, of two GPUs, and of a run that found problems."""
    folder = tmp_path_factory.mktemp("pages")
    whole = made_record()
    problems = [finding("clock-held-down", ["a: b"], gpu=0, reasons="heat"), *whole.findings]
    records = {
        "real": read(DATA / "h100-bench-method-1.json"),
        "quick": read(DATA / "h100-bench-quick.json"),
        "whole": whole,
        "two": made_record(2),
        "problem": whole._replace(findings=problems),
        "doctor": read(DATA / "cpu-doctor.json"),
    }
    for name, record in records.items():
        write(record, folder / f"{name}.html")
    return folder


@pytest.mark.parametrize("name", ["real", "quick", "whole", "two", "problem", "doctor"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_loads_alone_and_shows_its_verdict(browser, pages, name, scheme, width):
    page = pages / f"{name}.html"
    browser.open(page, scheme, width)
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    verdict = "1 problem found: clock-held-down." if name == "problem" else "Healthy."
    assert browser.evaluate(VERDICT) == [verdict, True]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERLAPS) == []
    assert browser.evaluate(CROSSED) == []
    assert browser.evaluate(OUTSIDE) == []


def test_colours_follow_the_reader_also_within_the_figures(browser, pages):
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(pages / "whole.html", scheme)
        seen[scheme] = browser.evaluate(COLOURS)
        paper, ink, texts = seen[scheme]
        assert paper != ink
        assert ink in texts
        assert len(texts) == 3  # ink, muted, and the peaks' names
        assert paper not in texts
        assert "none" not in texts
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))


def test_on_paper_it_is_dark_on_white_whatever_the_reader_prefers(browser, pages):
    browser.open(pages / "whole.html", "dark", media="print")
    paper, ink, _ = browser.evaluate(COLOURS)
    assert (paper, ink) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert browser.evaluate("document.querySelector('details').getBoundingClientRect().height") == 0


def test_a_picture_for_people(browser, pages):
    """GPUSMOKE_SHOTS names a folder for pictures of the page, to look at; else one is made and must not be blank."""
    folder = Path(os.environ.get("GPUSMOKE_SHOTS", pages))
    for name, look in {"light": {}, "dark": {"scheme": "dark"}, "phone": {"width": 390}}.items():
        browser.open(pages / "whole.html", **look)
        browser.screenshot(folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size > 30_000
    browser.pdf(folder / "paper.pdf")
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
