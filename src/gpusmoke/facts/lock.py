"""Facts about what pixi.lock holds: one row for each platform and each set of packages that environments get there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Json
from gpusmoke.facts.workspace import cuda_of, declared_platforms, environment_platforms

# Packages whose version is that of the CUDA toolkit; cuFFT, cuRAND, cuSOLVER and cuDNN count for themselves.
TOOLKIT = re.compile(r"cuda-(version|cudart|nvrtc|nvcc|cupti)|lib(cublas|nvjitlink)|nvidia-(cublas|cuda-runtime)")
# PyPI's packages for one CUDA major carry it in their name.
OF_ONE_MAJOR = re.compile(r"nvidia-.+-cu\d\d")
LARGEST = 3

# What tells the lock's platforms apart, which it only numbers. A lock of another day may have been made for other
# CUDA versions: there the major has to do, or that CUDA is declared at all.
ALIKE: tuple[Callable[[str, str | None], object], ...] = (
    lambda subdir, cuda: (subdir, cuda),
    lambda subdir, cuda: (subdir, (cuda or "").split(".")[0]),
    lambda subdir, cuda: (subdir, cuda is None),
)


class Manifest(NamedTuple):
    """What pixi.toml declares: its platforms in order, and the names of those that each environment may use."""

    platforms: list[dict[str, Json]]
    environments: dict[str, list[str]]


def read_lock(path: Path) -> Any:  # noqa: ANN401 - py-rattler is imported only here, and only by `audit`
    """The lock, parsed. Raises UsageError where it can't be, or where py-rattler is missing."""
    try:
        from rattler import LockFile
        from rattler.exceptions import ParseCondaLockError
    except ModuleNotFoundError:
        raise UsageError("audit reads locks with py-rattler, which this Python lacks: pip install py-rattler") from None
    try:
        return LockFile.from_path(path)
    except ParseCondaLockError as error:
        raise UsageError(f"{path} can't be read as a lock of Pixi: {' '.join(str(error).split())}") from None


def platform_names(declared: Sequence[Mapping[str, Json]], locked: Sequence[Any], loosely: bool) -> dict[str, str]:
    """The manifest's name for each platform of a lock; where several are alike, their order tells."""
    free, names = list(declared), {}
    for alike in ALIKE if loosely else ALIKE[:1]:
        for platform in locked:
            meant = alike(str(platform.subdir), cuda_of(platform.virtual_packages))
            row = next((row for row in free if alike(row["subdir"], row["cuda"]) == meant), None)
            if row is not None and platform.name not in names:
                names[platform.name] = row["name"]
                free.remove(row)
    return names


def pytorch(packages: Mapping[str, Any]) -> dict[str, Json] | None:
    """Version, build and channel of PyTorch; of PyPI's wheel the local version, as in 2.9.0+cu130, is the build."""
    if (conda := packages.get("pytorch")) is not None:
        channel = "/".join(conda.location.split("/")[-3:-2])  # …/conda-forge/linux-64/pytorch-2.12.1-….conda
        record = conda.package_record
        return {"version": str(record.version), "build": str(record.build), "channel": channel}
    if (wheel := packages.get("torch")) is not None:
        version, _, build = str(wheel.version).partition("+")
        return {"version": version, "build": build, "channel": "PyPI"}
    return None


def contents(packages: Mapping[str, Any]) -> dict[str, Json]:
    """What one set of packages amounts to. PyPI's have no size in a lock: they are counted as `unsized`."""
    records = {name: getattr(package, "package_record", None) for name, package in packages.items()}
    sizes = {name: record.size for name, record in records.items() if record is not None and record.size}
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:LARGEST]
    locations = sorted(package.location for package in packages.values())
    return {
        "pytorch": pytorch(packages),
        "cuda": {
            name: str(package.version)
            for name, package in sorted(packages.items())
            if TOOLKIT.fullmatch(name) or OF_ONE_MAJOR.fullmatch(name)
        },
        "packages": len(packages),
        "bytes": sum(sizes.values()),
        "unsized": len(packages) - len(sizes),
        "largest": {name: sizes[name] for name in largest},
        "digest": hashlib.sha256("\n".join(locations).encode()).hexdigest()[:16],
    }


def solves(lock: Any, manifest: Manifest, loosely: bool) -> list[dict[str, Json]]:  # noqa: ANN401 - as above
    """The rows, in the manifest's order; `platform` is None where the manifest declares none like it."""
    declared, order = manifest.platforms, list(manifest.environments)
    names = platform_names(declared, lock.platforms(), loosely)
    rows: dict[tuple[str, str], dict[str, Json]] = {}
    for environment, content in sorted(lock.environments(), key=lambda one: place_in(order, one[0])):
        for platform in content.platforms():
            row = contents({package.name: package for package in content.packages(platform)})
            place: dict[str, Json] = {
                "platform": names.get(platform.name),
                "subdir": str(platform.subdir),
                "declared": cuda_of(platform.virtual_packages),
                "environments": [],
            }
            rows.setdefault((platform.name, row["digest"]), place | row)["environments"].append(environment)
    return sorted(rows.values(), key=lambda row: place_in([one["name"] for one in declared], row["platform"]))


def place_in(order: Sequence[str], name: str | None) -> int:
    """Where a name stands in the manifest; after everything else where it does not."""
    return order.index(name) if name in order else len(order)


def read_declared(manifest: Mapping[str, Json], subdir: str | None) -> Manifest:
    """What the manifest declares, of one subdir or of all; UsageError where that is nothing."""
    try:
        declared, allowed = declared_platforms(dict(manifest)), environment_platforms(dict(manifest))
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"pixi.toml declares no platforms that can be read: {type(error).__name__} {error}") from None
    here = [row for row in declared if subdir in (None, row["subdir"])]
    if not here:
        known = ", ".join(dict.fromkeys(row["subdir"] for row in declared))
        raise UsageError(f"pixi.toml has no platform for --subdir {subdir}; choose from {known}")
    names = [row["name"] for row in here]
    return Manifest(here, {name: [n for n in names if n in own] for name, own in allowed.items()})


def lock_facts(
    project: Path | None, manifest: Mapping[str, Json], subdir: str | None, old: Path | None
) -> dict[str, Fact]:
    """Facts named lock.* and the manifest's pixi.*, of one subdir or all; lock.before is what the `old` lock holds.

    Raises UsageError where manifest, lock or old lock can't be read, or the subdir is not the manifest's.
    """
    if project is None or not manifest:
        raise UsageError("audit reads pixi.toml and pixi.lock, and there is no pixi.toml in this folder or above")
    if not (project / "pixi.lock").exists():
        raise UsageError("there is no pixi.lock beside pixi.toml; make it: pixi lock")
    declared = read_declared(manifest, subdir)

    def rows(path: Path, loosely: bool = False) -> list[dict[str, Json]]:
        return [row for row in solves(read_lock(path), declared, loosely) if subdir in (None, row["subdir"])]

    facts = {
        "pixi.platforms": Fact(declared.platforms, "pixi.toml"),
        "pixi.environments": Fact(declared.environments, "pixi.toml"),
        "lock.solves": Fact(rows(project / "pixi.lock"), "pixi.lock"),
    }
    return facts if old is None else {**facts, "lock.before": Fact(rows(old, loosely=True), str(old))}
