"""What a CUDA build of PyTorch needs of a driver and of a card. Data: data/builds.toml. None is "not on file"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from gpusmoke.facts import Json
from gpusmoke.findings.platforms import version
from gpusmoke.tables import table

# Jetson chips are outside the rule that binaries of X.y run on X.z: nothing is known until a kernel has run.
TEGRA = ("7.2", "8.7")


@dataclass(frozen=True)
class Build:
    """One PyTorch build: the CUDA it was compiled with, what it holds code for, and how pixi.toml gets it today."""

    channel: str
    cuda: str
    architectures: tuple[str, ...]
    lines: dict[str, Json] | None

    @property
    def string(self) -> str:
        """The start of its build string, as in "cuda129"."""
        return "cuda" + self.cuda.replace(".", "")


@cache
def builds() -> tuple[Build, ...]:
    """Every build on file, newest first."""
    return tuple(
        Build(row["channel"], row["cuda"], tuple(row["architectures"]), row.get("lines"))
        for row in table("builds")["build"]
    )


def cuda_of_build(build: str) -> str | None:
    """The CUDA that a build string or a local version names: 13.0 for cuda130_mkl_…, py3.11_cuda13.0_… and cu130."""
    named = re.search(r"cu(?:da)?(\d\d)\.?(\d)", build)
    return f"{named[1]}.{named[2]}" if named else None


def is_cpu(build: str) -> bool:
    """Whether a build string or a local version says that it is for the CPU."""
    return re.search(r"(^|_)cpu", build) is not None


def architectures(channel: str, cuda: str) -> tuple[str, ...] | None:
    """The compute capabilities that a channel's build for a CUDA version holds; of a major alone, its newest build."""
    exact = "." in cuda
    for build in builds():
        if build.channel == channel and cuda == (build.cuda if exact else build.cuda.split(".")[0]):
            return build.architectures
    return None


class Code(NamedTuple):
    """One entry of an arch list: machine code for a capability, source (PTX) for newer ones, or both."""

    capability: tuple[int, ...]
    machine: bool
    source: bool
    exact: bool


def code(entry: str) -> Code | None:
    """An entry as TORCH_CUDA_ARCH_LIST writes it, 12.0+PTX, or torch.cuda.get_arch_list(): sm_90a, compute_120."""
    if named := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", entry):
        kind, major, minor, suffix = named.groups()
        return Code((int(major), int(minor)), kind == "sm", kind == "compute", suffix == "a")
    if named := re.fullmatch(r"(\d+)\.(\d)([af]?)(\+PTX)?", entry):
        major, minor, suffix, source = named.groups()
        return Code((int(major), int(minor)), True, source is not None, suffix == "a")
    return None


def runs_on(capability: str, entries: Iterable[str], *, jit: bool) -> bool | None:
    """Whether a card of that compute capability runs a build with these architectures; None where nobody can say.

    Machine code for X.y runs on X.z with z >= y. PTX runs on every newer card where `jit`: where the driver is at least
    as new as the toolkit that made it.
    """
    card = version(capability)
    if len(card) != 2 or capability in TEGRA:
        return None
    held = [one for one in map(code, entries) if one is not None]
    return any(
        one.capability == card
        if one.exact
        else (one.machine and one.capability[0] == card[0] and one.capability <= card)
        or (one.source and jit and one.capability <= card)
        for one in held
    )


def _toolkit(cuda: str) -> dict[str, Json] | None:
    """The newest toolkit on file that is not above `cuda` and of its major, which is a lower bound for it."""
    asked = version(cuda)
    below = [
        row
        for row in table("builds")["toolkit"]
        if asked[:1] == version(row["cuda"])[:1] and version(row["cuda"]) <= asked
    ]
    return below[-1] if below else _compatible(cuda)


def _compatible(cuda: str) -> dict[str, Json] | None:
    """What every build of this CUDA's major runs with."""
    return next((row for row in table("builds")["compatibility"] if version(cuda)[:1] == (row["major"],)), None)


def _rows(declared: str | None, built: str | None) -> list[dict[str, Json] | None]:
    """What has to be met: Pixi holds the driver to what its platform declares, CUDA to the major of the build."""
    return [
        *([_toolkit(declared)] if declared is not None else []),
        *([_compatible(built)] if built is not None else []),
    ]


def lowest_driver(system: str, declared: str | None, built: str | None) -> str | None:
    """The lowest driver that runs a build on a platform that declares a CUDA, on "linux" or "win"."""
    column = "windows" if system == "win" else "linux"
    figures = [row.get(column) if row else None for row in _rows(declared, built)]
    known = [figure for figure in figures if isinstance(figure, str)]
    return max(known, key=version) if known and len(known) == len(figures) else None


def branch(system: str, declared: str | None, built: str | None) -> str | None:
    """The same where a branch will do; they are numbered alike on both systems, and on Windows some have no figure."""
    if (lowest := lowest_driver(system, declared, built)) is not None:
        return lowest
    lowest = lowest_driver("linux", declared, built)
    return lowest and lowest.split(".")[0]


def is_new_enough(driver: str, lowest: str) -> bool:
    """Whether a driver is at least the lowest one; where only its branch is told, whether the branch is."""
    told = version(driver)
    return version(lowest)[: len(told)] <= told
