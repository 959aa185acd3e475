"""A judged fleet as the facts of a record, from which it is shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gpusmoke.facts import Fact, Json
from gpusmoke.fleet.hostlist import fold
from gpusmoke.fleet.lines import Line
from gpusmoke.fleet.nodes import Fleet, Node
from gpusmoke.measuring.outliers import FEWEST
from gpusmoke.measuring.statistics import rounded

if TYPE_CHECKING:
    from gpusmoke.findings.skew import Version
    from gpusmoke.findings.slow import Group

MOST_PERCENT = 150  # of the median: what is above is counted there


def histogram(values: Sequence[float], median: float) -> list[list[int]]:
    """How many rates are in each percent of the median, as [percent, count] of those that have any."""
    percents = Counter(min(MOST_PERCENT, math.floor(100 * value / median)) for value in values)
    return [[percent, count] for percent, count in sorted(percents.items())]


def names(measured: Sequence[Group]) -> list[str]:
    """What each was called that was measured, with what tells it from others of that name on a model of that name."""
    same: dict[tuple[str, str], list[Group]] = {}
    for one in measured:
        same.setdefault((one.model.name, one.what.name), []).append(one)

    def told(one: Group) -> Iterator[str]:
        others = same[one.model.name, one.what.name]
        if len({other.model for other in others}) > 1:
            yield f"{one.model.multiprocessors} multiprocessors{' in MIG mode' if one.model.mig else ''}"
        if len({other.what.method for other in others}) > 1:
            yield f"method {one.what.method}"

    return [f"{one.what.name}{''.join(f', {mark}' for mark in told(one))}" for one in measured]


def rate(group: Group, name: str) -> dict[str, Json]:
    """What is usual for one measurement on one model."""
    values, usual = group.values, group.usual
    return {
        "model": group.model.name,
        "what": name,
        "settled_product": group.what.is_product,
        "unit": group.what.unit,
        "gpus": len(values),
        "median": rounded(usual.median),
        "deviation_percent": round(100 * usual.deviation / usual.median, 2),
        "slow_below": rounded(usual.low) if len(values) >= FEWEST else None,
        "slowest": rounded(min(values)),
        "histogram": histogram(values, usual.median),
    }


def node(one: Node, state: str) -> dict[str, Json]:
    """One node."""
    newest = one.latest[0]
    models = Counter(gpu.model.name for gpu in one.gpus)
    return {
        "node": one.name,
        "state": state,
        "gpus": ", ".join(f"{count} {name}" for name, count in models.items()),
        "command": newest.command,
        "started": newest.started,
        "runs": len(one.runs),
        "path": newest.path,
    }


def facts(
    fleet: Fleet,
    lines: Sequence[Line],
    states: Mapping[str, str],
    measured: Sequence[Group],
    versions: Mapping[str, Sequence[Version]],
) -> dict[str, Fact]:
    """All tables."""
    source = "the records"
    nodes = [node(one, states[name]) for name, one in fleet.nodes.items()]
    counts = {
        "nodes": len(nodes),
        "gpus": sum(len(one.gpus) for one in fleet.nodes.values()),
        "repeated": sum(row["runs"] > 1 for row in nodes),
    }
    ordered = sorted(measured, key=lambda one: (one.model.name, not one.what.is_product, one.what.name))
    return {
        "fleet.counts": Fact(counts, source),
        "fleet.lines": Fact([one.to_json() for one in lines], source),
        "fleet.rates": Fact([rate(*one) for one in zip(ordered, names(ordered), strict=True)], source),
        "fleet.versions": Fact(
            [
                {"what": what, "version": one.version, "count": len(one.nodes), "nodes": fold(one.nodes) if at else ""}
                for what, held in versions.items()
                for at, one in enumerate(held)
            ],
            source,
        ),
        "fleet.nodes": Fact(nodes, source),
    }
