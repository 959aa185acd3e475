"""A repository under a project's own name: manifest, package, and the documents that are written anew."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from names import KIT, module_of
from parts import Tree

FILES = Path(__file__).with_name("files")
DESCRIPTION = "A CUDA + PyTorch project"


def current(tree: Tree) -> str:
    """What the workspace is called now: the kit's name until it was renamed."""
    return str(tomllib.loads(tree["pixi.toml"])["workspace"]["name"])


def own_package(tree: Tree) -> str:
    """The package in src/ beside the kit's. Raises LookupError where there is not one."""
    found = {match[1] for match in map(re.compile(r"src/(\w+)/__init__\.py").fullmatch, tree) if match}
    try:
        (own,) = found - {KIT}
    except ValueError:
        raise LookupError(f"one package beside {KIT} in src/") from None
    return own


def renamed(tree: Tree, name: str) -> tuple[Tree, dict[str, str]]:
    """The tree of the project `name`, and which file each moved one was."""
    old = own_package(tree)
    words = {old: module_of(name), old.replace("_", "-"): name}

    def told(text: str) -> str:
        for one, other in words.items():
            text = text.replace(one, other)
        return text

    moved = {told(file): file for file in tree if told(file) != file}
    left = {told(file): told(text) for file, text in tree.items()}
    left["pixi.toml"] = set_lines(
        left["pixi.toml"], "workspace", name=name, description=DESCRIPTION, authors=[f"The {name} authors"]
    )
    left["pyproject.toml"] = in_pyproject(left["pyproject.toml"], name)
    for file in FILES.iterdir():
        text = file.read_text(encoding="utf-8")
        left[file.name] = text.replace("{name}", name).replace("{module}", module_of(name))
    return left, moved


def in_pyproject(text: str, name: str) -> str:
    """pyproject.toml, by which pip installs the project with the kit beside it."""
    authors = [{"name": f"The {name} authors"}]
    text = set_lines(text, "project", name=name, version="0.1.0", description=DESCRIPTION, authors=authors)
    text = set_lines(text, "project", keywords=["cuda", "pytorch"])
    return set_lines(text, "tool.hatch.build.targets.wheel", packages=[f"src/{KIT}", f"src/{module_of(name)}"])


def set_lines(text: str, table: str, **values: object) -> str:
    """TOML with other values on lines that a table has. Raises LookupError where it has not."""
    before, header, rest = text.partition(f"\n[{table}]\n")
    inside, *after = re.split(r"^(?=\[)", rest, maxsplit=1, flags=re.MULTILINE)
    for key, value in values.items():
        inside, count = re.subn(rf"^{key} = .*$", lambda _: f"{key} = {toml(value)}", inside, flags=re.MULTILINE)  # noqa: B023
        if count != 1:
            raise LookupError(f"{key} in a table [{table}]")
    return "".join([before, header, inside, *after])


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"'
