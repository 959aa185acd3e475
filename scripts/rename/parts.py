"""The parts of the template that a project of one's own does without, as parts.toml names them."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

Tree = dict[str, str]
"""The text of each file by its path in the repository, as git writes it."""

LINK = re.compile(r"\[([^]\[]*)\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


class Part(NamedTuple):
    """A row of parts.toml, which tells what each field is."""

    name: str
    what: str
    files: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    sections: Mapping[str, str] = {}
    needs: tuple[str, ...] = ()
    whole: bool = False
    always: bool = False

    def holds(self, file: str) -> bool:
        """Whether a file belongs to it; a star of fnmatch takes slashes as well."""
        return any(fnmatchcase(file, pattern) for pattern in self.files)


def parts() -> dict[str, Part]:
    """All of them by name."""
    rows: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("parts.toml").read_text(encoding="utf-8"))
    return {name: Part(name, needs=row.pop("with", ()), **row) for name, row in rows.items()}


def dropped(kept: Iterable[str]) -> list[Part]:
    """The parts that go where these are to be kept, and with them what they need."""
    every = parts()
    kept = {needed for name in kept for needed in (name, *every[name].needs)}
    return [part for name, part in every.items() if name not in kept]


def without(tree: Tree, parts: Iterable[Part]) -> Tree:
    """The tree without these parts, and without what other files say of them."""
    left = dict(tree)
    for part in parts:
        left = {file: text for file, text in left.items() if not part.holds(file)}
        for task in part.tasks:
            left = without_task(left, task)
        for file, heading in part.sections.items():
            left = cut(left, file, rf"\n## {re.escape(heading)}\n(?s:.*?)(?=\n## |\Z)")
    documents = {file: unlinked(file, tree, left) for file in left if file.endswith(".md")}
    return left | documents


def without_task(tree: Tree, task: str) -> Tree:
    """The tree without a task of pixi.toml, its line in the header, its session of nox and its steps in CI."""
    run = r"^      - run: (?:./scripts/must-fail \d+ \S+ )?pixi run (?:-e \w+ )?"
    for file, lines in (
        ("pixi.toml", rf"^#     pixi run {task}\b.*\n"),
        ("pixi.toml", rf"^{task} = \{{ cmd = .*\n"),
        ("noxfile.py", rf"^@session\ndef {task}\((?s:.*?)\n\n\n"),
        (".github/workflows/ci.yml", rf"{run}{task}\b.*\n"),
    ):
        tree = cut(tree, file, lines)
    return tree


def cut(tree: Tree, file: str, pattern: str) -> Tree:
    """The tree without what matches in one file, where it has to: a file in another form must not be passed over."""
    text, count = re.subn(pattern, "", tree[file], flags=re.MULTILINE)
    if not count:
        raise LookupError(f"{pattern} in {file}")
    return tree | {file: text}


def unlinked(file: str, before: Tree, after: Tree) -> str:
    """A document whose links to what is gone have become plain words."""

    def is_in(tree: Tree, target: str) -> bool:
        return target in tree or any(other.startswith(f"{target}/") for other in tree)

    def plain(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), link[2]))
        return link[1] if is_in(before, target) and not is_in(after, target) else link[0]

    return LINK.sub(plain, after[file])
