"""A record for the terminal: readable at 80 columns, with colour and without, and in a CI log."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gpusmoke.facts import Json
from gpusmoke.findings import Finding
from gpusmoke.presentation import shown_by
from gpusmoke.presentation.alike import told_once
from gpusmoke.presentation.machine import add_machine
from gpusmoke.presentation.plain import plain
from gpusmoke.record import Record

if TYPE_CHECKING:
    from rich.console import RenderableType

# Words, not symbols: they survive a log without colour and a terminal without UTF-8.
MARKS = {
    "ok": ("ok", "green"),
    "note": ("note", "cyan"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
}
MARK_WIDTH = 9
IN_TABLES = "rates-measured"  # a line for each of several GPUs, whose tables begin with all of them beside each other
PLAIN_WIDTH = 80  # where there is no terminal to ask
STYLES = {"dim": "2", "green": "32", "cyan": "36", "yellow": "33", "red": "1;31"}


class Page:
    """Collects lines for standard output. Plain text needs no rich, whose import costs doctor 0.1 s."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self.width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal else PLAIN_WIDTH
        # https://no-color.org; Windows' old console shows the codes instead of obeying them.
        self.colour = terminal and not os.environ.get("NO_COLOR") and sys.platform != "win32"
        self.lines: list[str] = []

    def _paint(self, text: str, style: str) -> str:
        """The text, and no more than text, in a style of STYLES on a terminal with colour."""
        return f"\x1b[{STYLES[style]}m{plain(text)}\x1b[0m" if self.colour and style else plain(text)

    def wrap(self, text: str, indent: int) -> list[str]:
        """The text in lines that fit beside the indent; paths and links stay whole, so that they can be copied."""
        return textwrap.wrap(text, self.width - indent, break_long_words=False, break_on_hyphens=False) or [""]

    def add(self, text: str, style: str = "", mark: str = "", marked: str = "") -> None:
        """Add one line as it is, behind a mark in a style of its own."""
        self.lines.append(self._paint(mark, marked) + self._paint(text, style))

    def add_wrapped(self, text: str, indent: int = 0, style: str = "", mark: str = "", marked: str = "") -> None:
        """Add a text in lines that fit, beside a margin that is empty but for the mark."""
        for line in self.wrap(text, indent):
            self.add(line, style, mark.ljust(indent), marked)
            mark = marked = ""

    def draw(self, table: RenderableType, width: int) -> None:
        """Add a table of rich's as plain lines."""
        from rich.console import Console

        # Without colours of its own: what it would paint, on a terminal, is no text, and `add` replaces that.
        console = Console(width=width, color_system=None, highlight=False, markup=False, emoji=False)
        with console.capture() as printed:
            console.print(table)
        for line in printed.get().splitlines():
            self.add(line.rstrip())

    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines) + "\n"

    def print(self) -> None:
        """Print everything at once."""
        sys.stdout.write(self.text())


def details(found: Finding) -> Iterator[tuple[str, str, bool]]:
    """What was read and what to type, (text, style, whether it may be wrapped), where something is wrong."""
    if found.severity in ("problem", "warning"):
        for read in (f"id: {found.id}", *found.evidence):
            yield read, "dim", True
        for step in found.advice:
            yield f"try: {step}", "", False
        if found.link:
            yield f"see: {found.link}", "dim", False


def show_finding(page: Page, about: str, found: Finding) -> None:
    """Add the sentence, after what it is about, and, where something is wrong, its details."""
    word, style = MARKS[found.severity]
    page.add_wrapped(about + found.title, MARK_WIDTH, mark=word, marked=style)
    for text, style, wrappable in details(found):
        if wrappable:
            page.add_wrapped(text, MARK_WIDTH, style)
        else:
            page.add(text, style, mark=" " * MARK_WIDTH)


def counted(number: Json, what: str) -> str:
    """So many of it, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def closing(record: Record) -> str:
    """The one sentence that says it all."""
    bad = [found.id for found in record.findings if found.severity == "problem"]
    if not record.complete:
        return "Interrupted: not complete, and so not healthy."
    if bad:
        return f"{counted(len(bad), 'problem')} found: {', '.join(dict.fromkeys(bad))}."
    warnings = sum(found.severity == "warning" for found in record.findings)
    return "Healthy." if not warnings else f"Healthy, with {counted(warnings, 'warning')}."


def show(record: Record, saved: Path | None = None) -> None:
    """Print a whole record, and where it was saved."""
    if own := shown_by(record.command):
        own.show(record)
        return
    page = Page()
    if record.command == "audit":
        from gpusmoke.presentation.audit import add_overview, is_overview

        if is_overview(record.facts):
            add_overview(page, record.facts.rows("lock.solves"))
    if record.command == "compare":
        from gpusmoke.presentation.comparison import add_comparison

        add_comparison(page, record.facts)
    # That CUDA was not exercised stands in the first line, before everything else.
    several = len({row["gpu"] for row in record.measurements}) > 1
    for about, found in told_once(sorted(record.findings, key=lambda one: one.id != "cuda-not-exercised")):
        if not (several and found.id == IN_TABLES):
            show_finding(page, about, found)
    if record.command == "doctor":
        add_machine(page, record.facts)
    if record.command == "collectives":
        from gpusmoke.presentation.collectives import add_collectives

        add_collectives(page, record.measurements)
    elif record.measurements:
        from gpusmoke.presentation.measurements import add_measurements

        add_measurements(page, record.measurements)
    page.add("")
    started = record.started.replace("T", " ").replace("Z", " UTC")
    page.add(f"gpusmoke {record.version} {record.command}, {started}, {record.seconds:.1f} s", "dim")
    if saved:
        page.add(f"Record: {saved}", "dim")
    page.add(closing(record), "green" if record.verdict == "healthy" else "red")
    page.print()
