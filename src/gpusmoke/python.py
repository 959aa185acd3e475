"""How the kit starts another Python: the same interpreter and packages, and nothing of the folder it stands in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

KIT = str(Path(__file__).parents[1])


def command(*arguments: str) -> list[str]:
    """A command line for this interpreter.

    -P: neither the user's folder nor the program's may hold modules that are taken for others (a json.py, a torch/).
    """
    return [sys.executable, "-P", *arguments]


def environment() -> dict[str, str]:
    """The environment of this process, with what it can import handed on, whatever put it on the path."""
    path = sys.path if sys.flags.safe_path else sys.path[1:]  # the first is where the user, or the program, stands
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *([] if KIT in path else [KIT])])}
