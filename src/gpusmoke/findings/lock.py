"""What a lock means by itself: whether each CUDA platform holds the CUDA that it declares, and one alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding, finding, problems
from gpusmoke.findings.builds import architectures, branch, cuda_of_build, is_cpu
from gpusmoke.findings.platforms import version


def text(row: dict[str, Json], name: str) -> str | None:
    """A row's value where it is a string."""
    value = row.get(name)
    return value if isinstance(value, str) else None


def pytorch(row: dict[str, Json]) -> dict[str, str]:
    """Version, build and channel of a row's PyTorch, all empty where it has none."""
    held = row.get("pytorch")
    held = held if isinstance(held, dict) else {}
    return {name: text(held, name) or "" for name in ("version", "build", "channel")}


def built_with(row: dict[str, Json]) -> str | None:
    """The CUDA that a row's PyTorch was compiled with."""
    return cuda_of_build(pytorch(row)["build"])


def system(row: dict[str, Json]) -> str:
    """A row's operating system as conda names it: linux, win or osx."""
    return (text(row, "subdir") or "").split("-")[0]


def place(row: dict[str, Json]) -> str:
    """A row's platform; where the manifest declares none like it, what the lock says of it."""
    cuda = text(row, "declared")
    return text(row, "platform") or f"{text(row, 'subdir')}, {f'cuda {cuda}' if cuda else 'no cuda'}"


def names(row: dict[str, Json]) -> str:
    """A row's environments, for a sentence."""
    return " and ".join(str(name) for name in listed(row.get("environments")))


def cuda_packages(row: dict[str, Json]) -> dict[str, str]:
    """A row's packages that count as CUDA does, by name."""
    held = row.get("cuda")
    return {name: str(held[name]) for name in held} if isinstance(held, dict) else {}


def needs(row: dict[str, Json]) -> dict[str, Json]:
    """What a row asks of driver and card, as data/builds.toml has it; None where there is no GPU or no figure."""
    cuda = built_with(row)
    held = None if cuda is None else architectures(pytorch(row)["channel"], cuda)
    return {
        "driver": branch(system(row), text(row, "declared"), cuda) if cuda else None,
        "architectures": None if held is None else list(held),
    }


def majors(row: dict[str, Json]) -> dict[int, list[str]]:
    """The CUDA majors in a row, with the packages that tell them.

    pytorch-gpu is not asked: it is empty and of no CUDA, so one made for cuda129 may stand beside a cuda130 pytorch.
    """
    found: dict[int, list[str]] = {}
    for name, written in cuda_packages(row).items():
        suffix = re.search(r"-cu(\d\d)$", name)
        for major in version(suffix[1] if suffix else written)[:1]:
            found.setdefault(major, []).append(f"{name} {written}")
    for major in version(built_with(row) or "")[:1]:
        found.setdefault(major, []).append(f"pytorch {pytorch(row)['version']} {pytorch(row)['build']}")
    return found


def holds_its_cuda(row: dict[str, Json]) -> Iterator[Finding]:
    """One row: that it did not slip to the CPU, mixes no CUDA majors, and holds the one that its platform declares."""
    declared, found = text(row, "declared"), majors(row)
    about: dict[str, Json] = {"platform": place(row), "environments": names(row)}
    evidence = [line for lines in found.values() for line in lines]
    if declared and is_cpu(build := pytorch(row)["build"]):
        evidence = [f"pytorch {pytorch(row)['version']} {build} (pixi.lock)"]
        yield finding("cpu-build-on-cuda-platform", evidence, **about, cuda=declared)
    elif len(found) > 1:
        told = " and ".join(f"{major} ({lines[0]})" for major, lines in sorted(found.items()))
        yield finding("cuda-majors-mixed", evidence, **about, majors=told)
    elif declared and found and version(declared)[:1] != (held := next(iter(found)),):
        yield finding("declared-cuda-differs", evidence, **about, declared=f'cuda = "{declared}"', held=held, cuda=held)
    elif declared is None and (cuda := built_with(row)):
        cuda = cuda.split(".")[0]
        yield finding("declared-cuda-differs", evidence, **about, declared="no cuda", held=cuda, cuda=cuda)


def locked(facts: Facts) -> Iterator[Finding]:
    """Whether manifest and lock name the same environments and platforms."""
    rows = facts.rows("lock.solves")
    held = {(str(name), text(row, "platform")) for row in rows for name in listed(row.get("environments"))}
    declared = {
        (name, str(platform))
        for name, platforms in facts.row("pixi.environments").items()
        for platform in listed(platforms)
    }
    for name in facts.row("pixi.environments"):
        if missing := sorted(platform for one, platform in declared - held if one == name):
            evidence = [f"platforms of {name}: {facts.row('pixi.environments')[name]} (pixi.toml)"]
            yield finding("environment-missing-from-lock", evidence, environment=name, platforms=", ".join(missing))
    for row in rows:
        left = [
            str(name) for name in listed(row.get("environments")) if (str(name), text(row, "platform")) not in declared
        ]
        if left:
            yield finding(
                "locked-but-not-declared",
                [f"{place(row)}: {', '.join(left)} (pixi.lock)"],
                environments=" and ".join(left),
                platform=place(row),
            )


def on_file(facts: Facts) -> Iterator[Finding]:
    """CUDA builds of which nobody has noted for which cards they are."""
    for row in facts.rows("lock.solves"):
        if built_with(row) and needs(row)["architectures"] is None:
            build, channel = pytorch(row)["build"].split("_")[0], pytorch(row)["channel"]
            yield finding("build-not-on-file", platform=place(row), build=build, channel=channel)


def judge(facts: Facts) -> list[Finding]:
    """Every finding of `audit` about the lock itself."""
    found = [
        *locked(facts),
        *(one for row in facts.rows("lock.solves") for one in holds_its_cuda(row)),
        *on_file(facts),
    ]
    if not problems(found):
        rows = facts.rows("lock.solves")
        environments = {str(name) for row in rows for name in listed(row.get("environments"))}
        found.insert(
            0, finding("lock-sound", environments=len(environments), platforms=len({place(row) for row in rows}))
        )
    return found
