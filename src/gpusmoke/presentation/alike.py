"""Findings that say the same of several GPUs, said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpusmoke.facts import Json
from gpusmoke.findings import Finding
from gpusmoke.measuring.formats import runs


def told_once(findings: Sequence[Finding]) -> Iterator[tuple[str, Finding]]:
    """Each finding with what it is about, "GPU 0-3: " or nothing; those that differ in the GPU alone are one.

    It stands where the first of them did, and has the evidence of all.
    """
    found: dict[Json, list[Finding]] = {}
    for at, one in enumerate(findings):
        found.setdefault(at if one.gpu is None else (one.id, one.title, one.advice), []).append(one)
    for same in found.values():
        gpus = [one.gpu for one in same if one.gpu is not None]
        evidence = tuple(dict.fromkeys(line for one in same for line in one.evidence))
        yield (f"GPU {ranges(gpus)}: " if gpus else "", same[0]._replace(evidence=evidence))


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as "0-3, 5"."""
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs(numbers))
