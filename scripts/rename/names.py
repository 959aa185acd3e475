"""Which names a project may take: what pip, Python and the packages that it depends on allow."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatch

KIT = "gpusmoke"
LONGEST = 40
# PEP 508's rule for names.
NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE | re.ASCII)
REQUIREMENT = re.compile(r'"([A-Za-z][\w.-]*?)[><=~!][^"]*"')
LOCKED = re.compile(r"/([^/]+)-[^-/]+-[^-/]+\.(?:conda|tar\.bz2)$", re.MULTILINE)
IMPORTED = re.compile(r"^\s*(?:from (?=\S+ import )|import (?=[\w., ]+(?:#|$)))([A-Za-z]\w*)", re.MULTILINE)


def module_of(name: str) -> str:
    """The Python package of a project: my-project is imported as my_project."""
    return re.sub("[-.]", "_", name).lower()


def taken(tree: Mapping[str, str]) -> dict[str, str]:
    """The modules that a repository has no room for, each with the reason."""
    reasons = {
        "is imported by the kit or its tests": ("*.py", IMPORTED),
        "is a package that the project depends on": ("pyproject.toml", REQUIREMENT),
        "is in pixi.lock, a package that the project depends on": ("pixi.lock", LOCKED),
    }
    found: dict[str, str] = {}
    for reason, (pattern, names) in reasons.items():
        for file in (file for file in tree if fnmatch(file, pattern)):
            found |= {module_of(name): reason for name in names.findall(tree[file])}
    for file in tree:
        top, *below = file.split("/")
        found[module_of(top.removesuffix(".py"))] = "is a file or folder of this repository"
        if top == "src":
            found[below[0]] = "is a package in src/ already"
    return found | {KIT: "is the kit, which keeps its name"}


def refusal(name: str, taken: Mapping[str, str]) -> str | None:
    """Why a project can't be called so, in one sentence, or None where it can."""
    module = module_of(name)
    if not NAME.fullmatch(name):
        return f"{name!r} is no name for a package: take letters, digits, '-', '_' and '.', no sign first or last"
    if not module.isidentifier():
        return f"{name!r} can't be imported, since Python allows no {module!r}: begin with a letter"
    if len(name) > LONGEST:
        return f"{name!r} is longer than {LONGEST} characters: lines of code would get too long"
    if keyword.iskeyword(module):
        return f"{name!r} can't be imported, since {module!r} is a word of Python's language"
    if module in sys.stdlib_module_names:
        return f"{name!r} is taken: {module!r} is a part of Python"
    if module in taken:
        return f"{name!r} is taken: {module!r} {taken[module]}"
    return None
