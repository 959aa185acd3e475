"""Copies of the kernels with something changed: that shows what it was good for, or that its loss is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gpusmoke.kernels.matmul import HERE

Edits = Sequence[tuple[str, str, str]]
"""File, what stands there, and what takes its place."""


def variant(folder: Path, edits: Edits) -> Path:
    """A copy of the kernels in `folder`, changed; raises ValueError where something is not there any more."""
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in edits:
        text = (folder / name).read_text()
        if old not in text:
            raise ValueError(f"{name} does not hold {old!r}")
        (folder / name).write_text(text.replace(old, new))
    return folder
