"""The odd one out: GPUs of one model in one machine, measured in one run, judged by each other.

Only a rate accuses. What would explain it (clock, power limit, heat, throttling, another process, the PCIe link, the
processors that the job has) is told beside it, by comparison with the sibling whose rate is the median.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from gpusmoke.facts import Facts, Json
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.causes import explained, narrower, reading
from gpusmoke.findings.comparable import Card, Key, Pair, Row, key, name_of
from gpusmoke.findings.comparison import TOLERANCES
from gpusmoke.findings.health import number, nvml_row, uuid_of
from gpusmoke.findings.topology import far_from
from gpusmoke.measuring.outliers import FLOOR, Usual, slow_together, slower, usual
from gpusmoke.measuring.sensible import is_rate
from gpusmoke.measuring.statistics import median


class Slow(NamedTuple):
    """A rate that is below its siblings': its row, all rows of the same, and what is usual among the others."""

    row: Row
    same: list[Row]
    usual: Usual

    @property
    def share(self) -> float:
        """The part of the siblings' median that it reached."""
        return float(self.row["value"] / self.usual.median)

    @property
    def short(self) -> float:
        """By what fraction it is below the siblings' median."""
        return 1 - self.share

    @property
    def typical(self) -> Row:
        """The sibling whose rate is nearest to the median of all siblings."""
        others = [row for row in self.same if row is not self.row]
        return min(others, key=lambda row: abs(float(row["value"]) - self.usual.median))

    @property
    def is_product(self) -> bool:
        """Whether it is a product's rate."""
        return bool(self.row["quantity"] == "matmul")


def floor(quantity: str) -> float:
    """The least fraction below the median of its like that makes a rate slow.

    The path to the host's memory is longer for some GPUs than for others, by the way the machine is built; what should
    be found, a generation or lanes that are lost, takes half of it.
    """
    return TOLERANCES.get(quantity, FLOOR)


def alike(facts: Facts, measurements: Sequence[Row]) -> list[list[Row]]:
    """The measurements of the same on GPUs of the same model, those of several GPUs alone."""
    found: dict[tuple[Json, Json, Key], list[Row]] = {}
    for row in measurements:
        if row.get("gpu") is not None and is_rate(row["value"]):
            size = facts.row(f"bench.{row['gpu']}").get("multiprocessors")
            found.setdefault((row["device"], size, key(row)), []).append(row)
    return [rows for rows in found.values() if len(rows) > 1]


def with_others(groups: Sequence[Sequence[Row]], slow: Row) -> Iterator[tuple[float, float]]:
    """All rates of its GPU that are measured in the same seconds, each beside the median of its siblings."""

    def which(row: Row) -> list[Json]:
        return [row.get(name) for name in ("gpu", "quantity", "dtype", "regime", "peer")]

    for rows in groups:
        for row in rows:
            if which(row) == which(slow):
                yield row["value"], median([other["value"] for other in rows if other is not row])


def odd_ones(facts: Facts, measurements: Sequence[Row]) -> Iterator[Slow]:
    """Every rate that is below its siblings' by more than they lie apart; of two GPUs, the lower of two rates.

    Products of one format take turns in the same seconds, in which the clock swings, so one of them is not enough: all
    together have to be slow.
    """
    groups = alike(facts, measurements)
    for rows in groups:
        rates, least = [float(row["value"]) for row in rows], floor(rows[0]["quantity"])
        found = slower(rates, least)
        if len(rates) == 2 and min(rates) < (other := usual([max(rates)], least)).low:
            found = iter([(rates.index(min(rates)), other)])
        for at, others in found:
            if slow_together(with_others(groups, rows[at]), least):
                yield Slow(rows[at], rows, others)


def because(facts: Facts, slow: Sequence[Slow]) -> str:
    """What explains that a GPU is slower than the typical sibling, in what it is slowest at, as half a sentence."""
    slow = [one for one in slow if one.row["regime"] == slow[0].row["regime"]]  # a cool card has other clocks
    gpu, other = slow[0].row["gpu"], slow[0].typical["gpu"]
    cards = [Card(one, "", "", mig=False, uuid=uuid_of(facts, one)) for one in (other, gpu)]
    both = [(one.typical, one.row) for one in slow]
    found = [*explained((facts, facts), Pair(*cards), both, math.log(slow[0].share))]
    if not slow[0].is_product:
        found += way(facts, other, gpu)
    if not found:
        return "none of clock, power, heat, another process explains it"
    return f"beside GPU {other}, {', and '.join(found)}"


def link(facts: Facts, gpu: int) -> dict[str, Json]:
    """A GPU's PCIe link as check read it after a copy; else its width alone, since one that sleeps is told as slow."""
    after_a_copy = facts.row(f"check.{gpu}").get("link")
    if isinstance(after_a_copy, dict):
        return after_a_copy
    return {"width": nvml_row(facts, uuid_of(facts, gpu)).get("pcie_width")}


def way(facts: Facts, usual: int, gpu: int) -> Iterator[str]:
    """What makes the way to the host's memory narrower or longer for a GPU than it usually is."""
    before, now = link(facts, usual), link(facts, gpu)
    less = (("fewer lanes", "width"), ("a lower generation", "generation"))
    yield from narrower((what, number(before, name), number(now, name)) for what, name in less)
    if far_from(facts, gpu) and not far_from(facts, usual):
        yield "this job's processors are all on another NUMA node"


def of_gpus(facts: Facts, measurements: Sequence[Row]) -> dict[tuple[int, bool], list[Slow]]:
    """What each GPU is slow at, the worst first: its products (True) apart from its copies."""
    found: dict[tuple[int, bool], list[Slow]] = {}
    for one in sorted(odd_ones(facts, measurements), key=lambda one: (one.row["gpu"], -one.short)):
        found.setdefault((one.row["gpu"], one.is_product), []).append(one)
    return found


def told(facts: Facts, slow: Sequence[Slow]) -> dict[str, object]:
    """The words of a finding: by how much, at what, beside how many, and why."""
    worst, *rest = slow
    return {
        "percent": f"{100 * worst.short:.0f}",
        "what": name_of(worst.row) + (f" (and {len(rest)} more)" if rest else ""),
        "count": len(worst.same) - 1,
        "why": because(facts, slow),
    }


def judge(facts: Facts, measurements: Sequence[Row], known: Collection[int | None] = ()) -> Iterator[Finding]:
    """The findings; GPUs that are `known` to be too slow for their model are not accused of slow products again."""
    for (gpu, is_product), slow in of_gpus(facts, measurements).items():
        if is_product and gpu in known:
            continue
        evidence = [
            f"{name_of(one.row)}: {one.row['value']:.4g} {one.row['unit']}, median of its siblings "
            f"{one.usual.median:.4g}; beside GPU {one.typical['gpu']}: {reading(one.typical, one.row) or 'not sampled'}"
            for one in slow
        ]
        words, others = told(facts, slow), [row["gpu"] for row in slow[0].same if row["gpu"] != gpu]
        if len(others) == 1:
            yield finding("siblings-differ", evidence, None, number=gpu, other=others[0], **words)
        else:
            yield finding("slower-than-its-siblings", evidence, gpu, **words)


def beside(facts: Facts, measurements: Sequence[Row], gpu: int | None) -> list[str]:
    """What its siblings say of a GPU that is accused already, as evidence; nothing where they say nothing."""
    slow = [] if gpu is None else of_gpus(facts, measurements).get((gpu, True), [])
    return ["{percent} % slower than its {count} siblings at {what}: {why}".format(**told(facts, slow))] if slow else []
