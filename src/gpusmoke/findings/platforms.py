"""Which platform Pixi picks, worked out from the manifest as Pixi 0.77 does: the first declared one the host meets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gpusmoke.facts import Facts, Json

SYSTEMS = {"Linux": "linux", "Darwin": "osx", "Windows": "win"}
MACHINES = {"x86_64": "64", "amd64": "64", "aarch64": "aarch64", "arm64": "arm64"}


def version(text: Json) -> tuple[int, ...]:
    """13.0 as (13, 0); nothing, or anything else, as the empty tuple, which is below every version."""
    parts = text.split(".") if isinstance(text, str) else [""]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def system(facts: Facts) -> str:
    """The operating system: "Linux", "Darwin" or "Windows"."""
    return (facts.text("host.system") or "").split(" ")[0]


def conda_subdir(facts: Facts) -> str:
    """The conda subdir of this machine, as in "linux-64"."""
    return f"{SYSTEMS.get(system(facts), '')}-{MACHINES.get((facts.text('host.machine') or '').lower(), '')}"


def cuda_seen_by_pixi(facts: Facts) -> str | None:
    """The CUDA version of Pixi's __cuda: its own word where it was asked, else as its release binaries find it.

    Those have no NVML and ask nvidia-smi; CONDA_OVERRIDE_CUDA wins over both, and "" there means no CUDA.
    """
    if facts.text("pixi.version"):
        return facts.text("pixi.cuda")
    override = facts.text("env.CONDA_OVERRIDE_CUDA")
    if override is not None:
        return override or None
    return facts.text("cuda.driver_version") if facts.text("host.nvidia_smi") else None


def pick(platforms: Iterable[Mapping[str, Json]], subdir: str, cuda: str | None) -> Mapping[str, Json] | None:
    """The first platform of `subdir` whose lowest driver CUDA version `cuda` meets; None where none does."""
    for platform in platforms:
        needed = platform.get("cuda")
        if platform.get("subdir") == subdir and (not needed or version(str(needed)) <= version(cuda)):
            return platform
    return None


def allowed_here(facts: Facts, environment: str) -> list[dict[str, Json]]:
    """The declared platforms of this kind of machine that an environment may use, in their order."""
    allowed = facts.row("pixi.environments").get(environment)
    rows = [row for row in facts.rows("pixi.platforms") if row.get("subdir") == conda_subdir(facts)]
    return [row for row in rows if isinstance(allowed, list) and row.get("name") in allowed]


def pick_for(facts: Facts, environment: str) -> Mapping[str, Json] | None:
    """The platform that Pixi picks here for an environment, were it installed now."""
    return pick(allowed_here(facts, environment), conda_subdir(facts), cuda_seen_by_pixi(facts))
