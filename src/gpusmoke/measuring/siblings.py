"""Which of several like things is slower than the others: judged by their median, since one bad one moves a mean.

How far healthy ones lie apart is told by the median absolute deviation, which bad ones don't move either. It is scaled:
times 1.4826 it is the standard deviation, where deviations are normal (C. Leys and others, Detecting outliers, Journal
of Experimental Social Psychology 49, 2013, https://doi.org/10.1016/j.jesp.2013.03.013).

Each is compared with the others alone, so that it has no part in what it is measured by: of three, too, one is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpusmoke.measuring.statistics import median

FEWEST = 3  # of two that differ nobody knows which one is off
FLOOR = 0.05  # of the siblings' median: what cards of one model differ by (data/expected.toml)
DEVIATIONS = 4.0
NORMAL_SCALE = 1.4826


class Odd(NamedTuple):
    """One that is slower than its siblings: its place in the list, their median, and by what fraction it is below."""

    at: int
    median: float
    short: float


def deviation(samples: Sequence[float]) -> float:
    """The scaled median absolute deviation of at least one sample, in its unit."""
    middle = median(samples)
    return NORMAL_SCALE * median([abs(one - middle) for one in samples])


def below(rates: Sequence[float], at: int) -> Odd:
    """By how much one of at least two rates is below the median of the others; their median has to be above 0."""
    middle = median([*rates[:at], *rates[at + 1 :]])
    return Odd(at, middle, 1 - rates[at] / middle)


def slower(rates: Sequence[float], floor: float = FLOOR) -> list[Odd]:
    """Those that are below their siblings' median by more than max(floor, 4 deviations); none among fewer than three.

    `floor` is a fraction of that median. Rates are above 0, in any unit.
    """
    found = []
    for at in range(len(rates) if len(rates) >= FEWEST else 0):
        one = below(rates, at)
        spread = deviation([*rates[:at], *rates[at + 1 :]]) / one.median
        if one.short > max(floor, DEVIATIONS * spread):
            found.append(one)
    return found
