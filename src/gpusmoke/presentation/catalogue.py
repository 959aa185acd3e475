"""The catalogue of findings for people: as a list, and one entry at length."""

from __future__ import annotations

import difflib
import json
import re

from gpusmoke.errors import UsageError
from gpusmoke.facts import Json
from gpusmoke.findings import catalogue
from gpusmoke.presentation.terminal import MARKS, Page

HEADING = """\
# What can go wrong, and what to type

Every problem and warning that gpusmoke knows by name. `pixi run doctor --explain ID` tells one in the terminal.
Written by `pixi run doctor --list --markdown > docs/failures.md` from [the catalogue](../src/gpusmoke/data/findings).

Each of them has a [test](../tests/gpusmoke/failures) that drives the real program into it: "tested with" says what
stands in for the machine there. What was brought about on a real GPU too says so: on one H100, driver 580.159.04.
"""
STAND_INS = {
    "driver": "a stand-in driver and file tree",
    "pixi": "a stand-in Pixi",
    "pytorch": "a PyTorch that misbehaves",
    "lock": "an altered pixi.toml and pixi.lock",
    "needs": "results of CI jobs",
    "compiler": "environments without a compiler, and sources that are wrong",
    "record": "edited records",
}
LIBRARIES = {
    "cuda": "CUDA error at its start",
    "kernel": "CUDA error at work",
    "nvcc": "CUDA error of a kernel that nvcc built",
    "nvml": "NVML error at its start",
    "gpu": "NVML error of one GPU",
}


def blank(text: str) -> str:
    """The text with {words} shown as <words>, since no machine has filled them in."""
    words = re.sub(r"(?<!\{)\{(\w+)[^}]*\}", r"<\1>", text)
    return words.replace("{{", "{").replace("}}", "}")


def to_json() -> list[dict[str, Json]]:
    """The whole catalogue as a list."""
    return [{"id": kind, **entry} for kind, entry in catalogue().items()]


def add_list(page: Page) -> None:
    """Add every finding there is, with its severity and sentence."""
    for kind, entry in catalogue().items():
        word, style = MARKS[entry["severity"]]
        page.add(kind, mark=word.ljust(9), marked=style)
        page.add_wrapped(blank(entry["title"]), 9, "dim")


def add_entry(page: Page, kind: str) -> None:
    """Add one finding at length: what it means, by which codes it is known, and what to type."""
    entry = catalogue()[kind]
    word, style = MARKS[entry["severity"]]
    page.add(f" {kind}", mark=word, marked=style)
    for part in (blank(entry["title"]), entry.get("explain")):
        if part:
            page.add("")
            page.add_wrapped(part)
    known = codes(entry)
    if known or "provoked" in entry:
        page.add("")
    for text in known:
        page.add_wrapped(f"Known by: {text}")
    if provoked := entry.get("provoked"):
        page.add_wrapped(f"Seen on a real GPU: {provoked}")
    if advice := entry.get("advice"):
        page.add("")
        page.add("Try, in this order:")
        for step in advice:
            page.add(f"  {blank(step)}")
    if link := entry.get("link"):
        page.add("")
        page.add(f"See: {link}", "dim")


def codes(entry: dict[str, Json]) -> list[str]:
    """The error numbers, and the words of libraries, that a finding is known by."""
    known = [f"{name} {', '.join(map(str, entry[key]))}" for key, name in LIBRARIES.items() if key in entry]
    return [*known, *(f'the words "{words}"' for words in entry.get("says", ()))]


def to_markdown() -> str:
    """docs/failures.md: every problem and warning of the catalogue."""
    lines = [HEADING]
    for kind, entry in catalogue().items():
        if entry["severity"] in ("problem", "warning"):
            facts = [f"*{entry['severity']}*", *(f"known by {text}" for text in codes(entry))]
            title = blank(entry["title"]).replace("<", "&lt;")
            lines += [f"### {kind}", "", f"{title} ({'; '.join(facts)})", ""]
            lines += [entry["explain"], ""] if "explain" in entry else []
            if advice := entry.get("advice"):
                lines += ["```console", *(f"$ {blank(step)}" for step in advice), "```", ""]
            lines += [f"Tested with {' and '.join(STAND_INS[one] for one in entry['tested'])}.", ""]
            lines += [f"Brought about on a real GPU: {entry['provoked']}.", ""] if "provoked" in entry else []
            lines += [f"[More]({entry['link']})", ""] if "link" in entry else []
    return "\n".join(lines).rstrip() + "\n"


def told(kind: str | None, as_json: bool = False, as_markdown: bool = False) -> str:
    """The catalogue as text, or one entry of it. Raises UsageError where there is no such finding."""
    if as_markdown:
        return to_markdown()
    page, entries = Page(), [entry for entry in to_json() if kind in (None, entry["id"])]
    if kind is not None and not entries:
        near = difflib.get_close_matches(kind, catalogue(), n=1) or [one for one in catalogue() if kind in one]
        hint = f"did you mean {near[0]}?" if near else "doctor --list has them all"
        raise UsageError(f"there is no finding {kind!r}; {hint}")
    if as_json:
        return json.dumps(entries if kind is None else entries[0], indent=1) + "\n"
    if kind is None:
        add_list(page)
    else:
        add_entry(page, kind)
    return page.text()
