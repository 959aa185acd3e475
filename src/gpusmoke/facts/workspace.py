"""Facts about the Pixi workspace: what is declared, what is installed, and what Pixi itself says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Json
from gpusmoke.facts.host import read

PIXI_DEADLINE_SECONDS = 15.0
CONFLICT_MARKS = ("<<<<<<<", ">>>>>>>")


def project_root() -> Path | None:
    """The workspace that the commands are about: Pixi's own word for it, else the nearest pixi.toml upwards."""
    given = os.environ.get("PIXI_PROJECT_ROOT")
    if given:
        return Path(given)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "pixi.toml").is_file()), None)


def running_environment() -> dict[str, Json] | None:
    """The Pixi environment that this Python runs in: its own, the one its venv was made from, or the activated one.

    One of another workspace may be activated as well, and says nothing about this Python.
    """
    activated, project = os.environ.get("CONDA_PREFIX", ""), os.environ.get("PIXI_PROJECT_ROOT", "")
    prefixes = (sys.prefix, sys.base_prefix, activated if project and Path(project) in Path(activated).parents else "")
    return next((row for prefix in prefixes if prefix and (row := installed_environment(Path(prefix)))), None)


def read_manifest(project: Path | None) -> dict[str, Json]:
    """The manifest, parsed; empty where there is none. Manifest and lock are read before anything else is concluded.

    Raises UsageError where one of them exists and can't be read: every later answer would be a guess.
    """
    if project is None:
        return {}
    name = "pixi.toml"
    try:
        manifest = tomllib.loads((project / name).read_text(encoding="utf-8"))
        name = "pixi.lock"
        lock = (project / name).read_bytes().decode() if (project / name).exists() else "version:"
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{name} can't be read ({error}); restore it: git checkout -- {name}") from None
    if lock.startswith(CONFLICT_MARKS) or any(f"\n{mark}" in lock for mark in CONFLICT_MARKS):
        cure = "take one side and update it: git checkout --ours pixi.lock && pixi lock"
        raise UsageError(f"pixi.lock holds a merge conflict; {cure}")
    if not lock.startswith("version:"):
        raise UsageError("pixi.lock does not start with its version; restore it: git checkout -- pixi.lock")
    return manifest


def cuda_of(virtual_packages: Json, name: str = "__cuda") -> str | None:
    """The version of __cuda among virtual packages as Pixi writes them: strings "name=version=build" or objects."""
    for package in virtual_packages if isinstance(virtual_packages, list) else []:
        if isinstance(package, str) and re.match(rf"(__)?{name.removeprefix('__')}=", package):
            return package.split("=")[1]
        if isinstance(package, dict) and package.get("name") == name:
            return str(package.get("version"))
    return None


def installed_environment(prefix: Path) -> dict[str, Json] | None:
    """Name and platform that the environment in `prefix` was installed for, or None where Pixi made none there."""
    text = read(prefix / "conda-meta" / "pixi")
    try:
        marker = json.loads(text)
        resolved = marker.get("resolved_platform") or {}
        return {
            "environment": str(marker["environment_name"]),
            "subdir": resolved.get("subdir"),
            "cuda": cuda_of(resolved.get("virtual_packages")),
        }
    except (ValueError, KeyError, AttributeError):
        return None


def declared_platforms(manifest: dict[str, Json]) -> list[dict[str, Json]]:
    """The entries of workspace.platforms in their order: name, subdir, lowest driver CUDA, lowest GPU architecture."""
    rows = []
    for entry in manifest["workspace"]["platforms"]:
        row = {"platform": entry} if isinstance(entry, str) else entry
        cuda = row.get("cuda")
        rows.append(
            {
                "name": row.get("name", row["platform"]),
                "subdir": row["platform"],
                "cuda": cuda.get("driver") if isinstance(cuda, dict) else cuda,
                "arch": cuda.get("arch") if isinstance(cuda, dict) else None,
            }
        )
    return rows


def environment_platforms(manifest: dict[str, Json]) -> dict[str, list[str]]:
    """The names of the platforms that each environment may use, in the workspace's order."""
    names = [row["name"] for row in declared_platforms(manifest)]
    environments = {"default": [], **manifest.get("environments", {})}
    allowed = {}
    for name, entry in environments.items():
        features = entry.get("features", []) if isinstance(entry, dict) else entry
        bound = [manifest["feature"][feature].get("platforms") for feature in features]
        allowed[name] = [n for n in names if all(n in platforms for platforms in bound if platforms is not None)]
    return allowed


class PixiInfo:
    """`pixi info --json` running in the background, with its own deadline; nothing where Pixi is not on PATH."""

    def __init__(self, project: Path | None) -> None:
        self.executable = os.environ.get("PIXI_EXE") or shutil.which("pixi")
        self.process = None
        self.seconds: float | None = None
        self._started = time.monotonic()
        if self.executable:
            with contextlib.suppress(OSError):  # PIXI_EXE of a Pixi that is gone
                self.process = subprocess.Popen(
                    [self.executable, "info", "--json"],
                    cwd=project,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )

    def answer(self) -> tuple[dict[str, Json], str | None]:
        """Pixi's answer, or nothing and the reason."""
        if self.process is None:
            return {}, "Pixi is not on PATH"
        try:
            out, _ = self.process.communicate(timeout=PIXI_DEADLINE_SECONDS)
            self.seconds = round(time.monotonic() - self._started, 2)
            answer = json.loads(out)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return {}, f"`pixi info` gave no answer within {PIXI_DEADLINE_SECONDS:.0f} s"
        except ValueError:
            return {}, f"`pixi info` ended with {self.process.returncode} and printed no JSON"
        return (answer, None) if isinstance(answer, dict) else ({}, "`pixi info` printed no JSON object")


def workspace_facts(project: Path | None, manifest: dict[str, Json], info: PixiInfo) -> dict[str, Fact]:
    """Facts named pixi.*; waits for `pixi info`."""
    answer, reason = info.answer()
    seen = cuda_of(answer.get("virtual_packages"))
    current = running_environment()
    facts = {
        "pixi.executable": Fact(info.executable, "PIXI_EXE, PATH", None if info.executable else "not on PATH"),
        "pixi.version": Fact(answer.get("version"), "pixi info", reason),
        "pixi.cuda": Fact(seen, "pixi info", reason or (None if seen else "Pixi sees no __cuda")),
        "pixi.cuda_arch": Fact(cuda_of(answer.get("virtual_packages"), "__cuda_arch"), "pixi info", reason),
        "pixi.info_seconds": Fact(info.seconds, "pixi info", reason),
        "pixi.current": Fact(
            current, "conda-meta/pixi of the running environment", None if current else "not a Pixi environment"
        ),
    }
    if project is None or not manifest:
        return facts | {"pixi.platforms": Fact(None, "pixi.toml", "no pixi.toml in this folder or above")}
    try:
        facts["pixi.platforms"] = Fact(declared_platforms(manifest), "pixi.toml")
        facts["pixi.environments"] = Fact(environment_platforms(manifest), "pixi.toml")
    except (KeyError, TypeError, AttributeError) as error:
        facts["pixi.platforms"] = Fact(None, "pixi.toml", f"no platforms to be read: {type(error).__name__} {error}")
    # Detached environments lie elsewhere: Pixi links .pixi/envs to them, and tells their prefixes.
    rows = answer.get("environments_info")
    told = [row.get("prefix") for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict)]
    prefixes = {path.resolve() for path in (project / ".pixi/envs").glob("*")}
    prefixes |= {Path(prefix).resolve() for prefix in told if isinstance(prefix, str)}
    installed = [row for prefix in sorted(prefixes) if (row := installed_environment(prefix))]
    return facts | {"pixi.installed": Fact(installed, "conda-meta/pixi of each environment")}
