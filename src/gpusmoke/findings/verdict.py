"""When a rate has changed: by more than a tolerance, and by more than the spread of the rounds explains.

*Spread.* The standard error of the rounds takes them for independent, and they are not: at the power limit a wave of a
second makes successive ones alike, so that it says too little. Rounds are joined to groups (batch means), of each size
that leaves enough groups, and the widest of the confidence intervals counts: nobody has to know the period. Products of
a format were measured in the same rounds, so their errors go together: their mean is taken round by round, first. What
differs from run to run (a warmer card) is in no round's spread; that is what the tolerance is for.

Ratios are compared as logarithms, so that A against B and B against A give the same verdict with its sign turned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gpusmoke.facts import Json
from gpusmoke.measuring.statistics import FEWEST_GROUPS, half_width, mean, median, quantile

Rates = Sequence[float]


TOLD_HEAT = 0.002


class Verdict(NamedTuple):
    """A change, what the spread explains and what the temperature does, as logarithms of a ratio; and the tolerance.

    The tolerance is a fraction.
    """

    change: float
    spread: float
    tolerance: float
    heat: float = 0.0

    @property
    def net(self) -> float:
        """The change as if both runs had been equally warm: what is judged."""
        return self.change - self.heat

    @property
    def kind(self) -> str:
        """The finding it makes. Slower: newer < older * (1 - tolerance); faster: the same with the roles changed."""
        if abs(self.net) <= -math.log1p(-self.tolerance):
            return "no-change"
        if abs(self.net) <= self.spread:
            return "within-spread"
        return "slower" if self.net < 0 else "faster"

    @property
    def percent(self) -> float:
        """The change in per cent of the older rate."""
        return 100 * math.expm1(self.change)

    def to_json(self) -> dict[str, Json]:
        """As it stands in the record of a comparison; a spread that can't be told is null."""
        return {
            "change_percent": round(self.percent, 3),
            "spread_percent": round(100 * self.spread, 3) if math.isfinite(self.spread) else None,
            "tolerance_percent": round(100 * self.tolerance, 3),
            "temperature_percent": round(100 * math.expm1(self.heat), 3),
            "verdict": self.kind,
        }

    def words(self) -> dict[str, object]:
        """The words of its finding: what was judged, and where the temperature has a part in it, what was measured."""
        spread = f"{100 * self.spread:.1f} %" if math.isfinite(self.spread) else "unknown, with so few rounds"
        change, heat = self.percent, ""
        if abs(self.heat) > TOLD_HEAT:
            change = 100 * math.expm1(self.net)
            heat = f"; {self.percent:+.1f} % as measured, {100 * math.expm1(self.heat):+.1f} % by its temperature"
        return {
            "change": f"{abs(change):.1f}",
            "signed": f"{change:+.1f}",
            "direction": "slower" if self.net < 0 else "faster",
            "tolerance": f"{100 * self.tolerance:.3g}",
            "spread": spread,
            "heat": heat,
        }


def ratio(older: float, newer: float) -> float:
    """The logarithm of newer / older, both above 0."""
    return math.log(newer / older)


def widest(samples: Rates) -> float:
    """Half the widest 95 % confidence interval of the mean, relative to it, over all sizes of groups.

    Infinite for fewer than FEWEST_GROUPS samples.
    """
    sizes = range(1, max(1, len(samples) // FEWEST_GROUPS) + 1)
    return max(half_width(samples, size) for size in sizes)


def together(series: Sequence[Rates]) -> float:
    """The spread of the geometric mean of several series of one run: round by round where they share their rounds."""
    sharing: dict[int, list[list[float]]] = {}
    for samples in series:
        middle = mean(samples)
        sharing.setdefault(len(samples), []).append([rate / middle for rate in samples])
    parts = [
        len(same) / len(series) * widest([mean(rates) for rates in zip(*same, strict=True)])
        for same in sharing.values()
    ]
    return math.hypot(*parts)


def between(pairs: Sequence[tuple[Rates, Rates]], tolerance: float) -> Verdict:
    """The geometric mean of newer / older over pairs of series of rounds.

    Those with too few rounds for a spread don't count where others have enough.
    """
    counted = [pair for pair in pairs if min(map(len, pair)) >= FEWEST_GROUPS] or pairs
    change = mean([ratio(mean(old), mean(new)) for old, new in counted])
    spread = math.hypot(*(together([pair[at] for pair in counted]) for at in (0, 1)))
    return Verdict(change, spread, tolerance)


def waves(changes: Sequence[float]) -> list[float]:
    """How much of each product's change its place in the rounds may explain, where several share them.

    A round spans about one period of the power controller's wave, so that who reads too low has somebody beside it that
    reads too high: of two, as much; of three, half as much; of more, at least 0.7 times. Twice the largest deviation to
    the other side, from the mean of all, is thus as much as a wave can have done.
    """
    middle = mean(changes)
    found = []
    for change in changes:
        sign = math.copysign(1.0, change)
        found.append(2 * max(0.0, *(-sign * (other - middle) for other in changes)))
    return found


def of_few(older: Rates, newer: Rates, tolerance: float) -> Verdict:
    """Of a few samples that don't depend on each other (bursts after a rest, copies): of their medians.

    Two medians differ where neither run's range from p10 to p90 reaches into the other's.
    """
    middles = median(older), median(newer)
    halves = [
        (quantile(rates, 0.9) - quantile(rates, 0.1)) / 2 / middle
        for rates, middle in zip((older, newer), middles, strict=True)
    ]
    return Verdict(ratio(*middles), sum(halves), tolerance)
