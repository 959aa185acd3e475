"""Findings: what facts mean. All that is said lies in data/findings/*.toml; rules only pick an entry.

An entry of the catalogue is named after its id and holds
    severity    problem (exit 1), warning, note or ok
    title       one sentence; {words} are filled in by the rule
    advice      commands, in the order to try
    link        where the cause is described
    explain     what is behind it, for `doctor --explain`
    cuda, nvml  codes of the driver's two libraries, at their start, that mean this
    gpu         NVML's codes about one GPU; kernel: CUDA's codes once PyTorch is at work; nvcc: for what nvcc built
    tested      what stands in for the machine where tests drive the real program into it (presentation/catalogue.py)
    provoked    how it was brought about on a real GPU, and what was seen
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpusmoke.facts import Json
from gpusmoke.tables import DATA, table

# Those that doctor needs come first. A file is deleted together with the command that it is about.
EVERY_FILE = (
    "driver",
    "pixi",
    "health",
    "torch",
    "bench",
    "soak",
    "audit",
    "compare",
    "ci",
    "nvcc",
    "kernels",
    "fleet",
)
FILES = tuple(name for name in EVERY_FILE if (DATA / f"findings/{name}.toml").is_file())


class Finding(NamedTuple):
    """One thing the facts mean: `gpu` is the ordinal of the GPU it is about, or None for the machine."""

    id: str
    severity: str
    gpu: int | None
    title: str
    evidence: tuple[str, ...]
    advice: tuple[str, ...]
    link: str | None

    def to_json(self) -> dict[str, Json]:
        """The finding as it stands in a record."""
        return {**self._asdict(), "evidence": list(self.evidence), "advice": list(self.advice)}

    @classmethod
    def from_json(cls, document: dict[str, Json]) -> Finding:
        """The finding of a record that was read back."""
        known = {name: document[name] for name in cls._fields}
        return cls(**{**known, "evidence": tuple(known["evidence"]), "advice": tuple(known["advice"])})


def part(name: str) -> dict[str, dict[str, Json]]:
    """One file of the catalogue: reading all would take doctor a tenth of its time."""
    return table(f"findings/{name}")


def catalogue() -> dict[str, dict[str, Json]]:
    """Every kind of finding by id."""
    return {kind: entry for name in FILES for kind, entry in part(name).items()}


def ids_for(library: str, code: Json) -> list[str]:
    """The findings that a code stands for where it comes from `library`: "cuda", "kernel", "nvcc", "nvml" or "gpu"."""
    if not isinstance(code, int):  # none was read, so nothing has to be looked up
        return []
    return [kind for kind, entry in catalogue().items() if code in entry.get(library, [])]


def finding(kind: str, evidence: Sequence[str] = (), gpu: int | None = None, **words: object) -> Finding:
    """The catalogue's entry `kind` with its {words} filled in, about `gpu`, with the evidence it rests on."""
    entry = next(part(name)[kind] for name in FILES if kind in part(name))
    return Finding(
        id=kind,
        severity=entry["severity"],
        gpu=gpu,
        title=entry["title"].format(**words),
        evidence=tuple(evidence),
        advice=tuple(step.format(**words) for step in entry.get("advice", [])),
        link=entry.get("link"),
    )


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with those that say the same of the same GPU made one, which has the evidence of all."""
    found: dict[tuple[str, int | None, str], Finding] = {}
    for one in findings:
        first = found.setdefault((one.id, one.gpu, one.title), one)
        evidence = tuple(dict.fromkeys(first.evidence + one.evidence))
        found[one.id, one.gpu, one.title] = first._replace(evidence=evidence)
    return list(found.values())


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that make a verdict unhealthy."""
    return [found for found in findings if found.severity == "problem"]
