"""Which of many like things is slower than the others, judged by their median, which slow ones don't move.

How far healthy ones lie apart is told by the median absolute deviation, which slow ones don't move either. Times 1.4826
it is the standard deviation, where deviations are normal (C. Leys and others, Detecting outliers, Journal of
Experimental Social Psychology 49, 2013, https://doi.org/10.1016/j.jesp.2013.03.013).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import NormalDist, geometric_mean
from typing import NamedTuple

from gpusmoke.measuring.statistics import median

FEWEST = 3  # of two that differ nobody knows which one is off
FLOOR = 0.05  # of the median: what cards of one model differ by
DEVIATIONS = 4.0
NORMAL_SCALE = 1.4826
FALSE_ALARMS = 0.01
ALL_TOGETHER = 30  # of so many, one has no say in the median that it is measured by


class Usual(NamedTuple):
    """What is normal: the median, the standard deviation as the MAD tells it, and the lowest value that is not slow."""

    median: float
    deviation: float
    low: float


def deviations(count: int) -> float:
    """How many standard deviations off is more than chance, among so many.

    The lowest of 300 normally distributed values is 4 off in one of 100 cases. Of 80 000 that many are each time, so
    the bound grows with their number: as seldom as that shall chance name any.
    """
    return max(DEVIATIONS, NormalDist().inv_cdf(1 - FALSE_ALARMS / max(count, 1)))


def usual(rates: Sequence[float], floor: float = FLOOR) -> Usual:
    """What is normal among at least one rate; `floor` is a fraction of the median."""
    middle = median(rates)
    deviation = NORMAL_SCALE * median([abs(rate - middle) for rate in rates])
    return Usual(middle, deviation, middle - max(floor * middle, deviations(len(rates)) * deviation))


def slower(rates: Sequence[float], floor: float = FLOOR, known: Usual | None = None) -> Iterator[tuple[int, Usual]]:
    """The places of those that are slower than the others, with what is usual; none among fewer than three.

    Slower is what is below the median by more than `floor` of it, and by more than the others lie apart. Where what
    is usual among all has been worked out already, with the same floor, it is `known`.
    """
    if len(rates) < FEWEST:
        return
    together = (known or usual(rates, floor)) if len(rates) > ALL_TOGETHER else None
    for at, rate in enumerate(rates):
        others = together or usual([*rates[:at], *rates[at + 1 :]], floor)
        if rate < others.low:
            yield at, others


def slow_together(rates: Iterable[tuple[float, float]], floor: float) -> bool:
    """Whether rates, each beside what is usual, are below that by more than `floor` of it in their geometric mean.

    What takes turns in the same seconds is judged together, since clocks swing: on a GPU that is well one of several
    products may be low.
    """
    return geometric_mean(rate / typical for rate, typical in rates) < 1 - floor
