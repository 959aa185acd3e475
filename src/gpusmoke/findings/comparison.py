"""Whether a newer record is slower than an older one: the rules of `compare`, and of smoke against its baseline.

Judged are the settled products that both records have, GPU by GPU, and on three levels, from the least noisy one down:

*All products of a GPU together*: the geometric mean of the ratios newer / older, at the tolerance asked for. Why a
mean: at its power limit an H100's rate oscillates with a period of 1 s, by up to 4 % either way, and bench lets the
products of a format take turns that make up such a period. So each of them sees its own part of the wave, round after
round: one reads too high and another as much too low, and its rounds, alike as they are, don't tell. Together they see
the whole wave: whole windows repeat within 0.5 %, single products only within 1.6 %.

*The products of one format together*, at FORMAT_FACTOR times the tolerance, since there are up to seven of them to be
wrong about: finds that one format got slower, which the mean over all would hide.

*A product by itself*, at PRODUCT_FACTOR times the tolerance, and what a wave may have done to it counts as spread
(verdict.waves): finds that one kernel was replaced by a slower one. The factors are such that what makes one product
slower makes the format slower if it befalls half of its products.

Two cards of one model differ by a few per cent, so between them the tolerance is 5 % at least: where machines share a
folder of baselines, or a job is given another GPU of the same one.

Where the power cap held both runs, they are judged as if they had been equally warm (heat.py).

A GPU's bursts and copies are judged one by one, see TOLERANCES. How a spread is told stands in verdict.py, what
explains a change in causes.py, and what is not compared at all in comparable.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gpusmoke.findings import Finding, finding, merged
from gpusmoke.findings.causes import reading, why
from gpusmoke.findings.comparable import Key, Pair, Row, cards, is_product, name_of, pairs, rows_of
from gpusmoke.findings.exercise import wrong_result
from gpusmoke.findings.heat import heat
from gpusmoke.findings.verdict import Verdict, between, of_few, waves
from gpusmoke.measuring.outliers import FLOOR

if TYPE_CHECKING:
    from gpusmoke.record import Record

TOLERANCE = 0.015
FORMAT_FACTOR, PRODUCT_FACTOR = 1.5, 3.0
MOST = 0.5
# Fixed fractions for what is judged one by one, or the tolerance asked for where that is wider. Bursts repeated within
# 0.7 % (benchmarks/README.md), and no power limit holds the memory back; what should be found, a clock that was set
# lower, takes more than 5 %. The link to the host is shared with whatever runs there, and fails by halves: a generation
# or lanes are lost. Between GPUs nobody else is on the way, and one of 18 NVLinks is 5 %, one of 12 8 %.
TOLERANCES = {
    "burst": 0.05,
    "memory-copy": 0.05,
    "memory-triad": 0.05,
    "host-to-device": 0.25,
    "device-to-host": 0.25,
    "peer-copy": 0.1,
    "peer-copy-both-ways": 0.1,
}
CHANGED = ("slower", "faster", "within-spread")


@dataclass(frozen=True)
class Line:
    """One measurement that both records have, and its verdict."""

    older: Row
    newer: Row
    verdict: Verdict

    @property
    def name(self) -> str:
        """What was measured, for people."""
        return name_of(self.newer)

    def evidence(self) -> str:
        """Both rates, and what was sampled meanwhile."""
        rates = f"{self.older['value']:.4g} to {self.newer['value']:.4g} {self.newer['unit']}"
        told = [f"{self.name}: {rates} ({self.verdict.percent:+.1f} %)", reading(self.older, self.newer)]
        for which, row in (("older", self.older), ("newer", self.newer)):
            told += [f"the {which} had not settled"] if row.get("settled") is False else []
        return ", ".join(text for text in told if text)


class Group(NamedTuple):
    """Settled products that are judged together, and what they are called."""

    name: str
    lines: list[Line]
    verdict: Verdict


class Device(NamedTuple):
    """One GPU's comparison: every row, all its products together, and those of each format that has several."""

    pair: Pair
    lines: list[Line]
    whole: Group
    formats: list[Group]


def samples(both: tuple[Row, Row]) -> tuple[Sequence[float], Sequence[float]]:
    """The rates of one measurement in both records."""
    return both[0]["samples"], both[1]["samples"]


def judged(both: tuple[Row, Row], tolerance: float) -> Line:
    """A burst or a copy by itself."""
    own = TOLERANCES["burst" if both[0]["regime"] == "burst" else both[0]["quantity"]]
    return Line(*both, of_few(*samples(both), max(own, tolerance)))


def judged_products(family: Sequence[tuple[Row, Row]], tolerance: float, alone: float) -> list[Line]:
    """The products of one format, each by itself; the only one of its format is as good as the format: `alone`."""
    if len(family) == 1:
        return [Line(*family[0], between([samples(family[0])], alone)._replace(heat=heat(family)))]
    wide = min(MOST, PRODUCT_FACTOR * tolerance)
    each = [between([samples(both)], wide)._replace(heat=heat([both])) for both in family]
    explained = waves([one.net for one in each])
    return [
        Line(*both, one._replace(spread=one.spread + wave))
        for both, one, wave in zip(family, each, explained, strict=True)
    ]


def group(name: str, lines: Sequence[Line], tolerance: float) -> Group:
    """Products together."""
    called = lines[0].name if len(lines) == 1 else f"all {len(lines)} settled {name}products"
    both_of = [(line.older, line.newer) for line in lines]
    return Group(
        called, list(lines), between([samples(both) for both in both_of], tolerance)._replace(heat=heat(both_of))
    )


def device(pair: Pair, old: dict[Key, Row], new: dict[Key, Row], tolerance: float) -> Device:
    """One GPU with the rows that both records have, at least one settled product among them, in the older's order."""
    common = [(row, new[one]) for one, row in old.items() if one in new]
    families: dict[str, list[tuple[Row, Row]]] = {}
    for both in common:
        if is_product(both[0]):
            families.setdefault(both[0]["dtype"], []).append(both)
    for_format = min(MOST, FORMAT_FACTOR * tolerance)
    alone = tolerance if len(families) == 1 else for_format
    products = {name: judged_products(family, tolerance, alone) for name, family in families.items()}
    formats = [group(f"{name} ", lines, for_format) for name, lines in products.items() if len(lines) > 1]
    whole = group("", [line for lines in products.values() for line in lines], tolerance)
    # What a CPU does in 12 ms says more of what else runs there than of the CPU.
    few = [both for both in common if not is_product(both[0]) and pair.newer.gpu is not None]
    rest = [judged(both, tolerance) for both in few]
    return Device(pair, whole.lines + rest, whole, formats if len(families) > 1 else [])


def devices(older: Record, newer: Record, tolerance: float) -> list[Device]:
    """Each GPU that both measured and of which they have a settled product in common."""
    found, known = [], pairs(older, newer)
    called = {pair.older.gpu: pair.newer.gpu for pair in known}
    for pair in known:
        old, new = rows_of(older, pair.older.gpu, called), rows_of(newer, pair.newer.gpu)
        if any(is_product(row) for one, row in old.items() if one in new):
            found.append(device(pair, old, new, max(tolerance, FLOOR) if pair.another_card else tolerance))
    return found


def wrong(older: Record, newer: Record) -> list[Finding]:
    """Results of either run that were not right: a rate at which wrong results come says nothing."""
    return [
        wrong_result(f"In the {which} record, {name_of(row)}", row["verified"], row["gpu"])
        for which, record in (("older", older), ("newer", newer))
        for row in record.measurements
        if row["verified"]["passed"] is not True
    ]


def worst(lines: Sequence[Line], kinds: Sequence[str], known: Sequence[Group] = ()) -> Iterator[Group]:
    """One group for each of these kinds of change, named after its worst line; what a known group says is left out."""
    for kind in kinds:
        said = [line for one in known if one.verdict.kind == kind for line in one.lines]
        same = [line for line in lines if line.verdict.kind == kind and line not in said]
        if same:
            first = max(same, key=lambda line: abs(line.verdict.net))
            more = f" (and {len(same) - 1} more)" if len(same) > 1 else ""
            yield Group(first.name + more, same, first.verdict)


def told(one: Device) -> Iterator[Group]:
    """What is said of one GPU: always of all products, and of others what all of them together don't say."""
    whole, products = one.whole, one.whole.lines
    yield whole
    formats = [part for part in one.formats if part.verdict.kind in CHANGED and part.verdict.kind != whole.verdict.kind]
    yield from formats
    if len(products) > 1:
        yield from worst(products, CHANGED[:2], [whole, *formats])
        # That a wave may have moved a product beside others is nothing to be told of: it does so in every second run.
        dtypes = [line.older["dtype"] for line in products]
        alone = [line for line in products if dtypes.count(line.older["dtype"]) == 1]
        yield from worst(alone, CHANGED[2:], [whole, *formats])
    yield from worst([line for line in one.lines if not is_product(line.older)], CHANGED)


def rates(one: Device, older: Record, newer: Record) -> Iterator[Finding]:
    """The findings about one GPU."""
    pair, gpu = one.pair, one.pair.newer.gpu
    if pair.another_card:
        yield finding("another-card", [f"uuid: {pair.older.uuid} and {pair.newer.uuid}"], gpu, name=pair.newer.name)
    for part in told(one):
        kind, change = part.verdict.kind, part.verdict.net
        both = [(line.older, line.newer) for line in part.lines]
        reason = why(older, newer, pair, both, change) if kind in ("slower", "faster") else ""
        evidence = [line.evidence() for line in part.lines]
        yield finding(kind, evidence, gpu, what=part.name, why=reason, **part.verdict.words())


def unpaired(older: Record, newer: Record) -> Iterator[Finding]:
    """GPUs that only one of the records has."""
    known = pairs(older, newer)
    sides = (("older", older, [pair.older for pair in known]), ("newer", newer, [pair.newer for pair in known]))
    for which, record, taken in sides:
        for card in cards(record):
            if card not in taken:
                yield finding("gpu-not-compared", number=card.gpu, which=which)


def judge(older: Record, newer: Record, tolerance: float = TOLERANCE) -> list[Finding]:
    """Every finding of two records between which comparable.difference found none; tolerance as a fraction."""
    if found := wrong(older, newer):
        return merged(found)
    found = list(unpaired(older, newer))
    for one in devices(older, newer, tolerance):
        found += rates(one, older, newer)
    return found
