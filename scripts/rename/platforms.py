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
    manifest = in_manifest(tree["pixi.toml"], platforms, kept)
    workflow = tree[CI]
    if drop == "cuda12":
        workflow = swap(workflow, '\'["cuda13", "cuda12"]\'', "'[\"cuda13\"]'")
        # The header names one variant, and the others in brackets.
        manifest = swap(manifest, "pixi run -e cuda12 smoke", "pixi run -e cuda13 smoke")
        manifest = swap(manifest, "(also -e cuda13, -e cpu)", "(also -e cpu)")
    if drop == "windows":
        workflow = swap(workflow, ", windows-latest]", "]")
    return tree | {"pixi.toml": manifest, "pixi.lock": in_lock(tree["pixi.lock"], platforms, kept), CI: workflow}


def swap(text: str, old: str, new: str) -> str:
    """The text with one thing in the place of another that has to be there."""
    if old not in text:
        raise LookupError(old)
    return text.replace(old, new)


def in_manifest(text: str, platforms: Mapping[str, str], kept: Mapping[str, str]) -> str:
    """pixi.toml with these platforms alone, and without the tables, features and environments that have none left."""
    gone = [name for name in platforms if name not in kept]
    for name in gone:
        # A comment that speaks of one platform goes with it; the one about those that were never run speaks of several.
        text = cut(text, rf'(?:^  # (?!Locked)[^\n]*\n)?^  \{{ name = "{name}",[^\n]*\n')
    for feature, entry in tomllib.loads(text)["feature"].items():
        if "platforms" not in entry:
            continue
        left = [name for name in entry["platforms"] if name in kept]
        line = rf"(?<=^\[feature\.{feature}\]\n)platforms = .*$"
        if left:
            text = re.sub(line, f"platforms = {json.dumps(left)}", text, flags=re.MULTILINE)
        else:
            text = cut(text, rf"^\[feature\.{feature}\]\nplatforms = .*\n\n")
            text = cut(text, rf"^{feature} = \{{ features = .*\n")
    tables = re.findall(r'^\[((?:[\w-]+\.)*?target\.(?:"([^"]+)"|([\w-]+))\.[\w.-]+)\]$', text, re.MULTILINE)
    for table, quoted, bare in tables:
        if not any(selects(quoted or bare, name, subdir) for name, subdir in kept.items()):
            text = cut(text, rf"^\[{re.escape(table)}\]\n(?:.+\n)*\n?")
    if list(declared(text)) != list(kept):
        raise LookupError(f"platforms {', '.join(gone)}")
    return text


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
