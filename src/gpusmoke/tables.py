"""The data files that people extend."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from gpusmoke.facts import Json

DATA = Path(__file__).parent / "data"


@cache
def table(name: str) -> dict[str, Json]:
    """A file of data/, by its name without .toml; read once, so nobody may change what comes back."""
    content: dict[str, Json] = tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))
    return content
