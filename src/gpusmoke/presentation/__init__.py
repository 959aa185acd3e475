"""How records look to people. Nothing here decides anything."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

WHOLE = ("fleet",)  # commands whose records are shown by a module of their own, from top to bottom


def shown_by(command: str, package: str = __name__) -> ModuleType | None:
    """The module of `package` that shows a command's records, where there is one; a project may have dropped it."""
    name = f"{package}.{command}"
    return importlib.import_module(name) if command in WHOLE and importlib.util.find_spec(name) else None
