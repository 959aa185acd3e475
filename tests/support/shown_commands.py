"""Judges commands and TOML that documents show: by the tasks, the kit's parsers, Pixi's options and the manifest."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch

from markdown_pages import ROOT, simple_commands

from gpusmoke.cli import COMMANDS, parser_of
from gpusmoke.errors import UsageError
from gpusmoke.facts.workspace import declared_platforms

MANIFEST = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
PIXI = tomllib.loads((ROOT / "tests/workspace/pixi-commands.toml").read_text(encoding="utf-8"))
COMMON = PIXI.pop("common")
# What may follow `pixi run` and is no task.
PROGRAMS = ("python", "nvcc")
# The tasks whose arguments are the kit's; those of others are another program's.
KIT = {
    name
    for table in (MANIFEST, *MANIFEST["feature"].values())
    for name, entry in table.get("tasks", {}).items()
    if f"-m gpusmoke {name}" in entry["cmd"]
}
# What stands for something else in documents.
PLACEHOLDERS = {"VERSION": "580.65", "X.Y": "8.6", "<capability>": "8.6", "<variant>": "cuda12", "<instead>": "cuda12"}
PLACEHOLDERS |= {"<environment>": "default", "<runs>": "13.0"}
# Files that a command names have to be there, where they are of this repository.
FOLDERS = ("benchmarks", "container", "docs", "scripts", "src", "tests")


def tasks_of(manifest: dict) -> dict[str, set[str]]:
    """Each environment's tasks."""
    features = {"default": manifest, **manifest.get("feature", {})}
    found = {}
    for name, entry in manifest["environments"].items():
        used = entry.get("features", []) + ([] if entry.get("no-default-feature") else ["default"])
        found[name] = {task for feature in used for task in features[feature].get("tasks", {})}
    return found


TASKS = tasks_of(MANIFEST)


def problems(line: str) -> list[str]:
    """What is wrong with a command line as far as it concerns this repository and Pixi."""
    for placeholder, value in PLACEHOLDERS.items():
        line = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?!\w)", value, line)
    line = re.sub(r"<(\w+)>", r"\1", line)
    try:
        return [one for words in simple_commands(line) for one in problems_of(words)]
    except ValueError as error:  # a quote without its other half
        return [str(error)]


def problems_of(words: list[str]) -> list[str]:
    """The same of one command."""
    program, rest = words[0], words[1:]
    missing = [f"there is no {word}" for word in rest if is_missing(word)]
    if program == "pixi":
        return missing + pixi(rest)
    if program == "./scripts/run":
        return missing + task(rest, set().union(*TASKS.values()))
    if program in ("python", "python3") and "-m" in rest and rest[rest.index("-m") + 1] == "gpusmoke":
        return missing + kit(rest[rest.index("-m") + 2 :])
    if program == "gpusmoke" or (program == "uvx" and "gpusmoke" in rest):
        return missing + kit([*rest[rest.index("gpusmoke") + 1 :]] if program == "uvx" else rest)
    if program.startswith("./") and not (ROOT / program).exists():
        return [*missing, f"there is no {program}"]
    return missing


def is_missing(word: str) -> bool:
    """Whether it names a file of this repository that is not there."""
    first, slash, _ = word.partition("/")
    return bool(slash) and first in FOLDERS and not (ROOT / word.split("::")[0]).exists()


def taken(words: list[str], options: list[str]) -> tuple[list[str], list[str], dict[str, str]]:
    """What is wrong with the options up to the first other word, the words from there on, and the values."""
    values, wrong = {}, []
    while words and words[0].startswith("-") and words[0] != "--":
        name, equals, value = words[0].partition("=")
        words = words[1:]
        if f"{name}=" in options:
            if not equals and not words:
                wrong.append(f"{name} wants a value")
            elif not equals:
                value, words = words[0], words[1:]
            values[name] = value
        elif name not in options or equals:
            wrong.append(f"no such option: {name}")
    return wrong, words, values


def pixi(words: list[str]) -> list[str]:
    """What is wrong with the words after `pixi`."""
    if words in ([], ["--version"]):
        return []
    name = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in PIXI), None)
    if name is None:
        return [f"no such command: pixi {' '.join(words[:2])}"]
    entry, rest, arguments = PIXI[name], words[len(name.split()) :], []
    options = entry["options"] + COMMON
    wrong, rest, values = taken(rest, options)
    if name == "run":
        return wrong + run(rest, values)
    while rest:
        arguments.append(rest[0])
        more, rest, found = taken(rest[1:], options)
        wrong, values = wrong + more, values | found
    if len(arguments) > entry.get("arguments", len(arguments)):
        wrong.append(f"pixi {name} takes fewer arguments than {arguments}")
    return wrong + (environment(values) if name in ("install", "shell", "shell-hook", "list", "tree") else [])


def environment(values: dict[str, str]) -> list[str]:
    """Whether the environment that is named is one."""
    name = values.get("-e", values.get("--environment", "default"))
    return [] if name in (*TASKS, "NAME") else [f"no such environment: {name}"]


def run(words: list[str], values: dict[str, str]) -> list[str]:
    """What is wrong with the words after `pixi run` and its options."""
    wrong = environment(values)
    named = values.get("-e", values.get("--environment"))
    if wrong or not words or words[0] in PROGRAMS:
        return wrong
    return task(words, TASKS[named] if named else set().union(*TASKS.values()))


def task(words: list[str], known: set[str]) -> list[str]:
    """What is wrong with a task and its arguments. In capitals it stands for any."""
    if not words:
        return ["no task is named"]
    name = words[0]
    if name in ("TASK", "NAME"):
        return []
    if name not in known:
        return [f"no such task there: {name} {' '.join(words[1:])}".rstrip()]
    return kit(words) if name in KIT else []


def kit(words: list[str]) -> list[str]:
    """What the kit's own parser says against the words after `gpusmoke`."""
    if words in (["--help"], ["--version"], []) or words[0] == "COMMAND" or words[1:] == ["--help"]:
        return []
    if words[0] not in COMMANDS:
        return [f"no such command: gpusmoke {words[0]}"]
    try:
        parser_of(words[0]).parse_args(words[1:])
    except UsageError as error:
        return [str(error)]
    return []


TABLES = {
    "workspace": {"name", "channels", "platforms", "version", "requires-pixi", "exclude-newer"},
    "platforms": {"name", "platform", "cuda"},
    "spec": {"version", "build"},
    "environment": {"features", "solve-group", "no-default-feature"},
    "feature": {"platforms", "dependencies", "target", "tasks", "activation"},
    "top": {"workspace", "dependencies", "target", "feature", "environments", "tasks", "activation"},
}


def toml_problems(text: str) -> list[str]:
    """What is wrong with a piece of a manifest. The deprecated table may be shown, below a comment that says Before."""
    try:
        shown = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [str(error)]
    if text.startswith("# Before"):
        shown.pop("system-requirements", None)
    wrong = [f"not in a manifest: {key}" for key in shown.keys() - TABLES["top"]]
    workspace = shown.get("workspace", {})
    wrong += [f"not in [workspace]: {key}" for key in workspace.keys() - TABLES["workspace"]]
    entries = [entry for entry in workspace.get("platforms", []) if isinstance(entry, dict)]
    wrong += [f"not of a platform: {key}" for entry in entries for key in entry.keys() - TABLES["platforms"]]
    names = {platform["name"] for platform in declared_platforms(shown if "platforms" in workspace else MANIFEST)}
    features = {**({} if "environments" in shown else MANIFEST["feature"]), **shown.get("feature", {})}
    for name, feature in shown.get("feature", {}).items():
        wrong += [f"not of a feature: {key}" for key in feature.keys() - TABLES["feature"]]
        wrong += [
            f"feature {name}: no such platform: {one}" for one in feature.get("platforms", []) if one not in names
        ]
    for name, entry in shown.get("environments", {}).items():
        wrong += [f"not of an environment: {key}" for key in entry.keys() - TABLES["environment"]]
        known = features.keys() | MANIFEST["feature"].keys()
        wrong += [
            f"environment {name}: no such feature: {one}" for one in entry.get("features", []) if one not in known
        ]
    for selector in shown.get("target", {}):
        if not any(fnmatch(name, selector) for name in names):
            wrong.append(f"no platform matches: {selector}")
    specs = [shown.get("dependencies", {}), *(t.get("dependencies", {}) for t in shown.get("target", {}).values())]
    for table in specs:
        for name, spec in table.items():
            if isinstance(spec, dict):
                wrong += [f"not of {name}: {key}" for key in spec.keys() - TABLES["spec"]]
    return wrong


def is_manifest(text: str) -> bool:
    """Whether the block is a piece of a manifest, and not another TOML file."""
    return bool(re.search(r"^\[(workspace|system-requirements|dependencies|feature|environments|target)\b", text, re.M))
