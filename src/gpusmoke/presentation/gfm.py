"""What every page of GitHub-flavoured Markdown is made of: findings, and the text of a record in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from gpusmoke.findings import Finding
from gpusmoke.presentation.alike import told_once
from gpusmoke.presentation.plain import plain


def items(findings: Sequence[Finding]) -> list[str]:
    """Findings as the lines of a list, those that say the same of several GPUs once."""
    return [line for about, found in told_once(findings) for line in told(about, found)]


def told(about: str, found: Finding) -> Iterator[str]:
    """One finding as an item of a list, after what it is about; where something is wrong, with what to type."""
    bad = found.severity in ("problem", "warning")
    mark = f"**{found.severity.upper()}** " if bad else ""
    yield f"- {mark}{about}{escaped(found.title)}" + (f" (`{found.id}`)" if bad else "")
    if bad and found.advice:
        yield from ("", *(f"  {line}" for line in fenced(found.advice)), "")


def fenced(steps: Sequence[str]) -> Iterator[str]:
    """Commands as a block of text, whose fence is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for step in steps for run in re.findall("`*", step)), default=0))
    yield from (f"{fence}text", *map(on_one_line, steps), fence)


def escaped(text: str) -> str:
    """Text of a record so that it is neither HTML nor Markdown, and stays on its line and in its cell."""
    return re.sub(r"([\\`*_|\[\]~#])", r"\\\1", html.escape(on_one_line(text), quote=False))


def on_one_line(text: str) -> str:
    """Text of a record as a reader sees it, in whose lines nothing else can begin."""
    return plain(" ".join(text.split()))
