"""Baselines: records kept in the repository, by GPU model, that later runs are compared with.

baselines/nvidia-h100-80gb-hbm3/20261126T021720Z.json
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpusmoke.errors import UsageError
from gpusmoke.facts.workspace import project_root
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.comparable import cards, difference, pairs, unfit
from gpusmoke.findings.comparison import TOLERANCE, judge
from gpusmoke.record import Record, add, read

FOLDER = "baselines"
TOLD = 3  # baselines that were passed over, with the reason


class Baseline(NamedTuple):
    """A stored record, and where it is."""

    path: Path
    record: Record


def default_folder() -> Path:
    """`baselines` in the repository's root, wherever in it the user stands; without a repository, in this folder."""
    root = project_root()
    return Path(FOLDER) if root is None or root == Path.cwd() else root / FOLDER


def model(record: Record) -> str:
    """The GPUs that a record measured, or "" where it measured none."""
    return " and ".join(sorted({card.name for card in cards(record) if card.gpu is not None}))


def place(record: Record, folder: Path) -> Path:
    """The folder for baselines of the record's GPU model, as in baselines/nvidia-h100-80gb-hbm3."""
    return folder / re.sub(r"[^a-z0-9]+", "-", model(record).lower()).strip("-")


def save(record: Record, folder: Path) -> Path:
    """Keep a record as a baseline, in one step and never over another; returns its path.

    Raises UsageError where the record is no measure for others, or can't be written.
    """
    if why := unfit(record):
        raise UsageError(f"this run is not kept as a baseline: {why}")
    if record.verdict != "healthy":
        found = ", ".join(dict.fromkeys(one.id for one in record.findings if one.severity == "problem"))
        raise UsageError(f"this run is not kept as a baseline: it is not healthy ({found})")
    if not model(record):
        raise UsageError("this run is not kept as a baseline: it measured the CPU, and baselines are of GPUs")
    home = place(record, folder)
    try:
        home.mkdir(parents=True, exist_ok=True)
        return add(record, home, record.started.replace("-", "").replace(":", ""))
    except OSError as error:
        raise UsageError(f"the baseline can't be written to {home}: {error.strerror}") from None


def stored(record: Record, folder: Path) -> Iterator[Baseline | str]:
    """The baselines of the record's GPU model, or for a file that is none what is wrong with it."""
    for path in sorted(place(record, folder).glob("*.json")):
        try:
            yield Baseline(path, read(path))
        except UsageError as error:
            yield str(error)


def newest_comparable(record: Record, folder: Path) -> tuple[Baseline | None, list[str]]:
    """The newest baseline that the record can be compared with, and why newer ones, and damaged ones, are not.

    One of the same card comes first: machines may share the folder.
    """
    found = list(stored(record, folder))
    passed_over = [one for one in found if isinstance(one, str)]
    kept = [one for one in found if isinstance(one, Baseline)]
    others = list[Baseline]()
    for one in sorted(kept, key=lambda baseline: baseline.record.started, reverse=True):
        why = unfit(one.record) or (None if one.record.verdict == "healthy" else "it is not healthy")
        why = why or difference(one.record, record)
        if why is not None:
            passed_over.append(f"{one.path.name}: {why}")
        elif all(pair.another_card for pair in pairs(one.record, record)):
            others.append(one)
        else:
            return one, [*passed_over, *(f"{other.path.name}: it is of another card" for other in others)]
    return next(iter(others), None), passed_over


def judge_against(record: Record, folder: Path, tolerance: float = TOLERANCE) -> list[Finding]:
    """What a run says beside the newest baseline of its GPU model: compare's findings, or a note that there is none.

    Nothing where the run can't be compared with any: it was interrupted, measured nothing, or had no GPU.
    """
    if unfit(record) or not model(record):
        return []
    baseline, passed_over = newest_comparable(record, folder)
    if baseline is None:
        more = f"; {len(passed_over) - TOLD} more" if len(passed_over) > TOLD else ""
        why = f" ({'; '.join(passed_over[:TOLD])}{more})" if passed_over else f" in {folder}"
        return [finding("no-baseline", passed_over, name=model(record), why=why)]
    told = finding(
        "baseline-used", passed_over, path=baseline.path.relative_to(folder), started=baseline.record.started
    )
    return [told, *judge(baseline.record, record, tolerance)]
