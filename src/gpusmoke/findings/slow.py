"""Which GPUs of a fleet are slower than others of their model, by how much, and what explains it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.causes import explained, narrower
from gpusmoke.findings.comparable import Card, Pair, Row
from gpusmoke.findings.siblings import floor
from gpusmoke.findings.skew import software_skew
from gpusmoke.fleet.lines import Line, line
from gpusmoke.fleet.nodes import Node
from gpusmoke.fleet.runs import READINGS, SETTINGS, Gpu, Model, Rate, What
from gpusmoke.measuring.clocks import together
from gpusmoke.measuring.outliers import Usual, slow_together, slower, usual
from gpusmoke.measuring.statistics import median

UNEXPLAINED = "none of clock, power, heat, another process, its link explains it"
SAID_ALREADY = ("another-process", "clock-held-down", "clock-limited", "held-by-lowered-power-cap", "power-cap-lowered")
THROTTLING = READINGS.index("throttle_reasons")


class Measured(NamedTuple):
    """One rate, and whose it is."""

    node: Node
    gpu: Gpu
    rate: Rate


class Group(NamedTuple):
    """All rates of the same on GPUs of one model, and what is usual among them."""

    model: Model
    what: What
    measured: Sequence[Measured]
    usual: Usual

    @property
    def values(self) -> list[float]:
        """The rates."""
        return [one.rate.value for one in self.measured]


class Slow(NamedTuple):
    """A rate below the others of its group, what is usual among those, and a typical measurement of them."""

    measured: Measured
    group: Group
    usual: Usual
    typical: Row

    @property
    def floor(self) -> float:
        """By what part of the usual rate it has to be below, at least."""
        return floor(self.group.what.quantity)

    @property
    def share(self) -> float:
        """The part of the usual rate that it reached."""
        return self.measured.rate.value / self.usual.median


def groups(nodes: Mapping[str, Node]) -> list[Group]:
    """The rates of all nodes that came to their end, by what was measured on which model."""
    found: dict[Model, dict[str, list[Measured]]] = {}
    for node in nodes.values():
        for gpu in node.gpus if node.complete else ():
            of_model = found.setdefault(gpu.model, {})
            for rate in gpu.rates:
                of_model.setdefault(rate.what.key, []).append(Measured(node, gpu, rate))
    return [
        Group(
            model, same[0].rate.what, same, usual([one.rate.value for one in same], floor(same[0].rate.what.quantity))
        )
        for model, of_model in found.items()
        for same in of_model.values()
    ]


def slow(group: Group) -> Iterator[Slow]:
    """Those of a group that are slower than the others."""
    found = list(slower(group.values, floor(group.what.quantity), group.usual))
    usually = row(group.what, typical_readings(group)) if found else {}
    for at, others in found:
        yield Slow(group.measured[at], group, others, usually)


def with_others(
    one: Slow, slow: Sequence[Slow], medians: Mapping[tuple[Model, str], float]
) -> Iterator[tuple[float, float]]:
    """All rates of its GPU that were measured in the same seconds, each beside what is usual: `slow` knows it best."""
    known = {found.group.what.key: found.usual.median for found in slow}
    node, gpu, rate = one.measured
    # The rates of that run alone: another's, of a day on which the GPU was well, would hide that it no longer is.
    same_run = next(seen for run, seen in node.seen(gpu) if run.complete and rate in seen.rates)
    for other in same_run.rates:
        if other.what.is_with(rate.what):
            yield other.value, known.get(other.what.key, medians[gpu.model, other.what.key])


def typical_readings(group: Group) -> tuple[float | None, ...]:
    """The median of each reading, and the throttle reasons that half of the GPUs have seen."""
    found = list[float | None]()
    for column in zip(*(one.rate.readings for one in group.measured), strict=True):
        known = [value for value in column if value is not None]
        found.append(median(known) if known else None)
    bits = Counter[int]()
    for reasons, count in Counter(one.rate.readings[THROTTLING] for one in group.measured).items():
        bits.update(dict.fromkeys(bits_of(reasons), count))
    found[THROTTLING] = together(1 << bit for bit, count in bits.items() if 2 * count >= len(group.measured))
    return tuple(found)


def bits_of(reasons: float | None) -> list[int]:
    """The places of the bits that are set."""
    held = int(reasons or 0)
    return [bit for bit in range(held.bit_length()) if held >> bit & 1]


def most_common(values: Sequence[float | None]) -> float | None:
    """The value that most have; of those that as many have the largest, None where nobody has any."""
    counts = Counter(value for value in values if value is not None)
    return max(counts, key=lambda value: (counts[value], value), default=None)


class Typical(NamedTuple):
    """What most GPUs of a model have: SETTINGS, and generation and width of their link."""

    settings: tuple[float | None, ...]
    link: tuple[float | None, ...]


def typical(nodes: Mapping[str, Node]) -> dict[Model, Typical]:
    """What most GPUs of each model have."""
    held: dict[Model, list[Gpu]] = {}
    for node in nodes.values():
        for gpu in node.gpus:
            held.setdefault(gpu.model, []).append(gpu)
    return {
        model: Typical(
            tuple(map(most_common, zip(*(gpu.settings for gpu in gpus), strict=True))),
            tuple(map(most_common, zip(*(gpu.link for gpu in gpus), strict=True))),
        )
        for model, gpus in held.items()
    }


def row(what: What, readings: tuple[float | None, ...]) -> Row:
    """A measurement as the rules about causes read it."""
    known = {name: value for name, value in zip(READINGS, readings, strict=True) if value is not None}
    return {"quantity": what.quantity, "telemetry": known}


def facts_of(settings: tuple[float | None, ...], others: tuple[int, float] | None) -> Facts:
    """A GPU as the rules about causes read it: the only one of its machine."""
    count, busy = others or (0, 0)
    return Facts(
        {
            "nvml.gpus": Fact([{"uuid": "", **dict(zip(SETTINGS, settings, strict=True))}], "NVML"),
            "bench.0.others": Fact({"processes": count, "utilisation_percent": busy}, "NVML"),
        }
    )


def why(found: Sequence[Slow], usually: Typical, odd: Mapping[str, str]) -> str:
    """What explains that one GPU is slow, as half a sentence; `odd` is what runs on its node and not on most."""
    (node, gpu, _), card = found[0].measured, Card(0, "", "", mig=False, uuid="")
    facts = facts_of(usually.settings, None), facts_of(gpu.settings, gpu.others)
    both = [(one.typical, row(one.group.what, one.measured.rate.readings)) for one in found]
    causes = explained(facts, Pair(card, card), both, math.log(found[0].share))
    causes += narrower(zip(("a lower generation", "fewer lanes"), usually.link, gpu.link, strict=True))
    told = (one for run, seen in node.seen(gpu) for one in (*run.problems, *run.warnings) if one.gpu == seen.ordinal)
    if own := [kind for kind in dict.fromkeys(one.id for one in told) if kind not in SAID_ALREADY]:
        causes.append(f"its own record tells of {', '.join(own)}")
    causes += [f"it has {what} {version}" for what, version in odd.items()]
    return ", and ".join(causes) or UNEXPLAINED


def judge(nodes: Mapping[str, Node], measured: Sequence[Group]) -> list[Line]:
    """A line for each node with slow GPUs, about the slowest; the slowest node first."""
    by_gpu: dict[tuple[str, str], list[Slow]] = {}
    for group in measured:
        for one in slow(group):
            by_gpu.setdefault((one.measured.node.name, one.measured.gpu.identity), []).append(one)
    medians = {(group.model, group.what.key): group.usual.median for group in measured}
    by_node: dict[str, list[list[Slow]]] = {}
    for (name, _), slow_ones in by_gpu.items():
        found = [one for one in slow_ones if slow_together(with_others(one, slow_ones, medians), one.floor)]
        if found:
            # The settled rate of a product is the one to quote.
            found.sort(key=lambda one: (not one.group.what.is_product, one.share))
            by_node.setdefault(name, []).append(found)
    usually, odd = typical(nodes), software_skew(nodes)
    ordered = sorted(by_node.items(), key=lambda item: min(found[0].share for found in item[1]))
    return [told(name, min(gpus, key=lambda found: found[0].share), gpus, usually, odd) for name, gpus in ordered]


def told(
    name: str,
    worst: Sequence[Slow],
    gpus: Sequence[Sequence[Slow]],
    usually: Mapping[Model, Typical],
    odd: Mapping[str, Mapping[str, str]],
) -> Line:
    """The line about one node, by its slowest GPU; the evidence has all of its rates that are slow."""
    one, *more = worst
    node, gpu, rate = one.measured
    evidence = [
        f"GPU {slow.measured.gpu.ordinal}: {slow.group.what.name}: {slow.measured.rate.value:.4g} "
        f"{slow.group.what.unit}, usually {slow.usual.median:.4g}, slow below {slow.usual.low:.4g}"
        for found in gpus
        for slow in found
    ]
    return line(
        "slower-than-fleet",
        [name],
        [found[0].measured.gpu.ordinal for found in gpus],
        evidence,
        what=one.group.what.name + (f" (and {len(more)} more)" if more else ""),
        percent=f"{100 * (1 - one.share):.1f}",
        count=len(one.group.measured),
        value=f"{rate.value:.4g}",
        usual=f"{one.usual.median:.4g}",
        unit=rate.what.unit,
        why=why(worst, usually[gpu.model], odd.get(name, {})),
        first=name,
        path=next(run.path for run, seen in node.seen(gpu) if rate in seen.rates),
    )
