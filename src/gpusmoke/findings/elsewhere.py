"""Which environments of a lock run on a machine that isn't here, told by its driver and its card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.builds import Build, architectures, branch, builds, is_cpu, is_new_enough, runs_on
from gpusmoke.findings.lock import built_with, place, pytorch, system, text
from gpusmoke.findings.platforms import version

Row = dict[str, Json]


class Machine(NamedTuple):
    """The machine that is asked about; what was not told of it is no obstacle."""

    driver: str | None
    gpu: str | None

    def __str__(self) -> str:
        """The machine, for a sentence."""
        told = [f"driver {self.driver}"] if self.driver else []
        return " and ".join([*told, *([f"compute capability {self.gpu}"] if self.gpu else [])])

    def meets(self, lowest: str | None) -> bool:
        """Whether the driver is at least that; no driver is known to meet what is not on file."""
        return self.driver is None or (lowest is not None and is_new_enough(self.driver, lowest))


class Answer(NamedTuple):
    """What one environment does there: a finding's id and fields, the row that Pixi picks, and the one it should."""

    environment: str
    kind: str
    row: Row
    fields: dict[str, Json]
    other: Row | None = None


def demand(
    card: str | None, held: Sequence[str], system: str, declared: str | None, cuda: str
) -> tuple[bool | None, str | None]:
    """Whether a card runs a build for a CUDA that holds these architectures, and the lowest driver for that.

    Machine code runs with every driver of the build's CUDA major; PTX is compiled by none older than its toolkit.
    """
    if card is None or (fits := runs_on(card, held, jit=False)):
        return True, branch(system, declared, cuda)
    if runs_on(card, held, jit=True):
        return True, branch(system, max(declared or "", cuda, key=version), cuda)
    return fits, branch(system, declared, cuda)


def verdict(row: Row, machine: Machine) -> tuple[str, dict[str, Json]]:
    """Id and fields of the finding about one row: the first thing that keeps it from running, or that it runs."""
    cuda, build, declared = built_with(row), pytorch(row)["build"].split("_")[0], text(row, "declared")
    held = architectures(pytorch(row)["channel"], cuda) if cuda else None
    fits, lowest = None, branch(system(row), declared, cuda)
    if cuda and (held is not None or machine.gpu is None):
        fits, lowest = demand(machine.gpu, held or (), system(row), declared, cuda)
    if not machine.meets(lowest):
        return "driver-too-old-there", {"lowest": lowest or "(unknown)", "driver": machine.driver}
    if is_cpu(build):
        return "cpu-build-there", {}
    if fits is None:
        card = f" on compute capability {machine.gpu}" if machine.gpu else ""
        return "fit-unknown", {"card": card, "build": build or "a build without a CUDA in its name"}
    if not fits:
        return "gpu-not-in-build", {"card": machine.gpu, "held": " ".join(held or ())}
    return "runs-there", {"version": pytorch(row)["version"], "cuda": cuda}


def answer(environment: str, rows: list[Row], machine: Machine) -> Answer:
    """What an environment does there with its CUDA rows of one subdir, of which Pixi looks at the driver alone."""
    fitting = (row for row in rows if machine.meets(branch(system(row), text(row, "declared"), None)))
    picked = next(fitting, rows[-1])
    kind, fields = verdict(picked, machine)
    other = next((row for row in rows if verdict(row, machine)[0] == "runs-there"), None)
    if kind == "gpu-not-in-build" and other is not None:
        return Answer(environment, "picks-wrong-build", picked, fields | {"other": place(other)}, other)
    return Answer(environment, kind, picked, fields)


def answers(facts: Facts, machine: Machine) -> list[Answer]:
    """One answer for each subdir and each environment that has a CUDA platform of it with PyTorch."""
    mine: dict[tuple[str | None, str], list[Row]] = {}
    for row in facts.rows("lock.solves"):
        for name in listed(row.get("environments")) if text(row, "declared") and row.get("pytorch") else []:
            mine.setdefault((text(row, "subdir"), str(name)), []).append(row)
    return [answer(name, rows, machine) for (_, name), rows in mine.items()]


def told(all_answers: Sequence[Answer]) -> Iterator[Finding]:
    """The answers as findings, one for all environments that fare alike with the same row."""
    alike: dict[tuple[int, str], list[Answer]] = {}
    for one in all_answers:
        alike.setdefault((id(one.row), one.kind), []).append(one)
    for (_, kind), sharing in alike.items():
        row, other, names = sharing[0].row, sharing[0].other, [one.environment for one in sharing]
        bound = [one.environment for one in all_answers if one.kind == "runs-there" and one.row is other]
        about: dict[str, Json] = {
            "environments": " and ".join(names),
            "s": "s" if len(names) == 1 else "",
            "platform": place(row),
        }
        evidence = [f"pytorch {pytorch(row)['version']} {pytorch(row)['build']} (pixi.lock)"]
        if kind == "picks-wrong-build" and not bound:
            variant = place(row if other is None else other).rpartition("-")[2]
            yield finding("no-environment-bound", evidence, **about, **sharing[0].fields, variant=variant)
        else:
            yield finding(kind, evidence, **about, **sharing[0].fields, instead=next(iter(bound), ""))


def fitting(subdir: str, card: str | None) -> list[tuple[Build, str]]:
    """The builds on file that pixi.toml gets for a subdir and the card runs, newest first, and their lowest drivers."""
    found = []
    for build in builds():
        if build.lines is not None and subdir in build.lines["subdirs"]:
            fits, lowest = demand(card, build.architectures, subdir.split("-")[0], None, build.cuda)
            found += [(build, lowest)] if fits and lowest else []
    return found


def proposal(facts: Facts, machine: Machine) -> Finding:
    """The newest build on file that would run there; where the driver is too old for all, the least demanding."""
    subdirs = dict.fromkeys(text(row, "subdir") or "" for row in facts.rows("pixi.platforms"))
    subdir, candidates = next(((s, found) for s in subdirs if (found := fitting(s, machine.gpu))), ("", []))
    if not candidates:
        told = ", ".join(subdirs) or "no platform"
        if machine.gpu is None:
            return finding("no-cuda-build", subdirs=told)
        return finding("no-build-for-gpu", card=machine.gpu, subdirs=told)
    enough = [one for one in candidates if machine.meets(one[1])]
    build, lowest = enough[0] if enough else candidates[-1]
    lines = build.lines or {}
    return finding(
        "no-environment-runs-there" if enough else "no-driver-there",
        facts.evidence("request.driver", "request.gpu", "request.subdir"),
        machine=machine,
        lowest=lowest,
        subdir=subdir,
        major=build.cuda.split(".")[0],
        build=build.string,
        cuda_version=lines["cuda-version"],
        pytorch=lines["pytorch"],
    )


def judge(facts: Facts) -> list[Finding]:
    """Every finding of `audit --driver --gpu`."""
    machine = Machine(facts.text("request.driver"), facts.text("request.gpu"))
    found = list(told(answers(facts, machine)))
    if not any(one.id in ("runs-there", "no-environment-bound") for one in found):
        found.append(proposal(facts, machine))
    return found
