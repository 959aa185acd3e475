"""Platforms that a project never runs on, taken out of pixi.toml, ci.yml and, as a new solve would, of pixi.lock."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase

from parts import Tree, cut

DROPS = {"cuda12": "*-cuda12", "windows": "win-64-*", "aarch64": "linux-aarch64-*"}
CI = ".github/workflows/ci.yml"


def declared(manifest: str) -> dict[str, str]:
    """The conda subdir of each platform of pixi.toml, by name and in order."""
    return {row["name"]: row["platform"] for row in tomllib.loads(manifest)["workspace"]["platforms"]}


def without_platforms(tree: Tree, drop: str) -> Tree:
    """The tree without the platforms that a value of --drop stands for; unchanged where none is left."""
    platforms = declared(tree["pixi.toml"])
    kept = {name: subdir for name, subdir in platforms.items() if not fnmatchcase(name, DROPS[drop])}
    if kept == platforms:
        return tree
    tree = in_manifest(tree, platforms, kept)
    if drop == "cuda12":
        tree = swap(tree, CI, '\'["cuda13", "cuda12"]\'', "'[\"cuda13\"]'")
        # The header names one variant, and the others in brackets.
        tree = swap(tree, "pixi.toml", "pixi run -e cuda12 smoke", "pixi run -e cuda13 smoke")
        tree = swap(tree, "pixi.toml", "(also -e cuda13, -e cpu)", "(also -e cpu)")
    if drop == "windows":
        tree = swap(tree, CI, ", windows-latest]", "]")
    return tree | {"pixi.lock": in_lock(tree["pixi.lock"], platforms, kept)}


def swap(tree: Tree, file: str, old: str, new: str) -> Tree:
    """The tree with one thing in the place of another that a file has to hold."""
    if old not in tree[file]:
        raise LookupError(f"{old} in {file}")
    return tree | {file: tree[file].replace(old, new)}


def in_manifest(tree: Tree, platforms: Mapping[str, str], kept: Mapping[str, str]) -> Tree:
    """pixi.toml with these platforms alone, and without the tables, features and environments that have none left."""
    file = "pixi.toml"
    for name in (name for name in platforms if name not in kept):
        # A comment that speaks of one platform goes with it; the one about those that were never run speaks of several.
        tree = cut(tree, file, rf'(?:^  # (?!Locked)[^\n]*\n)?^  \{{ name = "{name}",[^\n]*\n')
    for feature, entry in tomllib.loads(tree[file])["feature"].items():
        old = entry.get("platforms", [])
        left = [name for name in old if name in kept]
        if left != old and left:
            tree = swap(tree, file, f"platforms = {json.dumps(old)}\n", f"platforms = {json.dumps(left)}\n")
        elif left != old:
            tree = cut(tree, file, rf"^\[feature\.{feature}\]\nplatforms = .*\n\n")
            tree = cut(tree, file, rf"^{feature} = \{{ features = .*\n")
    tables = re.findall(r'^\[((?:[\w-]+\.)*?target\.(?:"([^"]+)"|([\w-]+))\.[\w.-]+)\]$', tree[file], re.MULTILINE)
    for table, quoted, bare in tables:
        if not any(selects(quoted or bare, name, subdir) for name, subdir in kept.items()):
            tree = cut(tree, file, rf"^\[{re.escape(table)}\]\n(?:.+\n)*\n?")
    return tree


def selects(selector: str, name: str, subdir: str) -> bool:
    """Whether a [target.…] table applies to a platform."""
    family = subdir.partition("-")[0]
    return fnmatchcase(name, selector) or selector in (subdir, family) or (selector == "unix" and family != "win")


def in_lock(text: str, platforms: Mapping[str, str], kept: Mapping[str, str]) -> str:
    """pixi.lock without these platforms, which it numbers in pixi.toml's order, and the packages that only they had."""
    head, environments, packages = re.split(r"^(?=environments:\n|packages:\n)", text, flags=re.MULTILINE)
    version, *rows = re.split(r"^(?=- name: )", head, flags=re.MULTILINE)
    found = [re.findall(r"^(?:- name|  subdir): (.*)$", row, re.MULTILINE) for row in rows]
    if found != [[f"p{number}", subdir] for number, subdir in enumerate(platforms.values(), 1)]:
        raise LookupError("pixi.toml's platforms in pixi.lock")
    left = [f"p{number}" for number, name in enumerate(platforms, 1) if name in kept]
    new = {old: f"p{number}" for number, old in enumerate(left, 1)}

    def renumbered(sections: list[str], title: str) -> list[str]:
        """The sections, of the platforms that stay, under their new numbers."""
        old = [re.match(title, section)[1] for section in sections]  # type: ignore[index]
        return [
            re.sub(r"p\d+", new[name], section, count=1)
            for name, section in zip(old, sections, strict=True)
            if name in new
        ]

    head = version + "".join(renumbered(rows, r"- name: (p\d+)\n"))
    title, *blocks = re.split(r"^(?=  [\w-]+:\n)", environments, flags=re.MULTILINE)
    for block in blocks:
        channels, *lists = re.split(r"^(?=      p\d+:\n)", block, flags=re.MULTILINE)
        if lists := renumbered(lists, r"      (p\d+):\n"):
            title += channels + "".join(lists)
    used = set(re.findall(r"^      - (.*)$", title, re.MULTILINE))
    first, *entries = re.split(r"^(?=- )", packages, flags=re.MULTILINE)
    return head + title + first + "".join(entry for entry in entries if entry[2:].partition("\n")[0] in used)
