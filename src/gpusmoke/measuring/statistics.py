"""The few statistics that measurements carry."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Student's t for a two-sided 95 % interval, by degrees of freedom; beyond them that of the normal distribution.
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131)
NORMAL = 1.96
FEWEST_GROUPS = 4


def quantile(samples: Sequence[float], q: float) -> float:
    """The q-quantile (0 <= q <= 1) of at least one sample, linearly interpolated between neighbours."""
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def median(samples: Sequence[float]) -> float:
    """The middle of at least one sample."""
    return quantile(samples, 0.5)


def mean(samples: Sequence[float]) -> float:
    """The arithmetic mean of at least one sample."""
    return math.fsum(samples) / len(samples)


def grouped(samples: Sequence[float], size: int) -> list[float]:
    """The means of successive groups of `size` samples; what is left over at the beginning is dropped."""
    return [mean(samples[i : i + size]) for i in range(len(samples) % size, len(samples), size)]


def half_width(samples: Sequence[float], group: int = 1) -> float:
    """Half the 95 % confidence interval of the mean, relative to it; infinite for fewer than FEWEST_GROUPS groups.

    Samples that follow each other are alike (a power controller's phase, for one), so that their spread says too
    little: means of groups that span whole periods are nearly independent (batch means).
    """
    means = grouped(samples, group)
    if len(means) < FEWEST_GROUPS:
        return math.inf
    middle = mean(means)
    deviation = math.sqrt(math.fsum((one - middle) ** 2 for one in means) / (len(means) - 1))
    freedom = len(means) - 1
    t = STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else NORMAL
    return t * deviation / math.sqrt(len(means)) / abs(middle) if middle else math.inf


def rounded(value: float) -> float:
    """The value to five significant digits, which is finer than any rate repeats, on a CPU as on a GPU."""
    return float(f"{value:.5g}")
