"""What every page of GitHub-flavoured Markdown is made of: findings, and the text of a record in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from gpusmoke.findings import Finding


def told(found: Finding) -> Iterator[str]:
    """One finding as an item of a list; where something is wrong, with what to type."""
    bad = found.severity in ("problem", "warning")
    about = "" if found.gpu is None else f"GPU {found.gpu}: "
    mark = f"**{found.severity.upper()}** " if bad else ""
    yield f"- {mark}{about}{escaped(found.title)}" + (f" (`{found.id}`)" if bad else "")
    if bad and found.advice:
        yield from ("", *(f"  {line}" for line in fenced(found.advice)), "")


def fenced(steps: Sequence[str]) -> Iterator[str]:
    """Commands as a block of text, whose fence is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for step in steps for run in re.findall("`*", step)), default=0))
    yield from (f"{fence}text", *(" ".join(step.split()) for step in steps), fence)


def escaped(text: str) -> str:
    """Text of a record so that it is neither HTML nor Markdown, and stays on its line and in its cell."""
    return re.sub(r"([\\`*_|\[\]~#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
